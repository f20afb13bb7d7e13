//! The few shapes of DNS messages that the scripted server needs (RFC 1035 §4).

use super::{Found, Kind, Record, Zone};

/// What fits into one datagram of ours.
const MAX_DATAGRAM: usize = 1_232;

/// How a question came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// One question.
pub(super) struct Question<'a> {
    id: [u8; 2],
    wants_recursion: u8,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The question section as it came.
    octets: &'a [u8],
}

/// Reads a message with one question; anything else is no question.
pub(super) fn question(message: &[u8]) -> Option<Question<'_>> {
    let (&[id1, id2, flags, _, 0, 1, ..], rest) = (message.get(..12)?, message.get(12..)?) else {
        return None;
    };
    let mut name = String::new();
    let mut at = 0;
    loop {
        let length = usize::from(*rest.get(at)?);
        let label = rest.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        match length {
            0 => break,
            1..=63 => {
                name.push_str(std::str::from_utf8(label).ok()?);
                name.push('.');
            }
            _ => return None,
        }
    }
    let kind = kind(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    Some(Question { id: [id1, id2], wants_recursion: flags & 1, name, kind, octets: rest.get(..at + 4)? })
}

/// The message that answers; `None` is silence.
pub(super) fn answer(
    question: &Question<'_>,
    found: &Found,
    zone: &Zone,
    transport: Transport,
) -> Option<Vec<u8>> {
    let (code, records) = match found {
        Found::Records(records) => (0, records.as_slice()),
        Found::NoRecords => (0, &[][..]),
        Found::Failure => (2, &[][..]),
        Found::NoSuchDomain => (3, &[][..]),
        Found::Silence => return None,
    };
    let whole = message(question, code, records, zone.ttl, Cut::No);
    let must_cut = zone.truncated.contains(&super::plain(&question.name)) || whole.len() > MAX_DATAGRAM;
    if transport == Transport::Udp && must_cut {
        return Some(message(question, code, &[], zone.ttl, Cut::Yes));
    }
    Some(whole)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    Yes,
    No,
}

fn message(question: &Question<'_>, code: u8, records: &[(String, Record)], ttl: u32, cut: Cut) -> Vec<u8> {
    let truncated = if cut == Cut::Yes { 2 } else { 0 };
    let mut message = Vec::from(question.id);
    // QR and, as asked, RD; then RA and the code.
    message.extend([0x80 | truncated | question.wants_recursion, 0x80 | code, 0, 1]);
    message.extend(short(records.len()));
    message.extend([0, 0, 0, 0]);
    message.extend(question.octets);
    for (owner, record) in records {
        message.extend(name(owner));
        message.extend(number(record.kind()).to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl.to_be_bytes());
        let data = data(record);
        message.extend(short(data.len()));
        message.extend(data);
    }
    message
}

fn data(record: &Record) -> Vec<u8> {
    match record {
        Record::A(address) => address.octets().to_vec(),
        Record::Aaaa(address) => address.octets().to_vec(),
        Record::Mx(preference, exchange) => [&preference.to_be_bytes()[..], &name(exchange)].concat(),
        Record::Txt(text) => text.as_bytes().chunks(255).flat_map(counted).collect(),
        Record::Ptr(host) | Record::Cname(host) => name(host),
    }
}

fn name(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| counted(label.as_bytes())).chain([0]).collect()
}

/// A length octet and the octets; labels and text pieces too long for one are cut.
fn counted(octets: &[u8]) -> Vec<u8> {
    let length = u8::try_from(octets.len()).unwrap_or(u8::MAX);
    [&[length][..], &octets[..usize::from(length)]].concat()
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

fn kind(number: u16) -> Kind {
    match number {
        1 => Kind::A,
        5 => Kind::Cname,
        12 => Kind::Ptr,
        15 => Kind::Mx,
        16 => Kind::Txt,
        28 => Kind::Aaaa,
        other => Kind::Other(other),
    }
}

fn number(kind: Kind) -> u16 {
    match kind {
        Kind::A => 1,
        Kind::Cname => 5,
        Kind::Ptr => 12,
        Kind::Mx => 15,
        Kind::Txt => 16,
        Kind::Aaaa => 28,
        Kind::Other(other) => other,
    }
}
