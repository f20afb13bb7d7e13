//! Answers remembered for as long as they hold, and equal questions asked once.
//!
//! - [`Cached`] wraps any [`Resolver`] and is one. Share it: many deliveries to one destination ask the same.
//! - [`Limits`] says how many answers of each kind are kept, and how long at most.
//!
//! Whoever asks first asks for all who come while it is under way; when that one gives up, the next takes over. A hit is
//! one short lock, one look into a map and one copy. Time is tokio's, so that tests can turn the clock.
//!
//! What it deliberately does not do: refresh answers before they expire, or serve any that have.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::{Answer, LookupError, Mx, Resolver, TlsaRecord};

/// An answer larger than this, in octets of its texts, is not kept, so that the number of answers bounds their memory.
const LARGEST: usize = 8_192;

/// How much is remembered, and how long at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Answers of each kind (MX, addresses, PTR, TXT, TLSA, aliases).
    pub entries: usize,
    /// Records, if their own time to live is not shorter.
    pub records: Duration,
    /// That a name or a record does not exist (RFC 2308 §5).
    pub negative: Duration,
    /// That signatures are wrong (RFC 4035 §4.7, RFC 9520 §3.2).
    pub bogus: Duration,
    /// That nobody answered.
    pub temporary: Duration,
}

impl Default for Limits {
    /// 4096 answers; an hour, a minute, half a minute and two seconds.
    fn default() -> Self {
        Self {
            entries: 4_096,
            records: Duration::from_hours(1),
            negative: Duration::from_mins(1),
            bogus: Duration::from_secs(30),
            temporary: Duration::from_secs(2),
        }
    }
}

/// A resolver that remembers what another one answered.
pub struct Cached<R> {
    resolver: R,
    mx: Table<Vec<Mx>>,
    addresses: Table<Vec<IpAddr>>,
    ptr: Table<Vec<String>>,
    txt: Table<Vec<String>>,
    tlsa: Table<Vec<TlsaRecord>>,
    aliases: Table<String>,
}

impl<R: Resolver> Cached<R> {
    /// Remembers what `resolver` answers.
    pub fn new(resolver: R, limits: Limits) -> Self {
        Self {
            resolver,
            mx: Table::new(limits),
            addresses: Table::new(limits),
            ptr: Table::new(limits),
            txt: Table::new(limits),
            tlsa: Table::new(limits),
            aliases: Table::new(limits),
        }
    }

    /// Forgets all answers. Those that are being asked for are given to who waits for them, and not kept.
    pub fn forget(&self) {
        self.mx.clear();
        self.addresses.clear();
        self.ptr.clear();
        self.txt.clear();
        self.tlsa.clear();
        self.aliases.clear();
    }

    /// The one that is asked.
    pub fn resolver(&self) -> &R {
        &self.resolver
    }
}

#[async_trait]
impl<R: Resolver> Resolver for Cached<R> {
    async fn mx(&self, domain: &str) -> Result<Answer<Vec<Mx>>, LookupError> {
        self.mx.answer(&plain(domain), || self.resolver.mx(domain)).await
    }

    async fn addresses(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, LookupError> {
        self.addresses.answer(&plain(host), || self.resolver.addresses(host)).await
    }

    async fn ptr(&self, address: IpAddr) -> Result<Answer<Vec<String>>, LookupError> {
        self.ptr.answer(&address.to_string(), || self.resolver.ptr(address)).await
    }

    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError> {
        self.txt.answer(&plain(name), || self.resolver.txt(name)).await
    }

    async fn tlsa(&self, name: &str) -> Result<Answer<Vec<TlsaRecord>>, LookupError> {
        self.tlsa.answer(&plain(name), || self.resolver.tlsa(name)).await
    }

    async fn alias(&self, name: &str) -> Result<Answer<String>, LookupError> {
        self.aliases.answer(&plain(name), || self.resolver.alias(name)).await
    }
}

/// Equal names are one question. Names as programs write them need no copy.
fn plain(name: &str) -> Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The answers to one kind of question.
struct Table<T> {
    slots: Mutex<HashMap<Box<str>, Slot<T>>>,
    limits: Limits,
}

/// Where an answer stands, or will.
type Slot<T> = Arc<OnceCell<Kept<T>>>;

type Outcome<T> = Result<Answer<T>, LookupError>;

struct Kept<T> {
    outcome: Outcome<T>,
    until: Instant,
}

impl<T: Clone + Weigh> Table<T> {
    fn new(limits: Limits) -> Self {
        Self { slots: Mutex::default(), limits }
    }

