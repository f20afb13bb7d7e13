//! What signing in needs of a user, in one look-up.
//!
//! An [`Account`] is a user as a sign-in sees him. The same questions are put to the file whether the user exists or not.
//! [`Gaps`] is what is missing of all users together, for what may be announced.

use std::collections::HashMap;
use std::num::NonZeroU32;

use postern_smtp::sasl::{SCRAM_ITERATIONS, ScramHash, ScramKey, ScramKeys};
use postern_smtp::secret::Secret;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::behind::{Use, Who};
use super::super::keys::{Kept, Keys, MAIN, unpacked};
use super::{
    Database, Error, MainPassword, NAME, PoisonError, Principal, Standing, main_password, octets, standing,
};

/// What signing in needs of a user.
#[derive(Debug, Clone)]
pub(in super::super) struct Account {
    pub(in super::super) id: i64,
    pub(in super::super) principal: Principal,
    /// Of the main password.
    pub(in super::super) hash: String,
    pub(in super::super) standing: Standing,
    pub(in super::super) main_password: MainPassword,
    pub(in super::super) kept: Kept,
}

/// What is missing of all users together.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Gaps {
    /// Some enabled user's main password has no key for SCRAM-SHA-256.
    pub(in super::super) sha256: bool,
    /// Some enabled user's main password or an app password has none for SCRAM-SHA-1.
    pub(in super::super) sha1: bool,
    /// There is no app password at all.
    pub(in super::super) app_passwords: bool,
}

const BY_LOGIN: &str = "SELECT id, name, hash, disabled, barred, salt, iterations, sha256, sha1 FROM users
    WHERE id = coalesce((SELECT id FROM users WHERE name = ?1), (SELECT user FROM addresses WHERE key = ?1))";
const BY_ID: &str = "SELECT id, name, hash, disabled, barred, salt, iterations, sha256, sha1 FROM users
    WHERE id = ?1";

impl Database {
    /// The user of this name, or else the one with this address.
    pub(in super::super) fn account(&self, key: &str) -> Result<Option<Account>, Error> {
        let mut connection = self.reading();
        let transaction = self.check(connection.transaction())?;
        let mut statement = self.check(transaction.prepare_cached(BY_LOGIN))?;
        let found = self.check(statement.query_row([key], account_of).optional())?;
        self.completed(&transaction, found)
    }

    pub(super) fn account_of_id(&self, connection: &Connection, id: i64) -> Result<Option<Account>, Error> {
        let mut statement = self.check(connection.prepare_cached(BY_ID))?;
        let found = self.check(statement.query_row([id], account_of).optional())?;
        self.completed(connection, found)
    }

    /// What is kept of a user's passwords; no key of one that he may not use. `None`: there is no such user.
    pub(in super::super) fn scram_keys(
        &self,
        key: &str,
        hash: ScramHash,
    ) -> Result<Option<ScramKeys>, Error> {
        let account = self.account(key)?;
        let apps = self.app_keys(account.as_ref().map_or(0, |account| account.id), hash)?;
        let Some(account) = account else { return Ok(None) };
        let Kept { salt, iterations, keys } = account.kept;
        let mut usable = Vec::with_capacity(apps.len() + 1);
        if account.standing == Standing::Enabled {
            let main = keys.of_hash(hash).filter(|_| account.main_password == MainPassword::Allowed);
            usable.extend(main.map(|packed| self.unpacked(packed, hash, MAIN)).transpose()?);
            usable.extend(apps);
        }
        Ok(Some(ScramKeys { salt, iterations, keys: usable }))
    }

    /// Keys that were worked out at a sign-in, unless the password has changed meanwhile.
    pub(in super::super) fn add_keys(&self, account: &Account, keys: &Keys) -> Result<(), Error> {
        let sql = "UPDATE users SET sha256 = coalesce(sha256, ?3), sha1 = coalesce(sha1, ?4)
                   WHERE id = ?1 AND hash = ?2";
        self.write(|transaction| {
            let (sha256, sha1) = (octets(keys.sha256.as_ref()), octets(keys.sha1.as_ref()));
            self.check(transaction.execute(sql, params![account.id, account.hash, sha256, sha1]))?;
            Ok(())
        })
    }

