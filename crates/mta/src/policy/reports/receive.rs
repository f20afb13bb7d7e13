//! Reports about us: a message that holds one becomes a summary in the ledger.
//!
//! [`Reception`] takes a message in, [`Preview`] looks at one before it is answered for. Anybody can send a report, so of
//! each one only a few figures are kept, and what it says of domains that are not ours is left out. Where it comes from is
//! unproved: DKIM is not verified. What they deliberately do not do: keep the message, or answer it. A report of ours on
//! the failure would go to whomever the sender named.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;
use postern_message::tls_report::{ExtractError, FailureDetail, MAX_MAIL, PolicyReport, TlsReport, extract};
use postern_queue::{Body, QueueId};
use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::text;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::event::{Event, Subject};
use crate::observe::Observer;
use crate::policy::ledger::Ledger;
use crate::policy::ledger::reports::{Received, ReceivedFailure, ReceivedPolicy};
use crate::routing::Routing;

/// Of one report so many ways to fail are kept, the most frequent first.
const FAILURES_MOST: usize = 50;
/// Of one report so many of our domains are kept; reports are on one domain as a rule (RFC 8460 §5.3).
const DOMAINS_MOST: usize = 10;
/// Of a report's texts so many octets are kept.
const WORDS_MOST: usize = 100;
/// Of a report's id and of hosts' names, which tell one from another, so many.
const NAME_MOST: usize = 255;
/// Up to so many octets a message is looked at before it is taken; most reports are far smaller.
const PREVIEW_MOST: usize = 64 * 1024;
/// So many messages are looked at at once: a small one can unpack to megabytes.
static PREVIEWS: Semaphore = Semaphore::const_new(2);
/// For so long a message waits to be looked at; then it is taken without.
const PREVIEW_PATIENCE: Duration = Duration::from_secs(5);

/// What is wrong with a report that does not concern us.
const ABOUT_OTHERS: &str = "the report is about none of our domains";

/// What receiving takes.
pub(super) struct Reception<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) routing: &'a Routing,
    pub(super) observer: &'a Observer,
    /// The message.
    pub(super) id: QueueId,
}

/// What became of a message to the address for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Its report is in the ledger, or was before.
    Kept,
    /// It holds no report about us, and is gone. Nobody hears of it but the log: the sender's name may be forged.
    Dropped,
    /// Something is wrong on this machine: try again.
    Later(Trouble),
}

/// A message to the address for reports alone, while it comes in; nothing of it once it is too large.
#[derive(Debug)]
pub(crate) struct Preview {
    content: Option<Vec<u8>>,
}

impl Preview {
    /// Of a message that begins.
    pub(crate) fn new() -> Self {
        Self { content: Some(Vec::new()) }
    }

    /// Takes the next piece of content.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        let Some(content) = &mut self.content else { return };
        if piece.len() > PREVIEW_MOST - content.len() {
            self.content = None;
        } else {
            content.extend_from_slice(piece);
        }
    }

    /// Why the message is not for that address; `None` as well when that would take too long to find out.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(crate) async fn objection(self, routing: &Routing) -> Option<String> {
        let content = self.content?;
        let permit = timeout(PREVIEW_PATIENCE, PREVIEWS.acquire()).await.ok()?.ok()?;
        let look = move || {
            // Held until it is done, whether somebody still waits for it or not.
            let _permit = permit;
            extract(&content)
        };
        match tokio::task::spawn_blocking(look).await.ok()? {
            Ok(report) => {
                let about_us = report.policies.iter().any(|entry| own_domain(routing, entry).is_some());
                (!about_us).then(|| ABOUT_OTHERS.to_owned())
            }
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Reception<'_> {
    pub(super) async fn take(&self, body: &mut Body, now: Timestamp) -> Taken {
        let report = match report_in(body).await {
            Ok(Ok(report)) => report,
            Ok(Err(error)) => return self.dropped(error),
            Err(trouble) => return Taken::Later(trouble),
        };
        let summaries = summaries(self.routing, &report);
        if summaries.is_empty() {
            return self.dropped(ABOUT_OTHERS);
        }
        let event = received(&summaries);
        match self.ledger.keep_received(summaries, now).await {
            Ok(0) => {}
            Ok(_) => self.tell(event),
            Err(error) => return Taken::Later(local(error)),
        }
        Taken::Kept
    }

    fn dropped(&self, why: impl Display) -> Taken {
        self.tell(Event::TlsReportDropped { why: text::clean(why, NAME_MOST) });
        Taken::Dropped
    }

    fn tell(&self, event: Event) {
        self.observer.emit(Subject::Message(self.id), event);
    }
}

