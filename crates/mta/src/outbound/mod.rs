//! Mail on its way out: from a leased batch to one outcome per recipient.
//!
//! [`route`] works out which hosts take a destination's mail, [`dane`] what they publish about their certificates, and
//! [`plan`] joins that with the destination's MTA-STS policy and our own configuration: what must be true of each host's
//! connection, and who says so. [`stream`] is a connection, [`live`] a session over it that drives a `ClientSession`, and
//! [`ladder`] knows the steps down that opportunistic TLS may take. [`attempt`] tries the hosts in order, reusing a
//! connection that is still open; [`maildir`] writes mailboxes on this machine. Nothing here touches the queue: what an
//! attempt came to is recorded by [`scheduler`](crate::scheduler).

pub(crate) mod attempt;
pub(crate) mod credential;
pub(crate) mod dane;
pub(crate) mod ladder;
pub(crate) mod live;
mod maildir;
mod own;
pub(crate) mod plan;
pub(crate) mod route;
mod seen;
pub(crate) mod stream;
pub(crate) mod token;

pub(crate) use attempt::{Attempted, Place, Progress, Reached, SuccessReport, attempt};
pub(crate) use live::Live;
pub(crate) use own::{interface_addresses, own_addresses};
