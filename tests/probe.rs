//! `postern probe`: what it sees of peers of every kind, what it says that mail would come to, and how it ends.
//!
//! Most scenarios need no daemon: a configuration, a peer, and the command. Every peer must never hear MAIL or AUTH.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};
use postern_testkit::dns::Zone;
use postern_testkit::signed::Signed;
use serde_json::Value;

use crate::support::certificates::{Identity, Kind};
use crate::support::https_host::{Answer, HttpsHost};
use crate::support::names::{self, Names, SignedNames, Street, ip};
use crate::support::peer::Step;
use crate::support::programs::{both, run, text};
use crate::support::tls_server::{OpenSsl, TlsTrick, Version};
use crate::support::{Do, Peer, Postern, Setup, peer, postern, unused_address};

/// A Postern that never runs, with one connector to everybody.
fn house(setup: Setup, connector: &str) -> Postern {
    let connector = format!("name = \"out\"\naddress_space = [\"*\"]\n{connector}");
    setup.connector(&connector).without_user().prepare()
}

/// The same, where all mail goes to `localhost` at this peer's port.
fn towards(setup: Setup, port: u16, keys: &str) -> Postern {
    house(setup, &format!("to = \"smtp:localhost:{port}\"\nip = \"ipv4-only\"\ndane = false\n{keys}"))
}

/// What a probe of this target said, and its exit code.
struct Probed {
    report: Value,
    code: i32,
}

impl Probed {
    #[track_caller]
    fn of(postern: &Postern, arguments: &[&str]) -> Probed {
        let usual: &[&str] =
            if arguments.contains(&"--step-timeout") { &[] } else { &["--step-timeout", "3s"] };
        let output = run(postern.command(&["probe", "--json"]).args(usual).args(arguments));
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
        Probed { report, code: output.status.code().unwrap() }
    }

    fn words(&self) -> &str {
        self.report["verdict"]["words"].as_str().unwrap()
    }

    fn cause(&self) -> &str {
        self.report["verdict"]["diagnosis"]["cause"].as_str().unwrap_or_default()
    }

    fn session(&self) -> &Value {
        &self.report["hosts"][0]["sessions"][0]
    }

    /// The names of the checks that are not well, of the first handshake.
    fn failed_checks(&self) -> Vec<&str> {
        let checks = self.session()["handshakes"][0]["checks"].as_array().unwrap();
        let failed = checks.iter().filter(|check| check["ok"] == false);
        failed.map(|check| check["check"].as_str().unwrap()).collect()
    }

    /// What was found at a port.
    fn port(&self, port: u16) -> &Value {
        let ports = self.report["hosts"][0]["ports"].as_array().unwrap();
        ports.iter().find(|found| found["port"] == port).unwrap_or_else(|| panic!("no {port} in {ports:?}"))
    }

    #[track_caller]
    fn expect(self, code: i32, words: &str) -> Probed {
        assert_eq!(self.code, code, "{:#}", self.report);
        assert!(self.words().contains(words), "no {words:?} in {:#}", self.report);
        self
    }
}

#[track_caller]
fn assert_nothing_sent(peer: &Peer) {
    assert!(!peer.heard("MAIL") && !peer.heard("AUTH"), "{:?}", peer.said());
}

fn server(identity: &Identity) -> peer::Setup {
    Peer::scripted(|_| Do::Usual).tls(identity.server_config())
}

