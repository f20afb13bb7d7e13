//! What every store must do, whatever it is made of. Each case runs on each store.
#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod common;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::*;
use postern_queue::{
    Change, Cursor, Draft, Error, Filter, LeaseRequest, NewMessage, QueueId, RecipientId, Selection,
    SenderTls, Settled, Store,
};
use postern_smtp::address::ReversePath;

/// Runs each case on the reference store, on the default store, and on the default store with no memory for fresh
/// messages, so that each answer has to come from the disk.
macro_rules! conformance {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $case() {
                super::$case(std::sync::Arc::new(postern_queue::MemoryStore::new())).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                super::$case(std::sync::Arc::new(postern_queue::SqliteStore::open(dir.path()).unwrap())).await;
            })*
        }
        mod sqlite_from_disk {
            $(#[tokio::test]
            async fn $case() {
                let dir = tempfile::tempdir().unwrap();
                let options = postern_queue::Options { fresh_bytes: 0, ..postern_queue::Options::default() };
                let store = postern_queue::SqliteStore::open_with(dir.path(), options).unwrap();
                super::$case(std::sync::Arc::new(store)).await;
            })*
        }
    };
}

conformance!(
    a_message_comes_back_as_it_went_in,
    a_message_without_recipients_is_refused,
    an_id_is_taken_once,
    a_dropped_draft_leaves_nothing,
    bodies_of_all_sizes_come_back_and_rewind,
    a_body_outlives_its_message,
    a_message_becomes_one_batch_for_each_destination,
    what_is_leased_is_not_leased_again,
    a_lapsed_lease_is_taken_over_and_records_nothing,
    a_renewed_lease_does_not_lapse,
    a_lease_without_end_does_not_lapse,
    the_oldest_due_comes_first,
    a_busy_destination_does_not_hold_up_others,
    room_counts_for_each_destination,
    what_is_done_is_gone,
    what_is_retried_comes_back_when_due,
    recipients_are_settled_one_by_one,
    a_reported_delay_is_remembered,
    follow_ups_come_with_the_record,
    follow_ups_of_a_lost_lease_are_not_taken,
    a_second_record_is_refused,
    next_due_is_that_of_the_first_that_waits,
    held_deliveries_wait_until_released,
    what_is_held_when_it_comes_in_waits_and_says_why,
    a_hold_during_an_attempt_holds_afterwards,
    a_bounce_comes_with_the_next_lease,
    a_bounce_during_an_attempt_does_not_wait,
    what_is_removed_during_an_attempt_records_nothing,
    retry_makes_due_now,
    reroute_makes_due_now_and_counts_anew,
    what_is_held_is_rerouted_when_it_is_released,
    filters_mean_what_they_say,
    listings_come_in_pages_oldest_first,
    a_cursor_passes_each_delivery_once_however_the_pages_fall,
    amend_says_how_many_there_were,
    counts_follow,
    many_tasks_share_the_queue,
    two_schedulers_never_have_the_same_delivery,
);

async fn a_message_comes_back_as_it_went_in(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 5, &["bob@b.example"]).await;
    let batch = lease_one(&*store, 5).await;
    let wanted = envelope(&["bob@b.example"]);
    assert_eq!((batch.id, batch.destination.clone()), (id, destination("b.example")));
    assert_eq!((batch.attempts, batch.bounce, batch.delay_reported), (0, false, false));
    assert_eq!(batch.recipients, [(RecipientId(0), wanted.recipients[0].clone())]);
    let message = store.find(of(id), ALL).await.unwrap().remove(0).message;
    assert_eq!(message, batch.message);
    assert_eq!((message.id, message.accepted), (id, at(5)));
    assert_eq!((message.from, message.envid, message.origin), (wanted.from, wanted.envid, wanted.origin));
    assert_eq!(message.tls, SenderTls::Required);
    assert!(message.eight_bit && !message.smtputf8 && !message.utf8_headers);
    let content = read(store.body(id).await.unwrap()).await;
    assert_eq!(content, [HEAD, b"Subject: x\r\n\r\nhello\r\n"].concat());
    assert_eq!(message.size, content.len() as u64);
}

