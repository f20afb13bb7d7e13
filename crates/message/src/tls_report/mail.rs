//! Reports as mail (RFC 8460 §5.3): composing ours and finding others' in what came in.
//!
//! [`Mail`] says from whom to whom. The message tells people in its first part what the second holds for programs, and
//! asks with `TLS-Required: No` that it travel even where TLS is broken, which is just what it has to tell.
//!
//! What it deliberately does not do: check the DKIM signature that RFC 8460 §3 wants a report to have, or compare what
//! the message's header says with the report.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use postern_smtp::address::Mailbox;

use super::{GZIP_TYPE, JSON_TYPE, ParseError, ResultType, TlsReport, gzip, host};
use crate::mime::{self, Leaf};
use crate::repair;
use crate::text::{self, Charset};

/// How many octets a message may have that a report is sought in: the largest report in base64, and room for the rest.
pub const MAX_MAIL: usize = 16 * 1024 * 1024;

/// How many parts of a message are tried.
const MAX_TRIES: usize = 5;

/// How many kinds of failure are told to people, the most frequent first.
const MAX_KINDS: usize = 20;

/// RFC 2045 §6.8
const BASE64_LINE: usize = 76;

/// How a report travels.
#[derive(Debug, Clone, Copy)]
pub struct Mail<'a> {
    /// From whom: an address that takes mail.
    pub from: &'a Mailbox,
    /// To whom: an address in the domain's `rua` (RFC 8460 §3).
    pub to: &'a Mailbox,
    /// The domain that the report is about, in ASCII.
    pub domain: &'a str,
    /// The domain that reports, in ASCII.
    pub submitter: &'a str,
    /// When it is sent.
    pub now: Timestamp,
    /// What names the message among all that this host ever sends: its queue id.
    pub unique: &'a str,
}

/// Why no report was found in a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The message is larger than [`MAX_MAIL`].
    #[error("the message is larger than {} MiB", MAX_MAIL / 1024 / 1024)]
    TooLarge,
    /// No part of the message is a report.
    #[error(
        "the message holds no TLS report: none of its parts is {GZIP_TYPE} or {JSON_TYPE}, or named *.json.gz or *.json"
    )]
    NoReport,
    /// The report's part cannot be decoded.
    #[error("the part that holds the report has a broken transfer encoding")]
    Encoding,
    /// The report cannot be read.
    #[error(transparent)]
    Report(#[from] ParseError),
}

impl TlsReport {
    /// The report as a message, all ASCII, with CRLF line ends.
    pub fn compose_mail(&self, mail: &Mail<'_>) -> Vec<u8> {
        let words = self.words(mail);
        let packed = base64_lines(&gzip(&self.to_json()));
        let boundary = mime::boundary(mail.unique, &[words.as_bytes(), packed.as_bytes()]);
        let disposition = format!("attachment; filename=\"{}\"", self.file_name(mail.submitter, mail.domain));
        let plain = [("Content-Type", "text/plain; charset=us-ascii")];
        let attached = [
            ("Content-Type", GZIP_TYPE),
            ("Content-Transfer-Encoding", "base64"),
            ("Content-Disposition", &disposition),
        ];
        let mut message = self.head(mail, &boundary);
        message.push_str(&mime::part_head(&boundary, &plain));
        message.push_str(&words);
        message.push_str(&mime::part_head(&boundary, &attached));
        message.push_str(&packed);
        message.push_str(&format!("\r\n--{boundary}--\r\n"));
        message.into_bytes()
    }

    fn head(&self, mail: &Mail<'_>, boundary: &str) -> String {
        let (domain, submitter) = (host(mail.domain), host(mail.submitter));
        let mut head = String::new();
        let mut add = |name: &str, value: &str| head.push_str(&text::field(name, value));
        add("From", &format!("TLS reports <{}>", mail.from));
        add("To", &format!("<{}>", mail.to));
        // RFC 8460 §5.3
        let id = self.message_like_id(&submitter);
        add("Subject", &format!("Report Domain: {domain} Submitter: {submitter} Report-ID: {id}"));
        add("Date", &text::date(mail.now));
        add("Message-ID", &repair::message_id(mail.now, mail.unique, mail.submitter));
        add("TLS-Report-Domain", &domain);
        add("TLS-Report-Submitter", &submitter);
        // RFC 8460 §5.3.1: the domain's own MTA-STS and DANE failures must not hold it up. RFC 8689 §3 says so to all
        // servers on the way.
        add("TLS-Required", "No");
        // RFC 3834 §5
        add("Auto-Submitted", "auto-generated");
        add("MIME-Version", "1.0");
        add("Content-Type", &format!("multipart/report; report-type=\"tlsrpt\"; boundary=\"{boundary}\""));
        head.push_str("\r\nThis is a TLS report in MIME format.\r\n");
        head
    }

