//! What decided a reply, where the session itself did, and other things in words.
//!
//! What it deliberately does not do: explain how to mend it; `postern explain` does, by the help token.

use postern_smtp::reply::Reply;
use postern_smtp::server::{AuthOffer, Settings, TlsMode};

use crate::config::Role;
use crate::inbound::listener::Listener;
use crate::limits::Ban;

/// What a listener is for, as it is written.
pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Relay => "relay",
        Role::Submission => "submission",
        Role::Device => "device",
    }
}

/// The rule behind a refusal that the session makes by itself.
pub(super) fn of_session(reply: &Reply, listener: &Listener, settings: &Settings) -> String {
    let at = format!("[[listener]] \"{}\"", listener.config.name);
    let role = role(listener.config.role);
    match reply.help_token() {
        Some("starttls-first") if settings.tls == listener.settings.tls => {
            format!("{at} tls: TLS must come first")
        }
        Some("starttls-first") => "[[device]] tls = \"required\"".to_owned(),
        Some("sign-in-first") if listener.config.role == Role::Device => {
            "[[device]] sign_in = \"required\"".to_owned()
        }
        Some("sign-in-first") => format!("{at} role = \"{role}\": only for signed-in people"),
        Some("auth-needs-tls") => format!("{at}: no password crosses the network in clear"),
        Some("tls-unavailable") => format!("{at}: no usable certificate is loaded"),
        Some("too-large") => format!("{at} limits.message_size = {}", settings.limits.message_size),
        Some("too-many-recipients") => format!("{at} limits.recipients = {}", settings.limits.recipients),
        Some(token) => format!("SMTP itself ({token})"),
        None if settings.auth == AuthOffer::Never && reply.code == 502 => {
            format!("{at} auth: nobody signs in there")
        }
        None if settings.tls == TlsMode::Implicit => "SMTP itself, under TLS already".to_owned(),
        None => "SMTP itself".to_owned(),
    }
}

/// A ban, with who made it.
pub(super) fn ban(ban: &Ban) -> String {
    let until = ban.until.map_or("until it is removed".to_owned(), |until| format!("until {until:.0}"));
    format!("{} is banned {until} by {}: {}", ban.subject, ban.by, ban.because)
}
