//! The durable queue: what Postern answered `250` for stays here until it is delivered or reported.
//!
//! The types to know:
//! - [`Store`]: what a queue can do. [`MemoryStore`] is the reference, [`SqliteStore`] the default; one
//!   conformance suite holds for both.
//! - [`Draft`]: content on its way in. Small ones stay in memory, large ones go to a file.
//! - [`Batch`]: one message × one destination × its recipients, leased for an attempt.
//! - [`Disposition`]: what is to happen next to a recipient, worked out by [`retry`], which is pure.
//! - [`Cursor`]: goes through a long listing page by page.
//!
//! What it deliberately does not do: know sessions, routes or configuration; read a clock (`now` is an argument).

mod agenda;
mod body;
mod cursor;
mod draft;
mod error;
mod filter;
mod id;
mod memory;
mod model;
pub mod retry;
mod row;
mod sqlite;
mod store;

pub use body::Body;
pub use cursor::Cursor;
pub use draft::Draft;
pub use error::Error;
pub use id::{QueueId, QueueIdError};
pub use memory::MemoryStore;
pub use model::{
    Batch, Change, Delivery, Destination, Disposition, Envelope, Filter, LeaseId, LeaseRequest, Message,
    NewMessage, Origin, Recipient, RecipientId, RecipientState, Selection, SenderTls, Settled,
};
pub use sqlite::{Options, SqliteStore};
pub use store::Store;
