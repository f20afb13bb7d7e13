//! `postern queue why` and `postern queue reroute`: what mail waits for, in words to act on, and what acting on them does.

use std::net::SocketAddr;

use crate::support::certificates::Kind;
use crate::support::postern::ANNA;
use crate::support::programs::fail;
use crate::support::{Do, Peer, Postern, Setup, content, names, wait_for};

const BEN: &str = "ben@partner.test";

/// A connector for `partner.test` to this port of `localhost`, with these further keys.
fn partner(port: u16, keys: &str) -> String {
    format!("name = \"partner\"\naddress_space = [\"partner.test\"]\nto = \"smtp:localhost:{port}\"\n{keys}")
}

/// An address where nobody listens, and nobody will: a port that is only free may be the next peer's.
fn nobody() -> SocketAddr {
    (names::address(), 9).into()
}

/// Waits until each delivery was tried.
#[track_caller]
fn wait_for_attempts(postern: &Postern) {
    wait_for("each delivery to be tried", || {
        let tried = |delivery: &serde_json::Value| delivery["attempts"].as_u64() >= Some(1);
        postern.queue().iter().all(tried).then_some(())
    });
}

#[track_caller]
fn submit(postern: &Postern, to: &str) {
    postern.submit(&[to], &content::plain(ANNA, to, "Waiting"));
}

/// The text between two others.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after:?} in {rest}")).0
}

#[test]
fn a_certificate_nobody_knows_is_named_pinned_as_suggested_and_the_mail_goes() {
    let setup = Setup::new().queue("retry = [\"1h\"]\njitter = 0.0\ndelay_warning = \"1ms\"");
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = Peer::scripted(|_| Do::Usual).tls(identity.server_config()).start();
    let mut postern =
        setup.connector(&partner(peer.port(), "tls = \"verified\"\nip = \"ipv4-only\"")).start();
    submit(&postern, BEN);
    submit(&postern, "eve@partner.test");
    wait_for_attempts(&postern);

    let why = postern.cli(&["queue", "why", "partner.test"]);
    let spki = identity.leaf().spki_sha256();
    for words in [
        "certificate of an unknown authority: 2 messages for 2 recipients",
        &format!("localhost [127.0.0.1]:{}, at TLS", peer.port()),
        "its certificate: for localhost, signed by itself",
        "demanded: verified by connector \"partner\"",
        "lower tls of connector \"partner\"",
    ] {
        assert!(why.contains(words), "no {words:?} in {why}");
    }
    let suggested = between(&why, "tls = \"pinned\", pins = [\"", "\"]");
    assert_eq!(suggested, format!("spki-sha256:{spki}"), "{why}");
    for what in [&postern.queue_ids()[0], "ben@partner.test"] {
        let of_one = postern.cli(&["queue", "why", what]);
        assert!(of_one.contains("1 message for 1 recipient"), "{of_one}");
    }
    let list = postern.cli(&["queue", "list"]);
    assert!(list.contains(&format!("(postern queue why {})", postern.queue_ids()[0])), "{list}");

    // The sender reads the same words.
    let warning = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    let explanation = between(&why, "  why       ", "\n");
    let unfolded: String = warning.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(unfolded.contains(explanation), "no {explanation:?} in {warning}");

    let pinned = format!("tls = \"pinned\"\npins = [\"{suggested}\"]\nip = \"ipv4-only\"");
    postern.configure(|setup| setup.only_connectors(&[partner(peer.port(), &pinned)]));
    postern.cli(&["reload"]);
    // What may be cured by the reload does not wait for its retry time.
    let taken = peer.wait_for(2);
    assert!(taken.iter().all(|taken| taken.tls), "{taken:?}");
    postern.wait_for_empty_queue();
    assert_eq!(postern.cli(&["queue", "why"]), "nothing waits\n");
}

#[test]
fn rerouted_mail_goes_at_once_by_the_connector_of_today_with_its_attempts_counted_anew() {
    let old =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("451 4.7.1 Greylisted") } else { Do::Usual });
    let (old, new) = (
        old.start(),
        Peer::scripted(|step| if step.is("RCPT TO:<ben") { Do::Say("450 4.2.1 Busy") } else { Do::Usual }),
    );
    let new = new.start();
    let setup = Setup::new().queue("retry = [\"1h\"]\njitter = 0.0");
    let mut postern = setup.connector(&partner(old.port(), "tls = \"none\"")).start();
    for to in [BEN, "eve@partner.test"] {
        submit(&postern, to);
    }
    wait_for_attempts(&postern);
    postern.cli(&["queue", "retry", "--all"]);
    wait_for("second attempts", || {
        postern.queue().iter().all(|delivery| delivery["attempts"] == 2).then_some(())
    });
    postern.configure(|setup| setup.only_connectors(&[partner(new.port(), "tls = \"none\"")]));
    postern.cli(&["reload"]);
    assert_eq!(postern.queue().len(), 2, "mail that its receiver has judged was tried again by the reload");
    let said = postern.cli(&["queue", "reroute", "--destination", "partner.test"]);
    assert!(said.contains("2 deliveries to partner.test: by connector \"partner\""), "{said}");
    postern.wait_for_log("reroute by an administrator: 2 deliveries");
    wait_for("the other to be tried anew", || {
        let queue = postern.queue();
        (queue.len() == 1 && queue[0]["attempts"] == 1).then_some(())
    });
    postern.wait_for_log("delivered: eve@partner.test via partner");
    assert_eq!(new.count("RCPT TO:<ben@partner.test>"), 1, "{:?}", new.said());
}

