//! What only a store on disk can do: survive, recover, refuse what it cannot open, and live through a full disk.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::*;
use postern_queue::{Change, Error, Filter, Options, QueueId, SenderTls, SqliteStore, Store};

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(dir).unwrap()
}

/// Speaks to the database as an administrator (or a fault) might, while no store has it.
fn tamper(dir: &Path, sql: &str) {
    rusqlite::Connection::open(dir.join("queue.db")).unwrap().execute_batch(sql).unwrap();
}

fn spooled(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir.join("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let content = vec![b'x'; 200_000];
    let large = message(&store, 1, &["1@a.example", "2@b.example"], &content).await;
    let large = store.enqueue(at(1), large).await.unwrap();
    let held = enqueue(&store, 2, &["3@c.example"]).await;
    store.amend(at(2), of(held), Change::Hold).await.unwrap();
    let batch = store.lease(at(1), up_to(1)).await.unwrap().remove(0);
    store.record(at(1), retry(&batch, 500)).await.unwrap();
    let before = store.find(Filter::default(), ALL).await.unwrap();
    drop(store);

    let store = open(dir.path());
    assert_eq!(store.find(Filter::default(), ALL).await.unwrap(), before);
    assert_eq!(store.count().await.unwrap(), (3, 1));
    assert_eq!(lease(&store, 499, 10).await.len(), 1);
    assert_eq!(lease(&store, 500, 10).await.len(), 1);
    assert_eq!(read(store.body(large).await.unwrap()).await, [HEAD, &content].concat());
    assert!(store.begin(at(-1000)).id() > held, "ids grow across a restart even if the clock went back");
}

/// Rows of versions that did not know of REQUIRETLS have no word about it.
#[tokio::test]
async fn a_message_of_an_earlier_version_asks_nothing_of_tls() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = enqueue(&store, 0, &["a@a.example"]).await;
    drop(store);
    tamper(dir.path(), "UPDATE message SET meta = json_remove(meta, '$.tls') WHERE meta LIKE '%\"tls\":%'");

    let store = open(dir.path());
    let found = store.find(Filter::default(), ALL).await.unwrap().remove(0).message;
    assert_eq!((found.id, found.tls), (id, SenderTls::AsPolicy));
    assert_eq!(lease_one(&store, 0).await.message, found);
}

#[tokio::test]
async fn leases_lapse_with_their_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    enqueue(&store, 0, &["a@a.example"]).await;
    let before = lease_one(&store, 0).await;
    drop(store);
    let store = open(dir.path());
    let after = lease_one(&store, 0).await;
    assert_eq!(after.id, before.id);
    assert!(matches!(store.record(at(1), done(&before)).await, Err(Error::LeaseLost)));
    store.record(at(1), done(&after)).await.unwrap();
}

#[tokio::test]
async fn a_file_goes_with_its_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large = message(&store, 0, &["a@a.example"], &vec![b'x'; 100_000]).await;
    let id = store.enqueue(at(0), large).await.unwrap();
    assert_eq!(spooled(dir.path()), [format!("{id}.body")]);
    let batch = lease_one(&store, 0).await;
    store.record(at(0), done(&batch)).await.unwrap();
    drop(store);
    assert_eq!(spooled(dir.path()), Vec::<String>::new());
}

#[tokio::test]
async fn files_that_no_message_names_are_removed_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large = message(&store, 0, &["a@a.example"], &vec![b'x'; 100_000]).await;
    let id = store.enqueue(at(0), large).await.unwrap();
    let (draft, orphan) = (store.begin(at(1)).id(), store.begin(at(1)).id());
    drop(store);
    fs::write(dir.path().join(format!("spool/{draft}.draft")), "x").unwrap();
    fs::write(dir.path().join(format!("spool/{orphan}.body")), "x").unwrap();
    fs::write(dir.path().join("spool/README"), "not ours to remove").unwrap();
    drop(open(dir.path()));
    assert_eq!(spooled(dir.path()), [format!("{id}.body"), "README".into()]);
}

