//! Certificates from an ACME CA (RFC 8555), such as Let's Encrypt: the client's side of the protocol.
//!
//! The types to know:
//! - [`Ca`]: a CA's directory, our account there, and where that is kept. [`Client::open`] finds or makes the account.
//! - [`Order`]: what is asked for. [`Client::order`] goes the whole way from the order to the certificate chain.
//! - [`Solver`]: puts up the answers to the CA's [`Challenge`]s, by which names are proved; and takes them down again.
//! - [`Step`]: what is told on the way, one value for each thing that happened, for the story of an order.
//! - [`AcmeError`] and [`Problem`]: what went wrong, whose fault it is, and what to do about it.
//! - [`Window`] and [`renew_at`]: when a certificate is to be renewed (RFC 9773).
//! - [`Transport`]: how requests reach the CA.
//!
//! Messages are signed and read by `instant-acme`; a refused nonce is tried again here more often than there. What this
//! deliberately does not do: make keys and requests, keep certificates, open sockets, decide when to try again, or
//! read a clock (only waiting takes time).

mod account;
mod challenge;
mod error;
mod order;
mod problem;
mod renewal;
#[cfg(test)]
mod scripted;
mod step;
#[cfg(test)]
mod tests;
mod transport;

pub use account::{Ca, Client, ExternalAccount};
pub use challenge::{Challenge, ChallengeKind, KeyAuthorisation, Solver};
pub use error::{AcmeError, NameFault};
pub use order::{Issued, Order};
pub use problem::{About, Problem, ProblemKind};
pub use renewal::{Window, renew_at};
pub use step::{Step, Tell};
pub use transport::{Fault, Method, Reply, Request, RetryAfter, Transport, TransportError};

/// So often a request is signed anew whose nonce was refused (RFC 8555 §6.5); each time the library tries thrice.
const NONCES: u32 = 8;

/// Does something again while the CA refuses the nonces that it gave itself.
macro_rules! with_fresh_nonce {
    ($work:expr) => {{
        let mut left = $crate::acme::NONCES;
        loop {
            left -= 1;
            match $work {
                Err(error) if left > 0 && $crate::acme::problem::is_bad_nonce(&error) => {}
                done => break done,
            }
        }
    }};
}
use with_fresh_nonce;
