//! The session's side of limits: what is asked before, and what is counted after.
//!
//! When a client arrives, when it signs in, at MAIL, at RCPT, and when its message is complete; each asks [`Limits`] with what
//! the configuration of the moment allows, and words the answer: the reply for the client, the event for the administrator.
//!
//! What it deliberately does not do: count or decide; [`limits`](crate::limits) does.
//!
//! [`Limits`]: crate::limits::Limits

use std::net::IpAddr;

use jiff::Timestamp;
use postern_queue::QueueId;
use postern_smtp::address::Mailbox;
use postern_smtp::envelope::RcptParams;
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::sasl::{Claim, Credential, ScramProof};
use postern_smtp::server::Verdict;

use super::connection::Arrival;
use super::decide::{self, turned_away};
use super::gate::Gate;
use super::listener::Listener;
use crate::config::Config;
use crate::daemon::Shared;
use crate::directory::{Denied, Principal, SignInFault, Why};
use crate::event::{Event, Proof, Subject};
use crate::limits::{
    Attempt, Barred, Evidence, Fate, HELD_BECAUSE, Home, Pass, Source, Taken, Turned, tell_of_burst,
    wait_in_words,
};

/// Whether nobody at this address is ever banned by himself: loopback, trusted front ends, and whom the configuration names.
pub(super) fn is_spared(config: &Config, client: IpAddr) -> bool {
    let client = client.to_canonical();
    let is_front_end = || {
        let mut named = config
            .listeners
            .iter()
            .flat_map(|listener| listener.proxy_from.iter().chain(&listener.xclient.networks));
        named.any(|network| network.contains(&client))
    };
    client.is_loopback() || config.protection.bans.spares(client) || is_front_end()
}

/// Who sends, as far as addresses are counted. Those that may relay by their network are trusted with more.
pub(super) fn source<'a>(
    config: &Config,
    principal: Option<&'a str>,
    client: IpAddr,
    listener: &'a str,
) -> Source<'a> {
    let counted = !is_spared(config, client) && config.relay_network(client).is_none();
    Source { principal, address: counted.then_some(client), listener }
}

/// What was counted for a message that is to be stored.
pub(super) struct Counted {
    taken: Taken,
    fate: Fate,
    recipients: u64,
}

impl Counted {
    /// Why the message is held, if it is.
    pub(super) fn hold(&self) -> Option<String> {
        (self.fate == Fate::Held).then(|| HELD_BECAUSE.to_owned())
    }
}

impl Arrival {
    /// Whether the client may begin a session.
    ///
    /// # Errors
    /// The reply to turn it away with; it is in the log already.
    pub(super) fn check_limits(&self, now: Timestamp) -> Result<(), Reply> {
        check_arrival(&self.shared, &self.listener, self.client.ip(), now).map_err(|(reply, why)| {
            if let Some(why) = why {
                self.refuse(&format!("{}; {why}", reply.one_line()));
            }
            reply
        })
    }
}

/// Whether this client may begin a session, whether it came by itself or a front end has named it; it is counted.
///
/// # Errors
/// The reply to turn it away with, and what the log has yet to hear: of a ban it hears here, once a minute.
pub(super) fn check_arrival(
    shared: &Shared,
    listener: &Listener,
    client: IpAddr,
    now: Timestamp,
) -> Result<(), (Reply, Option<String>)> {
    let site = shared.site.load();
    let (name, hostname) = (listener.config.name.as_str(), &listener.settings.hostname);
    let source = source(&site.config, None, client, name);
    let Err(turned) = shared.limits.arrive(client, &site.config.protection.rates, source, now) else {
        return Ok(());
    };
    match &turned {
        Turned::Banned(ban, say) => {
            shared.counters.turned_away();
            if let Some(times) = *say {
                let (subject, listener) = (ban.subject.to_string(), name.to_owned());
                shared.observer.daemon(Event::TurnedAway { subject, client, listener, times });
            }
        }
        Turned::TooFast(no) => shared.counters.too_fast(no.scope, no.what),
    }
    Err(turned_away(hostname, &turned))
}

