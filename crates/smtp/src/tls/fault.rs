//! What kinds of TLS trouble there are.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CertificateSeen;

/// A trouble with TLS: what kind, in words, and the certificate in question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFailure {
    /// What kind.
    pub fault: TlsFault,
    /// In plain words, cleaned.
    pub why: String,
    /// The certificate that was shown, when it came so far.
    pub certificate: Option<Box<CertificateSeen>>,
}

/// What kind of TLS trouble it is. Each has its own remedy, and its own line in TLS reports (RFC 8460 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TlsFault {
    /// The peer does not announce STARTTLS.
    NotOffered,
    /// The peer announces STARTTLS and refuses it.
    Refused,
    /// Something on the way hides STARTTLS or garbles commands.
    Stripped,
    /// Bytes came between the consent to STARTTLS and the handshake (RFC 3207 §6).
    Injected,
    /// The handshake came to no end in its time.
    Stalled,
    /// The connection ended in the handshake.
    Broken,
    /// What came is not TLS.
    NotTls,
    /// No protocol version, suite or group in common; TLS 1.0 only, for one.
    NoCommonProtocol,
    /// The handshake failed in another way.
    Handshake,
    /// The peer wants a client certificate, or another one.
    ClientCertificate,
    /// The peer showed no certificate.
    NoCertificate,
    /// The certificate is for other names.
    HostMismatch,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is signed by itself.
    SelfSigned,
    /// No trusted authority signed it, as far as the chain that was shown tells.
    UnknownIssuer,
    /// The issuer's certificate is missing from the chain.
    IncompleteChain,
    /// The key is too short to protect anything: RSA below 2048 bits.
    WeakKey,
    /// It is signed with a broken digest: SHA-1 or MD5.
    WeakSignature,
    /// Its authority, or the administrator, revoked it.
    Revoked,
    /// The certificate is unusable in another way.
    BadCertificate,
    /// No TLSA record matches it.
    DaneMismatch,
    /// None of the pins matches it.
    PinMismatch,
    /// DANE is demanded and the host has no TLSA records, or they are not signed.
    NoTlsa,
    /// The TLSA records cannot be used.
    TlsaUnusable,
    /// DNSSEC says that the answer was forged or spoilt (bogus).
    Bogus,
    /// DNS does not answer what the security of the host depends on.
    Unanswered,
    /// The host is not in the domain's MTA-STS policy.
    NotInPolicy,
    /// The domain's MTA-STS policy could not be fetched.
    PolicyUnfetched,
    /// The domain's MTA-STS policy, or its record, is broken.
    PolicyInvalid,
    /// The host that has the domain's MTA-STS policy does not prove who it is.
    PolicyHostUntrusted,
    /// The peer does not offer REQUIRETLS.
    NoRequireTls,
    /// The host's name comes from an insecure lookup, so that a certificate for it proves nothing (RFC 8689 §4.2.1).
    InsecureName,
    /// This machine trusts no authority at all, or ours cannot be loaded.
    OurTrust,
}

impl TlsFailure {
    /// Without a certificate.
    pub fn new(fault: TlsFault, why: impl Into<String>) -> Self {
        Self { fault, why: why.into(), certificate: None }
    }

    /// About this certificate.
    #[must_use]
    pub fn about(mut self, certificate: Option<Box<CertificateSeen>>) -> Self {
        self.certificate = certificate;
        self
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
