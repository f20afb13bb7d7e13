//! Challenges: how the CA convinces itself that a name is ours, and what has to be shown to it where.
//!
//! A [`Challenge`] knows what to show in each of the three ways: HTTP-01 (RFC 8555 §8.3), DNS-01 (RFC 8555 §8.4) and
//! TLS-ALPN-01 (RFC 8737, for addresses RFC 8738). A [`Solver`] puts it up and takes it down. What this deliberately
//! does not do: listen, or change zones.

use std::fmt;
use std::net::IpAddr;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::identity::sha256;

/// Real tokens have 43 characters (RFC 8555 §8.1 asks for 128 bits at least).
const TOKEN_MOST: usize = 256;

/// The kinds of challenge that can be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChallengeKind {
    /// A file under `/.well-known/acme-challenge/` on port 80.
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate shown on port 443 to who asks for the protocol `acme-tls/1`.
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A TXT record below `_acme-challenge`.
    #[serde(rename = "dns-01")]
    Dns01,
}

/// What is to be shown for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The name as the certificate will bear it, the star of a wildcard included.
    pub name: String,
    /// How it is to be proved.
    pub kind: ChallengeKind,
    /// What the CA asks for: letters, digits, `-` and `_` alone.
    pub token: String,
    /// What it wants to see.
    pub answer: KeyAuthorisation,
}

/// A token bound to our account's key (RFC 8555 §8.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAuthorisation(String);

/// Puts up what the CA wants to see, and takes it down.
#[async_trait]
pub trait Solver: Send + Sync {
    /// How this one proves names.
    fn kind(&self) -> ChallengeKind;

    /// Puts all of them up, and waits until the CA can see them. One result for each, in order: why not, in words.
    ///
    /// # Cancel safety
    /// May be dropped at any time; [`Solver::clean_up`] follows all the same.
    async fn prepare(&self, challenges: &[Challenge]) -> Vec<Result<(), String>>;

    /// Takes all of them down, those that never got up included. One result for each, in order.
    async fn clean_up(&self, challenges: &[Challenge]) -> Vec<Result<(), String>>;
}

impl Challenge {
    /// The name without the star of a wildcard.
    pub fn host(&self) -> &str {
        self.name.strip_prefix("*.").unwrap_or(&self.name)
    }

    /// Where the TXT record belongs (RFC 8555 §8.4).
    pub fn record_name(&self) -> String {
        format!("_acme-challenge.{}", self.host())
    }

    /// The server name that the CA asks for in TLS-ALPN-01; for an address its reverse name (RFC 8738 §6).
    pub fn server_name(&self) -> String {
        match self.host().parse() {
            Ok(IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            Ok(IpAddr::V6(address)) => {
                let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
                let labels: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
                format!("{labels}ip6.arpa")
            }
            Err(_) => self.host().to_owned(),
        }
    }

    /// The certificate that TLS-ALPN-01 wants to see (RFC 8737 §3).
    ///
    /// # Errors
    /// The name cannot stand in a certificate, or no key can be made.
    pub fn certificate(&self) -> Result<CertifiedKey, Error> {
        let crypto = |error: &dyn fmt::Display| Error::Crypto(error.to_string());
        let mut params =
            CertificateParams::new(vec![self.host().to_owned()]).map_err(|error| crypto(&error))?;
        params.distinguished_name = DistinguishedName::new();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&self.answer.digest())];
        let key = KeyPair::generate().map_err(|error| crypto(&error))?;
        let certificate = params.self_signed(&key).map_err(|error| crypto(&error))?;
        let pkcs8 = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing =
            crate::provider().key_provider.load_private_key(pkcs8).map_err(|error| crypto(&error))?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
    }
}

impl KeyAuthorisation {
    /// For a token and the account's key authorisation of it; `None` when the token holds what a token may not, so that it
    /// could stand for another path.
    pub(super) fn of(token: &str, text: &str) -> Option<Self> {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        (!token.is_empty() && token.len() <= TOKEN_MOST && token.chars().all(sound))
            .then(|| Self(text.to_owned()))
    }

    /// What HTTP-01 wants to see.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What DNS-01 wants to see in a TXT record.
    pub fn record(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.digest())
    }

    fn digest(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        })
    }
}

impl From<ChallengeKind> for instant_acme::ChallengeType {
    fn from(kind: ChallengeKind) -> Self {
        match kind {
            ChallengeKind::Http01 => Self::Http01,
            ChallengeKind::TlsAlpn01 => Self::TlsAlpn01,
            ChallengeKind::Dns01 => Self::Dns01,
        }
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, X509Certificate};

    use super::*;

    fn challenge(name: &str) -> Challenge {
        let answer = KeyAuthorisation::of("token", "token.thumb").unwrap();
        Challenge { name: name.to_owned(), kind: ChallengeKind::Dns01, token: "token".to_owned(), answer }
    }

    #[test]
    fn a_wildcard_is_proved_at_the_name_below_its_star() {
        assert_eq!(challenge("*.a.example").record_name(), "_acme-challenge.a.example");
    }

    #[test]
    fn an_address_is_asked_for_by_its_reverse_name() {
        assert_eq!(challenge("192.0.2.1").server_name(), "1.2.0.192.in-addr.arpa");
        let v6 = challenge("2001:db8::1").server_name();
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
        assert_eq!(v6.len(), 32 * 2 + "ip6.arpa".len());
    }

    #[test]
    fn a_token_that_could_be_another_path_is_refused() {
        for token in ["", "../../etc/passwd", "a/b", "a.b", "a b", "a\r\n", "é", &"x".repeat(257)] {
            assert_eq!(KeyAuthorisation::of(token, "x"), None, "{token:?}");
        }
    }

    #[test]
    fn the_challenge_certificate_has_the_name_and_the_digest_in_a_critical_extension() {
        for name in ["a.example", "192.0.2.1"] {
            let key = challenge(name).certificate().unwrap();
            let (_, parsed) = X509Certificate::from_der(&key.cert[0]).unwrap();
            let names = parsed.subject_alternative_name().unwrap().unwrap().value.general_names.len();
            // RFC 8737 §3: exactly one name; the digest as an octet string, critical.
            let extension = parsed
                .extensions()
                .iter()
                .find(|found| found.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
                .unwrap();
            assert_eq!((names, extension.critical), (1, true));
            assert_eq!(extension.value, [&[4, 32], &sha256(b"token.thumb")[..]].concat());
        }
    }
}
