//! `postern cert request` and what follows from it: at a terminal and in scripts, its requests read by openssl and certtool.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::names::Names;
use crate::support::postern::HOST;
use crate::support::programs::{fail, program, run, succeed, text};
use crate::support::terminal::Terminal;
use crate::support::{Postern, Setup, files_below};

/// An installation that is not running.
fn installation() -> Postern {
    Setup::new().without_user().prepare()
}

fn request_file(postern: &Postern, identity: &str, name: &str) -> PathBuf {
    postern.data_dir().join("certificates/.requests").join(identity).join(name)
}

/// Subject and names as openssl sees them, once it has checked the request's signature.
#[track_caller]
fn read_by_openssl(request: &Path, form: &str) -> String {
    succeed(program("openssl").args([
        "req",
        "-verify",
        "-noout",
        "-subject",
        "-text",
        "-inform",
        form,
        "-in",
        text(request),
    ]))
}

#[test]
fn openssl_and_certtool_read_a_request_made_by_flags() {
    let postern = installation();
    let said = run(&mut postern.command(&[
        "cert",
        "request",
        "--identity",
        "mail",
        "--name",
        "mail.example.org,smtp.example.org",
        "--name",
        "192.0.2.7",
        "--organisation",
        "M\u{fc}ller & S\u{f6}hne",
        "--unit",
        "Post",
        "--country",
        "DE",
        "--state",
        "Bayern",
        "--locality",
        "N\u{fc}rnberg",
        "--yes",
    ]));
    assert!(said.status.success(), "{said:?}");
    let (pem, der) =
        (request_file(&postern, "mail", "request.pem"), request_file(&postern, "mail", "request.der"));
    assert_eq!(said.stdout, fs::read(&pem).unwrap(), "standard output holds the PEM alone");
    let told = String::from_utf8(said.stderr).unwrap();
    for words in [text(&pem), text(&der), "postern cert install"] {
        assert!(told.contains(words), "{told}");
    }
    for (file, form) in [(&pem, "PEM"), (&der, "DER")] {
        let read = read_by_openssl(file, form);
        for words in [
            "CN = mail.example.org",
            "OU = Post",
            "C = DE",
            "ST = Bayern",
            "DNS:smtp.example.org",
            "IP Address:192.0.2.7",
        ] {
            assert!(read.contains(words) || read.contains(&words.replace(" = ", "=")), "{words}: {read}");
        }
    }
    let read = succeed(program("certtool").args(["--crq-info", "--infile", text(&pem)]));
    for words in
        ["M\u{fc}ller & S\u{f6}hne", "N\u{fc}rnberg", "DNSname: mail.example.org", "Self signature: verified"]
    {
        assert!(read.contains(words), "{words}: {read}");
    }
    let key = request_file(&postern, "mail", "request.key");
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn every_kind_of_key_is_made_and_said_in_json() {
    let postern = installation();
    for (kind, seen) in
        [("ecdsa-p256", "NIST CURVE: P-256"), ("ecdsa-p384", "NIST CURVE: P-384"), ("rsa-2048", "(2048 bit)")]
    {
        let said = run(&mut postern.command(&[
            "cert",
            "request",
            "--identity",
            kind,
            "--key",
            kind,
            "--yes",
            "--json",
        ]));
        let json: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(json["names"][0], HOST, "{json}");
        let read = read_by_openssl(Path::new(json["pem_file"].as_str().unwrap()), "PEM");
        assert!(read.contains(seen), "{kind}: {read}");
    }
    let list = postern.cli(&["cert", "requests"]);
    assert!(list.contains("rsa-2048") && list.contains("P-384"), "{list}");
}

#[test]
fn the_wizard_asks_again_with_the_reason_and_shows_all_before_it_begins() {
    let postern = installation();
    let mut terminal = Terminal::start(&postern.command(&["cert", "request"]));
    terminal.answer("What it is called here [localhost]", "../mail");
    terminal.expect("cannot be an identity's name");
    terminal.answer("What it is called here", "mail");
    terminal.answer("Common name [localhost.test]", "mail.example.org");
    terminal.answer("Organisation", "Example GmbH");
    terminal.answer("Unit", "");
    terminal.answer("Country", "Germany");
    terminal.expect("is no country code");
    terminal.answer("Country", "DE");
    terminal.answer("State", "");
    terminal.answer("Town", "Berlin");
    terminal.answer("with commas [mail.example.org, localhost.test]", "mail.example.org, a_b.example.org");
    terminal.expect("no certificate can bear the name");
    terminal.answer("with commas", "mail.example.org, *.lists.example.org");
    // The second kind of key.
    terminal.answer("Key", "\u{1b}[B");
    terminal.expect("mail.example.org, *.lists.example.org");
    terminal.expect("ecdsa-p384");
    assert!(!request_file(&postern, "mail", "request.pem").exists(), "it was made before it was confirmed");
    terminal.press("Make this request?", "y");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("-----BEGIN CERTIFICATE REQUEST-----"), "{shown}");
    let read = read_by_openssl(&request_file(&postern, "mail", "request.pem"), "PEM");
    for words in ["mail.example.org", "Example GmbH", "Berlin", "DNS:*.lists.example.org", "P-384"] {
        assert!(read.contains(words), "{words}: {read}");
    }
}

