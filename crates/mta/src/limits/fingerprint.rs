//! Fingerprints of what must not be kept itself: passwords that were wrong, recipients that were written to.
//!
//! The key is random and lies beside what was made with it, in `activity.db`, so that a password counts as the same one
//! after a restart. A fingerprint is cut to what telling apart needs; whoever has the file can try passwords against it, one
//! by one, but only ever wrong ones are in there.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

/// Makes fingerprints under one key.
pub(super) struct Fingerprints(hmac::Key);

/// The key's octets.
pub(super) type KeyOctets = Zeroizing<[u8; 32]>;

impl Fingerprints {
    /// Under this key.
    pub(super) fn new(octets: &KeyOctets) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, octets.as_slice()))
    }

    /// A new key.
    ///
    /// # Errors
    /// Local: the system has no randomness to give.
    pub(super) fn key() -> Result<KeyOctets, aws_lc_rs::error::Unspecified> {
        let mut octets = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(octets.as_mut_slice())?;
        Ok(octets)
    }

    /// Under a new key.
    #[cfg(test)]
    pub(super) fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        Ok(Self::new(&Self::key()?))
    }

    /// The fingerprint of these parts in this order. Where one ends and the next begins makes a difference.
    pub(super) fn of(&self, parts: &[&[u8]]) -> u64 {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut octets = [0; 8];
        octets.copy_from_slice(&tag.as_ref()[..8]);
        u64::from_be_bytes(octets)
    }
}

impl std::fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fingerprints(key redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_the_same_fingerprints_each_time_and_another_key_others() {
        let key = Fingerprints::key().unwrap();
        let (one, same, other) =
            (Fingerprints::new(&key), Fingerprints::new(&key), Fingerprints::random().unwrap());
        assert_eq!(one.of(&[b"anna", b"pw"]), same.of(&[b"anna", b"pw"]));
        assert_ne!(one.of(&[b"anna", b"pw"]), other.of(&[b"anna", b"pw"]));
        assert_ne!(one.of(&[b"anna", b"pw"]), one.of(&[b"annap", b"w"]));
    }
}
