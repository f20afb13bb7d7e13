//! `postern ca renew-intermediate`: what the root's key is needed for.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use postern_mta::config::units;

use super::init::INTERMEDIATE_LIFE;
use super::{Opening, asked, show, tell_daemon};
use crate::{Done, admin, in_json, say};

/// Arguments of `postern ca renew-intermediate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca renew-intermediate
      asks for the passphrase of the root's key, if that is locked
  postern ca renew-intermediate --passphrase-file /root/ca.passphrase --life 1826d

It keeps its name and key: what it issued stays good, and nobody imports anything. If the root's key is kept elsewhere,
put it back as ca/private/root.key in the data directory first, and take it away again afterwards.")]
pub(crate) struct Arguments {
    /// How long it is good for, but never longer than the root [default: 1826d, about five years]
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    life: Option<Duration>,
    #[command(flatten)]
    opening: Opening,
    /// Print the CA as it is now as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `postern ca renew-intermediate`.
///
/// # Errors
/// There is no intermediate, the root's key cannot be opened, or the root itself has ended.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let given = arguments.opening.given()?;
    let admin = admin(path)?;
    let authority = admin.authority();
    let passphrase = match given {
        None if authority.wants_root_passphrase()? => Some(asked()?),
        given => given,
    };
    let life = arguments.life.unwrap_or(INTERMEDIATE_LIFE);
    let seen = authority.renew_intermediate(life, passphrase.as_ref(), Timestamp::now())?;
    say(&if arguments.json { in_json(&seen)? } else { show::overview(&seen) })?;
    tell_daemon(&admin)?;
    Ok(ExitCode::SUCCESS)
}
