//! The private CA, judged by OpenSSL and GnuTLS.

#![allow(clippy::unwrap_used)]

mod clients;
mod foreign;
mod issuing;
mod recorded;
mod recovering;
mod requests;
mod revoking;
mod setup;
mod tools;
mod trust;
mod upkeep;

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use postern_pki::ca::{
    Approval, Authority, AuthorityError, Init, Issued, Locks, Order, Policy, Purpose, Signer,
};
use postern_pki::{KeyKind, Name, Passphrase, PrivateKey, RequestDetails, SigningRequest, Subject};
use tempfile::TempDir;

/// A CA in a folder of its own, with its key at hand.
struct Office {
    folder: TempDir,
    authority: Authority,
    signer: Signer,
    policy: Policy,
}

/// Whether the CA has an intermediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    RootAlone,
    WithIntermediate,
}

fn now() -> Timestamp {
    // Whole seconds, as certificates count time.
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn policy() -> Policy {
    Policy {
        names: ["*.example.org", "*@example.org", "10.0.0.0/8"].map(|text| text.parse().unwrap()).to_vec(),
        automatic: vec!["*.lab.example.org".parse().unwrap()],
        ..Policy::default()
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

fn plain_init() -> Init<'static> {
    Init {
        subject: Subject { organisation: Some("Example GmbH".into()), ..Subject::named("Example CA") },
        key: KeyKind::EcdsaP256,
        life: days(3650),
        intermediate: None,
        passphrase: None,
        locks: Locks::Root,
    }
}

fn request(names_asked: &[&str]) -> SigningRequest {
    let details = RequestDetails { subject: Subject::default(), names: names(names_asked) };
    SigningRequest::make(&details, &PrivateKey::generate(KeyKind::EcdsaP256).unwrap()).unwrap()
}

fn office(shape: Shape) -> Office {
    office_with(shape, policy())
}

fn office_with(shape: Shape, policy: Policy) -> Office {
    let folder = tempfile::tempdir().unwrap();
    let intermediate = (shape == Shape::WithIntermediate).then(|| days(1000));
    let init = Init { intermediate, ..plain_init() };
    let authority = Authority::init(&folder.path().join("ca"), &init, &policy, now()).unwrap();
    let signer = authority.signer(None).unwrap();
    Office { folder, authority, signer, policy }
}

impl Office {
    fn ca(&self) -> PathBuf {
        self.folder.path().join("ca")
    }

    fn approval(&self) -> Approval<'_> {
        Approval { signer: &self.signer, policy: &self.policy, by: "root" }
    }

    fn issue(&self, wanted: &[&str], purpose: Purpose) -> (Issued, PrivateKey) {
        self.issue_for(&self.approval(), wanted, purpose, KeyKind::EcdsaP256).unwrap()
    }

    /// Makes a key of this kind and issues a certificate for it.
    fn issue_for(
        &self,
        approval: &Approval<'_>,
        wanted: &[&str],
        purpose: Purpose,
        kind: KeyKind,
    ) -> Result<(Issued, PrivateKey), AuthorityError> {
        let key = PrivateKey::generate(kind)?;
        let order = Order::of_key(&key, names(wanted), purpose)?;
        Ok((self.authority.issue(&order, approval, now())?, key))
    }

    /// The revocation list in DER.
    fn crl_der(&self) -> PathBuf {
        self.authority.crl_pem_path().with_extension("der")
    }

    /// Writes something beside the CA, for the programs.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The certificate, and what has to be known of the CA, as files.
    fn files(&self, issued: &Issued) -> (PathBuf, PathBuf) {
        let authorities = self.write("authorities.pem", self.authority.authorities_pem());
        (self.write("issued.pem", issued.pem()), authorities)
    }
}

fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}