async fn a_message_without_recipients_is_refused(store: Arc<dyn Store>) {
    let message = message(&*store, 0, &[], b"x").await;
    assert!(matches!(store.enqueue(at(0), message).await, Err(Error::Unfit(_))));
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

async fn an_id_is_taken_once(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let again = NewMessage {
        envelope: envelope(&["b@b.example"]),
        head: "".into(),
        draft: Draft::from_bytes(id, "other"),
        hold: None,
    };
    assert!(matches!(store.enqueue(at(0), again).await, Err(Error::Unfit(_))));
    assert_eq!(store.count().await.unwrap(), (1, 0));
    assert_eq!(lease_one(&*store, 0).await.destination, destination("a.example"));
}

async fn a_dropped_draft_leaves_nothing(store: Arc<dyn Store>) {
    let message = message(&*store, 0, &["a@a.example"], &vec![b'x'; 200_000]).await;
    let id = message.draft.id();
    drop(message);
    assert!(matches!(store.body(id).await, Err(Error::NotFound(missing)) if missing == id));
    assert!(is_gone(&*store, id).await);
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

async fn bodies_of_all_sizes_come_back_and_rewind(store: Arc<dyn Store>) {
    for size in [0, 1, 4096, 65_535, 65_536, 65_537, 300_000] {
        let content: Vec<u8> = (0u32..size).map(|octet| octet.to_le_bytes()[0]).collect();
        let message = message(&*store, 0, &["a@a.example"], &content).await;
        let id = store.enqueue(at(0), message).await.unwrap();
        let mut body = store.body(id).await.unwrap();
        let first = body.next().await.unwrap().unwrap();
        assert_eq!(first, HEAD);
        body.next().await.unwrap();
        body.rewind();
        assert_eq!(read(body).await, [HEAD, &content].concat());
    }
    let large = vec![b'r'; 100_000];
    let id = store.begin(at(0)).id();
    let report = NewMessage {
        envelope: envelope(&["a@a.example"]),
        head: "".into(),
        draft: Draft::from_bytes(id, large.clone()),
        hold: None,
    };
    store.enqueue(at(0), report).await.unwrap();
    assert_eq!(read(store.body(id).await.unwrap()).await, large);
}

async fn a_body_outlives_its_message(store: Arc<dyn Store>) {
    let content = vec![b'x'; 200_000];
    let message = message(&*store, 0, &["a@a.example"], &content).await;
    let id = store.enqueue(at(0), message).await.unwrap();
    let body = store.body(id).await.unwrap();
    let batch = lease_one(&*store, 0).await;
    store.record(at(0), done(&batch)).await.unwrap();
    assert!(matches!(store.body(id).await, Err(Error::NotFound(_))));
    assert_eq!(read(body).await, [HEAD, &content].concat());
}

async fn a_message_becomes_one_batch_for_each_destination(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["1@a.example", "2@b.example", "3@a.example"]).await;
    let batches = lease(&*store, 0, 10).await;
    let numbers: HashMap<String, Vec<u32>> = batches
        .iter()
        .map(|batch| (batch.destination.to_string(), batch.recipients.iter().map(|(id, _)| id.0).collect()))
        .collect();
    assert_eq!(numbers, HashMap::from([("a.example".into(), vec![0, 2]), ("b.example".into(), vec![1])]));
    store.record(at(0), done(&batches[0])).await.unwrap();
    assert!(!is_gone(&*store, batches[0].id).await, "the other destination still needs it");
    store.record(at(0), done(&batches[1])).await.unwrap();
    assert!(is_gone(&*store, batches[0].id).await);
}

async fn what_is_leased_is_not_leased_again(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example"]).await;
    assert_eq!(lease(&*store, 0, 10).await.len(), 1);
    assert_eq!(lease(&*store, 0, 10).await.len(), 0);
    assert!(store.find(Filter::default(), ALL).await.unwrap()[0].leased);
}

async fn a_lapsed_lease_is_taken_over_and_records_nothing(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let request = LeaseRequest { until: Some(at(60)), ..up_to(10) };
    let first = store.lease(at(0), request).await.unwrap().remove(0);
    assert_eq!(lease(&*store, 59, 10).await.len(), 0);
    let second = lease_one(&*store, 60).await;
    assert_ne!(first.lease, second.lease);
    assert_eq!(store.renew(vec![first.lease, second.lease], at(999)).await.unwrap(), [second.lease]);
    assert!(matches!(store.record(at(61), done(&first)).await, Err(Error::LeaseLost)));
    assert!(!is_gone(&*store, id).await);
    store.record(at(61), done(&second)).await.unwrap();
    assert!(is_gone(&*store, id).await);
}

async fn a_renewed_lease_does_not_lapse(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example"]).await;
    let request = LeaseRequest { until: Some(at(60)), ..up_to(10) };
    let batch = store.lease(at(0), request).await.unwrap().remove(0);
    assert_eq!(store.renew(vec![batch.lease], at(120)).await.unwrap(), [batch.lease]);
    assert_eq!(lease(&*store, 119, 10).await.len(), 0);
    store.record(at(119), done(&batch)).await.unwrap();
}

async fn a_lease_without_end_does_not_lapse(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    assert_eq!(lease(&*store, 1_000_000, 10).await.len(), 0);
    store.record(at(1_000_000), done(&batch)).await.unwrap();
}

async fn the_oldest_due_comes_first(store: Arc<dyn Store>) {
    let young = enqueue(&*store, 9, &["a@a.example"]).await;
    let old = enqueue(&*store, 3, &["b@b.example"]).await;
    let middle = enqueue(&*store, 6, &["c@a.example"]).await;
    enqueue(&*store, 11, &["d@d.example"]).await;
    let order: Vec<QueueId> = lease(&*store, 10, 2).await.iter().map(|batch| batch.id).collect();
    assert_eq!(order, [old, middle]);
    assert_eq!(lease_one(&*store, 10).await.id, young);
}

async fn a_busy_destination_does_not_hold_up_others(store: Arc<dyn Store>) {
    for second in 0..20 {
        enqueue(&*store, second, &["a@busy.example"]).await;
    }
    enqueue(&*store, 30, &["b@quiet.example"]).await;
    let request = LeaseRequest { per_destination: 2, ..up_to(10) };
    let names: Vec<String> = store
        .lease(at(30), request)
        .await
        .unwrap()
        .iter()
        .map(|batch| batch.destination.to_string())
        .collect();
    assert_eq!(names, ["busy.example", "busy.example", "quiet.example"]);
}

async fn room_counts_for_each_destination(store: Arc<dyn Store>) {
    for name in ["full", "some", "other"] {
        for _ in 0..5 {
            enqueue(&*store, 0, &[&format!("a@{name}.example")]).await;
        }
    }
    let room = HashMap::from([(destination("full.example"), 0), (destination("some.example"), 3)]);
    let request = LeaseRequest { per_destination: 1, room, ..up_to(100) };
    let mut taken: HashMap<String, usize> = HashMap::new();
    for batch in store.lease(at(0), request).await.unwrap() {
        *taken.entry(batch.destination.to_string()).or_default() += 1;
    }
    assert_eq!(taken, HashMap::from([("some.example".into(), 3), ("other.example".into(), 1)]));
}

async fn what_is_done_is_gone(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), done(&batch)).await.unwrap();
    assert!(is_gone(&*store, id).await);
    assert!(matches!(store.body(id).await, Err(Error::NotFound(_))));
    assert_eq!(store.count().await.unwrap(), (0, 0));
    assert_eq!(lease(&*store, 99, 10).await.len(), 0);
}

