//! Every command that Postern proposes is one that it understands.
//!
//! Errors, warnings, help texts and the manual tell people what to type. This reads all of them, finds `postern …` in
//! them, and has clap parse it. [`Proposed`] is such a command. In backticks, or on a line of its own, it is whole; in
//! running text it ends at the first word that can be no argument: arguments there are options, placeholders of the
//! format (`{name}`) or of people (`NAME`). A command that is only called by its name may lack what it requires.
//!
//! What it deliberately does not do: run anything, or look into the end-to-end tests, which run what they name.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Command, CommandFactory as _};

use crate::Arguments;

/// What a placeholder can stand for: a name, an address, a message of the queue, a form. One of them is to fit.
const FILLINGS: [&str; 5] = ["mail", "anna@example.org", "0CMW7ZA8527RP", "pem", "7"];
/// Stands in a command for what is filled in later.
const BLANK: &str = "\0";

/// A command as a text proposes it.
#[derive(Debug, PartialEq, Eq)]
struct Proposed {
    words: Vec<String>,
    /// Whether something may be left out: it is called by its name, or an ellipsis says so.
    partial: bool,
}

/// Where a command in a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    /// At the closing backtick.
    Quoted,
    /// At the end of the line, or where its explanation begins.
    OwnLine,
    /// Where the sentence goes on.
    Prose,
}

impl Proposed {
    /// All the commands in a text.
    fn in_text(text: &str, known: &Command) -> Vec<Self> {
        let text = joined(text);
        let starts = text.match_indices("postern ").map(|(start, _)| start);
        starts.filter_map(|start| Self::at(&text, start, known)).flat_map(Self::each).collect()
    }

    fn at(text: &str, start: usize, known: &Command) -> Option<Self> {
        let setting = setting(&text[..start])?;
        let rest = &text[start..];
        let first =
            rest.split_whitespace().nth(1)?.trim_end_matches(|letter: char| !letter.is_alphanumeric());
        // In running text "postern" can be the user or the program as well.
        if setting == Setting::Prose && known.find_subcommand(first).is_none() {
            return None;
        }
        let line = &rest[..end(rest, setting)];
        let named = names(line, known);
        let mut words: Vec<String> = split(line);
        if setting == Setting::Prose {
            let arguments = words.iter().skip(named).take_while(|word| is_argument(word)).count();
            words.truncate(named + arguments);
            // The sentence may end with it.
            for word in &mut words {
                word.truncate(word.trim_end_matches(['.', ',', ';', ':']).len());
            }
        }
        let partial = words.len() <= named || words.iter().any(|word| word == "…" || word == "...");
        Some(Self { words: words.iter().filter_map(|word| filled(word)).collect(), partial })
    }

    /// Each of the commands that are written as one: `postern queue hold|release`.
    fn each(self) -> Vec<Self> {
        let Some(at) = self.words.iter().position(|word| word.contains('|')) else { return vec![self] };
        let partial = self.partial;
        let with = |choice: &str| {
            let mut words = self.words.clone();
            choice.clone_into(&mut words[at]);
            Self { words, partial }
        };
        self.words[at].split('|').map(with).collect()
    }

    /// What is wrong with it, whatever is filled in.
    fn fault(&self, known: &Command) -> Option<String> {
        let faults: Option<Vec<String>> =
            FILLINGS.iter().map(|filling| self.fault_with(filling, known)).collect();
        faults?.into_iter().next()
    }

    fn fault_with(&self, filling: &str, known: &Command) -> Option<String> {
        let words: Vec<&str> =
            self.words.iter().map(|word| if word == BLANK { filling } else { word.as_str() }).collect();
        let error = known.clone().try_get_matches_from(&words).err()?;
        match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => None,
            ErrorKind::MissingRequiredArgument
            | ErrorKind::MissingSubcommand
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                if self.partial =>
            {
                None
            }
            _ => Some(format!("{}: {error}", words.join(" "))),
        }
    }
}

/// Lines that Rust's source breaks within a text are one again.
fn joined(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    lines.fold(first, |joined, line| {
        // A text that begins with a break holds its lines as they are.
        let keeps = joined.ends_with('"');
        joined + if keeps { "\n" } else { "" } + if keeps { line } else { line.trim_start() }
    })
}

