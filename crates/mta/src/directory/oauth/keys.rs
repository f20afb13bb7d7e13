//! A provider's public keys (RFC 7517): fetched when they are needed, and kept.
//!
//! [`Keys::fitting`] finds the key that a token names. A set of keys counts for an hour, and for a day while no newer one is to
//! be had. A token with a key that is not in the set has the set fetched anew, but at most once a minute: providers change
//! their keys, and strangers make names up. Of several sessions that need a new set, one fetches it.
//!
//! What it deliberately does not do: take a key from a token, or a key that is secret, or one for something else than
//! signatures.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use postern_smtp::text;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::AsyncReadExt as _;

use super::token::{Header, WORDS_MOST};
use super::{BODY_MOST, Provider, bad};
use crate::config::{KeySource, SignatureAlgorithm};
use crate::directory::Denied;
use crate::https::HttpsUrl;

/// So long a set is not fetched again for a key that is in it.
const FRESH: Duration = Duration::from_hours(1);
/// So long a set serves while no newer one is to be had.
const USABLE: Duration = Duration::from_hours(24);
/// For a key that is not in it, a set is fetched no sooner than this after the last.
const PAUSE: Duration = Duration::from_mins(1);
/// After a failure it is tried again no sooner than this.
const RETRY: Duration = Duration::from_secs(5);
/// A set has no more keys than this.
const MOST_KEYS: usize = 100;

