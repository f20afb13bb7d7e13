//! The revocation lists that were signed.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::certificates::{self, Revocation, Serial, Standing};
use crate::ca::AuthorityError;
use crate::identity::timestamp;
use crate::request::pem;

/// So many old lists are kept, for whoever asks what was said when.
const KEPT: i64 = 10;

/// A signed list of the certificates that were revoked (CRL, RFC 5280 §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Its number; each is higher than the one before.
    pub number: u64,
    /// When it was signed.
    pub this_update: Timestamp,
    /// When the next is there at the latest.
    pub next_update: Timestamp,
    /// The list itself.
    pub der: Vec<u8>,
}

impl RevocationList {
    /// In PEM.
    pub fn pem(&self) -> String {
        pem("X509 CRL", &self.der)
    }
}

/// The number of the next list. Numbers go on when the CA is changed, and none comes twice.
pub(crate) fn next_number(transaction: &Transaction<'_>) -> Result<u64, AuthorityError> {
    let last: i64 =
        transaction.query_row("SELECT coalesce(max(number), 0) FROM list", [], |row| row.get(0))?;
    Ok(last.unsigned_abs() + 1)
}

/// Records a list. `issuer` is the fingerprint of the key that signed it.
pub(crate) fn store_list(
    transaction: &Transaction<'_>,
    list: &RevocationList,
    issuer: &str,
) -> Result<(), AuthorityError> {
    let number = number_of(list)?;
    let sql = "INSERT OR REPLACE INTO list (number, issuer, this_update, next_update, der) VALUES (?1, ?2, ?3, ?4, ?5)";
    let times = (list.this_update.as_second(), list.next_update.as_second());
    transaction.prepare_cached(sql)?.execute(params![number, issuer, times.0, times.1, list.der])?;
    transaction.execute("DELETE FROM list WHERE number <= ?1", [number - KEPT])?;
    Ok(())
}

/// Takes over a list that was found in its file: its number, and what it says was revoked.
pub(crate) fn adopt_list(
    transaction: &Transaction<'_>,
    list: &RevocationList,
    revoked: &[(Serial, Revocation)],
    issuer: &str,
) -> Result<(), AuthorityError> {
    let mut entries = 0i64;
    for (serial, revocation) in revoked {
        match certificates::standing(transaction, issuer, serial)? {
            Standing::Revoked(_) => continue,
            Standing::Good => certificates::revoke(transaction, serial, *revocation)?,
            Standing::Unknown => certificates::list(transaction, issuer, serial, *revocation)?,
        }
        entries += 1;
    }
    store_list(transaction, list, issuer)?;
    let sql = "INSERT OR REPLACE INTO adopted (number, entries, told) VALUES (?1, ?2, 0)";
    transaction.prepare_cached(sql)?.execute(params![number_of(list)?, entries])?;
    Ok(())
}

/// Whether this list was found in its file: others may have been revoked that it does not know.
pub(crate) fn is_adopted(
    transaction: &Transaction<'_>,
    list: &RevocationList,
) -> Result<bool, AuthorityError> {
    let mut statement = transaction.prepare_cached("SELECT 1 FROM adopted WHERE number = ?1")?;
    Ok(statement.exists([number_of(list)?])?)
}

/// The lists that were taken over and nobody was told of: their numbers, and how much on them was not on record. They are
/// told of now.
pub(crate) fn untold_adoptions(transaction: &Transaction<'_>) -> Result<Vec<(u64, u64)>, AuthorityError> {
    let sql = "UPDATE adopted SET told = 1 WHERE told = 0 RETURNING number, entries";
    let mut statement = transaction.prepare_cached(sql)?;
    let row =
        |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()));
    Ok(statement.query_map([], row)?.collect::<Result<_, _>>()?)
}

fn number_of(list: &RevocationList) -> Result<i64, AuthorityError> {
    i64::try_from(list.number).map_err(|_| AuthorityError::damaged("a list has too high a number"))
}

/// The last list of this issuer.
pub(crate) fn latest_list(
    transaction: &Transaction<'_>,
    issuer: &str,
) -> Result<Option<RevocationList>, AuthorityError> {
    let sql = "SELECT number, this_update, next_update, der FROM list WHERE issuer = ?1
               ORDER BY number DESC LIMIT 1";
    let list = |row: &Row<'_>| {
        Ok(RevocationList {
            number: row.get::<_, i64>(0)?.unsigned_abs(),
            this_update: timestamp(row.get(1)?),
            next_update: timestamp(row.get(2)?),
            der: row.get(3)?,
        })
    };
    Ok(transaction.prepare_cached(sql)?.query_row([issuer], list).optional()?)
}
