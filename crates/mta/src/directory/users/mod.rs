//! Postern's own users: a directory in one file of its own.
//!
//! The types to know: [`Users`], the users in `users.db` in the data directory; [`User`], one of them as an administrator
//! sees him; [`AppPassword`], what is kept of one of the passwords that Postern makes, for its own users and for people whom
//! other directories know. The daemon and the command line open the file at the same time; a change is in force at the next
//! sign-in, without a reload.
//!
//! Beside the argon2id hash of a password stand its keys for SCRAM. Who was there before has none; he gets them when he next
//! signs in with the password itself, and until all have theirs SCRAM is not announced, for a program that finds it uses it.
//!
//! What it deliberately does not do: ask other directories (see `people`), or resolve aliases for recipients (routing does).

mod app_password;
mod behind;
mod database;
mod error;
mod keys;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use postern_smtp::address::Mailbox;
use postern_smtp::sasl::{SCRAM_ITERATIONS, ScramHash, ScramKeys};
use postern_smtp::secret::Secret;
use serde::{Deserialize, Serialize};

pub use error::Error;

use super::checker::Checker;
use super::complaint::Complaint;
use super::source::{address_key, key_of};
use super::{Abilities, AppPasswordUsed, Denied, Directory, Login, Principal, Why};
use crate::observe::Observer;
use behind::Behind;
use database::{Account, Database, Gaps, Hashed, NewRow, Owner};
use keys::{Keys, MAIN};

pub(super) use database::Found;
pub(super) use keys::salt_of;

/// The file of the users in the data directory.
const FILE: &str = "users.db";
/// What the directory of our own users is called.
pub(crate) const NAME: &str = "users";
/// The longest password, in octets.
const LONGEST_PASSWORD: usize = 1024;

/// The longest name of a group or an app password, in octets.
const LONGEST_LABEL: usize = 100;
/// How long it is remembered which keys are missing.
const GAPS_KEPT: Duration = Duration::from_secs(1);

/// Postern's own users. Cheap to clone: all clones share the same connections.
#[derive(Debug, Clone)]
pub struct Users {
    database: Arc<Database>,
    checker: Arc<Checker>,
    behind: Arc<Behind>,
    scram: Arc<Scram>,
}

/// What is known of SCRAM while the process runs.
#[derive(Debug, Default)]
struct Scram {
    /// Whether keys for SCRAM-SHA-1 are kept, too.
    sha1: AtomicBool,
    gaps: Mutex<Option<(Instant, Gaps)>>,
    /// The passwords whose keys are being worked out.
    busy: Mutex<HashSet<Whose>>,
    /// What is told when keys cannot be stored.
    complaint: Complaint,
}

/// Which password: the main one of this user, or the app password with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Whose {
    User(i64),
    AppPassword(i64),
}

/// A user as an administrator sees him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name, in lower case.
    pub name: String,
    /// The addresses that are his, in the order in which they were added.
    pub addresses: Vec<Mailbox>,
    /// The groups he is in, by name.
    pub groups: Vec<String>,
    /// Whether he may sign in at all.
    pub standing: Standing,
    /// Whether his main password counts.
    pub main_password: MainPassword,
    /// Whether he can sign in with SCRAM.
    pub scram: ScramState,
    /// How many app passwords he has.
    pub app_passwords: u32,
    /// When he was added.
    pub created: Timestamp,
    /// When his main password was last set.
    pub password_set: Timestamp,
    /// When he last signed in, to the minute.
    pub last_sign_in: Option<Timestamp>,
}

/// Whether a user may sign in at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// He may.
    Enabled,
    /// He may not; mail for his addresses is taken all the same.
    Disabled,
}

/// Whether a user's main password counts for sending mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MainPassword {
    /// It does.
    Allowed,
    /// Only app passwords do.
    Barred,
}

/// Whether a user can sign in with SCRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScramState {
    /// He can.
    Ready,
    /// His password was set before Postern kept keys: he has to sign in once more with PLAIN or LOGIN.
    AtNextSignIn,
}

