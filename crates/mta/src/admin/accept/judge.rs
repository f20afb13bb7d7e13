//! What the session asks, answered as in service, and what decided it, in words.
//!
//! Every decision is [`Standing`]'s or the limits'; here stands only what is asked when, and how the reason is told. What this
//! deliberately does not do: emit, count or store.

use std::num::NonZeroU32;

use postern_message::inspect::{Inspection, Inspector, MAX_HEADER_BYTES};
use postern_smtp::address::{ForwardPath, Mailbox, ReversePath};
use postern_smtp::envelope::{Mail, Rcpt};
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::sasl::{Claim, ScramHash, ScramKey, ScramKeys};
use postern_smtp::secret::Secret;
use postern_smtp::server::{Question, Transaction, Verdict};

use super::play::{PASSWORD, Play};
use super::words;
use crate::admin::may_send;
use crate::config::{FromCheck, OtherSenders, Role};
use crate::directory::{Denied, Login, Principal};
use crate::inbound::decide::{self, Fault, Reached, Refusal, Standing};
use crate::inbound::demands;
use crate::inbound::listener::Crowded;
use crate::limits::{Barred, Fate, Source, Turned, wait_in_words};
use crate::routing::{Permit, destination_of};

/// For keys that are never kept, the least that is allowed (RFC 7677 §4).
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// The same salt each time: nothing is protected by it.
const SALT: &[u8] = b"of no importance";

