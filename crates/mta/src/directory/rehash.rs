//! Stores passwords anew that were right and are kept in a dated way, beside the sign-in that brought them.
//!
//! A [`Rehash`] is one directory's: it does one at a time and passes over those that come meanwhile, for the old hash is as good
//! as ever and the next sign-in tries again. That it fails is told once, until it has worked again ([`Complaint`]).
//!
//! What it deliberately does not do: know where a directory keeps its passwords.

use std::sync::Arc;

use postern_smtp::secret::Secret;
use tokio::sync::Semaphore;

use super::checker::Checker;
use super::complaint::Complaint;

/// Stores the passwords of one directory anew.
#[derive(Debug)]
pub(super) struct Rehash {
    checker: Arc<Checker>,
    complaint: Arc<Complaint>,
    turn: Arc<Semaphore>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// It is stored anew.
    Anew,
    /// Somebody else is at it.
    LeftAlone,
}

impl Rehash {
    pub(super) fn new(checker: Arc<Checker>, complaint: Complaint) -> Self {
        Self { checker, complaint: Arc::new(complaint), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Hashes the password and has it stored, unless another one is being stored. `what` begins the sentence that tells of a
    /// failure, `remedy` says what to do.
    pub(super) fn begin<F>(
        &self,
        password: Secret,
        [what, remedy]: [String; 2],
        store: impl FnOnce(Secret) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<Stored, String>> + Send,
    {
        let Ok(turn) = Arc::clone(&self.turn).try_acquire_owned() else { return };
        let (checker, complaint) = (Arc::clone(&self.checker), Arc::clone(&self.complaint));
        tokio::spawn(async move {
            let _turn = turn;
            let stored = match checker.hash_in_turn(&password).await {
                Ok(hash) => store(Secret::new(hash)).await,
                Err(denied) => Err(denied.to_string()),
            };
            let told = match stored {
                Ok(Stored::LeftAlone) => return,
                Ok(Stored::Anew) => Ok(()),
                Err(why) => Err(format!("{what}: {why}")),
            };
            complaint.note(told, || remedy);
        });
    }

    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.turn.available_permits() == 1
    }

    /// When what was begun is done.
    #[cfg(test)]
    pub(super) async fn done(&self) {
        drop(self.turn.acquire().await.unwrap());
    }
}
