//! A name server whose zones can be changed by dynamic update, signed with TSIG: `knotd` on loopback.
//!
//! [`UpdatableZones::start`] starts it on a port of the system's choice, in a folder that goes when it does; no root rights
//! needed. [`ZoneKey`] is a key that it knows, which may change the zones or not.
//!
//! What it deliberately does not do: sign its zones (that is [`crate::signed`]), or take updates without a key.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use crate::program::{Program, create_folder, free_ports, logs, write};

/// How often it is started anew because somebody else took the port.
const ATTEMPTS: usize = 5;

/// A key that the name server knows.
#[derive(Debug, Clone, Copy)]
pub struct ZoneKey<'a> {
    /// Its name.
    pub name: &'a str,
    /// As in `hmac-sha256`.
    pub algorithm: &'a str,
    /// In base64.
    pub secret: &'a str,
    /// Whether it may change all zones, or none.
    pub may_update: bool,
}

/// A running name server.
#[derive(Debug)]
pub struct UpdatableZones {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    _program: Program,
    _folder: TempDir,
}

impl UpdatableZones {
    /// Starts it with these zones, each with its name and its records: lines of a zone file with names relative to the
    /// zone. The SOA record is added, and an NS record for `ns` with the address 127.0.0.1.
    ///
    /// # Panics
    /// `knotd` is missing, or a zone has a mistake: the message says which.
    pub fn start(zones: &[(&str, &str)], keys: &[ZoneKey<'_>]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for part in ["journal", "zones"] {
            create_folder(&folder.path().join(part));
        }
        for (name, records) in zones {
            let text = format!(
                "$ORIGIN {name}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{records}\n"
            );
            write(&folder.path().join("zones").join(name), &text);
        }
        for _ in 0..ATTEMPTS {
            let [address] = free_ports();
            write(&folder.path().join("knot.conf"), &config(folder.path(), address, zones, keys));
            let mut program = Program::start("knotd", &["-c", "knot.conf"], folder.path());
            if zones.iter().all(|(name, _)| program.answers_at(address, name)) {
                return Self { address, _program: program, _folder: folder };
            }
        }
        panic!("knotd does not start: {}", logs(folder.path()));
    }
}

fn config(folder: &Path, listen: SocketAddr, zones: &[(&str, &str)], keys: &[ZoneKey<'_>]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "server:\n  rundir: \"{folder}\"\n  listen: {}@{}\n  background-workers: 1\n  udp-workers: 1\n  tcp-workers: 1\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n  storage: \"{folder}/journal\"\n",
        listen.ip(),
        listen.port()
    );
    // Knot wants this order: keys, then rules, then zones.
    for (number, key) in keys.iter().enumerate() {
        let head = if number == 0 { "key:\n" } else { "" };
        let ZoneKey { name, algorithm, secret, .. } = key;
        let _ = writeln!(text, "{head}  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}");
    }
    let allowed: Vec<&str> = keys.iter().filter(|key| key.may_update).map(|key| key.name).collect();
    let _ = writeln!(text, "acl:\n  - id: changes\n    key: [{}]\n    action: update", allowed.join(", "));
    text.push_str("zone:\n");
    for (name, _) in zones {
        let _ = writeln!(
            text,
            "  - domain: {name}\n    storage: \"{folder}/zones\"\n    file: {name}\n    zonefile-sync: -1\n    acl: changes"
        );
    }
    text
}
