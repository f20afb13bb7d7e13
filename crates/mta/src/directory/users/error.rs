//! What can go wrong with the users, in words for whoever administers them.

use std::io;
use std::path::PathBuf;

/// A trouble with Postern's own users.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened or made.
    #[error("{path}: cannot be opened: {source}")]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is damaged, or not a list of users at all.
    #[error(
        "{path}: is damaged or not Postern's list of users ({reason}); restore it from a backup, or move it away to begin an empty one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer Postern.
    #[error(
        "{path}: was written by a newer Postern (format {found}, this one knows up to {known}); install that version again"
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format's number.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The database did not do as told: disk full, locked for too long, and the like.
    #[error("{path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// There is no user of this name.
    #[error("there is no user {name}")]
    NoSuchUser {
        /// The name.
        name: String,
    },
    /// There is a user of this name.
    #[error("there is a user {name} already")]
    UserExists {
        /// The name.
        name: String,
    },
    /// The address, or a name that reads like it, is another user's.
    #[error(
        "{address} belongs to the user {owner} already; take it from him first: postern user address remove {owner} {address}"
    )]
    AddressTaken {
        /// The address.
        address: String,
        /// Whose it is.
        owner: String,
    },
    /// The address reads like another user's name, with which he signs in.
    #[error("{address} is the name of another user, who signs in with it")]
    AddressIsName {
        /// The address.
        address: String,
    },
    /// The user does not have this address.
    #[error("{address} is not an address of {name}")]
    NotHisAddress {
        /// The user.
        name: String,
        /// The address.
        address: String,
    },
    /// The user is not in this group.
    #[error("{name} is not in the group {group}")]
    NotInGroup {
        /// The user.
        name: String,
        /// The group.
        group: String,
    },
    /// Neither Postern's own users nor any other directory knows this name.
    #[error("no directory knows {name}")]
    KnownToNobody {
        /// The name.
        name: String,
    },
    /// A directory that might know the name cannot be asked.
    #[error("{0}; is it running, reachable, and its configuration right?")]
    Directory(String),
    /// He has an app password of this name.
    #[error(
        "{user} has an app password {name:?} already; take another name, or remove that one first: postern user app-password remove {user} {name:?}"
    )]
    AppPasswordExists {
        /// The user.
        user: String,
        /// Its name.
        name: String,
    },
    /// He has no app password of this name.
    #[error("{user} has no app password {name:?}; `postern user app-password list {user}` shows all")]
    NoSuchAppPassword {
        /// The user.
        user: String,
        /// The name.
        name: String,
    },
    /// He has as many app passwords as one can have.
    #[error("{user} has {most} app passwords, which is the most; remove one that is no longer used")]
    TooManyAppPasswords {
        /// The user.
        user: String,
        /// How many one can have.
        most: i64,
    },
    /// The name of an app password cannot be used.
    #[error("this name for an app password cannot be used: {reason}")]
    UnusableAppPasswordName {
        /// Why not.
        reason: &'static str,
    },
    /// The name of a group cannot be used.
    #[error("this name for a group cannot be used: {reason}")]
    UnusableGroup {
        /// Why not.
        reason: &'static str,
    },
    /// The user name cannot be used.
    #[error("this user name cannot be used: {reason}")]
    UnusableName {
        /// Why not.
        reason: &'static str,
    },
    /// The password cannot be used.
    #[error("this password cannot be used: {reason}")]
    UnusablePassword {
        /// Why not.
        reason: &'static str,
    },
    /// The cryptography library refused; this should not happen.
    #[error("the password could not be worked out: {0}")]
    Crypto(String),
}
