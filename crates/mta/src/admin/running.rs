//! Whether a daemon runs, and which process it is.
//!
//! [`running`] asks the system who listens at the control socket. What it deliberately does not do: say anything there.

use std::path::Path;

use tokio::net::UnixStream;

use super::control_path;

/// A running daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Running {
    /// Its process, where the system tells.
    pub(crate) process: Option<i32>,
}

/// The daemon that has this data directory; `None`: none runs, or this user may not ask it.
pub(crate) async fn running(data_dir: &Path) -> Option<Running> {
    let stream = UnixStream::connect(control_path(data_dir)).await.ok()?;
    let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
    Some(Running { process })
}
