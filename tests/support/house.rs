//! A Postern whose certificates come from an authority that is the `openssl` program: what the scenarios about certificates have
//! in common.
//!
//! [`House`] is that Postern, that authority, and the DNS. Each step of a certificate's life is a method.

use std::fs;
use std::path::{Path, PathBuf};

use postern_testkit::dns::Zone;
use serde_json::Value;

use super::certificates::Certificate;
use super::names::Names;
use super::openssl::{OpenSsl, Reach, Shown};
use super::programs::{both, run, text};
use super::{Postern, Setup, files_below};

/// What certificates are for. The Postern under test bears another name, so that both can be seen side by side.
pub const NAME: &str = "mail.home.test";
/// SMTP, then TLS.
pub const SMTP: Reach = Reach::StartTls("smtp");

/// A Postern, the names that it finds, and an authority that it knows nothing of.
pub struct House {
    pub postern: Postern,
    pub authority: OpenSsl,
    pub names: Names,
}

impl House {
    pub fn prepare(setup: Setup, zone: Zone) -> House {
        let names = Names::serve(zone);
        let postern = setup.tables(&names.table()).prepare();
        let authority = OpenSsl::new(&postern.folder().join("authority"));
        House { postern, authority, names }
    }

    pub fn start() -> House {
        House::start_with(Setup::new())
    }

    pub fn start_with(setup: Setup) -> House {
        let mut house = House::prepare(setup, Zone::new());
        house.postern.start();
        house
    }

    /// Asks for a certificate for [`NAME`], with a new key.
    #[track_caller]
    pub fn request(&self) -> PathBuf {
        self.postern.cli(&["cert", "request", "--identity", "mail", "--name", NAME, "--yes"]);
        self.waiting("request.pem")
    }

    /// A file of the request that waits.
    pub fn waiting(&self, name: &str) -> PathBuf {
        self.postern.data_dir().join("certificates/.requests/mail").join(name)
    }

    /// A file of the identity as it lies in the store.
    pub fn stored(&self, name: &str) -> PathBuf {
        self.postern.data_dir().join("certificates/mail").join(name)
    }

    /// Asks, and has the authority answer.
    #[track_caller]
    pub fn answer(&self, name: &str) -> PathBuf {
        self.authority.sign(&self.request(), name, &[])
    }

    /// Asks, has the authority answer, and installs that.
    #[track_caller]
    pub fn obtain(&self, name: &str) -> PathBuf {
        let certificate = self.answer(name);
        self.installs(&[text(&certificate), text(&self.authority.issuer())]);
        certificate
    }

    /// Installs without questions; how it ended, and what was said.
    #[track_caller]
    pub fn install(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = run(self.postern.command(&["cert", "install", "--yes"]).args(arguments));
        (output.status.code(), both(&output))
    }

    #[track_caller]
    pub fn installs(&self, arguments: &[&str]) {
        let (code, said) = self.install(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }

    /// What openssl is shown by the submission listener.
    #[track_caller]
    pub fn shown(&self, name: Option<&str>, root: &Path) -> Shown {
        Shown::at(self.postern.at("submission"), SMTP, name, root)
    }

    /// New handshakes show this certificate, with what it takes to verify it by the authority's root alone.
    #[track_caller]
    pub fn assert_served(&self, certificate: &Path) {
        let expected = Shown { certificate: Certificate::read(certificate), verified: true };
        assert_eq!(self.shown(Some(NAME), &self.authority.root()), expected);
    }

    /// One identity of `cert list --json`.
    #[track_caller]
    pub fn listed(&self, identity: &str) -> Value {
        let list: Value = serde_json::from_str(&self.postern.cli(&["cert", "list", "--json"])).unwrap();
        let found = list.as_array().unwrap().iter().find(|one| one["identity"] == identity).cloned();
        found.unwrap_or_else(|| panic!("no {identity} in {list:#}"))
    }

    /// The certificate store, octet by octet.
    pub fn state(&self) -> Vec<(PathBuf, Vec<u8>)> {
        state(&self.postern.data_dir().join("certificates"))
    }

    /// Writes a file with a passphrase.
    pub fn passphrase(&self, passphrase: &str) -> String {
        let path = self.postern.folder().join(format!("passphrase-{}", passphrase.len()));
        fs::write(&path, format!("{passphrase}\n")).unwrap();
        text(&path).to_owned()
    }
}

/// Every file with its content.
pub fn state(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files_below(folder).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}
