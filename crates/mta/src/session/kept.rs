//! `sessions.db`: sessions that have ended, and cases, as they outlive a restart.
//!
//! The types to know:
//! - [`Summary`]: a session in a line of a list. [`Which`]: which sessions are asked for.
//! - `Row`: a session on its way into the file. `Pending`: those that wait for the next write, bounded; where there are too
//!   many, what is worth least does not wait.
//! - `File`: the ledger (see [`ledger`](crate::ledger)), with its bounds: age, number, octets; so many of one client with one
//!   cause; so many of one client in all. So nobody can push out what was kept of others.
//!
//! What it deliberately does not do: decide what is kept, or show anything.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension as _, Row as Found, Transaction, params};
use serde::{Deserialize, Serialize};

use super::Facts;
use super::watch::Wanted;
use crate::cases::{Case, Changes, Whom, worth};
use crate::config::KeptSessions;
use crate::diagnosis::session::{Cause, Diagnosis};
use crate::directory::key_of;
use crate::ledger::{Layout, Ledger, LedgerError, Opened};
use crate::limits::client_net;

const LAYOUT: Layout = Layout {
    file: "sessions.db",
    migrations: &["
    CREATE TABLE session (
        seq      INTEGER PRIMARY KEY,
        id       TEXT NOT NULL UNIQUE,
        began    INTEGER NOT NULL,     -- milliseconds since 1970
        lasted   INTEGER NOT NULL,     -- milliseconds
        listener TEXT NOT NULL,
        client   TEXT NOT NULL,
        network  TEXT NOT NULL,        -- the client that the address counts as
        whom     TEXT NOT NULL,        -- whose case it belongs to
        cause    TEXT NOT NULL,        -- '': nothing went wrong
        worth    INTEGER NOT NULL,     -- the least goes first
        octets   INTEGER NOT NULL,     -- of its facts
        names    TEXT NOT NULL,        -- that were claimed, each between line feeds
        user     TEXT,
        hello    TEXT,
        accepted INTEGER NOT NULL,
        said     TEXT NOT NULL         -- what went wrong, in words
    ) STRICT;
    CREATE INDEX session_group ON session (whom, cause, seq);
    CREATE INDEX session_network ON session (network, seq);
    CREATE INDEX session_worth ON session (worth, seq, octets);
    CREATE INDEX session_began ON session (began);
    CREATE TABLE facts (
        seq   INTEGER PRIMARY KEY REFERENCES session ON DELETE CASCADE,
        facts TEXT NOT NULL            -- JSON
    ) STRICT;
    CREATE TABLE cases (
        id    INTEGER PRIMARY KEY,
        value TEXT NOT NULL            -- JSON
    ) STRICT;
"],
    lost: "sessions and cases of before are not known any more",
};

/// Of one client or user with one cause so many first sessions are kept,
const FIRST: usize = 3;
/// and so many last ones.
const LAST: usize = 5;
/// One client has at most this part of all that may be kept.
const SHARE: u64 = 50;
/// So many sessions wait for the next write.
const WAITING_MOST: usize = 256;
/// So many sessions are listed at most.
const LISTED_MOST: usize = 10_000;
/// What a session is worth in which nothing went wrong,
const FINE: u8 = 0;
/// and one that somebody wants to see.
const WATCHED: u8 = 8;

/// A session that ended, in a line of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its id, as in the log.
    pub id: String,
    /// When it began.
    pub began: Timestamp,
    /// Milliseconds until it ended.
    pub lasted: u64,
    /// Where the client came in.
    pub listener: String,
    /// The client.
    pub client: SocketAddr,
    /// Who was signed in, or the last name that was claimed.
    pub user: Option<String>,
    /// What the client called itself.
    pub hello: Option<String>,
    /// Messages that were accepted.
    pub accepted: u32,
    /// What went wrong, if anything did.
    pub cause: Option<Cause>,
    /// The same in words.
    pub explanation: Option<String>,
}

/// Which sessions; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// Whose, from where, and on which listener.
    pub of: Wanted,
    /// With this cause.
    pub cause: Option<Cause>,
    /// That began then or later.
    pub since: Option<Timestamp>,
    /// So many, the latest ones.
    pub limit: usize,
}

