//! SASL exchanges (RFC 4422, RFC 4954): PLAIN and LOGIN.

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
