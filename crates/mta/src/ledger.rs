//! Ledgers: small SQLite files for what must outlive a restart and is worth stopping for by no means.
//!
//! The types to know:
//! - [`Ledger`]: the open file. Its work is done on threads that may block; it is cheap to clone.
//! - [`Layout`]: which file it is, and what made each version of its tables. Each kind of knowledge has one beside its own
//!   code: `policy::ledger`, the story of ACME orders, and what `limits` counts.
//! - [`write_behind`]: the loop of those who gather in memory and write now and then.
//! - [`Opened`]: the ledger that [`Ledger::open`] made the best of, and what was in the way.
//!
//! A file that is damaged is moved aside and begun anew, one that cannot be used at all is replaced by memory, and both are
//! said. A power cut may take the last seconds' work with it; the file stays sound. What it deliberately does not do: hold
//! mail, or hold anything without which mail could not go on.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};
use tokio::time::{MissedTickBehavior, interval};

/// `Post` in ASCII: tells Postern's files from other programs' databases.
pub(crate) const APPLICATION: i64 = 0x506f_7374;
/// How long to wait for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// A file of this kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// The file's name in the data directory.
    pub(crate) file: &'static str,
    /// What made each version of the layout from the one before. Entries are only ever added.
    pub(crate) migrations: &'static [&'static str],
    /// What it means that the file is lost, for the administrator.
    pub(crate) lost: &'static str,
}

impl Layout {
    fn newest(&self) -> i64 {
        i64::try_from(self.migrations.len()).unwrap_or(i64::MAX)
    }
}

/// The open file. Clones share it.
#[derive(Debug, Clone)]
pub struct Ledger {
    open: Arc<Open>,
}

/// A ledger that works, and what kept it from being the one on disk as it was.
#[derive(Debug)]
pub struct Opened {
    /// In order of preference: what was on disk, an empty file, or memory alone.
    pub ledger: Ledger,
    /// For the administrator.
    pub trouble: Option<LedgerError>,
}

#[derive(Debug)]
struct Open {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// What can go wrong with the ledger. All of it is local, and none of it stops the mail.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file was damaged, or another program's; an empty one took its place.
    #[error(
        "{path}: was damaged or not Postern's ({reason}); it is now {aside}, and an empty one took its place: \
         {lost}"
    )]
    MovedAside {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
        /// Where it is now.
        aside: PathBuf,
        /// What that means.
        lost: &'static str,
    },
    /// The file is damaged, or another program's.
    #[error("{path}: is damaged or not Postern's ({reason})")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer Postern.
    #[error("{path}: was written by a newer Postern (format {found}, this one knows up to {known})")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format's number.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// The file was written by an older Postern, and whoever only looks does not change it.
    #[error(
        "{path}: was written by an older Postern (format {found}, this one needs {needed}): start Postern once, and it \
         is brought up to date"
    )]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Its format's number.
        found: i64,
        /// The one that is read here.
        needed: i64,
    },
    /// The file cannot be opened, made or moved.
    #[error("{path}: cannot be opened: {source}")]
    Unopenable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database did not do as told: disk full, locked for too long, and the like.
    #[error("{path}: {source}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// The work's thread ended early: Postern is shutting down, or has a bug.
    #[error("{path}: the work on it was broken off")]
    BrokenOff {
        /// The file.
        path: PathBuf,
    },
}

/// Carries to disk what came together, again and again until `end`; what comes after that is for the caller. Of several
/// failures in a row the first is complained about.
///
/// # Cancel safety
/// None: a write that has begun is to be waited for.
pub(crate) async fn write_behind<Written, E>(
    every: Duration,
    end: impl Future,
    mut write: impl FnMut() -> Written,
    complain: impl Fn(&E),
) where
    Written: Future<Output = Result<(), E>>,
{
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut end = pin!(end);
    let mut sound = true;
    loop {
        tokio::select! {
            _ = &mut end => return,
            _ = ticks.tick() => {}
        }
        let written = write().await;
        if let (Err(error), true) = (&written, sound) {
            complain(error);
        }
        sound = written.is_ok();
    }
}

