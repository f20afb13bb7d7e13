//! `postern tls`: what TLS reports say about encrypted delivery, in both directions, and sending one by hand.
//!
//! Names and words of others are cleaned before they reach a terminal; `--json` has them as they are.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use jiff::Timestamp;
use postern_mta::admin::tls_reports::{
    DAYS_KEPT, Day, DomainSeen, FailureSeen, Overview, PolicySeen, ReportedBy, Request, Response, SentTo,
};
use postern_mta::admin::{self, Admin};
use postern_mta::event::clean;

use crate::table::{Line, table};
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// Of one text a table shows so many characters.
const CELL_MOST: usize = 60;

/// Subcommands of `postern tls`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// TLS reports: what servers tell each other about encrypted delivery (RFC 8460)
    #[command(subcommand)]
    Report(Report),
}

/// Subcommands of `postern tls report`.
#[derive(Subcommand)]
pub(crate) enum Report {
    /// What our sessions with others came to, and what others report about us
    Show {
        /// This domain only: another's, or one of ours
        domain: Option<String>,
        /// So many days back, today included
        #[arg(long, value_name = "N", default_value_t = 7,
              value_parser = clap::value_parser!(u16).range(1..=i64::from(DAYS_KEPT) + 1))]
        days: u16,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send the report on a day now, without waiting for its time
    Send {
        /// To this domain only
        domain: Option<String>,
        /// The day in UTC, such as 2026-11-21 (yesterday); of today what there is so far, as a report besides the day's own
        #[arg(long)]
        day: Option<Day>,
        /// Print what would be sent, and send nothing
        #[arg(long)]
        dry_run: bool,
    },
}

/// Carries out a subcommand.
pub(crate) fn run(command: &Command, path: &Path) -> Done {
    let admin = admin(path)?;
    let Command::Report(report) = command;
    block_on(async {
        match report {
            Report::Show { domain, days, json } => show(&admin, domain.clone(), *days, *json).await,
            Report::Send { domain, day, dry_run } => {
                let day = day.unwrap_or_else(|| yesterday(Timestamp::now()));
                if *dry_run {
                    preview(&admin, domain.clone(), day).await
                } else {
                    send(&admin, domain.clone(), day).await
                }
            }
        }
    })?
}

/// The last day that is over (in UTC).
fn yesterday(now: Timestamp) -> Day {
    Day::of(now).earlier(1)
}

