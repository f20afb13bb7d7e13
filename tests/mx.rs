//! Delivery by MX records, asked of a name server of the test's own: order, fallbacks, null MX, and TLS when it can be had.

use std::net::Ipv4Addr;

use postern_testkit::dns::Zone;

use crate::support::names::Names;
use crate::support::postern::{ANNA, QUIET};
use crate::support::{Do, Peer, Postern, Setup, content, wait_for};

/// Postern with one MX connector on the port of the peers.
fn with_mx(names: &Names, port: u16, tls: &str) -> Postern {
    let connector =
        format!("name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = {port}\ntls = \"{tls}\"");
    Setup::new().connector(&connector).tables(&names.table()).start()
}

#[track_caller]
fn submit(postern: &Postern) {
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "By MX"));
}

/// Peers that share a port on different loopback addresses.
fn peer_on(last: u8, port: u16) -> Peer {
    Peer::scripted(|_| Do::Usual).start_at((Ipv4Addr::new(127, 0, 0, last), port).into())
}

#[test]
fn the_host_with_the_lowest_preference_is_taken() {
    let worse = peer_on(71, 0);
    let best = peer_on(72, worse.port());
    let zone = Zone::new()
        .mx("elsewhere.test", 20, "worse.elsewhere.test")
        .mx("elsewhere.test", 10, "best.elsewhere.test")
        .address("worse.elsewhere.test", Ipv4Addr::new(127, 0, 0, 71))
        .address("best.elsewhere.test", Ipv4Addr::new(127, 0, 0, 72));
    let names = Names::serve(zone);
    let postern = with_mx(&names, best.port(), "none");
    submit(&postern);
    best.wait_for(1);
    postern.wait_for_empty_queue();
    assert_eq!(worse.sessions(), 0);
}

#[test]
fn a_reload_asks_the_name_servers_it_brings() {
    let peer = peer_on(70, 0);
    let zone = Zone::new()
        .mx("elsewhere.test", 10, "mx.elsewhere.test")
        .address("mx.elsewhere.test", Ipv4Addr::new(127, 0, 0, 70));
    let (silent, names) = (Names::serve(Zone::new()), Names::serve(zone));
    let mut postern = with_mx(&silent, peer.port(), "none");
    let other = format!("127.0.0.1:{}", names.address().port());
    let before = format!("{}", silent.address());
    postern.reload(|setup| setup.replace(&before, &other));
    postern.wait_for_log("configuration reloaded");
    submit(&postern);
    peer.wait_for(1);
}

#[test]
fn mail_that_waits_for_dns_goes_at_once_when_a_reload_brings_other_name_servers() {
    let peer = peer_on(69, 0);
    let zone = Zone::new()
        .mx("elsewhere.test", 10, "mx.elsewhere.test")
        .address("mx.elsewhere.test", Ipv4Addr::new(127, 0, 0, 69));
    let (broken, names) = (Names::serve(Zone::new().failing("elsewhere.test")), Names::serve(zone));
    let connector = format!("name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = {}", peer.port());
    let setup = Setup::new().queue("retry = [\"1h\"]\njitter = 0.0").connector(&connector);
    let mut postern = setup.tables(&broken.table()).start();
    submit(&postern);
    wait_for("the first attempt", || (postern.queue()[0]["attempts"].as_u64() == Some(1)).then_some(()));
    let (before, after) = (broken.address().to_string(), names.address().to_string());
    postern.reload(|setup| setup.replace(&before, &after));
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    postern.wait_for_log("the way has changed");
}

#[test]
fn the_next_host_is_taken_when_the_best_is_dead() {
    let second = peer_on(74, 0);
    let zone = Zone::new()
        .mx("elsewhere.test", 10, "dead.elsewhere.test")
        .mx("elsewhere.test", 20, "second.elsewhere.test")
        .address("dead.elsewhere.test", Ipv4Addr::new(127, 0, 0, 73))
        .address("second.elsewhere.test", Ipv4Addr::new(127, 0, 0, 74));
    let names = Names::serve(zone);
    let postern = with_mx(&names, second.port(), "none");
    submit(&postern);
    second.wait_for(1);
    postern.wait_for_empty_queue();
}

