//! The private CA and people: made at a terminal, certificates for persons and devices from their issue to the moment when they
//! count no more, passphrases right and wrong, a list that is overdue, an intermediate that is renewed. openssl reads all of it;
//! msmtp and curl show the certificates, as the people's own programs would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::postern::{ANNA, listeners};
use crate::support::programs::{both, fail, program, python, run, succeed, text};
use crate::support::terminal::Terminal;
use crate::support::{Peer, Postern, Setup, content, files_below};

/// What opens the CA's keys, and the PKCS #12 files.
const PASSPHRASE: &str = "correct horse \u{e4}";
/// When the list was signed that is overdue, and when the next one was due; as openssl and as Postern's log write it.
const SIGNED: &str = "20260102000000Z";
const DUE: &str = "20260109000000Z";
const DUE_DAY: &str = "2026-01-09";

/// A Postern with a private CA, whose certificates its clients may show.
struct Office {
    postern: Postern,
    /// The file with what opens the CA's key, and one with something else.
    passphrase: PathBuf,
    wrong: PathBuf,
}

/// How the CA is made.
const UNDER_A_LOCKED_ROOT: &[&str] = &["--intermediate"];
const ONE_LOCKED_KEY: &[&str] = &[];

/// What a person's or a device's program shows.
struct Shown {
    chain: PathBuf,
    key: PathBuf,
}

impl Office {
    /// Without a CA.
    fn of(postern: Postern) -> Office {
        let (passphrase, wrong) = (postern.folder().join("passphrase"), postern.folder().join("wrong"));
        fs::write(&passphrase, format!("{PASSPHRASE}\nand nothing more\n")).unwrap();
        fs::write(&wrong, "correct house\n").unwrap();
        Office { postern, passphrase, wrong }
    }

    /// The CA is there; the daemon does not run yet.
    fn prepare(shape: &[&str], setup: Setup) -> Office {
        let root = setup.folder().join("data/ca/root.pem");
        let bind = "127.0.0.1:0\"]\n";
        let asked = format!("{bind}client_certificates = \"asked\"\nclient_ca = {root:?}\n");
        let setup = setup.listeners(&listeners("127.0.0.1:0").replace(bind, &asked));
        let office = Office::of(setup.prepare());
        let lock = ["--passphrase-file", text(&office.passphrase), "--yes"];
        office.postern.cli(&[&["ca", "init", "--label", "Office"], shape, &lock].concat());
        office
    }

    fn open(shape: &[&str], setup: Setup) -> Office {
        let mut office = Office::prepare(shape, setup);
        office.postern.start();
        office
    }

    fn file(&self, name: &str) -> PathBuf {
        self.postern.folder().join(name)
    }

    fn ca(&self, name: &str) -> PathBuf {
        self.postern.data_dir().join("ca").join(name)
    }

