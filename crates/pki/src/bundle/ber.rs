//! From BER to DER (X.690): old programs, Firefox and Apple's keychain leave lengths open and write octet strings in pieces.
//!
//! What is in DER already is not touched, so that a certificate inside keeps every octet that its signature is over.

use std::borrow::Cow;

/// What is nested deeper than this no program wrote.
const DEEPEST: usize = 32;

const OBJECT_IDENTIFIER: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const OCTET_STRING_IN_PIECES: u8 = 0x24;
const SEQUENCE: u8 = 0x30;
const EXPLICIT: u8 = 0xa0;
const IMPLICIT: u8 = 0x80;
const CONSTRUCTED: u8 = 0x20;

/// An element, and what is behind it.
type Element<'a> = (Cow<'a, [u8]>, &'a [u8]);

/// What is in a constructed element.
type Parts<'a> = Vec<Cow<'a, [u8]>>;

/// The first element in DER, and what is behind it; `None` if it is damaged.
pub(super) fn first(octets: &[u8]) -> Option<Element<'_>> {
    element(octets, 0)
}

/// An element of this kind around this content.
pub(super) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let octets = length.to_be_bytes();
    let significant = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
    let mut out = Vec::with_capacity(length + 6);
    out.push(tag);
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            out.extend(u8::try_from(significant.len()).map(|count| 0x80 | count));
            out.extend(significant);
        }
    }
    out.extend(content);
    out
}

fn element(octets: &[u8], depth: usize) -> Option<Element<'_>> {
    let (tag, length, body) = header(octets)?;
    if depth > DEEPEST {
        return None;
    }
    let Some(length) = length else {
        let (parts, rest) = parts_until_end(body, depth)?;
        return (tag & CONSTRUCTED != 0).then(|| (Cow::Owned(build(tag, parts)), rest));
    };
    let (content, rest) = body.split_at_checked(length)?;
    let whole = &octets[..octets.len() - rest.len()];
    if tag & CONSTRUCTED == 0 {
        return Some((Cow::Borrowed(whole), rest));
    }
    let parts = parts_of(content, depth)?;
    let as_it_is = tag != OCTET_STRING_IN_PIECES && parts.iter().all(|part| matches!(part, Cow::Borrowed(_)));
    let element = if as_it_is { Cow::Borrowed(whole) } else { Cow::Owned(build(tag, parts)) };
    Some((element, rest))
}

/// Tag, length (`None`: open), and what follows them. Tags of several octets occur nowhere here.
fn header(octets: &[u8]) -> Option<(u8, Option<usize>, &[u8])> {
    let (tag, rest) = octets.split_first().filter(|(tag, _)| **tag & 0x1f != 0x1f)?;
    let (length, rest) = rest.split_first()?;
    match length {
        0x80 => Some((*tag, None, rest)),
        short if *short < 0x80 => Some((*tag, Some(usize::from(*short)), rest)),
        long => {
            let (octets, rest) =
                rest.split_at_checked(usize::from(long & 0x7f)).filter(|(o, _)| o.len() <= 4)?;
            let length = octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet));
            Some((*tag, Some(length), rest))
        }
    }
}

fn parts_of(mut content: &[u8], depth: usize) -> Option<Parts<'_>> {
    let mut parts = Vec::new();
    while !content.is_empty() {
        let (part, rest) = element(content, depth + 1)?;
        parts.push(part);
        content = rest;
    }
    Some(parts)
}

/// X.690 §8.1.5: two zeros end what has no length.
fn parts_until_end(mut rest: &[u8], depth: usize) -> Option<(Parts<'_>, &[u8])> {
    let mut parts = Vec::new();
    loop {
        if let [0, 0, behind @ ..] = rest {
            return Some((parts, behind));
        }
        let (part, behind) = element(rest, depth + 1)?;
        parts.push(part);
        rest = behind;
    }
}

fn build(tag: u8, mut parts: Parts<'_>) -> Vec<u8> {
    if tag == OCTET_STRING_IN_PIECES
        && let Some(content) = joined(&parts)
    {
        return wrap(OCTET_STRING, &content);
    }
    if tag == SEQUENCE {
        join_encrypted_content(&mut parts);
    }
    wrap(tag, &parts.concat())
}

/// The octet string in EncryptedContentInfo (RFC 5652 §8) is tagged implicitly: in pieces it looks as if explicitly.
fn join_encrypted_content(parts: &mut [Cow<'_, [u8]>]) {
    let [kind, algorithm, content] = parts else { return };
    let tags = [kind.first(), algorithm.first(), content.first()];
    if tags != [Some(&OBJECT_IDENTIFIER), Some(&SEQUENCE), Some(&EXPLICIT)] {
        return;
    }
    let pieces = header(content).and_then(|(_, _, body)| parts_of(body, 0)).and_then(|parts| joined(&parts));
    if let Some(pieces) = pieces {
        *content = Cow::Owned(wrap(IMPLICIT, &pieces));
    }
}

/// What octet strings hold, behind each other; `None` if there is anything else among them.
fn joined(parts: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for part in parts {
        let (_, _, body) = header(part).filter(|(tag, ..)| *tag == OCTET_STRING)?;
        content.extend(body);
    }
    Some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(octets: &[u8]) -> Option<Vec<u8>> {
        first(octets).filter(|(_, rest)| rest.is_empty()).map(|(der, _)| der.into_owned())
    }

    #[test]
    fn open_lengths_are_closed_and_pieces_are_joined() {
        let open = [0x30, 0x80, 2, 1, 3, 0x24, 0x80, 4, 1, 7, 4, 2, 8, 9, 0, 0, 0, 0];
        assert_eq!(der(&open).unwrap(), [0x30, 8, 2, 1, 3, 4, 3, 7, 8, 9]);
        let encrypted = [0x30, 0x80, 6, 1, 42, 0x30, 0, 0xa0, 0x80, 4, 1, 7, 4, 1, 8, 0, 0, 0, 0];
        assert_eq!(der(&encrypted).unwrap(), [0x30, 9, 6, 1, 42, 0x30, 0, 0x80, 2, 7, 8]);
    }

    #[test]
    fn what_is_der_already_stays_as_it_is() {
        for octets in [&[0x30, 3, 2, 1, 3][..], &[0x30, 0x81, 3, 2, 1, 3], &[4, 0]] {
            assert!(matches!(first(octets), Some((Cow::Borrowed(same), [])) if same == octets));
        }
    }

    #[test]
    fn what_is_damaged_or_too_deep_is_not_understood() {
        for octets in [&[0x30, 0x80, 2, 1][..], &[0x30, 5, 2, 1, 3], &[4, 0x80, 0, 0], &[0x1f, 1, 0], &[]] {
            assert!(first(octets).is_none(), "{octets:?}");
        }
        assert!(first(&[0x30, 0x80].repeat(10_000)).is_none());
    }

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, header) in [(5, &[4, 5][..]), (0x80, &[4, 0x81, 0x80]), (0x1234, &[4, 0x82, 0x12, 0x34])]
        {
            assert_eq!(wrap(OCTET_STRING, &vec![0; length])[..header.len()], *header);
        }
    }
}
