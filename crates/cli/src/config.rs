//! `postern config check|show|explain`: is the file right, what will run, and what is this key for?

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use postern_mta::config::{Checked, Closed, Config, Problems, Surroundings, reference, show};

use crate::{Done, say};

/// Subcommands of `postern config`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Report everything that is wrong with the configuration, all at once
    Check,
    /// Print the configuration that will run, with every default filled in
    Show,
    /// Say what a key is for, its type and its default
    Explain {
        /// The key, such as queue.retry; without one all keys are listed
        key: Option<String>,
    },
}

/// Carries out a subcommand.
///
/// # Errors
/// The terminal or pipe cannot be written to.
pub(crate) fn run(command: &Command, path: &Path) -> Done {
    match command {
        Command::Check => check(path),
        Command::Show => print_resolved(path),
        Command::Explain { key: Some(key) } => explain(key),
        Command::Explain { key: None } => list_keys(),
    }
}

/// Judges the configuration and the files that it names, and prints what is allowed but probably not meant. What comes back
/// is the proof that it makes no open relay.
///
/// # Errors
/// All that is wrong.
pub(crate) fn judge(path: &Path) -> Result<Option<Closed>, Problems> {
    let Checked { problems, warnings, closed } =
        Config::check(path, &Surroundings::detect(), Timestamp::now());
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
    if problems.is_empty() { Ok(closed) } else { Err(Problems(problems)) }
}

/// Prints what is wrong.
pub(crate) fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    let count = problems.0.len();
    eprintln!("{count} {}.", if count == 1 { "problem" } else { "problems" });
    ExitCode::FAILURE
}

fn check(path: &Path) -> Done {
    match judge(path) {
        Ok(closed) => {
            let proof = closed.map(in_words).unwrap_or_default();
            print(&format!("{} is sound.\n{proof}", path.display()))
        }
        Err(problems) => Ok(refuse(&problems)),
    }
}

fn in_words(closed: Closed) -> String {
    let Closed { listeners, addresses, recipients } = closed;
    let listeners =
        if listeners == 1 { "the listener".to_owned() } else { format!("each of {listeners} listeners") };
    format!(
        "It is no open relay: {listeners} was asked from {addresses} addresses for {recipients} recipients elsewhere, and lets\n\
         only those send to others who are listed by name or sign in.\n"
    )
}

fn print_resolved(path: &Path) -> Done {
    match Config::load(path, &Surroundings::detect()) {
        Ok(config) => print(&show::render(&config)),
        Err(problems) => Ok(refuse(&problems)),
    }
}

fn explain(key: &str) -> Done {
    if let Some(entry) = reference::find(key) {
        return print(&entry.explanation());
    }
    let within = keys_within(key);
    if !within.is_empty() {
        return print(&within);
    }
    eprintln!("There is no key {key}.");
    let near = reference::near_misses(key);
    if near.is_empty() {
        eprintln!("`postern config explain` lists all keys.");
    } else {
        eprintln!("Did you mean {}?", near.join(" or "));
    }
    Ok(ExitCode::FAILURE)
}

/// The keys of a section, or all keys of this name in any section, one a line.
fn keys_within(name: &str) -> String {
    let belongs = |entry: &reference::Entry| entry.section.path == name || entry.key.name == name;
    reference::entries().filter(belongs).map(|entry| line(&entry)).collect()
}

fn list_keys() -> Done {
    print(&reference::entries().map(|entry| line(&entry)).collect::<String>())
}

fn line(entry: &reference::Entry) -> String {
    format!("{:<36} {}\n", entry.path(), entry.default_text())
}

fn print(text: &str) -> Done {
    say(text)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sections_name_lists_its_keys_and_a_bare_key_its_sections() {
        assert!(keys_within("queue").contains("queue.retry"));
        let hits = keys_within("tls");
        assert!(
            hits.contains("listener.tls") && hits.contains("connector.tls") && hits.contains("tls.minimum"),
            "{hits}"
        );
        assert_eq!(keys_within("nothing"), "");
    }

    #[test]
    fn a_bad_file_ends_with_failure_and_a_sound_one_with_success() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        let check = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let code = check(&path).unwrap();
            format!("{code:?}")
        };
        let sound =
            "hostname = \"m.example\"\n[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"[::]:25\"]\n";
        assert_eq!(check(sound), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(check("hostname = 5"), format!("{:?}", ExitCode::FAILURE));
        let lacking = format!("{sound}[[tls.identity]]\nname = \"a\"\ncertificate = \"no\"\nkey = \"no\"\n");
        assert_eq!(check(&lacking), format!("{:?}", ExitCode::FAILURE));
    }
}
