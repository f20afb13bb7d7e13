//! Whether the clock is right: certificates, signatures of the DNS and the dates of mail go by it.
//!
//! Nobody asks a time server here. What keeps the clock is asked whether it has done so: the kernel's flag through `timedatectl`, or
//! chrony; and a clock that is behind what was written on this machine already is wrong for certain.
//!
//! What it deliberately does not do: say by how much a clock is wrong that nobody keeps.

use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use tokio::process::Command;
use tokio::time::timeout;

use super::room::Room;
use super::{Check, Finding};

/// How long a program may take that knows.
const ASKING: Duration = Duration::from_secs(3);
/// A file this far in the future was not written by this clock.
const AHEAD: Duration = Duration::from_mins(5);
/// What systemd's own keeper of time leaves when it has set the clock.
const KEPT: &str = "/run/systemd/timesync/synchronized";
/// The files of the data directory that are written all the time.
const WRITTEN: [&str; 4] = ["queue.db", "activity.db", "policy.db", "listeners.json"];

/// What is known of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    kept: Option<Kept>,
    /// The newest file that this machine wrote, if that lies in the future.
    future: Option<Timestamp>,
}

/// Whether somebody keeps the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes(&'static str),
    No(&'static str),
}

pub(super) async fn look(room: &Room) -> Vec<Finding> {
    let future = newest(&room.config.data_dir).filter(|newest| newest.duration_since(room.now) > ahead());
    vec![Known { kept: kept().await, future }.judge(room.now)]
}

fn ahead() -> jiff::SignedDuration {
    jiff::SignedDuration::from_secs(AHEAD.as_secs().cast_signed())
}

fn newest(data_dir: &Path) -> Option<Timestamp> {
    let changed =
        |name: &&str| std::fs::metadata(data_dir.join(name)).and_then(|found| found.modified()).ok();
    let newest: SystemTime = WRITTEN.iter().filter_map(changed).max()?;
    Timestamp::try_from(newest).ok()
}

async fn kept() -> Option<Kept> {
    match said("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).await.as_deref() {
        Some("yes") => return Some(Kept::Yes("the kernel says that it is synchronised")),
        Some("no") => return Some(Kept::No("the kernel says that it is not synchronised")),
        _ => {}
    }
    if Path::new(KEPT).exists() {
        return Some(Kept::Yes("systemd-timesyncd has set it"));
    }
    let tracking = said("chronyc", &["-n", "tracking"]).await?;
    let leap = tracking.lines().find_map(|line| line.strip_prefix("Leap status"))?;
    match leap.trim_start_matches([' ', ':']) {
        "Not synchronised" => Some(Kept::No("chrony says that it is not synchronised")),
        _ => Some(Kept::Yes("chrony keeps it")),
    }
}

/// What a program says, if it is there and says it in time.
async fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).kill_on_drop(true).output();
    let output = timeout(ASKING, output).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

impl Known {
    fn judge(self, now: Timestamp) -> Finding {
        if let Some(written) = self.future {
            let evidence = format!(
                "it is {now} by this clock, and files of the data directory were written at {written}"
            );
            return Finding::failed(
                Check::Clock,
                evidence,
                "set the clock, and have it kept: apt-get install systemd-timesyncd",
            );
        }
        match self.kept {
            Some(Kept::Yes(who)) => Finding::ok(Check::Clock, format!("it is {now}; {who}")),
            Some(Kept::No(who)) => Finding::warning(
                Check::Clock,
                format!("it is {now}; {who}"),
                "have it kept: timedatectl set-ntp true, and see that UDP port 123 is let out",
            ),
            None => Finding::note(
                Check::Clock,
                format!("it is {now}; who keeps the clock cannot be seen from here"),
                "in a container its host keeps it: look there",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_clock_that_nobody_keeps_or_that_is_behind_is_told() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let of = |kept, future| Known { kept, future }.judge(now).verdict;
        assert_eq!(of(Some(Kept::Yes("x")), None), Verdict::Ok);
        assert_eq!(of(Some(Kept::No("x")), None), Verdict::Warning);
        assert_eq!(of(None, None), Verdict::Note);
        assert_eq!(of(Some(Kept::Yes("x")), Some("2026-12-01T00:00:00Z".parse().unwrap())), Verdict::Failed);
    }

    #[test]
    fn the_newest_file_tells_what_time_it_was() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(newest(folder.path()), None);
        std::fs::write(folder.path().join("queue.db"), "").unwrap();
        assert!(newest(folder.path()).is_some());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_says_nothing() {
        assert_eq!(said("there-is-no-such-program", &[]).await, None);
        assert_eq!(said("echo", &["yes"]).await.as_deref(), Some("yes"));
        assert_eq!(said("false", &[]).await, None);
    }
}