#[tokio::test]
async fn a_queue_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let refused = SqliteStore::open(dir.path()).unwrap_err();
    assert!(matches!(&refused, Error::InUse { path } if path.ends_with("queue.lock")), "{refused}");
    drop(store);
    open(dir.path());
}

#[tokio::test]
async fn only_the_owner_can_read_the_queue() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large = message(&store, 0, &["a@a.example"], &vec![b'x'; 100_000]).await;
    let id = store.enqueue(at(0), large).await.unwrap();
    for name in ["queue.db", "queue.db-wal", "spool", &format!("spool/{id}.body")] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[tokio::test]
async fn a_newer_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    tamper(dir.path(), "PRAGMA user_version = 99");
    let refused = SqliteStore::open(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Newer { found: 99, .. }), "{refused}");
}

#[tokio::test]
async fn a_broken_database_is_named_with_its_remedy() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("queue.db"), vec![b'!'; 50_000]).unwrap();
    let refused = SqliteStore::open(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Broken { .. }));
    let words = refused.to_string();
    assert!(words.contains("queue.db") && words.contains(".recover"), "{words}");
}

#[tokio::test]
async fn rows_that_make_no_sense_are_set_aside_and_hold_up_nobody() {
    let faults = [
        ("UPDATE message SET meta = '{' WHERE id = (SELECT min(id) FROM message)", "its envelope"),
        (
            "UPDATE delivery SET recipients = '[]' WHERE message = (SELECT min(id) FROM message)",
            "its recipients",
        ),
        (
            "UPDATE delivery SET recipients = replace(recipients, 'bad@', 'b ad@') \
             WHERE message = (SELECT min(id) FROM message)",
            "its recipients",
        ),
        ("UPDATE delivery SET due = 'soon' WHERE message = (SELECT min(id) FROM message)", "a number"),
        (
            "UPDATE delivery SET destination = x'ff' WHERE message = (SELECT min(id) FROM message)",
            "its destination",
        ),
        ("DELETE FROM message WHERE id = (SELECT min(id) FROM message)", "its envelope"),
    ];
    for (fault, reason) in faults {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let bad = enqueue(&store, 0, &["bad@a.example"]).await;
        let good = enqueue(&store, 1, &["good@a.example"]).await;
        drop(store);
        tamper(dir.path(), fault);
        let store = open(dir.path());
        assert_eq!(lease_one(&store, 1).await.id, good, "{fault}");
        let quarantined = store.quarantined().await.unwrap();
        assert_eq!(quarantined.len(), 1, "{fault}");
        assert_eq!(quarantined[0].0, bad);
        assert!(quarantined[0].1.starts_with(reason), "{}", quarantined[0].1);
        assert_eq!(store.count().await.unwrap(), (1, 0), "{fault}");
        assert_eq!(ids(&store, Filter::default()).await, [good], "{fault}");
    }
}

#[tokio::test]
async fn a_listing_sets_aside_what_it_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bad = enqueue(&store, 0, &["bad@a.example", "bad@b.example"]).await;
    let good = enqueue(&store, 1, &["good@a.example"]).await;
    drop(store);
    tamper(dir.path(), "UPDATE message SET meta = 'x' WHERE id = (SELECT min(id) FROM message)");
    let store = open(dir.path());
    assert_eq!(ids(&store, Filter::default()).await, [good]);
    assert_eq!(store.quarantined().await.unwrap().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [bad]);
    assert_eq!(store.count().await.unwrap(), (1, 0));
    assert_eq!(lease_one(&store, 1).await.id, good);
}

#[tokio::test]
async fn a_message_whose_file_is_gone_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let large = message(&store, 0, &["a@a.example"], &vec![b'x'; 100_000]).await;
    let id = store.enqueue(at(0), large).await.unwrap();
    let batch = lease_one(&store, 0).await;
    fs::remove_file(dir.path().join(format!("spool/{id}.body"))).unwrap();
    assert!(matches!(store.body(id).await, Err(Error::Unreadable { .. })));
    assert_eq!(store.quarantined().await.unwrap().len(), 1);
    assert!(matches!(store.record(at(1), retry(&batch, 5)).await, Err(Error::LeaseLost)));
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

