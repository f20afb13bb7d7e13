//! Opening the database, and the history of its layout.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;

use super::Options;
use crate::Error;

/// What made each version of the layout from the one before. Entries are only ever added.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE message (
        id       INTEGER PRIMARY KEY,
        meta     TEXT NOT NULL,          -- JSON: Message
        head     BLOB NOT NULL,          -- our own header fields
        body     BLOB                    -- the content; NULL: spool/ID.body
    );
    CREATE TABLE delivery (
        message        INTEGER NOT NULL,
        destination    TEXT NOT NULL,
        due            INTEGER NOT NULL, -- microseconds since 1970
        attempts       INTEGER NOT NULL,
        held           INTEGER NOT NULL,
        bounce         INTEGER NOT NULL,
        delay_reported INTEGER NOT NULL,
        recipients     TEXT NOT NULL,    -- JSON: those still to be delivered
        PRIMARY KEY (message, destination)
    ) WITHOUT ROWID;
    CREATE TABLE quarantine (id INTEGER PRIMARY KEY, reason TEXT, meta, head, body);
    CREATE TABLE quarantine_delivery (message, destination, due, attempts, held, bounce, delay_reported, recipients);
"];

/// 4 KiB pages cost the least CPU for each small message (docs/adr/0003-queue-store.md).
const PAGE: u64 = 4 * 1024;
/// An empty queue gives disk space back at start when its file is larger than this.
const WORTH_SHRINKING: i64 = 64 * 1024 * 1024 / PAGE.cast_signed();

/// Opens the database for writing and brings its layout up to date.
pub(super) fn open(path: &Path, options: Options) -> Result<Connection, Error> {
    // Made here, for its mode: the -wal and -shm files inherit it.
    let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map_err(|error| Error::io(path, error))?;
    let wrong = |error: rusqlite::Error| Error::sqlite(path, &error);
    let mut connection = Connection::open(path).map_err(wrong)?;
    let found = version(&connection).map_err(wrong)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(Error::Newer { path: path.to_owned(), found, known });
    }
    prepare(&connection, options).map_err(wrong)?;
    migrate(&mut connection, found).map_err(wrong)?;
    shrink(&connection).map_err(wrong)?;
    Ok(connection)
}

/// Opens the database for reading only.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -4096)?;
    Ok(connection)
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn prepare(connection: &Connection, options: Options) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE.cast_signed())?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // Each commit is synced before it is acknowledged: the promise that a 250 makes.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", 64 * 1024 * 1024, |_| Ok(()))?;
    // The log is copied into the database every 16 MiB; most messages are gone by then.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 4000, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", -16384)?;
    if let Some(bytes) = options.max_bytes {
        let pages = i64::try_from(bytes / PAGE).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (version, migration) in (1i64..).zip(MIGRATIONS) {
        if version > found {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// SQLite keeps the pages of deleted messages for later ones; after a great backlog they are given back.
fn shrink(connection: &Connection) -> rusqlite::Result<()> {
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let empty: bool =
        connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM message)", [], |row| row.get(0))?;
    if empty && pages > WORTH_SHRINKING { connection.execute_batch("VACUUM") } else { Ok(()) }
}
