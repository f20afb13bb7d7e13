//! The private CA where nobody set one up: made at the first start, for our own certificate.
//!
//! [`PrivateCa::open_or_create`] opens the [`Authority`] in a folder, or makes a root there without a passphrase. From it
//! [`PrivateCa::ensure_server_identity`] keeps one certificate in force: issued at the first start, issued again before
//! it expires, when the names change, or when it was revoked, always for the same key.
//!
//! Keys are written before the certificates that need them and never replaced, so that a crash between two writes
//! leaves a folder from which the next start goes on. A broken file is an error that names it; nothing is
//! overwritten.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::DnType;
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, UnixTime};

use super::certify::{key_mark, make_root};
use super::folder::Folder;
use super::records::Standing;
use super::{Approval, Authority, AuthorityError, Order, Policy, Purpose, Serial, Signer, records};
use crate::files::{self, Existing, PRIVATE_FILE, PRIVATE_FOLDER, PUBLIC_FILE, PUBLIC_FOLDER};
use crate::{Error, KeyKind, Loaded, Name, Passphrase, PrivateKey, Subject, TlsIdentity};

/// How long a root is good for: about ten years. Importing a new one into every mail program is a nuisance.
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(3653 * 24);

/// The private CA with its open key, for one installation.
#[derive(Debug)]
pub struct PrivateCa {
    authority: Authority,
    signer: Signer,
}

/// A server identity under the private CA, and where its files are.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// The identity and what is not as it should be.
    pub loaded: Loaded,
    /// The certificate's PEM file.
    pub certificate: PathBuf,
    /// The key's PEM file.
    pub key: PathBuf,
    /// Whether it was issued just now.
    pub issue: Issue,
}

/// Whether a certificate was issued just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issue {
    /// It was there and is still good.
    Kept,
    /// It was issued just now.
    New,
}

impl ServerIdentity {
    /// What [`PrivateCa::ensure_server_identity`] left in this folder for a name, as it lies there; `None`: nothing yet.
    ///
    /// # Errors
    /// The name is none of a host, or a file is broken.
    pub fn present(folder: &Path, name: &str, now: Timestamp) -> Result<Option<Self>, Error> {
        let name = host_name(name)?.to_string();
        let (certificate, key) = files_for(folder, &name);
        if !certificate.exists() {
            return Ok(None);
        }
        let loaded = TlsIdentity::load(&name, &certificate, &key, now)?;
        Ok(Some(Self { loaded, certificate, key, issue: Issue::Kept }))
    }
}

impl PrivateCa {
    /// Opens the CA in this folder, or makes one there. The label (the organisation or host name) tells people whose
    /// it is when they import its root.
    ///
    /// # Errors
    /// Local: a file is unreadable or broken, the key is missing, locked or belongs to another root, or the root
    /// expired. Nothing is overwritten then.
    pub fn open_or_create(folder: &Path, label: &str, now: Timestamp) -> Result<Self, Error> {
        create(&Folder::new(folder), label, now)?;
        Self::open(folder, None, now)
    }

    /// Opens the CA in this folder with its key, whoever set it up.
    ///
    /// # Errors
    /// As [`Authority::open`] and [`Authority::signer`].
    pub fn open(folder: &Path, passphrase: Option<&Passphrase>, now: Timestamp) -> Result<Self, Error> {
        let authority = Authority::open_whatever_its_age(folder)?;
        let signer = authority.signer(passphrase)?;
        if authority.not_after() < now {
            let (root, not_after) = (authority.seat().path.clone(), authority.not_after());
            return Err(Error::CaExpired { root, not_after });
        }
        Ok(Self { authority, signer })
    }

    /// The CA itself.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its open key.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The root certificate for programs that want PEM.
    pub fn root_pem_path(&self) -> PathBuf {
        self.authority.root_pem_path()
    }

    /// The root certificate for programs that want DER (Windows, most telephones).
    pub fn root_der_path(&self) -> PathBuf {
        self.authority.root_der_path()
    }

