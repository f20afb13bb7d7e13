//! Keys, certificates and TLS for both sides of Postern.
//!
//! The types to know:
//! - [`TlsIdentity`]: a key and its certificate chain, as a listener presents them. It comes from files that an
//!   administrator names, from the [`IdentityStore`], or from the [`PrivateCa`] that stands in where there is none.
//! - [`ServerOptions`] and [`server_config`]: what a listener needs, with the certificate chosen by SNI.
//! - [`Challenges`]: what an ACME authority that validates a name is shown instead (TLS-ALPN-01).
//! - [`ClientTls`], [`PeerPolicy`] and [`Handshake`]: outgoing connections. Every handshake has a verdict of its own, so
//!   that opportunistic connections know *why* the peer's certificate would not have been trusted.
//! - [`ClientCertificates`] and [`ClientIdentity`]: whether clients are asked for certificates, and who they are by them.
//! - [`facts_of_server`] and [`Handshake::facts`]: what is true of an established connection.
//! - [`describe`]: handshake failures in plain words.
//! - [`PrivateKey`], [`SigningRequest`] and [`IdentityStore`]: keys, requests, and where identities lie.
//! - [`ca::Authority`]: the private CA for an organisation's servers, people and devices; [`trust`]: how programs come to
//!   trust its root. [`acme`]: asking other authorities (RFC 8555).
//! - [`Bundle`], [`Chain`], [`examine()`] and [`pkcs12`]: files that people bring, what belongs together in them, whether it
//!   is any good, and files for other programs.
//!
//! What it deliberately does not do: read a clock (`now` is an argument; only how long an ACME authority is waited for is
//! measured here), read configuration, open sockets, or keep static state; the crypto provider is passed along and the
//! process-wide default is never consulted.

pub mod acme;
mod borne;
mod bundle;
pub mod ca;
mod certificate;
mod chain;
mod challenges;
mod checks;
mod client;
mod clients;
mod dane;
mod describe;
mod error;
mod examine;
mod facts;
mod failure;
mod files;
mod identity;
mod judge;
mod key;
mod mac;
mod pin;
pub mod pkcs12;
mod policy;
mod renewal;
mod request;
mod secret;
mod server;
mod shown;
mod signature;
mod store;
pub mod trust;

pub use borne::BorneNames;
pub use bundle::{Bundle, BundleError, BundleTrouble, Item, LARGEST_FILE, Locked};
pub use ca::{Issue, PrivateCa, ServerIdentity};
pub use certificate::describe_certificate;
pub use chain::{Chain, ChainError, MissingIssuer, Purpose};
pub use challenges::{ACME_TLS, Challenges};
pub use checks::{Aspect, Check};
pub use client::{ClientTls, Handshake, TrustAnchors, server_name};
pub use clients::{ClientCa, ClientCertificates, ClientIdentity, ClientList, client_identity};
pub use dane::{fits_tlsa, tlsa_of_key};
pub use describe::{describe, describe_client, handshake_fault, too_old};
pub use error::Error;
pub use examine::{Examination, Expectations, Finding, Severity, examine};
pub use facts::facts_of_server;
pub use identity::{ChainLink, Loaded, Standing, TlsIdentity, Warning};
pub use key::{KeyKind, PrivateKey};
pub use mac::{ProcessKey, Tag};
pub use pin::{Pin, PinError};
pub use policy::{ClientHello, PeerPolicy};
pub use renewal::renewal_moment;
pub use request::{BadName, Name, RequestDetails, RequestError, SigningRequest, Subject, Wishes};
pub use secret::Passphrase;
pub use server::{MinimumVersion, ServerOptions, Tickets, server_config};
pub use shown::{Shown, noted};
pub use store::{
    About, IdentityPaths, IdentityStore, Origin, Pending, PendingNote, SentTo, Stored, chain_pem, check_name,
};

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography that Postern uses everywhere: aws-lc-rs, hybrid post-quantum key exchange first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
