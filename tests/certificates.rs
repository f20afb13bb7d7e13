//! The life of a certificate as an administrator sees it: an authority that is the `openssl` program, the real `postern`, and the
//! programs that meet the certificate: openssl, certtool, msmtp, curl, Dovecot.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::certificates::{Authority, Certificate, Identity, Kind, keep_to_ourselves};
use crate::support::client::stuffed;
use crate::support::dovecot::DovecotImap;
use crate::support::house::{House, NAME, SMTP, state};
use crate::support::https_host::{Answer, HttpsHost};
use crate::support::openssl::{Reach, Shown};
use crate::support::postern::{ANNA, HOST, PASSWORD};
use crate::support::programs::{both, fail, program, run, succeed, text};
use crate::support::{Client, Postern, Setup, content, files_below, wait_for};

/// What opens containers: spaces and letters beyond ASCII are where programs differ.
const PASSPHRASE: &str = "open s\u{e9}same";

/// A certificate is replaced by one in this form while a session is in the middle of a message: the session sees nothing of it,
/// and the next one sees the new certificate. `form` makes the arguments of `cert install` from the new certificate, its key lies
/// with the request.
#[track_caller]
fn is_served_without_a_break(form: impl Fn(&House, &str) -> Vec<String>) {
    let house = House::start();
    let old = house.obtain("old");
    house.assert_served(&old);
    let postern = &house.postern;
    let mut open = Client::connect_starttls(postern.at("submission"), &house.authority.root(), NAME);
    open.sign_in("anna", PASSWORD).expect(235);
    open.say(&format!("MAIL FROM:<{ANNA}>")).expect(250);
    let new = house.answer("new");
    let arguments = form(&house, text(&new));
    house.installs(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    house.assert_served(&new);
    assert_ne!(fs::read(&old).unwrap(), fs::read(&new).unwrap());
    open.say(&format!("RCPT TO:<{ANNA}>")).expect(250);
    open.say("DATA").expect(354);
    open.send(&stuffed(&content::plain(ANNA, ANNA, "Over the old certificate")));
    open.reply().expect(250);
    open.say("QUIT").expect(221);
    postern.wait_for_mail("anna", 1);
    assert!(postern.cli(&["cert", "requests"]).contains("no request waits"));
}

#[test]
fn pem_files_in_any_order_are_served_without_a_break() {
    is_served_without_a_break(|house, new| {
        let heap = [text(&house.authority.root()), text(&house.authority.issuer()), new]
            .map(|file| fs::read_to_string(file).unwrap());
        let file = house.authority.file("heap.pem");
        fs::write(&file, heap.concat()).unwrap();
        vec![text(&file).to_owned()]
    });
}

#[test]
fn der_files_are_served_without_a_break() {
    is_served_without_a_break(|house, new| {
        let der = |from: &str, to: &str| {
            house.authority.openssl(&["x509", "-outform", "DER"], &["-in", from, "-out", to]);
            text(&house.authority.file(to)).to_owned()
        };
        vec![der("issuer.pem", "issuer.crt"), der(new, "new.crt")]
    });
}

#[test]
fn a_pkcs7_file_is_served_without_a_break_in_text_and_in_octets() {
    for form in ["PEM", "DER"] {
        is_served_without_a_break(|house, new| {
            house.authority.openssl(
                &["crl2pkcs7", "-nocrl", "-outform", form, "-out", "new.p7b"],
                &["-certfile", "root.pem", "-certfile", "issuer.pem", "-certfile", new],
            );
            vec![text(&house.authority.file("new.p7b")).to_owned()]
        });
    }
}

/// As another server's administrator hands it over: with the key, protected, made by openssl with these flags.
#[track_caller]
fn pkcs12(house: &House, certificate: &str, key: &str, flags: &[&str]) -> Vec<String> {
    let pass = format!("pass:{PASSPHRASE}");
    house.authority.openssl(
        &["pkcs12", "-export", "-passout", &pass, "-in", certificate, "-inkey", key, "-out", "new.pfx"],
        &[&["-certfile", "issuer.pem", "-name", "from elsewhere"], flags].concat(),
    );
    let file = text(&house.authority.file("new.pfx")).to_owned();
    vec![
        file,
        "--passphrase-file".to_owned(),
        house.passphrase(PASSPHRASE),
        "--as".to_owned(),
        "mail".to_owned(),
    ]
}

#[test]
fn a_pkcs12_file_of_a_new_openssl_is_served_without_a_break() {
    is_served_without_a_break(|house, new| {
        pkcs12(house, new, text(&house.waiting("request.key")), &["-macalg", "sha256"])
    });
}

#[test]
fn a_pkcs12_file_of_an_old_openssl_is_served_without_a_break() {
    is_served_without_a_break(|house, new| {
        pkcs12(house, new, text(&house.waiting("request.key")), &["-legacy"])
    });
}

/// Files that cannot be used, and what is said of each.
struct Refusals {
    house: House,
    before: Vec<(PathBuf, Vec<u8>)>,
}

impl Refusals {
    /// A request waits, and the data directory is as it is to stay.
    fn new() -> Refusals {
        let house = House::prepare(Setup::new(), Zone::new());
        house.request();
        let before = state(house.postern.data_dir());
        assert!(before.iter().any(|(path, _)| path.ends_with("request.key")), "{before:?}");
        Refusals { house, before }
    }

    fn file(&self, name: &str, octets: &[u8]) -> String {
        let path = self.house.postern.folder().join(name);
        fs::write(&path, octets).unwrap();
        text(&path).to_owned()
    }

    /// The answer to the request, with these flags for `openssl x509`.
    #[track_caller]
    fn answer(&self, name: &str, flags: &[&str]) -> String {
        text(&self.house.authority.sign(&self.house.waiting("request.pem"), name, flags)).to_owned()
    }

    /// The answer with these extensions instead of those that were asked for.
    #[track_caller]
    fn answer_with(&self, name: &str, extensions: &str) -> String {
        let file = self.house.authority.extensions(name, extensions);
        self.answer(name, &["-copy_extensions", "none", "-extfile", &file])
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let (ended, said) = self.house.install(arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {said}");
        for words in words {
            assert!(said.contains(words), "no {words:?} of {arguments:?} in {said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        assert!(state(self.house.postern.data_dir()) == self.before, "{arguments:?} changed something");
    }
}

#[test]
fn what_is_no_certificate_is_refused_with_its_reason_and_nothing_changes() {
    let all = Refusals::new();
    let answer = all.answer("good", &[]);
    let whole = fs::read(&answer).unwrap();
    let der = Certificate::read(Path::new(&answer)).der().to_vec();
    let key = fs::read_to_string(all.house.waiting("request.key")).unwrap();
    let request = fs::read_to_string(all.house.waiting("request.pem")).unwrap();
    let elsewhere = all.house.authority.issue("elsewhere", NAME);
    let (other, other_key) = (text(&elsewhere.certificate), text(&elsewhere.key));
    let wrong = all.house.passphrase("wrong");
    let huge = all.file("huge.pem", &whole);
    fs::OpenOptions::new().write(true).open(&huge).unwrap().set_len(100 << 20).unwrap();
    let relabelled = |text: &str| {
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.split_once(' ') {
                Some((begin, _)) if line.starts_with("-----") => format!("{begin} CERTIFICATE-----"),
                _ => line.to_owned(),
            })
            .collect();
        lines.join("\n")
    };
    for (name, octets, words) in [
        ("cut.pem", &whole[..whole.len() / 2], "the rest is missing"),
        ("cut.der", &der[..der.len() / 2], "is cut off"),
        ("empty.pem", b"", "the file is empty"),
        ("page.html", b"<!DOCTYPE html><html><body>Sign in</body></html>", "this is a web page"),
        ("garbage", &[0xa7; 900], "no certificate, key or request in any form"),
        ("key.pem", key.as_bytes(), "holds a private key and no certificate"),
        ("pasted.pem", relabelled(&key).as_bytes(), "holds a private key"),
        ("request.pem", request.as_bytes(), "send the request to an authority"),
        ("renamed.pem", relabelled(&request).as_bytes(), "the authority makes a certificate of it"),
    ] {
        all.refuses(&[&all.file(name, octets)], 2, &[name, words]);
    }
    all.refuses(&[text(all.house.postern.folder())], 2, &["this is a folder"]);
    all.refuses(&["nothing.pem"], 2, &["nothing.pem: there is no such file"]);
    all.refuses(&[&answer, "--key", "nothing.key"], 2, &["nothing.key: there is no such file"]);
    all.refuses(&[other, "--key", other_key, "--as", "main"], 1, &["which somebody else writes"]);
    all.refuses(&[&huge], 2, &["huge.pem", "no certificate is, so this is another file"]);
    all.refuses(&[other], 1, &["answers another request", "requests wait here for: mail"]);
    all.refuses(&[&answer, "--key", other_key], 1, &["does not belong to the certificate"]);
    all.refuses(&[&answer, "--key", &answer], 2, &["holds a certificate and no private key"]);
    for flags in [&["-macalg", "sha256"][..], &["-legacy"]] {
        let container = pkcs12(&all.house, other, other_key, flags).remove(0);
        all.refuses(&[&container, "--passphrase-file", &wrong], 2, &["the passphrase does not open this"]);
        all.refuses(&[&container], 2, &["is protected by a passphrase"]);
        let whole = fs::read(&container).unwrap();
        let cut = all.file("cut.pfx", &whole[..whole.len() - 100]);
        all.refuses(&[&cut, "--passphrase-file", &wrong], 2, &["is cut off"]);
    }
}

#[test]
fn a_certificate_that_nobody_could_use_is_refused_with_its_reason_and_nothing_changes() {
    let all = Refusals::new();
    let issuer = text(&all.house.authority.issuer()).to_owned();
    let names = format!("subjectAltName=DNS:{NAME}");
    // dNSName "mail.home.test\0.evil", and "m\u{430}il.home.test" with a Cyrillic letter: as DER, since no program writes them.
    let raw = |name: &[u8]| {
        let hex = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
        let length = u8::try_from(name.len()).unwrap();
        format!("subjectAltName=DER:30{:02x}82{length:02x}{}", length + 2, hex(name))
    };
    let with_url = format!("{names}\nauthorityInfoAccess=caIssuers;URI:http://example.test/issuer.cer");
    for (file, words) in [
        (all.answer("expired", &["-days", "-1"]), &["the certificate expired on"][..]),
        (
            all.answer_with("other-name", "subjectAltName=DNS:other.home.test"),
            &["the certificate is not for mail.home.test", "it bears: other.home.test"],
        ),
        (all.answer_with("nameless", "basicConstraints=CA:FALSE"), &["it bears no name at all"]),
        (all.answer_with("nul", &raw(b"mail.home.test\0.evil")), &["read differently", "\\x00.evil"]),
        (all.answer_with("look-alike", &raw("m\u{430}il.home.test".as_bytes())), &["read differently"]),
        (all.answer("sha1", &["-sha1"]), &["SHA1", "SHA-256 or better"]),
        (
            all.answer_with("authority", &format!("{names}\nbasicConstraints=critical,CA:TRUE")),
            &["this is the certificate of an authority"],
        ),
        (all.answer_with("client", &format!("{names}\nextendedKeyUsage=clientAuth")), &["lacks serverAuth"]),
    ] {
        all.refuses(&[&file, &issuer], 1, &[words, &["refused: ", "Nothing was changed"]].concat());
    }
    let incomplete = all.answer_with("incomplete", &with_url);
    all.refuses(&[&incomplete], 1, &["Example Issuer is missing", "http://example.test/issuer.cer"]);
}

#[test]
fn a_key_that_is_too_short_is_refused_and_nothing_changes() {
    let all = Refusals::new();
    let short = Authority::new(&all.house.postern.folder().join("short")).issue_as(Kind::Rsa1024, &[NAME]);
    let arguments = [text(&short.certificate), "--key", text(&short.key), "--as", "mail"];
    all.refuses(&arguments, 2, &["1024", "postern cert request"]);
}

#[test]
fn a_chain_with_a_loop_ends_in_a_sentence_and_nothing_changes() {
    let all = Refusals::new();
    let authority = &all.house.authority;
    // Each of the two is certified by the other.
    authority.intermediate("hen", "Hen", "root");
    authority.intermediate("egg", "Egg", "hen");
    authority.certify("hen", "egg");
    let names =
        format!("subjectAltName=DNS:{NAME}\nauthorityInfoAccess=caIssuers;URI:http://example.test/hen");
    let extensions = authority.extensions("loop", &names);
    let answer = all.answer(
        "loop",
        &["-CA", "hen.pem", "-CAkey", "hen.key", "-copy_extensions", "none", "-extfile", &extensions],
    );
    all.refuses(
        &[&answer, text(&authority.file("egg.pem")), text(&authority.file("hen.pem"))],
        1,
        &["refused: "],
    );
}

/// As careful programs do: a new file takes the place of the old one.
fn put(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).unwrap();
    fs::rename(new, to).unwrap();
}

/// The files of the identity that [`Setup`] names in the configuration.
fn files(postern: &Postern) -> Identity {
    let folder = postern.folder().join("tls");
    Identity { certificate: folder.join("localhost.pem"), key: folder.join("localhost.key") }
}

#[test]
fn a_bad_new_file_leaves_the_good_one_in_service_and_is_told_where_one_looks() {
    let house = House::start();
    let (postern, own) = (&house.postern, files(&house.postern));
    let good = Certificate::read(&own.certificate);
    let before = house.listed("main");
    assert_eq!(before["on_disk"]["good"]["sha256"], good.sha256());
    assert_eq!(before["served"]["fingerprint"], good.sha256());
    let bad = house.authority.file("bad.pem");
    fs::write(&bad, "no certificate at all\n").unwrap();
    put(&bad, &own.certificate);
    run(&mut postern.command(&["reload"]));
    postern.wait_for_log("TLS identity main: its new files cannot be used");
    assert!(postern.log().contains("ALARM"), "{}", postern.log());
    assert_eq!(house.shown(Some(HOST), &postern.root()), Shown { certificate: good.clone(), verified: true });
    let after = house.listed("main");
    assert!(after["on_disk"]["broken"].as_str().unwrap().contains("localhost.pem"), "{after:#}");
    assert_eq!(after["served"]["fingerprint"], good.sha256(), "{after:#}");
    assert!(after["served"]["trouble"].is_string(), "{after:#}");
    let list = postern.cli(&["cert", "list"]);
    assert!(list.contains("broken") && list.contains(&good.sha256()[..8]), "{list}");
    assert!(list.contains("localhost.pem") && list.contains("the one before it is still served"), "{list}");
    // Mended, it is taken up by itself.
    let renewed = Authority::new(&postern.folder().join("other")).issue(&["localhost", HOST]);
    put(&renewed.key, &own.key);
    put(&renewed.certificate, &own.certificate);
    postern.wait_for_log("TLS identity main: a new certificate is served");
    let mended = house.listed("main");
    assert_eq!(mended["on_disk"]["good"]["sha256"], renewed.leaf().sha256(), "{mended:#}");
    assert_eq!(mended["served"]["fingerprint"], renewed.leaf().sha256(), "{mended:#}");
    assert!(mended["served"]["trouble"].is_null(), "{mended:#}");
}

#[test]
fn a_key_that_is_replaced_before_its_certificate_raises_no_alarm() {
    let setup = Setup::new();
    // A second identity shows when the files were looked at.
    let clock = setup.authority().issue(&["clock.test"]);
    let table = format!(
        "[[tls.identity]]\nname = \"clock\"\ncertificate = {:?}\nkey = {:?}",
        clock.certificate, clock.key
    );
    let house = House::start_with(setup.tables(&table));
    let (postern, own) = (&house.postern, files(&house.postern));
    let other = Authority::new(&postern.folder().join("other"));
    let (renewed, tick) = (other.issue(&["localhost", HOST]), other.issue(&["clock.test"]));
    let before = Certificate::read(&own.certificate);
    put(&renewed.key, &own.key);
    put(&tick.key, &clock.key);
    put(&tick.certificate, &clock.certificate);
    postern.wait_for_log("TLS identity clock: a new certificate is served");
    assert_eq!(house.shown(Some(HOST), &postern.root()).certificate, before);
    put(&renewed.certificate, &own.certificate);
    postern.wait_for_log("TLS identity main: a new certificate is served");
    assert_eq!(house.shown(Some(HOST), &other.root()), Shown { certificate: renewed.leaf(), verified: true });
    assert!(!postern.log().contains("ALARM"), "{}", postern.log());
}

#[test]
fn each_name_gets_its_own_certificate_and_a_stranger_the_host_names() {
    let house = House::start_with(Setup::new().tables("[[tls.identity]]\nname = \"shop\""));
    let (postern, root) = (&house.postern, house.authority.root());
    let issuer = house.authority.issuer();
    let mut own = Vec::new();
    for (identity, name) in [("mail", NAME), ("shop", "shop.home.test"), ("any", "*.lists.home.test")] {
        let made = house.authority.issue(identity, name);
        let files = [text(&made.certificate), text(&issuer), "--key", text(&made.key), "--as", identity];
        house.installs(&files);
        own.push(made.leaf());
    }
    for (name, certificate) in [
        (NAME, &own[0]),
        ("shop.home.test", &own[1]),
        ("a.lists.home.test", &own[2]),
        ("B.Lists.Home.Test", &own[2]),
    ] {
        for (listener, reach) in [("mx", SMTP), ("submission", SMTP), ("submissions", Reach::Implicit)] {
            let shown = Shown::at(postern.at(listener), reach, Some(name), &root);
            assert_eq!(
                shown,
                Shown { certificate: certificate.clone(), verified: true },
                "{name} at {listener}"
            );
        }
    }
    let default = files(postern).leaf();
    for name in [None, Some(HOST), Some("stranger.test"), Some("home.test"), Some("a.b.lists.home.test")] {
        assert_eq!(house.shown(name, &postern.root()).certificate, default, "{name:?}");
    }
    let list = postern.cli(&["cert", "list"]);
    let order: Vec<&str> = list.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(
        order,
        ["main", "shop", "any", "mail"],
        "those of the configuration, then those of the store: {list}"
    );
}

#[test]
fn assigning_changes_one_line_of_a_commented_configuration_and_takes_effect_at_once() {
    let listeners = "# The world's door.\n[[listener]]\nname = \"mx\" # RFC 5321\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\n\n\
                     # People's door; leave it as it is!\n[[listener]]\nname = \"submission\"\nrole = \"submission\"\n\
                     bind = [\"127.0.0.1:0\"] # any port\n# The end.\n";
    let house = House::start_with(Setup::new().listeners(listeners));
    let certificate = house.obtain("mail");
    let postern = &house.postern;
    let before = fs::read_to_string(postern.configuration()).unwrap();
    let assign = |flags: &[&str]| {
        let what = ["cert", "assign", "mail", "--listener", "submission", "--yes"];
        postern.cli(&[&what[..], flags].concat())
    };
    assign(&[]);
    let after = fs::read_to_string(postern.configuration()).unwrap();
    let new: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    assert_eq!(new, ["identities = [\"mail\"]"], "{after}");
    assert_eq!(after.replace("identities = [\"mail\"]\n", ""), before);
    // There it is what everybody sees, whatever they ask for; elsewhere nothing changed.
    let expected = Certificate::read(&certificate);
    assert_eq!(house.shown(Some(HOST), &postern.root()).certificate, expected);
    let elsewhere = Shown::at(postern.at("mx"), SMTP, Some(HOST), &postern.root());
    assert_eq!(elsewhere, Shown { certificate: files(postern).leaf(), verified: true });
    let said = fail(&mut postern.command(&["cert", "remove", "mail", "--yes"]));
    assert!(said.contains("in use by listener submission"), "{said}");
    house.assert_served(&certificate);
    assign(&["--release"]);
    assert_eq!(fs::read_to_string(postern.configuration()).unwrap(), before);
    assert!(house.shown(Some(HOST), &postern.root()).verified);
    let said = fail(&mut postern.command(&["cert", "remove", "mail", "--yes"]));
    assert!(said.contains(&format!("listener mx shows it for {NAME}")) && said.contains("--force"), "{said}");
    house.assert_served(&certificate);
    postern.cli(&["cert", "remove", "mail", "--force", "--yes"]);
    assert_eq!(house.shown(Some(NAME), &postern.root()).certificate, files(postern).leaf());
}

#[test]
fn an_export_is_read_by_openssl_and_certtool_and_moves_to_another_server() {
    let house = House::start();
    let certificate = house.obtain("mail");
    let passphrase = house.passphrase(PASSPHRASE);
    let other = Setup::new().without_user().tables(&house.names.table()).start();
    let expected = Certificate::read(&certificate);
    for (name, legacy) in [("new.p12", None), ("old.p12", Some("--legacy"))] {
        let file = house.postern.folder().join(name);
        let mut export =
            house.postern.command(&["cert", "export", "mail", "--pkcs12", "--output", text(&file)]);
        succeed(export.args(["--passphrase-file", &passphrase]).args(legacy));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let mut openssl = program("openssl");
        openssl.args(["pkcs12", "-nodes", "-passin", &format!("pass:{PASSPHRASE}"), "-in", text(&file)]);
        let read = succeed(openssl.args(legacy.map(|_| "-legacy")));
        assert_eq!(Certificate::in_pem(read.as_bytes()), expected, "the certificate comes first: {read}");
        let mut certtool = program("certtool");
        certtool.env("LC_ALL", "C.UTF-8").args(["--p12-info", "--inder", "--infile", text(&file)]);
        let read = succeed(certtool.args(["--password", PASSPHRASE]));
        for (words, times) in [("BEGIN CERTIFICATE", 2), ("PRIVATE KEY-----", 2), ("MAC: verified", 0)] {
            assert!(read.matches(words).count() >= times, "{words}: {read}");
        }
        other.cli(&[
            "cert",
            "import",
            text(&file),
            "--passphrase-file",
            &passphrase,
            "--as",
            "mail",
            "--yes",
        ]);
        let shown = Shown::at(other.at("submission"), SMTP, Some(NAME), &house.authority.root());
        assert_eq!(shown, Shown { certificate: expected.clone(), verified: true });
        other.cli(&["cert", "remove", "mail", "--force", "--yes"]);
    }
    assert_keys_are_the_owners(&house.postern);
    assert_keys_are_the_owners(&other);
}

/// Whatever holds a private key below the data directory is for its owner alone.
#[track_caller]
fn assert_keys_are_the_owners(postern: &Postern) {
    let secret = |octets: &[u8]| octets.windows(11).any(|window| window == b"PRIVATE KEY");
    for path in files_below(postern.data_dir()) {
        if secret(&fs::read(&path).unwrap_or_default()) {
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                path.display()
            );
        }
    }
}

#[test]
fn dovecot_shows_the_deployed_certificate_and_its_successor_once_the_hook_told_it() {
    let house = House::start();
    let (postern, root) = (&house.postern, house.authority.root());
    let old = Certificate::read(&house.obtain("old"));
    let folder = postern.folder().join("deployed");
    fs::create_dir(&folder).unwrap();
    postern.cli(&["cert", "deploy", "mail", "--directory", text(&folder)]);
    let key = folder.join("mail.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let dovecot = DovecotImap::start(&folder.join("mail.pem"), &key);
    let at = |reach| {
        let address = if reach == Reach::Implicit { dovecot.imaps() } else { dovecot.imap() };
        Shown::at(address, reach, Some(NAME), &root)
    };
    for reach in [Reach::Implicit, Reach::StartTls("imap")] {
        assert_eq!(at(reach), Shown { certificate: old.clone(), verified: true }, "{reach:?}");
    }
    let new = house.obtain("new");
    let hook = script(postern.folder(), "tell-dovecot", &format!("echo \"$@\"; {}", dovecot.reload()));
    let said = postern.cli(&["cert", "deploy", "mail", "--directory", text(&folder), "--hook", text(&hook)]);
    assert!(said.contains(&format!("deploy mail {}", text(&folder.join("mail.pem")))), "{said}");
    let expected = Shown { certificate: Certificate::read(&new), verified: true };
    wait_for("Dovecot to show the new certificate", || (at(Reach::Implicit) == expected).then_some(()));
    wait_for("Dovecot to show it in STARTTLS too", || {
        (at(Reach::StartTls("imap")) == expected).then_some(())
    });
    house.assert_served(&new);
}

/// A program of the administrator's. It is put there by another process: what a fork of ours still has open for writing could not
/// be started.
fn script(folder: &Path, name: &str, lines: &str) -> PathBuf {
    let (draft, path) = (folder.join(format!("{name}.draft")), folder.join(name));
    fs::write(&draft, format!("#!/bin/sh\n{lines}\n")).unwrap();
    succeed(program("install").args(["-m", "755", text(&draft), text(&path)]));
    path
}

/// Whether a program that trusts these roots (or, where there are none, the system's) hands a message in.
type Submission = fn(&Postern, Option<&Path>, &Path) -> Command;

fn msmtp(postern: &Postern, root: Option<&Path>, message: &Path) -> Command {
    let settings = postern.folder().join(format!("msmtp-{}", root.is_some()));
    let trust = root.map_or("system", text);
    let lines = format!(
        "account default\nhost 127.0.0.1\nport {}\ntls on\ntls_starttls on\ntls_host_override {HOST}\ntls_trust_file {trust}\n\
         auth on\nuser anna\npassword {PASSWORD}\nfrom {ANNA}\n",
        postern.at("submission").port()
    );
    fs::write(&settings, lines).unwrap();
    // msmtp reads no password from a file that others can read.
    keep_to_ourselves(&settings);
    let mut command = program("msmtp");
    command.args(["--file", text(&settings), "--timeout=20", "--", ANNA]);
    command.stdin(fs::File::open(message).unwrap());
    command
}

fn curl(postern: &Postern, root: Option<&Path>, message: &Path) -> Command {
    let port = postern.at("submissions").port();
    let mut command = program("curl");
    command.args([
        "--silent",
        "--show-error",
        "--max-time",
        "30",
        "--resolve",
        &format!("{HOST}:{port}:127.0.0.1"),
    ]);
    command.args(["--url", &format!("smtps://{HOST}:{port}"), "--user", &format!("anna:{PASSWORD}")]);
    command.args(["--mail-from", ANNA, "--mail-rcpt", ANNA, "--upload-file", text(message)]);
    if let Some(root) = root {
        command.args(["--cacert", text(root)]);
    }
    command
}

#[test]
fn msmtp_and_curl_that_trust_the_private_root_alone_submit_and_others_refuse() {
    let postern = Setup::new().with_private_ca().start();
    let root = postern.folder().join("exported-root.pem");
    postern.cli(&["ca", "root", "--format", "pem", "--output", text(&root)]);
    let message = postern.folder().join("message");
    fs::write(&message, content::unix_lines(&content::plain(ANNA, ANNA, "Trusted"))).unwrap();
    for (number, submission) in [msmtp as Submission, curl].into_iter().enumerate() {
        let said = fail(&mut submission(&postern, None, &message));
        assert!(said.contains("certificate"), "it refused for another reason: {said}");
        assert_eq!(postern.mail_of("anna").len(), number);
        succeed(&mut submission(&postern, Some(&root), &message));
        postern.wait_for_mail("anna", number + 1);
    }
}

#[test]
fn check_says_by_its_exit_code_how_near_the_end_is() {
    let house = House::start();
    let now = Timestamp::now();
    let days = |days: i64| SignedDuration::from_hours(24 * days);
    for (begun, left, code, verdict) in [
        (days(10), days(80), 0, "OK: "),
        (days(70), days(20), 1, "WARNING: "),
        (days(89), days(1), 2, "CRITICAL: "),
    ] {
        let certificate = house.authority.sign_between(&house.request(), "dated", [now - begun, now + left]);
        house.installs(&[text(&certificate), text(&house.authority.issuer())]);
        house.assert_served(&certificate);
        let said = run(&mut house.postern.command(&["cert", "check"]));
        assert_eq!(said.status.code(), Some(code), "{}", both(&said));
        assert!(both(&said).starts_with(verdict), "{}", both(&said));
        let told = run(&mut house.postern.command(&["cert", "check", "--json"]));
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        let worst = told.as_array().unwrap().iter().find(|one| one["owner"]["identity"] == "mail").unwrap();
        let remedy = worst["remedy"].as_str().unwrap();
        assert_eq!(
            remedy.contains("postern cert renew mail, then postern cert install"),
            code > 0,
            "{remedy}"
        );
        assert_eq!(
            worst["severity"],
            ["ok", "warning", "critical"][usize::try_from(code).unwrap()],
            "{told:#}"
        );
    }
    // What is proposed can be done.
    house.postern.cli(&["cert", "renew", "mail"]);
    assert!(house.waiting("request.pem").exists());
}

/// The public key as openssl prints it.
#[track_caller]
fn public_key(what: &str, file: &Path) -> String {
    let said = succeed(program("openssl").args([what, "-noout", "-pubkey", "-in", text(file)]));
    assert!(said.contains("-----BEGIN PUBLIC KEY-----"), "{said}");
    said
}

#[test]
fn a_renewal_by_hand_asks_again_for_the_same_names_with_the_same_key() {
    let house = House::start();
    let old = house.obtain("old");
    let printed = run(&mut house.postern.command(&["cert", "renew", "mail"]));
    assert!(printed.status.success(), "{}", both(&printed));
    let request = house.waiting("request.pem");
    assert_eq!(printed.stdout, fs::read(&request).unwrap(), "standard output holds the request alone");
    assert_eq!(public_key("req", &request), public_key("x509", &old));
    let read = succeed(program("openssl").args(["req", "-verify", "-noout", "-text", "-in", text(&request)]));
    assert!(read.contains(&format!("DNS:{NAME}")), "{read}");
    house.assert_served(&old);
    let new = house.authority.sign(&request, "new", &[]);
    house.installs(&[text(&new), text(&house.authority.issuer())]);
    house.assert_served(&new);
    assert_eq!(public_key("x509", &new), public_key("x509", &old));
}

/// SHA-256 of a key's SubjectPublicKeyInfo, by openssl alone.
#[track_caller]
fn digest_of_key(house: &House, key: &Path) -> String {
    house.authority.openssl(&["pkey", "-pubout", "-outform", "DER"], &["-in", text(key), "-out", "spki.der"]);
    let said = house.authority.openssl(&["dgst", "-sha256", "-r"], &["spki.der"]);
    said.split(' ').next().unwrap().to_owned()
}

#[test]
fn no_certificate_is_shown_that_our_own_tlsa_records_forbid_until_both_keys_are_published() {
    let place = format!("_25._tcp.{NAME}");
    let house = House::start();
    let old = house.obtain("old");
    let told: Value =
        serde_json::from_str(&house.postern.cli(&["cert", "next-key", "mail", "--json"])).unwrap();
    let (present, next) = (
        digest_of_key(&house, &house.stored("current/key.pem")),
        digest_of_key(&house, &house.stored("next.key")),
    );
    assert_ne!(present, next);
    for (which, digest) in [("present", &present), ("next", &next)] {
        let records: Vec<&str> =
            told[which]["tlsa"].as_array().unwrap().iter().map(|record| record.as_str().unwrap()).collect();
        for port in [25, 465, 587] {
            let record = format!("_{port}._tcp.{NAME}. 3600 IN TLSA 3 1 1 {digest}");
            assert!(records.contains(&record.as_str()), "no {record} in {records:?}");
        }
        assert_eq!(records.len(), 3, "{records:?}");
    }
    let again = house.postern.cli(&["cert", "next-key", "mail"]);
    assert!(again.contains(&next), "it is the same key each time: {again}");
    let publish = |digest: &str| {
        let octets: Vec<u8> = digest
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        house.names.change(|zone| zone.tlsa(&place, 3, 1, 1, &octets).secure(&place));
    };
    publish(&present);
    house.postern.cli(&["cert", "request", "--identity", "mail", "--keep-key", "--yes"]);
    let new = house.authority.sign(&house.waiting("request.pem"), "new", &[]);
    let before = house.state();
    let issuer = house.authority.issuer();
    let files = [text(&new), text(&issuer)];
    let (code, said) = house.install(&files);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("publish {place}. 3600 IN TLSA 3 1 1 {next}")), "{said}");
    assert!(house.state() == before, "something changed: {said}");
    house.assert_served(&old);
    publish(&next);
    house.installs(&files);
    house.assert_served(&new);
    assert_eq!(digest_of_key(&house, &house.stored("current/key.pem")), next);
}

