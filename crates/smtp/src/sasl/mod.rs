//! SASL exchanges (RFC 4422, RFC 4954), for both sides, without I/O.
//!
//! - [`ServerExchange`] turns a client's lines into [`Claim`]s, each a [`Step`]; whether one is right is somebody else's
//!   question. Only SCRAM proves something here, with the [`ScramKeys`] that are the answer to its first claim.
//! - [`ClientExchange`] picks the best mechanism that a server offers and that can carry a [`Credential`], and says
//!   what to send.
//! - Both know every [`Mechanism`]; `scram` and `oauth` hold those that are more than a message or two.
//! - A [`Context`] is what a client's exchange needs besides the credential: fresh random octets, the TLS channel, and the
//!   administrator's choice. [`SignIn`] is the part of it that is known before there is a connection. A server's needs a
//!   [`ServerContext`], whose nonce comes from [`Nonces`].
//!
//! Everything that could hold a password or a token is a [`Secret`]. What this deliberately does not do: decide whether
//! a mechanism may be used at all (never before TLS, and never to a peer that did not prove who it is: the sessions see
//! to that), fetch tokens, draw random numbers, or cancel (`*` is a matter of the session's lines).

mod channel;
mod client;
mod nonces;
mod oauth;
mod prepare;
mod scram;
mod server;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

pub use channel::{Binding, ChannelBindings};
pub use client::{Broken, ClientExchange, Start, Unable};
pub use nonces::Nonces;
pub use scram::keys::{SCRAM_ITERATIONS, ScramHash, ScramKey, ScramKeys};
pub use server::{BoundVariant, ServerContext, ServerExchange, Step};

use thiserror::Error;

use crate::secret::Secret;

/// The credential that a complete exchange yields, or that a client signs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password: SCRAM-SHA-256, PLAIN (RFC 4616) or LOGIN.
    Password {
        /// The authentication identity.
        user: String,
        /// The password.
        password: Secret,
        /// The authorisation identity, when one was given and differs from `user`.
        acting_as: Option<String>,
    },
    /// A name and an OAuth access token: OAUTHBEARER or XOAUTH2.
    Token {
        /// Whose mailbox the token opens; empty when a client leaves that to the token (RFC 7628 §3.1).
        user: String,
        /// The access token, as its issuer wrote it.
        token: Secret,
        /// The server's name and port, which OAUTHBEARER repeats to the server when they are given.
        endpoint: Option<(String, u16)>,
    },
    /// Who the other side is was proved outside of SASL, by its TLS certificate: EXTERNAL (RFC 4422 Appendix A).
    External {
        /// The authorisation identity, when one is wanted other than the one that the certificate stands for.
        acting_as: Option<String>,
    },
}

/// What a client that signs in has come to, where a server's policy is asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Claim {
    /// A complete credential. Is it right, and whose is it?
    Credential(Credential),
    /// SCRAM began. What is kept of this user's password? To be answered for users who do not exist, too.
    Keys {
        /// With which hash.
        hash: ScramHash,
        /// The authentication identity.
        user: String,
    },
    /// SCRAM ended. Who is it, if the proof is right?
    Scram {
        /// The authentication identity.
        user: String,
        /// The authorisation identity, when one was given and differs from `user`.
        acting_as: Option<String>,
        /// What the exchange showed.
        proof: ScramProof,
    },
}

/// What a SCRAM exchange showed of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramProof {
    /// It knows the password that the key with this label was made of.
    Right {
        /// The [`ScramKey::label`].
        label: u64,
    },
    /// It knows none of the passwords.
    Wrong,
    /// What it knows was not looked at: it counts for nothing on this channel or in this exchange.
    Void(ScramFault),
}

