//! What an administrator can do about the private CA: `postern ca`, and later the console.
//!
//! [`Authority`] is the whole desk: setting up, issuing, deciding on requests, revoking, and telling what there is. It works
//! on the CA's folder and records directly, whether or not the daemon runs; several may work on them at once. Passphrases
//! are given as [`Passphrase`], which nothing prints, and go no further than the key they open: never over a socket.
//!
//! The types to know besides: [`Overview`], the CA at a glance; [`IssuedSeen`] and [`RequestSeen`], what stands in its
//! records, for people and for programs. What it deliberately does not do: ask questions, or render answers.

use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_pki::ca::{
    self, Approval, Chore, Enrolment, Init, Issued, KeyState, Need, Order, RevocationList, State, Which,
};
use postern_pki::{Chain, Name, PrivateKey, SigningRequest, Subject, describe_certificate, pkcs12, trust};
use postern_smtp::tls::CertificateSeen;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use crate::authority::Error;
pub use postern_pki::ca::{Locks, Purpose, Reason};
pub use postern_pki::pkcs12::Compatibility;
pub use postern_pki::trust::{Format, INSTRUCTIONS, Instructions, instructions};
pub use postern_pki::{KeyKind, Passphrase};

use super::Admin;
use super::certificates::{Daemon, have_looked_at};
use crate::authority::{folder, open, read_request, revocation_list, root_signer, signer, signs_alone};
use crate::config::Config;
use crate::daemon::prepare_data_dir;

/// How many certificates or requests are listed.
const MOST: u32 = 10_000;

/// The operations on the private CA.
pub struct Authority<'a> {
    config: &'a Config,
}

/// Who acts, and with which passphrase.
#[derive(Debug, Clone, Copy)]
pub struct Actor<'a> {
    /// Who, as it is recorded.
    pub name: &'a str,
    /// What opens the CA's key. Without it, the one in `[ca] passphrase_file`.
    pub passphrase: Option<&'a Passphrase>,
}

/// What a new CA is to be.
#[derive(Debug, Clone)]
pub struct Setup {
    /// What people see when they import its root.
    pub label: String,
    /// Whose it is.
    pub organisation: Option<String>,
    /// The kind of its keys.
    pub key: KeyKind,
    /// How long its root is good for.
    pub life: Duration,
    /// How long its intermediate is good for; none: the root signs everything itself.
    pub intermediate: Option<Duration>,
    /// Which keys a passphrase locks.
    pub locks: Locks,
}

/// What a certificate is issued for.
#[derive(Debug, Clone)]
pub enum Subjects {
    /// A request that somebody made from his own key, in PEM or DER.
    Request(Vec<u8>),
    /// These names, with a key that is made here.
    Names {
        /// Host names, addresses or mail addresses.
        names: Vec<String>,
        /// The kind of key.
        key: KeyKind,
    },
}

/// A certificate that was issued just now, to be handed over.
#[derive(Debug)]
pub struct Handed {
    /// What stands in the records.
    pub certificate: IssuedSeen,
    /// The certificate with what a server sends behind it, in PEM.
    pub chain: String,
    whole: Vec<CertificateDer<'static>>,
    /// Its key, if it was made here. It is nowhere else.
    key: Option<PrivateKey>,
}

/// The root certificate in every form that mail programs import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// What people compare.
    pub certificate: CertificateSeen,
    /// Text.
    pub pem: String,
    /// Octets.
    #[serde(skip)]
    pub der: Vec<u8>,
    /// A profile for Apple's systems.
    #[serde(skip)]
    pub profile: String,
}

/// The CA at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// Where it lies.
    pub folder: PathBuf,
    /// Its root.
    pub root: CertificateSeen,
    /// What signs daily, if it is not the root.
    pub intermediate: Option<CertificateSeen>,
    /// How the root's key lies: `open`, `locked` or `missing`.
    pub root_key: KeySeen,
    /// How the key lies that signs daily.
    pub signing_key: KeySeen,
    /// Whether the daemon can sign by itself.
    pub signs_alone: bool,
    /// Where clients reach it over HTTP.
    pub url: Option<String>,
    /// The revocation list, once there is one.
    pub list: Option<ListSeen>,
    /// Certificates that were issued.
    pub issued: u64,
    /// Those of them that were revoked.
    pub revoked: u64,
    /// Requests that wait for approval.
    pub waiting: u64,
    /// What somebody has to do.
    pub needs: Vec<String>,
}

