//! Who may read the data directory and the secrets.
//!
//! Files of the data directory that hold mail, passwords' hashes or keys must be the daemon's own and nobody else's. What the
//! configuration names besides is looked at as `config check` does.
//!
//! What it deliberately does not do: change a mode.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::room::Room;
use super::{Check, Finding};

/// What nobody but the daemon's user may read.
const SECRET: [&str; 14] = [
    "queue.db",
    "queue.db-wal",
    "users.db",
    "policy.db",
    "activity.db",
    "devices.db",
    "acme.db",
    "events.db",
    "sessions.db",
    "control.sock",
    "spool",
    "oauth",
    "ca/private",
    "ca/records.db",
];
/// Of the data directory itself others may at most pass through it.
const WRITABLE: u32 = 0o022;
/// So many findings are told.
const TOLD_MOST: usize = 20;

/// A file or folder as it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    mode: u32,
    owner: u32,
}

pub(super) async fn look(room: &Room) -> Vec<Finding> {
    let data_dir = room.config.data_dir.clone();
    let found = tokio::task::spawn_blocking(move || gather(&data_dir)).await;
    let found = found.unwrap_or_else(|error| Err(io::Error::other(error)));
    let (folder, files) = match found {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let evidence = format!("there is no data directory {}", room.config.data_dir.display());
            return vec![Finding::note(Check::Permissions, evidence, "Postern makes it at its first start")];
        }
        Err(error) => {
            let evidence = format!("{} cannot be looked at: {error}", room.config.data_dir.display());
            return vec![Finding::unknown(Check::Permissions, evidence, "run this as root")];
        }
    };
    judge(&folder, &files)
}

fn gather(data_dir: &Path) -> io::Result<(Seen, Vec<Seen>)> {
    let folder = seen(data_dir.to_owned())?;
    let mut files: Vec<Seen> = SECRET.iter().filter_map(|name| seen(data_dir.join(name)).ok()).collect();
    files.extend(keys(&data_dir.join("certificates")));
    Ok((folder, files))
}

/// The key of each version in the certificate store, as far as it is in force.
fn keys(store: &Path) -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir(store) else { return Vec::new() };
    entries.flatten().filter_map(|entry| seen(entry.path().join("current/key.pem")).ok()).collect()
}

fn seen(path: PathBuf) -> io::Result<Seen> {
    let metadata = std::fs::metadata(&path)?;
    Ok(Seen { path, mode: metadata.mode() & 0o7777, owner: metadata.uid() })
}

fn judge(folder: &Seen, files: &[Seen]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if folder.mode & WRITABLE != 0 {
        let evidence = format!("others may write in {} (mode {:o})", folder.path.display(), folder.mode);
        findings.push(Finding::failed(
            Check::Permissions,
            evidence,
            format!("chmod 0711 {}", folder.path.display()),
        ));
    }
    findings.extend(files.iter().filter_map(|file| judge_file(file, folder.owner)).take(TOLD_MOST));
    if findings.is_empty() {
        let evidence =
            format!("{} and the {} secrets in it are the daemon's alone", folder.path.display(), files.len());
        findings.push(Finding::ok(Check::Permissions, evidence));
    }
    findings
}

fn judge_file(file: &Seen, owner: u32) -> Option<Finding> {
    let path = file.path.display();
    if file.mode & 0o077 != 0 {
        let evidence = format!("others may read {path} (mode {:o})", file.mode);
        return Some(Finding::failed(Check::Permissions, evidence, format!("chmod go= {path}")));
    }
    if file.owner != owner {
        let evidence =
            format!("{path} belongs to user {}, and the data directory to user {owner}", file.owner);
        let remedy = format!("chown {owner} {path}: the daemon cannot use it as it is");
        return Some(Finding::failed(Check::Permissions, evidence, remedy));
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Verdict;
    use super::*;

    fn file(name: &str, mode: u32, owner: u32) -> Seen {
        Seen { path: PathBuf::from("/data").join(name), mode, owner }
    }

    #[test]
    fn what_others_can_read_or_the_daemon_cannot_is_told() {
        let folder = file("", 0o711, 998);
        let verdicts = |folder: &Seen, files: &[Seen]| -> Vec<Verdict> {
            judge(folder, files).iter().map(|finding| finding.verdict).collect()
        };
        assert_eq!(verdicts(&folder, &[file("users.db", 0o600, 998)]), [Verdict::Ok]);
        assert_eq!(verdicts(&folder, &[file("users.db", 0o640, 998)]), [Verdict::Failed]);
        assert_eq!(verdicts(&folder, &[file("users.db", 0o600, 0)]), [Verdict::Failed]);
        assert_eq!(verdicts(&file("", 0o777, 998), &[]), [Verdict::Failed]);
    }

    #[test]
    fn the_files_that_are_there_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("users.db"), "").unwrap();
        std::fs::set_permissions(folder.path().join("users.db"), std::fs::Permissions::from_mode(0o644))
            .unwrap();
        let (own, files) = gather(folder.path()).unwrap();
        let findings = judge(&own, &files);
        assert!(findings[0].evidence.contains("users.db (mode 644)"), "{findings:?}");
    }
}
