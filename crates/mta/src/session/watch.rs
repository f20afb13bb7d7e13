//! Watches: sessions that somebody wants to see whole, whether anything goes wrong in them or not.
//!
//! The types to know:
//! - [`Wanted`]: which sessions, by address, user and listener. The user is known only when somebody signs in.
//! - `Watches`: those in force. A recording is made for a time; a follower's watch ends by itself when nobody asks any more.
//! - `Live`: what followers hear: a ring of lines that is bounded, and told from a cursor on.
//!
//! All of it lives in memory and is bounded in number and in time. What it deliberately does not do: keep sessions, or talk to
//! anybody.

use std::collections::VecDeque;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::key_of;

/// So many watches at the same time.
const MOST: usize = 32;
/// No recording is longer.
pub(crate) const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// One recording keeps no more sessions.
const SESSIONS_MOST: u64 = 1_000;
/// A follower that has not asked for so long has gone.
const FOLLOWER_GONE: SignedDuration = SignedDuration::from_secs(30);
/// So many lines wait for followers.
const LINES_MOST: usize = 2_000;
/// So many are told at once.
const LINES_AT_ONCE: usize = 500;

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Of clients there.
    pub address: Option<IpNet>,
    /// In which this name signs in, or tries to.
    pub user: Option<String>,
    /// On this listener.
    pub listener: Option<String>,
    /// Only those in which something goes wrong; what is said in the others is not known to be wanted before they end.
    #[serde(default)]
    pub troubled: bool,
}

/// Who is at the other end, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who<'a> {
    pub(crate) client: IpAddr,
    pub(crate) listener: &'a str,
    /// Names that were claimed or signed in as, in the form in which names compare.
    pub(crate) names: &'a [String],
}

/// A watch as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchView {
    /// Its number.
    pub id: u64,
    /// Which sessions.
    pub wanted: Wanted,
    /// When it was set.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// So many sessions it has kept.
    pub kept: u64,
    /// Whether somebody follows, instead of keeping sessions.
    pub follows: bool,
}

/// Those in force.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    next: u64,
    set: Vec<WatchView>,
}

/// A line that a follower hears.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    /// The session.
    pub session: String,
    /// When.
    pub at: Timestamp,
    /// What, ready to be shown.
    pub text: String,
    /// For which watches.
    #[serde(skip)]
    pub(crate) watches: Vec<u64>,
}

/// What followers hear.
#[derive(Debug, Default)]
pub(crate) struct Live {
    lines: VecDeque<Heard>,
    /// The number of the first line that is still there.
    first: u64,
}

/// What was said since a follower asked last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The lines.
    pub lines: Vec<Heard>,
    /// Where to go on.
    pub cursor: u64,
    /// So many lines were forgotten before they could be told, this follower's or others'.
    pub lost: u64,
}

impl Wanted {
    /// Whether this is one of them, as far as it is known: whose name is wanted, is known once he tries to sign in.
    pub(crate) fn holds(&self, who: Who<'_>) -> bool {
        self.holds_place(who)
            && self.user.as_deref().is_none_or(|user| {
                let user = key_of(user);
                who.names.contains(&user)
            })
    }

    fn holds_place(&self, who: Who<'_>) -> bool {
        self.address.as_ref().is_none_or(|network| network.contains(&who.client.to_canonical()))
            && self.listener.as_deref().is_none_or(|listener| listener == who.listener)
    }
}

impl Watches {
    /// Sets one.
    ///
    /// # Errors
    /// In words: there are too many, or it is to last too long.
    pub(crate) fn record(
        &mut self,
        wanted: Wanted,
        length: SignedDuration,
        now: Timestamp,
    ) -> Result<WatchView, String> {
        if length > LONGEST {
            return Err("a recording lasts a day at most: write --for 24h or less".to_owned());
        }
        self.set(wanted, length, false, now)
    }

    /// Sets one for a follower.
    ///
    /// # Errors
    /// In words: there are too many.
    pub(crate) fn follow(&mut self, wanted: Wanted, now: Timestamp) -> Result<WatchView, String> {
        self.set(wanted, FOLLOWER_GONE, true, now)
    }

