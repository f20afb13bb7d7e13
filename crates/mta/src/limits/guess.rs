//! Wrong passwords: who guesses, who only mistypes, and what to do about either. Pure.
//!
//! - [`Attempt`]: a sign-in, before it is judged. [`Stance`]: what to do with it. [`Evidence`]: what was wrong in the end.
//! - [`Guesses`]: the wrong passwords of late, as fingerprints, by account and by client; and where each account is at home.
//!
//! Only *distinct* wrong passwords count, so that a telephone with a stale one counts once, however often it tries. Slow
//! first, then stop: growing waits; then an account is closed to addresses where it never signed in, and a network that
//! nobody signs in from is banned. An account is never closed where it signed in lately, and waits there only after a
//! failure; after many failures, before each. Names that do not exist are treated like those that do, and all
//! spellings of a name count together too.
//!
//! A failed SCRAM exchange shows no password. For the account all failures from one network are one; for the network those
//! of half an hour on one account are; for the client and that account together each is one of its own, unless
//! the account is at home there. Access tokens cannot be guessed and do not count here.
//!
//! What it deliberately does not do: know passwords, ban (see [`bans`](super::bans)), or wait.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_smtp::secret::Secret;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::fingerprint::Fingerprints;
use super::subject::{account_key, address_key, folded, network_key};
use crate::config::{Allowance, Guessing};

/// So many accounts that wrong passwords were tried for are known at once,
const ACCOUNTS_MOST: usize = 20_000;
/// so many clients and networks that they came from,
const CLIENTS_MOST: usize = 20_000;
/// so many accounts with the clients where they are at home,
const HOMES_MOST: usize = 50_000;
/// so many clients of each,
const HOMES_OF_ONE: usize = 32;
/// and so many clients with an account that they failed at.
const PAIRS_MOST: usize = 20_000;
/// A network of 24 bits may have so many times the wrong passwords of one address.
const NETWORK_FACTOR: usize = 4;
/// So many distinct wrong passwords cost no wait.
const FREE: usize = 5;
/// So many distinct wrong passwords for an account, where it is at home, hold up nothing that is right.
const FREE_AT_HOME: usize = 20;
/// The first wait; each further wrong password doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// SCRAM failures on one account from one network within this count as one for the network.
const SCRAM_SPAN: i64 = 1800;
/// What is known of a success is brought up to date no more often than this.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// Wrong passwords older than any allowance's time span are forgotten.
const TRIED_LIFE: SignedDuration = SignedDuration::from_hours(26);
/// A client that was not banned for so long begins with a first ban again.
const FORGIVEN: SignedDuration = SignedDuration::from_hours(24 * 30);

/// A sign-in that wants to be judged.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    account: String,
    /// What all spellings of the account have in common.
    folded: String,
    address: IpAddr,
    /// The client can never be banned: loopback, a trusted front end, `[bans] never`.
    spared: bool,
}

/// What to do with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// Judge it, after this wait, in this lane. At home the wait comes after a failure.
    Go(Duration, Lane),
    /// The account is closed to clients where it is not at home.
    Closed,
}

/// Who is judged beside whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    /// The account signed in from this client lately. Judged at once, so that who is right never waits; who is wrong waits
    /// as long as others, so that nobody learns who is at home.
    AtHome,
    /// It did, and many wrong passwords were tried for it there since.
    Doubted,
    /// Others signed in from here lately, or it is trusted.
    Neighbour,
    /// Nobody did.
    Stranger,
}

/// Where an account signed in lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// From the client in question.
    Here,
    /// From others.
    Elsewhere,
    /// From nowhere: perhaps there is no such account.
    Nowhere,
}

/// What was wrong with a sign-in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Evidence<'a> {
    /// This password.
    Password(&'a Secret),
    /// This password, perhaps: no directory could say.
    Unjudged(&'a Secret),
    /// A SCRAM proof, which shows no password.
    Scram,
    /// Something that nobody guesses: a token, a certificate, or a right password that may not be used.
    NoGuess,
}

/// Who is to be banned, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The whole network, or the one client.
    pub(super) whole_network: bool,
    /// So many distinct wrong passwords came from there.
    pub(super) tried: usize,
    /// So many times it was banned before.
    pub(super) before: u32,
}

