//! What can go wrong with the queue, grouped by fault.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::QueueId;

/// Why the queue could not do what it was asked. `Display` is written for an operator: what is wrong, where, what to do.
///
/// Cheap to clone, because one failed disk write can be the answer to many waiting callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // The machine.
    /// The disk is full, read-only or failing. Nothing was stored; the next call works as soon as the disk does.
    #[error(
        "{path}: the disk is full, read-only or failing ({reason}); make room or mend it, mail is taken again by itself"
    )]
    Full {
        /// The file or folder that could not be written.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file could not be read or made.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },

    // The installation.
    /// Another process has the queue.
    #[error(
        "{path}: another Postern runs on this data directory, or is just stopping: try again in a moment, or stop it"
    )]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// A newer version of Postern wrote the database.
    #[error(
        "{path}: written by a newer Postern (schema {found}, this one knows up to {known}); \
         run that version, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The database is damaged or is none.
    #[error(
        "{path}: the queue's database is broken ({reason}); stop Postern and keep a copy of the file, then rescue what can be read \
         with `sqlite3 queue.db .recover`, or move it away (with its -wal and -shm files) to start with an empty queue"
    )]
    Broken {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The database refused for another reason.
    #[error("{path}: {reason}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },

    // One message.
    /// There is no such message.
    #[error("message {0} is not in the queue")]
    NotFound(QueueId),
    /// The message could not be read and was set aside.
    #[error("message {id} cannot be read and was set aside: {reason}")]
    Unreadable {
        /// The message.
        id: QueueId,
        /// What is wrong with it.
        reason: String,
    },

    // The caller.
    /// The lease lapsed and was taken over, or the delivery was removed: nothing was recorded.
    #[error("the lease was lost: it lapsed, or the delivery was removed")]
    LeaseLost,
    /// A message without recipients, or with a draft that failed before, or with an id that is taken.
    #[error("not a message that can be queued: {0}")]
    Unfit(&'static str),
    /// The store is shutting down.
    #[error("the queue is closed")]
    Closed,
}

impl Error {
    /// Files what the system said about a path.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Full { path: path.to_owned(), reason: source.to_string() }
            }
            _ => Self::Io { path: path.to_owned(), source: Arc::new(source) },
        }
    }

    /// Files what SQLite said about a database.
    pub(crate) fn sqlite(path: &Path, source: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, NotADatabase, ReadOnly, SystemIoFailure};
        let (path, reason) = (path.to_owned(), source.to_string());
        match source.sqlite_error_code() {
            Some(DiskFull | SystemIoFailure | ReadOnly) => Self::Full { path, reason },
            Some(DatabaseCorrupt | NotADatabase) => Self::Broken { path, reason },
            _ => Self::Database { path, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn a_full_or_read_only_disk_under_a_body_file_is_full_and_others_are_not() {
        let filed = |code| Error::io(Path::new("spool/x"), io::Error::from_raw_os_error(code));
        // ENOSPC, EROFS, EDQUOT.
        for code in [28, 30, 122] {
            assert!(matches!(filed(code), Error::Full { .. }), "{}", filed(code));
        }
        // ENOENT, EACCES.
        for code in [2, 13] {
            assert!(matches!(filed(code), Error::Io { .. }), "{}", filed(code));
        }
    }

    #[test]
    fn a_full_read_only_or_failing_disk_under_the_database_is_full_and_damage_is_not() {
        let filed = |code| {
            let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            Error::sqlite(Path::new("queue.db"), &source)
        };
        let full = [
            ffi::SQLITE_FULL,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_READONLY_DBMOVED,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_IOERR_FSYNC,
        ];
        for code in full {
            assert!(matches!(filed(code), Error::Full { .. }), "{}", filed(code));
        }
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            assert!(matches!(filed(code), Error::Broken { .. }), "{}", filed(code));
        }
        assert!(matches!(filed(ffi::SQLITE_MISUSE), Error::Database { .. }));
    }
}
