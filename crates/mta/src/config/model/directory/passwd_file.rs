//! `[directory.passwd_file]`: people in a file.

use std::path::PathBuf;

/// `[directory.passwd_file]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswdFile {
    /// The file.
    pub path: PathBuf,
    /// What its lines are like.
    pub format: PasswdFormat,
    /// What of a sign-in name stands in it.
    pub names: NamePart,
    /// Whether `{PLAIN}` counts.
    pub clear: ClearPasswords,
    /// Whether the file is changed.
    pub rehash: Rehash,
}

/// What the lines of a file of people are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswdFormat {
    /// Dovecot's passwd-file.
    Dovecot,
    /// shadow(5).
    Shadow,
}

/// What of a sign-in name a directory knows its people by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamePart {
    /// All of it.
    Whole,
    /// What stands before the `@`.
    Local,
}

/// Whether passwords that are stored in clear are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearPasswords {
    /// They are refused.
    Refused,
    /// They are taken.
    Taken,
}

/// Whether a password that was right is stored anew, as argon2id, where it was stored otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rehash {
    /// The directory is never written to.
    Never,
    /// At the next sign-in.
    WhenRight,
}
