//! What a domain publishes for MTA-STS: the text record that names a policy, and the policy itself (RFC 8461).
//!
//! The types to know:
//! - [`policy_domain`], [`record_name`], [`policy_host`]: which names to ask.
//! - [`record_id`]: the one thing that the record at `_mta-sts.DOMAIN` says. A changed [`RecordId`] means that there is
//!   a new policy to be fetched.
//! - [`Policy`]: the file at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`. [`Policy::allows`] says whether mail
//!   may go to a host under it; [`Mode`] says what follows when it may not.
//! - [`MxPattern`]: one line of its list of hosts, compared as A-labels.
//! - [`RecordError`], [`PolicyError`]: what is wrong with what was published, in words for those who published it.
//!
//! All of it is pure: text in, values out. What it deliberately does not do: look up, fetch, cache, or decide what a
//! broken policy means for a message.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use crate::tagged::{self, Unreadable};

/// The largest policy file that is read, in octets (RFC 8461 §3.3 suggests 64 kilobytes).
pub const POLICY_MOST: usize = 64 * 1024;
/// The most hosts that a policy may name: so that what 64 KiB can hold does not fill the memory.
pub const MX_MOST: usize = 1_000;
/// The longest that a policy may ask to be kept: 31557600 seconds, about a year (RFC 8461 §3.2).
pub const MAX_AGE_MOST: Duration = Duration::from_hours(8766);
const LONGEST_PREFIX: usize = "_mta-sts.".len();
/// Of a word that is wrong, an error shows at most so many characters.
const SHOWN: usize = 80;

/// Which instance of its policy a domain has now: 1 to 32 letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordId(Box<str>);

/// What is wrong with a domain's text record. The domain counts as having no policy then (RFC 8461 §3.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Two or more records claim to be the one.
    #[error("there are {0} MTA-STS records and there may be only one")]
    Several(usize),
    /// Not `v=STSv1; id=…;`.
    #[error("the MTA-STS record is not of the form \"v=STSv1; id=20260101;\"")]
    Syntax,
    /// No id.
    #[error("the MTA-STS record has no id")]
    NoId,
    /// An id of other characters, or too long.
    #[error("the id {0:?} of the MTA-STS record is not 1 to 32 letters and digits")]
    BadId(String),
}

/// A domain's wishes for mail that is sent to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What follows when a host does not live up to it.
    pub mode: Mode,
    /// The hosts that may be delivered to. Empty only in mode `none`.
    pub mx: Vec<MxPattern>,
    /// How long it binds after it was fetched, at most [`MAX_AGE_MOST`].
    pub max_age: Duration,
}

/// What follows when a host is not in the policy, or has no certificate that proves its name (RFC 8461 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// No mail goes to that host.
    Enforce,
    /// Mail goes as if there were no policy; the failure is reported.
    Testing,
    /// Nothing: the domain takes its policy back.
    None,
}

/// A host name of a policy, or `*.` and the name that one leftmost label stands in front of (RFC 8461 §4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MxPattern {
    /// A-labels in lower case.
    name: Box<str>,
    matching: Matching,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Matching {
    Whole,
    BehindOneLabel,
}

/// What is wrong with a policy file. The fault is the domain's; a policy that was fetched earlier still binds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// Longer than [`POLICY_MOST`].
    #[error("the policy is larger than {} KiB", POLICY_MOST / 1024)]
    TooLarge,
    /// Not text.
    #[error("the policy is not UTF-8 text")]
    NotUtf8,
    /// A NUL, a bare CR or the like.
    #[error("line {line} of the policy holds a control character")]
    Control {
        /// Counted from 1.
        line: usize,
    },
    /// Not `name: value`.
    #[error("line {line} of the policy is not of the form \"name: value\"")]
    NotAField {
        /// Counted from 1.
        line: usize,
    },
    /// No version.
    #[error("the policy has no line \"version: STSv1\"")]
    NoVersion,
    /// Another version than the one there is.
    #[error("the policy's version is {0:?} and not \"STSv1\"")]
    Version(String),
    /// No mode.
    #[error("the policy has no mode (enforce, testing or none)")]
    NoMode,
    /// Not a mode.
    #[error("the policy's mode is {0:?}, which is none of enforce, testing and none")]
    BadMode(String),
    /// No time for which it binds.
    #[error("the policy has no max_age")]
    NoMaxAge,
    /// Not a number of seconds, or more than a year.
    #[error("the policy's max_age is {0:?}, which is not a number of seconds up to {max}", max = MAX_AGE_MOST.as_secs())]
    BadMaxAge(String),
    /// No host, where the mode demands one.
    #[error("the policy names no mx")]
    NoMx,
    /// More than [`MX_MOST`].
    #[error("the policy names {0} mx, and more than {MX_MOST} are not read")]
    ManyMx(usize),
    /// A host that is none.
    #[error("the policy's mx {0:?} is neither a host name nor \"*.\" with a domain behind it")]
    BadMx(String),
}

