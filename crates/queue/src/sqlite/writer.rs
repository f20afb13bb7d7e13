//! The one thread that writes. It takes all commands that wait and commits them as one transaction: one sync for all.
//!
//! A command is first *performed* (its SQL, nothing else), then the transaction is committed, and only then do its
//! [`Effect`]s reach the desk and its caller an answer. When a group fails, nothing of it has happened, and each
//! command is tried alone, so that only the one that cannot be done fails.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::desk::{Desk, State};
use super::prepare::Prepared;
use super::rows;
use crate::draft::body_file_name;
use crate::row::{Key, Slot};
use crate::{Change, Disposition, Error, LeaseId, QueueId, Settled};

/// Something to write.
#[derive(Debug)]
pub(super) enum Command {
    /// Take a message.
    Enqueue(Box<Prepared>),
    /// Write what an attempt came to.
    Record { now: Timestamp, settled: Box<Settled>, follow_ups: Vec<Prepared> },
    /// Do what an operator wants to these deliveries.
    Amend { now: Timestamp, keys: Vec<Key>, change: Change },
    /// Move a message that cannot be read to the quarantine.
    SetAside { id: QueueId, reason: String },
}

/// A command and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<u64, Error>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) database: Arc<Path>,
    pub(super) spool: Arc<Path>,
    pub(super) desk: Arc<Desk>,
    pub(super) inbox: mpsc::Receiver<Job>,
    /// Held as long as the connection is open.
    pub(super) _lock: File,
}

/// What follows for the desk once a command is committed.
#[derive(Debug)]
enum Effect {
    /// An attempt is over; `None`: so is the delivery.
    Settled { lease: LeaseId, id: QueueId, to: Option<Slot> },
    /// An operator changed a delivery.
    Changed { key: Key, from: Slot, to: Slot },
    /// An operator removed a delivery.
    Removed { key: Key, from: Slot },
    /// All deliveries of a message are over.
    Over(QueueId),
    /// A message was set aside; so many deliveries are left in all, and so many of them held.
    SetAside { id: QueueId, all: u64, held: u64 },
}

/// What performing a command came to: its effects, or why it cannot be done (in which case it wrote nothing).
type Verdict = Result<Vec<Effect>, Error>;

/// At most so many commands in one transaction.
const GROUP: usize = 512;
/// At most about so many octets in one transaction.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

impl Writer {
    /// Puts all that waits on the agenda. A row that makes no sense is set aside.
    pub(super) fn load(&mut self) -> Result<(), Error> {
        let mut unreadable = Vec::new();
        let mut state = self.desk.state();
        let loaded = rows::agenda(&self.connection, |entry| match entry {
            Ok((key, slot)) => state.agenda.add(key, slot),
            Err(bad) => unreadable.push(bad),
        });
        drop(state);
        loaded.map_err(|error| Error::sqlite(&self.database, &error))?;
        unreadable.dedup_by_key(|(id, _)| *id);
        for (id, reason) in unreadable {
            let (answer, _) = oneshot::channel();
            self.commit(vec![Job { command: Command::SetAside { id, reason }, answer }]);
        }
        Ok(())
    }

    /// Removes files that no message names: drafts, and bodies whose commit never came or whose removal did not.
    pub(super) fn sweep(&mut self) -> Result<(), Error> {
        let spool = &self.spool;
        for entry in fs::read_dir(spool).map_err(|error| Error::io(spool, error))? {
            let path = entry.map_err(|error| Error::io(spool, error))?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            let Some(id) = stem.and_then(|stem| stem.parse::<QueueId>().ok()) else {
                continue;
            };
            let (queued, quarantined) = match path.extension().and_then(|extension| extension.to_str()) {
                Some("draft") => (false, false),
                Some("body") => rows::is_spooled(&self.connection, id)
                    .map_err(|error| Error::sqlite(&self.database, &error))?,
                _ => continue,
            };
            if queued {
                self.desk.state().spooled.insert(id);
            } else if !quarantined {
                // A file that cannot be removed does no harm but to the disk's space.
                drop(fs::remove_file(&path));
            }
        }
        Ok(())
    }

    /// Works until the store is dropped.
    pub(super) fn run(mut self) {
        while let Some(first) = self.inbox.blocking_recv() {
            let group = self.gather(first);
            self.commit(group);
        }
    }

