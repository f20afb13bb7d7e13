//! Looks whether the files that the configuration names are there, and whether strangers can read the secret ones.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Config, Problem};

/// The mode bits that let the world read.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Whether a file holds a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Secret,
}

impl Config {
    /// What is wrong with the files that the configuration names: certificates, keys, trust anchors, passwords. They are
    /// opened, and not read. The daemon finds out by itself; this is for `postern config check`.
    pub fn missing_files(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for identity in &self.tls.identities {
            let key = |key| format!("tls.identity.{}.{key}", identity.name);
            problems.extend(look_at(&identity.certificate, key("certificate"), Kind::Open));
            problems.extend(look_at(&identity.key, key("key"), Kind::Secret));
        }
        for connector in &self.connectors {
            let key = |key| format!("connector.{}.{key}", connector.name);
            problems
                .extend(connector.trust.iter().filter_map(|path| look_at(path, key("trust"), Kind::Open)));
            let passwords = connector.credential.iter().map(|credential| &credential.password_file);
            problems.extend(passwords.filter_map(|path| look_at(path, key("password_file"), Kind::Secret)));
        }
        problems
    }
}

fn look_at(path: &Path, key: String, kind: Kind) -> Option<Problem> {
    let problem = |what: String, remedy: &str| Problem {
        file: path.display().to_string(),
        line: None,
        column: None,
        key,
        what,
        remedy: remedy.to_owned(),
    };
    let metadata = match File::open(path).and_then(|file| file.metadata()) {
        Ok(metadata) => metadata,
        Err(error) => {
            return Some(problem(
                format!("cannot be read: {error}"),
                "put the file there, or correct the path",
            ));
        }
    };
    if !metadata.is_file() {
        return Some(problem("is not a file".to_owned(), "correct the path"));
    }
    if kind == Kind::Secret && metadata.mode() & READABLE_BY_OTHERS != 0 {
        return Some(problem("everybody on this machine can read this secret".to_owned(), "chmod 600 it"));
    }
    None
}
