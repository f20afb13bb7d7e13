//! A small, bounded HTTP/1.1 server for what Postern offers to others over HTTP.
//!
//! The types to know:
//! - [`Service`]: a name, addresses, and the [`Handler`] that answers there. `daemon::services` lists them; the daemon
//!   binds them as it binds listeners, and keeps their sockets over a reload.
//! - [`Request`] and [`Response`]: whole, in memory, and bounded. A handler sees nothing else of HTTP.
//!
//! Everything is bounded: connections in all and of one client, the size and the time of a request's head and body, the
//! time for an answer, and the age of a connection. Whoever asks for too much gets a reply with the right status, and the
//! mail notices nothing: these connections are counted apart.
//!
//! What it deliberately does not do: TLS, HTTP/2, streams, cookies, or a log of requests.

pub(crate) mod authority;
mod request;
mod response;
mod serve;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

pub(crate) use request::Request;
pub(crate) use response::Response;
pub(crate) use serve::start;

/// Something that is served over HTTP at some addresses.
pub(crate) struct Service {
    /// Its name in the log and in `listeners.json`, which is its section of the configuration.
    pub(crate) name: String,
    /// The addresses. Port 0 lets the system choose.
    pub(crate) bind: Vec<SocketAddr>,
    /// What answers.
    pub(crate) handler: Arc<dyn Handler>,
}

/// Answers requests.
#[async_trait]
pub(crate) trait Handler: Send + Sync + 'static {
    /// The answer to a request. It is dropped when it takes longer than a request may, so it must be free to end at any
    /// `await`.
    async fn answer(&self, request: Request) -> Response;
}
