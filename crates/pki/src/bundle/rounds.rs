//! How much work a protected file asks for before anybody can know whether its passphrase is right.
//!
//! PKCS #12 and PKCS #8 name the rounds of key derivation themselves (RFC 7292 §4, RFC 8018 Appendix A), up to 2³¹ for
//! each of any number of parts: days, if a stranger made the file. So they are added up first: [`asked_by`]. Where that is
//! not too much, encrypted parts of PKCS #12 files are opened to see what the parts inside them ask for:
//! [`asked_within`]. What it deliberately does not do: keep anything of what it saw there.

use pkcs8::der::Decode as _;
use pkcs8::pkcs5::EncryptionScheme;
use zeroize::Zeroizing;

use super::ber;
use x509_parser::asn1_rs::{Any, Class, FromDer, Tag};

/// So many rounds are tried; about two seconds. OpenSSL asks for 2048 by itself, and careful people for up to a million.
pub(super) const MOST: u64 = 4_000_000;
/// A file that is nested deeper than this is none that a program wrote.
const DEEPEST: usize = 32;
/// A round of scrypt counts as much as these others, and takes 128 octets of memory at once.
const SCRYPT_WEIGHT: u64 = 4;
/// PKCS #12's own derivation (RFC 7292 Appendix B.2) goes through its rounds for the key, twice, and for the first block.
const PKCS12_WEIGHT: u64 = 3;

/// An encrypted part by a scheme that is opened by the library alone may be so large, in octets: what is inside it cannot
/// be seen before, and each key takes it some 150 octets and a million rounds at most. There is room for 20 certificates.
const OPAQUE_MOST: usize = 32 * 1024;

/// PBKDF2 (RFC 8018 Appendix A.2).
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// scrypt (RFC 7914 §7).
const SCRYPT: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x04, 0x0b];
/// All of the schemes of PKCS #12 (RFC 7292 Appendix C).
const PKCS12_SCHEMES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
/// All of the schemes of PKCS #5 (RFC 8018 Appendix A.3).
const PKCS5_SCHEMES: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05];

/// The rounds that opening this element takes, all its parts together; `u64::MAX` if that cannot be told.
pub(super) fn asked_by(der: &[u8]) -> u64 {
    walk(der, 0)
}

/// The rounds that opening what is inside the encrypted parts takes. Costs as many rounds as [`asked_by`] says.
pub(super) fn asked_within(der: &[u8], passphrase: &str) -> u64 {
    encrypted_parts(der, 0).iter().map(|part| part.rounds_within(passphrase)).fold(0, u64::saturating_add)
}

/// EncryptedContentInfo (RFC 5652 §6.1).
struct EncryptedPart {
    /// AlgorithmIdentifier in DER.
    scheme: Vec<u8>,
    content: Vec<u8>,
}

impl EncryptedPart {
    fn of(element: &Any<'_>) -> Option<Self> {
        if !is_universal(element, Tag::Sequence) {
            return None;
        }
        let (behind_kind, kind) = Any::from_der(element.data).ok()?;
        let (behind_scheme, scheme) = Any::from_der(behind_kind).ok()?;
        let (_, content) = Any::from_der(behind_scheme).ok()?;
        let is_content = content.class() == Class::ContextSpecific && content.tag() == Tag(0);
        if !is_universal(&kind, Tag::Oid) || !is_universal(&scheme, Tag::Sequence) || !is_content {
            return None;
        }
        let scheme = behind_kind.get(..behind_kind.len() - behind_scheme.len())?;
        Some(Self { scheme: scheme.to_vec(), content: content.data.to_vec() })
    }

    fn rounds_within(&self, passphrase: &str) -> u64 {
        match EncryptionScheme::from_der(&self.scheme) {
            // With another passphrase there is nothing to be opened.
            Ok(scheme) => scheme
                .decrypt(passphrase, &self.content)
                .map_or(0, |plain| asked_by(Zeroizing::new(plain).as_slice())),
            Err(_) if self.content.len() > OPAQUE_MOST => u64::MAX,
            Err(_) => 0,
        }
    }
}

