//! How many requests for certificates one client may send.
//!
//! [`Quotas`] counts by client and hour, and forgets what is over. A client is an IPv4 address or an IPv6 network of 64
//! bits; when more of them come than can be counted, neighbours in an IPv6 network of 48 bits become one. Clients that are
//! given certificates at once have a table of their own, which no stranger fills ([`Kin`]). Counts live as long as the
//! daemon, so that a reload gives nobody a second share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::limits::client_of;

/// So many requests of one client in
const MOST: u32 = 30;
/// this time.
const SPAN: SignedDuration = SignedDuration::from_hours(1);
/// So many clients of a kind are known at once; when all have asked within the hour, others of that kind wait.
const CLIENTS_MOST: usize = 4096;
/// What is left of an address when neighbours are taken together.
const WIDE: u128 = u128::MAX << (128 - 48);

/// The counts.
#[derive(Default)]
pub(crate) struct Quotas {
    near: Table,
    strangers: Table,
}

/// What a client is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kin {
    /// It stands in `[ca] automatic_from`.
    Near,
    /// It is anybody.
    Stranger,
}

/// Why a request is not taken, and after how many seconds it may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The client has used its share.
    Spent(u64),
    /// More clients came than can be counted.
    Crowded(u64),
}

impl Quotas {
    /// Counts one more request of a client, unless it has none left.
    pub(super) fn take(&self, client: IpAddr, kin: Kin, now: Timestamp) -> Result<(), Refusal> {
        let table = match kin {
            Kin::Near => &self.near,
            Kin::Stranger => &self.strangers,
        };
        table.take(client_of(client), now)
    }
}

#[derive(Default)]
struct Table(Mutex<HashMap<Counted, Share>>);

/// Who shares a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Counted {
    /// An IPv4 address, or an IPv6 network of 64 bits.
    One(IpAddr),
    /// An IPv6 network of 48 bits.
    Neighbours(Ipv6Addr),
}

struct Share {
    since: Timestamp,
    used: u32,
}

impl Table {
    fn take(&self, client: IpAddr, now: Timestamp) -> Result<(), Refusal> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Counted::One(client);
        let mut counted = own.widened();
        if shares.get(&counted).is_none_or(|share| share.is_over(now)) {
            shares.remove(&counted);
            counted = own;
        }
        if shares.len() >= CLIENTS_MOST && !shares.contains_key(&counted) {
            shares.retain(|_, share| !share.is_over(now));
            if shares.len() >= CLIENTS_MOST {
                fold(&mut shares);
                counted = own.widened();
            }
            if shares.len() >= CLIENTS_MOST && !shares.contains_key(&counted) {
                let first = shares.values().map(|share| share.left(now)).min();
                return Err(Refusal::Crowded(first.unwrap_or(1)));
            }
        }
        let share = shares.entry(counted).or_insert(Share { since: now, used: 0 });
        if share.is_over(now) {
            *share = Share { since: now, used: 0 };
        }
        if share.used >= MOST {
            return Err(Refusal::Spent(share.left(now)));
        }
        share.used += 1;
        Ok(())
    }
}

/// Makes neighbours one, with the share of the one that used most.
fn fold(shares: &mut HashMap<Counted, Share>) {
    for (counted, share) in std::mem::take(shares) {
        let wide = shares.entry(counted.widened()).or_insert(Share { since: share.since, used: 0 });
        wide.since = wide.since.min(share.since);
        wide.used = wide.used.max(share.used);
    }
}

impl Counted {
    /// Together with its neighbours; an IPv4 address has none.
    fn widened(self) -> Self {
        match self {
            Self::One(IpAddr::V6(address)) => Self::Neighbours(Ipv6Addr::from_bits(address.to_bits() & WIDE)),
            same => same,
        }
    }
}

impl Share {
    /// A clock that was set back ends it as well.
    fn is_over(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        age >= SPAN || age.is_negative()
    }

    /// So many seconds until it is over.
    fn left(&self, now: Timestamp) -> u64 {
        let left = SPAN.as_secs() - now.duration_since(self.since).as_secs();
        left.max(1).unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn take(quotas: &Quotas, client: &str, seconds: i64) -> Result<(), Refusal> {
        quotas.take(ip(client), Kin::Stranger, at(seconds))
    }

    /// One request of each of so many IPv4 addresses.
    fn crowd(quotas: &Quotas, clients: u32) {
        for number in 0..clients {
            let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
            assert_eq!(quotas.take(client, Kin::Stranger, at(0)), Ok(()));
        }
    }

    #[test]
    fn a_client_has_its_share_each_hour_and_takes_none_of_others() {
        let quotas = Quotas::default();
        for number in 0..30 {
            assert_eq!(take(&quotas, "192.0.2.1", number), Ok(()), "{number}");
        }
        assert_eq!(take(&quotas, "192.0.2.1", 600), Err(Refusal::Spent(3000)));
        assert_eq!(take(&quotas, "192.0.2.2", 600), Ok(()));
        assert_eq!(take(&quotas, "192.0.2.1", 3600), Ok(()));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_has_one_share() {
        let quotas = Quotas::default();
        for number in 0..30 {
            assert_eq!(take(&quotas, &format!("2001:db8::{number:x}"), 0), Ok(()));
        }
        assert!(take(&quotas, "2001:db8::ffff", 0).is_err());
        assert_eq!(take(&quotas, "2001:db8:0:1::1", 0), Ok(()));
    }

    #[test]
    fn a_crowd_costs_a_known_amount_of_memory_and_is_told_to_be_one() {
        let quotas = Quotas::default();
        crowd(&quotas, 4096);
        assert_eq!(take(&quotas, "192.0.2.1", 600), Err(Refusal::Crowded(3000)));
        assert_eq!(take(&quotas, "10.0.0.7", 600), Ok(()), "it is known");
        assert_eq!(take(&quotas, "192.0.2.1", 3600), Ok(()), "those that are over make room");
    }

    #[test]
    fn a_crowd_of_strangers_keeps_nobody_out_who_gets_certificates_at_once() {
        let quotas = Quotas::default();
        crowd(&quotas, 4096);
        assert_eq!(quotas.take(ip("192.0.2.1"), Kin::Near, at(1)), Ok(()));
    }

    #[test]
    fn one_that_has_many_ipv6_networks_fills_nothing_with_them() {
        let quotas = Quotas::default();
        for number in 0..4096 {
            assert_eq!(take(&quotas, &format!("2001:db8:0:{number:x}::1"), 0), Ok(()), "{number}");
        }
        for number in 0..29 {
            assert_eq!(take(&quotas, &format!("2001:db8:0:f{number:03x}::1"), 1), Ok(()), "{number}");
        }
        assert_eq!(take(&quotas, "2001:db8:0:ffff::1", 1), Err(Refusal::Spent(3599)), "all are one now");
        assert_eq!(take(&quotas, "192.0.2.1", 1), Ok(()));
        assert_eq!(take(&quotas, "2001:db8:1::1", 1), Ok(()));
        assert_eq!(
            take(&quotas, "2001:db8:0:ffff::1", 3600),
            Ok(()),
            "and by themselves again an hour later"
        );
    }
}