async fn what_is_retried_comes_back_when_due(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), retry(&batch, 100)).await.unwrap();
    assert_eq!(lease(&*store, 99, 10).await.len(), 0);
    let listed = store.find(Filter::default(), ALL).await.unwrap().remove(0);
    assert_eq!((listed.attempts, listed.due, listed.leased), (1, Some(at(100)), false));
    assert_eq!(listed.recipients[0].trouble, Some(trouble("no answer")));
    let again = lease_one(&*store, 100).await;
    assert_eq!((again.attempts, &again.recipients, &again.message), (1, &batch.recipients, &batch.message));
    store.record(at(100), done(&again)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

async fn recipients_are_settled_one_by_one(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["1@a.example", "2@a.example", "3@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    let mut half = retry(&batch, 50);
    half.dispositions[1] = (RecipientId(1), postern_queue::Disposition::Done);
    half.dispositions.remove(2);
    store.record(at(1), half).await.unwrap();
    let rest = lease_one(&*store, 50).await;
    let left: Vec<u32> = rest.recipients.iter().map(|(id, _)| id.0).collect();
    assert_eq!(left, [0, 2], "one is done, one is retried, one was not mentioned");
    store.record(at(51), done(&rest)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

async fn a_reported_delay_is_remembered(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), Settled { delay_reported: true, ..retry(&batch, 10) }).await.unwrap();
    let batch = lease_one(&*store, 10).await;
    assert!(batch.delay_reported);
    store.record(at(10), retry(&batch, 20)).await.unwrap();
    assert!(lease_one(&*store, 20).await.delay_reported);
}

async fn follow_ups_come_with_the_record(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    let mut report = message(&*store, 1, &["anna@sender.example"], &vec![b'r'; 70_000]).await;
    report.envelope.from = ReversePath::Null;
    let settled = Settled { follow_ups: vec![report], ..done(&batch) };
    store.record(at(1), settled).await.unwrap();
    assert!(is_gone(&*store, id).await);
    let report = lease_one(&*store, 1).await;
    assert_eq!((report.message.from.clone(), report.message.accepted), (ReversePath::Null, at(1)));
    assert_eq!(read(store.body(report.id).await.unwrap()).await.len(), 70_000 + HEAD.len());
}

async fn follow_ups_of_a_lost_lease_are_not_taken(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.amend(at(0), of(id), Change::Remove).await.unwrap();
    let report = message(&*store, 1, &["anna@sender.example"], &vec![b'r'; 70_000]).await;
    let report_id = report.draft.id();
    let settled = Settled { follow_ups: vec![report], ..done(&batch) };
    assert!(matches!(store.record(at(1), settled).await, Err(Error::LeaseLost)));
    assert_eq!(store.count().await.unwrap(), (0, 0));
    assert!(store.body(report_id).await.is_err());
}

async fn a_second_record_is_refused(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), retry(&batch, 10)).await.unwrap();
    assert!(matches!(store.record(at(1), done(&batch)).await, Err(Error::LeaseLost)));
    assert_eq!(store.count().await.unwrap(), (1, 0));
}

