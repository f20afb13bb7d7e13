//! Drives one [`ServerSession`] over one connection: bytes in, outputs out, questions to the policy.
//!
//! Everything that is decided is decided in the session or by the [`Policy`], which is the gate (a script when
//! transcripts are played over the network); what stands here is only I/O. Memory is bounded: there is space for what
//! a client sends only while something is there to be read, and for replies only until they are sent.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use postern_pki::{ClientIdentity, MinimumVersion, Shown, client_identity, facts_of_server};
use postern_smtp::command::Introduction;
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::server::{
    Beginning, CloseReason, Dialogue, FrontEnd, Input, Output, Question, ServerSession, Settings, Verdict,
};
use postern_smtp::text::without_os_code;
use postern_smtp::tls::{HandshakeFault, TlsFacts, TlsOffer};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use super::gate::{Client, Gate};
use super::listener::{Crowded, Listener, ServerTls};
use super::opening::{Begin, Either, First, Heard, Silences, Start};
use super::proxy;
use super::stream::{Stream, Tap};
use crate::config::{Greets, ListenerTls};
use crate::daemon::{Phase, Shared};
use crate::event::{Event, Subject};
use crate::session::{Keeping, Opening, Recorder, Stopped, TlsBegun, TlsStood};

/// A client has this long to say its PROXY header and to finish a handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// A session that did not end at its deadline is told the time again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// What is read at once: the most that a TLS record holds (RFC 8446 §5.1).
const READ_MOST: usize = 16 * 1024;
/// Replies to a pipelined group are sent together up to about this size.
const UNSENT_MOST: usize = 16 * 1024;
/// A client that takes no replies for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// A client that is turned away has this long to take the reply.
const TURN_AWAY: Duration = Duration::from_secs(1);
/// A client has this long to close after our last reply, and to finish a handshake once we shut down.
const FAREWELL: Duration = Duration::from_secs(2);

/// A connection that was just accepted.
pub(crate) struct Arrival {
    /// The other end.
    pub(crate) client: SocketAddr,
    /// The port of ours that it came to.
    pub(crate) port: u16,
    /// Where it came in.
    pub(crate) listener: Arc<Listener>,
    /// The daemon.
    pub(crate) shared: Arc<Shared>,
    /// Whether the daemon still runs.
    pub(crate) phase: watch::Receiver<Phase>,
}

/// Serves a connection from its first byte to its last.
pub(crate) async fn serve(mut stream: TcpStream, mut arrival: Arrival) {
    if let Err(error) = arrival.meet_front_end(&mut stream).await {
        return arrival.refuse(&error.to_string());
    }
    if let Err(reply) = arrival.check_limits(Timestamp::now()) {
        return arrival.send_away(stream, &reply).await;
    }
    let name = arrival.listener.config.name.clone();
    let whole = arrival.shared.site.load().config.sessions;
    let own = arrival.listener.config.limits.sessions;
    let place = match arrival.shared.sessions.enter(whole, &name, own, arrival.client.ip()) {
        Ok(place) => place,
        Err(crowded) => return arrival.turn_away(stream, crowded).await,
    };
    let id = arrival.shared.session_id();
    let observer = arrival.shared.observer.clone();
    observer
        .emit(Subject::Session(id.clone()), Event::SessionOpened { listener: name, client: arrival.client });
    let client =
        Client { address: arrival.client, port: arrival.port, session: id.clone(), place: Some(place) };
    let reason = match Box::pin(converse(stream, arrival, client)).await {
        Ok(ending) => ending,
        Err(reason) => Ending { reason, messages: 0 },
    };
    let Ending { reason, messages } = reason;
    observer.emit(Subject::Session(id), Event::SessionClosed { reason, messages });
}

impl Arrival {
    /// Learns the real client's address from a front end that is trusted to say it.
    async fn meet_front_end(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        let from = self.client.ip();
        if !self.listener.config.proxy_from.iter().any(|network| network.contains(&from)) {
            return Ok(());
        }
        if let Some(real) = timeout(HANDSHAKE, proxy::read_header(stream)).await?? {
            self.client = SocketAddr::new(real.ip().to_canonical(), real.port());
        }
        Ok(())
    }

