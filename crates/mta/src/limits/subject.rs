//! Whom counts and bans are about: addresses, networks, accounts.
//!
//! An IPv6 network of 64 bits is one client, and its own network; IPv4 networks have 24 bits. [`Subject`] is what a ban is
//! about, as people write it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::directory::Login;

/// Whom a ban is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Subject {
    /// An address or a network; host bits cleared, IPv4-mapped networks turned into IPv4.
    Network(IpNet),
    /// An account, by the name that is used to sign in.
    Account(String),
}

/// The client that an address counts as.
pub(super) fn address_key(address: IpAddr) -> String {
    client_of(address).to_string()
}

/// The network that an address counts as.
pub(super) fn network_key(address: IpAddr) -> String {
    network_of(address).to_string()
}

/// What counts as one client: an IPv4 address, or the IPv6 network of 64 bits, in which every machine can take any
/// address (RFC 4291 §2.5.4).
pub(crate) fn client_of(address: IpAddr) -> IpAddr {
    client_net(address).addr()
}

/// The client that an address counts as, as a network.
pub(crate) fn client_net(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => address.into(),
        address @ IpAddr::V6(_) => cut(address, 64),
    }
}

/// The network that an address counts as.
pub(crate) fn network_of(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        address @ IpAddr::V4(_) => cut(address, 24),
        address @ IpAddr::V6(_) => cut(address, 64),
    }
}

fn cut(address: IpAddr, bits: u8) -> IpNet {
    IpNet::new(address, bits).map_or(IpNet::from(address), |network| network.trunc())
}

/// An account by the form in which names compare. What cannot be a name is counted together.
pub(super) fn account_key(name: &str) -> String {
    Login::new(name).map(|login| login.key().to_owned()).unwrap_or_default()
}

/// What the spellings of an account have in common: its key without `DOMAIN\` before it and a mail domain behind it.
pub(super) fn folded(key: &str) -> String {
    let name = key.rsplit_once('\\').map_or(key, |(_, name)| name);
    name.rsplit_once('@').map_or(name, |(local, _)| local).to_lowercase()
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(IpNet::from(address.to_canonical())));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(canonical(network)));
        }
        let looks_numeric =
            text.contains('/') || text.bytes().all(|octet| octet.is_ascii_digit() || octet == b'.');
        match Login::new(text) {
            Some(login) if !looks_numeric => Ok(Self::Account(login.key().to_owned())),
            _ => Err(format!(
                "\"{text}\" is no address, no network such as 192.0.2.0/24, and no account's name"
            )),
        }
    }
}

fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(net) => net.addr().to_ipv4_mapped().zip(net.prefix_len().checked_sub(96)),
        IpNet::V4(_) => None,
    };
    let turned = mapped.and_then(|(address, bits)| IpNet::new(address.into(), bits).ok());
    turned.unwrap_or(network).trunc()
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

/// As people write it: a single address without its length.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Self::Network(network) => write!(f, "{network}"),
            Self::Account(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_accounts_are_told_apart_and_read_back() {
        for (text, shown) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("2001:db8::7/64", "2001:db8::/64"),
            ("Anna@Example.org", "anna@example.org"),
        ] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.to_string(), shown);
            assert_eq!(shown.parse::<Subject>().unwrap(), subject);
        }
        for wrong in ["", "192.0.2", "192.0.2.0/33", "300.1.1.1", "a\nb"] {
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }
}
