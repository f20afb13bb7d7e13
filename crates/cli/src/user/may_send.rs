//! `postern user may-send`: whether somebody may send as an address, by which rule, and what SMTP would reply.
//!
//! The answer comes from [`postern_mta::admin::may_send`] as a [`MaySend`]; here it becomes text, or JSON as it is. The exit
//! code says the same.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::admin::may_send::{Check, MaySend, Person, Question};
use postern_mta::admin::{Request, Response};
use postern_mta::event::clean;
use postern_smtp::address::Mailbox;

use crate::table::facts;
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// The exit code when there is no answer.
const NO_ANSWER: u8 = 3;

/// Arguments of `postern user may-send`.
#[derive(Args)]
#[command(after_help = "Exit codes: 0: yes. 1: no. 2: wrong usage. 3: there is no answer.\n\
                        The running Postern answers; when none runs, the configuration and the directories do.")]
pub(crate) struct Arguments {
    /// What the user signs in as
    user: String,
    /// The address
    address: Mailbox,
    /// What stands in the From: field; without, the address
    #[arg(long, value_name = "HEADER")]
    from: Option<String>,
    /// What stands in the Sender: field; without, there is one only where the address needs it
    #[arg(long, value_name = "HEADER")]
    sender: Option<String>,
    /// As with an app password that is bound to this address; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    only: Vec<Mailbox>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(arguments: Arguments, path: &Path) -> Done {
    let Arguments { user, address, from, sender, only, json } = arguments;
    let question = Question { user, address, from, sender, only };
    let answer = match find_out(question.clone(), path) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("postern: {error}");
            return Ok(ExitCode::from(NO_ANSWER));
        }
    };
    let text = if json { in_json(&answer)? } else { render(&question, &answer) };
    say(&text)?;
    Ok(if answer.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find_out(question: Question, path: &Path) -> Result<MaySend, Box<dyn std::error::Error>> {
    let admin = admin(path)?;
    match block_on(admin.call(Request::MaySend(Box::new(question))))?? {
        Response::MaySend(answer) => Ok(*answer),
        other => Err(unexpected(&other).into()),
    }
}

fn render(question: &Question, answer: &MaySend) -> String {
    let Some(person) = &answer.user else {
        return format!("no: no directory knows a user {}\n", clean(&question.user));
    };
    let verdict = if answer.allowed { "yes" } else { "no" };
    let mut parts = vec![format!("{verdict}\n{}", facts(described(person)))];
    parts.extend(answer.checks.iter().map(checked));
    if !answer.unchecked.is_empty() {
        let listeners = answer.unchecked.join(", ");
        parts.push(format!(
            "The header is not looked at on listener {listeners} (check_from_header = false).\n"
        ));
    }
    parts.join("\n")
}

fn described(person: &Person) -> [(&'static str, String); 4] {
    let addresses: Vec<String> = person.addresses.iter().map(ToString::to_string).collect();
    [
        ("user", clean(&person.name)),
        ("directory", clean(&person.directory)),
        ("addresses", clean(&addresses.join(", "))),
        ("groups", clean(&person.groups.join(", "))),
    ]
}

fn checked(check: &Check) -> String {
    let verdict = check.reply.as_deref().map_or("allowed".to_owned(), clean);
    let because: Vec<String> = check.because.iter().map(|words| clean(words)).collect();
    let remedy = check.remedy.as_deref().map(clean).unwrap_or_default();
    let all = [("answer", verdict), ("because", because.join("\n")), ("to do", remedy)];
    format!("{}\n{}", clean(&check.what), facts(all))
}
