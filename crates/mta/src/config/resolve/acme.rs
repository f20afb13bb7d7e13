//! `[[acme]]`: certificate authorities that issue by ACME (RFC 8555), and how names are proved to them.
//!
//! [`Challenges`] is what the identities need to know of them: which kinds of names can be proved to which. What this
//! deliberately does not do: read keys, or ask the authority anything.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use postern_dns::update::TsigAlgorithm;
use postern_pki::Name;
use postern_pki::acme::ChallengeKind;
use postern_smtp::address::Mailbox;

use super::{Unique, listener};
use crate::config::files::Named;
use crate::config::model::{
    Acme, AcmeExternal, AcmeProof, DnsPublisher, IdentitySource, Issuer, Listener, Tls,
};
use crate::config::reader::{Reader, Section};
use crate::https::HttpsUrl;

/// Where HTTP-01 is answered if nothing else is said: the only port that authorities ask at (RFC 8555 §8.3).
const HTTP_BIND: &str = "[::]:80";
const KINDS: [(&str, ChallengeKind); 3] = [
    ("http-01", ChallengeKind::Http01),
    ("tls-alpn-01", ChallengeKind::TlsAlpn01),
    ("dns-01", ChallengeKind::Dns01),
];
/// The keys of dynamic updates.
const UPDATE: [&str; 5] = ["dns_server", "dns_zone", "dns_key_name", "dns_key_file", "dns_algorithm"];
/// Those of them that must be there.
const UPDATE_NEEDS: [&str; 3] = ["dns_server", "dns_key_name", "dns_key_file"];

const ALGORITHMS: [(&str, TsigAlgorithm); 3] = [
    ("hmac-sha256", TsigAlgorithm::HmacSha256),
    ("hmac-sha384", TsigAlgorithm::HmacSha384),
    ("hmac-sha512", TsigAlgorithm::HmacSha512),
];

/// All `[[acme]]`.
pub(super) struct Authorities<'a> {
    /// `None`: something is wrong with one.
    pub(super) all: Option<Vec<Acme>>,
    pub(super) challenges: Challenges,
    sections: Vec<Section<'a>>,
}

/// How each `[[acme]]`, by its name, has names proved; those that are not sound otherwise included.
pub(super) struct Challenges(Vec<(String, ChallengeKind)>);

impl Challenges {
    /// Complains of names that this authority can be given no proof of.
    pub(super) fn judge_names(
        &self,
        reader: &mut Reader<'_>,
        at: &Section<'_>,
        issuer: &str,
        names: &[Name],
    ) {
        let Some((_, kind)) = self.0.iter().find(|(name, _)| name == issuer) else { return };
        for name in names {
            let (what, remedy) = match (name, kind) {
                (name, ChallengeKind::Http01 | ChallengeKind::TlsAlpn01) if name.is_wildcard() => (
                    format!("{name} cannot be proved by {kind}: only the DNS speaks for a wildcard"),
                    format!(
                        "write challenge = \"dns-01\" in the [[acme]] named \"{issuer}\", or list the names one by one"
                    ),
                ),
                (Name::Address(_), ChallengeKind::Dns01) => (
                    format!("{name} cannot be proved by dns-01: an address is not in a zone"),
                    format!(
                        "remove the address, or write another challenge in the [[acme]] named \"{issuer}\""
                    ),
                ),
                _ => continue,
            };
            reader.complain(at, "names", what, remedy);
        }
    }
}

pub(super) fn acme<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Authorities<'a> {
    let sections = reader.sections(top, "acme");
    let mut names = Unique::new("an [[acme]]");
    let mut challenges = Vec::new();
    let mut all = Vec::new();
    for at in &sections {
        let (acme, kind) = one(reader, at, &mut names, bound);
        challenges.extend(at.given_name().map(str::to_owned).zip(kind));
        all.push(acme);
    }
    Authorities { all: all.into_iter().collect(), challenges: Challenges(challenges), sections }
}

