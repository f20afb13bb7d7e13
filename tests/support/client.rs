//! A scripted SMTP client: says exactly what it is told to, in the order it is told.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::certificates::client_config;
use super::wire::Wire;

/// One SMTP session, as a client.
pub struct Client {
    wire: Wire,
}

/// A reply, its lines without their code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Reply {
    /// The code and the last line's text, as it stood on the wire.
    pub fn text(&self) -> String {
        format!("{} {}", self.code, self.lines.last().unwrap())
    }

    /// Asserts the code and hands the reply on.
    #[track_caller]
    pub fn expect(self, code: u16) -> Reply {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Whether an EHLO reply lists the extension.
    pub fn offers(&self, keyword: &str) -> bool {
        self.lines.iter().any(|line| line.split(' ').next() == Some(keyword))
    }
}

impl Client {
    /// Connects without reading the greeting.
    pub fn dial(address: SocketAddr) -> Client {
        Client { wire: Wire::new(TcpStream::connect(address).unwrap()) }
    }

    /// Connects and reads the greeting.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Client {
        let mut client = Client::dial(address);
        client.reply().expect(220);
        client
    }

    /// Connects, says EHLO, STARTTLS and EHLO.
    #[track_caller]
    pub fn connect_starttls(address: SocketAddr, root: &Path, name: &str) -> Client {
        Client::dial(address).starttls(root, name)
    }

    /// Connects as a front end does for a client at `from`, without reading the greeting.
    #[track_caller]
    pub fn dial_for(from: &str, address: SocketAddr) -> Client {
        let mut client = Client::dial(address);
        client.send(format!("PROXY TCP4 {from} 127.0.0.1 5000 25\r\n").as_bytes());
        client
    }

    /// Begins TLS and completes the handshake; says nothing.
    #[track_caller]
    pub fn secure(&mut self, root: &Path, name: &str) {
        self.wire.connect_tls(client_config(root), name).unwrap();
    }

    /// Reads the greeting, says EHLO, STARTTLS and EHLO.
    #[track_caller]
    pub fn starttls(mut self, root: &Path, name: &str) -> Client {
        let client = &mut self;
        client.reply().expect(220);
        client.say("EHLO client.test").expect(250);
        client.say("STARTTLS").expect(220);
        client.wire.connect_tls(client_config(root), name).unwrap();
        client.say("EHLO client.test").expect(250);
        self
    }

    /// Connects with TLS from the first octet, reads the greeting and says EHLO.
    #[track_caller]
    pub fn connect_implicit(address: SocketAddr, root: &Path, name: &str) -> Client {
        let mut client = Client::dial(address);
        client.wire.connect_tls(client_config(root), name).unwrap();
        client.reply().expect(220);
        client.say("EHLO client.test").expect(250);
        client
    }

    /// Whether the server at `address` presents, after STARTTLS, a certificate for `name` that `root` vouches for.
    pub fn is_presented(address: SocketAddr, root: &Path, name: &str) -> bool {
        let mut client = Client::connect(address);
        client.say("EHLO client.test").expect(250);
        client.say("STARTTLS").expect(220);
        client.wire.connect_tls(client_config(root), name).is_ok()
    }

    /// Says one line and reads the reply.
    #[track_caller]
    pub fn say(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Sends octets as they are.
    #[track_caller]
    pub fn send(&mut self, octets: &[u8]) {
        self.wire.write(octets).unwrap();
    }

    /// Sends octets as they are, to a server that may already have hung up.
    pub fn try_send(&mut self, octets: &[u8]) -> bool {
        self.wire.write(octets).is_ok()
    }

    /// Reads one reply.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        self.try_reply().expect("the server closed the connection instead of replying")
    }

    /// Reads one reply; `None` when the server has closed.
    #[track_caller]
    pub fn try_reply(&mut self) -> Option<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = String::from_utf8(self.wire.read_line().unwrap()?).unwrap();
            let (code, rest) = line.trim_end_matches("\r\n").split_at(3);
            lines.push(rest[1..].to_owned());
            if !rest.starts_with('-') {
                return Some(Reply { code: code.parse().unwrap(), lines });
            }
        }
    }

    /// AUTH PLAIN with an initial response.
    #[track_caller]
    pub fn sign_in(&mut self, user: &str, password: &str) -> Reply {
        let response = STANDARD.encode(format!("\0{user}\0{password}"));
        self.say(&format!("AUTH PLAIN {response}"))
    }

    /// A whole transaction with DATA; the reply to the content, or the first refusal.
    #[track_caller]
    pub fn deliver(&mut self, from: &str, to: &[&str], content: &[u8]) -> Reply {
        self.say(&format!("MAIL FROM:<{from}>")).expect(250);
        for recipient in to {
            let reply = self.say(&format!("RCPT TO:<{recipient}>"));
            if reply.code != 250 {
                return reply;
            }
        }
        self.say("DATA").expect(354);
        self.send(&stuffed(content));
        self.reply()
    }
}

/// Content as it goes over the wire after DATA: dots doubled, ended with a dot on a line.
pub fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(content.len() + 1024);
    for line in content.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !wire.is_empty() && !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
