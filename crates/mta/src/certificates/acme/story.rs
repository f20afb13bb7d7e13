//! The story of every order, and how each identity stands, in a file of its own.
//!
//! The types to know:
//! - [`Story`]: the file, kept as [`Ledger`] keeps its own. Orders and their steps are written as they happen, so that a
//!   crash leaves the story up to it.
//! - [`OrderView`] and [`Standing`]: what `postern cert acme log` shows.
//!
//! Bounded: of each identity the last [`ORDERS_KEPT`] orders stay, each with at most [`STEPS_MOST`] steps. What it
//! deliberately does not do: hold keys, certificates or anything without which they could not be renewed.

use std::path::Path;

use jiff::Timestamp;
use postern_pki::acme::Step;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use super::due::Why;
use crate::ledger::{Layout, Ledger, LedgerError};

/// Of each identity so many orders are kept.
const ORDERS_KEPT: u32 = 50;
/// Of each order so many steps are kept; one of a hundred names has some four hundred.
const STEPS_MOST: u32 = 1000;

/// The file.
const LAYOUT: Layout = Layout {
    file: "acme.db",
    migrations: &["
    CREATE TABLE acme_order (
        id        INTEGER PRIMARY KEY,
        identity  TEXT NOT NULL,
        authority TEXT NOT NULL,
        names     TEXT NOT NULL,     -- JSON
        why       TEXT NOT NULL,     -- JSON
        begun     INTEGER NOT NULL,  -- milliseconds since 1970
        ended     INTEGER,
        trouble   TEXT,              -- NULL: none so far
        remedy    TEXT
    ) STRICT;
    CREATE INDEX acme_order_identity ON acme_order (identity, id);
    CREATE TABLE acme_step (
        \"order\" INTEGER NOT NULL REFERENCES acme_order (id) ON DELETE CASCADE,
        number    INTEGER NOT NULL,
        at        INTEGER NOT NULL,
        step      TEXT NOT NULL,     -- JSON
        PRIMARY KEY (\"order\", number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE acme_standing (
        identity TEXT PRIMARY KEY,
        terms    TEXT NOT NULL,      -- what the failures are about: others begin anew
        failures INTEGER NOT NULL,   -- in a row
        next     INTEGER NOT NULL    -- not before then; milliseconds since 1970
    ) STRICT, WITHOUT ROWID;
"],
    lost: "the stories of earlier ACME orders are gone, and what failed is tried again at once",
};

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct Story(Ledger);

/// An order, from the first step to the last so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// Its number.
    pub id: i64,
    /// The identity that it is for.
    pub identity: String,
    /// The `[[acme]]` that it was placed with.
    pub authority: String,
    /// The names that were asked for.
    pub names: Vec<String>,
    /// Why it was placed.
    pub why: Why,
    /// When it began.
    pub begun: Timestamp,
    /// What came of it; `None` while it is under way, or when Postern was killed in the middle of it.
    pub ended: Option<Ended>,
    /// What happened, in order.
    pub steps: Vec<StepView>,
}

/// How an order ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// What was wrong; `None`: nothing, the certificate is in the store.
    pub trouble: Option<TroubleView>,
}

/// What was wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TroubleView {
    /// What, with the names that it is about.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// One step of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    /// When it was done.
    pub at: Timestamp,
    /// What was done.
    pub step: Step,
}

/// How an identity stands whose last order failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The identity.
    pub identity: String,
    /// So many orders failed in a row.
    pub failures: u32,
    /// It is tried again then.
    pub next: Timestamp,
    /// What the failures are about.
    #[serde(skip)]
    pub(super) terms: String,
}

/// What an order begins with.
pub(super) struct NewOrder {
    pub(super) identity: String,
    pub(super) authority: String,
    pub(super) names: Vec<String>,
    pub(super) why: Why,
}

/// A story that works, and what kept it from being the one on disk.
pub(crate) struct OpenedStory {
    pub(crate) story: Story,
    pub(crate) trouble: Option<LedgerError>,
}

impl Story {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// Not even a database in memory can be had.
    pub(crate) fn open(data_dir: &Path) -> Result<OpenedStory, LedgerError> {
        let opened = Ledger::open(data_dir, &LAYOUT)?;
        Ok(OpenedStory { story: Self(opened.ledger), trouble: opened.trouble })
    }

