//! Content on its way in: small drafts stay in memory, large ones go to a file.
//!
//! A draft never holds more than [`MEMORY_LIMIT`] octets in memory (unless its store has no folder). Its file is
//! called `ID.draft` and is gone when the draft is dropped. [`Draft::finish`] makes it `ID.body`, synced under its
//! final name, before any transaction may name it; until that transaction is committed the file still belongs to
//! a [`SpoolFile`] guard, so that a failed commit leaves nothing behind.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::{Error, QueueId};

/// Octets of content that stay in memory, and in the message's row; more goes to a file of its own.
pub(crate) const MEMORY_LIMIT: usize = 64 * 1024;

/// A message's content while it is being received. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Draft {
    id: QueueId,
    size: u64,
    memory: BytesMut,
    place: Place,
}

/// Where a draft goes when it outgrows memory.
#[derive(Debug)]
enum Place {
    /// Nowhere: it may grow in memory.
    Memory,
    /// To a file in this folder, not made yet.
    Folder(Arc<Path>),
    /// It has its file.
    File(SpoolFile),
    /// A write failed or was cancelled midway.
    Failed,
}

/// A finished draft.
#[derive(Debug)]
pub(crate) enum Content {
    /// In memory.
    Memory(Bytes),
    /// In a synced file.
    File(SpoolFile),
}

/// A file in the spool folder that is removed when this is dropped, unless kept.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Draft {
    /// A draft whose content is complete and in memory: a report of our own. The id comes from
    /// [`Store::begin`](crate::Store::begin).
    pub fn from_bytes(id: QueueId, content: impl Into<Bytes>) -> Self {
        let content: Bytes = content.into();
        let size = content.len() as u64;
        Self { id, size, memory: BytesMut::from(content), place: Place::Memory }
    }

    /// An empty draft; without a folder it stays in memory whatever its size.
    pub(crate) fn new(id: QueueId, folder: Option<Arc<Path>>) -> Self {
        let place = folder.map_or(Place::Memory, Place::Folder);
        Self { id, size: 0, memory: BytesMut::new(), place }
    }

    /// The id that the message will have.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Octets written so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds content.
    ///
    /// # Errors
    /// [`Error::Full`] when the disk takes no more. The draft is of no use afterwards.
    ///
    /// # Cancel safety
    /// Not cancel safe: a draft whose write was cancelled can only be dropped.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.room() == 0 {
                self.spill().await?;
            }
            let (now, later) = rest.split_at(self.room().min(rest.len()));
            self.memory.extend_from_slice(now);
            self.size += now.len() as u64;
            rest = later;
        }
        if matches!(self.place, Place::Failed) { Err(FAILED) } else { Ok(()) }
    }

    /// Octets that memory still takes.
    fn room(&self) -> usize {
        match self.place {
            Place::Memory => usize::MAX,
            _ => MEMORY_LIMIT.saturating_sub(self.memory.len()),
        }
    }

    /// Moves what is in memory to the file, which is made first if need be.
    async fn spill(&mut self) -> Result<(), Error> {
        let place = std::mem::replace(&mut self.place, Place::Failed);
        let mut memory = std::mem::take(&mut self.memory);
        let id = self.id;
        let (file, memory) = blocking(move || {
            let mut file = match place {
                Place::File(file) => file,
                Place::Folder(folder) => SpoolFile::create(&folder, id)?,
                Place::Memory | Place::Failed => return Err(FAILED),
            };
            file.append(&memory)?;
            memory.clear();
            Ok((file, memory))
        })
        .await?;
        self.place = Place::File(file);
        self.memory = memory;
        Ok(())
    }

    /// The finished content: in memory, or in a file that is synced and has its final name.
    pub(crate) async fn finish(mut self) -> Result<Content, Error> {
        let place = std::mem::replace(&mut self.place, Place::Failed);
        let memory = std::mem::take(&mut self.memory).freeze();
        let id = self.id;
        match place {
            Place::Memory | Place::Folder(_) => Ok(Content::Memory(memory)),
            Place::Failed => Err(FAILED),
            Place::File(file) => blocking(move || file.seal(&memory, id)).await.map(Content::File),
        }
    }
}

const FAILED: Error = Error::Unfit("its content could not be written");

impl SpoolFile {
    fn create(folder: &Path, id: QueueId) -> Result<Self, Error> {
        let path = folder.join(format!("{id}.draft"));
        let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| Error::io(&path, error))?;
        Ok(Self { file, path, kept: false })
    }

    /// Writes finished content to a file of its own: for content that came in memory but is too large for a row.
    pub(crate) fn store(folder: &Path, id: QueueId, content: &[u8]) -> Result<Self, Error> {
        Self::create(folder, id)?.seal(content, id)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|error| Error::io(&self.path, error))
    }

    /// Writes the rest, then the final name, then makes both durable.
    fn seal(mut self, rest: &[u8], id: QueueId) -> Result<Self, Error> {
        self.append(rest)?;
        let named = self.path.with_file_name(body_file_name(id));
        fs::rename(&self.path, &named).map_err(|error| Error::io(&named, error))?;
        self.path = named;
        self.file.sync_data().map_err(|error| Error::io(&self.path, error))?;
        if let Some(folder) = self.path.parent() {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| Error::io(folder, error))?;
        }
        Ok(self)
    }

    /// The commit that names the file is done: the file stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for SpoolFile {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to hear of a failure; the next start removes what stays behind.
            drop(fs::remove_file(&self.path));
        }
    }
}

/// The name of a large message's file in the spool folder.
pub(crate) fn body_file_name(id: QueueId) -> String {
    format!("{id}.body")
}

/// Runs file work where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Closed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;

    fn draft(folder: &Path) -> Draft {
        Draft::new(IdSource::default().next(jiff::Timestamp::UNIX_EPOCH), Some(Arc::from(folder)))
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_small_draft_makes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = draft(folder.path());
        draft.write(&vec![b'x'; MEMORY_LIMIT]).await.unwrap();
        assert_eq!(names(folder.path()), Vec::<String>::new());
        assert!(
            matches!(draft.finish().await.unwrap(), Content::Memory(content) if content.len() == MEMORY_LIMIT)
        );
    }

    #[tokio::test]
    async fn a_large_draft_goes_to_a_file_and_leaves_nothing_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = draft(folder.path());
        draft.write(&vec![b'x'; MEMORY_LIMIT * 3 + 1]).await.unwrap();
        assert!(draft.memory.len() <= MEMORY_LIMIT);
        assert_eq!(names(folder.path()), [format!("{}.draft", draft.id())]);
        drop(draft);
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }

    #[tokio::test]
    async fn only_a_kept_file_outlives_its_guard() {
        let folder = tempfile::tempdir().unwrap();
        for keep in [false, true] {
            let mut draft = draft(folder.path());
            draft.write(&vec![b'y'; MEMORY_LIMIT + 5]).await.unwrap();
            let Content::File(file) = draft.finish().await.unwrap() else { panic!("a file was due") };
            let path = file.path.clone();
            assert_eq!(fs::read(&path).unwrap(), vec![b'y'; MEMORY_LIMIT + 5]);
            if keep {
                file.keep();
            } else {
                drop(file);
            }
            assert_eq!(path.exists(), keep);
        }
    }

    #[tokio::test]
    async fn a_draft_that_cannot_be_written_is_refused_later_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut draft = draft(&folder.path().join("missing"));
        assert!(draft.write(&vec![b'x'; MEMORY_LIMIT + 1]).await.is_err());
        assert!(draft.write(b"more").await.is_err());
        assert!(draft.finish().await.is_err());
    }
}