/// A peer that answers one step in this way.
fn saying(verb: &'static str, reply: &'static str) -> peer::Setup {
    Peer::scripted(move |step: &Step<'_>| if step.is(verb) { Do::Say(reply) } else { Do::Usual })
}

fn trusted(setup: &Setup, tls: &str) -> String {
    format!("tls = \"{tls}\"\ntrust = {:?}", setup.authority().root())
}

fn by_mx(setup: Setup, dns: &str, port: u16, tls: &str) -> Postern {
    let keys = trusted(&setup, tls);
    house(setup.tables(dns), &format!("to = \"mx\"\nport = {port}\nmta_sts = false\n{keys}"))
}

#[test]
fn postern_itself_is_seen_with_all_that_it_offers() {
    let running = Setup::new().start();
    let port = running.at("mx").port();
    let keys = format!("tls = \"verified\"\ntrust = {:?}", running.root());
    let postern = towards(Setup::new(), port, &keys);
    let probed = Probed::of(&postern, &["elsewhere.test"]).expect(0, "would go, TLS 1.3, verified");
    let session = probed.session();
    assert!(session["banner"].as_str().unwrap().starts_with("220 localhost.test"), "{session:#}");
    assert!(session["keywords_before"].as_array().unwrap().contains(&"STARTTLS".into()), "{session:#}");
    assert!(session["keywords_after"].as_array().unwrap().contains(&"REQUIRETLS".into()), "{session:#}");
    assert!(session["auth"].as_array().unwrap().contains(&"PLAIN".into()), "{session:#}");
    let handshake = &session["handshakes"][0];
    assert_eq!((&handshake["hello"], &handshake["group"]), (&"large".into(), &"X25519MLKEM768".into()));
    assert_eq!(handshake["chain"][0]["names"][0], "localhost");
    assert!(probed.failed_checks().is_empty(), "{handshake:#}");
}

#[test]
fn a_listener_with_implicit_tls_is_seen_beside_a_running_daemon() {
    let running = Setup::new().start();
    let port = running.at("submissions").port();
    let keys = format!(
        "to = \"smtp:localhost:{port}\"\nimplicit_tls = true\ntls = \"verified\"\ntrust = {:?}",
        running.root()
    );
    let postern = house(Setup::new(), &format!("{keys}\nip = \"ipv4-only\"\ndane = false"));
    let probed = Probed::of(&postern, &["elsewhere.test"]).expect(0, "verified");
    assert_eq!(probed.session()["tls"], "implicit");
    assert!(probed.session()["keywords_after"].as_array().unwrap().len() > 3);
}

#[test]
fn without_a_configuration_the_defaults_are_used() {
    let setup = Setup::new();
    let peer = server(&setup.authority().issue(&["localhost"])).start();
    let mut command = postern::postern();
    command.env_remove("POSTERN_CONFIG").args(["probe", &peer.address().to_string()]);
    let output = run(&mut command);
    let said = both(&output);
    assert_eq!(output.status.code(), Some(10), "{said}");
    for words in ["unverified", "Postern's defaults were used", "name NO", "spki-sha256:", "X25519MLKEM768"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert!(said.lines().all(|line| line.chars().count() <= 100), "{said}");
    assert_nothing_sent(&peer);
}

#[test]
fn each_bad_certificate_is_named_and_counts_only_where_a_proof_is_demanded() {
    for (kind, checks, cause) in [
        (Kind::Expired, &["dates"][..], "certificate expired"),
        (Kind::NotYetValid, &["dates"], "certificate not valid yet"),
        (Kind::WrongName, &["name"], "certificate for another name"),
        (Kind::SelfSigned, &["chain"], "certificate of an unknown authority"),
        (Kind::IncompleteChain, &["chain"], "incomplete certificate chain"),
        (Kind::Sha1, &["signature", "chain"], "certificate with a broken signature algorithm"),
    ] {
        for (tls, code) in [("opportunistic", 10), ("required", 10), ("verified", 20)] {
            let setup = Setup::new();
            let peer = server(&setup.authority().issue_as(kind, &["localhost"])).start();
            let keys = trusted(&setup, tls);
            let postern = towards(setup, peer.port(), &keys);
            let probed = Probed::of(&postern, &["elsewhere.test"]).expect(code, "would");
            assert_eq!(probed.failed_checks(), checks, "{kind:?}: {:#}", probed.report);
            if tls == "verified" {
                assert_eq!(probed.cause(), cause, "{kind:?}: {:#}", probed.report);
            }
            assert_nothing_sent(&peer);
        }
    }
}

#[test]
fn a_pinned_key_will_do_and_another_will_not() {
    for right in [true, false] {
        let setup = Setup::new();
        let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
        let peer = server(&identity).start();
        let pin = if right { identity.leaf().spki_sha256() } else { "5e".repeat(32) };
        let keys = format!("tls = \"pinned\"\npins = [\"spki-sha256:{pin}\"]");
        let postern = towards(setup, peer.port(), &keys);
        let probed = Probed::of(&postern, &["elsewhere.test"]);
        if right {
            probed.expect(0, "would go, TLS 1.3, pinned");
        } else {
            let probed = probed.expect(20, "would wait");
            assert_eq!(probed.cause(), "certificate is not the pinned one");
        }
        assert_nothing_sent(&peer);
    }
}

#[test]
fn an_old_peer_gets_mail_in_clear_where_nothing_more_is_demanded() {
    for (tls, code, words) in [("opportunistic", 11, "would go in clear"), ("required", 20, "would wait")] {
        let setup = Setup::new();
        let identity = setup.authority().issue(&["localhost"]);
        let peer = Peer::scripted(|_| Do::Usual).tls(OpenSsl { identity, newest: Version::Tls10 }).start();
        let postern = towards(setup, peer.port(), &format!("tls = \"{tls}\""));
        let probed = Probed::of(&postern, &["elsewhere.test"]).expect(code, words);
        let handshakes = probed.session()["handshakes"].as_array().unwrap();
        assert_eq!(handshakes.len(), 2, "{handshakes:#?}");
        assert!(
            handshakes.iter().all(|handshake| handshake["fault"] == "no-common-protocol"),
            "{handshakes:#?}"
        );
        assert_nothing_sent(&peer);
    }
}

#[test]
fn a_broken_handshake_is_told_by_what_breaks_it() {
    for (trick, fault) in [
        (TlsTrick::Stall, "stalled"),
        (TlsTrick::Reset, "broken"),
        (TlsTrick::Close, "broken"),
        (TlsTrick::Garbage, "not-tls"),
    ] {
        let setup = Setup::new();
        let identity = setup.authority().issue(&["localhost"]);
        let script = move |step: &Step<'_>| if step.is("STARTTLS") { Do::Tls(trick) } else { Do::Usual };
        let peer = Peer::scripted(script).tls(identity.server_config()).start();
        let postern = towards(setup, peer.port(), "tls = \"required\"");
        let probed = Probed::of(&postern, &["elsewhere.test"]).expect(20, "the TLS handshake failed");
        assert_eq!(probed.session()["handshakes"][0]["fault"], fault, "{trick:?}: {:#}", probed.report);
        assert_eq!(probed.cause(), "TLS handshake broken");
        assert_nothing_sent(&peer);
    }
}

#[test]
fn a_peer_that_breaks_on_large_hellos_is_told_from_one_whose_tls_is_broken() {
    for (tls, code) in [("opportunistic", 10), ("required", 20)] {
        let setup = Setup::new();
        let identity = setup.authority().issue(&["localhost"]);
        let trick = |step: &Step<'_>| {
            if step.is("STARTTLS") { Do::Tls(TlsTrick::SmallHello(1400)) } else { Do::Usual }
        };
        let peer = Peer::scripted(trick).tls(identity.server_config()).start();
        let postern = towards(setup, peer.port(), &format!("tls = \"{tls}\""));
        let probed = Probed::of(&postern, &["elsewhere.test"]).expect(code, "would");
        let handshakes = &probed.session()["handshakes"];
        assert_eq!((&handshakes[0]["hello"], &handshakes[0]["ok"]), (&"large".into(), &false.into()));
        assert_eq!((&handshakes[1]["hello"], &handshakes[1]["ok"]), (&"small".into(), &true.into()));
        assert_nothing_sent(&peer);
    }
}

#[test]
fn replies_injected_before_the_handshake_are_named_and_nothing_goes() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let script = |step: &Step<'_>| {
        if step.is("STARTTLS") { Do::Tls(TlsTrick::Inject("250 2.0.0 Injected")) } else { Do::Usual }
    };
    let peer = Peer::scripted(script).tls(identity.server_config()).start();
    let postern = towards(setup, peer.port(), "tls = \"opportunistic\"");
    let probed = Probed::of(&postern, &["elsewhere.test"]).expect(20, "between its consent");
    assert_eq!(probed.cause(), "replies injected before TLS");
    assert_nothing_sent(&peer);
}

