//! How much each may do in how much time: principals, addresses, networks and listeners. Pure.
//!
//! - [`Source`]: who does it. [`Amounts`]: how much of what. [`TooFast`]: whose allowance is used up, and for how long.
//! - [`Counters`]: what was done lately, and which recipients each sender wrote to before.
//!
//! Only what was accepted counts: what is counted before it is stored is given back when it cannot be. What it deliberately does not do: decide what is a guess (see [`guess`](super::guess)), or
//! word the reply.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::subject::{address_key, network_key};
use super::window::Window;
use crate::config::{Allowance, Allowances, Rates};

/// So many of whom something is counted are known at once.
const COUNTED_MOST: usize = 20_000;
/// So many senders' recipients are remembered,
const SENDERS_MOST: usize = 4000;
/// the last so many of each.
const RECIPIENTS_MOST: usize = 2000;
/// A sender who wrote nothing for so long is forgotten, with his recipients.
const SENDER_LIFE: SignedDuration = SignedDuration::from_hours(24 * 180);
/// No allowance counts over a longer time.
const COUNT_LIFE: SignedDuration = SignedDuration::from_hours(26);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    /// Messages taken.
    Messages,
    /// Recipients of messages taken.
    Recipients,
    /// Those that the sender never wrote to before.
    NewRecipients,
    /// Octets of content taken.
    Octets,
    /// Sessions begun, or sign-ins.
    Sessions,
    /// Sign-ins that failed.
    FailedSignIns,
}

/// Whose allowance it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// A signed-in principal's.
    Principal,
    /// A client address's.
    Address,
    /// A client network's.
    Network,
    /// A listener's.
    Listener,
}

/// Who does something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    /// The principal, once it is known.
    pub(crate) principal: Option<&'a str>,
    /// The client's address; `None` where addresses are not counted.
    pub(crate) address: Option<IpAddr>,
    /// Where it came in.
    pub(crate) listener: &'a str,
}

/// How much of what.
pub(crate) type Amounts<'a> = &'a [(What, u64)];

/// An allowance is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooFast {
    /// Whose.
    pub(crate) scope: Scope,
    /// Of what.
    pub(crate) what: What,
    /// How it stands in the configuration.
    pub(crate) allowance: Allowance,
    /// So long until there is room again.
    pub(crate) wait: Duration,
}

/// What was done lately.
#[derive(Debug)]
pub(super) struct Counters {
    /// By scope and subject.
    pub(super) counted: Book<Vec<(What, Window)>>,
    /// By sender.
    pub(super) written_to: Book<Recipients>,
}

/// Whom a sender wrote to, as fingerprints, the last ones first out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "VecDeque<u32>", into = "VecDeque<u32>")]
pub(super) struct Recipients {
    order: VecDeque<u32>,
    known: HashSet<u32>,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self { counted: Book::new("rate", COUNTED_MOST), written_to: Book::new("recipients", SENDERS_MOST) }
    }

    /// Whether so much more is allowed to all whom it concerns. Nothing is counted.
    pub(super) fn check(
        &self,
        rules: &Rates,
        source: Source<'_>,
        amounts: Amounts<'_>,
        now: Timestamp,
    ) -> Result<(), TooFast> {
        for (scope, key, allowances) in source.concerned(rules) {
            let Some(tally) = self.counted.find(&key) else {
                never_fits(scope, allowances, amounts)?;
                continue;
            };
            for &(what, amount) in amounts {
                let Some(allowance) = allowances.of(what) else { continue };
                let empty = Window::default();
                let window =
                    tally.iter().find(|(counted, _)| *counted == what).map_or(&empty, |(_, window)| window);
                if let Some(wait) = window.wait(allowance, amount, now) {
                    return Err(TooFast { scope, what, allowance, wait });
                }
            }
        }
        Ok(())
    }

    /// Counts it, allowed or not.
    pub(super) fn count(&mut self, rules: &Rates, source: Source<'_>, amounts: Amounts<'_>, now: Timestamp) {
        for (_, key, allowances) in source.concerned(rules) {
            for &(what, amount) in amounts.iter().filter(|(_, amount)| *amount > 0) {
                let Some(allowance) = allowances.of(what) else { continue };
                let tally = self.counted.open(&key, now);
                let place = tally.iter().position(|(counted, _)| *counted == what).unwrap_or_else(|| {
                    tally.push((what, Window::default()));
                    tally.len() - 1
                });
                tally[place].1.add(amount, allowance.per, now);
            }
        }
    }

    /// Takes back what was counted for something that came to nothing.
    pub(super) fn give_back(
        &mut self,
        rules: &Rates,
        source: Source<'_>,
        amounts: Amounts<'_>,
        now: Timestamp,
    ) {
        for (_, key, _) in source.concerned(rules) {
            if self.counted.find(&key).is_none() {
                continue;
            }
            for (counted, window) in self.counted.open(&key, now) {
                if let Some((_, amount)) = amounts.iter().find(|(what, _)| what == counted) {
                    window.give_back(*amount);
                }
            }
        }
    }

    /// Which of these fingerprints of recipients are new to a sender.
    pub(super) fn new_to(&self, sender: &str, recipients: &[u32]) -> u64 {
        let known = self.written_to.find(sender);
        let mut seen = HashSet::new();
        let is_new = |one: &&u32| seen.insert(**one) && known.is_none_or(|known| !known.known.contains(*one));
        recipients.iter().filter(is_new).count() as u64
    }

    /// A sender has written to these.
    pub(super) fn wrote_to(&mut self, sender: &str, recipients: &[u32], now: Timestamp) {
        if self.new_to(sender, recipients) > 0 {
            let known = self.written_to.open(sender, now);
            for one in recipients {
                known.note(*one);
            }
        }
    }

    pub(super) fn prune(&mut self, now: Timestamp) {
        self.counted.prune(COUNT_LIFE, now);
        self.written_to.prune(SENDER_LIFE, now);
    }
}

