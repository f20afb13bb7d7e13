//! `postern cert acme log`: what became of each order at an ACME authority, step by step.
//!
//! Names and the authority's words come from elsewhere, and are cleaned before they reach a terminal.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use postern_mta::admin::acme::{Log, LogRequest, OrderView, Standing};
use postern_mta::admin::{Request, Response, certificates};
use postern_mta::event::clean;

use crate::queue::{count_of, until};
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// Subcommands of `postern cert acme`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What became of each order, step by step
    Log(LogArguments),
}

/// Arguments of `postern cert acme log`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern cert acme log
  postern cert acme log mail --last 1     the last order for this certificate alone")]
pub(crate) struct LogArguments {
    /// Only this certificate's
    #[arg(value_parser = super::identity)]
    identity: Option<String>,
    /// So many orders, the last ones
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    last: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries out a subcommand.
///
/// # Errors
/// The story cannot be read.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    let Command::Log(arguments) = command;
    let request = LogRequest { identity: arguments.identity, most: arguments.last };
    let log =
        match block_on(admin(path)?.call(Request::Certificates(certificates::Request::AcmeLog(request))))?? {
            Response::AcmeLog(log) => log,
            other => return Err(unexpected(&other).into()),
        };
    say(&if arguments.json { in_json(&log)? } else { told(&log) })?;
    Ok(ExitCode::SUCCESS)
}

fn told(log: &Log) -> String {
    if log.orders.is_empty() && log.standings.is_empty() {
        return "no order was placed with an ACME authority yet\n".into();
    }
    let orders: Vec<String> = log.orders.iter().map(story).collect();
    let standings: String = log.standings.iter().map(standing).collect();
    let between = if orders.is_empty() || standings.is_empty() { "" } else { "\n" };
    format!("{}{between}{standings}", orders.join("\n"))
}

/// An order from its beginning to its end.
pub(super) fn story(order: &OrderView) -> String {
    let names: Vec<String> = order.names.iter().map(|name| clean(name)).collect();
    let mut text = format!(
        "{} at {}, {:.0}, because {}\n  for {}\n",
        order.identity,
        clean(&order.authority),
        order.begun,
        order.why,
        names.join(", ")
    );
    for step in &order.steps {
        text += &format!("  {}  {}\n", step.at.strftime("%H:%M:%S"), clean(&step.step.to_string()));
    }
    text += &match order.ended.as_ref().map(|ended| (ended.at, ended.trouble.as_ref())) {
        None => "  not ended yet\n".to_owned(),
        Some((at, None)) => format!("  {}  done\n", at.strftime("%H:%M:%S")),
        Some((at, Some(trouble))) => {
            let (what, remedy) = (clean(&trouble.what), clean(&trouble.remedy));
            format!("  {}  failed: {what}\n  to do     {remedy}\n", at.strftime("%H:%M:%S"))
        }
    };
    text
}

fn standing(standing: &Standing) -> String {
    let failures = count_of(u64::from(standing.failures), "order", "orders");
    format!(
        "{}: {failures} failed in a row; tried again {} (now: postern cert renew {})\n",
        standing.identity,
        until(standing.next),
        standing.identity
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_told_with_its_end_and_what_to_do() {
        let log: Log = serde_json::from_str(
            r#"{
              "orders": [{
                "id": 1, "identity": "mail", "authority": "le", "names": ["mail.example.org"], "why": "missing",
                "begun": "2026-11-21T12:00:00Z",
                "ended": {"at": "2026-11-21T12:00:03Z",
                          "trouble": {"what": "the name server is deaf\u001b[2J", "remedy": "mend it"}},
                "steps": [{"at": "2026-11-21T12:00:01Z", "step": {"asked": {"name": "mail.example.org"}}}]
              }],
              "standings": [{"identity": "mail", "failures": 2, "next": "2026-11-21T12:05:03Z"}]
            }"#,
        )
        .unwrap();
        let expected = "\
mail at le, 2026-11-21T12:00:00Z, because there is none yet
  for mail.example.org
  12:00:01  mail.example.org: the CA was told to look
  12:00:03  failed: the name server is deaf?[2J
  to do     mend it

mail: 2 orders failed in a row; tried again ";
        assert!(told(&log).starts_with(expected), "{}", told(&log));
        let empty = Log { orders: Vec::new(), standings: Vec::new() };
        assert!(told(&empty).starts_with("no order"));
    }
}
