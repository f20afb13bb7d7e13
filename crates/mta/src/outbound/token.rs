//! Access tokens for providers that want OAuth (RFC 6749): fetched, kept while they hold, renewed before they end.
//!
//! [`Tokens::token`] gives the token of a connector. Two grants are known: a refresh token that an administrator obtained
//! once (§6), and client credentials (§4.4). A provider that hands out a new refresh token with each access token is obeyed:
//! the newest is kept in the data directory, beside the file that the administrator wrote, which is never changed. One that
//! refuses is not asked again for a while.
//!
//! What it deliberately does not do: open a browser for the first consent, or decide who may see a token (the session
//! does).

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use postern_smtp::secret::Secret;
use postern_smtp::text;
use serde::Deserialize;

use crate::config::OAuth;
use crate::event::Event;
use crate::https::{Form, Https, HttpsUrl, Limits};
use crate::observe::Observer;
use crate::secret_file::first_line;

/// A token endpoint's answer is some hundred octets; tokens themselves may have a few thousand.
const LIMITS: Limits = Limits { body_most: 64 * 1024, time: Duration::from_secs(30) };
/// A token is renewed when less than this is left of it, so that none ends between AUTH and its check.
const MARGIN: Duration = Duration::from_mins(2);
/// Where the provider does not say how long a token holds (RFC 6749 §5.1: it should).
const USUAL: Duration = Duration::from_mins(10);
/// No longer than this, whatever the provider says.
const LONGEST: Duration = Duration::from_hours(24);
/// After a refusal the provider is not asked again for this long.
const PAUSE: Duration = Duration::from_mins(1);
/// Of a provider's words, so many octets are shown.
const WORDS_MOST: usize = 300;

/// The tokens of all connectors.
pub(crate) struct Tokens {
    folder: PathBuf,
    observer: Observer,
    held: Mutex<HashMap<String, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

/// What is known of one connector's token. Whoever changes the endpoint in the configuration begins anew.
struct Held {
    endpoint: OAuth,
    token: Result<Secret, String>,
    /// The newest refresh token, where it could not be kept on disk.
    refresh: Option<Secret>,
    until: Instant,
}

/// What a token endpoint gave.
struct Fetched {
    token: Secret,
    lasts: Duration,
    refresh: Option<Secret>,
}

/// What a token endpoint answers (RFC 6749 §5.1 and §5.2). Unknown members are passed over.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Tokens {
    /// None yet; refresh tokens that providers renew are kept in this folder.
    pub(crate) fn new(data_dir: &Path, observer: Observer) -> Self {
        Self { folder: data_dir.join("oauth"), observer, held: Mutex::default() }
    }

