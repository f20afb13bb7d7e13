//! The private CA: certificates for an organisation's own servers, people and devices.
//!
//! - [`Authority`]: the CA in its folder: its certificates, its records, its revocation list. Opening it needs no key.
//! - [`Signer`]: the open key, from [`Authority::signer`]; whatever signs asks for it.
//! - [`Policy`]: what may be asked for, and what is issued without approval. [`Order`]: what is to be issued.
//! - [`Enrolment`]: a request that somebody sent; [`Issued`]: a certificate that was issued, as it is recorded.
//! - [`PrivateCa`]: the same CA where nobody set one up: made at the first start, for our own certificate.
//!
//! A certificate is recorded, and the record is on the disk, before anybody gets it: what is not known cannot be
//! revoked. The daemon and the command line may work on one folder at the same time; the records' lock orders them.
//!
//! With an intermediate, the root's key is needed to renew that and for nothing else, and may be kept locked or
//! elsewhere. The list and the answers about revocation (OCSP) are about what the signing certificate issued; an
//! intermediate itself is not revoked: a new CA is the remedy there.
//!
//! What it deliberately does not do: read a clock or the configuration, listen, or send anything.

mod automatic;
mod certify;
mod enrol;
mod error;
mod folder;
mod issue;
mod keyfile;
mod ocsp;
mod policy;
mod records;
mod recover;
mod revoke;
mod setup;
mod upkeep;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

pub use automatic::{Issue, PrivateCa, ServerIdentity};
pub use certify::{CRL_PATH, ISSUER_PATH, OCSP_PATH, Signer};
pub use enrol::{Answer, Novelty, Submission, Submitted};
pub use error::AuthorityError;
pub use issue::{Approval, Order};
pub use keyfile::KeyState;
pub use ocsp::{LARGEST_OCSP_REQUEST, MOST_OCSP_QUESTIONS};
pub use policy::{NamePattern, Policy, PolicyError, Verdict};
pub use records::{Enrolment, Issued, Purpose, Reason, Revocation, RevocationList, Serial, State};
pub use revoke::Which;
pub use setup::{Init, Locks};
pub use upkeep::{Chore, Need};

use crate::certificate::Certificate;
use crate::identity::fingerprint;
use crate::request::pem;
use crate::{Error, Passphrase, files, renewal_moment};
use certify::Seat;
use folder::Folder;
use records::Records;

/// The private CA in its folder. Cheap to clone. Its methods read and write files, so they may block.
#[derive(Debug, Clone)]
pub struct Authority {
    folder: Folder,
    root: Seat,
    intermediate: Option<Seat>,
    records: Records,
}

/// How much was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// Certificates that were issued.
    pub issued: u64,
    /// Those of them that were revoked.
    pub revoked: u64,
    /// Requests that wait.
    pub waiting: u64,
}

impl Authority {
    /// Whether there is a CA in this folder.
    pub fn is_in(folder: &Path) -> bool {
        Folder::new(folder).root_pem().exists()
    }

    /// Where the root certificate of a CA in this folder lies, in PEM.
    pub fn root_pem_in(folder: &Path) -> PathBuf {
        Folder::new(folder).root_pem()
    }

    /// Where the revocation list of a CA in this folder lies, in PEM, once there is one.
    pub fn crl_pem_in(folder: &Path) -> PathBuf {
        Folder::new(folder).crl_pem()
    }

    /// Whether there is nothing of a CA in this folder, which is known only where it can be looked into.
    pub fn is_surely_absent(folder: &Path) -> bool {
        let folder = Folder::new(folder);
        let files = [folder.root_pem(), folder.records(), folder.crl_der(), folder.crl_pem()];
        files.iter().all(|file| matches!(file.try_exists(), Ok(false)))
    }

    /// Whether one of the authorities in this PEM file is the CA in this folder, or may be: where that cannot be found out,
    /// it may.
    pub fn may_be_among(folder: &Path, authorities: &Path) -> bool {
        let (Ok((root, intermediate)), Ok(authorities)) =
            (seats(&Folder::new(folder)), files::read_certificates(authorities))
        else {
            return true;
        };
        let ours: Vec<String> = std::iter::once(root).chain(intermediate).map(|seat| seat.id).collect();
        let key = |authority| Some(fingerprint(&Certificate::new(authority).spki()?));
        authorities.iter().any(|authority| key(authority).is_none_or(|key| ours.contains(&key)))
    }

