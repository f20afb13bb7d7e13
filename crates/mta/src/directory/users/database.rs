//! The users' file: SQLite, opened by the daemon and by the command line at the same time.
//!
//! [`Database`] holds two connections. One reads and writes, and waits for other processes that write. The other only
//! answers whether an address exists, for RCPT, in the middle of a session: it shares no lock with the first, and in
//! WAL mode a reader waits for no writer, so that it costs microseconds and may be asked where nothing may block.
//! If it would have to wait all the same, it fails, and the sender tries again later.
//!
//! What it deliberately does not do: work passwords out, or know what a name or a password must look like.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use postern_smtp::address::Mailbox;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};

use super::{Error, NAME, Principal, User, address_key};

/// The format that this version writes. A later version opens every earlier one.
const FORMAT: i64 = 1;
/// `Post` in ASCII: tells Postern's files from other programs' databases.
const APPLICATION: i64 = 0x506f_7374;
/// How long to wait for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a look-up waits, where it has to at all: the first to open the file after a crash repairs it alone.
const LOOKUP_PATIENCE: Duration = Duration::from_millis(5);

const SCHEMA: &str = "
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

/// The open file.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// For [`Database::has_address`] alone; never locked for longer than one look-up.
    lookup: Mutex<Connection>,
}

/// What signing in needs of a user.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) principal: Principal,
    pub(super) hash: String,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        make_private(path).map_err(|source| Error::Unopenable { path: path.to_owned(), source })?;
        let mut connection = Connection::open(path).map_err(|source| of_sqlite(path, source))?;
        prepare(&mut connection, path)?;
        let lookup = open_for_lookups(path).map_err(|source| of_sqlite(path, source))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection), lookup: Mutex::new(lookup) })
    }

    /// Nobody, in memory, in the place of a file that is not there.
    pub(super) fn empty(path: &Path) -> Result<Self, Error> {
        let open = || {
            let mut connection = Connection::open_in_memory().map_err(|source| of_sqlite(path, source))?;
            prepare(&mut connection, path)?;
            Ok(Mutex::new(connection))
        };
        Ok(Self { path: path.to_owned(), connection: open()?, lookup: open()? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn add(
        &self,
        name: &str,
        hash: &str,
        addresses: &[Mailbox],
        now: Timestamp,
    ) -> Result<(), Error> {
        self.write(|transaction| {
            if self.id_of(transaction, name)?.is_some() {
                return Err(Error::UserExists { name: name.to_owned() });
            }
            if let Some((_, owner)) = self.owner_of(transaction, name)? {
                return Err(Error::AddressTaken { address: name.to_owned(), owner });
            }
            let sql = "INSERT INTO users (name, hash, created, password_set) VALUES (?1, ?2, ?3, ?3)";
            self.check(transaction.execute(sql, params![name, hash, now.as_second()]))?;
            let id = transaction.last_insert_rowid();
            addresses.iter().try_for_each(|address| self.give(transaction, id, address))
        })
    }

    pub(super) fn set_hash(&self, name: &str, hash: &str, now: Timestamp) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            let sql = "UPDATE users SET hash = ?2, password_set = ?3 WHERE id = ?1";
            self.check(transaction.execute(sql, params![id, hash, now.as_second()]))?;
            Ok(())
        })
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            self.check(transaction.execute("DELETE FROM users WHERE id = ?1", [id]))?;
            Ok(())
        })
    }

    pub(super) fn add_address(&self, name: &str, address: &Mailbox) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            self.give(transaction, id, address)
        })
    }

    pub(super) fn remove_address(&self, name: &str, address: &Mailbox) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            let sql = "DELETE FROM addresses WHERE key = ?1 AND user = ?2";
            match self.check(transaction.execute(sql, params![address_key(address), id]))? {
                0 => Err(Error::NotHisAddress { name: name.to_owned(), address: address.to_string() }),
                _ => Ok(()),
            }
        })
    }

    pub(super) fn list(&self) -> Result<Vec<User>, Error> {
        self.users("SELECT id, name, created, password_set FROM users WHERE ?1 IS NULL ORDER BY name", None)
    }

    pub(super) fn show(&self, name: &str) -> Result<User, Error> {
        let sql = "SELECT id, name, created, password_set FROM users WHERE name = ?1";
        self.users(sql, Some(name))?.pop().ok_or_else(|| Error::NoSuchUser { name: name.to_owned() })
    }

    /// The user of this name, or else the one with this address.
    pub(super) fn account(&self, key: &str) -> Result<Option<Account>, Error> {
        let mut connection = self.connection();
        let transaction = self.check(connection.transaction())?;
        let by_name = "SELECT id, name, hash FROM users WHERE name = ?1";
        let by_address =
            "SELECT users.id, name, hash FROM addresses JOIN users ON users.id = user WHERE key = ?1";
        for sql in [by_name, by_address] {
            let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?));
            let mut statement = self.check(transaction.prepare_cached(sql))?;
            if let Some((id, name, hash)) = self.check(statement.query_row([key], row).optional())? {
                let addresses = self.addresses_of(&transaction, id)?;
                return Ok(Some(Account {
                    principal: Principal {
                        name,
                        addresses,
                        directory: NAME.to_owned(),
                        groups: Vec::new(),
                        app_password: None,
                    },
                    hash,
                }));
            }
        }
        Ok(None)
    }

    /// Does not block: see the top of this file.
    pub(super) fn has_address(&self, address: &Mailbox) -> Result<bool, Error> {
        let connection = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement =
            self.check(connection.prepare_cached("SELECT 1 FROM addresses WHERE key = ?1"))?;
        self.check(statement.exists([address_key(address)]))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves the connection sound: its transaction was rolled back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| of_sqlite(&self.path, source))
    }

    /// All of the change or nothing of it, synced.
    fn write(&self, change: impl FnOnce(&Transaction<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut connection = self.connection();
        let transaction = self.check(connection.transaction_with_behavior(TransactionBehavior::Immediate))?;
        change(&transaction)?;
        self.check(transaction.commit())
    }

    fn give(&self, transaction: &Transaction<'_>, id: i64, address: &Mailbox) -> Result<(), Error> {
        let key = address_key(address);
        match self.owner_of(transaction, &key)? {
            Some((owner, _)) if owner == id => return Ok(()),
            Some((_, owner)) => {
                return Err(Error::AddressTaken { address: address.to_string(), owner });
            }
            None => (),
        }
        if self.id_of(transaction, &key)?.is_some_and(|named| named != id) {
            return Err(Error::AddressIsName { address: address.to_string() });
        }
        let sql = "INSERT INTO addresses (key, address, user) VALUES (?1, ?2, ?3)";
        self.check(transaction.execute(sql, params![key, address.to_string(), id]))?;
        Ok(())
    }

    fn known(&self, transaction: &Transaction<'_>, name: &str) -> Result<i64, Error> {
        self.id_of(transaction, name)?.ok_or_else(|| Error::NoSuchUser { name: name.to_owned() })
    }

    fn id_of(&self, transaction: &Transaction<'_>, name: &str) -> Result<Option<i64>, Error> {
        let sql = "SELECT id FROM users WHERE name = ?1";
        self.check(transaction.query_row(sql, [name], |row| row.get(0)).optional())
    }

    fn owner_of(&self, transaction: &Transaction<'_>, key: &str) -> Result<Option<(i64, String)>, Error> {
        let sql = "SELECT users.id, name FROM addresses JOIN users ON users.id = user WHERE key = ?1";
        self.check(transaction.query_row(sql, [key], |row| Ok((row.get(0)?, row.get(1)?))).optional())
    }

    fn addresses_of(&self, connection: &Connection, id: i64) -> Result<Vec<Mailbox>, Error> {
        let sql = "SELECT address FROM addresses WHERE user = ?1 ORDER BY id";
        let mut statement = self.check(connection.prepare_cached(sql))?;
        let rows = self.check(statement.query_map([id], |row| row.get::<_, String>(0)))?;
        let texts: Vec<String> = self.check(rows.collect())?;
        texts.iter().map(|text| self.parsed(text)).collect()
    }

    fn parsed(&self, text: &str) -> Result<Mailbox, Error> {
        text.parse().map_err(|_| Error::Damaged {
            path: self.path.clone(),
            reason: format!("{text:?} is not an address"),
        })
    }

    fn users(&self, sql: &str, name: Option<&str>) -> Result<Vec<User>, Error> {
        let mut connection = self.connection();
        let transaction = self.check(connection.transaction())?;
        let mut statement = self.check(transaction.prepare_cached(sql))?;
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let rows = self.check(statement.query_map([name], row))?;
        let found: Vec<(i64, String, i64, i64)> = self.check(rows.collect())?;
        let user = |(id, name, created, password_set)| {
            let addresses = self.addresses_of(&transaction, id)?;
            Ok(User { name, addresses, created: time(created), password_set: time(password_set) })
        };
        found.into_iter().map(user).collect()
    }
}

