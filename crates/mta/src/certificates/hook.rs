//! A program of the administrator's, which does for us what we cannot: sets a record, hands a certificate on.
//!
//! [`Hook::run`] starts it with words that tell it what to do; each user of hooks says which. No shell is between us and it, its
//! environment has nothing but `PATH`, its working directory is `/`, and there is nothing to read. It has two minutes,
//! after which it and the programs that it started are killed.
//!
//! It should exit with 0 when it has done what it was asked to; with anything else it has failed. The last lines of what it
//! prints are kept, and are the reason where it failed.
//!
//! What it deliberately does not do: wait for programs that the hook leaves behind, or look whether it spoke the truth.

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a hook may run.
const LONGEST: Duration = Duration::from_mins(2);

/// How long what it printed is waited for once it has ended: a program that it left behind may hold the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Of what it prints, the end is kept: so many octets, and of those so many lines.
const OCTETS_KEPT: usize = 8 * 1024;
const LINES_KEPT: usize = 20;

/// The search path where we have none ourselves.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of the administrator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    program: PathBuf,
    longest: Duration,
}

impl Hook {
    /// The program, named from the root directory on. It is looked for each time it is needed.
    pub fn new(program: PathBuf) -> Self {
        Self { program, longest: LONGEST }
    }

    /// Runs it with these arguments, of which the first says what is to be done.
    ///
    /// # Errors
    /// It could not be started, did not end in time, or failed: for the administrator, with what it printed last.
    ///
    /// # Cancel safety
    /// May be dropped at any time; then it is killed.
    pub(super) async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let action = arguments.first().copied().unwrap_or_default();
        let mut running = self.start(arguments)?;
        let ended = timeout(self.longest, running.child.wait()).await;
        let status = match ended {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => return Err(format!("the hook {self} {action} was lost sight of: {error}")),
            Err(_) => return Err(self.too_slow(action, running).await),
        };
        let words = running.last_words().await;
        if status.success() { Ok(words) } else { Err(self.failed(action, status, &words)) }
    }

    fn start(&self, arguments: &[&str]) -> Result<Running, String> {
        if !self.program.is_absolute() {
            return Err(format!("the hook {self} is not started: write its whole path, beginning with /"));
        }
        let path = std::env::var_os("PATH").unwrap_or_else(|| USUAL_PATH.into());
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("PATH", path).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that all of it can be killed.
        command.process_group(0);
        let child = command.spawn().map_err(|error| {
            format!("the hook {self} cannot be started: {error}; it must be there, and executable for us")
        })?;
        Ok(Running::new(child))
    }

    async fn too_slow(&self, action: &str, mut running: Running) -> String {
        running.kill();
        // Killed, it ends; and if not, nobody here can help it.
        let _ = timeout(LAST_WORDS, running.child.wait()).await;
        let words = running.last_words().await;
        let limit = self.longest.as_secs();
        with_words(&format!("the hook {self} {action} did not end within {limit} s and was killed"), &words)
    }

    fn failed(&self, action: &str, status: ExitStatus, words: &str) -> String {
        with_words(&format!("the hook {self} {action} failed with {status}"), words)
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}

fn with_words(what: &str, words: &str) -> String {
    if words.is_empty() {
        format!("{what}; it printed nothing")
    } else {
        format!("{what}; it printed:\n{words}")
    }
}

/// The hook at work. Who loses interest in it ends it.
struct Running {
    child: Child,
    printed: Arc<Mutex<Tail>>,
    readers: tokio::task::JoinSet<()>,
}

impl Running {
    fn new(mut child: Child) -> Self {
        let printed = Arc::<Mutex<Tail>>::default();
        let mut readers = tokio::task::JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read(stdout, Arc::clone(&printed)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read(stderr, Arc::clone(&printed)));
        }
        Self { child, printed, readers }
    }

    /// Kills the whole group, unless the hook itself has ended: then its number may be another's.
    fn kill(&self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id {
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }

    async fn last_words(&mut self) -> String {
        let _ = timeout(LAST_WORDS, async { while self.readers.join_next().await.is_some() {} }).await;
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).text()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads to the end, so that the hook is never held up, and keeps what fits.
async fn read(mut from: impl AsyncRead + Unpin, into: Arc<Mutex<Tail>>) {
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        into.lock().unwrap_or_else(PoisonError::into_inner).push(&piece[..count]);
    }
}

