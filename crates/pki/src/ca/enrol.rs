//! Requests that others send: kept until somebody decides, or issued at once where the policy says so.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use postern_smtp::text::clean;
use rusqlite::Transaction;

use super::records::{self, Decision, Enrolment, KeyHistory, State};
use super::{Approval, Authority, AuthorityError, Issued, Order, Policy, Purpose, Verdict};
use crate::SigningRequest;
use crate::identity::fingerprint;

/// So many requests may wait at once.
const MOST_WAITING: u64 = 1000;
/// A request that nobody decided on expires after this time.
const PATIENCE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// What was decided on is remembered this long, for whoever asks what became of it.
const MEMORY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// The longest note on who sent a request or why it was denied, in octets.
const LONGEST_NOTE: usize = 500;

/// A request that somebody sends.
#[derive(Debug, Clone, Copy)]
pub struct Submission<'a> {
    /// The request, its signature checked.
    pub request: &'a SigningRequest,
    /// What the certificate is to be for.
    pub purpose: Purpose,
    /// Who sends it, in words: an address, a user.
    pub from: &'a str,
}

/// Who may let a request be issued without anybody's approval.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// What the policy calls automatic is issued at once, with this key.
    AtOnce(&'a super::Signer),
    /// Everything waits: the key is locked, or the sender is not one who gets certificates at once.
    Later,
}

/// What came of sending a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// What it is known by. Whoever knows it may see what becomes of the request.
    pub id: String,
    /// What became of it.
    pub state: State,
    /// Whether it was seen before.
    pub novelty: Novelty,
}

/// Whether a request was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Novelty {
    /// It was sent for the first time.
    New,
    /// It was sent again.
    Known,
}

impl Authority {
    /// Takes a request. The same request sent again is the same one, unless it was denied or expired meanwhile.
    ///
    /// # Errors
    /// The sender's: it is forbidden, or its key is known to be in others' hands. Local: too many wait, or the records cannot be written.
    pub fn submit(
        &self,
        submission: &Submission<'_>,
        policy: &Policy,
        answer: Answer<'_>,
        now: Timestamp,
    ) -> Result<Submitted, AuthorityError> {
        let verdict = policy.judge(submission.request, submission.purpose)?;
        let digest = digest(submission);
        self.records.write(|transaction| {
            let verdict = in_view_of_the_past(verdict, transaction, submission)?;
            sweep(transaction, now)?;
            let (enrolment, novelty) = if let Some(known) = known(transaction, &digest, now)? {
                (known, Novelty::Known)
            } else {
                // What is issued at once takes nobody's place: a crowd of strangers does not hold it up.
                if !matches!((verdict, answer), (Verdict::Automatic, Answer::AtOnce(_))) {
                    refuse_crowd(transaction)?;
                }
                (remember(transaction, submission, &digest, now)?, Novelty::New)
            };
            match (verdict, answer) {
                (Verdict::Automatic, Answer::AtOnce(signer)) if enrolment.state == State::Waiting => {
                    let approval = Approval { signer, policy, by: "the policy" };
                    let issued = self.grant(transaction, &enrolment, &approval, now)?;
                    Ok(Submitted { id: enrolment.id, state: State::Issued(issued.serial), novelty })
                }
                _ => Ok(Submitted { id: enrolment.id, state: enrolment.state, novelty }),
            }
        })
    }

    /// All requests that are remembered, at most so many: those that wait first, then the others, the newest first.
    ///
    /// # Errors
    /// Local: the records cannot be used.
    pub fn requests(&self, most: u32, now: Timestamp) -> Result<Vec<Enrolment>, AuthorityError> {
        self.records.write(|transaction| {
            sweep(transaction, now)?;
            records::requests(transaction, most)
        })
    }

    /// One request.
    ///
    /// # Errors
    /// There is none of this id, or the records cannot be used.
    pub fn request(&self, id: &str, now: Timestamp) -> Result<Enrolment, AuthorityError> {
        let mut found = self.records.read(|transaction| existing(transaction, id))?;
        if found.state == State::Waiting && is_over(&found, now) {
            found.state = State::Expired;
        }
        Ok(found)
    }

