//! One connection to a next hop: drives a [`ClientSession`] over TCP, TLS or a local socket.
//!
//! Like its counterpart in `inbound`, this is only I/O: what may be said when, and what a reply means, the session
//! knows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt as _;
use postern_pki::{ClientTls, Handshake, PeerPolicy};
use postern_queue::Body;
use postern_smtp::client::{ClientSession, Input, Job, Output, Plan, Protocol, Timeouts, TlsStart};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::sasl::{Credential, SignIn};
use postern_smtp::secret::Secret;
use postern_smtp::text::without_os_code;
use postern_smtp::tls::{TlsFacts, TlsFailure, TlsFault, TlsRequirement};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::route::{NextHop, Socket};
use crate::config::{Connector, CredentialFile, CredentialSource, Way};

/// RFC 5321 has no limit for connecting; operating systems try for minutes, which is longer than it is worth.
const CONNECT: Duration = Duration::from_secs(30);
/// A stalled handshake counts as failed after this.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// How long a peer may take none of our bytes (RFC 5321 §4.5.3.2.5).
const WRITE: Duration = Duration::from_mins(3);
/// After a deadline has fired there is none until the session names another.
const NEVER: Duration = Duration::from_hours(24);
/// How long a reply to QUIT is waited for.
const FAREWELL: Duration = Duration::from_secs(2);
const READ_BUFFER: usize = 4096;
/// Content is sent in pieces of about this size.
const SEND_BUFFER: usize = 64 * 1024;

/// How a connection is to be made.
#[derive(Clone)]
pub(crate) struct Terms<'a> {
    /// The connector.
    pub(crate) connector: &'a Arc<Connector>,
    /// The trusted roots for it.
    pub(crate) tls: &'a Result<ClientTls, String>,
    /// How TLS is gone about.
    pub(crate) tls_use: TlsUse,
}

/// How TLS is gone about on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsUse {
    /// As the connector says.
    AsPlanned,
    /// Left out: the one retry in clear after a failed handshake that nothing demanded.
    LeftOut,
}

/// An open session with a next hop.
pub(crate) struct Live {
    stream: Option<Stream>,
    session: ClientSession,
    deadline: Instant,
    unsent: BytesMut,
    handshake: Option<Handshake>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) next_hop: NextHop,
    /// Messages given to this session.
    pub(crate) messages: usize,
}

/// What the session wants of whoever drives it.
enum Want {
    /// A message to deliver.
    Job,
    /// The next piece of content.
    Content,
    /// The content from its start.
    Rewind,
    /// The outcomes to be taken.
    Taken(Vec<Outcome>),
    /// Nothing more: it is over, and what that means for messages that were to follow.
    Nothing(Option<Outcome>),
}

impl Live {
    /// Connects and brings the session to where it takes messages.
    ///
    /// # Errors
    /// What it means for every recipient that the session did not come about: deferred, or failed.
    pub(crate) async fn open(terms: Terms<'_>, next_hop: &NextHop) -> Result<Self, Outcome> {
        let mut live = Self::connect(terms, next_hop).await.map_err(Outcome::Deferred)?;
        match live.next().await {
            Want::Job => Ok(live),
            Want::Nothing(end) => Err(end.unwrap_or_else(lost)),
            Want::Content | Want::Rewind | Want::Taken(_) => {
                Err(Outcome::Deferred(Trouble::new(Step::Hello, Reason::Protocol("out of turn".into()))))
            }
        }
    }

    async fn connect(terms: Terms<'_>, next_hop: &NextHop) -> Result<Self, Trouble> {
        let connector = terms.connector;
        let sign_in = connector.credential.as_ref().map(sign_in).transpose()?;
        let on_this_machine = matches!(next_hop.at, Socket::Unix(_));
        // What crosses no wire needs no protection.
        let requirement = if on_this_machine { TlsRequirement::NONE } else { connector.peer.requirement };
        let mut stream = Stream::connect(&next_hop.at).await?;
        let handshake = match terms.tls {
            Ok(tls) => Some(tls.handshake(&PeerPolicy::of(requirement))),
            Err(why) if !requirement.allows_clear() => {
                return Err(Trouble::new(Step::Tls, Reason::SecurityUnmet(why.clone())));
            }
            Err(_) => None,
        };
        let mut tls = match &handshake {
            Some(_) if terms.tls_use == TlsUse::AsPlanned => TlsStart::StartTls,
            _ => TlsStart::Never,
        };
        let is_implicit =
            matches!(&connector.to, Way::Smtp(hosts) if hosts.iter().any(|host| host.implicit_tls));
        if let Some(handshake) = handshake.as_ref().filter(|_| is_implicit) {
            let facts;
            (stream, facts) = stream.secure(handshake, &next_hop.host).await?;
            tls = TlsStart::Implicit(facts);
        }
        let now = Instant::now();
        let plan = Plan {
            protocol: protocol(&connector.to),
            hello: connector.hello.clone(),
            requirement,
            tls,
            sign_in,
            timeouts: Timeouts::default(),
        };
        Ok(Self {
            stream: Some(stream),
            session: ClientSession::new(plan, now),
            deadline: now + Timeouts::default().greeting,
            unsent: BytesMut::new(),
            handshake,
            connector: Arc::clone(connector),
            next_hop: next_hop.clone(),
            messages: 0,
        })
    }

