//! Sending reports: asking who wants them, by mail and over HTTPS, and trying again (RFC 8460 §3, §5).
//!
//! A report's way stands in the ledger: first the question where the domain wants it, then one row for each address. What
//! goes wrong is tried again for a day, then given up; reports are a courtesy and keep nothing else waiting.
//!
//! What it deliberately does not do: count, or decide what a mail server makes of a report in its queue.

use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use postern_dns::tls_rpt::{Rua, report_addresses};
use postern_message::tls_report::{GZIP_TYPE, Mail, TlsReport, gzip};
use postern_queue::{Draft, Envelope, NewMessage, QueueId, SenderTls};
use postern_smtp::address::{ForwardPath, Host, Mailbox, ReversePath};

use super::compose::{Reporting, compose};
use super::plan::{due_days, next_try};
use super::{Reporter, SentTo};
use crate::event::{Event, Subject};
use crate::https::{HttpsError, HttpsUrl, Limits};
use crate::policy::day::Day;
use crate::policy::ledger::LedgerError;
use crate::policy::ledger::reports::{Outgoing, ReportState};
use crate::routing;

/// So many reports are on their way at the same time.
const AT_ONCE: usize = 8;
/// So many are looked at before it is asked again what is due.
const BATCH: u32 = 200;
/// What a server answers to a report is not read beyond this.
const LIMITS: Limits = Limits { body_most: 64 * 1024, time: std::time::Duration::from_secs(20) };

/// Why a report did not get away.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    why: String,
    again: Again,
}

/// Whether trying again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Later,
    Never,
}