/// How a command stands in a text, by what comes before it; none if it is part of another word.
fn setting(before: &str) -> Option<Setting> {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let prompt = line.trim_start_matches(['/', '!']).trim();
    match line.chars().next_back() {
        Some('`') => Some(Setting::Quoted),
        _ if prompt.is_empty() || prompt == "#" || prompt == "$" => Some(Setting::OwnLine),
        Some(' ' | '(' | '"') => Some(Setting::Prose),
        _ => None,
    }
}

fn end(rest: &str, setting: Setting) -> usize {
    let ends: &[&str] = match setting {
        Setting::Quoted => &["`", " && "],
        Setting::OwnLine => &["\n", "\\n", "  ", "\"", " > ", " | ", " && "],
        Setting::Prose => &["\n", "\\n", "\"", "`", ", ", "; ", ": ", ". ", ")", "("],
    };
    ends.iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len())
}

/// How many words from the start name the command itself.
fn names(line: &str, known: &Command) -> usize {
    let mut here = known;
    let mut count = 1;
    for word in line.split_whitespace().skip(1) {
        let Some(next) = here.find_subcommand(word) else { break };
        (here, count) = (next, count + 1);
    }
    // Where a subcommand is due, the next word is one: a wrong one is to be found.
    if here.is_subcommand_required_set() && line.split_whitespace().count() > count {
        count + 1
    } else {
        count
    }
}

/// Words as a shell makes them of the line.
fn split(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Whether a word of running text can be an argument: an option or a placeholder.
fn is_argument(word: &str) -> bool {
    word.starts_with("--") || word.starts_with('{') || is_placeholder(word)
}

fn is_placeholder(word: &str) -> bool {
    let word = word.trim_end_matches("...");
    word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase() || "_-|:".contains(letter))
}

/// A word as somebody would type it.
fn filled(word: &str) -> Option<String> {
    let plain = word.split_once('{').map_or(word, |(before, _)| before).trim_end_matches("...");
    match plain {
        // A placeholder of the format; what is glued to a word is one that may be empty.
        "" if word.starts_with('{') => Some(BLANK.to_owned()),
        "…" | "" => None,
        _ if is_placeholder(plain) => Some(BLANK.to_owned()),
        _ => Some(plain.to_owned()),
    }
}

/// The sources of the libraries and the program, and the manual.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut texts = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "docs"].iter().map(|folder| root.join(folder)).collect();
    texts.extend(["README.md", "CHANGELOG.md"].map(|file| root.join(file)));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "md") {
                texts.push(path);
            }
        }
    }
    let is_test = |path: &PathBuf| {
        path.components().any(|part| part.as_os_str().to_string_lossy().starts_with("tests"))
    };
    texts.retain(|path| !is_test(path) && !path.ends_with("cli/src/proposed.rs"));
    texts
}

/// Without the tests at the end, which propose nothing to anybody.
fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned()
}

#[test]
fn every_command_that_is_proposed_can_be_typed() {
    let known = Arguments::command();
    let mut found = 0;
    let mut faults = Vec::new();
    for path in texts() {
        for proposed in Proposed::in_text(&read(&path), &known) {
            found += 1;
            faults.extend(proposed.fault(&known).map(|fault| format!("{}: {fault}", path.display())));
        }
    }
    assert!(faults.is_empty(), "{} of {found}:\n{}", faults.len(), faults.join("\n"));
    assert!(found > 200, "only {found} were found");
}

#[test]
fn a_command_that_cannot_be_typed_is_found_wherever_it_stands() {
    let known = Arguments::command();
    let faults = |text: &str| -> Vec<String> {
        Proposed::in_text(text, &known).iter().filter_map(|proposed| proposed.fault(&known)).collect()
    };
    for wrong in [
        "format!(\"postern cert request {identity}, then postern cert install what comes\")",
        "see `postern cert request mail` for it",
        "Examples:\n  postern ca root --form pem      as text",
        "# postern cert check --days 3\n",
        "nobody knows (postern ca rewoke {serial})",
        "do `postern certify` now",
        "on two lines: postern cert show \\\n     {identity} --test",
    ] {
        assert_eq!(faults(wrong).len(), 1, "{wrong}: {:?}", faults(wrong));
    }
    for right in [
        "format!(\"postern cert request --identity {identity}, then postern cert install what comes\")",
        "the user postern may read it; postern ca status says more",
        "Examples:\n  postern cert request --organisation 'Example GmbH' --yes > mail.csr",
        "`postern cert assign … --release`, or 2. postern cert install FILE...{named}   with it",
    ] {
        assert_eq!(faults(right), Vec::<String>::new(), "{right}");
    }
}
