//! What is demanded of a peer on one connection, and what it is judged by.
//!
//! The types to know: [`PeerPolicy`], the requirement together with the names, TLSA records and pins that can meet it; and
//! [`ClientHello`], how large our first message may be. It is plain data: whoever plans a connection fills it in, and
//! the judge of this crate holds the peer's chain against it in the handshake.
//!
//! What it deliberately does not do: look anything up, choose among TLSA records, or check that the names and records
//! come from a secure lookup. Whoever fills it in answers for that.

use std::sync::Arc;

use postern_dns::tlsa::Tlsa;
use postern_smtp::tls::TlsRequirement;

use crate::{Pin, TlsIdentity};

/// What is demanded of a peer's certificate on one connection, and what it is judged by. The default is opportunistic:
/// nothing is demanded, and whether the certificate verifies is recorded.
#[derive(Debug, Clone)]
pub struct PeerPolicy {
    /// What must be proved. Anything less fails the handshake.
    pub requirement: TlsRequirement,
    /// Names that the certificate may bear instead of the name of the host that is connected to, under DANE alone: the
    /// next-hop domain, and the name that the host is an alias of (RFC 7672 §3.2.2). A certificate for one of them proves
    /// as much as one for the host, so an alias from an insecure lookup must never be among them.
    pub names: Vec<String>,
    /// The name that `verified` is about, where it is not the one that is asked for in the handshake.
    pub verify_as: Option<String>,
    /// The usable TLSA records of the host, after [`strongest`](postern_dns::tlsa::strongest); empty: DANE is not looked
    /// at. They must have come with DNSSEC (RFC 7672 §2.2).
    pub tlsa: Vec<Tlsa>,
    /// The peer's own certificate or its key must match one; empty: not looked at.
    pub pins: Vec<Pin>,
    /// Never accept these, whatever else holds, wherever in the chain they stand.
    pub distrust: Vec<Pin>,
    /// How large our first message may be.
    pub hello: ClientHello,
    /// What we show when the peer asks who we are.
    pub identity: Option<Arc<TlsIdentity>>,
}

/// How large the first message of a handshake is. Some peers and middleboxes break on one that needs two segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientHello {
    /// With a key share for post-quantum key exchange: about 1,500 octets.
    #[default]
    Full,
    /// Without post-quantum key exchange: below 512 octets with host names of the usual length.
    Small,
}

impl PeerPolicy {
    /// This requirement, and the trusted roots alone to judge by.
    pub fn of(requirement: TlsRequirement) -> Self {
        Self { requirement, ..Self::default() }
    }
}

impl Default for PeerPolicy {
    fn default() -> Self {
        Self {
            requirement: TlsRequirement::OPPORTUNISTIC,
            names: Vec::new(),
            verify_as: None,
            tlsa: Vec::new(),
            pins: Vec::new(),
            distrust: Vec::new(),
            hello: ClientHello::Full,
            identity: None,
        }
    }
}
