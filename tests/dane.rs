//! DANE with real signatures: zones signed by Knot's tools, unbound in front of them, and hosts that match their TLSA records or
//! do not (RFC 7672).
//!
//! Each mail domain stands in the zone `away.test` (or one beside it) and has its hosts on one port, each at a loopback address of
//! its own.

use std::fmt::Write as _;
use std::fs;

use postern_testkit::signed::Signed;

use crate::support::certificates::{Authority, Identity, Kind};
use crate::support::exim::Exim;
use crate::support::names::{SignedNames, Street, ip};
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::peer::{Setup as PeerSetup, Step};
use crate::support::postern::{ANNA, QUIET};
use crate::support::postfix::Postfix;
use crate::support::programs::{program, succeed, text};
use crate::support::tls_server::TlsTrick;
use crate::support::{Do, Peer, Postern, Setup, content, maildir_messages, wait_for_maildir};

/// A Postern to be started, and the zone of the hosts that it will find.
struct Town {
    setup: Setup,
    street: Street,
    records: String,
}

impl Town {
    fn new() -> Town {
        Town { setup: Setup::new(), street: Street::new(), records: String::new() }
    }

    fn authority(&self) -> &Authority {
        self.setup.authority()
    }

    /// A certificate of this kind for the host of this domain.
    fn certificate(&self, kind: Kind, domain: &str) -> Identity {
        self.authority().issue_as(kind, &[&format!("mx.{domain}.away.test")])
    }

    /// The mail domain `DOMAIN.away.test` with this host, and TLSA records for it.
    fn domain(&mut self, domain: &str, peer: PeerSetup, tlsa: &[String]) -> Peer {
        let _ = writeln!(self.records, "{domain} MX 10 mx.{domain}");
        self.host(&format!("mx.{domain}"), peer, tlsa)
    }

    /// A host, and TLSA records for it.
    fn host(&mut self, host: &str, peer: PeerSetup, tlsa: &[String]) -> Peer {
        let peer = self.street.house(peer);
        let _ = writeln!(self.records, "{host} A {}", ip(&peer));
        for record in tlsa {
            let _ = writeln!(self.records, "_{}._tcp.{host} TLSA {record}", self.street.port());
        }
        peer
    }

    /// Signs the zone and serves it with these others.
    fn serve(&self, others: &[(&str, &str, Signed)]) -> SignedNames {
        SignedNames::serve(&[&[("away.test", self.records.as_str(), Signed::Yes)], others].concat())
    }

    fn start(self, dns: &str, tls: &str) -> Postern {
        start(self.setup, dns, self.street.port(), tls)
    }
}

fn start(setup: Setup, dns: &str, port: u16, tls: &str) -> Postern {
    let connector =
        format!("name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = {port}\ntls = \"{tls}\"");
    setup.connector(&connector).tables(dns).start()
}

#[track_caller]
fn submit(postern: &Postern, to: &str) {
    postern.submit(&[to], &content::plain(ANNA, to, "Under DANE"));
}

fn server(identity: &Identity) -> PeerSetup {
    Peer::scripted(|_| Do::Usual).tls(identity.server_config())
}

/// What the log says of the delivery to this address.
#[track_caller]
fn delivery(postern: &Postern, to: &str) -> String {
    postern.wait_for_log(&format!("delivered: {to}"));
    let log = postern.log();
    log.lines().find(|line| line.contains(&format!("delivered: {to}"))).unwrap().to_owned()
}

