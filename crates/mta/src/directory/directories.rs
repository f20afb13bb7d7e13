//! All directories of a configuration, asked as one.
//!
//! [`Directories`] asks them in their order, each only about names in its domains. The first that says yes counts. When all
//! say no, the answer is no; when one of them could not be asked and no other said yes, nobody knows, and the client is to
//! try again. Each has its time limit and a bound on how much it is asked at the same time, so that one that stalls holds up
//! nobody but its own people.
//!
//! A success may spare the next question for a short time (`remember`), and may count while the directory is down
//! (`bridge`); both only where the configuration says so, and kept as fingerprints in bounded memory.
//!
//! What it deliberately does not do: count failures or slow anybody down.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use postern_dns::Resolver;
use postern_pki::ProcessKey;
use postern_smtp::address::{Domain, Mailbox};
use postern_smtp::sasl::{Credential, Mechanism, SCRAM_ITERATIONS, ScramHash, ScramKeys};
use postern_smtp::secret::Secret;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::complaint::Complaint;
use super::dovecot::Dovecot;
use super::ldap::Ldap;
use super::oauth::OAuth;
use super::passwd_file::PasswdFile;
use super::recent::Recent;
use super::saslauthd::Saslauthd;
use super::source::address_key;
use super::sql::Sql;
use super::users::{Found, NAME, salt_of};
use super::{Denied, Directory, Login, Names, Principal, Users, Why};
use crate::config::{AddressRule, Config, DirectoryConfig, DirectoryKind, OwnUsers};
use crate::observe::Observer;

/// The longest password that is looked at, in octets, and the longest token.
const LONGEST_PASSWORD: usize = 1024;
const LONGEST_TOKEN: usize = 8192;
/// The most that one directory is asked at the same time.
const ASKED_AT_ONCE: usize = 64;
/// The longest that a success is kept, and how many are.
const KEPT: Duration = Duration::from_hours(24);
const MOST_KEPT: usize = 4096;
/// The bits of a SCRAM key's label that name its directory. The rest is the directory's own, far below.
const MARKED: u64 = 0xffff << 48;

/// All directories, in the order in which they are asked.
#[derive(Debug)]
pub struct Directories {
    sources: Vec<Source>,
    recent: Arc<Recent<Principal>>,
    /// Where app passwords are kept, and who was last here.
    users: Option<Users>,
    /// What the salts of names that nobody has are made of.
    nobody: Secret,
    offered: Option<Vec<Mechanism>>,
}

/// What directories are opened with besides their configuration.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Our own users.
    pub users: &'a Users,
    /// Finds the hosts of those that are asked by HTTPS; `None` where people are only looked up.
    pub resolver: Option<&'a Arc<dyn Resolver>>,
    /// Told of what fails behind a sign-in; `None` where nobody signs in.
    pub observer: Option<&'a Observer>,
}

/// One of them, with what bounds it.
#[derive(Debug)]
struct Source {
    name: String,
    /// Only names in these domains are asked for; empty: all names.
    domains: Vec<Domain>,
    timeout: Duration,
    remember: Duration,
    bridge: Duration,
    /// Sender addresses that follow from the name.
    addresses: Vec<AddressRule>,
    /// Whether the directory's own passwords may be used at all.
    passwords: Passwords,
    slots: Semaphore,
    directory: Arc<dyn Directory>,
}

/// Whether a directory's own passwords may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passwords {
    Taken,
    /// Only app passwords are.
    Barred,
}

impl Directories {
    /// Those that a configuration names, and our own users. `before` is what was there until now: what it remembers is kept.
    ///
    /// # Errors
    /// Local: the system has no randomness to give.
    pub fn new(
        config: &Config,
        means: &Means<'_>,
        before: Option<&Self>,
    ) -> Result<Self, postern_pki::Error> {
        let others = config.directories.iter().map(|directory| Source::open(directory, means));
        let mut sources: Vec<Source> = others.collect::<Result<_, _>>()?;
        match config.auth.own_users {
            OwnUsers::First => sources.insert(0, Source::own(means.users)),
            OwnUsers::Last => sources.push(Source::own(means.users)),
            OwnUsers::Off => {}
        }
        let recent = match before {
            Some(before) => Arc::clone(&before.recent),
            None => Arc::new(Recent::new(KEPT, MOST_KEPT)?),
        };
        let users = means.users;
        users.keep_sha1(config.auth.keeps_sha1());
        if let Some(observer) = means.observer {
            users.tell(observer);
        }
        let offered = config.auth.mechanisms.clone();
        Ok(Self { sources, recent, users: Some(users.clone()), nobody: users.nobody().clone(), offered })
    }

