//! What the caller's own task does before the writer has to: grouping, encoding, syncing a large message's file.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use crate::draft::{Content, MEMORY_LIMIT, SpoolFile, blocking};
use crate::row::{Pending, by_destination};
use crate::{Destination, Error, Message, NewMessage};

/// A message that the writer only has to insert.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) message: Message,
    /// The message as JSON.
    pub(super) meta: String,
    pub(super) head: Bytes,
    /// Small content is in memory; a large one's file goes away again unless the commit succeeds.
    pub(super) content: Content,
    pub(super) deliveries: Vec<PreparedDelivery>,
}

/// One delivery of such a message.
#[derive(Debug)]
pub(super) struct PreparedDelivery {
    pub(super) destination: Destination,
    /// The recipients as JSON.
    pub(super) json: String,
    pub(super) recipients: Vec<Pending>,
}

/// Makes a message ready for the writer.
pub(super) async fn prepare(now: Timestamp, new: NewMessage, spool: &Arc<Path>) -> Result<Prepared, Error> {
    if new.envelope.recipients.is_empty() {
        return Err(Error::Unfit("it has no recipients"));
    }
    let message = Message::accept(now, &new);
    let meta = json(&message)?;
    let mut deliveries = Vec::new();
    for (destination, recipients) in by_destination(new.envelope) {
        deliveries.push(PreparedDelivery { destination, json: json(&recipients)?, recipients });
    }
    let content = match new.draft.finish().await? {
        Content::Memory(content) if content.len() > MEMORY_LIMIT => {
            let (spool, id) = (spool.clone(), message.id);
            Content::File(blocking(move || SpoolFile::store(&spool, id, &content)).await?)
        }
        content => content,
    };
    Ok(Prepared { message, meta, head: new.head, content, deliveries })
}

impl Prepared {
    /// About how much memory and log it takes.
    pub(super) fn cost(&self) -> usize {
        let content = match &self.content {
            Content::Memory(content) => content.len(),
            Content::File(_) => 0,
        };
        let deliveries: usize = self.deliveries.iter().map(|delivery| delivery.json.len()).sum();
        content + self.head.len() + self.meta.len() + deliveries
    }
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|_| Error::Unfit("its envelope cannot be written as JSON"))
}
