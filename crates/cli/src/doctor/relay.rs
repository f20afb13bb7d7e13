//! `postern doctor relay`: does a server relay for strangers? The classic forms are tried for real, and nothing is sent.
//!
//! What is tried, and from where, [`postern_mta::relay_test`] says; here it is laid out, what is open first, with its
//! transcript.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::event::clean;
use postern_mta::relay_test::{self, Options, Outcome, Report, Target, Tried, Verdict};

use super::UNKNOWN;
use crate::{Done, become_owner_of, block_on, in_json, load, say};

/// Where servers take mail from each other.
const SMTP: u16 = 25;

/// Arguments of `postern doctor relay`.
#[derive(Args)]
#[command(after_help = "\
Each form ends with the reply to RCPT and RSET: no message is sent. The listeners of the running Postern are reached from an
address of this machine that the configuration does not trust; a server that is named with --to may trust this machine, so
ask from outside. There are a few sessions at each address, each of them in order, and one sign-in that fails.

Exit codes:
  0  every form was refused everywhere
  1  something was accepted: an open relay
  2  wrong usage
  3  it could not be found out wholly")]
pub(crate) struct Arguments {
    /// Somebody's server instead of our own listeners
    #[arg(long, value_name = "HOST[:PORT]", value_parser = host_and_port)]
    to: Option<(String, u16)>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(super) fn run(arguments: &Arguments, path: &Path) -> ExitCode {
    carry_out(arguments, path).unwrap_or_else(|error| {
        eprintln!("postern: {error}");
        ExitCode::from(UNKNOWN)
    })
}

fn carry_out(arguments: &Arguments, path: &Path) -> Done {
    let report = find_out(arguments, path)?;
    say(&if arguments.json { in_json(&report)? } else { in_words(&report) })?;
    Ok(match report.verdict() {
        Verdict::Closed => ExitCode::SUCCESS,
        Verdict::Open => ExitCode::FAILURE,
        Verdict::Unknown => ExitCode::from(UNKNOWN),
    })
}

fn find_out(arguments: &Arguments, path: &Path) -> Result<Report, Box<dyn std::error::Error>> {
    let options = Options::default();
    let Some((host, port)) = &arguments.to else {
        let config = load(path)?;
        become_owner_of(&config.data_dir)?;
        return Ok(block_on(relay_test::own(&config, options))??);
    };
    Ok(block_on(relay_test::remote(host, *port, options))??)
}

/// `mail.example.org`, `mail.example.org:587`, `192.0.2.1:25`, `[2001:db8::1]:25`, or an IPv6 address alone.
fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let bad = || format!("{text:?} is not HOST or HOST:PORT");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().map_err(|_| bad())?)
        }
        _ => (text, SMTP),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let sound = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic() && !"[]<>@/".contains(c));
    if sound { Ok((host.to_owned(), port)) } else { Err(bad()) }
}

fn in_words(report: &Report) -> String {
    let mut targets: Vec<&Target> = report.targets.iter().collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.verdict));
    targets.iter().map(|target| told(target)).collect()
}

fn told(target: &Target) -> String {
    let count = |outcome| target.tried.iter().filter(|tried| tried.outcome == outcome).count();
    let verdict = match target.verdict {
        Verdict::Closed => "closed",
        Verdict::Unknown => "UNKNOWN",
        Verdict::Open => "OPEN RELAY",
    };
    let source = target.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let mut text = format!(
        "{verdict}  {} at {}{source}: {} of {} forms refused\n",
        clean(&target.name),
        target.address,
        count(Outcome::Refused),
        target.tried.len() - count(Outcome::Rightly),
    );
    if let Some(trouble) = &target.trouble {
        let _ = writeln!(text, "    not all could be tried: {}", clean(trouble));
    }
    let postponed = count(Outcome::Postponed);
    if postponed > 0 {
        let _ = writeln!(
            text,
            "    {postponed} only postponed: ask again later; a server that is closed refuses for good (550)"
        );
    }
    for outcome in [Outcome::Accepted, Outcome::Undecided] {
        target
            .tried
            .iter()
            .filter(|tried| tried.outcome == outcome)
            .for_each(|tried| write_form(&mut text, tried));
    }
    text
}

fn write_form(text: &mut String, tried: &Tried) {
    let what = match tried.outcome {
        Outcome::Accepted => "ACCEPTED",
        _ => "accepted like any name in that domain, so that it may mean nothing",
    };
    let tls = if tried.tls { " under TLS" } else { "" };
    let _ = writeln!(text, "    {what}: {}{tls}", tried.form);
    for line in &tried.transcript {
        let _ = writeln!(text, "      {}", clean(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_can_be_given_and_an_ipv6_address_is_no_port() {
        let of = |text: &str| host_and_port(text).unwrap();
        assert_eq!(of("mail.example.org"), ("mail.example.org".into(), 25));
        assert_eq!(of("mail.example.org:587"), ("mail.example.org".into(), 587));
        assert_eq!(of("2001:db8::1"), ("2001:db8::1".into(), 25));
        assert_eq!(of("[2001:db8::1]:465"), ("2001:db8::1".into(), 465));
        for wrong in ["", "host:port", "a b", "<x>", "host:99999"] {
            host_and_port(wrong).unwrap_err();
        }
    }

    #[test]
    fn what_is_open_comes_first_with_its_transcript() {
        let target = |name: &str, verdict, outcome| Target {
            name: name.into(),
            address: "192.0.2.1:25".into(),
            source: None,
            verdict,
            trouble: None,
            tried: vec![Tried {
                form: "the null sender".into(),
                tls: false,
                outcome,
                transcript: vec!["C: MAIL FROM:<>".into(), "S: 250 ok\u{1b}[2J".into()],
            }],
        };
        let report = Report {
            format: relay_test::FORMAT,
            targets: vec![
                target("good", Verdict::Closed, Outcome::Refused),
                target("bad", Verdict::Open, Outcome::Accepted),
            ],
        };
        let text = in_words(&report);
        assert!(text.starts_with("OPEN RELAY  bad at 192.0.2.1:25: 0 of 1 forms refused\n"), "{text}");
        assert!(
            text.contains("    ACCEPTED: the null sender\n      C: MAIL FROM:<>\n      S: 250 ok"),
            "{text}"
        );
        assert!(text.contains("closed  good") && !text.contains('\u{1b}'), "{text:?}");
    }
}
