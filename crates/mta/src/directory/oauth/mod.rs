//! Access tokens of an identity provider, for OAUTHBEARER (RFC 7628) and XOAUTH2.
//!
//! An [`OAuth`] believes a token either because of its signature, by the provider's published [`keys`], or because the
//! provider says so when asked ([`introspection`], RFC 7662). Both yield [`claims`]: who issued it, for whom, for what, until
//! when, and who the user is. What the mail program claims, if it claims anything, must be that user, by name or by address; a
//! token never signs somebody else in.
//!
//! What it deliberately does not do: obtain tokens, take passwords, follow any address that stands in a token, or know of a
//! user without one.

mod claims;
mod introspection;
mod keys;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use postern_pki::{ClientTls, TrustAnchors};
use postern_smtp::secret::Secret;

use self::claims::Expiry;
use self::introspection::Introspection;
use self::keys::Keys;
use super::directories::Means;
use super::recent::Recent;
use super::source::key_of;
use super::{Abilities, Denied, Directory, Login, Names, Principal, Why};
use crate::config::{AddressRule, DirectoryConfig, OAuthDirectory, SignatureAlgorithm, TokenProof};
use crate::https::{Https, Limits};

/// What a provider says, keys and metadata alike, has no more octets than this.
const BODY_MOST: usize = 256 * 1024;
/// How long one request to a provider may take.
const REQUEST: Duration = Duration::from_secs(5);
/// So many answers to introspection are kept, no longer than a day.
const KEPT: Duration = Duration::from_hours(24);
const MOST_KEPT: usize = 4096;

/// A provider, and what its tokens must say.
#[derive(Debug)]
pub(super) struct OAuth {
    config: OAuthDirectory,
    rules: Vec<AddressRule>,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    Signed { keys: Keys, algorithms: Vec<SignatureAlgorithm> },
    Introspected { provider: Introspection, remember: Duration, bridge: Duration, recent: Box<Recent<Known>> },
}

/// What the provider said of a token a while ago.
#[derive(Debug, Clone)]
struct Known {
    principal: Principal,
    ends: Option<Timestamp>,
}

/// The provider's hosts, as they are reached.
#[derive(Clone)]
struct Provider {
    /// Or why it cannot be reached at all.
    https: Result<Https, String>,
    limits: Limits,
}

/// What it is that is asked: the point in time by both clocks, for tokens name the one and what is kept ages by the other.
#[derive(Debug, Clone, Copy)]
struct Now {
    wall: Timestamp,
    clock: Instant,
}

impl OAuth {
    /// # Errors
    /// Local: the system has no randomness to give.
    pub(super) fn new(
        config: &OAuthDirectory,
        directory: &DirectoryConfig,
        means: &Means<'_>,
    ) -> Result<Self, postern_pki::Error> {
        let time = (directory.timeout / 2).min(REQUEST);
        let limits = Limits { body_most: BODY_MOST, time };
        let provider = Provider { https: https(config, means), limits };
        let proof = match &config.proof {
            TokenProof::Signed { keys, algorithms } => {
                let issuer = config.issuer.clone().unwrap_or_default();
                Proof::Signed {
                    keys: Keys::new(keys.clone(), issuer, provider),
                    algorithms: algorithms.clone(),
                }
            }
            TokenProof::Introspected { url, client } => Proof::Introspected {
                provider: Introspection::new(url.clone(), client.clone(), provider),
                remember: directory.remember,
                bridge: directory.bridge,
                recent: Box::new(Recent::new(KEPT, MOST_KEPT)?),
            },
        };
        Ok(Self { config: config.clone(), rules: directory.addresses.clone(), proof })
    }

    /// Whose token this is, whatever the client claims.
    async fn owner(&self, token: &str, now: Now) -> Result<Principal, Denied> {
        match &self.proof {
            Proof::Signed { keys, algorithms } => {
                let signed = token::read(token, algorithms).map_err(bad)?;
                let key = keys.fitting(&signed.header, now.clock).await?;
                let claims = signed.verified(&key).map_err(bad)?;
                claims.judge(&self.config, Expiry::Required, now.wall).map_err(bad)?;
                claims.principal(&self.config).map_err(bad)
            }
            Proof::Introspected { provider, remember, bridge, recent } => {
                let parts = [token.as_bytes()];
                let kept = |within| {
                    let known = recent.find(&parts, within, now.clock)?;
                    known.ends.is_none_or(|ends| now.wall < ends).then_some(known.principal)
                };
                if let Some(principal) = kept(*remember) {
                    return Ok(principal);
                }
                match self.asked(provider, token, now).await {
                    Ok(known) => {
                        if !remember.max(bridge).is_zero() {
                            recent.note(&parts, known.clone(), now.clock);
                        }
                        Ok(known.principal)
                    }
                    Err(denied @ Denied::Unavailable(_)) => kept(*bridge).ok_or(denied),
                    Err(refused) => {
                        recent.forget(&parts);
                        Err(refused)
                    }
                }
            }
        }
    }

    async fn asked(&self, provider: &Introspection, token: &str, now: Now) -> Result<Known, Denied> {
        let claims = provider.ask(token).await?;
        claims.judge(&self.config, Expiry::Optional, now.wall).map_err(bad)?;
        let principal = claims.principal(&self.config).map_err(bad)?;
        Ok(Known { principal, ends: claims.ends() })
    }

    /// Whether this is a name of the token's owner. Addresses by rule count as they follow from his name, never as they would
    /// follow from what the client claims.
    fn is_called(&self, owner: &Principal, login: &Login) -> bool {
        let by_rule = || {
            let own = Login::new(&owner.name)?;
            let addresses = self.rules.iter().filter_map(|rule| rule.address(&owner.name, &own));
            Some(addresses.map(|address| key_of(&address.to_string())).any(|key| key == login.key()))
        };
        owner.is_called(login.as_written()) || by_rule().unwrap_or(false)
    }
}

#[async_trait]
impl Directory for OAuth {
    fn abilities(&self) -> Abilities {
        Abilities { tokens: true, names: Names::Taken, ..Abilities::default() }
    }

    async fn by_password(&self, _login: &Login, _password: &Secret) -> Result<Principal, Denied> {
        Err(Denied::Refused(Why::NotJudgedHere))
    }

    async fn by_token(&self, claimed: Option<&Login>, token: &Secret) -> Result<Principal, Denied> {
        let token = token.expose_str().ok_or_else(|| bad("it is no text"))?;
        let now = Now { wall: Timestamp::now(), clock: Instant::now() };
        let owner = self.owner(token, now).await?;
        if let Some(login) = claimed
            && !self.is_called(&owner, login)
        {
            return Err(bad(format!(
                "it is {}'s, and the mail program claims to be {}; user_claim and address_claims say which names a token \
                 stands for",
                owner.name,
                login.as_written()
            )));
        }
        Ok(owner)
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("limits", &self.limits).finish_non_exhaustive()
    }
}

fn https(config: &OAuthDirectory, means: &Means<'_>) -> Result<Https, String> {
    let resolver = means.resolver.ok_or("people are only looked up here, and tokens are not judged")?;
    let anchors = config.trust.clone().map_or(TrustAnchors::System, TrustAnchors::File);
    match ClientTls::new(&anchors) {
        Ok(tls) => Ok(Https::new(Arc::clone(resolver), tls)),
        Err(error) => Err(format!("its trusted roots cannot be loaded: {error}")),
    }
}

fn bad(why: impl Into<String>) -> Denied {
    Denied::Refused(Why::BadToken(why.into()))
}
