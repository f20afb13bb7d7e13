//! Revoking, and the list of what was revoked (CRL, RFC 5280 §5).
//!
//! The list that counts is the one on record. The files `crl.pem` and `crl.der` are copies of it, written while the
//! records are locked, so that of two processes none puts an older list over a newer one.

use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateRevocationListParams, RevocationReason, RevokedCertParams, SerialNumber};
use rusqlite::Transaction;

use super::certify::since_1970;
use super::records::{self, Issued, Reason, Revocation, RevocationList, Serial};
use super::{Authority, AuthorityError, Policy, Signer};
use crate::Name;
use crate::files::{self, Existing, PUBLIC_FILE};

/// Lists begin a little in the past, for clients whose clocks are late.
const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// Which certificates are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with this serial number.
    Serial(Serial),
    /// All that bear this name and are in force.
    Name(String),
}

impl Which {
    /// A serial number, or else a name.
    pub fn of(text: &str) -> Self {
        // A host name such as `cafe` could be either; a serial number of ours has 32 digits.
        match text.parse::<Serial>() {
            Ok(serial) if serial.as_str().len() >= 16 || text.contains(':') => Self::Serial(serial),
            // As names are recorded: only the part before the @ keeps its capitals.
            _ => Self::Name(
                text.parse::<Name>().map_or_else(|_| text.trim().to_owned(), |name| name.to_string()),
            ),
        }
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "{serial}"),
            Self::Name(name) => f.write_str(&postern_smtp::text::clean(name, 255)),
        }
    }
}

impl Authority {
    /// The certificates that are meant, the newest first.
    ///
    /// # Errors
    /// There are none, or the records cannot be read.
    pub fn find(&self, which: &Which) -> Result<Vec<Issued>, AuthorityError> {
        self.records.read(|transaction| find(transaction, which))
    }

    /// Revokes certificates, and says which. Answers (OCSP) know it at once; the list has to be signed anew.
    ///
    /// # Errors
    /// There are none that count, the one that is meant was revoked before, or the records cannot be written.
    pub fn revoke(
        &self,
        which: &Which,
        reason: Reason,
        now: Timestamp,
    ) -> Result<Vec<Issued>, AuthorityError> {
        let revocation = Revocation { at: now, reason };
        self.records.write(|transaction| {
            let mut meant = still_counting(find(transaction, which)?, which, now)?;
            for issued in &mut meant {
                records::revoke(transaction, &issued.serial, revocation)?;
                issued.revoked = Some(revocation);
            }
            Ok(meant)
        })
    }

