//! Watches content stream by and keeps what the daemon must know of it: the header section, and a few facts.
//!
//! [`Inspector`] is on the path of every message, so behind the header section it looks at no octet twice and keeps
//! none. What it says does not depend on how the content was cut into pieces.

use postern_smtp::address::Mailbox;

use crate::address_list::{self, AddressListError};
use crate::header::{HeaderError, Headers};

/// How much of a header section is kept when nobody says otherwise.
pub const MAX_HEADER_BYTES: usize = 256 * 1024;

/// The longest line, its CRLF included (RFC 5322 §2.1.1, RFC 5321 §4.5.3.1.6).
const MAX_LINE: usize = 1_000;

/// How much is looked at in one go while the end of the header section is sought.
const STEP: usize = 4 * 1024;

/// Watches one message's content.
#[derive(Debug, Clone)]
pub struct Inspector {
    limit: usize,
    header: Vec<u8>,
    part: Part,
    header_eight_bit: bool,
    eight_bit: bool,
    line: LineLength,
}

/// What was found in a message's content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent findings, not a state
pub struct Inspection {
    /// The header section.
    pub headers: HeaderSection,
    /// The first thing about the header section that is not as RFC 5322 wants it.
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
    /// The mailboxes of all `From` fields.
    pub from: Result<Vec<Mailbox>, AddressListError>,
    /// The mailboxes of all `Sender` fields; `None` when there is none.
    pub sender: Option<Result<Vec<Mailbox>, AddressListError>>,
    /// The content holds octets over 127.
    pub eight_bit: bool,
    /// The header section holds octets over 127 (RFC 6532).
    pub utf8_headers: bool,
    /// A machine wrote it in answer to something (RFC 3834 §5): such a message is not answered by machines.
    pub auto_submitted: bool,
    /// A line is longer than 998 octets (RFC 5322 §2.1.1).
    pub line_too_long: bool,
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

/// The length of the line that is not yet ended.
#[derive(Debug, Clone, Copy)]
enum LineLength {
    So(usize),
    TooLong,
}

impl Inspector {
    /// An inspector that keeps at most so many octets of the header section.
    pub fn new(max_header_bytes: usize) -> Self {
        Self {
            limit: max_header_bytes,
            header: Vec::new(),
            part: Part::Header,
            header_eight_bit: false,
            eight_bit: false,
            line: LineLength::So(0),
        }
    }

    /// Takes the next piece of content, with CRLF line ends and without dot-stuffing.
    pub fn feed(&mut self, piece: &[u8]) {
        self.line = self.line.after(piece);
        let mut rest = piece;
        while self.part == Part::Header && !rest.is_empty() {
            let (step, behind) = rest.split_at(rest.len().min(STEP));
            self.feed_header(step);
            rest = behind;
        }
        self.eight_bit = self.eight_bit || !rest.is_ascii();
    }

    /// What was found, once all content was fed.
    pub fn finish(mut self) -> Inspection {
        if self.part == Part::Header {
            self.header_eight_bit = !self.header.is_ascii();
        }
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
            from: mailboxes(&headers, "From").unwrap_or(Err(AddressListError::Empty)),
            sender: mailboxes(&headers, "Sender"),
            eight_bit: self.eight_bit || self.header_eight_bit,
            utf8_headers: self.header_eight_bit,
            auto_submitted: is_auto_submitted(&headers),
            line_too_long: self.line.is_too_long(),
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
        self.eight_bit = self.eight_bit || !self.header[keep..].is_ascii();
        self.header.truncate(keep);
        self.header_eight_bit = !self.header.is_ascii();
        self.part = part;
    }
}

impl Default for Inspector {
    fn default() -> Self {
        Self::new(MAX_HEADER_BYTES)
    }
}

/// Where the fields end, when the octets from `known` on (or a line end that began before) show it.
fn section_end(octets: &[u8], known: usize) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(0);
    }
    let from = known.saturating_sub(3);
    memchr::memmem::find(&octets[from..], b"\r\n\r\n").map(|at| from + at + 2)
}

