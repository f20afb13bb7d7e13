//! A port of its own for TLS-ALPN-01 (RFC 8737), for those whose listeners are not what port 443 leads to.
//!
//! [`Port`] is bound by the daemon as listeners are, and stays over a reload. A handshake is made and the connection ends:
//! who is no validating authority, or asks for a name without a challenge, gets none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_pki::Challenges;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::daemon::Accepted;

/// So many handshakes at a time; the next ones are closed.
const AT_ONCE: usize = 64;
/// So long one may take.
const LONGEST: Duration = Duration::from_secs(10);

/// Where TLS-ALPN-01 is answered.
pub(crate) struct Port {
    /// Its name in the log and in `listeners.json`.
    pub(crate) name: String,
    /// The addresses.
    pub(crate) bind: Vec<SocketAddr>,
    challenges: Challenges,
    room: Arc<Semaphore>,
}

impl Port {
    /// Where these challenges are answered.
    pub(crate) fn new(name: String, bind: Vec<SocketAddr>, challenges: Challenges) -> Self {
        Self { name, bind, challenges, room: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// Starts what is to be done with a connection.
pub(crate) fn start(accepted: Accepted<Port>) {
    let Accepted { stream, current, shared, .. } = accepted;
    // Without an open challenge there is nothing to show to anybody.
    let Ok(place) = Arc::clone(&current.room).try_acquire_owned() else { return };
    if !current.challenges.are_open() {
        return;
    }
    tokio::spawn(shared.tasks.track_future(async move {
        let _ = timeout(LONGEST, shake(&current.challenges, stream)).await;
        drop(place);
    }));
}

/// RFC 8737 §3: nothing is said on the connection; the authority has seen the certificate.
async fn shake(challenges: &Challenges, stream: TcpStream) {
    let Ok(config) = challenges.config() else { return };
    if let Ok(mut tls) = TlsAcceptor::from(config).accept(stream).await {
        let _ = tls.shutdown().await;
    }
}
