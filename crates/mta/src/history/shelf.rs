//! One shelf of the file: events in the order in which they came, and the index that finds them.
//!
//! There are two, [`Kind::Mail`] and [`Kind::Strangers`], with tables of their own, so that a flood of strangers takes nothing
//! from the events of mail. [`Shelf`] is the writer's side of one: it appends, completes runs, and takes the oldest away.
//!
//! A batch's entries lie in one row beside it; 256 such rows become one, so that the run that grows is read in few
//! steps however slowly it grows; a complete run is sorted into its buckets. Each entry is written three times at most.

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::entries::{BUCKETS, Entry, RUN, buckets, from_octets, run_of, to_octets};

/// So many rows of batches become one.
const FOLD: usize = 256;

/// Whose events are on a shelf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Mail, and people who signed in.
    Mail,
    /// Clients that never signed in and brought no mail.
    Strangers,
}

impl Kind {
    /// Both.
    pub(super) const ALL: [Self; 2] = [Self::Mail, Self::Strangers];

    /// A statement with this shelf's tables for `{}`.
    pub(super) fn sql(self, statement: &str) -> String {
        let name = match self {
            Self::Mail => "mail",
            Self::Strangers => "stranger",
        };
        statement.replace("{}", name)
    }
}

/// An event as it is written.
#[derive(Debug)]
pub(super) struct Row {
    /// Milliseconds since 1970.
    pub(super) time: i64,
    /// The id on its line.
    pub(super) about: String,
    /// The event as JSON.
    pub(super) text: String,
    /// The numbers of its keys.
    pub(super) numbers: Vec<u64>,
}

/// The writer's side of a shelf.
#[derive(Debug)]
pub(super) struct Shelf {
    kind: Kind,
    /// The id of the next event.
    next: i64,
    /// All entries of the run that grows.
    growing: Vec<Entry>,
    /// So many of them were folded.
    folded: usize,
    /// The rows of the others, by the first event of each.
    loose: Vec<i64>,
}

