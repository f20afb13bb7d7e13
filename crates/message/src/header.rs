//! A header section's fields as raw octets (RFC 5322 §2.2): for looking at, never for writing back.
//!
//! [`Headers::parse`] is strict: the first line that is no field makes the whole section an error, for what a doubtful
//! section means depends on who reads it. [`Headers::scan`] is for those who must look all the same: it steps over
//! such lines and says so.

use std::ops::Range;

/// The most fields looked at; a section with more is refused (or, in a scan, cut there).
pub const MAX_FIELDS: usize = 5_000;

/// The fields of a header section, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    fields: Vec<Field<'a>>,
}

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was written, without the colon.
    pub name: &'a str,
    /// Everything behind the colon up to the last line end, folding kept.
    pub value: &'a [u8],
    /// Where the field lies in the section, its last line end included.
    pub range: Range<usize>,
}

/// Why a header section was refused. The position is the offset of the offending line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// A line has no colon, or something in front of it that is no field name.
    #[error("the header line at octet {0} is not a field")]
    NotAField(usize),
    /// The section begins with a continuation line.
    #[error("the header section begins with a continuation line")]
    NothingToContinue,
    /// A carriage return or line feed stands alone.
    #[error("the header line at octet {0} holds a bare CR or LF")]
    BareLineEnd(usize),
    /// There are more than [`MAX_FIELDS`] fields.
    #[error("the header section has too many fields")]
    TooMany,
}

impl<'a> Headers<'a> {
    /// Splits a header section into fields. The section ends at an empty line, or where the octets end.
    ///
    /// # Errors
    /// The sender's fault: the first thing that RFC 5322 §2.2 does not allow.
    pub fn parse(section: &'a [u8]) -> Result<Self, HeaderError> {
        let (headers, problem) = Self::scan(section);
        match problem {
            Some(problem) => Err(problem),
            None => Ok(headers),
        }
    }

    /// The same, stepping over lines that are no fields; the first problem is returned beside the fields.
    pub fn scan(section: &'a [u8]) -> (Self, Option<HeaderError>) {
        let mut fields = Vec::new();
        let mut problem = None;
        for range in entries(section) {
            if fields.len() == MAX_FIELDS {
                note(&mut problem, HeaderError::TooMany);
                break;
            }
            match field(section, range) {
                Ok((field, None)) => fields.push(field),
                Ok((field, Some(trouble))) => {
                    fields.push(field);
                    note(&mut problem, trouble);
                }
                Err(trouble) => {
                    note(&mut problem, trouble);
                }
            }
        }
        (Self { fields }, problem)
    }

    /// All fields, first to last.
    pub fn iter(&self) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter()
    }

    /// The first field of that name, in any case.
    pub fn find(&self, name: &str) -> Option<&Field<'a>> {
        self.all(name).next()
    }

    /// All fields of that name, in any case.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name))
    }

    /// The message's id with its angle brackets, when it has exactly one and that one is harmless (RFC 5322 §3.6.4).
    pub fn message_id(&self) -> Option<String> {
        let mut ids = self.all("Message-ID");
        let (Some(only), None) = (ids.next(), ids.next()) else {
            return None;
        };
        let text = only.text();
        let id = text.trim();
        let inner = id.strip_prefix('<')?.strip_suffix('>')?;
        let harmless = inner.bytes().all(|octet| octet.is_ascii_graphic() && !b"<>(),;\\\"".contains(&octet));
        (harmless && (1..=250).contains(&inner.len())).then(|| id.to_owned())
    }
}

impl Field<'_> {
    /// The value unfolded (RFC 5322 §2.2.3), octets that are no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.value).replace(['\r', '\n'], "")
    }
}

/// The ranges of a section's fields, each with its continuation lines.
fn entries(section: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        at = line_end(section, start)?;
        if matches!(&section[start..at], b"\r\n" | b"\n") {
            return None;
        }
        while matches!(section.get(at), Some(b' ' | b'\t')) {
            at = line_end(section, at)?;
        }
        Some(start..at)
    })
}

/// Where the line that begins at `start` ends, behind its line feed; `None` at the end of the octets.
fn line_end(section: &[u8], start: usize) -> Option<usize> {
    let rest = section.get(start..).filter(|rest| !rest.is_empty())?;
    Some(memchr::memchr(b'\n', rest).map_or(section.len(), |at| start + at + 1))
}

/// One field, and a problem that does not keep it from being one.
fn field(section: &[u8], range: Range<usize>) -> Result<(Field<'_>, Option<HeaderError>), HeaderError> {
    let line = &section[range.clone()];
    let start = range.start;
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(HeaderError::NothingToContinue);
    }
    let colon = memchr::memchr(b':', line).ok_or(HeaderError::NotAField(start))?;
    // RFC 5322 §4.5: an obsolete field may have white space before its colon. Strictly a problem, but still that field.
    let name = line[..colon].trim_ascii_end();
    let name = field_name(name).ok_or(HeaderError::NotAField(start))?;
    let value = &line[colon + 1..];
    let value = value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value);
    let problem = if has_bare_line_end(line) {
        Some(HeaderError::BareLineEnd(start))
    } else if name.len() != colon {
        Some(HeaderError::NotAField(start))
    } else {
        None
    };
    Ok((Field { name, value, range }, problem))
}

