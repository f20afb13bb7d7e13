//! `postern doctor`: what it says of houses that are well, and of houses with one thing wrong.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;

use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::names::Names;
use crate::support::programs::{both, run};
use crate::support::{Postern, Setup, unused_address};

/// What was found, and the exit code.
struct Examined {
    report: Value,
    code: i32,
}

impl Examined {
    #[track_caller]
    fn of(postern: &Postern, checks: &[&str]) -> Examined {
        let only = checks.iter().flat_map(|check| ["--only", check]);
        let output = run(postern.command(&["doctor", "--json"]).args(only));
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
        Examined { report, code: output.status.code().unwrap() }
    }

    /// The findings of one check, as `verdict evidence`.
    fn findings(&self, check: &str) -> Vec<String> {
        let all = self.report["findings"].as_array().unwrap().iter();
        let same = all.filter(|finding| finding["check"] == check);
        same.map(|one| format!("{} {}", one["verdict"].as_str().unwrap(), one["evidence"].as_str().unwrap()))
            .collect()
    }

    #[track_caller]
    fn expect(&self, check: &str, verdict: &str, words: &str) {
        let found = self.findings(check);
        let says = |one: &String| one.starts_with(&format!("{verdict} ")) && one.contains(words);
        assert!(found.iter().any(says), "no {verdict} {words:?} in {found:#?}");
    }
}

/// What is published when all is well.
fn zone() -> Zone {
    let address = Ipv4Addr::new(192, 0, 2, 1);
    Zone::new()
        .address("localhost.test", address)
        .ptr(address, "localhost.test")
        .mx("home.test", 10, "localhost.test")
        .txt("home.test", "v=spf1 mx -all")
        .txt("_dmarc.home.test", "v=DMARC1; p=reject")
        .txt("_smtp._tls.home.test", "v=TLSRPTv1; rua=mailto:tls@home.test")
}

#[test]
fn a_house_that_runs_is_seen_in_all_its_parts() {
    let names = Names::serve(zone());
    let postern = Setup::new().tables(&names.table()).start();
    let examined = Examined::of(&postern, &[]);
    assert_eq!(examined.report["running"], true);
    for (check, verdict, words) in [
        ("reverse-name", "ok", "192.0.2.1 bears the name localhost.test"),
        ("mx", "ok", "mail for home.test comes here"),
        ("ports", "ok", "listener mx answers"),
        ("ports", "ok", "listener submission answers"),
        ("ports", "ok", "listener submissions answers"),
        ("certificates", "ok", "has a certificate for localhost.test"),
        ("trust", "warning", "Test authority, which is not trusted here"),
        ("dmarc", "ok", "p=reject"),
        ("tls-reports", "ok", "tls@home.test"),
        ("disk", "ok", "MiB free"),
        ("directory", "ok", "Postern's own users: 1"),
        ("limits", "ok", "files;"),
        ("permissions", "ok", "the daemon's alone"),
        ("queue", "ok", "none for long"),
        ("troubles", "ok", "nobody is known who cannot send"),
    ] {
        examined.expect(check, verdict, words);
    }
    assert!(examined.code == 1 || examined.code == 2, "the authority is nobody's: {:#}", examined.report);
    assert!(!examined.findings("sync").is_empty() && !examined.findings("clock").is_empty());
}

