//! Which delivery comes next, and who has it: the part of a queue that is asked all the time.
//!
//! The [`Agenda`] keeps, in memory, one small entry for each delivery that waits: its due time and id, in a lane for each
//! destination. The *front* of each lane stands in one ordered set, so that the oldest due delivery of all
//! destinations is found at once, and a destination that takes nothing more costs one step, however many deliveries
//! wait for it. Held deliveries have no entry. Leases live here alone: the queue has one process at a time, and
//! when that dies, all its leases lapse.
//!
//! What it deliberately does not do: know messages or recipients; touch the disk.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::ops::Bound;

use jiff::Timestamp;

use crate::row::{Key, Slot};
use crate::{Destination, LeaseId, LeaseRequest, QueueId, RecipientId};

/// The order of what waits, and the leases.
#[derive(Debug)]
pub(crate) struct Agenda {
    lanes: HashMap<Destination, BTreeSet<Entry>>,
    fronts: BTreeSet<(Entry, Destination)>,
    leases: HashMap<LeaseId, Lease>,
    leased: HashMap<Key, LeaseId>,
    lapses: BTreeSet<(Timestamp, u64)>,
    next_lease: u64,
    total: u64,
    held: u64,
}

/// Sorts by due time, then by age.
type Entry = (Timestamp, QueueId);

/// A delivery under way.
#[derive(Debug)]
struct Lease {
    key: Key,
    slot: Slot,
    until: Option<Timestamp>,
    recipients: Vec<RecipientId>,
}

impl Default for Agenda {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            fronts: BTreeSet::new(),
            leases: HashMap::new(),
            leased: HashMap::new(),
            lapses: BTreeSet::new(),
            // A lease of an earlier process must not fit one of ours.
            next_lease: fastrand::u64(..) >> 1,
            total: 0,
            held: 0,
        }
    }
}

impl Agenda {
    /// A delivery came in.
    pub(crate) fn add(&mut self, key: Key, slot: Slot) {
        self.total += 1;
        self.held += u64::from(slot.held);
        self.file(key, slot);
    }

    /// A delivery is over; its lease, if any, is lost.
    pub(crate) fn remove(&mut self, key: &Key, slot: Slot) {
        self.total = self.total.saturating_sub(1);
        self.held = self.held.saturating_sub(u64::from(slot.held));
        match self.leased.get(key) {
            Some(lease) => drop(self.end(*lease)),
            None => self.unfile(key, slot),
        }
    }

    /// A delivery's due time changed, or it was held or released. A lease on it goes on.
    pub(crate) fn change(&mut self, key: &Key, from: Slot, to: Slot) {
        self.count_held(from, to);
        let lease = self.leased.get(key).and_then(|lease| self.leases.get_mut(lease));
        if let Some(lease) = lease {
            lease.slot = to;
            return;
        }
        self.unfile(key, from);
        self.file(key.clone(), to);
    }

    /// Leases what is due, oldest due first, within the request's limits.
    pub(crate) fn lease(&mut self, now: Timestamp, request: &LeaseRequest) -> Vec<(LeaseId, Key)> {
        self.lapse(now);
        let chosen = self.choose(now, request);
        chosen.into_iter().map(|(due, key)| (self.begin(due, key.clone(), request.until), key)).collect()
    }