/// RFC 5322 §3.6.8: printable ASCII but the colon.
fn field_name(name: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(name).ok()?;
    (!text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic())).then_some(text)
}

/// A CR that no LF follows, or an LF that follows no CR.
fn has_bare_line_end(line: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', line).any(|at| match line[at] {
        b'\r' => line.get(at + 1) != Some(&b'\n') && at + 1 != line.len(),
        _ => at == 0 || line[at - 1] != b'\r',
    })
}

/// Keeps the first problem, but lets one that could hide fields win over a line that is merely none.
fn note(problem: &mut Option<HeaderError>, trouble: HeaderError) {
    let hides_nothing = matches!(trouble, HeaderError::NotAField(_));
    match problem {
        None => *problem = Some(trouble),
        Some(HeaderError::NotAField(_)) if !hides_nothing => *problem = Some(trouble),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECTION: &[u8] = b"Received: a\r\n\tb\r\nFROM: x@example.org\r\nreceived:c\r\n\r\nTo: body\r\n";

    #[test]
    fn fields_come_in_order_with_their_folding_and_positions() {
        let headers = Headers::parse(SECTION).expect("a good section");
        let names: Vec<&str> = headers.iter().map(|field| field.name).collect();
        assert_eq!(names, ["Received", "FROM", "received"]);
        let first = headers.find("received").expect("is there");
        assert_eq!(first.value, b" a\r\n\tb");
        assert_eq!(&SECTION[first.range.clone()], b"Received: a\r\n\tb\r\n");
        assert_eq!(first.text(), " a\tb");
    }

    #[test]
    fn names_are_found_in_any_case_and_all_of_them() {
        let headers = Headers::parse(SECTION).expect("a good section");
        assert_eq!(headers.all("RECEIVED").count(), 2);
        assert!(headers.find("to").is_none(), "the body is no header");
    }

    #[test]
    fn a_line_without_a_colon_is_refused_with_its_place() {
        assert_eq!(Headers::parse(b"A: b\r\nnonsense\r\n"), Err(HeaderError::NotAField(6)));
        assert_eq!(Headers::parse(b"A b: c\r\n"), Err(HeaderError::NotAField(0)));
        assert_eq!(Headers::parse(b": c\r\n"), Err(HeaderError::NotAField(0)));
    }

    #[test]
    fn a_continuation_of_nothing_is_refused() {
        assert_eq!(Headers::parse(b" a: b\r\n"), Err(HeaderError::NothingToContinue));
    }

    #[test]
    fn bare_line_ends_are_refused() {
        assert_eq!(Headers::parse(b"A: b\rB: c\r\n"), Err(HeaderError::BareLineEnd(0)));
        assert_eq!(Headers::parse(b"A: b\nB: c\r\n"), Err(HeaderError::BareLineEnd(0)));
    }

    #[test]
    fn a_scan_sees_a_from_behind_a_bad_line_and_one_with_a_space_before_its_colon() {
        let (headers, problem) = Headers::scan(b"nonsense\r\nFrom : a@b\r\nFrom: c@d\r\n");
        assert_eq!(headers.all("from").count(), 2);
        assert_eq!(problem, Some(HeaderError::NotAField(0)));
    }

    #[test]
    fn more_fields_than_allowed_are_refused() {
        let section = b"A: b\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(Headers::parse(&section), Err(HeaderError::TooMany));
        assert!(Headers::parse(&section[6..]).is_ok());
    }

    #[test]
    fn only_a_single_harmless_message_id_is_given() {
        let id = |section: &[u8]| Headers::scan(section).0.message_id();
        assert_eq!(id(b"Message-ID: <a.b@c>\r\n").as_deref(), Some("<a.b@c>"));
        assert_eq!(id(b"message-id:\r\n <a@b>\r\n").as_deref(), Some("<a@b>"));
        assert_eq!(id(b"Message-ID: <a@b> <c@d>\r\n"), None);
        assert_eq!(id(b"Message-ID: a@b\r\n"), None);
        assert_eq!(id(b"Message-ID: <a@b>\r\nMessage-ID: <c@d>\r\n"), None);
        assert_eq!(id("Message-ID: <ä@b>\r\n".as_bytes()), None);
    }

    proptest! {
        #[test]
        fn no_octets_make_the_parser_panic(section in proptest::collection::vec(prop_oneof![
            Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a'), any::<u8>()], 0..200)) {
            let (headers, _) = Headers::scan(&section);
            for field in headers.iter() {
                prop_assert!(section[field.range.clone()].starts_with(field.name.as_bytes()));
            }
        }

        #[test]
        fn good_fields_are_found_as_written(fields in proptest::collection::vec(("[!-9;-~]{1,20}", "[ -~]{0,40}"), 0..20)) {
            let lines: Vec<String> = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
            let section = lines.concat();
            let headers = Headers::parse(section.as_bytes()).expect("good fields");
            let found: Vec<(String, String)> = headers.iter().map(|f| (f.name.to_owned(), f.text())).collect();
            prop_assert_eq!(found, fields);
        }
    }
}