#[test]
fn a_private_certificate_is_refused_while_an_mta_sts_policy_is_enforced() {
    let setup = Setup::new().trusting_its_authority();
    let public = setup.authority().issue(&[NAME]);
    let policy_host = setup.authority().issue(&["mta-sts.home.test"]);
    let policy = HttpsHost::start(&policy_host, |_| {
        Answer::text(format!("version: STSv1\nmode: enforce\nmx: {NAME}\nmax_age: 86400\n"))
    });
    let zone = Zone::new()
        .mx("home.test", 10, NAME)
        .txt("_mta-sts.home.test", "v=STSv1; id=1;")
        .address("mta-sts.home.test", policy.ip());
    let mut house = House::prepare(setup, zone);
    house.postern.start();
    let private = house.answer("private");
    let before = house.state();
    let (code, said) = house.install(&[text(&private), text(&house.authority.issuer())]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("MTA-STS of home.test: ") && said.contains("everybody trusts"), "{said}");
    assert!(house.state() == before, "something changed: {said}");
    assert!(!policy.requests().is_empty(), "the policy was not looked at");
    house.installs(&[text(&public.certificate), "--key", text(&public.key), "--as", "mail"]);
    assert_eq!(
        house.shown(Some(NAME), &house.postern.root()),
        Shown { certificate: public.leaf(), verified: true }
    );
}