/// Why a proof counts for nothing. A client that is in order never causes one; somebody between it and us may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ScramFault {
    /// The nonce is not that of this exchange.
    #[error("its nonce is not that of this exchange")]
    Nonce,
    /// The client names another TLS channel than ours.
    #[error("it is at the end of another TLS channel than this one: somebody may be between")]
    OtherChannel,
    /// The client names the channel in a way that is not known here.
    #[error("it names the TLS channel in a way that is not known here")]
    UnknownChannel,
    /// The client believes that we cannot name the channel, and we told it that we can.
    #[error(
        "it was made to believe that there is no channel binding here: somebody may have changed our offer"
    )]
    Downgraded,
    /// A -PLUS mechanism without channel binding, or the other way round.
    #[error("its channel binding does not go with its mechanism")]
    Mismatch,
}

/// A way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 7677 with channel binding: neither the password nor the exchange is of use to a third party.
    ScramSha256Plus,
    /// RFC 7677: each side proves that it knows the password, and neither says it.
    ScramSha256,
    /// RFC 5802 with channel binding, for programs that know no better hash.
    ScramSha1Plus,
    /// RFC 5802, for programs that know no better hash.
    ScramSha1,
    /// RFC 4616: everything in one message.
    Plain,
    /// The name, then the password; never standardised, and all that some devices know.
    Login,
    /// RFC 7628: an OAuth token.
    OauthBearer,
    /// An OAuth token in the way of Google and Microsoft, from before RFC 7628.
    Xoauth2,
    /// RFC 4422 Appendix A: the TLS certificate already said it.
    External,
}

impl Mechanism {
    /// All that Postern knows; among those for the same kind of credential, best first.
    pub const ALL: [Self; 9] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::OauthBearer,
        Self::Xoauth2,
        Self::Plain,
        Self::Login,
        Self::External,
    ];

    /// The mechanism of this registered name, in any case (RFC 4422 §3.1).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
            Self::External => "EXTERNAL",
        }
    }

    /// Those that can carry this kind of credential, best first.
    pub const fn carrying(credential: &Credential) -> &'static [Self] {
        match credential {
            Credential::Password { .. } => &[
                Self::ScramSha256Plus,
                Self::ScramSha256,
                Self::ScramSha1Plus,
                Self::ScramSha1,
                Self::Plain,
                Self::Login,
            ],
            Credential::Token { .. } => &[Self::OauthBearer, Self::Xoauth2],
            Credential::External { .. } => &[Self::External],
        }
    }

    /// The hash function, when it is a SCRAM mechanism.
    pub const fn scram(self) -> Option<ScramHash> {
        match self {
            Self::ScramSha256Plus | Self::ScramSha256 => Some(ScramHash::Sha256),
            Self::ScramSha1Plus | Self::ScramSha1 => Some(ScramHash::Sha1),
            _ => None,
        }
    }

    /// Whether it needs the name of the TLS channel.
    pub const fn binds(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The same with channel binding, when there is such a mechanism besides this one.
    pub const fn bound_variant(self) -> Option<Self> {
        match self {
            Self::ScramSha256 => Some(Self::ScramSha256Plus),
            Self::ScramSha1 => Some(Self::ScramSha1Plus),
            _ => None,
        }
    }
}

/// What a client signs in with on one connection, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The credential.
    pub credential: Credential,
    /// Fresh random octets for SCRAM, never used for another connection.
    pub nonce: [u8; NONCE],
    /// The mechanism that the administrator fixed; `None`: the best that the server offers.
    pub only: Option<Mechanism>,
}

/// What a client's exchange needs to know besides the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Fresh random octets for SCRAM, never used for another exchange.
    pub nonce: [u8; NONCE],
    /// The channel that the exchange goes over, when TLS can name it.
    pub channel_binding: Option<Binding>,
    /// The mechanism that the administrator fixed; `None`: the best that the server offers.
    pub only: Option<Mechanism>,
}

/// Octets of randomness in a nonce: 144 bits.
const NONCE: usize = 18;

/// Octets of a name (RFC 4616 §2 counts characters).
const MAX_NAME: usize = 255;

/// Octets of a line in an exchange, with its line end (RFC 4954 §4).
const MAX_LINE: usize = 12_288;

/// Strict base64 as RFC 4954 §4 wants it: the standard alphabet with padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new());

fn encode(bytes: &[u8]) -> Secret {
    Secret::new(BASE64.encode(bytes))
}
