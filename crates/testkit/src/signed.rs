//! A small signed DNS of its own: a root and zones below it, signed for real, and a validating resolver in front.
//!
//! [`SignedWorld::start`] writes the zones, signs them with Knot's tools, serves them with `knotd`, and starts `unbound`
//! twice: once as a validating resolver, once as one that validates nothing. All of it on loopback, on ports of the
//! system's choice, in a folder that goes when the world does; no root rights needed. [`Signed`] says what is wrong with
//! a zone's signatures.
//!
//! What it deliberately does not do: answer from a script (that is [`crate::dns`]), or change its zones while it runs. The
//! validating resolver can be ended and started again, for outages.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use crate::program::{Program, create_folder, free_ports, logs, run, write};

/// How often the programs are started anew because somebody else took one of the ports.
const ATTEMPTS: usize = 5;

/// Where the validating resolver stands among the programs.
const UNBOUND: usize = 1;

/// How a zone is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// As it should be.
    Yes,
    /// Not at all, and its parent says so.
    No,
    /// Signatures that do not fit, except those of its keys.
    Tampered,
    /// Signatures that ended weeks ago.
    Expired,
}

/// Running programs and what to connect to.
#[derive(Debug)]
pub struct SignedWorld {
    /// A resolver that validates.
    pub unbound: SocketAddr,
    /// A resolver that does not validate, and passes signatures on.
    pub careless: SocketAddr,
    /// The root's key, as DS records.
    pub anchor_file: PathBuf,
    programs: Vec<Program>,
    folder: TempDir,
}

impl SignedWorld {
    /// Starts a world in which there are only these zones, each with its name, its records and how it is signed. Records are
    /// lines of a zone file with names relative to the zone; SOA and NS records, and the delegations, are added.
    ///
    /// # Panics
    /// A program is missing, or a zone has a mistake: the message says which.
    pub fn start(zones: &[(&str, &str, Signed)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let zones = Zones::sign(folder.path(), zones);
        for _ in 0..ATTEMPTS {
            if let Some((programs, [_, unbound, careless])) = zones.serve(folder.path()) {
                let anchor_file = folder.path().join("root.anchor");
                return Self { unbound, careless, anchor_file, programs, folder };
            }
        }
        panic!("knotd and unbound do not start: {}", logs(folder.path()));
    }

    /// Ends the resolver that validates. Those who ask it get no answer.
    pub fn stop_unbound(&mut self) {
        self.programs[UNBOUND].end();
    }

    /// Starts it again at the address it had, with nothing in its memory.
    ///
    /// # Panics
    /// It does not answer; somebody else may have taken its port.
    pub fn start_unbound(&mut self) {
        let mut unbound = Program::start("unbound", &["-d", "-c", "unbound.conf"], self.folder.path());
        assert!(
            unbound.answers_at(self.unbound, "."),
            "unbound does not start again: {}",
            logs(self.folder.path())
        );
        self.programs[UNBOUND] = unbound;
    }

    /// Whether all programs still run.
    pub fn is_alive(&mut self) -> bool {
        self.programs.iter_mut().all(Program::is_alive)
    }
}

/// One zone of a world.
struct Zone {
    /// With the last dot; `.` for the root.
    name: String,
    records: String,
    signed: Signed,
}

/// The zones, the root first.
struct Zones(Vec<Zone>);

impl Zones {
    /// Writes and signs them all.
    fn sign(folder: &Path, zones: &[(&str, &str, Signed)]) -> Self {
        let root = Zone { name: ".".to_owned(), records: String::new(), signed: Signed::Yes };
        let others = zones.iter().map(|&(name, records, signed)| Zone {
            name: format!("{}.", name.trim_end_matches('.')),
            records: records.to_owned(),
            signed,
        });
        let zones = Self(std::iter::once(root).chain(others).collect());
        for part in ["keys", "plain", "signed"] {
            create_folder(&folder.join(part));
        }
        write(&folder.join("sign.conf"), &zones.knot_config(folder, "plain", None));
        let keys: Vec<String> = zones.0.iter().map(|zone| zone.create_key(folder)).collect();
        write(&folder.join("root.anchor"), &keys[0]);
        for (number, zone) in zones.0.iter().enumerate() {
            let text = zones.zone_file(number, &keys);
            write(&folder.join("plain").join(file_name(number)), &text);
            zone.sign(folder, number);
        }
        zones
    }

    /// A zone with its delegations: name server, its address, and the keys of signed children.
    fn zone_file(&self, number: usize, keys: &[String]) -> String {
        let zone = &self.0[number];
        let host = if zone.name == "." { "ns." } else { "ns" };
        let mut text = format!(
            "$ORIGIN {}\n$TTL 300\n@ SOA {host} hostmaster 1 3600 600 86400 60\n@ NS {host}\n{host} A 127.0.0.1\n{}\n",
            zone.name, zone.records
        );
        for (child, keys) in self.0.iter().zip(keys) {
            if self.parent(child).is_some_and(|parent| parent.name == zone.name) {
                let _ = writeln!(text, "{0} NS ns.{0}\nns.{0} A 127.0.0.1\n{keys}", child.name);
            }
        }
        text
    }

    /// The zone that delegates this one: that with the longest name above it.
    fn parent(&self, child: &Zone) -> Option<&Zone> {
        let is_above = |zone: &&Zone| {
            zone.name == "." || child.name.strip_suffix(&zone.name).is_some_and(|rest| rest.ends_with('.'))
        };
        self.0
            .iter()
            .filter(is_above)
            .filter(|zone| zone.name != child.name)
            .max_by_key(|zone| zone.name.len())
    }

