//! Certificates as others show them: what people want to know of one, and what can be told by looking at it.
//!
//! - [`describe_certificate`] renders one for logs, reports and the command line. It never fails: what cannot be read is
//!   said to be unreadable.
//! - [`Certificate`] answers the questions that the TLS library has no words for: whether a certificate is signed by
//!   itself, by a broken digest, or has too short a key.
//!
//! Every text in a certificate is its maker's, so all of them are cleaned and cut. What this deliberately does not do:
//! decide whether a certificate is trusted.

use std::borrow::Cow;

use jiff::Timestamp;
use postern_smtp::text::clean;
use postern_smtp::tls::CertificateSeen;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::{PublicKey, RSAPublicKey};
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::identity::{fingerprint, name_of, timestamp};
use crate::signature;

/// So many names of a certificate are shown; some bear hundreds.
const NAMES_SHOWN: usize = 5;
/// The longest name of a host, a person or an authority that is shown, in octets.
const LONGEST_NAME: usize = 255;
/// The shortest RSA key that protects anything, in bits (RFC 9325 §4.2, NIST SP 800-131A).
const SHORTEST_RSA: usize = 2048;

/// What people want to know of a certificate, from its DER form. `chain` says how many were shown in all.
pub fn describe_certificate(der: &[u8], chain: usize) -> CertificateSeen {
    Certificate::new(der).describe(chain)
}

/// A certificate that somebody showed, as far as it can be read.
#[derive(Debug)]
pub(crate) struct Certificate<'a> {
    der: &'a [u8],
    parsed: Option<X509Certificate<'a>>,
}

/// Where a time lies in the life of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    NotBegun(Timestamp),
    InForce,
    Over(Timestamp),
}

impl<'a> Certificate<'a> {
    pub(crate) fn new(der: &'a [u8]) -> Self {
        Self { der, parsed: X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed) }
    }

    pub(crate) fn der(&self) -> &'a [u8] {
        self.der
    }

    /// All that can be read of it.
    pub(crate) fn parsed(&self) -> Option<&X509Certificate<'a>> {
        self.parsed.as_ref()
    }

    /// Its public key with its algorithm (SubjectPublicKeyInfo) in DER.
    pub(crate) fn spki(&self) -> Option<Cow<'a, [u8]>> {
        if let Some(parsed) = &self.parsed {
            return Some(Cow::Borrowed(parsed.tbs_certificate.subject_pki.raw));
        }
        let der = CertificateDer::from(self.der);
        let key = ParsedCertificate::try_from(&der).ok()?.subject_public_key_info();
        Some(Cow::Owned(key.as_ref().to_vec()))
    }

    /// Whose it is, for people; the first name it bears when it names no subject.
    pub(crate) fn subject(&self) -> String {
        self.parsed.as_ref().map_or_else(|| UNREADABLE.to_owned(), |parsed| words(parsed.subject()))
    }

    /// Who signed it, for people.
    pub(crate) fn issuer(&self) -> String {
        self.parsed.as_ref().map_or_else(|| UNREADABLE.to_owned(), |parsed| words(parsed.issuer()))
    }

    /// The issuer's name in DER.
    pub(crate) fn issuer_der(&self) -> Option<&[u8]> {
        self.parsed.as_ref().map(|parsed| parsed.issuer().as_raw())
    }

    /// The subject's name in DER.
    pub(crate) fn subject_der(&self) -> Option<&'a [u8]> {
        self.parsed.as_ref().map(|parsed| parsed.tbs_certificate.subject.as_raw())
    }

    /// Whether the other's name is that of this one's issuer.
    pub(crate) fn names_as_issuer(&self, other: &Certificate<'_>) -> bool {
        let (Some(own), Some(other)) = (&self.parsed, &other.parsed) else { return false };
        own.issuer().as_raw() == other.subject().as_raw()
    }

    /// Whether it is signed by its own key. A signature of a kind that cannot be checked counts as what it claims to be.
    pub(crate) fn is_self_signed(&self) -> bool {
        self.names_as_issuer(self) && signature::is_self_made(self.der) != Some(false)
    }

    /// The length of its RSA key in bits where that is too short to protect anything.
    pub(crate) fn weak_key(&self) -> Option<usize> {
        let key = self.parsed.as_ref()?.public_key().parsed().ok()?;
        match key {
            PublicKey::RSA(key) => Some(rsa_bits(&key)).filter(|bits| *bits < SHORTEST_RSA),
            _ => None,
        }
    }

    /// The name of the algorithm that it is signed with where that rests on a broken digest.
    pub(crate) fn weak_signature(&self) -> Option<String> {
        let algorithm = &self.parsed.as_ref()?.signature_algorithm.algorithm;
        let oid = algorithm.to_id_string();
        let (_, name) = WEAK_SIGNATURES.iter().find(|(weak, _)| *weak == oid)?;
        Some((*name).to_owned())
    }

    /// Where this time lies in its life.
    pub(crate) fn life(&self, now: UnixTime) -> Life {
        let Some(parsed) = &self.parsed else { return Life::InForce };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let (begin, end) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        match now {
            _ if now < begin => Life::NotBegun(timestamp(begin)),
            _ if now > end => Life::Over(timestamp(end)),
            _ => Life::InForce,
        }
    }

    /// Its mail addresses, and its host names in lower case; none that could not be shown.
    pub(crate) fn people_and_hosts(&self) -> (Vec<String>, Vec<String>) {
        let (mut people, mut hosts) = (Vec::new(), Vec::new());
        for name in self.general_names() {
            match name {
                GeneralName::RFC822Name(name) if is_plain(name) => people.push((*name).to_owned()),
                GeneralName::DNSName(name) if is_plain(name) => hosts.push(name.to_ascii_lowercase()),
                _ => (),
            }
        }
        (people, hosts)
    }

    /// The names that it is good for (RFC 5280 §4.2.1.6).
    pub(crate) fn general_names(&self) -> &[GeneralName<'a>] {
        let Some(parsed) = &self.parsed else { return &[] };
        match parsed.subject_alternative_name() {
            Ok(Some(extension)) => &extension.value.general_names,
            _ => &[],
        }
    }

    pub(crate) fn describe(&self, chain: usize) -> CertificateSeen {
        let sha256 = fingerprint(self.der);
        let spki_sha256 = self.spki().map(|spki| fingerprint(&spki)).unwrap_or_default();
        let Some(parsed) = &self.parsed else {
            let (subject, issuer) = (UNREADABLE.to_owned(), UNREADABLE.to_owned());
            return CertificateSeen { subject, issuer, sha256, spki_sha256, chain, ..Default::default() };
        };
        CertificateSeen {
            subject: self.subject(),
            issuer: self.issuer(),
            names: self.names_shown(),
            not_before: timestamp(parsed.validity().not_before.timestamp()).to_string(),
            not_after: timestamp(parsed.validity().not_after.timestamp()).to_string(),
            key: key_words(parsed.public_key()),
            signature: oid_words(&parsed.signature_algorithm.algorithm),
            sha256,
            spki_sha256,
            self_signed: self.is_self_signed(),
            chain,
        }
    }

    /// The first few of its names, and how many more there are.
    pub(crate) fn names_shown(&self) -> Vec<String> {
        let names = self.general_names();
        let mut shown: Vec<String> = names.iter().filter_map(shown_name).take(NAMES_SHOWN).collect();
        let more = names.iter().filter_map(shown_name).skip(NAMES_SHOWN).count();
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        shown
    }
}

