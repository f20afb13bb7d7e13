//! Small things that trace fields and reports share: cleaning what peers said, dates, folding.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The width that lines of ours keep to where they can (RFC 5322 §2.1.1).
pub(crate) const WIDTH: usize = 78;

/// RFC 5322 §3.3, in UTC.
pub(crate) fn date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// A time as people write it.
pub(crate) fn plain_date(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// Which characters beyond ASCII may stand in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    Ascii,
    Utf8,
}

/// What others said, harmless and short: at most `most` octets.
pub(crate) fn clean(text: &str, charset: Charset, most: usize) -> String {
    let harmless = postern_smtp::text::clean(text, most);
    match charset {
        Charset::Utf8 => harmless,
        Charset::Ascii => harmless.replace(|c: char| !c.is_ascii(), "?"),
    }
}

/// A header field, folded at its spaces; a word longer than a line stays whole. Ends with CRLF.
pub(crate) fn field(name: &str, value: &str) -> String {
    let mut folded = format!("{name}:");
    let mut column = folded.len();
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        let width = word.chars().count();
        if column + 1 + width > WIDTH && column > name.len() + 1 {
            folded.push_str("\r\n");
            column = 0;
        }
        folded.push(' ');
        folded.push_str(word);
        column += 1 + width;
    }
    folded.push_str("\r\n");
    folded
}

/// A header field in which every clause begins a line of its own; long clauses are folded further. Ends with CRLF.
pub(crate) fn clauses(name: &str, clauses: &[String]) -> String {
    let mut folded = format!("{name}:");
    for (index, clause) in clauses.iter().enumerate() {
        let line = field(if index == 0 { name } else { "" }, clause);
        folded.push_str(&line[line.find(':').map_or(0, |colon| colon + 1)..]);
    }
    folded
}

/// A paragraph of plain text, each line beginning with `indent`, broken at spaces. Ends with CRLF.
pub(crate) fn paragraph(indent: &str, text: &str) -> String {
    paragraph_within(indent, text, WIDTH - 4)
}

/// The same within so many columns; a word longer than a line stays whole.
pub(crate) fn paragraph_within(indent: &str, text: &str, columns: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > columns {
            wrapped.push_str("\r\n");
            column = 0;
        }
        let gap = if column == 0 { indent } else { " " };
        wrapped.push_str(gap);
        wrapped.push_str(word);
        column += gap.len() + width;
    }
    wrapped.push_str("\r\n");
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_form_of_rfc_5322() {
        let at: Timestamp = "2026-11-01T05:06:07.9Z".parse().unwrap();
        assert_eq!(date(at), "Sun, 01 Nov 2026 05:06:07 +0000");
        assert_eq!(plain_date(at), "1 November 2026, 05:06 UTC");
    }

    #[test]
    fn what_peers_said_loses_its_controls_and_its_length() {
        assert_eq!(clean("a\r\nb\0\u{202e}ä", Charset::Utf8, 100), "a??b??ä");
        assert_eq!(clean("aä", Charset::Ascii, 100), "a?");
        assert_eq!(clean("abc", Charset::Ascii, 2), "ab");
    }

    #[test]
    fn paragraphs_keep_to_their_columns_with_their_indentation() {
        let wrapped = paragraph_within("    ", &"word ".repeat(40), 30);
        assert!(wrapped.lines().all(|line| line.starts_with("    word") && line.len() <= 30), "{wrapped}");
        assert_eq!(wrapped.matches("word").count(), 40);
    }

    #[test]
    fn fields_are_folded_at_spaces_and_never_within_a_word() {
        let value = "word ".repeat(40) + &"x".repeat(200);
        let folded = field("Name", &value);
        assert!(folded.lines().all(|line| line.len() <= WIDTH || line.trim() == "x".repeat(200)));
        assert!(folded.split("\r\n").skip(1).all(|line| line.is_empty() || line.starts_with(' ')));
        assert_eq!(folded.replace("\r\n", ""), format!("Name: {value}"));
    }
}
