//! The daemon as a whole: everything that lives as long as the process, and what a reload replaces.
//!
//! [`Daemon`] owns every task. [`Shared`] is what the tasks see: the store, the users, the observer, and the [`Site`],
//! which is all that follows from one configuration and is swapped whole by a reload. There is no `static` state.
//!
//! - [`Daemon::start`] opens and binds everything; what keeps it from starting is an [`Error`] with a remedy.
//! - [`Daemon::reload`] and [`Daemon::refresh`] make a new [`Site`]; sessions and attempts keep the one they began with.
//! - [`Daemon::stop`] drains: what is under way is finished, within a grace.
//!
//! What it deliberately does not do: read files or signals. Whoever runs it does, and hands it a resolved configuration.

mod accept;
mod authority;
mod bind;
mod cured;
pub(crate) mod network;
mod revocations;
mod services;
pub(crate) mod serving;
mod site;
mod tasks;
mod upkeep;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use postern_dns::OpenError;
use postern_pki::{Challenges, TlsIdentity};
use postern_queue::{MemoryStore, SqliteStore, Store};
use tokio::sync::{Mutex, Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

pub(crate) use accept::Accepted;
pub(crate) use revocations::Revocations;
pub use site::Site;
pub(crate) use site::{Means, Outside, listeners_for_questions};
pub(crate) use tasks::Tasks;

use crate::admin;
use crate::certificates;
use crate::certificates::acme::story::Story;
use crate::certificates::acme::{self, Acme};
use crate::certificates::watch::{Look, Watch};
use crate::config::{Config, StoreKind};
use crate::device::log::DeviceLog;
use crate::directory::{self, Directories, Users};
use crate::event::Event;
use crate::history::History;
use crate::http::authority::Quotas;
use crate::inbound::habits::Habits;
use crate::inbound::listener::Sessions;
use crate::limits::{self, Limits};
use crate::metrics::Counters;
use crate::observe::Observer;
use crate::outbound::ladder::Ladder;
use crate::outbound::own_addresses;
use crate::outbound::token::Tokens;
use crate::policy::ledger::{self, Ledger, LedgerError};
use crate::policy::reports;
use crate::policy::tls_results::TlsResults;
use crate::scheduler;
use crate::session::{Keeper, keeper};
use bind::Bound;
use network::Network;
use serving::{Asked, Stage};

/// Whoever had the queue before may still be stopping, or the system clearing it away: it is waited for so long.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// So often it is looked whether the queue is free.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// How long a drain waits for sessions and attempts that are under way.
const GRACE: Duration = Duration::from_secs(30);

/// So many may wait for a look at the files of certificates.
const LOOKS_MOST: usize = 16;

/// Session ids begin with when the daemon was started, in ticks of so many milliseconds: restarts are never closer.
const ID_TICK: i64 = 100;
/// After so many ticks, some 13 years, they would begin anew: eight hexadecimal digits.
const ID_TICKS: i64 = 1 << 32;

/// Why the daemon could not start, or a reload could not do all it should.
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
    Dns(#[from] OpenError),
    /// What is learnt about destinations cannot be kept, not even in memory.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is counted for limits cannot be kept, not even in memory.
    #[error(transparent)]
    Limits(#[from] limits::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] postern_pki::Error),
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
    /// The configuration was read again and moves what is open.
    #[error(
        "data_dir and queue.store cannot change while Postern runs; the old ones stay until it is restarted"
    )]
    NeedsRestart,
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
    pub(crate) observer: Observer,
    /// All that follows from the configuration of the moment.
    pub(crate) site: ArcSwap<Site>,
    /// Where our own listeners can be reached.
    pub(crate) own_addresses: ArcSwap<Vec<SocketAddr>>,
    pub(crate) sessions: Arc<Sessions>,
    /// How clients begin that begin otherwise than their port expects.
    pub(crate) habits: Arc<Habits>,
    /// Connections to what is served by HTTP; they are counted apart.
    pub(crate) http_connections: Arc<Sessions>,
    /// How many certificates each client asked for.
    pub(crate) quotas: Arc<Quotas>,
    /// Rung when something became due.
    pub(crate) wake: Notify,
    pub(crate) tasks: Tasks,
    /// What opportunistic TLS came to with each host.
    pub(crate) ladder: Ladder,
    /// What ACME authorities that validate a name are shown on listeners with implicit TLS.
    pub(crate) challenges: Challenges,
    /// What is known of our certificates on disk and in service.
    pub(crate) watch: Arc<Mutex<Watch>>,
    /// Asks for a look at the files of our certificates.
    pub(crate) looks: mpsc::Sender<Asked>,
    /// Access tokens of connectors.
    pub(crate) tokens: Tokens,
    /// What is counted for TLS reports.
    pub(crate) tls_results: TlsResults,
    /// Certificates by ACME.
    pub(crate) acme: Acme,
    /// What is counted for the monitoring.
    pub(crate) counters: Counters,
    /// How much anybody did lately, who guesses, and who is banned.
    pub(crate) limits: Limits,
    /// What is remembered of devices.
    pub(crate) devices: DeviceLog,
    /// What happened.
    pub(crate) history: History,
    /// What is kept of sessions that ended, and of troubles.
    pub(crate) keeper: Keeper,
    session_count: AtomicU64,
    started: Timestamp,
}

