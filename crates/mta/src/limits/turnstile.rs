//! Who is judged when many want to sign in at once: a bound on how many wait, in all and of each client, and three lanes,
//! so that guessers wait for guessers.
//!
//! An account that signed in from its address lately passes at once. Others wait for their lane's turn, and lanes are
//! narrow: strangers never take more than half of the processors for their passwords. Whoever finds too many waiting is
//! sent away at once, to come again. Each lane has places of its own, and those who wait out a penalty take none of those
//! who wait for a turn. A [`Pass`] is one sign-in's place, given back when it is dropped.
//!
//! What it deliberately does not do: know why somebody waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::guess::Lane;
use super::subject::client_of;

/// So many sign-ins wait for a turn or are judged in one lane of the whole daemon,
const WAITING_MOST: usize = 512;
/// so many wait out a penalty before that; each is a session that sleeps,
const SLEEPING_MOST: usize = 4096;
/// so many of a client that nobody signs in from, or where one account is guessed at,
const STRANGERS_MOST: usize = 8;
/// and so many of one that somebody does: everybody behind one address, or a web mail server.
const NEIGHBOURS_MOST: usize = 256;
/// A turn that does not come within this time does not come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The lanes, and who waits.
#[derive(Debug)]
pub(super) struct Turnstile {
    strangers: Arc<Semaphore>,
    neighbours: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    all: HashMap<(Lane, Phase), usize>,
    by_client: HashMap<(Lane, IpAddr), usize>,
}

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    /// A penalty.
    Asleep,
    /// A turn.
    Waiting,
}

/// A sign-in's turn.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Given back together.
    turn: Option<OwnedSemaphorePermit>,
    place: Option<Place>,
    after_failure: Duration,
}

/// A place among those who wait or are judged.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Mutex<Waiting>>,
    client: IpAddr,
    lane: Lane,
    phase: Phase,
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crowded;

impl Turnstile {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let lane = || Arc::new(Semaphore::new((processors / 2).max(1)));
        Self { strangers: lane(), neighbours: lane(), waiting: Arc::default() }
    }

    /// A place among those who wait; who is at home needs none.
    ///
    /// # Errors
    /// [`Crowded`]: too many wait, in this lane or of this client.
    pub(super) fn place(
        &self,
        client: IpAddr,
        lane: Lane,
        penalty: Duration,
    ) -> Result<Option<Place>, Crowded> {
        let most = match lane {
            Lane::AtHome => return Ok(None),
            Lane::Neighbour => NEIGHBOURS_MOST,
            Lane::Stranger | Lane::Doubted => STRANGERS_MOST,
        };
        let client = client_of(client);
        let phase = if penalty.is_zero() { Phase::Waiting } else { Phase::Asleep };
        let mut waiting = locked(&self.waiting);
        let own = waiting.by_client.get(&(lane, client)).copied().unwrap_or(0);
        if own >= most {
            return Err(Crowded);
        }
        waiting.enter(lane, phase)?;
        waiting.by_client.insert((lane, client), own + 1);
        Ok(Some(Place { waiting: Arc::clone(&self.waiting), client, lane, phase }))
    }

    /// Waits out a penalty, which takes nobody's turn, and then for the turn. At home the penalty comes after a failure.
    ///
    /// # Errors
    /// [`Crowded`]: the turn did not come in time.
    ///
    /// # Cancel safety
    /// May be dropped at any point; the place is given back.
    pub(super) async fn pass(
        &self,
        mut place: Option<Place>,
        lane: Lane,
        penalty: Duration,
    ) -> Result<Pass, Crowded> {
        let turns = match lane {
            Lane::AtHome => return Ok(Pass { turn: None, place, after_failure: penalty }),
            Lane::Neighbour | Lane::Doubted => &self.neighbours,
            Lane::Stranger => &self.strangers,
        };
        if !penalty.is_zero() {
            sleep(penalty).await;
        }
        if let Some(place) = &mut place {
            place.wake()?;
        }
        match timeout(PATIENCE, Arc::clone(turns).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Pass { turn: Some(turn), place, after_failure: Duration::ZERO }),
            _ => Err(Crowded),
        }
    }
}

