//! A test's own certificate authority, independent of Postern's: what the peers present and what the clients trust.
//!
//! [`Authority::issue`] makes good certificates, [`Authority::issue_as`] any [`Kind`], most of them bad in one way, and
//! [`Authority::issue_client`] certificates for clients. An [`Identity`] is a chain and a key in files; a [`Certificate`] knows what
//! TLSA records and pins say about it.
//!
//! `rcgen` makes them all. What it refuses to make, a key of 1024 bits and a signature over SHA-1, the `openssl` program adds.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize, SanType, SigningKey, SubjectPublicKeyInfo,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::programs::{program, succeed, text};

/// A certificate authority in a folder: `root.pem`, and for each identity `NAME.pem` and `NAME.key`.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, then those of the intermediate authorities that are sent with it.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// One certificate, as DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate(CertificateDer<'static>);

/// What a certificate is like. All but the first four shall fail a check of chain and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// P-256, signed by the root. What [`Authority::issue`] makes.
    Good,
    /// The same with an RSA key of 2048 bits.
    Rsa2048,
    /// Signed by an intermediate authority whose certificate is sent with it.
    Chained,
    /// For `*.PARENT` in the place of each name.
    Wildcard,
    /// Ended in 2020.
    Expired,
    /// Begins in 2090.
    NotYetValid,
    /// Signed by its own key.
    SelfSigned,
    /// For `wrong.invalid` instead of the names.
    WrongName,
    /// Signed by an intermediate authority whose certificate is not sent.
    IncompleteChain,
    /// With an RSA key of 1024 bits. Neither rustls nor OpenSSL's defaults serve it: see [`OpenSsl`](super::tls_server::OpenSsl).
    Rsa1024,
    /// Signed over SHA-1.
    Sha1,
    /// The first name stands in the subject's common name only; there is no subjectAltName.
    CommonNameOnly,
}

impl Kind {
    /// Those that a peer may present and fail to be verified by it.
    pub const BAD: [Kind; 8] = [
        Kind::Expired,
        Kind::NotYetValid,
        Kind::SelfSigned,
        Kind::WrongName,
        Kind::IncompleteChain,
        Kind::Rsa1024,
        Kind::Sha1,
        Kind::CommonNameOnly,
    ];

    /// Those that are good.
    pub const GOOD: [Kind; 4] = [Kind::Good, Kind::Rsa2048, Kind::Chained, Kind::Wildcard];
}

impl Authority {
    pub fn new(folder: &Path) -> Authority {
        let issuer =
            CertifiedIssuer::self_signed(authority_params("Test authority"), KeyPair::generate().unwrap());
        let issuer = issuer.unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("root.pem"), issuer.pem()).unwrap();
        Authority { folder: folder.to_owned(), issuer }
    }

    /// The file that a client is told to trust.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// The root itself, for TLSA records of usage 2.
    pub fn certificate(&self) -> Certificate {
        Certificate(self.issuer.der().clone())
    }

    /// A certificate for `names`; the files bear the first one's name.
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.issue_as(Kind::Good, names)
    }

    /// A certificate for `names` with this peculiarity; the files bear the first name and, unless it is a good one, the kind.
    pub fn issue_as(&self, kind: Kind, names: &[&str]) -> Identity {
        let params = params_of(kind, names);
        let identity = match kind {
            Kind::Good => self.identity(names[0]),
            _ => self.identity(&format!("{}-{kind:?}", names[0])),
        };
        match kind {
            Kind::Rsa1024 => self.issue_for_short_key(&params, &identity),
            Kind::Chained | Kind::IncompleteChain => self.issue_below_intermediate(kind, &params, &identity),
            Kind::SelfSigned => identity.write_self_signed(&params),
            Kind::Sha1 => self.issue_over_sha1(&params, &identity),
            Kind::Rsa2048 => {
                let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
                identity.write(&signed(&params, &key, &self.issuer), &key);
            }
            _ => {
                let key = KeyPair::generate().unwrap();
                identity.write(&signed(&params, &key, &self.issuer), &key);
            }
        }
        identity
    }

    /// A certificate for a TLS client: for a host, or for a person when `name` is a mail address.
    pub fn issue_client(&self, name: &str) -> Identity {
        let mut params = params_of(Kind::Good, &[]);
        let name_for_rcgen = name.try_into().unwrap();
        params.subject_alt_names = vec![if name.contains('@') {
            SanType::Rfc822Name(name_for_rcgen)
        } else {
            SanType::DnsName(name_for_rcgen)
        }];
        params.insert_extended_key_usage(ExtendedKeyUsagePurpose::ClientAuth);
        let (identity, key) = (self.identity(&format!("{name}-client")), KeyPair::generate().unwrap());
        identity.write(&signed(&params, &key, &self.issuer), &key);
        identity
    }

    fn identity(&self, name: &str) -> Identity {
        let path = |ending: &str| self.folder.join(format!("{name}.{ending}"));
        Identity { certificate: path("pem"), key: path("key") }
    }

    fn issue_below_intermediate(&self, kind: Kind, params: &CertificateParams, identity: &Identity) {
        let between = authority_params("Test intermediate authority");
        let between =
            CertifiedIssuer::signed_by(between, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut chain = signed(params, &key, &between);
        if kind == Kind::Chained {
            chain += &between.pem();
        }
        identity.write(&chain, &key);
    }

    fn issue_for_short_key(&self, params: &CertificateParams, identity: &Identity) {
        let key = text(&identity.key);
        let bits = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];
        succeed(program("openssl").arg("genpkey").args(bits).args(["-out", key]));
        keep_to_ourselves(&identity.key);
        let public = succeed(program("openssl").args(["pkey", "-in", key, "-pubout"]));
        let public = SubjectPublicKeyInfo::from_pem(&public).unwrap();
        fs::write(&identity.certificate, params.signed_by(&public, &self.issuer).unwrap().pem()).unwrap();
    }

    /// `openssl` signs again, with another key and digest, what is self-signed.
    fn issue_over_sha1(&self, params: &CertificateParams, identity: &Identity) {
        identity.write_self_signed(params);
        let (file, root_key) = (text(&identity.certificate), self.folder.join("root.key"));
        fs::write(&root_key, self.issuer.key().serialize_pem()).unwrap();
        keep_to_ourselves(&root_key);
        let mut command = program("openssl");
        command.args(["x509", "-sha1", "-preserve_dates", "-set_serial", "1", "-in", file, "-out", file]);
        succeed(command.args(["-CA", text(&self.root()), "-CAkey", text(&root_key)]));
    }
}

