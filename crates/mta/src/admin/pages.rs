//! Walking through a queue of any length, a page at a time, and what is told of it in few words.
//!
//! [`Pages`] asks the store for one page after the other. [`FewOf`] is the first few of many names, and how many there are.
//!
//! What it deliberately does not do: hold more than a page, or a snapshot of the queue.

use std::collections::BTreeSet;

use postern_queue::{Cursor, Delivery, Error, Filter, Store};
use serde::{Deserialize, Serialize};

/// As many deliveries are asked for at a time.
const PAGE: usize = 1000;
/// So many names are told,
const NAMED_MOST: usize = 5;
/// and so many are counted.
const COUNTED_MOST: usize = 200;

/// A walk through what a filter means, oldest message first.
pub(crate) struct Pages<'a> {
    store: &'a dyn Store,
    cursor: Cursor,
}

impl<'a> Pages<'a> {
    /// Begins the walk.
    pub(crate) fn new(store: &'a dyn Store, filter: Filter) -> Self {
        Self { store, cursor: Cursor::new(filter, PAGE) }
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Delivery>>, Error> {
        let Some((filter, page)) = self.cursor.request() else { return Ok(None) };
        let found = self.store.find(filter, page).await?;
        self.cursor.pass(&found);
        Ok(Some(found))
    }
}

/// The first few of many names, in the order of the alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FewOf {
    /// Those that are told.
    pub names: Vec<String>,
    /// How many there are in all; no more than 200 are counted.
    pub count: usize,
}

/// Names being counted.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// Counts a name in.
    pub(super) fn add(&mut self, name: &str) {
        if self.0.len() < COUNTED_MOST && !self.0.contains(name) {
            self.0.insert(name.to_owned());
        }
    }

    /// The first few.
    pub(super) fn few(self) -> FewOf {
        FewOf { count: self.0.len(), names: self.0.into_iter().take(NAMED_MOST).collect() }
    }
}

/// `a.example, b.example and 3 more`.
impl std::fmt::Display for FewOf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.names.join(", "))?;
        match self.count.saturating_sub(self.names.len()) {
            0 => Ok(()),
            _ if self.count >= COUNTED_MOST => write!(f, " and many more"),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::Bytes;
    use jiff::Timestamp;
    use postern_queue::{Draft, Envelope, NewMessage, QueueId, Recipient};
    use postern_smtp::address::{Mailbox, ReversePath};

    use super::*;
    use crate::routing::destination_of;

    /// A message in the queue.
    pub(crate) async fn enqueue(store: &dyn Store, now: Timestamp, recipients: &[&str]) -> QueueId {
        let recipient = |address: &&str| {
            let address: Mailbox = address.parse().unwrap();
            let destination = destination_of(&address);
            Recipient::plain(address, destination)
        };
        let envelope = Envelope::plain(ReversePath::Null, recipients.iter().map(recipient).collect());
        let id = store.begin(now).id();
        let draft = Draft::from_bytes(id, Bytes::from_static(b"x\r\n"));
        store.enqueue(now, NewMessage { envelope, head: Bytes::new(), draft, hold: None }).await.unwrap()
    }

    #[test]
    fn many_names_are_told_in_few() {
        let mut names = Names::default();
        (0..7).for_each(|name| names.add(&format!("{name}.example")));
        names.add("0.example");
        let told = names.few().to_string();
        assert!(told.starts_with("0.example, 1.example") && told.ends_with("4.example and 2 more"), "{told}");
        let mut names = Names::default();
        (0..COUNTED_MOST + 7).for_each(|name| names.add(&format!("{name}.example")));
        assert!(names.few().to_string().ends_with(" and many more"));
    }
}