/// How a key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeySeen {
    /// Whoever reads its file has it.
    Open,
    /// It needs its passphrase.
    Locked,
    /// It is kept elsewhere, or lost.
    Missing,
}

/// A revocation list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListSeen {
    /// Its number.
    pub number: u64,
    /// When it was signed.
    pub signed: Timestamp,
    /// When the next one is due at the latest.
    pub next_update: Timestamp,
    /// Where it lies, in PEM.
    pub file: PathBuf,
}

/// A certificate that was issued.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IssuedSeen {
    /// Its serial number in hexadecimal digits.
    pub serial: String,
    /// What it is for: `server` or `client`.
    pub purpose: String,
    /// Its names.
    pub names: Vec<String>,
    /// It is good from this time on.
    pub not_before: Timestamp,
    /// It is good until this time.
    pub not_after: Timestamp,
    /// SHA-256 of it in hexadecimal digits.
    pub sha256: String,
    /// Who approved it.
    pub approved_by: String,
    /// When it was issued.
    pub issued: Timestamp,
    /// The request that it was issued for.
    pub request: Option<String>,
    /// When it was revoked, and why.
    pub revoked: Option<RevocationSeen>,
    /// The certificate in PEM.
    pub pem: String,
}

/// When and why a certificate was revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RevocationSeen {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A request that somebody sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RequestSeen {
    /// What it is known by.
    pub id: String,
    /// What the certificate is to be for: `server` or `client`.
    pub purpose: String,
    /// The names that it asks for.
    pub names: Vec<String>,
    /// The subject that it asks for; a certificate is issued with the names alone.
    pub subject: String,
    /// The kind of its key, in words.
    pub key: String,
    /// The SHA-256 digest of its public key (SPKI), to be compared with what the sender says.
    pub spki_sha256: String,
    /// Who sent it.
    pub from: String,
    /// When it came.
    pub received: Timestamp,
    /// What became of it: `waiting`, `issued`, `denied` or `expired`.
    pub state: String,
    /// Why it was denied.
    pub reason: Option<String>,
    /// The certificate that was issued for it.
    pub serial: Option<String>,
    /// The request in PEM.
    pub pem: String,
}

/// What came of revoking.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revoked {
    /// The certificates that count no more.
    pub certificates: Vec<IssuedSeen>,
    /// The list that says so, or why none could be signed. Answers (OCSP) know it at once either way.
    pub list: Result<ListSeen, String>,
}

impl Admin {
    /// The operations on this installation's private CA.
    pub fn authority(&self) -> Authority<'_> {
        Authority { config: &self.config }
    }
}

