//! Mail on its way in: listeners, the driver of each session, the policy's answers, and taking responsibility.
//!
//! [`listener`] accepts connections within limits; [`connection`] drives one [`ServerSession`]; [`gate`] answers the
//! session's six questions (`sign_in` one of them) by what [`decide`] says; [`opening`] lets a client begin with TLS or in
//! clear; [`demands`] knows what some clients must prove first; [`accept`] turns a complete transaction into a queued
//! message.
//!
//! [`ServerSession`]: postern_smtp::server::ServerSession

pub(crate) mod accept;
pub(crate) mod connection;
pub(crate) mod decide;
pub(crate) mod demands;
pub(crate) mod device;
mod front_end;
pub(crate) mod gate;
pub(crate) mod habits;
mod limits;
pub(crate) mod listener;
mod opening;
mod proxy;
mod sign_in;
mod stream;

#[cfg(test)]
mod certificates;
#[cfg(test)]
mod tests;