/// An app password as an administrator sees it: never the password itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// Its name, one of its owner's.
    pub name: String,
    /// The only addresses that it may send as; empty: all that are its owner's.
    pub addresses: Vec<Mailbox>,
    /// When it was made.
    pub created: Timestamp,
    /// When somebody last signed in with it, to the minute.
    pub last_used: Option<Timestamp>,
    /// From where.
    pub last_client: Option<String>,
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
        let database = Arc::new(database);
        Ok(Self {
            behind: Arc::new(Behind::new(Arc::clone(&database))),
            database,
            checker: Arc::new(checker),
            scram: Arc::default(),
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

    /// Keeps keys for SCRAM-SHA-1 too from now on, or no longer makes them.
    pub fn keep_sha1(&self, keep: bool) {
        self.scram.sha1.store(keep, Ordering::Relaxed);
        self.scram.forget_gaps();
    }

    /// Has the administrator told of what fails behind a sign-in.
    pub(crate) fn tell(&self, observer: &Observer) {
        self.scram.complaint.tell(observer);
    }

    /// Adds a user. Takes a moment: passwords are slow to work out on purpose.
    ///
    /// # Errors
    /// The name or the password cannot be used, the name is taken, or an address is somebody else's.
    pub fn add(&self, name: &str, password: &Secret, addresses: &[Mailbox]) -> Result<(), Error> {
        let name = usable_name(name)?;
        let hashed = self.hashed(password, salt_of(self.database.nobody(), &name))?;
        self.database.add(&name, &hashed, addresses, Timestamp::now())
    }

    /// Gives a user another password. It is in force at once.
    ///
    /// # Errors
    /// There is no such user, or the password cannot be used.
    pub fn set_password(&self, name: &str, password: &Secret) -> Result<(), Error> {
        let name = key_of(name);
        let Some(account) = self.database.account(&name)?.filter(|account| account.principal.name == name)
        else {
            return Err(Error::NoSuchUser { name });
        };
        let hashed = self.hashed(password, account.kept.salt)?;
        self.database.set_password(&name, &hashed, Timestamp::now())
    }

    /// Says whether a user may sign in at all. In force at his next sign-in; sessions that are signed in go on.
    ///
    /// # Errors
    /// There is no such user.
    pub fn set_standing(&self, name: &str, standing: Standing) -> Result<(), Error> {
        self.database.set_standing(&key_of(name), standing)
    }

    /// Says whether a user's main password counts, or only his app passwords do.
    ///
    /// # Errors
    /// There is no such user.
    pub fn set_main_password(&self, name: &str, main: MainPassword) -> Result<(), Error> {
        self.database.set_main_password(&key_of(name), main)
    }

    /// Puts a user into a group. That he is in it already is no error.
    ///
    /// # Errors
    /// There is no such user, or the group's name cannot be used.
    pub fn add_group(&self, name: &str, group: &str) -> Result<(), Error> {
        let group = usable_label(group).map_err(|reason| Error::UnusableGroup { reason })?;
        self.database.add_group(&key_of(name), group)
    }

    /// Takes a user out of a group.
    ///
    /// # Errors
    /// There is no such user, or he is not in it.
    pub fn remove_group(&self, name: &str, group: &str) -> Result<(), Error> {
        self.database.remove_group(&key_of(name), group)
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

    /// What the salts of names are made of; the same for as long as the file is.
    pub(super) fn nobody(&self) -> &Secret {
        self.database.nobody()
    }

    /// Notes that somebody has signed in, with which app password and from where. Waits for nothing.
    pub(super) fn note(&self, principal: &Principal, client: IpAddr) {
        if principal.directory == NAME || principal.app_password.is_some() {
            self.behind.note(principal, client, Instant::now());
        }
    }

    /// Makes an app password for somebody whom this directory knows by this name, and hands it out: this once.
    ///
    /// # Errors
    /// Its name cannot be used or is taken, or he has too many.
    pub(super) fn add_app_password(
        &self,
        [directory, principal]: [&str; 2],
        name: &str,
        addresses: &[Mailbox],
    ) -> Result<Secret, Error> {
        let name = usable_label(name).map_err(|reason| Error::UnusableAppPasswordName { reason })?;
        let password = app_password::made()?;
        let digest = app_password::digest_of(&password)
            .ok_or_else(|| Error::Crypto("a new app password is not one".to_owned()))?;
        let account = if directory == NAME { self.database.account(principal)? } else { None };
        let keys = account.as_ref().map(|account| self.keys(&password, account)).unwrap_or_default();
        let owner = Owner { directory, principal, user: account.map(|account| account.id) };
        let row = NewRow { name, digest: &digest, keys: &keys, addresses };
        self.database.add_app_password(owner, &row, Timestamp::now())?;
        Ok(password)
    }

    /// The app passwords of somebody whom this directory knows by this name.
    ///
    /// # Errors
    /// Local: the database cannot be read.
    pub(super) fn app_passwords(&self, [directory, principal]: [&str; 2]) -> Result<Vec<AppPassword>, Error> {
        self.database.app_passwords(Owner { directory, principal, user: None })
    }

    /// Takes one away. In force at once.
    ///
    /// # Errors
    /// He has none of this name.
    pub(super) fn remove_app_password(
        &self,
        [directory, principal]: [&str; 2],
        name: &str,
    ) -> Result<(), Error> {
        self.database.remove_app_password(Owner { directory, principal, user: None }, name)
    }

    /// The directories in which people of this name have app passwords.
    ///
    /// # Errors
    /// Local: the database cannot be read.
    pub(super) fn app_password_owners(&self, principal: &str) -> Result<Vec<String>, Error> {
        self.database.owners_called(&key_of(principal))
    }

    /// Whether anybody has an app password. May be asked where nothing may block.
    pub(super) fn has_app_passwords(&self) -> bool {
        self.gaps().is_some_and(|gaps| !gaps.app_passwords)
    }

    /// The app password that this is, with whoever it belongs to. One look-up, and none for what cannot be one.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub(super) async fn app_password(&self, password: &Secret) -> Result<Option<Found>, Denied> {
        let Some(digest) = app_password::digest_of(password) else { return Ok(None) };
        self.read(move |database| database.app_password(&digest)).await
    }

    /// The user whom an app password belongs to, which was just given.
    ///
    /// # Errors
    /// [`Denied::Refused`] when he may not sign in, after the work that a wrong password is.
    pub(super) async fn by_app_password(&self, found: Found, password: &Secret) -> Result<Principal, Denied> {
        let Some(account) = &found.account else { return Err(Denied::Refused(Why::UnknownUser)) };
        if account.standing == Standing::Disabled {
            self.checker.is_right_at_cost(None, password).await?;
            return Err(Denied::Refused(Why::Disabled));
        }
        self.complete(Whose::AppPassword(found.id), account, &found.keys, password);
        Ok(Principal { app_password: Some(found.used), ..account.principal.clone() })
    }

    /// A password as it is to be stored.
    fn hashed(&self, password: &Secret, salt: Vec<u8>) -> Result<Hashed, Error> {
        let hash = self.checker.hash(usable_password(password)?)?;
        let keys = Keys::of(password, &salt, SCRAM_ITERATIONS, &self.hashes());
        if keys.sha256.is_none() {
            return Err(Error::UnusablePassword { reason: "it holds characters that SCRAM cannot say" });
        }
        Ok(Hashed { hash, salt, keys })
    }

    fn keys(&self, password: &Secret, account: &Account) -> Keys {
        Keys::of(password, &account.kept.salt, account.kept.iterations, &self.hashes())
    }

    /// The hashes for which keys are kept.
    fn hashes(&self) -> Vec<ScramHash> {
        let sha1 = self.scram.sha1.load(Ordering::Relaxed).then_some(ScramHash::Sha1);
        [ScramHash::Sha256].into_iter().chain(sha1).collect()
    }

    fn gaps(&self) -> Option<Gaps> {
        let mut known = self.scram.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((since, gaps)) if since.elapsed() < GAPS_KEPT => Some(gaps),
            _ => {
                let gaps = self.database.gaps().ok();
                *known = gaps.map(|gaps| (Instant::now(), gaps));
                gaps
            }
        }
    }

    /// Works the keys out that are missing of a password that was just right, behind the sign-in.
    fn complete(&self, whose: Whose, account: &Account, kept: &Keys, password: &Secret) {
        let missing = kept.missing(&self.hashes());
        if missing.is_empty() || !self.scram.begin(whose) {
            return;
        }
        let (users, account, password) = (self.clone(), account.clone(), password.clone());
        tokio::spawn(async move {
            let database = Arc::clone(&users.database);
            let work = move || {
                let keys = Keys::of(&password, &account.kept.salt, account.kept.iterations, &missing);
                match whose {
                    Whose::User(_) => database.add_keys(&account, &keys),
                    Whose::AppPassword(id) => database.add_app_keys(id, &keys),
                }
            };
            // What fails here is done again at the next sign-in.
            let stored = match users.checker.work(work).await {
                Ok(stored) => stored.map_err(|error| error.to_string()),
                Err(denied) => Err(denied.to_string()),
            };
            users.scram.note(stored);
            users.scram.end(whose);
        });
    }

    async fn account(&self, login: &Login) -> Result<Option<Account>, Denied> {
        let key = login.key().to_owned();
        self.read(move |database| database.account(&key)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Denied> {
        let database = Arc::clone(&self.database);
        let answer = tokio::task::spawn_blocking(move || question(&database)).await;
        answer.map_err(|error| Denied::Unavailable(error.to_string()))?.map_err(unavailable)
    }
}

impl Scram {
    fn begin(&self, whose: Whose) -> bool {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(whose)
    }

    fn note(&self, stored: Result<(), String>) {
        let what = |why| format!("the keys for SCRAM of a password that was right are not stored: {why}");
        self.complaint.note(stored.map_err(what), || {
            "make room, and let Postern's user write to users.db and its folder; SCRAM is not announced until all have \
             their keys"
                .to_owned()
        });
    }

    fn end(&self, whose: Whose) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&whose);
        self.forget_gaps();
    }

    fn forget_gaps(&self) {
        *self.gaps.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// One signs in with the user name or with one of his addresses. App passwords, [`Directories`](super::Directories) tries.
#[async_trait]
impl Directory for Users {
    fn abilities(&self) -> Abilities {
        let lacks = |hash: &ScramHash| match (hash, self.gaps()) {
            (_, None) => true,
            (ScramHash::Sha256, Some(gaps)) => gaps.sha256,
            (ScramHash::Sha1, Some(gaps)) => gaps.sha1,
        };
        let scram = self.hashes().into_iter().filter(|hash| !lacks(hash)).collect();
        Abilities { passwords: true, scram, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        let account = self.account(login).await?;
        let stored = account.as_ref().map(|account| account.hash.as_str());
        let right = match &account {
            Some(account) if account.takes_main_password() => {
                self.checker.is_right([NAME, &account.principal.name], stored, password).await?
            }
            // What would not count if it were right is never remembered: each time it costs what a wrong one does.
            _ => self.checker.is_right_at_cost(stored, password).await?,
        };
        let refused = match &account {
            None => Why::UnknownUser,
            Some(account) if account.standing == Standing::Disabled => Why::Disabled,
            Some(_) if !right => Why::WrongPassword,
            Some(account) if account.main_password == MainPassword::Barred => Why::AppPasswordNeeded,
            Some(account) => {
                self.complete(Whose::User(account.id), account, &account.kept.keys, password);
                return Ok(account.principal.clone());
            }
        };
        Err(Denied::Refused(refused))
    }

    async fn scram_keys(&self, login: &Login, hash: ScramHash) -> Result<Option<ScramKeys>, Denied> {
        let key = login.key().to_owned();
        self.read(move |database| database.scram_keys(&key, hash)).await
    }

    async fn by_scram(&self, login: &Login, label: u64) -> Result<Principal, Denied> {
        let Some(account) = self.account(login).await? else {
            return Err(Denied::Refused(Why::UnknownUser));
        };
        if account.standing == Standing::Disabled {
            return Err(Denied::Refused(Why::Disabled));
        }
        match label {
            MAIN if account.main_password == MainPassword::Barred => {
                Err(Denied::Refused(Why::AppPasswordNeeded))
            }
            MAIN => Ok(account.principal),
            label => {
                let found =
                    self.read(move |database| database.app_password_with(label.cast_signed())).await?;
                let his =
                    found.filter(|found| found.account.as_ref().is_some_and(|own| own.id == account.id));
                let found = his.ok_or(Denied::Refused(Why::WrongPassword))?;
                Ok(Principal { app_password: Some(found.used), ..account.principal })
            }
        }
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        let account = self.account(login).await?;
        let enabled = account.filter(|account| account.standing == Standing::Enabled);
        Ok(enabled.map(|account| account.principal))
    }
}

impl Account {
    fn takes_main_password(&self) -> bool {
        self.standing == Standing::Enabled && self.main_password == MainPassword::Allowed
    }
}

/// The name of a group or an app password.
fn usable_label(name: &str) -> Result<&str, &'static str> {
    match name {
        "" => Err("it is empty"),
        _ if name.len() > LONGEST_LABEL => Err("it is longer than 100 octets"),
        _ if name.chars().any(char::is_control) => Err("it holds control characters"),
        _ if name.trim() != name => Err("it begins or ends with white space"),
        _ => Ok(name),
    }
}

/// A user's name in the form in which names compare.
pub(super) fn usable_name(name: &str) -> Result<String, Error> {
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
