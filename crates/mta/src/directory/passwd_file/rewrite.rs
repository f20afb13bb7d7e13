//! Storing one password anew in a file that others edit too.
//!
//! [`put_password`] replaces one field of one line. Everything else stays octet for octet, and so do owner, group and mode;
//! the file is replaced whole by renaming, so that nobody ever reads half of it. Whoever edits at the same time wins: when the
//! line or the file is not what was read, or another program holds a lock on it, nothing is done.
//!
//! What it deliberately does not do: keep access lists and other extended attributes; a file that has some should not be
//! rewritten by anybody but its editor.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use postern_smtp::secret::Secret;

use super::lines::Line;
use super::{Stamp, bounded};
use crate::directory::rehash::Stored;
use crate::directory::source::key_of;

/// Replaces the password of a line that was read.
///
/// # Errors
/// Local: the folder or the file cannot be written, or the new file cannot be given to the old one's owner.
pub(super) fn put_password(path: &Path, line: &Line, stored: &Secret) -> io::Result<Stored> {
    // The file itself, not a link to it.
    let path = fs::canonicalize(path)?;
    let file = File::open(&path)?;
    if file.try_lock().is_err() {
        return Ok(Stored::LeftAlone);
    }
    let before = Stamp::of(&file.metadata()?);
    let content = bounded(&file, &path).map_err(io::Error::other)?;
    let Some(content) = replaced(content.expose(), line, stored) else { return Ok(Stored::LeftAlone) };
    let new = New::write(&path, &file, &content)?;
    if Stamp::of(&fs::metadata(&path)?) != before {
        return Ok(Stored::LeftAlone);
    }
    new.put(&path)?;
    Ok(Stored::Anew)
}

/// The whole file with the new password; `None`: the line is not what it was.
fn replaced(content: &[u8], line: &Line, stored: &Secret) -> Option<Secret> {
    let mut lines: Vec<&[u8]> = content.split_inclusive(|octet| *octet == b'\n').collect();
    let old = lines.get(line.number.checked_sub(1)?)?;
    let name = &old[..old.iter().position(|octet| *octet == b':')?];
    let behind = old[name.len() + 1..].strip_prefix(line.stored.expose())?;
    let is_whole_field = behind.first().is_none_or(|next| b":\r\n".contains(next));
    if !is_whole_field || key_of(std::str::from_utf8(name).ok()?) != line.name {
        return None;
    }
    let new = Secret::new([name, b":", stored.expose(), behind].concat());
    lines[line.number - 1] = new.expose();
    Some(Secret::new(lines.concat()))
}

/// The new file beside the old one, gone again unless it takes its place.
struct New(PathBuf);

impl New {
    fn write(path: &Path, old: &File, content: &Secret) -> io::Result<Self> {
        let metadata = old.metadata()?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".postern-{}", std::process::id()));
        let beside = path.with_file_name(name);
        // Left over by a process that was killed; only one of ours writes at a time.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        let new = Self(beside);
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(&file, Some(metadata.uid()), Some(metadata.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
        file.write_all(content.expose())?;
        file.sync_all()?;
        Ok(new)
    }

    fn put(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // Already gone when it has taken its place.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::lines::Index;
    use super::*;
    use crate::config::{ClearPasswords, PasswdFormat};

    const BEFORE: &str =
        "# people: do not lose me\r\n\nAnna:{PLAIN}secret:1:1:::: x=1\n:broken\nben:{PLAIN}secret";
    const AFTER: &str = "# people: do not lose me\r\n\nAnna:NEW:1:1:::: x=1\n:broken\nben:{PLAIN}secret";

    fn index(text: &str) -> Index {
        Index::parse(text.as_bytes(), PasswdFormat::Dovecot, ClearPasswords::Taken)
    }

    fn put(path: &Path, name: &str) -> Stored {
        put_password(path, &index(BEFORE).people[name], &Secret::new("NEW")).unwrap()
    }

    #[test]
    fn one_field_changes_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("users"), folder.path().join("link"));
        fs::write(&path, BEFORE).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        assert_eq!(put(&link, "anna"), Stored::Anew);
        assert_eq!(fs::read_to_string(&path).unwrap(), AFTER);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link is still one");
        assert_eq!(put(&path, "ben"), Stored::Anew, "the last line has no end");
        assert!(fs::read_to_string(&path).unwrap().ends_with("\nben:NEW"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left over");
    }

    #[test]
    fn whoever_edits_at_the_same_time_wins() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        for meanwhile in [
            BEFORE.replace("Anna:{PLAIN}secret", "Anna:{PLAIN}secret2"),
            BEFORE.replace("Anna:{PLAIN}secret", "Anna:{PLAIN}new"),
            BEFORE.replace("Anna", "Otto"),
            format!("carol:{{PLAIN}}c\n{BEFORE}"),
            String::new(),
        ] {
            fs::write(&path, &meanwhile).unwrap();
            assert_eq!(put(&path, "anna"), Stored::LeftAlone, "{meanwhile}");
            assert_eq!(fs::read_to_string(&path).unwrap(), meanwhile);
        }
        fs::write(&path, BEFORE).unwrap();
        let other = File::open(&path).unwrap();
        other.lock().unwrap();
        assert_eq!(put(&path, "anna"), Stored::LeftAlone, "another program has locked it");
    }
}
