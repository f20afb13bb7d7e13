//! What was issued, and what of it was revoked.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension as _, Row, Transaction, named_params, params};

use crate::ca::AuthorityError;
use crate::identity::{hexadecimal, timestamp};
use crate::request::pem;

/// The longest serial number (RFC 5280 §4.1.2.2), in octets.
const LONGEST_SERIAL: usize = 20;

/// A certificate's serial number, in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(String);

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A server shows it (serverAuth).
    Server,
    /// A person or device shows it to a server (clientAuth).
    Client,
}

/// Why a certificate is revoked (RFC 5280 §5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reason {
    /// Not said.
    #[default]
    Unspecified,
    /// Somebody else has, or may have, its key.
    KeyCompromise,
    /// Its names or its organisation changed.
    AffiliationChanged,
    /// Another took its place.
    Superseded,
    /// It is not needed any more.
    CessationOfOperation,
    /// Its owner may not have it any more.
    PrivilegeWithdrawn,
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was issued, and not revoked.
    Good,
    /// It was revoked.
    Revoked(Revocation),
    /// This issuer issued no such certificate.
    Unknown,
}

/// What became of the certificates for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyHistory {
    /// None was revoked.
    Clean,
    /// One was revoked, for a reason that says nothing about the key.
    Revoked,
    /// One was revoked because somebody else may have the key.
    Compromised,
}

/// A certificate that was issued, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its serial number.
    pub serial: Serial,
    /// What it is for.
    pub purpose: Purpose,
    /// Whom it is for, in words.
    pub subject: String,
    /// The names that it bears.
    pub names: Vec<String>,
    /// It is good from this time on.
    pub not_before: Timestamp,
    /// It is good until this time.
    pub not_after: Timestamp,
    /// SHA-256 of it in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// The request that it was issued for, if somebody sent one.
    pub request: Option<String>,
    /// Who approved it.
    pub approved_by: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// Whether it was revoked.
    pub revoked: Option<Revocation>,
    /// The certificate itself.
    pub der: Vec<u8>,
}

impl Serial {
    pub(crate) fn new(octets: &[u8]) -> Self {
        let zeros = octets.iter().take_while(|octet| **octet == 0).count();
        Self(hexadecimal(octets.get(zeros..).unwrap_or_default()))
    }

    /// Its octets, the highest first.
    pub fn octets(&self) -> Vec<u8> {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        self.0.as_bytes().chunks(2).filter_map(pair).collect()
    }

    /// Its hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Serial {
    type Err = AuthorityError;

    /// With or without colons, in capitals or not, as openssl and browsers show it.
    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let digits: String = text.trim().trim_start_matches("0x").chars().filter(|c| *c != ':').collect();
        let bare = digits.trim_start_matches('0').to_ascii_lowercase();
        let even = if bare.len() % 2 == 1 { format!("0{bare}") } else { bare };
        let is_serial = !even.is_empty()
            && even.len() <= 2 * LONGEST_SERIAL
            && even.bytes().all(|octet| octet.is_ascii_hexdigit());
        if is_serial {
            return Ok(Self(even));
        }
        Err(AuthorityError::BadSerial { text: text.chars().take(80).collect() })
    }
}

impl Purpose {
    /// How it is written on the command line.
    pub fn token(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl FromStr for Purpose {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            other => Err(format!("there is no purpose {other:?}; choose server or client")),
        }
    }
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// How it is written on the command line.
    pub fn token(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    /// Its number in lists and answers (RFC 5280 §5.3.1).
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

impl FromStr for Reason {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|reason| reason.token() == wanted).ok_or_else(|| {
            AuthorityError::BadReason {
                text: text.chars().take(80).collect(),
                known: Self::ALL.map(Self::token).join(", "),
            }
        })
    }
}

impl Issued {
    /// In PEM.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// Whether it counts at this time.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.not_before <= now && now <= self.not_after
    }
}

/// Whether no certificate has this number.
pub(crate) fn serial_is_free(transaction: &Transaction<'_>, serial: &Serial) -> Result<bool, AuthorityError> {
    let mut statement = transaction.prepare_cached("SELECT 1 FROM certificate WHERE serial = ?1")?;
    Ok(!statement.exists([serial.as_str()])?)
}

/// What became of the certificates for the key with this fingerprint.
pub(crate) fn key_history(transaction: &Transaction<'_>, key: &str) -> Result<KeyHistory, AuthorityError> {
    let sql = "SELECT max(reason = ?2) FROM certificate WHERE key = ?1 AND revoked IS NOT NULL";
    let values = params![key, Reason::KeyCompromise.code()];
    let compromised: Option<bool> = transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    Ok(match compromised {
        None => KeyHistory::Clean,
        Some(false) => KeyHistory::Revoked,
        Some(true) => KeyHistory::Compromised,
    })
}

