//! The reference store: everything in memory, nothing survives. For tests and for comparison.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::agenda::Agenda;
use crate::draft::Content;
use crate::id::IdSource;
use crate::row::{Key, Row, by_destination, whole_micros};
use crate::{
    Batch, Body, Change, Delivery, Destination, Draft, Error, Filter, LeaseId, LeaseRequest, Message,
    NewMessage, QueueId, Selection, Settled, Store,
};

/// A queue in memory. It behaves as [`SqliteStore`](crate::SqliteStore) does, but forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    ids: IdSource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    agenda: Agenda,
    messages: BTreeMap<QueueId, Stored>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    head: Bytes,
    content: Bytes,
    deliveries: BTreeMap<Destination, Row>,
}

impl MemoryStore {
    /// An empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn begin(&self, now: Timestamp) -> Draft {
        Draft::new(self.ids.next(now), None)
    }

    async fn enqueue(&self, now: Timestamp, message: NewMessage) -> Result<QueueId, Error> {
        let stored = take(now, message).await?;
        let id = stored.message.id;
        let mut state = self.state();
        state.check(&[&stored])?;
        state.insert(stored);
        Ok(id)
    }

    async fn body(&self, id: QueueId) -> Result<Body, Error> {
        let state = self.state();
        let stored = state.messages.get(&id).ok_or(Error::NotFound(id))?;
        Ok(Body::in_memory(id, stored.head.clone(), stored.content.clone()))
    }

    async fn lease(&self, now: Timestamp, request: LeaseRequest) -> Result<Vec<Batch>, Error> {
        let mut state = self.state();
        let leases = state.agenda.lease(whole_micros(now), &request);
        Ok(leases.into_iter().filter_map(|(lease, key)| state.batch(lease, key)).collect())
    }

    async fn renew(&self, leases: Vec<LeaseId>, until: Timestamp) -> Result<Vec<LeaseId>, Error> {
        Ok(self.state().agenda.renew(leases, until))
    }

    async fn record(&self, now: Timestamp, mut settled: Settled) -> Result<(), Error> {
        let mut follow_ups = Vec::new();
        for message in std::mem::take(&mut settled.follow_ups) {
            follow_ups.push(take(now, message).await?);
        }
        let mut state = self.state();
        state.check(&follow_ups.iter().collect::<Vec<_>>())?;
        state.settle(whole_micros(now), &settled)?;
        for stored in follow_ups {
            state.insert(stored);
        }
        Ok(())
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, Error> {
        Ok(self.state().agenda.next_due())
    }

    async fn find(&self, filter: Filter, page: Selection) -> Result<Vec<Delivery>, Error> {
        let state = self.state();
        Ok(state
            .deliveries()
            .filter(|delivery| filter.means(delivery))
            .skip(page.offset)
            .take(page.limit)
            .collect())
    }

    async fn amend(&self, now: Timestamp, filter: Filter, change: Change) -> Result<u64, Error> {
        let mut state = self.state();
        let meant = state.deliveries().filter(|delivery| filter.means(delivery));
        let keys: Vec<Key> = meant.map(|delivery| (delivery.message.id, delivery.destination)).collect();
        for key in &keys {
            state.amend(whole_micros(now), key, change);
        }
        Ok(keys.len() as u64)
    }

    async fn count(&self) -> Result<(u64, u64), Error> {
        Ok(self.state().agenda.count())
    }

    async fn quarantined(&self) -> Result<Vec<(QueueId, String)>, Error> {
        Ok(Vec::new())
    }
}

async fn take(now: Timestamp, new: NewMessage) -> Result<Stored, Error> {
    if new.envelope.recipients.is_empty() {
        return Err(Error::Unfit("it has no recipients"));
    }
    let now = whole_micros(now);
    let message = Message::accept(now, &new);
    let deliveries = by_destination(new.envelope);
    let deliveries =
        deliveries.into_iter().map(|(name, pending)| (name, Row::fresh(&message, pending))).collect();
    let content = match new.draft.finish().await? {
        Content::Memory(content) => content,
        Content::File(_) => return Err(Error::Unfit("its draft was begun by another store")),
    };
    Ok(Stored { message, head: new.head, content, deliveries })
}

impl State {
    fn check(&self, new: &[&Stored]) -> Result<(), Error> {
        let taken = |stored: &&Stored| self.messages.contains_key(&stored.message.id);
        if new.iter().any(taken) { Err(Error::Unfit("its id is taken")) } else { Ok(()) }
    }

    fn insert(&mut self, stored: Stored) {
        let id = stored.message.id;
        for (destination, row) in &stored.deliveries {
            self.agenda.add((id, destination.clone()), row.slot());
        }
        self.messages.insert(id, stored);
    }

    fn row(&mut self, (id, destination): &Key) -> Option<&mut Row> {
        self.messages.get_mut(id)?.deliveries.get_mut(destination)
    }

    fn batch(&self, lease: LeaseId, (id, destination): Key) -> Option<Batch> {
        let stored = self.messages.get(&id)?;
        let row = stored.deliveries.get(&destination)?;
        Some(Batch {
            lease,
            id,
            message: stored.message.clone(),
            attempts: row.attempts,
            recipients: row
                .recipients
                .iter()
                .map(|pending| (pending.id, pending.recipient.clone()))
                .collect(),
            delay_reported: row.delay_reported,
            bounce: row.bounce,
            destination,
        })
    }

    fn settle(&mut self, now: Timestamp, settled: &Settled) -> Result<(), Error> {
        let (key, _) = self.agenda.holds(settled.lease).ok_or(Error::LeaseLost)?;
        let key = key.clone();
        let row = self.row(&key).ok_or(Error::LeaseLost)?;
        row.settle(now, settled);
        let left = (!row.recipients.is_empty()).then(|| row.slot());
        self.agenda.settle(settled.lease, left);
        if left.is_none() {
            self.forget(&key);
        }
        Ok(())
    }

    fn amend(&mut self, now: Timestamp, key: &Key, change: Change) {
        let Some(row) = self.row(key) else { return };
        let from = row.slot();
        if change == Change::Remove {
            self.forget(key);
            self.agenda.remove(key, from);
            return;
        }
        row.amend(now, change);
        let to = row.slot();
        self.agenda.change(key, from, to);
    }

    fn forget(&mut self, (id, destination): &Key) {
        let Some(stored) = self.messages.get_mut(id) else {
            return;
        };
        stored.deliveries.remove(destination);
        if stored.deliveries.is_empty() {
            self.messages.remove(id);
        }
    }

    /// Oldest message first.
    fn deliveries(&self) -> impl Iterator<Item = Delivery> {
        self.messages.iter().flat_map(|(id, stored)| {
            stored.deliveries.iter().map(|(destination, row)| {
                let leased = self.agenda.is_leased(&(*id, destination.clone()));
                row.clone().listed(stored.message.clone(), destination.clone(), leased)
            })
        })
    }
}
