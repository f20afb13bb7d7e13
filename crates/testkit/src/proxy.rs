//! What stands between a mail program and its server: middleboxes, virus scanners, bad lines.
//!
//! [`Proxy::start`] listens on a loopback port, connects to the server for each client, and plays one [`Trick`]: it hides or
//! overwrites STARTTLS, garbles EHLO, masks the banner, opens TLS with a certificate of its own, cuts a connection or lets it
//! starve. [`Proxy::root`] is the authority of that certificate, for programs that are to trust it.
//!
//! It works line by line until TLS begins, and passes octets on from there. It runs on a thread of its own, so that tests with
//! and without a runtime use it alike, and ends when dropped.
//!
//! What it deliberately does not do: keep what passed. The server under test tells what it saw.

mod identity;
mod lines;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use identity::Identity;
use lines::{Coming, Side};

/// Octets that are read at once where they are counted.
const CHUNK: usize = 4096;

/// What a proxy does to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// Nothing: all passes as it comes.
    Nothing,
    /// Leaves STARTTLS out of the replies to EHLO.
    HidesStartTls,
    /// Writes `XXXXXXXA` over STARTTLS in the replies to EHLO, and `XXXX` over the command, as old firewalls do.
    OverwritesStartTls,
    /// Answers STARTTLS itself with this line, without its CRLF; the server never hears of it.
    AnswersStartTls(&'static str),
    /// Writes `XXXX` over EHLO.
    GarblesEhlo,
    /// Writes asterisks over the banner.
    MasksBanner,
    /// Ends TLS of either kind with its own certificate, as virus scanners do, and goes on like this to the server.
    OpensTls(Onward),
    /// Closes both sides in order after so many octets from the client.
    CutsAfter(usize),
    /// Passes so many octets from the client on, and loses all that come behind them. Neither side hears of it.
    LosesAfter(usize),
}

/// How a proxy that opens TLS speaks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onward {
    /// In clear.
    Clear,
    /// With TLS, begun as the client began it. It takes every certificate.
    Tls,
}

/// A running proxy; it stops, and breaks off what goes on, when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    root: String,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What is played, before which server, and with what.
struct Play {
    from: Ipv4Addr,
    server: SocketAddr,
    trick: Trick,
    identity: Identity,
    connections: Arc<AtomicUsize>,
}

/// What is expected from the server next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Banner,
    Hello,
    StartTls,
    Other,
}

/// How a session in lines goes on.
enum Next {
    /// With the next line.
    Line,
    /// The lines are over: TLS begins, or somebody has closed.
    Octets,
    /// The client wants TLS, and this proxy gives it.
    Open(Begun),
}

/// How a client began TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    AtOnce,
    StartTls,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 for a server at `server`.
    ///
    /// # Panics
    /// When the system has no port, no thread or no randomness.
    pub fn start(server: SocketAddr, trick: Trick) -> Self {
        Self::start_from(Ipv4Addr::LOCALHOST, server, trick)
    }

    /// As [`start`](Proxy::start), but comes to the server from this address of loopback, by which the server tells the
    /// proxy's clients from others.
    ///
    /// # Panics
    /// As [`start`](Proxy::start).
    pub fn start_from(from: Ipv4Addr, server: SocketAddr, trick: Trick) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("an address");
        let (identity, connections) = (Identity::new(), Arc::<AtomicUsize>::default());
        let root = identity.root.clone();
        let play = Play { from, server, trick, identity, connections: Arc::clone(&connections) };
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, Arc::new(play)) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, root, connections, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The authority of the certificate that it shows, as PEM. The certificate is for `localhost` and 127.0.0.1.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// How many connections to the server it has made, or tried to make.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Dropping the sender is the signal.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was printed already.
            drop(thread.join());
        }
    }
}

async fn accept(listener: TcpListener, play: Arc<Play>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let mut sessions = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        let play = Arc::clone(&play);
        sessions.spawn(async move {
            // Whoever goes away while it is served, goes; a test sees that at its own end.
            drop(play.serve(client).await);
        });
        while sessions.try_join_next().is_some() {}
    }
}

