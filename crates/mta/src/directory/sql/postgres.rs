//! One connection to PostgreSQL that all questions share, made anew when it is lost.
//!
//! [`Postgres::rows`] asks. Questions go out without waiting for each other's answers (pipelining); the server ends a statement
//! that takes too long. A question that is given up before its answer takes its [`Session`] out of use, so that what hangs is
//! not waited for twice; those that others still wait for on it may end. Servers that stand in for each other are tried in
//! turn, each with a limit of its own.
//!
//! TLS is verified against the name of the host, always. What it deliberately does not do: run statements that were not
//! prepared, or show what a server says about a statement that was given a password.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use postern_pki::TrustAnchors;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::row::{LONGEST_TEXT, Row, Value};
use super::{Queries, Values, Which};
use crate::config::Sql as Settings;
use crate::secret_file::first_line;

/// The longest that one server is waited for.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);
/// So long after a failure nothing is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// A silent connection is probed after so long.
const PROBED_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Postgres {
    /// One for each server, without the password.
    servers: Vec<Config>,
    password_file: Option<PathBuf>,
    trust: TrustAnchors,
    queries: Queries,
    limit: Duration,
    session: Mutex<Option<Arc<Session>>>,
    /// Held while a connection is made; why the last attempt failed, and when.
    connecting: tokio::sync::Mutex<Option<(Instant, String)>>,
}

/// A connection with its statements.
struct Session {
    client: Client,
    statements: Vec<(Which, Statement)>,
    driver: JoinHandle<()>,
}

/// A session while one question is out.
struct InUse<'a> {
    postgres: &'a Postgres,
    session: Arc<Session>,
    outcome: Outcome,
}

/// Whether a session may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Not known yet; dropped so, the question was given up.
    Open,
    Fine,
    Spoilt,
}

/// Whether a session was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Used,
    Fresh,
}

