//! Records the sessions that the diagnoses are tested with: real programs, or words as a program says them, against the
//! daemon's own driver, session, TLS and recorder, over real connections.
//!
//! Each [`Scene`] becomes a file `CAUSE--PROGRAM-SETTING.json` with the [`Facts`]; what the policy decides in it is told by the
//! scene, in the catalogue's own replies. `POSTERN_BLESS=1 cargo test -p postern-mta recordings` records all of them anew, for
//! which swaks, msmtp, curl, openssl and python3 must be installed. Without it those scenes that need no program are played and
//! must lead to the same diagnosis as their recording; the recordings themselves are looked at in
//! [`diagnosis::session`](crate::diagnosis::session).
//!
//! Nothing sleeps: a client that waits does so because the program gives up by its own time limit.

mod scenes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use postern_pki::{
    Challenges, ClientCa, ClientCertificates, MinimumVersion, PrivateCa, ServerOptions, Tickets,
};
use postern_smtp::command::Introduction;
use postern_smtp::reply::Reply;
use postern_smtp::sasl::{Claim, Credential};
use postern_smtp::server::{FrontEnd, Question, Settings, TlsMode, Verdict};
use postern_smtp::tls::{HandshakeFault, TlsFacts, TlsOffer};
use postern_testkit::transcript::{SEED, Transcript};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Driver, Established, Policy, Terms};
use crate::config::{Greets, Otherwise, Role};
use crate::daemon::Phase;
use crate::diagnosis::session::diagnose;
use crate::directory::SignInFault;
use crate::event::{Event, Proof};
use crate::inbound::certificates::Authority;
use crate::inbound::listener::ServerTls;
use crate::inbound::opening::Start;
use crate::session::{Closing, End, Entrance, Facts, Keeping, Opening, Recorder, TlsBegun, TlsStood};

const PATIENCE: Duration = Duration::from_mins(1);
const HOSTNAME: &str = "mail.example.org";
/// Who comes, in every recording.
const CLIENT: &str = "192.0.2.7:50000";

/// One session to be recorded.
pub(super) struct Scene {
    /// `CAUSE--PROGRAM-SETTING`; the cause is `healthy` where nothing is to be found.
    name: &'static str,
    /// `relay`, `submission` or `submissions`.
    listener: &'static str,
    /// What is changed in the listener's settings.
    settings: fn(&mut Settings),
    /// What the server has to show.
    tls: Shows,
    /// What the policy decides; without a decision it says yes.
    decisions: Vec<Decision>,
    /// What the client does.
    client: Vec<Do>,
}

/// What the server has to show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shows {
    /// A certificate for the host name.
    Certificate,
    /// None.
    Nothing,
    /// A certificate, and it demands one of the client.
    AndDemands,
}

/// What the policy says no to.
#[derive(Clone)]
pub(super) enum Decision {
    /// At this command, with this reply, and what the client is not told.
    At(&'static str, Reply, Option<&'static str>),
    /// Signing in.
    SignIn(SignInFault, Reply),
    /// There is no session at all.
    TurnedAway(Reply),
}

