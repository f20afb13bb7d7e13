//! A person at a terminal: a program runs at a pseudo terminal, and is answered as it asks.
//!
//! The terminal is made by util-linux's `script`, which every Debian has.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::programs::program;
use super::wait_for;

/// What Enter sends.
const ENTER: &str = "\r";

/// A program at a terminal; killed when dropped.
pub struct Terminal {
    script: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// How much of it was waited for already.
    seen: usize,
}

impl Terminal {
    /// Starts a program.
    #[track_caller]
    pub fn start(command: &Command) -> Terminal {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = words.map(|word| quoted(word.to_str().unwrap())).collect();
        let mut script = program("script");
        script.args(["--quiet", "--return", "--flush", "--command", &line.join(" "), "/dev/null"]);
        script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = script.spawn().unwrap();
        let (keys, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
        let shown = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&shown);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut piece) {
                sink.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Terminal { script, keys, shown, reader: Some(reader), seen: 0 }
    }

    /// Waits until this is shown, after all that was waited for before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let found = wait_for(&format!("{text:?} at the terminal"), || {
            let shown = self.shown.lock().unwrap();
            let rest = &shown[self.seen..];
            rest.windows(text.len()).position(|window| window == text.as_bytes())
        });
        self.seen += found + text.len();
    }

    /// Waits for a question, then types an answer and Enter.
    #[track_caller]
    pub fn answer(&mut self, question: &str, answer: &str) {
        self.press(question, &format!("{answer}{ENTER}"));
    }

    /// Waits for a question that one key answers.
    #[track_caller]
    pub fn press(&mut self, question: &str, keys: &str) {
        self.expect(question);
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end; hands back all that was shown.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = wait_for("the program at the terminal to end", || self.script.try_wait().unwrap());
        self.reader.take().unwrap().join().unwrap();
        (status, self.text())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.script.kill());
        drop(self.script.wait());
        if std::thread::panicking() {
            eprintln!("the terminal showed:\n{}", self.text());
        }
    }
}

/// For the shell that `script` starts.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
