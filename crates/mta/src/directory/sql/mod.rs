//! People in a database of the organisation's own, found by its own queries: PostgreSQL, or a file of SQLite.
//!
//! The types to know: [`Sql`], the directory; `Rows`, what a database answers, the same for both kinds; `Values`, what is bound
//! to a statement. What somebody types is only ever bound, never text of a statement. Passwords are compared here, with the hash
//! that the query gives, or there, by a query that gives a row when the password is right.
//!
//! What it deliberately does not do: make tables, or know any scheme.

mod postgres;
mod row;
mod sqlite;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postern_smtp::sasl::{ScramHash, ScramKeys};
use postern_smtp::secret::Secret;

use super::account::{Account, Judge, Standing};
use super::checker::Checker;
use super::complaint::Complaint;
use super::crypt::Typical;
use super::rehash::{Rehash, Stored};
use super::{Abilities, Denied, Directory, Login, Principal, Why};
use crate::config::{Compare, Database, ScramStored, Sql as Settings, SqlField, SqlQuery};
use row::Row;

/// A directory whose people are in a database.
#[derive(Debug)]
pub(super) struct Sql {
    connection: Arc<Connection>,
    compare: Compare,
    scram: ScramStored,
    judge: Judge,
    /// What the passwords that were asked for are mostly like.
    typical: Mutex<Typical>,
    rehash: Rehash,
}

/// The database behind it.
#[derive(Debug)]
enum Connection {
    Postgres(postgres::Postgres),
    Sqlite(sqlite::Sqlite),
}

/// The statements of one directory.
#[derive(Debug, Clone)]
struct Queries {
    person: SqlQuery,
    lookup: Option<SqlQuery>,
    addresses: Option<SqlQuery>,
    groups: Option<SqlQuery>,
    rehash: Option<SqlQuery>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Person,
    Lookup,
    Addresses,
    Groups,
    Rehash,
}

/// What is bound to a statement.
#[derive(Debug, Clone)]
struct Values {
    login: String,
    local: String,
    domain: Option<String>,
    user: Option<String>,
    password: Option<Secret>,
    hash: Option<Secret>,
}

impl Sql {
    /// `limit` is how long a question may take.
    pub(super) fn new(
        settings: &Settings,
        directory: &str,
        limit: Duration,
        checker: Arc<Checker>,
        complaint: Complaint,
    ) -> Self {
        let queries = Queries::of(settings);
        let connection = match &settings.database {
            Database::Postgres(server) => {
                Connection::Postgres(postgres::Postgres::new(server, settings, queries, limit))
            }
            Database::Sqlite(path) => Connection::Sqlite(sqlite::Sqlite::new(path, queries, limit)),
        };
        Self {
            connection: Arc::new(connection),
            compare: settings.compare,
            scram: settings.scram,
            rehash: Rehash::new(Arc::clone(&checker), complaint),
            judge: Judge { directory: directory.to_owned(), checker, clear: settings.clear },
            typical: Mutex::default(),
        }
    }

    /// Who this is, as one of the queries tells; `None`: nobody.
    async fn find(&self, which: Which, values: &Values) -> Result<Option<(Account, Row)>, Denied> {
        let mut rows = self.connection.rows(which, values).await.map_err(Denied::Unavailable)?;
        let Some(row) = rows.pop() else { return Ok(None) };
        if !rows.is_empty() {
            let what = format!("{} gives more than one row for {}", which.key(), values.login);
            return Err(Denied::Unavailable(format!("{what}; make it unambiguous")));
        }
        Ok(Some((row.account(&values.login).map_err(Denied::Unavailable)?, row)))
    }

    /// The account with the addresses and groups that have queries of their own.
    async fn complete(&self, mut principal: Principal, mut values: Values) -> Result<Principal, Denied> {
        values.user = Some(principal.name.clone());
        let listed = self.listed(Which::Addresses, &values).await?;
        let addresses = listed.iter().filter_map(|text| text.parse().ok());
        principal.addresses.extend(addresses);
        principal.groups.extend(self.listed(Which::Groups, &values).await?);
        Ok(principal)
    }

    async fn listed(&self, which: Which, values: &Values) -> Result<Vec<String>, Denied> {
        if !self.connection.has(which) {
            return Ok(Vec::new());
        }
        let rows = self.connection.rows(which, values).await.map_err(Denied::Unavailable)?;
        Ok(rows.into_iter().filter_map(Row::into_text).collect())
    }

    async fn compared_here(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        let values = Values::of(login);
        let found = self.find(Which::Person, &values).await?;
        let account = found.as_ref().map(|(account, _)| account);
        if let Some((account, row)) = &found {
            row.must_have_password().map_err(Denied::Unavailable)?;
            self.note(account);
        }
        let typical = self.typical().nobody().cloned();
        let crypt = self.judge.compare(login, account, typical, password).await?;
        let Some((account, _)) = found else { return Err(Denied::Refused(Why::UnknownUser)) };
        let principal = self.complete(account.principal, values.clone()).await?;
        if crypt.is_dated() {
            self.restore(Values { user: Some(principal.name.clone()), ..values }, password.clone());
        }
        Ok(principal)
    }

    /// Whether the name or the password is wrong, the database does not say.
    async fn compared_there(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        let values = Values::of(login);
        let asked = Values { password: Some(password.clone()), ..values.clone() };
        let (account, _) =
            self.find(Which::Person, &asked).await?.ok_or(Denied::Refused(Why::WrongOrUnknown))?;
        match account.standing {
            Standing::Closed => Err(Denied::Refused(Why::Disabled)),
            Standing::Open => self.complete(account.principal, values).await,
        }
    }

