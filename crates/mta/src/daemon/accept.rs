//! Accepting on one bound socket, whatever is served there.
//!
//! [`accept`] is the loop; each connection becomes an [`Accepted`], which is handed on with the settings of the moment. A
//! reload changes those under the loop, and connections keep the ones they came with.
//!
//! What it deliberately does not do: count or refuse connections, or wait for anything that is done with them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Phase, Shared};
use crate::event::Event;

/// When the system cannot give us a connection, ask again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A connection that was just accepted, and what it is served with.
pub(crate) struct Accepted<T> {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// Who connected; an IPv4 address is written as one.
    pub(crate) client: SocketAddr,
    /// The settings of the moment.
    pub(crate) current: Arc<T>,
    /// What every task sees.
    pub(crate) shared: Arc<Shared>,
    /// Whether the daemon drains.
    pub(crate) phase: watch::Receiver<Phase>,
}

/// Accepts on one bound socket until the daemon drains or the address is no longer configured, and hands each connection
/// to `start`, which must not wait.
pub(super) async fn accept<T>(
    socket: TcpListener,
    shared: Arc<Shared>,
    current: watch::Receiver<Option<Arc<T>>>,
    mut phase: watch::Receiver<Phase>,
    start: fn(Accepted<T>),
) {
    let mut gone = current.clone();
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
            _ = gone.wait_for(Option::is_none) => return,
        };
        match accepted {
            Ok((stream, client)) => {
                let Some(current) = current.borrow().clone() else { return };
                let _ = stream.set_nodelay(true);
                let client = SocketAddr::new(client.ip().to_canonical(), client.port());
                start(Accepted {
                    stream,
                    client,
                    current,
                    shared: Arc::clone(&shared),
                    phase: phase.clone(),
                });
            }
            // Out of descriptors or the like: it passes; spinning would make it worse.
            Err(error) => {
                shared.observer.daemon(Event::Alarm {
                    what: format!("no connection can be accepted: {error}"),
                    remedy: "raise the limit on open files (LimitNOFILE) or lower limits.sessions".into(),
                });
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
