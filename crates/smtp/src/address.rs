//! Domains, mailboxes and paths (RFC 5321 §4.1.2), strictly parsed and losslessly kept.
//!
//! The types to know: [`Domain`], [`LocalPart`], [`Host`] and [`Mailbox`], and the two paths, [`ReversePath`] and
//! [`ForwardPath`]. What is parsed is written back exactly as it came, except that domains are kept in lower case:
//! a quoted local part keeps its quotes, so `<"a> SIZE=1"@example.org>` can never turn into something else on the
//! next wire. Characters such as `%` and `!` in a local part mean nothing special: the host behind the `@` alone
//! decides where mail goes, which is why the classic open-relay forms have no effect here.
//!
//! UTF-8 (RFC 6531 §3.3) is parsed everywhere; `is_ascii` tells a session when SMTPUTF8 is needed. A domain is kept as
//! it was spelled, so that SMTPUTF8 is needed exactly where its writer needed it, but equality, hashes and
//! [`Host::key`] know one domain in both spellings, so that no rule about a domain can be missed by the other one.
//!
//! What this deliberately does not do: comments, folding white space, display names (those are RFC 5322), and any
//! policy such as who is local.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};

/// RFC 5321 §4.5.3.1.1: octets of a local part, quotes included.
pub const MAX_LOCAL_PART: usize = 64;
/// RFC 5321 §4.5.3.1.2: octets of a domain.
pub const MAX_DOMAIN: usize = 255;
/// RFC 5321 §4.5.3.1.3: octets of a path, angle brackets and source route included.
pub const MAX_PATH: usize = 256;
/// RFC 1035 §2.3.4: octets of one label.
const MAX_LABEL: usize = 63;

/// A domain name (RFC 5321 §4.1.2, RFC 1035 §2.3.1), kept in lower case. With SMTPUTF8 it may hold U-labels; two names
/// are equal when their A-labels are (RFC 5890 §2.3.2.4): `bücher.example` equals `xn--bcher-kva.example`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

/// What stands behind the `@`: a domain name or an address literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Host {
    /// A domain name.
    Domain(Domain),
    /// An address literal (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// What stands before the `@`, exactly as it was written, quotes included. Case is significant (RFC 5321 §2.4).
/// Two local parts are equal when they mean the same: `"abc"` equals `abc`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LocalPart(Box<str>);

/// `local@host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mailbox {
    /// Before the `@`.
    pub local: LocalPart,
    /// Behind the `@`.
    pub host: Host,
}

/// Where reports go: `<>` or a mailbox (RFC 5321 §4.1.2 Reverse-path).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReversePath {
    /// `<>`: a report, which must never cause another one.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// A recipient: `<Postmaster>` without a domain, in any case, or a mailbox (RFC 5321 §4.1.2 Forward-path).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There are no angle brackets around the path, or something stands between path and parameters.
    #[error("the address must stand between < and >")]
    NoBrackets,
    /// There is no `@`.
    #[error("the address has no @domain")]
    NoDomain,
    /// `<>` where a recipient is needed.
    #[error("the address is empty")]
    Empty,
    /// RFC 5321 §4.1.2 Local-part.
    #[error("the part before the @ is malformed")]
    BadLocalPart,
    /// RFC 5321 §4.5.3.1.1.
    #[error("the part before the @ is longer than 64 octets")]
    LocalPartTooLong,
    /// RFC 5321 §4.1.2 Domain.
    #[error("the domain is malformed")]
    BadDomain,
    /// RFC 5321 §4.5.3.1.2.
    #[error("the domain is too long")]
    DomainTooLong,
    /// RFC 5321 §4.1.3; general address literals belong here too, as no tag but `IPv6` is registered.
    #[error("the address literal is malformed")]
    BadLiteral,
    /// RFC 5321 §4.5.3.1.3.
    #[error("the address is longer than 256 octets")]
    PathTooLong,
    /// RFC 5321 Appendix C.
    #[error("the source route is malformed")]
    BadSourceRoute,
}

