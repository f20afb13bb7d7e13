//! Reading a peer's replies (RFC 5321 §4.2), strictly and within bounds.

use memchr::memchr;

use super::{Enhanced, Reply};
use crate::text::clean;

/// Octets of one line with CRLF. RFC 5321 §4.5.3.1.5 allows 512; some servers write more.
const MAX_LINE: usize = 1000;
/// Lines of one reply.
const MAX_LINES: usize = 128;

/// Puts a peer's replies together from pieces of any size.
///
/// It trusts nothing: every line of a reply must bear the same code, lines must end with CRLF, both their length and
/// their number are bounded, and the text is [cleaned](clean).
#[derive(Debug, Clone, Default)]
pub struct ReplyParser {
    line: Vec<u8>,
    reply: Option<Reply>,
}

/// How a peer broke the grammar of replies. Nothing it says afterwards can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// A line does not begin with a code from 200 to 599, or no blank or hyphen follows the code.
    #[error("a line of the reply does not begin with a reply code")]
    BadCode,
    /// The lines of one reply bear different codes (RFC 5321 §4.2.1).
    #[error("the lines of the reply bear different codes")]
    CodesDiffer,
    /// A line is longer than 1000 octets.
    #[error("a line of the reply is longer than 1000 octets")]
    LineTooLong,
    /// The reply has more than 128 lines.
    #[error("the reply has more than 128 lines")]
    TooManyLines,
    /// A line ends with LF only (RFC 5321 §2.3.8).
    #[error("a line of the reply ends with LF instead of CRLF")]
    BareLf,
}

impl ReplyParser {
    /// A parser between replies.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes up to the end of one reply; says how many it took, and the reply if it is complete. What was not
    /// taken belongs to the next reply.
    ///
    /// # Errors
    /// The peer's fault; the connection must be given up.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), ReplyError> {
        let mut rest = input;
        while let Some(end) = memchr(b'\n', rest) {
            self.take(&rest[..=end])?;
            rest = &rest[end + 1..];
            if let Some(reply) = self.end_line()? {
                return Ok((input.len() - rest.len(), Some(reply)));
            }
        }
        self.take(rest)?;
        Ok((input.len(), None))
    }

    /// Whether a reply has begun but not ended.
    pub fn is_midway(&self) -> bool {
        !self.line.is_empty() || self.reply.is_some()
    }

    fn take(&mut self, piece: &[u8]) -> Result<(), ReplyError> {
        if self.line.len() + piece.len() > MAX_LINE {
            return Err(ReplyError::LineTooLong);
        }
        self.line.extend_from_slice(piece);
        Ok(())
    }

    /// The line is complete: adds it to the reply, and gives the reply out if it was the last.
    fn end_line(&mut self) -> Result<Option<Reply>, ReplyError> {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r\n").ok_or(ReplyError::BareLf)?;
        let (code, is_last, text) = split_line(line)?;
        let reply = match self.reply.take() {
            None => first_line(code, &text),
            Some(reply) if reply.code != code => return Err(ReplyError::CodesDiffer),
            Some(reply) if reply.lines.len() == MAX_LINES => return Err(ReplyError::TooManyLines),
            Some(reply) => further_line(reply, &text),
        };
        if is_last {
            return Ok(Some(reply));
        }
        self.reply = Some(reply);
        Ok(None)
    }
}

/// Code, whether this is the last line, text. RFC 5321 §4.2: a code alone on a line is to be taken too.
fn split_line(line: &[u8]) -> Result<(u16, bool, String), ReplyError> {
    let (digits, rest) = line.split_at_checked(3).ok_or(ReplyError::BadCode)?;
    let code = number(digits).filter(|code| (200..600).contains(code)).ok_or(ReplyError::BadCode)?;
    match rest {
        [] => Ok((code, true, String::new())),
        [b' ', text @ ..] => Ok((code, true, words(text))),
        [b'-', text @ ..] => Ok((code, false, words(text))),
        _ => Err(ReplyError::BadCode),
    }
}

fn first_line(code: u16, text: &str) -> Reply {
    let (enhanced, text) = split_enhanced(code, text);
    Reply { code, enhanced, lines: vec![text.to_owned()] }
}

/// Further lines repeat the enhanced code of the first (RFC 2034 §4), which is kept once.
fn further_line(mut reply: Reply, text: &str) -> Reply {
    let rest = match split_enhanced(reply.code, text) {
        (Some(enhanced), rest) if reply.enhanced == Some(enhanced) => rest,
        _ => text,
    };
    reply.lines.push(rest.to_owned());
    reply
}

/// Splits the enhanced code off, if there is one and its class fits the code (RFC 2034 §4).
fn split_enhanced(code: u16, text: &str) -> (Option<Enhanced>, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match parse_enhanced(word) {
        Some(enhanced) if u16::from(enhanced.class) == code / 100 => (Some(enhanced), rest),
        _ => (None, text),
    }
}

/// RFC 3463 §2: `class.subject.detail`, the latter two of up to three digits.
fn parse_enhanced(word: &str) -> Option<Enhanced> {
    let mut parts = word.split('.').map(|part| number(part.as_bytes()));
    let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
    let class = u8::try_from(class).ok().filter(|class| matches!(class, 2 | 4 | 5))?;
    parts.next().is_none().then_some(Enhanced { class, subject, detail })
}

/// One to three digits, without a leading zero.
fn number(digits: &[u8]) -> Option<u16> {
    let padded = digits.len() > 1 && digits[0] == b'0';
    if !(1..=3).contains(&digits.len()) || padded || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0')))
}

/// The text as it can be logged and passed on.
fn words(text: &[u8]) -> String {
    clean(String::from_utf8_lossy(text), MAX_LINE)
}
