//! The client's side of a session as a state machine: SMTP (RFC 5321) and LMTP (RFC 2033).
//!
//! The client takes a requirement, not a mode: unless the [`TlsFacts`] of the connection satisfy the plan's
//! [`TlsRequirement`], no input of any kind makes it say MAIL or AUTH. Credentials are said only over TLS to a peer
//! that proved who it is, whatever the requirement; a message whose sender demands REQUIRETLS goes only to such a peer.
//!
//! [`ClientSession`] is the machine: feed it an [`Input`], then perform what [`ClientSession::poll`] gives until it
//! gives nothing. A [`Plan`] is fixed for the session, a [`Job`] is one message; a session takes many, one after the
//! other, and answers each with one [`Outcome`] per recipient. `session` opens and ends a session, `delivery` carries
//! one job through its transactions, and `terms` decides what the peer's extensions allow.
//!
//! What it deliberately does not do: choose hosts, retry, watch how long a write or a handshake takes (the driver
//! does, RFC 5321 §4.5.3.2.5), or look into the content.

mod delivery;
mod session;
mod terms;

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::address::{Mailbox, ReversePath};
use crate::envelope::{MailParams, RcptParams};
use crate::outcome::Outcome;
use crate::sasl::SignIn;
use crate::tls::{TlsFacts, TlsFailure, TlsRequirement};

pub use session::ClientSession;

/// What the session is for and what it must obey; fixed for its life.
#[derive(Debug, Clone)]
pub struct Plan {
    /// SMTP or LMTP.
    pub protocol: Protocol,
    /// Our name in EHLO or LHLO.
    pub hello: String,
    /// What must be true before MAIL and AUTH.
    pub requirement: TlsRequirement,
    /// How TLS is reached.
    pub tls: TlsStart,
    /// What to sign in with; sent only over TLS to a verified peer.
    pub sign_in: Option<SignIn>,
    /// How long to wait for the peer.
    pub timeouts: Timeouts,
}

/// SMTP, or LMTP with one reply per recipient at the end of the content (RFC 2033 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP.
    Smtp,
    /// LMTP.
    Lmtp,
}

/// How TLS is reached on a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum TlsStart {
    /// STARTTLS when the peer offers it (and the requirement is not `none`).
    StartTls,
    /// The handshake was already done when the session begins (implicit TLS, RFC 8314 §3).
    Implicit(TlsFacts),
    /// Never: the one retry in clear after a failed opportunistic handshake.
    Never,
}

/// How long to wait for the peer; the defaults are those of RFC 5321 §4.5.3.2.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// The banner: 5 minutes.
    pub greeting: Duration,
    /// EHLO, STARTTLS, AUTH, RSET and QUIT: 5 minutes (QUIT is not waited for longer than 5 seconds).
    pub command: Duration,
    /// MAIL: 5 minutes.
    pub mail: Duration,
    /// RCPT: 5 minutes.
    pub rcpt: Duration,
    /// The 354 after DATA: 2 minutes.
    pub data_initiation: Duration,
    /// The reply to the end of the content: 10 minutes.
    pub data_termination: Duration,
}

/// One message for one or more recipients over this session.
#[derive(Debug, Clone)]
pub struct Job {
    /// The reverse-path.
    pub from: ReversePath,
    /// MAIL's parameters to pass on; `size` is filled in and parameters the peer cannot take are left out or, where
    /// leaving them out would lie, refused.
    pub params: MailParams,
    /// The recipients in order.
    pub to: Vec<(Mailbox, RcptParams)>,
    /// Octets of content that will be streamed.
    pub size: u64,
    /// Whether any octet of the content is over 127.
    pub eight_bit: bool,
    /// Whether the header section needs SMTPUTF8 (an octet over 127 in it), RFC 6532.
    pub utf8_headers: bool,
}

/// What happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes came from the peer.
    Bytes(&'a [u8]),
    /// The peer closed the connection.
    Closed,
    /// The handshake asked for by [`Output::StartTls`] succeeded.
    TlsStarted(TlsFacts),
    /// The handshake failed or stalled. The connection is gone.
    TlsFailed(TlsFailure),
    /// Deliver this message; allowed at the start and whenever [`Output::Ready`] was the last word. One that comes
    /// earlier waits its turn, and one that comes when the session has ended is deferred: each gets its outcomes.
    Deliver(Job),
    /// A piece of content that [`Output::Content`] asked for: lines ended by CRLF, dots not stuffed.
    Content(&'a [u8]),
    /// The content is complete.
    ContentEnd,
    /// The content could not be read on our side: abandon the transaction without ending it.
    ContentFailed(String),
    /// The time is now this.
    Time(Instant),
    /// No more messages: QUIT.
    Quit,
}

/// What the driver has to do.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Write these bytes to the peer.
    Send(Bytes),
    /// Flush, then do the TLS handshake.
    StartTls,
    /// Give the next piece of content: one [`Input::Content`], [`Input::ContentEnd`] or [`Input::ContentFailed`].
    Content,
    /// Begin the content anew: the next [`Output::Content`] asks for its first piece again. It comes when the peer takes
    /// fewer recipients at once than the job has, so that the message is sent in several transactions.
    Rewind,
    /// The job is over: one outcome per recipient, in order.
    Outcomes(Vec<Outcome>),
    /// The session can take another [`Input::Deliver`].
    Ready,
    /// Nothing to do before this time unless something happens.
    Wait {
        /// When [`Input::Time`] is due.
        until: Instant,
    },
    /// Flush and close. `Some` when the session ended by a trouble that is not about one message, with what it means
    /// for every message that was to go over it: deferred or failed. A job that was given gets its outcomes first.
    Close(Option<Outcome>),
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            greeting: minutes(5),
            command: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data_initiation: minutes(2),
            data_termination: minutes(10),
        }
    }
}
