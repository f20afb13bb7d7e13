//! What became of a message, and what happened to somebody: put together from the events that are kept.
//!
//! A [`Question`] names what is meant by its [`Key`]s. The answer, a [`Story`], holds the events that have them and those that
//! belong to these: of a message its sessions, every attempt, and the reports on it with what became of them; of a person
//! or an address their messages, and what became of each. What waits in the queue at the moment is not told by events:
//! [`Admin::what_happened`] asks the queue as well.
//!
//! What it deliberately does not do: judge, or change anything.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use postern_queue::{Delivery, Filter, QueueId, Selection};
use serde::{Deserialize, Serialize};

use super::why::Waiting;
use super::{Admin, Error, Request, Response, troubles};
use crate::cases::{Case, WhichCases, Whom};
use crate::directory::Person;
use crate::history::{Kept, Key, Range, Reader, What};
use crate::ledger::LedgerError;

pub use crate::history::{Came, Extent};

/// Of the messages that are found, so many are followed: the newest. Of the sessions that brought them, as well.
const FOLLOWED_MOST: usize = 100;
/// A session begins at most so long before a message that it brings.
const SESSION: SignedDuration = SignedDuration::from_hours(24);
/// A message that was taken over from another queue is followed over so many reports.
const REPORTS_DEEP: usize = 2;
/// Strangers' events have at least this part of all that are told, and no more where there are others.
const SHARE_OF_STRANGERS: usize = 4;
/// More is not told at once.
pub const EVENTS_MOST: usize = 10_000;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    /// Everything that may be meant.
    pub keys: Vec<Key>,
    /// Nothing from before.
    pub since: Option<Timestamp>,
    /// At most so many events, the newest.
    pub limit: usize,
}

/// What is known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Story {
    /// What happened, oldest first.
    pub events: Vec<Kept>,
    /// There are older ones.
    pub more: bool,
    /// So many more were found of what strangers did, failed sign-ins among them: older ones, and there may be others still.
    #[serde(default)]
    pub more_of_strangers: u64,
    /// How far back it is known what happened; `None`: nothing is kept yet.
    pub oldest: Option<Timestamp>,
    /// Events that could not be written since what was asked for began.
    pub lost: u64,
    /// Events of strangers that were left out since then.
    pub left_out: u64,
}

/// What happened, and what waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answer {
    /// What was looked for.
    pub keys: Vec<Key>,
    /// Whether events are kept at all.
    pub kept: bool,
    /// What happened.
    pub story: Story,
    /// Deliveries of these messages that are in the queue at the moment.
    pub deliveries: Vec<Delivery>,
    /// Why they wait.
    pub waiting: Waiting,
    /// Open cases that concern whoever was asked about.
    pub troubles: Vec<Case>,
    /// Why cases could not be looked at.
    pub troubles_unknown: Option<String>,
}

impl Story {
    /// The messages that it is about, by age.
    pub fn messages(&self) -> BTreeSet<QueueId> {
        messages(&self.events)
    }
}

