//! Which MTA-STS policy binds a domain now (RFC 8461): asked, fetched, kept, refreshed.
//!
//! The types to know:
//! - [`StsPolicies`]: one for the whole daemon. [`StsPolicies::policy_for`] is asked before each delivery and costs about
//!   a microsecond while what it knows may be trusted; [`StsPolicies::refresh_due`] is called about once an hour.
//! - [`Found`]: the policy, if any, where it comes from ([`Source`]), and the last trouble on the way to it.
//! - [`StsTrouble`] and [`StsFault`]: that trouble, in words and as a [`TlsFault`].
//!
//! `decide` holds the rules and is pure; `fetch` asks the policy host; `slots` is the memory. What was fetched is in the
//! [`Ledger`], so that neither a restart nor a full memory takes away a policy that binds. A broken host is asked again
//! after 5 minutes at the earliest, later after an hour, and costs nothing in between.
//!
//! What it deliberately does not do: turn a policy into a TLS requirement, count for reports, or deliver.

mod decide;
mod fetch;
mod slots;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use postern_dns::Resolver;
use postern_dns::mta_sts::{
    Mode, POLICY_MOST, Policy, PolicyError, RecordError, RecordId, policy_domain, record_name,
};
use postern_smtp::tls::{TlsFailure, TlsFault};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use super::ledger::{Ledger, LedgerError};
use crate::event::Event;
use crate::https::{self, Https, HttpsError, Limits};
use crate::observe::Observer;
use decide::Step;
use slots::{Slot, Slots};

pub use super::ledger::sts::FetchedPolicy;
pub(crate) use fetch::announced;

/// So many policies are refreshed at the same time.
const REFRESHES_MOST: usize = 8;
/// One round of [`StsPolicies::refresh_due`] looks at so many policies.
const ROUND_MOST: u32 = 1000;
/// Policies that no mail was planned under for so long are no longer refreshed.
const IDLE: SignedDuration = SignedDuration::from_hours(24 * 30);
/// A use is noted on disk once in so long.
const USE_NOTED: SignedDuration = SignedDuration::from_hours(24);
/// The ledger's trouble is told once in so long.
const ALARM_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// How policies are fetched and how much is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StsOptions {
    /// The port of the policy hosts: 443 by RFC 8461 §3.3, anything else in a laboratory.
    pub port: u16,
    /// The time for one fetch, from the lookup of the host to the last octet.
    pub time: Duration,
    /// Domains held in memory, with or without a policy. The ledger holds the policies of all.
    pub domains_most: usize,
}

impl Default for StsOptions {
    fn default() -> Self {
        // RFC 8461 §3.3 suggests a minute; a message has better things to do than to wait for it.
        Self { port: https::PORT, time: Duration::from_secs(30), domains_most: 100_000 }
    }
}

/// What is known of a domain's policy at one moment.
#[derive(Debug, Clone)]
pub struct Found {
    /// The policy that binds; `None`: there is none, and mail goes as it would without MTA-STS; or nobody knows, and mail
    /// has to wait: see [`Found::unanswered`].
    pub policy: Option<Binding>,
    /// What went wrong when it was last looked for, until it goes well.
    pub trouble: Option<Arc<StsTrouble>>,
}

/// A policy that binds. Mode `none` binds to nothing, but is remembered like the others.
#[derive(Debug, Clone)]
pub struct Binding {
    /// The policy, and when it was fetched.
    pub fetched: Arc<FetchedPolicy>,
    /// Where it comes from.
    pub source: Source,
}

/// Where a policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// It was fetched just now.
    Fresh,
    /// It was fetched earlier, and the domain's record still names it.
    Cached,
    /// It was fetched earlier; the record is gone, unreadable or unanswered, or names a newer one that cannot be
    /// fetched. It binds until it expires (RFC 8461 §5.1).
    Stale,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fresh => "fetched just now",
            Self::Cached => "fetched earlier, and still announced",
            Self::Stale => "fetched earlier, and binding until it expires",
        })
    }
}

/// What went wrong on the way to a policy, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsTrouble {
    /// What.
    pub fault: StsFault,
    /// When.
    pub at: Timestamp,
}

/// What went wrong on the way to a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StsFault {
    /// Our own ledger cannot be read, so that nobody knows whether a policy fetched earlier binds.
    #[error("whether an MTA-STS policy binds is not known: what was kept of it cannot be read: {0}")]
    Unread(String),
    /// DNS does not say whether there is a record.
    #[error("the MTA-STS record could not be looked up: {0}")]
    Lookup(String),
    /// The record is broken.
    #[error(transparent)]
    Record(RecordError),
    /// The policy host cannot be reached, or does not prove who it is.
    #[error("the MTA-STS policy could not be fetched: {0}")]
    Fetch(HttpsError),
    /// The policy host answers with another status than 200.
    #[error(
        "the MTA-STS policy host answered with status {0} where only 200 will do (redirects are not followed)"
    )]
    Status(u16),
    /// The policy host sends something else than text.
    #[error("the MTA-STS policy is of type {} and not text/plain", .0.as_deref().unwrap_or("unknown"))]
    MediaType(Option<String>),
    /// The policy is broken.
    #[error("the MTA-STS policy is invalid: {0}")]
    Policy(PolicyError),
}