    pub(super) fn refuse(&self, reason: &str) {
        self.shared.observer.daemon(Event::SessionRefused {
            listener: self.listener.config.name.clone(),
            client: self.client,
            reason: reason.to_owned(),
        });
    }

    /// Too many sessions.
    async fn turn_away(&self, stream: TcpStream, crowded: Crowded) {
        let hostname = &self.listener.settings.hostname;
        let reply = match crowded {
            Crowded::Full => catalogue::too_busy(hostname),
            Crowded::Client => catalogue::too_many_sessions(hostname),
        };
        self.refuse(&reply.one_line());
        self.send_away(stream, &reply).await;
    }

    /// Who is turned away has a case, but no session.
    fn count(&self, reply: &Reply) {
        let rules = self.shared.site.load().config.kept_sessions;
        if self.shared.keeper.wants(&rules) {
            let record = Recorder::new(self.listener.entrance(self.port), Keeping::All);
            let facts = record.turned_away(self.client, reply);
            self.shared.keeper.turned_away(&facts, &rules, Timestamp::now());
        }
    }

    /// Says why where the client can read it (not where a handshake is expected, which would cost more than the session that
    /// is refused), and closes.
    async fn send_away(&self, mut stream: TcpStream, reply: &Reply) {
        self.count(reply);
        if self.listener.config.tls.greets(self.port) == Greets::InClear {
            let _ = timeout(TURN_AWAY, stream.write_all(reply.to_string().as_bytes())).await;
        }
    }
}

/// How a session ended.
struct Ending {
    /// How, in words.
    reason: String,
    /// Messages accepted in it.
    messages: u32,
}

/// # Errors
/// No session could begin, for this reason.
async fn converse(stream: TcpStream, arrival: Arrival, client: Client) -> Result<Ending, String> {
    let listener = Arc::clone(&arrival.listener);
    let terms = Terms::of(&arrival)?;
    let gate = Gate::new(Arc::clone(&arrival.shared), listener, client);
    let (stop, session, mut gate) = match Driver::begin(stream, terms, gate, arrival.phase).await {
        Ok(mut driver) => (driver.run().await, Some(driver.session), driver.policy),
        Err((stop, gate)) => (stop, None, gate),
    };
    let ending = Ending { reason: stop.to_string(), messages: gate.accepted };
    gate.conclude(session.as_ref(), stop.into());
    Ok(ending)
}

/// What a driver works by, besides its policy.
struct Terms {
    settings: Arc<Settings>,
    tls: Option<ServerTls>,
    start: Start,
    /// For the session's nonces.
    seed: [u8; 32],
    front_end: FrontEnd,
}

impl Terms {
    /// For a client at this address. Where a load balancer has told it, it is that client that may say XCLIENT or not, and not
    /// everybody who comes through the load balancer.
    ///
    /// # Errors
    /// Local: the system has no randomness to give. Then no session could keep its nonces apart.
    fn of(Arrival { client, port, listener, shared, .. }: &Arrival) -> Result<Self, String> {
        let peer = client.ip();
        let mut seed = [0; 32];
        let filled = postern_pki::provider().secure_random.fill(&mut seed);
        filled.map_err(|_| "this system gave no random numbers".to_owned())?;
        Ok(Self {
            settings: listener.settings_for(peer),
            tls: listener.tls.clone(),
            start: start(listener, peer, *port, shared),
            seed,
            front_end: listener.config.xclient.of(peer),
        })
    }
}

/// How the listener begins with a client at this address.
fn start(listener: &Listener, client: IpAddr, port: u16, shared: &Shared) -> Start {
    let greets = listener.config.tls.greets(port);
    match listener.config.tls {
        ListenerTls::Offered | ListenerTls::Required => Start::Banner,
        ListenerTls::Implicit => Start::Tls,
        ListenerTls::Auto(_) => Start::Either(Either {
            greets,
            client,
            habits: Arc::clone(&shared.habits),
            silences: Silences::on(greets),
        }),
    }
}

/// What a handshake came to.
#[derive(Debug, Clone)]
pub(crate) struct Established {
    /// What is true of the connection.
    pub(crate) facts: TlsFacts,
    /// Who the client is, when its certificate was verified.
    pub(crate) client: Option<ClientIdentity>,
    /// Whether the certificate that was shown bears the name that the client asked for.
    pub(crate) name_borne: Option<bool>,
}

