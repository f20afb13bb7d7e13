//! The history as a whole, without a daemon: what is written is found, and what is too much or too old goes.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_queue::{MemoryStore, QueueId, Store as _};
use postern_smtp::outcome::{Reason, Step, Trouble};
use proptest::prelude::*;

use super::desk::Note;
use super::entries::RUN;
use super::keeper::{Batch, Keeper};
use super::{Extent, History, Kept, Key, Range, Reader, Retention, What};
use crate::directory::SignInFault;
use crate::event::{Event, Proof, Subject};
use crate::observe::Observer;

const ALL: Range = Range { limit: usize::MAX, since: None, before: None };

fn retention() -> Retention {
    Retention { keep: Duration::from_hours(24 * 30), events: 10_000_000, size: 1 << 40 }
}

fn start() -> Timestamp {
    "2026-11-22T08:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn id() -> QueueId {
    MemoryStore::new().begin(start()).id()
}

fn session(name: &str) -> Subject {
    Subject::Session(name.to_owned())
}

fn client(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 4711).into()
}

fn note(time: Timestamp, id: Subject, event: Event) -> Note {
    Note { time, id, event }
}

fn accepted(from: &str, to: &[&str], message_id: &str) -> Event {
    Event::Accepted {
        session: "s1-1".into(),
        from: from.into(),
        to: to.iter().map(|&to| to.to_owned()).collect(),
        size: 700,
        user: Some("anna".into()),
        device: None,
        message_id: Some(message_id.into()),
        hello: Some("laptop".into()),
        program: None,
    }
}

fn delivered(to: &str) -> Event {
    Event::Delivered {
        to: to.into(),
        connector: "mx".into(),
        host: "mx.b.example".into(),
        tls: "TLSv1.3".into(),
        reply: Some("250 OK".into()),
        age_ms: 12,
    }
}

fn refused(address: &str, client: u8) -> Event {
    Event::Refused {
        at: "RCPT",
        address: Some(address.into()),
        client: IpAddr::from([192, 0, 2, client]),
        policy: None,
        why: None,
        token: Some("no-relay"),
        reply: "550 no".into(),
    }
}

fn failed_sign_in(user: &str, fault: SignInFault, client: [u8; 4]) -> Event {
    Event::SignInFailed {
        user: user.into(),
        by: Proof::Password,
        fault,
        client: client.into(),
        why: Some("the password is wrong".into()),
        reply: "535 no".into(),
    }
}

fn keep(keeper: &mut Keeper, notes: Vec<Note>, now: Timestamp) {
    let alarm = keeper.keep(Batch { notes, lost: 0, retention: retention() }, now);
    assert_eq!(alarm, None);
}

fn find(folder: &Path, key: Key) -> Vec<Kept> {
    Reader::open(folder).unwrap().find(&[key], ALL).unwrap()
}

fn extent(folder: &Path) -> Extent {
    Reader::open(folder).unwrap().extent(None).unwrap()
}

#[test]
fn a_message_is_found_by_everything_it_is_about_in_any_spelling() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let id = id();
    let event = accepted("Anna@Example.org", &["ben@b.example", "Eve@B.example"], "<M1@example.org>");
    keep(&mut keeper, vec![note(at(0), Subject::Message(id), event)], at(0));
    for key in [
        Key::user("ANNA"),
        Key::address("<anna@example.org>"),
        Key::address("eve@b.example"),
        Key::message_id("m1@example.org"),
        Key::queue(id),
        Key::session("s1-1"),
    ] {
        assert_eq!(find(folder.path(), key.clone()).len(), 1, "{key}");
    }
    assert_eq!(find(folder.path(), Key::address("anna")).len(), 0);
}

