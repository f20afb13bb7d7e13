//! What a submission lacks and we may add (RFC 6409 §8), and what it lacks and we may not.
//!
//! Repairs are lines to put before the content; what the sender wrote stays as it is, signatures included. Mail that is
//! only passed on is never repaired (RFC 5321 §6.4).

use jiff::Timestamp;
use postern_smtp::address::Mailbox;

use crate::address_list::AddressListError;
use crate::header::HeaderError;
use crate::inspect::Inspection;
use crate::text;

/// Something about a submission that its sender must mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no `From` field: we do not know in whose name the message speaks.
    #[error("the message has no From field")]
    NoFrom,
    /// There is more than one `From` field (RFC 5322 §3.6 allows one).
    #[error("the message has {0} From fields")]
    SeveralFroms(u32),
    /// The `From` field cannot be read.
    #[error("the From field cannot be read: {0}")]
    BadFrom(AddressListError),
    /// The header section is longer than what is looked at.
    #[error("the header section is too long")]
    TooLong,
    /// Other programs could see other fields in it than we do, another author for one.
    #[error("{0}")]
    Ambiguous(HeaderError),
}

/// The first thing about a submission that cannot be repaired.
pub fn problem(found: &Inspection) -> Option<Problem> {
    if found.headers.truncated {
        return Some(Problem::TooLong);
    }
    match &found.header_problem {
        // Text without a header section is what simple scripts send.
        None | Some(HeaderError::NotAField(_)) => {}
        Some(error) => return Some(Problem::Ambiguous(error.clone())),
    }
    match (found.from_count, &found.from) {
        (0, _) => Some(Problem::NoFrom),
        (1, Ok(_)) => None,
        (1, Err(error)) => Some(Problem::BadFrom(error.clone())),
        (several, _) => Some(Problem::SeveralFroms(several)),
    }
}

/// What makes the fields that are added this message's own.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// When it was submitted.
    pub now: Timestamp,
    /// What names it among all that this host ever sends: its queue id.
    pub unique: &'a str,
    /// This host.
    pub hostname: &'a str,
}

/// The header fields that a submission lacks, each with its CRLF; empty when it lacks none.
///
/// `author` is who is known to send it: a script's message without a From field is his. Only letters, digits, `.`, `-`
/// and `_` of what is unique about the message are used.
pub fn missing_fields(found: &Inspection, author: Option<&Mailbox>, origin: &Origin<'_>) -> Vec<u8> {
    let Origin { now, unique, hostname } = *origin;
    let mut fields = String::new();
    if let (false, Some(author)) = (found.has_from, author) {
        fields.push_str(&text::field("From", &format!("<{author}>")));
    }
    // RFC 6409 §8.2
    if !found.has_date {
        fields.push_str(&text::field("Date", &text::date(now)));
    }
    // RFC 6409 §8.3
    if !found.has_message_id {
        fields.push_str(&text::field("Message-ID", &message_id(now, unique, hostname)));
    }
    // Text without any header section is the body, and a body stands behind an empty line (RFC 5322 §2.1).
    if found.header_problem == Some(HeaderError::NotAField(0)) {
        fields.push_str("\r\n");
    }
    fields.into_bytes()
}

/// A message id of ours (RFC 5322 §3.6.4), angle brackets included.
pub fn message_id(now: Timestamp, unique: &str, hostname: &str) -> String {
    let keep = |text: &str, also: &str| -> String {
        text.chars().filter(|&c| c.is_ascii_alphanumeric() || also.contains(c)).take(120).collect()
    };
    let host = keep(hostname, ".-");
    let host = if host.is_empty() { "localhost".to_owned() } else { host };
    format!("<{}.{}@{host}>", now.as_millisecond(), keep(unique, "-_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Inspector;

    fn inspect(content: &str) -> Inspection {
        let mut inspector = Inspector::default();
        inspector.feed(content.as_bytes());
        inspector.finish()
    }

    fn added(content: &str) -> String {
        let now = "2026-11-20T19:30:00Z".parse().unwrap();
        let origin = Origin { now, unique: "4cX9", hostname: "mail.example.org" };
        let author: Mailbox = "ann@example.org".parse().unwrap();
        String::from_utf8(missing_fields(&inspect(content), Some(&author), &origin)).unwrap()
    }

    #[test]
    fn a_missing_author_is_added() {
        assert_eq!(added("Date: never\r\nMessage-Id: <x@y>\r\n\r\n"), "From: <ann@example.org>\r\n");
    }

    #[test]
    fn text_without_a_header_section_becomes_the_body() {
        assert!(added("Hello there\r\n").ends_with("\r\n\r\n"));
    }

    #[test]
    fn no_author_hides_behind_what_others_read_differently() {
        let many = format!("From: a@b.example\r\n{}From: c@d.example\r\n\r\n", "A:\r\n".repeat(6000));
        for content in [
            many.as_str(),
            " , C <c@d.example>\r\nTo: x@y.example\r\n\r\n",
            "X: a\rFrom: c@d.example\r\n\r\n",
        ] {
            let found = problem(&inspect(content));
            assert!(matches!(found, Some(Problem::Ambiguous(_))), "{found:?}");
        }
        let behind_junk = format!("junk line\r\n{}From: c@d.example\r\n\r\n", "A:\r\n".repeat(6000));
        assert!(matches!(problem(&inspect(&behind_junk)), Some(Problem::Ambiguous(HeaderError::TooMany))));
    }

    #[test]
    fn missing_date_and_message_id_are_added() {
        assert_eq!(
            added("From: a@b.example\r\n\r\n"),
            "Date: Fri, 20 Nov 2026 19:30:00 +0000\r\nMessage-ID: <1795203000000.4cX9@mail.example.org>\r\n"
        );
    }

    #[test]
    fn what_is_there_is_left_alone() {
        assert_eq!(added("From: a@b.example\r\nDate: never\r\nMessage-Id: <x@y>\r\n\r\n"), "");
    }

    #[test]
    fn a_message_id_is_harmless_whatever_it_is_made_of() {
        let now = "2026-11-20T19:30:00Z".parse().unwrap();
        assert_eq!(message_id(now, "a>\r\nb", "h\r\n<i>"), "<1795203000000.ab@hi>");
        assert_eq!(message_id(now, "a", ""), "<1795203000000.a@localhost>");
    }

    #[test]
    fn a_submission_without_one_good_from_is_a_problem() {
        assert_eq!(problem(&inspect("From: a@b.example\r\n\r\n")), None);
        assert_eq!(problem(&inspect("Subject: x\r\n\r\n")), Some(Problem::NoFrom));
        assert_eq!(problem(&inspect("From: a@b.c\r\nFrom: a@b.c\r\n\r\n")), Some(Problem::SeveralFroms(2)));
        let bad = problem(&inspect("From: nobody\r\n\r\n"));
        assert_eq!(bad, Some(Problem::BadFrom(AddressListError::NoDomain)));
    }
}
