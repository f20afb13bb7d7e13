//! What it costs to keep events, and how fast they are found among ten million. For `bench/run`; prints lines of figures.
//!
//! `history EVENTS` fills a folder in the system's temporary one with so many events of submitted mail, of 2,000 users to 20,000
//! correspondents, as the daemon would keep them, and looks up what `postern why` looks up. `history EVENTS plain` fills a
//! table of keys with an ordinary index instead, for comparison. Both remove what they made.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use postern_mta::bench::history::{Filling, tell};
use postern_mta::event::{Event, Proof, Subject};
use postern_mta::history::{Key, Retention};
use postern_queue::QueueId;
use rusqlite::{Connection, params};

/// Events that are kept of each message.
const OF_A_MESSAGE: u64 = 3;
const MESSAGES_AT_ONCE: u64 = 1000;
const USERS: u64 = 2000;
const LOOKUPS: u64 = 200;
type Any = Result<(), Box<dyn std::error::Error>>;

fn main() -> Any {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(Ok(10_000_000), |count| count.parse())?;
    let folder = tempfile::tempdir()?;
    match arguments.next().as_deref() {
        Some("plain") => plain(folder.path(), events),
        _ => kept(folder.path(), events),
    }
}

fn kept(folder: &Path, events: u64) -> Any {
    let retention = Retention { keep: Duration::from_hours(24 * 3650), events: 1 << 40, size: 1 << 50 };
    let mut filling = Filling::new(folder, retention);
    let (start, cpu) = (Instant::now(), cpu());
    let mut made = Duration::ZERO;
    for first in (0..events / OF_A_MESSAGE).step_by(usize::try_from(MESSAGES_AT_ONCE)?) {
        let begun = Instant::now();
        let batch: Vec<_> = (first..first + MESSAGES_AT_ONCE).flat_map(of_message).collect();
        let now = batch[0].0;
        made += begun.elapsed();
        filling.keep(batch, now)?;
    }
    let (wall, cpu) = (start.elapsed(), self::cpu().saturating_sub(cpu));
    said("filled", events, wall.saturating_sub(made), cpu.saturating_sub(made), filling.size());
    let messages = events / OF_A_MESSAGE;
    let pick = |number: u64| (number * 7919 + 13) % messages;
    look_up("queue id", |number| queue_id(pick(number)).to_string(), folder)?;
    look_up("Message-ID", |number| format!("<m{}@example.org>", pick(number)), folder)?;
    look_up("user", |number| format!("user{}", pick(number) % USERS), folder)?;
    look_up("address", |number| correspondent(pick(number)), folder)?;
    look_up("session", |number| format!("s1-{:x}", pick(number)), folder)?;
    look_up("unknown name", |number| format!("nobody{number}"), folder)
}

fn look_up(what: &str, word: impl Fn(u64) -> String, folder: &Path) -> Any {
    let mut times = Vec::new();
    let mut found = 0;
    for number in 0..LOOKUPS {
        let start = Instant::now();
        found += tell(folder, &word(number))?.events.len();
        times.push(start.elapsed());
    }
    let first = times[0];
    times.sort();
    let [median, worst] =
        [times[times.len() / 2], times[times.len() - 1]].map(|time| time.as_secs_f64() * 1e3);
    let (first, events) = (first.as_secs_f64() * 1e3, found / times.len());
    println!("{what}: first {first:.1} ms, median {median:.1} ms, worst {worst:.1} ms; {events} events each");
    Ok(())
}

