//! What there is: every identity, as it lies on disk and as it is being served.
//!
//! [`Listed`] is one line of `postern cert list`. The two sides are looked at apart, because the renewed file that is not
//! served is the classic trouble. What it deliberately does not do: judge certificates, or change anything.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_pki::{
    Bundle, Chain, IdentityPaths, IdentityStore, Loaded, PrivateKey, TlsIdentity, describe_certificate,
};
use postern_smtp::tls::CertificateSeen;
use serde::Serialize;

use super::Error;
use super::renewal::Renewal;
use super::watch::{AUTOMATIC, Served};
use crate::config::{Config, Listener};

/// An identity.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Its name.
    pub identity: String,
    /// Who renews it, in words.
    pub renewed_by: String,
    /// The file of its chain.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
    /// What lies on disk.
    pub on_disk: OnDisk,
    /// What is being served; `None` where no daemon runs.
    pub served: Option<Served>,
    /// Whether a request for it waits for its certificate.
    pub waiting: bool,
}

/// What lies on disk.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDisk {
    /// A certificate and its key.
    Good(Box<CertificateSeen>),
    /// Not yet there: an authority is still to issue it.
    Missing,
    /// What is there cannot be used.
    Broken(String),
}

/// Where an identity lies, and who renews it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) identity: String,
    pub(crate) paths: IdentityPaths,
    pub(crate) renewed_by: Renewal,
}

impl Listed {
    /// Whether what is served is not what lies on disk.
    pub fn differs(&self) -> bool {
        let disk = match &self.on_disk {
            OnDisk::Good(seen) => Some(seen.sha256.as_str()),
            OnDisk::Missing | OnDisk::Broken(_) => None,
        };
        self.served.as_ref().is_some_and(|served| served.fingerprint.as_deref() != disk)
    }
}

/// All identities: those of the configuration in its order, then those of the store, then those that only the daemon knows.
pub(crate) fn list(
    config: &Config,
    store: &IdentityStore,
    served: Option<&[Served]>,
    now: Timestamp,
) -> Result<Vec<Listed>, Error> {
    let waiting = store.pending_names()?;
    let mut places = places(config, store)?;
    for served in served.unwrap_or_default() {
        if places.iter().all(|place| place.identity != served.identity) {
            let paths = IdentityPaths { certificate: served.certificate.clone(), key: served.key.clone() };
            let renewed_by = Renewal::PrivateCa;
            places.push(Place { identity: served.identity.clone(), paths, renewed_by });
        }
    }
    let listed = places.into_iter().map(|place| Listed {
        on_disk: look(&place, now),
        served: served
            .as_ref()
            .and_then(|all| all.iter().find(|one| one.identity == place.identity).cloned()),
        waiting: waiting.contains(&place.identity),
        renewed_by: place.renewed_by.to_string(),
        identity: place.identity,
        certificate: place.paths.certificate,
        key: place.paths.key,
    });
    Ok(listed.collect())
}

/// Where the identity of this name lies.
///
/// # Errors
/// There is none.
pub(crate) fn find(config: &Config, store: &IdentityStore, identity: &str) -> Result<Place, Error> {
    let found = places(config, store)?.into_iter().find(|place| place.identity == identity);
    found.ok_or_else(|| match identity.to_owned() {
        identity if identity == AUTOMATIC => Error::Automatic { identity },
        identity => Error::NoSuch { identity },
    })
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

/// The other identities that can be used now: those of the configuration and of the store, without the automatic one.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn others(
    config: &Config,
    store: &IdentityStore,
    identity: &str,
    now: Timestamp,
) -> Result<Vec<TlsIdentity>, Error> {
    let others = places(config, store)?.into_iter().filter(|place| place.identity != identity);
    let usable = others.filter_map(|place| Some(place.load(now).ok()?.identity));
    Ok(usable.filter(|other| now < other.not_after).collect())
}

/// Who would show clients something else without an identity, and for which names: those that no other bears there.
///
/// # Errors
/// The store cannot be read.
pub(crate) fn shown_by(
    config: &Config,
    store: &IdentityStore,
    place: &Place,
    now: Timestamp,
) -> Result<Vec<(String, Vec<String>)>, Error> {
    // What cannot be read is not shown.
    let Ok(own) = place.load(now) else { return Ok(Vec::new()) };
    let others = others(config, store, &place.identity, now)?;
    let alone = |listener: &Listener| {
        let is_borne =
            |name: &str| others.iter().any(|other| listener.may_show(&other.name) && other.is_for(name));
        let names: Vec<String> = own.identity.names.iter().filter(|name| !is_borne(name)).cloned().collect();
        (!names.is_empty()).then(|| (listener.name.clone(), names))
    };
    Ok(config
        .listeners
        .iter()
        .filter(|listener| listener.may_show(&place.identity))
        .filter_map(alone)
        .collect())
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
        let renewed_by = Renewal::of(config, store, &listed.name);
        let paths = IdentityPaths { certificate, key };
        places.push(Place { identity: listed.name.clone(), paths, renewed_by });
    }
    for identity in store.names()? {
        if places.iter().all(|place| place.identity != identity) {
            let (paths, renewed_by) = (store.paths(&identity), Renewal::of(config, store, &identity));
            places.push(Place { identity, paths, renewed_by });
        }
    }
    Ok(places)
}

fn look(place: &Place, now: Timestamp) -> OnDisk {
    let (certificate, key) = (&place.paths.certificate, &place.paths.key);
    if !is_there(certificate) && !is_there(key) && !matches!(place.renewed_by, Renewal::Files(_)) {
        return OnDisk::Missing;
    }
    match place.load(now) {
        Err(error) => OnDisk::Broken(error.to_string()),
        Ok(loaded) => match loaded.identity.certified_key.cert.as_slice() {
            [] => OnDisk::Missing,
            chain @ [leaf, ..] => OnDisk::Good(Box::new(describe_certificate(leaf, chain.len()))),
        },
    }
}

impl Place {
    fn load(&self, now: Timestamp) -> Result<Loaded, postern_pki::Error> {
        TlsIdentity::load(&self.identity, &self.paths.certificate, &self.paths.key, now)
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(on_disk: OnDisk, fingerprint: Option<&str>) -> Listed {
        let served = Served {
            identity: "mail".into(),
            fingerprint: fingerprint.map(str::to_owned),
            not_after: None,
            since: None,
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            trouble: None,
            listeners: Vec::new(),
            connectors: Vec::new(),
        };
        Listed {
            identity: "mail".into(),
            renewed_by: "hand".into(),
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            on_disk,
            served: Some(served),
            waiting: false,
        }
    }

    #[test]
    fn a_broken_file_is_not_what_is_served() {
        assert!(listed(OnDisk::Broken("garbage".into()), Some("ab")).differs());
        assert!(listed(OnDisk::Missing, Some("ab")).differs());
        assert!(!listed(OnDisk::Broken("garbage".into()), None).differs());
        let unserved = Listed { served: None, ..listed(OnDisk::Missing, None) };
        assert!(!unserved.differs());
    }
}