impl Shared {
    /// A session id: unique in the life of the queue's log, short enough to be read out.
    pub(crate) fn session_id(&self) -> String {
        let count = self.session_count.fetch_add(1, Ordering::Relaxed);
        format!("s{:x}-{count:x}", self.started.as_millisecond() / ID_TICK % ID_TICKS)
    }

    /// Who is asked at the moment.
    fn outside(&self) -> Outside {
        let site = self.site.load();
        Outside { network: site.network.clone(), directories: Arc::clone(&site.directories) }
    }

    /// Whom to ask for names and policies at the moment.
    pub(crate) fn network(&self) -> Network {
        self.site.load().network.clone()
    }
}

/// A running Postern.
pub struct Daemon {
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    stage: Stage,
    addresses: Vec<(String, SocketAddr)>,
    scheduler: JoinHandle<()>,
    upkeep: JoinHandle<()>,
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
        let (history, observer) = History::begin(&config.data_dir, config.history, &observer)
            .map_err(|source| Error::DataDir { path: config.data_dir.clone(), source })?;
        let ledger = open_ledger(&config.data_dir, &observer)?;
        let network = Network::open(&config.dns, &ledger, &observer)?;
        let challenges = Challenges::default();
        let (acme, wishes) = Acme::new(open_story(&config.data_dir, &observer)?);
        let (config, watch) = (Arc::new(config), Arc::default());
        let identities = look(&watch, &config, &observer).await;
        let config = Arc::unwrap_or_clone(config);
        let (looks, asked) = mpsc::channel(LOOKS_MOST);
        let store = open_store(&config).await?;
        let devices = open_device_log(&config.data_dir, &observer)?;
        let users = Users::open(&config.data_dir)?;
        let limits = open_limits(&config.data_dir, &observer, now).await?;
        let keeper = open_keeper(&config.data_dir, &observer, now).await?;
        let (resolver, told) = (Some(&network.resolver), Some(&observer));
        let means = directory::Means { users: &users, resolver, observer: told };
        let directories = Arc::new(Directories::new(&config, &means, None)?);
        let outside = Outside { network, directories };
        let shared = Arc::new(Shared {
            store,
            users,
            ladder: Ladder::default(),
            tokens: Tokens::new(&config.data_dir, observer.clone()),
            tls_results: TlsResults::new(ledger),
            counters: Counters::default(),
            limits,
            devices,
            history,
            keeper,
            site: ArcSwap::from_pointee(first_site(config, outside, identities, &challenges, &observer)),
            own_addresses: ArcSwap::from_pointee(Vec::new()),
            challenges,
            watch,
            looks,
            sessions: Arc::default(),
            habits: Arc::default(),
            http_connections: Arc::default(),
            quotas: Arc::default(),
            wake: Notify::new(),
            tasks: Tasks::default(),
            acme,
            session_count: AtomicU64::new(0),
            started: now,
            observer,
        });
        shared.site.load().announce(&shared.observer);
        if let Some(alarm) = exposed(&shared.site.load().config.data_dir) {
            shared.observer.daemon(alarm);
        }
        let (phase, running) = watch::channel(Phase::Running);
        let mut bound = Bound::default();
        bound.adopt(&shared, &running).await?;
        let control = admin::socket::serve(Arc::clone(&shared), reload)?;
        let upkeep = tokio::spawn(upkeep::run(Arc::clone(&shared), running.clone()));
        let reports = reports::run(Arc::clone(&shared), running.clone());
        tokio::spawn(shared.tasks.track_future(reports));
        let acme = acme::run::run(Arc::clone(&shared), wishes, running.clone());
        tokio::spawn(shared.tasks.track_future(acme));
        let stage = Arc::new(Mutex::new(bound));
        let serving = serving::run(Arc::clone(&shared), Arc::clone(&stage), running.clone(), asked);
        tokio::spawn(shared.tasks.track_future(serving));
        let warnings = certificates::warn::run(Arc::clone(&shared), running.clone());
        tokio::spawn(shared.tasks.track_future(warnings));
        let counts = limits::run(Arc::clone(&shared), running.clone());
        tokio::spawn(shared.tasks.track_future(counts));
        let sessions = keeper::run(Arc::clone(&shared), running.clone());
        tokio::spawn(shared.tasks.track_future(sessions));
        announce_dnssec(shared.network(), shared.observer.clone());
        let scheduler = tokio::spawn(scheduler::run(Arc::clone(&shared), running));
        let addresses = Vec::new();
        let mut daemon = Self { shared, phase, stage, addresses, scheduler, upkeep, control };
        daemon.announce().await;
        Ok(daemon)
    }

    /// Listeners' names and the addresses that they are bound to.
    pub fn addresses(&self) -> Vec<(String, SocketAddr)> {
        self.addresses.clone()
    }

    /// Takes over a new configuration. Sessions that are open go on as they began.
    ///
    /// # Errors
    /// What of the new configuration could not be put into force, which is an alarm as well. The rest of it is.
    pub async fn reload(&mut self, mut config: Config) -> Result<(), Vec<Error>> {
        // Nobody else changes the site meanwhile.
        let stage = Arc::clone(&self.stage);
        let mut bound = stage.lock().await;
        let mut errors = self.keep_what_must_stay(&mut config);
        let network = self.network_for(&config).unwrap_or_else(|error| {
            errors.push(error);
            // The next reload is to try again, so that the site must not claim to have it.
            config.dns.clone_from(&self.shared.site.load().config.dns);
            self.shared.network()
        });
        let directories = self.directories_for(&config, &network).unwrap_or_else(|error| {
            errors.push(error);
            Arc::clone(&self.shared.site.load().directories)
        });
        let site = self.site(config, Outside { network, directories }, Look::AtOnce).await;
        site.announce(&self.shared.observer);
        self.shared.history.retain(site.config.history);
        let before = self.shared.site.swap(Arc::new(site));
        errors.extend(bound.adopt(&self.shared, &self.phase.subscribe()).await.err());
        drop(bound);
        self.complain_of(&errors);
        self.announce().await;
        self.shared.wake.notify_one();
        self.shared.acme.look();
        self.shared.observer.daemon(Event::Reloaded);
        let cure = cured::wake(Arc::clone(&self.shared), before);
        tokio::spawn(self.shared.tasks.track_future(cure));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// What the directories of before remember is kept.
    fn directories_for(&self, config: &Config, network: &Network) -> Result<Arc<Directories>, Error> {
        let before = &self.shared.site.load().directories;
        let (resolver, observer) = (Some(&network.resolver), Some(&self.shared.observer));
        let means = directory::Means { users: &self.shared.users, resolver, observer };
        Ok(Arc::new(Directories::new(config, &means, Some(before))?))
    }

    async fn site(&self, config: Config, outside: Outside, look: Look) -> Site {
        let Shared { challenges, observer, watch, .. } = &*self.shared;
        let config = Arc::new(config);
        let identities = match serving::look(watch, &config, look).await {
            Some(looked) => {
                looked.events.into_iter().for_each(|event| observer.daemon(event));
                looked.identities
            }
            None => self.shared.site.load().identities().to_vec(),
        };
        let before = self.shared.site.load();
        let means = Means { challenges, observer, revocations: before.revocations() };
        Site::new(Arc::unwrap_or_clone(config), outside, identities, &means)
    }

    fn complain_of(&self, errors: &[Error]) {
        for error in errors {
            let first = match error {
                Error::NeedsRestart => "restart Postern",
                _ => "then reload again",
            };
            let remedy = format!("{first}; the rest of the configuration is in force");
            self.shared.observer.daemon(Event::Alarm { what: error.to_string(), remedy });
        }
    }

    /// The store and what lies beside it are open: they stay where they are.
    fn keep_what_must_stay(&self, config: &mut Config) -> Vec<Error> {
        let old = Arc::clone(&self.shared.site.load().config);
        if old.data_dir == config.data_dir && old.queue.store == config.queue.store {
            return Vec::new();
        }
        config.data_dir.clone_from(&old.data_dir);
        config.queue.store = old.queue.store;
        vec![Error::NeedsRestart]
    }

    /// The network that there is, with its connections and its caches, unless `[dns]` has changed.
    fn network_for(&self, config: &Config) -> Result<Network, Error> {
        let old = self.shared.site.load();
        if old.config.dns == config.dns {
            return Ok(old.network.clone());
        }
        let network = Network::open(&config.dns, self.shared.tls_results.ledger(), &self.shared.observer)?;
        announce_dnssec(network.clone(), self.shared.observer.clone());
        Ok(network)
    }

    /// Loads trusted roots and the authorities of client certificates anew. Our own certificates are watched all the time.
    pub async fn refresh(&mut self) {
        let mut bound = self.stage.lock().await;
        let config = Config::clone(&self.shared.site.load().config);
        let site = self.site(config, self.shared.outside(), Look::Routine).await;
        self.shared.site.store(Arc::new(site));
        // Every address is bound already, so that nothing can fail here.
        let _ = bound.adopt(&self.shared, &self.phase.subscribe()).await;
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
        let _ = self.upkeep.await;
        // What the last sessions came to counts as well.
        upkeep::flush(&self.shared).await;
        limits::flush(&self.shared).await;
        keeper::flush(&self.shared).await;
        admin::socket::remove(&self.shared.site.load().config.data_dir);
        self.shared.history.stop().await;
        self.shared.observer.daemon(Event::Stopped);
    }

    /// Says where we listen: in the log, for programs in `listeners.json`, and for the loop protection.
    async fn announce(&mut self) {
        let mut bound = self.stage.lock().await;
        let own = own_addresses(&bound.mail_addresses());
        self.shared.own_addresses.store(Arc::new(own));
        bound.write_list(&self.shared).await;
        self.addresses = bound.addresses();
        for (listener, address) in bound.take_news() {
            self.shared.observer.daemon(Event::Listening { listener, address });
        }
    }
}

