//! Handshake failures in words that an administrator can act on.
//!
//! Nothing that a peer sent is repeated raw: names from its certificate are cut and cleaned.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use jiff::Timestamp;
use postern_smtp::text::without_os_code;
use postern_smtp::tls::{Alert, HandshakeFault};
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, PeerIncompatible};
use rustls_pki_types::{ServerName, UnixTime};

use crate::identity::{day, timestamp};
use crate::judge::Refused;
use crate::server::MinimumVersion;

/// Says in plain words why TLS failed. Takes [`rustls::Error`] and [`io::Error`] (what the TLS stream returns);
/// any other error is given its own words.
pub fn describe(error: &(dyn StdError + 'static)) -> String {
    if let Some(error) = error.downcast_ref::<TlsError>() {
        return of_tls(error);
    }
    let Some(error) = error.downcast_ref::<io::Error>() else {
        return clean(&error.to_string());
    };
    match error.get_ref() {
        Some(source) => describe(source),
        None => of_io(error),
    }
}

/// What [`describe`] says, for a listener: where the client's version is too old, it names the oldest that is taken there.
pub fn describe_client(error: &(dyn StdError + 'static), minimum: MinimumVersion) -> String {
    let allowed = allowed(minimum);
    match incompatibility(error) {
        Some(reason) if is_version(reason) => too_old(minimum),
        Some(PeerIncompatible::SignatureAlgorithmsExtensionRequired) => {
            format!(
                "the client seems to speak only TLS 1.1 or older: {allowed}, and it names no signature algorithms"
            )
        }
        _ => describe(error),
    }
}

/// What is said of a client whose versions of TLS are all too old for a listener.
pub fn too_old(minimum: MinimumVersion) -> String {
    format!("the client speaks no TLS version that is allowed: {}", allowed(minimum))
}

fn allowed(minimum: MinimumVersion) -> &'static str {
    match minimum {
        MinimumVersion::Tls12 => "TLS 1.2 and 1.3 are taken here",
        MinimumVersion::Tls13 => "only TLS 1.3 is taken here",
    }
}

/// What ended a handshake with a client, as a kind. Takes what the TLS stream returns.
pub fn handshake_fault(error: &io::Error) -> HandshakeFault {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
        return match error.kind() {
            ErrorKind::UnexpectedEof => HandshakeFault::Closed,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
                HandshakeFault::Reset
            }
            ErrorKind::TimedOut => HandshakeFault::TimedOut,
            _ => HandshakeFault::Broken,
        };
    };
    match tls {
        TlsError::AlertReceived(alert) => HandshakeFault::Alert(Alert(u8::from(*alert))),
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => HandshakeFault::NotTls,
        TlsError::PeerIncompatible(reason) => of_client_incompatibility(reason),
        // A server looks at no other certificates than those it demands of clients.
        TlsError::NoCertificatesPresented | TlsError::InvalidCertificate(_) => {
            HandshakeFault::ClientCertificate
        }
        _ => HandshakeFault::Broken,
    }
}

fn of_client_incompatibility(reason: &PeerIncompatible) -> HandshakeFault {
    match reason {
        // Who names no signature algorithms knows nothing newer than TLS 1.1.
        PeerIncompatible::SignatureAlgorithmsExtensionRequired => HandshakeFault::NoCommonVersion,
        reason if is_version(reason) => HandshakeFault::NoCommonVersion,
        PeerIncompatible::NoCipherSuitesInCommon => HandshakeFault::NoCommonCipher,
        PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NamedGroupsExtensionRequired
        | PeerIncompatible::EcPointsExtensionRequired
        | PeerIncompatible::UncompressedEcPointsRequired
        | PeerIncompatible::NoEcPointFormatsInCommon => HandshakeFault::NoCommonGroup,
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => HandshakeFault::NoCommonSignature,
        _ => HandshakeFault::Broken,
    }
}

/// What of the peer's TLS does not fit ours, if that is what is wrong.
fn incompatibility<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a PeerIncompatible> {
    match error.downcast_ref::<TlsError>() {
        Some(TlsError::PeerIncompatible(reason)) => Some(reason),
        Some(_) => None,
        None => incompatibility(error.downcast_ref::<io::Error>()?.get_ref()?),
    }
}

/// Whether it is that both sides have no version in common.
fn is_version(reason: &PeerIncompatible) -> bool {
    matches!(
        reason,
        PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
    )
}