impl Postgres {
    pub(super) fn new(server: &Config, settings: &Settings, queries: Queries, limit: Duration) -> Self {
        Self {
            servers: servers(server, limit),
            password_file: settings.password_file.clone(),
            trust: settings.trust.clone().map_or(TrustAnchors::System, TrustAnchors::File),
            queries,
            limit,
            session: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn queries(&self) -> &Queries {
        &self.queries
    }

    /// A connection may have been lost while nobody asked; that shows only now, so such a question is asked once more.
    pub(super) async fn rows(&self, which: Which, values: &Values) -> Result<Vec<Row>, String> {
        loop {
            let (session, age) = self.session().await?;
            let mut question = InUse { postgres: self, session, outcome: Outcome::Open };
            let answer = question.session.ask(which, self.query(which)?.fields(), values).await;
            let spoilt = answer.as_ref().err().is_some_and(is_about_connection);
            question.outcome = if spoilt { Outcome::Spoilt } else { Outcome::Fine };
            drop(question);
            match answer {
                Ok(rows) => return Ok(rows),
                Err(_) if spoilt && age == Age::Used => {}
                Err(error) => return Err(self.in_words(which, &error)),
            }
        }
    }

    /// The session that there is, or a new one.
    async fn session(&self) -> Result<(Arc<Session>, Age), String> {
        if let Some(session) = self.current() {
            return Ok((session, Age::Used));
        }
        let mut failed = self.connecting.lock().await;
        if let Some(session) = self.current() {
            return Ok((session, Age::Used));
        }
        if let Some((at, why)) = &*failed
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        match self.connect().await {
            Ok(session) => {
                *failed = None;
                let session = Arc::new(session);
                *self.slot() = Some(Arc::clone(&session));
                Ok((session, Age::Fresh))
            }
            Err(why) => {
                *failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    fn current(&self) -> Option<Arc<Session>> {
        self.slot().as_ref().filter(|session| !session.client.is_closed()).cloned()
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn query(&self, which: Which) -> Result<&crate::config::SqlQuery, String> {
        self.queries.query(which).ok_or_else(|| format!("there is no {}", which.key()))
    }

    /// The first server that takes us.
    async fn connect(&self) -> Result<Session, String> {
        let password = match &self.password_file {
            Some(path) => Some(first_line(path).await?),
            None => None,
        };
        let share = u32::try_from(self.servers.len() + 1).unwrap_or(u32::MAX);
        let patience = LONGEST_ATTEMPT.min(self.limit / share.max(2));
        let mut failures = Vec::new();
        for server in &self.servers {
            let mut server = server.clone();
            if let Some(password) = &password {
                server.password(password.expose());
            }
            let name = shown(&server);
            match tokio::time::timeout(patience, self.open(&server)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(why)) => failures.push(format!("{name}: {why}")),
                Err(_) => failures.push(format!("{name}: no connection within {} s", patience.as_secs_f64())),
            }
        }
        Err(failures.join("; "))
    }

    async fn open(&self, server: &Config) -> Result<Session, String> {
        let (client, driver) = if server.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = server.connect(NoTls).await.map_err(|error| in_words(&error))?;
            (client, tokio::spawn(async move { drop(connection.await) }))
        } else {
            let tls = verified(self.trust.clone()).await?;
            let (client, connection) = server.connect(tls).await.map_err(|error| in_words(&error))?;
            (client, tokio::spawn(async move { drop(connection.await) }))
        };
        let mut session = Session { client, statements: Vec::new(), driver };
        let limit = format!("SET statement_timeout = {}", self.limit.as_millis());
        session.client.batch_execute(&limit).await.map_err(|error| in_words(&error))?;
        for which in Which::ALL {
            if let Some(query) = self.queries.query(which) {
                session.prepare(which, query).await?;
            }
        }
        Ok(session)
    }

    fn in_words(&self, which: Which, error: &tokio_postgres::Error) -> String {
        let secret = self.queries.query(which).is_some_and(crate::config::SqlQuery::is_secret);
        let what = match error.code() {
            // The words may quote a value.
            Some(code) if secret => format!("SQLSTATE {}", code.code()),
            _ => in_words(error),
        };
        format!("PostgreSQL: {}: {what}", which.key())
    }
}

impl Session {
    async fn prepare(&mut self, which: Which, query: &crate::config::SqlQuery) -> Result<(), String> {
        let statement = self.client.prepare(&query.statement('$')).await;
        let statement = statement.map_err(|error| format!("{}: {}", which.key(), in_words(&error)))?;
        if statement.params().len() != query.fields().len() {
            return Err(format!(
                "{}: values are bound by fields such as {{login}} only, not by $1",
                which.key()
            ));
        }
        if let Some(kind) = statement.params().iter().find(|kind| !<&str as ToSql>::accepts(kind)) {
            let what = format!("a field stands where a value of type {kind} is needed");
            return Err(format!("{}: {what}; cast it: {{login}}::text::{kind}", which.key()));
        }
        self.statements.push((which, statement));
        Ok(())
    }

    async fn ask(
        &self,
        which: Which,
        fields: &[crate::config::SqlField],
        values: &Values,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Some((_, statement)) = self.statements.iter().find(|(known, _)| *known == which) else {
            return Ok(Vec::new());
        };
        let bound: Vec<Option<&str>> = fields.iter().map(|field| values.value(*field)).collect();
        let mut answer = pin!(self.client.query_raw(statement, bound).await?);
        let mut rows = Vec::new();
        while let Some(row) = answer.try_next().await? {
            // The rest is read and dropped: the statement ends before the next question's does.
            if rows.len() < which.taken() {
                let columns = row.columns().iter().enumerate();
                rows.push(Row(columns
                    .map(|(place, column)| (column.name().to_owned(), value(&row, place)))
                    .collect()));
            } else {
                break;
            }
        }
        Ok(rows)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        if self.outcome == Outcome::Fine {
            return;
        }
        let mut slot = self.postgres.slot();
        if slot.as_ref().is_some_and(|session| Arc::ptr_eq(session, &self.session)) {
            *slot = None;
        }
    }
}

/// The same settings for each host alone.
fn servers(all: &Config, limit: Duration) -> Vec<Config> {
    let hosts = all.get_hosts().iter().enumerate();
    let single = hosts.map(|(place, host)| {
        let mut server = Config::new();
        match host {
            Host::Tcp(name) => server.host(name),
            Host::Unix(path) => server.host_path(path),
        };
        let port = all.get_ports().get(place).or_else(|| all.get_ports().first());
        server.port(port.copied().unwrap_or(5432));
        server.user(all.get_user().unwrap_or_default());
        if let Some(name) = all.get_dbname() {
            server.dbname(name);
        }
        if let Some(options) = all.get_options() {
            server.options(options);
        }
        server.application_name(all.get_application_name().unwrap_or("postern"));
        server.ssl_mode(all.get_ssl_mode());
        server.channel_binding(all.get_channel_binding());
        server.target_session_attrs(all.get_target_session_attrs());
        server.connect_timeout(LONGEST_ATTEMPT.min(limit));
        // A server that is gone without a word is noticed by the system.
        server.keepalives_idle(PROBED_AFTER).tcp_user_timeout(limit);
        server
    });
    single.collect()
}

/// TLS with the host's name verified.
async fn verified(trust: TrustAnchors) -> Result<MakeRustlsConnect, String> {
    let roots = tokio::task::spawn_blocking(move || trust.load()).await;
    let roots = roots.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let config = rustls::ClientConfig::builder_with_provider(postern_pki::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// After which errors a new connection may help: those of the connection itself, of a server that goes or only reads now, and of
/// statements that it has forgotten.
fn is_about_connection(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_none_or(|code| ["08", "57", "25", "26", "0A"].iter().any(|class| code.code().starts_with(class)))
}

fn shown(server: &Config) -> String {
    let port = server.get_ports().first().copied().unwrap_or(5432);
    match server.get_hosts().first() {
        Some(Host::Tcp(name)) => format!("PostgreSQL at {name}:{port}"),
        Some(Host::Unix(path)) => format!("PostgreSQL at {}:{port}", path.display()),
        None => "PostgreSQL".to_owned(),
    }
}

/// An error with its causes.
fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |words, cause| format!("{words}: {cause}"))
}

fn value(row: &tokio_postgres::Row, place: usize) -> Value {
    let kind = row.columns()[place].type_();
    let other = || Value::Other(format!("of type {kind}"));
    if <String as FromSql>::accepts(kind) {
        return match row.try_get::<_, Option<&str>>(place) {
            Ok(Some(text)) => Value::of_text(text),
            Ok(None) => Value::Null,
            Err(_) => other(),
        };
    }
    if <Vec<Option<String>> as FromSql>::accepts(kind) {
        return match row.try_get::<_, Option<Vec<Option<String>>>>(place) {
            Ok(Some(list)) => Value::List(bounded(list)),
            Ok(None) => Value::Null,
            Err(_) => other(),
        };
    }
    let switch = match *kind {
        Type::BOOL => row.try_get::<_, Option<bool>>(place),
        Type::INT2 => row.try_get::<_, Option<i16>>(place).map(|number| number.map(|number| number != 0)),
        Type::INT4 => row.try_get::<_, Option<i32>>(place).map(|number| number.map(|number| number != 0)),
        Type::INT8 => row.try_get::<_, Option<i64>>(place).map(|number| number.map(|number| number != 0)),
        _ => return other(),
    };
    switch.map_or_else(|_| other(), |switch| switch.map_or(Value::Null, Value::Switch))
}

fn bounded(list: Vec<Option<String>>) -> Vec<String> {
    let fits = |text: &String| text.len() <= LONGEST_TEXT;
    list.into_iter().flatten().filter(fits).take(crate::directory::source::MOST_LISTED).collect()
}
