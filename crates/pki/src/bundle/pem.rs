//! PEM (RFC 7468) as people send it: with text before and between, any line ends, and headers of old programs.
//!
//! The library's reader skips what it does not know and cannot say in which line something is wrong. Here every block is
//! found, and every trouble has its line. What it deliberately does not do: look into a block.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use postern_smtp::text::clean;
use zeroize::Zeroizing;

use super::{BundleTrouble, Item};

/// Padding is left out by some programs.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The longest label that is shown, in octets. Real ones have up to 23.
const LONGEST_LABEL: usize = 40;
/// The shortest text that is taken for base64 without its BEGIN line, in octets.
const SHORTEST_BARE: usize = 64;

/// One block.
pub(super) struct Section {
    /// What it says that it is.
    pub(super) label: String,
    /// The line in which it begins, from 1 on.
    pub(super) line: usize,
    /// Whether it is protected in the old way of OpenSSL.
    pub(super) locked: Lock,
    /// What it holds.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Protection that a block's headers tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    None,
    /// `Proc-Type: 4,ENCRYPTED` (RFC 1421 §4.6.1.1).
    Legacy,
}

/// What a label promises.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meaning {
    pub(super) item: Item,
    pub(super) supplement: Supplement,
}

/// Whether something may follow the element in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Supplement {
    None,
    /// OpenSSL's notes of what the certificate is trusted for.
    Trust,
}

/// What a block of this label holds, if it is of any use here.
pub(super) fn meaning(label: &str) -> Option<Meaning> {
    let (item, supplement) = match label {
        "TRUSTED CERTIFICATE" => (Item::Certificate, Supplement::Trust),
        "CERTIFICATE" | "X509 CERTIFICATE" | "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => {
            (Item::Certificate, Supplement::None)
        }
        "PRIVATE KEY"
        | "RSA PRIVATE KEY"
        | "EC PRIVATE KEY"
        | "DSA PRIVATE KEY"
        | "ENCRYPTED PRIVATE KEY" => (Item::Key, Supplement::None),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => (Item::Request, Supplement::None),
        _ => return None,
    };
    Some(Meaning { item, supplement })
}

/// Whether this is text with a BEGIN or END line, well written or not.
pub(super) fn is_likely(octets: &[u8]) -> bool {
    !octets.contains(&0) && (holds(octets, b"BEGIN ") || holds(octets, b"-----END "))
}

/// The blocks, one after the other.
///
/// # Errors
/// There is no block at all.
pub(super) fn sections(
    text: &[u8],
) -> Result<impl Iterator<Item = Result<Section, BundleTrouble>>, BundleTrouble> {
    let mut sections = Sections { lines: lines(text), done: false }.peekable();
    if sections.peek().is_none() {
        return Err(BundleTrouble::Garbage);
    }
    Ok(sections)
}

/// The content of a text that is base64 from beginning to end, as some forms give it out.
pub(super) fn bare_base64(octets: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if octets.len() < SHORTEST_BARE {
        return None;
    }
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(octets.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect());
    BASE64.decode(&text).ok().map(Zeroizing::new).filter(|der| der.first() == Some(&0x30))
}

/// A line and its number.
type Line<'a> = (usize, &'a [u8]);

/// Lines end with LF, CR LF, or on very old machines with CR.
fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let end = if text.contains(&b'\n') { b'\n' } else { b'\r' };
    text.split(move |octet| *octet == end).enumerate().map(|(index, line)| (index + 1, line.trim_ascii()))
}

struct Sections<L> {
    lines: L,
    done: bool,
}

impl<'a, L: Iterator<Item = Line<'a>>> Iterator for Sections<L> {
    type Item = Result<Section, BundleTrouble>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let found = self.begin().and_then(|begun| match begun {
            Some((line, label)) => self.body(line, &label).map(Some),
            None => Ok(None),
        });
        self.done = found.is_err();
        found.transpose()
    }
}

impl<'a, L: Iterator<Item = Line<'a>>> Sections<L> {
    /// The next BEGIN line. Between blocks anything may stand (RFC 7468 §2).
    fn begin(&mut self) -> Result<Option<(usize, String)>, BundleTrouble> {
        for (number, line) in self.lines.by_ref() {
            if let Some(label) = boundary(line, b"-----BEGIN ") {
                return Ok(Some((number, label)));
            }
            if boundary(line, b"-----END ").is_some() {
                return Err(BundleTrouble::NoBegin { line: number });
            }
            if is_bad_boundary(line) {
                return Err(BundleTrouble::BadBoundary { line: number });
            }
        }
        Ok(None)
    }

