//! The control socket: one JSON request a line, one JSON response a line, on this machine only.
//!
//! Who may use it is decided by the file's mode (0600) in the data directory. Requests are bounded, and who says nothing
//! is let go. [`serve`] is the daemon's end, [`call`] the command line's; a socket that nobody answers at is a dead
//! daemon's, and counts as none.
//!
//! What it deliberately does not do: know who asks, or offer anything over the network.

use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_queue::Change;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{
    Error, Reload, Request, Response, accept, certificates, control_path, execute, history, limited,
    may_send, route, sessions, told, troubles,
};
use crate::daemon::{self, Shared};
use crate::event::Event;
use crate::limits;
use crate::policy::reports;

/// A longer request is refused.
const REQUEST_MOST: u64 = 1024 * 1024;
/// Who connects and says nothing is let go after this.
const PATIENCE: Duration = Duration::from_mins(1);

/// After a connection that could not be accepted.
const BREATH: Duration = Duration::from_millis(200);

/// Listens on the control socket.
pub(crate) fn serve(shared: Arc<Shared>, reload: Reload) -> Result<JoinHandle<()>, daemon::Error> {
    let path = control_path(&shared.site.load().config.data_dir);
    let listening = bind(&path).map_err(|source| daemon::Error::Control { path, source })?;
    Ok(tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listening.accept().await else {
                // Out of descriptors or the like: it passes.
                tokio::time::sleep(BREATH).await;
                continue;
            };
            let (shared, reload) = (Arc::clone(&shared), reload.clone());
            tokio::spawn(timeout(PATIENCE, async move { converse(stream, &shared, &reload).await }));
        }
    }))
}

/// Removes the socket at the end.
pub(crate) fn remove(data_dir: &Path) {
    let _ = std::fs::remove_file(control_path(data_dir));
}

/// Asks the running daemon; `None` when none runs.
pub(super) async fn call(data_dir: &Path, request: &Request) -> Result<Option<Response>, Error> {
    let path = control_path(data_dir);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(source) => return Err(Error::Unreachable { path, source }),
    };
    let answer = ask(stream, request).await.map_err(|source| Error::Unreachable { path, source })?;
    serde_json::from_str(&answer).map(Some).map_err(|error| Error::Garbled(error.to_string()))
}

async fn ask(stream: UnixStream, request: &Request) -> io::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer)
}

/// The queue's lock was taken before, so that a socket that is still there is a dead daemon's.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listening = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listening)
}

async fn converse(stream: UnixStream, shared: &Shared, reload: &Reload) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(REQUEST_MOST)).read_line(&mut line).await?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => carry_out(shared, reload, request).await,
        Err(error) => Response::Failed(format!("not a request of this version: {error}")),
    };
    let mut answer = serde_json::to_vec(&response)?;
    answer.push(b'\n');
    writer.write_all(&answer).await
}

async fn carry_out(shared: &Shared, reload: &Reload, request: Request) -> Response {
    match request {
        Request::Reload => return ask_to_reload(reload).await,
        Request::Certificates(request) => return certificates::carry_out(shared, request).await,
        Request::Limits(request) => {
            return limited(limits::carry_out(shared, request, Timestamp::now()).await);
        }
        Request::Sessions(request) => {
            let answer = sessions::carry_out(shared, request, Timestamp::now()).await;
            return answer.map_or_else(Response::Failed, Response::Sessions);
        }
        Request::Troubles(request) => {
            let answer = troubles::carry_out(shared, request, Timestamp::now()).await;
            return answer.map_or_else(Response::Failed, Response::Troubles);
        }
        Request::TlsReports(request) => {
            return told(reports::carry_out(shared, request, Timestamp::now()).await);
        }
        Request::Route { to } => {
            let view = route::ask(shared, &to).await;
            return view.map_or_else(Response::Failed, |view| Response::Route(Box::new(view)));
        }
        Request::Devices => {
            let listed = shared.devices.list(&shared.site.load().config).await;
            return listed.map_or_else(|error| Response::Failed(error.to_string()), Response::Devices);
        }
        Request::History(question) => return tell(shared, question).await,
        Request::MaySend(question) => {
            let site = shared.site.load_full();
            let answer = may_send::ask(&site.config, &site.directories, &site.senders, &question).await;
            return answer.map_or_else(Response::Failed, |answer| Response::MaySend(Box::new(answer)));
        }
        Request::Accept(question) => {
            let answer = accept::ask(shared, &question).await;
            return answer.map_or_else(Response::Failed, |answer| Response::Accept(Box::new(answer)));
        }
        _ => {}
    }
    let change = change_of(&request);
    let site = shared.site.load_full();
    let response = match execute(&*shared.store, &site.routing, request, Timestamp::now()).await {
        Ok(response) => response,
        Err(error) => return Response::Failed(error.to_string()),
    };
    if let (Some(change), Some(deliveries)) = (change, changed_by(&response)) {
        let change = format!("{change:?}").to_lowercase();
        shared.observer.daemon(Event::Amended { change, deliveries });
        shared.wake.notify_one();
    }
    response
}

/// What happened, up to now.
async fn tell(shared: &Shared, question: history::Question) -> Response {
    shared.history.flush().await;
    let data_dir = shared.site.load().config.data_dir.clone();
    match tokio::task::spawn_blocking(move || history::tell(&data_dir, &question)).await {
        Ok(Ok(story)) => Response::History(Box::new(story)),
        Ok(Err(error)) => Response::Failed(error.to_string()),
        Err(_) => Response::Failed("the history could not be read to its end".into()),
    }
}

fn change_of(request: &Request) -> Option<Change> {
    match request {
        Request::Amend { change, .. } => Some(*change),
        Request::Reroute { .. } => Some(Change::Reroute),
        _ => None,
    }
}

fn changed_by(response: &Response) -> Option<u64> {
    match response {
        Response::Changed(deliveries) => Some(*deliveries),
        Response::Rerouted(rerouted) => Some(rerouted.deliveries),
        _ => None,
    }
}

async fn ask_to_reload(reload: &Reload) -> Response {
    let (answer, answered) = oneshot::channel();
    if reload.send(answer).await.is_err() {
        return Response::Failed("this Postern cannot reload".into());
    }
    match answered.await {
        Ok(Ok(())) => Response::Done,
        Ok(Err(why)) => Response::Failed(why),
        Err(_) => Response::Failed("Postern shuts down".into()),
    }
}