async fn next_due_is_that_of_the_first_that_waits(store: Arc<dyn Store>) {
    assert_eq!(store.next_due().await.unwrap(), None);
    let held = enqueue(&*store, 1, &["a@a.example"]).await;
    enqueue(&*store, 2, &["b@b.example"]).await;
    enqueue(&*store, 3, &["c@c.example"]).await;
    assert_eq!(store.next_due().await.unwrap(), Some(at(1)));
    store.amend(at(3), of(held), Change::Hold).await.unwrap();
    assert_eq!(store.next_due().await.unwrap(), Some(at(2)));
    assert_eq!(lease(&*store, 3, 1).await.len(), 1);
    assert_eq!(store.next_due().await.unwrap(), Some(at(3)));
}

async fn held_deliveries_wait_until_released(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    assert_eq!(store.amend(at(1), of(id), Change::Hold).await.unwrap(), 1);
    assert_eq!(lease(&*store, 99, 10).await.len(), 0);
    assert_eq!(store.count().await.unwrap(), (1, 1));
    let listed = store.find(Filter { held: Some(true), ..Filter::default() }, ALL).await.unwrap();
    assert_eq!((listed.len(), listed[0].held, listed[0].due), (1, true, None));
    assert_eq!(store.amend(at(50), of(id), Change::Release).await.unwrap(), 1);
    assert_eq!(store.next_due().await.unwrap(), Some(at(50)));
    assert_eq!(store.count().await.unwrap(), (1, 0));
    assert_eq!(lease_one(&*store, 50).await.id, id);
}