const UNREADABLE: &str = "unreadable";

/// Signature algorithms with MD2, MD4, MD5 and SHA-1 (RFC 3279 §2.2, RFC 9155).
const WEAK_SIGNATURES: [(&str, &str); 7] = [
    ("1.2.840.113549.1.1.2", "md2WithRSAEncryption"),
    ("1.2.840.113549.1.1.3", "md4WithRSAEncryption"),
    ("1.2.840.113549.1.1.4", "md5WithRSAEncryption"),
    ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
    ("1.3.14.3.2.29", "sha1WithRSASignature"),
    ("1.2.840.10040.4.3", "dsa-with-sha1"),
    ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
];

/// A name for people.
pub(crate) fn words(name: &X509Name<'_>) -> String {
    let text = name.to_string();
    if text.is_empty() { "no name".to_owned() } else { clean(text, LONGEST_NAME) }
}

/// A part of a name that somebody else wrote, fit to be shown.
pub(crate) fn clean_name(text: &str) -> String {
    clean(text, LONGEST_NAME)
}

fn shown_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::RFC822Name(name) => Some(clean(name, LONGEST_NAME)),
        other => name_of(other).map(|name| clean(name, LONGEST_NAME)),
    }
}

/// A name that means to a reader what it means to us.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(|octet| octet.is_ascii_graphic())
}

fn oid_words(oid: &Oid<'_>) -> String {
    match oid2sn(oid, oid_registry()) {
        Ok(name) => name.to_owned(),
        Err(_) => clean(oid.to_id_string(), LONGEST_NAME),
    }
}

/// The key's kind and strength, as administrators write it.
pub(crate) fn key_words(key: &SubjectPublicKeyInfo<'_>) -> String {
    if let Ok(PublicKey::RSA(rsa)) = key.parsed() {
        return format!("RSA {}", rsa_bits(&rsa));
    }
    let algorithm = key.algorithm.algorithm.to_id_string();
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.clone().oid().ok());
    match (algorithm.as_str(), curve.map(|curve| curve.to_id_string()).as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "P-256".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "P-384".to_owned(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "P-521".to_owned(),
        ("1.2.840.10045.2.1", Some(curve)) => clean(format_args!("elliptic curve {curve}"), LONGEST_NAME),
        ("1.3.101.112", _) => "Ed25519".to_owned(),
        ("1.3.101.113", _) => "Ed448".to_owned(),
        _ => oid_words(&key.algorithm.algorithm),
    }
}

/// The length of the modulus, whose first octets may be zero.
fn rsa_bits(key: &RSAPublicKey<'_>) -> usize {
    let zeros = key.modulus.iter().take_while(|octet| **octet == 0).count();
    let Some(first) = key.modulus.get(zeros) else { return 0 };
    (key.modulus.len() - zeros) * 8 - first.leading_zeros() as usize
}
