//! `postern doctor relay` finds open relays and says of closed ones that they are closed; and Postern starts as none.

use std::process::Output;

use serde_json::Value;

use crate::support::postern::listeners;
use crate::support::postfix::Postfix;
use crate::support::programs::{both, run};
use crate::support::sink::Sink;
use crate::support::{Postern, Setup, unused_address};

/// What `postern doctor relay` says, and its exit code.
fn tested(postern: &Postern, arguments: &[&str]) -> (Value, Option<i32>) {
    let output = run(&mut postern.command(&[&["doctor", "relay", "--json"], arguments].concat()));
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
    (report, output.status.code())
}

fn targets(report: &Value) -> &Vec<Value> {
    report["targets"].as_array().unwrap()
}

fn outcomes(target: &Value, outcome: &str) -> usize {
    target["tried"].as_array().unwrap().iter().filter(|tried| tried["outcome"] == outcome).count()
}

const DEVICES: &str = "[[listener]]\nname = \"devices\"\nrole = \"device\"\nbind = [\"127.0.0.1:0\"]\n";
const SCANNER: &str = "[[device]]\nname = \"scanner\"\naddresses = [\"127.0.0.2\"]\nsender = \"scanner@home.test\"\n\
     recipient_domains = [\"*\"]\ntls = \"offered\"\nsign_in = \"none\"\n";
const NETWORKS: &str = "[[relay.networks]]\nname = \"me\"\nnetworks = [\"127.0.0.1\"]\n";

#[test]
fn every_listener_of_postern_refuses_every_form_from_an_address_that_is_not_trusted() {
    let listeners = listeners("127.0.0.1:0") + DEVICES;
    let postern = Setup::new().listeners(&listeners).tables(NETWORKS).tables(SCANNER).start();
    let (report, code) = tested(&postern, &[]);
    assert_eq!(code, Some(0), "{report:#}");
    let targets = targets(&report);
    let names: Vec<&str> = targets.iter().map(|target| target["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for target in targets {
        assert_eq!(target["verdict"], "closed", "{target:#}");
        assert!(!["127.0.0.1", "127.0.0.2"].contains(&target["source"].as_str().unwrap()), "{target:#}");
        assert_eq!(outcomes(target, "accepted") + outcomes(target, "undecided"), 0);
        let least = if target["name"] == "devices" { 1 } else { 40 };
        assert!(outcomes(target, "refused") >= least, "{target:#}");
    }
    let mx = targets.iter().find(|target| target["name"] == "mx").unwrap();
    assert_eq!(outcomes(mx, "rightly"), 1, "the postmaster can be told");
    let under_tls = mx["tried"].as_array().unwrap().iter().filter(|tried| tried["tls"] == true).count();
    assert!(under_tls >= 5, "{mx:#}");
    // Nobody is banned for having looked, and nothing waits.
    assert_eq!(postern.cli(&["ban", "list"]), "nobody is banned\n");
    assert!(postern.queue().is_empty());
    let (again, code) = tested(&postern, &[]);
    assert_eq!(code, Some(0), "{again:#}");
    let cases: Value = serde_json::from_str(&postern.cli(&["trouble", "list", "--json"])).unwrap();
    let causes = cases.as_array().unwrap().iter().map(|case| case["cause"].as_str().unwrap());
    // Where only devices get a session, it cannot say who it is.
    assert_eq!(causes.collect::<Vec<_>>(), ["device-unknown"], "{cases:#}");
}

#[test]
fn a_sound_configuration_is_said_to_be_proved_closed() {
    let postern = Setup::new().prepare();
    let said = both(&run(&mut postern.command(&["config", "check"])));
    assert!(said.contains("It is no open relay: ") && said.contains(" addresses for "), "{said}");
}

#[test]
fn where_every_address_is_trusted_that_is_said_and_is_no_success() {
    let postern =
        Setup::new().tables("[[relay.networks]]\nname = \"all\"\nnetworks = [\"127.0.0.0/8\"]\n").start();
    let (report, code) = tested(&postern, &[]);
    assert_eq!(code, Some(3), "{report:#}");
    let trouble = targets(&report)[0]["trouble"].as_str().unwrap();
    assert!(trouble.contains("is trusted by the configuration"), "{trouble}");
}

#[test]
fn a_server_that_takes_everything_is_found_and_gets_no_message() {
    let postern = Setup::new().prepare();
    let sink = Sink::start();
    let Output { status, stdout, .. } =
        run(&mut postern.command(&["doctor", "relay", "--to", &sink.address().to_string()]));
    let said = String::from_utf8(stdout).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("OPEN RELAY  127.0.0.1 at"), "{said}");
    assert!(said.contains("ACCEPTED: a stranger to a stranger\n"), "{said}");
    assert!(said.contains("      C: RCPT TO:<nobody@example.com>\n      S: 250"), "{said}");
    assert!(sink.messages().is_empty());
}

#[test]
fn an_open_postfix_is_found_and_a_closed_one_is_closed() {
    let postern = Setup::new().prepare();
    let open = Postfix::start_open("open.test");
    let (report, code) = tested(&postern, &["--to", &open.address().to_string()]);
    assert_eq!(code, Some(1), "{report:#}");
    assert!(outcomes(&targets(&report)[0], "accepted") > 10, "{report:#}");
    let closed = Postfix::start("closed.test", None);
    let (report, code) = tested(&postern, &["--to", &closed.address().to_string()]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(outcomes(&targets(&report)[0], "accepted"), 0);
    assert!(!closed.maildir().exists(), "something was delivered");
}

#[test]
fn whom_nobody_answers_is_not_called_closed() {
    let postern = Setup::new().prepare();
    let (report, code) = tested(&postern, &["--to", &unused_address().to_string()]);
    assert_eq!(code, Some(3), "{report:#}");
    let output = run(&mut postern.command(&["doctor", "relay"]));
    assert_eq!(output.status.code(), Some(3));
    assert!(both(&output).contains("does not seem to run"), "{}", both(&output));
}

#[test]
fn a_configuration_that_would_be_an_open_relay_neither_checks_nor_starts() {
    for (tables, words) in [
        ("[[relay.networks]]\nname = \"x\"\nnetworks = [\"0.0.0.0/0\"]\n", "this is an open relay"),
        ("[[relay.networks]]\nname = \"x\"\nnetworks = [\"2000::/3\"]\n", "this is an open relay"),
        (
            "[[relay.networks]]\nname = \"x\"\nbecause = \"x\"\nnetworks = [\"3.1.0.0/16\", \"3.3.0.0/16\", \"3.5.0.0/16\", \"3.7.0.0/16\", \"3.9.0.0/16\"]\n",
            "a large part of the Internet",
        ),
        (
            "[[listener]]\nname = \"front\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\nxclient = [\"0.0.0.0/1\"]\n",
            "lets every client say that it is another one",
        ),
    ] {
        let postern = Setup::new().tables(tables).without_user().prepare();
        for command in [&["config", "check"][..], &["serve"]] {
            let output = run(&mut postern.command(command));
            assert!(!output.status.success(), "{command:?} took {tables}");
            assert!(both(&output).contains(words), "{}", both(&output));
        }
    }
}
