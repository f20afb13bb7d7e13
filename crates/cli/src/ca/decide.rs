//! `postern ca approve`, `deny`, `revoke` and `crl`: what changes what counts.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::authority::{IssuedSeen, ListSeen, Reason};
use postern_mta::event::clean;

use super::{Opening, actor, opened, operator, show, tell_daemon};
use crate::ask::{Usual, go_on};
use crate::{Done, admin, in_json, say};

/// Arguments of `postern ca approve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca requests                list those that wait
  postern ca requests ID             show one in full: compare the digest of its key with what the sender says
  postern ca approve ID")]
pub(crate) struct Approve {
    /// The request, as `postern ca requests` shows it
    id: String,
    #[command(flatten)]
    opening: Opening,
    /// Print what was issued as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `postern ca deny`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postern ca deny ID --reason 'the printer has a certificate already'")]
pub(crate) struct Deny {
    /// The request, as `postern ca requests` shows it
    id: String,
    /// Why, in words for whoever sent it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Arguments of `postern ca revoke`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca revoke printer.example.org --reason superseded
  postern ca revoke 4F2A90C1 --reason key-compromise      one certificate, by its serial number

Reasons: unspecified, key-compromise, affiliation-changed, superseded, cessation-of-operation, privilege-withdrawn

A name means all certificates that bear it and are in force. It cannot be undone.")]
pub(crate) struct Revoke {
    /// Its serial number, or a name
    which: String,
    /// Why
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: Reason,
    #[command(flatten)]
    opening: Opening,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print what was revoked as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `postern ca crl`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca crl                     until when the list is good, and where it lies
  postern ca crl --sign              sign a new one now
  postern ca crl --pem > list.pem    for programs that do not fetch it")]
pub(crate) struct Crl {
    /// Sign a new one now, and renew the certificate of the responder (OCSP) if that is due
    #[arg(long)]
    sign: bool,
    #[command(flatten)]
    opening: Opening,
    /// Print the list itself, in PEM
    #[arg(long, conflicts_with = "json")]
    pem: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn approve(arguments: &Approve, path: &Path) -> Done {
    let (given, name) = (arguments.opening.given()?, operator());
    let admin = admin(path)?;
    let authority = admin.authority();
    let now = Timestamp::now();
    // What cannot be approved needs no passphrase.
    authority.request(&arguments.id, now)?;
    let passphrase = opened(given, &authority)?;
    let issued = authority.approve(&arguments.id, actor(&name, passphrase.as_ref()), now)?;
    if arguments.json {
        say(&in_json(&issued)?)?;
    } else {
        say(&show::certificate(&issued))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn deny(arguments: &Deny, path: &Path) -> Done {
    let name = operator();
    let admin = admin(path)?;
    let denied = admin.authority().deny(&arguments.id, &arguments.reason, &name, Timestamp::now())?;
    say(&format!("denied: {} from {}\n", clean(&denied.names.join(", ")), clean(&denied.from)))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn revoke(arguments: &Revoke, path: &Path) -> Done {
    let (given, name) = (arguments.opening.given()?, operator());
    let admin = admin(path)?;
    let authority = admin.authority();
    let meant: Vec<IssuedSeen> =
        authority.find(&arguments.which)?.into_iter().filter(|issued| issued.revoked.is_none()).collect();
    eprint!("{}", meant.iter().map(show::certificate).collect::<String>());
    if !meant.is_empty() && !go_on("Revoke? It cannot be undone.", Usual::No, arguments.yes)? {
        eprintln!("Nothing was revoked.");
        return Ok(ExitCode::FAILURE);
    }
    let passphrase = opened(given, &authority)?;
    let actor = actor(&name, passphrase.as_ref());
    let revoked = authority.revoke(&arguments.which, arguments.reason, actor, Timestamp::now())?;
    if arguments.json {
        say(&in_json(&revoked)?)?;
    } else {
        let serials: String =
            revoked.certificates.iter().map(|issued| format!("revoked: {}\n", issued.serial)).collect();
        say(&(serials + &revoked.list.as_ref().map(list_line).unwrap_or_default()))?;
    }
    tell_daemon(&admin)?;
    match revoked.list {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(format!(
            "it is revoked, and answers (OCSP) say so, but no new list could be signed: {error}; then: postern ca crl --sign"
        )
        .into()),
    }
}

pub(crate) fn crl(arguments: &Crl, path: &Path) -> Done {
    let given = arguments.opening.given()?;
    let admin = admin(path)?;
    let authority = admin.authority();
    if arguments.sign {
        let passphrase = opened(given, &authority)?;
        authority.sign(passphrase.as_ref(), Timestamp::now())?;
        tell_daemon(&admin)?;
    }
    let Some((list, pem)) = authority.list(Timestamp::now())? else {
        return Err("no list was signed yet: postern ca crl --sign".into());
    };
    say(&match (arguments.pem, arguments.json) {
        (true, _) => pem,
        (_, true) => in_json(&list)?,
        _ => list_line(&list),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn list_line(list: &ListSeen) -> String {
    let (number, next, file) = (list.number, show::day(list.next_update), list.file.display());
    format!("revocation list number {number}, good until {next}: {file}\n")
}
