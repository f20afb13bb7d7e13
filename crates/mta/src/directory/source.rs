//! What every directory has in common: who asks, who answers, and why it was no.
//!
//! The types to know:
//! - [`Directory`]: one place that principals come from. It judges proofs; it does not count failures, wait, or remember.
//! - [`Login`]: what somebody calls himself, already cleaned: no directory ever sees a control character in a name.
//! - [`Principal`]: somebody who has signed in. [`Denied`]: why somebody could not, and [`Why`] for the log alone.
//!
//! What it deliberately does not do: ask several directories (see `directories`), or decide what a principal may send.

use std::fmt;

use async_trait::async_trait;
use postern_smtp::address::{Domain, Host, Mailbox, split_detail};
use postern_smtp::sasl::{ScramFault, ScramHash, ScramKeys};
use postern_smtp::secret::Secret;

/// The longest user name, in octets.
const LONGEST_NAME: usize = 255;
/// The most addresses that one person may have, and the most groups; what a directory says beyond is passed over.
pub(crate) const MOST_LISTED: usize = 1000;

/// One place that principals come from. Implementations are asked in parallel and bound their own connections; how long a
/// question may take is bounded by whoever asks.
#[async_trait]
pub trait Directory: fmt::Debug + Send + Sync {
    /// What it can judge.
    fn abilities(&self) -> Abilities;

    /// Whose name and password these are.
    ///
    /// # Errors
    /// [`Denied::Refused`] when they are nobody's; where the password is compared here, after the same work whether the user
    /// exists or not. [`Denied::Unavailable`] when it cannot be told.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied>;

    /// Whose access token this is. The client may claim a name, which must then be one of the owner's; without one, who the
    /// owner is stands in the token alone (RFC 7628 §3.1).
    ///
    /// # Errors
    /// As [`by_password`](Self::by_password).
    async fn by_token(&self, _claimed: Option<&Login>, _token: &Secret) -> Result<Principal, Denied> {
        Err(Denied::Refused(Why::NotJudgedHere))
    }

    /// What is kept of a user's passwords for SCRAM; `None`: there is no such user, or nothing is kept.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when it cannot be told.
    async fn scram_keys(&self, _login: &Login, _hash: ScramHash) -> Result<Option<ScramKeys>, Denied> {
        Ok(None)
    }

    /// Who has proved by SCRAM to know the password with this label of [`scram_keys`](Self::scram_keys).
    ///
    /// # Errors
    /// As [`by_password`](Self::by_password): the password may have been taken away meanwhile.
    async fn by_scram(&self, login: &Login, _label: u64) -> Result<Principal, Denied> {
        self.look_up(login).await?.ok_or(Denied::Refused(Why::UnknownUser))
    }

    /// Who this is, without a proof: for administrators' questions, certificates, app passwords and trusted front ends.
    /// `None`: nobody, or somebody who may not sign in. Where names are [`Names::Taken`], everybody is as he calls himself.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when it cannot be told.
    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        Ok(match self.abilities().names {
            Names::Known => None,
            Names::Taken => Some(Principal::as_called(login)),
        })
    }
}

/// What a directory can judge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Passwords in clear: PLAIN and LOGIN.
    pub passwords: bool,
    /// The hashes for which it keeps SCRAM keys of all its users.
    pub scram: Vec<ScramHash>,
    /// Access tokens: OAUTHBEARER and XOAUTH2.
    pub tokens: bool,
    /// What it can say of a name without a proof.
    pub names: Names,
}

/// What a directory can say of a name alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// Whether somebody is called so, and who.
    #[default]
    Known,
    /// Nothing: a name is taken as it stands, after all that know names have said that it is nobody's.
    Taken,
}

/// What somebody calls himself when he signs in: UTF-8, 1 to 255 octets, no control characters, no blanks around it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Login {
    written: String,
    key: String,
}

/// Somebody who has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// His name, in lower case; never the address that he may have signed in with.
    pub name: String,
    /// The directory that knows him.
    pub directory: String,
    /// The addresses that are his.
    pub addresses: Vec<Mailbox>,
    /// The groups he is in, as his directory names them.
    pub groups: Vec<String>,
    /// What he signed in with, when it was an app password.
    pub app_password: Option<AppPasswordUsed>,
}

/// The app password that somebody signed in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppPasswordUsed {
    /// Its name.
    pub name: String,
    /// The only addresses that it may send as; empty: all that are his.
    pub addresses: Vec<Mailbox>,
}

/// Why somebody could not sign in, or a question could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The answer is no. Why is told to nobody but the administrator.
    #[error("{0}")]
    Refused(Why),
    /// The directory is out of order; the words are for the log.
    #[error("the user directory is not available: {0}")]
    Unavailable(String),
}