/// Why a session is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Because {
    /// Something went wrong, or everything is kept.
    Usual,
    /// Somebody wants to see it.
    Watched,
}

/// A session on its way into the file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    summary: Summary,
    network: String,
    whom: String,
    worth: u8,
    names: Vec<String>,
    facts: Facts,
}

/// Those that wait for the next write.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiting: VecDeque<Row>,
    /// So many did not wait because others are worth more.
    lost: u64,
}

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct File(Ledger);

/// What the file has to hear.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) rows: Vec<Row>,
    pub(crate) cases: Changes,
}

impl Summary {
    /// Of a session, with what was found in it.
    pub(crate) fn of(facts: &Facts, diagnosis: Option<&Diagnosis>) -> Self {
        let claimed = || facts.sign_ins.last().map(|tried| tried.user.clone());
        Self {
            id: facts.id.clone(),
            began: facts.began,
            lasted: facts.lasted,
            listener: facts.place.listener.clone(),
            client: facts.client,
            user: facts.user.clone().or_else(claimed),
            hello: facts.hello.clone(),
            accepted: facts.accepted,
            cause: diagnosis.map(|found| found.cause),
            explanation: diagnosis.map(|found| found.explanation.clone()),
        }
    }
}

impl Row {
    pub(crate) fn new(facts: Facts, diagnosis: Option<&Diagnosis>, because: Because) -> Self {
        let whom = Whom::of(&facts);
        let worth = match (because, diagnosis) {
            (Because::Watched, _) => WATCHED,
            (Because::Usual, Some(found)) => worth(found.cause, &whom),
            (Because::Usual, None) => FINE,
        };
        Self {
            summary: Summary::of(&facts, diagnosis),
            network: client_net(facts.client.ip()).to_string(),
            whom: whom.to_string(),
            worth,
            names: names(&facts),
            facts,
        }
    }

    /// Sessions of one group crowd each other out, and nobody else's.
    fn group(&self) -> Option<(&str, Cause)> {
        (self.worth != WATCHED).then_some(()).and(self.summary.cause).map(|cause| (&*self.whom, cause))
    }
}

/// The names that were claimed or signed in as, in the form in which names compare.
pub(crate) fn names(facts: &Facts) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let claimed = facts.sign_ins.iter().map(|tried| &tried.user);
    for name in claimed.chain(&facts.user) {
        let key = key_of(name);
        if !names.contains(&key) {
            names.push(key);
        }
    }
    names
}

impl Pending {
    /// One more, unless it is worth less than all that wait already.
    pub(crate) fn push(&mut self, row: Row) {
        if let Some(group) = row.group() {
            let same = |other: &Row| other.group() == Some(group);
            if self.waiting.iter().filter(|other| same(other)).count() == FIRST + LAST {
                let fourth = self.waiting.iter().enumerate().filter(|(_, other)| same(other)).nth(FIRST);
                if let Some((at, _)) = fourth {
                    self.waiting.remove(at);
                }
            }
        }
        if self.waiting.len() >= WAITING_MOST {
            self.lost += 1;
            let least = self.waiting.iter().enumerate().min_by_key(|(_, other)| other.worth);
            match least.map(|(at, other)| (at, other.worth)) {
                Some((at, worth)) if worth < row.worth => self.waiting.remove(at),
                _ => return,
            };
        }
        self.waiting.push_back(row);
    }

    /// Hands all of them over.
    pub(crate) fn take(&mut self) -> Vec<Row> {
        std::mem::take(&mut self.waiting).into()
    }

    /// The file did not take them.
    pub(crate) fn give_back(&mut self, rows: Vec<Row>) {
        let later = std::mem::take(&mut self.waiting);
        rows.into_iter().chain(later).for_each(|row| self.push(row));
    }

    /// So many were lost since the last time.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

impl File {
    /// Opens it in the data directory, or makes it.
    pub(crate) fn open(data_dir: &Path) -> Result<(Self, Option<LedgerError>), LedgerError> {
        let Opened { ledger, trouble } = Ledger::open(data_dir, &LAYOUT)?;
        Ok((Self(ledger), trouble))
    }