/// When `cert install` is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after its start.
    After(Duration),
    /// So long after it wrote the first file.
    Writing(Duration),
    /// As soon as the new certificate is in force.
    Swapped,
}

#[test]
fn an_installation_that_is_killed_leaves_the_old_certificate_or_the_new_one_whole() {
    let mut house = House::prepare(Setup::new(), Zone::new());
    let pair = ["a", "b"].map(|name| house.authority.issue(name, NAME));
    let install = |identity: &Identity| {
        let mut command = house.postern.command(&["cert", "install", "--yes", "--as", "mail"]);
        command.arg(&identity.certificate).arg(house.authority.issuer()).arg("--key").arg(&identity.key);
        command
    };
    succeed(&mut install(&pair[0]));
    // How long it takes, and how much of that is writing.
    let took = kill_at(Moment::After(Duration::MAX), &mut install(&pair[1]), &house.stored(""));
    let moments = (1..=8)
        .map(|part| Moment::After(took.whole * part / 8))
        .chain((0..=16).map(|part| Moment::Writing(took.writing * part / 16)))
        .chain([Moment::Swapped; 4]);
    let mut present = 1;
    for moment in moments {
        let next = 1 - present;
        kill_at(moment, &mut install(&pair[next]), &house.stored(""));
        let found = in_force(&house, &pair);
        if matches!(moment, Moment::Swapped) {
            assert_eq!(found, next, "{moment:?}");
        }
        present = found;
    }
    // Nothing is left that keeps the next one from its work.
    for identity in &pair {
        succeed(&mut install(identity));
    }
    assert_eq!(in_force(&house, &pair), 1);
    assert_keys_are_the_owners(&house.postern);
    house.postern.start();
    house.assert_served(&pair[1].certificate);
}