impl Play<'_> {
    /// Whether the client would get a session.
    ///
    /// # Errors
    /// The reply that turns it away.
    pub(super) fn may_arrive(&mut self) -> Result<(), Reply> {
        let (rules, client, listener) = (self.world.rules, self.question.client, self.listener);
        let (config, hostname) = (rules.config, &listener.settings.hostname);
        let source = self.standing().source();
        if let Err(turned) = rules.limits.would_arrive(client, &config.protection.rates, source, self.now) {
            let (reply, why) = decide::turned_away(hostname, &turned);
            self.because.extend(why.or_else(|| match &turned {
                Turned::Banned(ban, _) => Some(words::ban(ban)),
                Turned::TooFast(_) => None,
            }));
            return Err(reply);
        }
        let own = &listener.config;
        let Some(sessions) = self.world.sessions else { return Ok(()) };
        match sessions.would_enter(config.sessions, &own.name, own.limits.sessions, client) {
            Ok(()) => Ok(()),
            Err(Crowded::Full) => {
                self.because.push("[limits] sessions: as many as there may be are open now".to_owned());
                Err(catalogue::too_busy(hostname))
            }
            Err(Crowded::Client) => {
                self.because
                    .push("[limits] sessions_per_address: this client has as many as it may".to_owned());
                Err(catalogue::too_many_sessions(hostname))
            }
        }
    }

    /// Decides, as in service.
    pub(super) async fn judge(&mut self, question: Question) -> Verdict {
        match question {
            Question::Connect => self.connect(),
            Question::Hello(_) => Verdict::Accept,
            Question::Authenticate(claim) => self.authenticate(&claim).await,
            Question::Mail(mail) => self.on_mail(&mail),
            Question::Rcpt(rcpt) => self.on_rcpt(&rcpt),
            Question::Take(transaction) => match self.take(&transaction) {
                Ok(()) => Verdict::Queued { id: "QUEUE-ID".to_owned() },
                Err(reply) => Verdict::Refuse(reply),
            },
        }
    }

    pub(super) fn standing(&self) -> Standing<'_> {
        Standing {
            rules: self.world.rules,
            listener: self.listener,
            client: self.question.client,
            tls: self.known.tls.as_ref(),
            certificate: self.known.certificate.as_ref(),
            principal: self.known.principal.as_ref(),
            device: self.known.device.as_deref(),
        }
    }

    fn connect(&mut self) -> Verdict {
        let client = self.question.client;
        if let Err(reply) = self.standing().check_device_is_known() {
            self.because.push(format!("no [[device]] has the address {client}"));
            return Verdict::RefuseAndClose(reply);
        }
        if let (Role::Device, Some(device)) = (self.listener.config.role, &self.known.device) {
            self.because.push(format!("[[device]] \"{}\": {client} is one of its addresses", device.name));
        }
        Verdict::Accept
    }

    async fn authenticate(&mut self, claim: &Claim) -> Verdict {
        if let Claim::Keys { hash, .. } = claim {
            return Verdict::Keys(keys(*hash));
        }
        let Some(user) = self.question.user.as_deref() else {
            return Verdict::Refuse(catalogue::bad_credentials());
        };
        let (rules, hostname) = (self.world.rules, &self.listener.settings.hostname);
        let protection = &rules.config.protection;
        let standing = self.standing();
        let (attempt, source) = (standing.attempt(user), standing.source());
        match rules.limits.would_admit(&attempt, protection, source, self.now) {
            Ok(wait) if !wait.is_zero() => {
                let wait = wait_in_words(wait);
                self.because.push(format!(
                    "after {wait}, because wrong passwords were tried from there or for him lately"
                ));
            }
            Ok(_) => {}
            Err(barred) => {
                let (reply, why) = decide::barred(hostname, &barred);
                self.because.push(why);
                return match barred {
                    Barred::Banned(_) => Verdict::RefuseAndClose(reply),
                    _ => Verdict::Refuse(reply),
                };
            }
        }
        match self.look_up(user).await {
            Ok(principal) => self.signed_in(principal),
            Err(reply) => Verdict::Refuse(reply),
        }
    }

    /// Who that is; a ban counts as a wrong password.
    async fn look_up(&mut self, user: &str) -> Result<Principal, Reply> {
        let Some(login) = Login::new(user) else { return Err(catalogue::bad_credentials()) };
        let principal = match self.world.directories.look_up(&login).await {
            Ok(Some(principal)) => principal,
            Ok(None) => {
                self.because.push("no directory knows this user".to_owned());
                return Err(catalogue::bad_credentials());
            }
            Err(Denied::Refused(why)) => {
                self.because.push(why.to_string());
                return Err(catalogue::bad_credentials());
            }
            Err(denied @ Denied::Unavailable(_)) => {
                self.because.push(denied.to_string());
                return Err(catalogue::directory_down());
            }
        };
        if let Some(ban) = self.world.rules.limits.ban_of(user, &principal, self.now) {
            self.because.push(words::ban(&ban));
            return Err(catalogue::bad_credentials());
        }
        Ok(principal)
    }

    fn signed_in(&mut self, principal: Principal) -> Verdict {
        let rules = self.world.rules;
        let source = Source { principal: Some(&principal.name), ..self.standing().source() };
        let allowed = rules.limits.would_succeed(&rules.config.protection.rates, source, self.now);
        if let Err(no) = allowed {
            self.because.push(no.to_string());
            let hostname = rules.config.hostname.as_str();
            return Verdict::RefuseAndClose(catalogue::sessions_too_fast(hostname, &wait_in_words(no.wait)));
        }
        self.because.push(format!("{} of the directory {}", principal.name, principal.directory));
        let user = principal.name.clone();
        self.known.principal = Some(principal);
        Verdict::SignedIn { user }
    }

    fn on_mail(&mut self, mail: &Mail) -> Verdict {
        let standing = self.standing();
        let decided = standing.mail(mail, self.now);
        let mut because = Vec::new();
        if let Err(Refusal { fault: Fault::Client, .. }) | Ok(()) = &decided {
            because.extend(policies(&standing, &mail.from));
            because.extend(sender(&standing, &mail.from));
        }
        self.conclude(decided.map(|()| because.clone()), because)
    }

    fn on_rcpt(&mut self, rcpt: &Rcpt) -> Verdict {
        let standing = self.standing();
        let decided = standing.rcpt(&rcpt.to, self.so_far, self.now);
        let refused = vec![without(&standing, &rcpt.to)];
        let decided = decided.map(|Reached { mailboxes, new, permit }| {
            let because = recipient(&rcpt.to, &mailboxes, permit);
            (because, mailboxes, new)
        });
        let decided = decided.map(|(because, mailboxes, new)| {
            self.so_far.new = new;
            for mailbox in mailboxes {
                if !self.recipients.contains(&mailbox) {
                    self.recipients.push(mailbox);
                }
            }
            self.so_far.recipients = self.recipients.len();
            vec![because]
        });
        self.conclude(decided, refused)
    }

    /// `refused` is the reason where the refusal itself has none.
    fn conclude(&mut self, decided: Result<Vec<String>, Refusal>, refused: Vec<String>) -> Verdict {
        let Refusal { reply, why, fault } = match decided {
            Ok(because) => {
                self.because.extend(because);
                return Verdict::Accept;
            }
            Err(refusal) => refusal,
        };
        match fault {
            Fault::Client => self.because.extend(refused.into_iter().chain(why)),
            Fault::Policy(name) => {
                let why = why.unwrap_or_default();
                self.because.push(format!("[[inbound.policy]] \"{name}\": {why}"));
            }
            Fault::TooFast(no) => self.because.push(no.to_string()),
            Fault::Directory(denied) => self.because.push(denied.to_string()),
        }
        Verdict::Refuse(reply)
    }

    fn take(&mut self, transaction: &Transaction) -> Result<(), Reply> {
        if let Some(mut new_author) = self.new_author.take() {
            self.inspector.feed(&new_author.finish());
        }
        let inspector = std::mem::replace(&mut self.inspector, Inspector::new(MAX_HEADER_BYTES));
        let header = inspector.finish();
        let standing = self.standing();
        let (author, mut because) = (standing.check_author(&header), authors(&standing, &header));
        let rules = self.world.rules;
        if self.recipients.iter().any(|recipient| rules.routing.takes_reports(recipient)) {
            because.push("[tls_reports] receive: what is no TLS report is refused there".to_owned());
        }
        let counted = author.and_then(|()| standing.check_pace());
        let octets = transaction.size.max(self.question.size.unwrap_or(0));
        let counted = counted.and_then(|()| {
            let (rates, to) = (&rules.config.protection.rates, self.recipients.iter());
            rules.limits.would_take(rates, standing.source(), to, octets, self.now).map_err(|no| {
                because = vec![no.to_string()];
                catalogue::too_fast(&no.what.to_string(), &wait_in_words(no.wait))
            })
        });
        if let (Ok(()), Some(principal)) = (&counted, standing.principal) {
            let (user, recipients) = (principal.name.as_str(), self.recipients.len() as u64);
            if rules.limits.foresee(user, recipients, &rules.config.protection, self.now) == Fate::Held {
                because.push(
                    "[bursts]: it would be held, because its sender suddenly sends much more than usual"
                        .to_owned(),
                );
            }
        }
        self.because.extend(because);
        counted
    }
}