/// Wrong passwords of late.
#[derive(Debug)]
pub(super) struct Guesses {
    pub(super) accounts: Book<Tried>,
    pub(super) clients: Book<Client>,
    pub(super) homes: Book<Vec<HomeAt>>,
    /// What one client failed with at one account: wrong passwords where it is at home, SCRAM exchanges elsewhere.
    pub(super) pairs: Book<Tried>,
    /// Tells SCRAM exchanges of one moment apart.
    exchanges: u64,
}

/// An account that is closed to networks where it is not at home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClosedAccount<'a> {
    pub(super) name: &'a str,
    /// So many different wrong passwords were tried.
    pub(super) tried: usize,
    /// The last one.
    pub(super) last: Timestamp,
    /// When it opens, if nothing more is tried.
    pub(super) opens: Timestamp,
}

/// Distinct wrong passwords, with when each was last tried.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Tried(Vec<(u64, i64)>);

/// What came from one client, or one network.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Client {
    tried: Tried,
    /// When somebody last signed in from there.
    success: Option<Timestamp>,
    bans: u32,
    banned: Option<Timestamp>,
}

/// A client where an account signed in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HomeAt {
    client: String,
    last: Timestamp,
}

impl Attempt {
    pub(crate) fn new(name: &str, address: IpAddr, spared: bool) -> Self {
        let account = account_key(name);
        Self { folded: folded(&account), account, address, spared }
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }

    /// The account as it is spelled, and what all spellings have in common.
    fn names(&self) -> impl Iterator<Item = &str> {
        let folded = (self.folded != self.account).then_some(self.folded.as_str());
        std::iter::once(self.account.as_str()).chain(folded)
    }

    /// The client together with the account.
    fn pair(&self) -> String {
        format!("{} {}", address_key(self.address), self.folded)
    }

