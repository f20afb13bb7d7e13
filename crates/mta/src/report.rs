//! Records what attempts came to and tells senders what they have to know: failures, delays, deliveries asked for.
//!
//! Dispositions and the reports that follow from them are written in one transaction: after it nothing is repeated,
//! before it nothing has happened. A report is never sent for a report (RFC 5321 §6.1: reverse-path `<>`).

use std::time::Duration;

use jiff::Timestamp;
use postern_message::dsn::{self, Kind, Original, Report, TlsDemand};
use postern_message::header::Headers;
use postern_message::inspect::MAX_HEADER_BYTES;
use postern_queue::retry::{Attempt, Decision, Failed, decide};
use postern_queue::{
    Batch, Disposition, Draft, Envelope, Error, NewMessage, QueueId, Recipient, RecipientId, SenderTls,
    Settled,
};
use postern_smtp::address::{ForwardPath, Mailbox, ReversePath};
use postern_smtp::envelope::Ret;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::reply::{Enhanced, Reply};

use crate::daemon::{Shared, Site};
use crate::diagnosis::diagnose;
use crate::event::{Event, Subject};
use crate::outbound::{Attempted, Place, Reached, SuccessReport};
use crate::routing;

/// While the disk takes nothing, recording is tried again this often.
const RECORD_AGAIN: Duration = Duration::from_secs(5);
/// A message up to this size, in octets, comes back whole when the sender did not ask for its header section only.
const RETURN_WHOLE: u64 = 50 * 1024;

/// Records an attempt, with its reports, and emits what happened.
pub(crate) async fn settle(shared: &Shared, site: &Site, batch: Batch, attempted: Attempted) {
    let now = Timestamp::now();
    let attempt = Attempt {
        accepted: batch.message.accepted,
        now,
        attempts: batch.attempts,
        outcomes: attempted.recipients.iter().map(|reached| (reached.id, reached.outcome.clone())).collect(),
        delay_reported: batch.delay_reported,
        random: fastrand::f64(),
    };
    let decision = decide(site.schedule_for(&batch.destination), attempt);
    let settlement = Settlement { shared, site, batch: &batch, reached: &attempted.recipients, now };
    let events = settlement.events(&attempted.connector, &decision);
    settlement.record(decision, events).await;
}

/// Ends a batch that an administrator bounced: no attempt, a report.
pub(crate) async fn withdraw(shared: &Shared, site: &Site, batch: Batch) {
    let trouble = Trouble::new(Step::Route, Reason::Withdrawn);
    let failed = Failed { trouble: trouble.clone(), expired: false };
    let ids = || batch.recipients.iter().map(|(id, _)| *id);
    let decision = Decision {
        dispositions: ids().map(|id| (id, Disposition::Done)).collect(),
        failed: ids().map(|id| (id, failed.clone())).collect(),
        ..Decision::default()
    };
    let settlement = Settlement { shared, site, batch: &batch, reached: &[], now: Timestamp::now() };
    let event = |(_, recipient): &(RecipientId, Recipient)| Event::Failed {
        to: recipient.address.to_string(),
        connector: "none".into(),
        host: None,
        trouble: trouble.clone(),
    };
    let events = batch.recipients.iter().map(event).collect();
    settlement.record(decision, events).await;
}

/// One batch on its way from outcomes to what is recorded and reported.
struct Settlement<'a> {
    shared: &'a Shared,
    site: &'a Site,
    batch: &'a Batch,
    reached: &'a [Reached],
    now: Timestamp,
}

