//! What an administrator asks about cases: which are open, what to do about one, and a letter to the person.
//!
//! [`carry_out`] is the daemon's way; [`carry_out_alone`] works on `sessions.db` while none runs. A letter is sent only when
//! that was asked for, and only by a running daemon.

use jiff::Timestamp;
use postern_queue::QueueId;
use postern_smtp::address::Mailbox;
use serde::{Deserialize, Serialize};

use crate::cases::{Case, Letter, ServerSettings, WhichCases};
use crate::config::Config;
use crate::daemon::Shared;
use crate::directory::{People, Users};
use crate::postmaster;
use crate::session::Keeper;

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Which cases are there?
    List(WhichCases),
    /// Everything about one.
    Show {
        /// Its number.
        id: u64,
    },
    /// Nothing is to be done about it any more.
    Close {
        /// Its number.
        id: u64,
    },
    /// A letter to the person.
    Answer {
        /// The case's number.
        id: u64,
        /// To whom; `None`: to the account's first address.
        to: Option<String>,
        /// Whether it is sent.
        send: bool,
    },
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Cases, the worst first.
    Listed(Vec<Case>),
    /// One case, and what the texts about it need. `None`: there is none of that number.
    Shown {
        /// The case.
        case: Option<Box<Case>>,
        /// What people enter here.
        settings: ServerSettings,
    },
    /// The case that was closed. `None`: there is none of that number.
    Closed(Option<Box<Case>>),
    /// The letter.
    Answer {
        /// To whom, where that is known.
        to: Option<String>,
        /// What.
        letter: Letter,
        /// Its queue id, when it was sent.
        sent: Option<QueueId>,
    },
}

/// In the running daemon.
///
/// # Errors
/// In words, why it was not done.
pub(crate) async fn carry_out(shared: &Shared, request: Request, now: Timestamp) -> Result<Response, String> {
    let (keeper, site) = (&shared.keeper, shared.site.load_full());
    let response = match request {
        Request::Answer { id, to, send } => {
            let (to, letter) = letter(keeper, &site.config, id, to).await?;
            let sent = if send { Some(send_letter(shared, to.clone(), &letter, now).await?) } else { None };
            if sent.is_some() {
                keeper.answered(id, now);
            }
            Response::Answer { to: to.map(|to| to.to_string()), letter, sent }
        }
        request => on_cases(keeper, &site.config, &request, now)?,
    };
    let written = keeper.write(site.config.kept_sessions, now).await;
    written.map_err(|error| error.to_string()).map(|()| response)
}

/// On the file, while no daemon runs.
///
/// # Errors
/// In words, why it was not done.
pub(crate) async fn carry_out_alone(
    config: &Config,
    request: Request,
    now: Timestamp,
) -> Result<Response, String> {
    let in_words = |error: crate::ledger::LedgerError| error.to_string();
    match request {
        Request::Close { .. } => {
            let (keeper, trouble) = Keeper::open(&config.data_dir, now).await.map_err(in_words)?;
            if let Some(trouble) = trouble {
                return Err(trouble.to_string());
            }
            let response = on_cases(&keeper, config, &request, now)?;
            keeper.write(config.kept_sessions, now).await.map_err(in_words)?;
            Ok(response)
        }
        Request::Answer { send: true, .. } => {
            Err("Postern is not running, so that the letter cannot be sent: start it, or leave --send out"
                .into())
        }
        Request::Answer { id, to, send: false } => {
            let keeper = Keeper::open_for_reading(&config.data_dir, now).await.map_err(in_words)?;
            let (to, letter) = letter(&keeper, config, id, to).await?;
            Ok(Response::Answer { to: to.map(|to| to.to_string()), letter, sent: None })
        }
        request => {
            let keeper = Keeper::open_for_reading(&config.data_dir, now).await.map_err(in_words)?;
            on_cases(&keeper, config, &request, now)
        }
    }
}

fn on_cases(keeper: &Keeper, config: &Config, request: &Request, now: Timestamp) -> Result<Response, String> {
    Ok(match request {
        Request::List(which) => {
            let cases = keeper.cases().into_iter().filter(|case| which.holds(case));
            Response::Listed(cases.take(which.limit.unwrap_or(usize::MAX)).collect())
        }
        Request::Show { id } => {
            let case = keeper.case(*id).map(Box::new);
            Response::Shown { case, settings: ServerSettings::of(config) }
        }
        Request::Close { id } => Response::Closed(keeper.close(*id, now).map(Box::new)),
        Request::Answer { .. } => return Err("a letter is no question about cases".into()),
    })
}

async fn send_letter(
    shared: &Shared,
    to: Option<Mailbox>,
    letter: &Letter,
    now: Timestamp,
) -> Result<QueueId, String> {
    let to = to.ok_or("to whom is not known: name an address with --to")?;
    let Letter { subject, paragraphs } = letter.clone();
    let letter = postmaster::Letter { kind: "answer to a case", subject, paragraphs };
    let site = shared.site.load_full();
    postmaster::write(shared, &site, vec![to], letter, now).await.map_err(|error| error.to_string())
}

/// The letter about a case, and to whom: as it was said, else to the person whom it concerns.
async fn letter(
    keeper: &Keeper,
    config: &Config,
    id: u64,
    to: Option<String>,
) -> Result<(Option<Mailbox>, Letter), String> {
    let case = keeper.case(id).ok_or_else(|| no_case(id))?;
    let to = match to {
        Some(to) => Some(address(&to)?),
        None => address_of(config, &case).await,
    };
    Ok((to, Letter::about(&case, &ServerSettings::of(config))))
}

/// The first address of the person whom a case concerns, as far as a directory says it.
async fn address_of(config: &Config, case: &Case) -> Option<Mailbox> {
    let users = Users::open_for_reading(&config.data_dir).ok()?;
    let people = People::new(config, users).ok()?;
    let person = people.find(case.user()?).await.ok()?;
    person.addresses().first().cloned()
}

fn address(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|_| format!("\"{text}\" is no address"))
}

fn no_case(id: u64) -> String {
    format!("there is no case {id}; postern trouble list --all shows all")
}
