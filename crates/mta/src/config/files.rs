//! What the configuration names outside of itself: certificates, keys, trust anchors, secrets, the data folder.
//!
//! Reading the file only writes down what is named where ([`Named`]), sound or not; here it is looked at, as the daemon
//! will: an identity is loaded, trust anchors are parsed, secrets must not be open to everybody. Secrets are not read.
//! The daemon finds all this out by itself; this is for `postern config check`.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_pki::{ClientCa, ClientTls, Error, Loaded, TlsIdentity, TrustAnchors, Warning};

use super::{Checked, PasswdFile, Problem};

/// What to do about a file without authorities.
const AUTHORITIES: &str = "put the authority's certificates there as PEM, or correct the path";
/// The mode bits that let the world read.
const READABLE_BY_OTHERS: u32 = 0o004;
/// Those that let it write.
const WRITABLE_BY_OTHERS: u32 = 0o002;
/// Those that let anybody start a program.
const STARTED_BY_ANYBODY: u32 = 0o111;

/// A thing outside of the configuration that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// Either path may be missing from the configuration, which is a problem noted elsewhere.
    Identity {
        certificate: Option<Place>,
        key: Option<Place>,
    },
    Trust(Place),
    /// The authorities of client certificates.
    ClientCa(Place),
    /// Trust anchors of DNSSEC.
    Anchors(Place),
    /// A password, a token, a client's secret.
    Secret(Place),
    DataDir(Place),
    /// A file of people.
    People(Place, PasswdFile),
    /// A program that Postern starts.
    Hook(Place),
}

/// A path, and where the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// A problem at that place that says nothing yet.
    pub(super) blank: Problem,
}

/// Whether a file holds a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Secret,
}

/// Whether a file can be read at all; what is in it is another matter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Readable,
    Unreadable,
}

impl Named {
    /// Adds what is wrong, or probably not meant.
    pub(super) fn look_at(&self, now: Timestamp, checked: &mut Checked) {
        match self {
            Self::Identity { certificate, key } => {
                look_at_identity(certificate.as_ref(), key.as_ref(), now, checked);
            }
            Self::Trust(place) => {
                let read = |path: &Path| ClientTls::new(&TrustAnchors::File(path.to_owned())).map(drop);
                look_at_content(place, read, AUTHORITIES, checked);
            }
            Self::ClientCa(place) => {
                let read = |path: &Path| ClientCa::load(path).map(drop);
                look_at_content(place, read, AUTHORITIES, checked);
            }
            Self::Anchors(place) => {
                look_at_content(place, postern_dns::check_anchors, "correct the file, or the path", checked);
            }
            Self::Secret(place) => {
                look_at_file(place, Kind::Secret, checked);
            }
            Self::DataDir(place) => checked.warnings.extend(hindrance(place)),
            Self::People(place, file) => look_at_people(place, file, checked),
            Self::Hook(place) => checked.warnings.extend(unfit_program(place)),
        }
    }
}

impl Place {
    fn problem(&self, what: impl Into<String>, remedy: &str) -> Problem {
        Problem { what: what.into(), remedy: remedy.to_owned(), ..self.blank.clone() }
    }
}

fn look_at_identity(certificate: Option<&Place>, key: Option<&Place>, now: Timestamp, checked: &mut Checked) {
    let open = certificate.map(|place| look_at_file(place, Kind::Open, checked));
    let before = checked.problems.len();
    let secret = key.map(|place| look_at_file(place, Kind::Secret, checked));
    let exposed = checked.problems.len() > before;
    let (Some(certificate), Some(key)) = (certificate, key) else { return };
    if open != Some(Access::Readable) || secret != Some(Access::Readable) {
        return;
    }
    match TlsIdentity::load("", &certificate.path, &key.path, now) {
        Ok(Loaded { warnings, .. }) => {
            let new = warnings.iter().filter(|warning| !(exposed && is_about_key(warning)));
            checked.warnings.extend(new.map(|warning| concern(warning, certificate, key)));
        }
        Err(error) => {
            let place = if is_key_at_fault(&error, &key.path) { key } else { certificate };
            let remedy = "put a certificate and the key that belongs to it there, or correct the path";
            checked.problems.push(place.problem(error.to_string(), remedy));
        }
    }
}

fn concern(warning: &Warning, certificate: &Place, key: &Place) -> Problem {
    let place = if is_about_key(warning) { key } else { certificate };
    place.problem(warning.to_string(), &warning.remedy())
}

fn is_about_key(warning: &Warning) -> bool {
    matches!(warning, Warning::KeyExposed { .. })
}

