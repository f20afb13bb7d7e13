//! Gathers the facts of a session while it runs.
//!
//! The driver tells it what came first and how TLS went, the gate every event that it emits; nothing is written by hand
//! between the lines of the logic. Whatever a client does, only so much is kept.

use std::net::SocketAddr;
use std::time::Instant;

use jiff::Timestamp;
use postern_smtp::command::Verb;
use postern_smtp::reply::Reply;
use postern_smtp::server::{CloseReason, Dialogue, Said, ServerSession};
use postern_smtp::tls::{HandshakeFault, TlsOffer};

use super::facts::{End, Entrance, Facts, Opening, Refusal, SignIn, Stage, TlsStood};
use crate::directory::key_of;
use crate::event::{Event, clean};

/// So many attempts to sign in are kept, and so many refusals: the last ones.
const KEPT: usize = 16;
/// Methods of HTTP (RFC 9110 §9.3), and the beginning of HTTP/2 (RFC 9113 §3.4).
const METHODS: [&str; 10] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH", "PRI"];

/// What is known so far.
#[derive(Debug)]
pub(crate) struct Recorder {
    keeping: Keeping,
    place: Entrance,
    began: (Timestamp, Instant),
    opening: Opening,
    offer: Option<TlsOffer>,
    name_borne: Option<bool>,
    tls: Option<TlsStood>,
    tls_fault: Option<(HandshakeFault, String)>,
    sign_ins: Vec<SignIn>,
    refusals: Vec<Refusal>,
}

/// Whether anybody wants to know of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// Yes.
    All,
    /// Nobody does, so that gathering it would be a waste.
    Nothing,
}

/// What others know when a session ends.
#[derive(Debug)]
pub(crate) struct Closing {
    /// The session's id.
    pub(crate) id: String,
    /// Who the client was in the end.
    pub(crate) client: SocketAddr,
    /// Who was signed in.
    pub(crate) user: Option<String>,
    /// Messages that were accepted.
    pub(crate) accepted: u32,
    /// How it ended, as the driver saw it.
    pub(crate) stop: Stopped,
}

/// How a session ended, before it is known where it stood.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// In the protocol's own way.
    Closed(CloseReason),
    /// The network broke it.
    Lost(String),
    /// TLS did not come about.
    Tls,
    /// An ACME authority looked at a challenge certificate.
    Validated,
    /// There was no session.
    TurnedAway {
        /// With this reply.
        reason: String,
        /// Its help token.
        token: Option<String>,
    },
}

