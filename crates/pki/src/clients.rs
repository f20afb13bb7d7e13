//! Client certificates: whether a listener asks for them, and what they are worth.
//!
//! - [`ClientCertificates`]: what a listener does about them. Only what chains to the administrator's own [`ClientCa`]
//!   counts: a certificate from a public authority says nothing about who may relay.
//! - [`ClientIdentity`]: who a verified client is, for permission to relay and for AUTH EXTERNAL.
//!
//! Mail servers show all sorts of certificates to whoever asks, so where a certificate is merely asked for, a bad one
//! never ends the session: the client is then a stranger like any other, and the reason is kept.
//!
//! Revocation lists (CRLs) of those authorities may be given. A certificate that is on one is a bad one. A list that is
//! out of date stays in force: what was revoked stays revoked, and what was revoked since is not known, which
//! [`ClientList::is_overdue`] tells, for an alarm. Refusing everybody until the next list comes would make an authority
//! that sleeps an outage of the mail. Certificates of an authority without a list are not looked up.
//!
//! What it deliberately does not do: resume sessions (listeners that ask give no tickets, so that every connection is
//! judged on its own), look at the certificates' names, or decide who may do what.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_smtp::tls::{PeerProof, Proof, TlsFacts, TlsFailure, TlsFault};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, ServerConnection,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificate::{self, Certificate};
use crate::identity::{sha256, timestamp};
use crate::judge::{NO_ROOTS, Shown, fault, long_enough};
use crate::{Error, describe, describe_certificate, files, signature};

/// So many addresses and host names of a client's certificate count.
const MOST_NAMES: usize = 64;

/// What a listener does about its clients' certificates.
#[derive(Debug, Clone, Default)]
pub enum ClientCertificates {
    /// They are not asked for.
    #[default]
    Ignored,
    /// They are asked for. A client without one, or with a bad one, is a stranger.
    Asked(ClientCa),
    /// Without a verified one the handshake fails.
    Required(ClientCa),
}

/// The authorities whose certificates prove who a client is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientCa {
    verifier: Arc<dyn ClientCertVerifier>,
    lists: Arc<[ClientList]>,
}

/// A revocation list that client certificates are looked up in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientList {
    /// Its file.
    pub path: PathBuf,
    /// Whose it is, for people.
    pub issuer: String,
    /// When the next one should be there; some authorities do not say.
    pub next_update: Option<Timestamp>,
}

/// Who a client is, by a certificate that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The mail addresses that it bears (rfc822Name), as written.
    pub emails: Vec<String>,
    /// The host names that it bears, in lower case; a `*` in one is only a character here.
    pub dns_names: Vec<String>,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// SHA-256 of its public key (SubjectPublicKeyInfo).
    pub spki_sha256: [u8; 32],
}

impl ClientCa {
    /// Reads the authorities' certificates from a PEM file.
    ///
    /// # Errors
    /// Local: the file is missing, unreadable, or holds something that is no authority's certificate.
    pub fn load(path: &Path) -> Result<Self, Error> {
        Self::load_with_lists(path, &[])
    }

    /// Reads the authorities' certificates from a PEM file, and their revocation lists from files in PEM or DER.
    ///
    /// # Errors
    /// Local: a file is missing or unreadable, or holds something that is no authority's certificate or no revocation
    /// list, or a list that names one of the authorities was not signed by it.
    pub fn load_with_lists(path: &Path, lists: &[PathBuf]) -> Result<Self, Error> {
        let mut read = Vec::new();
        for file in lists {
            read.extend(files::read_lists(file)?.into_iter().map(|list| (file.as_path(), list)));
        }
        Self::make(path, read)
    }

    /// Reads the authorities' certificates from a PEM file, with a revocation list in DER that is at hand. `source` is what
    /// troubles with the list are blamed on.
    ///
    /// # Errors
    /// As [`load_with_lists`](Self::load_with_lists).
    pub fn load_with_list(path: &Path, list: &[u8], source: &Path) -> Result<Self, Error> {
        Self::make(path, vec![(source, CertificateRevocationListDer::from(list.to_vec()))])
    }

    fn make(path: &Path, lists: Vec<(&Path, CertificateRevocationListDer<'static>)>) -> Result<Self, Error> {
        let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
        let (mut roots, authorities) = (RootCertStore::empty(), files::read_certificates(path)?);
        for certificate in &authorities {
            roots.add(certificate.clone()).map_err(|error| broken(describe(&error)))?;
        }
        let (mut read, mut known) = (Vec::new(), Vec::new());
        for (source, list) in lists {
            known.push(ClientList::look_at(source, &list, &authorities)?);
            read.push(list);
        }
        let verifier = verifier(roots, read).map_err(|error| broken(error.to_string()))?;
        Ok(Self { verifier, lists: known.into() })
    }

    /// The revocation lists that count.
    pub fn lists(&self) -> &[ClientList] {
        &self.lists
    }
}

impl ClientList {
    /// Whether the next list should have been there.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.next_update.is_some_and(|next| next < now)
    }

