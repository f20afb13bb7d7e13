//! The runner: looks after every identity that an `[[acme]]` issues, each in its own time.
//!
//! [`run`] is a task of the daemon's. It sleeps until something is due, an administrator wants something, or the
//! configuration changed; orders run as tasks of their own, [`AT_ONCE`] at a time with each CA, so that a slow one holds up
//! no other, and those that an administrator waits for besides. What one of them meets, the others do not notice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_pki::{IdentityStore, SentTo};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::sleep;

use super::due::{Hint, Wanted};
use super::issue::{Call, Done, Job, look_after};
use super::story::OrderView;
use super::{Wish, Wishes};
use crate::certificates::renewal::Renewal;
use crate::config::{self, Config, IdentitySource, Issuer};
use crate::daemon::{Phase, Shared};
use crate::event::Event;

/// So many orders at a time with one CA.
const AT_ONCE: usize = 2;
/// The longest sleep: clocks are set, and configurations change.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// After a bug, it is tried again after this.
const AFTER_BUG: SignedDuration = SignedDuration::from_hours(1);

/// Who wants to hear what came of an order.
type Waiting = oneshot::Sender<Result<OrderView, String>>;

/// Runs until the daemon drains; orders under way are broken off in order.
pub(crate) async fn run(shared: Arc<Shared>, wishes: Wishes, mut phase: watch::Receiver<Phase>) {
    let mut wishes = wishes.0;
    let mut runner = Runner {
        shared,
        phase: phase.clone(),
        config: None,
        entries: HashMap::new(),
        jobs: JoinSet::new(),
        running: HashMap::new(),
        accounts: HashMap::new(),
    };
    loop {
        runner.adopt();
        let now = Timestamp::now();
        runner.start_due(now);
        let pause = runner.until_next(now);
        let ended = tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            Some(wish) = wishes.recv() => {
                runner.hear(wish);
                None
            }
            ended = runner.jobs.join_next_with_id(), if !runner.jobs.is_empty() => ended,
            () = sleep(pause) => None,
        };
        if let Some(ended) = ended {
            runner.take_up(ended).await;
        }
    }
    // They hear of the drain by themselves.
    while let Some(ended) = runner.jobs.join_next_with_id().await {
        runner.take_up(ended).await;
    }
}

struct Runner {
    shared: Arc<Shared>,
    phase: watch::Receiver<Phase>,
    /// The one that the entries are of.
    config: Option<Arc<Config>>,
    entries: HashMap<String, Entry>,
    jobs: JoinSet<Done>,
    running: HashMap<Id, Running>,
    /// For each CA by its name: held while its account is looked for.
    accounts: HashMap<String, Arc<Mutex<()>>>,
}

/// A job.
struct Running {
    identity: String,
    authority: String,
}

/// An identity that is to be looked after now, the most urgent first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    call: Call,
    since: Timestamp,
    identity: String,
    authority: String,
}

/// One identity.
struct Entry {
    wanted: Wanted,
    authority: config::Acme,
    hint: Hint,
    next: Timestamp,
    state: State,
    waiting: Vec<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Runs(Call),
    /// The same, under settings that are no longer wanted.
    Outdated(Call),
}

impl Runner {
    /// Brings the entries in line with the configuration of the moment. What did not change goes on as it was.
    fn adopt(&mut self) {
        let config = Arc::clone(&self.shared.site.load().config);
        if self.config.as_ref().is_some_and(|known| Arc::ptr_eq(known, &config)) {
            return;
        }
        let mut entries = HashMap::new();
        for (wanted, authority) in wanted(&config) {
            let name = wanted.identity.clone();
            let entry = match self.entries.remove(&name) {
                Some(same) if (&same.wanted, &same.authority) == (&wanted, &authority) => same,
                // A job that still runs ends under its old settings, and is followed by one under the new.
                Some(other) => other.under(wanted, authority),
                None => Entry::new(wanted, authority),
            };
            entries.insert(name, entry);
        }
        for gone in std::mem::replace(&mut self.entries, entries).into_values() {
            gone.answer_all(&Err("it is no longer issued by an [[acme]]".to_owned()));
        }
        self.config = Some(config);
    }

    fn start_due(&mut self, now: Timestamp) {
        let due = self
            .entries
            .values()
            .filter(|entry| entry.state == State::Idle && (entry.next <= now || !entry.waiting.is_empty()));
        let due = due.map(Entry::due).collect();
        for Due { identity, call, .. } in startable(due, self.running.values().map(|one| &*one.authority)) {
            self.start(&identity, call, now);
        }
    }

