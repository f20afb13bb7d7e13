//! `[[relay.networks]]` and `[[relay.certificates]]`: who may relay without signing in. This is where an open relay would
//! be made, so this is where it is refused.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use postern_smtp::address::{Domain, Mailbox};

use super::peer::pin;
use super::{Unique, network};
use crate::config::model::{ClientCertificates, Listener, NamedCertificates, NamedNetworks, Role};
use crate::config::reader::{Reader, Section};

/// No shorter prefix is taken.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 16;
/// All IPv4 networks together hold at most so many addresses: the private ones and as many again.
const MOST_V4: u64 = 1 << 25;
/// All IPv6 networks together hold at most so many /64.
const MOST_V6: u64 = 1 << 49;

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
    let (written, sound) = reader.list_and_items(at, "networks", network);
    if written.as_ref().is_some_and(Vec::is_empty) {
        reader.complain(at, "networks", "the list is empty", "name a network, or remove the section");
    }
    for network in sound {
        judge(reader, at, network, gateways);
        all.push(canonical(network));
    }
    let networks = written?.into_iter().map(canonical).collect();
    Some(NamedNetworks { name: name?, networks })
}

fn judge(reader: &mut Reader<'_>, at: &Section<'_>, written: IpNet, gateways: &[IpAddr]) {
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
    if written.trunc() != written {
        let what = format!("{written} has bits set behind its prefix; {} is taken", written.trunc());
        reader.warn(at, "networks", what, "write the network's own address, or an address without a prefix");
    }
}

pub(super) fn too_wide(network: IpNet) -> Option<&'static str> {
    match network {
        _ if network.prefix_len() == 0 => Some("is everybody: this is an open relay"),
        IpNet::V4(v4) if v4.prefix_len() < SHORTEST_V4 => Some("is wider than a /8: this is an open relay"),
        IpNet::V6(v6) if v6.contains(&mapped()) => Some("holds every IPv4 address: this is an open relay"),
        IpNet::V6(v6) if v6.prefix_len() < SHORTEST_V6 => Some("is wider than a /16: this is an open relay"),
        _ => None,
    }
}

/// The network as clients' addresses are compared with it: an IPv4-mapped one (RFC 4291 §2.5.5.2) is IPv4.
pub(super) fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    if !mapped().contains(&v6) {
        return network;
    }
    let address = v6.network().to_ipv4_mapped();
    let v4 = address.and_then(|address| Ipv4Net::new(address, v6.prefix_len() - mapped().prefix_len()).ok());
    v4.map_or(network, IpNet::V4)
}

/// `::ffff:0:0/96`.
fn mapped() -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)
}

pub(super) fn is_too_much_together(all: &[IpNet]) -> bool {
    let (mut v4, mut v6) = (0_u64, 0_u64);
    for network in IpNet::aggregate(&all.to_vec()) {
        match network {
            IpNet::V4(net) => v4 = v4.saturating_add(1 << (32 - net.prefix_len())),
            IpNet::V6(net) => v6 = v6.saturating_add(1 << 64_u8.saturating_sub(net.prefix_len()).min(63)),
        }
    }
    v4 > MOST_V4 || v6 > MOST_V6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_disguise_makes_everybody_acceptable() {
        for everybody in [
            "0.0.0.0/0",
            "::/0",
            "::ffff:0.0.0.0/96",
            "::/16",
            "::/80",
            "0.0.0.0/7",
            "2000::/3",
            "::ffff:1.2.3.4/98",
        ] {
            assert!(too_wide(canonical(everybody.parse().unwrap())).is_some(), "{everybody}");
        }
    }

    #[test]
    fn a_mapped_network_is_compared_as_ipv4() {
        assert_eq!(canonical("::ffff:192.0.2.0/124".parse().unwrap()), "192.0.2.0/28".parse().unwrap());
        assert_eq!(canonical("2001:db8::1/64".parse().unwrap()), "2001:db8::/64".parse().unwrap());
    }

    #[test]
    fn many_pieces_do_not_make_the_internet() {
        let whole = |networks: &[&str]| {
            let networks: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
            is_too_much_together(&networks)
        };
        assert!(!whole(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/16"]));
        assert!(whole(&["1.0.0.0/8", "2.0.0.0/8", "3.0.0.0/8"]));
        assert!(whole(&["2000::/16", "2001::/16", "2002::/16"]));
    }
}
