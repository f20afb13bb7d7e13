//! The file as it was written, and the places in it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::value::Table;
use super::{Config, Problem, Surroundings, reference, resolve};

/// A configuration file that is valid TOML. Whether it makes sense says [`File::resolve`].
#[derive(Debug, Clone)]
pub struct File {
    name: String,
    text: String,
    folder: PathBuf,
    root: Table,
}

impl File {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// It cannot be read, or it is not TOML.
    pub fn read(path: &Path) -> Result<Self, Problem> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let mut file = Self::parse(&text, &name)?;
        if let Some(folder) = std::path::absolute(path).ok().as_deref().and_then(Path::parent) {
            folder.clone_into(&mut file.folder);
        }
        Ok(file)
    }

    /// Parses the text of a file; `name` is its path, for messages and for what is relative to its folder.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn parse(text: &str, name: &str) -> Result<Self, Problem> {
        let folder = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
        let empty = Self { name: name.to_owned(), text: text.to_owned(), folder, root: Table::default() };
        match toml::from_str(text) {
            Ok(root) => Ok(Self { root, ..empty }),
            Err(error) => Err(empty.problem(
                error.span(),
                String::new(),
                format!("this cannot be read: {}", error.message().lines().collect::<Vec<_>>().join(", ")),
                "correct the line; texts stand in quotation marks, each key once in its section".to_owned(),
            )),
        }
    }

    /// Applies defaults, checks everything and types it.
    ///
    /// # Errors
    /// All problems at once, in the order of the file.
    pub fn resolve(&self, surroundings: &Surroundings) -> Result<Config, Vec<Problem>> {
        let resolved = resolve::resolve(self, surroundings);
        let settings = resolved.settings;
        match resolved.config {
            Some(config) if resolved.problems.is_empty() => {
                Ok(Config { warnings: resolved.warnings, settings, ..config })
            }
            _ => Err(resolved.problems),
        }
    }

    /// The data directory that the file names, or the usual one, as far as can be seen before all is judged.
    pub(super) fn data_dir(&self) -> Option<PathBuf> {
        let usual = || match reference::find("data_dir")?.key.default {
            reference::Preset::Value(literal) => Some(literal.trim_matches('"')),
            _ => None,
        };
        Some(self.folder.join(self.root.text("data_dir").or_else(usual)?))
    }

    pub(super) fn root(&self) -> &Table {
        &self.root
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        before.matches('\n').count() + 1
    }

    pub(super) fn problem(
        &self,
        span: Option<Range<usize>>,
        key: String,
        what: String,
        remedy: String,
    ) -> Problem {
        let (line, column) = span.map(|span| (self.line(&span), self.column(&span))).unzip();
        Problem { file: self.name.clone(), line, column, key, what, remedy }
    }

    fn column(&self, span: &Range<usize>) -> u32 {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let letters = before.rsplit('\n').next().unwrap_or(before).chars().count();
        u32::try_from(letters + 1).unwrap_or(u32::MAX)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let (what, remedy) = if path.is_dir() {
        let file = path.join("postern.toml");
        (
            "is a folder, not a file".to_owned(),
            format!("name the file in it, such as --config {}", file.display()),
        )
    } else {
        let remedy = "name another file with --config, or write one with `postern init`";
        (format!("cannot be read: {error}"), remedy.to_owned())
    };
    Problem { file: path.display().to_string(), line: None, column: None, key: String::new(), what, remedy }
}
