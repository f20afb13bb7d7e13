//! One signed message to one server, and its signed answer.
//!
//! [`update`] and [`question`] write the message, [`signed`] sends it: over TCP, and over UDP where there is no connection
//! to be had. What is read of an [`Answer`] bears the signature of the same key over this very exchange.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use domain::base::iana::{Class, Opcode, Rcode, TsigRcode};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder, ParsedName, Rtype, Ttl};
use domain::rdata::Txt as TxtData;
use domain::rdata::tsig::{Time48, Tsig};
use domain::tsig::{ClientTransaction, ValidationError};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::fault::{UpdateFault, refusal};
use super::key::TsigKey;
use crate::message::WireName;

/// How long a connection may take before UDP is tried.
const CONNECTING: Duration = Duration::from_secs(10);

/// A datagram may be lost: how often it is sent, and how long each is waited for.
const DATAGRAMS: usize = 3;
const DATAGRAM_WAIT: Duration = Duration::from_secs(3);

/// The largest datagram that is taken.
const MAX_DATAGRAM: usize = 4096;

/// A message that lacks its signature.
pub(super) type Draft = AdditionalBuilder<Vec<u8>>;

/// What to do with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Delete,
}

/// The record.
pub(super) struct Record<'a> {
    pub(super) owner: &'a WireName,
    pub(super) ttl: Ttl,
    pub(super) text: &'a TxtData<Vec<u8>>,
}

/// An answer that there is no doubt about.
pub(super) struct Answer {
    /// Its code. One without a signature is a refusal, which anybody may say.
    pub(super) code: Rcode,
    /// All of it, if it is signed.
    pub(super) message: Option<Message<Bytes>>,
}

/// A change of one record, without conditions (RFC 2136 §2).
pub(super) fn update(zone: &WireName, change: Change, record: &Record<'_>) -> Result<Draft, UpdateFault> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_random_id();
    message.header_mut().set_opcode(Opcode::UPDATE);
    // RFC 2136 §2.3, §2.5.1 and §2.5.4.
    let (class, ttl) = match change {
        Change::Add => (Class::IN, record.ttl),
        Change::Delete => (Class::NONE, Ttl::ZERO),
    };
    let mut message = message.question();
    message.push((zone, Rtype::SOA)).map_err(|error| too_long(zone, error))?;
    let mut message = message.authority();
    message.push((record.owner, class, ttl, record.text)).map_err(|error| too_long(zone, error))?;
    Ok(message.additional())
}

/// A question to the server itself: recursion is not asked for.
pub(super) fn question(about: &WireName, rtype: Rtype) -> Result<Draft, UpdateFault> {
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_random_id();
    let mut message = message.question();
    message.push((about, rtype)).map_err(|error| too_long(about, error))?;
    Ok(message.additional())
}

/// Sends it with a signature, and gives the answer if its signature is good (RFC 8945 §5.3). Takes as long as the server
/// does.
pub(super) async fn signed(
    server: SocketAddr,
    key: &TsigKey,
    mut draft: Draft,
    now: Timestamp,
) -> Result<Answer, UpdateFault> {
    let now = time48(now);
    let signing =
        key.open().ok_or_else(|| UpdateFault::BadName(format!("the key {} cannot be used", key.name())))?;
    let transaction = ClientTransaction::request(signing, &mut draft, now)
        .map_err(|_| UpdateFault::BadName(format!("the name of the key {} is too long", key.name())))?;
    let sent = draft.finish();
    let came = match over_tcp(server, &sent).await {
        Err(Transport::NoConnection(reason)) => over_udp(server, &sent, &reason).await?,
        Err(Transport::Broken(error)) => return Err(UpdateFault::HungUp(error.to_string())),
        Ok(came) => came,
    };
    let mut answer = Message::from_octets(came)
        .ok()
        .filter(|answer| is_answer(answer.as_slice(), &sent))
        .ok_or_else(|| UpdateFault::NotGenuine("it does not belong to the question".to_owned()))?;
    let code = answer.header().rcode();
    let message = match transaction.answer(&mut answer, now) {
        Ok(()) => Message::from_octets(Bytes::from(answer.into_octets())).ok(),
        Err(ValidationError::ServerUnsigned) if code != Rcode::NOERROR => None,
        Err(error) => return Err(clock(&answer).unwrap_or_else(|| refusal(error, key))),
    };
    Ok(Answer { code, message })
}

