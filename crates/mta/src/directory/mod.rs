//! Who may sign in, and which addresses are his: Postern's own users.
//!
//! The types to know:
//! - [`Users`]: the users in `users.db` in the data directory. The daemon and the command line open it at the same
//!   time; a change is in force at the next sign-in, without a reload.
//! - [`Principal`]: somebody who has signed in, and the addresses that he owns.
//! - [`Denied`]: why somebody could not sign in. A directory that is out of order is never taken for a wrong
//!   password: the client is to try again later, not to ask its user for another password.
//!
//! A name that does not exist costs as much time as a wrong password, and sign-ins in parallel are bounded, so that
//! guessing neither tells who exists nor starves the machine. One who signs in often within a few minutes pays for
//! the password once.
//!
//! What it deliberately does not do: decide what a principal may send (the gate does), count failures, or resolve
//! aliases and plus-addressing for recipients (routing does).

mod database;
mod error;
mod passwords;
mod recent;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_pki::ProcessKey;
use postern_smtp::address::{Host, Mailbox, split_detail};
use postern_smtp::sasl::Credential;
use postern_smtp::secret::Secret;
use serde::{Deserialize, Serialize};

pub use error::Error;

use database::{Account, Database};
use passwords::Passwords;
use recent::Recent;

/// The file of the users in the data directory.
const FILE: &str = "users.db";
/// How long a password that was right counts as right without being worked out again.
const REMEMBERED: Duration = Duration::from_mins(5);
/// How many sign-ins are remembered at most.
const MOST_REMEMBERED: usize = 4096;
/// The longest user name, in octets.
const LONGEST_NAME: usize = 255;
/// The longest password, in octets.
const LONGEST_PASSWORD: usize = 1024;

/// Postern's own users. Cheap to clone: all clones share one database connection.
#[derive(Debug, Clone)]
pub struct Users {
    database: Arc<Database>,
    passwords: Arc<Passwords>,
    recent: Arc<Mutex<Recent>>,
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

/// Somebody who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// His name, in lower case; never the address that he may have signed in with.
    pub name: String,
    /// The addresses that are his.
    pub addresses: Vec<Mailbox>,
}

