//! Which certificate a listener has shown on one connection, and what the channel is called by it.
//!
//! The TLS library does not say afterwards which certificate a server chose, and the choice depends on what the client can
//! verify. So [`noted`] makes a configuration for a single connection that does as the listener's does and takes note;
//! [`Shown`] is the note. A session that is resumed shows no certificate again, but its ticket was made under the same
//! configuration and for the same name, so the choice is the same.
//!
//! What it deliberately does not do: choose.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Algorithm, SHA224, SHA256, SHA384, SHA512, digest};
use postern_smtp::sasl::Binding;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::ServerName;
use x509_parser::signature_algorithm::SignatureAlgorithm;
use x509_parser::x509::AlgorithmIdentifier;

use crate::certificate::Certificate;

/// What was shown on one connection. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Mutex<Option<Arc<CertifiedKey>>>>);

/// The configuration for one connection, and what will be known of it.
pub fn noted(config: &Arc<ServerConfig>) -> (Arc<ServerConfig>, Shown) {
    let shown = Shown::default();
    let mut noting = ServerConfig::clone(config);
    let chooser = Arc::clone(&config.cert_resolver);
    noting.cert_resolver = Arc::new(Noting { chooser, shown: shown.clone() });
    (Arc::new(noting), shown)
}

impl Shown {
    /// `tls-server-end-point` (RFC 5929 §4.1). `None` before the handshake, and for a certificate that is signed in a way for
    /// which the RFC has no name (Ed25519, and whatever comes later).
    pub fn end_point(&self) -> Option<Binding> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        end_point(shown.as_ref()?.cert.first()?)
    }
}

impl Shown {
    /// Whether the certificate bears this name as clients judge it (RFC 6125 §6.4): the names of hosts in it, wildcards
    /// included, and never the common name. `None` before the handshake, and for what is no name of a host.
    pub fn bears(&self, name: &str) -> Option<bool> {
        let name = ServerName::try_from(name).ok()?;
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = ParsedCertificate::try_from(shown.as_ref()?.cert.first()?).ok()?;
        Some(verify_server_name(&certificate, &name).is_ok())
    }
}

/// Chooses as the listener does, and takes note.
#[derive(Debug)]
struct Noting {
    chooser: Arc<dyn ResolvesServerCert>,
    shown: Shown,
}

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let chosen = self.chooser.resolve(hello);
        self.shown.0.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&chosen);
        chosen
    }

    fn only_raw_public_keys(&self) -> bool {
        self.chooser.only_raw_public_keys()
    }
}

fn end_point(der: &[u8]) -> Option<Binding> {
    let certificate = Certificate::new(der);
    let algorithm = hash_of(&certificate.parsed()?.signature_algorithm)?;
    Some(Binding::tls_server_end_point(digest(algorithm, der).as_ref()))
}

/// The hash that a certificate is signed with, but SHA-256 for those that are broken (RFC 5929 §4.1).
fn hash_of(algorithm: &AlgorithmIdentifier<'_>) -> Option<&'static Algorithm> {
    if let Ok(SignatureAlgorithm::RSASSA_PSS(params)) = SignatureAlgorithm::try_from(algorithm) {
        return match params.hash_algorithm_oid().to_id_string().as_str() {
            "1.3.14.3.2.26" | "2.16.840.1.101.3.4.2.1" => Some(&SHA256),
            "2.16.840.1.101.3.4.2.4" => Some(&SHA224),
            "2.16.840.1.101.3.4.2.2" => Some(&SHA384),
            "2.16.840.1.101.3.4.2.3" => Some(&SHA512),
            _ => None,
        };
    }
    match algorithm.algorithm.to_id_string().as_str() {
        // MD5 and SHA-1, then SHA-256; with RSA (RFC 8017 Appendix C) and with ECDSA (RFC 5758 §3.2).
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.10045.4.1"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.3.2" => Some(&SHA256),
        "1.2.840.113549.1.1.14" | "1.2.840.10045.4.3.1" => Some(&SHA224),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(&SHA384),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(&SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let params = rcgen::CertificateParams::new(vec!["mail.example.org".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_certificate_is_hashed_as_it_is_signed() {
        let cases = [(&rcgen::PKCS_ECDSA_P256_SHA256, &SHA256), (&rcgen::PKCS_ECDSA_P384_SHA384, &SHA384)];
        for (signed, hashed) in cases {
            let der = certificate(signed);
            let expected = Binding::tls_server_end_point(digest(hashed, &der).as_ref());
            assert_eq!(end_point(&der), Some(expected));
        }
    }

    #[test]
    fn what_has_no_hash_of_its_own_names_nothing() {
        assert_eq!(end_point(&certificate(&rcgen::PKCS_ED25519)), None);
        assert_eq!(end_point(b"no certificate"), None);
        assert_eq!(Shown::default().end_point(), None);
    }

    #[test]
    fn a_certificate_bears_the_names_in_it_and_no_others() {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["mail.example.org", "*.example.net", "192.0.2.1"].map(str::to_owned);
        let certified = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let signing = aws_lc_rs_signing_key(&key);
        let shown =
            Shown(Arc::new(Mutex::new(Some(Arc::new(CertifiedKey::new(vec![certified.into()], signing))))));
        for (name, borne) in [
            ("mail.example.org", Some(true)),
            ("MAIL.example.org", Some(true)),
            ("smtp.example.net", Some(true)),
            ("example.net", Some(false)),
            ("smtp.example.org", Some(false)),
            ("192.0.2.1", Some(true)),
            ("not a name", None),
        ] {
            assert_eq!(shown.bears(name), borne, "{name}");
        }
        assert_eq!(Shown::default().bears("mail.example.org"), None);
    }

    fn aws_lc_rs_signing_key(key: &rcgen::KeyPair) -> Arc<dyn rustls::sign::SigningKey> {
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&der.into()).unwrap()
    }
}
