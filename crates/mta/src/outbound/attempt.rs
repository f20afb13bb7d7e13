//! One attempt at one batch: the hosts in order, until each recipient has an outcome.

use std::sync::Arc;

use postern_queue::{Batch, Body, Recipient, RecipientId};
use postern_smtp::client::Job;
use postern_smtp::envelope::{MailParams, RcptParams};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::tls::TlsRequirement;

use super::live::{Live, Terms};
use super::maildir;
use super::route::{Target, targets};
use crate::config::{Connector, Way};
use crate::daemon::{Shared, Site};
use crate::event::{Event, Subject};

/// What an attempt came to.
#[derive(Debug)]
pub(crate) struct Attempted {
    /// One for each recipient of the batch.
    pub(crate) recipients: Vec<Reached>,
    /// The connector's name, or `none`.
    pub(crate) connector: String,
}

/// What became of one recipient, and where.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Which one.
    pub(crate) id: RecipientId,
    /// What became of it.
    pub(crate) outcome: Outcome,
    /// The host or mailbox that it was settled with.
    pub(crate) host: Option<String>,
    /// How the connection was protected.
    pub(crate) protection: String,
    /// Who tells the sender of the success, if he wants to hear of it.
    pub(crate) success: SuccessReport,
}

/// Who reports success (RFC 3461 §6.2): the last one who can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SuccessReport {
    /// The next hop understands DSN and does it.
    NextHop,
    /// We do: the next hop does not understand DSN.
    Relayed,
    /// We do: it is in its mailbox.
    Delivered,
}

/// Attempts to deliver a batch, reusing `kept` when it leads there, and leaving in it what can be used again.
///
/// # Cancel safety
/// Dropping it abandons the transaction without ending it; the next hop discards what it got.
pub(crate) async fn attempt(
    shared: &Shared,
    site: &Site,
    batch: &Batch,
    kept: &mut Option<Live>,
) -> Attempted {
    let Some(connector) = site.routing.connector(&batch.destination) else {
        let trouble = Trouble::new(Step::Route, Reason::NoRoute);
        return Attempted::same_for_all(batch, "none", &Outcome::Deferred(trouble));
    };
    let mut body = match shared.store.body(batch.id).await {
        Ok(body) => body,
        Err(error) => {
            let trouble = Trouble::new(Step::Content, Reason::Local(error.to_string()));
            return Attempted::same_for_all(batch, &connector.name.0, &Outcome::Deferred(trouble));
        }
    };
    if let Way::Maildir(template) = &connector.to {
        let plus =
            batch.recipients.first().and_then(|(_, recipient)| site.routing.plus_of(&recipient.address));
        let written = maildir::deliver(template, batch, plus, &mut body).await;
        return Attempted::local(written, connector);
    }
    let mut hosts = Hosts {
        shared,
        site,
        connector,
        batch,
        open: batch.recipients.clone(),
        settled: Vec::new(),
        last: None,
    };
    hosts.run(kept, &mut body).await;
    Attempted { recipients: hosts.settled, connector: connector.name.0.clone() }
}

impl Attempted {
    fn same_for_all(batch: &Batch, connector: &str, outcome: &Outcome) -> Self {
        let reached = |(id, _): &(RecipientId, Recipient)| Reached {
            id: *id,
            outcome: outcome.clone(),
            host: None,
            protection: String::new(),
            success: SuccessReport::Relayed,
        };
        Self { recipients: batch.recipients.iter().map(reached).collect(), connector: connector.to_owned() }
    }

    fn local(written: Vec<(RecipientId, Outcome, std::path::PathBuf)>, connector: &Connector) -> Self {
        let reached = |(id, outcome, folder): (RecipientId, Outcome, std::path::PathBuf)| Reached {
            id,
            outcome,
            host: Some(folder.display().to_string()),
            protection: "on this machine".into(),
            success: SuccessReport::Delivered,
        };
        Self { recipients: written.into_iter().map(reached).collect(), connector: connector.name.0.clone() }
    }
}

/// The walk over a destination's hosts.
struct Hosts<'a> {
    shared: &'a Shared,
    site: &'a Site,
    connector: &'a Arc<Connector>,
    batch: &'a Batch,
    open: Vec<(RecipientId, Recipient)>,
    settled: Vec<Reached>,
    /// What the last host that did not settle everything said, and which it was.
    last: Option<(Outcome, String)>,
}

