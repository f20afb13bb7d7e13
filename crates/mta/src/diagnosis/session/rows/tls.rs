//! How TLS did not come about, or came about and was not liked.

use postern_smtp::command::Verb;
use postern_smtp::server::CloseReason;
use postern_smtp::tls::{Alert, HandshakeFault, TlsOffer};

use super::{Found, certain, likely, possible};
use crate::config::{Greets, Otherwise, Role};
use crate::diagnosis::session::program::is_nss;
use crate::diagnosis::session::sight::Sight;
use crate::diagnosis::session::{Cause, Program};
use crate::session::{End, Opening, TlsBegun};

/// Suites of TLS 1.2 that are taken here where the certificate's key is RSA (RFC 5289, RFC 7905).
const RSA_SUITES: [u16; 3] = [0xc02f, 0xc030, 0xcca8];
/// The same where it is ECDSA.
const ECDSA_SUITES: [u16; 3] = [0xc02b, 0xc02c, 0xcca9];

/// "SSL/TLS" where "STARTTLS" belongs.
pub(super) fn at_once_where_it_begins_in_clear(sight: &Sight<'_>) -> Option<Found> {
    let facts = sight.facts;
    let began = facts.opening == Opening::Tls && facts.place.greets == Greets::InClear;
    if !began || facts.tls.is_some() || facts.tls_fault.is_some() {
        return None;
    }
    let port = facts.place.port;
    let then = match facts.place.otherwise {
        Otherwise::Fails => "where the server speaks first and in clear",
        Otherwise::Served => "and had got the banner already; its next try is served",
    };
    certain(Cause::TlsOnStarttlsPort, format!("the client began TLS at once on port {port}, {then}"))
}

/// TLS where TLS belongs, and so late that the client had been taken for one that waits for a banner.
pub(super) fn late_hello(sight: &Sight<'_>) -> Option<Found> {
    let facts = sight.facts;
    let began = facts.opening == Opening::Tls && facts.place.greets == Greets::AfterTls;
    if !began || facts.tls.is_some() || facts.tls_fault.is_some() {
        return None;
    }
    certain(
        Cause::HandshakeStalled,
        format!(
            "the client began TLS on port {}, as it should, but behind the banner: its first message came late or was held back \
             on the way",
            facts.place.port
        ),
    )
}

/// Nobody can begin TLS.
pub(super) fn no_identity(sight: &Sight<'_>) -> Option<Found> {
    let (HandshakeFault::NoIdentity, words) = sight.facts.tls_fault.as_ref()? else { return None };
    certain(Cause::NoUsableCertificate, format!("a client wanted to begin TLS: {words}"))
}

/// "STARTTLS", or nothing, where "SSL/TLS" belongs.
pub(super) fn clear_where_it_begins_with_tls(sight: &Sight<'_>) -> Option<Found> {
    let facts = sight.facts;
    if facts.place.greets != Greets::AfterTls || facts.tls.is_some() || facts.offer.is_some() {
        return None;
    }
    let (port, otherwise) = (facts.place.port, facts.place.otherwise);
    let fault = facts.tls_fault.as_ref().map(|(fault, _)| *fault);
    match (&facts.opening, fault) {
        // It waited for the banner, and got it: what it does then is for other rows.
        (Opening::Words, None) if otherwise == Otherwise::Served => None,
        (Opening::Words, _) => {
            let then = match otherwise {
                Otherwise::Fails => "where TLS must begin at once",
                Otherwise::Served => {
                    "and did not wait: a client that does is greeted after ten seconds of silence"
                }
            };
            certain(Cause::StarttlsOnTlsPort, format!("the client spoke in clear on port {port}, {then}"))
        }
        (
            Opening::Silence,
            Some(HandshakeFault::TimedOut | HandshakeFault::Closed | HandshakeFault::Reset) | None,
        ) if sight.waited_for_a_banner() => likely(
            Cause::StarttlsOnTlsPort,
            format!(
                "the client said nothing for {} on port {port}: it waited for a greeting, {}",
                seconds(facts.lasted),
                match (otherwise, fault) {
                    (Otherwise::Fails, _) => "but TLS must begin at once there",
                    (Otherwise::Served, Some(_)) => {
                        "which comes after ten seconds of silence"
                    }
                    (Otherwise::Served, None) =>
                        "got it after ten seconds of silence, and left; its next try is greeted sooner",
                }
            ),
        ),
        _ => None,
    }
}

