//! SIGTERM: who is connected is told so, what is being delivered is finished or kept, nothing is lost.

use crate::support::postern::ANNA;
use crate::support::{Client, Do, Gate, Peer, Setup, content, unused_address};

#[test]
fn idle_sessions_get_421_and_the_daemon_ends() {
    let mut postern = Setup::new().start();
    let mut idle = Client::connect(postern.at("mx"));
    idle.say("EHLO client.test").expect(250);
    let mut encrypted = postern.signed_in();
    postern.begin_termination();
    for client in [&mut idle, &mut encrypted] {
        client.reply().expect(421);
        assert_eq!(client.try_reply(), None);
    }
    postern.wait_for_end();
}

#[test]
fn a_message_that_is_being_sent_is_taken_or_refused_but_never_half() {
    let address = unused_address();
    let mut postern = Setup::new().next_hop(address).start();
    let mut client = postern.signed_in();
    client.say(&format!("MAIL FROM:<{ANNA}>")).expect(250);
    client.say("RCPT TO:<ben@elsewhere.test>").expect(250);
    client.say("DATA").expect(354);
    let content = content::plain(ANNA, "ben@elsewhere.test", "On the way");
    let (first, rest) = content.split_at(content.len() / 2);
    client.send(first);
    postern.begin_termination();
    client.try_send(&[rest, b".\r\n"].concat());
    let taken = client.try_reply().is_some_and(|reply| reply.code == 250);
    postern.wait_for_end();
    let peer = Peer::scripted(|_| Do::Usual).start_at(address);
    postern.start();
    if taken {
        content::assert_same_after_our_fields("after the drain", &content, &peer.wait_for(1)[0].content);
    }
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), usize::from(taken));
}

#[test]
fn what_waits_in_the_queue_is_delivered_after_the_next_start() {
    let address = unused_address();
    let mut postern = Setup::new().next_hop(address).start();
    for number in 0..5 {
        postern.submit(
            &["ben@elsewhere.test"],
            &content::plain(ANNA, "ben@elsewhere.test", &format!("kept {number}")),
        );
    }
    postern.terminate();
    let peer = Peer::scripted(|_| Do::Usual).start_at(address);
    postern.start();
    peer.wait_for(5);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 5);
}

#[test]
fn a_delivery_in_progress_is_finished_not_repeated() {
    let gate = Gate::new();
    let held = std::sync::Arc::clone(&gate);
    let peer =
        Peer::scripted(
            move |step| {
                if step.line == "." { Do::Wait(std::sync::Arc::clone(&held)) } else { Do::Usual }
            },
        );
    let peer = peer.start();
    let mut postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "In progress"));
    gate.wait_for_arrival();
    postern.begin_termination();
    gate.open();
    postern.wait_for_end();
    postern.start();
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1);
}
