//! What one delivery attempt meant for one recipient, in terms that a retry rule, a bounce and a log share.
//!
//! The types to know: [`Outcome`], delivered, deferred or failed; [`Trouble`], why it was not delivered; [`Step`], how far the
//! attempt came; [`Reason`], what kind of trouble; and [`Evidence`], what was seen before it. They are kept in the queue,
//! so what an earlier version wrote must stay readable.
//!
//! What it deliberately does not do: say when to try again, or what a sender or an administrator should do about it. The
//! texts in a reason are for people: nothing is decided by them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reply::{Enhanced, Reply};
use crate::tls::{CertificateSeen, Demands, TlsFailure, TlsFault, TlsRequirement};

/// What became of one recipient in one attempt (RFC 3464 §2.3.3 calls them delivered, delayed and failed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The next hop took responsibility; its reply, when the next hop is one that replies.
    Delivered(Option<Reply>),
    /// Not now: try again later.
    Deferred(Trouble),
    /// Never: report it to the sender.
    Failed(Trouble),
}

/// Why a recipient was deferred or failed: where it happened, why, and the peer's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// How far the attempt came.
    pub step: Step,
    /// What went wrong.
    pub reason: Reason,
    /// The peer's reply, verbatim, when a reply was what went wrong.
    pub reply: Option<Reply>,
    /// What was seen there, for whoever has to find out why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Box<Evidence>>,
}

/// What an attempt saw before it came to its trouble.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The host, with its address and port as far as it was connected to: `mx.example.net [192.0.2.1]:25`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What kind of TLS trouble it is, when it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<TlsFault>,
    /// Version, suite and key exchange of the connection, when it came so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The certificate that was shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<CertificateSeen>>,
    /// What was demanded of the connection, and by whom.
    #[serde(skip_serializing_if = "Demands::is_empty")]
    pub demands: Demands,
}

/// The steps of a delivery, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Choosing the way out.
    Route,
    /// Asking DNS.
    Lookup,
    /// Opening the connection.
    Connect,
    /// The peer's banner.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS and the handshake, implicit TLS included.
    Tls,
    /// AUTH.
    Authenticate,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA or BDAT: the command.
    Data,
    /// The content and the reply to its end.
    Content,
    /// Writing to a local mailbox.
    Mailbox,
}

/// What went wrong, by kind; the texts are for operators and are never interpreted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The peer answered 4yz or 5yz: the reply says why.
    Refused,
    /// The destination says by a null MX that it takes no mail (RFC 7505).
    NullMx,
    /// The domain does not exist, or has neither MX nor address.
    NoSuchDomain,
    /// DNS did not answer.
    LookupFailed(String),
    /// No connector of ours leads there.
    NoRoute,
    /// The best host for the destination is ourselves.
    OwnHost(String),
    /// No connection could be made.
    ConnectFailed(String),
    /// The peer said nothing in the time that RFC 5321 §4.5.3.2 gives it.
    TimedOut,
    /// The peer closed or reset the connection.
    ConnectionLost,
    /// The peer broke the protocol.
    Protocol(String),
    /// The TLS handshake failed.
    TlsFailed(String),
    /// What the TLS requirement demands was not to be had.
    SecurityUnmet(String),
    /// Our credentials could not be used or were not sent because the peer was not verified.
    CredentialsWithheld(String),
    /// The peer refused our credentials, and gave these words within the exchange; the reply often says less.
    SignInRefused(String),
    /// The sender demands REQUIRETLS and the peer does not offer it (RFC 8689 §4.2.1).
    NeedsRequireTls,
    /// The connector is switched off.
    SwitchedOff,
    /// The content has octets over 127 and the peer cannot take them (no 8BITMIME, RFC 6152 §3).
    NeedsEightBit,
    /// The content was sent as BINARYMIME and the peer cannot take it (RFC 3030 §3).
    NeedsBinary,
    /// The message needs SMTPUTF8 and the peer cannot take it (RFC 6531 §3.2).
    NeedsUtf8,
    /// The peer announced a SIZE limit, in octets, below the message's size (RFC 1870 §6).
    TooLarge(u64),
    /// Something on this machine: the mailbox, the disk.
    Local(String),
    /// The address takes TLS reports only, and this is none.
    NoTlsReport(String),
    /// The message was not deliverable in its time (RFC 5321 §4.5.4.1).
    Expired,
    /// An administrator ended it.
    Withdrawn,
}

impl Outcome {
    /// Deferred or failed as the reply's own class says: 4yz defers, 5yz fails (RFC 5321 §4.2.1).
    pub fn from_reply(step: Step, reply: Reply) -> Self {
        let permanent = reply.is_permanent();
        let trouble = Trouble::new(step, Reason::Refused).with_reply(Some(reply));
        if permanent { Self::Failed(trouble) } else { Self::Deferred(trouble) }
    }

    /// The trouble, unless it was delivered.
    pub fn trouble(&self) -> Option<&Trouble> {
        match self {
            Self::Delivered(_) => None,
            Self::Deferred(trouble) | Self::Failed(trouble) => Some(trouble),
        }
    }
}

impl Trouble {
    /// A trouble without a peer's reply.
    pub fn new(step: Step, reason: Reason) -> Self {
        Self { step, reason, reply: None, evidence: None }
    }

