//! What the configuration is judged against besides itself: the network this machine stands in, and the certificates
//! that lie in the store.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use postern_pki::IdentityStore;

use super::File;

/// What [`File::resolve`](super::File::resolve) needs to know of the machine. Tests make their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The addresses of the default gateways. Behind a container bridge every client looks like this one, so that a relay
    /// network that holds it would let everybody relay.
    pub gateways: Vec<IpAddr>,
    /// The names of the identities that lie in the certificate store, in order: a listener may refer to them though
    /// the file lists them nowhere.
    pub identities: Vec<String>,
}

impl Surroundings {
    /// Reads the kernel's routing tables; what cannot be read counts as empty.
    pub fn detect() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut gateways = ipv4_gateways(&read("/proc/net/route"));
        gateways.extend(ipv6_gateways(&read("/proc/net/ipv6_route")));
        Self { gateways, identities: Vec::new() }
    }

    /// The same, with what lies in the certificate store of the data directory that a file names.
    pub(super) fn beside(&self, file: &File) -> Self {
        let stored = file.data_dir().map(|data_dir| IdentityStore::new(&data_dir).names());
        // What cannot be read holds none; the daemon's own user says why when it starts.
        let stored = stored.and_then(Result::ok).unwrap_or_default();
        Self { identities: stored, ..self.clone() }
    }
}

/// The flag of a route that leads over a gateway (RTF_GATEWAY).
const OVER_GATEWAY: u32 = 0x2;

/// The gateways of the default routes in the text of `/proc/net/route`.
fn ipv4_gateways(text: &str) -> Vec<IpAddr> {
    text.lines().skip(1).filter_map(ipv4_gateway).collect()
}

fn ipv4_gateway(line: &str) -> Option<IpAddr> {
    let columns: Vec<_> = line.split_whitespace().collect();
    let number = |column: usize| u32::from_str_radix(columns.get(column)?, 16).ok();
    let (destination, gateway, flags, mask) = (number(1)?, number(2)?, number(3)?, number(7)?);
    let default = destination == 0 && mask == 0 && flags & OVER_GATEWAY != 0;
    // The kernel prints the address as a number in the machine's own byte order.
    default.then(|| IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes())))
}

/// The gateways of the default routes in the text of `/proc/net/ipv6_route`.
fn ipv6_gateways(text: &str) -> Vec<IpAddr> {
    text.lines().filter_map(ipv6_gateway).collect()
}

fn ipv6_gateway(line: &str) -> Option<IpAddr> {
    let columns: Vec<_> = line.split_whitespace().collect();
    let number = |column: usize| u128::from_str_radix(columns.get(column)?, 16).ok();
    let (destination, length, gateway, flags) = (number(0)?, number(1)?, number(4)?, number(8)?);
    let default = destination == 0 && length == 0 && flags & u128::from(OVER_GATEWAY) != 0;
    default.then(|| IpAddr::V6(Ipv6Addr::from(gateway)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
eth0\t0000000A\t020011AC\t0003\t0\t0\t0\t000000FF\t0\t0\t0
";
    const IPV6_ROUTE: &str = "\
20010db8000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_the_default_route_names_a_gateway() {
        assert_eq!(ipv4_gateways(ROUTE), ["172.17.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn the_unreachable_default_route_of_loopback_is_no_gateway() {
        assert_eq!(ipv6_gateways(IPV6_ROUTE), ["fe80::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn nonsense_has_no_gateways() {
        for text in ["", "header only", "h\nx y z", "h\neth0 zz 01 03 0 0 0 00"] {
            assert!(ipv4_gateways(text).is_empty() && ipv6_gateways(text).is_empty(), "{text}");
        }
    }
}