    /// The report's id in the form of a `Message-ID`, as the subject wants it (RFC 8460 §5.3, RFC 5322 §3.6.4).
    fn message_like_id(&self, submitter: &str) -> String {
        let harmless = |c: &char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(*c);
        let clean = |text: &str| text.chars().filter(harmless).take(128).collect::<String>();
        let id = self.report_id.trim_matches(['<', '>']);
        let (left, right) = id.split_once('@').unwrap_or((id, submitter));
        match (clean(left), clean(right)) {
            (left, right) if !left.is_empty() && !right.is_empty() => format!("<{left}@{right}>"),
            _ => format!("<report@{submitter}>"),
        }
    }

    /// What people read.
    fn words(&self, mail: &Mail<'_>) -> String {
        let clean = |said: &str| text::clean(said, Charset::Ascii, 255);
        let (start, end) = (text::plain_date(self.date_range.start), text::plain_date(self.date_range.end));
        let sum = |count: fn(&super::PolicyReport) -> u64| {
            self.policies.iter().map(count).fold(0, u64::saturating_add)
        };
        let (successful, failed) = (sum(|policy| policy.successful), sum(|policy| policy.failed));
        let mut words = String::new();
        let mut say = |indent: &str, sentence: &str| words.push_str(&text::paragraph(indent, sentence));
        say(
            "",
            &format!(
                "This is an aggregate TLS report (RFC 8460) from {} about mail that was sent to {} from {start} to {end}.",
                clean(&self.organization),
                host(mail.domain)
            ),
        );
        say("", "");
        say("", &format!("Sessions that were encrypted as they should be: {successful}"));
        say("", &format!("Sessions that failed: {failed}"));
        for (result, sessions) in self.kinds().into_iter().take(MAX_KINDS) {
            say("  ", &format!("{}: {sessions}", clean(result.as_str())));
        }
        say("", "");
        say("", "The attachment holds the same in detail, as JSON compressed with gzip.");
        if let Some(contact) = &self.contact_info {
            say("", &format!("Questions about this report: {}", clean(contact)));
        }
        words
    }

    /// What failed and how often, the most frequent first.
    fn kinds(&self) -> Vec<(&ResultType, u64)> {
        let mut sessions = std::collections::HashMap::new();
        for failure in self.policies.iter().flat_map(|policy| &policy.failures) {
            let sum = sessions.entry(&failure.result).or_insert(0_u64);
            *sum = sum.saturating_add(failure.failed_sessions);
        }
        let mut kinds: Vec<_> = sessions.into_iter().collect();
        kinds.sort_by(|(one, few), (other, many)| many.cmp(few).then(one.as_str().cmp(other.as_str())));
        kinds
    }
}

/// Finds the report in a message that came in.
///
/// It is the first part with one of the two media types of RFC 8460 §6 that can be read, or else the first one that is
/// named like a report; many senders label them as `application/gzip` or worse.
///
/// # Errors
/// The sender's fault: there is no such part, or none that can be read; then the first one's fault is told.
pub fn extract(mail: &[u8]) -> Result<TlsReport, ExtractError> {
    if mail.len() > MAX_MAIL {
        return Err(ExtractError::TooLarge);
    }
    let leaves = mime::leaves(mail);
    let (typed, others): (Vec<_>, Vec<_>) = leaves.iter().partition(|leaf| is_typed(leaf));
    let named = others.into_iter().filter(|leaf| is_named(leaf));
    let mut first_error = None;
    for leaf in typed.into_iter().chain(named).take(MAX_TRIES) {
        match read(leaf) {
            Ok(report) => return Ok(report),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or(ExtractError::NoReport))
}

fn is_typed(leaf: &Leaf<'_>) -> bool {
    leaf.kind == GZIP_TYPE || leaf.kind == JSON_TYPE
}

fn is_named(leaf: &Leaf<'_>) -> bool {
    let Some(name) = &leaf.name else { return false };
    let name = name.trim().to_ascii_lowercase();
    [".json.gz", ".json"].iter().any(|ending| name.ends_with(ending))
}

fn read(leaf: &Leaf<'_>) -> Result<TlsReport, ExtractError> {
    let octets = leaf.decode().ok_or(ExtractError::Encoding)?;
    Ok(TlsReport::unpack(&octets)?)
}

fn base64_lines(octets: &[u8]) -> String {
    let encoded = STANDARD.encode(octets);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / 32);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(BASE64_LINE));
        lines.push_str(line);
        lines.push_str("\r\n");
        rest = behind;
    }
    lines
}
