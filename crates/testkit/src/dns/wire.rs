//! The few shapes of DNS messages that the scripted server needs (RFC 1035 §4).

use postern_dns::Dnssec;

use super::{Found, Kind, Record, Zone};

/// Bits of the fourth octet (RFC 4035 §3.2).
const AUTHENTIC: u8 = 0x20;
const CHECKING_DISABLED: u8 = 0x10;

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
    /// Whether the AD bit is understood (AD or DO, RFC 6840 §5.7), and whether nothing is to be checked (CD).
    wants_status: bool,
    unchecked: bool,
    /// Whether the question has an OPT record.
    extended: bool,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The question section as it came.
    octets: &'a [u8],
}

/// Reads a message with one question; anything else is no question.
pub(super) fn question(message: &[u8]) -> Option<Question<'_>> {
    let (&[id1, id2, flags, more_flags, 0, 1, ..], rest) = (message.get(..12)?, message.get(12..)?) else {
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
    // RFC 6891 §6.1.2: the root, 41, the payload's size, the code, the version, and the flags, DO first.
    let (extended, wants_signatures) = match rest.get(at + 4..) {
        Some(&[0, 0, 41, _, _, _, _, flags, ..]) => (true, flags & 0x80 != 0),
        _ => (false, false),
    };
    Some(Question {
        id: [id1, id2],
        wants_recursion: flags & 1,
        wants_status: wants_signatures || more_flags & AUTHENTIC != 0,
        unchecked: more_flags & CHECKING_DISABLED != 0,
        extended,
        name: if name.is_empty() { ".".to_owned() } else { name },
        kind,
        octets: rest.get(..at + 4)?,
    })
}

/// The message that answers; `None` is silence.
pub(super) fn answer(
    question: &Question<'_>,
    found: &Found,
    zone: &Zone,
    transport: Transport,
) -> Option<Vec<u8>> {
    let status = zone.status(&question.name, question.kind);
    let mut answer = match found {
        Found::Records(records) => Reply::new(0, records),
        Found::NoRecords => Reply::new(0, &[]),
        Found::Failure => Reply::new(2, &[]),
        Found::NoSuchDomain => Reply::new(3, &[]),
        Found::Silence => return None,
    };
    answer.authentic = status == Dnssec::Secure && question.wants_status && !question.unchecked;
    if status == Dnssec::Bogus && !question.unchecked {
        answer = Reply { bogus: true, ..Reply::new(2, &[]) };
    }
    let whole = message(question, &answer, zone.ttl);
    let must_cut = zone.truncated.contains(&super::plain(&question.name)) || whole.len() > MAX_DATAGRAM;
    if transport == Transport::Udp && must_cut {
        return Some(message(question, &Reply { cut: true, records: &[], ..answer }, zone.ttl));
    }
    Some(whole)
}

/// What there is to say.
#[allow(clippy::struct_excessive_bools)] // three bits of a message, as they are
#[derive(Clone, Copy)]
struct Reply<'a> {
    code: u8,
    records: &'a [(String, Record)],
    cut: bool,
    authentic: bool,
    bogus: bool,
}

impl<'a> Reply<'a> {
    fn new(code: u8, records: &'a [(String, Record)]) -> Self {
        Self { code, records, cut: false, authentic: false, bogus: false }
    }
}

fn message(question: &Question<'_>, reply: &Reply<'_>, ttl: u32) -> Vec<u8> {
    let truncated = if reply.cut { 2 } else { 0 };
    let authentic = if reply.authentic { AUTHENTIC } else { 0 };
    let mut message = Vec::from(question.id);
    // QR and, as asked, RD; then RA and the code.
    message.extend([0x80 | truncated | question.wants_recursion, 0x80 | authentic | reply.code, 0, 1]);
    message.extend(short(reply.records.len()));
    message.extend([0, 0, 0, u8::from(question.extended)]);
    message.extend(question.octets);
    for (owner, record) in reply.records {
        message.extend(name(owner));
        message.extend(number(record.kind()).to_be_bytes());
        message.extend([0, 1]);
        message.extend(ttl.to_be_bytes());
        let data = data(record);
        message.extend(short(data.len()));
        message.extend(data);
    }
    if question.extended {
        message.extend(options(reply));
    }
    message
}

/// The OPT record, with the reason (RFC 8914) where something is bogus.
fn options(reply: &Reply<'_>) -> Vec<u8> {
    const REASON: &[u8] = b"scripted";
    let mut options = Vec::new();
    if reply.bogus {
        let length = short(2 + REASON.len());
        options = [&[0, 15][..], &length, &[0, 6], REASON].concat();
    }
    [&[0, 0, 41, 4, 208, 0, 0, 0, 0][..], &short(options.len()), &options].concat()
}

fn data(record: &Record) -> Vec<u8> {
    match record {
        Record::A(address) => address.octets().to_vec(),
        Record::Aaaa(address) => address.octets().to_vec(),
        Record::Mx(preference, exchange) => [&preference.to_be_bytes()[..], &name(exchange)].concat(),
        Record::Txt(text) => text.as_bytes().chunks(255).flat_map(counted).collect(),
        Record::Ptr(host) | Record::Cname(host) => name(host),
        Record::Tlsa(tlsa) => [&[tlsa.usage, tlsa.selector, tlsa.matching][..], &tlsa.data].concat(),
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
        52 => Kind::Tlsa,
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
        Kind::Tlsa => 52,
        Kind::Other(other) => other,
    }
}
