//! `[ca]`: what may be asked of the private CA, and how its key is opened.
//!
//! What it deliberately does not do: look at the CA. Whether there is one, and whether the passphrase opens its key, only
//! its folder tells.

use std::time::Duration;

use hyper::Uri;
use ipnet::IpNet;
use jiff::SignedDuration;
use postern_pki::KeyKind;
use postern_pki::ca::{NamePattern, Policy};

use super::network;
use crate::config::files::Named;
use crate::config::model::{Ca, Http};
use crate::config::reader::{Reader, Section};

/// Certificates for longer than this outlive what they were issued for.
const LONGEST_LIFE: Duration = Duration::from_hours(825 * 24);
/// A list for longer than this hides a revocation for too long.
const LONGEST_LIST: Duration = Duration::from_hours(31 * 24);

pub(super) fn ca<'a>(reader: &mut Reader<'a>, top: &Section<'a>, http: Option<&Http>) -> Option<Ca> {
    let at = &reader.section(top, "ca");
    let names = reader.list(at, "names", pattern);
    let automatic = reader.list(at, "automatic", pattern);
    let automatic_from = automatic_from(reader, at);
    judge_near(reader, at, automatic.as_deref(), http);
    let server_life = life(reader, at, "lifetime", LONGEST_LIFE);
    let client_life = life(reader, at, "client_lifetime", LONGEST_LIFE);
    let crl_life = life(reader, at, "crl_lifetime", LONGEST_LIST);
    let keys = keys(reader, at);
    let url = url(reader, at, http);
    let passphrase_file = reader.path(at, "passphrase_file");
    let place = reader.place(at, "passphrase_file", passphrase_file.as_ref());
    reader.named.extend(place.map(Named::Secret));
    let (mut names, automatic) = (names?, automatic?);
    names.extend(automatic.iter().filter(|pattern| !names.contains(pattern)).cloned().collect::<Vec<_>>());
    let policy = Policy {
        names,
        automatic,
        server_life: server_life?,
        client_life: client_life?,
        keys: keys?,
        url,
        crl_life: crl_life?,
    };
    Some(Ca { policy, automatic_from: automatic_from?, passphrase_file })
}

fn pattern(text: &str) -> Result<NamePattern, String> {
    text.parse()
}

fn automatic_from<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Vec<IpNet>> {
    let (networks, sound) = reader.list_and_items(at, "automatic_from", network);
    for everybody in sound.iter().filter(|network| network.prefix_len() == 0) {
        let what = format!("{everybody} lets the whole world have certificates that nobody looked at");
        reader.complain(at, "automatic_from", what, "name the networks of your own servers only");
    }
    networks
}

/// Who binds HTTP to this machine alone has a proxy before it, mostly, and some proxies do not say what they are: all the
/// world would look like this machine. So it has to be said who is meant.
fn judge_near(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    automatic: Option<&[NamePattern]>,
    http: Option<&Http>,
) {
    let issues = automatic.is_some_and(|patterns| !patterns.is_empty());
    let local = |http: &Http| !http.bind.is_empty() && http.bind.iter().all(|bound| bound.ip().is_loopback());
    if !issues || at.writes("automatic_from") || !http.is_some_and(local) {
        return;
    }
    let what =
        "[http] is bound to this machine alone, and whoever comes through a proxy on it would look like it";
    let remedy = "write automatic_from: [] if a proxy leads here, or [\"127.0.0.0/8\", \"::1\"] if none does";
    reader.complain(at, "automatic", what, remedy);
}

fn life<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    key: &'static str,
    longest: Duration,
) -> Option<SignedDuration> {
    let life = reader.duration(at, key)?;
    if life < Duration::from_hours(1) {
        let what = "that is over before a client with a slow clock has seen it";
        reader.complain(at, key, what, "write \"1h\" or more");
        return None;
    }
    if life > longest {
        let days = longest.as_secs() / 86_400;
        reader.complain(
            at,
            key,
            format!("that is more than {days} days"),
            format!("write \"{days}d\" or less"),
        );
        return None;
    }
    SignedDuration::try_from(life).ok()
}

fn keys<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Vec<KeyKind>> {
    let keys = reader.list(at, "keys", str::parse::<KeyKind>)?;
    if keys.is_empty() {
        let what = "the list is empty: no certificate could be issued";
        reader.complain(at, "keys", what, "name a kind of key, or remove the key for all of them");
        return None;
    }
    Some(keys)
}

fn url<'a>(reader: &mut Reader<'a>, at: &Section<'a>, http: Option<&Http>) -> Option<String> {
    let url = reader.turned(at, "url", base_url)?;
    if http.is_some_and(|http| http.bind.is_empty()) {
        let what = "nothing is offered over HTTP here, so that nobody can be asked about revocation there";
        reader.warn(at, "url", what, "write bind in [http], and see that this address leads there");
    }
    Some(url)
}

/// Certificates bear it for years, so that it has to be sound. Plain HTTP is right: what is fetched there is signed, and
/// whoever has to check a certificate for fetching it would go in circles (RFC 5280 §8).
fn base_url(text: &str) -> Result<String, String> {
    let example = "write it as in \"http://ca.example.org:8080\"";
    let uri: Uri = text.parse().map_err(|_| format!("this is no address; {example}"))?;
    let parts = uri.into_parts();
    let scheme = parts.scheme.as_ref().map(hyper::http::uri::Scheme::as_str);
    if scheme != Some("http") {
        let why = "whoever must check a certificate before he may look whether it counts goes in circles";
        return Err(format!("it does not begin with http:// ({why}); {example}"));
    }
    let authority = parts.authority.ok_or_else(|| format!("it names no host; {example}"))?;
    if authority.as_str().contains('@') {
        return Err(format!("it holds a user name, which everybody would read; {example}"));
    }
    let path = parts.path_and_query.as_ref().map_or("", |path| path.as_str()).trim_end_matches('/');
    if path.contains('?') {
        return Err(format!("it holds a query; {example}"));
    }
    Ok(format!("http://{authority}{path}"))
}
