//! What a session needs to know about TLS: the facts after a handshake, and what a destination demands.

use std::fmt;

use serde::{Deserialize, Serialize};

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
}

/// How well the other side of a TLS connection proved who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerProof {
    /// It showed no certificate (the usual client of a server).
    Anonymous,
    /// It showed a certificate that did not verify; the words say why.
    Unverified(String),
    /// Its chain leads to a trusted root and the certificate bears the expected name.
    Verified,
}

/// What must be true of a connection before MAIL or AUTH is said on it.
///
/// The variants are ordered by strength, so that the join of two demands is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsRequirement {
    /// TLS is not even tried.
    None,
    /// TLS where the peer offers it; a failed handshake is retried once in clear.
    #[default]
    Opportunistic,
    /// TLS with any certificate (RFC 3207).
    Required,
    /// TLS with a certificate that verifies for the expected name.
    Verified,
}

impl TlsRequirement {
    /// The weakest requirement that satisfies both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.max(other)
    }

    /// Whether a connection with these facts (`None`: in clear) satisfies the requirement.
    pub fn is_satisfied_by(self, facts: Option<&TlsFacts>) -> bool {
        match self {
            Self::None | Self::Opportunistic => true,
            Self::Required => facts.is_some(),
            Self::Verified => facts.is_some_and(|facts| facts.peer == PeerProof::Verified),
        }
    }

    /// Whether mail may ever go in clear under this requirement.
    pub fn allows_clear(self) -> bool {
        self.is_satisfied_by(None)
    }
}

impl fmt::Display for TlsRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Opportunistic => "opportunistic",
            Self::Required => "required",
            Self::Verified => "verified",
        })
    }
}