#[tokio::test]
async fn a_full_disk_refuses_whole_messages_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Some(2 * 1024 * 1024), ..Options::default() };
    let store = SqliteStore::open_with(dir.path(), options).unwrap();
    let content = vec![b'x'; 60_000];
    let mut taken = Vec::new();
    let refused = loop {
        let message = message(&store, 0, &["a@a.example"], &content).await;
        match store.enqueue(at(0), message).await {
            Ok(id) => taken.push(id),
            Err(error) => break error,
        }
        assert!(taken.len() < 100, "the limit does not hold");
    };
    assert!(matches!(refused, Error::Full { .. }), "{refused}");
    assert_eq!(ids(&store, Filter::default()).await, taken);
    assert_eq!(store.count().await.unwrap(), (taken.len() as u64, 0));
    store.amend(at(1), of(taken[0]), Change::Remove).await.unwrap();
    let message = message(&store, 1, &["a@a.example"], &content).await;
    store.enqueue(at(1), message).await.unwrap();
}

#[tokio::test]
async fn one_message_that_does_not_fit_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Some(1024 * 1024), ..Options::default() };
    let store = Arc::new(SqliteStore::open_with(dir.path(), options).unwrap());
    let mut waiting = Vec::new();
    for round in 0..40 {
        // One in two has an envelope larger than the whole database may be.
        let mut message = message(&*store, 0, &["a@a.example"], b"small").await;
        if round % 2 == 0 {
            message.envelope.envid = Some("e".repeat(2 * 1024 * 1024));
        }
        let store = store.clone();
        waiting.push((round, tokio::spawn(async move { store.enqueue(at(0), message).await })));
    }
    for (round, task) in waiting {
        let result = task.await.unwrap();
        assert_eq!(result.is_err(), round % 2 == 0, "{round}: {result:?}");
    }
    assert_eq!(store.count().await.unwrap(), (20, 0));
}

#[tokio::test]
async fn a_folder_that_takes_no_files_refuses_large_messages_only() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    fs::remove_dir(dir.path().join("spool")).unwrap();
    assert!(store.begin(at(0)).write(&vec![b'x'; 100_000]).await.is_err());
    enqueue(&store, 0, &["a@a.example"]).await;
}

const CRASH_DIR: &str = "POSTERN_QUEUE_CRASH_DIR";

/// Not a test of its own: the child of the next one. Enqueues from many tasks and says each id that was acknowledged.
#[tokio::test]
async fn child_that_enqueues_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else { return };
    let store = Arc::new(open(Path::new(&dir)));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0.. {
                    let size = if round % 5 == 4 { 100_000 } else { 4096 };
                    let message = message(&*store, round, &["a@a.example"], &vec![b'a' + task; size]).await;
                    let id = store.enqueue(at(round), message).await.unwrap();
                    println!("acknowledged {id} {task} {size}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    for acknowledged in [1, 40, 150] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_enqueues_until_it_is_killed", "--nocapture"])
            .env(CRASH_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ids = Vec::new();
        let mut remember = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            if let Some(place) = words.iter().position(|word| *word == "acknowledged")
                && let [id, task, size] = words[place + 1..]
            {
                ids.push((
                    id.parse::<QueueId>().unwrap(),
                    task.parse::<u8>().unwrap(),
                    size.parse::<usize>().unwrap(),
                ));
            }
            ids.len()
        };
        while remember(&lines.next().expect("the child goes on").unwrap()) < acknowledged {}
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too; a line cut short does not.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        for line in rest.iter().take(rest.len().saturating_sub(1)) {
            remember(line);
        }
        verify(dir.path(), &ids).await;
    }
}

async fn verify(dir: &Path, ids: &[(QueueId, u8, usize)]) {
    let store = open(dir);
    for (id, task, size) in ids {
        let content = read(store.body(*id).await.unwrap()).await;
        assert_eq!(content, [HEAD, &vec![b'a' + task; *size]].concat());
    }
    assert!(store.quarantined().await.unwrap().is_empty());
    let leased = lease(&store, 1_000_000, 100_000).await;
    assert!(ids.iter().all(|(id, ..)| leased.iter().any(|batch| batch.id == *id)));
}
