//! The SMTP protocol of Postern: what may be said, in which order, and what it means.
//!
//! Everything here is pure. Bytes and the time go in, decisions and bytes come out; there is no socket, no
//! clock, no task and no logging. The daemon, the tests and the fuzzers all drive the very same code.
//!
//! The types to know:
//! - [`address`]: domains, mailboxes, reverse-paths and forward-paths, strictly parsed and losslessly kept.
//! - [`envelope`]: what MAIL and RCPT carry; [`command`]: one typed command per line, which
//!   [`line`] finds.
//! - [`reply`]: replies and enhanced codes, and the [`reply::catalogue`] of every reply Postern ever sends.
//! - [`server::ServerSession`] and [`client::ClientSession`]: the two session state machines.
//! - [`outcome::Outcome`]: what one delivery attempt meant for one recipient.
//! - [`middlebox::sign`]: the marks of devices that rewrite SMTP on the way and so hide STARTTLS.
//! - [`text::clean`]: the one way in which words of others are made fit to be repeated, here and everywhere above.
//!
//! What it deliberately does not do: decide who may send what to whom (the daemon answers the server's six
//! questions), resolve names, or perform TLS (it only says when, and looks at the [`tls::TlsFacts`]).

pub mod address;
pub mod client;
pub mod command;
pub mod content;
pub mod envelope;
pub mod extension;
pub mod line;
pub mod middlebox;
pub mod outcome;
pub mod reply;
pub mod sasl;
pub mod secret;
pub mod server;
pub mod text;
pub mod tls;
mod xtext;