    /// Does not block: see the top of the file above. Each part is one step into an index.
    pub(in super::super) fn gaps(&self) -> Result<Gaps, Error> {
        let sql = "SELECT
            EXISTS (SELECT 1 FROM users WHERE sha256 IS NULL AND disabled = 0 AND barred = 0),
            EXISTS (SELECT 1 FROM users WHERE sha1 IS NULL AND disabled = 0 AND barred = 0)
                OR EXISTS (SELECT 1 FROM app_passwords WHERE sha1 IS NULL AND user IS NOT NULL),
            NOT EXISTS (SELECT 1 FROM app_passwords)";
        let connection = self.lookup.lock().unwrap_or_else(PoisonError::into_inner);
        let mut statement = self.check(connection.prepare_cached(sql))?;
        let gaps =
            |row: &Row<'_>| Ok(Gaps { sha256: row.get(0)?, sha1: row.get(1)?, app_passwords: row.get(2)? });
        self.check(statement.query_row([], gaps))
    }

    /// Who was here, and with which app password.
    pub(in super::super) fn note_uses(&self, uses: &HashMap<Who, Use>) -> Result<(), Error> {
        let of_user = "UPDATE users SET last_sign_in = max(coalesce(last_sign_in, 0), ?2) WHERE name = ?1";
        let of_password = "UPDATE app_passwords SET last_used = ?4, last_client = ?5
                           WHERE directory = ?1 AND principal = ?2 AND name = ?3";
        self.write(|transaction| {
            for (Who { directory, name, app_password }, Use { at, client }) in uses {
                let at = at.as_second();
                if directory == NAME {
                    self.check(transaction.execute(of_user, params![name, at]))?;
                }
                if let Some(password) = app_password {
                    let values = params![directory, name, password, at, client.to_string()];
                    self.check(transaction.execute(of_password, values))?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn unpacked(&self, packed: &Secret, hash: ScramHash, label: u64) -> Result<ScramKey, Error> {
        unpacked(packed, hash, label).ok_or_else(|| Error::Damaged {
            path: self.path.clone(),
            reason: "a key for SCRAM has another length than it must".to_owned(),
        })
    }

    /// With addresses and groups, which are looked for in any case.
    fn completed(&self, connection: &Connection, found: Option<Account>) -> Result<Option<Account>, Error> {
        let id = found.as_ref().map_or(0, |account| account.id);
        let (addresses, groups) = (self.addresses_of(connection, id)?, self.groups_of(connection, id)?);
        Ok(found.map(|mut account| {
            account.principal.addresses = addresses;
            account.principal.groups = groups;
            account
        }))
    }
}

fn account_of(row: &Row<'_>) -> rusqlite::Result<Account> {
    let iterations = row.get::<_, u32>(6)?;
    let mut principal = Principal::named(row.get::<_, String>(1)?, Vec::new());
    NAME.clone_into(&mut principal.directory);
    Ok(Account {
        id: row.get(0)?,
        principal,
        hash: row.get(2)?,
        standing: standing(row.get(3)?),
        main_password: main_password(row.get(4)?),
        kept: Kept {
            salt: row.get(5)?,
            iterations: NonZeroU32::new(iterations).unwrap_or(SCRAM_ITERATIONS),
            keys: keys_of(row, 7)?,
        },
    })
}

/// The keys in this column and the next.
pub(super) fn keys_of(row: &Row<'_>, first: usize) -> rusqlite::Result<Keys> {
    let key =
        |column| row.get::<_, Option<Vec<u8>>>(column).map(|octets: Option<Vec<u8>>| octets.map(Secret::new));
    Ok(Keys { sha256: key(first)?, sha1: key(first + 1)? })
}
