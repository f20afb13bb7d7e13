//! Secrets in files: the passwords, tokens and keys that a configuration names by their paths.
//!
//! [`first_line`] reads one. It is read each time it is needed, so that a secret that was changed counts at once, and what
//! stands below the first line is the administrator's own. What was read is wiped from memory.
//!
//! What it deliberately does not do: keep a secret, or judge who else may read the file (`config check` does).

use std::path::Path;

use postern_smtp::secret::Secret;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

/// The biggest file that can hold a secret, in octets.
const BIGGEST: u64 = 64 << 10;

/// The first line of a file that holds a secret, without its end.
///
/// # Errors
/// In words for the administrator, without any of the content: the file cannot be read, is bigger than 64 KiB, or its first
/// line is empty.
pub(crate) async fn first_line(path: &Path) -> Result<Secret, String> {
    let broken = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let text = all(path).await.map_err(broken)?;
    let text = text.expose();
    if text.len() as u64 > BIGGEST {
        let most = BIGGEST >> 10;
        return Err(format!(
            "{} is bigger than {most} KiB; a secret stands in its first line",
            path.display()
        ));
    }
    let line = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let secret = line.strip_suffix(b"\r").unwrap_or(line);
    if secret.is_empty() {
        return Err(format!("{} is empty; a secret stands in its first line", path.display()));
    }
    Ok(Secret::new(secret))
}

/// All of the file, or one octet more than it may have.
async fn all(path: &Path) -> std::io::Result<Secret> {
    // With room for all of it, so that growing leaves no copy behind.
    let mut text = Vec::with_capacity(usize::try_from(BIGGEST).unwrap_or(usize::MAX) + 64);
    let outcome = File::open(path).await?.take(BIGGEST + 1).read_to_end(&mut text).await;
    let text = Secret::new(text);
    outcome.map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(content: &[u8]) -> Result<Vec<u8>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        first_line(file.path()).await.map(|secret| secret.expose().to_vec())
    }

    #[tokio::test]
    async fn a_secret_is_the_first_line_without_its_end() {
        for content in [&b"s3cret"[..], b"s3cret\n", b"s3cret\r\n", b"s3cret\nsince May"] {
            assert_eq!(read(content).await.unwrap(), b"s3cret");
        }
        assert!(read(b"\ns3cret").await.unwrap_err().contains("is empty"));
        assert!(first_line(Path::new("/nowhere/key")).await.unwrap_err().contains("/nowhere/key"));
    }

    #[tokio::test]
    async fn a_file_that_is_too_big_for_a_secret_is_refused_and_one_at_the_bound_is_not() {
        let bound = usize::try_from(BIGGEST).unwrap();
        assert_eq!(read(&vec![b'a'; bound]).await.unwrap().len(), bound);
        assert!(read(&vec![b'a'; bound + 1]).await.unwrap_err().contains("64 KiB"));
        assert!(first_line(Path::new("/dev/zero")).await.unwrap_err().contains("64 KiB"), "it ends");
    }
}
