//! What can go wrong with TLS: one name for each trouble that has a remedy of its own.
//!
//! The types to know: [`TlsFault`], the name, which whoever finds the trouble gives to it; [`FaultKind`], in which part of
//! the protection it lies; and [`TlsFailure`], the fault in words, with the certificate that was shown. Tables
//! elsewhere say what a fault means to an administrator, to a sender and in TLS reports; they are tested against
//! [`TlsFault::ALL`], so that a new fault gets its row everywhere.
//!
//! What it deliberately does not do: decide whether a fault stops mail (the requirement does), or advise.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CertificateSeen;
use crate::text::clean;

/// Octets of what a device on the way left of the peer's words.
const SIGN_MOST: usize = 200;

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

/// In which part of the protection a fault lies: what about a peer, or about us, is not as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// STARTTLS, the handshake, or what the server offers behind it.
    Session,
    /// What the server shows as its proof.
    Certificate,
    /// What DNS says of the host: TLSA records, DNSSEC, and where its name comes from.
    Dns,
    /// The domain's MTA-STS policy.
    Policy,
    /// What is set up here: an administrator of this machine mends it.
    Ours,
}

/// Makes [`TlsFault`] of one row for each fault, so that neither the list of all nor their kinds can miss one.
macro_rules! tls_faults {
    ($($(#[$doc:meta])+ $fault:ident: $kind:ident,)+) => {
        /// What kind of TLS trouble it is. Each has its own remedy, and its own line in TLS reports (RFC 8460 §4.3).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum TlsFault {
            $($(#[$doc])+ $fault,)+
        }

        impl TlsFault {
            /// All that there are, in the order of a session.
            pub const ALL: &[Self] = &[$(Self::$fault,)+];

            /// In which part of the protection it lies.
            pub fn kind(self) -> FaultKind {
                match self {
                    $(Self::$fault => FaultKind::$kind,)+
                }
            }
        }
    };
}

tls_faults! {
    /// The peer does not announce STARTTLS.
    NotOffered: Session,
    /// The peer announces STARTTLS and refuses it.
    Refused: Session,
    /// Something on the way hides STARTTLS or garbles commands.
    Stripped: Session,
    /// Bytes came between the consent to STARTTLS and the handshake (RFC 3207 §6).
    Injected: Session,
    /// The handshake came to no end in its time.
    Stalled: Session,
    /// The connection ended in the handshake.
    Broken: Session,
    /// What came is not TLS.
    NotTls: Session,
    /// No protocol version, suite or group in common; TLS 1.0 only, for one.
    NoCommonProtocol: Session,
    /// The handshake failed in another way.
    Handshake: Session,
    /// The peer wants a client certificate, or another one.
    ClientCertificate: Ours,
    /// The peer showed no certificate.
    NoCertificate: Certificate,
    /// The certificate is for other names.
    HostMismatch: Certificate,
    /// The certificate has expired.
    Expired: Certificate,
    /// The certificate is not valid yet.
    NotYetValid: Certificate,
    /// The certificate is signed by itself.
    SelfSigned: Certificate,
    /// No trusted authority signed it, as far as the chain that was shown tells.
    UnknownIssuer: Certificate,
    /// The issuer's certificate is missing from the chain.
    IncompleteChain: Certificate,
    /// The key is too short to protect anything: RSA below 2048 bits.
    WeakKey: Certificate,
    /// It is signed with a broken digest: SHA-1 or MD5.
    WeakSignature: Certificate,
    /// Its authority, or the administrator, revoked it.
    Revoked: Certificate,
    /// The certificate is unusable in another way.
    BadCertificate: Certificate,
    /// No TLSA record matches it.
    DaneMismatch: Certificate,
    /// None of the pins matches it.
    PinMismatch: Certificate,
    /// DANE is demanded and the host has no TLSA records, or they are not signed.
    NoTlsa: Dns,
    /// The TLSA records cannot be used.
    TlsaUnusable: Dns,
    /// DNSSEC says that the answer was forged or spoilt (bogus).
    Bogus: Dns,
    /// DNS does not answer what the security of the host depends on.
    Unanswered: Dns,
    /// The host is not in the domain's MTA-STS policy.
    NotInPolicy: Policy,
    /// The domain's MTA-STS policy could not be fetched.
    PolicyUnfetched: Policy,
    /// The domain's MTA-STS policy, or its record, is broken.
    PolicyInvalid: Policy,
    /// The host that has the domain's MTA-STS policy does not prove who it is.
    PolicyHostUntrusted: Policy,
    /// The peer does not offer REQUIRETLS.
    NoRequireTls: Session,
    /// The host's name comes from an insecure lookup, so that a certificate for it proves nothing (RFC 8689 §4.2.1).
    InsecureName: Dns,
    /// This machine trusts no authority at all, or ours cannot be loaded.
    OurTrust: Ours,
}

impl TlsFailure {
    /// Without a certificate.
    pub fn new(fault: TlsFault, why: impl Into<String>) -> Self {
        Self { fault, why: why.into(), certificate: None }
    }

    /// STARTTLS was announced and refused.
    pub fn refused() -> Self {
        Self::new(TlsFault::Refused, "it refused STARTTLS")
    }

    /// STARTTLS is not announced.
    pub fn not_offered() -> Self {
        Self::new(TlsFault::NotOffered, "it does not offer STARTTLS")
    }

    /// STARTTLS is hidden by a device on the way, which left this sign.
    pub fn stripped(sign: &str) -> Self {
        Self::new(TlsFault::Stripped, clean(format!("STARTTLS is hidden on the way: {sign}"), SIGN_MOST))
    }

    /// What came behind the consent to STARTTLS was written by somebody who could not have written it after the handshake
    /// (RFC 3207 §6).
    pub fn injected() -> Self {
        Self::new(TlsFault::Injected, "bytes came between its consent to STARTTLS and the handshake")
    }

    /// The handshake came to no end in its time.
    pub fn stalled() -> Self {
        Self::new(TlsFault::Stalled, "the handshake stalled")
    }

    /// A pin is demanded, and nobody has one: where two lists of pins must hold, for one, and they have none in common.
    pub fn without_pins() -> Self {
        Self::new(TlsFault::PinMismatch, "there is no pin to check the certificate against")
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