impl Play {
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let mut server = self.connect().await?;
        client.set_nodelay(true)?;
        match self.trick {
            Trick::Nothing => copy_bidirectional(&mut client, &mut server).await.map(drop),
            Trick::CutsAfter(count) => cut_after(client, server, count).await,
            Trick::LosesAfter(count) => lose_after(client, server, count).await,
            _ => self.relay(Side::new(client), Side::new(server)).await,
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.from, 0).into())?;
        // Before the server can know of it, so that nobody sees a session that is not counted.
        self.connections.fetch_add(1, Ordering::SeqCst);
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Passes lines on, changed as the trick says, until they are over.
    async fn relay(&self, mut client: Side<TcpStream>, mut server: Side<TcpStream>) -> io::Result<()> {
        let mut awaited = Awaited::Banner;
        loop {
            let next = tokio::select! {
                coming = client.next() => match coming? {
                    Coming::Line(line) => self.command(&line, &mut awaited, &mut client, &mut server).await?,
                    Coming::Tls if matches!(self.trick, Trick::OpensTls(_)) => Next::Open(Begun::AtOnce),
                    Coming::Tls | Coming::End => Next::Octets,
                },
                coming = server.next() => match coming? {
                    Coming::Line(line) => self.reply(line, awaited, &mut client).await?,
                    Coming::Tls | Coming::End => Next::Octets,
                },
            };
            match next {
                Next::Line => {}
                Next::Octets => return pass_on(client, server).await,
                Next::Open(begun) => return self.open(begun, client, server).await,
            }
        }
    }

    async fn command(
        &self,
        line: &[u8],
        awaited: &mut Awaited,
        client: &mut Side<TcpStream>,
        server: &mut Side<TcpStream>,
    ) -> io::Result<Next> {
        *awaited = Awaited::after(line);
        match (self.trick, *awaited) {
            (Trick::AnswersStartTls(reply), Awaited::StartTls) => {
                *awaited = Awaited::Other;
                client.write(format!("{reply}\r\n").as_bytes()).await?;
            }
            (Trick::OpensTls(_), Awaited::StartTls) => return Ok(Next::Open(Begun::StartTls)),
            (Trick::GarblesEhlo, Awaited::Hello) if begins(line, "EHLO") => {
                server.write(&[b"XXXX", &line[4..]].concat()).await?;
            }
            (Trick::OverwritesStartTls, Awaited::StartTls) => server.write(b"XXXX\r\n").await?,
            _ => server.write(line).await?,
        }
        Ok(Next::Line)
    }

    async fn reply(&self, line: Vec<u8>, awaited: Awaited, client: &mut Side<TcpStream>) -> io::Result<Next> {
        let line = match (self.trick, awaited) {
            (Trick::MasksBanner, Awaited::Banner) => masked(&line),
            (Trick::OverwritesStartTls, Awaited::Hello) => without_starttls(&line, Some("XXXXXXXA")),
            (Trick::HidesStartTls, Awaited::Hello) => without_starttls(&line, None),
            _ => line,
        };
        client.write(&line).await?;
        let agreed = awaited == Awaited::StartTls && begins(&line, "220 ");
        Ok(if agreed { Next::Octets } else { Next::Line })
    }

    /// Opens TLS of the client, the server's side first.
    async fn open(
        &self,
        begun: Begun,
        mut client: Side<TcpStream>,
        mut server: Side<TcpStream>,
    ) -> io::Result<()> {
        if self.trick == Trick::OpensTls(Onward::Clear) {
            let client = self.accept_tls(begun, client).await?;
            return hide_starttls(Side::new(client), server).await;
        }
        if begun == Begun::StartTls {
            server.write(b"STARTTLS\r\n").await?;
            let Coming::Line(reply) = server.next().await? else { return client.close().await };
            if !begins(&reply, "220 ") {
                client.write(&reply).await?;
                return pass_on(client, server).await;
            }
        }
        let connector = TlsConnector::from(Arc::clone(&self.identity.client));
        let mut server = connector.connect(identity::name(), server.into_stream()).await?;
        let mut client = self.accept_tls(begun, client).await?;
        copy_bidirectional(&mut client, &mut server).await.map(drop)
    }

    async fn accept_tls(
        &self,
        begun: Begun,
        mut client: Side<TcpStream>,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Unpin> {
        if begun == Begun::StartTls {
            client.write(b"220 2.0.0 Go ahead\r\n").await?;
        }
        TlsAcceptor::from(Arc::clone(&self.identity.server)).accept(client.into_stream()).await
    }
}