#[test]
fn without_an_mx_record_the_domain_s_own_address_is_taken() {
    let peer = peer_on(75, 0);
    let names = Names::serve(Zone::new().address("elsewhere.test", Ipv4Addr::new(127, 0, 0, 75)));
    let postern = with_mx(&names, peer.port(), "none");
    submit(&postern);
    peer.wait_for(1);
}

#[test]
fn a_null_mx_is_reported_at_once() {
    let peer = peer_on(76, 0);
    let zone = Zone::new().null_mx("elsewhere.test").address("elsewhere.test", Ipv4Addr::new(127, 0, 0, 76));
    let names = Names::serve(zone);
    let postern = with_mx(&names, peer.port(), "none");
    submit(&postern);
    let report = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    assert!(report.contains("5.1.10"), "{report}");
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn a_domain_that_does_not_exist_is_reported_at_once() {
    let names = Names::serve(Zone::new());
    let postern = with_mx(&names, 25, "none");
    submit(&postern);
    let report = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    assert!(report.contains("5.1.2"), "{report}");
}

#[test]
fn a_name_server_that_fails_makes_it_wait() {
    let peer = peer_on(77, 0);
    let names = Names::serve(Zone::new().failing("elsewhere.test"));
    let postern = with_mx(&names, peer.port(), "none");
    submit(&postern);
    wait_for("an attempt", || (postern.queue()[0]["attempts"].as_u64() >= Some(1)).then_some(()));
    assert!(postern.mail_of("anna").is_empty());
    names.change(|mut zone| {
        zone.remove("elsewhere.test");
        zone.address("elsewhere.test", Ipv4Addr::new(127, 0, 0, 77))
    });
    peer.wait_for(1);
}

#[test]
fn tls_is_used_when_offered_even_with_a_certificate_nobody_knows() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["some.other.name.test"]);
    let peer = Peer::scripted(|_| Do::Usual).tls(identity.server_config());
    let peer = peer.start_at((Ipv4Addr::new(127, 0, 0, 78), 0).into());
    let names = Names::serve(Zone::new().address("elsewhere.test", Ipv4Addr::new(127, 0, 0, 78)));
    let postern = with_mx(&names, peer.port(), "opportunistic");
    submit(&postern);
    assert!(peer.wait_for(1)[0].tls);
}

#[test]
fn failed_handshakes_are_followed_by_a_try_in_clear_and_logged() {
    let peer =
        Peer::scripted(|_| Do::Usual).offering("STARTTLS").start_at((Ipv4Addr::new(127, 0, 0, 79), 0).into());
    let names = Names::serve(Zone::new().address("elsewhere.test", Ipv4Addr::new(127, 0, 0, 79)));
    let postern = with_mx(&names, peer.port(), "opportunistic");
    submit(&postern);
    let taken = peer.wait_for(1);
    assert!(!taken[0].tls);
    assert_eq!(taken[0].session, 2, "one try with TLS, one with a small hello, then one in clear");
    for step in ["trying once with a small TLS hello", "trying once in clear"] {
        postern.wait_for_log(step);
    }
}

#[test]
fn nothing_is_said_in_clear_where_tls_is_required() {
    for broken in [false, true] {
        let mut peer = Peer::scripted(|_| Do::Usual);
        if broken {
            peer = peer.offering("STARTTLS");
        }
        let peer = peer.start_at((Ipv4Addr::new(127, 0, 0, 80), 0).into());
        let names = Names::serve(Zone::new().address("elsewhere.test", Ipv4Addr::new(127, 0, 0, 80)));
        let postern = with_mx(&names, peer.port(), "required");
        submit(&postern);
        peer.wait_for_sessions(3);
        std::thread::sleep(QUIET);
        assert!(!peer.heard("MAIL") && !peer.heard("AUTH"), "{:?}", peer.said());
        assert_eq!(postern.queue().len(), 1);
        assert!(postern.mail_of("anna").is_empty());
    }
}