    /// Issues what a request asks for. The policy is asked again: it may have changed since.
    ///
    /// # Errors
    /// There is no such request, it waits no more, or it is forbidden. Local: see [`issue`](Self::issue).
    pub fn approve(
        &self,
        id: &str,
        approval: &Approval<'_>,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        self.records.write(|transaction| {
            let enrolment = waiting(transaction, id, now)?;
            let request = SigningRequest::from_der(&enrolment.der)?;
            approval.policy.judge(&request, enrolment.purpose)?;
            self.grant(transaction, &enrolment, approval, now)
        })
    }

    /// Denies a request, and tells its sender why.
    ///
    /// # Errors
    /// There is no such request, it waits no more, or the records cannot be written.
    pub fn deny(&self, id: &str, by: &str, reason: &str, now: Timestamp) -> Result<(), AuthorityError> {
        self.records.write(|transaction| {
            let enrolment = waiting(transaction, id, now)?;
            let state = State::Denied { by: by.to_owned(), reason: clean(reason, LONGEST_NOTE) };
            records::decide(transaction, &enrolment.id, &Decision { state, by: by.to_owned(), at: now })
        })
    }

    /// The certificate that was issued for a request, if it was.
    ///
    /// # Errors
    /// There is no such request, or the records cannot be read.
    pub fn issued_for(&self, id: &str) -> Result<Option<Issued>, AuthorityError> {
        self.records.read(|transaction| match existing(transaction, id)?.state {
            State::Issued(serial) => records::by_serial(transaction, &serial),
            _ => Ok(None),
        })
    }

    fn grant(
        &self,
        transaction: &Transaction<'_>,
        enrolment: &Enrolment,
        approval: &Approval<'_>,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        let request = SigningRequest::from_der(&enrolment.der)?;
        let order = Order::of_request(&request, enrolment.purpose)?;
        let issued = self.issue_in(transaction, &order, approval, Some(&enrolment.id), now)?;
        let state = State::Issued(issued.serial.clone());
        let decision = Decision { state, by: approval.by.to_owned(), at: now };
        records::decide(transaction, &enrolment.id, &decision)?;
        Ok(issued)
    }
}

/// Nobody gets back at once, with the same key, what was revoked: somebody has to look at it.
fn in_view_of_the_past(
    verdict: Verdict,
    transaction: &Transaction<'_>,
    submission: &Submission<'_>,
) -> Result<Verdict, AuthorityError> {
    match records::key_history(transaction, &fingerprint(submission.request.spki()))? {
        KeyHistory::Clean => Ok(verdict),
        KeyHistory::Revoked => Ok(Verdict::NeedsApproval),
        KeyHistory::Compromised => Err(AuthorityError::CompromisedKey),
    }
}

/// Lets what waited too long expire, and forgets what was decided on long ago.
pub(super) fn sweep(transaction: &Transaction<'_>, now: Timestamp) -> Result<usize, AuthorityError> {
    let before = |time| now.checked_sub(time).unwrap_or(Timestamp::MIN);
    records::sweep(transaction, before(PATIENCE), before(MEMORY), now)
}

fn is_over(enrolment: &Enrolment, now: Timestamp) -> bool {
    now.duration_since(enrolment.received) > PATIENCE
}

/// The same request, where it still stands for something: it waits, or its certificate is young enough to be kept.
fn known(
    transaction: &Transaction<'_>,
    digest: &str,
    now: Timestamp,
) -> Result<Option<Enrolment>, AuthorityError> {
    let Some(last) = records::by_digest(transaction, digest)? else { return Ok(None) };
    let stands = match &last.state {
        State::Waiting => true,
        State::Issued(serial) => {
            records::by_serial(transaction, serial)?.is_some_and(|issued| !wants_renewal(&issued, now))
        }
        State::Denied { .. } | State::Expired => false,
    };
    Ok(Some(last).filter(|_| stands))
}

/// Whether two thirds of its life are over, or it does not count any more.
fn wants_renewal(issued: &Issued, now: Timestamp) -> bool {
    let life = issued.not_after.duration_since(issued.not_before);
    issued.revoked.is_some() || now.duration_since(issued.not_before) > life * 2 / 3
}

fn refuse_crowd(transaction: &Transaction<'_>) -> Result<(), AuthorityError> {
    let waiting = records::waiting_count(transaction)?;
    if waiting < MOST_WAITING { Ok(()) } else { Err(AuthorityError::Full { waiting }) }
}

fn remember(
    transaction: &Transaction<'_>,
    submission: &Submission<'_>,
    digest: &str,
    now: Timestamp,
) -> Result<Enrolment, AuthorityError> {
    let enrolment = Enrolment {
        id: new_id()?,
        purpose: submission.purpose,
        names: submission.request.names.iter().map(ToString::to_string).collect(),
        from: clean(submission.from, LONGEST_NOTE),
        received: now,
        state: State::Waiting,
        der: submission.request.der().to_vec(),
    };
    records::insert_request(transaction, &enrolment, digest)?;
    Ok(enrolment)
}

fn existing(transaction: &Transaction<'_>, id: &str) -> Result<Enrolment, AuthorityError> {
    let missing = || AuthorityError::NoSuchRequest { id: clean(id, 80) };
    records::by_id(transaction, id)?.ok_or_else(missing)
}

fn waiting(transaction: &Transaction<'_>, id: &str, now: Timestamp) -> Result<Enrolment, AuthorityError> {
    sweep(transaction, now)?;
    let found = existing(transaction, id)?;
    match found.state {
        State::Waiting => Ok(found),
        state => Err(AuthorityError::NotWaiting { id: found.id, state }),
    }
}

/// 128 bits that nobody can guess.
fn new_id() -> Result<String, AuthorityError> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|error| AuthorityError::crypto(&error))?;
    Ok(URL_SAFE_NO_PAD.encode(octets))
}

fn digest(submission: &Submission<'_>) -> String {
    let mut whole = submission.purpose.token().as_bytes().to_vec();
    whole.extend_from_slice(submission.request.der());
    fingerprint(&whole)
}
