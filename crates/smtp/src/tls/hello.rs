//! Reads a ClientHello as it came over the wire: for explaining, never for deciding.
//!
//! [`TlsOffer::parse`] takes the first octets of a connection. It knows the message of SSL 3.0 up to TLS 1.3 (RFC 8446
//! §4.1.2), in as many records as the client liked, and the form of SSL 2.0 that old programs begin with (RFC 5246
//! Appendix E.2). It is strict about lengths, and bounded: lists are cut, texts are cleaned. Values that clients throw in
//! to keep servers tolerant (RFC 8701) or as signals are no offers, and are left out.
//!
//! What it deliberately does not do: wait for more. What is not whole is `None`.

use super::offer::TlsOffer;
use crate::text::clean;

/// More than the records of any ClientHello hold together.
const MESSAGE_MOST: usize = 16 * 1024;
/// A record holds no more than this (RFC 8446 §5.1).
const RECORD_MOST: usize = 1 << 14;
const VERSIONS_MOST: usize = 16;
const CIPHERS_MOST: usize = 128;
const GROUPS_MOST: usize = 32;
const PROTOCOLS_MOST: usize = 8;
/// ALPN names and host names are no longer (RFC 7301 §3.1, RFC 1035 §2.3.4).
const NAME_MOST: usize = 255;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// TLS_EMPTY_RENEGOTIATION_INFO_SCSV (RFC 5746 §3.3) and TLS_FALLBACK_SCSV (RFC 7507 §2) stand among the cipher suites.
const SIGNALS: [u16; 2] = [0x00ff, 0x5600];

impl TlsOffer {
    /// Reads the first octets of a connection. `None` when they are no ClientHello, or not a whole and sound one.
    pub fn parse(octets: &[u8]) -> Option<Self> {
        match octets {
            [HANDSHAKE, ..] => of_message(&message(octets)?),
            [0x80..=0xff, ..] => of_ssl2(octets),
            _ => None,
        }
    }
}

/// The octets not yet read.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take(1).map(|octet| octet[0])
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// What stands behind its length in one octet.
    fn short(&mut self) -> Option<Self> {
        let length = self.octet()?;
        self.take(length.into()).map(Self)
    }

    /// What stands behind its length in two octets.
    fn long(&mut self) -> Option<Self> {
        let length = self.number()?;
        self.take(length.into()).map(Self)
    }

    fn ended(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// All of it as numbers of two octets, without what is no offer.
    fn numbers(self, most: usize) -> Option<Vec<u16>> {
        let pairs = self.0.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return None;
        }
        let numbers = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        Some(numbers.filter(|number| is_offer(*number)).take(most).collect())
    }
}

/// The first message of the handshake, put together from its records.
fn message(octets: &[u8]) -> Option<Vec<u8>> {
    let mut records = Reader(octets);
    let mut message = Vec::new();
    loop {
        if records.octet()? != HANDSHAKE || records.octet()? != 3 {
            return None;
        }
        records.octet()?;
        let fragment = records.long()?;
        if fragment.0.is_empty() || fragment.0.len() > RECORD_MOST {
            return None;
        }
        message.extend_from_slice(fragment.0);
        if let [kind, high, middle, low, ..] = message[..] {
            let length = 4 + usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()?;
            if kind != CLIENT_HELLO || length > MESSAGE_MOST {
                return None;
            }
            if message.len() >= length {
                message.truncate(length);
                return Some(message.split_off(4));
            }
        }
    }
}

