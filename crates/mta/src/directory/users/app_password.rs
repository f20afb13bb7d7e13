//! App passwords: one for each program or device, made by Postern, shown once.
//!
//! Each is 125 bits of chance in five groups of five lower-case letters and digits, without those that look alike
//! (`k7mvq-3xdtp-…`). Nobody can guess through that many, so a digest is enough to keep, and a look-up by it finds the password
//! whoever it belongs to. [`made`] makes one, [`digest_of`] finds its digest again, also where it was typed without hyphens or
//! in capitals. With SCRAM it has to be typed as it was shown, for the mail program works with what it is given.
//!
//! What it deliberately does not do: store anything.

use aws_lc_rs::{digest, rand};
use postern_smtp::secret::Secret;
use zeroize::Zeroizing;

use super::Error;

/// 32 of them: 5 bits each. No `0` and `o`, no `1` and `l`.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// Letters of a password, and of a group.
const LETTERS: usize = 25;
const GROUP: usize = 5;
/// The longest spelling that is looked at: blanks and hyphens between all letters.
const LONGEST: usize = 64;

/// What is kept of an app password.
pub(super) type Digest = [u8; 32];

/// A new one, as it is shown.
///
/// # Errors
/// Local: the system has no randomness to give.
pub(super) fn made() -> Result<Secret, Error> {
    let mut chance = Zeroizing::new([0; LETTERS]);
    rand::fill(chance.as_mut()).map_err(|error| Error::Crypto(error.to_string()))?;
    let mut text = Vec::with_capacity(LETTERS + LETTERS / GROUP);
    for group in chance.chunks(GROUP) {
        if !text.is_empty() {
            text.push(b'-');
        }
        text.extend(group.iter().map(|octet| ALPHABET[usize::from(*octet) % ALPHABET.len()]));
    }
    Ok(Secret::new(text))
}

/// What it would be kept as; `None`: this cannot be an app password.
pub(super) fn digest_of(password: &Secret) -> Option<Digest> {
    let typed = password.expose();
    if typed.len() > LONGEST {
        return None;
    }
    let mut letters = Zeroizing::new(Vec::with_capacity(LONGEST));
    letters.extend(typed.iter().filter(|octet| !matches!(octet, b'-' | b' ')).map(u8::to_ascii_lowercase));
    let fits = letters.len() == LETTERS && letters.iter().all(|letter| ALPHABET.contains(letter));
    let mut digest = Digest::default();
    digest.copy_from_slice(digest::digest(&digest::SHA256, &letters).as_ref());
    fits.then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_125_bits_in_groups_that_can_be_read_out() {
        let (one, other) = (made().unwrap(), made().unwrap());
        assert_ne!(one, other);
        let groups: Vec<&str> = one.expose_str().unwrap().split('-').collect();
        assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [5; 5]);
        assert!(groups.concat().bytes().all(|letter| ALPHABET.contains(&letter)));
        assert_eq!(ALPHABET.iter().collect::<std::collections::BTreeSet<_>>().len(), 32, "5 bits a letter");
    }

    #[test]
    fn it_is_found_however_it_is_spelled_and_nothing_else_is_taken_for_one() {
        let shown = made().unwrap();
        let text = shown.expose_str().unwrap();
        let digest = digest_of(&shown).unwrap();
        for spelling in [text.replace('-', ""), text.replace('-', " "), text.to_uppercase()] {
            assert_eq!(digest_of(&Secret::new(spelling.as_str())), Some(digest), "{spelling}");
        }
        assert_ne!(digest_of(&made().unwrap()), Some(digest));
        let long = "-".repeat(40) + text;
        for other in ["", "correct horse", &text[1..], &text.replace('-', "0"), &format!("{text}a"), &long] {
            assert_eq!(digest_of(&Secret::new(other)), None, "{other}");
        }
    }
}
