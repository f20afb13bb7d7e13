//! The book of cases: bounded, the worst first, and written behind.
//!
//! [`Cases::note`] books a trouble, [`Cases::sent`] that somebody got through, [`Cases::close`] what an administrator decides.
//! What changed is handed to the file by [`Cases::changes`]. When the book is full, what is settled goes first, then the oldest
//! of those that there are most of with one gravity. Many strangers with one and the same trouble become one case.
//!
//! What it deliberately does not do: read a clock, or touch a disk.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use postern_smtp::text::clean;

use super::{
    Case, EXAMPLES_FIRST, EXAMPLES_LAST, EXPLANATION_MOST, NAME_MOST, NAMED_MOST, Occurrence, State, Whom,
    worth,
};
use crate::config::Role;
use crate::diagnosis::session::{Cause, Gravity};
use crate::limits::client_net;
use crate::limits::network_of;

/// So many cases are known, settled ones among them.
const MOST: usize = 5_000;
/// Of one client network so many open cases of strangers are known with one cause.
const OF_NETWORK: usize = 16;
/// So many addresses of strangers have a case of their own with what is only noise,
const STRANGERS_NOISE: usize = 20;
/// and so many with anything else; further ones are counted together.
const STRANGERS: usize = 200;
/// The same case is told to the log once in so long.
const TELL_AGAIN: SignedDuration = SignedDuration::from_secs(60);

/// All cases.
#[derive(Debug)]
pub(crate) struct Cases {
    most: usize,
    next: u64,
    known: HashMap<u64, Known>,
    by_key: HashMap<(Whom, Cause), u64>,
    /// Of whom there are open cases.
    open: HashMap<Whom, Vec<u64>>,
    /// So many open cases of strangers' addresses there are with each cause.
    strangers: HashMap<Cause, usize>,
    /// And so many of those from each client network.
    networks: HashMap<(IpNet, Cause), usize>,
    /// Those that are settled, by age.
    settled: BTreeSet<(Timestamp, u64)>,
    /// Those that are open, by what they are worth, then by age.
    ranks: BTreeMap<u8, BTreeSet<(Timestamp, u64)>>,
    changed: HashSet<u64>,
    gone: HashSet<u64>,
}

#[derive(Debug)]
struct Known {
    case: Case,
    told: Option<Timestamp>,
}

/// What came of a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The case's number.
    pub(crate) id: u64,
    /// How often it happened.
    pub(crate) count: u64,
    /// Whether the log is to hear of it now.
    pub(crate) tell: bool,
}

/// What the file has to hear.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) written: Vec<Case>,
    pub(crate) gone: Vec<u64>,
}

impl Cases {
    /// With what the file holds.
    pub(crate) fn of(kept: Vec<Case>) -> Self {
        let mut cases = Self::empty(MOST);
        for case in kept {
            cases.next = cases.next.max(case.id.saturating_add(1));
            if cases.by_key.contains_key(&key(&case)) || cases.known.contains_key(&case.id) {
                cases.gone.insert(case.id);
                continue;
            }
            cases.put(Known { case, told: None });
        }
        cases.make_room(0);
        cases
    }

    fn empty(most: usize) -> Self {
        Self {
            most,
            next: 1,
            known: HashMap::new(),
            by_key: HashMap::new(),
            open: HashMap::new(),
            strangers: HashMap::new(),
            networks: HashMap::new(),
            settled: BTreeSet::new(),
            ranks: BTreeMap::new(),
            changed: HashSet::new(),
            gone: HashSet::new(),
        }
    }

    /// Books a trouble.
    pub(crate) fn note(&mut self, mut trouble: Occurrence, now: Timestamp) -> Noted {
        let cause = trouble.diagnosis.cause;
        if self.is_one_of_many(&trouble) {
            trouble.whom = Whom::Many;
        }
        let known = match self.by_key.get(&(trouble.whom.clone(), cause)).copied() {
            Some(id) => self.take(id),
            None => None,
        };
        let mut known = known.unwrap_or_else(|| self.fresh(&trouble, now));
        known.case.happened(trouble, now);
        let due = known.told.is_none_or(|told| now.duration_since(told) >= TELL_AGAIN || now < told);
        if due {
            known.told = Some(now);
        }
        let noted = Noted { id: known.case.id, count: known.case.count, tell: due };
        self.changed.insert(noted.id);
        self.put(known);
        noted
    }