/// No version, cipher suite, group or signature that both sides know.
pub(super) fn nothing_in_common(sight: &Sight<'_>) -> Option<Found> {
    let (fault, words) = sight.facts.tls_fault.as_ref()?;
    let offer = sight.facts.offer.as_ref();
    let cause = match fault {
        HandshakeFault::NoCommonVersion => Cause::OldTlsOnly,
        HandshakeFault::NoCommonCipher if offer.is_some_and(wants_rsa) => Cause::NoCommonSignature,
        HandshakeFault::NoCommonCipher => Cause::NoCommonCipher,
        HandshakeFault::NoCommonGroup => Cause::NoCommonGroup,
        HandshakeFault::NoCommonSignature => Cause::NoCommonSignature,
        HandshakeFault::Alert(Alert::PROTOCOL_VERSION) if offer.is_some_and(is_old) => Cause::OldTlsOnly,
        _ => return None,
    };
    certain(cause, format!("{words}{}", offer.map(offered).unwrap_or_default()))
}

/// The client said why it does not take our certificate.
pub(super) fn rejected_certificate(sight: &Sight<'_>) -> Option<Found> {
    let (HandshakeFault::Alert(alert), _) = sight.facts.tls_fault.as_ref()? else { return None };
    let asked = asked_for(sight);
    let cause = match *alert {
        Alert::UNRECOGNIZED_NAME => Cause::WrongServerName,
        Alert::UNKNOWN_CA => Cause::UnknownAuthority,
        Alert::BAD_CERTIFICATE | Alert::CERTIFICATE_UNKNOWN if name_borne(sight) == Some(false) => {
            return certain(
                Cause::WrongServerName,
                format!("the client rejected the certificate ({alert}), which does not bear the name{asked}"),
            );
        }
        Alert::BAD_CERTIFICATE => Cause::BadCertificate,
        Alert::CERTIFICATE_EXPIRED => Cause::CertificateExpired,
        Alert::CERTIFICATE_UNKNOWN => Cause::CertificateUnknown,
        Alert::UNSUPPORTED_CERTIFICATE => Cause::UnsupportedCertificate,
        Alert::CERTIFICATE_REVOKED => Cause::CertificateRevoked,
        _ => return None,
    };
    certain(cause, format!("the client rejected the certificate: {alert}{asked}"))
}

/// We wanted a certificate of the client.
pub(super) fn demanded_certificate(sight: &Sight<'_>) -> Option<Found> {
    let (HandshakeFault::ClientCertificate, words) = sight.facts.tls_fault.as_ref()? else { return None };
    certain(Cause::ClientCertificateNeeded, words.clone())
}

/// The way it greets is a mail program's, the way it begins TLS is not. A mail program names the server that it wants; who
/// took its connection over does not know the name.
pub(super) fn antivirus(sight: &Sight<'_>) -> Option<Found> {
    let facts = sight.facts;
    let offer = facts.offer.as_ref()?;
    let tls_was_no_use = sight.course.lines_in_tls == 0 && sight.left() || facts.tls_fault.is_some();
    let strange = offer.server_name.is_none() && !is_nss(offer);
    let program = Program::by_hello(facts).map(|(program, _)| program)?;
    if !tls_was_no_use || !strange || program != Program::Thunderbird || facts.place.role == Role::Relay {
        return None;
    }
    let hello = facts.dialogue_hello().unwrap_or_default();
    likely(
        Cause::AntivirusProxy,
        format!(
            "the client greets as {program} does ({hello}), but its TLS is another program's and asks for no server name; it went no further"
        ),
    )
}

/// It went away, or silent, in the middle of the handshake.
pub(super) fn cut_short(sight: &Sight<'_>) -> Option<Found> {
    let facts = sight.facts;
    let (fault, _) = facts.tls_fault.as_ref()?;
    let begun = facts.offer.is_some() || sight.course.starttls;
    match fault {
        HandshakeFault::Closed | HandshakeFault::Reset if name_borne(sight) == Some(false) => likely(
            Cause::WrongServerName,
            format!(
                "the client closed as soon as it had seen the certificate, which does not bear the name{}",
                asked_for(sight)
            ),
        ),
        HandshakeFault::Closed | HandshakeFault::Reset | HandshakeFault::Alert(Alert(0 | 90)) if begun => {
            certain(
                Cause::ClosedInHandshake,
                format!("the client closed during the handshake, without saying why{}", asked_for(sight)),
            )
        }
        HandshakeFault::TimedOut if begun => certain(
            Cause::HandshakeStalled,
            format!("the handshake did not go on for {}{}", seconds(facts.lasted), asked_for(sight)),
        ),
        HandshakeFault::Closed | HandshakeFault::Reset | HandshakeFault::TimedOut => {
            possible(Cause::PortScan, "the client connected and went away before its handshake could be read")
        }
        _ => None,
    }
}

