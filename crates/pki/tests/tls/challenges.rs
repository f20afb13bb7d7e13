//! TLS-ALPN-01 (RFC 8737): what a validating authority is shown, and that nobody else is.

use std::sync::Arc;

use postern_pki::{ACME_TLS, Challenges};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::Acceptor;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ClientConnection};

use super::handshakes::{AnyCertificate, VERSIONS, connect};

const NAME: &str = "mail.example.org";

/// A challenge certificate, as RFC 8737 §3 wants it.
fn challenge() -> CertifiedKey {
    let mut params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    CertifiedKey::new(vec![certificate], postern_pki::provider().key_provider.load_private_key(der).unwrap())
}

/// A client that says it speaks these protocols.
fn client(spoken: &[&[u8]]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(postern_pki::provider())
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    config.alpn_protocols = spoken.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// Whether a listener would take this client for an authority that validates.
fn concerns(spoken: &[&[u8]]) -> bool {
    let name = NAME.try_into().unwrap();
    let mut client = ClientConnection::new(client(spoken), name).unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut wire.as_slice()).unwrap();
    let accepted = acceptor.accept().ok().flatten().expect("the whole hello came at once");
    Challenges::concern(&accepted.client_hello())
}

#[test]
fn an_authority_that_validates_is_shown_the_challenge_and_the_protocol_is_settled() {
    let (challenges, shown) = (Challenges::default(), challenge());
    assert!(!challenges.are_open());
    challenges.set("Mail.Example.org.", shown.clone());
    assert!(challenges.clone().are_open());
    let server = challenges.config().unwrap();
    let (authority, listener) = connect(client(&[ACME_TLS]), NAME, &server).unwrap();
    assert_eq!(authority.alpn_protocol(), Some(ACME_TLS));
    assert_eq!(listener.alpn_protocol(), Some(ACME_TLS));
    assert_eq!(authority.peer_certificates().unwrap(), shown.cert);
}

#[test]
fn the_challenge_is_shown_for_its_name_alone_and_only_while_it_is_open() {
    let challenges = Challenges::default();
    challenges.set(NAME, challenge());
    let server = challenges.config().unwrap();
    assert!(connect(client(&[ACME_TLS]), "other.example.org", &server).is_err());
    challenges.clear(NAME);
    assert!(!challenges.are_open());
    assert!(connect(client(&[ACME_TLS]), NAME, &server).is_err());
}

#[test]
fn who_speaks_anything_else_is_no_authority_and_is_shown_no_challenge() {
    assert!(concerns(&[ACME_TLS]));
    let challenges = Challenges::default();
    challenges.set(NAME, challenge());
    let server = challenges.config().unwrap();
    let others: [&[&[u8]]; 4] = [&[], &[b"smtp"], &[ACME_TLS, b"smtp"], &[b"smtp", ACME_TLS]];
    for spoken in others {
        assert!(!concerns(spoken), "{spoken:?}");
        assert!(connect(client(spoken), NAME, &server).is_err(), "{spoken:?}");
    }
}