#[test]
fn what_the_session_knows_stands_with_the_sign_in_and_the_message() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let opened = Event::SessionOpened { listener: "submission".into(), client: client(7) };
    let tls = Event::TlsStarted { version: "TLSv1.3".into(), cipher: "X".into(), server_name: None };
    let events =
        [opened, tls, Event::SignedIn { user: "anna".into(), by: Proof::Scram }, refused("x@y.example", 7)];
    let mut notes: Vec<Note> = events.map(|event| note(at(0), session("s1-1"), event)).into();
    notes.push(note(at(1), Subject::Message(id()), accepted("a@b.example", &["c@d.example"], "<m@x>")));
    keep(&mut keeper, notes, at(1));
    let found = find(folder.path(), Key::user("anna"));
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(words[0], "anna signed in with SCRAM, from 192.0.2.7 on submission (TLSv1.3 X)");
    assert!(
        words[1].starts_with("refused at RCPT x@y.example from 192.0.2.7, signed in as anna"),
        "{words:?}"
    );
    assert!(
        words[2].contains("from 192.0.2.7 on submission (TLSv1.3 X), which calls itself laptop"),
        "{words:?}"
    );
    assert_eq!(find(folder.path(), Key::client(client(7).ip())).len(), 3);
}

#[test]
fn runs_are_completed_and_everything_in_them_and_behind_them_is_found_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let count = RUN + RUN / 2;
    let mut sent = 0;
    while sent < count {
        // Sometimes many at once, sometimes one by one, as on a quiet day.
        let size = if sent % 7 == 0 { 1 } else { 3000.min(count - sent) };
        let event = |number| note(at(number), Subject::Daemon, delivered(&format!("u{number}@b.example")));
        keep(&mut keeper, (sent..sent + size).map(event).collect(), at(sent));
        sent += size;
        if sent % 5 == 0 {
            keeper = Keeper::new(folder.path());
        }
    }
    for number in [0, 1, RUN - 1, RUN, RUN + 1, count / 2, count - 1] {
        let found = find(folder.path(), Key::address(&format!("u{number}@b.example")));
        assert_eq!(found.iter().map(|kept| kept.time).collect::<Vec<_>>(), [at(number)], "{number}");
    }
    let mut reader = Reader::open(folder.path()).unwrap();
    let newest =
        reader.find(&[Key::address("u5@b.example"), Key::address("u9@b.example")], Range { limit: 1, ..ALL });
    assert_eq!(newest.unwrap()[0].time, at(9));
    let before = Range { before: Some(at(9)), since: Some(at(5)), ..ALL };
    let keys: Vec<Key> = (0..20).map(|number| Key::address(&format!("u{number}@b.example"))).collect();
    assert_eq!(reader.find(&keys, before).unwrap().len(), 4);
}

#[test]
fn quiet_days_leave_few_rows_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    for number in 0..1000 {
        let event = delivered(&format!("u{number}@b.example"));
        keep(&mut keeper, vec![note(at(number), Subject::Daemon, event)], at(number));
    }
    let connection = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
    let rows: i64 = connection.query_row("SELECT count(*) FROM mail_growing", [], |row| row.get(0)).unwrap();
    assert!(rows < 300, "{rows}");
    for number in [0, 255, 256, 999] {
        assert_eq!(find(folder.path(), Key::address(&format!("u{number}@b.example"))).len(), 1, "{number}");
    }
}

#[test]
fn a_number_that_two_keys_share_shows_nobody_the_others_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    keep(&mut keeper, vec![note(at(0), Subject::Daemon, delivered("ben@b.example"))], at(0));
    // The text is replaced below the index: what has the number is another's event.
    let connection = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
    let change = "UPDATE mail_event SET text = replace(text, 'ben@', 'eve@')";
    assert_eq!(connection.execute(change, []).unwrap(), 1);
    assert_eq!(find(folder.path(), Key::address("ben@b.example")).len(), 0);
}

#[test]
fn what_is_too_old_goes_and_the_rest_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let day = 24 * 3600;
    for number in 0..10 {
        keep(&mut keeper, vec![note(at(number * day), Subject::Daemon, delivered("ben@b.example"))], at(0));
    }
    let retention = Retention { keep: Duration::from_hours(24 * 4), ..retention() };
    assert_eq!(keeper.keep(Batch { retention, ..Batch::default() }, at(9 * day + 1)), None);
    assert_eq!(find(folder.path(), Key::address("ben@b.example")).len(), 4);
    assert_eq!(extent(folder.path()).oldest, Some(at(6 * day)));
}

