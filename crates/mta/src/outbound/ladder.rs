//! The fallback ladder of opportunistic TLS, and what is remembered of each host.
//!
//! Where nothing stronger than `opportunistic` is demanded (RFC 7435 §3), a failed handshake is followed by one with a
//! small hello, for some peers break on the large ones that post-quantum key exchange makes, and then by a connection in
//! clear. Which [`Rung`] a host was last reached on is remembered for a while, so that a broken peer does not cost a
//! failed handshake for each message. On every path where something stronger is demanded there is no ladder at all.
//!
//! What it deliberately does not do: connect, or survive a restart.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How TLS is gone about on one connection, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rung {
    /// As the connector says.
    Full,
    /// With a small hello.
    SmallHello,
    /// Not at all.
    Clear,
}

/// So many hosts are remembered at most; beyond that the oldest are forgotten.
const HOSTS_MOST: usize = 10_000;
/// A peer that breaks on large hellos is not mended soon.
const SMALL_HELLO: Duration = Duration::from_hours(6);
/// A peer whose TLS is broken may be mended at any time.
const CLEAR: Duration = Duration::from_mins(30);

/// What is remembered of the hosts.
#[derive(Debug, Default)]
pub(crate) struct Ladder {
    hosts: Mutex<HashMap<String, Remembered>>,
}

/// The rung that a host was reached on, and why not on a better one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Where to begin.
    pub(crate) rung: Rung,
    /// What failed above it.
    pub(crate) why: String,
    until: Instant,
}

impl Remembered {
    /// How long it is still remembered.
    pub(crate) fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }
}

impl Rung {
    /// The next one down.
    pub(crate) fn below(self) -> Option<Self> {
        match self {
            Self::Full => Some(Self::SmallHello),
            Self::SmallHello => Some(Self::Clear),
            Self::Clear => None,
        }
    }

    fn held_for(self) -> Duration {
        match self {
            Self::Full => Duration::ZERO,
            Self::SmallHello => SMALL_HELLO,
            Self::Clear => CLEAR,
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "with TLS",
            Self::SmallHello => "with a small TLS hello",
            Self::Clear => "in clear",
        })
    }
}

impl Ladder {
    /// Where to begin with a host (its name, address and port in one text).
    pub(crate) fn remembered(&self, host: &str, now: Instant) -> Option<Remembered> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let remembered = hosts.get(host)?.clone();
        if now < remembered.until {
            return Some(remembered);
        }
        hosts.remove(host);
        None
    }

    /// Remembers on which rung a host was reached, and what failed above it. A host that was reached at the top is
    /// forgotten.
    pub(crate) fn remember(&self, host: &str, rung: Rung, why: &str, now: Instant) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if rung == Rung::Full {
            hosts.remove(host);
            return;
        }
        if hosts.len() >= HOSTS_MOST && !hosts.contains_key(host) {
            make_room(&mut hosts, now);
        }
        let remembered = Remembered { rung, why: why.to_owned(), until: now + rung.held_for() };
        hosts.insert(host.to_owned(), remembered);
    }
}

/// Forgets what is over, or else what ends first.
fn make_room(hosts: &mut HashMap<String, Remembered>, now: Instant) {
    hosts.retain(|_, remembered| now < remembered.until);
    if hosts.len() < HOSTS_MOST {
        return;
    }
    let first = hosts.iter().min_by_key(|(_, remembered)| remembered.until).map(|(host, _)| host.clone());
    if let Some(first) = first {
        hosts.remove(&first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_host_is_remembered_until_its_time_is_over() {
        let (ladder, now) = (Ladder::default(), Instant::now());
        ladder.remember("mx", Rung::Clear, "it resets", now);
        let remembered = ladder.remembered("mx", now + CLEAR / 2).unwrap();
        assert_eq!((remembered.rung, remembered.why.as_str()), (Rung::Clear, "it resets"));
        assert_eq!(ladder.remembered("mx", now + CLEAR), None);
    }

    #[test]
    fn a_host_that_is_well_again_is_forgotten() {
        let (ladder, now) = (Ladder::default(), Instant::now());
        ladder.remember("mx", Rung::SmallHello, "it resets", now);
        ladder.remember("mx", Rung::Full, "", now);
        assert_eq!(ladder.remembered("mx", now), None);
    }

    #[test]
    fn the_number_of_remembered_hosts_is_bounded() {
        let (ladder, now) = (Ladder::default(), Instant::now());
        for host in 0..HOSTS_MOST + 5 {
            ladder.remember(&host.to_string(), Rung::Clear, "", now + Duration::from_millis(host as u64));
        }
        assert_eq!(ladder.hosts.lock().unwrap().len(), HOSTS_MOST);
        assert!(ladder.remembered("0", now).is_none() && ladder.remembered("10004", now).is_some());
    }

    #[test]
    fn the_ladder_ends_in_clear() {
        assert_eq!(Rung::Full.below().and_then(Rung::below), Some(Rung::Clear));
        assert_eq!(Rung::Clear.below(), None);
    }
}