impl Pass {
    /// The sign-in failed: gives back what it held, and waits for as long as others waited before.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub(crate) async fn fail(self) {
        let Self { turn, place, after_failure } = self;
        drop((turn, place));
        if !after_failure.is_zero() {
            sleep(after_failure).await;
        }
    }
}

impl Waiting {
    fn enter(&mut self, lane: Lane, phase: Phase) -> Result<(), Crowded> {
        let most = match phase {
            Phase::Asleep => SLEEPING_MOST,
            Phase::Waiting => WAITING_MOST,
        };
        let all = self.all.entry((lane, phase)).or_default();
        if *all >= most {
            return Err(Crowded);
        }
        *all += 1;
        Ok(())
    }

    fn leave(&mut self, lane: Lane, phase: Phase) {
        if let Some(all) = self.all.get_mut(&(lane, phase)) {
            *all = all.saturating_sub(1);
        }
    }
}

impl Place {
    /// The penalty is over: from now on it waits for its turn.
    fn wake(&mut self) -> Result<(), Crowded> {
        if self.phase == Phase::Asleep {
            let mut waiting = locked(&self.waiting);
            waiting.enter(self.lane, Phase::Waiting)?;
            waiting.leave(self.lane, Phase::Asleep);
            self.phase = Phase::Waiting;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = locked(&self.waiting);
        waiting.leave(self.lane, self.phase);
        let key = (self.lane, self.client);
        if let Some(own) = waiting.by_client.get_mut(&key) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                waiting.by_client.remove(&key);
            }
        }
    }
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_client_cannot_take_all_places_and_places_come_back() {
        let turnstile = Turnstile::new();
        let take = |client: &str, lane| turnstile.place(ip(client), lane, Duration::ZERO);
        let places: Vec<_> =
            (0..STRANGERS_MOST).map(|_| take("192.0.2.1", Lane::Stranger).unwrap()).collect();
        assert_eq!(take("192.0.2.1", Lane::Stranger).err(), Some(Crowded));
        assert!(take("192.0.2.2", Lane::Stranger).is_ok());
        assert!(take("192.0.2.1", Lane::AtHome).unwrap().is_none(), "who is at home passes");
        drop(places);
        assert!(take("192.0.2.1", Lane::Stranger).is_ok());
    }

    #[test]
    fn however_many_clients_come_only_so_many_wait() {
        let turnstile = Turnstile::new();
        let take = |number: u32, lane, penalty| {
            turnstile.place(std::net::Ipv4Addr::from_bits(number).into(), lane, penalty)
        };
        let wait = Duration::from_secs(10);
        let asleep: Vec<_> = (0..5000).map_while(|number| take(number, Lane::Stranger, wait).ok()).collect();
        assert_eq!(asleep.len(), SLEEPING_MOST);
        let places: Vec<_> =
            (5000..6000).map_while(|number| take(number, Lane::Stranger, Duration::ZERO).ok()).collect();
        assert_eq!(places.len(), WAITING_MOST, "those who sleep take no place of theirs");
        for penalty in [Duration::ZERO, wait] {
            assert!(take(9999, Lane::Neighbour, penalty).is_ok(), "strangers never crowd out neighbours");
        }
        drop((asleep, places));
        let waiting = locked(&turnstile.waiting);
        assert!(waiting.by_client.is_empty() && waiting.all.values().all(|count| *count == 0));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_at_home_waits_after_a_failure_and_only_then() {
        let turnstile = Turnstile::new();
        let begun = tokio::time::Instant::now();
        let pass = turnstile.pass(None, Lane::AtHome, Duration::from_secs(8)).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        pass.fail().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn a_penalty_takes_nobodys_turn_and_strangers_leave_neighbours_theirs() {
        let turnstile = Turnstile::new();
        let lanes = turnstile.strangers.available_permits();
        let mut turns = Vec::new();
        for _ in 0..lanes {
            turns.push(turnstile.pass(None, Lane::Stranger, Duration::from_secs(5)).await.unwrap());
        }
        let waiting = turnstile.pass(None, Lane::Stranger, Duration::ZERO).await;
        assert!(waiting.is_err(), "no turn came");
        assert!(turnstile.pass(None, Lane::Neighbour, Duration::ZERO).await.is_ok());
        turns.clear();
        assert!(turnstile.pass(None, Lane::Stranger, Duration::ZERO).await.is_ok());
    }
}
