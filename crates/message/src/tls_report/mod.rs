//! TLS reports (RFC 8460): what the servers of a domain's correspondents saw when they wanted to send it mail under TLS.
//!
//! A [`TlsReport`] covers one sending organisation and one span of time; it holds a [`PolicyReport`] for each policy that
//! was applied, with how many sessions came up to it, how many did not, and why ([`FailureDetail`], [`ResultType`]).
//!
//! - [`TlsReport::to_json`], [`gzip`], [`TlsReport::file_name`]: what goes out over HTTPS.
//! - [`Mail`] and [`TlsReport::compose_mail`]: what goes out by mail.
//! - [`TlsReport::parse`], [`TlsReport::unpack`], [`extract`]: what others sent us. It comes from strangers: sizes and
//!   counts are bounded, and every text has lost its control characters.
//!
//! What it deliberately does not do: count sessions, look up who wants reports, sign or check DKIM, or sum reports up.

mod json;
mod mail;

use std::fmt;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;

pub use self::mail::{ExtractError, MAX_MAIL, Mail, extract};

/// How many octets a report may have, compressed or not: the limit that RFC 8460 §5.2 calls common.
pub const MAX_JSON: usize = 10 * 1024 * 1024;
/// How many policies a report may speak of.
pub const MAX_POLICIES: usize = 1_000;
/// How many failure details a report may hold, over all its policies.
pub const MAX_FAILURES: usize = 10_000;
/// How many lines of policies and patterns of hosts a report may hold, over all its policies.
pub const MAX_LINES: usize = 10_000;

/// The media type of a compressed report (RFC 8460 §6.4).
pub const GZIP_TYPE: &str = "application/tlsrpt+gzip";
/// The media type of a report as it is (RFC 8460 §6.3).
pub const JSON_TYPE: &str = "application/tlsrpt+json";

/// What one organisation saw in one span of time (RFC 8460 §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsReport {
    /// Who reports.
    pub organization: String,
    /// The span of time that the report is about, a day in UTC as a rule.
    pub date_range: DateRange,
    /// Whom to ask about the report; some leave it out.
    pub contact_info: Option<String>,
    /// What tells the reports of this organisation apart.
    pub report_id: String,
    /// What was seen, by policy.
    pub policies: Vec<PolicyReport>,
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRange {
    /// Its first moment.
    pub start: Timestamp,
    /// Its last moment, never before the first.
    pub end: Timestamp,
}

/// What came of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReport {
    /// The policy.
    pub policy: Policy,
    /// How many sessions came up to it.
    pub successful: u64,
    /// How many did not.
    pub failed: u64,
    /// Why they did not.
    pub failures: Vec<FailureDetail>,
}

/// The policy that the sender found for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Where it comes from.
    pub kind: PolicyKind,
    /// It itself: the lines of an MTA-STS policy, or TLSA records. Empty when there is none.
    pub strings: Vec<String>,
    /// The domain it is about; for DANE the host that the TLSA records belong to may stand here.
    pub domain: String,
    /// The patterns of hosts that an MTA-STS policy names.
    pub mx_hosts: Vec<String>,
}

/// Where a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// DANE: TLSA records (RFC 7672).
    Tlsa,
    /// MTA-STS (RFC 8461).
    Sts,
    /// There is neither.
    NoPolicyFound,
}

/// Sessions that failed in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureDetail {
    /// What went wrong.
    pub result: ResultType,
    /// The address that the session came from.
    pub sending_mta_ip: Option<String>,
    /// The host that it went to, as the MX record names it.
    pub receiving_mx_hostname: Option<String>,
    /// What that host called itself.
    pub receiving_mx_helo: Option<String>,
    /// The address that it went to.
    pub receiving_ip: Option<String>,
    /// How many sessions.
    pub failed_sessions: u64,
    /// Where there is more to read: a URI.
    pub additional_information: Option<String>,
    /// The error as the sender's TLS library or its own code names it.
    pub failure_reason_code: Option<String>,
}

/// What went wrong in a session (RFC 8460 §4.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ResultType {
    /// The host does not offer STARTTLS.
    StarttlsNotSupported,
    /// The certificate is for other names.
    CertificateHostMismatch,
    /// The certificate has expired.
    CertificateExpired,
    /// No trusted authority vouches for the certificate.
    CertificateNotTrusted,
    /// Something else; the reason code says what.
    ValidationFailure,
    /// None of the TLSA records is valid or matches.
    TlsaInvalid,
    /// DNSSEC does not bear out the answers.
    DnssecInvalid,
    /// The sender demands DANE, and the host has no TLSA records that DNSSEC bears out.
    DaneRequired,
    /// The MTA-STS policy could not be fetched.
    StsPolicyFetchError,
    /// The MTA-STS policy is not valid.
    StsPolicyInvalid,
    /// The server of the MTA-STS policy could not prove who it is.
    StsWebpkiInvalid,
    /// What a later registration, or the sender himself, made up.
    Other(String),
}

