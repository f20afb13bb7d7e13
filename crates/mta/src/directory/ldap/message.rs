//! The few messages of LDAP (RFC 4511 §4) that signing in needs.
//!
//! [`bind`], [`search`], [`start_tls`] and [`who_am_i`] write requests; [`read`] reads what a server says, into an
//! [`Answer`]. Whatever a server says is either one of these or nothing: no answer makes anything here fail.
//!
//! What it deliberately does not do: follow referrals, use controls, or bind by SASL.

use postern_smtp::secret::Secret;
use zeroize::Zeroizing;

use super::ber::{BOOLEAN, ENUMERATED, Elements, INTEGER, OCTETS, SEQUENCE, SET, put, put_number};

/// RFC 4511 §4.14.1 and RFC 4532 §2.
const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
const WHO_AM_I: &str = "1.3.6.1.4.1.4203.1.11.3";

/// How far below its base a search looks (RFC 4511 §4.5.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The base alone.
    Base,
    /// What lies directly below it.
    OneLevel,
    /// It and all below it.
    Subtree,
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) base: String,
    pub(super) scope: Scope,
    /// As [`Filter::encoded`](super::Filter::encoded) makes it.
    pub(super) filter: Vec<u8>,
    /// The attributes that are wanted.
    pub(super) attributes: Vec<String>,
    /// No more than so many entries.
    pub(super) most: u32,
    /// No longer than so many seconds.
    pub(super) seconds: u32,
}

/// An entry that was found, with its attributes as the server calls them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    pub(super) attributes: Vec<(String, Vec<Vec<u8>>)>,
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u32,
    /// The server's own words; not always UTF-8.
    pub(super) text: String,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Bound(Outcome),
    Entry(Entry),
    /// Another server is said to know more.
    Elsewhere,
    Found(Outcome),
    /// With what it returned.
    Extended(Outcome, Option<String>),
    /// Something that nobody asked for.
    Other,
}

/// RFC 4511 §4.2: as whom, with a password. The octets are wiped when they are dropped.
pub(super) fn bind(id: u32, name: &str, password: &Secret) -> Zeroizing<Vec<u8>> {
    // With room for all of it from the start, no copy is left behind by growth.
    let room = name.len() + password.expose().len() + 64;
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    put_number(&mut content, INTEGER, 3);
    put(&mut content, OCTETS, name.as_bytes());
    put(&mut content, 0x80, password.expose());
    message(id, 0x60, &content)
}

/// RFC 4511 §4.5.
pub(super) fn search(id: u32, search: &Search) -> Zeroizing<Vec<u8>> {
    let mut content = Vec::new();
    put(&mut content, OCTETS, search.base.as_bytes());
    put_number(&mut content, ENUMERATED, search.scope as u32);
    // Aliases are never followed.
    put_number(&mut content, ENUMERATED, 0);
    put_number(&mut content, INTEGER, search.most);
    put_number(&mut content, INTEGER, search.seconds);
    put(&mut content, BOOLEAN, &[0]);
    content.extend_from_slice(&search.filter);
    let mut wanted = Vec::new();
    for attribute in &search.attributes {
        put(&mut wanted, OCTETS, attribute.as_bytes());
    }
    put(&mut content, SEQUENCE, &wanted);
    message(id, 0x63, &content)
}

/// RFC 4511 §4.14.
pub(super) fn start_tls(id: u32) -> Zeroizing<Vec<u8>> {
    extended(id, START_TLS)
}

/// RFC 4532: whom the server takes this connection for.
pub(super) fn who_am_i(id: u32) -> Zeroizing<Vec<u8>> {
    extended(id, WHO_AM_I)
}

fn extended(id: u32, name: &str) -> Zeroizing<Vec<u8>> {
    let mut content = Vec::new();
    put(&mut content, 0x80, name.as_bytes());
    message(id, 0x77, &content)
}

fn message(id: u32, tag: u8, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(Vec::with_capacity(content.len() + 32));
    put_number(&mut body, INTEGER, id);
    put(&mut body, tag, content);
    let mut message = Zeroizing::new(Vec::with_capacity(body.len() + 16));
    put(&mut message, SEQUENCE, &body);
    message
}

