//! One typed command per line (RFC 5321 §4.1.1).
//!
//! [`Command::parse`] takes a line as [`line::next_line`](crate::line::next_line) found it, without CRLF. The grammar is
//! that of RFC 5321 and of the extensions that Postern offers: every parameter is typed, may come once, and is
//! refused (555) when unknown. `DATA now` is 501, never DATA.
//!
//! Two departures are allowed, because RFC 5321 §4.1.1 asks for the first and many programs need the second: blanks
//! at the end of any line, and one space between `MAIL FROM:` or `RCPT TO:` and the path.
//!
//! What this deliberately does not do: decide whether the command is allowed now (the session's table of legality
//! does), or decode the credentials of AUTH.

mod params;
mod xclient;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::{AddressError, ForwardPath, ReversePath};
use crate::envelope::{Mail, MailParams, Rcpt, RcptParams};
use crate::reply::{Reply, catalogue};
use crate::secret::Secret;

pub use crate::line::{MAX_AUTH_LINE, MAX_COMMAND_LINE};
pub(crate) use xclient::ATTRIBUTES;
pub use xclient::Introduction;

/// Characters of the name in EHLO and HELO.
const MAX_HELLO: usize = 255;

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `EHLO name` (RFC 5321 §4.1.1.1).
    Ehlo(String),
    /// `HELO name`.
    Helo(String),
    /// `MAIL FROM:<…>` (RFC 5321 §4.1.1.2).
    Mail(Mail),
    /// `RCPT TO:<…>` (RFC 5321 §4.1.1.3).
    Rcpt(Rcpt),
    /// `DATA` (RFC 5321 §4.1.1.4).
    Data,
    /// `BDAT size [LAST]` (RFC 3030 §2).
    Bdat {
        /// Octets that follow the line.
        size: u64,
        /// Whether this chunk is the last.
        last: bool,
    },
    /// `RSET` (RFC 5321 §4.1.1.5).
    Rset,
    /// `NOOP`, with or without words (RFC 5321 §4.1.1.9).
    Noop,
    /// `HELP`, with or without words (RFC 5321 §4.1.1.8).
    Help,
    /// `VRFY words` (RFC 5321 §4.1.1.6).
    Vrfy,
    /// `EXPN words` (RFC 5321 §4.1.1.7).
    Expn,
    /// `QUIT` (RFC 5321 §4.1.1.10).
    Quit,
    /// `STARTTLS` (RFC 3207 §4).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954 §4).
    Auth {
        /// In upper case.
        mechanism: String,
        /// Not decoded.
        initial: Option<InitialResponse>,
    },
    /// `XCLIENT attributes` (Postfix's `XCLIENT_README`).
    Xclient(Introduction),
    /// Something else; its first word if that looks like a verb, or nothing.
    Unknown(String),
}

/// The initial response of AUTH: base64 text, or `=` for an empty one (RFC 4954 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialResponse(Secret);

/// The verbs: rows of the table that says what is allowed when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// EHLO.
    Ehlo,
    /// HELO.
    Helo,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// BDAT.
    Bdat,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// HELP.
    Help,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// QUIT.
    Quit,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// XCLIENT.
    Xclient,
    /// Anything else.
    Unknown,
}

/// Why a line that begins with a verb is not that command. The client's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyntaxError {
    /// The verb's argument is missing, malformed, or one too many.
    #[error("the arguments of {0} are malformed")]
    Arguments(Verb),
    /// The line is not UTF-8, or holds a control character.
    #[error("the arguments of {0} hold characters that may not stand there")]
    Characters(Verb),
    /// The path of MAIL or RCPT is malformed.
    #[error("the path of {verb} is malformed: {error}")]
    Path {
        /// MAIL or RCPT.
        verb: Verb,
        /// What is wrong with it.
        error: AddressError,
    },
    /// The value of a parameter is malformed or missing, or the parameter takes none.
    #[error("the parameter {keyword} of {verb} is malformed")]
    Parameter {
        /// MAIL or RCPT.
        verb: Verb,
        /// In upper case, bounded.
        keyword: String,
    },
    /// A parameter comes twice.
    #[error("the parameter {keyword} of {verb} is given twice")]
    DuplicateParameter {
        /// MAIL or RCPT.
        verb: Verb,
        /// In upper case, bounded.
        keyword: String,
    },
    /// A parameter that MAIL or RCPT does not have here (RFC 5321 §4.1.1.11: 555).
    #[error("the parameter {keyword} of {verb} is not known")]
    UnknownParameter {
        /// MAIL or RCPT.
        verb: Verb,
        /// In upper case, bounded.
        keyword: String,
    },
    /// The initial response of AUTH is not base64 (RFC 4954 §4: 501 5.5.2).
    #[error("the initial response of AUTH is not base64")]
    InitialResponse,
}

