//! The days that TLS reports are about: from midnight to midnight in UTC (RFC 8460 §4.1).
//!
//! The type to know: [`Day`], which counters, reports and the command line share, so that all mean the same seconds. It is
//! written as `2026-11-21`.
//!
//! What it deliberately does not do: know the time zone of this machine, or what time it is: "now" is an argument. A date
//! beyond all that can be counted is cut to the first or last there is.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A day in UTC. Written as `2026-11-21`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Day(Date);

impl Day {
    /// The day that it is then.
    pub fn of(now: Timestamp) -> Self {
        Self(now.to_zoned(TimeZone::UTC).date())
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        self.0.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |zoned| zoned.timestamp())
    }

    /// Its last second, as reports name it.
    pub fn end(self) -> Timestamp {
        self.start().saturating_add(SignedDuration::from_secs(86_399)).unwrap_or(Timestamp::MAX)
    }

    /// So many days earlier; the first day there is when there are not so many.
    #[must_use]
    pub fn earlier(self, days: u16) -> Self {
        let back = SignedDuration::from_hours(24 * i64::from(days));
        Self(self.0.saturating_sub(back))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "not a day such as 2026-11-21".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moment: &str) -> Timestamp {
        moment.parse().unwrap()
    }

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    #[test]
    fn a_day_lasts_from_midnight_to_midnight_in_utc() {
        let whole = day("2026-11-21");
        assert_eq!((whole.start(), whole.end()), (at("2026-11-21T00:00:00Z"), at("2026-11-21T23:59:59Z")));
        assert_eq!(Day::of(at("2026-11-21T00:00:00+01:00")), day("2026-11-20"));
        for moment in ["2026-11-21T00:00:00Z", "2026-11-21T23:59:59.999Z"] {
            assert_eq!(Day::of(at(moment)), whole);
        }
        assert_eq!(Day::of(Timestamp::from_second(-1).unwrap()), day("1969-12-31"));
    }

    #[test]
    fn earlier_days_cross_months_and_leap_years_and_end_at_the_first_day() {
        assert_eq!(day("2028-03-01").earlier(1), day("2028-02-29"));
        assert_eq!(day("2026-01-01").earlier(1).to_string(), "2025-12-31");
        assert_eq!(Day::of(Timestamp::MIN).earlier(30).start(), Day::of(Timestamp::MIN).earlier(60).start());
    }

    #[test]
    fn days_sort_as_their_texts_do() {
        let days = ["0001-01-01", "2026-02-10", "2026-11-09", "2026-11-21"];
        assert!(days.windows(2).all(|pair| pair[0] < pair[1] && day(pair[0]) < day(pair[1])));
        assert!(days.iter().all(|text| day(text).to_string() == **text));
        assert!("21.11.2026".parse::<Day>().is_err());
    }
}
