//! Setting up, opening, and what lies in the folder.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use postern_pki::ca::{AuthorityError, KeyState, PrivateCa};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;
use crate::tools::{openssl, tries};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn path_length(der: &[u8]) -> Option<u32> {
    let (_, parsed) = X509Certificate::from_der(der).unwrap();
    assert!(parsed.is_ca());
    parsed.basic_constraints().unwrap().unwrap().value.path_len_constraint
}

#[test]
fn a_root_alone_has_nothing_below_it_and_one_with_an_intermediate_has_one() {
    let alone = office(Shape::RootAlone);
    assert_eq!(path_length(alone.authority.root()), Some(0));
    assert!(alone.authority.intermediate().is_none());
    let two = office(Shape::WithIntermediate);
    assert_eq!(path_length(two.authority.root()), Some(1));
    assert_eq!(path_length(two.authority.intermediate().unwrap()), Some(0));
    let root = two.ca().join("root.pem");
    openssl(&format!(
        "verify -x509_strict -CAfile {} {}",
        root.display(),
        two.ca().join("intermediate.pem").display()
    ));
}

#[test]
fn keys_and_records_are_for_the_owner_alone() {
    let office = office(Shape::WithIntermediate);
    for file in ["private/root.key", "private/intermediate.key", "private/responder.key", "records.db"] {
        assert_eq!(mode(&office.ca().join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&office.ca().join("private")), 0o700);
    for file in ["root.pem", "root.der", "intermediate.pem", "crl.pem", "crl.der", "responder.pem"] {
        assert_eq!(mode(&office.ca().join(file)), 0o644, "{file}");
    }
    assert!(!exists(&office.folder.path().join("ca.new")));
}

#[test]
fn where_a_ca_is_none_is_made_and_the_way_out_is_said() {
    let office = office(Shape::RootAlone);
    let before = fs::read(office.ca().join("root.pem")).unwrap();
    let error = Authority::init(&office.ca(), &plain_init(), &policy(), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::Exists { .. }), "{error}");
    assert!(error.to_string().contains("mv "), "{error}");
    assert_eq!(fs::read(office.ca().join("root.pem")).unwrap(), before);
}

#[test]
fn a_crash_while_a_ca_is_made_leaves_none_and_the_next_try_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    let half = folder.path().join("ca.new/private");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("root.key"), "half a ke").unwrap();
    assert!(!Authority::is_in(&ca));
    assert!(matches!(Authority::open(&ca, now()), Err(AuthorityError::Absent { .. })));
    Authority::init(&ca, &plain_init(), &policy(), now()).unwrap();
    assert!(Authority::open(&ca, now()).unwrap().signer(None).is_ok());
    assert!(!exists(&folder.path().join("ca.new")));
}

#[test]
fn a_locked_root_opens_with_its_passphrase_here_and_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, right) = (folder.path().join("ca"), passphrase("correct horse"));
    let init = Init { passphrase: Some(&right), ..plain_init() };
    let authority = Authority::init(&ca, &init, &policy(), now()).unwrap();
    assert_eq!(authority.key_state(), KeyState::Locked);
    let error = authority.signer(None).unwrap_err();
    assert!(matches!(error, AuthorityError::PassphraseNeeded { .. }), "{error}");
    let error = authority.signer(Some(&passphrase("wrong"))).unwrap_err();
    assert!(matches!(error, AuthorityError::WrongPassphrase { .. }), "{error}");
    authority.signer(Some(&right)).unwrap();
    let key = ca.join("private/root.key");
    let secret = folder.path().join("passphrase");
    fs::write(&secret, "correct horse\n").unwrap();
    let (key, secret) = (key.display(), secret.display());
    openssl(&format!("pkey -in {key} -passin file:{secret} -noout -check"));
    assert!(!tries(&format!("pkey -in {key} -passin pass:wrong -noout")).content);
    let said = crate::tools::run(
        "certtool",
        &["--key-info", "--infile", &key.to_string(), "--password=correct horse"],
    );
    assert!(said.content, "certtool: {}", said.text);
}

