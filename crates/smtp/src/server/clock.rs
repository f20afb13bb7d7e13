//! Time as the session knows it: what it was told last, and until when it waits.

use std::time::{Duration, Instant};

use super::Output;

/// The session's two deadlines. No clock is read here: [`Input::Time`](super::Input::Time) tells the time.
#[derive(Debug)]
pub(super) struct Clock {
    now: Instant,
    /// When the client must have said something.
    patience: Instant,
    /// When the session ends, whatever happens.
    end: Instant,
    announced: Option<Instant>,
}

/// Which deadline has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Client,
    Session,
}

impl Clock {
    pub(super) fn new(now: Instant, session: Duration) -> Self {
        Self { now, patience: now + session, end: now + session, announced: None }
    }

    pub(super) fn set(&mut self, now: Instant) {
        self.now = now;
    }

    /// The client has this long from now.
    pub(super) fn restart(&mut self, patience: Duration) {
        self.patience = self.now + patience;
    }

    pub(super) fn overdue(&self) -> Option<Overdue> {
        if self.now >= self.end {
            return Some(Overdue::Session);
        }
        (self.now >= self.patience).then_some(Overdue::Client)
    }

    /// The next deadline, if the driver does not know it yet.
    pub(super) fn news(&mut self) -> Option<Output> {
        let until = self.patience.min(self.end);
        if self.announced == Some(until) {
            return None;
        }
        self.announced = Some(until);
        Some(Output::Wait { until })
    }
}
