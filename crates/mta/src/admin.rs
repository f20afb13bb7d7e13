//! What an administrator can do: the operations behind the command line and, later, the console.
//!
//! A [`Request`] is carried out by the running daemon, reached through its control socket, or, when none runs, on the
//! store directly; whoever asks need not care which. Users are changed in their database, which the daemon reads at
//! each question.
//!
//! The types to know: [`Admin`], one installation; [`Request`] and [`Response`], which travel through the control
//! socket as JSON; [`route::RouteView`], where mail would go; [`why::Waiting`], why it waits; [`history::Story`], what became of it. What it deliberately does
//! not do: parse command lines, or render answers for people.

pub mod accept;
pub mod acme;
pub mod authority;
pub mod certificates;
pub mod devices;
pub mod history;
pub mod may_send;
pub(crate) mod pages;
pub mod reroute;
pub mod route;
pub(crate) mod running;
pub mod sessions;
pub(crate) mod socket;
pub mod troubles;
pub mod why;

/// What can be asked and told of TLS reports, as [`Request::TlsReports`] and [`Response::TlsReports`] carry it.
pub mod tls_reports {
    pub use crate::policy::day::Day;
    pub use crate::policy::reports::{
        DAYS_KEPT, DomainSeen, FailureSeen, Overview, PolicySeen, ReportedBy, Request, Response, SentTo,
    };
}

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use postern_queue::{Change, Delivery, Filter, QueueId, Selection, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::Config;
use crate::daemon::{self, open_store, prepare_data_dir};
use crate::directory::{self, People, Users};
use crate::limits;
use crate::policy::ledger::{self, LedgerError};
use crate::policy::reports;
use crate::routing::Routing;
pub use pages::FewOf;
use reroute::Rerouted;
use route::RouteView;
use why::Waiting;

/// Asks whoever runs the daemon to read its configuration again, and to answer what came of it.
pub type Reload = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// An operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Which deliveries are there?
    Find {
        /// Which ones.
        filter: Filter,
        /// How many.
        page: Selection,
    },
    /// Change deliveries.
    Amend {
        /// Which ones.
        filter: Filter,
        /// How.
        change: Change,
    },
    /// Make deliveries due now, by the ways that the configuration has for them now.
    Reroute {
        /// Which ones.
        filter: Filter,
    },
    /// Why do deliveries wait?
    Why {
        /// Which ones.
        filter: Filter,
    },
    /// Where would mail go?
    Route {
        /// An address or a domain.
        to: String,
    },
    /// Which devices are there, and how do they send?
    Devices,
    /// May somebody send as an address?
    MaySend(Box<may_send::Question>),
    /// Would a message be accepted?
    Accept(Box<accept::Question>),
    /// How much is in the queue?
    Status,
    /// The first octets of a message.
    Content {
        /// Which one.
        id: QueueId,
        /// At most so many.
        most: usize,
    },
    /// What TLS reports say, or send one.
    TlsReports(reports::Request),
    /// Our own certificates.
    Certificates(certificates::Request),
    /// Who is banned, and whose mail is held.
    Limits(limits::Request),
    /// What happened to somebody, or to a message?
    History(history::Question),
    /// Sessions that have ended, and those that are to be seen whole.
    Sessions(sessions::Request),
    /// What keeps people from sending.
    Troubles(troubles::Request),
    /// Read the configuration again.
    Reload,
}

