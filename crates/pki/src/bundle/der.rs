//! What a piece of DER is, told by the kinds of its first elements.
//!
//! Certificates are cut out of PKCS #7 as they stand: a library that reads them and writes them again would break the
//! signature of any that is not in the one form that DER allows, and there are such.

use std::borrow::Cow;

use x509_parser::asn1_rs::{Any, Class, FromBer, FromDer, Header, Length, Tag};
use x509_parser::prelude::X509Certificate;

use super::{BundleTrouble, Item, ber};

/// So many elements tell what something is.
const ELEMENTS: usize = 10;
/// What PKCS #7 with certificates is (RFC 5652 §5.1): signed-data.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// RFC 5280 §4.1.
    Certificate,
    /// RFC 2986 §4.
    Request,
    /// RFC 5280 §5.1.
    RevocationList,
    /// RFC 5652 §3.
    Pkcs7,
    /// RFC 7292 §4.
    Pkcs12,
    /// RFC 5958 §2.
    Pkcs8,
    /// RFC 8017 Appendix A.1.2.
    Pkcs1,
    /// RFC 5915 §3.
    Sec1,
    /// RFC 5958 §3.
    LockedKey,
    /// DSA, which nothing uses any more.
    OtherKey,
    /// RFC 5280 §4.1.2.7.
    PublicKey,
}

impl Form {
    /// What it is good for.
    pub(super) fn item(self) -> Option<Item> {
        match self {
            Self::Certificate | Self::Pkcs7 => Some(Item::Certificate),
            Self::Request => Some(Item::Request),
            Self::Pkcs8 | Self::Pkcs1 | Self::Sec1 | Self::LockedKey | Self::OtherKey => Some(Item::Key),
            Self::Pkcs12 | Self::RevocationList | Self::PublicKey => None,
        }
    }

    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Request => "certificate request",
            Self::RevocationList => "list of revoked certificates",
            Self::Pkcs7 => "PKCS #7 file",
            Self::Pkcs12 => "PKCS #12 file",
            Self::Pkcs8 | Self::Pkcs1 | Self::Sec1 | Self::OtherKey => "private key",
            Self::LockedKey => "protected private key",
            Self::PublicKey => "public key",
        }
    }
}

/// The first element, whole and in DER, and what is behind it.
pub(super) fn element(octets: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), BundleTrouble> {
    if octets.first() != Some(&0x30) {
        return Err(BundleTrouble::Garbage);
    }
    let Ok((content, header)) = Header::from_ber(octets) else { return Err(cut_in_header(octets)) };
    let Length::Definite(length) = header.length() else {
        return ber::first(octets).ok_or(BundleTrouble::NoEndOfContents);
    };
    let Some((_, rest)) = content.split_at_checked(length) else {
        let wants = (octets.len() - content.len()) as u64;
        return Err(BundleTrouble::Truncated {
            has: octets.len(),
            wants: wants.saturating_add(length as u64),
        });
    };
    let element = &octets[..octets.len() - rest.len()];
    Ok((ber::first(element).map_or(Cow::Borrowed(element), |(der, _)| der), rest))
}

/// Too short for what its own header says, or no header at all.
fn cut_in_header(octets: &[u8]) -> BundleTrouble {
    match octets {
        [_] => BundleTrouble::Truncated { has: 1, wants: 2 },
        [_, length, ..] if length & 0x80 != 0 && octets.len() < 2 + usize::from(length & 0x7f) => {
            BundleTrouble::Truncated { has: octets.len(), wants: 2 + u64::from(length & 0x7f) }
        }
        _ => BundleTrouble::Garbage,
    }
}

/// What an element is; `None` if it is nothing that is known.
pub(super) fn form(element: &[u8]) -> Option<Form> {
    let (_, outer) = Any::from_der(element).ok()?;
    let shape = shape(outer.data);
    match shape.as_str() {
        "SSB" => signed(outer.data),
        "SO" => Some(Form::LockedKey),
        "SB" => Some(Form::PublicKey),
        "D0" => Some(Form::Pkcs7),
        "IS" | "ISS" => Some(Form::Pkcs12),
        "IIIIII" => Some(Form::OtherKey),
        _ if shape.starts_with("ISO") => Some(Form::Pkcs8),
        _ if shape.starts_with("IO") => Some(Form::Sec1),
        _ if shape.starts_with("IIIIIIIII") => Some(Form::Pkcs1),
        _ => None,
    }
}

/// How many elements this one holds; those beyond the first few are not counted.
pub(super) fn parts_of(element: &[u8]) -> usize {
    Any::from_der(element).map_or(0, |(_, outer)| shape(outer.data).len())
}

