//! Connections that are kept, and the servers that they lead to.
//!
//! [`Servers`] are tried in their order; one that did not answer rests for a while, and is tried again before that only when
//! no other is left. A [`Pool`] lends connections out, no more than a few at a time, and closes those that nobody needed for
//! a while. A [`Lease`] is one that is lent: it returns by [`Lease::keep`] alone, so that a question that was dropped half way
//! takes its connection with it.
//!
//! What it deliberately does not do: ask again. Whoever asks does, when a [`Fault::Server`] says that it may help.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use postern_pki::{ClientTls, TrustAnchors};
use postern_smtp::secret::Secret;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::connection::Connection;
use super::message::{Entry, Outcome, Search};
use super::url::LdapUrl;
use super::{Fault, words};
use crate::config::{LdapService, LdapTls};
use crate::secret_file::first_line;

/// A pool has so many connections at most.
const MOST: usize = 8;
/// One that nobody needed for so long is closed, and none gets older than that.
const IDLE: Duration = Duration::from_mins(1);
const OLDEST: Duration = Duration::from_mins(10);
/// A server that did not answer is left alone for so long, if there are others.
const REST: Duration = Duration::from_secs(30);

/// All servers that know the same people.
#[derive(Debug)]
pub(super) struct Servers {
    all: Vec<Server>,
    tls: LdapTls,
    trust: TrustAnchors,
    step: Duration,
    loaded: OnceCell<ClientTls>,
}

#[derive(Debug)]
struct Server {
    url: LdapUrl,
    rests_until: Mutex<Option<Instant>>,
}

/// Connections to one of the servers, all bound as the same.
#[derive(Debug)]
pub(super) struct Pool {
    servers: Arc<Servers>,
    /// Whom new connections are bound as; `None`: as nobody.
    service: Option<LdapService>,
    slots: Semaphore,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The last was used last.
    connections: Vec<(Instant, Connection)>,
    sweeper: Sweeper,
}

/// Whether a task closes those that nobody needs.
#[derive(Debug, Default, PartialEq, Eq)]
enum Sweeper {
    #[default]
    Gone,
    Running,
}

/// A connection that is lent.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    /// `None` after a fault.
    connection: Option<Connection>,
    age: Age,
    _turn: SemaphorePermit<'a>,
}

/// Whether a connection was used before. One that was may have been closed meanwhile, which says nothing of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    Used,
}

impl Servers {
    pub(super) fn new(urls: &[LdapUrl], tls: LdapTls, trust: Option<PathBuf>, step: Duration) -> Self {
        let server = |url: &LdapUrl| Server { url: url.clone(), rests_until: Mutex::default() };
        let trust = trust.map_or(TrustAnchors::System, TrustAnchors::File);
        Self { all: urls.iter().map(server).collect(), tls, trust, step, loaded: OnceCell::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let tls = match self.tls {
            LdapTls::Verified => Some(self.tls().await?),
            LdapTls::Off => None,
        };
        let now = Instant::now();
        let (resting, awake): (Vec<usize>, Vec<usize>) =
            (0..self.all.len()).partition(|server| self.all[*server].rests(now));
        let mut troubles = Vec::new();
        for server in awake.into_iter().chain(resting) {
            match Connection::open(server, &self.all[server].url, tls, self.step).await {
                Ok(connection) => {
                    self.all[server].rest(None);
                    return Ok(connection);
                }
                Err(why) => {
                    self.all[server].rest(Some(Instant::now() + REST));
                    troubles.push(self.of(server, &why));
                }
            }
        }
        Err(Fault::Final(troubles.join("; ")))
    }

    /// Read at the first connection; a file that is mended later counts from then on.
    async fn tls(&self) -> Result<&ClientTls, Fault> {
        let load = || async {
            let trust = self.trust.clone();
            let loaded = tokio::task::spawn_blocking(move || ClientTls::new(&trust)).await;
            loaded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        };
        self.loaded
            .get_or_try_init(load)
            .await
            .map_err(|why: String| Fault::Final(format!("the trusted roots cannot be loaded: {why}")))
    }

    fn of(&self, server: usize, why: &str) -> String {
        format!("{}: {why}", self.all[server].url)
    }
}

impl Server {
    fn rests(&self, now: Instant) -> bool {
        locked(&self.rests_until).is_some_and(|until| now < until)
    }

    fn rest(&self, until: Option<Instant>) {
        *locked(&self.rests_until) = until;
    }
}

impl Pool {
    pub(super) fn new(servers: &Arc<Servers>, service: Option<LdapService>) -> Self {
        Self { servers: Arc::clone(servers), service, slots: Semaphore::new(MOST), kept: Arc::default() }
    }

