//! Drives one [`ServerSession`] over one connection: bytes in, outputs out, questions to the gate.
//!
//! Everything that is decided is decided in the session or in the gate; what stands here is only I/O. Memory is
//! bounded: one read buffer that grows while content streams and shrinks when the client idles.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use postern_pki::facts_of_server;
use postern_smtp::reply::catalogue;
use postern_smtp::server::{CloseReason, Input, Output, Question, ServerSession, TlsMode};
use postern_smtp::tls::TlsFacts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::gate::{Client, Gate};
use super::listener::{Crowded, Listener, Place};
use super::proxy;
use super::stream::Stream;
use crate::daemon::{Phase, Shared};
use crate::event::{Event, Subject};

/// A client has this long to say its PROXY header and to finish a handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);
/// After a deadline has fired there is none until the session names another.
const NEVER: Duration = Duration::from_secs(86_400);
/// What an idle client costs.
const BUFFER_LEAST: usize = 1024;
/// What a client that streams content costs.
const BUFFER_MOST: usize = 64 * 1024;
/// A client that takes no replies for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A connection that was just accepted.
pub(crate) struct Arrival {
    /// The other end.
    pub(crate) client: SocketAddr,
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
    let name = arrival.listener.config.name.clone();
    let place = arrival.shared.sessions.enter(&arrival.listener.config, arrival.client.ip());
    let place = match place {
        Ok(place) => place,
        Err(crowded) => return arrival.turn_away(stream, crowded).await,
    };
    let id = arrival.shared.session_id();
    let observer = arrival.shared.observer.clone();
    observer
        .emit(Subject::Session(id.clone()), Event::SessionOpened { listener: name, client: arrival.client });
    let (reason, messages) = Box::pin(converse(stream, arrival, id.clone(), place)).await;
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

    fn refuse(&self, reason: &str) {
        self.shared.observer.daemon(Event::SessionRefused {
            listener: self.listener.config.name.clone(),
            client: self.client,
            reason: reason.to_owned(),
        });
    }

    /// Too many sessions: says so where the client can read it (not before an implicit handshake, which would cost
    /// more than the session that is refused).
    async fn turn_away(&self, mut stream: TcpStream, crowded: Crowded) {
        let hostname = &self.listener.settings.hostname;
        let reply = match crowded {
            Crowded::Listener => catalogue::too_busy(hostname),
            Crowded::Address => catalogue::too_many_sessions(hostname),
        };
        self.refuse(&reply.one_line());
        if self.listener.settings.tls != TlsMode::Implicit {
            let _ = timeout(Duration::from_secs(1), stream.write_all(reply.to_string().as_bytes())).await;
        }
    }
}

/// How a session ended, in words, and how many messages it brought.
type Ending = (String, u32);

async fn converse(stream: TcpStream, arrival: Arrival, id: String, _place: Place) -> Ending {
    let mut stream = Stream::Clear(stream);
    let listener = Arc::clone(&arrival.listener);
    let client = Client { address: arrival.client, session: id };
    let mut gate = Gate::new(Arc::clone(&arrival.shared), Arc::clone(&listener), client);
    let mut facts = None;
    if listener.settings.tls == TlsMode::Implicit {
        match start_tls(stream, &listener, &gate).await {
            Some((secured, established)) => (stream, facts) = (secured, Some(established)),
            None => return ("TLS failed".into(), 0),
        }
    }
    let session = ServerSession::new(Arc::clone(&listener.settings), facts.clone(), Instant::now());
    gate.tls = facts;
    let mut driver = Driver {
        stream: Some(stream),
        session,
        gate,
        listener,
        deadline: Instant::now() + HANDSHAKE,
        unsent: BytesMut::new(),
        buffer: Vec::new(),
    };
    let reason = driver.run(arrival.phase).await;
    (reason, driver.gate.accepted)
}

/// The loop of one session.
struct Driver {
    stream: Option<Stream>,
    session: ServerSession,
    gate: Gate,
    listener: Arc<Listener>,
    deadline: Instant,
    unsent: BytesMut,
    buffer: Vec<u8>,
}

/// Why the loop ended.
enum Stop {
    Closed(CloseReason),
    Lost(io::Error),
    Tls,
}

/// What came from outside.
enum Arrived {
    Bytes(usize),
    Deadline,
    Drain,
}