#[test]
fn a_peer_that_offers_starttls_and_refuses_it_is_named() {
    for (tls, code, words) in [("opportunistic", 11, "refuses it"), ("required", 20, "it refused STARTTLS")] {
        let setup = Setup::new();
        let identity = setup.authority().issue(&["localhost"]);
        let peer = saying("STARTTLS", "454 4.7.0 TLS not available").tls(identity.server_config()).start();
        let postern = towards(setup, peer.port(), &format!("tls = \"{tls}\""));
        let probed = Probed::of(&postern, &["elsewhere.test"]).expect(code, words);
        assert_eq!(probed.session()["starttls"], "454 4.7.0 TLS not available");
        assert_nothing_sent(&peer);
    }
}

#[test]
fn a_device_that_rewrites_smtp_is_named_by_the_mark_that_it_leaves() {
    for (verb, reply, sign) in [
        ("CONNECT", "220 ****************0*2******", "the banner is masked"),
        ("EHLO", "250-peer.test\r\n250-SIZE 1000\r\n250 XXXXXXXA", "a keyword is masked"),
        ("EHLO", "500 5.5.1 Command unrecognized: \"XXXX mail\"", "EHLO arrived there garbled"),
    ] {
        for (tls, code) in [("opportunistic", 11), ("required", 20)] {
            let peer = saying(verb, reply).start();
            let postern = towards(Setup::new(), peer.port(), &format!("tls = \"{tls}\""));
            let probed =
                Probed::of(&postern, &["elsewhere.test"]).expect(code, "STARTTLS is hidden on the way");
            let named = probed.session()["middlebox"].as_str().unwrap();
            assert!(named.starts_with(sign), "{named}");
            if tls == "required" {
                assert_eq!(probed.cause(), "STARTTLS hidden on the way");
            }
            assert_nothing_sent(&peer);
        }
    }
}

