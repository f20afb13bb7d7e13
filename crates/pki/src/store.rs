//! The certificate store: identities that Postern keeps itself, and requests that wait for their certificate.
//!
//! [`IdentityStore`] is the folder `certificates` in the data directory, with one folder for each identity:
//!
//! ```text
//! mail/current          → versions/20261121T164700-1f0c9d2a, swapped in one step
//! mail/versions/…/      certificate.pem (the chain, its own certificate first) and key.pem
//! mail/next.key         the key of the next certificate, made beforehand so that its TLSA record can be published
//! mail/about.json       where it came from
//! .requests/mail/       a request, its key, and what became of it
//! ```
//!
//! A certificate and its key are one version, so that no reader ever sees one without the other. A few earlier versions
//! stay. The command line and the daemon may both write: a lock keeps them apart.
//!
//! What it deliberately does not do: judge certificates (see [`examine`](crate::examine)), or know who uses them.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::files::{self, Existing, PRIVATE_FILE, PRIVATE_FOLDER, PUBLIC_FILE, PUBLIC_FOLDER};
use crate::identity::fingerprint;
use crate::request::pem;
use crate::{Error, PrivateKey, RequestDetails, SigningRequest};

/// So many versions of an identity are kept, the current one included.
const VERSIONS_KEPT: usize = 4;
/// The longest name of an identity, in octets; a file system takes 255.
const LONGEST_NAME: usize = 100;
/// Where requests lie. No identity can be called that.
const REQUESTS: &str = ".requests";

/// Identities and requests on disk.
#[derive(Debug, Clone)]
pub struct IdentityStore {
    folder: PathBuf,
}

/// Where an identity's files are. Both paths stay the same for all its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityPaths {
    /// The chain, in PEM.
    pub certificate: PathBuf,
    /// The key, in PEM.
    pub key: PathBuf,
}

/// An identity as it lies in the store.
#[derive(Debug)]
pub struct Stored {
    /// Its chain, its own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKey,
    /// Where it came from.
    pub about: About,
}

/// Where an identity came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Who issued it.
    pub origin: Origin,
    /// When it was put here.
    pub installed: Timestamp,
    /// What it was asked for with; `None` where it came from elsewhere.
    pub asked: Option<RequestDetails>,
}

/// Who issued a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Some authority, and somebody carried it here.
    ByHand,
    /// The private CA inside Postern.
    PrivateCa,
    /// An ACME authority, by its name in the configuration.
    Acme(String),
}

/// A request that waits for its certificate.
#[derive(Debug)]
pub struct Pending {
    /// The request.
    pub request: SigningRequest,
    /// Its key.
    pub key: PrivateKey,
    /// What is known of it besides.
    pub note: PendingNote,
}

/// What is known of a request besides itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingNote {
    /// When it was made.
    pub made: Timestamp,
    /// What it was made of.
    pub details: RequestDetails,
    /// Where it was sent, if that is known.
    pub sent: Option<SentTo>,
}

/// Who has a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentTo {
    /// An ACME authority, by its name in the configuration.
    Acme(String),
}

