//! App passwords in the file: of Postern's own users, and of people whom other directories know.

use jiff::Timestamp;
use postern_smtp::address::Mailbox;
use postern_smtp::sasl::{ScramHash, ScramKey};
use postern_smtp::secret::Secret;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::super::AppPassword;
use super::super::app_password::Digest;
use super::super::keys::Keys;
use super::accounts::{Account, keys_of};
use super::{AppPasswordUsed, Database, Error, Principal, octets, time};
use crate::directory::Login;

/// The most that one person has.
const MOST: i64 = 50;

/// Whose app password.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Owner<'a> {
    pub(in super::super) directory: &'a str,
    pub(in super::super) principal: &'a str,
    /// His number, when he is one of our own users.
    pub(in super::super) user: Option<i64>,
}

/// One that is added.
#[derive(Debug)]
pub(in super::super) struct NewRow<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) digest: &'a Digest,
    pub(in super::super) keys: &'a Keys,
    pub(in super::super) addresses: &'a [Mailbox],
}

/// One that somebody signs in with.
#[derive(Debug, Clone)]
pub(in crate::directory) struct Found {
    pub(in super::super) id: i64,
    pub(in crate::directory) directory: String,
    pub(in crate::directory) principal: String,
    pub(in crate::directory) used: AppPasswordUsed,
    /// Who it is, when he is one of our own users.
    pub(in super::super) account: Option<Account>,
    pub(in super::super) keys: Keys,
}

impl Found {
    /// Whether this is another name of its owner, who is one of our own users.
    pub(in crate::directory) fn is_called(&self, login: &Login) -> bool {
        self.account.as_ref().is_some_and(|account| account.principal.is_called(login.key()))
    }

    /// Its owner, signed in with it.
    pub(in crate::directory) fn given_to(&self, owner: Principal) -> Principal {
        Principal { app_password: Some(self.used.clone()), ..owner }
    }
}

impl Database {
    pub(in super::super) fn add_app_password(
        &self,
        owner: Owner<'_>,
        row: &NewRow<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let NewRow { name, digest, keys, addresses } = row;
        self.write(|transaction| {
            self.has_room(transaction, owner, name)?;
            let sql = "INSERT INTO app_passwords
                           (user, directory, principal, name, digest, sha256, sha1, created)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            let (sha256, sha1) = (octets(keys.sha256.as_ref()), octets(keys.sha1.as_ref()));
            let Owner { directory, principal, user } = owner;
            let values = params![user, directory, principal, name, digest, sha256, sha1, now.as_second()];
            self.check(transaction.execute(sql, values))?;
            let id = transaction.last_insert_rowid();
            let sql = "INSERT INTO app_password_addresses (password, address) VALUES (?1, ?2)";
            for address in *addresses {
                self.check(transaction.execute(sql, params![id, address.to_string()]))?;
            }
            Ok(())
        })
    }

    /// By their names.
    pub(in super::super) fn app_passwords(&self, owner: Owner<'_>) -> Result<Vec<AppPassword>, Error> {
        let mut connection = self.reading();
        let transaction = self.check(connection.transaction())?;
        let sql = "SELECT id, name, created, last_used, last_client FROM app_passwords
                   WHERE directory = ?1 AND principal = ?2 ORDER BY name";
        let mut statement = self.check(transaction.prepare_cached(sql))?;
        let rows = self.check(statement.query_map([owner.directory, owner.principal], app_password_of))?;
        let found: Vec<(i64, AppPassword)> = self.check(rows.collect())?;
        let complete = |(id, password)| {
            Ok(AppPassword { addresses: self.addresses_of_app_password(&transaction, id)?, ..password })
        };
        found.into_iter().map(complete).collect()
    }

    pub(in super::super) fn remove_app_password(&self, owner: Owner<'_>, name: &str) -> Result<(), Error> {
        let sql = "DELETE FROM app_passwords WHERE directory = ?1 AND principal = ?2 AND name = ?3";
        let values = params![owner.directory, owner.principal, name];
        match self.write(|transaction| self.check(transaction.execute(sql, values)))? {
            0 => Err(Error::NoSuchAppPassword { user: owner.principal.to_owned(), name: name.to_owned() }),
            _ => Ok(()),
        }
    }

    /// In which directories people of this name have app passwords.
    pub(in super::super) fn owners_called(&self, principal: &str) -> Result<Vec<String>, Error> {
        let connection = self.reading();
        let sql = "SELECT DISTINCT directory FROM app_passwords WHERE principal = ?1 ORDER BY directory";
        let mut statement = self.check(connection.prepare_cached(sql))?;
        let rows = self.check(statement.query_map([principal], |row| row.get(0)))?;
        self.check(rows.collect())
    }