    async fn answer<F>(&self, name: &str, ask: impl Fn() -> F) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>>,
    {
        let slot = self.slot(name);
        let kept = slot
            .get_or_init(|| async {
                let outcome = ask().await;
                Kept { until: Instant::now() + self.lifetime(&outcome), outcome }
            })
            .await;
        let left = kept.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.drop_slot(name, &slot);
        }
        let mut outcome = kept.outcome.clone();
        if let Ok(answer) = &mut outcome {
            answer.ttl = answer.ttl.min(left);
        }
        outcome
    }

    /// What holds for no time takes no room, unless another slot has come in its place.
    fn drop_slot(&self, name: &str, slot: &Slot<T>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.get(name).is_some_and(|there| Arc::ptr_eq(there, slot)) {
            slots.remove(name);
        }
    }

    fn clear(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The slot that holds for a name: with its answer, or for it.
    fn slot(&self, name: &str) -> Slot<T> {
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(name)
            && slot.get().is_none_or(|kept| now < kept.until)
        {
            return Arc::clone(slot);
        }
        if slots.len() >= self.limits.entries {
            make_room(&mut slots, now);
        }
        let slot = Slot::default();
        slots.insert(name.into(), Arc::clone(&slot));
        slot
    }

    fn lifetime(&self, outcome: &Outcome<T>) -> Duration {
        match outcome {
            Ok(answer) if answer.records.weight() > LARGEST => Duration::ZERO,
            Ok(answer) => answer.ttl.min(self.limits.records),
            Err(LookupError::NoSuchDomain { .. } | LookupError::NoRecords { .. }) => self.limits.negative,
            Err(LookupError::Bogus(_)) => self.limits.bogus,
            Err(LookupError::Temporary(_)) => self.limits.temporary,
            Err(LookupError::BadName(_)) => Duration::ZERO,
        }
    }
}

/// Throws out what has expired; when that is less than an eighth, others of no particular order as well, so that room
/// need not be made again soon.
fn make_room<T>(slots: &mut HashMap<Box<str>, Slot<T>>, now: Instant) {
    let wanted = slots.len() - slots.len() / 8;
    slots.retain(|_, slot| slot.get().is_none_or(|kept| now < kept.until));
    let mut surplus = slots.len().saturating_sub(wanted.saturating_sub(1));
    slots.retain(|_, _| {
        let stays = surplus == 0;
        surplus = surplus.saturating_sub(1);
        stays
    });
}

/// How much memory the texts of an answer take, in octets.
trait Weigh {
    fn weight(&self) -> usize;
}

impl<T: Weigh> Weigh for Vec<T> {
    fn weight(&self) -> usize {
        self.iter().map(Weigh::weight).sum()
    }
}

impl Weigh for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

impl Weigh for Mx {
    fn weight(&self) -> usize {
        self.exchange.len()
    }
}

impl Weigh for IpAddr {
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}

impl Weigh for TlsaRecord {
    fn weight(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dnssec;

    async fn asked(table: &Table<Vec<String>>, text: &str, ttl: u64) {
        let answer = || async {
            let (records, owner) = (vec![text.to_owned()], "example.org".to_owned());
            Ok(Answer { records, owner, dnssec: Dnssec::Insecure, ttl: Duration::from_secs(ttl) })
        };
        table.answer("example.org", answer).await.expect("an answer");
    }

    fn kept(table: &Table<Vec<String>>) -> usize {
        table.slots.lock().expect("no panic").len()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_kept_takes_no_room() {
        let table = Table::new(Limits::default());
        asked(&table, &"x".repeat(LARGEST + 1), 300).await;
        assert_eq!(kept(&table), 0, "too large");
        asked(&table, "x", 0).await;
        assert_eq!(kept(&table), 0, "no time to live");
        let bad = table.answer("bad", || async { Err(LookupError::BadName("bad".into())) }).await;
        assert_eq!((bad.is_err(), kept(&table)), (true, 0));
        asked(&table, "x", 300).await;
        assert_eq!(kept(&table), 1);
        table.clear();
        assert_eq!(kept(&table), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_came_in_another_s_place_stays() {
        let table = Table::new(Limits::default());
        asked(&table, "x", 300).await;
        table.drop_slot("example.org", &Slot::default());
        assert_eq!(kept(&table), 1);
    }
}
