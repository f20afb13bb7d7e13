//! Listeners for mail: admits connections within limits and hands each to its driver.
//!
//! The types to know:
//! - [`Listener`]: what a `[[listener]]` means while it runs; a reload makes new ones, and sessions that are under way
//!   keep the one they began with.
//! - [`ServerTls`]: its side of TLS, and what clients' certificates are judged by.
//! - [`Sessions`]: counts, in all and per client, over the whole daemon and for each listener, across reloads. A
//!   [`Place`] is one session's share, given back when it ends.
//!
//! What it deliberately does not do: bind and accept (the daemon does, see `daemon::bind`), or speak SMTP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postern_pki::{Challenges, ClientCertificates, MinimumVersion, ServerOptions, server_config};
use postern_smtp::server::Settings;
use rustls::ServerConfig;
use rustls::server::ClientHello;

use super::connection;
use crate::config::{self, SessionLimits};
use crate::daemon::Accepted;
use crate::device::{self, Admitted};
use crate::limits::client_of;
use crate::session::Entrance;

/// A configured listener, ready to serve sessions.
pub(crate) struct Listener {
    /// What the configuration says.
    pub(crate) config: config::Listener,
    /// What a session needs of it.
    pub(crate) settings: Arc<Settings>,
    /// TLS, when at least one identity is usable.
    pub(crate) tls: Option<ServerTls>,
    /// On a device listener: those it serves.
    pub(crate) devices: Vec<Admitted>,
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
    /// What an authority that validates a name is shown instead.
    pub(crate) challenges: Challenges,
    validation: Arc<ServerConfig>,
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

impl Listener {
    /// The device that a client is, and what a session with it needs.
    pub(crate) fn device_at(&self, client: IpAddr) -> Option<&Admitted> {
        device::of_client(&self.devices, client)
    }

    /// Where a client comes in, at this port of ours.
    pub(crate) fn entrance(&self, port: u16) -> Entrance {
        let config = &self.config;
        Entrance {
            listener: config.name.clone(),
            port,
            role: config.role,
            greets: config.tls.greets(port),
            otherwise: config.tls.otherwise(),
        }
    }

    /// What a session with a client needs.
    pub(crate) fn settings_for(&self, client: IpAddr) -> Arc<Settings> {
        Arc::clone(self.device_at(client).map_or(&self.settings, |admitted| &admitted.settings))
    }
}

impl ServerTls {
    /// Makes what a listener needs.
    ///
    /// # Errors
    /// Local: there is no identity, or no ticket key could be made.
    pub(crate) fn new(options: &ServerOptions, challenges: &Challenges) -> Result<Self, postern_pki::Error> {
        Ok(Self {
            config: server_config(options)?,
            certificates: options.client_certificates.clone(),
            minimum: options.minimum,
            challenges: challenges.clone(),
            validation: challenges.config()?,
        })
    }

    /// What to go on with after a client's hello: with an authority that validates, the challenge and nothing else.
    pub(crate) fn config_for(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        Arc::clone(if Challenges::concern(hello) { &self.validation } else { &self.config })
    }
}

impl Sessions {
    /// Takes a place for a client, or says which limit is reached: of the whole daemon, or of the listener.
    pub(crate) fn enter(
        self: &Arc<Self>,
        whole: SessionLimits,
        listener: &str,
        own: SessionLimits,
        address: IpAddr,
    ) -> Result<Place, Crowded> {
        let client = client_of(address);
        let mut guard = self.lock();
        let Open { whole: count, listeners } = &mut *guard;
        count.has_room(whole, client)?;
        let here = listeners.entry(listener.to_owned()).or_default();
        here.has_room(own, client)?;
        here.add(client);
        count.add(client);
        Ok(Place { sessions: Arc::clone(self), listener: listener.to_owned(), client })
    }

    /// Whether a client would get a place now.
    pub(crate) fn would_enter(
        &self,
        whole: SessionLimits,
        listener: &str,
        own: SessionLimits,
        address: IpAddr,
    ) -> Result<(), Crowded> {
        let (open, client) = (self.lock(), client_of(address));
        open.whole.has_room(whole, client)?;
        open.listeners.get(listener).map_or(Ok(()), |here| here.has_room(own, client))
    }

    /// How many are open.
    pub(crate) fn open_now(&self) -> usize {
        self.lock().whole.all
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

/// Serves a connection that was accepted.
pub(crate) fn start(accepted: Accepted<Listener>) {
    let Accepted { stream, client, current, shared, phase } = accepted;
    let tasks = Arc::clone(&shared);
    // Without an address of its own the connection is gone already, which reading from it will tell.
    let port = stream.local_addr().map_or(0, |address| address.port());
    let arrival = connection::Arrival { client, port, listener: current, shared, phase };
    tokio::spawn(tasks.tasks.track_future(connection::serve(stream, arrival)));
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

    fn enter(
        sessions: &Arc<Sessions>,
        whole: SessionLimits,
        listener: &config::Listener,
        client: &str,
    ) -> Result<Place, Crowded> {
        sessions.enter(whole, &listener.name, listener.limits.sessions, client.parse().unwrap())
    }

    #[test]
    fn one_client_has_one_share_of_all_listeners_together() {
        let (sessions, listeners) = (Arc::new(Sessions::default()), listeners());
        let whole = SessionLimits { all: 10, per_address: 2 };
        let enter = |listener: usize, client| enter(&sessions, whole, &listeners[listener], client);
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
        let enter = |client| enter(&sessions, whole, &listeners[0], client);
        let _one = enter("2001:db8:0:1::1").unwrap();
        assert_eq!(enter("2001:db8:0:1:ffff::2").err(), Some(Crowded::Client));
        let _other = enter("2001:db8:0:2::1").unwrap();
    }

    #[test]
    fn a_listeners_own_limit_bounds_it_within_the_whole() {
        let (sessions, listeners) = (Arc::new(Sessions::default()), listeners());
        let whole = SessionLimits { all: 3, per_address: 10 };
        let enter = |listener: usize| enter(&sessions, whole, &listeners[listener], "192.0.2.1");
        let _places = [enter(1).unwrap(), enter(1).unwrap()];
        assert_eq!(enter(1).err(), Some(Crowded::Full));
        let _third = enter(0).unwrap();
        assert_eq!(enter(0).err(), Some(Crowded::Full));
    }
}
