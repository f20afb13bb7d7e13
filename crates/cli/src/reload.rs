//! `postern reload`: has the running Postern read its configuration again, and says whether it could.
//!
//! The file is judged here first, so that all that is wrong with it is told to the person who changed it, not only to the
//! log; the daemon, which may see it with other rights, judges it again.

use std::path::Path;
use std::process::ExitCode;

use postern_mta::admin::{Admin, Request};

use crate::{Done, become_owner_of, block_on, config, load, say};

/// Carries it out.
///
/// # Errors
/// The configuration is broken, Postern does not run, or something of the new configuration could not be put into force.
pub(crate) fn run(path: &Path) -> Done {
    if let Err(problems) = config::judge(path) {
        return Ok(config::refuse(&problems));
    }
    let configuration = load(path)?;
    become_owner_of(&configuration.data_dir)?;
    block_on(Admin::new(configuration).call(Request::Reload))??;
    say("reloaded; no session was dropped\n")?;
    Ok(ExitCode::SUCCESS)
}
