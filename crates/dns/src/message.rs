//! Questions and answers as they go over the wire, through the `domain` crate.
//!
//! [`question`] writes one, [`read`] follows the aliases in an answer and picks the records wanted. What to pick is a
//! [`Kind`]. Nothing that a server sends is trusted to be well-formed.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use domain::base::iana::Rcode;
use domain::base::name::ToName;
use domain::base::rdata::UnknownRecordData;
use domain::base::record::ParsedRecord;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype};
use domain::net::client::request::{ComposeRequest, RequestMessage};
use domain::rdata::{A, Aaaa, Cname, Mx as MxData, Ptr, Txt};

use crate::{Answer, Dnssec, LookupError, Mx, TlsaRecord};

/// Aliases followed before a chain counts as endless.
const MAX_ALIASES: usize = 16;

/// What an answer may measure over UDP (the DNS flag day's recommendation; larger ones come over TCP).
const MAX_DATAGRAM: u16 = 1_232;

/// A name as the wire has it.
pub(crate) type WireName = Name<Vec<u8>>;

/// A message to send.
pub(crate) type Request = RequestMessage<Vec<u8>>;

/// What kind of record is wanted and how to read one; `None` when it is malformed.
pub(crate) struct Kind<T> {
    pub(crate) rtype: Rtype,
    read: fn(&ParsedRecord<'_, Bytes>) -> Option<T>,
}

impl<T> Kind<T> {
    pub(crate) const fn new(rtype: Rtype, read: fn(&ParsedRecord<'_, Bytes>) -> Option<T>) -> Self {
        Self { rtype, read }
    }
}

pub(crate) const MX: Kind<Mx> = Kind::new(Rtype::MX, |record| {
    let record = record.to_record::<MxData<ParsedName<_>>>().ok()??;
    let mx = record.data();
    Some(Mx { preference: mx.preference(), exchange: host_text(mx.exchange()) })
});

pub(crate) const A4: Kind<IpAddr> = Kind::new(Rtype::A, |record| {
    let record = record.to_record::<A>().ok()??;
    Some(IpAddr::V4(record.data().addr()))
});

pub(crate) const A6: Kind<IpAddr> = Kind::new(Rtype::AAAA, |record| {
    let record = record.to_record::<Aaaa>().ok()??;
    Some(IpAddr::V6(record.data().addr()))
});

pub(crate) const PTR: Kind<String> = Kind::new(Rtype::PTR, |record| {
    let record = record.to_record::<Ptr<ParsedName<_>>>().ok()??;
    Some(host_text(record.data().ptrdname()))
});

pub(crate) const TXT: Kind<String> = Kind::new(Rtype::TXT, |record| {
    let record = record.to_record::<Txt<_>>().ok()??;
    let octets: Vec<u8> = record.data().text();
    Some(String::from_utf8_lossy(&octets).into_owned())
});

pub(crate) const TLSA: Kind<TlsaRecord> = Kind::new(Rtype::TLSA, |record| {
    let record = record.to_record::<UnknownRecordData<_>>().ok()??;
    TlsaRecord::parse_rdata(record.data().data().as_ref()).ok()
});

pub(crate) const CNAME: Kind<String> = Kind::new(Rtype::CNAME, |record| Some(host_text(&alias(record)?)));

/// Whether the server may refuse what it finds bogus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    /// By the server, whose AD bit is wanted.
    Wanted,
    /// Not by the server (CD, RFC 4035 §3.2.2).
    Disabled,
}

/// A name that can be asked for.
///
/// # Errors
/// [`LookupError::BadName`].
pub(crate) fn wire_name(name: &str) -> Result<WireName, LookupError> {
    let bad = || LookupError::BadName(name.chars().filter(|c| !c.is_control()).take(255).collect());
    // A backslash would be an escape of zone files.
    if matches!(name, "" | ".") || !name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\') {
        return Err(bad());
    }
    Name::vec_from_str(name).map_err(|_| bad())
}

/// The name under which an address' own name stands (RFC 1035 §3.5, RFC 3596 §2.5).
pub(crate) fn reverse_name(address: IpAddr) -> Result<WireName, LookupError> {
    let name = Name::reverse_from_addr(address);
    name.map_err(|_| LookupError::BadName(address.to_string()))
}

/// A question that wants signatures (DO) and recursion. Identifiers are chosen when it is sent.
pub(crate) fn question(name: &WireName, rtype: Rtype, checking: Checking) -> Result<Request, LookupError> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_rd(true);
    message.header_mut().set_ad(checking == Checking::Wanted);
    message.header_mut().set_cd(checking == Checking::Disabled);
    let mut message = message.question();
    let bad = |_| LookupError::BadName(name.to_string());
    message.push((name, rtype)).map_err(bad)?;
    let mut request = RequestMessage::new(message.into_message())
        .map_err(|error| LookupError::Temporary(format!("{name}: {error}")))?;
    request.set_dnssec_ok(true);
    request.set_udp_payload_size(MAX_DATAGRAM);
    Ok(request)
}

