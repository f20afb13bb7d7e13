//! How much anybody may do, and what is done about those who guess passwords or use stolen ones.
//!
//! The types to know:
//! - [`Limits`]: the one door. Who comes in is asked about at [`arrive`](Limits::arrive), a sign-in at
//!   [`admit`](Limits::admit), mail at [`may_send`](Limits::may_send) and [`take`](Limits::take).
//! - `rates`: how much in how much time. `guess`: wrong passwords, and what they lead to. `bans`: who is turned away.
//!   `bursts`: mail that is held because it is unlike its sender. All of them are pure and have the time as an argument.
//! - `turnstile`: whose password is looked at first when many want to sign in. `file`: what outlives a restart.
//! - [`Request`] and [`Response`]: what an administrator asks.
//!
//! All counts live in memory, bounded, and are written behind every few seconds: no session waits for a disk. What it
//! deliberately does not do: verify passwords, speak SMTP, or read configuration files.

mod bans;
mod book;
mod bursts;
mod file;
mod fingerprint;
mod guess;
mod operations;
mod rates;
mod running;
mod subject;
mod turnstile;
mod window;

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_smtp::address::Mailbox;

pub use bans::{Ban, BannedBy};
pub use bursts::Burst;
pub use operations::{Lifted, Request, Response};
pub use subject::Subject;
pub(crate) use subject::{client_net, client_of, network_of};

pub(crate) use bursts::Fate;
pub(crate) use guess::{Attempt, Evidence, Home};
pub(crate) use operations::{carry_out, carry_out_alone};
pub(crate) use rates::{Amounts, Scope, Source, TooFast, What};
pub(crate) use running::{HELD_BECAUSE, flush, run, tell_of_burst};
pub(crate) use turnstile::Pass;

use crate::config::{Guessing, Protection, Rates};
use crate::directory::{Principal, address_key};
use crate::ledger::LedgerError;
use bans::Bans;
use bursts::Histories;
use file::{Contents, File, News};
use fingerprint::Fingerprints;
use guess::{Guesses, Lane, Stance};
use rates::Counters;
use subject::account_key;
use turnstile::{Crowded, Turnstile};

/// All counts, guesses, bans and histories of one installation.
#[derive(Debug)]
pub(crate) struct Limits {
    state: Mutex<State>,
    turnstile: Turnstile,
    fingerprints: Fingerprints,
    file: File,
}

#[derive(Debug)]
struct State {
    counters: Counters,
    guesses: Guesses,
    bans: Bans,
    histories: Histories,
    /// Bans that the file has not heard of.
    banned: Vec<Ban>,
    unbanned: Vec<Subject>,
}

/// Limits that work, and what kept them from being those on disk.
pub(crate) struct OpenedLimits {
    pub(crate) limits: Limits,
    /// For the administrator.
    pub(crate) trouble: Option<LedgerError>,
}

/// Why there can be no limits at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not even a database in memory can be had.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The system has no randomness to give.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

/// Why a client is turned away when it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It is banned. With how often that ban was met, if that is to be said now.
    Banned(Box<Ban>, Option<u64>),
    /// It comes too often.
    TooFast(TooFast),
}

/// Why a sign-in is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Barred {
    /// Its address is banned since the session began.
    Banned(Box<Ban>),
    /// The account is closed to clients where it is not at home.
    Closed,
    /// Too many wait.
    Crowded,
    /// Too many sign-ins failed, or succeeded.
    TooFast(TooFast),
}

/// What was counted for a message.
#[derive(Debug)]
pub(crate) struct Taken {
    amounts: Vec<(What, u64)>,
    /// Fingerprints.
    recipients: Vec<u32>,
}

impl Limits {
    /// Opens `activity.db` in the data directory, or makes it there, and reads what it holds.
    ///
    /// # Errors
    /// See [`Error`]; a file that cannot be used is none, but [`OpenedLimits::trouble`].
    pub(crate) async fn open(data_dir: &Path, now: Timestamp) -> Result<OpenedLimits, Error> {
        let (file, trouble) = File::open(data_dir)?;
        let key = Fingerprints::key().map_err(|_| Error::NoRandomness)?;
        let fingerprints = file.fingerprints(key).await?;
        let state = State::of(file.contents().await?, now);
        let limits = Self { state: Mutex::new(state), turnstile: Turnstile::new(), fingerprints, file };
        Ok(OpenedLimits { limits, trouble })
    }