#[test]
fn what_is_too_much_goes_the_oldest_first_and_its_index_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let count = 2 * RUN + 100;
    let event = |number| note(at(0), Subject::Daemon, delivered(&format!("u{number}@b.example")));
    keep(&mut keeper, (0..count).map(event).collect(), at(0));
    let retention = Retention { events: 10_000, ..retention() };
    assert_eq!(keeper.keep(Batch { retention, ..Batch::default() }, at(120)), None);
    let connection = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM mail_event"), 9000);
    assert_eq!(number("SELECT min(id) FROM mail_bucket") / 1024, 1, "the first run is gone");
    assert_eq!(find(folder.path(), Key::address(&format!("u{}@b.example", count - 9000))).len(), 1);
    assert_eq!(find(folder.path(), Key::address(&format!("u{}@b.example", count - 9001))).len(), 0);
}

#[test]
fn the_file_is_kept_below_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let event = |number| note(at(0), Subject::Daemon, delivered(&format!("u{number}@b.example")));
    keep(&mut keeper, (0..20_000).map(event).collect(), at(0));
    let retention = Retention { size: 2 << 20, ..retention() };
    assert_eq!(keeper.keep(Batch { retention, ..Batch::default() }, at(120)), None);
    let connection = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
    assert!(super::file::used(&connection).unwrap() <= 2 << 20);
    assert_eq!(find(folder.path(), Key::address("u19999@b.example")).len(), 1);
}

#[test]
fn a_flood_of_strangers_leaves_mail_alone_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    keep(&mut keeper, vec![note(at(0), Subject::Daemon, delivered("ben@b.example"))], at(0));
    let bots = 30_000u32;
    let bot = |number: u32| {
        let [_, high, middle, low] = number.to_be_bytes();
        failed_sign_in("root", SignInFault::UnknownUser, [10 + high, middle, low, 1])
    };
    let notes = (0..bots).map(|number| note(at(1), session("s1-2"), bot(number))).collect();
    keep(&mut keeper, notes, at(1));
    // Anna fails in the midst of it, and will ask why.
    let anna = failed_sign_in("anna", SignInFault::WrongPassword, [192, 0, 2, 9]);
    keep(&mut keeper, vec![note(at(2), session("s1-3"), anna)], at(2));
    keeper.finish(at(3));
    assert_eq!(find(folder.path(), Key::user("root")).len(), 1000);
    assert_eq!(extent(folder.path()).left_out, 29_000);
    assert_eq!(find(folder.path(), Key::user("anna")).len(), 1);
    let retention = Retention { events: 1000, ..retention() };
    assert_eq!(keeper.keep(Batch { retention, ..Batch::default() }, at(120)), None);
    assert_eq!(find(folder.path(), Key::user("root")).len(), 99, "one tenth is for strangers");
    assert_eq!(find(folder.path(), Key::address("ben@b.example")).len(), 1);
}

#[test]
fn names_that_nobody_is_known_to_have_use_up_no_room_of_people() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let flood = |fault: SignInFault| {
        let of_bot = move |number: u16| {
            let [high, low] = number.to_be_bytes();
            let name = format!("madeup{number}");
            note(at(1), session("s1-2"), failed_sign_in(&name, fault, [127, high, low, 1]))
        };
        (0..2_000).map(of_bot).collect::<Vec<_>>()
    };
    for fault in [SignInFault::WrongOrUnknown, SignInFault::Banned, SignInFault::TooManyGuesses] {
        keep(&mut keeper, flood(fault), at(1));
    }
    let anna = failed_sign_in("anna", SignInFault::WrongPassword, [192, 0, 2, 9]);
    keep(&mut keeper, vec![note(at(2), session("s1-3"), anna)], at(2));
    keeper.finish(at(3));
    assert_eq!(find(folder.path(), Key::user("anna")).len(), 1);
    assert_eq!(extent(folder.path()).left_out, 5_000);
}

#[test]
fn one_network_and_one_account_have_their_bounds_in_each_minute() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    for minute in 0..2 {
        let mut notes = Vec::new();
        for number in 0..100 {
            notes.push(note(at(minute * 60), session("s1-2"), refused("x@y.example", number)));
            let anna = failed_sign_in("anna", SignInFault::WrongPassword, [10, number, 0, 1]);
            notes.push(note(at(minute * 60), session("s1-2"), anna));
        }
        keep(&mut keeper, notes, at(minute * 60));
    }
    assert_eq!(find(folder.path(), Key::address("x@y.example")).len(), 40);
    assert_eq!(find(folder.path(), Key::user("anna")).len(), 10);
}

