//! What a session needs to know about TLS: the facts after a handshake, and what a destination demands.
//!
//! The types to know:
//! - [`TlsRequirement`]: what must be true before MAIL or AUTH is said. Requirements form a lattice: the
//!   [`join`](TlsRequirement::join) of two demands satisfies both, so that adding a demand can only strengthen.
//! - [`Demands`]: the single demands with their [`Source`]s, and their join.
//! - [`TlsFacts`] and [`PeerProof`]: what is true of a connection, and which [`Proof`]s its peer gave.
//! - [`TlsFault`] and [`TlsFailure`]: what kind of trouble it was, and in words.
//!
//! What it deliberately does not do: verify certificates, look up TLSA records or policies, or choose what to demand.

mod demands;
mod fault;
mod hello;
mod names;
mod offer;
mod requirement;

pub use demands::{Demand, Demands, Source};
pub use fault::{FaultKind, TlsFailure, TlsFault};
pub use names::{cipher_name, group_name, version_name};
pub use offer::{Alert, HandshakeFault, TlsOffer};
pub use requirement::{Level, Proof, Proofs, TlsRequirement};

use serde::{Deserialize, Serialize};

use crate::sasl::ChannelBindings;

/// What is true of an established TLS connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol version as people write it: `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// The cipher suite's IANA name, such as `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The key exchange group, when known, such as `X25519MLKEM768`.
    pub group: Option<String>,
    /// The server name the client asked for (SNI), when it did.
    pub server_name: Option<String>,
    /// How well the other side proved who it is.
    pub peer: PeerProof,
    /// The channel's names for SCRAM's -PLUS variants, those that are sound.
    pub channel_bindings: ChannelBindings,
}

/// How well the other side of a TLS connection proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerProof {
    /// The certificate that it showed; `None`: it showed none (the usual client of a server).
    pub certificate: Option<Box<CertificateSeen>>,
    /// The proofs that it gave.
    pub given: Proofs,
    /// What was wrong with those that it did not give, as far as they were looked for.
    pub missing: Vec<TlsFailure>,
}

/// A certificate that a peer showed, as far as people want to know it. Its texts come from the peer and are cleaned.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CertificateSeen {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's.
    pub issuer: String,
    /// The names that it is for (subjectAltName), the first few.
    pub names: Vec<String>,
    /// The beginning of its validity, as `2026-11-21T00:00:00Z`.
    pub not_before: String,
    /// The end of its validity.
    pub not_after: String,
    /// Its key: `RSA 2048`, `P-256`, `Ed25519`.
    pub key: String,
    /// How its issuer signed it: `sha256WithRSAEncryption`.
    pub signature: String,
    /// SHA-256 of the certificate in lower-case hexadecimal digits.
    pub sha256: String,
    /// SHA-256 of its public key (SubjectPublicKeyInfo): what is best pinned.
    pub spki_sha256: String,
    /// It is signed by its own key.
    pub self_signed: bool,
    /// How many certificates were shown in all.
    pub chain: usize,
}

impl PeerProof {
    /// It showed no certificate.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Its chain leads to a trusted root and the certificate bears the expected name.
    pub fn verified() -> Self {
        Self { given: Proof::Verified.into(), ..Self::default() }
    }

    /// It showed a certificate that did not verify.
    pub fn unverified(why: impl Into<String>) -> Self {
        let failure = TlsFailure::new(TlsFault::BadCertificate, why);
        Self { missing: vec![failure], ..Self::default() }
    }

    /// Whether it proved who it is in any way.
    pub fn is_authenticated(&self) -> bool {
        !self.given.is_empty()
    }

    /// Why it is not trusted: the first thing that was wrong.
    pub fn doubt(&self) -> Option<&TlsFailure> {
        self.missing.first()
    }
}

impl TlsFacts {
    /// Version, suite and key exchange in one line.
    pub fn protocol(&self) -> String {
        let group = self.group.as_ref().map(|group| format!(" {group}")).unwrap_or_default();
        format!("{} {}{group}", self.version, self.cipher)
    }
}