    /// As they were last written, for those who only look.
    ///
    /// # Errors
    /// See [`Error`]: among them a file that cannot be read.
    pub(crate) async fn open_for_reading(data_dir: &Path, now: Timestamp) -> Result<Self, Error> {
        let file = File::open_for_reading(data_dir)?;
        let key = Fingerprints::key().map_err(|_| Error::NoRandomness)?;
        let state = State::of(file.contents().await?, now);
        // Nothing is compared with what is known.
        let fingerprints = Fingerprints::new(&key);
        Ok(Self { state: Mutex::new(state), turnstile: Turnstile::new(), fingerprints, file })
    }

    /// Whether a client may begin a session; it is counted.
    ///
    /// # Errors
    /// Why it is turned away.
    pub(crate) fn arrive(
        &self,
        client: IpAddr,
        rules: &Rates,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<(), Turned> {
        let mut state = self.state();
        if let Some(met) = state.bans.meet(client, now) {
            return Err(Turned::Banned(Box::new(met.ban), met.say));
        }
        let one = [(What::Sessions, 1)];
        state.counters.check(rules, source, &one, now).map_err(Turned::TooFast)?;
        state.counters.count(rules, source, &one, now);
        Ok(())
    }

    /// Waits until a sign-in may be looked at. Whatever it waits for, it holds up nobody who is at home.
    ///
    /// # Errors
    /// Why it is not looked at.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub(crate) async fn admit(
        &self,
        attempt: &Attempt,
        rules: &Protection,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<Pass, Barred> {
        let (penalty, lane) = self.stance(attempt, rules, source, now)?;
        let pass = self.take_turn(attempt, lane, penalty).await?;
        if lane == Lane::AtHome {
            return Ok(pass);
        }
        // Others may have failed meanwhile. Whoever waited his time need not wait again.
        self.stance(attempt, rules, source, Timestamp::now().max(now))?;
        Ok(pass)
    }

    /// As [`admit`](Self::admit), for what shows nothing right or wrong yet: without a penalty. That comes with the proof.
    ///
    /// # Errors
    /// Why it is not looked at.
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub(crate) async fn admit_question(
        &self,
        attempt: &Attempt,
        rules: &Protection,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<Pass, Barred> {
        let (_, lane) = self.stance(attempt, rules, source, now)?;
        self.take_turn(attempt, lane, Duration::ZERO).await
    }

    async fn take_turn(&self, attempt: &Attempt, lane: Lane, penalty: Duration) -> Result<Pass, Barred> {
        let crowded = |Crowded| Barred::Crowded;
        let place = self.turnstile.place(attempt.address(), lane, penalty).map_err(crowded)?;
        self.turnstile.pass(place, lane, penalty).await.map_err(crowded)
    }

    /// The ban that somebody falls under by the name that he gave, his own, or one of his addresses.
    pub(crate) fn ban_of(&self, given: &str, principal: &Principal, now: Timestamp) -> Option<Ban> {
        let addresses = principal.addresses.iter().map(address_key);
        let mut names = [account_key(given), account_key(&principal.name)].into_iter().chain(addresses);
        let state = self.state();
        names.find_map(|name| state.bans.of_account(&name, now).cloned())
    }

    /// Where the account signed in lately, under just the name that is tried.
    pub(crate) fn home(&self, attempt: &Attempt, rules: &Guessing, now: Timestamp) -> Home {
        self.state().guesses.home(attempt, rules, now)
    }

    /// A sign-in failed. The answer is the ban that it led to, which is in force.
    pub(crate) fn failed(
        &self,
        attempt: &Attempt,
        evidence: Evidence<'_>,
        rules: &Protection,
        source: Source<'_>,
        now: Timestamp,
    ) -> Option<Ban> {
        let mut state = self.state();
        if state.guesses.excuses(attempt, evidence, &rules.guessing, now) {
            return None;
        }
        state.counters.count(&rules.rates, source, &[(What::FailedSignIns, 1)], now);
        let verdict = state.guesses.failed(attempt, evidence, &self.fingerprints, &rules.guessing, now)?;
        let address = attempt.address();
        let subject =
            if verdict.whole_network { subject::network_of(address) } else { subject::client_net(address) };
        let length = bans::length(rules.bans.first, rules.bans.longest, verdict.before);
        let again = if verdict.before > 0 { ", again" } else { "" };
        let ban = Ban {
            subject: Subject::Network(subject),
            because: format!("{} different wrong passwords{again}", verdict.tried),
            since: now,
            until: SignedDuration::try_from(length).ok().and_then(|length| now.checked_add(length).ok()),
            by: BannedBy::Guessing,
        };
        state.ban(ban.clone(), now);
        Some(ban)
    }

    /// A sign-in succeeded; it is counted.
    ///
    /// # Errors
    /// The principal signs in too often.
    pub(crate) fn succeeded(
        &self,
        attempt: &Attempt,
        rules: &Rates,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<(), TooFast> {
        let mut state = self.state();
        state.guesses.succeeded(attempt, now);
        let rules = of_principal(rules);
        let one = [(What::Sessions, 1)];
        state.counters.check(&rules, source, &one, now)?;
        state.counters.count(&rules, source, &one, now);
        Ok(())
    }

    /// Whether so much more may be sent. Nothing is counted.
    ///
    /// # Errors
    /// Whose allowance is used up.
    pub(crate) fn may_send(
        &self,
        rules: &Rates,
        source: Source<'_>,
        amounts: Amounts<'_>,
        now: Timestamp,
    ) -> Result<(), TooFast> {
        self.state().counters.check(rules, source, amounts, now)
    }

    /// Whether the sender never wrote to this address before.
    pub(crate) fn is_new(&self, source: Source<'_>, recipient: &Mailbox) -> bool {
        self.state().counters.new_to(&source.sender(), &[self.recipient(recipient)]) > 0
    }

    /// Counts a complete message, if it is allowed. What comes of it is said by [`Self::keep`] or [`Self::give_back`].
    ///
    /// # Errors
    /// Whose allowance is used up; then nothing is counted.
    pub(crate) fn take<'a>(
        &self,
        rules: &Rates,
        source: Source<'_>,
        recipients: impl Iterator<Item = &'a Mailbox>,
        octets: u64,
        now: Timestamp,
    ) -> Result<Taken, TooFast> {
        let recipients: Vec<u32> = recipients.map(|recipient| self.recipient(recipient)).collect();
        let mut state = self.state();
        let amounts = state.amounts(source, &recipients, octets);
        state.counters.check(rules, source, &amounts, now)?;
        state.counters.count(rules, source, &amounts, now);
        Ok(Taken { amounts, recipients })
    }

    /// What [`arrive`](Self::arrive) would say now. Nothing is counted, and no ban was met.
    ///
    /// # Errors
    /// Why the client would be turned away.
    pub(crate) fn would_arrive(
        &self,
        client: IpAddr,
        rules: &Rates,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<(), Turned> {
        let state = self.state();
        if let Some(ban) = state.bans.of_address(client, now) {
            return Err(Turned::Banned(Box::new(ban.clone()), None));
        }
        state.counters.check(rules, source, &[(What::Sessions, 1)], now).map_err(Turned::TooFast)
    }

    /// What [`admit`](Self::admit) would say now, without waiting. The answer is how long a sign-in would wait.
    ///
    /// # Errors
    /// Why it would not be looked at.
    pub(crate) fn would_admit(
        &self,
        attempt: &Attempt,
        rules: &Protection,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<Duration, Barred> {
        let state = self.state();
        if let Some(ban) = state.bans.of_address(attempt.address(), now) {
            return Err(Barred::Banned(Box::new(ban.clone())));
        }
        let (penalty, lane) = state.stance(attempt, rules, source, now)?;
        // Who is at home waits only when he was wrong.
        Ok(if lane == Lane::AtHome { Duration::ZERO } else { penalty })
    }

    /// What [`succeeded`](Self::succeeded) would say now.
    ///
    /// # Errors
    /// The principal signs in too often.
    pub(crate) fn would_succeed(
        &self,
        rules: &Rates,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<(), TooFast> {
        self.state().counters.check(&of_principal(rules), source, &[(What::Sessions, 1)], now)
    }

    /// What [`take`](Self::take) would say now.
    ///
    /// # Errors
    /// Whose allowance would be used up.
    pub(crate) fn would_take<'a>(
        &self,
        rules: &Rates,
        source: Source<'_>,
        recipients: impl Iterator<Item = &'a Mailbox>,
        octets: u64,
        now: Timestamp,
    ) -> Result<(), TooFast> {
        let recipients: Vec<u32> = recipients.map(|recipient| self.recipient(recipient)).collect();
        let state = self.state();
        state.counters.check(rules, source, &state.amounts(source, &recipients, octets), now)
    }

    /// What [`fate`](Self::fate) would say now.
    pub(crate) fn foresee(&self, user: &str, recipients: u64, rules: &Protection, now: Timestamp) -> Fate {
        self.state().histories.foresee(user, recipients, &rules.bursts, now)
    }

    /// A counted message is stored: its sender has written to its recipients.
    pub(crate) fn keep(&self, source: Source<'_>, taken: &Taken, now: Timestamp) {
        self.state().counters.wrote_to(&source.sender(), &taken.recipients, now);
    }

    /// A counted message could not be stored: it counts no longer.
    pub(crate) fn give_back(&self, rules: &Rates, source: Source<'_>, taken: &Taken, now: Timestamp) {
        self.state().counters.give_back(rules, source, &taken.amounts, now);
    }

    /// What happens to a message of this principal: it goes on, or is held. When it could not be stored,
    /// [`Self::forget`] has to hear of it.
    pub(crate) fn fate(&self, user: &str, recipients: u64, rules: &Protection, now: Timestamp) -> Fate {
        self.state().histories.judge(user, recipients, &rules.bursts, now)
    }

    /// A message of this principal is held for good. The answer is the burst to tell of, if nobody was told yet.
    pub(crate) fn burst_to_tell(&self, user: &str, now: Timestamp) -> Option<Burst> {
        self.state().histories.tell(user, now)
    }

    /// A message of this principal could not be stored.
    pub(crate) fn forget(&self, user: &str, recipients: u64, fate: Fate, now: Timestamp) {
        self.state().histories.forget(user, recipients, fate, now);
    }

    /// How many bans are in force, and how many accounts' mail is held.
    pub(crate) fn figures(&self, now: Timestamp) -> (usize, usize) {
        let state = self.state();
        (state.bans.list(now).len(), state.histories.list().len())
    }

    /// What is done with a sign-in, and how long it waits first.
    fn stance(
        &self,
        attempt: &Attempt,
        rules: &Protection,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<(Duration, Lane), Barred> {
        let mut state = self.state();
        if let Some(met) = state.bans.meet(attempt.address(), now) {
            return Err(Barred::Banned(Box::new(met.ban)));
        }
        state.stance(attempt, rules, source, now)
    }

    /// A recipient's fingerprint, in any case and either spelling. That two have the same one by chance only makes a new one
    /// look known.
    fn recipient(&self, recipient: &Mailbox) -> u32 {
        let key = crate::directory::address_key(recipient);
        let tag = self.fingerprints.of(&[b"recipient", key.as_bytes()]);
        u32::try_from(tag >> 32).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries to disk what changed since the last time, and forgets what is over.
    ///
    /// # Errors
    /// It could not be written; it is tried again the next time.
    async fn write(&self, rules: &Protection, now: Timestamp) -> Result<(), LedgerError> {
        let news = self.state().news(rules, now);
        self.file.write(news).await.map_err(|(news, error)| {
            self.state().not_written(news);
            error
        })
    }
}

impl State {
    fn of(contents: Contents, now: Timestamp) -> Self {
        let mut state = Self {
            counters: Counters::new(),
            guesses: Guesses::new(),
            bans: Bans::default(),
            histories: Histories::new(),
            banned: Vec::new(),
            unbanned: Vec::new(),
        };
        for (kind, key, touched, value) in contents.entries {
            state.take_in(&kind, key, touched, &value);
        }
        for ban in contents.bans {
            state.bans.add(ban, now);
        }
        state
    }

    /// What is done with a sign-in from an address that is not banned, and how long it waits first.
    fn stance(
        &self,
        attempt: &Attempt,
        rules: &Protection,
        source: Source<'_>,
        now: Timestamp,
    ) -> Result<(Duration, Lane), Barred> {
        let one = [(What::FailedSignIns, 1)];
        self.counters.check(&rules.rates, source, &one, now).map_err(Barred::TooFast)?;
        match self.guesses.stance(attempt, &rules.guessing, now) {
            Stance::Go(penalty, lane) => Ok((penalty, lane)),
            Stance::Closed => Err(Barred::Closed),
        }
    }

    /// What a message comes to for its sender.
    fn amounts(&self, source: Source<'_>, recipients: &[u32], octets: u64) -> Vec<(What, u64)> {
        vec![
            (What::Messages, 1),
            (What::Recipients, recipients.len() as u64),
            (What::NewRecipients, self.counters.new_to(&source.sender(), recipients)),
            (What::Octets, octets),
        ]
    }

    fn take_in(&mut self, kind: &str, key: String, touched: Timestamp, value: &str) {
        let Self { counters, guesses, histories, .. } = self;
        match kind {
            kind if kind == counters.counted.kind() => counters.counted.take_in(key, touched, value),
            kind if kind == counters.written_to.kind() => counters.written_to.take_in(key, touched, value),
            kind if kind == guesses.accounts.kind() => guesses.accounts.take_in(key, touched, value),
            kind if kind == guesses.clients.kind() => guesses.clients.take_in(key, touched, value),
            kind if kind == guesses.homes.kind() => guesses.homes.take_in(key, touched, value),
            kind if kind == guesses.pairs.kind() => guesses.pairs.take_in(key, touched, value),
            kind if kind == histories.0.kind() => histories.0.take_in(key, touched, value),
            _ => {}
        }
    }

    fn news(&mut self, rules: &Protection, now: Timestamp) -> News {
        self.counters.prune(now);
        self.guesses.prune(&rules.guessing, now);
        self.histories.prune(now);
        let over = self.bans.prune(now);
        self.unbanned.extend(over);
        News {
            changes: vec![
                self.counters.counted.changes(),
                self.counters.written_to.changes(),
                self.guesses.accounts.changes(),
                self.guesses.clients.changes(),
                self.guesses.homes.changes(),
                self.guesses.pairs.changes(),
                self.histories.0.changes(),
            ],
            banned: std::mem::take(&mut self.banned),
            unbanned: std::mem::take(&mut self.unbanned),
        }
    }

    fn not_written(&mut self, news: News) {
        let Self { counters, guesses, histories, .. } = self;
        for changes in news.changes {
            match changes.kind {
                kind if kind == counters.counted.kind() => counters.counted.not_written(changes),
                kind if kind == counters.written_to.kind() => counters.written_to.not_written(changes),
                kind if kind == guesses.accounts.kind() => guesses.accounts.not_written(changes),
                kind if kind == guesses.clients.kind() => guesses.clients.not_written(changes),
                kind if kind == guesses.homes.kind() => guesses.homes.not_written(changes),
                kind if kind == guesses.pairs.kind() => guesses.pairs.not_written(changes),
                kind if kind == histories.0.kind() => histories.0.not_written(changes),
                _ => {}
            }
        }
        // What was done since goes last.
        self.banned.splice(0..0, news.banned);
        self.unbanned.splice(0..0, news.unbanned);
    }

    fn ban(&mut self, ban: Ban, now: Timestamp) {
        self.unbanned.retain(|subject| *subject != ban.subject);
        self.banned.push(ban.clone());
        let gone = self.bans.add(ban, now);
        self.unbanned.extend(gone);
    }

    /// Who is banned, and which accounts are closed to networks where they are not at home; the newest last.
    fn barred(&self, rules: &Protection, now: Timestamp) -> Vec<Ban> {
        let mut all = self.bans.list(now);
        // Whoever cannot be named in a command is not listed either.
        let closed = self.guesses.closed(&rules.guessing, now).filter_map(|closed| {
            let subject =
                closed.name.parse().ok().filter(|subject| matches!(subject, Subject::Account(_)))?;
            let because =
                format!("closed where it did not sign in lately: {} different wrong passwords", closed.tried);
            let (since, until) = (closed.last, Some(closed.opens));
            Some(Ban { subject, because, since, until, by: BannedBy::Guessing })
        });
        let banned: HashSet<Subject> = all.iter().map(|ban| ban.subject.clone()).collect();
        all.extend(closed.filter(|closed| !banned.contains(&closed.subject)));
        all.sort_by(|one, other| (one.since, &one.subject).cmp(&(other.since, &other.subject)));
        all
    }

    fn unban(&mut self, subject: &Subject, now: Timestamp) -> Lifted {
        let forgotten = match subject {
            Subject::Account(name) => self.guesses.reopen(name, now),
            Subject::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                self.guesses.forgive(&network.addr().to_string(), now)
            }
            // An IPv6 network of 64 bits is one client.
            Subject::Network(network) => {
                let of_client = self.guesses.forgive(&network.addr().to_string(), now);
                of_client.max(self.guesses.forgive(&network.to_string(), now))
            }
        };
        self.banned.retain(|ban| ban.subject != *subject);
        self.unbanned.push(subject.clone());
        Lifted { ban: self.bans.remove(subject), forgotten }
    }
}

/// What counts when somebody signs in: address, network and listener were counted when the session began.
fn of_principal(rules: &Rates) -> Rates {
    Rates { principal: rules.principal, ..Rates::default() }
}

/// A time span in its largest whole unit, as the configuration writes it.
pub(crate) fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{}ms", span.as_millis()),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

/// A time to wait in words that people read: rounded up.
pub(crate) fn wait_in_words(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match seconds {
        ..=1 => "1 second".to_owned(),
        2..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds.div_ceil(60)),
        _ => format!("{} hours", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests;