#[test]
fn causes_are_told_apart_and_the_one_with_the_most_messages_comes_first() {
    let greylisting =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("451 4.7.1 Greylisted") } else { Do::Usual });
    let greylisting = greylisting.start();
    let postern = Setup::new()
        .queue("retry = [\"1h\"]\njitter = 0.0")
        .connector(&partner(greylisting.port(), "tls = \"none\""))
        .next_hop(nobody())
        .start();
    for to in [BEN, "eve@elsewhere.test", "joe@other.test"] {
        submit(&postern, to);
    }
    wait_for_attempts(&postern);
    postern.cli(&["queue", "hold", "--destination", "other.test"]);

    let why = postern.cli(&["queue", "why"]);
    for words in
        ["no connection: 1 message", "held by an administrator: 1 message", "it said: 451 4.7.1 Greylisted"]
    {
        assert!(why.contains(words), "no {words:?} in {why}");
    }
    let json = postern.cli(&["queue", "why", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["groups"].as_array().unwrap().len(), 3, "{json:#}");
    assert_eq!(json["others"], 0);
    submit(&postern, "ann@partner.test");
    wait_for_attempts(&postern);
    let why = postern.cli(&["queue", "why"]);
    assert!(why.starts_with("refused by the other server: 2 messages for 2 recipients"), "{why}");
}

#[test]
fn what_does_not_wait_is_an_error_and_a_daemon_is_not_needed() {
    let mut postern = Setup::new().queue("retry = [\"1h\"]").next_hop(nobody()).start();
    submit(&postern, BEN);
    wait_for_attempts(&postern);
    let said = fail(&mut postern.command(&["queue", "why", "elsewhere.test"]));
    assert!(said.contains("nothing waits for elsewhere.test"), "{said}");
    postern.terminate();
    let why = postern.cli(&["queue", "why", "*.test"]);
    assert!(why.starts_with("no connection: 1 message for 1 recipient"), "{why}");
    let said = postern.cli(&["queue", "reroute", "--all"]);
    assert!(said.contains("by connector \"out\"") && said.contains("1 delivery due now"), "{said}");
    assert_eq!(postern.queue()[0]["attempts"], 0);
}

#[test]
fn mail_of_a_connector_that_is_switched_on_again_goes_at_once() {
    let peer = Peer::start();
    let setup = Setup::new().queue("retry = [\"1h\"]\njitter = 0.0");
    let off = partner(peer.port(), "tls = \"none\"\nenabled = false");
    let mut postern = setup.connector(&off).next_hop(nobody()).start();
    submit(&postern, BEN);
    submit(&postern, "joe@other.test");
    wait_for_attempts(&postern);
    let why = postern.cli(&["queue", "why", BEN]);
    assert!(why.starts_with("connector is switched off: 1 message"), "{why}");
    assert_eq!(peer.sessions(), 0);
    postern.configure(|setup| {
        let on = partner(peer.port(), "tls = \"none\"");
        setup.only_connectors(&[on]).next_hop(nobody())
    });
    let before = attempts_to(&postern, "other.test");
    postern.cli(&["reload"]);
    peer.wait_for(1);
    wait_for("the partner's mail to be gone", || (postern.queue().len() == 1).then_some(()));
    postern.wait_for_log("retry by a reload");
    assert!(before >= 1);
}

#[test]
fn mail_whose_way_did_not_change_waits_through_a_reload() {
    let down = nobody();
    let mut postern = Setup::new().queue("retry = [\"1h\"]\njitter = 0.0").next_hop(down).start();
    submit(&postern, BEN);
    wait_for_attempts(&postern);
    let due = postern.queue()[0]["due"].clone();
    let peer = Peer::start();
    postern.configure(|setup| {
        setup.connector(&format!(
            "name = \"more\"\naddress_space = [\"more.test\"]\nto = \"smtp:{}\"\ntls = \"none\"",
            peer.address()
        ))
    });
    postern.cli(&["reload"]);
    submit(&postern, "eve@more.test");
    peer.wait_for(1);
    assert_eq!(postern.queue()[0]["due"], due);
}

fn attempts_to(postern: &Postern, destination: &str) -> u64 {
    let queue = postern.queue();
    let found = queue.iter().find(|delivery| delivery["destination"] == destination);
    found.and_then(|delivery| delivery["attempts"].as_u64()).unwrap_or(0)
}
