//! Where a session stands. Each state owns what belongs to it, so leaving it drops that.

use super::table::Place;
use super::{Hello, Transaction};
use crate::content::{ChunkChecker, ContentDecoder};
use crate::envelope::{Mail, Rcpt};
use crate::reply::Reply;
use crate::sasl::{ChannelBindings, ServerExchange};
use crate::tls::{PeerProof, TlsFacts};

/// All that was said over the connection as it is now. STARTTLS replaces it whole, from the facts about TLS alone
/// (RFC 3207 §4.2), so neither an EHLO name nor a principal nor a transaction can cross.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) tls: Option<TlsFacts>,
    pub(super) hello: Option<Hello>,
    pub(super) user: Option<String>,
    /// Whom a front end has said to have signed in, until the policy has confirmed it.
    pub(super) introduced: Option<String>,
    pub(super) state: State,
}

/// What the next bytes are taken for.
#[derive(Debug)]
pub(super) enum State {
    /// The banner was a refusal: nothing but QUIT (RFC 5321 §3.1).
    TurnedAway,
    /// No EHLO yet.
    Greeting,
    /// Between transactions.
    Ready,
    /// MAIL was accepted.
    Transaction(Box<Gathering>),
    /// DATA was accepted: content until CRLF.CRLF.
    Data(Box<Data>),
    /// Between two chunks.
    Chunks(Box<Chunks>),
    /// Within a chunk.
    Chunk { chunks: Box<Chunks>, size: u64, left: u64, ends: Ends },
    /// Within a chunk that was refused, and is read to get at what follows it.
    Skip { left: u64, reply: Reply, then: Box<State> },
    /// AUTH waits for a line.
    Exchange(Box<ServerExchange>),
    /// AUTH has failed, and waits for the line that means nothing before it says so (RFC 7628 §3.2.3).
    Protest(Reply),
    /// STARTTLS was answered 220.
    Handshake,
    /// It is over.
    Closed,
}

/// A transaction that collects recipients.
#[derive(Debug)]
pub(super) struct Gathering {
    pub(super) transaction: Transaction,
    /// How many RCPT were refused; with nobody accepted, this tells 554 from 503.
    pub(super) refused: usize,
}

/// Content that comes after DATA.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) intake: Intake,
    pub(super) decoder: ContentDecoder,
}

/// Content that comes in chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    pub(super) intake: Intake,
    pub(super) checker: ChunkChecker,
}

/// A transaction whose content is on its way.
#[derive(Debug)]
pub(super) struct Intake {
    pub(super) transaction: Transaction,
    pub(super) fate: Fate,
}

/// Whether content is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Streams,
    /// It was too large: the rest is read and thrown away.
    Fails,
}

/// Whether a chunk is the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    Chunk,
    Message,
}

/// A question that is open, with what its answer applies to.
#[derive(Debug)]
pub(super) enum Open {
    Connect,
    Hello(Hello),
    Authenticate(Box<ServerExchange>),
    Mail(Mail),
    Rcpt(Rcpt),
    Take,
}

impl Conversation {
    /// What is known when a connection, or TLS on it, has just begun.
    pub(super) fn new(tls: Option<TlsFacts>) -> Self {
        Self { tls, hello: None, user: None, introduced: None, state: State::Greeting }
    }

    /// What is known when a front end has named another client. TLS is the front end's own: what it proved and what the
    /// channel is called says nothing of that client.
    pub(super) fn introduced(mut self, login: Option<String>) -> Self {
        if let Some(facts) = &mut self.tls {
            facts.peer = PeerProof::anonymous();
            facts.channel_bindings = ChannelBindings::default();
        }
        Self { introduced: login, ..Self::new(self.tls) }
    }

    /// What RSET leaves: nothing of a transaction. Without EHLO there was none.
    pub(super) fn reset(&mut self) {
        self.state = if self.hello.is_some() { State::Ready } else { State::Greeting };
    }
}

impl State {
    /// Where this is in the table of legality. States that do not read commands count as what they lead back to.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Greeting | Self::TurnedAway | Self::Handshake | Self::Closed => Place::Greeting,
            Self::Ready | Self::Exchange(_) | Self::Protest(_) => Place::Ready,
            Self::Transaction(gathering) if gathering.transaction.to.is_empty() => Place::Sender,
            Self::Transaction(_) => Place::Recipients,
            Self::Data(_) | Self::Chunks(_) | Self::Chunk { .. } => Place::Chunks,
            Self::Skip { then, .. } => then.place(),
        }
    }

    /// Whether a shutdown can end the session here at once, because nothing would be lost.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::TurnedAway | Self::Greeting | Self::Ready) || self.reads_answers()
    }

    /// Octets of the content that is on its way.
    pub(super) fn content(&self) -> Option<u64> {
        match self {
            Self::Data(data) => Some(data.intake.transaction.size),
            Self::Chunks(chunks) | Self::Chunk { chunks, .. } => Some(chunks.intake.transaction.size),
            _ => None,
        }
    }

    /// Whether the next line is one of an exchange, which may be longer than a command.
    pub(super) fn reads_answers(&self) -> bool {
        matches!(self, Self::Exchange(_) | Self::Protest(_))
    }
}
