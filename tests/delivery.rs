//! What is delivered is what was sent, octet for octet, behind the header fields that we add: to `smtp-sink`, to Postfix, to
//! Dovecot over LMTP, to a Maildir, and on the wire itself.

use crate::support::content::{
    assert_same_after_our_fields, awkward_bodies, large_body, unix_lines, with_body,
};
use crate::support::dovecot::Dovecot;
use crate::support::postern::ANNA;
use crate::support::postfix::Postfix;
use crate::support::sink::Sink;
use crate::support::{Peer, Postern, Setup, files_below, wait_for_maildir};

/// Every awkward message, and one of 10 MiB.
fn messages(to: &str) -> Vec<(String, Vec<u8>)> {
    let large = ("10 MiB", large_body(10));
    let bodies = awkward_bodies().into_iter().chain([large]);
    bodies.map(|(name, body)| (name.to_owned(), with_body(ANNA, to, name, &body))).collect()
}

/// Submits everything over one session.
#[track_caller]
fn submit_all(postern: &Postern, to: &str) -> Vec<(String, Vec<u8>)> {
    let messages = messages(to);
    let mut client = postern.signed_in();
    for (name, content) in &messages {
        let reply = client.deliver(ANNA, &[to], content);
        assert_eq!(reply.code, 250, "{name}: {reply:?}");
    }
    messages
}

/// Finds for each message sent the one delivered, by its subject, and compares.
#[track_caller]
fn assert_all_the_same(sent: &[(String, Vec<u8>)], delivered: &[Vec<u8>], lines: fn(&[u8]) -> Vec<u8>) {
    assert_eq!(sent.len(), delivered.len());
    for (name, content) in sent {
        let subject = lines(format!("Subject: {name}\r\n").as_bytes());
        let found =
            delivered.iter().find(|message| message.windows(subject.len()).any(|window| window == subject));
        let found = found.unwrap_or_else(|| panic!("{name} was not delivered"));
        assert_same_after_our_fields(name, &lines(content), found);
    }
}

#[test]
fn to_an_smtp_next_hop_on_the_wire() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let sent = submit_all(&postern, "ben@elsewhere.test");
    let delivered: Vec<Vec<u8>> = peer.wait_for(sent.len()).into_iter().map(|taken| taken.content).collect();
    assert_all_the_same(&sent, &delivered, <[u8]>::to_vec);
}

#[test]
fn to_smtp_sink() {
    let sink = Sink::start();
    let postern = Setup::new().next_hop(sink.address()).start();
    let sent = submit_all(&postern, "ben@elsewhere.test");
    assert_all_the_same(&sent, &sink.wait_for(sent.len()), unix_lines);
    postern.wait_for_empty_queue();
}

#[test]
fn to_a_postfix_over_verified_tls() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let postfix = Postfix::start("elsewhere.test", Some(&identity));
    let root = setup.authority().root();
    let out = format!(
        "name = \"out\"\naddress_space = [\"elsewhere.test\"]\nto = \"smtp:localhost:{}\"\ntls = \"verified\"\ntrust = {root:?}",
        postfix.address().port()
    );
    let postern = setup.connector(&out).start();
    let sent = submit_all(&postern, "ben@elsewhere.test");
    let delivered = wait_for_maildir(&postfix.maildir(), sent.len());
    assert_all_the_same(&sent, &delivered, unix_lines);
    assert!(String::from_utf8_lossy(&delivered[0]).contains("using TLSv1.3"), "Postfix saw no TLS");
    postern.wait_for_empty_queue();
}

#[test]
fn to_dovecot_over_lmtp_on_a_unix_socket() {
    let dovecot = Dovecot::start();
    delivers_to_dovecot(&dovecot, &format!("to = \"lmtp:unix:{}\"", dovecot.socket().display()));
}

#[test]
fn to_dovecot_over_lmtp_on_tcp() {
    let dovecot = Dovecot::start();
    delivers_to_dovecot(&dovecot, &format!("to = \"lmtp:{}\"\ntls = \"none\"", dovecot.address()));
}

#[track_caller]
fn delivers_to_dovecot(dovecot: &Dovecot, way: &str) {
    let store = "name = \"store.test\"\ndeliver = \"dovecot\"\nmailboxes = [\"ben\"]";
    let connector = format!("name = \"dovecot\"\n{way}");
    let postern = Setup::new().connector(&connector).domain(store).start();
    let sent = submit_all(&postern, "ben@store.test");
    let delivered = wait_for_maildir(&dovecot.maildir("ben"), sent.len());
    assert_all_the_same(&sent, &delivered, <[u8]>::to_vec);
    postern.wait_for_empty_queue();
}

#[test]
fn to_a_maildir() {
    let postern = Setup::new().start();
    let sent = submit_all(&postern, ANNA);
    let delivered = postern.wait_for_mail("anna", sent.len());
    let crlf = delivered[0].windows(2).any(|pair| pair == b"\r\n");
    assert_all_the_same(&sent, &delivered, if crlf { <[u8]>::to_vec } else { unix_lines });
    assert!(files_below(&postern.maildir("anna").join("tmp")).is_empty(), "something was left in tmp");
    postern.wait_for_empty_queue();
}

#[test]
fn content_sent_in_chunks_is_the_same_as_content_sent_with_data() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let content = with_body(ANNA, "ben@elsewhere.test", "chunks", b".dot\r\n..\r\nlast\r\n");
    let mut client = postern.signed_in();
    client.say(&format!("MAIL FROM:<{ANNA}>")).expect(250);
    client.say("RCPT TO:<ben@elsewhere.test>").expect(250);
    let (first, last) = content.split_at(content.len() - 7);
    for (chunk, ending) in [(first, ""), (last, " LAST")] {
        client.send(format!("BDAT {}{ending}\r\n", chunk.len()).as_bytes());
        client.send(chunk);
        client.reply().expect(250);
    }
    assert_same_after_our_fields("chunks", &content, &peer.wait_for(1)[0].content);
}

#[test]
fn one_message_for_two_recipients_of_a_destination_goes_out_once() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let content = with_body(ANNA, "ben@elsewhere.test", "two", b"Hello\r\n");
    postern.submit(&["ben@elsewhere.test", "eve@elsewhere.test", ANNA], &content);
    let taken = peer.wait_for(1);
    assert_eq!(taken[0].to.len(), 2, "{taken:?}");
    postern.wait_for_mail("anna", 1);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1);
}
