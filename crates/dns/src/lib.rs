//! Typed DNS lookups that always carry their DNSSEC status.
//!
//! The types to know:
//! - [`Resolver`]: the questions that a mail server asks. [`open`] makes the one that the [`Options`] describe; the
//!   testkit has a scripted one.
//! - [`Answer`]: records together with their owner, how far DNSSEC vouches for them ([`Dnssec`]) and how long they hold.
//! - [`LookupError`]: "there is no such domain" and "there is no such record" are facts about the destination;
//!   everything else is temporary and says nothing about it.
//! - [`Validation`]: who checks signatures, and whether that was seen to work.
//! - [`mail_hosts`]: which hosts take a domain's mail, in which order (RFC 5321 §5.1, RFC 7505). Pure.
//! - [`tlsa`]: what a TLSA record says, and whether mail can use it (RFC 6698, RFC 7671, RFC 7672). Pure.
//! - [`update`]: setting a TXT record in a zone of ours (RFC 2136).
//!
//! How it is built: [`SystemResolver`] asks without DNSSEC, [`DnssecResolver`] with it, and [`Cached`] remembers the
//! answers of either.
//!
//! What it deliberately does not do: apply search domains (every name is absolute), resolve from the root servers down
//! (it asks recursive servers), decide what a status means for a delivery, or know anything of deliveries.

mod anchors;
mod cached;
mod families;
mod local;
mod mail_hosts;
mod message;
pub mod mta_sts;
mod open;
mod signed;
mod system;
mod tagged;
pub mod tls_rpt;
pub mod tlsa;
pub mod update;
mod upstream;
mod validation;
mod witness;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

pub use anchors::{AnchorError, check_anchors};
pub use cached::{Cached, Limits};
pub use mail_hosts::{MailHosts, MailRoute, mail_hosts};
pub use open::{DnssecMode, OpenError, Opened, Options, open};
pub use signed::DnssecResolver;
pub use system::SystemResolver;
pub use tlsa::TlsaRecord;
pub use validation::{Validation, Validator};

/// The DNS questions that a mail server asks. Names are absolute and ASCII (A-labels), with or without a last dot.
///
/// # Errors
/// Every method: [`LookupError`]. [`LookupError::NoRecords`] when the name exists and has no such record.
///
/// # Cancel safety
/// Every method may be dropped at any time; nothing is left behind but, perhaps, a fuller cache.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The mail exchangers that a domain names, in no particular order; see [`mail_hosts`] for what they mean.
    async fn mx(&self, domain: &str) -> Result<Answer<Vec<Mx>>, LookupError>;

    /// A host's addresses, IPv6 first. When only one of the two families could be asked, that one's addresses.
    async fn addresses(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, LookupError>;

    /// The names that an address claims to have.
    async fn ptr(&self, address: IpAddr) -> Result<Answer<Vec<String>>, LookupError>;

    /// Text records, the pieces of each joined (RFC 7208 §3.3).
    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError>;

    /// The certificates that a service names, as published; see [`tlsa::tlsa_name`] for the name to ask for.
    ///
    /// A record that cannot be read makes the lookup fail ([`LookupError::Temporary`]): leaving it out could turn
    /// protection off.
    async fn tlsa(&self, name: &str) -> Result<Answer<Vec<TlsaRecord>>, LookupError>;

    /// The name that this one is directly an alias of, with the status of that one link (RFC 7672 §2.2.2).
    async fn alias(&self, name: &str) -> Result<Answer<String>, LookupError>;
}

/// Records, whose they are, how far they can be trusted, and how long they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub records: T,
    /// The name that the records belong to: the one asked for, or where its aliases lead. Lower case, no last dot.
    pub owner: String,
    /// The weakest DNSSEC status among the records and aliases that led to them.
    pub dnssec: Dnssec,
    /// The shortest time to live among them.
    pub ttl: Duration,
}

impl<T> Answer<T> {
    /// The same answer with its records seen differently.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        let Self { records, owner, dnssec, ttl } = self;
        Answer { records: change(records), owner, dnssec, ttl }
    }

    /// Whether the name asked for is an alias of the one that has the records. An MX exchange must not be one
    /// (RFC 5321 §5.1, RFC 2181 §10.3), yet some are.
    pub fn came_by_alias(&self, asked: &str) -> bool {
        !self.owner.eq_ignore_ascii_case(asked.strip_suffix('.').unwrap_or(asked))
    }
}

/// How far DNSSEC vouches for an answer (RFC 4035 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dnssec {
    /// A chain of signatures leads to a trust anchor.
    Secure,
    /// The chain provably ends at an unsigned zone.
    Insecure,
    /// The signatures are wrong. Lookups do not answer with this: they fail with [`LookupError::Bogus`].
    Bogus,
    /// Nobody checked.
    Indeterminate,
}

/// In one word, which stays the same: programs read it too.
impl fmt::Display for Dnssec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secure => "secure",
            Self::Insecure => "insecure",
            Self::Bogus => "bogus",
            Self::Indeterminate => "indeterminate",
        })
    }
}

impl Dnssec {
    /// The status of two things together: a chain is as strong as its weakest link.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let strength = |status| match status {
            Self::Bogus => 0,
            Self::Indeterminate => 1,
            Self::Insecure => 2,
            Self::Secure => 3,
        };
        if strength(self) <= strength(other) { self } else { other }
    }
}

/// One mail exchanger of a domain (RFC 1035 §3.3.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// The host in lower case without the last dot; `.` alone for the root (RFC 7505).
    pub exchange: String,
}

/// Why a lookup gave no records.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The name does not exist (NXDOMAIN). A fact: trying again soon will not help.
    #[error("the name does not exist")]
    NoSuchDomain {
        /// How far DNSSEC vouches for that.
        dnssec: Dnssec,
    },
    /// The name exists and has no record of the kind asked for (NODATA).
    #[error("the name has no such record")]
    NoRecords {
        /// How far DNSSEC vouches for that.
        dnssec: Dnssec,
    },
    /// The name is not one that DNS can be asked for: an empty or over-long label, or characters beyond ASCII.
    #[error("{0} is not a domain name")]
    BadName(String),
    /// There is an answer, but its signatures are wrong: a mistake of the domain's owner, or an attack. Whatever was
    /// asked for must be treated as unknown (RFC 4035 §5.5). Says which name, and what the validator said.
    #[error("{0}")]
    Bogus(String),
    /// The name servers did not answer, or answered with a failure. Try again later.
    #[error("{0}")]
    Temporary(String),
}

impl LookupError {
    /// Whether asking again later may give another answer.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary(_) | Self::Bogus(_))
    }

    /// Whether this is a fact about the name: that it does not exist, or has no such record.
    pub fn is_negative(&self) -> bool {
        matches!(self, Self::NoSuchDomain { .. } | Self::NoRecords { .. })
    }
}
