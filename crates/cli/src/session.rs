//! `postern session`: sessions that have ended, and those that somebody wants to see whole.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use postern_mta::admin::sessions::{Request, Response};
use postern_mta::admin::{self, Admin};
use postern_mta::cases::ServerSettings;
use postern_mta::config::units;
use postern_mta::diagnosis::session::Cause;
use postern_mta::event::clean;
use postern_mta::session::transcript::{export, in_words, transcript};
use postern_mta::session::{IpNet, Shown, Summary, Wanted, WatchView, Which};

use crate::advice::diagnosis_in_words;
use crate::queue::{age, until};
use crate::table::{Line, facts, listing};
use crate::why::moment_before;
use crate::{Done, admin, block_on, in_json, say, unexpected};

/// So many sessions are listed when nothing is said.
const USUAL: usize = 50;
/// So often it is asked what was said, while somebody follows.
const PAUSE: Duration = Duration::from_millis(300);

/// Subcommands of `postern session`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List sessions that are kept, the latest last
    List(List),
    /// Show a session: what is known of it, what was said, and what went wrong
    Show {
        /// Its id, as in the list and in the log
        id: String,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a session as text that can be pasted into a mail: 72 columns of ASCII, without any secret
    Export {
        /// Its id
        id: String,
    },
    /// Print what is said in sessions, and how they end, until Ctrl-C
    Follow(Of),
    /// Keep sessions whole for a while, whether anything goes wrong in them or not
    Record(Recording),
}

/// Which sessions.
#[derive(Args)]
pub(crate) struct Of {
    /// Only those in which something goes wrong
    #[arg(long)]
    troubled: bool,
    /// In which this name signs in, or tries to
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Of clients at this address or in this network
    #[arg(long, value_name = "ADDRESS", value_parser = network)]
    address: Option<IpNet>,
    /// On this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
}

/// Which of those that are kept.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    of: Of,
    /// With this cause, such as wrong-password
    #[arg(long, value_name = "CAUSE", value_parser = cause)]
    cause: Option<Cause>,
    /// Not older than this, such as 2h
    #[arg(long, value_name = "AGE", value_parser = units::duration)]
    since: Option<Duration>,
    /// So many, the latest ones
    #[arg(long, value_name = "NUMBER", default_value_t = USUAL)]
    limit: usize,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// A recording.
#[derive(Args)]
pub(crate) struct Recording {
    #[command(flatten)]
    of: Of,
    /// For how long, such as 10m; 24h at most
    #[arg(long = "for", value_name = "TIME", value_parser = units::duration,
        required_unless_present_any = ["list", "stop"])]
    length: Option<Duration>,
    /// List recordings under way
    #[arg(long, conflicts_with_all = ["length", "stop"])]
    list: bool,
    /// End a recording; what it has kept stays
    #[arg(long, value_name = "NUMBER", conflicts_with = "length")]
    stop: Option<u64>,
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
        Command::Export { id } => {
            let (shown, settings) = find(admin, id).await?;
            say(&export(&shown, &settings.words(shown.facts.account())))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Follow(of) => follow(admin, of.wanted()).await,
        Command::Record(recording) => record(admin, recording).await,
    }
}

impl Of {
    fn wanted(self) -> Wanted {
        let Self { troubled, user, address, listener } = self;
        Wanted { address, user, listener, troubled }
    }
}

async fn list(admin: &Admin, which: List) -> Done {
    let List { of, cause, since, limit, json } = which;
    let since = since.map(moment_before).transpose()?;
    let which = Which { of: of.wanted(), cause, since, limit };
    let (sessions, keeps) = match ask(admin, Request::List(which)).await? {
        Response::Listed { sessions, keeps } => (sessions, keeps),
        other => return Err(unexpected(&other).into()),
    };
    let head = ["session", "ago", "listener", "client", "user", "EHLO", "mails", "what"];
    let none = if keeps {
        "no such session is kept"
    } else {
        "no sessions are kept: [sessions] transcripts is \"off\""
    };
    say(&if json { in_json(&sessions)? } else { listing(&sessions, none, head, row) })?;
    Ok(ExitCode::SUCCESS)
}

fn row(session: &Summary) -> Line {
    let of = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
    Line::Cells(vec![
        clean(&session.id),
        age(session.began),
        clean(&session.listener),
        session.client.ip().to_string(),
        of(&session.user),
        of(&session.hello),
        session.accepted.to_string(),
        session.cause.map_or("-", Cause::token).to_owned(),
    ])
}