    /// Notes for whom a lease is.
    pub(crate) fn attach(&mut self, lease: LeaseId, recipients: Vec<RecipientId>) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            lease.recipients = recipients;
        }
    }

    /// The delivery that a lease holds, and its recipients.
    pub(crate) fn holds(&self, lease: LeaseId) -> Option<(&Key, &[RecipientId])> {
        self.leases.get(&lease).map(|lease| (&lease.key, &lease.recipients[..]))
    }

    /// While a lease's outcome is being written, it cannot lapse.
    pub(crate) fn freeze(&mut self, lease: LeaseId) {
        if let Some(until) = self.leases.get(&lease).and_then(|lease| lease.until) {
            self.lapses.remove(&(until, lease.0));
        }
    }

    /// The outcome could not be written: the lease can lapse again.
    pub(crate) fn thaw(&mut self, lease: LeaseId) {
        if let Some(until) = self.leases.get(&lease).and_then(|lease| lease.until) {
            self.lapses.insert((until, lease.0));
        }
    }

    /// The outcome is written: the lease is over, the delivery waits again or is gone.
    pub(crate) fn settle(&mut self, lease: LeaseId, to: Option<Slot>) {
        let Some(Lease { key, slot, .. }) = self.end(lease) else {
            return;
        };
        let Some(to) = to else {
            self.total = self.total.saturating_sub(1);
            self.held = self.held.saturating_sub(u64::from(slot.held));
            return;
        };
        self.count_held(slot, to);
        self.file(key, to);
    }

    /// A lease came to nothing: the delivery waits as before.
    pub(crate) fn give_back(&mut self, lease: LeaseId) {
        if let Some(Lease { key, slot, .. }) = self.end(lease) {
            self.file(key, slot);
        }
    }

    /// Forgets a message whose rows made no sense: so many deliveries are left in all, and held. Looks everywhere.
    pub(crate) fn purge(&mut self, id: QueueId, all: u64, held: u64) {
        let leases: Vec<LeaseId> =
            self.leases.iter().filter(|(_, lease)| lease.key.0 == id).map(|(lease, _)| *lease).collect();
        for lease in leases {
            self.end(lease);
        }
        let entry_of = |lane: &BTreeSet<Entry>| lane.iter().find(|entry| entry.1 == id).copied();
        let found: Vec<(Destination, Timestamp)> =
            self.lanes.iter().filter_map(|(name, lane)| Some((name.clone(), entry_of(lane)?.0))).collect();
        for (destination, due) in found {
            self.unfile(&(id, destination), Slot { due, held: false });
        }
        (self.total, self.held) = (all, held);
    }

    /// Extends those leases that still stand.
    pub(crate) fn renew(&mut self, leases: Vec<LeaseId>, until: Timestamp) -> Vec<LeaseId> {
        leases.into_iter().filter(|lease| self.extend(*lease, until)).collect()
    }

    /// Whether an attempt is under way.
    pub(crate) fn is_leased(&self, key: &Key) -> bool {
        self.leased.contains_key(key)
    }

    /// When the next delivery that waits becomes due.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.fronts.first().map(|((due, _), _)| *due)
    }

    /// Deliveries in all, and those held.
    pub(crate) fn count(&self) -> (u64, u64) {
        (self.total, self.held)
    }

    fn count_held(&mut self, from: Slot, to: Slot) {
        self.held = self.held.saturating_sub(u64::from(from.held)) + u64::from(to.held);
    }

    /// Puts a delivery into its lane, unless it is held.
    fn file(&mut self, (id, destination): Key, slot: Slot) {
        if slot.held {
            return;
        }
        let entry = (slot.due, id);
        let Some(lane) = self.lanes.get_mut(&destination) else {
            self.fronts.insert((entry, destination.clone()));
            self.lanes.insert(destination, BTreeSet::from([entry]));
            return;
        };
        let front = lane.first().copied();
        lane.insert(entry);
        if front.is_none_or(|front| entry < front) {
            self.move_front(destination, front, Some(entry));
        }
    }

    /// Takes a delivery out of its lane.
    fn unfile(&mut self, (id, destination): &Key, slot: Slot) {
        let Some(lane) = self.lanes.get_mut(destination) else {
            return;
        };
        let before = lane.first().copied();
        lane.remove(&(slot.due, *id));
        let after = lane.first().copied();
        if after.is_none() {
            self.lanes.remove(destination);
        }
        if before != after {
            self.move_front(destination.clone(), before, after);
        }
    }

    fn move_front(&mut self, destination: Destination, from: Option<Entry>, to: Option<Entry>) {
        let mut destination = destination;
        if let Some(from) = from {
            let place = (from, destination);
            self.fronts.remove(&place);
            destination = place.1;
        }
        if let Some(to) = to {
            self.fronts.insert((to, destination));
        }
    }

    /// What to lease, by merging the lanes that have room.
    fn choose(&self, now: Timestamp, request: &LeaseRequest) -> Vec<(Timestamp, Key)> {
        let mut room: HashMap<&Destination, usize> = HashMap::new();
        let mut fronts = self.fronts_for(request).peekable();
        let mut followers = BinaryHeap::new();
        let mut chosen = Vec::new();
        while chosen.len() < request.limit {
            let follower: Option<(Entry, &Destination)> = followers.peek().map(|Reverse(next)| *next);
            let front = fronts.peek().copied();
            let next = match (follower, front) {
                (Some(follower), front) if front.is_none_or(|front| follower < front) => {
                    followers.pop();
                    follower
                }
                (_, Some(front)) => {
                    fronts.next();
                    front
                }
                _ => break,
            };
            let ((due, id), destination) = next;
            if due > now {
                break;
            }
            let left = room.entry(destination).or_insert_with(|| request.room_for(destination));
            if *left == 0 {
                continue;
            }
            *left -= 1;
            chosen.push((due, (id, destination.clone())));
            if *left > 0 {
                followers
                    .extend(self.after((due, id), destination).map(|entry| Reverse((entry, destination))));
            }
        }
        chosen
    }

    /// The first of each lane, soonest first. Where only some lanes have room the others are not even looked at.
    fn fronts_for<'a>(
        &'a self,
        request: &LeaseRequest,
    ) -> Box<dyn Iterator<Item = (Entry, &'a Destination)> + 'a> {
        if request.per_destination > 0 {
            return Box::new(self.fronts.iter().map(|(entry, lane)| (*entry, lane)));
        }
        let named = request.room.keys().filter_map(|destination| self.lanes.get_key_value(destination));
        let mut fronts: Vec<_> =
            named.filter_map(|(destination, lane)| Some((*lane.first()?, destination))).collect();
        fronts.sort();
        Box::new(fronts.into_iter())
    }

    /// What stands behind an entry in its lane.
    fn after(&self, entry: Entry, destination: &Destination) -> Option<Entry> {
        self.lanes.get(destination)?.range((Bound::Excluded(entry), Bound::Unbounded)).next().copied()
    }

    fn begin(&mut self, due: Timestamp, key: Key, until: Option<Timestamp>) -> LeaseId {
        let slot = Slot { due, held: false };
        let lease = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.unfile(&key, slot);
        if let Some(until) = until {
            self.lapses.insert((until, lease.0));
        }
        self.leased.insert(key.clone(), lease);
        self.leases.insert(lease, Lease { key, slot, until, recipients: Vec::new() });
        lease
    }

    fn end(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        self.leased.remove(&lease.key);
        if let Some(until) = lease.until {
            self.lapses.remove(&(until, id.0));
        }
        Some(lease)
    }

    fn extend(&mut self, id: LeaseId, until: Timestamp) -> bool {
        let Some(lease) = self.leases.get_mut(&id) else {
            return false;
        };
        // A frozen lease has no time to lapse at; it must not get one here.
        let may_lapse = lease.until.is_none_or(|before| self.lapses.remove(&(before, id.0)));
        lease.until = Some(until);
        if may_lapse {
            self.lapses.insert((until, id.0));
        }
        true
    }

    /// Gives back what was leased until now or earlier.
    fn lapse(&mut self, now: Timestamp) {
        while let Some((until, lease)) = self.lapses.first().copied() {
            if until > now {
                return;
            }
            self.lapses.pop_first();
            self.give_back(LeaseId(lease));
        }
    }
}