/// What a driver asks and tells.
trait Policy: Send {
    /// Decides.
    fn answer(&mut self, question: Question) -> impl Future<Output = Verdict> + Send;
    /// Takes a piece of content.
    fn content(&mut self, bytes: Bytes) -> impl Future<Output = ()> + Send;
    /// Forgets the content streamed so far.
    fn discard(&mut self);
    /// A front end says who the client is; nothing that was known of the one before counts.
    fn introduce(&mut self, introduction: Introduction);
    /// TLS has begun, and nothing that was known before counts (RFC 3207 §4.2).
    fn start_over(&mut self, established: Established, begun: TlsBegun);
    /// A handshake failed, for this reason in words.
    fn tls_failed(&mut self, fault: HandshakeFault, reason: String);
    /// What the client sent first, in clear, as far as that is known by now.
    fn opened(&mut self, opening: Opening);
    /// Its ClientHello, and whether the certificate that it was shown bears the name that it asked for.
    fn offered(&mut self, offer: TlsOffer, name_borne: Option<bool>);
    /// Whether anybody wants to know what is said.
    fn keeps(&self) -> bool {
        true
    }
    /// What was said so far.
    fn overheard(&mut self, _dialogue: &Dialogue) {}
}

impl Policy for Gate {
    async fn answer(&mut self, question: Question) -> Verdict {
        Self::answer(self, question).await
    }

    async fn content(&mut self, bytes: Bytes) {
        Self::content(self, bytes).await;
    }

    fn discard(&mut self) {
        Self::discard(self);
    }

    fn introduce(&mut self, introduction: Introduction) {
        Self::introduce(self, introduction);
    }

    fn start_over(&mut self, established: Established, begun: TlsBegun) {
        let TlsFacts { version, cipher, server_name, .. } = established.facts.clone();
        let name_borne = established.name_borne;
        let stood = TlsStood { begun, version, cipher, server_name, name_borne };
        self.record().tls(stood.clone());
        let TlsStood { version, cipher, server_name, .. } = stood;
        self.emit(Event::TlsStarted { version, cipher, server_name });
        Self::start_over(self, established);
    }

    fn tls_failed(&mut self, fault: HandshakeFault, reason: String) {
        let listener = self.listener.config.name.clone();
        let reason = self.with_advice(reason);
        self.record().tls_failed(fault, reason.clone());
        self.emit(Event::TlsFailed { client: self.client.address, listener, fault, reason });
    }

    fn opened(&mut self, opening: Opening) {
        self.record().opening(opening);
    }

    fn offered(&mut self, offer: TlsOffer, name_borne: Option<bool>) {
        self.record().offer(offer, name_borne);
    }

    fn keeps(&self) -> bool {
        self.record().keeping() == Keeping::All
    }

    fn overheard(&mut self, dialogue: &Dialogue) {
        Self::overheard(self, dialogue);
    }
}

/// The loop of one session.
struct Driver<P> {
    /// `None` only while a handshake is under way, and after one has failed.
    stream: Option<Stream>,
    tls: Option<ServerTls>,
    session: ServerSession,
    policy: P,
    phase: watch::Receiver<Phase>,
    deadline: Instant,
    unsent: BytesMut,
    /// What it says first in clear; `None`: that is over, or TLS came first.
    first: Option<First>,
}

/// Why the loop ended.
#[derive(Debug)]
enum Stop {
    Closed(CloseReason),
    Lost(io::Error),
    Tls,
    /// An ACME authority looked at the challenge certificate, and that was all.
    Validated,
}

/// What came from outside.
enum Arrived {
    /// Bytes, or their end; the session has them already.
    Bytes,
    Deadline,
    Drain,
}

