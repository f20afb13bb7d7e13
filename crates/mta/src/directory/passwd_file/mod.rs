//! People in a file: Dovecot's passwd-file, or shadow(5).
//!
//! A [`PasswdFile`] keeps an index of the file in memory and looks at each question whether the file is still the same, by its
//! time, size and inode; so a change is in force at once, without a reload. A line that cannot be read is passed over, and
//! `postern config check` names it ([`problems`]). A file that is missing, too big, or written at this very moment is out of
//! order, which is not the same as a wrong password.
//!
//! Asked for, it stores a password that was right anew as argon2id (see `rewrite`). What it deliberately does not do: know of
//! Dovecot's `allow_nets` and `nopassword`: whoever has one of them cannot sign in here.

mod lines;
mod rewrite;

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jiff::Timestamp;
use postern_smtp::sasl::{ScramHash, ScramKeys};
use postern_smtp::secret::Secret;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::account::{Account, Judge, Standing};
use super::checker::Checker;
use super::complaint::Complaint;
use super::crypt::Crypt;
use super::rehash::Rehash;
use super::{Abilities, Denied, Directory, Login, Principal};
use crate::config::{NamePart, PasswdFile as Settings};
use lines::{Index, Line};

/// The biggest file that is read, in octets: some 100,000 people.
const BIGGEST: u64 = 16 << 20;
/// A file that was changed so short a time ago may be changed again without its time telling.
const UNSETTLED: Duration = Duration::from_secs(1);
const DAY: i64 = 24 * 60 * 60;

/// The people in a file.
#[derive(Debug)]
pub(super) struct PasswdFile {
    settings: Settings,
    judge: Judge,
    read: Arc<Mutex<Option<Reading>>>,
    rehash: Rehash,
}

/// What was last read, and of which file.
#[derive(Debug)]
struct Reading {
    stamp: Stamp,
    at: SystemTime,
    index: Arc<Index>,
}

/// What tells that a file is still the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl PasswdFile {
    pub(super) fn new(
        settings: &Settings,
        directory: &str,
        checker: Arc<Checker>,
        complaint: Complaint,
    ) -> Self {
        let rehash = Rehash::new(Arc::clone(&checker), complaint);
        let judge = Judge { directory: directory.to_owned(), checker, clear: settings.clear };
        let file = Self { settings: settings.clone(), judge, read: Arc::default(), rehash };
        // So that what it can do is known from the start; when it cannot be read, each question tries again.
        let _ = index(&file.read, settings);
        file
    }

    async fn find(&self, login: &Login) -> Result<(Arc<Index>, Option<Arc<Line>>), Denied> {
        let (read, settings) = (Arc::clone(&self.read), self.settings.clone());
        let found = spawn_blocking(move || index(&read, &settings)).await;
        let index =
            found.map_err(|error| error.to_string()).and_then(|index| index).map_err(Denied::Unavailable)?;
        let name = match self.settings.names {
            NamePart::Whole => login.key(),
            NamePart::Local => login.local(),
        };
        let line = index.people.get(name).cloned();
        Ok((index, line))
    }

    async fn account(&self, login: &Login) -> Result<Option<Account>, Denied> {
        let (_, line) = self.find(login).await?;
        Ok(line.map(|line| account(&line, Timestamp::now())).filter(Account::is_open))
    }

    /// Stores the password anew, beside the sign-in that showed it to be right.
    fn restore(&self, line: Arc<Line>, password: Secret) {
        let path = self.settings.path.clone();
        let directory = &self.judge.directory;
        let what = format!("{directory}: rehash does not store a password anew in {}", path.display());
        let remedy = "let Postern's user read the file and write to its folder, or set rehash = false; the password counts \
                      as it was stored";
        self.rehash.begin(password, [what, remedy.to_owned()], |hash| async move {
            let scheme = Zeroizing::new(format!("{{ARGON2ID}}{}", hash.expose_str().unwrap_or_default()));
            let stored = Secret::new(scheme.as_str());
            let put = spawn_blocking(move || rewrite::put_password(&path, &line, &stored)).await;
            put.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        });
    }
}

