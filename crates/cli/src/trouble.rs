//! `postern trouble`: what keeps people from sending, the worst first, and what to do about it.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use postern_mta::admin::troubles::{Request, Response};
use postern_mta::admin::{self, Admin, sessions};
use postern_mta::cases::{Case, Letter, ServerSettings, State, WhichCases};
use postern_mta::config::units;
use postern_mta::event::clean;
use postern_mta::session::IpNet;
use postern_mta::session::transcript::transcript;

use crate::advice::diagnosis_in_words;
use crate::queue::age;
use crate::session::network;
use crate::table::{Line, facts, harmless, listing};
use crate::why::moment_before;
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// So wide a list's explanations may be.
const SHORT: usize = 60;
/// So many cases are listed when nothing is said.
const USUAL: usize = 200;

/// Subcommands of `postern trouble`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List open cases, the worst first: troubles of one user or address with the same cause
    List(List),
    /// Show a case: what it is, what to do about it, in each program, and the transcripts that show it
    Show {
        /// Its number
        id: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Close a case; if it happens again, it is open again
    Close {
        /// Its number
        id: u64,
    },
    /// Print a mail to the person, ready to be sent: what went wrong, what to do, and the right settings
    Answer(Answer),
}

/// Which cases.
#[derive(Args)]
pub(crate) struct List {
    /// Solved and closed ones, too
    #[arg(long)]
    all: bool,
    /// Of this user, or with this name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// From this address or network
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    address: Option<IpNet>,
    /// That happened not longer ago than this, such as 2h
    #[arg(long, value_name = "AGE", value_parser = units::duration)]
    since: Option<Duration>,
    /// So many, the worst ones
    #[arg(long, value_name = "NUMBER", default_value_t = USUAL)]
    limit: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A letter to be written.
#[derive(Args)]
pub(crate) struct Answer {
    /// The case's number
    id: u64,
    /// To whom [default: the account's first address]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<String>,
    /// Send it; without this it is printed, and nothing is sent
    #[arg(long)]
    send: bool,
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    let admin = admin(path)?;
    block_on(carry_out(command, &admin))?
}

async fn carry_out(command: Command, admin: &Admin) -> Done {
    match command {
        Command::List(which) => list(admin, which).await,
        Command::Show { id, json } => show(admin, id, json).await,
        Command::Close { id } => close(admin, id).await,
        Command::Answer(answer) => write(admin, answer).await,
    }
}

async fn list(admin: &Admin, which: List) -> Done {
    let List { all, user, address, since, limit, json } = which;
    let narrowed = user.is_some() || address.is_some() || since.is_some();
    let since = since.map(moment_before).transpose()?;
    let which = WhichCases { all, user, address, since, limit: Some(limit) };
    let cases = match ask(admin, Request::List(which)).await? {
        Response::Listed(cases) => cases,
        other => return Err(unexpected(&other).into()),
    };
    let head = ["case", "whose", "times", "last", "what", "state"];
    let none = match (narrowed, all) {
        (true, _) => "there is no such case",
        (false, true) => "there are no cases",
        (false, false) => "there is nothing open",
    };
    say(&if json { in_json(&cases)? } else { listing(&cases, none, head, row) })?;
    Ok(ExitCode::SUCCESS)
}

fn row(case: &Case) -> Line {
    let title = case.cause.section().title;
    Line::Cells(vec![
        case.id.to_string(),
        clean(&case.whom.to_string()),
        case.count.to_string(),
        format!("{} ago", age(case.last)),
        clean(title).chars().take(SHORT).collect(),
        case.state.to_string(),
    ])
}

async fn show(admin: &Admin, id: u64, json: bool) -> Done {
    let (case, settings) = match ask(admin, Request::Show { id }).await? {
        Response::Shown { case, settings } => (case.ok_or_else(|| none(id))?, settings),
        other => return Err(unexpected(&other).into()),
    };
    if json {
        say(&in_json(&case)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&in_words(&case, &settings))?;
    for id in &case.sessions {
        say(&example(admin, id).await?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn in_words(case: &Case, settings: &ServerSettings) -> String {
    let addresses: Vec<String> = case.addresses.iter().map(ToString::to_string).collect();
    let text = facts([
        ("case", format!("{} ({})", case.id, state(case))),
        ("whose", clean(&case.whom.to_string())),
        ("claimed name", case.claimed.as_deref().map(clean).unwrap_or_default()),
        ("times", case.count.to_string()),
        ("first", format!("{:.0}", case.first)),
        ("last", format!("{:.0}", case.last)),
        ("from", addresses.join(", ")),
        ("listeners", clean(&case.listeners.join(", "))),
        ("programs", clean(&case.programs.join(", "))),
        ("answered", case.answered.map(|at| format!("{at:.0}")).unwrap_or_default()),
    ]);
    text + &diagnosis_in_words(&case.diagnosis(), settings, case.user())
}

fn state(case: &Case) -> String {
    match case.state {
        State::Open => "open".to_owned(),
        State::Solved { at } => format!("solved by itself, {} ago", age(at)),
        State::Closed { at } => format!("closed, {} ago", age(at)),
    }
}

/// A session of the case, if it is still kept.
async fn example(admin: &Admin, id: &str) -> Result<String, Box<dyn std::error::Error>> {
    let request = sessions::Request::Show { id: id.to_owned() };
    let shown = match crate::session::ask(admin, request).await? {
        sessions::Response::Shown { session, .. } => session,
        other => return Err(unexpected(&other).into()),
    };
    let Some(shown) = shown else { return Ok(String::new()) };
    let mut text = format!("\nSession {}, {:.0}\n\n", clean(id), shown.facts.began);
    for line in transcript(&shown.facts) {
        text += &format!("  {line}\n");
    }
    Ok(text)
}

async fn close(admin: &Admin, id: u64) -> Done {
    match ask(admin, Request::Close { id }).await? {
        Response::Closed(case) => {
            let case = case.ok_or_else(|| none(id))?;
            say(&format!("case {id} of {} is closed\n", clean(&case.whom.to_string())))?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other).into()),
    }
}

async fn write(admin: &Admin, answer: Answer) -> Done {
    let Answer { id, to, send } = answer;
    match ask(admin, Request::Answer { id, to, send }).await? {
        Response::Answer { to, sent: Some(queued), .. } => {
            say(&format!("sent to {} as {queued}\n", clean(&to.unwrap_or_default())))?;
        }
        Response::Answer { to, letter, sent: None } => say(&printed(to.as_deref(), &letter))?,
        other => return Err(unexpected(&other).into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn printed(to: Option<&str>, letter: &Letter) -> String {
    let to = to.map_or("(nobody is known: name an address with --to)".to_owned(), clean);
    let mut text = format!("To: {to}\nSubject: {}\n\n", clean(&letter.subject));
    for paragraph in &letter.paragraphs {
        text += &(harmless(paragraph) + "\n");
    }
    text
}

fn none(id: u64) -> String {
    format!("there is no case {id}; postern trouble list --all shows all")
}

async fn ask(admin: &Admin, request: Request) -> Result<Response, admin::Error> {
    match admin.call(admin::Request::Troubles(request)).await? {
        admin::Response::Troubles(response) => Ok(response),
        other => Err(unexpected(&other)),
    }
}