/// The certificates to begin with, and an alarm for each that cannot be used.
async fn look(watch: &Arc<Mutex<Watch>>, config: &Arc<Config>, observer: &Observer) -> Vec<Arc<TlsIdentity>> {
    let Some(looked) = serving::look(watch, config, Look::AtOnce).await else { return Vec::new() };
    looked.events.into_iter().for_each(|event| observer.daemon(event));
    looked.identities
}

/// The site at the start, when nothing is known of what was revoked.
fn first_site(
    config: Config,
    outside: Outside,
    identities: Vec<Arc<TlsIdentity>>,
    challenges: &Challenges,
    observer: &Observer,
) -> Site {
    let means = Means { challenges, observer, revocations: &Revocations::default() };
    Site::new(config, outside, identities, &means)
}

/// Others may pass through, to the root certificate that they import; every file that is not for them says so itself.
pub(crate) fn prepare_data_dir(config: &Config) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let path = &config.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o711).create(path);
    made.map_err(|source| Error::DataDir { path: path.clone(), source })
}

/// Whoever may write into the data directory may put his own keys and his own queue in the place of ours.
fn exposed(data_dir: &Path) -> Option<Event> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(data_dir).ok()?.permissions().mode() & 0o7777;
    let path = data_dir.display();
    (mode & 0o022 != 0).then(|| Event::Alarm {
        what: format!("{path}: other users can replace the keys and the queue in it (mode {mode:04o})"),
        remedy: format!("chmod 711 {path}"),
    })
}