    /// The client and its network. They are one and the same for IPv6.
    fn places(&self) -> [(String, usize); 2] {
        [(address_key(self.address), 1), (network_key(self.address), NETWORK_FACTOR)]
    }
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self {
            accounts: Book::new("account", ACCOUNTS_MOST),
            clients: Book::new("client", CLIENTS_MOST),
            homes: Book::new("home", HOMES_MOST),
            pairs: Book::new("pair", PAIRS_MOST),
            exchanges: 0,
        }
    }

    /// What to do with an attempt, before anything of it is looked at.
    pub(super) fn stance(&self, attempt: &Attempt, rules: &Guessing, now: Timestamp) -> Stance {
        let per = rules.account.per;
        let in_book = |book: &Book<Tried>, key: &str| book.find(key).map_or(0, |tried| tried.count(per, now));
        let of_name = |name: &str| in_book(&self.accounts, name);
        let of_account = attempt.names().map(of_name).max().unwrap_or(0);
        let of_pair = in_book(&self.pairs, &attempt.pair());
        let places = attempt.places();
        let of_place = |(key, factor): &(String, usize)| {
            self.clients.find(key).map_or(0, |client| client.tried.count(rules.network.per, now) / factor)
        };
        let of_places = places.iter().map(of_place).max().unwrap_or(0);
        let penalty = wait(of_places.max(of_account).max(of_pair), rules.longest_wait);
        if self.is_at_home(attempt, rules, now) {
            let lane = if of_pair < FREE_AT_HOME { Lane::AtHome } else { Lane::Doubted };
            return Stance::Go(penalty, lane);
        }
        if of_account.max(of_pair) as u64 >= rules.account.most {
            return Stance::Closed;
        }
        let known = attempt.spared || self.is_known(&places, rules, now);
        Stance::Go(penalty, if known { Lane::Neighbour } else { Lane::Stranger })
    }

    /// Whether a failure says nothing of its client: who is at home is not blamed for a directory that is out of order.
    pub(super) fn excuses(
        &self,
        attempt: &Attempt,
        evidence: Evidence<'_>,
        rules: &Guessing,
        now: Timestamp,
    ) -> bool {
        matches!(evidence, Evidence::Unjudged(_)) && self.is_at_home(attempt, rules, now)
    }

    /// Notes a failure. The answer is who is to be banned for it.
    pub(super) fn failed(
        &mut self,
        attempt: &Attempt,
        evidence: Evidence<'_>,
        fingerprints: &Fingerprints,
        rules: &Guessing,
        now: Timestamp,
    ) -> Option<Verdict> {
        if self.excuses(attempt, evidence, rules, now) || matches!(evidence, Evidence::NoGuess) {
            return None;
        }
        for name in attempt.names() {
            let tag = account_tag(name, attempt.address, evidence, fingerprints);
            self.accounts.open(name, now).note(tag, rules.account, 1, now);
        }
        self.note_pair(attempt, evidence, fingerprints, rules, now);
        let tag = place_tag(&attempt.account, evidence, fingerprints, now);
        let places = attempt.places();
        for (key, factor) in &places {
            self.clients.open(key, now).tried.note(tag, rules.network, *factor, now);
        }
        if attempt.spared {
            return None;
        }
        self.convict(&places, rules, now)
    }

    /// What a client failed with at this account: at home distinct passwords, elsewhere each SCRAM exchange.
    fn note_pair(
        &mut self,
        attempt: &Attempt,
        evidence: Evidence<'_>,
        fingerprints: &Fingerprints,
        rules: &Guessing,
        now: Timestamp,
    ) {
        let tag = match (evidence, self.is_at_home(attempt, rules, now)) {
            (Evidence::Password(_), true) => {
                account_tag(&attempt.folded, attempt.address, evidence, fingerprints)
            }
            (Evidence::Scram, false) => {
                self.exchanges = self.exchanges.wrapping_add(1);
                let (moment, number) = (now.as_nanosecond().to_be_bytes(), self.exchanges.to_be_bytes());
                fingerprints.of(&[b"exchange", &moment, &number])
            }
            _ => return,
        };
        let most = rules.account.most.max(FREE_AT_HOME as u64);
        let limit = Allowance { most, per: rules.account.per };
        self.pairs.open(&attempt.pair(), now).note(tag, limit, 1, now);
    }

    /// Notes a success: the account is at home there, and its network is known.
    pub(super) fn succeeded(&mut self, attempt: &Attempt, now: Timestamp) {
        let client = address_key(attempt.address);
        let fresh = |last: Timestamp| now.duration_since(last) < FRESH;
        let homes = self.homes.find(&attempt.account);
        if homes.is_some_and(|homes| homes.iter().any(|home| home.client == client && fresh(home.last))) {
            return;
        }
        let homes = self.homes.open(&attempt.account, now);
        homes.retain(|home| home.client != client);
        homes.push(HomeAt { client, last: now });
        let over = homes.len().saturating_sub(HOMES_OF_ONE);
        homes.drain(..over);
        for (key, _) in attempt.places() {
            self.clients.open(&key, now).success = Some(now);
        }
    }

    /// Forgets what was tried from a client: an administrator has lifted its ban. So many different passwords were known.
    pub(super) fn forgive(&mut self, key: &str, now: Timestamp) -> usize {
        clear(&mut self.pairs, |pair| pair.split_once(' ').is_some_and(|(of, _)| of == key), now);
        if self.clients.find(key).is_none() {
            return 0;
        }
        let client = self.clients.open(key, now);
        client.bans = 0;
        std::mem::take(&mut client.tried).0.len()
    }

    /// Forgets what was tried for an account, however it was spelled. So many different passwords were known.
    pub(super) fn reopen(&mut self, account: &str, now: Timestamp) -> usize {
        let one = folded(account);
        let of_pairs =
            clear(&mut self.pairs, |pair| pair.split_once(' ').is_some_and(|(_, name)| name == one), now);
        clear(&mut self.accounts, |name| folded(name) == one, now).max(of_pairs)
    }

    /// The accounts that are closed to networks where they are not at home.
    pub(super) fn closed(&self, rules: &Guessing, now: Timestamp) -> impl Iterator<Item = ClosedAccount<'_>> {
        self.accounts.iter().filter_map(move |(name, tried)| tried.closed(name, rules.account, now))
    }

    pub(super) fn prune(&mut self, rules: &Guessing, now: Timestamp) {
        let known_for = SignedDuration::try_from(rules.known_for).unwrap_or(FORGIVEN);
        self.accounts.prune(TRIED_LIFE, now);
        self.pairs.prune(TRIED_LIFE, now);
        self.clients.prune(known_for.max(FORGIVEN), now);
        self.homes.prune(known_for, now);
    }

    /// The narrowest place that is over its limit and that nobody signs in from.
    fn convict(&mut self, places: &[(String, usize)], rules: &Guessing, now: Timestamp) -> Option<Verdict> {
        for (place, (key, factor)) in places.iter().enumerate() {
            let client = self.clients.find(key)?;
            let tried = client.tried.count(rules.network.per, now);
            if (tried as u64) < rules.network.most.saturating_mul(*factor as u64)
                || client.is_known(rules, now)
            {
                continue;
            }
            let client = self.clients.open(key, now);
            let lately = client.banned.is_some_and(|last| now.duration_since(last) < FORGIVEN);
            let before = if lately { client.bans } else { 0 };
            (client.bans, client.banned, client.tried) =
                (before.saturating_add(1), Some(now), Tried::default());
            return Some(Verdict { whole_network: place > 0, tried, before });
        }
        None
    }

    fn is_at_home(&self, attempt: &Attempt, rules: &Guessing, now: Timestamp) -> bool {
        let client = address_key(attempt.address);
        let homes = self.homes.find(&attempt.account).map_or(&[][..], Vec::as_slice);
        homes.iter().any(|home| home.client == client && within(home.last, rules.known_for, now))
    }

    /// Where the account signed in lately, seen from the client that tries now.
    pub(super) fn home(&self, attempt: &Attempt, rules: &Guessing, now: Timestamp) -> Home {
        let client = address_key(attempt.address);
        let homes = self.homes.find(&attempt.account).map_or(&[][..], Vec::as_slice);
        let lately = homes.iter().filter(|home| within(home.last, rules.known_for, now));
        lately.fold(Home::Nowhere, |found, home| match found {
            Home::Here => Home::Here,
            _ if home.client == client => Home::Here,
            _ => Home::Elsewhere,
        })
    }

    fn is_known(&self, places: &[(String, usize)], rules: &Guessing, now: Timestamp) -> bool {
        places.iter().any(|(key, _)| self.clients.find(key).is_some_and(|client| client.is_known(rules, now)))
    }
}

