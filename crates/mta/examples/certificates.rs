//! How long a reload of a thousand identities takes that have all changed, the longest gap that a stream of handshakes
//! sees meanwhile, and how long it takes to choose one of them by name. For `bench/run`; prints one figure a line:
//! milliseconds, milliseconds, the longest gap without a reload in milliseconds, microseconds.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_mta::config::{Config, File, Surroundings};
use postern_mta::daemon::Daemon;
use postern_mta::observe::Observer;
use postern_pki::{
    About, ClientCertificates, ClientTls, IdentityStore, KeyKind, MinimumVersion, Origin, PeerPolicy,
    PrivateKey, ServerOptions, Tickets, TlsIdentity, TrustAnchors, server_config, server_name,
};
use postern_smtp::tls::TlsRequirement;
use rcgen::{CertificateParams, KeyPair};
use rustls::server::{Accepted, Acceptor};
use rustls::{ClientConfig, ClientConnection, ServerConfig};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

const IDENTITIES: usize = 1000;
/// Clients that make one handshake after the other.
const CLIENTS: usize = 2;
/// So long they do so without a reload, for comparison.
const QUIET: Duration = Duration::from_secs(2);
const ROUNDS: usize = 200;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    install_all(folder.path(), 0)?;
    let (asked, _reloads) = tokio::sync::mpsc::channel(1);
    let observer = Observer::new(Vec::new());
    let mut daemon = Daemon::start(configuration(folder.path())?, observer, asked).await?;
    let address = daemon.addresses().first().ok_or("nothing is bound")?.1;

    let quiet = Stream::start(address)?;
    tokio::time::sleep(QUIET).await;
    let quiet = quiet.longest_gap().await?;

    let renewed = tempfile::tempdir()?;
    install_all(renewed.path(), 1)?;
    let stream = Stream::start(address)?;
    // All at once: the daemon looks by itself, and must not find some of them before the clock runs.
    let store = |data_dir: &Path| data_dir.join("certificates");
    std::fs::rename(store(folder.path()), renewed.path().join("old"))?;
    std::fs::rename(store(renewed.path()), store(folder.path()))?;
    let begun = Instant::now();
    daemon.reload(configuration(folder.path())?).await.map_err(|errors| format!("{errors:?}"))?;
    let reload = begun.elapsed();
    let gap = stream.longest_gap().await?;
    let choice = choosing(folder.path())?;
    daemon.stop().await;

    println!("{:.0}", reload.as_secs_f64() * 1e3);
    println!("{:.0}", gap.as_secs_f64() * 1e3);
    println!("{:.0}", quiet.as_secs_f64() * 1e3);
    println!("{:.3}", choice.as_secs_f64() * 1e6);
    Ok(())
}

fn host(number: usize) -> String {
    format!("host{number}.bench.test")
}

/// Puts all identities into the certificate store, each with a new key.
fn install_all(data_dir: &Path, version: i64) -> Outcome<()> {
    let store = IdentityStore::new(data_dir);
    let installed = Timestamp::from_second(1_790_000_000 + version)?;
    let about = About { origin: Origin::ByHand, installed, asked: None };
    for number in 0..IDENTITIES {
        let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
        let pair = KeyPair::try_from(key.pkcs8())?;
        let certificate = CertificateParams::new(vec![host(number)])?.self_signed(&pair)?.der().clone();
        store.install(&format!("i{number}"), &[certificate], &key, &about)?;
    }
    Ok(())
}

fn configuration(folder: &Path) -> Outcome<Config> {
    let text = format!(
        "hostname = '{}'\ndata_dir = '{}'\n[limits]\nsessions_per_address = 1000\n[[listener]]\nname = 'submissions'\n\
         role = 'submission'\nbind = ['127.0.0.1:0']\ntls = 'implicit'\n",
        host(0),
        folder.display()
    );
    let file = File::parse(&text, "bench").map_err(|problem| format!("{problem:?}"))?;
    Ok(file.resolve(&Surroundings::default()).map_err(|problems| format!("{problems:?}"))?)
}

/// A client that takes every certificate.
fn client() -> Outcome<Arc<ClientConfig>> {
    let tls = ClientTls::new(&TrustAnchors::System)?;
    Ok(tls.handshake(&PeerPolicy::of(TlsRequirement::REQUIRED)).config())
}

/// Clients that make handshakes without a pause.
struct Stream {
    over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Result<Duration, String>>>,
}

impl Stream {
    fn start(address: SocketAddr) -> Outcome<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let connector = TlsConnector::from(client()?);
        let clients =
            (0..CLIENTS).map(|_| tokio::spawn(shake(address, connector.clone(), Arc::clone(&over))));
        Ok(Self { clients: clients.collect(), over })
    }

    async fn longest_gap(self) -> Outcome<Duration> {
        self.over.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for client in self.clients {
            longest = longest.max(client.await??);
        }
        Ok(longest)
    }
}

/// One handshake after the other; the longest time between two that succeeded.
async fn shake(
    address: SocketAddr,
    connector: TlsConnector,
    over: Arc<AtomicBool>,
) -> Result<Duration, String> {
    let (mut longest, mut last, mut number) = (Duration::ZERO, Instant::now(), 0);
    while !over.load(Ordering::Relaxed) {
        let name = server_name(&host(number % IDENTITIES)).map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        connector.connect(name, stream).await.map_err(|error| error.to_string())?;
        longest = longest.max(last.elapsed());
        (last, number) = (Instant::now(), number + 7);
    }
    Ok(longest)
}

/// How long it takes to choose by name: the median of the rounds, over all names.
fn choosing(data_dir: &Path) -> Outcome<Duration> {
    let config = server(data_dir)?;
    let client = client()?;
    let hellos: Vec<Accepted> =
        (0..IDENTITIES).map(|number| hello(&client, &host(number))).collect::<Outcome<_>>()?;
    let mut rounds: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for hello in &hellos {
            let chosen = config.cert_resolver.resolve(hello.client_hello());
            std::hint::black_box(chosen).ok_or("nothing was chosen")?;
        }
        rounds.push(begun.elapsed());
    }
    rounds.sort();
    Ok(rounds[ROUNDS / 2] / u32::try_from(IDENTITIES)?)
}

fn server(data_dir: &Path) -> Outcome<Arc<ServerConfig>> {
    let store = IdentityStore::new(data_dir);
    let load = |name: &String| {
        let paths = store.paths(name);
        let loaded = TlsIdentity::load(name, &paths.certificate, &paths.key, Timestamp::now())?;
        Ok::<_, postern_pki::Error>(Arc::new(loaded.identity))
    };
    Ok(server_config(&ServerOptions {
        identities: store.names()?.iter().map(load).collect::<Result<_, _>>()?,
        default_name: Some(host(0)),
        minimum: MinimumVersion::default(),
        tickets: Tickets::Off,
        client_certificates: ClientCertificates::Ignored,
    })?)
}

/// A client's hello that asks for this name.
fn hello(client: &Arc<ClientConfig>, name: &str) -> Outcome<Accepted> {
    let mut client = ClientConnection::new(Arc::clone(client), server_name(name)?)?;
    let (mut acceptor, mut wire) = (Acceptor::default(), Vec::new());
    while client.wants_write() {
        client.write_tls(&mut wire)?;
    }
    let mut rest = wire.as_slice();
    loop {
        acceptor.read_tls(&mut rest)?;
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(accepted),
            Ok(None) => {}
            Err((error, _)) => return Err(error.into()),
        }
    }
}
