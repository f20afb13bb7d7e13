//! LDAP and Active Directory.
//!
//! An [`Ldap`] finds the entry of whoever wants to sign in and has the server judge the password: it binds as that entry,
//! on a connection that serves nothing else. Where `bind_as` is written, it binds first and asks afterwards. The entry
//! says what somebody is called, which addresses are his, and in which groups he is.
//!
//! - `message` and `ber`: the protocol, as far as it is needed. `connection` and `pool`: who is talked to.
//! - `filter` and `template`: what is asked, with what somebody calls himself in it as octets that nothing can escape from.
//! - `entry`: what the answer means.
//!
//! Somebody who does not exist costs as many questions as a wrong password: a bind is tried all the same, as nobody. How
//! long the server itself takes for either is its own affair.
//!
//! What it deliberately does not do: follow referrals, bind by SASL or by client certificate, or read password hashes.

mod ber;
mod connection;
mod entry;
mod filter;
mod message;
mod pool;
mod template;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use postern_smtp::secret::Secret;
use postern_smtp::text;

pub(crate) use connection::certificate_end;
pub(crate) use filter::Filter;
pub(crate) use message::Scope;
pub(crate) use template::NameTemplate;
pub(crate) use url::LdapUrl;

use super::source::MOST_LISTED;
use super::{Abilities, Denied, Directory, Login, Principal, Why};
use crate::config::{LdapFlavour, LdapGroups, LdapPeople};
use entry::{STATE, judge_bind};
use message::{Entry, Outcome, Search};
use pool::{Lease, Pool, Servers};
use template::Fields;

/// Of a server's own words, errors show so many octets.
const LONGEST_WORDS: usize = 300;

/// Servers that know the same people.
#[derive(Debug)]
pub(super) struct Ldap {
    flavour: LdapFlavour,
    people: LdapPeople,
    groups: LdapGroups,
    service: Service,
    /// What one answer may take.
    step: Duration,
    servers: Arc<Servers>,
    /// Bound as the service account, for questions.
    lookups: Pool,
    /// Bound as whoever signs in, anew each time.
    binds: Pool,
}

/// Whether there is an account of Postern's own to ask questions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Account,
    Anonymous,
}

/// Why there is no yes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    /// A server, or the way to it: another one may answer, or this one on a new connection.
    #[error("{0}")]
    Server(String),
    /// Nobody can tell, and asking again does not help.
    #[error("{0}")]
    Final(String),
    /// The answer is no.
    #[error("{0}")]
    Refused(Why),
}

/// The entries that a name fits.
enum Found {
    One(Box<Entry>),
    None,
    Several,
}

impl Ldap {
    pub(super) fn new(config: &crate::config::Ldap) -> Self {
        let servers = Servers::new(&config.urls, config.tls, config.trust.clone(), config.step);
        let servers = Arc::new(servers);
        Self {
            flavour: config.flavour,
            people: config.people.clone(),
            groups: config.groups.clone(),
            service: if config.service.is_some() { Service::Account } else { Service::Anonymous },
            step: config.step,
            lookups: Pool::new(&servers, config.service.clone()),
            binds: Pool::new(&servers, None),
            servers,
        }
    }

