//! What is decided at each point of a session, as functions of values: whoever asks with the same values hears the same.
//!
//! [`Standing`] is all that counts for a decision: the configuration of the moment, the listener, and what is known of the
//! client. The [`Gate`](super::gate::Gate) asks with what its session has come to, and `postern accept` with what it was told;
//! neither decides anything itself. [`Refusal`] is a no: the reply, what only the log says, and whose fault it is.
//!
//! Nothing is counted, emitted or stored here; limits are asked what they would say now. What this deliberately does not do:
//! verify a proof of who somebody is (the directories do), or take a message (`accept` does).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_message::inspect::Inspection;
use postern_pki::ClientIdentity;
use postern_smtp::address::{ForwardPath, Mailbox, ReversePath};
use postern_smtp::envelope::Mail;
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::tls::TlsFacts;

use super::demands;
use super::limits::{is_spared, source};
use super::listener::Listener;
use crate::config::{Config, Device, DeviceTls, FromCheck, Role, SignIn};
use crate::daemon::{Shared, Site};
use crate::device::{self, log::DeviceLog};
use crate::directory::{Denied, Principal, Users};
use crate::limits::{Amounts, Attempt, Barred, Limits, Source, TooFast, Turned, What, wait_in_words};
use crate::routing::{Permit, Recipient, Relaying, Routing};
use crate::sender::Senders;

/// All that counts for a decision.
#[derive(Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// By what it is decided.
    pub(crate) rules: Rules<'a>,
    /// Where the client came in.
    pub(crate) listener: &'a Listener,
    /// Its address.
    pub(crate) client: IpAddr,
    /// What is known of TLS; `None`: the session is in clear.
    pub(crate) tls: Option<&'a TlsFacts>,
    /// Who the client is by its certificate, when that was verified.
    pub(crate) certificate: Option<&'a ClientIdentity>,
    /// Who has signed in.
    pub(crate) principal: Option<&'a Principal>,
    /// Which device it is, on a device listener.
    pub(crate) device: Option<&'a Device>,
}

/// By what is decided: one configuration, and what is remembered.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'a> {
    pub(crate) config: &'a Config,
    pub(crate) routing: &'a Routing,
    pub(crate) senders: &'a Senders,
    pub(crate) users: &'a Users,
    pub(crate) limits: &'a Limits,
    /// How fast devices send; `None`: nobody has counted.
    pub(crate) devices: Option<&'a DeviceLog>,
}

/// No, and why.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the client is told.
    pub(crate) reply: Reply,
    /// What only the log says.
    pub(crate) why: Option<String>,
    /// Whose it is.
    pub(crate) fault: Fault,
}

/// Whose fault a refusal is.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The client may not.
    Client,
    /// The client does not satisfy the inbound policy of this name.
    Policy(String),
    /// It may, and did so too often lately.
    TooFast(TooFast),
    /// A directory cannot be asked.
    Directory(Denied),
}

/// A forward-path that is accepted.
#[derive(Debug)]
pub(crate) struct Reached<'a> {
    /// Who receives what is sent there.
    pub(crate) mailboxes: Vec<Mailbox>,
    /// How many recipients of the message the sender never wrote to before, these included.
    pub(crate) new: u64,
    /// For somebody else's address: why the client may send there.
    pub(crate) permit: Option<Permit<'a>>,
}

/// The recipients that a message has already.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SoFar {
    /// How many.
    pub(crate) recipients: usize,
    /// How many of them the sender never wrote to before.
    pub(crate) new: u64,
}

impl Shared {
    /// By what is decided now.
    pub(crate) fn rules<'a>(&'a self, site: &'a Site) -> Rules<'a> {
        Rules {
            config: &site.config,
            routing: &site.routing,
            senders: &site.senders,
            users: &self.users,
            limits: &self.limits,
            devices: Some(&self.devices),
        }
    }
}

impl Refusal {
    fn of_client(reply: Reply) -> Self {
        Self { reply, why: None, fault: Fault::Client }
    }

