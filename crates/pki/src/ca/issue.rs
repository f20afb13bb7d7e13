//! Issuing: an order that was approved becomes a certificate that is recorded.

use jiff::Timestamp;
use rusqlite::Transaction;

use super::certify::Leaf;
use super::records::KeyHistory;
use super::{Authority, AuthorityError, Issued, Policy, Purpose, Signer, policy, records};
use crate::certificate::Certificate;
use crate::identity::fingerprint;
use crate::{Error, Name, PrivateKey, SigningRequest};

/// So often a number is drawn before something must be wrong with the source of chance.
const DRAWS: usize = 4;

/// What is to be issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What for.
    pub purpose: Purpose,
    /// The names; at least one.
    pub names: Vec<Name>,
    /// What stands as the common name: one of the names; the first if nothing is said.
    pub common_name: Option<String>,
    /// The public key (SubjectPublicKeyInfo) in DER.
    spki: Vec<u8>,
}

/// Who lets a certificate be issued, with what key and by which policy.
#[derive(Debug, Clone, Copy)]
pub struct Approval<'a> {
    /// The CA's open key.
    pub signer: &'a Signer,
    /// What says how long certificates are good for, and where the CA is reached.
    pub policy: &'a Policy,
    /// Who approves, as it is recorded.
    pub by: &'a str,
}

impl Order {
    /// What a request asks for. Its form is checked when it is issued; whether its names may be asked for is not: whoever
    /// orders has the CA's key.
    pub fn of_request(request: &SigningRequest, purpose: Purpose) -> Result<Self, AuthorityError> {
        policy::check_form(request, purpose)?;
        let common_name = request.subject.common_name.clone().filter(|name| !name.is_empty());
        Ok(Self { purpose, names: request.names.clone(), common_name, spki: request.spki().to_vec() })
    }

    /// A certificate for a key that is here.
    ///
    /// # Errors
    /// No name, or one that does not fit the purpose.
    pub fn of_key(key: &PrivateKey, names: Vec<Name>, purpose: Purpose) -> Result<Self, AuthorityError> {
        policy::check_names(&names, purpose)?;
        Ok(Self { purpose, names, common_name: None, spki: key.spki() })
    }
}

impl Authority {
    /// Issues a certificate. It is on record before this returns.
    ///
    /// # Errors
    /// The key is known to be in others' hands. Local: the signer is another CA's, the CA ended, or the records cannot be
    /// written.
    pub fn issue(
        &self,
        order: &Order,
        approval: &Approval<'_>,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        self.records.write(|transaction| self.issue_in(transaction, order, approval, None, now))
    }

    /// Issues within a transaction that does more: the request is decided on in the same one.
    pub(super) fn issue_in(
        &self,
        transaction: &Transaction<'_>,
        order: &Order,
        approval: &Approval<'_>,
        request: Option<&str>,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        self.check_signer(approval.signer, now)?;
        let key = fingerprint(&order.spki);
        if records::key_history(transaction, &key)? == KeyHistory::Compromised {
            return Err(AuthorityError::CompromisedKey);
        }
        let Approval { signer, policy, by } = *approval;
        let mut span = signer.span(policy.life(order.purpose), now)?;
        for _ in 1..DRAWS {
            if records::serial_is_free(transaction, &span.serial)? {
                break;
            }
            span = signer.span(policy.life(order.purpose), now)?;
        }
        let der = signer.certify(&order.leaf(policy), &span)?;
        let issued = Issued {
            subject: Certificate::new(&der).subject(),
            names: order.names.iter().map(ToString::to_string).collect(),
            purpose: order.purpose,
            serial: span.serial,
            not_before: span.not_before,
            not_after: span.not_after,
            fingerprint: fingerprint(&der),
            request: request.map(str::to_owned),
            approved_by: by.to_owned(),
            issued: now,
            revoked: None,
            der: der.to_vec(),
        };
        records::insert(transaction, &issued, &signer.seat.id, &key)?;
        Ok(issued)
    }

    /// Whether this signs for us, and may at this time.
    pub(super) fn check_signer(&self, signer: &Signer, now: Timestamp) -> Result<(), AuthorityError> {
        let seat = self.seat();
        if !signer.is_for(seat) {
            let (key, certificate) = (signer.seat.key_path.clone(), seat.path.clone());
            return Err(Error::KeyMismatch { key, certificate }.into());
        }
        signer.seat.check_life(now)
    }
}

impl Order {
    fn leaf<'a>(&'a self, policy: &'a Policy) -> Leaf<'a> {
        Leaf {
            purpose: self.purpose,
            names: &self.names,
            common_name: self.common_name.as_deref(),
            spki: &self.spki,
            url: policy.url.as_deref().map(|url| url.trim_end_matches('/')),
        }
    }
}