impl Command {
    /// Understands one line (without CRLF). A verb that nobody knows is a command too: [`Command::Unknown`].
    ///
    /// # Errors
    /// The client's fault: the verb is known, but what follows it is not its argument. The reply comes from
    /// [`SyntaxError::reply`], after the session has checked whether the verb was allowed at all.
    pub fn parse(line: &[u8]) -> Result<Self, SyntaxError> {
        // RFC 5321 §4.1.1: trailing white space is to be tolerated.
        let line = trim_blanks_end(line);
        let end = line.iter().position(|c| *c == b' ').unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        let verb = Verb::from_word(word);
        if verb == Verb::Unknown {
            return Ok(Self::Unknown(printable_verb(word)));
        }
        let rest = clean_text(rest).ok_or(SyntaxError::Characters(verb))?;
        let argument = rest.strip_prefix(' ');
        verb.parse_argument(argument)
    }

    /// The verb, which says when it is allowed.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Ehlo(_) => Verb::Ehlo,
            Self::Helo(_) => Verb::Helo,
            Self::Mail(_) => Verb::Mail,
            Self::Rcpt(_) => Verb::Rcpt,
            Self::Data => Verb::Data,
            Self::Bdat { .. } => Verb::Bdat,
            Self::Rset => Verb::Rset,
            Self::Noop => Verb::Noop,
            Self::Help => Verb::Help,
            Self::Vrfy => Verb::Vrfy,
            Self::Expn => Verb::Expn,
            Self::Quit => Verb::Quit,
            Self::StartTls => Verb::StartTls,
            Self::Auth { .. } => Verb::Auth,
            Self::Xclient(_) => Verb::Xclient,
            Self::Unknown(_) => Verb::Unknown,
        }
    }
}

impl InitialResponse {
    /// The base64 text as it came; `=` stands for an empty response.
    pub fn expose(&self) -> &[u8] {
        self.0.expose()
    }

    /// Checks the characters only; the exchange decodes it.
    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let is_base64 = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/' | b'=');
        if text.is_empty() || !text.bytes().all(is_base64) {
            return Err(SyntaxError::InitialResponse);
        }
        Ok(Self(Secret::new(text)))
    }
}

impl Verb {
    /// Every verb that has a name, with it.
    pub const NAMED: &[(Self, &str)] = &[
        (Self::Ehlo, "EHLO"),
        (Self::Helo, "HELO"),
        (Self::Mail, "MAIL"),
        (Self::Rcpt, "RCPT"),
        (Self::Data, "DATA"),
        (Self::Bdat, "BDAT"),
        (Self::Rset, "RSET"),
        (Self::Noop, "NOOP"),
        (Self::Help, "HELP"),
        (Self::Vrfy, "VRFY"),
        (Self::Expn, "EXPN"),
        (Self::Quit, "QUIT"),
        (Self::StartTls, "STARTTLS"),
        (Self::Auth, "AUTH"),
        (Self::Xclient, "XCLIENT"),
    ];

    /// Verbs are case-insensitive (RFC 5321 §2.4).
    fn from_word(word: &[u8]) -> Self {
        let same = |(_, name): &&(Self, &str)| name.as_bytes().eq_ignore_ascii_case(word);
        Self::NAMED.iter().find(same).map_or(Self::Unknown, |(verb, _)| *verb)
    }

    fn parse_argument(self, argument: Option<&str>) -> Result<Command, SyntaxError> {
        match self {
            Self::Ehlo => self.hello_name(argument).map(Command::Ehlo),
            Self::Helo => self.hello_name(argument).map(Command::Helo),
            Self::Mail => parse_mail(self.required(argument)?).map(Command::Mail),
            Self::Rcpt => parse_rcpt(self.required(argument)?).map(Command::Rcpt),
            Self::Bdat => parse_bdat(self.required(argument)?),
            Self::Auth => parse_auth(self.required(argument)?),
            Self::Xclient => Introduction::parse(self.required(argument)?).map(Command::Xclient),
            Self::Vrfy => self.required(argument).map(|_| Command::Vrfy),
            Self::Expn => self.required(argument).map(|_| Command::Expn),
            Self::Noop => Ok(Command::Noop),
            Self::Help => Ok(Command::Help),
            Self::Data => self.bare(argument, Command::Data),
            Self::Rset => self.bare(argument, Command::Rset),
            Self::Quit => self.bare(argument, Command::Quit),
            Self::StartTls => self.bare(argument, Command::StartTls),
            Self::Unknown => Ok(Command::Unknown(String::new())),
        }
    }

    fn required(self, argument: Option<&str>) -> Result<&str, SyntaxError> {
        argument.filter(|text| !text.is_empty()).ok_or(SyntaxError::Arguments(self))
    }

    /// RFC 5321 §4.1.1: 501 when a command that takes no argument gets one.
    fn bare(self, argument: Option<&str>, command: Command) -> Result<Command, SyntaxError> {
        if argument.is_none() { Ok(command) } else { Err(SyntaxError::Arguments(self)) }
    }