fn encrypted_parts(octets: &[u8], depth: usize) -> Vec<EncryptedPart> {
    let mut found = Vec::new();
    let mut rest = octets;
    while let Ok((behind, element)) = Any::from_der(rest) {
        if let Some(part) = EncryptedPart::of(&element) {
            found.push(part);
        } else if depth >= DEEPEST {
            break;
        } else if element.header.is_constructed() {
            found.extend(encrypted_parts(element.data, depth + 1));
        } else if is_universal(&element, Tag::OctetString)
            && let Some((der, _)) = ber::first(element.data)
        {
            found.extend(encrypted_parts(&der, depth + 1));
        }
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    found
}

fn walk(octets: &[u8], depth: usize) -> u64 {
    if depth > DEEPEST {
        return u64::MAX;
    }
    let mut sum: u64 = 0;
    let mut rest = octets;
    while let Ok((behind, element)) = Any::from_der(rest) {
        sum = sum.saturating_add(own(&element));
        sum = sum.saturating_add(inside(&element, depth + 1));
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    sum
}

fn inside(element: &Any<'_>, depth: usize) -> u64 {
    if element.header.is_constructed() {
        return walk(element.data, depth);
    }
    if !is_universal(element, Tag::OctetString) {
        return 0;
    }
    // What an octet string holds may be in BER, whatever is around it.
    ber::first(element.data).map_or(0, |(der, _)| walk(&der, depth))
}

/// The rounds that this element itself names.
fn own(element: &Any<'_>) -> u64 {
    if !is_universal(element, Tag::Sequence) {
        return 0;
    }
    let parts = parts(element.data);
    match &parts[..] {
        [oid, parameters, ..] if is_universal(oid, Tag::Oid) => derivation(oid.data, parameters.data),
        // MacData (RFC 7292 §4): digest, salt, iterations.
        [digest, salt, iterations]
            if is_universal(digest, Tag::Sequence) && is_universal(salt, Tag::OctetString) =>
        {
            number(iterations)
        }
        _ => 0,
    }
}

fn derivation(oid: &[u8], parameters: &[u8]) -> u64 {
    let parts = parts(parameters);
    match &parts[..] {
        [_, iterations, ..] if oid == PBKDF2 => number(iterations),
        [_, cost, block, parallel, ..] if oid == SCRYPT => {
            let product = number(cost).saturating_mul(number(block)).saturating_mul(number(parallel));
            product.saturating_mul(SCRYPT_WEIGHT)
        }
        [_, iterations] if oid.starts_with(PKCS12_SCHEMES) => {
            number(iterations).saturating_mul(PKCS12_WEIGHT)
        }
        [_, iterations] if oid.starts_with(PKCS5_SCHEMES) => number(iterations),
        _ => 0,
    }
}

/// The first few elements.
fn parts(mut octets: &[u8]) -> Vec<Any<'_>> {
    let mut parts = Vec::new();
    while let Ok((rest, element)) = Any::from_der(octets) {
        parts.push(element);
        if rest.is_empty() || parts.len() == 6 {
            break;
        }
        octets = rest;
    }
    parts
}

/// A number of rounds; what is negative or beyond all measure is too much. What is no number is none.
fn number(element: &Any<'_>) -> u64 {
    if !is_universal(element, Tag::Integer) {
        return 0;
    }
    if element.data.len() > 8 || element.data.first().is_none_or(|first| first & 0x80 != 0) {
        return u64::MAX;
    }
    element.data.iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet))
}

fn is_universal(element: &Any<'_>, tag: Tag) -> bool {
    element.class() == Class::Universal && element.tag() == tag
}

#[cfg(test)]
mod tests {
    use pkcs8::der::Encode as _;
    use pkcs8::pkcs5::pbes2;

    use super::*;

    /// An element with a short or long length.
    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], content].concat()
    }

    fn scheme(rounds: u32) -> pbes2::Parameters {
        pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(rounds, &[1; 16], [2; 16]).unwrap()
    }

    fn part(scheme: &[u8], content: &[u8]) -> Vec<u8> {
        // Its kind is of no account to the library either.
        let parts = [element(0x06, &[0x2a, 0x03]), scheme.to_vec(), element(0x80, content)];
        element(0x30, &parts.concat())
    }

    #[test]
    fn keys_inside_an_encrypted_part_are_counted() {
        let key = EncryptionScheme::from(scheme(1_000_000)).to_der().unwrap();
        let keys: Vec<u8> = (0..5).flat_map(|_| element(0x30, &key)).collect();
        let outer = scheme(1);
        let content = outer.encrypt("secret", &element(0x30, &keys)).unwrap();
        let file = element(0x30, &part(&EncryptionScheme::from(outer).to_der().unwrap(), &content));
        assert_eq!(asked_by(&file), 1);
        assert_eq!(asked_within(&file, "secret"), 5_000_000);
        assert_eq!(asked_within(&file, "other"), 0);
    }

    #[test]
    fn what_cannot_be_looked_into_must_be_small() {
        let old = element(0x30, &element(0x06, &[PKCS12_SCHEMES, &[3]].concat()));
        assert_eq!(asked_within(&part(&old, &vec![0; 2000]), "secret"), 0);
        assert_eq!(asked_within(&part(&old, &vec![0; 40_000]), "secret"), u64::MAX);
    }
}
