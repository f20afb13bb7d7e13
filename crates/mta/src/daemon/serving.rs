//! Puts certificates into service: looks at their files every few seconds, and when somebody asks for it.
//!
//! [`run`] is a task of the daemon's. Files are read on threads that may wait for the disk; what they hold goes into a new
//! [`Site`] and to the listeners, without missing a connection. New handshakes see the new certificates, and sessions go on
//! with what they began with. [`Stage`] is held by whoever changes the site, so that a reload and a renewed certificate
//! never undo each other.
//!
//! What it deliberately does not do: decide what is served (see `certificates::watch`), or open sockets.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_pki::TlsIdentity;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::bind::Bound;
use super::{Phase, Shared, Site};
use crate::certificates::deploy;
use crate::certificates::watch::{Change, Look, Looked, Watch};
use crate::config::Config;

/// So often the files of certificates are looked at: a renewed one is served within this time.
const ROUND: Duration = Duration::from_secs(10);

/// The bound sockets. Whoever holds it may change the site.
pub(super) type Stage = Arc<Mutex<Bound>>;

/// Somebody waits for a look.
pub(crate) type Asked = oneshot::Sender<()>;

/// Looks until the daemon drains.
pub(super) async fn run(
    shared: Arc<Shared>,
    stage: Stage,
    mut phase: watch::Receiver<Phase>,
    mut asked: mpsc::Receiver<Asked>,
) {
    let mut ticks = interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drains = phase.clone();
    loop {
        let (look, waits) = tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
            _ = ticks.tick() => (Look::Routine, None),
            Some(waits) = asked.recv() => (Look::AtOnce, Some(waits)),
        };
        refresh(&shared, &stage, &drains, look).await;
        if let Some(waits) = waits {
            // Who asked may have gone.
            let _ = waits.send(());
        }
    }
}

/// Looks at the files, and serves what is new.
async fn refresh(shared: &Arc<Shared>, stage: &Stage, phase: &watch::Receiver<Phase>, look: Look) {
    let mut bound = stage.lock().await;
    let site = shared.site.load_full();
    let Some(looked) = self::look(&shared.watch, &site.config, look).await else { return };
    for event in looked.events {
        shared.observer.daemon(event);
    }
    // Whoever asks may have changed the private CA instead, by which listeners judge their clients.
    if looked.change == Change::None && look == Look::Routine {
        return;
    }
    hand_on(shared, &site, &looked.identities);
    let renewed = site.with_identities(looked.identities, &shared.challenges, &shared.observer);
    shared.site.store(Arc::new(renewed));
    // Every address is bound already, so that nothing can fail here.
    let _ = bound.adopt(shared, phase).await;
}

/// Hands new and renewed identities on to other programs, which nobody waits for.
fn hand_on(shared: &Arc<Shared>, before: &Site, now: &[Arc<TlsIdentity>]) {
    let was_there = |identity: &&Arc<TlsIdentity>| {
        let same = |old: &Arc<TlsIdentity>| {
            (&old.name, &old.fingerprint_sha256) == (&identity.name, &identity.fingerprint_sha256)
        };
        before.identities().iter().any(same)
    };
    let new = now.iter().filter(|identity| !was_there(identity)).map(|identity| identity.name.clone());
    let new: Vec<String> = new.collect();
    if !new.is_empty() {
        let work = deploy::hand_on(Arc::clone(shared), new);
        tokio::spawn(shared.tasks.track_future(work));
    }
}

/// Looks at the files, on a thread that may wait for them. `None`: it could not.
pub(super) async fn look(watch: &Arc<Mutex<Watch>>, config: &Arc<Config>, look: Look) -> Option<Looked> {
    let (watch, config) = (Arc::clone(watch), Arc::clone(config));
    spawn_blocking(move || watch.blocking_lock().look(&config, Timestamp::now(), look)).await.ok()
}
