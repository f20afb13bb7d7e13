//! A sudden burst from one account, against its own history. Pure.
//!
//! An account's busiest hour of each of the last four weeks' days is remembered. Recipients within the last hour beyond a
//! floor, and beyond several times the busiest hour, are a burst: a stolen password looks like that, and a mail merge too.
//! From then on the account's mail is held until somebody decides. What is held teaches nothing; what is released does, so
//! that the same does not trip again.
//!
//! What it deliberately does not do: hold anything itself, or keep anybody from signing in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::window::Window;
use crate::config::{BurstAction, Bursts};

/// So many accounts' histories are kept.
const ACCOUNTS_MOST: usize = 20_000;
const HOUR: Duration = Duration::from_hours(1);
const DAY: i64 = 86_400;
/// So many days are remembered.
const DAYS: i64 = 28;
/// An account that sent nothing for so long has no history.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 60);

/// An account whose mail is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Whose.
    pub user: String,
    /// Since when.
    pub since: Timestamp,
    /// How many recipients within an hour were expected at most.
    pub expected: u64,
    /// How many there were when it began.
    pub seen: u64,
    /// Messages held.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
}

/// What happens to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Sent,
    /// It is held.
    Held,
}

/// The histories of all accounts.
#[derive(Debug)]
pub(super) struct Histories(pub(super) Book<History>);

/// What an account sent.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct History {
    hour: Window,
    /// Days since 1970 with the recipients of their busiest hours; the newest last.
    days: Vec<(i64, u64)>,
    /// What was released last: the day, and how much it was within an hour.
    released: Option<(i64, u64)>,
    held: Option<Burst>,
    /// The administrator was told of what is held.
    #[serde(default)]
    told: bool,
}

impl Histories {
    pub(super) fn new() -> Self {
        Self(Book::new("history", ACCOUNTS_MOST))
    }

    /// What would happen to a message of this account with so many recipients.
    pub(super) fn foresee(&self, user: &str, recipients: u64, rules: &Bursts, now: Timestamp) -> Fate {
        let (empty, history) = (History::default(), self.0.find(user));
        let history = history.unwrap_or(&empty);
        let (seen, expected) = history.measure(recipients, rules, now);
        let is_held = history.held.is_some() || seen > expected;
        if rules.action != BurstAction::Off && is_held { Fate::Held } else { Fate::Sent }
    }

    /// What happens to a message of this account with so many recipients.
    pub(super) fn judge(&mut self, user: &str, recipients: u64, rules: &Bursts, now: Timestamp) -> Fate {
        let history = self.0.open(user, now);
        if rules.action == BurstAction::Off {
            history.sent(recipients, now);
            return Fate::Sent;
        }
        if let Some(held) = &mut history.held {
            held.messages += 1;
            held.recipients = held.recipients.saturating_add(recipients);
            return Fate::Held;
        }
        let (seen, expected) = history.measure(recipients, rules, now);
        if seen <= expected {
            history.sent(recipients, now);
            return Fate::Sent;
        }
        let burst = Burst { user: user.to_owned(), since: now, expected, seen, messages: 1, recipients };
        (history.held, history.told) = (Some(burst), false);
        Fate::Held
    }

    /// A message was held for good. The answer is the burst, if nobody was told of it yet.
    pub(super) fn tell(&mut self, user: &str, now: Timestamp) -> Option<Burst> {
        let untold = self.0.find(user).is_some_and(|history| history.held.is_some() && !history.told);
        if !untold {
            return None;
        }
        let history = self.0.open(user, now);
        history.told = true;
        history.held.clone()
    }

    /// A judged message could not be stored: it counts for nothing, and a burst that held nothing else never was. The busiest
    /// hour of the day may keep what was under way.
    pub(super) fn forget(&mut self, user: &str, recipients: u64, fate: Fate, now: Timestamp) {
        if self.0.find(user).is_none() {
            return;
        }
        let history = self.0.open(user, now);
        match (fate, &mut history.held) {
            (Fate::Sent, _) => history.hour.give_back(recipients),
            (Fate::Held, Some(held)) if held.messages > 1 => {
                held.messages -= 1;
                held.recipients = held.recipients.saturating_sub(recipients);
            }
            (Fate::Held, held) => *held = None,
        }
    }

    /// Accounts whose mail is held, the oldest first.
    pub(super) fn list(&self) -> Vec<Burst> {
        let mut list: Vec<Burst> = self.0.iter().filter_map(|(_, history)| history.held.clone()).collect();
        list.sort_by(|one, other| (one.since, &one.user).cmp(&(other.since, &other.user)));
        list
    }

    /// What was held was meant: it counts as this account's usual.
    pub(super) fn release(&mut self, user: &str, now: Timestamp) -> Option<Burst> {
        let held = self.end(user, now)?;
        let history = self.0.open(user, now);
        history.sent(held.recipients, now);
        history.released = Some((day(now), history.hour.total(HOUR, now)));
        Some(held)
    }

    /// What was held was not meant, and teaches nothing.
    pub(super) fn discard(&mut self, user: &str, now: Timestamp) -> Option<Burst> {
        self.end(user, now)
    }

    pub(super) fn prune(&mut self, now: Timestamp) {
        self.0.prune(LIFE, now);
    }

