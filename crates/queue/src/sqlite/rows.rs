//! The SQL statements, and what their rows mean.
//!
//! A row that cannot be understood is no database error: it is told apart, with its reason, so that the message can be
//! set aside and nobody else's mail is held up.

use std::ops::ControlFlow;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde::de::DeserializeOwned;

use super::desk::Desk;
use super::prepare::Prepared;
use crate::draft::Content;
use crate::row::{Key, Row, Slot};
use crate::{Batch, Delivery, Destination, Filter, LeaseId, Message, QueueId};

/// What is wrong with a row.
type Reason = String;

/// The messages that could not be read.
pub(super) type Unreadable = Vec<(QueueId, Reason)>;

/// Inserts a message and its deliveries.
pub(super) fn insert(connection: &Connection, prepared: &Prepared) -> rusqlite::Result<()> {
    let id = prepared.message.id.to_row();
    let body: Option<&[u8]> = match &prepared.content {
        Content::Memory(content) => Some(content),
        Content::File(_) => None,
    };
    connection
        .prepare_cached("INSERT INTO message (id, meta, head, body) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id, prepared.meta, &prepared.head[..], body])?;
    let Slot { due, held } = prepared.message.slot();
    let mut insert =
        connection.prepare_cached("INSERT INTO delivery VALUES (?1, ?2, ?3, 0, ?4, 0, 0, ?5)")?;
    for delivery in &prepared.deliveries {
        insert.execute(params![id, delivery.destination.0, due.as_microsecond(), held, delivery.json])?;
    }
    Ok(())
}

/// Deletes a delivery; says whether there was one.
pub(super) fn delete(connection: &Connection, (id, destination): &Key) -> rusqlite::Result<bool> {
    let mut delete =
        connection.prepare_cached("DELETE FROM delivery WHERE message = ?1 AND destination = ?2")?;
    Ok(delete.execute(params![id.to_row(), destination.0])? > 0)
}

/// Deletes a message if no delivery of it is left; says whether it did.
pub(super) fn delete_if_over(connection: &Connection, id: QueueId) -> rusqlite::Result<bool> {
    let mut delete = connection.prepare_cached(
        "DELETE FROM message WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = ?1)",
    )?;
    Ok(delete.execute([id.to_row()])? > 0)
}

/// Reads one delivery.
pub(super) fn delivery(
    connection: &Connection,
    (id, destination): &Key,
) -> rusqlite::Result<Option<Result<Row, Reason>>> {
    let mut select = connection.prepare_cached(
        "SELECT due, attempts, held, bounce, delay_reported, recipients FROM delivery WHERE message = ?1 AND destination = ?2",
    )?;
    select.query_row(params![id.to_row(), destination.0], |row| Ok(row_of(row, 0))).optional()
}

/// Writes one delivery back.
pub(super) fn update(connection: &Connection, (id, destination): &Key, row: &Row) -> rusqlite::Result<()> {
    let recipients = serde_json::to_string(&row.recipients)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut update = connection.prepare_cached(
        "UPDATE delivery SET due = ?3, attempts = ?4, held = ?5, bounce = ?6, delay_reported = ?7, recipients = ?8 WHERE message = ?1 AND destination = ?2",
    )?;
    let due = row.due.as_microsecond();
    update.execute(params![
        id.to_row(),
        destination.0,
        due,
        row.attempts,
        row.held,
        row.bounce,
        row.delay_reported,
        recipients
    ])?;
    Ok(())
}

/// Moves a message and its deliveries to the quarantine; says how many deliveries are left in all, and how many held.
pub(super) fn set_aside(connection: &Connection, id: QueueId, reason: &str) -> rusqlite::Result<(u64, u64)> {
    let row = id.to_row();
    connection.execute(
        "INSERT OR REPLACE INTO quarantine (id, reason, meta, head, body) SELECT ?1, ?2, meta, head, body FROM (SELECT 1) LEFT JOIN message ON id = ?1",
        params![row, reason],
    )?;
    connection.execute("INSERT INTO quarantine_delivery SELECT * FROM delivery WHERE message = ?1", [row])?;
    connection.execute("DELETE FROM message WHERE id = ?1", [row])?;
    connection.execute("DELETE FROM delivery WHERE message = ?1", [row])?;
    let count = "SELECT count(*), count(CASE WHEN held <> 0 THEN 1 END) FROM delivery";
    let (all, held): (i64, i64) = connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((all.unsigned_abs(), held.unsigned_abs()))
}

/// Whether the file that bears an id belongs to a message in the queue, or to one in the quarantine.
pub(super) fn is_spooled(connection: &Connection, id: QueueId) -> rusqlite::Result<(bool, bool)> {
    let exists = |table: &str| {
        let query = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?1 AND body IS NULL)");
        connection.query_row(&query, [id.to_row()], |row| row.get(0))
    };
    Ok((exists("message")?, exists("quarantine")?))
}