    fn too_fast(no: TooFast) -> Self {
        let reply = catalogue::too_fast(&no.what.to_string(), &wait_in_words(no.wait));
        Self { reply, why: Some(no.to_string()), fault: Fault::TooFast(no) }
    }
}

impl<'a> Standing<'a> {
    /// Whoever is no device has no business on a device listener, and learns nothing there.
    ///
    /// # Errors
    /// The reply that sends it away.
    pub(crate) fn check_device_is_known(&self) -> Result<(), Reply> {
        if self.listener.config.role != Role::Device || self.device.is_some() {
            return Ok(());
        }
        Err(catalogue::device_unknown(&self.client.to_canonical()))
    }

    /// Whether the client may begin a message with this MAIL: by the policies, the rates, and whose the sender is.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn mail(&self, mail: &Mail, now: Timestamp) -> Result<(), Refusal> {
        self.satisfies_policies(&mail.from)?;
        let octets = mail.params.size.unwrap_or(1).max(1);
        self.may_send(&[(What::Messages, 1), (What::Octets, octets)], now)?;
        self.may_send_as(&mail.from).map_err(Refusal::of_client)
    }

    /// Who receives what is sent to a forward-path, if the client may send there.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) fn rcpt(
        &self,
        to: &ForwardPath,
        before: SoFar,
        now: Timestamp,
    ) -> Result<Reached<'a>, Refusal> {
        let (mailboxes, permit) = self.reach(to)?;
        let new = before.new + self.new_among(&mailboxes);
        let recipients = (before.recipients + mailboxes.len()) as u64;
        self.may_send(&[(What::Recipients, recipients), (What::NewRecipients, new)], now)?;
        Ok(Reached { mailboxes, new, permit })
    }

    /// A device writes under its own address, and a signed-in principal under those that are his to write under.
    ///
    /// # Errors
    /// The reply that refuses the message.
    pub(crate) fn check_author(&self, header: &Inspection) -> Result<(), Reply> {
        if let Some(device) = self.device {
            return device::check_header(device, header);
        }
        match (self.principal, self.listener.config.check_from_header) {
            (Some(principal), FromCheck::Enforced) => self.rules.senders.check_header(principal, header),
            _ => Ok(()),
        }
    }

    /// Whether the device may send another message now.
    ///
    /// # Errors
    /// The reply that sends it away for now.
    pub(crate) fn check_pace(&self) -> Result<(), Reply> {
        let (Some(device), Some(log)) = (self.device, self.rules.devices) else { return Ok(()) };
        match log.wait(device, Instant::now()) {
            Duration::ZERO => Ok(()),
            wait => Err(device_too_fast(device, wait)),
        }
    }

    /// What counts for the right to relay.
    pub(crate) fn relaying(&self) -> Relaying<'a> {
        Relaying {
            principal: self.principal,
            role: self.listener.config.role,
            address: self.client,
            certificate: self.certificate,
            device: self.device,
        }
    }

    /// Who sends, as far as limits count.
    pub(crate) fn source(&self) -> Source<'a> {
        let principal = self.principal.map(|principal| principal.name.as_str());
        source(self.rules.config, principal, self.client, &self.listener.config.name)
    }

    /// A sign-in under this name, for the limits.
    pub(crate) fn attempt(&self, user: &str) -> Attempt {
        Attempt::new(user, self.client, is_spared(self.rules.config, self.client))
    }

    fn satisfies_policies(&self, sender: &ReversePath) -> Result<(), Refusal> {
        let standing = demands::Standing { sender, client: self.client, tls: self.tls };
        demands::check(&self.rules.config.inbound_policies, standing).map_err(
            |demands::Refusal { policy, why, reply }| Refusal {
                reply,
                why: Some(why),
                fault: Fault::Policy(policy.to_owned()),
            },
        )
    }

    /// Whether the client may send as this reverse-path: the device as its own, and whoever has signed in as what is his.
    fn may_send_as(&self, from: &ReversePath) -> Result<(), Reply> {
        let sender = match self.device {
            None => from.clone(),
            Some(device) => {
                self.check_device(device)?;
                device::check_reverse_path(device, from)?;
                device.sender.clone().into()
            }
        };
        let Some(principal) = self.principal else { return Ok(()) };
        self.rules.senders.check_reverse_path(principal, &sender)
    }

    /// Whether the device has done what it must before MAIL, and may send another message now.
    fn check_device(&self, device: &Device) -> Result<(), Reply> {
        if device.tls == DeviceTls::Required && self.tls.is_none() {
            return Err(catalogue::starttls_first());
        }
        if device.sign_in == SignIn::Required && self.principal.is_none() {
            return Err(catalogue::sign_in_first());
        }
        self.check_pace()
    }

    fn reach(&self, to: &ForwardPath) -> Result<(Vec<Mailbox>, Option<Permit<'a>>), Refusal> {
        if let Some(device) = self.device {
            device::check_recipient(device, to).map_err(Refusal::of_client)?;
        }
        let Rules { routing, users, .. } = self.rules;
        match routing.recipient(to, users) {
            Ok(Recipient::Local(mailboxes)) => Ok((mailboxes, None)),
            Ok(Recipient::Unknown) => Err(Refusal::of_client(catalogue::unknown_user(to))),
            Ok(Recipient::Foreign(mailbox)) => {
                let permit = routing.may_relay(self.relaying(), &mailbox);
                let denied = || Refusal {
                    why: self.certificate_doubt(),
                    ..Refusal::of_client(catalogue::relay_denied(to))
                };
                Ok((vec![mailbox], Some(permit.ok_or_else(denied)?)))
            }
            Err(denied) => {
                let reply = catalogue::directory_down();
                Err(Refusal { reply, why: None, fault: Fault::Directory(denied) })
            }
        }
    }

    /// How many of these the sender never wrote to before.
    fn new_among(&self, recipients: &[Mailbox]) -> u64 {
        let source = self.source();
        recipients.iter().filter(|recipient| self.rules.limits.is_new(source, recipient)).count() as u64
    }

    fn may_send(&self, amounts: Amounts<'_>, now: Timestamp) -> Result<(), Refusal> {
        let rates = &self.rules.config.protection.rates;
        self.rules.limits.may_send(rates, self.source(), amounts, now).map_err(Refusal::too_fast)
    }

    /// Why a certificate that the client showed did not count: it may be what the client meant to relay by.
    fn certificate_doubt(&self) -> Option<String> {
        let doubt = self.tls?.peer.doubt()?;
        Some(format!("its certificate does not verify: {}", doubt.why))
    }
}

