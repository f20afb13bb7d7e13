//! What the private CA revoked, as listeners know it.
//!
//! [`Revocations::look`] asks the CA's records, not the files that are copies of them: a file that somebody removed must let
//! nobody in. What was known before stays in force while the CA cannot be asked; where nothing was known, its certificates
//! count for nothing ([`Revocations::are_missed`]).
//!
//! What it deliberately does not do: sign lists, or verify anybody.

use std::path::Path;
use std::sync::Arc;

use postern_pki::ca::{Authority, AuthorityError, RevocationList};
use postern_pki::{ClientCa, Error};

use crate::authority::folder;
use crate::config::{ClientCertificates, Config};
use crate::event::Event;
use crate::observe::Observer;

/// What the private CA revoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Revocations {
    /// Nobody could say.
    #[default]
    Unknown,
    /// There is no private CA.
    NoCa,
    /// Nothing.
    Nothing,
    /// What is on its list.
    Listed(Arc<RevocationList>),
}

impl Revocations {
    /// What the CA says now; what was known before while it cannot be asked, which is an alarm.
    pub(super) fn look(config: &Config, before: &Self, observer: &Observer) -> Self {
        if config.listeners.iter().all(|one| matches!(one.client_certificates, ClientCertificates::Ignored)) {
            return before.clone();
        }
        let folder = folder(config);
        if Authority::is_surely_absent(&folder) {
            return before.clone().or(Self::NoCa);
        }
        Self::asked(&folder).unwrap_or_else(|error| {
            let known = before.clone().or(Self::Unknown);
            let meanwhile = match known {
                Self::Unknown => "until then none of its clients' certificates counts",
                _ => "until then what was revoked before stays revoked, and nothing more",
            };
            observer.daemon(Event::Alarm {
                what: format!("which certificates the private CA revoked cannot be found out: {error}"),
                remedy: format!("mend what is said there, then reload; {meanwhile}"),
            });
            known
        })
    }

    fn asked(folder: &Path) -> Result<Self, AuthorityError> {
        let list = Authority::open_whatever_its_age(folder)?.crl_for_clients()?;
        Ok(list.map_or(Self::Nothing, |list| Self::Listed(Arc::new(list))))
    }

    /// This, if it says something about a CA, or else the other.
    fn or(self, other: Self) -> Self {
        match self {
            Self::Unknown | Self::NoCa => other,
            known => known,
        }
    }

    /// Whether these authorities are the private CA, or may be, and nobody knows what that revoked.
    pub(super) fn are_missed(&self, config: &Config, authorities: &Path) -> bool {
        *self == Self::Unknown && Authority::may_be_among(&folder(config), authorities)
    }

    /// The authorities in this file, with what is known to be revoked.
    ///
    /// # Errors
    /// Local: the file cannot be used, or the list is not the authority's that it names.
    pub(super) fn load(&self, config: &Config, authorities: &Path) -> Result<ClientCa, Error> {
        match self {
            Self::Listed(list) => {
                ClientCa::load_with_list(authorities, &list.der, &folder(config).join("crl.der"))
            }
            _ => ClientCa::load(authorities),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::Timestamp;
    use postern_pki::ca::{Approval, Order, Policy, Purpose, Reason, Which};
    use postern_pki::{KeyKind, PrivateCa, PrivateKey};
    use tempfile::TempDir;

    use super::*;
    use crate::config::{File, Surroundings};

    /// A CA that revoked a certificate, trusted by a listener from a copy of its root.
    fn office() -> (TempDir, Config, Authority) {
        let (home, now) = (tempfile::tempdir().unwrap(), Timestamp::now());
        let ca = PrivateCa::open_or_create(&home.path().join("ca"), "x", now).unwrap();
        let policy = Policy::default();
        let approval = Approval { signer: ca.signer(), policy: &policy, by: "root" };
        let names = vec!["anna@example.org".parse().unwrap()];
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let order = Order::of_key(&key, names, Purpose::Client).unwrap();
        let issued = ca.authority().issue(&order, &approval, now).unwrap();
        ca.authority().revoke(&Which::Serial(issued.serial), Reason::KeyCompromise, now).unwrap();
        ca.authority().sign_crl(ca.signer(), &policy, now).unwrap();
        let copy = home.path().join("trusted.pem");
        fs::copy(ca.root_pem_path(), &copy).unwrap();
        let listener = format!(
            "[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['127.0.0.1:0']\nclient_certificates = 'asked'\n\
             client_ca = {copy:?}\n"
        );
        let text = format!("hostname = 'mail.example.org'\ndata_dir = {:?}\n{listener}", home.path());
        let config = File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        (home, config, ca.authority().clone())
    }

    fn look(config: &Config, before: &Revocations) -> Revocations {
        Revocations::look(config, before, &Observer::new(Vec::new()))
    }

    #[test]
    fn a_list_whose_files_are_gone_is_still_in_force() {
        let (_home, config, authority) = office();
        let list = authority.crl().unwrap().unwrap();
        fs::remove_file(authority.crl_pem_path()).unwrap();
        fs::remove_file(authority.crl_pem_path().with_extension("der")).unwrap();
        let found = look(&config, &Revocations::Unknown);
        assert_eq!(found, Revocations::Listed(Arc::new(list)));
        let trusted = config.data_dir.join("trusted.pem");
        assert_eq!(found.load(&config, &trusted).unwrap().lists().len(), 1);
    }

    #[test]
    fn what_was_known_stays_while_the_ca_is_broken_and_a_stranger_to_it_counts_nobody() {
        let (home, config, authority) = office();
        let known = look(&config, &Revocations::Unknown);
        drop(authority);
        fs::write(home.path().join("ca/records.db"), "this is no database, and it is long enough").unwrap();
        assert_eq!(look(&config, &known), known);
        let unknown = look(&config, &Revocations::Unknown);
        assert_eq!(unknown, Revocations::Unknown);
        assert!(unknown.are_missed(&config, &home.path().join("trusted.pem")));
        let other = tempfile::tempdir().unwrap();
        let other = PrivateCa::open_or_create(&other.path().join("ca"), "y", Timestamp::now()).unwrap();
        let elsewhere = home.path().join("other.pem");
        fs::write(&elsewhere, other.authority().authorities_pem()).unwrap();
        assert!(!unknown.are_missed(&config, &elsewhere), "another authority is none of its business");
    }

    #[test]
    fn where_no_private_ca_is_nothing_is_missed() {
        let (home, config, authority) = office();
        drop(authority);
        fs::remove_dir_all(home.path().join("ca")).unwrap();
        let found = look(&config, &Revocations::Unknown);
        assert_eq!(found, Revocations::NoCa);
        assert!(!found.are_missed(&config, &home.path().join("trusted.pem")));
    }
}