/// What can be judged only with the rest of the file: who uses them, and whether TLS-ALPN-01 has a place.
pub(super) fn judge_use(
    reader: &mut Reader<'_>,
    authorities: &Authorities<'_>,
    tls: &Tls,
    listeners: &[Listener],
) {
    let by = |acme: &Acme| Some(Issuer::Acme(acme.name.clone()));
    let implicit = listeners.iter().any(|listener| listener.tls.begins_with_tls(&listener.bind));
    let Some(all) = &authorities.all else { return };
    for (at, acme) in authorities.sections.iter().zip(all) {
        let used = |source: &IdentitySource| matches!(source, IdentitySource::Store { issuer, .. } if *issuer == by(acme));
        if !tls.identities.iter().any(|identity| used(&identity.source)) {
            let remedy =
                format!("write issuer = \"{}\" in a [[tls.identity]], or remove the section", acme.name);
            reader.warn(at, "name", "no identity is issued by it", remedy);
        }
        if matches!(&acme.proof, AcmeProof::TlsAlpn { bind } if bind.is_empty()) && !implicit {
            let what = "no listener begins with TLS (tls = \"implicit\", or \"auto\" on port 465), and bind is not written, so that nothing answers";
            reader.complain(
                at,
                "challenge",
                what,
                "write bind = [\"[::]:443\"], or choose another challenge",
            );
        }
    }
}

fn one<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    names: &mut Unique,
    bound: &mut HashSet<SocketAddr>,
) -> (Option<Acme>, Option<ChallengeKind>) {
    let name = name(reader, at, names);
    let directory = reader.turned(at, "directory", |text| match text.parse::<HttpsUrl>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    });
    let contact: Option<Vec<Mailbox>> = reader
        .list(at, "contact", |text| text.parse().map_err(|error| format!("{text:?} will not do: {error}")));
    let agreed = terms(reader, at);
    let trust = reader.trust(at, "trust");
    let external = external(reader, at);
    let profile = reader.name(at, "profile");
    let kind = reader.choice(at, "challenge", None, &KINDS);
    let proof = proof(reader, at, kind, bound);
    let whole = || {
        agreed?;
        Some(Acme {
            name: name?,
            directory: directory?,
            contact: contact.unwrap_or_default(),
            trust,
            external: external?,
            profile,
            proof: proof?,
        })
    };
    (whole(), kind)
}

/// It becomes a folder's, and stands beside "private-ca" in `issuer`.
fn name<'a>(reader: &mut Reader<'a>, at: &Section<'a>, names: &mut Unique) -> Option<String> {
    let name = reader.name(at, "name");
    names.check(reader, at, None);
    let name = name?;
    if let Err(error) = postern_pki::check_name(&name) {
        let remedy = "write letters, digits, hyphens and underscores: it is the name of a folder in the data directory";
        reader.complain(at, "name", error.to_string(), remedy);
        return None;
    }
    if name == super::certificates::PRIVATE_CA {
        let what = format!("\"{name}\" is what issuer calls Postern's own authority");
        reader.complain(at, "name", what, "choose another name");
        return None;
    }
    Some(name)
}

/// RFC 8555 §7.3.3: somebody has to agree, and that is not us.
fn terms<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<()> {
    if reader.switch(at, "terms_agreed", None)? {
        return Some(());
    }
    let what = "the authority makes no account for whoever does not agree to its terms of service";
    let remedy =
        "read them at the authority's site (its directory names them as termsOfService), then write true";
    reader.complain(at, "terms_agreed", what, remedy);
    None
}

/// `Some(None)`: none is wanted.
#[expect(clippy::option_option, reason = "the outer one says that a problem was noted, as everywhere here")]
fn external<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Option<AcmeExternal>> {
    let key_id = reader.name(at, "eab_key_id");
    let key_file = reader.secret(at, "eab_key_file");
    for (missing, other) in [("eab_key_id", "eab_key_file"), ("eab_key_file", "eab_key_id")] {
        if at.writes(other) && !at.writes(missing) {
            let remedy = format!("write {missing} too: the authority gives both; or remove {other}");
            reader.complain(at, other, format!("{missing} is missing beside it"), remedy);
            return None;
        }
    }
    match (key_id, key_file) {
        (Some(key_id), Some(key_file)) => Some(Some(AcmeExternal { key_id, key_file })),
        _ if at.writes("eab_key_id") => None,
        _ => Some(None),
    }
}

