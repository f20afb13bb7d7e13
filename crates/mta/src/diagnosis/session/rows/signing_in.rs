//! Signing in that went wrong.

use postern_smtp::command::Verb;

use super::{Found, certain, possible};
use crate::diagnosis::session::Cause;
use crate::diagnosis::session::sight::{Asked, Refused, Sight};
use crate::directory::SignInFault;
use crate::event::Proof;
use crate::session::{SignIn, Stage};

/// A directory said no.
pub(super) fn failed(sight: &Sight<'_>) -> Option<Found> {
    let SignIn { user, by, fault, why } = sight.sign_in?;
    let cause = of_fault((*fault)?);
    let times = sight.facts.sign_ins.iter().filter(|sign_in| sign_in.fault.is_some()).count();
    let times = if times > 1 { format!(", {times} times in this session") } else { String::new() };
    let why = why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    let how = proof(*by);
    certain(cause, format!("{user} could not sign in with {how}{times}{why}"))
}

/// The session said no before anybody was asked.
pub(super) fn refused(sight: &Sight<'_>) -> Option<Found> {
    let of_auth =
        |refused: &&Refused<'_>| matches!(refused.asked, Asked::Command(Verb::Auth, _) | Asked::Answer);
    let refused = sight.refused.iter().rfind(of_auth)?;
    let cause = match (refused.token, refused.code, refused.enhanced) {
        (Some("auth-needs-tls" | "starttls-first"), ..) => Cause::AuthInClear,
        (Some("unknown-mechanism"), ..) => Cause::UnsupportedMechanism,
        (Some("sign-in-busy" | "sign-ins-too-fast"), ..) => Cause::SignInsTooFast,
        (Some(token), ..) => Cause::behind(token)?,
        (None, 502, Some((5, 5, 1))) => Cause::NoSignInHere,
        (None, 501, Some((5, 0, 0))) => Cause::SignInCancelled,
        (None, 501, Some((5, 5, 2 | 4))) | (None, 500, Some((5, 5, 6))) => Cause::SignInMalformed,
        _ => return None,
    };
    let tried = sight.facts.dialogue.mechanisms().join(", ");
    let tried = if tried.is_empty() { tried } else { format!(" by {tried}") };
    certain(cause, format!("the client wanted to sign in{tried}, and was told: {}", refused.reply.trim_end()))
}

/// The client went away in the middle.
pub(super) fn broken_off(sight: &Sight<'_>) -> Option<Found> {
    if sight.stage() != Some(Stage::SigningIn) || !sight.left() {
        return None;
    }
    let tried = sight.facts.dialogue.mechanisms().join(", ");
    possible(
        Cause::SignInCancelled,
        format!("the client began to sign in by {tried}, and left before it was done"),
    )
}

/// The cause behind a fault.
fn of_fault(fault: SignInFault) -> Cause {
    match fault {
        SignInFault::UnknownUser => Cause::UnknownAccount,
        SignInFault::NameWithoutDomain => Cause::NameWithoutDomain,
        SignInFault::NameWithWrongDomain => Cause::NameWithWrongDomain,
        SignInFault::WrongPassword | SignInFault::WrongOrUnknown => Cause::WrongPassword,
        SignInFault::UnusableName => Cause::UnusableName,
        SignInFault::Disabled => Cause::AccountDisabled,
        SignInFault::AppPasswordNeeded => Cause::AppPasswordNeeded,
        SignInFault::Banned => Cause::AccountBanned,
        SignInFault::TooManyGuesses => Cause::TooManyGuesses,
        SignInFault::TooFast => Cause::SignInsTooFast,
        SignInFault::BadToken => Cause::TokenRejected,
        SignInFault::ActingAs => Cause::ActingAsRefused,
        SignInFault::OtherChannel => Cause::OtherChannel,
        SignInFault::CertificateOfNobody => Cause::CertificateOfNobody,
        SignInFault::NotJudgedHere => Cause::ProofNotJudged,
        SignInFault::DirectoryDown => Cause::DirectoryDown,
    }
}

fn proof(by: Proof) -> &'static str {
    match by {
        Proof::Password => "a password",
        Proof::Certificate => "a certificate",
        Proof::Token => "an access token",
        Proof::Scram => "a password by SCRAM",
        Proof::FrontEnd => "the word of a front end",
    }
}
