//! The proof that a configuration makes no open relay: on what was resolved, by the function that decides in service.
//!
//! Every other check here looks at one key. [`prove`] asks [`Routing::may_relay`] itself, for each listener, as a stranger: from
//! the first and last address of every network that the configuration names, from those just outside of it, and from all
//! over the Internet; to domains near and far of those that it names. Whoever may send to somebody else's domain must stand in
//! a list that says so by name, and that list must not hold somebody far off besides ([`far_from`]). Front ends are looked at
//! too: whoever may say who a client is can say that it is a trusted one.
//!
//! What it deliberately does not do: judge aliases and catch_all that lead to other domains. They are the administrator's
//! forwarding: the address that strangers name is ours. `domain` tells of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use postern_smtp::address::{Domain, Host, LocalPart, Mailbox};

use super::width::{canonical, is_too_much_together};
use crate::config::check::Closed;
use crate::config::model::{AddressSpace, Config, Device, FrontEndLogin, Listener, Role, SignIn};
use crate::routing::{Permit, Relaying, Routing};

/// So many networks' edges are tried; the configuration's other checks bound what each may hold.
const NETWORKS_MOST: usize = 512;
/// So many domains are tried.
const DOMAINS_MOST: usize = 64;

/// What is wrong: the key's path, what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) key: String,
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

/// Looks for a way in which a stranger could relay. `gateways` are addresses that every client may look like.
///
/// # Errors
/// The ways.
pub(super) fn prove(config: &Config, gateways: &[IpAddr]) -> Result<Closed, Vec<Hole>> {
    let mut holes: Vec<Hole> =
        config.listeners.iter().flat_map(|listener| front_ends(config, listener, gateways)).collect();
    let routing = Routing::new(Arc::new(config.clone()));
    let (addresses, recipients) = (addresses(config), recipients(config));
    for listener in &config.listeners {
        // One is enough: the rest would be the same mistake.
        holes.extend(addresses.iter().find_map(|address| {
            recipients.iter().find_map(|to| hole(config, &routing, listener, *address, to))
        }));
    }
    let (listeners, addresses, recipients) = (config.listeners.len(), addresses.len(), recipients.len());
    if holes.is_empty() { Ok(Closed { listeners, addresses, recipients }) } else { Err(holes) }
}

/// A stranger at this address who may send there, and should not.
fn hole(
    config: &Config,
    routing: &Routing,
    listener: &Listener,
    address: IpAddr,
    to: &Mailbox,
) -> Option<Hole> {
    let device = device_at(config, listener, address);
    let stranger = Relaying { principal: None, role: listener.role, address, certificate: None, device };
    let permit = routing.may_relay(stranger, to)?;
    if is_listed(config, permit, address, device, to) {
        return None;
    }
    Some(Hole {
        key: format!("listener.{}", listener.name),
        what: format!("a stranger at {address} could send to {to} by {permit}: this is an open relay"),
        remedy: "list only the few networks whose every machine you trust; people sign in on a submission listener",
    })
}

/// Whether a list says by name that this client may, and means no crowd.
fn is_listed(
    config: &Config,
    permit: Permit<'_>,
    address: IpAddr,
    device: Option<&Device>,
    to: &Mailbox,
) -> bool {
    let holds = |networks: &[IpNet]| {
        let reaches_far = |network: &IpNet| {
            let network = canonical(*network);
            is_crowd(network, network.network())
        };
        let around = |network: &IpNet| network.contains(&address) && !is_crowd(*network, address);
        !networks.iter().any(reaches_far) && networks.iter().any(around)
    };
    match permit {
        // Nobody has, and nobody showed one.
        Permit::SignedIn | Permit::Certificate(_) => false,
        Permit::Network(name) => {
            let mut named = config.relay_networks.iter().filter(|named| named.name == name);
            named.any(|named| holds(&named.networks))
        }
        Permit::Device(name) => device.is_some_and(|device| {
            let in_session = device.sign_in == SignIn::Required;
            device.name == name && device.may_send_to(to) && (in_session || holds(&device.networks))
        }),
    }
}

/// Whether a network that holds this client holds strangers, too, who have nothing to do with it.
fn is_crowd(network: IpNet, client: IpAddr) -> bool {
    network.contains(&far_from(client))
}