    /// What waits, within bounds.
    fn gather(&mut self, first: Job) -> Vec<Job> {
        let mut bytes = first.cost();
        let mut group = vec![first];
        while group.len() < GROUP && bytes < GROUP_BYTES {
            let Ok(job) = self.inbox.try_recv() else { break };
            bytes += job.cost();
            group.push(job);
        }
        group
    }

    fn commit(&mut self, group: Vec<Job>) {
        match self.transact(&group) {
            Ok(verdicts) => self.conclude(group, verdicts),
            Err(error) => {
                self.thaw(&group);
                self.fail(group, &error);
            }
        }
    }

    /// A group that failed is tried one by one; a single command that failed is answered.
    fn fail(&mut self, mut group: Vec<Job>, error: &rusqlite::Error) {
        if group.len() > 1 {
            for job in group {
                self.commit(vec![job]);
            }
            return;
        }
        let Some(job) = group.pop() else { return };
        let taken = error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation);
        let error =
            if taken { Error::Unfit("its id is taken") } else { Error::sqlite(&self.database, error) };
        drop(job.answer.send(Err(error)));
    }

    /// All commands in one transaction, or none.
    fn transact(&self, group: &[Job]) -> rusqlite::Result<Vec<Verdict>> {
        self.execute("BEGIN IMMEDIATE")?;
        let performed: rusqlite::Result<Vec<Verdict>> =
            group.iter().map(|job| self.perform(&job.command)).collect();
        let done = performed.and_then(|verdicts| self.execute("COMMIT").map(|()| verdicts));
        // Some errors end the transaction by themselves.
        if done.is_err() && !self.connection.is_autocommit() {
            self.execute("ROLLBACK")?;
        }
        done
    }

    fn execute(&self, statement: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(statement)?.execute([]).map(drop)
    }

    fn perform(&self, command: &Command) -> rusqlite::Result<Verdict> {
        match command {
            Command::Enqueue(prepared) => {
                rows::insert(&self.connection, prepared)?;
                Ok(Ok(Vec::new()))
            }
            Command::Record { now, settled, follow_ups } => {
                let verdict = self.record(*now, settled)?;
                if verdict.is_ok() {
                    follow_ups.iter().try_for_each(|prepared| rows::insert(&self.connection, prepared))?;
                }
                Ok(verdict)
            }
            Command::Amend { now, keys, change } => self.amend(*now, keys, *change),
            Command::SetAside { id, reason } => {
                let (all, held) = rows::set_aside(&self.connection, *id, reason)?;
                Ok(Ok(vec![Effect::SetAside { id: *id, all, held }]))
            }
        }
    }

    fn record(&self, now: Timestamp, settled: &Settled) -> rusqlite::Result<Verdict> {
        let lease = settled.lease;
        let (key, all_done) = {
            let mut state = self.desk.state();
            let Some((key, recipients)) = state.agenda.holds(lease) else {
                return Ok(Err(Error::LeaseLost));
            };
            let found = (key.clone(), ends_all(settled, recipients));
            state.agenda.freeze(lease);
            found
        };
        if all_done {
            return self.finish(lease, &key);
        }
        let mut row = match rows::delivery(&self.connection, &key)? {
            None => return Ok(Err(Error::LeaseLost)),
            Some(Err(reason)) => return Ok(Err(Error::Unreadable { id: key.0, reason })),
            Some(Ok(row)) => row,
        };
        row.settle(now, settled);
        if row.recipients.is_empty() {
            return self.finish(lease, &key);
        }
        rows::update(&self.connection, &key, &row)?;
        Ok(Ok(vec![Effect::Settled { lease, id: key.0, to: Some(row.slot()) }]))
    }

    /// The delivery is over, and perhaps the message.
    fn finish(&self, lease: LeaseId, key: &Key) -> rusqlite::Result<Verdict> {
        if !rows::delete(&self.connection, key)? {
            return Ok(Err(Error::LeaseLost));
        }
        let mut effects = vec![Effect::Settled { lease, id: key.0, to: None }];
        if rows::delete_if_over(&self.connection, key.0)? {
            effects.push(Effect::Over(key.0));
        }
        Ok(Ok(effects))
    }

    fn amend(&self, now: Timestamp, keys: &[Key], change: Change) -> rusqlite::Result<Verdict> {
        let mut effects = Vec::with_capacity(keys.len());
        for key in keys {
            // Gone or unreadable meanwhile: not ours to change.
            let Some(Ok(mut row)) = rows::delivery(&self.connection, key)? else {
                continue;
            };
            let from = row.slot();
            if change == Change::Remove {
                rows::delete(&self.connection, key)?;
                effects.push(Effect::Removed { key: key.clone(), from });
                if rows::delete_if_over(&self.connection, key.0)? {
                    effects.push(Effect::Over(key.0));
                }
                continue;
            }
            row.amend(now, change);
            rows::update(&self.connection, key, &row)?;
            effects.push(Effect::Changed { key: key.clone(), from, to: row.slot() });
        }
        Ok(Ok(effects))
    }

    /// The transaction is on disk: tells the desk, then the callers, then removes files that nobody needs.
    fn conclude(&self, group: Vec<Job>, verdicts: Vec<Verdict>) {
        let mut answers = Vec::with_capacity(group.len());
        let mut over = Vec::new();
        let mut state = self.desk.state();
        for (job, verdict) in group.into_iter().zip(verdicts) {
            let result = verdict.map(|effects| {
                let changed = effects.iter().filter(|effect| effect.is_change()).count() as u64;
                for effect in effects {
                    effect.apply(&mut state, &mut over);
                }
                changed
            });
            job.command.conclude(&mut state, result.is_ok());
            answers.push((job.answer, result));
        }
        drop(state);
        for (answer, result) in answers {
            // A caller that gave up does not want to know.
            drop(answer.send(result));
        }
        // What cannot be removed now is removed at the next start.
        for id in over {
            drop(fs::remove_file(self.spool.join(body_file_name(id))));
        }
    }

    /// What was not written can lapse again.
    fn thaw(&self, group: &[Job]) {
        let mut state = self.desk.state();
        group.iter().filter_map(|job| job.command.lease()).for_each(|lease| state.agenda.thaw(lease));
    }
}

