//! Retry arithmetic: when to try again, when to warn of a delay, when to give up (RFC 5321 §4.5.4.1).
//!
//! Pure: the time and the random draw are arguments. The types to know:
//! - [`Schedule`]: what the configuration says; [`Schedule::plan`] answers when the next attempt is.
//! - [`Attempt`] and [`Decision`]: [`decide`] turns the outcomes of one attempt into dispositions for the queue and
//!   into what the sender is to be told.
//!
//! What it deliberately does not do: write reports, or know whether a sender wants them (NOTIFY).

use std::time::Duration;

use jiff::Timestamp;
use postern_smtp::outcome::{Outcome, Trouble};
use postern_smtp::reply::Reply;

use crate::{Disposition, RecipientId};

/// When to try again and when to give up.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The wait after the first attempt, after the second, and so on; the last one repeats.
    pub intervals: Vec<Duration>,
    /// How much each wait varies, as a share of it: 0.1 makes 10 minutes 9 to 11.
    pub jitter: f64,
    /// How long after acceptance a message is given up.
    pub expire: Duration,
    /// How long after acceptance the sender is told of the delay; `None` for never.
    pub delay_warning: Option<Duration>,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, at this time, which is never after expiry.
    At(Timestamp),
    /// The message's time is over.
    Expired,
}

/// One attempt, as [`decide`] needs it.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When the message was accepted.
    pub accepted: Timestamp,
    /// When the attempt ended.
    pub now: Timestamp,
    /// Attempts recorded before this one.
    pub attempts: u32,
    /// What became of each recipient.
    pub outcomes: Vec<(RecipientId, Outcome)>,
    /// The sender knows of the delay already.
    pub delay_reported: bool,
    /// A fresh draw from 0 to 1, for the jitter.
    pub random: f64,
}

/// What is to be recorded and what the sender is to be told.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// For the queue: one for each recipient of the attempt.
    pub dispositions: Vec<(RecipientId, Disposition)>,
    /// Delivered, with the next hop's reply.
    pub delivered: Vec<(RecipientId, Option<Reply>)>,
    /// Failed for good: to be reported.
    pub failed: Vec<(RecipientId, Failed)>,
    /// Still being tried, and the sender is to be told now.
    pub delayed: Vec<(RecipientId, Trouble)>,
}

/// Why a recipient is given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The last real trouble, with the peer's reply.
    pub trouble: Trouble,
    /// It was a trouble that might have passed, but the message's time is over.
    pub expired: bool,
}

/// No two attempts are closer than this, whatever the configuration says.
const SHORTEST: Duration = Duration::from_secs(1);

impl Schedule {
    /// When the next attempt is, after `attempts` earlier ones and the one that ended `now`. `random` is from 0 to 1.
    ///
    /// An interval that would pass the expiry ends there instead, so that the last attempt is made at expiry.
    pub fn plan(&self, accepted: Timestamp, now: Timestamp, attempts: u32, random: f64) -> Next {
        let expiry = later(accepted, self.expire);
        if now >= expiry {
            return Next::Expired;
        }
        Next::At(later(now, self.interval(attempts, random)).min(expiry))
    }

    fn interval(&self, attempts: u32, random: f64) -> Duration {
        let place =
            usize::try_from(attempts).unwrap_or(usize::MAX).min(self.intervals.len().saturating_sub(1));
        let Some(interval) = self.intervals.get(place) else {
            return self.expire;
        };
        let factor = 1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * random.clamp(0.0, 1.0) - 1.0);
        let varied = Duration::try_from_secs_f64(interval.as_secs_f64() * factor).unwrap_or(*interval);
        varied.max(SHORTEST)
    }

    fn warns(&self, attempt: &Attempt) -> bool {
        let due = self.delay_warning.map(|warning| later(attempt.accepted, warning));
        !attempt.delay_reported && due.is_some_and(|due| attempt.now >= due)
    }
}

/// What follows from an attempt: dispositions for the queue, and who is to be told what.
pub fn decide(schedule: &Schedule, attempt: Attempt) -> Decision {
    let next = schedule.plan(attempt.accepted, attempt.now, attempt.attempts, attempt.random);
    let warns = schedule.warns(&attempt);
    let mut decision = Decision::default();
    for (id, outcome) in attempt.outcomes {
        match (outcome, next) {
            (Outcome::Delivered(reply), _) => decision.deliver(id, reply),
            (Outcome::Failed(trouble), _) => decision.fail(id, Failed { trouble, expired: false }),
            (Outcome::Deferred(trouble), Next::Expired) => {
                decision.fail(id, Failed { trouble, expired: true });
            }
            (Outcome::Deferred(trouble), Next::At(due)) => decision.retry(id, due, trouble, warns),
        }
    }
    decision
}

impl Decision {
    fn deliver(&mut self, id: RecipientId, reply: Option<Reply>) {
        self.dispositions.push((id, Disposition::Done));
        self.delivered.push((id, reply));
    }

    fn fail(&mut self, id: RecipientId, failed: Failed) {
        self.dispositions.push((id, Disposition::Done));
        self.failed.push((id, failed));
    }

