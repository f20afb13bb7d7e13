//! How much work a protected file asks for before anybody can know whether its passphrase is right.
//!
//! PKCS #12 and PKCS #8 name the rounds of key derivation themselves (RFC 7292 §4, RFC 8018 Appendix A), up to 2³¹ for
//! each of any number of parts: days, if a stranger made the file. So they are added up first. What it deliberately does
//! not do: see parts that are inside an encrypted part; the PKCS #12 library has bounds of its own for each of those.

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
