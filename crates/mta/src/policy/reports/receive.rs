//! Reports about us: a message that holds one becomes a summary in the ledger.
//!
//! What a report says of domains that are not ours is left out. Where it comes from is unproved: DKIM is not verified. What
//! it deliberately does not do: keep the message, or answer it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_message::tls_report::{MAX_MAIL, PolicyReport, TlsReport, extract};
use postern_queue::Body;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::text;

use crate::event::Event;
use crate::observe::Observer;
use crate::policy::ledger::Ledger;
use crate::policy::ledger::reports::{Received, ReceivedFailure, ReceivedPolicy};
use crate::routing::Routing;

/// Of one policy so many kinds of failure are kept, the most frequent first.
const FAILURES_MOST: usize = 50;
/// Of a report's texts so many octets are kept.
const WORDS_MOST: usize = 200;

/// What receiving takes.
pub(super) struct Reception<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) routing: &'a Routing,
    pub(super) observer: &'a Observer,
}

impl Reception<'_> {
    pub(super) async fn take(&self, body: &mut Body, now: Timestamp) -> Outcome {
        let content = match read(body).await {
            Ok(content) => content,
            Err(error) => return local(error.to_string()),
        };
        // Unpacking some megabytes would keep this thread's other work waiting.
        let report = match tokio::task::spawn_blocking(move || extract(&content)).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return refused(error.to_string()),
            Err(error) => return local(error.to_string()),
        };
        let summaries = self.summaries(&report);
        if summaries.is_empty() {
            return refused("the report is about none of our domains".to_owned());
        }
        for summary in summaries {
            let event = received(&summary);
            match self.ledger.keep_received(summary, now).await {
                Ok(true) => self.observer.daemon(event),
                Ok(false) => {}
                Err(error) => return local(error.to_string()),
            }
        }
        Outcome::Delivered(None)
    }

    /// One for each of our domains that it speaks of.
    fn summaries(&self, report: &TlsReport) -> Vec<Received> {
        let mut by_domain: BTreeMap<String, Vec<ReceivedPolicy>> = BTreeMap::new();
        for entry in &report.policies {
            let domain = entry.policy.domain.trim_end_matches('.').to_lowercase();
            if self.routing.is_ours(&domain) {
                by_domain.entry(domain).or_default().push(of_policy(entry));
            }
        }
        let summary = |(domain, policies)| Received {
            organization: short(&report.organization),
            report: short(&report.report_id),
            domain,
            contact: short(report.contact_info.as_deref().unwrap_or_default()),
            start: report.date_range.start,
            end: report.date_range.end,
            policies,
        };
        by_domain.into_iter().map(summary).collect()
    }
}

/// One octet more than a report may have shows that it has too many.
async fn read(body: &mut Body) -> Result<Vec<u8>, postern_queue::Error> {
    let mut content = Vec::new();
    while content.len() <= MAX_MAIL
        && let Some(piece) = body.next().await?
    {
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

fn of_policy(entry: &PolicyReport) -> ReceivedPolicy {
    let mut sums: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for failure in &entry.failures {
        let text = |said: &Option<String>| short(said.as_deref().unwrap_or_default());
        let (host, why) = (text(&failure.receiving_mx_hostname), text(&failure.failure_reason_code));
        let sum = sums.entry((short(failure.result.as_str()), host, why)).or_default();
        *sum = sum.saturating_add(failure.failed_sessions);
    }
    let mut failures: Vec<_> = sums
        .into_iter()
        .map(|((result, host, why), sessions)| ReceivedFailure { result, host, why, sessions })
        .collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.sessions));
    failures.truncate(FAILURES_MOST);
    ReceivedPolicy {
        kind: entry.policy.kind.as_str().to_owned(),
        succeeded: entry.successful,
        failed: entry.failed,
        failures,
    }
}

fn received(summary: &Received) -> Event {
    let sum =
        |count: fn(&ReceivedPolicy) -> u64| summary.policies.iter().map(count).fold(0, u64::saturating_add);
    Event::TlsReportReceived {
        organization: summary.organization.clone(),
        domain: summary.domain.clone(),
        succeeded: sum(|policy| policy.succeeded),
        failed: sum(|policy| policy.failed),
    }
}

fn refused(why: String) -> Outcome {
    Outcome::Failed(Trouble::new(Step::Mailbox, Reason::NoTlsReport(why)))
}

fn local(why: String) -> Outcome {
    Outcome::Deferred(Trouble::new(Step::Mailbox, Reason::Local(why)))
}

fn short(said: &str) -> String {
    text::clean(said, WORDS_MOST)
}
