//! What happens in the daemon, as typed facts.
//!
//! Every step of a session or a delivery emits one [`Event`]; [`observe`](crate::observe) renders log lines, JSON and
//! the demo's narration from that one value. Instrumentation is never written by hand between the lines of the logic.
//! Words that came from a peer are kept as they came and never interpreted. They are cleaned at the two exits, whatever
//! field they stand in: `Display` here, and the JSON of [`observe`](crate::observe).
//!
//! The types to know: [`Event`], its [`Level`] (how much an operator should care), and its [`Subject`] (the session or
//! queue id that stands on every line). What it deliberately does not do: count, keep, or decide anything.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use postern_queue::QueueId;
use postern_smtp::outcome::Trouble;
use postern_smtp::text;
use postern_smtp::tls::HandshakeFault;
use serde::{Deserialize, Serialize};

use crate::device::Using;
use crate::directory::SignInFault;

/// Of one text from outside, at most so many octets are shown.
pub(crate) const CLEAN_MOST: usize = 600;

/// What a line is about: the id that stands on every line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Subject {
    /// The daemon as a whole.
    Daemon,
    /// One session, by its id.
    Session(String),
    /// One message.
    Message(QueueId),
}

/// How much an operator should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Only when looking closely.
    Debug,
    /// The normal course of things.
    Info,
    /// Something was refused, delayed or fell back.
    Notice,
    /// An administrator has to do something.
    Alarm,
}

/// How somebody who signed in proved who he is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// With a password.
    Password,
    /// With a client certificate.
    Certificate,
    /// With an OAuth access token.
    Token,
    /// With a password that was not said.
    Scram,
    /// At a front end, which said so with XCLIENT.
    #[serde(rename = "front-end")]
    FrontEnd,
}

