use std::sync::Arc;

use postern_pki::{
    ClientCertificates, ClientTls, Error, MinimumVersion, PeerPolicy, ServerOptions, Tickets, TlsIdentity,
    TrustAnchors, describe, facts_of_server, noted, server_config, server_name,
};
use postern_smtp::tls::{PeerProof, Proof, TlsFacts, TlsRequirement};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

use super::*;

pub(crate) const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

/// Carries records to and fro until both sides are done, or one of them fails.
pub(crate) fn connect(
    client: Arc<ClientConfig>,
    name: &str,
    server: &Arc<ServerConfig>,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let mut client = ClientConnection::new(client, server_name(name).unwrap())?;
    let mut server = ServerConnection::new(server.clone())?;
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        read_all(&wire, |reader| server.read_tls(reader));
        let verdict = server.process_new_packets();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        read_all(&wire, |reader| client.read_tls(reader));
        client.process_new_packets()?;
        verdict?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}

fn read_all(mut wire: &[u8], mut read: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>) {
    while !wire.is_empty() {
        read(&mut wire).unwrap();
    }
}

fn options(identities: &[&ServerIdentity]) -> ServerOptions {
    ServerOptions {
        identities: identities.iter().map(|issued| Arc::new(issued.loaded.identity.clone())).collect(),
        default_name: None,
        minimum: MinimumVersion::Tls12,
        tickets: Tickets::Off,
        client_certificates: ClientCertificates::Ignored,
    }
}

fn listener(identities: &[&ServerIdentity]) -> Arc<ServerConfig> {
    server_config(&options(identities)).unwrap()
}

fn trusting(office: &Office) -> ClientTls {
    ClientTls::new(&TrustAnchors::File(office.ca.root_pem_path())).unwrap()
}

/// The facts as the client sees them, or why there are none.
fn facts(
    client: &ClientTls,
    requirement: TlsRequirement,
    name: &str,
    server: &Arc<ServerConfig>,
) -> Result<TlsFacts, String> {
    let handshake = client.handshake(&PeerPolicy::of(requirement));
    let connected = connect(handshake.config(), name, server);
    connected.map(|(connection, _)| handshake.facts(&connection)).map_err(|error| describe(&error))
}

