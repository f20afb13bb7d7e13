//! What was asked for.

use std::fmt;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction, named_params, params};

use super::certificates::purpose;
use super::{Purpose, Serial};
use crate::ca::AuthorityError;
use crate::identity::timestamp;
use crate::request::pem;

/// A request for a certificate, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolment {
    /// What it is known by. Whoever knows it may see what becomes of the request, so it cannot be guessed.
    pub id: String,
    /// What the certificate is for.
    pub purpose: Purpose,
    /// The names that are asked for.
    pub names: Vec<String>,
    /// Who sent it.
    pub from: String,
    /// When it came.
    pub received: Timestamp,
    /// What became of it.
    pub state: State,
    /// The request itself (PKCS #10).
    pub der: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for approval.
    Waiting,
    /// It was approved, and its certificate has this serial number.
    Issued(Serial),
    /// It was denied.
    Denied {
        /// Who did.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    Expired,
}

/// What a decision on a request is.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) state: State,
    pub(crate) by: String,
    pub(crate) at: Timestamp,
}

impl Enrolment {
    /// The request in PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE REQUEST", &self.der)
    }
}

impl State {
    fn token(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Issued(_) => "issued",
            Self::Denied { .. } => "denied",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// Records a request that waits.
pub(crate) fn insert_request(
    transaction: &Transaction<'_>,
    enrolment: &Enrolment,
    digest: &str,
) -> Result<(), AuthorityError> {
    let sql = "INSERT INTO request (id, digest, purpose, names, sender, received, state, der)
               VALUES (:id, :digest, :purpose, :names, :sender, :received, 'waiting', :der)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": enrolment.id,
        ":digest": digest,
        ":purpose": enrolment.purpose.token(),
        ":names": enrolment.names.join("\n"),
        ":sender": enrolment.from,
        ":received": enrolment.received.as_second(),
        ":der": enrolment.der,
    })?;
    Ok(())
}

/// The last request with this digest.
pub(crate) fn by_digest(
    transaction: &Transaction<'_>,
    digest: &str,
) -> Result<Option<Enrolment>, AuthorityError> {
    let sql = format!("SELECT {COLUMNS} FROM request WHERE digest = ?1 ORDER BY received DESC, id LIMIT 1");
    Ok(transaction.prepare_cached(&sql)?.query_row([digest], enrolment).optional()?)
}

pub(crate) fn by_id(transaction: &Transaction<'_>, id: &str) -> Result<Option<Enrolment>, AuthorityError> {
    let sql = format!("SELECT {COLUMNS} FROM request WHERE id = ?1");
    Ok(transaction.prepare_cached(&sql)?.query_row([id], enrolment).optional()?)
}

/// All requests that are remembered: those that wait first, each group with the newest first.
pub(crate) fn requests(transaction: &Transaction<'_>, most: u32) -> Result<Vec<Enrolment>, AuthorityError> {
    let sql =
        format!("SELECT {COLUMNS} FROM request ORDER BY state <> 'waiting', received DESC, id LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    Ok(statement.query_map([most], enrolment)?.collect::<Result<_, _>>()?)
}

/// How many wait.
pub(crate) fn waiting_count(transaction: &Transaction<'_>) -> Result<u64, AuthorityError> {
    let sql = "SELECT count(*) FROM request WHERE state = 'waiting'";
    let count: i64 = transaction.query_row(sql, [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Writes down what became of a request.
pub(crate) fn decide(
    transaction: &Transaction<'_>,
    id: &str,
    decision: &Decision,
) -> Result<(), AuthorityError> {
    let (serial, reason) = match &decision.state {
        State::Issued(serial) => (Some(serial.as_str()), None),
        State::Denied { reason, .. } => (None, Some(reason.as_str())),
        State::Waiting | State::Expired => (None, None),
    };
    let sql = "UPDATE request SET state = :state, decided = :at, by = :by, reason = :reason, serial = :serial
               WHERE id = :id";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": id,
        ":state": decision.state.token(),
        ":at": decision.at.as_second(),
        ":by": decision.by,
        ":reason": reason,
        ":serial": serial,
    })?;
    Ok(())
}

/// Lets requests expire that came before `received`, and forgets those that were decided on before `decided`. Says how
/// many expired.
pub(crate) fn sweep(
    transaction: &Transaction<'_>,
    received: Timestamp,
    decided: Timestamp,
    now: Timestamp,
) -> Result<usize, AuthorityError> {
    let sql = "UPDATE request SET state = 'expired', decided = ?2 WHERE state = 'waiting' AND received < ?1";
    let expired = transaction.prepare_cached(sql)?.execute(params![received.as_second(), now.as_second()])?;
    let sql = "DELETE FROM request WHERE state <> 'waiting' AND decided < ?1";
    transaction.prepare_cached(sql)?.execute([decided.as_second()])?;
    Ok(expired)
}

const COLUMNS: &str = "id, purpose, names, sender, received, state, by, reason, serial, der";

fn enrolment(row: &Row<'_>) -> rusqlite::Result<Enrolment> {
    let names: String = row.get(2)?;
    Ok(Enrolment {
        id: row.get(0)?,
        purpose: purpose(row, 1)?,
        names: names.lines().map(str::to_owned).collect(),
        from: row.get(3)?,
        received: timestamp(row.get(4)?),
        state: state(row)?,
        der: row.get(9)?,
    })
}

fn state(row: &Row<'_>) -> rusqlite::Result<State> {
    let token: String = row.get(5)?;
    let text = |column| row.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
    match token.as_str() {
        "waiting" => Ok(State::Waiting),
        "issued" => {
            let wrong = |error: AuthorityError| {
                rusqlite::Error::FromSqlConversionFailure(8, Type::Text, error.to_string().into())
            };
            Ok(State::Issued(text(8)?.parse().map_err(wrong)?))
        }
        "denied" => Ok(State::Denied { by: text(6)?, reason: text(7)? }),
        "expired" => Ok(State::Expired),
        other => {
            let error = format!("no request is in the state {other:?}");
            Err(rusqlite::Error::FromSqlConversionFailure(5, Type::Text, error.into()))
        }
    }
}
