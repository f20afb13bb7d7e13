//! The files of the CA's keys: PKCS #8 in PEM, locked by a passphrase (RFC 8018 PBES2) or not.
//!
//! PBKDF2 with SHA-256 and AES-256 in CBC is what both OpenSSL and GnuTLS open; scrypt only the former does.

use std::path::Path;

use pkcs8::der::Decode as _;
use pkcs8::der::pem::PemLabel as _;
use pkcs8::pkcs5::pbes2::Parameters;
use pkcs8::{EncryptedPrivateKeyInfoRef, PrivateKeyInfoRef, SecretDocument};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::AuthorityError;
use crate::request::pem;
use crate::{Error, Passphrase, PrivateKey, files};

/// Rounds of PBKDF2: what OWASP advises for SHA-256. They cost an honest administrator about a second.
const ROUNDS: u32 = 600_000;

/// How a key lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Whoever reads the file has it.
    Open,
    /// It needs its passphrase.
    Locked,
    /// It is not there; kept elsewhere, or lost.
    Missing,
}

/// How the key in this file lies.
pub(super) fn state(path: &Path) -> KeyState {
    match files::read_key(path) {
        Err(Error::EncryptedKey { .. }) => KeyState::Locked,
        Err(Error::Missing { .. }) => KeyState::Missing,
        _ => KeyState::Open,
    }
}

/// The key as the content of a file, locked if there is a passphrase.
pub(super) fn content(
    key: &PrivateKey,
    passphrase: Option<&Passphrase>,
) -> Result<Zeroizing<String>, AuthorityError> {
    let Some(passphrase) = passphrase else { return Ok(key.to_pem()) };
    if passphrase.is_empty() {
        return Err(AuthorityError::EmptyPassphrase);
    }
    let (mut salt, mut vector) = ([0; 16], [0; 16]);
    for octets in [&mut salt, &mut vector] {
        aws_lc_rs::rand::fill(octets).map_err(|error| AuthorityError::crypto(&error))?;
    }
    let method = Parameters::generate_pbkdf2_sha256_aes256cbc(ROUNDS, &salt, vector);
    let method = method.map_err(|error| AuthorityError::crypto(&error))?;
    let plain = PrivateKeyInfoRef::from_der(key.pkcs8()).map_err(|error| AuthorityError::crypto(&error))?;
    let locked = plain.encrypt_with_params(method, passphrase.expose().as_bytes());
    let locked = locked.map_err(|error| AuthorityError::crypto(&error))?;
    Ok(Zeroizing::new(pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, locked.as_bytes())))
}

/// Reads a key, and opens it if it is locked.
pub(super) fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<PrivateKey, AuthorityError> {
    let unusable = |reason: String| Error::UnusableKey { path: path.to_owned(), reason };
    match files::read_key(path) {
        Ok(key) => Ok(PrivateKey::from_der(&key).map_err(unusable)?),
        Err(Error::EncryptedKey { .. }) => {
            let key = path.to_owned();
            let passphrase = passphrase.ok_or(AuthorityError::PassphraseNeeded { key })?;
            unlock(path, passphrase)
        }
        Err(error) => Err(error.into()),
    }
}

fn unlock(path: &Path, passphrase: &Passphrase) -> Result<PrivateKey, AuthorityError> {
    let text = Zeroizing::new(files::read(path)?);
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let text = str::from_utf8(&text).map_err(|error| broken(error.to_string()))?;
    let (_, locked) = SecretDocument::from_pem(text.trim()).map_err(|error| broken(error.to_string()))?;
    let parsed = EncryptedPrivateKeyInfoRef::from_der(locked.as_bytes());
    let parsed = parsed.map_err(|error| broken(error.to_string()))?;
    let opened = parsed
        .decrypt(passphrase.expose().as_bytes())
        .map_err(|_| AuthorityError::WrongPassphrase { key: path.to_owned() })?;
    let opened = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(opened.as_bytes()));
    PrivateKey::from_der(&opened)
        .map_err(|reason| Error::UnusableKey { path: path.to_owned(), reason }.into())
}
