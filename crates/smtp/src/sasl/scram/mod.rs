//! SCRAM (RFC 5802, RFC 7677, RFC 9266): both sides prove that they know the password, and neither says it.
//!
//! - `client` and `server` are the two sides of an exchange, each a state machine of two messages.
//! - [`keys`] is what a server keeps; `arithmetic` is what both sides compute.
//! - What both read alike stands here: nonces, and the fields at a message's end.

mod arithmetic;
pub(super) mod client;
pub(super) mod keys;
pub(super) mod server;

/// Octets of the whole nonce, and of one side's half where it is the first to speak.
const MAX_NONCE: usize = 512;

/// Why the fields at the end of a message cannot be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BadFields {
    /// A mandatory extension, which nobody here knows.
    Mandatory,
    /// They are malformed.
    Malformed(&'static str),
}

/// `c-nonce`, `s-nonce`: printable, without a comma, at most so long (RFC 5802 §7).
fn is_nonce(text: &str) -> bool {
    let printable = |octet: u8| octet.is_ascii_graphic() && octet != b',';
    !text.is_empty() && text.len() <= MAX_NONCE && text.bytes().all(printable)
}

/// Optional extensions: known to nobody so far, and skipped (RFC 5802 §5.1). The letters that have a meaning are none.
fn extensions<'a>(fields: impl Iterator<Item = &'a str>) -> Result<(), BadFields> {
    for field in fields {
        match field.as_bytes() {
            [b'm', b'=', ..] => return Err(BadFields::Mandatory),
            [b'a' | b'c' | b'e' | b'i' | b'n' | b'p' | b'r' | b's' | b'v', ..] => {
                return Err(BadFields::Malformed("a field stands where it may not"));
            }
            [letter, b'=', _, ..] if letter.is_ascii_alphabetic() && !field.contains('\0') => {}
            _ => return Err(BadFields::Malformed("what stands behind its fields is no extension")),
        }
    }
    Ok(())
}
