//! What the private CA does for Postern's own listeners.
//!
//! - [`ensure_automatic`]: keeps a certificate for the host name in force, for installations that have no other.
//! - [`ensure_stored`]: issues and renews, into the certificate store, what is the private CA's to issue ([`wanted`]).
//! - [`issue`]: a certificate for one of our own keys because an administrator wants it.
//! - [`authorities`]: the CA's own certificates, whose end is watched too.
//!
//! What it deliberately does not do: enrolment, revocation, or anything for others.

use std::path::PathBuf;

use jiff::Timestamp;
use postern_pki::ca::{Approval, Authority, Order, Purpose, Which};
use postern_pki::{
    About, ChainLink, Error, IdentityStore, KeyKind, Name, Origin, Passphrase, PrivateCa, PrivateKey,
    RequestDetails, ServerIdentity, Stored,
};
use rustls::pki_types::CertificateDer;

use super::expiry::{Owner, Position, Watched};
use super::renewal::Renewal;
use crate::authority;
use crate::config::{Config, IdentitySource, Issuer};
use crate::event::Event;

/// People on this very machine connect to "localhost" as often as not.
const ALSO: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// An identity that the private CA issues.
pub(super) struct Wanted {
    pub(super) identity: String,
    pub(super) names: Vec<Name>,
    pub(super) key: KeyKind,
}

/// What the private CA is to issue and renew: what the configuration says, and what came from it once and has no other issuer
/// there.
pub(super) fn wanted(config: &Config) -> Vec<Wanted> {
    let listed = config.tls.identities.iter().filter_map(|identity| match &identity.source {
        IdentitySource::Store { issuer: Some(Issuer::PrivateCa), names, key } => {
            Some(Wanted { identity: identity.name.clone(), names: names.clone(), key: *key })
        }
        _ => None,
    });
    let store = IdentityStore::new(&config.data_dir);
    // What cannot be read is left alone; whoever serves it says so.
    let stored = store.names().unwrap_or_default().into_iter();
    let kept = stored
        .filter(|name| Renewal::configured(config, name).is_none())
        .filter_map(|name| kept(config, &store, name));
    listed.chain(kept).collect()
}

/// An identity that the private CA issued by an administrator's word.
fn kept(config: &Config, store: &IdentityStore, identity: String) -> Option<Wanted> {
    if Renewal::of(config, store, &identity) != Renewal::PrivateCa {
        return None;
    }
    let stored = store.read(&identity).ok()?;
    Some(Wanted { identity, names: stored.about.asked?.names, key: stored.key.kind()? })
}

/// Makes sure that there is a certificate for the host name by the private CA, which is made first if there is none. Says
/// so if it was made just now.
///
/// # Errors
/// Local: the CA cannot be opened or made, or a file is broken.
pub(super) fn ensure_automatic(
    config: &Config,
    now: Timestamp,
) -> Result<(ServerIdentity, Option<Event>), authority::Error> {
    let (ca, made) = open(config, now)?;
    let names: Vec<String> = [config.hostname.as_str()].into_iter().chain(ALSO).map(str::to_owned).collect();
    Ok((ca.ensure_server_identity(&automatic_folder(config), &names, now)?, made))
}

/// The automatic certificate as [`ensure_automatic`] left it, and nothing is made; `None`: it was not issued yet. A CA whose key
/// does not open is an error though the certificate lies there, for then it is not kept in force.
///
/// # Errors
/// Local: the CA's key does not open, or a file is broken.
pub(super) fn automatic(config: &Config, now: Timestamp) -> Result<Option<ServerIdentity>, authority::Error> {
    let folder = authority::folder(config);
    if Authority::is_in(&folder) {
        let key = Authority::open_whatever_its_age(&folder)?.key_state();
        let passphrase = authority::passphrase(key, config, None)?;
        PrivateCa::open(&folder, passphrase.as_ref(), now)?;
    }
    Ok(ServerIdentity::present(&automatic_folder(config), config.hostname.as_str(), now)?)
}

fn automatic_folder(config: &Config) -> PathBuf {
    config.data_dir.join("tls")
}

