//! What connects and is no mail program, or one that nobody should use any more: `openssl s_client` with old versions and odd
//! offers, a program that ends lines with LF alone, a browser, scanners. Each row says what Postern makes of it.
//!
//! SSLv3 has no row with `openssl`: Debian builds it without. What such a client says first is sent by hand.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use postern_testkit::proxy::{Proxy, Trick};

use super::Port;
use super::house::{Became, House};
use crate::support::PATIENCE;
use crate::support::certificates::client_config;
use crate::support::postern::ANNA;
use crate::support::programs::{program, python, run, text};
use crate::support::wire::Wire;

/// Who comes, to which port, what he does, and what Postern says of it.
struct Row {
    name: &'static str,
    port: Port,
    does: Does,
    causes: &'static [&'static str],
}

/// What he does.
enum Does {
    /// `openssl s_client` with these options, after STARTTLS on ports that begin in clear. It says QUIT when TLS stands.
    Openssl(&'static [&'static str]),
    /// Sends these octets and reads until the end.
    Sends(&'static [u8]),
    /// Connects and leaves.
    Leaves,
    /// Anything else.
    Other(fn(&Visit<'_>)),
}

/// Where to, and whom to trust.
struct Visit<'a> {
    port: u16,
    root: &'a Path,
}

/// A ClientHello of SSLv3 (RFC 6101 §5.6.1.2) with one cipher suite, RC4 with MD5.
const SSL3: &[u8] = b"\x16\x03\x00\x00\x2d\x01\x00\x00\x29\x03\x00\
    0123456789abcdef0123456789abcdef\x00\x00\x02\x00\x04\x01\x00";

const TABLE: &[Row] = &[
    Row { name: "openssl, as it comes", port: Port::Submission, does: Does::Openssl(&[]), causes: &[] },
    Row {
        name: "openssl, TLS 1.0 after STARTTLS",
        port: Port::Submission,
        does: Does::Openssl(&["-tls1", "-cipher", "ALL:@SECLEVEL=0"]),
        causes: &["old-tls-only"],
    },
    Row {
        name: "openssl, TLS 1.1 at once",
        port: Port::Submissions,
        does: Does::Openssl(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        causes: &["old-tls-only"],
    },
    Row {
        name: "openssl, TLS 1.0 on port 25",
        port: Port::Relay,
        does: Does::Openssl(&["-tls1", "-cipher", "ALL:@SECLEVEL=0"]),
        causes: &["old-tls-only"],
    },
    Row {
        name: "SSLv3 at once",
        port: Port::Submissions,
        does: Does::Sends(SSL3),
        causes: &["old-tls-only"],
    },
    Row {
        name: "openssl, only key exchange by RSA",
        port: Port::Submission,
        does: Does::Openssl(&["-tls1_2", "-cipher", "AES128-SHA:AES256-SHA:@SECLEVEL=0"]),
        causes: &["no-common-cipher"],
    },
    Row {
        name: "openssl, only CBC",
        port: Port::Submissions,
        does: Does::Openssl(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"]),
        causes: &["no-common-cipher"],
    },
    Row {
        name: "openssl, only X448",
        port: Port::Submission,
        does: Does::Openssl(&["-tls1_3", "-groups", "X448"]),
        causes: &["no-common-group"],
    },
    Row {
        name: "openssl, only P-521",
        port: Port::Submissions,
        does: Does::Openssl(&["-groups", "P-521"]),
        causes: &["no-common-group"],
    },
    Row {
        name: "openssl, only signatures by RSA",
        port: Port::Submission,
        does: Does::Openssl(&["-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256"]),
        causes: &["no-common-signature"],
    },
    Row {
        name: "openssl, an authority that is not trusted",
        port: Port::Untrusted,
        does: Does::Openssl(&["-verify_return_error"]),
        causes: &["unknown-authority"],
    },
    Row {
        name: "openssl, another server name",
        port: Port::Misnamed,
        does: Does::Openssl(&[
            "-servername",
            "localhost",
            "-verify_hostname",
            "localhost",
            "-verify_return_error",
        ]),
        causes: &["wrong-server-name"],
    },
    Row {
        name: "lines that end with LF alone",
        port: Port::Submissions,
        does: Does::Other(bare_line_feeds),
        causes: &["bad-line-ending"],
    },
    Row {
        name: "a browser on port 587",
        port: Port::Submission,
        does: Does::Other(browse),
        causes: &["http-spoken"],
    },
    Row {
        name: "a browser on port 465",
        port: Port::Submissions,
        does: Does::Other(browse),
        causes: &["http-spoken"],
    },
    Row {
        name: "a browser on port 25",
        port: Port::Relay,
        does: Does::Other(browse),
        causes: &["http-spoken"],
    },
    Row {
        name: "somebody who looks whether the port is open",
        port: Port::Submission,
        does: Does::Leaves,
        causes: &["port-scan"],
    },
    Row {
        name: "somebody who looks whether port 465 is open",
        port: Port::Submissions,
        does: Does::Leaves,
        causes: &["port-scan"],
    },
    Row {
        name: "SSH",
        port: Port::Submission,
        does: Does::Sends(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        // Its first word is no word of letters, so that no transcript keeps it: all that is known is that TLS came first.
        causes: &["starttls-not-used"],
    },
    Row {
        name: "POP3",
        port: Port::Submission,
        does: Does::Sends(b"CAPA\r\nUSER anna\r\nQUIT\r\n"),
        causes: &["other-protocol"],
    },
    Row {
        name: "IMAP",
        port: Port::Submission,
        does: Does::Sends(b"a1 CAPABILITY\r\na2 LOGOUT\r\n"),
        causes: &["other-protocol"],
    },
    Row {
        name: "octets that are no text",
        port: Port::Submission,
        does: Does::Sends(b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00"),
        causes: &["other-protocol"],
    },
    Row {
        name: "a client of TLS that goes away in the handshake",
        port: Port::Submissions,
        does: Does::Other(leave_in_handshake),
        causes: &["closed-in-handshake"],
    },
];

#[test]
fn strangers_are_told_apart() {
    let house = House::start();
    let ended = (1..).zip(TABLE).filter_map(|(number, row)| row.comes_to(&house, number).err());
    let failures: Vec<String> = ended.collect();
    assert!(failures.is_empty(), "{} of {}:\n\n{}", failures.len(), TABLE.len(), failures.join("\n"));
}

impl Row {
    /// An error says what it came to instead.
    fn comes_to(&self, house: &House, number: u8) -> Result<(), String> {
        let from = Ipv4Addr::new(127, 8, 8, number);
        let proxy = Proxy::start_from(from, house.postern().at(self.port.listener()), Trick::Nothing);
        let root = house.postern().root();
        let visit = Visit { port: proxy.address().port(), root: &root };
        match self.does {
            Does::Openssl(options) => openssl(&visit, self.port, options),
            Does::Sends(octets) => visit.send(octets),
            Does::Leaves => drop(visit.connect()),
            Does::Other(does) => does(&visit),
        }
        let became = Became::of(&house.sessions_of(from, &proxy));
        let expected = self.causes;
        if became.causes == expected {
            Ok(())
        } else {
            Err(format!("{}:\n  expected {expected:?}\n  became {became}\n", self.name))
        }
    }
}

impl Visit<'_> {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    fn send(&self, octets: &[u8]) {
        let mut stream = self.connect();
        stream.write_all(octets).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // However it ends: what counts is what Postern says of it.
        drop(stream.read_to_end(&mut Vec::new()));
    }
}

fn openssl(visit: &Visit<'_>, port: Port, options: &[&str]) {
    let mut command = program("openssl");
    command.args(["s_client", "-quiet", "-connect", &format!("localhost:{}", visit.port)]);
    command.args(["-CAfile", text(visit.root), "-no-CApath", "-no-CAstore"]);
    if port != Port::Submissions {
        command.args(["-starttls", "smtp", "-name", "client.test"]);
    }
    fed(command.args(options), "EHLO client.test\r\nQUIT\r\n");
}

/// Runs a program that reads this; however it ends.
fn fed(command: &mut Command, input: &str) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(input.as_bytes()).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    run(command.stdin(Stdio::from(file)));
}

/// A script that somebody wrote in an hour.
fn bare_line_feeds(visit: &Visit<'_>) {
    let mut command = python(
        "
import socket, ssl, sys
port, root, sender = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
with context.wrap_socket(socket.create_connection(('localhost', int(port))), server_hostname='localhost') as tls:
    lines = tls.makefile('rw', newline='\\n')
    for line in 'EHLO script', f'MAIL FROM:<{sender}>', 'QUIT':
        print(line, file=lines, flush=True)
    print(lines.read())
",
    );
    run(command.args([&visit.port.to_string(), text(visit.root), ANNA]));
}

fn browse(visit: &Visit<'_>) {
    let mut command = program("curl");
    command.args(["--silent", "--max-time", "2", "--http0.9", &format!("http://localhost:{}/", visit.port)]);
    run(&mut command);
}

/// The ClientHello of a good client, of which the answer is never read.
fn leave_in_handshake(visit: &Visit<'_>) {
    let (hellos, hello) = std::sync::mpsc::channel();
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let config = client_config(visit.root);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            hellos.send(Wire::new(stream).read_hello().unwrap()).unwrap();
        });
        let mut wire = Wire::new(TcpStream::connect(address).unwrap());
        assert!(wire.connect_tls(config, "localhost").is_err());
    });
    let mut stream = visit.connect();
    stream.write_all(&hello.recv().unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The first octet of the answer; then it goes.
    stream.read_exact(&mut [0]).unwrap();
}
