//! The fallback ladder of opportunistic TLS: a small hello after a large one, clear text after both, each remembered; and no ladder
//! at all where anything stronger is demanded.

use crate::support::certificates::Kind;
use crate::support::peer::Step;
use crate::support::postern::{ANNA, QUIET};
use crate::support::tls_server::TlsTrick;
use crate::support::{Do, Peer, Postern, Setup, content, wait_for};

const BEN: &str = "ben@elsewhere.test";

/// A peer that plays a trick at each STARTTLS and is healthy otherwise; what it hears is in the clear, as far as it hears it.
fn tricky(setup: &Setup, trick: TlsTrick) -> Peer {
    let identity = setup.authority().issue(&["localhost"]);
    let script = move |step: &Step<'_>| if step.is("STARTTLS") { Do::Tls(trick) } else { Do::Usual };
    Peer::scripted(script).tls(identity.server_config()).start()
}

/// One message over each connection, so that each message shows how a connection is begun.
fn sender(setup: Setup, peer: &Peer, keys: &str) -> Postern {
    let connector = format!(
        "name = \"out\"\naddress_space = [\"*\"]\nto = \"smtp:localhost:{}\"\nmessages_per_connection = 1\n{keys}",
        peer.port()
    );
    setup.connector(&connector).start()
}

#[track_caller]
fn submit(postern: &Postern) {
    postern.submit(&[BEN], &content::plain(ANNA, BEN, "Up and down"));
}

/// Sends three messages, each after the one before; in how many sessions the peer took them.
#[track_caller]
fn send_three(postern: &Postern, peer: &Peer) -> Vec<usize> {
    for count in 1..=3 {
        submit(postern);
        peer.wait_for(count);
        postern.wait_for_empty_queue();
    }
    peer.taken().iter().map(|taken| taken.session).collect()
}

#[test]
fn a_peer_that_breaks_on_large_hellos_gets_small_ones_and_that_is_remembered() {
    let setup = Setup::new();
    let peer = tricky(&setup, TlsTrick::SmallHello(1400));
    let postern = sender(setup, &peer, "tls = \"opportunistic\"");
    // The first session is the one with the large hello; each one after it succeeds.
    assert_eq!(send_three(&postern, &peer), [1, 2, 3]);
    assert!(peer.taken().iter().all(|taken| taken.tls));
    let log = postern.log();
    assert_eq!(log.matches("with a small TLS hello").count(), 1, "{log}");
    assert!(log.contains("reset the connection during the TLS handshake"), "{log}");
}

#[test]
fn a_peer_whose_tls_is_broken_gets_mail_in_clear_and_that_is_remembered() {
    for trick in [TlsTrick::Reset, TlsTrick::Close, TlsTrick::Garbage] {
        let setup = Setup::new();
        let peer = tricky(&setup, trick);
        let postern = sender(setup, &peer, "tls = \"opportunistic\"");
        // One session with a large hello, one with a small one.
        assert_eq!(send_three(&postern, &peer), [2, 3, 4], "{trick:?}");
        assert!(peer.taken().iter().all(|taken| !taken.tls), "{trick:?}");
        assert_eq!(peer.count("STARTTLS"), 2, "{trick:?}");
        let log = postern.log();
        assert_eq!(log.matches("in clear").count(), 4, "one step down and three deliveries: {log}");
    }
}

#[test]
fn a_restart_forgets_what_was_remembered() {
    let setup = Setup::new();
    let peer = tricky(&setup, TlsTrick::SmallHello(1400));
    let mut postern = sender(setup, &peer, "tls = \"opportunistic\"");
    submit(&postern);
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    postern.terminate();
    postern.start();
    submit(&postern);
    assert_eq!(peer.wait_for(2)[1].session, 3, "the large hello is tried again");
}