    /// The root certificate itself.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.authority.root()
    }

    /// When the root expires.
    pub fn not_after(&self) -> Timestamp {
        self.authority.root_not_after()
    }

    /// Makes sure that there is a certificate for these names in the folder, and loads it.
    ///
    /// Names are host names, wildcards (`*.example.org`) and IP addresses; the first gives the files their name. The
    /// certificate is issued when there is none, when it is to be renewed ([`renewal_moment`](crate::renewal_moment)), when
    /// the names changed, or when it is not this CA's or was revoked. Its key is made once and kept.
    ///
    /// # Errors
    /// Local: no name or an impossible one, a broken file (which is left alone), or a folder that cannot be written.
    pub fn ensure_server_identity(
        &self,
        folder: &Path,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerIdentity, Error> {
        let names = names.iter().map(|name| host_name(name)).collect::<Result<Vec<_>, _>>()?;
        let first = names.first().ok_or(Error::NoNames)?.to_string();
        let (certificate, key) = files_for(folder, &first);
        if certificate.exists() {
            let loaded = TlsIdentity::load(&first, &certificate, &key, now)?;
            if self.is_still_good(&loaded.identity, &names, now) {
                return Ok(ServerIdentity { loaded, certificate, key, issue: Issue::Kept });
            }
        }
        let issued = self.issue_server(&key_at(&key)?, names, now)?;
        files::write(&certificate, issued.as_bytes(), PUBLIC_FILE, Existing::Replace)?;
        let loaded = TlsIdentity::load(&first, &certificate, &key, now)?;
        Ok(ServerIdentity { loaded, certificate, key, issue: Issue::New })
    }

    fn is_still_good(&self, identity: &TlsIdentity, names: &[Name], now: Timestamp) -> bool {
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        let same_names = identity.names.iter().cloned().collect::<BTreeSet<_>>() == names;
        let is_due = self.authority.is_renewal_due(identity.not_before, identity.not_after, now);
        same_names
            && identity.not_before <= now
            && !is_due
            && self.signed(identity, now)
            && !self.was_revoked(identity)
    }

    fn signed(&self, identity: &TlsIdentity, now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        let (Ok(()), Some((leaf, others))) =
            (roots.add(self.root().clone()), identity.certified_key.cert.split_first())
        else {
            return false;
        };
        let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
            return false;
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let algorithms = crate::provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, others, now, algorithms.all).is_ok()
    }

    /// A certificate from before there were records is not known to be revoked.
    fn was_revoked(&self, identity: &TlsIdentity) -> bool {
        let Some(leaf) = identity.certified_key.cert.first() else { return false };
        let Some(serial) = serial_of(leaf) else { return false };
        let issuer = &self.authority.seat().id;
        let known =
            self.authority.records.read(|transaction| records::standing(transaction, issuer, &serial));
        known.is_ok_and(|known| matches!(known, Standing::Revoked(_)))
    }

    fn issue_server(&self, key: &PrivateKey, names: Vec<Name>, now: Timestamp) -> Result<String, Error> {
        let order = Order::of_key(key, names, Purpose::Server)?;
        let approval =
            Approval { signer: &self.signer, policy: &Policy::default(), by: "Postern, for itself" };
        let issued = self.authority.issue(&order, &approval, now)?;
        Ok(self.authority.chain_pem(&issued.der))
    }
}

/// Makes a root without a passphrase, unless there is one.
fn create(folder: &Folder, label: &str, now: Timestamp) -> Result<(), Error> {
    let (root, key) = (folder.root_pem(), folder.root_key());
    if root.exists() {
        // Where an intermediate signs, the root's key may be kept elsewhere.
        if key.exists() || folder.intermediate_pem().exists() {
            return Ok(());
        }
        return Err(Error::CaKeyMissing { key, root });
    }
    files::make_folder(folder.path(), PUBLIC_FOLDER)?;
    let key = key_at(&key)?;
    let mut name = Subject::named(&format!("Postern CA for {label}")).to_library();
    name.push(DnType::OrganizationalUnitName, key_mark(key.pair()));
    let made = make_root(key.pair(), name, 0, ROOT_LIFE, now)?;
    files::write(&root, made.pem().as_bytes(), PUBLIC_FILE, Existing::Keep)
}

/// The key in this file, made first if there is none.
fn key_at(path: &Path) -> Result<PrivateKey, AuthorityError> {
    if !path.exists() {
        let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
        files::make_folder(path.parent().unwrap_or(Path::new(".")), PRIVATE_FOLDER)?;
        files::write(path, key.to_pem().as_bytes(), PRIVATE_FILE, Existing::Keep)?;
    }
    // Read back even when just made: another process may have been faster.
    super::keyfile::read(path, None)
}

/// A name that a server can have.
/// Where the certificate and the key lie that are for this name first of all.
fn files_for(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    let stem = name.replace('*', "_").replace(':', "-");
    (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}.key")))
}

fn host_name(text: &str) -> Result<Name, Error> {
    match text.parse() {
        Ok(name @ (Name::Dns(_) | Name::Address(_))) => Ok(name),
        _ => Err(Error::BadName { name: text.to_owned() }),
    }
}

fn serial_of(certificate: &[u8]) -> Option<Serial> {
    use x509_parser::prelude::{FromDer as _, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(Serial::new(parsed.raw_serial()))
}