#[test]
fn starttls_that_is_missing_at_one_port_only_is_stripped() {
    let setup = Setup::new();
    let with = server(&setup.authority().issue(&["localhost"])).start();
    let without = Peer::start();
    let postern = towards(setup, without.port(), "tls = \"required\"");
    let alone = Probed::of(&postern, &["elsewhere.test"]).expect(20, "it does not offer STARTTLS");
    assert_eq!(alone.cause(), "no STARTTLS");
    let port = with.port().to_string();
    let probed = Probed::of(&postern, &["elsewhere.test", "--ports", &port]).expect(20, "hidden on the way");
    assert_eq!(probed.cause(), "STARTTLS hidden on the way");
    assert_eq!(probed.port(without.port())["state"], "stripped");
    assert_eq!(probed.port(with.port())["state"], "open");
}

/// A listener that sends this to whoever comes, and then says nothing more.
fn babbler(words: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.write_all(words.as_bytes()));
            held.push(stream);
        }
    });
    port
}

#[test]
fn ports_are_open_closed_silent_or_speak_something_else() {
    let setup = Setup::new();
    let peer = server(&setup.authority().issue(&["localhost"])).start();
    let (closed, silent, ssh) = (unused_address().port(), babbler(""), babbler("SSH-2.0-OpenSSH_9.2\r\n"));
    let (refusing, clear) = (saying("CONNECT", "554 5.7.1 Not you").start(), babbler("220 mx\r\n"));
    let identity = setup.authority().issue(&["localhost"]);
    let implicit = Peer::scripted(|_| Do::Usual).implicit_tls(identity.server_config()).start();
    let old = OpenSsl { identity, newest: Version::Tls10 };
    let old = Peer::scripted(|_| Do::Usual).tls(old).start();
    let postern = towards(setup, peer.port(), "");
    let list = [old.port(), implicit.port(), closed, silent, ssh, refusing.port(), clear]
        .map(|port| port.to_string())
        .join(",");
    let probed = Probed::of(&postern, &["elsewhere.test", "--ports", &list, "--step-timeout", "1s"]);
    for (port, state) in [
        (peer.port(), "open"),
        (implicit.port(), "open"),
        (old.port(), "broken-tls"),
        (clear, "silent"),
        (closed, "closed"),
        (silent, "silent"),
        (ssh, "something-else"),
        (refusing.port(), "refuses"),
    ] {
        assert_eq!(probed.port(port)["state"], state, "{:#}", probed.report);
    }
    assert!(probed.port(ssh)["detail"].as_str().unwrap().contains("SSH-2.0-OpenSSH_9.2"));
}

