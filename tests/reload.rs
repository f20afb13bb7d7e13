//! SIGHUP: the new configuration takes effect, and no session notices.

use std::fs;

use crate::support::postern::ANNA;
use crate::support::{Client, Setup, content, wait_for};

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
