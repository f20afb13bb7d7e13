//! `postern config check`: what is wrong with a configuration and with the files that it names, all at once.

use std::path::Path;

use jiff::Timestamp;

use super::{Config, File, Problem, Surroundings, resolve};

/// How far it was looked for an open relay in vain: by the function that decides in service, as a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Each listener was asked,
    pub listeners: usize,
    /// from so many addresses,
    pub addresses: usize,
    /// for so many recipients of others.
    pub recipients: usize,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
    /// The proof that it makes no open relay; `None` where something must be mended first.
    pub closed: Option<Closed>,
}

impl Config {
    /// Reads and judges a file and what it names: certificates and keys are loaded as the daemon will load them.
    pub fn check(path: &Path, surroundings: &Surroundings, now: Timestamp) -> Checked {
        match File::read(path) {
            Ok(file) => file.check(&surroundings.beside(&file), now),
            Err(problem) => Checked { problems: vec![problem], warnings: Vec::new(), closed: None },
        }
    }
}

impl File {
    /// Judges the file and what it names, in the order of the file. A mistake in one place hides none in another.
    pub fn check(&self, surroundings: &Surroundings, now: Timestamp) -> Checked {
        let resolved = resolve::resolve(self, surroundings);
        let mut checked =
            Checked { problems: resolved.problems, warnings: resolved.warnings, closed: resolved.closed };
        for named in resolved.named {
            named.look_at(now, &mut checked);
        }
        checked.problems.sort_by_key(|problem| problem.line);
        checked.warnings.sort_by_key(|warning| warning.line);
        checked
    }
}
