//! Destinations that are slow, refuse before they can be trusted, or take less than they were given.

use std::net::TcpListener;

use crate::support::postern::{ANNA, QUIET};
use crate::support::{Client, Do, Peer, Setup, content, wait_for};

/// A host that lets one connect and then says nothing, ever.
fn tarpit() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn silent_servers_leave_room_for_mailboxes_and_for_servers_that_answer() {
    let tarpits: Vec<TcpListener> = (0..6).map(|_| tarpit()).collect();
    let peer = Peer::scripted(|_| Do::Usual).start();
    let mut setup = Setup::new().queue("retry = [\"1h\"]\ndeliveries = 16").next_hop(peer.address());
    for (number, tarpit) in tarpits.iter().enumerate() {
        let address = tarpit.local_addr().unwrap();
        setup = setup.connector(&format!(
            "name = \"slow{number}\"\nto = \"smtp:{address}\"\naddress_space = [\"slow{number}.test\"]\ntls = \"none\""
        ));
    }
    let postern = setup.start();
    let mut client = postern.signed_in();
    for number in 0..6 {
        for _ in 0..20 {
            let to = format!("ben@slow{number}.test");
            client.deliver(ANNA, &[&to], &content::plain(ANNA, &to, "Slow")).expect(250);
        }
    }
    client.deliver(ANNA, &[ANNA, "eve@elsewhere.test"], &content::plain(ANNA, ANNA, "Quick")).expect(250);
    postern.wait_for_mail("anna", 1);
    peer.wait_for(1);
    assert_eq!(postern.queue().len(), 120, "only the slow ones wait");
}

#[test]
fn a_refusal_said_in_clear_cannot_bounce_mail_that_demands_tls() {
    let peer =
        Peer::scripted(|at| if at.is("CONNECT") { Do::Say("554 5.7.1 Go away") } else { Do::Usual }).start();
    let connector = format!(
        "name = \"out\"\nto = \"smtp:{}\"\naddress_space = [\"*\"]\ntls = \"required\"",
        peer.address()
    );
    let postern = Setup::new().queue("retry = [\"1h\"]").connector(&connector).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Protected"));
    wait_for("the attempt", || (postern.queue()[0]["attempts"] == 1).then_some(()));
    std::thread::sleep(QUIET);
    assert_eq!(postern.queue_ids().len(), 1, "it waits");
}

#[test]
fn text_that_came_as_binary_goes_to_a_next_hop_that_takes_only_text() {
    let peer = Peer::scripted(|_| Do::Usual).start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let text = content::plain(ANNA, "ben@elsewhere.test", "As binary");
    let mut client: Client = postern.signed_in();
    client.say(&format!("MAIL FROM:<{ANNA}> BODY=BINARYMIME")).expect(250);
    client.say("RCPT TO:<ben@elsewhere.test>").expect(250);
    client.send(format!("BDAT {} LAST\r\n", text.len()).as_bytes());
    client.send(&text);
    client.reply().expect(250);
    peer.wait_for(1);
    postern.wait_for_empty_queue();
}
