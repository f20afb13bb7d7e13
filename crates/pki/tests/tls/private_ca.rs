use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use postern_pki::{Error, Issue, PrivateCa};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_for_the_owner_alone_and_the_root_is_for_everyone() {
    let office = office(now());
    let issued = office.ensure(&["mail.example.org"], now());
    let ca = office.folder.path().join("ca");
    assert_eq!(mode(&ca.join("private")), 0o700);
    assert_eq!(mode(&ca.join("private/root.key")), 0o600);
    assert_eq!(mode(&ca), 0o755);
    assert_eq!(mode(&office.ca.root_pem_path()), 0o644);
    assert_eq!(mode(&office.ca.root_der_path()), 0o644);
    assert_eq!(mode(&office.tls()), 0o700);
    assert_eq!(mode(&issued.key), 0o600);
    assert!(issued.loaded.warnings.is_empty(), "{:?}", issued.loaded.warnings);
}

#[test]
fn the_root_is_a_ca_that_signs_servers_only_and_bears_our_name() {
    let office = office(now());
    let (_, root) = X509Certificate::from_der(office.ca.root()).unwrap();
    let subject = root.subject().to_string();
    assert!(subject.starts_with("CN=Postern CA for mail.example.org, OU=key "), "{subject}");
    assert!(root.is_ca());
    assert_eq!(root.basic_constraints().unwrap().unwrap().value.path_len_constraint, Some(0));
    let usage = root.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert_eq!(fs::read(office.ca.root_der_path()).unwrap(), office.ca.root().as_ref());
    let nine_years = now() + days(9 * 365);
    assert!(office.ca.not_after() > nine_years);
}

#[test]
fn a_second_start_opens_the_same_ca_and_keeps_the_certificate() {
    let office = office(now());
    let first = office.ensure(&["mail.example.org"], now());
    let again =
        PrivateCa::open_or_create(&office.folder.path().join("ca"), "another.example", now()).unwrap();
    assert_eq!(again.root(), office.ca.root());
    let second = again.ensure_server_identity(&office.tls(), &names(&["mail.example.org"]), now()).unwrap();
    assert_eq!((first.issue, second.issue), (Issue::New, Issue::Kept));
    assert_eq!(first.loaded.identity.fingerprint_sha256, second.loaded.identity.fingerprint_sha256);
}

#[test]
fn a_certificate_bears_host_names_addresses_and_localhost() {
    let office = office(now());
    let wanted = ["Mail.Example.ORG.", "*.example.org", "localhost", "127.0.0.1", "2001:DB8::1"];
    let identity = office.ensure(&wanted, now()).loaded.identity;
    assert_eq!(
        identity.names,
        ["mail.example.org", "*.example.org", "localhost", "127.0.0.1", "2001:db8::1"]
    );
    assert_eq!(office.ensure(&wanted, now()).issue, Issue::Kept);
    assert!(office.tls().join("mail.example.org.pem").exists());
}

#[test]
fn a_certificate_is_issued_again_when_less_than_thirty_days_remain() {
    let office = office(now());
    let first = office.ensure(&["mail.example.org"], now());
    let in_time = office.ensure(&["mail.example.org"], now() + days(59));
    let late = office.ensure(&["mail.example.org"], now() + days(61));
    assert_eq!((in_time.issue, late.issue), (Issue::Kept, Issue::New));
    assert!(late.loaded.identity.not_after > first.loaded.identity.not_after);
}

#[test]
fn an_issue_for_other_names_keeps_the_key_and_takes_another_serial_number() {
    let office = office(now());
    let first = office.ensure(&["mail.example.org"], now());
    let key = fs::read(&first.key).unwrap();
    let second = office.ensure(&["mail.example.org", "smtp.example.org"], now());
    assert_eq!(second.issue, Issue::New);
    assert_eq!(fs::read(&second.key).unwrap(), key);
    let serial = |identity: &ServerIdentity| {
        let leaf = identity.loaded.identity.certified_key.cert[0].clone();
        X509Certificate::from_der(&leaf).unwrap().1.raw_serial().to_vec()
    };
    assert_ne!(serial(&first), serial(&second));
}

