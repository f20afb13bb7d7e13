//! What the scenarios share: the daemon under test, the programs around it, scripted peers, and waiting for facts.

pub mod certificates;
pub mod client;
pub mod clients;
pub mod content;
pub mod directory;
pub mod dovecot;
pub mod exim;
pub mod house;
pub mod https_host;
pub mod marionette;
pub mod names;
pub mod opensmtpd;
pub mod openssl;
pub mod pebble;
pub mod peer;
pub mod postern;
pub mod postfix;
pub mod postgres;
pub mod programs;
pub mod saslauthd;
pub mod sink;
pub mod slapd;
pub mod terminal;
pub mod thunderbird;
pub mod tls_server;
pub mod unpacked;
pub mod wire;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use client::{Client, Reply};
pub use peer::{Do, Gate, Peer};
pub use postern::{Postern, Setup};

/// How long anything may take before the test fails. Generous: two busy cores, and nobody waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Polls `look` until it finds something. Panics with `what` when [`PATIENCE`] is exhausted.
#[track_caller]
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, look)
}

/// As [`wait_for`], with its own deadline.
#[track_caller]
pub fn wait_within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for {what}");
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// Waits until something accepts connections at `address`.
#[track_caller]
pub fn wait_until_open(what: &str, address: SocketAddr) {
    wait_for(&format!("{what} to listen on {address}"), || TcpStream::connect(address).ok());
}

/// A loopback address that nothing listens on just now: for programs that cannot say which port the system gave them, and
/// for next hops that are to be down.
pub fn unused_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// The files below `folder`, at any depth, in the order of their names.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for path in entries.map_while(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The messages in the `new` folder of a Maildir.
pub fn maildir_messages(maildir: &Path) -> Vec<Vec<u8>> {
    files_below(&maildir.join("new")).iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Waits until the Maildir holds at least `count` messages.
#[track_caller]
pub fn wait_for_maildir(maildir: &Path, count: usize) -> Vec<Vec<u8>> {
    wait_for(&format!("{count} messages in {}", maildir.display()), || {
        let messages = maildir_messages(maildir);
        (messages.len() >= count).then_some(messages)
    })
}

/// Whether the suite runs as root, as it does in CI; a few peers need that.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
