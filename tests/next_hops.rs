//! Exim and OpenSMTPD as next hops: mail reaches them in clear, over opportunistic TLS whatever certificate they have, and over
//! verified TLS when the certificate is good. Postfix and Dovecot have their turn in `delivery`.
//!
//! Then scripted peers with certificates that are bad in one way each, and peers whose handshakes fail in every way there is.

use std::path::Path;

use crate::support::certificates::Kind;
use crate::support::content::{assert_same_after_our_fields, plain, unix_lines};
use crate::support::exim::Exim;
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::peer::Step;
use crate::support::postern::{ANNA, QUIET};
use crate::support::tls_server::{OpenSsl, TlsTrick, Version};
use crate::support::{Do, Peer, Postern, Setup, maildir_messages, wait_for, wait_for_maildir};

const DOMAIN: &str = "elsewhere.test";
const BEN: &str = "ben@elsewhere.test";

/// A Postern that sends everything for the domain to this port, with these further keys of the connector.
fn sender(setup: Setup, port: u16, keys: &str) -> Postern {
    setup
        .connector(&format!(
            "name = \"out\"\naddress_space = [\"{DOMAIN}\"]\nto = \"smtp:localhost:{port}\"\n{keys}"
        ))
        .start()
}

fn verified(setup: &Setup) -> String {
    format!("tls = \"verified\"\ntrust = {:?}", setup.authority().root())
}

/// Sends one message, waits for it, checks that it is the same, and hands back what the next hop filed.
#[track_caller]
fn relay(postern: &Postern, maildir: &Path) -> String {
    let content = plain(ANNA, BEN, "From house to house");
    postern.submit(&[BEN], &content);
    let mail = wait_for_maildir(maildir, 1).remove(0);
    assert_same_after_our_fields("relayed", &unix_lines(&content), &mail);
    postern.wait_for_empty_queue();
    String::from_utf8(mail).unwrap()
}

#[test]
fn mail_reaches_exim_in_clear() {
    let exim = Exim::start(DOMAIN, None);
    let postern = sender(Setup::new(), exim.address().port(), "tls = \"none\"");
    let mail = relay(&postern, &exim.maildir());
    assert!(mail.contains("with esmtp ") && mail.contains("(Exim "), "{mail}");
}

#[test]
fn mail_reaches_exim_over_tls_with_a_self_signed_certificate() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let exim = Exim::start(DOMAIN, Some(&identity));
    let postern = sender(setup, exim.address().port(), "tls = \"opportunistic\"");
    let mail = relay(&postern, &exim.maildir());
    assert!(mail.contains("with esmtps  (TLS1.3)"), "{mail}");
}

#[test]
fn mail_reaches_exim_over_verified_tls() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::Chained, &["localhost"]);
    let exim = Exim::start(DOMAIN, Some(&identity));
    let keys = verified(&setup);
    let postern = sender(setup, exim.address().port(), &keys);
    let mail = relay(&postern, &exim.maildir());
    assert!(mail.contains("with esmtps  (TLS1.3)"), "{mail}");
}

#[test]
fn mail_reaches_opensmtpd_in_clear() {
    let opensmtpd = OpenSmtpd::start(DOMAIN, None);
    let postern = sender(Setup::new(), opensmtpd.address().port(), "tls = \"none\"");
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTP id"), "{mail}");
}

#[test]
fn mail_reaches_opensmtpd_over_tls_with_a_self_signed_certificate() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let opensmtpd = OpenSmtpd::start(DOMAIN, Some(&identity));
    let postern = sender(setup, opensmtpd.address().port(), "tls = \"opportunistic\"");
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTPS id") && mail.contains("(TLSv1.3:"), "{mail}");
}

#[test]
fn mail_reaches_opensmtpd_over_verified_tls() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::Rsa2048, &["localhost"]);
    let opensmtpd = OpenSmtpd::start(DOMAIN, Some(&identity));
    let keys = verified(&setup);
    let postern = sender(setup, opensmtpd.address().port(), &keys);
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTPS id") && mail.contains("(TLSv1.3:"), "{mail}");
}

