//! The driver and a client of it, joined by a real connection on loopback.
//!
//! A [`Loopback`] has the certificate and the runtime; [`Wire`] is one session: the driver as the daemon runs it, with a
//! transcript's [`Script`] for its policy, and a client that does what a transcript (or a test) says. Nothing here
//! sleeps: everything waits for something that comes, and [`PATIENCE`] is only how long a failure takes.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use postern_pki::{
    Challenges, ClientCa, ClientCertificates, ClientTls, MinimumVersion, PeerPolicy, PrivateCa,
    ServerOptions, Tickets, TlsIdentity, TrustAnchors, server_name,
};
use postern_smtp::command::Introduction;
use postern_smtp::sasl::Binding;
use postern_smtp::server::{Question, TlsMode, Verdict};
use postern_smtp::tls::{HandshakeFault, TlsOffer, TlsRequirement};
use postern_testkit::transcript::{ClientCertificate, SEED, Scenario, Script, Server};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Driver, Established, Policy, Stop, Terms, bounded};
use crate::daemon::Phase;
use crate::inbound::certificates::Authority;
use crate::inbound::listener::ServerTls;
use crate::inbound::opening::Start;
use crate::session::{Opening, TlsBegun};

/// How long anything may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);
const HOSTNAME: &str = "mail.example.org";

/// What all sessions of a test share.
pub(super) struct Loopback {
    runtime: Runtime,
    server: ServerTls,
    /// The same, but it asks clients for certificates.
    asking: ServerTls,
    client: ClientTls,
    /// What the asking server trusts, and what it does not.
    verified: Arc<TlsIdentity>,
    unproved: Arc<TlsIdentity>,
}

impl Loopback {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let ca = PrivateCa::open_or_create(folder.path(), "Transcripts", now).unwrap();
        let (trusted, foreign) = (Authority::new(), Authority::new());
        let options = ServerOptions {
            identities: vec![Arc::new(identity(&ca, folder.path(), now))],
            default_name: None,
            minimum: MinimumVersion::default(),
            tickets: Tickets::default(),
            client_certificates: ClientCertificates::Ignored,
        };
        let asked = ClientCertificates::Asked(ClientCa::load(&trusted.root()).unwrap());
        let asking = ServerOptions { client_certificates: asked, ..options.clone() };
        Self {
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
            server: ServerTls::new(&options, &Challenges::default()).unwrap(),
            asking: ServerTls::new(&asking, &Challenges::default()).unwrap(),
            client: ClientTls::new(&TrustAnchors::File(ca.root_pem_path())).unwrap(),
            verified: trusted.identity("tim@example.org"),
            unproved: foreign.identity("tim@example.org"),
        }
    }

    /// A client has connected; where TLS is implicit, its handshake is done.
    pub(super) fn connect(&self, scenario: &Scenario) -> Wire<'_> {
        let mut wire = self.connect_only(scenario);
        if scenario.settings.tls == TlsMode::Implicit {
            wire.start_tls().unwrap();
        }
        wire
    }

    /// A client has connected, and no more.
    pub(super) fn connect_only(&self, scenario: &Scenario) -> Wire<'_> {
        let implicit = scenario.settings.tls == TlsMode::Implicit;
        self.connect_saying(b"", if implicit { Start::Tls } else { Start::Banner }, scenario)
    }

    /// A client has connected and said this before the driver looks.
    pub(super) fn connect_saying(&self, words: &[u8], start: Start, scenario: &Scenario) -> Wire<'_> {
        let script = Arc::new(Mutex::new(Script::new(scenario)));
        let (phase, running) = watch::channel(Phase::Running);
        let server = match scenario.certificate {
            ClientCertificate::Absent => &self.server,
            ClientCertificate::Unproved | ClientCertificate::Verified => &self.asking,
        };
        let terms = terms(scenario, start, scenario.settings.tls_available.then(|| server.clone()));
        let noted = Arc::default();
        let policy = Scripted(Arc::clone(&script), Arc::clone(&noted));
        let (mut ours, theirs) = self.within(connection());
        self.within(async {
            ours.write_all(words).await.unwrap();
            if !words.is_empty() {
                theirs.readable().await.unwrap();
            }
        });
        let driver = self.runtime.spawn(async move {
            match Driver::begin(theirs, terms, policy, running).await {
                Ok(mut driver) => driver.run().await,
                Err((stop, _)) => stop,
            }
        });
        let client = Client::Clear(ours);
        let certificate = scenario.certificate;
        let (heard, driver) = (Vec::new(), Some(driver));
        let spoken = Vec::new();
        Wire { loopback: self, client, certificate, spoken, heard, end: None, driver, phase, script, noted }
    }

    /// A driver that has not yet done anything, in clear, and its client.
    pub(super) fn driver(
        &self,
        scenario: &Scenario,
        phase: watch::Receiver<Phase>,
    ) -> (Driver<Scripted>, TcpStream) {
        let policy = Scripted(Arc::new(Mutex::new(Script::new(scenario))), Arc::default());
        let (ours, theirs) = self.within(connection());
        let begun = self.within(Driver::begin(theirs, terms(scenario, Start::Banner, None), policy, phase));
        (begun.unwrap_or_else(|(stop, _)| panic!("{stop}")), ours)
    }

    /// The same with implicit TLS, for a client that says it speaks these protocols (RFC 7301).
    pub(super) fn connect_speaking(&self, spoken: &[&[u8]], scenario: &Scenario) -> Wire<'_> {
        let mut wire = self.connect_only(scenario);
        wire.spoken = spoken.iter().map(|protocol| protocol.to_vec()).collect();
        wire.start_tls().unwrap();
        wire
    }

    /// Opens a challenge for the host name: the certificate that an authority is to be shown.
    pub(super) fn open_challenge(&self) -> CertificateDer<'static> {
        let challenge = CertifiedKey::clone(&self.verified.certified_key);
        let shown = challenge.cert[0].clone();
        self.server.challenges.set(HOSTNAME, challenge);
        shown
    }

    /// A program connects and ends; what the driver told of it.
    pub(super) fn visit(&self, scenario: &Scenario, start: impl FnOnce(SocketAddr) -> Child) -> Noted {
        let noted = Arc::default();
        let policy = Scripted(Arc::new(Mutex::new(Script::new(scenario))), Arc::clone(&noted));
        let (_phase, running) = watch::channel(Phase::Running);
        let mut program = self.within(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let program = start(listener.local_addr().unwrap());
            let (theirs, _) = listener.accept().await.unwrap();
            let terms = terms(scenario, Start::Tls, Some(self.server.clone()));
            if let Ok(mut driver) = Driver::begin(theirs, terms, policy, running).await {
                driver.run().await;
            }
            program
        });
        program.wait().unwrap();
        let noted = noted.lock().unwrap();
        noted.clone()
    }

    pub(super) fn within<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { timeout(PATIENCE, work).await.expect("in time") })
    }
}

