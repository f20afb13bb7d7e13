//! When reports are sent and tried again. Pure.
//!
//! [`due_days`] says which days' reports are due now, [`next_try`] when to try again. Each host begins at its own time behind
//! midnight, which depends on its name alone: a restart does not move it, and hosts do not all report at once
//! (RFC 8460 §4.1).
//!
//! What it deliberately does not do: remember what was sent (the ledger does), send anything, or look at the clock: "now"
//! is an argument.

use jiff::{SignedDuration, Timestamp};

use crate::policy::day::Day;

/// The earliest and the latest start behind midnight: RFC 8460 §4.1 wants reports spread over some hours.
const SOONEST: u64 = 10 * 60;
const LATEST: u64 = 4 * 60 * 60;
/// Reports of days so long ago are still sent, when Postern did not run in between.
const CATCH_UP: u16 = 2;
/// Pauses before each further try, in minutes: a day in all (RFC 8460 §5.5).
const PAUSES: [i64; 6] = [15, 60, 120, 240, 360, 660];

/// The days whose reports are due: first and last. Each host has its own time behind midnight, and always the same.
pub(crate) fn due_days(now: Timestamp, hostname: &str) -> (Day, Day) {
    let delay = SignedDuration::from_secs(delay(hostname));
    let last = Day::of(now.saturating_sub(delay).unwrap_or(Timestamp::MIN)).earlier(1);
    (last.earlier(CATCH_UP - 1), last)
}

/// When to try again after so many tries; `None`: often enough.
pub(crate) fn next_try(tries: u32, now: Timestamp) -> Option<Timestamp> {
    let pause = PAUSES.get(usize::try_from(tries).ok()?.checked_sub(1)?)?;
    now.checked_add(SignedDuration::from_mins(*pause)).ok()
}

/// Seconds behind midnight.
fn delay(hostname: &str) -> i64 {
    // FNV-1a: spreads names evenly, and the same way in every version of Postern.
    let step = |hash: u64, octet: u8| (hash ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3);
    let hash = hostname.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    i64::try_from(SOONEST + hash % (LATEST - SOONEST)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "mail.example.org";

    fn midnight() -> Timestamp {
        "2026-11-21T00:00:00Z".parse().unwrap()
    }

    fn days(seconds_behind_midnight: i64) -> [String; 2] {
        let (first, last) = due_days(midnight() + SignedDuration::from_secs(seconds_behind_midnight), HOST);
        [first.to_string(), last.to_string()]
    }

    #[test]
    fn a_day_is_due_behind_midnight_after_the_hosts_own_delay() {
        let delay = delay(HOST);
        assert_eq!(days(delay), ["2026-11-19", "2026-11-20"]);
        assert_eq!(days(86_399), ["2026-11-19", "2026-11-20"]);
        assert_eq!(days(delay - 1), ["2026-11-18", "2026-11-19"]);
        assert_eq!(days(0), ["2026-11-18", "2026-11-19"]);
    }

    #[test]
    fn hosts_are_spread_over_four_hours() {
        let delays: Vec<i64> = (0..1000).map(|n| delay(&format!("mx{n}.example.org"))).collect();
        assert!(delays.iter().all(|delay| (600..14_400).contains(delay)));
        for quarter in 0..4 {
            let within = |delay: &&i64| (**delay - 600) / 3450 == quarter;
            assert!(delays.iter().filter(within).count() > 150, "{quarter}");
        }
    }

    #[test]
    fn tries_end_after_a_day() {
        let mut now = midnight();
        let mut tries = 1;
        while let Some(next) = next_try(tries, now) {
            assert!(next > now);
            (now, tries) = (next, tries + 1);
        }
        let hours = now.duration_since(midnight()).as_hours();
        assert!((23..=25).contains(&hours), "{hours}");
        assert_eq!(next_try(0, now), None);
    }
}
