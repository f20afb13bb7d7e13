//! The cache: how long answers are kept, and that equal questions are asked once. Time is turned by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use postern_dns::{Answer, Cached, Dnssec, Limits, LookupError, Mx, Resolver, TlsaRecord};
use postern_testkit::dns::{ScriptedResolver, Zone};
use tokio::sync::Semaphore;
use tokio::time::advance;

fn cached(zone: Zone) -> (ScriptedResolver, Cached<ScriptedResolver>) {
    let scripted = ScriptedResolver::new(zone);
    (scripted.clone(), Cached::new(scripted, Limits::default()))
}

/// How often the scripted resolver was asked while `time` passed in one go between two lookups.
async fn asked_again_after(zone: Zone, time: Duration) -> bool {
    let (scripted, cached) = cached(zone);
    let first = cached.mx("example.org").await;
    advance(time).await;
    assert_eq!(
        cached.mx("example.org").await.map(|answer| answer.records),
        first.map(|answer| answer.records)
    );
    scripted.queries().len() == 2
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn each_outcome_is_kept_for_its_own_time() {
    let mx = || Zone::new().mx("example.org", 10, "mx.example.org");
    for (zone, kept) in [
        (mx().ttl(300), 300),
        (mx().ttl(1_000_000), 3_600),
        (Zone::new(), 60),
        (Zone::new().empty("example.org"), 60),
        (mx().ttl(300).bogus("example.org"), 30),
        (mx().ttl(300).failing("example.org"), 2),
    ] {
        assert!(!asked_again_after(zone.clone(), seconds(kept - 1)).await, "{zone:?}");
        assert!(asked_again_after(zone.clone(), seconds(kept)).await, "{zone:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_holds_for_no_time_is_asked_again() {
    assert!(asked_again_after(Zone::new().mx("example.org", 10, "a.example"), Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn the_time_that_is_left_is_told() {
    let (_, cached) = cached(Zone::new().mx("example.org", 10, "a.example").ttl(300).secure("example.org"));
    assert_eq!(cached.mx("example.org").await.expect("an answer").ttl, seconds(300));
    advance(seconds(100)).await;
    let answer = cached.mx("example.org").await.expect("an answer");
    assert_eq!((answer.ttl, answer.dnssec), (seconds(200), Dnssec::Secure));
}

#[tokio::test]
async fn names_are_equal_whatever_their_case_and_last_dot() {
    let (scripted, cached) = cached(Zone::new().mx("example.org", 10, "a.example").ttl(300));
    for name in ["example.org", "EXAMPLE.org", "example.org."] {
        cached.mx(name).await.expect("an answer");
    }
    assert_eq!(scripted.queries().len(), 1);
}

#[tokio::test]
async fn every_kind_of_question_is_remembered_on_its_own() {
    let address: IpAddr = [192, 0, 2, 1].into();
    let zone = Zone::new()
        .mx("example.org", 10, "a.example")
        .address("example.org", address)
        .txt("example.org", "text")
        .tlsa("example.org", 3, 1, 1, &[1; 32])
        .ptr(address, "example.org")
        .cname("www.example.org", "example.org")
        .ttl(300);
    let (scripted, cached) = cached(zone);
    for _ in 0..3 {
        assert_eq!(cached.mx("example.org").await.expect("an answer").records[0].exchange, "a.example");
        assert_eq!(cached.addresses("example.org").await.expect("an answer").records, [address]);
        assert_eq!(cached.txt("example.org").await.expect("an answer").records, ["text"]);
        assert_eq!(cached.tlsa("example.org").await.expect("an answer").records[0].usage, 3);
        assert_eq!(cached.ptr(address).await.expect("an answer").records, ["example.org"]);
        assert_eq!(cached.alias("www.example.org").await.expect("an answer").records, "example.org");
    }
    // Addresses are two questions.
    assert_eq!(scripted.queries().len(), 7);
}

#[tokio::test]
async fn a_huge_answer_is_passed_on_and_not_kept() {
    let (scripted, cached) = cached(Zone::new().txt("example.org", &"x".repeat(9_000)).ttl(300));
    for _ in 0..2 {
        assert_eq!(cached.txt("example.org").await.expect("an answer").records[0].len(), 9_000);
    }
    assert_eq!(scripted.queries().len(), 2);
}

#[tokio::test]
async fn no_more_answers_are_kept_than_allowed_and_the_newest_is_among_them() {
    let zone = (0..100).fold(Zone::new().ttl(300), |zone, n| zone.txt(&format!("n{n}.example"), "x"));
    let scripted = ScriptedResolver::new(zone);
    let cached = Cached::new(scripted.clone(), Limits { entries: 16, ..Limits::default() });
    for n in 0..100 {
        cached.txt(&format!("n{n}.example")).await.expect("an answer");
    }
    cached.txt("n99.example").await.expect("an answer");
    assert_eq!(scripted.queries().len(), 100);
    for n in 0..100 {
        cached.txt(&format!("n{n}.example")).await.expect("an answer");
    }
    assert!(scripted.queries().len() >= 100 + 100 - 16, "{}", scripted.queries().len());
}

/// Answers when it is let, and counts.
#[derive(Clone)]
struct Slow {
    gate: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl Slow {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), asked: Arc::default() }
    }
}

#[async_trait]
impl Resolver for Slow {
    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let _permit = self.gate.acquire().await.expect("open");
        let (records, owner) = (vec!["x".to_owned()], name.to_owned());
        Ok(Answer { records, owner, dnssec: Dnssec::Secure, ttl: Duration::from_secs(9) })
    }

    async fn mx(&self, _: &str) -> Result<Answer<Vec<Mx>>, LookupError> {
        Err(LookupError::Temporary("not scripted".into()))
    }

    async fn addresses(&self, _: &str) -> Result<Answer<Vec<IpAddr>>, LookupError> {
        Err(LookupError::Temporary("not scripted".into()))
    }

    async fn ptr(&self, _: IpAddr) -> Result<Answer<Vec<String>>, LookupError> {
        Err(LookupError::Temporary("not scripted".into()))
    }

    async fn tlsa(&self, _: &str) -> Result<Answer<Vec<TlsaRecord>>, LookupError> {
        Err(LookupError::Temporary("not scripted".into()))
    }

    async fn alias(&self, _: &str) -> Result<Answer<String>, LookupError> {
        Err(LookupError::Temporary("not scripted".into()))
    }
}

#[tokio::test]
async fn equal_questions_at_once_are_asked_once() {
    let slow = Slow::new();
    let cached = Arc::new(Cached::new(slow.clone(), Limits::default()));
    let ask = || {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { cached.txt("example.org").await })
    };
    let waiting: Vec<_> = (0..50).map(|_| ask()).collect();
    tokio::task::yield_now().await;
    slow.gate.add_permits(1);
    for lookup in waiting {
        assert_eq!(lookup.await.expect("no panic").expect("an answer").records, ["x"]);
    }
    assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn when_the_one_who_asks_gives_up_the_next_one_asks() {
    let slow = Slow::new();
    let cached = Arc::new(Cached::new(slow.clone(), Limits::default()));
    let ask = || {
        let cached = Arc::clone(&cached);
        tokio::spawn(async move { cached.txt("example.org").await })
    };
    let (first, second) = (ask(), ask());
    while slow.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    first.abort();
    slow.gate.add_permits(1);
    assert!(first.await.expect_err("given up").is_cancelled());
    assert_eq!(second.await.expect("no panic").expect("an answer").records, ["x"]);
    assert_eq!(slow.asked.load(Ordering::SeqCst), 2);
}
