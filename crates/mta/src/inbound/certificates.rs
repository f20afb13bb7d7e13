//! Certificates for clients in tests: an authority of the test's own, and what it issues.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use postern_pki::TlsIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// An authority, with its root in a file.
pub(super) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Whether a certificate is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Current,
    Expired,
}

/// A certificate and its key.
pub(super) struct Issued {
    pub(super) certificate: CertificateDer<'static>,
    key: KeyPair,
    pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join("root.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    /// The file that a listener names as `client_ca`.
    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// A client's certificate, for a host or, with an `@` in its name, for a person.
    pub(super) fn issue(&self, name: &str, life: Life) -> Issued {
        let text = name.try_into().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            vec![if name.contains('@') { SanType::Rfc822Name(text) } else { SanType::DnsName(text) }];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if life == Life::Expired {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 12, 31);
        }
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.der().clone(), pem: certificate.pem(), key }
    }

    /// The same as Postern's own sending side shows it.
    pub(super) fn identity(&self, name: &str) -> Arc<TlsIdentity> {
        let issued = self.issue(name, Life::Current);
        let path = |ending: &str| self.folder.path().join(format!("client.{ending}"));
        std::fs::write(path("pem"), &issued.pem).unwrap();
        std::fs::write(path("key"), issued.key.serialize_pem()).unwrap();
        let loaded = TlsIdentity::load(name, &path("pem"), &path("key"), Timestamp::now()).unwrap();
        Arc::new(loaded.identity)
    }
}

impl Issued {
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}
