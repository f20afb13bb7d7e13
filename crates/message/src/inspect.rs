//! Watches content stream by and keeps what the daemon must know of it: the header section, and a few facts.
//!
//! [`Inspector`] is on the path of every message, so behind the header section it looks at no octet twice and keeps
//! none. What it says does not depend on how the content was cut into pieces.

use postern_smtp::address::Mailbox;

use crate::address_list::{self, AddressListError};
use crate::header::{HeaderError, Headers};

/// How much of a header section is kept when nobody says otherwise.
pub const MAX_HEADER_BYTES: usize = 256 * 1024;

/// How much is looked at in one go while the end of the header section is sought.
const STEP: usize = 4 * 1024;

/// Watches one message's content.
#[derive(Debug, Clone)]
pub struct Inspector {
    limit: usize,
    header: Vec<u8>,
    part: Part,
}

/// What was found in a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent findings, not a state
pub struct Inspection {
    /// The header section.
    pub headers: HeaderSection,
    /// What about it is not as RFC 5322 wants it; see [`crate::repair::problem`] for what that means.
    pub header_problem: Option<HeaderError>,
    /// How many `Received` fields it has: how many servers it passed (RFC 5321 §6.3).
    pub received_count: u32,
    /// How many `From` fields it has. One is right.
    pub from_count: u32,
    /// There is a `From` field.
    pub has_from: bool,
    /// There is a `Date` field.
    pub has_date: bool,
    /// There is a `Message-ID` field.
    pub has_message_id: bool,
    /// The message's id with its angle brackets, when it has exactly one and that one is harmless.
    pub message_id: Option<String>,
    /// What wrote the message, by its own word (`User-Agent` or `X-Mailer`), as it came; at most 120 characters.
    pub program: Option<String>,
    /// The mailboxes of all `From` fields.
    pub from: Result<Vec<Mailbox>, AddressListError>,
    /// Who says that he sent it, where somebody does: the one mailbox of the one `Sender` field (RFC 5322 §3.6.2).
    pub sender: Option<Result<Mailbox, AddressListError>>,
    /// The header section holds octets over 127 (RFC 6532).
    pub utf8_headers: bool,
    /// The sender would rather have it arrive without TLS than not at all: there is a `TLS-Required: No` (RFC 8689 §3).
    pub tls_required_no: bool,
}

/// A header section as it came, without the empty line behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderSection {
    /// The octets.
    pub bytes: Vec<u8>,
    /// It was longer than what is kept; the rest was not looked at.
    pub truncated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Header,
    TooLongHeader,
    Body,
}

impl Inspector {
    /// An inspector that keeps at most so many octets of the header section.
    pub fn new(max_header_bytes: usize) -> Self {
        Self { limit: max_header_bytes, header: Vec::new(), part: Part::Header }
    }

    /// Takes the next piece of content, with CRLF line ends and without dot-stuffing.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while self.part == Part::Header && !rest.is_empty() {
            let (step, behind) = rest.split_at(rest.len().min(STEP));
            self.feed_header(step);
            rest = behind;
        }
    }

    /// What was found, once all content was fed.
    pub fn finish(self) -> Inspection {
        let (headers, header_problem) = Headers::scan(&self.header);
        let count = |name: &str| u32::try_from(headers.all(name).count()).unwrap_or(u32::MAX);
        let from_count = count("From");
        Inspection {
            header_problem,
            received_count: count("Received"),
            from_count,
            has_from: from_count > 0,
            has_date: count("Date") > 0,
            has_message_id: count("Message-ID") > 0,
            message_id: headers.message_id(),
            program: program(&headers),
            from: mailboxes(&headers, "From").unwrap_or(Err(AddressListError::Empty)),
            sender: mailboxes(&headers, "Sender").map(only_one),
            utf8_headers: !self.header.is_ascii(),
            // What was not looked at may hold a second field.
            tls_required_no: self.part != Part::TooLongHeader && says_tls_required_no(&headers),
            headers: HeaderSection { truncated: self.part == Part::TooLongHeader, bytes: self.header },
        }
    }

    /// Adds to the header section until its end is seen or the limit is passed.
    fn feed_header(&mut self, step: &[u8]) {
        let known = self.header.len();
        self.header.extend_from_slice(step);
        match section_end(&self.header, known) {
            Some(end) if end <= self.limit => self.leave_header(end, Part::Body),
            Some(_) => self.leave_header(self.limit, Part::TooLongHeader),
            // A section of just the limit's length shows its end two octets later.
            None if self.header.len() > self.limit + 2 => self.leave_header(self.limit, Part::TooLongHeader),
            None => {}
        }
    }

    fn leave_header(&mut self, keep: usize, part: Part) {
        self.header.truncate(keep);
        self.part = part;
    }
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new(MAX_HEADER_BYTES)
    }
}

