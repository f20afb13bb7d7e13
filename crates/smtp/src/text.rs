//! What others said, made fit to be repeated: in a reply, a log line, a report, on a terminal.
//!
//! There is one rule for all of Postern. A character is [harmless](is_harmless) when it shows as itself and leaves the
//! characters around it alone; every other one becomes `?`. [`clean`] applies the rule and bounds the length.
//!
//! What this deliberately does not do: escape anything for a syntax (JSON, HTML, a header field), and judge whether two
//! texts look alike.

use std::fmt::{self, Display, Write};

/// Words of others, harmless and bounded: at most so many octets, and `?` for what may do harm. A tab becomes a blank.
pub fn clean(text: impl Display, most: usize) -> String {
    let mut bounded = Bounded { text: String::new(), most };
    // The only error there is says that the bound was reached.
    let _ = write!(bounded, "{text}");
    bounded.text
}

/// Whether a character shows as itself: neither a control character, nor an invisible one, nor one that changes the
/// direction or the place of others, nor the mark of octets that could not be read.
pub fn is_harmless(c: char) -> bool {
    !(c.is_control() || is_invisible(c) || c == char::REPLACEMENT_CHARACTER)
}

/// What the system said, without the number that Rust puts behind it: `Connection refused (os error 111)` loses its tail.
pub fn without_os_code(error: impl Display) -> String {
    let mut text = error.to_string();
    while let Some(start) = text.find(OS_CODE) {
        let digits = text[start + OS_CODE.len()..].bytes().take_while(u8::is_ascii_digit).count();
        let end = start + OS_CODE.len() + digits;
        if digits == 0 || text.as_bytes().get(end) != Some(&b')') {
            break;
        }
        text.replace_range(start..=end, "");
    }
    text
}

const OS_CODE: &str = " (os error ";

struct Bounded {
    text: String,
    most: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let shown = match c {
                '\t' => ' ',
                _ if is_harmless(c) => c,
                _ => '?',
            };
            if self.text.len() + shown.len_utf8() > self.most {
                return Err(fmt::Error);
            }
            self.text.push(shown);
        }
        Ok(())
    }
}

/// Unicode's format characters, its separators of lines and paragraphs, and fillers that show nothing.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_any_script_stay() {
        for words in ["Mailbox full, try <b@example.org>", "Postfach voll: zü groß", "信箱已满", "ящик 📬"]
        {
            assert_eq!(clean(words, 100), words);
        }
    }

    #[test]
    fn what_moves_the_cursor_or_turns_the_text_is_replaced() {
        assert_eq!(clean("a\r\nb\0\u{1b}[31m\u{9b}c", 100), "a??b??[31m?c");
        assert_eq!(clean("a\u{202e}b\u{2066}c\u{61c}\u{feff}\u{e0041}\u{2028}", 100), "a?b?c????");
        assert_eq!(clean("a\tb\u{fffd}", 100), "a b?");
    }

    #[test]
    fn the_systems_numbers_are_left_out_wherever_they_stand() {
        let refused = std::io::Error::from_raw_os_error(111);
        assert!(refused.to_string().contains("(os error 111)"));
        assert!(without_os_code(&refused).ends_with("refused"), "{refused}");
        assert_eq!(without_os_code("a: b (os error 2); create it"), "a: b; create it");
        for strange in ["x (os error )", "x (os error 5", "x (os error 5]", "x (os error é)"] {
            assert_eq!(without_os_code(strange), strange);
        }
    }

    #[test]
    fn the_bound_counts_octets_and_cuts_no_character_in_two() {
        assert_eq!(clean("aää", 4), "aä");
        assert_eq!(clean(format_args!("{}{}", "ab", "cd"), 3), "abc");
        assert_eq!(clean("abc", 0), "");
    }
}
