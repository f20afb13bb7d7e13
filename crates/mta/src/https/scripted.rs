//! An HTTPS host for tests, on a loopback port: it says what its script says and records what it was asked.
//!
//! [`Authority`] makes certificates for it; [`Authority::client`] trusts them and nobody else. [`Host::start`] runs
//! it, [`Host::now_says`] changes the script for the next connection, [`Host::requests`] tells what came in.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use postern_pki::{ClientTls, PrivateCa, TrustAnchors};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What the host does with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// Reads the request, says this, and closes.
    Say(Vec<u8>),
    /// Reads the request, says this, and falls silent.
    SayAndStall(Vec<u8>),
    /// Accepts the connection and answers nothing, not even the handshake.
    NoHandshake,
    /// Says something that is not TLS.
    NoTls,
}

impl Script {
    /// A reply with a body; `head` is what stands between status line and body, besides the length.
    pub(crate) fn reply(status: &str, head: &str, body: &str) -> Self {
        let length = body.len();
        Self::Say(format!("HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\n\r\n{body}").into_bytes())
    }
}

/// A certificate authority of the test's own.
pub(crate) struct Authority {
    folder: TempDir,
    ca: PrivateCa,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Old enough for expired certificates.
        let long_ago = Timestamp::now() - SignedDuration::from_hours(24 * 365);
        let ca = PrivateCa::open_or_create(&folder.path().join("ca"), "test", long_ago).unwrap();
        Self { folder, ca }
    }

    /// Trusts this authority.
    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::new(&TrustAnchors::File(self.root())).unwrap()
    }

    /// Where its own certificate is.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.ca.root_pem_path()
    }

    /// A host's settings with a certificate for these names.
    pub(crate) fn host(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.issued(names, Timestamp::now())
    }

    /// The same, with a certificate that is over.
    pub(crate) fn expired_host(&self, names: &[&str]) -> Arc<ServerConfig> {
        self.issued(names, Timestamp::now() - SignedDuration::from_hours(24 * 200))
    }

    fn issued(&self, names: &[&str], when: Timestamp) -> Arc<ServerConfig> {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let issued = self.ca.ensure_server_identity(folder.path(), &names, when).unwrap();
        settings(&issued.certificate, &issued.key)
    }
}

fn settings(certificate: &Path, key: &Path) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let builder = ServerConfig::builder_with_provider(postern_pki::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut settings = builder.with_single_cert(chain, key).unwrap();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(settings)
}

/// The host. It ends when it is dropped.
pub(crate) struct Host {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    script: Mutex<Script>,
    requests: Mutex<Vec<String>>,
}

impl Host {
    pub(crate) async fn start(settings: Arc<ServerConfig>, script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { script: Mutex::new(script), requests: Mutex::default() });
        let task = tokio::spawn(serve(listener, settings, shared.clone()));
        Self { port, shared, task }
    }

    /// The next connections hear this.
    pub(crate) fn now_says(&self, script: Script) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = script;
    }

    /// Heads and bodies of what came in, in order.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, settings: Arc<ServerConfig>, shared: Arc<Shared>) {
    let acceptor = TlsAcceptor::from(settings);
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        connections.spawn(one(tcp, acceptor.clone(), shared.clone()));
    }
}

async fn one(mut tcp: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let script = shared.script.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (answer, stall) = match script {
        Script::Say(answer) => (answer, false),
        Script::SayAndStall(answer) => (answer, true),
        Script::NoHandshake => return std::future::pending().await,
        Script::NoTls => {
            let _ = tcp.write_all(b"220 this is no web server\r\n").await;
            return;
        }
    };
    let Ok(mut tls) = acceptor.accept(tcp).await else { return };
    let Some(request) = request(&mut tls).await else { return };
    shared.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let _ = tls.write_all(&answer).await;
    if stall {
        let _ = tls.flush().await;
        std::future::pending::<()>().await;
    }
    let _ = tls.shutdown().await;
}

/// A whole request; `None` when the client leaves in the middle of it.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut octets = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&octets).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Some(text);
            }
        }
        if stream.read_buf(&mut octets).await.ok()? == 0 {
            return None;
        }
    }
}
