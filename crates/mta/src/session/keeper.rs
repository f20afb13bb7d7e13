//! The desk where sessions end: what is kept of them, which case they belong to, and who wants to hear of them.
//!
//! The types to know: [`Keeper`], one for the daemon. A session tells it its [`Facts`] when it ends ([`Keeper::ended`]), who
//! was turned away likewise ([`Keeper::turned_away`]), and, only while somebody follows, what is said
//! ([`Keeper::overheard`]). One task ([`run`]) carries what came together to `sessions.db`: no session waits for a disk.
//!
//! What it deliberately does not do: find causes, or decide about mail.

use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_smtp::server::Dialogue;
use tokio::sync::watch;

use super::Facts;
use super::kept::{Because, File, News, Pending, Row, Summary, Which, names, oldest};
use super::transcript;
use super::watch::{Heard, Live, Since, Wanted, WatchView, Watches, Who};
use crate::cases::{Case, Cases, Noted, Occurrence, Whom};
use crate::config::{KeptSessions, Transcripts};
use crate::daemon::{Phase, Shared};
use crate::diagnosis::session::{Diagnosis, diagnose};
use crate::directory::{Principal, address_key, key_of};
use crate::event::Event;
use crate::ledger::{LedgerError, write_behind};
use crate::limits::client_net;

/// So often what came together is carried to disk: a crash loses no more than that.
const FLUSH: Duration = Duration::from_secs(1);
/// So often what is too old is looked for.
const PRUNE: SignedDuration = SignedDuration::from_mins(10);
/// Somebody set a watch,
const WATCHED: u8 = 1;
/// or follows.
const FOLLOWED: u8 = 2;

/// What is kept of sessions, all cases, and who watches.
#[derive(Debug)]
pub(crate) struct Keeper {
    file: File,
    state: Mutex<State>,
    /// Asked by every session, so that nobody waits where nobody watches.
    attention: AtomicU8,
    /// One write at a time, so that whoever looks sees what ended before he asked.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    pending: Pending,
    cases: Cases,
    watches: Watches,
    live: Live,
    pruned: Timestamp,
}

/// What was found in a session that ended.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) diagnosis: Diagnosis,
    pub(crate) noted: Noted,
}

/// A session that goes on, for those who follow.
#[derive(Debug)]
pub(crate) struct Overheard<'a> {
    pub(crate) session: &'a str,
    pub(crate) client: std::net::IpAddr,
    pub(crate) listener: &'a str,
    /// Names that were claimed or signed in as.
    pub(crate) names: Vec<String>,
    pub(crate) dialogue: &'a Dialogue,
}

/// A session as it is kept, with what is found in it now.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Shown {
    /// Everything that is known of it.
    pub facts: Facts,
    /// What went wrong, if anything did.
    pub diagnosis: Option<Diagnosis>,
}

impl Keeper {
    /// Opens `sessions.db` in the data directory, or makes it there; the second is what was in the way.
    ///
    /// # Errors
    /// Only when not even a database in memory can be had.
    pub(crate) async fn open(
        data_dir: &Path,
        now: Timestamp,
    ) -> Result<(Self, Option<LedgerError>), LedgerError> {
        let (file, trouble) = File::open(data_dir)?;
        Ok((Self::of(file, now).await?, trouble))
    }

