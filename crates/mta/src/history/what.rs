//! What is kept of an event: what somebody would ask about later, and what it can be found by.
//!
//! [`What`] is made of an [`Event`], cleaned and bounded, and kept as JSON; fields may be added, and what an earlier version
//! wrote stays readable. [`Kept`] is one with its time and the id that stands on the log's line. What is nobody's question,
//! such as that a listener was bound, is not kept.

use std::net::IpAddr;

use jiff::Timestamp;
use postern_queue::{Destination, QueueId};
use postern_smtp::address::Mailbox;
use postern_smtp::outcome::Trouble;
use postern_smtp::tls::HandshakeFault;
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::diagnosis::diagnose;
use crate::directory::SignInFault;
use crate::event::{Event, Proof, clean};

/// Of one message, at most so many recipients are kept with the event of its acceptance; each has his own events later.
const RECIPIENTS_MOST: usize = 1000;

/// An event that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// When it happened.
    pub time: Timestamp,
    /// The session or queue id, as in the log; empty: it is about neither.
    pub id: String,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// Where a session's client came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Came {
    /// The client; behind a front end, the real one.
    pub client: IpAddr,
    /// The listener's name.
    pub listener: String,
    /// TLS version and cipher suite; `None`: in clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of the event of the same name, which explains them")]
pub enum What {
    /// Somebody signed in.
    SignedIn {
        user: String,
        by: Proof,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        came: Option<Came>,
    },
    /// Somebody failed to sign in.
    SignInFailed {
        user: String,
        by: Proof,
        fault: SignInFault,
        client: IpAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        reply: String,
    },
    /// A policy refused something.
    Refused {
        at: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        address: Option<String>,
        client: IpAddr,
        /// Who was signed in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        reply: String,
    },
    /// A client was turned away before its session began.
    SessionRefused { listener: String, client: IpAddr, reason: String },
    /// A handshake with a client failed.
    TlsFailed { client: IpAddr, listener: String, fault: HandshakeFault, reason: String },
    /// A session ended without a message.
    SessionTroubled {
        client: IpAddr,
        listener: String,
        /// Who was signed in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        trouble: String,
    },
    /// A client may relay without signing in.
    RelayPermitted {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        came: Option<Came>,
    },
    /// A message is on disk and was acknowledged.
    Accepted {
        session: String,
        from: String,
        to: Vec<String>,
        size: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
        /// What the client called itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hello: Option<String>,
        /// What wrote the message, by its own word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        came: Option<Came>,
    },
    /// A message is on disk, but held.
    Held { reason: String },
    /// TLS to a next hop failed and the next step of the ladder follows.
    FellBack { host: String, to: String, reason: String },
    /// A recipient was delivered.
    Delivered {
        to: String,
        connector: String,
        host: String,
        tls: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply: Option<String>,
        age_ms: i64,
    },
    /// A recipient has to wait.
    Deferred {
        to: String,
        connector: String,
        trouble: String,
        /// The cause in a few words.
        cause: String,
        /// What to do.
        remedy: String,
        next: Timestamp,
    },
    /// A recipient failed for good.
    Failed {
        to: String,
        connector: String,
        trouble: String,
        /// The cause in a few words.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// A report was queued.
    Reported { kind: String, to: String, report: QueueId },
    /// No report was sent although a recipient failed.
    ReportWithheld { reason: String },
    /// An attempt could not be recorded.
    NotRecorded { reason: String },
    /// An attempt's deliveries were no longer its own.
    Superseded { reason: String },
    /// Somebody is turned away from now on.
    Banned { subject: String, because: String, until: Option<Timestamp>, by: String },
    /// An administrator lifted a ban.
    Unbanned { subject: String },
    /// Somebody who is banned came.
    TurnedAway { subject: String, client: IpAddr, listener: String, times: u64 },
    /// A later version of Postern knows what this is.
    #[serde(other)]
    Unknown,
}

impl What {
    /// What is kept of an event, if anything is: first what concerns sessions.
    pub(super) fn of(event: Event) -> Option<Self> {
        Some(match event {
            Event::SignedIn { user, by } => Self::SignedIn { user: made_clean(user), by, came: None },
            Event::SignInFailed { user, by, fault, client, why, reply } => Self::SignInFailed {
                user: made_clean(user),
                by,
                fault,
                client,
                why: why.map(made_clean),
                reply: made_clean(reply),
            },
            Event::Refused { at, address, client, policy, why, token, reply } => Self::Refused {
                at: at.to_owned(),
                address: address.map(made_clean),
                client,
                user: None,
                policy,
                why: why.map(made_clean),
                token: token.map(str::to_owned),
                reply: made_clean(reply),
            },
            Event::SessionRefused { listener, client, reason } => {
                Self::SessionRefused { listener, client: client.ip(), reason: made_clean(reason) }
            }
            Event::TlsFailed { client, listener, fault, reason } => {
                Self::TlsFailed { client: client.ip(), listener, fault, reason: made_clean(reason) }
            }
            Event::SessionTroubled { client, listener, trouble, .. } => {
                let trouble = made_clean(trouble);
                Self::SessionTroubled { client: client.ip(), listener, user: None, trouble }
            }
            Event::RelayPermitted { by } => Self::RelayPermitted { by: made_clean(by), came: None },
            Event::Banned { subject, because, until, by } => {
                Self::Banned { subject, because: made_clean(because), until, by }
            }
            Event::Unbanned { subject } => Self::Unbanned { subject },
            Event::TurnedAway { subject, client, listener, times } => {
                Self::TurnedAway { subject, client, listener, times }
            }
            other => return Self::of_delivery(other),
        })
    }

