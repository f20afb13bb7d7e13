//! The two encodings that carry any text inside an ESMTP parameter: xtext (RFC 3461 §4) and, for
//! internationalised addresses, utf-8-addr-xtext (RFC 6533 §3).

use std::fmt::Write;

/// Encodes as xtext: `+`, `=`, blanks, controls and octets over 126 become `+XX` (RFC 3461 §4).
pub fn xtext_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b'+' | b'=' => push_hex(&mut encoded, octet),
            b'!'..=b'~' => encoded.push(char::from(octet)),
            _ => push_hex(&mut encoded, octet),
        }
    }
    encoded
}

/// Decodes xtext; `None` when it is malformed or does not decode to UTF-8.
pub fn xtext_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'+' => decoded.push(hex_digit(octets.next()?)? << 4 | hex_digit(octets.next()?)?),
            b'=' => return None,
            b'!'..=b'~' => decoded.push(octet),
            _ => return None,
        }
    }
    String::from_utf8(decoded).ok()
}

/// Encodes an address as utf-8-addr-xtext, which is ASCII: what may not stand as it is becomes `\x{HEX}`.
pub(crate) fn utf8_xtext_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if is_qchar(c) {
            encoded.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "\\x{{{:02X}}}", u32::from(c));
        }
    }
    encoded
}

/// Decodes utf-8-addr-xtext and utf-8-addr-unitext; `None` when malformed.
pub(crate) fn utf8_xtext_decode(text: &str) -> Option<String> {
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(escape) = rest.strip_prefix("\\x{") {
            let (hex, after) = escape.split_once('}')?;
            decoded.push(code_point(hex)?);
            rest = after;
        } else if is_qchar(c) || (!c.is_ascii() && !c.is_control()) {
            decoded.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            return None;
        }
    }
    Some(decoded)
}

/// RFC 6533 §3 QCHAR.
fn is_qchar(c: char) -> bool {
    matches!(c, '!'..='~') && !matches!(c, '+' | '=' | '\\')
}

/// RFC 6533 §3 HEXPOINT: two to six upper-case digits; control characters are not let in.
fn code_point(hex: &str) -> Option<char> {
    let digits = |c: u8| hex_digit(c).is_some();
    if !(2..=6).contains(&hex.len()) || !hex.bytes().all(digits) {
        return None;
    }
    let c = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
    (!c.is_control()).then_some(c)
}

/// RFC 3461 §4 hexchar has upper-case digits only.
fn hex_digit(octet: u8) -> Option<u8> {
    match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    }
}

fn push_hex(encoded: &mut String, octet: u8) {
    // Writing to a string cannot fail.
    let _ = write!(encoded, "+{octet:02X}");
}
