//! The records of the private CA: everything that was asked for, issued and revoked, in one SQLite file.
//!
//! - [`Records`]: the open file `ca/records.db`. The daemon and the command line may have it open at the same time:
//!   whoever changes something takes the file's write lock for one short transaction, and others wait for it.
//! - `certificates`: what was issued and revoked. `requests`: what was asked for. `lists`: the revocation lists.
//!
//! Unlike other state, none of this can be learnt again: a certificate that was forgotten cannot be revoked. So each
//! commit is on the disk before anything is handed out, and a damaged file is an error that names it, never a reason to
//! begin anew. What it deliberately does not do: sign, or decide.

mod certificates;
mod lists;
mod requests;

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

pub use certificates::{Issued, Purpose, Reason, Revocation, Serial};
pub(crate) use certificates::{
    KeyHistory, Standing, by_name, by_serial, count, insert, issued, key_history, revoke, revoked_after,
    serial_is_free, standing, was_revoked_since,
};
pub use lists::RevocationList;
pub(crate) use lists::{adopt_list, is_adopted, latest_list, next_number, store_list, untold_adoptions};
pub(crate) use requests::{
    Decision, by_digest, by_id, decide, insert_request, requests, sweep, waiting_count,
};
pub use requests::{Enrolment, State};

use super::AuthorityError;
use crate::files;

/// The file's name in the CA's folder.
pub(crate) const FILE: &str = "records.db";
/// `PoCA` in ASCII: tells these records from other programs' databases.
const APPLICATION: i64 = 0x506f_4341;
/// How long to wait for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What made each version of the layout from the one before. Entries are only ever added.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE certificate (
        serial      TEXT PRIMARY KEY,  -- lower-case hexadecimal digits
        issuer      TEXT NOT NULL,     -- SHA-256 of the issuer's public key
        purpose     TEXT NOT NULL,     -- server, client
        subject     TEXT NOT NULL,
        not_before  INTEGER NOT NULL,  -- seconds since 1970
        not_after   INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,     -- SHA-256
        key         TEXT NOT NULL,     -- SHA-256 of its public key
        request     TEXT,              -- its id, if somebody asked
        approved_by TEXT NOT NULL,
        issued      INTEGER NOT NULL,
        revoked     INTEGER,
        reason      INTEGER,           -- RFC 5280 §5.3.1
        der         BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX certificate_issued ON certificate (issued DESC);
    CREATE INDEX certificate_revoked ON certificate (issuer, revoked) WHERE revoked IS NOT NULL;
    CREATE INDEX certificate_key ON certificate (key) WHERE revoked IS NOT NULL;
    CREATE TABLE certificate_name (
        name   TEXT NOT NULL,
        serial TEXT NOT NULL REFERENCES certificate (serial),
        place  INTEGER NOT NULL,       -- in the certificate, from 0
        PRIMARY KEY (name, serial)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX certificate_name_serial ON certificate_name (serial, place);
    CREATE TABLE request (
        id       TEXT PRIMARY KEY,     -- cannot be guessed
        digest   TEXT NOT NULL,        -- SHA-256 of purpose and request
        purpose  TEXT NOT NULL,
        names    TEXT NOT NULL,        -- one a line
        sender   TEXT NOT NULL,        -- who sent it
        received INTEGER NOT NULL,
        state    TEXT NOT NULL,        -- waiting, issued, denied, expired
        decided  INTEGER,
        by       TEXT,
        reason   TEXT,                 -- why it was denied
        serial   TEXT,                 -- what was issued for it
        der      BLOB NOT NULL         -- PKCS #10
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX request_received ON request (state, received);
    CREATE INDEX request_digest ON request (digest, received);
    CREATE TABLE list (
        number      INTEGER PRIMARY KEY,
        issuer      TEXT NOT NULL,
        this_update INTEGER NOT NULL,
        next_update INTEGER NOT NULL,
        der         BLOB NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE listed (            -- what a list says was revoked, and of what nothing else is on record
        serial  TEXT NOT NULL,
        issuer  TEXT NOT NULL,
        revoked INTEGER NOT NULL,
        reason  INTEGER NOT NULL,
        PRIMARY KEY (serial, issuer)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE adopted (           -- lists that were found in their files and not on record
        number  INTEGER PRIMARY KEY,
        entries INTEGER NOT NULL,    -- what was on them and not on record
        told    INTEGER NOT NULL     -- whether somebody was told
    ) STRICT;
",
];

/// Whether a CA can have records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// It has done nothing yet.
    None,
    /// It had them: they are not begun anew.
    Recorded,
}

/// The open records. Clones share the file.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
}

impl Records {
    /// Opens the records in the CA's folder, or begins them if there never were any.
    pub(crate) fn open(folder: &Path, past: Past) -> Result<Self, AuthorityError> {
        let path = folder.join(FILE);
        // An empty file is what a crash or a full disk left of them.
        let is_there = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
        if past == Past::Recorded && !is_there {
            return Err(AuthorityError::RecordsMissing { path });
        }
        Self::begin(folder)
    }

    /// Begins the records in the CA's folder, or opens them if they are there.
    pub(crate) fn begin(folder: &Path) -> Result<Self, AuthorityError> {
        let path = folder.join(FILE);
        make_private(&path).map_err(|source| AuthorityError::Unopenable { path: path.clone(), source })?;
        let mut connection = Connection::open(&path).map_err(|source| of_sqlite(&path, source))?;
        prepare(&connection).map_err(|source| of_sqlite(&path, source))?;
        migrate(&mut connection, &path)?;
        Ok(Self { path, connection: Arc::new(Mutex::new(connection)) })
    }

    /// Looks something up.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        self.transact(TransactionBehavior::Deferred, work)
    }

    /// Changes something, whole or not at all. It is on the disk when this returns, and nobody else changes anything
    /// meanwhile.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        self.transact(TransactionBehavior::Immediate, work)
    }

    fn transact<T>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AuthorityError>,
    ) -> Result<T, AuthorityError> {
        // A panic elsewhere leaves the connection sound: its transaction was rolled back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |source| of_sqlite(&self.path, source);
        let transaction = connection.transaction_with_behavior(behavior).map_err(wrong)?;
        let done = work(&transaction).map_err(|error| error.at(&self.path))?;
        transaction.commit().map_err(wrong)?;
        Ok(done)
    }
}

