//! Who checks signatures, and whether that was seen to work.
//!
//! The types to know: [`Validation`], what was seen, with a sentence that says what to do about it; and [`Validator`], who
//! checks. Only one of its states allows secure answers ([`Validation::works`]); the others differ in whether mail goes
//! without DANE or waits, and in who can mend it.
//!
//! What it deliberately does not do: try anything out (`signed` does), or say how far one answer is vouched for: that is
//! [`Dnssec`](crate::Dnssec).

use std::fmt;
use std::net::SocketAddr;

/// Whether answers are validated: what an operator must know, because without it there is no DANE (RFC 7672 §2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Validation {
    /// Nobody is to check. Every answer is [`Indeterminate`](crate::Dnssec::Indeterminate).
    Off,
    /// Seen to work: a signed zone's answer came as secure. Carries who checks.
    Works(Validator),
    /// The configured servers include one that is not on this machine, so that anybody on the way could set the bit
    /// that says "validated" (RFC 7672 §2.1.1). Every answer is indeterminate.
    Remote(SocketAddr),
    /// A configured resolver answers, and does not validate. Every answer is indeterminate, those of the others included.
    /// Carries what was seen.
    Missing(String),
    /// In-process validation fails for the anchor's own zone. Lookups fail as bogus. Carries what the validator said.
    Broken(String),
    /// The servers did not answer the question for the root, so that it is not known yet. It is asked again; until then an
    /// answer is secure where its server says so, and otherwise indeterminate.
    Unknown(String),
}

/// Who checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Validator {
    /// The resolver on this machine, which says so with the AD bit.
    Resolver,
    /// This process.
    Own,
}

impl Validation {
    /// Whether answers can be secure.
    pub fn works(&self) -> bool {
        matches!(self, Self::Works(_))
    }
}

/// What was seen and what to do about it, in a sentence.
impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("DNSSEC is off: DANE is not used"),
            Self::Works(Validator::Resolver) => f.write_str("the local resolver validates DNSSEC"),
            Self::Works(Validator::Own) => f.write_str("DNSSEC is validated in this process"),
            Self::Remote(server) => write!(
                f,
                "the name server {server} is not on this machine, so its word on DNSSEC is not taken and DANE is not \
                 used; run a validating resolver such as unbound on this machine and name only it, or choose \
                 in-process validation"
            ),
            Self::Missing(seen) => write!(
                f,
                "the local resolver does not validate DNSSEC ({seen}), so DANE is not used; turn validation on in it \
                 (unbound: auto-trust-anchor-file; systemd-resolved: DNSSEC=yes), or choose in-process validation"
            ),
            Self::Broken(said) => write!(
                f,
                "DNSSEC validation in this process fails ({said}), so all mail that needs DNS waits; check this \
                 machine's clock and the trust anchor file, and that the name servers pass signatures on"
            ),
            Self::Unknown(what) => write!(
                f,
                "whether DNSSEC is validated is not known yet ({what}); until it is, DANE is used only where the name \
                 servers call their answers secure"
            ),
        }
    }
}
