//! Passwords: argon2id (RFC 9106), stored as PHC strings that carry their own parameters.
//!
//! A [`Checker`] hashes new ones and verifies those that clients bring, against whatever kind is stored (see `crypt`), on
//! blocking threads and no more of them at the same time than there are processors: each costs 19 MiB and some 20 ms on
//! purpose. A user who does not exist is checked against a hash that no password fits, so that both take the same time. Who
//! was right within a few minutes pays for the password once; the stored hash is part of what is remembered, so a changed
//! password is in force at once.
//!
//! What it deliberately does not do: count failures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
use postern_smtp::secret::Secret;
use tokio::sync::Semaphore;

use super::crypt::{Crypt, Memory};
use super::recent::Recent;
use super::{Denied, Error};
use crate::config::ClearPasswords;

/// Memory in KiB, passes and lanes for new passwords: the least that OWASP recommends for argon2id.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a name that does not exist is checked against: the same parameters, the same lengths, no known password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cG9zdGVybi1ub2JvZHkhIQ$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Whose password it is, where it has no name of its own.
const SOMEBODY: &str = "a user";

/// How long a password that was right counts as right without being worked out again.
const REMEMBERED: Duration = Duration::from_mins(5);
/// How many are remembered at most.
const MOST_REMEMBERED: usize = 4096;

/// Works passwords out, no more at the same time than there are processors. One for the whole daemon.
#[derive(Debug)]
pub(super) struct Checker {
    slots: Arc<Semaphore>,
    worked_out: Arc<AtomicU64>,
    /// What checks work in, as many as there ever were at the same time.
    memories: Arc<Mutex<Vec<Memory>>>,
    recent: Recent<()>,
}

impl Checker {
    /// # Errors
    /// Local: the system has no randomness to give.
    pub(super) fn new() -> Result<Self, postern_pki::Error> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            slots: Arc::new(Semaphore::new(processors)),
            worked_out: Arc::default(),
            memories: Arc::default(),
            recent: Recent::new(REMEMBERED, MOST_REMEMBERED)?,
        })
    }

    /// Whether the password is the one that was hashed, for the user of this name in the directory of that; without a hash
    /// the answer is no, after the same work.
    pub(super) async fn is_right(
        &self,
        whose: [&str; 2],
        stored: Option<&str>,
        password: &Secret,
    ) -> Result<bool, Denied> {
        let crypt = read(stored, whose[1])?;
        self.fits(whose, &crypt, password).await
    }

    /// The same with a stored password of any kind.
    ///
    /// # Errors
    /// [`Denied::Unavailable`]: it cannot be told.
    pub(super) async fn fits(
        &self,
        whose: [&str; 2],
        crypt: &Crypt,
        password: &Secret,
    ) -> Result<bool, Denied> {
        let [directory, name] = whose.map(str::as_bytes);
        let parts = crypt.text().map(|stored| [directory, name, stored.expose(), password.expose()]);
        if parts.is_some_and(|parts| self.recent.find(&parts, REMEMBERED, Instant::now()).is_some()) {
            return Ok(true);
        }
        let right = self.verify(whose[1], crypt, password).await?;
        if let Some(parts) = parts.filter(|_| right) {
            self.recent.note(&parts, (), Instant::now());
        }
        Ok(right)
    }

    /// As [`is_right`](Self::is_right), worked out each time.
    pub(super) async fn is_right_at_cost(
        &self,
        stored: Option<&str>,
        password: &Secret,
    ) -> Result<bool, Denied> {
        let crypt = read(stored, SOMEBODY)?;
        self.verify(SOMEBODY, &crypt, password).await
    }

    /// [`hash`](Self::hash) when there is a processor for it.
    ///
    /// # Errors
    /// [`Denied::Unavailable`]: it cannot be worked out.
    pub(super) async fn hash_in_turn(&self, password: &Secret) -> Result<String, Denied> {
        let password = password.clone();
        self.worked_out.fetch_add(1, Ordering::Relaxed);
        let made = self.work(move || new_hash(&password)).await?;
        made.map_err(|error| Denied::Unavailable(error.to_string()))
    }

    /// A new password's PHC string, with a salt of its own.
    pub(super) fn hash(&self, password: &Secret) -> Result<String, Error> {
        self.worked_out.fetch_add(1, Ordering::Relaxed);
        new_hash(password)
    }

    /// Does something slow on a thread of its own, as soon as a processor is free.
    ///
    /// # Cancel safety
    /// A caller that goes away leaves its work to end by itself, still counted against the bound.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Denied> {
        let gone = |reason: &dyn std::error::Error| Denied::Unavailable(reason.to_string());
        let slot = self.slots.clone().acquire_owned().await.map_err(|error| gone(&error))?;
        let in_turn = move || {
            let _slot = slot;
            work()
        };
        tokio::task::spawn_blocking(in_turn).await.map_err(|error| gone(&error))
    }

    /// Whether the password is the one that is stored, worked out now.
    async fn verify(&self, whose: &str, crypt: &Crypt, password: &Secret) -> Result<bool, Denied> {
        let (crypt, password, worked_out) = (crypt.clone(), password.clone(), self.worked_out.clone());
        let memories = Arc::clone(&self.memories);
        let work = move || {
            worked_out.fetch_add(1, Ordering::Relaxed);
            let mut memory = lock(&memories).pop().unwrap_or_default();
            let fits = crypt.fits(&password, &mut memory);
            lock(&memories).push(memory);
            fits
        };
        self.work(work).await?.map_err(|unfit| unfit.denied(whose))
    }

    pub(super) fn worked_out(&self) -> u64 {
        self.worked_out.load(Ordering::Relaxed)
    }
}