#[test]
fn a_damaged_file_is_moved_aside_said_once_and_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    fs::write(&path, "this is no database at all, however you look at it").unwrap();
    let mut keeper = Keeper::new(folder.path());
    let batch = || Batch {
        notes: vec![note(at(0), Subject::Daemon, delivered("ben@b.example"))],
        lost: 0,
        retention: retention(),
    };
    let (what, remedy) = keeper.keep(batch(), at(0)).unwrap();
    assert!(what.contains("events.db.damaged") && remedy.contains("mail goes on"), "{what}: {remedy}");
    assert_eq!(keeper.keep(batch(), at(1)), None);
    assert_eq!(find(folder.path(), Key::address("ben@b.example")).len(), 1);
    assert!(fs::read_to_string(path.with_extension("db.damaged")).unwrap().starts_with("this"));
    assert_eq!(extent(folder.path()).lost, 1);
}

#[test]
fn pages_that_are_damaged_later_cost_the_old_events_and_no_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.db");
    let mut keeper = Keeper::new(folder.path());
    let event = |number| note(at(0), Subject::Daemon, delivered(&format!("u{number}@b.example")));
    keep(&mut keeper, (0..5000).map(event).collect(), at(0));
    drop(keeper);
    let mut octets = fs::read(&path).unwrap();
    octets[4096..].fill(0xa5);
    fs::write(&path, octets).unwrap();
    let mut keeper = Keeper::new(folder.path());
    let alarm = keeper.keep(Batch { notes: vec![event(1)], lost: 0, retention: retention() }, at(10));
    assert!(alarm.is_some_and(|(what, _)| what.contains("damaged")));
    keep(&mut keeper, vec![event(2)], at(20));
    assert_eq!(find(folder.path(), Key::address("u2@b.example")).len(), 1);
}

#[test]
fn what_the_disk_does_not_take_is_counted_and_said_once_an_hour() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("gone");
    let mut keeper = Keeper::new(&missing);
    let batch = || Batch {
        notes: vec![note(at(0), Subject::Daemon, delivered("ben@b.example"))],
        lost: 2,
        retention: retention(),
    };
    assert!(keeper.keep(batch(), at(0)).is_some_and(|(what, _)| what.contains("cannot be kept")));
    // At once nothing is tried, later it is, and nothing is said twice.
    assert_eq!(keeper.keep(batch(), at(1)), None);
    assert_eq!(keeper.keep(batch(), at(60)), None);
    assert!(keeper.keep(batch(), at(3700)).is_some());
    fs::create_dir(&missing).unwrap();
    assert_eq!(keeper.keep(batch(), at(3800)), None);
    assert_eq!(find(&missing, Key::address("ben@b.example")).len(), 1);
    assert_eq!(extent(&missing).lost, 4 * 3 + 2);
}

#[test]
fn a_full_disk_costs_events_and_is_over_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let event = |number| note(at(0), Subject::Daemon, delivered(&format!("u{number}@b.example")));
    keep(&mut keeper, vec![event(0)], at(0));
    keeper.limit_pages(40);
    let notes = (1..5000).map(event).collect();
    let (what, _) = keeper.keep(Batch { notes, lost: 0, retention: retention() }, at(1)).unwrap();
    assert!(what.contains("full"), "{what}");
    keep(&mut keeper, vec![event(5000)], at(100));
    assert_eq!(find(folder.path(), Key::address("u0@b.example")).len(), 1);
    assert_eq!(find(folder.path(), Key::address("u1@b.example")).len(), 0);
    assert_eq!(find(folder.path(), Key::address("u5000@b.example")).len(), 1);
    assert_eq!(extent(folder.path()).lost, 4999);
}

#[test]
fn never_keeps_nothing_and_removes_what_was_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    keep(&mut keeper, vec![note(at(0), Subject::Daemon, delivered("ben@b.example"))], at(0));
    let off = Retention { keep: Duration::ZERO, ..retention() };
    assert_eq!(keeper.keep(Batch { retention: off, ..Batch::default() }, at(1)), None);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(find(folder.path(), Key::address("ben@b.example")).len(), 0);
}

