//! What the private CA does for Postern's own listeners.
//!
//! - [`ensure_automatic`]: keeps a certificate for the host name in force, for installations that have no other.
//! - [`ensure_stored`]: issues and renews, into the certificate store, what the configuration says is the private CA's to
//!   issue.
//! - [`authorities`]: the CA's own certificates, whose end is watched too.
//!
//! What it deliberately does not do: enrolment, revocation, or anything for others.

use jiff::{SignedDuration, Timestamp};
use postern_pki::ca::{Approval, Authority, Order, Policy, Purpose, Which};
use postern_pki::{
    About, ChainLink, Error, IdentityStore, KeyKind, Name, Origin, PrivateCa, PrivateKey, RequestDetails,
    ServerIdentity, Stored,
};
use rustls::pki_types::CertificateDer;

use super::expiry::{Owner, Position, Renewal, Watched};
use crate::config::Config;
use crate::event::Event;

/// People on this very machine connect to "localhost" as often as not.
const ALSO: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// A certificate with less time left is issued anew, or with less than a third of its life.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An identity that the private CA issues.
pub(super) struct Wanted<'a> {
    pub(super) identity: &'a str,
    pub(super) names: &'a [Name],
    pub(super) key: KeyKind,
}

/// Makes sure that there is a certificate for the host name by the private CA, which is made first if there is none. Says
/// so if it was made just now.
///
/// # Errors
/// Local: the CA cannot be opened or made, or a file is broken.
pub(super) fn ensure_automatic(
    config: &Config,
    now: Timestamp,
) -> Result<(ServerIdentity, Option<Event>), Error> {
    let (ca, made) = open(config, now)?;
    let names: Vec<String> = [config.hostname.as_str()].into_iter().chain(ALSO).map(str::to_owned).collect();
    Ok((ca.ensure_server_identity(&config.data_dir.join("tls"), &names, now)?, made))
}

/// Makes sure that there is a certificate by the private CA in the store, for these names and with such a key. Says so if
/// the CA was made just now. A key that was made beforehand is taken; else the one that there is, if it is of that kind.
///
/// # Errors
/// Local: the CA cannot be opened or made, or the disk.
pub(super) fn ensure_stored(
    config: &Config,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Option<Event>, Error> {
    let store = IdentityStore::new(&config.data_dir);
    let stored = store.holds(wanted.identity).then(|| store.read(wanted.identity)).transpose()?;
    let (ca, made) = open(config, now)?;
    if stored.as_ref().is_some_and(|stored| is_still_good(stored, ca.authority(), wanted, now)) {
        return Ok(made);
    }
    let kept = stored.map(|stored| stored.key);
    let fitting = store.next_key(wanted.identity)?.into_iter().chain(kept).find(|key| key.is_of(wanted.key));
    let key = fitting.map_or_else(|| PrivateKey::generate(wanted.key), Ok)?;
    let order = Order::of_key(&key, wanted.names.to_vec(), Purpose::Server)?;
    let approval = Approval { signer: ca.signer(), policy: &Policy::default(), by: "Postern, for itself" };
    let issued = ca.authority().issue(&order, &approval, now)?;
    let asked = RequestDetails { names: wanted.names.to_vec(), ..RequestDetails::default() };
    let about = About { origin: Origin::PrivateCa, installed: now, asked: Some(asked) };
    store.install(wanted.identity, &ca.authority().chain_of(&issued.der), &key, &about)?;
    Ok(made)
}

/// The CA's own certificates, if there is a CA.
///
/// # Errors
/// Local: there is one, and it cannot be read.
pub(super) fn authorities(config: &Config) -> Result<Vec<Watched>, Error> {
    let folder = config.data_dir.join("ca");
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
fn is_still_good(stored: &Stored, authority: &Authority, wanted: &Wanted<'_>, now: Timestamp) -> bool {
    let Some(link) = stored.chain.first().and_then(|der| ChainLink::of(der)) else { return false };
    let life = link.not_after.duration_since(link.not_before);
    let renewal = link.not_after - RENEW_BEFORE.min(life / 3);
    let same_names = stored.about.asked.as_ref().is_some_and(|asked| asked.names == wanted.names);
    let of_us = stored.about.origin == Origin::PrivateCa;
    if !(of_us && same_names && now < renewal && stored.key.is_of(wanted.key)) {
        return false;
    }
    let Some(name) = wanted.names.first() else { return false };
    let known = authority.find(&Which::Name(name.to_string())).unwrap_or_default();
    known.iter().any(|issued| issued.fingerprint == link.fingerprint_sha256 && issued.is_in_force(now))
}

fn open(config: &Config, now: Timestamp) -> Result<(PrivateCa, Option<Event>), Error> {
    let folder = config.data_dir.join("ca");
    let was_there = Authority::is_in(&folder);
    let ca = PrivateCa::open_or_create(&folder, config.hostname.as_str(), now)?;
    let root = ca.root_pem_path().display().to_string();
    Ok((ca, (!was_there).then_some(Event::AuthorityMade { root })))
}
