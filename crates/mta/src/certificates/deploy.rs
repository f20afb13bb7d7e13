//! Handing an identity on to the programs beside Postern: IMAP and POP servers that show the same certificate.
//!
//! The certificate and its key are copied into a folder ([`Deployment::folder`]), or a program is told where they are
//! ([`Deployment::hook`]), or both: the folder first. It happens when somebody asks, and each time that an identity in the
//! store changes. What it deliberately does not do: know those programs; a hook may restart them.

use std::path::PathBuf;
use std::sync::Arc;

use postern_pki::{IdentityPaths, IdentityStore};
use serde::{Deserialize, Serialize};

use super::Error;
use super::hook::Hook;
use crate::daemon::Shared;
use crate::event::Event;

/// Where identities are handed to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deployment {
    /// Certificates and keys are copied there, as `NAME.pem` and `NAME.key`.
    pub folder: Option<PathBuf>,
    /// Is started as `PROGRAM deploy NAME CERTIFICATE KEY` with the paths of the files.
    pub hook: Option<PathBuf>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployed {
    /// The identity.
    pub identity: String,
    /// The certificate's file that others may read now.
    pub certificate: PathBuf,
    /// The key's.
    pub key: PathBuf,
    /// What the hook printed; `None` where none was run.
    pub said: Option<String>,
}

impl Deployment {
    /// The copies of an identity that lie in the folder.
    pub(crate) fn copies(&self, identity: &str) -> Vec<PathBuf> {
        let Some(folder) = &self.folder else { return Vec::new() };
        let names = [format!("{identity}.pem"), format!("{identity}.key")];
        names.iter().map(|name| folder.join(name)).filter(|path| path.symlink_metadata().is_ok()).collect()
    }

    /// Whether anything is to be done at all.
    pub fn is_wanted(&self) -> bool {
        self.folder.is_some() || self.hook.is_some()
    }
}

/// Hands one identity on.
///
/// # Errors
/// There is no such identity, the folder cannot be written, or the hook failed: then with what it printed.
///
/// # Cancel safety
/// A hook that runs is killed; the files are copied whole or not at all.
pub(crate) async fn deploy(
    store: &IdentityStore,
    identity: &str,
    to: &Deployment,
) -> Result<Deployed, Error> {
    if !store.holds(identity) {
        return Err(Error::NoSuch { identity: identity.to_owned() });
    }
    let IdentityPaths { certificate, key } = match &to.folder {
        Some(folder) => store.copy_to(identity, folder)?,
        None => store.paths(identity),
    };
    let said = match &to.hook {
        Some(program) => Some(tell(program.clone(), identity, &certificate, &key).await?),
        None => None,
    };
    Ok(Deployed { identity: identity.to_owned(), certificate, key, said })
}

/// Hands identities of the store on as `[certificates]` says, one after the other. What fails is an alarm.
pub(crate) async fn hand_on(shared: Arc<Shared>, identities: Vec<String>) {
    let config = Arc::clone(&shared.site.load().config);
    let (to, store) = (&config.certificates.deployment, IdentityStore::new(&config.data_dir));
    if !to.is_wanted() {
        return;
    }
    for identity in identities.iter().filter(|identity| store.holds(identity)) {
        let event = match deploy(&store, identity, to).await {
            Ok(_) => Event::IdentityDeployed { identity: identity.clone() },
            Err(error) => Event::Alarm {
                what: error.to_string(),
                remedy: format!("mend it, then: postern cert deploy {identity}"),
            },
        };
        shared.observer.daemon(event);
    }
}

async fn tell(
    program: PathBuf,
    identity: &str,
    certificate: &std::path::Path,
    key: &std::path::Path,
) -> Result<String, Error> {
    let (certificate, key) = (certificate.to_string_lossy(), key.to_string_lossy());
    let ran = Hook::new(program).run(&["deploy", identity, &certificate, &key]).await;
    ran.map_err(|why| Error::Hook { identity: identity.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use jiff::Timestamp;
    use postern_pki::{About, KeyKind, Origin, PrivateKey};

    use super::*;

    fn store(folder: &Path) -> IdentityStore {
        let store = IdentityStore::new(folder);
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let pair = rcgen::KeyPair::try_from(&key.to_der()).unwrap();
        let params = rcgen::CertificateParams::new(["mail.example.org".to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap().der().clone();
        let about = About { origin: Origin::ByHand, installed: Timestamp::UNIX_EPOCH, asked: None };
        store.install("mail", &[certificate], &key, &about).unwrap();
        store
    }

    #[tokio::test]
    async fn the_copies_are_the_identity_and_the_key_stays_private() {
        let (own, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = store(own.path());
        let to = Deployment { folder: Some(theirs.path().to_owned()), hook: None };
        let deployed = deploy(&store, "mail", &to).await.unwrap();
        let read = |path: &Path| std::fs::read(path).unwrap();
        let paths = store.paths("mail");
        assert_eq!(read(&deployed.certificate), read(&paths.certificate));
        assert_eq!(read(&deployed.key), read(&paths.key));
        assert_eq!(to.copies("mail"), [deployed.certificate.clone(), deployed.key.clone()]);
        assert!(to.copies("other").is_empty() && Deployment::default().copies("mail").is_empty());
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&deployed.key), 0o600);
        // The group that an administrator lets in stays in; the world does not.
        std::fs::set_permissions(&deployed.key, std::fs::Permissions::from_mode(0o644)).unwrap();
        deploy(&store, "mail", &to).await.unwrap();
        assert_eq!(mode(&deployed.key), 0o640);
    }

    #[tokio::test]
    async fn a_hook_that_fails_is_an_error_and_an_unknown_identity_too() {
        let own = tempfile::tempdir().unwrap();
        let store = store(own.path());
        let to = Deployment { folder: None, hook: Some("/bin/false".into()) };
        let error = deploy(&store, "mail", &to).await.unwrap_err().to_string();
        assert!(error.contains("\"mail\"") && error.contains("/bin/false deploy failed"), "{error}");
        assert!(matches!(deploy(&store, "other", &to).await, Err(Error::NoSuch { .. })));
    }
}
