//! SASL exchanges (RFC 4422, RFC 4954), for both sides, without I/O.
//!
//! - [`ServerExchange`] turns a client's lines into one [`Credential`]; whether it is right is somebody else's
//!   question. It knows PLAIN, LOGIN and EXTERNAL.
//! - [`ClientExchange`] picks the best mechanism that a server offers and that can carry a [`Credential`], and says
//!   what to send. It knows every [`Mechanism`]; `scram` and `oauth` hold those that are more than a message or two.
//! - A [`Context`] is what one exchange needs besides the credential: fresh random octets, the TLS channel, and the
//!   administrator's choice. [`SignIn`] is the part of it that is known before there is a connection.
//!
//! Everything that could hold a password or a token is a [`Secret`]. What this deliberately does not do: decide whether
//! a mechanism may be used at all (never before TLS, and never to a peer that did not prove who it is: the sessions see
//! to that), fetch tokens, draw random numbers, or cancel (`*` is a matter of the session's lines).

mod client;
mod oauth;
mod prepare;
mod scram;
mod server;

use std::num::NonZeroU32;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

pub use client::{Broken, ClientExchange, Start, Unable};
pub use server::{ServerExchange, Step};

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
        /// Whose mailbox the token opens.
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
}

/// The hash function of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// RFC 5802, for old programs.
    Sha1,
    /// RFC 7677.
    Sha256,
}

/// What a server keeps of a user's passwords for SCRAM (RFC 5802 §3). All passwords of one user share the salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The salt: random, or for nobody made up such that it is always the same.
    pub salt: Vec<u8>,
    /// How often the hash is iterated.
    pub iterations: NonZeroU32,
    /// One for each password; none for a user who does not exist.
    pub keys: Vec<ScramKey>,
}

/// How often the hash is iterated for passwords that are set from now on. Work for an attacker who got hold of the keys, and
/// for every phone at each sign-in: some hundredths of a second for either.
pub const SCRAM_ITERATIONS: NonZeroU32 = NonZeroU32::new(32_768).unwrap();

/// What is kept of one password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScramKey {
    /// Tells a user's passwords apart; means nothing here.
    pub label: u64,
    /// `StoredKey`: verifies the client's proof.
    pub stored: Secret,
    /// `ServerKey`: proves to the client who we are.
    pub server: Secret,
}

/// A way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 7677 with channel binding: neither the password nor the exchange is of use to a third party.
    ScramSha256Plus,
    /// RFC 7677: each side proves that it knows the password, and neither says it.
    ScramSha256,
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
    pub const ALL: [Self; 7] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::Plain,
        Self::Login,
        Self::OauthBearer,
        Self::Xoauth2,
        Self::External,
    ];

    /// What the server announces wherever it lets people sign in, best first. EXTERNAL comes in addition where client
    /// certificates are asked for.
    pub const SERVED: [Self; 2] = [Self::Plain, Self::Login];

    /// The mechanism of this registered name, in any case (RFC 4422 §3.1).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
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
            Credential::Password { .. } => {
                &[Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login]
            }
            Credential::Token { .. } => &[Self::OauthBearer, Self::Xoauth2],
            Credential::External { .. } => &[Self::External],
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

/// The name of a TLS channel that both its ends know and nobody else can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding(Secret);

impl Binding {
    /// `tls-exporter` (RFC 9266 §2): 32 octets of keying material exported with the label `EXPORTER-Channel-Binding`
    /// and an empty context. With TLS 1.2 it is sound only together with the extended master secret (RFC 9266 §4.2).
    pub fn tls_exporter(exported: [u8; 32]) -> Self {
        Self(Secret::new(exported))
    }

    fn octets(&self) -> &[u8] {
        self.0.expose()
    }
}

/// Octets of randomness in a nonce: 144 bits.
const NONCE: usize = 18;

/// Octets of a line in an exchange, with its line end (RFC 4954 §4).
const MAX_LINE: usize = 12_288;

/// Strict base64 as RFC 4954 §4 wants it: the standard alphabet with padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new());

fn encode(bytes: &[u8]) -> Secret {
    Secret::new(BASE64.encode(bytes))
}