    /// Whose this is, with all that a sign-in needs of him: one look-up.
    pub(in super::super) fn app_password(&self, digest: &Digest) -> Result<Option<Found>, Error> {
        let mut connection = self.reading();
        let transaction = self.check(connection.transaction())?;
        self.found(&transaction, "digest = ?1", digest)
    }

    /// The one with this number.
    pub(in super::super) fn app_password_with(&self, id: i64) -> Result<Option<Found>, Error> {
        let mut connection = self.reading();
        let transaction = self.check(connection.transaction())?;
        self.found(&transaction, "id = ?1", id)
    }

    /// A key that was worked out at a sign-in.
    pub(in super::super) fn add_app_keys(&self, id: i64, keys: &Keys) -> Result<(), Error> {
        let sql = "UPDATE app_passwords SET sha256 = coalesce(sha256, ?2), sha1 = coalesce(sha1, ?3)
                   WHERE id = ?1";
        let (sha256, sha1) = (octets(keys.sha256.as_ref()), octets(keys.sha1.as_ref()));
        self.write(|transaction| self.check(transaction.execute(sql, params![id, sha256, sha1])))?;
        Ok(())
    }

    /// The keys of a user's app passwords, each under its number.
    pub(super) fn app_keys(&self, user: i64, hash: ScramHash) -> Result<Vec<ScramKey>, Error> {
        let connection = self.reading();
        let sql = "SELECT id, sha256, sha1 FROM app_passwords WHERE user = ?1 ORDER BY id";
        let mut statement = self.check(connection.prepare_cached(sql))?;
        let rows = statement.query_map([user], |row| Ok((row.get::<_, i64>(0)?, keys_of(row, 1)?)));
        let rows: Vec<(i64, Keys)> = self.check(self.check(rows)?.collect())?;
        let key = |(id, keys): &(i64, Keys)| {
            keys.of_hash(hash).map(|packed: &Secret| self.unpacked(packed, hash, id.cast_unsigned()))
        };
        rows.iter().filter_map(key).collect()
    }

    fn has_room(&self, transaction: &Transaction<'_>, owner: Owner<'_>, name: &str) -> Result<(), Error> {
        let sql = "SELECT count(*), coalesce(sum(name = ?3 COLLATE NOCASE), 0) FROM app_passwords
                   WHERE directory = ?1 AND principal = ?2";
        let counts = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let values = [owner.directory, owner.principal, name];
        let user = || owner.principal.to_owned();
        match self.check(transaction.query_row(sql, values, counts))? {
            (_, 1..) => Err(Error::AppPasswordExists { user: user(), name: name.to_owned() }),
            (MOST.., _) => Err(Error::TooManyAppPasswords { user: user(), most: MOST }),
            _ => Ok(()),
        }
    }

    fn found(
        &self,
        transaction: &Transaction<'_>,
        condition: &str,
        value: impl rusqlite::ToSql,
    ) -> Result<Option<Found>, Error> {
        let sql = format!(
            "SELECT id, directory, principal, name, user, sha256, sha1 FROM app_passwords WHERE {condition}"
        );
        let mut statement = self.check(transaction.prepare_cached(&sql))?;
        let Some((mut found, user)) = self.check(statement.query_row([value], found_of).optional())? else {
            return Ok(None);
        };
        found.used.addresses = self.addresses_of_app_password(transaction, found.id)?;
        if let Some(user) = user {
            found.account = self.account_of_id(transaction, user)?;
        }
        Ok(Some(found))
    }

    fn addresses_of_app_password(
        &self,
        transaction: &Transaction<'_>,
        id: i64,
    ) -> Result<Vec<Mailbox>, Error> {
        let sql = "SELECT address FROM app_password_addresses WHERE password = ?1 ORDER BY id";
        self.mailboxes(transaction, sql, id)
    }
}

fn app_password_of(row: &Row<'_>) -> rusqlite::Result<(i64, AppPassword)> {
    let password = AppPassword {
        name: row.get(1)?,
        addresses: Vec::new(),
        created: time(row.get(2)?),
        last_used: row.get::<_, Option<i64>>(3)?.map(time),
        last_client: row.get(4)?,
    };
    Ok((row.get(0)?, password))
}

fn found_of(row: &Row<'_>) -> rusqlite::Result<(Found, Option<i64>)> {
    let found = Found {
        id: row.get(0)?,
        directory: row.get(1)?,
        principal: row.get(2)?,
        used: AppPasswordUsed { name: row.get(3)?, addresses: Vec::new() },
        account: None,
        keys: keys_of(row, 5)?,
    };
    Ok((found, row.get(4)?))
}