/// What BADTIME says (RFC 8945 §5.2.3). Its signature is not looked at: `domain` takes eight octets for the other time where
/// the wire has six, so that it never finds it good; and a forger wins nothing, since it is a refusal in any case.
fn clock(answer: &Message<Vec<u8>>) -> Option<UpdateFault> {
    if answer.header().rcode() != Rcode::NOTAUTH {
        return None;
    }
    let last = answer.additional().ok()?.last()?.ok()?;
    let tsig = last.to_record::<Tsig<_, ParsedName<_>>>().ok()??;
    let (theirs, ours) = (tsig.data().other_time()?, tsig.data().time_signed());
    let seconds = |time| i64::try_from(u64::from(time)).ok();
    let ahead = seconds(theirs)?.saturating_sub(seconds(ours)?);
    (tsig.data().error() == TsigRcode::BADTIME).then_some(UpdateFault::Clock { ahead })
}

impl Answer {
    /// The zone that the name asked for is in, by the SOA record in the answer or beside a negative one (RFC 2308 §3), if
    /// the server has that zone itself.
    pub(super) fn zone(&self) -> Option<WireName> {
        let message = self.message.as_ref().filter(|message| message.header().aa())?;
        let sections = [message.answer().ok()?, message.authority().ok()?];
        let mut records = sections.into_iter().flatten().flatten();
        let soa = records.find(|record| record.rtype() == Rtype::SOA)?;
        Some(soa.owner().to_name())
    }

    /// Whether the name asked for is an alias.
    pub(super) fn has_alias(&self) -> bool {
        let answers = self.message.as_ref().and_then(|message| message.answer().ok());
        answers.into_iter().flatten().flatten().any(|record| record.rtype() == Rtype::CNAME)
    }
}

/// Why TCP gave no answer.
enum Transport {
    /// Nothing was sent.
    NoConnection(String),
    /// Something was.
    Broken(io::Error),
}

/// RFC 7766 §8: each message has its length in front.
async fn over_tcp(server: SocketAddr, message: &[u8]) -> Result<Vec<u8>, Transport> {
    let mut stream = match timeout(CONNECTING, TcpStream::connect(server)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Transport::NoConnection(error.to_string())),
        Err(_) => return Err(Transport::NoConnection("no connection in time".to_owned())),
    };
    converse(&mut stream, message).await.map_err(Transport::Broken)
}

async fn converse(stream: &mut TcpStream, message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await?;
    let length = stream.read_u16().await?;
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await?;
    Ok(octets)
}

/// The same message each time: to change a record twice is to change it once.
async fn over_udp(server: SocketAddr, message: &[u8], tcp: &str) -> Result<Vec<u8>, UpdateFault> {
    let unreachable = |error: io::Error| UpdateFault::Unreachable(format!("TCP: {tcp}; UDP: {error}"));
    let ours: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(ours).await.map_err(unreachable)?;
    socket.connect(server).await.map_err(unreachable)?;
    for _ in 0..DATAGRAMS {
        socket.send(message).await.map_err(unreachable)?;
        if let Ok(came) = timeout(DATAGRAM_WAIT, datagram(&socket, message)).await {
            return came.map_err(unreachable);
        }
    }
    Err(unreachable(io::Error::from(io::ErrorKind::TimedOut)))
}

/// The first datagram that belongs to the message.
async fn datagram(socket: &UdpSocket, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_answer(&buffer[..length], message) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// Same identifier and same purpose, and it is an answer. The rest is for the signature to prove; servers may leave the
/// zone out (RFC 2136 §3.8).
fn is_answer(came: &[u8], sent: &[u8]) -> bool {
    const PURPOSE: u8 = 0x78;
    let (&[a, b, flags, ..], &[c, d, asked, ..]) = (came, sent) else { return false };
    [a, b] == [c, d] && flags & 0x80 != 0 && (flags ^ asked) & PURPOSE == 0
}

/// Seconds since 1970 in 48 bits.
fn time48(now: Timestamp) -> Time48 {
    const LAST: u64 = (1 << 48) - 1;
    Time48::from_u64(u64::try_from(now.as_second()).unwrap_or(0).min(LAST))
}

fn too_long(name: &WireName, error: PushError) -> UpdateFault {
    UpdateFault::BadName(format!("{name} does not fit into a message: {error}"))
}
