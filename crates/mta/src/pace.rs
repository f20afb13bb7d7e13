//! Keeps a connector to the rate that its receiver allows.
//!
//! A [`Pace`] gives each message its moment: so many may go at once, and from then on one for each part of the time span. It
//! holds one instant and needs no timer. What it deliberately does not do: wait.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Rate;

/// The moments that a connector's messages may go at.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the next message would go if they went evenly; in the past when there is room for a burst.
    even: Mutex<Option<Instant>>,
}

impl Pace {
    /// How long the next message would have to wait. None is taken.
    pub(crate) fn wait(&self, rate: &Rate, now: Instant) -> Duration {
        let even = *self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let due = even.unwrap_or(now).max(now);
        due.saturating_duration_since(now).saturating_sub(burst(rate))
    }

    /// Takes the next moment: how long to wait for it.
    pub(crate) fn take(&self, rate: &Rate, now: Instant) -> Duration {
        let apart = rate.per / rate.messages.max(1);
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        let due = even.unwrap_or(now).max(now);
        *even = Some(due + apart);
        due.saturating_duration_since(now).saturating_sub(burst(rate))
    }

    /// Gives a moment back that came to nothing.
    pub(crate) fn give_back(&self, rate: &Rate) {
        let apart = rate.per / rate.messages.max(1);
        let mut even = self.even.lock().unwrap_or_else(PoisonError::into_inner);
        *even = even.and_then(|even| even.checked_sub(apart));
    }
}

/// A whole span's worth may go at once, and no more is ever saved up.
fn burst(rate: &Rate) -> Duration {
    rate.per.saturating_sub(rate.per / rate.messages.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { messages: 10, per: Duration::from_secs(10) };

    #[test]
    fn a_burst_goes_at_once_and_the_rest_evenly() {
        let (pace, now) = (Pace::default(), Instant::now());
        let waits: Vec<u64> = (0..13).map(|_| pace.take(&RATE, now).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (pace, now) = (Pace::default(), Instant::now());
        for _ in 0..30 {
            assert!(pace.take(&RATE, now).is_zero());
            pace.give_back(&RATE);
        }
        assert_eq!((0..20).filter(|_| pace.take(&RATE, now).is_zero()).count(), 10);
    }

    #[test]
    fn what_was_not_used_is_not_saved_up() {
        let (pace, now) = (Pace::default(), Instant::now());
        pace.take(&RATE, now);
        let later = now + Duration::from_hours(1);
        let at_once = (0..20).filter(|_| pace.take(&RATE, later).is_zero()).count();
        assert_eq!(at_once, 10);
    }
}