async fn show(admin: &Admin, domain: Option<String>, days: u16, json: bool) -> Done {
    let asked = domain.clone();
    let overview = match call(admin, Request::Show { domain, days }).await? {
        Response::Overview(overview) => overview,
        other => return Err(unexpected(&other).into()),
    };
    let text = if json { in_json(&overview)? } else { render(&overview, asked.as_deref()) };
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn preview(admin: &Admin, domain: Option<String>, day: Day) -> Done {
    for domain in domains(admin, domain, day).await? {
        match call(admin, Request::Preview { day, domain }).await? {
            Response::Report(json) => say(&(json + "\n"))?,
            other => return Err(unexpected(&other).into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One domain that cannot be reported to does not keep the others from it.
async fn send(admin: &Admin, domain: Option<String>, day: Day) -> Done {
    let mut all_sent = true;
    for domain in domains(admin, domain, day).await? {
        match call(admin, Request::Send { day, domain: domain.clone() }).await {
            Ok(Response::Sent(sent)) => {
                all_sent &= sent.iter().all(|one| one.outcome.is_ok());
                say(&sent.iter().map(|one| told(&domain, one)).collect::<String>())?;
            }
            Ok(other) => return Err(unexpected(&other).into()),
            Err(admin::Error::Failed(why)) => {
                all_sent = false;
                say(&format!("{}: not sent: {}\n", clean(&domain), clean(&why)))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(if all_sent { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn domains(
    admin: &Admin,
    domain: Option<String>,
    day: Day,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    if let Some(domain) = domain {
        return Ok(vec![domain]);
    }
    match call(admin, Request::Domains { day }).await? {
        Response::Domains(domains) if domains.is_empty() => {
            Err(format!("no session with another server was counted on {day}").into())
        }
        Response::Domains(domains) => Ok(domains),
        other => Err(unexpected(&other).into()),
    }
}

async fn call(admin: &Admin, request: Request) -> Result<Response, admin::Error> {
    match admin.call(admin::Request::TlsReports(request)).await? {
        admin::Response::TlsReports(response) => Ok(response),
        other => Err(unexpected(&other)),
    }
}

fn told(domain: &str, sent: &SentTo) -> String {
    let (domain, address) = (clean(domain), clean(&sent.address));
    match &sent.outcome {
        Ok(how) => format!("{domain}: sent to {address}: {}\n", clean(how)),
        Err(why) => format!("{domain}: not sent to {address}: {}\n", clean(why)),
    }
}

/// Both tables; `asked` is the one domain that they were asked for.
fn render(overview: &Overview, asked: Option<&str>) -> String {
    let Overview { first, last, .. } = overview;
    let span = if first == last { first.to_string() } else { format!("{first} to {last}") };
    let mut text = format!("Our sessions with other servers, {span}:\n");
    text += &seen(&overview.seen, asked);
    text += "\nWhat others report about sessions with us (unproved: anybody can send a report):\n";
    text += &reported(&overview.reported, asked);
    if overview.cut {
        text += "\nThere is more: name a domain, or see fewer --days\n";
    }
    text
}

fn seen(domains: &[DomainSeen], asked: Option<&str>) -> String {
    if domains.is_empty() {
        return format!("  none{} was counted\n", with_name(" with ", asked));
    }
    let mut lines = vec![Line::cells(["DOMAIN", "POLICY", "WELL", "FAILED"])];
    for domain in domains {
        let name = if domain.domain == "*" { "(all others)" } else { &domain.domain };
        lines.extend(domain.policies.iter().map(|policy| figures([name], policy)));
        lines.extend(domain.failures.iter().map(failure));
    }
    table(&lines)
}

fn reported(all: &[ReportedBy], asked: Option<&str>) -> String {
    if all.is_empty() {
        return format!("  no report{} came\n", with_name(" about ", asked));
    }
    let mut lines = vec![Line::cells(["FROM", "REPORTS", "DOMAIN", "POLICY", "WELL", "FAILED"])];
    for by in all {
        let reports = by.reports.to_string();
        let lead = [by.organization.as_str(), &reports, &by.domain];
        lines.extend(by.policies.iter().map(|policy| figures(lead, policy)));
        lines.extend(by.failures.iter().map(failure));
    }
    table(&lines)
}

fn with_name(word: &str, asked: Option<&str>) -> String {
    asked.map(|name| format!("{word}{}", clean(name))).unwrap_or_default()
}

fn figures<const N: usize>(lead: [&str; N], policy: &PolicySeen) -> Line {
    let kind = match policy.policy.as_str() {
        "tlsa" => "DANE",
        "sts" => "MTA-STS",
        "no-policy-found" => "none",
        other => other,
    };
    let figures = [kind.to_owned(), policy.succeeded.to_string(), policy.failed.to_string()];
    let lead = lead.map(|cell| clean(cell).chars().take(CELL_MOST).collect());
    Line::Cells(lead.into_iter().chain(figures).collect())
}

fn failure(failure: &FailureSeen) -> Line {
    let FailureSeen { result, host, why, sessions } = failure;
    let host = if host.is_empty() { "various hosts" } else { host };
    let why = if why.is_empty() { String::new() } else { format!(": {}", clean(why)) };
    Line::Remark(format!("{sessions} x {} at {}{why}", clean(result), clean(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(policy: &str, succeeded: u64, failed: u64) -> PolicySeen {
        PolicySeen { policy: policy.into(), succeeded, failed }
    }

    fn expired(host: &str) -> FailureSeen {
        let (result, why) = ("certificate-expired".to_owned(), "it expired\u{1b}[2J".to_owned());
        FailureSeen { result, host: host.into(), why, sessions: 2 }
    }

    fn overview(seen: Vec<DomainSeen>, reported: Vec<ReportedBy>) -> Overview {
        let (first, last) = ("2026-11-15".parse().unwrap(), "2026-11-21".parse().unwrap());
        Overview { first, last, seen, reported, cut: false }
    }

    #[test]
    fn both_tables_tell_figures_and_the_worst_failures() {
        let others = DomainSeen {
            domain: "others.example".into(),
            policies: vec![policy("tlsa", 12, 0), policy("sts", 10, 2)],
            failures: vec![expired("mx.others.example"), expired("")],
        };
        let them = ReportedBy {
            organization: "Them".into(),
            contact: "them@example.net".into(),
            domain: "us.example".into(),
            reports: 3,
            policies: vec![policy("no-policy-found", 7, 1)],
            failures: vec![],
        };
        let text = render(&overview(vec![others], vec![them]), None);
        let expected = "\
Our sessions with other servers, 2026-11-15 to 2026-11-21:
  DOMAIN          POLICY   WELL  FAILED
  others.example  DANE       12       0
  others.example  MTA-STS    10       2
      2 x certificate-expired at mx.others.example: it expired?[2J
      2 x certificate-expired at various hosts: it expired?[2J

What others report about sessions with us (unproved: anybody can send a report):
  FROM  REPORTS  DOMAIN      POLICY  WELL  FAILED
  Them        3  us.example  none       7       1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn nothing_at_all_is_said_in_words() {
        let text = render(&overview(vec![], vec![]), None);
        assert!(text.contains("none was counted") && text.contains("no report came"), "{text}");
        let text = render(&overview(vec![], vec![]), Some("nothere.test\u{1b}"));
        for words in ["none with nothere.test? was counted", "no report about nothere.test? came"] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn a_report_is_on_yesterday_unless_a_day_is_named() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(subcommand)]
            command: Command,
        }
        let day_of = |words: &[&str]| {
            let words = ["postern", "report", "send"].iter().chain(words);
            let line =
                <Line as clap::Parser>::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
            let Command::Report(Report::Send { day, .. }) = line.command else { panic!("send") };
            day
        };
        assert_eq!(day_of(&["nothere.test"]), None);
        assert_eq!(day_of(&["--day", "2026-11-20"]), Some("2026-11-20".parse().unwrap()));
        let just_after_midnight: Timestamp = "2026-12-01T00:00:00Z".parse().unwrap();
        assert_eq!(yesterday(just_after_midnight).to_string(), "2026-11-30");
    }
}