    /// Opens the CA in this folder, with its records and without its key. Records that are not there are begun where the CA
    /// has done nothing yet, so that a folder from before there were any opens too.
    ///
    /// # Errors
    /// Local: there is no CA, its records are lost, a file is broken, or what signs has ended.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, AuthorityError> {
        let authority = Self::open_whatever_its_age(folder)?;
        authority.seat().check_life(now)?;
        Ok(authority)
    }

    /// As [`open`](Self::open), also when what signs has ended: to look at it, and to renew it.
    ///
    /// # Errors
    /// Local: there is no CA, or a file is broken.
    pub fn open_whatever_its_age(folder: &Path) -> Result<Self, AuthorityError> {
        if !Self::is_in(folder) {
            return Err(AuthorityError::Absent { folder: folder.to_owned() });
        }
        let folder = Folder::new(folder);
        let (root, intermediate) = seats(&folder)?;
        let records = Records::open(folder.path(), folder.past())?;
        let authority = Self { folder, root, intermediate, records };
        authority.catch_up()?;
        authority.keep_der_copy()?;
        Ok(authority)
    }

    /// Opens the key of what signs daily: the intermediate's if there is one, else the root's.
    ///
    /// # Errors
    /// Local: the key is missing, of another CA, or locked and the passphrase is wrong or not given.
    pub fn signer(&self, passphrase: Option<&Passphrase>) -> Result<Signer, AuthorityError> {
        open_key(self.seat(), passphrase)
    }

    /// Opens the root's key, which is needed to renew the intermediate.
    ///
    /// # Errors
    /// As [`signer`](Self::signer).
    pub fn root_signer(&self, passphrase: Option<&Passphrase>) -> Result<Signer, AuthorityError> {
        open_key(&self.root, passphrase)
    }

    /// How the key of what signs daily lies.
    pub fn key_state(&self) -> KeyState {
        keyfile::state(&self.seat().key_path)
    }

    /// How the root's key lies.
    pub fn root_key_state(&self) -> KeyState {
        keyfile::state(&self.root.key_path)
    }

    /// The root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root.der
    }

    /// When the root ends.
    pub fn root_not_after(&self) -> Timestamp {
        self.root.not_after
    }

    /// The intermediate, if there is one.
    pub fn intermediate(&self) -> Option<&CertificateDer<'static>> {
        self.intermediate.as_ref().map(|seat| &seat.der)
    }

    /// The certificate of what signs daily, to be fetched at [`ISSUER_PATH`].
    pub fn issuer(&self) -> &CertificateDer<'static> {
        &self.seat().der
    }

    /// When what signs daily ends.
    pub fn not_after(&self) -> Timestamp {
        self.seat().not_after
    }

    /// Whether a certificate of this CA's with this life is to be renewed now. Near the CA's own end there is no more than its
    /// remaining time to be had.
    pub fn is_renewal_due(&self, not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> bool {
        renewal_moment(not_before, not_after) <= now && not_after < self.not_after()
    }

    /// The root certificate in PEM, for programs that want that.
    pub fn root_pem_path(&self) -> PathBuf {
        self.folder.root_pem()
    }

    /// The root certificate in DER (Windows, most telephones).
    pub fn root_der_path(&self) -> PathBuf {
        self.folder.root_der()
    }

    /// The revocation list in PEM, once there is one.
    pub fn crl_pem_path(&self) -> PathBuf {
        self.folder.crl_pem()
    }

    /// A certificate with what a server sends behind it: the intermediate, and not the root, which the other side has.
    pub fn chain_of(&self, certificate: &[u8]) -> Vec<CertificateDer<'static>> {
        let own = CertificateDer::from(certificate.to_vec());
        std::iter::once(own).chain(self.intermediate().cloned()).collect()
    }

    /// [`chain_of`](Self::chain_of) in PEM.
    pub fn chain_pem(&self, certificate: &[u8]) -> String {
        self.chain_of(certificate).iter().map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// The CA's own certificates in PEM: the intermediate, if there is one, and the root.
    pub fn authorities_pem(&self) -> String {
        let all = self.intermediate().into_iter().chain([self.root()]);
        all.map(|der| pem("CERTIFICATE", der)).collect()
    }

    /// How much was issued, and how many requests wait.
    ///
    /// # Errors
    /// Local: the records cannot be read.
    pub fn tally(&self) -> Result<Tally, AuthorityError> {
        self.records.read(|transaction| {
            let (issued, revoked) = records::count(transaction)?;
            Ok(Tally { issued, revoked, waiting: records::waiting_count(transaction)? })
        })
    }

    /// The newest certificates that were issued, at most so many.
    ///
    /// # Errors
    /// Local: the records cannot be read.
    pub fn issued(&self, most: u32) -> Result<Vec<Issued>, AuthorityError> {
        self.records.read(|transaction| records::issued(transaction, most))
    }

    /// What signs daily.
    fn seat(&self) -> &Seat {
        self.intermediate.as_ref().unwrap_or(&self.root)
    }

    /// The DER file is only a copy: missing or different, it is written again.
    fn keep_der_copy(&self) -> Result<(), AuthorityError> {
        let path = self.folder.root_der();
        if std::fs::read(&path).is_ok_and(|content| content == self.root.der.as_ref()) {
            return Ok(());
        }
        Ok(files::write(&path, &self.root.der, files::PUBLIC_FILE, files::Existing::Replace)?)
    }
}

/// The root, and the intermediate if there is one.
fn seats(folder: &Folder) -> Result<(Seat, Option<Seat>), AuthorityError> {
    let root = Seat::read(&folder.root_pem(), &folder.root_key())?;
    let path = folder.intermediate_pem();
    let there = path.try_exists().map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    let intermediate = there.then(|| Seat::read(&path, &folder.intermediate_key())).transpose()?;
    Ok((root, intermediate))
}

fn open_key(seat: &Seat, passphrase: Option<&Passphrase>) -> Result<Signer, AuthorityError> {
    if !seat.key_path.exists() {
        let (key, certificate) = (seat.key_path.clone(), seat.path.clone());
        return Err(AuthorityError::KeyMissing { key, certificate });
    }
    Signer::new(seat.clone(), keyfile::read(&seat.key_path, passphrase)?)
}
