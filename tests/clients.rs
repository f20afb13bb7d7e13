//! Real mail programs hand mail in, each in every way it can: STARTTLS on the submission port, TLS from the first octet, and
//! signing in after STARTTLS on the relay port. Each checks Postern's certificate.

use std::fs;
use std::process::Command;

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{fail, program, python, succeed, text};
use crate::support::{Peer, Postern, Setup, content};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    StartTls,
    Implicit,
    Relay,
}

impl Way {
    const ALL: [Way; 3] = [Way::StartTls, Way::Implicit, Way::Relay];

    fn listener(self) -> &'static str {
        match self {
            Way::StartTls => "submission",
            Way::Implicit => "submissions",
            Way::Relay => "mx",
        }
    }
}

/// One message to be sent by a program.
struct Job<'a> {
    postern: &'a Postern,
    way: Way,
    password: &'a str,
    subject: &'a str,
}

impl Job<'_> {
    fn port(&self) -> String {
        self.postern.at(self.way.listener()).port().to_string()
    }

    fn root(&self) -> String {
        text(&self.postern.root()).to_owned()
    }

    /// A file with the message, its lines ended as programs on Unix expect them.
    fn file(&self) -> String {
        let path = self.postern.folder().join(self.subject.replace(' ', "-"));
        fs::write(&path, content::unix_lines(&content::plain(ANNA, "ben@elsewhere.test", self.subject)))
            .unwrap();
        text(&path).to_owned()
    }

    /// A settings file of the program's.
    fn settings(&self, content: &str) -> String {
        let path = self.postern.folder().join(format!("{}.settings", self.subject.replace(' ', "-")));
        fs::write(&path, content).unwrap();
        // msmtp refuses to read a password from a file that others can read.
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        text(&path).to_owned()
    }
}

#[track_caller]
fn delivers_in_every_way(name: &str, command: fn(&Job) -> Command) {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    for (index, way) in Way::ALL.into_iter().enumerate() {
        let subject = format!("{name} {way:?}");
        succeed(&mut command(&Job { postern: &postern, way, password: PASSWORD, subject: &subject }));
        let taken = peer.wait_for(index + 1).pop().unwrap();
        let text = String::from_utf8_lossy(&taken.content).into_owned();
        assert!(taken.from.starts_with("<anna@home.test>"), "{taken:?}");
        assert_eq!(taken.to.len(), 1, "{taken:?}");
        assert!(taken.to[0].starts_with("<ben@elsewhere.test>"), "{taken:?}");
        assert!(text.contains(&format!("Subject: {subject}\r\n")), "{text}");
        assert!(text.contains("Good morning."), "{text}");
        assert!(
            text.contains("ESMTPSA"),
            "the trace does not say that it came signed in and encrypted: {text}"
        );
    }
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), Way::ALL.len());
}

#[track_caller]
fn wrong_password_is_refused(name: &str, command: fn(&Job) -> Command) {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let subject = format!("{name} wrong");
    fail(&mut command(&Job { postern: &postern, way: Way::StartTls, password: "wrong", subject: &subject }));
    assert!(postern.queue().is_empty());
    assert!(peer.taken().is_empty());
}

fn swaks(job: &Job) -> Command {
    let mut command = program("swaks");
    command.args(["--server", "localhost", "--port", &job.port(), "--auth", "PLAIN", "--auth-user", "anna"]);
    command.args(["--auth-password", job.password, "--from", ANNA, "--to", "ben@elsewhere.test"]);
    command.args([
        "--data",
        &format!("@{}", job.file()),
        "--tls-verify",
        "--tls-ca-path",
        &job.root(),
        "--timeout",
        "20s",
    ]);
    command.arg(if job.way == Way::Implicit { "--tls-on-connect" } else { "--tls" });
    command
}

fn curl(job: &Job) -> Command {
    let scheme = if job.way == Way::Implicit { "smtps" } else { "smtp" };
    let mut command = program("curl");
    command.args([
        "--silent",
        "--show-error",
        "--ssl-reqd",
        "--cacert",
        &job.root(),
        "--max-time",
        "30",
        "--crlf",
    ]);
    command.args(["--url", &format!("{scheme}://localhost:{}/client.test", job.port())]);
    command.args(["--user", &format!("anna:{}", job.password), "--mail-from", ANNA]);
    command.args(["--mail-rcpt", "ben@elsewhere.test", "--upload-file", &job.file()]);
    command
}

fn msmtp(job: &Job) -> Command {
    let settings = job.settings(&format!(
        "account default\nhost localhost\nport {}\ntls on\ntls_starttls {}\ntls_trust_file {}\nauth on\nuser anna\npassword {}\nfrom {ANNA}\n",
        job.port(),
        if job.way == Way::Implicit { "off" } else { "on" },
        job.root(),
        job.password,
    ));
    let mut command = program("msmtp");
    command.args(["--file", &settings, "--timeout=20", "--", "ben@elsewhere.test"]);
    command.stdin(fs::File::open(job.file()).unwrap());
    command
}

