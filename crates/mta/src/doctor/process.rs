//! What the system allows the running daemon, and how it is confined.
//!
//! Read from `/proc` and the control group, as the kernel has it: what a unit says may be another matter. The figures are held against
//! the sessions that the configuration allows.
//!
//! What it deliberately does not do: look at a daemon that is not running, or change a limit.

use std::path::{Path, PathBuf};

use super::room::Room;
use super::{Check, Finding};

/// Files that are open besides sessions: databases, sockets, logs, deliveries.
const BESIDES: u64 = 256;
/// Threads that one daemon may need.
const TASKS: u64 = 256;
/// The capability to bind ports below 1024.
const CAP_NET_BIND_SERVICE: u64 = 1 << 10;

/// What is known of the process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Process {
    /// Files that may be open; `None`: not known, or no limit.
    files: Option<u64>,
    /// Tasks that may run; `None`: not known, or no limit.
    tasks: Option<u64>,
    /// Its user.
    user: Option<u32>,
    /// What it may do beyond its user.
    capabilities: Option<u64>,
    no_new_privileges: Option<bool>,
    /// Whether system calls are filtered.
    filtered: Option<bool>,
    /// Whether systemd started it.
    by_systemd: bool,
}

pub(super) fn look(room: &Room) -> Vec<Finding> {
    let Some(process) = room.daemon.and_then(|running| running.process) else {
        let evidence = "Postern does not run, so its limits cannot be looked at";
        return vec![Finding::unknown(Check::Limits, evidence, "start it: systemctl start postern")];
    };
    let sessions = u64::try_from(room.config.sessions.all).unwrap_or(u64::MAX);
    Process::read(Path::new("/proc"), process).judge(sessions)
}

impl Process {
    fn read(proc: &Path, process: i32) -> Self {
        let read = |name: &str| {
            std::fs::read_to_string(proc.join(process.to_string()).join(name)).unwrap_or_default()
        };
        let (limits, status, group) = (read("limits"), read("status"), read("cgroup"));
        Self {
            tasks: tasks_of(&group, Path::new("/sys/fs/cgroup")),
            by_systemd: group.contains(".service"),
            ..Self::parse(&limits, &status)
        }
    }

    fn parse(limits: &str, status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()).map(str::to_owned)
        };
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            files: files.and_then(|line| line.split_whitespace().next()?.parse().ok()),
            user: field("Uid:").and_then(|user| user.parse().ok()),
            capabilities: field("CapEff:").and_then(|bits| u64::from_str_radix(&bits, 16).ok()),
            no_new_privileges: field("NoNewPrivs:").map(|flag| flag == "1"),
            filtered: field("Seccomp:").map(|mode| mode != "0"),
            ..Self::default()
        }
    }

    fn judge(&self, sessions: u64) -> Vec<Finding> {
        let mut findings = vec![self.judge_files(sessions)];
        if let Some(tasks) = self.tasks.filter(|tasks| *tasks < TASKS) {
            let evidence = format!("its control group may hold {tasks} tasks");
            findings.push(Finding::warning(
                Check::Limits,
                evidence,
                format!("set TasksMax={TASKS} or more in the unit"),
            ));
        }
        findings.extend(self.judge_confinement());
        findings
    }

    fn judge_files(&self, sessions: u64) -> Finding {
        let wanted = sessions.saturating_add(BESIDES);
        match self.files {
            Some(files) if files < wanted => Finding::warning(
                Check::Limits,
                format!("it may open {files} files, and {sessions} sessions are allowed"),
                format!("set LimitNOFILE={wanted} in the unit, or sessions lower"),
            ),
            Some(files) => Finding::ok(
                Check::Limits,
                format!("it may open {files} files; {sessions} sessions are allowed"),
            ),
            None => Finding::note(
                Check::Limits,
                "how many files it may open cannot be seen, or is not limited",
                "",
            ),
        }
    }

    fn judge_confinement(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let unit = "run it by the unit examples/postern.service, with a user of its own";
        if self.user == Some(0) {
            findings.push(Finding::warning(Check::Limits, "it runs as root", unit));
        }
        if let Some(bits) =
            self.capabilities.filter(|bits| self.user != Some(0) && bits & !CAP_NET_BIND_SERVICE != 0)
        {
            let evidence = format!("it has capabilities that it does not need ({bits:#x})");
            findings.push(Finding::warning(
                Check::Limits,
                evidence,
                "leave CAP_NET_BIND_SERVICE alone in the unit",
            ));
        }
        let open: Vec<&str> = [
            (self.no_new_privileges == Some(false)).then_some("NoNewPrivileges"),
            (self.filtered == Some(false)).then_some("SystemCallFilter"),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !open.is_empty() {
            let evidence = format!("it is not confined by {}", open.join(" and "));
            let make = if self.by_systemd { Finding::warning } else { Finding::note };
            findings.push(make(Check::Limits, evidence, unit.to_owned()));
        }
        findings
    }
}

/// The smallest limit of the control groups from the process upwards, which are those of version 2.
fn tasks_of(group: &str, root: &Path) -> Option<u64> {
    let own = group.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut folder: PathBuf = root.join(own);
    let mut least = None;
    while folder.starts_with(root) && folder != root {
        let text = std::fs::read_to_string(folder.join("pids.max")).unwrap_or_default();
        least = least.into_iter().chain(text.trim().parse::<u64>().ok()).min();
        folder.pop();
    }
    least
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max processes             127000               127000               processes
Max open files            1024                 524288               files
";
    const STATUS: &str =
        "Name:\tpostern\nUid:\t998\t998\t998\t998\nCapEff:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn what_the_kernel_says_is_read() {
        let process = Process::parse(LIMITS, STATUS);
        assert_eq!((process.files, process.user, process.capabilities), (Some(1024), Some(998), Some(0x400)));
        assert_eq!((process.no_new_privileges, process.filtered), (Some(true), Some(true)));
    }

    #[test]
    fn a_confined_daemon_with_room_is_well_and_every_lack_is_told() {
        let well = Process::parse(LIMITS, STATUS);
        assert!(well.judge(500).iter().all(|finding| finding.verdict == Verdict::Ok));
        let worst = |process: &Process, sessions| {
            process.judge(sessions).iter().map(|finding| finding.verdict).max().unwrap()
        };
        assert_eq!(worst(&well, 1000), Verdict::Warning, "too few files");
        assert_eq!(worst(&Process { user: Some(0), ..well.clone() }, 10), Verdict::Warning);
        assert_eq!(worst(&Process { tasks: Some(50), ..well.clone() }, 10), Verdict::Warning);
        assert_eq!(worst(&Process { capabilities: Some(0x3fff), ..well.clone() }, 10), Verdict::Warning);
        assert_eq!(worst(&Process { filtered: Some(false), ..well.clone() }, 10), Verdict::Note);
        let unit = Process { filtered: Some(false), by_systemd: true, ..well };
        assert_eq!(worst(&unit, 10), Verdict::Warning);
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("system.slice/postern.service");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("pids.max"), "max\n").unwrap();
        std::fs::write(root.path().join("system.slice/pids.max"), "99\n").unwrap();
        assert_eq!(tasks_of("0::/system.slice/postern.service\n", root.path()), Some(99));
        assert_eq!(tasks_of("1:cpu:/x\n", root.path()), None);
    }
}