/// What the message holds, or what is wrong on this machine.
async fn report_in(body: &mut Body) -> Result<Result<TlsReport, ExtractError>, Trouble> {
    let content = read(body).await.map_err(local)?;
    // Unpacking some megabytes would keep this thread's other work waiting.
    tokio::task::spawn_blocking(move || extract(&content)).await.map_err(local)
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

/// One for each of our domains that the report speaks of, in order.
fn summaries(routing: &Routing, report: &TlsReport) -> Vec<Received> {
    let mut by_domain: BTreeMap<String, BTreeMap<&'static str, Sum>> = BTreeMap::new();
    for entry in &report.policies {
        let Some(domain) = own_domain(routing, entry) else { continue };
        if by_domain.len() >= DOMAINS_MOST && !by_domain.contains_key(&domain) {
            continue;
        }
        let sum = by_domain.entry(domain).or_default().entry(entry.policy.kind.as_str()).or_default();
        sum.succeeded = sum.succeeded.saturating_add(entry.successful);
        sum.failed = sum.failed.saturating_add(entry.failed);
        entry.failures.iter().for_each(|failure| sum.fail(failure));
    }
    keep_worst(&mut by_domain);
    let summary = |(domain, policies): (String, BTreeMap<_, Sum>)| Received {
        organization: short(&report.organization),
        report: text::clean(&report.report_id, NAME_MOST),
        domain,
        contact: short(report.contact_info.as_deref().unwrap_or_default()),
        start: report.date_range.start,
        end: report.date_range.end,
        policies: policies.into_iter().map(|(kind, sum)| sum.of_policy(kind)).collect(),
    };
    by_domain.into_iter().map(summary).collect()
}

fn own_domain(routing: &Routing, entry: &PolicyReport) -> Option<String> {
    routing.own_name(entry.policy.domain.trim_end_matches('.'))
}

/// What a report says about all policies of one kind that a domain has.
#[derive(Default)]
struct Sum {
    succeeded: u64,
    failed: u64,
    /// By result, host and reason.
    failures: BTreeMap<(String, String, String), u64>,
}

impl Sum {
    fn fail(&mut self, failure: &FailureDetail) {
        let host = text::clean(failure.receiving_mx_hostname.as_deref().unwrap_or_default(), NAME_MOST);
        let why = short(failure.failure_reason_code.as_deref().unwrap_or_default());
        let sum = self.failures.entry((short(failure.result.as_str()), host, why)).or_default();
        *sum = sum.saturating_add(failure.failed_sessions);
    }

    fn of_policy(self, kind: &str) -> ReceivedPolicy {
        let failure = |((result, host, why), sessions)| ReceivedFailure { result, host, why, sessions };
        let mut failures: Vec<_> = self.failures.into_iter().map(failure).collect();
        failures.sort_by_key(|failure| Reverse(failure.sessions));
        ReceivedPolicy { kind: kind.to_owned(), succeeded: self.succeeded, failed: self.failed, failures }
    }
}

/// Leaves of all ways to fail those that are most frequent, over all domains and policies.
fn keep_worst(by_domain: &mut BTreeMap<String, BTreeMap<&'static str, Sum>>) {
    let sums = || by_domain.values().flat_map(BTreeMap::values);
    let mut sessions: Vec<u64> = sums().flat_map(|sum| sum.failures.values().copied()).collect();
    sessions.sort_unstable_by_key(|sessions| Reverse(*sessions));
    let Some(&least) = sessions.get(FAILURES_MOST) else { return };
    // Those above this figure fit; of those that equal it, as many as there is room for.
    let mut room = FAILURES_MOST - sessions.partition_point(|sessions| *sessions > least);
    for sum in by_domain.values_mut().flat_map(BTreeMap::values_mut) {
        sum.failures.retain(|_, sessions| {
            let fits = *sessions > least || (*sessions == least && room > 0);
            room -= usize::from(fits && *sessions == least);
            fits
        });
    }
}

fn received(summaries: &[Received]) -> Event {
    let sum = |count: fn(&ReceivedPolicy) -> u64| {
        summaries.iter().flat_map(|summary| &summary.policies).map(count).fold(0, u64::saturating_add)
    };
    Event::TlsReportReceived {
        organization: summaries.first().map(|summary| summary.organization.clone()).unwrap_or_default(),
        domains: summaries.iter().map(|summary| summary.domain.clone()).collect(),
        succeeded: sum(|policy| policy.succeeded),
        failed: sum(|policy| policy.failed),
    }
}

fn local(why: impl Display) -> Trouble {
    Trouble::new(Step::Mailbox, Reason::Local(why.to_string()))
}

fn short(said: &str) -> String {
    text::clean(said, WORDS_MOST)
}
