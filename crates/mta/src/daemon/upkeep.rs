//! What is done from time to time besides carrying mail: MTA-STS policies are fetched again before they expire, it is
//! looked whether DNSSEC is still validated, the private CA is looked after, and what was counted for TLS reports is
//! carried to disk.
//!
//! What it deliberately does not do: anything that a message waits for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::authority::{self, Remind};
use super::{Phase, Shared};
use crate::event::Event;

/// So often counters are carried to disk: a crash loses no more than that.
const FLUSH: Duration = Duration::from_mins(1);
/// Policies are looked through, and the resolver is looked at, once in so many flushes: about once an hour.
const HOUR: u32 = 60;

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
        tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => {}
            () = look_after(&shared, count) => {}
        }
        count = count.wrapping_add(1);
    }
}

/// What is asked of others; it may be broken off.
async fn look_after(shared: &Shared, count: u32) {
    let network = shared.network();
    if is_look_due(count, network.misses_validation()) {
        network.announce(&shared.observer).await;
    }
    if count.is_multiple_of(HOUR) {
        network.sts.refresh_due(Timestamp::now()).await;
        let remind = if count.is_multiple_of(24 * HOUR) { Remind::Now } else { Remind::NotAgain };
        authority::keep(shared, remind).await;
    }
}

/// Once an hour a resolver is looked at that validates, and each time one that does not: it is soon seen to be mended.
/// At the start the daemon looks by itself.
fn is_look_due(count: u32, misses_validation: bool) -> bool {
    misses_validation || (count > 0 && count.is_multiple_of(HOUR))
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
    if let Err(error) = shared.devices.flush().await {
        shared.observer.daemon(Event::Alarm {
            what: format!("what was noted of devices cannot be written: {error}"),
            remedy: "look at the disk that holds the data directory; it is noted on, and tried again".into(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_is_looked_at_each_hour_and_one_that_does_not_validate_each_minute() {
        let due = |misses| (0..=180).filter(|&count| is_look_due(count, misses)).count();
        assert_eq!((due(false), due(true)), (3, 181));
    }
}