/// What came of an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Deliveries.
    Deliveries(Vec<Delivery>),
    /// So many were changed.
    Changed(u64),
    /// What was rerouted.
    Rerouted(Rerouted),
    /// Why deliveries wait.
    Why(Waiting),
    /// Where mail would go.
    Route(Box<RouteView>),
    /// All devices.
    Devices(Vec<devices::DeviceView>),
    /// Whether somebody may send as an address.
    MaySend(Box<may_send::MaySend>),
    /// Whether a message would be accepted.
    Accept(Box<accept::Acceptance>),
    /// The queue in figures.
    Status(Status),
    /// A message's first octets.
    Content(Vec<u8>),
    /// What came of an operation on TLS reports.
    TlsReports(reports::Response),
    /// What happened with ACME orders.
    AcmeLog(acme::Log),
    /// The order that was placed, as far as it came.
    AcmeOrder(Box<acme::OrderView>),
    /// What came of an operation on bans and held bursts.
    Limits(limits::Response),
    /// What happened.
    History(Box<history::Story>),
    /// What came of a question about sessions.
    Sessions(sessions::Response),
    /// What came of an operation on cases.
    Troubles(troubles::Response),
    /// What is being served.
    Served(Vec<certificates::Served>),
    /// It is done.
    Done,
    /// It could not be done.
    Failed(String),
}

/// The queue in figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Deliveries in all.
    pub deliveries: u64,
    /// Those of them that are held.
    pub held: u64,
    /// Messages that could not be read and were set aside, with the reason.
    pub quarantined: Vec<(QueueId, String)>,
}