    /// Asks until a server has answered; each may fail once, and so may a connection that was kept too long.
    async fn asked<T, F>(&self, question: impl Fn() -> F) -> Result<T, Denied>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let mut last = String::new();
        for _ in 0..self.servers.count() + 2 {
            match question().await {
                Ok(answer) => return Ok(answer),
                Err(Fault::Server(why)) => last = why,
                Err(Fault::Final(why)) => return Err(Denied::Unavailable(why)),
                Err(Fault::Refused(why)) => return Err(Denied::Refused(why)),
            }
        }
        Err(Denied::Unavailable(last))
    }

    /// Finds the entry, then binds as it.
    async fn search_then_bind(&self, login: &Login, password: &Secret) -> Result<Principal, Fault> {
        let mut lookups = self.lookups.take().await?;
        let found = match self.search_of(login) {
            Some(search) => self.found(&mut lookups, &search).await?,
            None => Found::None,
        };
        lookups.keep();
        let entry = match found {
            Found::One(entry) => entry,
            Found::None => return Err(self.nobody(password, Why::UnknownUser).await),
            Found::Several => return Err(self.nobody(password, Why::SeveralEntries).await),
        };
        let mut binds = self.binds.take().await?;
        let outcome = binds.bind(&entry.dn, password).await?;
        binds.keep();
        judge_bind(&outcome)?;
        let mut lookups = self.lookups.take().await?;
        let principal = self.principal(&mut lookups, &entry).await?;
        lookups.keep();
        Ok(principal)
    }

    /// Binds as whom the name stands for, then finds the entry of just that one.
    async fn bind_then_search(
        &self,
        template: &NameTemplate,
        login: &Login,
        password: &Secret,
    ) -> Result<Principal, Fault> {
        let Some(name) = template.made(&self.fields(login)) else {
            return Err(self.nobody(password, Why::UnknownUser).await);
        };
        let mut binds = self.binds.take().await?;
        let outcome = binds.bind(&name, password).await?;
        if let Err(refused) = judge_bind(&outcome) {
            binds.keep();
            return Err(of_unknown_name(refused));
        }
        let search = if template.is_dn() { self.entry_of(&name) } else { self.bound_as(&mut binds).await? };
        let principal = match self.service {
            Service::Account => {
                binds.keep();
                let mut lookups = self.lookups.take().await?;
                let principal = self.signed_in(&mut lookups, &search).await?;
                lookups.keep();
                principal
            }
            Service::Anonymous => {
                let principal = self.signed_in(&mut binds, &search).await?;
                binds.keep();
                principal
            }
        };
        Ok(principal)
    }

    /// The entry of whoever this connection is bound as. The server says who that is (RFC 4532): an account name may be one
    /// person's by one attribute and another's by another.
    async fn bound_as(&self, binds: &mut Lease<'_>) -> Result<Search, Fault> {
        let who = binds.who_am_i().await?.unwrap_or_default();
        if let Some(dn) = who.strip_prefix("dn:").filter(|dn| !dn.is_empty()) {
            return Ok(self.entry_of(dn));
        }
        let account = who.strip_prefix("u:").map(|name| name.rsplit('\\').next().unwrap_or(name));
        let filter = account.filter(|name| !name.is_empty()).map(Filter::account);
        let filter = filter.and_then(|filter| filter.encoded(&Fields::default())).ok_or_else(|| {
            binds.trouble(
                "it does not say who has signed in: write bind_dn, base and filter in place of bind_as",
            )
        })?;
        Ok(Search { filter, ..self.people_search() })
    }

    async fn signed_in(&self, lease: &mut Lease<'_>, search: &Search) -> Result<Principal, Fault> {
        match self.found(lease, search).await? {
            Found::One(entry) => self.principal(lease, &entry).await,
            Found::None | Found::Several => {
                Err(lease
                    .trouble("the entry of who has signed in cannot be read: grant that, or write bind_dn"))
            }
        }
    }

    /// A bind that cannot succeed, so that a name that is nobody's takes as many questions as a wrong password.
    async fn nobody(&self, password: &Secret, why: Why) -> Fault {
        let base = self.people.base.as_deref().unwrap_or("dc=invalid");
        let bound = async {
            let mut binds = self.binds.take().await?;
            binds.bind(&format!("cn=postern-nobody,{base}"), password).await?;
            binds.keep();
            Ok::<_, Fault>(())
        };
        bound.await.err().unwrap_or(Fault::Refused(why))
    }

    async fn known(&self, login: &Login) -> Result<Option<Principal>, Fault> {
        let Some(search) = self.search_of(login) else { return Ok(None) };
        let mut lookups = self.lookups.take().await?;
        let answer = match self.found(&mut lookups, &search).await? {
            Found::One(entry) => match self.principal(&mut lookups, &entry).await {
                Ok(principal) => Some(principal),
                Err(Fault::Refused(_)) => None,
                Err(fault) => return Err(fault),
            },
            Found::None | Found::Several => None,
        };
        lookups.keep();
        Ok(answer)
    }

    /// What finds the entry that a name is of; `None`: it is of none.
    fn search_of(&self, login: &Login) -> Option<Search> {
        let fields = self.fields(login);
        match &self.people.bind_as {
            Some(template) if template.is_dn() => Some(self.entry_of(&template.made(&fields)?)),
            _ => Some(Search { filter: self.people.filter.encoded(&fields)?, ..self.people_search() }),
        }
    }

    fn entry_of(&self, dn: &str) -> Search {
        let filter = Filter::anything().encoded(&Fields::default()).unwrap_or_default();
        Search { base: dn.to_owned(), scope: Scope::Base, filter, ..self.people_search() }
    }

    /// A search among the people, for nobody yet.
    fn people_search(&self) -> Search {
        let named = [&self.people.name, &self.groups.member_of].into_iter().chain(&self.people.mail);
        let named = named.filter(|attribute| !attribute.is_empty()).cloned();
        Search {
            base: self.people.base.clone().unwrap_or_default(),
            scope: self.people.scope,
            filter: Vec::new(),
            attributes: named.chain(STATE.map(str::to_owned)).collect(),
            // One more than there may be.
            most: 2,
            seconds: self.seconds(),
        }
    }

    async fn found(&self, lease: &mut Lease<'_>, search: &Search) -> Result<Found, Fault> {
        let (mut entries, outcome) = lease.search(search).await?;
        match outcome.code {
            0 if entries.len() < 2 => {}
            // Size limit exceeded: there are more.
            0 | 4 => return Ok(Found::Several),
            // No such object.
            32 if search.scope == Scope::Base => return Ok(Found::None),
            _ => return Err(lease.trouble(&self.unanswered(search, &outcome))),
        }
        match entries.pop() {
            // Without a name, a bind would be one of nobody in particular, and succeed.
            Some(entry) if entry.dn.is_empty() => Err(lease.trouble("it found an entry without a name")),
            Some(entry) => Ok(Found::One(Box::new(entry))),
            None => Ok(Found::None),
        }
    }

    /// Why a search came to nothing, and what to do.
    fn unanswered(&self, search: &Search, outcome: &Outcome) -> String {
        let (said, base) = (words(outcome), &search.base);
        match (outcome.code, self.service) {
            (10, _) => format!(
                "it refers to another server for {base} ({said}); referrals are not followed: name that server in urls"
            ),
            (32, _) => format!(
                "there is nothing at base {base} that may be seen ({said}): correct base, or grant reading it"
            ),
            (1 | 8 | 13 | 48 | 50 | 53, Service::Anonymous) => {
                format!(
                    "it lets nobody search who has not signed in ({said}): write bind_dn and bind_password_file"
                )
            }
            _ => format!("the search at {base} failed ({said})"),
        }
    }

    /// The person whose entry this is.
    async fn principal(&self, lease: &mut Lease<'_>, entry: &Entry) -> Result<Principal, Fault> {
        if let Some(why) = entry.closed(Timestamp::now()) {
            return Err(Fault::Refused(why));
        }
        let attribute = &self.people.name;
        let name = entry.name(attribute).ok_or_else(|| {
            let dn = text::clean(&entry.dn, LONGEST_WORDS);
            lease.trouble(&format!(
                "the entry {dn} has no usable {attribute}, which name asks for, or it may not be read"
            ))
        })?;
        let mut principal = Principal::named(name, entry.addresses(&self.people.mail));
        principal.groups = self.groups_of(lease, entry, &principal.name).await?;
        Ok(principal)
    }

    async fn groups_of(
        &self,
        lease: &mut Lease<'_>,
        entry: &Entry,
        name: &str,
    ) -> Result<Vec<String>, Fault> {
        let mut groups = entry.groups_in(&self.groups.member_of);
        if let Some(search) = self.search_of_groups(entry, name) {
            let (found, outcome) = lease.search(&search).await?;
            match outcome.code {
                0 => groups.extend(found.iter().filter_map(Entry::group_name)),
                4 => return Err(lease.trouble("somebody is in more than 1,000 groups: narrow group_filter")),
                _ => return Err(lease.trouble(&self.unanswered(&search, &outcome))),
            }
        }
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }

    fn search_of_groups(&self, entry: &Entry, name: &str) -> Option<Search> {
        let fields = Fields { dn: Some(entry.dn.clone()), name: Some(name.to_owned()), ..Fields::default() };
        Some(Search {
            base: self.groups.base.clone()?,
            scope: Scope::Subtree,
            filter: self.groups.filter.encoded(&fields)?,
            attributes: vec!["cn".to_owned()],
            most: u32::try_from(MOST_LISTED).unwrap_or(u32::MAX),
            seconds: self.seconds(),
        })
    }

    fn fields(&self, login: &Login) -> Fields {
        let local = login.local();
        let local = match self.flavour {
            // CORP\anna
            LdapFlavour::ActiveDirectory => local.rsplit('\\').next().unwrap_or(local),
            LdapFlavour::Ldap => local,
        };
        Fields {
            login: Some(login.key().to_owned()),
            local: Some(local.to_owned()),
            domain: login.key().rsplit_once('@').map(|(_, domain)| domain.to_owned()),
            ..Fields::default()
        }
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.step.as_secs().max(1)).unwrap_or(u32::MAX)
    }
}