/// The message waits for this reason, and the peer heard nothing of it.
#[track_caller]
fn assert_held_back(postern: &Postern, peer: &Peer, words: &[&str]) {
    let shown = postern.wait_for_attempts(2);
    for words in words {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
    assert!(!peer.heard("MAIL") && peer.taken().is_empty(), "{:?}", peer.said());
}

/// DANE-EE(3) SPKI(1) SHA2-256(1): what RFC 7672 §3.1.1 recommends.
fn end_entity(identity: &Identity) -> String {
    format!("3 1 1 {}", identity.leaf().spki_sha256())
}

/// The same for a key that nobody has.
fn nobody() -> String {
    format!("3 1 1 {}", "5e".repeat(32))
}

/// DANE-TA(2) Cert(0) SHA2-256(1).
fn trust_anchor(authority: &Authority) -> String {
    format!("2 0 1 {}", authority.certificate().sha256())
}

/// The chain with the root in it: a digest of a trust anchor is of no use to those who have not seen it (RFC 7672 §3.1.2).
fn with_root(authority: &Authority, identity: Identity) -> Identity {
    let chain = fs::read_to_string(&identity.certificate).unwrap();
    fs::write(&identity.certificate, chain + &fs::read_to_string(authority.root()).unwrap()).unwrap();
    identity
}

/// Three domains whose hosts have the right key in a certificate that is bad in another way.
fn bad_but_right(town: &mut Town) -> Vec<Peer> {
    let kinds = [("selfsigned", Kind::SelfSigned), ("expired", Kind::Expired), ("misnamed", Kind::WrongName)];
    kinds
        .map(|(domain, kind)| {
            let identity = town.certificate(kind, domain);
            town.domain(domain, server(&identity), &[end_entity(&identity)])
        })
        .into()
}

#[track_caller]
fn assert_all_proven(postern: &Postern, peers: &[Peer]) {
    for (domain, peer) in ["selfsigned", "expired", "misnamed"].into_iter().zip(peers) {
        let to = format!("ben@{domain}.away.test");
        submit(postern, &to);
        assert!(peer.wait_for(1)[0].tls, "{domain}");
        let line = delivery(postern, &to);
        assert!(line.contains("TLSv1.3") && line.contains(", dane)"), "{line}");
    }
    postern.wait_for_empty_queue();
}

#[test]
fn a_key_that_matches_is_enough_whatever_else_the_certificate_says() {
    let mut town = Town::new();
    let peers = bad_but_right(&mut town);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    assert_all_proven(&postern, &peers);
}

#[test]
fn our_own_validation_comes_to_the_same() {
    let mut town = Town::new();
    let peers = bad_but_right(&mut town);
    let anchored = with_root(town.authority(), town.certificate(Kind::Good, "anchored"));
    let record = trust_anchor(town.authority());
    let anchored = town.domain("anchored", server(&anchored), &[record]);
    let other = town.certificate(Kind::Good, "other");
    let other = town.domain("other", server(&other), &[nobody()]);
    let names = town.serve(&[]);
    let postern = town.start(&names.table_for_own_validation(), "opportunistic");
    assert_all_proven(&postern, &peers);
    submit(&postern, "ben@anchored.away.test");
    assert!(anchored.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@anchored.away.test").contains(", dane)"));
    postern.wait_for_empty_queue();
    submit(&postern, "ben@other.away.test");
    assert_held_back(&postern, &other, &["no TLSA record (3 1 1 5e5e"]);
}

#[test]
fn a_trust_anchor_vouches_for_the_right_name_only_and_not_for_ever() {
    let mut town = Town::new();
    let record = [trust_anchor(town.authority())];
    let mut host = |domain: &str, kind: Kind| {
        let identity = with_root(town.authority(), town.certificate(kind, domain));
        town.domain(domain, server(&identity), &record)
    };
    let (good, chained) = (host("good", Kind::Good), host("chained", Kind::Chained));
    let (misnamed, expired) = (host("misnamed", Kind::WrongName), host("expired", Kind::Expired));
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    for (to, peer) in [("ben@good.away.test", good), ("ben@chained.away.test", chained)] {
        submit(&postern, to);
        peer.wait_for(1);
        assert!(delivery(&postern, to).contains(", dane)"), "{to}");
    }
    postern.wait_for_empty_queue();
    for (to, peer, words) in [
        ("ben@misnamed.away.test", misnamed, "not for mx.misnamed.away.test"),
        ("ben@expired.away.test", expired, "has expired on"),
    ] {
        submit(&postern, to);
        assert_held_back(&postern, &peer, &[words]);
        postern.cli(&["queue", "remove", "--all"]);
    }
}

#[test]
fn under_a_trust_anchor_the_domain_s_own_name_will_do() {
    let mut town = Town::new();
    let identity = town.authority().issue(&["own.away.test"]);
    let identity = with_root(town.authority(), identity);
    let record = trust_anchor(town.authority());
    let peer = town.domain("own", server(&identity), &[record]);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@own.away.test");
    assert!(peer.wait_for(1)[0].tls);
}

#[test]
fn another_key_than_the_published_one_gets_nothing_and_the_queue_says_why() {
    let mut town = Town::new();
    // Good by every other measure: a system that trusts its authority changes nothing.
    let identity = town.certificate(Kind::Good, "other");
    let peer = town.domain("other", server(&identity), &[nobody()]);
    let names = town.serve(&[]);
    town.setup = town.setup.trusting_its_authority();
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@other.away.test");
    assert_held_back(&postern, &peer, &["no TLSA record (3 1 1 5e5e", "matches the certificate"]);
    let why = postern.why("other.away.test");
    for words in [
        "certificate does not match its TLSA records",
        "signed by CN=Test authority",
        "dane by DANE: the TLSA records of mx.other.away.test",
        "only its postmaster can mend that",
    ] {
        assert!(why.contains(words), "no {words:?} in {why}");
    }
    // The best name that RFC 8460 §4.3.1 has for it.
    assert_eq!(postern.wait_for_failures("other.away.test"), ["validation-failure"]);
}

#[test]
fn a_second_host_that_matches_its_record_gets_what_the_first_may_not() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::Good, "both");
    let first = town.domain("both", server(&identity), &[nobody()]);
    let second = town.host("mx2.both", server(&identity), &[end_entity(&identity)]);
    town.records += "both MX 20 mx2.both\n";
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@both.away.test");
    assert!(second.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@both.away.test").contains(", dane)"));
    assert!(first.heard("STARTTLS") && !first.heard("MAIL"), "{:?}", first.said());
}

