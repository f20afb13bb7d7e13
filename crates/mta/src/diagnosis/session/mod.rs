//! Why a client could not send: a pure function from the facts of a session to a cause.
//!
//! The types to know: [`Cause`], the name of a trouble, which is also its token for `postern explain`; [`Section`], what there
//! is to say about it, to the person, to the administrator and for each [`Program`]; [`Diagnosis`], what was found in one
//! session, which [`diagnose`] says.
//!
//! What it deliberately does not do: ask anybody, count (see `cases`), or word a reply.

mod cause;
mod program;
mod rows;
mod section;
mod sections;
mod sight;

use serde::{Deserialize, Serialize};

use self::rows::{Found, ROWS};
use self::sight::Sight;
use crate::event::clean;
use crate::session::Facts;

pub use cause::Cause;
pub use section::{Gravity, Program, Section, Words};

/// How sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The name that the client claimed or signed in as, when there was one. It may be nobody's, and a trap.
    pub user: Option<String>,
    /// Which program it probably was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
}

/// Says why this client got nowhere, or what went wrong beside what went well. `None`: nothing did.
pub fn diagnose(facts: &Facts) -> Option<Diagnosis> {
    if Sight::is_untroubled(facts) {
        return None;
    }
    let Found { cause, confidence, explanation } = surest(&Sight::of(facts))?;
    let tried = facts.sign_ins.last().map(|sign_in| &sign_in.user);
    Some(Diagnosis {
        cause,
        confidence,
        explanation: clean(&explanation),
        user: facts.user.as_ref().or(tried).map(|user| clean(user)),
        program: Program::guess(facts).map(|(program, _)| program),
    })
}

/// The first row that is certain, else the first of the surest.
fn surest(sight: &Sight<'_>) -> Option<Found> {
    let mut best: Option<Found> = None;
    for found in ROWS.iter().filter_map(|row| row(sight)) {
        if found.confidence == Confidence::Certain {
            return Some(found);
        }
        if best.as_ref().is_none_or(|best| found.confidence > best.confidence) {
            best = Some(found);
        }
    }
    best
}

impl Diagnosis {
    /// What to tell the person. Whose account it is stands in the words: what the client claimed is never told to anybody.
    pub fn user_sentence(&self, words: &Words<'_>) -> String {
        words.fill(self.cause.section().user)
    }

    /// What the administrator does.
    pub fn remedy(&self, words: &Words<'_>) -> String {
        words.fill(self.cause.section().remedy)
    }

    /// What to do in the programs: in the one that it probably is first. Those are left out whose steps name a port that is not
    /// there.
    pub fn remedies(&self, words: &Words<'_>) -> Vec<(Program, String)> {
        let steps = self.cause.section().programs;
        let (first, others): (Vec<_>, Vec<_>) =
            steps.iter().copied().partition(|(program, _)| Some(*program) == self.program);
        let filled = |(program, step): (Program, &str)| Some((program, words.step(step)?));
        first.into_iter().chain(others).filter_map(filled).collect()
    }
}

#[cfg(test)]
mod tests;