    /// Delivers one message; one outcome per recipient of the job, in order.
    pub(crate) async fn deliver(&mut self, job: Job, body: &mut Body) -> Vec<Outcome> {
        let recipients = job.to.len();
        self.messages += 1;
        self.feed(Input::Deliver(job));
        loop {
            match self.next().await {
                Want::Content => self.give_content(body).await,
                Want::Rewind => body.rewind(),
                Want::Taken(outcomes) => return outcomes,
                Want::Job => {}
                Want::Nothing(end) => return vec![end.unwrap_or_else(lost); recipients],
            }
        }
    }

    /// Whether another message can go over this session.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.is_ready() && self.messages < self.connector.messages_per_connection
    }

    /// Whether the peer passes delivery status requests on (RFC 3461).
    pub(crate) fn passes_on_dsn(&self) -> bool {
        self.session.capabilities().is_some_and(|capabilities| capabilities.dsn)
    }

    /// How the connection is protected, in words for the log.
    pub(crate) fn protection(&self) -> String {
        let Some(facts) = self.session.tls() else { return "in clear".into() };
        let proof = match facts.peer.doubt() {
            _ if facts.peer.is_authenticated() => facts.peer.given.to_string(),
            Some(doubt) => format!("unverified: {doubt}"),
            None => "anonymous".to_owned(),
        };
        format!("{} {}, {proof}", facts.version, facts.cipher)
    }

    /// Ends the session politely, without waiting long.
    pub(crate) async fn quit(mut self) {
        self.feed(Input::Quit);
        let _ = timeout(FAREWELL, async { while !matches!(self.next().await, Want::Nothing(_)) {} }).await;
    }

    fn feed(&mut self, input: Input<'_>) {
        self.session.handle(Input::Time(Instant::now()));
        self.session.handle(input);
    }

    /// Runs the session until it wants something that only the caller has.
    async fn next(&mut self) -> Want {
        loop {
            while let Some(output) = self.session.poll() {
                match output {
                    Output::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                    Output::StartTls => self.upgrade().await,
                    Output::Content => return Want::Content,
                    Output::Rewind => return Want::Rewind,
                    Output::Outcomes(outcomes) => return Want::Taken(outcomes),
                    Output::Ready => return self.flushed(Want::Job).await,
                    Output::Wait { until } => self.deadline = until,
                    Output::Close(end) => return self.flushed(Want::Nothing(end)).await,
                }
            }
            self.flush().await;
            self.read().await;
        }
    }

    async fn flushed(&mut self, want: Want) -> Want {
        self.flush().await;
        want
    }

    async fn read(&mut self) {
        let Some(stream) = &mut self.stream else { return self.feed(Input::Closed) };
        let mut buffer = [0; READ_BUFFER];
        let read = tokio::time::timeout_at(self.deadline.into(), stream.read(&mut buffer)).await;
        match read {
            Ok(Ok(0) | Err(_)) => {
                self.stream = None;
                self.feed(Input::Closed);
            }
            Ok(Ok(count)) => self.feed(Input::Bytes(&buffer[..count])),
            Err(_) => {
                self.deadline = Instant::now() + NEVER;
                self.session.handle(Input::Time(Instant::now()));
            }
        }
    }

    /// Sends what is to be sent. When that fails the connection is over, for a part of it may have gone out and what
    /// follows must never be taken for its continuation. What the peer said before is heard all the same.
    async fn flush(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        let bytes = self.unsent.split();
        let Some(stream) = &mut self.stream else { return };
        let sending = timeout(WRITE, async {
            stream.write_all(&bytes).await?;
            stream.flush().await
        });
        if !matches!(sending.await, Ok(Ok(()))) {
            self.glance();
            self.stream = None;
        }
    }

    async fn upgrade(&mut self) {
        self.flush().await;
        let (Some(stream), Some(handshake)) = (self.stream.take(), &self.handshake) else {
            return self.feed(Input::Closed);
        };
        match stream.secure(handshake, &self.next_hop.host).await {
            Ok((stream, facts)) => {
                self.stream = Some(stream);
                self.feed(Input::TlsStarted(facts));
            }
            Err(trouble) => {
                self.feed(Input::TlsFailed(TlsFailure::new(TlsFault::Handshake, words(&trouble))))
            }
        }
    }

    /// Takes in what the peer has said already, without waiting: it may refuse in the middle of the content.
    fn glance(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = [0; READ_BUFFER];
        match stream.read(&mut buffer).now_or_never() {
            Some(Ok(0) | Err(_)) => {
                self.stream = None;
                self.feed(Input::Closed);
            }
            Some(Ok(count)) => self.feed(Input::Bytes(&buffer[..count])),
            None => {}
        }
    }

    /// Hands the session the next piece of content; once a buffer's worth is there, sends it.
    async fn give_content(&mut self, body: &mut Body) {
        match body.next().await {
            Ok(Some(piece)) => self.feed(Input::Content(&piece)),
            Ok(None) => self.feed(Input::ContentEnd),
            Err(error) => self.feed(Input::ContentFailed(error.to_string())),
        }
        if self.unsent.len() >= SEND_BUFFER {
            self.flush().await;
            self.glance();
        }
        // Without a connection there is nobody to give more to.
        if self.stream.is_none() {
            self.feed(Input::Closed);
        }
    }
}

