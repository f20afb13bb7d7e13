//! What Postern refuses, in the words that people search for.

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::{Client, Peer, Postern, Setup, content};

#[test]
fn a_stranger_cannot_relay() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    client.say("MAIL FROM:<someone@stranger.test>").expect(250);
    let reply = client.say("RCPT TO:<elvin1@example.net>");
    assert_eq!(
        reply.text(),
        "550 5.7.1 <elvin1@example.net>... Relaying denied. Proper authentication required. (relay-denied)"
    );
    // For our own domain the same stranger is welcome.
    client.say("RCPT TO:<anna@home.test>").expect(250);
}

#[test]
fn the_classic_open_relay_forms_are_refused() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let forms = [
        "<victim@away.test>",
        "<\"victim@away.test\">",
        "<victim%away.test@home.test>",
        "<victim%away.test>",
        "<@home.test:victim@away.test>",
        "<\"victim%away.test\"@home.test>",
        "<away.test!victim@home.test>",
        "<away.test!victim>",
        "<victim@away.test@home.test>",
        "<\"victim@away.test\"@home.test>",
        "<victim@[127.0.0.1]>",
        "<victim%away.test@[127.0.0.1]>",
        "<away.test!victim@[127.0.0.1]>",
    ];
    let senders = ["<>", "<someone@stranger.test>", "<anna@home.test>", "<anna@[127.0.0.1]>"];
    for sender in senders {
        let mut client = Client::connect(postern.at("mx"));
        client.say("EHLO stranger.test").expect(250);
        if client.say(&format!("MAIL FROM:{sender}")).code != 250 {
            continue;
        }
        for form in forms {
            let Some(reply) = try_say(&mut client, &format!("RCPT TO:{form}")) else {
                break;
            };
            assert!((400..600).contains(&reply), "{sender} to {form} was answered {reply}");
        }
    }
    assert!(postern.queue().is_empty());
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn nothing_before_tls_on_a_submission_listener() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("submission"));
    let hello = client.say("EHLO client.test").expect(250);
    assert!(hello.offers("STARTTLS") && !hello.offers("AUTH"), "{hello:?}");
    for line in [
        "MAIL FROM:<anna@home.test>",
        "AUTH PLAIN AGFubmEAeA==",
        "RCPT TO:<ben@elsewhere.test>",
        "DATA",
        "VRFY anna",
    ] {
        assert_eq!(
            client.say(line).text(),
            "530 5.7.0 Must issue a STARTTLS command first (starttls-first)",
            "{line}"
        );
    }
    for line in ["NOOP", "RSET", "HELP"] {
        assert!(client.say(line).code < 300, "{line}");
    }
}

#[test]
fn sign_in_is_neither_offered_nor_taken_in_clear_on_the_relay_port() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("mx"));
    assert!(!client.say("EHLO client.test").expect(250).offers("AUTH"));
    assert!(client.sign_in("anna", PASSWORD).code >= 500);
    let mut client = Client::connect_starttls(postern.at("mx"), &postern.root(), "localhost");
    assert!(client.say("EHLO client.test").offers("AUTH"));
}

#[test]
fn mail_before_signing_in_is_refused_on_a_submission_listener() {
    let postern = Setup::new().start();
    let mut client = Client::connect_implicit(postern.at("submissions"), &postern.root(), "localhost");
    assert_eq!(
        client.say("MAIL FROM:<anna@home.test>").text(),
        "530 5.7.0 Authentication required (sign-in-first)"
    );
}

#[test]
fn wrong_password_and_unknown_user_get_the_same_reply() {
    let postern = Setup::new().start();
    for user in ["anna", "nobody"] {
        let mut client = Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost");
        assert_eq!(client.sign_in(user, "wrong").text(), "535 5.7.8 Authentication failed (bad-credentials)");
        client.say("MAIL FROM:<anna@home.test>").expect(530);
    }
}