    /// A trouble with TLS.
    pub fn of_tls(reason: Reason, failure: &TlsFailure) -> Self {
        let mut trouble = Self::new(Step::Tls, reason);
        let evidence = trouble.evidence_mut();
        evidence.fault = Some(failure.fault);
        evidence.certificate.clone_from(&failure.certificate);
        trouble
    }

    /// The connection will not become what is demanded of it.
    pub fn unmet(failure: &TlsFailure, required: TlsRequirement) -> Self {
        let why = format!("{} (required here: {required})", failure.why);
        Self::of_tls(Reason::SecurityUnmet(why), failure)
    }

    /// With the peer's reply.
    #[must_use]
    pub fn with_reply(mut self, reply: Option<Reply>) -> Self {
        self.reply = reply;
        self
    }

    /// What kind of TLS trouble it is, when it is one.
    pub fn fault(&self) -> Option<TlsFault> {
        self.evidence.as_ref()?.fault
    }

    /// The evidence, to be added to.
    pub fn evidence_mut(&mut self) -> &mut Evidence {
        self.evidence.get_or_insert_default()
    }

    /// The enhanced status code (RFC 3463) for a report: the peer's own when it gave one, with the class
    /// (`4` or `5`) that the disposition demands.
    pub fn enhanced(&self, class: u8) -> Enhanced {
        let (subject, detail) = match &self.reason {
            Reason::Refused => match self.reply.as_ref().and_then(|reply| reply.enhanced) {
                Some(code) => (code.subject, code.detail),
                None => (0, 0),
            },
            Reason::NullMx => (1, 10),
            Reason::NoSuchDomain => (1, 2),
            Reason::LookupFailed(_) => (4, 3),
            Reason::NoRoute => (4, 4),
            Reason::OwnHost(_) => (4, 6),
            Reason::ConnectFailed(_) | Reason::TimedOut => (4, 1),
            Reason::ConnectionLost => (4, 2),
            Reason::Protocol(_) => (5, 0),
            Reason::TlsFailed(_) | Reason::SecurityUnmet(_) => (7, 10),
            Reason::CredentialsWithheld(_) | Reason::SignInRefused(_) => (7, 8),
            Reason::NeedsRequireTls => (7, 30),
            Reason::SwitchedOff => (4, 0),
            Reason::NeedsEightBit | Reason::NeedsBinary => (6, 3),
            Reason::NeedsUtf8 => (6, 7),
            Reason::TooLarge(_) => (3, 4),
            Reason::Local(_) => (3, 0),
            Reason::NoTlsReport(_) => (6, 1),
            Reason::Expired => (4, 7),
            Reason::Withdrawn => (7, 0),
        };
        Enhanced { class, subject, detail }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("the other server refused"),
            Self::NullMx => f.write_str("the domain says that it accepts no mail (null MX)"),
            Self::NoSuchDomain => f.write_str("the domain does not exist or has no mail server"),
            Self::LookupFailed(why) => write!(f, "the domain's mail servers could not be looked up: {why}"),
            Self::NoRoute => f.write_str("no connector leads to this destination"),
            Self::OwnHost(host) => {
                write!(f, "the best mail server for the destination, {host}, is this server")
            }
            Self::ConnectFailed(why) => write!(f, "no connection: {why}"),
            Self::TimedOut => f.write_str("the other server did not answer in time"),
            Self::ConnectionLost => f.write_str("the other server closed the connection"),
            Self::Protocol(why) => write!(f, "the other server broke the protocol: {why}"),
            Self::TlsFailed(why) => write!(f, "the TLS handshake failed: {why}"),
            Self::SecurityUnmet(why) => write!(f, "the connection was not secure enough: {why}"),
            Self::CredentialsWithheld(why) => write!(f, "our credentials were not sent: {why}"),
            Self::SignInRefused(words) => write!(f, "the other server refused our credentials: {words}"),
            Self::NeedsRequireTls => {
                f.write_str("the other server does not promise to keep the message encrypted (no REQUIRETLS)")
            }
            Self::SwitchedOff => f.write_str("the way there is switched off by an administrator"),
            Self::NeedsEightBit => f.write_str("the other server cannot take 8-bit content (no 8BITMIME)"),
            Self::NeedsBinary => f.write_str("the other server cannot take binary content (no BINARYMIME)"),
            Self::NeedsUtf8 => {
                f.write_str("the other server cannot take internationalised mail (no SMTPUTF8)")
            }
            Self::TooLarge(limit) => {
                write!(f, "the message is larger than the other server takes ({limit} octets)")
            }
            Self::Local(why) => write!(f, "the mailbox could not be written: {why}"),
            Self::NoTlsReport(why) => write!(f, "the address takes only TLS reports: {why}"),
            Self::Expired => f.write_str("the message could not be delivered in time"),
            Self::Withdrawn => f.write_str("an administrator ended the delivery"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Route => "choosing a route",
            Self::Lookup => "the DNS lookup",
            Self::Connect => "connecting",
            Self::Greeting => "the greeting",
            Self::Hello => "EHLO",
            Self::Tls => "TLS",
            Self::Authenticate => "AUTH",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::Content => "the end of the message",
            Self::Mailbox => "writing the mailbox",
        })
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.reason, self.step)?;
        match &self.reply {
            Some(reply) => write!(f, ": {}", reply.one_line()),
            None => Ok(()),
        }
    }
}
