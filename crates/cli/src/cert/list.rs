//! `postern cert list` and `show`: every certificate, as it lies on disk and as it is being served.
//!
//! The two stand side by side, because a renewed file that is not served is the classic trouble.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::certificates::{
    Certificates, Chain, Error, Listed, OnDisk, Served, describe_certificate,
};
use postern_mta::event::clean;

use super::words::{brief, days_left, in_full};
use crate::table::{Line, facts, table};
use crate::{Done, admin, block_on, in_json, say};

/// Arguments of `postern cert list`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  postern cert list

ON DISK is what lies in the files, SERVED what new sessions see: they differ only for the moment in which a new file is
taken up, or when something is wrong with it, which is said below the line.")]
pub(crate) struct ListArguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `postern cert show`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert show mail
  postern cert show mail --pem > mail-chain.pem      the chain, without the key
  postern cert show mail --text                      every certificate of the chain in full")]
pub(crate) struct ShowArguments {
    /// Which one
    #[arg(value_parser = super::identity)]
    identity: String,
    /// Print its chain as PEM
    #[arg(long)]
    pem: bool,
    /// Tell every certificate of its chain
    #[arg(long, conflicts_with = "pem")]
    text: bool,
    /// As JSON
    #[arg(long, conflicts_with_all = ["pem", "text"])]
    json: bool,
}

/// Runs `postern cert list`.
///
/// # Errors
/// The store cannot be read, or the daemon not be asked.
pub(crate) fn list(arguments: &ListArguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let listed = block_on(admin.certificates().list())??;
    let text = if arguments.json {
        in_json(&listed)?
    } else {
        overview(&listed, Timestamp::now()) + &first_requests(&admin.certificates(), &listed)?
    };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `postern cert show`.
///
/// # Errors
/// There is no such identity, or it is broken.
pub(crate) fn show(arguments: &ShowArguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let certificates = admin.certificates();
    let now = Timestamp::now();
    if arguments.pem || arguments.text {
        let (chain, _) = certificates.read(&arguments.identity)?;
        say(&if arguments.pem { chain.to_pem() } else { in_text(&chain, now) })?;
        return Ok(ExitCode::SUCCESS);
    }
    let listed = block_on(certificates.list())??;
    let Some(one) = listed.into_iter().find(|one| one.identity == arguments.identity) else {
        return Err(format!("there is no identity \"{}\"; see: postern cert list", arguments.identity).into());
    };
    say(&if arguments.json { in_json(&one)? } else { details(&one, now) })?;
    Ok(ExitCode::SUCCESS)
}

/// Every certificate that is sent, a paragraph each.
fn in_text(chain: &Chain, now: Timestamp) -> String {
    let sent = chain.certificates();
    let told: Vec<String> =
        sent.iter().map(|der| in_full(&describe_certificate(der, sent.len()), now) + "\n").collect();
    told.join("\n")
}

fn overview(listed: &[Listed], now: Timestamp) -> String {
    if listed.is_empty() {
        return "there is no certificate yet; ask for one: postern cert request\n".into();
    }
    let mut lines = vec![Line::cells(["IDENTITY", "ON DISK", "SERVED", "LEFT", "USED BY", "RENEWED BY"])];
    for one in listed {
        lines.push(Line::cells([
            &one.identity,
            &on_disk(one),
            &served(one),
            &rest(one, now),
            &used_by(one.served.as_ref()),
            &one.renewed_by,
        ]));
        lines.extend(remarks(one).into_iter().map(Line::Remark));
    }
    table(&lines)
}

/// The requests for certificates of which there is none yet.
fn first_requests(certificates: &Certificates<'_>, listed: &[Listed]) -> Result<String, Error> {
    let waiting = certificates.waiting()?.into_iter().map(|waiting| waiting.identity);
    let first = waiting.filter(|waiting| listed.iter().all(|one| one.identity != *waiting));
    Ok(first.map(|identity| format!("{identity}: a first {}\n", waits(&identity))).collect())
}

fn waits(identity: &str) -> String {
    format!("request waits for its certificate: postern cert requests {identity}")
}

fn on_disk(one: &Listed) -> String {
    match &one.on_disk {
        OnDisk::Good(seen) => brief(&seen.sha256, &seen.not_after),
        OnDisk::Missing => "nothing yet".to_owned(),
        OnDisk::Broken(_) => "broken".to_owned(),
    }
}

fn served(one: &Listed) -> String {
    let Some(served) = &one.served else { return "-".to_owned() };
    match (&served.fingerprint, served.not_after) {
        (Some(_), _) if !one.differs() => "the same".to_owned(),
        (Some(sha256), Some(end)) => brief(sha256, &end.to_string()),
        _ => "nothing".to_owned(),
    }
}

/// Of what is served, else of what lies on disk.
fn rest(one: &Listed, now: Timestamp) -> String {
    let served = one.served.as_ref().and_then(|served| served.not_after).map(|end| end.to_string());
    let disk = match &one.on_disk {
        OnDisk::Good(seen) => Some(seen.not_after.clone()),
        _ => None,
    };
    let days = served.or(disk).and_then(|end| days_left(&end, now));
    days.map_or("-".to_owned(), |days| if days < 0 { "ended".to_owned() } else { format!("{days}d") })
}

fn used_by(served: Option<&Served>) -> String {
    let Some(served) = served else { return "-".to_owned() };
    let connectors = served.connectors.iter().map(|name| format!("{name} (connector)"));
    let users: Vec<String> = served.listeners.iter().cloned().chain(connectors).collect();
    if users.is_empty() { "-".to_owned() } else { users.join(", ") }
}

/// What does not fit into a cell.
fn remarks(one: &Listed) -> Vec<String> {
    let mut remarks = Vec::new();
    let trouble = one.served.as_ref().and_then(|served| served.trouble.as_ref());
    match (&one.on_disk, trouble) {
        // The daemon says the same about the same files.
        (OnDisk::Broken(why), _) if one.differs() => {
            remarks.push(format!("on disk: {}; the one before it is still served", clean(why)));
        }
        (OnDisk::Broken(why), _) => remarks.push(format!("on disk: {}", clean(why))),
        (_, Some(trouble)) => remarks.push(format!("what is on disk is not served: {}", clean(trouble))),
        (_, None) => {}
    }
    if one.waiting {
        remarks.push(format!("a {}", waits(&one.identity)));
    }
    remarks
}

fn details(one: &Listed, now: Timestamp) -> String {
    let disk = match &one.on_disk {
        OnDisk::Good(seen) => in_full(seen, now),
        OnDisk::Missing => "nothing yet".to_owned(),
        OnDisk::Broken(_) => "broken".to_owned(),
    };
    let served_now = match &one.served {
        None => "Postern does not run".to_owned(),
        Some(served) => in_service(one, served),
    };
    facts([
        ("identity", one.identity.clone()),
        ("on disk", disk),
        ("served", served_now),
        ("used by", used_by(one.served.as_ref())),
        ("renewed by", one.renewed_by.clone()),
        ("certificate", one.certificate.display().to_string()),
        ("key", one.key.display().to_string()),
        ("remarks", remarks(one).join("\n")),
    ])
}

fn in_service(one: &Listed, served: &Served) -> String {
    let Some(sha256) = &served.fingerprint else { return "nothing".to_owned() };
    let since = served.since.map(|since| format!(", since {since:.0}")).unwrap_or_default();
    if !one.differs() {
        return format!("the same{since}");
    }
    let end = served.not_after.map(|end| format!(" until {end:.0}")).unwrap_or_default();
    format!("sha256:{sha256}{end}{since}")
}
