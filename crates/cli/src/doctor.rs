//! `postern doctor`: is everything around this Postern as it should be?
//!
//! What is looked at, and what it is worth, [`postern_mta::doctor`] says; here it is asked for and laid out for people: what is wrong first.

mod relay;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use postern_mta::config::units;
use postern_mta::doctor::{self, Check, Finding, Options, Report, Verdict};

use crate::queue::count_of;
use crate::table::set_in;
use crate::{Done, become_owner_of, block_on, in_json, load, say};

/// It could not be found out.
const UNKNOWN: u8 = 3;

/// Arguments of `postern doctor`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  postern doctor                              everything
  postern doctor --only spf --only dmarc      two checks
  postern doctor --json                       for monitoring that reads it

Nothing is changed, and nobody is signed in. It works beside a running Postern and without one. What each check means and what
to do about it: docs/doctor.md.

Exit codes, as monitoring plug-ins have them:
  0  all is well
  1  something should be seen to
  2  something is wrong, and mail suffers from it; wrong usage, too
  3  nothing is wrong as far as was seen, and something could not be found out")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// This check only; may be given several times
    #[arg(long, value_name = "NAME")]
    only: Vec<Check>,
    /// The longest time for one check; they run at the same time
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "20s")]
    timeout: Duration,
    /// As JSON, in a form that does not change
    #[arg(long)]
    json: bool,
}

/// Subcommands of `postern doctor`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Try whether our listeners, or somebody's server, relay for strangers; nothing is sent
    Relay(relay::Arguments),
}

/// Runs `postern doctor`; that it cannot be carried out at all is said, and is an exit code of its own.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> ExitCode {
    let done = match &arguments.command {
        Some(Command::Relay(arguments)) => return relay::run(arguments, path),
        None => examine(arguments, path),
    };
    done.unwrap_or_else(|error| {
        eprintln!("UNKNOWN: {error}");
        ExitCode::from(UNKNOWN)
    })
}

fn examine(arguments: &Arguments, path: &Path) -> Done {
    let config = load(path)?;
    become_owner_of(&config.data_dir)?;
    let options = Options { only: arguments.only.clone(), time: arguments.timeout };
    let report = block_on(doctor::examine(config, &options, Timestamp::now()))??;
    say(&if arguments.json { in_json(&report)? } else { in_words(&report) })?;
    Ok(ExitCode::from(report.exit_code()))
}

/// The first line is the verdict; then what is wrong, the worst first; then what is well.
fn in_words(report: &Report) -> String {
    let count = |verdict| report.findings.iter().filter(|finding| finding.verdict == verdict).count() as u64;
    let (failed, warnings, unknown) =
        (count(Verdict::Failed), count(Verdict::Warning), count(Verdict::Unknown));
    let mut tally = Vec::new();
    for (number, one, more) in
        [(failed, "failure", "failures"), (warnings, "warning", "warnings"), (unknown, "unknown", "unknowns")]
    {
        tally.extend((number > 0).then(|| count_of(number, one, more)));
    }
    let tally = if tally.is_empty() { "all is well".to_owned() } else { tally.join(", ") };
    let asleep = if report.running { "" } else { " (Postern does not run)" };
    let mut text = format!("{}: {tally}{asleep}\n", report.hostname);
    let mut sorted: Vec<&Finding> = report.findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    text.extend(sorted.into_iter().map(told));
    text
}

fn told(finding: &Finding) -> String {
    let lead = format!("  {:<8} {:<13} ", finding.verdict.word(), finding.check.name());
    let mut text = set_in(&lead, &finding.evidence);
    if !finding.remedy.is_empty() {
        let margin = " ".repeat(lead.len());
        text += &set_in(&format!("{margin}-> "), &finding.remedy);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: Check, verdict: Verdict, evidence: &str, remedy: &str) -> Finding {
        Finding { check, verdict, evidence: evidence.into(), remedy: remedy.into() }
    }

    fn report(findings: Vec<Finding>) -> Report {
        let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        Report {
            format: doctor::FORMAT,
            hostname: "mail.example.org".into(),
            running: true,
            verdict,
            findings,
        }
    }

    #[test]
    fn what_is_wrong_comes_first_with_its_remedy() {
        let text = in_words(&report(vec![
            finding(Check::Clock, Verdict::Ok, "it is kept", ""),
            finding(Check::Mx, Verdict::Failed, "no MX", "publish one"),
        ]));
        let expected = "\
mail.example.org: 1 failure
  failed   mx            no MX
                         -> publish one
  ok       clock         it is kept
";
        assert_eq!(text, expected);
    }

    #[test]
    fn long_evidence_stays_within_the_terminal() {
        let text = in_words(&report(vec![finding(Check::Spf, Verdict::Ok, &"word ".repeat(100), "")]));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.starts_with("mail.example.org: all is well\n"));
    }
}