fn terms(scenario: &Scenario, start: Start, tls: Option<ServerTls>) -> Terms {
    let settings = Arc::new(scenario.settings.clone());
    Terms { settings, tls, start, seed: SEED, front_end: scenario.front_end }
}

fn identity(ca: &PrivateCa, folder: &Path, now: Timestamp) -> postern_pki::TlsIdentity {
    ca.ensure_server_identity(folder, &[HOSTNAME.to_owned()], now).unwrap().loaded.identity
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    // As the listener does, and for the client so that each piece travels alone.
    theirs.set_nodelay(true).unwrap();
    ours.set_nodelay(true).unwrap();
    (ours, theirs)
}

/// A transcript's policy in the gate's place.
pub(super) struct Scripted(Arc<Mutex<Script>>, Arc<Mutex<Noted>>);

/// What a driver tells of how the client began.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    pub(super) opening: Opening,
    pub(super) offer: Option<TlsOffer>,
    pub(super) begun: Option<TlsBegun>,
    pub(super) name_borne: Option<bool>,
    pub(super) fault: Option<(HandshakeFault, String)>,
}

impl Policy for Scripted {
    async fn answer(&mut self, question: Question) -> Verdict {
        self.0.lock().unwrap().answer(&question)
    }

    async fn content(&mut self, bytes: Bytes) {
        self.0.lock().unwrap().content(&bytes);
    }

    fn discard(&mut self) {
        self.0.lock().unwrap().discard();
    }

    fn introduce(&mut self, introduction: Introduction) {
        self.0.lock().unwrap().introduce(introduction);
    }

    fn start_over(&mut self, established: Established, begun: TlsBegun) {
        self.0.lock().unwrap().start_over();
        let mut noted = self.1.lock().unwrap();
        (noted.begun, noted.name_borne) = (Some(begun), established.name_borne);
    }

