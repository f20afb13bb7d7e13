//! Our own certificates, from the request to the renewal.
//!
//! - [`proposal`], [`request`]: what could be asked for, and asking for it.
//! - [`install`]: what came back from an authority becomes an identity.
//! - [`listing`]: what lies on disk and what is being served.
//! - [`assign`]: binding an identity to listeners and connectors.
//! - [`acme`]: certificates that an ACME authority issues and renews by itself.
//! - [`deploy`]: handing identities on to other programs.
//! - `renewal`: who renews an identity.
//! - `watch`: which certificate is in service, beside what lies on disk. `private_ca`: those that the private CA issues.
//! - [`expiry`], [`warn`]: who hears when one comes to its end.
//! - [`dns_challenge`]: putting a proof for a certificate authority into the DNS (RFC 8555 §8.4). [`hook`]: programs of the
//!   administrator's.
//! - [`published`]: whether a new certificate keeps to our own TLSA records and MTA-STS policies.
//!
//! What it deliberately does not do: make keys or read containers (that is `postern_pki`), or choose which certificate a
//! client is shown.

pub(crate) mod acme;
pub mod assign;
pub mod deploy;
pub mod dns_challenge;
pub mod expiry;
mod hook;
pub mod install;
pub mod listing;
pub(crate) mod private_ca;
pub mod proposal;
pub mod published;
pub(crate) mod renewal;
pub mod request;
pub mod warn;
pub(crate) mod watch;

pub use watch::Served;

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
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] postern_pki::BundleError),
    /// The certificates make no chain.
    #[error(transparent)]
    Chain(#[from] postern_pki::ChainError),
    /// The key that was brought is another certificate's.
    #[error(
        "the private key that you brought does not belong to the certificate ({certificates}); bring the one that its \
         request was made with, or leave the key out if that was made here"
    )]
    OtherKey {
        /// Whose certificates they are.
        certificates: String,
    },
    /// Nobody has the key.
    #[error(
        "there is no private key for this certificate ({certificates}): it answers another request, or one that was \
         thrown away; {}", waiting_words(.waiting)
    )]
    NoKey {
        /// Whose certificates they are.
        certificates: String,
        /// The requests that wait here.
        waiting: Vec<String>,
    },
    /// The identity's files are somebody else's.
    #[error(
        "the identity \"{identity}\" is read from {path}, which somebody else writes and renews; install under another name, \
         or remove certificate and key from its [[tls.identity]] first: then it is kept in the certificate store"
    )]
    Foreign {
        /// The identity.
        identity: String,
        /// Its certificate's file.
        path: std::path::PathBuf,
    },
    /// Something speaks against the certificate.
    #[error("the certificate for \"{identity}\" is not installed:\n{}", findings_words(.findings))]
    Refused {
        /// The identity.
        identity: String,
        /// What was found.
        findings: Vec<postern_pki::Finding>,
    },
    /// The configuration has no such authority.
    #[error("the configuration has no [[acme]] named \"{name}\"; it has: {}", none_or_list(.known))]
    NoAcme {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Something needs it.
    #[error("the identity \"{identity}\" is in use by {}; take it out there first", .by.join(", "))]
    Bound {
        /// The identity.
        identity: String,
        /// What is bound to it.
        by: Vec<String>,
    },
    /// Listeners show it for names that no other identity bears.
    #[error(
        "the certificate \"{identity}\" is in use: {}; install another one for that first, or insist: postern cert remove \
         {identity} --force", shown_words(.by)
    )]
    Shown {
        /// The identity.
        identity: String,
        /// The listeners, each with the names.
        by: Vec<(String, Vec<String>)>,
    },
    /// No request of this name waits.
    #[error("no request for \"{identity}\" waits; see: postern cert requests")]
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
    /// The private CA's own certificate for the host name, which is no identity of the store.
    #[error(
        "\"{identity}\" is what Postern shows where no other certificate bears the host name: it makes and renews it by itself, \
         and there is nothing to do about it; for a certificate of the private CA that you keep yourself: \
         `postern cert request --send private-ca`"
    )]
    Automatic {
        /// Its name.
        identity: String,
    },
    /// There is no such identity in the store.
    #[error("there is no identity \"{identity}\" in the certificate store; see: postern cert list")]
    NoSuch {
        /// The identity.
        identity: String,
    },
}

fn waiting_words(waiting: &[String]) -> String {
    if waiting.is_empty() {
        return "no request waits here; bring the key as well, or make a new request: postern cert request"
            .to_owned();
    }
    format!("requests wait here for: {}; or bring the key as well", waiting.join(", "))
}

fn shown_words(by: &[(String, Vec<String>)]) -> String {
    let words = |(listener, names): &(String, Vec<String>)| {
        format!("listener {listener} shows it for {}", names.join(", "))
    };
    by.iter().map(words).collect::<Vec<_>>().join("; ")
}

fn findings_words(findings: &[postern_pki::Finding]) -> String {
    findings.iter().map(|finding| format!("  {finding}")).collect::<Vec<_>>().join("\n")
}

fn none_or_list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
