//! Authorities, hosts with chains of every kind, and handshakes with them in memory.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_pki::{ClientTls, Handshake, TrustAnchors, server_name};
use postern_smtp::tls::{TlsFacts, TlsFailure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, PublicKeyData,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub(crate) const HOST: &str = "mx.example.org";

/// An authority: its certificate, and what it signs with.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

/// What a host shows.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: Arc<KeyPair>,
}

/// How long a certificate is good for, in days from now.
pub(crate) const GOOD: (i64, i64) = (-1, 90);
pub(crate) const OVER: (i64, i64) = (-90, -2);
pub(crate) const NOT_BEGUN: (i64, i64) = (2, 90);

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_for(name, GOOD)
    }

    pub(crate) fn root_for(name: &str, days: (i64, i64)) -> Self {
        let (params, key) = (authority(name, days), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        let (params, key) = (authority(name, GOOD), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// A host's certificate by this authority, shown alone.
    pub(crate) fn host(&self, names: &[&str]) -> Host {
        self.host_for(names, GOOD)
    }

    pub(crate) fn host_for(&self, names: &[&str], days: (i64, i64)) -> Host {
        self.sign(&leaf(names, days))
    }

    pub(crate) fn sign(&self, params: &CertificateParams) -> Host {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Host { chain: vec![certificate.der().clone()], key: Arc::new(key) }
    }

    pub(crate) fn key(&self) -> Vec<u8> {
        self.issuer.key().subject_public_key_info()
    }

    /// A client that trusts this authority alone.
    pub(crate) fn trusted(&self) -> ClientTls {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.pem");
        std::fs::write(&path, pem(&self.certificate)).unwrap();
        ClientTls::new(&TrustAnchors::File(path)).unwrap()
    }
}

impl Host {
    pub(crate) fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { chain: vec![params.self_signed(&key).unwrap().der().clone()], key: Arc::new(key) }
    }

    /// The same host, showing these too.
    pub(crate) fn with(mut self, others: &[&Authority]) -> Self {
        self.chain.extend(others.iter().map(|other| other.certificate.clone()));
        self
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }

    pub(crate) fn config(&self) -> ServerConfig {
        let provider = postern_pki::provider();
        let der = PrivateKeyDer::try_from(self.key.serialized_der().to_vec()).unwrap();
        let key = provider.key_provider.load_private_key(der).unwrap();
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(self.chain.clone(), key)))))
    }
}

/// Shows a chain as it is; the library would not show what it finds odd.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

fn authority(name: &str, days: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    set_life(&mut params, days);
    params
}

pub(crate) fn leaf(names: &[&str], days: (i64, i64)) -> CertificateParams {
    let mut params = CertificateParams::new(super::names(names)).unwrap();
    params.distinguished_name = common_name("a mail host");
    set_life(&mut params, days);
    params
}

pub(crate) fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn set_life(params: &mut CertificateParams, (begin, end): (i64, i64)) {
    let since_1970 = |days| {
        let time: Timestamp = Timestamp::now() + SignedDuration::from_hours(24 * days);
        Duration::from_secs(u64::try_from(time.as_second()).unwrap())
    };
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(begin);
    params.not_after = epoch + since_1970(end);
}

fn pem(der: &CertificateDer<'_>) -> String {
    super::identities::pem("CERTIFICATE", der)
}

/// Does a handshake with what the server shows.
pub(crate) fn meet(handshake: &Handshake, server: &ServerConfig) -> Result<TlsFacts, TlsFailure> {
    meet_as(HOST, handshake, server).map(|(facts, _)| facts)
}

pub(crate) fn meet_as(
    name: &str,
    handshake: &Handshake,
    server: &ServerConfig,
) -> Result<(TlsFacts, ServerConnection), TlsFailure> {
    let mut client = ClientConnection::new(handshake.config(), server_name(name).unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server.clone())).unwrap();
    let failed = |error| handshake.failure(&io::Error::new(io::ErrorKind::InvalidData, error));
    for _ in 0..4 {
        carry(&mut client, &mut server);
        let verdict = server.process_new_packets();
        carry(&mut server, &mut client);
        client.process_new_packets().map_err(failed)?;
        verdict.map_err(failed)?;
    }
    Ok((handshake.facts(&client), server))
}

pub(crate) fn carry<A, B>(from: &mut rustls::ConnectionCommon<A>, to: &mut rustls::ConnectionCommon<B>) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
    }
}
