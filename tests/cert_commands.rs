//! `postern cert install`, `list`, `show`, `export`, `assign`, `remove`, `deploy`: what came from an authority is judged, shown by
//! the running Postern at once, and handed on. The authority, and the other program, is openssl.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::house::House;
use crate::support::names::Names;
use crate::support::postern::HOST;
use crate::support::programs::{both, fail, program, run, succeed, text};
use crate::support::terminal::Terminal;
use crate::support::{Client, Setup};

/// What opens the test's containers.
const PASSPHRASE: &str = "open s\u{e9}same";

#[test]
fn an_installation_is_told_and_listed_beside_what_is_served() {
    let house = House::start();
    let (certificate, issuer, root) =
        (house.answer("mail"), house.authority.issuer(), house.authority.root());
    let (code, said) = house.install(&[text(&root), text(&issuer), text(&certificate)]);
    assert_eq!(code, Some(0), "{said}");
    for words in ["CN=mail.home.test", "made with the request", "CN=Example Issuer", "new sessions see it"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let list = house.postern.cli(&["cert", "list"]);
    let line = list.lines().find(|line| line.trim_start().starts_with("mail ")).unwrap();
    assert!(line.contains("the same") && line.contains("submission"), "{list}");
    let mail = house.listed("mail");
    assert_eq!(mail["served"]["fingerprint"], mail["on_disk"]["good"]["sha256"], "{mail:#}");
    let chain = house.postern.cli(&["cert", "show", "mail", "--pem"]);
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");
}

#[test]
fn a_passphrase_is_asked_for_only_when_one_is_needed_and_may_be_mistyped() {
    let house = House::start();
    house.answer("mail");
    let (postern, authority, key) = (&house.postern, &house.authority, house.waiting("request.key"));
    let pass = format!("pass:{PASSPHRASE}");
    authority.openssl(
        &["pkcs12", "-export", "-passout", &pass],
        &["-in", "mail.pem", "-inkey", text(&key), "-certfile", "issuer.pem", "-out", "mail.pfx"],
    );
    let mut terminal = Terminal::start(postern.command(&["cert", "import"]).arg(authority.file("mail.pfx")));
    terminal.answer("Passphrase", "wrong");
    terminal.expect("the passphrase does not open");
    terminal.answer("Passphrase", PASSPHRASE);
    terminal.expect("in place of");
    terminal.press("Install it?", "y");
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains(PASSPHRASE), "{shown}");
    let mut terminal = Terminal::start(
        postern
            .command(&["cert", "install"])
            .args([authority.file("mail.pem"), authority.file("issuer.pem")]),
    );
    terminal.press("Install it?", "n");
    let (status, shown) = terminal.end();
    assert!(
        status.code() == Some(1) && shown.contains("Nothing was changed") && !shown.contains("Passphrase"),
        "{shown}"
    );
}

#[test]
fn an_export_overwrites_nothing_and_prints_no_key_to_a_terminal() {
    let house = House::start();
    house.obtain("mail");
    let postern = &house.postern;
    let output = postern.folder().join("mail.p12");
    let passphrase = house.passphrase("open sesame");
    let export = ["cert", "export", "mail", "--output", text(&output), "--passphrase-file", &passphrase];
    postern.cli(&export);
    let before = fs::read(&output).unwrap();
    let said = fail(&mut postern.command(&export));
    assert!(said.contains("exists already"), "{said}");
    assert_eq!(fs::read(&output).unwrap(), before);
    let mut terminal =
        Terminal::start(&postern.command(&["cert", "export", "mail", "--pem", "--output", "-"]));
    terminal.expect("private key to the terminal");
    let (status, shown) = terminal.end();
    assert!(!status.success() && !shown.contains("BEGIN"), "{shown}");
    let piped = postern.cli(&["cert", "export", "mail", "--pem", "--output", "-"]);
    assert!(piped.contains("BEGIN PRIVATE KEY") && piped.matches("BEGIN CERTIFICATE").count() == 2);
}

#[test]
fn assign_changes_the_lines_that_are_meant_and_the_running_postern() {
    let house = House::start();
    house.obtain("mail");
    let (postern, authority) = (&house.postern, &house.authority);
    let configuration = postern.configuration();
    let before = fs::read_to_string(&configuration).unwrap();
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o640)).unwrap();
    let assign = |arguments: &[&str]| postern.command(&[&["cert", "assign"], arguments].concat());
    for (arguments, why) in [
        (&["mail", "--listener", "imap", "--yes"][..], "there is: mx, submission, submissions"),
        (
            &["gone", "--listener", "mx", "--yes"],
            "there is no identity named \"gone\"; there is: mail, main; see",
        ),
        (&["mail", "--listener", "mx"], "--yes"),
    ] {
        let said = fail(&mut assign(arguments));
        assert!(said.contains(why), "{arguments:?}: {said}");
        assert_eq!(fs::read_to_string(&configuration).unwrap(), before);
    }
    let said = succeed(&mut assign(&["mail", "--listener", "submissions", "--yes"]));
    assert!(
        said.contains('+') && said.contains("identities = [\"mail\"]") && said.contains("in force"),
        "{said}"
    );
    let after = fs::read_to_string(&configuration).unwrap();
    assert_eq!(after.replace("identities = [\"mail\"]\n", ""), before);
    assert_eq!(fs::metadata(&configuration).unwrap().permissions().mode() & 0o777, 0o640);
    // Whoever asks for another name sees it there now, and nowhere else.
    let root = authority.file("root.pem");
    drop(Client::connect_implicit(postern.at("submissions"), &root, "mail.home.test"));
    assert!(Client::is_presented(postern.at("submission"), &postern.root(), HOST));
    let said = fail(&mut postern.command(&["cert", "remove", "mail", "--yes"]));
    assert!(said.contains("listener submissions"), "{said}");
    succeed(&mut assign(&["mail", "--listener", "submissions", "--release", "--yes"]));
    assert_eq!(fs::read_to_string(&configuration).unwrap(), before);
    assert!(
        succeed(&mut assign(&["mail", "--listener", "submissions", "--release"])).contains("is so already")
    );
    postern.cli(&["cert", "remove", "mail", "--force", "--yes"]);
}

