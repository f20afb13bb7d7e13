//! What an administrator asks about bans and bursts, in the running daemon or, when none runs, on the files.
//!
//! [`carry_out`] is the daemon's way, [`carry_out_alone`] the other; both end in the same few functions. Bans that an
//! administrator makes are on disk before he hears that they are made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use postern_queue::{Change, Filter, Store};
use serde::{Deserialize, Serialize};

use super::bans::{Ban, BannedBy};
use super::bursts::Burst;
use super::subject::Subject;
use super::{Limits, OpenedLimits};
use crate::config::{Config, Protection};
use crate::daemon::{Shared, open_store};
use crate::event::Event;
use crate::outbound::own_addresses;

/// Networks with less bits than these hold so much of the world that nobody means them.
const SHORTEST: [u8; 2] = [8, 19];
/// The longest reason that is kept, in characters.
const BECAUSE_MOST: usize = 200;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Who is banned, and which accounts are closed to strangers?
    Bans,
    /// Ban somebody.
    Ban {
        /// Whom.
        subject: Subject,
        /// For how long; `None`: until it is removed.
        length: Option<Duration>,
        /// Why.
        because: String,
        /// Even if that shuts out this machine, its neighbours or the world.
        force: bool,
    },
    /// Lift a ban.
    Unban {
        /// Whose.
        subject: Subject,
    },
    /// Whose mail is held?
    Bursts,
    /// Send it.
    Release {
        /// Whose.
        user: String,
    },
    /// Remove it, without a report to anybody.
    Discard {
        /// Whose.
        user: String,
    },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Those in force, the newest last. A closed account is among them: it can sign in only where it did so lately.
    Bans(Vec<Ban>),
    /// It is made.
    Banned(Ban),
    /// This is lifted and forgotten.
    Unbanned(Lifted),
    /// Those undecided, the oldest first.
    Bursts(Vec<Burst>),
    /// So many deliveries were released or removed; `None`: nothing of that account is held.
    Decided(Option<u64>),
}

/// What came of lifting a ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// The ban, if there was one.
    pub ban: Option<Ban>,
    /// So many different wrong passwords were forgotten with it; what was closed because of them is open again.
    pub forgotten: usize,
}

impl Lifted {
    /// Whether there was nothing to lift and nothing to forget.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.ban.is_none() && self.forgotten == 0
    }
}

/// What an operation works with.
struct Desk<'a> {
    limits: &'a Limits,
    rules: &'a Protection,
    /// Where our own listeners can be reached.
    own: &'a [SocketAddr],
    now: Timestamp,
}

/// In the running daemon.
///
/// # Errors
/// In words, why it was not done.
pub(crate) async fn carry_out(shared: &Shared, request: Request, now: Timestamp) -> Result<Response, String> {
    let site = shared.site.load_full();
    let own = shared.own_addresses.load_full();
    let desk = Desk { limits: &shared.limits, rules: &site.config.protection, own: &own, now };
    let subject = match &request {
        Request::Unban { subject } => Some(subject.to_string()),
        _ => None,
    };
    let response = match request {
        Request::Release { user } => desk.release(&user, &*shared.store).await?,
        Request::Discard { user } => desk.discard(&user, &*shared.store).await?,
        request => desk.on_bans(request).await?,
    };
    match (&response, subject) {
        (Response::Banned(ban), _) => shared.observer.daemon(Event::banned(ban)),
        (Response::Unbanned(lifted), Some(subject)) if !lifted.is_nothing() => {
            shared.observer.daemon(Event::Unbanned { subject });
        }
        (Response::Decided(Some(_)), _) => shared.wake.notify_one(),
        _ => {}
    }
    Ok(response)
}

/// On the files, while no daemon runs.
///
/// # Errors
/// In words, why it was not done.
pub(crate) async fn carry_out_alone(
    config: &Config,
    request: Request,
    now: Timestamp,
) -> Result<Response, String> {
    let limits = open_alone(config, &request, now).await?;
    let binds: Vec<SocketAddr> =
        config.listeners.iter().flat_map(|listener| listener.bind.iter().copied()).collect();
    let own = own_addresses(&binds);
    let desk = Desk { limits: &limits, rules: &config.protection, own: &own, now };
    let store = || async {
        let store: Result<Arc<dyn Store>, _> = open_store(config).await;
        store.map_err(|error| error.to_string())
    };
    match request {
        Request::Release { user } => desk.release(&user, &*store().await?).await,
        Request::Discard { user } => desk.discard(&user, &*store().await?).await,
        request => desk.on_bans(request).await,
    }
}

