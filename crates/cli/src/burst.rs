//! `postern burst`: accounts whose mail is held because they suddenly send much more than usual, and what becomes of it.

use std::path::Path;
use std::process::ExitCode;

use clap::Subcommand;
use postern_mta::admin::Admin;
use postern_mta::event::clean;
use postern_mta::limits::{Burst, Request, Response};

use crate::ask::{Usual, go_on};
use crate::ban::ask;
use crate::queue::age;
use crate::table::{Line, listing};
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// Subcommands of `postern burst`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List accounts whose mail is held
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Send what is held; the account may send as much from now on
    Release {
        /// Whose
        user: String,
    },
    /// Remove what is held, without a report to anybody
    Discard {
        /// Whose
        user: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    let admin = admin(path)?;
    block_on(carry_out(command, &admin))?
}

async fn carry_out(command: Command, admin: &Admin) -> Done {
    match command {
        Command::List { json } => list(admin, json).await,
        Command::Release { user } => {
            decide(admin, Request::Release { user: user.clone() }, &user, "released").await
        }
        Command::Discard { user, yes } => {
            let question = format!("Remove all mail of {user} that is held, for good?");
            if !go_on(&question, Usual::No, yes)? {
                return Ok(ExitCode::FAILURE);
            }
            decide(admin, Request::Discard { user: user.clone() }, &user, "removed").await
        }
    }
}

async fn list(admin: &Admin, json: bool) -> Done {
    let bursts = match ask(admin, Request::Bursts).await? {
        Response::Bursts(bursts) => bursts,
        other => return Err(unexpected(&other).into()),
    };
    let head = ["account", "since", "messages", "recipients", "expected in an hour"];
    say(&if json { in_json(&bursts)? } else { listing(&bursts, "no account's mail is held", head, line) })?;
    Ok(ExitCode::SUCCESS)
}

fn line(burst: &Burst) -> Line {
    Line::Cells(vec![
        clean(&burst.user),
        format!("{} ago", age(burst.since)),
        burst.messages.to_string(),
        burst.recipients.to_string(),
        burst.expected.to_string(),
    ])
}

async fn decide(admin: &Admin, request: Request, user: &str, done: &str) -> Done {
    match ask(admin, request).await? {
        Response::Decided(Some(deliveries)) => {
            let noun = if deliveries == 1 { "delivery" } else { "deliveries" };
            say(&format!("{done}: {deliveries} {noun} of {}\n", clean(user)))?;
            Ok(ExitCode::SUCCESS)
        }
        Response::Decided(None) => {
            Err(format!("nothing of {user} is held as a burst; `postern burst list` shows all").into())
        }
        other => Err(unexpected(&other).into()),
    }
}
