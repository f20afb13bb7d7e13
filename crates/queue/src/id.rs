//! Queue ids: time-ordered 63-bit numbers that people read as 13 characters.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Names a message in the queue, in the log and in the `250` its sender saw: `0D4K1V7M2Q8ZT`.
///
/// The high 42 bits count milliseconds since 2020, the low 21 are drawn at random, so ids sort by age and those of a
/// restarted daemon do not meet those of its predecessor. Written in Crockford's base32, upper case; read in any case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueId(u64);

/// Why a text is not a queue id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueIdError {
    /// Not 13 characters long.
    #[error("a queue id has {LENGTH} characters, not {0}")]
    Length(usize),
    /// A character that the alphabet does not have.
    #[error("{0:?} cannot stand in a queue id (digits, and letters without I, L, O and U)")]
    Character(char),
    /// Greater than any id can be.
    #[error("no queue id is that large: it begins with 0 to 7")]
    TooLarge,
}

/// Crockford's alphabet: no I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LENGTH: usize = 13;
const RANDOM_BITS: u32 = 21;
/// 2020-01-01T00:00:00Z in milliseconds since 1970.
const EPOCH: i64 = 1_577_836_800_000;
const LARGEST: u64 = (1 << 63) - 1;

impl QueueId {
    /// When it was drawn, to the millisecond: just before the message came.
    pub fn time(self) -> Timestamp {
        let milliseconds = i64::try_from(self.0 >> RANDOM_BITS).unwrap_or(i64::MAX).saturating_add(EPOCH);
        Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::MAX)
    }

    /// As SQLite keeps it. Never negative.
    pub(crate) fn to_row(self) -> i64 {
        self.0.cast_signed()
    }

    /// From SQLite; `None` for what we never wrote.
    pub(crate) fn from_row(row: i64) -> Option<Self> {
        u64::try_from(row).ok().map(Self)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; LENGTH];
        let mut rest = self.0;
        for place in text.iter_mut().rev() {
            *place = ALPHABET[(rest & 31) as usize];
            rest >>= 5;
        }
        f.pad(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QueueId({self})")
    }
}

impl FromStr for QueueId {
    type Err = QueueIdError;

    fn from_str(text: &str) -> Result<Self, QueueIdError> {
        let length = text.chars().count();
        if length != LENGTH {
            return Err(QueueIdError::Length(length));
        }
        let mut value: u128 = 0;
        for character in text.chars() {
            value = (value << 5) | u128::from(digit(character).ok_or(QueueIdError::Character(character))?);
        }
        match u64::try_from(value) {
            Ok(value) if value <= LARGEST => Ok(Self(value)),
            _ => Err(QueueIdError::TooLarge),
        }
    }
}

impl TryFrom<String> for QueueId {
    type Error = QueueIdError;

    fn try_from(text: String) -> Result<Self, QueueIdError> {
        text.parse()
    }
}

impl From<QueueId> for String {
    fn from(id: QueueId) -> Self {
        id.to_string()
    }
}

fn digit(character: char) -> Option<u8> {
    let upper = u8::try_from(character).ok()?.to_ascii_uppercase();
    let meant = match upper {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    ALPHABET.iter().position(|known| *known == meant).and_then(|place| u8::try_from(place).ok())
}

/// Gives ids, each greater than all before it.
#[derive(Debug, Default)]
pub(crate) struct IdSource {
    last: AtomicU64,
}

impl IdSource {
    /// Starts above an id that is in use already.
    pub(crate) fn above(id: Option<QueueId>) -> Self {
        Self { last: AtomicU64::new(id.map_or(0, |id| id.0)) }
    }

    /// A fresh id. When the clock stands still or goes back, ids still grow.
    pub(crate) fn next(&self, now: Timestamp) -> QueueId {
        let millis = u64::try_from(now.as_millisecond().saturating_sub(EPOCH)).unwrap_or(0);
        let drawn = ((millis << RANDOM_BITS) | u64::from(fastrand::u32(..1 << RANDOM_BITS))) & LARGEST;
        let grow = |last: u64| Some(drawn.max(last + 1));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow).unwrap_or(0);
        QueueId(drawn.max(last + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn ids_sort_by_age() {
        let ids = IdSource::default();
        let early = ids.next(at(1_700_000_000));
        let late = ids.next(at(1_700_000_001));
        assert!(early < late);
        assert!(early.to_string() < late.to_string());
    }

    #[test]
    fn ids_grow_when_the_clock_goes_back() {
        let ids = IdSource::default();
        let first = ids.next(at(1_700_000_000));
        let second = ids.next(at(1_600_000_000));
        assert!(second > first);
        assert!(IdSource::above(Some(second)).next(at(1_500_000_000)) > second);
    }

    #[test]
    fn an_id_is_read_in_any_case_and_with_look_alikes() {
        let id: QueueId = "01ABCDEFGHJKM".parse().unwrap();
        assert_eq!("oiabcdefghjkm".parse(), Ok(id));
        assert_eq!(id.to_string(), "01ABCDEFGHJKM");
    }

    #[test]
    fn what_is_no_id_is_named() {
        assert_eq!("".parse::<QueueId>(), Err(QueueIdError::Length(0)));
        assert_eq!("0000000000U00".parse::<QueueId>(), Err(QueueIdError::Character('U')));
        assert_eq!("8000000000000".parse::<QueueId>(), Err(QueueIdError::TooLarge));
        assert_eq!("ééééééééééééé".parse::<QueueId>(), Err(QueueIdError::Character('é')));
    }

    proptest! {
        #[test]
        fn display_and_parse_are_inverse(value in 0..=LARGEST) {
            let id = QueueId(value);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
            prop_assert_eq!(QueueId::from_row(id.to_row()), Some(id));
        }
    }
}
