//! The default store. (being written)

use std::path::Path;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Batch, Body, Change, Delivery, Draft, Error, Filter, LeaseId, LeaseRequest, MemoryStore, Message,
    NewMessage, QueueId, Selection, Settled, Store,
};

/// What can be set about a store on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The database may grow to this many octets; `None`: to what the disk has.
    pub max_bytes: Option<u64>,
    /// Octets of memory for messages that just came in, so that their first attempt need not read the disk.
    pub fresh_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_bytes: None,
            fresh_bytes: 16 * 1024 * 1024,
        }
    }
}

/// A queue on disk, in one SQLite database and a folder for large messages.
#[derive(Debug)]
pub struct SqliteStore(MemoryStore);

impl SqliteStore {
    /// Opens the queue in a data directory, or makes it there.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, Error> {
        Self::open_with(dir, now, Options::default())
    }

    /// As [`open`](Self::open), with options.
    pub fn open_with(_dir: &Path, _now: Timestamp, _options: Options) -> Result<Self, Error> {
        Ok(Self(MemoryStore::new()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn begin(&self, now: Timestamp) -> Draft {
        self.0.begin(now)
    }
    async fn enqueue(&self, now: Timestamp, message: NewMessage) -> Result<QueueId, Error> {
        self.0.enqueue(now, message).await
    }
    async fn body(&self, id: QueueId) -> Result<Body, Error> {
        self.0.body(id).await
    }
    async fn lease(&self, now: Timestamp, request: LeaseRequest) -> Result<Vec<Batch>, Error> {
        self.0.lease(now, request).await
    }
    async fn renew(&self, leases: Vec<LeaseId>, until: Timestamp) -> Result<Vec<LeaseId>, Error> {
        self.0.renew(leases, until).await
    }
    async fn record(&self, now: Timestamp, settled: Settled) -> Result<(), Error> {
        self.0.record(now, settled).await
    }
    async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        self.0.next_due().await
    }
    async fn find(&self, filter: Filter, page: Selection) -> Result<Vec<Delivery>, Error> {
        self.0.find(filter, page).await
    }
    async fn amend(&self, now: Timestamp, filter: Filter, change: Change) -> Result<u64, Error> {
        self.0.amend(now, filter, change).await
    }
    async fn count(&self) -> Result<(u64, u64), Error> {
        self.0.count().await
    }
    async fn quarantined(&self) -> Result<Vec<(QueueId, String)>, Error> {
        self.0.quarantined().await
    }
    async fn message(&self, id: QueueId) -> Result<Option<Message>, Error> {
        self.0.message(id).await
    }
}
