//! What sessions with other servers came to, counted for TLS reports (RFC 8460 §4).
//!
//! The types to know:
//! - [`SessionSeen`]: one session, or attempt at one, held against each policy of its domain.
//! - [`TlsResults`]: the counters. [`TlsResults::count`] costs a lock and a few comparisons; [`TlsResults::flush`] carries
//!   what was counted to the [`Ledger`] and is called every minute and at the end. A crash loses what came after it.
//!
//! `fault` names each trouble as reports do; `counts` is the bounded memory. What it deliberately does not do: judge a
//! session, or send anything.

mod counts;
mod fault;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use postern_message::tls_report::PolicyKind;
use postern_smtp::tls::TlsFailure;
use serde::{Deserialize, Serialize};

pub(crate) use counts::{Counts, DomainCounts, Failure, FailureCount, OTHER_DOMAINS, PolicyCounts};
pub(crate) use fault::result_of;

use super::day::Day;
use super::ledger::{Ledger, LedgerError};

/// One session, or attempt at one, with a host of a policy domain (RFC 8460 §4.4).
#[derive(Debug, Clone)]
pub(crate) struct SessionSeen {
    /// The domain that mail was for.
    pub(crate) domain: String,
    /// What it was held against: never empty.
    pub(crate) policies: Vec<PolicyResult>,
    /// The host, as the MX record names it.
    pub(crate) host: String,
    /// Its address, when it came to a connection.
    pub(crate) peer: Option<IpAddr>,
    /// Our end's address.
    pub(crate) local: Option<IpAddr>,
}

/// One policy, and whether the session came up to it.
#[derive(Debug, Clone)]
pub(crate) struct PolicyResult {
    /// The policy.
    pub(crate) policy: PolicyApplied,
    /// Whether it did, or why not.
    pub(crate) result: Result<(), TlsFailure>,
}

/// What a domain publishes, as far as reports show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PolicyApplied {
    /// TLSA records in presentation form.
    Tlsa(Vec<String>),
    /// An MTA-STS policy: its lines, and the hosts that it allows.
    Sts {
        /// The lines.
        lines: Vec<String>,
        /// The patterns.
        mx: Vec<String>,
    },
    /// Neither.
    NoPolicy,
}

/// The counters. One for the whole daemon.
pub(crate) struct TlsResults {
    ledger: Ledger,
    counts: Mutex<Counts>,
}

impl TlsResults {
    /// Counters that carry what they counted to this ledger.
    pub(crate) fn new(ledger: Ledger) -> Self {
        Self { ledger, counts: Mutex::default() }
    }

    /// Where everything is that was counted before.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Counts a session. Faults that say nothing about the domain (see [`result_of`]) are not counted.
    pub(crate) fn count(&self, seen: SessionSeen, now: Timestamp) {
        self.counts().count(seen, Day::of(now));
    }

    /// Carries what was counted to the ledger.
    ///
    /// # Errors
    /// Local: the ledger could not be written. Then nothing is lost: it is counted on.
    ///
    /// # Cancel safety
    /// When this is dropped, what is on its way may be lost.
    pub(crate) async fn flush(&self) -> Result<(), LedgerError> {
        let counted = std::mem::take(&mut *self.counts()).into_domains();
        if counted.is_empty() {
            return Ok(());
        }
        match self.ledger.add_tls_counts(counted.clone()).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.counts().take_back(counted);
                Err(error)
            }
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TlsResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsResults").finish_non_exhaustive()
    }
}

impl PolicyApplied {
    /// As reports name it.
    pub(crate) fn kind(&self) -> PolicyKind {
        match self {
            Self::Tlsa(_) => PolicyKind::Tlsa,
            Self::Sts { .. } => PolicyKind::Sts,
            Self::NoPolicy => PolicyKind::NoPolicyFound,
        }
    }

    /// A policy of the same kind without its particulars: stands for all that there was no room for.
    pub(crate) fn any_of_its_kind(&self) -> Self {
        match self {
            Self::Tlsa(_) => Self::Tlsa(Vec::new()),
            Self::Sts { .. } => Self::Sts { lines: Vec::new(), mx: Vec::new() },
            Self::NoPolicy => Self::NoPolicy,
        }
    }
}

#[cfg(test)]
mod tests {
    use postern_smtp::tls::TlsFault;

    use super::*;

    fn session(result: Result<(), TlsFailure>) -> SessionSeen {
        SessionSeen {
            domain: "example.org".into(),
            policies: vec![PolicyResult { policy: PolicyApplied::NoPolicy, result }],
            host: "mx.example.org".into(),
            peer: Some(IpAddr::from([192, 0, 2, 25])),
            local: None,
        }
    }

    fn now() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    async fn kept(ledger: &Ledger) -> Vec<(String, u64, u64)> {
        let day = Day::of(now());
        let kept = ledger.tls_counts(day, None).await.unwrap();
        let sums = |domain: DomainCounts| {
            let succeeded = domain.policies.iter().map(|policy| policy.succeeded).sum();
            (domain.domain, succeeded, domain.policies.iter().map(PolicyCounts::failed).sum())
        };
        kept.into_iter().map(sums).collect()
    }

    #[tokio::test]
    async fn what_is_flushed_adds_up_in_the_ledger() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let results = TlsResults::new(ledger.clone());
        for _ in 0..2 {
            results.count(session(Ok(())), now());
            results.count(session(Err(TlsFailure::new(TlsFault::Expired, "expired"))), now());
            results.flush().await.unwrap();
        }
        results.flush().await.unwrap();
        assert_eq!(kept(&ledger).await, [("example.org".to_owned(), 2, 2)]);
    }

    #[tokio::test]
    async fn what_the_ledger_does_not_take_is_counted_on() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let results = TlsResults::new(ledger.clone());
        let rename = |from: &'static str, to: &'static str| {
            ledger.write(move |transaction| {
                transaction.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}"))
            })
        };
        rename("tls_policy", "tls_elsewhere").await.unwrap();
        results.count(session(Ok(())), now());
        results.count(session(Err(TlsFailure::new(TlsFault::Expired, "expired"))), now());
        results.flush().await.unwrap_err();
        results.count(session(Ok(())), now());
        rename("tls_elsewhere", "tls_policy").await.unwrap();
        results.flush().await.unwrap();
        assert_eq!(kept(&ledger).await, [("example.org".to_owned(), 2, 1)]);
    }
}
