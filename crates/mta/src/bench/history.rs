//! What `bench/run` measures of the history. Not for any other use.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::admin::history::{Question, Story, tell as story};
use crate::event::{Event, Subject};
use crate::history::{Batch, Keeper, Key, Note, Retention};
use crate::ledger::LedgerError;

/// Writes events as the daemon's thread does.
pub struct Filling {
    keeper: Keeper,
    retention: Retention,
    data_dir: PathBuf,
}

impl Filling {
    /// Into a folder.
    pub fn new(data_dir: &Path, retention: Retention) -> Self {
        Self { keeper: Keeper::new(data_dir), retention, data_dir: data_dir.to_owned() }
    }

    /// Keeps events.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn keep(&mut self, events: Vec<(Timestamp, Subject, Event)>, now: Timestamp) -> Result<(), String> {
        let notes = events.into_iter().map(|(time, id, event)| Note { time, id, event }).collect();
        let batch = Batch { notes, lost: 0, retention: self.retention };
        self.keeper.keep(batch, now).map_or(Ok(()), |(what, _)| Err(what))
    }

    /// Octets on disk.
    pub fn size(&self) -> u64 {
        let size = |name: &str| self.data_dir.join(name).metadata().map_or(0, |file| file.len());
        ["events.db", "events.db-wal"].into_iter().map(size).sum()
    }
}

/// Puts together what `postern why` tells of a word.
///
/// # Errors
/// The file cannot be read.
pub fn tell(data_dir: &Path, word: &str) -> Result<Story, LedgerError> {
    story(data_dir, &Question { keys: Key::meant_by(word), since: None, limit: 200 })
}
