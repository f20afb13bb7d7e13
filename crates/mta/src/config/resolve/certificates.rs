//! `[[tls.identity]]`, `[certificates]` and `[metrics]`: which certificates there are, who renews them, who hears of
//! their end, and where figures are read.
//!
//! [`Identities`] are the names by which listeners and connectors refer to a certificate: those of the file, and those
//! that lie in the certificate store.
//!
//! What it deliberately does not do: look at certificates. `postern config check` does, see `config::files`.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use postern_pki::{KeyKind, Name, check_name};
use postern_smtp::address::Domain;

use super::acme::Challenges;
use super::{Unique, listener};
use crate::certificates::deploy::Deployment;
use crate::config::files::Named;
use crate::config::model::{Certificates, Identity, IdentitySource, Issuer, Metrics, Tls};
use crate::config::reader::{Reader, Section, positive_duration};
use crate::config::reference::nearest;

/// What `issuer` says for the private CA.
pub(super) const PRIVATE_CA: &str = crate::authority::NAME;

/// Of one identity, at most so many names.
const NAMES_MOST: usize = 100;
/// At most so many warnings before a certificate's end.
const WARNINGS_MOST: usize = 16;

/// The names that a listener or a connector may refer to.
pub(super) struct Identities<'a> {
    /// Those of `[[tls.identity]]`, whether or not the rest of the section is sound.
    listed: Vec<&'a str>,
    /// Those that lie in the certificate store.
    stored: &'a [String],
}

impl Identities<'_> {
    pub(super) fn knows(&self, name: &str) -> bool {
        self.all().any(|known| known == name)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().copied().chain(self.stored.iter().map(String::as_str))
    }

    /// Complains of a name that is neither listed nor in the store.
    pub(super) fn refuse_unknown(&self, reader: &mut Reader<'_>, at: &Section<'_>, key: &str, unknown: &str) {
        let remedy = match nearest(unknown, self.all()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => {
                "add a [[tls.identity]] of this name, put a certificate of this name into the store with `postern cert`, or remove it here"
                    .to_owned()
            }
        };
        reader.complain(at, key, format!("there is no identity named \"{unknown}\""), remedy);
    }
}

/// What an identity is judged by.
#[derive(Clone, Copy)]
pub(super) struct Own<'o> {
    pub(super) hostname: Option<&'o Domain>,
    pub(super) challenges: &'o Challenges,
}

/// What the defaults of an identity are made of.
struct Known<'k> {
    own: Own<'k>,
    /// The names of the `[[acme]]` sections.
    directories: Vec<&'k str>,
}

/// `[tls]`, and the names that identities have, which hold though something else is wrong with one.
pub(super) fn tls<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    own: Own<'_>,
    stored: &'a [String],
) -> (Option<Tls>, Identities<'a>) {
    let at = &reader.section(top, "tls");
    let minimum = reader.choice(at, "minimum", None, &listener::VERSIONS);
    let known = Known { own, directories: top.given_names("acme") };
    let sections = reader.sections(at, "identity");
    let mut names = Unique::new("an identity");
    let identities: Vec<_> = sections.iter().map(|at| identity(reader, at, &mut names, &known)).collect();
    let identities: Option<Vec<_>> = identities.into_iter().collect();
    let tls = identities.zip(minimum).map(|(identities, minimum)| Tls { identities, minimum });
    (tls, Identities { listed: at.given_names("identity"), stored })
}

fn identity<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    names: &mut Unique,
    known: &Known<'_>,
) -> Option<Identity> {
    let name = reader.name(at, "name");
    names.check(reader, at, None);
    let certificate = reader.path(at, "certificate");
    let key = reader.path(at, "key");
    let source = match (at.writes("certificate"), at.writes("key")) {
        (false, false) => from_store(reader, at, known),
        _ => from_files(reader, at, certificate, key),
    };
    if matches!(source, Some(IdentitySource::Store { .. })) {
        judge_stored_name(reader, at, name.as_deref())?;
    }
    Some(Identity { name: name?, source: source? })
}

/// The name becomes a folder's.
fn judge_stored_name(reader: &mut Reader<'_>, at: &Section<'_>, name: Option<&str>) -> Option<()> {
    let error = match check_name(name?) {
        Ok(()) => return Some(()),
        Err(error) => error,
    };
    let remedy =
        "write letters, digits, hyphens and underscores: it is the name of a folder in the certificate store";
    reader.complain(at, "name", error.to_string(), remedy);
    None
}

