//! Who renews an identity: the one answer that the list, the warnings and those who renew go by.
//!
//! The configuration decides where it says something. Where it does not, whoever a waiting request was sent to renews it,
//! else whoever issued it last; an `[[acme]]` that is no longer configured renews nothing.
//!
//! What it deliberately does not do: say when (`postern_pki::renewal_moment` does), or renew.

use std::fmt;
use std::path::PathBuf;

use postern_pki::{IdentityStore, Origin, SentTo};

use crate::authority;
use crate::config::{Config, IdentitySource, Issuer};

/// Who renews a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewal {
    /// Whoever writes the file of its chain, which is this one.
    Files(PathBuf),
    /// An administrator, with the certificate store.
    ByHand,
    /// Postern, at its private CA.
    PrivateCa,
    /// Postern, at the `[[acme]]` of this name.
    Acme(String),
}

impl Renewal {
    /// Who renews the identity of this name. What cannot be read is left to the administrator.
    pub(crate) fn of(config: &Config, store: &IdentityStore, identity: &str) -> Self {
        Self::configured(config, identity).unwrap_or_else(|| Self::remembered(config, store, identity))
    }

    /// What the configuration says, if it says anything.
    pub(crate) fn configured(config: &Config, identity: &str) -> Option<Self> {
        let listed = config.tls.identities.iter().find(|listed| listed.name == identity)?;
        match &listed.source {
            IdentitySource::Files { certificate, .. } => Some(Self::Files(certificate.clone())),
            IdentitySource::Store { issuer: Some(Issuer::PrivateCa), .. } => Some(Self::PrivateCa),
            IdentitySource::Store { issuer: Some(Issuer::Acme(name)), .. } => Some(Self::Acme(name.clone())),
            IdentitySource::Store { issuer: None, .. } => None,
        }
    }

    fn remembered(config: &Config, store: &IdentityStore, identity: &str) -> Self {
        let at = |name: String| {
            let is_there = config.acme.iter().any(|authority| authority.name == name);
            if is_there { Self::Acme(name) } else { Self::ByHand }
        };
        let pending = store.pending(identity).ok().flatten();
        if let Some(SentTo::Acme(name)) = pending.and_then(|pending| pending.note.sent) {
            return at(name);
        }
        match store.about(identity).map(|about| about.origin) {
            Some(Origin::PrivateCa) => Self::PrivateCa,
            Some(Origin::Acme(name)) => at(name),
            Some(Origin::ByHand) | None => Self::ByHand,
        }
    }
}

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(_) => f.write_str("whoever writes its files"),
            Self::ByHand => f.write_str("hand"),
            Self::PrivateCa => f.write_str(authority::NAME),
            Self::Acme(name) => write!(f, "acme {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;
    use postern_pki::{About, KeyKind, PrivateKey};
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::config::{File, Surroundings};

    const ACME: &str = "[[acme]]\nname = 'letters'\ndirectory = 'https://acme.example/directory'\n\
                        contact = ['postmaster@example.org']\nterms_agreed = true\nchallenge = 'http-01'\n\
                        bind = ['127.0.0.1:8402']\n";

    fn config(folder: &Path, sections: &str) -> Config {
        let text = format!(
            "hostname = 'mail.example.org'\ndata_dir = {folder:?}\n[[listener]]\nname = 'mx'\nrole = 'relay'\n\
             bind = ['127.0.0.1:0']\n{sections}"
        );
        File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap()
    }

    /// Puts a certificate of this origin into the store.
    fn install(config: &Config, identity: &str, origin: Origin) -> IdentityStore {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let params = CertificateParams::new(vec![format!("{identity}.example")]).unwrap();
        let pair = KeyPair::try_from(key.pkcs8()).unwrap();
        let certificate = params.self_signed(&pair).unwrap().der().clone();
        let store = IdentityStore::new(&config.data_dir);
        let about = About { origin, installed: Timestamp::UNIX_EPOCH, asked: None };
        store.install(identity, &[certificate], &key, &about).unwrap();
        store
    }

    #[test]
    fn who_issued_an_identity_that_is_not_listed_renews_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path(), ACME);
        let letters = || "letters".to_owned();
        for (origin, renewal) in [
            (Origin::ByHand, Renewal::ByHand),
            (Origin::PrivateCa, Renewal::PrivateCa),
            (Origin::Acme(letters()), Renewal::Acme(letters())),
            (Origin::Acme("gone".to_owned()), Renewal::ByHand),
        ] {
            let store = install(&config, "shop", origin.clone());
            assert_eq!(Renewal::of(&config, &store, "shop"), renewal, "{origin:?}");
        }
    }

    #[test]
    fn the_configuration_has_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        let said = |keys: &str| {
            let config = config(folder.path(), &format!("[[tls.identity]]\nname = 'shop'\n{keys}{ACME}"));
            let store = install(&config, "shop", Origin::Acme("letters".to_owned()));
            Renewal::of(&config, &store, "shop")
        };
        assert_eq!(said("issuer = 'private-ca'\n"), Renewal::PrivateCa);
        assert_eq!(said(""), Renewal::Acme("letters".to_owned()));
        let file = folder.path().join("chain.pem");
        let files = format!("certificate = {file:?}\nkey = {:?}\n", folder.path().join("key.pem"));
        assert_eq!(said(&files), Renewal::Files(file));
    }
}