impl Admin {
    /// What happened to somebody, an address, a client or a message, and what of it waits at the moment. A person's name finds
    /// what happened to his addresses too, and one of his addresses his sign-ins.
    ///
    /// # Errors
    /// The history or the queue cannot be read.
    pub async fn what_happened(
        &self,
        word: &str,
        since: Option<Timestamp>,
        limit: usize,
    ) -> Result<Answer, Error> {
        let keys = self.meant_by(word).await;
        let question = Question { keys: keys.clone(), since, limit };
        let story = match self.call(Request::History(question)).await? {
            Response::History(story) => *story,
            other => return Err(Error::Garbled(format!("{other:?}"))),
        };
        let (deliveries, waiting) = self.still_there(&keys, &story).await?;
        let (troubles, troubles_unknown) = match self.open_cases(&keys).await {
            Ok(cases) => (cases, None),
            // What happened is worth telling all the same.
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let kept = !self.config.history.is_off();
        Ok(Answer { keys, kept, story, deliveries, waiting, troubles, troubles_unknown })
    }

    /// The open cases of these users, clients and sessions.
    async fn open_cases(&self, keys: &[Key]) -> Result<Vec<Case>, Error> {
        match self.call(Request::Troubles(troubles::Request::List(WhichCases::default()))).await? {
            Response::Troubles(troubles::Response::Listed(cases)) => {
                Ok(cases.into_iter().filter(|case| keys.iter().any(|key| concerns(case, key))).collect())
            }
            other => Err(Error::Garbled(format!("{other:?}"))),
        }
    }

    /// Everything that a word may mean, with the names and addresses of the person whose it is.
    async fn meant_by(&self, word: &str) -> Vec<Key> {
        let mut keys = Key::meant_by(word);
        let names_somebody = keys.iter().any(|key| matches!(key, Key::User(_)));
        if !names_somebody
            || keys.iter().any(|key| matches!(key, Key::Queue(_) | Key::Session(_) | Key::Client(_)))
        {
            return keys;
        }
        for key in self.person(word).await.iter().flat_map(of_person) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// Who that is, if that can be found out: the history can be asked while a directory is out of order.
    async fn person(&self, word: &str) -> Option<Person> {
        let people = self.people().ok()?;
        people.find(word).await.ok()
    }

    /// What is in the queue of the messages that the story is about, or that have the id that was asked for.
    async fn still_there(&self, keys: &[Key], story: &Story) -> Result<(Vec<Delivery>, Waiting), Error> {
        let asked = keys.iter().filter_map(|key| match key {
            Key::Queue(id) => id.parse().ok(),
            _ => None,
        });
        let ids: BTreeSet<QueueId> = asked.chain(story.messages()).collect();
        if ids.is_empty() {
            return Ok(Default::default());
        }
        let ids = ids.into_iter().rev().take(FOLLOWED_MOST).collect();
        let filter = Filter { ids, ..Filter::default() };
        let page = Selection { limit: FOLLOWED_MOST, offset: 0 };
        let deliveries = match self.call(Request::Find { filter: filter.clone(), page }).await? {
            Response::Deliveries(deliveries) => deliveries,
            other => return Err(Error::Garbled(format!("{other:?}"))),
        };
        if deliveries.is_empty() {
            return Ok(Default::default());
        }
        match self.call(Request::Why { filter }).await? {
            Response::Why(waiting) => Ok((deliveries, waiting)),
            other => Err(Error::Garbled(format!("{other:?}"))),
        }
    }
}

fn concerns(case: &Case, key: &Key) -> bool {
    match (key, &case.whom) {
        (Key::User(_), Whom::User(whose) | Whom::Elsewhere(whose)) => Key::user(whose) == *key,
        (Key::Client(client), Whom::Address(network)) => network.contains(client),
        (Key::Session(session), _) => case.sessions.contains(session),
        _ => false,
    }
}

fn of_person(person: &Person) -> impl Iterator<Item = Key> {
    let addresses = person.addresses().iter().map(|address| Key::address(&address.to_string()));
    [Key::user(person.name())].into_iter().chain(addresses)
}

/// Puts the story together from the file. Blocks.
pub(crate) fn tell(data_dir: &Path, question: &Question) -> Result<Story, LedgerError> {
    let mut reader = Reader::open(data_dir)?;
    let limit = question.limit.min(EVENTS_MOST);
    // One more shows that there are more.
    let range = Range { limit: limit + 1, since: question.since, before: None };
    let mut events = reader.find(&question.keys, range)?;
    let first = keep_newest(&mut events, limit);
    let told = reader.extent(question.since)?;
    let mut follower = Follower { reader: &mut reader, limit, since: question.since };
    follower.follow(&mut events)?;
    sort(&mut events);
    let then = keep_newest(&mut events, limit);
    Ok(Story {
        events,
        more: first.mail + then.mail > 0,
        more_of_strangers: (first.strangers + then.strangers) as u64,
        oldest: told.oldest,
        lost: told.lost,
        left_out: told.left_out,
    })
}

/// So many events were left out.
struct Surplus {
    mail: usize,
    strangers: usize,
}

/// Keeps the newest. What strangers did has a quarter of the room, or what the rest leaves: so nobody hides what somebody did by
/// failing in his name.
fn keep_newest(events: &mut Vec<Kept>, limit: usize) -> Surplus {
    let strangers = events.iter().filter(|kept| kept.what.is_strangers()).count();
    let mail = events.len() - strangers;
    let room = limit.saturating_sub(mail).max(limit / SHARE_OF_STRANGERS);
    let shown = strangers.min(room);
    let surplus = Surplus { mail: mail.saturating_sub(limit - shown), strangers: strangers - shown };
    let Surplus { mail: mut old_mail, strangers: mut old_strangers } = surplus;
    events.retain(|kept| {
        let old = if kept.what.is_strangers() { &mut old_strangers } else { &mut old_mail };
        let keeps = *old == 0;
        *old = old.saturating_sub(1);
        keeps
    });
    surplus
}

/// Adds to events what belongs to them.
struct Follower<'a> {
    reader: &'a mut Reader,
    limit: usize,
    since: Option<Timestamp>,
}

impl Follower<'_> {
    fn follow(&mut self, events: &mut Vec<Kept>) -> Result<(), LedgerError> {
        let mut known = BTreeSet::new();
        for _ in 0..=REPORTS_DEEP {
            let found: BTreeSet<QueueId> = messages(events).difference(&known).copied().collect();
            let newest: Vec<QueueId> = found.iter().rev().take(FOLLOWED_MOST).copied().collect();
            // A message has no events from before it.
            let Some(oldest) = newest.last().map(|id| id.time()) else { break };
            let keys: Vec<Key> = newest.into_iter().map(Key::queue).collect();
            self.add(events, &keys, Some(oldest), |_| true)?;
            known.extend(found);
        }
        let sessions: BTreeSet<String> = events.iter().filter_map(session).collect();
        let keys: Vec<Key> = sessions.iter().rev().take(FOLLOWED_MOST).map(|id| Key::session(id)).collect();
        let oldest = events.iter().find(|kept| session(kept).is_some()).map(|kept| kept.time);
        let since = oldest.and_then(|oldest| oldest.checked_sub(SESSION).ok());
        // A session's other messages have stories of their own.
        self.add(events, &keys, since, |kept| sessions.contains(&kept.id))
    }

