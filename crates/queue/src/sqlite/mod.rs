//! The default store: one SQLite database, and a folder of files for the content of large messages.
//!
//! The pieces, in the order that a message meets them:
//! - [`prepare`]: the caller's own task encodes the message and syncs the file of a large one.
//! - [`writer`]: one thread takes what waits, and commits it as one transaction, with one sync for all.
//! - [`desk`]: what is known in memory: the agenda of due deliveries, the leases, and the messages that just came in,
//!   whose first attempt therefore reads nothing from the disk.
//! - [`readers`]: connections for all other reading, so that a listing never stops the writer.
//! - [`rows`] and [`schema`]: the SQL; nothing else in this crate knows any.
//!
//! What it deliberately does not do: share the database with another process. `queue.lock` says whose it is, and with
//! one process at a time, leases need not be written at all.

mod desk;
mod prepare;
mod readers;
mod rows;
mod schema;
mod writer;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::draft::blocking;
use crate::id::IdSource;
use crate::row::{Key, whole_micros};
use crate::{
    Batch, Body, Change, Delivery, Draft, Error, Filter, LeaseId, LeaseRequest, NewMessage, QueueId,
    Selection, Settled, Store,
};
use desk::Desk;
use prepare::{Prepared, prepare};
use readers::Readers;
use rows::Unreadable;
use writer::{Command, Job, Writer};

/// What can be set about a queue on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The database may grow to this many octets (large messages' files not counted); `None`: to what the disk has.
    pub max_bytes: Option<u64>,
    /// Octets of memory for messages that just came in, so that their first attempt need not read the disk.
    pub fresh_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_bytes: None, fresh_bytes: 16 * 1024 * 1024 }
    }
}