#[test]
fn a_certificate_is_handed_on_to_other_programs() {
    let house = House::start();
    house.obtain("mail");
    let (postern, authority) = (&house.postern, &house.authority);
    let folder = postern.folder().join("deployed");
    fs::create_dir(&folder).unwrap();
    let hook = postern.folder().join("hook");
    fs::write(&hook, "#!/bin/sh\necho \"told $1 $2\"; test -r \"$3\" && test -r \"$4\"\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let said = postern.cli(&["cert", "deploy", "--directory", text(&folder), "--hook", text(&hook)]);
    assert!(said.contains("told deploy mail"), "{said}");
    succeed(
        program("openssl")
            .args(["verify", "-CAfile", text(&authority.file("root.pem")), "-untrusted"])
            .arg(folder.join("mail.pem"))
            .arg(folder.join("mail.pem")),
    );
    assert_eq!(fs::metadata(folder.join("mail.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let said = fail(&mut postern.command(&["cert", "deploy", "gone", "--directory", text(&folder)]));
    assert!(said.contains("no identity \"gone\""), "{said}");
}

#[test]
fn the_private_ca_certifies_installs_and_renews_with_the_same_key() {
    let names = Names::serve(Zone::new());
    let postern = Setup::new().without_user().with_private_ca().tables(&names.table()).start();
    let root = postern.data_dir().join("ca/root.pem");
    let said = postern.cli(&[
        "cert",
        "request",
        "--send",
        "private-ca",
        "--name",
        "mail.home.test",
        "--identity",
        "mail",
        "--yes",
    ]);
    assert!(said.contains("sent to") && said.contains("new sessions see it"), "{said}");
    assert!(Client::is_presented(postern.at("submission"), &root, "mail.home.test"));
    let shown = |key: &str| {
        let shown: Value = serde_json::from_str(&postern.cli(&["cert", "show", "mail", "--json"])).unwrap();
        assert_eq!(shown["renewed_by"], "private-ca");
        shown["on_disk"]["good"][key].as_str().unwrap().to_owned()
    };
    let before = (shown("sha256"), shown("spki_sha256"));
    postern.cli(&["cert", "renew", "mail"]);
    let after = (shown("sha256"), shown("spki_sha256"));
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
    let automatic = fail(&mut postern.command(&["cert", "export", "private-ca"]));
    assert!(automatic.contains("makes and renews it by itself"), "{automatic}");
    let said = fail(&mut postern.command(&["cert", "request", "--send", "nobody", "--yes"]));
    assert!(said.contains("no [[acme]] of that name") && said.contains("private-ca"), "{said}");
    assert!(
        postern.cli(&["cert", "requests"]).contains("no request waits"),
        "one was made that cannot be sent"
    );
    assert!(postern.cli(&["cert", "acme", "log"]).contains("no order"));
}

#[test]
fn the_private_ca_issues_nothing_before_it_is_confirmed() {
    let names = Names::serve(Zone::new());
    let postern = Setup::new().without_user().with_private_ca().tables(&names.table()).start();
    let issued = || postern.cli(&["ca", "list", "--all", "--json"]);
    let before = issued();
    let request = ["cert", "request", "--identity", "mail", "--name", "mail.home.test", "--yes"];
    postern.cli(&request);
    let listed = postern.cli(&["cert", "list"]);
    assert!(listed.contains("mail: a first request waits for its certificate"), "{listed}");
    let send = ["cert", "send", "mail", "private-ca"];
    let said = fail(&mut postern.command(&send));
    assert!(said.contains("To be issued") && said.contains("--yes"), "{said}");
    let mut terminal = Terminal::start(&postern.command(&send));
    terminal.expect("mail.home.test");
    terminal.press("Have the private CA issue this, and install it?", "n");
    let (status, shown) = terminal.end();
    assert!(!status.success() && shown.contains("Nothing was changed"), "{shown}");
    assert_eq!(issued(), before, "something was issued that nobody confirmed");
    postern.cli(&[&send[..], &["--yes"]].concat());
    assert!(issued() != before && postern.cli(&["cert", "requests"]).contains("no request waits"));
}

#[test]
fn check_tells_monitoring_of_what_is_over_and_of_what_it_cannot_find_out() {
    let house = House::start();
    let check = || {
        let output = run(&mut house.postern.command(&["cert", "check"]));
        (output.status.code(), both(&output))
    };
    let ended = house.authority.sign(&house.request(), "ended", &["-days", "-1"]);
    let (code, said) = house.install(&[text(&ended), text(&house.authority.issuer()), "--force"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check();
    assert!(code == Some(2) && said.starts_with("CRITICAL: 1 ") && said.contains("mail"), "{code:?}: {said}");
    fs::write(house.postern.configuration(), "hostname = 5").unwrap();
    let (code, said) = check();
    assert!(code == Some(3) && said.contains("UNKNOWN"), "{code:?}: {said}");
}