    /// The file as it is, for those who only look; empty where there is none.
    pub(crate) fn open_for_reading(data_dir: &Path) -> Result<Self, LedgerError> {
        Ledger::open_for_reading(data_dir, &LAYOUT).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn in_memory() -> Self {
        Self(Ledger::in_memory(&LAYOUT).unwrap())
    }

    /// All cases. One that makes no sense to this version is left out.
    pub(crate) async fn cases(&self) -> Result<Vec<Case>, LedgerError> {
        let sql = "SELECT value FROM cases";
        let read: Vec<String> = self
            .0
            .read(move |transaction| transaction.prepare(sql)?.query_map([], |row| row.get(0))?.collect())
            .await?;
        Ok(read.iter().filter_map(|value| serde_json::from_str(value).ok()).collect())
    }

    /// Writes the news, all or nothing, and keeps to the bounds. They are handed back when they could not be written.
    pub(crate) async fn write(
        &self,
        news: News,
        rules: KeptSessions,
        now: Timestamp,
    ) -> Result<(), (News, LedgerError)> {
        let news = std::sync::Arc::new(news);
        let told = std::sync::Arc::clone(&news);
        let written = self.0.write(move |transaction| write(transaction, &told, &rules, now)).await;
        written.map_err(|error| (std::sync::Arc::into_inner(news).unwrap_or_default(), error))
    }

    /// The latest sessions that are asked for, the latest last.
    pub(crate) async fn list(&self, which: Which) -> Result<Vec<Summary>, LedgerError> {
        self.0.read(move |transaction| list(transaction, &which)).await
    }

    /// The facts of one session. `None`: it is not kept.
    pub(crate) async fn facts(&self, id: String) -> Result<Option<Facts>, LedgerError> {
        let sql = "SELECT facts FROM session JOIN facts USING (seq) WHERE id = ?";
        let read: Option<String> = self
            .0
            .read(move |transaction| transaction.query_row(sql, [id], |row| row.get(0)).optional())
            .await?;
        Ok(read.and_then(|facts| serde_json::from_str(&facts).ok()))
    }
}

fn write(
    transaction: &Transaction<'_>,
    news: &News,
    rules: &KeptSessions,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut put = transaction.prepare_cached("INSERT OR REPLACE INTO cases VALUES (?, ?)")?;
    for case in &news.cases.written {
        // What we made ourselves can be written.
        put.execute(params![signed(case.id), serde_json::to_string(case).unwrap_or_default()])?;
    }
    let mut delete = transaction.prepare_cached("DELETE FROM cases WHERE id = ?")?;
    for id in &news.cases.gone {
        delete.execute([signed(*id)])?;
    }
    for row in &news.rows {
        add(transaction, row)?;
        crowd_out(transaction, row, rules)?;
    }
    keep_within(transaction, rules, now)
}

fn add(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let Row { summary, network, whom, worth, names, facts } = row;
    let Summary { id, began, lasted, listener, client, user, hello, accepted, cause, explanation } = summary;
    let facts = serde_json::to_string(facts).unwrap_or_default();
    transaction.prepare_cached("DELETE FROM session WHERE id = ?")?.execute([id])?;
    let sql = "INSERT INTO session (id, began, lasted, listener, client, network, whom, cause, worth, octets, names, user,
        hello, accepted, said) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    transaction.prepare_cached(sql)?.execute(params![
        id,
        began.as_millisecond(),
        signed(*lasted),
        listener,
        client.to_string(),
        network,
        whom,
        cause.map_or("", Cause::token),
        worth,
        signed(facts.len() as u64),
        format!("\n{}\n", names.join("\n")),
        user,
        hello,
        accepted,
        explanation.as_deref().unwrap_or_default(),
    ])?;
    let seq = transaction.last_insert_rowid();
    transaction.prepare_cached("INSERT INTO facts VALUES (?, ?)")?.execute(params![seq, facts])?;
    Ok(())
}

/// Of one client or user with one cause the first ones and the last ones stay; of one client in all, the last ones.
fn crowd_out(transaction: &Transaction<'_>, row: &Row, rules: &KeptSessions) -> rusqlite::Result<()> {
    if let Some((whom, cause)) = row.group() {
        let sql = "DELETE FROM session WHERE seq IN (SELECT seq FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS older,
            row_number() OVER (ORDER BY seq DESC) AS younger FROM session WHERE whom = ? AND cause = ? AND worth < ?)
            WHERE older > ? AND younger > ?)";
        let mut statement = transaction.prepare_cached(sql)?;
        statement.execute(params![
            whom,
            cause.token(),
            WATCHED,
            signed(FIRST as u64),
            signed(LAST as u64)
        ])?;
    }
    let share = signed((rules.most / SHARE).max(1));
    let sql = "DELETE FROM session WHERE seq IN (SELECT seq FROM session WHERE network = ? AND worth < ?
        ORDER BY seq DESC LIMIT -1 OFFSET ?)";
    transaction.prepare_cached(sql)?.execute(params![row.network, WATCHED, share])?;
    Ok(())
}