/// Somebody so far from a client that no list which means the one can mean the other, and no farther: on the public Internet
/// he is in the next IPv4 /16, or in the next IPv6 /32; in private space in the next /8 or /16.
fn far_from(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(v4) => {
            // RFC 6598: carriers' own.
            let carrier = matches!(v4.octets(), [100, 64..128, ..]);
            let private = v4.is_private() || v4.is_loopback() || v4.is_link_local() || carrier;
            Ipv4Addr::from_bits(v4.to_bits() ^ 1 << if private { 24 } else { 16 }).into()
        }
        IpAddr::V6(v6) => {
            let bit = match v6.segments() {
                // NAT64, Teredo, IPv4-compatible: their last 32 bits are an IPv4 address. Those of 6to4 follow 16 others.
                [0 | 0x2001, 0, ..] | [0x64, 0xff9b, ..] => 16,
                [0xfc00..=0xffff, ..] => 112,
                _ => 96,
            };
            Ipv6Addr::from_bits(v6.to_bits() ^ 1 << bit).into()
        }
    }
}

/// The device that a client is, of several the one that names it most closely.
fn device_at<'c>(config: &'c Config, listener: &Listener, address: IpAddr) -> Option<&'c Device> {
    let known = config.devices.iter().filter(|_| listener.role == Role::Device);
    let close = known.filter_map(|device| Some((device.closeness(address)?, device)));
    close.max_by_key(|(closeness, _)| *closeness).map(|(_, device)| device)
}

/// Whoever may say who a client is can say that it is one that is trusted.
fn front_ends(config: &Config, listener: &Listener, gateways: &[IpAddr]) -> Vec<Hole> {
    let trusted = !config.relay_networks.is_empty()
        || config.devices.iter().any(|device| device.sign_in == SignIn::Optional)
        || listener.xclient.login == FrontEndLogin::Honoured;
    let all = [("proxy_protocol", &listener.proxy_from), ("xclient", &listener.xclient.networks)];
    let mut holes = Vec::new();
    for (key, networks) in all.into_iter().filter(|_| trusted) {
        let key = format!("listener.{}.{key}", listener.name);
        let canonical: Vec<IpNet> = networks.iter().map(|network| canonical(*network)).collect();
        let gateway = gateways.iter().map(IpAddr::to_canonical);
        let mut looks_like =
            gateway.filter(|gateway| canonical.iter().any(|network| network.contains(gateway)));
        let crowd = canonical.iter().any(|network| is_crowd(*network, network.network()));
        if crowd || is_too_much_together(&canonical) {
            let what = "all front ends together are a large part of the Internet, and any of them can say that it is a client \
                        that may relay: this is an open relay"
                .to_owned();
            holes.push(Hole { key, what, remedy: "name the addresses of the front ends only" });
        } else if let Some(gateway) = looks_like.next() {
            let what = format!(
                "it holds the default gateway {gateway}, which every client behind a container bridge looks like, and any of \
                 them can say that it is a client that may relay: this is an open relay"
            );
            holes.push(Hole {
                key,
                what,
                remedy: "name the addresses of the front ends only, without the gateway's",
            });
        }
    }
    holes
}

/// Edges of all networks that the configuration names, what is just outside of them, and addresses from everywhere.
fn addresses(config: &Config) -> Vec<IpAddr> {
    let of_listeners =
        |listener: &Listener| [listener.proxy_from.clone(), listener.xclient.networks.clone()].concat();
    let networks = config.relay_networks.iter().flat_map(|named| named.networks.clone());
    let networks = networks
        .chain(config.devices.iter().flat_map(|device| device.networks.clone()))
        .chain(config.listeners.iter().flat_map(of_listeners))
        .chain(config.inbound_policies.iter().flat_map(|policy| policy.networks.clone()));
    let edges = networks.take(NETWORKS_MOST).flat_map(|network| edges(canonical(network)));
    edges.chain(everywhere()).collect()
}

fn edges(network: IpNet) -> Vec<IpAddr> {
    let (first, last) = (network.network(), network.broadcast());
    [step(first, false), Some(first), Some(last), step(last, true)].into_iter().flatten().collect()
}

