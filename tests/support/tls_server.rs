//! The TLS of a scripted peer: a good one by rustls, an old or weak one by OpenSSL, and the tricks of peers that offer STARTTLS and
//! then misbehave.
//!
//! [`ServerTls`] is what a peer is set up with. [`OpenSsl`] serves what rustls refuses, versions before TLS 1.2 and keys of 1024
//! bits: a Python program takes the socket over and passes the plain text on. [`TlsTrick`] is what a script can do in the place
//! of the handshake.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::Arc;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ServerConfig, ServerConnection};

use super::PATIENCE;
use super::certificates::Identity;
use super::programs::{python, text};

/// By whom a peer's TLS is made.
#[derive(Clone)]
pub enum ServerTls {
    Rustls(Arc<ServerConfig>),
    OpenSsl(OpenSsl),
}

/// TLS without any demands: every cipher, every key, every version up to the newest named here.
#[derive(Debug, Clone)]
pub struct OpenSsl {
    pub identity: Identity,
    pub newest: Version,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// What a peer does after it has said `220` to STARTTLS, or instead of saying it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsTrick {
    /// Takes the ClientHello and says nothing more, until the other side goes away.
    Stall,
    /// Takes the ClientHello and resets the connection.
    Reset,
    /// Takes the ClientHello and closes the connection in order.
    Close,
    /// Answers the ClientHello with a line of text, and closes.
    Garbage,
    /// Sends these lines in clear, in one segment with the `220`, and goes on as a good server.
    Inject(&'static str),
    /// Resets the connection when the ClientHello is longer than this many octets, and goes on as a good server otherwise.
    SmallHello(usize),
}

/// A connection whose TLS the Python program makes: what is read and written here is plain text.
pub struct Proxied {
    stream: UnixStream,
    program: Child,
}

/// Arguments: certificate, key, newest version. Standard input is the peer's socket, standard output the way to the test.
const PROXY: &str = r#"
import select, socket, ssl, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
certificate, key, newest, patience = sys.argv[1:]
outside, inside = socket.socket(fileno=0), socket.socket(fileno=1)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.set_ciphers("ALL:@SECLEVEL=0")
context.minimum_version = ssl.TLSVersion.TLSv1
context.maximum_version = ssl.TLSVersion[newest]
context.load_cert_chain(certificate, key)
outside.settimeout(float(patience))
try:
    tls = context.wrap_socket(outside, server_side=True)
    while True:
        ready = [tls] if tls.pending() else select.select([tls, inside], [], [])[0]
        if tls in ready:
            tls.settimeout(0)
            try:
                octets = tls.recv(16384)
            except ssl.SSLWantReadError:
                continue
            if not octets:
                break
            inside.sendall(octets)
        else:
            octets = inside.recv(16384)
            if not octets:
                break
            tls.settimeout(float(patience))
            tls.sendall(octets)
except OSError:
    pass
"#;

impl OpenSsl {
    /// Hands the socket to the program, which begins with the handshake. When that fails, this side reads the end.
    pub fn accept(&self, socket: TcpStream) -> Proxied {
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut command = python(PROXY);
        command.args([text(&self.identity.certificate), text(&self.identity.key), self.newest.name()]);
        command.arg(PATIENCE.as_secs().to_string());
        command.stdin(OwnedFd::from(socket)).stdout(OwnedFd::from(theirs)).stderr(Stdio::inherit());
        Proxied { stream, program: command.spawn().unwrap() }
    }
}

impl Read for Proxied {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Proxied {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Drop for Proxied {
    fn drop(&mut self) {
        // It still passes on what was written, and ends when it reads the end.
        drop(self.stream.shutdown(Shutdown::Write));
        drop(self.program.wait());
    }
}

impl Version {
    /// What Python calls it.
    fn name(self) -> &'static str {
        match self {
            Version::Tls10 => "TLSv1",
            Version::Tls11 => "TLSv1_1",
            Version::Tls12 => "TLSv1_2",
            Version::Tls13 => "TLSv1_3",
        }
    }
}

impl From<Arc<ServerConfig>> for ServerTls {
    fn from(config: Arc<ServerConfig>) -> ServerTls {
        ServerTls::Rustls(config)
    }
}

impl From<OpenSsl> for ServerTls {
    fn from(openssl: OpenSsl) -> ServerTls {
        ServerTls::OpenSsl(openssl)
    }
}

/// Makes the closing of this connection a reset.
pub fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    Ok(setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?)
}

/// Reads the first TLS record whole, header and all.
pub fn read_record(stream: &mut (impl Read + ?Sized)) -> io::Result<Vec<u8>> {
    let mut record = vec![0; 5];
    stream.read_exact(&mut record)?;
    let length = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(5 + length, 0);
    stream.read_exact(&mut record[5..])?;
    Ok(record)
}

/// Completes a handshake of which the first octets were read already.
pub fn handshake(
    config: Arc<ServerConfig>,
    mut begun: &[u8],
    stream: &mut TcpStream,
) -> io::Result<ServerConnection> {
    let mut session = ServerConnection::new(config).unwrap();
    while !begun.is_empty() {
        session.read_tls(&mut begun)?;
        session.process_new_packets().map_err(io::Error::other)?;
    }
    while session.is_handshaking() {
        session.complete_io(stream)?;
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
    use rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::support::certificates::{Authority, Kind, client_config};
    use crate::support::peer::Step;
    use crate::support::programs::{both, program, run};
    use crate::support::wire::Wire;
    use crate::support::{Client, Do, Peer, content};

    const NAME: &str = "localhost";

    struct House {
        authority: Authority,
        _folder: tempfile::TempDir,
    }

    impl House {
        fn new() -> House {
            let folder = tempfile::tempdir().unwrap();
            House { authority: Authority::new(folder.path()), _folder: folder }
        }

        fn identity(&self) -> Identity {
            self.authority.issue(&[NAME])
        }

        /// A peer that plays this trick and is healthy apart from it.
        fn tricky(&self, trick: TlsTrick) -> Peer {
            let script = move |step: &Step<'_>| {
                if step.is("STARTTLS") { Do::Tls(trick) } else { Do::Usual }
            };
            Peer::scripted(script).tls(self.identity().server_config()).start()
        }

        fn client(&self) -> Arc<ClientConfig> {
            client_config(&self.authority.root())
        }

        /// A client whose ClientHello is small: it offers no post-quantum key exchange.
        fn small_client(&self) -> Arc<ClientConfig> {
            let mut provider = default_provider();
            provider.kx_groups = vec![kx_group::X25519];
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.certificate().der().to_vec().into()).unwrap();
            let versions =
                ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
            Arc::new(versions.unwrap().with_root_certificates(roots).with_no_client_auth())
        }
    }

