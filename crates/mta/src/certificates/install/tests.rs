use std::path::Path;

use jiff::SignedDuration;
use postern_pki::{KeyKind, SigningRequest};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SubjectPublicKeyInfo};
use tempfile::TempDir;

use super::*;
use crate::certificates::request::{self, Ask, Earlier, KeyChoice};
use crate::config::{File, Surroundings};

/// An installation with an authority outside of it.
struct World {
    folder: TempDir,
    config: Config,
    store: IdentityStore,
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: Timestamp,
}

impl World {
    /// With these lines in its configuration.
    fn with(lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "hostname = \"mail.example.org\"\ndata_dir = \"{}\"\n{lines}\n[[listener]]\nname = \"submissions\"\n\
             role = \"submission\"\nbind = [\"127.0.0.1:0\"]\ntls = \"implicit\"\n",
            folder.path().display()
        );
        let config = File::parse(&text, "postern.toml").unwrap().resolve(&Surroundings::default()).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let store = IdentityStore::new(folder.path());
        Self { folder, config, store, issuer, now: Timestamp::now() }
    }

    fn bench(&self) -> Bench<'_> {
        Bench { config: &self.config, store: &self.store, now: self.now }
    }

    fn ask(&self, identity: &str, names: &[&str]) -> SigningRequest {
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        let details = RequestDetails { names, ..RequestDetails::default() };
        let ask = Ask {
            identity: identity.into(),
            details,
            key: KeyChoice::New(KeyKind::EcdsaP256),
            earlier: Earlier::Keep,
        };
        request::make(&self.store, ask, self.now).unwrap()
    }

    /// What the authority makes of a request, for these names.
    fn certify(&self, request: &SigningRequest, names: &[&str]) -> Offer {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let day = |days: i64| {
            let time = self.now + SignedDuration::from_hours(24 * days);
            rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time.as_second().unsigned_abs())
        };
        (params.not_before, params.not_after) = (day(-1), day(90));
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        let key = SubjectPublicKeyInfo::from_der(request.spki()).unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem() + &self.issuer.as_ref().pem();
        Offer { what: "mail.crt".into(), octets: Zeroizing::new(pem.into_bytes()), brought_as: None }
    }

    fn plan(&self, offer: Offer, named: Option<&str>) -> Result<Plan, Error> {
        plan(self.bench(), &[offer], None, named)
    }
}

/// Every file below a folder with its content.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files(&path));
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap_or_default()));
        }
    }
    found.sort();
    found
}

#[test]
fn the_certificate_finds_its_request_and_takes_its_name() {
    let world = World::with("");
    let request = world.ask("gate", &["mail.example.org"]);
    let plan = world.plan(world.certify(&request, &["mail.example.org"]), None).unwrap();
    assert_eq!((plan.identity.as_str(), plan.key_from), ("gate", KeyFrom::Request));
    assert!(!plan.examination.is_refused(), "{:?}", plan.examination);
    plan.carry_out(&world.store, Doubts::Heed).unwrap();
    let stored = world.store.read("gate").unwrap();
    assert_eq!(stored.key.spki(), request.spki());
    assert_eq!(stored.chain.len(), 1, "the root is not sent");
    assert!(world.store.pending("gate").unwrap().is_none(), "the request is answered");
}

#[test]
fn a_successor_with_the_same_key_takes_the_place_of_the_present_one() {
    let world = World::with("");
    let request = world.ask("gate", &["mail.example.org", "smtp.example.org"]);
    let first = world.certify(&request, &["mail.example.org", "smtp.example.org"]);
    world.plan(first, None).unwrap().carry_out(&world.store, Doubts::Heed).unwrap();
    let plan = world.plan(world.certify(&request, &["mail.example.org"]), None).unwrap();
    assert_eq!((plan.identity.as_str(), plan.key_from), ("gate", KeyFrom::Present));
    assert!(plan.present.is_some());
    let said: Vec<String> = plan.examination.findings.iter().map(ToString::to_string).collect();
    assert!(said.iter().any(|words| words.contains("no longer bears smtp.example.org")), "{said:?}");
}

#[test]
fn nothing_changes_when_something_speaks_against_it() {
    let world = World::with("");
    let request = world.ask("gate", &["mail.example.org"]);
    let before = files(world.folder.path());
    let plan = world.plan(world.certify(&request, &["other.example.org"]), None).unwrap();
    let error = plan.carry_out(&world.store, Doubts::Heed).unwrap_err().to_string();
    assert!(error.contains("\"gate\"") && error.contains("mail.example.org"), "{error}");
    assert_eq!(files(world.folder.path()), before);
    let plan = world.plan(world.certify(&request, &["other.example.org"]), None).unwrap();
    plan.carry_out(&world.store, Doubts::Override).unwrap();
    assert!(world.store.holds("gate"));
}