/// Why somebody could not sign in, or a question could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such user, or the password is wrong. Which of the two is told to nobody.
    #[error("wrong user name or password")]
    BadCredentials,
    /// The directory is out of order; the words are for the log.
    #[error("the user directory is not available: {0}")]
    Unavailable(String),
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
        let key = ProcessKey::random().map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(Self {
            database: Arc::new(database),
            passwords: Arc::new(Passwords::new()),
            recent: Arc::new(Mutex::new(Recent::new(key, REMEMBERED, MOST_REMEMBERED))),
        })
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
        let hash = self.passwords.hash(usable_password(password)?)?;
        self.database.add(&name, &hash, addresses, Timestamp::now())
    }

    /// Gives a user another password. It is in force at once.
    ///
    /// # Errors
    /// There is no such user, or the password cannot be used.
    pub fn set_password(&self, name: &str, password: &Secret) -> Result<(), Error> {
        let hash = self.passwords.hash(usable_password(password)?)?;
        self.database.set_hash(&sign_in_key(name), &hash, Timestamp::now())
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
        self.database.show(&sign_in_key(name))
    }

    /// Removes a user and his addresses. He cannot sign in from now on; sessions that are signed in go on.
    ///
    /// # Errors
    /// There is no such user.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.database.remove(&sign_in_key(name))
    }

    /// Gives a user one more address.
    ///
    /// # Errors
    /// There is no such user, or the address is somebody else's. An address that is his already is no error.
    pub fn add_address(&self, name: &str, address: &Mailbox) -> Result<(), Error> {
        self.database.add_address(&sign_in_key(name), address)
    }

    /// Takes an address from a user.
    ///
    /// # Errors
    /// There is no such user, or the address is not his.
    pub fn remove_address(&self, name: &str, address: &Mailbox) -> Result<(), Error> {
        self.database.remove_address(&sign_in_key(name), address)
    }

    /// Whether a user and a password belong together. One signs in with the user name or with one of his addresses.
    ///
    /// # Errors
    /// [`Denied::BadCredentials`], after the same time whether the user exists or not; [`Denied::Unavailable`] when
    /// the database is broken or locked.
    pub async fn authenticate(&self, credential: &Credential) -> Result<Principal, Denied> {
        let Credential::Password { user, password, acting_as } = credential else {
            return Err(Denied::BadCredentials);
        };
        if usable_name(user).is_err() || usable_password(password).is_err() {
            return Err(Denied::BadCredentials);
        }
        let account = self.account(user).await?;
        if !self.is_right(account.as_ref(), password).await? {
            return Err(Denied::BadCredentials);
        }
        let principal = account.ok_or(Denied::BadCredentials)?.principal;
        // RFC 4616 §2: nobody acts for somebody else here.
        match acting_as {
            Some(other) if !principal.is_called(other) => Err(Denied::BadCredentials),
            _ => Ok(principal),
        }
    }

    /// Whose client certificate this is, by the mail addresses that it bears. The certificate must have been verified.
    ///
    /// The addresses must be of exactly one user; where they are of several, nobody can say who has come. Whom he wants to
    /// act as can only be himself, by his name or one of his addresses (RFC 4422 §3.4.1).
    ///
    /// # Errors
    /// [`Denied::BadCredentials`], after the same look-ups whether there is such a user or not;
    /// [`Denied::Unavailable`] when the database is broken or locked.
    pub async fn by_certificate(
        &self,
        addresses: &[String],
        acting_as: Option<&str>,
    ) -> Result<Principal, Denied> {
        let addresses: Vec<Mailbox> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let principal = self.owner(addresses).await?.ok_or(Denied::BadCredentials)?;
        match acting_as {
            Some(other) if !principal.is_called(other) => Err(Denied::BadCredentials),
            _ => Ok(principal),
        }
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
        self.passwords.worked_out()
    }

    async fn account(&self, user: &str) -> Result<Option<Account>, Denied> {
        let (database, key) = (self.database.clone(), sign_in_key(user));
        let found = tokio::task::spawn_blocking(move || database.account(&key)).await;
        found.map_err(|error| Denied::Unavailable(error.to_string()))?.map_err(unavailable)
    }

    /// The one user to whom those of the addresses belong that belong to anybody.
    async fn owner(&self, addresses: Vec<Mailbox>) -> Result<Option<Principal>, Denied> {
        let database = self.database.clone();
        let look_up = move || {
            let mut owners: Vec<Principal> = Vec::new();
            for address in &addresses {
                let found = database.account(&address_key(address))?.map(|account| account.principal);
                // A user may be called like an address that is not his.
                let owner = found.filter(|principal| principal.owns(address, None));
                owners.extend(owner.filter(|owner| owners.iter().all(|known| known.name != owner.name)));
            }
            Ok(owners)
        };
        let found = tokio::task::spawn_blocking(look_up).await;
        let mut owners =
            found.map_err(|error| Denied::Unavailable(error.to_string()))?.map_err(unavailable)?;
        Ok(if owners.len() == 1 { owners.pop() } else { None })
    }

    async fn is_right(&self, account: Option<&Account>, password: &Secret) -> Result<bool, Denied> {
        if let Some(account) = account
            && self.recent().remembers(&account.principal.name, &account.hash, password, Instant::now())
        {
            return Ok(true);
        }
        let right = self.passwords.verify(account.map(|account| account.hash.clone()), password).await?;
        if let Some(account) = account.filter(|_| right) {
            self.recent().remember(&account.principal.name, &account.hash, password, Instant::now());
        }
        Ok(right)
    }

    fn recent(&self) -> std::sync::MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Principal {
    /// Whether he may send as this address: it is his, in any case, or it is his with a detail behind the delimiter
    /// (`anna+lists@example.org`).
    pub fn owns(&self, address: &Mailbox, delimiter: Option<char>) -> bool {
        let whole = address_key(address);
        let local = address.local.value();
        let without_detail = keyed(split_detail(&local, delimiter).0, &address.host);
        self.addresses.iter().map(address_key).any(|own| own == whole || own == without_detail)
    }

    fn is_called(&self, name: &str) -> bool {
        let key = sign_in_key(name);
        self.name == key || self.addresses.iter().any(|own| address_key(own) == key)
    }
}

/// What two addresses must have in common to be the same user's: the local part in any case and with or without
/// quotes, the domain in any case and either spelling.
fn address_key(address: &Mailbox) -> String {
    keyed(&address.local.value(), &address.host)
}

fn keyed(local: &str, host: &Host) -> String {
    format!("{}@{}", local.to_lowercase(), host.key().to_lowercase())
}

/// The form in which user names are stored and looked up; a name that is an address compares like one.
fn sign_in_key(name: &str) -> String {
    match name.parse::<Mailbox>() {
        Ok(address) => address_key(&address),
        Err(_) => name.to_lowercase(),
    }
}

fn usable_name(name: &str) -> Result<String, Error> {
    let reason = match name {
        "" => "it is empty",
        _ if name.len() > LONGEST_NAME => "it is longer than 255 octets",
        _ if name.chars().any(char::is_control) => "it holds control characters",
        _ if name.trim() != name => "it begins or ends with white space",
        _ => return Ok(sign_in_key(name)),
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
