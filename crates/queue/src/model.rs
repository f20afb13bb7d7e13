//! The queue's nouns.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use jiff::Timestamp;
use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::envelope::{BodyType, Notify, OriginalRecipient, Ret};
use postern_smtp::outcome::Trouble;
use serde::{Deserialize, Serialize};

use crate::{Draft, QueueId};

/// What deliveries are grouped by: the recipient's domain in lower-case ASCII, or an address literal's text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Destination(pub String);

/// A message about to be accepted: its id was given by [`Store::begin`](crate::Store::begin).
#[derive(Debug)]
pub struct NewMessage {
    /// Who sent it, to whom.
    pub envelope: Envelope,
    /// Header fields that we put before the content: `Received` and repairs. Ends with CRLF, or is empty.
    pub head: Bytes,
    /// The content, as it came.
    pub draft: Draft,
    /// Why it is to be held until somebody releases it; `None`: it is due at once.
    pub hold: Option<String>,
}

/// Who sent a message, how, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where reports go.
    pub from: ReversePath,
    /// DSN: how much a report returns.
    pub ret: Option<Ret>,
    /// DSN: the sender's own id.
    pub envid: Option<String>,
    /// What MAIL said of the content.
    pub body: Option<BodyType>,
    /// MAIL asked for SMTPUTF8.
    pub smtputf8: bool,
    /// Whether the content holds octets over 127.
    pub eight_bit: bool,
    /// Whether the header section holds octets over 127 (RFC 6532).
    pub utf8_headers: bool,
    /// What the sender wants of TLS on the way.
    #[serde(default)]
    pub tls: SenderTls,
    /// Where it came from.
    pub origin: Origin,
    /// For whom it is. Never empty.
    pub recipients: Vec<Recipient>,
}

impl Envelope {
    /// An envelope that asks for nothing in particular, of content in ASCII: what machines write, such as reports.
    pub fn plain(from: ReversePath, recipients: Vec<Recipient>) -> Self {
        Self {
            from,
            ret: None,
            envid: None,
            body: None,
            smtputf8: false,
            eight_bit: false,
            utf8_headers: false,
            tls: SenderTls::AsPolicy,
            origin: Origin::default(),
            recipients,
        }
    }
}

/// What a message's sender wants of TLS on the rest of its way (RFC 8689). Messages of versions that did not know of it
/// say nothing, which is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SenderTls {
    /// Nothing: the policy of the destination counts alone.
    #[default]
    AsPolicy,
    /// `REQUIRETLS` (RFC 8689 §2): only encrypted, and only to servers that prove who they are and promise the same.
    Required,
    /// `TLS-Required: No` (RFC 8689 §3): rather in clear or to an unproved server than not at all.
    NotRequired,
}

/// Where a message came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origin {
    /// The listener's name; `None` for messages of our own (reports).
    pub listener: Option<String>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The signed-in principal.
    pub user: Option<String>,
    /// The session's id, as in the log.
    pub session: Option<String>,
    /// The device that the client is known as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// One recipient of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// The address to deliver to (after aliases).
    pub address: Mailbox,
    /// What the delivery is grouped by.
    pub destination: Destination,
    /// DSN: when to report; `None` is the default (failure and delay).
    pub notify: Option<Notify>,
    /// DSN: the recipient as the sender first wrote it.
    pub orcpt: Option<OriginalRecipient>,
}

impl Recipient {
    /// A recipient of whom nobody said anything.
    pub fn plain(address: Mailbox, destination: Destination) -> Self {
        Self { address, destination, notify: None, orcpt: None }
    }
}

/// A recipient's number, unique in its message: its index in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipientId(pub u32);

/// Names one lease of one batch. A lapsed or taken-over lease can record nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseId(pub u64);

/// What a scheduler can take on now.
#[derive(Debug, Clone, Default)]
pub struct LeaseRequest {
    /// At most so many batches in all.
    pub limit: usize,
    /// At most so many batches for a destination that `room` does not name.
    pub per_destination: usize,
    /// What is left for particular destinations; 0 takes none.
    pub room: HashMap<Destination, usize>,
    /// The lease lapses at this time unless renewed.
    pub until: Option<Timestamp>,
}

