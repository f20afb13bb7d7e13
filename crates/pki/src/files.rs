//! Reading PEM files with clear errors, and writing files such that a crash leaves the old one or the new one.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::Error;

/// A key file: for its owner alone.
pub(crate) const PRIVATE_FILE: u32 = 0o600;
/// A certificate: for everyone.
pub(crate) const PUBLIC_FILE: u32 = 0o644;
/// A folder that holds keys.
pub(crate) const PRIVATE_FOLDER: u32 = 0o700;
/// A folder that holds certificates only.
pub(crate) const PUBLIC_FOLDER: u32 = 0o755;

/// What to do when the file to be written is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Replace it.
    Replace,
    /// Leave it as it is.
    Keep,
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
        _ => Error::Unreadable { path: path.to_owned(), source },
    })
}

/// The certificates of a PEM file in their order; at least one.
pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read_pem(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(path, &error))?;
    if certificates.is_empty() {
        return Err(Error::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}

/// The revocation lists of a file in PEM or DER; at least one.
pub(crate) fn read_lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let content = read(path)?;
    if !holds(&content, b"-----BEGIN ") {
        return Ok(vec![CertificateRevocationListDer::from(content)]);
    }
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&content)
        .collect::<Result<_, _>>()
        .map_err(|error| broken(path, &error))?;
    if lists.is_empty() {
        return Err(broken(path, &"it holds no revocation list (CRL)"));
    }
    Ok(lists)
}

/// The first private key of a PEM file: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read_pem(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        PemError::NoItemsFound if holds(&text, b"ENCRYPTED PRIVATE KEY") => {
            Error::EncryptedKey { path: path.to_owned() }
        }
        PemError::NoItemsFound => Error::NoKey { path: path.to_owned() },
        other => broken(path, &other),
    })
}

/// Makes a folder (and those above it) with this mode, unless it is there.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    let above = path.ancestors().skip(1).take_while(|above| !above.as_os_str().is_empty() && !above.is_dir());
    let missing: Vec<&Path> = std::iter::once(path).chain(above).collect();
    missing.into_iter().rev().try_for_each(|folder| make_one(folder, mode)).map_err(unwritable)
}

fn make_one(folder: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(folder) {
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
        made => made?,
    }
    fs::set_permissions(folder, Permissions::from_mode(mode))?;
    give_to_owner_of_folder(folder)
}

/// An administrator who works as root must not lock the daemon out of its own files: what root makes belongs to whom the
/// folder around it belongs.
pub(crate) fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    let around = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (folder, own) = (fs::metadata(around)?, fs::metadata(path)?);
    if own.uid() == 0 && folder.uid() != 0 {
        std::os::unix::fs::chown(path, Some(folder.uid()), Some(folder.gid()))?;
    }
    Ok(())
}

/// Writes a file whole or not at all: a temporary neighbour, synced, then renamed, then the folder synced.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32, existing: Existing) -> Result<(), Error> {
    let unwritable = |source| Error::Unwritable { path: path.to_owned(), source };
    let temporary = neighbour(path);
    let written = write_new(&temporary, content, mode).and_then(|()| put(&temporary, path, existing));
    // After the rename nothing is left to remove; after a failure nothing half-written stays behind.
    let _ = fs::remove_file(&temporary);
    written.and_then(|()| sync_folder(path)).map_err(unwritable)
}

/// The permission bits of a file, when they can be found out.
pub(crate) fn mode_of(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|metadata| metadata.permissions().mode() & 0o777)
}

fn read_pem(path: &Path) -> Result<Vec<u8>, Error> {
    let text = read(path)?;
    if !holds(&text, b"-----BEGIN ") {
        return Err(Error::NotPem { path: path.to_owned() });
    }
    Ok(text)
}

fn holds(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

fn broken(path: &Path, reason: &dyn std::fmt::Display) -> Error {
    Error::Broken { path: path.to_owned(), reason: reason.to_string() }
}

fn neighbour(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => (),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The process's umask may have taken bits away that a public file needs.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()?;
    give_to_owner_of_folder(path)
}

fn put(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    if existing == Existing::Replace {
        return fs::rename(temporary, path);
    }
    match fs::hard_link(temporary, path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Some file systems know no hard links; the caller has looked that nothing is there.
        Err(_) => fs::rename(temporary, path),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_the_mode_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pem");
        write(&path, b"one", PRIVATE_FILE, Existing::Replace).unwrap();
        write(&path, b"two", PUBLIC_FILE, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode_of(&path), Some(0o644));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    /// Only root can give files away, so for others there is nothing to see here.
    #[test]
    fn what_root_makes_belongs_to_the_owner_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap().uid();
        let expected = if owner == 0 { 4321 } else { owner };
        if owner == 0 {
            std::os::unix::fs::chown(folder.path(), Some(expected), Some(expected)).unwrap();
        }
        let below = folder.path().join("ca/private");
        make_folder(&below, PRIVATE_FOLDER).unwrap();
        write(&below.join("root.key"), b"key", PRIVATE_FILE, Existing::Keep).unwrap();
        for path in [below.join("root.key"), below, folder.path().join("ca")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), expected, "{}", path.display());
        }
    }

    #[test]
    fn an_existing_key_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        write(&path, b"one", PRIVATE_FILE, Existing::Keep).unwrap();
        write(&path, b"two", PRIVATE_FILE, Existing::Keep).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn a_file_that_cannot_be_written_names_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("root.key");
        let error = write(&path, b"one", PRIVATE_FILE, Existing::Keep).unwrap_err();
        assert!(error.to_string().contains("missing/root.key: cannot be written"), "{error}");
    }
}
