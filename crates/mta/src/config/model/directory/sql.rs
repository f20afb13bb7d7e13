//! `[directory.sql]`: people in a database, found by queries.
//!
//! An [`SqlQuery`] is a statement with fields such as `{login}`. They become bound parameters, never text, so that no name and
//! no password can become part of a statement.

use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::config::{Host, SslMode};

use super::{ClearPasswords, Rehash};

/// `[directory.sql]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    /// Where it is.
    pub database: Database,
    /// The file with the password that Postern has there.
    pub password_file: Option<PathBuf>,
    /// Whom to trust for TLS; `None`: the system's roots.
    pub trust: Option<PathBuf>,
    /// Who compares passwords.
    pub compare: Compare,
    /// Who somebody is, with his stored password, or when his password is right.
    pub query: SqlQuery,
    /// Who somebody is, without his password; `None`: `query` tells that.
    pub lookup_query: Option<SqlQuery>,
    /// His addresses, one in each row.
    pub addresses_query: Option<SqlQuery>,
    /// His groups, one in each row.
    pub groups_query: Option<SqlQuery>,
    /// Stores his password anew.
    pub rehash_query: Option<SqlQuery>,
    /// Whether `{PLAIN}` counts.
    pub clear: ClearPasswords,
    /// Whether all passwords are stored as `{SCRAM-SHA-256}`.
    pub scram: ScramStored,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// PostgreSQL servers that stand in for each other, without the password.
    Postgres(Box<tokio_postgres::Config>),
    /// A file of SQLite.
    Sqlite(PathBuf),
}

/// Who compares passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Postern, with what the query gives as `password`.
    Here,
    /// The database: the query gives a row when the password is right.
    There,
}

/// Whether SCRAM works for everybody in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScramStored {
    /// At least not for all.
    No,
    /// All passwords are stored as `{SCRAM-SHA-256}`.
    Sha256,
}

/// A statement with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlQuery {
    pieces: Vec<Piece>,
    fields: Vec<SqlField>,
}

/// What may be bound to a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SqlField {
    /// What somebody calls himself, in lower case.
    Login,
    /// The part of that before the `@`.
    Local,
    /// The part behind it, or null.
    Domain,
    /// What he proves himself with.
    Password,
    /// His name, as `query` gave it.
    User,
    /// His new hash.
    Hash,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// By its place among the fields.
    Parameter(usize),
}

impl Rehash {
    /// Whether the directory is written to.
    pub const fn is_wanted(self) -> bool {
        matches!(self, Self::WhenRight)
    }
}

impl Database {
    /// Reads a URL: `postgresql://…` or `sqlite:/path`.
    ///
    /// TLS is demanded, and the certificate verified, wherever the server is not on this machine.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let absolute = path.starts_with('/') && path.len() > 1;
            let wrong =
                || "write sqlite: and the whole path of the file: sqlite:/var/lib/people.db".to_owned();
            return if absolute { Ok(Self::Sqlite(path.into())) } else { Err(wrong()) };
        }
        if !["postgresql://", "postgres://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err("it begins neither with postgresql:// nor with sqlite:/".to_owned());
        }
        // The words of libpq for what is always done here.
        let known = url
            .replace("sslmode=verify-full", "sslmode=require")
            .replace("sslmode=verify-ca", "sslmode=require");
        let config: tokio_postgres::Config = known.parse().map_err(|error| in_words(&error))?;
        Ok(Self::Postgres(Box::new(judged(config)?)))
    }
}

/// An error with its causes; the parser's own words alone say nothing.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}

fn judged(mut config: tokio_postgres::Config) -> Result<tokio_postgres::Config, String> {
    if config.get_password().is_some() {
        return Err("a password stands in it; write password_file instead".to_owned());
    }
    if config.get_user().is_none() {
        return Err("it names no user: postgresql://USER@HOST/DATABASE".to_owned());
    }
    if config.get_hosts().is_empty() || !config.get_hostaddrs().is_empty() {
        return Err("it must name its hosts, without hostaddr".to_owned());
    }
    let ports = config.get_ports().len();
    if ports > 1 && ports != config.get_hosts().len() {
        return Err("it names more ports than hosts".to_owned());
    }
    let near = config.get_hosts().iter().all(is_near);
    match config.get_ssl_mode() {
        SslMode::Disable if !near => {
            return Err("sslmode=disable sends passwords in clear to another machine; remove it".to_owned());
        }
        SslMode::Require => {}
        _ if near => drop(config.ssl_mode(SslMode::Disable)),
        _ => drop(config.ssl_mode(SslMode::Require)),
    }
    Ok(config)
}

/// On this machine: what goes there leaves it nowhere.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
        }
    }
}

