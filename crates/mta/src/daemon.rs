//! The daemon as a whole: everything that lives as long as the process, and what a reload replaces.
//!
//! [`Daemon`] owns every task. [`Shared`] is what the tasks see: the store, the users, the observer, and the [`Site`],
//! which is all that follows from one configuration and is swapped whole by a reload. There is no `static` state.

mod bind;
mod site;
mod tasks;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use postern_dns::{LookupError, Resolver, SystemResolver};
use postern_queue::{MemoryStore, SqliteStore, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use site::Site;
pub(crate) use tasks::Tasks;

use crate::admin;
use crate::config::{Config, StoreKind};
use crate::directory::{self, Users};
use crate::event::Event;
use crate::inbound::listener::Sessions;
use crate::observe::Observer;
use crate::outbound::own_addresses;
use crate::scheduler;
use bind::Bound;

/// How long a drain waits for sessions and attempts that are under way.
const GRACE: Duration = Duration::from_secs(30);

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data directory cannot be made or used.
    #[error(
        "{path}: the data directory cannot be used: {source}; create it and give it to the user that runs Postern"
    )]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The queue cannot be opened.
    #[error(transparent)]
    Queue(#[from] postern_queue::Error),
    /// The users cannot be opened.
    #[error(transparent)]
    Users(#[from] directory::Error),
    /// The resolver cannot be set up.
    #[error("DNS cannot be asked: {0}; name servers in [dns] servers, or mend /etc/resolv.conf")]
    Dns(#[from] LookupError),
    /// An address cannot be bound.
    #[error("listener {listener}: {address} cannot be bound: {source}; {remedy}")]
    Bind {
        /// The listener's name.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// The control socket cannot be made.
    #[error("{path}: the control socket cannot be made: {source}")]
    Control {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Whether the daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Running,
    /// It finishes what is under way.
    Draining,
}

/// What every task sees.
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) users: Users,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) observer: Observer,
    /// All that follows from the configuration of the moment.
    pub(crate) site: ArcSwap<Site>,
    /// Where our own listeners can be reached.
    pub(crate) own_addresses: ArcSwap<Vec<SocketAddr>>,
    pub(crate) sessions: Arc<Sessions>,
    /// Rung when something became due.
    pub(crate) wake: Notify,
    pub(crate) tasks: Tasks,
    session_count: AtomicU64,
    started: Timestamp,
}

impl Shared {
    /// A session id: unique in the life of the queue's log, short enough to be read out.
    pub(crate) fn session_id(&self) -> String {
        let count = self.session_count.fetch_add(1, Ordering::Relaxed);
        format!("s{:x}-{count:x}", self.started.as_millisecond() / 100 % 0x1_0000_0000)
    }
}

/// A running Postern.
pub struct Daemon {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    bound: Bound,
    scheduler: JoinHandle<()>,
    control: JoinHandle<()>,
}

impl Daemon {
    /// Opens the data directory and binds the listeners. When this returns, clients can connect.
    ///
    /// # Errors
    /// What keeps it from starting, with what to do about it. Nothing is left running.
    pub async fn start(config: Config, observer: Observer, reload: admin::Reload) -> Result<Self, Error> {
        prepare_data_dir(&config)?;
        let now = Timestamp::now();
        let shared = Arc::new(Shared {
            store: open_store(&config, now)?,
            users: Users::open(&config.data_dir)?,
            resolver: Arc::new(resolver(&config)?),
            site: ArcSwap::from_pointee(Site::new(config, &observer, now)),
            own_addresses: ArcSwap::from_pointee(Vec::new()),
            sessions: Arc::default(),
            wake: Notify::new(),
            tasks: Tasks::default(),
            session_count: AtomicU64::new(0),
            started: now,
            observer,
        });
        let (phase, running) = watch::channel(Phase::Running);
        let mut bound = Bound::default();
        bound.adopt(&shared, &running).await?;
        let control = admin::socket::serve(Arc::clone(&shared), reload)?;
        let scheduler = tokio::spawn(scheduler::run(Arc::clone(&shared), running));
        let mut daemon = Self { shared, phase, bound, scheduler, control };
        daemon.announce().await;
        Ok(daemon)
    }

    /// Listeners' names and the addresses that they are bound to.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.bound.addresses()
    }

    /// Takes over a new configuration. Sessions that are open go on as they began.
    pub async fn reload(&mut self, config: Config) {
        let observer = self.shared.observer.clone();
        let old = self.shared.site.load_full();
        if old.config.data_dir != config.data_dir || old.config.queue.store != config.queue.store {
            observer.daemon(Event::Alarm {
                what: "data_dir and queue.store cannot change while Postern runs; the old ones stay".into(),
                remedy: "restart Postern".into(),
            });
        }
        self.shared.site.store(Arc::new(Site::new(config, &observer, Timestamp::now())));
        if let Err(error) = self.bound.adopt(&self.shared, &self.phase.subscribe()).await {
            observer.daemon(Event::Alarm { what: error.to_string(), remedy: "then reload again".into() });
        }
        self.announce().await;
        self.shared.wake.notify_one();
        observer.daemon(Event::Reloaded);
    }

    /// Loads certificates anew, so that a renewed one is served: from files, or from the private CA before its end.
    pub async fn refresh(&mut self) {
        let config = Config::clone(&self.shared.site.load().config);
        self.shared.site.store(Arc::new(Site::new(config, &self.shared.observer, Timestamp::now())));
        // Every address is bound already, so that nothing can fail here.
        let _ = self.bound.adopt(&self.shared, &self.phase.subscribe()).await;
    }

    /// Ends in order: no new sessions, 421 to those that idle, and what is under way is finished within the grace.
    pub async fn stop(self) {
        self.shared.observer.daemon(Event::Draining);
        let _ = self.phase.send(Phase::Draining);
        self.control.abort();
        let _ = self.scheduler.await;
        if timeout(GRACE, self.shared.tasks.all_done()).await.is_err() {
            self.shared.observer.daemon(Event::Alarm {
                what: format!(
                    "{} sessions or attempts did not end in time and are cut off",
                    self.shared.tasks.count()
                ),
                remedy: "nothing to do: nothing that was acknowledged is lost, and attempts are repeated"
                    .into(),
            });
        }
        admin::socket::remove(&self.shared.site.load().config.data_dir);
        self.shared.observer.daemon(Event::Stopped);
    }

    /// Says where we listen: in the log, for programs in `listeners.json`, and for the loop protection.
    async fn announce(&mut self) {
        let addresses = self.bound.addresses();
        let all: Vec<SocketAddr> = addresses.iter().map(|(_, address)| *address).collect();
        self.shared.own_addresses.store(Arc::new(own_addresses(&all)));
        self.bound.write_list(&self.shared).await;
        for (listener, address) in self.bound.take_news() {
            self.shared.observer.daemon(Event::Listening { listener, address });
        }
    }
}

/// Others may pass through, to the root certificate that they import; every file that is not for them says so itself.
pub(crate) fn prepare_data_dir(config: &Config) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let path = &config.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path);
    made.map_err(|source| Error::DataDir { path: path.clone(), source })
}

pub(crate) fn open_store(config: &Config, now: Timestamp) -> Result<Arc<dyn Store>, postern_queue::Error> {
    Ok(match config.queue.store {
        StoreKind::Sqlite => Arc::new(SqliteStore::open(&config.data_dir, now)?),
        StoreKind::Memory => Arc::new(MemoryStore::new()),
    })
}

fn resolver(config: &Config) -> Result<SystemResolver, LookupError> {
    SystemResolver::new(&postern_dns::Options {
        servers: config.dns.servers.clone(),
        timeout: Some(config.dns.timeout),
    })
}
