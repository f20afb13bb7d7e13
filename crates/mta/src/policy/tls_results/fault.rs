//! The names that TLS reports have for what goes wrong (RFC 8460 §4.3).

use postern_message::tls_report::ResultType;
use postern_smtp::tls::TlsFault;

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
        TlsFault::NotYetValid
        | TlsFault::SelfSigned
        | TlsFault::UnknownIssuer
        | TlsFault::IncompleteChain
        | TlsFault::WeakKey
        | TlsFault::WeakSignature
        | TlsFault::Revoked
        | TlsFault::BadCertificate => ResultType::CertificateNotTrusted,
        // RFC 8460 §4.3.2.1
        TlsFault::TlsaUnusable => ResultType::TlsaInvalid,
        TlsFault::Bogus | TlsFault::Unanswered => ResultType::DnssecInvalid,
        TlsFault::NoTlsa => ResultType::DaneRequired,
        // RFC 8460 §4.3.2.2
        TlsFault::PolicyUnfetched => ResultType::StsPolicyFetchError,
        TlsFault::PolicyInvalid => ResultType::StsPolicyInvalid,
        TlsFault::PolicyHostUntrusted => ResultType::StsWebpkiInvalid,
        // RFC 8460 §4.3.3: what fits nothing above. The reason code has the words.
        _ => ResultType::ValidationFailure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [(&str, Option<&str>); 33] = [
        ("not-offered", Some("starttls-not-supported")),
        ("refused", Some("starttls-not-supported")),
        ("stripped", Some("starttls-not-supported")),
        ("injected", Some("validation-failure")),
        ("stalled", Some("validation-failure")),
        ("broken", Some("validation-failure")),
        ("not-tls", Some("validation-failure")),
        ("no-common-protocol", Some("validation-failure")),
        ("handshake", Some("validation-failure")),
        ("client-certificate", Some("validation-failure")),
        ("no-certificate", Some("validation-failure")),
        ("host-mismatch", Some("certificate-host-mismatch")),
        ("expired", Some("certificate-expired")),
        ("not-yet-valid", Some("certificate-not-trusted")),
        ("self-signed", Some("certificate-not-trusted")),
        ("unknown-issuer", Some("certificate-not-trusted")),
        ("incomplete-chain", Some("certificate-not-trusted")),
        ("weak-key", Some("certificate-not-trusted")),
        ("weak-signature", Some("certificate-not-trusted")),
        ("revoked", Some("certificate-not-trusted")),
        ("bad-certificate", Some("certificate-not-trusted")),
        ("dane-mismatch", Some("validation-failure")),
        ("pin-mismatch", None),
        ("no-tlsa", Some("dane-required")),
        ("tlsa-unusable", Some("tlsa-invalid")),
        ("bogus", Some("dnssec-invalid")),
        ("unanswered", Some("dnssec-invalid")),
        ("not-in-policy", Some("validation-failure")),
        ("policy-unfetched", Some("sts-policy-fetch-error")),
        ("policy-invalid", Some("sts-policy-invalid")),
        ("policy-host-untrusted", Some("sts-webpki-invalid")),
        ("no-require-tls", None),
        ("insecure-name", None),
    ];
    const OURS: &str = "our-trust";

    fn fault(name: &str) -> TlsFault {
        serde_json::from_value(name.into()).unwrap()
    }

    #[test]
    fn each_fault_has_the_name_that_the_rfc_gives_it() {
        for (name, result) in NAMES {
            assert_eq!(result_of(fault(name)).as_ref().map(ResultType::as_str), result, "{name}");
        }
        assert_eq!(result_of(fault(OURS)), None);
    }

    /// The error of a name that there is none of lists all that there are.
    #[test]
    fn no_fault_is_forgotten_above() {
        let error = serde_json::from_value::<TlsFault>("?".into()).unwrap_err().to_string();
        let all: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).chain([OURS]).collect();
        assert_eq!(all, known);
    }
}