#[test]
fn the_wizard_does_not_throw_a_waiting_request_away_without_a_word() {
    let postern = installation();
    postern.cli(&["cert", "request", "--identity", "mail", "--yes"]);
    let before = fs::read(request_file(&postern, "mail", "request.pem")).unwrap();
    let mut terminal = Terminal::start(&postern.command(&["cert", "request", "--identity", "mail"]));
    terminal.press("Replace it?", "n");
    let (status, shown) = terminal.end();
    assert!(!status.success() && shown.contains("waits on"), "{shown}");
    assert_eq!(fs::read(request_file(&postern, "mail", "request.pem")).unwrap(), before);
}

#[test]
fn without_a_terminal_nothing_hangs_and_the_flag_is_named() {
    let postern = installation();
    let said = fail(&mut postern.command(&["cert", "request"]));
    assert!(said.contains("--yes"), "{said}");
    postern.cli(&["cert", "request", "--identity", "mail", "--yes"]);
    let said = fail(&mut postern.command(&["cert", "requests", "--discard", "mail"]));
    assert!(said.contains("--yes"), "{said}");
    assert!(request_file(&postern, "mail", "request.pem").exists());
}

#[test]
fn what_no_certificate_can_bear_is_refused_and_nothing_is_written() {
    let postern = installation();
    for (flags, why) in [
        (["--key", "rsa-1024"], "shorter than 2048 bits"),
        (["--key", "dsa"], "choose one of ecdsa-p256"),
        (["--country", "Germany"], "no country code"),
        (["--country", "de"], "no country code"),
        (["--organisation", "\u{7}"], "control character"),
        (["--unit", ""], "is empty"),
        (
            ["--common-name", "x123456789x123456789x123456789x123456789x123456789x123456789x1234"],
            "longer than 64",
        ),
        (["--name", "under_score.example.org"], "it is no host name"),
        (["--name", "*.org"], "top-level domain"),
        (["--name", "a.*.example.org"], "it is no host name"),
        (["--identity", "../mail"], "cannot be an identity's name"),
        (["--identity", ".requests"], "cannot be an identity's name"),
    ] {
        let said = fail(postern.command(&["cert", "request", "--yes"]).args(flags));
        assert!(said.contains(why), "{flags:?}: {said}");
        assert!(
            files_below(&postern.data_dir().join("certificates")).is_empty(),
            "{flags:?} wrote something"
        );
    }
}

#[test]
fn a_request_waits_until_it_is_replaced_or_discarded() {
    let postern = installation();
    let ask = ["cert", "request", "--identity", "mail", "--yes"];
    postern.cli(&ask);
    let before = fs::read(request_file(&postern, "mail", "request.pem")).unwrap();
    let said = fail(&mut postern.command(&ask));
    assert!(said.contains("waits for its certificate already") && said.contains("--replace"), "{said}");
    assert_eq!(fs::read(request_file(&postern, "mail", "request.pem")).unwrap(), before);
    postern.cli(&[&ask[..], &["--replace"]].concat());
    let after = fs::read_to_string(request_file(&postern, "mail", "request.pem")).unwrap();
    assert_ne!(after.as_bytes(), before);
    assert!(postern.cli(&["cert", "requests", "mail"]).contains(&after), "the PEM can be seen again");
    postern.cli(&["cert", "requests", "--discard", "mail", "--yes"]);
    assert!(postern.cli(&["cert", "requests"]).contains("no request waits"));
    assert!(!request_file(&postern, "mail", "request.key").exists(), "its key is left");
    let said = fail(&mut postern.command(&["cert", "requests", "--discard", "mail", "--yes"]));
    assert!(said.contains("no request for \"mail\" waits"), "{said}");
}

#[test]
fn names_that_lead_elsewhere_or_nowhere_are_warned_of_and_asked_for_all_the_same() {
    let names = Names::serve(Zone::new().address("far.example.org", std::net::Ipv4Addr::new(192, 0, 2, 9)));
    let postern = Setup::new().without_user().tables(&names.table()).prepare();
    let said = postern.cli(&["cert", "request", "--name", "far.example.org,gone.example.org", "--yes"]);
    for words in ["far.example.org: leads to 192.0.2.9", "gone.example.org: the DNS knows no such host"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(said.contains("-----BEGIN CERTIFICATE REQUEST-----"), "{said}");
}