impl<P: Policy> Driver<P> {
    /// Begins a session; the handshake comes before everything else (RFC 8314 §3) where the port, or the client, wants it so.
    /// All time counts from here: for the handshake, and for the session.
    async fn begin(
        stream: TcpStream,
        Terms { settings, tls, start, seed, front_end }: Terms,
        mut policy: P,
        mut phase: watch::Receiver<Phase>,
    ) -> Result<Self, (Stop, P)> {
        let began = Instant::now();
        let begin = match &start {
            Start::Banner => Begin::Banner,
            Start::Tls => Begin::Tls,
            Start::Either(either) => either.look(&stream, &mut phase).await,
        };
        let mut stream = Stream::Clear(stream);
        let (mut facts, mut first) = (None, None);
        match begin {
            Begin::Banner => first = Some(First::new(start.either())),
            Begin::Tls => {
                let means = Means { tls: tls.clone(), begun: TlsBegun::AtOnce, since: began };
                match Box::pin(start_tls(stream, means, &mut policy, &mut phase)).await {
                    Ok((secured, established)) => {
                        (stream, facts) = (secured, Some(established.facts.clone()));
                        policy.start_over(established, TlsBegun::AtOnce);
                    }
                    Err(stop) => return Err((stop, policy)),
                }
            }
        }
        let mut session = ServerSession::new(settings, Beginning { tls: facts, seed, front_end }, began);
        if !policy.keeps() {
            session.keep_no_dialogue();
        }
        let (deadline, unsent) = (Instant::now() + HANDSHAKE, BytesMut::new());
        Ok(Self { stream: Some(stream), tls, session, policy, phase, deadline, unsent, first })
    }

    /// Serves the client to the end.
    async fn run(&mut self) -> Stop {
        let mut drained = false;
        loop {
            if let Err(stop) = self.perform().await {
                return self.stop(stop).await;
            }
            self.policy.overheard(self.session.dialogue());
            match self.wait(drained).await {
                Ok(Arrived::Bytes) => self.hurry(),
                Ok(Arrived::Deadline) => {
                    self.deadline = Instant::now() + AGAIN;
                    match self.first.take_if(|first| first.is_half_hello()) {
                        Some(first) => feed(&mut self.session, Input::Bytes(&first.held())),
                        None => self.session.handle(Input::Time(Instant::now())),
                    }
                }
                Ok(Arrived::Drain) => {
                    drained = true;
                    feed(&mut self.session, Input::Drain);
                }
                Err(error) => return self.stop(Stop::Lost(error)).await,
            }
        }
    }

    /// Whoever begins TLS behind the banner gets nowhere any more. The rest of its hello, which says what it is, follows at
    /// once or not at all.
    fn hurry(&mut self) {
        if self.first.as_ref().is_some_and(First::is_half_hello) {
            self.deadline = self.deadline.min(Instant::now() + FAREWELL);
        }
    }

