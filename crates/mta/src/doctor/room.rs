//! What all checks work with: the configuration, whom to ask, and what is known of this machine.
//!
//! [`Room::enter`] sets it up once. What it deliberately does not do: judge.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_dns::{Opened, Resolver};
use postern_pki::{ClientTls, TrustAnchors};

use crate::admin::{Admin, running};
use crate::config::{Config, Connector, Role, Way};
use crate::daemon;
use crate::outbound::own_addresses;

/// So many of our domains are looked at.
const DOMAINS_MOST: usize = 50;

/// What the checks work with.
pub(super) struct Room {
    pub(super) config: Arc<Config>,
    pub(super) admin: Admin,
    /// The host name in the form that the DNS knows.
    pub(super) hostname: String,
    pub(super) opened: Opened,
    /// What the operating system trusts, or why that is not known.
    pub(super) roots: Result<ClientTls, String>,
    /// The addresses of this machine's interfaces.
    pub(super) own: Vec<IpAddr>,
    /// The process of the running daemon; `None`: none runs.
    pub(super) daemon: Option<running::Running>,
    pub(super) now: Timestamp,
    /// For each check.
    pub(super) time: Duration,
}

impl Room {
    pub(super) async fn enter(config: Config, time: Duration, now: Timestamp) -> Result<Self, daemon::Error> {
        let hostname = ascii(&config.hostname);
        let opened = postern_dns::open(&config.dns.options())?;
        let every = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let mut own: Vec<IpAddr> = own_addresses(&[every]).iter().map(SocketAddr::ip).collect();
        own.dedup();
        Ok(Self {
            daemon: running::running(&config.data_dir).await,
            admin: Admin::new(config.clone()),
            roots: ClientTls::new(&TrustAnchors::System).map_err(|error| error.to_string()),
            config: Arc::new(config),
            hostname,
            opened,
            own,
            now,
            time,
        })
    }

    pub(super) fn resolver(&self) -> &dyn Resolver {
        &*self.opened.resolver
    }

    /// Whether a daemon runs.
    pub(super) fn is_running(&self) -> bool {
        self.daemon.is_some()
    }

    /// Our own domains, in the form that the DNS knows.
    pub(super) fn domains(&self) -> Vec<String> {
        self.config.domains.iter().take(DOMAINS_MOST).map(|domain| ascii(&domain.name)).collect()
    }

    /// Whether mail comes in from other servers.
    pub(super) fn takes_mail(&self) -> bool {
        self.config.listeners.iter().any(|listener| listener.role == Role::Relay)
    }

    /// Whether mail leaves to others' hosts without another server of ours in between.
    pub(super) fn sends_itself(&self) -> bool {
        let goes_out = |connector: &Connector| {
            matches!(connector.to, Way::Mx { .. }) && connector.enabled && !connector.spaces.is_empty()
        };
        self.config.connectors.iter().any(goes_out)
    }
}

/// A name as the DNS has it: A-labels, lower case.
pub(super) fn ascii(name: &postern_smtp::address::Domain) -> String {
    name.to_ascii().unwrap_or_else(|_| name.to_string()).trim_end_matches('.').to_ascii_lowercase()
}

/// Whether the world can reach an address, as far as one can tell from the address.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            // RFC 6598 §7: shared between a provider and its customers.
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || v4.is_broadcast()
                || shared)
        }
        IpAddr::V6(v6) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            let inside = v6.is_unique_local() || v6.is_unicast_link_local();
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_multicast() || inside)
        }
    }
}

/// Several things in one text.
pub(super) fn listed<T: ToString>(things: impl IntoIterator<Item = T>) -> String {
    let things: Vec<String> = things.into_iter().map(|thing| thing.to_string()).collect();
    if things.is_empty() { "none".into() } else { things.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_some_can_reach_are_told_from_those_of_the_world() {
        for inside in [
            "10.1.2.3",
            "127.0.0.1",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "0.0.0.0",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["192.0.2.1", "100.128.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
