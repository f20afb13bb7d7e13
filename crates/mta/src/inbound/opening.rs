//! How a connection begins: with a banner, or with TLS, as the client will have it.
//!
//! The types to know:
//! - [`Start`]: what a listener does when somebody connects. [`Start::Either`] looks first; the others are fixed.
//! - [`Either`]: looks at one connection, within [`Silences`], and knows its client's [`Habits`]. It never takes an octet
//!   from the connection: what it sees stays for the handshake or the session.
//! - [`First`]: what a client says first behind a banner, gathered until it is clear what it is.
//!
//! Nothing that a client does here lets it do more: a session that begins in clear must start TLS before anything else
//! either way.
//!
//! What it deliberately does not do: TLS, or SMTP.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::sys::socket::{MsgFlags, recv};
use postern_smtp::tls::TlsOffer;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::connection::draining;
use super::habits::{Habit, Habits};
use crate::config::Greets;
use crate::daemon::Phase;
use crate::session::Opening;

/// What is done when somebody connects.
#[derive(Debug)]
pub(super) enum Start {
    /// The banner comes at once.
    Banner,
    /// The handshake comes at once.
    Tls,
    /// The client decides.
    Either(Either),
}

/// A connection whose client decides.
#[derive(Debug)]
pub(super) struct Either {
    /// What the port expects.
    pub(super) greets: Greets,
    /// The client; behind a load balancer that tells it, the real one.
    pub(super) client: IpAddr,
    pub(super) habits: Arc<Habits>,
    pub(super) silences: Silences,
}

/// How long nothing is said, so that the client can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Silences {
    /// To a client that is known to begin otherwise than its port expects.
    pub(super) known: Duration,
    /// To all others, where TLS is expected.
    pub(super) unknown: Duration,
}

impl Start {
    /// Whoever wants to know what the client says first.
    pub(super) fn either(self) -> Option<Either> {
        match self {
            Self::Either(either) => Some(either),
            Self::Banner | Self::Tls => None,
        }
    }
}

impl Silences {
    /// Before a banner: a ClientHello follows the last packet of TCP's own handshake at once, so that a second is enough for it
    /// on slow networks, and too short to be noticed by whoever shares an address with somebody whose setting is wrong.
    ///
    /// Where TLS is expected, the ClientHello may have to be sent again after 1, 3 and 7 seconds (RFC 6298 §2.1, §5.5): who has
    /// sent none in ten seconds is not about to. Mail programs wait for a banner at least three times as long. Three seconds
    /// are enough for the first repetition and a round trip over a satellite: a neighbour of somebody who waits for banners
    /// must lose two packets to get one himself.
    pub(super) fn on(greets: Greets) -> Self {
        let known = match greets {
            Greets::InClear => Duration::from_secs(1),
            Greets::AfterTls => Duration::from_secs(3),
        };
        Self { known, unknown: Duration::from_secs(10) }
    }
}

/// What comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// The banner, in clear.
    Banner,
    /// The handshake.
    Tls,
}

/// What the client did while nothing was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Did {
    /// It sent what can only be a ClientHello.
    Hello,
    /// It sent something else.
    Talk,
    /// It closed, or the connection broke.
    Leave,
    /// Nothing, and the time is up.
    Wait,
    /// Nothing, and we shut down.
    Drained,
}

impl Either {
    /// Looks what the client begins with. Where a banner is expected, clients that are not known for anything else cost no
    /// time.
    pub(super) async fn look(&self, stream: &TcpStream, phase: &mut watch::Receiver<Phase>) -> Begin {
        match self.greets {
            Greets::InClear => self.before_banner(stream, phase).await,
            Greets::AfterTls => self.before_tls(stream, phase).await,
        }
    }

    async fn before_banner(&self, stream: &TcpStream, phase: &mut watch::Receiver<Phase>) -> Begin {
        let did = if self.is_known(Habit::TlsAtOnce) {
            within(self.silences.known, stream, phase).await
        } else {
            glance(stream)
        };
        if did != Did::Hello {
            return Begin::Banner;
        }
        self.remember(Habit::TlsAtOnce);
        Begin::Tls
    }

    async fn before_tls(&self, stream: &TcpStream, phase: &mut watch::Receiver<Phase>) -> Begin {
        let waits = self.is_known(Habit::WaitsForBanner) && !self.is_known(Habit::TlsAsExpected);
        let silence = if waits { self.silences.known } else { self.silences.unknown };
        match within(silence, stream, phase).await {
            // Only the long silence shows what a client is: a short one may have been too short for it.
            Did::Wait => {
                if !waits {
                    self.remember(Habit::WaitsForBanner);
                }
                return Begin::Banner;
            }
            Did::Hello => self.began_as_expected(),
            // Who leaves has shown nothing: it may only have looked whether somebody answers, or have been cut off.
            Did::Leave | Did::Talk | Did::Drained => {}
        }
        // What is no TLS, and an end, are for the handshake to tell.
        Begin::Tls
    }

