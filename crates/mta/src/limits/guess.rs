//! Wrong passwords: who guesses, who only mistypes, and what to do about either. Pure.
//!
//! - [`Attempt`]: a sign-in, before it is judged. [`Stance`]: what to do with it. [`Evidence`]: what was wrong in the end.
//! - [`Guesses`]: the wrong passwords of late, as fingerprints, by account and by client; and where each account is at home.
//!
//! Only *distinct* wrong passwords count, so that a telephone with a stale one counts once, however often it tries. Slow
//! first, then stop: growing waits; then an account is closed to networks where it never signed in, and a network that
//! nobody signs in from is banned. An account is never closed, and nobody made to wait, where that account signed in
//! lately. Names that do not exist are treated like those that do.
//!
//! A failed SCRAM exchange shows no password. For the account all failures from one network are one; for the network those
//! of half an hour on one account are. Access tokens cannot be guessed and do not count here.
//!
//! What it deliberately does not do: know passwords, ban (see [`bans`](super::bans)), or wait.

use std::net::IpAddr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_smtp::secret::Secret;
use serde::{Deserialize, Serialize};

use super::book::Book;
use super::fingerprint::Fingerprints;
use super::subject::{account_key, address_key, network_key};
use crate::config::{Allowance, Guessing};

/// So many accounts that wrong passwords were tried for are known at once,
const ACCOUNTS_MOST: usize = 20_000;
/// so many clients and networks that they came from,
const CLIENTS_MOST: usize = 20_000;
/// and so many accounts with the networks they are at home in,
const HOMES_MOST: usize = 50_000;
/// so many networks of each.
const HOMES_OF_ONE: usize = 16;
/// A network of 24 bits may have so many times the wrong passwords of one address.
const NETWORK_FACTOR: usize = 4;
/// So many distinct wrong passwords cost no wait.
const FREE: usize = 5;
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
    address: IpAddr,
    /// The client can never be banned: loopback, a trusted front end, `[bans] never`.
    spared: bool,
}

/// What to do with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// Judge it, after this wait, in this lane.
    Go(Duration, Lane),
    /// The account is closed to networks where it is not at home.
    Closed,
}

/// Who is judged beside whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The account signed in from this network lately.
    AtHome,
    /// Others signed in from here lately, or it is trusted.
    Neighbour,
    /// Nobody did.
    Stranger,
}

/// What was wrong with a sign-in.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Evidence<'a> {
    /// This password.
    Password(&'a Secret),
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
    pub(super) homes: Book<Vec<Home>>,
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

/// A network where an account signed in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Home {
    network: String,
    last: Timestamp,
}

