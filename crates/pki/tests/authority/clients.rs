//! Client certificates that were revoked, in real handshakes.

use std::path::PathBuf;
use std::sync::Arc;

use postern_pki::ca::{Reason, Which};
use postern_pki::{
    ClientCa, ClientCertificates, Error, MinimumVersion, PrivateKey, ServerOptions, Tickets, TlsIdentity,
    facts_of_server, server_config,
};
use postern_smtp::tls::{Proof, TlsFault};
use rustls::{ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConnection};

use super::*;

impl Office {
    fn client_ca(&self) -> ClientCa {
        ClientCa::load_with_lists(&self.authority.root_pem_path(), &[self.authority.crl_pem_path()]).unwrap()
    }

    fn sign_list(&self, at: Timestamp) {
        self.authority.sign_crl(&self.signer, &self.policy, at).unwrap();
    }

    fn identity(&self, issued: &Issued, key: &PrivateKey) -> Arc<TlsIdentity> {
        let chain = self.authority.chain_pem(&issued.der);
        let path = self.write("identity.pem", chain + &key.to_pem());
        Arc::new(TlsIdentity::load("x", &path, &path, now()).unwrap().identity)
    }

    /// A client with this certificate meets a listener; the listener's connection, or why there is none.
    fn meet(
        &self,
        certificates: &ClientCertificates,
        client: &TlsIdentity,
    ) -> Result<ServerConnection, rustls::Error> {
        let (issued, key) = self.issue(&["mail.example.org"], Purpose::Server);
        let options = ServerOptions {
            identities: vec![self.identity(&issued, &key)],
            default_name: None,
            minimum: MinimumVersion::Tls12,
            tickets: Tickets::Off,
            client_certificates: certificates.clone(),
        };
        let mut server = ServerConnection::new(server_config(&options).unwrap()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.root().clone()).unwrap();
        let shown = rustls::sign::SingleCertAndKey::from(client.certified_key.clone());
        let config = ClientConfig::builder_with_provider(postern_pki::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(shown));
        let name = "mail.example.org".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            carry(&mut client, &mut server);
            server.process_new_packets()?;
            carry(&mut server, &mut client);
            client.process_new_packets()?;
        }
        Ok(server)
    }

    fn proof(&self, ca: &ClientCa, client: &TlsIdentity, at: Timestamp) -> Result<(), TlsFault> {
        let asked = ClientCertificates::Asked(ca.clone());
        let connection = self.meet(&asked, client).unwrap();
        let facts = facts_of_server(&connection, &asked, at);
        if facts.peer.given.contains(Proof::Verified) {
            return Ok(());
        }
        Err(facts.peer.doubt().unwrap().fault)
    }
}

fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) {
    let mut wire = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut wire).unwrap();
    }
    let mut wire = &wire[..];
    while !wire.is_empty() {
        to.read_tls(&mut wire).unwrap();
    }
}

#[test]
fn a_revoked_client_counts_as_none_where_asked_and_is_refused_where_required() {
    for shape in [Shape::RootAlone, Shape::WithIntermediate] {
        let office = office(shape);
        let (anna, anna_key) = office.issue(&["anna@example.org"], Purpose::Client);
        let (otto, otto_key) = office.issue(&["otto@example.org"], Purpose::Client);
        office.authority.revoke(&Which::Serial(anna.serial.clone()), Reason::KeyCompromise, now()).unwrap();
        office.sign_list(now());
        let ca = office.client_ca();
        let anna = office.identity(&anna, &anna_key);
        let otto = office.identity(&otto, &otto_key);
        assert_eq!(office.proof(&ca, &anna, now()), Err(TlsFault::Revoked));
        assert_eq!(office.proof(&ca, &otto, now()), Ok(()));
        let required = ClientCertificates::Required(ca);
        let refused = office.meet(&required, &anna).unwrap_err();
        assert!(format!("{refused:?}").contains("evoked"), "{refused:?}");
        office.meet(&required, &otto).unwrap();
    }
}

#[test]
fn a_list_that_is_out_of_date_locks_nobody_out_and_forgets_nobody() {
    let office = office(Shape::RootAlone);
    let (anna, anna_key) = office.issue(&["anna@example.org"], Purpose::Client);
    let (otto, otto_key) = office.issue(&["otto@example.org"], Purpose::Client);
    office.authority.revoke(&Which::Serial(anna.serial.clone()), Reason::Unspecified, now()).unwrap();
    office.sign_list(now());
    let (ca, later) = (office.client_ca(), now() + days(30));
    let [list] = ca.lists() else { panic!() };
    assert!(!list.is_overdue(now()) && list.is_overdue(later));
    assert_eq!(list.path, office.authority.crl_pem_path());
    assert!(list.issuer.contains("CN=Example CA"), "{}", list.issuer);
    assert_eq!(office.proof(&ca, &office.identity(&otto, &otto_key), later), Ok(()));
    assert_eq!(office.proof(&ca, &office.identity(&anna, &anna_key), later), Err(TlsFault::Revoked));
}

#[test]
fn a_client_of_an_authority_without_a_list_is_not_looked_up() {
    let (office, other) = (office(Shape::RootAlone), office(Shape::RootAlone));
    let both =
        [&office, &other].map(|one| std::fs::read_to_string(one.authority.root_pem_path()).unwrap()).concat();
    let ca = ClientCa::load_with_lists(&office.write("both.pem", both), &[office.crl_der()]).unwrap();
    let (anna, key) = other.issue(&["anna@example.org"], Purpose::Client);
    assert_eq!(office.proof(&ca, &other.identity(&anna, &key), now()), Ok(()));
}

#[test]
fn a_file_that_is_no_list_of_the_authority_is_refused() {
    let (office, other) = (office(Shape::RootAlone), office(Shape::RootAlone));
    let root = office.authority.root_pem_path();
    let load = |path: PathBuf| ClientCa::load_with_lists(&root, &[path]).unwrap_err();
    assert!(matches!(load("/nonexistent/crl.pem".into()), Error::Missing { .. }));
    for content in [b"rubbish".to_vec(), std::fs::read(&root).unwrap(), Vec::new()] {
        let error = load(office.write("bad.crl", content));
        assert!(error.to_string().contains("bad.crl: is broken"), "{error}");
    }
    let mut forged = std::fs::read(office.crl_der()).unwrap();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let error = load(office.write("forged.crl", forged)).to_string();
    assert!(error.contains("not signed by the authority"), "{error}");
    // Another authority's list does no harm: it names nobody here.
    ClientCa::load_with_lists(&root, &[other.authority.crl_pem_path()]).unwrap();
}
