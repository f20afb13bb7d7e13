//! What is in memory: one [`Slot`] for each domain that was asked about lately, and a bound on their number.
//!
//! When the memory is full, half of it or less is kept: those in use, then those asked about since the last time.
//! What binds is in the ledger as well, so that nothing is forgotten with a slot.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jiff::Timestamp;

use super::Found;
use super::decide::{Known, Step};

/// One domain.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) domain: Box<str>,
    /// Held by the one task that finds out what deliveries wait for.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// One refresh at a time, waiting ones included. It takes no turn, so that no delivery waits for it.
    refreshing: AtomicBool,
    known: Mutex<Known>,
    asked: AtomicBool,
}

/// A refresh that is under way or waits to be. Its end lets the next one begin.
#[derive(Debug)]
pub(super) struct Refreshing(Arc<Slot>);

impl Slot {
    /// Locked for moments only, never while waiting for anything.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` while another one has not ended.
    pub(super) fn begin_refresh(self: Arc<Self>) -> Option<Refreshing> {
        let other = self.refreshing.swap(true, Ordering::AcqRel);
        (!other).then_some(Refreshing(self))
    }

    pub(super) fn look(&self, now: Timestamp) -> (Step, Found) {
        let known = self.known();
        (known.step(now), known.answer(now))
    }
}

impl Refreshing {
    pub(super) fn slot(&self) -> &Slot {
        &self.0
    }
}

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.refreshing.store(false, Ordering::Release);
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Slots {
    most: usize,
    by_domain: RwLock<HashMap<Box<str>, Arc<Slot>>>,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(2), by_domain: RwLock::default() }
    }

    pub(super) fn slot(&self, domain: &str) -> Arc<Slot> {
        let known = self.by_domain.read().unwrap_or_else(PoisonError::into_inner).get(domain).cloned();
        if let Some(slot) = known {
            slot.asked.store(true, Ordering::Relaxed);
            return slot;
        }
        let mut by_domain = self.by_domain.write().unwrap_or_else(PoisonError::into_inner);
        if by_domain.len() >= self.most && !by_domain.contains_key(domain) {
            make_room(&mut by_domain, self.most / 2);
        }
        by_domain.entry(domain.into()).or_insert_with(|| new_slot(domain)).clone()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_domain.read().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn new_slot(domain: &str) -> Arc<Slot> {
    Arc::new(Slot {
        domain: domain.into(),
        turn: Arc::default(),
        refreshing: AtomicBool::new(false),
        known: Mutex::default(),
        asked: AtomicBool::new(false),
    })
}

/// Slots that somebody holds stay, or one domain could be found out about twice at the same time.
fn make_room(by_domain: &mut HashMap<Box<str>, Arc<Slot>>, most: usize) {
    let mut kept = 0;
    by_domain.retain(|_, slot| {
        let asked = slot.asked.swap(false, Ordering::Relaxed);
        let keep = Arc::strong_count(slot) > 1 || (asked && kept < most);
        kept += usize::from(keep);
        keep
    });
}
