//! The daemon: accept, decide, enqueue, route, deliver, report.
//!
//! This is the only place where the protocol, the queue, DNS and TLS meet. The types to know:
//! - [`config::Config`]: what will run. [`daemon::Daemon`]: what runs; it owns every task.
//! - `inbound`: listeners, the driver of each session, the gate that answers its six questions, and taking
//!   responsibility. `outbound`: from a leased batch to one outcome per recipient.
//! - [`routing::Routing`]: the relay policy and the choice of a connector, as pure decisions.
//! - [`sender::Senders`]: who may send as what, as one pure decision.
//! - `device`: what printers and old applications may do.
//! - [`event::Event`]: everything that happens, as a typed fact; [`observe`] renders it.
//! - [`history`]: what happened, kept so that it can be asked for.
//! - [`session`]: what became of each session, as facts, transcripts, and [`cases`] of similar troubles.
//! - `limits`: how much anybody may do, who guesses, who is banned, whose mail is held.
//! - `certificates`: our own, from the request to the renewal. `authority`: the private CA. `http`: what it offers to
//!   others, and `metrics`: figures for a monitoring system.
//! - [`admin::Admin`]: what the command line (and later the console) can do, whether the daemon runs or not.
//!
//! One message's way: `inbound::connection` → `inbound::gate` → `inbound::accept` → `Store::enqueue` → `scheduler` →
//! `outbound::attempt` → `report` → `Store::record`.

pub mod admin;
mod authority;
#[doc(hidden)]
pub mod bench;
pub mod cases;
pub mod certificates;
pub mod check_server;
pub mod config;
pub mod daemon;
mod device;
pub mod diagnosis;
pub mod directory;
pub mod doctor;
pub mod event;
pub mod history;
mod http;
pub mod https;
mod inbound;
mod ledger;
pub mod limits;
mod metrics;
pub mod observe;
mod outbound;
mod pace;
pub mod policy;
pub mod ports;
mod postmaster;
pub mod probe;
pub mod relay_test;
mod report;
pub mod routing;
mod scheduler;
mod secret_file;
pub mod sender;
pub mod session;
