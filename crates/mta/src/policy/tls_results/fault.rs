//! The names that TLS reports have for what goes wrong (RFC 8460 §4.3).

use postern_message::tls_report::ResultType;
use postern_smtp::tls::{FaultKind, TlsFault};

/// What a report calls a fault. `None` where the fault is ours, or a demand of ours that the domain does not publish:
/// that says nothing about its policies, and is no business of a report.
pub(crate) fn result_of(fault: TlsFault) -> Option<ResultType> {
    Some(match fault {
        TlsFault::OurTrust | TlsFault::PinMismatch | TlsFault::NoRequireTls | TlsFault::InsecureName => {
            return None;
        }
        // RFC 8460 §4.3.1
        TlsFault::NotOffered | TlsFault::Refused | TlsFault::Stripped => ResultType::StarttlsNotSupported,
        TlsFault::HostMismatch => ResultType::CertificateHostMismatch,
        TlsFault::Expired => ResultType::CertificateExpired,
        // RFC 8460 §4.3.2.1
        TlsFault::TlsaUnusable => ResultType::TlsaInvalid,
        TlsFault::NoTlsa => ResultType::DaneRequired,
        // RFC 8460 §4.3.2.2
        TlsFault::PolicyUnfetched => ResultType::StsPolicyFetchError,
        TlsFault::PolicyInvalid => ResultType::StsPolicyInvalid,
        TlsFault::PolicyHostUntrusted => ResultType::StsWebpkiInvalid,
        // RFC 8460 §4.3.3: what fits no other name. The reason code has the words.
        TlsFault::NoCertificate | TlsFault::DaneMismatch => ResultType::ValidationFailure,
        other => match other.kind() {
            FaultKind::Certificate => ResultType::CertificateNotTrusted,
            FaultKind::Dns => ResultType::DnssecInvalid,
            FaultKind::Session | FaultKind::Policy | FaultKind::Ours => ResultType::ValidationFailure,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(TlsFault, Option<&str>); 34] = [
        (TlsFault::NotOffered, Some("starttls-not-supported")),
        (TlsFault::Refused, Some("starttls-not-supported")),
        (TlsFault::Stripped, Some("starttls-not-supported")),
        (TlsFault::Injected, Some("validation-failure")),
        (TlsFault::Stalled, Some("validation-failure")),
        (TlsFault::Broken, Some("validation-failure")),
        (TlsFault::NotTls, Some("validation-failure")),
        (TlsFault::NoCommonProtocol, Some("validation-failure")),
        (TlsFault::Handshake, Some("validation-failure")),
        (TlsFault::ClientCertificate, Some("validation-failure")),
        (TlsFault::NoCertificate, Some("validation-failure")),
        (TlsFault::HostMismatch, Some("certificate-host-mismatch")),
        (TlsFault::Expired, Some("certificate-expired")),
        (TlsFault::NotYetValid, Some("certificate-not-trusted")),
        (TlsFault::SelfSigned, Some("certificate-not-trusted")),
        (TlsFault::UnknownIssuer, Some("certificate-not-trusted")),
        (TlsFault::IncompleteChain, Some("certificate-not-trusted")),
        (TlsFault::WeakKey, Some("certificate-not-trusted")),
        (TlsFault::WeakSignature, Some("certificate-not-trusted")),
        (TlsFault::Revoked, Some("certificate-not-trusted")),
        (TlsFault::BadCertificate, Some("certificate-not-trusted")),
        (TlsFault::DaneMismatch, Some("validation-failure")),
        (TlsFault::PinMismatch, None),
        (TlsFault::NoTlsa, Some("dane-required")),
        (TlsFault::TlsaUnusable, Some("tlsa-invalid")),
        (TlsFault::Bogus, Some("dnssec-invalid")),
        (TlsFault::Unanswered, Some("dnssec-invalid")),
        (TlsFault::NotInPolicy, Some("validation-failure")),
        (TlsFault::PolicyUnfetched, Some("sts-policy-fetch-error")),
        (TlsFault::PolicyInvalid, Some("sts-policy-invalid")),
        (TlsFault::PolicyHostUntrusted, Some("sts-webpki-invalid")),
        (TlsFault::NoRequireTls, None),
        (TlsFault::InsecureName, None),
        (TlsFault::OurTrust, None),
    ];

    #[test]
    fn each_fault_has_the_name_that_the_rfc_gives_it() {
        for (fault, result) in NAMES {
            assert_eq!(result_of(fault).as_ref().map(ResultType::as_str), result, "{fault:?}");
        }
    }

    #[test]
    fn no_fault_is_forgotten_above() {
        assert_eq!(NAMES.map(|(fault, _)| fault).as_slice(), TlsFault::ALL);
    }
}
