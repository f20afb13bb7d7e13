//! Which addresses are this machine's, so that mail is never sent to ourselves by way of an MX.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::getifaddrs;

/// Every address and port on which our listeners can be reached: wildcard binds stand for each interface's address.
pub(crate) fn own_addresses(bound: &[SocketAddr]) -> Vec<SocketAddr> {
    let interfaces = interface_addresses();
    let mut own = Vec::new();
    for address in bound {
        if address.ip().is_unspecified() {
            own.extend(interfaces.iter().map(|ip| SocketAddr::new(*ip, address.port())));
        } else {
            own.push(*address);
        }
    }
    own
}

pub(crate) fn interface_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        })
        .collect()
}
