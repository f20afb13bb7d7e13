//! `[[device]]`: printers, scanners and old applications. Another place where an open relay could be made, and refused.
//!
//! [`devices`] reads them all; a [`Device`] comes out of each. A list of addresses that is so wide that strangers may be in it
//! needs a written reason, and where no reason would do, it is a problem whatever is written.
//!
//! What it deliberately does not do: know who is at the other end. The gate decides that, for each session.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use postern_smtp::address::Mailbox;
use postern_smtp::server::ClearSignIn;

use super::connector::address_space;
use super::width::{canonical, is_too_much_together, too_wide, wants_reason};
use super::{Unique, network};
use crate::config::model::{AddressSpace, Device, DeviceTls, Listener, OtherSenders, Rate, Role, SignIn};
use crate::config::reader::{Reader, Section};
use crate::config::units;

/// Networks that a whole site, or several, may be numbered from (RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6).
const SHARED: [&str; 8] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fc00::/7",
    "fd00::/8",
    "fe80::/10",
];
/// Networks of these lengths and shorter are wide, whoever's they are.
const WIDE_V4: u8 = 16;
const WIDE_V6: u8 = 48;

pub(super) fn devices<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    gateways: &[IpAddr],
    listeners: Option<&[Listener]>,
) -> Option<Vec<Device>> {
    let sections = reader.sections(top, "device");
    let mut names = Unique::new("a device");
    let mut taken = HashMap::new();
    let mut devices = Vec::new();
    for at in &sections {
        let device = device(reader, at, gateways);
        names.check(reader, at, None);
        if let Some(device) = &device {
            refuse_taken(reader, at, device, &mut taken);
        }
        devices.push(device);
    }
    if let Some(listeners) = listeners {
        judge_listeners(reader, top, listeners, sections.is_empty());
    }
    let devices: Vec<Device> = devices.into_iter().collect::<Option<_>>()?;
    let free = devices.iter().filter(|device| device.sign_in == SignIn::Optional);
    if is_too_much_together(&free.flat_map(|device| device.networks.clone()).collect::<Vec<_>>()) {
        let what = "all devices that need not sign in together hold a large part of the Internet: this is an open relay";
        reader.complain(top, "device", what, "list the addresses of the devices themselves");
    }
    Some(devices)
}

fn device<'a>(reader: &mut Reader<'a>, at: &Section<'a>, gateways: &[IpAddr]) -> Option<Device> {
    let name = reader.name(at, "name");
    let because = if at.writes("because") { Some(reader.name(at, "because")?) } else { None };
    let (networks, sound) = reader.list_and_items(at, "addresses", network);
    if networks.as_ref().is_some_and(Vec::is_empty) {
        reader.complain(at, "addresses", "the list is empty", "write the device's address");
    }
    let sender = sender(reader, at);
    let rewrites = reader.switch(at, "rewrite_sender", None);
    let recipients = recipients(reader, at);
    let rate = reader.turned(at, "rate", rate_or_never);
    let tls =
        reader.choice(at, "tls", None, &[("required", DeviceTls::Required), ("offered", DeviceTls::Offered)]);
    let sign_in =
        reader.choice(at, "sign_in", None, &[("required", SignIn::Required), ("none", SignIn::Optional)]);
    let clear = reader.switch(at, "clear_text_sign_in", None);
    let freedom = Freedom { sign_in: sign_in?, anywhere: recipients.as_ref()?.contains(&AddressSpace::Any) };
    for network in sound {
        judge_network(reader, at, &Wide { network, because: because.as_deref(), gateways, freedom });
    }
    if freedom.anywhere {
        warn_of_anywhere(reader, at, freedom.sign_in);
    }
    if clear? && tls? == DeviceTls::Required {
        let what = "it has no effect: the device must start TLS first";
        reader.warn(at, "clear_text_sign_in", what, "write tls = \"offered\" beside it, or remove the key");
    }
    Some(Device {
        name: name?,
        networks: networks?.into_iter().map(canonical).collect(),
        because,
        sender: sender?,
        other_senders: if rewrites? { OtherSenders::Replaced } else { OtherSenders::Refused },
        recipients: recipients?,
        rate: rate?,
        tls: tls?,
        sign_in: freedom.sign_in,
        clear_sign_in: if clear? { ClearSignIn::Allowed } else { ClearSignIn::Refused },
    })
}

/// Devices speak no SMTPUTF8, so that what is put in place of their words must go without.
fn sender<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Mailbox> {
    let sender: Mailbox = reader.parsed(at, "sender", None)?;
    if !sender.is_ascii() {
        let remedy = "give the device an address in ASCII; a domain may be written with xn--";
        reader.complain(at, "sender", "it holds characters beyond ASCII, which devices cannot send", remedy);
        return None;
    }
    Some(sender)
}