    fn add(
        &mut self,
        events: &mut Vec<Kept>,
        keys: &[Key],
        since: Option<Timestamp>,
        belongs: impl Fn(&Kept) -> bool,
    ) -> Result<(), LedgerError> {
        if keys.is_empty() {
            return Ok(());
        }
        let range = Range { limit: self.limit + 1, since: since.max(self.since), before: None };
        events.extend(self.reader.find(keys, range)?.into_iter().filter(belongs));
        sort(events);
        Ok(())
    }
}

/// By time, each once. Of what happened in one moment, what was accepted comes first.
fn sort(events: &mut Vec<Kept>) {
    let rank = |kept: &Kept| match kept.what {
        What::SignedIn { .. } | What::RelayPermitted { .. } => 0,
        What::Accepted { .. } => 1,
        _ => 2,
    };
    events.sort_by(|one, other| (one.time, rank(one), &one.id).cmp(&(other.time, rank(other), &other.id)));
    events.dedup();
}

/// The messages that events are about, and the reports on them.
fn messages(events: &[Kept]) -> BTreeSet<QueueId> {
    let report = |kept: &Kept| match &kept.what {
        What::Reported { report, .. } => Some(*report),
        _ => None,
    };
    events.iter().flat_map(|kept| [kept.message(), report(kept)]).flatten().collect()
}

/// The session that brought a message.
fn session(kept: &Kept) -> Option<String> {
    match &kept.what {
        What::Accepted { session, .. } => Some(session.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::SignInFault;
    use crate::event::Proof;

    fn kept(second: i64, what: What) -> Kept {
        Kept { time: Timestamp::from_second(1_800_000_000 + second).unwrap(), id: "s1-2".into(), what }
    }

    fn guess(second: i64) -> Kept {
        let (client, reply) = ("203.0.113.9".parse().unwrap(), "535".to_owned());
        let (by, fault) = (Proof::Password, SignInFault::WrongPassword);
        kept(second, What::SignInFailed { user: "anna".into(), by, fault, client, why: None, reply })
    }

    fn signed_in(second: i64) -> Kept {
        kept(second, What::SignedIn { user: "anna".into(), by: Proof::Password, came: None })
    }

    #[test]
    fn a_guesser_hides_nothing_of_what_she_did() {
        let mut events: Vec<Kept> = (0..10).map(signed_in).chain((100..1100).map(guess)).collect();
        let surplus = keep_newest(&mut events, 40);
        assert_eq!((surplus.mail, surplus.strangers), (0, 970));
        assert_eq!(events.len(), 40);
        assert_eq!(events[..10], (0..10).map(signed_in).collect::<Vec<_>>());
        assert_eq!(events[39], guess(1099));
    }

    #[test]
    fn each_has_its_room_and_leaves_what_it_does_not_need() {
        let room = |mail: i64, strangers: i64, limit: usize| {
            let mut events: Vec<Kept> = (0..strangers).map(guess).chain((0..mail).map(signed_in)).collect();
            let surplus = keep_newest(&mut events, limit);
            let guesses = events.iter().filter(|kept| kept.what.is_strangers()).count();
            (events.len() - guesses, guesses, surplus.mail, surplus.strangers)
        };
        assert_eq!(room(100, 100, 40), (30, 10, 70, 90));
        assert_eq!(room(100, 3, 40), (37, 3, 63, 0));
        assert_eq!(room(0, 100, 40), (0, 40, 0, 60));
        assert_eq!(room(5, 5, 0), (0, 0, 5, 5));
        assert_eq!(room(1, 1, 40), (1, 1, 0, 0));
    }
}
