//! `kill -9` at three points between the `250` and the delivery: nothing acknowledged is lost.

use crate::support::postern::ANNA;
use crate::support::{Client, Do, Gate, Peer, Setup, content, unused_address};

const COUNT: usize = 20;

#[test]
fn right_after_the_acknowledgement() {
    let address = unused_address();
    let mut postern = Setup::new().next_hop(address).start();
    let mut client = postern.signed_in();
    for number in 0..COUNT {
        let content = content::plain(ANNA, "ben@elsewhere.test", &format!("crash {number}"));
        client.deliver(ANNA, &["ben@elsewhere.test"], &content).expect(250);
    }
    postern.kill();
    let peer = Peer::scripted(|_| Do::Usual).start_at(address);
    postern.start();
    let taken = peer.wait_for(COUNT);
    for number in 0..COUNT {
        let subject = format!("Subject: crash {number}\r\n");
        let found = taken.iter().any(|one| String::from_utf8_lossy(&one.content).contains(&subject));
        assert!(found, "message {number} was acknowledged and lost");
    }
    postern.wait_for_empty_queue();
}

#[test]
fn in_the_middle_of_the_content() {
    let gate = Gate::new();
    let held = std::sync::Arc::clone(&gate);
    let peer = Peer::scripted(move |step| {
        if step.line == "CONTENT" && step.session == 0 {
            Do::Wait(std::sync::Arc::clone(&held))
        } else {
            Do::Usual
        }
    });
    let peer = peer.start();
    // The lease of the attempt that died must not make the next one wait: `lease` is what bounds it.
    let queue = "retry = [\"200ms\"]\njitter = 0.0\nlease = \"15m\"";
    let mut postern = Setup::new().queue(queue).next_hop(peer.address()).start();
    let content = content::with_body(ANNA, "ben@elsewhere.test", "middle", &content::large_body(8));
    postern.submit(&["ben@elsewhere.test"], &content);
    gate.wait_for_arrival();
    postern.kill();
    gate.open();
    postern.start();
    let taken = peer.wait_for(1);
    content::assert_same_after_our_fields("after the crash", &content, &taken[0].content);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1, "half a message was taken for a whole one");
}

#[test]
fn after_the_next_hop_took_it_but_before_it_was_recorded() {
    let gate = Gate::new();
    let held = std::sync::Arc::clone(&gate);
    let peer = Peer::scripted(move |step| {
        if step.line == "." && step.session == 0 { Do::Wait(std::sync::Arc::clone(&held)) } else { Do::Usual }
    });
    let peer = peer.start();
    let mut postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "twice perhaps"));
    gate.wait_for_arrival();
    assert_eq!(peer.taken().len(), 1);
    postern.kill();
    gate.open();
    postern.start();
    // At least once: it cannot know that the first attempt was good, so it is delivered again, and then it is done.
    peer.wait_for(2);
    postern.wait_for_empty_queue();
    assert!(postern.mail_of("anna").is_empty());
}

#[test]
fn while_clients_are_sending() {
    let address = unused_address();
    let mut postern = Setup::new().next_hop(address).start();
    let clients: Vec<Client> = (0..4).map(|_| postern.signed_in()).collect();
    let senders: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(sender, client)| std::thread::spawn(move || send_until_killed(sender, client)))
        .collect();
    crate::support::wait_for("some messages to be acknowledged", || {
        (postern.queue().len() >= 10).then_some(())
    });
    postern.kill();
    let acknowledged: Vec<String> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert!(acknowledged.len() >= 10);
    let peer = Peer::scripted(|_| Do::Usual).start_at(address);
    postern.start();
    // Messages whose acknowledgement was cut off may come as well, so that a count says nothing.
    postern.wait_for_empty_queue();
    let taken = peer.taken();
    for subject in acknowledged {
        let line = format!("Subject: {subject}\r\n");
        let found = taken.iter().any(|one| String::from_utf8_lossy(&one.content).contains(&line));
        assert!(found, "{subject} was acknowledged and lost");
    }
}

/// Sends message after message; hands back the subjects of those that were acknowledged before the end came.
fn send_until_killed(sender: usize, mut client: Client) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        let subject = format!("sender {sender} number {number} end");
        let content = content::plain(ANNA, "ben@elsewhere.test", &subject);
        let steps: [&[u8]; 4] = [
            b"MAIL FROM:<anna@home.test>\r\n",
            b"RCPT TO:<ben@elsewhere.test>\r\n",
            b"DATA\r\n",
            &crate::support::client::stuffed(&content),
        ];
        for step in steps {
            if !client.try_send(step) || client.try_reply().is_none() {
                return acknowledged;
            }
        }
        acknowledged.push(subject);
    }
    acknowledged
}
