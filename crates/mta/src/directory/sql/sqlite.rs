//! A file of SQLite, opened for each question: a file that was replaced counts at once, and nobody's lock is held between two.
//!
//! It is opened for reading only, but for storing a password anew. A question that is given up interrupts its statement.
//! What it deliberately does not do: make a file that is not there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{InterruptHandle, OpenFlags, params_from_iter};
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::row::{Row, Value};
use super::{Queries, Values, Which};

#[derive(Debug)]
pub(super) struct Sqlite {
    path: PathBuf,
    queries: Queries,
    limit: Duration,
}

/// Stops a statement when nobody waits for it any more.
struct Waiting(Option<InterruptHandle>);

impl Sqlite {
    pub(super) fn new(path: &Path, queries: Queries, limit: Duration) -> Self {
        Self { path: path.to_owned(), queries, limit }
    }

    pub(super) fn queries(&self) -> &Queries {
        &self.queries
    }

    pub(super) async fn rows(&self, which: Which, values: &Values) -> Result<Vec<Row>, String> {
        let query = self.queries.query(which).ok_or_else(|| format!("there is no {}", which.key()))?;
        let bound: Vec<Option<String>> =
            query.fields().iter().map(|field| values.value(*field).map(str::to_owned)).collect();
        let (path, statement, limit) = (self.path.clone(), query.statement('?'), self.limit);
        let (tell, told) = oneshot::channel();
        let work = spawn_blocking(move || rows(&path, limit, which, &statement, &bound, tell));
        // Dropped with this question, unless the answer has come.
        let mut waiting = Waiting(told.await.ok());
        let answer = work.await;
        waiting.0 = None;
        let answer = answer.map_err(|error| error.to_string())?;
        answer.map_err(|error| self.in_words(which, query.is_secret(), &error))
    }

    fn in_words(&self, which: Which, secret: bool, error: &rusqlite::Error) -> String {
        let what = match error.sqlite_error() {
            // The words may quote a value.
            Some(code) if secret => code.to_string(),
            _ => error.to_string(),
        };
        format!("{}: {}: {what}", self.path.display(), which.key())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.interrupt();
        }
    }
}

fn rows(
    path: &Path,
    limit: Duration,
    which: Which,
    statement: &str,
    bound: &[Option<String>],
    tell: oneshot::Sender<InterruptHandle>,
) -> rusqlite::Result<Vec<Row>> {
    let access = match which {
        Which::Rehash => OpenFlags::SQLITE_OPEN_READ_WRITE,
        _ => OpenFlags::SQLITE_OPEN_READ_ONLY,
    };
    let connection = rusqlite::Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(limit)?;
    if tell.send(connection.get_interrupt_handle()).is_err() {
        return Ok(Vec::new());
    }
    let mut statement = connection.prepare(statement)?;
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    if columns.is_empty() {
        statement.execute(params_from_iter(bound))?;
        return Ok(Vec::new());
    }
    let mut answer = statement.query(params_from_iter(bound))?;
    let mut rows = Vec::new();
    while rows.len() < which.taken() {
        let Some(row) = answer.next()? else { break };
        let values =
            columns.iter().enumerate().map(|(place, name)| Ok((name.clone(), value(row.get_ref(place)?))));
        rows.push(Row(values.collect::<rusqlite::Result<_>>()?));
    }
    Ok(rows)
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Switch(number != 0),
        ValueRef::Real(_) => Value::Other("a number".to_owned()),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Value::of_text(text),
            Err(_) => Value::Other("no UTF-8".to_owned()),
        },
        ValueRef::Blob(_) => Value::Other("a blob".to_owned()),
    }
}
