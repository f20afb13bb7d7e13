//! Passwords: argon2id (RFC 9106), stored as PHC strings that carry their own parameters.
//!
//! A [`Checker`] hashes new ones and verifies those that clients bring, on blocking threads and no more of them at the
//! same time than there are processors: each costs 19 MiB and some 20 ms on purpose. A user who does not exist is
//! checked against a hash that no password fits, so that both take the same time. Who was right within a few minutes pays
//! for the password once; the stored hash is part of what is remembered, so a changed password is in force at once.
//!
//! What it deliberately does not do: count failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use postern_smtp::secret::Secret;
use tokio::sync::Semaphore;

use super::recent::Recent;
use super::{Denied, Error};

/// Memory in KiB, passes and lanes for new passwords: the least that OWASP recommends for argon2id.
const MEMORY: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What a name that does not exist is checked against: the same parameters, the same lengths, no known password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cG9zdGVybi1ub2JvZHkhIQ$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// How long a password that was right counts as right without being worked out again.
const REMEMBERED: Duration = Duration::from_mins(5);
/// How many are remembered at most.
const MOST_REMEMBERED: usize = 4096;

/// Works passwords out, no more at the same time than there are processors. One for the whole daemon.
#[derive(Debug)]
pub(super) struct Checker {
    slots: Arc<Semaphore>,
    worked_out: Arc<AtomicU64>,
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
        let [directory, name] = whose.map(str::as_bytes);
        let parts = stored.map(|stored| [directory, name, stored.as_bytes(), password.expose()]);
        if parts.is_some_and(|parts| self.recent.find(&parts, REMEMBERED, Instant::now()).is_some()) {
            return Ok(true);
        }
        let right = self.verify(stored.map(str::to_owned), password).await?;
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
        self.verify(stored.map(str::to_owned), password).await
    }

    /// A new password's PHC string, with a salt of its own.
    pub(super) fn hash(&self, password: &Secret) -> Result<String, Error> {
        let params =
            Params::new(MEMORY, PASSES, LANES, None).map_err(|error| Error::Crypto(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        self.worked_out.fetch_add(1, Ordering::Relaxed);
        let hash: PasswordHash =
            argon2.hash_password(password.expose()).map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(hash.to_string())
    }

    /// Does something slow, in its turn.
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

    /// Whether the password is the one that was hashed; without a hash the answer is no, after the same work.
    async fn verify(&self, hash: Option<String>, password: &Secret) -> Result<bool, Denied> {
        let (password, worked_out) = (password.clone(), self.worked_out.clone());
        let work = move || {
            worked_out.fetch_add(1, Ordering::Relaxed);
            let fits = fits(hash.as_deref().unwrap_or(NOBODY), &password);
            fits.map(|fits| fits && hash.is_some())
        };
        self.work(work).await?
    }

    pub(super) fn worked_out(&self) -> u64 {
        self.worked_out.load(Ordering::Relaxed)
    }
}

fn fits(hash: &str, password: &Secret) -> Result<bool, Denied> {
    let broken = |error: argon2::password_hash::Error| {
        Denied::Unavailable(format!("a stored password cannot be used, set it anew: {error}"))
    };
    let hash = PasswordHash::new(hash).map_err(|error| broken(error.into()))?;
    // The parameters come from the stored string.
    match Argon2::default().verify_password(password.expose(), &hash) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(broken(error)),
    }
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
        assert!(!fits(NOBODY, &Secret::new("correct horse")).unwrap());
    }

    #[test]
    fn the_same_password_is_never_stored_the_same_way_twice() {
        let passwords = Checker::new().unwrap();
        let secret = Secret::new("correct horse");
        assert_ne!(passwords.hash(&secret).unwrap(), passwords.hash(&secret).unwrap());
    }

    #[test]
    fn a_broken_stored_password_is_not_a_wrong_password() {
        let denied = fits("$argon2id$garbage", &Secret::new("x")).unwrap_err();
        assert!(matches!(denied, Denied::Unavailable(_)), "{denied:?}");
    }
}