#[test]
fn mail_for_a_domain_with_forged_mx_records_waits_and_the_queue_says_so() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::Good, "hosting");
    let peer = town.domain("hosting", server(&identity), &[]);
    let names = town.serve(&[("forged.test", "@ MX 10 mx.hosting.away.test.\n", Signed::Tampered)]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@forged.test");
    assert_held_back(&postern, &peer, &["forged.test"]);
    assert!(postern.why("forged.test").contains("DNSSEC says bogus"), "{}", postern.why("forged.test"));
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn of_an_old_and_a_new_record_one_is_enough() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::SelfSigned, "rollover");
    let peer = town.domain("rollover", server(&identity), &[nobody(), end_entity(&identity)]);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@rollover.away.test");
    assert!(peer.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@rollover.away.test").contains(", dane)"));
}

#[test]
fn only_the_best_digest_of_a_key_counts() {
    let mut town = Town::new();
    let right = town.certificate(Kind::SelfSigned, "right");
    let file = town.setup.folder().join("spki");
    fs::write(&file, right.leaf().spki()).unwrap();
    let digest = succeed(program("openssl").args(["dgst", "-sha512", "-r", text(&file)]));
    let best = format!("3 1 2 {}", digest.split(' ').next().unwrap());
    let stronger = town.domain("right", server(&right), &[best, nobody()]);
    let wrong = town.certificate(Kind::SelfSigned, "wrong");
    let forged = format!("3 1 2 {}", "5e".repeat(64));
    let weaker = town.domain("wrong", server(&wrong), &[forged, end_entity(&wrong)]);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@right.away.test");
    assert!(stronger.wait_for(1)[0].tls);
    postern.wait_for_empty_queue();
    submit(&postern, "ben@wrong.away.test");
    assert_held_back(&postern, &weaker, &["no TLSA record (3 1 2 5e5e"]);
}

