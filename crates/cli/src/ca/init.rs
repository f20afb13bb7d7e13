//! `postern ca init`: making the CA.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dialoguer::{Confirm, Input, Select};
use jiff::Timestamp;
use postern_mta::admin::authority::{Authority, KeyKind, Locks, Passphrase, Setup};
use postern_mta::config::units;

use super::{also_config, show, tell_daemon};
use crate::ask::{self, Usual, at_terminal, go_on};
use crate::table::facts;
use crate::{Done, admin, in_json, say};

/// Importing a new root into every mail program is a nuisance: about ten years.
const ROOT_LIFE: Duration = Duration::from_hours(3653 * 24);
/// About five years; it is renewed with the root's key, and nobody imports it.
pub(super) const INTERMEDIATE_LIFE: Duration = Duration::from_hours(1826 * 24);
/// The kinds of key, the usual one first.
const KEYS: [&str; 5] = ["ecdsa-p256", "ecdsa-p384", "rsa-2048", "rsa-3072", "rsa-4096"];

/// Arguments of `postern ca init`.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  postern ca init
      asks for everything at the terminal, with proposals
  postern ca init --label 'Example Office' --intermediate --passphrase-file /root/ca.passphrase --yes
      a root locked by a passphrase, and under it an intermediate that signs daily without one
  postern ca init --label 'Example Office' --no-passphrase --yes
      one root, whose key whoever can read the data directory can use

Keep the passphrase, and a copy of the CA's folder, where this machine cannot lose them.")]
pub(crate) struct Arguments {
    /// What people see when they import the root: the organisation's name
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// The organisation, if it is to stand in the root as well
    #[arg(long, value_name = "TEXT", visible_alias = "organization")]
    organisation: Option<String>,
    /// The kind of its keys: ecdsa-p256, ecdsa-p384, rsa-2048, rsa-3072 or rsa-4096 [default: ecdsa-p256]
    #[arg(long, value_name = "KIND")]
    key: Option<KeyKind>,
    /// How long the root is good for [default: 3653d, about ten years]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    life: Option<Duration>,
    /// Have an intermediate sign daily, good for this long [without a time: 1826d, about five years]
    #[arg(long, value_name = "TIME", value_parser = units::duration, num_args = 0..=1, default_missing_value = "1826d")]
    intermediate: Option<Duration>,
    #[command(flatten)]
    lock: LockArguments,
    /// Ask nothing: take the proposals for what is not given
    #[arg(long)]
    yes: bool,
    /// Print what was made as JSON
    #[arg(long)]
    json: bool,
}

/// What locks its keys.
#[derive(Debug, Default, Args)]
struct LockArguments {
    /// The file whose first line is the passphrase that locks the root's key
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    passphrase_file: Option<PathBuf>,
    /// Leave the root's key open
    #[arg(long)]
    no_passphrase: bool,
    /// Lock the intermediate's key, too: then nothing is signed without the passphrase
    #[arg(long, requires = "intermediate")]
    lock_intermediate: bool,
}

/// Runs `postern ca init`.
///
/// # Errors
/// There is a CA already, what is needed is neither given nor can be asked for, or it cannot be written.
pub(crate) fn run(arguments: Arguments, path: &Path) -> Done {
    let given = arguments.lock.passphrase_file.as_deref().map(Passphrase::in_file).transpose()?;
    let admin = admin(path)?;
    let authority = admin.authority();
    refuse_existing(&authority)?;
    let (yes, json) = (arguments.yes, arguments.json);
    let (setup, passphrase) =
        if at_terminal() && !yes { gather_at_terminal(arguments, given)? } else { gather(arguments, given)? };
    eprint!("{}", summary(&setup, passphrase.as_ref(), &authority));
    if !go_on("Make this CA?", Usual::Yes, yes)? {
        eprintln!("Nothing was made.");
        return Ok(ExitCode::FAILURE);
    }
    let made = authority.init(setup, passphrase.as_ref(), Timestamp::now())?;
    if json {
        say(&in_json(&made)?)?;
    } else {
        say(&show::overview(&made))?;
    }
    tell_daemon(&admin)?;
    eprint!("{}", next_steps(path));
    Ok(ExitCode::SUCCESS)
}

/// Before anything is asked.
fn refuse_existing(authority: &Authority<'_>) -> Result<(), Box<dyn Error>> {
    if !authority.exists() {
        return Ok(());
    }
    let folder = authority.folder().display().to_string();
    Err(format!(
        "{folder} holds a CA already (postern ca status shows it); a new one would make everything that was issued \
         worthless. If that is meant, move the folder away (mv {folder} {folder}.old), make the new CA, and import its \
         root wherever the old one is trusted"
    )
    .into())
}

/// What flags and proposals come to.
fn gather(
    arguments: Arguments,
    passphrase: Option<Passphrase>,
) -> Result<(Setup, Option<Passphrase>), Box<dyn Error>> {
    let Some(label) = arguments.label.filter(|label| !label.trim().is_empty()) else {
        return Err("the CA needs a name that people know: give --label TEXT".into());
    };
    if passphrase.is_none() && !arguments.lock.no_passphrase {
        return Err(
            "say what locks the root's key: --passphrase-file FILE, or --no-passphrase to leave it open"
                .into(),
        );
    }
    let setup = Setup {
        label,
        organisation: arguments.organisation,
        key: arguments.key.unwrap_or_default(),
        life: arguments.life.unwrap_or(ROOT_LIFE),
        intermediate: arguments.intermediate,
        locks: if arguments.lock.lock_intermediate { Locks::All } else { Locks::Root },
    };
    Ok((setup, passphrase))
}

