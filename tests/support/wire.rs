//! A connection with lines, in clear or with TLS, for the scripted client and the scripted peer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use super::PATIENCE;
use super::tls_server::{OpenSsl, Proxied, handshake, read_record, reset_on_close};

pub struct Wire {
    socket: Socket,
    pending: Vec<u8>,
    /// How much of `pending` was already handed out.
    read: usize,
}

enum Socket {
    Plain(TcpStream),
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
    Proxied(Box<Proxied>),
    Gone,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Wire { socket: Socket::Plain(stream), pending: Vec::new(), read: 0 }
    }

    /// Begins TLS as the client and completes the handshake.
    pub fn connect_tls(&mut self, config: Arc<ClientConfig>, name: &str) -> io::Result<()> {
        let mut stream = self.take_plain();
        let mut session =
            ClientConnection::new(config, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        self.socket = Socket::Client(Box::new(StreamOwned::new(session, stream)));
        Ok(())
    }

    /// Begins TLS as the server and completes the handshake.
    pub fn accept_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        self.continue_tls(config, &[])
    }

    /// As [`accept_tls`](Wire::accept_tls), but resets the connection when the ClientHello is longer than `limit`.
    pub fn accept_small_hello(&mut self, config: Arc<ServerConfig>, limit: usize) -> io::Result<()> {
        let hello = self.read_hello()?;
        if hello.len() > limit {
            return self.reset();
        }
        self.continue_tls(config, &hello)
    }

    /// The whole ClientHello: nothing is left unread that would turn an orderly close into a reset.
    pub fn read_hello(&mut self) -> io::Result<Vec<u8>> {
        read_record(self.stream())
    }

    /// Leaves TLS to OpenSSL.
    pub fn accept_tls_by(&mut self, openssl: &OpenSsl) {
        self.socket = Socket::Proxied(Box::new(openssl.accept(self.take_plain())));
    }

    /// Breaks the connection off: the other side sees a reset. An error always, since nothing is left to do.
    pub fn reset(&mut self) -> io::Result<()> {
        reset_on_close(&self.take_plain())?;
        Err(io::ErrorKind::ConnectionReset.into())
    }

    pub fn is_tls(&self) -> bool {
        !matches!(self.socket, Socket::Plain(_))
    }

    /// The next line with its CRLF; `None` when the other side has closed.
    pub fn read_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.pending[self.read..].windows(2).position(|pair| pair == b"\r\n") {
                return Ok(Some(self.take(end + 2)));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Up to and including the line with the single dot, dots unstuffed, the dot line left out.
    pub fn read_content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        while let Some(line) = self.read_line()? {
            match line.as_slice() {
                b".\r\n" => return Ok(Some(content)),
                [b'.', rest @ ..] => content.extend_from_slice(rest),
                _ => content.extend_from_slice(&line),
            }
        }
        Ok(None)
    }

    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        let stream = self.stream();
        stream.write_all(octets)?;
        stream.flush()
    }

    /// Waits until the other side has sent anything.
    pub fn wait_for_something(&mut self) -> io::Result<bool> {
        self.fill()
    }

    fn continue_tls(&mut self, config: Arc<ServerConfig>, begun: &[u8]) -> io::Result<()> {
        let mut stream = self.take_plain();
        let session = handshake(config, begun, &mut stream)?;
        self.socket = Socket::Server(Box::new(StreamOwned::new(session, stream)));
        Ok(())
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.pending[self.read..self.read + count].to_vec();
        self.read += count;
        taken
    }

    fn fill(&mut self) -> io::Result<bool> {
        self.pending.drain(..self.read);
        self.read = 0;
        let mut chunk = [0_u8; 16384];
        let count = match self.stream().read(&mut chunk) {
            Ok(count) => count,
            Err(error) if closes(&error) => 0,
            Err(error) => return Err(error),
        };
        self.pending.extend_from_slice(&chunk[..count]);
        Ok(count > 0)
    }

    fn stream(&mut self) -> &mut dyn Stream {
        match &mut self.socket {
            Socket::Plain(stream) => stream,
            Socket::Client(stream) => stream.as_mut(),
            Socket::Server(stream) => stream.as_mut(),
            Socket::Proxied(stream) => stream.as_mut(),
            Socket::Gone => panic!("the connection was lost in an earlier handshake"),
        }
    }

    fn take_plain(&mut self) -> TcpStream {
        match std::mem::replace(&mut self.socket, Socket::Gone) {
            Socket::Plain(stream) => stream,
            _ => panic!("TLS was begun twice"),
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

fn closes(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