    fn set(
        &mut self,
        wanted: Wanted,
        length: SignedDuration,
        follows: bool,
        now: Timestamp,
    ) -> Result<WatchView, String> {
        self.prune(now);
        if self.set.len() >= MOST {
            return Err(format!(
                "{MOST} recordings are under way, and there are no more: postern session record --list shows them"
            ));
        }
        let until = now.checked_add(length).map_err(|_| "that is too long".to_owned())?;
        self.next += 1;
        let view = WatchView { id: self.next, wanted, since: now, until, kept: 0, follows };
        self.set.push(view.clone());
        Ok(view)
    }

    /// Ends one.
    pub(crate) fn stop(&mut self, id: u64) -> Option<WatchView> {
        let at = self.set.iter().position(|watch| watch.id == id)?;
        Some(self.set.remove(at))
    }

    /// Somebody still follows; `false`: that watch has ended.
    pub(crate) fn asked(&mut self, id: u64, now: Timestamp) -> bool {
        self.prune(now);
        let Some(watch) = self.set.iter_mut().find(|watch| watch.id == id && watch.follows) else {
            return false;
        };
        watch.until = now.checked_add(FOLLOWER_GONE).unwrap_or(watch.until);
        true
    }

    /// Ends those whose time is up.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        self.set.retain(|watch| watch.until > now && (watch.follows || watch.kept < SESSIONS_MOST));
    }

    /// Those in force.
    pub(crate) fn list(&mut self, now: Timestamp) -> Vec<WatchView> {
        self.prune(now);
        self.set.clone()
    }

    /// Whether there is one.
    pub(crate) fn any(&self) -> bool {
        !self.set.is_empty()
    }

    /// Whether somebody follows.
    pub(crate) fn any_follower(&self) -> bool {
        self.set.iter().any(|watch| watch.follows)
    }

    /// Whether a session that ended is to be kept; it is counted.
    pub(crate) fn keep(&mut self, who: Who<'_>, troubled: bool, now: Timestamp) -> bool {
        self.prune(now);
        let mut wanted = false;
        for watch in self.set.iter_mut().filter(|watch| !watch.follows) {
            if watch.wanted.holds(who) && (troubled || !watch.wanted.troubled) {
                watch.kept += 1;
                wanted = true;
            }
        }
        wanted
    }

    /// Who follows what is said in a session.
    pub(crate) fn followers(&self, who: Who<'_>) -> Vec<u64> {
        let follows = |watch: &&WatchView| watch.follows && !watch.wanted.troubled && watch.wanted.holds(who);
        self.set.iter().filter(follows).map(|watch| watch.id).collect()
    }

    /// Who follows that a session ended.
    pub(crate) fn followers_of_end(&self, who: Who<'_>, troubled: bool) -> Vec<u64> {
        let follows = |watch: &&WatchView| {
            watch.follows && (troubled || !watch.wanted.troubled) && watch.wanted.holds(who)
        };
        self.set.iter().filter(follows).map(|watch| watch.id).collect()
    }
}

