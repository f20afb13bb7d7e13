//! Why a client could not send: a pure function from the facts of a session to a cause.
//!
//! The types to know: [`Cause`], the name of a trouble, which is also its token for `postern explain`; [`Diagnosis`], what was
//! found in one session.
//!
//! What it deliberately does not do: ask anybody, count (see `cases`), or word a reply.

use serde::{Deserialize, Serialize};

use crate::session::Facts;

/// Why a client could not send. Each has its own section in the page for administrators, and its own remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// The client starts TLS at once on a port that begins in clear.
    TlsOnStarttlsPort,
}

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// It fits; something else would fit too.
    Possible,
    /// It is the usual reason for what was seen.
    Likely,
    /// The facts leave nothing else.
    Certain,
}

/// What was found in one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What it is.
    pub cause: Cause,
    /// How sure that is.
    pub confidence: Confidence,
    /// What happened in this session, for the administrator: one or two sentences with the names and numbers.
    pub explanation: String,
    /// The name that the client claimed or signed in as, when there was one: whom it concerns.
    pub user: Option<String>,
}

/// Says why this client got nowhere, or what went wrong beside what went well. `None`: nothing did.
pub fn diagnose(_facts: &Facts) -> Option<Diagnosis> {
    None
}
