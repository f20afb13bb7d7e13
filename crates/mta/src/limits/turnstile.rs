//! Who is judged when many want to sign in at once: a bound on how many wait, in all and of each client, and three lanes,
//! so that guessers wait for guessers.
//!
//! An account that signed in from its network lately passes at once. Others wait for their lane's turn, and lanes are
//! narrow: strangers never take more than half of the processors for their passwords. Whoever finds too many waiting is
//! sent away at once, to come again. A [`Pass`] is one sign-in's place, given back when it is dropped.
//!
//! What it deliberately does not do: know why somebody waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::guess::Lane;
use crate::inbound::listener::client_of;

/// So many sign-ins wait in the whole daemon,
const WAITING_MOST: usize = 512;
/// so many of a client that nobody signs in from,
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
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A sign-in's turn.
#[derive(Debug)]
pub(crate) struct Pass {
    /// Given back together.
    _turn: Option<OwnedSemaphorePermit>,
    _place: Option<Place>,
}

/// A place among those who wait or are judged.
#[derive(Debug)]
pub(super) struct Place {
    waiting: Arc<Mutex<Waiting>>,
    client: IpAddr,
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
    /// [`Crowded`]: too many wait, in all or of this client.
    pub(super) fn place(&self, client: IpAddr, lane: Lane) -> Result<Option<Place>, Crowded> {
        let most = match lane {
            Lane::AtHome => return Ok(None),
            Lane::Neighbour => NEIGHBOURS_MOST,
            Lane::Stranger => STRANGERS_MOST,
        };
        let client = client_of(client);
        let mut waiting = locked(&self.waiting);
        let own = waiting.by_client.get(&client).copied().unwrap_or(0);
        if own >= most || waiting.all >= WAITING_MOST {
            return Err(Crowded);
        }
        waiting.all += 1;
        waiting.by_client.insert(client, own + 1);
        Ok(Some(Place { waiting: Arc::clone(&self.waiting), client }))
    }

    /// Waits out a penalty, which takes nobody's turn, and then for the turn.
    ///
    /// # Errors
    /// [`Crowded`]: the turn did not come in time.
    ///
    /// # Cancel safety
    /// May be dropped at any point; the place is given back.
    pub(super) async fn pass(
        &self,
        place: Option<Place>,
        lane: Lane,
        penalty: Duration,
    ) -> Result<Pass, Crowded> {
        if !penalty.is_zero() {
            sleep(penalty).await;
        }
        let lane = match lane {
            Lane::AtHome => return Ok(Pass { _turn: None, _place: place }),
            Lane::Neighbour => &self.neighbours,
            Lane::Stranger => &self.strangers,
        };
        match timeout(PATIENCE, Arc::clone(lane).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(Pass { _turn: Some(turn), _place: place }),
            _ => Err(Crowded),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = locked(&self.waiting);
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(own) = waiting.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                waiting.by_client.remove(&self.client);
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
        let take = |client: &str, lane| turnstile.place(ip(client), lane);
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
        let take =
            |number: u32| turnstile.place(std::net::Ipv4Addr::from_bits(number).into(), Lane::Stranger);
        let places: Vec<_> = (0..1000).map_while(|number| take(number).ok()).collect();
        assert_eq!(places.len(), WAITING_MOST);
        drop(places);
        assert!(locked(&turnstile.waiting).by_client.is_empty());
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
