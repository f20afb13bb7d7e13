//! Our own certificates, from the request to the renewal.
//!
//! - [`proposal`], [`request`]: what could be asked for, and asking for it.
//! - [`assign`]: binding an identity to listeners and connectors.
//! - [`acme`]: certificates that an ACME authority issues and renews by itself.
//! - [`deploy`]: handing identities on to other programs.
//! - [`dns_challenge`]: putting a proof for a certificate authority into the DNS (RFC 8555 §8.4). [`hook`]: programs of the
//!   administrator's.
//!
//! What it deliberately does not do: make keys or read containers (that is `postern_pki`), or choose which certificate a
//! client is shown.

pub(crate) mod acme;
pub mod assign;
pub mod deploy;
pub mod dns_challenge;
mod hook;
pub mod proposal;
pub mod request;

/// Why something with our certificates cannot be done. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Keys, certificates or the disk.
    #[error(transparent)]
    Pki(#[from] postern_pki::Error),
    /// A request of this name waits already.
    #[error(
        "a request for \"{identity}\" waits for its certificate already; install that, or replace the request: then its \
         certificate cannot be used any more"
    )]
    Waiting {
        /// The identity.
        identity: String,
    },
    /// No request of this name waits.
    #[error("no request for \"{identity}\" waits; see: postern cert list")]
    NoRequest {
        /// The identity.
        identity: String,
    },
    /// A program that should have taken an identity over did not.
    #[error("the identity \"{identity}\" is not handed on: {why}")]
    Hook {
        /// The identity.
        identity: String,
        /// What came of the program.
        why: String,
    },
    /// There is no such identity in the store.
    #[error("there is no identity \"{identity}\" in the certificate store; see: postern cert list")]
    NoSuch {
        /// The identity.
        identity: String,
    },
}