impl Authority<'_> {
    /// Makes the CA, with a passphrase for its keys if one is given.
    ///
    /// # Errors
    /// There is one already, or its folder cannot be written.
    pub fn init(
        &self,
        setup: Setup,
        passphrase: Option<&Passphrase>,
        now: Timestamp,
    ) -> Result<Overview, Error> {
        prepare_data_dir(self.config).map_err(Box::new)?;
        let subject = Subject { organisation: setup.organisation, ..Subject::named(&setup.label) };
        let init = Init {
            subject,
            key: setup.key,
            life: span(setup.life)?,
            intermediate: setup.intermediate.map(span).transpose()?,
            passphrase,
            locks: setup.locks,
        };
        ca::Authority::init(&folder(self.config), &init, &self.config.ca.policy, now)?;
        self.overview(now)
    }

    /// Whether there is a CA.
    pub fn exists(&self) -> bool {
        ca::Authority::is_in(&folder(self.config))
    }

    /// Where the CA lies, or would.
    pub fn folder(&self) -> PathBuf {
        folder(self.config)
    }

    /// Whether signing needs a passphrase that has to be asked for.
    ///
    /// # Errors
    /// There is no CA, or it is broken.
    pub fn wants_passphrase(&self, now: Timestamp) -> Result<bool, Error> {
        Ok(self.has_to_ask(open(self.config, now)?.key_state()))
    }

    /// Whether renewing the intermediate needs a passphrase that has to be asked for.
    ///
    /// # Errors
    /// There is no CA, it is broken, or it has no intermediate.
    pub fn wants_root_passphrase(&self) -> Result<bool, Error> {
        Ok(self.has_to_ask(self.with_intermediate()?.root_key_state()))
    }

    /// The CA at a glance, also when it has ended.
    ///
    /// # Errors
    /// There is none, or it is broken.
    pub fn overview(&self, now: Timestamp) -> Result<Overview, Error> {
        let authority = ca::Authority::open_whatever_its_age(&folder(self.config))?;
        let tally = authority.tally()?;
        let list = authority.crl()?;
        let alone = signs_alone(&authority, self.config);
        let chores = authority.upkeep(None, &self.config.ca.policy, now)?;
        Ok(Overview {
            folder: folder(self.config),
            root: describe_certificate(authority.root(), 1),
            intermediate: authority.intermediate().map(|der| describe_certificate(der, 1)),
            root_key: authority.root_key_state().into(),
            signing_key: authority.key_state().into(),
            signs_alone: alone,
            url: self.config.ca.policy.url.clone(),
            list: list.map(|list| self.list_seen(&list)),
            issued: tally.issued,
            revoked: tally.revoked,
            waiting: tally.waiting,
            needs: chores
                .iter()
                .filter(|chore| is_for_people(chore, alone))
                .map(ToString::to_string)
                .collect(),
        })
    }

    /// The root certificate.
    ///
    /// # Errors
    /// There is no CA, or it is broken.
    pub fn root(&self) -> Result<Root, Error> {
        let authority = ca::Authority::open_whatever_its_age(&folder(self.config))?;
        let der = authority.root();
        Ok(Root {
            certificate: describe_certificate(der, 1),
            pem: std::fs::read_to_string(authority.root_pem_path()).map_err(|source| {
                ca::AuthorityError::from(postern_pki::Error::Unreadable {
                    path: authority.root_pem_path(),
                    source,
                })
            })?,
            profile: trust::profile(der),
            der: der.to_vec(),
        })
    }

    /// Issues a certificate. Whatever names are asked for, for whoever may do this has the CA's key.
    ///
    /// # Errors
    /// The request or a name cannot be used, the key cannot be opened, or the records cannot be written.
    pub fn issue(
        &self,
        subjects: &Subjects,
        purpose: Option<Purpose>,
        actor: Actor<'_>,
        now: Timestamp,
    ) -> Result<Handed, Error> {
        let authority = open(self.config, now)?;
        let (order, key) = order(subjects, purpose)?;
        let signer = signer(&authority, self.config, actor.passphrase)?;
        let approval = Approval { signer: &signer, policy: &self.config.ca.policy, by: actor.name };
        let issued = authority.issue(&order, &approval, now)?;
        Ok(Handed {
            chain: authority.chain_pem(&issued.der),
            whole: authority.chain_of(&issued.der),
            certificate: IssuedSeen::of(&issued),
            key,
        })
    }

    /// Gives the intermediate a new certificate for this long, by the root's key. Its name and key stay, so that all that
    /// it issued stays good. What else is due is seen to, as far as the keys are at hand.
    ///
    /// # Errors
    /// There is no intermediate, the root's key cannot be opened, the root itself has ended, or the disk.
    pub fn renew_intermediate(
        &self,
        life: Duration,
        passphrase: Option<&Passphrase>,
        now: Timestamp,
    ) -> Result<Overview, Error> {
        let mut authority = self.with_intermediate()?;
        let root = root_signer(&authority, self.config, passphrase)?;
        authority.renew_intermediate(&root, span(life)?, now)?;
        // While it was over, nothing could be signed. With a passphrase of its own it is: postern ca crl --sign.
        let signer = signer(&authority, self.config, passphrase).ok();
        authority.upkeep(signer.as_ref(), &self.config.ca.policy, now)?;
        self.overview(now)
    }

    /// What was issued, the newest first.
    ///
    /// # Errors
    /// There is no CA, or its records cannot be read.
    pub fn issued(&self) -> Result<Vec<IssuedSeen>, Error> {
        let authority = ca::Authority::open_whatever_its_age(&folder(self.config))?;
        Ok(authority.issued(MOST)?.iter().map(IssuedSeen::of).collect())
    }

    /// The certificates of this serial number or name, the newest first.
    ///
    /// # Errors
    /// There are none, or the records cannot be read.
    pub fn find(&self, which: &str) -> Result<Vec<IssuedSeen>, Error> {
        let authority = ca::Authority::open_whatever_its_age(&folder(self.config))?;
        Ok(authority.find(&Which::of(which))?.iter().map(IssuedSeen::of).collect())
    }

    /// The requests that are remembered: those that wait first.
    ///
    /// # Errors
    /// There is no CA, or its records cannot be read.
    pub fn requests(&self, now: Timestamp) -> Result<Vec<RequestSeen>, Error> {
        Ok(open(self.config, now)?.requests(MOST, now)?.iter().map(RequestSeen::of).collect())
    }

    /// One request.
    ///
    /// # Errors
    /// There is none of this id, or the records cannot be read.
    pub fn request(&self, id: &str, now: Timestamp) -> Result<RequestSeen, Error> {
        Ok(RequestSeen::of(&open(self.config, now)?.request(id, now)?))
    }

    /// Issues what a request asks for; its sender fetches the certificate where he asked.
    ///
    /// # Errors
    /// There is no such request, it waits no more, the policy forbids it now, or the key cannot be opened.
    pub fn approve(&self, id: &str, actor: Actor<'_>, now: Timestamp) -> Result<IssuedSeen, Error> {
        let authority = open(self.config, now)?;
        let signer = signer(&authority, self.config, actor.passphrase)?;
        let approval = Approval { signer: &signer, policy: &self.config.ca.policy, by: actor.name };
        Ok(IssuedSeen::of(&authority.approve(id, &approval, now)?))
    }

    /// Denies a request; its sender is told why.
    ///
    /// # Errors
    /// There is no such request, it waits no more, or the records cannot be written.
    pub fn deny(&self, id: &str, reason: &str, by: &str, now: Timestamp) -> Result<RequestSeen, Error> {
        let authority = open(self.config, now)?;
        authority.deny(id, by, reason, now)?;
        Ok(RequestSeen::of(&authority.request(id, now)?))
    }

    /// Revokes the certificates of this serial number or name, and signs the list that says so.
    ///
    /// # Errors
    /// There are none that count, or the records cannot be written.
    pub fn revoke(
        &self,
        which: &str,
        reason: Reason,
        actor: Actor<'_>,
        now: Timestamp,
    ) -> Result<Revoked, Error> {
        let authority = open(self.config, now)?;
        let revoked = authority.revoke(&Which::of(which), reason, now)?;
        let list = self.sign_list(&authority, actor.passphrase, now);
        Ok(Revoked {
            certificates: revoked.iter().map(IssuedSeen::of).collect(),
            list: list.map_err(|error| error.to_string()),
        })
    }

    /// The revocation list, and the same in PEM.
    ///
    /// # Errors
    /// There is no CA, or its records cannot be read.
    pub fn list(&self, now: Timestamp) -> Result<Option<(ListSeen, String)>, Error> {
        let list = open(self.config, now)?.crl()?;
        Ok(list.map(|list| (self.list_seen(&list), list.pem())))
    }

    /// Signs the revocation list now, and sees to whatever else is due.
    ///
    /// # Errors
    /// There is no CA, its key cannot be opened, or the list cannot be written.
    pub fn sign(&self, passphrase: Option<&Passphrase>, now: Timestamp) -> Result<ListSeen, Error> {
        let authority = open(self.config, now)?;
        let list = self.sign_list(&authority, passphrase, now)?;
        let signer = signer(&authority, self.config, passphrase)?;
        authority.upkeep(Some(&signer), &self.config.ca.policy, now)?;
        Ok(list)
    }

    /// Begins the records again where they are lost, and says what list they were begun from.
    ///
    /// # Errors
    /// There is no CA, it has records, or they cannot be written.
    pub fn begin_records(&self, now: Timestamp) -> Result<Option<ListSeen>, Error> {
        let authority = ca::Authority::begin_records_again(&folder(self.config))?;
        authority.upkeep(None, &self.config.ca.policy, now)?;
        Ok(authority.crl()?.map(|list| self.list_seen(&list)))
    }

    /// The CA, whatever its age, if its root does not sign everything itself.
    fn with_intermediate(&self) -> Result<ca::Authority, Error> {
        let folder = folder(self.config);
        let authority = ca::Authority::open_whatever_its_age(&folder)?;
        match authority.intermediate() {
            Some(_) => Ok(authority),
            None => Err(Error::NoIntermediate { folder }),
        }
    }

    fn has_to_ask(&self, key: KeyState) -> bool {
        key == KeyState::Locked && self.config.ca.passphrase_file.is_none()
    }

    /// Has a running daemon take over at once what was changed: new sessions are judged by it.
    ///
    /// # Errors
    /// It runs, but cannot be reached or understood. What was changed stands.
    pub async fn tell_daemon(&self) -> Result<Daemon, super::Error> {
        have_looked_at(self.config).await
    }

    fn sign_list(
        &self,
        authority: &ca::Authority,
        passphrase: Option<&Passphrase>,
        now: Timestamp,
    ) -> Result<ListSeen, Error> {
        let signer = signer(authority, self.config, passphrase)?;
        Ok(self.list_seen(&authority.sign_crl(&signer, &self.config.ca.policy, now)?))
    }

    fn list_seen(&self, list: &RevocationList) -> ListSeen {
        ListSeen {
            number: list.number,
            signed: list.this_update,
            next_update: list.next_update,
            file: revocation_list(self.config),
        }
    }
}