/// What a client does.
#[derive(Clone)]
pub(super) enum Do {
    /// Says a line and reads the reply.
    Say(&'static str),
    /// Sends octets as they are.
    Raw(&'static [u8]),
    /// Reads a reply.
    Read,
    /// Begins TLS, trusting our root, and asks for this name.
    Tls(&'static str),
    /// Begins TLS and finds the certificate so.
    Rejects(CertificateError),
    /// Reads to the end.
    Wait,
    /// Breaks the connection off.
    Reset,
    /// This program does everything; `{port}` and `{root}` are filled in.
    Program(Vec<String>),
}

impl Scene {
    fn needs_a_program(&self) -> bool {
        self.client.iter().any(|step| matches!(step, Do::Program(_)))
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("src/diagnosis/session/recorded/{}.json", self.name))
    }

    fn cause(&self) -> &str {
        self.name.split("--").next().unwrap_or_default()
    }
}

/// What all scenes share.
struct Stage {
    runtime: Runtime,
    root: PathBuf,
    server: ServerTls,
    demanding: ServerTls,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let ca = PrivateCa::open_or_create(folder.path(), "Recordings", now).unwrap();
        let names = [HOSTNAME.to_owned()];
        let identity = ca.ensure_server_identity(folder.path(), &names, now).unwrap().loaded.identity;
        let trusted = Authority::new();
        let options = ServerOptions {
            identities: vec![Arc::new(identity)],
            default_name: None,
            minimum: MinimumVersion::default(),
            tickets: Tickets::default(),
            client_certificates: ClientCertificates::Ignored,
        };
        let demanded = ClientCertificates::Required(ClientCa::load(&trusted.root()).unwrap());
        let demanding = ServerOptions { client_certificates: demanded, ..options.clone() };
        Self {
            runtime: Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
            root: ca.root_pem_path(),
            server: ServerTls::new(&options, &Challenges::default()).unwrap(),
            demanding: ServerTls::new(&demanding, &Challenges::default()).unwrap(),
            _folder: folder,
        }
    }

    /// Plays a scene; what the recorder has of it.
    fn play(&self, scene: &Scene) -> Facts {
        let work = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let served = tokio::spawn(serve(listener, self.terms(scene), House::of(scene)));
            let client = Client { stream: None, port, root: self.root.clone() };
            client.perform(&scene.client).await;
            let served = timeout(PATIENCE, served).await;
            served.unwrap_or_else(|_| panic!("{}: the server waits", scene.name)).unwrap()
        };
        self.runtime.block_on(work)
    }

    fn terms(&self, scene: &Scene) -> Terms {
        let text = format!("listener: {}\n\nHANGUP\n", scene.listener);
        let mut settings = Transcript::parse(&text).unwrap().scenario.settings;
        (scene.settings)(&mut settings);
        settings.tls_available = scene.tls != Shows::Nothing;
        let start = if settings.tls == TlsMode::Implicit { Start::Tls } else { Start::Banner };
        let tls = match scene.tls {
            Shows::Certificate => Some(self.server.clone()),
            Shows::Nothing => None,
            Shows::AndDemands => Some(self.demanding.clone()),
        };
        Terms { settings: Arc::new(settings), tls, start, seed: SEED, front_end: FrontEnd::No }
    }
}

async fn serve(listener: TcpListener, terms: Terms, house: House) -> Facts {
    let recorder = Arc::clone(&house.0);
    let (stream, _) = listener.accept().await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (_sender, phase) = watch::channel(Phase::Running);
    let (stop, session) = match Driver::begin(stream, terms, house, phase).await {
        Ok(mut driver) => (driver.run().await, Some(driver.session)),
        Err((stop, _)) => (stop, None),
    };
    let mut inside = recorder.lock().unwrap();
    let Inside { record, user, accepted, turned_away, .. } = &mut *inside;
    let closing = Closing {
        id: "recorded".to_owned(),
        client: CLIENT.parse().unwrap(),
        user: user.clone(),
        accepted: *accepted,
        stop: stop.into(),
    };
    let mut facts = record.take().unwrap().finish(session.as_ref(), closing);
    facts.began = "2026-01-01T12:00:00Z".parse().unwrap();
    if let Some(reply) = turned_away {
        let token = reply.help_token().map(str::to_owned);
        facts.end = End::TurnedAway { reason: reply.one_line(), token };
    }
    facts
}

/// The policy of a scene, and the recorder that it tells.
struct House(Arc<Mutex<Inside>>);

struct Inside {
    record: Option<Recorder>,
    decisions: Vec<Decision>,
    user: Option<String>,
    accepted: u32,
    turned_away: Option<Reply>,
}

impl House {
    fn of(scene: &Scene) -> Self {
        let (port, role, greets) = match scene.listener {
            "relay" => (25, Role::Relay, Greets::InClear),
            "submissions" => (465, Role::Submission, Greets::AfterTls),
            _ => (587, Role::Submission, Greets::InClear),
        };
        let otherwise = Otherwise::Fails;
        let place = Entrance { listener: scene.listener.to_owned(), port, role, greets, otherwise };
        let turned_away = scene.decisions.iter().find_map(|decision| match decision {
            Decision::TurnedAway(reply) => Some(reply.clone()),
            _ => None,
        });
        Self(Arc::new(Mutex::new(Inside {
            record: Some(Recorder::new(place, Keeping::All)),
            decisions: scene.decisions.clone(),
            user: None,
            accepted: 0,
            turned_away,
        })))
    }
}