impl Client {
    fn is_known(&self, rules: &Guessing, now: Timestamp) -> bool {
        self.success.is_some_and(|last| within(last, rules.known_for, now))
    }
}

impl Tried {
    fn count(&self, per: Duration, now: Timestamp) -> usize {
        let since = since(per, now);
        self.0.iter().filter(|(_, last)| *last > since).count()
    }

    fn closed<'a>(&self, name: &'a str, limit: Allowance, now: Timestamp) -> Option<ClosedAccount<'a>> {
        let since = since(limit.per, now);
        let mut times: Vec<i64> = self.0.iter().map(|(_, last)| *last).filter(|last| *last > since).collect();
        times.sort_unstable();
        let most = usize::try_from(limit.most).unwrap_or(usize::MAX);
        // When this one is forgotten too, too few are left.
        let key = *times.get(times.len().checked_sub(most)?)?;
        let moment = |second| Timestamp::from_second(second).unwrap_or(now);
        let per = i64::try_from(limit.per.as_secs()).unwrap_or(i64::MAX);
        Some(ClosedAccount {
            name,
            tried: times.len(),
            last: times.last().map_or(now, |last| moment(*last)),
            opens: moment(key.saturating_add(per)),
        })
    }

    /// The same password again is no further one. No more are kept than the limit needs.
    fn note(&mut self, tag: u64, limit: Allowance, factor: usize, now: Timestamp) {
        let since = since(limit.per, now);
        self.0.retain(|(other, last)| *other != tag && *last > since);
        self.0.push((tag, now.as_second()));
        let most = usize::try_from(limit.most).unwrap_or(usize::MAX).saturating_mul(factor);
        let over = self.0.len().saturating_sub(most);
        self.0.drain(..over);
    }
}