/// The keys of one provider.
#[derive(Debug)]
pub(super) struct Keys {
    source: KeySource,
    issuer: String,
    provider: Provider,
    known: Mutex<Known>,
    fetching: tokio::sync::Mutex<()>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Key {
    name: Option<String>,
    kind: Kind,
    /// The only algorithm that it is for, where it says so.
    algorithm: Option<SignatureAlgorithm>,
    verifier: DecodingKey,
}

/// What sort of key it is: each is for certain algorithms only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

#[derive(Debug, Default)]
struct Known {
    set: Vec<Arc<Key>>,
    since: Option<Instant>,
    tried: Option<Instant>,
    /// Why the last try came to nothing.
    trouble: Option<String>,
}

/// What is in the set for a token.
enum Found {
    Fresh(Arc<Key>),
    Old(Arc<Key>),
    Missing,
}

/// The members of a key set and of a provider's metadata that matter (RFC 7517 §5, OpenID Connect Discovery 1.0 §3).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Keys {
    pub(super) fn new(source: KeySource, issuer: String, provider: Provider) -> Self {
        Self { source, issuer, provider, known: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The key that signed a token, if anybody did.
    ///
    /// # Errors
    /// Refused: the provider has no such key. Unavailable: its keys are not to be had.
    ///
    /// # Cancel safety
    /// May be dropped; the next one who needs it fetches the set.
    pub(super) async fn fitting(&self, header: &Header, now: Instant) -> Result<Arc<Key>, Denied> {
        let found = self.known().find(header, now).map_err(bad)?;
        let _turn = match found {
            Found::Fresh(key) => return Ok(key),
            Found::Old(key) => match self.fetching.try_lock() {
                Ok(turn) => turn,
                // Somebody else is at it, and the old one still serves.
                Err(_) => return Ok(key),
            },
            Found::Missing => self.fetching.lock().await,
        };
        let due = self.known().is_due(now);
        if due {
            let fetched = self.fetch().await;
            self.known().take(fetched, now);
        }
        let known = self.known();
        match known.find(header, now).map_err(bad)? {
            Found::Fresh(key) | Found::Old(key) => Ok(key),
            Found::Missing => Err(match &known.trouble {
                Some(trouble) => {
                    Denied::Unavailable(format!("the provider's keys are not to be had: {trouble}"))
                }
                None => bad(match &header.key {
                    Some(name) => format!(
                        "its key {:?} is none of the provider's, or is not for {}",
                        text::clean(name, WORDS_MOST),
                        header.algorithm.name()
                    ),
                    None => format!("the provider has no key for {}", header.algorithm.name()),
                }),
            }),
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Vec<Arc<Key>>, String> {
        let (whose, text) = match &self.source {
            KeySource::File(path) => (path.display().to_string(), read(path).await?),
            KeySource::Url(url) => (url.to_string(), self.provider.fetch(url).await?),
            KeySource::Discovered(metadata) => {
                let url = self.discover(metadata).await?;
                (url.to_string(), self.provider.fetch(&url).await?)
            }
        };
        parse(&text).map_err(|why| format!("{whose}: {why}"))
    }

    /// Where the provider says that its keys are. Whoever speaks HTTPS is not taken down to HTTP.
    async fn discover(&self, url: &HttpsUrl) -> Result<HttpsUrl, String> {
        let text = self.provider.fetch(url).await?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| {
            format!("{url} is no provider's metadata: {}", text::clean(error, WORDS_MOST))
        })?;
        // OpenID Connect Discovery 1.0 §4.3: exactly equal.
        if metadata.issuer != self.issuer {
            let named = text::clean(metadata.issuer, WORDS_MOST);
            return Err(format!("{url} is the metadata of another issuer, {named:?}; correct issuer"));
        }
        let parsed =
            if url.is_encrypted() { metadata.jwks_uri.parse() } else { HttpsUrl::of_own(&metadata.jwks_uri) };
        parsed.map_err(|error| format!("{url} names keys that cannot be fetched: {error}"))
    }
}

impl Key {
    /// What checks a signature.
    pub(super) fn verifier(&self) -> &DecodingKey {
        &self.verifier
    }

    fn fits(&self, algorithm: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let kind = match algorithm {
            Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => Kind::Rsa,
            Es256 => Kind::P256,
            Es384 => Kind::P384,
            EdDsa => Kind::Ed25519,
        };
        self.kind == kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// `None`: it is of no use here, as a secret key, or one for encryption.
    fn parse(written: &Value) -> Option<Self> {
        let member = |name: &str| written.get(name).and_then(Value::as_str);
        if written.get("use").is_some_and(|purpose| purpose != "sig") {
            return None;
        }
        if let Some(operations) = written.get("key_ops") {
            operations.as_array()?.iter().find(|operation| *operation == "verify")?;
        }
        let (kind, verifier) = match (member("kty")?, member("crv")) {
            ("RSA", _) => (Kind::Rsa, DecodingKey::from_rsa_components(member("n")?, member("e")?)),
            ("EC", Some("P-256")) => {
                (Kind::P256, DecodingKey::from_ec_components(member("x")?, member("y")?))
            }
            ("EC", Some("P-384")) => {
                (Kind::P384, DecodingKey::from_ec_components(member("x")?, member("y")?))
            }
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_components(member("x")?)),
            _ => return None,
        };
        let algorithm = match written.get("alg") {
            Some(name) => Some(SignatureAlgorithm::named(name.as_str()?)?),
            None => None,
        };
        Some(Self { name: member("kid").map(str::to_owned), kind, algorithm, verifier: verifier.ok()? })
    }
}

impl Known {
    /// # Errors
    /// The token does not say which of several it means.
    fn find(&self, header: &Header, now: Instant) -> Result<Found, String> {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        let Some(age) = age.filter(|age| *age < USABLE) else { return Ok(Found::Missing) };
        let named = |key: &&Arc<Key>| header.key.is_none() || key.name == header.key;
        let mut fitting = self.set.iter().filter(named).filter(|key| key.fits(header.algorithm));
        match (fitting.next(), fitting.next()) {
            (None, _) => Ok(Found::Missing),
            (Some(_), Some(_)) if header.key.is_none() => {
                Err("it does not say which of the provider's keys signed it (kid)".to_owned())
            }
            (Some(key), _) if age < FRESH => Ok(Found::Fresh(Arc::clone(key))),
            (Some(key), _) => Ok(Found::Old(Arc::clone(key))),
        }
    }

    /// Whether it is time for a try, which is then noted as begun: whoever goes away in the middle leaves it as failed.
    fn is_due(&mut self, now: Instant) -> bool {
        let pause = if self.trouble.is_some() { RETRY } else { PAUSE };
        let due = self.tried.is_none_or(|tried| now.saturating_duration_since(tried) >= pause);
        if due {
            self.tried = Some(now);
            self.trouble = Some("the last request was given up before it was answered".to_owned());
        }
        due
    }

    fn take(&mut self, fetched: Result<Vec<Arc<Key>>, String>, now: Instant) {
        match fetched {
            Ok(set) => *self = Self { set, since: Some(now), tried: Some(now), trouble: None },
            Err(trouble) => self.trouble = Some(trouble),
        }
    }
}

impl Provider {
    /// What is at an address.
    async fn fetch(&self, url: &HttpsUrl) -> Result<Vec<u8>, String> {
        let https = self.https.as_ref().map_err(Clone::clone)?;
        let reply = https.get(url, self.limits).await.map_err(|error| format!("{url}: {error}"))?;
        match reply.status {
            200 => Ok(reply.body.to_vec()),
            status => Err(format!("{url} answers with status {status}")),
        }
    }
}

/// A set of keys; those of no use here are left out.
fn parse(text: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    let Set { keys } = serde_json::from_slice(text)
        .map_err(|error| format!("it is no set of keys: {}", text::clean(error, WORDS_MOST)))?;
    if keys.len() > MOST_KEYS {
        return Err(format!("it has more than {MOST_KEYS} keys"));
    }
    let set: Vec<_> = keys.iter().filter_map(Key::parse).map(Arc::new).collect();
    if set.is_empty() { Err("it has no key for signatures that Postern knows".to_owned()) } else { Ok(set) }
}

async fn read(path: &Path) -> Result<Vec<u8>, String> {
    let read = async {
        let mut text = Vec::new();
        let most = u64::try_from(BODY_MOST).unwrap_or(u64::MAX);
        tokio::fs::File::open(path).await?.take(most).read_to_end(&mut text).await?;
        Ok(text)
    };
    read.await.map_err(|error: std::io::Error| format!("{} cannot be read: {error}", path.display()))
}