    /// Our own users alone.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[cfg(test)]
    pub(super) fn of_users(users: &Users) -> Result<Self, postern_pki::Error> {
        let (sources, nobody) = (vec![Source::own(users)], users.nobody().clone());
        Ok(Self { sources, users: Some(users.clone()), nobody, ..Self::nobody()? })
    }

    /// Our own users, and others behind them, each of which may be asked what it last said for an hour while it is down.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    #[cfg(test)]
    fn of_users_and(
        users: &Users,
        others: impl IntoIterator<Item = (&'static str, Arc<dyn Directory>)>,
    ) -> Result<Self, postern_pki::Error> {
        let mut directories = Self::of_users(users)?;
        let hour = Duration::from_hours(1);
        let others = others.into_iter().map(|(name, directory)| Source {
            name: name.to_owned(),
            bridge: hour,
            directory,
            ..Source::own(users)
        });
        directories.sources.extend(others);
        Ok(directories)
    }

    /// No directory at all.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn nobody() -> Result<Self, postern_pki::Error> {
        let recent = Arc::new(Recent::new(KEPT, MOST_KEPT)?);
        let nobody = Secret::new(ProcessKey::random()?.tag(&[]));
        Ok(Self { sources: Vec::new(), recent, users: None, nobody, offered: None })
    }

    /// What a listener that lets people sign in announces, best first: what the configuration lists, or what every directory
    /// can judge. A program that finds a mechanism takes it, so one that only some directories can judge would keep the
    /// people of the others out. What is listed is announced as soon as one directory can judge it. EXTERNAL and the
    /// variants with channel binding come where TLS allows them.
    pub fn mechanisms(&self) -> Vec<Mechanism> {
        let offered = |mechanism: &Mechanism| match &self.offered {
            Some(offered) => offered.contains(mechanism) && self.any_judges(*mechanism),
            // SHA-1 only where it is asked for by name.
            None => mechanism.scram() != Some(ScramHash::Sha1) && self.all_judge(*mechanism),
        };
        Mechanism::ALL.into_iter().filter(offered).collect()
    }