impl Ledger {
    /// Opens the ledger in the data directory, or makes it there, for its owner alone.
    ///
    /// # Errors
    /// Only when not even a database in memory can be had. All else is in [`Opened::trouble`].
    pub(crate) fn open(data_dir: &Path, layout: &Layout) -> Result<Opened, LedgerError> {
        let path = data_dir.join(layout.file);
        let trouble = match Self::open_file(&path, layout) {
            Ok(ledger) => return Ok(Opened { ledger, trouble: None }),
            Err(LedgerError::Damaged { reason, .. }) => match begin_anew(&path, layout, reason) {
                Ok(opened) => return Ok(opened),
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        Ok(Opened { ledger: Self::in_memory(layout)?, trouble: Some(trouble) })
    }

    /// The ledger in the data directory as it is, or an empty one in memory where there is none: for those who only look.
    /// The file is neither made nor moved nor changed.
    ///
    /// # Errors
    /// It is there and cannot be read, or an older or newer Postern has written it.
    pub(crate) fn open_for_reading(data_dir: &Path, layout: &Layout) -> Result<Self, LedgerError> {
        let path = data_dir.join(layout.file);
        match fs::metadata(&path) {
            // Who makes the file has not come to its tables yet.
            Ok(file) if file.len() == 0 => Self::in_memory(layout),
            Ok(_) => Self::look_at(path, layout),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::in_memory(layout),
            Err(error) => Err(unopenable(&path, error)),
        }
    }

    /// A ledger that ends with the process.
    ///
    /// # Errors
    /// Out of memory, or SQLite is broken.
    pub(crate) fn in_memory(layout: &Layout) -> Result<Self, LedgerError> {
        let path = PathBuf::from(format!("{} in memory", layout.file));
        let connection = Connection::open_in_memory().map_err(|source| of_sqlite(&path, source))?;
        Self::prepared(path, connection, layout)
    }

    /// Reads; all of it at one moment.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.work(TransactionBehavior::Deferred, work).await
    }

    /// Writes all of the change or nothing of it.
    ///
    /// # Cancel safety
    /// Once begun, the change goes on when this is dropped.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.work(TransactionBehavior::Immediate, work).await
    }

    async fn work<T: Send + 'static>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let open = self.open.clone();
        let done = tokio::task::spawn_blocking(move || open.work(behavior, work)).await;
        done.unwrap_or_else(|_| Err(LedgerError::BrokenOff { path: self.open.path.clone() }))
    }

    fn open_file(path: &Path, layout: &Layout) -> Result<Self, LedgerError> {
        make_private(path).map_err(|source| unopenable(path, source))?;
        let connection = Connection::open(path).map_err(|source| of_sqlite(path, source))?;
        Self::prepared(path.to_owned(), connection, layout)
    }

    fn look_at(path: PathBuf, layout: &Layout) -> Result<Self, LedgerError> {
        let connection = open_to_look(&path)?;
        sound(&connection, &path)?;
        if !is_up_to_date(&connection, &path, layout)? {
            return Err(LedgerError::TooOld { path, found: 0, needed: layout.newest() });
        }
        Ok(Self { open: Arc::new(Open { path, connection: Mutex::new(connection) }) })
    }

    fn prepared(path: PathBuf, mut connection: Connection, layout: &Layout) -> Result<Self, LedgerError> {
        prepare(&connection).map_err(|source| of_sqlite(&path, source))?;
        sound(&connection, &path)?;
        migrate(&mut connection, &path, layout)?;
        Ok(Self { open: Arc::new(Open { path, connection: Mutex::new(connection) }) })
    }
}

impl Open {
    fn work<T>(
        &self,
        behavior: TransactionBehavior,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        // A panic elsewhere leaves the connection sound: its transaction was rolled back.
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let all = || {
            let transaction = connection.transaction_with_behavior(behavior)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        all().map_err(|source| of_sqlite(&self.path, source))
    }
}

/// The damaged file goes out of the way, and an empty one takes its place.
fn begin_anew(path: &Path, layout: &Layout, reason: String) -> Result<Opened, LedgerError> {
    let trouble = put_aside(path, layout, reason)?;
    Ok(Opened { ledger: Ledger::open_file(path, layout)?, trouble: Some(trouble) })
}

/// The damaged file goes out of the way; of several such files only the last is kept. What comes back says so.
fn put_aside(path: &Path, layout: &Layout, reason: String) -> Result<LedgerError, LedgerError> {
    let aside = path.with_extension("db.damaged");
    fs::rename(path, &aside).map_err(|source| unopenable(path, source))?;
    remove_beside(path)?;
    Ok(LedgerError::MovedAside { path: path.to_owned(), reason, aside, lost: layout.lost })
}

/// SQLite's own files beside one that is gone.
fn remove_beside(path: &Path) -> Result<(), LedgerError> {
    for ending in ["db-wal", "db-shm"] {
        remove_file(&path.with_extension(ending))?;
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), LedgerError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unopenable(path, error)),
        _ => Ok(()),
    }
}

/// A file that is too large to be read whole at each start: the one connection that writes to it. That it is damaged shows
/// when it is used.
///
/// # Errors
/// It cannot be used; [`LedgerError::Damaged`]: it can be [moved aside](move_aside).
pub(crate) fn connect(data_dir: &Path, layout: &Layout) -> Result<Connection, LedgerError> {
    let path = data_dir.join(layout.file);
    make_private(&path).map_err(|source| unopenable(&path, source))?;
    let mut connection = Connection::open(&path).map_err(|source| of_sqlite(&path, source))?;
    prepare(&connection).map_err(|source| of_sqlite(&path, source))?;
    migrate(&mut connection, &path, layout)?;
    Ok(connection)
}