fn of_io(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the other side closed the connection during the TLS handshake".to_owned()
        }
        ErrorKind::ConnectionReset => {
            "the other side reset the connection during the TLS handshake".to_owned()
        }
        ErrorKind::TimedOut => "the TLS handshake took too long".to_owned(),
        _ => clean(&without_os_code(error)),
    }
}

fn of_tls(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(error) => of_certificate(error),
        TlsError::AlertReceived(alert) => of_alert(*alert),
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the other side does not speak TLS at this point".to_owned()
        }
        TlsError::InvalidMessage(reason) => {
            format!("the other side sent a broken TLS message ({})", in_words(&format!("{reason:?}")))
        }
        TlsError::PeerIncompatible(reason) => of_incompatibility(reason),
        TlsError::PeerMisbehaved(reason) => {
            format!("the other side breaks the TLS protocol ({})", in_words(&format!("{reason:?}")))
        }
        TlsError::NoCertificatesPresented => "the other side showed no certificate".to_owned(),
        TlsError::DecryptError => "the other side's data could not be decrypted".to_owned(),
        TlsError::General(reason) => clean(reason),
        other => clean(&other.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::NotValidForNameContext { expected, presented } => {
            of_wrong_name(expected, presented)
        }
        CertificateError::NotValidForName => "the certificate is for another name".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("the certificate has expired on {}", day(time(*not_after)))
        }
        CertificateError::Expired => "the certificate has expired".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("the certificate is not valid before {}", day(time(*not_before)))
        }
        CertificateError::NotValidYet => "the certificate is not valid yet".to_owned(),
        CertificateError::UnknownIssuer => "the certificate is signed by an unknown authority".to_owned(),
        CertificateError::Revoked => "the certificate was revoked by its authority".to_owned(),
        CertificateError::BadSignature => {
            "the certificate was not signed by the authority it names".to_owned()
        }
        CertificateError::BadEncoding => "the certificate is malformed".to_owned(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate was not issued for servers".to_owned()
        }
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has a critical extension that is not understood".to_owned()
        }
        CertificateError::Other(reason) if reason.0.is::<Refused>() => reason.to_string(),
        CertificateError::Other(reason) => of_other(&reason.to_string()),
        other => of_other(&other.to_string()),
    }
}

/// What the library that verifies certificates has only a name for.
fn of_other(name: &str) -> String {
    match name {
        "UnsupportedCertVersion" => {
            "the certificate is of an old kind (X.509 version 1 or 2) that cannot be verified".to_owned()
        }
        "CaUsedAsEndEntity" => "the certificate is an authority's, not a server's".to_owned(),
        other => format!("the certificate cannot be trusted: {}", in_words(other)),
    }
}

fn of_wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    let expected = clean(&expected.to_str());
    let shown: Vec<_> = presented.iter().take(NAMES_SHOWN).map(|name| bare(name)).collect();
    let more = if presented.len() > NAMES_SHOWN { " and others" } else { "" };
    if shown.is_empty() {
        return format!("the certificate bears no name, so it is not for {expected}");
    }
    format!("the certificate is for {}{more}, not for {expected}", shown.join(", "))
}

fn of_alert(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::HandshakeFailure => "it found no protocol settings that both sides can use",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "it does not accept our certificate"
        }
        AlertDescription::UnsupportedCertificate => "it cannot use a certificate like ours",
        AlertDescription::CertificateRevoked => "it says that our certificate was revoked",
        AlertDescription::CertificateExpired => "it says that our certificate has expired",
        AlertDescription::UnknownCA => "it does not trust the authority that signed our certificate",
        AlertDescription::ProtocolVersion => "it cannot speak TLS 1.2 or 1.3",
        AlertDescription::InsufficientSecurity => "it wants stronger encryption than was offered",
        AlertDescription::UnrecognisedName => "it does not know the name it was asked for",
        AlertDescription::CertificateRequired => "it demands a client certificate",
        AlertDescription::InternalError => "it had an internal error",
        AlertDescription::UserCanceled | AlertDescription::CloseNotify => "it gave up",
        _ => "it ended the handshake",
    };
    let name = alert.as_str().map_or_else(|| u8::from(alert).to_string(), str::to_owned);
    format!("the other side refused: {meaning} (TLS alert {name})")
}

