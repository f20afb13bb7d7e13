//! When a certificate is renewed, whoever issues it.
//!
//! [`renewal_moment`] is the one rule: for the automatic certificate, for what the private CA issues into the store, and
//! for ACME where the authority suggests no time of its own.
//!
//! What it deliberately does not do: know the clock, or renew.

use jiff::{SignedDuration, Timestamp};

/// No certificate is renewed earlier than this before its end.
const EARLIEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The moment from which a certificate is to be renewed: a third of its life before its end, at most 30 days before it.
pub fn renewal_moment(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let third = not_after.duration_since(not_before) / 3;
    not_after.saturating_sub(third.clamp(SignedDuration::ZERO, EARLIEST)).unwrap_or(not_after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_life_is_left_but_at_most_thirty_days() {
        let time = |text: &str| -> Timestamp { text.parse().unwrap() };
        for (begin, end, at) in [
            ("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", "2026-03-02T00:00:00Z"),
            ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2026-12-02T00:00:00Z"),
            ("2026-01-01T00:00:00Z", "2026-01-07T00:00:00Z", "2026-01-05T00:00:00Z"),
            ("2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!(renewal_moment(time(begin), time(end)), time(at), "{begin} to {end}");
        }
    }
}