    fn status(&self) -> Value {
        let said = run(&mut self.postern.command(&["ca", "status", "--json"]));
        serde_json::from_slice(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", both(&said)))
    }

    /// Issues a certificate into the test's folder, by whatever opens the key.
    fn issue(&self, arguments: &[&str]) -> Command {
        let command = self.postern.command(&["ca", "issue", "--output", text(self.postern.folder())]);
        with(command, arguments)
    }

    /// A person's certificate, as a mail program would import it, taken apart by openssl.
    fn issue_to_person(&self, address: &str) -> Shown {
        let lock = ["--pkcs12", "--pkcs12-passphrase-file", text(&self.passphrase)];
        succeed(
            &mut self.issue(&[&[address, "--passphrase-file", text(&self.passphrase)], &lock[..]].concat()),
        );
        let (chain, key) = (self.file(&format!("{address}.pem")), self.file(&format!("{address}.key")));
        let part = |arguments: &[&str]| succeed(&mut self.read_pkcs12(address, &self.passphrase, arguments));
        part(&["-nokeys", "-out", text(&chain)]);
        part(&["-nocerts", "-noenc", "-out", text(&key)]);
        Shown { chain, key }
    }

    fn read_pkcs12(&self, address: &str, passphrase: &Path, arguments: &[&str]) -> Command {
        let mut command = program("openssl");
        command.args(["pkcs12", "-in", text(&self.file(&format!("{address}.p12")))]);
        command.args(["-passin", &format!("file:{}", text(passphrase))]);
        with(command, arguments)
    }

    /// A person sends a message and signs in by nothing but the certificate.
    fn submits(&self, person: &str, shown: &Shown) -> Command {
        let (address, letter) = (format!("{person}@home.test"), self.file("letter"));
        fs::write(&letter, content::unix_lines(&content::plain(&address, ANNA, "By certificate"))).unwrap();
        let mut command = program("msmtp");
        command.args(["--file=/dev/null", "--host=localhost", "--tls=on", "--auth=external", "--timeout=20"]);
        command.arg(format!("--port={}", self.postern.at("submission").port()));
        command.arg(format!("--tls-trust-file={}", text(&self.postern.root())));
        command.arg(format!("--tls-cert-file={}", text(&shown.chain)));
        command.arg(format!("--tls-key-file={}", text(&shown.key)));
        command.args([&format!("--user={person}"), &format!("--from={address}"), "--", ANNA]);
        command.stdin(fs::File::open(letter).unwrap());
        command
    }

    /// A device relays a message by nothing but the certificate.
    fn relays(&self, shown: &Shown) -> Command {
        let letter = self.file("letter-of-a-device");
        fs::write(&letter, content::plain("printer@home.test", "ben@elsewhere.test", "Scanned")).unwrap();
        let mut command = program("curl");
        command.args(["--silent", "--show-error", "--ssl-reqd", "--max-time", "30"]);
        command.args(["--cacert", text(&self.postern.root())]);
        command.args(["--cert", text(&shown.chain), "--key", text(&shown.key)]);
        command.args(["--url", &format!("smtp://localhost:{}", self.postern.at("mx").port())]);
        command.args(["--mail-from", "printer@home.test", "--mail-rcpt", "ben@elsewhere.test"]);
        command.args(["--upload-file", text(&letter)]);
        command
    }

    fn is_issued(&self, name: &str) -> bool {
        self.postern.cli(&["ca", "list", "--all"]).contains(name)
    }

    /// What `openssl verify` says of a server's certificate and its revocation, with the root as its only trust.
    fn verify(&self, chain: &Path) -> String {
        let mut command = program("openssl");
        command.args(["verify", "-x509_strict", "-purpose", "sslserver", "-crl_check"]);
        command.args(["-CRLfile", text(&self.ca("crl.pem")), "-CAfile", text(&self.ca("root.pem"))]);
        command.args(["-untrusted", text(&self.ca("intermediate.pem")), text(chain)]);
        succeed(&mut command)
    }
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

#[test]
fn a_ca_is_made_at_a_terminal_with_its_passphrase_typed_twice() {
    let office = Office::of(Setup::new().without_user().prepare());
    let mut terminal = Terminal::start(&office.postern.command(&["ca", "init"]));
    terminal.answer("Name of the CA", "Office & S\u{f6}hne");
    terminal.answer("Kind of its keys", "");
    terminal.answer("How long is the root good for [3653d]", "soon");
    terminal.answer("How long is the root good for", "20y");
    terminal.answer("How long is the root good for", "1000d");
    terminal.press("With an intermediate? [Y/n]", "y");
    terminal.answer("How long is the intermediate good for [1826d]", "500d");
    terminal.press("Lock the root's key by a passphrase? [Y/n]", "y");
    terminal.answer("Passphrase of the private CA", PASSPHRASE);
    terminal.answer("Once more", "something else");
    terminal.expect("The two differ");
    terminal.answer("Passphrase of the private CA", PASSPHRASE);
    terminal.answer("Once more", PASSPHRASE);
    terminal.press("Lock the intermediate's key, too", "n");
    terminal.expect("the root's is locked by the passphrase, the intermediate's is open");
    assert!(!office.ca("root.pem").exists(), "it was made before it was confirmed");
    terminal.press("Make this CA?", "y");
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("locked by a passphrase"), "{shown}");
    assert!(!shown.contains(PASSPHRASE), "{shown}");

    let seen = office.status();
    assert_eq!((seen["root_key"].as_str(), seen["signing_key"].as_str()), (Some("locked"), Some("open")));
    let opens = |passphrase: &Path| {
        let from = format!("file:{}", text(passphrase));
        run(program("openssl").args([
            "pkey",
            "-noout",
            "-in",
            text(&office.ca("private/root.key")),
            "-passin",
            &from,
        ]))
    };
    assert!(opens(&office.passphrase).status.success() && !opens(&office.wrong).status.success());
    let said = succeed(program("openssl").args([
        "x509",
        "-noout",
        "-subject",
        "-nameopt",
        "utf8",
        "-checkend",
        "86300000",
        "-in",
        text(&office.ca("root.pem")),
    ]));
    assert!(said.contains("Office & S\u{f6}hne"), "{said}");
    let authorities =
        ["-CAfile", text(&office.ca("root.pem")), text(&office.ca("intermediate.pem"))].map(str::to_owned);
    succeed(program("openssl").arg("verify").args(authorities));
}

#[test]
fn a_person_signs_in_by_certificate_until_it_is_revoked_and_nobody_else_is_disturbed() {
    let office = Office::open(UNDER_A_LOCKED_ROOT, Setup::new());
    office.postern.add_user("carl", "another password", "carl@home.test");
    office.postern.add_user("eva", "a third password", "eva@home.test");
    let (carl, eva) = (office.issue_to_person("carl@home.test"), office.issue_to_person("eva@home.test"));
    let said = succeed(&mut office.read_pkcs12("carl@home.test", &office.passphrase, &["-info", "-nokeys"]));
    assert!(said.contains("CN = Office (intermediate)") && said.contains("AES-256-CBC"), "{said}");
    let said = fail(&mut office.read_pkcs12("carl@home.test", &office.wrong, &["-nokeys"]));
    assert!(said.contains("invalid password"), "{said}");
    let said = succeed(program("openssl").args(["x509", "-noout", "-text", "-in", text(&carl.chain)]));
    assert!(
        said.contains("email:carl@home.test") && said.contains("TLS Web Client Authentication"),
        "{said}"
    );
    assert!(!said.contains("TLS Web Server Authentication"), "{said}");

    succeed(&mut office.submits("carl", &carl));
    office.postern.wait_for_mail("anna", 1);
    let mut open = office.postern.signed_in();
    let said =
        office.postern.cli(&["ca", "revoke", "carl@home.test", "--reason", "affiliation-changed", "--yes"]);
    assert!(said.contains("revocation list number 2"), "{said}");
    let said = fail(&mut office.submits("carl", &carl));
    assert!(said.contains("EXTERNAL"), "it is not even offered: {said}");
    open.deliver(ANNA, &[ANNA], &content::plain(ANNA, ANNA, "Undisturbed")).expect(250);
    succeed(&mut office.submits("eva", &eva));
    office.postern.wait_for_mail("anna", 3);
}

#[test]
fn a_device_relays_by_certificate_until_it_is_revoked() {
    let peer = Peer::start();
    let allowed = "[[relay.certificates]]\nname = \"devices\"\nnames = [\"printer.home.test\"]";
    let office = Office::open(UNDER_A_LOCKED_ROOT, Setup::new().next_hop(peer.address()).tables(allowed));
    succeed(&mut office.issue(&["printer.home.test", "--purpose", "client", "--key", "rsa-2048"]));
    let printer =
        Shown { chain: office.file("printer.home.test.pem"), key: office.file("printer.home.test.key") };
    succeed(&mut office.relays(&printer));
    let taken = peer.wait_for(1).remove(0);
    assert!(taken.from.starts_with("<printer@home.test>"), "{taken:?}");
    let found = office.postern.cli(&["ca", "show", "printer.home.test", "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let serial = found[0]["serial"].as_str().unwrap();
    office.postern.cli(&["ca", "revoke", serial, "--reason", "key-compromise", "--yes"]);
    let said = fail(&mut office.relays(&printer));
    assert!(said.contains("550"), "{said}");
    let log = office.postern.log();
    assert!(log.contains("its certificate does not verify: ") && log.contains("revoked"), "{log}");
}

#[test]
fn a_locked_ca_issues_only_for_who_knows_the_passphrase() {
    let office = Office::prepare(ONE_LOCKED_KEY, Setup::new().without_user());
    let mail = ["mail.home.test"];
    let said = fail(&mut office.issue(&mail));
    assert!(said.contains("--passphrase-file"), "{said}");
    let said = fail(&mut office.issue(&[mail[0], "--passphrase-file", text(&office.wrong)]));
    assert!(said.contains("this passphrase does not open the CA's key"), "{said}");
    let said = fail(&mut office.issue(&[mail[0], "--passphrase-file", text(&office.file("none"))]));
    assert!(said.contains("none: there is no such file"), "{said}");
    let mut terminal = Terminal::start(&office.issue(&mail));
    terminal.answer("Passphrase of the private CA", "correct house");
    let (status, shown) = terminal.end();
    assert!(!status.success() && shown.contains("does not open"), "{shown}");
    let left = files_below(office.postern.folder());
    assert!(!left.iter().any(|path| text(path).contains("mail.home.test")), "{left:?}");
    assert!(!office.is_issued("mail.home.test"));

    let mut terminal = Terminal::start(&office.issue(&mail));
    terminal.answer("Passphrase of the private CA", PASSPHRASE);
    let (status, shown) = terminal.end();
    assert!(status.success() && !shown.contains(PASSPHRASE), "{shown}");
    succeed(&mut office.issue(&["web.home.test", "--passphrase-file", text(&office.passphrase)]));
    assert!(office.is_issued("mail.home.test") && office.is_issued("web.home.test"));
    let said = fail(&mut office.postern.command(&["ca", "revoke", "mail.home.test", "--yes"]));
    assert!(said.contains("--passphrase-file"), "{said}");
}

/// The CA has slept since January: its last list, signed by openssl in its name, says that this certificate was revoked.
fn make_list_overdue(office: &Office, revoked: &str) {
    let folder = office.file("sleeping");
    fs::create_dir(&folder).unwrap();
    let (index, config, list) =
        (folder.join("index.txt"), folder.join("openssl.cnf"), folder.join("crl.der"));
    let line = format!("R\t300101000000Z\t260101000000Z\t{}\tunknown\t/CN=x\n", revoked.to_ascii_uppercase());
    fs::write(&index, line).unwrap();
    fs::write(folder.join("number"), "02\n").unwrap();
    let keys = format!("database = {}\ncrlnumber = {}\n", text(&index), text(&folder.join("number")));
    let keys = format!("{keys}default_md = sha256\ndefault_crl_days = 7\ncrl_extensions = list\n");
    let section = "[list]\nauthorityKeyIdentifier = keyid:always\n";
    fs::write(&config, format!("[ca]\ndefault_ca = office\n[office]\n{keys}{section}")).unwrap();
    let mut command = program("openssl");
    command.args([
        "ca",
        "-gencrl",
        "-config",
        text(&config),
        "-crl_lastupdate",
        SIGNED,
        "-crl_nextupdate",
        DUE,
    ]);
    command.args(["-cert", text(&office.ca("root.pem")), "-keyfile", text(&office.ca("private/root.key"))]);
    command.args([
        "-passin",
        &format!("file:{}", text(&office.passphrase)),
        "-out",
        text(&office.ca("crl.pem")),
    ]);
    succeed(&mut command);
    let der = ["-in", text(&office.ca("crl.pem")), "-outform", "DER", "-out", text(&list)].map(str::to_owned);
    succeed(program("openssl").arg("crl").args(der));
    fs::copy(&list, office.ca("crl.der")).unwrap();
    let script = "
import calendar, sqlite3, sys, time
records, der, revoked = sys.argv[1], open(sys.argv[2], 'rb').read(), sys.argv[5]
signed, due = (calendar.timegm(time.strptime(at, '%Y%m%d%H%M%SZ')) for at in sys.argv[3:5])
with sqlite3.connect(records) as records:
    assert records.execute('UPDATE list SET this_update = ?, next_update = ?, der = ?', (signed, due, der)).rowcount == 1
    sql = 'UPDATE certificate SET revoked = ?, reason = 0 WHERE serial = ?'
    assert records.execute(sql, (signed - 86400, revoked)).rowcount == 1
";
    succeed(python(script).args([text(&office.ca("records.db")), text(&list), SIGNED, DUE, revoked]));
}

#[test]
fn a_list_that_is_overdue_is_an_alarm_and_locks_nobody_out_who_is_not_on_it() {
    let mut office = Office::prepare(ONE_LOCKED_KEY, Setup::new());
    office.postern.add_user("carl", "another password", "carl@home.test");
    let (anna, carl) = (office.issue_to_person(ANNA), office.issue_to_person("carl@home.test"));
    let found = office.postern.cli(&["ca", "show", "carl@home.test", "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    make_list_overdue(&office, found[0]["serial"].as_str().unwrap());
    office.postern.start();
    office.postern.wait_for_log(&format!("revocation list is good only until {DUE_DAY}"));
    office.postern.wait_for_log("postern ca crl --sign");
    let needs = office.status()["needs"].to_string();
    assert!(needs.contains("postern ca crl --sign") && needs.contains(DUE_DAY), "{needs}");
    succeed(&mut office.submits("anna", &anna));
    fail(&mut office.submits("carl", &carl));
    office.postern.wait_for_mail("anna", 1);

    office.postern.cli(&["ca", "crl", "--sign", "--passphrase-file", text(&office.passphrase)]);
    assert_eq!(office.status()["needs"].to_string(), "[]");
    succeed(&mut office.submits("anna", &anna));
    fail(&mut office.submits("carl", &carl));
}

#[test]
fn an_intermediate_near_its_end_is_renewed_by_the_roots_key_and_what_it_issued_stays_good() {
    let office = Office::open(&["--intermediate", "30d"], Setup::new().without_user());
    succeed(&mut office.issue(&["mail.home.test"]));
    let said = fail(&mut office.postern.command(&["ca", "status"]));
    assert!(said.contains("postern ca renew-intermediate"), "{said}");
    let before = fs::read(office.ca("intermediate.pem")).unwrap();
    let renew = ["ca", "renew-intermediate"];
    let said = fail(&mut office.postern.command(&renew));
    assert!(said.contains("--passphrase-file"), "{said}");
    let wrong = [&renew[..], &["--passphrase-file", text(&office.wrong)]].concat();
    let said = fail(&mut office.postern.command(&wrong));
    assert!(said.contains("root.key: this passphrase does not open the CA's key"), "{said}");
    assert_eq!(fs::read(office.ca("intermediate.pem")).unwrap(), before);

    let right = ["--passphrase-file", text(&office.passphrase), "--life", "400d"];
    let said = office.postern.cli(&[&renew[..], &right].concat());
    assert!(said.contains("The running Postern has taken it over"), "{said}");
    assert_eq!(office.status()["needs"].to_string(), "[]");
    assert_ne!(fs::read(office.ca("intermediate.pem")).unwrap(), before);
    office.verify(&office.file("mail.home.test.pem"));
    succeed(&mut office.issue(&["web.home.test"]));
    office.verify(&office.file("web.home.test.pem"));
    office.postern.cli(&["ca", "revoke", "mail.home.test", "--yes"]);
}

#[test]
fn a_ca_without_an_intermediate_says_that_there_is_nothing_to_renew() {
    let office = Office::prepare(ONE_LOCKED_KEY, Setup::new().without_user());
    let said = fail(&mut office.postern.command(&["ca", "renew-intermediate"]));
    assert!(said.contains("has no intermediate"), "{said}");
}