/// The same for those who only look; `None`: there is none yet.
///
/// # Errors
/// It is there and cannot be read, or an older or newer Postern has written it.
pub(crate) fn connect_for_reading(
    data_dir: &Path,
    layout: &Layout,
) -> Result<Option<Connection>, LedgerError> {
    let path = data_dir.join(layout.file);
    match fs::metadata(&path) {
        Ok(file) if file.len() == 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unopenable(&path, error)),
    }
    let connection = open_to_look(&path)?;
    Ok(is_up_to_date(&connection, &path, layout)?.then_some(connection))
}

/// Puts a damaged file out of the way. What comes back says so.
///
/// # Errors
/// It cannot be moved.
pub(crate) fn move_aside(
    data_dir: &Path,
    layout: &Layout,
    reason: String,
) -> Result<LedgerError, LedgerError> {
    put_aside(&data_dir.join(layout.file), layout, reason)
}

/// Removes a file that is not wanted any more.
///
/// # Errors
/// It cannot be removed.
pub(crate) fn remove(data_dir: &Path, layout: &Layout) -> Result<(), LedgerError> {
    let path = data_dir.join(layout.file);
    remove_file(&path)?;
    remove_beside(&path)
}

fn open_to_look(path: &Path) -> Result<Connection, LedgerError> {
    let wrong = |source| of_sqlite(path, source);
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(wrong)?;
    connection.busy_timeout(PATIENCE).map_err(wrong)?;
    Ok(connection)
}

/// Whether it has tables; an error when they are others than these.
fn is_up_to_date(connection: &Connection, path: &Path, layout: &Layout) -> Result<bool, LedgerError> {
    match version(connection, path, layout)? {
        0 => Ok(false),
        found if found < layout.newest() => {
            Err(LedgerError::TooOld { path: path.to_owned(), found, needed: layout.newest() })
        }
        _ => Ok(true),
    }
}

/// The file exists before SQLite opens it, for its owner alone; SQLite's own files beside it follow its mode.
fn make_private(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(())
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // What the last seconds taught can be learnt again.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", 16 * 1024 * 1024, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn sound(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let verdict: rusqlite::Result<String> =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match verdict.map_err(|source| of_sqlite(path, source))? {
        sound if sound == "ok" => Ok(()),
        reason => Err(LedgerError::Damaged { path: path.to_owned(), reason }),
    }
}