impl Inside {
    fn tell(&mut self, event: &Event) {
        self.record.as_mut().unwrap().event(event);
    }

    fn answer(&mut self, question: &Question) -> Verdict {
        let (at, address) = match question {
            Question::Connect => ("connect", None),
            Question::Hello(_) => ("EHLO", None),
            Question::Mail(mail) => ("MAIL", mail.from.mailbox().map(ToString::to_string)),
            Question::Rcpt(rcpt) => ("RCPT", Some(rcpt.to.to_string())),
            Question::Take(_) => ("end of content", None),
            Question::Authenticate(claim) => return self.sign_in(claim),
        };
        if let Some((reply, why)) = self.decided(at, address.as_deref()) {
            let (token, one_line) = (reply.help_token(), reply.one_line());
            let (client, why) = (Self::client().ip(), why.map(str::to_owned));
            self.tell(&Event::Refused { at, address, client, policy: None, why, token, reply: one_line });
            return Verdict::Refuse(reply);
        }
        if let Question::Take(_) = question {
            self.accepted += 1;
            return Verdict::Queued { id: "0D4K1V7M2Q8ZT".to_owned() };
        }
        Verdict::Accept
    }

    /// What was decided there; a decision that names an address is for that one only.
    fn decided(&self, at: &str, address: Option<&str>) -> Option<(Reply, Option<&'static str>)> {
        self.decisions.iter().find_map(|decision| match decision {
            Decision::At(place, reply, why) if *place == at => Some((reply.clone(), *why)),
            Decision::At(place, reply, why) if Some(*place) == address => Some((reply.clone(), *why)),
            _ => None,
        })
    }

    fn sign_in(&mut self, claim: &Claim) -> Verdict {
        let (user, by) = match claim {
            Claim::Credential(Credential::Password { user, .. }) => (user.clone(), Proof::Password),
            Claim::Credential(Credential::Token { user, .. }) => (user.clone(), Proof::Token),
            Claim::Credential(Credential::External { .. }) => {
                ("tim@example.org".to_owned(), Proof::Certificate)
            }
            Claim::Keys { user, .. } | Claim::Scram { user, .. } => (user.clone(), Proof::Scram),
        };
        let refused = self.decisions.iter().find_map(|decision| match decision {
            Decision::SignIn(fault, reply) => Some((*fault, reply.clone())),
            _ => None,
        });
        let Some((fault, reply)) = refused else {
            self.user = Some(user.clone());
            self.tell(&Event::SignedIn { user: user.clone(), by });
            return Verdict::SignedIn { user };
        };
        let client = Self::client().ip();
        let one_line = reply.one_line();
        self.tell(&Event::SignInFailed { user, by, fault, client, why: None, reply: one_line });
        Verdict::Refuse(reply)
    }

    fn client() -> SocketAddr {
        CLIENT.parse().unwrap()
    }
}

impl Policy for House {
    async fn answer(&mut self, question: Question) -> Verdict {
        self.0.lock().unwrap().answer(&question)
    }

    async fn content(&mut self, _: Bytes) {}

    fn discard(&mut self) {}

    fn introduce(&mut self, _: Introduction) {}

    fn start_over(&mut self, established: Established, begun: TlsBegun) {
        let TlsFacts { version, cipher, server_name, .. } = established.facts;
        let name_borne = established.name_borne;
        let stood = TlsStood { begun, version, cipher, server_name, name_borne };
        self.0.lock().unwrap().record.as_mut().unwrap().tls(stood);
    }

    fn tls_failed(&mut self, fault: HandshakeFault, reason: String) {
        self.0.lock().unwrap().record.as_mut().unwrap().tls_failed(fault, reason);
    }

    fn opened(&mut self, opening: Opening) {
        self.0.lock().unwrap().record.as_mut().unwrap().opening(opening);
    }

