//! The ports of mail, in the one place that knows their numbers.
//!
//! What it deliberately does not do: say what a listener does at its port (see [`ListenerTls`](crate::config::ListenerTls)).

/// Mail between servers (RFC 5321 §4.5.4.2). Many networks block it, and no mail program needs it.
pub const RELAY: u16 = 25;
/// Mail programs that begin TLS by STARTTLS (RFC 6409 §3.1).
pub const SUBMISSION: u16 = 587;
/// Mail programs that begin with TLS (RFC 8314 §7.3).
pub const SUBMISSIONS: u16 = 465;
/// What mail servers and mail programs use.
pub const USUAL: [u16; 3] = [RELAY, SUBMISSION, SUBMISSIONS];

/// All of them, for a sentence.
pub(crate) fn in_words() -> String {
    format!("{RELAY}, {SUBMISSIONS} and {SUBMISSION}")
}