/// The address before or behind this one.
fn step(address: IpAddr, up: bool) -> Option<IpAddr> {
    let by = |number: u128| if up { number.checked_add(1) } else { number.checked_sub(1) };
    match address {
        IpAddr::V4(v4) => {
            let number = by(u128::from(v4.to_bits()))?;
            u32::try_from(number).ok().map(|bits| Ipv4Addr::from_bits(bits).into())
        }
        IpAddr::V6(v6) => by(v6.to_bits()).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// One address of each /8, one of each /8 of IPv6's global unicast addresses (RFC 4291 §2.4), which begin with 001, and what
/// clients on IPv4 look like behind every way of translation.
fn everywhere() -> impl Iterator<Item = IpAddr> {
    let v4 = (1..=u8::MAX).map(|first| IpAddr::from([first, 113, 57, 211]));
    let v6 = (0x20..0x40_u16).map(|first| IpAddr::from([first << 8 | 0x57, 0x1b3, 0x2f1, 0x9d, 1, 2, 3, 4]));
    v4.chain(v6).chain(TRANSLATED.map(IpAddr::from))
}

/// 3.113.57.211 by NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056), Teredo (RFC 4380), and in addresses with IPv4 ones embedded
/// (RFC 4291 §2.5.5, RFC 2765).
const TRANSLATED: [[u16; 8]; 8] = [
    [0x64, 0xff9b, 0, 0, 0, 0, 0x371, 0x39d3],
    [0x64, 0xff9b, 1, 0, 0, 0, 0x371, 0x39d3],
    [0x64, 0xff9b, 1, 0x371, 0x39, 0xd300, 0, 0],
    [0x2002, 0x371, 0x39d3, 0, 0, 0, 0, 1],
    [0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, 0xfc8e, 0xc62c],
    [0, 0, 0, 0, 0, 0, 0x371, 0x39d3],
    [0, 0, 0, 0, 0, 0xffff, 0x371, 0x39d3],
    [0, 0, 0, 0, 0xffff, 0, 0x371, 0x39d3],
];

/// Addresses of somebody else's: near our own domains, in the address spaces of connectors, and in no way related.
fn recipients(config: &Config) -> Vec<Mailbox> {
    let ours: Vec<&Domain> = config.domains.iter().map(|domain| &domain.name).collect();
    let near = ours.iter().flat_map(|domain| {
        let parent = domain.as_str().split_once('.').map(|(_, parent)| parent.to_owned());
        [Some(format!("sub.{domain}")), Some(format!("x{domain}")), parent].into_iter().flatten()
    });
    let spaces = config.connectors.iter().flat_map(|connector| &connector.spaces);
    let spaces = spaces.chain(config.devices.iter().flat_map(|device| &device.recipients));
    let in_space = spaces.filter_map(|space| match space {
        AddressSpace::Any => None,
        AddressSpace::Exact(domain) => Some(domain.to_string()),
        AddressSpace::Below(domain) => Some(format!("below.{domain}")),
    });
    let far = ["somebody-else.example".to_owned()];
    let domains = far.into_iter().chain(near.take(DOMAINS_MOST)).chain(in_space.take(DOMAINS_MOST));
    let foreign =
        domains.filter_map(|name| name.parse::<Domain>().ok()).filter(|domain| !ours.contains(&domain));
    let local = LocalPart::from_value("nobody").ok();
    foreign.filter_map(|domain| Some(Mailbox::new(local.clone()?, Host::Domain(domain)))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::model::NamedNetworks;
    use crate::config::{File, Surroundings};

    const SOUND: &str = "hostname = \"mail.example.org\"\n\
        [[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"[::]:25\"]\n\
        [[listener]]\nname = \"submission\"\nrole = \"submission\"\nbind = [\"[::]:587\"]\n\
        [[listener]]\nname = \"devices\"\nrole = \"device\"\nbind = [\"[::]:26\"]\n\
        [[device]]\nname = \"scanner\"\naddresses = [\"192.0.2.9\"]\nsender = \"scanner@example.org\"\n\
        recipient_domains = [\"example.org\", \"partner.example\"]\ntls = \"offered\"\nsign_in = \"none\"\n\
        [[connector]]\nname = \"store\"\nto = \"lmtp:unix:/run/lmtp\"\n\
        [[connector]]\nname = \"partner\"\nto = \"mx\"\naddress_space = [\"*.partner.example\", \"*\"]\n\
        [[domain]]\nname = \"example.org\"\ndeliver = \"store\"\n";

    fn resolve(text: &str) -> Result<Config, String> {
        let resolved = File::parse(text, "test").unwrap().resolve(&Surroundings::default());
        resolved.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn holes(config: &Config, gateways: &[IpAddr]) -> Vec<Hole> {
        prove(config, gateways).err().unwrap_or_default()
    }

    fn with_networks(networks: &[&str]) -> Config {
        let mut config = resolve(SOUND).unwrap();
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        config.relay_networks = vec![NamedNetworks { name: "x".into(), networks, because: None }];
        config
    }

    #[test]
    fn a_sound_configuration_has_no_hole() {
        let proof = prove(&resolve(SOUND).unwrap(), &[]).unwrap();
        assert!(proof.listeners == 3 && proof.addresses > 280 && proof.recipients > 3, "{proof:?}");
        assert_eq!(holes(&with_networks(&["198.51.100.0/24", "2001:db8:7::/48"]), &[]), []);
    }

    #[test]
    fn what_no_check_of_keys_has_seen_is_found_on_the_value() {
        for everybody in [
            "0.0.0.0/0",
            "::/0",
            "128.0.0.0/1",
            "2000::/3",
            "::ffff:0.0.0.0/96",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "64:ff9b:1:aaaa::/64",
            "2002::/16",
            "2001::/32",
            "::/96",
            "3.0.0.0/8",
            "198.18.0.0/15",
            "2a01:4f8::/31",
        ] {
            let holes = holes(&with_networks(&["198.51.100.0/24", everybody]), &[]);
            assert!(holes.iter().any(|hole| hole.key == "listener.mx"), "{everybody}: {holes:?}");
            assert!(!holes.iter().any(|hole| hole.key == "listener.submission"), "{everybody}: {holes:?}");
        }
        let mut config = resolve(SOUND).unwrap();
        config.devices[0].networks = vec!["0.0.0.0/0".parse().unwrap()];
        assert!(holes(&config, &[]).iter().any(|hole| hole.key == "listener.devices"));
        config.devices[0].sign_in = SignIn::Required;
        assert_eq!(holes(&config, &[]), [], "who has to sign in is no stranger");
    }

    #[test]
    fn front_ends_that_anybody_can_be_are_refused_where_something_is_trusted() {
        let halves = ["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2"].map(|half| half.parse().unwrap());
        let mut config = resolve(SOUND).unwrap();
        config.listeners[0].xclient.networks = halves.to_vec();
        assert_eq!(holes(&config, &[]).first().map(|hole| hole.key.as_str()), Some("listener.mx.xclient"));
        config.devices.clear();
        assert_eq!(holes(&config, &[]), [], "nothing is trusted by its address");
        let mut config = with_networks(&["198.51.100.0/24"]);
        config.listeners[0].proxy_from = vec!["172.17.0.0/16".parse().unwrap()];
        assert_eq!(holes(&config, &[]), []);
        let holes = holes(&config, &["172.17.0.1".parse().unwrap()]);
        assert_eq!(holes.first().map(|hole| hole.key.as_str()), Some("listener.mx.proxy_protocol"));
    }

    #[test]
    fn a_wide_list_of_front_ends_is_refused_when_the_file_is_read() {
        for wide in [
            "0.0.0.0/0",
            "0.0.0.0/1",
            "::ffff:0.0.0.0/96",
            "2000::/3",
            "64:ff9b::/96",
            "2002::/16",
            "2001::/32",
            "::/96",
            "198.51.96.0/20",
            "2001:db8:7::/48",
        ] {
            let text = SOUND.replacen(
                "bind = [\"[::]:25\"]",
                &format!("bind = [\"[::]:25\"]\nxclient = [\"{wide}\"]"),
                1,
            );
            let problems = resolve(&text).unwrap_err();
            assert!(problems.contains("lets every client say that it is another one"), "{problems}");
        }
    }

    /// Networks of any size, anywhere.
    fn network() -> impl Strategy<Value = String> {
        let v4 = (any::<u32>(), 0..=32_u8)
            .prop_map(|(bits, length)| format!("{}/{length}", Ipv4Addr::from_bits(bits)));
        let v6 = (any::<u128>(), 0..=128_u8)
            .prop_map(|(bits, length)| format!("{}/{length}", Ipv6Addr::from_bits(bits)));
        let mapped = (any::<u32>(), 90..=128_u8)
            .prop_map(|(bits, length)| format!("::ffff:{}/{length}", Ipv4Addr::from_bits(bits)));
        let begins = prop::sample::select(vec![
            0x2002_u128 << 112,
            0x2001 << 112,
            0x0064_ff9b << 96,
            0x0064_ff9b_0001 << 80,
            0,
        ]);
        let translated = (begins, any::<u128>(), 8..=128_u8).prop_map(|(begin, bits, length)| {
            let within = bits & if begin >> 112 == 0x2002 { u128::MAX >> 16 } else { u128::MAX >> 96 };
            format!("{}/{length}", Ipv6Addr::from_bits(begin | within))
        });
        prop_oneof![4 => v4, 2 => v6, 1 => mapped, 4 => translated]
    }

    /// Somebody in a network.
    fn member(network: IpNet, by: u128) -> IpAddr {
        match network {
            IpNet::V4(v4) => {
                let low = u32::try_from(by & u128::from(u32::MAX)).unwrap();
                Ipv4Addr::from_bits(v4.network().to_bits() | low & v4.hostmask().to_bits()).into()
            }
            IpNet::V6(v6) => {
                Ipv6Addr::from_bits(v6.network().to_bits() | by & v6.hostmask().to_bits()).into()
            }
        }
    }

    /// Which part of the Internet somebody is in, of those that one list may hold a few of. On IPv4 behind a translation he is
    /// where he is on IPv4.
    fn part(address: IpAddr) -> (u8, u128) {
        let v4 = |bits: u128| match u32::try_from(bits & u128::from(u32::MAX)).map(Ipv4Addr::from_bits) {
            Ok(v4) if v4.is_private() || v4.is_loopback() || v4.is_link_local() => (4, bits >> 24),
            Ok(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => (4, bits >> 24),
            _ => (4, (bits & u128::from(u32::MAX)) >> 16),
        };
        match address {
            IpAddr::V4(address) => v4(u128::from(address.to_bits())),
            IpAddr::V6(address) => match (address.segments(), address.to_bits()) {
                ([0x2002, ..], bits) => v4(bits >> 80),
                ([0x2001, 0, ..] | [0x64, 0xff9b, ..] | [0, 0, 0, 0, ..], bits) => {
                    (4, (bits & u128::from(u32::MAX)) >> 16)
                }
                ([0xfc00..=0xffff, ..], bits) => (6, bits >> 112),
                (_, bits) => (6, bits >> 96),
            },
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn no_stranger_relays_by_any_configuration_that_is_accepted(
            relay in prop::collection::vec(network(), 0..4),
            device in prop::collection::vec(network(), 0..3),
            strangers in prop::collection::vec(prop_oneof![any::<u32>().prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits))), any::<u128>().prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)))], 16),
        ) {
            let mut text = SOUND.to_owned();
            if !relay.is_empty() {
                text += &format!("[[relay.networks]]\nname = \"some\"\nnetworks = {relay:?}\n");
            }
            if !device.is_empty() {
                text += &format!(
                    "[[device]]\nname = \"other\"\naddresses = {device:?}\nbecause = \"a trial\"\nsender = \"o@example.org\"\n\
                     recipient_domains = [\"*\"]\ntls = \"offered\"\nsign_in = \"none\"\n"
                );
            }
            let Ok(config) = resolve(&text) else { return Ok(()) };
            let routing = Routing::new(Arc::new(config.clone()));
            let to: Mailbox = "victim@somebody-else.example".parse().unwrap();
            let listed: Vec<IpNet> = relay.iter().chain(&device).map(|net| canonical(net.parse().unwrap())).collect();
            for address in strangers {
                let address = address.to_canonical();
                if listed.iter().any(|network| network.contains(&address)) {
                    continue;
                }
                for listener in &config.listeners {
                    let device = device_at(&config, listener, address);
                    let stranger = Relaying { principal: None, role: listener.role, address, certificate: None, device };
                    prop_assert_eq!(routing.may_relay(stranger, &to), None);
                }
            }
        }

        /// Whatever is written, and whatever the reason, no list of an accepted configuration reaches across the Internet.
        #[test]
        fn who_is_in_one_network_of_an_accepted_configuration_is_in_one_part_of_the_internet(
            list in network(),
            key in prop::sample::select(vec!["relay", "device", "proxy_protocol", "xclient"]),
            members in prop::collection::vec(any::<u128>(), 32),
        ) {
            let mut text = SOUND.to_owned();
            match key {
                "relay" => text += &format!("[[relay.networks]]\nname = \"some\"\nnetworks = [\"{list}\"]\nbecause = \"a trial\"\n"),
                "device" => text += &format!(
                    "[[device]]\nname = \"other\"\naddresses = [\"{list}\"]\nbecause = \"a trial\"\nsender = \"o@example.org\"\n\
                     recipient_domains = [\"example.org\"]\ntls = \"offered\"\nsign_in = \"none\"\n"
                ),
                key => text = text.replacen("bind = [\"[::]:25\"]", &format!("bind = [\"[::]:25\"]\n{key} = [\"{list}\"]"), 1),
            }
            if resolve(&text).is_ok() {
                let network = canonical(list.parse().unwrap());
                let home = part(member(network, 0));
                for by in members {
                    let member = member(network, by);
                    prop_assert_eq!(part(member), home, "{} is in {}", member, list);
                }
            }
        }
    }
}