/// Whether the message answers at all: with records, or with the fact that there are none.
pub(crate) fn is_conclusive(message: &Message<Bytes>) -> bool {
    matches!(message.header().rcode(), Rcode::NOERROR | Rcode::NXDOMAIN)
}

/// The server's code and, where it gives one, its reason (RFC 8914).
pub(crate) fn failure(message: &Message<Bytes>) -> String {
    let code = message.opt_rcode();
    match reasons(message) {
        reasons if reasons.is_empty() => format!("the name server answered: {code}"),
        reasons => format!("the name server answered: {code} ({reasons})"),
    }
}

/// The extended errors of a message in words.
pub(crate) fn reasons(message: &Message<Bytes>) -> String {
    use domain::base::opt::ExtendedError;
    let Some(opt) = message.opt() else { return String::new() };
    let errors = opt.opt().iter::<ExtendedError<_>>().flatten().take(4).map(|error| extended(&error));
    errors.collect::<Vec<_>>().join("; ")
}

/// An extended error in words, safe for a log.
pub(crate) fn extended<O: AsRef<[u8]>>(error: &domain::base::opt::ExtendedError<O>) -> String {
    let text = error.text_slice().map(String::from_utf8_lossy).unwrap_or_default();
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    let code = error.code();
    let code = known_code(code.to_int()).map_or_else(|| code.to_string(), ToOwned::to_owned);
    if text.is_empty() { code } else { format!("{code}: {text}") }
}

/// The records of the kind wanted that belong to the name asked for, or to what it is an alias of.
///
/// # Errors
/// Negative answers with the status given, and [`LookupError::Temporary`] for malformed ones.
pub(crate) fn read<T>(
    message: &Message<Bytes>,
    asked: &WireName,
    kind: &Kind<T>,
    dnssec: Dnssec,
) -> Result<Answer<Vec<T>>, LookupError> {
    let malformed = || LookupError::Temporary(format!("the answer about {asked} is malformed"));
    let records = records(message).ok_or_else(malformed)?;
    let mut owner = asked.clone();
    let mut ttl = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let own = || records.iter().filter(|record| record.owner().name_eq(&owner));
        let wanted = own().filter(|record| record.rtype() == kind.rtype);
        if let Some(shortest) = wanted.clone().map(|record| record.ttl().as_secs()).min() {
            let records: Option<Vec<T>> = wanted.map(|record| (kind.read)(record)).collect();
            let ttl = Duration::from_secs(u64::from(ttl.min(shortest)));
            return Ok(Answer {
                records: records.ok_or_else(malformed)?,
                owner: host_text(&owner),
                dnssec,
                ttl,
            });
        }
        let Some(link) = own().find(|record| record.rtype() == Rtype::CNAME) else {
            return Err(match message.header().rcode() {
                Rcode::NXDOMAIN => LookupError::NoSuchDomain { dnssec },
                _ => LookupError::NoRecords { dnssec },
            });
        };
        ttl = ttl.min(link.ttl().as_secs());
        owner = alias(link).ok_or_else(malformed)?;
    }
    Err(LookupError::Temporary(format!("{asked}: an endless chain of aliases")))
}

fn records(message: &Message<Bytes>) -> Option<Vec<ParsedRecord<'_, Bytes>>> {
    message.answer().ok()?.collect::<Result<_, _>>().ok()
}

fn alias(record: &ParsedRecord<'_, Bytes>) -> Option<WireName> {
    let record = record.to_record::<Cname<ParsedName<_>>>().ok()??;
    Some(record.data().cname().to_name())
}

/// Lower case, without the last dot; the root is `.`.
fn host_text(name: &impl ToName) -> String {
    name.to_name::<Vec<u8>>().to_string().to_ascii_lowercase()
}

/// The codes that a validator gives (RFC 8914 §4), in words.
fn known_code(code: u16) -> Option<&'static str> {
    Some(match code {
        1 => "unsupported signature algorithm",
        2 => "unsupported digest of a key",
        5 => "whether it is signed could not be told",
        6 => "DNSSEC says bogus",
        7 => "a signature has expired",
        8 => "a signature is not valid yet",
        9 => "the zone's key is missing",
        10 => "signatures are missing",
        11 => "the key is not one for zones",
        12 => "the proof that there is no such record is missing",
        22 => "no name server of the zone could be reached",
        23 => "network error",
        _ => return None,
    })
}