fn said(what: &str, events: u64, wall: Duration, cpu: Duration, size: u64) {
    let each = cpu.as_secs_f64() * 1e6 / count(events);
    let rate = count(events) / wall.as_secs_f64();
    println!(
        "{what}: {rate:.0} events/s, {each:.2} us CPU each, {:.2} GiB",
        count(size) / f64::from(1 << 30)
    );
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn count(number: u64) -> f64 {
    number as f64
}

/// The same events in a table, with a table of their keys in the order of the keys.
fn plain(folder: &Path, events: u64) -> Any {
    let path = folder.join("plain.db");
    let mut connection = Connection::open(&path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "cache_size", -16 * 1024)?;
    connection.execute_batch(
        "CREATE TABLE event (id INTEGER PRIMARY KEY, time INTEGER, text TEXT) STRICT;
         CREATE TABLE key (number INTEGER, id INTEGER, PRIMARY KEY (number, id)) STRICT, WITHOUT ROWID;",
    )?;
    let (start, cpu) = (Instant::now(), cpu());
    let mut made = Duration::ZERO;
    for first in (0..events / OF_A_MESSAGE).step_by(usize::try_from(MESSAGES_AT_ONCE)?) {
        let begun = Instant::now();
        let batch: Vec<_> =
            (first..first + MESSAGES_AT_ONCE).map(|number| (number, of_message(number))).collect();
        made += begun.elapsed();
        let transaction = connection.transaction()?;
        for (message, happened) in batch {
            for (time, id, event) in happened {
                write_plain(&transaction, time, &id, &event, message)?;
            }
        }
        transaction.commit()?;
    }
    let (wall, cpu) = (start.elapsed(), self::cpu().saturating_sub(cpu));
    let size = path.metadata()?.len();
    said("plain index", events, wall.saturating_sub(made), cpu.saturating_sub(made), size);
    Ok(())
}

fn write_plain(
    transaction: &rusqlite::Transaction<'_>,
    time: Timestamp,
    id: &Subject,
    event: &Event,
    message: u64,
) -> Any {
    let keys: &[Key] = match event {
        Event::SignedIn { user, .. } => &[Key::user(user), Key::session(&id.to_string())],
        Event::Accepted { from, to, user, message_id, session, .. } => &[
            Key::queue(queue_id(message)),
            Key::session(session),
            Key::address(from),
            Key::address(&to[0]),
            Key::user(user.as_deref().unwrap_or_default()),
            Key::message_id(message_id.as_deref().unwrap_or_default()),
        ],
        Event::Delivered { to, .. } => &[Key::queue(queue_id(message)), Key::address(to)],
        _ => return Ok(()),
    };
    let text = serde_json::to_string(event)?;
    transaction
        .prepare_cached("INSERT INTO event (time, text) VALUES (?1, ?2)")?
        .execute(params![time.as_millisecond(), text])?;
    let row = transaction.last_insert_rowid();
    for key in keys {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        transaction
            .prepare_cached("INSERT OR IGNORE INTO key VALUES (?1, ?2)")?
            .execute(params![hasher.finish().cast_signed(), row])?;
    }
    Ok(())
}

/// All that happens for one message; three events of it are kept.
fn of_message(number: u64) -> Vec<(Timestamp, Subject, Event)> {
    let time = moment(number);
    let session = || Subject::Session(format!("s1-{number:x}"));
    let user = format!("user{}", number % USERS);
    let (id, to) = (queue_id(number), correspondent(number));
    let accepted = Event::Accepted {
        session: format!("s1-{number:x}"),
        from: format!("{user}@example.org"),
        to: vec![to.clone()],
        size: 4096,
        user: Some(user.clone()),
        device: None,
        message_id: Some(format!("<m{number}@example.org>")),
        hello: Some("[192.0.2.17]".to_owned()),
        program: Some("Mozilla Thunderbird".to_owned()),
    };
    let delivered = Event::Delivered {
        to,
        connector: "mx".to_owned(),
        host: "mx1.partner.example [198.51.100.7]:25".to_owned(),
        tls: "TLSv1.3, verified".to_owned(),
        reply: Some(format!("250 2.0.0 Ok: queued as {number:012X}")),
        age_ms: 812,
    };
    let client = ([192, 0, 2, 17], 40_000).into();
    let suite = "TLS13_AES_256_GCM_SHA384".to_owned();
    vec![
        (time, session(), Event::SessionOpened { listener: "submission".to_owned(), client }),
        (
            time,
            session(),
            Event::TlsStarted { version: "TLSv1.3".to_owned(), cipher: suite, server_name: None },
        ),
        (time, session(), Event::SignedIn { user, by: Proof::Password }),
        (time, Subject::Message(id), accepted),
        (time, session(), Event::SessionClosed { reason: "quit".to_owned(), messages: 1 }),
        (time, Subject::Message(id), delivered),
    ]
}

fn correspondent(number: u64) -> String {
    format!("person{}@partner{}.example", number % 20_000, number % 300)
}

/// A quarter of a second between two messages.
fn moment(number: u64) -> Timestamp {
    let since = i64::try_from(number).unwrap_or_default() * 250;
    let start = Timestamp::from_second(1_790_000_000).unwrap_or_default();
    start.checked_add(SignedDuration::from_millis(since)).unwrap_or(Timestamp::MAX)
}

/// As the daemon draws them: by time, with something random behind.
fn queue_id(number: u64) -> QueueId {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let since_2020 = u64::try_from(moment(number).as_millisecond() - 1_577_836_800_000).unwrap_or_default();
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 43;
    let value = since_2020 << 21 | random;
    let digit =
        |place: u32| char::from(ALPHABET[usize::try_from(value >> (5 * place) & 31).unwrap_or_default()]);
    let text: String = (0..13).rev().map(digit).collect();
    text.parse().expect("13 characters of the alphabet")
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts");
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or_default())
}
