//! What an administrator asks about sessions that have ended, and about those that are to be seen whole.
//!
//! [`carry_out`] is the daemon's way; [`carry_out_alone`] looks into `sessions.db` while none runs, and changes nothing.
//! What it deliberately does not do: render anything (see [`session::transcript`](crate::session::transcript)).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cases::ServerSettings;
use crate::config::{Config, Transcripts};
use crate::daemon::Shared;
use crate::session::{Keeper, Shown, Since, Summary, Wanted, WatchView, Which};

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Which sessions are kept?
    List(Which),
    /// Everything about one.
    Show {
        /// Its id.
        id: String,
    },
    /// Keep such sessions whole for a while.
    Record {
        /// Which.
        wanted: Wanted,
        /// For so many seconds.
        seconds: u64,
    },
    /// What is being recorded?
    Recordings,
    /// End a recording.
    Stop {
        /// Its number.
        id: u64,
    },
    /// Follow such sessions from now on.
    Follow {
        /// Which.
        wanted: Wanted,
    },
    /// What was said since?
    Heard {
        /// The follower's number.
        id: u64,
        /// Where it went on.
        cursor: u64,
    },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Sessions, the latest last, and of which some are kept at all.
    Listed {
        /// The sessions.
        sessions: Vec<Summary>,
        /// Whether the configuration keeps any.
        keeps: bool,
    },
    /// One session, and what the texts about it need.
    Shown {
        /// The session. `None`: it is not kept.
        session: Option<Box<Shown>>,
        /// What people enter here.
        settings: ServerSettings,
    },
    /// The recording that was begun.
    Recording(WatchView),
    /// All recordings, and who follows.
    Recordings(Vec<WatchView>),
    /// The recording that was ended, if there was one.
    Stopped(Option<WatchView>),
    /// The follower's number, and where he begins.
    Following {
        /// The number.
        id: u64,
        /// Where he begins.
        cursor: u64,
    },
    /// What was said since. `None`: the watch has ended.
    Heard(Option<Since>),
}

/// In the running daemon.
///
/// # Errors
/// In words, why it was not done.
pub(crate) async fn carry_out(shared: &Shared, request: Request, now: Timestamp) -> Result<Response, String> {
    let (keeper, site) = (&shared.keeper, shared.site.load_full());
    match request {
        Request::List(_) | Request::Show { .. } => {
            let written = keeper.write(site.config.kept_sessions, now).await;
            written.map_err(|error| error.to_string())?;
            look(keeper, &site.config, request).await
        }
        Request::Record { wanted, seconds } => {
            let length = i64::try_from(seconds).map_err(|_| "that is too long".to_owned())?;
            check_listener(&site.config, &wanted)?;
            keeper.record(wanted, SignedDuration::from_secs(length), now).map(Response::Recording)
        }
        Request::Recordings => Ok(Response::Recordings(keeper.watches(now))),
        Request::Stop { id } => Ok(Response::Stopped(keeper.stop(id))),
        Request::Follow { wanted } => {
            check_listener(&site.config, &wanted)?;
            keeper.follow(wanted, now).map(|(id, cursor)| Response::Following { id, cursor })
        }
        Request::Heard { id, cursor } => Ok(Response::Heard(keeper.heard(id, cursor, now))),
    }
}

/// On the file, while no daemon runs.
///
/// # Errors
/// In words: the file cannot be read, or the question makes sense only to a daemon.
pub(crate) async fn carry_out_alone(
    config: &Config,
    request: Request,
    now: Timestamp,
) -> Result<Response, String> {
    let opened = Keeper::open_for_reading(&config.data_dir, now).await;
    let keeper = opened.map_err(|error| error.to_string())?;
    look(&keeper, config, request).await
}

async fn look(keeper: &Keeper, config: &Config, request: Request) -> Result<Response, String> {
    match request {
        Request::List(which) => {
            let sessions = keeper.list(which).await.map_err(|error| error.to_string())?;
            let keeps = config.kept_sessions.transcripts != Transcripts::Off;
            Ok(Response::Listed { sessions, keeps })
        }
        Request::Show { id } => {
            let session = keeper.show(id).await.map_err(|error| error.to_string())?.map(Box::new);
            Ok(Response::Shown { session, settings: ServerSettings::of(config) })
        }
        _ => Err("Postern is not running, so that there are no sessions to record or to follow".to_owned()),
    }
}

/// A slip of the keyboard would record nothing for the whole time.
fn check_listener(config: &Config, wanted: &Wanted) -> Result<(), String> {
    let Some(listener) = &wanted.listener else { return Ok(()) };
    let names: Vec<&str> = config.listeners.iter().map(|listener| listener.name.as_str()).collect();
    if names.contains(&listener.as_str()) {
        return Ok(());
    }
    Err(format!("there is no listener \"{listener}\"; there are: {}", names.join(", ")))
}
