//! Takes events without waiting and hands them to the one thread that writes them.
//!
//! The types to know: [`Buffer`], where events wait, each second or until there are 4,096; [`Intake`], the sink that fills it;
//! and [`run`], the thread. What does not fit the buffer is counted. No mail ever waits for any of it.
//!
//! What this deliberately does not do: know anything of the file; see [`keeper`](super::keeper).

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::Retention;
use super::desk::Note;
use super::keeper::{Batch, Keeper};
use crate::event::Event;
use crate::observe::{Observer, Record, Sink};

/// As many events wait at most.
const BUFFER: usize = 65_536;
/// As many are written at once.
const BATCH: usize = 4096;
/// Events wait for company so long.
const PAUSE: Duration = Duration::from_secs(1);
/// Without events, the file is looked after so often.
const IDLE: Duration = Duration::from_mins(1);

/// What waits to be written.
#[derive(Debug)]
pub(super) struct Buffer {
    waiting: Mutex<Waiting>,
    /// Something came, or something is wanted.
    rung: Condvar,
    /// Something was written.
    written: Condvar,
}

#[derive(Debug)]
struct Waiting {
    notes: VecDeque<Note>,
    /// Those that did not fit.
    lost: u64,
    retention: Retention,
    /// What is asked for is written up to this, and how far that is.
    asked: u64,
    done: u64,
    ends: bool,
}

impl Buffer {
    pub(super) fn new(retention: Retention) -> Arc<Self> {
        let waiting = Waiting { notes: VecDeque::new(), lost: 0, retention, asked: 0, done: 0, ends: false };
        Arc::new(Self { waiting: Mutex::new(waiting), rung: Condvar::new(), written: Condvar::new() })
    }

    pub(super) fn retain(&self, retention: Retention) {
        self.lock().retention = retention;
    }

    pub(super) fn end(&self) {
        self.lock().ends = true;
        self.rung.notify_all();
    }

    /// Waits until all that came before is written, or could not be. Not for a task of the runtime.
    pub(super) fn flush(&self, patience: Duration) {
        let mut waiting = self.lock();
        if waiting.ends {
            return;
        }
        waiting.asked += 1;
        let wanted = waiting.asked;
        self.rung.notify_all();
        let still = |waiting: &mut Waiting| waiting.done < wanted && !waiting.ends;
        // That it takes too long is no reason to fail: what is in the file can be read.
        drop(self.written.wait_timeout_while(waiting, patience, still));
    }

    fn put(&self, note: Note) {
        let mut waiting = self.lock();
        if waiting.retention.is_off() || waiting.ends {
            return;
        }
        if waiting.notes.len() >= BUFFER {
            waiting.lost += 1;
            return;
        }
        waiting.notes.push_back(note);
        let count = waiting.notes.len();
        drop(waiting);
        if count == 1 || count == BATCH {
            self.rung.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is to be done next.
    fn next(&self) -> Work {
        let waiting = self.lock();
        let nothing = |waiting: &mut Waiting| {
            waiting.notes.is_empty() && waiting.asked == waiting.done && !waiting.ends
        };
        let (waiting, _) =
            self.rung.wait_timeout_while(waiting, IDLE, nothing).unwrap_or_else(PoisonError::into_inner);
        let few = |waiting: &mut Waiting| {
            !waiting.notes.is_empty()
                && waiting.notes.len() < BATCH
                && waiting.asked == waiting.done
                && !waiting.ends
        };
        let (mut waiting, _) =
            self.rung.wait_timeout_while(waiting, PAUSE, few).unwrap_or_else(PoisonError::into_inner);
        let most = waiting.notes.len().min(BATCH);
        let notes: Vec<Note> = waiting.notes.drain(..most).collect();
        let done = waiting.notes.is_empty();
        let batch = Batch { notes, lost: std::mem::take(&mut waiting.lost), retention: waiting.retention };
        // Only with the last batch is all written that was asked for.
        Work { batch, asked: done.then_some(waiting.asked), ends: done && waiting.ends }
    }

    fn finished(&self, asked: Option<u64>) {
        if let Some(asked) = asked {
            self.lock().done = asked;
            self.written.notify_all();
        }
    }
}

/// What the thread does in one go.
struct Work {
    batch: Batch,
    /// All that was asked for before this is in it.
    asked: Option<u64>,
    ends: bool,
}

/// The way into the buffer.
pub(super) struct Intake(pub(super) Arc<Buffer>);

impl Sink for Intake {
    fn record(&self, record: &Record) {
        if is_of_interest(&record.event) {
            let Record { time, id, event, .. } = record;
            self.0.put(Note { time: *time, id: id.clone(), event: event.clone() });
        }
    }
}

/// Whether an event is kept, or adds to one that is.
fn is_of_interest(event: &Event) -> bool {
    matches!(
        event,
        Event::SessionOpened { .. }
            | Event::SessionClosed { .. }
            | Event::TlsStarted { .. }
            | Event::Introduced { .. }
            | Event::SignedIn { .. }
            | Event::SignInFailed { .. }
            | Event::Refused { .. }
            | Event::SessionRefused { .. }
            | Event::TlsFailed { .. }
            | Event::SessionTroubled { .. }
            | Event::RelayPermitted { .. }
            | Event::Banned { .. }
            | Event::Unbanned { .. }
            | Event::TurnedAway { .. }
            | Event::Accepted { .. }
            | Event::Held { .. }
            | Event::FellBack { .. }
            | Event::Delivered { .. }
            | Event::Deferred { .. }
            | Event::Failed { .. }
            | Event::Reported { .. }
            | Event::ReportWithheld { .. }
            | Event::NotRecorded { .. }
            | Event::Superseded { .. }
    )
}

/// The thread: writes until the buffer ends. Troubles go to the observer.
pub(super) fn run(buffer: &Buffer, mut keeper: Keeper, observer: &Observer) {
    loop {
        let Work { batch, asked, ends } = buffer.next();
        let mut alarm = keeper.keep(batch, Timestamp::now());
        if ends {
            alarm = alarm.or_else(|| keeper.finish(Timestamp::now()));
        }
        if let Some((what, remedy)) = alarm {
            observer.daemon(Event::Alarm { what, remedy });
        }
        buffer.finished(asked);
        if ends {
            return;
        }
    }
}
