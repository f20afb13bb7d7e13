//! `activity.db`: where counts, guesses, histories and bans outlive a restart.
//!
//! One table holds what the [books](super::book) write behind, as JSON by kind and key; another the bans, which are written
//! at once when an administrator makes them. What the last seconds counted is lost when the process is killed, and the file
//! itself is worth stopping for by no means (see [`ledger`](crate::ledger)).

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::bans::{Ban, BannedBy};
use super::book::Changes;
use super::fingerprint::{Fingerprints, KeyOctets};
use super::subject::Subject;
use crate::ledger::{Layout, Ledger, LedgerError, Opened};

const LAYOUT: Layout = Layout {
    file: "activity.db",
    migrations: &["
    CREATE TABLE entry (
        kind    TEXT NOT NULL,
        key     TEXT NOT NULL,
        touched INTEGER NOT NULL,  -- seconds since 1970
        value   TEXT NOT NULL,     -- JSON
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE ban (
        subject TEXT PRIMARY KEY,
        because TEXT NOT NULL,
        since   INTEGER NOT NULL,  -- seconds since 1970
        until   INTEGER,           -- NULL: until it is removed
        maker   TEXT NOT NULL      -- administrator, guessing
    ) STRICT, WITHOUT ROWID;
    -- What fingerprints of wrong passwords are made with.
    CREATE TABLE fingerprint (key BLOB NOT NULL) STRICT;
"],
    lost: "bans, counts and the histories of accounts begin anew",
};

/// The file.
#[derive(Debug, Clone)]
pub(super) struct File(Ledger);

/// What was in it.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Kind, key, when it was touched, value.
    pub(super) entries: Vec<(String, String, Timestamp, String)>,
    pub(super) bans: Vec<Ban>,
}

/// What it has to hear.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) changes: Vec<Changes>,
    pub(super) banned: Vec<Ban>,
    pub(super) unbanned: Vec<Subject>,
}

impl File {
    /// Opens it in the data directory, or makes it.
    pub(super) fn open(data_dir: &Path) -> Result<(Self, Option<LedgerError>), LedgerError> {
        let Opened { ledger, trouble } = Ledger::open(data_dir, &LAYOUT)?;
        Ok((Self(ledger), trouble))
    }

    /// The file as it is, for those who only look; empty where there is none.
    pub(super) fn open_for_reading(data_dir: &Path) -> Result<Self, LedgerError> {
        Ledger::open_for_reading(data_dir, &LAYOUT).map(Self)
    }

    /// All that is in it.
    pub(super) async fn contents(&self) -> Result<Contents, LedgerError> {
        self.0
            .read(|transaction| Ok(Contents { entries: entries(transaction)?, bans: bans(transaction)? }))
            .await
    }

    /// What fingerprints are made with; `fresh` if there is nothing yet.
    pub(super) async fn fingerprints(&self, fresh: KeyOctets) -> Result<Fingerprints, LedgerError> {
        let key = self
            .0
            .write(move |transaction| {
                let select = "SELECT key FROM fingerprint";
                let found: Option<KeyOctets> = transaction
                    .query_row(select, [], |row| row.get::<_, [u8; 32]>(0).map(KeyOctets::new))
                    .optional()?;
                if let Some(found) = found {
                    return Ok(found);
                }
                transaction.execute("INSERT INTO fingerprint VALUES (?)", [fresh.as_slice()])?;
                Ok(fresh)
            })
            .await?;
        Ok(Fingerprints::new(&key))
    }

    /// Writes the news, all or nothing. They are handed back when they could not be written.
    pub(super) async fn write(&self, news: News) -> Result<(), (News, LedgerError)> {
        let news = std::sync::Arc::new(news);
        let told = std::sync::Arc::clone(&news);
        let written = self.0.write(move |transaction| write(transaction, &told)).await;
        written.map_err(|error| (std::sync::Arc::into_inner(news).unwrap_or_default(), error))
    }
}

fn write(transaction: &Transaction<'_>, news: &News) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)")?;
    let mut delete = transaction.prepare_cached("DELETE FROM entry WHERE kind = ? AND key = ?")?;
    for Changes { kind, written, gone } in &news.changes {
        for (key, touched, value) in written {
            put.execute(params![kind, key, touched.as_second(), value])?;
        }
        for key in gone {
            delete.execute(params![kind, key])?;
        }
    }
    let mut unban = transaction.prepare_cached("DELETE FROM ban WHERE subject = ?")?;
    for subject in &news.unbanned {
        unban.execute([subject.to_string()])?;
    }
    let mut ban = transaction.prepare_cached("INSERT OR REPLACE INTO ban VALUES (?, ?, ?, ?, ?)")?;
    for Ban { subject, because, since, until, by } in &news.banned {
        let until = until.map(Timestamp::as_second);
        ban.execute(params![subject.to_string(), because, since.as_second(), until, by.to_string()])?;
    }
    Ok(())
}

fn entries(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(String, String, Timestamp, String)>> {
    // The latest first: if there is no room for all, those stay.
    let sql = "SELECT kind, key, touched, value FROM entry ORDER BY touched DESC";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, moment(row.get(2)?), row.get(3)?));
    transaction.prepare(sql)?.query_map([], row)?.collect()
}

/// A ban that makes no sense is left where it is, for whoever wrote it.
fn bans(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<Ban>> {
    let sql = "SELECT subject, because, since, until, maker FROM ban";
    let ban = |row: &rusqlite::Row<'_>| {
        let (subject, by): (String, String) = (row.get(0)?, row.get(4)?);
        let by = match by.as_str() {
            "guessing" => BannedBy::Guessing,
            _ => BannedBy::Administrator,
        };
        let until = row.get::<_, Option<i64>>(3)?.map(moment);
        let (because, since) = (row.get(1)?, moment(row.get(2)?));
        Ok(subject.parse().ok().map(|subject| Ban { subject, because, since, until, by }))
    };
    let read: rusqlite::Result<Vec<Option<Ban>>> = transaction.prepare(sql)?.query_map([], ban)?.collect();
    Ok(read?.into_iter().flatten().collect())
}

fn moment(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}
