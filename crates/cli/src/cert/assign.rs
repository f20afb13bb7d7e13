//! `postern cert assign`: which listeners and connectors show a certificate.
//!
//! It changes the configuration file, and in it only the lines that are meant, with the rights that the command was started
//! with. The new text is judged as the daemon will judge it and shown before it is written; then a running Postern is told.
//! The file is replaced in one step and keeps its mode and owner.

use std::error::Error;
use std::fs::{self, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::certificates::{Binding, Change, assign};
use postern_mta::admin::{self, Admin, Request};
use postern_mta::config::{Config, Surroundings};
use postern_mta::event::clean;
use tempfile::NamedTempFile;

use crate::ask::{Usual, go_on};
use crate::{Done, become_owner_of, block_on, say};

/// Arguments of `postern cert assign`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert assign mail --listener submission --listener submissions
  postern cert assign mail-rsa --listener mx --add      shown beside the others, to clients that need it
  postern cert assign partner --connector partner       shown to that server when it asks for a certificate
  postern cert assign old --listener mx --release

A listener without `identities` in the configuration shows all certificates, each to those who ask for its name.")]
pub(crate) struct Arguments {
    /// Which certificate
    #[arg(value_parser = super::identity)]
    identity: String,
    /// A listener that is to show it
    #[arg(long, value_name = "NAME", required_unless_present = "connector")]
    listener: Vec<String>,
    /// A connector that is to show it to servers that ask for a client certificate
    #[arg(long, value_name = "NAME")]
    connector: Vec<String>,
    /// Beside those that are shown there now, not in their place
    #[arg(long, conflicts_with = "release")]
    add: bool,
    /// No longer show it there
    #[arg(long)]
    release: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs `postern cert assign`.
///
/// # Errors
/// There is no such listener, connector or identity, nobody confirms, or the file cannot be written: then it is as it was.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    // A link stays a link: what it leads to is changed.
    let path = &fs::canonicalize(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let old = read(path)?;
    if change(arguments) != Change::Release {
        refuse_unknown(&old, path, &arguments.identity)?;
    }
    let new = assign(&old, &arguments.identity, &bindings(arguments), change(arguments))?;
    if new == old {
        say("it is so already; nothing was changed\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = Config::parse(&new, &path.display().to_string(), &Surroundings::detect())?;
    eprint!("{}:\n{}", path.display(), difference(&old, &new));
    if !go_on("Write this?", Usual::Yes, arguments.yes)? {
        eprintln!("Nothing was changed.");
        return Ok(ExitCode::FAILURE);
    }
    if read(path)? != old {
        return Err(format!(
            "{} was changed by somebody else meanwhile; nothing was written",
            path.display()
        )
        .into());
    }
    replace(path, &new)?;
    tell(config)
}

/// Says at once that there is no such certificate. Where that cannot be found out, the new configuration is judged anyhow.
fn refuse_unknown(text: &str, path: &Path, identity: &str) -> Result<(), String> {
    let Ok(config) = Config::parse(text, &path.display().to_string(), &Surroundings::detect()) else {
        return Ok(());
    };
    let listed: Vec<String> = config.tls.identities.iter().map(|listed| listed.name.clone()).collect();
    let Ok(mut known) = Admin::new(config).certificates().names() else { return Ok(()) };
    known.extend(listed);
    known.sort();
    known.dedup();
    if known.iter().any(|known| known == identity) {
        return Ok(());
    }
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Err(format!("there is no identity named \"{identity}\"; there is: {known}; see: postern cert list"))
}

fn bindings(arguments: &Arguments) -> Vec<Binding> {
    let listeners = arguments.listener.iter().cloned().map(Binding::Listener);
    listeners.chain(arguments.connector.iter().cloned().map(Binding::Connector)).collect()
}

fn change(arguments: &Arguments) -> Change {
    match (arguments.add, arguments.release) {
        (true, _) => Change::Add,
        (_, true) => Change::Release,
        _ => Change::Only,
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The lines that differ, with their numbers: `-` in the old text, `+` in the new one.
fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let (mut a, mut b) = (0, 0);
    let mut text = String::new();
    while a < old.len() || b < new.len() {
        let (gone, come) = until_they_agree(&old[a..], &new[b..]);
        for (sign, at, lines) in [('-', a, &old[a..a + gone]), ('+', b, &new[b..b + come])] {
            for (offset, line) in lines.iter().enumerate() {
                text += &format!("  {sign} {:>4}  {}\n", at + offset + 1, clean(line));
            }
        }
        // The line on which both agree.
        (a, b) = (a + gone + 1, b + come + 1);
    }
    text
}

/// So many lines of either text come before the first on which both agree, or before their ends: as few as can be.
fn until_they_agree(old: &[&str], new: &[&str]) -> (usize, usize) {
    for sum in 0..old.len() + new.len() {
        for gone in sum.saturating_sub(new.len())..=sum.min(old.len()) {
            if old.get(gone).is_some() && old.get(gone) == new.get(sum - gone) {
                return (gone, sum - gone);
            }
        }
    }
    (old.len(), new.len())
}

/// Replaces the file in one step, with its mode and its owner.
fn replace(path: &Path, text: &str) -> Result<(), String> {
    let written = || -> Result<(), Box<dyn Error>> {
        let before: Metadata = fs::metadata(path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        let after = file.as_file().metadata()?;
        if (before.uid(), before.gid()) != (after.uid(), after.gid()) {
            fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
        }
        file.as_file().set_permissions(before.permissions())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(fs::File::open(folder)?.sync_all()?)
    };
    written().map_err(|error| format!("{} cannot be written: {error}; it is as it was", path.display()))
}

/// Has a running Postern read its configuration again.
fn tell(config: Config) -> Done {
    become_owner_of(&config.data_dir)?;
    match block_on(Admin::new(config).call(Request::Reload))? {
        Ok(_) => say("written, and in force; no session was dropped\n")?,
        Err(admin::Error::NotRunning(_)) => say("written; it counts once Postern runs\n")?,
        Err(error) => {
            return Err(
                format!("the file is written, but the running Postern did not take it: {error}").into()
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_lines_that_differ_are_shown_with_their_numbers() {
        let old = "a\n\n[[listener]]\nname = 1\n\n[[listener]]\nidentities = [\"old\"]\n";
        let new = "a\n\n[[listener]]\nname = 1\nidentities = [\"mail\"]\n\n[[listener]]\n";
        assert_eq!(
            difference(old, new),
            "  +    5  identities = [\"mail\"]\n  -    7  identities = [\"old\"]\n"
        );
        assert_eq!(difference(old, old), "");
        assert_eq!(difference("a\nb\n", "a\nc\n"), "  -    2  b\n  +    2  c\n");
        assert_eq!(difference("", "c\n"), "  +    1  c\n");
    }

    #[test]
    fn the_file_keeps_its_mode_and_a_failure_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("postern.toml");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(&folder.path().join("none"), "new").unwrap_err().contains("cannot be written"));
    }
}
