//! A connection that is kept for the next message is used only on the terms that hold for that message.

use crate::support::postern::ANNA;
use crate::support::{Peer, Setup, content};

/// One smarthost for all destinations, without TLS; `secret.test` demands more.
fn smarthost(peer: &Peer, policy: &str) -> Setup {
    Setup::new()
        .connector(&format!(
            "name = \"out\"\nto = \"smtp:{}\"\naddress_space = [\"*\"]\nconcurrency = 1\nidle = \"30s\"",
            peer.address()
        ))
        .tables(&format!("[[outbound.policy]]\naddress_space = [\"secret.test\"]\n{policy}\n"))
        .queue("retry = [\"1h\"]\njitter = 0.0")
}

#[test]
fn a_kept_connection_in_clear_is_not_used_for_a_destination_that_demands_tls() {
    let peer = Peer::start();
    let postern = smarthost(&peer, "tls = \"required\"").start();
    postern.submit(&["ben@open.test"], &content::plain(ANNA, "ben@open.test", "First"));
    peer.wait_for(1);
    for _ in 0..3 {
        postern.submit(&["ben@secret.test"], &content::plain(ANNA, "ben@secret.test", "Second"));
    }
    postern.submit(&["ben@open.test"], &content::plain(ANNA, "ben@open.test", "Third"));
    let taken = peer.wait_for(2);
    assert!(taken.iter().all(|taken| taken.to == ["<ben@open.test>"]), "{taken:?}");
    postern.wait_for_log("required here: required");
    assert_eq!(postern.queue().len(), 3);
    assert_eq!(peer.taken().len(), 2);
}

#[test]
fn the_same_terms_share_a_connection() {
    let peer = Peer::start();
    let postern = smarthost(&peer, "tls = \"required\"").start();
    for _ in 0..4 {
        postern.submit(&["ben@open.test"], &content::plain(ANNA, "ben@open.test", "Again"));
    }
    peer.wait_for(4);
    assert_eq!(peer.sessions(), 1);
}
