//! The rules: what to do next with what is known of a domain, and what binds meanwhile (RFC 8461 §3.3, §5.1).
//!
//! [`Known`] is what is known, [`Step`] what to do. Nothing here looks, fetches, waits or reads a clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_dns::LookupError;
use postern_dns::mta_sts::{RecordId, record_id};

use super::{Binding, FetchedPolicy, Found, Source, StsFault, StsTrouble, before};
use crate::policy::ledger::sts::later;

/// RFC 8461 §5.1 suggests to fetch a policy again once a day.
const REFRESH_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// A record is trusted for its time to live, but for this long at least, and that long at most.
const TRUST_LEAST: Duration = Duration::from_mins(1);
const TRUST_MOST: Duration = Duration::from_hours(24);
/// That there is no record is trusted for so long: the answer does not say.
const ABSENCE_TRUSTED: Duration = Duration::from_mins(5);
/// The pause after a failed fetch; it doubles each time (RFC 8461 §3.3 suggests 5 minutes).
const PAUSE_FIRST: Duration = Duration::from_mins(5);
const PAUSE_MOST: Duration = Duration::from_hours(1);

/// What is known of one domain.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The ledger was read, or what it would have said is out of date.
    recalled: bool,
    /// Why the ledger could not be read, and how often it could not.
    unread: Option<Arc<StsTrouble>>,
    pub(super) unread_count: u64,
    /// When the ledger last heard that mail is planned under the policy.
    pub(super) use_noted: Option<Timestamp>,
    /// What was last fetched; it may have expired.
    pub(super) policy: Option<Arc<FetchedPolicy>>,
    record: Record,
    /// Until when the record need not be asked for again.
    trusted: Option<Timestamp>,
    /// Until when nothing is fetched.
    pause: Option<Timestamp>,
    failures: u32,
    trouble: Option<Arc<StsTrouble>>,
}

/// What DNS last said.
#[derive(Debug, Default)]
enum Record {
    /// There is none.
    #[default]
    Absent,
    /// It names this policy.
    Names(RecordId),
    /// It is broken, or there was no answer.
    Unclear(Arc<StsTrouble>),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the ledger: before that it is not known whether a policy binds.
    Recall,
    /// Ask for the record: what was last heard is too old.
    Ask,
    /// Fetch the policy of this id: there is none, or it is another one.
    Fetch(RecordId),
    /// Fetch the policy of this id some time soon; what is there binds.
    Refresh(RecordId),
    /// Nothing.
    Rest,
}

impl Step {
    /// Whether there is no answer before it is done.
    pub(super) fn must_be_waited_for(&self) -> bool {
        matches!(self, Self::Recall | Self::Ask | Self::Fetch(_))
    }
}

/// A policy that was fetched before this time is due to be fetched again.
pub(super) fn refresh_before(now: Timestamp) -> Timestamp {
    before(now, REFRESH_AFTER)
}

impl Known {
    pub(super) fn step(&self, now: Timestamp) -> Step {
        if self.recalled { self.onward(now) } else { Step::Recall }
    }

    /// What to do next whether the ledger could be read or not: a policy fetched now is as good as any.
    pub(super) fn onward(&self, now: Timestamp) -> Step {
        if self.trusted.is_none_or(|until| now >= until) {
            return Step::Ask;
        }
        let Record::Names(id) = &self.record else { return Step::Rest };
        if self.pause.is_some_and(|until| now < until) {
            return Step::Rest;
        }
        match self.binding(now) {
            Some(policy) if policy.id != *id => Step::Fetch(id.clone()),
            Some(policy) if is_due(policy, now) => Step::Refresh(id.clone()),
            Some(_) => Step::Rest,
            None => Step::Fetch(id.clone()),
        }
    }

    pub(super) fn answer(&self, now: Timestamp) -> Found {
        if !self.recalled {
            let not_yet = || unread("it was not read to the end".to_owned(), now);
            return Found { policy: None, trouble: Some(self.unread.clone().unwrap_or_else(not_yet)) };
        }
        let policy = self.binding(now).map(|policy| Binding {
            fetched: policy.clone(),
            source: match &self.record {
                Record::Names(id) if *id == policy.id => Source::Cached,
                _ => Source::Stale,
            },
        });
        let trouble = match &self.record {
            Record::Absent => None,
            Record::Names(_) => self.trouble.clone(),
            Record::Unclear(trouble) => Some(trouble.clone()),
        };
        Found { policy, trouble }
    }

    /// The ledger answered. What was fetched since then is newer.
    pub(super) fn recall(&mut self, policy: Option<FetchedPolicy>) {
        self.recalled = true;
        self.unread = None;
        if self.policy.is_none() {
            self.policy = policy.map(Arc::new);
        }
    }

    /// The ledger could not be read. It is tried again whenever somebody asks.
    pub(super) fn failed_to_recall(&mut self, why: String, now: Timestamp) {
        self.unread = Some(unread(why, now));
        self.unread_count = self.unread_count.wrapping_add(1);
    }

