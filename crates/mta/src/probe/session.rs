//! One address tried for real: connect, banner, EHLO, STARTTLS, handshake, EHLO again, QUIT. Never MAIL.
//!
//! [`examine`] goes through one [`Door`] and returns what was [`Seen`]. The handshake is made as if nothing were demanded of
//! the peer, so that its certificate is seen even where deliveries would break off; what it is worth is in the facts. Where a
//! large hello fails, a small one is tried on a connection of its own.
//!
//! What it deliberately does not do: judge what was seen (that is `verdict`'s), sign in, or name a sender.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use postern_pki::{Check, ClientHello, ClientTls, PeerPolicy};
use postern_smtp::client::Protocol;
use postern_smtp::extension::Capabilities;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::reply::Reply;
use postern_smtp::text::without_os_code;
use postern_smtp::tls::{CertificateSeen, TlsFacts, TlsFailure, TlsFault};

use super::dialogue::{Clock, Dialogue};
use crate::outbound::route::{NextHop, Socket};
use postern_smtp::middlebox;

/// One socket and how it is gone about.
#[derive(Clone, Copy)]
pub(crate) struct Door<'a> {
    /// Where.
    pub(crate) next_hop: &'a NextHop,
    /// The name to ask for in the handshake.
    pub(crate) server_name: &'a str,
    /// When TLS begins.
    pub(crate) start: Start,
    /// What is spoken.
    pub(crate) protocol: Protocol,
    /// Our name.
    pub(crate) hello: &'a str,
    /// The own addresses to connect from.
    pub(crate) source: &'a [IpAddr],
    /// What certificates are judged by. It demands nothing.
    pub(crate) policy: &'a PeerPolicy,
    /// The trusted roots, or why there are none.
    pub(crate) tls: &'a Result<ClientTls, String>,
    /// The time that there is.
    pub(crate) clock: Clock,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// After STARTTLS.
    Upgrade,
    /// With the first octet.
    Implicit,
    /// Never: nothing crosses a wire.
    Never,
}

/// How far a connection came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reach {
    /// Nobody tried: there was no time left.
    #[default]
    NotTried,
    /// It was accepted.
    Open,
    /// It was refused.
    Closed,
    /// Nobody answered in the time.
    Filtered,
    /// There is no way there.
    Unreachable,
}

/// What was seen at one address.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) reach: Reach,
    /// How long connecting took.
    pub(crate) connected: Option<Duration>,
    pub(crate) greeting: Option<Reply>,
    /// The reply to an EHLO that was not understood; HELO came next.
    pub(crate) misunderstood: Option<Reply>,
    /// The reply to EHLO (or HELO) in clear.
    pub(crate) before: Option<Reply>,
    /// The reply to STARTTLS.
    pub(crate) starttls: Option<Reply>,
    /// The handshakes, in order: at most two.
    pub(crate) tries: Vec<Try>,
    /// The reply to EHLO under TLS.
    pub(crate) after: Option<Reply>,
    /// What ended the conversation early; a failed handshake is not among it.
    pub(crate) halt: Option<Trouble>,
    /// Why something on the way is suspected to rewrite SMTP.
    pub(crate) middlebox: Option<String>,
}

/// One handshake.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) hello: ClientHello,
    pub(crate) took: Duration,
    pub(crate) result: Result<TlsFacts, TlsFailure>,
    pub(crate) chain: Vec<CertificateSeen>,
    pub(crate) checks: Vec<Check>,
}

impl Seen {
    /// Nothing, for want of time.
    fn nothing() -> Self {
        let reason = Reason::ConnectFailed("not tried: the time for the whole probe was over".into());
        Self { halt: Some(Trouble::new(Step::Connect, reason)), ..Self::default() }
    }

    /// Whether somebody takes connections; not a word is said.
    pub(crate) async fn of_door(socket: &Socket, clock: Clock) -> Self {
        let mut seen = Self::default();
        match Dialogue::connect(socket, &[], clock).await {
            Ok(_) => seen.reach = Reach::Open,
            Err(error) => seen.unreached(&error),
        }
        seen
    }

    /// Whether STARTTLS is announced in clear.
    pub(crate) fn offers_starttls(&self) -> bool {
        self.before.as_ref().is_some_and(|reply| Capabilities::parse(reply).starttls)
    }

    /// Whether the server spoke SMTP in clear and did not announce STARTTLS.
    pub(crate) fn lacks_starttls(&self) -> bool {
        self.before.is_some() && !self.offers_starttls()
    }

    /// The first handshake that succeeded.
    pub(crate) fn secured(&self) -> Option<(&Try, &TlsFacts)> {
        self.tries.iter().find_map(|attempt| Some((attempt, attempt.result.as_ref().ok()?)))
    }
}

/// Goes through a door and back out.
pub(crate) async fn examine(door: Door<'_>) -> Seen {
    if door.clock.is_over() {
        return Seen::nothing();
    }
    let mut seen = look(door, door.policy.hello).await;
    let failed = matches!(&seen.tries[..], [Try { hello: ClientHello::Full, result: Err(_), .. }]);
    if failed && door.tls.is_ok() && !door.clock.is_over() {
        let again = look(door, ClientHello::Small).await;
        if !again.tries.is_empty() {
            seen.tries.extend(again.tries);
            (seen.after, seen.halt) = (again.after, again.halt);
        }
    }
    seen.middlebox =
        middlebox::sign(seen.greeting.as_ref(), seen.misunderstood.as_ref(), seen.before.as_ref());
    seen
}

