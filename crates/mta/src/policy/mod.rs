//! What destinations publish about how they want to be reached, and what is remembered of it.
//!
//! The types to know:
//! - [`ledger::Ledger`]: the file in which policies outlive a restart.
//!
//! What it deliberately does not do: turn a policy into a TLS requirement, or deliver anything.

pub mod ledger;
