//! One connection to a next hop: drives a [`ClientSession`] over TCP, TLS or a local socket.
//!
//! Like its counterpart in `inbound`, this is only I/O: what may be said when, and what a reply means, the session
//! knows.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt as _;
use postern_pki::{ClientHello, ClientTls, Handshake, PeerPolicy};
use postern_queue::Body;
use postern_smtp::client::{ClientSession, Input, Job, Output, Plan, Protocol, Timeouts, TlsStart};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::sasl::{Credential, SignIn};
use postern_smtp::tls::{Demands, TlsFacts, TlsFailure, TlsFault};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::credential;
use super::ladder::Rung;
use super::plan::HostTerms;
use super::route::{NextHop, Socket};
use super::stream::Stream;
use crate::config::{Connector, Way};

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
pub(crate) struct Opening<'a> {
    /// The connector.
    pub(crate) connector: &'a Arc<Connector>,
    /// Where to.
    pub(crate) next_hop: &'a NextHop,
    /// The name to ask for in the handshake, and that the certificate must bear.
    pub(crate) server_name: &'a str,
    /// Whether TLS starts with the first byte.
    pub(crate) implicit_tls: bool,
    /// What must hold.
    pub(crate) terms: &'a HostTerms,
    /// The trusted roots, or why there are none.
    pub(crate) tls: &'a Result<ClientTls, String>,
    /// How TLS is gone about.
    pub(crate) rung: Rung,
    /// What to sign in with.
    pub(crate) credential: Option<Credential>,
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
    server_name: String,
    /// What had to hold when it was opened.
    pub(crate) terms: HostTerms,
    /// Why the peer broke the connection off, when it was about our certificate.
    refused: Option<TlsFailure>,
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
    /// What it means for every recipient that the session did not come about: deferred, or failed, with what was seen.
    pub(crate) async fn open(opening: Opening<'_>) -> Result<Self, Outcome> {
        let (host, demands) = (opening.next_hop.to_string(), &opening.terms.demands);
        let mut live = Self::connect(opening.clone()).await.map_err(|mut trouble| {
            witness(&mut trouble, &host, None, demands);
            Outcome::Deferred(trouble)
        })?;
        match live.next().await {
            Want::Job => Ok(live),
            Want::Nothing(end) => {
                let refused = live.refused.as_ref().map(|failure| Outcome::Deferred(tls_failed(failure)));
                Err(live.witnessed(refused.or(end).unwrap_or_else(lost)))
            }
            Want::Content | Want::Rewind | Want::Taken(_) => {
                Err(Outcome::Deferred(Trouble::new(Step::Hello, Reason::Protocol("out of turn".into()))))
            }
        }
    }

    async fn connect(opening: Opening<'_>) -> Result<Self, Trouble> {
        let Opening { connector, next_hop, server_name, terms, .. } = opening;
        let requirement = terms.peer.requirement;
        let mut stream = Stream::connect(&next_hop.at, &connector.source).await?;
        let handshake = handshake(&opening)?;
        let mut tls = if handshake.is_some() { TlsStart::StartTls } else { TlsStart::Never };
        if let (Some(handshake), true) = (&handshake, opening.implicit_tls) {
            let secured = stream.secure(handshake, server_name).await;
            let facts;
            (stream, facts) = secured.map_err(|failure| tls_failed(&failure))?;
            tls = TlsStart::Implicit(facts);
        }
        let now = Instant::now();
        let plan = Plan {
            protocol: protocol(&connector.to),
            hello: connector.hello.clone(),
            requirement,
            tls,
            sign_in: opening
                .credential
                .map(|credential| {
                    sign_in(credential::shown_to(credential, server_name, &next_hop.at), connector)
                })
                .transpose()?,
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
            server_name: server_name.to_owned(),
            terms: terms.clone(),
            refused: None,
            messages: 0,
        })
    }

    /// An outcome with what was seen of the host.
    fn witnessed(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Deferred(trouble) | Outcome::Failed(trouble) = &mut outcome {
            witness(trouble, &self.next_hop.to_string(), self.session.tls(), &self.terms.demands);
        }
        outcome
    }

    /// Our end of the connection.
    pub(crate) fn local_address(&self) -> Option<IpAddr> {
        self.stream.as_ref()?.local_address()
    }

    /// What is true of TLS on the connection.
    pub(crate) fn facts(&self) -> Option<&TlsFacts> {
        self.session.tls()
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
                Want::Taken(outcomes) => {
                    return outcomes.into_iter().map(|outcome| self.witnessed(outcome)).collect();
                }
                Want::Job => {}
                Want::Nothing(end) => return vec![self.witnessed(end.unwrap_or_else(lost)); recipients],
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
            Ok(Ok(0)) => self.ended(None),
            Ok(Err(error)) => self.ended(Some(&error)),
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
        match stream.secure(handshake, &self.server_name).await {
            Ok((stream, facts)) => {
                self.stream = Some(stream);
                self.feed(Input::TlsStarted(facts));
            }
            Err(failure) => self.feed(Input::TlsFailed(failure)),
        }
    }

    /// Takes in what the peer has said already, without waiting: it may refuse in the middle of the content.
    fn glance(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut buffer = [0; READ_BUFFER];
        match stream.read(&mut buffer).now_or_never() {
            Some(Ok(0)) => self.ended(None),
            Some(Err(error)) => self.ended(Some(&error)),
            Some(Ok(count)) => self.feed(Input::Bytes(&buffer[..count])),
            None => {}
        }
    }

    /// The peer is gone. In TLS 1.3 it refuses our certificate, or that we have none, only after the handshake and with
    /// an alert (RFC 8446 §4.4.2.4): that is worth more than the news that it is gone.
    fn ended(&mut self, error: Option<&io::Error>) {
        let failure = error.zip(self.handshake.as_ref()).map(|(error, handshake)| handshake.failure(error));
        self.refused = failure.filter(|failure| failure.fault == TlsFault::ClientCertificate);
        self.stream = None;
        self.feed(Input::Closed);
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

/// The handshake to be made, if any. Without trusted roots there is none, and where more than opportunistic TLS is
/// demanded no session either.
fn handshake(opening: &Opening<'_>) -> Result<Option<Handshake>, Trouble> {
    let requirement = opening.terms.peer.requirement;
    match opening.tls {
        _ if opening.rung == Rung::Clear || matches!(opening.next_hop.at, Socket::Unix(_)) => Ok(None),
        Ok(tls) if opening.rung == Rung::SmallHello => {
            let small = PeerPolicy { hello: ClientHello::Small, ..opening.terms.peer.clone() };
            Ok(Some(tls.handshake(&small)))
        }
        Ok(tls) => Ok(Some(tls.handshake(&opening.terms.peer))),
        Err(_) if requirement.allows_clear() && !opening.implicit_tls => Ok(None),
        Err(why) => {
            let failure = TlsFailure::new(TlsFault::OurTrust, why.clone());
            Err(Trouble::of_tls(Reason::SecurityUnmet(why.clone()), &failure))
        }
    }
}

/// What to sign in with on one connection.
fn sign_in(credential: Credential, connector: &Connector) -> Result<SignIn, Trouble> {
    let mut nonce = [0; 18];
    postern_pki::provider().secure_random.fill(&mut nonce).map_err(|_| {
        let why = "this system gave no random numbers".to_owned();
        Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why))
    })?;
    Ok(SignIn { credential, nonce, only: connector.mechanism })
}

fn tls_failed(failure: &TlsFailure) -> Trouble {
    Trouble::of_tls(Reason::TlsFailed(failure.why.clone()), failure)
}

/// Adds what was seen. The protocol and the demands are worth keeping only where TLS is the trouble.
pub(crate) fn witness(trouble: &mut Trouble, host: &str, tls: Option<&TlsFacts>, demands: &Demands) {
    let about_tls = trouble.fault().is_some() || trouble.step == Step::Tls;
    let evidence = trouble.evidence_mut();
    evidence.host = Some(host.to_owned());
    if about_tls {
        evidence.protocol = tls.map(TlsFacts::protocol);
        evidence.demands = demands.clone();
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