#[test]
fn commands_pipelined_behind_starttls_never_run() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("submission"));
    client.say("EHLO client.test").expect(250);
    client.send(b"STARTTLS\r\nEHLO injected.test\r\nMAIL FROM:<anna@home.test>\r\n");
    while let Some(reply) = client.try_reply() {
        assert!(reply.code == 220 || reply.code >= 400, "{reply:?}");
        if reply.code == 220 {
            // No handshake follows: what comes next in clear must not be answered.
            client.try_send(b"NOOP\r\n");
        }
    }
}

#[test]
fn a_signed_in_user_sends_only_as_who_he_is() {
    let postern = Setup::new().start();
    let mut client = postern.signed_in();
    let reply = client.say("MAIL FROM:<ceo@home.test>");
    assert_eq!(reply.text(), "553 5.7.1 <ceo@home.test>: not owned by anna (sender-not-owned)");
    client.say("MAIL FROM:<someone@elsewhere.test>").expect(553);
    client.say(&format!("MAIL FROM:<{ANNA}>")).expect(250);
}

#[test]
fn a_forged_from_field_is_refused_after_the_content() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let forged = content::plain("ceo@home.test", "ben@elsewhere.test", "Please pay");
    let reply = postern.signed_in().deliver(ANNA, &["ben@elsewhere.test"], &forged);
    assert!((550..560).contains(&reply.code) && reply.text().contains("5.7.1"), "{reply:?}");
    assert!(reply.text().contains("(from-not-owned)"), "{reply:?}");
    assert!(postern.queue().is_empty() && peer.taken().is_empty());
}

#[test]
fn the_from_field_is_left_alone_where_the_listener_says_so() {
    let peer = Peer::start();
    let lenient = "[[listener]]\nname = \"submission\"\nrole = \"submission\"\nbind = [\"127.0.0.1:0\"]\ncheck_from_header = false\n";
    let postern = Setup::new().listeners(lenient).next_hop(peer.address()).start();
    postern.submit(
        &["ben@elsewhere.test"],
        &content::plain("shop@home.test", "ben@elsewhere.test", "Your order"),
    );
    peer.wait_for(1);
}

#[test]
fn a_named_network_relays_without_signing_in_and_others_do_not() {
    let peer = Peer::start();
    let networks = "[relay]\nnetworks = [{ name = \"printers\", networks = [\"127.0.0.77/32\"] }]\n";
    let postern = Setup::new().next_hop(peer.address()).tables(networks).start();
    relays_to_a_stranger(&postern, 550);
    let networks = "[relay]\nnetworks = [{ name = \"printers\", networks = [\"127.0.0.0/24\"] }]\n";
    let postern = Setup::new().next_hop(peer.address()).tables(networks).start();
    relays_to_a_stranger(&postern, 250);
    peer.wait_for(1);
}

#[track_caller]
fn relays_to_a_stranger(postern: &Postern, code: u16) {
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO printer.test").expect(250);
    let scan = content::plain("scan@home.test", "ben@elsewhere.test", "Scan");
    client.deliver("scan@home.test", &["ben@elsewhere.test"], &scan).expect(code);
}

fn try_say(client: &mut Client, line: &str) -> Option<u16> {
    client.try_send(format!("{line}\r\n").as_bytes());
    client.try_reply().map(|reply| reply.code)
}

#[test]
fn the_log_says_that_a_client_started_tls_on_a_starttls_port() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("submission"));
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    drop(client);
    postern.wait_for_log("TLS at once");
}

#[test]
fn the_log_says_what_kept_a_client_from_sending() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("submission"));
    client.say("EHLO laptop.test").expect(250);
    client.say("MAIL FROM:<anna@home.test>").expect(530);
    client.say("QUIT").expect(221);
    postern.wait_for_log("session without mail: 127.0.0.1");
    assert!(postern.log().contains("starttls-first"));
}