/// Makes sure that there is a certificate by the private CA in the store, for these names and with such a key. Says so if
/// the CA was made just now. A key that was made beforehand is taken; else the one that there is, if it is of that kind.
///
/// # Errors
/// Local: the CA cannot be opened or made, or the disk.
pub(super) fn ensure_stored(
    config: &Config,
    wanted: &Wanted,
    now: Timestamp,
) -> Result<Option<Event>, authority::Error> {
    let store = IdentityStore::new(&config.data_dir);
    let stored = store.holds(&wanted.identity).then(|| store.read(&wanted.identity)).transpose()?;
    let folder = authority::folder(config);
    if let Some(stored) = stored.as_ref().filter(|_| Authority::is_in(&folder)) {
        // A CA whose key is locked has nothing to sign yet.
        let authority = Authority::open_whatever_its_age(&folder)?;
        if is_still_good(stored, &authority, wanted, now) {
            return Ok(None);
        }
    }
    let (ca, made) = open(config, now)?;
    let (asked, kept) = stored.map(|stored| (stored.about.asked, stored.key)).unzip();
    let fitting =
        store.next_key(&wanted.identity)?.into_iter().chain(kept).find(|key| key.kind() == Some(wanted.key));
    let key = fitting.map_or_else(|| PrivateKey::generate(wanted.key), Ok)?;
    let same = asked.flatten().filter(|asked| asked.names == wanted.names);
    let asked =
        same.unwrap_or_else(|| RequestDetails { names: wanted.names.clone(), ..RequestDetails::default() });
    let approval = Approval { signer: ca.signer(), policy: &config.ca.policy, by: "Postern, for itself" };
    let chain = certify(ca.authority(), &approval, &asked, &key, now)?;
    let about = About { origin: Origin::PrivateCa, installed: now, asked: Some(asked) };
    store.install(&wanted.identity, &chain, &key, &about)?;
    Ok(made)
}

/// A certificate for one of our own keys, with what is sent behind it, by an administrator's word. The passphrase opens the
/// CA's key; without it, the one in `[ca] passphrase_file`.
///
/// # Errors
/// There is no CA, its key is locked, it has ended, or its records cannot be written.
pub(crate) fn issue(
    config: &Config,
    asked: &RequestDetails,
    key: &PrivateKey,
    passphrase: Option<&Passphrase>,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, authority::Error> {
    let ca = authority::open(config, now)?;
    let signer = authority::signer(&ca, config, passphrase)?;
    let approval = Approval { signer: &signer, policy: &config.ca.policy, by: "the administrator" };
    certify(&ca, &approval, asked, key, now)
}

fn certify(
    ca: &Authority,
    approval: &Approval<'_>,
    asked: &RequestDetails,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<Vec<CertificateDer<'static>>, authority::Error> {
    let order = Order::of_key(key, asked.names.clone(), Purpose::Server)?;
    let issued = ca.issue(&order, approval, now)?;
    Ok(ca.chain_of(&issued.der))
}

/// The CA's own certificates, if there is a CA.
///
/// # Errors
/// Local: there is one, and it cannot be read.
pub(super) fn authorities(config: &Config) -> Result<Vec<Watched>, Error> {
    let folder = authority::folder(config);
    if !Authority::is_in(&folder) {
        return Ok(Vec::new());
    }
    let authority = Authority::open_whatever_its_age(&folder)?;
    let root = Some((Position::Root, authority.root()));
    let intermediate = authority.intermediate().map(|der| (Position::Intermediate, der));
    let watched = |(position, der): (Position, &CertificateDer<'_>)| {
        let link = ChainLink::of(der)?;
        Some(Watched { owner: Owner::PrivateCa, position, link, renewal: Renewal::PrivateCa })
    };
    Ok([root, intermediate].into_iter().flatten().filter_map(watched).collect())
}

/// Whether it bears these names and is in force by this CA's records, with such a key and enough time left.
fn is_still_good(stored: &Stored, authority: &Authority, wanted: &Wanted, now: Timestamp) -> bool {
    let Some(link) = stored.chain.first().and_then(|der| ChainLink::of(der)) else { return false };
    let is_due = authority.is_renewal_due(link.not_before, link.not_after, now);
    let same_names = stored.about.asked.as_ref().is_some_and(|asked| asked.names == wanted.names);
    let of_us = stored.about.origin == Origin::PrivateCa;
    if !(of_us && same_names && !is_due && stored.key.kind() == Some(wanted.key)) {
        return false;
    }
    let Some(name) = wanted.names.first() else { return false };
    let known = authority.find(&Which::Name(name.to_string())).unwrap_or_default();
    known.iter().any(|issued| issued.fingerprint == link.fingerprint_sha256 && issued.is_in_force(now))
}

/// The CA with its open key, made first if there is none.
fn open(config: &Config, now: Timestamp) -> Result<(PrivateCa, Option<Event>), authority::Error> {
    let folder = authority::folder(config);
    if !Authority::is_in(&folder) {
        let ca = PrivateCa::open_or_create(&folder, config.hostname.as_str(), now)?;
        let root = ca.root_pem_path().display().to_string();
        return Ok((ca, Some(Event::AuthorityMade { root })));
    }
    let key = Authority::open_whatever_its_age(&folder)?.key_state();
    let passphrase = authority::passphrase(key, config, None)?;
    Ok((PrivateCa::open(&folder, passphrase.as_ref(), now)?, None))
}