impl Identity {
    /// The certificate itself.
    pub fn leaf(&self) -> Certificate {
        self.chain().swap_remove(0)
    }

    /// The certificate and those that are sent with it.
    pub fn chain(&self) -> Vec<Certificate> {
        CertificateDer::pem_file_iter(&self.certificate)
            .unwrap()
            .map(|der| Certificate(der.unwrap()))
            .collect()
    }

    /// What a scripted peer needs to speak TLS with this identity. rustls has no use for a [`Kind::Rsa1024`].
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server_config_with(WebPkiClientVerifier::no_client_auth())
    }

    /// The same for a peer that goes on only with clients whose certificate this authority has signed.
    pub fn server_config_for_clients_of(&self, authority: &Authority) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().0).unwrap();
        self.server_config_with(WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap())
    }

    fn server_config_with(&self, clients: Arc<dyn ClientCertVerifier>) -> Arc<ServerConfig> {
        let chain = self.chain().into_iter().map(|certificate| certificate.0).collect();
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(clients);
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    fn write_self_signed(&self, params: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        self.write(&params.self_signed(&key).unwrap().pem(), &key);
    }

    fn write(&self, chain: &str, key: &KeyPair) {
        fs::write(&self.certificate, chain).unwrap();
        fs::write(&self.key, key.serialize_pem()).unwrap();
        keep_to_ourselves(&self.key);
    }
}

impl Certificate {
    /// The first one in a PEM file.
    #[track_caller]
    pub fn read(path: &Path) -> Certificate {
        Certificate::in_pem(&fs::read(path).unwrap())
    }

    /// The first one in PEM, whatever stands around it.
    #[track_caller]
    pub fn in_pem(pem: &[u8]) -> Certificate {
        let found = CertificateDer::from_pem_slice(pem);
        Certificate(found.unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(pem))))
    }

    pub fn der(&self) -> &[u8] {
        &self.0
    }

    /// The subject's public key with its algorithm, as DER: what TLSA's selector 1 means.
    pub fn spki(&self) -> Vec<u8> {
        ParsedCertificate::try_from(&self.0).unwrap().subject_public_key_info().to_vec()
    }

    /// SHA-256 of the certificate, in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(self.der())
    }

    /// SHA-256 of the subject's public key, in hexadecimal.
    pub fn spki_sha256(&self) -> String {
        sha256(&self.spki())
    }
}

