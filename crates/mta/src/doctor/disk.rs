//! The disk of the data directory: room, and how fast it puts mail away for good.
//!
//! A `250` means on disk, so that the time of one sync bounds how fast mail comes in, and a file system that lives in memory would
//! lose it all. [`room`] asks the file system; [`sync`] writes small pieces to a file without a name and syncs each.
//!
//! What it deliberately does not do: find out whether a disk lies about its syncs.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::sys::statvfs::statvfs;

use super::room::Room;
use super::{Check, Finding};

const GIB: u64 = 1 << 30;
/// Below this, mail is soon refused.
const LOW: u64 = GIB;
/// Below this, it soon will be.
const VERY_LOW: u64 = 100 << 20;
/// The same in hundredths of the whole, where that is less.
const LOW_SHARE: u64 = 5;
/// So many syncs are timed, for so long at most.
const SYNCS: usize = 25;
const SYNCS_TIME: Duration = Duration::from_secs(3);
/// What is written each time: about an envelope.
const PIECE: [u8; 4096] = [b'p'; 4096];
/// A sync that takes longer holds up sign-off of every message.
const SLOW: Duration = Duration::from_millis(30);
const VERY_SLOW: Duration = Duration::from_millis(250);

/// What is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Left {
    octets: u64,
    of: u64,
    files: u64,
    /// 0: the file system does not count them.
    of_files: u64,
}

/// How long syncs took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Timed {
    median: Duration,
    worst: Duration,
    in_memory: bool,
}

/// Room on the disk.
pub(super) async fn room(room: &Room) -> Vec<Finding> {
    let path = room.config.data_dir.clone();
    let left = apart(move || left(&path)).await;
    vec![match left {
        Ok(left) => judge_left(&room.config.data_dir, left),
        Err(error) => unreadable(Check::Disk, &room.config.data_dir, &error),
    }]
}

/// Speed of syncs.
pub(super) async fn sync(room: &Room) -> Vec<Finding> {
    let path = room.config.data_dir.clone();
    vec![match apart(move || timed(&path)).await {
        Ok(timed) => judge_timed(&room.config.data_dir, timed),
        Err(error) => unreadable(Check::Sync, &room.config.data_dir, &error),
    }]
}

/// On a thread that may wait: a network file system can take its time.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

fn left(path: &Path) -> io::Result<Left> {
    let found = statvfs(path)?;
    let block = found.fragment_size();
    Ok(Left {
        octets: found.blocks_available().saturating_mul(block),
        of: found.blocks().saturating_mul(block),
        files: found.files_available(),
        of_files: found.files(),
    })
}

fn timed(path: &Path) -> io::Result<Timed> {
    let in_memory = statfs(path)?.filesystem_type() == TMPFS_MAGIC;
    let mut file = nameless(path)?;
    let (mut times, began) = (Vec::with_capacity(SYNCS), Instant::now());
    while times.len() < SYNCS && (times.is_empty() || began.elapsed() < SYNCS_TIME) {
        file.write_all(&PIECE)?;
        let before = Instant::now();
        file.sync_data()?;
        times.push(before.elapsed());
    }
    times.sort();
    let worst = times.last().copied().unwrap_or_default();
    Ok(Timed { median: times[times.len() / 2], worst, in_memory })
}

/// A file that is gone when it is closed, whatever happens meanwhile.
fn nameless(folder: &Path) -> io::Result<File> {
    let path = folder.join(format!(".doctor-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn unreadable(check: Check, path: &Path, error: &io::Error) -> Finding {
    let evidence = format!("the data directory {} cannot be used: {error}", path.display());
    if error.kind() == io::ErrorKind::NotFound {
        return Finding::note(check, evidence, "Postern makes it at its first start");
    }
    let remedy = "run this as root, or as the user that Postern runs as";
    Finding::failed(check, evidence, remedy)
}

fn judge_left(path: &Path, left: Left) -> Finding {
    let Left { octets, of, files, of_files } = left;
    let share = octets.saturating_mul(100) / of.max(1);
    let files_share = files.saturating_mul(100).checked_div(of_files).unwrap_or(100);
    let evidence = format!(
        "{} has {} MiB free of {} MiB ({share} %), and {files_share} % of its files",
        path.display(),
        octets >> 20,
        of >> 20
    );
    let remedy =
        "make room, or a larger disk: when it is full, mail is refused with 452 and comes again later";
    let low = octets < LOW.min(of / 100 * LOW_SHARE) || octets < VERY_LOW || files_share < LOW_SHARE;
    let empty = octets < VERY_LOW || files_share == 0;
    match (low, empty) {
        (_, true) => Finding::failed(Check::Disk, evidence, remedy),
        (true, _) => Finding::warning(Check::Disk, evidence, remedy),
        _ => Finding::ok(Check::Disk, evidence),
    }
}

fn judge_timed(path: &Path, timed: Timed) -> Finding {
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    let evidence = format!(
        "putting 4 KiB away for good takes {:.2} ms on {}, {:.2} ms at worst",
        milliseconds(timed.median),
        path.display(),
        milliseconds(timed.worst)
    );
    if timed.in_memory {
        let evidence = format!("{} lies in memory (tmpfs): a power cut loses all mail there", path.display());
        return Finding::warning(Check::Sync, evidence, "set data_dir to a folder on a disk");
    }
    if timed.median > VERY_SLOW {
        let remedy =
            "each message waits for it: put data_dir on another disk, or see whether this one is failing";
        return Finding::failed(Check::Sync, evidence, remedy);
    }
    if timed.median > SLOW {
        let remedy = "each message waits for it; an SSD, or a controller with a battery, takes under 5 ms";
        return Finding::warning(Check::Sync, evidence, remedy);
    }
    Finding::ok(Check::Sync, evidence)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn of(octets: u64, of: u64, files: u64, of_files: u64) -> Verdict {
        judge_left(Path::new("/data"), Left { octets, of, files, of_files }).verdict
    }

    #[test]
    fn little_room_is_told_before_there_is_none() {
        assert_eq!(of(50 * GIB, 100 * GIB, 1000, 2000), Verdict::Ok);
        assert_eq!(
            of(2 * GIB, 1000 * GIB, 1000, 2000),
            Verdict::Ok,
            "enough for mail, however large the disk"
        );
        assert_eq!(of(900 << 20, 100 * GIB, 1000, 2000), Verdict::Warning);
        assert_eq!(of(500 << 20, GIB, 1000, 2000), Verdict::Ok, "a small disk that is half empty");
        assert_eq!(of(50 << 20, 100 * GIB, 1000, 2000), Verdict::Failed);
        assert_eq!(of(50 * GIB, 100 * GIB, 40, 1000), Verdict::Warning);
        assert_eq!(of(50 * GIB, 100 * GIB, 0, 1000), Verdict::Failed);
        assert_eq!(of(50 * GIB, 100 * GIB, 0, 0), Verdict::Ok, "it does not count files");
    }

    #[test]
    fn slow_disks_and_memory_are_told_apart() {
        let of = |median, in_memory| {
            let median = Duration::from_millis(median);
            judge_timed(Path::new("/data"), Timed { median, worst: median, in_memory }).verdict
        };
        assert_eq!(of(2, false), Verdict::Ok);
        assert_eq!(of(40, false), Verdict::Warning);
        assert_eq!(of(300, false), Verdict::Failed);
        assert_eq!(of(0, true), Verdict::Warning);
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let timed = timed(folder.path()).unwrap();
        assert!(timed.worst >= timed.median);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(left(folder.path()).unwrap().of > 0);
    }
}