    fn end(&mut self, user: &str, now: Timestamp) -> Option<Burst> {
        self.0.find(user)?.held.as_ref()?;
        self.0.open(user, now).held.take()
    }
}

impl History {
    fn sent(&mut self, recipients: u64, now: Timestamp) {
        self.hour.add(recipients, HOUR, now);
        let (today, hour) = (day(now), self.hour.total(HOUR, now));
        match self.days.last_mut() {
            Some((day, busiest)) if *day == today => *busiest = hour.max(*busiest),
            _ => self.days.push((today, hour)),
        }
        self.days.retain(|(day, _)| (0..=DAYS).contains(&(today - day)));
    }

    /// How many recipients there would be within an hour, and how many are expected at most.
    fn measure(&self, recipients: u64, rules: &Bursts, now: Timestamp) -> (u64, u64) {
        let seen = self.hour.total(HOUR, now).saturating_add(recipients);
        (seen, rules.floor.max(self.busiest(now).saturating_mul(rules.factor)))
    }

    /// The busiest hour of the days before, and what was released. The day that the last hour began in does not count: a burst
    /// is no excuse for itself.
    fn busiest(&self, now: Timestamp) -> u64 {
        let today = day(now.saturating_sub(SignedDuration::from_hours(1)).unwrap_or(now));
        let before = self.days.iter().filter(|(day, _)| (1..=DAYS).contains(&(today - day)));
        let released = self.released.iter().filter(|(day, _)| today - day <= DAYS);
        before.chain(released).map(|(_, busiest)| *busiest).max().unwrap_or(0)
    }
}

/// The day since 1970.
fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Bursts = Bursts { action: BurstAction::Hold, floor: 100, factor: 5 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    /// Sends so many messages of one recipient, a second apart; which one was held first.
    fn send(histories: &mut Histories, user: &str, messages: i64, begin: i64) -> Option<i64> {
        (0..messages).find(|&number| histories.judge(user, 1, &RULES, at(begin + number)) != Fate::Sent)
    }

    #[test]
    fn a_new_account_has_the_floor_and_what_is_beyond_is_held() {
        let mut histories = Histories::new();
        assert_eq!(send(&mut histories, "anna", 200, 0), Some(100));
        assert_eq!(histories.judge("anna", 1, &RULES, at(86_400)), Fate::Held, "until somebody decides");
        assert_eq!(send(&mut histories, "berta", 100, 0), None);
        let list = histories.list();
        assert_eq!((list.len(), list[0].messages, list[0].seen, list[0].expected), (1, 2, 101, 100));
    }

    #[test]
    fn an_account_is_measured_by_its_own_busiest_hour() {
        let mut histories = Histories::new();
        for day in 0..5 {
            assert_eq!(send(&mut histories, "shop", 60, day * 86_400), None);
        }
        let later = 5 * 86_400;
        assert_eq!(send(&mut histories, "shop", 1000, later), Some(300));
        let long_after = 40 * 86_400;
        histories.discard("shop", at(long_after));
        assert_eq!(send(&mut histories, "shop", 1000, long_after), Some(100), "old days are forgotten");
    }

    #[test]
    fn what_is_released_is_usual_from_then_on_and_what_is_discarded_is_not() {
        let mut histories = Histories::new();
        assert_eq!(histories.judge("anna", 500, &RULES, at(0)), Fate::Held);
        assert_eq!(histories.release("anna", at(10)).unwrap().recipients, 500);
        assert_eq!(histories.judge("anna", 500, &RULES, at(7200)), Fate::Sent);
        assert_eq!(histories.release("anna", at(7200)), None);
        for second in [0, 7200] {
            assert_eq!(histories.judge("berta", 500, &RULES, at(second)), Fate::Held);
            assert_eq!(histories.tell("berta", at(second)).map(|burst| burst.seen), Some(500), "at {second}");
            assert_eq!(histories.tell("berta", at(second)), None, "once for a burst");
            histories.discard("berta", at(second + 10));
        }
    }

    #[test]
    fn what_cannot_be_stored_counts_for_nothing_and_tells_of_no_burst() {
        let mut histories = Histories::new();
        for second in 0..1000 {
            assert_eq!(histories.judge("anna", 60, &RULES, at(second)), Fate::Sent);
            histories.forget("anna", 60, Fate::Sent, at(second));
        }
        assert_eq!(histories.judge("anna", 101, &RULES, at(1000)), Fate::Held);
        histories.forget("anna", 101, Fate::Held, at(1000));
        assert_eq!((histories.list(), histories.tell("anna", at(1001))), (Vec::new(), None));
        // The first of two fails, and the second tells of the burst in its place.
        histories.judge("anna", 101, &RULES, at(1002));
        histories.judge("anna", 7, &RULES, at(1003));
        histories.forget("anna", 101, Fate::Held, at(1003));
        let burst = histories.tell("anna", at(1003)).unwrap();
        assert_eq!((burst.messages, burst.recipients), (1, 7));
    }

    #[test]
    fn without_holding_nothing_is_held() {
        let mut histories = Histories::new();
        let rules = Bursts { action: BurstAction::Off, ..RULES };
        assert_eq!(histories.judge("anna", 5000, &rules, at(0)), Fate::Sent);
    }
}
