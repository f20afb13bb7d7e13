//! Chains out of a heap of certificates.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use postern_pki::{Chain, ChainError, MissingIssuer, PrivateKey, Purpose};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;

use crate::Desk;

/// An authority: a name and a key, and certificates by whoever signs it.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().unwrap() }
    }

    fn itself(&self) -> CertificateDer<'static> {
        self.params.self_signed(&self.key).unwrap().der().clone()
    }

    fn signed_by(&self, other: &Authority) -> CertificateDer<'static> {
        let issuer = Issuer::from_params(&other.params, &other.key);
        self.params.signed_by(&self.key, &issuer).unwrap().der().clone()
    }

    fn signs(&self, key: &KeyPair, purpose: ExtendedKeyUsagePurpose) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["mail.example.org".to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().der().clone()
    }
}

fn server(authority: &Authority, key: &KeyPair) -> CertificateDer<'static> {
    authority.signs(key, ExtendedKeyUsagePurpose::ServerAuth)
}

fn trusting(roots: &[&CertificateDer<'static>]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add((*root).clone()).unwrap();
    }
    store
}

fn arrange(heap: &[&CertificateDer<'static>], key: &KeyPair) -> Result<Chain, ChainError> {
    let spki = rcgen::PublicKeyData::subject_public_key_info(key);
    Chain::arrange(heap.iter().map(|certificate| (*certificate).clone()).collect(), &spki)
}

#[test]
fn a_heap_in_any_order_becomes_a_chain_without_its_root() {
    let (root, issuing, key) =
        (Authority::named("Root"), Authority::named("Issuing"), KeyPair::generate().unwrap());
    let (leaf, middle, top) = (server(&issuing, &key), issuing.signed_by(&root), root.itself());
    let stranger = Authority::named("Stranger").itself();
    for heap in [
        [&leaf, &middle, &top, &stranger],
        [&stranger, &top, &middle, &leaf],
        [&middle, &leaf, &stranger, &top],
        [&top, &stranger, &leaf, &middle],
    ] {
        let chain = arrange(&heap, &key).unwrap();
        assert_eq!(chain.certificates(), [leaf.clone(), middle.clone()]);
        assert_eq!((chain.root(), chain.missing()), (Some(&top), None));
        assert_eq!(chain.left_over(), [&stranger]);
        chain.completes(&trusting(&[&top]), Timestamp::now(), Purpose::Server).unwrap();
        assert_eq!(chain.to_pem().matches("BEGIN CERTIFICATE").count(), 2);
    }
}

#[test]
fn an_authority_of_the_same_name_with_another_key_is_a_stranger() {
    let (root, issuing, key) =
        (Authority::named("Root"), Authority::named("Issuing"), KeyPair::generate().unwrap());
    let old = Authority::named("Issuing");
    let (leaf, middle, old) = (server(&issuing, &key), issuing.signed_by(&root), old.signed_by(&root));
    let chain = arrange(&[&old, &leaf, &middle], &key).unwrap();
    assert_eq!(chain.certificates(), [leaf, middle]);
    assert_eq!(chain.left_over(), [&old]);
}

#[test]
fn of_two_certificates_of_one_key_the_newer_is_taken() {
    let (root, key) = (Authority::named("Root"), KeyPair::generate().unwrap());
    let certificate = |year| {
        let mut params = CertificateParams::new(["mail.example.org".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(year, 1, 1);
        params.signed_by(&key, &Issuer::from_params(&root.params, &root.key)).unwrap().der().clone()
    };
    let (old, new) = (certificate(2024), certificate(2026));
    for heap in [[&old, &new], [&new, &old]] {
        let chain = arrange(&heap, &key).unwrap();
        assert_eq!((chain.leaf(), chain.left_over()), (&new, vec![&old]));
    }
}

#[test]
fn a_loop_ends() {
    let (one, two, key) = (Authority::named("One"), Authority::named("Two"), KeyPair::generate().unwrap());
    let (leaf, up, down) = (server(&one, &key), one.signed_by(&two), two.signed_by(&one));
    let chain = arrange(&[&down, &up, &leaf], &key).unwrap();
    assert_eq!(chain.certificates(), [leaf, up, down]);
    assert_eq!((chain.missing().unwrap().name.as_str(), chain.is_circle()), ("CN=One", true));
    assert!(chain.completes(&trusting(&[]), Timestamp::now(), Purpose::Server).is_err());
}

#[test]
fn sixty_certificates_that_all_lead_to_each_other_are_arranged_in_time() {
    let (same, key) = (Authority::named("Same"), KeyPair::generate().unwrap());
    let other = Authority::named("Other");
    let mut heap: Vec<_> = (0..30).flat_map(|_| [same.signed_by(&other), other.signed_by(&same)]).collect();
    heap.push(server(&same, &key));
    let begun = Instant::now();
    let chain = arrange(&heap.iter().collect::<Vec<_>>(), &key).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(chain.certificates().len() <= 10 && chain.root().is_none());
}

#[test]
fn of_two_ways_the_shortest_that_leads_to_a_known_root_is_sent() {
    let (old, new, issuing) =
        (Authority::named("Old Root"), Authority::named("New Root"), Authority::named("Issuing"));
    let key = KeyPair::generate().unwrap();
    let (leaf, middle, cross) = (server(&issuing, &key), issuing.signed_by(&new), new.signed_by(&old));
    let (old, new) = (old.itself(), new.itself());
    let chain = arrange(&[&leaf, &middle, &cross], &key).unwrap();
    assert_eq!(chain.certificates(), [leaf.clone(), middle.clone(), cross.clone()]);
    let towards = |root| chain.clone().towards(&trusting(&[root]), Timestamp::now(), Purpose::Server);
    let by_new = towards(&new);
    assert_eq!(by_new.certificates(), [leaf.clone(), middle.clone()]);
    assert_eq!((by_new.left_over(), by_new.missing(), by_new.is_circle()), (vec![&cross], None, false));
    let by_old = towards(&old);
    assert_eq!(by_old.certificates(), [leaf.clone(), middle.clone(), cross.clone()]);
    assert_eq!(by_old.missing(), None);
    let by_nobody = towards(&Authority::named("Nobody").itself());
    assert_eq!(by_nobody.certificates(), chain.certificates());
    assert_eq!(by_nobody.missing().unwrap().name, "CN=Old Root");
    // With both roots in the heap, the shorter way is the first.
    let both = arrange(&[&cross, &old, &new, &middle, &leaf], &key).unwrap();
    assert_eq!((both.certificates(), both.root()), (&[leaf, middle][..], Some(&new)));
}

#[test]
fn what_is_missing_is_named_with_the_place_where_it_can_be_had() {
    let desk = Desk::with_chain();
    desk.write("aia", b"authorityInfoAccess=OCSP;URI:http://ocsp.example.net/,caIssuers;URI:http://ca.example.net/issuing.cer\n");
    desk.sign("host", "mail.example.org", "issuing", "aia", 90);
    let bundle = desk.read("host.pem", None).unwrap();
    let key = &desk.read("host.key", None).unwrap().keys[0];
    let chain = Chain::arrange(bundle.certificates, &PrivateKey::spki(key)).unwrap();
    let url = Some("http://ca.example.net/issuing.cer".to_owned());
    assert_eq!(chain.missing(), Some(&MissingIssuer { name: "CN=Issuing".into(), url }));
}

#[test]
fn a_certificate_of_another_key_is_refused_by_its_name() {
    let (root, key) = (Authority::named("Root"), KeyPair::generate().unwrap());
    let leaf = server(&root, &key);
    let error = arrange(&[&leaf, &root.itself()], &KeyPair::generate().unwrap()).unwrap_err().to_string();
    assert!(error.contains("none of the certificates belongs to the private key"), "{error}");
    assert!(error.contains("CN=Root"), "{error}");
    assert_eq!(arrange(&[], &key).unwrap_err(), ChainError::Empty);
}

#[test]
fn a_certificate_for_people_completes_for_a_client_and_not_for_a_server() {
    let (root, key) = (Authority::named("Root"), KeyPair::generate().unwrap());
    let chain = arrange(&[&root.signs(&key, ExtendedKeyUsagePurpose::ClientAuth)], &key).unwrap();
    let roots = trusting(&[&root.itself()]);
    let now = Timestamp::now();
    chain.completes(&roots, now, Purpose::Client).unwrap();
    assert!(chain.completes(&roots, now, Purpose::Server).is_err());
    assert_eq!(chain.clone().towards(&roots, now, Purpose::Client).missing(), None);
    assert!(chain.towards(&roots, now, Purpose::Server).missing().is_some());
}

#[test]
fn a_certificate_signed_by_itself_is_its_own_root() {
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["mail.example.org".to_owned()]).unwrap().self_signed(&key).unwrap();
    let chain = arrange(&[leaf.der()], &key).unwrap();
    assert_eq!((chain.certificates().len(), chain.root(), chain.missing()), (1, Some(leaf.der()), None));
}
