//! One delivery as both stores keep it, and what attempts and operators do to it. Pure.

use jiff::Timestamp;
use postern_smtp::outcome::Trouble;
use serde::{Deserialize, Serialize};

use crate::{
    Change, Delivery, Destination, Disposition, Envelope, Message, NewMessage, QueueId, Recipient,
    RecipientId, RecipientState, Settled,
};

/// One message for one destination: what is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// When the next attempt is due.
    pub(crate) due: Timestamp,
    /// Attempts recorded.
    pub(crate) attempts: u32,
    /// Not to be tried until released.
    pub(crate) held: bool,
    /// To be ended with a report.
    pub(crate) bounce: bool,
    /// The sender knows of the delay.
    pub(crate) delay_reported: bool,
    /// Those still to be delivered. Never empty.
    pub(crate) recipients: Vec<Pending>,
}

/// A recipient still to be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) id: RecipientId,
    pub(crate) recipient: Recipient,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<Trouble>,
}

/// Where a delivery stands in the agenda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) due: Timestamp,
    pub(crate) held: bool,
}

impl Row {
    /// A delivery that came in just now with its message: due at once, unless the message is held.
    pub(crate) fn fresh(message: &Message, recipients: Vec<Pending>) -> Self {
        let Slot { due, held } = message.slot();
        Self { due, attempts: 0, held, bounce: false, delay_reported: false, recipients }
    }

    pub(crate) fn slot(&self) -> Slot {
        Slot { due: self.due, held: self.held }
    }

    /// Writes what an attempt came to. With no recipient left the delivery is over.
    pub(crate) fn settle(&mut self, now: Timestamp, settled: &Settled) {
        let mut next: Option<Timestamp> = None;
        for (id, disposition) in &settled.dispositions {
            match disposition {
                Disposition::Done => self.recipients.retain(|pending| pending.id != *id),
                Disposition::Retry { due, trouble } => {
                    next = Some(next.map_or(*due, |next| next.min(*due)));
                    for pending in self.recipients.iter_mut().filter(|pending| pending.id == *id) {
                        pending.trouble = Some(trouble.clone());
                    }
                }
            }
        }
        // An operator's wish to end it does not wait for the next attempt.
        self.due = if self.bounce { now } else { whole_micros(next.unwrap_or(now)) };
        self.attempts = self.attempts.saturating_add(1);
        self.delay_reported |= settled.delay_reported;
    }

    /// Does what an operator wants. [`Change::Remove`] is the store's business.
    pub(crate) fn amend(&mut self, now: Timestamp, change: Change) {
        match change {
            Change::Retry => self.due = now,
            Change::Reroute => (self.due, self.attempts) = (now, 0),
            Change::Hold => self.held = true,
            Change::Release if self.held => (self.held, self.due) = (false, now),
            Change::Bounce => (self.bounce, self.held, self.due) = (true, false, now),
            Change::Release | Change::Remove => {}
        }
    }

    /// As a listing shows it.
    pub(crate) fn listed(self, message: Message, destination: Destination, leased: bool) -> Delivery {
        let state =
            |pending: Pending| RecipientState { recipient: pending.recipient, trouble: pending.trouble };
        Delivery {
            message,
            destination,
            attempts: self.attempts,
            due: (!self.held).then_some(self.due),
            leased,
            held: self.held,
            recipients: self.recipients.into_iter().map(state).collect(),
        }
    }
}

impl Message {
    /// The message's own row from what came in.
    pub(crate) fn accept(now: Timestamp, new: &NewMessage) -> Self {
        let envelope = &new.envelope;
        Self {
            id: new.draft.id(),
            accepted: now,
            size: new.head.len() as u64 + new.draft.size(),
            from: envelope.from.clone(),
            ret: envelope.ret,
            envid: envelope.envid.clone(),
            body: envelope.body,
            smtputf8: envelope.smtputf8,
            eight_bit: envelope.eight_bit,
            utf8_headers: envelope.utf8_headers,
            tls: envelope.tls,
            origin: envelope.origin.clone(),
            hold: new.hold.clone(),
        }
    }

    /// Where its deliveries stand when it comes in.
    pub(crate) fn slot(&self) -> Slot {
        Slot { due: self.accepted, held: self.hold.is_some() }
    }
}

/// The recipients of each destination, in the order of the envelope.
pub(crate) fn by_destination(envelope: Envelope) -> Vec<(Destination, Vec<Pending>)> {
    let mut groups: Vec<(Destination, Vec<Pending>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (id, recipient) in (0..).map(RecipientId).zip(envelope.recipients) {
        let destination = recipient.destination.clone();
        let place = *places.entry(destination.clone()).or_insert_with(|| {
            groups.push((destination, Vec::new()));
            groups.len() - 1
        });
        groups[place].1.push(Pending { id, recipient, trouble: None });
    }
    groups
}

/// Times are kept in whole microseconds: cut here, so that memory and disk agree.
pub(crate) fn whole_micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}

/// Names a delivery.
pub(crate) type Key = (QueueId, Destination);
