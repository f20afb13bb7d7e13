//! `postern ca issue`: a certificate for names, or for a request.
//!
//! What is written goes into files that are opened before anything is issued, with the rights that the command was started
//! with, and that only their owner reads. Without a folder, the certificate goes to standard output.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::authority::{Compatibility, Handed, KeyKind, Passphrase, Purpose, Subjects};
use postern_mta::event::clean;

use super::{Opening, actor, opened, operator, show};
use crate::{Done, admin, ask, in_json, say};

/// A larger file is no request, in octets.
const REQUEST_MOST: u64 = 256 * 1024;

/// Arguments of `postern ca issue`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca issue mail.example.org imap.example.org --output .
      writes mail.example.org.pem and mail.example.org.key
  postern ca issue anna@example.org --output . --pkcs12
      a certificate for a person, as mail programs import it; asks for the passphrase of the file
  postern ca issue --request printer.csr > printer.pem
      for a request (PKCS #10, PEM or DER) that was made from a key elsewhere

Any name can be issued here; what others may ask for over HTTP is [ca] names in the configuration.")]
pub(crate) struct Arguments {
    /// Host names, IP addresses, or the mail address of a person
    #[arg(value_name = "NAME", required_unless_present = "request", conflicts_with = "request")]
    names: Vec<String>,
    /// Issue for this request instead, in PEM or DER; - is standard input
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// What it is for: server or client [default: client for mail addresses, else server]
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<Purpose>,
    /// The kind of key that is made [default: ecdsa-p256]
    #[arg(long, value_name = "KIND", conflicts_with = "request")]
    key: Option<KeyKind>,
    /// Where the files go: NAME.pem, and NAME.key or NAME.p12
    #[arg(long, value_name = "FOLDER", required_unless_present = "request")]
    output: Option<PathBuf>,
    /// Write certificate and key into one file, NAME.p12, locked by a passphrase
    #[arg(long, requires = "output", conflicts_with = "request")]
    pkcs12: bool,
    /// The file whose first line is the passphrase of the PKCS #12 file [default: it is asked for]
    #[arg(long, value_name = "FILE", requires = "pkcs12")]
    pkcs12_passphrase_file: Option<PathBuf>,
    /// For programs before about 2019: weaker encryption of the PKCS #12 file
    #[arg(long, requires = "pkcs12")]
    legacy: bool,
    #[command(flatten)]
    opening: Opening,
    /// Print what stands in the records as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `postern ca issue`.
///
/// # Errors
/// A name or the request cannot be used, a file is there already, the key cannot be opened, or something cannot be
/// written.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let subjects = arguments.subjects()?;
    let given = arguments.opening.given()?;
    let name = operator();
    let lock = arguments.lock()?;
    let mut drafts = arguments.drafts()?;
    let admin = admin(path)?;
    let authority = admin.authority();
    let passphrase = opened(given, &authority)?;
    let actor = actor(&name, passphrase.as_ref());
    let handed = authority.issue(&subjects, arguments.purpose, actor, Timestamp::now())?;
    // From here on it is issued: what cannot be written is said, with how it can be had all the same.
    let written = arguments.write(&handed, lock.as_ref(), &mut drafts).map_err(|error| {
        let serial = &handed.certificate.serial;
        format!(
            "certificate {serial} was issued but not written: {error}; revoke it (postern ca revoke {serial})"
        )
    })?;
    if arguments.json {
        say(&in_json(&handed.certificate)?)?;
    } else if arguments.output.is_none() {
        say(&handed.chain)?;
    } else {
        say(&(show::certificate(&handed.certificate) + &written))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A file that was made and not yet filled; what is never filled is removed.
struct Draft {
    path: PathBuf,
    file: File,
    done: bool,
}

impl Arguments {
    fn subjects(&self) -> Result<Subjects, Box<dyn Error>> {
        let Some(path) = &self.request else {
            return Ok(Subjects::Names { names: self.names.clone(), key: self.key.unwrap_or_default() });
        };
        let explain = |error: std::io::Error| format!("{}: {error}", path.display());
        let mut octets = Vec::new();
        if path == Path::new("-") {
            std::io::stdin().lock().take(REQUEST_MOST + 1).read_to_end(&mut octets)?;
        } else {
            let file = File::open(path).map_err(explain)?;
            file.take(REQUEST_MOST + 1).read_to_end(&mut octets).map_err(explain)?;
        }
        if octets.len() as u64 > REQUEST_MOST {
            return Err(format!("{}: this is too large for a certificate request", path.display()).into());
        }
        Ok(Subjects::Request(octets))
    }

    /// What locks the PKCS #12 file.
    fn lock(&self) -> Result<Option<Passphrase>, Box<dyn Error>> {
        match &self.pkcs12_passphrase_file {
            _ if !self.pkcs12 => Ok(None),
            Some(path) => Ok(Some(Passphrase::in_file(path)?)),
            None => {
                let question = "Passphrase of the PKCS #12 file";
                Ok(Some(ask::new_passphrase(question, "--pkcs12-passphrase-file FILE")?))
            }
        }
    }

    /// The files, made while we still have the rights to.
    fn drafts(&self) -> Result<Vec<Draft>, Box<dyn Error>> {
        let Some(folder) = &self.output else { return Ok(Vec::new()) };
        let stem = self.names.first().map_or_else(|| stem_of(self.request.as_deref()), |name| stem(name));
        let extensions: &[&str] = match (&self.request, self.pkcs12) {
            (Some(_), _) => &["pem"],
            (None, true) => &["p12"],
            (None, false) => &["pem", "key"],
        };
        let draft = |extension: &&str| Draft::new(folder.join(format!("{stem}.{extension}")));
        extensions.iter().map(draft).collect()
    }

    fn write(
        &self,
        handed: &Handed,
        lock: Option<&Passphrase>,
        drafts: &mut [Draft],
    ) -> Result<String, Box<dyn Error>> {
        let compatibility = if self.legacy { Compatibility::Legacy } else { Compatibility::Modern };
        let mut written = String::new();
        for draft in drafts {
            let extension =
                draft.path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            match (extension, lock) {
                ("p12", Some(lock)) => {
                    let content = handed.pkcs12(lock, compatibility)?.ok_or("no key was made")?;
                    draft.fill(&content)?;
                }
                ("key", _) => draft.fill(handed.key_pem().ok_or("no key was made")?.as_bytes())?,
                _ => draft.fill(handed.chain.as_bytes())?,
            }
            written += &format!("wrote {}\n", draft.path.display());
        }
        Ok(written)
    }
}

impl Draft {
    fn new(path: PathBuf) -> Result<Self, Box<dyn Error>> {
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file =
            opened.map_err(|error| show::not_made(&path, &error, "name another folder with --output"))?;
        Ok(Self { path, file, done: false })
    }

    fn fill(&mut self, content: &[u8]) -> Result<(), Box<dyn Error>> {
        let explain = |error: std::io::Error| format!("{}: {error}", self.path.display());
        self.file.write_all(content).and_then(|()| self.file.sync_all()).map_err(explain)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.done {
            // Where root was given up meanwhile, an empty file may stay.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A name as part of a file's name.
fn stem(name: &str) -> String {
    let sound =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_.@".contains(letter) { letter } else { '_' };
    let stem: String = clean(name).chars().map(sound).take(100).collect();
    stem.trim_start_matches('.').to_owned()
}

fn stem_of(request: Option<&Path>) -> String {
    let name = request.and_then(Path::file_stem).and_then(|stem| stem.to_str()).filter(|name| *name != "-");
    stem(name.unwrap_or("certificate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_file_in_the_folder_and_nowhere_else() {
        for (name, file) in [
            ("mail.example.org", "mail.example.org"),
            ("*.example.org", "_.example.org"),
            ("anna@example.org", "anna@example.org"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("2001:db8::1", "2001_db8__1"),
        ] {
            assert_eq!(stem(name), file, "{name}");
        }
        assert_eq!(stem_of(Some(Path::new("/tmp/printer.csr"))), "printer");
        assert_eq!(stem_of(Some(Path::new("-"))), "certificate");
    }

    #[test]
    fn a_file_that_is_there_is_kept_and_one_that_is_not_filled_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        drop(Draft::new(path.clone()).unwrap());
        assert!(!path.exists());
        let mut draft = Draft::new(path.clone()).unwrap();
        draft.fill(b"secret").unwrap();
        drop(draft);
        assert_eq!(fs::read(&path).unwrap(), b"secret");
        let said = Draft::new(path).err().unwrap().to_string();
        assert!(said.contains("a.key is there already") && said.contains("--output"), "{said}");
        let said = Draft::new(folder.path().join("none/a.key")).err().unwrap().to_string();
        assert!(said.contains("a.key cannot be made: "), "{said}");
    }
}