/// A domain as it is asked for its policy: A-labels in lower case, without the last dot. `None` where nothing may be
/// asked for: an address, a name of one label, one that DNS or a policy host's address has no room for.
pub fn policy_domain(domain: &str) -> Option<Cow<'_, str>> {
    let fits = |domain: &Cow<'_, str>| domain.len() + LONGEST_PREFIX <= 253 && domain.contains('.');
    canonical(domain).filter(|domain| fits(domain) && is_host(domain))
}

/// Where a domain's record is (RFC 8461 §3.1).
pub fn record_name(domain: &str) -> String {
    format!("_mta-sts.{domain}")
}

/// The host that has a domain's policy (RFC 8461 §3.3).
pub fn policy_host(domain: &str) -> String {
    format!("mta-sts.{domain}")
}

/// Which policy a domain says it has, from the text records at `_mta-sts.DOMAIN`. `None` when none of them is about
/// MTA-STS.
///
/// # Errors
/// The domain's: there is more than one such record, or it is broken. It has no usable record then, which takes away
/// no policy that was fetched earlier (RFC 8461 §3.1).
pub fn record_id(texts: &[String]) -> Result<Option<RecordId>, RecordError> {
    let Some(rest) = tagged::only(texts, "v=STSv1")? else { return Ok(None) };
    let fields = tagged::fields(rest)?;
    // RFC 8461 §3.2: of a field that stands twice, only the first one counts. `=` stands in no value.
    if fields.iter().any(|(_, value)| value.contains(['=', ' '])) {
        return Err(RecordError::Syntax);
    }
    let (_, id) = fields.iter().find(|(name, _)| *name == "id").ok_or(RecordError::NoId)?;
    id.parse().map(Some)
}

impl RecordId {
    /// The letters and digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RecordId {
    type Err = RecordError;

    fn from_str(id: &str) -> Result<Self, RecordError> {
        let sound = (1..=32).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric());
        if sound { Ok(Self(id.into())) } else { Err(RecordError::BadId(shown(id))) }
    }
}

impl From<Unreadable> for RecordError {
    fn from(fault: Unreadable) -> Self {
        match fault {
            Unreadable::Several(count) => Self::Several(count),
            Unreadable::Syntax => Self::Syntax,
        }
    }
}

impl Policy {
    /// Reads a policy file (RFC 8461 §3.2). Fields that nobody knows are passed over.
    ///
    /// # Errors
    /// The domain's: the file breaks the grammar or lacks a field.
    pub fn parse(file: &[u8]) -> Result<Self, PolicyError> {
        if file.len() > POLICY_MOST {
            return Err(PolicyError::TooLarge);
        }
        let text = std::str::from_utf8(file).map_err(|_| PolicyError::NotUtf8)?;
        let written = Written::read(text)?;
        if written.mx.len() > MX_MOST {
            return Err(PolicyError::ManyMx(written.mx.len()));
        }
        written.judge()
    }

    /// Reads what [`Policy`] wrote (its `Display`). That may be longer than the file was, by the spaces that the file did
    /// without, so that here nothing is too large.
    ///
    /// # Errors
    /// Somebody else wrote it.
    pub fn parse_written(text: &str) -> Result<Self, PolicyError> {
        Written::read(text)?.judge()
    }

    /// Whether the policy lists a host, by its name in the MX record (RFC 8461 §4.1).
    pub fn allows(&self, host: &str) -> bool {
        match canonical(host) {
            Some(host) => self.mx.iter().any(|pattern| pattern.matches_canonical(&host)),
            None => false,
        }
    }

    /// The policy as its file would have it, line by line, as reports quote it (RFC 8460 §4.4: `policy-string`).
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {}", self.mode)];
        lines.extend(self.mx.iter().map(|pattern| format!("mx: {pattern}")));
        lines.push(format!("max_age: {}", self.max_age.as_secs()));
        lines
    }
}

