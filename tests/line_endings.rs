//! Line endings never split a message: bare LF is refused on a relay listener and repaired on a submission listener, bare CR
//! and NUL are refused everywhere.

use crate::support::postern::ANNA;
use crate::support::{Client, Peer, Setup, content};

const HEAD: &str = "From: <anna@home.test>\r\nSubject: endings\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <e@client.test>\r\n\r\n";

#[test]
fn smuggled_ends_of_data_are_refused_and_never_passed_on() {
    let postern = Setup::new().start();
    for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\r\n", "\n\n.\r\n"] {
        let mut client = Client::connect(postern.at("mx"));
        client.say("EHLO stranger.test").expect(250);
        client.say("MAIL FROM:<a@stranger.test>").expect(250);
        client.say(&format!("RCPT TO:<{ANNA}>")).expect(250);
        client.say("DATA").expect(354);
        let smuggled = "MAIL FROM:<forged@home.test>\r\nRCPT TO:<anna@home.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";
        client.try_send(format!("{HEAD}first{end}{smuggled}").as_bytes());
        let reply = client.reply();
        assert!(reply.code == 550 && reply.text().contains("5.6.0"), "{end:?}: {reply:?}");
        assert_eq!(client.try_reply(), None, "{end:?}: the session went on");
    }
    assert!(postern.queue().is_empty());
    assert!(postern.mail_of("anna").is_empty());
}

#[test]
fn a_bare_lf_from_a_signed_in_client_becomes_crlf() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let body = "one\ntwo\n.\nthree\n\n.\nfour\r\n";
    let mut client = postern.signed_in();
    client.say(&format!("MAIL FROM:<{ANNA}>")).expect(250);
    client.say("RCPT TO:<ben@elsewhere.test>").expect(250);
    client.say("DATA").expect(354);
    client.send(format!("{HEAD}{body}.\r\n").as_bytes());
    client.reply().expect(250);
    let taken = peer.wait_for(1).pop().unwrap();
    assert!(
        !taken.content.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r'),
        "a bare LF was passed on"
    );
    let text = String::from_utf8(taken.content).unwrap();
    // The repaired lines are content like any other; the dots among them included.
    assert!(
        text.contains("one\r\ntwo\r\n") && text.contains("three\r\n") && text.ends_with("four\r\n"),
        "{text}"
    );
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1, "the message was split");
}

#[test]
fn a_bare_cr_or_nul_is_refused_even_from_a_signed_in_client() {
    let postern = Setup::new().start();
    for body in ["a\rb\r\n", "a\0b\r\n"] {
        let mut client = postern.signed_in();
        let reply = client.deliver(ANNA, &[ANNA], &[HEAD.as_bytes(), body.as_bytes()].concat());
        assert!(reply.code == 550 && reply.text().contains("5.6.0"), "{reply:?}");
        assert_eq!(client.try_reply(), None, "the session went on");
    }
    assert!(postern.queue().is_empty() && postern.mail_of("anna").is_empty());
}

#[test]
fn content_with_nothing_wrong_is_taken_on_both() {
    let postern = Setup::new().start();
    postern.submit(&[ANNA], &content::plain(ANNA, ANNA, "fine"));
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    client
        .deliver("a@stranger.test", &[ANNA], &content::plain("a@stranger.test", ANNA, "fine too"))
        .expect(250);
    postern.wait_for_mail("anna", 2);
}