impl LeaseRequest {
    fn room_for(&self, destination: &Destination) -> usize {
        self.room.get(destination).copied().unwrap_or(self.per_destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn destination(name: &str) -> Destination {
        Destination(name.into())
    }

    struct Fixture {
        agenda: Agenda,
        ids: IdSource,
    }

    impl Fixture {
        fn add(&mut self, due: i64, name: &str) -> Key {
            let key = (self.ids.next(at(due)), destination(name));
            self.agenda.add(key.clone(), Slot { due: at(due), held: false });
            key
        }

        fn lease(&mut self, now: i64, limit: usize, per_destination: usize) -> Vec<Key> {
            let request = LeaseRequest { limit, per_destination, ..LeaseRequest::default() };
            self.agenda.lease(at(now), &request).into_iter().map(|(_, key)| key).collect()
        }
    }

    fn fixture() -> Fixture {
        Fixture { agenda: Agenda::default(), ids: IdSource::default() }
    }

    #[test]
    fn the_oldest_due_comes_first_across_destinations() {
        let mut fixture = fixture();
        let keys: Vec<Key> = [(3, "a"), (1, "a"), (2, "b"), (4, "b")]
            .iter()
            .map(|(due, name)| fixture.add(*due, name))
            .collect();
        let expected = [1, 2, 0, 3].map(|place| keys[place].clone());
        assert_eq!(fixture.lease(10, 10, 10), expected);
        assert_eq!(fixture.agenda.next_due(), None);
    }

    #[test]
    fn what_is_not_due_yet_stays() {
        let mut fixture = fixture();
        fixture.add(5, "a");
        assert_eq!(fixture.lease(4, 10, 10), []);
        assert_eq!(fixture.agenda.next_due(), Some(at(5)));
        assert_eq!(fixture.lease(5, 10, 10).len(), 1);
    }

    #[test]
    fn a_lease_that_is_being_written_does_not_lapse() {
        let mut fixture = fixture();
        fixture.add(1, "a");
        let request =
            LeaseRequest { limit: 1, per_destination: 1, until: Some(at(5)), ..LeaseRequest::default() };
        let (lease, _) = fixture.agenda.lease(at(1), &request).remove(0);
        fixture.agenda.freeze(lease);
        assert_eq!(fixture.agenda.renew(vec![lease], at(6)), [lease]);
        assert_eq!(fixture.lease(9, 1, 1), []);
        fixture.agenda.thaw(lease);
        assert_eq!(fixture.lease(9, 1, 1).len(), 1);
        assert!(fixture.agenda.holds(lease).is_none());
    }

    #[test]
    fn nothing_is_left_behind_when_all_is_over() {
        let mut fixture = fixture();
        for due in 0..100 {
            fixture.add(due, ["a", "b", "c"][usize::try_from(due % 3).unwrap()]);
        }
        let leases = fixture
            .agenda
            .lease(at(200), &LeaseRequest { limit: 50, per_destination: 99, ..Default::default() });
        for (lease, _) in leases {
            fixture.agenda.settle(lease, None);
        }
        for key in fixture.lease(200, 99, 99) {
            fixture.agenda.remove(&key, Slot { due: at(0), held: false });
        }
        let agenda = fixture.agenda;
        assert_eq!(agenda.count(), (0, 0));
        assert!(agenda.lanes.is_empty() && agenda.fronts.is_empty() && agenda.leases.is_empty());
        assert!(agenda.leased.is_empty() && agenda.lapses.is_empty());
    }

    /// The same in the simplest words: a list, searched from end to end.
    #[derive(Default)]
    struct Model {
        waiting: Vec<(Timestamp, Key, bool)>,
        leased: Vec<(LeaseId, Timestamp, Key, Timestamp)>,
    }

    impl Model {
        fn lapse(&mut self, now: Timestamp) {
            for (_, due, key, _) in self.leased.extract_if(.., |lease| lease.3 <= now) {
                self.waiting.push((due, key, false));
            }
        }

        fn choose(&mut self, now: Timestamp, request: &LeaseRequest) -> Vec<Key> {
            let mut due: Vec<(Timestamp, Key)> = self
                .waiting
                .iter()
                .filter(|(due, _, held)| *due <= now && !held)
                .map(|(due, key, _)| (*due, key.clone()))
                .collect();
            due.sort();
            let mut taken: HashMap<Destination, usize> = HashMap::new();
            let mut chosen = Vec::new();
            for (_, key) in due {
                let taken = taken.entry(key.1.clone()).or_default();
                if chosen.len() < request.limit && *taken < request.room_for(&key.1) {
                    *taken += 1;
                    chosen.push(key);
                }
            }
            chosen
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add { due: i64, lane: usize },
        Lease { limit: usize, per_destination: usize, full: usize },
        Settle { which: usize, retry: Option<i64> },
        Hold { which: usize },
        Pass,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0i64..60, 0usize..4).prop_map(|(due, lane)| Step::Add { due, lane }),
            2 => (0usize..6, 0usize..4, 0usize..4)
                .prop_map(|(limit, per_destination, full)| Step::Lease { limit, per_destination, full }),
            2 => (0usize..9, prop::option::of(0i64..60)).prop_map(|(which, retry)| Step::Settle { which, retry }),
            1 => (0usize..9).prop_map(|which| Step::Hold { which }),
            1 => Just(Step::Pass),
        ]
    }

    proptest! {
        #[test]
        fn the_agenda_does_what_a_plain_list_would(steps in proptest::collection::vec(step(), 1..120)) {
            let names = ["a", "b", "c", "d"].map(destination);
            let (mut fixture, mut model, mut now) = (fixture(), Model::default(), 0);
            for step in steps {
                match step {
                    Step::Add { due, lane } => {
                        let key = fixture.add(due, &names[lane].0);
                        model.waiting.push((at(due), key, false));
                    }
                    Step::Lease { limit, per_destination, full } => {
                        let room = HashMap::from([(names[full].clone(), limit % 3)]);
                        let request = LeaseRequest { limit, per_destination, room, until: Some(at(now + 10)) };
                        model.lapse(at(now));
                        let wanted = model.choose(at(now), &request);
                        let leases = fixture.agenda.lease(at(now), &request);
                        prop_assert_eq!(leases.iter().map(|(_, key)| key.clone()).collect::<Vec<_>>(), wanted);
                        for (lease, key) in leases {
                            let place = model.waiting.iter().position(|waiting| waiting.1 == key).unwrap();
                            let (due, key, _) = model.waiting.swap_remove(place);
                            model.leased.push((lease, due, key, at(now + 10)));
                        }
                    }
                    Step::Settle { which, retry } => {
                        if which < model.leased.len() {
                            let (lease, _, key, _) = model.leased.swap_remove(which);
                            let slot = retry.map(|due| Slot { due: at(due), held: false });
                            fixture.agenda.settle(lease, slot);
                            model.waiting.extend(slot.map(|slot| (slot.due, key, false)));
                        }
                    }
                    Step::Hold { which } => {
                        if let Some((due, key, held)) = model.waiting.get_mut(which) {
                            let (from, to) = (Slot { due: *due, held: *held }, Slot { due: *due, held: !*held });
                            fixture.agenda.change(key, from, to);
                            *held = !*held;
                        }
                    }
                    Step::Pass => now += 7,
                }
                let next = model.waiting.iter().filter(|waiting| !waiting.2).map(|waiting| waiting.0).min();
                prop_assert_eq!(fixture.agenda.next_due(), next);
                let held = model.waiting.iter().filter(|waiting| waiting.2).count();
                prop_assert_eq!(fixture.agenda.count(), ((model.waiting.len() + model.leased.len()) as u64, held as u64));
            }
        }
    }
}
