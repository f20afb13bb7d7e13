//! Postern's own users: a directory in one file of its own.
//!
//! The types to know: [`Users`], the users in `users.db` in the data directory; [`User`], one of them as an administrator
//! sees him. The daemon and the command line open the file at the same time; a change is in force at the next sign-in,
//! without a reload.
//!
//! What it deliberately does not do: know of other directories, or resolve aliases for recipients (routing does).

mod database;
mod error;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use postern_smtp::address::Mailbox;
use postern_smtp::secret::Secret;
use serde::{Deserialize, Serialize};

pub use error::Error;

use super::checker::Checker;
use super::source::{address_key, key_of};
use super::{Abilities, Denied, Directory, Login, Principal, Why};
use database::{Account, Database};

/// The file of the users in the data directory.
const FILE: &str = "users.db";
/// What the directory of our own users is called.
pub(super) const NAME: &str = "users";
/// The longest password, in octets.
const LONGEST_PASSWORD: usize = 1024;

/// Postern's own users. Cheap to clone: all clones share one database connection.
#[derive(Debug, Clone)]
pub struct Users {
    database: Arc<Database>,
    checker: Arc<Checker>,
}

/// A user as an administrator sees him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name, in lower case.
    pub name: String,
    /// The addresses that are his, in the order in which they were added.
    pub addresses: Vec<Mailbox>,
    /// When he was added.
    pub created: Timestamp,
    /// When his password was last set.
    pub password_set: Timestamp,
}

impl Users {
    /// Opens the users of this data directory, or makes an empty list.
    ///
    /// # Errors
    /// Local: the file cannot be opened, is damaged, is not Postern's, or belongs to a newer version.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        Self::of(Database::open(&data_dir.join(FILE))?)
    }

    fn of(database: Database) -> Result<Self, Error> {
        let checker = Checker::new().map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(Self { database: Arc::new(database), checker: Arc::new(checker) })
    }

    /// The users of this data directory, or nobody where there is no list: none is made.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn open_for_reading(data_dir: &Path) -> Result<Self, Error> {
        let path = data_dir.join(FILE);
        if path.exists() { Self::open(data_dir) } else { Self::of(Database::empty(&path)?) }
    }

    /// The file that holds the users.
    pub fn path(&self) -> PathBuf {
        self.database.path().to_owned()
    }

    /// Adds a user. Takes a moment: passwords are slow to work out on purpose.
    ///
    /// # Errors
    /// The name or the password cannot be used, the name is taken, or an address is somebody else's.
    pub fn add(&self, name: &str, password: &Secret, addresses: &[Mailbox]) -> Result<(), Error> {
        let name = usable_name(name)?;
        let hash = self.checker.hash(usable_password(password)?)?;
        self.database.add(&name, &hash, addresses, Timestamp::now())
    }

    /// Gives a user another password. It is in force at once.
    ///
    /// # Errors
    /// There is no such user, or the password cannot be used.
    pub fn set_password(&self, name: &str, password: &Secret) -> Result<(), Error> {
        let hash = self.checker.hash(usable_password(password)?)?;
        self.database.set_hash(&key_of(name), &hash, Timestamp::now())
    }

    /// All users by name.
    ///
    /// # Errors
    /// Local: the database cannot be read.
    pub fn list(&self) -> Result<Vec<User>, Error> {
        self.database.list()
    }

    /// One user.
    ///
    /// # Errors
    /// There is no such user.
    pub fn show(&self, name: &str) -> Result<User, Error> {
        self.database.show(&key_of(name))
    }

    /// Removes a user and his addresses. He cannot sign in from now on; sessions that are signed in go on.
    ///
    /// # Errors
    /// There is no such user.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.database.remove(&key_of(name))
    }

    /// Gives a user one more address.
    ///
    /// # Errors
    /// There is no such user, or the address is somebody else's. An address that is his already is no error.
    pub fn add_address(&self, name: &str, address: &Mailbox) -> Result<(), Error> {
        self.database.add_address(&key_of(name), address)
    }

    /// Takes an address from a user.
    ///
    /// # Errors
    /// There is no such user, or the address is not his.
    pub fn remove_address(&self, name: &str, address: &Mailbox) -> Result<(), Error> {
        self.database.remove_address(&key_of(name), address)
    }

    /// Whether an address belongs to any user, exactly as it stands (in any case, without plus-addressing). Waits for
    /// nobody, so that it may be asked in the middle of a session.
    ///
    /// # Errors
    /// [`Denied::Unavailable`]: the database is broken, or would have to be waited for.
    pub fn is_recipient(&self, address: &Mailbox) -> Result<bool, Denied> {
        self.database.has_address(address).map_err(unavailable)
    }

    /// How many passwords were worked out since the start. Each costs some 20 ms of a processor and 19 MiB for
    /// that time.
    pub fn passwords_worked_out(&self) -> u64 {
        self.checker.worked_out()
    }

    /// What works passwords out, for the other directories too.
    pub(super) fn checker(&self) -> Arc<Checker> {
        Arc::clone(&self.checker)
    }

    async fn account(&self, login: &Login) -> Result<Option<Account>, Denied> {
        let (database, key) = (self.database.clone(), login.key().to_owned());
        let found = tokio::task::spawn_blocking(move || database.account(&key)).await;
        found.map_err(|error| Denied::Unavailable(error.to_string()))?.map_err(unavailable)
    }
}

/// One signs in with the user name or with one of his addresses.
#[async_trait]
impl Directory for Users {
    fn abilities(&self) -> Abilities {
        Abilities { passwords: true, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        let account = self.account(login).await?;
        let stored = account.as_ref().map(|account| account.hash.as_str());
        let name = account.as_ref().map_or(login.key(), |account| account.principal.name.as_str());
        let right = self.checker.is_right([NAME, name], stored, password).await?;
        match account {
            None => Err(Denied::Refused(Why::UnknownUser)),
            Some(_) if !right => Err(Denied::Refused(Why::WrongPassword)),
            Some(account) => Ok(account.principal),
        }
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        Ok(self.account(login).await?.map(|account| account.principal))
    }
}

fn usable_name(name: &str) -> Result<String, Error> {
    let reason = match name {
        "" => "it is empty",
        _ if name.len() > 255 => "it is longer than 255 octets",
        _ if name.chars().any(char::is_control) => "it holds control characters",
        _ if name.trim() != name => "it begins or ends with white space",
        _ => return Ok(key_of(name)),
    };
    Err(Error::UnusableName { reason })
}

fn usable_password(password: &Secret) -> Result<&Secret, Error> {
    let reason = match password.expose() {
        [] => "it is empty",
        octets if octets.len() > LONGEST_PASSWORD => "it is longer than 1024 octets",
        octets if octets.iter().any(u8::is_ascii_control) => "it holds control characters",
        _ => return Ok(password),
    };
    Err(Error::UnusablePassword { reason })
}

#[allow(clippy::needless_pass_by_value)] // Shaped for map_err.
fn unavailable(error: Error) -> Denied {
    Denied::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