    /// The account without its password, when it may be used.
    async fn open_account(&self, values: &Values) -> Result<Option<Account>, Denied> {
        let which = match (self.connection.has(Which::Lookup), self.compare) {
            (true, _) => Which::Lookup,
            (false, Compare::Here) => Which::Person,
            (false, Compare::There) => return Ok(None),
        };
        let found = self.find(which, values).await?;
        Ok(found.map(|(account, _)| account).filter(Account::is_open))
    }

    /// Stores the password anew, beside the sign-in that showed it to be right.
    fn restore(&self, values: Values, password: Secret) {
        if !self.connection.has(Which::Rehash) {
            return;
        }
        let connection = Arc::clone(&self.connection);
        let what = format!("{}: rehash_query does not store a password anew", self.judge.directory);
        let remedy = "let Postern's role or user write where rehash_query does, or take it out of the configuration; the \
                      password counts as it was stored";
        self.rehash.begin(password, [what, remedy.to_owned()], |hash| async move {
            let values = Values { hash: Some(hash), ..values };
            connection.rows(Which::Rehash, &values).await.map(|_| Stored::Anew)
        });
    }

    fn note(&self, account: &Account) {
        if let Ok(crypt) = account.crypt(self.judge.clear) {
            self.typical().note(&crypt);
        }
    }

    fn typical(&self) -> std::sync::MutexGuard<'_, Typical> {
        self.typical.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Directory for Sql {
    fn abilities(&self) -> Abilities {
        let scram = match self.scram {
            ScramStored::No => Vec::new(),
            ScramStored::Sha256 => vec![ScramHash::Sha256],
        };
        Abilities { passwords: true, scram, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        match self.compare {
            Compare::Here => self.compared_here(login, password).await,
            Compare::There => self.compared_there(login, password).await,
        }
    }

    async fn scram_keys(&self, login: &Login, hash: ScramHash) -> Result<Option<ScramKeys>, Denied> {
        let found = self.find(Which::Person, &Values::of(login)).await?;
        Ok(found.and_then(|(account, _)| self.judge.scram_keys(&account, hash)))
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        let values = Values::of(login);
        match self.open_account(&values).await? {
            Some(account) => Ok(Some(self.complete(account.principal, values).await?)),
            None => Ok(None),
        }
    }
}

impl Connection {
    /// What a query gives, up to a bound.
    ///
    /// # Errors
    /// In words for the administrator, without any secret.
    ///
    /// # Cancel safety
    /// May be dropped at any point; the connection is then not used again.
    async fn rows(&self, which: Which, values: &Values) -> Result<Vec<Row>, String> {
        match self {
            Self::Postgres(postgres) => postgres.rows(which, values).await,
            Self::Sqlite(sqlite) => sqlite.rows(which, values).await,
        }
    }

    fn has(&self, which: Which) -> bool {
        let queries = match self {
            Self::Postgres(postgres) => postgres.queries(),
            Self::Sqlite(sqlite) => sqlite.queries(),
        };
        queries.query(which).is_some()
    }
}

impl Queries {
    fn of(settings: &Settings) -> Self {
        Self {
            person: settings.query.clone(),
            lookup: settings.lookup_query.clone(),
            addresses: settings.addresses_query.clone(),
            groups: settings.groups_query.clone(),
            rehash: settings.rehash_query.clone(),
        }
    }

    fn query(&self, which: Which) -> Option<&SqlQuery> {
        match which {
            Which::Person => Some(&self.person),
            Which::Lookup => self.lookup.as_ref(),
            Which::Addresses => self.addresses.as_ref(),
            Which::Groups => self.groups.as_ref(),
            Which::Rehash => self.rehash.as_ref(),
        }
    }
}

impl Which {
    const ALL: [Self; 5] = [Self::Person, Self::Lookup, Self::Addresses, Self::Groups, Self::Rehash];

    /// Its key in the configuration.
    const fn key(self) -> &'static str {
        match self {
            Self::Person => "query",
            Self::Lookup => "lookup_query",
            Self::Addresses => "addresses_query",
            Self::Groups => "groups_query",
            Self::Rehash => "rehash_query",
        }
    }

    /// How many rows are taken: for one person, one more shows that there are two.
    const fn taken(self) -> usize {
        match self {
            Self::Person | Self::Lookup => 2,
            Self::Addresses | Self::Groups => super::source::MOST_LISTED,
            Self::Rehash => 0,
        }
    }
}

impl Values {
    fn of(login: &Login) -> Self {
        let domain = login.key().rsplit_once('@').map(|(_, domain)| domain.to_owned());
        Self {
            login: login.key().to_owned(),
            local: login.local().to_owned(),
            domain,
            user: None,
            password: None,
            hash: None,
        }
    }

    /// What is bound for a field; `None`: null.
    fn value(&self, field: SqlField) -> Option<&str> {
        match field {
            SqlField::Login => Some(&self.login),
            SqlField::Local => Some(&self.local),
            SqlField::Domain => self.domain.as_deref(),
            SqlField::User => self.user.as_deref(),
            SqlField::Password => self.password.as_ref().and_then(Secret::expose_str),
            SqlField::Hash => self.hash.as_ref().and_then(Secret::expose_str),
        }
    }
}

#[cfg(test)]
mod tests;
