//! Renders events: the log for people, the log for programs, and whoever else listens (the demo).

use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::event::{Event, Level, Subject};

/// An event with its time and what it is about.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// When.
    pub time: Timestamp,
    /// How much an operator should care.
    pub level: Level,
    /// The session or queue id.
    pub id: Subject,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Someone who wants to see every record.
pub trait Sink: Send + Sync + 'static {
    /// Called in the emitting task: it must be quick and must not block.
    fn record(&self, record: &Record);
}

/// Where the daemon's parts emit their events. Cheap to clone.
#[derive(Clone)]
pub struct Observer {
    sinks: Arc<[Box<dyn Sink>]>,
}

impl Observer {
    /// An observer that hands every record to each of the sinks, in order.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { sinks: sinks.into() }
    }

    /// Something happened to the daemon as a whole.
    pub fn daemon(&self, event: Event) {
        self.emit(Subject::Daemon, event);
    }

    /// Something happened.
    pub fn emit(&self, id: Subject, event: Event) {
        let record = Record { time: Timestamp::now(), level: event.level(), id, event };
        for sink in self.sinks.iter() {
            sink.record(&record);
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log on standard error.
pub struct Log {
    format: LogFormat,
    least: Level,
}

impl Log {
    /// A log that leaves out what is below `least`.
    pub fn new(format: LogFormat, least: Level) -> Self {
        Self { format, least }
    }
}

impl Sink for Log {
    fn record(&self, record: &Record) {
        if record.level < self.least {
            return;
        }
        let mut line = match self.format {
            LogFormat::Text => format!("{:.3} {} {}: {}", record.time, record.level, record.id, record.event),
            LogFormat::Json => serde_json::to_string(record).unwrap_or_default(),
        };
        line.push('\n');
        // A log that cannot be written must not stop the mail.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_bears_its_session_or_queue_id() {
        let record = Record {
            time: Timestamp::UNIX_EPOCH,
            level: Level::Info,
            id: Subject::Session("S1".into()),
            event: Event::SignedIn { user: "anna".into() },
        };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["id"], "S1");
        assert_eq!(json["event"], "signed-in");
        assert_eq!(json["user"], "anna");
    }
}
