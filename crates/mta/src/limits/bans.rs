//! Who is turned away, why, and until when. Pure.
//!
//! [`Bans`] holds them all and finds the one for an address in a few look-ups, however many there are. What is to be said of
//! one is said once a minute, with how often it was met meanwhile.
//!
//! What it deliberately does not do: decide who is to be banned, or turn anybody away.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::subject::Subject;

/// So many are held; of more, automatic ones that end first make room.
const BANS_MOST: usize = 50_000;
/// Of each ban there is one line in the log in this time.
const SAID_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// Somebody is turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    pub subject: Subject,
    /// Why.
    pub because: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when; `None`: until it is removed.
    pub until: Option<Timestamp>,
    /// Who made it.
    pub by: BannedBy,
}

/// Who made a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BannedBy {
    /// An administrator.
    Administrator,
    /// Postern, because of guessing.
    Guessing,
}

/// All bans.
#[derive(Debug, Default)]
pub(super) struct Bans {
    bans: HashMap<Subject, Entry>,
    /// The lengths of IPv4 and of IPv6 networks that occur.
    lengths: [BTreeSet<u8>; 2],
}

#[derive(Debug)]
struct Entry {
    ban: Ban,
    said: Option<Timestamp>,
    met: u64,
}

/// A ban that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) ban: Ban,
    /// How often since it was last said; `None`: nothing is to be said now.
    pub(super) say: Option<u64>,
}

impl Bans {
    /// The ban that this address falls under, if any.
    pub(super) fn meet(&mut self, address: IpAddr, now: Timestamp) -> Option<Met> {
        let subject = self.of_address(address, now)?.subject.clone();
        Some(self.bans.get_mut(&subject)?.meet(now))
    }

    /// The same, and it counts as no meeting.
    pub(super) fn of_address(&self, address: IpAddr, now: Timestamp) -> Option<&Ban> {
        let address = address.to_canonical();
        let lengths = &self.lengths[usize::from(address.is_ipv6())];
        let subjects = lengths.iter().filter_map(|&bits| IpNet::new(address, bits).ok());
        subjects
            .filter_map(|network| self.bans.get(&Subject::Network(network.trunc())))
            .map(|entry| &entry.ban)
            .find(|ban| ban.is_in_force(now))
    }

    /// The ban of an account.
    pub(super) fn of_account(&self, name: &str, now: Timestamp) -> Option<&Ban> {
        let entry = self.bans.get(&Subject::Account(name.to_owned()))?;
        Some(&entry.ban).filter(|ban| ban.is_in_force(now))
    }

    /// Bans somebody; a ban on the same is replaced. What is gone for want of room is answered.
    pub(super) fn add(&mut self, ban: Ban, now: Timestamp) -> Vec<Subject> {
        let gone = if self.bans.len() >= BANS_MOST { self.make_room(now) } else { Vec::new() };
        if let Subject::Network(network) = &ban.subject {
            self.lengths[usize::from(network.addr().is_ipv6())].insert(network.prefix_len());
        }
        self.bans.insert(ban.subject.clone(), Entry { ban, said: None, met: 0 });
        gone
    }

    /// Lifts a ban.
    pub(super) fn remove(&mut self, subject: &Subject) -> Option<Ban> {
        let removed = self.bans.remove(subject).map(|entry| entry.ban);
        self.lengths = [BTreeSet::new(), BTreeSet::new()];
        for subject in self.bans.keys() {
            if let Subject::Network(network) = subject {
                self.lengths[usize::from(network.addr().is_ipv6())].insert(network.prefix_len());
            }
        }
        removed
    }

    /// Forgets those that are over, and says which.
    pub(super) fn prune(&mut self, now: Timestamp) -> Vec<Subject> {
        let over: Vec<Subject> = self
            .bans
            .values()
            .filter(|entry| !entry.ban.is_in_force(now))
            .map(|entry| entry.ban.subject.clone())
            .collect();
        for subject in &over {
            self.bans.remove(subject);
        }
        over
    }

    /// Those in force, the newest last.
    pub(super) fn list(&self, now: Timestamp) -> Vec<Ban> {
        let mut list: Vec<Ban> =
            self.bans.values().map(|entry| entry.ban.clone()).filter(|ban| ban.is_in_force(now)).collect();
        list.sort_by(|one, other| (one.since, &one.subject).cmp(&(other.since, &other.subject)));
        list
    }

