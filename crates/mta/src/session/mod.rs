//! What a session came to, kept as values: for transcripts, for diagnoses, and for the questions an administrator asks.
//!
//! The types to know:
//! - [`Facts`]: everything that is known of one session when it has ended: what the client began with, its TLS, what was
//!   said, who tried to sign in, what was refused and why, and how it ended. Bounded, clean, and free of secrets.
//! - `Recorder`: gathers them while the session runs.
//! - `Keeper`: where sessions end. `kept` is the file of those that are kept, `watch` what somebody wants to see besides, and
//!   [`transcript`] a session in words.
//!
//! What it deliberately does not do: judge (see [`diagnosis::session`](crate::diagnosis::session)), or keep events (see
//! [`history`](crate::history)).

mod facts;
pub(crate) mod keeper;
mod kept;
pub(crate) mod looks;
mod names;
mod record;
pub mod transcript;
mod watch;
mod whose;

pub use facts::{
    Claimant, ClaimedFrom, End, Entrance, Facts, Opening, Refusal, SignIn, Stage, TlsBegun, TlsStood,
};
pub use keeper::Shown;
pub(crate) use keeper::{Found, Keeper, Overheard};
pub use kept::{Summary, Which};
pub(crate) use record::{Closing, Keeping, Recorder, Stopped};
pub use watch::{Heard, Since, Wanted, WatchView};
pub(crate) use whose::{NAMELESS_TOKEN, shortened};

pub use ipnet::IpNet;

#[cfg(test)]
pub(crate) mod tests;
