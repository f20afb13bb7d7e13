//! What to begin with: both sides of every transcript, a TLS report in all its wrappings, certificate files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What most transcripts leave out.
const BEGIN: &[u8] = b"220 mail.example.org\r\n250-mail.example.org\r\n250 PIPELINING\r\n";

/// What domains publish, for the target `mta_sts`.
const PUBLISHED: &[(&str, &str)] = &[
    ("record", "v=STSv1; id=20160831085700Z;"),
    (
        "policy",
        "version: STSv1\r\nmode: enforce\r\nmx: *.example.net\r\nmx: b\u{fc}cher.example\r\nmax_age: 604800\r\n",
    ),
    ("none", "version: STSv1\nmode: none\nmax_age: 0\n"),
    ("reports", "v=TLSRPTv1; rua=mailto:reports%2Ctls@example.org,https://r.example/v1"),
];

/// One transcript's octets, as they would go over the wire.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The file's name without its ending.
    pub name: String,
    /// What the client says.
    pub client: Vec<u8>,
    /// What the server says.
    pub server: Vec<u8>,
}

/// The seeds of all transcripts of the smtp crate.
///
/// # Errors
/// They are not where they were, or cannot be read.
pub fn all() -> io::Result<Vec<Seed>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/smtp/tests/transcripts");
    let mut files = Vec::new();
    for folder in fs::read_dir(root)? {
        for file in fs::read_dir(folder?.path())? {
            files.push(file?.path());
        }
    }
    files.sort();
    files.iter().map(seed).collect()
}

/// Puts the seeds where `cargo fuzz run` looks for them.
///
/// # Errors
/// The folder cannot be written.
pub fn write_corpus(corpus: &Path) -> io::Result<()> {
    for seed in all()? {
        for (target, octets) in [
            ("server", with_decisions(&seed.client)),
            ("command", seed.client.clone()),
            ("content", seed.client.clone()),
            ("header", seed.client.clone()),
            ("client", with_decisions(&seed.server)),
            ("sasl_client", with_decisions(&seed.server)),
            ("sasl_server", with_decisions(&seed.client)),
            ("dsn", with_decisions(&seed.server)),
            ("reply", seed.server.clone()),
        ] {
            fs::create_dir_all(corpus.join(target))?;
            fs::write(corpus.join(target).join(&seed.name), octets)?;
        }
    }
    let folder = corpus.join("tls_report");
    fs::create_dir_all(&folder)?;
    for (name, octets) in crate::tls_report_seeds() {
        fs::write(folder.join(name), octets)?;
    }
    fs::create_dir_all(corpus.join("mta_sts"))?;
    for (name, text) in PUBLISHED {
        fs::write(corpus.join("mta_sts").join(name), text)?;
    }
    let folder = corpus.join("tlsa");
    fs::create_dir_all(&folder)?;
    for (name, octets) in crate::tlsa_seeds() {
        fs::write(folder.join(name), octets)?;
    }
    for (name, octets) in crate::hello_seeds() {
        fs::create_dir_all(corpus.join("tls_offer"))?;
        fs::write(corpus.join("tls_offer").join(name), octets)?;
    }
    for (name, octets) in crate::file_seeds() {
        fs::create_dir_all(corpus.join("certificate_files"))?;
        fs::write(corpus.join("certificate_files").join(name), octets)?;
    }
    for (name, octets) in crate::request_seeds() {
        fs::create_dir_all(corpus.join("signing_request"))?;
        fs::write(corpus.join("signing_request").join(name), octets)?;
    }
    Ok(())
}

/// In front of the wire: no decisions, so that all goes the usual way.
pub fn with_decisions(wire: &[u8]) -> Vec<u8> {
    [&[0], wire].concat()
}

fn seed(path: &PathBuf) -> io::Result<Seed> {
    let text = fs::read_to_string(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut seed = Seed { name, client: b"EHLO client.example\r\n".to_vec(), server: BEGIN.to_vec() };
    for line in text.lines() {
        match line.split_once(": ") {
            Some(("C", line)) => seed.client.extend([unescape(line).as_slice(), b"\r\n"].concat()),
            Some(("C-raw" | "C-packet", octets)) => seed.client.extend(unescape(octets)),
            Some(("S", line)) => seed.server.extend(format!("{}\r\n", line.trim_end_matches('*')).bytes()),
            _ => {}
        }
    }
    Ok(seed)
}

/// `\r`, `\n`, `\0` and `\xff` stand for octets.
fn unescape(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (octet, behind) = match (first, tail) {
            (b'\\', [b'r', tail @ ..]) => (b'\r', tail),
            (b'\\', [b'n', tail @ ..]) => (b'\n', tail),
            (b'\\', [b'0', tail @ ..]) => (0, tail),
            (b'\\', [b'x', high, low, tail @ ..]) => (hexadecimal(*high, *low), tail),
            _ => (*first, tail),
        };
        octets.push(octet);
        rest = behind;
    }
    octets
}

fn hexadecimal(high: u8, low: u8) -> u8 {
    let digit =
        |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    digit(high) * 16 + digit(low)
}
