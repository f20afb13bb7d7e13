//! Why it went wrong, and what to do: for mail that waits, and for clients that could not send.
//!
//! Both halves are pure tables. [`delivery`] goes from what an attempt recorded to why mail waits; [`session`] from the facts
//! of a session to why somebody could not send. [`explain`] looks up what a token means.
//!
//! What this deliberately does not do: look anything up, or decide what happens to a message or a session.

mod delivery;
pub mod explain;
pub mod session;

pub use delivery::{Diagnosis, diagnose};