#[async_trait]
impl Directory for PasswdFile {
    fn abilities(&self) -> Abilities {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let keeps =
            |hash: &ScramHash| read.as_ref().is_some_and(|read| read.index.typical.is_all_scram(*hash));
        let scram = [ScramHash::Sha256, ScramHash::Sha1].into_iter().filter(keeps).collect();
        Abilities { passwords: true, scram, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        let (index, line) = self.find(login).await?;
        let account = line.as_ref().map(|line| account(line, Timestamp::now()));
        let typical = index.typical.nobody().cloned();
        let crypt: Crypt = self.judge.compare(login, account.as_ref(), typical, password).await?;
        let (Some(line), Some(account)) = (line, account) else {
            return Err(Denied::Unavailable("nobody's password was right".to_owned()));
        };
        if self.settings.rehash.is_wanted() && crypt.is_dated() {
            self.restore(line, password.clone());
        }
        Ok(account.principal)
    }

    async fn scram_keys(&self, login: &Login, hash: ScramHash) -> Result<Option<ScramKeys>, Denied> {
        let account = self.account(login).await?;
        Ok(account.and_then(|account| self.judge.scram_keys(&account, hash)))
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        Ok(self.account(login).await?.map(|account| account.principal))
    }
}

/// What is wrong with the lines of a file, each with its number.
///
/// # Errors
/// Why it cannot be read at all.
pub(crate) fn problems(settings: &Settings) -> Result<Vec<String>, String> {
    let reading = read(settings)?;
    Ok(reading.index.problems.iter().map(|(line, what)| format!("line {line}: {what}")).collect())
}

fn account(line: &Line, now: Timestamp) -> Account {
    let today = now.as_second().div_euclid(DAY);
    let standing = match line.closed_from {
        Some(day) if day <= today => Standing::Closed,
        _ => Standing::Open,
    };
    Account { principal: line.principal.clone(), stored: line.stored.clone(), standing }
}

/// The index of the file as it is now.
fn index(slot: &Mutex<Option<Reading>>, settings: &Settings) -> Result<Arc<Index>, String> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let metadata = fs::metadata(&settings.path).map_err(|error| unreadable(&settings.path, &error))?;
    if let Some(known) = slot.as_ref().filter(|known| known.is_of(&metadata)) {
        return Ok(Arc::clone(&known.index));
    }
    let reading = read(settings)?;
    let index = Arc::clone(&reading.index);
    *slot = Some(reading);
    Ok(index)
}

fn read(settings: &Settings) -> Result<Reading, String> {
    let path = &settings.path;
    let broken = |error: &std::io::Error| unreadable(path, error);
    let at = SystemTime::now();
    let file = File::open(path).map_err(|error| broken(&error))?;
    let before = Stamp::of(&file.metadata().map_err(|error| broken(&error))?);
    let content = bounded(&file, path)?;
    if Stamp::of(&file.metadata().map_err(|error| broken(&error))?) != before {
        return Err(format!(
            "{} was written while it was read; rename a finished file over it",
            path.display()
        ));
    }
    let index = Arc::new(Index::parse(content.expose(), settings.format, settings.clear));
    Ok(Reading { stamp: before, at, index })
}

/// All of a file that is not too big.
fn bounded(file: &File, path: &Path) -> Result<Secret, String> {
    let mut content = Vec::new();
    let length = file.take(BIGGEST + 1).read_to_end(&mut content);
    let content = Secret::new(content);
    match length {
        Err(error) => Err(unreadable(path, &error)),
        Ok(length) if length as u64 > BIGGEST => {
            Err(format!("{} is bigger than {} MiB; use a database", path.display(), BIGGEST >> 20))
        }
        Ok(_) => Ok(content),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

impl Reading {
    /// Whether the file is still what was read. One that had just been changed when it was read may have been changed once
    /// more within the same tick of the file system's clock.
    fn is_of(&self, metadata: &Metadata) -> bool {
        let settled = metadata.modified().ok().and_then(|modified| self.at.duration_since(modified).ok());
        self.stamp == Stamp::of(metadata) && settled.is_some_and(|age| age >= UNSETTLED)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests;
