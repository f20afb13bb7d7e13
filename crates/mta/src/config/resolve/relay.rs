//! `[[relay.networks]]` and `[[relay.certificates]]`: who may relay without signing in. This is where an open relay would
//! be made, so this is where it is refused.

use std::net::IpAddr;

use ipnet::IpNet;

use postern_smtp::address::{Domain, Mailbox};

use super::peer::pin;
use super::width::{canonical, is_too_much_together, too_wide, wants_reason};
use super::{Unique, network};
use crate::config::model::{ClientCertificates, Listener, NamedCertificates, NamedNetworks, Role};
use crate::config::reader::{Reader, Section};

const REMEDY: &str =
    "list only the few networks whose every machine you trust; people sign in on a submission listener";

/// The networks and the certificates.
pub(super) fn relay<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    gateways: &[IpAddr],
    listeners: Option<&[Listener]>,
) -> (Option<Vec<NamedNetworks>>, Option<Vec<NamedCertificates>>) {
    let relay = &reader.section(top, "relay");
    let networks = networks(reader, relay, gateways);
    let certificates = certificates(reader, relay);
    let asks = |listener: &Listener| {
        listener.role == Role::Relay && listener.client_certificates != ClientCertificates::Ignored
    };
    if relay.writes("certificates") && listeners.is_some_and(|listeners| !listeners.iter().any(asks)) {
        let what = "no relay listener asks for client certificates, so none is ever seen";
        let remedy =
            "write client_certificates = \"asked\" and client_ca in a listener with role = \"relay\"";
        reader.warn(relay, "certificates", what, remedy);
    }
    (networks, certificates)
}

fn certificates<'a>(reader: &mut Reader<'a>, relay: &Section<'a>) -> Option<Vec<NamedCertificates>> {
    let sections = reader.sections(relay, "certificates");
    let mut unique = Unique::new("a set of certificates");
    let mut certificates = Vec::new();
    for at in &sections {
        let name = reader.name(at, "name");
        let names = reader.list(at, "names", certified_name);
        let pins = reader.list(at, "pins", pin);
        if names.as_ref().is_some_and(Vec::is_empty) && pins.as_ref().is_some_and(Vec::is_empty) {
            let remedy = "write names or pins, or remove the section";
            reader.complain(at, "", "it names no certificate, so it would let nobody relay", remedy);
        }
        unique.check(reader, at, None);
        let all = || Some(NamedCertificates { name: name?, names: names?, pins: pins? });
        certificates.push(all());
    }
    certificates.into_iter().collect()
}

/// A DNS name or a mail address that a certificate may bear, in the spelling that certificates use.
fn certified_name(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err(format!(
            "\"{text}\" would let more relay than are named here: each name is written in full"
        ));
    }
    if text.contains('@') {
        let mailbox = text.parse::<Mailbox>();
        return mailbox
            .map(|_| text.to_owned())
            .map_err(|error| format!("\"{text}\" is not a mail address: {error}"));
    }
    let domain = text.parse::<Domain>();
    domain.map(|name| name.key().into_owned()).map_err(|error| format!("\"{text}\" is not a name: {error}"))
}

fn networks<'a>(
    reader: &mut Reader<'a>,
    relay: &Section<'a>,
    gateways: &[IpAddr],
) -> Option<Vec<NamedNetworks>> {
    let sections = reader.sections(relay, "networks");
    let mut names = Unique::new("a network");
    let (mut named_networks, mut all) = (Vec::new(), Vec::new());
    for at in &sections {
        named_networks.push(named(reader, at, gateways, &mut all));
        names.check(reader, at, None);
    }
    let each_is_narrow = all.iter().all(|network| too_wide(*network).is_none());
    if each_is_narrow && is_too_much_together(&all) {
        let what = "all networks together hold a large part of the Internet: this is an open relay";
        reader.complain(relay, "networks", what, REMEDY);
    }
    named_networks.into_iter().collect()
}

/// Every network that can be read is judged and joins `all`, whatever else is wrong with the section.
fn named<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    gateways: &[IpAddr],
    all: &mut Vec<IpNet>,
) -> Option<NamedNetworks> {
    let name = reader.name(at, "name");
    let because = at.writes("because").then(|| reader.name(at, "because")).flatten();
    let (written, sound) = reader.list_and_items(at, "networks", network);
    if written.as_ref().is_some_and(Vec::is_empty) {
        reader.complain(at, "networks", "the list is empty", "name a network, or remove the section");
    }
    for network in sound {
        judge(reader, at, network, because.as_deref(), gateways);
        all.push(canonical(network));
    }
    let networks = written?.into_iter().map(canonical).collect();
    Some(NamedNetworks { name: name?, networks, because })
}

fn judge(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    written: IpNet,
    because: Option<&str>,
    gateways: &[IpAddr],
) {
    let network = canonical(written);
    if let Some(what) = too_wide(network) {
        return reader.complain(at, "networks", format!("{written} {what}"), REMEDY);
    }
    if let Some(gateway) = gateways.iter().map(IpAddr::to_canonical).find(|gateway| network.contains(gateway))
    {
        let what = format!(
            "{written} holds the default gateway {gateway}, which every client behind a container bridge looks like"
        );
        let remedy = "list smaller networks or single addresses without the gateway's";
        return reader.complain(at, "networks", what, remedy);
    }
    if wants_reason(network) && because.is_none() {
        let what = format!("{written} holds more public addresses than one site is given");
        let remedy =
            "list smaller networks, or write because = \"…\" with the reason why everybody there may relay";
        reader.complain(at, "networks", what, remedy);
    }
    if written.trunc() != written {
        let what = format!("{written} has bits set behind its prefix; {} is taken", written.trunc());
        reader.warn(at, "networks", what, "write the network's own address, or an address without a prefix");
    }
}