/// Records a certificate. `issuer` is the fingerprint of the key that signed it, `key` that of its own.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    issued: &Issued,
    issuer: &str,
    key: &str,
) -> Result<(), AuthorityError> {
    let sql =
        "INSERT INTO certificate (serial, issuer, purpose, subject, not_before, not_after, fingerprint, key,
                                        request, approved_by, issued, der)
               VALUES (:serial, :issuer, :purpose, :subject, :not_before, :not_after, :fingerprint, :key,
                       :request, :approved_by, :issued, :der)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":serial": issued.serial.as_str(),
        ":issuer": issuer,
        ":purpose": issued.purpose.token(),
        ":subject": issued.subject,
        ":not_before": issued.not_before.as_second(),
        ":not_after": issued.not_after.as_second(),
        ":fingerprint": issued.fingerprint,
        ":key": key,
        ":request": issued.request,
        ":approved_by": issued.approved_by,
        ":issued": issued.issued.as_second(),
        ":der": issued.der,
    })?;
    let sql = "INSERT OR IGNORE INTO certificate_name (name, serial, place) VALUES (?1, ?2, ?3)";
    let mut statement = transaction.prepare_cached(sql)?;
    for (place, name) in (0i64..).zip(&issued.names) {
        statement.execute(params![name, issued.serial.as_str(), place])?;
    }
    Ok(())
}

/// The newest certificates, at most `most`.
pub(crate) fn issued(transaction: &Transaction<'_>, most: u32) -> Result<Vec<Issued>, AuthorityError> {
    let sql = format!("SELECT {COLUMNS} FROM certificate ORDER BY issued DESC, serial LIMIT ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([most], certificate)?.collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|row| with_names(transaction, row)).collect()
}

/// How many certificates were issued, and how many of them were revoked.
pub(crate) fn count(transaction: &Transaction<'_>) -> Result<(u64, u64), AuthorityError> {
    let sql = "SELECT count(*), count(revoked) FROM certificate";
    let counts: (i64, i64) = transaction.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((counts.0.unsigned_abs(), counts.1.unsigned_abs()))
}

pub(crate) fn by_serial(
    transaction: &Transaction<'_>,
    serial: &Serial,
) -> Result<Option<Issued>, AuthorityError> {
    let sql = format!("SELECT {COLUMNS} FROM certificate WHERE serial = ?1");
    let row = transaction.prepare_cached(&sql)?.query_row([serial.as_str()], certificate).optional()?;
    row.map(|row| with_names(transaction, row)).transpose()
}

/// All that bear this name, the newest first.
pub(crate) fn by_name(transaction: &Transaction<'_>, name: &str) -> Result<Vec<Issued>, AuthorityError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM certificate WHERE serial IN (SELECT serial FROM certificate_name WHERE name = ?1)
         ORDER BY issued DESC, serial"
    );
    let mut statement = transaction.prepare_cached(&sql)?;
    let rows = statement.query_map([name], certificate)?.collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|row| with_names(transaction, row)).collect()
}

/// What is known of a certificate of this issuer.
pub(crate) fn standing(
    transaction: &Transaction<'_>,
    issuer: &str,
    serial: &Serial,
) -> Result<Standing, AuthorityError> {
    let sql = "SELECT revoked, reason FROM certificate WHERE serial = ?1 AND issuer = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([serial.as_str(), issuer], |row| revocation(row, 0)).optional()?;
    Ok(match found {
        None => listed(transaction, issuer, serial)?,
        Some(None) => Standing::Good,
        Some(Some(revocation)) => Standing::Revoked(revocation),
    })
}

/// What a list says of a certificate that is not on record otherwise.
fn listed(transaction: &Transaction<'_>, issuer: &str, serial: &Serial) -> Result<Standing, AuthorityError> {
    let sql = "SELECT revoked, reason FROM listed WHERE serial = ?1 AND issuer = ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let found = statement.query_row([serial.as_str(), issuer], |row| revocation(row, 0)).optional()?;
    Ok(found.flatten().map_or(Standing::Unknown, Standing::Revoked))
}