/// One fact.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The daemon runs.
    Started {
        /// Our version.
        version: String,
        /// Our name.
        hostname: String,
    },
    /// A listener is bound.
    Listening {
        /// The listener's name.
        listener: String,
        /// The bound address.
        address: SocketAddr,
    },
    /// Who validates DNSSEC, as was seen when the resolver was set up.
    Dnssec {
        /// In words.
        status: String,
    },
    /// The configuration was read again.
    Reloaded,
    /// Drain has begun: no new sessions, no new attempts.
    Draining,
    /// All ended in order.
    Stopped,
    /// Something an administrator has to look at.
    Alarm {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// An authority issued a certificate, and it is in the store.
    CertificateIssued {
        /// The identity.
        identity: String,
        /// The `[[acme]]`.
        authority: String,
        /// Why it was asked for.
        why: String,
        /// Good until then.
        until: Timestamp,
    },
    /// An authority was asked for a certificate and there is none. The one before stays in service.
    CertificateNotIssued {
        /// The identity.
        identity: String,
        /// The `[[acme]]`.
        authority: String,
        /// What went wrong.
        trouble: String,
        /// What to do.
        remedy: String,
        /// When it is tried again.
        next: Timestamp,
    },
    /// The configuration holds something that is allowed but probably not meant.
    ConfigWarning {
        /// Where, what, and what to do.
        problem: String,
    },
    /// The private CA was made just now, because no certificate is configured.
    AuthorityMade {
        /// The file with its root, to be imported into mail programs.
        root: String,
    },
    /// The private CA's revocation list or responder was seen to.
    AuthorityKept {
        /// What was done.
        chore: String,
    },
    /// Somebody asked the private CA for a certificate, and waits for approval.
    CertificateRequested {
        /// The request: `postern ca approve` wants it.
        id: String,
        /// The names asked for.
        names: Vec<String>,
        /// Who asked.
        from: String,
    },
    /// The private CA issued a certificate, as its policy has it.
    CertificateGranted {
        /// Its serial number.
        serial: String,
        /// Its names.
        names: Vec<String>,
        /// Who asked for it.
        from: String,
    },
    /// A certificate took the place of the one before it; new sessions see it.
    IdentityRenewed {
        /// The identity's name.
        identity: String,
        /// SHA-256 of the new certificate.
        fingerprint: String,
        /// Until when it is good.
        until: Timestamp,
    },
    /// A certificate is served where there was none of its identity; new sessions see it.
    IdentityInstalled {
        /// The identity's name.
        identity: String,
        /// The names that it bears.
        names: Vec<String>,
        /// SHA-256 of the certificate.
        fingerprint: String,
        /// Until when it is good.
        until: Timestamp,
    },
    /// An identity is gone; new sessions see another.
    IdentityRemoved {
        /// The identity's name.
        identity: String,
        /// SHA-256 of the certificate that was served.
        fingerprint: String,
    },
    /// The files of an identity can be used again.
    IdentityMended {
        /// The identity's name.
        identity: String,
    },
    /// A renewed identity was handed on to the programs beside Postern.
    IdentityDeployed {
        /// The identity's name.
        identity: String,
    },
    /// A client connected.
    SessionOpened {
        /// The listener's name.
        listener: String,
        /// The client (behind a proxy: the real one).
        client: SocketAddr,
    },
    /// A client was turned away before its session began.
    SessionRefused {
        /// The listener's name.
        listener: String,
        /// The client.
        client: SocketAddr,
        /// Why.
        reason: String,
    },
    /// TLS stands.
    TlsStarted {
        /// The version, `TLSv1.3`.
        version: String,
        /// The suite.
        cipher: String,
        /// The name the client asked for.
        server_name: Option<String>,
    },
    /// A handshake with a client failed.
    TlsFailed {
        /// The client.
        client: SocketAddr,
        /// The listener's name.
        listener: String,
        /// Why.
        fault: HandshakeFault,
        /// Why, in words.
        reason: String,
    },
    /// A front end said with XCLIENT who its client is.
    Introduced {
        /// Who said so.
        front_end: SocketAddr,
        /// The client from here on.
        client: SocketAddr,
        /// Its name by the DNS, as the front end has it.
        name: Option<String>,
        /// Whom the front end has signed in, before that was looked up.
        login: Option<String>,
    },
    /// Somebody signed in.
    SignedIn {
        /// The principal.
        user: String,
        /// How he proved who he is.
        by: Proof,
    },
    /// Somebody failed to sign in.
    SignInFailed {
        /// The name that was tried.
        user: String,
        /// With what.
        by: Proof,
        /// What was wrong; the client is not told.
        fault: SignInFault,
        /// The client's address.
        client: IpAddr,
        /// What the client is not told about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The reply's words.
        reply: String,
    },
    /// A policy refused something.
    Refused {
        /// At which command.
        at: &'static str,
        /// The address in question.
        address: Option<String>,
        /// The client's address.
        client: IpAddr,
        /// The inbound policy that refused it, by its name.
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
        /// What the client is not told about it.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        /// The reply's help token.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'static str>,
        /// The reply.
        reply: String,
    },
    /// A client that has not signed in may send to foreign domains all the same; said once in a session.
    RelayPermitted {
        /// By which of the lists that the configuration names.
        by: String,
    },
    /// A message is on disk and was acknowledged.
    Accepted {
        /// Its session.
        session: String,
        /// The reverse-path.
        from: String,
        /// The recipients.
        to: Vec<String>,
        /// Octets.
        size: u64,
        /// The principal.
        user: Option<String>,
        /// The device that sent it, and how it came.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<Using>,
        /// Its Message-ID, with angle brackets: its sender's, or what was added where there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// What the client called itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        hello: Option<String>,
        /// What wrote the message, by its own word.
        #[serde(skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    /// A session ended without a message, for a reason that no other event names.
    SessionTroubled {
        /// The client.
        client: SocketAddr,
        /// The listener's name.
        listener: String,
        /// What kept it from going on.
        trouble: String,
        /// The case that it belongs to.
        #[serde(skip_serializing_if = "Option::is_none")]
        case: Option<u64>,
        /// How often that happened by now; it is told once a minute.
        #[serde(skip_serializing_if = "Option::is_none")]
        times: Option<u64>,
    },
    /// More troubled sessions ended at once than can be kept; they count in their cases.
    SessionsNotKept {
        /// So many.
        sessions: u64,
    },
    /// A session ended.
    SessionClosed {
        /// How.
        reason: String,
        /// Messages accepted in it.
        messages: u32,
    },
    /// TLS to a next hop failed and the next step of the fallback ladder follows.
    FellBack {
        /// The host.
        host: String,
        /// What is tried now: `with a small TLS hello` or `in clear`.
        to: String,
        /// Why TLS failed.
        reason: String,
    },
    /// A domain's MTA-STS policy could not be fetched, or is broken.
    StsTrouble {
        /// The domain.
        domain: String,
        /// What is wrong.
        trouble: String,
        /// What holds until it goes well.
        meanwhile: &'static str,
    },
    /// A TLS report was sent.
    TlsReportSent {
        /// The domain that it is about.
        domain: String,
        /// The day.
        day: String,
        /// To which address.
        to: String,
        /// How it went.
        how: String,
    },
    /// A TLS report could not be sent, or it is not known where to.
    TlsReportTroubled {
        /// The domain that it is about.
        domain: String,
        /// The day.
        day: String,
        /// To which address; empty when it is not known.
        to: String,
        /// Why.
        trouble: String,
        /// When it is tried again, if it is.
        next: Option<Timestamp>,
    },
    /// Somebody reports on TLS sessions with us.
    TlsReportReceived {
        /// Who, by his own word.
        organization: String,
        /// About which of our domains.
        domains: Vec<String>,
        /// Sessions that went well, by policy.
        succeeded: u64,
        /// Sessions that did not.
        failed: u64,
    },
    /// A message to the address for TLS reports holds none about us; it is gone.
    TlsReportDropped {
        /// What is wrong with it.
        why: String,
    },
    /// A recipient was delivered.
    Delivered {
        /// The recipient.
        to: String,
        /// The connector.
        connector: String,
        /// Where to: host and address, or a mailbox path.
        host: String,
        /// How it was protected on the way.
        tls: String,
        /// The next hop's reply.
        reply: Option<String>,
        /// Milliseconds since it was accepted.
        age_ms: i64,
    },
    /// A recipient has to wait.
    Deferred {
        /// The recipient.
        to: String,
        /// The connector.
        connector: String,
        /// The host last spoken to.
        host: Option<String>,
        /// Why.
        #[serde(serialize_with = "as_text")]
        trouble: Trouble,
        /// The next attempt.
        next: Timestamp,
    },
    /// A recipient failed for good.
    Failed {
        /// The recipient.
        to: String,
        /// The connector.
        connector: String,
        /// The host last spoken to.
        host: Option<String>,
        /// Why.
        #[serde(serialize_with = "as_text")]
        trouble: Trouble,
    },
    /// A report was queued.
    Reported {
        /// `failed`, `delayed`, `delivered` or `relayed`.
        kind: String,
        /// To whom.
        to: String,
        /// The report's own id.
        report: QueueId,
    },
    /// No report was sent although a recipient failed.
    ReportWithheld {
        /// Why.
        reason: String,
    },
    /// An attempt came to its end but could not be recorded; it will be repeated.
    NotRecorded {
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// An attempt came to its end when its deliveries were no longer its own: an administrator removed them, or another
    /// attempt has them. Nothing is recorded and nothing is repeated on its account.
    Superseded {
        /// Why.
        reason: String,
    },
    /// Somebody is turned away from now on.
    Banned {
        /// Who: an address, a network or an account.
        subject: String,
        /// Why.
        because: String,
        /// Until when; `None`: until it is removed.
        until: Option<Timestamp>,
        /// Who made the ban.
        by: String,
    },
    /// An administrator lifted a ban.
    Unbanned {
        /// Whose.
        subject: String,
    },
    /// Somebody who is banned came. Said once a minute for each ban.
    TurnedAway {
        /// Whose ban it is.
        subject: String,
        /// Who came last.
        client: IpAddr,
        /// Where.
        listener: String,
        /// How often since it was last said.
        times: u64,
    },
    /// A message is on disk, but held.
    Held {
        /// Why.
        reason: String,
    },
    /// An administrator changed deliveries.
    Amended {
        /// `hold`, `release` …
        change: String,
        /// How many deliveries.
        deliveries: u64,
    },
    /// A reload changed the way of deliveries that waited for it: they are due at once.
    WaysChanged {
        /// How many deliveries.
        deliveries: u64,
    },
}

fn as_text<S: serde::Serializer>(trouble: &Trouble, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(trouble)
}

impl Event {
    /// That somebody is banned.
    pub(crate) fn banned(ban: &crate::limits::Ban) -> Self {
        let crate::limits::Ban { subject, because, until, by, .. } = ban.clone();
        Self::Banned { subject: subject.to_string(), because, until, by: by.to_string() }
    }

    /// How much an operator should care.
    pub fn level(&self) -> Level {
        match self {
            Self::SessionOpened { .. } | Self::SessionClosed { .. } | Self::TlsStarted { .. } => Level::Debug,
            Self::Alarm { .. } | Self::NotRecorded { .. } => Level::Alarm,
            Self::ConfigWarning { .. }
            | Self::CertificateNotIssued { .. }
            | Self::CertificateRequested { .. }
            | Self::SessionRefused { .. }
            | Self::SessionTroubled { .. }
            | Self::SessionsNotKept { .. }
            | Self::TlsFailed { .. }
            | Self::SignInFailed { .. }
            | Self::Refused { .. }
            | Self::FellBack { .. }
            | Self::StsTrouble { .. }
            | Self::TlsReportTroubled { .. }
            | Self::TlsReportDropped { .. }
            | Self::Deferred { .. }
            | Self::Failed { .. }
            | Self::ReportWithheld { .. }
            | Self::Banned { .. }
            | Self::TurnedAway { .. }
            | Self::Held { .. }
            | Self::Superseded { .. } => Level::Notice,
            Self::Started { .. }
            | Self::Listening { .. }
            | Self::Dnssec { .. }
            | Self::Reloaded
            | Self::Draining
            | Self::Stopped
            | Self::AuthorityMade { .. }
            | Self::AuthorityKept { .. }
            | Self::CertificateIssued { .. }
            | Self::CertificateGranted { .. }
            | Self::IdentityRenewed { .. }
            | Self::IdentityInstalled { .. }
            | Self::IdentityRemoved { .. }
            | Self::IdentityMended { .. }
            | Self::IdentityDeployed { .. }
            | Self::SignedIn { .. }
            | Self::Introduced { .. }
            | Self::RelayPermitted { .. }
            | Self::Accepted { .. }
            | Self::TlsReportSent { .. }
            | Self::TlsReportReceived { .. }
            | Self::Delivered { .. }
            | Self::Reported { .. }
            | Self::Unbanned { .. }
            | Self::Amended { .. }
            | Self::WaysChanged { .. } => Level::Info,
        }
    }
}

/// Makes text from outside harmless for a log line or a terminal, and bounds it.
pub fn clean(text: &str) -> String {
    text::clean(text, CLEAN_MOST)
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon => f.write_str("postern"),
            Self::Session(id) => f.write_str(id),
            Self::Message(id) => write!(f, "{id}"),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Alarm => "ALARM",
        })
    }
}

