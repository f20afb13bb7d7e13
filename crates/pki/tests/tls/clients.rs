//! Listeners that ask their clients for certificates.

use std::sync::Arc;

use postern_pki::{
    ClientCa, ClientCertificates, ClientIdentity, Error, MinimumVersion, PeerPolicy, ServerOptions, Tickets,
    TlsIdentity, client_identity, facts_of_server, server_config,
};
use postern_smtp::tls::{PeerProof, Proof, TlsFacts, TlsFault, TlsRequirement};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, ServerConfig};

use super::*;
use crate::handshakes::{VERSIONS, connect};
use crate::world::{Authority, GOOD, HOST, Host, OVER, leaf, meet_as};

/// A listener and the authority that its clients' certificates should come from.
struct Listener {
    clients: Authority,
    office: Office,
    ca: ClientCa,
}

/// What the listener made of a client.
type Met = (TlsFacts, Option<ClientIdentity>);

impl Listener {
    fn new() -> Self {
        let (clients, office) = (Authority::root("clients"), office(now()));
        let path = office.folder.path().join("clients.pem");
        std::fs::write(&path, crate::identities::pem("CERTIFICATE", &clients.certificate)).unwrap();
        let ca = ClientCa::load(&path).unwrap();
        Self { clients, office, ca }
    }

    fn config(&self, client_certificates: &ClientCertificates) -> Arc<ServerConfig> {
        let identity = self.office.ensure(&[HOST], now()).loaded.identity;
        server_config(&ServerOptions {
            identities: vec![Arc::new(identity)],
            default_name: None,
            minimum: MinimumVersion::Tls12,
            tickets: Tickets::On,
            client_certificates: client_certificates.clone(),
        })
        .unwrap()
    }

    fn asked(&self) -> ClientCertificates {
        ClientCertificates::Asked(self.ca.clone())
    }

    fn required(&self) -> ClientCertificates {
        ClientCertificates::Required(self.ca.clone())
    }

    /// Postern itself as the client.
    fn meets(&self, certificates: &ClientCertificates, shown: Option<&Host>) -> Result<Met, TlsFault> {
        let client =
            postern_pki::ClientTls::new(&postern_pki::TrustAnchors::File(self.office.ca.root_pem_path()));
        let policy = PeerPolicy {
            identity: shown.map(|host| self.identity(host)),
            ..PeerPolicy::of(TlsRequirement::VERIFIED)
        };
        let handshake = client.unwrap().handshake(&policy);
        let met = meet_as(HOST, &handshake, &self.config(certificates));
        let (_, connection) = met.map_err(|failure| failure.fault)?;
        let facts = facts_of_server(&connection, certificates, now());
        let identity = client_identity(&connection, &facts);
        Ok((facts, identity))
    }

    fn identity(&self, host: &Host) -> Arc<TlsIdentity> {
        let path = self.office.folder.path().join("client.pem");
        let chain: String = host.chain.iter().map(|der| crate::identities::pem("CERTIFICATE", der)).collect();
        std::fs::write(&path, chain + &host.key.serialize_pem()).unwrap();
        Arc::new(TlsIdentity::load("client", &path, &path, now()).unwrap().identity)
    }
}