/// The version of the layout that a file has; 0: it is empty.
fn version(connection: &Connection, path: &Path, layout: &Layout) -> Result<i64, LedgerError> {
    let wrong = |source| of_sqlite(path, source);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let application = number("application_id").map_err(wrong)?;
    let found = number("user_version").map_err(wrong)?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(wrong)?;
    if application != APPLICATION && (application, found, tables) != (0, 0, 0) {
        let reason = "it is another program's database".to_owned();
        return Err(LedgerError::Damaged { path: path.to_owned(), reason });
    }
    let known = layout.newest();
    if found > known {
        return Err(LedgerError::TooNew { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// Brings the file to this version's layout, one process at a time.
fn migrate(connection: &mut Connection, path: &Path, layout: &Layout) -> Result<(), LedgerError> {
    let wrong = |source| of_sqlite(path, source);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
    let found = version(&transaction, path, layout)?;
    for (version, migration) in (1i64..).zip(layout.migrations).filter(|(version, _)| *version > found) {
        transaction.execute_batch(migration).map_err(wrong)?;
        transaction.pragma_update(None, "user_version", version).map_err(wrong)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(wrong)?;
    transaction.commit().map_err(wrong)
}

pub(crate) fn of_sqlite(path: &Path, source: rusqlite::Error) -> LedgerError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            LedgerError::Damaged { path, reason: source.to_string() }
        }
        _ => LedgerError::Database { path, source },
    }
}

fn unopenable(path: &Path, source: io::Error) -> LedgerError {
    LedgerError::Unopenable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const FILE: &str = "notes.db";
    const NOTES: Layout = Layout {
        file: FILE,
        migrations: &["CREATE TABLE note (text TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;"],
        lost: "notes are gone",
    };

    fn note(ledger: &Ledger) {
        let sql = "INSERT INTO note VALUES ('x')";
        let write = |transaction: &Transaction<'_>| transaction.execute(sql, []);
        ledger.open.work(TransactionBehavior::Immediate, write).unwrap();
    }

    fn rows(ledger: &Ledger) -> i64 {
        let count = "SELECT count(*) FROM note";
        let read = |transaction: &Transaction<'_>| transaction.query_row(count, [], |row| row.get(0));
        ledger.open.work(TransactionBehavior::Deferred, read).unwrap()
    }

    fn opened(folder: &Path) -> Opened {
        Ledger::open(folder, &NOTES).unwrap()
    }

    #[test]
    fn what_is_noted_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        note(&opened(folder.path()).ledger);
        let again = opened(folder.path());
        assert!(again.trouble.is_none());
        assert_eq!(rows(&again.ledger), 1);
    }

    #[test]
    fn the_file_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let opened = opened(folder.path());
        note(&opened.ledger);
        for ending in ["db", "db-wal", "db-shm"] {
            let mode = fs::metadata(path.with_extension(ending)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{ending}");
        }
    }

    #[test]
    fn a_damaged_file_is_moved_aside_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "this is no database at all, however you look at it").unwrap();
        let anew = opened(folder.path());
        assert!(matches!(anew.trouble, Some(LedgerError::MovedAside { .. })), "{:?}", anew.trouble);
        assert_eq!(rows(&anew.ledger), 0);
        note(&anew.ledger);
        assert_eq!(rows(&opened(folder.path()).ledger), 1);
        assert!(fs::read_to_string(folder.path().join("notes.db.damaged")).unwrap().starts_with("this"));
    }

    #[test]
    fn another_programs_database_is_moved_aside() {
        let folder = tempfile::tempdir().unwrap();
        let other = Connection::open(folder.path().join(FILE)).unwrap();
        other.execute_batch("CREATE TABLE theirs (x)").unwrap();
        drop(other);
        assert!(matches!(opened(folder.path()).trouble, Some(LedgerError::MovedAside { .. })));
    }

    #[test]
    fn a_newer_file_is_left_alone_and_memory_serves() {
        let folder = tempfile::tempdir().unwrap();
        note(&opened(folder.path()).ledger);
        let later = Connection::open(folder.path().join(FILE)).unwrap();
        later.pragma_update(None, "user_version", 999).unwrap();
        let memory = opened(folder.path());
        assert!(matches!(memory.trouble, Some(LedgerError::TooNew { found: 999, .. })));
        note(&memory.ledger);
        let there: i64 = later.query_row("SELECT count(*) FROM note", [], |row| row.get(0)).unwrap();
        assert_eq!(there, 1, "what memory was told did not reach the file");
    }

    #[test]
    fn whoever_only_looks_makes_and_moves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(rows(&Ledger::open_for_reading(folder.path(), &NOTES).unwrap()), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        note(&opened(folder.path()).ledger);
        assert_eq!(rows(&Ledger::open_for_reading(folder.path(), &NOTES).unwrap()), 1);
        let path = folder.path().join(FILE);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let looking = Ledger::open_for_reading(folder.path(), &NOTES).unwrap();
        assert_eq!(rows(&looking), 1);
        let write = |transaction: &Transaction<'_>| transaction.execute("DELETE FROM note", []);
        looking.open.work(TransactionBehavior::Deferred, write).unwrap_err();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn whoever_only_looks_hears_why_a_file_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let look = || Ledger::open_for_reading(folder.path(), &NOTES);
        note(&opened(folder.path()).ledger);
        let later = Connection::open(&path).unwrap();
        later.pragma_update(None, "user_version", 999).unwrap();
        assert!(matches!(look(), Err(LedgerError::TooNew { found: 999, known: 1, .. })));
        later.pragma_update(None, "user_version", 0).unwrap();
        assert!(matches!(look(), Err(LedgerError::TooOld { found: 0, needed: 1, .. })));
        drop(later);
        fs::write(&path, "this is no database at all, however you look at it").unwrap();
        assert!(matches!(look(), Err(LedgerError::Damaged { .. })));
        assert!(fs::read_to_string(path).unwrap().starts_with("this"));
    }

    #[tokio::test(start_paused = true)]
    async fn of_writes_that_fail_in_a_row_one_is_complained_about() {
        let (tries, complaints) = (Cell::new(0), Cell::new(0));
        let write = || {
            tries.set(tries.get() + 1);
            // The third goes well.
            std::future::ready(if tries.get() == 3 { Ok(()) } else { Err("full") })
        };
        let end = tokio::time::sleep(Duration::from_millis(4500));
        write_behind(Duration::from_secs(1), end, write, |_| complaints.set(complaints.get() + 1)).await;
        assert_eq!((tries.get(), complaints.get()), (5, 2));
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_and_memory_serves() {
        let folder = tempfile::tempdir().unwrap();
        let memory = opened(&folder.path().join("missing"));
        assert!(matches!(memory.trouble, Some(LedgerError::Unopenable { .. })));
        assert_eq!(rows(&memory.ledger), 0);
    }
}
