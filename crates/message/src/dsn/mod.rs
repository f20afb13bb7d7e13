//! Delivery status notifications (RFC 3461 §6, RFC 3464, RFC 6522): the message that tells a sender what became of
//! his mail. People call one that reports failure a bounce.
//!
//! A [`Report`] composes into three parts: plain words that a sender understands, the same for machines, and the
//! original or its header section. The words come first because they are what is read: what happened, to which address,
//! why, and what he can do; then the other server's own last reply.
//!
//! Whatever peers said is cleaned before it goes in, and the boundary is chosen so that the original cannot hold it.
//!
//! What it deliberately does not do: decide whether a report is due (never for the null reverse-path), how much of the
//! original it returns, or under which envelope it travels (reverse-path `<>`, RFC 3461 §6.1).

mod words;

use jiff::Timestamp;
use postern_smtp::address::Mailbox;
use postern_smtp::envelope::OriginalRecipient;
use postern_smtp::outcome::Trouble;
use postern_smtp::reply::{Enhanced, Reply};

use crate::mime;
use crate::repair;
use crate::text::{self, Charset};

/// How much of a peer's reply a report quotes, in octets.
const MAX_REPLY: usize = 2_000;

/// How much of a diagnosis a report tells, in octets.
const MAX_EXPLANATION: usize = 4_000;

/// A report about one message to one or more of its recipients.
#[derive(Debug, Clone)]
pub struct Report<'a> {
    /// What the report is about; the recipients' actions should agree with it.
    pub kind: Kind,
    /// Our host name.
    pub reporting_mta: &'a str,
    /// When we took responsibility for the message.
    pub arrival: Timestamp,
    /// DSN: the sender's own id for the transaction.
    pub envid: Option<&'a str>,
    /// Our postmaster, from whom the report comes.
    pub from_address: &'a Mailbox,
    /// The original's reverse-path.
    pub to: &'a Mailbox,
    /// The original's `Message-ID` with its angle brackets; see [`crate::header::Headers::message_id`].
    pub message_id: Option<&'a str>,
    /// The original's queue id.
    pub queue_id: &'a str,
    /// Whom the report is about. Never empty.
    pub recipients: Vec<Recipient>,
    /// What is returned of the original; its header section at most when [`TlsDemand::Always`].
    pub original: Original<'a>,
    /// Whether the sender demanded TLS on all of the original's way.
    pub tls: TlsDemand,
    /// The original was internationalised mail, and its sender's server takes such reports (RFC 6533).
    pub utf8: bool,
}

/// What a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The message could not be delivered.
    Failed,
    /// The message is late; it is still being tried.
    Delayed,
    /// The message was delivered, and the sender had asked to be told.
    Delivered,
    /// The message went to a server that reports no delivery; this is the last the sender hears.
    Relayed,
}

/// Whether the sender demanded that a message travel under TLS on all of its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsDemand {
    /// He did not.
    #[default]
    Unsaid,
    /// He did, with REQUIRETLS. The report then has to be sent with REQUIRETLS too (RFC 8689 §5); and since it may go the
    /// last bit without, no more than the header section is returned, whatever RET said.
    Always,
}

/// One recipient in a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The address that delivery was attempted to.
    pub address: Mailbox,
    /// DSN: the recipient as the sender first wrote it.
    pub original: Option<OriginalRecipient>,
    /// What became of it.
    pub action: Kind,
    /// The enhanced code for machines: see [`Trouble::enhanced`].
    pub status: Enhanced,
    /// Why it is not delivered.
    pub trouble: Option<Trouble>,
    /// When the trouble is no more than that time ran out or an administrator ended it: what was in the way until then.
    pub last_trouble: Option<Trouble>,
    /// The administrator's diagnosis of the trouble, in plain words: what happened at which host, and what can be done.
    /// Each of its lines becomes a paragraph.
    pub explanation: Option<String>,
    /// The next hop's host name or address, when one was reached.
    pub remote_mta: Option<String>,
    /// The next hop's last reply; when `None`, that of the troubles is taken.
    pub diagnostic: Option<Reply>,
    /// When it was last attempted.
    pub last_attempt: Option<Timestamp>,
    /// For delays: when we give up.
    pub will_retry_until: Option<Timestamp>,
}

