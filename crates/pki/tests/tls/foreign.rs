//! Hosts that only another TLS library plays: old versions, short keys, broken digests, odd certificates.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use postern_dns::tlsa::{Matching, Selector, Usage};
use postern_pki::{
    ClientCa, ClientCertificates, ClientIdentity, ClientTls, MinimumVersion, PeerPolicy, ServerOptions,
    Tickets, TrustAnchors, client_identity, facts_of_server, server_config, server_name,
};
use postern_smtp::tls::{Proof, TlsFacts, TlsFailure, TlsFault, TlsRequirement};
use rustls::{ClientConnection, ServerConnection, Stream};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::dane::record;
use crate::world::HOST;
use crate::{now, office};

/// No peer here takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder where the openssl program makes keys and certificates.
struct Bench(TempDir);

/// A running `openssl s_server`.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Bench {
    /// With an authority: `root.pem` and `root.key`.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.openssl(
            "req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -subj /CN=root -days 30",
        );
        bench
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(self.0.path())
            .output()
            .expect("openssl runs (Debian: apt-get install openssl)");
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// `host.pem`, signed by the root, with these ways of making the key and the signature.
    fn host(&self, key: &str, digest: &str) {
        std::fs::write(self.0.path().join("san"), format!("subjectAltName=DNS:{HOST}\n")).unwrap();
        self.openssl(&format!("req -newkey {key} -nodes -keyout host.key -out host.csr -subj /CN=host"));
        let sign =
            "x509 -req -in host.csr -CA root.pem -CAkey root.key -CAcreateserial -out host.pem -days 9";
        self.openssl(&format!("{sign} -extfile san -{digest}"));
    }

    fn client(&self) -> ClientTls {
        ClientTls::new(&TrustAnchors::File(self.0.path().join("root.pem"))).unwrap()
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.0.path().join("host.pem")).unwrap()
    }

    fn serve(&self, arguments: &str) -> Server {
        Server::start(self.0.path(), &format!("-cert host.pem -key host.key {arguments}"))
    }
}

impl Server {
    fn start(folder: &Path, arguments: &str) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(arguments.split_whitespace())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl runs (Debian: apt-get install openssl)");
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "openssl s_server {arguments} ended");
            if let Some(address) = line.trim().strip_prefix("ACCEPT ") {
                break address.parse().unwrap();
            }
        };
        thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A handshake over a socket, with every kind of end that one can have.
fn meet(client: &ClientTls, policy: &PeerPolicy, address: SocketAddr) -> Result<TlsFacts, TlsFailure> {
    let handshake = client.handshake(policy);
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connection = ClientConnection::new(handshake.config(), server_name(HOST).unwrap()).unwrap();
    while connection.is_handshaking() {
        if let Err(error) = connection.complete_io(&mut socket) {
            return Err(handshake.failure(&error));
        }
    }
    Stream::new(&mut connection, &mut socket).flush().unwrap();
    Ok(handshake.facts(&connection))
}

fn refusal(bench: &Bench, requirement: TlsRequirement, address: SocketAddr) -> TlsFailure {
    meet(&bench.client(), &PeerPolicy::of(requirement), address).unwrap_err()
}

const ANY: TlsRequirement = TlsRequirement::OPPORTUNISTIC;

#[test]
fn a_short_key_proves_nothing_and_still_encrypts_where_nothing_is_to_be_proved() {
    let bench = Bench::new();
    bench.host("rsa:1024", "sha256");
    for version in ["-tls1_2", "-tls1_3"] {
        let server = bench.serve(&format!("{version} -cipher DEFAULT:@SECLEVEL=0"));
        for requirement in [TlsRequirement::AUTHENTICATED, TlsRequirement::VERIFIED] {
            let refused = refusal(&bench, requirement, server.address);
            assert_eq!(refused.fault, TlsFault::WeakKey, "{version} {requirement}: {refused}");
            assert!(refused.why.contains("1024 bits"), "{refused}");
            assert_eq!(refused.certificate.unwrap().key, "RSA 1024");
        }
        for requirement in [ANY, TlsRequirement::REQUIRED] {
            let facts = meet(&bench.client(), &PeerPolicy::of(requirement), server.address).unwrap();
            assert!(!facts.peer.is_authenticated(), "{version} {requirement}");
            assert_eq!(facts.peer.doubt().map(|doubt| doubt.fault), Some(TlsFault::WeakKey));
        }
    }
}

