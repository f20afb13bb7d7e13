//! Bound addresses: accepts connections within limits and hands each to its driver.
//!
//! A [`Listener`] is what a `[[listener]]` means while it runs; a reload makes new ones, and sessions that are under
//! way keep the one they began with. [`Sessions`] counts, per listener and per client address, across reloads.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postern_smtp::server::Settings;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection;
use crate::config;
use crate::daemon::{Phase, Shared};
use crate::event::Event;

/// A configured listener, ready to serve sessions.
pub(crate) struct Listener {
    /// What the configuration says.
    pub(crate) config: config::Listener,
    /// What a session needs of it.
    pub(crate) settings: Arc<Settings>,
    /// The certificates, when at least one is usable.
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// The sessions that are open, by listener and by client address.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<String, Open>>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A session's place within the limits; given back on drop.
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    listener: String,
    address: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// The listener has as many sessions as it may.
    Listener,
    /// This address has as many sessions as it may.
    Address,
}

impl Sessions {
    /// Takes a place for a client, or says which limit is reached.
    pub(crate) fn enter(
        self: &Arc<Self>,
        listener: &config::Listener,
        client: IpAddr,
    ) -> Result<Place, Crowded> {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let open = open.entry(listener.name.clone()).or_default();
        let address = client.to_canonical();
        let own = open.by_address.get(&address).copied().unwrap_or(0);
        if own >= listener.limits.sessions_per_address {
            return Err(Crowded::Address);
        }
        if open.all >= listener.limits.sessions {
            return Err(Crowded::Listener);
        }
        open.all += 1;
        open.by_address.insert(address, own + 1);
        Ok(Place { sessions: Arc::clone(self), listener: listener.name.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sessions.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(open) = open.get_mut(&self.listener) else { return };
        open.all = open.all.saturating_sub(1);
        if let Some(own) = open.by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// Accepts on one bound socket until the daemon drains or the address is no longer configured. The listener's
/// settings may change under it: each session takes those of the moment.
pub(crate) async fn serve(
    socket: TcpListener,
    shared: Arc<Shared>,
    current: watch::Receiver<Option<Arc<Listener>>>,
    mut phase: watch::Receiver<Phase>,
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
                let Some(listener) = current.borrow().clone() else { return };
                start(stream, client, listener, &shared, &phase);
            }
            // Out of descriptors or the like: it passes; spinning would make it worse.
            Err(error) => {
                shared.observer.daemon(Event::Alarm {
                    what: format!("no connection can be accepted: {error}"),
                    remedy: "raise the limit on open files (LimitNOFILE) or lower limits.sessions".into(),
                });
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

fn start(
    stream: TcpStream,
    client: SocketAddr,
    listener: Arc<Listener>,
    shared: &Arc<Shared>,
    phase: &watch::Receiver<Phase>,
) {
    let _ = stream.set_nodelay(true);
    let client = SocketAddr::new(client.ip().to_canonical(), client.port());
    let arrival = connection::Arrival { client, listener, shared: Arc::clone(shared), phase: phase.clone() };
    tokio::spawn(shared.tasks.track_future(connection::serve(stream, arrival)));
}
