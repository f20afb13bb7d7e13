//! What can go wrong with keys and certificates, in words that say which file and what to do.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

use crate::RequestError;
use crate::ca::AuthorityError;

/// A trouble with keys, certificates or TLS settings. All of them are local: an administrator can mend them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not there.
    #[error("{path}: there is no such file")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is there, but cannot be read.
    #[error("{path}: cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("{path}: cannot be written: {source}")]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM.
    #[error(
        "{path}: is not a PEM file (the text that begins with -----BEGIN …); convert it with the openssl program"
    )]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// The file is PEM, but broken.
    #[error("{path}: is broken: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// PEM, but without a certificate.
    #[error("{path}: holds no certificate")]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// PEM, but without a private key.
    #[error("{path}: holds no private key")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is locked by a passphrase.
    #[error(
        "{path}: the private key is encrypted; write it without a passphrase: openssl pkey -in {path} -out plain.key"
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The private key is of a kind that cannot be used.
    #[error("{path}: the private key cannot be used: {reason}")]
    UnusableKey {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key belongs to another certificate.
    #[error("{key}: this key does not belong to the certificate in {certificate}")]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The private CA's root certificate is there and its key is not.
    #[error(
        "{key}: the private CA's key is missing, but its root certificate {root} is there; \
         restore the key from a backup, or move the root away to begin a new CA"
    )]
    CaKeyMissing {
        /// Where the key should be.
        key: PathBuf,
        /// The root certificate.
        root: PathBuf,
    },
    /// The private CA's root certificate is over.
    #[error(
        "{root}: the private CA's root certificate expired on {not_after}; \
         move it and its key away to begin a new CA, and import the new root on the clients"
    )]
    CaExpired {
        /// The root certificate.
        root: PathBuf,
        /// When it expired.
        not_after: Timestamp,
    },
    /// A name that no certificate can be issued for.
    #[error("no certificate can be issued for the name {name:?}")]
    BadName {
        /// The name.
        name: String,
    },
    /// A certificate was to be issued for no name at all.
    #[error("a certificate needs at least one name")]
    NoNames,
    /// A listener was given no identity.
    #[error("no usable certificate is loaded")]
    NoIdentity,
    /// A name that no identity in the store can have.
    #[error(
        "{name:?} cannot be an identity's name: letters, digits, hyphens, dots and underscores, not a dot first, \
         at most 100 in all"
    )]
    BadIdentityName {
        /// The name.
        name: String,
    },
    /// A certificate request cannot be made or believed.
    #[error(transparent)]
    Request(RequestError),
    /// The private CA is in trouble.
    #[error(transparent)]
    Authority(Box<AuthorityError>),
    /// A passphrase that protects nothing, or that cannot be typed everywhere.
    #[error("the passphrase {reason}; choose another")]
    BadPassphrase {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The cryptography library refused; this should not happen.
    #[error("the cryptography library refused: {0}")]
    Crypto(String),
}