    fn body(&mut self, begun: usize, label: &str) -> Result<Section, BundleTrouble> {
        let mut locked = Lock::None;
        let mut body: Vec<Line<'a>> = Vec::new();
        for (number, line) in self.lines.by_ref() {
            if let Some(end) = boundary(line, b"-----END ") {
                if end != label {
                    break;
                }
                // What has other headers and checksums than ours is not decoded at all.
                let foreign = super::foreign::by_label(label).is_some() || locked == Lock::Legacy;
                let der = if foreign { Zeroizing::default() } else { decode(&body)? };
                return Ok(Section { label: label.to_owned(), line: begun, locked, der });
            }
            if holds(line, b"-----BEGIN ") {
                break;
            }
            if is_bad_boundary(line) {
                return Err(BundleTrouble::BadBoundary { line: number });
            }
            match line.contains(&b':') {
                true if line.starts_with(b"Proc-Type:") && holds(line, b"ENCRYPTED") => locked = Lock::Legacy,
                true => (),
                false => body.push((number, line)),
            }
        }
        Err(BundleTrouble::NoEnd { label: label.to_owned(), line: begun })
    }
}

/// The label of a BEGIN or END line.
fn boundary(line: &[u8], start: &[u8]) -> Option<String> {
    let label = line.strip_prefix(start)?.strip_suffix(b"-----")?;
    let plain = !label.is_empty() && !holds(label, b"--");
    plain.then(|| clean(String::from_utf8_lossy(label), LONGEST_LABEL))
}

/// A line that was meant as a boundary, but has lost hyphens to a word processor, or its own line.
fn is_bad_boundary(line: &[u8]) -> bool {
    let dashes = line.starts_with(b"-") || line.starts_with(b"\xe2\x80");
    let words = holds(line, b"BEGIN ") || holds(line, b"END ");
    (dashes && words) || holds(line, b"-----BEGIN ") || holds(line, b"-----END ")
}

fn decode(body: &[Line<'_>]) -> Result<Zeroizing<Vec<u8>>, BundleTrouble> {
    use base64::DecodeError as E;
    let text: Zeroizing<Vec<u8>> =
        Zeroizing::new(body.iter().flat_map(|(_, line)| line.iter().copied()).collect());
    let last = body.last().map_or(0, |(number, _)| *number);
    let error = match BASE64.decode(&text) {
        Ok(der) => return Ok(Zeroizing::new(der)),
        Err(error) => error,
    };
    Err(match error {
        E::InvalidByte(offset, b'=') => {
            BundleTrouble::Base64 { line: line_at(body, offset), reason: "it ends in the middle (=)" }
        }
        E::InvalidByte(offset, _) => BundleTrouble::Base64 {
            line: line_at(body, offset),
            reason: "it holds a character that is no base64",
        },
        _ => BundleTrouble::Base64 { line: last, reason: "the block does not end where it should" },
    })
}

/// The line in which this octet of the joined lines stands.
fn line_at(body: &[Line<'_>], offset: usize) -> usize {
    let mut before = 0;
    let hit = body.iter().find(|(_, line)| {
        before += line.len();
        offset < before
    });
    hit.or(body.last()).map_or(0, |(number, _)| *number)
}

pub(super) fn holds(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> Result<Section, BundleTrouble> {
        sections(text.as_bytes())?.next().unwrap()
    }

    #[test]
    fn text_around_a_block_and_any_line_ends_are_no_trouble() {
        for end in ["\n", "\r\n", "\r"] {
            let lines = [
                "Bag Attributes: x",
                "-----BEGIN CERTIFICATE-----",
                " TUlJ ",
                "",
                "QQ",
                "-----END CERTIFICATE-----",
            ];
            let section = first(&lines.join(end)).unwrap();
            assert_eq!((section.label.as_str(), section.line), ("CERTIFICATE", 2), "{end:?}");
            assert_eq!(section.der.as_slice(), b"MIIA");
        }
    }

    #[test]
    fn every_trouble_has_its_line() {
        let line = |text: &str| match first(text).err().unwrap() {
            BundleTrouble::Base64 { line, .. }
            | BundleTrouble::NoEnd { line, .. }
            | BundleTrouble::NoBegin { line }
            | BundleTrouble::BadBoundary { line } => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line("-----BEGIN X-----\nAAAA\nAA*A\nAAAA\n-----END X-----"), 3);
        assert_eq!(line("-----BEGIN X-----\nAAAA\nAA==\nAAAA\n-----END X-----"), 3);
        assert_eq!(line("-----BEGIN X-----\nAAAA\nAAAAA\n-----END X-----"), 3);
        assert_eq!(line("text\n-----BEGIN X-----\nAAAA\n"), 2);
        assert_eq!(line("-----BEGIN X-----\nAAAA\n-----END Y-----"), 1);
        assert_eq!(line("text\nAAAA\n-----END X-----"), 3);
        assert_eq!(line("\u{2014}BEGIN X\u{2014}\nAAAA"), 1);
        assert_eq!(line("-----BEGIN X-----AAAA-----END X-----"), 1);
    }
}
