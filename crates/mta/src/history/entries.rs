//! The index's smallest things: which event of a run has which key.
//!
//! Events have ids that only grow. 65,536 of them in a row are a run. An [`Entry`] is a key's number (48 bits) and the place of
//! the event in its run (16 bits) in one word, so that entries sort by key. When a run is complete its entries are sorted
//! and kept in [`BUCKETS`] pieces by the first bits of the number: a look-up reads one small piece of each run. The entries of
//! the run that grows are kept as they come.

/// Bits of an event's place in its run.
const PLACE_BITS: u32 = 16;
/// Events of a run.
pub(super) const RUN: i64 = 1 << PLACE_BITS;
/// Bits of a number that choose the bucket: of some 300,000 entries of a run, about 300 are in each, which fit a page.
const BUCKET_BITS: u32 = 10;
/// Buckets of a run.
pub(super) const BUCKETS: i64 = 1 << BUCKET_BITS;

/// An event of a run that has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u64);

impl Entry {
    /// That the event of this id has a key of this number.
    pub(super) fn new(number: u64, id: i64) -> Self {
        Self(number << PLACE_BITS | id.rem_euclid(RUN).unsigned_abs())
    }

    /// The event's id, in this run.
    fn id(self, run: i64) -> i64 {
        run * RUN + i64::try_from(self.0 & ((1 << PLACE_BITS) - 1)).unwrap_or_default()
    }

    fn number(self) -> u64 {
        self.0 >> PLACE_BITS
    }

    fn bucket(self) -> i64 {
        bucket_of(self.number())
    }
}

/// The run of an event.
pub(super) fn run_of(id: i64) -> i64 {
    id.div_euclid(RUN)
}

/// The row of a bucket.
pub(super) fn row_of(run: i64, number: u64) -> i64 {
    run * BUCKETS + bucket_of(number)
}

fn bucket_of(number: u64) -> i64 {
    i64::try_from(number >> (u64::BITS - PLACE_BITS - BUCKET_BITS)).unwrap_or_default()
}

/// A complete run's entries as they are kept: the row of each bucket that is not empty, and its octets.
pub(super) fn buckets(run: i64, mut entries: Vec<Entry>) -> Vec<(i64, Vec<u8>)> {
    entries.sort_unstable();
    entries.dedup();
    let pieces = entries.chunk_by(|one, next| one.bucket() == next.bucket());
    pieces.map(|piece| (run * BUCKETS + piece[0].bucket(), to_octets(piece))).collect()
}

/// As they are kept.
pub(super) fn to_octets(entries: &[Entry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.0.to_be_bytes()).collect()
}

/// As they were kept; what is no whole entry is left out.
pub(super) fn from_octets(octets: &[u8]) -> impl Iterator<Item = Entry> {
    octets.as_chunks::<8>().0.iter().map(|octets| Entry(u64::from_be_bytes(*octets)))
}

/// The ids in a sorted bucket whose key has this number, in order.
pub(super) fn ids_in(bucket: &[u8], run: i64, number: u64) -> impl Iterator<Item = i64> {
    let entries = bucket.as_chunks::<8>().0;
    let of = |octets: &[u8; 8]| Entry(u64::from_be_bytes(*octets));
    let first = entries.partition_point(|octets| of(octets).number() < number);
    let found = entries[first..].iter().map(of);
    found.take_while(move |entry| entry.number() == number).map(move |entry| entry.id(run))
}

/// The ids among unsorted entries whose key has this number.
pub(super) fn ids_among(entries: &[u8], run: i64, number: u64) -> impl Iterator<Item = i64> {
    from_octets(entries).filter(move |entry| entry.number() == number).map(move |entry| entry.id(run))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_into_a_run_is_found_in_its_bucket(
            run in 0i64..1000, all in proptest::collection::vec((0u64..1 << 48, 0i64..RUN), 1..300),
        ) {
            let entries = all.iter().map(|&(number, place)| Entry::new(number, run * RUN + place)).collect();
            let kept = buckets(run, entries);
            for (number, place) in all {
                let row = row_of(run, number);
                let bucket = kept.iter().find(|(kept, _)| *kept == row).expect("its bucket is kept");
                prop_assert!(ids_in(&bucket.1, run, number).any(|id| id == run * RUN + place));
            }
        }
    }

    #[test]
    fn another_number_in_the_same_bucket_is_not_taken_for_it() {
        let kept =
            buckets(3, vec![Entry::new(5, 3 * RUN + 1), Entry::new(6, 3 * RUN + 2), Entry::new(5, 3 * RUN)]);
        assert_eq!(ids_in(&kept[0].1, 3, 5).collect::<Vec<_>>(), [3 * RUN, 3 * RUN + 1]);
        assert_eq!(ids_in(&kept[0].1, 3, 4).count(), 0);
        assert_eq!(ids_in(&kept[0].1[..9], 3, 5).count(), 1, "half an entry is none");
    }
}
