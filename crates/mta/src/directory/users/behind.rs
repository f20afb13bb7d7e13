//! When somebody was last here: written down behind the sign-in, which waits for no disk.
//!
//! [`Behind::note`] takes a sign-in and returns. One thread at a time writes all that has come up meanwhile in one transaction.
//! The same person with the same app password is written at most once a minute. What cannot be written is dropped: the next
//! sign-in after that minute is noted again, and a file that takes nothing is told of by whatever needs it more.
//!
//! What it deliberately does not do: keep a history, or note failures.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Principal;
use super::database::Database;

/// Who was here within this time is not noted again.
const PAUSE: Duration = Duration::from_mins(1);
/// So many are remembered as noted; then those whose minute is over are forgotten, and the rest with them if need be.
const MOST_NOTED: usize = 16_384;

/// Sign-ins on their way into the file.
#[derive(Debug)]
pub(super) struct Behind {
    database: Arc<Database>,
    notes: Mutex<Notes>,
}

/// Who signed in, and with which app password.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) directory: String,
    pub(super) name: String,
    pub(super) app_password: Option<String>,
}

/// When, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    pub(super) at: Timestamp,
    pub(super) client: IpAddr,
}

#[derive(Debug, Default)]
struct Notes {
    noted: HashMap<Who, Instant>,
    pending: HashMap<Who, Use>,
    writer: Writer,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Idle,
    Busy,
}

impl Behind {
    pub(super) fn new(database: Arc<Database>) -> Self {
        Self { database, notes: Mutex::default() }
    }

    /// Notes a sign-in. Waits for nothing.
    pub(super) fn note(self: &Arc<Self>, principal: &Principal, client: IpAddr, now: Instant) {
        let who = Who {
            directory: principal.directory.clone(),
            name: principal.name.clone(),
            app_password: principal.app_password.as_ref().map(|used| used.name.clone()),
        };
        let mut notes = self.notes();
        if !notes.is_new(&who, now) {
            return;
        }
        notes.pending.insert(who, Use { at: Timestamp::now(), client });
        if notes.writer == Writer::Busy {
            return;
        }
        notes.writer = Writer::Busy;
        drop(notes);
        let behind = Arc::clone(self);
        tokio::task::spawn_blocking(move || behind.write());
    }

    fn write(&self) {
        loop {
            let mut notes = self.notes();
            let pending = std::mem::take(&mut notes.pending);
            if pending.is_empty() {
                notes.writer = Writer::Idle;
                return;
            }
            drop(notes);
            // See the top of this file.
            drop(self.database.note_uses(&pending));
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn is_new(&mut self, who: &Who, now: Instant) -> bool {
        let is_over = |since: &Instant| now.saturating_duration_since(*since) >= PAUSE;
        if self.noted.get(who).is_some_and(|since| !is_over(since)) {
            return false;
        }
        if self.noted.len() >= MOST_NOTED {
            self.noted.retain(|_, since| !is_over(since));
        }
        if self.noted.len() >= MOST_NOTED {
            self.noted.clear();
        }
        self.noted.insert(who.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(name: &str) -> Who {
        Who { directory: "users".to_owned(), name: name.to_owned(), app_password: None }
    }

    #[test]
    fn the_same_one_is_noted_once_a_minute_and_memory_is_bounded() {
        let (mut notes, now) = (Notes::default(), Instant::now());
        assert!(notes.is_new(&who("anna"), now));
        assert!(!notes.is_new(&who("anna"), now + Duration::from_secs(59)));
        assert!(notes.is_new(&Who { app_password: Some("phone".to_owned()), ..who("anna") }, now));
        assert!(notes.is_new(&who("anna"), now + PAUSE));
        for number in 0..=MOST_NOTED {
            assert!(notes.is_new(&who(&number.to_string()), now));
        }
        assert!(notes.noted.len() <= MOST_NOTED);
    }
}