/// What a scripted client needs to trust the certificates in `root`.
pub fn client_config(root: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params_of(Kind::Good, &[]);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn params_of(kind: Kind, names: &[&str]) -> CertificateParams {
    let alternative: Vec<String> = match kind {
        Kind::CommonNameOnly => Vec::new(),
        Kind::WrongName => vec!["wrong.invalid".to_owned()],
        Kind::Wildcard => names.iter().map(|name| wildcard(name)).collect(),
        _ => names.iter().map(ToString::to_string).collect(),
    };
    let mut params = CertificateParams::new(alternative).unwrap();
    params.distinguished_name = DistinguishedName::new();
    match kind {
        Kind::CommonNameOnly => params.distinguished_name.push(DnType::CommonName, names[0]),
        Kind::Expired => params.not_after = date_time_ymd(2020, 1, 31),
        Kind::NotYetValid => params.not_before = date_time_ymd(2090, 1, 31),
        _ => {}
    }
    params
}

fn wildcard(name: &str) -> String {
    let (_, parent) = name.split_once('.').unwrap_or_else(|| panic!("{name} has no parent for a wildcard"));
    format!("*.{parent}")
}

fn signed(params: &CertificateParams, key: &KeyPair, issuer: &Issuer<'_, impl SigningKey>) -> String {
    params.signed_by(key, issuer).unwrap().pem()
}

/// As programs want it of a key file.
pub fn keep_to_ourselves(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn sha256(octets: &[u8]) -> String {
    // The suite's only other way to a digest: that of a cipher suite.
    let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap();
    suite.common.hash_provider.hash(octets).as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::programs::{both, run};

    fn authority() -> (tempfile::TempDir, Authority) {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        (folder, authority)
    }

    /// What `openssl verify` thinks of it, at the security level of a careful client.
    fn verdict(authority: &Authority, identity: &Identity, purpose: &str) -> String {
        let mut command = program("openssl");
        command.args(["verify", "-auth_level", "2", "-verify_hostname", "mx.away.test", "-purpose", purpose]);
        command.args(["-CAfile", text(&authority.root()), "-untrusted", text(&identity.certificate)]);
        both(&run(command.arg(text(&identity.certificate))))
    }

    #[test]
    fn each_bad_certificate_is_bad_in_its_own_way() {
        let (_folder, authority) = authority();
        for kind in Kind::BAD {
            let expected = match kind {
                Kind::Expired => "certificate has expired",
                Kind::NotYetValid => "certificate is not yet valid",
                Kind::SelfSigned => "self-signed certificate",
                Kind::WrongName => "hostname mismatch",
                Kind::IncompleteChain => "unable to get local issuer certificate",
                Kind::Rsa1024 => "EE certificate key too weak",
                Kind::Sha1 => "CA signature digest algorithm too weak",
                // OpenSSL still takes the common name where there is no other.
                Kind::CommonNameOnly => "OK",
                good => panic!("{good:?} is not bad"),
            };
            let said = verdict(&authority, &authority.issue_as(kind, &["mx.away.test"]), "sslserver");
            let errors = said.matches("error ").count();
            assert!(said.contains(expected) && errors <= 2, "{kind:?}: {said}");
        }
    }

    #[test]
    fn a_certificate_with_a_common_name_only_has_no_alternative_name() {
        let (_folder, authority) = authority();
        let identity = authority.issue_as(Kind::CommonNameOnly, &["mx.away.test"]);
        let shown = text_of(&identity);
        assert!(shown.contains("Subject: CN = mx.away.test") && !shown.contains("DNS:"), "{shown}");
    }

    #[test]
    fn the_good_certificates_are_good() {
        let (_folder, authority) = authority();
        for kind in Kind::GOOD {
            let said = verdict(&authority, &authority.issue_as(kind, &["mx.away.test"]), "sslserver");
            assert!(said.contains("OK") && !said.contains("error"), "{kind:?}: {said}");
        }
    }

    #[test]
    fn a_client_certificate_names_a_host_or_a_person_and_is_for_clients_only() {
        let (_folder, authority) = authority();
        let host = authority.issue_client("mx.away.test");
        assert!(verdict(&authority, &host, "sslclient").contains("OK"));
        assert!(verdict(&authority, &host, "sslserver").contains("unsuitable certificate purpose"));
        let person = text_of(&authority.issue_client("anna@home.test"));
        assert!(person.contains("email:anna@home.test"), "{person}");
    }

    #[test]
    fn digests_are_those_that_openssl_computes() {
        let (folder, authority) = authority();
        let identity = authority.issue_as(Kind::Rsa2048, &["mx.away.test"]);
        let spki = folder.path().join("spki.der");
        fs::write(&spki, identity.leaf().spki()).unwrap();
        let mut command = program("openssl");
        command.args(["x509", "-pubkey", "-noout", "-in", text(&identity.certificate)]);
        let public = SubjectPublicKeyInfo::from_pem(&succeed(&mut command)).unwrap();
        assert_eq!(SubjectPublicKeyInfo::from_der(&identity.leaf().spki()).unwrap(), public);
        let digest = succeed(program("openssl").args(["dgst", "-sha256", "-r", text(&spki)]));
        assert_eq!(digest.split(' ').next(), Some(identity.leaf().spki_sha256().as_str()));
        let mut command = program("openssl");
        command.args(["x509", "-fingerprint", "-sha256", "-noout", "-in", text(&identity.certificate)]);
        let fingerprint = succeed(&mut command).replace(':', "").to_lowercase();
        assert!(fingerprint.contains(&identity.leaf().sha256()), "{fingerprint}");
    }

    fn text_of(identity: &Identity) -> String {
        succeed(program("openssl").args(["x509", "-noout", "-text", "-in", text(&identity.certificate)]))
    }
}
