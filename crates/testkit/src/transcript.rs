//! Transcripts: SMTP sessions in files that a postmaster can read and object to.
//!
//! A file has a head of `key: value` lines and, behind an empty line, the dialogue. `#` begins a comment.
//!
//! | head | meaning |
//! |---|---|
//! | `listener: relay` | the preset: `relay`, `relay-auth`, `submission` or `submissions` (see [`Scenario`]) |
//! | `begin: ehlo` | what is already said: `banner` (nothing, the default), `ehlo`, `tls`, `signed-in` |
//! | `set: recipients 3` | one setting: a limit, a timeout (`command 5m`), `line-endings`, `tls-available`, `mechanisms PLAIN LOGIN`, `clear-sign-in allowed` |
//! | `certificate: verified` | the client shows one when TLS starts: `none` (the default), `unproved`, `verified` (see [`ClientCertificate`]) |
//! | `front-end: trusted` | the client may say XCLIENT: `no` (the default), `trusted`, `trusted-with-login` |
//! | `policy: rcpt <ann@example.org> -> 550 5.1.1 No` | what the scripted policy answers (see [`Rule`]) |
//!
//! | dialogue | meaning |
//! |---|---|
//! | `C: text` | the client sends this line and CRLF; `\r`, `\n`, `\0`, `\t`, `\\` and `\xNN` stand for octets |
//! | `C-raw: text` | the same without CRLF |
//! | `C-packet: text` | the same, and in one piece at every pace: where it matters what comes together |
//! | `C-fill: 5000 x` | that many octets of the letter, without CRLF |
//! | `S: text` | the server answers with exactly this line; `S: 250 *` stands for a whole reply with this code |
//! | `TLS` | the server asks for the handshake, and it is done |
//! | `WAIT 5m` / `DRAIN` / `HANGUP` | time passes / the server is told to shut down / the client closes |
//! | `CLOSE violation` | the server closes, for this reason |
//! | `ASKED: rcpt <ann@example.org>` | the last thing that the policy was asked |
//! | `BODY: text` | a line of the content that was taken last; `BODY-raw:` without CRLF |
//! | `DISCARDED` | whatever content was streamed was taken back, and none was taken |
//!
//! The session's nonces come from [`SEED`], so that proofs can stand in a file.
//!
//! The types to know: [`Transcript`] is a parsed file, [`Scenario`] what its head means, [`run`] plays it at a [`Pace`]
//! against a [`Server`], [`SessionServer`] is the one without any I/O, and [`Script`] the policy behind it. What this deliberately does not do: know
//! how to reach a daemon; a test that plays files over TCP implements [`Server`] itself.

mod parse;
mod play;
mod scenario;
mod script;
mod session;

use std::time::Duration;

pub use play::{Pace, Server, run};
pub use scenario::{Answer, ClientCertificate, Rule, Scenario, Topic};
pub use script::Script;
pub use session::SessionServer;

/// What a transcript's session draws its nonces from.
pub const SEED: [u8; 32] = [7; 32];

/// A parsed file.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// What the head says.
    pub scenario: Scenario,
    /// The dialogue, with what `begin` implies before it.
    pub steps: Vec<Numbered>,
}

/// A step and the line of the file that it stands on (0: implied by `begin`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Counted from 1.
    pub line: usize,
    /// What happens.
    pub step: Step,
}

/// One line of the dialogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The client sends these octets.
    Send(Vec<u8>),
    /// The client sends these octets in one piece, at every pace.
    Packet(Vec<u8>),
    /// The server answers with this line.
    Expect(String),
    /// The server answers with a reply of this code, whatever its text and however many its lines.
    ExpectCode(String),
    /// The server asks for the handshake, and it is done.
    Tls,
    /// Time passes.
    Wait(Duration),
    /// The server is told to shut down.
    Drain,
    /// The client closes.
    HangUp,
    /// The server closes, for this reason if one is named.
    Close(Option<String>),
    /// What the policy was asked last.
    Asked(String),
    /// The content that was taken last.
    Body(Vec<u8>),
    /// Whatever content was streamed was taken back, and none was taken.
    Discarded,
}

impl Transcript {
    /// Reads a file's text.
    ///
    /// # Errors
    /// In words, with the line's number.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::transcript(text)
    }
}
