//! `postern cert requests`: what was asked for and has not come yet.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::certificates::{Certificates, Waiting};
use postern_mta::event::clean;

use super::request::{as_json, joined};
use crate::ask::{Usual, go_on};
use crate::queue::age;
use crate::table::{Line, facts, table};
use crate::{Done, admin, in_json, say};

/// Arguments of `postern cert requests`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert requests
  postern cert requests mail            shows that request, with its PEM
  postern cert requests --discard mail  throws it away")]
pub(crate) struct Arguments {
    /// Show this one in full, with its PEM
    #[arg(conflicts_with = "discard", value_parser = super::identity)]
    identity: Option<String>,
    /// Throw this one away with its key: a certificate that comes for it later cannot be used
    #[arg(long, value_name = "NAME", value_parser = super::identity)]
    discard: Option<String>,
    /// Do not ask
    #[arg(long, requires = "discard")]
    yes: bool,
    /// As JSON
    #[arg(long, conflicts_with = "discard")]
    json: bool,
}

/// Runs `postern cert requests`.
///
/// # Errors
/// There is no such request, nobody confirms, or the disk.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let certificates = admin.certificates();
    if let Some(identity) = &arguments.discard {
        return discard(&certificates, identity, arguments.yes);
    }
    let mut waiting = certificates.waiting()?;
    if let Some(wanted) = &arguments.identity {
        waiting.retain(|waiting| waiting.identity == *wanted);
        if waiting.is_empty() {
            return Err(format!("no request for \"{wanted}\" waits; see: postern cert requests").into());
        }
    }
    let text = match &arguments.identity {
        _ if arguments.json => in_json(&waiting.iter().map(as_json).collect::<Vec<_>>())?,
        Some(_) => waiting.iter().map(details).collect(),
        None => list(&waiting),
    };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn discard(certificates: &Certificates<'_>, identity: &str, yes: bool) -> Done {
    let question = format!("Throw the request for \"{identity}\" away, with its key?");
    if !go_on(&question, Usual::No, yes)? {
        return Ok(ExitCode::FAILURE);
    }
    certificates.discard(identity)?;
    say(&format!("the request for \"{identity}\" is thrown away\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn list(waiting: &[Waiting]) -> String {
    if waiting.is_empty() {
        return "no request waits for its certificate\n".into();
    }
    let row = |waiting: &Waiting| {
        let age = format!("{} ago", age(waiting.made));
        let request = &waiting.request;
        Line::cells([&waiting.identity, &age, &request.key(), &joined(&request.names)])
    };
    let head = Line::cells(["IDENTITY", "MADE", "KEY", "NAMES"]);
    let lines: Vec<Line> = std::iter::once(head).chain(waiting.iter().map(row)).collect();
    table(&lines)
}

fn details(waiting: &Waiting) -> String {
    let [pem, der] = &waiting.paths;
    let request = &waiting.request;
    let facts = facts([
        ("identity", waiting.identity.clone()),
        ("made", format!("{:.0} ({} ago)", waiting.made, age(waiting.made))),
        ("subject", clean(&request.subject.to_string())),
        ("names", joined(&request.names)),
        ("key", request.key()),
        ("as PEM", pem.display().to_string()),
        ("as DER", der.display().to_string()),
    ]);
    format!("{facts}{}", request.pem())
}
