//! Gives due deliveries to workers, a lane per next hop, and records what came of them.
//!
//! State lives in the store; what stands here is only the runway: batches leased a little ahead, bounded in all and per
//! destination, whatever the backlog. A [`Lane`] is a next hop; its workers each own
//! one connection, which is how connections are reused and concurrency is bounded.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::{SignedDuration, Timestamp};
use postern_queue::{Batch, Destination, LeaseId, LeaseRequest};
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::{Connector, Rate, Way};
use crate::daemon::{Phase, Shared};
use crate::event::Event;
use crate::outbound::{Live, Progress, attempt};
use crate::pace::Pace;
use crate::report;

/// Batches leased ahead for each worker that could run.
const AHEAD: usize = 4;
/// A destination gets at most one part in so many of what is left of the runway.
const SHARES: usize = 8;
/// As many batches for mailboxes are leased at a time when the runway is full.
const RESERVE: usize = 64;
/// A next hop that is new, or in trouble, gets this many connections; each success allows one more.
const FIRST_CONNECTIONS: usize = 2;
/// A worker with an open connection leases so many more batches for its destination at a time.
const MORE: usize = 8;
/// While others wait for their turn, a connection gets no more batches after this.
const TURN: Duration = Duration::from_secs(10);
/// When the store cannot be asked, ask again after this.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Runs until the daemon drains; attempts under way are tracked by [`Shared::tasks`].
pub(crate) async fn run(shared: Arc<Shared>, phase: watch::Receiver<Phase>) {
    loop {
        let scheduling = AssertUnwindSafe(schedule(Arc::clone(&shared), phase.clone()));
        if scheduling.catch_unwind().await.is_ok() {
            return;
        }
        shared.observer.daemon(Event::Alarm {
            what: "the scheduler ended by a bug in Postern and begins anew".into(),
            remedy: "report it to the makers of Postern with the lines around this one".into(),
        });
        tokio::time::sleep(STORE_RETRY).await;
    }
}