    /// Who a credential belongs to that came from this address.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn by_credential(&self, credential: &Credential, client: IpAddr) -> Result<Principal, Denied> {
        let principal = match credential {
            Credential::Password { user, password, acting_as } => {
                let login = login(user)?;
                let password =
                    usable(password, LONGEST_PASSWORD).ok_or(Denied::Refused(Why::WrongOrUnknown))?;
                let principal = match self.by_app_password(&login, password).await? {
                    Some(principal) => principal,
                    None => self.by_password(&login, password).await?,
                };
                for_himself(principal, acting_as.as_deref())?
            }
            Credential::Token { user, token, .. } => {
                let unusable = || Denied::Refused(Why::BadToken("it is empty, too long, or no text".into()));
                let claimed = if user.is_empty() { None } else { Some(login(user)?) };
                let token = usable(token, LONGEST_TOKEN).ok_or_else(unusable)?;
                self.by_token(claimed.as_ref(), token).await?
            }
            Credential::External { .. } => return Err(Denied::Refused(Why::NoProof)),
        };
        Ok(self.noted(principal, client))
    }

    /// What is kept of a user's passwords for SCRAM. For nobody it is made up, always the same.
    ///
    /// # Errors
    /// [`Denied::Unavailable`].
    pub async fn scram_keys(&self, user: &str, hash: ScramHash) -> Result<ScramKeys, Denied> {
        let login = Login::new(user);
        if let Some(login) = &login
            && let Some((source, mut keys)) = self.keeper(login, hash).await?
        {
            keys.keys.iter_mut().for_each(|key| key.label |= source.mark());
            return Ok(keys);
        }
        // Names that are one name have one salt, nobody's too.
        let name = login.as_ref().map_or(user, Login::key);
        Ok(ScramKeys { salt: salt_of(&self.nobody, name), iterations: SCRAM_ITERATIONS, keys: Vec::new() })
    }

    /// Who has proved by SCRAM to know the password with this label.
    ///
    /// # Errors
    /// See [`Denied`]: the account may have gone or been disabled meanwhile.
    pub async fn by_scram(
        &self,
        user: &str,
        label: u64,
        acting_as: Option<&str>,
        client: IpAddr,
    ) -> Result<Principal, Denied> {
        let login = login(user)?;
        // Whose keys were proved to be known, and nobody else, says who it is.
        let mut keepers = self.serving(&login).filter(|source| !source.scram().is_empty());
        let Some(source) = keepers.find(|source| source.mark() == label & MARKED) else {
            return Err(Denied::Refused(Why::UnknownUser));
        };
        let found = source.bounded(source.directory.by_scram(&login, label & !MARKED)).await?;
        Ok(self.noted(for_himself(source.complete(found, &login), acting_as)?, client))
    }

    /// Whose client certificate this is, by the mail addresses that it bears. The certificate must have been verified.
    ///
    /// The addresses must be of exactly one user; where they are of several, nobody can say who has come. Whom he wants to
    /// act as can only be himself, by his name or one of his addresses (RFC 4422 §3.4.1). A directory that takes any name as
    /// it stands owns no address.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn by_certificate(
        &self,
        addresses: &[String],
        acting_as: Option<&str>,
        client: IpAddr,
    ) -> Result<Principal, Denied> {
        let mut owners: Vec<Principal> = Vec::new();
        for address in addresses.iter().filter_map(|address| address.parse::<Mailbox>().ok()) {
            let found = self.found_by(&login(&address_key(&address))?, Names::Known).await?;
            // A user may be called like an address that is not his.
            let owner = found.filter(|principal| principal.owns(&address, None));
            owners.extend(owner.filter(|owner| owners.iter().all(|known| !known.is_same(owner))));
        }
        match owners.pop() {
            Some(principal) if owners.is_empty() => {
                Ok(self.noted(for_himself(principal, acting_as)?, client))
            }
            _ => Err(Denied::Refused(Why::CertificateOfNobody)),
        }
    }

    /// Who this is, without a proof. Those that know names are asked first, in their order; a name that is nobody's is taken
    /// as it stands by the first that takes names so.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when one that might know him cannot be asked.
    pub async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        match self.found_by(login, Names::Known).await? {
            Some(found) => Ok(Some(found)),
            None => self.found_by(login, Names::Taken).await,
        }
    }

    /// The first who is found by directories of this kind.
    async fn found_by(&self, login: &Login, names: Names) -> Result<Option<Principal>, Denied> {
        for source in self.serving(login).filter(|source| source.directory.abilities().names == names) {
            if let Some(found) = source.bounded(source.directory.look_up(login)).await? {
                return Ok(Some(source.complete(found, login)));
            }
        }
        Ok(None)
    }

    /// Who this app password belongs to; `None`: it is none, or none of this login's. That one was taken away is in force at
    /// once, whatever is remembered, and so is that its owner was.
    async fn by_app_password(&self, login: &Login, password: &Secret) -> Result<Option<Principal>, Denied> {
        let Some(users) = &self.users else { return Ok(None) };
        let Some(found) = users.app_password(password).await? else { return Ok(None) };
        let Some(source) = self.serving(login).find(|source| source.name == found.directory) else {
            return Ok(None);
        };
        if source.name != NAME {
            return self.owner_elsewhere(source, login, &found).await;
        }
        if !found.is_called(login) {
            return Ok(None);
        }
        let principal = source.bounded(users.by_app_password(found, password)).await?;
        Ok(Some(source.complete(principal, login)))
    }

    /// The owner of an app password, whom another directory knows still.
    async fn owner_elsewhere(
        &self,
        source: &Source,
        login: &Login,
        found: &Found,
    ) -> Result<Option<Principal>, Denied> {
        // Apart from what the directory's own passwords are remembered as.
        let (named, owner) = (login.key().as_bytes(), found.principal.as_bytes());
        let parts = [b"owner of an app password", source.name.as_bytes(), named, owner];
        let known = match self.recent.find(&parts, source.remember, Instant::now()) {
            Some(principal) => Some(principal),
            None => match source.bounded(source.directory.look_up(login)).await {
                Ok(looked_up) => looked_up.map(|principal| source.complete(principal, login)),
                Err(denied) => {
                    let bridged = self.recent.find(&parts, source.bridge, Instant::now());
                    // The owner is among the parts: what is remembered of another does not count.
                    return Ok(Some(found.given_to(bridged.ok_or(denied)?)));
                }
            },
        };
        let Some(principal) = known.filter(|principal| principal.name == found.principal) else {
            self.recent.forget(&parts);
            return Ok(None);
        };
        if source.keeps() {
            self.recent.note(&parts, principal.clone(), Instant::now());
        }
        Ok(Some(found.given_to(principal)))
    }

    fn noted(&self, principal: Principal, client: IpAddr) -> Principal {
        if let Some(users) = &self.users {
            users.note(&principal, client);
        }
        principal
    }

    /// All are asked, also after one that knows the name but not the password: people may be in several, and the time that
    /// it takes tells nobody which one knows the name.
    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        let mut no = Refusals::default();
        for source in self.serving(login).filter(|source| source.directory.abilities().passwords) {
            let parts = source.parts(login, password);
            let (remember, bridge) = source.spans();
            if let Some(principal) = self.recent.find(&parts, remember, Instant::now()) {
                return Ok(principal);
            }
            match source.bounded(source.directory.by_password(login, password)).await {
                Ok(found) => {
                    let principal = source.complete(found, login);
                    if source.passwords == Passwords::Barred && principal.app_password.is_none() {
                        no.add(Denied::Refused(Why::AppPasswordNeeded));
                        continue;
                    }
                    if source.keeps() {
                        self.recent.note(&parts, principal.clone(), Instant::now());
                    }
                    return Ok(principal);
                }
                Err(denied @ Denied::Unavailable(_)) => {
                    match self.recent.find(&parts, bridge, Instant::now()) {
                        Some(principal) => return Ok(principal),
                        None => no.add(denied),
                    }
                }
                Err(denied) => {
                    self.recent.forget(&parts);
                    no.add(denied);
                }
            }
        }
        Err(no.worst())
    }

    /// Whose token this is. Where the client claims no name, the owner counts as if he had claimed the first of his own that
    /// the directory serves.
    async fn by_token(&self, claimed: Option<&Login>, token: &Secret) -> Result<Principal, Denied> {
        let mut no = Refusals::default();
        let may_serve = |source: &&Source| claimed.is_none_or(|login| source.serves(login.domain().as_ref()));
        for source in
            self.sources.iter().filter(may_serve).filter(|source| source.directory.abilities().tokens)
        {
            let found = match source.bounded(source.directory.by_token(claimed, token)).await {
                Ok(found) => found,
                Err(denied) => {
                    no.add(denied);
                    continue;
                }
            };
            if let Some(login) = claimed.cloned().or_else(|| source.login_of(&found)) {
                return Ok(source.complete(found, &login));
            }
            no.add(Denied::Refused(Why::BadToken(format!(
                "{} is in no domain of {}",
                found.name, source.name
            ))));
        }
        Err(no.worst())
    }

    /// The first directory that keeps SCRAM keys of this user, and the keys.
    async fn keeper(&self, login: &Login, hash: ScramHash) -> Result<Option<(&Source, ScramKeys)>, Denied> {
        for source in self.serving(login).filter(|source| source.scram().contains(&hash)) {
            if let Some(keys) = source.bounded(source.directory.scram_keys(login, hash)).await? {
                return Ok(Some((source, keys)));
            }
        }
        Ok(None)
    }

    fn serving(&self, login: &Login) -> impl Iterator<Item = &Source> {
        let domain = login.domain();
        self.sources.iter().filter(move |source| source.serves(domain.as_ref()))
    }

    fn all_judge(&self, mechanism: Mechanism) -> bool {
        let judges = |source: &Source| {
            let abilities = source.directory.abilities();
            match (mechanism, mechanism.scram()) {
                (_, Some(hash)) => source.scram().contains(&hash) || !abilities.passwords,
                (Mechanism::OauthBearer | Mechanism::Xoauth2, _) => abilities.tokens,
                (Mechanism::External, _) => true,
                _ => abilities.passwords,
            }
        };
        match mechanism.scram() {
            // Whoever has an empty list of keys has nothing against SCRAM, but somebody must have some.
            Some(_) => {
                self.sources.iter().all(judges)
                    && self.sources.iter().any(|source| !source.scram().is_empty())
            }
            None if matches!(mechanism, Mechanism::Plain | Mechanism::Login) => {
                self.sources.iter().any(judges) || self.has_app_passwords()
            }
            None => self.sources.iter().any(judges),
        }
    }

    fn any_judges(&self, mechanism: Mechanism) -> bool {
        let keeps = |hash| self.sources.iter().any(|source| source.scram().contains(&hash));
        mechanism.scram().is_none_or(keeps)
    }

    fn has_app_passwords(&self) -> bool {
        self.users.as_ref().is_some_and(Users::has_app_passwords)
    }
}

