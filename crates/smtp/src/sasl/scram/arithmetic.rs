//! What SCRAM computes, the same on both sides (RFC 5802 §2.2, §3): from the password to the keys, from the keys to proof
//! and signature.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};

use super::keys::ScramHash;
use crate::secret::Secret;

/// What follows from a salted password.
pub(super) struct Derived {
    pub(super) client: Secret,
    pub(super) stored: Secret,
    pub(super) server: Secret,
}

impl Derived {
    pub(super) fn of(hash: ScramHash, salted: &Secret) -> Self {
        let client = hash.mac(salted, b"Client Key");
        let stored = hash.digest(&client);
        Self { stored, client, server: hash.mac(salted, b"Server Key") }
    }
}

impl ScramHash {
    /// Octets of its output.
    pub(super) fn length(self) -> usize {
        self.algorithm().output_len()
    }

    pub(super) fn mac(self, key: &Secret, data: &[u8]) -> Secret {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        Secret::new(hmac::sign(&hmac::Key::new(algorithm, key.expose()), data).as_ref())
    }

    pub(super) fn digest(self, data: &Secret) -> Secret {
        Secret::new(digest::digest(self.algorithm(), data.expose()).as_ref())
    }

    fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        }
    }
}

/// `Hi(password, salt, i)`: PBKDF2 with the hash's HMAC (RFC 5802 §2.2).
pub(super) fn salted(hash: ScramHash, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Secret {
    let algorithm = match hash {
        ScramHash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        ScramHash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
    };
    let mut out = vec![0; hash.length()];
    pbkdf2::derive(algorithm, iterations, salt, password, &mut out);
    Secret::new(out)
}

/// Both are of one length; what the longer one has more is left out.
pub(super) fn xor(one: &Secret, other: &Secret) -> Secret {
    let pairs = one.expose().iter().zip(other.expose());
    Secret::new(pairs.map(|(left, right)| left ^ right).collect::<Vec<u8>>())
}