/// What is returned of the original message.
#[derive(Debug, Clone, Copy)]
pub enum Original<'a> {
    /// Its header section only.
    Headers(&'a [u8]),
    /// All of it. The report holds a copy: callers bound its size.
    Full(&'a [u8]),
}

impl Report<'_> {
    /// The whole report with CRLF line ends. It needs 8BITMIME or SMTPUTF8 only where it holds octets over 127.
    ///
    /// `unique` names the report among all messages that this host ever sends: its own queue id.
    pub fn compose(&self, now: Timestamp, unique: &str) -> Vec<u8> {
        let words = words::for_people(self, self.charset());
        let status = self.delivery_status();
        let original = clean_lines(self.returned().octets());
        let boundary = mime::boundary(unique, &[words.as_bytes(), status.as_bytes(), &original]);
        let mut report =
            self.head(now, unique, &boundary, words.is_ascii() && status.is_ascii() && original.is_ascii());
        let mut part = |kind: &str, description: &str, octets: &[u8]| {
            report.extend_from_slice(part_head(&boundary, kind, description, octets.is_ascii()).as_bytes());
            report.extend_from_slice(octets);
        };
        let charset = if words.is_ascii() { "us-ascii" } else { "utf-8" };
        part(&format!("text/plain; charset={charset}"), "Notification", words.as_bytes());
        part(status_type(&status), "Delivery report", status.as_bytes());
        part(self.original_type(&original), "Original message", &original);
        report.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        report
    }

    /// What is returned of the original. RFC 8689 §5: under REQUIRETLS that is as if RET=HDRS had been said.
    fn returned(&self) -> Original<'_> {
        match (self.tls, self.original) {
            (TlsDemand::Unsaid, as_asked) => as_asked,
            (TlsDemand::Always, Original::Headers(octets) | Original::Full(octets)) => {
                Original::Headers(header_section(octets))
            }
        }
    }

    fn charset(&self) -> Charset {
        if self.utf8 { Charset::Utf8 } else { Charset::Ascii }
    }

    fn head(&self, now: Timestamp, unique: &str, boundary: &str, seven_bit: bool) -> Vec<u8> {
        let mut head = String::new();
        let mut add = |name: &str, value: &str| head.push_str(&text::field(name, value));
        add("From", &format!("Mail Delivery System <{}>", self.from_address));
        add("To", &format!("<{}>", self.to));
        add("Subject", &words::subject(self));
        add("Date", &text::date(now));
        add("Message-ID", &repair::message_id(now, unique, self.reporting_mta));
        if let Some(id) = self.message_id.filter(|id| is_message_id(id)) {
            add("In-Reply-To", id);
            add("References", id);
        }
        // RFC 3834 §5: nobody answers this.
        add("Auto-Submitted", "auto-replied");
        add("MIME-Version", "1.0");
        // RFC 6522 §3
        add(
            "Content-Type",
            &format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\""),
        );
        if !seven_bit {
            add("Content-Transfer-Encoding", "8bit");
        }
        head.push_str("\r\nThis is a delivery report in MIME format.\r\n");
        head.into_bytes()
    }

    /// The part for machines (RFC 3464 §2.1): one group of fields for the message, one for each recipient.
    fn delivery_status(&self) -> String {
        let mut status = String::new();
        if let Some(envid) = self.envid {
            status.push_str(&text::field("Original-Envelope-Id", &text::clean(envid, Charset::Ascii, 100)));
        }
        status.push_str(&text::field("Reporting-MTA", &format!("dns; {}", clean_host(self.reporting_mta))));
        status.push_str(&text::field("Arrival-Date", &text::date(self.arrival)));
        for recipient in &self.recipients {
            status.push_str("\r\n");
            status.push_str(&recipient.status_fields(self.charset()));
        }
        status
    }

    /// RFC 3464 §2 and, for octets over 127, RFC 6533 §4 and §5.
    fn original_type(&self, octets: &[u8]) -> &'static str {
        let international = self.utf8 && !octets.is_ascii();
        match self.returned() {
            Original::Full(_) if international => "message/global",
            Original::Full(_) => "message/rfc822",
            Original::Headers(_) if international => "message/global-headers",
            Original::Headers(_) => "text/rfc822-headers",
        }
    }
}