fn mutt(job: &Job) -> Command {
    let scheme = if job.way == Way::Implicit { "smtps" } else { "smtp" };
    let settings = job.settings(&format!(
        "set smtp_url = \"{scheme}://anna@localhost:{}\"\nset smtp_pass = \"{}\"\nset smtp_authenticators = \"plain\"\n\
         set ssl_force_tls = yes\nset ssl_starttls = yes\nset ssl_ca_certificates_file = \"{}\"\nset certificate_file = \"{}\"\n\
         set ssl_usesystemcerts = no\nset from = \"{ANNA}\"\nset use_from = yes\nset envelope_from_address = \"{ANNA}\"\nset use_envelope_from = yes\n\
         set copy = no\nset record = \"\"\nset hostname = client.test\nset header_cache = \"\"\n",
        job.port(),
        job.password,
        job.root(),
        job.root(),
    ));
    let mut command = program("mutt");
    command.args(["-n", "-F", &settings, "-s", job.subject, "--", "ben@elsewhere.test"]);
    command.env("HOME", job.postern.folder()).env("TERM", "dumb");
    command.stdin(fs::File::open(body_file(job)).unwrap());
    command
}

fn s_nail(job: &Job) -> Command {
    let scheme = if job.way == Way::Implicit { "smtps" } else { "smtp" };
    let mut command = program("s-nail");
    command.args([
        "-:/",
        "-S",
        "v15-compat",
        "-S",
        "hostname=client.test",
        "-S",
        "smtp-auth=plain",
        "-S",
        "tls-verify=strict",
    ]);
    command.args(["-S", &format!("tls-ca-file={}", job.root()), "-S", "tls-ca-no-defaults"]);
    command.args([
        "-S",
        &format!("mta={scheme}://anna:{}@localhost:{}", percent_encoded(job.password), job.port()),
    ]);
    if job.way != Way::Implicit {
        command.args(["-S", "smtp-use-starttls"]);
    }
    command.args(["-r", ANNA, "-s", job.subject, "-S", "sendwait", "-S", "nosave", "ben@elsewhere.test"]);
    command.env("HOME", job.postern.folder());
    command.stdin(fs::File::open(body_file(job)).unwrap());
    command
}

fn python_smtplib(job: &Job) -> Command {
    let mut command = python(
        "
import smtplib, ssl, sys
way, port, root, password, file = sys.argv[1:]
context = ssl.create_default_context(cafile=root)
if way == 'Implicit':
    client = smtplib.SMTP_SSL('localhost', int(port), context=context, timeout=20)
else:
    client = smtplib.SMTP('localhost', int(port), timeout=20)
    client.starttls(context=context)
# smtplib's own login() takes ASCII passwords only.
import base64
client.ehlo()
code, text = client.docmd('AUTH', 'PLAIN ' + base64.b64encode(f'\\0anna\\0{password}'.encode()).decode())
assert code == 235, (code, text)
refused = client.sendmail('anna@home.test', ['ben@elsewhere.test'], open(file).read())
assert not refused, refused
client.quit()
",
    );
    command.args([&format!("{:?}", job.way), &job.port(), &job.root(), job.password, &job.file()]);
    command
}

fn body_file(job: &Job) -> String {
    let path = job.postern.folder().join("body");
    fs::write(&path, "Good morning.\n").unwrap();
    text(&path).to_owned()
}

fn percent_encoded(text: &str) -> String {
    let encode = |octet: u8| {
        if octet.is_ascii_alphanumeric() { char::from(octet).to_string() } else { format!("%{octet:02X}") }
    };
    text.bytes().map(encode).collect()
}

macro_rules! scenarios {
    ($($program:ident)*) => {
        $(mod $program {
            #[test]
            fn delivers_over_587_465_and_25_after_signing_in() {
                super::delivers_in_every_way(stringify!($program), super::$program);
            }

            #[test]
            fn with_a_wrong_password_hands_in_nothing() {
                super::wrong_password_is_refused(stringify!($program), super::$program);
            }
        })*
    };
}

scenarios! { swaks curl msmtp mutt s_nail python_smtplib }

#[test]
fn swaks_shows_the_reply_to_a_wrong_password_with_plain_and_login() {
    let postern = Setup::new().start();
    for mechanism in ["PLAIN", "LOGIN"] {
        let mut command = program("swaks");
        command.args([
            "--server",
            "localhost",
            "--port",
            &postern.at("submission").port().to_string(),
            "--tls",
        ]);
        command.args([
            "--auth",
            mechanism,
            "--auth-user",
            "anna",
            "--auth-password",
            "wrong",
            "--quit-after",
            "AUTH",
        ]);
        let said = fail(&mut command);
        assert!(said.contains("535 5.7.8 Authentication failed (bad-credentials)"), "{said}");
    }
}

#[test]
fn swaks_signs_in_with_login_too() {
    let postern = Setup::new().start();
    let mut command = program("swaks");
    command.args(["--server", "localhost", "--port", &postern.at("submission").port().to_string(), "--tls"]);
    command.args([
        "--auth",
        "LOGIN",
        "--auth-user",
        "anna",
        "--auth-password",
        PASSWORD,
        "--quit-after",
        "AUTH",
    ]);
    let said = succeed(&mut command);
    assert!(said.contains("235 2.7.0"), "{said}");
}

#[test]
fn a_client_that_does_not_trust_the_certificate_sends_nothing() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let job = Job { postern: &postern, way: Way::StartTls, password: PASSWORD, subject: "untrusted" };
    let mut command = program("curl");
    command.args(["--silent", "--show-error", "--ssl-reqd", "--max-time", "30"]);
    command.args([
        "--url",
        &format!("smtp://localhost:{}", job.port()),
        "--user",
        &format!("anna:{PASSWORD}"),
    ]);
    command.args(["--mail-from", ANNA, "--mail-rcpt", "ben@elsewhere.test", "--upload-file", &job.file()]);
    fail(&mut command);
    assert!(postern.queue().is_empty() && peer.taken().is_empty());
}