/// A text that [`Policy::parse_written`] reads as the same policy.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Enforce => "enforce",
            Self::Testing => "testing",
            Self::None => "none",
        })
    }
}

impl MxPattern {
    /// Whether a host has a name that this pattern is for. U-labels are compared as their A-labels.
    pub fn matches(&self, host: &str) -> bool {
        canonical(host).is_some_and(|host| self.matches_canonical(&host))
    }

    fn matches_canonical(&self, host: &str) -> bool {
        match self.matching {
            Matching::Whole => *host == *self.name,
            // RFC 8461 §4.1: the wildcard is the whole leftmost label, and one label only.
            Matching::BehindOneLabel => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && *rest == *self.name)
            }
        }
    }
}

impl FromStr for MxPattern {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let (matching, name) = match text.strip_prefix("*.") {
            Some(rest) => (Matching::BehindOneLabel, rest),
            None => (Matching::Whole, text),
        };
        let bad = || PolicyError::BadMx(shown(text));
        let name = a_labels(name).filter(|name| is_host(name)).ok_or_else(bad)?;
        Ok(Self { name: name.into(), matching })
    }
}

impl fmt::Display for MxPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.matching {
            Matching::Whole => f.write_str(&self.name),
            Matching::BehindOneLabel => write!(f, "*.{}", self.name),
        }
    }
}

/// A policy's fields as they were written.
#[derive(Debug, Default)]
struct Written<'a> {
    version: Option<&'a str>,
    mode: Option<&'a str>,
    max_age: Option<&'a str>,
    mx: Vec<&'a str>,
}

impl<'a> Written<'a> {
    fn read(text: &'a str) -> Result<Self, PolicyError> {
        let mut written = Self::default();
        for (number, line) in (1..).zip(text.split('\n')) {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']);
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(PolicyError::Control { line: number });
            }
            // The grammar has no empty lines; to drop a domain's protection because of one would be worse.
            if line.is_empty() {
                continue;
            }
            let (name, value) = line.split_once(':').ok_or(PolicyError::NotAField { line: number })?;
            if !tagged::is_name(name) {
                return Err(PolicyError::NotAField { line: number });
            }
            written.note(name, value.trim_start_matches([' ', '\t']));
        }
        Ok(written)
    }

    /// RFC 8461 §3.2: of a field that stands twice, only the first one counts, `mx` excepted.
    fn note(&mut self, name: &str, value: &'a str) {
        match name {
            "version" => _ = self.version.get_or_insert(value),
            "mode" => _ = self.mode.get_or_insert(value),
            "max_age" => _ = self.max_age.get_or_insert(value),
            "mx" => self.mx.push(value),
            _ => {}
        }
    }

    fn judge(self) -> Result<Policy, PolicyError> {
        match self.version {
            Some("STSv1") => {}
            Some(other) => return Err(PolicyError::Version(shown(other))),
            None => return Err(PolicyError::NoVersion),
        }
        let mode = mode(self.mode.ok_or(PolicyError::NoMode)?)?;
        let max_age = max_age(self.max_age.ok_or(PolicyError::NoMaxAge)?)?;
        let mx = self.mx.into_iter().map(str::parse).collect::<Result<Vec<MxPattern>, _>>()?;
        if mx.is_empty() && mode != Mode::None {
            return Err(PolicyError::NoMx);
        }
        Ok(Policy { mode, mx, max_age })
    }
}

fn mode(text: &str) -> Result<Mode, PolicyError> {
    match text {
        "enforce" => Ok(Mode::Enforce),
        "testing" => Ok(Mode::Testing),
        "none" => Ok(Mode::None),
        other => Err(PolicyError::BadMode(shown(other))),
    }
}

fn max_age(text: &str) -> Result<Duration, PolicyError> {
    let digits = (1..=10).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    let seconds = if digits { text.parse().ok() } else { None };
    seconds
        .map(Duration::from_secs)
        .filter(|age| *age <= MAX_AGE_MOST)
        .ok_or_else(|| PolicyError::BadMaxAge(shown(text)))
}

/// A host as it is compared: A-labels in lower case, without the last dot.
fn canonical(host: &str) -> Option<Cow<'_, str>> {
    a_labels(host.strip_suffix('.').unwrap_or(host))
}

