//! The root in the forms that people import.

use std::fmt::Write as _;

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
    assert!(!profile.contains("CN="), "people do not read distinguished names: {profile}");
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

/// What stands above the instructions in the page, which ends with them.
const ABOVE: &str = "so compare.\n\n";

fn instructions_as_page() -> String {
    let mut page = String::new();
    for trust::Instructions { token, program, format, steps } in trust::INSTRUCTIONS {
        writeln!(page, "### {program}\n\nTakes `{}`; `postern ca root --for {token}`.\n", format.file())
            .unwrap();
        for (index, step) in steps.iter().enumerate() {
            writeln!(page, "{}. {step}", index + 1).unwrap();
        }
        page.push('\n');
    }
    page.trim_end().to_owned() + "\n"
}

/// `POSTERN_BLESS=1 cargo test -p postern-pki --test authority trust` rewrites that part of the page.
#[test]
fn the_page_has_the_instructions_for_each_program() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/run-the-private-ca.md");
    let on_disk = std::fs::read_to_string(path).unwrap();
    let (prose, _) = on_disk.split_once(ABOVE).expect("the page leads to the instructions");
    let written = format!("{prose}{ABOVE}{}", instructions_as_page());
    if std::env::var_os("POSTERN_BLESS").is_some() {
        std::fs::write(path, &written).unwrap();
        return;
    }
    assert!(
        on_disk == written,
        "docs/run-the-private-ca.md is stale: run this test again with POSTERN_BLESS=1"
    );
}