impl Reporter<'_> {
    /// Sends all that is due, for as long as it may go on; first all that was counted goes to the ledger.
    ///
    /// # Errors
    /// Local: the ledger could not be read or written. What was not noted is tried again.
    pub(super) async fn send_due(
        &self,
        now: Timestamp,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(), LedgerError> {
        self.results.flush().await?;
        let ledger = self.results.ledger();
        let (first, last) = due_days(now, self.config.hostname.as_str());
        ledger.open_tls_reports(first, last, now).await?;
        loop {
            let due = ledger.tls_reports_due(now, BATCH).await?;
            if due.is_empty() || !go_on() {
                return Ok(());
            }
            let step = async |waiting: Outgoing| if go_on() { self.step(waiting, now).await } else { Ok(()) };
            let mut steps = futures_util::stream::iter(due).map(step).buffer_unordered(AT_ONCE);
            while let Some(done) = steps.next().await {
                done?;
            }
        }
    }

    /// Sends the report on one domain and day now, wherever the domain wants it, whatever became of it before.
    ///
    /// # Errors
    /// In words: nothing was counted, or the domain wants no reports.
    pub(super) async fn send_now(
        &self,
        day: Day,
        domain: &str,
        now: Timestamp,
    ) -> Result<Vec<SentTo>, String> {
        let report = self.report(day, domain, now).await.map_err(|error| error.to_string())?;
        let report = report.ok_or_else(|| format!("no session with {domain} was counted on {day}"))?;
        let addresses = self.addresses(domain).await.map_err(|trouble| trouble.why)?;
        if addresses.is_empty() {
            return Err(format!("{domain} wants no reports: there is no record at {}", record_name(domain)));
        }
        let send = async |address: String| {
            let done = self.deliver(&report, domain, &address, now).await;
            (address, done)
        };
        let tried: Vec<_> = futures_util::stream::iter(addresses).map(send).buffered(AT_ONCE).collect().await;
        let mut sent = Vec::new();
        for (address, done) in tried {
            // A day that is not over gets its own report when it is.
            if done.is_ok() && day < Day::of(now) {
                let waiting = Outgoing { day, domain: domain.to_owned(), address: address.clone(), tries: 0 };
                self.conclude(waiting, done.clone(), now).await.map_err(|error| error.to_string())?;
            }
            sent.push(SentTo { address, outcome: done.map_err(|trouble| trouble.why) });
        }
        Ok(sent)
    }

    /// The report on one domain and day; `None` when nothing was counted.
    pub(super) async fn report(
        &self,
        day: Day,
        domain: &str,
        now: Timestamp,
    ) -> Result<Option<TlsReport>, LedgerError> {
        let counts = self.results.ledger().tls_counts(day, Some(domain)).await?;
        Ok(counts.first().map(|counts| compose(counts, &Reporting::of(self.config), now)))
    }

    async fn step(&self, waiting: Outgoing, now: Timestamp) -> Result<(), LedgerError> {
        if !waiting.address.is_empty() {
            return self.send(waiting, now).await;
        }
        match self.addresses(&waiting.domain).await {
            Ok(addresses) if addresses.is_empty() => {
                let state = ReportState::Unwanted(now);
                self.results.ledger().note_tls_report(waiting, state, String::new()).await
            }
            Ok(addresses) => {
                self.results.ledger().address_tls_report(&waiting, addresses.clone(), now).await?;
                for address in addresses {
                    self.send(Outgoing { address, tries: 0, ..waiting.clone() }, now).await?;
                }
                Ok(())
            }
            Err(trouble) => self.conclude(waiting, Err(trouble), now).await,
        }
    }

    async fn send(&self, waiting: Outgoing, now: Timestamp) -> Result<(), LedgerError> {
        let done = match self.report(waiting.day, &waiting.domain, now).await? {
            Some(report) => self.deliver(&report, &waiting.domain, &waiting.address, now).await,
            None => Err(Trouble::lasting("what was counted is no longer kept")),
        };
        self.conclude(waiting, done, now).await
    }

    /// Notes and says what a try came to.
    async fn conclude(
        &self,
        waiting: Outgoing,
        done: Result<String, Trouble>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let tries = waiting.tries.saturating_add(1);
        let (domain, day, to) = (waiting.domain.clone(), waiting.day.to_string(), waiting.address.clone());
        let (state, note) = match done {
            Ok(how) => {
                self.observer.daemon(Event::TlsReportSent { domain, day, to, how: how.clone() });
                (ReportState::Sent(now), how)
            }
            Err(Trouble { why, again }) => {
                let next = next_try(tries, now).filter(|_| again == Again::Later);
                let trouble = why.clone();
                self.observer.daemon(Event::TlsReportTroubled { domain, day, to, trouble, next });
                (next.map_or(ReportState::GivenUp(now), ReportState::Waiting), why)
            }
        };
        self.results.ledger().note_tls_report(Outgoing { tries, ..waiting }, state, note).await
    }

    /// Where a domain wants its reports, as URIs.
    async fn addresses(&self, domain: &str) -> Result<Vec<String>, Trouble> {
        let texts = match self.resolver.txt(&record_name(domain)).await {
            Ok(answer) => answer.records,
            Err(error) if error.is_temporary() => {
                return Err(Trouble::passing(format!(
                    "{} could not be looked up: {error}",
                    record_name(domain)
                )));
            }
            Err(_) => return Ok(Vec::new()),
        };
        let found = report_addresses(&texts).map_err(|error| Trouble::lasting(error.to_string()))?;
        let uri = |rua| match rua {
            Rua::Mail(address) => format!("mailto:{address}"),
            Rua::Https(url) => url,
        };
        Ok(found.into_iter().map(uri).collect())
    }

    /// Sends a report to one address; says how it went.
    async fn deliver(
        &self,
        report: &TlsReport,
        domain: &str,
        address: &str,
        now: Timestamp,
    ) -> Result<String, Trouble> {
        match address.strip_prefix("mailto:") {
            Some(mailbox) => {
                let id = self.mail(report, domain, mailbox, now).await?;
                Ok(format!("queued as {id}"))
            }
            None => self.post(report, address).await,
        }
    }

    /// RFC 8460 §5.4
    async fn post(&self, report: &TlsReport, url: &str) -> Result<String, Trouble> {
        let url: HttpsUrl = url.parse().map_err(|error: HttpsError| Trouble::lasting(error.to_string()))?;
        if url.literal().is_some() {
            return Err(Trouble::lasting("an https address must have a name and not an IP address"));
        }
        let body = Bytes::from(gzip(&report.to_json()));
        let status = match self.https.post(&url, GZIP_TYPE, body, LIMITS).await {
            Ok(reply) => reply.status,
            // What it says beyond the status is of no interest.
            Err(HttpsError::TooLarge { status, .. }) => status,
            Err(error) => return Err(Trouble::passing(error.to_string())),
        };
        match status {
            200..=299 => Ok(format!("taken with status {status}")),
            _ => Err(Trouble::passing(format!("{} answered with status {status}", url.host()))),
        }
    }

    /// RFC 8460 §5.3
    async fn mail(
        &self,
        report: &TlsReport,
        domain: &str,
        to: &str,
        now: Timestamp,
    ) -> Result<QueueId, Trouble> {
        let to: Mailbox = to.parse().map_err(|_| Trouble::lasting("that is no mail address"))?;
        let targets = self.targets(&to)?;
        let id = self.store.begin(now).id();
        let from = &self.config.tls_reports.from;
        let content = report.compose_mail(&Mail {
            from,
            to: &to,
            domain,
            submitter: &from.host.key(),
            now,
            unique: &id.to_string(),
        });
        let envelope = self.envelope(targets, content.is_ascii());
        let message =
            NewMessage { envelope, head: Bytes::new(), draft: Draft::from_bytes(id, content), hold: None };
        let queued = self.store.enqueue(now, message).await;
        let id = queued.map_err(|error| Trouble::passing(error.to_string()))?;
        self.wake.notify_one();
        let kind = "tls-report".to_owned();
        let event = Event::Reported { kind, to: to.to_string(), report: id };
        self.observer.emit(Subject::Message(id), event);
        Ok(id)
    }

    /// Whom an address stands for. The address was published by a stranger: of ours it must be one that there is.
    fn targets(&self, to: &Mailbox) -> Result<Vec<Mailbox>, Trouble> {
        if !matches!(to.host, Host::Domain(_)) {
            return Err(Trouble::lasting("a mail address must have a domain and not an IP address"));
        }
        match self.routing.recipient(&ForwardPath::Mailbox(to.clone()), self.users) {
            Ok(routing::Recipient::Local(mailboxes)) => Ok(mailboxes),
            Ok(routing::Recipient::Foreign(mailbox)) => Ok(vec![mailbox]),
            Ok(routing::Recipient::Unknown) => Err(Trouble::lasting("nobody here has that address")),
            Err(_) => Err(Trouble::passing("the directory of users cannot be asked")),
        }
    }

    pub(super) fn envelope(&self, to: Vec<Mailbox>, ascii: bool) -> Envelope {
        let recipients = to.into_iter().map(|address| self.routing.plain_recipient(address)).collect();
        Envelope {
            smtputf8: !ascii,
            eight_bit: !ascii,
            utf8_headers: !ascii,
            // RFC 8460 §3: what is wrong with a domain's TLS must not keep the report on it away; nor is it counted.
            tls: SenderTls::NotRequired,
            ..Envelope::plain(ReversePath::Mailbox(self.config.tls_reports.from.clone()), recipients)
        }
    }
}

impl Trouble {
    fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Again::Later }
    }

    fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), again: Again::Never }
    }
}

/// RFC 8460 §3
fn record_name(domain: &str) -> String {
    format!("_smtp._tls.{domain}")
}
