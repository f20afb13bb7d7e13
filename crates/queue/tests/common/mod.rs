//! What the queue's tests share: messages, times, and short ways to do what they do all the time.
#![allow(dead_code, clippy::unwrap_used, reason = "each test program uses its own part; tests may panic")]

use bytes::Bytes;
use jiff::Timestamp;
use postern_queue::{
    Batch, Body, Destination, Disposition, Envelope, Filter, LeaseRequest, NewMessage, Origin, QueueId,
    Recipient, RecipientId, Selection, SenderTls, Settled, Store,
};
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::outcome::{Reason, Step, Trouble};

pub(crate) const HEAD: &[u8] = b"Received: by here\r\n";
pub(crate) const ALL: Selection = Selection { limit: 1000, offset: 0 };

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

pub(crate) fn destination(name: &str) -> Destination {
    Destination(name.into())
}

pub(crate) fn recipient(address: &str) -> Recipient {
    let address: Mailbox = address.parse().unwrap();
    let destination = destination(&address.host.to_string());
    Recipient { address, destination, notify: None, orcpt: None }
}

pub(crate) fn envelope(recipients: &[&str]) -> Envelope {
    Envelope {
        from: ReversePath::Mailbox("anna@sender.example".parse().unwrap()),
        ret: None,
        envid: Some("e-1".into()),
        body: None,
        smtputf8: false,
        eight_bit: true,
        utf8_headers: false,
        tls: SenderTls::Required,
        origin: Origin { listener: Some("mx".into()), ..Origin::default() },
        recipients: recipients.iter().map(|address| recipient(address)).collect(),
    }
}

pub(crate) async fn message(store: &dyn Store, now: i64, recipients: &[&str], content: &[u8]) -> NewMessage {
    let mut draft = store.begin(at(now));
    for piece in content.chunks(50_000) {
        draft.write(piece).await.unwrap();
    }
    assert_eq!(draft.size(), content.len() as u64);
    NewMessage { envelope: envelope(recipients), head: Bytes::from_static(HEAD), draft, hold: None }
}

pub(crate) async fn enqueue(store: &dyn Store, now: i64, recipients: &[&str]) -> QueueId {
    let message = message(store, now, recipients, b"Subject: x\r\n\r\nhello\r\n").await;
    let id = message.draft.id();
    assert_eq!(store.enqueue(at(now), message).await.unwrap(), id);
    id
}

pub(crate) fn up_to(limit: usize) -> LeaseRequest {
    LeaseRequest { limit, per_destination: usize::MAX, ..LeaseRequest::default() }
}

pub(crate) async fn lease(store: &dyn Store, now: i64, limit: usize) -> Vec<Batch> {
    store.lease(at(now), up_to(limit)).await.unwrap()
}

pub(crate) async fn lease_one(store: &dyn Store, now: i64) -> Batch {
    let mut batches = lease(store, now, 10).await;
    assert_eq!(batches.len(), 1, "{batches:?}");
    batches.remove(0)
}

/// Whether nothing of the message is left.
pub(crate) async fn is_gone(store: &dyn Store, id: QueueId) -> bool {
    matches!(store.body(id).await, Err(postern_queue::Error::NotFound(missing)) if missing == id)
}

pub(crate) async fn read(mut body: Body) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(piece) = body.next().await.unwrap() {
        assert!(!piece.is_empty() && piece.len() <= 64 * 1024);
        content.extend_from_slice(&piece);
    }
    assert_eq!(content.len() as u64, body.size());
    content
}

pub(crate) fn trouble(text: &str) -> Trouble {
    Trouble::new(Step::Connect, Reason::ConnectFailed(text.into()))
}

pub(crate) fn settled(batch: &Batch, dispositions: Vec<(RecipientId, Disposition)>) -> Settled {
    Settled { lease: batch.lease, dispositions, delay_reported: false, follow_ups: Vec::new() }
}

pub(crate) fn done(batch: &Batch) -> Settled {
    settled(batch, batch.recipients.iter().map(|(id, _)| (*id, Disposition::Done)).collect())
}

pub(crate) fn retry(batch: &Batch, due: i64) -> Settled {
    let again = |id| (id, Disposition::Retry { due: at(due), trouble: trouble("no answer") });
    settled(batch, batch.recipients.iter().map(|(id, _)| again(*id)).collect())
}

pub(crate) fn of(id: QueueId) -> Filter {
    Filter { ids: vec![id], ..Filter::default() }
}

pub(crate) async fn ids(store: &dyn Store, filter: Filter) -> Vec<QueueId> {
    store.find(filter, ALL).await.unwrap().into_iter().map(|delivery| delivery.message.id).collect()
}
