//! The sending side of TLS: what is demanded of a peer's certificate, and what it turned out to be worth.
//!
//! A [`ClientTls`] holds the trusted roots, loaded once and shared. Each connection takes a [`Handshake`] from it for a
//! [`PeerPolicy`], with a verifier of its own that writes the verdict down. What the policy demands and the peer does not
//! prove fails the handshake, inside of it, so that not one octet of mail or credentials goes to such a peer; everything
//! else is recorded: which proofs were given, and why the others were not, for the log and for `queue why`.
//!
//! What it deliberately does not do: resume sessions. A resumed connection shows no certificate, so that its verdict would
//! be another connection's; connections are reused instead.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use postern_smtp::tls::{CertificateSeen, Level, PeerProof, TlsFacts, TlsFailure, TlsFault};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error as TlsError, NamedGroup, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::Certificate;
use crate::checks::{self, Check};
use crate::judge::{Shown, as_error, judge, shown_as, verified};
use crate::{
    ClientHello, Error, PeerPolicy, describe, describe_certificate, facts, failure, files, signature,
};

/// So many certificates of a chain are described. Real chains have two to four.
const LONGEST_CHAIN: usize = 16;

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
    full: Arc<ClientConfig>,
    small: Arc<ClientConfig>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// One connection's handshake: the settings to make it with, and what was found out in it.
#[derive(Debug)]
pub struct Handshake {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    findings: Arc<Findings>,
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
        let roots = Arc::new(anchors.load()?);
        let provider = crate::provider();
        let algorithms = provider.signature_verification_algorithms;
        let small = CryptoProvider { kx_groups: classic_groups(&provider), ..(*provider).clone() };
        Ok(Self { full: base(provider)?, small: base(Arc::new(small))?, roots, algorithms })
    }

    /// How many certificate authorities are trusted. None means that nothing can be verified.
    pub fn trusted_roots(&self) -> usize {
        self.roots.len()
    }

    /// Whether the trusted roots would vouch for a chain that is to be shown as this host's, its own certificate first.
    ///
    /// # Errors
    /// What would be found wrong with it. A chain without a certificate is wrong too.
    pub fn verify(&self, chain: &[CertificateDer<'_>], host: &str, now: Timestamp) -> Result<(), TlsFailure> {
        shown_as(host, chain, now, |shown| verified(&self.roots, shown))
    }

    /// The settings for one connection under this policy. Never use one for two connections.
    pub fn handshake(&self, policy: &PeerPolicy) -> Handshake {
        let findings = Arc::new(Findings::default());
        let base = match policy.hello {
            ClientHello::Full => &self.full,
            ClientHello::Small => &self.small,
        };
        let mut config = ClientConfig::clone(base);
        config.client_auth_cert_resolver = Arc::new(OwnCertificate {
            key: policy.identity.as_ref().map(|identity| identity.certified_key.clone()),
            findings: findings.clone(),
        });
        let verifier = Arc::new(Verifier {
            policy: policy.clone(),
            roots: self.roots.clone(),
            algorithms: self.algorithms,
            findings: findings.clone(),
        });
        config.dangerous().set_certificate_verifier(verifier.clone());
        Handshake { config: Arc::new(config), verifier, findings }
    }
}

impl Handshake {
    /// What the TLS library needs for this one connection.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// What is true of the connection that was made with [`Handshake::config`].
    pub fn facts(&self, connection: &ClientConnection) -> TlsFacts {
        let (server_name, proof) = match self.findings.seen.get() {
            Some(seen) => (asked(&seen.host), seen.proof.clone()),
            None => (None, PeerProof::anonymous()),
        };
        facts::facts(connection, server_name, proof)
    }

    /// Why the handshake failed: what kind of trouble, in words, and the certificate if one was shown. Takes what the
    /// TLS stream returned, also later on: a TLS 1.3 peer refuses our certificate only after the handshake.
    ///
    /// A handshake that came to no end in its time returns nothing; the caller knows that one.
    pub fn failure(&self, error: &io::Error) -> TlsFailure {
        let wanted = self.findings.certificate_wanted.load(Ordering::Relaxed);
        let Some(seen) = self.findings.seen.get() else {
            return failure::before_certificate(error);
        };
        let failure = match (&seen.refused, seen.chain.first()) {
            (Some(refused), _) => refused.clone(),
            (None, Some(leaf)) => failure::after_certificate(error, &Certificate::new(leaf), wanted),
            (None, None) => failure::before_certificate(error),
        };
        failure.about(seen.proof.certificate.clone())
    }