impl Domain {
    /// The name in lower case, without a final dot.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it can be said without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }

    /// The name with every U-label as an A-label (`xn--…`), as DNS and older servers need it (RFC 5891 §5).
    ///
    /// # Errors
    /// When the name has no such form or would be too long in it; parsed names always have one.
    pub fn to_ascii(&self) -> Result<String, AddressError> {
        if self.is_ascii() { Ok(self.0.to_string()) } else { a_labels(&self.0).map(Cow::into_owned) }
    }

    /// What names are compared by: A-labels in lower case.
    pub fn key(&self) -> Cow<'_, str> {
        if self.is_ascii() {
            return Cow::Borrowed(&self.0);
        }
        // Parsed names always have A-labels.
        a_labels(&self.0).unwrap_or(Cow::Borrowed(&self.0))
    }
}

impl LocalPart {
    /// As written, quotes included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it means: without the quotes and backslashes of a quoted string.
    pub fn value(&self) -> Cow<'_, str> {
        let Some(quoted) = self.0.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
            return Cow::Borrowed(&self.0);
        };
        if !quoted.contains('\\') {
            return Cow::Borrowed(quoted);
        }
        Cow::Owned(unescape(quoted))
    }

    /// The local part that means `value`, quoted where it must be.
    ///
    /// # Errors
    /// When it is too long or holds a control character.
    pub fn from_value(value: &str) -> Result<Self, AddressError> {
        if is_dot_string(value) {
            return value.parse();
        }
        let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{escaped}\"").parse()
    }

    /// Whether it can be said without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.0.is_ascii()
    }
}

impl Host {
    /// The domain name, unless it is an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        match self {
            Self::Domain(domain) => Some(domain),
            Self::Literal(_) => None,
        }
    }

    /// Whether it can be said without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.domain().is_none_or(Domain::is_ascii)
    }

    /// The one text under which to keep and find what belongs to this host: a domain's A-labels in lower case, or the
    /// address literal with its brackets. Equal hosts have equal keys, however they were written.
    pub fn key(&self) -> Cow<'_, str> {
        match self {
            Self::Domain(domain) => domain.key(),
            Self::Literal(_) => Cow::Owned(self.to_string()),
        }
    }
}

impl Mailbox {
    /// `local@host`.
    pub fn new(local: LocalPart, host: Host) -> Self {
        Self { local, host }
    }

    /// Whether it can be said without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.host.is_ascii()
    }

    /// The domain name, unless the host is an address literal.
    pub fn domain(&self) -> Option<&Domain> {
        self.host.domain()
    }
}

impl ReversePath {
    /// The mailbox, unless it is `<>`.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Null => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it can be said without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// Splits the reverse-path off the front of MAIL's argument; what follows the `>` comes back as it is.
    pub(crate) fn split(text: &str) -> Result<(Self, &str), AddressError> {
        if let Some(rest) = text.strip_prefix("<>") {
            return Ok((Self::Null, rest));
        }
        let (mailbox, rest) = split_path(text)?;
        Ok((Self::Mailbox(mailbox), rest))
    }
}

impl ForwardPath {
    /// The mailbox, unless it is `<Postmaster>`.
    pub fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            Self::Postmaster => None,
            Self::Mailbox(mailbox) => Some(mailbox),
        }
    }

    /// Whether it can be said without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }

    /// Splits the forward-path off the front of RCPT's argument; what follows the `>` comes back as it is.
    pub(crate) fn split(text: &str) -> Result<(Self, &str), AddressError> {
        const POSTMASTER: &str = "<postmaster>";
        if text.starts_with("<>") {
            return Err(AddressError::Empty);
        }
        if let Some((start, rest)) = text.split_at_checked(POSTMASTER.len())
            && start.eq_ignore_ascii_case(POSTMASTER)
        {
            return Ok((Self::Postmaster, rest));
        }
        let (mailbox, rest) = split_path(text)?;
        Ok((Self::Mailbox(mailbox), rest))
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_DOMAIN {
            return Err(AddressError::DomainTooLong);
        }
        let lower = text.to_lowercase();
        if !lower.split('.').all(is_label) || is_numeric(&lower) {
            return Err(AddressError::BadDomain);
        }
        if !lower.is_ascii() {
            a_labels(&lower)?;
        }
        if lower.split('.').any(|label| label.is_ascii() && label.len() > MAX_LABEL)
            || lower.len() > MAX_DOMAIN
        {
            return Err(AddressError::DomainTooLong);
        }
        Ok(Self(lower.into()))
    }
}

