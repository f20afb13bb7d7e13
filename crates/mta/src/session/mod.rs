//! What a session came to, kept as values: for transcripts, for diagnoses, and for the questions an administrator asks.
//!
//! The types to know:
//! - [`Facts`]: everything that is known of one session when it has ended: what the client began with, its TLS, what was
//!   said, who tried to sign in, what was refused and why, and how it ended. Bounded, clean, and free of secrets.
//! - `Recorder`: gathers them while the session runs.
//!
//! What it deliberately does not do: judge (see [`diagnosis::session`](crate::diagnosis::session)), or keep anything (see
//! [`history`](crate::history)).

mod facts;
mod record;

pub use facts::{
    End, Facts, Greets, Opening, Place, Refusal, SignIn, SignInFault, Stage, TlsBegun, TlsStood, Way,
};
pub(crate) use record::{Closing, Recorder, Stopped};