/// Records that a certificate was revoked of which nothing else is known.
pub(super) fn list(
    transaction: &Transaction<'_>,
    issuer: &str,
    serial: &Serial,
    revocation: Revocation,
) -> Result<(), AuthorityError> {
    let sql = "INSERT OR IGNORE INTO listed (serial, issuer, revoked, reason) VALUES (?1, ?2, ?3, ?4)";
    let values = params![serial.as_str(), issuer, revocation.at.as_second(), revocation.reason.code()];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

pub(crate) fn revoke(
    transaction: &Transaction<'_>,
    serial: &Serial,
    revocation: Revocation,
) -> Result<(), AuthorityError> {
    let sql = "UPDATE certificate SET revoked = ?2, reason = ?3 WHERE serial = ?1 AND revoked IS NULL";
    let values = params![serial.as_str(), revocation.at.as_second(), revocation.reason.code()];
    transaction.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// The revoked certificates of an issuer that end after this time or at one that nobody knows, for its list.
pub(crate) fn revoked_after(
    transaction: &Transaction<'_>,
    issuer: &str,
    end: Timestamp,
) -> Result<Vec<(Serial, Revocation)>, AuthorityError> {
    let sql = "SELECT serial, revoked, reason FROM certificate
               WHERE issuer = ?1 AND revoked IS NOT NULL AND not_after >= ?2
               UNION ALL SELECT serial, revoked, reason FROM listed WHERE issuer = ?1 ORDER BY revoked, serial";
    let mut statement = transaction.prepare_cached(sql)?;
    let row = |row: &Row<'_>| Ok((Serial(row.get(0)?), revocation(row, 1)?));
    let rows = statement.query_map(params![issuer, end.as_second()], row)?;
    let entry = |(serial, revocation): (Serial, Option<Revocation>)| Some((serial, revocation?));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter_map(entry).collect())
}

/// Whether one of an issuer's certificates was revoked at this time or later.
pub(crate) fn was_revoked_since(
    transaction: &Transaction<'_>,
    issuer: &str,
    time: Timestamp,
) -> Result<bool, AuthorityError> {
    let sql = "SELECT 1 FROM certificate WHERE issuer = ?1 AND revoked >= ?2 LIMIT 1";
    Ok(transaction.prepare_cached(sql)?.exists(params![issuer, time.as_second()])?)
}

const COLUMNS: &str = "serial, purpose, subject, not_before, not_after, fingerprint, request, approved_by, issued, \
                       revoked, reason, der";

fn certificate(row: &Row<'_>) -> rusqlite::Result<Issued> {
    Ok(Issued {
        serial: Serial(row.get(0)?),
        purpose: purpose(row, 1)?,
        subject: row.get(2)?,
        names: Vec::new(),
        not_before: timestamp(row.get(3)?),
        not_after: timestamp(row.get(4)?),
        fingerprint: row.get(5)?,
        request: row.get(6)?,
        approved_by: row.get(7)?,
        issued: timestamp(row.get(8)?),
        revoked: revocation(row, 9)?,
        der: row.get(11)?,
    })
}

/// The purpose in this column.
pub(super) fn purpose(row: &Row<'_>, column: usize) -> rusqlite::Result<Purpose> {
    let text: String = row.get(column)?;
    text.parse()
        .map_err(|error: String| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

/// The revocation in this column (when) and the next (why).
fn revocation(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Revocation>> {
    let (at, code): (Option<i64>, Option<u8>) = (row.get(column)?, row.get(column + 1)?);
    let reason = Reason::ALL.into_iter().find(|reason| Some(reason.code()) == code).unwrap_or_default();
    Ok(at.map(|at| Revocation { at: timestamp(at), reason }))
}

fn with_names(transaction: &Transaction<'_>, mut issued: Issued) -> Result<Issued, AuthorityError> {
    let sql = "SELECT name FROM certificate_name WHERE serial = ?1 ORDER BY place";
    let mut statement = transaction.prepare_cached(sql)?;
    issued.names =
        statement.query_map([issued.serial.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(issued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_number_is_read_as_other_programs_show_it() {
        for text in ["4A:0b:FF", "4a0bff", "0x4A0BFF", " 004a0bff "] {
            let serial: Serial = text.parse().unwrap();
            assert_eq!(serial.as_str(), "4a0bff");
            assert_eq!(serial.octets(), [0x4a, 0x0b, 0xff]);
        }
        assert_eq!("abc".parse::<Serial>().unwrap(), Serial::new(&[0, 0x0a, 0xbc]));
        for text in ["", "0", "mail.example.org", &"f".repeat(41)] {
            assert!(matches!(text.parse::<Serial>(), Err(AuthorityError::BadSerial { .. })), "{text:?}");
        }
    }

    #[test]
    fn a_reason_is_read_as_it_is_written() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse::<Reason>().unwrap(), reason);
        }
        let error = "hold".parse::<Reason>().unwrap_err().to_string();
        assert!(error.contains("key-compromise"), "{error}");
    }
}
