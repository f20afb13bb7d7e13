//! Records that are lost, or older than the revocation list: what was revoked stays revoked.

use postern_pki::ca::{AuthorityError, Chore, Reason, RevocationList, Which};
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::*;

impl Office {
    fn revoke_and_list(&self, issued: &Issued) -> RevocationList {
        let which = Which::Serial(issued.serial.clone());
        self.authority.revoke(&which, Reason::KeyCompromise, now()).unwrap();
        self.authority.sign_crl(&self.signer, &self.policy, now()).unwrap()
    }

    /// The records as a backup has them.
    fn backup(&self) -> Vec<u8> {
        let records = rusqlite::Connection::open(self.ca().join("records.db")).unwrap();
        let copy = self.folder.path().join("backup.db");
        records.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        std::fs::read(copy).unwrap()
    }

    /// The CA with other records, or none.
    fn with_records(self, content: Option<&[u8]>) -> (TempDir, Signer, Policy, PathBuf) {
        let (path, ca) = (self.ca().join("records.db"), self.ca());
        let Self { folder, authority, signer, policy } = self;
        drop(authority);
        for name in ["records.db-wal", "records.db-shm"] {
            let _ = std::fs::remove_file(ca.join(name));
        }
        match content {
            Some(content) => std::fs::write(path, content).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        (folder, signer, policy, ca)
    }
}

fn serials(list: &RevocationList) -> Vec<String> {
    let (_, parsed) = CertificateRevocationList::from_der(&list.der).unwrap();
    let serial = |revoked: &x509_parser::revocation_list::RevokedCertificate<'_>| {
        revoked.raw_serial_as_string().replace(':', "").trim_start_matches("00").to_owned()
    };
    parsed.iter_revoked_certificates().map(serial).collect()
}

#[test]
fn a_ca_that_lost_its_records_says_so_and_begins_none_by_itself() {
    for shape in [Shape::RootAlone, Shape::WithIntermediate] {
        let (folder, _, _, ca) = office(shape).with_records(None);
        let error = Authority::open(&ca, now()).unwrap_err();
        assert!(matches!(error, AuthorityError::RecordsMissing { .. }), "{error}");
        assert!(!exists(&ca.join("records.db")));
        std::fs::write(ca.join("records.db"), "").unwrap();
        let error = Authority::open(&ca, now()).unwrap_err();
        assert!(matches!(error, AuthorityError::RecordsMissing { .. }), "an empty file: {error}");
        drop(folder);
    }
}

#[test]
fn records_that_are_begun_again_go_on_with_the_list_and_its_number() {
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["anna@example.org"], Purpose::Client);
    let before = office.revoke_and_list(&issued);
    let error = Authority::begin_records_again(&office.ca()).unwrap_err();
    assert!(matches!(error, AuthorityError::RecordsThere { .. }), "{error}");
    let (_folder, signer, policy, ca) = office.with_records(None);
    let authority = Authority::begin_records_again(&ca).unwrap();
    let after = authority.sign_crl(&signer, &policy, now()).unwrap();
    assert_eq!(after.number, before.number + 1);
    assert_eq!(serials(&after), [issued.serial.to_string()]);
}

#[test]
fn an_older_backup_of_the_records_revives_nothing_and_is_told_once() {
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["anna@example.org"], Purpose::Client);
    let backup = office.backup();
    let before = office.revoke_and_list(&issued);
    let (_folder, signer, policy, ca) = office.with_records(Some(&backup));
    let authority = Authority::open(&ca, now()).unwrap();
    assert_eq!(authority.crl().unwrap().unwrap(), before);
    let revoked = authority.find(&Which::Serial(issued.serial.clone())).unwrap();
    assert_eq!(revoked[0].revoked.unwrap().reason, Reason::KeyCompromise);
    let done = authority.upkeep(Some(&signer), &policy, now()).unwrap();
    let adopted = Chore::ListAdopted { number: before.number, entries: 1 };
    assert_eq!(done[0], adopted);
    let after = authority.crl().unwrap().unwrap();
    assert_eq!((after.number, serials(&after)), (before.number + 1, vec![issued.serial.to_string()]));
    assert!(!authority.upkeep(Some(&signer), &policy, now()).unwrap().contains(&adopted));
}

#[test]
fn a_list_of_the_same_number_with_other_content_is_not_written_over() {
    let office = office(Shape::RootAlone);
    let ((first, _), (second, _)) = (
        office.issue(&["a@example.org"], Purpose::Client),
        office.issue(&["b@example.org"], Purpose::Client),
    );
    let backup = office.backup();
    let before = office.revoke_and_list(&first);
    let file = std::fs::read(office.authority.crl_pem_path().with_extension("der")).unwrap();
    let (der, pem) = (office.authority.crl_pem_path().with_extension("der"), office.authority.crl_pem_path());
    let (_folder, signer, policy, ca) = office.with_records(Some(&backup));
    // Nobody sees the newer list while the other one of its number is signed.
    for path in [&der, &pem] {
        std::fs::remove_file(path).unwrap();
    }
    let authority = Authority::open(&ca, now()).unwrap();
    authority.revoke(&Which::Serial(second.serial.clone()), Reason::Superseded, now()).unwrap();
    let other = authority.sign_crl(&signer, &policy, now()).unwrap();
    assert_eq!(other.number, before.number);
    std::fs::remove_file(&pem).unwrap();
    std::fs::write(&der, &file).unwrap();
    authority.upkeep(None, &policy, now()).unwrap();
    assert_eq!(std::fs::read(&der).unwrap(), file);
    let after = authority.sign_crl(&signer, &policy, now()).unwrap();
    assert_eq!(after.number, before.number + 1);
    assert_eq!(serials(&after).len(), 2);
}
