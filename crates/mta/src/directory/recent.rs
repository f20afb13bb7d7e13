//! What was right a short time ago, so that a program with many sessions does not pay for its password in each.
//!
//! Neither passwords nor names are kept, only fingerprints under a key that dies with the process, and beside each what its
//! owner wants to find again. A [`Recent`] never grows beyond its bound, and forgets the oldest first.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use postern_pki::{ProcessKey, Tag};

/// A bounded table of what was right, by its fingerprint.
#[derive(Debug)]
pub(super) struct Recent<V> {
    key: ProcessKey,
    life: Duration,
    most: usize,
    known: Mutex<HashMap<Tag, (Instant, V)>>,
}

impl<V: Clone> Recent<V> {
    /// Entries count for no longer than `life`, and there are at most `most`.
    ///
    /// # Errors
    /// Local: the system has no randomness to give.
    pub(super) fn new(life: Duration, most: usize) -> Result<Self, postern_pki::Error> {
        Ok(Self { key: ProcessKey::random()?, life, most, known: Mutex::default() })
    }

    /// What was noted with exactly these parts no longer than `within` ago.
    pub(super) fn find(&self, parts: &[&[u8]], within: Duration, now: Instant) -> Option<V> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, value) = known.get(&self.key.tag(parts))?;
        (now.saturating_duration_since(*since) < within.min(self.life)).then(|| value.clone())
    }

    /// Notes that they were right. The time counts from the real check; finding an entry does not prolong it.
    pub(super) fn note(&self, parts: &[&[u8]], value: V, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most {
            make_room(&mut known, self.life, self.most, now);
        }
        known.insert(self.key.tag(parts), (now, value));
    }

    /// Forgets them.
    pub(super) fn forget(&self, parts: &[&[u8]]) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key.tag(parts));
    }
}

fn make_room<V>(known: &mut HashMap<Tag, (Instant, V)>, life: Duration, most: usize, now: Instant) {
    known.retain(|_, (since, _)| now.saturating_duration_since(*since) < life);
    if known.len() < most {
        return;
    }
    let oldest = known.iter().min_by_key(|(_, (since, _))| *since).map(|(tag, _)| *tag);
    if let Some(oldest) = oldest {
        known.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_mins(5);

    fn recent(most: usize) -> Recent<u32> {
        Recent::new(LIFE, most).unwrap()
    }

    #[test]
    fn only_the_very_same_parts_are_found_and_only_in_time() {
        let (recent, now) = (recent(10), Instant::now());
        recent.note(&[b"anna", b"pw"], 7, now);
        assert_eq!(recent.find(&[b"anna", b"pw"], LIFE, now), Some(7));
        assert_eq!(recent.find(&[b"anna", b"pW"], LIFE, now), None);
        assert_eq!(recent.find(&[b"annap", b"w"], LIFE, now), None);
        let later = now + Duration::from_mins(1);
        assert_eq!(recent.find(&[b"anna", b"pw"], Duration::from_secs(61), later), Some(7));
        assert_eq!(recent.find(&[b"anna", b"pw"], Duration::from_mins(1), later), None);
        assert_eq!(recent.find(&[b"anna", b"pw"], LIFE * 2, now + LIFE), None, "never beyond its life");
        recent.forget(&[b"anna", b"pw"]);
        assert_eq!(recent.find(&[b"anna", b"pw"], LIFE, now), None);
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound_and_drops_the_oldest() {
        let (recent, start) = (recent(3), Instant::now());
        for second in 0..10_u32 {
            recent.note(&[&second.to_be_bytes()], second, start + Duration::from_secs(second.into()));
        }
        let now = start + Duration::from_secs(10);
        assert_eq!(recent.known.lock().unwrap().len(), 3);
        assert_eq!(recent.find(&[&9_u32.to_be_bytes()], LIFE, now), Some(9));
        assert_eq!(recent.find(&[&0_u32.to_be_bytes()], LIFE, now), None);
    }
}