#[test]
fn an_opensmtpd_that_cannot_do_the_tls_it_offers_gets_the_mail_in_clear_where_that_is_allowed() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let opensmtpd = OpenSmtpd::start_with_broken_tls(DOMAIN, &identity);
    let postern = sender(setup, opensmtpd.address().port(), "tls = \"opportunistic\"");
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTP id"), "{mail}");
    let log = opensmtpd.log();
    assert!(log.contains("SSL routines::EVP lib"), "no handshake was tried and failed first: {log}");
}

#[test]
fn an_opensmtpd_that_cannot_do_the_tls_it_offers_gets_nothing_where_tls_must_be_verified() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let opensmtpd = OpenSmtpd::start_with_broken_tls(DOMAIN, &identity);
    let keys = verified(&setup);
    let postern = sender(setup, opensmtpd.address().port(), &keys);
    postern.submit(&[BEN], &plain(ANNA, BEN, "Held back"));
    wait_for("two attempts", || (postern.queue()[0]["attempts"].as_u64() >= Some(2)).then_some(()));
    std::thread::sleep(QUIET);
    assert!(maildir_messages(&opensmtpd.maildir()).is_empty(), "it was sent in clear");
    assert!(!opensmtpd.log().contains("smtp message"), "{}", opensmtpd.log());
}

/// A scripted peer with a certificate of this kind, and the address space it stands for.
fn peer_with(setup: &Setup, kind: Kind) -> (Peer, String) {
    let identity = setup.authority().issue_as(kind, &["mx.away.test", "localhost"]);
    let peer = Peer::scripted(|_| Do::Usual);
    let peer = match kind {
        Kind::Rsa1024 => peer.tls(OpenSsl { identity, newest: Version::Tls13 }),
        _ => peer.tls(identity.server_config()),
    };
    (peer.start(), format!("{kind:?}.test").to_lowercase())
}

/// One Postern with a connector to a peer for each kind, and one message for each.
fn send_to_each(kinds: &[Kind], tls: fn(&Setup) -> String) -> (Postern, Vec<Peer>) {
    let mut setup = Setup::new();
    let (mut peers, mut recipients) = (Vec::new(), Vec::new());
    for &kind in kinds {
        let (peer, space) = peer_with(&setup, kind);
        let (port, tls) = (peer.port(), tls(&setup));
        let connector =
            format!("name = {space:?}\naddress_space = [{space:?}]\nto = \"smtp:localhost:{port}\"\n{tls}");
        setup = setup.connector(&connector);
        recipients.push(format!("ben@{space}"));
        peers.push(peer);
    }
    let postern = setup.start();
    for to in &recipients {
        postern.submit(&[to], &plain(ANNA, to, "To a peer with a certificate"));
    }
    (postern, peers)
}

#[test]
fn no_good_certificate_is_turned_down() {
    // A wildcard is not for `localhost`, the only name here that every machine resolves.
    let kinds = [Kind::Good, Kind::Rsa2048, Kind::Chained];
    let (postern, peers) = send_to_each(&kinds, verified);
    for (peer, kind) in peers.iter().zip(kinds) {
        assert!(peer.wait_for(1)[0].tls, "{kind:?}");
    }
    postern.wait_for_empty_queue();
}

#[test]
fn no_bad_certificate_gets_mail_where_tls_must_be_verified() {
    let (postern, peers) = send_to_each(&Kind::BAD, verified);
    for (peer, kind) in peers.iter().zip(Kind::BAD) {
        peer.wait_for_sessions(2);
        assert!(peer.heard("STARTTLS"), "{kind:?}: {:?}", peer.said());
    }
    std::thread::sleep(QUIET);
    for (peer, kind) in peers.iter().zip(Kind::BAD) {
        assert!(!peer.heard("MAIL") && peer.taken().is_empty(), "{kind:?}: {:?}", peer.said());
    }
    assert_eq!(postern.queue().len(), Kind::BAD.len());
}