#[test]
fn the_whole_takes_no_longer_than_told() {
    let silent = babbler("");
    let postern = towards(Setup::new(), silent, "");
    let began = std::time::Instant::now();
    let probed = Probed::of(&postern, &["elsewhere.test", "--step-timeout", "1m", "--timeout", "1s"]);
    probed.expect(20, "did not answer in time");
    assert!(began.elapsed().as_secs() < 20);
}

#[test]
fn a_hostile_peer_can_neither_fill_nor_forge_the_report() {
    let endless: &'static str = Box::leak(format!("250-{}", "A".repeat(5000)).into_boxed_str());
    let peer = saying("EHLO", endless).start();
    let postern = towards(Setup::new(), peer.port(), "");
    Probed::of(&postern, &["elsewhere.test"]).expect(20, "broke the protocol");
    let forger = saying("CONNECT", "220 mx \u{1b}[2J\u{202e}verdict ok").start();
    let postern = towards(Setup::new(), forger.port(), "");
    let output = run(postern.command(&["probe"]).arg("elsewhere.test"));
    let said = both(&output);
    assert!(said.contains("220 mx ?[2J?verdict ok"), "{said}");
}

#[test]
fn a_server_that_turns_everybody_away_fails_mail_only_where_it_could_not_have_been_forged() {
    for (tls, code) in [("none", 21), ("required", 20)] {
        let peer = saying("CONNECT", "554 5.7.1 Not you").start();
        let postern = towards(Setup::new(), peer.port(), &format!("tls = \"{tls}\""));
        Probed::of(&postern, &["elsewhere.test"]).expect(code, "the other server refused");
    }
}

#[test]
fn what_dns_says_no_to_fails_and_what_it_does_not_answer_waits() {
    let zone = Zone::new().null_mx("null.test").failing("broken.test");
    let names = Names::serve(zone);
    let postern = by_mx(Setup::new(), &names.table(), 25, "opportunistic");
    Probed::of(&postern, &["null.test"]).expect(21, "null MX");
    Probed::of(&postern, &["nowhere.test"]).expect(21, "does not exist");
    Probed::of(&postern, &["anna@broken.test"]).expect(20, "could not be looked up");
}

#[test]
fn the_hosts_of_a_domain_are_tried_in_order_and_mail_goes_over_the_first_that_answers() {
    let street = Street::new();
    let peer = street.house(Peer::scripted(|_| Do::Usual));
    let zone = Zone::new()
        .mx("away.test", 20, "second.away.test")
        .mx("away.test", 10, "dead.away.test")
        .address("dead.away.test", names::address())
        .address("second.away.test", ip(&peer));
    let names = Names::serve(zone);
    let postern = by_mx(Setup::new(), &names.table(), street.port(), "opportunistic");
    let probed = Probed::of(&postern, &["away.test"]).expect(11, "would go in clear");
    let hosts = probed.report["hosts"].as_array().unwrap();
    assert_eq!(
        (&hosts[0]["name"], &hosts[1]["name"]),
        (&"dead.away.test".into(), &"second.away.test".into())
    );
    assert_eq!(hosts[0]["sessions"][0]["reach"], "closed");
    assert!(probed.report["verdict"]["via"].as_str().unwrap().starts_with("second.away.test"));
    assert_eq!(probed.report["domain"]["mx"][0]["preference"], 10);
    assert_nothing_sent(&peer);
}