impl IdentityStore {
    /// The store in this data directory. Nothing is made before something is put in.
    pub fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("certificates") }
    }

    /// The names of the identities, sorted.
    ///
    /// # Errors
    /// Local: the folder cannot be read. That it is not there means that there are none.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let names = entries(&self.folder)?;
        Ok(names.into_iter().filter(|name| check_name(name).is_ok() && self.holds(name)).collect())
    }

    /// Whether there is an identity of this name.
    pub fn holds(&self, name: &str) -> bool {
        self.paths(name).certificate.is_file()
    }

    /// Where an identity's files are, or would be.
    pub fn paths(&self, name: &str) -> IdentityPaths {
        let current = self.folder.join(name).join("current");
        IdentityPaths { certificate: current.join("certificate.pem"), key: current.join("key.pem") }
    }

    /// Reads an identity.
    ///
    /// # Errors
    /// Local: a file is missing or broken.
    pub fn read(&self, name: &str) -> Result<Stored, Error> {
        check_name(name)?;
        // The version is followed once, so that certificate and key are of one.
        let current = self.folder.join(name).join("current");
        let version = fs::canonicalize(&current).unwrap_or(current);
        let chain = files::read_certificates(&version.join("certificate.pem"))?;
        let key = read_key(&version.join("key.pem"))?;
        let unknown = About { origin: Origin::ByHand, installed: Timestamp::UNIX_EPOCH, asked: None };
        Ok(Stored { chain, key, about: self.about(name).unwrap_or(unknown) })
    }

    /// Where an identity came from, if that is known.
    pub fn about(&self, name: &str) -> Option<About> {
        read_json(&self.folder.join(name).join("about.json")).ok().flatten()
    }

    /// Puts an identity into the store, or a new version of it in the place of the old one, in one step.
    ///
    /// # Errors
    /// Local: a name that cannot be a folder's, or the disk. The old version is in force then.
    pub fn install(
        &self,
        name: &str,
        chain: &[CertificateDer<'_>],
        key: &PrivateKey,
        about: &About,
    ) -> Result<(), Error> {
        check_name(name)?;
        let leaf =
            chain.first().ok_or_else(|| Error::NoCertificate { path: self.paths(name).certificate })?;
        let _lock = self.lock()?;
        let folder = self.folder.join(name);
        let stamp = about.installed.strftime("%Y%m%dT%H%M%S%3f");
        let version = format!("{stamp}-{}", &fingerprint(leaf)[..8]);
        let place = folder.join("versions").join(&version);
        files::make_folder(&self.folder, PUBLIC_FOLDER)?;
        files::make_folder(&folder, PUBLIC_FOLDER)?;
        files::make_folder(&place, PUBLIC_FOLDER)?;
        files::write(&place.join("key.pem"), key.to_pem().as_bytes(), PRIVATE_FILE, Existing::Replace)?;
        files::write(
            &place.join("certificate.pem"),
            chain_pem(chain).as_bytes(),
            PUBLIC_FILE,
            Existing::Replace,
        )?;
        write_json(&folder.join("about.json"), about)?;
        point(&folder, &version)?;
        self.forget_used_key(name, key)?;
        prune(&folder, &version);
        Ok(())
    }

    /// Copies an identity's certificate and key into a folder of another program's, as `NAME.pem` and `NAME.key`. A key
    /// file that is there already keeps its mode, as far as only owner and group may read it; a new one is the owner's.
    ///
    /// # Errors
    /// Local: there is no such identity, or the folder cannot be written.
    pub fn copy_to(&self, name: &str, folder: &Path) -> Result<IdentityPaths, Error> {
        let stored = self.read(name)?;
        let certificate = folder.join(format!("{name}.pem"));
        let key = folder.join(format!("{name}.key"));
        let mode = files::mode_of(&key).map_or(PRIVATE_FILE, |mode| mode & 0o640);
        files::write(&key, stored.key.to_pem().as_bytes(), mode, Existing::Replace)?;
        files::write(&certificate, chain_pem(&stored.chain).as_bytes(), PUBLIC_FILE, Existing::Replace)?;
        Ok(IdentityPaths { certificate, key })
    }

    /// Takes an identity out of the store with all its versions and its key.
    ///
    /// # Errors
    /// Local: it is not there, or the disk.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let _lock = self.lock()?;
        let folder = self.folder.join(name);
        // Without this link it is no identity any more, whatever happens next.
        fs::remove_file(folder.join("current")).map_err(|source| unwritable(&folder, source))?;
        fs::remove_dir_all(&folder).map_err(|source| unwritable(&folder, source))
    }

    /// The key that was made beforehand for the next certificate.
    ///
    /// # Errors
    /// Local: it is there and broken.
    pub fn next_key(&self, name: &str) -> Result<Option<PrivateKey>, Error> {
        check_name(name)?;
        let path = self.folder.join(name).join("next.key");
        if path.exists() { read_key(&path).map(Some) } else { Ok(None) }
    }

    /// Keeps a key for the next certificate.
    ///
    /// # Errors
    /// Local: the disk.
    pub fn set_next_key(&self, name: &str, key: &PrivateKey) -> Result<(), Error> {
        check_name(name)?;
        let _lock = self.lock()?;
        let folder = self.folder.join(name);
        files::make_folder(&folder, PUBLIC_FOLDER)?;
        files::write(&folder.join("next.key"), key.to_pem().as_bytes(), PRIVATE_FILE, Existing::Replace)
    }

    /// The names under which requests wait, sorted.
    ///
    /// # Errors
    /// Local: the folder cannot be read.
    pub fn pending_names(&self) -> Result<Vec<String>, Error> {
        entries(&self.folder.join(REQUESTS))
    }

    /// The request that waits under this name.
    ///
    /// # Errors
    /// Local: it is there and broken.
    pub fn pending(&self, name: &str) -> Result<Option<Pending>, Error> {
        check_name(name)?;
        let folder = self.folder.join(REQUESTS).join(name);
        let Some(note) = read_json(&folder.join("request.json"))? else { return Ok(None) };
        let request = SigningRequest::from_der(&files::read(&folder.join("request.der"))?)?;
        Ok(Some(Pending { request, key: read_key(&folder.join("request.key"))?, note }))
    }

    /// Where the request of this name lies, as PEM and as DER.
    pub fn pending_paths(&self, name: &str) -> [PathBuf; 2] {
        let folder = self.folder.join(REQUESTS).join(name);
        [folder.join("request.pem"), folder.join("request.der")]
    }

    /// Keeps a request and its key until its certificate comes. An earlier one of this name is replaced.
    ///
    /// # Errors
    /// Local: the disk.
    pub fn set_pending(&self, name: &str, pending: &Pending) -> Result<(), Error> {
        check_name(name)?;
        let _lock = self.lock()?;
        let folder = self.folder.join(REQUESTS).join(name);
        files::make_folder(&self.folder, PUBLIC_FOLDER)?;
        files::make_folder(&folder, PRIVATE_FOLDER)?;
        let [pem, der] = self.pending_paths(name);
        let key = pending.key.to_pem();
        files::write(&folder.join("request.key"), key.as_bytes(), PRIVATE_FILE, Existing::Replace)?;
        files::write(&pem, pending.request.pem().as_bytes(), PUBLIC_FILE, Existing::Replace)?;
        files::write(&der, pending.request.der(), PUBLIC_FILE, Existing::Replace)?;
        // Written last: only with it is the request there.
        write_json(&folder.join("request.json"), &pending.note)
    }

    /// Notes where a request was sent.
    ///
    /// # Errors
    /// Local: there is none, or the disk.
    pub fn note_sent(&self, name: &str, to: SentTo) -> Result<(), Error> {
        check_name(name)?;
        let _lock = self.lock()?;
        let path = self.folder.join(REQUESTS).join(name).join("request.json");
        let Some(note) = read_json::<PendingNote>(&path)? else { return Err(Error::Missing { path }) };
        write_json(&path, &PendingNote { sent: Some(to), ..note })
    }

    /// Throws a request away with its key.
    ///
    /// # Errors
    /// Local: the disk.
    pub fn drop_pending(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let _lock = self.lock()?;
        let folder = self.folder.join(REQUESTS).join(name);
        match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(unwritable(&folder, source)),
            _ => Ok(()),
        }
    }

    /// The key that was made beforehand is in use now, and no longer the next one.
    fn forget_used_key(&self, name: &str, key: &PrivateKey) -> Result<(), Error> {
        if self.next_key(name)?.is_none_or(|next| next.spki() != key.spki()) {
            return Ok(());
        }
        let path = self.folder.join(name).join("next.key");
        fs::remove_file(&path).map_err(|source| unwritable(&path, source))
    }

    /// Held while something is written; given back when it is dropped.
    fn lock(&self) -> Result<File, Error> {
        files::make_folder(&self.folder, PUBLIC_FOLDER)?;
        let path = self.folder.join(".lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| unwritable(&path, source))?;
        file.lock().map_err(|source| unwritable(&path, source))?;
        Ok(file)
    }
}