    /// Up to the handshake, whose end it tells.
    fn starttls(peer: &Peer, config: Arc<ClientConfig>) -> io::Result<()> {
        let mut wire = Wire::new(TcpStream::connect(peer.address()).unwrap());
        wire.read_line().unwrap();
        wire.write(b"STARTTLS\r\n").unwrap();
        assert!(wire.read_line().unwrap().unwrap().starts_with(b"220 "));
        wire.connect_tls(config, NAME)
    }

    /// STARTTLS by `openssl s_client`, which takes everything; what it said.
    fn openssl_client(peer: &Peer, version: &str) -> String {
        let mut command = program("openssl");
        command.args(["s_client", "-starttls", "smtp", "-cipher", "ALL:@SECLEVEL=0", version]);
        both(&run(command.args(["-connect", &peer.address().to_string()])))
    }

    #[test]
    fn openssl_serves_old_versions_and_short_keys_and_nothing_newer_than_told() {
        let (house, versions) = (House::new(), [Version::Tls10, Version::Tls11, Version::Tls12]);
        let identity = house.authority.issue_as(Kind::Rsa1024, &[NAME]);
        let options = ["-tls1", "-tls1_1", "-tls1_2", "-tls1_3"];
        for (newest, pair) in versions.into_iter().zip(options.windows(2)) {
            let openssl = OpenSsl { identity: identity.clone(), newest };
            let peer = Peer::scripted(|_| Do::Usual).tls(openssl).start();
            let served = openssl_client(&peer, pair[0]);
            assert!(served.contains("Server public key is 1024 bit"), "{newest:?}: {served}");
            assert!(served.contains(&format!("Protocol  : {}", newest.name().replace('_', "."))), "{served}");
            let refused = openssl_client(&peer, pair[1]);
            assert!(refused.contains("no peer certificate available"), "{newest:?}: {refused}");
        }
    }

