//! Whether a message would be accepted, by which rule, and with which reply at which command: `postern accept`.
//!
//! The types to know: [`Question`], who would send what to whom, from where and over what; [`Acceptance`], the answer, with one
//! [`Exchange`] for each command. It is made by a real session with the listener's own settings, which is told the lines that
//! a mail program would say (`play`), and whose questions are answered by the functions that answer them in service (`judge`,
//! by `inbound::decide`), so that it cannot say anything else than a session would.
//!
//! Nothing is changed: limits are asked what they would say now, no event is emitted, nothing is counted and nothing stored.
//! What it deliberately does not do: verify a proof (a password is taken as right), look up DNS, or judge content beyond the
//! fields From: and Sender:.

mod judge;
mod play;
mod words;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Error;
use super::route::ConnectorView;
use crate::config::{Config, ListenerTls, Role};
use crate::daemon::{Shared, listeners_for_questions};
use crate::directory::{Directories, Login, Means, Users};
use crate::inbound::decide::Rules;
use crate::inbound::listener::{Listener, Sessions};
use crate::limits::Limits;
use crate::routing::Routing;
use crate::sender::Senders;
use play::Play;

/// No address or field that is asked about is longer.
const WORDS_MOST: usize = 1000;
/// No more recipients are asked about at once.
const RECIPIENTS_MOST: usize = 100;

/// What is asked: a message, and how it would come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Question {
    /// The reverse-path; empty or `<>`: the null path of reports.
    pub from: String,
    /// The recipients; at least one.
    pub to: Vec<String>,
    /// The client's address.
    pub client: IpAddr,
    /// As whom it signs in.
    pub user: Option<String>,
    /// The listener's name; without, the one that such a client should use.
    pub listener: Option<String>,
    /// How TLS begins.
    pub tls: Tls,
    /// The client certificate that it shows, which is taken as verified: a name, a mail address, or a pin.
    pub certificate: Option<String>,
    /// Octets of content.
    pub size: Option<u64>,
    /// What stands in the From: field; without, the sender.
    pub header_from: Option<String>,
    /// What stands in the Sender: field; without, there is none.
    pub header_sender: Option<String>,
}

/// How a client begins TLS, and in which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// As the listener has it, in TLS 1.3.
    #[default]
    AsOffered,
    /// Not at all.
    Never,
    /// By STARTTLS.
    StartTls,
    /// With the first octet.
    Implicit,
    /// As the listener has it, in this version.
    Version(Version),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Version {
    /// TLS 1.0 (RFC 2246).
    Tls10,
    /// TLS 1.1 (RFC 4346).
    Tls11,
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// Whether the message would be taken for all recipients.
    pub accepted: bool,
    /// The reply that refuses it first, or what goes wrong before there is one.
    pub refused: Option<String>,
    /// The listener.
    pub listener: String,
    /// What it is for: `relay`, `submission` or `device`.
    pub role: String,
    /// Why it is this listener, where none was asked for.
    pub chosen: Option<String>,
    /// The dialogue.
    pub exchanges: Vec<Exchange>,
    /// Where it would go, for the recipients that are accepted.
    pub onward: Vec<Onward>,
    /// What has to be known about the answer.
    pub notes: Vec<String>,
    /// Whether the running daemon answers; otherwise the configuration does.
    pub daemon: bool,
}

/// A command and what it would lead to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What the client says; empty where it only comes. Nothing secret is in it.
    pub client: Vec<String>,
    /// What Postern replies; nothing where the connection would just end.
    pub server: Vec<String>,
    /// What decided it: keys of the configuration, people, counts.
    pub because: Vec<String>,
    /// Whether it is refused.
    pub refused: bool,
}

/// Where mail goes on to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onward {
    /// The recipients' domain.
    pub destination: String,
    /// Who receives it there, aliases followed.
    pub recipients: Vec<String>,
    /// The way; `None`: no connector serves the destination, so the mail would wait.
    pub connector: Option<ConnectorView>,
}

/// Asks in the running daemon.
///
/// # Errors
/// In words: what is asked cannot be answered.
pub(super) async fn ask(shared: &Shared, question: &Question) -> Result<Acceptance, String> {
    let site = shared.site.load_full();
    let world = World {
        rules: shared.rules(&site),
        directories: &site.directories,
        listeners: &site.listeners,
        sessions: Some(&shared.sessions),
    };
    world.answer(question, Timestamp::now()).await
}

