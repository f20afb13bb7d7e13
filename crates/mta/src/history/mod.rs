//! What happened, kept so that it can be asked for: by user, mail address, Message-ID, queue id, session, or client.
//!
//! Every event that somebody may ask about later is kept in `events.db` for a month or so, beside the mail and never in
//! its way. The types to know:
//! - [`Kept`] and [`What`]: an event as it is kept. [`Key`]: what it is found by.
//! - [`History`]: the daemon's. It takes events from the [`Observer`] without waiting; one thread writes them.
//! - [`Reader`]: looks events up, on a connection of its own, whether a daemon runs or not.
//!
//! One event's way: [`Observer`] → `writer::Intake` → `writer::Buffer` → `desk::Desk` (which shelf?) → `keeper::Keeper` →
//! `shelf::Shelf` (the file and its index, `entries`). ADR 26 says why the index is as it is.
//!
//! What it deliberately does not do: keep what was said in sessions (see [`session`](crate::session)), put together what
//! became of a message (see [`admin::history`](crate::admin::history)), or let mail wait.

mod desk;
mod entries;
mod file;
mod find;
mod keeper;
mod key;
mod shelf;
#[cfg(test)]
mod tests;
mod what;
mod words;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

pub(crate) use desk::Note;
pub use find::{Extent, Range, Reader};
pub(crate) use keeper::{Batch, Keeper};
pub use key::Key;
pub use what::{Came, Kept, What};

use crate::observe::Observer;
use writer::{Buffer, Intake};

/// Who asks waits so long for the newest events to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long and how much is kept: `[history]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Nothing is kept for longer; zero: nothing is kept.
    pub keep: Duration,
    /// At most so many events.
    pub events: u64,
    /// At most so many octets on disk.
    pub size: u64,
}

impl Retention {
    /// Nothing is kept.
    pub fn is_off(&self) -> bool {
        self.keep.is_zero()
    }

    /// What is from before this is too old.
    fn oldest(&self, now: Timestamp) -> Timestamp {
        let keep = SignedDuration::try_from(self.keep).unwrap_or(SignedDuration::MAX);
        now.checked_sub(keep).unwrap_or(Timestamp::MIN)
    }
}

/// The daemon's history. Its end, or its drop, ends the thread that writes.
#[derive(Debug)]
pub struct History {
    buffer: Arc<Buffer>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl History {
    /// Begins to keep what `observer` hears. From now on, emit to the observer that comes back.
    ///
    /// # Errors
    /// Local: the system gives no thread; then nothing is kept.
    pub fn begin(
        data_dir: &Path,
        retention: Retention,
        observer: &Observer,
    ) -> std::io::Result<(Self, Observer)> {
        let buffer = Buffer::new(retention);
        let with_history = observer.with(Box::new(Intake(Arc::clone(&buffer))));
        let (theirs, keeper, told) = (Arc::clone(&buffer), Keeper::new(data_dir), observer.clone());
        let work = move || writer::run(&theirs, keeper, &told);
        let thread = thread::Builder::new().name("history".into()).spawn(work)?;
        Ok((Self { buffer, thread: Mutex::new(Some(thread)) }, with_history))
    }

    /// Keeps so long and so much from now on.
    pub fn retain(&self, retention: Retention) {
        self.buffer.retain(retention);
    }

    /// Waits until what happened before is written, for two seconds at most.
    pub async fn flush(&self) {
        let buffer = Arc::clone(&self.buffer);
        // A panic there is the thread's, and told by it.
        let _ = tokio::task::spawn_blocking(move || buffer.flush(PATIENCE)).await;
    }

    /// Writes what is left, and ends.
    pub async fn stop(&self) {
        self.buffer.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.buffer.end();
    }
}