impl Source {
    /// One that the configuration names.
    fn open(directory: &DirectoryConfig, means: &Means<'_>) -> Result<Self, postern_pki::Error> {
        Ok(Self {
            name: directory.name.clone(),
            domains: directory.domains.clone(),
            timeout: directory.timeout,
            remember: directory.remember,
            bridge: directory.bridge,
            addresses: directory.addresses.clone(),
            passwords: if directory.app_passwords_only { Passwords::Barred } else { Passwords::Taken },
            slots: Semaphore::new(ASKED_AT_ONCE),
            directory: open(directory, means)?,
        })
    }

    fn own(users: &Users) -> Self {
        Self {
            name: NAME.to_owned(),
            domains: Vec::new(),
            timeout: Duration::from_secs(30),
            remember: Duration::ZERO,
            bridge: Duration::ZERO,
            addresses: Vec::new(),
            passwords: Passwords::Taken,
            // The checker bounds the work.
            slots: Semaphore::new(Semaphore::MAX_PERMITS),
            directory: Arc::new(users.clone()),
        }
    }

    fn serves(&self, domain: Option<&Domain>) -> bool {
        self.domains.is_empty() || domain.is_some_and(|domain| self.domains.contains(domain))
    }

    /// The first of somebody's names that is served here.
    fn login_of(&self, found: &Principal) -> Option<Login> {
        let addresses = found.addresses.iter().map(ToString::to_string);
        let names = std::iter::once(found.name.clone()).chain(addresses);
        names.filter_map(|name| Login::new(&name)).find(|login| self.serves(login.domain().as_ref()))
    }