fn from_files(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Option<IdentitySource> {
    for (missing, other) in [("certificate", "key"), ("key", "certificate")] {
        if !at.writes(missing) {
            let remedy = format!(
                "{}; or remove {other} too: then the certificate store is where it lies",
                at.advice(missing)
            );
            reader.complain(at, missing, format!("it is missing beside {other}"), remedy);
        }
    }
    if at.writes("issuer") {
        let what = "whoever writes the files of certificate and key renews them, and the issuer cannot";
        let remedy =
            "remove certificate and key: what is issued lies in the certificate store; or remove issuer";
        reader.complain(at, "issuer", what, remedy);
    }
    for idle in ["names", "key_type"].into_iter().filter(|key| at.writes(key)) {
        let what = "it has no effect: somebody else makes the files of certificate and key";
        reader.warn(at, idle, what, "remove it");
    }
    reader.named.push(Named::Identity {
        certificate: reader.place(at, "certificate", certificate.as_ref()),
        key: reader.place(at, "key", key.as_ref()),
    });
    let whole = !at.writes("issuer");
    Some(IdentitySource::Files { certificate: certificate?, key: key? }).filter(|_| whole)
}

fn from_store<'a>(reader: &mut Reader<'a>, at: &Section<'a>, known: &Known<'_>) -> Option<IdentitySource> {
    let issuer = reader.name(at, "issuer");
    let judged = issuer.as_deref().map(|issuer| judge_issuer(reader, at, issuer, known));
    let names = names(reader, at, known.own.hostname);
    let key: Option<KeyKind> = reader.parsed(at, "key_type", None);
    if let (Some(Some(Issuer::Acme(issuer))), Some(names)) = (&judged, &names) {
        known.own.challenges.judge_names(reader, at, issuer, names);
    }
    let issuer = match judged {
        Some(issuer) => Some(issuer?),
        None if at.writes("issuer") => return None,
        None => None,
    };
    Some(IdentitySource::Store { issuer, names: names?, key: key? })
}

fn judge_issuer(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    issuer: &str,
    known: &Known<'_>,
) -> Option<Issuer> {
    if issuer == PRIVATE_CA {
        return Some(Issuer::PrivateCa);
    }
    if known.directories.contains(&issuer) {
        return Some(Issuer::Acme(issuer.to_owned()));
    }
    let all = known.directories.iter().copied().chain([PRIVATE_CA]);
    let remedy = match nearest(issuer, all) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => "write \"private-ca\" or the name of an [[acme]], or remove it to install by hand".to_owned(),
    };
    reader.complain(at, "issuer", format!("there is no issuer named \"{issuer}\""), remedy);
    None
}

/// Without any, it is for the host name.
fn names<'a>(reader: &mut Reader<'a>, at: &Section<'a>, hostname: Option<&Domain>) -> Option<Vec<Name>> {
    let names = reader.list(at, "names", certificate_name);
    if !at.writes("names") {
        return match hostname?.as_str().parse() {
            Ok(name) => Some(vec![name]),
            Err(error) => {
                let what = format!("the host name cannot stand in a certificate: {error}");
                reader.complain(at, "names", what, "write names = the names that clients use");
                None
            }
        };
    }
    let mut names = names?;
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if names.is_empty() || names.len() > NAMES_MOST {
        let what = format!("{} names; a certificate here has 1 to {NAMES_MOST}", names.len());
        reader.complain(
            at,
            "names",
            what,
            "write those that clients use, or remove the key for the host name",
        );
        return None;
    }
    Some(names)
}

fn certificate_name(text: &str) -> Result<Name, String> {
    match text.parse() {
        Ok(Name::Mail(_)) => Err(format!("\"{text}\" is a mail address, and servers have host names")),
        Ok(name) => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn certificates<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Certificates> {
    let at = &reader.section(top, "certificates");
    let warn = reader.list(at, "warn", positive_duration);
    let mail = reader.switch(at, "mail", None);
    let deployment =
        Deployment { folder: reader.path(at, "deploy_directory"), hook: reader.path(at, "deploy_hook") };
    let place = reader.place(at, "deploy_hook", deployment.hook.as_ref());
    reader.named.extend(place.map(Named::Hook));
    let mut warn = warn?;
    warn.sort_unstable_by(|one, other| other.cmp(one));
    warn.dedup();
    if warn.is_empty() || warn.len() > WARNINGS_MOST {
        let what = format!("{} time spans; there must be 1 to {WARNINGS_MOST}", warn.len());
        reader.complain(
            at,
            "warn",
            what,
            "write those before the end at which to warn; 30d, 14d, 7d, 1d are usual",
        );
        return None;
    }
    Some(Certificates { warn, mail: mail?, deployment })
}

pub(super) fn metrics<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    bound: &mut HashSet<SocketAddr>,
) -> Option<Metrics> {
    let at = &reader.section(top, "metrics");
    let bind = listener::addresses(reader, at, bound)?;
    for address in bind.iter().filter(|address| address.ip().is_unspecified()) {
        let what = format!("{address} shows to everybody how much mail there is");
        reader.warn(at, "bind", what, "name an address that only the monitoring can reach");
    }
    Some(Metrics { bind })
}
