//! `postern ca`: the private certificate authority.
//!
//! The operations are [`Authority`]; what is here asks, shows and confirms. They work on the CA's folder and records
//! directly, whether or not the daemon runs; a running one is told to look again. Files that an administrator names are
//! opened with the rights that the command was started with, before [`admin`](crate::admin) gives root up; everything in
//! the data directory is done as its owner.
//!
//! [`Authority`]: postern_mta::admin::authority::Authority

mod decide;
mod init;
mod issue;
mod records;
mod renew;
mod show;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use nix::unistd::{User, getuid};
use postern_mta::admin::Admin;
use postern_mta::admin::authority::{Actor, Authority, Passphrase};
use postern_mta::admin::certificates::Daemon;
use postern_mta::config::default_path;

use crate::{Done, ask, block_on};

/// Subcommands of `postern ca`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make the CA: question by question at a terminal, by flags in scripts
    Init(init::Arguments),
    /// The CA at a glance, and what it needs
    Status(show::Status),
    /// The root certificate, and how mail programs come to trust it
    Root(show::Root),
    /// Issue a certificate: for names, with a key made here, or for a request that somebody sent
    Issue(issue::Arguments),
    /// Certificates that were issued, the newest first
    List(show::List),
    /// Certificates by their serial number or name, in full
    Show(show::Show),
    /// Requests that were sent over HTTP: those that wait for approval first
    Requests(show::Requests),
    /// Issue what a request asks for; whoever sent it fetches the certificate where he asked
    Approve(decide::Approve),
    /// Deny a request; whoever sent it is told why
    Deny(decide::Deny),
    /// Revoke certificates, and sign the list that says so
    Revoke(decide::Revoke),
    /// The revocation list
    Crl(decide::Crl),
    /// Renew the intermediate by the root's key; what it issued stays good
    RenewIntermediate(renew::Arguments),
    /// Begin the CA's records again where they are lost and there is no backup, from its last revocation list
    BeginRecords(records::Arguments),
}

/// What opens the CA's key.
#[derive(Debug, Default, Args)]
struct Opening {
    /// The file whose first line opens the CA's key [default: passphrase_file of [ca]; else it is asked for, if the key
    /// is locked]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    match command {
        Command::Init(arguments) => init::run(arguments, path),
        Command::Status(arguments) => show::status(&arguments, path),
        Command::Root(arguments) => show::root(&arguments, path),
        Command::Issue(arguments) => issue::run(&arguments, path),
        Command::List(arguments) => show::list(&arguments, path),
        Command::Show(arguments) => show::show(&arguments, path),
        Command::Requests(arguments) => show::requests(&arguments, path),
        Command::Approve(arguments) => decide::approve(&arguments, path),
        Command::Deny(arguments) => decide::deny(&arguments, path),
        Command::Revoke(arguments) => decide::revoke(&arguments, path),
        Command::Crl(arguments) => decide::crl(&arguments, path),
        Command::RenewIntermediate(arguments) => renew::run(&arguments, path),
        Command::BeginRecords(arguments) => records::run(&arguments, path),
    }
}

impl Opening {
    /// What was given on the command line; read before root is given up.
    fn given(&self) -> Result<Option<Passphrase>, Box<dyn Error>> {
        Ok(self.passphrase_file.as_deref().map(Passphrase::in_file).transpose()?)
    }
}

/// What was given, or is asked for because the key is locked and nothing else opens it.
fn opened(
    given: Option<Passphrase>,
    authority: &Authority<'_>,
) -> Result<Option<Passphrase>, Box<dyn Error>> {
    if given.is_some() || !authority.wants_passphrase(Timestamp::now())? {
        return Ok(given);
    }
    asked().map(Some)
}

fn asked() -> Result<Passphrase, Box<dyn Error>> {
    ask::passphrase("Passphrase of the private CA", "--passphrase-file FILE")
}

/// Who is at the keyboard, as the records name him; asked before root is given up.
fn operator() -> String {
    let own = User::from_uid(getuid()).ok().flatten().map(|user| user.name);
    let own = own.unwrap_or_else(|| format!("uid {}", getuid()));
    // Only root can be somebody else in this way, and is believed.
    match std::env::var("SUDO_USER") {
        Ok(name) if getuid().is_root() && !name.is_empty() => format!("{name} (as {own})"),
        _ => own,
    }
}

fn actor<'a>(name: &'a str, passphrase: Option<&'a Passphrase>) -> Actor<'a> {
    Actor { name, passphrase }
}

/// Has a running daemon look at what was changed. What was done stands either way.
fn tell_daemon(admin: &Admin) -> Result<(), Box<dyn Error>> {
    match block_on(admin.authority().tell_daemon())? {
        Ok(Daemon::Told) => eprintln!("The running Postern has taken it over."),
        Ok(Daemon::Absent) => {}
        Err(error) => eprintln!("postern: it is done, but the running Postern was not told: {error}"),
    }
    Ok(())
}

/// ` --config FILE` for the commands that are proposed, where it is needed.
fn also_config(path: &Path) -> String {
    if path == default_path() { String::new() } else { format!(" --config {}", path.display()) }
}