#[test]
fn that_another_host_of_the_domain_offers_starttls_is_noted_and_accuses_nobody() {
    let (setup, street) = (Setup::new(), Street::new());
    let with = street.house(server(&setup.authority().issue(&["with.away.test"])));
    let without = street.house(Peer::scripted(|_| Do::Usual));
    let zone = Zone::new()
        .mx("away.test", 10, "without.away.test")
        .mx("away.test", 20, "with.away.test")
        .address("without.away.test", ip(&without))
        .address("with.away.test", ip(&with));
    let names = Names::serve(zone);
    let postern = by_mx(setup, &names.table(), street.port(), "required");
    let probed = Probed::of(&postern, &["away.test"]).expect(0, "verified");
    let note = probed.report["notes"][0].as_str().unwrap();
    assert!(note.starts_with("without.away.test") && note.contains("with.away.test"), "{note}");
    assert_eq!(probed.report["hosts"][0]["verdict"]["diagnosis"]["cause"], "no STARTTLS");
}

/// A signed domain whose host has this certificate and this TLSA record.
fn under_dane(setup: Setup, identity: &Identity, tlsa: &str) -> (Postern, SignedNames, Peer) {
    let street = Street::new();
    let (peer, port) = (street.house(server(identity)), street.port());
    let records = format!("@ MX 10 mx\nmx A {}\n_{port}._tcp.mx TLSA {tlsa}\n", ip(&peer));
    let names = SignedNames::serve(&[("away.test", &records, Signed::Yes)]);
    let postern = by_mx(setup, &names.table(), port, "opportunistic");
    (postern, names, peer)
}

#[test]
fn a_certificate_that_matches_its_tlsa_record_is_authenticated_and_another_waits() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["mx.away.test"]);
    let right = format!("3 1 1 {}", identity.leaf().spki_sha256());
    let (postern, _names, peer) = under_dane(setup, &identity, &right);
    let probed = Probed::of(&postern, &["away.test"]).expect(0, "would go, TLS 1.3, DANE");
    let host = &probed.report["hosts"][0];
    assert_eq!((&host["dane"]["status"], &host["dane"]["records"][0]), (&"usable".into(), &right.into()));
    assert_eq!((&host["name_status"], &host["address_status"]), (&"secure".into(), &"secure".into()));
    assert_eq!(host["requirement"], "dane");
    assert_eq!(probed.failed_checks(), ["chain"]);
    assert_nothing_sent(&peer);

    let wrong = format!("3 1 1 {}", "5e".repeat(32));
    let (postern, _names, peer) = under_dane(Setup::new(), &identity, &wrong);
    let probed = Probed::of(&postern, &["away.test"]).expect(20, "would wait");
    assert_eq!(probed.cause(), "certificate does not match its TLSA records");
    assert!(probed.failed_checks().contains(&"dane"), "{:#}", probed.report);
    assert_nothing_sent(&peer);
}

#[test]
fn a_host_whose_security_records_do_not_come_is_looked_at_and_gets_nothing() {
    let street = Street::new();
    let setup = Setup::new();
    let peer = street.house(server(&setup.authority().issue(&["mx.away.test"])));
    let zone = Zone::new()
        .mx("away.test", 10, "mx.away.test")
        .address("mx.away.test", ip(&peer))
        .failing(&format!("_{}._tcp.mx.away.test", street.port()))
        .all_secure();
    let names = Names::serve(zone);
    let postern = by_mx(setup, &names.table(), street.port(), "opportunistic");
    let probed = Probed::of(&postern, &["away.test"]).expect(20, "DNS does not answer");
    assert_eq!(probed.report["hosts"][0]["dane"]["status"], "barred");
    assert_eq!(probed.session()["handshakes"][0]["ok"], true);
    assert_nothing_sent(&peer);
}

