//! Signatures: whether a peer has the key of the certificate it shows, and whether a certificate is signed by itself.
//!
//! The TLS library takes the key only from certificates that it could verify. Mail hosts show older ones too (X.509
//! version 1, an extension nobody knows), and where nothing about the certificate is demanded, or DANE vouches for it as
//! it stands (RFC 7672 §3.1.1), its key is good enough. So the key of such a certificate is taken out and used alone.
//!
//! What this deliberately does not do: accept a signature that the library would refuse for its algorithm.

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error as TlsError, PeerMisbehaved};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer};
use x509_parser::asn1_rs::{Any, FromDer};

use crate::certificate::Certificate;

/// Whether a TLS 1.2 peer has the key of this certificate.
pub(crate) fn tls12(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, TlsError> {
    if is_modern(certificate) {
        return verify_tls12_signature(message, certificate, signature, algorithms);
    }
    let spki = key_of(certificate)?;
    let candidates = algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
    let (_, candidates) = candidates.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
    match verifies(candidates, None, &spki, message, signature.signature()) {
        Some(true) => Ok(HandshakeSignatureValid::assertion()),
        _ => Err(CertificateError::BadSignature.into()),
    }
}

/// Whether a TLS 1.3 peer has the key of this certificate.
pub(crate) fn tls13(
    message: &[u8],
    certificate: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, TlsError> {
    if is_modern(certificate) {
        return verify_tls13_signature(message, certificate, signature, algorithms);
    }
    let spki = SubjectPublicKeyInfoDer::from(key_of(certificate)?);
    verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
}

/// Whether the certificate is signed by its own key; `None` when its algorithm is not among those that are checked here.
pub(crate) fn is_self_made(der: &[u8]) -> Option<bool> {
    is_made_by(der, &Certificate::new(der).spki()?)
}

/// Whether a certificate or revocation list, which are signed alike (RFC 5280 §4.1.1, §5.1.1), is signed by this key
/// (SubjectPublicKeyInfo); `None` when its algorithm is not among those that are checked here.
pub(crate) fn is_made_by(der: &[u8], spki: &[u8]) -> Option<bool> {
    let (_, whole) = Any::from_der(der).ok()?;
    let (rest, _) = Any::from_der(whole.data).ok()?;
    let signed = whole.data.get(..whole.data.len() - rest.len())?;
    let (rest, algorithm) = Any::from_der(rest).ok()?;
    let (_, signature) = Any::from_der(rest).ok()?;
    let all = crate::provider().signature_verification_algorithms.all;
    verifies(all, Some(algorithm.data), spki, signed, bits(signature.data)?)
}

/// Whether the library can verify certificates of this form at all.
pub(crate) fn is_modern(certificate: &CertificateDer<'_>) -> bool {
    ParsedCertificate::try_from(certificate).is_ok()
}

fn key_of(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, TlsError> {
    let spki = Certificate::new(certificate).spki().ok_or(CertificateError::BadEncoding)?;
    Ok(spki.into_owned())
}

/// Whether the signature is good by the first algorithm that fits the key and, if one is named, the signature's own.
fn verifies(
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    named: Option<&[u8]>,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<bool> {
    let (_, spki) = Any::from_der(spki).ok()?;
    let (rest, kind) = Any::from_der(spki.data).ok()?;
    let (_, key) = Any::from_der(rest).ok()?;
    let key = bits(key.data)?;
    let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
        algorithm.public_key_alg_id().as_ref() == kind.data
            && named.is_none_or(|named| algorithm.signature_alg_id().as_ref() == named)
    };
    let algorithm = algorithms.iter().find(fits)?;
    Some(algorithm.verify_signature(key, message, signature).is_ok())
}

/// The octets of a bit string that ends at an octet's end.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, bits)| bits)
}