#[test]
fn records_that_cannot_be_used_demand_tls_without_a_proof() {
    let mut town = Town::new();
    // Usage 1 is not for mail (RFC 7672 §3.1.3), matching type 9 is unknown.
    let unusable = [format!("1 1 1 {}", "5e".repeat(32)), format!("3 1 9 {}", "5e".repeat(32))];
    let identity = town.certificate(Kind::SelfSigned, "unusable");
    let encrypted = town.domain("unusable", server(&identity), &unusable);
    let clear = town.domain("clear", Peer::scripted(|_| Do::Usual), &unusable);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@unusable.away.test");
    assert!(encrypted.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@unusable.away.test").contains("unverified"));
    submit(&postern, "ben@clear.away.test");
    assert_held_back(&postern, &clear, &["STARTTLS"]);
}

/// The zone below the first host of `two.away.test` that holds nothing but its TLSA records, and a second host.
fn with_second_host(town: &mut Town) -> [Peer; 2] {
    let (first, second) =
        (town.certificate(Kind::SelfSigned, "two"), town.authority().issue(&["mx2.two.away.test"]));
    let peers = [
        town.domain("two", server(&first), &[]),
        town.host("mx2.two", server(&second), &[end_entity(&second)]),
    ];
    town.records += "two MX 20 mx2.two\n";
    peers
}

#[test]
fn a_host_whose_records_were_tampered_with_is_passed_over() {
    let mut town = Town::new();
    let [first, second] = with_second_host(&mut town);
    let alone = town.certificate(Kind::SelfSigned, "alone");
    let alone_record = end_entity(&alone);
    let alone = town.domain("alone", server(&alone), &[]);
    let record = format!("_{}._tcp TLSA {alone_record}\n", town.street.port());
    let names = town.serve(&[
        ("_tcp.mx.two.away.test", &record, Signed::Tampered),
        ("_tcp.mx.alone.away.test", &record, Signed::Expired),
    ]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@two.away.test");
    assert!(second.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@two.away.test").contains("mx2.two.away.test"));
    assert_eq!(first.sessions(), 0);
    submit(&postern, "ben@alone.away.test");
    assert_held_back(&postern, &alone, &["DNSSEC does not vouch for", "._tcp.mx.alone.away.test"]);
    let why = postern.why("alone.away.test");
    assert!(why.contains("DNSSEC says bogus"), "{why}");
    assert_eq!(postern.wait_for_failures("alone.away.test"), ["dnssec-invalid"]);
    assert_eq!(alone.sessions(), 0);
}

#[test]
fn a_host_whose_records_cannot_be_looked_up_is_passed_over() {
    let mut town = Town::new();
    let [first, second] = with_second_host(&mut town);
    // Delegated to an address where nobody answers.
    town.records += "_tcp.mx.two NS ns.nobody\nns.nobody A 127.255.255.253\n";
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@two.away.test");
    assert!(second.wait_for(1)[0].tls);
    postern.wait_for_empty_queue();
    assert_eq!(first.sessions(), 0);
}

#[test]
fn records_in_an_unsigned_zone_mean_nothing() {
    let mut town = Town::new();
    let street = &town.street;
    let peer = street.house(server(&town.authority().issue_as(Kind::SelfSigned, &["mx.plain.test"])));
    let plain = format!("@ MX 10 mx\nmx A {}\n_{}._tcp.mx TLSA {}\n", ip(&peer), street.port(), nobody());
    town.records.clear();
    let names = town.serve(&[("plain.test", &plain, Signed::No)]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@plain.test");
    assert!(peer.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@plain.test").contains("unverified"));
}

#[test]
fn an_unsigned_mx_record_cannot_lead_to_dane() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::SelfSigned, "hosting");
    let peer = town.domain("hosting", server(&identity), &[nobody()]);
    let names = town.serve(&[("plain.test", "@ MX 10 mx.hosting.away.test.\n", Signed::No)]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@plain.test");
    assert!(peer.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@plain.test").contains("unverified"));
}

#[test]
fn the_records_of_a_host_with_an_alias_stand_at_either_name() {
    let mut town = Town::new();
    let identity = town.authority().issue_as(Kind::SelfSigned, &["real.away.test"]);
    let at_target = town.host("real", server(&identity), &[end_entity(&identity)]);
    town.records += "target MX 10 alias\nalias CNAME real\n";
    let at_alias = town.host("other", server(&identity), &[]);
    let port = town.street.port();
    town.records += "source MX 10 second\nsecond CNAME other\n";
    let _ = writeln!(town.records, "_{port}._tcp.second TLSA {}", end_entity(&identity));
    let mismatched = town.host("third", server(&identity), &[nobody()]);
    town.records += "wrong MX 10 fourth\nfourth CNAME third\n";
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    for (to, peer) in [("ben@target.away.test", &at_target), ("ben@source.away.test", &at_alias)] {
        submit(&postern, to);
        peer.wait_for(1);
        assert!(delivery(&postern, to).contains(", dane)"), "{to}");
    }
    postern.wait_for_empty_queue();
    submit(&postern, "ben@wrong.away.test");
    assert_held_back(&postern, &mismatched, &["no TLSA record"]);
}

#[test]
fn a_peer_whose_starttls_was_stripped_gets_nothing_and_the_queue_says_so() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::Good, "stripped");
    let peer = town.domain("stripped", Peer::scripted(|_| Do::Usual), &[end_entity(&identity)]);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@stripped.away.test");
    assert_held_back(&postern, &peer, &["STARTTLS", "required here: dane"]);
    let why = postern.why("stripped.away.test");
    assert!(why.contains("no STARTTLS") && why.contains("not ours to lower"), "{why}");
    assert_eq!(postern.wait_for_failures("stripped.away.test"), ["starttls-not-supported"]);
}

#[test]
fn a_broken_handshake_is_followed_by_no_small_hello_and_no_clear_session() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::Good, "broken");
    let script = |step: &Step<'_>| {
        if step.is("STARTTLS") { Do::Tls(TlsTrick::SmallHello(1400)) } else { Do::Usual }
    };
    let peer = Peer::scripted(script).tls(identity.server_config());
    let peer = town.domain("broken", peer, &[end_entity(&identity)]);
    let names = town.serve(&[]);
    town.setup = town.setup.queue("retry = [\"1h\"]");
    let postern = town.start(&names.table(), "opportunistic");
    submit(&postern, "ben@broken.away.test");
    let shown = postern.wait_for_attempts(1);
    assert!(shown.contains("reset the connection during the TLS handshake"), "{shown}");
    std::thread::sleep(QUIET);
    assert_eq!(peer.sessions(), 1);
    assert!(!peer.heard("MAIL"), "{:?}", peer.said());
}