/// The end of what was printed, both streams as they came.
#[derive(Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    fn push(&mut self, octets: &[u8]) {
        self.0.extend(octets);
        let surplus = self.0.len().saturating_sub(OCTETS_KEPT);
        self.0.drain(..surplus);
    }

    /// Safe for a log and a terminal.
    fn text(&self) -> String {
        let octets: Vec<u8> = self.0.iter().copied().collect();
        let text = String::from_utf8_lossy(&octets);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = &lines[lines.len().saturating_sub(LINES_KEPT)..];
        let shown = last.iter().map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>());
        shown.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const NAME: &str = "_acme-challenge.mail.example.org";
    const VALUE: &str = "-9dSXLnoOKUnuzbDVjS1TkA4Ybsn3cZbPuqkyNZXdnI";

    fn hook(folder: &TempDir, script: &str) -> Hook {
        let (text, program) = (folder.path().join("text"), folder.path().join("hook"));
        fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        // By another process: what a fork of ours still has open for writing could not be started.
        let install =
            std::process::Command::new("install").args(["-m", "700"]).arg(&text).arg(&program).status();
        assert!(install.unwrap().success());
        Hook::new(program)
    }

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    #[tokio::test]
    async fn the_hook_is_told_what_to_do_and_nothing_else() {
        let folder = folder();
        let hook = hook(
            &folder,
            r#"echo "$#|$1|$2|$3|$(pwd)"; export -p | grep -vE ' (PWD|OLDPWD|SHLVL|_)\b'; cat"#,
        );
        let said = hook.run(&["present", NAME, VALUE]).await.unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], format!("3|present|{NAME}|{VALUE}|/"));
        assert_eq!(lines.len(), 2, "{said}");
        assert!(lines[1].contains("PATH="), "{said}");
        assert!(hook.run(&["cleanup", NAME, VALUE]).await.unwrap().starts_with("3|cleanup|"));
    }

    #[tokio::test]
    async fn a_hook_that_fails_says_why_in_its_last_lines() {
        let folder = folder();
        let script = "i=0; while [ $i -lt 60 ]; do echo line $i; i=$((i+1)); done; printf 'no \\033[31maccess' >&2; exit 3";
        let error = hook(&folder, script).run(&["present", NAME, VALUE]).await.unwrap_err();
        assert!(error.contains("present failed with exit status: 3; it printed:\n"), "{error}");
        assert!(error.contains("line 59") && error.contains("no [31maccess"), "{error}");
        assert!(!error.contains("line 9\n") && !error.contains('\u{1b}'), "{error}");
        assert_eq!(error.lines().count(), 1 + LINES_KEPT, "{error}");
    }

    #[tokio::test]
    async fn a_hook_that_prints_without_end_is_read_and_forgotten() {
        let folder = folder();
        let said = hook(&folder, "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo done")
            .run(&["present", NAME, VALUE])
            .await;
        let said = said.unwrap();
        assert!(said.ends_with("x\ndone") && said.len() <= OCTETS_KEPT, "{} octets", said.len());
    }

    #[tokio::test]
    async fn a_hook_that_does_not_end_is_killed_with_what_it_started() {
        let folder = folder();
        let mut hook = hook(
            &folder,
            &format!("sleep 600 & echo $! $$ >{}/ids; echo waiting; wait", folder.path().display()),
        );
        hook.longest = Duration::from_millis(500);
        let error = hook.run(&["present", NAME, VALUE]).await.unwrap_err();
        assert!(error.contains("did not end") && error.ends_with("waiting"), "{error}");
        for id in fs::read_to_string(folder.path().join("ids")).unwrap().split_whitespace() {
            assert_gone(id);
        }
    }

    #[tokio::test]
    async fn a_hook_that_nobody_waits_for_any_more_is_killed() {
        let folder = folder();
        let ids = folder.path().join("ids");
        let hook = hook(&folder, &format!("echo $$ >{0}.new; mv {0}.new {0}; sleep 600", ids.display()));
        let started = async {
            while !ids.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = hook.run(&["present", NAME, VALUE]) => panic!("{ended:?}"),
            () = started => {}
        }
        assert_gone(fs::read_to_string(&ids).unwrap().trim());
    }

    /// Waits until the process is gone or a zombie.
    fn assert_gone(id: &str) {
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while std::time::Instant::now() < until {
            let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return };
            if stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("process {id} still runs");
    }

    #[tokio::test]
    async fn what_a_hook_leaves_behind_is_not_waited_for() {
        let folder = folder();
        let script = format!("sleep 600 & echo $! >{}/id; echo started", folder.path().display());
        assert_eq!(hook(&folder, &script).run(&["present", NAME, VALUE]).await.unwrap(), "started");
        let id: i32 = fs::read_to_string(folder.path().join("id")).unwrap().trim().parse().unwrap();
        nix::sys::signal::kill(Pid::from_raw(id), Signal::SIGKILL).unwrap();
    }

    #[tokio::test]
    async fn a_hook_that_is_not_there_is_a_clear_error() {
        let error = Hook::new("/nowhere/hook".into()).run(&["present", NAME, VALUE]).await.unwrap_err();
        assert!(error.starts_with("the hook /nowhere/hook cannot be started: No such file"), "{error}");
        let error = Hook::new("hook".into()).run(&["present", NAME, VALUE]).await.unwrap_err();
        assert!(error.contains("whole path"), "{error}");
    }
}
