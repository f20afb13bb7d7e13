//! One connection to an LDAP server, with one request on it at a time.
//!
//! A [`Connection`] is made by [`Connection::open`], encrypted before anything else is said on it. It answers within the time
//! it is given or not at all: after a [`Fault`] it must not be used again, for the answer may still come.
//!
//! What it deliberately does not do: choose among servers, or reconnect (`pool` does).

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use jiff::Timestamp;
use postern_pki::{ClientTls, PeerPolicy, TrustAnchors, server_name};
use postern_smtp::secret::Secret;
use postern_smtp::text;
use postern_smtp::tls::TlsRequirement;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::message::{self, Answer, Entry, Outcome, Search};
use super::url::{LdapUrl, Scheme};
use super::{Fault, ber, words};
use crate::config::{self, LdapTls};

/// So many of a host's addresses are tried.
const MOST_ADDRESSES: usize = 4;
/// All answers to one search together, in octets.
const LARGEST_SEARCH: usize = 4 * 1024 * 1024;
/// So many answers that are no entries are passed over in one search.
const MOST_OTHERS: usize = 100;

/// Something to talk over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection to a server.
pub(super) struct Connection {
    stream: Box<dyn Stream>,
    heard: BytesMut,
    last: u32,
    /// How long one answer may take.
    step: Duration,
    pub(super) server: usize,
    pub(super) since: Instant,
}

impl Connection {
    /// Connects to the server with this number within `step`; with `tls`, encrypted, to a host that proved its name.
    ///
    /// # Errors
    /// In words.
    pub(super) async fn open(
        server: usize,
        url: &LdapUrl,
        tls: Option<&ClientTls>,
        step: Duration,
    ) -> Result<Self, String> {
        let opened = async {
            let tcp = connect(url, step).await?;
            match tls {
                Some(tls) => encrypt(tcp, url, tls).await,
                None => Ok(Box::new(tcp) as Box<dyn Stream>),
            }
        };
        let stream = timeout(step, opened).await.unwrap_or_else(|_| Err(late("no connection", step)))?;
        Ok(Self { stream, heard: BytesMut::new(), last: 1, step, server, since: Instant::now() })
    }

    /// Binds as somebody. Whoever asks takes care that the password is not empty: without one, a server says yes to
    /// everybody (RFC 4513 §5.1.2).
    pub(super) async fn bind(&mut self, name: &str, password: &Secret) -> Result<Outcome, Fault> {
        let id = self.number();
        match self.ask(id, &message::bind(id, name, password)).await? {
            Answer::Bound(outcome) => Ok(outcome),
            _ => Err(senseless()),
        }
    }

    /// Whom the server takes this connection for; `None`: it does not say.
    pub(super) async fn who_am_i(&mut self) -> Result<Option<String>, Fault> {
        let id = self.number();
        match self.ask(id, &message::who_am_i(id)).await? {
            Answer::Extended(outcome, who) => Ok(who.filter(|_| outcome.code == 0)),
            _ => Err(senseless()),
        }
    }

    /// What was found, and how the search ended. Referrals are passed over.
    pub(super) async fn search(&mut self, search: &Search) -> Result<(Vec<Entry>, Outcome), Fault> {
        let id = self.number();
        let request = message::search(id, search);
        let step = self.step;
        let found = async {
            say(&mut self.stream, &request).await?;
            self.found(id, search.most).await
        };
        timeout(step, found).await.unwrap_or_else(|_| Err(Fault::Server(late("no answer", step))))
    }

    async fn found(&mut self, id: u32, most: u32) -> Result<(Vec<Entry>, Outcome), Fault> {
        let (mut entries, mut octets, mut others) = (Vec::new(), 0, 0);
        loop {
            let (answer, length) = hear(&mut self.stream, &mut self.heard, id).await?;
            octets += length;
            match answer {
                Answer::Entry(entry) => entries.push(entry),
                Answer::Found(outcome) => return Ok((entries, outcome)),
                _ => others += 1,
            }
            let many = u32::try_from(entries.len()).is_ok_and(|found| found > most);
            if many || others > MOST_OTHERS || octets > LARGEST_SEARCH {
                return Err(Fault::Server("it sends more than was asked for".to_owned()));
            }
        }
    }

    async fn ask(&mut self, id: u32, request: &[u8]) -> Result<Answer, Fault> {
        let step = self.step;
        let answered = async {
            say(&mut self.stream, request).await?;
            Ok(hear(&mut self.stream, &mut self.heard, id).await?.0)
        };
        timeout(step, answered).await.unwrap_or_else(|_| Err(Fault::Server(late("no answer", step))))
    }

