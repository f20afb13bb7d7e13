//! A bounded table that is written behind: what changed since the last time is known.
//!
//! A [`Book`] never holds more than its bound; when it is full, those that nobody asked for longest make room, an eighth of
//! them at a time. [`Changes`] are what the file has to hear. Generic over what is kept; pure.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A bounded table, by key.
#[derive(Debug)]
pub(super) struct Book<V> {
    kind: &'static str,
    most: usize,
    entries: HashMap<String, Entry<V>>,
    /// Those that are no longer here but may be in the file.
    gone: HashSet<String>,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    touched: Timestamp,
    changed: bool,
}

/// What the file has to hear of one book.
#[derive(Debug)]
pub(super) struct Changes {
    /// Which book.
    pub(super) kind: &'static str,
    /// Keys with when they were touched and their values as JSON.
    pub(super) written: Vec<(String, Timestamp, String)>,
    /// Keys that are gone.
    pub(super) gone: Vec<String>,
}

impl<V: Default + Serialize + DeserializeOwned> Book<V> {
    /// An empty one; `kind` is its name in the file.
    pub(super) fn new(kind: &'static str, most: usize) -> Self {
        Self { kind, most, entries: HashMap::new(), gone: HashSet::new() }
    }

    /// Its name in the file.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// What stands under a key.
    pub(super) fn find(&self, key: &str) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// What stands under a key, to be changed; an empty value if there was none.
    pub(super) fn open(&mut self, key: &str, now: Timestamp) -> &mut V {
        if !self.entries.contains_key(key) {
            self.make_room();
            self.gone.remove(key);
        }
        let fresh = || Entry { value: V::default(), touched: now, changed: true };
        let entry = self.entries.entry(key.to_owned()).or_insert_with(fresh);
        (entry.touched, entry.changed) = (now, true);
        &mut entry.value
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), &entry.value))
    }

    /// Forgets those that nobody touched for so long.
    pub(super) fn prune(&mut self, life: SignedDuration, now: Timestamp) {
        self.forget(|entry| now.duration_since(entry.touched) > life);
    }

    /// Takes in what was read from the file. What cannot be understood is forgotten there.
    pub(super) fn take_in(&mut self, key: String, touched: Timestamp, json: &str) {
        match serde_json::from_str(json) {
            Ok(value) if self.entries.len() < self.most => {
                self.entries.insert(key, Entry { value, touched, changed: false });
            }
            _ => {
                self.gone.insert(key);
            }
        }
    }

    /// What changed since the last time.
    pub(super) fn changes(&mut self) -> Changes {
        let mut written = Vec::new();
        for (key, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.changed) {
            entry.changed = false;
            // Plain data always has a form as JSON.
            let json = serde_json::to_string(&entry.value).unwrap_or_default();
            written.push((key.clone(), entry.touched, json));
        }
        Changes { kind: self.kind, written, gone: self.gone.drain().collect() }
    }

    /// The file did not hear of them: they are told again the next time.
    pub(super) fn not_written(&mut self, changes: Changes) {
        for (key, ..) in changes.written {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.changed = true;
            }
        }
        let gone = changes.gone.into_iter().filter(|key| !self.entries.contains_key(key));
        self.gone.extend(gone);
    }

    fn make_room(&mut self) {
        if self.entries.len() < self.most {
            return;
        }
        let mut ages: Vec<Timestamp> = self.entries.values().map(|entry| entry.touched).collect();
        let eighth = (ages.len() / 8).min(ages.len().saturating_sub(1));
        let (_, &mut oldest, _) = ages.select_nth_unstable(eighth);
        let mut left = eighth + 1;
        self.forget(|entry| {
            let goes = left > 0 && entry.touched <= oldest;
            left -= usize::from(goes);
            goes
        });
    }

    fn forget(&mut self, mut goes: impl FnMut(&Entry<V>) -> bool) {
        let gone = &mut self.gone;
        self.entries.retain(|key, entry| {
            let goes = goes(entry);
            if goes {
                gone.insert(key.clone());
            }
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    #[test]
    fn a_full_book_makes_room_for_the_new_and_forgets_the_idle_first() {
        let mut book: Book<u32> = Book::new("x", 16);
        for number in 0..1000 {
            *book.open(&number.to_string(), at(number)) += 1;
            book.open("regular", at(number));
            assert!(book.entries.len() <= 16);
        }
        assert!(book.find("999").is_some() && book.find("regular").is_some());
        assert_eq!(book.find("0"), None);
        let changes = book.changes();
        assert_eq!(changes.written.len() + changes.gone.len(), 1001);
    }

    #[test]
    fn many_of_the_same_age_do_not_all_go() {
        let mut book: Book<u32> = Book::new("x", 16);
        for number in 0..17 {
            book.open(&number.to_string(), at(0));
        }
        assert!(book.entries.len() > 10, "{}", book.entries.len());
    }

    #[test]
    fn what_was_not_written_is_told_again_and_the_rest_once() {
        let mut book: Book<u32> = Book::new("x", 16);
        *book.open("a", at(0)) = 1;
        let changes = book.changes();
        assert!(book.changes().written.is_empty());
        book.not_written(changes);
        let again = book.changes();
        assert_eq!(again.written, [("a".to_owned(), at(0), "1".to_owned())]);
        book.prune(SignedDuration::from_secs(10), at(11));
        assert_eq!(book.changes().gone, ["a"]);
    }

    #[test]
    fn rows_that_make_no_sense_are_forgotten_in_the_file_too() {
        let mut book: Book<u32> = Book::new("x", 16);
        book.take_in("good".into(), at(0), "7");
        book.take_in("bad".into(), at(0), "{");
        assert_eq!((book.find("good"), book.find("bad")), (Some(&7), None));
        assert_eq!(book.changes().gone, ["bad"]);
    }
}