    /// The file as it is, or an empty one in memory: for those who only look.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(crate) fn open_for_reading(data_dir: &Path) -> Result<Self, LedgerError> {
        Ledger::open_for_reading(data_dir, &LAYOUT).map(Self)
    }

    /// The last orders of one identity or of all, the newest last; at most so many.
    ///
    /// # Errors
    /// Local: the disk.
    pub(crate) async fn orders(
        &self,
        identity: Option<String>,
        most: u32,
    ) -> Result<Vec<OrderView>, LedgerError> {
        self.0.read(move |transaction| orders(transaction, identity.as_deref(), most)).await
    }

    /// One order.
    ///
    /// # Errors
    /// Local: the disk.
    pub(super) async fn order(&self, id: i64) -> Result<Option<OrderView>, LedgerError> {
        self.0.read(move |transaction| order(transaction, id)).await
    }

    /// Those whose last order failed.
    ///
    /// # Errors
    /// Local: the disk.
    pub(crate) async fn standings(&self) -> Result<Vec<Standing>, LedgerError> {
        self.0
            .read(|transaction| {
                let sql = "SELECT identity, failures, next, terms FROM acme_standing ORDER BY identity";
                transaction.prepare_cached(sql)?.query_map([], standing)?.collect()
            })
            .await
    }

    /// Notes that an order begins, and forgets the oldest of the identity.
    pub(super) async fn begin(&self, new: NewOrder, now: Timestamp) -> Result<i64, LedgerError> {
        self.0
            .write(move |transaction| {
                let sql =
                    "INSERT INTO acme_order (identity, authority, names, why, begun) VALUES (?, ?, ?, ?, ?)";
                let (names, why) = (json(&new.names)?, json(&new.why)?);
                transaction
                    .execute(sql, params![new.identity, new.authority, names, why, now.as_millisecond()])?;
                let id = transaction.last_insert_rowid();
                let old = "DELETE FROM acme_order WHERE identity = ?1 AND id NOT IN
                           (SELECT id FROM acme_order WHERE identity = ?1 ORDER BY id DESC LIMIT ?2)";
                transaction.execute(old, params![new.identity, ORDERS_KEPT])?;
                Ok(id)
            })
            .await
    }

    /// Notes a step.
    pub(super) async fn step(&self, order: i64, at: Timestamp, step: Step) -> Result<(), LedgerError> {
        self.0
            .write(move |transaction| {
                let sql = "INSERT INTO acme_step SELECT ?1, n.number, ?2, ?3
                           FROM (SELECT coalesce(max(number), 0) + 1 AS number FROM acme_step WHERE \"order\" = ?1) AS n
                           WHERE n.number <= ?4 AND EXISTS (SELECT 1 FROM acme_order WHERE id = ?1)";
                transaction.execute(sql, params![order, at.as_millisecond(), json(&step)?, STEPS_MOST])?;
                Ok(())
            })
            .await
    }

    /// Notes how an order ended.
    pub(super) async fn end(&self, order: i64, ended: Ended) -> Result<(), LedgerError> {
        self.0
            .write(move |transaction| {
                let (what, remedy) =
                    ended.trouble.map_or((None, None), |trouble| (Some(trouble.what), Some(trouble.remedy)));
                let sql = "UPDATE acme_order SET ended = ?, trouble = ?, remedy = ? WHERE id = ?";
                transaction.execute(sql, params![ended.at.as_millisecond(), what, remedy, order])?;
                Ok(())
            })
            .await
    }

    /// How an identity stands; `None`: its last order did not fail.
    pub(super) async fn standing(&self, identity: &str) -> Result<Option<Standing>, LedgerError> {
        let identity = identity.to_owned();
        self.0
            .read(move |transaction| {
                let sql = "SELECT identity, failures, next, terms FROM acme_standing WHERE identity = ?";
                transaction.query_row(sql, [identity], standing).optional()
            })
            .await
    }

    /// Notes how an identity stands.
    pub(super) async fn stand(&self, new: Standing) -> Result<(), LedgerError> {
        self.0
            .write(move |transaction| {
                let sql = "INSERT OR REPLACE INTO acme_standing (identity, terms, failures, next) VALUES (?, ?, ?, ?)";
                transaction.execute(sql, params![new.identity, new.terms, new.failures, new.next.as_millisecond()])?;
                Ok(())
            })
            .await
    }

    /// Forgets the failures of an identity.
    pub(super) async fn recover(&self, identity: &str) -> Result<(), LedgerError> {
        let identity = identity.to_owned();
        let sql = "DELETE FROM acme_standing WHERE identity = ?";
        self.0.write(move |transaction| transaction.execute(sql, [identity]).map(drop)).await
    }
}