fn a_labels(name: &str) -> Option<Cow<'_, str>> {
    if !name.is_ascii() {
        let verify = DnsLength::Verify;
        return Uts46::new().to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, verify).ok();
    }
    let lower = !name.bytes().any(|c| c.is_ascii_uppercase());
    Some(if lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

/// RFC 5321 §4.1.2: `Domain`, and no IPv4 address, which would fit it.
fn is_host(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|c| c.is_ascii_digit());
    name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number)
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn id(text: &str) -> Result<Option<String>, RecordError> {
        record_id(&texts(&[text])).map(|id| id.map(|id| id.to_string()))
    }

    fn policy(text: &str) -> Result<Policy, PolicyError> {
        Policy::parse(text.as_bytes())
    }

    fn with(lines: &str) -> Result<Policy, PolicyError> {
        policy(&format!("version: STSv1\nmode: enforce\nmax_age: 86400\n{lines}\n"))
    }

    fn pattern(text: &str) -> MxPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_record_names_the_policys_instance() {
        for text in [
            "v=STSv1; id=20160831085700Z;",
            "v=STSv1;id=20160831085700Z",
            "v=STSv1 ;\tid=20160831085700Z ; ",
            "v=STSv1; some.ext_1-x=%:<ok>; id=20160831085700Z;",
            "v=STSv1; id=20160831085700Z; id=other;",
            "v=STSv1; id=20160831085700Z; id=not!;",
        ] {
            assert_eq!(id(text), Ok(Some("20160831085700Z".to_owned())), "{text}");
        }
    }

    #[test]
    fn records_about_other_things_are_passed_over() {
        assert_eq!(record_id(&[]), Ok(None));
        for text in ["", "v=spf1 -all", "v=STSv10; id=1;", "v=STSv1", "V=STSv1; id=1;", " v=STSv1; id=1;"] {
            assert_eq!(id(text), Ok(None), "{text}");
        }
        let several = texts(&["v=spf1 -all", "v=STSv1; id=1;", "v=STSv2; id=2;"]);
        assert_eq!(record_id(&several), Ok(Some("1".parse().unwrap())));
    }

    #[test]
    fn two_records_are_none() {
        let twice = texts(&["v=STSv1; id=1;", "v=STSv1; id=1;"]);
        assert_eq!(record_id(&twice), Err(RecordError::Several(2)));
    }

    #[test]
    fn a_broken_record_says_what_is_wrong() {
        for (text, wrong) in [
            ("v=STSv1;", RecordError::Syntax),
            ("v=STSv1; ;id=1;", RecordError::Syntax),
            ("v=STSv1; id=1;;", RecordError::Syntax),
            ("v=STSv1; id", RecordError::Syntax),
            ("v=STSv1; id=", RecordError::Syntax),
            ("v=STSv1; id=1 2;", RecordError::Syntax),
            ("v=STSv1; id=1; x=a=b;", RecordError::Syntax),
            ("v=STSv1; id=1; _x=a;", RecordError::Syntax),
            ("v=STSv1; id=1; x=ü;", RecordError::Syntax),
            ("v=STSv1; ID=1;", RecordError::NoId),
            ("v=STSv1; x=1;", RecordError::NoId),
            ("v=STSv1; id=a-b;", RecordError::BadId("a-b".to_owned())),
        ] {
            assert_eq!(id(text), Err(wrong), "{text}");
        }
        let (fits, long) = ("x".repeat(32), "x".repeat(33));
        assert_eq!(id(&format!("v=STSv1; id={fits}")), Ok(Some(fits)));
        assert_eq!(id(&format!("v=STSv1; id={long}")), Err(RecordError::BadId(long)));
    }

    #[test]
    fn the_rfcs_example_is_read() {
        let text = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\n\
                    mx: backupmx.example.com\r\nmax_age: 604800\r\n";
        let read = policy(text).unwrap();
        assert_eq!(read.mode, Mode::Enforce);
        assert_eq!(read.max_age, Duration::from_hours(168));
        assert_eq!(
            read.lines(),
            [
                "version: STSv1",
                "mode: enforce",
                "mx: mail.example.com",
                "mx: *.example.net",
                "mx: backupmx.example.com",
                "max_age: 604800"
            ]
        );
        assert_eq!(policy(&text.replace("\r\n", "\n")), Ok(read.clone()));
        assert_eq!(policy(text.trim_end()), Ok(read));
    }

    #[test]
    fn the_first_of_a_repeated_field_counts() {
        let read = policy(
            "mode: testing\nmode: enforce\nversion: STSv1\nversion: STSv9\nmx: a.example\n\
             max_age: 1\nmax_age: many\n",
        );
        let expected =
            Policy { mode: Mode::Testing, mx: vec![pattern("a.example")], max_age: Duration::from_secs(1) };
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn unknown_fields_spaces_and_empty_lines_are_passed_over() {
        let read = with("mx:\t a.example \t\nfuture.field-1_x: häh? : ok\n\nnote:\n").unwrap();
        assert_eq!(read.mx, [pattern("a.example")]);
    }

    #[test]
    fn only_mode_none_needs_no_host() {
        let none = policy("version: STSv1\nmode: none\nmax_age: 0").unwrap();
        assert_eq!((none.mode, none.mx.len(), none.max_age), (Mode::None, 0, Duration::ZERO));
        for mode in ["enforce", "testing"] {
            let text = format!("version: STSv1\nmode: {mode}\nmax_age: 1");
            assert_eq!(policy(&text), Err(PolicyError::NoMx));
        }
    }

    #[test]
    fn a_broken_policy_says_what_is_wrong() {
        let owned = str::to_owned;
        for (text, wrong) in [
            ("", PolicyError::NoVersion),
            ("version: STSv2\n", PolicyError::Version(owned("STSv2"))),
            ("version: stsv1\n", PolicyError::Version(owned("stsv1"))),
            ("Version: STSv1\n", PolicyError::NoVersion),
            ("version: STSv1\n", PolicyError::NoMode),
            ("version: STSv1\nmode: Enforce\n", PolicyError::BadMode(owned("Enforce"))),
            ("version: STSv1\nmode: testing\n", PolicyError::NoMaxAge),
            ("version: STSv1\nmode: none\nmax_age: -1", PolicyError::BadMaxAge(owned("-1"))),
            ("version: STSv1\nmode: none\nmax_age: +1", PolicyError::BadMaxAge(owned("+1"))),
            ("version: STSv1\nmode: none\nmax_age:", PolicyError::BadMaxAge(String::new())),
            ("version: STSv1\nmode: none\nmax_age: 31557601", PolicyError::BadMaxAge(owned("31557601"))),
            (
                "version: STSv1\nmode: none\nmax_age: 00000000001",
                PolicyError::BadMaxAge(owned("00000000001")),
            ),
            ("<!doctype html>\n<title>404", PolicyError::NotAField { line: 1 }),
            ("version: STSv1\n mode: none\n", PolicyError::NotAField { line: 2 }),
            ("version : STSv1\n", PolicyError::NotAField { line: 1 }),
            ("\u{feff}version: STSv1\n", PolicyError::NotAField { line: 1 }),
            ("version: STSv1\nmode: no\0ne\n", PolicyError::Control { line: 2 }),
            ("version: STSv1\rmode: none\r", PolicyError::Control { line: 1 }),
        ] {
            assert_eq!(policy(text), Err(wrong), "{text:?}");
        }
        assert_eq!(Policy::parse(b"version: STSv1\nx: \xff"), Err(PolicyError::NotUtf8));
    }

    #[test]
    fn a_policy_of_64_kib_is_read_and_one_octet_more_is_not() {
        let start = "version: STSv1\nmode: none\nmax_age: 1\nx: ";
        let fits = format!("{start}{}", "y".repeat(POLICY_MOST - start.len()));
        assert!(policy(&fits).is_ok());
        assert_eq!(policy(&format!("{fits}y")), Err(PolicyError::TooLarge));
    }

    #[test]
    fn a_policy_of_many_hosts_is_read_and_one_of_too_many_is_not() {
        let hosts = |count: usize| "mx: a.example\n".repeat(count);
        assert_eq!(with(&hosts(MX_MOST)).map(|policy| policy.mx.len()), Ok(MX_MOST));
        assert_eq!(with(&hosts(MX_MOST + 1)), Err(PolicyError::ManyMx(MX_MOST + 1)));
    }

    #[test]
    fn what_was_read_is_read_again_though_it_grew_by_being_written() {
        let hosts: String = (0..930).map(|n| format!("mx:h{n:03}.{}.example\n", "x".repeat(53))).collect();
        let file = format!("version:STSv1\nmode:enforce\nmax_age:9\n{hosts}");
        let read = policy(&file).unwrap();
        let written = read.to_string();
        assert!(written.len() > POLICY_MOST);
        assert_eq!(Policy::parse_written(&written), Ok(read));
    }

    #[test]
    fn hosts_that_are_none_make_the_policy_invalid() {
        let long = format!("{}.example", "x".repeat(64));
        for mx in [
            "",
            "*",
            "*.",
            "*example.com",
            "a.*.example.com",
            "*.*.example.com",
            ".example.com",
            "a..example",
            "a.example.",
            "-a.example",
            "a_b.example",
            "192.0.2.1",
            "[192.0.2.1]",
            "a.example b.example",
            "a.example, b.example",
            "\u{ad}.example",
            long.as_str(),
        ] {
            assert!(matches!(with(&format!("mx: {mx}")), Err(PolicyError::BadMx(_))), "{mx:?}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_exactly_one_label() {
        let any = pattern("*.Example.com");
        assert!(any.matches("mail.example.com") && any.matches("MAIL.EXAMPLE.COM."));
        for host in
            ["example.com", "foo.bar.example.com", ".example.com", "mailexample.com", "mail.example.org", ""]
        {
            assert!(!any.matches(host), "{host}");
        }
        let one = pattern("mail.example.com");
        assert!(one.matches("mail.example.com."));
        assert!(!one.matches("x.mail.example.com") && !one.matches("mail.example.com.."));
    }

    #[test]
    fn international_names_are_compared_as_a_labels() {
        for text in ["*.bücher.example", "*.BÜCHER.example", "*.xn--bcher-kva.example"] {
            let any = pattern(text);
            assert_eq!(any.to_string(), "*.xn--bcher-kva.example");
            assert!(any.matches("mx.bücher.example") && any.matches("mx.xn--bcher-kva.EXAMPLE"), "{text}");
            assert!(!any.matches("mx.bucher.example"));
        }
        assert!(!pattern("*.example").matches("\u{ad}.example"), "a label of nothing is no label");
    }

    #[test]
    fn only_names_that_can_have_a_policy_are_asked_for() {
        for (domain, asked) in [
            ("example.org", "example.org"),
            ("Example.ORG.", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("a.b.c.d.e.f.g.h.i.j.example.org", "a.b.c.d.e.f.g.h.i.j.example.org"),
        ] {
            assert_eq!(policy_domain(domain).as_deref(), Some(asked));
        }
        let long = format!("{}example", "abcdefg.".repeat(30));
        for domain in [
            "",
            ".",
            "localhost",
            "[192.0.2.1]",
            "192.0.2.1",
            "[IPv6:2001:db8::1]",
            "a..example",
            "a b.c",
            &long,
        ] {
            assert_eq!(policy_domain(domain), None, "{domain}");
        }
    }

    fn patterns() -> impl Strategy<Value = MxPattern> {
        "(\\*\\.)?([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\\.){1,3}[a-z]{2,6}".prop_map(|text| pattern(&text))
    }

    proptest! {
        #[test]
        fn a_policy_survives_being_written(
            mode in prop::sample::select(vec![Mode::Enforce, Mode::Testing, Mode::None]),
            mx in prop::collection::vec(patterns(), 1..20),
            seconds in 0..=MAX_AGE_MOST.as_secs(),
        ) {
            let policy = Policy { mode, mx, max_age: Duration::from_secs(seconds) };
            prop_assert_eq!(Policy::parse(policy.to_string().as_bytes()), Ok(policy));
        }

        #[test]
        fn whatever_is_read_survives_being_written(file: Vec<u8>, lines in "(mode: (none|testing)\n|mx: [*.a-zü]{1,9}\r?\n){0,9}") {
            let _ = Policy::parse(&file);
            if let Ok(policy) = with(&lines) {
                prop_assert_eq!(Policy::parse(policy.to_string().as_bytes()), Ok(policy));
            }
        }

        #[test]
        fn a_record_never_panics_and_an_id_is_always_sound(rest in "[v=STS1; idab\tü-]{0,60}") {
            if let Ok(Some(id)) = record_id(&[format!("v=STSv1;{rest}")]) {
                prop_assert!(id.as_str().bytes().all(|c| c.is_ascii_alphanumeric()));
            }
        }
    }
}
