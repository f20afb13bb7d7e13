//! What is inside DATA: header fields, trace, repairs and reports.
//!
//! Everything here is pure: bytes and the time go in, bytes and facts come out. Content that others wrote is only ever
//! looked at; it is never taken apart and put together again, so that signatures survive.
//!
//! The types to know:
//! - [`inspect::Inspector`]: watches content stream by and says what the daemon must know of it.
//! - [`header::Headers`]: a header section's fields, in order, as raw octets.
//! - [`address_list`]: the mailboxes in a `From` or `Sender` field.
//! - [`trace::Received`]: our own trace field. [`repair`]: what a submission lacks.
//! - [`dsn::Report`]: the message that tells a sender what became of his mail.
//! - [`notice::Notice`]: what the postmaster should know.
//! - [`tls_report::TlsReport`]: what servers tell each other about how TLS between them went.
//!
//! What it deliberately does not do: decide anything, decode MIME bodies but for the reports in them, or read a clock.

pub mod address_list;
pub mod dsn;
pub mod header;
pub mod inspect;
pub mod notice;
pub mod repair;
pub mod rewrite;
pub mod tls_report;
pub mod trace;

mod mime;
mod text;