impl Handed {
    /// The key in PEM, if it was made here.
    pub fn key_pem(&self) -> Option<Zeroizing<String>> {
        self.key.as_ref().map(PrivateKey::to_pem)
    }

    /// Certificate and key in one file as mail programs import it, if the key was made here.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn pkcs12(
        &self,
        passphrase: &Passphrase,
        compatibility: Compatibility,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let Some(key) = &self.key else { return Ok(None) };
        let name = self.certificate.names.first().map_or("", String::as_str);
        let chain = Chain::arrange(self.whole.clone(), &key.spki())?;
        let made = pkcs12::write(key, &chain, passphrase, name, compatibility);
        Ok(Some(made.map_err(ca::AuthorityError::from)?))
    }
}

/// What can be done without the passphrase of a locked key the daemon does.
fn is_for_people(chore: &Chore, signs_alone: bool) -> bool {
    match chore {
        Chore::Needed { need: Need::SignList | Need::RenewResponder, .. } => !signs_alone,
        Chore::Needed { .. } => true,
        _ => false,
    }
}

fn order(subjects: &Subjects, purpose: Option<Purpose>) -> Result<(Order, Option<PrivateKey>), Error> {
    match subjects {
        Subjects::Request(octets) => {
            let request = read_request(octets)?;
            let purpose = purpose.unwrap_or_else(|| usual_purpose(&request.names));
            Ok((Order::of_request(&request, purpose)?, None))
        }
        Subjects::Names { names, key } => {
            let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<Name>, _>>()?;
            let purpose = purpose.unwrap_or_else(|| usual_purpose(&names));
            let key = PrivateKey::generate(*key).map_err(ca::AuthorityError::from)?;
            Ok((Order::of_key(&key, names, purpose)?, Some(key)))
        }
    }
}