async fn schedule(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let deliveries = shared.site.load().config.queue.deliveries;
    let mut scheduler = Scheduler {
        runway: Arc::new(Runway::default()),
        permits: Arc::new(Semaphore::new(deliveries)),
        deliveries,
        lanes: HashMap::new(),
        paces: HashMap::new(),
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
    /// Those of the connectors that have a rate, by name.
    paces: HashMap<String, Arc<Pace>>,
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

    /// What can be taken on. No destination holds more than a share of what is left, so that some that are slow leave
    /// room for the others; and when nothing is left, mail for mailboxes is still taken on, for it is never slow.
    fn request(&self, now: Timestamp, lease: Duration) -> LeaseRequest {
        let site = self.shared.site.load();
        let concurrency =
            site.config.connectors.iter().map(|connector| connector.concurrency).max().unwrap_or(1);
        let most_each = concurrency * AHEAD;
        let runway = self.runway.lock();
        let left = (site.config.queue.deliveries * AHEAD).saturating_sub(runway.leases.len());
        let until = Some(later(now, lease));
        if left == 0 {
            let room = site.routing.mailbox_destinations().map(|destination| {
                let held = runway.destinations.get(&destination).copied().unwrap_or(0);
                (destination, most_each.saturating_sub(held))
            });
            return LeaseRequest { limit: RESERVE, per_destination: 0, room: room.collect(), until };
        }
        let share = (left / SHARES).clamp(1, most_each);
        let room = |(name, held): (&Destination, &usize)| (name.clone(), share.saturating_sub(*held));
        LeaseRequest {
            limit: left,
            per_destination: share,
            room: runway.destinations.iter().map(room).collect(),
            until,
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
        let (key, speed) = match connector {
            Some(connector) => (LaneKey::new(connector, &batch.destination), Speed::of(connector)),
            None => (LaneKey { connector: String::new(), destination: None }, Speed::Steady(1)),
        };
        let pacing = connector.and_then(|connector| {
            let rate = connector.rate?;
            let pace = Arc::clone(self.paces.entry(connector.name.0.clone()).or_default());
            Some(Pacing { rate, pace })
        });
        let lane = Arc::clone(self.lanes.entry(key).or_default());
        if lane.push(batch, speed, self.runway.crew(self.deliveries)) {
            let worker = Worker {
                shared: Arc::clone(&self.shared),
                runway: Arc::clone(&self.runway),
                permits: Arc::clone(&self.permits),
                phase: self.phase.clone(),
                pacing,
                lane,
            };
            worker.start();
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
    /// Workers that there are, whether they have their permit or wait for it.
    workers: AtomicUsize,
}

/// Whether there are as many workers as may deliver at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crew {
    /// More may start.
    Open,
    /// There are enough.
    Full,
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

    fn crew(&self, deliveries: usize) -> Crew {
        if self.workers.load(Ordering::Relaxed) < deliveries { Crew::Open } else { Crew::Full }
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

/// How many connections a next hop gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speed {
    /// All of these at once: mailboxes, which need none of the permits either.
    Steady(usize),
    /// Growing with success up to this many: other servers, which may be slow or dead.
    Growing(usize),
}

impl Speed {
    fn of(connector: &Connector) -> Self {
        match connector.to {
            Way::Lmtp(_) | Way::Maildir(_) | Way::TlsReports => Self::Steady(connector.concurrency),
            Way::Mx { .. } | Way::Smtp(_) => Self::Growing(connector.concurrency),
        }
    }
}

/// The batches for one next hop and the workers that take them.
#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
    more: Notify,
}

struct LaneState {
    batches: VecDeque<Batch>,
    workers: usize,
    waiting: usize,
    speed: Speed,
    /// What a growing lane has come to.
    allowed: usize,
}

impl Default for LaneState {
    fn default() -> Self {
        let speed = Speed::Growing(1);
        Self { batches: VecDeque::new(), workers: 0, waiting: 0, speed, allowed: FIRST_CONNECTIONS }
    }
}

impl LaneState {
    fn most_workers(&self) -> usize {
        match self.speed {
            Speed::Steady(most) => most,
            Speed::Growing(most) => self.allowed.min(most),
        }
    }

    /// Counts a new worker in when there is work for one and room for it. While there are as many workers as permits a
    /// lane gets its first one only: a second connection there would only take the place of a first one elsewhere.
    fn admit(&mut self, crew: Crew) -> bool {
        let most = if crew == Crew::Full { self.most_workers().min(1) } else { self.most_workers() };
        let wanted = self.batches.len() > self.waiting && self.workers < most;
        self.workers += usize::from(wanted);
        wanted
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a batch; `true` when a new worker is to be started for it.
    fn push(&self, batch: Batch, speed: Speed, crew: Crew) -> bool {
        let mut state = self.lock();
        state.speed = speed;
        state.batches.push_back(batch);
        if state.waiting >= state.batches.len() {
            self.more.notify_one();
            return false;
        }
        state.admit(crew)
    }

    /// Learns from an attempt; `true` when a new worker is to be started.
    fn learn(&self, progress: Progress, crew: Crew) -> bool {
        let mut state = self.lock();
        match (progress, state.speed) {
            (Progress::Made, Speed::Growing(most)) => state.allowed = (state.allowed + 1).min(most),
            (Progress::None, _) => state.allowed = FIRST_CONNECTIONS,
            (Progress::Made, Speed::Steady(_)) => {}
        }
        state.admit(crew)
    }

    /// The next batch. A worker that gets none has left the lane.
    fn take_or_leave(&self) -> Option<Batch> {
        let mut state = self.lock();
        let too_many = state.workers > state.most_workers();
        let batch = if too_many { None } else { state.batches.pop_front() };
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

    fn is_empty(&self) -> bool {
        self.lock().batches.is_empty()
    }

    fn stop_waiting(&self) {
        self.lock().waiting -= 1;
    }
}

/// Takes batches from a lane, one after the other, over one connection.
#[derive(Clone)]
struct Worker {
    shared: Arc<Shared>,
    runway: Arc<Runway>,
    permits: Arc<Semaphore>,
    phase: watch::Receiver<Phase>,
    pacing: Option<Pacing>,
    lane: Arc<Lane>,
}

/// The rate of a worker's connector, and what keeps it for all workers together.
#[derive(Clone)]
struct Pacing {
    rate: Rate,
    pace: Arc<Pace>,
}

impl Worker {
    fn start(self) {
        let tasks = Arc::clone(&self.shared);
        let aboard = Aboard::new(&self.runway);
        tokio::spawn(tasks.tasks.track_future(async move {
            let _aboard = aboard;
            self.run().await;
        }));
    }

    async fn run(mut self) {
        let permits = Arc::clone(&self.permits);
        // Mailboxes wait for nobody. The semaphore is never closed.
        let steady = matches!(self.lane.lock().speed, Speed::Steady(_));
        let mut permit = if steady { None } else { permits.acquire().await.ok() };
        let mut kept = None;
        let mut turn = Turn::default();
        while let Some(batch) = self.next(&mut turn, &mut kept).await {
            let pause = self.pause();
            if !pause.is_zero() {
                // Others may use the permit meanwhile; the lease is renewed by the scheduler.
                drop(permit.take());
                self.wait(pause).await;
                permit = if steady { None } else { permits.acquire().await.ok() };
            }
            let (lease, destination) = (batch.lease, batch.destination.clone());
            // A bug in one delivery must not stop the others: its lease lapses, and it is tried again.
            let delivery = AssertUnwindSafe(Box::pin(self.deliver(batch, &mut kept)));
            let progress = delivery.catch_unwind().await.unwrap_or_else(|_| {
                self.shared.observer.daemon(Event::Alarm {
                    what: format!(
                        "a delivery to {destination} ended by a bug in Postern; it is tried again later"
                    ),
                    remedy: "report it to the makers of Postern with the lines around this one".into(),
                });
                Progress::None
            });
            self.runway.remove(lease, &destination);
            turn.delivered(destination, kept.is_some());
            let deliveries = self.shared.site.load().config.queue.deliveries;
            if self.lane.learn(progress, self.runway.crew(deliveries)) {
                self.clone().start();
            }
        }
        if let Some(live) = kept {
            live.quit().await;
        }
    }

    /// How long the next message has to wait for its moment.
    fn pause(&self) -> Duration {
        let take = |pacing: &Pacing| pacing.pace.take(&pacing.rate, Instant::now());
        self.pacing.as_ref().map(take).unwrap_or_default()
    }

    /// Waits, but not for long once the daemon drains.
    async fn wait(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.phase.wait_for(|phase| *phase != Phase::Running) => {}
        }
    }

    async fn deliver(&self, batch: Batch, kept: &mut Option<Live>) -> Progress {
        let site = self.shared.site.load_full();
        if batch.bounce {
            report::withdraw(&self.shared, &site, batch).await;
            return Progress::Made;
        }
        let attempted = attempt(&self.shared, &site, &batch, kept).await;
        let progress = attempted.progress();
        report::settle(&self.shared, &site, batch, attempted).await;
        progress
    }

    /// The next batch of the lane; with an open connection, waits a while for one.
    async fn next(&mut self, turn: &mut Turn, kept: &mut Option<Live>) -> Option<Batch> {
        if *self.phase.borrow() != Phase::Running {
            return None;
        }
        if kept.as_ref().is_some_and(Live::is_ready) && self.lane.is_empty() {
            self.lease_more(turn).await;
        }
        if let Some(batch) = turn.ahead.pop_front() {
            return Some(batch);
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

impl Worker {
    /// With many destinations due the runway holds few batches of each. A connection that is open takes the next of its
    /// own destination over, instead of ending and being opened again; but no longer than its turn, if others wait.
    async fn lease_more(&self, turn: &mut Turn) {
        let others_wait = self.permits.available_permits() == 0;
        if !turn.ahead.is_empty() || (others_wait && turn.began.elapsed() > TURN) {
            return;
        }
        let Some(destination) = turn.destination.clone() else { return };
        let now = Timestamp::now();
        let request = LeaseRequest {
            limit: MORE,
            per_destination: 0,
            room: HashMap::from([(destination, MORE)]),
            until: Some(later(now, self.shared.site.load().config.queue.lease)),
        };
        // A store that fails is the scheduler's to tell of, at its own next turn.
        for batch in self.shared.store.lease(now, request).await.unwrap_or_default() {
            self.runway.add(&batch);
            turn.ahead.push_back(batch);
        }
    }
}

/// Counts a worker for as long as it is there.
struct Aboard(Arc<Runway>);

impl Aboard {
    fn new(runway: &Arc<Runway>) -> Self {
        runway.workers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(runway))
    }
}

impl Drop for Aboard {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a worker does over one connection.
struct Turn {
    /// Leased for this worker alone.
    ahead: VecDeque<Batch>,
    /// Whose mail it carried last.
    destination: Option<Destination>,
    /// When the connection was opened.
    began: Instant,
}

impl Default for Turn {
    fn default() -> Self {
        Self { ahead: VecDeque::new(), destination: None, began: Instant::now() }
    }
}

impl Turn {
    fn delivered(&mut self, destination: Destination, connected: bool) {
        self.destination = Some(destination);
        if !connected {
            self.began = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(speed: Speed, waiting_batches: usize) -> Lane {
        let lane = Lane::default();
        let state = LaneState { speed, ..LaneState::default() };
        *lane.lock() = state;
        // Only their number counts here.
        lane.lock().batches.extend((0..waiting_batches).map(|_| batch()));
        lane
    }

    fn batch() -> Batch {
        serde_json::from_value::<postern_queue::Message>(serde_json::json!({
            "id": "0CMW60PYTJ4QA", "accepted": "2026-11-20T19:30:00Z", "size": 1, "from": "Null",
            "ret": null, "envid": null, "body": null, "smtputf8": false, "eight_bit": false, "utf8_headers": false,
            "origin": { "listener": null, "client": null, "user": null, "session": null }
        }))
        .map(|message| Batch {
            lease: LeaseId(1),
            id: message.id,
            destination: Destination("example.net".into()),
            message,
            attempts: 0,
            recipients: Vec::new(),
            delay_reported: false,
            bounce: false,
        })
        .unwrap()
    }

    fn workers(lane: &Lane, most: usize) -> usize {
        (0..most).filter(|_| lane.lock().admit(Crew::Open)).count()
    }

    #[test]
    fn an_unknown_next_hop_gets_few_connections_and_a_mailbox_all_of_them() {
        assert_eq!(workers(&lane(Speed::Growing(20), 100), 100), FIRST_CONNECTIONS);
        assert_eq!(workers(&lane(Speed::Steady(20), 100), 100), 20);
    }

    #[test]
    fn success_allows_more_connections_up_to_the_concurrency_and_trouble_takes_them_back() {
        let lane = lane(Speed::Growing(5), 100);
        let started = (0..50).filter(|_| lane.learn(Progress::Made, Crew::Open)).count();
        assert_eq!((started, lane.lock().workers), (5, 5));
        lane.learn(Progress::None, Crew::Open);
        assert!(lane.take_or_leave().is_none(), "a worker too many leaves");
        assert_eq!(lane.lock().workers, 4);
    }

    #[test]
    fn with_enough_workers_elsewhere_a_lane_gets_its_first_only() {
        let lane = lane(Speed::Growing(5), 100);
        assert!(lane.lock().admit(Crew::Full));
        assert!(!lane.lock().admit(Crew::Full) && lane.lock().admit(Crew::Open));
    }

    #[test]
    fn no_worker_is_started_without_work() {
        let lane = lane(Speed::Growing(5), 0);
        assert!(!lane.learn(Progress::Made, Crew::Open));
        assert_eq!(lane.lock().workers, 0);
    }

    #[test]
    fn room_is_announced_when_a_destination_has_run_empty() {
        let runway = Runway::default();
        runway.add(&batch());
        runway.remove(LeaseId(1), &Destination("example.net".into()));
        assert!(runway.lock().leases.is_empty() && runway.lock().destinations.is_empty());
        assert_eq!(runway.room.notified().now_or_never(), Some(()));
    }
}