    /// What concerns messages.
    fn of_delivery(event: Event) -> Option<Self> {
        Some(match event {
            Event::Accepted { session, from, mut to, size, user, device, message_id, hello, program } => {
                to.truncate(RECIPIENTS_MOST);
                Self::Accepted {
                    session,
                    from: made_clean(without_brackets(from)),
                    to: to.into_iter().map(made_clean).collect(),
                    size,
                    user,
                    device: device.map(|device| device.to_string()),
                    message_id: message_id.map(made_clean),
                    hello: hello.map(made_clean),
                    program: program.map(made_clean),
                    came: None,
                }
            }
            Event::Held { reason } => Self::Held { reason: made_clean(reason) },
            Event::FellBack { host, to, reason } => {
                Self::FellBack { host: made_clean(host), to, reason: made_clean(reason) }
            }
            Event::Delivered { to, connector, host, tls, reply, age_ms } => {
                let (host, reply) = (made_clean(host), reply.map(made_clean));
                Self::Delivered { to: made_clean(to), connector, host, tls, reply, age_ms }
            }
            Event::Deferred { to, connector, trouble, next, .. } => {
                let Told { trouble, cause, remedy } = told(&trouble, &to);
                Self::Deferred { to: made_clean(to), connector, trouble, cause, remedy, next }
            }
            Event::Failed { to, connector, trouble, .. } => {
                let Told { trouble, cause, remedy } = told(&trouble, &to);
                Self::Failed { to: made_clean(to), connector, trouble, cause, remedy }
            }
            Event::Reported { kind, to, report } => Self::Reported { kind, to: made_clean(to), report },
            Event::ReportWithheld { reason } => Self::ReportWithheld { reason: made_clean(reason) },
            Event::NotRecorded { reason, .. } => Self::NotRecorded { reason: made_clean(reason) },
            Event::Superseded { reason } => Self::Superseded { reason: made_clean(reason) },
            _ => return None,
        })
    }

    /// Whether anybody on the network can make it happen, as often as he likes.
    pub fn is_strangers(&self) -> bool {
        matches!(
            self,
            Self::Refused { user: None, .. }
                | Self::SessionTroubled { user: None, .. }
                | Self::SignInFailed { .. }
                | Self::SessionRefused { .. }
                | Self::TlsFailed { .. }
                | Self::TurnedAway { .. }
                | Self::Banned { .. }
        )
    }

