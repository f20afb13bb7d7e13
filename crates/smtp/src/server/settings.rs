//! What a listener's configuration means to a session.

use std::sync::Arc;
use std::time::Duration;

use crate::sasl::Mechanism;

/// Everything a [`ServerSession`](super::ServerSession) needs to know about its listener. Built once per listener,
/// shared by its sessions.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name in the banner and in EHLO's first line.
    pub hostname: String,
    /// When TLS starts.
    pub tls: TlsMode,
    /// Whether a usable identity is loaded; when not, STARTTLS is still offered and answered 454.
    pub tls_available: bool,
    /// Whether AUTH is offered (before TLS only as `clear_sign_in` says).
    pub auth: AuthOffer,
    /// Whether AUTH is offered before TLS too.
    pub clear_sign_in: ClearSignIn,
    /// How people may sign in. Those that rest on TLS (EXTERNAL, and the -PLUS ones) are offered only where it gives what
    /// they need.
    pub mechanisms: Arc<[Mechanism]>,
    /// What a bare LF in content becomes. Bare CR and NUL are always refused.
    pub line_endings: LineEndings,
    /// Bounds on everything a client can repeat or stretch.
    pub limits: Limits,
    /// How long to wait for the client.
    pub timeouts: Timeouts,
}

/// When TLS starts on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// STARTTLS is offered (RFC 3207).
    Offered,
    /// STARTTLS must come first; nothing but EHLO, STARTTLS, NOOP, HELP, RSET and QUIT before it.
    Required,
    /// TLS from the first byte (RFC 8314 §3).
    Implicit,
}

/// Whether a listener offers AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOffer {
    /// Not at all (`502` to AUTH).
    Never,
    /// After TLS; mail may also come without (relay listeners with `auth = true`).
    Optional,
    /// After TLS, and MAIL is refused without it (submission listeners).
    Mandatory,
}

/// Whether passwords may cross the network in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearSignIn {
    /// Never: there is no AUTH before TLS.
    Refused,
    /// They may, for devices that know no TLS. It is no way around [`TlsMode::Required`].
    Allowed,
}

/// What a bare LF in content means (RFC 5321 §2.3.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEndings {
    /// `550 5.6.0` and the session ends.
    Strict,
    /// It becomes CRLF; still only CRLF.CRLF ends the data.
    Repair,
}

/// Bounds per session (RFC 5321 §4.5.3.1).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Octets of content; announced with SIZE.
    pub message_size: u64,
    /// Recipients per transaction; at least 100 (RFC 5321 §4.5.3.1.8).
    pub recipients: usize,
    /// Transactions per session (announced with LIMITS MAILMAX, RFC 9422).
    pub transactions: usize,
    /// Commands that do not advance a transaction (NOOP, RSET, VRFY, HELP, EHLO …) before the session ends.
    pub idle_commands: usize,
    /// 5yz and 4yz answers to commands before the session ends with 421; an accepted message clears the account.
    /// A 4yz to RCPT does not count, and once a recipient of a transaction was accepted, ten times as many others may be
    /// refused.
    pub errors: usize,
    /// AUTH attempts before the session ends.
    pub auth_attempts: usize,
}

/// How long the server waits (RFC 5321 §4.5.3.2.7 asks for at least five minutes).
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For the next command.
    pub command: Duration,
    /// For the next piece of content.
    pub content: Duration,
    /// For the whole session, whatever happens.
    pub session: Duration,
}