/// The file exists before SQLite opens it, for its owner alone; SQLite's own files beside it follow its mode.
fn make_private(path: &Path) -> io::Result<()> {
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

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Error> {
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

fn open_for_lookups(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(LOOKUP_PATIENCE)?;
    Ok(connection)
}

/// Brings the file to this version's format, one process at a time.
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
        (0, 0) => transaction.execute_batch(SCHEMA).map_err(check)?,
        _ => {
            return Err(Error::Damaged {
                path: path.to_owned(),
                reason: "it is another program's database".to_owned(),
            });
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(check)?;
    transaction.pragma_update(None, "user_version", FORMAT).map_err(check)?;
    transaction.commit().map_err(check)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn of_sqlite(path: &Path, source: rusqlite::Error) -> Error {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            Error::Damaged { path: path.to_owned(), reason: source.to_string() }
        }
        _ => Error::Database { path: path.to_owned(), source },
    }
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another process holds the file for writing and a change of ours waits for it: neither keeps a recipient waiting.
    #[test]
    fn looking_a_recipient_up_waits_for_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.db");
        let database = Database::open(&path).unwrap();
        let anna: Mailbox = "anna@example.org".parse().unwrap();
        database.add("anna", "hash", std::slice::from_ref(&anna), Timestamp::UNIX_EPOCH).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE; DELETE FROM addresses").unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| database.set_hash("anna", "other", Timestamp::UNIX_EPOCH));
            while database.connection.try_lock().is_ok() {
                std::thread::yield_now();
            }
            assert!(database.has_address(&anna).unwrap(), "what is not committed does not count");
            assert!(!waiting.is_finished(), "the change did not wait, so nothing is shown");
            other.execute_batch("COMMIT").unwrap();
            waiting.join().unwrap().unwrap();
        });
        assert!(!database.has_address(&anna).unwrap());
    }
}