/// Where the fields end, when the octets from `known` on (or a line end that began before) show it.
pub(crate) fn section_end(octets: &[u8], known: usize) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(0);
    }
    let from = known.saturating_sub(3);
    memchr::memmem::find(&octets[from..], b"\r\n\r\n").map(|at| from + at + 2)
}

/// What the program that wrote the message calls itself. Neither field is in a standard, and both are in most messages.
fn program(headers: &Headers<'_>) -> Option<String> {
    let field = headers.find("User-Agent").or_else(|| headers.find("X-Mailer"))?;
    let name: String = field.text().trim().chars().take(120).collect();
    Some(name).filter(|name| !name.is_empty())
}

/// The mailboxes of all fields of a name; `None` when there is no such field.
fn mailboxes(headers: &Headers<'_>, name: &str) -> Option<Result<Vec<Mailbox>, AddressListError>> {
    let mut all: Option<Vec<Mailbox>> = None;
    for field in headers.all(name) {
        match address_list::parse(field.value) {
            Ok(found) => all.get_or_insert_default().extend(found),
            Err(error) => return Some(Err(error)),
        }
    }
    all.map(Ok)
}

/// RFC 5322 §3.6.2: there is one `Sender` field at most, and one mailbox in it.
fn only_one(found: Result<Vec<Mailbox>, AddressListError>) -> Result<Mailbox, AddressListError> {
    let mut found = found?.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(AddressListError::Empty),
        (Some(_), Some(_)) => Err(AddressListError::Several),
    }
}

/// RFC 8689 §3: more than one field must not appear, and `No` is the only value there is. Whatever else stands there
/// weakens nothing.
fn says_tls_required_no(headers: &Headers<'_>) -> bool {
    let mut fields = headers.all("TLS-Required");
    let (Some(only), None) = (fields.next(), fields.next()) else {
        return false;
    };
    without_comments(only.value).is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"No"))
}