#[test]
fn a_certificate_of_an_earlier_ca_is_issued_again() {
    let office = office(now());
    office.ensure(&["mail.example.org"], now());
    fs::remove_dir_all(office.folder.path().join("ca")).unwrap();
    let ca = PrivateCa::open_or_create(&office.folder.path().join("ca"), "mail.example.org", now()).unwrap();
    let again = ca.ensure_server_identity(&office.tls(), &names(&["mail.example.org"]), now()).unwrap();
    assert_eq!(again.issue, Issue::New);
}

#[test]
fn a_crash_between_key_and_certificate_is_made_good_at_the_next_start() {
    let office = office(now());
    let issued = office.ensure(&["mail.example.org"], now());
    fs::remove_file(&issued.certificate).unwrap();
    fs::remove_file(office.ca.root_pem_path()).unwrap();
    fs::remove_file(office.ca.root_der_path()).unwrap();
    let ca = PrivateCa::open_or_create(&office.folder.path().join("ca"), "mail.example.org", now()).unwrap();
    let again = ca.ensure_server_identity(&office.tls(), &names(&["mail.example.org"]), now()).unwrap();
    assert_eq!(again.issue, Issue::New);
    assert_eq!(fs::read(ca.root_der_path()).unwrap(), ca.root().as_ref());
}

#[test]
fn broken_files_are_named_and_left_alone() {
    let office = office(now());
    let issued = office.ensure(&["mail.example.org"], now());
    let ca = office.folder.path().join("ca");
    for path in [office.ca.root_pem_path(), ca.join("private/root.key")] {
        let whole = fs::read(&path).unwrap();
        fs::write(&path, "rubbish").unwrap();
        let error = PrivateCa::open_or_create(&ca, "x", now()).err().unwrap();
        assert!(matches!(&error, Error::NotPem { path: named } if *named == path), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"rubbish");
        fs::write(&path, whole).unwrap();
    }
    fs::write(&issued.certificate, "rubbish").unwrap();
    let again = office.ca.ensure_server_identity(&office.tls(), &names(&["mail.example.org"]), now());
    assert!(matches!(again, Err(Error::NotPem { .. })));
    assert_eq!(fs::read(&issued.certificate).unwrap(), b"rubbish");
}

#[test]
fn a_root_without_its_key_or_with_another_key_is_refused() {
    let (one, other) = (office(now()), office(now()));
    let ca = one.folder.path().join("ca");
    let key = ca.join("private/root.key");
    fs::copy(other.folder.path().join("ca/private/root.key"), &key).unwrap();
    let error = PrivateCa::open_or_create(&ca, "x", now()).err().unwrap();
    assert!(matches!(error, Error::KeyMismatch { .. }), "{error}");
    fs::remove_file(&key).unwrap();
    let error = PrivateCa::open_or_create(&ca, "x", now()).err().unwrap();
    assert!(matches!(error, Error::CaKeyMissing { .. }), "{error}");
    assert!(!key.exists());
}

#[test]
fn an_expired_root_is_refused_and_no_certificate_outlives_its_root() {
    let office = office(now());
    let late = office.ca.not_after() - days(10);
    let issued = office.ensure(&["mail.example.org"], late);
    assert_eq!(issued.loaded.identity.not_after, office.ca.not_after());
    assert_eq!(office.ensure(&["mail.example.org"], late + days(1)).issue, Issue::Kept);
    let after = office.ca.not_after() + days(1);
    let error = PrivateCa::open_or_create(&office.folder.path().join("ca"), "x", after).err().unwrap();
    assert!(matches!(error, Error::CaExpired { .. }), "{error}");
}

#[test]
fn impossible_names_are_refused() {
    let office = office(now());
    for name in ["", "two words", "../../etc/passwd", "a.*.example", "-"] {
        let result = office.ca.ensure_server_identity(&office.tls(), &names(&[name]), now());
        assert!(matches!(result, Err(Error::BadName { .. })), "{name:?}");
    }
    assert!(matches!(office.ca.ensure_server_identity(&office.tls(), &[], now()), Err(Error::NoNames)));
    assert!(!office.tls().exists());
}
