//! What happened, in a line for people. Everything in it was cleaned when it was kept, and is cleaned again where it is shown.

use std::fmt;

use jiff::SignedDuration;

use super::what::{Came, Kept, What};
use crate::directory::SignInFault;
use crate::event::{Proof, clean};

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clean(&self.what.to_string()))
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn { user, by, came } => {
                write!(f, "{user} signed in {}{}", proof(*by), from(came.as_ref()))
            }
            Self::SignInFailed { user, client, by, fault, why, reply } => {
                let why = why.as_deref().unwrap_or(match fault {
                    SignInFault::DirectoryDown => "the user directory could not be asked",
                    _ => "for the reason that the answer names",
                });
                write!(f, "sign-in as {user} {} from {client} failed: {why}; answer: {reply}", proof(*by))
            }
            Self::Refused { .. } => self.tell_refused(f),
            Self::SessionRefused { listener, client, reason } => {
                write!(f, "{client} was turned away on {listener}: {reason}")
            }
            Self::TlsFailed { client, listener, reason, .. } => {
                write!(f, "TLS with {client} on {listener} failed: {reason}")
            }
            Self::SessionTroubled { client, listener, user, trouble } => {
                let user = also(", signed in as ", user.as_deref());
                write!(f, "session of {client} on {listener}{user} brought no mail: {trouble}")
            }
            Self::RelayPermitted { by, came } => {
                write!(f, "the client may relay by {by}{}", from(came.as_ref()))
            }
            Self::Accepted { .. } => self.tell_accepted(f),
            _ => self.tell_delivery(f),
        }
    }
}

impl What {
    fn tell_refused(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Refused { at, address, client, user, policy, why, reply, .. } = self else { return Ok(()) };
        let (address, user) = (also(" ", address.as_deref()), also(", signed in as ", user.as_deref()));
        let (policy, why) = (also(" by policy ", policy.as_deref()), also("; ", why.as_deref()));
        write!(f, "refused at {at}{address} from {client}{user}{policy}: {reply}{why}")
    }

    fn tell_accepted(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Accepted {
            session,
            from: sender,
            to,
            size,
            user,
            device,
            message_id,
            hello,
            program,
            came,
        } = self
        else {
            return Ok(());
        };
        let to = match to.as_slice() {
            [] => "nobody".to_owned(),
            few @ ([_] | [_, _] | [_, _, _]) => few.join(", "),
            [first, second, rest @ ..] => format!("{first}, {second} and {} more", rest.len()),
        };
        write!(f, "accepted from {sender} for {to}, {size} octets")?;
        write!(f, "{}{}", also(", signed in as ", user.as_deref()), also(", ", device.as_deref()))?;
        write!(f, "{}{}", from(came.as_ref()), also(", which calls itself ", hello.as_deref()))?;
        write!(f, "{}", also(", written by ", program.as_deref()))?;
        write!(f, ", session {session}{}", also(", Message-ID ", message_id.as_deref()))
    }

    fn tell_delivery(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { reason } => write!(f, "held: {reason}"),
            Self::FellBack { host, to, reason } => {
                write!(f, "TLS to {host} failed, tried once {to}: {reason}")
            }
            Self::Delivered { to, connector, host, tls, reply, age_ms } => {
                let after = SignedDuration::from_millis(*age_ms);
                let reply = also("; answer: ", reply.as_deref());
                write!(f, "delivered to {to} via {connector}, {host} ({tls}), after {after:#}{reply}")
            }
            Self::Deferred { to, connector, trouble, cause, next, .. } => {
                write!(f, "{to} has to wait ({cause}): via {connector}, {trouble}; next try {next:.0}")
            }
            Self::Failed { to, connector, trouble, cause, .. } => {
                write!(f, "{to} failed for good ({cause}): via {connector}, {trouble}")
            }
            Self::Reported { kind, to, report } => {
                write!(f, "{to} is told that it is {kind}, in message {report}")
            }
            Self::ReportWithheld { reason } => write!(f, "nobody is told of the failure: {reason}"),
            Self::NotRecorded { reason } => {
                write!(f, "the attempt could not be recorded and is repeated: {reason}")
            }
            Self::Superseded { reason } => write!(f, "the attempt does not count: {reason}"),
            _ => self.tell_ban(f),
        }
    }

    fn tell_ban(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned { subject, because, until, by } => {
                let until = until.map_or("it is removed".to_owned(), |until| format!("{until:.0}"));
                let because = also(": ", Some(because.as_str()).filter(|because| !because.is_empty()));
                write!(f, "{subject} was banned by {by} until {until}{because}")
            }
            Self::Unbanned { subject } => write!(f, "{subject} is no longer banned"),
            Self::TurnedAway { subject, client, listener, times } => {
                let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
                write!(f, "{client} was turned away on {listener} {times}: {subject} is banned")
            }
            _ => f.write_str("something that only a later version of Postern can tell"),
        }
    }
}

fn proof(by: Proof) -> &'static str {
    match by {
        Proof::Password => "with a password",
        Proof::Certificate => "with a certificate",
        Proof::Token => "with an access token",
        Proof::Scram => "with SCRAM",
        Proof::FrontEnd => "at the front end",
    }
}

fn from(came: Option<&Came>) -> String {
    came.map(|came| format!(", {came}")).unwrap_or_default()
}

/// `from 192.0.2.1 on submission, TLSv1.3 …`.
impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = self.tls.as_deref().unwrap_or("in clear");
        write!(f, "from {} on {} ({tls})", self.client, self.listener)
    }
}

/// What is known besides, behind a word that leads to it; nothing when it is not known.
fn also(lead: &str, known: Option<&str>) -> String {
    known.map(|known| format!("{lead}{known}")).unwrap_or_default()
}
