//! Pins: digests of certificates and keys that an administrator wrote down.
//!
//! The types to know: [`Pin`], read from `sha256:` or `spki-sha256:` in the forms that the usual programs print, and written
//! back in one of them; and [`PinError`], why a text is none. The same type serves to trust (`pins`) and to distrust
//! (`distrust`).
//!
//! What it deliberately does not do: compare a pin with a certificate (the judge does), or take other digests than
//! SHA-256.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD as STANDARD_NO_PAD;

use crate::identity::hexadecimal;

/// SHA-256 of a certificate, or of its public key, as an administrator wrote it down.
///
/// The key's is the better one to pin: it stays when the certificate is renewed for the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pin {
    /// Of the whole certificate: `sha256:HEX`.
    Certificate([u8; 32]),
    /// Of its public key (SubjectPublicKeyInfo): `spki-sha256:HEX`, or in Base64 as RFC 7469 §2.1.1 has it.
    Spki([u8; 32]),
}

/// Why a text is not a pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// It does not begin with a word that says what was digested.
    #[error("a pin begins with \"sha256:\" (a certificate) or \"spki-sha256:\" (its public key)")]
    Kind,
    /// The digest is too short or too long.
    #[error("a SHA-256 digest has 64 hexadecimal digits, not {0}")]
    Length(usize),
    /// There is something else in the digest.
    #[error("{0:?} is not a hexadecimal digit")]
    Digit(char),
    /// Neither hexadecimal digits nor Base64 of 32 octets.
    #[error("a digest of a public key is 64 hexadecimal digits, or 44 characters of Base64")]
    Neither,
}

/// `sha256:` and `spki-sha256:` in any case, then hexadecimal digits (colons between them do not matter; the openssl
/// program writes them), or Base64 for a key.
impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, PinError> {
        let (kind, digest) = text.trim().split_once(':').ok_or(PinError::Kind)?;
        let digest = digest.trim();
        match kind.to_ascii_lowercase().as_str() {
            "sha256" => hex(digest).map(Self::Certificate),
            "spki-sha256" if looks_like_base64(digest) => {
                base64(digest).map(Self::Spki).ok_or(PinError::Neither)
            }
            "spki-sha256" => hex(digest).map(Self::Spki),
            _ => Err(PinError::Kind),
        }
    }
}

/// In hexadecimal digits.
impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(digest) => write!(f, "sha256:{}", hexadecimal(digest)),
            Self::Spki(digest) => write!(f, "spki-sha256:{}", hexadecimal(digest)),
        }
    }
}

/// 32 octets in Base64 are 43 characters and an equals sign, which some leave out.
fn looks_like_base64(text: &str) -> bool {
    matches!(text.len(), 43 | 44) && !text.contains(':')
}

fn hex(text: &str) -> Result<[u8; 32], PinError> {
    let mut digest = [0; 32];
    let mut length = 0;
    for c in text.chars().filter(|c| *c != ':') {
        let digit = c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()).ok_or(PinError::Digit(c))?;
        if let Some(octet) = digest.get_mut(length / 2) {
            *octet = *octet << 4 | digit;
        }
        length += 1;
    }
    if length == 64 { Ok(digest) } else { Err(PinError::Length(length)) }
}

/// RFC 4648 §4.
fn base64(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=').unwrap_or(text);
    STANDARD_NO_PAD.decode(digits).ok()?.try_into().ok()
}
