//! What is remembered of how clients begin: otherwise than their port expects, or, where TLS is expected, with it.
//!
//! [`Habits`] is shared by all listeners of a daemon, and a reload does not touch it; a restart forgets. What counts as one
//! client is what [`client_of`] says. Each [`Habit`] is remembered by itself, so that a client with a wrong setting at one
//! port changes nothing for it at another.
//!
//! Memory is bounded whatever strangers do: there are two generations. What is seen goes into the young one; when that is
//! full it becomes the old one, and the old one is dropped whole. What is asked for moves back into the young one, so that
//! the entries which nobody needs go first. Clients that begin as they should are many and are kept apart, so that they push
//! nobody else out. Every step is a look or two into a hash table.
//!
//! What it deliberately does not do: let anybody do more. An entry decides how long a banner waits, and nothing else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::limits::client_of;

/// So many habits are remembered at most, and so many clients that begin as they should.
const HABITS_MOST: usize = 10_000;
/// A wrong setting lasts until somebody corrects it, and a mail program that failed is tried again the same day; addresses
/// change hands more slowly than this.
const KEPT_FOR: Duration = Duration::from_hours(6);

/// How a client begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Habit {
    /// With TLS, where a banner comes first.
    TlsAtOnce,
    /// It waits for a banner, where TLS comes first.
    WaitsForBanner,
    /// With TLS, where TLS comes first. Of several clients at one address it is this one that must not be told anything else.
    TlsAsExpected,
}

/// The habits of clients.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    odd: Mutex<Known>,
    as_expected: Mutex<Known>,
}

/// Without a lock or a clock.
#[derive(Debug, Default)]
struct Known {
    young: Generation,
    old: Generation,
}

type Key = (IpAddr, Habit);
/// Until when each is remembered.
type Generation = HashMap<Key, Timestamp>;

impl Habits {
    /// Whether a client is known to begin so. Whoever is asked about is kept longer than those nobody asks about.
    pub(crate) fn has(&self, client: IpAddr, habit: Habit, now: Timestamp) -> bool {
        self.of(habit).has((client_of(client), habit), now)
    }

    /// A client has begun so.
    pub(crate) fn remember(&self, client: IpAddr, habit: Habit, now: Timestamp) {
        self.of(habit).remember((client_of(client), habit), now);
    }

    /// A client has shown that it does not begin so.
    pub(crate) fn forget(&self, client: IpAddr, habit: Habit) {
        self.of(habit).forget((client_of(client), habit));
    }

    fn of(&self, habit: Habit) -> MutexGuard<'_, Known> {
        let known = match habit {
            Habit::TlsAtOnce | Habit::WaitsForBanner => &self.odd,
            Habit::TlsAsExpected => &self.as_expected,
        };
        known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn has(&mut self, key: Key, now: Timestamp) -> bool {
        let Some(until) = self.take(key) else { return false };
        if until <= now {
            return false;
        }
        self.keep(key, until);
        true
    }

    fn remember(&mut self, key: Key, now: Timestamp) {
        self.take(key);
        self.keep(key, now.checked_add(KEPT_FOR).unwrap_or(Timestamp::MAX));
    }

    fn forget(&mut self, key: Key) {
        self.take(key);
    }

    fn take(&mut self, key: Key) -> Option<Timestamp> {
        self.young.remove(&key).or_else(|| self.old.remove(&key))
    }

    fn keep(&mut self, key: Key, until: Timestamp) {
        if self.young.len() >= HABITS_MOST / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, until);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use jiff::ToSpan;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn address(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    #[test]
    fn a_habit_is_remembered_for_hours_and_then_forgotten() {
        let habits = Habits::default();
        habits.remember(address(1), Habit::TlsAtOnce, NOW);
        let hours = |hours: i64| NOW + hours.hours();
        assert!(habits.has(address(1), Habit::TlsAtOnce, hours(5)));
        assert!(!habits.has(address(1), Habit::TlsAtOnce, hours(6)));
        assert!(!habits.has(address(1), Habit::TlsAtOnce, hours(5)), "what has lapsed does not come back");
    }

    #[test]
    fn each_habit_and_each_client_is_by_itself() {
        let habits = Habits::default();
        habits.remember(address(1), Habit::TlsAtOnce, NOW);
        assert!(!habits.has(address(1), Habit::WaitsForBanner, NOW));
        assert!(!habits.has(address(2), Habit::TlsAtOnce, NOW));
        habits.remember(address(1), Habit::WaitsForBanner, NOW);
        habits.forget(address(1), Habit::TlsAtOnce);
        assert!(!habits.has(address(1), Habit::TlsAtOnce, NOW));
        assert!(habits.has(address(1), Habit::WaitsForBanner, NOW));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let habits = Habits::default();
        habits.remember("2001:db8::1".parse().unwrap(), Habit::TlsAtOnce, NOW);
        assert!(habits.has("2001:db8::ffff:2".parse().unwrap(), Habit::TlsAtOnce, NOW));
        assert!(!habits.has("2001:db8:0:1::1".parse().unwrap(), Habit::TlsAtOnce, NOW));
    }

    #[test]
    fn however_many_addresses_come_only_so_many_are_remembered_and_the_useful_ones_stay() {
        let habits = Habits::default();
        habits.remember(address(0), Habit::TlsAtOnce, NOW);
        for number in 1..100_000 {
            habits.remember(address(number), Habit::TlsAtOnce, NOW);
            if number % 1000 == 0 {
                assert!(habits.has(address(0), Habit::TlsAtOnce, NOW), "at {number}");
            }
        }
        let known = habits.of(Habit::TlsAtOnce);
        assert!(known.young.len() + known.old.len() <= HABITS_MOST);
        assert!(!known.young.contains_key(&(address(1), Habit::TlsAtOnce)));
        assert!(!known.old.contains_key(&(address(1), Habit::TlsAtOnce)));
    }

    #[test]
    fn those_who_begin_as_they_should_push_nobody_out() {
        let habits = Habits::default();
        habits.remember(address(0), Habit::WaitsForBanner, NOW);
        (1..50_000).for_each(|number| habits.remember(address(number), Habit::TlsAsExpected, NOW));
        assert!(habits.has(address(0), Habit::WaitsForBanner, NOW));
        let known = habits.of(Habit::TlsAsExpected);
        assert!(known.young.len() + known.old.len() <= HABITS_MOST);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Remember(u32),
        Forget(u32),
        Ask(u32),
        Wait(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = 0..6_u32;
        prop_oneof![
            who.clone().prop_map(Step::Remember),
            who.clone().prop_map(Step::Forget),
            who.prop_map(Step::Ask),
            (0..200_i64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// With few clients nothing is ever pushed out: the memory is a table with times.
        #[test]
        fn it_answers_as_a_plain_table_would(steps in vec(step(), 0..60)) {
            let (mut known, mut table, mut now) = (Known::default(), HashMap::new(), NOW);
            let key = |who: u32| (address(who), Habit::TlsAtOnce);
            for step in steps {
                match step {
                    Step::Remember(who) => {
                        known.remember(key(who), now);
                        table.insert(who, now);
                    }
                    Step::Forget(who) => {
                        known.forget(key(who));
                        table.remove(&who);
                    }
                    Step::Ask(who) => {
                        let expected = table.get(&who).is_some_and(|then| now < *then + 6.hours());
                        prop_assert_eq!(known.has(key(who), now), expected);
                    }
                    Step::Wait(minutes) => now += minutes.minutes(),
                }
            }
        }
    }
}