fn lock(memories: &Mutex<Vec<Memory>>) -> MutexGuard<'_, Vec<Memory>> {
    memories.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a name that does not exist is checked against where no directory knows better.
pub(super) fn nobody() -> Result<Crypt, Denied> {
    let crypt = Crypt::parse(NOBODY, ClearPasswords::Refused).map_err(|unfit| unfit.denied("nobody"))?;
    Ok(crypt.of_nobody())
}

/// One of our own, or nobody's.
fn read(stored: Option<&str>, whose: &str) -> Result<Crypt, Denied> {
    match stored {
        Some(stored) => Crypt::parse(stored, ClearPasswords::Refused).map_err(|unfit| unfit.denied(whose)),
        None => nobody(),
    }
}

fn new_hash(password: &Secret) -> Result<String, Error> {
    let params =
        Params::new(MEMORY, PASSES, LANES, None).map_err(|error| Error::Crypto(error.to_string()))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash =
        argon2.hash_password(password.expose()).map_err(|error| Error::Crypto(error.to_string()))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(hash: &str) -> Vec<&str> {
        hash.split('$').take(4).collect()
    }

    #[test]
    fn nobody_costs_the_same_as_a_new_user() {
        let hash = Checker::new().unwrap().hash(&Secret::new("correct horse")).unwrap();
        assert_eq!(prefix(&hash), prefix(NOBODY), "algorithm, version and parameters are the same");
        assert_eq!(hash.len(), NOBODY.len(), "salt and output have the same lengths");
        assert!(!nobody().unwrap().fits(&Secret::new("correct horse"), &mut Memory::default()).unwrap());
    }

    #[test]
    fn the_same_password_is_never_stored_the_same_way_twice() {
        let passwords = Checker::new().unwrap();
        let secret = Secret::new("correct horse");
        assert_ne!(passwords.hash(&secret).unwrap(), passwords.hash(&secret).unwrap());
    }

    #[tokio::test]
    async fn a_broken_stored_password_is_not_a_wrong_password() {
        let checker = Checker::new().unwrap();
        let whose = ["users", "anna"];
        let denied = checker.is_right(whose, Some("$argon2id$garbage"), &Secret::new("x")).await.unwrap_err();
        assert!(matches!(&denied, Denied::Unavailable(why) if why.contains("anna")), "{denied:?}");
    }
}
