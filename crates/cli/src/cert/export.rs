//! `postern cert export` and `remove`: a certificate with its key as one file, and taking it away.
//!
//! Export reads what the data directory holds and writes nothing there, so it keeps the rights that it was started with: the
//! file is the administrator's, who can put it where he likes. Only its owner may read it.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::Admin;
use postern_mta::admin::certificates::{Certificates, Compatibility, Doubts, Passphrase, Zeroizing};
use tempfile::NamedTempFile;

use crate::ask::{Usual, go_on, new_passphrase};
use crate::{Done, admin, block_on, load, say};

/// Arguments of `postern cert export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert export mail
      asks for a passphrase and writes mail.p12: certificate, chain and key, for a backup or another server
  postern cert export mail --passphrase-file secret --output /root/mail.pfx --legacy
      for Windows before Server 2019 and other old programs
  postern cert import mail.p12
      brings it back")]
pub(crate) struct ExportArguments {
    /// Which one
    #[arg(value_parser = super::identity)]
    identity: String,
    #[command(flatten)]
    form: Form,
    /// The file to write, or - for standard output [default: NAME.p12, NAME.pem or NAME.der]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The file whose first line is to open the PKCS #12 file; asked for at the terminal otherwise
    #[arg(long, value_name = "FILE", conflicts_with_all = ["pem", "der"])]
    passphrase_file: Option<PathBuf>,
    /// PKCS #12 that old programs read; its passphrase is easier to guess
    #[arg(long, conflicts_with_all = ["pem", "der"])]
    legacy: bool,
    /// Overwrite the file if it exists, and print a key to a terminal if told to
    #[arg(long)]
    yes: bool,
}

/// In which form.
#[derive(Debug, Args)]
struct Form {
    /// Certificate, chain and key as PKCS #12 (the default)
    #[arg(long)]
    pkcs12: bool,
    /// Certificate, chain and key as PEM, without a passphrase
    #[arg(long, conflicts_with = "pkcs12")]
    pem: bool,
    /// The certificate alone, as DER
    #[arg(long, conflicts_with_all = ["pkcs12", "pem"])]
    der: bool,
}

/// Arguments of `postern cert remove`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postern cert remove old

A certificate that a listener or connector is bound to is not removed; see: postern cert assign NAME --listener LISTENER --release
Nor is one that clients are shown for a name that no other certificate bears, unless --force says so.")]
pub(crate) struct RemoveArguments {
    /// Which one
    #[arg(value_parser = super::identity)]
    identity: String,
    /// Remove it though clients are shown it
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs `postern cert export`.
///
/// # Errors
/// There is no such identity, no passphrase, or the file cannot be written.
pub(crate) fn export(arguments: &ExportArguments, path: &Path) -> Done {
    let output = arguments.output.clone().unwrap_or_else(|| arguments.form.usual_file(&arguments.identity));
    let to_stdout = output == Path::new("-");
    let asked = fs::symlink_metadata(&output).is_ok() && !to_stdout && !arguments.yes;
    if asked {
        return Err(format!(
            "{} exists already; --yes overwrites it, --output names another file",
            output.display()
        )
        .into());
    }
    if to_stdout && !arguments.form.der && !arguments.yes && std::io::stdout().is_terminal() {
        return Err(
            "this would print a private key to the terminal; name a file with --output, or insist with --yes"
                .into(),
        );
    }
    let admin = Admin::new(load(path)?);
    let octets = octets(arguments, &admin.certificates())?;
    if to_stdout {
        std::io::stdout().lock().write_all(&octets)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&output, &octets, arguments.yes)?;
    say(&format!("wrote {}{}\n", output.display(), arguments.form.warning()))?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `postern cert remove`.
///
/// # Errors
/// There is no such identity in the store, something is bound to it, nobody confirms, or the disk.
pub(crate) fn remove(arguments: &RemoveArguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let identity = &arguments.identity;
    let question = format!("Remove the certificate \"{identity}\" with its key and its earlier versions?");
    if !go_on(&question, Usual::No, arguments.yes)? {
        eprintln!("Nothing was changed.");
        return Ok(ExitCode::FAILURE);
    }
    let doubts = if arguments.force { Doubts::Override } else { Doubts::Heed };
    block_on(certificates.remove(identity, doubts))??;
    say(&format!(
        "the certificate \"{identity}\" is removed\n{}",
        left_behind(&certificates.copies(identity))
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// The copies that other programs may still read: a private key is not left anywhere without a word.
fn left_behind(copies: &[PathBuf]) -> String {
    let [_, ..] = copies else { return String::new() };
    let copies: String = copies.iter().map(|copy| format!("  {}\n", copy.display())).collect();
    format!(
        "what was handed on (deploy_directory) stays, with the private key; once no program reads it any more, remove\n{copies}"
    )
}

fn octets(
    arguments: &ExportArguments,
    certificates: &Certificates<'_>,
) -> Result<Zeroizing<Vec<u8>>, Box<dyn std::error::Error>> {
    let identity = &arguments.identity;
    let (chain, key) = certificates.read(identity)?;
    if arguments.form.der {
        return Ok(Zeroizing::new(chain.leaf().to_vec()));
    }
    if arguments.form.pem {
        let mut octets = Zeroizing::new(key.to_pem().as_bytes().to_vec());
        octets.extend_from_slice(chain.to_pem().as_bytes());
        return Ok(octets);
    }
    let passphrase = chosen_passphrase(arguments)?;
    let compatibility = if arguments.legacy { Compatibility::Legacy } else { Compatibility::Modern };
    Ok(certificates.export(identity, &passphrase, compatibility)?)
}

fn chosen_passphrase(arguments: &ExportArguments) -> Result<Passphrase, Box<dyn std::error::Error>> {
    match &arguments.passphrase_file {
        Some(file) => Ok(Passphrase::in_file(file)?),
        None => new_passphrase("Passphrase for the file", "--passphrase-file FILE"),
    }
}

impl Form {
    fn usual_file(&self, identity: &str) -> PathBuf {
        let ending = match (self.pem, self.der) {
            (true, _) => "pem",
            (_, true) => "der",
            _ => "p12",
        };
        PathBuf::from(format!("{identity}.{ending}"))
    }

    fn warning(&self) -> &'static str {
        if self.pem { "; it holds the private key without a passphrase" } else { "" }
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn write(path: &Path, octets: &[u8], overwrite: bool) -> Result<(), String> {
    let written = || -> Result<(), Box<dyn std::error::Error>> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A temporary file is its owner's alone.
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(octets)?;
        file.as_file().sync_all()?;
        if overwrite {
            file.persist(path)?
        } else {
            file.persist_noclobber(path)?
        };
        Ok(())
    };
    written().map_err(|error| {
        format!("{} cannot be written: {error}; --output names another file", path.display())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_can_read_an_exported_file_and_an_older_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail.p12");
        write(&path, b"first", false).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&path, b"second", false).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write(&path, b"third", true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
    }
}
