//! Names that no name server is asked for: those of `/etc/hosts`, and `localhost` (RFC 6761 §6.3).
//!
//! The type to know: `Local`, the names as they were when the resolver was made. The resolver with DNSSEC asks it first, and
//! only for addresses. What it says is indeterminate (RFC 4033 §5): no signature vouches for a local file, so no DANE follows
//! from it.
//!
//! What it deliberately does not do: answer for MX, TXT or TLSA, apply search domains, or notice that the file was edited.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_resolver::Hosts;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};

use crate::{Answer, Dnssec};

/// How long what a local file says holds: until it may have been edited.
const TTL: Duration = Duration::from_mins(1);

/// The names of `/etc/hosts` as they were when the resolver was made.
pub(crate) struct Local(Hosts);

impl Local {
    /// An unreadable file counts as empty, as everywhere else.
    pub(crate) fn from_system() -> Self {
        Self(Hosts::from_system().unwrap_or_default())
    }

    /// The addresses that this machine itself gives to a host. No signature vouches for them.
    pub(crate) fn addresses(&self, host: &str) -> Option<Answer<Vec<IpAddr>>> {
        let owner = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let mut records = self.listed(&owner, RecordType::AAAA);
        records.extend(self.listed(&owner, RecordType::A));
        if records.is_empty() && (owner == "localhost" || owner.ends_with(".localhost")) {
            records = vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        }
        (!records.is_empty()).then_some(Answer { records, owner, dnssec: Dnssec::Indeterminate, ttl: TTL })
    }

    fn listed(&self, host: &str, kind: RecordType) -> Vec<IpAddr> {
        let Ok(name) = Name::from_ascii(host) else { return Vec::new() };
        let Some(lookup) = self.0.lookup_static_host(&Query::query(name, kind)) else { return Vec::new() };
        lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_and_names_below_it_are_this_machine() {
        let local = Local::from_system();
        for name in ["localhost", "LocalHost.", "a.localhost"] {
            let answer = local.addresses(name).expect("addresses");
            assert!(answer.records.iter().all(IpAddr::is_loopback), "{name}: {answer:?}");
            assert_ne!(answer.dnssec, Dnssec::Secure);
        }
        assert_eq!(local.addresses("host.invalid"), None);
    }
}
