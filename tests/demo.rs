//! `postern demo`: its printed lines, pasted into a shell as they stand, send mail that then passes before one's eyes.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::postern::postern;
use crate::support::programs::{signal, succeed};
use crate::support::wait_for;

/// A running demo and what it prints.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start() -> Demo {
        let folder = tempfile::tempdir().unwrap();
        let output = std::fs::File::create(folder.path().join("output")).unwrap();
        // Its throw-away directory goes where we can see whether it is thrown away.
        let mut command = postern();
        command.arg("demo").current_dir(folder.path()).env("TMPDIR", temporary(folder.path()));
        let child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Demo { child, folder }
    }

    fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap()
    }

    /// The line to paste that begins with this program.
    #[track_caller]
    fn line(&self, program: &str) -> String {
        wait_for(&format!("a {program} line"), || {
            let output = self.output();
            let lines = joined(&output);
            lines.into_iter().find(|line| {
                line.starts_with(&format!("{program} ")) || line.contains(&format!("| {program} "))
            })
        })
    }

    #[track_caller]
    fn paste(&self, line: &str) {
        let mut command = Command::new("bash");
        let home = self.folder.path();
        succeed(command.args(["-c", line]).stdin(Stdio::null()).current_dir(home).env("HOME", home));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        signal(&self.child, nix::sys::signal::Signal::SIGTERM);
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("the demo printed:\n{}", self.output());
        }
    }
}

fn temporary(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("tmp");
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Lines as a shell sees them: a backslash at the end continues.
fn joined(output: &str) -> Vec<String> {
    output.replace("\\\n", " ").lines().map(|line| line.trim().trim_start_matches("$ ").to_owned()).collect()
}

#[test]
fn the_printed_swaks_and_curl_lines_send_mail_that_is_shown_passing() {
    let demo = Demo::start();
    for (program, count) in [("swaks", 1), ("curl", 2)] {
        let line = demo.line(program);
        demo.paste(&line);
        wait_for(&format!("the message from {program} to be shown as delivered"), || {
            (demo.output().matches("delivered").count() >= count).then_some(())
        });
    }
}

#[test]
fn two_demos_run_side_by_side() {
    let (first, second) = (Demo::start(), Demo::start());
    assert_ne!(first.line("swaks"), second.line("swaks"));
    first.paste(&first.line("swaks"));
    second.paste(&second.line("swaks"));
}

#[test]
fn nothing_is_left_behind() {
    let mut demo = Demo::start();
    demo.line("swaks");
    signal(&demo.child, nix::sys::signal::Signal::SIGTERM);
    demo.child.wait().unwrap();
    let left = crate::support::files_below(&temporary(demo.folder.path()));
    assert!(left.is_empty(), "{left:?}");
}
