//! Certificates by ACME (RFC 8555): issued when they are missing, renewed in time, and every order's story kept.
//!
//! The types to know:
//! - [`Acme`]: what lives as long as the daemon: the story, the open answers to challenges, and the way to wake the runner.
//! - [`run::run`]: the runner, a task of the daemon's. It looks after every identity that an `[[acme]]` issues; each of them
//!   waits and fails by itself, and never holds another one up.
//! - `due`: when something is to be done, purely. `pace`: when to try again.
//! - `issue`: one order, from the key to the certificate in the store. `solve`: how names are proved.
//! - [`story`]: what happened, in a file, for `postern cert acme log`.
//!
//! The certificate that there is stays in service until the next one is in the store; serving that is the watch's business.
//! What it deliberately does not do: speak the protocol (that is `postern_pki::acme`), or judge what was issued more than
//! any installation does.

pub(crate) mod answers;
mod due;
pub(crate) mod handshakes;
mod issue;
mod pace;
pub(crate) mod run;
mod solve;
pub(crate) mod story;
mod transport;

use std::sync::Arc;

use postern_pki::Challenges;
use tokio::sync::{mpsc, oneshot};

use answers::Answers;
pub use due::Why;
use handshakes::Port;
use story::{OrderView, Story};

use crate::config::{self, AcmeProof, Config};
use crate::http::Service;

/// So many renewals by hand may wait to be looked at.
const WISHES: usize = 16;

/// What of ACME lives as long as the daemon.
pub(crate) struct Acme {
    /// The answers to HTTP-01 challenges that are open.
    pub(crate) answers: Answers,
    /// What happened.
    pub(crate) story: Story,
    wishes: mpsc::Sender<Wish>,
}

/// What is asked of the runner.
pub(super) enum Wish {
    /// The configuration changed: look at everything anew.
    Look,
    /// An administrator wants this identity renewed now.
    Renew(String, oneshot::Sender<Result<OrderView, String>>),
}

/// The runner's end of it.
pub(crate) struct Wishes(mpsc::Receiver<Wish>);

impl Acme {
    /// With this story; the other end is for [`run::run`].
    pub(crate) fn new(story: Story) -> (Self, Wishes) {
        let (wishes, receiver) = mpsc::channel(WISHES);
        (Self { answers: Answers::default(), story, wishes }, Wishes(receiver))
    }

    /// Has every identity looked at anew, because the configuration changed.
    pub(crate) fn look(&self) {
        // When so many wait already, everything is about to be looked at.
        let _ = self.wishes.try_send(Wish::Look);
    }

    /// Renews an identity now, whatever its certificate says and however often it failed, and tells what came of it.
    ///
    /// # Errors
    /// In words: it is none that an `[[acme]]` issues, or Postern shuts down. An order that failed is no error: the view says
    /// so.
    pub(crate) async fn renew(&self, identity: &str) -> Result<OrderView, String> {
        let gone = || "Postern shuts down".to_owned();
        let (answer, answered) = oneshot::channel();
        self.wishes.send(Wish::Renew(identity.to_owned(), answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Where HTTP-01 is answered, for the daemon to bind.
///
/// The port stays bound while nothing is open: it usually needs a privilege that is there at the start alone, and one that
/// somebody else has is seen then, not at a renewal months later.
pub(crate) fn services(config: &Config, acme: &Acme) -> Vec<Arc<Service>> {
    let service = |authority: &config::Acme| {
        let AcmeProof::Http { bind } = &authority.proof else { return None };
        let (name, handler) = (name_of(authority), Arc::new(acme.answers.clone()));
        Some(Arc::new(Service { name, bind: bind.clone(), handler }))
    };
    config.acme.iter().filter_map(service).collect()
}

/// Where TLS-ALPN-01 has ports of its own.
pub(crate) fn ports(config: &Config, challenges: &Challenges) -> Vec<Arc<Port>> {
    let port = |authority: &config::Acme| {
        let AcmeProof::TlsAlpn { bind } = &authority.proof else { return None };
        Some(Arc::new(Port::new(name_of(authority), bind.clone(), challenges.clone())))
    };
    config.acme.iter().filter_map(port).collect()
}

/// No listener can be mistaken for it.
fn name_of(authority: &config::Acme) -> String {
    format!("acme.{}", authority.name)
}