async fn look(door: Door<'_>, hello: ClientHello) -> Seen {
    let mut seen = Seen::default();
    let began = Instant::now();
    match Dialogue::connect(&door.next_hop.at, door.source, door.clock).await {
        Ok(dialogue) => {
            (seen.reach, seen.connected) = (Reach::Open, Some(began.elapsed()));
            seen.halt = walk(door, hello, dialogue, &mut seen).await.err();
        }
        Err(error) => seen.unreached(&error),
    }
    seen
}

impl Seen {
    fn unreached(&mut self, error: &io::Error) {
        self.reach = match error.kind() {
            io::ErrorKind::ConnectionRefused => Reach::Closed,
            io::ErrorKind::TimedOut => Reach::Filtered,
            _ => Reach::Unreachable,
        };
        let why = match self.reach {
            Reach::Filtered => {
                "nobody answers there: a firewall drops the connection, or the host is down".into()
            }
            _ => without_os_code(error),
        };
        self.halt = Some(Trouble::new(Step::Connect, Reason::ConnectFailed(why)));
    }
}

async fn walk(
    door: Door<'_>,
    hello: ClientHello,
    mut dialogue: Dialogue,
    seen: &mut Seen,
) -> Result<(), Trouble> {
    if door.start == Start::Implicit {
        let Some(secured) = handshake(door, hello, dialogue, seen).await else { return Ok(()) };
        dialogue = secured;
    }
    greeted(&mut dialogue, seen).await?;
    if door.start == Start::Implicit {
        seen.after = Some(introduce(door, &mut dialogue, None).await?);
        dialogue.quit().await;
        return Ok(());
    }
    seen.before = Some(introduce(door, &mut dialogue, Some(&mut seen.misunderstood)).await?);
    if door.start == Start::Never || !seen.offers_starttls() {
        dialogue.quit().await;
        return Ok(());
    }
    let consent = dialogue.command("STARTTLS", Step::Tls).await?;
    let code = consent.code;
    seen.starttls = Some(consent);
    if code != 220 {
        dialogue.quit().await;
        return Ok(());
    }
    if dialogue.has_more() {
        let failure = TlsFailure::injected();
        return Err(Trouble::of_tls(Reason::Protocol(failure.why.clone()), &failure));
    }
    let Some(mut dialogue) = handshake(door, hello, dialogue, seen).await else { return Ok(()) };
    seen.after = Some(introduce(door, &mut dialogue, None).await?);
    dialogue.quit().await;
    Ok(())
}

async fn greeted(dialogue: &mut Dialogue, seen: &mut Seen) -> Result<(), Trouble> {
    let greeting = dialogue.reply(Step::Greeting).await?;
    let welcome = greeting.code == 220;
    seen.greeting = Some(greeting.clone());
    if welcome { Ok(()) } else { Err(refused(Step::Greeting, greeting)) }
}

/// EHLO; where that is not understood in clear, HELO (RFC 5321 §3.2).
async fn introduce(
    door: Door<'_>,
    dialogue: &mut Dialogue,
    misunderstood: Option<&mut Option<Reply>>,
) -> Result<Reply, Trouble> {
    let verb = if door.protocol == Protocol::Lmtp { "LHLO" } else { "EHLO" };
    let reply = dialogue.command(&format!("{verb} {}", door.hello), Step::Hello).await?;
    match (reply.code, misunderstood) {
        (250, _) => Ok(reply),
        (500 | 501 | 502 | 504, Some(misunderstood)) if door.protocol == Protocol::Smtp => {
            *misunderstood = Some(reply);
            let reply = dialogue.command(&format!("HELO {}", door.hello), Step::Hello).await?;
            if reply.code == 250 { Ok(reply) } else { Err(refused(Step::Hello, reply)) }
        }
        _ => Err(refused(Step::Hello, reply)),
    }
}

/// Makes a handshake and notes it. `None`: it failed.
async fn handshake(
    door: Door<'_>,
    hello: ClientHello,
    dialogue: Dialogue,
    seen: &mut Seen,
) -> Option<Dialogue> {
    let policy = PeerPolicy { hello, ..door.policy.clone() };
    let tls = match door.tls {
        Ok(tls) => tls,
        Err(why) => {
            let result = Err(TlsFailure::new(TlsFault::OurTrust, why.clone()));
            let (chain, checks) = (Vec::new(), Vec::new());
            seen.tries.push(Try { hello, took: Duration::ZERO, result, chain, checks });
            return None;
        }
    };
    let (handshake, began) = (tls.handshake(&policy), Instant::now());
    let secured = dialogue.secure(&handshake, door.server_name).await;
    let took = began.elapsed();
    let (dialogue, result) = match secured {
        Ok((dialogue, facts)) => (Some(dialogue), Ok(facts)),
        Err(failure) => (None, Err(failure)),
    };
    let (chain, checks) = (handshake.chain(), handshake.checks());
    seen.tries.push(Try { hello, took, result, chain, checks });
    dialogue
}

fn refused(step: Step, reply: Reply) -> Trouble {
    if !(400..600).contains(&reply.code) {
        let reason = Reason::Protocol("the answer is neither yes nor no".into());
        return Trouble::new(step, reason).with_reply(Some(reply));
    }
    match Outcome::from_reply(step, reply) {
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) => trouble,
        Outcome::Delivered(reply) => Trouble::new(step, Reason::Refused).with_reply(reply),
    }
}