    fn start(&mut self, identity: &str, call: Call, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(identity) else { return };
        entry.state = State::Runs(call);
        self.accounts.retain(|_, account| Arc::strong_count(account) > 1);
        let authority = entry.authority.name.clone();
        let account = Arc::clone(self.accounts.entry(authority.clone()).or_default());
        let job = Job {
            shared: Arc::clone(&self.shared),
            wanted: entry.wanted.clone(),
            authority: entry.authority.clone(),
            hint: entry.hint.clone(),
            call,
            phase: self.phase.clone(),
            account,
        };
        let task = self.jobs.spawn(look_after(job, now));
        self.running.insert(task.id(), Running { identity: identity.to_owned(), authority });
    }

    fn hear(&mut self, wish: Wish) {
        // Something may have been put into the store, or been sent to an authority.
        self.config = None;
        self.adopt();
        let Wish::Renew(identity, answer) = wish else { return };
        if let Some(entry) = self.entries.get_mut(&identity) {
            entry.waiting.push(answer);
            return;
        }
        let _ = answer.send(Err(format!("\"{identity}\" is no identity that an [[acme]] issues")));
    }

    /// What came of a job: when to look again, and who has to be told.
    async fn take_up(&mut self, ended: Result<(Id, Done), JoinError>) {
        let (id, done) = match ended {
            Ok((id, done)) => (id, Some(done)),
            Err(error) => (error.id(), None),
        };
        let Some(Running { identity, .. }) = self.running.remove(&id) else { return };
        let view = match done.as_ref().and_then(|done| done.order) {
            Some(order) => Some(self.view(order).await),
            None => None,
        };
        if done.is_none() {
            self.shared.observer.daemon(Event::Alarm {
                what: format!("looking after the certificate of {identity} broke off: this is a bug"),
                remedy: "please report it; it is tried again in an hour".into(),
            });
        }
        let Some(entry) = self.entries.get_mut(&identity) else { return };
        let state = std::mem::replace(&mut entry.state, State::Idle);
        let (State::Runs(call) | State::Outdated(call)) = state else { return };
        match done {
            Some(done) if matches!(state, State::Runs(_)) => {
                (entry.hint, entry.next) = (done.hint, done.next);
            }
            // Under the new settings it is looked at at once.
            Some(_) => {}
            None => entry.next = Timestamp::now().checked_add(AFTER_BUG).unwrap_or(Timestamp::MAX),
        }
        match view {
            Some(view) => std::mem::take(&mut entry.waiting).into_iter().for_each(|waiting| {
                let _ = waiting.send(view.clone());
            }),
            // Whoever wished something in the middle of a look without an order gets an order of his own.
            None if call == Call::Routine => {}
            None => entry.take_waiting(&Err("the order broke off; see the log".to_owned())),
        }
    }

    async fn view(&self, order: i64) -> Result<OrderView, String> {
        let view = self.shared.acme.story.order(order).await;
        view.map_err(|error| error.to_string())?.ok_or_else(|| "its story is gone".to_owned())
    }

    /// How long to sleep.
    fn until_next(&self, now: Timestamp) -> Duration {
        let idle = self.entries.values().filter(|entry| entry.state == State::Idle);
        let next = idle.map(|entry| entry.next).min().unwrap_or(Timestamp::MAX);
        // What is due and waits for room is started when a job ends.
        match Duration::try_from(next.duration_since(now)) {
            Ok(time) if !time.is_zero() => time.min(LONGEST_SLEEP),
            _ => LONGEST_SLEEP,
        }
    }
}

impl Entry {
    fn new(wanted: Wanted, authority: config::Acme) -> Self {
        Self {
            wanted,
            authority,
            hint: Hint::Unknown,
            next: Timestamp::UNIX_EPOCH,
            state: State::Idle,
            waiting: Vec::new(),
        }
    }

    fn due(&self) -> Due {
        Due {
            call: if self.waiting.is_empty() { Call::Routine } else { Call::ByHand },
            since: self.next,
            identity: self.wanted.identity.clone(),
            authority: self.authority.name.clone(),
        }
    }

    /// The same identity under other settings.
    fn under(self, wanted: Wanted, authority: config::Acme) -> Self {
        let state = match self.state {
            State::Runs(call) | State::Outdated(call) => State::Outdated(call),
            State::Idle => State::Idle,
        };
        Self { state, waiting: self.waiting, ..Self::new(wanted, authority) }
    }