/// Certificates, requests and lists of revoked certificates are all signed in the same way.
fn signed(content: &[u8]) -> Option<Form> {
    let (_, inner) = Any::from_der(content).ok()?;
    let shape = shape(inner.data);
    match shape.as_str() {
        "ISS" | "ISS0" => Some(Form::Request),
        _ if shape.starts_with("0I") || shape.starts_with("ISSSSS") => Some(Form::Certificate),
        _ if shape.starts_with("ISST") || shape.starts_with("SST") => Some(Form::RevocationList),
        _ => None,
    }
}

/// A letter for the kind of each of the first elements.
fn shape(mut octets: &[u8]) -> String {
    let mut shape = String::new();
    while let Ok((rest, element)) = Any::from_der(octets) {
        shape.push(letter(&element));
        if rest.is_empty() || shape.len() == ELEMENTS {
            break;
        }
        octets = rest;
    }
    shape
}

fn letter(element: &Any<'_>) -> char {
    match (element.class(), element.tag()) {
        (Class::Universal, Tag::Sequence) => 'S',
        (Class::Universal, Tag::Integer) => 'I',
        (Class::Universal, Tag::OctetString) => 'O',
        (Class::Universal, Tag::BitString) => 'B',
        (Class::Universal, Tag::Oid) => 'D',
        (Class::Universal, Tag::UtcTime | Tag::GeneralizedTime) => 'T',
        (Class::ContextSpecific, Tag(0)) => '0',
        (Class::ContextSpecific, _) => '1',
        _ => '?',
    }
}

/// Makes sure that everything in a certificate can be read.
pub(super) fn check_certificate(element: &[u8]) -> Result<(), BundleTrouble> {
    let damaged = |reason: String| BundleTrouble::Damaged { item: "certificate", reason };
    let (rest, _) = X509Certificate::from_der(element).map_err(|error| damaged(error.to_string()))?;
    if rest.is_empty() { Ok(()) } else { Err(damaged(format!("{} octets follow its end", rest.len()))) }
}

/// The certificates of a PKCS #7 file (RFC 5652 §5.1), each as it stands.
pub(super) fn certificates_of_pkcs7(element: &[u8]) -> Result<Vec<&[u8]>, BundleTrouble> {
    let damaged = || BundleTrouble::Damaged { item: "PKCS #7 file", reason: "it cannot be read".to_owned() };
    let content = |octets| Any::from_der(octets).map(|(_, any)| any.data).map_err(|_| damaged());
    let outer = content(element)?;
    let (rest, kind) = Any::from_der(outer).map_err(|_| damaged())?;
    if kind.data != SIGNED_DATA {
        return Err(BundleTrouble::UnknownContainer(
            "this PKCS #7 file holds a message, not certificates; ask the authority for the certificate itself",
        ));
    }
    let mut parts = content(content(rest)?)?;
    while let Ok((behind, part)) = Any::from_der(parts) {
        if (part.class(), part.tag()) == (Class::ContextSpecific, Tag(0)) {
            return sequences(part.data).ok_or_else(damaged);
        }
        parts = behind;
    }
    Ok(Vec::new())
}

/// The elements that are sequences; others are of old kinds that nobody uses.
fn sequences(mut octets: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !octets.is_empty() {
        let (rest, any) = Any::from_der(octets).ok()?;
        let (element, _) = octets.split_at(octets.len() - rest.len());
        if (any.class(), any.tag()) == (Class::Universal, Tag::Sequence) {
            found.push(element);
        }
        octets = rest;
    }
    Some(found)
}

/// A PKCS #12 file whose inside is in BER, made anew in DER; `None` if that is not what it is.
///
/// The checksum is left out, because it is over the octets as they were: whoever calls this has checked it.
pub(super) fn pkcs12_inside_in_der(element: &[u8]) -> Option<Vec<u8>> {
    let (_, outer) = Any::from_der(element).ok()?;
    let (behind, version) = Any::from_der(outer.data).ok()?;
    let version = ber::wrap(0x02, version.data);
    let (_, content) = Any::from_der(behind).ok()?;
    let (explicit, kind) = Any::from_der(content.data).ok()?;
    let (_, explicit) = Any::from_der(explicit).ok()?;
    let (_, string) = Any::from_der(explicit.data).ok()?;
    let (inside, _) = ber::first(string.data)?;
    let Cow::Owned(inside) = inside else { return None };
    let explicit = ber::wrap(0xa0, &ber::wrap(0x04, &inside));
    let content = ber::wrap(0x30, &[ber::wrap(0x06, kind.data), explicit].concat());
    Some(ber::wrap(0x30, &[version, content].concat()))
}