impl Attempt {
    pub(crate) fn new(name: &str, address: IpAddr, spared: bool) -> Self {
        Self { account: account_key(name), address, spared }
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
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
        }
    }

    /// What to do with an attempt, before anything of it is looked at.
    pub(super) fn stance(&self, attempt: &Attempt, rules: &Guessing, now: Timestamp) -> Stance {
        if self.is_at_home(attempt, rules, now) {
            return Stance::Go(Duration::ZERO, Lane::AtHome);
        }
        let of_account =
            self.accounts.find(&attempt.account).map_or(0, |tried| tried.count(rules.account.per, now));
        if of_account as u64 >= rules.account.most {
            return Stance::Closed;
        }
        let places = attempt.places();
        let of_place = |(key, factor): &(String, usize)| {
            self.clients.find(key).map_or(0, |client| client.tried.count(rules.network.per, now) / factor)
        };
        let tried = places.iter().map(of_place).max().unwrap_or(0).max(of_account);
        let lane = if attempt.spared || self.is_known(&places, rules, now) {
            Lane::Neighbour
        } else {
            Lane::Stranger
        };
        Stance::Go(wait(tried, rules.longest_wait), lane)
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
        let Attempt { account, address, .. } = attempt;
        let name = account.as_bytes();
        let network = network_key(*address);
        let (for_account, for_place) = match evidence {
            Evidence::Password(password) => {
                let tag = fingerprints.of(&[b"password", name, password.expose()]);
                (tag, tag)
            }
            Evidence::Scram => {
                let span = now.as_second().div_euclid(SCRAM_SPAN).to_be_bytes();
                let tag = fingerprints.of(&[b"scram", name, network.as_bytes()]);
                (tag, fingerprints.of(&[b"scram", name, &span]))
            }
            Evidence::NoGuess => return None,
        };
        self.accounts.open(account, now).note(for_account, rules.account, 1, now);
        let places = attempt.places();
        for (key, factor) in &places {
            self.clients.open(key, now).tried.note(for_place, rules.network, *factor, now);
        }
        if attempt.spared {
            return None;
        }
        self.convict(&places, rules, now)
    }

    /// Notes a success: the account is at home there, and its network is known.
    pub(super) fn succeeded(&mut self, attempt: &Attempt, now: Timestamp) {
        let network = network_key(attempt.address);
        let fresh = |last: Timestamp| now.duration_since(last) < FRESH;
        let homes = self.homes.find(&attempt.account);
        if homes.is_some_and(|homes| homes.iter().any(|home| home.network == network && fresh(home.last))) {
            return;
        }
        let homes = self.homes.open(&attempt.account, now);
        homes.retain(|home| home.network != network);
        homes.push(Home { network, last: now });
        let over = homes.len().saturating_sub(HOMES_OF_ONE);
        homes.drain(..over);
        for (key, _) in attempt.places() {
            self.clients.open(&key, now).success = Some(now);
        }
    }

    /// Forgets what was tried from a client: an administrator has lifted its ban. So many different passwords were known.
    pub(super) fn forgive(&mut self, client: &str, now: Timestamp) -> usize {
        if self.clients.find(client).is_none() {
            return 0;
        }
        let client = self.clients.open(client, now);
        client.bans = 0;
        std::mem::take(&mut client.tried).0.len()
    }

    /// Forgets what was tried for an account. So many different passwords were known.
    pub(super) fn reopen(&mut self, account: &str, now: Timestamp) -> usize {
        if self.accounts.find(account).is_none() {
            return 0;
        }
        std::mem::take(self.accounts.open(account, now)).0.len()
    }

    /// The accounts that are closed to networks where they are not at home.
    pub(super) fn closed(&self, rules: &Guessing, now: Timestamp) -> impl Iterator<Item = ClosedAccount<'_>> {
        self.accounts.iter().filter_map(move |(name, tried)| tried.closed(name, rules.account, now))
    }

    pub(super) fn prune(&mut self, rules: &Guessing, now: Timestamp) {
        let known_for = SignedDuration::try_from(rules.known_for).unwrap_or(FORGIVEN);
        self.accounts.prune(TRIED_LIFE, now);
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
        let network = network_key(attempt.address);
        let homes = self.homes.find(&attempt.account).map_or(&[][..], Vec::as_slice);
        homes.iter().any(|home| home.network == network && within(home.last, rules.known_for, now))
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

        fn succeed(&mut self, name: &str, address: &str, second: i64) {
            self.guesses.succeeded(&Attempt::new(name, address.parse().unwrap(), false), at(second));
        }

        fn stance(&self, name: &str, address: &str, second: i64) -> Stance {
            self.guesses.stance(&Attempt::new(name, address.parse().unwrap(), false), &RULES, at(second))
        }
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
        assert_eq!(house.stance("anna", OFFICE, 500), Stance::Go(Duration::ZERO, Lane::AtHome));
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
        assert_eq!(house.stance("anna", OFFICE, 100), Stance::Go(Duration::ZERO, Lane::AtHome));
        assert_eq!(house.stance("anna", "192.0.2.77", 100), Stance::Go(Duration::ZERO, Lane::AtHome));
        assert_eq!(house.stance("berta", ELSEWHERE, 100), Stance::Go(Duration::ZERO, Lane::Stranger));
        assert!(matches!(house.stance("anna", ELSEWHERE, 86_400 + 100), Stance::Go(..)), "a day later");
    }

    #[test]
    fn a_scram_client_with_a_stale_password_neither_closes_its_account_nor_bans_its_network() {
        let mut house = House::new();
        let attempt = Attempt::new("anna", OFFICE.parse().unwrap(), false);
        for minute in 0..1440 {
            let fingerprints = &house.fingerprints;
            let verdict =
                house.guesses.failed(&attempt, Evidence::Scram, fingerprints, &RULES, at(minute * 60));
            assert_eq!(verdict, None);
        }
        assert_eq!(house.stance("anna", ELSEWHERE, 86_400), Stance::Go(Duration::ZERO, Lane::Stranger));
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
