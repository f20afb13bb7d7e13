//! `postern check-server`: what it says to somebody whose mail program does not work, in front of real servers and of what stands
//! between them.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use postern_testkit::proxy::{Onward, Proxy, Trick};
use serde_json::Value;

use crate::probe::dropping;
use crate::support::dovecot::DovecotAuth;
use crate::support::postern::{ANNA, PASSWORD, postern};
use crate::support::postfix::Postfix;
use crate::support::programs::{both, run, text};
use crate::support::terminal::Terminal;
use crate::support::{Postern, Setup, unused_address};

/// What was said, and the exit code.
struct Checked {
    report: Value,
    code: i32,
}

impl Checked {
    /// Of these ports of this machine.
    #[track_caller]
    fn of(ports: &[u16], arguments: &[&str]) -> Checked {
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let mut command = postern();
        command.args(["check-server", "localhost", "--json", "--ports", &ports.join(",")]).args(arguments);
        let output = run(&mut command);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
        Checked { report, code: output.status.code().unwrap() }
    }

    #[track_caller]
    fn trusting(ports: &[u16], root: &Path, arguments: &[&str]) -> Checked {
        Checked::of(ports, &[&["--ca", text(root)], arguments].concat())
    }

    #[track_caller]
    fn expect(self, code: i32, words: &[&str]) -> Checked {
        assert_eq!(self.code, code, "{:#}", self.report);
        let found = self.report["findings"].to_string();
        for words in words {
            assert!(found.contains(words), "no {words:?} in {:#}", self.report);
        }
        self
    }

    fn settings(&self) -> Vec<(u16, &str)> {
        let settings = self.report["settings"].as_array().unwrap();
        let port = |one: &Value| u16::try_from(one["port"].as_u64().unwrap()).unwrap();
        settings.iter().map(|one| (port(one), one["encryption"].as_str().unwrap())).collect()
    }
}

fn ports(postern: &Postern) -> [u16; 2] {
    [postern.at("submissions").port(), postern.at("submission").port()]
}

fn secret(postern: &Postern, password: &str) -> String {
    let file = postern.folder().join("typed");
    std::fs::write(&file, format!("{password}\n")).unwrap();
    text(&file).to_owned()
}

#[test]
fn a_server_that_is_well_is_told_as_settings() {
    let postern = Setup::new().start();
    let [tls, starttls] = ports(&postern);
    let checked = Checked::trusting(&[tls, starttls], &postern.root(), &[]).expect(0, &[]);
    let settings = checked.settings();
    assert!(settings.contains(&(tls, "tls")) && settings.contains(&(starttls, "starttls")), "{settings:?}");
}

#[test]
fn an_authority_that_nobody_trusts_is_told_and_no_password_goes_there() {
    let postern = Setup::new().start();
    let file = secret(&postern, PASSWORD);
    let arguments = ["--user", ANNA, "--password-file", &file];
    let checked = Checked::of(&ports(&postern), &arguments);
    let checked = checked.expect(1, &["do not trust localhost", "the password was not sent"]);
    assert_eq!(checked.report["sign_in"]["result"], "not-tried");
    assert!(!postern.log().contains("signed in") && !postern.log().contains("AUTH"), "{}", postern.log());
}

#[test]
fn the_right_password_works_and_a_wrong_one_is_told() {
    let postern = Setup::new().start();
    for (password, code, result) in [(PASSWORD, 0, "yes"), ("wrong", 2, "refused")] {
        let file = secret(&postern, password);
        let arguments = ["--user", ANNA, "--password-file", &file];
        let checked = Checked::trusting(&ports(&postern), &postern.root(), &arguments);
        assert_eq!(
            (checked.code, &checked.report["sign_in"]["result"]),
            (code, &result.into()),
            "{:#}",
            checked.report
        );
    }
}