fn recipients<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Vec<AddressSpace>> {
    let recipients = reader.list(at, "recipient_domains", address_space)?;
    if recipients.is_empty() {
        let remedy = "write the domains that the device has to reach, mostly your own";
        reader.complain(
            at,
            "recipient_domains",
            "the list is empty: the device could send to nobody",
            remedy,
        );
        return None;
    }
    Some(recipients)
}

/// `None`: as many as it likes.
fn rate_or_never(text: &str) -> Result<Option<Rate>, String> {
    if text == "never" {
        return Ok(None);
    }
    units::rate(text).map(|(messages, per)| Some(Rate { messages, per }))
}

/// What a device may do without anybody having shown who he is.
#[derive(Clone, Copy)]
struct Freedom {
    sign_in: SignIn,
    anywhere: bool,
}

/// A network of a device's, and what is to be judged with it.
struct Wide<'w> {
    network: IpNet,
    because: Option<&'w str>,
    gateways: &'w [IpAddr],
    freedom: Freedom,
}

fn judge_network(reader: &mut Reader<'_>, at: &Section<'_>, wide: &Wide<'_>) {
    let (written, network) = (wide.network, canonical(wide.network));
    if let Some(what) = too_wide(network) {
        let remedy = "list the addresses of the devices themselves";
        return reader.complain(at, "addresses", format!("{written} {what}"), remedy);
    }
    let gateway = wide.gateways.iter().map(IpAddr::to_canonical).find(|gateway| network.contains(gateway));
    if let Some(gateway) = gateway
        && wide.freedom.sign_in == SignIn::Optional
        && wide.freedom.anywhere
    {
        let what = format!(
            "{written} holds the default gateway {gateway}, which every client behind a container bridge looks like: \
             without signing in this is an open relay"
        );
        let remedy = "list addresses without the gateway's, write sign_in = \"required\", or name the recipient_domains";
        return reader.complain(at, "addresses", what, remedy);
    }
    let why = gateway
        .map(|gateway| format!("holds the default gateway {gateway}, which strangers may look like"))
        .or_else(|| is_shared(network).then(|| "holds a whole private or very large network".to_owned()));
    if let (Some(why), None) = (why, wide.because) {
        let remedy = "list the addresses of the devices themselves, or write because = \"…\" with the reason why everybody there may";
        reader.complain(at, "addresses", format!("{written} {why}"), remedy);
    }
    if written.trunc() != written {
        let what = format!("{written} has bits set behind its prefix; {} is taken", written.trunc());
        reader.warn(at, "addresses", what, "write the network's own address, or an address without a prefix");
    }
}

fn is_shared(network: IpNet) -> bool {
    let whole = SHARED.iter().filter_map(|shared| shared.parse::<IpNet>().ok());
    let wide = match network {
        IpNet::V4(v4) => v4.prefix_len() <= WIDE_V4,
        IpNet::V6(v6) => v6.prefix_len() <= WIDE_V6,
    };
    wide || wants_reason(network) || whole.into_iter().any(|shared| network.contains(&shared))
}

fn warn_of_anywhere(reader: &mut Reader<'_>, at: &Section<'_>, sign_in: SignIn) {
    if sign_in == SignIn::Optional {
        let what = "whoever can take one of its addresses may send to the whole world without signing in";
        let remedy = "name the domains that the device has to reach, or write sign_in = \"required\"";
        reader.warn(at, "recipient_domains", what, remedy);
    }
}

/// Whose a client is must be certain.
fn refuse_taken(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    device: &Device,
    taken: &mut HashMap<IpNet, String>,
) {
    for network in &device.networks {
        if let Some(other) = taken.insert(*network, device.name.clone()) {
            let what = format!("{network} is an address of device {other} already");
            reader.complain(at, "addresses", what, "give each address to one device");
        }
    }
}

fn judge_listeners(reader: &mut Reader<'_>, top: &Section<'_>, listeners: &[Listener], none: bool) {
    let for_devices = listeners.iter().find(|listener| listener.role == Role::Device);
    match (for_devices, none) {
        (Some(listener), true) => {
            let what =
                format!("listener {} is for devices, and there is none: nobody could use it", listener.name);
            reader.complain(top, "listener", what, "write a [[device]] for each, or remove the listener");
        }
        (None, false) => {
            let what = "no listener is for devices, so none of them is ever served";
            reader.warn(top, "device", what, "write a [[listener]] with role = \"device\"");
        }
        _ => {}
    }
}
