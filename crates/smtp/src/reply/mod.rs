//! Replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463): building, rendering and strictly parsing them.

pub mod catalogue;
mod parse;

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::text::is_harmless;

pub use parse::{ReplyError, ReplyParser};

/// A complete reply: one code, an optional enhanced code, one or more lines of text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reply {
    /// The three-digit code, 200 to 599.
    pub code: u16,
    /// The enhanced status code (RFC 2034), when there is one.
    pub enhanced: Option<Enhanced>,
    /// The text of each line, without code, enhanced code and line end. Never empty; peers' texts are bounded and
    /// hold no control characters.
    pub lines: Vec<String>,
}

/// An enhanced status code such as `5.7.1` (RFC 3463 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// 0 to 999.
    pub subject: u16,
    /// 0 to 999.
    pub detail: u16,
}

impl Reply {
    /// A one-line reply with an enhanced code.
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<String>) -> Self {
        Self { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// A one-line reply without an enhanced code (greetings, EHLO, 3yz).
    pub fn plain(code: u16, text: impl Into<String>) -> Self {
        Self { code, enhanced: None, lines: vec![text.into()] }
    }

    /// 2yz.
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 4yz.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5yz.
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }

    /// The help token that ends a refusal of our own: `starttls-first`. Only those of the [catalogue] are any.
    pub fn help_token(&self) -> Option<&'static str> {
        let written = self.lines.last()?.strip_suffix(')')?.rsplit_once(" (")?.1;
        let entry = |entry: &&catalogue::Entry| entry.code == self.code && entry.token == Some(written);
        catalogue::ALL.iter().find(entry)?.token
    }

    /// The reply on one line, for logs and reports: `550 5.1.1 No such user here`. Lines are joined by a space.
    pub fn one_line(&self) -> String {
        let text = self.lines.join(" ");
        match self.enhanced {
            Some(enhanced) => format!("{} {enhanced} {text}", self.code),
            None => format!("{} {text}", self.code),
        }
    }
}

/// As on the wire, `code-text` lines and a last `code text` line, each ended by CRLF (RFC 5321 §4.2.1). A control
/// character in a text goes out as `?`: no text can ever make a second reply.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines.iter().enumerate() {
            let separator = if index + 1 == self.lines.len() { ' ' } else { '-' };
            match self.enhanced {
                Some(enhanced) => write!(f, "{}{separator}{enhanced} ", self.code)?,
                None => write!(f, "{}{separator}", self.code)?,
            }
            write_clean(line, f)?;
            f.write_str("\r\n")?;
        }
        Ok(())
    }
}

impl Enhanced {
    /// `class.subject.detail`.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

fn write_clean(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if text.chars().all(is_harmless) {
        return f.write_str(text);
    }
    text.chars().try_for_each(|c| f.write_char(if is_harmless(c) { c } else { '?' }))
}