impl Recorder {
    /// Of a session that begins here and now.
    pub(crate) fn new(place: Entrance, keeping: Keeping) -> Self {
        Self {
            keeping,
            place,
            began: (Timestamp::now(), Instant::now()),
            opening: Opening::Silence,
            offer: None,
            name_borne: None,
            tls: None,
            tls_fault: None,
            sign_ins: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Where the client came in.
    pub(crate) fn place(&self) -> &Entrance {
        &self.place
    }

    /// What the client sent first, in clear, as far as that is known by now.
    pub(crate) fn opening(&mut self, opening: Opening) {
        self.opening = opening;
    }

    /// Its ClientHello; of several the last one.
    pub(crate) fn offer(&mut self, offer: TlsOffer, name_borne: Option<bool>) {
        self.offer = Some(offer);
        self.name_borne = name_borne;
    }

    /// Whether anything is gathered.
    pub(crate) fn keeping(&self) -> Keeping {
        self.keeping
    }

    /// Whether the client started TLS at once, and in vain.
    pub(crate) fn has_tls_where_none_is(&self) -> bool {
        self.opening == Opening::Tls && self.tls.is_none() && self.tls_fault.is_none()
    }

    /// Names that were claimed so far, in the form in which names compare.
    pub(crate) fn names(&self) -> Vec<String> {
        self.sign_ins.iter().map(|tried| key_of(&tried.user)).collect()
    }

    /// TLS stands.
    pub(crate) fn tls(&mut self, tls: TlsStood) {
        self.tls = Some(tls);
    }

    /// A handshake failed.
    pub(crate) fn tls_failed(&mut self, fault: HandshakeFault, reason: String) {
        self.tls_fault = Some((fault, reason));
    }

    /// What happened, as the log hears it.
    pub(crate) fn event(&mut self, event: &Event) {
        if self.keeping == Keeping::Nothing {
            return;
        }
        match event {
            Event::SignedIn { user, by } => {
                keep(&mut self.sign_ins, SignIn { user: clean(user), by: *by, fault: None, why: None });
            }
            Event::SignInFailed { user, by, fault, why, .. } => {
                let why = why.as_deref().map(clean);
                keep(&mut self.sign_ins, SignIn { user: clean(user), by: *by, fault: Some(*fault), why });
            }
            Event::Refused { at, address, token, reply, why, .. } => {
                let (address, why) = (address.as_deref().map(clean), why.as_deref().map(clean));
                let (at, token) = ((*at).to_owned(), token.map(str::to_owned));
                keep(&mut self.refusals, Refusal { at, address, token, reply: clean(reply), why });
            }
            _ => {}
        }
    }

    /// All that is known of a client that got no session.
    pub(crate) fn turned_away(self, client: SocketAddr, reply: &Reply) -> Facts {
        let token = reply.help_token().map(str::to_owned);
        let stop = Stopped::TurnedAway { reason: clean(&reply.one_line()), token };
        self.finish(None, Closing { id: String::new(), client, user: None, accepted: 0, stop })
    }

    /// All that is known. `None` for the session: there was none yet.
    pub(crate) fn finish(self, session: Option<&ServerSession>, closing: Closing) -> Facts {
        let dialogue = session.map(|session| session.dialogue().clone()).unwrap_or_default();
        let hello = session.and_then(|session| session.hello()).map(|hello| clean(&hello.name));
        let stage = stage(&dialogue);
        let Closing { id, client, user, accepted, stop } = closing;
        Facts {
            id,
            place: self.place,
            client,
            began: self.began.0,
            lasted: u64::try_from(self.began.1.elapsed().as_millis()).unwrap_or(u64::MAX),
            opening: self.opening,
            offer: self.offer,
            name_borne: self.name_borne,
            tls: self.tls,
            tls_fault: self.tls_fault,
            hello,
            dialogue,
            sign_ins: self.sign_ins,
            refusals: self.refusals,
            right_name: None,
            claimant: None,
            user,
            accepted,
            end: match stop {
                Stopped::Closed(reason) => End::Closed { reason, stage },
                Stopped::Lost(error) => End::Lost { error: clean(&error), stage },
                Stopped::Tls => End::TlsFailed,
                Stopped::Validated => End::Validated,
                Stopped::TurnedAway { reason, token } => End::TurnedAway { reason, token },
            },
        }
    }
}

impl Opening {
    /// What these octets are; they are the first that came.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let first: Vec<u8> = bytes.iter().copied().take_while(u8::is_ascii_graphic).take(16).collect();
        let word = String::from_utf8_lossy(&first);
        match bytes {
            [] => Self::Silence,
            // The record of a handshake; or SSLv2's own hello: length, then type 1 and the version, 2 or 3.x (RFC 5246
            // Appendix E.2).
            [0x16] | [0x16, 0x03, ..] | [0x80..=0xff, _, 0x01, 0x00 | 0x03, ..] => Self::Tls,
            _ if METHODS.contains(&&*word) => Self::Http { method: word.into_owned() },
            _ if !first.is_empty() => Self::Words,
            _ => {
                let octets = bytes.iter().take(8).map(|octet| format!("{octet:02x}")).collect();
                Self::Binary { octets }
            }
        }
    }
}

/// Keeps the last ones.
fn keep<T>(kept: &mut Vec<T>, one: T) {
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(one);
}

/// How far a session has come, by what was said in it.
fn stage(dialogue: &Dialogue) -> Stage {
    let mut stage = Stage::Greeting;
    let mut asked = None;
    for line in dialogue.lines() {
        stage = match (&line.said, asked) {
            (Said::Command { verb, .. }, _) => {
                asked = Some(*verb);
                stage
            }
            (Said::Content { .. }, _) => {
                asked = Some(Verb::Data);
                Stage::Content
            }
            (Said::Tls { .. }, _) => Stage::Greeting,
            (Said::Reply { code: 334, .. }, _) => Stage::SigningIn,
            (Said::Reply { code: 354, .. }, _) => Stage::Content,
            (Said::Reply { code, .. }, Some(verb)) => after(stage, verb, *code),
            _ => stage,
        };
    }
    stage
}

/// Where a reply to a command leads.
fn after(stage: Stage, asked: Verb, code: u16) -> Stage {
    match (asked, code, stage) {
        (Verb::Ehlo | Verb::Helo, 250, _)
        | (Verb::Auth, _, Stage::SigningIn)
        | (Verb::Data, 400.., Stage::Content)
        | (Verb::Rset, 250, Stage::Transaction | Stage::Content) => Stage::Hello,
        (Verb::Mail, 250, _) => Stage::Transaction,
        (Verb::Data, 250, Stage::Content) => Stage::Done,
        _ => stage,
    }
}