/// Why a report cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is larger than [`MAX_JSON`], compressed or not.
    #[error("the report is larger than {} MiB", MAX_JSON / 1024 / 1024)]
    TooLarge,
    /// It has more of something than is read.
    #[error("the report has more than {most} {what}")]
    TooMany {
        /// `policies` and the like.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// It was said to be compressed with gzip and cannot be unpacked.
    #[error("the report cannot be unpacked: {0}")]
    Gzip(String),
    /// It is no JSON, or not the JSON of a report: what is wrong, at which line and column.
    #[error("the report is not as RFC 8460 §4.4 wants it: {0}")]
    Malformed(String),
    /// Its span of time ends before it begins.
    #[error("the report's date-range ends before it begins")]
    BackwardRange,
}

impl TlsReport {
    /// The report in JSON, with the names of RFC 8460 §4.4.
    pub fn to_json(&self) -> Vec<u8> {
        json::write(self)
    }

    /// Reads a report in JSON.
    ///
    /// Members that RFC 8460 does not know are skipped. Some senders write one text where it wants a list, or leave out
    /// lists and counts that are empty or zero: all of that is understood.
    ///
    /// # Errors
    /// The sender's fault: it is too large, or not the JSON of a report.
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        if json.len() > MAX_JSON {
            return Err(ParseError::TooLarge);
        }
        json::read(json)
    }

    /// Reads a report as it came over HTTPS or in a message: compressed or not, whatever its label says.
    ///
    /// # Errors
    /// As [`gunzip`] and [`TlsReport::parse`].
    pub fn unpack(octets: &[u8]) -> Result<Self, ParseError> {
        // RFC 1952 §2.3.1: no JSON begins like this.
        if octets.starts_with(&[0x1f, 0x8b]) {
            return Self::parse(&gunzip(octets)?);
        }
        Self::parse(octets)
    }

    /// The name of the file that holds the compressed report (RFC 8460 §5.1).
    ///
    /// `sender` is the domain that reports, `domain` the one that is reported to; both in ASCII.
    pub fn file_name(&self, sender: &str, domain: &str) -> String {
        let DateRange { start, end } = self.date_range;
        let (start, end) = (start.as_second().max(0), end.as_second().max(0));
        let id: String = self.report_id.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        let id = if id.is_empty() { String::new() } else { format!("!{id}") };
        format!("{}!{}!{start}!{end}{id}.json.gz", host(sender), host(domain))
    }
}

impl PolicyKind {
    /// The name that RFC 8460 §4.4 gives it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tlsa => "tlsa",
            Self::Sts => "sts",
            Self::NoPolicyFound => "no-policy-found",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The registered names (RFC 8460 §6.6).
const RESULT_TYPES: [(ResultType, &str); 11] = [
    (ResultType::StarttlsNotSupported, "starttls-not-supported"),
    (ResultType::CertificateHostMismatch, "certificate-host-mismatch"),
    (ResultType::CertificateExpired, "certificate-expired"),
    (ResultType::CertificateNotTrusted, "certificate-not-trusted"),
    (ResultType::ValidationFailure, "validation-failure"),
    (ResultType::TlsaInvalid, "tlsa-invalid"),
    (ResultType::DnssecInvalid, "dnssec-invalid"),
    (ResultType::DaneRequired, "dane-required"),
    (ResultType::StsPolicyFetchError, "sts-policy-fetch-error"),
    (ResultType::StsPolicyInvalid, "sts-policy-invalid"),
    (ResultType::StsWebpkiInvalid, "sts-webpki-invalid"),
];

impl ResultType {
    /// The type of that name; a name that is not registered is kept as it is.
    pub fn named(name: &str) -> Self {
        let known = RESULT_TYPES.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| Self::Other(name.to_owned()), |(result, _)| result.clone())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(name) => name,
            known => RESULT_TYPES.iter().find(|(result, _)| result == known).map_or("", |(_, name)| name),
        }
    }
}

impl fmt::Display for ResultType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Compresses a report (RFC 8460 §5.2). The same report always gives the same octets.
pub fn gzip(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A vector takes all that is written to it.
    let _ = encoder.write_all(json);
    encoder.finish().unwrap_or_default()
}

/// Unpacks a report, up to [`MAX_JSON`] octets of it. What stands behind the compressed data is not looked at.
///
/// # Errors
/// The sender's fault: it is no gzip, is broken, or is larger than that before or after unpacking.
pub fn gunzip(octets: &[u8]) -> Result<Vec<u8>, ParseError> {
    if octets.len() > MAX_JSON {
        return Err(ParseError::TooLarge);
    }
    let one_more = u64::try_from(MAX_JSON).unwrap_or(u64::MAX).saturating_add(1);
    let mut json = Vec::new();
    let unpacked = GzDecoder::new(octets).take(one_more).read_to_end(&mut json);
    unpacked.map_err(|error| ParseError::Gzip(error.to_string()))?;
    if json.len() > MAX_JSON { Err(ParseError::TooLarge) } else { Ok(json) }
}

/// Letters, digits, dots, hyphens and underscores of a host's name; all else becomes `?`.
fn host(name: &str) -> String {
    let harmless = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '?' }
    };
    name.chars().take(255).map(harmless).collect()
}