    #[test]
    fn a_message_passes_through_openssl_unchanged() {
        let house = House::new();
        let openssl = OpenSsl { identity: house.identity(), newest: Version::Tls13 };
        let peer = Peer::scripted(|_| Do::Usual).tls(openssl).start();
        let message = content::with_body("a@home.test", "b@away.test", "large", &content::large_body(1));
        let mut client = Client::connect_starttls(peer.address(), &house.authority.root(), NAME);
        client.deliver("a@home.test", &["b@away.test"], &message).expect(250);
        client.say("QUIT").expect(221);
        let taken = peer.wait_for(1).remove(0);
        assert!(taken.tls && taken.content == message);
    }

    #[test]
    fn a_peer_with_implicit_tls_takes_mail() {
        let house = House::new();
        for tls in [
            ServerTls::Rustls(house.identity().server_config()),
            ServerTls::OpenSsl(OpenSsl { identity: house.identity(), newest: Version::Tls12 }),
        ] {
            let peer = Peer::scripted(|_| Do::Usual).implicit_tls(tls).start();
            let mut wire = Wire::new(TcpStream::connect(peer.address()).unwrap());
            wire.connect_tls(house.client(), NAME).unwrap();
            assert!(wire.read_line().unwrap().unwrap().starts_with(b"220 "));
            wire.write(b"EHLO test\r\n").unwrap();
            let greeting = wire.read_line().unwrap().unwrap();
            assert!(greeting.starts_with(b"250-"), "{greeting:?}");
        }
    }

    #[test]
    fn handshakes_end_as_the_trick_says() {
        let house = House::new();
        for (trick, kind) in [
            (TlsTrick::Reset, io::ErrorKind::ConnectionReset),
            (TlsTrick::Close, io::ErrorKind::UnexpectedEof),
            (TlsTrick::Garbage, io::ErrorKind::InvalidData),
            (TlsTrick::SmallHello(1400), io::ErrorKind::ConnectionReset),
        ] {
            let error = starttls(&house.tricky(trick), house.client()).unwrap_err();
            assert_eq!(error.kind(), kind, "{trick:?}: {error}");
        }
    }

    #[test]
    fn a_small_hello_passes_where_a_large_one_does_not() {
        let house = House::new();
        starttls(&house.tricky(TlsTrick::SmallHello(1400)), house.small_client()).unwrap();
    }

    #[test]
    fn a_stalled_handshake_says_nothing_more() {
        let house = House::new();
        let peer = house.tricky(TlsTrick::Stall);
        let mut socket = TcpStream::connect(peer.address()).unwrap();
        socket.write_all(b"STARTTLS\r\n").unwrap();
        let mut said = Vec::new();
        while !said.ends_with(b"Go ahead\r\n") {
            let mut octet = [0];
            socket.read_exact(&mut octet).unwrap();
            said.push(octet[0]);
        }
        socket.write_all(b"\x16\x03\x01 as if a handshake began").unwrap();
        socket.set_read_timeout(Some(crate::support::postern::QUIET)).unwrap();
        let error = socket.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{error}");
    }

    #[test]
    fn injected_lines_come_in_one_segment_with_the_reply_to_starttls() {
        let house = House::new();
        let peer = house.tricky(TlsTrick::Inject("250 2.0.0 Injected"));
        let mut socket = TcpStream::connect(peer.address()).unwrap();
        let mut octets = [0; 512];
        let greeting = socket.read(&mut octets).unwrap();
        assert!(octets[..greeting].ends_with(b"\r\n"));
        socket.write_all(b"STARTTLS\r\n").unwrap();
        let count = socket.read(&mut octets).unwrap();
        assert_eq!(&octets[..count], b"220 2.0.0 Go ahead\r\n250 2.0.0 Injected\r\n");
    }
}