fn of_incompatibility(reason: &PeerIncompatible) -> String {
    match reason {
        reason if is_version(reason) => {
            "the other side speaks no TLS version that is allowed here (1.2 and 1.3 are the ones known)"
                .to_owned()
        }
        PeerIncompatible::NoCipherSuitesInCommon => "both sides have no cipher suite in common".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "both sides have no key exchange group in common".to_owned(),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "both sides have no signature scheme in common".to_owned()
        }
        // Looked for before the version: TLS 1.1 has no such extension (RFC 5246 §7.4.1.4.1).
        PeerIncompatible::SignatureAlgorithmsExtensionRequired => {
            "the other side seems to speak only TLS 1.1 or older (1.2 and 1.3 are the ones known): it names no \
             signature algorithms"
                .to_owned()
        }
        other => format!("the other side's TLS does not fit ours ({})", in_words(&format!("{other:?}"))),
    }
}

/// So many names of a certificate are shown; some bear hundreds.
const NAMES_SHOWN: usize = 3;

/// No longer than this: what came from a peer must not flood a log line.
const LONGEST: usize = 255;

/// `DnsName("mx.example.net")` as the library has it → `mx.example.net`.
fn bare(name: &str) -> String {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner.trim_end_matches(')'));
    clean(inner.trim_matches('"'))
}

/// `KeyShareExtensionRequired`, as the library calls a trouble → `key share extension required`. Details in brackets are
/// left out; what is in words already stays.
fn in_words(name: &str) -> String {
    let variant = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let details = &name[variant.len()..];
    let is_name = variant.starts_with(|c: char| c.is_ascii_uppercase())
        && (details.is_empty() || details.starts_with('(') || details.starts_with(" {"));
    if !is_name {
        return clean(name);
    }
    let mut words = String::new();
    let mut before = ' ';
    for c in variant.trim_end_matches("Context").chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
        before = c;
    }
    words
}

fn clean(text: &str) -> String {
    postern_smtp::text::clean(text, LONGEST)
}

fn time(time: UnixTime) -> Timestamp {
    timestamp(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{OtherError, PeerMisbehaved};

    use super::*;

    /// A trouble that shows itself as the library's do.
    #[derive(Debug)]
    struct Named(&'static str);

    impl std::fmt::Display for Named {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl StdError for Named {}

    fn of_certificate_named(name: &'static str) -> String {
        let error = CertificateError::Other(OtherError(Arc::new(Named(name))));
        describe(&TlsError::InvalidCertificate(error))
    }

    #[test]
    fn no_name_of_the_librarys_is_shown_as_it_is() {
        let old = of_certificate_named("UnsupportedCertVersion");
        assert!(old.contains("X.509 version 1"), "{old}");
        for (name, words) in [
            ("MaximumSignatureChecksExceeded", "maximum signature checks exceeded"),
            ("TrailingData(Time)", "trailing data"),
            ("UnsupportedThingContext { id: [1, 2] }", "unsupported thing"),
            ("in words already", "in words already"),
        ] {
            let said = of_certificate_named(name);
            assert!(said.ends_with(words), "{said}");
        }
        for error in [
            TlsError::PeerIncompatible(PeerIncompatible::KeyShareExtensionRequired),
            TlsError::PeerMisbehaved(PeerMisbehaved::IllegalMiddleboxChangeCipherSpec),
            TlsError::InvalidMessage(InvalidMessage::MissingKeyExchange),
        ] {
            let said = describe(&error);
            let is_name = |word: &str| {
                word.chars().skip(1).any(|c| c.is_ascii_lowercase())
                    && word.chars().skip(1).any(|c| c.is_ascii_uppercase())
            };
            assert!(!said.split(|c: char| !c.is_alphanumeric()).any(is_name), "{said}");
        }
    }

    #[test]
    fn a_client_of_tls_1_1_reads_as_such() {
        let said = describe(&TlsError::from(PeerIncompatible::SignatureAlgorithmsExtensionRequired));
        assert!(said.contains("only TLS 1.1 or older"), "{said}");
    }

    #[test]
    fn a_client_that_is_too_old_is_told_by_what_the_listener_takes() {
        let wrapped =
            |reason: PeerIncompatible| io::Error::new(ErrorKind::InvalidData, TlsError::from(reason));
        for old in [
            PeerIncompatible::SupportedVersionsExtensionRequired,
            PeerIncompatible::Tls12NotOfferedOrEnabled,
            PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ] {
            let error = wrapped(old);
            let said = describe_client(&error, MinimumVersion::Tls13);
            assert!(said.contains("only TLS 1.3 is taken here") && !said.contains("1.2"), "{said}");
            let said = describe_client(&error, MinimumVersion::Tls12);
            assert!(said.contains("TLS 1.2 and 1.3 are taken here"), "{said}");
        }
        let other = wrapped(PeerIncompatible::NoCipherSuitesInCommon);
        assert_eq!(describe_client(&other, MinimumVersion::Tls13), describe(&other));
    }
}