fn proof<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    kind: Option<ChallengeKind>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<AcmeProof> {
    let bind = listener::addresses(reader, at, bound);
    let update = update(reader, at);
    let hook = reader.path(at, "hook");
    let place = reader.place(at, "hook", hook.as_ref());
    reader.named.extend(place.map(Named::Hook));
    let kind = kind?;
    refuse_foreign(reader, at, kind);
    if at.writes("bind") && bind.as_ref().is_some_and(Vec::is_empty) {
        reader.complain(at, "bind", "the list is empty", "name an address, or remove the key");
        return None;
    }
    match kind {
        ChallengeKind::Http01 if at.writes("bind") => Some(AcmeProof::Http { bind: bind? }),
        ChallengeKind::Http01 => Some(AcmeProof::Http { bind: HTTP_BIND.parse().into_iter().collect() }),
        ChallengeKind::TlsAlpn01 if at.writes("bind") => Some(AcmeProof::TlsAlpn { bind: bind? }),
        ChallengeKind::TlsAlpn01 => Some(AcmeProof::TlsAlpn { bind: Vec::new() }),
        ChallengeKind::Dns01 => dns(reader, at, update, hook).map(AcmeProof::Dns),
    }
}

/// Keys of another challenge would be silently without effect.
fn refuse_foreign(reader: &mut Reader<'_>, at: &Section<'_>, kind: ChallengeKind) {
    let dns = UPDATE.iter().chain(&["hook"]);
    let foreign: Vec<_> = match kind {
        ChallengeKind::Dns01 => vec!["bind"],
        ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => dns.copied().collect(),
    };
    for key in foreign.into_iter().filter(|key| at.writes(key)) {
        let remedy = match kind {
            ChallengeKind::Dns01 => "remove it, or write challenge = \"http-01\" or \"tls-alpn-01\"",
            _ => "remove it, or write challenge = \"dns-01\"",
        };
        reader.complain(at, key, format!("challenge is \"{kind}\", which has no use for it"), remedy);
    }
}

fn dns(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    update: Option<DnsPublisher>,
    hook: Option<std::path::PathBuf>,
) -> Option<DnsPublisher> {
    let updates: Vec<_> = UPDATE.into_iter().filter(|key| at.writes(key)).collect();
    match (at.writes("hook"), updates.first()) {
        (true, Some(key)) => {
            let what = "hook is written as well, and only one of them can set the record";
            reader.complain(at, key, what, "remove hook, or all keys that begin with dns_");
            None
        }
        (true, None) => hook.map(DnsPublisher::Hook),
        (false, None) => {
            let what = "dns-01 needs somebody who sets the record, and nobody is named";
            let remedy =
                "write dns_server, dns_key_name and dns_key_file for dynamic updates, or hook for a program";
            reader.complain(at, "challenge", what, remedy);
            None
        }
        (false, Some(_)) => {
            for missing in UPDATE_NEEDS.into_iter().filter(|key| !at.writes(key)) {
                reader.complain(at, missing, "it is missing: dynamic updates need it", at.advice(missing));
            }
            update
        }
    }
}

fn update<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<DnsPublisher> {
    let server = reader.turned(at, "dns_server", name_server);
    let zone = reader.parsed(at, "dns_zone", None);
    let key_name = reader.name(at, "dns_key_name");
    let key_file = reader.secret(at, "dns_key_file");
    // Read only where it has a use: its default is no news elsewhere.
    let algorithm = at.writes("dns_server").then(|| reader.choice(at, "dns_algorithm", None, &ALGORITHMS))?;
    if at.writes("dns_zone") && zone.is_none() {
        return None;
    }
    Some(DnsPublisher::Update {
        server: server?,
        zone,
        key_name: key_name?,
        key_file: key_file?,
        algorithm: algorithm?,
    })
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    text.parse().map_err(|_| format!("\"{text}\" is not an address such as \"192.0.2.53\" or \"[::1]:5353\""))
}