#[test]
fn without_a_daemon_it_says_so_and_looks_at_the_rest() {
    let names = Names::serve(zone());
    let postern = Setup::new().tables(&names.table()).prepare();
    let examined = Examined::of(&postern, &["ports", "limits", "mx", "queue"]);
    assert_eq!(examined.report["running"], false);
    examined.expect("ports", "warning", "Postern does not run");
    examined.expect("limits", "unknown", "does not run");
    examined.expect("mx", "ok", "comes here");
    assert_eq!(examined.code, 1);
    let listed: Vec<_> =
        std::fs::read_dir(postern.data_dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(listed.iter().all(|name| !name.to_string_lossy().starts_with(".doctor")), "{listed:?}");
}

#[test]
fn wrong_records_are_told_with_what_to_publish() {
    let names = Names::serve(
        zone()
            .address("elsewhere.test", Ipv4Addr::new(198, 51, 100, 7))
            .mx("away.test", 10, "elsewhere.test")
            .txt("away.test", "v=spf1 ip4:198.51.100.7 -all"),
    );
    let domain = "name = \"away.test\"\ndeliver = \"mailboxes\"";
    let postern = Setup::new().domain(domain).tables(&names.table()).prepare();
    let examined = Examined::of(&postern, &["mx", "spf", "dmarc", "dkim"]);
    examined.expect("mx", "warning", "mail for away.test goes to elsewhere.test");
    examined.expect("spf", "failed", "of 192.0.2.1: it may not send");
    examined.expect("spf", "ok", "it may send, by mx");
    examined.expect("dmarc", "warning", "away.test has no DMARC record");
    examined.expect("dkim", "note", "no DKIM key");
    assert_eq!(examined.code, 2);
}

#[test]
fn another_program_at_our_port_is_found() {
    let address = unused_address();
    let listener = format!("[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"{address}\"]\n");
    let postern = Setup::new().listeners(&listener).prepare();
    let other = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            drop(stream.write_all(b"220 old.home.test ESMTP Oldmail\r\n"));
        }
    });
    let examined = Examined::of(&postern, &["ports"]);
    examined.expect("ports", "failed", "another program answers");
    examined.expect("ports", "failed", "Oldmail");
    assert_eq!(examined.code, 2);
}

#[test]
fn secrets_that_others_can_read_are_found() {
    let postern = Setup::new().prepare();
    let users = postern.data_dir().join("users.db");
    std::fs::set_permissions(&users, std::fs::Permissions::from_mode(0o644)).unwrap();
    let examined = Examined::of(&postern, &["permissions"]);
    examined.expect("permissions", "failed", "users.db (mode 644)");
}

#[test]
fn name_servers_that_are_silent_hold_up_nobody_for_long() {
    let dead = unused_address();
    let table = format!("[dns]\nservers = [\"{dead}\"]\ntimeout = \"500ms\"\n");
    let postern = Setup::new().tables(&table).prepare();
    let examined = Examined::of(&postern, &["host-name", "mx", "spf", "resolver", "disk"]);
    examined.expect("resolver", "failed", "do not answer");
    examined.expect("mx", "unknown", "home.test");
    examined.expect("disk", "ok", "MiB free");
}

#[test]
fn name_servers_that_know_our_name_is_nowhere_do_answer() {
    let names = Names::serve(Zone::new().mx("home.test", 10, "localhost.test"));
    let postern = Setup::new().tables(&names.table()).prepare();
    let examined = Examined::of(&postern, &["host-name", "resolver"]);
    examined.expect("host-name", "failed", "the name does not exist");
    // It answers, and does not validate.
    examined.expect("resolver", "warning", "did not call the root zone secure");
    assert_eq!(examined.findings("resolver").len(), 1);
}

#[test]
fn having_looked_is_nobodys_trouble() {
    let names = Names::serve(zone());
    let postern = Setup::new().tables(&names.table()).start();
    let before = postern.cli(&["trouble", "list", "--all"]);
    for _ in 0..3 {
        Examined::of(&postern, &[]);
    }
    assert_eq!(postern.cli(&["trouble", "list", "--all"]), before);
    assert_eq!(postern.cli(&["ban", "list"]), "nobody is banned\n");
    Examined::of(&postern, &["troubles"]).expect("troubles", "ok", "nobody is known who cannot send");
}

#[test]
fn a_check_that_there_is_not_is_answered_with_those_that_there_are() {
    let postern = Setup::new().without_user().prepare();
    let output = run(&mut postern.command(&["doctor", "--only", "everything"]));
    assert_eq!(output.status.code(), Some(2));
    assert!(both(&output).contains("host-name, reverse-name"), "{}", both(&output));
}

#[test]
fn the_words_begin_with_what_is_wrong() {
    let names = Names::serve(zone());
    let postern = Setup::new().tables(&names.table()).prepare();
    let said = both(&run(&mut postern.command(&["doctor"])));
    assert!(said.starts_with("localhost.test: ") && said.contains("(Postern does not run)"), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
}
