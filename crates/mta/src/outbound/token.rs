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
use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_smtp::secret::Secret;
use postern_smtp::text;
use serde::Deserialize;

use super::credential::first_line;
use crate::config::OAuth;
use crate::https::{Https, HttpsUrl, Limits};

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
    held: Mutex<HashMap<String, Slot>>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

/// What is known of one connector's token. Whoever changes the endpoint in the configuration begins anew.
struct Held {
    endpoint: OAuth,
    token: Result<Secret, String>,
    until: Instant,
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
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { folder: data_dir.join("oauth"), held: Mutex::default() }
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
        let (token, lasts) = match self.fetch(https, connector, endpoint).await {
            Ok((token, lasts)) => (Ok(token), lasts),
            Err(why) => (Err(format!("{}: {why}", endpoint.token_url)), PAUSE),
        };
        *held =
            Some(Held { endpoint: endpoint.clone(), token: token.clone(), until: Instant::now() + lasts });
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
    ) -> Result<(Secret, Duration), String> {
        let url: HttpsUrl = endpoint.token_url.parse().map_err(|error| format!("{error}"))?;
        let body = self.request(connector, endpoint).await?;
        let kind = "application/x-www-form-urlencoded";
        let reply = https.post(&url, kind, body, LIMITS).await.map_err(|error| error.to_string())?;
        let answer: Answer = serde_json::from_slice(&reply.body)
            .map_err(|_| format!("the answer (status {}) is no JSON object", reply.status))?;
        let Some(token) = answer.access_token.filter(|_| reply.status == 200) else {
            let error = answer.error.unwrap_or_else(|| format!("status {}", reply.status));
            let words = answer.error_description.unwrap_or_default();
            return Err(text::clean(format!("no token: {error} {words}"), WORDS_MOST));
        };
        if let Some(renewed) = answer.refresh_token {
            self.keep(connector, &renewed)
                .map_err(|error| format!("the new refresh token cannot be kept: {error}"))?;
        }
        let lasts = answer.expires_in.map_or(USUAL, Duration::from_secs).min(LONGEST);
        Ok((Secret::new(token), lasts.saturating_sub(MARGIN).max(PAUSE)))
    }

    /// RFC 6749 §4.4.2 and §6, with the client's own secret in the body (§2.3.1).
    async fn request(&self, connector: &str, endpoint: &OAuth) -> Result<Bytes, String> {
        let mut form = Form::default();
        match &endpoint.refresh_token_file {
            Some(file) => {
                form.add("grant_type", b"refresh_token");
                form.add("refresh_token", self.refresh_token(connector, file).await?.expose());
            }
            None => form.add("grant_type", b"client_credentials"),
        }
        form.add("client_id", endpoint.client_id.as_bytes());
        if let Some(file) = &endpoint.client_secret_file {
            form.add("client_secret", first_line(file).await?.expose());
        }
        if let Some(scope) = &endpoint.scope {
            form.add("scope", scope.as_bytes());
        }
        Ok(form.0.into())
    }

    /// The newest refresh token: the provider's own, unless the administrator has written another since.
    async fn refresh_token(&self, connector: &str, file: &Path) -> Result<Secret, String> {
        let kept = self.path(connector);
        let changed = |path: &Path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        match (changed(&kept), changed(file)) {
            (Some(ours), theirs) if theirs.is_none_or(|theirs| theirs <= ours) => first_line(&kept).await,
            _ => first_line(file).await,
        }
    }

    fn keep(&self, connector: &str, token: &str) -> io::Result<()> {
        use std::io::Write as _;
        std::fs::create_dir_all(&self.folder)?;
        let (path, new) = (self.path(connector), self.path(connector).with_extension("new"));
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        writeln!(file, "{token}")?;
        file.sync_all()?;
        std::fs::rename(new, path)
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

/// A form as it goes over the wire.
#[derive(Default)]
struct Form(Vec<u8>);

impl Form {
    fn add(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        for octet in value {
            match octet {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => self.0.push(*octet),
                octet => self.0.extend_from_slice(format!("%{octet:02X}").as_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_every_octet_apart_from_its_syntax() {
        let mut form = Form::default();
        form.add("grant_type", b"refresh_token");
        form.add("scope", b"https://mail.example/ a&b=c");
        assert_eq!(form.0, b"grant_type=refresh_token&scope=https%3A%2F%2Fmail.example%2F%20a%26b%3Dc");
    }

    #[tokio::test]
    async fn a_renewed_refresh_token_is_used_until_the_administrator_writes_another() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "first\n").unwrap();
        let tokens = Tokens::new(folder.path());
        let newest = async || tokens.refresh_token("office/../x", &file).await.unwrap();
        assert_eq!(newest().await, Secret::new("first"));
        tokens.keep("office/../x", "second").unwrap();
        assert_eq!(newest().await, Secret::new("second"));
        let later = std::time::SystemTime::now() + Duration::from_secs(5);
        std::fs::write(&file, "third\n").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_eq!(newest().await, Secret::new("third"));
    }
}