    /// Lends a connection out, a new one if none is idle.
    pub(super) async fn take(&self) -> Result<Lease<'_>, Fault> {
        let turn = self.slots.acquire().await.map_err(|error| Fault::Final(error.to_string()))?;
        let idle = locked(&self.kept).take(Instant::now());
        let (connection, age) = match idle {
            Some(connection) => (connection, Age::Used),
            None => (self.servers.connect().await?, Age::New),
        };
        let mut lease = Lease { pool: self, connection: Some(connection), age, _turn: turn };
        if let (Age::New, Some(service)) = (age, &self.service) {
            lease.become_service(service).await?;
        }
        Ok(lease)
    }
}

impl Lease<'_> {
    pub(super) async fn bind(&mut self, name: &str, password: &Secret) -> Result<Outcome, Fault> {
        let answer = self.connection()?.bind(name, password).await;
        let outcome = answer.map_err(|fault| self.lost(fault))?;
        self.judged(outcome)
    }

    pub(super) async fn who_am_i(&mut self) -> Result<Option<String>, Fault> {
        let answer = self.connection()?.who_am_i().await;
        answer.map_err(|fault| self.lost(fault))
    }

    pub(super) async fn search(&mut self, search: &Search) -> Result<(Vec<Entry>, Outcome), Fault> {
        let answer = self.connection()?.search(search).await;
        let (entries, outcome) = answer.map_err(|fault| self.lost(fault))?;
        Ok((entries, self.judged(outcome)?))
    }

    /// Gives it back for others.
    pub(super) fn keep(mut self) {
        if let Some(connection) = self.connection.take() {
            keep(&self.pool.kept, connection);
        }
    }

    /// What is wrong with the server or its setup, in words that name it.
    pub(super) fn trouble(&self, why: &str) -> Fault {
        let server = self.connection.as_ref().map_or(0, |connection| connection.server);
        Fault::Final(self.pool.servers.of(server, why))
    }

    async fn become_service(&mut self, service: &LdapService) -> Result<(), Fault> {
        let password = first_line(&service.password_file).await.map_err(Fault::Final)?;
        let outcome = self.bind(&service.dn, &password).await?;
        if outcome.code == 0 {
            return Ok(());
        }
        Err(self.trouble(&format!(
            "it refuses bind_dn {} ({}): look at that account and at bind_password_file",
            service.dn,
            words(&outcome)
        )))
    }

    /// A server that says of itself that it is out of order is left alone (RFC 4511 §4.1.9: busy, unavailable).
    fn judged(&mut self, outcome: Outcome) -> Result<Outcome, Fault> {
        match outcome.code {
            51 | 52 => Err(self.lost(Fault::Server(format!("it is out of order ({})", words(&outcome))))),
            _ => Ok(outcome),
        }
    }

    /// The connection is of no use any more.
    fn lost(&mut self, fault: Fault) -> Fault {
        let Some(connection) = self.connection.take() else { return fault };
        let (server, servers) = (connection.server, &self.pool.servers);
        match self.age {
            Age::New => servers.all[server].rest(Some(Instant::now() + REST)),
            // The others may be as dead, and the server well.
            Age::Used => locked(&self.pool.kept).connections.retain(|(_, other)| other.server != server),
        }
        match fault {
            Fault::Server(why) => Fault::Server(servers.of(server, &why)),
            other => other,
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, Fault> {
        self.connection.as_mut().ok_or_else(|| Fault::Server("the connection is lost".to_owned()))
    }
}

impl Kept {
    fn take(&mut self, now: Instant) -> Option<Connection> {
        self.sweep(now);
        self.connections.pop().map(|(_, connection)| connection)
    }

    fn sweep(&mut self, now: Instant) {
        self.connections.retain(|(used, connection)| {
            now.saturating_duration_since(*used) < IDLE
                && now.saturating_duration_since(connection.since) < OLDEST
        });
    }
}

fn keep(kept: &Arc<Mutex<Kept>>, connection: Connection) {
    let mut all = locked(kept);
    all.connections.push((Instant::now(), connection));
    if all.sweeper == Sweeper::Gone {
        all.sweeper = Sweeper::Running;
        tokio::spawn(sweep(Arc::downgrade(kept)));
    }
}

/// Closes what nobody needs, until there is nothing left to close.
async fn sweep(kept: Weak<Mutex<Kept>>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let Some(kept) = kept.upgrade() else { return };
        let mut all = locked(&kept);
        all.sweep(Instant::now());
        if all.connections.is_empty() {
            all.sweeper = Sweeper::Gone;
            return;
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