    /// The access token for a connector: the one that there is while it holds, else a new one. Connections that ask at
    /// the same time share one request.
    ///
    /// # Errors
    /// Why there is none, in words for the administrator.
    pub(crate) async fn token(
        &self,
        https: &Https,
        connector: &str,
        endpoint: &OAuth,
    ) -> Result<Secret, String> {
        let slot = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(held.entry(connector.to_owned()).or_default())
        };
        let mut held = slot.lock().await;
        if let Some(held) =
            held.as_ref().filter(|held| held.endpoint == *endpoint && Instant::now() < held.until)
        {
            return held.token.clone();
        }
        let unkept = held.take().filter(|held| held.endpoint == *endpoint).and_then(|held| held.refresh);
        let (token, lasts, refresh) = match self.fetch(https, connector, endpoint, unkept.clone()).await {
            Ok(Fetched { token, lasts, refresh }) => (Ok(token), lasts, refresh),
            Err(why) => (Err(format!("{}: {why}", endpoint.token_url)), PAUSE, unkept),
        };
        let until = Instant::now() + lasts;
        *held = Some(Held { endpoint: endpoint.clone(), token: token.clone(), refresh, until });
        token
    }

    /// Forgets a connector's token because the server refused it: the next connection fetches a new one, though not
    /// more often than once a minute.
    pub(crate) async fn refused(&self, connector: &str) {
        let slot = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(connector).cloned();
        let Some(slot) = slot else { return };
        if let Some(held) = slot.lock().await.as_mut() {
            held.until = held.until.min(Instant::now() + PAUSE);
        }
    }

    async fn fetch(
        &self,
        https: &Https,
        connector: &str,
        endpoint: &OAuth,
        unkept: Option<Secret>,
    ) -> Result<Fetched, String> {
        let url: HttpsUrl = endpoint.token_url.parse().map_err(|error| format!("{error}"))?;
        let refresh = match (&endpoint.refresh_token_file, unkept) {
            (Some(file), None) => Some(self.refresh_token(connector, endpoint, file).await?),
            (_, unkept) => unkept,
        };
        let secret = match &endpoint.client_secret_file {
            Some(file) => Some(first_line(file).await?),
            None => None,
        };
        let body = request(endpoint, refresh.as_ref(), secret.as_ref());
        let reply = https.submit(&url, body, None, LIMITS).await.map_err(|error| error.to_string())?;
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|_| format!("the answer (status {}) is no JSON object", reply.status))?;
        if reply.status != 200 || answer.access_token.is_none() {
            return Err(answer.complaint(reply.status, &[refresh, secret]));
        }
        let lasts = answer.expires_in.map_or(USUAL, Duration::from_secs).min(LONGEST);
        Ok(Fetched {
            token: Secret::new(answer.access_token.unwrap_or_default()),
            lasts: lasts.saturating_sub(MARGIN).max(PAUSE),
            refresh: self.renewed(connector, endpoint, answer.refresh_token).await,
        })
    }

    /// Keeps a refresh token that the provider renewed; gives it back when that fails, for the old one may not hold any more.
    async fn renewed(&self, connector: &str, endpoint: &OAuth, token: Option<String>) -> Option<Secret> {
        let token = token?;
        let (folder, path) = (self.folder.clone(), self.path(connector));
        let text = format!("{token}\n{}\n", origin(endpoint));
        let keeping = tokio::task::spawn_blocking(move || keep(&folder, &path, &text)).await;
        let error = match keeping {
            Ok(Ok(())) => return None,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.observer.daemon(Event::Alarm {
            what: format!(
                "connector {connector}: the refresh token that its provider renewed cannot be kept: {error}"
            ),
            remedy: "mend the data directory before Postern is restarted, or obtain a new refresh token then"
                .into(),
        });
        Some(Secret::new(token))
    }

    /// The newest refresh token: the provider's own, unless the administrator has written another since, or has gone to
    /// another provider.
    async fn refresh_token(&self, connector: &str, endpoint: &OAuth, file: &Path) -> Result<Secret, String> {
        let kept = self.path(connector);
        let is_newer = match (changed(&kept).await?, changed(file).await?) {
            (Some(ours), theirs) => theirs.is_none_or(|theirs| theirs <= ours),
            (None, _) => false,
        };
        if is_newer {
            // Not the older one instead: the provider may have revoked it, and may take its use for a theft (RFC 9700 §4.14.2).
            let read = tokio::fs::read_to_string(&kept).await;
            let text = read.map_err(|error| unreadable(&kept, &error))?;
            if text.lines().nth(1) == Some(&origin(endpoint)) {
                return first_line(&kept).await;
            }
        }
        first_line(file).await
    }

    /// Connectors' names are the administrator's own words: made harmless for a file name.
    fn path(&self, connector: &str) -> PathBuf {
        let harmless = |octet: u8| match octet {
            octet if octet.is_ascii_alphanumeric() || octet == b'-' => char::from(octet).to_string(),
            octet => format!("_{octet:02x}"),
        };
        self.folder.join(connector.bytes().map(harmless).collect::<String>() + ".refresh")
    }
}

impl Answer {
    /// Why there is no token, in the provider's words; without them where they repeat a secret of ours.
    fn complaint(self, status: u16, secrets: &[Option<Secret>]) -> String {
        let error = self.error.unwrap_or_else(|| format!("status {status}"));
        let said = format!("{error} {}", self.error_description.unwrap_or_default());
        let repeats = |secret: &Secret| memchr::memmem::find(said.as_bytes(), secret.expose()).is_some();
        let said =
            if secrets.iter().flatten().any(repeats) { "its words repeat a secret" } else { said.trim() };
        text::clean(format!("no token: {said}"), WORDS_MOST)
    }
}

