//! `[directory.oauth]`: whose access tokens count, and how they are judged.
//!
//! Exactly one way of judging is written. Signed tokens need an issuer and an audience: without them a token that somebody
//! gave to another service of the same provider would open this one. What it deliberately does not do: reach the provider,
//! or read the files that it names.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::model::{KeySource, OAuthDirectory, SignatureAlgorithm, TokenProof};
use crate::config::reader::{Reader, Section};
use crate::https::HttpsUrl;

/// The ways in which tokens are judged, of which one is written.
const WAYS: [&str; 4] = ["discover", "jwks_url", "jwks_file", "introspection_url"];
/// The most that clocks may be said to differ.
const LEEWAY_MOST: Duration = Duration::from_mins(10);

pub(super) fn oauth<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<OAuthDirectory> {
    let issuer = reader.name(at, "issuer");
    let audience = reader.list(at, "audience", unblank);
    let scopes = reader.list(at, "scopes", scope);
    let proof = proof(reader, at, issuer.as_deref());
    if let (Some(audience), Some(scopes)) = (&audience, &scopes) {
        judge_audience(reader, at, audience, scopes);
    }
    let user_claim = reader.name(at, "user_claim");
    let address_claims = reader.list(at, "address_claims", unblank);
    let group_claim = reader.name(at, "group_claim");
    let leeway = reader.duration_or_never(at, "leeway").unwrap_or(Duration::ZERO);
    if leeway > LEEWAY_MOST {
        let remedy = "write 10m or less, and have both machines take their time from NTP";
        reader.complain(at, "leeway", "tokens would be taken long after they ended", remedy);
    }
    Some(OAuthDirectory {
        issuer,
        audience: audience?,
        scopes: scopes?,
        proof: proof?,
        user_claim: user_claim?,
        address_claims: address_claims?,
        group_claim,
        leeway,
        trust: reader.trust(at, "trust"),
    })
}

fn proof<'a>(reader: &mut Reader<'a>, at: &Section<'a>, issuer: Option<&str>) -> Option<TokenProof> {
    let discover = reader.switch(at, "discover", None);
    let keys_at = reader.turned(at, "jwks_url", own_url);
    let keys_in = reader.path(at, "jwks_file");
    let asked_at = reader.turned(at, "introspection_url", own_url);
    let algorithms = reader.list(at, "algorithms", algorithm);
    let client = client(reader, at);
    if !is_one_way(reader, at, discover) {
        return None;
    }
    if let Some(url) = asked_at {
        return Some(TokenProof::Introspected { url, client });
    }
    if !at.writes("introspection_url") {
        judge_signed(reader, at);
    }
    let keys = match (keys_at, keys_in) {
        (Some(url), _) => KeySource::Url(url),
        (_, Some(path)) => KeySource::File(path),
        _ => KeySource::Discovered(metadata(reader, at, issuer?)?),
    };
    Some(TokenProof::Signed { keys, algorithms: algorithms? })
}

fn is_one_way(reader: &mut Reader<'_>, at: &Section<'_>, discover: Option<bool>) -> bool {
    let is_written = |way: &&str| at.writes(way) && (*way != "discover" || discover != Some(false));
    let written: Vec<&str> = WAYS.into_iter().filter(is_written).collect();
    match written[..] {
        [_] => true,
        [] => {
            let what = "it is not said how tokens are judged";
            let remedy =
                "write discover = true, jwks_url or jwks_file where they are signed, else introspection_url";
            reader.complain(at, "", what, remedy);
            false
        }
        [first, second, ..] => {
            let what = format!("{first} is written as well, and tokens are judged in one way only");
            reader.complain(at, second, what, "remove all but one");
            false
        }
    }
}

/// What only introspection allows to leave out, and what only it uses.
fn judge_signed(reader: &mut Reader<'_>, at: &Section<'_>) {
    if !at.writes("issuer") {
        let what = "it is missing: a signature says nothing without the name of who may sign";
        reader.complain(at, "issuer", what, "write what the provider's tokens have in \"iss\"");
    }
    for key in ["client_id", "client_secret_file"] {
        if at.writes(key) {
            let what = "nobody is asked, so that nobody wants to know who asks";
            reader.complain(at, key, what, "remove the key, or write introspection_url");
        }
    }
}

fn judge_audience(reader: &mut Reader<'_>, at: &Section<'_>, audience: &[String], scopes: &[String]) {
    if !audience.is_empty() {
        return;
    }
    let what = "tokens that people gave to any other service of this provider would sign in here";
    let remedy = "write what tokens for mail have in \"aud\"";
    if !at.writes("introspection_url") {
        reader.complain(at, "audience", what, remedy);
    } else if scopes.is_empty() {
        reader.warn(at, "audience", what, format!("{remedy}, or scopes"));
    }
}

/// Both or neither.
fn client<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<(String, PathBuf)> {
    let name = reader.name(at, "client_id");
    let secret = reader.secret(at, "client_secret_file");
    for (one, other) in [("client_id", "client_secret_file"), ("client_secret_file", "client_id")] {
        if at.writes(one) && !at.writes(other) {
            let what = format!("{other} is missing beside it");
            reader.complain(at, one, what, format!("write {other} too, or remove {one}"));
        }
    }
    name.zip(secret)
}

/// OpenID Connect Discovery 1.0 §4: the well-known path comes behind the issuer's own.
fn metadata(reader: &mut Reader<'_>, at: &Section<'_>, issuer: &str) -> Option<HttpsUrl> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    match HttpsUrl::of_own(&url) {
        Ok(url) => Some(url),
        Err(error) => {
            reader.complain(
                at,
                "issuer",
                error.to_string(),
                "correct it, or write jwks_url instead of discover",
            );
            None
        }
    }
}

fn own_url(text: &str) -> Result<HttpsUrl, String> {
    HttpsUrl::of_own(text).map_err(|error| error.to_string())
}

fn unblank(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// RFC 6749 §3.3: scopes stand apart by blanks.
fn scope(text: &str) -> Result<String, String> {
    match text.split_whitespace().count() {
        1 if text.trim() == text => Ok(text.to_owned()),
        _ => Err(format!("\"{text}\" is not one scope: write each by itself")),
    }
}

fn algorithm(name: &str) -> Result<SignatureAlgorithm, String> {
    SignatureAlgorithm::named(name).ok_or_else(|| {
        let known: Vec<&str> = SignatureAlgorithm::ALL.into_iter().map(SignatureAlgorithm::name).collect();
        let reason = match name {
            "none" => "a token without a signature proves nothing",
            name if name.starts_with("HS") => "whoever checks a shared key could also sign with it",
            _ => "Postern does not know it",
        };
        format!("\"{name}\" will not do: {reason}; those that do are {}", known.join(", "))
    })
}
