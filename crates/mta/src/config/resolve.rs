//! From [`File`] to [`Config`].

use super::{Config, File, Problem, Surroundings};

pub(super) fn resolve(_file: &File, _surroundings: &Surroundings) -> Result<Config, Vec<Problem>> {
    Err(Vec::new())
}
