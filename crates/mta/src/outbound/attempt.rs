//! One attempt at one batch: the hosts in order, until each recipient has an outcome.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_queue::{Batch, Body, Recipient, RecipientId};
use postern_smtp::client::Job;
use postern_smtp::envelope::{MailParams, RcptParams};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::tls::TlsRequirement;

use super::live::{Live, Terms, TlsUse};
use super::maildir;
use super::route::{NextHop, next_hops};
use crate::config::{Connector, Way};
use crate::daemon::{Shared, Site};
use crate::event::{Event, Subject};

/// After this long no further host is begun with in an attempt: other destinations want their turn.
const ENOUGH: Duration = Duration::from_mins(5);

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
    /// Where it was settled, when the attempt came so far.
    pub(crate) place: Option<Place>,
    /// How the connection was protected.
    pub(crate) protection: String,
    /// Who tells the sender of the success, if he wants to hear of it.
    pub(crate) success: SuccessReport,
}

/// Where a recipient was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// With another server.
    NextHop(NextHop),
    /// In a mailbox on this machine.
    Mailbox(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextHop(next_hop) => write!(f, "{next_hop}"),
            Self::Mailbox(folder) => write!(f, "{}", folder.display()),
        }
    }
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
        said: Vec::new(),
    };
    hosts.run(kept, &mut body).await;
    Attempted { recipients: hosts.settled, connector: connector.name.0.clone() }
}

/// Whether an attempt got anywhere: what a next hop's number of connections is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The next hop was spoken to and gave an answer about the message.
    Made,
    /// It could not be reached, or would not talk.
    None,
}

impl Attempted {
    /// Whether it got anywhere.
    pub(crate) fn progress(&self) -> Progress {
        let got_nowhere = |reached: &Reached| {
            matches!(&reached.outcome, Outcome::Deferred(trouble) if trouble.step < Step::Mail
                || matches!(trouble.reason, Reason::TimedOut | Reason::ConnectionLost))
        };
        if self.recipients.iter().all(got_nowhere) { Progress::None } else { Progress::Made }
    }

    fn same_for_all(batch: &Batch, connector: &str, outcome: &Outcome) -> Self {
        let reached = |(id, _): &(RecipientId, Recipient)| Reached::nowhere(*id, outcome.clone());
        Self { recipients: batch.recipients.iter().map(reached).collect(), connector: connector.to_owned() }
    }

    fn local(written: Vec<(RecipientId, Outcome, PathBuf)>, connector: &Connector) -> Self {
        let reached = |(id, outcome, folder): (RecipientId, Outcome, PathBuf)| Reached {
            id,
            outcome,
            place: Some(Place::Mailbox(folder)),
            protection: "on this machine".into(),
            success: SuccessReport::Delivered,
        };
        Self { recipients: written.into_iter().map(reached).collect(), connector: connector.name.0.clone() }
    }
}

impl Reached {
    fn nowhere(id: RecipientId, outcome: Outcome) -> Self {
        Self { id, outcome, place: None, protection: String::new(), success: SuccessReport::Relayed }
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
    /// What the hosts that did not settle everything said, in order.
    said: Vec<(Outcome, NextHop)>,
}

impl Hosts<'_> {
    async fn run(&mut self, kept: &mut Option<Live>, body: &mut Body) {
        if let Some(live) = kept.take().filter(|live| self.can_reuse(live)) {
            *kept = self.deliver_over(live, body).await;
        }
        if self.open.is_empty() {
            return;
        }
        match next_hops(self.shared, self.connector, &self.batch.destination).await {
            Ok(next_hops) => self.try_each(next_hops, kept, body).await,
            Err(outcome) => self.settle_open(&outcome, None),
        }
    }

    fn can_reuse(&self, live: &Live) -> bool {
        live.is_ready() && Arc::ptr_eq(&live.connector, self.connector)
    }

    async fn try_each(&mut self, next_hops: Vec<NextHop>, kept: &mut Option<Live>, body: &mut Body) {
        let began = Instant::now();
        for next_hop in next_hops {
            if began.elapsed() > ENOUGH && !self.said.is_empty() {
                break;
            }
            match self.open(&next_hop).await {
                Ok(live) => *kept = self.deliver_over(live, body).await,
                Err(outcome) => self.said.push((outcome, next_hop)),
            }
            if self.open.is_empty() {
                return;
            }
        }
        let (outcome, next_hop) = conclude(std::mem::take(&mut self.said));
        self.settle_open(&outcome, next_hop);
    }

    /// Opens a session; under an opportunistic requirement a failed handshake after STARTTLS is followed by one try in
    /// clear, which is recorded with its reason (RFC 7435 §3).
    async fn open(&self, next_hop: &NextHop) -> Result<Live, Outcome> {
        let tls = self.site.client_tls(self.connector);
        let terms = Terms { connector: self.connector, tls, tls_use: TlsUse::AsPlanned };
        match Live::open(terms.clone(), next_hop).await {
            Err(Outcome::Deferred(Trouble { reason: Reason::TlsFailed(why), .. }))
                if self.may_go_in_clear() =>
            {
                let event = Event::FellBackToClear { host: next_hop.to_string(), reason: why };
                self.shared.observer.emit(Subject::Message(self.batch.id), event);
                Live::open(Terms { tls_use: TlsUse::LeftOut, ..terms }, next_hop).await
            }
            opened => opened,
        }
    }