    fn answer_all(mut self, answer: &Result<OrderView, String>) {
        self.take_waiting(answer);
    }

    fn take_waiting(&mut self, answer: &Result<OrderView, String>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(answer.clone());
        }
    }
}

/// Those that may start now, while these CAs are at work: an administrator waits for nobody.
fn startable<'r>(mut due: Vec<Due>, running: impl Iterator<Item = &'r str>) -> Vec<Due> {
    let mut busy: HashMap<String, usize> = HashMap::new();
    running.for_each(|authority| *busy.entry(authority.to_owned()).or_default() += 1);
    due.sort();
    due.retain(|one| {
        let at_work = busy.entry(one.authority.clone()).or_default();
        let starts = one.call == Call::ByHand || *at_work < AT_ONCE;
        *at_work += usize::from(starts);
        starts
    });
    due
}

/// What is wanted of ACME: what the configuration lists, then what lies in the store and came from there or was sent there.
fn wanted(config: &Config) -> Vec<(Wanted, config::Acme)> {
    let of_one = |identity: &config::Identity| {
        let IdentitySource::Store { issuer: Some(Issuer::Acme(issuer)), names, key } = &identity.source
        else {
            return None;
        };
        Some(Wanted {
            identity: identity.name.clone(),
            names: names.clone(),
            key: *key,
            authority: issuer.clone(),
        })
    };
    let mut all: Vec<Wanted> = config.tls.identities.iter().filter_map(of_one).collect();
    all.extend(kept(config));
    let with_authority = |wanted: Wanted| {
        let authority = config.acme.iter().find(|authority| authority.name == wanted.authority)?.clone();
        Some((wanted, authority))
    };
    all.into_iter().filter_map(with_authority).collect()
}

/// Identities whose issuer the configuration does not name: their last certificate came by ACME, or their request was sent
/// there. What cannot be read is left alone; `postern cert list` says so.
fn kept(config: &Config) -> Vec<Wanted> {
    let store = IdentityStore::new(&config.data_dir);
    let mut names = store.names().unwrap_or_default();
    names.extend(store.pending_names().unwrap_or_default());
    names.sort();
    names.dedup();
    let unsettled = names.into_iter().filter(|name| Renewal::configured(config, name).is_none());
    unsettled.filter_map(|name| kept_one(config, &store, name)).collect()
}

fn kept_one(config: &Config, store: &IdentityStore, identity: String) -> Option<Wanted> {
    let Renewal::Acme(authority) = Renewal::of(config, store, &identity) else { return None };
    if let Some(pending) = store.pending(&identity).ok().flatten()
        && let Some(SentTo::Acme(_)) = pending.note.sent
    {
        let key = pending.key.kind().unwrap_or_default();
        return Some(Wanted { identity, names: pending.note.details.names, key, authority });
    }
    let stored = store.read(&identity).ok()?;
    let key = stored.key.kind().unwrap_or_default();
    Some(Wanted { identity, names: stored.about.asked?.names, key, authority })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(call: Call, identity: &str, authority: &str) -> Due {
        let (identity, authority) = (identity.to_owned(), authority.to_owned());
        Due { call, since: Timestamp::UNIX_EPOCH, identity, authority }
    }

    fn names(due: Vec<Due>, running: &[&str]) -> Vec<String> {
        startable(due, running.iter().copied()).into_iter().map(|one| one.identity).collect()
    }

    #[test]
    fn a_ca_that_is_slow_with_two_identities_holds_up_no_other_ca() {
        let waiting = ["a", "b"].map(|name| due(Call::Routine, name, "slow")).to_vec();
        let others = ["c", "d", "e"].map(|name| due(Call::Routine, name, "quick"));
        let all = [waiting, others.to_vec()].concat();
        assert_eq!(names(all.clone(), &["slow", "slow"]), ["c", "d"]);
        assert_eq!(names(all, &["slow", "quick"]), ["a", "c"]);
    }

    #[test]
    fn an_administrator_comes_first_and_waits_for_nobody() {
        let all = vec![due(Call::Routine, "a", "slow"), due(Call::ByHand, "z", "slow")];
        assert_eq!(names(all.clone(), &["slow", "slow"]), ["z"]);
        assert_eq!(names(all, &[]), ["z", "a"]);
    }
}
