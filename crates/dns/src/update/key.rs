//! The key that signs updates: a name that the server knows it by, an algorithm, and a secret that both have.
//!
//! [`TsigKey::new`] reads the secret as every name server writes it, in base64. It is kept where it is overwritten when it
//! goes, and never shown. For the moment of an update, the library's own form of it is in memory besides.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::base::Name;
use domain::tsig::{Algorithm, Key, KeyName};
use zeroize::Zeroizing;

use crate::message::wire_name;

/// The longest secret, in octets: four times what any of the algorithms has use for.
const MAX_SECRET: usize = 512;

/// How updates are signed (RFC 8945 §6). Those that are no longer to be used are not here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TsigAlgorithm {
    /// `hmac-sha256`: every server has it.
    #[default]
    HmacSha256,
    /// `hmac-sha384`.
    HmacSha384,
    /// `hmac-sha512`.
    HmacSha512,
}

impl TsigAlgorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// As name servers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

impl fmt::Display for TsigAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TsigAlgorithm {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wanted = text.strip_suffix('.').unwrap_or(text);
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(wanted));
        known.ok_or_else(|| KeyError::Algorithm(shown(text)))
    }
}

/// Why a key cannot be used. Never shows any of the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a domain name.
    #[error("the key's name {0:?} is not a domain name: write it as at the name server")]
    Name(String),
    /// Unknown or too weak.
    #[error(
        "the algorithm {0:?} cannot be used: hmac-sha256, hmac-sha384 and hmac-sha512 can; make a new key at the name \
         server where it has another"
    )]
    Algorithm(String),
    /// Not base64.
    #[error(
        "the key's secret is not base64: give the secret alone, as it stands between the quotes at the name server"
    )]
    Encoding,
    /// Empty or endless.
    #[error("the key's secret has {0} octets: 1 to 512 are possible, and 32 or more are good")]
    Length(usize),
}

/// A key for updates. Nothing shows its secret.
#[derive(Clone)]
pub struct TsigKey {
    name: KeyName,
    algorithm: TsigAlgorithm,
    secret: Arc<Zeroizing<Vec<u8>>>,
}

impl TsigKey {
    /// The key that the server knows by this name. White space around and within the secret does not matter.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn new(name: &str, algorithm: TsigAlgorithm, secret: &str) -> Result<Self, KeyError> {
        let bad = || KeyError::Name(shown(name));
        // RFC 8945 §4.3.3: signed in lower case; so a log has one spelling.
        let wire = wire_name(&name.to_ascii_lowercase()).map_err(|_| bad())?;
        let name = Name::from_octets(wire.as_slice().try_into().map_err(|_| bad())?).map_err(|_| bad())?;
        Ok(Self { name, algorithm, secret: Arc::new(decode(secret)?) })
    }

    /// What the server knows it by, without a last dot.
    pub fn name(&self) -> String {
        self.name.to_string()
    }

    /// What it is used with.
    pub fn algorithm(&self) -> TsigAlgorithm {
        self.algorithm
    }

    /// The key as the library wants it. Signatures are never cut (RFC 8945 §5.2.2.1).
    pub(super) fn open(&self) -> Option<Key> {
        let algorithm = match self.algorithm {
            TsigAlgorithm::HmacSha256 => Algorithm::Sha256,
            TsigAlgorithm::HmacSha384 => Algorithm::Sha384,
            TsigAlgorithm::HmacSha512 => Algorithm::Sha512,
        };
        Key::new(algorithm, &self.secret, self.name.clone(), None, None).ok()
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TsigKey({} {})", self.name, self.algorithm)
    }
}

fn decode(secret: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if secret.len() > 4 * MAX_SECRET {
        return Err(KeyError::Length(secret.len() / 4 * 3));
    }
    // Room for all at once: what grows leaves copies behind.
    let mut compact = Zeroizing::new(String::with_capacity(secret.len()));
    compact.extend(secret.chars().filter(|c| !c.is_ascii_whitespace()));
    let mut octets = Zeroizing::new(vec![0; base64::decoded_len_estimate(compact.len())]);
    let length = STANDARD.decode_slice(compact.as_bytes(), &mut octets).map_err(|_| KeyError::Encoding)?;
    octets.truncate(length);
    if (1..=MAX_SECRET).contains(&length) { Ok(octets) } else { Err(KeyError::Length(length)) }
}

/// What somebody wrote, safe for a log.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "c2VjcmV0IGFzIG5vYm9keSBzaGFsbCBzZWUgaXQhISE=";

    #[test]
    fn nothing_shows_the_secret() {
        let key = TsigKey::new("ACME.example.org.", TsigAlgorithm::HmacSha512, SECRET).unwrap();
        assert_eq!(format!("{key:?}"), "TsigKey(acme.example.org hmac-sha512)");
        assert_eq!(key.name(), "acme.example.org");
        let error = TsigKey::new("acme", TsigAlgorithm::HmacSha256, "key \"acme\" { secret \"c2VjcmV0\"; };");
        let error = error.unwrap_err();
        assert_eq!(error, KeyError::Encoding);
        assert!(!error.to_string().contains("c2Vj"));
    }

    #[test]
    fn a_secret_may_be_wrapped_and_must_be_neither_empty_nor_endless() {
        let wrapped = format!(" {}\n {}\n", &SECRET[..10], &SECRET[10..]);
        assert_eq!(decode(&wrapped).unwrap().as_slice(), b"secret as nobody shall see it!!!");
        assert_eq!(decode("\n"), Err(KeyError::Length(0)));
        assert_eq!(decode(&"AAAA".repeat(171)), Err(KeyError::Length(513)));
        assert!(matches!(decode(&"A".repeat(100_000)), Err(KeyError::Length(_))));
    }

    #[test]
    fn algorithms_that_are_too_weak_are_refused_with_those_that_will_do() {
        for algorithm in TsigAlgorithm::ALL {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        assert_eq!("HMAC-SHA256.".parse(), Ok(TsigAlgorithm::HmacSha256));
        for weak in ["hmac-md5.sig-alg.reg.int", "hmac-sha1", ""] {
            let error = weak.parse::<TsigAlgorithm>().unwrap_err();
            assert!(error.to_string().contains("hmac-sha256, hmac-sha384"), "{error}");
        }
    }

    #[test]
    fn a_key_without_a_name_is_refused() {
        for name in ["", ".", "a..b", "with space", "\u{fc}"] {
            let key = TsigKey::new(name, TsigAlgorithm::HmacSha256, SECRET);
            assert!(matches!(key, Err(KeyError::Name(_))), "{name:?}");
        }
    }
}
