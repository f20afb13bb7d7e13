//! Our own certificates: how they are asked for, and what the world is told about them.
//!
//! - [`dns_challenge`]: putting a proof for a certificate authority into the DNS (RFC 8555 §8.4).
//!
//! What it deliberately does not do: make keys or read containers (that is `postern_pki`), or choose which certificate a
//! client is shown.

pub mod dns_challenge;
