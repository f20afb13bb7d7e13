//! Gives due deliveries to workers, a lane per next hop, and records what came of them.
//!
//! State lives in the store; what stands here is only the runway: batches leased a little ahead, bounded in all and per
//! destination, whatever the backlog. A [`Lane`] is a next hop; its workers each own
//! one connection, which is how connections are reused and concurrency is bounded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_queue::{Batch, Destination, LeaseId, LeaseRequest};
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::{Connector, Way};
use crate::daemon::{Phase, Shared};
use crate::event::Event;
use crate::outbound::{Live, attempt};
use crate::report;

/// Batches leased ahead for each worker that could run.
const AHEAD: usize = 4;
/// When the store cannot be asked, ask again after this.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Runs until the daemon drains; attempts under way are tracked by [`Shared::tasks`].
pub(crate) async fn run(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let deliveries = shared.site.load().config.queue.deliveries;
    let mut scheduler = Scheduler {
        runway: Arc::new(Runway::default()),
        permits: Arc::new(Semaphore::new(deliveries)),
        deliveries,
        lanes: HashMap::new(),
        phase: phase.clone(),
        renewed: Instant::now(),
        shared,
    };
    loop {
        let pause = scheduler.turn().await;
        let runway = Arc::clone(&scheduler.runway);
        tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
            () = scheduler.shared.wake.notified() => {}
            () = runway.room.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

struct Scheduler {
    shared: Arc<Shared>,
    runway: Arc<Runway>,
    permits: Arc<Semaphore>,
    /// How many permits there are, given out or not.
    deliveries: usize,
    lanes: HashMap<LaneKey, Arc<Lane>>,
    phase: watch::Receiver<Phase>,
    renewed: Instant,
}

/// A next hop: the connector, and the destination where the connector leads to each destination's own hosts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LaneKey {
    connector: String,
    destination: Option<Destination>,
}

impl LaneKey {
    fn new(connector: &Connector, destination: &Destination) -> Self {
        let own_hosts = matches!(connector.to, Way::Mx { .. });
        Self { connector: connector.name.0.clone(), destination: own_hosts.then(|| destination.clone()) }
    }
}

impl Scheduler {
    /// Leases and hands out what is due; says how long there is nothing to do.
    async fn turn(&mut self) -> Duration {
        let lease = self.shared.site.load().config.queue.lease;
        self.adapt_permits();
        // A lane without workers is one that nobody needs.
        self.lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        self.renew(lease).await;
        loop {
            let now = Timestamp::now();
            let request = self.request(now, lease);
            if request.limit == 0 {
                return lease / 3;
            }
            let limit = request.limit;
            match self.shared.store.lease(now, request).await {
                Ok(batches) if batches.is_empty() => return self.until_next(now, lease).await,
                Ok(batches) => {
                    let all = batches.len() < limit;
                    for batch in batches {
                        self.hand_out(batch);
                    }
                    if all {
                        return self.until_next(now, lease).await;
                    }
                }
                Err(error) => {
                    self.alarm(&error);
                    return STORE_RETRY;
                }
            }
        }
    }

    /// A reload may have changed how many attempts there may be at the same time; those under way end first.
    fn adapt_permits(&mut self) {
        let wanted = self.shared.site.load().config.queue.deliveries;
        if wanted > self.deliveries {
            self.permits.add_permits(wanted - self.deliveries);
            self.deliveries = wanted;
        } else {
            self.deliveries -= self.permits.forget_permits(self.deliveries - wanted);
        }
    }

    fn request(&self, now: Timestamp, lease: Duration) -> LeaseRequest {
        let site = self.shared.site.load();
        let most = site.config.queue.deliveries * AHEAD;
        let per_destination =
            site.config.connectors.iter().map(|connector| connector.concurrency).max().unwrap_or(1);
        let per_destination = per_destination * AHEAD;
        let runway = self.runway.lock();
        let room = runway.destinations.iter();
        let room = room.map(|(name, held)| (name.clone(), per_destination.saturating_sub(*held))).collect();
        LeaseRequest {
            limit: most.saturating_sub(runway.leases.len()),
            per_destination,
            room,
            until: Some(later(now, lease)),
        }
    }

    /// How long until something new can be due. What is due but had no room is announced by the runway.
    async fn until_next(&self, now: Timestamp, lease: Duration) -> Duration {
        let most = lease / 3;
        match self.shared.store.next_due().await {
            Ok(Some(due)) if due > now => due.duration_since(now).unsigned_abs().min(most),
            Ok(Some(_)) if self.runway.lock().leases.is_empty() => STORE_RETRY,
            Ok(_) => most,
            Err(error) => {
                self.alarm(&error);
                STORE_RETRY
            }
        }
    }

    /// Attempts that take long keep what they lease.
    async fn renew(&mut self, lease: Duration) {
        if self.renewed.elapsed() < lease / 3 {
            return;
        }
        self.renewed = Instant::now();
        let leases: Vec<LeaseId> = self.runway.lock().leases.iter().copied().collect();
        if leases.is_empty() {
            return;
        }
        if let Err(error) = self.shared.store.renew(leases, later(Timestamp::now(), lease)).await {
            self.alarm(&error);
        }
    }

    fn hand_out(&mut self, batch: Batch) {
        self.runway.add(&batch);
        let site = self.shared.site.load();
        let connector = site.routing.connector(&batch.destination);
        let (key, workers) = match connector {
            Some(connector) => (LaneKey::new(connector, &batch.destination), connector.concurrency),
            None => (LaneKey { connector: String::new(), destination: None }, 1),
        };
        let lane = Arc::clone(self.lanes.entry(key).or_default());
        if lane.push(batch, workers) {
            let worker = Worker {
                shared: Arc::clone(&self.shared),
                runway: Arc::clone(&self.runway),
                permits: Arc::clone(&self.permits),
                phase: self.phase.clone(),
                lane,
            };
            tokio::spawn(self.shared.tasks.track_future(worker.run()));
        }
    }

    fn alarm(&self, error: &postern_queue::Error) {
        self.shared.observer.daemon(Event::Alarm {
            what: format!("the queue cannot be read or written: {error}"),
            remedy: "nothing is lost; look at the disk that holds the data directory".into(),
        });
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// What is leased and not yet recorded.
#[derive(Default)]
struct Runway {
    held: Mutex<Held>,
    /// Something was recorded, so that more can be leased.
    room: Notify,
}

#[derive(Default)]
struct Held {
    leases: HashSet<LeaseId>,
    destinations: HashMap<Destination, usize>,
}

impl Runway {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, batch: &Batch) {
        let mut held = self.lock();
        held.leases.insert(batch.lease);
        *held.destinations.entry(batch.destination.clone()).or_default() += 1;
    }

    /// Leasing anew for each batch would cost more than the batch: room is announced when a destination has run
    /// empty, and at every eighth batch.
    fn remove(&self, lease: LeaseId, destination: &Destination) {
        let mut held = self.lock();
        held.leases.remove(&lease);
        let Some(count) = held.destinations.get_mut(destination) else { return };
        *count -= 1;
        let (left, announced) = (*count, count.is_multiple_of(8));
        if left == 0 {
            held.destinations.remove(destination);
        }
        drop(held);
        if announced {
            self.room.notify_one();
        }
    }
}

/// The batches for one next hop and the workers that take them.
#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
    more: Notify,
}

#[derive(Default)]
struct LaneState {
    batches: VecDeque<Batch>,
    workers: usize,
    waiting: usize,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch; `true` when a new worker is to be started for it.
    fn push(&self, batch: Batch, most_workers: usize) -> bool {
        let mut state = self.lock();
        state.batches.push_back(batch);
        if state.waiting >= state.batches.len() {
            self.more.notify_one();
            return false;
        }
        let start = state.workers < most_workers;
        state.workers += usize::from(start);
        start
    }

    /// The next batch. A worker that gets none has left the lane.
    fn take_or_leave(&self) -> Option<Batch> {
        let mut state = self.lock();
        let batch = state.batches.pop_front();
        if batch.is_none() {
            state.workers -= 1;
        }
        batch
    }

    fn take_or_wait(&self) -> Option<Batch> {
        let mut state = self.lock();
        let batch = state.batches.pop_front();
        state.waiting += usize::from(batch.is_none());
        batch
    }

    fn stop_waiting(&self) {
        self.lock().waiting -= 1;
    }
}

/// Takes batches from a lane, one after the other, over one connection.
struct Worker {
    shared: Arc<Shared>,
    runway: Arc<Runway>,
    permits: Arc<Semaphore>,
    phase: watch::Receiver<Phase>,
    lane: Arc<Lane>,
}

impl Worker {
    async fn run(mut self) {
        let permits = Arc::clone(&self.permits);
        // The semaphore is never closed.
        let _permit = permits.acquire().await;
        let mut kept = None;
        while let Some(batch) = self.next(&mut kept).await {
            let (lease, destination) = (batch.lease, batch.destination.clone());
            Box::pin(self.deliver(batch, &mut kept)).await;
            self.runway.remove(lease, &destination);
        }
        if let Some(live) = kept {
            live.quit().await;
        }
    }

    async fn deliver(&self, batch: Batch, kept: &mut Option<Live>) {
        let site = self.shared.site.load_full();
        if batch.bounce {
            return report::withdraw(&self.shared, &site, batch).await;
        }
        let attempted = attempt(&self.shared, &site, &batch, kept).await;
        report::settle(&self.shared, &site, batch, attempted).await;
    }

    /// The next batch of the lane; with an open connection, waits a while for one.
    async fn next(&mut self, kept: &mut Option<Live>) -> Option<Batch> {
        if *self.phase.borrow() != Phase::Running {
            return None;
        }
        let idle = kept.as_ref().filter(|live| live.is_ready()).map(|live| live.connector.idle);
        let (Some(idle), true) = (idle, self.permits.available_permits() > 0) else {
            return self.lane.take_or_leave();
        };
        if let Some(batch) = self.lane.take_or_wait() {
            return Some(batch);
        }
        let lane = Arc::clone(&self.lane);
        tokio::select! {
            () = lane.more.notified() => {}
            () = tokio::time::sleep(idle) => {}
            _ = self.phase.wait_for(|phase| *phase != Phase::Running) => {}
        }
        self.lane.stop_waiting();
        if *self.phase.borrow() != Phase::Running {
            return None;
        }
        self.lane.take_or_leave()
    }
}