    fn number(&mut self) -> u32 {
        self.last = self.last % 0x7fff_fffe + 1;
        self.last
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The first of the host's addresses that answers, each in its share of the time.
async fn connect(url: &LdapUrl, step: Duration) -> Result<TcpStream, String> {
    let found = lookup_host((url.host(), url.port())).await;
    let found =
        found.map_err(|error| format!("the host has no address: {}", text::without_os_code(error)))?;
    let addresses: Vec<_> = found.take(MOST_ADDRESSES).collect();
    let share = step / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    let mut last = "the host has no address".to_owned();
    for address in &addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // A failure costs time, and nothing else.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Ok(Err(error)) => last = text::without_os_code(error),
            Err(_) => last = late("no connection", share),
        }
    }
    Err(last)
}

async fn encrypt(mut tcp: TcpStream, url: &LdapUrl, tls: &ClientTls) -> Result<Box<dyn Stream>, String> {
    if url.scheme() == Scheme::Ldap {
        start_tls(&mut tcp).await?;
    }
    let handshake = tls.handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
    let name = server_name(url.host()).map_err(|error| error.to_string())?;
    let connected = TlsConnector::from(Arc::new((*handshake.config()).clone())).connect(name, tcp).await;
    match connected {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(format!("no encrypted connection: {}", handshake.failure(&error))),
    }
}

/// When the certificate of a server ends that this configuration asks; `None`: it shows none, or cannot be reached. Trust is
/// no question here, and nothing but the request for TLS is said.
pub(crate) async fn certificate_end(config: &config::Ldap, url: &LdapUrl) -> Option<Timestamp> {
    if config.tls == LdapTls::Off {
        return None;
    }
    let looked = async {
        let mut tcp = connect(url, config.step).await.ok()?;
        if url.scheme() == Scheme::Ldap {
            start_tls(&mut tcp).await.ok()?;
        }
        let tls = ClientTls::new(&TrustAnchors::System).ok()?;
        let handshake = tls.handshake(&PeerPolicy::default());
        let name = server_name(url.host()).ok()?;
        let _ = TlsConnector::from(handshake.config()).connect(name, tcp).await;
        handshake.chain().first().and_then(|certificate| certificate.not_after.parse().ok())
    };
    timeout(config.step, looked).await.ok().flatten()
}

/// RFC 4511 §4.14.2. Nothing may follow the answer before TLS: it would be from somebody on the way.
async fn start_tls(tcp: &mut TcpStream) -> Result<(), String> {
    let mut heard = BytesMut::new();
    let answered = async {
        say(tcp, &message::start_tls(1)).await?;
        Ok::<_, Fault>(hear(tcp, &mut heard, 1).await?.0)
    };
    let answer = answered.await.map_err(|fault| fault.to_string())?;
    match answer {
        Answer::Extended(Outcome { code: 0, .. }, _) if heard.is_empty() => Ok(()),
        Answer::Extended(Outcome { code: 0, .. }, _) => {
            Err("it said something behind the answer to StartTLS: somebody on the way may have put it there"
                .to_owned())
        }
        Answer::Extended(outcome, _) => {
            let said = words(&outcome);
            Err(format!(
                "it does not begin TLS ({said}): give it a certificate, or write ldaps:// if it has that"
            ))
        }
        _ => Err(senseless().to_string()),
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), request: &[u8]) -> Result<(), Fault> {
    let said = async {
        stream.write_all(request).await?;
        stream.flush().await
    };
    said.await.map_err(|error| gone(&error))
}

/// The next answer to this request, and its length.
async fn hear(
    stream: &mut (impl AsyncRead + Unpin),
    heard: &mut BytesMut,
    id: u32,
) -> Result<(Answer, usize), Fault> {
    loop {
        if let Some(end) = ber::frame(heard).map_err(|what| Fault::Server(what.to_owned()))? {
            let (answered, answer) = message::read(&heard.split_to(end)).ok_or_else(senseless)?;
            return match (answered, answer) {
                (answered, answer) if answered == id => Ok((answer, end)),
                // RFC 4511 §4.4.1: it is about to close the connection.
                (0, Answer::Extended(outcome, _)) => {
                    Err(Fault::Server(format!("it closed the connection ({})", words(&outcome))))
                }
                _ => Err(senseless()),
            };
        }
        if stream.read_buf(heard).await.map_err(|error| gone(&error))? == 0 {
            return Err(Fault::Server("it closed the connection".to_owned()));
        }
    }
}

fn gone(error: &io::Error) -> Fault {
    Fault::Server(postern_pki::describe(error))
}

fn senseless() -> Fault {
    Fault::Server("its answer is no LDAP that fits the question".to_owned())
}

fn late(what: &str, step: Duration) -> String {
    format!("{what} within {} s", step.as_secs_f64())
}
