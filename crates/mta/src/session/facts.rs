//! The facts of one session. Every text in them was cleaned and cut when it was put there.

use std::net::SocketAddr;

use jiff::Timestamp;
use postern_smtp::server::{CloseReason, Dialogue};
use postern_smtp::tls::{HandshakeFault, TlsOffer};
use serde::{Deserialize, Serialize};

use crate::config::{Greets, Otherwise, Role};
use crate::directory::SignInFault;
use crate::event::Proof;

/// Everything that is known of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The session's id, as in the log.
    pub id: String,
    /// Where the client came in.
    pub place: Entrance,
    /// The client; behind a front end, the real one.
    pub client: SocketAddr,
    /// When it connected.
    pub began: Timestamp,
    /// Milliseconds until it ended.
    pub lasted: u64,
    /// What it sent first, in clear.
    pub opening: Opening,
    /// Its ClientHello, when there was one and it could be read.
    pub offer: Option<TlsOffer>,
    /// Whether the certificate that it was shown bears the name in it, also where the handshake failed. `None`: it asked for
    /// none, or was shown none.
    #[serde(default)]
    pub name_borne: Option<bool>,
    /// TLS, when it stood.
    pub tls: Option<TlsStood>,
    /// What ended the handshake, when it did not stand; with the words of the log.
    pub tls_fault: Option<(HandshakeFault, String)>,
    /// What it called itself last.
    pub hello: Option<String>,
    /// What was said.
    pub dialogue: Dialogue,
    /// Attempts to sign in, in order; of many, the last ones.
    pub sign_ins: Vec<SignIn>,
    /// What the policy refused, in order; of many, the last ones.
    pub refusals: Vec<Refusal>,
    /// The name that the last one who tried should have claimed: his own has no domain, or a wrong one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_name: Option<String>,
    /// Who the last one is who tried and has an account, as far as that is certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimant: Option<Claimant>,
    /// Who was signed in at the end.
    pub user: Option<String>,
    /// Messages that were accepted.
    pub accepted: u32,
    /// How it ended.
    pub end: End,
}

impl Facts {
    /// Whose account it concerns: who signed in, else who tried to, as far as it is certain that he exists.
    pub fn account(&self) -> Option<&str> {
        let claimant = || self.claimant.as_ref().map(|claimant| &claimant.account);
        self.user.as_ref().or_else(claimant).map(String::as_str)
    }
}

/// Where a client came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entrance {
    /// The listener's name.
    pub listener: String,
    /// The port that the client sees: 25, 465, 587, or what the listener is bound to.
    pub port: u16,
    /// What the listener is for.
    pub role: Role,
    /// What it expects a client to begin with.
    pub greets: Greets,
    /// What becomes of a client that begins otherwise.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// What a client sent first, in clear.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "opening", rename_all = "kebab-case")]
pub enum Opening {
    /// Nothing.
    #[default]
    Silence,
    /// A TLS handshake.
    Tls,
    /// HTTP: its method.
    Http {
        /// `GET`, `CONNECT`, …, or `PRI` (HTTP/2).
        method: String,
    },
    /// Words of SMTP, or others that look like a line.
    Words,
    /// A few octets that are no text: what a port scanner tries, or another protocol.
    Binary {
        /// The first eight or fewer, in hexadecimal digits.
        octets: String,
    },
}

/// TLS that stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsStood {
    /// How it was begun.
    pub begun: TlsBegun,
    /// `TLSv1.3`.
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// The name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// Whether the certificate that it was shown bears that name; `None` when it asked for none.
    pub name_borne: Option<bool>,
}

/// How TLS was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsBegun {
    /// With the connection.
    AtOnce,
    /// By STARTTLS.
    StartTls,
}

/// An attempt to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// The name that was claimed.
    pub user: String,
    /// What the proof was.
    pub by: Proof,
    /// What was wrong; `None`: it went well.
    pub fault: Option<SignInFault>,
    /// What the log says besides.
    pub why: Option<String>,
}

/// An account that somebody wanted to sign in to. It exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimant {
    /// Its name, in the form in which names compare.
    pub account: String,
    /// Whether it is likely to be its owner.
    pub from: ClaimedFrom,
}

/// From where an account was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimedFrom {
    /// Where it signed in before, or it never did so lately, or the proof was right.
    Home,
    /// Where it never signed in, though elsewhere: perhaps somebody guesses.
    Elsewhere,
}

/// Something that the policy refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// At which command, or at the end of content.
    pub at: String,
    /// The address in question.
    pub address: Option<String>,
    /// The help token of the reply.
    pub token: Option<String>,
    /// The reply.
    pub reply: String,
    /// What the client was not told.
    pub why: Option<String>,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
pub enum End {
    /// In the protocol's own way.
    Closed {
        /// Which.
        reason: CloseReason,
        /// Where it stood.
        stage: Stage,
    },
    /// The network broke it.
    Lost {
        /// What the system said.
        error: String,
        /// Where it stood.
        stage: Stage,
    },
    /// TLS did not come about.
    TlsFailed,
    /// An ACME authority looked at a challenge certificate.
    Validated,
    /// The client was turned away before its session began.
    TurnedAway {
        /// With this reply, or for this reason.
        reason: String,
        /// The help token of the reply.
        #[serde(default)]
        token: Option<String>,
    },
}

/// Where a session stood when it ended: the last thing that the client got done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// It said nothing that we understood.
    Greeting,
    /// It said EHLO or HELO.
    Hello,
    /// It is in the middle of a sign-in.
    SigningIn,
    /// A transaction is open.
    Transaction,
    /// In the middle of content.
    Content,
    /// Between messages, after one was accepted.
    Done,
}
