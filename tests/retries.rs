//! What cannot be delivered now is tried again, and leaves as soon as it can.

use crate::support::postern::ANNA;
use crate::support::sink::Sink;
use crate::support::{Do, Peer, Setup, content, unused_address};

#[test]
fn a_next_hop_that_comes_up_later_gets_the_message() {
    let address = unused_address();
    let postern = Setup::new().next_hop(address).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Later"));
    postern.wait_for_log("deferred");
    assert_eq!(postern.queue().len(), 1);
    let sink = Sink::start_at(address, &[]);
    sink.wait_for(1);
    postern.wait_for_empty_queue();
}

#[test]
fn a_temporary_refusal_at_any_step_is_tried_again() {
    for step in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."] {
        let peer = Peer::scripted(move |at| {
            let refuses = at.before == 0 && if step == "." { at.line == "." } else { at.is(step) };
            match (refuses, step) {
                (true, "CONNECT") => Do::Say("421 4.3.2 Busy"),
                (true, _) => Do::Say("451 4.3.0 Not now"),
                (false, _) => Do::Usual,
            }
        });
        let peer = peer.start();
        let postern = Setup::new().next_hop(peer.address()).start();
        postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Again"));
        // A content that was refused stands in the peer's memory too.
        peer.wait_for(if step == "." { 2 } else { 1 });
        postern.wait_for_empty_queue();
        assert!(postern.mail_of("anna").is_empty(), "refused temporarily at {step}: reported");
    }
}

#[test]
fn a_next_hop_that_hangs_up_at_any_step_is_tried_again() {
    for step in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "."] {
        let peer = Peer::scripted(move |at| {
            let closes = at.before == 0 && if step == "." { at.line == "." } else { at.is(step) };
            if closes { Do::Close } else { Do::Usual }
        });
        let peer = peer.start();
        let postern = Setup::new().next_hop(peer.address()).start();
        postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Again"));
        peer.wait_for(if step == "." { 2 } else { 1 });
        postern.wait_for_empty_queue();
        assert!(postern.mail_of("anna").is_empty(), "hung up at {step}: reported");
    }
}

#[test]
fn many_messages_share_connections() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let mut client = postern.signed_in();
    for number in 0..60 {
        let content = content::plain(ANNA, "ben@elsewhere.test", &format!("number {number}"));
        client.deliver(ANNA, &["ben@elsewhere.test"], &content).expect(250);
    }
    peer.wait_for(60);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 60, "something was delivered twice");
    assert!(peer.sessions() <= 40, "{} connections for 60 messages", peer.sessions());
}