impl Shelf {
    /// As it is in the file.
    pub(super) fn load(transaction: &Transaction<'_>, kind: Kind) -> rusqlite::Result<Self> {
        let newest: Option<i64> = transaction
            .query_row(&kind.sql("SELECT seq FROM mark WHERE shelf = '{}'"), [], |row| row.get(0))
            .optional()?;
        let next = newest.unwrap_or(0);
        let mut shelf = Self { kind, next, growing: Vec::new(), folded: 0, loose: Vec::new() };
        let mut statement =
            transaction.prepare(&kind.sql("SELECT first, entries FROM {}_growing ORDER BY first"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            shelf.loose.push(row.get(0)?);
            shelf.growing.extend(from_octets(row.get_ref(1)?.as_blob()?));
        }
        // Which of them were folded is not known, and it does not matter: they are folded once more.
        Ok(shelf)
    }

    /// Adds events. What was added counts only once the transaction is committed: if it is not, load the shelf anew.
    pub(super) fn append(&mut self, transaction: &Transaction<'_>, rows: &[Row]) -> rusqlite::Result<()> {
        let mut rest = rows;
        while !rest.is_empty() {
            let room = usize::try_from(RUN - self.next.rem_euclid(RUN)).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at(rest.len().min(room));
            self.append_to_run(transaction, piece)?;
            if self.next.rem_euclid(RUN) == 0 {
                self.complete(transaction, run_of(self.next - 1))?;
            }
            rest = behind;
        }
        let statement = self.kind.sql("INSERT OR REPLACE INTO mark VALUES ('{}', ?1)");
        transaction.prepare_cached(&statement)?.execute([self.next])?;
        Ok(())
    }

    fn append_to_run(&mut self, transaction: &Transaction<'_>, rows: &[Row]) -> rusqlite::Result<()> {
        let (first, before) = (self.next, self.growing.len());
        let mut insert =
            transaction.prepare_cached(&self.kind.sql("INSERT INTO {}_event VALUES (?1, ?2, ?3, ?4)"))?;
        for row in rows {
            insert.execute(params![self.next, row.time, row.about, row.text])?;
            let id = self.next;
            self.growing.extend(row.numbers.iter().map(|number| Entry::new(*number, id)));
            self.next += 1;
        }
        self.write_growing(transaction, first, &to_octets(&self.growing[before..]))?;
        self.loose.push(first);
        if self.loose.len() >= FOLD { self.fold(transaction) } else { Ok(()) }
    }

    /// Many rows become one.
    fn fold(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let Some(&first) = self.loose.first() else { return Ok(()) };
        let statement = self.kind.sql("DELETE FROM {}_growing WHERE first >= ?1");
        transaction.prepare_cached(&statement)?.execute([first])?;
        self.write_growing(transaction, first, &to_octets(&self.growing[self.folded..]))?;
        self.folded = self.growing.len();
        self.loose.clear();
        Ok(())
    }

    fn write_growing(
        &self,
        transaction: &Transaction<'_>,
        first: i64,
        entries: &[u8],
    ) -> rusqlite::Result<()> {
        let statement = self.kind.sql("INSERT INTO {}_growing VALUES (?1, ?2)");
        transaction.prepare_cached(&statement)?.execute(params![first, entries]).map(drop)
    }

    /// The run that grew is complete: it is sorted into buckets.
    fn complete(&mut self, transaction: &Transaction<'_>, run: i64) -> rusqlite::Result<()> {
        let mut insert =
            transaction.prepare_cached(&self.kind.sql("INSERT INTO {}_bucket VALUES (?1, ?2)"))?;
        for (row, entries) in buckets(run, std::mem::take(&mut self.growing)) {
            insert.execute(params![row, entries])?;
        }
        transaction.execute(&self.kind.sql("DELETE FROM {}_growing"), [])?;
        self.folded = 0;
        self.loose.clear();
        Ok(())
    }

    /// Takes away at most so many of the oldest events: those beyond the newest `most`, and those from before a moment, up to
    /// the first that is not. Returns how many went.
    pub(super) fn trim(
        &self,
        transaction: &Transaction<'_>,
        Bound { most, before, at_once }: Bound,
    ) -> rusqlite::Result<usize> {
        let Some(oldest) = self.oldest(transaction)? else { return Ok(0) };
        let step = oldest.saturating_add(at_once);
        let statement =
            self.kind.sql("SELECT min(id) FROM {}_event WHERE id >= ?1 AND id < ?2 AND time >= ?3");
        let too_many = self.next.saturating_sub(most);
        let first_new: Option<i64> =
            transaction.query_row(&statement, params![oldest, step, before], |row| row.get(0))?;
        let keep_from = first_new.unwrap_or(step).max(too_many).min(step).min(self.next);
        self.remove_before(transaction, keep_from)
    }

    /// Takes away at most so many of the oldest events.
    pub(super) fn shorten(&self, transaction: &Transaction<'_>, by: i64) -> rusqlite::Result<usize> {
        let Some(oldest) = self.oldest(transaction)? else { return Ok(0) };
        self.remove_before(transaction, oldest.saturating_add(by).min(self.next))
    }

    /// How many events there are, at most.
    pub(super) fn len(&self, transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
        Ok(self.oldest(transaction)?.map_or(0, |oldest| self.next - oldest))
    }

    fn oldest(&self, transaction: &Transaction<'_>) -> rusqlite::Result<Option<i64>> {
        transaction.query_row(&self.kind.sql("SELECT min(id) FROM {}_event"), [], |row| row.get(0))
    }

    fn remove_before(&self, transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<usize> {
        let events = self.kind.sql("DELETE FROM {}_event WHERE id < ?1");
        let gone = transaction.prepare_cached(&events)?.execute([id])?;
        let runs = self.kind.sql("DELETE FROM {}_bucket WHERE id < ?1");
        transaction.prepare_cached(&runs)?.execute([run_of(id) * BUCKETS])?;
        Ok(gone)
    }
}

/// What may stay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// So many of the newest.
    pub(super) most: i64,
    /// Nothing from before this moment, in milliseconds since 1970.
    pub(super) before: i64,
    /// So many are looked at in one go.
    pub(super) at_once: i64,
}