#[test]
fn the_policy_of_a_domain_is_shown_and_heeded_as_a_delivery_would() {
    let (setup, street) = (Setup::new(), Street::new());
    let domains = ["good.test", "other.test", "testing.test"];
    let policy_names = domains.map(|domain| format!("mta-sts.{domain}"));
    let policy_names: Vec<&str> = policy_names.iter().map(String::as_str).collect();
    let host = HttpsHost::start(&setup.authority().issue(&policy_names), |request| {
        let (mode, mx) = match request.host.trim_start_matches("mta-sts.") {
            "good.test" => ("enforce", "mx.away.test"),
            "other.test" => ("enforce", "mx.elsewhere.test"),
            _ => ("testing", "mx.elsewhere.test"),
        };
        Answer::text(format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 86400\r\n"))
    });
    let peer = street.house(server(&setup.authority().issue(&["mx.away.test"])));
    let mut zone = Zone::new().address("mx.away.test", ip(&peer));
    for domain in domains {
        zone = zone
            .mx(domain, 10, "mx.away.test")
            .txt(&format!("_mta-sts.{domain}"), "v=STSv1; id=7;")
            .address(&format!("mta-sts.{domain}"), host.ip());
    }
    let names = Names::serve(zone);
    let keys = format!("to = \"mx\"\nport = {}\n{}", street.port(), trusted(&setup, "opportunistic"));
    let root = setup.authority().root();
    let postern = house(setup.tables(&names.table()), &keys);
    for (domain, code, mode, listed, words) in [
        ("good.test", 0, "enforce", true, "verified"),
        ("other.test", 20, "enforce", false, "not among the hosts of the MTA-STS policy"),
        ("testing.test", 0, "testing", false, "verified"),
    ] {
        let mut command = postern.command(&["probe", "--json", domain]);
        let output = run(command.env("SSL_CERT_FILE", &root));
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)));
        let probed = Probed { report, code: output.status.code().unwrap() }.expect(code, words);
        let policy = &probed.report["domain"]["mta_sts"];
        assert_eq!((&policy["mode"], &policy["record"]), (&mode.into(), &"7".into()), "{policy:#}");
        assert_eq!(probed.report["hosts"][0]["in_policy"], listed);
        assert_eq!(probed.session()["handshakes"][0]["ok"], true);
    }
    assert_nothing_sent(&peer);
}

#[test]
fn an_lmtp_server_on_this_machine_is_spoken_to_in_its_own_tongue() {
    let setup = Setup::new();
    let path = setup.folder().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    let said = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        (&stream).write_all(b"220 store LMTP\r\n").unwrap();
        let hello = lines.next().unwrap().unwrap();
        (&stream).write_all(b"250-store\r\n250 PIPELINING\r\n").unwrap();
        let quit = lines.next().unwrap().unwrap();
        (&stream).write_all(b"221 Bye\r\n").unwrap();
        (hello, quit)
    });
    let keys = format!("to = \"lmtp:unix:{}\"", text(&path));
    let postern = house(setup, &keys);
    let probed = Probed::of(&postern, &["elsewhere.test"]).expect(0, "would go to a socket on this machine");
    assert_eq!(probed.session()["keywords_before"][0], "PIPELINING");
    assert_eq!(said.join().unwrap(), ("LHLO localhost.test".to_owned(), "QUIT".to_owned()));
}

/// A port that drops what comes, as a firewall does: its queue of connections is full, and nobody takes any.
pub fn dropping() -> (u16, Vec<Box<dyn std::any::Any>>) {
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let port = getsockname::<SockaddrIn>(listener.as_raw_fd()).unwrap().port();
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut held: Vec<Box<dyn std::any::Any>> = vec![Box::new(listener)];
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(Box::new(stream));
    }
    (port, held)
}

