//! Finding command lines in the bytes of a client, strictly: a line ends with CRLF and with nothing else.
//!
//! A bare CR, a bare LF or a NUL anywhere is a [`Violation`]: whoever sends one means two servers to see two
//! different command streams (RFC 5321 §2.3.8), or is broken beyond trust. A line without end is bounded by
//! [`MAX_COMMAND_LINE`] and, for AUTH and the lines of its exchange, [`MAX_AUTH_LINE`].

use memchr::memchr3;

use crate::content::Violation;

/// Octets of a command line with its CRLF: the 512 of RFC 5321 §4.5.3.1.4 and what the extensions add to MAIL, which
/// is more than what they add to RCPT: SIZE 26 (RFC 1870 §3), BODY 17 (RFC 6152 §3), AUTH 500 (RFC 4954 §3),
/// SMTPUTF8 10 (RFC 6531 §3.1), RET and ENVID 9 + 107 (RFC 3461 §4.3, §4.4); rounded up, as a UTF-8 address may
/// also come three times as long in an ORCPT of 500 characters (RFC 3461 §4.2).
pub const MAX_COMMAND_LINE: usize = 2048;

/// Octets of an AUTH command and of each line of its exchange, with CRLF (RFC 4954 §4).
pub const MAX_AUTH_LINE: usize = 12_288;

/// What the bytes at the front of a buffer are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line.
    Complete {
        /// Without CRLF.
        line: &'a [u8],
        /// How many octets to take off the buffer, CRLF included.
        consumed: usize,
    },
    /// The line goes on: more bytes are needed.
    Incomplete,
    /// A bare CR, a bare LF or a NUL: nothing behind it can be trusted.
    Violation(Violation),
    /// The line is longer than allowed; answer 500 5.5.2 once and drop the rest of it with [`skip_line`].
    TooLong,
}

/// How much of an overlong line [`skip_line`] dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// How many octets to take off the buffer.
    pub consumed: usize,
    /// Whether the line's end was among them; if not, go on with the next bytes.
    pub ended: bool,
}

/// The limit for the command line at the front of a buffer: longer for AUTH, which may bring an initial response.
pub fn command_line_limit(buffer: &[u8]) -> usize {
    const AUTH: &[u8] = b"AUTH ";
    let is_auth = buffer.get(..AUTH.len()).is_some_and(|start| start.eq_ignore_ascii_case(AUTH));
    if is_auth { MAX_AUTH_LINE } else { MAX_COMMAND_LINE }
}

/// Looks for a line of at most `limit` octets (CRLF included) at the front of the buffer.
pub fn next_line(buffer: &[u8], limit: usize) -> Line<'_> {
    match find_end(buffer) {
        Err(violation) => Line::Violation(violation),
        Ok(Some(end)) if end + 2 <= limit => Line::Complete { line: &buffer[..end], consumed: end + 2 },
        Ok(None) if buffer.len() < limit => Line::Incomplete,
        Ok(_) => Line::TooLong,
    }
}

/// Drops an overlong line up to its CRLF. A CR at the very end stays, as its LF may be on the way.
///
/// # Errors
/// The rest of an overlong line must not hold a bare CR, a bare LF or a NUL either.
pub fn skip_line(buffer: &[u8]) -> Result<Skipped, Violation> {
    Ok(match find_end(buffer)? {
        Some(end) => Skipped { consumed: end + 2, ended: true },
        None if buffer.ends_with(b"\r") => Skipped { consumed: buffer.len() - 1, ended: false },
        None => Skipped { consumed: buffer.len(), ended: false },
    })
}

/// Where the first CRLF stands.
fn find_end(buffer: &[u8]) -> Result<Option<usize>, Violation> {
    let Some(at) = memchr3(b'\r', b'\n', 0, buffer) else {
        return Ok(None);
    };
    match (buffer[at], buffer.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(Some(at)),
        (b'\r', None) => Ok(None),
        (b'\r', Some(_)) => Err(Violation::BareCr),
        (b'\n', _) => Err(Violation::BareLf),
        _ => Err(Violation::Nul),
    }
}
