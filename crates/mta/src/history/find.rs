//! Looks events up in the file, on a connection of its own that waits for nobody and keeps nobody waiting.
//!
//! From the newest event back: first the run that grows, whose entries are few and unsorted, then each complete run, of which
//! one bucket is read for each key. A key's number may be another's as well; so each event is asked whether it has the key.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::entries::{RUN, ids_among, ids_in, row_of, run_of};
use super::file;
use super::key::{Hasher, Key};
use super::shelf::Kind;
use super::what::Kept;
use crate::ledger::{LedgerError, of_sqlite};

/// Events are written as they come, and clocks are set: a run counts as older than a moment only if it is older by this, in
/// milliseconds.
const SLACK: i64 = 2 * 3_600_000;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// At most so many of mail and so many of strangers, the newest.
    pub limit: usize,
    /// Nothing from before.
    pub since: Option<Timestamp>,
    /// Nothing from this moment on.
    pub before: Option<Timestamp>,
}

/// What can be said of the whole file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extent {
    /// The oldest event of mail that is kept.
    pub oldest: Option<Timestamp>,
    /// Events that could not be written since the moment that was asked for.
    pub lost: u64,
    /// Events of strangers that were left out since then, because there were too many.
    pub left_out: u64,
}

/// Reads what is kept.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    connection: Option<rusqlite::Connection>,
}

impl Reader {
    /// Of a data directory. Where nothing was kept yet, nothing is found.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(data_dir: &Path) -> Result<Self, LedgerError> {
        let path = data_dir.join(file::LAYOUT.file);
        Ok(Self { path, connection: file::open_for_reading(data_dir)? })
    }

    /// The newest events that have one of these keys, oldest first: so many of mail, and so many of strangers. What strangers
    /// do never hides what people do.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn find(&mut self, keys: &[Key], range: Range) -> Result<Vec<Kept>, LedgerError> {
        self.at_one_moment(|transaction| {
            let search = Search::new(transaction, keys, range)?;
            let mut found = Vec::new();
            for kind in Kind::ALL {
                found.extend(search.on(kind)?);
            }
            found.sort_by_key(|(id, kept)| (kept.time, *id));
            Ok(found.into_iter().map(|(_, kept)| kept).collect())
        })
        .map(Option::unwrap_or_default)
    }

    /// How far back the file goes, and what is missing in it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn extent(&mut self, since: Option<Timestamp>) -> Result<Extent, LedgerError> {
        self.at_one_moment(|transaction| {
            let oldest = "SELECT time FROM mail_event ORDER BY id LIMIT 1";
            let oldest: Option<i64> = transaction.query_row(oldest, [], |row| row.get(0)).optional()?;
            let since = since.map_or(i64::MIN, Timestamp::as_millisecond);
            // `total` and not `sum`: no figure in the file is too large for it.
            let gaps = "SELECT total(lost), total(left_out) FROM gap WHERE time >= ?1";
            let both = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let (lost, left_out): (f64, f64) = transaction.query_row(gaps, [since], both)?;
            let oldest = oldest.and_then(|time| Timestamp::from_millisecond(time).ok());
            Ok(Extent { oldest, lost: whole(lost), left_out: whole(left_out) })
        })
        .map(Option::unwrap_or_default)
    }

    fn at_one_moment<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, LedgerError> {
        let Some(connection) = &mut self.connection else { return Ok(None) };
        let done = connection.transaction().and_then(|transaction| work(&transaction));
        done.map(Some).map_err(|source| of_sqlite(&self.path, source))
    }
}

/// One look-up.
struct Search<'a> {
    transaction: &'a Transaction<'a>,
    keys: &'a [Key],
    numbers: Vec<u64>,
    limit: usize,
    since: i64,
    before: i64,
}

impl<'a> Search<'a> {
    fn new(transaction: &'a Transaction<'a>, keys: &'a [Key], range: Range) -> rusqlite::Result<Self> {
        let hasher: Hasher = file::hasher(transaction)?;
        Ok(Self {
            transaction,
            keys,
            numbers: keys.iter().map(|key| hasher.of(key)).collect(),
            limit: range.limit,
            since: range.since.map_or(i64::MIN, Timestamp::as_millisecond),
            before: range.before.map_or(i64::MAX, Timestamp::as_millisecond),
        })
    }