#[test]
fn a_locked_root_lets_its_intermediate_sign_unless_both_are_locked() {
    let right = passphrase("correct horse");
    for (locks, state) in [(Locks::Root, KeyState::Open), (Locks::All, KeyState::Locked)] {
        let folder = tempfile::tempdir().unwrap();
        let init = Init { passphrase: Some(&right), intermediate: Some(days(1000)), locks, ..plain_init() };
        let authority = Authority::init(&folder.path().join("ca"), &init, &policy(), now()).unwrap();
        assert_eq!((authority.root_key_state(), authority.key_state()), (KeyState::Locked, state));
        assert_eq!(authority.signer(None).is_ok(), state == KeyState::Open);
        authority.signer(Some(&right)).unwrap();
        authority.root_signer(Some(&right)).unwrap();
    }
}

#[test]
fn an_empty_passphrase_is_refused_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let init = Init { passphrase: Some(&passphrase("")), ..plain_init() };
    let error = Authority::init(&folder.path().join("ca"), &init, &policy(), now()).unwrap_err();
    assert!(matches!(error, AuthorityError::EmptyPassphrase), "{error}");
    assert!(!Authority::is_in(&folder.path().join("ca")));
}

#[test]
fn a_key_that_openssl_locked_opens_here() {
    let office = office(Shape::RootAlone);
    let key = office.ca().join("private/root.key");
    for options in ["-v2 aes-256-cbc -v2prf hmacWithSHA256", "-scrypt"] {
        let locked = office.folder.path().join("locked.key");
        let line = format!(
            "pkcs8 -topk8 {options} -in {} -out {} -passout pass:secret",
            key.display(),
            locked.display()
        );
        openssl(&line);
        let plain = fs::read(&key).unwrap();
        fs::copy(&locked, &key).unwrap();
        assert_eq!(office.authority.key_state(), KeyState::Locked);
        office.authority.signer(Some(&passphrase("secret"))).unwrap();
        fs::write(&key, plain).unwrap();
    }
}

#[test]
fn a_missing_or_foreign_key_is_said() {
    let (one, other) = (office(Shape::RootAlone), office(Shape::RootAlone));
    let key = one.ca().join("private/root.key");
    fs::copy(other.ca().join("private/root.key"), &key).unwrap();
    let error = one.authority.signer(None).unwrap_err().to_string();
    assert!(error.contains("does not belong to the certificate"), "{error}");
    fs::remove_file(&key).unwrap();
    let error = one.authority.signer(None).unwrap_err();
    assert!(matches!(error, AuthorityError::KeyMissing { .. }), "{error}");
    assert_eq!(one.authority.key_state(), KeyState::Missing);
    let error = one.issue_for(&other.approval(), &["mail.example.org"], Purpose::Server, KeyKind::EcdsaP256);
    assert!(error.unwrap_err().to_string().contains("does not belong"));
}

#[test]
fn every_kind_of_key_makes_a_ca_that_openssl_believes() {
    for key in KeyKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca");
        let init = Init { key, intermediate: Some(days(1000)), ..plain_init() };
        let authority = Authority::init(&ca, &init, &policy(), now()).unwrap();
        let (root, below) = (ca.join("root.pem"), ca.join("intermediate.pem"));
        openssl(&format!("verify -x509_strict -CAfile {} {}", root.display(), below.display()));
        openssl(&format!("crl -in {} -CAfile {} -noout", ca.join("crl.pem").display(), below.display()));
        assert!(authority.signer(None).is_ok(), "{key}");
    }
}

