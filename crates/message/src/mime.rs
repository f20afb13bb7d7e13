//! The little of MIME that reports need: heads and boundaries of parts that we write, and the parts of messages that
//! others wrote.
//!
//! [`leaves`] walks a message's structure itself, within bounds that no message can move; only the fields `Content-Type`
//! and `Content-Disposition` and the two transfer encodings are left to a library. Given a whole message, that library
//! nests as deep as the message says and looks for a boundary to the end of the message once for each part, so that a
//! stranger could make it use up the stack, or minutes for a few megabytes.
//!
//! What it deliberately does not do: decode text and its character sets, or put back together what it took apart.

use std::borrow::Cow;

use mail_parser::HeaderValue;
use mail_parser::decoders::base64::base64_decode;
use mail_parser::decoders::quoted_printable::quoted_printable_decode;
use mail_parser::parsers::MessageStream;
use memchr::memmem;

use crate::header::Headers;
use crate::text;

/// How many parts of a message are looked at.
const MAX_PARTS: usize = 64;

/// How deep parts within parts are looked at.
const MAX_DEPTH: usize = 4;

/// How many octets the fields that describe a part may have, each.
const MAX_FIELD: usize = 4 * 1024;

/// How many octets of a part's header section are looked at.
const MAX_HEAD: usize = 256 * 1024;

/// The head of a part that we write, with the delimiter before it and the empty line behind it.
pub(crate) fn part_head(boundary: &str, fields: &[(&str, &str)]) -> String {
    let mut head = format!("\r\n--{boundary}\r\n");
    for (name, value) in fields {
        head.push_str(&text::field(name, value));
    }
    head.push_str("\r\n");
    head
}

/// A boundary that none of the parts holds (RFC 2046 §5.1.1). `=_` never occurs in quoted-printable or base64.
pub(crate) fn boundary(unique: &str, parts: &[&[u8]]) -> String {
    let unique: String = unique.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
    // Each candidate that a part holds takes some of its octets, so one of these is free.
    let enough = parts.iter().map(|part| part.len()).sum::<usize>();
    let is_free =
        |candidate: &String| parts.iter().all(|part| memmem::find(part, candidate.as_bytes()).is_none());
    (0..=enough).map(|attempt| format!("=_{unique}.{attempt}")).find(is_free).unwrap_or_default()
}

/// A part that holds no other parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf<'a> {
    /// `text/plain` and the like, in lower case.
    pub(crate) kind: String,
    /// The name under which it would be saved.
    pub(crate) name: Option<String>,
    encoding: Encoding,
    content: &'a [u8],
}

/// RFC 2045 §6
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Base64,
    QuotedPrintable,
}

/// What a part's header section says of it.
struct Description {
    kind: String,
    boundary: Option<String>,
    name: Option<String>,
    encoding: Encoding,
}

/// The parts of a message that hold no others, in order; at most [`MAX_PARTS`], from at most [`MAX_DEPTH`] levels.
pub(crate) fn leaves(message: &[u8]) -> Vec<Leaf<'_>> {
    let mut found = Vec::new();
    let mut budget = MAX_PARTS;
    walk(message, MAX_DEPTH, &mut budget, &mut found);
    found
}

impl<'a> Leaf<'a> {
    /// The content without its transfer encoding; `None` when that is broken.
    pub(crate) fn decode(&self) -> Option<Cow<'a, [u8]>> {
        match self.encoding {
            Encoding::Identity => Some(Cow::Borrowed(self.content)),
            Encoding::Base64 => base64_decode(self.content).map(Cow::Owned),
            Encoding::QuotedPrintable => quoted_printable_decode(self.content).map(Cow::Owned),
        }
    }
}

fn walk<'a>(entity: &'a [u8], depth: usize, budget: &mut usize, found: &mut Vec<Leaf<'a>>) {
    let (head, content) = split_head(entity);
    let description = Description::read(head);
    let inner = match &description.boundary {
        _ if depth == 0 => Vec::new(),
        Some(boundary) if description.kind.starts_with("multipart/") => parts(content, boundary),
        _ if description.holds_message() => vec![content],
        _ => Vec::new(),
    };
    if inner.is_empty() {
        let Description { kind, name, encoding, .. } = description;
        found.push(Leaf { kind, name, encoding, content });
    }
    for part in inner {
        let Some(left) = budget.checked_sub(1) else { return };
        *budget = left;
        walk(part, depth - 1, budget, found);
    }
}