    /// DNS answered: with text records and their time to live, or with none.
    pub(super) fn heard(&mut self, answer: Result<(Vec<String>, Duration), LookupError>, now: Timestamp) {
        let unclear = |fault| Record::Unclear(Arc::new(StsTrouble { fault, at: now }));
        let (record, trust) = match answer {
            Ok((texts, ttl)) => {
                let trust = ttl.clamp(TRUST_LEAST, TRUST_MOST);
                match record_id(&texts) {
                    Ok(Some(id)) => (Record::Names(id), trust),
                    Ok(None) => (Record::Absent, trust),
                    Err(error) => (unclear(StsFault::Record(error)), trust),
                }
            }
            Err(error) if error.is_temporary() => (unclear(StsFault::Lookup(error.to_string())), TRUST_LEAST),
            Err(_) => (Record::Absent, ABSENCE_TRUSTED),
        };
        self.record = record;
        self.trusted = Some(later(now, trust));
    }

    /// A policy was fetched.
    pub(super) fn fetched(&mut self, policy: FetchedPolicy, now: Timestamp) {
        // A policy that binds for seconds only is no reason to fetch it for every message.
        let pause = policy.policy.max_age.clamp(TRUST_LEAST, PAUSE_FIRST);
        (self.pause, self.failures, self.trouble) = (Some(later(now, pause)), 0, None);
        (self.recalled, self.unread) = (true, None);
        self.policy = Some(Arc::new(policy));
    }

    /// A policy could not be fetched.
    pub(super) fn failed(&mut self, fault: StsFault, now: Timestamp) {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MOST);
        self.failures = self.failures.saturating_add(1);
        self.pause = Some(later(now, pause));
        self.trouble = Some(Arc::new(StsTrouble { fault, at: now }));
    }

    fn binding(&self, now: Timestamp) -> Option<&Arc<FetchedPolicy>> {
        self.policy.as_ref().filter(|policy| policy.binds(now))
    }
}

fn unread(why: String, at: Timestamp) -> Arc<StsTrouble> {
    Arc::new(StsTrouble { fault: StsFault::Unread(why), at })
}

/// A day after it was fetched, or earlier when less than a quarter of its time is left.
fn is_due(policy: &FetchedPolicy, now: Timestamp) -> bool {
    let quarter = later(policy.fetched, policy.policy.max_age / 4 * 3);
    policy.fetched <= refresh_before(now) || now >= quarter
}

#[cfg(test)]
mod tests {
    use postern_dns::mta_sts::Policy;

    use super::*;

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn id(text: &str) -> RecordId {
        text.parse().unwrap()
    }

    fn policy(name: &str, fetched: i64, max_age: i64) -> FetchedPolicy {
        let text = format!("version: STSv1\nmode: enforce\nmx: a.example\nmax_age: {max_age}\n");
        let policy = Policy::parse(text.as_bytes()).unwrap();
        FetchedPolicy { id: id(name), policy, fetched: at(fetched) }
    }

    fn fault() -> StsFault {
        StsFault::Status(404)
    }

    #[derive(Clone, Copy, Debug)]
    enum Says {
        Id(&'static str),
        Nothing,
        Broken,
        Silence,
    }

    impl Known {
        fn of(policy: Option<FetchedPolicy>) -> Self {
            let mut known = Self::default();
            known.recall(policy);
            known
        }

        fn hears(&mut self, says: Says, ttl: u64, second: i64) {
            let record = |text: String| Ok((vec![text], Duration::from_secs(ttl)));
            let answer = match says {
                Says::Id(id) => record(format!("v=STSv1; id={id};")),
                Says::Nothing => Err(LookupError::BadName("nothing like it".to_owned())),
                Says::Broken => record("v=STSv1; no".to_owned()),
                Says::Silence => Err(LookupError::Temporary("no answer".to_owned())),
            };
            self.heard(answer, at(second));
        }

        fn source(&self, second: i64) -> Option<Source> {
            self.answer(at(second)).policy.map(|binding| binding.source)
        }
    }

    #[test]
    fn a_domain_nobody_asked_about_is_asked_first() {
        assert_eq!(Known::of(None).step(at(0)), Step::Ask);
        assert_eq!(Known::of(Some(policy("1", 0, 100))).step(at(0)), Step::Ask);
        assert_eq!(Known::of(Some(policy("1", 0, 100))).source(0), Some(Source::Stale));
    }

    #[test]
    fn before_the_ledger_is_read_nothing_is_known() {
        let mut known = Known::default();
        let unread = |known: &Known| {
            let found = known.answer(at(0));
            found.policy.is_none() && found.unanswered().is_some()
        };
        assert!(known.step(at(0)) == Step::Recall && unread(&known));
        for says in [Says::Id("1"), Says::Nothing, Says::Broken, Says::Silence] {
            known.hears(says, 1000, 0);
            known.failed_to_recall("locked".to_owned(), at(0));
            assert!(known.step(at(0)) == Step::Recall && unread(&known), "{says:?}");
            assert_ne!(known.onward(at(0)), Step::Ask, "{says:?}");
        }
        known.recall(Some(policy("1", 0, DAY)));
        assert_eq!((known.step(at(0)), known.source(0)), (Step::Rest, Some(Source::Stale)));
        let mut known = Known::default();
        known.failed_to_recall("locked".to_owned(), at(0));
        known.fetched(policy("1", 0, DAY), at(0));
        assert!(!unread(&known) && known.source(0).is_some(), "a policy that was fetched needs no ledger");
    }

