//! Mail to the postmaster, from Postern itself, and what an administrator has Postern write to others.
//!
//! [`tell`] queues a [`Letter`] to the postmaster, [`write`] one to somebody else. What it deliberately does not do: decide what is worth one, or remember what was said.

use bytes::Bytes;
use jiff::Timestamp;
use postern_message::notice::Notice;
use postern_queue::{Draft, Envelope, NewMessage, QueueId};
use postern_smtp::address::{ForwardPath, Mailbox, ReversePath};

use crate::daemon::{Shared, Site};
use crate::event::{Event, Subject};
use crate::routing::Recipient;

/// What the postmaster is told.
#[derive(Debug)]
pub(crate) struct Letter {
    /// What kind of letter the log calls it.
    pub(crate) kind: &'static str,
    /// Its subject.
    pub(crate) subject: String,
    /// Its text.
    pub(crate) paragraphs: Vec<String>,
}

/// Queues the letter. Without a local domain and without a postmaster, nobody would get it.
///
/// # Errors
/// The queue does not take it.
pub(crate) async fn tell(
    shared: &Shared,
    site: &Site,
    letter: Letter,
    now: Timestamp,
) -> Result<(), postern_queue::Error> {
    let config = &site.config;
    if config.domains.is_empty() && config.postmaster.is_none() {
        return Ok(());
    }
    let Ok(Recipient::Local(to)) = site.routing.recipient(&ForwardPath::Postmaster, &shared.users) else {
        return Ok(());
    };
    if to.is_empty() {
        return Ok(());
    }
    write(shared, site, to, letter, now).await.map(|_| ())
}

/// Queues a letter to somebody. The first of the addresses stands in its To: field; there has to be one.
///
/// # Errors
/// The queue does not take it.
pub(crate) async fn write(
    shared: &Shared,
    site: &Site,
    to: Vec<Mailbox>,
    letter: Letter,
    now: Timestamp,
) -> Result<QueueId, postern_queue::Error> {
    let config = &site.config;
    let first = to.first().unwrap_or(&config.report_from);
    let id = shared.store.begin(now).id();
    let content = Notice {
        from: &config.report_from,
        to: first,
        subject: &letter.subject,
        paragraphs: &letter.paragraphs,
        hostname: config.hostname.as_str(),
        now,
        unique: &id.to_string(),
    }
    .compose();
    let shown = first.to_string();
    let envelope = envelope(site, &config.report_from, to);
    let draft = Draft::from_bytes(id, content);
    let message = NewMessage { envelope, head: Bytes::new(), draft, hold: None };
    let id = shared.store.enqueue(now, message).await?;
    shared.wake.notify_one();
    let kind = letter.kind.to_owned();
    shared.observer.emit(Subject::Message(id), Event::Reported { kind, to: shown, report: id });
    Ok(id)
}

/// What a machine writes gets no report back (RFC 3834 §2); that it could not be delivered is in the log.
fn envelope(site: &Site, from: &Mailbox, to: Vec<Mailbox>) -> Envelope {
    let recipients = to.into_iter().map(|address| site.routing.plain_recipient(address)).collect();
    Envelope::plain(ReversePath::Mailbox(from.clone()), recipients)
}
