//! SIGHUP and `postern reload`: the new configuration takes effect, and no session notices.

use std::fs;

use crate::support::postern::ANNA;
use crate::support::programs::fail;
use crate::support::{Client, Setup, content, wait_for};

const RELOADED: &str = "configuration reloaded";

#[test]
fn an_open_session_survives_and_new_domains_and_listeners_take_effect() {
    let mut postern = Setup::new().start();
    let before = postern.at("submission");
    let mut open = postern.signed_in();
    open.say(&format!("MAIL FROM:<{ANNA}>")).expect(250);
    open.say(&format!("RCPT TO:<{ANNA}>")).expect(250);
    postern.reload(|setup| {
        setup
            .domain("name = \"new.test\"\ndeliver = \"mailboxes\"\nmailboxes = [\"zoe\"]")
            .tables("[[listener]]\nname = \"extra\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]")
    });
    wait_for("the new listener", || postern.listening()?.get("extra").map(|_| ()));
    assert_eq!(postern.at("submission"), before, "a listener that did not change was bound again");

    open.say("DATA").expect(354);
    open.send(&crate::support::client::stuffed(&content::plain(ANNA, ANNA, "Across the reload")));
    open.reply().expect(250);
    postern.wait_for_mail("anna", 1);

    let mut client = Client::connect(postern.at("extra"));
    client.say("EHLO stranger.test").expect(250);
    client
        .deliver(
            "a@stranger.test",
            &["zoe@new.test"],
            &content::plain("a@stranger.test", "zoe@new.test", "New"),
        )
        .expect(250);
    postern.wait_for_mail("zoe", 1);
}

#[test]
fn a_broken_configuration_changes_nothing_and_is_logged() {
    let mut postern = Setup::new().start();
    let mut open = postern.signed_in();
    postern
        .reload(|setup| setup.tables("[[domain]]\nname = \"broken.test\"\ndeliver = \"no such connector\""));
    postern.wait_for_log("no such connector");
    open.say("NOOP").expect(250);
    postern.submit(&[ANNA], &content::plain(ANNA, ANNA, "Still here"));
    postern.wait_for_mail("anna", 1);
}

#[test]
fn a_new_certificate_is_presented_after_a_reload() {
    let mut postern = Setup::new().start();
    let mut old = postern.signed_in();
    let other = crate::support::certificates::Authority::new(&postern.folder().join("other"));
    let identity = other.issue(&["localhost", "renewed.test"]);
    fs::copy(&identity.certificate, postern.folder().join("tls/localhost.pem")).unwrap();
    fs::copy(&identity.key, postern.folder().join("tls/localhost.key")).unwrap();
    postern.reload(|setup| setup);
    wait_for("the new certificate", || {
        Client::is_presented(postern.at("submission"), &other.root(), "renewed.test").then_some(())
    });
    old.say("NOOP").expect(250);
}

#[test]
fn another_data_dir_needs_a_restart_and_nothing_is_made_there() {
    let mut postern = Setup::new().with_private_ca().start();
    let (old, new) = (postern.data_dir().to_owned(), postern.folder().join("elsewhere"));
    let root = fs::read(old.join("ca/root.pem")).unwrap();
    postern.reload(|setup| setup.data_dir(&new));
    postern.wait_for_log("cannot change while Postern runs");
    postern.wait_for_log(RELOADED);
    assert!(!new.exists(), "the new data directory was used");
    assert_eq!(fs::read(old.join("ca/root.pem")).unwrap(), root);
    postern.terminate();
    assert!(!old.join("control.sock").exists(), "the control socket was left behind");
}

#[test]
fn the_logs_format_and_level_follow() {
    let mut postern = Setup::new().start();
    drop(Client::connect(postern.at("mx")));
    postern.reload(|setup| setup.tables("[log]\nformat = \"json\"\nlevel = \"debug\""));
    postern.wait_for_log("\"event\":\"reloaded\"");
    drop(Client::connect(postern.at("mx")));
    postern.wait_for_log("\"event\":\"session-opened\"");
    assert!(!postern.log().contains("session opened"), "the level was debug before");
}

#[test]
fn the_command_tells_what_came_of_it() {
    let mut postern = Setup::new().start();
    assert!(postern.cli(&["reload"]).contains("reloaded"));
    assert!(postern.log().contains(RELOADED), "it answered before it was done");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let extra = format!("[[listener]]\nname = \"extra\"\nrole = \"relay\"\nbind = [\"{address}\"]");
    postern.configure(|setup| setup.tables(&extra));
    let said = fail(&mut postern.command(&["reload"]));
    assert!(said.contains(&address.to_string()) && said.contains("another program listens there"), "{said}");

    let before = postern.log().matches(RELOADED).count();
    postern.configure(|setup| setup.tables("[[domain]]\nname = \"broken.test\"\ndeliver = \"nowhere\""));
    let said = fail(&mut postern.command(&["reload"]));
    assert!(said.contains("nowhere"), "{said}");
    assert_eq!(postern.log().matches(RELOADED).count(), before, "a broken file was taken");
}

#[test]
fn the_command_says_when_postern_does_not_run() {
    let postern = Setup::new().prepare();
    let said = fail(&mut postern.command(&["reload"]));
    assert!(said.contains("not running"), "{said}");
}

#[test]
fn a_warning_of_the_configuration_is_a_notice_told_once_at_start_and_at_each_reload() {
    let warning = "slow clients may lose their session";
    let mut postern = Setup::new().tables("[limits]\ncommand_timeout = \"30s\"").start();
    let told = || postern.log().lines().filter(|line| line.contains(warning)).count();
    assert_eq!(told(), 1);
    let log = postern.log();
    let line = log.lines().find(|line| line.contains(warning)).unwrap();
    assert!(line.contains(" notice ") && line.matches("unless there is a reason").count() == 1, "{line}");
    postern.reload(|setup| setup);
    postern.wait_for_log(RELOADED);
    assert_eq!(postern.log().lines().filter(|line| line.contains(warning)).count(), 2);
}

#[test]
fn verified_tls_without_any_trusted_root_is_an_alarm_once() {
    let setup = Setup::new();
    let empty = setup.folder().join("no-roots");
    fs::create_dir(&empty).unwrap();
    let file = empty.join("none.pem");
    fs::write(&file, "").unwrap();
    let connector = "name = \"out\"\nto = \"smtp:127.0.0.1:1\"\naddress_space = [\"*\"]\ntls = \"verified\"";
    let setup = setup.environment("SSL_CERT_FILE", &file).environment("SSL_CERT_DIR", &empty);
    let postern = setup.connector(connector).start();
    let log = postern.log();
    let alarms: Vec<_> = log.lines().filter(|line| line.contains("trusts no root certificates")).collect();
    assert!(
        matches!(alarms[..], [alarm] if alarm.contains("ALARM") && alarm.contains("connector out")),
        "{log}"
    );
}
