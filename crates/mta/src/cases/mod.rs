//! Cases: the troubles of one user or one address that have the same cause, as one thing with a count, instead of a thousand
//! lines.
//!
//! The types to know:
//! - [`Case`]: what is known of one: whose, which cause, how often, since when, with which programs, and its [`State`].
//! - [`Whom`]: whose it is. A name counts only if it is somebody's; a name that is nobody's counts as its address, so that
//!   strangers cannot fill the list with names of their own making.
//! - `Cases`: the book of them, bounded, the worst first. [`Letter`]: a mail to the person whom it concerns, with the
//!   [`ServerSettings`] that are right.
//!
//! A case is solved by itself when whom it concerns sends a message the same way later. What it deliberately does not do:
//! find a cause (see [`diagnosis::session`](crate::diagnosis::session)), keep transcripts, or write to anybody unasked.

mod book;
mod letter;
mod settings;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use book::{Cases, Changes, Noted};
pub use letter::Letter;
pub use settings::{ServerSettings, SignInWay};

use crate::config::Role;
use crate::diagnosis::session::{Cause, Confidence, Diagnosis, Gravity, Program};
use crate::directory::key_of;
use crate::limits::client_net;
use crate::session::{Claimant, ClaimedFrom, Facts};

/// So many listeners, programs and addresses of a case are told by name.
const NAMED_MOST: usize = 8;
/// Of the first sessions so many are its examples,
const EXAMPLES_FIRST: usize = 2;
/// and so many of the last ones.
const EXAMPLES_LAST: usize = 3;
/// So long a name may be, in octets.
const NAME_MOST: usize = 100;
/// So long an explanation may be, in octets.
const EXPLANATION_MOST: usize = 600;

/// The troubles of one user or address that have the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its number.
    pub id: u64,
    /// What it is.
    pub cause: Cause,
    /// Whose it is.
    pub whom: Whom,
    /// How often it happened.
    pub count: u64,
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
    /// How sure the cause is, the last time.
    pub confidence: Confidence,
    /// What happened the last time.
    pub explanation: String,
    /// The name that was claimed the last time, somebody's or not.
    pub claimed: Option<String>,
    /// Which program it probably was the last time.
    #[serde(default)]
    pub program: Option<Program>,
    /// The listeners where it happened.
    pub listeners: Vec<String>,
    /// What they are for.
    pub ways: Vec<Role>,
    /// What the programs called themselves (EHLO).
    pub programs: Vec<String>,
    /// The addresses from which it happened.
    pub addresses: Vec<IpAddr>,
    /// Ids of sessions in which it happened: the first ones and the last ones.
    pub sessions: Vec<String>,
    /// Whether anything is to be done.
    pub state: State,
    /// When a letter was last sent about it.
    pub answered: Option<Timestamp>,
}

/// Whose a case is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// Somebody who has an account, by the form in which names compare.
    User(String),
    /// Somebody who has an account and signs in elsewhere: he himself in a new place, or somebody who guesses.
    Elsewhere(String),
    /// An address, or an IPv6 network of 64 bits.
    Address(IpNet),
    /// Many addresses, none of which is anybody's that we know.
    Many,
}

/// Which cases; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhichCases {
    /// Settled ones, too.
    pub all: bool,
    /// Of this user, or in which this name was claimed the last time.
    pub user: Option<String>,
    /// That came from there.
    pub address: Option<IpNet>,
    /// That happened then or later.
    pub since: Option<Timestamp>,
    /// At most so many, the worst ones.
    pub limit: Option<usize>,
}

/// Whether anything is to be done about a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// Yes.
    Open,
    /// No: a message came since, the same way.
    Solved {
        /// When.
        at: Timestamp,
    },
    /// No: an administrator has said so.
    Closed {
        /// When.
        at: Timestamp,
    },
}

/// A trouble that happened once.
#[derive(Debug, Clone)]
pub(crate) struct Occurrence {
    pub(crate) diagnosis: Diagnosis,
    pub(crate) whom: Whom,
    pub(crate) client: IpAddr,
    pub(crate) listener: String,
    pub(crate) way: Role,
    pub(crate) program: Option<String>,
    /// `None`: nothing is kept of the session.
    pub(crate) session: Option<String>,
}

impl Occurrence {
    /// What was found in a session.
    pub(crate) fn of(facts: &Facts, diagnosis: Diagnosis) -> Self {
        Self {
            whom: Whom::of(facts),
            client: facts.client.ip().to_canonical(),
            listener: facts.place.listener.clone(),
            way: facts.place.role,
            program: facts.hello.clone(),
            session: Some(facts.id.clone()),
            diagnosis,
        }
    }
}

impl WhichCases {
    /// Whether this is one of them, whatever the limit.
    pub(crate) fn holds(&self, case: &Case) -> bool {
        let named = |user: &String| {
            let key = key_of(user);
            case.user().is_some_and(|name| key_of(name) == key)
                || case.claimed.as_deref().is_some_and(|name| key_of(name) == key)
        };
        (self.all || case.state == State::Open)
            && self.user.as_ref().is_none_or(named)
            && self.since.is_none_or(|since| case.last >= since)
            && self.address.is_none_or(|network| {
                case.addresses.iter().any(|address| network.contains(&address.to_canonical()))
            })
    }
}

impl Whom {
    /// Whom a session concerns: who signed in, else the last one who tried and has an account, else the address.
    pub(crate) fn of(facts: &Facts) -> Self {
        if let Some(user) = &facts.user {
            return Self::User(key_of(user));
        }
        match &facts.claimant {
            Some(Claimant { account, from: ClaimedFrom::Home }) => Self::User(account.clone()),
            Some(Claimant { account, from: ClaimedFrom::Elsewhere }) => Self::Elsewhere(account.clone()),
            None => Self::Address(client_net(facts.client.ip())),
        }
    }

    /// Whose account it is about.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::User(name) | Self::Elsewhere(name) => Some(name),
            Self::Address(_) | Self::Many => None,
        }
    }

    /// Whether somebody of ours is concerned.
    pub fn is_known(&self) -> bool {
        matches!(self, Self::User(_))
    }
}

impl Case {
    /// The worst is the greatest: what is to be done, how grave it is, and whether it is one of us.
    pub(crate) fn rank(&self) -> u8 {
        let open = u8::from(self.state == State::Open);
        open << 7 | worth(self.cause, &self.whom)
    }

    /// How grave it is.
    pub fn gravity(&self) -> Gravity {
        self.cause.section().gravity
    }
}

/// How much a trouble is worth keeping: by its gravity, then whether somebody of ours is concerned. From 2 to 7.
pub(crate) fn worth(cause: Cause, whom: &Whom) -> u8 {
    let gravity = match cause.section().gravity {
        Gravity::Noise => 1,
        Gravity::Program => 2,
        Gravity::Person => 3,
    };
    gravity << 1 | u8::from(whom.is_known())
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Elsewhere(name) => write!(f, "{name}, from elsewhere"),
            Self::Address(network) if network.prefix_len() == network.max_prefix_len() => {
                write!(f, "{}", network.addr())
            }
            Self::Address(network) => write!(f, "{network}"),
            Self::Many => f.write_str("many addresses"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Solved { .. } => "solved",
            Self::Closed { .. } => "closed",
        })
    }
}