impl Awaited {
    /// What follows a command.
    fn after(line: &[u8]) -> Self {
        if begins(line, "EHLO") || begins(line, "HELO") {
            Self::Hello
        } else if begins(line, "STARTTLS") {
            Self::StartTls
        } else {
            Self::Other
        }
    }
}

/// Whether a line begins so, whatever the case of its letters.
fn begins(line: &[u8], word: &str) -> bool {
    line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

/// A banner of which the code alone can be read.
fn masked(line: &[u8]) -> Vec<u8> {
    let mask = |(index, &octet): (usize, &u8)| {
        if index < 4 || octet.is_ascii_whitespace() { octet } else { b'*' }
    };
    line.iter().enumerate().map(mask).collect()
}

/// A line of a reply to EHLO with `instead` in the place of STARTTLS, or nothing in its place. What follows the last line of a
/// reply cannot be left out: it becomes a keyword that nobody knows.
fn without_starttls(line: &[u8], instead: Option<&str>) -> Vec<u8> {
    if !line.get(4..).is_some_and(|keyword| begins(keyword, "STARTTLS")) {
        return line.to_vec();
    }
    match (instead, line[3]) {
        (Some(word), _) => [&line[..4], word.as_bytes(), b"\r\n"].concat(),
        (None, b'-') => Vec::new(),
        (None, _) => [&line[..4], b"XNOTHING\r\n"].concat(),
    }
}

/// Passes octets on until both sides have closed.
async fn pass_on(client: Side<TcpStream>, server: Side<TcpStream>) -> io::Result<()> {
    let (mut client, mut server) = (client.into_stream(), server.into_stream());
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// Passes lines on from TLS to a server in clear, and keeps from the client that TLS could be begun there.
async fn hide_starttls(
    mut client: Side<impl AsyncRead + AsyncWrite + Unpin>,
    mut server: Side<TcpStream>,
) -> io::Result<()> {
    loop {
        tokio::select! {
            coming = client.next() => match coming? {
                Coming::Line(line) => server.write(&line).await?,
                Coming::Tls | Coming::End => return server.close().await,
            },
            coming = server.next() => match coming? {
                Coming::Line(line) => client.write(&without_starttls(&line, None)).await?,
                Coming::Tls | Coming::End => return client.close().await,
            },
        }
    }
}

async fn cut_after(mut client: TcpStream, mut server: TcpStream, count: usize) -> io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    tokio::select! {
        passed = pass_some(&mut from_client, &mut to_server, count) => passed?,
        copied = tokio::io::copy(&mut from_server, &mut to_client) => drop(copied?),
    }
    server.shutdown().await?;
    client.shutdown().await
}

async fn lose_after(mut client: TcpStream, mut server: TcpStream, count: usize) -> io::Result<()> {
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let lost = async {
        pass_some(&mut from_client, &mut to_server, count).await?;
        tokio::io::copy(&mut from_client, &mut tokio::io::sink()).await?;
        // Not even that the client has gone passes.
        std::future::pending::<io::Result<()>>().await
    };
    tokio::select! {
        ended = lost => ended,
        copied = tokio::io::copy(&mut from_server, &mut to_client) => copied.map(drop),
    }
}

/// Passes so many octets on, or fewer when there are no more.
async fn pass_some(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    count: usize,
) -> io::Result<()> {
    let (mut left, mut octets) = (count, [0; CHUNK]);
    while left > 0 {
        let most = left.min(CHUNK);
        let read = from.read(&mut octets[..most]).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&octets[..read]).await?;
        left -= read;
    }
    to.flush().await
}

#[cfg(test)]
mod tests;