/// Who only looks changes no file.
async fn open_alone(config: &Config, request: &Request, now: Timestamp) -> Result<Limits, String> {
    if matches!(request, Request::Bans | Request::Bursts) {
        return Limits::open_for_reading(&config.data_dir, now).await.map_err(|error| error.to_string());
    }
    let opened = Limits::open(&config.data_dir, now).await.map_err(|error| error.to_string())?;
    let OpenedLimits { limits, trouble } = opened;
    trouble.map_or(Ok(limits), |trouble| Err(trouble.to_string()))
}

impl Desk<'_> {
    async fn on_bans(&self, request: Request) -> Result<Response, String> {
        let (limits, now) = (self.limits, self.now);
        let response = match request {
            Request::Bans => return Ok(Response::Bans(limits.state().barred(self.rules, now))),
            Request::Bursts => return Ok(Response::Bursts(limits.state().histories.list())),
            Request::Ban { subject, length, because, force } => {
                if !force {
                    self.refuse_folly(&subject)?;
                }
                let ban = self.ban(subject, length, &because)?;
                limits.state().ban(ban.clone(), now);
                Response::Banned(ban)
            }
            Request::Unban { subject } => Response::Unbanned(limits.state().unban(&subject, now)),
            Request::Release { .. } | Request::Discard { .. } => return Err("that is about the queue".into()),
        };
        self.write().await?;
        Ok(response)
    }

    fn ban(&self, subject: Subject, length: Option<Duration>, because: &str) -> Result<Ban, String> {
        let until = match length {
            None => None,
            Some(length) => {
                let end = SignedDuration::try_from(length)
                    .ok()
                    .and_then(|length| self.now.checked_add(length).ok());
                Some(end.ok_or("that is too long: leave it out for a ban without end")?)
            }
        };
        let because = because.chars().filter(|c| !c.is_control()).take(BECAUSE_MOST).collect();
        Ok(Ban { subject, because, since: self.now, until, by: BannedBy::Administrator })
    }

    /// What nobody means: the world, this machine, and who stands in front of it.
    fn refuse_folly(&self, subject: &Subject) -> Result<(), String> {
        let Subject::Network(network) = subject else { return Ok(()) };
        let holds = |address: IpAddr| network.contains(&address.to_canonical());
        let loopback: [IpNet; 2] =
            [[127, 0, 0, 0].into(), std::net::Ipv6Addr::LOCALHOST.into()].map(|address: IpAddr| {
                IpNet::new(address, if address.is_ipv4() { 8 } else { 128 }).unwrap_or(address.into())
            });
        let overlaps = |other: &IpNet| other.contains(network) || network.contains(other);
        let folly = if network.prefix_len() < SHORTEST[usize::from(network.addr().is_ipv6())] {
            "it is a large part of the world".to_owned()
        } else if loopback.iter().any(overlaps) {
            "programs on this machine, such as web mail, come from there".to_owned()
        } else if let Some(own) = self.own.iter().find(|own| holds(own.ip())) {
            format!("this machine itself is in it, as {}", own.ip())
        } else if let Some(spared) = self.rules.bans.never.iter().find(|spared| overlaps(spared)) {
            format!("{spared} stands in [bans] never")
        } else {
            return Ok(());
        };
        Err(format!(
            "{subject} is not banned: {folly}; name a smaller network, or say --force if you mean it"
        ))
    }

    async fn release(&self, user: &str, store: &dyn Store) -> Result<Response, String> {
        self.decide(user, store, Change::Release).await
    }

    async fn discard(&self, user: &str, store: &dyn Store) -> Result<Response, String> {
        self.decide(user, store, Change::Remove).await
    }

    /// The account is freed first, so that nothing more is held while the queue is gone through.
    async fn decide(&self, user: &str, store: &dyn Store, change: Change) -> Result<Response, String> {
        let burst = {
            let mut state = self.limits.state();
            match change {
                Change::Release => state.histories.release(user, self.now),
                _ => state.histories.discard(user, self.now),
            }
        };
        self.write().await?;
        let filter = Filter {
            user: Some(user.to_owned()),
            held: Some(true),
            held_at_entry: Some(true),
            ..Filter::default()
        };
        let changed = store.amend(self.now, filter, change).await.map_err(|error| error.to_string())?;
        Ok(Response::Decided((burst.is_some() || changed > 0).then_some(changed)))
    }

    async fn write(&self) -> Result<(), String> {
        self.limits.write(self.rules, self.now).await.map_err(|error| error.to_string())
    }
}