/// What a failure is for the account: one for each wrong password, and for each network that failed by SCRAM.
fn account_tag(name: &str, address: IpAddr, evidence: Evidence<'_>, fingerprints: &Fingerprints) -> u64 {
    match evidence {
        Evidence::Password(password) | Evidence::Unjudged(password) => {
            fingerprints.of(&[b"password", name.as_bytes(), password.expose()])
        }
        _ => fingerprints.of(&[b"scram", name.as_bytes(), network_key(address).as_bytes()]),
    }
}

/// What it is for the client and its network: by SCRAM one in each span of time, so that a stale telephone bans nobody.
fn place_tag(name: &str, evidence: Evidence<'_>, fingerprints: &Fingerprints, now: Timestamp) -> u64 {
    match evidence {
        Evidence::Password(password) | Evidence::Unjudged(password) => {
            fingerprints.of(&[b"password", name.as_bytes(), password.expose()])
        }
        _ => {
            let span = now.as_second().div_euclid(SCRAM_SPAN).to_be_bytes();
            fingerprints.of(&[b"scram", name.as_bytes(), &span])
        }
    }
}

/// Forgets what was tried under some keys. So much was known under the one with the most.
fn clear(book: &mut Book<Tried>, which: impl Fn(&str) -> bool, now: Timestamp) -> usize {
    let keys: Vec<String> =
        book.iter().map(|(key, _)| key).filter(|key| which(key)).map(str::to_owned).collect();
    let known = keys.iter().map(|key| std::mem::take(book.open(key, now)).0.len());
    known.max().unwrap_or(0)
}

fn within(last: Timestamp, span: Duration, now: Timestamp) -> bool {
    last.as_second() > since(span, now)
}

