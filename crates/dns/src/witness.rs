//! Which servers' word on DNSSEC may be taken: each is asked whether it validates, and all must.
//!
//! Of two servers on this machine, one of which does not validate, the other's refusal of a forged answer would be
//! followed by the first one's consent. So [`Witnesses`] looks at each server for itself: an answer counts only when
//! the very server that gave it was seen to validate ([`Witnesses::of`]), and none counts as soon as one server was seen
//! not to. A server that does not answer when it is looked at does no harm: it is looked at again when it does.
//!
//! What it deliberately does not do: look again by itself after a server was seen to validate, or not to; see
//! [`Witnesses::probe`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::base::Rtype;
use futures_util::future;
use tokio::time::Instant;

use crate::message::{self, Checking, WireName};
use crate::upstream::{Asked, Upstream};
use crate::validation::{Validation, Validator};

/// While it is not known whether a server validates, it is asked about that at most so often.
const PROBE_PAUSE: Duration = Duration::from_secs(5);

/// What is known of the servers.
pub(crate) struct Witnesses {
    upstream: Upstream,
    /// In the order of the servers; none before the first look.
    seen: Mutex<Vec<Option<Sight>>>,
    probing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Sight {
    validation: Validation,
    when: Instant,
}

impl Witnesses {
    pub(crate) fn new(upstream: Upstream) -> Arc<Self> {
        let seen = Mutex::new(vec![None; upstream.servers()]);
        Arc::new(Self { upstream, seen, probing: tokio::sync::Mutex::default() })
    }

    /// Looks at all servers at the same time.
    pub(crate) async fn probe(&self) -> Validation {
        let _alone = self.probing.lock().await;
        future::join_all((0..self.upstream.servers()).map(|server| self.look_at(server))).await;
        self.seen().unwrap_or_else(nobody)
    }

    /// What was last seen of all; `None` before anybody looked.
    pub(crate) fn seen(&self) -> Option<Validation> {
        let seen = self.sights();
        let sights = || seen.iter().flatten().map(|sight| &sight.validation);
        let found = missing(&seen).or_else(|| sights().find(|validation| validation.works()));
        found.or_else(|| sights().next()).cloned()
    }

    /// Whether any server was seen to validate.
    pub(crate) fn any_validates(&self) -> bool {
        self.sights().iter().flatten().any(|sight| sight.validation.works())
    }

    /// What an answer of this server is worth. Looks at it when nobody did, or it came to nothing a while ago.
    pub(crate) async fn of(&self, server: usize) -> Validation {
        if let Some(known) = self.known(server) {
            return known;
        }
        let _alone = self.probing.lock().await;
        if self.known(server).is_none() {
            self.look_at(server).await;
        }
        self.known(server).unwrap_or_else(nobody)
    }

    fn known(&self, server: usize) -> Option<Validation> {
        let seen = self.sights();
        if let Some(missing) = missing(&seen) {
            return Some(missing.clone());
        }
        match seen.get(server)?.as_ref()? {
            Sight { validation: Validation::Unknown(_), when } if when.elapsed() >= PROBE_PAUSE => None,
            sight => Some(sight.validation.clone()),
        }
    }

    async fn look_at(&self, server: usize) {
        let validation = self.ask(server).await;
        if let Some(sight) = self.sights().get_mut(server) {
            *sight = Some(Sight { validation, when: Instant::now() });
        }
    }

    /// The root is signed, so that whoever validates calls it secure.
    async fn ask(&self, server: usize) -> Validation {
        let asking = match message::question(&WireName::root_vec(), Rtype::SOA, Checking::Wanted) {
            Ok(question) => self.upstream.ask_server(server, &question).await,
            Err(error) => Err(error),
        };
        match asking {
            Ok(Asked { answer, .. }) if !message::is_conclusive(&answer) => {
                Validation::Unknown(message::failure(&answer))
            }
            Ok(Asked { answer, .. }) if answer.header().ad() => Validation::Works(Validator::Resolver),
            Ok(Asked { from, .. }) => {
                Validation::Missing(format!("{from} did not call the root zone secure"))
            }
            Err(error) => Validation::Unknown(error.to_string()),
        }
    }

    fn sights(&self) -> MutexGuard<'_, Vec<Option<Sight>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn missing(seen: &[Option<Sight>]) -> Option<&Validation> {
    let mut sights = seen.iter().flatten().map(|sight| &sight.validation);
    sights.find(|validation| matches!(validation, Validation::Missing(_)))
}

fn nobody() -> Validation {
    Validation::Unknown("there is no name server to ask".to_owned())
}