/// A chain as PEM, in its order.
pub fn chain_pem(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// Whether an identity can be called that: it becomes a folder's name.
///
/// # Errors
/// [`Error::BadIdentityName`] with what a name may hold.
pub fn check_name(name: &str) -> Result<(), Error> {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
    if name.is_empty() || name.len() > LONGEST_NAME || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(Error::BadIdentityName { name: name.chars().take(LONGEST_NAME).collect() });
    }
    Ok(())
}

/// What is in a folder, sorted; what begins with a dot is not for others.
fn entries(folder: &Path) -> Result<Vec<String>, Error> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(|source| Error::Unreadable { path: folder.to_owned(), source })?,
    };
    let names = read.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    Ok(names)
}

/// Lets `current` be this version, in one step.
fn point(folder: &Path, version: &str) -> Result<(), Error> {
    let (current, new) = (folder.join("current"), folder.join(".current.new"));
    let swap = || -> io::Result<()> {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(Path::new("versions").join(version), &new)?;
        fs::rename(&new, &current)?;
        File::open(folder)?.sync_all()
    };
    swap().map_err(|source| unwritable(&current, source))
}

/// Forgets the oldest versions. What cannot be removed now is removed another time.
fn prune(folder: &Path, current: &str) {
    let versions = folder.join("versions");
    let Ok(names) = entries(&versions) else { return };
    let old = names.len().saturating_sub(VERSIONS_KEPT);
    for name in names.iter().filter(|name| *name != current).take(old) {
        let _ = fs::remove_dir_all(versions.join(name));
    }
}