/// A value without its comments (RFC 5322 §3.2.2), each a space; `None` when one does not end or does not begin.
fn without_comments(value: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut depth = 0_usize;
    let mut octets = value.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'(' => depth += 1,
            b')' => {
                depth = depth.checked_sub(1)?;
                kept.push(b' ');
            }
            b'\\' if depth > 0 => {
                octets.next()?;
            }
            _ if depth == 0 => kept.push(*octet),
            _ => {}
        }
    }
    (depth == 0).then_some(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inspect(content: &[u8]) -> Inspection {
        let mut inspector = Inspector::default();
        inspector.feed(content);
        inspector.finish()
    }

    #[test]
    fn the_header_section_is_kept_and_the_body_is_not() {
        let found =
            inspect(b"From: a@b.example\r\nDate: x\r\n\r\nFrom: c@d.example\r\nMessage-ID: <x@y>\r\n");
        assert_eq!(found.headers.bytes, b"From: a@b.example\r\nDate: x\r\n");
        assert_eq!(
            (found.from_count, found.has_from, found.has_date, found.has_message_id),
            (1, true, true, false)
        );
        assert_eq!(found.from.expect("one address")[0].to_string(), "a@b.example");
    }

    #[test]
    fn content_without_header_fields_has_none() {
        let found = inspect(b"\r\nFrom: a@b.example\r\n");
        assert!(found.headers.bytes.is_empty());
        assert_eq!(found.from, Err(AddressListError::Empty));
    }

    #[test]
    fn content_that_is_all_header_is_seen_whole() {
        let found = inspect(b"From: a@b.example\r\nReceived: x\r\nReceived: y\r\n");
        assert_eq!((found.received_count, found.from_count), (2, 1));
    }

    #[test]
    fn mailboxes_of_a_second_from_field_are_seen_too() {
        let found = inspect(b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n");
        assert_eq!((found.from_count, found.from.expect("two addresses").len()), (2, 2));
    }

    #[test]
    fn the_id_and_the_program_are_known() {
        let found = inspect(b"Message-Id: <x@y>\r\nX-Mailer: a\r\nUser-Agent:\r\n Mail 1.0 \r\n\r\n");
        assert_eq!(
            (found.message_id.as_deref(), found.program.as_deref()),
            (Some("<x@y>"), Some("Mail 1.0"))
        );
        let two = inspect(b"Message-Id: <x@y>\r\nMessage-Id: <x@z>\r\nX-Mailer: \r\n\r\n");
        assert_eq!((two.has_message_id, two.message_id, two.program), (true, None, None));
    }

    #[test]
    fn a_malformed_from_is_an_error_even_beside_a_good_one() {
        assert!(inspect(b"From: a@b.example\r\nFrom: nobody\r\n\r\n").from.is_err());
    }

    #[test]
    fn a_from_behind_a_line_that_is_no_field_is_seen() {
        let found = inspect(b"From: a@b.example\r\nnonsense\r\nFrom: c@d.example\r\n\r\n");
        assert_eq!(found.from_count, 2);
    }

    #[test]
    fn a_sender_is_one_mailbox_in_one_field_or_an_error() {
        let sender = |fields: &str| inspect(format!("{fields}\r\n\r\nSender: x@y.example").as_bytes()).sender;
        assert_eq!(sender("From: a@b.example"), None);
        let one = sender("From: a@b.example\r\nsender: Cleo (she)\r\n <c@d.example>").expect("there is one");
        assert_eq!(one.expect("it can be read").to_string(), "c@d.example");
        for fields in ["Sender: a@b.example, c@d.example", "Sender: a@b.example\r\nSENDER: a@b.example"] {
            assert_eq!(sender(fields), Some(Err(AddressListError::Several)), "{fields}");
        }
        for fields in ["Sender:", "Sender: nobody", "Sender: a@b.example\r\nSender: nobody"] {
            assert!(sender(fields).is_some_and(|found| found.is_err()), "{fields}");
        }
    }

    #[test]
    fn octets_over_127_count_in_the_header_section_only() {
        let utf8 = |content: &str| inspect(content.as_bytes()).utf8_headers;
        assert!(!utf8("Subject: a\r\n\r\nb\r\n") && !utf8("Subject: a\r\n\r\nä\r\n"));
        assert!(utf8("Subject: ä\r\n\r\nb\r\n") && utf8("Subject: ä"));
    }

    #[test]
    fn a_sender_says_that_tls_is_not_required_with_a_single_no() {
        for field in [
            "TLS-Required: No",
            "tls-required:no",
            "TLS-REQUIRED:\r\n NO ",
            "TLS-Required: (not (at\\) all)) No (really)",
        ] {
            assert!(
                inspect(format!("From: a@b.example\r\n{field}\r\n\r\n").as_bytes()).tls_required_no,
                "{field}"
            );
        }
    }

    #[test]
    fn anything_else_in_the_field_weakens_nothing() {
        for fields in [
            "TLS-Required: Yes",
            "TLS-Required:",
            "TLS-Required: N o",
            "TLS-Required: N(x)o",
            "TLS-Required: No, No",
            "TLS-Required: No)",
            "TLS-Required: (No",
            "TLS-Required: No (\\",
            "TLS-Required: \"No\"",
            "TLS-Required: No\r\nTLS-Required: No",
            "TLS-Required: No\r\ntls-required: Yes",
            "X-TLS-Required: No",
            "Subject: x\r\n\r\nTLS-Required: No",
        ] {
            assert!(!inspect(format!("{fields}\r\n\r\n").as_bytes()).tls_required_no, "{fields}");
        }
    }

    #[test]
    fn a_header_section_that_was_not_seen_whole_weakens_nothing() {
        let mut inspector = Inspector::new(20);
        inspector.feed(b"TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n");
        assert!(!inspector.finish().tls_required_no);
    }

    #[test]
    fn a_header_section_over_the_limit_is_cut_and_says_so() {
        let mut inspector = Inspector::new(20);
        inspector.feed(b"From: a@b.example\r\nReceived: x\r\n\r\nbody\r\n");
        let found = inspector.finish();
        assert!(found.headers.truncated);
        assert_eq!(found.headers.bytes, b"From: a@b.example\r\nR");
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just("From: a@b.example".to_owned()),
            Just("Received: x".to_owned()),
            Just("TLS-Required: No".to_owned()),
            Just(String::new()),
            Just("x".repeat(998)),
            Just("y".repeat(999)),
            "[ -~]{0,20}",
            "\\PC{0,5}",
        ];
        proptest::collection::vec(line, 0..12).prop_map(|lines| (lines.join("\r\n") + "\r\n").into_bytes())
    }

    proptest! {
        #[test]
        fn findings_do_not_depend_on_how_the_content_is_cut(
            content in content(), cuts in proptest::collection::vec(1usize..1_500, 1..40), limit in 0usize..3_000,
        ) {
            let mut whole = Inspector::new(limit);
            whole.feed(&content);
            let mut pieces = Inspector::new(limit);
            let mut rest = content.as_slice();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.feed(piece);
                rest = behind;
            }
            let mut octets = Inspector::new(limit);
            for octet in &content {
                octets.feed(std::slice::from_ref(octet));
            }
            let whole = whole.finish();
            prop_assert_eq!(&whole, &pieces.finish());
            prop_assert_eq!(&whole, &octets.finish());
        }
    }
}
