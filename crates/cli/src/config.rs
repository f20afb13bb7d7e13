//! `postern config check|show|explain`: is the file right, what will run, and what is this key for?

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use postern_mta::config::{Config, Problems, Surroundings, default_path, reference, show};

use crate::Done;

/// The command line behind `postern config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Report everything that is wrong with the configuration, all at once
    Check(FileArgs),
    /// Print the configuration that will run, with every default filled in
    Show(FileArgs),
    /// Say what a key is for, its type and its default
    Explain {
        /// The key, such as queue.retry; without one all keys are listed
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
struct FileArgs {
    /// The configuration file [default: $POSTERN_CONFIG, else /etc/postern/postern.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs `postern config`.
///
/// # Errors
/// The terminal or pipe cannot be written to.
pub(crate) fn run(args: &ConfigArgs) -> Done {
    match &args.action {
        Action::Check(file) => check(file),
        Action::Show(file) => print_resolved(file),
        Action::Explain { key: Some(key) } => explain(key),
        Action::Explain { key: None } => list_keys(),
    }
}

fn check(args: &FileArgs) -> Done {
    let path = args.path();
    let config = match Config::load(&path, &Surroundings::detect()) {
        Ok(config) => config,
        Err(problems) => return Ok(refuse(&problems)),
    };
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let missing = config.missing_files();
    if !missing.is_empty() {
        return Ok(refuse(&Problems(missing)));
    }
    print(&format!("{} is sound.\n", path.display()))
}

fn print_resolved(args: &FileArgs) -> Done {
    match Config::load(&args.path(), &Surroundings::detect()) {
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

fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    let count = problems.0.len();
    eprintln!("{count} {}.", if count == 1 { "problem" } else { "problems" });
    ExitCode::FAILURE
}

/// Prints to standard output; a reader that has left is no fault.
fn print(text: &str) -> Done {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

impl FileArgs {
    fn path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(default_path)
    }
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
            let code = check(&FileArgs { config: Some(path.clone()) }).unwrap();
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