/// The rest of what ends a handshake.
pub(super) fn failed_otherwise(sight: &Sight<'_>) -> Option<Found> {
    let (fault, words) = sight.facts.tls_fault.as_ref()?;
    match fault {
        HandshakeFault::Drained => certain(Cause::ShuttingDown, "the server shut down during the handshake"),
        HandshakeFault::NotTls if sight.course.starttls => {
            certain(Cause::ClearAfterStarttls, "behind STARTTLS came something else than TLS")
        }
        HandshakeFault::Closed | HandshakeFault::Reset | HandshakeFault::TimedOut => None,
        HandshakeFault::NotTls => likely(Cause::OtherProtocol, format!("what came first is no TLS: {words}")),
        _ => likely(Cause::HandshakeFailed, words.clone()),
    }
}

/// More words in clear, in the packet of STARTTLS or behind it (CVE-2011-0411).
pub(super) fn clear_behind_starttls(sight: &Sight<'_>) -> Option<Found> {
    let violated = matches!(sight.facts.end, End::Closed { reason: CloseReason::Violation, .. });
    if !violated || sight.course.last != Some(Verb::StartTls) || sight.facts.tls.is_some() {
        return None;
    }
    certain(Cause::ClearAfterStarttls, "octets in clear came behind STARTTLS")
}

/// It asked for a name, did not find it, and went.
pub(super) fn name_not_borne(sight: &Sight<'_>) -> Option<Found> {
    let unborne = name_borne(sight) == Some(false);
    if sight.facts.tls.is_none() || !unborne || sight.course.lines_in_tls > 0 || !sight.left() {
        return None;
    }
    likely(
        Cause::WrongServerName,
        format!(
            "the client left as soon as TLS stood; the certificate does not bear the name{}",
            asked_for(sight)
        ),
    )
}

/// It saw the certificate and went.
pub(super) fn left_after_handshake(sight: &Sight<'_>) -> Option<Found> {
    let tls = sight.facts.tls.as_ref()?;
    if sight.course.lines_in_tls > 0 || !sight.left() || sight.facts.tls_fault.is_some() {
        return None;
    }
    let found = match tls.begun {
        TlsBegun::StartTls => likely,
        TlsBegun::AtOnce => possible,
    };
    found(
        Cause::LeftAfterHandshake,
        format!("TLS stood ({}), and the client left without a command{}", tls.version, asked_for(sight)),
    )
}

/// It saw the list of extensions and went.
pub(super) fn starttls_hidden(sight: &Sight<'_>) -> Option<Found> {
    let course = &sight.course;
    let only_greeted = course.offered && !course.starttls && !course.auth && sight.refused.is_empty();
    let greeted_last = matches!(course.last, Some(Verb::Ehlo | Verb::Quit));
    if sight.facts.place.role == Role::Relay || !only_greeted || !greeted_last || !sight.left() {
        return None;
    }
    possible(
        Cause::StarttlsHidden,
        "the client said EHLO, was offered STARTTLS, and left without asking for it",
    )
}

/// Whether the certificate that it was shown bears the name that it asked for, where that is known.
fn name_borne(sight: &Sight<'_>) -> Option<bool> {
    sight.facts.name_borne.or_else(|| sight.facts.tls.as_ref()?.name_borne)
}

/// Only versions before TLS 1.2.
fn is_old(offer: &TlsOffer) -> bool {
    offer.versions.iter().all(|version| *version < 0x0303)
}

/// It would take our suites with an RSA key, and none with another.
fn wants_rsa(offer: &TlsOffer) -> bool {
    let any = |suites: &[u16]| offer.ciphers.iter().any(|suite| suites.contains(suite));
    any(&RSA_SUITES) && !any(&ECDSA_SUITES) && !offer.versions.contains(&0x0304)
}

/// What it offered, in words.
fn offered(offer: &TlsOffer) -> String {
    format!("; it offers {offer}")
}

/// The name that the client wanted.
fn asked_for(sight: &Sight<'_>) -> String {
    let facts = sight.facts;
    let offered = facts.offer.as_ref().and_then(|offer| offer.server_name.as_deref());
    let name = offered.or_else(|| facts.tls.as_ref()?.server_name.as_deref());
    match name {
        Some(name) => format!(", asked for as {name}"),
        None => ", asked for without a name".to_owned(),
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{} s", milliseconds / 1000)
}
