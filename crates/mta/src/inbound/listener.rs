//! Bound addresses: accepts connections within limits and hands each to its driver.
//!
//! The types to know:
//! - [`Listener`]: what a `[[listener]]` means while it runs; a reload makes new ones, and sessions that are under way
//!   keep the one they began with.
//! - [`ServerTls`]: its side of TLS, and what clients' certificates are judged by.
//! - [`Sessions`]: counts, in all and per client, over the whole daemon and for each listener, across reloads. A
//!   [`Place`] is one session's share, given back when it ends.
//!
//! What it deliberately does not do: bind (the daemon does, see `daemon::bind`), or speak SMTP.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postern_pki::{ClientCertificates, MinimumVersion, ServerOptions, server_config};
use postern_smtp::server::Settings;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::connection;
use crate::config::{self, SessionLimits};
use crate::daemon::{Phase, Shared};
use crate::event::Event;

/// When the system cannot give us a connection, ask again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// A configured listener, ready to serve sessions.
pub(crate) struct Listener {
    /// What the configuration says.
    pub(crate) config: config::Listener,
    /// What a session needs of it.
    pub(crate) settings: Arc<Settings>,
    /// TLS, when at least one identity is usable.
    pub(crate) tls: Option<ServerTls>,
}

/// A listener's side of TLS. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ServerTls {
    /// What the TLS library needs.
    pub(crate) config: Arc<ServerConfig>,
    /// What is done about clients' certificates; `config` was made with the same.
    pub(crate) certificates: ClientCertificates,
    /// The oldest version that `config` takes.
    pub(crate) minimum: MinimumVersion,
}

/// The sessions that are open: in all, at each listener, and of each client.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    whole: Count,
    listeners: HashMap<String, Count>,
}

#[derive(Default)]
struct Count {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A session's place within the limits; given back on drop.
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    listener: String,
    client: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// There are as many sessions as there may be.
    Full,
    /// This client has as many sessions as it may.
    Client,
}

impl ServerTls {
    /// Makes what a listener needs.
    ///
    /// # Errors
    /// Local: there is no identity, or no ticket key could be made.
    pub(crate) fn new(options: &ServerOptions) -> Result<Self, postern_pki::Error> {
        let (certificates, minimum) = (options.client_certificates.clone(), options.minimum);
        Ok(Self { config: server_config(options)?, certificates, minimum })
    }
}

impl Sessions {
    /// Takes a place for a client, or says which limit is reached: of the whole daemon, or of the listener.
    pub(crate) fn enter(
        self: &Arc<Self>,
        whole: SessionLimits,
        listener: &config::Listener,
        address: IpAddr,
    ) -> Result<Place, Crowded> {
        let client = client_of(address);
        let mut guard = self.lock();
        let Open { whole: count, listeners } = &mut *guard;
        count.has_room(whole, client)?;
        let own = listeners.entry(listener.name.clone()).or_default();
        own.has_room(listener.limits.sessions, client)?;
        own.add(client);
        count.add(client);
        Ok(Place { sessions: Arc::clone(self), listener: listener.name.clone(), client })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.sessions.lock();
        open.whole.remove(self.client);
        if let Some(own) = open.listeners.get_mut(&self.listener) {
            own.remove(self.client);
        }
    }
}

impl Count {
    fn has_room(&self, limits: SessionLimits, client: IpAddr) -> Result<(), Crowded> {
        if self.by_client.get(&client).is_some_and(|own| *own >= limits.per_address) {
            return Err(Crowded::Client);
        }
        if self.all >= limits.all { Err(Crowded::Full) } else { Ok(()) }
    }

    fn add(&mut self, client: IpAddr) {
        self.all += 1;
        *self.by_client.entry(client).or_default() += 1;
    }

    fn remove(&mut self, client: IpAddr) {
        self.all = self.all.saturating_sub(1);
        if let Some(own) = self.by_client.get_mut(&client) {
            *own -= 1;
            if *own == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or the IPv6 network of 64 bits, in which every machine can take any
/// address (RFC 4291 §2.5.4).
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
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
                tokio::time::sleep(ACCEPT_AGAIN).await;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Surroundings};

    /// Listeners `a` and `b`; `b` has room for two sessions only.
    fn listeners() -> Vec<config::Listener> {
        let text = "hostname = \"mail.example.org\"\n\
                    [[listener]]\nname = \"a\"\nrole = \"relay\"\nbind = [\"[::1]:25\"]\n\
                    [[listener]]\nname = \"b\"\nrole = \"relay\"\nbind = [\"[::1]:26\"]\nlimits = { sessions = 2 }\n";
        File::parse(text, "test").unwrap().resolve(&Surroundings::default()).unwrap().listeners
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_client_has_one_share_of_all_listeners_together() {
        let (sessions, listeners) = (Arc::new(Sessions::default()), listeners());
        let whole = SessionLimits { all: 10, per_address: 2 };
        let enter = |listener: usize, client| sessions.enter(whole, &listeners[listener], ip(client));
        let first = enter(0, "192.0.2.1").unwrap();
        let _second = enter(1, "::ffff:192.0.2.1").unwrap();
        assert_eq!(enter(0, "192.0.2.1").err(), Some(Crowded::Client));
        let _other = enter(0, "192.0.2.2").unwrap();
        drop(first);
        let _third = enter(1, "192.0.2.1").unwrap();
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_client() {
        let (sessions, listeners) = (Arc::new(Sessions::default()), listeners());
        let whole = SessionLimits { all: 10, per_address: 1 };
        let enter = |client| sessions.enter(whole, &listeners[0], ip(client));
        let _one = enter("2001:db8:0:1::1").unwrap();
        assert_eq!(enter("2001:db8:0:1:ffff::2").err(), Some(Crowded::Client));
        let _other = enter("2001:db8:0:2::1").unwrap();
    }

    #[test]
    fn a_listeners_own_limit_bounds_it_within_the_whole() {
        let (sessions, listeners) = (Arc::new(Sessions::default()), listeners());
        let whole = SessionLimits { all: 3, per_address: 10 };
        let enter = |listener: usize| sessions.enter(whole, &listeners[listener], ip("192.0.2.1"));
        let _places = [enter(1).unwrap(), enter(1).unwrap()];
        assert_eq!(enter(1).err(), Some(Crowded::Full));
        let _third = enter(0).unwrap();
        assert_eq!(enter(0).err(), Some(Crowded::Full));
    }
}