#[test]
fn a_connector_without_post_quantum_begins_with_a_small_hello() {
    let setup = Setup::new();
    let peer = tricky(&setup, TlsTrick::SmallHello(1400));
    let postern = sender(setup, &peer, "tls = \"required\"\npost_quantum = false");
    submit(&postern);
    let taken = peer.wait_for(1).remove(0);
    assert!(taken.tls);
    assert_eq!(taken.session, 0);
}

#[test]
fn where_more_is_demanded_there_is_no_second_hello_and_no_clear_session() {
    let mut setup = Setup::new().trusting_its_authority().queue("retry = [\"1h\"]");
    let mut peers = Vec::new();
    for trick in [TlsTrick::SmallHello(1400), TlsTrick::Reset, TlsTrick::Garbage] {
        for tls in ["required", "verified"] {
            let (peer, space) = (tricky(&setup, trick), format!("{tls}{}.test", peers.len()));
            setup = setup.connector(&format!(
                "name = {space:?}\naddress_space = [{space:?}]\nto = \"smtp:localhost:{}\"\ntls = \"{tls}\"",
                peer.port()
            ));
            peers.push((space, peer));
        }
    }
    let postern = setup.start();
    for (space, _) in &peers {
        let to = format!("ben@{space}");
        postern.submit(&[&to], &content::plain(ANNA, &to, "Strictly"));
    }
    let tried = |delivery: &serde_json::Value| delivery["attempts"].as_u64() == Some(1);
    wait_for("an attempt for each", || postern.queue().iter().all(tried).then_some(()));
    std::thread::sleep(QUIET);
    for (space, peer) in &peers {
        assert_eq!(peer.sessions(), 1, "{space}");
        assert!(peer.heard("STARTTLS") && !peer.heard("MAIL"), "{space}: {:?}", peer.said());
        let why = postern.why(space);
        assert!(why.contains("TLS handshake broken") && why.contains("tls of connector"), "{why}");
    }
    assert_eq!(postern.queue().len(), peers.len());
    assert!(!postern.log().contains("small TLS hello"), "{}", postern.log());
}

#[test]
fn what_is_remembered_of_opportunistic_mail_does_not_weaken_other_mail() {
    let setup = Setup::new();
    let peer = tricky(&setup, TlsTrick::Reset);
    let strict = format!(
        "name = \"strict\"\naddress_space = [\"strict.test\"]\nto = \"smtp:localhost:{}\"\ntls = \"required\"",
        peer.port()
    );
    let postern = sender(setup.connector(&strict), &peer, "tls = \"opportunistic\"");
    submit(&postern);
    assert!(!peer.wait_for(1)[0].tls);
    postern.submit(&["ben@strict.test"], &content::plain(ANNA, "ben@strict.test", "Strictly"));
    postern.wait_for_attempts(2);
    assert_eq!(peer.taken().len(), 1);
    assert_eq!(peer.count("MAIL"), 1);
}

#[test]
fn a_peer_that_demands_a_certificate_of_ours_gets_opportunistic_mail_in_clear() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let demanding = identity.server_config_for_clients_of(setup.authority());
    let peer = Peer::scripted(|_| Do::Usual).tls(demanding).start();
    let postern = sender(setup, &peer, "tls = \"opportunistic\"");
    assert_eq!(send_three(&postern, &peer), [2, 3, 4]);
    assert!(peer.taken().iter().all(|taken| !taken.tls));
    // In TLS 1.3 it says so after the handshake only.
    assert!(postern.log().contains("it demands a client certificate"), "{}", postern.log());
}

#[test]
fn a_bad_certificate_is_no_reason_to_step_down() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::Expired, &["localhost"]);
    let peer = Peer::scripted(|_| Do::Usual).tls(identity.server_config()).start();
    let postern = sender(setup, &peer, "tls = \"opportunistic\"");
    assert_eq!(send_three(&postern, &peer), [0, 1, 2]);
    assert!(peer.taken().iter().all(|taken| taken.tls));
}
