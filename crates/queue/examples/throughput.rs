//! How fast the queue is, and what a message costs: `cargo run --release -p postern-queue --example throughput`.
//!
//! Arguments, all optional and in this order: messages (20000), tasks (20), octets of content (4096), folder (a temporary one).
//! Each task enqueues a message, leases one, reads its content and records it as delivered. Then the price of a lease is measured
//! with 100,000 messages waiting, half of them for one destination that takes nothing more.
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a measurement may stop at the first error"
)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_queue::{
    Batch, Destination, Disposition, Envelope, LeaseRequest, NewMessage, Options, Origin, Recipient,
    SenderTls, Settled, SqliteStore, Store,
};
use postern_smtp::address::ReversePath;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (messages, tasks, octets) = (number(20_000), number(20), number(4096));
    let temporary = tempfile::tempdir().unwrap();
    let dir = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    whole_life(&dir.join("life"), messages, tasks, octets).await;
    saturated(&dir.join("saturated")).await;
}

async fn whole_life(dir: &Path, messages: usize, tasks: usize, octets: usize) {
    std::fs::create_dir_all(dir).unwrap();
    let store = Arc::new(SqliteStore::open(dir).unwrap());
    let content = Arc::new(vec![b'x'; octets]);
    let (started, cpu) = (Instant::now(), cpu_time());
    let work: Vec<_> = (0..tasks)
        .map(|task| {
            let (store, content) = (store.clone(), content.clone());
            tokio::spawn(async move {
                for _ in 0..messages / tasks {
                    enqueue(&*store, &format!("d{task}.example"), &content).await;
                    for batch in lease(&*store, 1).await {
                        deliver(&*store, batch).await;
                    }
                }
            })
        })
        .collect();
    for task in work {
        task.await.unwrap();
    }
    // A task may find nothing when what is left was enqueued a moment after it looked at the clock.
    for batch in lease(&*store, tasks).await {
        deliver(&*store, batch).await;
    }
    let done = messages / tasks * tasks;
    report(&format!("enqueue, lease, read, record: {octets} octets, {tasks} tasks"), done, started, cpu);
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

async fn saturated(dir: &Path) {
    const WAITING: usize = 100_000;
    std::fs::create_dir_all(dir).unwrap();
    let options = Options { fresh_bytes: 0, ..Options::default() };
    let store = Arc::new(SqliteStore::open_with(dir, options).unwrap());
    let (started, cpu) = (Instant::now(), cpu_time());
    let work: Vec<_> = (0..100)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in 0..WAITING / 100 {
                    let name = if round % 2 == 0 {
                        "busy.example".into()
                    } else {
                        format!("d{task}-{round}.example")
                    };
                    enqueue(&*store, &name, b"x").await;
                }
            })
        })
        .collect();
    for task in work {
        task.await.unwrap();
    }
    report("enqueue only: 1 octet, 100 tasks", WAITING, started, cpu);
    let calls = 1000;
    let (started, cpu) = (Instant::now(), cpu_time());
    for _ in 0..calls {
        assert_eq!(lease(&*store, 10).await.len(), 10);
    }
    report("lease calls for 10 of 100,000, half of them saturated, read from disk", calls, started, cpu);
    drop(store);
    let started = Instant::now();
    let store = SqliteStore::open(dir).unwrap();
    println!(
        "opening with {} deliveries: {:.2} s",
        store.count().await.unwrap().0,
        started.elapsed().as_secs_f64()
    );
}

async fn enqueue(store: &dyn Store, domain: &str, content: &[u8]) {
    let now = Timestamp::now();
    let mut draft = store.begin(now);
    draft.write(content).await.unwrap();
    let recipient = Recipient {
        address: format!("somebody@{domain}").parse().unwrap(),
        destination: Destination(domain.into()),
        notify: None,
        orcpt: None,
    };
    let envelope = Envelope {
        from: ReversePath::Mailbox("sender@sender.example".parse().unwrap()),
        ret: None,
        envid: None,
        body: None,
        smtputf8: false,
        eight_bit: false,
        utf8_headers: false,
        tls: SenderTls::default(),
        origin: Origin { listener: Some("mx".into()), ..Origin::default() },
        recipients: vec![recipient],
    };
    let head =
        "Received: from client.example by mail.example.org with ESMTPS; Thu, 1 Jan 2026 00:00:00 +0000\r\n"
            .into();
    store.enqueue(now, NewMessage { envelope, head, draft, hold: None }).await.unwrap();
}

async fn lease(store: &dyn Store, limit: usize) -> Vec<Batch> {
    let now = Timestamp::now();
    let request = LeaseRequest {
        limit,
        per_destination: 1000,
        room: HashMap::from([(Destination("busy.example".into()), 0)]),
        until: now.checked_add(Duration::from_mins(10)).ok(),
    };
    store.lease(now, request).await.unwrap()
}

async fn deliver(store: &dyn Store, batch: Batch) {
    let mut body = store.body(batch.id).await.unwrap();
    while body.next().await.unwrap().is_some() {}
    let settled = Settled {
        lease: batch.lease,
        dispositions: batch.recipients.iter().map(|(id, _)| (*id, Disposition::Done)).collect(),
        delay_reported: false,
        follow_ups: Vec::new(),
    };
    store.record(Timestamp::now(), settled).await.unwrap();
}

fn report(what: &str, done: usize, started: Instant, cpu_before: Duration) {
    let (elapsed, cpu) = (started.elapsed(), cpu_time().saturating_sub(cpu_before));
    let each = cpu.as_secs_f64() * 1e6 / done as f64;
    println!("{what}: {:.0}/s, {each:.1} µs CPU each", done as f64 / elapsed.as_secs_f64());
}

/// User and system time of this process so far, in steps of 10 ms (proc(5), fields 14 and 15 of `stat`).
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}
