//! The connection itself: TCP, TLS over it, or a socket on this machine.
//!
//! [`Stream`] connects, becomes encrypted, and is read and written like any other. What it deliberately does not do: speak
//! SMTP, or judge whom it is connected to; the verdict of a handshake is in the facts that [`Stream::secure`] gives.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use postern_pki::Handshake;
use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::text::without_os_code;
use postern_smtp::tls::{TlsFacts, TlsFailure, TlsFault};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::route::Socket;

/// RFC 5321 has no limit for connecting; operating systems try for minutes, which is longer than it is worth.
const CONNECT: Duration = Duration::from_secs(30);
/// A stalled handshake counts as failed after this.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// A connection in clear, under TLS, or on this machine.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl Stream {
    /// Connects, from one of our own addresses when some are named.
    ///
    /// # Errors
    /// There is no connection within half a minute.
    pub(crate) async fn connect(socket: &Socket, source: &[IpAddr]) -> Result<Self, Trouble> {
        let connecting = Self::dial(socket, source);
        let connected =
            timeout(CONNECT, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|error: io::Error| {
            Trouble::new(Step::Connect, Reason::ConnectFailed(without_os_code(error)))
        })
    }

    /// Connects, and waits for as long as the system does.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn dial(socket: &Socket, source: &[IpAddr]) -> io::Result<Self> {
        match socket {
            Socket::Tcp(address) => Self::connect_tcp(*address, source).await,
            Socket::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
        }
    }

    /// From our address of the same family, when the connector names one.
    async fn connect_tcp(address: SocketAddr, source: &[IpAddr]) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(source) = source.iter().find(|source| source.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(*source, 0)).map_err(|error| {
                io::Error::new(error.kind(), format!("our address {source} cannot be used: {error}"))
            })?;
        }
        let stream = socket.connect(address).await?;
        let _ = stream.set_nodelay(true);
        Ok(Self::Tcp(stream))
    }

    /// Our end of the connection.
    pub(crate) fn local_address(&self) -> Option<IpAddr> {
        let stream = match self {
            Self::Tcp(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            Self::Unix(_) => return None,
        };
        stream.local_addr().ok().map(|address| address.ip())
    }

    /// Does the handshake with the host of this name.
    ///
    /// # Errors
    /// What went wrong in it; it counts as stalled after half a minute.
    pub(crate) async fn secure(
        self,
        handshake: &Handshake,
        host: &str,
    ) -> Result<(Self, TlsFacts), TlsFailure> {
        let failed = |why: String| TlsFailure::new(TlsFault::Handshake, why);
        let Self::Tcp(stream) = self else {
            return Err(failed("TLS is not spoken on a local socket".into()));
        };
        let name = postern_pki::server_name(host.trim_matches(['[', ']']).trim_start_matches("IPv6:"))
            .map_err(|error| failed(error.to_string()))?;
        let connecting = TlsConnector::from(handshake.config()).connect(name, stream);
        let stream = match timeout(HANDSHAKE, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(handshake.failure(&error)),
            Err(_) => return Err(TlsFailure::stalled()),
        };
        let facts = handshake.facts(stream.get_ref().1);
        Ok((Self::Tls(Box::new(stream)), facts))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