#[test]
fn a_connector_that_demands_dane_sends_nothing_where_there_are_no_records() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::Good, "none");
    let peer = town.domain("none", server(&identity), &[]);
    let names = town.serve(&[]);
    let postern = town.start(&names.table(), "dane");
    submit(&postern, "ben@none.away.test");
    assert_held_back(&postern, &peer, &["publishes no usable TLSA records"]);
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn a_connector_that_demands_dane_sends_nothing_by_a_resolver_that_does_not_validate() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::SelfSigned, "careless");
    let peer = town.domain("careless", server(&identity), &[end_entity(&identity)]);
    let names = town.serve(&[]);
    let postern = town.start(&names.careless_table(), "dane");
    submit(&postern, "ben@careless.away.test");
    assert_held_back(&postern, &peer, &["publishes no usable TLSA records"]);
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn mail_waits_while_the_resolver_is_down_and_goes_when_it_is_back() {
    let mut town = Town::new();
    let identity = town.certificate(Kind::SelfSigned, "outage");
    let peer = town.domain("outage", server(&identity), &[end_entity(&identity)]);
    let mut names = town.serve(&[]);
    let postern = town.start(&names.table(), "opportunistic");
    names.stop_resolver();
    submit(&postern, "ben@outage.away.test");
    let shown = postern.wait_for_attempts(1);
    assert!(shown.contains("could not be looked up"), "{shown}");
    assert_eq!(peer.sessions(), 0);
    names.start_resolver();
    assert!(peer.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@outage.away.test").contains(", dane)"));
}