/// More than was ever allowed does not fit before anything was counted either.
fn never_fits(scope: Scope, allowances: &Allowances, amounts: Amounts<'_>) -> Result<(), TooFast> {
    for &(what, amount) in amounts {
        if let Some(allowance) = allowances.of(what)
            && amount > allowance.most
        {
            return Err(TooFast { scope, what, allowance, wait: allowance.per });
        }
    }
    Ok(())
}

impl<'a> Source<'a> {
    /// Whose allowances count for it.
    fn concerned<'b>(
        &self,
        rules: &'b Rates,
    ) -> impl Iterator<Item = (Scope, String, &'b Allowances)> + use<'a, 'b> {
        let principal =
            self.principal.map(|name| (Scope::Principal, format!("principal {name}"), &rules.principal));
        let address = self
            .address
            .map(|address| (Scope::Address, format!("address {}", address_key(address)), &rules.address));
        let network = self
            .address
            .map(|address| (Scope::Network, format!("network {}", network_key(address)), &rules.network));
        let listener = (Scope::Listener, format!("listener {}", self.listener), &rules.listener);
        principal.into_iter().chain(address).chain(network).chain([listener])
    }

    /// Under which name it is remembered whom this sender writes to.
    pub(super) fn sender(&self) -> String {
        match (self.principal, self.address) {
            (Some(name), _) => format!("principal {name}"),
            (None, Some(address)) => format!("address {}", address_key(address)),
            (None, None) => format!("listener {}", self.listener),
        }
    }
}

impl Allowances {
    /// The allowance of one kind.
    pub(crate) fn of(&self, what: What) -> Option<Allowance> {
        match what {
            What::Messages => self.messages,
            What::Recipients => self.recipients,
            What::NewRecipients => self.new_recipients,
            What::Octets => self.octets,
            What::Sessions => self.sessions,
            What::FailedSignIns => self.failed_sign_ins,
        }
    }
}

impl Recipients {
    fn note(&mut self, recipient: u32) {
        if !self.known.insert(recipient) {
            return;
        }
        self.order.push_back(recipient);
        if self.order.len() > RECIPIENTS_MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

impl From<VecDeque<u32>> for Recipients {
    fn from(mut order: VecDeque<u32>) -> Self {
        order.truncate(RECIPIENTS_MOST);
        let known = order.iter().copied().collect();
        Self { order, known }
    }
}

impl From<Recipients> for VecDeque<u32> {
    fn from(recipients: Recipients) -> Self {
        recipients.order
    }
}

/// As a reply names it: `messages`, `new recipients`.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Messages => "messages",
            Self::Recipients => "recipients",
            Self::NewRecipients => "new recipients",
            Self::Octets => "octets",
            Self::Sessions => "sessions",
            Self::FailedSignIns => "failed sign-ins",
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Network => "network",
            Self::Listener => "listener",
        })
    }
}

