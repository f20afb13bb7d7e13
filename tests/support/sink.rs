//! Postfix's `smtp-sink`: the simplest real next hop. Keeps each message it takes in a file.

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::programs::{Background, program, text};
use super::{files_below, is_root, unused_address, wait_for, wait_until_open};

pub struct Sink {
    address: SocketAddr,
    // Ended before its folder goes.
    _running: Background,
    folder: TempDir,
}

impl Sink {
    pub fn start() -> Sink {
        Sink::start_with(&[])
    }

    /// With more options of smtp-sink's, such as `-f RCPT`.
    pub fn start_with(options: &[&str]) -> Sink {
        Sink::start_at(unused_address(), options)
    }

    pub fn start_at(address: SocketAddr, options: &[&str]) -> Sink {
        let (folder, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = program("smtp-sink");
        command.current_dir(folder.path()).args(options);
        if is_root() {
            let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
            nix::unistd::chown(folder.path(), Some(nobody.uid), Some(nobody.gid)).unwrap();
            command.args(["-u", "nobody"]);
        }
        command.args(["-d", text(&folder.path().join("message.")), &address.to_string(), "100"]);
        let running = Background::spawn(&mut command, &logs.path().join("log"));
        wait_until_open("smtp-sink", address);
        Sink { address, folder, _running: running }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The contents taken so far, without the lines that smtp-sink puts before them and the empty line behind them; lines end
    /// in LF there.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let files = files_below(self.folder.path()).into_iter();
        files.filter_map(|path| content_of(&fs::read(path).ok()?)).collect()
    }

    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Vec<u8>> {
        wait_for(&format!("{count} messages at smtp-sink"), || {
            Some(self.messages()).filter(|all| all.len() >= count)
        })
    }
}

// smtp-sink's own lines end with its three-line Received field; a file that is not yet complete does not end in an empty line.
fn content_of(dump: &[u8]) -> Option<Vec<u8>> {
    let text = dump.strip_suffix(b"\n\n").map(|rest| &dump[..=rest.len()])?;
    let received = text.windows(10).position(|window| window == b"\nReceived:")? + 1;
    let fields =
        text[received..].split_inclusive(|&octet| octet == b'\n').take(3).map(<[u8]>::len).sum::<usize>();
    Some(text[received + fields..].to_vec())
}
