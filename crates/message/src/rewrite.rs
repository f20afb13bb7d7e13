//! Puts another author in the place of a message's own, as it streams by: for devices that cannot be told who they are.
//!
//! The type to know: [`NewAuthor`]. It holds the header section back until that has ended, and nothing behind it. The fields
//! that named others stay readable under the names `Original-From` and `Original-Sender`.
//!
//! What it deliberately does not do: add a `From` field where there is none ([`repair`](crate::repair) does), or mend a header
//! that cannot be read.

use postern_smtp::address::Mailbox;

use crate::header::{Field, Headers};
use crate::inspect::section_end;
use crate::text;

/// Rewrites one message's header section.
#[derive(Debug, Clone)]
pub struct NewAuthor {
    author: Mailbox,
    limit: usize,
    /// The header section so far; `None` behind it.
    held: Option<Vec<u8>>,
}

impl NewAuthor {
    /// A header section of more than so many octets passes as it is: whoever looks at it refuses it.
    pub fn new(author: Mailbox, max_header_bytes: usize) -> Self {
        Self { author, limit: max_header_bytes, held: Some(Vec::new()) }
    }

    /// Takes the next piece of content, with CRLF line ends; what of the message can go on.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(held) = &mut self.held else { return piece.to_vec() };
        let known = held.len();
        held.extend_from_slice(piece);
        match section_end(held, known) {
            Some(end) => self.pass(end),
            // What is looked at shows its end two octets later.
            None if held.len() > self.limit + 2 => self.held.take().unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// What is still held when all content was fed: it was all header.
    pub fn finish(&mut self) -> Vec<u8> {
        let end = self.held.as_ref().map_or(0, Vec::len);
        self.pass(end)
    }

    fn pass(&mut self, end: usize) -> Vec<u8> {
        let held = self.held.take().unwrap_or_default();
        if end > self.limit {
            return held;
        }
        let (section, behind) = held.split_at(end);
        let mut passed = rewritten(section, &self.author);
        passed.extend_from_slice(behind);
        passed
    }
}

/// The section with its authors renamed. What is no field stays where it is.
fn rewritten(section: &[u8], author: &Mailbox) -> Vec<u8> {
    let mut made = Vec::with_capacity(section.len() + 256);
    let (mut at, mut named) = (0, false);
    for field in Headers::scan(section).0.iter() {
        let Some(name) = new_name(field) else { continue };
        made.extend_from_slice(&section[at..field.range.start]);
        if name == FROM && !named {
            named = true;
            made.extend_from_slice(text::field("From", &format!("<{author}>")).as_bytes());
        }
        let whole = &section[field.range.clone()];
        let colon = memchr::memchr(b':', whole).unwrap_or(0);
        made.extend_from_slice(name.as_bytes());
        made.extend_from_slice(&whole[colon..]);
        at = field.range.end;
    }
    made.extend_from_slice(&section[at..]);
    made
}

/// RFC 5703 §4.3 has the name for a From field that another took the place of.
const FROM: &str = "Original-From";

fn new_name(field: &Field<'_>) -> Option<&'static str> {
    match field.name {
        name if name.eq_ignore_ascii_case("From") => Some(FROM),
        name if name.eq_ignore_ascii_case("Sender") => Some("Original-Sender"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inspect::Inspector;

    fn author() -> Mailbox {
        "scanner@example.org".parse().expect("it is an address")
    }

    /// The message in pieces of so many octets.
    fn passed(content: &[u8], piece: usize, limit: usize) -> Vec<u8> {
        let mut rewriter = NewAuthor::new(author(), limit);
        let mut passed: Vec<u8> =
            content.chunks(piece.max(1)).flat_map(|piece| rewriter.feed(piece)).collect();
        passed.extend(rewriter.finish());
        passed
    }

    #[test]
    fn the_author_is_replaced_and_nothing_else() {
        let content = b"Subject: scan\r\nFROM : \"Old\"\r\n <x@y.example>\r\nSender: z@y.example\r\nTo: a@b.example\r\n\r\nFrom: body\r\n";
        let expected =
            b"Subject: scan\r\nFrom: <scanner@example.org>\r\nOriginal-From: \"Old\"\r\n <x@y.example>\r\n\
            Original-Sender: z@y.example\r\nTo: a@b.example\r\n\r\nFrom: body\r\n";
        assert_eq!(String::from_utf8_lossy(&passed(content, 7, 1000)), String::from_utf8_lossy(expected));
    }

    #[test]
    fn of_several_from_fields_none_is_left() {
        let made = passed(b"From: a@b.example\r\nFrom: c@d.example\r\n\r\n", 100, 1000);
        let mut inspector = Inspector::default();
        inspector.feed(&made);
        let found = inspector.finish();
        assert_eq!((found.from_count, found.from), (1, Ok(vec![author()])));
    }

    #[test]
    fn a_message_that_is_all_header_or_has_none_is_passed_whole() {
        assert_eq!(
            passed(b"From: a@b.example\r\n", 3, 1000),
            b"From: <scanner@example.org>\r\nOriginal-From: a@b.example\r\n"
        );
        assert_eq!(passed(b"\r\nFrom: a@b.example\r\n", 1, 1000), b"\r\nFrom: a@b.example\r\n");
        assert_eq!(passed(b"", 1, 1000), b"");
    }

    #[test]
    fn a_header_section_over_the_limit_passes_as_it_is() {
        let content = b"From: a@b.example\r\nSubject: too long for this\r\n\r\nbody";
        assert_eq!(passed(content, 5, 20), content);
        assert_eq!(passed(content, 500, 20), content);
    }

    proptest! {
        #[test]
        fn the_pieces_make_no_difference_and_no_author_slips_through(
            lines in proptest::collection::vec(prop_oneof![
                Just("From: a@b.example".to_owned()), Just("fRoM\t: c@d.example".to_owned()), Just(" folded".to_owned()),
                Just("Sender: e@f.example".to_owned()), Just(String::new()), Just("no field".to_owned()), "[ -~]{0,20}"], 0..10),
            piece in 1usize..40,
        ) {
            let content = (lines.join("\r\n") + "\r\n").into_bytes();
            let whole = passed(&content, content.len(), 10_000);
            prop_assert_eq!(&whole, &passed(&content, piece, 10_000));
            let mut inspector = Inspector::default();
            inspector.feed(&whole);
            let found = inspector.finish();
            prop_assert!(found.from_count <= 1 && found.sender.is_none());
            if let Ok(from) = found.from {
                prop_assert_eq!(from, vec![author()]);
            }
        }
    }
}