    fn tls_failed(&mut self, fault: HandshakeFault, reason: String) {
        self.1.lock().unwrap().fault = Some((fault, reason));
    }

    fn opened(&mut self, opening: Opening) {
        self.1.lock().unwrap().opening = opening;
    }

    fn offered(&mut self, offer: TlsOffer, _: Option<bool>) {
        self.1.lock().unwrap().offer = Some(offer);
    }
}

/// One session.
pub(super) struct Wire<'a> {
    loopback: &'a Loopback,
    client: Client,
    certificate: ClientCertificate,
    /// The protocols that the client says it speaks over TLS.
    spoken: Vec<Vec<u8>>,
    /// What the client has read and nobody has looked at.
    heard: Vec<u8>,
    /// How the server's side ended, when the client has seen it.
    end: Option<io::Result<()>>,
    driver: Option<JoinHandle<Stop>>,
    phase: watch::Sender<Phase>,
    script: Arc<Mutex<Script>>,
    noted: Arc<Mutex<Noted>>,
}

enum Client {
    Clear(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    Gone,
}

impl Wire<'_> {
    /// The certificate that the client was shown.
    pub(super) fn shown(&self) -> CertificateDer<'static> {
        let Client::Tls(stream) = &self.client else { panic!("there is no TLS") };
        stream.get_ref().1.peer_certificates().expect("a handshake")[0].clone().into_owned()
    }

    /// What the client calls the channel, worked out from its own side.
    pub(super) fn bindings(&self) -> [Binding; 2] {
        let Client::Tls(stream) = &self.client else { panic!("there is no TLS") };
        let exporter =
            stream.get_ref().1.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""));
        // The private CA signs with SHA-256.
        let certificate = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.shown());
        [
            Binding::tls_exporter(exporter.expect("TLS 1.3")),
            Binding::tls_server_end_point(certificate.as_ref()),
        ]
    }

    /// What the driver told of how the client began.
    pub(super) fn noted(&self) -> Noted {
        self.noted.lock().unwrap().clone()
    }

    /// The first octet that the server says.
    pub(super) fn first_octet(&mut self) -> Option<u8> {
        while self.heard.is_empty() && self.end.is_none() {
            self.read();
        }
        self.heard.first().copied()
    }

    /// The client ends its side, and goes on reading.
    pub(super) fn half_close(&mut self) {
        let Self { loopback, client, .. } = self;
        // The server may have closed already.
        let _ = loopback.within(async {
            match client {
                Client::Clear(stream) => stream.shutdown().await,
                Client::Tls(stream) => stream.shutdown().await,
                Client::Gone => Ok(()),
            }
        });
    }

    /// The client closes TCP without a word of TLS.
    pub(super) fn vanish(&mut self) {
        let socket = match std::mem::replace(&mut self.client, Client::Gone) {
            Client::Clear(socket) => socket,
            Client::Tls(stream) => stream.into_inner().0,
            Client::Gone => return,
        };
        drop(socket);
    }

    /// All that the server says from here to its end, or how the connection broke.
    pub(super) fn rest(&mut self) -> Result<String, String> {
        while self.end.is_none() {
            self.read();
        }
        match &self.end {
            Some(Err(error)) => Err(format!("{error}, after {}", self.heard.escape_ascii())),
            _ => Ok(String::from_utf8_lossy(&std::mem::take(&mut self.heard)).into_owned()),
        }
    }

    /// The driver's reason to stop.
    pub(super) fn stop(&mut self) -> Stop {
        let driver = self.driver.take().expect("asked once");
        let stop = self.loopback.within(driver).expect("the driver does not panic");
        if let Stop::Closed(_) = stop {
            self.script.lock().unwrap().assert_nothing_is_left();
        }
        stop
    }

    /// After a transcript that leaves the session open: nothing more is said, and it ends with the client.
    pub(super) fn finish(mut self) -> Result<(), String> {
        if self.driver.is_none() {
            return Ok(());
        }
        self.half_close();
        match (self.closed(), self.end.take()) {
            (Some(reason), Some(Ok(()))) if reason == "clientleft" => Ok(()),
            other => Err(format!("at the end: {other:?}")),
        }
    }

    fn read(&mut self) {
        let Self { loopback, client, heard, end, .. } = self;
        let read = async {
            match client {
                Client::Clear(stream) => stream.read_buf(heard).await,
                Client::Tls(stream) => stream.read_buf(heard).await,
                Client::Gone => Ok(0),
            }
        };
        match loopback.runtime.block_on(bounded(PATIENCE, read)) {
            Ok(0) => *end = Some(Ok(())),
            Ok(_) => {}
            Err(error) => *end = Some(Err(error)),
        }
    }

    /// Reads what is there already.
    fn glance(&mut self) {
        let Self { loopback, client, heard, .. } = self;
        loopback.within(async {
            yield_now().await;
            std::future::poll_fn(|context| {
                let mut space = [0; 1024];
                let mut read = ReadBuf::new(&mut space);
                let _ = match client {
                    Client::Clear(stream) => Pin::new(stream).poll_read(context, &mut read),
                    Client::Tls(stream) => Pin::new(stream).poll_read(context, &mut read),
                    Client::Gone => Poll::Pending,
                };
                heard.extend_from_slice(read.filled());
                Poll::Ready(())
            })
            .await;
        });
    }

    fn line_length(&self) -> Option<usize> {
        self.heard.windows(2).position(|pair| pair == b"\r\n")
    }
}

