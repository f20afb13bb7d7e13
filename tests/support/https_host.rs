//! An HTTPS host: MTA-STS policies and OAuth tokens come from it, TLS reports go to it.
//!
//! Each connection is one request and one [`Answer`] by the script; [`HttpsHost::requests`] tells what came in. It serves on port
//! 443 of a loopback address of its own, as policy hosts must, and so needs root; it stops when dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::certificates::Identity;
use super::{PATIENCE, is_root, names};

/// A request has no more octets than this.
const REQUEST_MOST: usize = 64 * 1024;

/// What came in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The host that was asked for.
    pub host: String,
    /// Method and target.
    pub what: String,
    pub media_type: String,
    pub body: Vec<u8>,
}

/// What is said to it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: &'static str,
    /// Header fields, each with its CRLF.
    pub head: String,
    pub body: String,
}

type Script = dyn Fn(&Request) -> Answer + Send + Sync;

pub struct HttpsHost {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    tls: Arc<ServerConfig>,
    script: Box<Script>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

impl Request {
    /// The body, of which the script knows that it is text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

impl Answer {
    /// A text file, as policies are.
    pub fn text(body: impl Into<String>) -> Answer {
        Answer { status: "200 OK", head: "Content-Type: text/plain\r\n".to_owned(), body: body.into() }
    }

    /// A JSON object, as token endpoints answer.
    pub fn json(status: &'static str, body: impl Into<String>) -> Answer {
        Answer { status, head: "Content-Type: application/json\r\n".to_owned(), body: body.into() }
    }
}

impl HttpsHost {
    pub fn start(
        identity: &Identity,
        script: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> HttpsHost {
        assert!(is_root(), "port 443 is for root: run this test as root, as CI does");
        let listener = TcpListener::bind((names::address(), 443)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            tls: identity.server_config(),
            script: Box::new(script),
            requests: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept(&listener, &accepting));
        HttpsHost { address, shared, acceptor: Some(acceptor) }
    }

    pub fn ip(&self) -> Ipv4Addr {
        match self.address {
            SocketAddr::V4(address) => *address.ip(),
            SocketAddr::V6(address) => panic!("{address} was not asked for"),
        }
    }

    /// What came in so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }
}

impl Drop for HttpsHost {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        // The port is closed when this returns.
        drop(self.acceptor.take().map(JoinHandle::join));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let shared = Arc::clone(shared);
        // Whoever does not trust the certificate goes away in the handshake.
        thread::spawn(move || drop(shared.serve(stream)));
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let session = ServerConnection::new(Arc::clone(&self.tls)).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        let request = read_request(&mut stream)?;
        self.requests.lock().unwrap().push(request.clone());
        let Answer { status, head, body } = (self.script)(&request);
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )?;
        stream.conn.send_close_notify();
        stream.flush()
    }
}

fn read_request(stream: &mut impl Read) -> io::Result<Request> {
    let mut octets = Vec::new();
    let head_end = read_until(stream, &mut octets, |octets| {
        octets.windows(4).position(|four| four == b"\r\n\r\n").map(|end| end + 4)
    })?;
    let head = String::from_utf8_lossy(&octets[..head_end]).into_owned();
    let field = |name: &str| {
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let length: usize = field("content-length").map_or(0, |length| length.parse().unwrap());
    let end = read_until(stream, &mut octets, |octets| {
        (octets.len() >= head_end + length).then_some(head_end + length)
    })?;
    let line = head.lines().next().unwrap_or_default();
    Ok(Request {
        host: field("host").unwrap_or_default().to_owned(),
        what: line.trim_end_matches(" HTTP/1.1").to_owned(),
        media_type: field("content-type").unwrap_or_default().to_owned(),
        body: octets[head_end..end].to_vec(),
    })
}

fn read_until(
    stream: &mut impl Read,
    octets: &mut Vec<u8>,
    found: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    while octets.len() < REQUEST_MOST {
        if let Some(end) = found(octets) {
            return Ok(end);
        }
        match stream.read(&mut chunk)? {
            0 => break,
            count => octets.extend_from_slice(&chunk[..count]),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}