fn words(trouble: &Trouble) -> String {
    match &trouble.reason {
        Reason::TlsFailed(why) => why.clone(),
        other => other.to_string(),
    }
}

fn lost() -> Outcome {
    Outcome::Deferred(Trouble::new(Step::Connect, Reason::ConnectionLost))
}

fn protocol(way: &Way) -> Protocol {
    match way {
        Way::Lmtp(_) => Protocol::Lmtp,
        Way::Mx { .. } | Way::Smtp(_) | Way::Maildir(_) | Way::TlsReports => Protocol::Smtp,
    }
}

/// What to sign in with on one connection.
fn sign_in(source: &CredentialSource) -> Result<SignIn, Trouble> {
    let credential = read_credential(source)?;
    let mut nonce = [0; 18];
    let random = postern_pki::provider().secure_random;
    random.fill(&mut nonce).map_err(|_| {
        let why = "this system gave no random numbers".to_owned();
        Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why))
    })?;
    Ok(SignIn { credential, nonce, only: None })
}

/// Read at each connection, so that a changed password counts at once.
fn read_credential(source: &CredentialSource) -> Result<Credential, Trouble> {
    let withheld = |why: String| Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why));
    let CredentialSource::Password(file) = source else {
        return Err(withheld("only a password can be sent".to_owned()));
    };
    read_password(file)
}

fn read_password(file: &CredentialFile) -> Result<Credential, Trouble> {
    let withheld = |why: String| Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why));
    let text = std::fs::read(&file.password_file)
        .map_err(|error| withheld(format!("{} cannot be read: {error}", file.password_file.display())))?;
    let line = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let password = line.strip_suffix(b"\r").unwrap_or(line);
    if password.is_empty() {
        return Err(withheld(format!("{} is empty", file.password_file.display())));
    }
    Ok(Credential::Password { user: file.user.clone(), password: Secret::new(password), acting_as: None })
}

/// A connection in clear, under TLS, or on this machine.
enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    async fn connect(socket: &Socket) -> Result<Self, Trouble> {
        let connecting = async {
            match socket {
                Socket::Tcp(address) => {
                    let stream = TcpStream::connect(address).await?;
                    let _ = stream.set_nodelay(true);
                    Ok(Self::Tcp(stream))
                }
                Socket::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
            }
        };
        let connected =
            timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error: io::Error| {
            Trouble::new(Step::Connect, Reason::ConnectFailed(without_os_code(error)))
        })
    }

    /// Does the handshake.
    async fn secure(self, handshake: &Handshake, host: &str) -> Result<(Self, TlsFacts), Trouble> {
        let failed = |why: String| Trouble::new(Step::Tls, Reason::TlsFailed(why));
        let Self::Tcp(stream) = self else {
            return Err(failed("TLS is not spoken on a local socket".into()));
        };
        let name = postern_pki::server_name(host.trim_matches(['[', ']']))
            .map_err(|error| failed(error.to_string()))?;
        let connecting = TlsConnector::from(handshake.config()).connect(name, stream);
        let stream = match timeout(HANDSHAKE, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failed(postern_pki::describe(&error))),
            Err(_) => return Err(failed("the handshake stalled".into())),
        };
        let facts = handshake.facts(stream.get_ref().1);
        Ok((Self::Tls(Box::new(stream)), facts))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
