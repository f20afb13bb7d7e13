//! Where events are sorted before they are written: which are kept, on which shelf, and what their session adds to them.
//!
//! That somebody connected or started TLS is nobody's question by itself; it is remembered while the session lasts, and told
//! with the sign-in or the message that the session brought. A session that signed in or sends as a device is one of ours, and
//! what is refused in it belongs to the shelf of mail. All else is strangers', and bounded by the minute: for each client
//! network, for each account that is tried, and in all; what is beyond is only counted. So neither a flood from one place
//! nor one from everywhere pushes out what somebody will ask about.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;

use super::key::Key;
use super::shelf::Kind;
use super::what::{Came, Kept, What};
use crate::event::{Event, Subject, clean};
use crate::limits::network_of;

/// As many open sessions are known; those beyond have nothing to add to their events.
const SESSIONS_MOST: usize = 65_536;
/// In a minute, so many events of one client network are kept,
const OF_NETWORK: u32 = 20;
/// so many failed sign-ins of one account that exists,
const OF_ACCOUNT: u32 = 5;
/// and so many of each of these two kinds in all.
const OF_ALL: u32 = 1000;
/// Networks and accounts that are counted in a minute.
const COUNTED_MOST: usize = 16_384;
/// Milliseconds.
const MINUTE: i64 = 60_000;

/// What comes from the sink.
#[derive(Debug)]
pub(crate) struct Note {
    pub(crate) time: Timestamp,
    pub(crate) id: Subject,
    pub(crate) event: Event,
}

/// What is known of the sessions that are open, and of this minute's strangers.
#[derive(Debug, Default)]
pub(super) struct Desk {
    sessions: HashMap<String, Known>,
    minute: Minute,
}

#[derive(Debug)]
struct Known {
    came: Came,
    user: Option<String>,
}

impl Desk {
    /// Sorts a note. `None`: it is not kept.
    pub(super) fn sort(&mut self, Note { time, id, event }: Note) -> Option<(Kind, Kept)> {
        if let Subject::Session(session) = &id {
            self.learn(session, &event);
        }
        let mut what = What::of(event)?;
        let id = match id {
            Subject::Daemon => String::new(),
            Subject::Session(session) => session,
            Subject::Message(id) => id.to_string(),
        };
        self.add_session(&id, &mut what);
        let shelf = shelf(&what);
        if shelf == Kind::Strangers && !self.minute.has_room(time, &what) {
            return None;
        }
        Some((shelf, Kept { time, id, what }))
    }

    /// How many events of strangers were not kept since this was last asked.
    pub(super) fn take_left_out(&mut self) -> u64 {
        std::mem::take(&mut self.minute.left_out)
    }

    /// Notes were lost, and with them perhaps the ends of sessions: those that are open have nothing more to add.
    pub(super) fn forget_sessions(&mut self) {
        self.sessions.clear();
    }

    fn learn(&mut self, session: &str, event: &Event) {
        match event {
            Event::SessionOpened { listener, client } if self.sessions.len() < SESSIONS_MOST => {
                let came = Came { client: client.ip().to_canonical(), listener: listener.clone(), tls: None };
                self.sessions.insert(session.to_owned(), Known { came, user: None });
            }
            Event::SessionClosed { .. } => {
                self.sessions.remove(session);
            }
            Event::TlsStarted { version, cipher, .. } => {
                if let Some(known) = self.sessions.get_mut(session) {
                    known.came.tls = Some(format!("{version} {cipher}"));
                }
            }
            Event::Introduced { client, .. } => {
                if let Some(known) = self.sessions.get_mut(session) {
                    known.came.client = client.ip().to_canonical();
                }
            }
            Event::SignedIn { user, .. } => {
                if let Some(known) = self.sessions.get_mut(session) {
                    known.user = Some(clean(user));
                }
            }
            _ => {}
        }
    }

    /// What the session knows and the event does not.
    fn add_session(&self, id: &str, what: &mut What) {
        match what {
            What::SignedIn { came, .. } | What::RelayPermitted { came, .. } => {
                *came = self.sessions.get(id).map(|known| known.came.clone());
            }
            What::Accepted { session, came, .. } => {
                *came = self.sessions.get(session.as_str()).map(|known| known.came.clone());
            }
            What::Refused { user, .. } | What::SessionTroubled { user, .. } => {
                *user = self.sessions.get(id).and_then(|known| known.user.clone());
            }
            _ => {}
        }
    }
}

fn shelf(what: &What) -> Kind {
    if what.is_strangers() { Kind::Strangers } else { Kind::Mail }
}

/// What strangers did in this minute.
#[derive(Debug, Default)]
struct Minute {
    number: i64,
    networks: HashMap<String, u32>,
    accounts: HashMap<Key, u32>,
    strangers: u32,
    attempts: u32,
    left_out: u64,
}

impl Minute {
    fn has_room(&mut self, time: Timestamp, what: &What) -> bool {
        let number = time.as_millisecond().div_euclid(MINUTE);
        if number != self.number {
            let left_out = self.left_out;
            *self = Self { number, left_out, ..Self::default() };
        }
        let has_room = match what {
            // Somebody who exists: he will ask why.
            What::SignInFailed { user, fault, .. } if fault.shows_an_account() => {
                one_more(&mut self.accounts, Key::user(user), OF_ACCOUNT) && counted(&mut self.attempts)
            }
            // How many there can be is bounded where bans are made.
            What::Banned { .. } => true,
            _ => {
                let network = what.client().map(network).unwrap_or_default();
                one_more(&mut self.networks, network, OF_NETWORK) && counted(&mut self.strangers)
            }
        };
        self.left_out += u64::from(!has_room);
        has_room
    }
}

fn network(client: IpAddr) -> String {
    network_of(client).to_string()
}

fn counted(count: &mut u32) -> bool {
    *count = count.saturating_add(1);
    *count <= OF_ALL
}

fn one_more<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K, most: u32) -> bool {
    if counts.len() >= COUNTED_MOST && !counts.contains_key(&key) {
        return false;
    }
    let count = counts.entry(key).or_default();
    *count = count.saturating_add(1);
    *count <= most
}
