//! Where to come from, so that nobody can say that a trusted client was served.
//!
//! [`way_to`] finds an address of this machine that the configuration does not trust, and from which a listener can be
//! reached. What it deliberately does not do: bind or connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::{Config, Listener, SignIn};
use crate::outbound::interface_addresses;

/// So many addresses of 127.0.0.0/8 are considered, all over it.
const LOOPBACK_TRIED: u32 = 64;

/// From where a listener is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) target: SocketAddr,
    pub(super) source: IpAddr,
}

/// The first way from an address that is not trusted.
pub(super) fn way_to(config: &Config, bound: SocketAddr) -> Option<Way> {
    let own = interface_addresses();
    targets(bound, &own).into_iter().find_map(|target| {
        let source = sources(target.ip(), &own).into_iter().find(|source| !is_trusted(config, *source))?;
        Some(Way { target, source })
    })
}

/// Whether a client at this address may do more than strangers may, or is taken for somebody else.
pub(super) fn is_trusted(config: &Config, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let is_front_end = |listener: &Listener| {
        let mut named = listener.proxy_from.iter().chain(&listener.xclient.networks);
        named.any(|network| network.contains(&address))
    };
    let mut free = config.devices.iter().filter(|device| device.sign_in == SignIn::Optional);
    config.relay_network(address).is_some()
        || free.any(|device| device.closeness(address).is_some())
        || config.listeners.iter().any(is_front_end)
}

/// Where a bound socket can be reached on this machine.
fn targets(bound: SocketAddr, own: &[IpAddr]) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let loopback: IpAddr =
        if bound.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    // One that is bound to all of IPv6 mostly takes IPv4 as well.
    let takes = |ip: &&IpAddr| bound.is_ipv6() || ip.is_ipv4();
    let others = own.iter().filter(takes).copied();
    std::iter::once(loopback).chain(others).map(|ip| SocketAddr::new(ip, bound.port())).collect()
}

/// The addresses of this machine that reach it there.
fn sources(target: IpAddr, own: &[IpAddr]) -> Vec<IpAddr> {
    match target.to_canonical() {
        IpAddr::V4(v4) if v4.is_loopback() => loopback().collect(),
        IpAddr::V6(v6) if v6.is_loopback() => vec![v6.into()],
        target => {
            let same =
                |ip: &&IpAddr| ip.is_ipv4() == target.is_ipv4() && !ip.is_loopback() && !is_link_local(**ip);
            own.iter().filter(same).copied().collect()
        }
    }
}

/// 127.0.0.1, then others that are ever further from it.
fn loopback() -> impl Iterator<Item = IpAddr> {
    let step = (1 << 24) / LOOPBACK_TRIED;
    let spread = (0..LOOPBACK_TRIED).map(move |number| Ipv4Addr::from_bits((127 << 24) + number * step + 2));
    std::iter::once(Ipv4Addr::LOCALHOST).chain(spread).map(IpAddr::from)
}

/// One cannot be bound without its interface.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Surroundings};

    fn config(more: &str) -> Config {
        let text = format!(
            "hostname = \"mail.example.org\"\n\
             [[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:25\"]\n{more}"
        );
        File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap()
    }

    fn source(config: &Config, bound: &str) -> Option<IpAddr> {
        way_to(config, bound.parse().unwrap()).map(|way| way.source)
    }

    #[test]
    fn the_first_address_that_is_not_trusted_is_taken() {
        let here = "127.0.0.1:25";
        assert_eq!(source(&config(""), here), Some("127.0.0.1".parse().unwrap()));
        let one = config("[[relay.networks]]\nname = \"me\"\nnetworks = [\"127.0.0.1\"]\n");
        assert_eq!(source(&one, here), Some("127.0.0.2".parse().unwrap()));
        let some = config("[[relay.networks]]\nname = \"me\"\nnetworks = [\"127.0.0.0/24\"]\n");
        assert_eq!(source(&some, here), Some("127.4.0.2".parse().unwrap()));
        let all = config("[[relay.networks]]\nname = \"me\"\nnetworks = [\"127.0.0.0/8\"]\n");
        assert_eq!(source(&all, here), None);
    }

    #[test]
    fn who_may_speak_for_others_is_no_stranger() {
        let text = "proxy_protocol = [\"127.0.0.1\"]\nxclient = [\"127.0.0.2\"]\n";
        assert_eq!(source(&config(text), "127.0.0.1:25"), Some("127.4.0.2".parse().unwrap()));
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback_first() {
        let way = way_to(&config(""), "0.0.0.0:2525".parse().unwrap()).unwrap();
        assert_eq!(way.target, "127.0.0.1:2525".parse().unwrap());
    }
}