    /// The hashes for which it has keys that may be used: those of passwords that are barred may not.
    fn scram(&self) -> Vec<ScramHash> {
        match self.passwords {
            Passwords::Taken => self.directory.abilities().scram,
            Passwords::Barred => Vec::new(),
        }
    }

    /// Tells the labels of its keys from those of other directories, whatever their order is: so that a proof is never taken
    /// for one of another directory's, though the configuration be read again between the two steps.
    fn mark(&self) -> u64 {
        let digest = digest(&SHA256, self.name.as_bytes());
        let mut octets = [0; 8];
        octets[..2].copy_from_slice(&digest.as_ref()[..2]);
        u64::from_be_bytes(octets)
    }

    /// How long a password that was right may spare a question, and stand in for one. One that is barred never does.
    fn spans(&self) -> (Duration, Duration) {
        match self.passwords {
            Passwords::Taken => (self.remember, self.bridge),
            Passwords::Barred => (Duration::ZERO, Duration::ZERO),
        }
    }

    fn keeps(&self) -> bool {
        !self.remember.max(self.bridge).is_zero()
    }

    fn parts<'a>(&'a self, login: &'a Login, password: &'a Secret) -> [&'a [u8]; 3] {
        [self.name.as_bytes(), login.key().as_bytes(), password.expose()]
    }

    /// The answer within the time limit, waiting for a turn included.
    async fn bounded<T>(&self, question: impl Future<Output = Result<T, Denied>>) -> Result<T, Denied> {
        let within = async {
            let _turn = self.slots.acquire().await.map_err(|error| Denied::Unavailable(error.to_string()))?;
            question.await
        };
        let answer = match timeout(self.timeout, within).await {
            Ok(answer) => answer,
            Err(_) => Err(Denied::Unavailable(format!("no answer within {} s", self.timeout.as_secs_f64()))),
        };
        answer.map_err(|denied| match denied {
            Denied::Unavailable(why) => Denied::Unavailable(format!("{}: {why}", self.name)),
            refused @ Denied::Refused(_) => refused,
        })
    }

    /// The principal with all that this configuration knows of him besides.
    fn complete(&self, mut found: Principal, login: &Login) -> Principal {
        found.directory.clone_from(&self.name);
        for address in self.addresses.iter().filter_map(|rule| rule.address(&found.name, login)) {
            if !found.owns(&address, None) {
                found.addresses.push(address);
            }
        }
        found
    }
}