impl Driver {
    async fn run(&mut self, mut phase: watch::Receiver<Phase>) -> String {
        let mut drained = false;
        loop {
            if let Err(stop) = self.perform().await {
                return self.stop(stop).await;
            }
            match self.wait(&mut phase, drained).await {
                Ok(Arrived::Bytes(0)) => self.feed(Input::Closed),
                Ok(Arrived::Bytes(count)) => self.feed_buffer(count),
                Ok(Arrived::Deadline) => {
                    self.deadline = Instant::now() + NEVER;
                    self.session.handle(Input::Time(Instant::now()));
                }
                Ok(Arrived::Drain) => {
                    drained = true;
                    self.feed(Input::Drain);
                }
                Err(error) => return self.stop(Stop::Lost(error)).await,
            }
        }
    }

    fn feed(&mut self, input: Input<'_>) {
        self.session.handle(Input::Time(Instant::now()));
        self.session.handle(input);
    }

    fn feed_buffer(&mut self, count: usize) {
        self.session.handle(Input::Time(Instant::now()));
        self.session.handle(Input::Bytes(&self.buffer[..count]));
        self.resize_buffer(count);
    }

    /// A full buffer doubles, a nearly empty one shrinks.
    fn resize_buffer(&mut self, count: usize) {
        if count == self.buffer.len() && count < BUFFER_MOST {
            self.buffer.resize(count * 4, 0);
        } else if count < BUFFER_LEAST && self.buffer.len() > BUFFER_LEAST {
            self.buffer = Vec::new();
        }
    }

    /// Performs everything the session wants done until it waits for something from outside.
    async fn perform(&mut self) -> Result<(), Stop> {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => self.unsent.extend_from_slice(&bytes),
                Output::Ask(question) => self.ask(question).await?,
                Output::Body(bytes) => self.gate.content(bytes).await,
                Output::Discard => self.gate.discard(),
                Output::StartTls => self.upgrade().await?,
                Output::Wait { until } => self.deadline = until,
                Output::Close(reason) => return Err(Stop::Closed(reason)),
            }
        }
        self.flush().await
    }

    async fn ask(&mut self, question: Question) -> Result<(), Stop> {
        if matches!(question, Question::Take(_) | Question::Authenticate(_)) {
            self.flush().await?;
        }
        let verdict = self.gate.answer(question).await;
        self.session.handle(Input::Time(Instant::now()));
        self.session.handle(Input::Verdict(verdict));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let bytes: Bytes = self.unsent.split().freeze();
        let Some(stream) = &mut self.stream else { return Err(Stop::Tls) };
        bounded(WRITE_TIMEOUT, stream.send(&bytes)).await.map_err(Stop::Lost)
    }

    async fn upgrade(&mut self) -> Result<(), Stop> {
        self.flush().await?;
        let Some(stream) = self.stream.take() else { return Err(Stop::Tls) };
        let Some((stream, facts)) = start_tls(stream, &self.listener, &self.gate).await else {
            return Err(Stop::Tls);
        };
        self.stream = Some(stream);
        self.gate.start_over(facts.clone());
        self.feed(Input::TlsStarted(facts));
        Ok(())
    }

    async fn wait(&mut self, phase: &mut watch::Receiver<Phase>, drained: bool) -> io::Result<Arrived> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER_LEAST];
        }
        let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
        tokio::select! {
            biased;
            read = stream.read(&mut self.buffer) => read.map(Arrived::Bytes),
            _ = phase.wait_for(|phase| *phase != Phase::Running), if !drained => Ok(Arrived::Drain),
            () = tokio::time::sleep_until(self.deadline.into()) => Ok(Arrived::Deadline),
        }
    }

    async fn stop(&mut self, stop: Stop) -> String {
        match stop {
            Stop::Closed(reason) => {
                let _ = self.flush().await;
                if let Some(stream) = &mut self.stream {
                    let _ = timeout(Duration::from_secs(5), stream.shutdown()).await;
                }
                describe(reason).to_owned()
            }
            Stop::Lost(error) => format!("connection lost ({error})"),
            Stop::Tls => "TLS failed".to_owned(),
        }
    }
}

/// Does the handshake with a client; `None` when it failed (which is then already recorded).
async fn start_tls(stream: Stream, listener: &Listener, gate: &Gate) -> Option<(Stream, TlsFacts)> {
    let Some(config) = listener.tls.clone() else {
        gate.emit(Event::TlsFailed { reason: "no usable certificate is loaded".into() });
        return None;
    };
    match bounded(HANDSHAKE, stream.start_tls(config)).await {
        Ok(stream) => {
            let facts = facts_of_server(stream.tls()?);
            gate.emit(Event::TlsStarted {
                version: facts.version.clone(),
                cipher: facts.cipher.clone(),
                server_name: facts.server_name.clone(),
            });
            Some((stream, facts))
        }
        Err(error) => {
            gate.emit(Event::TlsFailed { reason: postern_pki::describe(&error) });
            None
        }
    }
}

async fn bounded<T>(most: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(most, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
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