impl Server for Wire<'_> {
    fn send(&mut self, octets: &[u8]) {
        let Self { loopback, client, end, .. } = self;
        let sent = loopback.within(async {
            match client {
                Client::Clear(stream) => stream.write_all(octets).await?,
                Client::Tls(stream) => {
                    stream.write_all(octets).await?;
                    stream.flush().await?;
                }
                Client::Gone => {}
            }
            // The driver gets a turn, so that pieces do not pile up.
            yield_now().await;
            Ok(())
        });
        // A server that has ended its side still takes what comes: a reset could have cost the client a reply.
        if let Err(error) = sent {
            *end = Some(Err(error));
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(length) = self.line_length() {
                let line: Vec<u8> = self.heard.drain(..length + 2).collect();
                return String::from_utf8(line[..length].to_vec()).ok();
            }
            if self.end.is_some() {
                return None;
            }
            self.read();
        }
    }

    fn is_quiet(&mut self) -> bool {
        self.glance();
        self.line_length().is_none()
    }

    fn start_tls(&mut self) -> Result<(), String> {
        let Client::Clear(stream) = std::mem::replace(&mut self.client, Client::Gone) else {
            return Err("TLS is started already".to_owned());
        };
        let identity = match self.certificate {
            ClientCertificate::Absent => None,
            ClientCertificate::Unproved => Some(Arc::clone(&self.loopback.unproved)),
            ClientCertificate::Verified => Some(Arc::clone(&self.loopback.verified)),
        };
        let policy = PeerPolicy { identity, ..PeerPolicy::of(TlsRequirement::REQUIRED) };
        let mut config = ClientConfig::clone(&self.loopback.client.handshake(&policy).config());
        config.alpn_protocols.clone_from(&self.spoken);
        let connector = TlsConnector::from(Arc::new(config));
        let name = server_name(HOSTNAME).map_err(|error| error.to_string())?;
        let stream =
            self.loopback.within(connector.connect(name, stream)).map_err(|error| error.to_string())?;
        self.client = Client::Tls(Box::new(stream));
        Ok(())
    }

    fn wait(&mut self, _: Duration) {
        panic!("over the network nobody travels in time");
    }

    fn drain(&mut self) {
        self.phase.send(Phase::Draining).expect("the driver listens");
    }

    fn hang_up(&mut self) {
        self.client = Client::Gone;
    }

    /// The reason is the driver's own. After a handshake that failed it is not the session's: then any is right, and
    /// the client may have got an alert; else nothing may have been said that no step expected.
    fn closed(&mut self) -> Option<String> {
        let rest = self.rest();
        self.client = Client::Gone;
        let stop = self.stop();
        Some(match (stop, rest.as_deref()) {
            (Stop::Tls, Ok(_)) => "closed".to_owned(),
            (Stop::Closed(reason), Ok("")) => format!("{reason:?}").to_lowercase(),
            other => format!("{other:?}"),
        })
    }

    fn asked(&mut self) -> Option<String> {
        self.script.lock().unwrap().asked()
    }

    fn body(&mut self) -> Option<Vec<u8>> {
        self.script.lock().unwrap().take_body()
    }

    fn discarded(&mut self) -> bool {
        if let (Client::Gone, Some(driver)) = (&self.client, &self.driver) {
            // The client has left; the driver is to have seen that.
            self.loopback.within(async {
                while !driver.is_finished() {
                    yield_now().await;
                }
            });
        }
        self.script.lock().unwrap().holds_nothing()
    }
}