/// Asks for what no flag gave.
fn gather_at_terminal(
    arguments: Arguments,
    given: Option<Passphrase>,
) -> Result<(Setup, Option<Passphrase>), Box<dyn Error>> {
    eprintln!(
        "A private CA. Enter takes what is proposed in brackets; Ctrl-C leaves, and nothing is made.\n"
    );
    let label = match arguments.label {
        Some(label) => label,
        None => {
            Input::new().with_prompt("Name of the CA, as people see it (Example Office)").interact_text()?
        }
    };
    let key = match arguments.key {
        Some(key) => key,
        None => ask_key()?,
    };
    let life = match arguments.life {
        Some(life) => life,
        None => ask_life("How long is the root good for", ROOT_LIFE)?,
    };
    let intermediate = match arguments.intermediate {
        Some(life) => Some(life),
        None => ask_intermediate()?,
    };
    let passphrase = match given {
        Some(passphrase) => Some(passphrase),
        None if arguments.lock.no_passphrase => None,
        None => ask_passphrase()?,
    };
    let all =
        arguments.lock.lock_intermediate || (intermediate.is_some() && passphrase.is_some() && ask_all()?);
    let locks = if all { Locks::All } else { Locks::Root };
    let organisation = arguments.organisation;
    Ok((Setup { label, organisation, key, life, intermediate, locks }, passphrase))
}

fn ask_key() -> Result<KeyKind, Box<dyn Error>> {
    let chosen = Select::new().with_prompt("Kind of its keys").items(KEYS).default(0).interact()?;
    Ok(KEYS[chosen].parse()?)
}

fn ask_life(prompt: &str, usual: Duration) -> Result<Duration, Box<dyn Error>> {
    let usual = format!("{}d", usual.as_secs() / 86_400);
    let known = |text: &String| units::duration(text).map(drop);
    let text: String =
        Input::new().with_prompt(prompt).default(usual).validate_with(known).interact_text()?;
    Ok(units::duration(&text)?)
}

fn ask_intermediate() -> Result<Option<Duration>, Box<dyn Error>> {
    eprintln!(
        "With an intermediate, the root's key is locked away, and certificates are issued all the same."
    );
    if !Confirm::new().with_prompt("With an intermediate?").default(true).interact()? {
        return Ok(None);
    }
    Ok(Some(ask_life("How long is the intermediate good for", INTERMEDIATE_LIFE)?))
}

fn ask_passphrase() -> Result<Option<Passphrase>, Box<dyn Error>> {
    if !Confirm::new().with_prompt("Lock the root's key by a passphrase?").default(true).interact()? {
        return Ok(None);
    }
    Ok(Some(ask::new_passphrase("Passphrase of the private CA", "--passphrase-file FILE")?))
}

fn ask_all() -> Result<bool, io::Error> {
    let question = "Lock the intermediate's key, too, so that nothing is signed without the passphrase?";
    Confirm::new().with_prompt(question).default(false).interact().map_err(io::Error::other)
}

fn summary(setup: &Setup, passphrase: Option<&Passphrase>, authority: &Authority<'_>) -> String {
    let days = |life: Duration| format!("{} days", life.as_secs() / 86_400);
    let keys = match (passphrase, setup.intermediate, setup.locks) {
        (None, ..) => "open: whoever can read the folder can use them",
        (Some(_), Some(_), Locks::Root) => {
            "the root's is locked by the passphrase, the intermediate's is open"
        }
        (Some(_), ..) => "locked by the passphrase",
    };
    facts([
        ("name", setup.label.clone()),
        ("organisation", setup.organisation.clone().unwrap_or_default()),
        ("folder", authority.folder().display().to_string()),
        ("kind of key", setup.key.to_string()),
        ("root", format!("good for {}", days(setup.life))),
        ("intermediate", setup.intermediate.map_or("none".into(), |life| format!("good for {}", days(life)))),
        ("keys", keys.to_owned()),
    ])
}

fn next_steps(path: &Path) -> String {
    let named = also_config(path);
    format!(
        "\nNext:
  postern ca root{named}                                 how mail programs come to trust it
  postern ca issue{named} mail.example.org --output .    a certificate with its key
  and in the configuration, for requests over HTTP: bind in [http], names in [ca]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(arguments: Arguments) -> String {
        gather(arguments, None).unwrap_err().to_string()
    }

    #[test]
    fn in_scripts_the_name_and_the_lock_must_be_said() {
        assert!(failure(Arguments::default()).contains("--label"));
        let label = || Some("Office".to_owned());
        let said = failure(Arguments { label: label(), ..Arguments::default() });
        assert!(said.contains("--passphrase-file") && said.contains("--no-passphrase"), "{said}");
        let open = Arguments {
            label: label(),
            lock: LockArguments { no_passphrase: true, ..LockArguments::default() },
            ..Arguments::default()
        };
        let (setup, passphrase) = gather(open, None).unwrap();
        assert!(passphrase.is_none() && setup.intermediate.is_none());
        assert_eq!((setup.key, setup.life), (KeyKind::EcdsaP256, ROOT_LIFE));
    }

    #[test]
    fn every_kind_of_key_that_is_offered_can_be_made() {
        assert_eq!(KEYS[0].parse(), Ok(KeyKind::default()));
        for key in KEYS {
            assert!(key.parse::<KeyKind>().is_ok(), "{key}");
        }
    }
}