    /// Performs everything the session wants done until it waits for something from outside.
    async fn perform(&mut self) -> Result<(), Stop> {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => self.say(&bytes).await?,
                Output::Ask(question) => self.ask(question).await?,
                Output::Body(bytes) => self.policy.content(bytes).await,
                Output::Discard => self.policy.discard(),
                Output::Introduce(introduction) => self.policy.introduce(introduction),
                Output::StartTls => self.upgrade().await?,
                Output::Wait { until } => self.deadline = until,
                Output::Close(reason) => return Err(Stop::Closed(reason)),
            }
        }
        self.flush().await
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.unsent.extend_from_slice(bytes);
        if self.unsent.len() < UNSENT_MOST {
            return Ok(());
        }
        self.flush().await
    }

    async fn ask(&mut self, question: Question) -> Result<(), Stop> {
        if matches!(question, Question::Take(_) | Question::Authenticate(_)) {
            self.flush().await?;
        }
        let verdict = self.policy.answer(question).await;
        feed(&mut self.session, Input::Verdict(verdict));
        Ok(())
    }

    /// Sends what is unsent. Its space is given back, so that an idle client costs none.
    async fn flush(&mut self) -> Result<(), Stop> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.unsent);
        let Some(stream) = &mut self.stream else { return Err(Stop::Tls) };
        bounded(WRITE_TIMEOUT, stream.send(&bytes)).await.map_err(Stop::Lost)
    }

    async fn upgrade(&mut self) -> Result<(), Stop> {
        self.flush().await?;
        let Some(stream) = self.stream.take() else { return Err(Stop::Tls) };
        let means = Means { tls: self.tls.clone(), begun: TlsBegun::StartTls, since: Instant::now() };
        let (stream, established) =
            Box::pin(start_tls(stream, means, &mut self.policy, &mut self.phase)).await?;
        self.stream = Some(stream);
        let facts = established.facts.clone();
        self.policy.start_over(established, TlsBegun::StartTls);
        feed(&mut self.session, Input::TlsStarted(facts));
        Ok(())
    }

    /// A drain goes first: a client that never pauses must not keep it from being heard. The deadline can go last: the
    /// session learns the time with every byte.
    async fn wait(&mut self, drained: bool) -> io::Result<Arrived> {
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        tokio::select! {
            biased;
            () = draining(&mut self.phase), if !drained => Ok(Arrived::Drain),
            read = read_into(&mut self.session, &mut self.policy, &mut self.first, stream) => read.map(|()| Arrived::Bytes),
            () = sleep_until(self.deadline.into()) => Ok(Arrived::Deadline),
        }
    }

    async fn stop(&mut self, stop: Stop) -> Stop {
        match &stop {
            Stop::Closed(_) => {
                let _ = self.flush().await;
                if let Some(stream) = &mut self.stream {
                    let _ = timeout(FAREWELL, stream.close()).await;
                }
            }
            Stop::Lost(error) => self.hear_alert(error),
            Stop::Tls | Stop::Validated => {}
        }
        stop
    }

    /// Some clients judge our certificate only when the handshake is done, and say then what they think of it.
    fn hear_alert(&mut self, error: &io::Error) {
        let fault = postern_pki::handshake_fault(error);
        if matches!(fault, HandshakeFault::Alert(_)) {
            self.policy.tls_failed(fault, postern_pki::describe(error));
        }
    }
}