/// Age, number and octets; what is worth least goes first, and of that the oldest.
fn keep_within(transaction: &Transaction<'_>, rules: &KeptSessions, now: Timestamp) -> rusqlite::Result<()> {
    let oldest = oldest(rules, now).as_millisecond();
    transaction.prepare_cached("DELETE FROM session WHERE began < ?")?.execute([oldest])?;
    let sql = "SELECT count(*), coalesce(sum(octets), 0) FROM session INDEXED BY session_worth";
    let (mut sessions, mut octets): (i64, i64) =
        transaction.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (most, space) = (signed(rules.most), signed(rules.space));
    if sessions <= most && octets <= space {
        return Ok(());
    }
    let sql = "SELECT seq, octets FROM session INDEXED BY session_worth ORDER BY worth, seq";
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut gone: Vec<i64> = Vec::new();
    while (sessions > most || octets > space)
        && let Some(row) = rows.next()?
    {
        gone.push(row.get(0)?);
        (sessions, octets) = (sessions - 1, octets - row.get::<_, i64>(1)?);
    }
    let mut delete = transaction.prepare_cached("DELETE FROM session WHERE seq = ?")?;
    gone.iter().try_for_each(|seq| delete.execute([seq]).map(|_| ()))
}

/// What is older than this is forgotten.
pub(crate) fn oldest(rules: &KeptSessions, now: Timestamp) -> Timestamp {
    let keep = SignedDuration::try_from(rules.keep).unwrap_or(SignedDuration::MAX);
    now.checked_sub(keep).unwrap_or(Timestamp::MIN)
}

fn list(transaction: &Transaction<'_>, which: &Which) -> rusqlite::Result<Vec<Summary>> {
    let sql = "SELECT id, began, lasted, listener, client, user, hello, accepted, cause, said, names FROM session
        WHERE began >= ?1 AND (?2 IS NULL OR listener = ?2) AND (?3 IS NULL OR cause = ?3) AND (NOT ?4 OR cause <> '')
        AND (?5 IS NULL OR instr(names, ?5) > 0) ORDER BY began DESC, seq DESC";
    let since = which.since.map_or(i64::MIN, Timestamp::as_millisecond);
    let cause = which.cause.map(Cause::token);
    let name = which.of.user.as_deref().map(|user| format!("\n{}\n", key_of(user)));
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(params![since, which.of.listener, cause, which.of.troubled, name])?;
    let mut found = Vec::new();
    while found.len() < which.limit.min(LISTED_MOST)
        && let Some(row) = rows.next()?
    {
        let Some(summary) = Summary::of_row(row)? else { continue };
        let address: IpAddr = summary.client.ip().to_canonical();
        if which.of.address.as_ref().is_none_or(|network| network.contains(&address)) {
            found.push(summary);
        }
    }
    found.reverse();
    Ok(found)
}

impl Summary {
    /// `None`: the row makes no sense to this version.
    fn of_row(row: &Found<'_>) -> rusqlite::Result<Option<Self>> {
        let (began, client): (i64, String) = (row.get(1)?, row.get(4)?);
        let (Ok(began), Ok(client)) = (Timestamp::from_millisecond(began), client.parse()) else {
            return Ok(None);
        };
        let (cause, said): (String, String) = (row.get(8)?, row.get(9)?);
        Ok(Some(Self {
            id: row.get(0)?,
            began,
            lasted: u64::try_from(row.get::<_, i64>(2)?).unwrap_or_default(),
            listener: row.get(3)?,
            client,
            user: row.get(5)?,
            hello: row.get(6)?,
            accepted: row.get(7)?,
            cause: Cause::named(&cause),
            explanation: (!said.is_empty()).then_some(said),
        }))
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