/// Mail addresses are people's; everything else is a server, unless it is said.
pub(crate) fn usual_purpose(names: &[Name]) -> Purpose {
    let of_people = !names.is_empty() && names.iter().all(|name| matches!(name, Name::Mail(_)));
    if of_people { Purpose::Client } else { Purpose::Server }
}

fn span(life: Duration) -> Result<SignedDuration, Error> {
    SignedDuration::try_from(life).map_err(|_| Error::Life(format!("{} days", life.as_secs() / 86_400)))
}

impl From<KeyState> for KeySeen {
    fn from(state: KeyState) -> Self {
        match state {
            KeyState::Open => Self::Open,
            KeyState::Locked => Self::Locked,
            KeyState::Missing => Self::Missing,
        }
    }
}

impl IssuedSeen {
    fn of(issued: &Issued) -> Self {
        Self {
            serial: issued.serial.to_string(),
            purpose: issued.purpose.to_string(),
            names: issued.names.clone(),
            not_before: issued.not_before,
            not_after: issued.not_after,
            sha256: issued.fingerprint.clone(),
            approved_by: issued.approved_by.clone(),
            issued: issued.issued,
            request: issued.request.clone(),
            revoked: issued.revoked.map(|revocation| RevocationSeen {
                at: revocation.at,
                reason: revocation.reason.to_string(),
            }),
            pem: issued.pem(),
        }
    }
}

impl RequestSeen {
    pub(crate) fn of(enrolment: &Enrolment) -> Self {
        let (reason, serial) = match &enrolment.state {
            State::Denied { reason, .. } => (Some(reason.clone()), None),
            State::Issued(serial) => (None, Some(serial.to_string())),
            State::Waiting | State::Expired => (None, None),
        };
        // It was read once already, when it came.
        let asked = SigningRequest::from_der(&enrolment.der).ok();
        let told = |what: fn(&SigningRequest) -> String| asked.as_ref().map(what).unwrap_or_default();
        Self {
            id: enrolment.id.clone(),
            purpose: enrolment.purpose.to_string(),
            names: enrolment.names.clone(),
            subject: told(|asked| asked.subject.to_string()),
            key: told(SigningRequest::key),
            spki_sha256: told(SigningRequest::spki_sha256),
            from: enrolment.from.clone(),
            received: enrolment.received,
            state: enrolment.state.to_string(),
            reason,
            serial,
            pem: enrolment.pem(),
        }
    }
}