/// One message for one destination, leased for an attempt.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The lease to record under.
    pub lease: LeaseId,
    /// The message.
    pub id: QueueId,
    /// The destination.
    pub destination: Destination,
    /// The message, without content and without the recipients of other destinations.
    pub message: Message,
    /// How many attempts were recorded before this one.
    pub attempts: u32,
    /// Those still to be delivered.
    pub recipients: Vec<(RecipientId, Recipient)>,
    /// Whether the sender was already told of the delay.
    pub delay_reported: bool,
    /// The delivery was ended by an administrator and wants a report, not an attempt.
    pub bounce: bool,
}

/// What the queue knows of a message, apart from content and recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: QueueId,
    /// When responsibility was taken.
    pub accepted: Timestamp,
    /// Octets, our own header fields included.
    pub size: u64,
    /// Where reports go.
    pub from: ReversePath,
    /// DSN: how much a report returns.
    pub ret: Option<Ret>,
    /// DSN: the sender's own id.
    pub envid: Option<String>,
    /// What MAIL said of the content.
    pub body: Option<BodyType>,
    /// MAIL asked for SMTPUTF8.
    pub smtputf8: bool,
    /// Whether the content holds octets over 127.
    pub eight_bit: bool,
    /// Whether the header section holds octets over 127.
    pub utf8_headers: bool,
    /// What the sender wants of TLS on the way.
    #[serde(default)]
    pub tls: SenderTls,
    /// Where it came from.
    pub origin: Origin,
    /// Why it was held when it came in; it stays when it is released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// What is to happen next to a recipient after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// It is over: delivered, or failed and reported (or silent by the sender's wish).
    Done,
    /// Try again.
    Retry {
        /// When.
        due: Timestamp,
        /// Why it did not go now.
        trouble: Trouble,
    },
}

/// What an attempt came to, to be recorded in one transaction.
#[derive(Debug)]
pub struct Settled {
    /// The lease it was done under.
    pub lease: LeaseId,
    /// What happens to each recipient of the batch.
    pub dispositions: Vec<(RecipientId, Disposition)>,
    /// The sender has now been told of the delay.
    pub delay_reported: bool,
    /// Reports to enqueue in the same transaction.
    pub follow_ups: Vec<NewMessage>,
}

/// Which deliveries an operator means. All given conditions must hold; none given means all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// These messages.
    pub ids: Vec<QueueId>,
    /// This message and those that came after it: whoever pages through a long queue goes on from here.
    #[serde(default)]
    pub from: Option<QueueId>,
    /// This destination, or `*.example.org` for everything below it.
    pub destination: Option<String>,
    /// This reverse-path (`<>` for reports), or `@example.org` for a whole domain.
    pub sender: Option<String>,
    /// This recipient address.
    pub recipient: Option<String>,
    /// Accepted before this time.
    pub accepted_before: Option<Timestamp>,
    /// The last trouble's words hold this text, in any case.
    pub reason: Option<String>,
    /// Only held ones, or only ones not held.
    pub held: Option<bool>,
    /// What this principal sent.
    #[serde(default)]
    pub user: Option<String>,
    /// Only those of messages that were held when they came in, or only of others.
    #[serde(default)]
    pub held_at_entry: Option<bool>,
}

/// A page of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// At most so many deliveries.
    pub limit: usize,
    /// Skip so many first.
    pub offset: usize,
}

/// One message for one destination, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The destination.
    pub destination: Destination,
    /// Attempts recorded.
    pub attempts: u32,
    /// When the next attempt is due; `None` while it is held.
    pub due: Option<Timestamp>,
    /// An attempt is under way.
    pub leased: bool,
    /// Held by an administrator.
    pub held: bool,
    /// Those still to be delivered.
    pub recipients: Vec<RecipientState>,
}

/// A recipient still to be delivered, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// The recipient.
    pub recipient: Recipient,
    /// Why the last attempt did not succeed.
    pub trouble: Option<Trouble>,
}

/// What an operator does to deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Due now.
    Retry,
    /// Due now, with the attempts counted anew, so that the schedule begins from its start. What is held stays held. The
    /// time at which the message is given up is that of its acceptance, and stays.
    Reroute,
    /// Not tried until released.
    Hold,
    /// Tried again, from now.
    Release,
    /// Ended, with a report to the sender: the next lease brings it with [`Batch::bounce`] set.
    Bounce,
    /// Ended without a report. Leased deliveries too: what the attempt records later is ignored.
    Remove,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
