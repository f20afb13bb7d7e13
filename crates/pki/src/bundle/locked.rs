//! Keys and PKCS #12 files that a passphrase protects.
//!
//! Whoever calls this has looked at what opening costs ([`rounds`](super::rounds)).

use p12_keystore::Pkcs12Archive;
use p12_keystore::error::Error as ArchiveError;
use pkcs8::pkcs5::Error as LockError;
use pkcs8::{EncryptedPrivateKeyInfoRef, Error as KeyError, SecretDocument};

use super::{BundleTrouble, Locked, der, rounds};
use crate::Passphrase;

/// The key inside a protected one (PKCS #8, RFC 5958 §3).
pub(super) fn open_key(
    element: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<SecretDocument, BundleTrouble> {
    let passphrase = passphrase.ok_or(BundleTrouble::PassphraseNeeded(Locked::Key))?;
    let Ok(locked) = EncryptedPrivateKeyInfoRef::try_from(element) else {
        return Err(BundleTrouble::UnknownLock(Locked::Key));
    };
    locked.decrypt(passphrase.expose()).map_err(|error| match error {
        KeyError::EncryptedPrivateKey(
            LockError::UnsupportedAlgorithm { .. }
            | LockError::AlgorithmParametersInvalid { .. }
            | LockError::NoPbes1CryptSupport,
        ) => BundleTrouble::UnknownLock(Locked::Key),
        // With a wrong passphrase one file in 256 decrypts to rubbish, instead of not at all.
        _ => BundleTrouble::WrongPassphrase(Locked::Key),
    })
}

/// What is in a PKCS #12 file (RFC 7292). One without a passphrase has the empty one.
pub(super) fn open_pkcs12(
    element: &[u8],
    passphrase: Option<&Passphrase>,
) -> Result<Pkcs12Archive, BundleTrouble> {
    let text = passphrase.map_or("", Passphrase::expose);
    if text.chars().any(|c| u32::from(c) > 0xffff) {
        return Err(BundleTrouble::UnknownContainer(UNUSUAL_CHARACTER));
    }
    let opened = match Pkcs12Archive::from_pkcs12(element, text) {
        // The checksum was good, or there is none: what cannot be read is behind it.
        Err(ArchiveError::DerError(error)) => match der::pkcs12_inside_in_der(element) {
            Some(der) => Pkcs12Archive::from_pkcs12(&der, text),
            None => Err(error.into()),
        },
        other => other,
    };
    opened.map_err(|error| match error {
        ArchiveError::MacError(_) | ArchiveError::UnpadError | ArchiveError::Pkcs5Error(_) => {
            shut(passphrase)
        }
        ArchiveError::InvalidParameters => BundleTrouble::Costly { rounds: rounds::asked_by(element) },
        ArchiveError::UnsupportedEncryptionScheme | ArchiveError::UnsupportedMacAlgorithm => {
            BundleTrouble::UnknownLock(Locked::Pkcs12)
        }
        ArchiveError::UnsupportedContentType => BundleTrouble::UnknownContainer(FOR_A_PERSON),
        // Without a checksum a wrong passphrase is seen only by the rubbish that it makes.
        _ if is_encrypted_without_checksum(element) => shut(passphrase),
        other => BundleTrouble::Damaged { item: "PKCS #12 file", reason: other.to_string() },
    })
}

const UNUSUAL_CHARACTER: &str = "this is a PKCS #12 file, and the passphrase holds a character (such as an emoji) that \
                                 programs treat differently; export the file again with another password";
const FOR_A_PERSON: &str = "this PKCS #12 file is protected for a person or a machine instead of by a passphrase; \
                            export it again and choose a password";

fn shut(passphrase: Option<&Passphrase>) -> BundleTrouble {
    match passphrase {
        None => BundleTrouble::PassphraseNeeded(Locked::Pkcs12),
        Some(_) => BundleTrouble::WrongPassphrase(Locked::Pkcs12),
    }
}

/// RFC 7292 §4: the third part, MacData, may be missing.
fn is_encrypted_without_checksum(element: &[u8]) -> bool {
    der::parts_of(element) == 2 && rounds::asked_by(element) > 0
}
