//! Passphrases, which nothing prints.
//!
//! [`Passphrase`]: what opens a key or a PKCS #12 file, from a terminal or a file. It is wiped when it is dropped.
//! What it deliberately does not do: come from an argument or the environment, which other users of the machine can
//! read, or judge how good it is.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

use crate::Error;

/// So much of a passphrase's file is read, in octets.
const FILE_MOST: u64 = 64 * 1024;

/// What opens a key or a PKCS #12 file. It is wiped when it is dropped, and cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes the passphrase over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The first line of a file.
    ///
    /// # Errors
    /// Local: it cannot be read, or its first line is empty or far too long.
    pub fn in_file(path: &Path) -> Result<Self, Error> {
        let unreadable = |source: std::io::Error| match source.kind() {
            ErrorKind::NotFound => Error::Missing { path: path.to_owned() },
            _ => Error::Unreadable { path: path.to_owned(), source },
        };
        // Of its full size from the start: a string that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(FILE_MOST).unwrap_or_default()));
        let file = File::open(path).map_err(unreadable)?;
        file.take(FILE_MOST).read_to_string(&mut text).map_err(unreadable)?;
        let wrong = |what: &str| Error::Broken {
            path: path.to_owned(),
            reason: format!("its first line is to be the passphrase, and is {what}"),
        };
        match text.lines().next() {
            None | Some("") => Err(wrong("empty")),
            Some(line) if line.len() as u64 == FILE_MOST => Err(wrong("too long")),
            Some(line) => Ok(Self::new(line.to_owned())),
        }
    }

    /// The passphrase itself, for the library that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it; old PKCS #12 files are protected by that.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passphrase_is_never_printed() {
        assert!(!format!("{:?}", Passphrase::new("hunter2".into())).contains("hunter2"));
    }

    #[test]
    fn a_passphrase_is_the_first_line_and_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passphrase");
        let reads = |content: &[u8]| {
            std::fs::write(&path, content).unwrap();
            Passphrase::in_file(&path).map_err(|error| error.to_string())
        };
        assert_eq!(reads(b"correct horse\r\nmore\n").unwrap().expose(), "correct horse");
        assert_eq!(reads(b"correct horse").unwrap().expose(), "correct horse");
        let endless = vec![b'x'; 70_000];
        for (content, what) in [(&b"\nmore"[..], "empty"), (b"", "empty"), (&endless, "too long")] {
            let said = reads(content).unwrap_err();
            assert!(said.contains("passphrase: is broken") && said.ends_with(what), "{said}");
        }
        let said = Passphrase::in_file(&folder.path().join("none")).unwrap_err().to_string();
        assert!(said.ends_with("none: there is no such file"), "{said}");
        assert!(Passphrase::in_file(folder.path()).unwrap_err().to_string().contains("cannot be read"));
    }
}