fn since(span: Duration, now: Timestamp) -> i64 {
    now.as_second().saturating_sub(i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}

/// Nothing for the first few, then twice as long for each.
fn wait(tried: usize, longest: Duration) -> Duration {
    let Some(beyond) = tried.checked_sub(FREE) else { return Duration::ZERO };
    let doubled = u32::try_from(beyond).ok().and_then(|beyond| 1u32.checked_shl(beyond)).unwrap_or(u32::MAX);
    FIRST_WAIT.saturating_mul(doubled).min(longest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Guessing = Guessing {
        account: Allowance { most: 20, per: Duration::from_hours(24) },
        network: Allowance { most: 30, per: Duration::from_hours(1) },
        longest_wait: Duration::from_secs(10),
        known_for: Duration::from_hours(24 * 14),
    };
    const OFFICE: &str = "192.0.2.1";
    const ELSEWHERE: &str = "198.51.100.1";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    /// What is told of failures at a house of its own.
    struct House {
        guesses: Guesses,
        fingerprints: Fingerprints,
    }

    impl House {
        fn new() -> Self {
            Self { guesses: Guesses::new(), fingerprints: Fingerprints::random().unwrap() }
        }

        fn fail(&mut self, name: &str, address: &str, password: &str, second: i64) -> Option<Verdict> {
            let attempt = Attempt::new(name, address.parse().unwrap(), false);
            let password = Secret::new(password);
            let evidence = Evidence::Password(&password);
            self.guesses.failed(&attempt, evidence, &self.fingerprints, &RULES, at(second))
        }

        fn fail_scram(&mut self, name: &str, address: &str, second: i64) -> Option<Verdict> {
            let attempt = Attempt::new(name, address.parse().unwrap(), false);
            self.guesses.failed(&attempt, Evidence::Scram, &self.fingerprints, &RULES, at(second))
        }

        fn succeed(&mut self, name: &str, address: &str, second: i64) {
            self.guesses.succeeded(&Attempt::new(name, address.parse().unwrap(), false), at(second));
        }

        fn stance(&self, name: &str, address: &str, second: i64) -> Stance {
            self.guesses.stance(&Attempt::new(name, address.parse().unwrap(), false), &RULES, at(second))
        }
    }

    #[test]
    fn where_an_account_signed_in_is_known_for_a_time_and_of_others_nothing() {
        let mut house = House::new();
        house.succeed("Anna@example.org", OFFICE, 0);
        let home = |name: &str, address: &str, second: i64| {
            let attempt = Attempt::new(name, address.parse().unwrap(), false);
            house.guesses.home(&attempt, &RULES, at(second))
        };
        assert_eq!(home("anna@example.org", OFFICE, 1), Home::Here);
        assert_eq!(home("anna@example.org", ELSEWHERE, 1), Home::Elsewhere);
        assert_eq!(home("madeup", OFFICE, 1), Home::Nowhere);
        assert_eq!(home("anna@invented.example", OFFICE, 1), Home::Nowhere, "another spelling is nobody's");
        assert_eq!(home("anna@example.org", OFFICE, 15 * 86_400), Home::Nowhere);
    }

    #[test]
    fn a_telephone_with_a_stale_password_counts_once_however_often_it_tries() {
        let mut house = House::new();
        for minute in 0..1440 {
            assert_eq!(house.fail("anna", OFFICE, "last year's", minute * 60), None);
        }
        assert_eq!(house.stance("anna", ELSEWHERE, 86_400), Stance::Go(Duration::ZERO, Lane::Stranger));
        assert_eq!(house.stance("berta", OFFICE, 86_400), Stance::Go(Duration::ZERO, Lane::Stranger));
    }

    #[test]
    fn a_guesser_waits_longer_and_longer_and_is_banned_in_the_end() {
        let mut house = House::new();
        let mut waits = Vec::new();
        let verdict = (0..100).find_map(|number| {
            let Stance::Go(wait, Lane::Stranger) = house.stance(&format!("user{number}"), OFFICE, number)
            else {
                panic!("closed");
            };
            waits.push(wait.as_secs());
            house.fail(&format!("user{number}"), OFFICE, "Password1", number)
        });
        assert_eq!(verdict, Some(Verdict { whole_network: false, tried: 30, before: 0 }));
        assert_eq!(&waits[..10], [0, 0, 0, 0, 0, 1, 2, 4, 8, 10]);
        let again =
            (0..100).find_map(|number| house.fail("anna", OFFICE, &number.to_string(), 4000 + number));
        assert_eq!(again.map(|verdict| verdict.before), Some(1), "the next ban is a second one");
    }

    #[test]
    fn guessers_all_over_a_network_are_banned_with_it() {
        let mut house = House::new();
        let verdict = (0..200).find_map(|number| {
            house.fail(&format!("user{number}"), &format!("192.0.2.{number}"), "Password1", number)
        });
        assert_eq!(verdict, Some(Verdict { whole_network: true, tried: 120, before: 0 }));
    }

    #[test]
    fn a_network_that_somebody_signs_in_from_is_never_banned_only_slowed() {
        let mut house = House::new();
        house.succeed("anna", OFFICE, 0);
        for number in 0..500 {
            assert_eq!(house.fail(&format!("user{number}"), OFFICE, "Password1", number), None);
        }
        // Whoever is right there is not held up.
        assert_eq!(house.stance("anna", OFFICE, 500), Stance::Go(RULES.longest_wait, Lane::AtHome));
        assert_eq!(
            house.stance("new colleague", OFFICE, 500),
            Stance::Go(RULES.longest_wait, Lane::Neighbour)
        );
        let later = 15 * 86_400;
        assert!(
            (0..40).any(|number| house.fail("anna", OFFICE, &number.to_string(), later + number).is_some())
        );
    }

    #[test]
    fn an_account_that_is_guessed_at_is_closed_to_strangers_and_open_at_home() {
        let mut house = House::new();
        house.succeed("anna", OFFICE, 0);
        for number in 0..20 {
            house.fail("Anna", &format!("203.0.{number}.1"), &number.to_string(), number);
        }
        assert_eq!(house.stance("anna", ELSEWHERE, 100), Stance::Closed);
        let closed: Vec<ClosedAccount<'_>> = house.guesses.closed(&RULES, at(100)).collect();
        assert_eq!(closed, [ClosedAccount { name: "anna", tried: 20, last: at(19), opens: at(86_400) }]);
        assert_eq!(house.stance("anna", OFFICE, 100), Stance::Go(RULES.longest_wait, Lane::AtHome));
        assert_eq!(house.stance("anna", "192.0.2.77", 100), Stance::Closed, "next door is not at home");
        assert_eq!(house.stance("berta", "192.0.2.77", 100), Stance::Go(Duration::ZERO, Lane::Neighbour));
        assert_eq!(house.stance("berta", ELSEWHERE, 100), Stance::Go(Duration::ZERO, Lane::Stranger));
        assert!(matches!(house.stance("anna", ELSEWHERE, 86_400 + 100), Stance::Go(..)), "a day later");
    }

    #[test]
    fn a_stale_telephone_by_scram_is_stopped_abroad_and_neither_closes_its_account_to_others_nor_bans_its_network()
     {
        let mut house = House::new();
        for minute in 0..1440 {
            assert_eq!(house.fail_scram("anna", OFFICE, minute * 60), None);
        }
        assert_eq!(house.stance("anna", OFFICE, 86_400), Stance::Closed);
        assert_eq!(house.stance("anna", ELSEWHERE, 86_400), Stance::Go(Duration::ZERO, Lane::Stranger));
        house.guesses.reopen("anna", at(86_400));
        assert!(matches!(house.stance("anna", OFFICE, 86_400), Stance::Go(..)));
    }

    #[test]
    fn who_guesses_by_scram_waits_and_is_stopped_after_as_many_as_any_guesser() {
        let mut house = House::new();
        let mut waits = Vec::new();
        while let Stance::Go(wait, Lane::Stranger) = house.stance("anna", ELSEWHERE, 0) {
            waits.push(wait.as_secs());
            assert_eq!(house.fail_scram("anna", ELSEWHERE, 0), None);
        }
        assert_eq!(waits.len(), 20);
        assert_eq!(&waits[..10], [0, 0, 0, 0, 0, 1, 2, 4, 8, 10]);
        assert_eq!(
            house.stance("anna@home.example", ELSEWHERE, 0),
            Stance::Closed,
            "by another spelling too"
        );
        assert!(matches!(house.stance("berta", ELSEWHERE, 0), Stance::Go(..)));
    }

    #[test]
    fn a_stale_telephone_by_scram_at_home_holds_up_nobody_there() {
        let mut house = House::new();
        house.succeed("anna", OFFICE, 0);
        for second in 0..500 {
            assert_eq!(house.fail_scram("anna", OFFICE, second), None);
        }
        assert_eq!(house.stance("anna", OFFICE, 500), Stance::Go(Duration::ZERO, Lane::AtHome));
    }

    #[test]
    fn many_wrong_passwords_at_home_make_their_account_wait_there_and_ban_nobody() {
        let mut house = House::new();
        house.succeed("anna", OFFICE, 0);
        house.succeed("berta", OFFICE, 0);
        for number in 0..20 {
            assert!(matches!(house.stance("anna", OFFICE, number), Stance::Go(_, Lane::AtHome)), "{number}");
            assert_eq!(house.fail("anna", OFFICE, &number.to_string(), number), None);
        }
        for number in 20..200 {
            let stance = house.stance("anna", OFFICE, number);
            assert_eq!(stance, Stance::Go(RULES.longest_wait, Lane::Doubted));
            assert_eq!(house.fail("anna", OFFICE, &number.to_string(), number), None);
        }
        assert!(matches!(house.stance("berta", OFFICE, 200), Stance::Go(_, Lane::AtHome)));
    }

    #[test]
    fn who_fails_at_home_waits_as_long_as_who_fails_beside_him() {
        let mut house = House::new();
        house.succeed("anna", OFFICE, 0);
        for number in 0..8 {
            house.fail(&format!("user{number}"), OFFICE, "Password1", number);
        }
        let waits = ["anna", "nobody"].map(|name| match house.stance(name, OFFICE, 10) {
            Stance::Go(wait, _) => wait,
            Stance::Closed => panic!("{name} is closed"),
        });
        assert_eq!(waits, [Duration::from_secs(8); 2]);
    }

    #[test]
    fn an_account_is_closed_under_all_its_spellings_and_opened_again_under_all() {
        let mut house = House::new();
        for number in 0..20 {
            let name =
                if number % 2 == 0 { format!("Bert@x{number}.example") } else { "CORP\\bert".to_owned() };
            house.fail(&name, &format!("203.0.{number}.1"), &number.to_string(), 0);
        }
        for name in ["bert", "bert@x1.example", "bert@new.example", "corp\\bert"] {
            assert_eq!(house.stance(name, ELSEWHERE, 1), Stance::Closed, "{name}");
        }
        house.guesses.reopen("bert@x1.example", at(1));
        for name in ["bert", "bert@x1.example", "corp\\bert"] {
            assert!(matches!(house.stance(name, ELSEWHERE, 1), Stance::Go(..)), "{name}");
        }
    }

    #[test]
    fn while_a_directory_is_down_strangers_passwords_count_and_those_at_home_do_not() {
        let mut house = House::new();
        house.succeed("anna", OFFICE, 0);
        let unjudged = |house: &mut House, address: &str| {
            (0..60).find_map(|number| {
                let attempt = Attempt::new("anna", address.parse().unwrap(), false);
                let password = Secret::new(number.to_string());
                let evidence = Evidence::Unjudged(&password);
                house.guesses.failed(&attempt, evidence, &house.fingerprints, &RULES, at(number))
            })
        };
        assert_eq!(unjudged(&mut house, OFFICE), None);
        assert_eq!(house.stance("anna", OFFICE, 60), Stance::Go(Duration::ZERO, Lane::AtHome));
        assert!(unjudged(&mut house, ELSEWHERE).is_some());
    }

    #[test]
    fn a_spared_client_is_slowed_and_never_banned() {
        let mut house = House::new();
        let attempt = Attempt::new("anna", "127.0.0.1".parse().unwrap(), true);
        for number in 0..100 {
            let password = Secret::new(number.to_string());
            let evidence = Evidence::Password(&password);
            assert_eq!(
                house.guesses.failed(&attempt, evidence, &house.fingerprints, &RULES, at(number)),
                None
            );
        }
        assert!(
            matches!(house.stance("berta", "127.0.0.1", 100), Stance::Go(wait, _) if wait == RULES.longest_wait)
        );
    }

    proptest! {
        #[test]
        fn memory_stays_bounded_and_names_make_no_difference(
            tries in prop::collection::vec((0u8..5, 0u8..5, 0u16..400), 1..400),
        ) {
            let mut houses = [House::new(), House::new()];
            let names = [["a", "b", "c", "d", "e"], ["nobody1", "nobody2", "nobody3", "nobody4", "nobody5"]];
            for (second, (name, network, password)) in (0i64..).zip(&tries) {
                let address = format!("203.0.{network}.1");
                let told: Vec<_> = houses.iter_mut().zip(names).map(|(house, names)| {
                    let name = names[usize::from(*name)];
                    (house.stance(name, &address, second), house.fail(name, &address, &password.to_string(), second))
                }).collect();
                prop_assert_eq!(&told[0], &told[1]);
            }
            for (_, tried) in houses[0].guesses.accounts.iter() {
                prop_assert!(tried.0.len() <= 20);
            }
            for (_, client) in houses[0].guesses.clients.iter() {
                prop_assert!(client.tried.0.len() <= 120);
            }
        }
    }
}