#[test]
fn the_password_is_typed_and_never_shown() {
    let postern = Setup::new().start();
    let [tls, _] = ports(&postern);
    let mut command = self::postern();
    command.args(["check-server", "localhost", "--ports", &tls.to_string(), "--user", ANNA, "--ca"]);
    let mut terminal = Terminal::start(command.arg(postern.root()));
    terminal.answer(&format!("Password of {ANNA}"), PASSWORD);
    let (status, shown) = terminal.end();
    assert!(status.success() && shown.contains("the password works"), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
}

#[test]
fn closed_and_dropped_ports_are_told_apart() {
    let postern = Setup::new().start();
    let [tls, _] = ports(&postern);
    let closed = unused_address().port();
    let (dropped, _held) = dropping();
    let checked = Checked::trusting(&[tls, closed, dropped], &postern.root(), &[]);
    let (closed, dropped) =
        (format!("port {closed} is refused"), format!("port {dropped} is not let through"));
    checked.expect(1, &[&closed, &dropped]);
    Checked::of(&[unused_address().port()], &[]).expect(2, &["localhost cannot be reached"]);
}

#[test]
fn a_name_that_does_not_exist_is_told() {
    let mut command = postern();
    let output = run(command.args(["check-server", "nothere.invalid"]));
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(both(&output).contains("nothere.invalid cannot be found from here"), "{}", both(&output));
}

#[test]
fn devices_that_take_starttls_out_are_found() {
    let postern = Setup::new().start();
    let [tls, starttls] = ports(&postern);
    for (trick, words) in [
        (Trick::HidesStartTls, "STARTTLS is missing"),
        (Trick::OverwritesStartTls, "rewrites what the server says: a keyword is masked"),
        (Trick::GarblesEhlo, "the first command (EHLO)"),
        (Trick::MasksBanner, "the banner is masked"),
        (Trick::AnswersStartTls("454 TLS not available"), "STARTTLS is offered and does not come about"),
    ] {
        let proxy = Proxy::start(postern.at("submission"), trick);
        let all = [tls, starttls, proxy.address().port()];
        let checked = Checked::trusting(&all, &postern.root(), &[]).expect(1, &[words]);
        assert!(checked.settings().contains(&(tls, "tls")), "{trick:?}: {:#}", checked.report);
    }
}

#[test]
fn a_certificate_of_somebody_on_the_way_is_found() {
    let postern = Setup::new().start();
    let [tls, starttls] = ports(&postern);
    let proxy = Proxy::start(postern.at("submission"), Trick::OpensTls(Onward::Tls));
    let opened = proxy.address().port();
    let checked = Checked::trusting(&[tls, starttls, opened], &postern.root(), &[]);
    let checked = checked.expect(1, &[&format!("port {opened} shows another certificate than port")]);
    assert_ne!(checked.settings()[0].0, opened);
    let root = postern.folder().join("opener.pem");
    std::fs::write(&root, proxy.root()).unwrap();
    let checked = Checked::trusting(&[opened], &root, &[]).expect(0, &[]);
    assert_eq!(checked.settings()[0].0, opened, "whoever trusts it can go on");
}

#[test]
fn postfix_is_checked_as_well() {
    let setup = Setup::new();
    let dovecot = DovecotAuth::start("anna", PASSWORD);
    let identity = setup.authority().issue(&["localhost"]);
    let postfix = Postfix::start_with_sign_in("home.test", &identity, &dovecot);
    let port = postfix.address().port();
    let postern = setup.without_user().prepare();
    for (password, code, result) in [(PASSWORD, 0, "yes"), ("wrong", 2, "refused")] {
        let file = secret(&postern, password);
        let arguments = ["--user", "anna", "--password-file", &file];
        let checked = Checked::trusting(&[port], &postern.root(), &arguments);
        assert_eq!(
            (checked.code, &checked.report["sign_in"]["result"]),
            (code, &result.into()),
            "{:#}",
            checked.report
        );
        assert_eq!(checked.settings()[0], (port, "starttls"));
    }
}

/// A server that says this to everybody.
fn saying(words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(stream.write_all(words.as_bytes()));
        }
    });
    address
}

#[test]
fn a_page_that_wants_a_sign_in_to_the_network_is_no_mail_server() {
    let postern = Setup::new().start();
    let [tls, _] = ports(&postern);
    let portal = saying("HTTP/1.1 302 Found\r\nLocation: http://portal.example/\r\n\r\n").port();
    let checked = Checked::trusting(&[tls, portal], &postern.root(), &[]);
    checked.expect(
        1,
        &[&format!("port {portal} is answered by something that is no mail server"), "web browser"],
    );
}

#[test]
fn the_words_say_first_what_to_set() {
    let postern = Setup::new().start();
    let [tls, _] = ports(&postern);
    let mut command = self::postern();
    command.args(["check-server", "localhost", "--ports", &tls.to_string(), "--ca"]).arg(postern.root());
    let said = both(&run(&mut command));
    for words in [
        "can be set up from here",
        "SSL/TLS",
        "Thunderbird",
        "usually the whole mail address",
        "normal password",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
}