/// As the version before records wrote it.
#[test]
fn a_folder_of_before_there_were_records_opens() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca");
    fs::create_dir_all(ca.join("private")).unwrap();
    openssl(&format!("ecparam -name prime256v1 -genkey -noout -out {0}/private/sec1.key", ca.display()));
    openssl(&format!(
        "pkcs8 -topk8 -nocrypt -in {0}/private/sec1.key -out {0}/private/root.key",
        ca.display()
    ));
    openssl(&format!(
        "req -x509 -new -key {0}/private/root.key -out {0}/root.pem -days 3650 -subj /CN=Postern_CA_for_mail.example.org \
         -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign",
        ca.display()
    ));
    let private = PrivateCa::open_or_create(&ca, "mail.example.org", now()).unwrap();
    assert_eq!(fs::read(private.root_der_path()).unwrap(), private.root().as_ref());
    let authority = Authority::open(&ca, now()).unwrap();
    let signer = authority.signer(None).unwrap();
    let chores = authority.upkeep(Some(&signer), &policy(), now()).unwrap();
    assert_eq!(chores.len(), 2, "{chores:?}");
    assert!(exists(&authority.crl_pem_path()));
    let tls = folder.path().join("tls");
    let made = private.ensure_server_identity(&tls, &["mail.example.org".to_owned()], now()).unwrap();
    openssl(&format!(
        "verify -crl_check -CAfile {0}/root.pem -CRLfile {0}/crl.pem {1}",
        ca.display(),
        made.certificate.display()
    ));
    assert_eq!(authority.tally().unwrap().issued, 1);
}

#[test]
fn the_automatic_ca_signs_by_the_intermediate_that_somebody_set_up() {
    let office = office(Shape::WithIntermediate);
    let ca = PrivateCa::open_or_create(&office.ca(), "x", now()).unwrap();
    let wanted = ["mail.example.org".to_owned()];
    let tls = office.folder.path().join("tls");
    let made = ca.ensure_server_identity(&tls, &wanted, now()).unwrap();
    assert_eq!(made.loaded.identity.certified_key.cert.len(), 2);
    let again = ca.ensure_server_identity(&tls, &wanted, now()).unwrap();
    assert_eq!(again.issue, postern_pki::ca::Issue::Kept);
    openssl(&format!(
        "verify -CAfile {} -untrusted {} {}",
        office.ca().join("root.pem").display(),
        made.certificate.display(),
        made.certificate.display()
    ));
}

#[test]
fn an_own_certificate_that_was_revoked_is_issued_again() {
    let office = office(Shape::RootAlone);
    let ca = PrivateCa::open(&office.ca(), None, now()).unwrap();
    let wanted = ["mail.example.org".to_owned()];
    let tls = office.folder.path().join("tls");
    ca.ensure_server_identity(&tls, &wanted, now()).unwrap();
    let which = postern_pki::ca::Which::of("mail.example.org");
    office.authority.revoke(&which, postern_pki::ca::Reason::Superseded, now()).unwrap();
    let again = ca.ensure_server_identity(&tls, &wanted, now()).unwrap();
    assert_eq!(again.issue, postern_pki::ca::Issue::New);
}

#[test]
fn a_renewed_intermediate_keeps_what_it_issued_good() {
    let mut office = office(Shape::WithIntermediate);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let before = office.authority.not_after();
    let root = office.authority.root_signer(None).unwrap();
    office.authority.renew_intermediate(&root, days(2000), now()).unwrap();
    assert!(office.authority.not_after() > before);
    assert_eq!(Authority::open(&office.ca(), now()).unwrap().not_after(), office.authority.not_after());
    let (leaf, authorities) = office.files(&issued);
    let crl = office.authority.crl_pem_path();
    openssl(&format!(
        "verify -x509_strict -crl_check -CAfile {} -CRLfile {} {}",
        authorities.display(),
        crl.display(),
        leaf.display()
    ));
    let wrong = office.authority.signer(None).unwrap();
    assert!(office.authority.renew_intermediate(&wrong, days(2000), now()).is_err());
}

#[test]
fn a_ca_that_ended_is_opened_only_to_look_at_it() {
    let office = office(Shape::WithIntermediate);
    let later = now() + days(1001);
    let error = Authority::open(&office.ca(), later).unwrap_err();
    assert!(matches!(error, AuthorityError::Ended { .. }), "{error}");
    let authority = Authority::open_whatever_its_age(&office.ca()).unwrap();
    assert_eq!(authority.not_after(), office.authority.not_after());
    let order = postern_pki::ca::Order::of_request(&request(&["mail.example.org"]), Purpose::Server).unwrap();
    assert!(matches!(authority.issue(&order, &office.approval(), later), Err(AuthorityError::Ended { .. })));
}