/// The same without a running daemon. No file is made.
///
/// # Errors
/// What cannot be opened, or asked.
pub(super) async fn ask_directly(config: &Config, question: &Question) -> Result<Acceptance, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Failed(error.to_string());
    let now = Timestamp::now();
    let users = Users::open_for_reading(&config.data_dir)?;
    let means = Means { users: &users, resolver: None, observer: None };
    let directories = Directories::new(config, &means, None).map_err(|error| failed(&error))?;
    let limits = Limits::open_for_reading(&config.data_dir, now).await.map_err(|error| failed(&error))?;
    let (routing, senders) = (Routing::new(Arc::new(config.clone())), Senders::new(config));
    let listeners = listeners_for_questions(config, &directories.mechanisms());
    let rules =
        Rules { config, routing: &routing, senders: &senders, users: &users, limits: &limits, devices: None };
    let world = World { rules, directories: &directories, listeners: &listeners, sessions: None };
    world.answer(question, now).await.map_err(Error::Failed)
}

/// What a question is answered from.
#[derive(Clone, Copy)]
struct World<'a> {
    rules: Rules<'a>,
    directories: &'a Directories,
    listeners: &'a [Arc<Listener>],
    /// Only a running daemon has some.
    sessions: Option<&'a Arc<Sessions>>,
}

impl World<'_> {
    async fn answer(&self, question: &Question, now: Timestamp) -> Result<Acceptance, String> {
        check(question)?;
        let (listener, chosen) = self.listener_for(question)?;
        let mut play = Play::new(*self, listener, question, now);
        play.run().await;
        Ok(play.acceptance(chosen))
    }

    /// The listener that is asked for, or the one that such a client should use, with the reason.
    fn listener_for(&self, question: &Question) -> Result<(&Arc<Listener>, Option<String>), String> {
        if let Some(name) = &question.listener {
            let named = self.listeners.iter().find(|listener| listener.config.name == *name);
            let names =
                || self.listeners.iter().map(|listener| listener.config.name.as_str()).collect::<Vec<_>>();
            return named
                .map(|listener| (listener, None))
                .ok_or_else(|| format!("there is no listener {name}; there are: {}", names().join(", ")));
        }
        let fits = |listener: &&Arc<Listener>| begins_as(listener.config.tls, question.tls);
        let of_role = |role: Role| {
            let of_role = || self.listeners.iter().filter(move |listener| listener.config.role == role);
            of_role().find(fits).or_else(|| of_role().next())
        };
        let as_device =
            || of_role(Role::Device).filter(|listener| listener.device_at(question.client).is_some());
        let (found, why) = match &question.user {
            Some(_) => (of_role(Role::Submission), "people sign in on submission listeners"),
            None => match as_device() {
                Some(listener) => (Some(listener), "its address is a device's"),
                None => (of_role(Role::Relay), "who does not sign in comes as other servers do"),
            },
        };
        if let Some(listener) = found {
            return Ok((listener, Some(why.to_owned())));
        }
        let first = self.listeners.first().ok_or("there is no listener")?;
        Ok((first, Some("it is the first; none is for such clients".to_owned())))
    }
}

/// Whether a listener begins TLS in the way that is asked for.
fn begins_as(listener: ListenerTls, asked: Tls) -> bool {
    match asked {
        Tls::AsOffered | Tls::Version(_) => true,
        Tls::Never | Tls::StartTls => listener != ListenerTls::Implicit,
        Tls::Implicit => matches!(listener, ListenerTls::Implicit | ListenerTls::Auto(_)),
    }
}

/// What is asked must be such that a mail program could say it on a line. Whether it is right is for the session to say.
fn check(question: &Question) -> Result<(), String> {
    if question.to.is_empty() || question.to.len() > RECIPIENTS_MOST {
        return Err(format!("ask about at least one recipient, and at most {RECIPIENTS_MOST}"));
    }
    if question.user.as_deref().is_some_and(|user| Login::new(user).is_none()) {
        return Err("this cannot be the name of a user".to_owned());
    }
    let Question { from, to, certificate, header_from, header_sender, .. } = question;
    let fields = [certificate, header_from, header_sender].into_iter().flatten();
    for words in to.iter().chain([from]).chain(fields) {
        if words.len() > WORDS_MOST || words.chars().any(char::is_control) {
            return Err(format!("{words:?} is too long, or holds control characters"));
        }
    }
    Ok(())
}

impl std::str::FromStr for Tls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "none" => Self::Never,
            "starttls" => Self::StartTls,
            "implicit" => Self::Implicit,
            "1.0" => Self::Version(Version::Tls10),
            "1.1" => Self::Version(Version::Tls11),
            "1.2" => Self::Version(Version::Tls12),
            "1.3" => Self::Version(Version::Tls13),
            _ => return Err("none, starttls, implicit, or a version: 1.0, 1.1, 1.2, 1.3".to_owned()),
        })
    }
}