#[test]
fn a_signature_over_sha1_is_named() {
    let bench = Bench::new();
    bench.host("rsa:2048", "sha1");
    let server = bench.serve("-cipher DEFAULT:@SECLEVEL=0");
    let refused = refusal(&bench, TlsRequirement::VERIFIED, server.address);
    assert_eq!(refused.fault, TlsFault::WeakSignature, "{refused}");
    assert!(refused.why.contains("sha1WithRSAEncryption"), "{refused}");
    let facts = meet(&bench.client(), &PeerPolicy::default(), server.address).unwrap();
    assert_eq!(facts.peer.doubt().map(|doubt| doubt.fault), Some(TlsFault::WeakSignature));
}

#[test]
fn a_host_of_tls_1_0_has_no_protocol_in_common_with_us() {
    let bench = Bench::new();
    bench.host("rsa:2048", "sha256");
    for version in ["-tls1", "-tls1_1"] {
        let server = bench.serve(&format!("{version} -cipher ALL:@SECLEVEL=0"));
        let refused = refusal(&bench, ANY, server.address);
        assert_eq!(refused.fault, TlsFault::NoCommonProtocol, "{version}: {refused}");
        assert_eq!(refused.certificate, None);
    }
}

#[test]
fn an_rsa_host_verifies_with_either_version() {
    let bench = Bench::new();
    bench.host("rsa:2048", "sha256");
    for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let server = bench.serve(version);
        let facts = meet(&bench.client(), &PeerPolicy::of(TlsRequirement::VERIFIED), server.address).unwrap();
        assert_eq!((facts.version.as_str(), facts.peer.given), (name, Proof::Verified.into()));
        let seen = facts.peer.certificate.unwrap();
        assert_eq!((seen.key.as_str(), seen.signature.as_str()), ("RSA 2048", "sha256WithRSAEncryption"));
    }
}

#[test]
fn a_certificate_of_version_1_will_do_where_dane_vouches_for_it_or_nobody_asks() {
    let bench = Bench::new();
    bench.openssl("req -newkey rsa:2048 -nodes -keyout host.key -out host.csr -subj /CN=host");
    bench.openssl("x509 -req -in host.csr -signkey host.key -out host.pem -days 9");
    let certificate = bench.certificate();
    let tlsa = vec![record(Usage::EndEntity, Selector::Cert, Matching::Sha256, (&certificate, &[]))];
    for version in ["-tls1_2", "-tls1_3"] {
        let server = bench.serve(version);
        let policy = PeerPolicy { tlsa: tlsa.clone(), ..PeerPolicy::of(TlsRequirement::DANE) };
        let facts = meet(&bench.client(), &policy, server.address)
            .unwrap_or_else(|failure| panic!("{version}: {failure}"));
        assert_eq!(facts.peer.given, Proof::Dane.into());
        assert!(meet(&bench.client(), &PeerPolicy::default(), server.address).is_ok());
        let refused = refusal(&bench, TlsRequirement::VERIFIED, server.address);
        assert_eq!(refused.fault, TlsFault::SelfSigned, "{refused}");
    }
}

#[test]
fn a_host_that_wants_our_certificate_is_told_apart() {
    let bench = Bench::new();
    bench.host("rsa:2048", "sha256");
    let server = bench.serve("-tls1_2 -Verify 1 -verify_return_error -CAfile root.pem");
    let refused = refusal(&bench, ANY, server.address);
    assert_eq!(refused.fault, TlsFault::ClientCertificate, "{refused}");
    assert!(refused.certificate.is_some(), "it had shown its own");
}