    /// RFC 5321 §4.1.4: a name that is not a domain is no reason to refuse; so any printable ASCII word will do.
    fn hello_name(self, argument: Option<&str>) -> Result<String, SyntaxError> {
        let name = self.required(argument)?;
        if name.len() > MAX_HELLO || !name.bytes().all(|c| c.is_ascii_graphic()) {
            return Err(SyntaxError::Arguments(self));
        }
        Ok(name.to_owned())
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMED.iter().find(|(verb, _)| verb == self).map(|(_, name)| *name);
        f.write_str(name.unwrap_or("an unknown command"))
    }
}

impl SyntaxError {
    /// The verb whose arguments were wrong, so that the table of legality can be consulted first.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Arguments(verb)
            | Self::Characters(verb)
            | Self::Path { verb, .. }
            | Self::Parameter { verb, .. }
            | Self::DuplicateParameter { verb, .. }
            | Self::UnknownParameter { verb, .. } => *verb,
            Self::InitialResponse => Verb::Auth,
        }
    }

    /// What to answer.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Arguments(verb) => catalogue::bad_arguments(verb),
            Self::Characters(verb) => catalogue::bad_characters(verb),
            Self::Path { verb: Verb::Mail, error } => catalogue::bad_sender(error),
            Self::Path { error, .. } => catalogue::bad_recipient(error),
            Self::Parameter { keyword, .. } => catalogue::bad_parameter(keyword),
            Self::DuplicateParameter { keyword, .. } => catalogue::duplicate_parameter(keyword),
            Self::UnknownParameter { keyword, .. } => catalogue::unknown_parameter(keyword),
            Self::InitialResponse => catalogue::not_base64(),
        }
    }
}

/// RFC 5321 §4.1.1.2: `FROM:<path> [SP parameters]`.
fn parse_mail(argument: &str) -> Result<Mail, SyntaxError> {
    let path = after_keyword(Verb::Mail, argument, "FROM:")?;
    let bad_path = |error| SyntaxError::Path { verb: Verb::Mail, error };
    let (from, rest) = ReversePath::split(path).map_err(bad_path)?;
    let params = params_text(rest).map_err(bad_path)?;
    Ok(Mail { from, params: MailParams::parse(params)? })
}

/// RFC 5321 §4.1.1.3: `TO:<path> [SP parameters]`.
fn parse_rcpt(argument: &str) -> Result<Rcpt, SyntaxError> {
    let path = after_keyword(Verb::Rcpt, argument, "TO:")?;
    let bad_path = |error| SyntaxError::Path { verb: Verb::Rcpt, error };
    let (to, rest) = ForwardPath::split(path).map_err(bad_path)?;
    let params = params_text(rest).map_err(bad_path)?;
    Ok(Rcpt { to, params: RcptParams::parse(params)? })
}

/// What follows `FROM:` or `TO:`. One space before the path is no RFC's grammar, but many programs write it.
fn after_keyword<'a>(verb: Verb, argument: &'a str, keyword: &str) -> Result<&'a str, SyntaxError> {
    match argument.split_at_checked(keyword.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(keyword) => {
            Ok(rest.strip_prefix(' ').unwrap_or(rest))
        }
        _ => Err(SyntaxError::Arguments(verb)),
    }
}

/// What follows the path: nothing, or a space and parameters.
fn params_text(rest: &str) -> Result<Option<&str>, AddressError> {
    if rest.is_empty() {
        return Ok(None);
    }
    rest.strip_prefix(' ').map(Some).ok_or(AddressError::NoBrackets)
}

/// RFC 3030 §2: `chunk-size [SP "LAST"]`.
fn parse_bdat(argument: &str) -> Result<Command, SyntaxError> {
    let malformed = SyntaxError::Arguments(Verb::Bdat);
    let (size, last) = match argument.split_once(' ') {
        None => (argument, false),
        Some((size, last)) if last.eq_ignore_ascii_case("LAST") => (size, true),
        Some(_) => return Err(malformed),
    };
    if size.len() > 20 || !size.bytes().all(|c| c.is_ascii_digit()) {
        return Err(malformed);
    }
    size.parse().map(|size| Command::Bdat { size, last }).map_err(|_| malformed)
}

/// RFC 4954 §4: `mechanism [SP initial-response]`.
fn parse_auth(argument: &str) -> Result<Command, SyntaxError> {
    let (mechanism, initial) = match argument.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(InitialResponse::parse(initial)?)),
        None => (argument, None),
    };
    // RFC 4422 §3.1: 1 to 20 letters, digits, hyphens and underscores.
    let is_mechanism = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_');
    if !(1..=20).contains(&mechanism.len()) || !mechanism.bytes().all(is_mechanism) {
        return Err(SyntaxError::Arguments(Verb::Auth));
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

fn trim_blanks_end(mut line: &[u8]) -> &[u8] {
    while let [start @ .., b' ' | b'\t'] = line {
        line = start;
    }
    line
}

/// The text, if it is UTF-8 without control characters (tabs included: no argument may hold one).
fn clean_text(octets: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(octets).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// A word fit for a log: short letters, digits and hyphens. Anything else may be content or a secret.
fn printable_verb(word: &[u8]) -> String {
    let is_verb = word.len() <= 12 && word.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-');
    if is_verb { word.iter().map(|c| char::from(*c)).collect() } else { String::new() }
}
