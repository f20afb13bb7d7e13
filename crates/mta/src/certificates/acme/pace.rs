//! When an identity is tried again that could not be issued: later and later, never at the same moment as others.
//!
//! Pure: the moment and the luck are arguments.

use std::time::Duration;

use jiff::Timestamp;

/// After the first failure.
const FIRST: Duration = Duration::from_mins(5);
/// The longest that it is put off by itself.
const LONGEST: Duration = Duration::from_hours(24);
/// The longest that a CA may put it off: an account's limits are by the week.
const CA_MOST: Duration = Duration::from_hours(14 * 24);
/// So much of the time is left to chance, either way.
const JITTER: f64 = 0.2;

/// When to try again after so many failures in a row; `after` is what the CA asks for, `luck` from 0 to 1.
pub(super) fn next_try(failures: u32, after: Option<Duration>, luck: f64, now: Timestamp) -> Timestamp {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let own = doubled.mul_f64(1.0 + JITTER * (2.0 * luck.clamp(0.0, 1.0) - 1.0));
    let wait = own.max(after.unwrap_or_default().min(CA_MOST));
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(failures: u32, after: Option<Duration>, luck: f64) -> i64 {
        let now = Timestamp::UNIX_EPOCH;
        next_try(failures, after, luck, now).duration_since(now).as_mins()
    }

    #[test]
    fn each_failure_doubles_the_wait_up_to_a_day() {
        assert_eq!([1, 2, 3, 4].map(|failures| minutes(failures, None, 0.5)), [5, 10, 20, 40]);
        assert_eq!(
            [9, 10, 100, u32::MAX].map(|failures| minutes(failures, None, 0.5)),
            [1280, 1440, 1440, 1440]
        );
        assert_eq!((minutes(1, None, 0.0), minutes(1, None, 1.0)), (4, 6));
    }

    #[test]
    fn what_the_ca_asks_for_is_kept_to_within_reason() {
        assert_eq!(minutes(1, Some(Duration::from_hours(3)), 0.5), 180);
        assert_eq!(minutes(4, Some(Duration::from_mins(1)), 0.5), 40, "it may be longer");
        assert_eq!(minutes(1, Some(Duration::from_hours(99_999)), 0.5), 14 * 24 * 60);
    }
}