async fn show(admin: &Admin, id: String, json: bool) -> Done {
    let (shown, settings) = find(admin, id).await?;
    if json {
        say(&in_json(&shown)?)?;
    } else {
        say(&whole(&shown, &settings))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn whole(shown: &Shown, settings: &ServerSettings) -> String {
    let Shown { facts: known, diagnosis } = shown;
    let mut text = facts(in_words(known));
    text.push('\n');
    for line in transcript(known) {
        text += &format!("  {line}\n");
    }
    let Some(found) = diagnosis else { return text };
    let user = known.account();
    text + &diagnosis_in_words(found, settings, user)
}

async fn find(admin: &Admin, id: String) -> Result<(Shown, ServerSettings), Box<dyn std::error::Error>> {
    let none = format!("session {} is not kept; postern session list shows those that are", clean(&id));
    match ask(admin, Request::Show { id }).await? {
        Response::Shown { session, settings } => Ok((*session.ok_or(none)?, settings)),
        other => Err(unexpected(&other).into()),
    }
}

async fn record(admin: &Admin, recording: Recording) -> Done {
    if recording.list {
        return recordings(admin).await;
    }
    if let Some(id) = recording.stop {
        return match ask(admin, Request::Stop { id }).await? {
            Response::Stopped(Some(stopped)) => {
                say(&format!("recording {id} has ended; it kept {} sessions\n", stopped.kept))?;
                Ok(ExitCode::SUCCESS)
            }
            Response::Stopped(None) => Err(format!("there is no recording {id}").into()),
            other => Err(unexpected(&other).into()),
        };
    }
    let seconds = recording.length.unwrap_or_default().as_secs();
    match ask(admin, Request::Record { wanted: recording.of.wanted(), seconds }).await? {
        Response::Recording(WatchView { id, until: end, .. }) => {
            say(&format!("recording {id} until {end:.0}; postern session list shows what it keeps\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(unexpected(&other).into()),
    }
}

async fn recordings(admin: &Admin) -> Done {
    let set = match ask(admin, Request::Recordings).await? {
        Response::Recordings(set) => set,
        other => return Err(unexpected(&other).into()),
    };
    let line = |watch: &WatchView| {
        let kept = if watch.follows { "somebody follows".to_owned() } else { watch.kept.to_string() };
        Line::Cells(vec![watch.id.to_string(), named(&watch.wanted), until(watch.until), kept])
    };
    say(&listing(&set, "nothing is being recorded", ["number", "which", "ends", "kept"], line))?;
    Ok(ExitCode::SUCCESS)
}

fn named(wanted: &Wanted) -> String {
    let Wanted { address, user, listener, troubled } = wanted;
    let mut words: Vec<String> = Vec::new();
    words.extend(address.map(|address| format!("from {address}")));
    words.extend(user.as_deref().map(|user| format!("of {}", clean(user))));
    words.extend(listener.as_deref().map(|listener| format!("on {}", clean(listener))));
    words.extend(troubled.then(|| "with a trouble".to_owned()));
    if words.is_empty() { "all".to_owned() } else { words.join(", ") }
}

/// Until Ctrl-C; the watch ends by itself when nobody asks any more.
async fn follow(admin: &Admin, wanted: Wanted) -> Done {
    let (id, mut cursor) = match ask(admin, Request::Follow { wanted }).await? {
        Response::Following { id, cursor } => (id, cursor),
        other => return Err(unexpected(&other).into()),
    };
    eprintln!("postern: following; Ctrl-C ends it");
    loop {
        let since = match ask(admin, Request::Heard { id, cursor }).await? {
            Response::Heard(Some(since)) => since,
            Response::Heard(None) => {
                return Err("the daemon does not know of this any more: follow again".into());
            }
            other => return Err(unexpected(&other).into()),
        };
        let mut text = String::new();
        if since.lost > 0 {
            text += &format!("-- {} lines came too fast and are lost\n", since.lost);
        }
        for line in &since.lines {
            let (at, session) = (line.at.strftime("%H:%M:%S%.3f"), clean(&line.session));
            text += &format!("{at} {session} {}\n", clean(&line.text));
        }
        if !text.is_empty() && !spoken(&text)? {
            return Ok(ExitCode::SUCCESS);
        }
        let more = since.lines.len() > 100;
        cursor = since.cursor;
        if !more {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Prints at once; `false`: nobody reads any more.
fn spoken(text: &str) -> Result<bool, std::io::Error> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// An address, or a network.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_canonical().into());
    }
    text.parse().map_err(|_| format!("\"{text}\" is no address and no network such as 192.0.2.0/24"))
}

fn cause(token: &str) -> Result<Cause, String> {
    Cause::named(token).ok_or_else(|| format!("\"{token}\" is no cause; postern explain lists them"))
}

/// Asks about sessions.
pub(crate) async fn ask(admin: &Admin, request: Request) -> Result<Response, admin::Error> {
    match admin.call(admin::Request::Sessions(request)).await? {
        admin::Response::Sessions(response) => Ok(response),
        other => Err(unexpected(&other)),
    }
}