    /// Somebody got a message through: his open cases where he came in the same way are solved. Behind one address there may be
    /// several people: there the program has to call itself the same, too, where that is known.
    pub(crate) fn sent(&mut self, whom: &Whom, way: Role, hello: Option<&str>, now: Timestamp) {
        let Some(ids) = self.open.get(whom).cloned() else { return };
        let hello = hello.map(|hello| clean(hello, NAME_MOST));
        let same = |case: &Case| {
            whom.is_known()
                || case.programs.is_empty()
                || hello.as_ref().is_none_or(|hello| case.programs.contains(hello))
        };
        for id in ids {
            if self.known.get(&id).is_some_and(|known| known.case.ways.contains(&way) && same(&known.case)) {
                self.change(id, |case| case.state = State::Solved { at: now });
            }
        }
    }

    /// The same of cases of his from elsewhere: those are solved that came from nowhere but here. It was he himself.
    pub(crate) fn sent_elsewhere(&mut self, account: &str, way: Role, client: IpAddr, now: Timestamp) {
        let Some(ids) = self.open.get(&Whom::Elsewhere(account.to_owned())).cloned() else { return };
        let here = client_net(client);
        let from_here = |case: &Case| {
            case.ways.contains(&way) && case.addresses.iter().all(|address| client_net(*address) == here)
        };
        for id in ids {
            if self.find(id).is_some_and(from_here) {
                self.change(id, |case| case.state = State::Solved { at: now });
            }
        }
    }

    /// Settles a case by hand.
    pub(crate) fn close(&mut self, id: u64, now: Timestamp) -> Option<Case> {
        self.change(id, |case| case.state = State::Closed { at: now })
    }

    /// A letter was sent about it.
    pub(crate) fn answered(&mut self, id: u64, now: Timestamp) -> Option<Case> {
        self.change(id, |case| case.answered = Some(now))
    }

    /// One case.
    pub(crate) fn find(&self, id: u64) -> Option<&Case> {
        self.known.get(&id).map(|known| &known.case)
    }

    /// All of them, the worst first: by what is to be done, how grave it is, whom it concerns, how often and how lately it
    /// happened.
    pub(crate) fn worst_first(&self) -> Vec<Case> {
        let mut cases: Vec<Case> = self.known.values().map(|known| known.case.clone()).collect();
        cases.sort_by_key(|case| std::cmp::Reverse((case.rank(), case.count, case.last, case.id)));
        cases
    }

    /// Forgets what happened last before this.
    pub(crate) fn prune(&mut self, before: Timestamp) {
        let old: Vec<u64> =
            self.known.values().filter(|known| known.case.last < before).map(|known| known.case.id).collect();
        for id in old {
            self.forget(id);
        }
    }