/// RFC 8446 §4.1.2; before TLS 1.2, extensions may be missing altogether (RFC 5246 §7.4.1.2).
fn of_message(message: &[u8]) -> Option<TlsOffer> {
    let mut reader = Reader(message);
    let newest = reader.number()?;
    reader.take(32)?;
    let session = reader.short()?;
    let ciphers = reader.long()?;
    let compressions = reader.short()?;
    if session.0.len() > 32 || ciphers.0.is_empty() || compressions.0.is_empty() {
        return None;
    }
    let ciphers = ciphers.numbers(CIPHERS_MOST)?;
    let mut offer = TlsOffer { versions: vec![newest], ciphers, ..TlsOffer::default() };
    if reader.0.is_empty() {
        return Some(offer);
    }
    let mut extensions = reader.long()?;
    reader.ended()?;
    let mut seen = Vec::new();
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let content = extensions.long()?;
        // RFC 8446 §4.2: there is one of each kind. No client has as many as these.
        if seen.contains(&kind) || seen.len() == 64 {
            return None;
        }
        seen.push(kind);
        extend(&mut offer, kind, content)?;
    }
    Some(offer)
}

fn extend(offer: &mut TlsOffer, kind: u16, mut content: Reader<'_>) -> Option<()> {
    match kind {
        SERVER_NAME => {
            offer.server_name = host_names(content.long()?)?.into_iter().next();
            content.ended()
        }
        SUPPORTED_GROUPS => {
            offer.groups = content.long()?.numbers(GROUPS_MOST)?;
            content.ended()
        }
        ALPN => {
            offer.protocols = protocols(content.long()?)?;
            content.ended()
        }
        SUPPORTED_VERSIONS => {
            offer.versions = content.short()?.numbers(VERSIONS_MOST)?;
            offer.versions.sort_unstable_by(|a, b| b.cmp(a));
            content.ended()
        }
        _ => Some(()),
    }
}

/// RFC 6066 §3: there is only one kind of name, 0, the name of a host.
fn host_names(mut list: Reader<'_>) -> Option<Vec<String>> {
    let mut hosts = Vec::new();
    while !list.0.is_empty() {
        let kind = list.octet()?;
        let name = list.long()?;
        // One of each kind is allowed.
        if kind == 0 && hosts.is_empty() {
            hosts.push(text(name));
        }
    }
    Some(hosts)
}

fn protocols(mut list: Reader<'_>) -> Option<Vec<String>> {
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let name = list.short()?;
        let is_grease = matches!(name.0, [a, b] if !is_offer(u16::from_be_bytes([*a, *b])));
        if !is_grease && protocols.len() < PROTOCOLS_MOST {
            protocols.push(text(name));
        }
    }
    Some(protocols)
}

/// RFC 5246 Appendix E.2: the length, then the message.
fn of_ssl2(octets: &[u8]) -> Option<TlsOffer> {
    let mut record = Reader(octets);
    let length = usize::from(record.number()? & 0x7fff);
    let mut message = Reader(record.take(length)?);
    if message.octet()? != CLIENT_HELLO {
        return None;
    }
    let newest = message.number()?;
    if newest != SSL2 && newest >> 8 != 3 {
        return None;
    }
    let lengths = (message.number()?, message.number()?, message.number()?);
    let specs = message.take(lengths.0.into())?;
    message.take(lengths.1.into())?;
    message.take(lengths.2.into())?;
    message.ended()?;
    let specs = specs.chunks_exact(3);
    if !specs.remainder().is_empty() {
        return None;
    }
    let mut offer = TlsOffer { versions: vec![newest], ..TlsOffer::default() };
    // Those of SSL 2.0 itself have a first octet, and no number that anybody knows today.
    if newest != SSL2 && specs.clone().any(|spec| spec[0] != 0) {
        offer.versions.push(SSL2);
    }
    let later = specs.filter(|spec| spec[0] == 0).map(|spec| u16::from_be_bytes([spec[1], spec[2]]));
    offer.ciphers = later.filter(|number| is_offer(*number)).take(CIPHERS_MOST).collect();
    Some(offer)
}

/// As it stands in a hello.
const SSL2: u16 = 0x0002;

/// Neither GREASE (RFC 8701 §2: 0x0a0a, 0x1a1a, … 0xfafa) nor a signal.
fn is_offer(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    let is_grease = high == low && high & 0x0f == 0x0a;
    !is_grease && !SIGNALS.contains(&number)
}

fn text(name: Reader<'_>) -> String {
    clean(String::from_utf8_lossy(name.0), NAME_MOST)
}

#[cfg(test)]
mod tests;
