//! `postern cert send` and `renew`: certificates from authorities that Postern can ask by itself.
//!
//! [`Target`] is where a request goes; [`send`] has it certified there. Whatever the private CA issues stays in its records, so
//! it is confirmed beforehand. What an ACME authority issues is installed by the daemon, which tells its story.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::acme::OrderView;
use postern_mta::admin::certificates::{Certificates, PRIVATE_CA, Passphrase, Plan, Renewed, Waiting};
use postern_mta::admin::{self, Admin};
use postern_mta::event::clean;

use super::acme;
use super::install::{Confirmation, and_then, carry_out, summary};
use super::request::{joined, next_steps};
use super::words::in_full;
use crate::ask::{Usual, at_terminal, go_on, passphrase};
use crate::table::facts;
use crate::{Done, admin, block_on, say};

/// Why something cannot be sent.
type Failure = Box<dyn std::error::Error>;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The private CA inside Postern.
    PrivateCa,
    /// An ACME authority, by its name in the configuration.
    Acme(String),
}

impl FromStr for Target {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == PRIVATE_CA { Self::PrivateCa } else { Self::Acme(text.to_owned()) })
    }
}

/// Arguments of `postern cert send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert send mail private-ca
  postern cert send mail letsencrypt      an [[acme]] of that name in the configuration; Postern must run")]
pub(crate) struct SendArguments {
    /// Which request that waits
    #[arg(value_parser = super::identity)]
    identity: String,
    /// Where to: private-ca, or the name of an [[acme]]
    #[arg(value_name = "AUTHORITY")]
    to: Target,
    /// The file whose first line opens the private CA's key; asked for at the terminal otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Install what the private CA issues though something speaks against it
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Arguments of `postern cert renew`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert renew mail
  postern cert renew mail > mail.csr                          for an authority elsewhere: the request to give to it
  postern cert renew mail --passphrase-file /root/ca.secret   from a private CA whose key is locked

Certificates of the private CA and of ACME authorities are renewed by themselves, and by this at once. For any other a request
is made, for the key that there is; install what its authority sends. Exit code: 0 done, 1 not.")]
pub(crate) struct RenewArguments {
    /// Which one
    #[arg(value_parser = super::identity)]
    identity: String,
    /// The file whose first line opens the private CA's key; asked for at the terminal otherwise
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// Runs `postern cert send`.
///
/// # Errors
/// There is no such request or authority, or it refused.
pub(crate) fn run(arguments: &SendArguments, path: &Path) -> Done {
    let opened = arguments.passphrase_file.as_deref().map(Passphrase::in_file).transpose()?;
    let admin = admin(path)?;
    arguments.to.refuse_unknown(&admin)?;
    let confirmation = Confirmation { force: arguments.force, yes: arguments.yes };
    send(&admin, &arguments.identity, &arguments.to, opened.as_ref(), confirmation)
}

impl Target {
    /// Every authority that a request can be sent to from here, and how a person would call it.
    pub(super) fn all(admin: &Admin) -> Vec<(Self, String)> {
        let own = admin.authority().exists().then(|| (Self::PrivateCa, "the private CA".to_owned()));
        let acme = admin.certificates().acme_authorities().into_iter();
        own.into_iter().chain(acme.map(|name| (Self::Acme(name.clone()), format!("ACME {name}")))).collect()
    }