    /// Where the session's client came in, when that is kept.
    pub fn came(&self) -> Option<&Came> {
        match self {
            Self::SignedIn { came, .. } | Self::RelayPermitted { came, .. } | Self::Accepted { came, .. } => {
                came.as_ref()
            }
            _ => None,
        }
    }

    /// The client, when it is known.
    pub fn client(&self) -> Option<IpAddr> {
        match self {
            Self::SignInFailed { client, .. }
            | Self::Refused { client, .. }
            | Self::SessionRefused { client, .. }
            | Self::TlsFailed { client, .. }
            | Self::SessionTroubled { client, .. }
            | Self::TurnedAway { client, .. } => Some(*client),
            _ => self.came().map(|came| came.client),
        }
    }

    /// Everything it can be found by, besides the id on its line.
    fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.client().map(Key::client).into_iter().collect();
        match self {
            Self::SignedIn { user, .. } => keys.push(Key::user(user)),
            Self::SignInFailed { user, .. } => name(&mut keys, user),
            Self::Refused { address, user, .. } => {
                keys.extend(address.as_deref().filter(|address| address.contains('@')).map(Key::address));
                keys.extend(user.as_deref().map(Key::user));
            }
            Self::SessionTroubled { user, .. } => keys.extend(user.as_deref().map(Key::user)),
            Self::Accepted { session, from, to, user, message_id, .. } => {
                keys.push(Key::session(session));
                keys.extend(Some(Key::address(from)).filter(|_| from.contains('@')));
                keys.extend(to.iter().map(|to| Key::address(to)));
                keys.extend(user.as_deref().map(Key::user));
                keys.extend(message_id.as_deref().map(Key::message_id));
            }
            Self::Delivered { to, .. } | Self::Deferred { to, .. } | Self::Failed { to, .. } => {
                keys.push(Key::address(to));
            }
            Self::Reported { to, report, .. } => keys.extend([Key::address(to), Key::queue(*report)]),
            Self::Banned { subject, .. } | Self::Unbanned { subject } => match subject.parse() {
                Ok(client) => keys.push(Key::client(client)),
                Err(_) => name(&mut keys, subject),
            },
            _ => {}
        }
        keys
    }
}

impl Kept {
    /// Everything it can be found by, each once.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys = self.what.keys();
        match self.id.parse::<QueueId>() {
            Ok(id) => keys.push(Key::queue(id)),
            Err(_) if self.id.is_empty() => {}
            Err(_) => keys.push(Key::session(&self.id)),
        }
        let mut seen = std::collections::HashSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys
    }

    /// The message that it is about.
    pub fn message(&self) -> Option<QueueId> {
        self.id.parse().ok()
    }
}

/// A name that somebody signs in with, which may be an address.
fn name(keys: &mut Vec<Key>, name: &str) {
    keys.push(Key::user(name));
    keys.extend(Some(Key::address(name)).filter(|_| name.contains('@')));
}

/// A delivery's trouble in words.
struct Told {
    trouble: String,
    cause: String,
    remedy: String,
}

fn told(trouble: &Trouble, to: &str) -> Told {
    let domain = to.parse::<Mailbox>().map_or_else(|_| to.to_owned(), |to| to.host.key().into_owned());
    let diagnosis = diagnose(trouble, &Destination(domain));
    Told {
        trouble: clean(&trouble.to_string()),
        cause: diagnosis.cause,
        remedy: made_clean(diagnosis.remedy),
    }
}

/// The null reverse-path keeps its brackets.
fn without_brackets(path: String) -> String {
    let inner = path.strip_prefix('<').and_then(|path| path.strip_suffix('>'));
    inner.filter(|inner| !inner.is_empty()).map(str::to_owned).unwrap_or(path)
}

/// Most texts are harmless as they are.
fn made_clean(text: String) -> String {
    let harmless =
        text.len() <= crate::event::CLEAN_MOST && text.bytes().all(|octet| (b' '..=b'~').contains(&octet));
    if harmless { text } else { clean(&text) }
}