    /// As it was last written, for those who only look.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) async fn open_for_reading(data_dir: &Path, now: Timestamp) -> Result<Self, LedgerError> {
        Self::of(File::open_for_reading(data_dir)?, now).await
    }

    async fn of(file: File, now: Timestamp) -> Result<Self, LedgerError> {
        let state = State {
            pending: Pending::default(),
            cases: Cases::of(file.cases().await?),
            watches: Watches::default(),
            live: Live::default(),
            pruned: now,
        };
        let (state, writing) = (Mutex::new(state), tokio::sync::Mutex::new(()));
        Ok(Self { file, state, attention: AtomicU8::new(0), writing })
    }

    /// Whether a session that begins now is to be written down.
    pub(crate) fn wants(&self, rules: &KeptSessions) -> bool {
        rules.transcripts != Transcripts::Off || self.attention.load(Ordering::Relaxed) != 0
    }

    /// Whether somebody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.attention.load(Ordering::Relaxed) & FOLLOWED != 0
    }

    /// A session has ended. The answer is what was found in it.
    /// Names that nobody is known to have are kept in short, unless they are addresses of ours; whoever watches for such a name
    /// finds its sessions all the same.
    pub(crate) fn ended(
        &self,
        mut facts: Facts,
        is_ours: impl Fn(&str) -> bool,
        rules: &KeptSessions,
        now: Timestamp,
    ) -> Option<Found> {
        let names = names(&facts);
        facts.shorten_names(is_ours);
        let diagnosis = if facts.is_look() { None } else { diagnose(&facts) };
        self.ended_as(&names, facts, diagnosis.as_ref(), rules, now)
    }

    #[cfg(test)]
    fn ended_with(
        &self,
        facts: Facts,
        diagnosis: Option<&Diagnosis>,
        rules: &KeptSessions,
        now: Timestamp,
    ) -> Option<Found> {
        self.ended_as(&names(&facts), facts, diagnosis, rules, now)
    }

    fn ended_as(
        &self,
        names: &[String],
        facts: Facts,
        diagnosis: Option<&Diagnosis>,
        rules: &KeptSessions,
        now: Timestamp,
    ) -> Option<Found> {
        let listener = facts.place.listener.clone();
        let who = Who { client: facts.client.ip(), listener: &listener, names };
        let mut state = self.state();
        let watched = state.watches.any() && state.watches.keep(who, diagnosis.is_some(), now);
        if self.is_followed() {
            state.tell_the_end(&facts, diagnosis, who, now);
        }
        let found = match diagnosis {
            Some(diagnosis) if rules.transcripts != Transcripts::Off => {
                let noted = state.cases.note(Occurrence::of(&facts, diagnosis.clone()), now);
                Some(Found { diagnosis: diagnosis.clone(), noted })
            }
            _ => None,
        };
        let usual = match rules.transcripts {
            Transcripts::Off => false,
            Transcripts::All => true,
            Transcripts::Troubled => found.is_some(),
        };
        if usual || watched {
            let because = if watched { Because::Watched } else { Because::Usual };
            state.pending.push(Row::new(facts, diagnosis, because));
        }
        found
    }

    /// A client was turned away: that counts, but there is no session to be kept.
    pub(crate) fn turned_away(&self, facts: &Facts, rules: &KeptSessions, now: Timestamp) {
        if rules.transcripts == Transcripts::Off {
            return;
        }
        if let Some(diagnosis) = diagnose(facts) {
            let trouble = Occurrence { session: None, ..Occurrence::of(facts, diagnosis) };
            self.state().cases.note(trouble, now);
        }
    }

    /// A message came through: what kept the same person, or the same address, from that is solved.
    pub(crate) fn sent(&self, facts: &Facts, principal: Option<&Principal>, now: Timestamp) {
        let (way, hello) = (facts.place.role, facts.hello.as_deref());
        let mut state = self.state();
        if let Some(principal) = principal {
            let addresses = principal.addresses.iter().map(address_key);
            for name in std::iter::once(key_of(&principal.name)).chain(addresses) {
                state.cases.sent_elsewhere(&name, way, facts.client.ip(), now);
                state.cases.sent(&Whom::User(name), way, hello, now);
            }
        }
        state.cases.sent(&Whom::Address(client_net(facts.client.ip())), way, hello, now);
    }

    /// What was said in a session since those who follow heard of it last.
    pub(crate) fn overheard(&self, overheard: &Overheard<'_>, heard: &mut u64, now: Timestamp) {
        let Overheard { session, client, listener, names, dialogue } = overheard;
        let mut state = self.state();
        let watches = state.watches.followers(Who { client: *client, listener, names });
        if watches.is_empty() {
            return;
        }
        for line in dialogue.since(*heard) {
            for text in transcript::spoken(line) {
                let (session, watches) = ((*session).to_owned(), watches.clone());
                state.live.add(Heard { session, at: now, text, watches });
            }
        }
        *heard = dialogue.said();
    }

    /// Carries what came together to disk. Whoever waits for it finds there what ended before.
    ///
    /// # Errors
    /// Local: the file could not be written. Nothing is lost by that, unless too much comes together meanwhile.
    pub(crate) async fn write(&self, rules: KeptSessions, now: Timestamp) -> Result<(), LedgerError> {
        let _alone = self.writing.lock().await;
        let Some(news) = self.state().news(&rules, now) else { return Ok(()) };
        match self.file.write(news, rules, now).await {
            Ok(()) => Ok(()),
            Err((News { rows, cases }, error)) => {
                let mut state = self.state();
                state.pending.give_back(rows);
                state.cases.untold(cases);
                Err(error)
            }
        }
    }

    /// So many sessions were not kept since this was asked last, because too many ended at once.
    pub(crate) fn take_lost(&self) -> u64 {
        self.state().pending.take_lost()
    }

    /// Sessions that are kept, the latest last.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn list(&self, which: Which) -> Result<Vec<Summary>, LedgerError> {
        self.file.list(which).await
    }

    /// One session. `None`: it is not kept.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn show(&self, id: String) -> Result<Option<Shown>, LedgerError> {
        let facts = self.file.facts(id).await?;
        Ok(facts.map(|facts| Shown { diagnosis: diagnose(&facts), facts }))
    }

    /// All cases, the worst first.
    pub(crate) fn cases(&self) -> Vec<Case> {
        self.state().cases.worst_first()
    }

    /// One case.
    pub(crate) fn case(&self, id: u64) -> Option<Case> {
        self.state().cases.find(id).cloned()
    }

    /// Settles a case by hand.
    pub(crate) fn close(&self, id: u64, now: Timestamp) -> Option<Case> {
        self.state().cases.close(id, now)
    }

    /// A letter was sent about a case.
    pub(crate) fn answered(&self, id: u64, now: Timestamp) -> Option<Case> {
        self.state().cases.answered(id, now)
    }

    /// Keeps such sessions whole for a while.
    ///
    /// # Errors
    /// In words, why not.
    pub(crate) fn record(
        &self,
        wanted: Wanted,
        length: SignedDuration,
        now: Timestamp,
    ) -> Result<WatchView, String> {
        let mut state = self.state();
        let set = state.watches.record(wanted, length, now);
        self.attend(&state);
        set
    }

    /// Recordings under way, and who follows.
    pub(crate) fn watches(&self, now: Timestamp) -> Vec<WatchView> {
        let mut state = self.state();
        let set = state.watches.list(now);
        self.attend(&state);
        set
    }

    /// Ends a recording.
    pub(crate) fn stop(&self, id: u64) -> Option<WatchView> {
        let mut state = self.state();
        let stopped = state.watches.stop(id);
        self.attend(&state);
        stopped
    }

    /// Somebody follows from now on. The answer is his number, and where he begins.
    ///
    /// # Errors
    /// In words, why not.
    pub(crate) fn follow(&self, wanted: Wanted, now: Timestamp) -> Result<(u64, u64), String> {
        let mut state = self.state();
        let set = state.watches.follow(wanted, now);
        self.attend(&state);
        set.map(|watch| (watch.id, state.live.cursor()))
    }

    /// What was said since. `None`: his watch has ended.
    pub(crate) fn heard(&self, watch: u64, cursor: u64, now: Timestamp) -> Option<Since> {
        let mut state = self.state();
        let follows = state.watches.asked(watch, now);
        self.attend(&state);
        follows.then(|| state.live.since(watch, cursor))
    }

    fn attend(&self, state: &State) {
        let watched = if state.watches.any() { WATCHED } else { 0 };
        let followed = if state.watches.any_follower() { FOLLOWED } else { 0 };
        self.attention.store(watched | followed, Ordering::Relaxed);
    }

    fn end_watches(&self, now: Timestamp) {
        if self.attention.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut state = self.state();
        state.watches.prune(now);
        if !state.watches.any_follower() {
            state.live.clear();
        }
        self.attend(&state);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// `None`: there are none.
    fn news(&mut self, rules: &KeptSessions, now: Timestamp) -> Option<News> {
        let since = now.duration_since(self.pruned);
        let due = since >= PRUNE || since.is_negative();
        if due {
            self.pruned = now;
            self.cases.prune(oldest(rules, now));
        }
        let news = News { rows: self.pending.take(), cases: self.cases.changes() };
        let nothing = news.rows.is_empty() && news.cases.written.is_empty() && news.cases.gone.is_empty();
        (due || !nothing).then_some(news)
    }

    fn tell_the_end(&mut self, facts: &Facts, diagnosis: Option<&Diagnosis>, who: Who<'_>, now: Timestamp) {
        let watches = self.watches.followers_of_end(who, diagnosis.is_some());
        if watches.is_empty() {
            return;
        }
        let text = transcript::ending(&Summary::of(facts, diagnosis));
        self.live.add(Heard { session: facts.id.clone(), at: now, text, watches });
    }
}

/// Carries what came together to disk until the daemon drains. What the last sessions bring is written when it stops.
pub(crate) async fn run(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let end = phase.wait_for(|phase| *phase != Phase::Running);
    let round = || {
        shared.keeper.end_watches(Timestamp::now());
        write(&shared)
    };
    write_behind(FLUSH, end, round, |error| complain(&shared, error)).await;
}

/// Carries it to disk once more, at the end.
pub(crate) async fn flush(shared: &Shared) {
    if let Err(error) = write(shared).await {
        complain(shared, &error);
    }
}

async fn write(shared: &Shared) -> Result<(), LedgerError> {
    let rules = shared.site.load().config.kept_sessions;
    let written = shared.keeper.write(rules, Timestamp::now()).await;
    match shared.keeper.take_lost() {
        0 => {}
        sessions => shared.observer.daemon(Event::SessionsNotKept { sessions }),
    }
    written
}

fn complain(shared: &Shared, error: &LedgerError) {
    shared.observer.daemon(Event::Alarm {
        what: format!("what is kept of sessions and troubles cannot be written: {error}"),
        remedy: "look at the disk that holds the data directory; mail goes on, and it is tried again".into(),
    });
}

#[cfg(test)]
mod tests;