/// RFC 6749 §4.4.2 and §6, with the client's own secret in the body (§2.3.1).
fn request(endpoint: &OAuth, refresh: Option<&Secret>, secret: Option<&Secret>) -> Form {
    let mut form = Form::default();
    match refresh {
        Some(refresh) => {
            form.add("grant_type", b"refresh_token");
            form.add("refresh_token", refresh.expose());
        }
        None => form.add("grant_type", b"client_credentials"),
    }
    form.add("client_id", endpoint.client_id.as_bytes());
    if let Some(secret) = secret {
        form.add("client_secret", secret.expose());
    }
    if let Some(scope) = &endpoint.scope {
        form.add("scope", scope.as_bytes());
    }
    form
}

/// Whom a refresh token is for: it must never go to anybody else.
fn origin(endpoint: &OAuth) -> String {
    format!("{} {}", endpoint.token_url, endpoint.client_id)
}

/// When a file was last written; `None` where there is none.
async fn changed(path: &Path) -> Result<Option<SystemTime>, String> {
    match tokio::fs::metadata(path).await.and_then(|metadata| metadata.modified()) {
        Ok(when) => Ok(Some(when)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be read: {error}", path.display())
}

/// Written whole or not at all, for its owner alone.
fn keep(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write as _;
    std::fs::create_dir_all(folder)?;
    let new = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, file: &Path) -> OAuth {
        OAuth {
            token_url: url.into(),
            client_id: "postern".into(),
            client_secret_file: None,
            refresh_token_file: Some(file.to_owned()),
            scope: None,
        }
    }

    #[tokio::test]
    async fn a_renewed_refresh_token_is_used_until_the_administrator_writes_another_or_goes_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "first\n").unwrap();
        let tokens = Tokens::new(folder.path(), Observer::new(Vec::new()));
        let (here, elsewhere) =
            (endpoint("https://a.example/", &file), endpoint("https://b.example/", &file));
        let newest = async |endpoint| tokens.refresh_token("office/../x", endpoint, &file).await.unwrap();
        assert_eq!(newest(&here).await, Secret::new("first"));
        assert!(tokens.renewed("office/../x", &here, Some("second".into())).await.is_none());
        assert_eq!(newest(&here).await, Secret::new("second"));
        assert_eq!(newest(&elsewhere).await, Secret::new("first"), "another provider never sees it");
        let later = SystemTime::now() + Duration::from_secs(5);
        std::fs::write(&file, "third\n").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_eq!(newest(&here).await, Secret::new("third"));
    }

    #[tokio::test]
    async fn an_older_refresh_token_does_not_stand_in_for_a_renewed_one_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "first\n").unwrap();
        let tokens = Tokens::new(folder.path(), Observer::new(Vec::new()));
        let here = endpoint("https://a.example/", &file);
        assert!(tokens.renewed("office", &here, Some("second".into())).await.is_none());
        std::fs::write(tokens.path("office"), b"\xff\n").unwrap();
        let why = tokens.refresh_token("office", &here, &file).await.unwrap_err();
        assert!(why.contains("office.refresh cannot be read: "), "{why}");
    }

    #[tokio::test]
    async fn a_renewed_refresh_token_that_cannot_be_kept_is_held_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("oauth"), "in the way").unwrap();
        let tokens = Tokens::new(folder.path(), Observer::new(Vec::new()));
        let here = endpoint("https://a.example/", &folder.path().join("token"));
        let held = tokens.renewed("office", &here, Some("second".into())).await;
        assert_eq!(held, Some(Secret::new("second")));
    }

    #[test]
    fn a_providers_words_are_told_unless_they_repeat_a_secret() {
        let answer = |description: &str| Answer {
            access_token: None,
            expires_in: None,
            refresh_token: None,
            error: Some("invalid_grant".into()),
            error_description: Some(description.into()),
        };
        let secrets = [Some(Secret::new("s3cret"))];
        assert_eq!(answer("it lapsed").complaint(400, &secrets), "no token: invalid_grant it lapsed");
        assert!(!answer("unknown token s3cret").complaint(400, &secrets).contains("s3cret"));
    }
}