#[test]
fn a_port_where_nobody_answers_is_filtered_and_mail_waits_for_it() {
    let (port, _held) = dropping();
    let postern = towards(Setup::new(), port, "");
    let probed = Probed::of(&postern, &["elsewhere.test", "--step-timeout", "1s"]);
    let probed = probed.expect(20, "nobody answers there");
    assert_eq!(probed.session()["reach"], "filtered");
    assert_eq!(probed.cause(), "no connection");
}

#[test]
fn mail_that_stays_on_this_machine_needs_no_connection() {
    let postern = Setup::new().without_user().prepare();
    Probed::of(&postern, &["anna@home.test"]).expect(0, "would stay on this machine");
}

#[test]
fn a_connector_that_is_switched_off_keeps_mail_whatever_its_hosts_say() {
    let setup = Setup::new();
    let peer = server(&setup.authority().issue(&["localhost"])).start();
    let postern = towards(setup, peer.port(), "enabled = false");
    let probed = Probed::of(&postern, &["elsewhere.test"]).expect(20, "switched off");
    assert_eq!(probed.session()["handshakes"][0]["ok"], true);
}

#[test]
fn files_that_cannot_be_loaded_are_noted() {
    let setup = Setup::new();
    let peer = server(&setup.authority().issue(&["localhost"])).start();
    let missing = setup.folder().join("missing.pem");
    let identity =
        format!("[[tls.identity]]\nname = \"client\"\ncertificate = {missing:?}\nkey = {missing:?}");
    let keys = format!("tls = \"verified\"\ntrust = {missing:?}\nidentity = \"client\"");
    let postern = towards(setup.tables(&identity), peer.port(), &keys);
    let report = Probed::of(&postern, &["elsewhere.test"]).expect(20, "missing.pem").report;
    let notes = report["notes"].to_string();
    for words in ["a TLS identity cannot be used", "its trusted roots cannot be loaded"] {
        assert!(notes.contains(words), "no {words:?} in {notes}");
    }
}

#[test]
fn what_is_neither_a_domain_nor_a_host_is_a_mistake_of_the_command_line() {
    for target in ["", "a b", "mx.example.net:0", "mx.example.net:smtp", "@"] {
        let output = run(postern::postern().args(["probe", target]));
        assert_eq!(output.status.code(), Some(2), "{target:?}: {}", both(&output));
    }
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_json_has_the_fields_that_scripts_rely_on() {
    let setup = Setup::new();
    let peer = server(&setup.authority().issue(&["localhost"])).start();
    let trust = trusted(&setup, "verified");
    let postern = towards(setup, peer.port(), &trust);
    let other = unused_address().port().to_string();
    let Probed { report, .. } = Probed::of(&postern, &["elsewhere.test", "--ports", &other]);
    let (host, session) = (&report["hosts"][0], &report["hosts"][0]["sessions"][0]);
    let handshake = &session["handshakes"][0];
    for (value, fields) in [
        (&report, "asked connector dnssec domain format hosts notes unresolved verdict"),
        (&report["connector"], "enabled name signs_in to"),
        (&report["verdict"], "diagnosis outlook via words"),
        (
            host,
            "address_status alias_of dane demands in_policy name name_status port ports requirement sessions verdict",
        ),
        (&host["dane"], "base records status why"),
        (&host["ports"][0], "address detail port state"),
        (
            session,
            "address auth banner connect_ms handshakes helo_only keywords_after keywords_before middlebox port reach \
             starttls tls trouble verdict",
        ),
        (handshake, "chain checks cipher fault group hello ok proofs took_ms version why"),
        (
            &handshake["chain"][0],
            "chain issuer key names not_after not_before self_signed sha256 signature spki_sha256 subject",
        ),
        (&handshake["checks"][0], "check ok why"),
    ] {
        assert_eq!(keys(value), fields.split(' ').collect::<BTreeSet<_>>(), "{value:#}");
    }
    assert_eq!((&report["format"], &report["verdict"]["outlook"]), (&1.into(), &"authenticated".into()));
}
