//! `postern queue why`: what mail waits for, grouped by cause, and what to do about it.
//!
//! The answer comes from [`postern_mta::admin::why`] as a [`Waiting`]; here it becomes one paragraph for each [`Group`], or
//! JSON as it is. The one argument may be a destination, a message's id or a recipient's address; its form tells which.
//!
//! What it deliberately does not do: diagnose (the `mta` crate does, in the same words as in reports to senders), look
//! anything up anew, or change what waits.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use postern_mta::admin::why::{Group, State, Waiting};
use postern_mta::admin::{Admin, Request, Response};
use postern_mta::event::clean;
use postern_queue::{Filter, QueueId};
use postern_smtp::address::Host;

use crate::queue::{age, count_of, until};
use crate::{Done, in_json, say, unexpected};

/// Arguments of `postern queue why`.
#[derive(Args)]
pub(crate) struct Arguments {
    /// A destination (*.example.org for all below it), a message's id, or a recipient's address; without one, all that waits
    #[arg(value_name = "DESTINATION|ID|ADDRESS")]
    what: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) async fn run(admin: &Admin, arguments: &Arguments) -> Done {
    let filter = filter(arguments.what.as_deref());
    let waiting = match admin.call(Request::Why { filter }).await? {
        Response::Why(waiting) => waiting,
        other => return Err(unexpected(&other).into()),
    };
    if arguments.json {
        say(&in_json(&waiting)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    match (&arguments.what, waiting.groups.is_empty()) {
        (Some(what), true) => {
            Err(format!("nothing waits for {}; postern queue list shows what there is", clean(what)).into())
        }
        (None, true) => {
            say("nothing waits\n")?;
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            say(&render(&waiting))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// What 13 characters of the alphabet of ids are can be a top-level domain only in theory: it is an id.
fn filter(what: Option<&str>) -> Filter {
    let Some(what) = what else { return Filter::default() };
    if let Ok(id) = what.parse::<QueueId>() {
        return Filter { ids: vec![id], ..Filter::default() };
    }
    if what.contains('@') {
        return Filter { recipient: Some(what.to_owned()), ..Filter::default() };
    }
    let key =
        |name: &str| name.parse::<Host>().map_or_else(|_| name.to_owned(), |host| host.key().into_owned());
    let destination = match what.strip_prefix("*.") {
        Some(parent) => format!("*.{}", key(parent)),
        None => key(what),
    };
    Filter { destination: Some(destination), ..Filter::default() }
}

pub(crate) fn render(waiting: &Waiting) -> String {
    let groups: Vec<String> = waiting.groups.iter().map(group).collect();
    let mut text = groups.join("\n");
    if waiting.others > 0 {
        let _ = write!(text, "\n{} recipients wait for further causes; name a destination\n", waiting.others);
    }
    text
}

fn group(group: &Group) -> String {
    let diagnosis = &group.diagnosis;
    let mut text = format!("{}: {}\n", diagnosis.cause, amount(group));
    line(&mut text, "to", &group.destinations.to_string());
    line(&mut text, "since", &format!("{:.0} ({} ago)", group.since, age(group.since)));
    line(&mut text, "next try", &next(group));
    line(&mut text, "why", &diagnosis.explanation);
    for fact in &diagnosis.evidence {
        line(&mut text, "", fact);
    }
    line(&mut text, "to do", &diagnosis.remedy);
    line(&mut text, "such as", &format!("postern queue show {}", group.example));
    text
}

fn amount(group: &Group) -> String {
    let (messages, recipients) = (
        count_of(group.messages, "message", "messages"),
        count_of(group.recipients, "recipient", "recipients"),
    );
    format!("{messages} for {recipients}")
}

fn next(group: &Group) -> String {
    let under_way = match group.under_way {
        0 => None,
        count => Some(count_of(count, "is being tried now", "are being tried now")),
    };
    let next = group.next.map(|due: Timestamp| format!("{}, {due:.0}", until(due)));
    match (group.state, next, under_way) {
        (State::Held, ..) => "none until it is released".to_owned(),
        (_, Some(next), Some(under_way)) => format!("{next}; {under_way}"),
        (_, Some(words), None) | (_, None, Some(words)) => words,
        (_, None, None) => "none".to_owned(),
    }
}

/// What comes from outside stands in some of it.
fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<9} {}", clean(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_a_destination_and_an_address_are_told_apart() {
        assert_eq!(filter(None), Filter::default());
        assert_eq!(filter(Some("0D4K1V7M2Q8ZT")).ids.len(), 1);
        assert_eq!(filter(Some("Partner.Example")).destination.as_deref(), Some("partner.example"));
        assert_eq!(filter(Some("*.Bücher.example")).destination.as_deref(), Some("*.xn--bcher-kva.example"));
        assert_eq!(filter(Some("[192.0.2.1]")).destination.as_deref(), Some("[192.0.2.1]"));
        assert_eq!(filter(Some("ben@partner.example")).recipient.as_deref(), Some("ben@partner.example"));
    }
}
