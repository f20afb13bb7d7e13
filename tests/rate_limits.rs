//! How much anybody may do in how much time: refused in words that say how long to wait, and not forgotten at a restart.

use crate::support::client::stuffed;
use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{fail, program};
use crate::support::{Client, Postern, Setup, content};

#[track_caller]
fn send(postern: &Postern, to: &[&str]) -> String {
    let mut client = postern.signed_in();
    let reply = client.say(&format!("MAIL FROM:<{ANNA}>"));
    if reply.code != 250 {
        return reply.text();
    }
    for recipient in to {
        let reply = client.say(&format!("RCPT TO:<{recipient}>"));
        if reply.code != 250 {
            return reply.text();
        }
    }
    client.say("DATA").expect(354);
    client.send(&stuffed(&content::plain(ANNA, ANNA, "rated")));
    client.reply().expect(250).text()
}

#[test]
fn a_principal_hears_how_long_to_wait_and_a_restart_forgives_nothing() {
    let mut postern = Setup::new().tables("[rates.principal]\nmessages = \"2/1h\"\n").start();
    for _ in 0..2 {
        let reply = send(&postern, &[ANNA]);
        assert!(reply.starts_with("250"), "{reply}");
    }
    let refused = |postern: &Postern| {
        let reply = send(postern, &[ANNA]);
        assert!(
            reply.starts_with("450 4.7.1 You have sent too many messages lately, try again in "),
            "{reply}"
        );
        assert!(reply.ends_with(" minutes (too-fast)"), "{reply}");
    };
    refused(&postern);
    postern.terminate();
    postern.start();
    refused(&postern);
    // An operation writes all that was counted, so that what kill -9 takes is known.
    postern.cli(&["ban", "add", "198.51.100.7"]);
    postern.kill();
    postern.start();
    refused(&postern);
    postern.wait_for_log("[rates.principal] allows 2 messages in 1h");
}

#[test]
fn recipients_that_one_never_wrote_to_are_counted_apart() {
    let domain = format!("name = \"home.test\"\ndeliver = \"mailboxes\"\ncatch_all = \"{ANNA}\"");
    let rates = "[rates.principal]\nnew_recipients = \"2/1h\"\nrecipients = \"6/1h\"\n";
    let postern = Setup::new().only_domain(&domain).tables(rates).start();
    assert!(send(&postern, &["a@elsewhere.test", "b@elsewhere.test"]).starts_with("250"));
    let reply = send(&postern, &["A@elsewhere.test", "c@elsewhere.test"]);
    assert!(reply.contains("too many new recipients"), "{reply}");
    assert!(send(&postern, &["b@ELSEWHERE.test", "a@elsewhere.test"]).starts_with("250"));
    let reply = send(&postern, &["a@elsewhere.test", "b@elsewhere.test", "b@elsewhere.test", ANNA]);
    assert!(reply.contains("too many"), "{reply}");
}

#[test]
fn sessions_of_an_address_are_counted_and_loopback_is_not() {
    let listener = "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\nproxy_protocol = [\"127.0.0.1\"]\n";
    let postern = Setup::new().listeners(listener).tables("[rates.address]\nsessions = \"2/1m\"\n").start();
    for _ in 0..2 {
        Client::dial_for("192.0.2.1", postern.at("mx")).reply().expect(220);
    }
    let mut third = Client::dial_for("192.0.2.1", postern.at("mx"));
    let reply = third.reply().expect(421);
    assert!(reply.text().contains("4.7.0") && reply.text().ends_with("(sessions-too-fast)"), "{reply:?}");
    assert_eq!(third.try_reply(), None, "the session went on");
    Client::dial_for("192.0.2.2", postern.at("mx")).reply().expect(220);
    for _ in 0..5 {
        Client::dial_for("127.0.0.1", postern.at("mx")).reply().expect(220);
    }
}

#[test]
fn swaks_shows_for_how_long_to_wait() {
    let postern = Setup::new().tables("[rates.principal]\noctets = \"500 B/1h\"\n").start();
    assert!(send(&postern, &[ANNA]).starts_with("250"));
    let mut command = program("swaks");
    let port = postern.at("submission").port().to_string();
    command.args([
        "--server",
        "localhost",
        "--port",
        &port,
        "--tls",
        "--auth",
        "PLAIN",
        "--auth-user",
        "anna",
    ]);
    command.args(["--auth-password", PASSWORD, "--from", ANNA, "--to", ANNA, "--body", &"x".repeat(600)]);
    let said = fail(&mut command);
    assert!(said.contains("450 4.7.1 You have sent too many octets lately, try again in"), "{said}");
}
