//! Name servers as programs of their own: started on loopback, waited for, ended.
//!
//! [`Program`] is one that runs, [`run`] waits for the end of one. What they print is in files beside their configuration:
//! [`logs`] shows it when they do not start.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Program(Child);

impl Program {
    pub(crate) fn start(name: &str, arguments: &[&str], folder: &Path) -> Self {
        let log = folder.join(format!("{}.log", arguments.join("_")));
        let log = fs::File::create(log).expect("a log file");
        let mut command = command(name, folder);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap_or_else(|error| missing(name, &error)))
    }

    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    pub(crate) fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it answers a question for a zone's SOA record. The root is `.`.
    pub(crate) fn answers_at(&mut self, address: SocketAddr, zone: &str) -> bool {
        let question = soa_question(zone);
        let until = Instant::now() + PATIENCE;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        while self.is_alive() && Instant::now() < until {
            let mut answer = [0; 512];
            let asked = socket.send_to(&question, address).and_then(|_| socket.recv(&mut answer));
            let (is_answer, code) = (answer[2] & 0x80 != 0, answer[3] & 15);
            if matches!(asked, Ok(4..)) && is_answer && code == 0 {
                return true;
            }
            if asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                // Not there yet.
                thread::sleep(Duration::from_millis(5));
            }
        }
        false
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a program to its end and gives what it printed.
pub(crate) fn run(name: &str, arguments: &[&str], folder: &Path) -> String {
    let output = command(name, folder).args(arguments).output().unwrap_or_else(|error| missing(name, &error));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {}: {said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Servers are not on everybody's search path.
fn command(name: &str, folder: &Path) -> Command {
    let system = Path::new("/usr/sbin").join(name);
    let mut command = if system.exists() { Command::new(system) } else { Command::new(name) };
    command.current_dir(folder);
    command
}

fn missing(name: &str, error: &io::Error) -> ! {
    panic!("{name} cannot be started ({error}); it comes with the packages that ./test packages installs")
}

fn soa_question(zone: &str) -> Vec<u8> {
    const HEAD: [u8; 12] = [7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const SOA_IN: [u8; 5] = [0, 0, 6, 0, 1];
    let mut question = HEAD.to_vec();
    for label in zone.split('.').filter(|label| !label.is_empty()) {
        question.push(u8::try_from(label.len()).expect("a short label"));
        question.extend(label.as_bytes());
    }
    question.extend(SOA_IN);
    question
}

/// Ports of 127.0.0.1 that nobody used a moment ago, UDP and TCP.
pub(crate) fn free_ports<const COUNT: usize>() -> [SocketAddr; COUNT] {
    let mut held = Vec::new();
    while held.len() < COUNT {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = udp.local_addr().expect("an address");
        if let Ok(tcp) = TcpListener::bind(address) {
            held.push((address, udp, tcp));
        }
    }
    std::array::from_fn(|number| held[number].0)
}

/// All that the programs of a folder complained about.
pub(crate) fn logs(folder: &Path) -> String {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let logs = files.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    logs.filter_map(|path| fs::read_to_string(path).ok()).collect()
}

pub(crate) fn create_folder(path: &Path) {
    fs::create_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
