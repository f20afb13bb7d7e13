//! The sending side of TLS: what is demanded of a peer's certificate, and what it turned out to be worth.
//!
//! A [`ClientTls`] holds the trusted roots, loaded once and shared. Each connection takes a [`Handshake`] from it,
//! with a verifier of its own that writes the verdict down. Where the requirement is `verified` a bad certificate
//! fails the handshake; otherwise any certificate will do whose owner proves to have its key, and the reason why it
//! would not have been trusted is kept for the log and for `queue why`.
//!
//! What it deliberately does not do: resume sessions. A resumed connection shows no certificate, so that its
//! verdict would be another connection's; connections are reused instead.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use postern_smtp::tls::{PeerProof, Proof, TlsFacts};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{Error, PeerPolicy, describe, facts, files};

/// Which certificate authorities are trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TrustAnchors {
    /// Those that the operating system trusts.
    #[default]
    System,
    /// Only those in this PEM file.
    File(PathBuf),
}

/// The sending side of TLS with its trusted roots. Make one and keep it; it is cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTls {
    base: ClientConfig,
    trust: Trust,
    roots: usize,
}

/// One connection's handshake: the settings to make it with, and what was found out in it.
#[derive(Debug)]
pub struct Handshake {
    config: Arc<ClientConfig>,
    seen: Arc<OnceLock<Seen>>,
}

/// The name that a peer must prove, from a host name or an IP address.
///
/// # Errors
/// [`Error::BadName`] when it is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_owned()).map_err(|_| Error::BadName { name: host.to_owned() })
}

impl ClientTls {
    /// Loads the trusted roots.
    ///
    /// A machine without any (no `ca-certificates` package) is no error: opportunistic TLS works there, and
    /// verification fails with words that say what is missing. See [`ClientTls::trusted_roots`].
    ///
    /// # Errors
    /// Local: the PEM file is missing, unreadable or holds no certificate.
    pub fn new(anchors: &TrustAnchors) -> Result<Self, Error> {
        let provider = crate::provider();
        let store = anchors.load()?;
        let roots = store.len();
        let trust = Trust::new(store, &provider)?;
        let mut base = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Crypto(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier::new(&trust, OnFailure::Refuse)))
            .with_no_client_auth();
        base.resumption = Resumption::disabled();
        Ok(Self { base, trust, roots })
    }

    /// How many certificate authorities are trusted. None means that nothing can be verified.
    pub fn trusted_roots(&self) -> usize {
        self.roots
    }

    /// The settings for one connection under this policy. Never use one for two connections.
    pub fn handshake(&self, policy: &PeerPolicy) -> Handshake {
        let refuses = policy.requirement.proofs().contains(Proof::Verified);
        let on_failure = if refuses { OnFailure::Refuse } else { OnFailure::Record };
        let verifier = Verifier::new(&self.trust, on_failure);
        let seen = verifier.seen.clone();
        let mut config = self.base.clone();
        config.dangerous().set_certificate_verifier(Arc::new(verifier));
        Handshake { config: Arc::new(config), seen }
    }
}

impl Handshake {
    /// What the TLS library needs for this one connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// What is true of the connection that was made with [`Handshake::config`].
    pub fn facts(&self, connection: &ClientConnection) -> TlsFacts {
        let (server_name, proof) = match self.seen.get() {
            Some(seen) => (seen.server_name.clone(), seen.proof.clone()),
            None => (None, PeerProof::anonymous()),
        };
        facts::facts(connection, server_name, proof)
    }
}

impl TrustAnchors {
    fn load(&self) -> Result<RootCertStore, Error> {
        let mut store = RootCertStore::empty();
        match self {
            // Single files that cannot be read are skipped, as every program does with the system's store.
            Self::System => {
                store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            Self::File(path) => {
                for certificate in files::read_certificates(path)? {
                    store
                        .add(certificate)
                        .map_err(|error| Error::Broken { path: path.clone(), reason: describe(&error) })?;
                }
            }
        }
        Ok(store)
    }
}

/// How certificates are judged; shared by all connections.
#[derive(Debug, Clone)]
struct Trust {
    /// `None` where no root is trusted at all.
    judge: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trust {
    fn new(store: RootCertStore, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let algorithms = provider.signature_verification_algorithms;
        if store.is_empty() {
            return Ok(Self { judge: None, algorithms });
        }
        let judge = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .build()
            .map_err(|error| Error::Crypto(error.to_string()))?;
        Ok(Self { judge: Some(judge), algorithms })
    }
}

/// What a certificate that does not verify leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    /// The handshake fails with the real reason.
    Refuse,
    /// The handshake goes on; the reason is kept.
    Record,
}

/// What was found out about a peer.
#[derive(Debug)]
struct Seen {
    server_name: Option<String>,
    proof: PeerProof,
}

/// One connection's verifier.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    on_failure: OnFailure,
    seen: Arc<OnceLock<Seen>>,
}

impl Verifier {
    fn new(trust: &Trust, on_failure: OnFailure) -> Self {
        Self { trust: trust.clone(), on_failure, seen: Arc::default() }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let judged = match &self.trust.judge {
            Some(judge) => {
                judge.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(TlsError::General(NO_ROOTS.to_owned())),
        };
        let proof = match &judged {
            Ok(_) => PeerProof::verified(),
            Err(error) => PeerProof::unverified(describe(error)),
        };
        // A second handshake on the same verifier would be a bug of ours; the first verdict stands then.
        let _ = self.seen.set(Seen { server_name: asked(server_name), proof });
        match self.on_failure {
            OnFailure::Refuse => judged,
            OnFailure::Record => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signature, &self.trust.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

const NO_ROOTS: &str = "this machine trusts no certificate authority at all; install the ca-certificates package or name a file of roots";

/// The SNI that went out: host names only (RFC 6066 §3).
fn asked(name: &ServerName<'_>) -> Option<String> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}
