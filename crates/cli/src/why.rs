//! `postern why`: what became of a message, or what happened to somebody's mail and sign-ins, from the events that are kept.
//!
//! The answer comes from [`Admin::what_happened`]; here it becomes a line for each event, oldest first, and what waits in the
//! queue at the moment, as `postern queue why` tells it. Whatever is meant, a queue id, a session, a Message-ID, an address,
//! a user or a client: the word is looked for as all that it can be.
//!
//! What it deliberately does not do: put the events together, or judge them (the `mta` crate does).

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use postern_mta::admin::history::Answer;
use postern_mta::config::units;
use postern_mta::event::clean;
use postern_mta::history::{Kept, What};
use serde_json::json;

use crate::queue::{age, count_of, state, why};
use crate::{Done, admin, block_on, in_json, say};

/// So many events are shown unless another number is asked for.
pub(crate) const LIMIT: usize = 200;

/// Arguments of `postern why`.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0: something was found; 1: nothing was found, or it failed; 2: wrong usage."
)]
pub(crate) struct Arguments {
    /// A queue id, a Message-ID, a mail address, a user's name, a session id, or a client's IP address
    #[arg(value_name = "USER|ADDRESS|MESSAGE-ID|QUEUE-ID|SESSION|CLIENT")]
    what: String,
    /// Not older than this, such as 2d
    #[arg(long, value_name = "AGE", value_parser = units::duration)]
    since: Option<std::time::Duration>,
    /// At most so many events, the newest
    #[arg(long, value_name = "N", default_value_t = LIMIT)]
    limit: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let admin = admin(path)?;
    let since = arguments.since.map(moment_before).transpose()?;
    let answer = block_on(admin.what_happened(&arguments.what, since, arguments.limit))??;
    let found =
        !answer.story.events.is_empty() || !answer.deliveries.is_empty() || !answer.troubles.is_empty();
    if arguments.json {
        say(&in_json(&as_json(&answer))?)?;
    } else if found {
        say(&render(&answer))?;
    } else {
        return Err(nothing(&arguments.what, since, &answer).into());
    }
    Ok(if found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// So long ago.
pub(crate) fn moment_before(age: std::time::Duration) -> Result<Timestamp, Box<dyn std::error::Error>> {
    Ok(Timestamp::now().checked_sub(SignedDuration::try_from(age)?)?)
}

fn as_json(answer: &Answer) -> serde_json::Value {
    let story = &answer.story;
    let event = |kept: &Kept| {
        let mut value = json!(kept);
        value["words"] = json!(kept.to_string());
        value
    };
    json!({
        "searched": answer.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "kept": answer.kept,
        "events": story.events.iter().map(event).collect::<Vec<_>>(),
        "more": story.more,
        "more_of_strangers": story.more_of_strangers,
        "oldest": story.oldest,
        "lost": story.lost,
        "left_out": story.left_out,
        "deliveries": answer.deliveries,
        "waiting": answer.waiting,
        "troubles": answer.troubles,
        "troubles_unknown": answer.troubles_unknown,
    })
}

fn render(answer: &Answer) -> String {
    let mut text = String::new();
    if answer.story.more {
        text += "there are older events: ask for more with --limit\n";
    }
    if answer.story.more_of_strangers > 0 {
        let _ = writeln!(
            text,
            "there are {} or more further failures and refusals of clients that were not signed in: ask for more with --limit",
            answer.story.more_of_strangers
        );
    }
    for kept in &answer.story.events {
        event(&mut text, kept);
    }
    if !answer.deliveries.is_empty() {
        text += "\nin the queue at the moment:\n";
        for delivery in &answer.deliveries {
            let id = delivery.message.id;
            let _ =
                writeln!(text, "  {id} to {}: {}", clean(&delivery.destination.to_string()), state(delivery));
        }
        let _ = write!(text, "\n{}", why::render(&answer.waiting));
    }
    troubles(&mut text, answer);
    text + &missing(answer)
}

fn troubles(text: &mut String, answer: &Answer) {
    if let Some(why) = &answer.troubles_unknown {
        let _ = writeln!(text, "\nopen cases are not known: {}", clean(why));
    }
    if !answer.troubles.is_empty() {
        let _ = writeln!(text, "\nopen cases:");
    }
    for case in &answer.troubles {
        let times = count_of(case.count, "time", "times");
        let _ = writeln!(
            text,
            "  {:.0}  {}, {times}: {}",
            case.last,
            case.cause.token(),
            clean(&case.explanation)
        );
        let _ = writeln!(text, "      more: postern trouble show {}", case.id);
    }
}

/// One line, and where something has to be done, one more.
fn event(text: &mut String, kept: &Kept) {
    let id = if kept.id.is_empty() { "-" } else { &kept.id };
    let _ = writeln!(text, "{:.0}  {id:<13}  {kept}", kept.time, id = clean(id));
    if let What::Failed { remedy, .. } = &kept.what {
        let _ = writeln!(text, "{:37}to do: {}", "", clean(remedy));
    }
}

/// What the events do not tell because they are not all there.
fn missing(answer: &Answer) -> String {
    let story = &answer.story;
    let mut text = String::new();
    if story.lost > 0 {
        let events = count_of(story.lost, "event", "events");
        let _ = writeln!(text, "\n{events} of that time could not be written; the log has them");
    }
    if story.left_out > 0 {
        let events = count_of(story.left_out, "event", "events");
        let _ = writeln!(
            text,
            "\n{events} of clients that never signed in were left out, because they were too many"
        );
    }
    text
}

/// What was searched, and how far back that goes.
fn nothing(what: &str, since: Option<Timestamp>, answer: &Answer) -> String {
    let keys: Vec<String> = answer.keys.iter().map(ToString::to_string).collect();
    let searched = if keys.is_empty() { clean(what) } else { clean(&keys.join(", ")) };
    let reach = match (answer.kept, answer.story.oldest) {
        (false, _) => "nothing is kept: [history] keep is \"never\"".to_owned(),
        (true, None) => "nothing has been kept yet".to_owned(),
        (true, Some(oldest)) => {
            let from = since.map_or(oldest, |since| since.max(oldest));
            format!("what happened is known since {from:.0} ({} ago)", age(from))
        }
    };
    format!("nothing found for {searched}; {reach}{}", missing(answer).trim_end().replace('\n', "; "))
}