/// Opens the queue. While another process has it, that one may just be ending: it is waited for a little.
pub(crate) async fn open_store(config: &Config) -> Result<Arc<dyn Store>, postern_queue::Error> {
    open_store_within(LOCK_PATIENCE, config).await
}

async fn open_store_within(
    patience: Duration,
    config: &Config,
) -> Result<Arc<dyn Store>, postern_queue::Error> {
    if config.queue.store == StoreKind::Memory {
        return Ok(Arc::new(MemoryStore::new()));
    }
    let end = Instant::now() + patience;
    loop {
        match SqliteStore::open(&config.data_dir) {
            Err(postern_queue::Error::InUse { .. }) if Instant::now() < end => sleep(LOCK_PAUSE).await,
            opened => return Ok(Arc::new(opened?)),
        }
    }
}

/// Nobody waits for it: the resolver may take its time.
fn announce_dnssec(network: Network, observer: Observer) {
    tokio::spawn(async move { network.announce(&observer).await });
}

/// Opens the ledger. What kept it from being the one on disk is an alarm and never stops the mail.
fn open_ledger(data_dir: &Path, observer: &Observer) -> Result<Ledger, Error> {
    let opened = ledger::open(data_dir)?;
    tell_of(opened.trouble, observer);
    Ok(opened.ledger)
}

