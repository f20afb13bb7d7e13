//! Private keys: made here or brought along, always kept as PKCS #8.
//!
//! [`KeyKind`] is what is made; [`PrivateKey`] is one key, whatever form it was found in. What it deliberately does not do:
//! read files or passphrases (see [`bundle`](crate::bundle)), or decide which keys are good enough for whom.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use rcgen::{KeyPair, PublicKeyData, RsaKeySize};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use crate::Error;
use crate::certificate::{Certificate, key_words};

/// The kinds of keys that Postern makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyKind {
    /// ECDSA on P-256: fast, and known to every mail program of today.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA of 2048 bits, for programs that are too old for anything else.
    Rsa2048,
    /// RSA of 3072 bits.
    Rsa3072,
    /// RSA of 4096 bits; each handshake costs many times one on P-256.
    Rsa4096,
}

/// A private key. It cannot be printed.
pub struct PrivateKey {
    pkcs8: Zeroizing<Vec<u8>>,
    pair: KeyPair,
}

impl KeyKind {
    /// All kinds, the default first.
    pub const ALL: [Self; 5] =
        [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// How it is written in the configuration and on the command line.
    pub fn token(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }
}

impl KeyKind {
    /// As certificates' keys are described.
    fn words(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "P-256",
            Self::EcdsaP384 => "P-384",
            Self::Rsa2048 => "RSA 2048",
            Self::Rsa3072 => "RSA 3072",
            Self::Rsa4096 => "RSA 4096",
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl FromStr for KeyKind {
    type Err = String;

    /// # Errors
    /// Why there is no such key, and which ones there are.
    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim().to_ascii_lowercase();
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.token() == wanted) {
            return Ok(kind);
        }
        let bits =
            wanted.strip_prefix("rsa-").or(wanted.strip_prefix("rsa")).and_then(|n| n.parse::<u32>().ok());
        let known = Self::ALL.map(Self::token).join(", ");
        Err(match bits {
            Some(bits) if bits < 2048 => format!(
                "RSA keys shorter than 2048 bits protect nothing any more, and mail programs and authorities refuse them; \
                 choose one of {known}"
            ),
            _ => format!("there is no key of the kind \"{text}\"; choose one of {known}"),
        })
    }
}

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// Local: the cryptography library refused.
    pub fn generate(kind: KeyKind) -> Result<Self, Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match kind {
            KeyKind::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyKind::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyKind::Rsa2048 => rsa(RsaKeySize::_2048),
            KeyKind::Rsa3072 => rsa(RsaKeySize::_3072),
            KeyKind::Rsa4096 => rsa(RsaKeySize::_4096),
        };
        let pair = pair.map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(Self { pkcs8: Zeroizing::new(pair.serialize_der()), pair })
    }

    /// Takes a key in PKCS #8, PKCS #1 or SEC1 form.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, String> {
        let pkcs8 = match der {
            PrivateKeyDer::Pkcs8(der) => Zeroizing::new(der.secret_pkcs8_der().to_vec()),
            PrivateKeyDer::Pkcs1(der) => rsa_as_pkcs8(der.secret_pkcs1_der())?,
            PrivateKeyDer::Sec1(der) => ec_as_pkcs8(der.secret_sec1_der())?,
            _ => return Err(UNUSABLE.to_owned()),
        };
        let form = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
        let pair = KeyPair::try_from(&form).map_err(|_| UNUSABLE.to_owned())?;
        Ok(Self { pkcs8, pair })
    }

    /// Its public key with the algorithm (SubjectPublicKeyInfo, RFC 5280 §4.1) in DER.
    pub fn spki(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    /// Whether it belongs to this certificate.
    pub fn fits(&self, certificate: &[u8]) -> bool {
        Certificate::new(certificate).spki().is_some_and(|spki| *spki == self.spki())
    }

    /// Which of the kinds that Postern makes it is; `None` for any other.
    pub fn kind(&self) -> Option<KeyKind> {
        let spki = self.spki();
        let (_, key) = SubjectPublicKeyInfo::from_der(&spki).ok()?;
        KeyKind::ALL.into_iter().find(|kind| kind.words() == key_words(&key))
    }

    /// In PKCS #8, as DER.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// In PKCS #8, as PEM, without a passphrase.
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.pair.serialize_pem())
    }

    /// For the libraries that take ownership.
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }

    /// Its kind and strength, as administrators write it: `P-256`, `RSA 2048`.
    pub fn describe(&self) -> String {
        describe_spki(&self.spki())
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.describe())
    }
}

/// The kind and strength of a public key in words.
pub(crate) fn describe_spki(spki: &[u8]) -> String {
    match SubjectPublicKeyInfo::from_der(spki) {
        Ok((_, key)) => key_words(&key),
        Err(_) => "a key of an unknown kind".to_owned(),
    }
}

const UNUSABLE: &str =
    "it is none of RSA from 2048 bits on, ECDSA on P-256, P-384 or P-521, and Ed25519, or it is damaged";

fn rsa_as_pkcs8(der: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let pair = RsaKeyPair::from_der(der).map_err(|_| UNUSABLE.to_owned())?;
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| UNUSABLE.to_owned())?;
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

/// A SEC1 key need not name its curve; the one that it fits is it.
fn ec_as_pkcs8(der: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let curves: [&'static EcdsaSigningAlgorithm; 3] =
        [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1_SIGNING];
    let pair = curves.into_iter().find_map(|curve| EcdsaKeyPair::from_private_key_der(curve, der).ok());
    let pkcs8 = pair.and_then(|pair| pair.to_pkcs8v1().ok()).ok_or_else(|| UNUSABLE.to_owned())?;
    Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_knows_its_kind() {
        for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048] {
            assert_eq!(PrivateKey::generate(kind).unwrap().kind(), Some(kind));
        }
    }

    #[test]
    fn every_kind_is_made_and_read_back() {
        for kind in KeyKind::ALL {
            let key = PrivateKey::generate(kind).unwrap();
            let again = PrivateKey::from_der(&key.to_der()).unwrap();
            assert_eq!(key.spki(), again.spki(), "{kind}");
            assert_eq!(kind.token().parse(), Ok(kind));
            let bits = kind.token().rsplit_once(|c: char| !c.is_ascii_digit()).unwrap().1;
            assert!(key.describe().ends_with(bits), "{kind}: {}", key.describe());
            assert!(key.to_pem().starts_with("-----BEGIN PRIVATE KEY-----"));
        }
    }

    #[test]
    fn a_short_key_is_refused_with_its_reason() {
        for text in ["rsa-1024", "RSA512"] {
            let error = text.parse::<KeyKind>().unwrap_err();
            assert!(error.contains("shorter than 2048") && error.contains("ecdsa-p256"), "{error}");
        }
        assert!("dsa".parse::<KeyKind>().unwrap_err().contains("no key of the kind"));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(P-256)");
    }
}
