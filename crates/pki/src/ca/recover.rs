//! Revocation lists that know more than the records.
//!
//! Whoever puts an older `records.db` back, or has to begin it anew, must not make what was revoked count again: programs
//! everywhere believe the list with the higher number, and some of them have it. So the list in the CA's files is looked at
//! whenever the CA is opened and before anything is signed. If it is this CA's and is ahead of the records, they take over
//! its number and what is on it, and [`Authority::upkeep`] says so.
//!
//! What it deliberately does not do: find certificates again that were issued and forgotten. Only a backup knows them.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::Transaction;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};

use super::records::{self, Reason, Records, Revocation, RevocationList, Serial};
use super::{Authority, AuthorityError};
use crate::certificate::Certificate;
use crate::identity::timestamp;
use crate::{Error, files, signature};

/// A list of this CA's, and what is on it.
struct Found {
    list: RevocationList,
    revoked: Vec<(Serial, Revocation)>,
}

impl Authority {
    /// Begins the records of a CA that has lost them and of which there is no backup, with what its last revocation list
    /// says. What was issued and is not on that list is forgotten: it cannot be revoked.
    ///
    /// # Errors
    /// Local: there is no CA, there are records, or something cannot be read or written.
    pub fn begin_records_again(folder: &Path) -> Result<Self, AuthorityError> {
        let whole = super::Folder::new(folder);
        if !Self::is_in(folder) {
            return Err(AuthorityError::Absent { folder: folder.to_owned() });
        }
        if whole.records().try_exists().unwrap_or(true) {
            return Err(AuthorityError::RecordsThere { path: whole.records() });
        }
        Records::begin(folder)?;
        Self::open_whatever_its_age(folder)
    }

    /// Takes over what the list in the files knows and the records do not.
    pub(super) fn catch_up(&self) -> Result<(), AuthorityError> {
        // Most often nothing differs, and nobody has to wait for a lock.
        if self.records.read(|transaction| Ok(self.lists_ahead(transaction)?.is_empty()))? {
            return Ok(());
        }
        self.records.write(|transaction| self.catch_up_in(transaction))
    }

    /// As [`catch_up`](Self::catch_up), within a transaction that does more. Lists are put into their files in such a one,
    /// so that none is half-way there.
    pub(super) fn catch_up_in(&self, transaction: &Transaction<'_>) -> Result<(), AuthorityError> {
        for found in self.lists_ahead(transaction)? {
            records::adopt_list(transaction, &found.list, &found.revoked, &self.seat().id)?;
        }
        Ok(())
    }

    /// The lists in files that are this CA's and are not behind the one on record, the oldest first.
    fn lists_ahead(&self, transaction: &Transaction<'_>) -> Result<Vec<Found>, AuthorityError> {
        let last = records::latest_list(transaction, &self.seat().id)?;
        let is_ahead = |found: &Found| {
            last.as_ref().is_none_or(|last| {
                found.list.number > last.number
                    || (found.list.number == last.number && found.list.der != last.der)
            })
        };
        let mut ahead = Vec::new();
        for path in [self.folder.crl_der(), self.folder.crl_pem()] {
            let lists = match files::read_lists(&path) {
                Err(Error::Missing { .. } | Error::Broken { .. }) => continue,
                lists => lists?,
            };
            let others =
                lists.iter().filter(|list| last.as_ref().is_none_or(|last| last.der != list.as_ref()));
            ahead.extend(others.filter_map(|list| self.understand(list)).filter(is_ahead));
        }
        ahead.sort_by_key(|found| found.list.number);
        ahead.dedup_by(|one, other| one.list == other.list);
        Ok(ahead)
    }

    /// What a list says, if it was signed by this CA.
    fn understand(&self, der: &[u8]) -> Option<Found> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        let spki = Certificate::new(&self.seat().der).spki()?.into_owned();
        if signature::is_made_by(der, &spki) != Some(true) {
            return None;
        }
        let number = match list.crl_number()?.to_u64_digits()[..] {
            [] => 0,
            [number] => number,
            _ => return None,
        };
        let this_update = timestamp(list.last_update().timestamp());
        let next_update = list.next_update().map_or(this_update, |time| timestamp(time.timestamp()));
        let revoked = list.iter_revoked_certificates().map(entry).collect();
        Some(Found { list: RevocationList { number, this_update, next_update, der: der.to_vec() }, revoked })
    }
}

fn entry(revoked: &RevokedCertificate<'_>) -> (Serial, Revocation) {
    let code = revoked.reason_code().map(|(_, code)| code.0);
    let reason = Reason::ALL.into_iter().find(|reason| Some(reason.code()) == code).unwrap_or_default();
    let at: Timestamp = timestamp(revoked.revocation_date.timestamp());
    (Serial::new(revoked.raw_serial()), Revocation { at, reason })
}
