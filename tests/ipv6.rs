//! IPv6, coming in and going out.

use std::net::Ipv6Addr;

use crate::support::postern::{ANNA, listeners};
use crate::support::{Client, Do, Peer, Setup, content};

#[test]
fn mail_comes_in_and_goes_out_over_ipv6() {
    let peer = Peer::scripted(|_| Do::Usual).start_at((Ipv6Addr::LOCALHOST, 0).into());
    let postern = Setup::new().listeners(&listeners("[::1]:0")).next_hop(peer.address()).start();
    assert!(postern.at("submission").is_ipv6());
    let content = content::plain(ANNA, "ben@elsewhere.test", "Six");
    postern.submit(&["ben@elsewhere.test"], &content);
    let taken = peer.wait_for(1).remove(0);
    content::assert_same_after_our_fields("over IPv6", &content, &taken.content);
    assert!(
        String::from_utf8_lossy(&taken.content).contains("[IPv6:::1]"),
        "the trace does not name the address"
    );
}

#[test]
fn a_listener_may_be_bound_to_several_addresses() {
    let table = "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\", \"[::1]:0\"]\n";
    let postern = Setup::new().listeners(table).start();
    let bound = postern.listening().unwrap()["mx"].as_array().unwrap().clone();
    assert_eq!(bound.len(), 2, "{bound:?}");
    for address in bound {
        let mut client = crate::support::Client::connect(address.as_str().unwrap().parse().unwrap());
        client.say("EHLO stranger.test").expect(250);
    }
}

#[test]
fn both_wildcards_can_share_a_port() {
    let port = crate::support::unused_address().port();
    let listener = format!(
        "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"0.0.0.0:{port}\", \"[::]:{port}\"]\n"
    );
    let _postern = Setup::new().listeners(&listener).without_user().start();
    for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        Client::connect(address.parse().unwrap()).say("QUIT").expect(221);
    }
}
