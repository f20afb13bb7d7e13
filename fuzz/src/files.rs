//! Certificate files and signing requests that somebody sends by mail, or pastes into a form.

use std::sync::OnceLock;

use postern_pki::pkcs12::{self, Compatibility};
use postern_pki::{
    Bundle, Chain, KeyKind, Name, Passphrase, PrivateKey, RequestDetails, SigningRequest, Subject,
};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::CertificateDer;

/// So long a sentence still fits on a screen, in octets.
const LONGEST_SENTENCE: usize = 1_000;

/// A file with anything in it: there is an answer, its words are fit for a terminal, and what was found is found again when
/// it is written out.
pub fn certificate_files(data: &[u8]) {
    for passphrase in [None, Some(Passphrase::new("geheim".to_owned()))] {
        match Bundle::parse(data, "file", passphrase.as_ref()) {
            Ok(bundle) => whole(&bundle),
            Err(error) => fit_for_a_terminal(&error.to_string()),
        }
    }
}

/// A request, as DER: what is believed is understood in the same way again, and bears only names that deceive nobody.
pub fn signing_request(data: &[u8]) {
    let request = match SigningRequest::from_der(data) {
        Ok(request) => request,
        Err(error) => return fit_for_a_terminal(&error.to_string()),
    };
    let written = request.pem();
    let bundle = Bundle::parse(written.as_bytes(), "request", None).expect("what is written can be read");
    assert_eq!(bundle.requests, std::slice::from_ref(&request));
    for name in &request.names {
        let text = name.to_string();
        assert!(text.bytes().all(|octet| octet.is_ascii_graphic()), "{text:?}");
        assert_eq!(text.parse::<Name>().as_ref(), Ok(name));
    }
    fit_for_a_terminal(&request.subject.to_string());
}

/// Files to begin with, by name; the same for as long as the program runs.
///
/// # Panics
/// The cryptography library makes no keys.
pub fn file_seeds() -> &'static [(&'static str, Vec<u8>)] {
    static SEEDS: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).expect("a key");
        let certificate = certificate(&key);
        let chain = Chain::arrange(vec![certificate.clone()], &key.spki()).expect("a chain");
        let passphrase = Passphrase::new("geheim".to_owned());
        let archive =
            pkcs12::write(&key, &chain, &passphrase, "mail", Compatibility::Legacy).expect("a file");
        let pem = [key.to_pem().as_str(), &chain.to_pem(), &request(&key).pem()].concat();
        vec![
            ("pem", pem.into_bytes()),
            ("certificate", certificate.to_vec()),
            ("key", key.pkcs8().to_vec()),
            ("request", request(&key).der().to_vec()),
            ("pkcs12", archive.to_vec()),
        ]
    })
}

/// A request to begin with.
pub fn request_seeds() -> Vec<(&'static str, Vec<u8>)> {
    file_seeds().iter().filter(|(name, _)| *name == "request").cloned().collect()
}

fn whole(bundle: &Bundle) {
    assert!(!bundle.certificates.is_empty() || !bundle.keys.is_empty() || !bundle.requests.is_empty());
    for certificate in &bundle.certificates {
        let again = Bundle::parse(certificate, "certificate", None).expect("what was found is found again");
        assert_eq!(again.certificates, std::slice::from_ref(certificate));
    }
    for key in &bundle.keys {
        let again = Bundle::parse(key.pkcs8(), "key", None).expect("what was found is found again");
        assert!(again.keys.iter().all(|other| other.spki() == key.spki()) && again.keys.len() == 1);
        if let Ok(chain) = Chain::arrange(bundle.certificates.clone(), &key.spki()) {
            assert!(key.fits(chain.leaf()));
            assert!(chain.certificates().len() + chain.left_over().len() <= bundle.certificates.len());
        }
    }
}

fn fit_for_a_terminal(sentence: &str) {
    assert!(!sentence.contains(char::is_control), "{sentence:?}");
    assert!(sentence.len() <= LONGEST_SENTENCE, "{sentence}");
}

fn request(key: &PrivateKey) -> SigningRequest {
    let names = ["mail.example.org", "*.example.org", "192.0.2.1"];
    let names = names.iter().map(|name| name.parse().expect("a good name")).collect();
    let details = RequestDetails { subject: Subject::named("mail.example.org"), names };
    SigningRequest::make(&details, key).expect("a request")
}

fn certificate(key: &PrivateKey) -> CertificateDer<'static> {
    let pair = KeyPair::try_from(&key.to_der()).expect("the same key");
    let params = CertificateParams::new(["mail.example.org".to_owned()]).expect("a good name");
    params.self_signed(&pair).expect("a certificate").der().clone()
}