/// In whole seconds, at least one.
pub(super) fn device_too_fast(device: &Device, wait: Duration) -> Reply {
    catalogue::device_too_fast(&device.name, wait.as_secs().saturating_add(1))
}

/// What a client hears that is turned away when it comes, and what the log hears; of a ban that is said apart.
pub(crate) fn turned_away(hostname: &str, turned: &Turned) -> (Reply, Option<String>) {
    match turned {
        Turned::Banned(..) => (catalogue::client_banned(hostname), None),
        Turned::TooFast(no) => {
            (catalogue::sessions_too_fast(hostname, &wait_in_words(no.wait)), Some(no.to_string()))
        }
    }
}

/// What a client hears whose sign-in is not looked at, and why, for the log.
pub(crate) fn barred(hostname: &str, barred: &Barred) -> (Reply, String) {
    match barred {
        Barred::Banned(ban) => {
            (catalogue::too_many_sign_ins(hostname), format!("{} is banned: {}", ban.subject, ban.because))
        }
        Barred::Closed => (
            catalogue::sign_in_closed(),
            "too many different wrong passwords were tried for this account; it is open only where it signed in lately, \
             until postern ban remove opens it everywhere (postern ban list)"
                .to_owned(),
        ),
        Barred::Crowded => (catalogue::sign_in_busy(), "too many sign-ins wait".to_owned()),
        Barred::TooFast(no) => (catalogue::sign_ins_too_fast(&wait_in_words(no.wait)), no.to_string()),
    }
}
