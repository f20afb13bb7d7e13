//! Writes batches of events to the file and takes the oldest away.
//!
//! [`Keeper`] owns the connection that writes. A batch is one transaction without a sync of its own: a kill loses two
//! seconds at most, a power cut a little more, and the file stays sound. A disk that takes nothing, or a file that is damaged,
//! costs events and never mail: what is lost is counted, the count is kept as soon as something can be, and an administrator
//! hears of it once an hour.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, TransactionBehavior};

use super::Retention;
use super::desk::{Desk, Note};
use super::file;
use super::key::Hasher;
use super::shelf::{Bound, Kind, Row, Shelf};
use super::what::Kept;
use crate::ledger::{self, LedgerError};

/// The file is looked after so often, and what is missing in it is noted so often.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// An administrator hears of a trouble so often.
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// After a trouble, the file is left alone for so long.
const BREATH: SignedDuration = SignedDuration::from_secs(5);
/// The oldest are taken away in steps of so many events,
const STEP: i64 = 4096;
/// and so many steps in a minute: more than can come in it.
const STEPS: usize = 256;
/// The part of all events that strangers' may be: one in so many.
const STRANGERS_PART: u64 = 10;

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// What happened.
    pub(crate) notes: Vec<Note>,
    /// How much more happened, of which nothing is known.
    pub(crate) lost: u64,
    /// How long and how much is to be kept.
    pub(crate) retention: Retention,
}

/// What is wrong, and what to do.
pub(crate) type Alarm = (String, String);

/// The one who writes.
pub(crate) struct Keeper {
    data_dir: PathBuf,
    desk: Desk,
    open: Option<Open>,
    /// What could not be written, and what was not to be, since it was last noted.
    missing: Missing,
    /// When each is to be done again.
    again: Again,
}

#[derive(Debug, Default)]
struct Missing {
    lost: u64,
    left_out: u64,
}

#[derive(Debug, Default)]
struct Again {
    write: Timestamp,
    look_after: Timestamp,
    note_missing: Timestamp,
    alarm: Timestamp,
}