impl Live {
    /// Where a follower begins who comes now.
    pub(crate) fn cursor(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// Another line.
    pub(crate) fn add(&mut self, line: Heard) {
        if self.lines.len() == LINES_MOST {
            self.lines.pop_front();
            self.first += 1;
        }
        self.lines.push_back(line);
    }

    /// What a follower has not heard yet.
    pub(crate) fn since(&self, watch: u64, cursor: u64) -> Since {
        let lost = self.first.saturating_sub(cursor);
        let skip = usize::try_from(cursor.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let (mut lines, mut cursor) = (Vec::new(), cursor.clamp(self.first, self.cursor()));
        for line in self.lines.iter().skip(skip) {
            if lines.len() == LINES_AT_ONCE {
                break;
            }
            cursor += 1;
            if line.watches.contains(&watch) {
                lines.push(line.clone());
            }
        }
        Since { lines, cursor, lost }
    }

    /// Nobody follows any more.
    pub(crate) fn clear(&mut self) {
        self.first = self.cursor();
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn who<'a>(client: &str, names: &'a [String]) -> Who<'a> {
        Who { client: client.parse().unwrap(), listener: "submission", names }
    }

    fn of_anna() -> Wanted {
        Wanted {
            address: Some("192.0.2.0/24".parse().unwrap()),
            user: Some("Anna".into()),
            listener: Some("submission".into()),
            troubled: false,
        }
    }

    #[test]
    fn a_user_is_wanted_from_when_he_is_known() {
        let anna = ["anna".to_owned()];
        assert!(!of_anna().holds(who("192.0.2.7", &[])));
        assert!(of_anna().holds(who("192.0.2.7", &anna)));
        assert!(of_anna().holds(who("::ffff:192.0.2.7", &anna)));
        assert!(!of_anna().holds(who("192.0.3.7", &anna)));
        assert!(!of_anna().holds(Who { listener: "mx", ..who("192.0.2.7", &anna) }));
        assert!(Wanted::default().holds(who("2001:db8::1", &[])));
    }

    #[test]
    fn a_recording_ends_after_its_time_and_after_so_many_sessions() {
        let mut watches = Watches::default();
        watches.record(Wanted::default(), SignedDuration::from_secs(60), now(0)).unwrap();
        assert!(watches.keep(who("192.0.2.7", &[]), false, now(59)));
        assert!(!watches.keep(who("192.0.2.7", &[]), false, now(60)));
        assert!(!watches.any());
        watches.record(Wanted::default(), LONGEST, now(0)).unwrap();
        let kept = (0..2 * SESSIONS_MOST).filter(|_| watches.keep(who("::1", &[]), false, now(1))).count();
        assert_eq!(kept as u64, SESSIONS_MOST);
    }

    #[test]
    fn recordings_are_bounded_in_number_and_length_and_can_be_stopped() {
        let mut watches = Watches::default();
        let day = LONGEST;
        assert!(watches.record(Wanted::default(), day + SignedDuration::from_secs(1), now(0)).is_err());
        for _ in 0..MOST {
            watches.record(Wanted::default(), day, now(0)).unwrap();
        }
        assert!(watches.record(Wanted::default(), day, now(0)).is_err());
        assert!(watches.follow(Wanted::default(), now(0)).is_err());
        let one = watches.list(now(0))[3].id;
        assert!(watches.stop(one).is_some() && watches.stop(one).is_none());
        watches.record(Wanted::default(), day, now(0)).unwrap();
    }

    #[test]
    fn a_follower_that_no_longer_asks_is_forgotten() {
        let mut watches = Watches::default();
        let id = watches.follow(Wanted::default(), now(0)).unwrap().id;
        assert!(watches.asked(id, now(29)) && watches.asked(id, now(58)));
        assert!(!watches.asked(id, now(90)));
        assert!(!watches.any_follower());
    }

    #[test]
    fn followers_hear_their_lines_in_order_and_how_many_are_lost() {
        let mut live = Live::default();
        let line = |number: usize, watch: u64| Heard {
            session: "s1".into(),
            at: now(0),
            text: number.to_string(),
            watches: vec![watch],
        };
        let begin = live.cursor();
        (0..10).for_each(|number| live.add(line(number, (number % 2) as u64)));
        let heard = live.since(1, begin);
        let texts: Vec<&str> = heard.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!((texts, heard.cursor, heard.lost), (vec!["1", "3", "5", "7", "9"], 10, 0));
        assert!(live.since(1, heard.cursor).lines.is_empty());
        (0..LINES_MOST + 5).for_each(|number| live.add(line(number, 1)));
        let heard = live.since(1, heard.cursor);
        assert_eq!((heard.lost, heard.lines.len()), (5, LINES_AT_ONCE));
        assert_eq!(live.since(1, heard.cursor).lines[0].text, (LINES_AT_ONCE + 5).to_string());
    }
}