fn open_story(data_dir: &Path, observer: &Observer) -> Result<Story, Error> {
    let opened = Story::open(data_dir)?;
    tell_of(opened.trouble, observer);
    Ok(opened.story)
}

async fn open_limits(data_dir: &Path, observer: &Observer, now: Timestamp) -> Result<Limits, Error> {
    let opened = Limits::open(data_dir, now).await?;
    tell_of(opened.trouble, observer);
    Ok(opened.limits)
}

async fn open_keeper(data_dir: &Path, observer: &Observer, now: Timestamp) -> Result<Keeper, Error> {
    let (keeper, trouble) = Keeper::open(data_dir, now).await?;
    tell_of(trouble, observer);
    Ok(keeper)
}

fn open_device_log(data_dir: &Path, observer: &Observer) -> Result<DeviceLog, Error> {
    let (log, trouble) = DeviceLog::open(data_dir)?;
    tell_of(trouble, observer);
    Ok(log)
}

fn tell_of(trouble: Option<LedgerError>, observer: &Observer) {
    let Some(trouble) = trouble else { return };
    observer.daemon(Event::Alarm {
        what: trouble.to_string(),
        remedy: "nothing to do unless it comes again; then look at the disk that holds the data directory"
            .into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Surroundings;

    fn config(data_dir: &Path) -> Config {
        let text =
            "hostname = 'mx.example.org'\n[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['[::1]:0']\n";
        let path = data_dir.join("postern.toml");
        std::fs::write(&path, text).unwrap();
        let mut config = Config::load(&path, &Surroundings::default()).unwrap();
        data_dir.clone_into(&mut config.data_dir);
        config
    }

    #[test]
    fn a_data_directory_that_others_may_write_to_is_an_alarm_with_its_remedy() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        for (mode, bad) in [(0o777, true), (0o1777, true), (0o770, true), (0o711, false), (0o750, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let remedy = exposed(folder.path()).map(|alarm| alarm.to_string());
            let wanted = format!("what to do: chmod 711 {}", folder.path().display());
            assert_eq!(
                remedy.as_ref().is_some_and(|said| said.ends_with(&wanted)),
                bad,
                "{mode:o}: {remedy:?}"
            );
            assert_eq!(remedy.is_some(), bad, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn a_queue_that_is_just_being_closed_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let other = open_store(&config).await.unwrap();
        let (second, ()) = tokio::join!(open_store(&config), async move {
            // Polled second: the other one has found the lock taken before.
            drop(other);
        });
        assert!(second.is_ok(), "{:?}", second.err());
    }

    #[tokio::test]
    async fn a_queue_that_stays_in_use_is_refused_in_words_to_act_upon() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let _other = open_store(&config).await.unwrap();
        let error = open_store_within(Duration::ZERO, &config).await.err().unwrap().to_string();
        assert!(error.contains("another Postern runs on this data directory"), "{error}");
    }
}