    /// Starts knotd and both unbounds; `None` when one of them does not stay.
    fn serve(&self, folder: &Path) -> Option<(Vec<Program>, [SocketAddr; 3])> {
        let ports = free_ports::<3>();
        let [knot, validating, careless] = ports;
        write(&folder.join("serve.conf"), &self.knot_config(folder, "signed", Some(knot)));
        write(&folder.join("unbound.conf"), &self.unbound_config(folder, validating, knot, true));
        write(&folder.join("careless.conf"), &self.unbound_config(folder, careless, knot, false));
        let mut programs = vec![
            Program::start("knotd", &["-c", "serve.conf"], folder),
            Program::start("unbound", &["-d", "-c", "unbound.conf"], folder),
            Program::start("unbound", &["-d", "-c", "careless.conf"], folder),
        ];
        let all_answer = programs.iter_mut().zip(ports).all(|(program, port)| program.answers_at(port, "."));
        all_answer.then_some((programs, ports))
    }

    /// One configuration for signing and for serving: `part` is the folder with the zone files.
    fn knot_config(&self, folder: &Path, part: &str, listen: Option<SocketAddr>) -> String {
        let folder = folder.display();
        let listen = listen.map_or(String::new(), |at| format!("\n  listen: {}@{}", at.ip(), at.port()));
        let mut text = format!(
            "server:\n  rundir: \"{folder}\"{listen}\n  background-workers: 1\n  udp-workers: 1\n  tcp-workers: 1\n\
             database:\n  storage: \"{folder}/keys\"\n\
             log:\n  - target: stderr\n    any: info\n\
             policy:\n  - id: ours\n    algorithm: ecdsap256sha256\n    single-type-signing: on\n    manual: on\n\
             template:\n  - id: default\n    storage: \"{folder}/{part}\"\n    dnssec-policy: ours\n    \
             semantic-checks: off\n    zonefile-sync: -1\n    journal-content: none\nzone:\n"
        );
        for (number, zone) in self.0.iter().enumerate() {
            let _ = writeln!(text, "  - domain: \"{}\"\n    file: {}", zone.name, file_name(number));
        }
        text
    }

    fn unbound_config(&self, folder: &Path, at: SocketAddr, knot: SocketAddr, validating: bool) -> String {
        let folder = folder.display();
        let modules = if validating { "validator iterator" } else { "iterator" };
        let mut text = format!(
            "server:\n  directory: \"{folder}\"\n  chroot: \"\"\n  username: \"\"\n  pidfile: \"\"\n  use-syslog: no\n  \
             num-threads: 1\n  interface: {}\n  port: {}\n  do-ip6: no\n  do-not-query-localhost: no\n  \
             module-config: \"{modules}\"\n  ede: yes\n  root-hints: \"\"\n  target-fetch-policy: \"0 0 0 0 0\"\n",
            at.ip(),
            at.port()
        );
        if validating {
            let _ = writeln!(text, "  trust-anchor-file: \"{folder}/root.anchor\"");
        }
        for zone in &self.0 {
            // Names such as test. are answered by unbound itself unless told otherwise, and so are all below them.
            let top = zone.name.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
            let _ = writeln!(
                text,
                "  local-zone: \"{}\" nodefault\n  local-zone: \"{top}.\" nodefault",
                zone.name
            );
        }
        text.push_str("remote-control:\n  control-enable: no\n");
        for zone in &self.0 {
            let stub = format!(
                "stub-zone:\n  name: \"{}\"\n  stub-addr: {}@{}\n",
                zone.name,
                knot.ip(),
                knot.port()
            );
            text.push_str(&stub);
        }
        text
    }
}

impl Zone {
    /// Makes the zone's key and gives the DS records for it; nothing for an unsigned one.
    fn create_key(&self, folder: &Path) -> String {
        if self.signed == Signed::No {
            return String::new();
        }
        let generate = ["generate", "algorithm=ECDSAP256SHA256", "ksk=yes", "zsk=yes"];
        // Old enough for signatures of the past.
        let since = ["created=now-90d", "publish=now-90d", "ready=now-90d", "active=now-90d"];
        keymgr(folder, &self.name, &[&generate[..], &since].concat());
        keymgr(folder, &self.name, &["ds"])
    }

    /// Puts the signed zone into the folder that is served.
    fn sign(&self, folder: &Path, number: usize) {
        let (plain, signed) = (folder.join("plain"), folder.join("signed").join(file_name(number)));
        let mut options = vec!["-c", "sign.conf", "-o", "signed"];
        let weeks_ago = seconds_since_1970().saturating_sub(30 * 86_400).to_string();
        match self.signed {
            Signed::No => {
                fs::copy(plain.join(file_name(number)), signed).expect("a copy of the zone");
                return;
            }
            Signed::Expired => options.extend(["-t", &weeks_ago]),
            Signed::Yes | Signed::Tampered => {}
        }
        options.push(&self.name);
        run("kzonesign", &options, folder);
        if self.signed == Signed::Tampered {
            let text = fs::read_to_string(&signed).expect("the signed zone");
            write(&signed, &text.lines().map(tampered).collect::<String>());
        }
    }
}

/// The line of a zone file with another signature in it. Those of the keys stay, so that it is the data that are wrong.
fn tampered(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let of_data = words.get(2) == Some(&"RRSIG") && words.get(3) != Some(&"DNSKEY");
    match line.rsplit_once(' ') {
        Some((front, signature)) if of_data => {
            let first = if signature.starts_with('A') { 'B' } else { 'A' };
            format!("{front} {first}{}\n", &signature[1..])
        }
        _ => format!("{line}\n"),
    }
}

fn keymgr(folder: &Path, zone: &str, arguments: &[&str]) -> String {
    run("keymgr", &[&["-c", "sign.conf", zone][..], arguments].concat(), folder)
}

fn file_name(number: usize) -> String {
    format!("zone-{number}")
}

fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