    /// Every record against every policy, with and without a pause.
    #[test]
    fn what_to_do_follows_from_record_policy_and_pause() {
        let fetch = |name| Step::Fetch(id(name));
        let refresh = |name| Step::Refresh(id(name));
        let (rest, stale, cached) = (Step::Rest, Some(Source::Stale), Some(Source::Cached));
        let (none, young, old) = (None, Some((0, 100 * DAY)), Some((-2 * DAY, 100 * DAY)));
        let (ending, over) = (Some((-76, 100)), Some((-100, 100)));
        for (says, kept, step, source) in [
            (Says::Id("1"), none, fetch("1"), None),
            (Says::Id("1"), young, rest.clone(), cached),
            (Says::Id("1"), old, refresh("1"), cached),
            (Says::Id("1"), ending, refresh("1"), cached),
            (Says::Id("1"), over, fetch("1"), None),
            (Says::Id("2"), young, fetch("2"), stale),
            (Says::Id("2"), old, fetch("2"), stale),
            (Says::Id("2"), over, fetch("2"), None),
            (Says::Nothing, none, rest.clone(), None),
            (Says::Nothing, young, rest.clone(), stale),
            (Says::Nothing, old, rest.clone(), stale),
            (Says::Nothing, over, rest.clone(), None),
            (Says::Broken, none, rest.clone(), None),
            (Says::Broken, young, rest.clone(), stale),
            (Says::Broken, over, rest.clone(), None),
            (Says::Silence, none, rest.clone(), None),
            (Says::Silence, young, rest.clone(), stale),
            (Says::Silence, over, rest.clone(), None),
        ] {
            let kept = kept.map(|(fetched, max_age)| policy("1", fetched, max_age));
            let mut known = Known::of(kept);
            known.hears(says, 1000, 0);
            assert_eq!((known.step(at(0)), known.source(0)), (step, source), "{says:?}, {:?}", known.policy);
            known.failed(fault(), at(0));
            assert_eq!((known.step(at(59)), known.source(0)), (Step::Rest, source), "{says:?} in a pause");
        }
    }

    #[test]
    fn a_record_is_trusted_for_its_time_to_live_within_reason() {
        for (says, ttl, trusted) in [
            (Says::Id("1"), 600, 600),
            (Says::Id("1"), 0, 60),
            (Says::Id("1"), 10_000_000, DAY),
            (Says::Broken, 600, 600),
            (Says::Nothing, 0, 300),
            (Says::Silence, 0, 60),
        ] {
            let mut known = Known::of(Some(policy("1", 0, DAY)));
            known.hears(says, ttl, 0);
            assert_ne!(known.step(at(trusted - 1)), Step::Ask, "{says:?}");
            assert_eq!(known.step(at(trusted)), Step::Ask, "{says:?}");
        }
    }

    #[test]
    fn the_pause_after_failures_grows_to_an_hour() {
        let mut known = Known::of(None);
        let mut now = 0;
        for minutes in [5, 10, 20, 40, 60, 60] {
            known.hears(Says::Id("1"), 1_000_000, now);
            known.failed(fault(), at(now));
            assert_eq!(known.step(at(now + minutes * 60 - 1)), Step::Rest);
            now += minutes * 60;
            assert_eq!(known.step(at(now)), Step::Fetch(id("1")));
        }
        known.fetched(policy("1", now, 10 * DAY), at(now));
        known.failed(fault(), at(now));
        assert_eq!(known.failures, 1, "a success begins anew");
    }

    #[test]
    fn a_policy_that_binds_for_no_time_is_fetched_once_a_minute() {
        let mut known = Known::of(None);
        known.hears(Says::Id("1"), 1000, 0);
        known.fetched(policy("1", 0, 0), at(0));
        assert_eq!((known.step(at(59)), known.source(0)), (Step::Rest, None));
        assert_eq!(known.step(at(60)), Step::Fetch(id("1")));
    }

    #[test]
    fn the_trouble_stays_until_it_goes_well() {
        let mut known = Known::of(Some(policy("1", 0, DAY)));
        let trouble = |known: &Known| known.answer(at(0)).trouble.map(|trouble| trouble.fault.clone());
        known.hears(Says::Silence, 0, 0);
        assert_eq!(trouble(&known), Some(StsFault::Lookup("no answer".to_owned())));
        known.hears(Says::Id("2"), 0, 0);
        assert_eq!(trouble(&known), None);
        known.failed(fault(), at(0));
        assert_eq!(trouble(&known), Some(fault()));
        known.hears(Says::Nothing, 0, 0);
        assert_eq!(trouble(&known), None, "who has no record has no trouble");
        known.hears(Says::Id("2"), 0, 0);
        assert_eq!(trouble(&known), Some(fault()));
        known.fetched(policy("2", 0, DAY), at(0));
        assert_eq!(trouble(&known), None);
    }
}