/// The policies that hold, all satisfied.
fn policies(standing: &Standing<'_>, sender: &ReversePath) -> Vec<String> {
    let asked = demands::Standing { sender, client: standing.client, tls: standing.tls };
    let holding = demands::holding(&standing.rules.config.inbound_policies, asked);
    holding.map(|policy| format!("[[inbound.policy]] \"{}\": satisfied", policy.name)).collect()
}

/// What the sender's right rests on, or what it lacks.
fn sender(standing: &Standing<'_>, from: &ReversePath) -> Vec<String> {
    let device = standing.device.map(|device| {
        let sender = &device.sender;
        let replaced = device.other_senders == OtherSenders::Replaced;
        let also = if replaced { ", which is put in place of others (rewrite_sender)" } else { "" };
        format!("[[device]] \"{}\" sender = \"{sender}\"{also}", device.name)
    });
    let person = match (standing.principal, from.mailbox(), standing.device) {
        (Some(principal), Some(address), None) => Some(owner(standing, principal, address)),
        (Some(principal), _, Some(device)) => Some(owner(standing, principal, &device.sender)),
        (Some(_), None, None) => Some("the null path is nobody's address".to_owned()),
        (None, ..) => None,
    };
    let nobody = (device.is_none() && person.is_none()).then(|| {
        format!(
            "[[listener]] \"{}\": who has not signed in may name any sender",
            standing.listener.config.name
        )
    });
    device.into_iter().chain(person).chain(nobody).collect()
}

