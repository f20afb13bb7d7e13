//! What is done from time to time besides carrying mail: MTA-STS policies are fetched again before they expire, and what
//! was counted for TLS reports is carried to disk.
//!
//! What it deliberately does not do: anything that a message waits for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::{Phase, Shared};
use crate::event::Event;

/// So often counters are carried to disk: a crash loses no more than that.
const FLUSH: Duration = Duration::from_mins(1);
/// Policies are looked through once in so many flushes: about once an hour.
const POLICIES: u32 = 60;

/// Runs until the daemon drains.
pub(super) async fn run(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut ticks = interval(FLUSH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0u32;
    loop {
        let drains = tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => true,
            _ = ticks.tick() => false,
        };
        flush(&shared).await;
        if drains {
            return;
        }
        if count.is_multiple_of(POLICIES) {
            shared.network().sts.refresh_due(Timestamp::now()).await;
        }
        count = count.wrapping_add(1);
    }
}

/// Carries counters to disk.
pub(super) async fn flush(shared: &Shared) {
    if let Err(error) = shared.tls_results.flush().await {
        shared.observer.daemon(Event::Alarm {
            what: format!("what was counted for TLS reports cannot be written: {error}"),
            remedy: "look at the disk that holds the data directory; it is counted on, and tried again"
                .into(),
        });
    }
}
