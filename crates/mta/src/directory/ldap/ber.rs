//! The little of BER (X.690) that LDAP needs (RFC 4511 §5.1): definite lengths, tags of one octet.
//!
//! [`put`] writes an element, [`Elements`] reads those that stand one behind another, and [`frame`] finds the end of a
//! message that is still arriving. Nothing recurses and nothing is taken on trust: a length that points beyond what is there
//! is an end, not a promise.
//!
//! What it deliberately does not do: know what the elements mean.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// The longest message that is taken from a server, in octets.
const LONGEST_MESSAGE: usize = 1024 * 1024;

/// Appends one element.
pub(super) fn put(into: &mut Vec<u8>, tag: u8, content: &[u8]) {
    into.push(tag);
    if let Ok(short @ 0..=0x7f) = u8::try_from(content.len()) {
        into.push(short);
    } else {
        // The length itself in four octets is what every server reads.
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        into.push(0x84);
        into.extend_from_slice(&length.to_be_bytes());
    }
    into.extend_from_slice(content);
}

/// Appends a number that is not negative.
pub(super) fn put_number(into: &mut Vec<u8>, tag: u8, number: u32) {
    let octets = number.to_be_bytes();
    // A leading bit would be a sign.
    let zeros = octets.iter().take_while(|octet| **octet == 0).count().min(3);
    let sign = octets[zeros] & 0x80 != 0;
    let padded: Vec<u8> = sign.then_some(0).into_iter().chain(octets[zeros..].iter().copied()).collect();
    put(into, tag, &padded);
}

/// The elements that stand one behind another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements<'a>(pub(super) &'a [u8]);

impl<'a> Elements<'a> {
    /// The next one: its tag and what is in it. `None`: there is none, or none that is whole.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (start, length) = header(self.0).ok().flatten()?;
        let content = self.0.get(start..start.checked_add(length)?)?;
        let tag = *self.0.first()?;
        self.0 = &self.0[start + length..];
        Some((tag, content))
    }

    /// The next one, when it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content) = self.next()?;
        (found == tag).then_some(content)
    }

    /// The next one, when it is a number from 0 to 2³¹ - 1 under this tag.
    pub(super) fn number(&mut self, tag: u8) -> Option<u32> {
        let content = self.expect(tag)?;
        let sound = (1..=4).contains(&content.len()) && content[0] & 0x80 == 0;
        sound.then(|| content.iter().fold(0, |number, octet| (number << 8) | u32::from(*octet)))
    }

    /// The next one, when it is text under this tag.
    pub(super) fn text(&mut self, tag: u8) -> Option<&'a str> {
        std::str::from_utf8(self.expect(tag)?).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How many octets the message takes that begins here; `None` while too little of it is there.
///
/// # Errors
/// In words, when it is no message of LDAP, or too long.
pub(super) fn frame(heard: &[u8]) -> Result<Option<usize>, &'static str> {
    match heard.first() {
        None => return Ok(None),
        Some(tag) if *tag != SEQUENCE => return Err("it does not speak LDAP"),
        Some(_) => {}
    }
    let Some((start, length)) = header(heard)? else { return Ok(None) };
    let end = start.saturating_add(length);
    if end > LONGEST_MESSAGE {
        return Err("its answer is longer than 1 MiB");
    }
    Ok((heard.len() >= end).then_some(end))
}

/// Where the content begins, and how long it is. Servers write lengths in more octets than they need.
fn header(octets: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let Some(first) = octets.get(1) else { return Ok(None) };
    let count = usize::from(first & 0x7f);
    match first {
        0..=0x7f => return Ok(Some((2, count))),
        0x81..=0x88 => {}
        _ => return Err("its answer has no definite length"),
    }
    let Some(length) = octets.get(2..2 + count) else { return Ok(None) };
    let length = length.iter().fold(0_u64, |length, octet| (length << 8) | u64::from(*octet));
    Ok(Some((2 + count, usize::try_from(length).unwrap_or(usize::MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_whatever_its_length() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let mut octets = Vec::new();
            put(&mut octets, OCTETS, &vec![7; length]);
            let mut elements = Elements(&octets);
            assert_eq!(elements.next(), Some((OCTETS, &vec![7; length][..])), "{length}");
            assert!(elements.is_empty());
        }
        for number in [0, 1, 127, 128, 255, 256, 0x7fff, 0x8000, 0x7fff_ffff] {
            let mut octets = Vec::new();
            put_number(&mut octets, INTEGER, number);
            assert_eq!(Elements(&octets).number(INTEGER), Some(number));
        }
    }

    #[test]
    fn a_message_is_whole_when_its_last_octet_is_there_and_not_before() {
        // Active Directory writes four octets where one would do.
        let message = [0x30, 0x84, 0, 0, 0, 3, 2, 1, 5];
        for end in 0..message.len() {
            assert_eq!(frame(&message[..end]), Ok(None), "{end}");
        }
        assert_eq!(frame(&message), Ok(Some(message.len())));
        assert_eq!(Elements(&message).expect(SEQUENCE), Some(&message[6..]));
    }

    #[test]
    fn lies_about_lengths_are_found_out() {
        assert!(frame(b"HTTP/1.1 400").is_err());
        assert!(frame(&[0x30, 0x80, 0, 0]).is_err(), "no definite length");
        assert!(frame(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]).is_err(), "2 GiB");
        assert!(frame(&[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
        for octets in [&[4, 5, 1][..], &[4], &[], &[4, 0x88, 255, 255, 255, 255, 255, 255, 255, 255]] {
            assert_eq!(Elements(octets).next(), None, "{octets:?}");
        }
        for octets in [&[2, 0][..], &[2, 1, 0x80], &[2, 5, 0, 1, 1, 1, 1], &[4, 1, 1]] {
            assert_eq!(Elements(octets).number(INTEGER), None, "{octets:?}");
        }
    }
}