fn owner(standing: &Standing<'_>, principal: &Principal, address: &Mailbox) -> String {
    let permission = standing.rules.senders.judge(principal, address);
    format!("{address}: {}", may_send::words(&permission))
}

/// Why a recipient is accepted.
fn recipient(to: &ForwardPath, mailboxes: &[Mailbox], permit: Option<Permit<'_>>) -> String {
    let by = |section: String| format!("somebody else's address; {section}");
    match permit {
        Some(Permit::SignedIn) => by("who has signed in may send anywhere".to_owned()),
        Some(Permit::Network(name)) => by(format!("[[relay.networks]] \"{name}\" holds the client")),
        Some(Permit::Certificate(name)) => {
            by(format!("[[relay.certificates]] \"{name}\" lists its certificate"))
        }
        Some(Permit::Device(name)) => by(format!("[[device]] \"{name}\" recipient_domains")),
        None => {
            let same = to.mailbox().is_some_and(|written| mailboxes == [written.clone()]);
            let all: Vec<String> = mailboxes.iter().map(ToString::to_string).collect();
            let stands = if same { String::new() } else { format!(": it stands for {}", all.join(", ")) };
            format!("an address of ours{stands}")
        }
    }
}

/// What a recipient lacks who is refused.
fn without(standing: &Standing<'_>, to: &ForwardPath) -> String {
    let (client, role) = (standing.client, standing.listener.config.role);
    let is_own = |to: &&Mailbox| standing.rules.routing.is_own_domain(&destination_of(to));
    let ours = to.mailbox().filter(is_own).and_then(Mailbox::domain);
    match (standing.device, ours, role) {
        (Some(device), None, _) => {
            format!("[[device]] \"{}\" recipient_domains does not name the domain", device.name)
        }
        (Some(device), Some(_), _) if to.mailbox().is_some_and(|to| !device.may_send_to(to)) => {
            format!("[[device]] \"{}\" recipient_domains does not name the domain", device.name)
        }
        (_, Some(domain), _) => format!(
            "[[domain]] \"{domain}\": no user, mailbox or alias has this name, and there is no catch_all"
        ),
        (_, None, Role::Relay) => format!(
            "somebody else's address: nobody has signed in, no [[relay.networks]] holds {client}, and no \
             [[relay.certificates]] lists a certificate of its"
        ),
        (_, None, _) => "somebody else's address: nobody has signed in".to_owned(),
    }
}

/// Whose the header's authors are, where that counts.
fn authors(standing: &Standing<'_>, header: &Inspection) -> Vec<String> {
    if let Some(device) = standing.device {
        return vec![format!("[[device]] \"{}\" sender = \"{}\"", device.name, device.sender)];
    }
    let Some(principal) = standing.principal else { return Vec::new() };
    if standing.listener.config.check_from_header == FromCheck::Off {
        let name = &standing.listener.config.name;
        return vec![format!(
            "[[listener]] \"{name}\" check_from_header = false: the header is not looked at"
        )];
    }
    let sender = header.sender.as_ref().and_then(|sender| sender.as_ref().ok());
    let from = header.from.as_deref().unwrap_or_default();
    from.iter().chain(sender).map(|address| owner(standing, principal, address)).collect()
}

/// What the client proves to know. It is made afresh, and means nothing to anybody else.
fn keys(hash: ScramHash) -> ScramKeys {
    let key = ScramKey::of(hash, &Secret::new(PASSWORD), SALT, ITERATIONS, 0);
    ScramKeys { salt: SALT.to_vec(), iterations: ITERATIONS, keys: key.into_iter().collect() }
}