/// A connector to the one host `mx.smart.away.test`, whose key is another than the published one, with these keys.
fn with_smarthost(keys: &str) -> (SignedNames, Peer, Postern) {
    let mut town = Town::new();
    let identity = town.certificate(Kind::SelfSigned, "smart");
    let peer = town.domain("smart", server(&identity), &[nobody()]);
    let names = town.serve(&[]);
    let connector = format!(
        "name = \"out\"\naddress_space = [\"*\"]\nto = \"smtp:mx.smart.away.test:{}\"\n{keys}",
        peer.port()
    );
    let postern = town.setup.connector(&connector).tables(&names.table()).start();
    submit(&postern, "ben@elsewhere.test");
    (names, peer, postern)
}

#[test]
fn the_records_of_a_smarthost_count_unless_the_connector_says_otherwise() {
    let (_names, peer, postern) = with_smarthost("tls = \"required\"");
    assert_held_back(&postern, &peer, &["no TLSA record"]);
    let (_names, peer, postern) = with_smarthost("tls = \"required\"\ndane = false");
    assert!(peer.wait_for(1)[0].tls);
    assert!(delivery(&postern, "ben@elsewhere.test").contains("unverified"));
}

/// Postern and the zone of a real mail program, which has a port of its own at 127.0.0.1.
fn beside(setup: Setup, port: u16, tlsa: &str) -> (SignedNames, Postern) {
    let zone = format!("@ MX 10 mx\nmx A 127.0.0.1\n_{port}._tcp.mx TLSA {tlsa}\n");
    let names = SignedNames::serve(&[("away.test", &zone, Signed::Yes)]);
    let postern = start(setup, &names.table(), port, "opportunistic");
    submit(&postern, "ben@away.test");
    (names, postern)
}

#[test]
fn postfix_proves_itself_by_its_key() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["mx.away.test"]);
    let postfix = Postfix::start("away.test", Some(&identity));
    let (_names, postern) = beside(setup, postfix.address().port(), &end_entity(&identity));
    wait_for_maildir(&postfix.maildir(), 1);
    assert!(delivery(&postern, "ben@away.test").contains(", dane)"));
}

#[test]
fn exim_proves_itself_by_its_trust_anchor() {
    let setup = Setup::new();
    let identity = with_root(setup.authority(), setup.authority().issue(&["mx.away.test"]));
    let exim = Exim::start("away.test", Some(&identity));
    let record = trust_anchor(setup.authority());
    let (_names, postern) = beside(setup, exim.address().port(), &record);
    wait_for_maildir(&exim.maildir(), 1);
    assert!(delivery(&postern, "ben@away.test").contains(", dane)"));
}

#[test]
fn opensmtpd_with_another_key_gets_nothing() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["mx.away.test"]);
    let opensmtpd = OpenSmtpd::start("away.test", Some(&identity));
    let (_names, postern) = beside(setup, opensmtpd.address().port(), &nobody());
    let shown = postern.wait_for_attempts(2);
    assert!(shown.contains("no TLSA record"), "{shown}");
    std::thread::sleep(QUIET);
    assert!(maildir_messages(&opensmtpd.maildir()).is_empty());
}