impl Hosts<'_> {
    async fn run(&mut self, kept: &mut Option<Live>, body: &mut Body) {
        if let Some(live) = kept.take().filter(|live| self.can_reuse(live))
            && let Some(live) = self.deliver_over(live, body).await
        {
            *kept = Some(live);
        }
        if self.open.is_empty() {
            return;
        }
        match targets(self.shared, self.connector, &self.batch.destination).await {
            Ok(targets) => self.try_each(targets, kept, body).await,
            Err(outcome) => self.settle_open(&outcome, None),
        }
    }

    fn can_reuse(&self, live: &Live) -> bool {
        live.is_ready() && Arc::ptr_eq(&live.connector, self.connector)
    }

    async fn try_each(&mut self, targets: Vec<Target>, kept: &mut Option<Live>, body: &mut Body) {
        for target in targets {
            match self.open(&target).await {
                Ok(live) => *kept = self.deliver_over(live, body).await,
                Err(trouble) => self.last = Some((of_session(trouble), target.to_string())),
            }
            if self.open.is_empty() {
                return;
            }
        }
        match self.last.take() {
            Some((outcome, host)) => self.settle_open(&outcome, Some(&host)),
            None => {
                self.settle_open(&Outcome::Deferred(Trouble::new(Step::Lookup, Reason::NoSuchDomain)), None);
            }
        }
    }

    /// Opens a session; under an opportunistic requirement a failed handshake is followed by one try in clear, which
    /// is recorded with its reason (RFC 7435 §3).
    async fn open(&self, target: &Target) -> Result<Live, Trouble> {
        let terms =
            Terms { connector: self.connector, tls: self.site.client_tls(self.connector), in_clear: false };
        match Live::open(terms.clone(), target).await {
            Err(Trouble { reason: Reason::TlsFailed(why), .. })
                if self.connector.requirement == TlsRequirement::Opportunistic =>
            {
                let event = Event::FellBackToClear { host: target.to_string(), reason: why };
                self.shared.observer.emit(Subject::Message(self.batch.id), event);
                Live::open(Terms { in_clear: true, ..terms }, target).await
            }
            opened => opened,
        }
    }

    /// Delivers to all that are open; those who may do better at another host stay open. Gives the session back when
    /// it can be used again.
    async fn deliver_over(&mut self, mut live: Live, body: &mut Body) -> Option<Live> {
        body.rewind();
        let reused = live.messages > 0;
        let outcomes = live.deliver(self.job(), body).await;
        let (host, protection) = (live.target.to_string(), live.protection());
        let success = self.success_report(&live);
        for ((id, recipient), outcome) in std::mem::take(&mut self.open).into_iter().zip(outcomes) {
            if wants_another_host(&outcome, reused) {
                self.last = Some((outcome, host.clone()));
                self.open.push((id, recipient));
                continue;
            }
            let (host, protection) = (Some(host.clone()), protection.clone());
            self.settled.push(Reached { id, outcome, host, protection, success });
        }
        live.is_ready().then_some(live)
    }

    fn success_report(&self, live: &Live) -> SuccessReport {
        match self.connector.to {
            Way::Lmtp(_) | Way::Maildir(_) => SuccessReport::Delivered,
            Way::Mx { .. } | Way::Smtp { .. } if live.passes_on_dsn() => SuccessReport::NextHop,
            Way::Mx { .. } | Way::Smtp { .. } => SuccessReport::Relayed,
        }
    }

    fn job(&self) -> Job {
        let message = &self.batch.message;
        let params =
            |recipient: &Recipient| RcptParams { notify: recipient.notify, orcpt: recipient.orcpt.clone() };
        Job {
            from: message.from.clone(),
            params: MailParams {
                size: Some(message.size),
                body: message.body,
                smtputf8: message.smtputf8,
                ret: message.ret,
                envid: message.envid.clone(),
                auth: None,
            },
            to: self
                .open
                .iter()
                .map(|(_, recipient)| (recipient.address.clone(), params(recipient)))
                .collect(),
            size: message.size,
            eight_bit: message.eight_bit,
            utf8_headers: message.utf8_headers,
        }
    }

    fn settle_open(&mut self, outcome: &Outcome, host: Option<&str>) {
        for (id, _) in std::mem::take(&mut self.open) {
            let (outcome, host) = (outcome.clone(), host.map(str::to_owned));
            let protection = String::new();
            self.settled.push(Reached { id, outcome, host, protection, success: SuccessReport::Relayed });
        }
    }
}

/// What a trouble of the whole session means for a recipient: a permanent refusal fails it, everything else waits.
/// A refused sign-in is our own configuration's fault and never the message's.
fn of_session(trouble: Trouble) -> Outcome {
    let permanent = trouble.reply.as_ref().is_some_and(postern_smtp::reply::Reply::is_permanent);
    if permanent && trouble.reason == Reason::Refused && trouble.step != Step::Authenticate {
        Outcome::Failed(trouble)
    } else {
        Outcome::Deferred(trouble)
    }
}

/// Whether another host, or a fresh connection in place of a reused one, may do better: when the trouble came before
/// the peer had judged the recipient.
fn wants_another_host(outcome: &Outcome, reused: bool) -> bool {
    let Outcome::Deferred(trouble) = outcome else { return false };
    let lost = matches!(trouble.reason, Reason::ConnectionLost | Reason::TimedOut)
        || trouble.reply.as_ref().is_some_and(|reply| reply.code == 421);
    trouble.step < Step::Rcpt || (reused && lost && trouble.step < Step::Content)
}