/// The greatest id in use.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Option<QueueId>> {
    let query =
        "SELECT max(id) FROM (SELECT max(id) AS id FROM message UNION ALL SELECT max(id) FROM quarantine)";
    let newest: Option<i64> = connection.query_row(query, [], |row| row.get(0))?;
    Ok(newest.and_then(QueueId::from_row))
}

/// Calls `each` with every delivery's place in the agenda, or with what is wrong with its row.
pub(super) fn agenda(
    connection: &Connection,
    mut each: impl FnMut(Result<(Key, Slot), (QueueId, Reason)>),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT message, destination, due, held FROM delivery")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let Some(id) = id_of(row, 0) else { continue };
        let read = || {
            Ok(((id, destination_of(row, 1)?), Slot { due: time_of(row, 2)?, held: number_of(row, 3)? != 0 }))
        };
        each(read().map_err(|reason| (id, reason)));
    }
    Ok(())
}

/// Reads what was leased: batches in the same order, and what could not be read.
pub(super) fn batches(
    connection: &Connection,
    leases: Vec<(LeaseId, Key)>,
) -> rusqlite::Result<(Vec<Batch>, Unreadable)> {
    let mut select = connection.prepare_cached(
        "SELECT meta, due, attempts, held, bounce, delay_reported, recipients \
         FROM delivery LEFT JOIN message ON id = message WHERE message = ?1 AND destination = ?2",
    )?;
    let (mut batches, mut unreadable) = (Vec::new(), Vec::new());
    for (lease, (id, destination)) in leases {
        let read =
            |row: &SqlRow<'_>| Ok(message_of(row, 0, id).and_then(|message| Ok((message, row_of(row, 1)?))));
        let found = select.query_row(params![id.to_row(), destination.0], read).optional()?;
        match found {
            Some(Ok((message, row))) => batches.push(batch(lease, message, destination, row)),
            Some(Err(reason)) => unreadable.push((id, reason)),
            None => {}
        }
    }
    Ok((batches, unreadable))
}

fn batch(lease: LeaseId, message: Message, destination: Destination, row: Row) -> Batch {
    Batch {
        lease,
        id: message.id,
        destination,
        message,
        attempts: row.attempts,
        recipients: row.recipients.into_iter().map(|pending| (pending.id, pending.recipient)).collect(),
        delay_reported: row.delay_reported,
        bounce: row.bounce,
    }
}

const LISTING: &str = "SELECT message, destination, meta, due, attempts, held, bounce, delay_reported, recipients \
     FROM delivery LEFT JOIN message ON id = message";

/// Calls `each` with the deliveries that a filter means, oldest message first, until it says that it has enough.
/// Answers with what could not be read.
pub(super) fn find(
    connection: &Connection,
    desk: &Desk,
    filter: &Filter,
    each: impl FnMut(Delivery) -> ControlFlow<()>,
) -> rusqlite::Result<Unreadable> {
    let mut search = Search { desk, filter, each, unreadable: Vec::new() };
    if filter.ids.is_empty() {
        let mut select = connection
            .prepare_cached(&format!("{LISTING} WHERE message >= ?1 ORDER BY message, destination"))?;
        let first = filter.from.map_or(0, QueueId::to_row);
        let _ = search.walk(&mut select.query([first])?)?;
        return Ok(search.unreadable);
    }
    let mut ids = filter.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let mut select =
        connection.prepare_cached(&format!("{LISTING} WHERE message = ?1 ORDER BY destination"))?;
    for id in ids {
        if search.walk(&mut select.query([id.to_row()])?)?.is_break() {
            break;
        }
    }
    Ok(search.unreadable)
}

/// A search under way.
struct Search<'a, F> {
    desk: &'a Desk,
    filter: &'a Filter,
    each: F,
    unreadable: Unreadable,
}