/// How long an installation lived, and how much of it was after its first change on disk.
struct Took {
    whole: Duration,
    writing: Duration,
}

fn kill_at(moment: Moment, command: &mut Command, store: &Path) -> Took {
    let link = || fs::read_link(store.join("current")).unwrap();
    let (before, current) = (files_below(store), link());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let mut writing: Option<Instant> = None;
    while child.try_wait().unwrap().is_none() {
        if writing.is_none() && files_below(store) != before {
            writing = Some(Instant::now());
        }
        let is_time = match moment {
            Moment::After(delay) => begun.elapsed() >= delay,
            Moment::Writing(delay) => writing.is_some_and(|since| since.elapsed() >= delay),
            Moment::Swapped => link() != current,
        };
        if is_time {
            child.kill().unwrap();
            break;
        }
        std::thread::yield_now();
    }
    child.wait().unwrap();
    Took { whole: begun.elapsed(), writing: writing.map(|since| since.elapsed()).unwrap_or_default() }
}

/// Which of the two is the identity in the store: its chain is whole, its key fits, and openssl agrees.
#[track_caller]
fn in_force(house: &House, pair: &[Identity; 2]) -> usize {
    let stored = Identity {
        certificate: house.stored("current/certificate.pem"),
        key: house.stored("current/key.pem"),
    };
    let leaf = stored.leaf();
    let which = pair.iter().position(|identity| identity.leaf() == leaf).unwrap();
    // rustls takes no key that is not the certificate's.
    drop(stored.server_config());
    assert_eq!(stored.chain().len(), 2, "the chain is not whole");
    which
}