    fn offered(&mut self, offer: TlsOffer, name_borne: Option<bool>) {
        self.0.lock().unwrap().record.as_mut().unwrap().offer(offer, name_borne);
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

struct Client {
    stream: Option<Box<dyn Duplex>>,
    port: u16,
    root: PathBuf,
}

impl Client {
    async fn perform(mut self, steps: &[Do]) {
        if let [Do::Program(words)] = steps {
            return self.run(words).await;
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if steps.iter().any(|step| matches!(step, Do::Reset)) {
            stream.set_zero_linger().unwrap();
        }
        self.stream = Some(Box::new(stream));
        for step in steps {
            self.step(step).await;
        }
    }

    async fn step(&mut self, step: &Do) {
        match step {
            Do::Say(line) => {
                self.send(format!("{line}\r\n").as_bytes()).await;
                self.reply().await;
            }
            Do::Raw(octets) => self.send(octets).await,
            Do::Read => self.reply().await,
            Do::Tls(name) => self.begin(name, self.trusting()).await,
            Do::Rejects(error) => self.begin(HOSTNAME, rejecting(error.clone())).await,
            Do::Wait => {
                let Some(stream) = &mut self.stream else { return };
                let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.unwrap();
            }
            Do::Reset => self.stream = None,
            Do::Program(_) => unreachable!("a program does everything"),
        }
    }

    async fn send(&mut self, octets: &[u8]) {
        let Some(stream) = &mut self.stream else { return };
        let _ = stream.write_all(octets).await;
        let _ = stream.flush().await;
    }

    /// Reads to the last line of a reply, or to the end.
    async fn reply(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut line = Vec::new();
        loop {
            match timeout(PATIENCE, stream.read_u8()).await.unwrap() {
                Err(_) => return,
                Ok(b'\n') if line.get(3) == Some(&b' ') => return,
                Ok(b'\n') => line.clear(),
                Ok(octet) => line.push(octet),
            }
        }
    }

    async fn begin(&mut self, name: &str, config: ClientConfig) {
        let Some(stream) = self.stream.take() else { return };
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        if let Ok(stream) = timeout(PATIENCE, connector.connect(name, stream)).await.unwrap() {
            self.stream = Some(Box::new(stream));
        }
    }

    fn trusting(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.root).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(postern_pki::provider());
        builder
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// Whether it succeeds is the scene's own matter.
    async fn run(self, words: &[String]) {
        let root = self.root.display().to_string();
        let (port, name) = (self.port.to_string(), words[0].clone());
        let words: Vec<String> =
            words.iter().map(|word| word.replace("{port}", &port).replace("{root}", &root)).collect();
        let work = tokio::task::spawn_blocking(move || {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().unwrap_or_else(|error| {
                panic!("{name}: {error}: apt-get install swaks msmtp curl openssl python3")
            })
        });
        timeout(PATIENCE, work).await.unwrap().unwrap();
    }
}

fn rejecting(error: CertificateError) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(postern_pki::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    builder.with_custom_certificate_verifier(Arc::new(Rejecting(error))).with_no_client_auth()
}

/// A client that does not like any certificate.
#[derive(Debug)]
struct Rejecting(CertificateError);

impl ServerCertVerifier for Rejecting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Err(rustls::Error::InvalidCertificate(self.0.clone()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        postern_pki::provider().signature_verification_algorithms.supported_schemes()
    }
}

#[test]
fn what_is_played_leads_to_the_cause_that_is_recorded() {
    let stage = Stage::new();
    let bless = std::env::var_os("POSTERN_BLESS").is_some();
    let mut wrong = Vec::new();
    for scene in scenes::all().iter().filter(|scene| bless || !scene.needs_a_program()) {
        let facts = stage.play(scene);
        let found = diagnose(&facts);
        let cause = found.as_ref().map_or("healthy", |found| found.cause.token());
        if cause != scene.cause() {
            wrong.push(format!("{}: {found:#?}\n{}", scene.name, serde_json::to_string(&facts).unwrap()));
        } else if bless {
            std::fs::write(scene.path(), serde_json::to_string_pretty(&facts).unwrap() + "\n").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