#[test]
fn a_bad_certificate_still_encrypts_where_tls_is_opportunistic() {
    let (postern, peers) = send_to_each(&Kind::BAD, |_| "tls = \"opportunistic\"".to_owned());
    for (peer, kind) in peers.iter().zip(Kind::BAD) {
        assert!(peer.wait_for(1)[0].tls, "{kind:?}");
    }
    postern.wait_for_empty_queue();
}

/// Peers that do something else in the place of the handshake, each with its name. One that injects replies into the clear part
/// of the session is an attack; the others are only weak.
fn broken_peers(setup: &Setup) -> Vec<(String, Peer)> {
    let tricks = [
        TlsTrick::Reset,
        TlsTrick::Close,
        TlsTrick::Garbage,
        TlsTrick::Inject("250 2.0.0 Injected"),
        TlsTrick::SmallHello(1400),
    ];
    let identity = setup.authority().issue(&["localhost"]);
    let mut peers: Vec<_> = tricks
        .into_iter()
        .map(|trick| {
            let script = move |step: &Step<'_>| if step.is("STARTTLS") { Do::Tls(trick) } else { Do::Usual };
            (format!("{trick:?}"), Peer::scripted(script).tls(identity.server_config()).start())
        })
        .collect();
    let refuses = |step: &Step<'_>| {
        if step.is("STARTTLS") { Do::Say("454 4.7.0 TLS not available") } else { Do::Usual }
    };
    peers.push(("454".to_owned(), Peer::scripted(refuses).tls(identity.server_config()).start()));
    let old = OpenSsl { identity, newest: Version::Tls11 };
    peers.push(("TLS 1.1".to_owned(), Peer::scripted(|_| Do::Usual).tls(old).start()));
    peers
}

fn send_to_broken(tls: &str) -> (Postern, Vec<(String, Peer)>) {
    let mut setup = Setup::new();
    let peers = broken_peers(&setup);
    for (number, (_, peer)) in peers.iter().enumerate() {
        let (port, space) = (peer.port(), format!("broken{number}.test"));
        setup = setup.connector(&format!(
            "name = {space:?}\naddress_space = [{space:?}]\nto = \"smtp:localhost:{port}\"\n{tls}"
        ));
    }
    let postern = setup.start();
    for number in 0..peers.len() {
        let to = format!("ben@broken{number}.test");
        postern.submit(&[&to], &plain(ANNA, &to, "To a peer that cannot do TLS"));
    }
    (postern, peers)
}

#[test]
fn no_peer_with_a_broken_handshake_gets_mail_where_tls_is_required() {
    let (postern, peers) = send_to_broken("tls = \"required\"");
    for (_, peer) in &peers {
        peer.wait_for_sessions(2);
    }
    std::thread::sleep(QUIET);
    for (name, peer) in &peers {
        assert!(peer.heard("STARTTLS") && !peer.heard("MAIL"), "{name}: {:?}", peer.said());
    }
    assert_eq!(postern.queue().len(), peers.len());
}

#[test]
fn a_peer_with_a_broken_handshake_gets_opportunistic_mail_unless_replies_were_injected() {
    let (postern, peers) = send_to_broken("tls = \"opportunistic\"");
    let (injecting, weak): (Vec<_>, Vec<_>) = peers.iter().partition(|(name, _)| name.starts_with("Inject"));
    for (name, peer) in weak {
        peer.wait_for(1);
        assert!(peer.heard("STARTTLS"), "{name}: {:?}", peer.said());
    }
    let (name, peer) = injecting[0];
    peer.wait_for_sessions(2);
    assert!(peer.heard("STARTTLS") && !peer.heard("MAIL"), "{name}: {:?}", peer.said());
    wait_for("the others to be gone", || (postern.queue().len() == 1).then_some(()));
}