impl Recipient {
    /// The per-recipient fields (RFC 3464 §2.3), in the order in which that section lists them.
    fn status_fields(&self, charset: Charset) -> String {
        let mut fields = String::new();
        let mut add = |name: &str, value: String| fields.push_str(&text::field(name, &value));
        if let Some(original) = &self.original {
            add("Original-Recipient", original_address(original, charset));
        }
        add("Final-Recipient", typed_address("rfc822", &self.address.to_string(), charset));
        add("Action", self.action.action().to_owned());
        add("Status", self.status.to_string());
        if let Some(host) = &self.remote_mta {
            add("Remote-MTA", format!("dns; {}", clean_host(host)));
        }
        let clean = |said: &str| text::clean(said, Charset::Ascii, MAX_REPLY);
        if let Some(reply) = self.last_reply() {
            add("Diagnostic-Code", format!("smtp; {}", clean(&reply.one_line())));
        } else if let Some(detail) = words::detail(self) {
            // RFC 3464 §2.1.2 leaves types that begin with X- to their inventors.
            add("Diagnostic-Code", format!("X-Postern; {}", clean(&detail)));
        }
        if let Some(at) = self.last_attempt {
            add("Last-Attempt-Date", text::date(at));
        }
        if let (Kind::Delayed, Some(until)) = (self.action, self.will_retry_until) {
            add("Will-Retry-Until", text::date(until));
        }
        fields
    }

    /// What the next hop said last.
    fn last_reply(&self) -> Option<&Reply> {
        let troubles = [&self.trouble, &self.last_trouble];
        let theirs = || troubles.into_iter().flatten().find_map(|trouble| trouble.reply.as_ref());
        self.diagnostic.as_ref().or_else(theirs)
    }
}

impl Kind {
    /// RFC 3464 §2.3.3
    fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }
}

impl<'a> Original<'a> {
    fn octets(&self) -> &'a [u8] {
        match self {
            Self::Headers(octets) | Self::Full(octets) => octets,
        }
    }
}

/// The part before the first empty line, with its last line end.
fn header_section(message: &[u8]) -> &[u8] {
    let mut at = 0;
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        if matches!(line, b"\r\n" | b"\n") {
            return &message[..at];
        }
        at += line.len();
    }
    message
}

fn part_head(boundary: &str, kind: &str, description: &str, seven_bit: bool) -> String {
    let mut fields = vec![("Content-Description", description), ("Content-Type", kind)];
    if !seven_bit {
        fields.push(("Content-Transfer-Encoding", "8bit"));
    }
    mime::part_head(boundary, &fields)
}

/// RFC 6533 §4: addresses beyond ASCII need the `global` kind.
fn status_type(status: &str) -> &'static str {
    if status.is_ascii() { "message/delivery-status" } else { "message/global-delivery-status" }
}

fn original_address(original: &OriginalRecipient, charset: Charset) -> String {
    let harmless: String =
        original.address_type.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let address_type = if harmless.is_empty() { "rfc822".to_owned() } else { harmless };
    typed_address(&address_type, &original.address, charset)
}

/// `rfc822; ann@example.org`. Beyond ASCII the type is `utf-8`, and in a report that must stay within ASCII the
/// characters are spelled out (RFC 6533 §3, utf-8-addr-xtext).
fn typed_address(address_type: &str, address: &str, charset: Charset) -> String {
    let address = text::clean(address, Charset::Utf8, 500);
    if address.is_ascii() {
        return format!("{address_type}; {address}");
    }
    if charset == Charset::Utf8 {
        return format!("utf-8; {address}");
    }
    let spell = |c: char| match c {
        '\\' | '+' | '=' => format!("\\x{{{:X}}}", u32::from(c)),
        _ if c.is_ascii() => c.to_string(),
        _ => format!("\\x{{{:X}}}", u32::from(c)),
    };
    format!("utf-8; {}", address.chars().map(spell).collect::<String>())
}

fn clean_host(host: &str) -> String {
    text::clean(host, Charset::Ascii, 255).replace([';', ' '], "?")
}

fn is_message_id(id: &str) -> bool {
    id.len() <= 300
        && id.starts_with('<')
        && id.ends_with('>')
        && id.bytes().all(|octet| octet.is_ascii_graphic())
}

/// The original with every bare CR or LF made a CRLF and every NUL a question mark. It ends with CRLF.
fn clean_lines(octets: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(octets.len() + 2);
    let mut rest = octets;
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
        lines.extend_from_slice(&rest[..at]);
        let (clean, consumed): (&[u8], usize) = match &rest[at..] {
            [0, ..] => (b"?", 1),
            [b'\r', b'\n', ..] => (b"\r\n", 2),
            _ => (b"\r\n", 1),
        };
        lines.extend_from_slice(clean);
        rest = &rest[at + consumed..];
    }
    lines.extend_from_slice(rest);
    if !lines.is_empty() && !lines.ends_with(b"\r\n") {
        lines.extend_from_slice(b"\r\n");
    }
    lines
}
