//! `events.db`: its tables, and how it is opened by the one who writes and by those who only look.
//!
//! It is kept as [ledgers](crate::ledger) are, with one difference: nobody reads all of it to see whether it is sound,
//! for it may hold gigabytes. That it is damaged shows when it is used, and then it is moved aside.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use super::key::Hasher;
use crate::ledger::{self, Layout, LedgerError};

/// The file.
pub(super) const LAYOUT: Layout = Layout {
    file: "events.db",
    migrations: &["
    CREATE TABLE mail_event (
        id    INTEGER PRIMARY KEY,  -- they only grow; 65536 in a row are a run
        time  INTEGER NOT NULL,     -- milliseconds since 1970
        about TEXT NOT NULL,        -- the session or queue id
        text  TEXT NOT NULL         -- what happened, as JSON
    ) STRICT;
    CREATE TABLE mail_bucket (
        id      INTEGER PRIMARY KEY,  -- the run times 1024, and the bucket
        entries BLOB NOT NULL         -- sorted: 48 bits of a key's digest, 16 bits of the event's place in the run
    ) STRICT;
    CREATE TABLE mail_growing (
        first   INTEGER PRIMARY KEY,  -- the first event of a batch in the run that grows
        entries BLOB NOT NULL         -- as they came
    ) STRICT;
    CREATE TABLE stranger_event (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, about TEXT NOT NULL, text TEXT NOT NULL
    ) STRICT;
    CREATE TABLE stranger_bucket (id INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
    CREATE TABLE stranger_growing (first INTEGER PRIMARY KEY, entries BLOB NOT NULL) STRICT;
    CREATE TABLE mark (shelf TEXT PRIMARY KEY, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;  -- the next event's id
    CREATE TABLE gap (
        time     INTEGER NOT NULL,  -- until then, in milliseconds since 1970
        lost     INTEGER NOT NULL,  -- events that could not be written
        left_out INTEGER NOT NULL   -- events of strangers, because there were too many
    ) STRICT;
    CREATE TABLE secret (key BLOB NOT NULL) STRICT;
    INSERT INTO secret VALUES (randomblob(32));
"],
    lost: "what happened before is not known any more",
};

/// Opens the file to write, or makes it.
///
/// # Errors
/// It cannot be used. [`LedgerError::Damaged`]: it can be moved aside.
pub(super) fn open(data_dir: &Path) -> Result<Connection, LedgerError> {
    let connection = ledger::connect(data_dir, &LAYOUT)?;
    // A flood may wait for a checkpoint a little longer; the journal is cut back behind it.
    let cache = connection.pragma_update(None, "cache_size", -16 * 1024);
    cache.map_err(|source| ledger::of_sqlite(&data_dir.join(LAYOUT.file), source))?;
    Ok(connection)
}

/// Opens the file to look; `None`: there is none.
///
/// # Errors
/// It is there and cannot be read.
pub(super) fn open_for_reading(data_dir: &Path) -> Result<Option<Connection>, LedgerError> {
    ledger::connect_for_reading(data_dir, &LAYOUT)
}

/// The key under which numbers are made in this file.
pub(super) fn hasher(connection: &Connection) -> rusqlite::Result<Hasher> {
    connection.query_row("SELECT key FROM secret", [], |row| row.get(0).map(Hasher::new))
}

/// Notes how many events were not kept.
pub(super) fn note_gap(
    transaction: &Transaction<'_>,
    now: Timestamp,
    lost: u64,
    left_out: u64,
) -> rusqlite::Result<()> {
    let [lost, left_out] = [lost, left_out].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
    let mut insert = transaction.prepare_cached("INSERT INTO gap VALUES (?1, ?2, ?3)")?;
    insert.execute((now.as_millisecond(), lost, left_out)).map(drop)
}

/// Octets that the file uses; pages that wait to be used again do not count.
pub(super) fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = number("page_count")? - number("freelist_count")?;
    Ok(u64::try_from(pages * number("page_size")?).unwrap_or_default())
}