    /// The certificates that the peer showed, its own first, 16 at most; none when it came to no certificate.
    pub fn chain(&self) -> Vec<CertificateSeen> {
        let chain = self.findings.seen.get().map_or(&[][..], |seen| &seen.chain);
        chain.iter().take(LONGEST_CHAIN).map(|der| describe_certificate(der, chain.len())).collect()
    }

    /// Everything that the peer's certificate is checked for, each by itself, whatever is demanded; nothing when it came
    /// to no certificate. For those who want to know all that is wrong and not only what comes first.
    pub fn checks(&self) -> Vec<Check> {
        let Some(seen) = self.findings.seen.get() else { return Vec::new() };
        let Some((leaf, others)) = seen.chain.split_first() else { return Vec::new() };
        let Verifier { policy, roots, .. } = &*self.verifier;
        let (host, names) = (Some(&seen.host), policy.names.as_slice());
        checks::all(policy, roots, &Shown { leaf, others, host, names, now: seen.now })
    }
}

impl TrustAnchors {
    /// Reads the roots.
    ///
    /// # Errors
    /// Local: the PEM file is missing, unreadable or holds no certificate. That the system trusts nobody is no error.
    pub fn load(&self) -> Result<RootCertStore, Error> {
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

/// The settings that all connections share. What is particular to one is put in by [`ClientTls::handshake`]; until then
/// no certificate is good enough.
fn base(provider: Arc<CryptoProvider>) -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Crypto(error.to_string()))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// Key exchange as it was before post-quantum key shares of a kilobyte.
fn classic_groups(provider: &CryptoProvider) -> Vec<&'static dyn rustls::crypto::SupportedKxGroup> {
    let classic = [NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];
    provider.kx_groups.iter().copied().filter(|group| classic.contains(&group.name())).collect()
}

/// What is found out in one handshake.
#[derive(Debug, Default)]
struct Findings {
    seen: OnceLock<Seen>,
    /// The peer asked who we are.
    certificate_wanted: AtomicBool,
}

/// What was found out about a peer.
#[derive(Debug)]
struct Seen {
    /// The name that was connected to.
    host: ServerName<'static>,
    /// When.
    now: UnixTime,
    /// The peer's own comes first.
    chain: Vec<CertificateDer<'static>>,
    proof: PeerProof,
    /// Why the handshake was made to fail.
    refused: Option<TlsFailure>,
}

/// One connection's verifier.
#[derive(Debug)]
struct Verifier {
    policy: PeerPolicy,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    findings: Arc<Findings>,
}

impl Verifier {
    /// A key that is too short to prove anything cannot be checked by the library either. Where nothing is to be proved
    /// and nothing was, encryption with whoever is there still beats clear text (RFC 7435 §3).
    fn needs_no_signature(&self) -> bool {
        let nothing_demanded = self.policy.requirement.level() < Level::Authenticated;
        let weak = |seen: &Seen| {
            let is_weak = |failure: &TlsFailure| failure.fault == TlsFault::WeakKey;
            seen.proof.given.is_empty() && seen.proof.missing.iter().any(is_weak)
        };
        nothing_demanded && self.findings.seen.get().is_some_and(weak)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let judgement = judge(
            &self.policy,
            &self.roots,
            &Shown { leaf, others, host: Some(host), names: &self.policy.names, now },
        );
        let certificate = describe_certificate(leaf, others.len() + 1);
        let proof = PeerProof {
            certificate: Some(Box::new(certificate)),
            given: judgement.given,
            missing: judgement.missing(),
        };
        let refused = judgement.refusal(self.policy.requirement).cloned();
        let result = match &refused {
            Some(failure) => Err(as_error(failure)),
            None => Ok(ServerCertVerified::assertion()),
        };
        let chain = std::iter::once(leaf).chain(others).map(|der| der.clone().into_owned()).collect();
        // A second handshake on the same verifier would be a bug of ours; the first verdict stands then.
        let _ = self.findings.seen.set(Seen { host: host.to_owned(), now, chain, proof, refused });
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if self.needs_no_signature() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        signature::tls12(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if self.needs_no_signature() {
            return Ok(HandshakeSignatureValid::assertion());
        }
        signature::tls13(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is shown to a peer that asks who we are.
#[derive(Debug)]
struct OwnCertificate {
    key: Option<Arc<CertifiedKey>>,
    findings: Arc<Findings>,
}

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.findings.certificate_wanted.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        self.key.is_some()
    }
}

/// The SNI that went out: host names only (RFC 6066 §3).
fn asked(name: &ServerName<'_>) -> Option<String> {
    match name {
        ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
        _ => None,
    }
}
