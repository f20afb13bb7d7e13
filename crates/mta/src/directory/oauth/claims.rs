//! What a token says, once it is believed: for whom, for what, until when, and whose it is.
//!
//! [`Claims`] come out of a signed token (RFC 7519 §4, RFC 9068 §2.2) or out of the answer to introspection (RFC 7662 §2.2).
//! [`Claims::judge`] holds them against the configuration, [`Claims::principal`] makes somebody of them. What it
//! deliberately does not do: believe them.

use jiff::{SignedDuration, Timestamp};
use postern_smtp::address::Mailbox;
use postern_smtp::text;
use serde_json::{Map, Value};

use super::token::WORDS_MOST;
use crate::config::OAuthDirectory;
use crate::directory::source::MOST_LISTED;
use crate::directory::{Login, Principal};

/// A JSON object that somebody trustworthy wrote.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

/// Whether a token must say when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// It does not end otherwise.
    Required,
    /// The provider was asked just now.
    Optional,
}

impl Claims {
    /// # Errors
    /// It is no JSON object.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        let parsed = serde_json::from_slice(json).map(Self);
        parsed.map_err(|error| format!("what it says is no JSON object: {}", text::clean(error, WORDS_MOST)))
    }

    /// The member of this name.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Whether the token counts here and now.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(super) fn judge(
        &self,
        config: &OAuthDirectory,
        expiry: Expiry,
        now: Timestamp,
    ) -> Result<(), String> {
        let signed = expiry == Expiry::Required;
        self.judge_time(config, signed, now)?;
        self.judge_issuer(config, signed)?;
        self.judge_audience(config)?;
        self.judge_scopes(config)?;
        // RFC 7800 §3: whoever holds only the token, as everybody does here, is not the one it was given to.
        if self.member("cnf").is_some() {
            return Err("it is bound to a key of the mail program's (cnf), which SASL cannot show".to_owned());
        }
        Ok(())
    }

    /// When it ends.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.time("exp").ok().flatten()
    }

    /// Whose it is.
    ///
    /// # Errors
    /// It names nobody, for the log.
    pub(super) fn principal(&self, config: &OAuthDirectory) -> Result<Principal, String> {
        let claim = &config.user_claim;
        let name = self.owned(claim).next().ok_or_else(|| {
            let hint = if self.is_unverified(claim) { " that its provider has verified" } else { "" };
            format!("it has no claim {claim}{hint}, so that nobody knows whose it is (user_claim)")
        })?;
        let login = Login::new(name).ok_or_else(|| {
            format!("its claim {claim}, {:?}, cannot be a user name", text::clean(name, WORDS_MOST))
        })?;
        let texts = config.address_claims.iter().flat_map(|claim| self.owned(claim));
        let addresses = texts.filter_map(|text| text.parse::<Mailbox>().ok());
        let mut principal = Principal::named(login.key(), addresses.take(MOST_LISTED).collect());
        let groups = config.group_claim.iter().flat_map(|claim| self.texts(claim));
        principal.groups = groups.map(str::to_owned).collect();
        Ok(principal)
    }

    fn judge_time(&self, config: &OAuthDirectory, must_end: bool, now: Timestamp) -> Result<(), String> {
        let leeway = SignedDuration::try_from(config.leeway).unwrap_or(SignedDuration::ZERO);
        match self.time("exp")? {
            // RFC 7519 §4.1.4: "on or after" is over.
            Some(end) if now.checked_sub(leeway).unwrap_or(now) >= end => {
                return Err(format!("it ended at {end}"));
            }
            None if must_end => return Err("it never ends (it has no exp)".to_owned()),
            _ => {}
        }
        match self.time("nbf")? {
            Some(start) if now.checked_add(leeway).unwrap_or(now) < start => {
                Err(format!("it begins only at {start}"))
            }
            _ => Ok(()),
        }
    }

    fn judge_issuer(&self, config: &OAuthDirectory, must_tell: bool) -> Result<(), String> {
        let Some(expected) = &config.issuer else { return Ok(()) };
        match self.member("iss") {
            Some(Value::String(issuer)) if issuer == expected => Ok(()),
            Some(Value::String(issuer)) => {
                Err(format!("it is of another issuer, {:?}", text::clean(issuer, WORDS_MOST)))
            }
            None if !must_tell => Ok(()),
            _ => Err("it does not say who issued it (iss)".to_owned()),
        }
    }

    fn judge_audience(&self, config: &OAuthDirectory) -> Result<(), String> {
        let is_ours = |one: &str| config.audience.iter().any(|ours| ours == one);
        if config.audience.is_empty() || self.texts("aud").any(is_ours) {
            return Ok(());
        }
        match self.texts("aud").next() {
            Some(first) => Err(format!("it is for somebody else (aud {:?})", text::clean(first, WORDS_MOST))),
            None => Err("it does not say whom it is for (aud)".to_owned()),
        }
    }

    /// RFC 9068 §2.2.3 writes scopes as one text, some providers as a list, some under another name.
    fn judge_scopes(&self, config: &OAuthDirectory) -> Result<(), String> {
        let held: Vec<&str> = ["scope", "scp"]
            .iter()
            .flat_map(|name| self.texts(name))
            .flat_map(str::split_whitespace)
            .collect();
        match config.scopes.iter().find(|scope| !held.contains(&scope.as_str())) {
            Some(missing) => Err(format!("it does not hold for {missing} (scope)")),
            None => Ok(()),
        }
    }

    /// A point in time; `None`: the claim is not there.
    fn time(&self, name: &str) -> Result<Option<Timestamp>, String> {
        let Some(value) = self.member(name) else { return Ok(None) };
        let since = value
            .as_i64()
            .map(SignedDuration::from_secs)
            .or_else(|| SignedDuration::try_from_secs_f64(value.as_f64()?).ok());
        let time = since.and_then(|since| Timestamp::from_duration(since).ok());
        time.map(Some).ok_or_else(|| format!("its {name} is no point in time"))
    }

    /// The texts of a claim: of one text or of a list.
    fn texts<'c>(&'c self, name: &str) -> impl Iterator<Item = &'c str> {
        let values: &[Value] = match self.member(name) {
            Some(Value::Array(values)) => values,
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        values.iter().take(MOST_LISTED).filter_map(Value::as_str)
    }

    /// The same, without an address of which the provider itself says that nobody knows whose it is.
    fn owned<'c>(&'c self, name: &str) -> impl Iterator<Item = &'c str> {
        let counts = !self.is_unverified(name);
        self.texts(name).filter(move |_| counts)
    }

    /// OpenID Connect Core 1.0 §5.1; some write it as a text.
    fn is_unverified(&self, name: &str) -> bool {
        let verified = self.member("email_verified");
        name == "email" && matches!(verified, Some(value) if *value != Value::Bool(true) && value != "true")
    }
}
