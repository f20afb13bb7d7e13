//! What SCRAM keeps of a password (RFC 5802 §3), until the protocol's crate offers it.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use postern_smtp::sasl::{ScramHash, ScramKey, ScramKeys};
use postern_smtp::secret::Secret;

pub(super) trait Of: Sized {
    fn of(
        hash: ScramHash,
        password: &Secret,
        salt: &[u8],
        iterations: NonZeroU32,
        label: u64,
    ) -> Option<Self>;
}

pub(super) trait ForNobody {
    fn for_nobody(secret: &[u8], user: &str, iterations: NonZeroU32) -> Self;
}

impl Of for ScramKey {
    fn of(
        hash: ScramHash,
        password: &Secret,
        salt: &[u8],
        iterations: NonZeroU32,
        label: u64,
    ) -> Option<Self> {
        password.expose_str()?;
        let (derive, mac, digests) = match hash {
            ScramHash::Sha1 => (
                pbkdf2::PBKDF2_HMAC_SHA1,
                hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                &digest::SHA1_FOR_LEGACY_USE_ONLY,
            ),
            ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256),
        };
        let mut salted = vec![0; digests.output_len()];
        pbkdf2::derive(derive, iterations, salt, password.expose(), &mut salted);
        let key = hmac::Key::new(mac, &salted);
        let client = hmac::sign(&key, b"Client Key");
        Some(Self {
            label,
            stored: Secret::new(digest::digest(digests, client.as_ref()).as_ref()),
            server: Secret::new(hmac::sign(&key, b"Server Key").as_ref()),
        })
    }
}

impl ForNobody for ScramKeys {
    fn for_nobody(secret: &[u8], user: &str, iterations: NonZeroU32) -> Self {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), user.as_bytes());
        Self { salt: tag.as_ref()[..16].to_vec(), iterations, keys: Vec::new() }
    }
}