fn client(days: (i64, i64)) -> CertificateParams {
    let mut params = leaf(&["Relay.example.org"], days);
    params.subject_alt_names.push(SanType::Rfc822Name("Anna@example.org".try_into().unwrap()));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

#[test]
fn a_verified_client_is_known_by_its_addresses_names_and_digests() {
    let listener = Listener::new();
    let anna = listener.clients.sign(&client(GOOD));
    for certificates in [listener.asked(), listener.required()] {
        let (facts, identity) = listener.meets(&certificates, Some(&anna)).unwrap();
        assert_eq!(facts.peer.given, Proof::Verified.into());
        let seen = facts.peer.certificate.unwrap();
        assert_eq!(seen.names, ["relay.example.org", "Anna@example.org"]);
        let identity = identity.unwrap();
        assert_eq!(identity.emails, ["Anna@example.org"]);
        assert_eq!(identity.dns_names, ["relay.example.org"]);
        let pins = crate::pins::pins(&anna);
        assert_eq!(postern_pki::Pin::Certificate(identity.sha256), pins[0]);
        assert_eq!(postern_pki::Pin::Spki(identity.spki_sha256), pins[1]);
    }
}

#[test]
fn a_bad_certificate_is_recorded_where_one_is_asked_for_and_fails_where_one_is_required() {
    let listener = Listener::new();
    let mut for_servers = client(GOOD);
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    for (shown, fault) in [
        (listener.clients.sign(&client(OVER)), TlsFault::Expired),
        (Authority::root("stranger").sign(&client(GOOD)), TlsFault::IncompleteChain),
        (Authority::root("clients").sign(&client(GOOD)), TlsFault::BadCertificate),
        (Host::self_signed(&client(GOOD)), TlsFault::SelfSigned),
        (listener.clients.sign(&for_servers), TlsFault::BadCertificate),
    ] {
        let (facts, identity) = listener.meets(&listener.asked(), Some(&shown)).unwrap();
        assert!(facts.peer.given.is_empty(), "{fault:?}");
        let doubt = facts.peer.doubt().unwrap();
        assert_eq!(doubt.fault, fault, "{doubt}");
        assert!(facts.peer.certificate.is_some());
        assert_eq!(identity, None);
        assert_eq!(listener.meets(&listener.required(), Some(&shown)), Err(TlsFault::ClientCertificate));
    }
}

#[test]
fn a_client_without_a_certificate_is_a_stranger_or_refused() {
    let listener = Listener::new();
    let (facts, identity) = listener.meets(&listener.asked(), None).unwrap();
    assert_eq!((facts.peer, identity), (PeerProof::anonymous(), None));
    assert_eq!(listener.meets(&listener.required(), None), Err(TlsFault::ClientCertificate));
}

#[test]
fn a_listener_that_does_not_ask_learns_nothing() {
    let listener = Listener::new();
    let anna = listener.clients.sign(&client(GOOD));
    let (facts, identity) = listener.meets(&ClientCertificates::Ignored, Some(&anna)).unwrap();
    assert_eq!((facts.peer, identity), (PeerProof::anonymous(), None));
}

#[test]
fn a_certificate_is_judged_at_the_time_it_is_looked_at() {
    let listener = Listener::new();
    let shown = listener.identity(&listener.clients.sign(&client(GOOD)));
    let mut roots = RootCertStore::empty();
    roots.add(listener.office.ca.root().clone()).unwrap();
    let own = ClientConfig::builder_with_provider(postern_pki::provider())
        .with_protocol_versions(&VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
            rustls::sign::CertifiedKey::clone(&shown.certified_key),
        )));
    let (_, connection) = connect(Arc::new(own), HOST, &listener.config(&listener.asked())).unwrap();
    let given = |time| facts_of_server(&connection, &listener.asked(), time).peer.given;
    assert_eq!(given(now()), Proof::Verified.into());
    assert!(given(now() + days(100)).is_empty());
}

#[test]
fn a_listener_that_asks_resumes_nothing_whatever_its_tickets_say() {
    let listener = Listener::new();
    let shown = listener.identity(&listener.clients.sign(&client(GOOD)));
    for certificates in [listener.asked(), listener.required()] {
        for version in VERSIONS {
            let mut roots = RootCertStore::empty();
            roots.add(listener.office.ca.root().clone()).unwrap();
            let resuming = Arc::new(
                ClientConfig::builder_with_provider(postern_pki::provider())
                    .with_protocol_versions(&[version])
                    .unwrap()
                    .with_root_certificates(roots)
                    .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                        rustls::sign::CertifiedKey::clone(&shown.certified_key),
                    ))),
            );
            let server = listener.config(&certificates);
            for _ in 0..3 {
                let (client, connection) = connect(resuming.clone(), HOST, &server).unwrap();
                assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full), "{version:?}");
                assert_eq!(client.tls13_tickets_received(), 0);
                let facts = facts_of_server(&connection, &certificates, now());
                assert_eq!(facts.peer.given, Proof::Verified.into());
            }
        }
    }
}

#[test]
fn a_file_of_authorities_must_hold_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clients.pem");
    assert!(matches!(ClientCa::load(&path), Err(Error::Missing { .. })));
    std::fs::write(&path, crate::identities::pem("CERTIFICATE", b"rubbish")).unwrap();
    let error = ClientCa::load(&path).unwrap_err().to_string();
    assert!(error.contains("clients.pem: is broken"), "{error}");
}
