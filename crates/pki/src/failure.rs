//! What kind of trouble ended a handshake, from what the TLS stream returned.
//!
//! What it deliberately does not do: judge certificates. A certificate that was refused here brings its reason along.

use std::io::{self, ErrorKind};

use postern_smtp::tls::{TlsFailure, TlsFault};
use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, PeerIncompatible};

use crate::certificate::Certificate;
use crate::describe;

/// Before the peer showed a certificate.
pub(crate) fn before_certificate(error: &io::Error) -> TlsFailure {
    TlsFailure::new(kind(error), describe(error))
}

/// After it showed one that was not refused.
pub(crate) fn after_certificate(error: &io::Error, leaf: &Certificate<'_>, wanted: bool) -> TlsFailure {
    // A key that is too short makes its signatures fail; the library says no more than that.
    if let (Some(TlsError::InvalidCertificate(_)), Some(bits)) = (of_tls(error), leaf.weak_key()) {
        let why = format!("the RSA key of the certificate has {bits} bits; fewer than 2048 are not accepted");
        return TlsFailure::new(TlsFault::WeakKey, why);
    }
    let fault = match of_tls(error) {
        // TLS 1.2 has no better word for a client certificate that is missing (RFC 5246 §7.4.6).
        Some(TlsError::AlertReceived(AlertDescription::HandshakeFailure)) if wanted => {
            TlsFault::ClientCertificate
        }
        _ => kind(error),
    };
    TlsFailure::new(fault, describe(error))
}

fn of_tls(error: &io::Error) -> Option<&TlsError> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>())
}

fn kind(error: &io::Error) -> TlsFault {
    let Some(inner) = of_tls(error) else {
        return match error.kind() {
            ErrorKind::TimedOut => TlsFault::Stalled,
            _ => TlsFault::Broken,
        };
    };
    match inner {
        TlsError::AlertReceived(alert) => of_alert(*alert),
        // What does not even look like a record is something else: an SMTP reply, for one.
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => TlsFault::NotTls,
        TlsError::PeerIncompatible(reason) => of_incompatibility(reason),
        TlsError::NoCertificatesPresented => TlsFault::NoCertificate,
        TlsError::InvalidCertificate(CertificateError::Revoked) => TlsFault::Revoked,
        TlsError::InvalidCertificate(_) => TlsFault::BadCertificate,
        _ => TlsFault::Handshake,
    }
}

fn of_alert(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::HandshakeFailure
        | AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity => TlsFault::NoCommonProtocol,
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::NoCertificate
        | AlertDescription::AccessDenied => TlsFault::ClientCertificate,
        AlertDescription::CloseNotify | AlertDescription::UserCanceled => TlsFault::Broken,
        _ => TlsFault::Handshake,
    }
}

fn of_incompatibility(reason: &PeerIncompatible) -> TlsFault {
    match reason {
        PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoEcPointFormatsInCommon => TlsFault::NoCommonProtocol,
        _ => TlsFault::Handshake,
    }
}