impl<F: FnMut(Delivery) -> ControlFlow<()>> Search<'_, F> {
    fn walk(&mut self, rows: &mut rusqlite::Rows<'_>) -> rusqlite::Result<ControlFlow<()>> {
        while let Some(row) = rows.next()? {
            let Some(id) = id_of(row, 0) else { continue };
            match self.judge(row, id) {
                Ok(None) => {}
                Ok(Some(delivery)) => {
                    if (self.each)(delivery).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Err(reason) => self.unreadable.push((id, reason)),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The delivery, if it is meant.
    fn judge(&self, row: &SqlRow<'_>, id: QueueId) -> Result<Option<Delivery>, Reason> {
        let destination = destination_of(row, 1)?;
        if !self.filter.means_destination(&destination) {
            return Ok(None);
        }
        let key = (id, destination);
        let leased = self.desk.is_leased(&key);
        let delivery = row_of(row, 3)?.listed(message_of(row, 2, id)?, key.1, leased);
        Ok(self.filter.means(&delivery).then_some(delivery))
    }
}

/// A message's content as its row has it.
#[derive(Debug)]
pub(super) struct StoredBody {
    pub(super) head: Bytes,
    /// `None`: in a file.
    pub(super) content: Option<Bytes>,
    /// Octets of both.
    pub(super) size: u64,
}

/// Reads a message's content.
pub(super) fn body(
    connection: &Connection,
    id: QueueId,
) -> rusqlite::Result<Option<Result<StoredBody, Reason>>> {
    let mut select = connection.prepare_cached("SELECT meta, head, body FROM message WHERE id = ?1")?;
    select.query_row([id.to_row()], |row| Ok(body_of(row, id))).optional()
}

fn body_of(row: &SqlRow<'_>, id: QueueId) -> Result<StoredBody, Reason> {
    let size = message_of(row, 0, id)?.size;
    let octets = |column: usize| row.get::<_, Option<Vec<u8>>>(column).map(|octets| octets.map(Bytes::from));
    let head = octets(1).map_err(|error| format!("its header fields: {error}"))?.unwrap_or_default();
    let content = octets(2).map_err(|error| format!("its content: {error}"))?;
    match &content {
        Some(content) if (head.len() + content.len()) as u64 != size => {
            Err(format!("its content: {} octets, not {size}", head.len() + content.len()))
        }
        _ => Ok(StoredBody { head, content, size }),
    }
}

/// The messages set aside.
pub(super) fn quarantined(connection: &Connection) -> rusqlite::Result<Unreadable> {
    let mut select = connection.prepare_cached("SELECT id, reason FROM quarantine ORDER BY id")?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.extend(id_of(row, 0).map(|id| (id, row.get(1).unwrap_or_default())));
    }
    Ok(found)
}

/// A delivery's columns, from `due` on.
fn row_of(row: &SqlRow<'_>, first: usize) -> Result<Row, Reason> {
    let recipients: Vec<_> = json_of(row, first + 5, "its recipients")?;
    if recipients.is_empty() {
        return Err("its recipients: none".into());
    }
    Ok(Row {
        due: time_of(row, first)?,
        attempts: u32::try_from(number_of(row, first + 1)?)
            .map_err(|error| format!("its attempts: {error}"))?,
        held: number_of(row, first + 2)? != 0,
        bounce: number_of(row, first + 3)? != 0,
        delay_reported: number_of(row, first + 4)? != 0,
        recipients,
    })
}

fn message_of(row: &SqlRow<'_>, column: usize, id: QueueId) -> Result<Message, Reason> {
    let message: Message = json_of(row, column, "its envelope")?;
    if message.id == id { Ok(message) } else { Err(format!("its envelope is that of {}", message.id)) }
}

fn json_of<T: DeserializeOwned>(row: &SqlRow<'_>, column: usize, what: &str) -> Result<T, Reason> {
    let text = row.get_ref(column).map_err(|error| error.to_string()).and_then(|value| {
        match value.as_str_or_null() {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err("missing".into()),
            Err(error) => Err(error.to_string()),
        }
    });
    let text = text.map_err(|reason| format!("{what}: {reason}"))?;
    serde_json::from_str(text).map_err(|error| format!("{what}: {error}"))
}

fn id_of(row: &SqlRow<'_>, column: usize) -> Option<QueueId> {
    row.get(column).ok().and_then(QueueId::from_row)
}

fn destination_of(row: &SqlRow<'_>, column: usize) -> Result<Destination, Reason> {
    row.get(column).map(Destination).map_err(|error| format!("its destination: {error}"))
}

fn time_of(row: &SqlRow<'_>, column: usize) -> Result<Timestamp, Reason> {
    let micros = number_of(row, column)?;
    Timestamp::from_microsecond(micros).map_err(|error| format!("its due time: {error}"))
}

fn number_of(row: &SqlRow<'_>, column: usize) -> Result<i64, Reason> {
    row.get(column).map_err(|error| format!("a number: {error}"))
}
