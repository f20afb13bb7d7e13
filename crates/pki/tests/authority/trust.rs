//! The root in the forms that people import.

use postern_pki::trust;

use super::*;
use crate::tools::{openssl, run};

#[test]
fn the_profile_is_a_property_list_with_the_root_in_it() {
    let init = Init { subject: Subject::named("A & B <\"mail\">"), ..plain_init() };
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::init(&folder.path().join("ca"), &init, &policy(), now()).unwrap();
    let profile = trust::profile(authority.root());
    assert_eq!(profile, trust::profile(authority.root()), "the same root makes the same profile");
    let path = folder.path().join("root.mobileconfig");
    std::fs::write(&path, &profile).unwrap();
    let script = "import plistlib,sys;p=plistlib.load(open(sys.argv[1],'rb'));c=p['PayloadContent'][0];\
                  assert c['PayloadType']=='com.apple.security.root';assert p['PayloadType']=='Configuration';\
                  assert c['PayloadUUID']!=p['PayloadUUID'];print(p['PayloadDisplayName']);\
                  open(sys.argv[2],'wb').write(c['PayloadContent'])";
    let out = folder.path().join("out.der");
    let said = run("python3", &["-c", script, path.to_str().unwrap(), out.to_str().unwrap()]);
    assert!(said.content && said.text.contains("A & B <\"mail\">"), "{}", said.text);
    assert_eq!(std::fs::read(out).unwrap(), authority.root().as_ref());
}

#[test]
fn the_root_in_der_and_in_pem_is_the_same_to_openssl() {
    let office = office(Shape::WithIntermediate);
    let print = |form: &str, path: PathBuf| {
        openssl(&format!("x509 -inform {form} -in {} -noout -fingerprint -sha256", path.display()))
    };
    assert_eq!(
        print("DER", office.authority.root_der_path()),
        print("PEM", office.authority.root_pem_path())
    );
}