async fn what_is_held_when_it_comes_in_waits_and_says_why(store: Arc<dyn Store>) {
    let plain = enqueue(&*store, 0, &["a@a.example"]).await;
    let mut message = message(&*store, 0, &["b@b.example", "c@c.example"], b"x").await;
    message.hold = Some("too much at once".into());
    message.envelope.origin.user = Some("anna".into());
    let held = store.enqueue(at(0), message).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (3, 2));
    assert_eq!(lease_one(&*store, 1).await.id, plain);
    assert_eq!(store.next_due().await.unwrap(), None);
    let filter = |user: &str| Filter {
        user: Some(user.into()),
        held_at_entry: Some(true),
        held: Some(true),
        ..Filter::default()
    };
    let listed = store.find(filter("anna"), ALL).await.unwrap();
    assert_eq!(
        listed.iter().map(|delivery| (delivery.message.id, delivery.held)).collect::<Vec<_>>(),
        [(held, true), (held, true)]
    );
    assert_eq!(listed[0].message.hold.as_deref(), Some("too much at once"));
    assert_eq!(store.amend(at(2), filter("berta"), Change::Release).await.unwrap(), 0);
    assert_eq!(store.amend(at(2), filter("anna"), Change::Release).await.unwrap(), 2);
    assert_eq!(lease(&*store, 3, 10).await.len(), 2);
}

async fn a_hold_during_an_attempt_holds_afterwards(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.amend(at(1), of(id), Change::Hold).await.unwrap();
    store.record(at(2), retry(&batch, 5)).await.unwrap();
    assert_eq!(lease(&*store, 99, 10).await.len(), 0);
    assert_eq!(store.count().await.unwrap(), (1, 1));
    store.amend(at(99), of(id), Change::Release).await.unwrap();
    let batch = lease_one(&*store, 99).await;
    store.amend(at(99), of(id), Change::Hold).await.unwrap();
    store.record(at(99), done(&batch)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (0, 0), "what is delivered is delivered");
}

async fn a_bounce_comes_with_the_next_lease(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), retry(&batch, 5000)).await.unwrap();
    store.amend(at(2), of(id), Change::Hold).await.unwrap();
    assert_eq!(store.amend(at(3), of(id), Change::Bounce).await.unwrap(), 1);
    let batch = lease_one(&*store, 3).await;
    assert!(batch.bounce);
    store.record(at(3), done(&batch)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (0, 0));
}

async fn a_bounce_during_an_attempt_does_not_wait(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.amend(at(1), of(id), Change::Bounce).await.unwrap();
    assert_eq!(lease(&*store, 1, 10).await.len(), 0, "the attempt goes on");
    store.record(at(2), retry(&batch, 5000)).await.unwrap();
    assert!(lease_one(&*store, 2).await.bounce);
}

async fn what_is_removed_during_an_attempt_records_nothing(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example", "b@b.example"]).await;
    let batch = store.lease(at(0), up_to(1)).await.unwrap().remove(0);
    let filter = Filter { destination: Some(batch.destination.to_string()), ..of(id) };
    assert_eq!(store.amend(at(1), filter, Change::Remove).await.unwrap(), 1);
    assert!(matches!(store.record(at(2), retry(&batch, 9)).await, Err(Error::LeaseLost)));
    assert_eq!(store.renew(vec![batch.lease], at(9)).await.unwrap(), []);
    assert_eq!(store.count().await.unwrap(), (1, 0));
    assert_eq!(store.amend(at(3), Filter::default(), Change::Remove).await.unwrap(), 1);
    assert!(is_gone(&*store, id).await);
}

