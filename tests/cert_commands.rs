//! `postern cert install`, `list`, `show`, `export`, `assign`, `remove`, `deploy`: what came from an authority is judged, shown by
//! the running Postern at once, and handed on. The authority, and the other program, is openssl.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::names::Names;
use crate::support::postern::HOST;
use crate::support::programs::{both, fail, program, run, succeed, text};
use crate::support::terminal::Terminal;
use crate::support::{Client, Postern, Setup, files_below};

/// What opens the test's containers. Spaces and letters beyond ASCII are where programs differ.
const PASSPHRASE: &str = "open s\u{e9}same";

/// An authority by openssl: a root and an intermediate that signs.
struct OpenSsl {
    folder: PathBuf,
    /// What the DNS says of the names.
    names: Names,
}

impl OpenSsl {
    fn new(folder: PathBuf, names: Names) -> OpenSsl {
        fs::create_dir_all(&folder).unwrap();
        let authority = OpenSsl { folder, names };
        authority.openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "700",
            ],
            &["-keyout", "root.key", "-out", "root.pem", "-subj", "/CN=Example Root"],
        );
        authority.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            &["-keyout", "issuer.key", "-out", "issuer.csr", "-subj", "/CN=Example Issuer"],
        );
        fs::write(
            authority.file("issuer.ext"),
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n",
        )
        .unwrap();
        authority.openssl(
            &["x509", "-req", "-days", "600"],
            &[
                "-in",
                "issuer.csr",
                "-CA",
                "root.pem",
                "-CAkey",
                "root.key",
                "-extfile",
                "issuer.ext",
                "-out",
                "issuer.pem",
            ],
        );
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    #[track_caller]
    fn openssl(&self, what: &[&str], how: &[&str]) -> String {
        succeed(program("openssl").args(what).args(how).current_dir(&self.folder))
    }

    /// Signs what waits under this name: `NAME.crt`.
    #[track_caller]
    fn sign(&self, postern: &Postern, identity: &str, days: &str) -> PathBuf {
        let request = postern.data_dir().join(format!("certificates/.requests/{identity}/request.pem"));
        let certificate = format!("{identity}.crt");
        self.openssl(
            &["x509", "-req", "-copy_extensions", "copy", "-days", days],
            &["-in", text(&request), "-CA", "issuer.pem", "-CAkey", "issuer.key", "-out", &certificate],
        );
        self.file(&certificate)
    }
}

/// A running Postern without certificates of its own making, and a request of the name `mail` with its answer.
#[track_caller]
fn answered() -> (Postern, OpenSsl, PathBuf) {
    let names = Names::serve(Zone::new());
    let postern = Setup::new().without_user().tables(&names.table()).start();
    let authority = OpenSsl::new(postern.folder().join("authority"), names);
    postern.cli(&["cert", "request", "--identity", "mail", "--name", "mail.home.test", "--yes"]);
    let certificate = authority.sign(&postern, "mail", "90");
    (postern, authority, certificate)
}

/// Installs, and says how it ended.
#[track_caller]
fn install(postern: &Postern, files: &[&Path], flags: &[&str]) -> (Option<i32>, String) {
    let mut command = postern.command(&["cert", "install"]);
    let output: Output = run(command.args(files).args(flags));
    (output.status.code(), both(&output))
}