    /// What the client said first behind the banner is this.
    fn spoke(&self, opening: &Opening) {
        match (self.greets, opening) {
            (Greets::InClear, Opening::Tls) => self.remember(Habit::TlsAtOnce),
            (Greets::InClear, Opening::Words) => self.habits.forget(self.client, Habit::TlsAtOnce),
            // It is a slow client of TLS, and was taken for something else.
            (Greets::AfterTls, Opening::Tls) => self.began_as_expected(),
            (Greets::AfterTls, Opening::Words) => self.remember(Habit::WaitsForBanner),
            _ => {}
        }
    }

    /// Somebody at this address begins with TLS where it is expected: nobody's habit there shortens the time that he has.
    fn began_as_expected(&self) {
        self.habits.forget(self.client, Habit::WaitsForBanner);
        self.remember(Habit::TlsAsExpected);
    }

    fn is_known(&self, habit: Habit) -> bool {
        self.habits.has(self.client, habit, Timestamp::now())
    }

    fn remember(&self, habit: Habit) {
        self.habits.remember(self.client, habit, Timestamp::now());
    }
}

/// Waits for what the client does first.
async fn within(silence: Duration, stream: &TcpStream, phase: &mut watch::Receiver<Phase>) -> Did {
    let mut first = [0; TELLING];
    let peeked = async {
        tokio::select! {
            peeked = stream.peek(&mut first) => Some(peeked),
            () = draining(phase) => None,
        }
    };
    match timeout(silence, peeked).await {
        Err(_) => Did::Wait,
        Ok(None) => Did::Drained,
        Ok(Some(peeked)) => did(peeked.ok().map(|length| &first[..length])),
    }
}

/// What the client has done already.
fn glance(stream: &TcpStream) -> Did {
    let mut first = [0; TELLING];
    match recv(stream.as_raw_fd(), &mut first, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
        Err(nix::Error::EAGAIN | nix::Error::EINTR) => Did::Wait,
        peeked => did(peeked.ok().map(|length| &first[..length])),
    }
}

/// `None`: the connection is broken.
fn did(peeked: Option<&[u8]>) -> Did {
    match peeked {
        None | Some([]) => Did::Leave,
        Some(first) if Opening::of(first) == Opening::Tls => Did::Hello,
        Some(_) => Did::Talk,
    }
}

/// The least that tells SMTP, HTTP, TLS and other things apart.
const TELLING: usize = 16;
/// A ClientHello is gathered until it is whole, or is this long.
pub(super) const HELLO_MOST: usize = 16 * 1024;

/// What a client says first behind a banner.
#[derive(Debug, Default)]
pub(super) struct First {
    octets: Vec<u8>,
    /// Who wants to know it besides.
    either: Option<Either>,
}

/// What is known of a client's first words, with those octets that the session may have now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// They may still turn out to be something else.
    Beginning(Opening),
    /// A ClientHello of which more is to come. The session, which would end over it, gets it whole.
    HalfHello,
    /// This is what they are.
    Whole(Opening),
    /// A ClientHello, as far as it can be read, with all octets that were held back.
    Hello(Option<TlsOffer>, Vec<u8>),
}

impl First {
    /// Nothing yet.
    pub(super) fn new(either: Option<Either>) -> Self {
        Self { octets: Vec::new(), either }
    }

    /// Whether a ClientHello is held back of which more is to come.
    pub(super) fn is_half_hello(&self) -> bool {
        Opening::of(&self.octets) == Opening::Tls
    }

    /// What was held back.
    pub(super) fn held(self) -> Vec<u8> {
        self.octets
    }

    /// The client said more.
    pub(super) fn hear(&mut self, octets: &[u8]) -> Heard {
        self.octets.extend_from_slice(octets);
        let opening = Opening::of(&self.octets);
        if let Some(either) = &self.either {
            either.spoke(&opening);
        }
        if opening != Opening::Tls {
            let whole = self.octets.len() >= TELLING || self.octets.contains(&b'\n');
            return if whole { Heard::Whole(opening) } else { Heard::Beginning(opening) };
        }
        let offer = TlsOffer::parse(&self.octets);
        if offer.is_none() && self.octets.len() < HELLO_MOST {
            return Heard::HalfHello;
        }
        Heard::Hello(offer, std::mem::take(&mut self.octets))
    }
}
