//! `postern cert`: our certificates, from the request to the renewal.
//!
//! The operations are [`Certificates`]; what is here asks, shows and confirms. Files that an administrator names are read
//! with the rights that the command was started with, before [`admin`](crate::admin) gives root up; everything in the
//! data directory is done as its owner.
//!
//! What it deliberately does not do: judge certificates, or know what is in them.
//!
//! [`Certificates`]: postern_mta::admin::certificates::Certificates

mod acme;
mod assign;
mod check;
mod deploy;
mod export;
mod install;
mod list;
mod next_key;
mod request;
mod requests;
mod send;
mod words;

use std::path::Path;

use clap::Subcommand;
use postern_mta::admin::certificates::check_name;
use postern_mta::config::default_path;

use crate::Done;

/// Subcommands of `postern cert`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Ask for a certificate: question by question at a terminal, by flags in scripts
    Request(request::Arguments),
    /// Requests that wait for their certificate
    Requests(requests::Arguments),
    /// Have a request that waits certified by the private CA or an ACME authority
    Send(send::SendArguments),
    /// Install what an authority sent, once everything about it has been judged
    #[command(visible_alias = "import")]
    Install(install::Arguments),
    /// Every certificate, on disk and as it is being served
    List(list::ListArguments),
    /// Show a certificate
    Show(list::ShowArguments),
    /// Say whether all certificates are well, by words and exit code
    Check(check::Arguments),
    /// Renew a certificate now
    Renew(send::RenewArguments),
    /// Write a certificate with its key into one file, for a backup or another server
    Export(export::ExportArguments),
    /// Take a certificate away
    Remove(export::RemoveArguments),
    /// Make the key of the next certificate beforehand, and print what to publish about it
    NextKey(next_key::Arguments),
    /// Choose which listeners and connectors show a certificate
    Assign(assign::Arguments),
    /// Hand certificates on to programs beside Postern, such as Dovecot
    Deploy(deploy::Arguments),
    /// Certificates from ACME authorities
    #[command(subcommand)]
    Acme(acme::Command),
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    match command {
        Command::Request(arguments) => request::run(arguments, path),
        Command::Requests(arguments) => requests::run(&arguments, path),
        Command::Send(arguments) => send::run(&arguments, path),
        Command::List(arguments) => list::list(&arguments, path),
        Command::Show(arguments) => list::show(&arguments, path),
        Command::Check(arguments) => Ok(check::run(&arguments, path)),
        Command::Renew(arguments) => send::renew(&arguments, path),
        Command::Acme(command) => acme::run(command, path),
        Command::Install(arguments) => Ok(install::run(&arguments, path)),
        Command::Export(arguments) => export::export(&arguments, path),
        Command::Remove(arguments) => export::remove(&arguments, path),
        Command::NextKey(arguments) => next_key::run(&arguments, path),
        Command::Assign(arguments) => assign::run(&arguments, path),
        Command::Deploy(arguments) => deploy::run(arguments, path),
    }
}

/// The name of an identity on the command line: one that can become a folder's.
fn identity(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// ` --config FILE` for the commands that are proposed, where it is needed.
fn also_config(path: &Path) -> String {
    if path == default_path() { String::new() } else { format!(" --config {}", path.display()) }
}
