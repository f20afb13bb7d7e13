//! `postern config check`: what is wrong with a configuration and with the files that it names, all at once.

use std::path::Path;

use jiff::Timestamp;

use super::{Config, File, Problem, Surroundings, resolve};

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// What must be mended.
    pub problems: Vec<Problem>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
}

impl Config {
    /// Reads and judges a file and what it names: certificates and keys are loaded as the daemon will load them.
    pub fn check(path: &Path, surroundings: &Surroundings, now: Timestamp) -> Checked {
        match File::read(path) {
            Ok(file) => file.check(&surroundings.beside(&file), now),
            Err(problem) => Checked { problems: vec![problem], warnings: Vec::new() },
        }
    }
}

impl File {
    /// Judges the file and what it names, in the order of the file. A mistake in one place hides none in another.
    pub fn check(&self, surroundings: &Surroundings, now: Timestamp) -> Checked {
        let resolved = resolve::resolve(self, surroundings);
        let mut checked = Checked { problems: resolved.problems, warnings: resolved.warnings };
        for named in resolved.named {
            named.look_at(now, &mut checked);
        }
        checked.problems.sort_by_key(|problem| problem.line);
        checked.warnings.sort_by_key(|warning| warning.line);
        checked
    }
}
