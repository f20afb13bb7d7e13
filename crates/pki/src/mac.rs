//! Keyed fingerprints of secrets, for tables that must not hold the secrets themselves.

use aws_lc_rs::hmac;

use crate::Error;

/// A random key that lives as long as the process and is never written anywhere.
#[derive(Debug)]
pub struct ProcessKey(hmac::Key);

/// A fingerprint under a [`ProcessKey`]: HMAC-SHA-256.
pub type Tag = [u8; 32];

impl ProcessKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the system has no randomness to give.
    pub fn random() -> Result<Self, Error> {
        let mut octets = [0; 32];
        aws_lc_rs::rand::fill(&mut octets).map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &octets)))
    }

    /// The fingerprint of these parts in this order. Where one part ends and the next begins makes a difference.
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_a_letter_from_one_part_to_the_next_changes_the_tag() {
        let key = ProcessKey::random().unwrap();
        assert_eq!(key.tag(&[b"anna", b"secret"]), key.tag(&[b"anna", b"secret"]));
        assert_ne!(key.tag(&[b"anna", b"secret"]), key.tag(&[b"annas", b"ecret"]));
    }

    #[test]
    fn two_keys_give_different_tags() {
        let (one, other) = (ProcessKey::random().unwrap(), ProcessKey::random().unwrap());
        assert_ne!(one.tag(&[b"anna"]), other.tag(&[b"anna"]));
    }
}
