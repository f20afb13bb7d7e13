//! A message on its way out, in pieces.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::draft::{blocking, body_file_name};
use crate::{Error, QueueId};

/// The whole of a message, our header fields first, read in pieces of at most 64 KiB.
///
/// It stays readable when the message is deleted meanwhile.
#[derive(Debug)]
pub struct Body {
    id: QueueId,
    head: Bytes,
    content: Source,
    position: u64,
}

#[derive(Debug)]
enum Source {
    Memory(Bytes),
    File { file: Arc<File>, size: u64 },
}

const PIECE: usize = 64 * 1024;

impl Body {
    /// A body whose content is in memory.
    pub(crate) fn in_memory(id: QueueId, head: Bytes, content: Bytes) -> Self {
        Self { id, head, content: Source::Memory(content), position: 0 }
    }

    /// A body whose content is in the spool folder. Blocks.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when the file is missing or not as long as `size` (of head and content) says.
    pub(crate) fn in_folder(folder: &Path, id: QueueId, head: Bytes, size: u64) -> Result<Self, Error> {
        let path: PathBuf = folder.join(body_file_name(id));
        let unreadable = |why: String| Error::Unreadable { id, reason: format!("{}: {why}", path.display()) };
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unreadable("the file with its content is missing".into()),
            _ => Error::io(&path, error),
        })?;
        let found = file.metadata().map_err(|error| Error::io(&path, error))?.len();
        let wanted = size.saturating_sub(head.len() as u64);
        if found != wanted {
            return Err(unreadable(format!("{found} octets, not {wanted}")));
        }
        Ok(Self { id, head, content: Source::File { file: Arc::new(file), size: found }, position: 0 })
    }

    /// Octets in all.
    pub fn size(&self) -> u64 {
        let content = match &self.content {
            Source::Memory(content) => content.len() as u64,
            Source::File { size, .. } => *size,
        };
        self.head.len() as u64 + content
    }

    /// Starts again from the first octet.
    pub fn rewind(&mut self) {
        self.position = 0;
    }

    /// The next piece, never empty; `None` at the end.
    ///
    /// # Cancel safety
    /// Cancel safe: a piece that was not returned comes again.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let head = self.head.len() as u64;
        let piece = if self.position < head {
            piece_of(&self.head, self.position)
        } else {
            let offset = self.position - head;
            match &self.content {
                Source::Memory(content) => piece_of(content, offset),
                Source::File { file, size } => read(self.id, file.clone(), offset, *size).await?,
            }
        };
        self.position += piece.len() as u64;
        Ok(if piece.is_empty() { None } else { Some(piece) })
    }
}

fn piece_of(bytes: &Bytes, offset: u64) -> Bytes {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(start..bytes.len().min(start.saturating_add(PIECE)))
}

async fn read(id: QueueId, file: Arc<File>, offset: u64, size: u64) -> Result<Bytes, Error> {
    let wanted = usize::try_from(size.saturating_sub(offset)).unwrap_or(PIECE).min(PIECE);
    if wanted == 0 {
        return Ok(Bytes::new());
    }
    blocking(move || {
        let mut piece = BytesMut::zeroed(wanted);
        match file.read_exact_at(&mut piece, offset) {
            Ok(()) => Ok(piece.freeze()),
            Err(error) => {
                Err(Error::Unreadable { id, reason: format!("its content at octet {offset}: {error}") })
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::IdSource;

    async fn drain(body: &mut Body) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        while let Some(piece) = body.next().await.unwrap() {
            pieces.push(piece);
        }
        pieces
    }

    #[tokio::test]
    async fn pieces_are_bounded_and_come_head_first_and_again_after_a_rewind() {
        let id = IdSource::default().next(jiff::Timestamp::UNIX_EPOCH);
        let content = Bytes::from(vec![b'c'; PIECE + 1]);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(body_file_name(id)), &content).unwrap();
        let head = Bytes::from_static(b"Received: x\r\n");
        let size = (head.len() + content.len()) as u64;
        let from_file = Body::in_folder(folder.path(), id, head.clone(), size).unwrap();
        for mut body in [Body::in_memory(id, head.clone(), content.clone()), from_file] {
            assert_eq!(body.size(), size);
            let pieces = drain(&mut body).await;
            assert_eq!(pieces.iter().map(Bytes::len).collect::<Vec<_>>(), [head.len(), PIECE, 1]);
            body.rewind();
            assert_eq!(drain(&mut body).await.concat(), [&head[..], &content[..]].concat());
        }
    }

    #[tokio::test]
    async fn a_missing_or_cut_file_is_unreadable() {
        let id = IdSource::default().next(jiff::Timestamp::UNIX_EPOCH);
        let folder = tempfile::tempdir().unwrap();
        let open = || Body::in_folder(folder.path(), id, Bytes::new(), 10);
        assert!(matches!(open(), Err(Error::Unreadable { .. })));
        std::fs::write(folder.path().join(body_file_name(id)), b"123456789").unwrap();
        assert!(matches!(open(), Err(Error::Unreadable { .. })));
    }
}