#[test]
fn the_answer_to_a_request_is_shown_at_once_and_no_session_is_dropped() {
    let (postern, authority, certificate) = answered();
    let mut open = Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost");
    let issuer = authority.file("issuer.pem");
    // Any order will do, and the root is not sent.
    let (code, said) = install(&postern, &[&authority.file("root.pem"), &issuer, &certificate], &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    for words in ["CN=mail.home.test", "made with the request", "CN=Example Issuer", "new sessions see it"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(Client::is_presented(postern.at("submission"), &authority.file("root.pem"), "mail.home.test"));
    assert!(
        Client::is_presented(postern.at("submission"), &postern.root(), HOST),
        "the other one is still there"
    );
    open.say("NOOP").expect(250);
    let list = postern.cli(&["cert", "list"]);
    let line = list.lines().find(|line| line.trim_start().starts_with("mail ")).unwrap();
    assert!(line.contains("the same") && line.contains("submission"), "{list}");
    let json: Value = serde_json::from_str(&postern.cli(&["cert", "list", "--json"])).unwrap();
    let mail = json.as_array().unwrap().iter().find(|one| one["identity"] == "mail").unwrap();
    assert_eq!(mail["served"]["fingerprint"], mail["on_disk"]["good"]["sha256"], "{mail:#}");
    let chain = postern.cli(&["cert", "show", "mail", "--pem"]);
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "{chain}");
    assert!(postern.cli(&["cert", "requests"]).contains("no request waits"));
}

#[test]
fn every_form_that_openssl_writes_is_installed() {
    let (postern, authority, certificate) = answered();
    let certificate = text(&certificate);
    let key = postern.data_dir().join("certificates/.requests/mail/request.key");
    let pass = format!("pass:{PASSPHRASE}");
    authority.openssl(&["x509", "-outform", "DER"], &["-in", certificate, "-out", "mail.der"]);
    authority.openssl(
        &["crl2pkcs7", "-nocrl"],
        &["-certfile", certificate, "-certfile", "issuer.pem", "-out", "mail.p7b"],
    );
    authority.openssl(
        &["crl2pkcs7", "-nocrl", "-outform", "DER"],
        &["-certfile", certificate, "-certfile", "issuer.pem", "-out", "mail.p7c"],
    );
    for (file, old) in [("new.pfx", &[][..]), ("old.pfx", &["-legacy"])] {
        authority.openssl(
            &["pkcs12", "-export", "-passout", &pass],
            &[&["-in", certificate, "-inkey", text(&key), "-certfile", "issuer.pem", "-out", file], old]
                .concat(),
        );
    }
    fs::write(authority.file("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
    let passphrase = authority.file("passphrase");
    let opened = ["--yes", "--passphrase-file", text(&passphrase)];
    let issuer = authority.file("issuer.pem");
    for (files, flags) in [
        (vec!["mail.der", "issuer.pem"], &opened[..1]),
        (vec!["mail.p7b"], &opened[..1]),
        (vec!["mail.p7c"], &opened[..1]),
        (vec!["new.pfx"], &opened),
        (vec!["old.pfx"], &opened),
    ] {
        let paths: Vec<PathBuf> = files.iter().map(|file| authority.file(file)).collect();
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let (code, said) = install(&postern, &paths, &[flags, &["--as", "mail"]].concat());
        assert_eq!(code, Some(0), "{files:?}: {said}");
        let chain = postern.cli(&["cert", "show", "mail", "--pem"]);
        assert!(chain.contains(fs::read_to_string(certificate).unwrap().trim()), "{files:?}: {chain}");
        assert!(chain.contains(fs::read_to_string(&issuer).unwrap().trim()), "{files:?}: {chain}");
    }
}

#[test]
fn what_cannot_be_installed_is_refused_in_a_sentence_and_nothing_changes() {
    let (postern, authority, certificate) = answered();
    let issuer = authority.file("issuer.pem");
    let elsewhere = Authority::new(&postern.folder().join("elsewhere")).issue(&["mail.home.test"]);
    let file = |name: &str, content: &[u8]| {
        let path = postern.folder().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let whole = fs::read(&certificate).unwrap();
    let key = fs::read(postern.data_dir().join("certificates/.requests/mail/request.key")).unwrap();
    authority.openssl(
        &["pkcs12", "-export", "-passout", "pass:right"],
        &["-in", "mail.crt", "-inkey", text(&elsewhere.key), "-nocerts", "-out", "key.pfx"],
    );
    let wrong = file("wrong", b"wrong\n");
    let huge = postern.folder().join("huge");
    fs::File::create(&huge).unwrap().set_len(100 << 20).unwrap();
    let before = state(&postern);
    for (files, flags, code, why) in [
        (vec![file("cut.pem", &whole[..200])], vec![], 2, "the rest is missing"),
        (vec![file("empty.pem", b"")], vec![], 2, "the file is empty"),
        (vec![file("garbage", &[7; 500])], vec![], 2, "no certificate, key or request"),
        (
            vec![file("page.html", b"<!DOCTYPE html><html><body>Sign in</body></html>")],
            vec![],
            2,
            "this is a web page",
        ),
        (vec![file("key.pem", &key)], vec![], 2, "holds a private key and no certificate"),
        (vec![huge], vec![], 2, "larger than 1024 KiB"),
        (vec![postern.folder().to_owned()], vec![], 2, "this is a folder"),
        (vec![postern.folder().join("nothing")], vec![], 2, "there is no such file"),
        (
            vec![authority.file("key.pfx")],
            vec!["--passphrase-file", text(&wrong)],
            2,
            "the passphrase does not open",
        ),
        (vec![authority.file("key.pfx")], vec![], 2, "--passphrase-file"),
        (vec![elsewhere.certificate.clone()], vec![], 2, "answers another request"),
        (
            vec![certificate.clone()],
            vec!["--key", text(&elsewhere.key)],
            2,
            "does not belong to the certificate",
        ),
        (
            vec![elsewhere.certificate.clone()],
            vec!["--key", text(&elsewhere.key), "--as", "main"],
            2,
            "which somebody else writes",
        ),
        (vec![authority.file("root.pem")], vec!["--key", "root.key"], 2, "root.key: there is no such file"),
    ] {
        let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let (ended, said) = install(&postern, &paths, &[&flags[..], &["--yes"]].concat());
        assert!(
            ended == Some(code) && said.contains(why),
            "{files:?} {flags:?} ended with {ended:?}: {said}"
        );
        assert_eq!(state(&postern), before, "{files:?} changed something");
    }
    let root_key = authority.file("root.key");
    let (ended, said) =
        install(&postern, &[&authority.file("root.pem")], &["--key", text(&root_key), "--yes"]);
    assert!(ended == Some(1) && said.contains("certificate of an authority"), "{ended:?}: {said}");
    let other = authority.sign(&postern, "mail", "-1");
    let (ended, said) = install(&postern, &[&other, &issuer], &["--yes"]);
    assert!(ended == Some(1) && said.contains("expired on") && said.contains("--force"), "{ended:?}: {said}");
    assert_eq!(state(&postern), before);
}

/// Every file of the certificate store with its content, but for the lock.
fn state(postern: &Postern) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files_below(&postern.data_dir().join("certificates")).into_iter();
    files
        .filter(|path| !path.ends_with(".lock"))
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_passphrase_is_asked_for_only_when_one_is_needed_and_may_be_mistyped() {
    let (postern, authority, _) = answered();
    let key = postern.data_dir().join("certificates/.requests/mail/request.key");
    let pass = format!("pass:{PASSPHRASE}");
    authority.openssl(
        &["pkcs12", "-export", "-passout", &pass],
        &["-in", "mail.crt", "-inkey", text(&key), "-certfile", "issuer.pem", "-out", "mail.pfx"],
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
            .args([authority.file("mail.crt"), authority.file("issuer.pem")]),
    );
    terminal.press("Install it?", "n");
    let (status, shown) = terminal.end();
    assert!(
        status.code() == Some(1) && shown.contains("Nothing was changed") && !shown.contains("Passphrase"),
        "{shown}"
    );
}

#[test]
fn an_export_is_read_by_openssl_and_brought_back() {
    let (postern, authority, certificate) = answered();
    install(&postern, &[&certificate, &authority.file("issuer.pem")], &["--yes"]);
    let passphrase = postern.folder().join("passphrase");
    fs::write(&passphrase, "open sesame\n").unwrap();
    for (name, legacy) in [("new.p12", None), ("old.p12", Some("--legacy"))] {
        let output = postern.folder().join(name);
        let export = || {
            let mut command = postern.command(&["cert", "export", "mail", "--output", text(&output)]);
            command.args(["--passphrase-file", text(&passphrase)]).args(legacy);
            command
        };
        succeed(&mut export());
        assert_eq!(fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
        let said = fail(&mut export());
        assert!(said.contains("exists already"), "{said}");
        let mut openssl = program("openssl");
        openssl
            .args(["pkcs12", "-nodes", "-passin", "pass:open sesame", "-in", text(&output)])
            .args(legacy.map(|_| "-legacy"));
        let read = succeed(&mut openssl);
        assert_eq!(read.matches("BEGIN CERTIFICATE").count(), 2, "{read}");
        assert!(read.contains("BEGIN PRIVATE KEY"), "{read}");
        postern.cli(&["cert", "remove", "mail", "--yes"]);
        assert!(!Client::is_presented(
            postern.at("submission"),
            &authority.file("root.pem"),
            "mail.home.test"
        ));
        postern.cli(&[
            "cert",
            "import",
            text(&output),
            "--passphrase-file",
            text(&passphrase),
            "--as",
            "mail",
            "--yes",
        ]);
        assert!(Client::is_presented(
            postern.at("submission"),
            &authority.file("root.pem"),
            "mail.home.test"
        ));
    }
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
    let (postern, authority, certificate) = answered();
    install(&postern, &[&certificate, &authority.file("issuer.pem")], &["--yes"]);
    let configuration = postern.configuration();
    let before = fs::read_to_string(&configuration).unwrap();
    fs::set_permissions(&configuration, fs::Permissions::from_mode(0o640)).unwrap();
    let assign = |arguments: &[&str]| postern.command(&[&["cert", "assign"], arguments].concat());
    for (arguments, why) in [
        (&["mail", "--listener", "imap", "--yes"][..], "there is: mx, submission, submissions"),
        (&["gone", "--listener", "mx", "--yes"], "there is no identity named \"gone\""),
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
    postern.cli(&["cert", "remove", "mail", "--yes"]);
}

#[test]
fn a_certificate_is_handed_on_to_other_programs() {
    let (postern, authority, certificate) = answered();
    install(&postern, &[&certificate, &authority.file("issuer.pem")], &["--yes"]);
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
fn what_is_published_is_not_contradicted_and_the_next_key_can_be_published_first() {
    let (postern, authority, certificate) = answered();
    let issuer = authority.file("issuer.pem");
    let files: [&Path; 2] = [&certificate, &issuer];
    let published = "_25._tcp.mail.home.test";
    authority.names.change(|zone| zone.tlsa(published, 3, 1, 1, &[7; 32]).secure(published));
    let (code, said) = install(&postern, &files, &["--yes"]);
    assert!(
        code == Some(1) && said.contains(&format!("{published}. 3600 IN TLSA 3 1 1 ")),
        "{code:?}: {said}"
    );
    assert!(!postern.data_dir().join("certificates/mail").exists(), "{said}");

    authority.names.change(|mut zone| {
        zone.remove(published);
        zone
    });
    let (code, said) = install(&postern, &files, &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let keys: Value = serde_json::from_str(&postern.cli(&["cert", "next-key", "mail", "--json"])).unwrap();
    let [present, next] = ["present", "next"].map(|which| keys[which]["tlsa"].as_array().unwrap().clone());
    assert_ne!(present, next);
    assert!(
        present[0].as_str().unwrap().starts_with(&format!("{published}. 3600 IN TLSA 3 1 1 ")),
        "{keys:#}"
    );
    let told = postern.cli(&["cert", "next-key", "mail"]);
    assert!(told.contains(next[0].as_str().unwrap()), "it is the same key each time: {told}");
    postern.cli(&[
        "cert",
        "request",
        "--identity",
        "mail",
        "--name",
        "mail.home.test",
        "--keep-key",
        "--yes",
    ]);
    let successor = authority.sign(&postern, "mail", "90");
    let (code, said) = install(&postern, &[&successor, &issuer], &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let keys: Value = serde_json::from_str(&postern.cli(&["cert", "next-key", "mail", "--json"])).unwrap();
    assert_eq!(keys["present"]["tlsa"], Value::Array(next), "the key that was published is in use");
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
    let said = fail(&mut postern.command(&["cert", "request", "--send", "nobody", "--yes"]));
    assert!(said.contains("no [[acme]] of that name") && said.contains("private-ca"), "{said}");
    assert!(
        postern.cli(&["cert", "requests"]).contains("no request waits"),
        "one was made that cannot be sent"
    );
    assert!(postern.cli(&["cert", "acme", "log"]).contains("no order"));
}

#[test]
fn check_tells_monitoring_by_its_exit_code() {
    let (postern, authority, certificate) = answered();
    let check = |postern: &Postern| {
        let output = run(&mut postern.command(&["cert", "check"]));
        (output.status.code(), both(&output))
    };
    let issuer = authority.file("issuer.pem");
    install(&postern, &[&certificate, &issuer], &["--yes"]);
    let (code, said) = check(&postern);
    assert!(code == Some(0) && said.starts_with("OK: "), "{code:?}: {said}");
    postern.cli(&["cert", "request", "--identity", "mail", "--name", "mail.home.test", "--yes"]);
    let ended = authority.sign(&postern, "mail", "-1");
    let (code, said) = install(&postern, &[&ended, &issuer], &["--yes", "--force"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = check(&postern);
    assert!(code == Some(2) && said.starts_with("CRITICAL: 1 ") && said.contains("mail"), "{code:?}: {said}");
    fs::write(postern.configuration(), "hostname = 5").unwrap();
    let (code, said) = check(&postern);
    assert!(code == Some(3) && said.contains("UNKNOWN"), "{code:?}: {said}");
}
