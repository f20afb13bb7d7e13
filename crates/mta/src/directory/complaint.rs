//! Work behind a sign-in that fails: told once, until it has worked again.
//!
//! Passwords are stored anew and keys are worked out after somebody has signed in, who neither waits for it nor notices when
//! it fails. [`Complaint`] is what the administrator hears of one such kind of work: its first failure, and the first one
//! after each success, for it is tried at every sign-in and would fill the log.
//!
//! What it deliberately does not do: try again, or tell anybody where there is no daemon: the command line only asks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::event::Event;
use crate::observe::Observer;

/// What is told of one kind of work.
#[derive(Default)]
pub(super) struct Complaint {
    observer: OnceLock<Observer>,
    is_told: AtomicBool,
}

impl Complaint {
    /// One that is told to this observer; without one, to nobody.
    pub(super) fn to(observer: Option<&Observer>) -> Self {
        let complaint = Self::default();
        if let Some(observer) = observer {
            complaint.tell(observer);
        }
        complaint
    }

    /// Has an observer told from now on, unless somebody is already.
    pub(super) fn tell(&self, observer: &Observer) {
        // The first stays: it is the daemon's, of which there is one.
        let _ = self.observer.set(observer.clone());
    }

    /// Notes how it went: where it failed, what failed in words, and what is to be done about it.
    pub(super) fn note(&self, outcome: Result<(), String>, remedy: impl FnOnce() -> String) {
        let was_told = self.is_told.swap(outcome.is_err(), Ordering::Relaxed);
        if let (Err(what), Some(observer), false) = (outcome, self.observer.get(), was_told) {
            observer.daemon(Event::Alarm { what, remedy: remedy() });
        }
    }
}

impl std::fmt::Debug for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Complaint").field("is_told", &self.is_told).finish_non_exhaustive()
    }
}

/// What a test hears of complaints.
#[cfg(test)]
#[derive(Clone, Default)]
pub(super) struct Heard(std::sync::Arc<std::sync::Mutex<Vec<String>>>);

#[cfg(test)]
impl crate::observe::Sink for Heard {
    fn record(&self, record: &crate::observe::Record) {
        self.0.lock().unwrap().push(record.event.to_string());
    }
}

#[cfg(test)]
impl Heard {
    pub(super) fn complaint(&self) -> Complaint {
        Complaint::to(Some(&self.observer()))
    }

    pub(super) fn observer(&self) -> Observer {
        Observer::new(vec![Box::new(self.clone())])
    }

    /// What was told since this was asked last.
    pub(super) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_until_it_has_worked_again() {
        let heard = Heard::default();
        let complaint = heard.complaint();
        let fails = || complaint.note(Err("no room".to_owned()), || "make room".to_owned());
        fails();
        fails();
        assert_eq!(heard.taken(), ["no room | what to do: make room"]);
        complaint.note(Ok(()), String::new);
        assert_eq!(heard.taken(), [""; 0], "what works is nothing to tell");
        fails();
        assert_eq!(heard.taken().len(), 1);
        Complaint::to(None).note(Err("nobody hears this".to_owned()), String::new);
    }
}