/// The request that a whole message answers, and what it says; `None`: it is no message of LDAP. The number is 0 where the
/// server speaks unasked.
pub(super) fn read(message: &[u8]) -> Option<(u32, Answer)> {
    let mut envelope = Elements(Elements(message).expect(SEQUENCE)?);
    let id = envelope.number(INTEGER)?;
    let (tag, content) = envelope.next()?;
    let mut content = Elements(content);
    let answer = match tag {
        0x61 => Answer::Bound(outcome(&mut content)?),
        0x64 => Answer::Entry(entry(&mut content)?),
        0x65 => Answer::Found(outcome(&mut content)?),
        0x73 => Answer::Elsewhere,
        0x78 => {
            let outcome = outcome(&mut content)?;
            let mut returned = None;
            while let Some((tag, value)) = content.next() {
                if tag == 0x8b {
                    returned = String::from_utf8(value.to_vec()).ok();
                }
            }
            Answer::Extended(outcome, returned)
        }
        _ => Answer::Other,
    };
    Some((id, answer))
}

/// RFC 4511 §4.1.9.
fn outcome(content: &mut Elements<'_>) -> Option<Outcome> {
    let code = content.number(ENUMERATED)?;
    content.expect(OCTETS)?;
    let text = String::from_utf8_lossy(content.expect(OCTETS)?);
    Some(Outcome { code, text: text.trim_end_matches('\0').to_owned() })
}

fn entry(content: &mut Elements<'_>) -> Option<Entry> {
    let dn = content.text(OCTETS)?.to_owned();
    let mut list = Elements(content.expect(SEQUENCE)?);
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut attribute = Elements(list.expect(SEQUENCE)?);
        let name = attribute.text(OCTETS)?.to_owned();
        let mut set = Elements(attribute.expect(SET)?);
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(OCTETS)?.to_vec());
        }
        attributes.push((name, values));
    }
    Some(Entry { dn, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digits: &str) -> Vec<u8> {
        let digits: String = digits.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn requests_are_what_the_standard_says() {
        let bind = bind(1, "cn=a", &Secret::new("pw"));
        assert_eq!(bind[..], hex("30 12 020101 60 0d 020103 0404 636e3d61 8002 7077"));
        assert_eq!(
            start_tls(2)[..],
            hex("30 1d 020102 77 18 8016 312e332e362e312e342e312e313436362e3230303337")
        );
        let search = search(
            200,
            &Search {
                base: "dc=x".into(),
                scope: Scope::Subtree,
                filter: hex("87 02 636e"),
                attributes: vec!["mail".into()],
                most: 2,
                seconds: 3,
            },
        );
        assert_eq!(
            search[..],
            hex(
                "30 27 020200c8 63 21 0404 64633d78 0a0102 0a0100 020102 020103 010100 8702 636e 3006 0404 6d61696c"
            )
        );
    }

    #[test]
    fn answers_are_read_and_what_is_none_is_nothing() {
        let bound = hex("30 0c 020101 61 07 0a0131 0400 0400");
        assert_eq!(read(&bound), Some((1, Answer::Bound(Outcome { code: 49, text: String::new() }))));
        let entry = hex("30 84 00000018 020102 64 84 0000000f 0402 6f3d 3009 3007 0401 61 3102 0400");
        let attributes = vec![("a".to_owned(), vec![Vec::new()])];
        assert_eq!(read(&entry), Some((2, Answer::Entry(Entry { dn: "o=".into(), attributes }))));
        for message in [&bound, &entry] {
            for end in 0..message.len() {
                assert_eq!(read(&message[..end]), None, "cut off at {end}");
            }
        }
        let mut random = fastrand::Rng::with_seed(4511);
        for _ in 0..20_000 {
            let mut message = [&bound, &entry][random.usize(..2)].clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..message.len());
                message[at] = random.u8(..);
            }
            // Whatever it is, it comes to an end.
            drop(read(&message));
        }
    }
}
