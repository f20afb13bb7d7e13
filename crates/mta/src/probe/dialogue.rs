//! A conversation with a server, one command at a time, each step with its own deadline.
//!
//! [`Dialogue`] says a line and reads one whole reply, by the parser that deliveries use. Whatever the other side sends is
//! bounded: a reply by the parser, its time by the [`Clock`]. What it deliberately does not do: decide what to say next, or
//! what a reply means.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use postern_pki::Handshake;
use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::reply::{Reply, ReplyParser};
use postern_smtp::text::clean;
use postern_smtp::tls::{TlsFacts, TlsFailure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout_at;

use crate::outbound::route::Socket;
use crate::outbound::stream::Stream;

const READ_BUFFER: usize = 4096;
/// So many octets of what is no SMTP are shown.
const WORDS_SHOWN: usize = 80;
/// How long a reply to QUIT is waited for.
const FAREWELL: Duration = Duration::from_secs(1);

/// The time that there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    /// For one step.
    pub(crate) step: Duration,
    /// For everything.
    pub(crate) end: Instant,
}

impl Clock {
    /// When a step that begins now must be done.
    pub(crate) fn due(self) -> tokio::time::Instant {
        (Instant::now() + self.step).min(self.end).into()
    }

    /// Whether no time is left.
    pub(crate) fn is_over(self) -> bool {
        Instant::now() >= self.end
    }
}

/// An open conversation.
pub(crate) struct Dialogue {
    stream: Stream,
    parser: ReplyParser,
    unread: BytesMut,
    clock: Clock,
}

impl Dialogue {
    /// Connects.
    ///
    /// # Errors
    /// What the system says; [`io::ErrorKind::TimedOut`] when nobody answers.
    pub(crate) async fn connect(socket: &Socket, source: &[IpAddr], clock: Clock) -> io::Result<Self> {
        let dialing = timeout_at(clock.due(), Stream::dial(socket, source));
        let stream = dialing.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok(Self { stream, parser: ReplyParser::new(), unread: BytesMut::new(), clock })
    }

    /// Says a line and reads the reply.
    ///
    /// # Errors
    /// There is no reply, or it is none.
    pub(crate) async fn command(&mut self, line: &str, step: Step) -> Result<Reply, Trouble> {
        let line = format!("{line}\r\n");
        let saying = timeout_at(self.clock.due(), async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.flush().await
        });
        match saying.await {
            Ok(Ok(())) => self.reply(step).await,
            Ok(Err(_)) => Err(Trouble::new(step, Reason::ConnectionLost)),
            Err(_) => Err(Trouble::new(step, Reason::TimedOut)),
        }
    }

    /// Reads one reply. The deadline is the whole reply's, so that one that trickles in does not hold us up.
    ///
    /// # Errors
    /// There is no reply, or it is none; then the words hold the beginning of what came instead.
    pub(crate) async fn reply(&mut self, step: Step) -> Result<Reply, Trouble> {
        let due = self.clock.due();
        loop {
            if !self.unread.is_empty() {
                let (taken, reply) = self.parser.feed(&self.unread).map_err(|error| {
                    let words = clean(String::from_utf8_lossy(&self.unread).trim_end(), WORDS_SHOWN);
                    Trouble::new(step, Reason::Protocol(format!("{error}: {words:?}")))
                })?;
                self.unread.advance(taken);
                if let Some(reply) = reply {
                    return Ok(reply);
                }
            }
            let mut buffer = [0; READ_BUFFER];
            match timeout_at(due, self.stream.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return Err(Trouble::new(step, Reason::ConnectionLost)),
                Ok(Ok(count)) => self.unread.extend_from_slice(&buffer[..count]),
                Err(_) => return Err(Trouble::new(step, Reason::TimedOut)),
            }
        }
    }

    /// Whether something came behind the last reply that nothing asked for.
    pub(crate) fn has_more(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Does the handshake with the host of this name. What was learnt before it is forgotten (RFC 3207 §4.2).
    ///
    /// # Errors
    /// What went wrong in it.
    pub(crate) async fn secure(
        self,
        handshake: &Handshake,
        name: &str,
    ) -> Result<(Self, TlsFacts), TlsFailure> {
        let clock = self.clock;
        let securing = timeout_at(clock.due(), self.stream.secure(handshake, name));
        let (stream, facts) = securing.await.unwrap_or_else(|_| Err(TlsFailure::stalled()))?;
        Ok((Self { stream, parser: ReplyParser::new(), unread: BytesMut::new(), clock }, facts))
    }

    /// Takes leave, without waiting long.
    pub(crate) async fn quit(mut self) {
        self.clock.step = self.clock.step.min(FAREWELL);
        let _ = self.command("QUIT", Step::Mail).await;
    }
}