impl Keeper {
    /// For a data directory. The file is opened when there is something for it.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            desk: Desk::default(),
            open: None,
            missing: Missing::default(),
            again: Again::default(),
        }
    }

    /// Keeps a batch and looks after the file. What is to be told to the administrator comes back.
    pub(crate) fn keep(&mut self, batch: Batch, now: Timestamp) -> Option<Alarm> {
        if batch.lost > 0 {
            self.desk.forget_sessions();
        }
        let sorted: Vec<_> = batch.notes.into_iter().filter_map(|note| self.desk.sort(note)).collect();
        self.missing.left_out += self.desk.take_left_out();
        self.missing.lost += batch.lost;
        if batch.retention.is_off() {
            return self.remove_all(now);
        }
        let count = u64::try_from(sorted.len()).unwrap_or(u64::MAX);
        if now < self.again.write {
            self.missing.lost += count;
            return None;
        }
        let done = self.write(&sorted, now).inspect_err(|_| self.missing.lost += count);
        let done = done.and_then(|()| self.look_after(batch.retention, now));
        self.see_to(done, now)
    }

    /// Notes what is missing at the end.
    pub(super) fn finish(&mut self, now: Timestamp) -> Option<Alarm> {
        self.again.note_missing = Timestamp::UNIX_EPOCH;
        let done = if self.open.is_some() { self.write(&[], now) } else { Ok(()) };
        self.see_to(done, now)
    }

    fn write(&mut self, sorted: &[(Kind, Kept)], now: Timestamp) -> Result<(), LedgerError> {
        let notes_missing =
            now >= self.again.note_missing && (self.missing.lost, self.missing.left_out) != (0, 0);
        if sorted.is_empty() && !notes_missing {
            return Ok(());
        }
        let path = self.path();
        let open = match &mut self.open {
            Some(open) => open,
            closed => closed.insert(Open::new(&self.data_dir)?),
        };
        let missing = notes_missing.then_some(&self.missing);
        open.write(sorted, missing, now).map_err(|source| ledger::of_sqlite(&path, source))?;
        if notes_missing {
            self.missing = Missing::default();
            self.again.note_missing = later(now, MINUTE);
        }
        Ok(())
    }

    fn look_after(&mut self, retention: Retention, now: Timestamp) -> Result<(), LedgerError> {
        if now < self.again.look_after {
            return Ok(());
        }
        self.again.look_after = later(now, MINUTE);
        let path = self.path();
        if self.open.is_none() && path.exists() {
            self.open = Some(Open::new(&self.data_dir)?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.trim(retention, now).map_err(|source| ledger::of_sqlite(&path, source))
    }

    /// What was in the way is told once an hour; a damaged file goes out of the way at once.
    fn see_to(&mut self, done: Result<(), LedgerError>, now: Timestamp) -> Option<Alarm> {
        let Err(error) = done else { return None };
        // What the shelves remember may not be what is in the file.
        self.open = None;
        let error = match error {
            LedgerError::Damaged { reason, .. } => {
                ledger::move_aside(&self.data_dir, &file::LAYOUT, reason).unwrap_or_else(|error| error)
            }
            error => error,
        };
        if !matches!(error, LedgerError::MovedAside { .. }) {
            self.again.write = later(now, BREATH);
        }
        if now < self.again.alarm {
            return None;
        }
        self.again.alarm = later(now, HOUR);
        let what = format!("what happens cannot be kept: {error}");
        let remedy = "look at the disk that holds the data directory; mail goes on, and events are kept again as soon as they can be";
        Some((what, remedy.to_owned()))
    }

    /// Nothing is to be kept: not what was, either.
    fn remove_all(&mut self, now: Timestamp) -> Option<Alarm> {
        self.open = None;
        self.missing = Missing::default();
        let removed = ledger::remove(&self.data_dir, &file::LAYOUT);
        self.see_to(removed, now)
    }

    fn path(&self) -> PathBuf {
        self.data_dir.join(file::LAYOUT.file)
    }
}

/// The open file.
struct Open {
    connection: Connection,
    hasher: Hasher,
    shelves: [Shelf; 2],
}

impl Open {
    fn new(data_dir: &Path) -> Result<Self, LedgerError> {
        let mut connection = file::open(data_dir)?;
        let mut load = || {
            let transaction = connection.transaction()?;
            let hasher = file::hasher(&transaction)?;
            let [mail, strangers] = Kind::ALL;
            Ok((hasher, [Shelf::load(&transaction, mail)?, Shelf::load(&transaction, strangers)?]))
        };
        let path = data_dir.join(file::LAYOUT.file);
        let (hasher, shelves) = load().map_err(|source| ledger::of_sqlite(&path, source))?;
        Ok(Self { connection, hasher, shelves })
    }

    fn write(
        &mut self,
        sorted: &[(Kind, Kept)],
        missing: Option<&Missing>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (kind, shelf) in Kind::ALL.into_iter().zip(&mut self.shelves) {
            let of_kind = sorted.iter().filter(|(its, _)| *its == kind);
            let rows: Vec<Row> = of_kind.filter_map(|(_, kept)| row(kept, &self.hasher)).collect();
            if !rows.is_empty() {
                shelf.append(&transaction, &rows)?;
            }
        }
        if let Some(missing) = missing {
            file::note_gap(&transaction, now, missing.lost, missing.left_out)?;
        }
        transaction.commit()
    }

    /// Takes away what is too old or too much.
    fn trim(&mut self, retention: Retention, now: Timestamp) -> rusqlite::Result<()> {
        let before = retention.oldest(now).as_millisecond();
        let strangers = retention.events / STRANGERS_PART;
        let most =
            [retention.events - strangers, strangers].map(|most| i64::try_from(most).unwrap_or(i64::MAX));
        self.connection.execute("DELETE FROM gap WHERE time < ?1", [before])?;
        for (shelf, most) in self.shelves.iter().zip(most) {
            let bound = Bound { most, before, at_once: STEP };
            for _ in 0..STEPS {
                let transaction =
                    self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let gone = shelf.trim(&transaction, bound)?;
                transaction.commit()?;
                if gone == 0 {
                    break;
                }
            }
        }
        self.shrink(retention.size)
    }

    /// Takes the oldest away from whichever shelf has more than its part, until the file uses no more than this.
    fn shrink(&mut self, size: u64) -> rusqlite::Result<()> {
        for _ in 0..STEPS {
            if file::used(&self.connection)? <= size {
                break;
            }
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let [mail, strangers] = &self.shelves;
            let part = i64::try_from(STRANGERS_PART).unwrap_or(i64::MAX);
            let strangers_are_many = strangers.len(&transaction)? > mail.len(&transaction)? / part;
            let gone = if strangers_are_many { strangers } else { mail }.shorten(&transaction, STEP)?;
            transaction.commit()?;
            if gone == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn row(kept: &Kept, hasher: &Hasher) -> Option<Row> {
    Some(Row {
        time: kept.time.as_millisecond(),
        about: kept.id.clone(),
        text: serde_json::to_string(&kept.what).ok()?,
        numbers: kept.keys().iter().map(|key| hasher.of(key)).collect(),
    })
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
impl Keeper {
    /// The open file may grow to so many pages, as if the disk ended there. A file that is opened anew may grow again.
    pub(super) fn limit_pages(&self, pages: i64) {
        let connection = &self.open.as_ref().expect("it is open").connection;
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).expect("it can be set");
    }
}
