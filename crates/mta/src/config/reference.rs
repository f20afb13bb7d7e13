//! The one table of all keys: what each is for, its type, its default and why.
//!
//! [`SECTIONS`] is read by people (`postern config explain`, `docs/configuration.md`) and by the program: a key that is
//! not in it is unknown, and every default is taken from it, so that what is documented is what happens.

use std::fmt::Write as _;

use Preset::{Absent, Depends, Required, Value};

mod table;

pub use table::SECTIONS;

/// A section of the file.
#[derive(Debug)]
pub struct Section {
    /// Its path such as `listener.limits`; empty at the top.
    pub path: &'static str,
    /// How often it may occur.
    pub occurs: Occurs,
    /// What it is for, one sentence.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// The section whose keys it shares and whose values are its defaults.
    pub inherits: Option<&'static str>,
}

/// How often a section may occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occurs {
    /// `[section]`.
    Once,
    /// `[[section]]`.
    Often,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// What holds when it is not written.
    pub default: Preset,
    /// What it is for, and why the default is what it is.
    pub reason: &'static str,
    /// A value, as a TOML literal.
    pub example: &'static str,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Where mail goes, or a list of hosts that stand in for each other.
    Ways,
    /// An address that begins with `https://`.
    Url,
    /// A path; a relative one starts at the configuration file's folder.
    Path,
    /// A domain name.
    Domain,
    /// `local@domain`.
    Mailbox,
    /// A local part or a mailbox.
    Recipient,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A whole number of something.
    Count {
        /// Of what.
        unit: &'static str,
        /// The least allowed.
        least: u32,
        /// The most allowed.
        most: u32,
    },
    /// Octets.
    Size {
        /// The least allowed.
        least: u64,
    },
    /// A time span, more than zero.
    Duration,
    /// A time span; `"never"` and zero switch it off.
    DurationOrNever,
    /// So many in so much time.
    Rate,
    /// So many in so much time; `"none"` switches it off.
    RateOrNone,
    /// So many octets in so much time; `"none"` switches it off.
    VolumeOrNone,
    /// A number from 0 to 0.5.
    Share,
    /// A list of something.
    List(&'static str),
    /// Local part → list of local parts or mailboxes.
    Aliases,
}

/// What holds when a key is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// It must be written.
    Required,
    /// This TOML literal.
    Value(&'static str),
    /// Nothing, and this is what happens then.
    Absent(&'static str),
    /// It depends, in words.
    Depends(&'static str),
}

/// A key with its section.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The section.
    pub section: &'static Section,
    /// The key.
    pub key: &'static Key,
}

impl Section {
    /// The keys, inherited ones included.
    pub fn keys(&self) -> &'static [Key] {
        match self.inherits.and_then(section) {
            Some(parent) => parent.keys,
            None => self.keys,
        }
    }

    /// The section's header as TOML writes it; empty at the top.
    pub fn header(&self) -> String {
        match self.occurs {
            _ if self.path.is_empty() => String::new(),
            Occurs::Once => format!("[{}]", self.path),
            Occurs::Often => format!("[[{}]]", self.path),
        }
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().iter().find(|key| key.name == name)
    }

    /// The names of the sections directly below.
    pub fn subsections(&self) -> impl Iterator<Item = &'static str> {
        let prefix = if self.path.is_empty() { String::new() } else { format!("{}.", self.path) };
        let below = SECTIONS.iter().filter(|section| !section.path.is_empty());
        below.filter_map(move |section| section.path.strip_prefix(&prefix)).filter(|name| !name.contains('.'))
    }
}

impl Entry {
    /// The key's path such as `queue.retry`.
    pub fn path(&self) -> String {
        if self.section.path.is_empty() {
            return self.key.name.to_owned();
        }
        format!("{}.{}", self.section.path, self.key.name)
    }

