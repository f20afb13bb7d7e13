//! `postern ca status`, `root`, `list`, `show` and `requests`: what there is.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::authority::{
    Format, INSTRUCTIONS, IssuedSeen, KeySeen, Overview, RequestSeen, Root as RootSeen, instructions,
};
use postern_mta::event::clean;
use serde_json::json;

use crate::queue::{age, count_of};
use crate::table::{Line, facts, table};
use crate::{Done, admin, in_json, say};

/// `postern ca status` says with this that somebody has to do something, as monitoring programs have it.
const WARNING: u8 = 1;

/// Arguments of `postern ca status`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code: 0 all is well, 1 somebody has to do something, or there is no CA.")]
pub(crate) struct Status {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `postern ca root`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca root                              what there is, and the programs that there are instructions for
  postern ca root --for thunderbird            how Thunderbird comes to trust it
  postern ca root --format profile --output office.mobileconfig")]
pub(crate) struct Root {
    /// Print it: pem, der (Windows, telephones) or profile (Apple) [default with --output: pem]
    #[arg(long, value_name = "FORMAT", value_parser = ["pem", "der", "profile"])]
    format: Option<String>,
    /// Write it to this file instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["program", "json"])]
    output: Option<PathBuf>,
    /// How this program comes to trust it
    #[arg(long = "for", value_name = "PROGRAM", conflicts_with_all = ["format", "json"])]
    program: Option<String>,
    /// What there is, with all instructions, as JSON
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

/// Arguments of `postern ca list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Those that are over or revoked, too
    #[arg(long)]
    all: bool,
    /// All, as JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `postern ca show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A serial number, or a name
    which: String,
    /// Print the newest of them in PEM
    #[arg(long, conflicts_with = "json")]
    pem: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `postern ca requests`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern ca requests
  postern ca requests ID          one in full: its key and the subject that it asks for, too
  postern ca requests --all       those that were approved or denied, too")]
pub(crate) struct Requests {
    /// Show this one in full
    id: Option<String>,
    /// Those that were decided on, too
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn status(arguments: &Status, path: &Path) -> Done {
    let admin = admin(path)?;
    let seen = admin.authority().overview(Timestamp::now())?;
    say(&if arguments.json { in_json(&seen)? } else { overview(&seen) })?;
    Ok(if seen.needs.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(WARNING) })
}

pub(crate) fn root(arguments: &Root, path: &Path) -> Done {
    // Opened while we still have the rights that the command was started with.
    let output = arguments.output.as_deref().map(make).transpose()?;
    let admin = admin(path)?;
    let root = admin.authority().root()?;
    let format = arguments.format.as_deref().or(output.as_ref().map(|_| "pem"));
    let content = match (format, &arguments.program) {
        (Some("der"), _) => root.der.clone(),
        (Some("profile"), _) => root.profile.clone().into_bytes(),
        (Some(_), _) => root.pem.clone().into_bytes(),
        (None, Some(program)) => steps(program, &root)?.into_bytes(),
        (None, None) if arguments.json => in_json(&whole(&root))?.into_bytes(),
        (None, None) => described(&root).into_bytes(),
    };
    match output {
        Some(mut file) => file.write_all(&content)?,
        None => print(&content)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn list(arguments: &List, path: &Path) -> Done {
    let admin = admin(path)?;
    let issued = admin.authority().issued()?;
    if arguments.json {
        say(&in_json(&issued)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let now = Timestamp::now();
    let counts = |issued: &&IssuedSeen| issued.revoked.is_none() && issued.not_after >= now;
    let shown: Vec<&IssuedSeen> = issued.iter().filter(|issued| arguments.all || counts(issued)).collect();
    let mut lines = vec![Line::cells(["SERIAL NUMBER", "FOR", "GOOD UNTIL", "STATE", "NAMES"])];
    lines.extend(shown.iter().map(|issued| row(issued, now)));
    let total = count_of(issued.len() as u64, "certificate", "certificates");
    let head = if shown.is_empty() { String::new() } else { table(&lines) };
    let rest = if shown.len() < issued.len() { "; those that are over or revoked too: --all" } else { "" };
    say(&format!("{head}{} of {total} shown{rest}\n", shown.len()))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn show(arguments: &Show, path: &Path) -> Done {
    let admin = admin(path)?;
    let found = admin.authority().find(&arguments.which)?;
    say(&if arguments.json {
        in_json(&found)?
    } else if arguments.pem {
        found.first().map(|newest| newest.pem.clone()).unwrap_or_default()
    } else {
        found.iter().map(|issued| certificate(issued) + "\n").collect()
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn requests(arguments: &Requests, path: &Path) -> Done {
    let admin = admin(path)?;
    let (authority, now) = (admin.authority(), Timestamp::now());
    if let Some(id) = &arguments.id {
        let seen = authority.request(id, now)?;
        say(&if arguments.json { in_json(&seen)? } else { request(&seen) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut seen = authority.requests(now)?;
    if !arguments.all {
        seen.retain(|request| request.state == "waiting");
    }
    if arguments.json {
        say(&in_json(&seen)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if seen.is_empty() {
        say("no request waits\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![Line::cells(["ID", "FOR", "STATE", "AGE", "FROM", "NAMES"])];
    lines.extend(seen.iter().map(|request| {
        let names = clean(&request.names.join(", "));
        let (age, from) = (age(request.received), clean(&request.from));
        Line::cells([&request.id, &request.purpose, &request.state, &age, &from, &names])
    }));
    say(&table(&lines))?;
    Ok(ExitCode::SUCCESS)
}

/// The CA at a glance.
pub(crate) fn overview(seen: &Overview) -> String {
    let until = |certificate: &postern_smtp::tls::CertificateSeen| {
        format!("{}\n{}, until {}", clean(&certificate.subject), certificate.key, certificate.not_after)
    };
    let list = seen.list.as_ref().map(|list| {
        format!("number {}, good until {}\n{}", list.number, day(list.next_update), list.file.display())
    });
    let mut text = facts([
        ("folder", seen.folder.display().to_string()),
        ("root", until(&seen.root)),
        ("SHA-256", seen.root.sha256.clone()),
        ("root's key", key(seen.root_key).to_owned()),
        ("intermediate", seen.intermediate.as_ref().map(until).unwrap_or_default()),
        ("its key", seen.intermediate.as_ref().map(|_| key(seen.signing_key).to_owned()).unwrap_or_default()),
        (
            "signs",
            if seen.signs_alone { "by itself" } else { "when somebody gives the passphrase" }.to_owned(),
        ),
        ("over HTTP", seen.url.clone().unwrap_or_default()),
        ("list", list.unwrap_or_else(|| "none was signed yet".into())),
        (
            "issued",
            format!("{}, {} revoked", count_of(seen.issued, "certificate", "certificates"), seen.revoked),
        ),
        ("waiting", count_of(seen.waiting, "request", "requests")),
    ]);
    for need in &seen.needs {
        text += &format!("{need}\n");
    }
    text
}

/// A certificate that was issued, in full.
pub(crate) fn certificate(issued: &IssuedSeen) -> String {
    let revoked = issued.revoked.as_ref().map(|revoked| format!("{:.0}, {}", revoked.at, revoked.reason));
    facts([
        ("serial number", issued.serial.clone()),
        ("names", clean(&issued.names.join(", "))),
        ("for", issued.purpose.clone()),
        ("good", format!("{:.0} to {:.0}", issued.not_before, issued.not_after)),
        ("SHA-256", issued.sha256.clone()),
        ("issued", format!("{:.0} by {}", issued.issued, clean(&issued.approved_by))),
        ("request", issued.request.clone().unwrap_or_default()),
        ("revoked", revoked.unwrap_or_default()),
    ])
}

/// The day of a time, in UTC.
pub(crate) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn request(seen: &RequestSeen) -> String {
    facts([
        ("request", seen.id.clone()),
        ("names", clean(&seen.names.join(", "))),
        ("for", seen.purpose.clone()),
        ("subject", clean(&seen.subject)),
        ("key", seen.key.clone()),
        ("its SHA-256", seen.spki_sha256.clone()),
        ("from", clean(&seen.from)),
        ("received", format!("{:.0} ({} ago)", seen.received, age(seen.received))),
        ("state", seen.state.clone()),
        ("because", clean(seen.reason.as_deref().unwrap_or_default())),
        ("serial number", seen.serial.clone().unwrap_or_default()),
    ]) + &seen.pem
}

fn row(issued: &IssuedSeen, now: Timestamp) -> Line {
    let state = match &issued.revoked {
        Some(_) => "revoked",
        None if issued.not_after < now => "over",
        None => "good",
    };
    let names = clean(&issued.names.join(", "));
    Line::cells([&issued.serial, &issued.purpose, &day(issued.not_after), state, &names])
}

fn key(seen: KeySeen) -> &'static str {
    match seen {
        KeySeen::Open => "open: whoever can read its file can use it",
        KeySeen::Locked => "locked by a passphrase",
        KeySeen::Missing => "not here",
    }
}

fn described(root: &RootSeen) -> String {
    let programs: Vec<&str> = INSTRUCTIONS.iter().map(|instructions| instructions.token).collect();
    let certificate = &root.certificate;
    facts([
        ("root", clean(&certificate.subject)),
        ("key", certificate.key.clone()),
        ("good until", certificate.not_after.clone()),
        ("SHA-256", certificate.sha256.clone()),
    ]) + &format!(
        "\nHow a program comes to trust it: postern ca root --for PROGRAM, with one of\n  {}\n",
        programs.join(", ")
    )
}

fn steps(program: &str, root: &RootSeen) -> Result<String, Box<dyn Error>> {
    let Some(found) = instructions(program) else {
        let known: Vec<&str> = INSTRUCTIONS.iter().map(|instructions| instructions.token).collect();
        return Err(format!(
            "there are no instructions for \"{}\"; there are for {}",
            clean(program),
            known.join(", ")
        )
        .into());
    };
    let format = match found.format {
        Format::Pem => "pem",
        Format::Der => "der",
        Format::Profile => "profile",
    };
    let mut text = format!(
        "{}\nThe file: postern ca root --format {format} --output {}\nSHA-256, to be compared: {}\n",
        found.program,
        found.format.file(),
        root.certificate.sha256
    );
    for (index, step) in found.steps.iter().enumerate() {
        text += &format!("{:3}. {step}\n", index + 1);
    }
    Ok(text)
}

fn whole(root: &RootSeen) -> serde_json::Value {
    let instructions: Vec<_> = INSTRUCTIONS
        .iter()
        .map(|one| json!({ "name": one.token, "program": one.program, "file": one.format.file(), "steps": one.steps }))
        .collect();
    json!({ "certificate": root.certificate, "pem": root.pem, "instructions": instructions })
}

fn make(path: &Path) -> Result<std::fs::File, Box<dyn Error>> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    opened.map_err(|error| not_made(path, &error, "name another file").into())
}

/// Why a file is not there, and what to do about one that is there already.
pub(super) fn not_made(path: &Path, error: &std::io::Error, otherwise: &str) -> String {
    if error.kind() == std::io::ErrorKind::AlreadyExists {
        return format!(
            "{} is there already and stays as it is: move it away, or {otherwise}",
            path.display()
        );
    }
    format!("{} cannot be made: {error}", path.display())
}

/// Octets as they are; whoever reads them may stop reading.
fn print(content: &[u8]) -> Result<(), std::io::Error> {
    match std::io::stdout().lock().write_all(content) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_program_is_answered_with_those_that_are_known() {
        let root = RootSeen {
            certificate: postern_smtp::tls::CertificateSeen::default(),
            pem: String::new(),
            der: Vec::new(),
            profile: String::new(),
        };
        let said = steps("lotus", &root).unwrap_err().to_string();
        assert!(said.contains("thunderbird"), "{said}");
        assert!(steps("Thunderbird", &root).unwrap().contains("root.pem"));
    }
}