impl FromStr for LocalPart {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_LOCAL_PART {
            return Err(AddressError::LocalPartTooLong);
        }
        if is_dot_string(text) || quoted_length(text) == Some(text.len()) {
            return Ok(Self(text.into()));
        }
        Err(AddressError::BadLocalPart)
    }
}

impl FromStr for Host {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(bracketed) = text.strip_prefix('[') else {
            return text.parse().map(Self::Domain);
        };
        let literal = bracketed.strip_suffix(']').ok_or(AddressError::BadLiteral)?;
        parse_literal(literal).map(Self::Literal).ok_or(AddressError::BadLiteral)
    }
}

impl FromStr for Mailbox {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (local, host) = split_local(text)?;
        let host = host.parse()?;
        // With its angle brackets it must fit a path.
        if text.len() + 2 > MAX_PATH { Err(AddressError::PathTooLong) } else { Ok(Self { local, host }) }
    }
}

/// With angle brackets, as on the wire.
impl FromStr for ReversePath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (path, rest) = Self::split(text)?;
        if rest.is_empty() { Ok(path) } else { Err(AddressError::NoBrackets) }
    }
}

/// With angle brackets, as on the wire.
impl FromStr for ForwardPath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (path, rest) = Self::split(text)?;
        if rest.is_empty() { Ok(path) } else { Err(AddressError::NoBrackets) }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for LocalPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => domain.fmt(f),
            Self::Literal(IpAddr::V4(address)) => write!(f, "[{address}]"),
            Self::Literal(IpAddr::V6(address)) => write!(f, "[IPv6:{address}]"),
        }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.host)
    }
}

/// With angle brackets: `<>` or `<a@example.org>`.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

/// With angle brackets: `<postmaster>` or `<a@example.org>`.
impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postmaster => f.write_str("<postmaster>"),
            Self::Mailbox(mailbox) => write!(f, "<{mailbox}>"),
        }
    }
}