impl Principal {
    fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.directory == other.directory
    }
}

/// The no of several directories: that one could not be asked weighs most, then what tells an administrator most.
#[derive(Default)]
struct Refusals {
    worst: Option<Denied>,
}

impl Refusals {
    fn add(&mut self, denied: Denied) {
        let weight = |denied: &Denied| match denied {
            Denied::Unavailable(_) => 4,
            Denied::Refused(Why::UnknownUser | Why::NotJudgedHere) => 1,
            Denied::Refused(Why::WrongOrUnknown) => 2,
            Denied::Refused(_) => 3,
        };
        if self.worst.as_ref().is_none_or(|worst| weight(worst) < weight(&denied)) {
            self.worst = Some(denied);
        }
    }

    fn worst(self) -> Denied {
        self.worst.unwrap_or(Denied::Refused(Why::NotJudgedHere))
    }
}

/// One of the directories that the configuration names.
fn open(directory: &DirectoryConfig, means: &Means<'_>) -> Result<Arc<dyn Directory>, postern_pki::Error> {
    Ok(match &directory.kind {
        DirectoryKind::Ldap(config) => Arc::new(Ldap::new(config)),
        DirectoryKind::PasswdFile(config) => {
            let complaint = Complaint::to(means.observer);
            Arc::new(PasswdFile::new(config, &directory.name, means.users.checker(), complaint))
        }
        DirectoryKind::Sql(config) => {
            let (checker, complaint) = (means.users.checker(), Complaint::to(means.observer));
            Arc::new(Sql::new(config, &directory.name, directory.timeout, checker, complaint))
        }
        DirectoryKind::Saslauthd(config) => Arc::new(Saslauthd::new(config)),
        DirectoryKind::Dovecot(config) => Arc::new(Dovecot::new(config)),
        DirectoryKind::OAuth(config) => Arc::new(OAuth::new(config, directory, means)?),
    })
}

fn login(name: &str) -> Result<Login, Denied> {
    Login::new(name).ok_or(Denied::Refused(Why::UnusableName))
}

/// A password or token that can be one: UTF-8 without control characters (RFC 4616 §2), not empty, not endless.
fn usable(proof: &Secret, longest: usize) -> Option<&Secret> {
    let text = proof.expose_str()?;
    let fits = !text.is_empty() && text.len() <= longest && !text.chars().any(char::is_control);
    fits.then_some(proof)
}

/// RFC 4616 §2: nobody acts for somebody else here.
fn for_himself(principal: Principal, acting_as: Option<&str>) -> Result<Principal, Denied> {
    match acting_as {
        Some(other) if !principal.is_called(other) => Err(Denied::Refused(Why::ActingAs)),
        _ => Ok(principal),
    }
}

#[cfg(test)]
mod tests;