/// A client of another make, with resumption.
fn resuming(office: &Office, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(office.ca.root().clone()).unwrap();
    ClientConfig::builder_with_provider(postern_pki::provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[test]
fn a_good_certificate_is_verified_under_every_requirement() {
    let office = office(now());
    let server = listener(&[&office.ensure(&["mail.example.org", "127.0.0.1"], now())]);
    for requirement in [TlsRequirement::OPPORTUNISTIC, TlsRequirement::REQUIRED, TlsRequirement::VERIFIED] {
        let facts = facts(&trusting(&office), requirement, "mail.example.org", &server).unwrap();
        assert_eq!(facts.peer.given, Proof::Verified.into());
        assert_eq!(facts.peer.missing, []);
        assert_eq!(facts.version, "TLSv1.3");
        assert!(
            facts.cipher.starts_with("TLS_AES_") || facts.cipher.starts_with("TLS_CHACHA20_"),
            "{}",
            facts.cipher
        );
        assert_eq!(facts.group.as_deref(), Some("X25519MLKEM768"), "the post-quantum hybrid comes first");
        assert_eq!(facts.server_name.as_deref(), Some("mail.example.org"));
    }
    let by_address = facts(&trusting(&office), TlsRequirement::VERIFIED, "127.0.0.1", &server).unwrap();
    assert_eq!((by_address.peer.given, by_address.server_name), (Proof::Verified.into(), None));
}

#[test]
fn the_listener_knows_version_and_name_and_asks_for_no_client_certificate() {
    let office = office(now());
    let server = listener(&[&office.ensure(&["mail.example.org"], now())]);
    for (version, expected) in VERSIONS.into_iter().zip(["TLSv1.2", "TLSv1.3"]) {
        let client = Arc::new(resuming(&office, version));
        let (_, connection) = connect(client, "mail.example.org", &server).unwrap();
        let facts = facts_of_server(&connection, &ClientCertificates::Ignored, now());
        assert_eq!(facts.version, expected);
        assert_eq!(facts.server_name.as_deref(), Some("mail.example.org"));
        assert_eq!(facts.peer, PeerProof::anonymous());
    }
}

#[test]
fn both_ends_have_one_name_for_the_channel_and_every_channel_its_own() {
    let office = office(now());
    let server = listener(&[&office.ensure(&["mail.example.org"], now())]);
    let client = trusting(&office);
    let named = || {
        let handshake = client.handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
        let (here, there) = connect(handshake.config(), "mail.example.org", &server).unwrap();
        let name = handshake.facts(&here).channel_bindings.exporter.expect("TLS 1.3 names it");
        assert_eq!(
            facts_of_server(&there, &ClientCertificates::Ignored, now()).channel_bindings.exporter.as_ref(),
            Some(&name)
        );
        name
    };
    assert_ne!(named(), named());
}

#[test]
fn the_certificate_that_was_shown_names_the_channel_with_every_version() {
    let office = office(now());
    let names = ["mail.example.org", "mx.example.net"];
    let server = listener(&[&office.ensure(&names[..1], now()), &office.ensure(&names[1..], now())]);
    let end_point = |version, name: &str| {
        let (noting, shown) = noted(&server);
        assert_eq!(shown.end_point(), None);
        connect(Arc::new(resuming(&office, version)), name, &noting).unwrap();
        shown.end_point().expect("the private CA signs with a hash")
    };
    let [at_1_2, at_1_3] = VERSIONS.map(|version| names.map(|name| end_point(version, name)));
    assert_eq!(at_1_2, at_1_3);
    assert_ne!(at_1_2[0], at_1_2[1], "each certificate is a name of its own");
}

#[test]
fn the_channel_of_tls_1_2_has_no_sound_name() {
    let office = office(now());
    let server = listener(&[&office.ensure(&["mail.example.org"], now())]);
    let client = Arc::new(resuming(&office, &rustls::version::TLS12));
    let (_, connection) = connect(client, "mail.example.org", &server).unwrap();
    let facts = facts_of_server(&connection, &ClientCertificates::Ignored, now());
    assert!(facts.channel_bindings.is_empty());
}

#[test]
fn a_bad_certificate_is_recorded_unless_it_must_verify() {
    let (office, stranger) = (office(now()), office(now()));
    let past = self::office(now() - days(200));
    let good = office.ensure(&["mail.example.net", "mx.example.net"], now());
    let expired = past.ensure(&["mx.example.org"], now() - days(200));
    let unknown = stranger.ensure(&["mx.example.org"], now());
    let cases = [
        (&good, &office, "the certificate is for mail.example.net, mx.example.net, not for mx.example.org"),
        (&expired, &past, "the certificate has expired on 20"),
        (&unknown, &office, "the certificate is signed by CN=Postern CA for mail.example.org, OU=key "),
    ];
    for (identity, trusted, words) in cases {
        let (client, server) = (trusting(trusted), listener(&[identity]));
        let refused = facts(&client, TlsRequirement::VERIFIED, "mx.example.org", &server).unwrap_err();
        assert!(refused.starts_with(words), "{refused}");
        for requirement in [TlsRequirement::OPPORTUNISTIC, TlsRequirement::REQUIRED] {
            let facts = facts(&client, requirement, "mx.example.org", &server).unwrap();
            assert_eq!(facts.peer.doubt().map(|doubt| doubt.why.as_str()), Some(refused.as_str()));
            assert!(facts.peer.given.is_empty());
            assert!(!TlsRequirement::VERIFIED.is_satisfied_by(Some(&facts)));
        }
    }
}

#[test]
fn each_connection_has_a_verdict_of_its_own() {
    let (office, stranger) = (office(now()), office(now()));
    let client = trusting(&office);
    let good = listener(&[&office.ensure(&["mx.example.org"], now())]);
    let bad = listener(&[&stranger.ensure(&["mx.example.org"], now())]);
    for _ in 0..2 {
        let proof =
            |server| facts(&client, TlsRequirement::OPPORTUNISTIC, "mx.example.org", server).unwrap().peer;
        assert!(proof(&bad).doubt().is_some());
        assert_eq!(proof(&good).doubt(), None);
    }
}

#[test]
fn our_client_never_resumes_even_where_tickets_are_given() {
    let office = office(now());
    let identity = office.ensure(&["mx.example.org"], now());
    let server = server_config(&ServerOptions { tickets: Tickets::On, ..options(&[&identity]) }).unwrap();
    let handshake = trusting(&office).handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
    for _ in 0..3 {
        let (connection, _) = connect(handshake.config(), "mx.example.org", &server).unwrap();
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn without_tickets_nothing_is_resumed_and_with_them_it_is() {
    let office = office(now());
    let identity = office.ensure(&["mx.example.org"], now());
    for version in VERSIONS {
        for (tickets, second) in [(Tickets::Off, HandshakeKind::Full), (Tickets::On, HandshakeKind::Resumed)]
        {
            let server = server_config(&ServerOptions { tickets, ..options(&[&identity]) }).unwrap();
            let client = Arc::new(resuming(&office, version));
            let (first, _) = connect(client.clone(), "mx.example.org", &server).unwrap();
            assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
            assert!(
                tickets == Tickets::On || first.tls13_tickets_received() == 0,
                "no NewSessionTicket is sent"
            );
            let (again, _) = connect(client, "mx.example.org", &server).unwrap();
            assert_eq!(again.handshake_kind(), Some(second), "{version:?} {tickets:?}");
        }
    }
}

#[test]
fn the_certificate_is_chosen_by_name_and_the_first_is_for_everyone_else() {
    let office = office(now());
    let first = office.ensure(&["mail.example.org"], now());
    let wildcard = office.ensure(&["*.example.net"], now());
    let exact = office.ensure(&["mx.example.net"], now());
    let server = listener(&[&first, &wildcard, &exact]);
    let shown = |client: ClientConfig, name: &str| {
        let mut client = client;
        client.dangerous().set_certificate_verifier(Arc::new(AnyCertificate));
        let (connection, _) = connect(Arc::new(client), name, &server).unwrap();
        connection.peer_certificates().unwrap()[0].clone()
    };
    let own = |issued: &ServerIdentity| issued.loaded.identity.certified_key.cert[0].clone();
    let client = || resuming(&office, &rustls::version::TLS13);
    assert_eq!(shown(client(), "MX.example.net"), own(&exact), "an exact name goes before a wildcard");
    assert_eq!(shown(client(), "other.example.net"), own(&wildcard));
    assert_eq!(shown(client(), "mail.example.org"), own(&first));
    assert_eq!(shown(client(), "unknown.example"), own(&first), "an unknown name never fails");
    assert_eq!(shown(client(), "192.0.2.1"), own(&first), "nor does none");
}

#[test]
fn a_client_that_is_too_old_is_told_and_described() {
    let office = office(now());
    let identity = office.ensure(&["mx.example.org"], now());
    let minimum = MinimumVersion::Tls13;
    let server = server_config(&ServerOptions { minimum, ..options(&[&identity]) }).unwrap();
    let client = Arc::new(resuming(&office, &rustls::version::TLS12));
    let error = connect(client, "mx.example.org", &server).err().unwrap();
    let words = describe(&error);
    assert!(words.contains("(TLS alert ProtocolVersion)"), "{words}");
    let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    assert_eq!(describe(&wrapped), words, "the stream's error is looked into");
}

#[test]
fn a_listener_without_identity_is_an_error() {
    assert!(matches!(server_config(&options(&[])), Err(Error::NoIdentity)));
}

#[test]
fn a_file_of_roots_must_hold_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    assert!(matches!(ClientTls::new(&TrustAnchors::File(path.clone())), Err(Error::Missing { .. })));
    std::fs::write(&path, "").unwrap();
    assert!(matches!(ClientTls::new(&TrustAnchors::File(path)), Err(Error::NotPem { .. })));
}

#[test]
fn words_of_a_hostile_certificate_are_cut_and_cleaned() {
    let presented =
        vec!["DnsName(\"a\u{1b}[31m.example\")".to_owned(), format!("DnsName(\"{}\")", "x".repeat(5000))];
    let expected = rustls::pki_types::ServerName::try_from("mx.example.org").unwrap();
    let error = rustls::CertificateError::NotValidForNameContext { expected, presented };
    let words = describe(&rustls::Error::InvalidCertificate(error));
    assert!(words.len() < 400 && !words.contains(char::is_control), "{words}");
}

#[test]
fn an_identity_that_the_client_cannot_verify_gives_way_to_one_it_can() {
    let office = office(now());
    let ecdsa = office.ensure(&["mx.example.org"], now());
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let params = rcgen::CertificateParams::new(names(&["mx.example.org"])).unwrap();
    let (certificate, file) = (params.self_signed(&key).unwrap(), office.folder.path().join("rsa.pem"));
    std::fs::write(&file, certificate.pem() + &key.serialize_pem()).unwrap();
    let rsa = TlsIdentity::load("rsa", &file, &file, now()).unwrap().identity;
    let mut both = options(&[&ecdsa]);
    both.identities.push(Arc::new(rsa));
    let mut client = resuming(&office, &rustls::version::TLS13);
    client.dangerous().set_certificate_verifier(Arc::new(OnlyRsa));
    let (connection, _) =
        connect(Arc::new(client), "mx.example.org", &server_config(&both).unwrap()).unwrap();
    assert_eq!(connection.peer_certificates().unwrap()[0], *certificate.der());
}

/// Takes every certificate: for looking at which one is shown.
#[derive(Debug)]
pub(crate) struct AnyCertificate;

/// Takes every certificate with an RSA key.
#[derive(Debug)]
struct OnlyRsa;

macro_rules! takes_everything {
    ($verifier:ty, $schemes:expr) => {
        impl rustls::client::danger::ServerCertVerifier for $verifier {
            fn verify_server_cert(
                &self,
                _: &rustls::pki_types::CertificateDer<'_>,
                _: &[rustls::pki_types::CertificateDer<'_>],
                _: &rustls::pki_types::ServerName<'_>,
                _: &[u8],
                _: rustls::pki_types::UnixTime,
            ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
                Ok(rustls::client::danger::ServerCertVerified::assertion())
            }

            fn verify_tls12_signature(
                &self,
                _: &[u8],
                _: &rustls::pki_types::CertificateDer<'_>,
                _: &rustls::DigitallySignedStruct,
            ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
                Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
            }

            fn verify_tls13_signature(
                &self,
                _: &[u8],
                _: &rustls::pki_types::CertificateDer<'_>,
                _: &rustls::DigitallySignedStruct,
            ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
                Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
            }

            fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
                $schemes
            }
        }
    };
}

takes_everything!(AnyCertificate, vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]);
takes_everything!(OnlyRsa, vec![rustls::SignatureScheme::RSA_PSS_SHA256]);
