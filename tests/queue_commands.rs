//! `postern queue`: seeing and steering what waits, by id and by filter.

use std::net::SocketAddr;

use crate::support::postern::{ANNA, QUIET};
use crate::support::programs::fail;
use crate::support::{Do, Peer, Postern, Setup, content, unused_address, wait_for};

/// A daemon whose next hop is down and whose retries are far away, with messages to these recipients waiting.
#[track_caller]
fn waiting(recipients: &[&str]) -> (Postern, SocketAddr) {
    let address = unused_address();
    let postern = Setup::new().queue("retry = [\"1h\"]").next_hop(address).start();
    for recipient in recipients {
        postern.submit(&[recipient], &content::plain(ANNA, recipient, &format!("for {recipient}")));
    }
    wait_for("the first attempts to fail", || {
        let queue = postern.queue();
        (queue.len() == recipients.len()
            && queue.iter().all(|delivery| delivery["attempts"].as_u64() >= Some(1)))
        .then_some(())
    });
    (postern, address)
}

fn peer_at(address: SocketAddr) -> Peer {
    Peer::scripted(|_| Do::Usual).start_at(address)
}

#[test]
fn list_and_show_tell_what_waits_and_why() {
    let (postern, address) = waiting(&["ben@elsewhere.test"]);
    let list = postern.cli(&["queue", "list"]);
    let id = postern.queue_ids().remove(0);
    assert!(list.contains(&id) && list.contains(ANNA) && list.contains("elsewhere.test"), "{list}");
    let shown = postern.cli(&["queue", "show", &id]);
    assert!(shown.contains("ben@elsewhere.test") && shown.contains(ANNA), "{shown}");
    assert!(shown.contains("refused"), "no word of the connection refused by {address}: {shown}");
}

#[test]
fn retry_by_id_tries_at_once() {
    let (postern, address) = waiting(&["ben@elsewhere.test", "eve@other.test"]);
    let peer = peer_at(address);
    let ids = postern.queue_ids();
    postern.cli(&["queue", "retry", &ids[0]]);
    peer.wait_for(1);
    wait_for("one to be left", || (postern.queue_ids() == ids[1..]).then_some(()));
}

#[test]
fn retry_of_a_destination_leaves_the_others() {
    let (postern, address) = waiting(&["ben@elsewhere.test", "eve@other.test", "joe@elsewhere.test"]);
    let peer = peer_at(address);
    postern.cli(&["queue", "retry", "--destination", "elsewhere.test"]);
    peer.wait_for(2);
    wait_for("one to be left", || (postern.queue().len() == 1).then_some(()));
    assert!(peer.taken().iter().all(|taken| taken.to[0].contains("@elsewhere.test")));
}

#[test]
fn retry_finds_its_messages_by_recipient_sender_and_reason() {
    for filter in [["--recipient", "ben@elsewhere.test"], ["--sender", ANNA], ["--reason", "refused"]] {
        let (postern, address) = waiting(&["ben@elsewhere.test"]);
        let peer = peer_at(address);
        postern.cli(&[&["queue", "retry"], &filter[..]].concat());
        peer.wait_for(1);
        postern.wait_for_empty_queue();
    }
}

#[test]
fn a_filter_that_means_nothing_changes_nothing() {
    let (postern, address) = waiting(&["ben@elsewhere.test"]);
    let peer = peer_at(address);
    for filter in [
        ["--sender", "other@home.test"],
        ["--destination", "other.test"],
        ["--older-than", "2h"],
        ["--reason", "moon"],
    ] {
        // Whether finding nothing is an error is the command's own business; it must not act.
        drop(crate::support::programs::run(
            &mut postern.command(&[&["queue", "remove"], &filter[..]].concat()),
        ));
    }
    assert_eq!(postern.queue().len(), 1);
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn a_change_without_an_id_or_a_filter_is_refused() {
    let (postern, _) = waiting(&["ben@elsewhere.test"]);
    for verb in ["retry", "reroute", "hold", "release", "bounce", "remove"] {
        fail(&mut postern.command(&["queue", verb]));
    }
    assert_eq!(postern.queue().len(), 1);
}

#[test]
fn a_held_message_waits_until_it_is_released() {
    let (postern, address) = waiting(&["ben@elsewhere.test"]);
    let id = postern.queue_ids().remove(0);
    postern.cli(&["queue", "hold", &id]);
    assert_eq!(postern.queue()[0]["held"], true);
    let peer = peer_at(address);
    std::thread::sleep(QUIET);
    assert_eq!(peer.sessions(), 0, "a held message was tried");
    postern.cli(&["queue", "release", &id]);
    peer.wait_for(1);
    postern.wait_for_empty_queue();
}

#[test]
fn a_bounced_message_is_reported() {
    let (postern, _) = waiting(&["ben@elsewhere.test"]);
    postern.cli(&["queue", "bounce", "--all"]);
    let report = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    assert!(report.contains("Action: failed") && report.contains("ben@elsewhere.test"), "{report}");
    postern.wait_for_empty_queue();
}

#[test]
fn a_removed_message_is_gone_without_a_report() {
    let (postern, address) = waiting(&["ben@elsewhere.test", "eve@other.test"]);
    let ids = postern.queue_ids();
    postern.cli(&["queue", "remove", &ids[0]]);
    assert_eq!(postern.queue_ids(), ids[1..]);
    let peer = peer_at(address);
    postern.cli(&["queue", "retry", "--all"]);
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1);
    assert!(postern.mail_of("anna").is_empty());
}

#[test]
fn the_queue_can_be_read_and_changed_while_the_daemon_is_off() {
    let (mut postern, address) = waiting(&["ben@elsewhere.test", "eve@other.test"]);
    postern.terminate();
    let ids = postern.queue_ids();
    assert_eq!(ids.len(), 2);
    postern.cli(&["queue", "remove", &ids[0]]);
    postern.cli(&["queue", "retry", &ids[1]]);
    let peer = peer_at(address);
    postern.start();
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1);
}

#[test]
fn an_unknown_id_is_an_error() {
    let (postern, _) = waiting(&["ben@elsewhere.test"]);
    fail(&mut postern.command(&["queue", "show", "0000000000"]));
}