impl SqlQuery {
    /// Reads a statement, which may have these fields.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(text: &str, may: &[SqlField]) -> Result<Self, String> {
        let mut query = Self { pieces: Vec::new(), fields: Vec::new() };
        let mut rest = text;
        let mut quote = None;
        while let Some(at) = rest.find(['{', '\'', '"']) {
            let (before, behind) = rest.split_at(at);
            query.push_text(before);
            let mark = behind.chars().next().unwrap_or_default();
            let length = match mark {
                '{' => query.brace(behind, quote, may)?,
                mark => {
                    quote = if quote == Some(mark) { None } else { quote.or(Some(mark)) };
                    query.push_text(&behind[..1]);
                    1
                }
            };
            rest = &behind[length..];
        }
        query.push_text(rest);
        if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(query) }
    }

    /// The statement as a database takes it, with numbered parameters behind `sign`: `$1` or `?1`.
    pub fn statement(&self, sign: char) -> String {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Parameter(place) => format!("{sign}{}", place + 1),
        });
        pieces.collect()
    }

    /// What is bound to its parameters, in their order.
    pub fn fields(&self) -> &[SqlField] {
        &self.fields
    }

    /// Whether an error about it could show a secret.
    pub fn is_secret(&self) -> bool {
        self.fields.iter().any(|field| matches!(field, SqlField::Password | SqlField::Hash))
    }

    fn push_text(&mut self, more: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push_str(more),
            _ => self.pieces.push(Piece::Text(more.to_owned())),
        }
    }

    /// What begins with a brace: a field, or in quotes just text. Gives its length.
    fn brace(&mut self, behind: &str, quote: Option<char>, may: &[SqlField]) -> Result<usize, String> {
        let name = behind[1..].split_once('}').map(|(name, _)| name);
        let field = name.and_then(SqlField::named);
        match (field, quote) {
            (Some(_), Some(_)) => {
                let name = name.unwrap_or_default();
                return Err(format!(
                    "{{{name}}} stands in quotes; write it without them, it is bound as a value"
                ));
            }
            (None, Some(_)) => {
                self.push_text("{");
                return Ok(1);
            }
            _ => {}
        }
        let known = || may.iter().map(|field| format!("{{{}}}", field.name())).collect::<Vec<_>>().join(", ");
        let Some(field) = field.filter(|field| may.contains(field)) else {
            let what = name.map_or_else(
                || "a \"{\" is never closed".to_owned(),
                |name| format!("there is no field {{{name}}} here"),
            );
            return Err(format!("{what}; the fields are {}", known()));
        };
        let place = self.fields.iter().position(|known| *known == field).unwrap_or_else(|| {
            self.fields.push(field);
            self.fields.len() - 1
        });
        self.pieces.push(Piece::Parameter(place));
        Ok(field.name().len() + 2)
    }
}

impl SqlField {
    const ALL: [Self; 6] = [Self::Login, Self::Local, Self::Domain, Self::Password, Self::User, Self::Hash];

    const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Local => "local",
            Self::Domain => "domain",
            Self::Password => "password",
            Self::User => "user",
            Self::Hash => "hash",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAY: &[SqlField] = &[SqlField::Login, SqlField::Local, SqlField::Domain];

    #[test]
    fn fields_become_numbered_parameters_each_once() {
        let text = "SELECT 'a ''quoted'' {1,2}' FROM p WHERE l = {login} OR (d = {domain} AND l = {local}) OR x = {login}";
        let query = SqlQuery::parse(text, MAY).unwrap();
        let expected = "SELECT 'a ''quoted'' {1,2}' FROM p WHERE l = $1 OR (d = $2 AND l = $3) OR x = $1";
        assert_eq!(query.statement('$'), expected);
        assert_eq!(query.fields(), [SqlField::Login, SqlField::Domain, SqlField::Local]);
        assert!(query.statement('?').contains("x = ?1"));
    }

    #[test]
    fn what_would_not_be_bound_is_refused_in_words() {
        for (text, says) in [
            ("SELECT * FROM p WHERE l = '{login}'", "without them"),
            ("SELECT * FROM p WHERE l LIKE '%{local}%'", "without them"),
            ("SELECT {nonsense}", "{login}, {local}, {domain}"),
            ("SELECT {password}", "there is no field {password} here"),
            ("SELECT {login", "never closed"),
            (" ", "empty"),
        ] {
            let wrong = SqlQuery::parse(text, MAY).unwrap_err();
            assert!(wrong.contains(says), "{text}: {wrong}");
        }
    }

    #[test]
    fn passwords_leave_the_machine_only_under_tls() {
        let mode = |url: &str| match Database::parse(url).unwrap() {
            Database::Postgres(config) => config.get_ssl_mode(),
            Database::Sqlite(path) => panic!("{}", path.display()),
        };
        assert_eq!(mode("postgresql://p@db1.example,db2.example/mail"), SslMode::Require);
        assert_eq!(mode("postgresql://p@db.example/mail?sslmode=prefer"), SslMode::Require);
        assert_eq!(mode("postgresql://p@127.0.0.1,db.example/mail"), SslMode::Require);
        assert_eq!(mode("postgresql://p@localhost/mail?sslmode=verify-full"), SslMode::Require);
        assert_eq!(mode("postgresql://p@127.0.0.1:5433/mail"), SslMode::Disable);
        assert_eq!(mode("postgresql://p@%2Frun%2Fpostgresql/mail"), SslMode::Disable);
    }

    #[test]
    fn a_url_that_will_not_do_is_refused_in_words() {
        for (url, says) in [
            ("mysql://p@h/d", "neither"),
            ("sqlite:people.db", "whole path"),
            ("sqlite:", "whole path"),
            ("postgresql://p:secret@h/d", "password_file"),
            ("postgresql://h/d", "USER@HOST"),
            ("postgresql://p@db.example/d?sslmode=disable", "in clear"),
            ("postgresql://p@h/d?nonsense=1", "nonsense"),
            ("postgresql://p@h/d?hostaddr=192.0.2.1", "hostaddr"),
        ] {
            let wrong = Database::parse(url).unwrap_err();
            assert!(wrong.contains(says), "{url}: {wrong}");
            assert!(!wrong.contains("secret"), "{wrong}");
        }
        assert_eq!(Database::parse("sqlite:///var/p.db"), Ok(Database::Sqlite("/var/p.db".into())));
        assert_eq!(Database::parse("sqlite:/var/p.db"), Ok(Database::Sqlite("/var/p.db".into())));
    }
}
