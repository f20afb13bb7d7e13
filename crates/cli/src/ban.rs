//! `postern ban`: who is turned away, why, and until when.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use postern_mta::admin::{self, Admin};
use postern_mta::config::units;
use postern_mta::event::clean;
use postern_mta::limits::{Ban, Lifted, Request, Response, Subject};

use crate::queue::{age, until};
use crate::table::{Line, listing};
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// How long a ban lasts when nothing is said.
const USUAL: Duration = Duration::from_hours(24);

/// Subcommands of `postern ban`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the bans in force, and accounts closed where they did not sign in lately; the newest last
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Turn an address or a network away, or bar an account from signing in
    Add(Addition),
    /// Lift a ban, and forget the wrong passwords that led to it
    Remove {
        /// An address, a network as the list shows it, or an account
        subject: Subject,
    },
}

/// A ban to be made.
#[derive(Args)]
pub(crate) struct Addition {
    /// An address (192.0.2.7), a network (192.0.2.0/24) or an account (the name that is used to sign in)
    subject: Subject,
    /// For how long, such as 1h or 7d [default: 1d]
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration, conflicts_with = "forever")]
    length: Option<Duration>,
    /// Until it is removed
    #[arg(long)]
    forever: bool,
    /// Why, for whoever reads the list
    #[arg(long, value_name = "TEXT", default_value = "")]
    because: String,
    /// Even if it shuts out this machine, those in [bans] never, or a large part of the world
    #[arg(long)]
    force: bool,
}

/// Carries out a subcommand.
pub(crate) fn run(command: Command, path: &Path) -> Done {
    let admin = admin(path)?;
    block_on(carry_out(command, &admin))?
}

async fn carry_out(command: Command, admin: &Admin) -> Done {
    match command {
        Command::List { json } => list(admin, json).await,
        Command::Add(addition) => add(admin, addition).await,
        Command::Remove { subject } => remove(admin, subject).await,
    }
}

async fn list(admin: &Admin, json: bool) -> Done {
    let bans = match ask(admin, Request::Bans).await? {
        Response::Bans(bans) => bans,
        other => return Err(unexpected(&other).into()),
    };
    let head = ["who", "since", "ends", "by", "because"];
    say(&if json { in_json(&bans)? } else { listing(&bans, "nobody is banned", head, line) })?;
    Ok(ExitCode::SUCCESS)
}

fn line(ban: &Ban) -> Line {
    Line::Cells(vec![
        clean(&ban.subject.to_string()),
        format!("{} ago", age(ban.since)),
        ban.until.map_or("never".to_owned(), until),
        ban.by.to_string(),
        clean(&ban.because),
    ])
}

async fn add(admin: &Admin, addition: Addition) -> Done {
    let Addition { subject, length, forever, because, force } = addition;
    let length = if forever { None } else { Some(length.unwrap_or(USUAL)) };
    if force {
        eprintln!(
            "postern: forced: everybody in {subject} is turned away, programs on this machine and your own people too; \
             to undo it: postern ban remove {subject}"
        );
    }
    match ask(admin, Request::Ban { subject, length, because, force }).await? {
        Response::Banned(ban) => {
            let end = ban.until.map_or("until it is removed".to_owned(), |end| format!("until {end:.0}"));
            say(&format!("banned {} {end}\n", clean(&ban.subject.to_string())))?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other).into()),
    }
}

async fn remove(admin: &Admin, subject: Subject) -> Done {
    match ask(admin, Request::Unban { subject: subject.clone() }).await? {
        Response::Unbanned(Lifted { ban: Some(_), .. }) => {
            say(&format!("{subject} is no longer banned\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Response::Unbanned(Lifted { ban: None, forgotten: tried @ 1.. }) => {
            say(&format!(
                "forgotten for {subject}, which was not banned: {tried} different wrong passwords\n"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Response::Unbanned(_) => {
            let hint = "`postern ban list` shows all; a network is lifted as a whole";
            Err(format!("{subject} is not banned by itself; {hint}").into())
        }
        other => Err(unexpected(&other).into()),
    }
}

/// Asks about bans or bursts.
pub(crate) async fn ask(admin: &Admin, request: Request) -> Result<Response, admin::Error> {
    match admin.call(admin::Request::Limits(request)).await? {
        admin::Response::Limits(response) => Ok(response),
        other => Err(unexpected(&other)),
    }
}
