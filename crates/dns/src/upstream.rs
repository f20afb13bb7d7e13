//! Asking the configured name servers: UDP, then TCP where the answer is cut, each server in turn.
//!
//! Ports and identifiers are random and an answer counts only when it repeats the question (RFC 5452 §9.1); `domain`
//! sees to that over UDP, [`over_tcp`] over TCP. There is no cache and no connection kept: the servers are near.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::base::Message;
use domain::net::client::dgram;
use domain::net::client::protocol::UdpConnect;
use domain::net::client::request::{ComposeRequest, Error, GetResponse, SendRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::LookupError;
use crate::message::{self, Request};

/// How often each server is asked when none answers: a datagram may be lost.
const ROUNDS: usize = 2;

/// The servers and how long each may take.
#[derive(Clone)]
pub(crate) struct Upstream {
    servers: Arc<[Server]>,
    timeout: Duration,
}

struct Server {
    address: SocketAddr,
    datagrams: dgram::Connection<UdpConnect>,
}

/// An answer, and who gave it.
pub(crate) struct Asked {
    pub(crate) answer: Message<Bytes>,
    /// The server's place in the list.
    pub(crate) server: usize,
    pub(crate) from: SocketAddr,
}

impl Upstream {
    pub(crate) fn new(servers: &[SocketAddr], timeout: Duration) -> Self {
        let mut config = dgram::Config::new();
        config.set_read_timeout(timeout);
        config.set_max_retries(0);
        let server = |&address: &SocketAddr| Server {
            address,
            datagrams: dgram::Connection::with_config(UdpConnect::new(address), config.clone()),
        };
        Self { servers: servers.iter().map(server).collect(), timeout }
    }

    /// How many there are.
    pub(crate) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// The first conclusive answer; where every server answers with a failure, the last such answer.
    ///
    /// # Errors
    /// [`LookupError::Temporary`] when no server answers.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Asked, LookupError> {
        self.ask_some(0..self.servers.len(), request).await
    }

    /// The answer of this server, a failure included.
    ///
    /// # Errors
    /// [`LookupError::Temporary`] when it does not answer.
    pub(crate) async fn ask_server(&self, server: usize, request: &Request) -> Result<Asked, LookupError> {
        self.ask_some(server..server + 1, request).await
    }

    async fn ask_some(&self, which: Range<usize>, request: &Request) -> Result<Asked, LookupError> {
        let mut trouble = LookupError::Temporary("there is no name server to ask".to_owned());
        for _ in 0..ROUNDS {
            let mut failure = None;
            for (index, server) in (which.start..).zip(self.servers.get(which.clone()).unwrap_or_default()) {
                let asked = |answer| Asked { answer, server: index, from: server.address };
                match self.ask_one(server, request).await {
                    Ok(answer) if message::is_conclusive(&answer) => return Ok(asked(answer)),
                    Ok(answer) => failure = Some(asked(answer)),
                    Err(what) => trouble = LookupError::Temporary(what),
                }
            }
            if let Some(asked) = failure {
                return Ok(asked);
            }
        }
        Err(trouble)
    }

    async fn ask_one(&self, server: &Server, request: &Request) -> Result<Message<Bytes>, String> {
        let answer = server.datagrams.send_request(request.clone()).get_response().await;
        let answer = answer.map_err(|error| explain(server.address, &error))?;
        if !answer.header().tc() {
            return Ok(answer);
        }
        match timeout(self.timeout, over_tcp(server.address, request.clone())).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(format!("the name server {} fails over TCP: {error}", server.address)),
            Err(_) => Err(format!("the name server {} did not answer in time over TCP", server.address)),
        }
    }
}

/// RFC 7766 §8: each message has its length in front.
async fn over_tcp(server: SocketAddr, mut request: Request) -> io::Result<Message<Bytes>> {
    request.header_mut().set_random_id();
    let query = request.to_vec().map_err(io::Error::other)?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes()[..], &query].concat()).await?;
    let length = stream.read_u16().await?;
    let mut octets = vec![0; usize::from(length)];
    stream.read_exact(&mut octets).await?;
    let answer = Message::from_octets(Bytes::from(octets)).map_err(io::Error::other)?;
    if answer.header().tc() || !request.is_answer(answer.for_slice()) {
        return Err(io::Error::other("what came back is no answer to the question"));
    }
    Ok(answer)
}

fn explain(server: SocketAddr, error: &Error) -> String {
    match error {
        Error::Dgram(error) if matches!(error.kind(), dgram::QueryErrorKind::Timeout) => {
            format!("the name server {server} did not answer in time")
        }
        other => format!("the name server {server} could not be asked: {other}"),
    }
}

/// For the validator, which asks for keys itself.
impl SendRequest<Request> for Upstream {
    fn send_request(&self, request: Request) -> Box<dyn GetResponse + Send + Sync> {
        let upstream = self.clone();
        Box::new(Pending(Box::pin(async move {
            // The validator does not look at what went wrong, only that something did.
            upstream.ask(&request).await.map(|asked| asked.answer).map_err(|_| Error::ConnectionClosed)
        })))
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Message<Bytes>, Error>> + Send + Sync>>;

/// An answer on its way.
struct Pending(Asking);

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl GetResponse for Pending {
    fn get_response(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Message<Bytes>, Error>> + Send + Sync + '_>> {
        Box::pin(&mut self.0)
    }
}
