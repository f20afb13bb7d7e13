//! TLS reports in the running daemon: what is sent from time to time, what comes in, and what an administrator asks for.
//!
//! [`run`] is a task of the daemon's; [`receive`] and [`carry_out`] are called. What they deliberately do not do: carry
//! counters to the ledger every minute; whoever keeps the daemon up does.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_queue::{Body, QueueId};
use tokio::sync::watch;

use super::operations::{Request, Response, canonical, carry_out_alone};
use super::receive::{Reception, Taken};
use super::{DAYS_KEPT, Reporter};
use crate::daemon::{Phase, Shared, Site};
use crate::event::Event;
use crate::policy::day::Day;
use crate::policy::ledger::{Ledger, LedgerError};

/// How often it is looked what is due.
const ROUND: Duration = Duration::from_mins(1);
/// The ledger's trouble is told once in so long.
const ALARM_PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Sends what is due and throws away what is old, until the daemon drains.
pub(crate) async fn run(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut pruned = None;
    let mut alarmed: Option<Timestamp> = None;
    let drained = phase.clone();
    let go_on = || *drained.borrow() == Phase::Running;
    loop {
        let now = Timestamp::now();
        if let Err(error) = round(&shared, now, &mut pruned, &go_on).await
            && alarmed.is_none_or(|last| now.duration_since(last) >= ALARM_PAUSE)
        {
            alarmed = Some(now);
            let remedy = "see that the disk has room and the file belongs to Postern's user, or move the file away and \
                          restart; until then TLS reports wait, and what they count is lost at a restart";
            shared.observer.daemon(Event::Alarm { what: error.to_string(), remedy: remedy.to_owned() });
        }
        // Whether it drains or the daemon is gone: there is nothing left to do.
        if tokio::time::timeout(ROUND, phase.wait_for(|phase| *phase != Phase::Running)).await.is_ok() {
            return;
        }
    }
}

/// Takes a message in that came to the address for reports. One that holds no report is dropped: nobody would read it.
///
/// # Cancel safety
/// May be dropped at any time; the summary is kept whole or not at all.
pub(crate) async fn receive(shared: &Shared, site: &Site, id: QueueId, body: &mut Body) -> Taken {
    let (ledger, routing, observer) = (shared.tls_results.ledger(), &site.routing, &shared.observer);
    let reception = Reception { ledger, routing, observer, id };
    reception.take(body, Timestamp::now()).await
}

/// Carries an operation out in the running daemon.
///
/// # Errors
/// In words: why it could not be done.
pub(crate) async fn carry_out(shared: &Shared, request: Request, now: Timestamp) -> Result<Response, String> {
    // What was counted in the last minute is part of the picture.
    shared.tls_results.flush().await.map_err(|error| error.to_string())?;
    let site = shared.site.load_full();
    match request {
        Request::Send { day, domain } => {
            let domain = canonical(&domain)?;
            reporter(shared, &site).send_now(day, &domain, now).await.map(Response::Sent)
        }
        request => carry_out_alone(shared.tls_results.ledger(), &site.config, request, now).await,
    }
}

async fn round(
    shared: &Shared,
    now: Timestamp,
    pruned: &mut Option<Day>,
    go_on: &(dyn Fn() -> bool + Sync),
) -> Result<(), LedgerError> {
    let today = Day::of(now);
    if *pruned != Some(today) {
        prune(shared.tls_results.ledger(), today).await?;
        *pruned = Some(today);
    }
    let site = shared.site.load_full();
    if !site.config.tls_reports.send {
        return Ok(());
    }
    reporter(shared, &site).send_due(now, go_on).await
}

async fn prune(ledger: &Ledger, today: Day) -> Result<(), LedgerError> {
    let first = today.earlier(DAYS_KEPT);
    ledger.drop_tls_counts(first).await?;
    ledger.drop_tls_reports(first).await?;
    ledger.drop_received(first.start()).await?;
    Ok(())
}

fn reporter<'a>(shared: &'a Shared, site: &'a Site) -> Reporter<'a> {
    Reporter {
        results: &shared.tls_results,
        store: &*shared.store,
        wake: &shared.wake,
        resolver: &*site.network.resolver,
        https: &site.network.https,
        routing: &site.routing,
        users: &shared.users,
        config: &site.config,
        observer: &shared.observer,
    }
}