/// The policies of all domains. Make one and share it; the work it began ends with it.
pub struct StsPolicies {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    resolver: Arc<dyn Resolver>,
    https: Https,
    ledger: Ledger,
    observer: Observer,
    options: StsOptions,
    slots: Slots,
    refreshes: Semaphore,
    alarmed: Mutex<Option<Timestamp>>,
}

impl StsPolicies {
    /// Policies found with this resolver, fetched with this client (which decides whom to trust), kept in this ledger.
    pub fn new(
        resolver: Arc<dyn Resolver>,
        https: Https,
        ledger: Ledger,
        observer: Observer,
        options: StsOptions,
    ) -> Self {
        let slots = Slots::new(options.domains_most);
        let (refreshes, alarmed) = (Semaphore::new(REFRESHES_MOST), Mutex::new(None));
        let shared = Shared { resolver, https, ledger, observer, options, slots, refreshes, alarmed };
        Self { shared: Arc::new(shared), tasks: Mutex::default() }
    }

    /// The policy that binds a domain now. Addresses and names that cannot have one are not looked up.
    ///
    /// Usually answers at once. Otherwise it waits for the lookup of the record and, where that names a policy that is
    /// not known yet, for its fetch; all who ask for one domain at the same time wait for the same. Whatever goes wrong
    /// is in the answer.
    ///
    /// # Cancel safety
    /// May be dropped at any time; what it began goes on and is there for the next who asks.
    pub async fn policy_for(&self, domain: &str, now: Timestamp) -> Found {
        let Some(domain) = policy_domain(domain) else { return Found { policy: None, trouble: None } };
        self.consult(&domain, now, Purpose::Delivery).await
    }

    /// Fetches policies again well before they expire, those in use only, and throws away what expired
    /// (RFC 8461 §5.1, §10.2). To be called about once an hour. Returns when all are looked at; the fetches go on.
    pub async fn refresh_due(&self, now: Timestamp) {
        let shared = &self.shared;
        if let Err(error) = shared.ledger.drop_expired_sts(now).await {
            shared.alarm(&error, now);
        }
        let due =
            shared.ledger.sts_due(decide::refresh_before(now), now, before(now, IDLE), ROUND_MOST).await;
        let domains = due.unwrap_or_else(|error| {
            shared.alarm(&error, now);
            Vec::new()
        });
        let look = async |domain: String| _ = self.consult(&domain, now, Purpose::Upkeep).await;
        futures_util::stream::iter(domains).for_each_concurrent(REFRESHES_MOST, look).await;
    }

    async fn consult(&self, domain: &str, now: Timestamp, purpose: Purpose) -> Found {
        let slot = self.shared.slots.slot(domain);
        let (mut step, mut found) = slot.look(now);
        if step.must_be_waited_for() {
            (step, found) = self.find_out(&slot, now, purpose).await;
        }
        if let Step::Refresh(_) = step {
            self.refresh_behind(slot, now);
        }
        found
    }

    /// Does what must be done before there is an answer, in a task of its own, one at a time for each domain.
    async fn find_out(&self, slot: &Arc<Slot>, now: Timestamp, purpose: Purpose) -> (Step, Found) {
        let failures = slot.known().unread_count;
        let turn = slot.turn.clone().lock_owned().await;
        // Whoever had the turn before may have found it all out, or that it cannot be found out.
        let (step, found) = slot.look(now);
        let in_vain = step == Step::Recall && slot.known().unread_count != failures;
        if in_vain || !step.must_be_waited_for() {
            return (step, found);
        }
        let (tell, told) = oneshot::channel();
        let (shared, task_slot) = (self.shared.clone(), slot.clone());
        self.spawn(async move {
            let fresh = shared.find_out(&task_slot, now, purpose).await;
            drop(turn);
            let _ = tell.send(fresh);
        });
        let fresh = told.await.unwrap_or(Fetch::Failed);
        let (step, mut found) = slot.look(now);
        if let (Fetch::Done, Some(binding)) = (fresh, &mut found.policy) {
            binding.source = Source::Fresh;
        }
        (step, found)
    }

    fn refresh_behind(&self, slot: Arc<Slot>, now: Timestamp) {
        let Some(refreshing) = slot.begin_refresh() else { return };
        let shared = self.shared.clone();
        self.spawn(async move {
            let Ok(_permit) = shared.refreshes.acquire().await else { return };
            // It may have waited for long, and the id may be another one by now.
            if let (Step::Refresh(id), _) = refreshing.slot().look(now) {
                shared.fetch(refreshing.slot(), id, now).await;
            }
        });
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }
}

impl fmt::Debug for StsPolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StsPolicies").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

/// What somebody wants to know a policy for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Delivery,
    Upkeep,
}

/// Whether a policy was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetch {
    Done,
    Failed,
}

