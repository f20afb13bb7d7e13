//! `postern cert install FILE…`: what an authority sent becomes the certificate that is shown.
//!
//! The files are read with the rights that the command was started with, because whoever downloaded them need not let
//! Postern read them. Then everything is judged and shown, and only then changed. A passphrase is asked for only when
//! a file turns out to need one.
//!
//! The exit code says what came of it: 0 installed, 1 refused, 2 it could not be read, asked for or written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::certificates::{
    Certificates, Daemon, Doubts, Error, Offer, Passphrase, Plan, needs_passphrase,
};
use postern_mta::event::clean;

use super::words::in_full;
use crate::ask::{Usual, at_terminal, go_on, passphrase};
use crate::table::facts;
use crate::{Done, admin, block_on, say};

/// Why something cannot be installed.
type Failure = Box<dyn std::error::Error>;

/// Something speaks against the certificate, or somebody said no.
const REFUSED: u8 = 1;
/// It could not be read, asked for or written.
const FAILED: u8 = 2;
/// So often a passphrase may be mistyped.
const ATTEMPTS: usize = 3;

/// Arguments of `postern cert install`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert install mail.crt intermediate.crt
      the answer to a request that was made here: its key is found by itself
  postern cert install mail.pfx
      a certificate with its key, from a backup or another server; asks for the passphrase
  postern cert install fullchain.pem --key privkey.pem --as mail --yes

Any form will do: PEM, DER, PKCS #7 (.p7b), PKCS #12 (.pfx, .p12), in any order. Nothing changes before everything has been
judged and confirmed. Exit code: 0 installed, 1 refused, 2 it could not be read or written.")]
pub(crate) struct Arguments {
    /// The certificate, and what came with it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What it is called here [default: as the request that it answers, else by its first name]
    #[arg(long = "as", value_name = "NAME", value_parser = super::identity)]
    identity: Option<String>,
    /// The file with its private key, where that was not made here
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The file whose first line opens the PKCS #12 file or the key; asked for at the terminal otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Install it though something speaks against it
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What is confirmed already.
#[derive(Debug, Clone, Copy)]
pub(super) struct Confirmation {
    /// That it is installed though something speaks against it.
    pub(super) force: bool,
    /// That it is installed.
    pub(super) yes: bool,
}

/// Runs `postern cert install`; what went wrong is said, and the exit code tells what kind of trouble it was.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> ExitCode {
    install(arguments, path).unwrap_or_else(|error| {
        eprintln!("postern: {error}");
        ExitCode::from(if speaks_against(&*error) { REFUSED } else { FAILED })
    })
}

/// Whether everything could be read, and was judged.
fn speaks_against(error: &(dyn std::error::Error + 'static)) -> bool {
    use postern_mta::admin::Error::Certificates as Judged;
    let Some(Judged(error)) = error.downcast_ref() else { return false };
    matches!(
        error,
        Error::NoKey { .. } | Error::OtherKey { .. } | Error::Foreign { .. } | Error::Refused { .. }
    )
}

fn install(arguments: &Arguments, path: &Path) -> Done {
    let files = arguments.files.iter().map(|file| Offer::read(file));
    let offers = files.chain(arguments.key.iter().map(|file| Offer::read_key(file)));
    let offers: Vec<Offer> = offers.collect::<Result<_, _>>()?;
    let opened = arguments.passphrase_file.as_deref().map(Passphrase::in_file).transpose()?;
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let plan = plan(&certificates, &offers, opened.as_ref(), arguments.identity.as_deref())?;
    let confirmation = Confirmation { force: arguments.force, yes: arguments.yes };
    confirm_and_carry_out(&certificates, plan, confirmation)
}

/// Shows a plan, asks, and carries it out.
fn confirm_and_carry_out(certificates: &Certificates<'_>, plan: Plan, confirmation: Confirmation) -> Done {
    let Confirmation { force, yes } = confirmation;
    eprint!("{}", summary(&plan, Timestamp::now()));
    let refused = plan.examination.is_refused();
    if refused && !force {
        eprintln!("Nothing was changed. To install it all the same: --force");
        return Ok(ExitCode::from(REFUSED));
    }
    let (question, usual) = if refused {
        ("Install it although something speaks against it?", Usual::No)
    } else {
        ("Install it?", Usual::Yes)
    };
    if !go_on(question, usual, yes)? {
        eprintln!("Nothing was changed.");
        return Ok(ExitCode::from(REFUSED));
    }
    carry_out(certificates, plan, confirmation)
}

/// Installs what is confirmed.
pub(super) fn carry_out(certificates: &Certificates<'_>, plan: Plan, confirmation: Confirmation) -> Done {
    let identity = plan.identity.clone();
    let doubts = if confirmation.force { Doubts::Override } else { Doubts::Heed };
    let daemon = block_on(certificates.install(plan, doubts))??;
    say(&format!("the certificate for \"{identity}\" is installed{}\n", and_then(daemon)))?;
    Ok(ExitCode::SUCCESS)
}

/// What a change means for those who connect.
pub(super) fn and_then(daemon: Daemon) -> &'static str {
    match daemon {
        Daemon::Told => ", and new sessions see it; no session was dropped",
        Daemon::Absent => "; it will be shown once Postern runs",
    }
}

/// Judges the files, asking for a passphrase where one is needed and somebody can be asked.
fn plan(
    certificates: &Certificates<'_>,
    offers: &[Offer],
    opened: Option<&Passphrase>,
    named: Option<&str>,
) -> Result<Plan, Failure> {
    let judge = |passphrase: Option<&Passphrase>| block_on(certificates.plan(offers, passphrase, named));
    let mut planned = judge(opened)?;
    for _ in 0..ATTEMPTS {
        let Err(error) = &planned else { break };
        if opened.is_some() || !needs_passphrase(error) {
            break;
        }
        if !at_terminal() {
            return Err(format!("{error} (--passphrase-file FILE)").into());
        }
        eprintln!("{error}");
        planned = judge(Some(&passphrase("Passphrase", "--passphrase-file FILE")?))?;
    }
    Ok(planned?)
}

/// What is to be installed, with what was found.
pub(super) fn summary(plan: &Plan, now: Timestamp) -> String {
    let issuers: Vec<String> = plan.issuers.iter().map(|issuer| clean(issuer)).collect();
    let present = plan.present.as_ref().map_or("nothing: it is new".to_owned(), |seen| in_full(seen, now));
    let facts = facts([
        ("identity", plan.identity.clone()),
        ("certificate", in_full(&plan.certificate, now)),
        ("sent with it", if issuers.is_empty() { "nothing".to_owned() } else { issuers.join("\n") }),
        ("key", plan.key_from.to_string()),
        ("in place of", present),
    ]);
    let findings: String = plan
        .examination
        .findings
        .iter()
        .map(|finding| format!("{}\n", clean(&finding.to_string())))
        .collect();
    format!("To be installed:\n{facts}{findings}")
}
