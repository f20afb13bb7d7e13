//! What happened with ACME orders: the operation behind `postern cert acme log`.
//!
//! The story is read from the running daemon, or from its file when none runs. Renewing an identity now
//! ([`Request::Renew`](super::certificates::Request::Renew)) is for the running daemon alone.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use postern_pki::acme::{ChallengeKind, Problem, Step};

pub use crate::certificates::acme::Why;
use crate::certificates::acme::story::Story;
pub use crate::certificates::acme::story::{Ended, OrderView, Standing, StepView, TroubleView};
use crate::daemon::Shared;
use crate::ledger::LedgerError;

use super::Response;

/// Whoever waits for an order hears of it within this; the order itself may take longer.
const PATIENCE: Duration = Duration::from_secs(45);

/// So many orders are told at once.
const ORDERS_MOST: u32 = 1000;

/// Which orders are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRequest {
    /// Those of this identity alone.
    pub identity: Option<String>,
    /// The last of them, so many.
    pub most: u32,
}

/// The orders, and how those identities stand whose last one failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The newest last.
    pub orders: Vec<OrderView>,
    /// When they are tried again.
    pub standings: Vec<Standing>,
}

/// Reads the story in this data directory; without one, nothing has happened.
///
/// # Errors
/// Local: the file cannot be read.
pub(super) async fn log(data_dir: &Path, request: LogRequest) -> Result<Log, LedgerError> {
    log_of(&Story::open_for_reading(data_dir)?, request).await
}

/// The same from a story that is open.
///
/// # Errors
/// As for [`log`].
pub(super) async fn log_of(story: &Story, request: LogRequest) -> Result<Log, LedgerError> {
    let LogRequest { identity, most } = request;
    let mut standings = story.standings().await?;
    standings.retain(|standing| identity.as_ref().is_none_or(|identity| *identity == standing.identity));
    Ok(Log { orders: story.orders(identity, most.min(ORDERS_MOST)).await?, standings })
}

/// Has an identity renewed, and tells what came of the order, or that it goes on.
pub(super) async fn renew(shared: &Shared, identity: &str) -> Response {
    match tokio::time::timeout(PATIENCE, shared.acme.renew(identity)).await {
        Ok(Ok(order)) => Response::AcmeOrder(Box::new(order)),
        Ok(Err(why)) => Response::Failed(why),
        Err(_) => Response::Failed(format!(
            "the authority is still at work; look at what comes of it with `postern cert acme log {identity}`"
        )),
    }
}
