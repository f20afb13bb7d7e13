//! Mail on its way out: from a leased batch to one outcome per recipient.
//!
//! [`route`] works out which hosts take a destination's mail; [`live`] is one connection to one of them, driving a
//! `ClientSession`; [`attempt`] tries the hosts in order, reusing a connection that is still open; [`maildir`] writes
//! mailboxes on this machine. Nothing here touches the queue: what an attempt came to is recorded by
//! [`scheduler`](crate::scheduler).

pub(crate) mod attempt;
mod live;
mod maildir;
mod own;
mod route;

pub(crate) use attempt::{Attempted, Place, Progress, Reached, SuccessReport, attempt};
pub(crate) use live::Live;
pub(crate) use own::own_addresses;
