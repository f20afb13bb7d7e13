//! EHLO keywords (RFC 5321 §4.1.1.1): what a server announces, and what a client understood of it.

use crate::reply::Reply;
use crate::reply::catalogue::MAX_ECHO;
use crate::text::clean;

/// What a listener offers at this moment of the session; the extensions that are always there need no field.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announcement<'a> {
    /// Octets that a message may have (RFC 1870).
    pub size: u64,
    /// STARTTLS (RFC 3207): not once TLS has started.
    pub starttls: bool,
    /// The mechanisms of AUTH (RFC 4954); none before TLS.
    pub auth: &'a [&'a str],
    /// REQUIRETLS (RFC 8689): only once TLS has started.
    pub requiretls: bool,
    /// The attributes of XCLIENT: only to a front end that is trusted to say it.
    pub xclient: &'a [&'a str],
    /// The bounds to announce with LIMITS (RFC 9422).
    pub limits: Limits,
}

/// The bounds that LIMITS announces (RFC 9422 §4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// RCPTMAX: recipients per transaction.
    pub rcptmax: Option<u32>,
    /// MAILMAX: transactions per session.
    pub mailmax: Option<u32>,
}

/// What a peer's EHLO reply offers. The default is what HELO gives: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts: each keyword is there or not")]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870); inside, the limit in octets, if the peer says one.
    pub size: Option<Option<u64>>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// The mechanisms of AUTH (RFC 4954) in upper case.
    pub auth: Vec<String>,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// BINARYMIME (RFC 3030); means nothing without CHUNKING.
    pub binary_mime: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// LIMITS (RFC 9422).
    pub limits: Limits,
}

/// The reply to EHLO.
pub fn ehlo_reply(hostname: &str, client: &str, announcement: &Announcement<'_>) -> Reply {
    let mut lines = vec![format!("{hostname} greets {}", clean(client, MAX_ECHO))];
    lines.extend(["PIPELINING".to_owned(), format!("SIZE {}", announcement.size)]);
    lines.extend(["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"].map(str::to_owned));
    if announcement.starttls {
        lines.push("STARTTLS".to_owned());
    }
    if !announcement.auth.is_empty() {
        let mechanisms = announcement.auth.join(" ");
        // The second form is from a draft of RFC 2554; old Outlook looks for nothing else.
        lines.extend([format!("AUTH {mechanisms}"), format!("AUTH={mechanisms}")]);
    }
    lines.extend(["CHUNKING", "BINARYMIME", "DSN"].map(str::to_owned));
    if announcement.requiretls {
        lines.push("REQUIRETLS".to_owned());
    }
    if !announcement.xclient.is_empty() {
        lines.push(format!("XCLIENT {}", announcement.xclient.join(" ")));
    }
    lines.extend(limits_line(announcement.limits));
    lines.push("HELP".to_owned());
    Reply { code: 250, enhanced: None, lines }
}

impl Capabilities {
    /// Understands a peer's reply to EHLO. Unknown keywords are passed over.
    pub fn parse(reply: &Reply) -> Self {
        let mut capabilities = Self::default();
        for line in reply.lines.iter().skip(1) {
            capabilities.add(line);
        }
        capabilities
    }

    /// Whether the peer offers this AUTH mechanism.
    pub fn offers_auth(&self, mechanism: &str) -> bool {
        self.auth.iter().any(|offered| offered.eq_ignore_ascii_case(mechanism))
    }

    fn add(&mut self, line: &str) {
        let (keyword, rest) = split_keyword(line);
        let mut words = rest.split_ascii_whitespace();
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => self.size = Some(words.next().and_then(size_limit)),
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => words.for_each(|mechanism| self.add_mechanism(mechanism)),
            "CHUNKING" => self.chunking = true,
            "BINARYMIME" => self.binary_mime = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.requiretls = true,
            "LIMITS" => words.for_each(|limit| self.limits.add(limit)),
            _ => {}
        }
    }

    fn add_mechanism(&mut self, mechanism: &str) {
        if !self.offers_auth(mechanism) {
            self.auth.push(mechanism.to_ascii_uppercase());
        }
    }
}

impl Limits {
    /// RFC 9422 §4: `NAME=VALUE`; what is unknown or malformed is passed over.
    fn add(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else {
            return;
        };
        let value = value.parse().ok().filter(|value| *value > 0);
        match name.to_ascii_uppercase().as_str() {
            "RCPTMAX" => self.rcptmax = value,
            "MAILMAX" => self.mailmax = value,
            _ => {}
        }
    }
}

/// Keyword and parameters (RFC 5321 §4.1.1.1 ehlo-line); old servers write `AUTH=PLAIN`.
fn split_keyword(line: &str) -> (&str, &str) {
    match line.split_at_checked("AUTH=".len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case("AUTH=") => ("AUTH", rest),
        _ => line.split_once(' ').unwrap_or((line, "")),
    }
}

/// RFC 1870 §4: 0 means that there is no fixed limit.
fn size_limit(text: &str) -> Option<u64> {
    text.parse().ok().filter(|limit| *limit > 0)
}

fn limits_line(limits: Limits) -> Option<String> {
    let rcptmax = limits.rcptmax.map(|max| format!(" RCPTMAX={max}"));
    let mailmax = limits.mailmax.map(|max| format!(" MAILMAX={max}"));
    if rcptmax.is_none() && mailmax.is_none() {
        return None;
    }
    Some(format!("LIMITS{}{}", rcptmax.unwrap_or_default(), mailmax.unwrap_or_default()))
}
