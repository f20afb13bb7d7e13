//! What an administrator sees of TLS reports: what our sessions came to, and what others say theirs with us did.
//!
//! [`Overview`] sums both up over some days, the worst first, bounded. A session counts under each policy that its domain
//! has, so that figures are told by policy and never added up across policies.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::day::Day;
use crate::policy::ledger::reports::Received;
use crate::policy::ledger::{Ledger, LedgerError};

/// At most so many lines of each of the two lists.
const LINES_MOST: usize = 500;
/// Of each line so many failures.
const FAILURES_MOST: usize = 5;

/// Both lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The first day that is summed up.
    pub first: Day,
    /// The last one.
    pub last: Day,
    /// What our sessions with others came to.
    pub seen: Vec<DomainSeen>,
    /// What others report about sessions with us.
    pub reported: Vec<ReportedBy>,
    /// Whether there is more than is told.
    pub cut: bool,
}

/// What our sessions with a domain came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSeen {
    /// The domain; `*` for those that there was no room for.
    pub domain: String,
    /// By policy.
    pub policies: Vec<PolicySeen>,
    /// The most frequent failures.
    pub failures: Vec<FailureSeen>,
}

/// Sessions under one kind of policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySeen {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy: String,
    /// Sessions that came up to it.
    pub succeeded: u64,
    /// Sessions that did not.
    pub failed: u64,
}

/// One way in which sessions failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureSeen {
    /// As RFC 8460 calls it.
    pub result: String,
    /// The host; empty: various.
    pub host: String,
    /// In words.
    pub why: String,
    /// How many sessions.
    pub sessions: u64,
}

/// What one organisation reports about one of our domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedBy {
    /// Who reports. Unproved: anybody can send a report.
    pub organization: String,
    /// Whom to ask.
    pub contact: String,
    /// Our domain.
    pub domain: String,
    /// How many reports.
    pub reports: u64,
    /// By policy.
    pub policies: Vec<PolicySeen>,
    /// The most frequent failures.
    pub failures: Vec<FailureSeen>,
}

/// Sums up the days to the last one, about one domain or about all.
pub(crate) async fn overview(
    ledger: &Ledger,
    domain: Option<&str>,
    (first, last): (Day, Day),
) -> Result<Overview, LedgerError> {
    let seen = ledger.tls_seen((first, last), domain, LINES_MOST + 1, FAILURES_MOST).await?;
    let reported = reported(ledger.received_since(first, domain).await?);
    let cut = seen.len() > LINES_MOST || reported.len() > LINES_MOST;
    let few = |mut seen: Vec<DomainSeen>| {
        seen.truncate(LINES_MOST);
        seen
    };
    let reported = reported.into_iter().take(LINES_MOST).collect();
    Ok(Overview { first, last, seen: few(seen), reported, cut })
}

fn reported(all: Vec<Received>) -> Vec<ReportedBy> {
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for received in all {
        sums.entry((received.organization.clone(), received.domain.clone())).or_default().add(received);
    }
    let mut reported: Vec<_> = sums.into_iter().map(|(key, sum)| sum.told(key)).collect();
    reported.sort_by_key(|by| Reverse(by.policies.iter().map(|policy| policy.failed).max()));
    reported
}

/// What one organisation says about one domain.
#[derive(Default)]
struct Sum {
    reports: u64,
    contact: String,
    policies: BTreeMap<String, (u64, u64)>,
    failures: BTreeMap<(String, String, String), u64>,
}

impl Sum {
    fn add(&mut self, received: Received) {
        self.reports += 1;
        self.contact = received.contact;
        for policy in received.policies {
            let (succeeded, failed) = self.policies.entry(policy.kind).or_default();
            *succeeded = succeeded.saturating_add(policy.succeeded);
            *failed = failed.saturating_add(policy.failed);
            for failure in policy.failures {
                let sum = self.failures.entry((failure.result, failure.host, failure.why)).or_default();
                *sum = sum.saturating_add(failure.sessions);
            }
        }
    }

    fn told(self, (organization, domain): (String, String)) -> ReportedBy {
        let policy = |(policy, (succeeded, failed))| PolicySeen { policy, succeeded, failed };
        let failure = |((result, host, why), sessions)| FailureSeen { result, host, why, sessions };
        let mut failures: Vec<_> = self.failures.into_iter().map(failure).collect();
        failures.sort_by_key(|failure: &FailureSeen| Reverse(failure.sessions));
        failures.truncate(FAILURES_MOST);
        ReportedBy {
            organization,
            contact: self.contact,
            domain,
            reports: self.reports,
            policies: self.policies.into_iter().map(policy).collect(),
            failures,
        }
    }
}
