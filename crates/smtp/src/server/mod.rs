//! The server's side of a session as a state machine (RFC 5321, RFC 6409).
//!
//! The driver feeds [`Input`]s and performs [`Output`]s, one after the other. The session decides the order of
//! verbs, syntax, limits, TLS before AUTH, the error budget and the timeouts; wherever an MTA has a policy it asks
//! one of six [`Question`]s and pauses until the [`Verdict`] comes. While it is paused the driver should read no
//! more bytes.

mod auth;
mod budget;
mod clock;
mod commands;
mod dialogue;
mod outbox;
mod receive;
mod session;
mod settings;
mod state;
mod table;

use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use dialogue::{Dialogue, Line, Offer, Said};
pub use session::ServerSession;
pub use settings::{AuthOffer, ClearSignIn, Limits, LineEndings, Settings, Timeouts, TlsMode};

use crate::address::{ForwardPath, ReversePath};
use crate::command::Introduction;
use crate::envelope::{Mail, MailParams, Rcpt, RcptParams};
use crate::reply::Reply;
use crate::sasl::{Claim, ScramKeys};
use crate::tls::TlsFacts;

/// What is known of a session before its first octet.
#[derive(Debug)]
pub struct Beginning {
    /// With implicit TLS (RFC 8314 §3) the handshake is done already.
    pub tls: Option<TlsFacts>,
    /// Random octets, fresh for this session: all nonces come from them.
    pub seed: [u8; 32],
    /// Whether the other end is a front end that speaks for its own clients.
    pub front_end: FrontEnd,
}

/// Whether the other end may say with XCLIENT for whom it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// It is a client like any other.
    No,
    /// It may say where the client comes from.
    Trusted,
    /// It may also say who the client has proved to be.
    TrustedWithLogin,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came from the client (after STARTTLS: decrypted ones).
    Bytes(&'a [u8]),
    /// The client closed its side.
    Closed,
    /// The handshake asked for by [`Output::StartTls`] succeeded.
    TlsStarted(TlsFacts),
    /// The answer to the question that is open.
    Verdict(Verdict),
    /// The time is now this. To be called at the latest when [`Output::Wait`] says.
    Time(Instant),
    /// The server shuts down: end the session at the next point where nothing can be lost (421).
    Drain,
}

/// What the driver has to do.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Write these bytes to the client.
    Send(Bytes),
    /// Decide; answer with [`Input::Verdict`].
    Ask(Question),
    /// A piece of the message's content, decoded: dots unstuffed, chunks joined, lines ended by CRLF.
    Body(Bytes),
    /// The content streamed since the last RCPT belongs to no message: forget it.
    Discard,
    /// A front end says who the client is for which it speaks from here on. What was known of the one before counts no
    /// more, and [`Question::Connect`] is asked about this one next; a [`Verdict::SignedIn`] to it grants the login that is
    /// told here.
    Introduce(Introduction),
    /// Flush what was sent, then do the TLS handshake; then [`Input::TlsStarted`], or drop the connection.
    StartTls,
    /// Nothing to do before this time unless something happens.
    Wait {
        /// When [`Input::Time`] is due.
        until: Instant,
    },
    /// Flush and close. The session is over.
    Close(CloseReason),
}

/// A point where an MTA has a policy.
#[derive(Debug, PartialEq)]
pub enum Question {
    /// May this client have a session? Asked before the banner, once, and again when a front end names another client.
    Connect,
    /// EHLO or HELO.
    Hello(Hello),
    /// A SASL exchange came to a point where somebody must be looked up.
    Authenticate(Claim),
    /// MAIL.
    Mail(Mail),
    /// RCPT.
    Rcpt(Rcpt),
    /// The content is complete: take responsibility?
    Take(Transaction),
}

/// The driver's answer.
#[derive(Debug)]
pub enum Verdict {
    /// Yes, with the usual reply.
    Accept,
    /// The claim is right, and this is whom it belongs to.
    SignedIn {
        /// The principal's name, for the session's own record.
        user: String,
    },
    /// What is kept of a user's passwords, for [`Claim::Keys`].
    Keys(ScramKeys),
    /// The message is on disk under this id, which the 250 names.
    Queued {
        /// The queue id.
        id: String,
    },
    /// No, with this reply; the session goes on.
    Refuse(Reply),
    /// No, with this reply, and the session ends.
    RefuseAndClose(Reply),
}

/// EHLO or HELO and what the client calls itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// As given, at most 255 characters: a domain, an address literal, or (tolerated, RFC 5321 §4.1.4) other printable ASCII.
    pub name: String,
    /// `true` for EHLO.
    pub extended: bool,
}

/// A transaction whose content is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// MAIL's reverse-path.
    pub from: ReversePath,
    /// MAIL's parameters.
    pub params: MailParams,
    /// The accepted recipients in order.
    pub to: Vec<(ForwardPath, RcptParams)>,
    /// Octets of content, as streamed by [`Output::Body`].
    pub size: u64,
    /// Whether any octet of the content was over 127.
    pub eight_bit: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloseReason {
    /// QUIT.
    Quit,
    /// The client closed or reset the connection.
    ClientLeft,
    /// Nothing came in the time that RFC 5321 §4.5.3.2 gives.
    TimedOut,
    /// The error or command budget was used up.
    TooManyErrors,
    /// A bare CR, bare LF or NUL, or bytes behind STARTTLS: what follows cannot be trusted.
    Violation,
    /// The policy refused and ended it.
    Refused,
    /// The server shuts down.
    Drained,
}