/// Whether nobody that the lease was for is left.
fn ends_all(settled: &Settled, recipients: &[crate::RecipientId]) -> bool {
    let is_done =
        |wanted| settled.dispositions.iter().any(|(id, done)| *id == wanted && *done == Disposition::Done);
    !recipients.is_empty() && recipients.iter().all(|id| is_done(*id))
}

impl Job {
    fn cost(&self) -> usize {
        match &self.command {
            Command::Enqueue(prepared) => prepared.cost(),
            Command::Record { follow_ups, .. } => follow_ups.iter().map(Prepared::cost).sum(),
            Command::Amend { .. } | Command::SetAside { .. } => 0,
        }
    }
}

impl Command {
    fn lease(&self) -> Option<LeaseId> {
        match self {
            Self::Record { settled, .. } => Some(settled.lease),
            _ => None,
        }
    }

    /// Admits the new messages of a command that is on disk. Those of one that was refused are dropped, files and all.
    fn conclude(self, state: &mut State, done: bool) {
        match self {
            Self::Enqueue(prepared) if done => state.admit(*prepared),
            Self::Record { follow_ups, .. } if done => {
                for prepared in follow_ups {
                    state.admit(prepared);
                }
            }
            Self::Record { settled, .. } => state.agenda.thaw(settled.lease),
            _ => {}
        }
    }
}

impl Effect {
    /// Whether it counts among what an operator changed.
    fn is_change(&self) -> bool {
        matches!(self, Self::Changed { .. } | Self::Removed { .. })
    }

    fn apply(self, state: &mut State, over: &mut Vec<QueueId>) {
        match self {
            Self::Settled { lease, id, to } => {
                state.agenda.settle(lease, to);
                if to.is_some() {
                    state.forget(id);
                }
            }
            Self::Changed { key, from, to } => {
                state.agenda.change(&key, from, to);
                state.forget(key.0);
            }
            Self::Removed { key, from } => {
                state.agenda.remove(&key, from);
                state.forget(key.0);
            }
            Self::Over(id) => {
                state.forget(id);
                if state.spooled.remove(&id) {
                    over.push(id);
                }
            }
            Self::SetAside { id, all, held } => {
                state.agenda.purge(id, all, held);
                state.forget(id);
                state.spooled.remove(&id);
            }
        }
    }
}
