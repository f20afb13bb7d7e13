//! The counters between two flushes, in bounded memory.
//!
//! [`Counts`] holds for each day and domain one [`PolicyCounts`] a policy, with one [`FailureCount`] for each way in which
//! sessions failed. What there is no room for is not lost, but counted with fewer particulars: under
//! [`OTHER_DOMAINS`], under a policy of the same kind without its lines, or under a failure without host and words.
//!
//! What it deliberately does not do: read clocks, or touch a disk.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use postern_message::tls_report::ResultType;

use super::{PolicyApplied, PolicyResult, SessionSeen, result_of};
use crate::policy::day::Day;

/// Stands for all domains that there was no room for.
pub(crate) const OTHER_DOMAINS: &str = "*";
/// The particulars of all counters together, in octets.
const PARTICULARS_MOST: usize = 16 * 1024 * 1024;
/// A counter without its texts, in octets, roughly.
const COUNTER: usize = 200;
/// Different policies of one domain on one day; more come from a domain that changes them by the minute.
const POLICIES_MOST: usize = 32;
/// Different failures under one policy.
const FAILURES_MOST: usize = 100;
/// Of a policy's lines and hosts, as many are kept, each of at most so many octets.
const LINES_MOST: usize = 50;
const LINE_MOST: usize = 1000;
/// Lines and hosts together have at most so many octets.
const POLICY_MOST: usize = 4 * 1024;
/// Of a failure's words, so many octets.
const WORDS_MOST: usize = 200;
/// A host's or domain's name.
const NAME_MOST: usize = 255;

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    days: HashMap<Day, HashMap<String, Vec<PolicyCounts>>>,
    /// Octets of particulars.
    held: usize,
}

/// One domain's counters of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DomainCounts {
    pub(crate) day: Day,
    pub(crate) domain: String,
    pub(crate) policies: Vec<PolicyCounts>,
}

/// How sessions came up to one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyCounts {
    pub(crate) policy: PolicyApplied,
    pub(crate) succeeded: u64,
    pub(crate) failures: Vec<FailureCount>,
}

/// How many sessions failed in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FailureCount {
    pub(crate) failure: Failure<'static>,
    pub(crate) sessions: u64,
}

/// One way to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure<'a> {
    pub(crate) result: ResultType,
    /// Empty: various.
    pub(crate) host: Cow<'a, str>,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) local: Option<IpAddr>,
    pub(crate) why: Cow<'a, str>,
}

/// One policy, and what a number of sessions came to under it.
struct Tally<'a> {
    policy: PolicyApplied,
    outcome: Result<(), Failure<'a>>,
    sessions: u64,
}

impl Counts {
    /// Counts a session.
    pub(crate) fn count(&mut self, seen: SessionSeen, day: Day) {
        let SessionSeen { domain, policies, host, peer, local } = seen;
        let host = shortened(&host, NAME_MOST);
        for PolicyResult { mut policy, result } in policies {
            policy.shorten();
            let outcome = match &result {
                Ok(()) => Ok(()),
                Err(failure) => {
                    let Some(result) = result_of(failure.fault) else { continue };
                    let why = shortened(&failure.why, WORDS_MOST).into();
                    Err(Failure { result, host: host.into(), peer, local, why })
                }
            };
            self.add(day, shortened(&domain, NAME_MOST), Tally { policy, outcome, sessions: 1 });
        }
    }

    /// Takes back what could not be carried away.
    pub(crate) fn take_back(&mut self, domains: Vec<DomainCounts>) {
        for DomainCounts { day, domain, policies } in domains {
            for PolicyCounts { policy, succeeded, failures } in policies {
                let successes = Tally { policy: policy.clone(), outcome: Ok(()), sessions: succeeded };
                self.add(day, &domain, successes);
                for FailureCount { failure, sessions } in failures {
                    let tally = Tally { policy: policy.clone(), outcome: Err(failure), sessions };
                    self.add(day, &domain, tally);
                }
            }
        }
    }

    /// All that was counted.
    pub(crate) fn into_domains(self) -> Vec<DomainCounts> {
        let of_day = |(day, domains): (Day, HashMap<String, Vec<PolicyCounts>>)| {
            domains.into_iter().map(move |(domain, policies)| DomainCounts { day, domain, policies })
        };
        self.days.into_iter().flat_map(of_day).collect()
    }

    fn add(&mut self, day: Day, domain: &str, tally: Tally<'_>) {
        let domains = self.days.entry(day).or_default();
        let fits = domains.contains_key(domain) || self.held + domain.len() < PARTICULARS_MOST;
        let domain = if fits { domain } else { OTHER_DOMAINS };
        if !domains.contains_key(domain) {
            self.held += COUNTER + domain.len();
            domains.insert(domain.to_owned(), Vec::new());
        }
        let Some(policies) = domains.get_mut(domain) else { return };
        let counts = policy_counts(policies, tally.policy, &mut self.held);
        match tally.outcome {
            Ok(()) => counts.succeeded = counts.succeeded.saturating_add(tally.sessions),
            Err(failure) => counts.fail(failure, tally.sessions, &mut self.held),
        }
    }
}