impl LineLength {
    /// What is left at the end of a piece. Looks backwards for a line end in each window in which there must be one,
    /// so most octets are never looked at.
    fn after(self, piece: &[u8]) -> Self {
        let Self::So(mut carried) = self else { return self };
        let mut at = 0;
        while piece.len() - at > MAX_LINE - carried {
            let window = &piece[at..at + MAX_LINE - carried];
            let Some(end) = memchr::memrchr(b'\n', window) else {
                return Self::TooLong;
            };
            at += end + 1;
            carried = 0;
        }
        match memchr::memrchr(b'\n', &piece[at..]) {
            Some(end) => Self::So(piece.len() - at - end - 1),
            None => Self::So(carried + piece.len() - at),
        }
    }

    fn is_too_long(self) -> bool {
        match self {
            Self::So(length) => length > MAX_LINE - 2,
            Self::TooLong => true,
        }
    }
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

/// RFC 3834 §5: every value but `no`.
fn is_auto_submitted(headers: &Headers<'_>) -> bool {
    headers.all("Auto-Submitted").any(|field| {
        let text = field.text();
        let keyword = text.split([';', '(']).next().unwrap_or_default().trim();
        !keyword.eq_ignore_ascii_case("no")
    })
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
        assert_eq!(found.sender, None);
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
    fn a_malformed_from_is_an_error_even_beside_a_good_one() {
        assert!(inspect(b"From: a@b.example\r\nFrom: nobody\r\n\r\n").from.is_err());
    }

    #[test]
    fn a_from_behind_a_line_that_is_no_field_is_seen() {
        let found = inspect(b"From: a@b.example\r\nnonsense\r\nFrom: c@d.example\r\n\r\n");
        assert_eq!(found.from_count, 2);
        assert!(found.header_problem.is_some());
    }

    #[test]
    fn eight_bit_octets_are_told_apart_by_header_and_body() {
        let both = |content: &str| {
            let found = inspect(content.as_bytes());
            (found.eight_bit, found.utf8_headers)
        };
        assert_eq!(both("Subject: a\r\n\r\nb\r\n"), (false, false));
        assert_eq!(both("Subject: a\r\n\r\nä\r\n"), (true, false));
        assert_eq!(both("Subject: ä\r\n\r\nb\r\n"), (true, true));
    }

    #[test]
    fn a_header_section_over_the_limit_is_cut_and_says_so() {
        let mut inspector = Inspector::new(20);
        inspector.feed(b"From: a@b.example\r\nReceived: x\r\n\r\nbody\r\n");
        let found = inspector.finish();
        assert!(found.headers.truncated);
        assert_eq!(found.headers.bytes, b"From: a@b.example\r\nR");
    }

    #[test]
    fn lines_up_to_998_octets_are_right_and_longer_ones_are_not() {
        for (length, too_long) in [(998, false), (999, true), (5_000, true)] {
            let line = format!("a\r\n{}\r\nb\r\n", "x".repeat(length));
            assert_eq!(inspect(line.as_bytes()).line_too_long, too_long, "{length}");
            let unended = "x".repeat(length);
            assert_eq!(inspect(unended.as_bytes()).line_too_long, too_long, "{length} without an end");
        }
    }

    #[test]
    fn only_automatic_mail_counts_as_such() {
        let auto =
            |value: &str| inspect(format!("Auto-Submitted: {value}\r\n\r\n").as_bytes()).auto_submitted;
        assert!(auto("auto-replied"));
        assert!(auto("auto-generated; x=y"));
        assert!(!auto("no"));
        assert!(!auto("No (really)"));
        assert!(!inspect(b"Subject: x\r\n\r\n").auto_submitted);
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            Just("From: a@b.example".to_owned()),
            Just("Received: x".to_owned()),
            Just("Auto-Submitted: auto-replied".to_owned()),
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
