//! `postern ca begin-records`: the last resort where the CA's records are lost.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::tell_daemon;
use crate::{Done, admin, say};

/// Arguments of `postern ca begin-records`.
#[derive(Debug, Args)]
#[command(after_help = "\
What the last revocation list says stays revoked. What else was issued is forgotten and cannot be revoked any more: if you
have a backup of ca/records.db in the data directory, put that back instead.")]
pub(crate) struct Arguments {}

/// Runs `postern ca begin-records`.
///
/// # Errors
/// There is no CA, or it has records.
pub(crate) fn run(_: &Arguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let list = admin.authority().begin_records(Timestamp::now())?;
    say(&match list {
        Some(list) => format!(
            "the records were begun again from revocation list number {}\nsign the next one with: postern ca crl --sign\n",
            list.number
        ),
        None => "the records were begun again; there was no revocation list\n".to_owned(),
    })?;
    tell_daemon(&admin)?;
    Ok(ExitCode::SUCCESS)
}
