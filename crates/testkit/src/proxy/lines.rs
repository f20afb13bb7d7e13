//! One side of a proxied connection: whole lines while they last, then the stream with all that was not read.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};

/// A longer line is a fault of the test.
const LONGEST: usize = 1024 * 1024;

/// What the first octet of TLS is (RFC 8446 §5.1); no command of SMTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// What comes from a side.
pub(super) enum Coming {
    /// A line with its end.
    Line(Vec<u8>),
    /// TLS, of which nothing was taken yet.
    Tls,
    /// Nothing more.
    End,
}

/// A side that is read in lines.
pub(super) struct Side<S> {
    stream: BufStream<S>,
    line: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Side<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: BufStream::new(stream), line: Vec::new() }
    }

    /// What comes next.
    ///
    /// # Cancel safety
    /// Nothing is lost: the beginning of a line is kept here.
    pub(super) async fn next(&mut self) -> io::Result<Coming> {
        loop {
            let octets = self.stream.fill_buf().await?;
            match octets.first() {
                None => return Ok(Coming::End),
                Some(&HANDSHAKE) if self.line.is_empty() => return Ok(Coming::Tls),
                Some(_) => {}
            }
            let end = octets.iter().position(|&octet| octet == b'\n').map(|at| at + 1);
            let count = end.unwrap_or(octets.len());
            self.line.extend_from_slice(&octets[..count]);
            self.stream.consume(count);
            if end.is_some() {
                return Ok(Coming::Line(std::mem::take(&mut self.line)));
            }
            if self.line.len() > LONGEST {
                return Err(io::Error::other("the line has no end"));
            }
        }
    }

    pub(super) async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }

    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// What is left, the octets that were received and not read among it.
    pub(super) fn into_stream(self) -> BufStream<S> {
        self.stream
    }
}
