//! The users' file: SQLite, opened by the daemon and by the command line at the same time.
//!
//! [`Database`] holds three connections. One writes, and waits for other processes that write. One reads, for sign-ins and
//! lists: in WAL mode a reader waits for no writer. The third answers what is asked where nothing may block: whether an
//! address exists, for RCPT, in the middle of a session, and what is announced. It shares no lock with the others, so that it
//! costs microseconds; if it would have to wait all the same, it fails, and the sender tries again later.
//!
//! `schema` has the file and its formats, `accounts` what a sign-in needs of a user, `app_passwords` theirs.
//!
//! What it deliberately does not do: work passwords out, or know what a name or a password must look like.

mod accounts;
mod app_passwords;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use postern_smtp::address::Mailbox;
use postern_smtp::sasl::SCRAM_ITERATIONS;
use postern_smtp::secret::Secret;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::keys::Keys;
use super::{AppPasswordUsed, Error, MainPassword, NAME, Principal, ScramState, Standing, User, address_key};
use schema::{LOOKUP_PATIENCE, PATIENCE, make_private, open_for_reading, prepare};

pub(super) use accounts::{Account, Gaps};
pub(in crate::directory) use app_passwords::Found;
pub(super) use app_passwords::{NewRow, Owner};

/// The open file.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// For sign-ins, which wait for no writer.
    reading: Mutex<Connection>,
    /// For what is asked where nothing may block; never locked for longer than one look-up.
    lookup: Mutex<Connection>,
    nobody: Secret,
}

/// A password as it is stored.
#[derive(Debug)]
pub(super) struct Hashed {
    pub(super) hash: String,
    pub(super) salt: Vec<u8>,
    pub(super) keys: Keys,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        make_private(path).map_err(|source| Error::Unopenable { path: path.to_owned(), source })?;
        let check = |source| of_sqlite(path, source);
        let mut connection = Connection::open(path).map_err(check)?;
        prepare(&mut connection, path)?;
        let reading = open_for_reading(path, PATIENCE).map_err(check)?;
        let lookup = open_for_reading(path, LOOKUP_PATIENCE).map_err(check)?;
        Self::of(path, [connection, reading, lookup])
    }

    /// Nobody, in memory, in the place of a file that is not there.
    pub(super) fn empty(path: &Path) -> Result<Self, Error> {
        let open = || {
            let mut connection = Connection::open_in_memory().map_err(|source| of_sqlite(path, source))?;
            prepare(&mut connection, path)?;
            Ok(connection)
        };
        Self::of(path, [open()?, open()?, open()?])
    }

    fn of(path: &Path, [connection, reading, lookup]: [Connection; 3]) -> Result<Self, Error> {
        let sql = "SELECT secret FROM secrets WHERE name = 'nobody'";
        let nobody: Vec<u8> =
            connection.query_row(sql, [], |row| row.get(0)).map_err(|source| of_sqlite(path, source))?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            reading: Mutex::new(reading),
            lookup: Mutex::new(lookup),
            nobody: Secret::new(nobody),
        })
    }

    /// What salts are made of; the file's own.
    pub(super) fn nobody(&self) -> &Secret {
        &self.nobody
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn add(
        &self,
        name: &str,
        password: &Hashed,
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
            let Hashed { hash, salt, keys } = password;
            let sql = "INSERT INTO users (name, hash, created, password_set, salt, iterations, sha256, sha1)
                       VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7)";
            let iterations = SCRAM_ITERATIONS.get();
            let (sha256, sha1) = (octets(keys.sha256.as_ref()), octets(keys.sha1.as_ref()));
            let values = params![name, hash, now.as_second(), salt, iterations, sha256, sha1];
            self.check(transaction.execute(sql, values))?;
            let id = transaction.last_insert_rowid();
            addresses.iter().try_for_each(|address| self.give(transaction, id, address))
        })
    }

    /// The salt and the iterations of a user's passwords never change, for his app passwords share them.
    pub(super) fn set_password(&self, name: &str, password: &Hashed, now: Timestamp) -> Result<(), Error> {
        let Hashed { hash, salt: _, keys } = password;
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            let sql = "UPDATE users SET hash = ?2, password_set = ?3, sha256 = ?4, sha1 = ?5 WHERE id = ?1";
            let (sha256, sha1) = (octets(keys.sha256.as_ref()), octets(keys.sha1.as_ref()));
            self.check(transaction.execute(sql, params![id, hash, now.as_second(), sha256, sha1]))?;
            Ok(())
        })
    }

    pub(super) fn set_standing(&self, name: &str, standing: Standing) -> Result<(), Error> {
        let sql = "UPDATE users SET disabled = ?2 WHERE id = ?1";
        self.set_flag(name, sql, standing == Standing::Disabled)
    }

    pub(super) fn set_main_password(&self, name: &str, main: MainPassword) -> Result<(), Error> {
        let sql = "UPDATE users SET barred = ?2 WHERE id = ?1";
        self.set_flag(name, sql, main == MainPassword::Barred)
    }

    pub(super) fn add_group(&self, name: &str, group: &str) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            let sql = "INSERT INTO groups_of_users (user, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            self.check(transaction.execute(sql, params![id, group]))?;
            Ok(())
        })
    }

    pub(super) fn remove_group(&self, name: &str, group: &str) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            let sql = "DELETE FROM groups_of_users WHERE user = ?1 AND name = ?2";
            match self.check(transaction.execute(sql, params![id, group]))? {
                0 => Err(Error::NotInGroup { name: name.to_owned(), group: group.to_owned() }),
                _ => Ok(()),
            }
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
        self.users(None)
    }

    pub(super) fn show(&self, name: &str) -> Result<User, Error> {
        self.users(Some(name))?.pop().ok_or_else(|| Error::NoSuchUser { name: name.to_owned() })
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

    fn reading(&self) -> MutexGuard<'_, Connection> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check<T>(&self, result: rusqlite::Result<T>) -> Result<T, Error> {
        result.map_err(|source| of_sqlite(&self.path, source))
    }

    /// All of the change or nothing of it, synced.
    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut connection = self.connection();
        let transaction = self.check(connection.transaction_with_behavior(TransactionBehavior::Immediate))?;
        let done = change(&transaction)?;
        self.check(transaction.commit())?;
        Ok(done)
    }

    fn set_flag(&self, name: &str, sql: &str, flag: bool) -> Result<(), Error> {
        self.write(|transaction| {
            let id = self.known(transaction, name)?;
            self.check(transaction.execute(sql, params![id, flag]))?;
            Ok(())
        })
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
        self.mailboxes(connection, "SELECT address FROM addresses WHERE user = ?1 ORDER BY id", id)
    }

    fn groups_of(&self, connection: &Connection, id: i64) -> Result<Vec<String>, Error> {
        self.texts(connection, "SELECT name FROM groups_of_users WHERE user = ?1 ORDER BY name", id)
    }

    fn mailboxes(&self, connection: &Connection, sql: &str, id: i64) -> Result<Vec<Mailbox>, Error> {
        let damaged = |text: &str| Error::Damaged {
            path: self.path.clone(),
            reason: format!("{text:?} is not an address"),
        };
        let texts = self.texts(connection, sql, id)?;
        texts.iter().map(|text| text.parse().map_err(|_| damaged(text))).collect()
    }

    fn texts(&self, connection: &Connection, sql: &str, id: i64) -> Result<Vec<String>, Error> {
        let mut statement = self.check(connection.prepare_cached(sql))?;
        let rows = self.check(statement.query_map([id], |row| row.get(0)))?;
        self.check(rows.collect())
    }

    /// All, or the one of this name.
    fn users(&self, name: Option<&str>) -> Result<Vec<User>, Error> {
        let mut connection = self.reading();
        let transaction = self.check(connection.transaction())?;
        let sql =
            "SELECT id, name, created, password_set, disabled, barred, sha256 IS NOT NULL, last_sign_in,
                       (SELECT count(*) FROM app_passwords WHERE user = users.id)
                   FROM users WHERE ?1 IS NULL OR name = ?1 ORDER BY name";
        let mut statement = self.check(transaction.prepare_cached(sql))?;
        let rows = self.check(statement.query_map([name], user_of))?;
        let found: Vec<(i64, User)> = self.check(rows.collect())?;
        let complete = |(id, user)| {
            let addresses = self.addresses_of(&transaction, id)?;
            Ok(User { addresses, groups: self.groups_of(&transaction, id)?, ..user })
        };
        found.into_iter().map(complete).collect()
    }
}

