//! Names and passwords as SCRAM and OAUTHBEARER want them: SASLprep (RFC 4013) and the escapes of `saslname`.
//!
//! Both sides compute with what [`prepared`] gives; so a key that was made of a password fits whatever way of typing it a
//! program chooses. What holds characters that Unicode 3.2 did not know, on which SASLprep rests, goes as it was written:
//! programs that know no SASLprep do the same, and a password with an emoji in it can be used.
//!
//! What it deliberately does not do: decide which names exist, or how they compare.

use stringprep::{saslprep, tables::unassigned_code_point};
use zeroize::Zeroizing;

/// The text as both sides compute with it; `None` when it is empty or holds what RFC 4013 §2.3 prohibits.
pub(super) fn prepared(text: &str) -> Option<Zeroizing<String>> {
    let prepared = match saslprep(text) {
        Ok(prepared) => prepared.into_owned(),
        Err(_) if text.contains(unassigned_code_point) && !text.contains(char::is_control) => text.to_owned(),
        Err(_) => return None,
    };
    (!prepared.is_empty()).then(|| Zeroizing::new(prepared))
}

/// `saslname` (RFC 5802 §7): a prepared name in which neither a comma nor an equals sign stands as itself.
pub(super) fn sasl_name(name: &str) -> Option<String> {
    Some(prepared(name)?.replace('=', "=3D").replace(',', "=2C"))
}

/// The name that a `saslname` stands for, prepared; `None` when it is malformed or longer than 255 octets.
pub(super) fn name_of(saslname: &str) -> Option<String> {
    let mut pieces = saslname.split('=');
    let mut name = pieces.next()?.to_owned();
    for piece in pieces {
        let (escaped, rest) = match piece.split_at_checked(2)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return None,
        };
        name.push(escaped);
        name.push_str(rest);
    }
    let name = prepared(&name)?;
    (name.len() <= super::MAX_NAME && !saslname.contains(',')).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        prepared(text).map(|text| text.to_string())
    }

    #[test]
    fn the_examples_of_rfc_4013() {
        assert_eq!(shown("I\u{ad}X").as_deref(), Some("IX"));
        assert_eq!(shown("user").as_deref(), Some("user"));
        assert_eq!(shown("USER").as_deref(), Some("USER"));
        assert_eq!(shown("\u{aa}").as_deref(), Some("a"));
        assert_eq!(shown("\u{2168}").as_deref(), Some("IX"));
        assert_eq!(shown("\u{7}"), None);
        assert_eq!(shown("\u{627}\u{31}"), None);
    }

    #[test]
    fn every_space_is_one_and_what_is_left_must_be_something() {
        assert_eq!(shown("a\u{a0}b\u{3000}c").as_deref(), Some("a b c"));
        assert_eq!(shown("\u{ad}\u{feff}"), None);
        assert_eq!(shown(""), None);
    }

    #[test]
    fn a_letter_and_its_accent_are_one_however_they_were_typed() {
        assert_eq!(shown("zoe\u{308}"), shown("zo\u{eb}"));
    }

    #[test]
    fn what_unicode_3_2_did_not_know_goes_as_it_is() {
        assert_eq!(shown("tanstaaf\u{1f600}").as_deref(), Some("tanstaaf\u{1f600}"));
        assert_eq!(shown("\u{1f600}\n"), None);
    }

    #[test]
    fn commas_and_equals_signs_are_escaped_each_once() {
        assert_eq!(sasl_name("a=2C,b").as_deref(), Some("a=3D2C=2Cb"));
        assert_eq!(sasl_name("zoë@example.org").as_deref(), Some("zoë@example.org"));
        for name in ["a=2C,b", "=", ",", "==,,", "zoë@example.org"] {
            assert_eq!(name_of(&sasl_name(name).unwrap()).as_deref(), Some(name));
        }
    }

    #[test]
    fn no_other_escape_is_taken() {
        for name in ["", "a=", "a=2", "a=2c", "a=3d", "a=41", "a,b", "=\u{fc}", "\u{7}", &"a".repeat(256)] {
            assert_eq!(name_of(name), None, "{name:?}");
        }
        assert!(name_of(&"a".repeat(255)).is_some());
    }
}