fn orders(
    transaction: &Transaction<'_>,
    identity: Option<&str>,
    most: u32,
) -> rusqlite::Result<Vec<OrderView>> {
    let sql = "SELECT id FROM acme_order WHERE ?1 IS NULL OR identity = ?1 ORDER BY id DESC LIMIT ?2";
    let ids: Vec<i64> = transaction
        .prepare_cached(sql)?
        .query_map(params![identity, most], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    ids.into_iter().rev().filter_map(|id| order(transaction, id).transpose()).collect()
}

fn order(transaction: &Transaction<'_>, id: i64) -> rusqlite::Result<Option<OrderView>> {
    let sql =
        "SELECT identity, authority, names, why, begun, ended, trouble, remedy FROM acme_order WHERE id = ?";
    let read = transaction.query_row(sql, [id], |row| {
        let ended: Option<i64> = row.get(5)?;
        let trouble: Option<String> = row.get(6)?;
        let remedy: Option<String> = row.get(7)?;
        let trouble = trouble.map(|what| TroubleView { what, remedy: remedy.unwrap_or_default() });
        Ok(OrderView {
            id,
            identity: row.get(0)?,
            authority: row.get(1)?,
            names: of_json(&row.get::<_, String>(2)?)?,
            why: of_json(&row.get::<_, String>(3)?)?,
            begun: moment(row.get(4)?),
            ended: ended.map(|at| Ended { at: moment(at), trouble }),
            steps: steps(transaction, id)?,
        })
    });
    read.optional()
}

fn steps(transaction: &Transaction<'_>, order: i64) -> rusqlite::Result<Vec<StepView>> {
    let sql = "SELECT at, step FROM acme_step WHERE \"order\" = ? ORDER BY number";
    let step = |row: &rusqlite::Row<'_>| {
        Ok(StepView { at: moment(row.get(0)?), step: of_json(&row.get::<_, String>(1)?)? })
    };
    transaction.prepare_cached(sql)?.query_map([order], step)?.collect()
}

fn standing(row: &rusqlite::Row<'_>) -> rusqlite::Result<Standing> {
    Ok(Standing {
        identity: row.get(0)?,
        failures: row.get(1)?,
        next: moment(row.get(2)?),
        terms: row.get(3)?,
    })
}

fn moment(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}

fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

fn of_json<T: serde::de::DeserializeOwned>(text: &str) -> rusqlite::Result<T> {
    let broken =
        |error| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error));
    serde_json::from_str(text).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn new(identity: &str) -> NewOrder {
        NewOrder {
            identity: identity.to_owned(),
            authority: "le".to_owned(),
            names: vec!["a.example".to_owned()],
            why: Why::Missing,
        }
    }

    #[tokio::test]
    async fn a_story_is_there_after_a_restart_as_far_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let story = Story::open(folder.path()).unwrap().story;
        let id = story.begin(new("mail"), time(0)).await.unwrap();
        story.step(id, time(1), Step::Requested).await.unwrap();
        story.step(id, time(2), Step::Proved { name: "a.example".to_owned() }).await.unwrap();
        let again = Story::open(folder.path()).unwrap().story;
        let orders = again.orders(None, 10).await.unwrap();
        assert_eq!(orders[0].steps.iter().map(|step| step.at).collect::<Vec<_>>(), [time(1), time(2)]);
        assert_eq!((orders[0].ended.clone(), orders[0].why), (None, Why::Missing));
        let trouble = TroubleView { what: "no".to_owned(), remedy: "do".to_owned() };
        let ended = Ended { at: time(3), trouble: Some(trouble) };
        again.end(id, ended.clone()).await.unwrap();
        assert_eq!(again.order(id).await.unwrap().unwrap().ended, Some(ended));
    }

    #[tokio::test]
    async fn of_each_identity_the_last_fifty_orders_stay() {
        let folder = tempfile::tempdir().unwrap();
        let story = Story::open(folder.path()).unwrap().story;
        let rare = story.begin(new("rare"), time(0)).await.unwrap();
        let first = story.begin(new("mail"), time(0)).await.unwrap();
        story.step(first, time(0), Step::Issued).await.unwrap();
        for second in 0..60 {
            story.begin(new("mail"), time(second)).await.unwrap();
        }
        let orders = story.orders(Some("mail".to_owned()), 1000).await.unwrap();
        assert_eq!((orders.len(), orders.last().unwrap().begun), (50, time(59)));
        assert!(story.order(first).await.unwrap().is_none());
        assert!(story.order(rare).await.unwrap().is_some());
        story.step(first, time(0), Step::Issued).await.unwrap();
        let all = story.orders(None, 3).await.unwrap();
        assert_eq!(all.iter().map(|order| order.begun).collect::<Vec<_>>(), [time(57), time(58), time(59)]);
    }

    #[tokio::test]
    async fn steps_without_end_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let story = Story::open(folder.path()).unwrap().story;
        let id = story.begin(new("mail"), time(0)).await.unwrap();
        for _ in 0..STEPS_MOST + 5 {
            story.step(id, time(0), Step::Issued).await.unwrap();
        }
        assert_eq!(story.order(id).await.unwrap().unwrap().steps.len(), STEPS_MOST as usize);
    }

    #[tokio::test]
    async fn failures_are_remembered_until_it_goes_well() {
        let folder = tempfile::tempdir().unwrap();
        let story = Story::open(folder.path()).unwrap().story;
        let failed =
            Standing { identity: "mail".to_owned(), failures: 3, next: time(9), terms: "x".to_owned() };
        story.stand(failed.clone()).await.unwrap();
        assert_eq!(story.standing("mail").await.unwrap(), Some(failed.clone()));
        assert_eq!(story.standings().await.unwrap(), [failed]);
        story.recover("mail").await.unwrap();
        assert_eq!(story.standing("mail").await.unwrap(), None);
    }
}
