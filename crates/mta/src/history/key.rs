//! What an event can be found by, in the one form that all spellings of it have in common.
//!
//! A [`Key`] is a user, a mail address, a client, a Message-ID, a queue id or a session. A [`Hasher`] makes a number of 48 bits
//! of it under the file's own random key, so that nobody outside can aim at a number. Two keys may have one number: whoever
//! looks something up compares the keys themselves, too.

use std::net::IpAddr;

use aws_lc_rs::digest;
use postern_queue::QueueId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::directory::key_of;

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Key {
    /// Somebody's name.
    User(String),
    /// A mail address.
    Address(String),
    /// A client's address.
    Client(IpAddr),
    /// A message's id, as its sender gave it.
    MessageId(String),
    /// A message's id in our queue.
    Queue(String),
    /// A session's id.
    Session(String),
}

impl Key {
    /// A user's name, in any spelling.
    pub fn user(name: &str) -> Self {
        Self::User(folded(name))
    }

    /// A mail address, in any spelling, with or without angle brackets.
    pub fn address(address: &str) -> Self {
        Self::Address(folded(bare(address)))
    }

    /// A client.
    pub fn client(address: IpAddr) -> Self {
        Self::Client(address.to_canonical())
    }

    /// A Message-ID, with or without angle brackets. Many programs change its case on the way, so case does not count.
    pub fn message_id(id: &str) -> Self {
        Self::MessageId(bare(id).to_lowercase())
    }

    /// A queue id.
    pub fn queue(id: QueueId) -> Self {
        Self::Queue(id.to_string())
    }

    /// A session's id.
    pub fn session(id: &str) -> Self {
        Self::Session(id.to_lowercase())
    }

    /// Everything that somebody may mean by a word.
    pub fn meant_by(word: &str) -> Vec<Self> {
        let word = word.trim();
        let mut keys = Vec::new();
        if let Ok(address) = bare_ip(word).parse() {
            keys.push(Self::client(address));
        }
        if let Ok(id) = word.parse::<QueueId>() {
            keys.push(Self::queue(id));
        }
        if is_session(word) {
            keys.push(Self::session(word));
        }
        if word.contains('@') || word.starts_with('<') {
            keys.extend([Self::message_id(word), Self::address(word)]);
        }
        if !word.starts_with('<') && !bare(word).is_empty() {
            keys.push(Self::user(word));
        }
        keys
    }

    fn parts(&self) -> (u8, &str) {
        match self {
            Self::User(text) => (b'u', text),
            Self::Address(text) => (b'a', text),
            Self::Client(_) => (b'c', ""),
            Self::MessageId(text) => (b'm', text),
            Self::Queue(text) => (b'q', text),
            Self::Session(text) => (b's', text),
        }
    }
}

/// As people read it.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(text) => write!(f, "user {text}"),
            Self::Address(text) => write!(f, "address {text}"),
            Self::Client(address) => write!(f, "client {address}"),
            Self::MessageId(text) => write!(f, "Message-ID <{text}>"),
            Self::Queue(text) => write!(f, "queue id {text}"),
            Self::Session(text) => write!(f, "session {text}"),
        }
    }
}

/// Most names and addresses need no parsing to be compared.
fn folded(name: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"@.-_+".contains(&octet);
    if name.bytes().all(plain) { name.to_ascii_lowercase() } else { key_of(name) }
}

fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text)
}

/// Without the brackets in which an IPv6 address stands in some logs.
fn bare_ip(text: &str) -> &str {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text)
}

/// `s1a2b3c4d-1f`: as [`session_id`](crate::daemon) makes them.
fn is_session(word: &str) -> bool {
    let hex = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_hexdigit());
    let rest = word.strip_prefix(['s', 'S']);
    rest.and_then(|rest| rest.split_once('-')).is_some_and(|(start, count)| hex(start) && hex(count))
}

/// Makes numbers of keys.
pub(super) struct Hasher(Zeroizing<[u8; 32]>);

impl Hasher {
    /// Under this key.
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// The number of a key, of 48 bits. The secret comes first and has a fixed length, and of the digest only a part is
    /// used, so that nothing can be said of other numbers from those that are known.
    pub(super) fn of(&self, key: &Key) -> u64 {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.0.as_slice());
        let (kind, text) = key.parts();
        context.update(&[kind]);
        match key {
            Key::Client(IpAddr::V4(address)) => context.update(&address.octets()),
            Key::Client(IpAddr::V6(address)) => context.update(&address.octets()),
            _ => context.update(text.as_bytes()),
        }
        let mut octets = [0; 8];
        octets[2..].copy_from_slice(&context.finish().as_ref()[..6]);
        u64::from_be_bytes(octets)
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher(key redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_thing_are_one_key() {
        for (one, other) in [
            (Key::user("Anna"), Key::user("anna")),
            (Key::user("Anna@BÜCHER.example"), Key::user("\"anna\"@xn--bcher-kva.example")),
            (Key::address("<Anna@Example.ORG>"), Key::address("anna@example.org")),
            (Key::address("\"anna\"@example.org"), Key::address("anna@example.org")),
            (Key::message_id("<AbC@host>"), Key::message_id(" abc@HOST ")),
            (Key::client("::ffff:192.0.2.1".parse().unwrap()), Key::client("192.0.2.1".parse().unwrap())),
            (Key::session("S1A2-F"), Key::session("s1a2-f")),
        ] {
            assert_eq!(one, other);
        }
        let hasher = Hasher::new([7; 32]);
        assert_ne!(hasher.of(&Key::user("a@b.example")), hasher.of(&Key::address("a@b.example")));
        assert_ne!(hasher.of(&Key::user("a")), Hasher::new([8; 32]).of(&Key::user("a")));
        assert!(hasher.of(&Key::user("a")) < 1 << 48);
    }

    #[test]
    fn a_word_is_everything_that_may_be_meant_by_it() {
        let id = "0D4K1V7M2Q8ZT";
        assert_eq!(Key::meant_by(id), [Key::Queue(id.into()), Key::user(id)]);
        assert_eq!(Key::meant_by("s1a2b-3")[0], Key::Session("s1a2b-3".into()));
        assert_eq!(Key::meant_by("anna"), [Key::User("anna".into())]);
        assert_eq!(
            Key::meant_by("<a@b.example>"),
            [Key::MessageId("a@b.example".into()), Key::Address("a@b.example".into())]
        );
        assert_eq!(Key::meant_by("a@b.example").len(), 3);
        assert_eq!(Key::meant_by("[2001:db8::1]")[0], Key::client("2001:db8::1".parse().unwrap()));
        assert_eq!(Key::meant_by(" ").len(), 0);
    }
}