/// Why an operation could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The daemon is running but cannot be talked to.
    #[error(
        "{path}: the running Postern cannot be reached: {source}; are you the user that runs it, or root?"
    )]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The daemon's answer could not be understood.
    #[error("the running Postern answered something else: {0}; is it of another version?")]
    Garbled(String),
    /// The store refused.
    #[error(transparent)]
    Queue(#[from] postern_queue::Error),
    /// The users could not be opened.
    #[error(transparent)]
    Users(#[from] directory::Error),
    /// What is remembered of destinations cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] daemon::Error),
    /// Something with our certificates cannot be done.
    #[error(transparent)]
    Certificates(#[from] certificates::Error),
    /// Something with the private CA cannot be done.
    #[error(transparent)]
    Authority(#[from] crate::authority::Error),
    /// The operation failed in the daemon.
    #[error("{0}")]
    Failed(String),
    /// It makes sense only with a running daemon.
    #[error(
        "Postern is not running (no control socket in {0}); if data_dir was changed meanwhile, restart Postern instead"
    )]
    NotRunning(PathBuf),
}

/// The operations of one installation.
pub struct Admin {
    config: Config,
}

impl Admin {
    /// For the installation that a configuration describes.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// The users of this installation.
    ///
    /// # Errors
    /// [`Error::Users`] when their database cannot be opened.
    pub fn users(&self) -> Result<Users, Error> {
        prepare_data_dir(&self.config)?;
        let users = Users::open(&self.config.data_dir)?;
        users.keep_sha1(self.config.auth.keeps_sha1());
        Ok(users)
    }

    /// The people of this installation, whichever directory knows them.
    ///
    /// # Errors
    /// [`Error::Users`] when Postern's own users cannot be opened.
    pub fn people(&self) -> Result<People, Error> {
        Ok(People::new(&self.config, self.users()?)?)
    }

    /// Carries out an operation: in the running daemon, or directly when none runs.
    ///
    /// # Errors
    /// Why it could not be done; then nothing was changed.
    pub async fn call(&self, request: Request) -> Result<Response, Error> {
        let response = match socket::call(&self.config.data_dir, &request).await? {
            Some(response) => response,
            None => self.call_directly(request).await?,
        };
        match response {
            Response::Failed(why) => Err(Error::Failed(why)),
            response => Ok(response),
        }
    }

    async fn call_directly(&self, request: Request) -> Result<Response, Error> {
        match &request {
            Request::Reload => return Err(Error::NotRunning(self.config.data_dir.clone())),
            Request::Route { to } => {
                let view = route::ask_directly(&self.config, to).await?;
                return Ok(Response::Route(Box::new(view)));
            }
            Request::Devices => return Ok(Response::Devices(devices::list_alone(&self.config).await?)),
            Request::History(question) => {
                return Ok(Response::History(Box::new(history::tell(&self.config.data_dir, question)?)));
            }
            Request::MaySend(question) => {
                let answer = may_send::ask_directly(&self.config, question).await?;
                return Ok(Response::MaySend(Box::new(answer)));
            }
            Request::Accept(question) => {
                let answer = accept::ask_directly(&self.config, question).await?;
                return Ok(Response::Accept(Box::new(answer)));
            }
            _ => {}
        }
        prepare_data_dir(&self.config)?;
        let request = match request {
            Request::TlsReports(request) => return self.on_reports(request).await,
            Request::Limits(request) => {
                let answer = limits::carry_out_alone(&self.config, request, Timestamp::now()).await;
                return Ok(limited(answer));
            }
            Request::Sessions(request) => {
                let answer = sessions::carry_out_alone(&self.config, request, Timestamp::now()).await;
                return Ok(answer.map_or_else(Response::Failed, Response::Sessions));
            }
            Request::Troubles(request) => {
                let answer = troubles::carry_out_alone(&self.config, request, Timestamp::now()).await;
                return Ok(answer.map_or_else(Response::Failed, Response::Troubles));
            }
            Request::Certificates(request) => {
                return certificates::carry_out_alone(&self.config.data_dir, request).await;
            }
            request => request,
        };
        let routing = Routing::new(Arc::new(self.config.clone()));
        match open_store(&self.config).await {
            Ok(store) => Ok(execute(&*store, &routing, request, Timestamp::now()).await?),
            // Whoever has the queue may be a daemon that was just starting.
            Err(error @ postern_queue::Error::InUse { .. }) => {
                socket::call(&self.config.data_dir, &request).await?.ok_or(Error::Queue(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The ledger needs no daemon and no lock.
    async fn on_reports(&self, request: reports::Request) -> Result<Response, Error> {
        let opened = ledger::open(&self.config.data_dir)?;
        if let Some(trouble) = opened.trouble {
            return Err(trouble.into());
        }
        let answer = reports::carry_out_alone(&opened.ledger, &self.config, request, Timestamp::now()).await;
        Ok(told(answer))
    }
}

/// Words in place of what was asked for.
pub(crate) fn told(answer: Result<reports::Response, String>) -> Response {
    answer.map_or_else(Response::Failed, Response::TlsReports)
}

/// The same for bans and bursts.
pub(crate) fn limited(answer: Result<limits::Response, String>) -> Response {
    answer.map_or_else(Response::Failed, Response::Limits)
}

/// Carries out what concerns the store.
pub(crate) async fn execute(
    store: &dyn Store,
    routing: &Routing,
    request: Request,
    now: Timestamp,
) -> Result<Response, postern_queue::Error> {
    Ok(match request {
        Request::Find { filter, page } => Response::Deliveries(store.find(filter, page).await?),
        Request::Amend { filter, change } => Response::Changed(store.amend(now, filter, change).await?),
        Request::Reroute { filter } => {
            Response::Rerouted(reroute::reroute(store, routing, filter, now).await?)
        }
        Request::Why { filter } => Response::Why(why::why(store, filter).await?),
        Request::Status => {
            let (deliveries, held) = store.count().await?;
            Response::Status(Status { deliveries, held, quarantined: store.quarantined().await? })
        }
        Request::Content { id, most } => Response::Content(read_content(store, id, most).await?),
        Request::Reload
        | Request::Route { .. }
        | Request::Devices
        | Request::History(_)
        | Request::MaySend(_)
        | Request::Accept(_)
        | Request::TlsReports(_)
        | Request::Certificates(_)
        | Request::Sessions(_)
        | Request::Troubles(_)
        | Request::Limits(_) => Response::Failed("that is no question to the queue".into()),
    })
}

async fn read_content(store: &dyn Store, id: QueueId, most: usize) -> Result<Vec<u8>, postern_queue::Error> {
    let mut body = store.body(id).await?;
    let mut content = Vec::new();
    while content.len() < most
        && let Some(piece) = body.next().await?
    {
        content.extend_from_slice(&piece);
    }
    content.truncate(most);
    Ok(content)
}

fn control_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}
