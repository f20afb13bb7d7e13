//! What a server keeps of passwords for SCRAM (RFC 5802 §3).
//!
//! A [`ScramKey`] is made of one password and verifies proofs of it; the password cannot be read back from it, but whoever
//! has it can guess at leisure, and with its `server` half pose as us. [`ScramKeys`] are all of one user, with the salt that
//! they share; those of nobody look the same from outside.
//!
//! What it deliberately does not do: store anything, or draw a salt.

use std::num::NonZeroU32;

use aws_lc_rs::hmac;

use super::arithmetic::{Derived, salted};
use crate::sasl::prepare::prepared;
use crate::secret::Secret;

/// How often the hash is iterated for passwords that are set from now on. Work for an attacker who got hold of the keys, and
/// for every phone at each sign-in: some hundredths of a second for either.
pub const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(32_768).unwrap();

/// Octets of a salt that is made up.
const SALT: usize = 16;

/// The hash function of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// RFC 5802, for old programs.
    Sha1,
    /// RFC 7677.
    Sha256,
}

/// What a server keeps of a user's passwords for SCRAM (RFC 5802 §3). All passwords of one user share the salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The salt: random, or for nobody made up such that it is always the same.
    pub salt: Vec<u8>,
    /// How often the hash is iterated.
    pub iterations: NonZeroU32,
    /// One for each password; none for a user who does not exist.
    pub keys: Vec<ScramKey>,
}

/// What is kept of one password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKey {
    /// Tells a user's passwords apart; means nothing here.
    pub label: u64,
    /// `StoredKey`: verifies the client's proof.
    pub stored: Secret,
    /// `ServerKey`: proves to the client who we are.
    pub server: Secret,
}

impl ScramKeys {
    /// What is said of a user who does not exist, or has no password for this mechanism: no key, and a salt that is always
    /// the same for this name, so that nobody can tell (RFC 5802 §9). The secret must be kept across restarts, and must be
    /// the service's own.
    pub fn for_nobody(secret: &[u8], user: &str, iterations: NonZeroU32) -> Self {
        let prepared = prepared(user);
        let name = prepared.as_ref().map_or(user, |prepared| prepared.as_str());
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), name.as_bytes());
        Self { salt: tag.as_ref()[..SALT].to_vec(), iterations, keys: Vec::new() }
    }
}

impl ScramKey {
    /// What is to be kept of a password. This takes some hundredths of a second of a processor's time.
    ///
    /// `None`: SCRAM has no way to say this password (it is empty, not UTF-8, or holds what RFC 4013 §2.3 prohibits).
    pub fn of(
        hash: ScramHash,
        password: &Secret,
        salt: &[u8],
        iterations: NonZeroU32,
        label: u64,
    ) -> Option<Self> {
        let password = prepared(password.expose_str()?)?;
        let Derived { stored, server, .. } =
            Derived::of(hash, &salted(hash, password.as_bytes(), salt, iterations));
        Some(Self { label, stored, server })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_the_same_salt_each_time_and_another_than_everybody_else() {
        let of = |secret: &[u8], user: &str| ScramKeys::for_nobody(secret, user, SCRAM_ITERATIONS);
        let tim = of(b"secret", "tim");
        assert_eq!((tim.salt.len(), tim.keys.len(), tim.iterations), (SALT, 0, SCRAM_ITERATIONS));
        assert_eq!(of(b"secret", "tim"), tim);
        assert_eq!(of(b"secret", "ti\u{ad}m"), tim, "the name is prepared");
        assert_ne!(of(b"secret", "tom"), tim);
        assert_ne!(of(b"other", "tim"), tim);
        assert_ne!(of(b"secret", "\u{7}").salt, of(b"secret", "\u{8}").salt);
    }

    #[test]
    fn a_password_that_scram_cannot_say_has_no_key() {
        let of = |password: &[u8]| {
            ScramKey::of(ScramHash::Sha256, &Secret::new(password), b"salt", SCRAM_ITERATIONS, 1)
        };
        for password in [&b""[..], b"\xff", b"a\x07", b"\xc2\xad"] {
            assert_eq!(of(password), None, "{password:?}");
        }
        assert_eq!(of("I\u{ad}X".as_bytes()), of(b"IX"));
    }

    #[test]
    fn debug_output_shows_no_key() {
        let key = ScramKey { label: 7, stored: Secret::new("stored"), server: Secret::new("server") };
        assert_eq!(
            format!("{key:?}"),
            "ScramKey { label: 7, stored: Secret(redacted), server: Secret(redacted) }"
        );
    }
}