fn is_key_at_fault(error: &Error, key: &Path) -> bool {
    match error {
        Error::NoKey { .. }
        | Error::EncryptedKey { .. }
        | Error::UnusableKey { .. }
        | Error::KeyMismatch { .. } => true,
        Error::NotPem { path } | Error::Broken { path, .. } | Error::Unreadable { path, .. } => path == key,
        _ => false,
    }
}

/// A file of people, and its lines with which nobody can sign in.
fn look_at_people(place: &Place, file: &PasswdFile, checked: &mut Checked) {
    if look_at_file(place, Kind::Secret, checked) == Access::Unreadable {
        return;
    }
    match crate::directory::passwd_file_problems(file) {
        Ok(problems) => {
            let remedy = "correct the line; until then it is passed over";
            checked.warnings.extend(problems.into_iter().map(|problem| place.problem(problem, remedy)));
        }
        Err(what) => checked.problems.push(place.problem(what, "correct the file, or the path")),
    }
    if file.rehash.is_wanted()
        && fs::metadata(&place.path).is_ok_and(|metadata| metadata.permissions().readonly())
    {
        let what = format!("{} cannot be written, so no password is stored anew", place.path.display());
        checked.warnings.push(place.problem(what, "let Postern's user write to it, or remove rehash"));
    }
}

/// A file that is no secret, and what a reader of its content says.
fn look_at_content<E: std::fmt::Display>(
    place: &Place,
    read: impl Fn(&Path) -> Result<(), E>,
    remedy: &str,
    checked: &mut Checked,
) {
    if look_at_file(place, Kind::Open, checked) == Access::Unreadable {
        return;
    }
    if let Err(error) = read(&place.path) {
        checked.problems.push(place.problem(error.to_string(), remedy));
    }
}

fn look_at_file(place: &Place, kind: Kind, checked: &mut Checked) -> Access {
    let path = place.path.display();
    let metadata = match File::open(&place.path).and_then(|file| file.metadata()) {
        Ok(metadata) => metadata,
        Err(error) => {
            let what = format!("{path} cannot be read: {error}");
            checked.problems.push(place.problem(what, "put the file there, or correct the path"));
            return Access::Unreadable;
        }
    };
    if !metadata.is_file() {
        checked.problems.push(place.problem(format!("{path} is not a file"), "correct the path"));
        return Access::Unreadable;
    }
    if kind == Kind::Secret && metadata.mode() & READABLE_BY_OTHERS != 0 {
        let what = format!("everybody on this machine can read the secret in {path}");
        checked.problems.push(place.problem(what, "chmod 600 it"));
    }
    Access::Readable
}

/// Why there is no such folder and none can be made. Nothing is tried: whether the daemon's user may write there is not
/// known here.
fn hindrance(place: &Place) -> Option<Problem> {
    let path = place.path.display();
    let remedy = "name a folder that Postern's user can make or write to";
    for folder in place.path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
        match fs::metadata(folder) {
            Ok(metadata) if !metadata.is_dir() => {
                let what = format!("{path} cannot be the data folder: {} is not a folder", folder.display());
                return Some(place.problem(what, remedy));
            }
            // No write bit for anybody: /proc, /sys and their like.
            Ok(metadata) if folder != place.path && metadata.permissions().readonly() => {
                let what = format!("{path} is not there, and nothing can be made in {}", folder.display());
                return Some(place.problem(what, remedy));
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => (),
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

/// Why a program cannot be started, or should not be. It is a warning: it may be put there, or mended, later.
fn unfit_program(place: &Place) -> Option<Problem> {
    let path = place.path.display();
    let metadata = match fs::metadata(&place.path) {
        Ok(metadata) => metadata,
        // Only the daemon's user may have to see it.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        Err(error) => {
            let what = format!("the program {path} cannot be started: {error}");
            return Some(place.problem(what, "put it there, or correct the path"));
        }
    };
    if !metadata.is_file() {
        return Some(place.problem(format!("{path} is not a program"), "correct the path"));
    }
    if metadata.mode() & STARTED_BY_ANYBODY == 0 {
        let what = format!("{path} cannot be started: nobody may execute it");
        return Some(place.problem(what, "chmod 755 it"));
    }
    let folder = place.path.parent().and_then(|folder| fs::metadata(folder).ok());
    let sticky = |mode: u32| mode & 0o1000 != 0;
    let exchangeable =
        folder.is_some_and(|folder| folder.mode() & WRITABLE_BY_OTHERS != 0 && !sticky(folder.mode()));
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 || exchangeable {
        let what = format!("everybody on this machine can change {path}, which Postern starts");
        return Some(place.problem(what, "chmod 755 it and its folder"));
    }
    None
}
