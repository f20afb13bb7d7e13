//! Somebody as a directory keeps him that tells stored passwords and leaves the comparing to Postern.
//!
//! An [`Account`] is what a passwd-file or a database says of somebody. A [`Judge`] compares his stored password with the one
//! that is brought, with the same work for a name that does not exist, for a locked account and for a wrong password.
//!
//! What it deliberately does not do: find accounts (the directories do).

use std::sync::Arc;

use postern_smtp::address::Mailbox;
use postern_smtp::sasl::{ScramHash, ScramKeys};
use postern_smtp::secret::Secret;

use super::checker::{self, Checker};
use super::crypt::{Crypt, Unfit};
use super::source::MOST_LISTED;
use super::{Denied, Login, Principal, Why};
use crate::config::ClearPasswords;

/// Somebody whom a directory knows.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) principal: Principal,
    /// His password as it is stored; empty: there is none.
    pub(super) stored: Secret,
    pub(super) standing: Standing,
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Open,
    Closed,
}

/// Compares passwords for one directory.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    /// The directory's name.
    pub(super) directory: String,
    pub(super) checker: Arc<Checker>,
    pub(super) clear: ClearPasswords,
}

impl Account {
    pub(super) fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }

    /// His stored password, read.
    pub(super) fn crypt(&self, clear: ClearPasswords) -> Result<Crypt, Unfit> {
        let text = self.stored.expose_str().ok_or(Unfit::Broken("text"))?;
        Crypt::parse(text, clear)
    }
}

impl Judge {
    /// Whether the password is this account's, and what it was compared with. `typical` is what nobody's password is
    /// compared with.
    ///
    /// # Errors
    /// As [`Directory::by_password`](super::Directory::by_password).
    pub(super) async fn compare(
        &self,
        login: &Login,
        account: Option<&Account>,
        typical: Option<Crypt>,
        password: &Secret,
    ) -> Result<Crypt, Denied> {
        let read = account.map(|account| (account, account.crypt(self.clear)));
        let (account, crypt) = match read {
            Some((account, Ok(crypt))) => (account, crypt),
            Some((account, Err(unfit))) if unfit != Unfit::Locked => {
                return Err(unfit.denied(&account.principal.name));
            }
            locked_or_nobody => {
                let nobody = typical.map_or_else(checker::nobody, Ok)?;
                self.checker.fits([&self.directory, login.key()], &nobody, password).await?;
                let why = if locked_or_nobody.is_some() { Why::Disabled } else { Why::UnknownUser };
                return Err(Denied::Refused(why));
            }
        };
        let name = &account.principal.name;
        let right = self.checker.fits([&self.directory, name], &crypt, password).await?;
        match account.standing {
            _ if !right => Err(Denied::Refused(Why::WrongPassword)),
            Standing::Closed => Err(Denied::Refused(Why::Disabled)),
            Standing::Open => Ok(crypt),
        }
    }

    /// What is kept of his password for SCRAM.
    pub(super) fn scram_keys(&self, account: &Account, hash: ScramHash) -> Option<ScramKeys> {
        account.crypt(self.clear).ok().filter(|_| account.is_open())?.scram_keys(hash)
    }
}

/// The addresses in a list with commas or blanks between them; what is none is left out.
pub(super) fn addresses(list: &str) -> Vec<Mailbox> {
    items(list).filter_map(|item| item.parse().ok()).collect()
}

/// What stands between commas and blanks, up to a bound.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    let items = list.split(|letter: char| letter == ',' || letter.is_whitespace());
    items.filter(|item| !item.is_empty()).take(MOST_LISTED)
}