impl Gate {
    /// Waits until a sign-in may be looked at.
    ///
    /// # Errors
    /// The verdict when it may not.
    pub(super) async fn admit(&mut self, user: &str, by: Proof) -> Result<Pass, Verdict> {
        let site = self.site();
        let (attempt, source) = (self.attempt(user), self.source(&site.config));
        let admitted =
            self.shared.limits.admit(&attempt, &site.config.protection, source, Timestamp::now()).await;
        admitted.map_err(|barred| self.barred(user, by, &barred))
    }

    /// As [`admit`](Self::admit), for a question that shows nothing right or wrong yet.
    ///
    /// # Errors
    /// The verdict when it may not.
    pub(super) async fn admit_question(&mut self, user: &str) -> Result<Pass, Verdict> {
        let site = self.site();
        let (attempt, source) = (self.attempt(user), self.source(&site.config));
        let (limits, rules) = (&self.shared.limits, &site.config.protection);
        let admitted = limits.admit_question(&attempt, rules, source, Timestamp::now()).await;
        admitted.map_err(|barred| self.barred(user, Proof::Scram, &barred))
    }

    /// Who has proved to be somebody is refused all the same when he is banned, by whichever of his names.
    ///
    /// # Errors
    /// Why, for the administrator.
    pub(super) fn unless_banned(&self, given: &str, principal: Principal) -> Result<Principal, Denied> {
        match self.shared.limits.ban_of(given, &principal, Timestamp::now()) {
            Some(ban) => Err(Denied::Refused(Why::Banned(ban.because))),
            None => Ok(principal),
        }
    }

    /// A sign-in failed. A guess may lead to a ban, which ends the session.
    pub(super) fn count_failure(&mut self, claim: &Claim, user: &str, denied: &Denied) -> Option<Verdict> {
        let evidence = evidence(claim, denied);
        let site = self.site();
        let (attempt, source) = (self.attempt(user), self.source(&site.config));
        let now = Timestamp::now();
        let ban = self.shared.limits.failed(&attempt, evidence, &site.config.protection, source, now)?;
        self.shared.counters.banned();
        self.emit(Event::banned(&ban));
        Some(Verdict::RefuseAndClose(catalogue::too_many_sign_ins(site.config.hostname.as_str())))
    }

    /// A sign-in succeeded.
    ///
    /// # Errors
    /// The verdict when the principal does so too often.
    pub(super) fn count_success(&mut self, user: &str, principal: &str, by: Proof) -> Result<(), Verdict> {
        let site = self.site();
        let source = Source { principal: Some(principal), ..self.source(&site.config) };
        let rates = &site.config.protection.rates;
        let counted = self.shared.limits.succeeded(&self.attempt(user), rates, source, Timestamp::now());
        counted.map_err(|no| {
            self.told = true;
            self.shared.counters.too_fast(no.scope, no.what);
            let reply = catalogue::sessions_too_fast(site.config.hostname.as_str(), &wait_in_words(no.wait));
            let (client, why) = (self.client.address.ip(), Some(no.to_string()));
            let (user, fault) = (principal.to_owned(), SignInFault::TooFast);
            self.emit(Event::SignInFailed { user, by, fault, client, why, reply: reply.one_line() });
            Verdict::RefuseAndClose(reply)
        })
    }

    /// Counts a complete message: against the device's rate, the rates, and what its sender usually sends. It is counted
    /// before it is stored, so that no two sessions take the same room; [`Self::settle`] or [`Self::give_back`] ends it.
    ///
    /// # Errors
    /// The reply, when another session has used up the allowance meanwhile; then nothing is counted.
    pub(super) fn count_message(
        &self,
        recipients: &[(Mailbox, RcptParams)],
        octets: u64,
        now: Timestamp,
    ) -> Result<Counted, Reply> {
        self.count_for_device()?;
        let (site, count) = (self.site(), recipients.len() as u64);
        let (protection, source) = (&site.config.protection, self.source(&site.config));
        let mailboxes = recipients.iter().map(|(mailbox, _)| mailbox);
        let taken = self.shared.limits.take(&protection.rates, source, mailboxes, octets, now);
        let taken = taken.map_err(|no| {
            self.give_back_for_device();
            self.shared.counters.too_fast(no.scope, no.what);
            catalogue::too_fast(&no.what.to_string(), &wait_in_words(no.wait))
        })?;
        let judge = |user: &Principal| self.shared.limits.fate(&user.name, count, protection, now);
        let fate = self.principal.as_ref().map_or(Fate::Sent, judge);
        Ok(Counted { taken, fate, recipients: count })
    }

