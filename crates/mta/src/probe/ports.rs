//! The ports of a mail server: which are open, closed, filtered or tampered with on the way.
//!
//! [`Visited::by`] goes there, [`PortView::of`] says it of one port from what was seen there; [`compare`] looks at all ports of a domain together, for a
//! device that hides STARTTLS may leave no mark but this: the same host offers it elsewhere.
//!
//! What it deliberately does not do: ask which service a port is meant for.

use postern_smtp::extension::Capabilities;
use postern_smtp::outcome::{Reason, Step};
use postern_smtp::text::clean;
use postern_smtp::tls::{TlsFailure, TlsFault};

use super::session::{Door, Reach, Seen, Start, examine};
use super::view::{PortState, PortView, line};
use crate::outbound::route::Socket;

/// So many octets of a server's mechanisms are shown.
const WORDS_MOST: usize = 300;

/// One address of one host, and what was seen there.
pub(super) struct Visited<'a> {
    pub(super) door: Door<'a>,
    pub(super) seen: Seen,
}

/// What a door is gone through for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Mail would go there.
    Mail,
    /// To see what is there.
    Look,
}

impl<'a> Visited<'a> {
    /// Goes there.
    pub(super) async fn by((door, purpose): (Door<'a>, Purpose)) -> Self {
        let seen = match purpose {
            Purpose::Mail => examine(door).await,
            Purpose::Look => look(door).await,
        };
        Self { door, seen }
    }

    fn host(&self) -> &str {
        &self.door.next_hop.host
    }
}

/// Goes through the door of a port that nobody is known to listen at. One that says nothing may wait for TLS to begin.
async fn look(door: Door<'_>) -> Seen {
    let seen = examine(door).await;
    let silent =
        seen.halt.as_ref().is_some_and(|halt| halt.step == Step::Greeting && halt.reason == Reason::TimedOut);
    if door.start != Start::Upgrade || !silent {
        return seen;
    }
    let implicit = examine(Door { start: Start::Implicit, ..door }).await;
    if implicit.secured().is_some() { implicit } else { seen }
}

/// Marks those that lack STARTTLS while the same host offers it elsewhere. That another host of the domain offers it proves
/// less, and is only noted.
pub(super) fn compare(visited: &mut [Visited<'_>]) -> Vec<String> {
    let offering: Vec<(String, String)> = visited
        .iter()
        .filter(|visit| visit.seen.offers_starttls())
        .map(|visit| (visit.host().to_owned(), visit.door.next_hop.to_string()))
        .collect();
    let mut notes = Vec::new();
    for visit in visited.iter_mut().filter(|visit| visit.seen.lacks_starttls()) {
        let same = offering.iter().find(|(host, _)| host == visit.host());
        match (same, offering.first()) {
            (Some((_, place)), _) => {
                let sign = || format!("it is missing here, although {place} offers it");
                visit.seen.middlebox.get_or_insert_with(sign);
            }
            (None, Some((_, place))) => notes.push(format!(
                "{} does not offer STARTTLS, although {place} does: it is not set up there, or something on the way hides it",
                visit.door.next_hop
            )),
            (None, None) => {}
        }
    }
    notes
}

impl PortView {
    pub(super) fn of(visited: &Visited<'_>) -> Option<Self> {
        let Socket::Tcp(address) = &visited.door.next_hop.at else { return None };
        let (state, detail) = state(&visited.seen);
        Some(Self { address: address.ip().to_string(), port: address.port(), state, detail })
    }
}

fn state(seen: &Seen) -> (PortState, String) {
    let halt = seen.halt.as_ref().map(|trouble| trouble.reason.to_string());
    let said = halt.clone().unwrap_or_default();
    match seen.reach {
        Reach::Closed => (PortState::Closed, said),
        Reach::Filtered => (PortState::Filtered, said),
        Reach::Unreachable => (PortState::Unreachable, said),
        Reach::NotTried => (PortState::NotTried, said),
        Reach::Open => open(seen),
    }
}

fn open(seen: &Seen) -> (PortState, String) {
    if let Some((_, facts)) = seen.secured() {
        return (PortState::Open, format!("{}{}", facts.protocol(), sign_in(seen)));
    }
    if let Some(sign) = &seen.middlebox {
        return (PortState::Stripped, TlsFailure::stripped(sign).why);
    }
    if let Some(reply) = seen.halt.as_ref().and_then(|trouble| trouble.reply.as_ref()) {
        return (PortState::Refuses, line(reply));
    }
    let failure = seen.tries.first().and_then(|attempt| attempt.result.as_ref().err());
    match (failure, &seen.before) {
        (Some(failure), None) if failure.fault == TlsFault::NotTls => {
            (PortState::SomethingElse, failure.why.clone())
        }
        (Some(failure), None) if failure.fault == TlsFault::Stalled => {
            (PortState::Silent, failure.why.clone())
        }
        (Some(failure), _) => (PortState::BrokenTls, failure.why.clone()),
        (None, Some(_)) if seen.starttls.is_some() => {
            (PortState::BrokenTls, "it offers STARTTLS and refuses it".into())
        }
        (None, Some(_)) => (PortState::OpenInClear, "does not offer STARTTLS".into()),
        (None, None) => unspoken(seen),
    }
}

/// What gave no greeting.
fn unspoken(seen: &Seen) -> (PortState, String) {
    match seen.halt.as_ref().map(|trouble| &trouble.reason) {
        Some(reason @ Reason::Protocol(_)) => (PortState::SomethingElse, reason.to_string()),
        Some(reason) => (PortState::Silent, reason.to_string()),
        None => (PortState::Silent, "it says nothing".into()),
    }
}

fn sign_in(seen: &Seen) -> String {
    let mechanisms = seen.after.as_ref().map(|reply| Capabilities::parse(reply).auth).unwrap_or_default();
    match mechanisms.as_slice() {
        [] => String::new(),
        mechanisms => clean(format!(", AUTH {}", mechanisms.join(" ")), WORDS_MOST),
    }
}
