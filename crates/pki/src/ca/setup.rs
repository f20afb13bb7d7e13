//! Setting a CA up, and renewing its intermediate.
//!
//! A new CA is made whole in a folder beside its own and then renamed, so that a crash leaves either no CA or all of it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::certify::{self, Signer, make_root, name_with_key};
use super::folder::Folder;
use super::records::Records;
use super::{Authority, AuthorityError, Policy, keyfile};
use crate::files::{self, Existing, PRIVATE_FILE, PRIVATE_FOLDER, PUBLIC_FILE, PUBLIC_FOLDER};
use crate::{Error, KeyKind, Passphrase, PrivateKey, Subject};

/// What a new CA is to be.
#[derive(Debug)]
pub struct Init<'a> {
    /// Whose it is. People see it when they import the root; the common name is needed.
    pub subject: Subject,
    /// The kind of its keys.
    pub key: KeyKind,
    /// How long the root is good for.
    pub life: SignedDuration,
    /// How long the intermediate is good for; none: the root signs everything itself.
    pub intermediate: Option<SignedDuration>,
    /// What locks its keys.
    pub passphrase: Option<&'a Passphrase>,
    /// Which keys the passphrase locks.
    pub locks: Locks,
}

/// Which keys of a CA a passphrase locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locks {
    /// The root's alone, so that the intermediate signs without anybody's help.
    #[default]
    Root,
    /// The intermediate's too: nothing is signed without the passphrase.
    All,
}

impl Authority {
    /// Makes a CA: a root, and an intermediate if one is wanted; its first revocation list and its responder, by the
    /// policy.
    ///
    /// # Errors
    /// Local: there is a CA already, the passphrase is empty, the subject cannot be written, or the folder cannot.
    pub fn init(
        folder: &Path,
        init: &Init<'_>,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        refuse_existing(folder)?;
        init.subject.check()?;
        let workshop = beside(folder);
        remove(&workshop)?;
        make_whole(&workshop, init, policy, now)?;
        let put = fs::rename(&workshop, folder);
        put.map_err(|source| match source.kind() {
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists => {
                AuthorityError::Exists { folder: folder.to_owned() }
            }
            _ => Error::Unwritable { path: folder.to_owned(), source }.into(),
        })?;
        sync(folder.parent().unwrap_or(Path::new(".")))?;
        Self::open(folder, now)
    }

    /// Gives the intermediate a new certificate for its old key and name, so that all that it issued stays good.
    ///
    /// # Errors
    /// Local: there is none, the signer is not the root's, or the root itself has ended.
    pub fn renew_intermediate(
        &mut self,
        root: &Signer,
        life: SignedDuration,
        now: Timestamp,
    ) -> Result<(), AuthorityError> {
        let Some(seat) = &self.intermediate else {
            return Err(Error::Missing { path: self.folder.intermediate_pem() }.into());
        };
        if !root.is_for(&self.root) {
            let (key, certificate) = (root.seat.key_path.clone(), self.root.path.clone());
            return Err(Error::KeyMismatch { key, certificate }.into());
        }
        self.root.check_life(now)?;
        let renewed = root.certify_again(seat, &root.span(life, now)?)?;
        let path = self.folder.intermediate_pem();
        files::write(&path, renewed.pem().as_bytes(), PUBLIC_FILE, Existing::Replace)?;
        self.intermediate = Some(certify::Seat::read(&path, &self.folder.intermediate_key())?);
        Ok(())
    }
}

fn refuse_existing(folder: &Path) -> Result<(), AuthorityError> {
    match fs::read_dir(folder) {
        Ok(entries) => match entries.count() {
            0 => Ok(()),
            _ => Err(AuthorityError::Exists { folder: folder.to_owned() }),
        },
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Unreadable { path: folder.to_owned(), source }.into()),
    }
}

fn make_whole(path: &Path, init: &Init<'_>, policy: &Policy, now: Timestamp) -> Result<(), AuthorityError> {
    let folder = Folder::new(path);
    files::make_folder(path, PUBLIC_FOLDER)?;
    files::make_folder(&folder.private(), PRIVATE_FOLDER)?;
    let root = PrivateKey::generate(init.key)?;
    write_key(&folder.root_key(), &root, init.passphrase)?;
    let name = name_with_key(init.subject.clone(), root.pair());
    let below = u8::from(init.intermediate.is_some());
    let certificate = make_root(root.pair(), name.to_library(), below, init.life, now)?;
    files::write(&folder.root_pem(), certificate.pem().as_bytes(), PUBLIC_FILE, Existing::Keep)?;
    Records::begin(path)?;
    if let Some(life) = init.intermediate {
        let root = Signer::new(certify::Seat::read(&folder.root_pem(), &folder.root_key())?, root)?;
        make_intermediate(&folder, init, &root, life, now)?;
    }
    let lock = |locks: Locks| init.passphrase.filter(|_| init.intermediate.is_none() || locks == Locks::All);
    let authority = Authority::open(path, now)?;
    let signer = authority.signer(lock(init.locks))?;
    authority.upkeep(Some(&signer), policy, now)?;
    Ok(())
}

fn make_intermediate(
    folder: &Folder,
    init: &Init<'_>,
    root: &Signer,
    life: SignedDuration,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let key = PrivateKey::generate(init.key)?;
    let passphrase = init.passphrase.filter(|_| init.locks == Locks::All);
    write_key(&folder.intermediate_key(), &key, passphrase)?;
    let name = name_with_key(intermediate_name(&init.subject), key.pair());
    let certificate = root.certify_intermediate(&name, &key.spki(), &root.span(life, now)?)?;
    Ok(files::write(&folder.intermediate_pem(), certificate.pem().as_bytes(), PUBLIC_FILE, Existing::Keep)?)
}

fn intermediate_name(root: &Subject) -> Subject {
    let name = root.common_name.as_deref().unwrap_or("Postern CA");
    // A common name has room for 64 characters (RFC 5280 Appendix A.1).
    let name: String = name.chars().take(49).collect();
    Subject { common_name: Some(format!("{name} (intermediate)")), ..root.clone() }
}

fn write_key(path: &Path, key: &PrivateKey, passphrase: Option<&Passphrase>) -> Result<(), AuthorityError> {
    let content = keyfile::content(key, passphrase)?;
    Ok(files::write(path, content.as_bytes(), PRIVATE_FILE, Existing::Keep)?)
}

/// Where a CA is made before it gets its place.
fn beside(folder: &Path) -> PathBuf {
    let mut name = folder.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    folder.with_file_name(name)
}

/// Removes what a crash left.
fn remove(path: &Path) -> Result<(), AuthorityError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(Error::Unwritable { path: path.to_owned(), source }.into())
        }
        _ => Ok(()),
    }
}

fn sync(folder: &Path) -> Result<(), AuthorityError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| Error::Unwritable { path: folder.to_owned(), source }.into())
}
