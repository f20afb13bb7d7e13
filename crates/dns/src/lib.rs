//! Typed DNS lookups that always carry their DNSSEC status.
//!
//! The types to know:
//! - [`Resolver`]: the four questions that a mail server asks. [`SystemResolver`] asks real name servers; the testkit
//!   has a scripted one.
//! - [`Answer`]: records together with how far DNSSEC vouches for them ([`Dnssec`]) and how long they hold.
//! - [`LookupError`]: "there is no such domain" and "there is no such record" are facts about the destination;
//!   everything else is temporary and says nothing about it.
//! - [`mail_hosts`]: which hosts take a domain's mail, in which order (RFC 5321 §5.1, RFC 7505). Pure.
//!
//! What it deliberately does not do: validate DNSSEC (plain lookups honestly say [`Dnssec::Indeterminate`]), apply
//! search domains (every name is absolute), or know anything of deliveries.

mod mail_hosts;
pub mod mta_sts;
mod system;
mod tagged;
pub mod tls_rpt;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

pub use mail_hosts::{MailHosts, mail_hosts};
pub use system::{Options, SystemResolver};

/// The DNS questions that a mail server asks. Names are absolute and ASCII (A-labels), with or without a last dot.
///
/// # Cancel safety
/// Every method may be dropped at any time; nothing is left behind but, perhaps, a fuller cache.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The mail exchangers that a domain names, in no particular order; see [`mail_hosts`] for what they mean.
    ///
    /// # Errors
    /// [`LookupError::NoRecords`] when the domain exists and names none.
    async fn mx(&self, domain: &str) -> Result<Answer<Vec<Mx>>, LookupError>;

    /// A host's addresses, IPv6 first. When only one of the two families could be asked, that one's addresses.
    async fn addresses(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, LookupError>;

    /// The names that an address claims to have.
    async fn ptr(&self, address: IpAddr) -> Result<Answer<Vec<String>>, LookupError>;

    /// Text records, the pieces of each joined (RFC 7208 §3.3).
    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError>;
}

/// Records, how far they can be trusted, and how long they hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// What was asked for.
    pub records: T,
    /// The weakest DNSSEC status among the records and aliases that led to them.
    pub dnssec: Dnssec,
    /// The shortest time to live among them.
    pub ttl: Duration,
}

impl<T> Answer<T> {
    /// The same answer with its records seen differently.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        Answer { records: change(self.records), dnssec: self.dnssec, ttl: self.ttl }
    }
}

/// How far DNSSEC vouches for an answer (RFC 4035 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dnssec {
    /// A chain of signatures leads to a trust anchor.
    Secure,
    /// The chain provably ends at an unsigned zone.
    Insecure,
    /// The signatures are wrong.
    Bogus,
    /// Nobody checked.
    Indeterminate,
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
    NoSuchDomain,
    /// The name exists and has no record of the kind asked for (NODATA).
    #[error("the name has no such record")]
    NoRecords,
    /// The name is not one that DNS can be asked for: an empty or over-long label, or characters beyond ASCII.
    #[error("{0} is not a domain name")]
    BadName(String),
    /// The name servers did not answer, or answered with a failure. Try again later.
    #[error("{0}")]
    Temporary(String),
}

impl LookupError {
    /// Whether asking again later may give another answer.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }
}