    /// A port that begins with TLS has nothing to say in clear.
    fn may_go_in_clear(&self) -> bool {
        let implicit =
            matches!(&self.connector.to, Way::Smtp(hosts) if hosts.iter().any(|host| host.implicit_tls));
        !implicit && self.connector.peer.requirement == TlsRequirement::OPPORTUNISTIC
    }

    /// Delivers to all that are open; those who may do better at another host stay open. Gives the session back when
    /// it can be used again.
    async fn deliver_over(&mut self, mut live: Live, body: &mut Body) -> Option<Live> {
        body.rewind();
        let reused = live.messages > 0;
        let outcomes = live.deliver(self.job(), body).await;
        let protection = live.protection();
        let success = self.success_report(&live);
        let mut said = None;
        for ((id, recipient), outcome) in std::mem::take(&mut self.open).into_iter().zip(outcomes) {
            if wants_another_host(&outcome, reused) {
                said = Some(outcome);
                self.open.push((id, recipient));
                continue;
            }
            let (place, protection) = (Some(Place::NextHop(live.next_hop.clone())), protection.clone());
            self.settled.push(Reached { id, outcome, place, protection, success });
        }
        self.said.extend(said.map(|outcome| (outcome, live.next_hop.clone())));
        live.is_ready().then_some(live)
    }

    fn success_report(&self, live: &Live) -> SuccessReport {
        match &self.connector.to {
            Way::Lmtp(_) | Way::Maildir(_) | Way::TlsReports => SuccessReport::Delivered,
            Way::Mx { .. } | Way::Smtp(_) if live.passes_on_dsn() => SuccessReport::NextHop,
            Way::Mx { .. } | Way::Smtp(_) => SuccessReport::Relayed,
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
                requiretls: false,
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

    fn settle_open(&mut self, outcome: &Outcome, next_hop: Option<NextHop>) {
        let place = next_hop.map(Place::NextHop);
        for (id, _) in std::mem::take(&mut self.open) {
            self.settled.push(Reached { place: place.clone(), ..Reached::nowhere(id, outcome.clone()) });
        }
    }
}

/// What it means that none of the hosts took the mail: it fails only when every one refused for good. As long as one
/// may take it later it waits, for the reason that this one gave last.
fn conclude(said: Vec<(Outcome, NextHop)>) -> (Outcome, Option<NextHop>) {
    let waits = said.iter().rposition(|(outcome, _)| matches!(outcome, Outcome::Deferred(_)));
    let decisive = waits.or(said.len().checked_sub(1));
    match decisive.and_then(|index| said.into_iter().nth(index)) {
        Some((outcome, next_hop)) => (outcome, Some(next_hop)),
        None => (Outcome::Deferred(Trouble::new(Step::Lookup, Reason::NoSuchDomain)), None),
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

#[cfg(test)]
mod tests {
    use postern_smtp::reply::Reply;

    use super::*;
    use crate::outbound::route::Socket;

    fn hop(host: &str) -> NextHop {
        NextHop { host: host.into(), at: Socket::Tcp(([192, 0, 2, 1], 25).into()) }
    }

    fn refused(step: Step, code: u16) -> Outcome {
        Outcome::from_reply(step, Reply::plain(code, "No"))
    }

    fn down() -> Outcome {
        Outcome::Deferred(Trouble::new(Step::Connect, Reason::ConnectFailed("refused".into())))
    }

    #[test]
    fn a_backup_that_refuses_does_not_fail_what_the_primary_may_still_take() {
        let (outcome, next_hop) =
            conclude(vec![(down(), hop("primary")), (refused(Step::Greeting, 554), hop("backup"))]);
        assert_eq!((outcome, next_hop), (down(), Some(hop("primary"))));
    }

    #[test]
    fn mail_fails_when_every_host_refuses_for_good() {
        let last = (refused(Step::Hello, 550), hop("b"));
        let (outcome, next_hop) = conclude(vec![(refused(Step::Greeting, 554), hop("a")), last.clone()]);
        assert_eq!((outcome, next_hop), (last.0, Some(last.1)));
    }

    #[test]
    fn no_host_at_all_defers() {
        assert!(matches!(conclude(Vec::new()), (Outcome::Deferred(_), None)));
    }

    #[test]
    fn a_trouble_before_rcpt_leads_to_the_next_host_and_a_later_one_is_the_answer() {
        for step in [Step::Connect, Step::Greeting, Step::Tls, Step::Mail] {
            assert!(wants_another_host(&refused(step, 450), false), "{step}");
        }
        for step in [Step::Rcpt, Step::Data, Step::Content] {
            assert!(!wants_another_host(&refused(step, 450), false), "{step}");
        }
        assert!(!wants_another_host(&refused(Step::Mail, 550), false));
    }

    #[test]
    fn a_reused_connection_that_was_closed_is_replaced_but_not_behind_the_final_dot() {
        let lost = |step| Outcome::Deferred(Trouble::new(step, Reason::ConnectionLost));
        assert!(wants_another_host(&lost(Step::Data), true));
        assert!(!wants_another_host(&lost(Step::Data), false));
        assert!(!wants_another_host(&lost(Step::Content), true));
        assert!(wants_another_host(&refused(Step::Rcpt, 421), true));
    }
}