    fn retry(&mut self, id: RecipientId, due: Timestamp, trouble: Trouble, warns: bool) {
        if warns {
            self.delayed.push((id, trouble.clone()));
        }
        self.dispositions.push((id, Disposition::Retry { due, trouble }));
    }
}

/// A time after another one; never past the end of time.
fn later(time: Timestamp, by: Duration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_smtp::outcome::{Reason, Step};
    use proptest::prelude::*;

    fn schedule(intervals: &[u64], expire: u64) -> Schedule {
        Schedule {
            intervals: intervals.iter().copied().map(Duration::from_secs).collect(),
            jitter: 0.0,
            expire: Duration::from_secs(expire),
            delay_warning: Some(Duration::from_secs(100)),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn trouble() -> Trouble {
        Trouble::new(Step::Connect, Reason::TimedOut)
    }

    fn attempt(now: i64, outcomes: Vec<Outcome>) -> Attempt {
        let outcomes = (0..).map(RecipientId).zip(outcomes).collect();
        Attempt { accepted: at(0), now: at(now), attempts: 0, outcomes, delay_reported: false, random: 0.5 }
    }

    #[test]
    fn intervals_grow_and_the_last_one_repeats() {
        let schedule = schedule(&[10, 60], 1000);
        assert_eq!(schedule.plan(at(0), at(5), 0, 0.5), Next::At(at(15)));
        assert_eq!(schedule.plan(at(0), at(15), 1, 0.5), Next::At(at(75)));
        assert_eq!(schedule.plan(at(0), at(75), 2, 0.5), Next::At(at(135)));
    }

    #[test]
    fn the_last_attempt_is_made_at_expiry() {
        let schedule = schedule(&[600], 1000);
        assert_eq!(schedule.plan(at(0), at(601), 1, 0.5), Next::At(at(1000)));
        assert_eq!(schedule.plan(at(0), at(1000), 2, 0.5), Next::Expired);
    }

    #[test]
    fn what_is_deferred_at_expiry_fails_with_its_own_trouble() {
        let decision = decide(&schedule(&[10], 50), attempt(50, vec![Outcome::Deferred(trouble())]));
        assert_eq!(decision.dispositions, [(RecipientId(0), Disposition::Done)]);
        assert_eq!(decision.failed, [(RecipientId(0), Failed { trouble: trouble(), expired: true })]);
    }

    #[test]
    fn each_outcome_has_its_disposition() {
        let outcomes =
            vec![Outcome::Delivered(None), Outcome::Failed(trouble()), Outcome::Deferred(trouble())];
        let decision = decide(&schedule(&[10], 50), attempt(1, outcomes));
        let retry = Disposition::Retry { due: at(11), trouble: trouble() };
        assert_eq!(
            decision.dispositions,
            [
                (RecipientId(0), Disposition::Done),
                (RecipientId(1), Disposition::Done),
                (RecipientId(2), retry)
            ]
        );
        assert_eq!(decision.delivered, [(RecipientId(0), None)]);
        assert_eq!(decision.failed, [(RecipientId(1), Failed { trouble: trouble(), expired: false })]);
        assert_eq!(decision.delayed, []);
    }

    #[test]
    fn the_sender_is_warned_of_a_delay_once() {
        let schedule = schedule(&[10], 1000);
        let mut attempt = attempt(100, vec![Outcome::Deferred(trouble())]);
        assert_eq!(decide(&schedule, attempt.clone()).delayed, [(RecipientId(0), trouble())]);
        attempt.delay_reported = true;
        assert_eq!(decide(&schedule, attempt).delayed, []);
    }

    proptest! {
        #[test]
        fn no_attempt_is_planned_in_the_past_or_beyond_expiry(
            intervals in proptest::collection::vec(0u64..1_000_000, 0..5),
            jitter in -1.0f64..2.0, expire in 0u64..1_000_000, now in 0i64..2_000_000, attempts: u32, random in 0.0f64..=1.0,
        ) {
            let schedule = Schedule { jitter, ..schedule(&intervals, expire) };
            let expiry = later(at(0), schedule.expire);
            match schedule.plan(at(0), at(now), attempts, random) {
                Next::At(next) => prop_assert!(next > at(now) && next <= expiry),
                Next::Expired => prop_assert!(at(now) >= expiry),
            }
        }

        #[test]
        fn every_recipient_gets_exactly_one_disposition(kinds in proptest::collection::vec(0u8..3, 0..20), now in 0i64..200) {
            let outcomes: Vec<Outcome> = kinds.iter().map(|kind| match kind {
                0 => Outcome::Delivered(None),
                1 => Outcome::Failed(trouble()),
                _ => Outcome::Deferred(trouble()),
            }).collect();
            let decision = decide(&schedule(&[10], 100), attempt(now, outcomes));
            let ids: Vec<u32> = decision.dispositions.iter().map(|(id, _)| id.0).collect();
            prop_assert_eq!(ids, (0..u32::try_from(kinds.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
