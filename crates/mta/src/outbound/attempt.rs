//! One attempt at one batch: the hosts in order, until each recipient has an outcome.
//!
//! [`attempt`] is all that the scheduler calls. The types to know: [`Attempted`], what it came to; [`Reached`], that for
//! one recipient, with the host that said so; and [`Progress`], whether it got anywhere. A recipient whom one host
//! refuses for good is settled; the others go on to the next host. Where every host fails, one of their troubles is told,
//! and one about TLS comes before a host that is down: only that one can be mended here.
//!
//! What it deliberately does not do: choose hosts or demands (`plan` does), speak SMTP (`live` does), decide when to try
//! again (the queue does), or write reports.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_queue::{Batch, Body, Recipient, RecipientId, SenderTls};
use postern_smtp::client::Job;
use postern_smtp::envelope::{MailParams, RcptParams};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::sasl::Credential;
use postern_smtp::tls::{TlsFailure, TlsFault, TlsRequirement};

use super::ladder::Rung;
use super::live::{Live, Opening};
use super::plan::{HostTerms, Plan, PlannedHost, Planner};
use super::route::{NextHop, Router};
use super::seen::{self, SessionEnd, Whereabouts};
use super::{credential, maildir};
use crate::config::{Connector, CredentialSource, Way};
use crate::daemon::{Shared, Site};
use crate::event::{Event, Subject};
use crate::policy::reports::{self, Taken};

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
    /// Nobody: it was dropped, and its sender may be forged.
    Nobody,
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
    if !connector.enabled {
        let trouble = Trouble::new(Step::Route, Reason::SwitchedOff);
        return Attempted::same_for_all(batch, &connector.name.0, &Outcome::Deferred(trouble));
    }
    if let Way::Maildir(template) = &connector.to {
        let plus =
            batch.recipients.first().and_then(|(_, recipient)| site.routing.plus_of(&recipient.address));
        let written = maildir::deliver(template, batch, plus, &mut body).await;
        return Attempted::local(written, connector);
    }
    if connector.to == Way::TlsReports {
        let taken = reports::receive(shared, site, batch.id, &mut body).await;
        return Attempted::by_us(batch, connector, taken);
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

    /// Of a message to the address for TLS reports.
    fn by_us(batch: &Batch, connector: &Connector, taken: Taken) -> Self {
        let (outcome, success) = match taken {
            Taken::Kept => (Outcome::Delivered(None), SuccessReport::Delivered),
            Taken::Dropped => (Outcome::Delivered(None), SuccessReport::Nobody),
            Taken::Later(trouble) => (Outcome::Deferred(trouble), SuccessReport::Nobody),
        };
        let protection = "on this machine";
        let reached = |(id, _): &(RecipientId, Recipient)| Reached {
            success,
            protection: protection.into(),
            ..Reached::nowhere(*id, outcome.clone())
        };
        let recipients = batch.recipients.iter().map(reached).collect();
        Self { recipients, connector: connector.name.0.clone() }
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
    /// What the hosts that did not settle everything said, in order; with the socket, when it came to one.
    said: Vec<(Outcome, Option<NextHop>)>,
}

impl Hosts<'_> {
    async fn run(&mut self, kept: &mut Option<Live>, body: &mut Body) {
        let own_addresses = self.shared.own_addresses.load();
        let planner = Planner { router: Router { site: self.site, own_addresses: &own_addresses } };
        let plan = match planner.plan(self.connector, &self.batch.destination, Timestamp::now()).await {
            Ok(plan) => plan,
            Err(none) => return self.settle_open(&none.into(), None),
        };
        if let Some(live) = kept.take().filter(|live| self.can_reuse(live, &plan)) {
            *kept = self.deliver_over(live, body).await;
        }
        if !self.open.is_empty() {
            self.try_each(&plan, kept, body).await;
        }
    }

    /// Only a connection to one of the hosts of now, that was opened on the very terms that hold for this message: its
    /// destination, its sender's wish, or what is published may demand something else than those of the message before.
    fn can_reuse(&self, live: &Live, plan: &Plan) -> bool {
        let on_the_same_terms = |host: &PlannedHost| {
            host.sockets().contains(&live.next_hop)
                && host.terms(self.batch.message.tls).is_ok_and(|terms| terms.same_as(&live.terms))
        };
        live.is_ready()
            && Arc::ptr_eq(&live.connector, self.connector)
            && plan.hosts.iter().any(on_the_same_terms)
    }

    async fn try_each(&mut self, plan: &Plan, kept: &mut Option<Live>, body: &mut Body) {
        let began = Instant::now();
        let unresolved =
            plan.unresolved.iter().map(|(_, trouble)| (Outcome::Deferred(trouble.clone()), None));
        self.said.extend(unresolved);
        let credential = match credential::find(self.shared, self.site, self.connector).await {
            Ok(credential) => credential,
            Err(trouble) => return self.settle_open(&Outcome::Deferred(trouble), None),
        };
        for host in &plan.hosts {
            let terms = match host.terms(self.batch.message.tls) {
                Ok(terms) => terms,
                Err(trouble) => {
                    self.ruled_out(plan, host, &trouble);
                    self.said.push((Outcome::Deferred(*trouble), None));
                    continue;
                }
            };
            for next_hop in host.sockets() {
                if began.elapsed() > ENOUGH && !self.said.is_empty() {
                    break;
                }
                let opening = self.opening(host, next_hop, &terms, credential.clone());
                match self.open(plan, host, opening).await {
                    Ok(live) => *kept = self.deliver_over(live, body).await,
                    Err(outcome) => {
                        self.mind_token(&outcome).await;
                        self.said.push((outcome, Some(next_hop.clone())));
                    }
                }
                if self.open.is_empty() {
                    return;
                }
            }
        }
        let (outcome, next_hop) = conclude(std::mem::take(&mut self.said));
        self.settle_open(&outcome, next_hop);
    }

    /// A token that was refused is not used again.
    async fn mind_token(&self, outcome: &Outcome) {
        let signing_in = outcome.trouble().is_some_and(|trouble| trouble.step == Step::Authenticate);
        if signing_in && matches!(self.connector.credential, Some(CredentialSource::OAuth { .. })) {
            self.shared.tokens.refused(&self.connector.name.0).await;
        }
    }

    fn opening<'o>(
        &'o self,
        host: &'o PlannedHost,
        next_hop: &'o NextHop,
        terms: &'o HostTerms,
        credential: Option<Credential>,
    ) -> Opening<'o> {
        Opening {
            connector: self.connector,
            next_hop,
            server_name: host.server_name(),
            implicit_tls: host.host.implicit_tls,
            terms,
            tls: self.site.roots_for(terms),
            rung: Rung::Full,
            credential,
        }
    }

    /// Opens a session. Where nothing more than `opportunistic` is demanded a failed handshake is followed by the next
    /// rung of the ladder, which is recorded with its reason and remembered (RFC 7435 §3).
    async fn open(&self, plan: &Plan, host: &PlannedHost, mut opening: Opening<'_>) -> Result<Live, Outcome> {
        let next_hop = opening.next_hop;
        if opening.terms.peer.requirement != TlsRequirement::OPPORTUNISTIC || opening.implicit_tls {
            let opened = Live::open(opening).await;
            self.seen((plan, host), next_hop, &opened, None);
            return opened;
        }
        let (ladder, place) = (&self.shared.ladder, opening.next_hop.to_string());
        let mut failed: Option<TlsFailure> = None;
        if let Some(remembered) = ladder.remembered(&place, Instant::now()) {
            opening.rung = remembered.rung;
            failed = Some(TlsFailure::new(TlsFault::Handshake, remembered.why));
        }
        loop {
            let opened = Live::open(opening.clone()).await;
            let below = opening.rung.below();
            if let (Err(Outcome::Deferred(trouble)), Some(below)) = (&opened, below)
                && let Reason::TlsFailed(why) = &trouble.reason
            {
                let event =
                    Event::FellBack { host: place.clone(), to: below.to_string(), reason: why.clone() };
                self.shared.observer.emit(Subject::Message(self.batch.id), event);
                failed.get_or_insert_with(|| {
                    TlsFailure::new(trouble.fault().unwrap_or(TlsFault::Handshake), why.clone())
                });
                opening.rung = below;
                continue;
            }
            if opened.is_ok() {
                let why = failed.as_ref().map_or("", |failure| &failure.why);
                ladder.remember(&place, opening.rung, why, Instant::now());
            }
            let failed = failed.filter(|_| opening.rung == Rung::Clear);
            self.seen((plan, host), next_hop, &opened, failed);
            return opened;
        }
    }

    /// Counts a session for the TLS reports. `fallen` is why it is in clear although TLS was tried.
    fn seen(
        &self,
        (plan, host): (&Plan, &PlannedHost),
        next_hop: &NextHop,
        opened: &Result<Live, Outcome>,
        fallen: Option<TlsFailure>,
    ) {
        let Some(end) = SessionEnd::of(opened, fallen) else { return };
        let local = opened.as_ref().ok().and_then(Live::local_address);
        self.count(plan, &Whereabouts { domain: self.domain(), host, next_hop: Some(next_hop), local }, &end);
    }

    /// A host that was not even connected to counts as well.
    fn ruled_out(&self, plan: &Plan, host: &PlannedHost, trouble: &Trouble) {
        let Some(fault) = trouble.fault() else { return };
        let end = SessionEnd::Failed(TlsFailure::new(fault, trouble.reason.to_string()));
        self.count(plan, &Whereabouts { domain: self.domain(), host, next_hop: None, local: None }, &end);
    }

    /// Only destinations that were looked up are reported on, and never those whose sender waived the policies. That our
    /// own disk could not be read is no news for a destination.
    fn count(&self, plan: &Plan, at: &Whereabouts<'_>, end: &SessionEnd) {
        let Some(sts) = plan.sts.as_ref().filter(|sts| sts.unanswered().is_none()) else { return };
        if self.batch.message.tls != SenderTls::NotRequired {
            self.shared.tls_results.count(seen::session(at, sts, end), Timestamp::now());
        }
    }

    fn domain(&self) -> &str {
        &self.batch.destination.0
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
        self.said.extend(said.map(|outcome| (outcome, Some(live.next_hop.clone()))));
        live.is_ready().then_some(live)
    }

    fn success_report(&self, live: &Live) -> SuccessReport {
        match self.connector.to {
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
                // A mail store relays nothing: what the sender demands of relays is fulfilled there.
                requiretls: message.tls == SenderTls::Required && !matches!(self.connector.to, Way::Lmtp(_)),
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

/// What it means that none of the hosts took the mail.
fn conclude(mut said: Vec<(Outcome, Option<NextHop>)>) -> (Outcome, Option<NextHop>) {
    let outcomes: Vec<&Outcome> = said.iter().map(|(outcome, _)| outcome).collect();
    match decisive(&outcomes) {
        Some(index) => said.swap_remove(index),
        None => (no_host_at_all(), None),
    }
}

/// Which one speaks for all, of what came of the hosts in their order, none of which took the mail; `None` where there was
/// no host. Mail fails only when every one refused for good. As long as one may take it later it waits: for a trouble with
/// TLS if there is one, since that will not pass by itself, or else for the reason that was given last.
pub(crate) fn decisive(outcomes: &[&Outcome]) -> Option<usize> {
    let waits = |outcome: &&Outcome| matches!(outcome, Outcome::Deferred(_));
    let insecure =
        |outcome: &&Outcome| matches!(outcome, Outcome::Deferred(trouble) if trouble.fault().is_some());
    let decisive = outcomes.iter().position(insecure).or(outcomes.iter().rposition(waits));
    decisive.or(outcomes.len().checked_sub(1))
}

/// What becomes of mail where there was no host to try.
pub(crate) fn no_host_at_all() -> Outcome {
    Outcome::Deferred(Trouble::new(Step::Lookup, Reason::NoSuchDomain))
}

/// Whether another host, or a fresh connection in place of a reused one, may do better: when the trouble came before
/// the peer had judged the recipient.
fn wants_another_host(outcome: &Outcome, reused: bool) -> bool {
    let trouble = match outcome {
        Outcome::Deferred(trouble) => trouble,
        // RFC 8689 §4.2.1: another host may offer what this one does not.
        Outcome::Failed(trouble) => return trouble.reason == Reason::NeedsRequireTls,
        Outcome::Delivered(_) => return false,
    };
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
        let (outcome, next_hop) = conclude(vec![
            (down(), Some(hop("primary"))),
            (refused(Step::Greeting, 554), Some(hop("backup"))),
        ]);
        assert_eq!((outcome, next_hop), (down(), Some(hop("primary"))));
    }

    #[test]
    fn mail_fails_when_every_host_refuses_for_good() {
        let last = (refused(Step::Hello, 550), Some(hop("b")));
        assert_eq!(conclude(vec![(refused(Step::Greeting, 554), Some(hop("a"))), last.clone()]), last);
    }

    #[test]
    fn a_trouble_with_tls_is_told_before_a_host_that_is_down() {
        let failure = TlsFailure::new(TlsFault::SelfSigned, "it is signed by itself");
        let unproved =
            Outcome::Deferred(Trouble::of_tls(Reason::SecurityUnmet(failure.why.clone()), &failure));
        let said = vec![(unproved.clone(), Some(hop("primary"))), (down(), Some(hop("backup")))];
        assert_eq!(conclude(said), (unproved, Some(hop("primary"))));
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
