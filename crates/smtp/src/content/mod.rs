//! Content on the wire: dot-stuffing and its reverse, line endings, chunks (RFC 5321 §4.5.2, RFC 3030).
//!
//! The types to know: [`ContentDecoder`] takes what comes after DATA, [`ChunkChecker`] what comes in BDAT chunks, and
//! [`ContentEncoder`] makes the form that goes out after DATA. All three stream: they hold a state of one octet, never
//! a message, and give the same result however the bytes are cut into pieces.
//!
//! Only CRLF.CRLF ends data. A bare CR or a NUL is a [`Violation`] in every text; a bare LF is one too, or becomes
//! CRLF where the listener says so, but it never makes an end: no two servers can disagree where a message stops.
//!
//! What this deliberately does not do: look into the content, limit its size, or limit the length of its lines.

mod chunk;
mod decoder;
mod encoder;

pub use chunk::ChunkChecker;
pub use decoder::{ContentDecoder, Decoded};
pub use encoder::ContentEncoder;

/// An octet that may not stand where it stood (RFC 5321 §2.3.8, §4.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A CR without its LF.
    #[error("a CR without LF")]
    BareCr,
    /// An LF without its CR.
    #[error("an LF without CR")]
    BareLf,
    /// A NUL.
    #[error("a NUL octet")]
    Nul,
}