pub(super) async fn draining(phase: &mut watch::Receiver<Phase>) {
    // An error says that the daemon is gone altogether.
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

fn feed(session: &mut ServerSession, input: Input<'_>) {
    session.handle(Input::Time(Instant::now()));
    session.handle(input);
}

/// Hands the session what the client sends next. There is space for it only while something is there to be read: a
/// client that idles costs none.
async fn read_into<P: Policy>(
    session: &mut ServerSession,
    policy: &mut P,
    first: &mut Option<First>,
    stream: &mut Stream,
) -> io::Result<()> {
    poll_fn(|context| {
        let mut space = [const { MaybeUninit::uninit() }; READ_MOST];
        let mut bytes = ReadBuf::uninit(&mut space);
        match ready!(Pin::new(&mut *stream).poll_read(context, &mut bytes)) {
            // A TCP end without TLS's own: SMTP says itself where a message ends, so nothing can be cut short by it.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => feed(session, Input::Closed),
            Err(error) => return Poll::Ready(Err(error)),
            Ok(()) if bytes.filled().is_empty() => feed(session, Input::Closed),
            Ok(()) => hear(session, policy, first, bytes.filled()),
        }
        Poll::Ready(Ok(()))
    })
    .await
}

/// Hands the session what came, and tells the policy what the client says first in clear until it is known what that is.
fn hear<P: Policy>(session: &mut ServerSession, policy: &mut P, first: &mut Option<First>, octets: &[u8]) {
    let Some(listening) = first else { return feed(session, Input::Bytes(octets)) };
    match listening.hear(octets) {
        Heard::Beginning(opening) => policy.opened(opening),
        Heard::HalfHello => return policy.opened(Opening::Tls),
        Heard::Whole(opening) => {
            *first = None;
            policy.opened(opening);
        }
        Heard::Hello(offer, all) => {
            *first = None;
            policy.opened(Opening::Tls);
            if let Some(offer) = offer {
                policy.offered(offer, None);
            }
            return feed(session, Input::Bytes(&all));
        }
    }
    feed(session, Input::Bytes(octets));
}

/// What a handshake is done with.
struct Means {
    tls: Option<ServerTls>,
    begun: TlsBegun,
    /// Since when its time runs.
    since: Instant,
}

/// Does the handshake with a client. A failure is recorded here. Nobody holds up a shutdown by not going on with it.
async fn start_tls<P: Policy>(
    stream: Stream,
    Means { tls, begun, since }: Means,
    policy: &mut P,
    phase: &mut watch::Receiver<Phase>,
) -> Result<(Stream, Established), Stop> {
    let Some(tls) = tls else {
        policy.tls_failed(HandshakeFault::NoIdentity, "no usable certificate is loaded".into());
        return Err(Stop::Tls);
    };
    let tap = Tap::default();
    let time = HANDSHAKE.saturating_sub(since.elapsed());
    let done = tokio::select! {
        done = bounded(time, stream.start_tls(&tls, tap.clone())) => done.map_err(Unsecured::Failed),
        () = async { draining(phase).await; sleep(FAREWELL).await } => Err(Unsecured::Drained),
    };
    let octets = tap.take();
    if begun == TlsBegun::AtOnce {
        policy.opened(Opening::of(&octets));
    }
    let offer = TlsOffer::parse(&octets);
    if let Some(offer) = &offer {
        let name_borne = offer.server_name.as_deref().and_then(|name| tap.bears(name));
        policy.offered(offer.clone(), name_borne);
    }
    match done {
        Ok(mut stream) if stream.is_validation() => {
            let _ = timeout(FAREWELL, stream.close()).await;
            Err(Stop::Validated)
        }
        Ok(stream) => {
            let connection = stream.tls().ok_or(Stop::Tls)?;
            let mut facts = facts_of_server(connection, &tls.certificates, Timestamp::now());
            facts.channel_bindings.server_end_point = stream.shown().and_then(Shown::end_point);
            let client = client_identity(connection, &facts);
            let asked = facts.server_name.as_deref();
            let name_borne = asked.and_then(|name| stream.shown()?.bears(name));
            Ok((stream, Established { facts, client, name_borne }))
        }
        Err(unsecured) => {
            let (fault, reason) = unsecured.explain(offer.as_ref(), tls.minimum);
            policy.tls_failed(fault, reason);
            Err(Stop::Tls)
        }
    }
}

/// Why a handshake did not come about.
enum Unsecured {
    Failed(io::Error),
    Drained,
}

impl Unsecured {
    /// As a kind, and in words.
    fn explain(self, offer: Option<&TlsOffer>, minimum: MinimumVersion) -> (HandshakeFault, String) {
        let error = match self {
            Self::Failed(error) => error,
            Self::Drained => return (HandshakeFault::Drained, "the server shuts down".to_owned()),
        };
        let fault = postern_pki::handshake_fault(&error);
        let reason = postern_pki::describe_client(&error, minimum);
        match (fault, offer) {
            // The TLS library knows nothing so old.
            (HandshakeFault::NotTls, Some(_)) => {
                let why = format!(
                    "{}: it sends the hello of SSL 2.0, as only very old programs do",
                    postern_pki::too_old(minimum)
                );
                (HandshakeFault::NoCommonVersion, why)
            }
            // The library looks for groups first; whoever names none wants to send the key under ours.
            (HandshakeFault::NoCommonGroup, Some(offer)) if offer.groups.is_empty() => {
                let why =
                    "both sides have no cipher suite in common: the client offers none with forward secrecy";
                (HandshakeFault::NoCommonCipher, why.to_owned())
            }
            _ => (fault, reason),
        }
    }
}

async fn bounded<T>(most: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(most, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl From<Stop> for Stopped {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Closed(reason) => Self::Closed(reason),
            Stop::Lost(error) => Self::Lost(without_os_code(error)),
            Stop::Tls => Self::Tls,
            Stop::Validated => Self::Validated,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(reason) => f.write_str(describe(*reason)),
            Self::Lost(error) => write!(f, "connection lost ({error})"),
            Self::Tls => f.write_str("TLS failed"),
            Self::Validated => f.write_str("an ACME authority validated a name (TLS-ALPN-01)"),
        }
    }
}

fn describe(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Quit => "QUIT",
        CloseReason::ClientLeft => "the client left",
        CloseReason::TimedOut => "the client was silent for too long",
        CloseReason::TooManyErrors => "too many errors",
        CloseReason::Violation => "protocol violation",
        CloseReason::Refused => "refused",
        CloseReason::Drained => "the server shuts down",
    }
}

#[cfg(test)]
mod beginnings;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod transcripts;
#[cfg(test)]
mod wire;
