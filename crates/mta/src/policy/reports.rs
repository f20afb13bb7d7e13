//! TLS reports (RFC 8460): ours to those who ask for them, and others' about us.
//!
//! - `Reporter`: sends what is due. `plan` says when (pure), `compose` what (pure), `send` carries it out.
//! - `Reception`: takes a message with a report about us in. [`Preview`] finds those without one before they are taken.
//! - `running`: all of that in the daemon.
//! - [`Request`] and [`Response`]: what an administrator can ask for; [`Overview`] is what he sees.
//!
//! A report by mail is a message of our own in the queue, that goes its way like any other. What it deliberately does not
//! do: sign reports with DKIM, or verify signatures: where a received report comes from is unproved.

mod compose;
mod operations;
mod plan;
mod receive;
mod running;
mod send;
mod show;
#[cfg(test)]
mod tests;

use postern_dns::Resolver;
use postern_queue::Store;
use tokio::sync::Notify;

pub(crate) use operations::carry_out_alone;
pub use operations::{Request, Response, SentTo};
pub(crate) use receive::{Preview, Taken};
pub(crate) use running::{carry_out, receive, run};
pub use show::{DomainSeen, FailureSeen, Overview, PolicySeen, ReportedBy};

use super::tls_results::TlsResults;
use crate::config::Config;
use crate::directory::Users;
use crate::https::Https;
use crate::observe::Observer;
use crate::routing::Routing;

/// For so many days counters and reports are kept.
pub const DAYS_KEPT: u16 = 30;

/// All that sending reports takes.
pub(crate) struct Reporter<'a> {
    pub(crate) results: &'a TlsResults,
    pub(crate) store: &'a dyn Store,
    /// Rung when a report was queued.
    pub(crate) wake: &'a Notify,
    pub(crate) resolver: &'a dyn Resolver,
    pub(crate) https: &'a Https,
    pub(crate) routing: &'a Routing,
    pub(crate) users: &'a Users,
    pub(crate) config: &'a Config,
    pub(crate) observer: &'a Observer,
}