    /// Signs the list of what was revoked, and puts it into its files.
    ///
    /// # Errors
    /// Local: the signer is another CA's, the CA ended, or something cannot be written.
    pub fn sign_crl(
        &self,
        signer: &Signer,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<RevocationList, AuthorityError> {
        self.check_signer(signer, now)?;
        let list = self.records.write(|transaction| {
            self.catch_up_in(transaction)?;
            let number = records::next_number(transaction)?;
            // What ended stays on one more list (RFC 5280 §3.3).
            let since = now.checked_sub(policy.crl_life).unwrap_or(Timestamp::MIN);
            let revoked = records::revoked_after(transaction, &signer.seat.id, since)?;
            let list = sign(signer, number, &revoked, policy.crl_life, now)?;
            records::store_list(transaction, &list, &signer.seat.id)?;
            Ok(list)
        })?;
        self.publish_crl()?;
        Ok(list)
    }

    /// The last list, if there is one.
    ///
    /// # Errors
    /// Local: the records cannot be read.
    pub fn crl(&self) -> Result<Option<RevocationList>, AuthorityError> {
        self.records.read(|transaction| records::latest_list(transaction, &self.seat().id))
    }

    /// The last list, for whoever lets clients in by it: `None` only where nothing was ever revoked.
    ///
    /// # Errors
    /// Local: something was revoked and there is no list of it, or the records cannot be read.
    pub fn crl_for_clients(&self) -> Result<Option<RevocationList>, AuthorityError> {
        self.records.read(|transaction| {
            let id = &self.seat().id;
            let list = records::latest_list(transaction, id)?;
            if list.is_none() && records::was_revoked_since(transaction, id, Timestamp::MIN)? {
                return Err(AuthorityError::NoList { folder: self.folder.path().to_owned() });
            }
            Ok(list)
        })
    }

    /// Whether nothing was revoked since the last list was signed.
    pub(super) fn list_is_complete(&self) -> Result<bool, AuthorityError> {
        self.records.read(|transaction| {
            let id = &self.seat().id;
            let Some(list) = records::latest_list(transaction, id)? else { return Ok(false) };
            if records::is_adopted(transaction, &list)? {
                return Ok(false);
            }
            let signed = list.this_update.checked_add(BACKDATED).unwrap_or(list.this_update);
            Ok(!records::was_revoked_since(transaction, id, signed)?)
        })
    }

    /// Sees to it that the files hold the last list; a crash may have come between the record and them. Says whether
    /// they did not.
    pub(super) fn publish_crl(&self) -> Result<bool, AuthorityError> {
        self.records.write(|transaction| {
            // A newer list than ours is never written over.
            self.catch_up_in(transaction)?;
            let Some(list) = records::latest_list(transaction, &self.seat().id)? else { return Ok(false) };
            let (der, pem) = (self.folder.crl_der(), self.folder.crl_pem());
            let holds = |path, content: &[u8]| std::fs::read(path).is_ok_and(|found| found == content);
            let text = list.pem();
            if holds(&der, &list.der) && holds(&pem, text.as_bytes()) {
                return Ok(false);
            }
            files::write(&der, &list.der, PUBLIC_FILE, Existing::Replace)?;
            files::write(&pem, text.as_bytes(), PUBLIC_FILE, Existing::Replace)?;
            Ok(true)
        })
    }
}

fn find(transaction: &Transaction<'_>, which: &Which) -> Result<Vec<Issued>, AuthorityError> {
    let found = match which {
        Which::Serial(serial) => records::by_serial(transaction, serial)?.into_iter().collect(),
        Which::Name(name) => records::by_name(transaction, name)?,
    };
    if found.is_empty() {
        return Err(AuthorityError::NoSuchCertificate { which: which.to_string() });
    }
    Ok(found)
}

fn still_counting(found: Vec<Issued>, which: &Which, now: Timestamp) -> Result<Vec<Issued>, AuthorityError> {
    let (revoked, counting): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|issued| issued.revoked.is_some());
    let counting: Vec<_> = match which {
        Which::Serial(_) => counting,
        Which::Name(_) => counting.into_iter().filter(|issued| now <= issued.not_after).collect(),
    };
    match (counting.is_empty(), revoked.first().and_then(|issued| Some((issued, issued.revoked?)))) {
        (false, _) => Ok(counting),
        (true, Some((issued, revocation))) => {
            Err(AuthorityError::AlreadyRevoked { serial: issued.serial.to_string(), at: revocation.at })
        }
        (true, None) => Err(AuthorityError::NoSuchCertificate { which: which.to_string() }),
    }
}

fn sign(
    signer: &Signer,
    number: u64,
    revoked: &[(Serial, Revocation)],
    life: SignedDuration,
    now: Timestamp,
) -> Result<RevocationList, AuthorityError> {
    let this_update = now.checked_sub(BACKDATED).unwrap_or(now);
    let next_update = now.checked_add(life).unwrap_or(Timestamp::MAX);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let entry = |(serial, revocation): &(Serial, Revocation)| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial.octets()),
        revocation_time: epoch + since_1970(revocation.at),
        reason_code: Some(library_reason(revocation.reason)),
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: epoch + since_1970(this_update),
        next_update: epoch + since_1970(next_update),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: signer.seat.key_id()?,
    };
    let signed = params.signed_by(&signer.issuer()?).map_err(|error| AuthorityError::crypto(&error))?;
    Ok(RevocationList { number, this_update, next_update, der: signed.der().to_vec() })
}

fn library_reason(reason: Reason) -> RevocationReason {
    match reason {
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::AffiliationChanged => RevocationReason::AffiliationChanged,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
        Reason::PrivilegeWithdrawn => RevocationReason::PrivilegeWithdrawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_hexadecimal_digits_is_no_serial_number() {
        assert_eq!(Which::of("cafe"), Which::Name("cafe".into()));
        assert_eq!(Which::of("Anna@Example.org"), Which::Name("Anna@example.org".into()));
        let serial = "4a0bff00112233445566778899aabbcc";
        assert_eq!(Which::of(serial), Which::Serial(serial.parse().unwrap()));
        assert_eq!(Which::of("4A:0B"), Which::Serial("4a0b".parse().unwrap()));
    }
}
