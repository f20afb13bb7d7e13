//! A notice to the postmaster: plain words from the mail server itself.
//!
//! [`Notice`] says from whom to whom and what; [`Notice::compose`] makes a message of it, all ASCII, with CRLF line ends.
//!
//! What it deliberately does not do: decide who gets it, or hold anything but text.

use jiff::Timestamp;
use postern_smtp::address::Mailbox;

use crate::repair;
use crate::text::{self, Charset};

/// So long a subject or a paragraph may be, in octets.
const LONGEST: usize = 2000;

/// Something that the postmaster should know.
#[derive(Debug, Clone, Copy)]
pub struct Notice<'a> {
    /// From whom: an address that takes mail.
    pub from: &'a Mailbox,
    /// To whom.
    pub to: &'a Mailbox,
    /// What it is about.
    pub subject: &'a str,
    /// What there is to say; an empty one is an empty line.
    pub paragraphs: &'a [String],
    /// Our name.
    pub hostname: &'a str,
    /// When it is sent.
    pub now: Timestamp,
    /// What names the message among all that this host ever sends: its queue id.
    pub unique: &'a str,
}

impl Notice<'_> {
    /// The message. What is not ASCII, and what could break a line, becomes a question mark.
    pub fn compose(&self) -> Vec<u8> {
        let clean = |said: &str| text::clean(said, Charset::Ascii, LONGEST);
        let mut message = String::new();
        let mut add = |name: &str, value: &str| message.push_str(&text::field(name, value));
        add("From", &format!("Postern on {} <{}>", clean(self.hostname), self.from));
        add("To", &format!("<{}>", self.to));
        add("Subject", &clean(self.subject));
        add("Date", &text::date(self.now));
        add("Message-ID", &repair::message_id(self.now, self.unique, self.hostname));
        // RFC 3834 §5: nobody is to answer a machine.
        add("Auto-Submitted", "auto-generated");
        add("MIME-Version", "1.0");
        add("Content-Type", "text/plain; charset=us-ascii");
        message.push_str("\r\n");
        for paragraph in self.paragraphs {
            message.push_str(&text::paragraph("", &clean(paragraph)));
        }
        message.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::Headers;

    fn composed(subject: &str, paragraphs: &[String]) -> String {
        let mailbox = "postmaster@example.org".parse().unwrap();
        let notice = Notice {
            from: &mailbox,
            to: &mailbox,
            subject,
            paragraphs,
            hostname: "mail.example.org",
            now: "2026-11-21T10:00:00Z".parse().unwrap(),
            unique: "abc",
        };
        String::from_utf8(notice.compose()).unwrap()
    }

    #[test]
    fn a_notice_is_a_message_that_a_machine_wrote() {
        let message = composed("a certificate ends", &["One.".into(), String::new(), "word ".repeat(40)]);
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        let headers = Headers::parse(head.as_bytes()).unwrap();
        assert!(headers.find("Auto-Submitted").is_some() && headers.message_id().is_some(), "{head}");
        assert!(body.starts_with("One.\r\n\r\nword word"), "{body}");
        assert!(message.lines().all(|line| line.len() <= 78), "{message}");
    }

    #[test]
    fn words_from_outside_break_no_line() {
        let message = composed("a\r\nBcc: b@example.org\u{202e}", &["x\r\n.\r\nä".into()]);
        assert!(message.contains("Subject: a??Bcc: b@example.org?\r\n"), "{message}");
        assert!(message.is_ascii() && message.ends_with("\r\n\r\nx??.???\r\n"), "{message}");
    }
}
