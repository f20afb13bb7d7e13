//! Handshake failures in words that an administrator can act on.
//!
//! Nothing that a peer sent is repeated raw: names from its certificate are cut and cleaned.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, PeerIncompatible};
use rustls_pki_types::{ServerName, UnixTime};

use crate::identity::{day, timestamp};

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

fn of_io(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            "the other side closed the connection during the TLS handshake".to_owned()
        }
        ErrorKind::ConnectionReset => {
            "the other side reset the connection during the TLS handshake".to_owned()
        }
        ErrorKind::TimedOut => "the TLS handshake took too long".to_owned(),
        _ => clean(&error.to_string()),
    }
}

fn of_tls(error: &TlsError) -> String {
    match error {
        TlsError::InvalidCertificate(error) => of_certificate(error),
        TlsError::AlertReceived(alert) => of_alert(*alert),
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the other side does not speak TLS at this point".to_owned()
        }
        TlsError::PeerIncompatible(reason) => of_incompatibility(reason),
        TlsError::PeerMisbehaved(reason) => format!("the other side breaks the TLS protocol ({reason:?})"),
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
        other => format!("the certificate cannot be trusted: {}", clean(&other.to_string())),
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
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::Tls13RequiredForQuic
        | PeerIncompatible::SupportedVersionsExtensionRequired
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            "the other side speaks no TLS version that is allowed here (1.2 and 1.3 are the ones known)"
                .to_owned()
        }
        PeerIncompatible::NoCipherSuitesInCommon => "both sides have no cipher suite in common".to_owned(),
        PeerIncompatible::NoKxGroupsInCommon => "both sides have no key exchange group in common".to_owned(),
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "both sides have no signature scheme in common".to_owned()
        }
        other => format!("the other side's TLS does not fit ours ({other:?})"),
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

fn clean(text: &str) -> String {
    postern_smtp::text::clean(text, LONGEST)
}

fn time(time: UnixTime) -> Timestamp {
    timestamp(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
