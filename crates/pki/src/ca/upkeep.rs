//! What a CA needs from time to time.
//!
//! [`Authority::upkeep`] is called now and then, with the open key if it is at hand. What can be done is done; what
//! cannot, for lack of the key, is said, with what to do about it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::{Authority, AuthorityError, Policy, Signer, enrol, ocsp, records};

/// An authority with less time left is spoken of: it takes long to import a new root everywhere.
const AUTHORITY_WARNING: SignedDuration = SignedDuration::from_hours(180 * 24);
const INTERMEDIATE_WARNING: SignedDuration = SignedDuration::from_hours(60 * 24);

/// Something that was done for the CA, or has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chore {
    /// A new revocation list was signed.
    ListSigned {
        /// Its number.
        number: u64,
        /// When the next is due at the latest.
        next_update: Timestamp,
    },
    /// The list in its files was ahead of the records, which took over what it says.
    ListAdopted {
        /// Its number.
        number: u64,
        /// So many certificates on it were not known to be revoked.
        entries: u64,
    },
    /// The files of the list were not those on record, and were written again.
    ListWritten,
    /// The responder has a new certificate.
    ResponderRenewed {
        /// When it ends.
        not_after: Timestamp,
    },
    /// So many requests waited too long and expired.
    RequestsExpired(usize),
    /// Somebody has to do something.
    Needed {
        /// What.
        need: Need,
        /// Until when.
        until: Timestamp,
    },
}

/// What somebody has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Need {
    /// The revocation list has to be signed, and the key is locked.
    SignList,
    /// The responder's certificate has to be renewed, and the key is locked.
    RenewResponder,
    /// The intermediate has to be renewed, which takes the root's key.
    RenewIntermediate,
    /// The root ends: a new CA is needed, and time to import its root.
    ReplaceRoot,
}

impl Need {
    /// What to do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::SignList => "sign the list with: postern ca crl --sign, or name a [ca] passphrase_file",
            Self::RenewResponder => {
                "renew it with: postern ca crl --sign, or name a [ca] passphrase_file; until then nobody is told by OCSP \
                 whether a certificate was revoked"
            }
            Self::RenewIntermediate => {
                "renew it with: postern ca renew-intermediate, which needs the root's key; its own name and key stay"
            }
            Self::ReplaceRoot => {
                "make a new CA (postern ca init in a fresh folder), import its root wherever this one is trusted, and have \
                 certificates issued by it before this one ends"
            }
        }
    }
}

impl fmt::Display for Chore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::identity::day;
        match self {
            Self::ListSigned { number, next_update } => {
                write!(
                    f,
                    "the private CA's revocation list number {number} was signed; it is good until {}",
                    day(*next_update)
                )
            }
            Self::ListAdopted { number, entries } => write!(
                f,
                "the private CA's records were older than its revocation list number {number}, which tells of {entries} \
                 revoked certificates that were not known to be"
            ),
            Self::ListWritten => {
                f.write_str("the private CA's revocation list was written to its files again")
            }
            Self::ResponderRenewed { not_after } => {
                write!(f, "the private CA's responder (OCSP) has a new certificate until {}", day(*not_after))
            }
            Self::RequestsExpired(count) => {
                write!(f, "{count} certificate requests waited too long and expired")
            }
            Self::Needed { need, until } => {
                let what = match need {
                    Need::SignList => "revocation list",
                    Need::RenewResponder => "responder's certificate (OCSP)",
                    Need::RenewIntermediate => "intermediate certificate",
                    Need::ReplaceRoot => "root certificate",
                };
                write!(f, "the private CA's {what} is good only until {}: {}", day(*until), need.remedy())
            }
        }
    }
}

impl Authority {
    /// Does what is due, and says what was done and what is needed. Cheap when nothing is.
    ///
    /// # Errors
    /// Local: something cannot be read or written, or the signer is another CA's.
    pub fn upkeep(
        &self,
        signer: Option<&Signer>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Vec<Chore>, AuthorityError> {
        let mut chores = Vec::new();
        let expired = self.records.write(|transaction| enrol::sweep(transaction, now))?;
        if expired > 0 {
            chores.push(Chore::RequestsExpired(expired));
        }
        let adopted = self.records.write(records::untold_adoptions)?;
        chores.extend(adopted.into_iter().map(|(number, entries)| Chore::ListAdopted { number, entries }));
        chores.extend(self.keep_list(signer, policy, now)?);
        chores.extend(self.keep_responder(signer, now)?);
        chores.extend(self.coming_ends(now));
        Ok(chores)
    }

    fn keep_list(
        &self,
        signer: Option<&Signer>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Option<Chore>, AuthorityError> {
        let last = self.crl()?;
        let until = last.as_ref().map_or(now, |list| list.next_update);
        let half = last.as_ref().map_or(now, |list| half_way(list.this_update, list.next_update));
        match signer {
            _ if now < half && self.list_is_complete()? => {
                Ok(self.publish_crl()?.then_some(Chore::ListWritten))
            }
            Some(signer) => {
                let list = self.sign_crl(signer, policy, now)?;
                Ok(Some(Chore::ListSigned { number: list.number, next_update: list.next_update }))
            }
            None => Ok(Some(Chore::Needed { need: Need::SignList, until })),
        }
    }

    fn keep_responder(
        &self,
        signer: Option<&Signer>,
        now: Timestamp,
    ) -> Result<Option<Chore>, AuthorityError> {
        let last = ocsp::responder_life(self);
        let until = last.map_or(now, |(_, end)| end);
        match signer {
            _ if last.is_some_and(|(begin, end)| now < half_way(begin, end)) => Ok(None),
            Some(signer) => {
                let not_after = ocsp::renew_responder(self, signer, now)?;
                Ok(Some(Chore::ResponderRenewed { not_after }))
            }
            None => Ok(Some(Chore::Needed { need: Need::RenewResponder, until })),
        }
    }

    fn coming_ends(&self, now: Timestamp) -> Vec<Chore> {
        let near = |until: Timestamp, warning| until.duration_since(now) < warning;
        let mut chores = Vec::new();
        if let Some(seat) =
            self.intermediate.as_ref().filter(|seat| near(seat.not_after, INTERMEDIATE_WARNING))
        {
            chores.push(Chore::Needed { need: Need::RenewIntermediate, until: seat.not_after });
        }
        if near(self.root.not_after, AUTHORITY_WARNING) {
            chores.push(Chore::Needed { need: Need::ReplaceRoot, until: self.root.not_after });
        }
        chores
    }
}

fn half_way(begin: Timestamp, end: Timestamp) -> Timestamp {
    begin.checked_add(end.duration_since(begin) / 2).unwrap_or(end)
}
