//! Running other people's programs: with a deadline, with what they said when they fail.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A program found on the path or in the system folders that a plain user's path leaves out.
#[track_caller]
pub fn program(name: &str) -> Command {
    let folders = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/usr/lib/dovecot";
    let found = folders.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    let path = found.unwrap_or_else(|| panic!("{name} is not installed: run ./test packages"));
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).env("LC_ALL", "C");
    command
}

/// Debian's Python, whatever else is on the path.
pub fn python(script: &str) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.stdin(Stdio::null()).arg("-c").arg(script);
    command
}

/// Runs to the end, at most [`super::PATIENCE`].
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let (out, err) = (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    let mut child = command.stdout(out.reopen().unwrap()).stderr(err.reopen().unwrap()).spawn().unwrap();
    let status = end_of(&mut child, &name);
    Output { status, stdout: std::fs::read(out.path()).unwrap(), stderr: std::fs::read(err.path()).unwrap() }
}

/// Runs to the end and demands success; hands back what it said on standard output and standard error.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let said = both(&output);
    assert!(output.status.success(), "{command:?} ended with {}:\n{said}", output.status);
    said
}

/// Runs to the end and demands failure; hands back what it said on standard output and standard error.
#[track_caller]
pub fn fail(command: &mut Command) -> String {
    let output = run(command);
    let said = both(&output);
    assert!(!output.status.success(), "{command:?} succeeded:\n{said}");
    said
}

/// Standard output, then standard error.
pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A program that runs beside the test; ended with it.
pub struct Background(Child);

impl Background {
    pub fn spawn(command: &mut Command, log: &Path) -> Background {
        let log = File::create(log).unwrap();
        Background(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Dovecot's master ends its children on SIGTERM; the others simply end.
        signal(&self.0, nix::sys::signal::Signal::SIGTERM);
        drop(self.0.wait());
    }
}

/// Sends a signal to a child that was not yet waited for.
pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    let id = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    // A child that has just ended needs no signal.
    let _ = nix::sys::signal::kill(id, signal);
}

/// A path as an argument text.
pub fn text(path: &(impl AsRef<OsStr> + ?Sized)) -> &str {
    path.as_ref().to_str().unwrap()
}

#[track_caller]
fn end_of(child: &mut Child, name: &str) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            drop(child.kill());
            panic!("{name} did not end within {PATIENCE:?} and was killed");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