#[test]
fn a_certificate_for_another_request_is_refused_with_those_that_wait() {
    let (world, elsewhere) = (World::with(""), World::with(""));
    world.ask("gate", &["mail.example.org"]);
    let foreign = elsewhere.certify(&elsewhere.ask("x", &["mail.example.org"]), &["mail.example.org"]);
    let error = world.plan(foreign, None).unwrap_err().to_string();
    assert!(error.contains("another request") && error.contains("requests wait here for: gate"), "{error}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let world = World::with("");
    let mut offer = world.certify(&world.ask("gate", &["mail.example.org"]), &["mail.example.org"]);
    offer.octets.extend_from_slice(PrivateKey::generate(KeyKind::EcdsaP256).unwrap().to_pem().as_bytes());
    assert!(matches!(world.plan(offer, None), Err(Error::OtherKey { .. })));
}

#[test]
fn files_of_somebody_else_are_left_to_him() {
    let world = World::with(
        "[[tls.identity]]\nname = \"gate\"\ncertificate = \"/etc/ssl/mail.pem\"\nkey = \"/etc/ssl/mail.key\"",
    );
    let request = world.ask("gate", &["mail.example.org"]);
    let error = world.plan(world.certify(&request, &["mail.example.org"]), None).unwrap_err();
    assert!(matches!(&error, Error::Foreign { .. }), "{error}");
    let named = world.plan(world.certify(&request, &["mail.example.org"]), Some("mine")).unwrap();
    assert_eq!(named.identity, "mine");
    assert!(matches!(
        world.plan(world.certify(&request, &["mail.example.org"]), Some("../x")),
        Err(Error::Pki(postern_pki::Error::BadIdentityName { .. }))
    ));
}

#[test]
fn the_only_identity_must_bear_the_host_name() {
    let world = World::with("[[tls.identity]]\nname = \"gate\"");
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let names = vec!["www.example.org".parse().unwrap()];
    let request = SigningRequest::make(&RequestDetails { names, ..RequestDetails::default() }, &key).unwrap();
    let mut offer = world.certify(&request, &["www.example.org"]);
    offer.octets.extend_from_slice(key.to_pem().as_bytes());
    let plan = world.plan(offer, Some("gate")).unwrap();
    assert_eq!(plan.key_from, KeyFrom::Offered);
    let said: Vec<String> = plan.examination.findings.iter().map(ToString::to_string).collect();
    assert!(plan.examination.is_refused() && said[0].contains("mail.example.org"), "{said:?}");
}

/// A certificate with these names, signed by itself.
fn bearing(names: Vec<rcgen::SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
}

#[test]
fn a_login_name_beside_the_host_name_does_not_keep_it_from_being_held_against_what_is_published() {
    let login = (vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3], "mail@example.org".into());
    let host = rcgen::SanType::DnsName("mail.example.org".try_into().unwrap());
    let leaf = bearing(vec![rcgen::SanType::OtherName(login), host]);
    let (names, findings) = names_to_compare(&leaf, false);
    assert_eq!(names, ["mail.example.org".parse().unwrap()]);
    assert_eq!(findings.iter().map(|one| one.severity).collect::<Vec<_>>(), [Severity::Note], "it installs");
}

#[test]
fn names_that_cannot_be_read_are_told_and_never_taken_for_kept() {
    let odd = rcgen::SanType::DnsName("mail_1.example.org".try_into().unwrap());
    let (names, findings) = names_to_compare(&bearing(vec![odd]), false);
    assert!(names.is_empty());
    assert_eq!(findings[0].severity, Severity::Warn);
    assert!(findings[0].sentence.contains("mail_1.example.org"), "{}", findings[0].sentence);
    for (tolerated, severity) in [(false, Severity::Refuse), (true, Severity::Warn)] {
        assert_eq!(names_to_compare(b"damaged", tolerated).1[0].severity, severity);
    }
}

#[test]
fn a_second_certificate_need_not_bear_the_host_name() {
    let world = World::with("");
    let request = world.ask("gate", &["mail.example.org"]);
    world
        .plan(world.certify(&request, &["mail.example.org"]), None)
        .unwrap()
        .carry_out(&world.store, Doubts::Heed)
        .unwrap();
    let bring = |named: &str| {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let names = vec!["www.example.org".parse().unwrap()];
        let request =
            SigningRequest::make(&RequestDetails { names, ..RequestDetails::default() }, &key).unwrap();
        let mut offer = world.certify(&request, &["www.example.org"]);
        offer.octets.extend_from_slice(key.to_pem().as_bytes());
        world.plan(offer, Some(named)).unwrap()
    };
    assert!(!bring("web2").examination.is_refused(), "{:?}", bring("web2").examination);
    assert!(bring("gate").examination.is_refused(), "in the place of the only one that bears it");
}

#[test]
fn who_shows_a_certificate_for_a_name_that_no_other_bears_is_known() {
    let world = World::with("");
    let install = |identity: &str, names: &[&str]| {
        let request = world.ask(identity, names);
        let plan = world.plan(world.certify(&request, names), Some(identity)).unwrap();
        plan.carry_out(&world.store, Doubts::Heed).unwrap();
    };
    let shown = |identity: &str| {
        let place = listing::find(&world.config, &world.store, identity).unwrap();
        listing::shown_by(&world.config, &world.store, &place, world.now).unwrap()
    };
    install("gate", &["mail.example.org", "smtp.example.org"]);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let both = names(&["mail.example.org", "smtp.example.org"]);
    assert_eq!(shown("gate"), [("submissions".to_owned(), both)]);
    install("other", &["mail.example.org"]);
    assert_eq!(shown("gate"), [("submissions".to_owned(), names(&["smtp.example.org"]))]);
    assert_eq!(shown("other"), [], "it is missed by nobody");
}
