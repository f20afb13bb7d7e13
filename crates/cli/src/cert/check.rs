//! `postern cert check`: are all certificates well? For people, and for monitoring.
//!
//! The first line is the verdict, and the exit code that of monitoring plug-ins: 0 well, 1 a warning, 2 critical, 3 it
//! could not be found out.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::certificates::expiry::{Finding, Owner, Severity};
use postern_mta::admin::certificates::{Certificates, Listed, OnDisk};
use postern_mta::event::clean;

use crate::queue::count_of;
use crate::{Done, admin, block_on, in_json, say};

/// It could not be found out.
const UNKNOWN: u8 = 3;

/// Arguments of `postern cert check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert check
  postern cert check --json       for monitoring that reads it

Looks at every certificate that Postern shows, its intermediates and the private CA's own, and at whether what lies on disk is
what is served. Exit code: 0 well, 1 warning, 2 critical, 3 it could not be found out; the days are [certificates] warn.")]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Runs `postern cert check`; what went wrong is said, and is an exit code of its own.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> ExitCode {
    check(arguments, path).unwrap_or_else(|error| {
        eprintln!("UNKNOWN: {error}");
        ExitCode::from(UNKNOWN)
    })
}

fn check(arguments: &Arguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let findings = findings(&admin.certificates())?;
    let worst = findings.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Ok);
    say(&if arguments.json { in_json(&findings)? } else { told(&findings, worst) })?;
    Ok(ExitCode::from(worst.exit_code()))
}

fn findings(certificates: &Certificates<'_>) -> Result<Vec<Finding>, Box<dyn std::error::Error>> {
    let listed = block_on(certificates.list())??;
    let mut findings: Vec<Finding> = listed.iter().filter_map(not_served).collect();
    findings.extend(certificates.check(Timestamp::now()));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

/// The renewed file that is not served. Files that cannot be used are found without the daemon.
fn not_served(one: &Listed) -> Option<Finding> {
    let is_good = matches!(one.on_disk, OnDisk::Good(_));
    let served = one.served.as_ref().filter(|_| is_good && one.differs())?;
    let why = served.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    Some(Finding {
        severity: Severity::Warning,
        owner: Owner::Identity(one.identity.clone()),
        what: format!("what lies on disk for \"{}\" is not what is served{why}", one.identity),
        remedy: format!("see: postern cert show {}", one.identity),
        not_after: served.not_after,
    })
}

fn told(findings: &[Finding], worst: Severity) -> String {
    let bad = findings.iter().filter(|finding| finding.severity != Severity::Ok).count() as u64;
    let mut text = match worst {
        Severity::Ok => format!("OK: {}\n", count_of(findings.len() as u64, "certificate", "certificates")),
        _ => format!("{}: {}\n", word(worst), count_of(bad, "finding", "findings")),
    };
    for finding in findings {
        let (what, remedy) = (clean(&finding.what), clean(&finding.remedy));
        text += &match remedy.as_str() {
            "" => format!("  {:<9} {what}\n", word(finding.severity)),
            remedy => format!("  {:<9} {what}; {remedy}\n", word(finding.severity)),
        };
    }
    text
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "OK",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_verdict() {
        let finding = |severity, what: &str, remedy: &str| Finding {
            severity,
            owner: Owner::Identity("mail".into()),
            what: what.into(),
            remedy: remedy.into(),
            not_after: None,
        };
        let well = [finding(Severity::Ok, "mail is good", "")];
        assert_eq!(told(&well, Severity::Ok), "OK: 1 certificate\n  OK        mail is good\n");
        let bad =
            [finding(Severity::Critical, "mail ends", "renew it"), finding(Severity::Ok, "old is good", "")];
        let expected = "CRITICAL: 1 finding\n  CRITICAL  mail ends; renew it\n  OK        old is good\n";
        assert_eq!(told(&bad, Severity::Critical), expected);
    }
}