fn policy_counts<'a>(
    policies: &'a mut Vec<PolicyCounts>,
    mut policy: PolicyApplied,
    held: &mut usize,
) -> &'a mut PolicyCounts {
    let find = |policies: &[PolicyCounts], policy: &PolicyApplied| {
        policies.iter().position(|counts| counts.policy == *policy)
    };
    let mut found = find(policies, &policy);
    if found.is_none() && (policies.len() >= POLICIES_MOST || *held + policy.octets() >= PARTICULARS_MOST) {
        policy = policy.any_of_its_kind();
        found = find(policies, &policy);
    }
    let at = found.unwrap_or_else(|| {
        *held += COUNTER + policy.octets();
        policies.push(PolicyCounts { policy, succeeded: 0, failures: Vec::new() });
        policies.len() - 1
    });
    &mut policies[at]
}

impl PolicyCounts {
    /// Sessions that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failures.iter().fold(0, |sum, count| sum.saturating_add(count.sessions))
    }

    fn fail(&mut self, failure: Failure<'_>, sessions: u64, held: &mut usize) {
        let find = |failures: &mut Vec<FailureCount>, failure: &Failure<'_>| {
            failures.iter().position(|count| count.failure == *failure)
        };
        let mut failure = failure;
        let mut found = find(&mut self.failures, &failure);
        if found.is_none() && (self.failures.len() >= FAILURES_MOST || *held >= PARTICULARS_MOST) {
            failure = Failure::various(failure.result);
            found = find(&mut self.failures, &failure);
        }
        let at = found.unwrap_or_else(|| {
            *held += COUNTER + failure.host.len() + failure.why.len();
            self.failures.push(FailureCount { failure: failure.into_owned(), sessions: 0 });
            self.failures.len() - 1
        });
        let count = &mut self.failures[at];
        count.sessions = count.sessions.saturating_add(sessions);
    }
}

impl Failure<'_> {
    /// All that there was no room for.
    pub(crate) fn various(result: ResultType) -> Failure<'static> {
        Failure { result, host: Cow::Borrowed(""), peer: None, local: None, why: Cow::Borrowed("") }
    }

    fn into_owned(self) -> Failure<'static> {
        let Self { result, host, peer, local, why } = self;
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Failure { result, host: owned(host), peer, local, why: owned(why) }
    }
}

impl PolicyApplied {
    fn shorten(&mut self) {
        match self {
            Self::Tlsa(records) => shorten_lines(records, POLICY_MOST),
            // The same hosts are in both.
            Self::Sts { lines, mx } => {
                shorten_lines(lines, POLICY_MOST / 2);
                shorten_lines(mx, POLICY_MOST / 2);
            }
            Self::NoPolicy => {}
        }
    }

    fn octets(&self) -> usize {
        let lists: [&[String]; 2] = match self {
            Self::Tlsa(records) => [records, &[]],
            Self::Sts { lines, mx } => [lines, mx],
            Self::NoPolicy => [&[], &[]],
        };
        lists.into_iter().flatten().map(|line| line.len() + size_of::<String>()).sum()
    }
}

/// Keeps the first lines, up to so many octets in all.
fn shorten_lines(lines: &mut Vec<String>, most: usize) {
    lines.truncate(LINES_MOST);
    let mut room = most;
    let mut kept = 0;
    for line in lines.iter_mut() {
        line.truncate(line.floor_char_boundary(LINE_MOST));
        let Some(left) = room.checked_sub(line.len()) else { break };
        (room, kept) = (left, kept + 1);
    }
    lines.truncate(kept);
}

fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use postern_smtp::tls::{TlsFailure, TlsFault};

    use super::*;

    fn day() -> Day {
        "2026-11-21".parse().unwrap()
    }

    fn session(domain: &str, policy: PolicyApplied, result: Result<(), TlsFailure>) -> SessionSeen {
        let policies = vec![PolicyResult { policy, result }];
        let (domain, host) = (domain.to_owned(), "mx.example.org".to_owned());
        SessionSeen { domain, policies, host, peer: None, local: None }
    }

    fn expired(why: &str) -> Result<(), TlsFailure> {
        Err(TlsFailure::new(TlsFault::Expired, why))
    }

    fn sessions(domains: &[DomainCounts]) -> u64 {
        let policies = domains.iter().flat_map(|domain| &domain.policies);
        policies.map(|policy| policy.succeeded + policy.failed()).sum()
    }

    #[test]
    fn alike_sessions_share_a_counter_and_others_do_not() {
        let mut counts = Counts::default();
        for why in ["a", "a", "b"] {
            counts.count(session("example.org", PolicyApplied::NoPolicy, expired(why)), day());
        }
        counts.count(session("example.org", PolicyApplied::NoPolicy, Ok(())), day());
        let tlsa = PolicyApplied::Tlsa(vec!["3 1 1 00".into()]);
        counts.count(session("example.org", tlsa, Ok(())), day());
        let [domain] = counts.into_domains().try_into().unwrap();
        let figures = |policy: &PolicyCounts| {
            (policy.succeeded, policy.failures.iter().map(|failure| failure.sessions).collect::<Vec<_>>())
        };
        let figures: Vec<_> = domain.policies.iter().map(figures).collect();
        assert_eq!(figures, [(1, vec![2, 1]), (1, vec![])]);
    }

    #[test]
    fn one_session_counts_under_each_of_its_policies_on_its_own_day() {
        let mut counts = Counts::default();
        let mut both = session("example.org", PolicyApplied::Tlsa(vec![]), Ok(()));
        both.policies.push(PolicyResult {
            policy: PolicyApplied::Sts { lines: vec![], mx: vec![] },
            result: expired("x"),
        });
        counts.count(both.clone(), day());
        counts.count(both, day().earlier(1));
        let domains = counts.into_domains();
        assert_eq!(domains.len(), 2);
        assert!(
            domains
                .iter()
                .all(|domain| domain.policies.len() == 2 && sessions(std::slice::from_ref(domain)) == 2)
        );
    }

    #[test]
    fn our_own_faults_are_not_counted() {
        let mut counts = Counts::default();
        let ours = Err(TlsFailure::new(TlsFault::OurTrust, "no roots"));
        counts.count(session("example.org", PolicyApplied::NoPolicy, ours), day());
        assert!(counts.into_domains().is_empty());
    }

    #[test]
    fn a_thousand_kinds_of_failure_and_policies_take_bounded_room_and_none_is_lost() {
        let mut counts = Counts::default();
        for n in 0..1000 {
            let policy = PolicyApplied::Sts { lines: vec![format!("mx: {n}")], mx: vec![] };
            counts.count(session("example.org", policy, Ok(())), day());
            let why = format!("{n}{}", "é".repeat(500));
            counts.count(session("example.org", PolicyApplied::NoPolicy, expired(&why)), day());
        }
        let domains = counts.into_domains();
        assert_eq!(sessions(&domains), 2000);
        let policies = &domains[0].policies;
        assert!(policies.len() <= POLICIES_MOST + 2, "{}", policies.len());
        let failures = policies.iter().flat_map(|policy| &policy.failures);
        assert!(failures.clone().count() <= FAILURES_MOST + 1);
        assert!(failures.clone().all(|count| count.failure.why.len() <= WORDS_MOST));
        assert!(
            failures.clone().any(|count| count.failure == Failure::various(ResultType::CertificateExpired))
        );
    }

    #[test]
    fn a_long_policy_keeps_its_first_lines_up_to_a_bound_and_its_counter() {
        let mut counts = Counts::default();
        let long = |tag: &str| (0..100).map(|n| format!("{tag}{n}{}", "é".repeat(450))).collect::<Vec<_>>();
        for policy in [PolicyApplied::Tlsa(long("t")), PolicyApplied::Sts { lines: long("l"), mx: long("m") }]
        {
            for _ in 0..2 {
                counts.count(session("example.org", policy.clone(), Ok(())), day());
            }
        }
        let [domain] = counts.into_domains().try_into().unwrap();
        for counted in &domain.policies {
            assert_eq!(counted.succeeded, 2);
            let lists = match &counted.policy {
                PolicyApplied::Tlsa(records) => vec![(records, "t")],
                PolicyApplied::Sts { lines, mx } => vec![(lines, "l"), (mx, "m")],
                PolicyApplied::NoPolicy => panic!("{counted:?}"),
            };
            let octets: usize = lists.iter().flat_map(|(list, _)| *list).map(String::len).sum();
            assert!(octets <= POLICY_MOST && octets > POLICY_MOST / 2, "{octets}");
            assert!(lists.iter().all(|(list, tag)| list[0].starts_with(&format!("{tag}0é"))));
        }
        assert_eq!(domain.policies.len(), 2);
    }

    #[test]
    fn a_flood_of_domains_takes_bounded_room_and_none_is_lost() {
        let mut counts = Counts::default();
        let long = "x".repeat(LINE_MOST * 2);
        for n in 0..2000 {
            let policy = PolicyApplied::Tlsa(vec![long.clone(); LINES_MOST * 2]);
            counts.count(session(&format!("{n}.example"), policy, expired(&long)), day());
        }
        assert!(counts.held < PARTICULARS_MOST + 2000 * 4 * COUNTER, "{}", counts.held);
        let mut flood = Counts { held: PARTICULARS_MOST, ..Counts::default() };
        for n in 0..10 {
            flood.count(session(&format!("{n}.example"), PolicyApplied::NoPolicy, Ok(())), day());
        }
        let others = flood.into_domains();
        assert_eq!((others.len(), others[0].domain.as_str(), sessions(&others)), (1, OTHER_DOMAINS, 10));
        assert_eq!(sessions(&counts.into_domains()), 2000);
    }
}