    /// Says so before a request is made that could not be sent.
    pub(super) fn refuse_unknown(&self, admin: &Admin) -> Result<(), Failure> {
        let all = Self::all(admin);
        if all.iter().any(|(known, _)| known == self) {
            return Ok(());
        }
        let known: Vec<&str> = all.iter().map(|(known, _)| known.word()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(match self {
            Self::PrivateCa => "there is no private CA yet; make one: postern ca init".into(),
            Self::Acme(name) => format!(
                "no request can be sent to \"{name}\": the configuration has no [[acme]] of that name; there is: {known}"
            )
            .into(),
        })
    }

    /// How it is written on the command line.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::PrivateCa => PRIVATE_CA,
            Self::Acme(name) => name,
        }
    }
}

/// Has a request that waits certified, and the certificate installed.
pub(super) fn send(
    admin: &Admin,
    identity: &str,
    to: &Target,
    opened: Option<&Passphrase>,
    confirmation: Confirmation,
) -> Done {
    let certificates = admin.certificates();
    match to {
        Target::PrivateCa => {
            let waiting = certificates.awaited(identity)?;
            eprint!("{}", to_be_issued(&waiting));
            if !go_on("Have the private CA issue this, and install it?", Usual::Yes, confirmation.yes)? {
                eprintln!("Nothing was changed.");
                return Ok(ExitCode::FAILURE);
            }
            let issue = |passphrase: Option<&Passphrase>| {
                block_on(certificates.send_to_private_ca(identity, passphrase))
            };
            install_issued(&certificates, with_passphrase(admin, opened, issue)?, confirmation)
        }
        Target::Acme(authority) => {
            eprintln!("Asking {authority}; this can take a minute.");
            tell_order(&block_on(certificates.send_to_acme(identity, authority))??)
        }
    }
}

/// What the private CA is about to be asked for: whatever it issues stays in its records.
fn to_be_issued(waiting: &Waiting) -> String {
    let request = &waiting.request;
    let facts = facts([
        ("identity", waiting.identity.clone()),
        ("names", joined(&request.names)),
        ("subject", clean(&request.subject.to_string())),
        ("key", request.key()),
        ("sent to", "the private CA".to_owned()),
    ]);
    format!("To be issued:\n{facts}")
}

/// Installs what was confirmed before it was issued, unless something turns out to speak against it.
fn install_issued(certificates: &Certificates<'_>, plan: Plan, confirmation: Confirmation) -> Done {
    eprint!("{}", summary(&plan, Timestamp::now()));
    if plan.examination.is_refused() && !confirmation.force {
        eprintln!(
            "It was issued (postern ca list shows it) but is not installed, and the request waits on. To have it issued \
             again and installed all the same: --force"
        );
        return Ok(ExitCode::FAILURE);
    }
    carry_out(certificates, plan, confirmation)
}

/// Runs `postern cert renew`.
///
/// # Errors
/// There is no such identity, somebody else renews it, or its authority cannot be asked.
pub(crate) fn renew(arguments: &RenewArguments, path: &Path) -> Done {
    let opened = arguments.passphrase_file.as_deref().map(Passphrase::in_file).transpose()?;
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let identity = &arguments.identity;
    let renew = |passphrase: Option<&Passphrase>| block_on(certificates.renew(identity, passphrase));
    match with_passphrase(&admin, opened.as_ref(), renew)? {
        Renewed::Requested(waiting) => {
            eprintln!("{}", next_steps(&waiting, path));
            say(&waiting.request.pem())?;
        }
        Renewed::Installed(seen, daemon) => {
            let seen = in_full(&seen, Timestamp::now());
            say(&format!("{seen}\nthe certificate for \"{identity}\" is installed{}\n", and_then(daemon)))?;
        }
        Renewed::Ordered(order) => return tell_order(&order),
    }
    Ok(ExitCode::SUCCESS)
}

/// Does something that may need the private CA's passphrase; asks for it when it turns out to be needed and somebody is there.
fn with_passphrase<T>(
    admin: &Admin,
    opened: Option<&Passphrase>,
    work: impl Fn(Option<&Passphrase>) -> Result<Result<T, admin::Error>, std::io::Error>,
) -> Result<T, Failure> {
    match work(opened)? {
        Err(admin::Error::Authority(error))
            if opened.is_none() && admin.authority().wants_passphrase(Timestamp::now())? =>
        {
            if !at_terminal() {
                return Err(format!("{error} (--passphrase-file FILE)").into());
            }
            let asked = passphrase("Passphrase of the private CA", "--passphrase-file FILE")?;
            Ok(work(Some(&asked))??)
        }
        done => Ok(done?),
    }
}

fn tell_order(order: &OrderView) -> Done {
    say(&acme::story(order))?;
    let well = order.ended.as_ref().is_some_and(|ended| ended.trouble.is_none());
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
