//! What destinations publish about how they want to be reached, and what is remembered of it.
//!
//! The types to know:
//! - [`mta_sts::StsPolicies`]: the MTA-STS policy that binds a domain now (RFC 8461), from memory, from disk or fetched.
//! - `tls_results::TlsResults`: what sessions came to, counted for TLS reports (RFC 8460).
//! - [`reports`]: those reports, sent and received.
//! - [`ledger::Ledger`]: the file in which all of this outlives a restart.
//!
//! What it deliberately does not do: turn a policy into a TLS requirement, or deliver anything.

pub mod day;
pub mod ledger;
pub mod mta_sts;
pub mod reports;
pub(crate) mod tls_results;