/// A queue on disk: `queue.db` and the folder `spool` in a data directory.
#[derive(Debug)]
pub struct SqliteStore {
    ids: IdSource,
    spool: Arc<Path>,
    desk: Arc<Desk>,
    readers: Readers,
    outbox: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// Commands that may wait for the writer before callers do.
const WAITING: usize = 512;

impl SqliteStore {
    /// Opens the queue in a data directory, or makes it there. All leases of the process that had it before have
    /// lapsed. Blocks.
    ///
    /// # Errors
    /// [`Error::InUse`] while another process has it, [`Error::Newer`] when a later version wrote it,
    /// [`Error::Broken`] when the database is damaged.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_with(dir, Options::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(dir: &Path, options: Options) -> Result<Self, Error> {
        let spool: Arc<Path> = dir.join("spool").into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&spool)
            .map_err(|error| Error::io(&spool, error))?;
        let lock = lock(&dir.join("queue.lock"))?;
        let database: Arc<Path> = dir.join("queue.db").into();
        let connection = schema::open(&database, options)?;
        let wrong = |error: rusqlite::Error| Error::sqlite(&database, &error);
        let ids = IdSource::above(rows::newest(&connection).map_err(wrong)?);
        let desk = Arc::new(Desk::new(options.fresh_bytes));
        let (outbox, inbox) = mpsc::channel(WAITING);
        let readers = Readers::new(database.clone());
        let (spool_of_writer, desk_of_writer) = (spool.clone(), desk.clone());
        let mut writer =
            Writer { connection, database, spool: spool_of_writer, desk: desk_of_writer, inbox, _lock: lock };
        writer.load()?;
        writer.sweep()?;
        let thread = std::thread::Builder::new().name("queue-writer".into()).spawn(move || writer.run());
        let thread = thread.map_err(|error| Error::io(dir, error))?;
        Ok(Self { ids, spool, desk, readers, outbox: Some(outbox), writer: Some(thread) })
    }

    /// Has the writer do something, and waits until it is synced.
    async fn commit(&self, command: Command) -> Result<u64, Error> {
        let outbox = self.outbox.as_ref().ok_or(Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        outbox.send(Job { command, answer }).await.map_err(|_| Error::Closed)?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Sets messages aside that could not be read. That this fails is no reason to fail what others wait for.
    async fn set_aside(&self, unreadable: Unreadable) {
        for (id, reason) in unreadable {
            drop(self.commit(Command::SetAside { id, reason }).await);
        }
    }

    /// Sets the message aside if that is what went wrong.
    async fn judged<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Unreadable { id, reason }) = &result {
            self.set_aside(vec![(*id, reason.clone())]).await;
        }
        result
    }

    /// Reads the deliveries that the desk could not tell by heart.
    async fn read_batches(&self, leases: Vec<(LeaseId, Key)>) -> Result<Vec<Batch>, Error> {
        let wanted = leases.clone();
        let read = self.readers.run(move |connection| rows::batches(connection, wanted)).await;
        let (batches, unreadable) = match read {
            Ok(read) => read,
            Err(error) => {
                self.desk.give_back(leases);
                return Err(error);
            }
        };
        self.desk.attach(&leases, &batches);
        self.set_aside(unreadable).await;
        Ok(batches)
    }

    async fn keys(&self, filter: Filter) -> Result<Vec<Key>, Error> {
        let desk = self.desk.clone();
        let search = move |connection: &Connection| {
            let mut keys = Vec::new();
            let unreadable = rows::find(connection, &desk, &filter, |delivery| {
                keys.push((delivery.message.id, delivery.destination));
                ControlFlow::Continue(())
            })?;
            Ok((keys, unreadable))
        };
        let (keys, unreadable) = self.readers.run(search).await?;
        self.set_aside(unreadable).await;
        Ok(keys)
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn begin(&self, now: Timestamp) -> Draft {
        Draft::new(self.ids.next(now), Some(self.spool.clone()))
    }

    async fn enqueue(&self, now: Timestamp, message: NewMessage) -> Result<QueueId, Error> {
        let prepared = prepare(whole_micros(now), message, &self.spool).await?;
        let id = prepared.message.id;
        self.commit(Command::Enqueue(Box::new(prepared))).await?;
        Ok(id)
    }

    async fn body(&self, id: QueueId) -> Result<Body, Error> {
        if let Some(body) = self.desk.body(id) {
            return Ok(body);
        }
        let spool = self.spool.clone();
        let read = self.readers.run(move |connection| rows::body(connection, id)).await;
        let opened = match read {
            Ok(None) => Err(Error::NotFound(id)),
            Ok(Some(Ok(stored))) => match stored.content {
                Some(content) => Ok(Body::in_memory(id, stored.head, content)),
                None => blocking(move || Body::in_folder(&spool, id, stored.head, stored.size)).await,
            },
            Ok(Some(Err(reason))) => Err(Error::Unreadable { id, reason }),
            Err(error) => Err(error),
        };
        self.judged(opened).await
    }

    async fn lease(&self, now: Timestamp, request: LeaseRequest) -> Result<Vec<Batch>, Error> {
        let (mut batches, others) = self.desk.lease(whole_micros(now), &request);
        if !others.is_empty() {
            batches.extend(self.read_batches(others).await?);
            // Leases are numbered in the order in which they were chosen.
            batches.sort_unstable_by_key(|batch| batch.lease.0);
        }
        Ok(batches)
    }

    async fn renew(&self, leases: Vec<LeaseId>, until: Timestamp) -> Result<Vec<LeaseId>, Error> {
        Ok(self.desk.renew(leases, until))
    }

    async fn record(&self, now: Timestamp, mut settled: Settled) -> Result<(), Error> {
        let now = whole_micros(now);
        let mut follow_ups: Vec<Prepared> = Vec::with_capacity(settled.follow_ups.len());
        for message in std::mem::take(&mut settled.follow_ups) {
            follow_ups.push(prepare(now, message, &self.spool).await?);
        }
        let recorded = self.commit(Command::Record { now, settled: Box::new(settled), follow_ups }).await;
        self.judged(recorded).await.map(drop)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.desk.next_due())
    }

    async fn find(&self, filter: Filter, page: Selection) -> Result<Vec<Delivery>, Error> {
        let desk = self.desk.clone();
        let search = move |connection: &Connection| {
            let mut pages = Page { skip: page.offset, limit: page.limit, found: Vec::new() };
            let unreadable = rows::find(connection, &desk, &filter, |delivery| pages.take(delivery))?;
            Ok((pages.found, unreadable))
        };
        let (found, unreadable) = self.readers.run(search).await?;
        self.set_aside(unreadable).await;
        Ok(found)
    }

    async fn amend(&self, now: Timestamp, filter: Filter, change: Change) -> Result<u64, Error> {
        let keys = self.keys(filter).await?;
        if keys.is_empty() {
            return Ok(0);
        }
        self.commit(Command::Amend { now: whole_micros(now), keys, change }).await
    }

    async fn count(&self) -> Result<(u64, u64), Error> {
        Ok(self.desk.count())
    }

    async fn quarantined(&self) -> Result<Vec<(QueueId, String)>, Error> {
        self.readers.run(rows::quarantined).await
    }
}

impl Drop for SqliteStore {
    /// Waits for the writer, so that whoever opens the queue next finds it free.
    fn drop(&mut self) {
        self.outbox = None;
        self.readers.close();
        if let Some(writer) = self.writer.take() {
            // If it panicked, that was said when it happened.
            drop(writer.join());
        }
    }
}

/// A page of a listing, being filled.
struct Page {
    skip: usize,
    limit: usize,
    found: Vec<Delivery>,
}

impl Page {
    fn take(&mut self, delivery: Delivery) -> ControlFlow<()> {
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.found.len() < self.limit {
            self.found.push(delivery);
        }
        if self.found.len() < self.limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// One process at a time.
fn lock(path: &Path) -> Result<File, Error> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(|error| Error::io(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(Error::io(path, error)),
    }
}
