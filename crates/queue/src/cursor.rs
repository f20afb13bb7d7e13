//! Going through a long listing page by page.
//!
//! A [`Cursor`] says which page to ask for next: each begins with the message that the one before ended with, so that a page
//! costs the same however far it is from the start. What changes meanwhile may be seen or missed.
//!
//! What it deliberately does not do: ask.

use crate::{Delivery, Filter, Selection};

/// Where somebody stands who goes through what a filter means, oldest message first.
#[derive(Debug, Clone)]
pub struct Cursor {
    filter: Filter,
    page: Selection,
    left: Left,
}

/// Whether there may be more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    More,
    Nothing,
}

impl Cursor {
    /// At the start; pages have so many deliveries, at least one.
    pub fn new(filter: Filter, page: usize) -> Self {
        Self { filter, page: Selection { limit: page.max(1), offset: 0 }, left: Left::More }
    }

    /// What to ask for next; `None` at the end.
    pub fn request(&self) -> Option<(Filter, Selection)> {
        (self.left == Left::More).then(|| (self.filter.clone(), self.page))
    }

    /// Goes on behind the page that was asked for.
    pub fn pass(&mut self, found: &[Delivery]) {
        let Some(last) = found.last().map(|delivery| delivery.message.id) else {
            self.left = Left::Nothing;
            return;
        };
        if found.len() < self.page.limit {
            self.left = Left::Nothing;
        }
        // The next page begins with the last message, of which so many deliveries were seen.
        let of_last = found.iter().rev().take_while(|delivery| delivery.message.id == last).count();
        let before = if self.filter.from == Some(last) { self.page.offset } else { 0 };
        self.page.offset = before + of_last;
        self.filter.from = Some(last);
    }
}
