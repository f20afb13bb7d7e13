//! Renders events: the log for people, the log for programs, and whoever else listens (the demo).
//!
//! The types to know:
//! - [`Observer`]: where all parts of the daemon emit their events; it adds the time and hands a [`Record`] to each
//!   [`Sink`].
//! - [`Log`]: the sink on standard error, as text or JSON. Its [`LogStyle`] follows a reload.
//!
//! Both renderings clean what they write, every text of every field: a peer's words can neither forge a line nor steer
//! the terminal of whoever reads the log. What it deliberately does not do: keep anything, or wait for anybody.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use postern_smtp::text;
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use crate::event::{CLEAN_MOST, Event, Level, Subject};

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
    sinks: Arc<[Arc<dyn Sink>]>,
}

impl Observer {
    /// An observer that hands every record to each of the sinks, in order.
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self { sinks: sinks.into_iter().map(Arc::from).collect() }
    }

    /// The same with another sink behind those that there are.
    #[must_use]
    pub fn with(&self, sink: Box<dyn Sink>) -> Self {
        Self { sinks: self.sinks.iter().cloned().chain([Arc::from(sink)]).collect() }
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
    /// One readable line per event.
    Text,
    /// One JSON object per line.
    Json,
}

/// What a log shows, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogStyle {
    /// For people or for programs.
    pub format: LogFormat,
    /// What is below this is left out.
    pub level: Level,
}

/// The log on standard error. Clones are the same log: a reload changes the style of the one that the observer has.
#[derive(Clone)]
pub struct Log {
    style: Arc<ArcSwap<LogStyle>>,
}

impl Log {
    /// A log of this style.
    pub fn new(style: LogStyle) -> Self {
        Self { style: Arc::new(ArcSwap::from_pointee(style)) }
    }

    /// Changes the style from the next line on.
    pub fn restyle(&self, style: LogStyle) {
        self.style.store(Arc::new(style));
    }
}

impl Sink for Log {
    fn record(&self, record: &Record) {
        let LogStyle { format, level } = **self.style.load();
        if record.level < level {
            return;
        }
        let mut line = match format {
            LogFormat::Text => record.to_string().into_bytes(),
            LogFormat::Json => record.to_json(),
        };
        line.push(b'\n');
        // A log that cannot be written must not stop the mail.
        let _ = std::io::stderr().lock().write_all(&line);
    }
}

impl Record {
    /// One JSON object, in which texts are cleaned and bounded as they are in the line for people.
    fn to_json(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(256);
        let mut serializer =
            serde_json::Serializer::with_formatter(&mut line, CleanJson { left: CLEAN_MOST });
        // Neither a Vec nor an event can fail to be written.
        let _ = self.serialize(&mut serializer);
        line
    }
}

/// The line for people.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} {} {}: {}", self.time, self.level, self.id, self.event)
    }
}

/// Writes compact JSON and cleans every text in it, so that no field can be forgotten.
struct CleanJson {
    /// So many octets of the text that is being written may still come.
    left: usize,
}

impl Formatter for CleanJson {
    fn begin_string<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.left = CLEAN_MOST;
        CompactFormatter.begin_string(writer)
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        let text = text::clean(text, self.left);
        self.left -= text.len();
        writer.write_all(text.as_bytes())
    }

    /// Only quotes and backslashes are harmless among what JSON escapes; all else is control characters.
    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        self.left -= 1;
        match escape {
            CharEscape::Quote | CharEscape::ReverseSolidus => {
                CompactFormatter.write_char_escape(writer, escape)
            }
            _ => writer.write_all(b"?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Proof;

    #[test]
    fn every_line_bears_its_session_or_queue_id() {
        let record = Record {
            time: Timestamp::UNIX_EPOCH,
            level: Level::Info,
            id: Subject::Session("S1".into()),
            event: Event::SignedIn { user: "anna".into(), by: Proof::Password },
        };
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["id"], "S1");
        assert_eq!(json["event"], "signed-in");
        assert_eq!(json["user"], "anna");
    }

    fn refused(address: &str) -> Record {
        Record {
            time: Timestamp::UNIX_EPOCH,
            level: Level::Notice,
            id: Subject::Session("S1".into()),
            event: Event::Refused {
                at: "RCPT",
                address: Some(address.into()),
                client: std::net::Ipv4Addr::LOCALHOST.into(),
                policy: None,
                why: None,
                token: None,
                reply: address.into(),
            },
        }
    }

    #[test]
    fn a_peers_words_can_forge_neither_a_line_nor_an_object() {
        let record = refused("x\r\n{\"event\":\"forged\"}\u{1b}[2J\u{202e}\\\u{85}y");
        let json = String::from_utf8(record.to_json()).unwrap();
        let bad = ['\r', '\n', '\u{1b}', '\u{202e}', '\u{85}'];
        for line in [&json, &record.to_string()] {
            assert!(!line.contains(bad), "{line:?}");
        }
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["event"], "refused");
        let cleaned = "x??{\"event\":\"forged\"}?[2J?\\?y";
        assert_eq!((&value["address"], &value["reply"]), (&cleaned.into(), &cleaned.into()));
    }

    #[test]
    fn each_text_is_bounded_and_the_next_one_begins_anew() {
        let record = refused(&"\"x".repeat(10_000));
        let value: serde_json::Value = serde_json::from_slice(&record.to_json()).unwrap();
        assert_eq!(value["address"].as_str().unwrap().chars().count(), CLEAN_MOST);
        assert_eq!(value["reply"], value["address"]);
        assert!(record.to_string().len() < 3 * CLEAN_MOST);
    }

    #[test]
    fn what_is_a_notice_and_what_an_alarm() {
        let reason = || "because".to_owned();
        let not_recorded = Event::NotRecorded { reason: reason(), remedy: "mend it".into() };
        assert_eq!(not_recorded.level(), Level::Alarm);
        assert!(not_recorded.to_string().contains("what to do: mend it"));
        let superseded = Event::Superseded { reason: reason() };
        assert_eq!(superseded.level(), Level::Notice);
        assert!(!superseded.to_string().contains("repeated"));
        let warning = Event::ConfigWarning { problem: reason() };
        assert_eq!(warning.level(), Level::Notice);
    }
}
