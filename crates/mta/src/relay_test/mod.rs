//! Whether a server relays for strangers: the classic forms of open relays, tried for real from an address that is not trusted.
//!
//! [`own`] goes through the listeners of a running Postern, [`remote`] through somebody else's server. The types to know: [`Form`],
//! one way to ask for relaying; [`Report`], with a [`Target`] for each address that was tried and a [`Tried`] for each form.
//! `talk` speaks, `source` chooses where to come from.
//!
//! Nothing is ever sent: each form ends with the reply to RCPT and RSET. A session tries a few forms and says QUIT, so that no
//! limit is met and nobody is banned. What it deliberately does not do: sign in with a password that could be anybody's, or
//! say whether the configuration is right (`postern config check` proves that without a connection).

mod forms;
mod source;
mod talk;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;

pub use forms::Form;
use forms::{FOREIGN, Names};
use source::Way;
use talk::{Begin, Door, Gives, Serves};

use crate::config::{Config, Greets, Role};
use crate::ports::SUBMISSIONS;
use crate::probe::dialogue::Clock;

/// The version of the form in which reports are written.
pub const FORMAT: u32 = 1;
/// So many addresses of one name are tried.
const ADDRESSES_MOST: usize = 4;

/// How long a test may take.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The longest time for a step: connecting, a reply, a handshake.
    pub step: Duration,
    /// The longest time for one address.
    pub whole: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { step: Duration::from_secs(10), whole: Duration::from_mins(2) }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// See [`FORMAT`].
    pub format: u32,
    /// Each address that was tried.
    pub targets: Vec<Target>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The listener, or the host.
    pub name: String,
    /// Where it was reached.
    pub address: String,
    /// Where we came from; `None`: as the system chose.
    pub source: Option<IpAddr>,
    /// What it comes to.
    pub verdict: Verdict,
    /// What kept forms from being tried, with what to do.
    pub trouble: Option<String>,
    /// The forms.
    pub tried: Vec<Tried>,
}

/// What a server is, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every form was refused.
    Closed,
    /// It could not be found out, or not wholly.
    Unknown,
    /// It accepted a recipient of somebody else's from a stranger.
    Open,
}

/// One form, tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// What was tried, in words.
    pub form: String,
    /// Whether it was under TLS.
    pub tls: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// What was said, without the greeting.
    pub transcript: Vec<String>,
}

/// What came of a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// No.
    Refused,
    /// Yes, as it must be: the postmaster can always be told (RFC 5321 §4.5.1).
    Rightly,
    /// Yes, and so is any other name in that domain: whether it reads the address as a route cannot be seen without sending.
    Undecided,
    /// Not now (RFC 5321 §4.2.1), as greylisting and overload say: what is said later cannot be foreseen.
    Postponed,
    /// Yes: it would relay.
    Accepted,
}

impl Report {
    fn of(targets: Vec<Target>) -> Self {
        Self { format: FORMAT, targets }
    }

    /// The worst of all; nothing tried is nothing known.
    pub fn verdict(&self) -> Verdict {
        self.targets.iter().map(|target| target.verdict).max().unwrap_or(Verdict::Unknown)
    }
}

/// Tries the listeners of the Postern that runs by this configuration.
///
/// # Errors
/// None runs.
pub async fn own(config: &Config, options: Options) -> Result<Report, String> {
    let bound = bound(config).map_err(|error| {
        format!(
            "{}: {error}; Postern does not seem to run: start it, or name a server with --to",
            config.data_dir.join("listeners.json").display()
        )
    })?;
    let mut targets = Vec::new();
    for listener in &config.listeners {
        for address in bound.get(&listener.name).into_iter().flatten() {
            let names = names_of(config, address.ip());
            let (name, untrusted) = (listener.name.clone(), source::way_to(config, *address));
            let Some(Way { target, source }) = untrusted else {
                targets.push(Target::without_source(name, *address));
                continue;
            };
            let serves = if listener.role == Role::Device { Serves::Devices } else { Serves::Everybody };
            let (gives, clock) = (Gives::Nothing, clock(options));
            let door = Door { serves, gives, address: target, source: Some(source), names, clock };
            let after_tls = listener.tls.greets(address.port()) == Greets::AfterTls;
            let begin = if after_tls { Begin::Tls } else { Begin::Clear };
            targets.push(talk::go_through(name, &door, begin).await);
        }
    }
    Ok(Report::of(targets))
}

/// Tries somebody's server. It may trust this machine; then it says nothing about strangers.
///
/// # Errors
/// The name cannot be resolved.
pub async fn remote(host: &str, port: u16, options: Options) -> Result<Report, String> {
    let bare = host.trim_matches(['[', ']']);
    let found = lookup_host((bare, port)).await.map_err(|error| format!("{host}: {error}"))?;
    let begin = if port == SUBMISSIONS { Begin::Tls } else { Begin::Clear };
    let mut targets = Vec::new();
    for address in found.take(ADDRESSES_MOST) {
        let names = Names::of_host(host, address.ip());
        let (serves, gives, clock) = (Serves::Everybody, Gives::WrongPassword, clock(options));
        let door = Door { serves, gives, address, source: None, names, clock };
        targets.push(talk::go_through(host.to_owned(), &door, begin).await);
    }
    if targets.is_empty() { Err(format!("{host} has no address")) } else { Ok(Report::of(targets)) }
}

/// Where the listeners are bound, by name.
fn bound(config: &Config) -> io::Result<BTreeMap<String, Vec<SocketAddr>>> {
    let text = std::fs::read(config.data_dir.join("listeners.json"))?;
    // Others than ours are in it too, whose addresses may be of another kind.
    let list: BTreeMap<String, Vec<String>> = serde_json::from_slice(&text)?;
    let parsed =
        |addresses: Vec<String>| addresses.iter().filter_map(|address| address.parse().ok()).collect();
    Ok(list.into_iter().map(|(name, addresses)| (name, parsed(addresses))).collect())
}

fn names_of(config: &Config, address: IpAddr) -> Names {
    let host = config.hostname.to_string();
    let ours = config.domains.first().map_or(host.clone(), |domain| domain.name.to_string());
    let is_ours =
        |name: &&&str| !config.domains.iter().any(|domain| domain.name.as_str().eq_ignore_ascii_case(name));
    let foreign = FOREIGN.iter().find(is_ours).copied().unwrap_or("relay-test.invalid").to_owned();
    Names { host, ours, foreign, address }
}

fn clock(options: Options) -> Clock {
    Clock { step: options.step, end: Instant::now() + options.whole }
}

impl Target {
    fn without_source(name: String, address: SocketAddr) -> Self {
        let why = "every address of this machine that it can be reached from is trusted by the configuration ([[relay.networks]], \
                   [[device]], proxy_protocol or xclient); run postern doctor relay --to HOST on a machine outside";
        let (address, trouble) = (address.to_string(), Some(why.to_owned()));
        Self { name, address, source: None, verdict: Verdict::Unknown, trouble, tried: Vec::new() }
    }
}