    /// The key in a page's worth of words, for `postern config explain`.
    pub fn explanation(&self) -> String {
        let Self { section, key } = self;
        let mut text = format!("{}\n\n  {}\n\n", self.path(), key.reason);
        let mut line = |what: &str, value: &str| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {what:<9}{value}");
        };
        line("section", if section.path.is_empty() { "(top of the file)" } else { section.path });
        line("type", &key.kind.describe());
        line("default", &self.default_text());
        line("example", &format!("{} = {}", key.name, key.example));
        text
    }

    /// The default in words.
    pub fn default_text(&self) -> String {
        match (self.section.inherits, self.key.default) {
            (Some(parent), _) => format!("that of [{parent}]"),
            (None, Required) => "none: it must be written".to_owned(),
            (None, Value(literal)) => literal.to_owned(),
            (None, Absent(words) | Depends(words)) => words.to_owned(),
        }
    }
}

impl Kind {
    /// The type in words, with its unit and bounds.
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Ways => {
                "\"mx\", \"smtp:host:587\", \"lmtp:unix:/path\", \"lmtp:host:24\", \"maildir:/path\", \
                           or list of \"smtp:\" hosts"
                    .to_owned()
            }
            Self::Url => "address that begins with https://".to_owned(),
            Self::Path => "path (a relative one starts at the folder of this file)".to_owned(),
            Self::Domain => "domain name".to_owned(),
            Self::Mailbox => "mail address".to_owned(),
            Self::Recipient => "local part of this domain, or mail address".to_owned(),
            Self::Choice(words) => {
                words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ")
            }
            Self::Switch => "true or false".to_owned(),
            Self::Count { unit, least, most: u32::MAX } => {
                format!("whole number of {unit}, at least {least}")
            }
            Self::Count { unit, least, most } => format!("whole number of {unit}, {least} to {most}"),
            Self::Size { least } => {
                format!("size such as \"10 KiB\", \"35 MiB\", or octets, at least {least}")
            }
            Self::Duration => "time span such as \"500ms\", \"30s\", \"5m\", \"2h\", \"5d\"".to_owned(),
            Self::DurationOrNever => "time span such as \"30m\", \"4h\", or \"never\"".to_owned(),
            Self::Rate => "number and time span such as \"100/1m\", \"10/s\", \"1000/h\"".to_owned(),
            Self::RateOrNone => "number and time span such as \"500/1h\", or \"none\"".to_owned(),
            Self::VolumeOrNone => "size and time span such as \"10 GiB/1d\", or \"none\"".to_owned(),
            Self::Share => "number from 0 to 0.5".to_owned(),
            Self::List(what) => format!("list of {what}"),
            Self::Aliases => {
                "table: local part = list of local parts of this domain or mail addresses".to_owned()
            }
        }
    }
}

/// The section of this path.
pub fn section(path: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.path == path)
}

/// Every key with its section, inherited ones included.
pub fn entries() -> impl Iterator<Item = Entry> {
    SECTIONS.iter().flat_map(|section| section.keys().iter().map(move |key| Entry { section, key }))
}

/// The key of this path.
pub fn find(path: &str) -> Option<Entry> {
    entries().find(|entry| entry.path() == path)
}

/// What a person may have meant by a path that is none: at most three, nearest first, equals in the order of the chapter.
pub fn near_misses(path: &str) -> Vec<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let likeness = |known: &str| {
        let whole = mistakes(path, known);
        let key = mistakes(&last(path), &last(known)).map(|mistakes| mistakes + 1);
        whole.into_iter().chain(key).min()
    };
    let known = entries().map(|entry| entry.path());
    let mut ranked: Vec<_> = known.filter_map(|known| Some((likeness(&known)?, known))).collect();
    ranked.sort_by_key(|(mistakes, _)| *mistakes);
    ranked.into_iter().take(3).map(|(_, known)| known).collect()
}

/// The candidate that looks most like a mistyped word, if any does.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bound = 1 + word.chars().count() / 3;
    let ranked = candidates.map(|candidate| (distance(word, candidate), candidate));
    ranked.filter(|(distance, _)| *distance <= bound).min().map(|(_, candidate)| candidate)
}