    fn make_room(&mut self, now: Timestamp) -> Vec<Subject> {
        let mut gone = self.prune(now);
        if self.bans.len() >= BANS_MOST {
            let automatic = self.bans.values().filter(|entry| entry.ban.by == BannedBy::Guessing);
            let first = automatic.min_by_key(|entry| entry.ban.until).map(|entry| entry.ban.subject.clone());
            if let Some(subject) = first {
                self.bans.remove(&subject);
                gone.push(subject);
            }
        }
        gone
    }
}

impl Ban {
    pub(super) fn is_in_force(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl Entry {
    fn meet(&mut self, now: Timestamp) -> Met {
        self.met += 1;
        let due = self.said.is_none_or(|said| now.duration_since(said) >= SAID_EVERY);
        let say = due.then(|| std::mem::take(&mut self.met));
        if due {
            self.said = Some(now);
        }
        Met { ban: self.ban.clone(), say }
    }
}

/// How long the next ban lasts, after so many before it.
pub(super) fn length(first: Duration, longest: Duration, before: u32) -> Duration {
    let factor = 1u32.checked_shl(before).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest.max(first))
}

impl fmt::Display for BannedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Administrator => "administrator",
            Self::Guessing => "guessing",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn ban(subject: &str, until: Option<i64>) -> Ban {
        let subject = subject.parse().unwrap();
        Ban { subject, because: "x".into(), since: at(0), until: until.map(at), by: BannedBy::Guessing }
    }

    fn met(bans: &mut Bans, address: &str, second: i64) -> Option<String> {
        bans.meet(address.parse().unwrap(), at(second)).map(|met| met.ban.subject.to_string())
    }

    #[test]
    fn an_address_meets_the_ban_of_itself_or_of_a_network_around_it_until_it_ends() {
        let mut bans = Bans::default();
        for (subject, until) in [("192.0.2.7", Some(10)), ("198.51.100.0/24", None), ("2001:db8::/64", None)]
        {
            bans.add(ban(subject, until), at(0));
        }
        assert_eq!(met(&mut bans, "192.0.2.7", 9).as_deref(), Some("192.0.2.7"));
        assert_eq!(met(&mut bans, "::ffff:192.0.2.7", 9).as_deref(), Some("192.0.2.7"));
        assert_eq!(met(&mut bans, "192.0.2.7", 10), None);
        assert_eq!(met(&mut bans, "192.0.2.8", 0), None);
        assert_eq!(met(&mut bans, "198.51.100.200", 0).as_deref(), Some("198.51.100.0/24"));
        assert_eq!(met(&mut bans, "2001:db8::9", 0).as_deref(), Some("2001:db8::/64"));
        bans.remove(&"198.51.100.0/24".parse().unwrap());
        assert_eq!(met(&mut bans, "198.51.100.200", 0), None);
        assert_eq!(bans.prune(at(10)), ["192.0.2.7".parse().unwrap()]);
    }

    #[test]
    fn a_ban_is_said_once_a_minute_with_how_often_it_was_met() {
        let mut bans = Bans::default();
        bans.add(ban("192.0.2.7", None), at(0));
        let said: Vec<_> =
            (0..61).filter_map(|second| bans.meet("192.0.2.7".parse().unwrap(), at(second))?.say).collect();
        assert_eq!(said, [1, 60]);
    }

    #[test]
    fn each_ban_lasts_twice_as_long_as_the_one_before_up_to_the_longest() {
        let hours: Vec<u64> = (0..5)
            .map(|before| length(Duration::from_hours(1), Duration::from_hours(10), before).as_secs() / 3600)
            .collect();
        assert_eq!(hours, [1, 2, 4, 8, 10]);
        assert_eq!(length(Duration::from_hours(1), Duration::from_hours(10), 99), Duration::from_hours(10));
    }

    #[test]
    fn a_full_table_makes_room_and_keeps_what_an_administrator_made() {
        let mut bans = Bans::default();
        let by_hand = Ban { by: BannedBy::Administrator, ..ban("192.0.2.7", None) };
        bans.add(by_hand, at(0));
        let mut gone = 0;
        for number in 0..BANS_MOST {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(number).unwrap());
            gone += bans.add(ban(&address.to_string(), Some(100)), at(0)).len();
        }
        assert_eq!((bans.bans.len(), gone), (BANS_MOST, 1));
        assert!(met(&mut bans, "192.0.2.7", 0).is_some());
    }
}