async fn retry_makes_due_now(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), retry(&batch, 5000)).await.unwrap();
    assert_eq!(store.amend(at(2), of(id), Change::Retry).await.unwrap(), 1);
    assert_eq!(store.next_due().await.unwrap(), Some(at(2)));
    assert_eq!(lease_one(&*store, 2).await.attempts, 1);
}

async fn reroute_makes_due_now_and_counts_anew(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    for second in [0, 1] {
        let batch = lease_one(&*store, second).await;
        store.record(at(second), retry(&batch, 1)).await.unwrap();
    }
    assert_eq!(store.find(of(id), ALL).await.unwrap()[0].attempts, 2);
    assert_eq!(store.amend(at(2), of(id), Change::Reroute).await.unwrap(), 1);
    let listed = store.find(of(id), ALL).await.unwrap().remove(0);
    assert_eq!((listed.attempts, listed.due), (0, Some(at(2))));
    assert!(listed.recipients[0].trouble.is_some(), "what was recorded is forgotten");
    assert_eq!(lease_one(&*store, 2).await.attempts, 0);
}

async fn what_is_held_is_rerouted_when_it_is_released(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example"]).await;
    let batch = lease_one(&*store, 0).await;
    store.record(at(1), retry(&batch, 5000)).await.unwrap();
    store.amend(at(1), of(id), Change::Hold).await.unwrap();
    store.amend(at(2), of(id), Change::Reroute).await.unwrap();
    assert_eq!(lease(&*store, 3, 10).await.len(), 0, "a held delivery was tried");
    store.amend(at(4), of(id), Change::Release).await.unwrap();
    assert_eq!(lease_one(&*store, 4).await.attempts, 0);
}

async fn filters_mean_what_they_say(store: Arc<dyn Store>) {
    let first = enqueue(&*store, 1, &["Anna@one.example"]).await;
    let batch = lease_one(&*store, 1).await;
    store.record(at(1), retry(&batch, 9)).await.unwrap();
    let mut report = message(&*store, 2, &["bob@mx.two.example"], b"x").await;
    report.envelope.from = ReversePath::Null;
    let second = store.enqueue(at(2), report).await.unwrap();
    store.amend(at(2), of(second), Change::Hold).await.unwrap();
    let any = Filter::default;
    let cases = [
        (any(), vec![first, second]),
        (Filter { ids: vec![second, first, second], ..any() }, vec![first, second]),
        (Filter { from: Some(first), ..any() }, vec![first, second]),
        (Filter { from: Some(second), ..any() }, vec![second]),
        (Filter { from: Some(second), ids: vec![first], ..any() }, vec![]),
        (Filter { destination: Some("ONE.example".into()), ..any() }, vec![first]),
        (Filter { destination: Some("*.two.example".into()), ..any() }, vec![second]),
        (Filter { destination: Some("two.example".into()), ..any() }, vec![]),
        (Filter { sender: Some("<>".into()), ..any() }, vec![second]),
        (Filter { sender: Some("anna@sender.example".into()), ..any() }, vec![first]),
        (Filter { sender: Some("@sender.example".into()), ..any() }, vec![first]),
        (Filter { recipient: Some("anna@one.example".into()), ..any() }, vec![first]),
        (Filter { accepted_before: Some(at(2)), ..any() }, vec![first]),
        (Filter { reason: Some("NO ANSWER".into()), ..any() }, vec![first]),
        (Filter { held: Some(true), ..any() }, vec![second]),
        (Filter { held: Some(false), ..any() }, vec![first]),
        (Filter { held: Some(false), sender: Some("<>".into()), ..any() }, vec![]),
    ];
    for (filter, wanted) in cases {
        assert_eq!(ids(&*store, filter.clone()).await, wanted, "{filter:?}");
    }
}