fn user_of(row: &Row<'_>) -> rusqlite::Result<(i64, User)> {
    let user = User {
        name: row.get(1)?,
        addresses: Vec::new(),
        groups: Vec::new(),
        standing: standing(row.get(4)?),
        main_password: main_password(row.get(5)?),
        scram: if row.get(6)? { ScramState::Ready } else { ScramState::AtNextSignIn },
        app_passwords: row.get(8)?,
        created: time(row.get(2)?),
        password_set: time(row.get(3)?),
        last_sign_in: row.get::<_, Option<i64>>(7)?.map(time),
    };
    Ok((row.get(0)?, user))
}

fn standing(disabled: bool) -> Standing {
    if disabled { Standing::Disabled } else { Standing::Enabled }
}

fn main_password(barred: bool) -> MainPassword {
    if barred { MainPassword::Barred } else { MainPassword::Allowed }
}

fn octets(key: Option<&Secret>) -> Option<&[u8]> {
    key.map(Secret::expose)
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

    fn hashed(hash: &str) -> Hashed {
        Hashed { hash: hash.to_owned(), salt: b"salt".to_vec(), keys: Keys::default() }
    }

    /// Another process holds the file for writing and a change of ours waits for it: neither keeps a recipient waiting.
    #[test]
    fn looking_a_recipient_up_waits_for_no_writer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.db");
        let database = Database::open(&path).unwrap();
        let anna: Mailbox = "anna@example.org".parse().unwrap();
        database.add("anna", &hashed("hash"), std::slice::from_ref(&anna), Timestamp::UNIX_EPOCH).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE; DELETE FROM addresses").unwrap();
        std::thread::scope(|scope| {
            let waiting =
                scope.spawn(|| database.set_password("anna", &hashed("other"), Timestamp::UNIX_EPOCH));
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