/// What a listener that asks for certificates makes of `openssl s_client` with `host.pem`.
fn asked_by_us(bench: &Bench, arguments: &str) -> (TlsFacts, Option<ClientIdentity>) {
    let ca = ClientCa::load(&bench.0.path().join("root.pem")).unwrap();
    let (office, certificates) = (office(now()), ClientCertificates::Asked(ca));
    let options = ServerOptions {
        identities: vec![Arc::new(office.ensure(&[HOST], now()).loaded.identity)],
        default_name: None,
        minimum: MinimumVersion::Tls12,
        tickets: Tickets::Off,
        client_certificates: certificates.clone(),
    };
    let mut connection = ServerConnection::new(server_config(&options).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut client = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-cert", "host.pem", "-key", "host.key"])
        .args(arguments.split_whitespace())
        .current_dir(bench.0.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs (Debian: apt-get install openssl)");
    let mut socket = accept(listener);
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).unwrap();
    }
    drop(client.stdin.take());
    let _ = client.kill();
    let _ = client.wait();
    let facts = facts_of_server(&connection, &certificates, now());
    let identity = client_identity(&connection, &facts);
    (facts, identity)
}

/// The first connection; a client that never comes must not hold up the tests.
fn accept(listener: TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let accepted = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::time::timeout(PATIENCE, listener.accept()).await
    });
    let (socket, _) = accepted.expect("openssl s_client connects").unwrap();
    let socket = socket.into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[test]
fn a_client_whose_signature_cannot_be_checked_is_a_stranger_whoever_signed_its_certificate() {
    let bench = Bench::new();
    bench.host("rsa:1024", "sha256");
    let (facts, identity) = asked_by_us(&bench, "-tls1_2 -cipher DEFAULT:@SECLEVEL=0");
    assert_eq!(facts.peer.certificate.as_ref().unwrap().key, "RSA 1024");
    assert_eq!(facts.peer.doubt().map(|doubt| doubt.fault), Some(TlsFault::WeakKey));
    assert!(facts.peer.given.is_empty() && identity.is_none());
    bench.host("rsa:2048", "sha256");
    let (facts, identity) = asked_by_us(&bench, "-tls1_2");
    assert_eq!(facts.peer.given, Proof::Verified.into());
    assert_eq!(identity.unwrap().dns_names, [HOST]);
}

#[test]
fn a_client_certificate_of_version_1_does_not_end_the_session() {
    let bench = Bench::new();
    bench.openssl("req -newkey rsa:2048 -nodes -keyout host.key -out host.csr -subj /CN=host");
    bench
        .openssl("x509 -req -in host.csr -CA root.pem -CAkey root.key -CAcreateserial -out host.pem -days 9");
    for version in ["-tls1_2", "-tls1_3"] {
        let (facts, identity) = asked_by_us(&bench, version);
        assert_eq!(facts.peer.doubt().map(|doubt| doubt.fault), Some(TlsFault::BadCertificate), "{version}");
        assert!(facts.peer.given.is_empty() && identity.is_none());
    }
}

/// A peer that answers the hello with these octets and hangs up.
fn answers(octets: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut hello = [0; 5];
        socket.read_exact(&mut hello).unwrap();
        let mut rest = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
        socket.read_exact(&mut rest).unwrap();
        socket.write_all(octets).unwrap();
    });
    address
}

#[test]
fn what_is_not_tls_and_what_breaks_off_are_told_apart() {
    let bench = Bench::new();
    for (octets, fault) in [
        (&b"220 mx.example.org ESMTP ready\r\n"[..], TlsFault::NotTls),
        (b"500 5.5.1 Command unrecognized\r\n", TlsFault::NotTls),
        (b"", TlsFault::Broken),
        (b"\x16\x03\x03", TlsFault::Broken),
        // Alerts: protocol_version, handshake_failure, internal_error.
        (b"\x15\x03\x01\x00\x02\x02\x46", TlsFault::NoCommonProtocol),
        (b"\x15\x03\x01\x00\x02\x02\x28", TlsFault::NoCommonProtocol),
        (b"\x15\x03\x01\x00\x02\x02\x50", TlsFault::Handshake),
        // A server hello that makes no sense.
        (b"\x16\x03\x03\x00\x08\x02\x00\x00\x04\x03\x03\x00\x00", TlsFault::Handshake),
    ] {
        let refused = refusal(&bench, ANY, answers(octets));
        assert_eq!(refused.fault, fault, "{octets:?}: {refused}");
        assert_eq!(refused.certificate, None);
    }
}
