//! What is kept of a user's passwords for SCRAM (RFC 5802 §3), beside their argon2id hashes.
//!
//! [`Keys`] are those of one password; [`Kept`] is what is kept of one user: the salt that all his passwords share, and the
//! keys of the main one. A key is stored as `StoredKey` and `ServerKey`, one behind the other. [`salt_of`] makes a salt of a
//! name, for users and for nobody alike.
//!
//! What it deliberately does not do: verify anything (the session does), or read the file.

use std::num::NonZeroU32;

use postern_smtp::sasl::{SCRAM_ITERATIONS, ScramHash, ScramKey, ScramKeys};
use postern_smtp::secret::Secret;

/// The label of the main password's key. Those of app passwords are their numbers in the file, which begin with 1.
pub(super) const MAIN: u64 = 0;

/// The keys of one password.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) sha256: Option<Secret>,
    pub(super) sha1: Option<Secret>,
}

/// What is kept of one user for SCRAM.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) salt: Vec<u8>,
    pub(super) iterations: NonZeroU32,
    /// Of the main password.
    pub(super) keys: Keys,
}

impl Keys {
    /// Works them out: some 20 ms of a processor for each hash. A hash for which SCRAM has no way to say this password has none.
    pub(super) fn of(password: &Secret, salt: &[u8], iterations: NonZeroU32, hashes: &[ScramHash]) -> Self {
        let packed = |hash| {
            let key =
                hashes.contains(&hash).then(|| ScramKey::of(hash, password, salt, iterations, MAIN))??;
            Some(Secret::new([key.stored.expose(), key.server.expose()].concat()))
        };
        Self { sha256: packed(ScramHash::Sha256), sha1: packed(ScramHash::Sha1) }
    }

    pub(super) fn of_hash(&self, hash: ScramHash) -> Option<&Secret> {
        match hash {
            ScramHash::Sha256 => self.sha256.as_ref(),
            ScramHash::Sha1 => self.sha1.as_ref(),
        }
    }

    /// Those of these hashes that are not there.
    pub(super) fn missing(&self, hashes: &[ScramHash]) -> Vec<ScramHash> {
        hashes.iter().copied().filter(|hash| self.of_hash(*hash).is_none()).collect()
    }
}

/// A stored key; `None`: it is not one of this hash.
pub(super) fn unpacked(packed: &Secret, hash: ScramHash, label: u64) -> Option<ScramKey> {
    let length = match hash {
        ScramHash::Sha256 => 32,
        ScramHash::Sha1 => 20,
    };
    let octets = packed.expose();
    let (stored, server) = octets.split_at_checked(length).filter(|(_, server)| server.len() == length)?;
    Some(ScramKey { label, stored: Secret::new(stored), server: Secret::new(server) })
}

/// The salt of whoever signs in with this name, whether he exists or not: what stands before the `@` decides, so that a user's
/// name and the address that looks like it have one salt, as two names of nobody have. It never changes.
pub(in crate::directory) fn salt_of(secret: &Secret, name: &str) -> Vec<u8> {
    let name = name.to_lowercase();
    let local = name.rsplit_once('@').map_or(name.as_str(), |(local, _)| local);
    ScramKeys::for_nobody(secret.expose(), local, SCRAM_ITERATIONS).salt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_as_it_was_stored_and_only_for_its_hash() {
        let password = Secret::new("pencil");
        for hash in [ScramHash::Sha256, ScramHash::Sha1] {
            let iterations = NonZeroU32::new(4096).unwrap();
            let keys = Keys::of(&password, b"salt", iterations, &[hash]);
            let packed = keys.of_hash(hash).unwrap();
            assert_eq!(
                unpacked(packed, hash, 7),
                ScramKey::of(hash, &password, b"salt", iterations, 7),
                "{hash:?}"
            );
            let other = if hash == ScramHash::Sha1 { ScramHash::Sha256 } else { ScramHash::Sha1 };
            assert_eq!(unpacked(packed, other, 7), None);
            assert_eq!(keys.missing(&[hash, other]), [other], "what nobody asked for is not worked out");
        }
        assert_eq!(unpacked(&Secret::new(""), ScramHash::Sha256, 7), None);
    }

    #[test]
    fn a_name_and_its_address_have_one_salt_and_another_name_has_another() {
        let secret = Secret::new("the file's own");
        let salt = |name: &str| salt_of(&secret, name);
        assert_eq!(salt("anna").len(), 16);
        assert_eq!(salt("anna"), salt("Anna@example.org"));
        assert_ne!(salt("anna"), salt("bert"));
        assert_ne!(salt("anna"), salt_of(&Secret::new("another file's"), "anna"));
    }
}