impl Shared {
    async fn find_out(&self, slot: &Slot, now: Timestamp, purpose: Purpose) -> Fetch {
        self.recall(slot, now, purpose).await;
        let next = || slot.known().onward(now);
        if next() == Step::Ask {
            let answer = self.resolver.txt(&record_name(&slot.domain)).await;
            slot.known().heard(answer.map(|answer| (answer.records, answer.ttl)), now);
        }
        match next() {
            Step::Fetch(id) => self.fetch(slot, id, now).await,
            Step::Recall | Step::Ask | Step::Refresh(_) | Step::Rest => Fetch::Failed,
        }
    }

    /// What an earlier run, or an earlier stay in memory, knew.
    async fn recall(&self, slot: &Slot, now: Timestamp, purpose: Purpose) {
        if slot.look(now).0 == Step::Recall {
            match self.ledger.sts_policy(&slot.domain, now).await {
                Ok(policy) => slot.known().recall(policy),
                // A policy that binds must not be forgotten: mail waits until it can be read.
                Err(error) => {
                    slot.known().failed_to_recall(error.to_string(), now);
                    self.alarm(&error, now);
                }
            }
        }
        let noted = slot.known().use_noted;
        let due = noted.is_none_or(|noted| now.duration_since(noted) >= USE_NOTED);
        if purpose == Purpose::Delivery && due && slot.known().policy.is_some() {
            match self.ledger.note_sts_use(&slot.domain, now).await {
                Ok(()) => slot.known().use_noted = Some(now),
                Err(error) => self.alarm(&error, now),
            }
        }
    }

    async fn fetch(&self, slot: &Slot, id: RecordId, now: Timestamp) -> Fetch {
        let limits = Limits { body_most: POLICY_MOST, time: self.options.time };
        match fetch::fetch(&self.https, &slot.domain, self.options.port, limits).await {
            Ok(policy) => {
                let fetched = FetchedPolicy { id, policy, fetched: now };
                if let Err(error) = self.ledger.keep_sts_policy(&slot.domain, &fetched).await {
                    self.alarm(&error, now);
                }
                slot.known().fetched(fetched, now);
                Fetch::Done
            }
            Err(fault) => {
                self.tell(slot, &fault, now);
                slot.known().failed(fault, now);
                Fetch::Failed
            }
        }
    }

    /// RFC 8461 §5.1: administrators hear of it, unless the domain was about to give MTA-STS up.
    fn tell(&self, slot: &Slot, fault: &StsFault, now: Timestamp) {
        let found = slot.look(now).1;
        let meanwhile = match found.policy() {
            Some(policy) if policy.mode == Mode::None => return,
            Some(_) => "the policy fetched earlier goes on to bind",
            None if found.unanswered().is_some() => {
                "mail waits until it is known whether an earlier one binds"
            }
            None => "mail goes as if there were none",
        };
        let (domain, trouble) = (slot.domain.to_string(), fault.to_string());
        self.observer.daemon(Event::StsTrouble { domain, trouble, meanwhile });
    }

    fn alarm(&self, error: &LedgerError, now: Timestamp) {
        let mut alarmed = self.alarmed.lock().unwrap_or_else(PoisonError::into_inner);
        if alarmed.is_some_and(|last| now.duration_since(last) < ALARM_PAUSE) {
            return;
        }
        *alarmed = Some(now);
        let remedy = "see that the disk has room and the file belongs to Postern's user, or move the file away and \
                      restart; until then MTA-STS policies are lost at a restart, and mail waits where it cannot be \
                      read whether one binds";
        self.observer.daemon(Event::Alarm { what: error.to_string(), remedy: remedy.to_owned() });
    }
}

impl Found {
    /// The policy that binds.
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().map(|binding| &binding.fetched.policy)
    }

    /// Why it is not known whether a policy binds. No mail may go then: there may be one that forbids it.
    pub fn unanswered(&self) -> Option<TlsFailure> {
        let trouble = self.trouble.as_ref().filter(|_| self.policy.is_none())?;
        let unknown = matches!(trouble.fault, StsFault::Unread(_));
        unknown.then(|| TlsFailure::new(TlsFault::Unanswered, trouble.to_string()))
    }

    /// What went wrong when it was last looked for, as the TLS reports count it.
    pub fn failure(&self) -> Option<TlsFailure> {
        let trouble = self.trouble.as_ref()?;
        let fault = trouble.fault.tls_fault()?;
        Some(TlsFailure::new(fault, trouble.to_string()))
    }
}

impl StsFault {
    /// As TLS reports count it (RFC 8460 §4.3.2.2); `None` where it is not known whether the domain has a policy at all,
    /// or the fault is ours.
    pub fn tls_fault(&self) -> Option<TlsFault> {
        match self {
            Self::Unread(_) | Self::Lookup(_) => None,
            Self::Fetch(HttpsError::Certificate { .. }) => Some(TlsFault::PolicyHostUntrusted),
            Self::Fetch(_) | Self::Status(_) => Some(TlsFault::PolicyUnfetched),
            Self::Record(_) | Self::MediaType(_) | Self::Policy(_) => Some(TlsFault::PolicyInvalid),
        }
    }
}

impl fmt::Display for StsTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

fn before(when: Timestamp, by: SignedDuration) -> Timestamp {
    when.saturating_sub(by).unwrap_or(Timestamp::MIN)
}