    /// A list that names one of the authorities must be its own. The issuers of others, such as intermediates, are seen
    /// only when a client shows them; the signature is checked then.
    fn look_at(
        path: &Path,
        der: &CertificateRevocationListDer<'_>,
        authorities: &[CertificateDer<'_>],
    ) -> Result<Self, Error> {
        let broken = |reason: &str| Error::Broken { path: path.to_owned(), reason: reason.to_owned() };
        let (_, list) = CertificateRevocationList::from_der(der)
            .map_err(|_| broken("it is no revocation list (CRL), or it is damaged"))?;
        let authorities = authorities.iter().map(|authority| Certificate::new(authority));
        let mut named = authorities
            .filter(|authority| authority.subject_der() == Some(list.issuer().as_raw()))
            .filter_map(|authority| signature::is_made_by(der, &authority.spki()?))
            .peekable();
        if named.peek().is_some() && !named.any(|is_made| is_made) {
            return Err(broken("this revocation list was not signed by the authority that it names"));
        }
        let issuer = certificate::words(list.issuer());
        let next_update = list.next_update().map(|time| timestamp(time.timestamp()));
        Ok(Self { path: path.to_owned(), issuer, next_update })
    }
}

/// Whether the chain that a client would show leads to one of these roots, and may be used for a client.
pub(crate) fn lead_to(roots: &RootCertStore, shown: &Shown<'_>) -> Result<(), TlsFailure> {
    let unusable = |_| TlsFailure::new(TlsFault::OurTrust, NO_ROOTS);
    let verifier = verifier(roots.clone(), Vec::new()).map_err(unusable)?;
    verify(&verifier, shown.leaf, shown.others, shown.now)
}

/// Only the client's own certificate is looked up in the lists, and what no list is about is not doubted.
fn verifier(
    roots: RootCertStore,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crate::provider())
        .with_crls(lists)
        .only_check_end_entity_revocation()
        .allow_unknown_revocation_status()
        .build()
}

impl ClientCertificates {
    /// Whether clients are asked at all.
    pub fn are_wanted(&self) -> bool {
        !matches!(self, Self::Ignored)
    }

    /// What the TLS library asks and accepts.
    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        match self {
            Self::Ignored => WebPkiClientVerifier::no_client_auth(),
            Self::Asked(ca) => Arc::new(AnyClient(ca.verifier.clone())),
            Self::Required(ca) => Arc::new(VerifiedClient(ca.verifier.clone())),
        }
    }

    /// What the certificate of an established connection proves at this time.
    pub(crate) fn judge(&self, connection: &ServerConnection, now: Timestamp) -> PeerProof {
        let (Self::Asked(ca) | Self::Required(ca)) = self else { return PeerProof::anonymous() };
        let Some([leaf, others @ ..]) = connection.peer_certificates() else {
            return PeerProof::anonymous();
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let mut proof = PeerProof {
            certificate: Some(Box::new(describe_certificate(leaf, others.len() + 1))),
            ..PeerProof::default()
        };
        match verify(&ca.verifier, leaf, others, now) {
            Ok(()) => proof.given = Proof::Verified.into(),
            Err(failure) => proof.missing.push(failure),
        }
        proof
    }
}

/// Who the client of an established connection is, given the facts that [`facts_of_server`](crate::facts_of_server) found:
/// nobody, unless its certificate was verified.
pub fn client_identity(connection: &ServerConnection, facts: &TlsFacts) -> Option<ClientIdentity> {
    if !facts.peer.given.contains(Proof::Verified) {
        return None;
    }
    let certificate = Certificate::new(connection.peer_certificates()?.first()?);
    let (mut emails, mut dns_names) = certificate.people_and_hosts();
    emails.truncate(MOST_NAMES);
    dns_names.truncate(MOST_NAMES);
    let (sha256, spki_sha256) = (sha256(certificate.der()), sha256(&certificate.spki()?));
    Some(ClientIdentity { emails, dns_names, sha256, spki_sha256 })
}

/// RFC 5280 §6, with the purpose clientAuth.
fn verify(
    judge: &Arc<dyn ClientCertVerifier>,
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), TlsFailure> {
    let shown = Shown::by_client(leaf, others, now);
    long_enough(&shown)?;
    if !has_checkable_key(leaf) {
        return Err(TlsFailure::new(
            TlsFault::BadCertificate,
            "the certificate is of a form that cannot be verified",
        ));
    }
    match judge.verify_client_cert(leaf, others, now) {
        Ok(_) => Ok(()),
        Err(error) => Err(fault(&error, &shown)),
    }
}

/// Whether the client's signature with this certificate's key was checked in the handshake. Where it was not, the
/// certificate proves nothing, whoever signed it.
fn has_checkable_key(leaf: &CertificateDer<'_>) -> bool {
    signature::is_modern(leaf) && Certificate::new(leaf).weak_key().is_none()
}

/// Lets every client pass; see [`ClientCertificates::judge`] for what its certificate is worth.
#[derive(Debug)]
struct AnyClient(Arc<dyn ClientCertVerifier>);

/// Lets those pass whose certificate is verified.
#[derive(Debug)]
struct VerifiedClient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for AnyClient {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if !has_checkable_key(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        if !has_checkable_key(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ClientCertVerifier for VerifiedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        match verify(&self.0, leaf, others, now) {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(failure) => Err(crate::judge::as_error(&failure)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
