//! Recent sign-ins that succeeded, so that a program with many sessions does not pay for its password in each.
//!
//! Neither passwords nor names are kept, only fingerprints under a key that dies with the process. The stored hash
//! is part of the fingerprint: a changed password makes the old entries worthless at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use postern_pki::{ProcessKey, Tag};
use postern_smtp::secret::Secret;

/// A bounded table of recent successes.
#[derive(Debug)]
pub(super) struct Recent {
    key: ProcessKey,
    life: Duration,
    most: usize,
    since: HashMap<Tag, Instant>,
}

impl Recent {
    pub(super) fn new(key: ProcessKey, life: Duration, most: usize) -> Self {
        Self { key, life, most, since: HashMap::new() }
    }

    /// Whether this very password was right for this user not long ago.
    pub(super) fn remembers(&self, user: &str, hash: &str, password: &Secret, now: Instant) -> bool {
        self.since.get(&self.tag(user, hash, password)).is_some_and(|since| self.is_fresh(*since, now))
    }

    /// Notes that it was right. The time counts from the real check; using an entry does not prolong it.
    pub(super) fn remember(&mut self, user: &str, hash: &str, password: &Secret, now: Instant) {
        if self.since.len() >= self.most {
            self.make_room(now);
        }
        let tag = self.tag(user, hash, password);
        self.since.insert(tag, now);
    }

    fn tag(&self, user: &str, hash: &str, password: &Secret) -> Tag {
        self.key.tag(&[user.as_bytes(), hash.as_bytes(), password.expose()])
    }

    fn is_fresh(&self, since: Instant, now: Instant) -> bool {
        now.saturating_duration_since(since) < self.life
    }

    fn make_room(&mut self, now: Instant) {
        let life = self.life;
        self.since.retain(|_, since| now.saturating_duration_since(*since) < life);
        if self.since.len() < self.most {
            return;
        }
        let oldest = self.since.iter().min_by_key(|(_, since)| **since).map(|(tag, _)| *tag);
        if let Some(oldest) = oldest {
            self.since.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_mins(5);

    fn recent(most: usize) -> Recent {
        Recent::new(ProcessKey::random().unwrap(), LIFE, most)
    }

    #[test]
    fn only_the_same_user_password_and_hash_are_remembered() {
        let (mut recent, now) = (recent(10), Instant::now());
        recent.remember("anna", "$hash", &Secret::new("pw"), now);
        assert!(recent.remembers("anna", "$hash", &Secret::new("pw"), now));
        assert!(!recent.remembers("anna", "$hash", &Secret::new("pW"), now));
        assert!(!recent.remembers("anna", "$other", &Secret::new("pw"), now));
        assert!(!recent.remembers("bert", "$hash", &Secret::new("pw"), now));
    }

    #[test]
    fn a_sign_in_is_forgotten_after_its_life() {
        let (mut recent, now) = (recent(10), Instant::now());
        recent.remember("anna", "$hash", &Secret::new("pw"), now);
        assert!(recent.remembers("anna", "$hash", &Secret::new("pw"), now + Duration::from_secs(299)));
        assert!(!recent.remembers("anna", "$hash", &Secret::new("pw"), now + LIFE));
    }

    #[test]
    fn the_table_never_grows_beyond_its_bound_and_drops_the_oldest() {
        let (mut recent, start) = (recent(3), Instant::now());
        for second in 0..10_u64 {
            recent.remember(
                &format!("user{second}"),
                "$hash",
                &Secret::new("pw"),
                start + Duration::from_secs(second),
            );
        }
        let now = start + Duration::from_secs(10);
        assert_eq!(recent.since.len(), 3);
        assert!(recent.remembers("user9", "$hash", &Secret::new("pw"), now));
        assert!(!recent.remembers("user0", "$hash", &Secret::new("pw"), now));
    }
}
