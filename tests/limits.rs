//! What a client may ask for is bounded, and it is told so.

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::{Client, Setup, content};

#[test]
fn a_message_that_is_too_large_is_refused_when_announced_and_when_sent() {
    let postern = Setup::new().tables("[limits]\nmessage_size = \"100 KiB\"").start();
    let mut client = postern.signed_in();
    assert!(client.say("EHLO client.test").lines.iter().any(|line| line == "SIZE 102400"));
    let reply = client.say(&format!("MAIL FROM:<{ANNA}> SIZE=200000"));
    assert!(reply.code == 552 && reply.text().contains("5.3.4"), "{reply:?}");
    let large = content::with_body(ANNA, ANNA, "large", &content::large_body(1));
    let reply = client.deliver(ANNA, &[ANNA], &large);
    assert!(reply.code == 552 && reply.text().contains("5.3.4"), "{reply:?}");
    assert!(postern.queue().is_empty());
}

#[test]
fn too_many_recipients_are_deferred_and_the_rest_is_taken() {
    let domain = format!("name = \"home.test\"\ndeliver = \"mailboxes\"\ncatch_all = \"{ANNA}\"");
    let postern = Setup::new().only_domain(&domain).tables("[limits]\nrecipients = 100").start();
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    client.say("MAIL FROM:<a@stranger.test>").expect(250);
    for number in 0..100 {
        client.say(&format!("RCPT TO:<r{number}@home.test>")).expect(250);
    }
    let reply = client.say("RCPT TO:<onemore@home.test>");
    assert!(reply.code == 452 && reply.text().contains("4.5.3"), "{reply:?}");
    client.say("DATA").expect(354);
}

#[test]
fn too_many_sessions_from_one_address_are_turned_away() {
    let postern = Setup::new().tables("[limits]\nsessions_per_address = 3").start();
    // All listeners count together.
    let listeners = ["submission", "mx", "mx"];
    let mut sessions: Vec<Client> = listeners.map(|name| Client::connect(postern.at(name))).into();
    let mut one_more = Client::dial(postern.at("mx"));
    let reply = one_more.reply();
    assert!(matches!(reply.code, 421 | 450), "{reply:?}");
    assert_eq!(one_more.try_reply(), None, "the session went on");
    // A place becomes free when one leaves.
    sessions.pop().unwrap().say("QUIT").expect(221);
    crate::support::wait_for("a free place", || {
        (Client::dial(postern.at("mx")).reply().code == 220).then_some(())
    });
}

#[test]
fn guessing_passwords_ends_the_session() {
    let postern = Setup::new().start();
    let mut client = Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost");
    let replies: Vec<u16> = (0..10)
        .map_while(|number| {
            client.try_send(format!("AUTH PLAIN {}\r\n", wrong_credential(number)).as_bytes());
            client.try_reply().map(|reply| reply.code)
        })
        .collect();
    assert!(replies.len() <= 4, "{replies:?}");
    assert!(replies.iter().all(|code| matches!(code, 535 | 421)), "{replies:?}");
    // The right password still works in a new session.
    let mut client = Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost");
    client.sign_in("anna", PASSWORD).expect(235);
}

#[test]
fn endless_nonsense_ends_the_session() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("mx"));
    let mut replies = 0;
    while replies < 200 && client.try_send(b"WHAT IS THIS\r\n") && client.try_reply().is_some() {
        replies += 1;
    }
    assert!(replies <= 20, "{replies} bad commands were answered");
}

#[test]
fn an_endless_line_ends_in_a_refusal_not_in_memory() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("mx"));
    let chunk = vec![b'x'; 65536];
    let mut sent = 0;
    while sent < 64 && client.try_send(&chunk) {
        sent += 1;
    }
    client.try_send(b"\r\n");
    let reply = client.reply();
    assert_eq!(reply.code, 500, "{reply:?}");
    assert_eq!(client.try_reply(), None, "the session went on");
}

#[test]
fn a_message_that_goes_in_circles_is_refused() {
    let postern = Setup::new().start();
    let mut content: Vec<u8> = b"Received: from a by b; Fri, 20 Nov 2026 10:00:00 +0000\r\n".repeat(110);
    content.extend(content::plain("a@stranger.test", ANNA, "Loop"));
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    let reply = client.deliver("a@stranger.test", &[ANNA], &content);
    assert!(reply.code == 554 && reply.text().contains("5.4.6"), "{reply:?}");
}

fn wrong_credential(number: u32) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("\0anna\0guess{number}"))
}