impl PartialEq for Domain {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Domain {}

impl Hash for Domain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialOrd for Domain {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Domain {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialEq for LocalPart {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}

impl Eq for LocalPart {}

impl Hash for LocalPart {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
    }
}

/// `TryFrom<String>` and `Into<String>`, which serde needs.
macro_rules! convert_strings {
    ($($kind:ident)*) => {$(
        impl TryFrom<String> for $kind {
            type Error = AddressError;

            fn try_from(text: String) -> Result<Self, AddressError> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(address: $kind) -> Self {
                address.to_string()
            }
        }
    )*};
}

convert_strings!(Domain Host LocalPart Mailbox);

impl From<Domain> for Host {
    fn from(domain: Domain) -> Self {
        Self::Domain(domain)
    }
}

impl From<Mailbox> for ReversePath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

impl From<Mailbox> for ForwardPath {
    fn from(mailbox: Mailbox) -> Self {
        Self::Mailbox(mailbox)
    }
}

/// Splits a local part's meaning into the mailbox's name and the detail behind the delimiter of plus-addressing
/// (RFC 5233 §1): `anna+lists` is `anna` with the detail `lists`. A name that begins with the delimiter has no detail,
/// and where there is no delimiter nothing has.
pub fn split_detail(local: &str, delimiter: Option<char>) -> (&str, Option<&str>) {
    match delimiter.and_then(|delimiter| local.split_once(delimiter)) {
        Some((base, detail)) if !base.is_empty() => (base, Some(detail)),
        _ => (local, None),
    }
}

/// Splits `<mailbox>` or `<@a,@b:mailbox>` off the front. The source route is ignored, as RFC 5321 Appendix C asks:
/// policy sees the final mailbox, which is where the mail would go.
fn split_path(text: &str) -> Result<(Mailbox, &str), AddressError> {
    let inside = text.strip_prefix('<').ok_or(AddressError::NoBrackets)?;
    let address = skip_source_route(inside)?;
    let (local, rest) = split_local(address)?;
    let end = rest.find('>').ok_or(AddressError::NoBrackets)?;
    let mailbox = Mailbox { local, host: rest[..end].parse()? };
    let rest = &rest[end + 1..];
    if text.len() - rest.len() > MAX_PATH {
        return Err(AddressError::PathTooLong);
    }
    Ok((mailbox, rest))
}

/// RFC 5321 §4.1.2 A-d-l: `@one.example,@two.example:`.
fn skip_source_route(text: &str) -> Result<&str, AddressError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let (route, rest) = text.split_once(':').ok_or(AddressError::BadSourceRoute)?;
    for hop in route.split(',') {
        let domain = hop.strip_prefix('@').ok_or(AddressError::BadSourceRoute)?;
        domain.parse::<Domain>().map_err(|_| AddressError::BadSourceRoute)?;
    }
    Ok(rest)
}

/// Splits at the `@` that ends the local part, which a quoted string may hold more of.
fn split_local(text: &str) -> Result<(LocalPart, &str), AddressError> {
    let end = if text.starts_with('"') {
        quoted_length(text).ok_or(AddressError::BadLocalPart)?
    } else {
        text.find(|c: char| !is_atext(c) && c != '.').unwrap_or(text.len())
    };
    let (local, rest) = text.split_at(end);
    match rest.strip_prefix('@') {
        Some(host) => Ok((local.parse()?, host)),
        None if rest.is_empty() || rest.starts_with('>') => Err(AddressError::NoDomain),
        None => Err(AddressError::BadLocalPart),
    }
}

/// RFC 5321 §4.1.2 Dot-string.
fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3, extended by RFC 6531 §3.3.
pub(crate) fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_utf8_text(c)
}

/// RFC 6531 §3.3 UTF8-non-ascii, without the control characters among them.
fn is_utf8_text(c: char) -> bool {
    !c.is_ascii() && !c.is_control()
}

/// The octets of the quoted string at the front (RFC 5321 §4.1.2 Quoted-string), or `None` when there is none.
fn quoted_length(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    if !text.starts_with('"') {
        return None;
    }
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(at + 1),
            '\\' => matches!(chars.next(), Some((_, ' '..='~'))).then_some(())?,
            ' '..='~' => {}
            c if is_utf8_text(c) => {}
            _ => return None,
        }
    }
    None
}

fn unescape(quoted: &str) -> String {
    let mut value = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        value.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    value
}

/// RFC 5321 §4.1.2 sub-domain, or a U-label in its one canonical form (RFC 5890 §2.3.2.1).
fn is_label(label: &str) -> bool {
    if !label.is_ascii() {
        let (canonical, valid) =
            Uts46::new().to_unicode(label.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
        return valid.is_ok() && canonical == label;
    }
    let inside = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
}

/// Whether the last label is all digits: an IPv4 address without brackets, never a name (RFC 1123 §2.1).
fn is_numeric(domain: &str) -> bool {
    domain.rsplit('.').next().is_some_and(|label| label.bytes().all(|c| c.is_ascii_digit()))
}

fn a_labels(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .map_err(|_| AddressError::BadDomain)
}

/// RFC 5321 §4.1.3, without the brackets.
fn parse_literal(text: &str) -> Option<IpAddr> {
    const TAG: &str = "IPv6:";
    match text.split_at_checked(TAG.len()) {
        Some((tag, address)) if tag.eq_ignore_ascii_case(TAG) => {
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        _ => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}