/// For the log: which setting it was.
impl fmt::Display for TooFast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, what, allowance, .. } = self;
        let per = super::words(allowance.per);
        write!(f, "[rates.{scope}] allows {} {what} in {per}", allowance.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn allowed(most: u64) -> Allowance {
        Allowance { most, per: HOUR }
    }

    fn source<'a>(principal: Option<&'a str>, address: &str) -> Source<'a> {
        Source { principal, address: Some(address.parse().unwrap()), listener: "submission" }
    }

    fn take(
        counters: &mut Counters,
        rules: &Rates,
        source: Source<'_>,
        amounts: Amounts<'_>,
        second: i64,
    ) -> Result<(), Scope> {
        counters.check(rules, source, amounts, at(second)).map_err(|no| no.scope)?;
        counters.count(rules, source, amounts, at(second));
        Ok(())
    }

    #[test]
    fn each_principal_address_network_and_listener_has_an_allowance_of_its_own() {
        let messages = |most| Allowances { messages: Some(allowed(most)), ..Allowances::default() };
        let rules = Rates {
            principal: messages(1),
            address: messages(2),
            network: messages(3),
            listener: messages(4),
        };
        let mut counters = Counters::new();
        let mut send = |user: Option<&str>, address: &str| {
            take(&mut counters, &rules, source(user, address), &[(What::Messages, 1)], 0)
        };
        assert_eq!(send(Some("anna"), "192.0.2.1"), Ok(()));
        assert_eq!(send(Some("anna"), "198.51.100.1"), Err(Scope::Principal));
        assert_eq!(send(Some("berta"), "192.0.2.1"), Ok(()));
        assert_eq!(send(Some("clara"), "192.0.2.1"), Err(Scope::Address));
        assert_eq!(send(Some("clara"), "192.0.2.2"), Ok(()));
        assert_eq!(send(Some("dora"), "192.0.2.3"), Err(Scope::Network));
        assert_eq!(send(None, "198.51.100.1"), Ok(()));
        assert_eq!(send(None, "203.0.113.1"), Err(Scope::Listener));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_address_and_one_network() {
        let rules = Rates {
            address: Allowances { sessions: Some(allowed(1)), ..Allowances::default() },
            ..Rates::default()
        };
        let mut counters = Counters::new();
        let mut come =
            |address| take(&mut counters, &rules, source(None, address), &[(What::Sessions, 1)], 0);
        assert_eq!(come("2001:db8::1"), Ok(()));
        assert_eq!(come("2001:db8::ffff:2"), Err(Scope::Address));
        assert_eq!(come("2001:db8:0:1::1"), Ok(()));
    }

    #[test]
    fn a_message_with_more_recipients_than_are_ever_allowed_is_refused_though_nothing_was_sent_before() {
        let recipients = Allowances { recipients: Some(allowed(10)), ..Allowances::default() };
        let rules = Rates { principal: recipients, ..Rates::default() };
        let counters = Counters::new();
        let refused =
            counters.check(&rules, source(Some("anna"), "192.0.2.1"), &[(What::Recipients, 11)], at(0));
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.wait, refused.to_string().as_str()),
            (HOUR, "[rates.principal] allows 10 recipients in 1h")
        );
    }

    #[test]
    fn only_addresses_that_one_never_wrote_to_are_new_and_each_once() {
        let mut counters = Counters::new();
        assert_eq!(counters.new_to("anna", &[1, 2, 2]), 2);
        counters.wrote_to("anna", &[1, 2, 2], at(0));
        assert_eq!(counters.new_to("anna", &[1, 2, 3]), 1);
        assert_eq!(counters.new_to("berta", &[1]), 1);
        let many: Vec<u32> = (10..3000).collect();
        counters.wrote_to("anna", &many, at(0));
        assert_eq!(counters.written_to.find("anna").unwrap().order.len(), RECIPIENTS_MOST);
        assert_eq!(counters.new_to("anna", &[1]), 1, "the oldest were forgotten");
        assert_eq!(counters.new_to("anna", &[2999]), 0);
        let json = serde_json::to_string(counters.written_to.find("anna").unwrap()).unwrap();
        let again: Recipients = serde_json::from_str(&json).unwrap();
        assert_eq!(again.known.len(), RECIPIENTS_MOST);
    }
}
