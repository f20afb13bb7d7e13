//! What can go wrong with the private CA, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::policy::PolicyError;
use super::records::State;
use crate::{Error, RequestError};

/// A trouble with the private CA. Those of a request are its sender's; all others are the administrator's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file, a key or the cryptography.
    #[error(transparent)]
    Local(Box<Error>),
    /// There is a CA already.
    #[error(
        "{folder} holds a CA already; a new one would make everything that was issued worthless. If that is meant, move \
         the folder away (mv {folder} {folder}.old), make the new CA, and import its root wherever the old one is trusted"
    )]
    Exists {
        /// Its folder.
        folder: PathBuf,
    },
    /// There is no CA.
    #[error("{folder} holds no CA; make one with: postern ca init")]
    Absent {
        /// Where it would be.
        folder: PathBuf,
    },
    /// The key is locked, and no passphrase was given.
    #[error(
        "{key}: the CA's key is locked by a passphrase; give it, or name a file that holds it as [ca] passphrase_file"
    )]
    PassphraseNeeded {
        /// The key's file.
        key: PathBuf,
    },
    /// The passphrase does not open the key.
    #[error("{key}: this passphrase does not open the CA's key")]
    WrongPassphrase {
        /// The key's file.
        key: PathBuf,
    },
    /// A passphrase that would protect nothing.
    #[error("an empty passphrase protects nothing; give a longer one, or none")]
    EmptyPassphrase,
    /// The key is not there.
    #[error(
        "{key}: the key of {certificate} is missing; restore it from a backup, nothing can be signed without it"
    )]
    KeyMissing {
        /// Where the key should be.
        key: PathBuf,
        /// The certificate that it belongs to.
        certificate: PathBuf,
    },
    /// The certificate that signs ends, so that nothing more can be issued under it.
    #[error("{certificate}: the CA's certificate ended on {not_after}; {remedy}")]
    Ended {
        /// Its file.
        certificate: PathBuf,
        /// When it ended.
        not_after: Timestamp,
        /// What to do.
        remedy: &'static str,
    },
    /// What is asked for is not allowed.
    #[error(transparent)]
    Forbidden(#[from] PolicyError),
    /// The request itself is broken.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The key was revoked because somebody else may have it.
    #[error(
        "a certificate for this very key was revoked because others may have the key; make a new key (move the old one \
         away), and ask again with that"
    )]
    CompromisedKey,
    /// Too many requests wait.
    #[error(
        "{waiting} requests wait for approval already; approve or deny some of them first (postern ca requests)"
    )]
    Full {
        /// How many.
        waiting: u64,
    },
    /// There is no such request.
    #[error("there is no request {id}; see: postern ca requests")]
    NoSuchRequest {
        /// What was looked for.
        id: String,
    },
    /// The request was decided on before.
    #[error("request {id} is {state} and waits no more; let a new one be sent")]
    NotWaiting {
        /// The request.
        id: String,
        /// What became of it.
        state: State,
    },
    /// There is no such certificate.
    #[error(
        "no certificate with the serial number or name {which} was issued here; see: postern ca list --all"
    )]
    NoSuchCertificate {
        /// What was looked for.
        which: String,
    },
    /// It is revoked already.
    #[error("certificate {serial} was revoked on {at} already")]
    AlreadyRevoked {
        /// The certificate.
        serial: String,
        /// When.
        at: Timestamp,
    },
    /// A serial number that is none.
    #[error("{text:?} is no serial number: 1 to 20 octets in hexadecimal digits, with or without colons")]
    BadSerial {
        /// What was given.
        text: String,
    },
    /// A reason that is none.
    #[error("{text:?} is no reason to revoke a certificate; choose one of {known}")]
    BadReason {
        /// What was given.
        text: String,
        /// All that there are.
        known: String,
    },
    /// Certificates were revoked, and no list says so.
    #[error(
        "{folder}: certificates were revoked, and no revocation list of them was signed; sign it with: postern ca crl --sign"
    )]
    NoList {
        /// The CA's folder.
        folder: PathBuf,
    },
    /// The records' file cannot be opened.
    #[error("{path}: cannot be opened: {source}")]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The records could not be read or written.
    #[error("{path}: the CA's records could not be used: {source}")]
    Records {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The records are damaged.
    #[error(
        "{path}: the CA's records are damaged or not Postern's ({reason}); restore them from a backup: what was issued \
         and not recorded cannot be revoked"
    )]
    RecordsDamaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The records are lost.
    #[error(
        "{path}: the CA's records are missing; restore them from a backup, or what was revoked would count again. If there \
         is none: postern ca begin-records keeps what the last revocation list says, and forgets what else was issued"
    )]
    RecordsMissing {
        /// Where they were.
        path: PathBuf,
    },
    /// Records were to be begun, and there are some.
    #[error("{path}: the CA has records; move them away first if they cannot be used and there is no backup")]
    RecordsThere {
        /// The file.
        path: PathBuf,
    },
    /// The records were written by a newer Postern.
    #[error(
        "{path}: was written by a newer Postern (version {found}, known here: {known}); install that one"
    )]
    RecordsTooNew {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
}

impl AuthorityError {
    /// Names the file, which those who speak to the database do not know.
    pub(super) fn at(self, file: &Path) -> Self {
        match self {
            Self::Records { source, .. } => super::records::of_sqlite(file, source),
            Self::RecordsDamaged { reason, .. } => Self::RecordsDamaged { path: file.to_owned(), reason },
            other => other,
        }
    }

    /// A row that makes no sense.
    pub(super) fn damaged(reason: impl Into<String>) -> Self {
        Self::RecordsDamaged { path: PathBuf::new(), reason: reason.into() }
    }

    pub(super) fn crypto(error: &dyn std::error::Error) -> Self {
        Error::Crypto(error.to_string()).into()
    }
}

impl From<Error> for AuthorityError {
    fn from(error: Error) -> Self {
        match error {
            Error::Authority(error) => *error,
            other => Self::Local(Box::new(other)),
        }
    }
}

impl From<AuthorityError> for Error {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Local(error) => *error,
            other => Self::Authority(Box::new(other)),
        }
    }
}

impl From<rusqlite::Error> for AuthorityError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Records { path: PathBuf::new(), source }
    }
}
