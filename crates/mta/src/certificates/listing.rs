//! What there is: every identity, as it lies on disk and as it is being served.
//!
//! [`Listed`] is one line of `postern cert list`. The two sides are looked at apart, because the renewed file that is not
//! served is the classic trouble. What it deliberately does not do: judge certificates, or change anything.

use postern_pki::{Bundle, Chain, IdentityPaths, IdentityStore, Origin, PrivateKey};

use super::Error;
use crate::config::{Config, IdentitySource, Issuer};

/// The identity that the private CA makes by itself where no other bears the host name.
const AUTOMATIC: &str = "private-ca";

/// Where an identity lies, and who renews it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) identity: String,
    pub(crate) paths: IdentityPaths,
    #[expect(dead_code, reason = "listing and renewing come next")]
    pub(crate) renewed_by: Renewal,
}

/// Who renews a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// Whoever writes its files.
    Elsewhere,
    /// The administrator, by a request to some authority.
    ByHand,
    /// Postern, at the private CA.
    PrivateCa,
    /// Postern, at an ACME authority.
    Acme(String),
}

/// Where the identity of this name lies.
///
/// # Errors
/// There is none.
pub(crate) fn find(config: &Config, store: &IdentityStore, identity: &str) -> Result<Place, Error> {
    let found = places(config, store)?.into_iter().find(|place| place.identity == identity);
    found.ok_or_else(|| Error::NoSuch { identity: identity.to_owned() })
}

/// What would miss an identity: its own section of the configuration, listeners and connectors.
pub(crate) fn bound_by(config: &Config, place: &Place) -> Vec<String> {
    let name = &place.identity;
    let listed = config.tls.identities.iter().filter(|listed| listed.name == *name);
    let listeners = config.listeners.iter().filter(|listener| listener.identities.contains(name));
    let connectors = config.connectors.iter().filter(|own| own.identity.as_ref() == Some(name));
    let listed = listed.map(|_| "its [[tls.identity]] in the configuration".to_owned());
    let listeners = listeners.map(|listener| format!("listener {}", listener.name));
    let connectors = connectors.map(|connector| format!("connector {}", connector.name));
    listed.chain(listeners).chain(connectors).collect()
}

/// An identity's chain and key, read from its files.
///
/// # Errors
/// A file is missing or broken, or the key is another's.
pub(crate) fn read(place: &Place) -> Result<(Chain, PrivateKey), Error> {
    let mut bundle = Bundle::read(&place.paths.certificate, None)?;
    bundle.join(Bundle::read(&place.paths.key, None)?);
    let what = place.paths.key.display().to_string();
    bundle.expect(postern_pki::Item::Key, &what)?;
    let fits = |key: &PrivateKey| bundle.certificates.iter().any(|certificate| key.fits(certificate));
    let at = bundle.keys.iter().position(fits).unwrap_or_default();
    let key = bundle.keys.swap_remove(at);
    Ok((Chain::arrange(bundle.certificates, &key.spki())?, key))
}

fn places(config: &Config, store: &IdentityStore) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    for listed in &config.tls.identities {
        let (certificate, key) = listed.files(&config.data_dir);
        let renewed_by = match &listed.source {
            IdentitySource::Files { .. } => Renewal::Elsewhere,
            IdentitySource::Store { issuer: Some(Issuer::PrivateCa), .. } => Renewal::PrivateCa,
            IdentitySource::Store { issuer: Some(Issuer::Acme(name)), .. } => Renewal::Acme(name.clone()),
            IdentitySource::Store { issuer: None, .. } => stored_renewal(store, &listed.name),
        };
        let paths = IdentityPaths { certificate, key };
        places.push(Place { identity: listed.name.clone(), paths, renewed_by });
    }
    for identity in store.names()? {
        if places.iter().all(|place| place.identity != identity) {
            let (paths, renewed_by) = (store.paths(&identity), stored_renewal(store, &identity));
            places.push(Place { identity, paths, renewed_by });
        }
    }
    Ok(places)
}

/// Whoever issued it last renews it, where the configuration says nothing.
fn stored_renewal(store: &IdentityStore, identity: &str) -> Renewal {
    match store.about(identity).map(|about| about.origin) {
        Some(Origin::PrivateCa) => Renewal::PrivateCa,
        Some(Origin::Acme(name)) => Renewal::Acme(name),
        Some(Origin::ByHand) | None => Renewal::ByHand,
    }
}

impl std::fmt::Display for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("whoever writes its files"),
            Self::ByHand => f.write_str("hand"),
            Self::PrivateCa => f.write_str(AUTOMATIC),
            Self::Acme(name) => write!(f, "acme {name}"),
        }
    }
}
