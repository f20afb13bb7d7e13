//! Domains, mailboxes and paths (RFC 5321 §4.1.2), strictly parsed and losslessly kept.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A domain name (RFC 5321 §4.1.2, RFC 1035 §2.3.1), kept in lower case. With SMTPUTF8 it may hold U-labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Domain(Box<str>);

/// What stands behind the `@`: a domain name or an address literal such as `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A domain name.
    Domain(Domain),
    /// An address literal (RFC 5321 §4.1.3).
    Literal(IpAddr),
}

/// What stands before the `@`, exactly as it was written, quotes included. Case is significant (RFC 5321 §2.4).
/// Two local parts are equal when they mean the same: `"abc"` equals `abc`.
#[derive(Debug, Clone)]
pub struct LocalPart(Box<str>);

/// `local@host`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mailbox {
    /// Before the `@`.
    pub local: LocalPart,
    /// Behind the `@`.
    pub host: Host,
}

/// Where reports go: `<>` or a mailbox (RFC 5321 §4.1.2 Reverse-path).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReversePath {
    /// `<>`: a report, which must never cause another one.
    Null,
    /// A mailbox.
    Mailbox(Mailbox),
}

/// A recipient: `<Postmaster>` without a domain, in any case, or a mailbox (RFC 5321 §4.1.2 Forward-path).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain (RFC 5321 §4.1.1.3).
    Postmaster,
    /// A mailbox.
    Mailbox(Mailbox),
}