    /// What a shelf has, newest first.
    fn on(&self, kind: Kind) -> rusqlite::Result<Vec<(i64, Kept)>> {
        let mut found = Vec::new();
        let Some((oldest, newest)) = self.ends(kind)? else { return Ok(found) };
        for run in (run_of(oldest)..=run_of(newest)).rev() {
            if found.len() >= self.limit || self.is_too_old(kind, run)? {
                break;
            }
            for id in self.ids(kind, run)?.into_iter().rev() {
                if found.len() >= self.limit {
                    break;
                }
                found.extend(self.event(kind, id)?.map(|kept| (id, kept)));
            }
        }
        Ok(found)
    }

    fn ends(&self, kind: Kind) -> rusqlite::Result<Option<(i64, i64)>> {
        let end = |which: &str| {
            let statement = kind.sql(&format!("SELECT {which}(id) FROM {{}}_event"));
            self.transaction.query_row(&statement, [], |row| row.get::<_, Option<i64>>(0))
        };
        Ok(end("min")?.zip(end("max")?))
    }

    /// All of it is from before what is looked for.
    fn is_too_old(&self, kind: Kind, run: i64) -> rusqlite::Result<bool> {
        if self.since == i64::MIN {
            return Ok(false);
        }
        let statement = kind.sql("SELECT time FROM {}_event WHERE id < ?1 ORDER BY id DESC LIMIT 1");
        let mut statement = self.transaction.prepare_cached(&statement)?;
        let newest: Option<i64> = statement.query_row([(run + 1) * RUN], |row| row.get(0)).optional()?;
        Ok(newest.is_some_and(|newest| newest < self.since.saturating_sub(SLACK)))
    }

    /// The events of a run that may have one of the keys.
    fn ids(&self, kind: Kind, run: i64) -> rusqlite::Result<BTreeSet<i64>> {
        let mut ids = BTreeSet::new();
        let statement = kind.sql("SELECT entries FROM {}_bucket WHERE id = ?1");
        let mut bucket = self.transaction.prepare_cached(&statement)?;
        for &number in &self.numbers {
            let mut rows = bucket.query([row_of(run, number)])?;
            if let Some(row) = rows.next()? {
                ids.extend(ids_in(row.get_ref(0)?.as_blob()?, run, number));
            }
        }
        let statement = kind.sql("SELECT entries FROM {}_growing WHERE first >= ?1 AND first < ?2");
        let mut growing = self.transaction.prepare_cached(&statement)?;
        let mut rows = growing.query([run * RUN, (run + 1) * RUN])?;
        while let Some(row) = rows.next()? {
            let entries = row.get_ref(0)?.as_blob()?;
            for &number in &self.numbers {
                ids.extend(ids_among(entries, run, number));
            }
        }
        Ok(ids)
    }

    /// The event, when it is still there, in the time that is asked for, and really has one of the keys.
    fn event(&self, kind: Kind, id: i64) -> rusqlite::Result<Option<Kept>> {
        let statement = kind.sql("SELECT time, about, text FROM {}_event WHERE id = ?1");
        let mut statement = self.transaction.prepare_cached(&statement)?;
        let mut rows = statement.query([id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let time: i64 = row.get(0)?;
        if !(self.since..self.before).contains(&time) {
            return Ok(None);
        }
        // A row that cannot be read is no reason to show nothing.
        let (Ok(time), Ok(what)) =
            (Timestamp::from_millisecond(time), serde_json::from_str(row.get_ref(2)?.as_str()?))
        else {
            return Ok(None);
        };
        let kept = Kept { time, id: row.get(1)?, what };
        Ok(Some(kept).filter(|kept| kept.keys().iter().any(|key| self.keys.contains(key))))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
fn whole(count: f64) -> u64 {
    count as u64
}
