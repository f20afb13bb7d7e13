//! The revocation lists that were signed.

use jiff::Timestamp;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

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
    let number =
        i64::try_from(list.number).map_err(|_| AuthorityError::damaged("a list has too high a number"))?;
    let sql = "INSERT INTO list (number, issuer, this_update, next_update, der) VALUES (?1, ?2, ?3, ?4, ?5)";
    let times = (list.this_update.as_second(), list.next_update.as_second());
    transaction.prepare_cached(sql)?.execute(params![number, issuer, times.0, times.1, list.der])?;
    transaction.execute("DELETE FROM list WHERE number <= ?1", [number - KEPT])?;
    Ok(())
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