/// Why the answer was no: for the log, never for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// No directory knows the name.
    #[error("there is no such user")]
    UnknownUser,
    /// The password is not the user's.
    #[error("wrong password")]
    WrongPassword,
    /// The password is not the user's, or there is no such user: who judged it does not say which.
    #[error("wrong password, or there is no such user")]
    WrongOrUnknown,
    /// The name cannot be anybody's.
    #[error("no user can have this name")]
    UnusableName,
    /// The account may not be used.
    #[error("the account is disabled")]
    Disabled,
    /// The directory lets nobody in on this account at present.
    #[error("the account may not be used: {0}")]
    Account(&'static str),
    /// The directory has more than one entry for the name, so that nobody can say whose password it would be.
    #[error("the directory has several entries for this name: make its filter find one")]
    SeveralEntries,
    /// The main password is right, but may not be used for sending mail.
    #[error("the password is right, but only app passwords may be used here")]
    AppPasswordNeeded,
    /// An administrator has banned the account.
    #[error("the account is banned: {0}")]
    Banned(String),
    /// He wants to act as somebody else.
    #[error("the proof is right, but is not for acting as another user")]
    ActingAs,
    /// The access token is no good.
    #[error("the access token is refused: {0}")]
    BadToken(String),
    /// No directory judges proofs of this kind.
    #[error("no directory judges this kind of proof")]
    NotJudgedHere,
    /// The proof was given on another channel, or in another exchange.
    #[error("{0}")]
    VoidProof(ScramFault),
    /// There is nothing that could be judged.
    #[error("no proof was given")]
    NoProof,
    /// The certificate's addresses are nobody's, or of several users.
    #[error("the certificate bears the addresses of no user, or of several")]
    CertificateOfNobody,
}

impl Login {
    /// A name that can be somebody's.
    pub fn new(name: &str) -> Option<Self> {
        let usable = !name.is_empty()
            && name.len() <= LONGEST_NAME
            && !name.chars().any(char::is_control)
            && name.trim() == name;
        usable.then(|| Self { written: name.to_owned(), key: key_of(name) })
    }

    /// As it was written.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// The form in which names compare: in lower case, an address in its usual spelling.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// It as an address, when it is one.
    pub fn address(&self) -> Option<Mailbox> {
        self.written.parse().ok()
    }

    /// What stands before the `@`, or all of it, in lower case.
    pub fn local(&self) -> &str {
        self.key.rsplit_once('@').map_or(self.key.as_str(), |(local, _)| local)
    }

    /// The domain, when the name is an address.
    pub fn domain(&self) -> Option<Domain> {
        match self.address()?.host {
            Host::Domain(domain) => Some(domain),
            Host::Literal(_) => None,
        }
    }
}

impl Principal {
    /// Somebody with a name and addresses, of no group. Which directory knows him, [`Directories`](super::Directories) says.
    pub fn named(name: impl Into<String>, addresses: Vec<Mailbox>) -> Self {
        Self {
            name: name.into(),
            directory: String::new(),
            addresses,
            groups: Vec::new(),
            app_password: None,
        }
    }

    /// Somebody of whom nothing is known but what he calls himself.
    pub(super) fn as_called(login: &Login) -> Self {
        Self::named(login.key(), Vec::new())
    }

    /// Whether this address is his: in any case, or with a detail behind the delimiter (`anna+lists@example.org`).
    pub fn owns(&self, address: &Mailbox, delimiter: Option<char>) -> bool {
        is_among(&self.addresses, address, delimiter)
    }

    /// Whether this is another of his names: his name, or one of his addresses.
    pub fn is_called(&self, name: &str) -> bool {
        let key = key_of(name);
        self.name == key || self.addresses.iter().any(|own| address_key(own) == key)
    }
}

/// Whether an address is one of these, in any case, or one of them with a detail behind the delimiter.
pub(crate) fn is_among(addresses: &[Mailbox], address: &Mailbox, delimiter: Option<char>) -> bool {
    let whole = address_key(address);
    let local = address.local.value();
    let without_detail = keyed(split_detail(&local, delimiter).0, &address.host);
    addresses.iter().map(address_key).any(|own| own == whole || own == without_detail)
}

/// What two addresses must have in common to be the same user's: the local part in any case and with or without
/// quotes, the domain in any case and either spelling.
pub(crate) fn address_key(address: &Mailbox) -> String {
    keyed(&address.local.value(), &address.host)
}

/// The form in which user names are stored and looked up; a name that is an address compares like one.
pub(crate) fn key_of(name: &str) -> String {
    match name.parse::<Mailbox>() {
        Ok(address) => address_key(&address),
        Err(_) => name.to_lowercase(),
    }
}

fn keyed(local: &str, host: &Host) -> String {
    format!("{}@{}", local.to_lowercase(), host.key().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_clean_and_compares_like_an_address() {
        for name in ["", " anna", "anna ", "an\0na", "anna\n", "anna\u{7f}", &"a".repeat(256)] {
            assert_eq!(Login::new(name), None, "{name:?}");
        }
        let login = Login::new("Anna@BÜCHER.example").unwrap();
        assert_eq!(login.as_written(), "Anna@BÜCHER.example");
        assert_eq!(login.key(), Login::new("\"anna\"@xn--bcher-kva.example").unwrap().key());
        assert_eq!(login.local(), "anna");
        assert_eq!(login.domain(), "xn--bcher-kva.example".parse().ok(), "in either spelling");
        assert_eq!(Login::new("Anna").unwrap().domain(), None);
        assert_eq!(Login::new("CORP\\Anna").unwrap().local(), "corp\\anna");
    }
}