fn read_key(path: &Path) -> Result<PrivateKey, Error> {
    let der = files::read_key(path)?;
    PrivateKey::from_der(&der).map_err(|reason| Error::UnusableKey { path: path.to_owned(), reason })
}

/// Reads a note; `None` when there is none.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match files::read(path) {
        Err(Error::Missing { .. }) => return Ok(None),
        text => text?,
    };
    let note = serde_json::from_slice(&text);
    note.map(Some).map_err(|error| Error::Broken { path: path.to_owned(), reason: error.to_string() })
}

fn write_json<T: Serialize>(path: &Path, note: &T) -> Result<(), Error> {
    let text = serde_json::to_vec_pretty(note)
        .map_err(|error| Error::Broken { path: path.to_owned(), reason: error.to_string() })?;
    files::write(path, &text, PUBLIC_FILE, Existing::Replace)
}

fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Unwritable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyKind;

    fn identity(day: i64) -> (CertificateDer<'static>, PrivateKey, About) {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let params = rcgen::CertificateParams::new(["mail.example.org".to_owned()]).unwrap();
        let certificate = params.self_signed(key.pair()).unwrap().der().clone();
        let installed = Timestamp::from_second(1_790_000_000 + day * 86_400).unwrap();
        (certificate, key, About { origin: Origin::ByHand, installed, asked: None })
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one_under_the_same_paths() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::new(folder.path());
        assert!(store.names().unwrap().is_empty());
        for day in 0..7 {
            let (certificate, key, about) = identity(day);
            store.install("mail", std::slice::from_ref(&certificate), &key, &about).unwrap();
            let stored = store.read("mail").unwrap();
            assert_eq!((&stored.chain, stored.key.spki()), (&vec![certificate], key.spki()));
            assert_eq!(stored.about, about);
            assert!(
                crate::TlsIdentity::load(
                    "mail",
                    &store.paths("mail").certificate,
                    &store.paths("mail").key,
                    about.installed
                )
                .is_ok()
            );
        }
        assert_eq!(store.names().unwrap(), ["mail"]);
        let versions = fs::read_dir(folder.path().join("certificates/mail/versions")).unwrap().count();
        assert_eq!(versions, VERSIONS_KEPT);
        store.remove("mail").unwrap();
        assert!(store.names().unwrap().is_empty() && store.read("mail").is_err());
    }

    #[test]
    fn only_the_owner_can_read_keys() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::new(folder.path());
        let (certificate, key, about) = identity(0);
        store.install("mail", &[certificate], &key, &about).unwrap();
        assert_eq!(files::mode_of(&store.paths("mail").key), Some(PRIVATE_FILE));
    }

    #[test]
    fn the_next_key_is_no_longer_next_once_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::new(folder.path());
        let (certificate, key, about) = identity(0);
        let (_, other, _) = identity(0);
        for (next, left) in [(&other, true), (&key, false)] {
            store.set_next_key("mail", next).unwrap();
            store.install("mail", std::slice::from_ref(&certificate), &key, &about).unwrap();
            assert_eq!(store.next_key("mail").unwrap().is_some(), left);
        }
    }

    #[test]
    fn a_request_waits_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::new(folder.path());
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let details =
            RequestDetails { names: vec!["mail.example.org".parse().unwrap()], ..RequestDetails::default() };
        let request = SigningRequest::make(&details, &key).unwrap();
        let note = PendingNote { made: Timestamp::UNIX_EPOCH, details, sent: None };
        store.set_pending("mail", &Pending { request, key, note: note.clone() }).unwrap();
        let pending = store.pending("mail").unwrap().unwrap();
        assert_eq!((pending.note, pending.request.spki().to_vec()), (note, pending.key.spki()));
        assert_eq!(store.pending_names().unwrap(), ["mail"]);
        assert!(store.names().unwrap().is_empty(), "a request is no identity");
        store.drop_pending("mail").unwrap();
        assert!(store.pending("mail").unwrap().is_none());
    }

    #[test]
    fn a_name_that_leaves_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = IdentityStore::new(folder.path());
        for name in ["", "..", ".requests", "a/b", "../mail", "a\0b", "ä"] {
            assert!(matches!(store.read(name), Err(Error::BadIdentityName { .. })), "{name:?}");
        }
    }
}