async fn listings_come_in_pages_oldest_first(store: Arc<dyn Store>) {
    let mut all = Vec::new();
    for second in 0..7 {
        all.push(enqueue(&*store, second, &["a@a.example"]).await);
    }
    let mut listed = Vec::new();
    for offset in [0, 3, 6, 9] {
        let page = store.find(Filter::default(), Selection { limit: 3, offset }).await.unwrap();
        listed.extend(page.into_iter().map(|delivery| delivery.message.id));
    }
    assert_eq!(listed, all);
    assert_eq!(store.find(Filter::default(), Selection { limit: 0, offset: 0 }).await.unwrap(), []);
}

async fn a_cursor_passes_each_delivery_once_however_the_pages_fall(store: Arc<dyn Store>) {
    for second in 0..5 {
        enqueue(&*store, second, &["a@a.example", "b@b.example", "c@c.example"]).await;
    }
    let wanted = store.find(Filter::default(), ALL).await.unwrap();
    for size in 1..17 {
        let mut cursor = Cursor::new(Filter::default(), size);
        let mut seen = Vec::new();
        while let Some((filter, page)) = cursor.request() {
            let found = store.find(filter, page).await.unwrap();
            cursor.pass(&found);
            seen.extend(found);
        }
        assert_eq!(seen, wanted, "pages of {size}");
    }
}

async fn amend_says_how_many_there_were(store: Arc<dyn Store>) {
    enqueue(&*store, 0, &["a@a.example", "b@b.example"]).await;
    enqueue(&*store, 0, &["c@a.example"]).await;
    let a = Filter { destination: Some("a.example".into()), ..Filter::default() };
    assert_eq!(store.amend(at(1), a.clone(), Change::Hold).await.unwrap(), 2);
    assert_eq!(store.amend(at(1), Filter::default(), Change::Retry).await.unwrap(), 3);
    assert_eq!(store.amend(at(1), a, Change::Remove).await.unwrap(), 2);
    assert_eq!(store.amend(at(1), Filter::default(), Change::Remove).await.unwrap(), 1);
    assert_eq!(store.amend(at(1), Filter::default(), Change::Remove).await.unwrap(), 0);
}

async fn counts_follow(store: Arc<dyn Store>) {
    let id = enqueue(&*store, 0, &["a@a.example", "b@b.example"]).await;
    assert_eq!(store.count().await.unwrap(), (2, 0));
    store.amend(at(0), of(id), Change::Hold).await.unwrap();
    store.amend(at(0), of(id), Change::Hold).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (2, 2));
    store.amend(at(0), of(id), Change::Remove).await.unwrap();
    assert_eq!(store.count().await.unwrap(), (0, 0));
    assert!(store.quarantined().await.unwrap().is_empty());
}

async fn many_tasks_share_the_queue(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut ids = Vec::new();
                for _ in 0..8 {
                    ids.push(enqueue(&*store, 0, &[&format!("a@d{}.example", task % 5)]).await);
                }
                ids
            })
        })
        .collect();
    let mut all = HashSet::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    assert_eq!(all.len(), 256);
    let leased: HashSet<QueueId> = lease(&*store, 0, 1000).await.iter().map(|batch| batch.id).collect();
    assert_eq!(leased, all);
}

async fn two_schedulers_never_have_the_same_delivery(store: Arc<dyn Store>) {
    for _ in 0..60 {
        enqueue(&*store, 0, &["a@a.example", "b@b.example"]).await;
    }
    let schedulers: Vec<_> = (0..4)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let batches = lease(&*store, 0, 7).await;
                    if batches.is_empty() {
                        return seen;
                    }
                    for batch in batches {
                        store.record(at(0), done(&batch)).await.unwrap();
                        seen.push((batch.id, batch.destination));
                    }
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    for scheduler in schedulers {
        seen.extend(scheduler.await.unwrap());
    }
    assert_eq!(seen.len(), 120);
    assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), 120);
    assert_eq!(store.count().await.unwrap(), (0, 0));
}