impl Description {
    fn read(head: &[u8]) -> Self {
        let (headers, _) = Headers::scan(&head[..head.len().min(MAX_HEAD)]);
        let value = |name| {
            let field = headers.find(name)?;
            (field.value.len() <= MAX_FIELD).then_some(field.value)
        };
        let kind = value("Content-Type").and_then(parameterised);
        let attribute = |field: &Option<Parameterised>, name: &str| {
            let attributes = &field.as_ref()?.attributes;
            attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let disposition = value("Content-Disposition").and_then(parameterised);
        Self {
            boundary: attribute(&kind, "boundary").filter(|boundary| !boundary.is_empty()),
            name: attribute(&disposition, "filename").or_else(|| attribute(&kind, "name")),
            encoding: value("Content-Transfer-Encoding").map_or(Encoding::Identity, Encoding::read),
            // RFC 2045 §5.2
            kind: kind.map_or_else(|| "text/plain".to_owned(), |kind| kind.value),
        }
    }

    fn holds_message(&self) -> bool {
        self.encoding == Encoding::Identity && matches!(&*self.kind, "message/rfc822" | "message/global")
    }
}

impl Encoding {
    fn read(value: &[u8]) -> Self {
        let name = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }
}

/// A field of the form `value; name=value; name=value`.
struct Parameterised {
    value: String,
    attributes: Vec<(String, String)>,
}

fn parameterised(field: &[u8]) -> Option<Parameterised> {
    let line = [field, b"\n"].concat();
    let HeaderValue::ContentType(read) = MessageStream::new(&line).parse_content_type() else {
        return None;
    };
    let mut value = read.c_type.to_ascii_lowercase();
    if let Some(subtype) = &read.c_subtype {
        value = format!("{value}/{}", subtype.to_ascii_lowercase());
    }
    let pair = |attribute: mail_parser::Attribute<'_>| {
        (attribute.name.to_ascii_lowercase(), attribute.value.into_owned())
    };
    Some(Parameterised {
        value,
        attributes: read.attributes.unwrap_or_default().into_iter().map(pair).collect(),
    })
}

/// The header section and what is behind the empty line; lines may end in CRLF or, in files, in LF.
fn split_head(entity: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(end) = memchr::memchr(b'\n', &entity[at..]).map(|end| at + end + 1) {
        if matches!(&entity[at..end], b"\r\n" | b"\n") {
            return (&entity[..at], &entity[end..]);
        }
        at = end;
    }
    (entity, b"")
}

/// The parts between the delimiters (RFC 2046 §5.1.1). A last part that nothing ends goes to the end.
fn parts<'a>(content: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut begin = None;
    let mut at = 0;
    while at < content.len() && parts.len() < MAX_PARTS {
        let end = memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |end| at + end + 1);
        if let Some(delimiter) = Delimiter::read(&content[at..end], boundary) {
            if let Some(begin) = begin.replace(end) {
                parts.push(without_line_end(&content[begin..at]));
            }
            if delimiter == Delimiter::Last {
                return parts;
            }
        }
        at = end;
    }
    if let Some(begin) = begin.filter(|begin| *begin < content.len() && parts.len() < MAX_PARTS) {
        parts.push(&content[begin..]);
    }
    parts
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delimiter {
    Next,
    Last,
}

impl Delimiter {
    fn read(line: &[u8], boundary: &str) -> Option<Self> {
        let behind = line.strip_prefix(b"--")?.strip_prefix(boundary.as_bytes())?;
        match behind.trim_ascii_end() {
            b"" => Some(Self::Next),
            b"--" => Some(Self::Last),
            _ => None,
        }
    }
}