/// The distance, if it is what a typing mistake makes: one letter in four, and always one.
fn mistakes(word: &str, known: &str) -> Option<usize> {
    Some(distance(word, known)).filter(|distance| *distance <= (word.chars().count() / 4).max(1))
}

/// How many letters have to be put in, left out, changed or swapped with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.to_lowercase().chars().collect();
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut rows = vec![(0..=right.len()).collect::<Vec<_>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let above = &rows[i - 1];
            let change = usize::from(left[i - 1] != right[j - 1]);
            let mut least = (above[j] + 1).min(row[j - 1] + 1).min(above[j - 1] + change);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

/// The reference chapter `docs/configuration.md`.
pub fn chapter() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in SECTIONS {
        let title = if section.path.is_empty() {
            "The top of the file".to_owned()
        } else {
            format!("`{}`", section.header())
        };
        let _ = write!(text, "\n## {title}\n\n{}\n", section.about);
        match section.inherits {
            Some(parent) => {
                let _ = write!(
                    text,
                    "\nThe keys are those of `[{parent}]`; what is not written is inherited from there.\n"
                );
            }
            None => text.push_str(&key_table(section)),
        }
    }
    text
}

const INTRODUCTION: &str = "\
# The configuration file

<!-- Generated from crates/mta/src/config/reference/table.rs; a test fails when it is stale. -->

Postern reads one TOML file: the one named by `--config`, else by `$POSTERN_CONFIG`, else `/etc/postern/postern.toml`.
`postern init` writes a first one, `postern config check` reports everything that is wrong with it at once,
`postern config show` prints what will run with all defaults filled in, and `postern config explain KEY` prints an entry
of this page. Unknown keys are errors.
";

fn key_table(section: &'static Section) -> String {
    if section.keys.is_empty() {
        return String::new();
    }
    let mut text = "\n| key | type | default | what and why | example |\n|---|---|---|---|---|\n".to_owned();
    for key in section.keys {
        let entry = Entry { section, key };
        let default = match key.default {
            Value(literal) => format!("`{literal}`"),
            Required => "**required**".to_owned(),
            Absent(words) | Depends(words) => words.to_owned(),
        };
        let cells = [
            format!("`{}`", entry.key.name),
            key.kind.describe(),
            default,
            key.reason.to_owned(),
            format!("`{}`", key.example),
        ];
        let _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice() {
        let mut paths: Vec<_> = entries().map(|entry| entry.path()).collect();
        let all = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), all);
    }

    #[test]
    fn every_literal_is_toml_and_every_reason_a_sentence() {
        for entry in entries() {
            let path = entry.path();
            let parses = |literal| super::super::value::Value::from_literal(literal).is_some();
            assert!(parses(entry.key.example), "{path}: the example is not TOML");
            if let Value(literal) = entry.key.default {
                assert!(parses(literal), "{path}: the default is not TOML");
            }
            assert!(
                entry.key.reason.ends_with('.') && entry.key.reason.len() > 20,
                "{path}: the reason is no sentence"
            );
        }
    }

    #[test]
    fn a_typing_mistake_finds_its_key() {
        assert_eq!(near_misses("listner.bind")[0], "listener.bind");
        assert_eq!(near_misses("hostnmae")[0], "hostname");
        assert_eq!(near_misses("delay_warning")[0], "queue.delay_warning");
        assert_eq!(near_misses("mesage_size")[0], "limits.message_size");
        for unlike in ["completely_different_thing", "nothing.here", "a.b", "xyzzy", "relay.everybody"] {
            assert_eq!(near_misses(unlike), [""; 0], "{unlike}");
        }
    }

    #[test]
    fn swapped_letters_are_one_mistake() {
        assert_eq!(distance("bnid", "bind"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("x", ["alpha", "beta"].into_iter()), None);
    }

    #[test]
    fn the_chapter_in_the_docs_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if std::env::var_os("POSTERN_BLESS").is_some() {
            std::fs::write(path, chapter()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == chapter(),
            "docs/configuration.md is stale: run this test again with POSTERN_BLESS=1"
        );
    }
}
