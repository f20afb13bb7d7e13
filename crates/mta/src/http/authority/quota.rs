//! How many requests for certificates one client may send.
//!
//! [`Quotas`] counts by client and hour, and forgets what is over. A client is an IPv4 address or an IPv6 network of 64
//! bits. Counts live as long as the daemon, so that a reload gives nobody a second share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::inbound::listener::client_of;

/// So many requests of one client in
const MOST: u32 = 30;
/// this time.
const SPAN: SignedDuration = SignedDuration::from_hours(1);
/// So many clients are known at once; when all have asked within the hour, strangers wait.
const CLIENTS_MOST: usize = 4096;

/// The counts.
#[derive(Default)]
pub(crate) struct Quotas(Mutex<HashMap<IpAddr, Share>>);

struct Share {
    since: Timestamp,
    used: u32,
}

impl Quotas {
    /// Counts one more request of a client, or says after how many seconds it may come again.
    pub(super) fn take(&self, client: IpAddr, now: Timestamp) -> Result<(), u64> {
        let client = client_of(client);
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.len() >= CLIENTS_MOST && !shares.contains_key(&client) {
            shares.retain(|_, share| !share.is_over(now));
            if shares.len() >= CLIENTS_MOST {
                return Err(SPAN.as_secs().unsigned_abs());
            }
        }
        let share = shares.entry(client).or_insert(Share { since: now, used: 0 });
        if share.is_over(now) {
            *share = Share { since: now, used: 0 };
        }
        if share.used >= MOST {
            let left = SPAN.as_secs() - now.duration_since(share.since).as_secs();
            return Err(left.max(1).unsigned_abs());
        }
        share.used += 1;
        Ok(())
    }
}

impl Share {
    /// A clock that was set back ends it as well.
    fn is_over(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since);
        age >= SPAN || age.is_negative()
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

    #[test]
    fn a_client_has_its_share_each_hour_and_takes_none_of_others() {
        let quotas = Quotas::default();
        for number in 0..30 {
            assert_eq!(quotas.take(ip("192.0.2.1"), at(number)), Ok(()), "{number}");
        }
        assert_eq!(quotas.take(ip("192.0.2.1"), at(600)), Err(3000));
        assert_eq!(quotas.take(ip("192.0.2.2"), at(600)), Ok(()));
        assert_eq!(quotas.take(ip("192.0.2.1"), at(3600)), Ok(()));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_has_one_share() {
        let quotas = Quotas::default();
        for number in 0..30 {
            assert_eq!(quotas.take(ip(&format!("2001:db8::{number:x}")), at(0)), Ok(()));
        }
        assert!(quotas.take(ip("2001:db8::ffff"), at(0)).is_err());
        assert_eq!(quotas.take(ip("2001:db8:0:1::1"), at(0)), Ok(()));
    }

    #[test]
    fn a_crowd_costs_a_known_amount_of_memory() {
        let quotas = Quotas::default();
        let client = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(number));
        for number in 0..4096 {
            assert_eq!(quotas.take(client(number), at(0)), Ok(()));
        }
        assert!(quotas.take(client(5000), at(1)).is_err());
        assert_eq!(quotas.take(client(5000), at(3600)), Ok(()), "those that are over make room");
    }
}
