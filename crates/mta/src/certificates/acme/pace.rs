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

/// What a CA asks for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked {
    /// To be left alone for this time.
    pub(super) after: Option<Duration>,
    /// How long the present certificate lasts yet; nothing where there is none. However patient the CA wants us to be, there
    /// must be time for another try.
    pub(super) rest: Option<Duration>,
}

/// When to try again after so many failures in a row; `luck` is from 0 to 1.
pub(super) fn next_try(failures: u32, asked: Asked, luck: f64, now: Timestamp) -> Timestamp {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST);
    let own = doubled.mul_f64(1.0 + JITTER * (2.0 * luck.clamp(0.0, 1.0) - 1.0));
    let most = asked.rest.map_or(CA_MOST, |rest| CA_MOST.min(rest / 2));
    let wait = own.max(asked.after.unwrap_or_default().min(most));
    now.checked_add(wait).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(failures: u32, after: Option<Duration>, luck: f64) -> i64 {
        let now = Timestamp::UNIX_EPOCH;
        next_try(failures, Asked { after, rest: None }, luck, now).duration_since(now).as_mins()
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

    #[test]
    fn no_ca_puts_a_renewal_off_beyond_the_end_of_the_certificate() {
        let hours = |rest: u64| {
            let (after, rest) = (Some(Duration::from_hours(99_999)), Some(Duration::from_hours(rest)));
            let now = Timestamp::UNIX_EPOCH;
            next_try(1, Asked { after, rest }, 0.5, now).duration_since(now).as_hours()
        };
        assert_eq!([6 * 24, 48, 2].map(hours), [72, 24, 1]);
        assert_eq!(hours(90 * 24), 14 * 24);
        assert_eq!(hours(0), 0, "then it is our own pace");
    }
}
