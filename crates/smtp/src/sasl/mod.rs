//! SASL exchanges (RFC 4422, RFC 4954): PLAIN and LOGIN, for both sides, without I/O.
//!
//! - [`ServerExchange`] turns a client's lines into one [`Credential`]; whether it is right is somebody else's
//!   question.
//! - [`ClientExchange`] picks the best mechanism that a server offers and says what to send.
//!
//! Everything that could hold a password is a [`Secret`]. What this deliberately does not do: decide whether a
//! mechanism may be used at all (never before TLS: the sessions see to that), cancel (`*`, which is a matter of the
//! session's lines) and prepare strings (RFC 4013), which the directory does for its own comparison.

mod client;
mod server;

use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

pub use client::{ClientExchange, Start};
pub use server::{ServerExchange, Step};

use crate::secret::Secret;

/// The credential that a complete exchange yields, or that a client signs in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// PLAIN (RFC 4616) or LOGIN: a name and a password.
    Password {
        /// The authentication identity.
        user: String,
        /// The password.
        password: Secret,
        /// The authorisation identity, when one was given and differs from `user`.
        acting_as: Option<String>,
    },
}

/// A way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616: everything in one message.
    Plain,
    /// The name, then the password; never standardised, and all that some devices know.
    Login,
}

impl Mechanism {
    /// All that Postern knows, best first: the order in which they are announced and tried.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Login];

    /// The mechanism of this registered name, in any case (RFC 4422 §3.1).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

/// Strict base64 as RFC 4954 §4 wants it: the standard alphabet with padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new());