/// One sentence for people.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell(&mut Cleaned(f))
    }
}

/// Passes text on to a log line, each piece made [`clean`]: the one way out of an event, so that no field is forgotten.
struct Cleaned<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Cleaned<'_, '_> {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        self.0.write_str(&clean(piece))
    }
}

impl Event {
    /// A flat table: one arm per event. Whatever is written is cleaned on its way.
    fn tell(&self, f: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Self::Started { version, hostname } => write!(f, "Postern {version} runs as {hostname}"),
            Self::Listening { listener, address } => write!(f, "listening: {listener} on {address}"),
            Self::AuthorityMade { root } => write!(
                f,
                "no certificate is configured, so a private CA was made; import its root into mail programs: {root}"
            ),
            Self::IdentityRenewed { identity, fingerprint, until } => {
                write!(
                    f,
                    "TLS identity {identity}: a new certificate is served, good until {until:.0}, SHA-256 {fingerprint}"
                )
            }
            Self::IdentityInstalled { identity, names, fingerprint, until } => {
                let names = names.join(", ");
                write!(
                    f,
                    "TLS identity {identity}: its certificate for {names} is served from now on, good until {until:.0}, SHA-256 {fingerprint}"
                )
            }
            Self::IdentityRemoved { identity, fingerprint } => {
                write!(f, "TLS identity {identity}: removed, and no longer served, SHA-256 {fingerprint}")
            }
            Self::IdentityMended { identity } => {
                write!(f, "TLS identity {identity}: its files can be used again")
            }
            Self::IdentityDeployed { identity } => {
                write!(f, "TLS identity {identity}: handed on to other programs")
            }
            Self::Dnssec { status } => f.write_str(status),
            Self::AuthorityKept { chore } => f.write_str(chore),
            Self::Reloaded => f.write_str("configuration reloaded; no session was dropped"),
            Self::Draining => f.write_str("shutting down: finishing what is under way"),
            Self::Stopped => f.write_str("stopped"),
            Self::Alarm { what, remedy } => write!(f, "{what} | what to do: {remedy}"),
            Self::CertificateIssued { identity, authority, why, until } => {
                write!(f, "certificate issued: {identity} by {authority}, good until {until:.0} ({why})")
            }
            Self::CertificateNotIssued { identity, authority, trouble, remedy, next } => write!(
                f,
                "certificate not issued: {identity} by {authority}: {trouble}; next try {next:.0} | what to do: {remedy}"
            ),
            Self::ConfigWarning { problem } => write!(f, "probably not meant: {problem}"),
            Self::SessionOpened { listener, client } => write!(f, "session opened: {client} on {listener}"),
            Self::CertificateRequested { id, names, from } => {
                let names = names.join(", ");
                write!(f, "certificate asked for: {names} by {from}; postern ca approve {id}, or deny it")
            }
            Self::CertificateGranted { serial, names, from } => {
                write!(f, "certificate issued: {} for {from}, serial number {serial}", names.join(", "))
            }
            Self::SessionRefused { listener, client, reason } => {
                write!(f, "session refused: {client} on {listener}: {reason}")
            }
            Self::TlsStarted { version, cipher, server_name } => {
                write!(f, "TLS started: {version} {cipher}{}", also(" for ", server_name.as_deref()))
            }
            Self::TlsFailed { client, listener, reason, .. } => {
                write!(f, "TLS handshake failed: {client} on {listener}: {reason}")
            }
            Self::SessionTroubled { client, listener, trouble, case, times } => {
                write!(f, "session without mail: {client} on {listener}: {trouble}")?;
                match (case, times) {
                    (Some(case), Some(1)) => write!(f, " (case {case})"),
                    (Some(case), Some(times)) => write!(f, " (case {case}, {times} times)"),
                    _ => Ok(()),
                }
            }
            Self::SessionsNotKept { sessions } => {
                write!(f, "{sessions} troubled sessions ended at once with others and were not kept")
            }
            Self::SignedIn { user, by: Proof::Password } => write!(f, "signed in: {user}"),
            Self::SignedIn { user, by: Proof::Certificate } => write!(f, "signed in by certificate: {user}"),
            Self::SignedIn { user, by: Proof::Token } => write!(f, "signed in by access token: {user}"),
            Self::SignedIn { user, by: Proof::Scram } => write!(f, "signed in by SCRAM: {user}"),
            Self::SignedIn { user, by: Proof::FrontEnd } => write!(f, "signed in at the front end: {user}"),
            Self::Introduced { front_end, client, name, login } => {
                write!(f, "{front_end} speaks for {client}")?;
                name.iter().try_for_each(|name| write!(f, " ({name})"))?;
                login.iter().try_for_each(|login| write!(f, ", signed in there as {login}"))
            }
            Self::SignInFailed { user, client, why, reply, .. } => {
                write!(f, "sign-in failed: {user} from {client}: {reply}{}", also("; ", why.as_deref()))
            }
            Self::Refused { at, address, client, policy, why, reply, .. } => {
                let (address, policy) =
                    (also(" ", address.as_deref()), also(" by policy ", policy.as_deref()));
                let why = also("; ", why.as_deref());
                write!(f, "refused at {at}{address} from {client}{policy}: {reply}{why}")
            }
            Self::RelayPermitted { by } => write!(f, "may relay by {by}"),
            Self::Accepted { session, from, to, size, user, device, .. } => {
                let (to, user) = (to.join(", "), also(" by ", user.as_deref()));
                let device = device.as_ref().map(ToString::to_string);
                let device = also(", ", device.as_deref());
                write!(f, "accepted: {from} -> {to}, {size} octets{user}{device}, session {session}")
            }
            Self::SessionClosed { reason, messages } => {
                write!(f, "session closed: {reason}, {messages} messages accepted")
            }
            Self::FellBack { host, to, reason } => {
                write!(f, "TLS to {host} failed, trying once {to}: {reason}")
            }
            Self::StsTrouble { domain, trouble, meanwhile } => write!(f, "{domain}: {trouble}; {meanwhile}"),
            Self::TlsReportSent { domain, day, to, how } => {
                write!(f, "TLS report on {domain}, {day}, sent to {to}: {how}")
            }
            Self::TlsReportTroubled { domain, day, to, trouble, next } => {
                let to = also(" to ", Some(to.as_str()).filter(|to| !to.is_empty()));
                let next = next.map_or("given up".to_owned(), |next| format!("next try {next:.0}"));
                write!(f, "TLS report on {domain}, {day}, not sent{to}: {trouble}; {next}")
            }
            Self::TlsReportReceived { organization, domains, succeeded, failed } => write!(
                f,
                "TLS report from {organization} (unproved) on {}: {succeeded} sessions well, {failed} failed",
                domains.join(", ")
            ),
            Self::TlsReportDropped { why } => {
                write!(f, "dropped, the address takes only TLS reports: {why}")
            }
            Self::Delivered { to, connector, host, tls, reply, age_ms } => {
                let reply = also(": ", reply.as_deref());
                write!(f, "delivered: {to} via {connector} to {host} ({tls}) after {age_ms} ms{reply}")
            }
            Self::Deferred { to, connector, host, trouble, next } => {
                let host = also(" at ", host.as_deref());
                write!(f, "deferred: {to} via {connector}{host}: {trouble}; next try {next:.0}")
            }
            Self::Failed { to, connector, host, trouble } => {
                write!(f, "failed: {to} via {connector}{}: {trouble}", also(" at ", host.as_deref()))
            }
            Self::Reported { kind, to, report } => write!(f, "reported as {kind} to {to} in {report}"),
            Self::ReportWithheld { reason } => write!(f, "no report sent: {reason}"),
            Self::NotRecorded { reason, remedy } => write!(
                f,
                "the attempt could not be recorded and will be repeated: {reason} | what to do: {remedy}"
            ),
            Self::Superseded { reason } => write!(f, "the attempt is not recorded: {reason}"),
            Self::Banned { subject, because, until, by } => {
                let until = until.map_or("it is removed".to_owned(), |until| format!("{until:.0}"));
                let because =
                    also(", because ", Some(because.as_str()).filter(|because| !because.is_empty()));
                write!(f, "banned by {by} until {until}: {subject}{because}")
            }
            Self::Unbanned { subject } => write!(f, "no longer banned: {subject}"),
            Self::TurnedAway { subject, client, listener, times } => {
                write!(
                    f,
                    "turned away: {client} on {listener}, {subject} is banned; {times} times since last said"
                )
            }
            Self::Held { reason } => write!(f, "held: {reason}"),
            Self::Amended { change, deliveries } => {
                write!(f, "{change} by an administrator: {}", counted(*deliveries))
            }
            Self::WaysChanged { deliveries } => {
                write!(f, "retry by a reload, for the way has changed: {}", counted(*deliveries))
            }
        }
    }
}

fn counted(deliveries: u64) -> String {
    format!("{deliveries} {}", if deliveries == 1 { "delivery" } else { "deliveries" })
}

/// What is known besides, behind a word that leads to it; nothing when it is not known.
fn also(lead: &str, known: Option<&str>) -> String {
    known.map(|known| format!("{lead}{known}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_words_cannot_forge_a_log_line() {
        let event = Event::Refused {
            client: IpAddr::from([192, 0, 2, 1]),
            at: "EHLO",
            policy: None,
            why: None,
            token: None,
            address: Some("x\r\n2026 ALARM forged\u{1b}[2J\u{202e}".into()),
            reply: "no".into(),
        };
        let line = event.to_string();
        assert!(!line.contains(['\r', '\n', '\u{1b}', '\u{202e}']), "{line:?}");
    }

    #[test]
    fn text_from_outside_is_bounded() {
        assert_eq!(clean(&"x".repeat(100_000)).len(), 600);
    }
}
