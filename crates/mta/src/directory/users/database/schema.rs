//! The file itself: whose it is, what format it has, and how it comes to the present one.
//!
//! A file begins empty and goes through all formats in order, so that a new one and one that was upgraded are the same.
//! Format 1 knew names, argon2id hashes and addresses. Format 2 adds what SCRAM needs, groups, app passwords, and who is
//! disabled.
//!
//! What it deliberately does not do: read or write users.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand;
use postern_smtp::sasl::SCRAM_ITERATIONS;
use postern_smtp::secret::Secret;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior, params};

use super::super::keys::salt_of;
use super::{Error, of_sqlite};

/// The format that this version writes. A later version opens every earlier one.
pub(in super::super) const FORMAT: i64 = 2;
/// `Post` in ASCII: tells Postern's files from other programs' databases.
const APPLICATION: i64 = 0x506f_7374;
/// How long to wait for another process that is writing.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long a look-up waits, where it has to at all: the first to open the file after a crash repairs it alone.
pub(super) const LOOKUP_PATIENCE: Duration = Duration::from_millis(5);

const FORMAT_1: &str = "
    CREATE TABLE users (
        id           INTEGER PRIMARY KEY,
        name         TEXT NOT NULL UNIQUE,
        hash         TEXT NOT NULL,
        created      INTEGER NOT NULL,
        password_set INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE addresses (
        id      INTEGER PRIMARY KEY,
        key     TEXT NOT NULL UNIQUE,
        address TEXT NOT NULL,
        user    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE
    ) STRICT;
    CREATE INDEX addresses_of_user ON addresses (user);
";

/// Keys for SCRAM are `StoredKey` and `ServerKey`, one behind the other. Numbers of app passwords are never used twice: an
/// exchange under way names its password by one.
const FORMAT_2: &str = "
    ALTER TABLE users ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN barred INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN salt BLOB NOT NULL DEFAULT x'';
    ALTER TABLE users ADD COLUMN iterations INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE users ADD COLUMN sha256 BLOB;
    ALTER TABLE users ADD COLUMN sha1 BLOB;
    ALTER TABLE users ADD COLUMN last_sign_in INTEGER;
    CREATE INDEX users_without_sha256 ON users (id) WHERE sha256 IS NULL AND disabled = 0 AND barred = 0;
    CREATE INDEX users_without_sha1 ON users (id) WHERE sha1 IS NULL AND disabled = 0 AND barred = 0;
    CREATE TABLE groups_of_users (
        user INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        name TEXT NOT NULL COLLATE NOCASE,
        PRIMARY KEY (user, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE app_passwords (
        id          INTEGER PRIMARY KEY AUTOINCREMENT,
        user        INTEGER REFERENCES users (id) ON DELETE CASCADE,
        directory   TEXT NOT NULL,
        principal   TEXT NOT NULL,
        name        TEXT NOT NULL COLLATE NOCASE,
        digest      BLOB NOT NULL UNIQUE,
        sha256      BLOB,
        sha1        BLOB,
        created     INTEGER NOT NULL,
        last_used   INTEGER,
        last_client TEXT,
        UNIQUE (directory, principal, name)
    ) STRICT;
    CREATE INDEX app_passwords_of_user ON app_passwords (user);
    CREATE INDEX app_passwords_without_sha1 ON app_passwords (id) WHERE sha1 IS NULL AND user IS NOT NULL;
    CREATE TABLE app_password_addresses (
        id       INTEGER PRIMARY KEY,
        password INTEGER NOT NULL REFERENCES app_passwords (id) ON DELETE CASCADE,
        address  TEXT NOT NULL
    ) STRICT;
    CREATE INDEX addresses_of_app_password ON app_password_addresses (password);
    CREATE TABLE secrets (
        name   TEXT PRIMARY KEY,
        secret BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// The file exists before SQLite opens it, for its owner alone; SQLite's own files beside it follow its mode.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(_) => give_to_owner_of_folder(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => narrow(path),
        Err(error) => Err(error),
    }
}

/// An administrator who adds the first user as root must not lock the daemon out of its own directory.
fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    let folder = fs::metadata(path.parent().unwrap_or(Path::new(".")))?;
    let file = fs::metadata(path)?;
    if file.uid() == 0 && folder.uid() != 0 {
        std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

fn narrow(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.permissions().mode() & 0o077 {
        0 => Ok(()),
        _ => fs::set_permissions(path, Permissions::from_mode(0o600)),
    }
}

pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let check = |source| of_sqlite(path, source);
    connection.busy_timeout(PATIENCE).map_err(check)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(check)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(check)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(check)?;
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(check)?;
    if verdict != "ok" {
        return Err(Error::Damaged { path: path.to_owned(), reason: verdict });
    }
    upgrade(connection, path)
}

/// A connection that only reads, and waits no longer than this where it has to.
pub(super) fn open_for_reading(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(patience)?;
    Ok(connection)
}

/// Brings the file to this version's format, one process at a time; all of it or nothing.
fn upgrade(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let check = |source| of_sqlite(path, source);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(check)?;
    let application: i64 = pragma(&transaction, "application_id").map_err(check)?;
    let found: i64 = pragma(&transaction, "user_version").map_err(check)?;
    match (application, found) {
        (APPLICATION, FORMAT) => return Ok(()),
        (APPLICATION, _) if found > FORMAT => {
            return Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT });
        }
        (0, 0) | (APPLICATION, 1) => {}
        _ => {
            return Err(Error::Damaged {
                path: path.to_owned(),
                reason: "it is another program's database".to_owned(),
            });
        }
    }
    if found < 1 {
        transaction.execute_batch(FORMAT_1).map_err(check)?;
    }
    if found < 2 {
        transaction.execute_batch(FORMAT_2).map_err(check)?;
        let secret = new_secret()?;
        transaction.execute("INSERT INTO secrets VALUES ('nobody', ?1)", [secret.expose()]).map_err(check)?;
        give_salts(&transaction, &secret).map_err(check)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(check)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(check)?;
    transaction.commit().map_err(check)
}

/// What salts are made of. It stays the same for as long as the file does.
fn new_secret() -> Result<Secret, Error> {
    let mut octets = vec![0; 32];
    rand::fill(&mut octets).map_err(|error| Error::Crypto(error.to_string()))?;
    Ok(Secret::new(octets))
}

/// Users from before have salts from now on; their keys they get when they next sign in.
fn give_salts(transaction: &Transaction<'_>, secret: &Secret) -> rusqlite::Result<()> {
    let mut names = transaction.prepare("SELECT id, name FROM users")?;
    let users: Vec<(i64, String)> =
        names.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    for (id, name) in users {
        let sql = "UPDATE users SET salt = ?2, iterations = ?3 WHERE id = ?1";
        transaction.execute(sql, params![id, salt_of(secret, &name), SCRAM_ITERATIONS.get()])?;
    }
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
