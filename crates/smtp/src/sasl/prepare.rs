//! Names and passwords as SCRAM and OAUTHBEARER want them: SASLprep (RFC 4013) and the escapes of `saslname`.
//!
//! [`prepared`] maps what SASLprep maps and refuses control characters. What it deliberately does not do: normalise to
//! form KC, which would need tables for the sake of a few passwords. ASCII needs none; other text goes as it was
//! written, which nearly always is composed already.

use zeroize::Zeroizing;

/// The text as both sides compute with it; `None` when it is empty or holds a control character (RFC 4013 §2.3).
pub(super) fn prepared(text: &str) -> Option<Zeroizing<String>> {
    let mut prepared = Zeroizing::new(String::with_capacity(text.len()));
    for c in text.chars().filter(|c| !is_mapped_to_nothing(*c)) {
        if c.is_control() {
            return None;
        }
        prepared.push(if is_space(c) { ' ' } else { c });
    }
    (!prepared.is_empty()).then_some(prepared)
}

/// `saslname` (RFC 5802 §7): a prepared name in which neither a comma nor an equals sign stands as itself.
pub(super) fn sasl_name(name: &str) -> Option<String> {
    Some(prepared(name)?.replace('=', "=3D").replace(',', "=2C"))
}

/// RFC 3454 §B.1.
fn is_mapped_to_nothing(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{1806}' | '\u{180b}'..='\u{180d}' | '\u{200b}'..='\u{200d}'
        | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// RFC 3454 §C.1.2, without U+200B, which is mapped to nothing before.
fn is_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        prepared(text).map(|text| text.to_string())
    }

    #[test]
    fn the_examples_of_rfc_4013_that_need_no_tables() {
        assert_eq!(shown("I\u{ad}X").as_deref(), Some("IX"));
        assert_eq!(shown("user").as_deref(), Some("user"));
        assert_eq!(shown("USER").as_deref(), Some("USER"));
        assert_eq!(shown("\u{7}"), None);
    }

    #[test]
    fn every_space_is_one_and_what_is_left_must_be_something() {
        assert_eq!(shown("a\u{a0}b\u{3000}c").as_deref(), Some("a b c"));
        assert_eq!(shown("\u{ad}\u{feff}"), None);
        assert_eq!(shown(""), None);
    }

    #[test]
    fn commas_and_equals_signs_are_escaped_each_once() {
        assert_eq!(sasl_name("a=2C,b").as_deref(), Some("a=3D2C=2Cb"));
        assert_eq!(sasl_name("zoë@example.org").as_deref(), Some("zoë@example.org"));
    }
}
