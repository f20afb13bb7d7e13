//! A client's byte stream, before and after STARTTLS.
//!
//! The types to know: [`Stream`], in clear or under TLS; [`Tap`], what came in during a handshake, so that what the client
//! offered is known whether the handshake succeeded or not.
//!
//! What it deliberately does not do: keep anything of what comes in before a handshake or after it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use postern_pki::{ACME_TLS, Shown, noted};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};

use super::listener::ServerTls;
use super::opening::HELLO_MOST;

/// A connection in clear or under TLS.
pub(crate) enum Stream {
    /// In clear.
    Clear(TcpStream),
    /// Under TLS.
    Tls(Box<Secured>),
}

/// A connection under TLS, and the certificate that was shown on it.
pub(crate) struct Secured {
    stream: TlsStream<Tapped>,
    shown: Shown,
}

/// What came in during a handshake, up to [`HELLO_MOST`] octets, and which certificate was shown in it: known also where it
/// fails. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Tap {
    octets: Arc<Mutex<Vec<u8>>>,
    shown: Arc<OnceLock<Shown>>,
}

impl Tap {
    /// What came in so far.
    pub(super) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.octets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the certificate that was shown bears this name.
    pub(super) fn bears(&self, name: &str) -> Option<bool> {
        self.shown.get()?.bears(name)
    }

    /// What is shown from here on, so that it can be asked afterwards.
    fn watch(&self, shown: &Shown) {
        let _ = self.shown.set(shown.clone());
    }

    fn note(&self, octets: &[u8]) {
        let mut noted = self.octets.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HELLO_MOST.saturating_sub(noted.len());
        noted.extend_from_slice(&octets[..octets.len().min(room)]);
    }
}

/// A socket under TLS. Only while the handshake lasts it has a tap.
struct Tapped {
    socket: TcpStream,
    tap: Option<Tap>,
}

impl Stream {
    /// Does the handshake. A stream that is already under TLS is a bug of the caller and an error.
    pub(super) async fn start_tls(self, tls: &ServerTls, tap: Tap) -> io::Result<Self> {
        let Self::Clear(socket) = self else { return Err(io::Error::other("TLS is already started")) };
        let tapped = Tapped { socket, tap: Some(tap.clone()) };
        let (mut stream, shown) = if tls.challenges.are_open() {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), tapped).await?;
            let (config, shown) = noted(&tls.config_for(&hello.client_hello()));
            tap.watch(&shown);
            (hello.into_stream(config).await?, shown)
        } else {
            let (config, shown) = noted(&tls.config);
            tap.watch(&shown);
            (TlsAcceptor::from(config).accept(tapped).await?, shown)
        };
        stream.get_mut().0.tap = None;
        Ok(Self::Tls(Box::new(Secured { stream, shown })))
    }

    /// The certificate that was shown, when there is TLS.
    pub(crate) fn shown(&self) -> Option<&Shown> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(secured) => Some(&secured.shown),
        }
    }

    /// Whether the handshake was an ACME authority's, which has no other use for the connection (RFC 8737 §3).
    pub(crate) fn is_validation(&self) -> bool {
        self.tls().is_some_and(|connection| connection.alpn_protocol() == Some(ACME_TLS))
    }

    /// The TLS connection, when there is one.
    pub(crate) fn tls(&self) -> Option<&rustls::ServerConnection> {
        match self {
            Self::Clear(_) => None,
            Self::Tls(secured) => Some(secured.stream.get_ref().1),
        }
    }

    /// Writes all and hands it to the network.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes).await?;
        self.flush().await
    }

    /// Ends our side, then throws away what the client still sends until it ends its own. Closing a socket over octets
    /// that nobody has read resets the connection (RFC 1122 §4.2.2.13), and the client could lose our last reply.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.shutdown().await?;
        let socket = match self {
            Self::Clear(socket) => socket,
            Self::Tls(secured) => &mut secured.stream.get_mut().0.socket,
        };
        loop {
            socket.readable().await?;
            match socket.try_read(&mut [0; 4096]) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(secured) => Pin::new(&mut secured.stream).poll_shutdown(cx),
        }
    }
}

impl AsyncRead for Tapped {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { socket, tap } = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(socket).poll_read(cx, buf);
        if let Some(tap) = tap {
            tap.note(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
