//! What a queue can do.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    Batch, Body, Change, Delivery, Draft, Error, Filter, LeaseId, LeaseRequest, NewMessage, QueueId,
    Selection, Settled,
};

/// A durable queue. Every method may be called from any task at any time.
///
/// # Cancel safety
/// A method whose future is dropped has either happened or not happened, whole; the caller cannot know which.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// A new, empty draft with a fresh id. Nothing is stored yet; dropping the draft leaves nothing behind.
    fn begin(&self, now: Timestamp) -> Draft;

    /// Takes responsibility for a message: when this returns `Ok`, the message is synced to disk.
    /// A message whose recipients are all for one destination and one whose are not are equally good.
    ///
    /// # Errors
    /// [`Error::Full`] when the disk is full or read-only: nothing was stored, try again later.
    async fn enqueue(&self, now: Timestamp, message: NewMessage) -> Result<QueueId, Error>;

    /// The whole message, our header fields first.
    async fn body(&self, id: QueueId) -> Result<Body, Error>;

    /// Leases deliveries that are due, oldest due first, within the request's limits.
    async fn lease(&self, now: Timestamp, request: LeaseRequest) -> Result<Vec<Batch>, Error>;

    /// Extends leases; those that lapsed or were taken over are left out of the answer.
    async fn renew(&self, leases: Vec<LeaseId>, until: Timestamp) -> Result<Vec<LeaseId>, Error>;

    /// Writes what an attempt came to, and its reports, in one transaction. Synced when it returns.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the lease lapsed and someone else has it, or the delivery was removed.
    async fn record(&self, now: Timestamp, settled: Settled) -> Result<(), Error>;

    /// When the next delivery that is neither held nor leased becomes due.
    async fn next_due(&self) -> Result<Option<Timestamp>, Error>;

    /// The deliveries that a filter means, oldest message first.
    async fn find(&self, filter: Filter, page: Selection) -> Result<Vec<Delivery>, Error>;

    /// Applies a change to all deliveries that a filter means; says how many there were.
    async fn amend(&self, now: Timestamp, filter: Filter, change: Change) -> Result<u64, Error>;

    /// How many deliveries there are in all, and how many of them are held.
    async fn count(&self) -> Result<(u64, u64), Error>;

    /// Messages that could not be read and were set aside, with the reason.
    async fn quarantined(&self) -> Result<Vec<(QueueId, String)>, Error>;
}
