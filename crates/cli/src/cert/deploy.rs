//! `postern cert deploy`: handing certificates on to programs beside Postern.
//!
//! It is done as the owner of the data directory, as the daemon does it: nothing that lies there is read or started with
//! the rights of root.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::certificates::{Certificates, Deployment};
use postern_mta::event::clean;

use crate::{Done, admin, block_on, say};

/// Arguments of `postern cert deploy`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert deploy mail --directory /etc/postern/deployed
      copies certificate and key to mail.pem and mail.key there
  postern cert deploy mail --directory /etc/postern/deployed --hook /usr/local/sbin/tell-dovecot
      and then starts: tell-dovecot deploy mail /etc/postern/deployed/mail.pem /etc/postern/deployed/mail.key

What [certificates] deploy_directory and deploy_hook say happens by itself whenever a certificate changes, and with this
command at once. The directory must be writable for the user that Postern runs as, and the hook runs as that user.")]
pub(crate) struct Arguments {
    /// Which ones [default: all in the certificate store]
    #[arg(value_parser = super::identity)]
    identities: Vec<String>,
    /// Copy certificate and key there, as NAME.pem and NAME.key [default, without either: as [certificates] of the
    /// configuration says]
    #[arg(long, value_name = "FOLDER")]
    directory: Option<PathBuf>,
    /// Start this program as PROGRAM deploy NAME CERTIFICATE KEY, with the paths of the files
    #[arg(long, value_name = "PROGRAM")]
    hook: Option<PathBuf>,
}

/// Runs `postern cert deploy`.
///
/// # Errors
/// There is nothing to hand on. One that cannot be handed on does not keep the others from it.
pub(crate) fn run(arguments: Arguments, path: &Path) -> Done {
    let here = std::env::current_dir()?;
    let whole = |path: PathBuf| here.join(path);
    let given = Deployment { folder: arguments.directory.map(whole), hook: arguments.hook.map(whole) };
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let to = if given.is_wanted() { &given } else { certificates.deployment() };
    if !to.is_wanted() {
        return Err(
            "where to? Give --directory or --hook, or set deploy_directory or deploy_hook in [certificates]"
                .into(),
        );
    }
    let identities =
        if arguments.identities.is_empty() { certificates.names()? } else { arguments.identities };
    if identities.is_empty() {
        return Err("the certificate store is empty; see: postern cert list".into());
    }
    block_on(hand_on(&certificates, &identities, to))?
}

async fn hand_on(certificates: &Certificates<'_>, identities: &[String], to: &Deployment) -> Done {
    let mut all = true;
    for identity in identities {
        match certificates.deploy(identity, to).await {
            Ok(deployed) => {
                let said = deployed.said.unwrap_or_default();
                let said: String = said.lines().map(|line| format!("  {}\n", clean(line))).collect();
                let (certificate, key) = (deployed.certificate.display(), deployed.key.display());
                say(&format!("{identity}: {certificate}, {key}\n{said}"))?;
            }
            Err(error) => {
                all = false;
                eprintln!("postern: {error}");
            }
        }
    }
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