/// The file exists before SQLite opens it, for its owner alone; SQLite's own files beside it follow its mode and owner.
fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    files::give_to_owner_of_folder(path)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

/// Brings the file to this version's layout, one process at a time.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), AuthorityError> {
    let wrong = |source| of_sqlite(path, source);
    if is_up_to_date(connection).map_err(wrong)? {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
    let number = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(wrong)?;
    let found = number("user_version").map_err(wrong)?;
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(wrong)?;
    if application != APPLICATION && (application, found, tables) != (0, 0, 0) {
        let reason = "it is another program's database".to_owned();
        return Err(AuthorityError::RecordsDamaged { path: path.to_owned(), reason });
    }
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(AuthorityError::RecordsTooNew { path: path.to_owned(), found, known });
    }
    for (version, migration) in (1i64..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        transaction.execute_batch(migration).map_err(wrong)?;
        transaction.pragma_update(None, "user_version", version).map_err(wrong)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(wrong)?;
    transaction.commit().map_err(wrong)
}

/// Whether there is nothing to bring up to date; found out without writing.
fn is_up_to_date(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    Ok((number("application_id")?, number("user_version")?) == (APPLICATION, known))
}

pub(crate) fn of_sqlite(path: &Path, source: rusqlite::Error) -> AuthorityError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            AuthorityError::RecordsDamaged { path, reason: source.to_string() }
        }
        _ => AuthorityError::Records { path, source },
    }
}