    /// What changed since the last time.
    pub(crate) fn changes(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.changed);
        Changes {
            written: changed.iter().filter_map(|id| self.find(*id).cloned()).collect(),
            gone: self.gone.drain().collect(),
        }
    }

    /// The file did not hear it.
    pub(crate) fn untold(&mut self, changes: Changes) {
        self.changed.extend(changes.written.iter().map(|case| case.id));
        self.gone.extend(changes.gone.into_iter().filter(|id| !self.known.contains_key(id)));
    }

    /// A stranger that has no case yet, where there are many such.
    fn is_one_of_many(&self, trouble: &Occurrence) -> bool {
        let (whom, cause) = (&trouble.whom, trouble.diagnosis.cause);
        let most = match cause.section().gravity {
            Gravity::Noise => STRANGERS_NOISE,
            _ => STRANGERS,
        };
        let of_network = self.networks.get(&(network_of(trouble.client), cause));
        let many = of_network.is_some_and(|count| *count >= OF_NETWORK)
            || self.strangers.get(&cause).is_some_and(|count| *count >= most);
        many && whom.is_strangers() && !self.by_key.contains_key(&(whom.clone(), cause))
    }

    fn fresh(&mut self, trouble: &Occurrence, now: Timestamp) -> Known {
        self.make_room(1);
        let id = self.next;
        self.next += 1;
        let case = Case {
            id,
            cause: trouble.diagnosis.cause,
            whom: trouble.whom.clone(),
            count: 0,
            first: now,
            last: now,
            confidence: trouble.diagnosis.confidence,
            explanation: String::new(),
            claimed: None,
            program: None,
            listeners: Vec::new(),
            ways: Vec::new(),
            programs: Vec::new(),
            addresses: Vec::new(),
            sessions: Vec::new(),
            state: State::Open,
            answered: None,
        };
        Known { case, told: None }
    }

    fn make_room(&mut self, wanted: usize) {
        while self.known.len() + wanted > self.most {
            let Some(id) = self.dispensable() else { return };
            self.forget(id);
        }
    }

    /// The oldest that is settled; else the oldest of those of which there are most, so that a flood pushes out nothing but
    /// what is like itself.
    fn dispensable(&self) -> Option<u64> {
        let most = || self.ranks.iter().max_by_key(|(worth, alike)| (alike.len(), Reverse(**worth)));
        let oldest = self.settled.first().or_else(|| most().and_then(|(_, alike)| alike.first()))?;
        Some(oldest.1)
    }

    fn forget(&mut self, id: u64) {
        if self.take(id).is_some() {
            self.changed.remove(&id);
            self.gone.insert(id);
        }
    }

    fn change(&mut self, id: u64, how: impl FnOnce(&mut Case)) -> Option<Case> {
        let mut known = self.take(id)?;
        how(&mut known.case);
        let case = known.case.clone();
        self.changed.insert(id);
        self.put(known);
        Some(case)
    }

    /// Takes a case out of every list.
    fn take(&mut self, id: u64) -> Option<Known> {
        let known = self.known.remove(&id)?;
        let case = &known.case;
        self.by_key.remove(&key(case));
        self.settled.remove(&(case.last, id));
        if case.state == State::Open {
            if let Some(alike) = self.ranks.get_mut(&worth(case.cause, &case.whom)) {
                alike.remove(&(case.last, id));
            }
            if let Some(ids) = self.open.get_mut(&case.whom) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    self.open.remove(&case.whom);
                }
            }
            if case.whom.is_strangers() {
                one_less(&mut self.strangers, &case.cause);
                case.network().inspect(|network| one_less(&mut self.networks, &(*network, case.cause)));
            }
        }
        Some(known)
    }

    /// Puts it into all of them.
    fn put(&mut self, known: Known) {
        let case = &known.case;
        self.by_key.insert(key(case), case.id);
        if case.state == State::Open {
            self.ranks.entry(worth(case.cause, &case.whom)).or_default().insert((case.last, case.id));
            self.open.entry(case.whom.clone()).or_default().push(case.id);
            if case.whom.is_strangers() {
                *self.strangers.entry(case.cause).or_default() += 1;
                case.network().inspect(|net| *self.networks.entry((*net, case.cause)).or_default() += 1);
            }
        } else {
            self.settled.insert((case.last, case.id));
        }
        self.known.insert(case.id, known);
    }
}

fn key(case: &Case) -> (Whom, Cause) {
    (case.whom.clone(), case.cause)
}

impl Whom {
    /// Whether anybody on the network can make as many of them as he likes.
    fn is_strangers(&self) -> bool {
        matches!(self, Self::Address(_) | Self::Elsewhere(_))
    }
}

impl Case {
    /// The client network that it came from first.
    fn network(&self) -> Option<IpNet> {
        self.addresses.first().copied().map(network_of)
    }

    fn happened(&mut self, trouble: Occurrence, now: Timestamp) {
        let Occurrence { diagnosis, client, listener, way, program, session, .. } = trouble;
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(now);
        self.state = State::Open;
        self.confidence = diagnosis.confidence;
        self.explanation = clean(diagnosis.explanation, EXPLANATION_MOST);
        if let Some(user) = diagnosis.user {
            self.claimed = Some(clean(user, NAME_MOST));
        }
        self.program = diagnosis.program.or(self.program);
        add(&mut self.listeners, listener);
        add(&mut self.ways, way);
        add(&mut self.addresses, client);
        if let Some(program) = program {
            add(&mut self.programs, clean(program, NAME_MOST));
        }
        if let Some(session) = session {
            if self.sessions.len() == EXAMPLES_FIRST + EXAMPLES_LAST {
                self.sessions.remove(EXAMPLES_FIRST);
            }
            self.sessions.push(session);
        }
    }
}

fn one_less<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Adds what is new, if there is room.
fn add<T: PartialEq>(named: &mut Vec<T>, one: T) {
    if named.len() < NAMED_MOST && !named.contains(&one) {
        named.push(one);
    }
}

#[cfg(test)]
mod tests;