impl Settlement<'_> {
    /// Writes what was decided. While the disk takes nothing it is the recording that is tried again and not the
    /// attempt, which would deliver the message twice; the lease is renewed meanwhile.
    async fn record(&self, decision: Decision, events: Vec<Event>) {
        let mut told = false;
        loop {
            let Reports { messages, events: reported } = self.reports(&decision).await;
            let has_follow_ups = !messages.is_empty();
            match self.shared.store.record(self.now, self.settled(&decision, messages)).await {
                Err(error @ Error::Full { .. }) => {
                    if !std::mem::replace(&mut told, true) {
                        self.not_recorded(&error);
                    }
                    tokio::time::sleep(RECORD_AGAIN).await;
                }
                recorded => return self.conclude(recorded, events, reported, has_follow_ups),
            }
        }
    }

    fn settled(&self, decision: &Decision, follow_ups: Vec<NewMessage>) -> Settled {
        Settled {
            lease: self.batch.lease,
            delay_reported: self.batch.delay_reported || !decision.delayed.is_empty(),
            dispositions: decision.dispositions.clone(),
            follow_ups,
        }
    }

    fn conclude(
        &self,
        recorded: Result<(), Error>,
        events: Vec<Event>,
        reported: Vec<Event>,
        has_follow_ups: bool,
    ) {
        // Even when an administrator removed it while it was under way, what happened is said.
        if matches!(recorded, Ok(()) | Err(Error::LeaseLost)) {
            self.emit_all(events);
        }
        match recorded {
            Ok(()) => {
                self.emit_all(reported);
                if has_follow_ups {
                    self.shared.wake.notify_one();
                }
            }
            Err(error @ Error::LeaseLost) => self.emit(Event::Superseded { reason: error.to_string() }),
            Err(error) => self.not_recorded(&error),
        }
    }

    fn not_recorded(&self, error: &Error) {
        self.emit(Event::NotRecorded {
            reason: error.to_string(),
            remedy: "mend what keeps the queue from being written; the next hop may see a message twice"
                .into(),
        });
    }

    fn emit_all(&self, events: Vec<Event>) {
        for event in events {
            self.emit(event);
        }
    }

    fn emit(&self, event: Event) {
        self.shared.observer.emit(Subject::Message(self.batch.id), event);
    }

    /// What the log says about each recipient.
    fn events(&self, connector: &str, decision: &Decision) -> Vec<Event> {
        let age_ms = self.now.duration_since(self.batch.message.accepted).as_millis();
        let age_ms = i64::try_from(age_ms).unwrap_or(i64::MAX);
        let event = |reached: &Reached| {
            let (to, connector) = (self.recipient(reached.id)?.address.to_string(), connector.to_owned());
            let host = reached.place.as_ref().map(ToString::to_string);
            let next = decision.dispositions.iter().find_map(|(id, disposition)| match disposition {
                Disposition::Retry { due, .. } if *id == reached.id => Some(*due),
                _ => None,
            });
            Some(match (&reached.outcome, next) {
                (Outcome::Delivered(reply), _) => Event::Delivered {
                    to,
                    connector,
                    host: host.unwrap_or_default(),
                    tls: reached.protection.clone(),
                    reply: reply.as_ref().map(Reply::one_line),
                    age_ms,
                },
                (Outcome::Deferred(trouble), Some(next)) => {
                    Event::Deferred { to, connector, host, trouble: trouble.clone(), next }
                }
                (Outcome::Deferred(trouble) | Outcome::Failed(trouble), _) => {
                    Event::Failed { to, connector, host, trouble: trouble.clone() }
                }
            })
        };
        self.reached.iter().filter_map(event).collect()
    }

    fn recipient(&self, id: RecipientId) -> Option<&Recipient> {
        self.batch.recipients.iter().find(|(known, _)| *known == id).map(|(_, recipient)| recipient)
    }

    fn reached(&self, id: RecipientId) -> Option<&Reached> {
        self.reached.iter().find(|reached| reached.id == id)
    }

    /// The reports that a decision calls for.
    async fn reports(&self, decision: &Decision) -> Reports {
        let due = [
            (Kind::Failed, self.failures(decision)),
            (Kind::Delayed, self.delays(decision)),
            (Kind::Delivered, self.successes(decision, SuccessReport::Delivered, Kind::Delivered)),
            (Kind::Relayed, self.successes(decision, SuccessReport::Relayed, Kind::Relayed)),
        ];
        let mut reports = Reports::default();
        for (kind, recipients) in due {
            if !recipients.is_empty() {
                self.report(kind, recipients, &mut reports).await;
            }
        }
        reports
    }

    async fn report(&self, kind: Kind, recipients: Vec<dsn::Recipient>, reports: &mut Reports) {
        let Some((sender, to)) = self.report_recipients(reports) else { return };
        let original = match self.read_original(kind).await {
            Ok(original) => original,
            // The report matters more than what it returns.
            Err(_) => (Vec::new(), Returned::Headers),
        };
        let id = self.shared.store.begin(self.now).id();
        let content = self.compose(kind, sender, recipients, &original, id);
        let envelope = self.report_envelope(to, &content);
        let kind = format!("{kind:?}").to_lowercase();
        reports.events.push(Event::Reported { kind, to: sender.to_string(), report: id });
        let head = bytes::Bytes::new();
        reports.messages.push(NewMessage {
            envelope,
            head,
            draft: Draft::from_bytes(id, content),
            hold: None,
        });
    }

    /// The sender, and who gets his reports: he himself, or whom his address stands for here. Nobody gets a report for a
    /// report, and none is made for an address of ours that does not exist: the sender was forged.
    fn report_recipients(&self, reports: &mut Reports) -> Option<(&Mailbox, Vec<Mailbox>)> {
        let withheld = |reason: &str| Event::ReportWithheld { reason: reason.to_owned() };
        let ReversePath::Mailbox(sender) = &self.batch.message.from else {
            reports.events.push(withheld("it is a report itself, and reports are not reported on"));
            return None;
        };
        let path = ForwardPath::Mailbox(sender.clone());
        match self.site.routing.recipient(&path, &self.shared.users) {
            Ok(routing::Recipient::Local(mailboxes)) => Some((sender, mailboxes)),
            Ok(routing::Recipient::Unknown) => {
                reports
                    .events
                    .push(withheld("its sender claims to be of ours, but nobody here has that address"));
                None
            }
            // A directory that is down must not keep a report from its sender.
            Ok(routing::Recipient::Foreign(_)) | Err(_) => Some((sender, vec![sender.clone()])),
        }
    }

    fn compose(
        &self,
        kind: Kind,
        sender: &Mailbox,
        recipients: Vec<dsn::Recipient>,
        (original, returned): &(Vec<u8>, Returned),
        id: QueueId,
    ) -> Vec<u8> {
        let message = &self.batch.message;
        let headers = Headers::parse(header_section(original));
        let message_id = headers.as_ref().ok().and_then(Headers::message_id);
        let config = &self.site.config;
        let report = Report {
            kind,
            reporting_mta: config.hostname.as_str(),
            arrival: message.accepted,
            envid: message.envid.as_deref(),
            from_address: &config.report_from,
            to: sender,
            message_id: message_id.as_deref(),
            queue_id: &message.id.to_string(),
            recipients,
            original: match returned {
                Returned::Whole => Original::Full(original),
                Returned::Headers => Original::Headers(header_section(original)),
            },
            tls: match message.tls {
                SenderTls::Required => TlsDemand::Always,
                SenderTls::AsPolicy | SenderTls::NotRequired => TlsDemand::Unsaid,
            },
            utf8: message.smtputf8,
        };
        report.compose(self.now, &id.to_string())
    }

    /// Reads as much of the original as the report returns (RFC 3461 §4.3).
    async fn read_original(&self, kind: Kind) -> Result<(Vec<u8>, Returned), Error> {
        let message = &self.batch.message;
        let whole = kind == Kind::Failed && message.ret != Some(Ret::Headers) && message.size <= RETURN_WHOLE;
        let mut body = self.shared.store.body(message.id).await?;
        let mut original = Vec::new();
        while let Some(piece) = body.next().await? {
            original.extend_from_slice(&piece);
            if !whole && original.len() >= MAX_HEADER_BYTES {
                break;
            }
        }
        Ok((original, if whole { Returned::Whole } else { Returned::Headers }))
    }

    fn report_envelope(&self, to: Vec<Mailbox>, content: &[u8]) -> Envelope {
        let recipients = to.into_iter().map(|address| self.site.routing.plain_recipient(address)).collect();
        let headers = header_section(content);
        Envelope {
            smtputf8: self.batch.message.smtputf8,
            eight_bit: !content.is_ascii(),
            utf8_headers: !headers.is_ascii(),
            // RFC 8689 §5: what was to travel under TLS only is not quoted in clear.
            tls: match self.batch.message.tls {
                SenderTls::Required => SenderTls::Required,
                SenderTls::AsPolicy | SenderTls::NotRequired => SenderTls::AsPolicy,
            },
            ..Envelope::plain(ReversePath::Null, recipients)
        }
    }

    /// NOTIFY: failure is reported unless the sender asked otherwise (RFC 3461 §4.1).
    fn failures(&self, decision: &Decision) -> Vec<dsn::Recipient> {
        let wanted = |recipient: &Recipient| recipient.notify.is_none_or(|notify| notify.failure);
        let entry = |(id, failed): &(RecipientId, Failed)| {
            let recipient = self.recipient(*id).filter(|recipient| wanted(recipient))?;
            let mut entry = self.entry(*id, recipient, Kind::Failed);
            let trouble = if failed.expired {
                entry.last_trouble = Some(failed.trouble.clone());
                Trouble::new(failed.trouble.step, Reason::Expired)
            } else {
                failed.trouble.clone()
            };
            entry.explanation = self.explanation(&failed.trouble);
            entry.status = trouble.enhanced(5);
            entry.trouble = Some(trouble);
            Some(entry)
        };
        decision.failed.iter().filter_map(entry).collect()
    }

    fn delays(&self, decision: &Decision) -> Vec<dsn::Recipient> {
        let wanted = |recipient: &Recipient| recipient.notify.is_none_or(|notify| notify.delay);
        let entry = |(id, trouble): &(RecipientId, Trouble)| {
            let recipient = self.recipient(*id).filter(|recipient| wanted(recipient))?;
            let mut entry = self.entry(*id, recipient, Kind::Delayed);
            entry.explanation = self.explanation(trouble);
            entry.status = trouble.enhanced(4);
            entry.trouble = Some(trouble.clone());
            entry.will_retry_until = self.expiry();
            Some(entry)
        };
        decision.delayed.iter().filter_map(entry).collect()
    }

    /// The diagnosis that `postern queue why` gives, where TLS is in the way: a sender can pass it on to his postmaster.
    fn explanation(&self, trouble: &Trouble) -> Option<String> {
        trouble.fault()?;
        Some(diagnose(trouble, &self.batch.destination).paragraph())
    }

    /// Success is reported only when asked for, and only when no later host does it.
    fn successes(&self, decision: &Decision, by: SuccessReport, kind: Kind) -> Vec<dsn::Recipient> {
        let wanted = |recipient: &Recipient| recipient.notify.is_some_and(|notify| notify.success);
        let entry = |(id, reply): &(RecipientId, Option<Reply>)| {
            let recipient = self.recipient(*id).filter(|recipient| wanted(recipient))?;
            self.reached(*id).filter(|reached| reached.success == by)?;
            let mut entry = self.entry(*id, recipient, kind);
            entry.diagnostic.clone_from(reply);
            Some(entry)
        };
        decision.delivered.iter().filter_map(entry).collect()
    }

    fn entry(&self, id: RecipientId, recipient: &Recipient, action: Kind) -> dsn::Recipient {
        let remote_mta = match self.reached(id).and_then(|reached| reached.place.as_ref()) {
            Some(Place::NextHop(next_hop)) => Some(next_hop.host.clone()),
            Some(Place::Mailbox(_)) | None => None,
        };
        dsn::Recipient {
            address: recipient.address.clone(),
            original: recipient.orcpt.clone(),
            action,
            status: Enhanced::new(2, 0, 0),
            trouble: None,
            last_trouble: None,
            explanation: None,
            remote_mta,
            diagnostic: None,
            last_attempt: Some(self.now),
            will_retry_until: None,
        }
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.batch.message.accepted.checked_add(self.site.schedule_for(&self.batch.destination).expire).ok()
    }
}

/// Reports to be enqueued, and the events that say so.
#[derive(Default)]
struct Reports {
    messages: Vec<NewMessage>,
    events: Vec<Event>,
}

/// How much of the original is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Returned {
    Whole,
    Headers,
}

/// The part before the empty line, its last CRLF included.
fn header_section(content: &[u8]) -> &[u8] {
    memchr::memmem::find(content, b"\r\n\r\n").map_or(content, |at| &content[..at + 2])
}