/// The line end before a delimiter belongs to the delimiter.
fn without_line_end(part: &[u8]) -> &[u8] {
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    part.strip_suffix(b"\r").unwrap_or(part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contents(message: &str) -> Vec<(String, String)> {
        let text = |leaf: &Leaf<'_>| String::from_utf8_lossy(&leaf.decode().unwrap_or_default()).into_owned();
        leaves(message.as_bytes()).iter().map(|leaf| (leaf.kind.clone(), text(leaf))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(kind, text)| ((*kind).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_message_without_parts_is_one_leaf() {
        assert_eq!(contents("From: a@b\r\n\r\ntext\r\n"), pairs(&[("text/plain", "text\r\n")]));
        assert_eq!(contents(""), pairs(&[("text/plain", "")]));
    }

    #[test]
    fn parts_within_parts_are_found_in_order() {
        let message = "Content-Type: Multipart/Mixed; boundary=\"a b\"\n\npreamble\n--a b\n\none\n--a b \n\
                       Content-Type: multipart/alternative; boundary=c\n\n--c\nContent-Type: text/HTML\n\ntwo\n--c--\n\
                       --a b\nContent-Type: message/rfc822\n\nContent-Type: application/x\n\nthree\n--a b--\nepilogue\n";
        let expected = [("text/plain", "one"), ("text/html", "two"), ("application/x", "three")];
        assert_eq!(contents(message), pairs(&expected));
        assert_eq!(contents(&message.replace('\n', "\r\n")), pairs(&expected));
    }

    #[test]
    fn transfer_encodings_are_undone_and_broken_ones_are_none() {
        let leaf = |encoding: &str, content: &str| {
            let message = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{content}");
            leaves(message.as_bytes())[0].decode().map(Cow::into_owned)
        };
        assert_eq!(leaf("BASE64", "YW\r\nJj\r\n").as_deref(), Some(&b"abc"[..]));
        assert_eq!(leaf("quoted-printable", "a=3Db=\r\nc").as_deref(), Some(&b"a=bc"[..]));
        assert_eq!(leaf("8bit", "abc").as_deref(), Some(&b"abc"[..]));
        assert_eq!(leaf("base64", "*"), None);
    }

    #[test]
    fn a_name_may_come_in_pieces_and_in_either_field() {
        let name = |head: &str| leaves(format!("{head}\r\n\r\n").as_bytes())[0].name.clone();
        assert_eq!(name("Content-Type: a/b; name=\"x y.gz\"").as_deref(), Some("x y.gz"));
        let pieces = "Content-Disposition: attachment;\r\n filename*0=\"a!\";\r\n filename*1=\"b.gz\"";
        assert_eq!(name(pieces).as_deref(), Some("a!b.gz"));
        assert_eq!(name("Content-Type: a/b"), None);
    }

    #[test]
    fn neither_depth_nor_number_of_parts_is_the_messages_to_choose() {
        let deep = "Content-Type: message/rfc822\n\n".repeat(100_000);
        assert_eq!(leaves(deep.as_bytes()).len(), 1);
        let wide = format!("Content-Type: multipart/mixed; boundary=a\n\n{}", "--a\n\nx\n".repeat(100_000));
        assert_eq!(leaves(wide.as_bytes()).len(), MAX_PARTS);
        let unended = "--a\nContent-Type: multipart/mixed; boundary=b\n\n".repeat(20_000);
        let unended = format!("Content-Type: multipart/mixed; boundary=a\n\n{unended}");
        assert!(leaves(unended.as_bytes()).len() <= MAX_PARTS);
        let bushy = "--a\nContent-Type: multipart/mixed; boundary=a\n\n".repeat(20_000);
        let bushy = format!("Content-Type: multipart/mixed; boundary=a\n\n{bushy}");
        assert!(leaves(bushy.as_bytes()).len() <= MAX_PARTS);
    }

    #[test]
    fn a_boundary_is_free_of_what_the_parts_hold() {
        assert_eq!(boundary("4c-Y1", &[b"x"]), "=_4cY1.0");
        assert_eq!(boundary("4cY1", &[b"=_4cY1.0", b"=_4cY1.1"]), "=_4cY1.2");
    }

    proptest! {
        #[test]
        fn no_octets_make_the_walk_panic(pieces in proptest::collection::vec(prop_oneof![
            Just(&b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"[..]), Just(&b"Content-Type: message/rfc822\n\n"[..]),
            Just(&b"--a\r\n"[..]), Just(&b"--a--\n"[..]), Just(&b"\r\n"[..]), Just(&b"Content-Type: a/b; x*0*=u'%4"[..]),
            Just(&b"Content-Transfer-Encoding: base64\r\n"[..]), Just(&b"Content-Disposition: ("[..]), Just(&b"\"\\;="[..]),
            Just(&b"Content-Transfer-Encoding: quoted-printable\n"[..]), Just(&b"=4"[..]), Just(&b" \t"[..]), Just(&b"\xff"[..]),
        ], 0..40)) {
            for leaf in leaves(&pieces.concat()) {
                let _ = leaf.decode();
            }
        }
    }
}