    /// A counted message could not be stored: nothing of it counts.
    pub(super) fn give_back(&self, counted: &Counted, now: Timestamp) {
        self.give_back_for_device();
        let site = self.site();
        let source = self.source(&site.config);
        self.shared.limits.give_back(&site.config.protection.rates, source, &counted.taken, now);
        if let Some(principal) = &self.principal {
            self.shared.limits.forget(&principal.name, counted.recipients, counted.fate, now);
        }
    }

    /// A counted message is stored. Of one that is held the log hears, and of the first of several the administrator.
    pub(super) async fn settle(&self, id: QueueId, counted: &Counted, now: Timestamp) {
        let site = self.site();
        self.shared.limits.keep(self.source(&site.config), &counted.taken, now);
        let (Fate::Held, Some(principal)) = (counted.fate, &self.principal) else { return };
        self.shared.counters.held();
        let reason = HELD_BECAUSE.to_owned();
        self.shared.observer.emit(Subject::Message(id), Event::Held { reason });
        if let Some(burst) = self.shared.limits.burst_to_tell(&principal.name, now) {
            tell_of_burst(&self.shared, principal, &burst, now).await;
        }
    }

    fn barred(&mut self, user: &str, by: Proof, barred: &Barred) -> Verdict {
        self.told = true;
        if let Barred::TooFast(no) = barred {
            self.shared.counters.too_fast(no.scope, no.what);
        }
        let (reply, why) = decide::barred(&self.listener.settings.hostname, barred);
        let (user, client) = (user.to_owned(), self.client.address.ip());
        let fault = match barred {
            Barred::Banned(_) => SignInFault::Banned,
            Barred::Closed => SignInFault::TooManyGuesses,
            Barred::Crowded | Barred::TooFast(_) => SignInFault::TooFast,
        };
        let reply_line = reply.one_line();
        self.tell_failure(Event::SignInFailed { user, by, fault, client, why: Some(why), reply: reply_line });
        match barred {
            Barred::Banned(_) => Verdict::RefuseAndClose(reply),
            _ => Verdict::Refuse(reply),
        }
    }

    /// Whether somebody of this name signed in lately, here or elsewhere.
    pub(super) fn home_of(&self, user: &str) -> Home {
        let rules = &self.site().config.protection.guessing;
        self.shared.limits.home(&self.attempt(user), rules, Timestamp::now())
    }

    fn attempt(&self, user: &str) -> Attempt {
        self.standing(&self.site()).attempt(user)
    }

    pub(super) fn source(&self, config: &Config) -> Source<'_> {
        let principal = self.principal.as_ref().map(|principal| principal.name.as_str());
        source(config, principal, self.client.address.ip(), &self.listener.config.name)
    }
}

/// What a failure says of guessing. Who proved right and was refused all the same did not guess.
fn evidence<'a>(claim: &'a Claim, denied: &Denied) -> Evidence<'a> {
    match (claim, denied) {
        (_, Denied::Refused(Why::AppPasswordNeeded | Why::ActingAs)) => Evidence::NoGuess,
        (Claim::Credential(Credential::Password { password, .. }), Denied::Refused(_)) => {
            Evidence::Password(password)
        }
        (Claim::Credential(Credential::Password { password, .. }), Denied::Unavailable(_)) => {
            Evidence::Unjudged(password)
        }
        // A right proof of somebody who is banned looks like a wrong one in every way.
        (Claim::Scram { proof: ScramProof::Wrong, .. }, _)
        | (Claim::Scram { .. }, Denied::Refused(Why::Banned(_))) => Evidence::Scram,
        _ => Evidence::NoGuess,
    }
}