#[test]
fn the_words_of_strangers_are_cleaned_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = Keeper::new(folder.path());
    let forged = format!("a@b.example\r\n\u{1b}[2J{}", "x".repeat(10_000));
    keep(&mut keeper, vec![note(at(0), session("s1-1"), refused(&forged, 1))], at(0));
    let found = find(folder.path(), Key::session("s1-1"));
    let words = found[0].to_string();
    assert!(words.len() <= 600 && !words.contains(['\r', '\n', '\u{1b}']), "{words:?}");
    assert!(serde_json::to_string(&found[0]).unwrap().len() < 2000);
}

#[tokio::test]
async fn what_an_observer_hears_is_there_after_a_flush_and_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (history, observer) = History::begin(folder.path(), retention(), &Observer::new(Vec::new())).unwrap();
    observer.daemon(delivered("ben@b.example"));
    history.flush().await;
    assert_eq!(find(folder.path(), Key::address("ben@b.example")).len(), 1);
    observer.daemon(delivered("eve@b.example"));
    history.stop().await;
    assert_eq!(find(folder.path(), Key::address("eve@b.example")).len(), 1);
    observer.daemon(delivered("joe@b.example"));
    history.flush().await;
}

#[test]
fn what_a_later_version_writes_is_shown_and_not_in_the_way() {
    let kept: What = serde_json::from_str(r#"{"event":"teleported","to":"mars"}"#).unwrap();
    assert_eq!(kept, What::Unknown);
    assert!(kept.to_string().contains("later version"));
}

fn event() -> impl Strategy<Value = (Subject, Event)> {
    let address = "[a-zA-Z\"ü.]{1,8}@[a-zA-Z.ü]{1,12}";
    let message = proptest::strategy::LazyJust::new(|| Subject::Message(id()));
    let trouble = || Trouble::new(Step::Rcpt, Reason::TimedOut);
    prop_oneof![
        (message, address, proptest::collection::vec(address, 0..5), "<[!-~]{1,20}>").prop_map(
            |(id, from, to, message_id)| {
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                (id, accepted(&from, &to, &message_id))
            }
        ),
        (message, address).prop_map(|(id, to)| (id, delivered(&to))),
        (message, address).prop_map(move |(id, to)| {
            let (connector, host) = ("mx".into(), None);
            (id, Event::Deferred { to, connector, host, trouble: trouble(), next: start() })
        }),
        ("s[0-9a-f]{1,8}-[0-9a-f]{1,4}", "\\PC{1,20}", any::<u8>())
            .prop_map(|(id, address, client)| (session(&id), refused(&address, client))),
        ("s[0-9a-f]{1,8}-[0-9a-f]{1,4}", "\\PC{1,20}", any::<[u8; 4]>()).prop_map(|(id, user, client)| {
            (session(&id), failed_sign_in(&user, SignInFault::WrongPassword, client))
        }),
        "\\PC{1,20}".prop_map(|user| (session("s1-1"), Event::SignedIn { user, by: Proof::Password })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_was_written_is_found_by_each_of_its_keys(events in proptest::collection::vec(event(), 1..15)) {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Keeper::new(folder.path());
        for (second, (id, event)) in (0..).zip(events) {
            // Each in its own minute, so that none is too many.
            keep(&mut keeper, vec![note(at(second * 60), id, event)], at(second * 60));
        }
        let connection = rusqlite::Connection::open(folder.path().join("events.db")).unwrap();
        let mut seen = HashSet::new();
        for table in ["mail_event", "stranger_event"] {
            let mut rows = connection.prepare(&format!("SELECT time, about, text FROM {table}")).unwrap();
            let kept = rows.query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
            });
            for row in kept.unwrap() {
                let (time, id, text) = row.unwrap();
                let what = serde_json::from_str(&text).unwrap();
                let kept = Kept { time: Timestamp::from_millisecond(time).unwrap(), id, what };
                for key in kept.keys() {
                    prop_assert!(find(folder.path(), key.clone()).contains(&kept), "{key} does not find {kept:?}");
                    seen.insert(key);
                }
            }
        }
        prop_assert!(!seen.is_empty());
    }
}
