//! What the store knows without asking the database, behind one lock that is never held over a wait.
//!
//! The [`Agenda`] with its leases; the *fresh* messages: those that came in lately and that nothing happened to since, so
//! that their first attempt reads nothing from the disk; and which messages have a file in the spool folder. All of it
//! changes only after the commit that it follows from.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;

use super::prepare::Prepared;
use crate::agenda::Agenda;
use crate::draft::Content;
use crate::row::{Key, Pending};
use crate::{Batch, Body, Destination, LeaseId, LeaseRequest, Message, QueueId, RecipientId};

#[derive(Debug)]
pub(super) struct Desk {
    state: Mutex<State>,
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) agenda: Agenda,
    fresh: BTreeMap<QueueId, Fresh>,
    fresh_bytes: usize,
    fresh_limit: usize,
    /// Messages whose content is in a file.
    pub(super) spooled: HashSet<QueueId>,
}

/// A message to which nothing happened since it came in.
#[derive(Debug)]
struct Fresh {
    message: Message,
    head: Bytes,
    content: Bytes,
    deliveries: Vec<(Destination, Vec<Pending>)>,
    cost: usize,
}

/// What a fresh message's own structures take, about.
const OVERHEAD: usize = 1024;

impl Desk {
    pub(super) fn new(fresh_limit: usize) -> Self {
        let state = State {
            agenda: Agenda::default(),
            fresh: BTreeMap::new(),
            fresh_bytes: 0,
            fresh_limit,
            spooled: HashSet::new(),
        };
        Self { state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leases what is due: the batches of fresh messages, and what must be read from the database.
    pub(super) fn lease(&self, now: Timestamp, request: &LeaseRequest) -> (Vec<Batch>, Vec<(LeaseId, Key)>) {
        let mut state = self.state();
        let mut batches = Vec::new();
        let mut others = Vec::new();
        for (lease, key) in state.agenda.lease(now, request) {
            match state.batch(lease, &key) {
                Some(batch) => batches.push(batch),
                None => others.push((lease, key)),
            }
        }
        for batch in &batches {
            state.attach(batch);
        }
        (batches, others)
    }

    /// Notes for whom the leases are; those whose delivery is gone are over.
    pub(super) fn attach(&self, leases: &[(LeaseId, Key)], batches: &[Batch]) {
        let mut state = self.state();
        for batch in batches {
            state.attach(batch);
        }
        let read: HashSet<u64> = batches.iter().map(|batch| batch.lease.0).collect();
        for (lease, _) in leases.iter().filter(|(lease, _)| !read.contains(&lease.0)) {
            state.agenda.settle(*lease, None);
        }
    }

    /// Ends leases that came to nothing.
    pub(super) fn give_back(&self, leases: Vec<(LeaseId, Key)>) {
        let mut state = self.state();
        for (lease, _) in leases {
            state.agenda.give_back(lease);
        }
    }

    pub(super) fn renew(&self, leases: Vec<LeaseId>, until: Timestamp) -> Vec<LeaseId> {
        self.state().agenda.renew(leases, until)
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.state().agenda.next_due()
    }

    pub(super) fn count(&self) -> (u64, u64) {
        self.state().agenda.count()
    }

    pub(super) fn is_leased(&self, key: &Key) -> bool {
        self.state().agenda.is_leased(key)
    }

    /// A fresh message's content.
    pub(super) fn body(&self, id: QueueId) -> Option<Body> {
        let state = self.state();
        let fresh = state.fresh.get(&id)?;
        Some(Body::in_memory(id, fresh.head.clone(), fresh.content.clone()))
    }
}

impl State {
    /// A message was committed.
    pub(super) fn admit(&mut self, prepared: Prepared) {
        let cost = prepared.cost() + OVERHEAD;
        let (id, slot) = (prepared.message.id, prepared.message.slot());
        for delivery in &prepared.deliveries {
            self.agenda.add((id, delivery.destination.clone()), slot);
        }
        let content = match prepared.content {
            Content::Memory(content) => content,
            Content::File(file) => {
                file.keep();
                self.spooled.insert(id);
                return;
            }
        };
        let deliveries =
            prepared.deliveries.into_iter().map(|delivery| (delivery.destination, delivery.recipients));
        let fresh = Fresh {
            message: prepared.message,
            head: prepared.head,
            content,
            deliveries: deliveries.collect(),
            cost,
        };
        self.fresh_bytes += cost;
        self.fresh.insert(id, fresh);
        while self.fresh_bytes > self.fresh_limit {
            let Some((_, oldest)) = self.fresh.pop_first() else {
                return;
            };
            self.fresh_bytes -= oldest.cost;
        }
    }

    /// Something happened to a message: what is known of it may be true no longer.
    pub(super) fn forget(&mut self, id: QueueId) {
        if let Some(fresh) = self.fresh.remove(&id) {
            self.fresh_bytes -= fresh.cost;
        }
    }

    fn batch(&self, lease: LeaseId, (id, destination): &Key) -> Option<Batch> {
        let fresh = self.fresh.get(id)?;
        let (_, pending) = fresh.deliveries.iter().find(|(name, _)| name == destination)?;
        Some(Batch {
            lease,
            id: *id,
            destination: destination.clone(),
            message: fresh.message.clone(),
            attempts: 0,
            recipients: pending.iter().map(|pending| (pending.id, pending.recipient.clone())).collect(),
            delay_reported: false,
            bounce: false,
        })
    }

    fn attach(&mut self, batch: &Batch) {
        let recipients: Vec<RecipientId> = batch.recipients.iter().map(|(id, _)| *id).collect();
        self.agenda.attach(batch.lease, recipients);
    }
}
