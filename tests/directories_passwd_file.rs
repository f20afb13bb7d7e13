//! People in a file: Dovecot's own passwd-file, with Dovecot reading it too, and one like shadow(5).

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::directory::{Person, Subject, attempt};
use crate::support::dovecot::DovecotAuth;
use crate::support::programs::{program, python, succeed, text};
use crate::support::{Setup, wait_for};

const ANNA: Person = Person {
    login: "anna@home.test",
    password: "Erstes Wort",
    name: "anna@home.test",
    address: "anna@home.test",
};
const BEN: Person = Person { login: "ben", password: "Zweites Wort", name: "ben", address: "ben@home.test" };
const CLOSED: Person =
    Person { login: "closed", password: "Drittes Wort", name: "closed", address: "closed@home.test" };

/// Cheap, as this suite's daemon is not optimised.
fn hash(scheme: &str, rounds: &str, password: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("dovecot.conf");
    fs::write(&empty, "ssl = no\n").unwrap();
    let said = succeed(program("doveadm").args([
        "-c",
        text(&empty),
        "pw",
        "-s",
        scheme,
        "-r",
        rounds,
        "-p",
        password,
    ]));
    said.trim().to_owned()
}

fn users() -> String {
    format!(
        "# staff\n{}:{}::::::postern_addresses=anna@home.test\n{}:{}::::::userdb_postern_addresses={}\n{}:{}::::::nologin\n",
        ANNA.login,
        hash("SHA512-CRYPT", "1000", ANNA.password),
        BEN.login,
        hash("BLF-CRYPT", "4", BEN.password),
        BEN.address,
        CLOSED.login,
        hash("SHA512-CRYPT", "1000", CLOSED.password)
    )
}

fn subject(path: &Path, keys: &str) -> Subject {
    let tables = format!(
        "[[directory]]\nname = \"staff\"\ntimeout = \"20s\"\n[directory.passwd_file]\npath = {path:?}\n{keys}\n"
    );
    Subject { tables, anna: ANNA, ben: BEN, closed: Some(CLOSED) }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_passwd_file_of_dovecots_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    write(&path, &users());
    let subject = subject(&path, "");
    let postern = subject.setup().start();
    subject.conforms(&postern);
    fs::rename(&path, folder.path().join("away")).unwrap();
    subject.is_down(&postern);
    fs::rename(folder.path().join("away"), &path).unwrap();
    subject.is_up(&postern);
}

#[test]
fn a_password_that_postern_stores_anew_is_good_for_dovecot_too() {
    let dovecot = DovecotAuth::start_with(&users());
    let path = dovecot.users();
    let postern = subject(&path, "rehash = true").setup().start();
    assert!(dovecot.admits(ANNA.login, ANNA.password));
    assert_eq!(attempt(&postern, ANNA.login, ANNA.password).code, 235);
    let line = wait_for("the password to be stored anew", || {
        let text = fs::read_to_string(&path).unwrap();
        text.lines().find(|line| line.contains("{ARGON2ID}")).map(str::to_owned)
    });
    assert!(line.starts_with("anna@home.test:{ARGON2ID}$argon2id$"), "{line}");
    assert!(line.ends_with("::::::postern_addresses=anna@home.test"), "{line}");
    wait_for("Dovecot to read its file again", || dovecot.admits(ANNA.login, ANNA.password).then_some(()));
    assert!(!dovecot.admits(ANNA.login, BEN.password));
    assert_eq!(attempt(&postern, ANNA.login, ANNA.password).code, 235);
    assert_eq!(attempt(&postern, BEN.login, BEN.password).code, 235, "others are as they were");
}

#[test]
fn a_shadow_file_with_the_systems_own_hashes_lets_people_in_until_they_expire() {
    let crypt = |password: &str| {
        let script = format!(
            "import warnings; warnings.simplefilter('ignore'); import crypt; print(crypt.crypt({password:?}, '$y$j9T$saltsaltsaltsalt'))"
        );
        succeed(&mut python(&script)).trim().to_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shadow");
    let shadow = format!(
        "root:*:19000:0:99999:7:::\nanna:{}:19000:0:99999:7:::\nben:{}:19000::::::\ncarl:{}:19000:0:99999:7::19001:\n",
        crypt(ANNA.password),
        crypt(BEN.password),
        crypt(CLOSED.password)
    );
    write(&path, &shadow);
    let tables = format!(
        "[[directory]]\nname = \"system\"\naddresses = [\"{{user}}@home.test\"]\n\
         [directory.passwd_file]\npath = {path:?}\nformat = \"shadow\"\n"
    );
    let subject = Subject {
        tables,
        anna: Person { login: "anna", name: "anna", ..ANNA },
        ben: BEN,
        closed: Some(Person { login: "carl", name: "carl", ..CLOSED }),
    };
    let postern = subject.setup().start();
    subject.conforms(&postern);
}

#[test]
fn config_check_names_the_lines_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users");
    write(&path, "anna:{PLAIN}x\nnonsense\nben:abJnggxhB/yWI\n");
    let postern = Setup::new().tables(&subject(&path, "").tables).prepare();
    let said = postern.cli(&["config", "check"]);
    for expected in [
        "line 1: the password of anna",
        "allow_plain",
        "line 2: there is no colon",
        "line 3: the password of ben",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
