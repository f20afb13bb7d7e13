//! Counting over a span of time that moves along. Pure.
//!
//! A [`Window`] splits the span into twelve parts and counts in each. All that was counted in the last twelve parts and in
//! the present one still counts, so that no span of that length, wherever it begins, holds more than was allowed; who goes
//! evenly at twelve thirteenths of the allowance never meets it. It costs a hundred octets, however much is counted.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Allowance;

/// The span is split into so many parts.
const PARTS: usize = 12;

/// What was counted lately.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// How long a part is, in milliseconds.
    width: i64,
    /// The number of the present part since 1970.
    part: i64,
    /// The present part first.
    counts: [u64; PARTS + 1],
}

impl Window {
    /// How much was counted within the span that ends now.
    pub(super) fn total(&self, per: Duration, now: Timestamp) -> u64 {
        let mut rolled = self.clone();
        rolled.roll(per, now);
        rolled.sum()
    }

    /// Counts.
    pub(super) fn add(&mut self, amount: u64, per: Duration, now: Timestamp) {
        self.roll(per, now);
        self.counts[0] = self.counts[0].saturating_add(amount);
    }

    /// Takes back what was counted a moment ago, the latest first.
    pub(super) fn give_back(&mut self, mut amount: u64) {
        for count in &mut self.counts {
            let back = amount.min(*count);
            *count -= back;
            amount -= back;
        }
    }

    /// How long to wait until so much more is allowed; `None`: it is allowed now. What can never be allowed waits a whole span.
    pub(super) fn wait(&self, allowance: Allowance, amount: u64, now: Timestamp) -> Option<Duration> {
        let mut rolled = self.clone();
        rolled.roll(allowance.per, now);
        let fits = |counted: u64| counted.saturating_add(amount) <= allowance.most;
        if amount == 0 || fits(rolled.sum()) {
            return None;
        }
        // Part by part, the oldest first, falls out of the span.
        for parts in 1..=PARTS + 1 {
            let left = rolled.counts[..PARTS + 1 - parts]
                .iter()
                .fold(0, |sum: u64, count| sum.saturating_add(*count));
            if fits(left) {
                let parts = i64::try_from(parts).unwrap_or(i64::MAX);
                let end = (rolled.part.saturating_add(parts)).saturating_mul(rolled.width);
                let left = end.saturating_sub(now.as_millisecond()).max(1);
                return Some(Duration::from_millis(left.unsigned_abs()));
            }
        }
        Some(allowance.per)
    }

    fn sum(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Forgets what is over. After a change of the span all that was counted counts as of now; a clock that was set back far
    /// begins anew.
    fn roll(&mut self, per: Duration, now: Timestamp) {
        // Rounded up, so that twelve parts are never less than the span.
        let width = i64::try_from(per.as_millis().div_ceil(12)).unwrap_or(i64::MAX).max(1);
        let part = now.as_millisecond().div_euclid(width);
        if self.width != width {
            let carried = if self.width == 0 { 0 } else { self.sum() };
            *self = Self { width, part, counts: [0; PARTS + 1] };
            self.counts[0] = carried;
            return;
        }
        let Ok(steps) = usize::try_from(part - self.part) else {
            if self.part - part > 1 {
                *self = Self { width, part, counts: [0; PARTS + 1] };
            }
            return;
        };
        let steps = steps.min(PARTS + 1);
        self.counts.rotate_right(steps);
        self.counts[..steps].fill(0);
        self.part = part;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(1_790_000_000_000 + milliseconds).unwrap()
    }

    proptest! {
        #[test]
        fn no_span_however_it_lies_holds_more_than_is_allowed(
            gaps in prop::collection::vec(0i64..40_000, 1..200), most in 1u64..30, amount in 1u64..4,
        ) {
            let allowance = Allowance { most, per: Duration::from_mins(1) };
            let (mut window, mut taken, mut clock) = (Window::default(), Vec::new(), 0);
            for gap in gaps {
                clock += gap;
                match window.wait(allowance, amount, at(clock)) {
                    None => {
                        window.add(amount, allowance.per, at(clock));
                        taken.push(clock);
                    }
                    Some(wait) if amount <= most => {
                        let then = clock + i64::try_from(wait.as_millis()).unwrap();
                        prop_assert_eq!(window.wait(allowance, amount, at(then)), None, "the wait is long enough");
                        let before = window.wait(allowance, amount, at(then - 1));
                        prop_assert!(before.is_some(), "and no longer than needed");
                    }
                    Some(wait) => prop_assert_eq!(wait, allowance.per),
                }
            }
            for &end in &taken {
                let within = taken.iter().filter(|&&one| one <= end && one > end - 60_000).count() as u64;
                prop_assert!(within * amount <= most, "{within} x {amount} within a minute");
            }
        }
    }

    #[test]
    fn who_goes_evenly_below_the_allowance_never_waits() {
        let allowance = Allowance { most: 13, per: Duration::from_mins(1) };
        let mut window = Window::default();
        for step in 0..1000 {
            let now = at(step * 5000);
            assert_eq!(window.wait(allowance, 1, now), None, "{step}");
            window.add(1, allowance.per, now);
        }
    }

    #[test]
    fn another_span_and_a_clock_set_back_neither_forgive_all_nor_lock_out_for_ever() {
        let mut window = Window::default();
        window.add(10, Duration::from_mins(1), at(0));
        assert_eq!(window.total(Duration::from_hours(1), at(1000)), 10, "a new span has it all");
        assert_eq!(window.total(Duration::from_mins(1), at(-3_600_000)), 0, "an hour back: begins anew");
    }
}