/// Who binds as a name that nobody looked up learns only that the two do not go together (RFC 4511 Appendix A.2, result 49).
fn of_unknown_name(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(Why::WrongPassword) => Fault::Refused(Why::WrongOrUnknown),
        fault => fault,
    }
}

#[async_trait]
impl Directory for Ldap {
    fn abilities(&self) -> Abilities {
        Abilities { passwords: true, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        // RFC 4513 §5.1.2: a bind without a password succeeds and proves nothing.
        if password.expose().is_empty() {
            return Err(Denied::Refused(Why::WrongOrUnknown));
        }
        match &self.people.bind_as {
            Some(template) => self.asked(|| self.bind_then_search(template, login, password)).await,
            None => self.asked(|| self.search_then_bind(login, password)).await,
        }
    }

    /// Where people are only bound as, and there is no account to ask with, nobody can be looked up.
    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        if self.people.bind_as.is_some() && self.service == Service::Anonymous {
            return Ok(None);
        }
        self.asked(|| self.known(login)).await
    }
}

/// What a server said, for people: the number that the standard gives it, and its own words.
fn words(outcome: &Outcome) -> String {
    let said = text::clean(outcome.text.trim(), LONGEST_WORDS);
    let colon = if said.is_empty() { "" } else { ": " };
    format!("result {} {}{colon}{said}", outcome.code, meaning(outcome.code))
}

/// RFC 4511 §4.1.9, appendix A.2.
fn meaning(code: u32) -> &'static str {
    match code {
        1 => "operations error",
        2 => "protocol error",
        3 => "time limit exceeded",
        4 => "size limit exceeded",
        7 => "authentication method not supported",
        8 => "stronger authentication required",
        10 => "referral",
        11 => "administrative limit exceeded",
        13 => "confidentiality required",
        18 => "inappropriate matching",
        19 => "constraint violation",
        21 => "invalid syntax",
        32 => "no such object",
        34 => "invalid DN syntax",
        48 => "inappropriate authentication",
        49 => "invalid credentials",
        50 => "insufficient access rights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwilling to perform",
        _ => "other",
    }
}
