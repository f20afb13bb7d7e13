//! `postern route`: what it says of addresses and domains of every kind, and that it sends nothing.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Output;

use postern_testkit::dns::Zone;
use serde_json::Value;

use crate::support::certificates::Kind;
use crate::support::https_host::{Answer, HttpsHost};
use crate::support::names::{self, Names};
use crate::support::postern::ANNA;
use crate::support::programs::{both, run};
use crate::support::{Do, Peer, Postern, Setup, content, files_below};

/// Runs `postern route`, which must end with this code.
#[track_caller]
fn route(postern: &Postern, to: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = run(&mut postern.command(&[&["route"], to].concat()));
    let (said, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{said}{errors}");
    said + &errors
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    (names::address(), 9).into()
}

#[track_caller]
fn assert_says(said: &str, words: &[&str]) {
    for words in words {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}

fn by_mx(keys: &str) -> String {
    format!("name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = 2525\n{keys}")
}

#[test]
fn an_address_of_ours_leads_to_its_mailbox_and_an_alias_to_all_it_stands_for() {
    let address = nobody();
    let domain = "name = \"home.test\"\ndeliver = \"mailboxes\"\naliases = { team = [\"anna\", \"ben@partner.test\"] }";
    let postern = Setup::new().only_domain(domain).next_hop(address).start();
    let said = route(&postern, &[ANNA], 0);
    assert_says(
        &said,
        &["an address of ours", "\"mailboxes\" (maildir:", "the domain names it", "mail would go"],
    );
    let said = route(&postern, &["team@home.test"], 0);
    assert_says(&said, &[ANNA, "ben@partner.test", "\"mailboxes\"", "\"out\" (smtp:"]);
    assert_says(&route(&postern, &["home.test"], 0), &["one of our domains"]);
    assert_says(&route(&postern, &["nobody@home.test"], 1), &["nobody has that address"]);
    assert_says(&route(&postern, &["postmaster"], 0), &["an address of ours"]);
}

#[test]
fn a_smarthost_is_told_with_its_connector_its_rivals_and_its_demands() {
    let partner = "name = \"partner\"\nto = \"smtp:127.0.0.1:26\"\naddress_space = [\"*.partner.test\"]\n\
                   tls = \"verified\"\ncost = 7\nrate = \"100/1h\"\nretry = [\"5m\"]";
    let rest = "name = \"rest\"\nto = \"smtp:127.0.0.2:25\"\naddress_space = [\"*\"]\ntls = \"none\"\nenabled = false";
    let policy = "[[outbound.policy]]\naddress_space = [\"mail.partner.test\"]\ntls = \"required\"";
    let setup = Setup::new().connector(partner).connector(rest).tables(policy);
    let root = setup.authority().root();
    let postern = setup.environment("SSL_CERT_FILE", &root).start();
    let said = route(&postern, &["ben@mail.partner.test"], 0);
    assert_says(
        &said,
        &[
            "somebody else's address",
            "\"partner\" (smtp:127.0.0.1:26): address space *.partner.test, cost 7",
            "\"rest\": address space *, cost",
            "switched off",
            "100 messages in 1h",
            "after 5m",
            "1. 127.0.0.1:26",
            "verified: verified by connector \"partner\", required by [[outbound.policy]] for mail.partner.test",
            "mail would go",
        ],
    );
    let said = route(&postern, &["elsewhere.test"], 1);
    assert_says(&said, &["mail would wait: connector is switched off", "set enabled = true"]);
}

#[test]
fn mail_hosts_are_told_in_order_and_null_mx_and_unknown_domains_are_no_way() {
    let zone = Zone::new()
        .mx("elsewhere.test", 20, "second.elsewhere.test")
        .mx("elsewhere.test", 10, "first.elsewhere.test")
        .address("first.elsewhere.test", Ipv4Addr::new(192, 0, 2, 1))
        .address("second.elsewhere.test", Ipv4Addr::new(192, 0, 2, 2))
        .null_mx("null.test")
        .failing("failing.test");
    let names = Names::serve(zone);
    let postern = Setup::new().tables(&names.table()).connector(&by_mx("")).start();
    let said = route(&postern, &["elsewhere.test"], 0);
    assert_says(
        &said,
        &[
            "1. first.elsewhere.test:2525",
            "192.0.2.1",
            "2. second.elsewhere.test:2525",
            "MTA-STS    no policy",
            "DNSSEC: ",
        ],
    );
    assert_says(&route(&postern, &["ben@null.test"], 1), &["mail would come back: takes no mail"]);
    assert_says(&route(&postern, &["unknown.test"], 1), &["mail would come back: no such domain"]);
    assert_says(&route(&postern, &["failing.test"], 1), &["mail would wait: DNS does not answer"]);
    assert_says(&route(&postern, &["[192.0.2.7]"], 0), &["1. [192.0.2.7]:2525", "192.0.2.7"]);
}

#[test]
fn what_opportunistic_tls_came_to_is_told_by_the_daemon_and_forgotten_without_it() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = Peer::scripted(|step| {
        if step.is("STARTTLS") { Do::Tls(crate::support::tls_server::TlsTrick::Reset) } else { Do::Usual }
    });
    let peer = peer.tls(identity.server_config()).start();
    let connector = format!(
        "name = \"out\"\nto = \"smtp:{}\"\naddress_space = [\"*\"]\ntls = \"opportunistic\"",
        peer.address()
    );
    let mut postern = setup.connector(&connector).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "In clear"));
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    let sessions = peer.sessions();
    assert_says(&route(&postern, &["elsewhere.test"], 0), &["reached in clear until"]);
    postern.terminate();
    let said = route(&postern, &["elsewhere.test"], 0);
    assert_says(&said, &["Postern does not run"]);
    assert!(!said.contains("reached in clear"), "{said}");
    assert_eq!(peer.sessions(), sessions, "a question connected to the peer");
}

#[test]
fn a_broken_trust_file_holds_up_only_what_needs_a_proof_in_route_probe_and_delivery_alike() {
    for (tls, exit, outlook) in [
        ("opportunistic", 0, "unauthenticated"),
        ("required", 0, "unauthenticated"),
        ("verified", 1, "waits"),
    ] {
        let setup = Setup::new();
        let identity = setup.authority().issue(&["localhost"]);
        let peer = Peer::scripted(|_| Do::Usual).tls(identity.server_config()).start();
        let file = setup.folder().join("broken.pem");
        std::fs::write(&file, "nothing of use").unwrap();
        let connector = format!(
            "name = \"out\"\nto = \"smtp:{}\"\naddress_space = [\"*\"]\ntls = \"{tls}\"\ntrust = {file:?}",
            peer.address()
        );
        let postern = setup.connector(&connector).start();
        let goes = if exit == 0 { "mail would go" } else { "mail would wait" };
        assert_says(&route(&postern, &["elsewhere.test"], exit), &[goes]);
        let probed = run(&mut postern.command(&["probe", "--json", "elsewhere.test"]));
        let probed: Value = serde_json::from_slice(&probed.stdout).unwrap();
        assert_eq!(probed["verdict"]["outlook"], outlook, "{tls}: {probed:#}");
        postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", tls));
        if exit == 0 {
            peer.wait_for(1);
            postern.wait_for_empty_queue();
        } else {
            postern.wait_for_attempts(2);
        }
        assert_eq!(peer.heard("MAIL"), exit == 0, "{tls}: {:?}", peer.said());
        assert_eq!(peer.taken().len(), usize::from(exit == 0), "{tls}");
        assert!(postern.log().contains("until then mail waits where the server must prove"), "{tls}");
    }
}

#[test]
fn route_and_probe_have_the_same_words_for_the_same_facts() {
    let zone = Zone::new()
        .mx("elsewhere.test", 10, "mx.elsewhere.test")
        .address("mx.elsewhere.test", names::address());
    let names = Names::serve(zone);
    let postern = Setup::new().tables(&names.table()).connector(&by_mx("")).start();
    let asked = |command: &str| -> Value {
        let output = run(&mut postern.command(&[command, "--json", "elsewhere.test"]));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", both(&output)))
    };
    let (route, probe) = (asked("route"), asked("probe"));
    assert_eq!(route["dnssec"], probe["dnssec"]);
    let same = |route: &Value, probe: &Value, fields: &[&str]| {
        for field in fields {
            assert!(!route[field].is_null(), "no {field} in {route:#}");
            assert_eq!(route[field], probe[field], "{field}");
        }
    };
    let leg = &route["legs"][0];
    same(&leg["connector"], &probe["connector"], &["name", "to", "enabled", "signs_in"]);
    let (host, probed) = (&leg["hosts"][0], &probe["hosts"][0]);
    same(host, probed, &["name", "port", "name_status", "address_status", "requirement", "demands"]);
    same(&host["dane"], &probed["dane"], &["status"]);
    assert_eq!(leg["mta_sts"]["mode"], probe["domain"]["mta_sts"]["mode"]);
}

#[test]
fn without_a_daemon_nothing_is_made_in_the_data_directory() {
    let postern = Setup::new().without_user().with_private_ca().next_hop(nobody()).prepare();
    assert_says(&route(&postern, &["ben@elsewhere.test"], 0), &["mail would go"]);
    assert_says(&route(&postern, &[ANNA], 1), &["nobody has that address"]);
    assert_eq!(files_below(postern.data_dir()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn programs_get_json_and_a_wrong_question_is_a_wrong_usage() {
    let postern = Setup::new().next_hop(nobody()).start();
    let said: Value = serde_json::from_str(&route(&postern, &["ben@elsewhere.test", "--json"], 0)).unwrap();
    assert_eq!(said["legs"][0]["connector"]["name"], "out", "{said:#}");
    assert_eq!(said["legs"][0]["verdict"], "goes", "{said:#}");
    assert_eq!(said["meaning"], "foreign", "{said:#}");
    for wrong in ["ben@", "a b", ""] {
        assert_says(&route(&postern, &[wrong], 2), &["neither an address nor a domain"]);
    }
    let help = both(&run(&mut postern.command(&["route", "--help"])));
    assert_says(&help, &["Exit codes", "1: it would wait"]);
}

#[test]
fn a_host_that_must_prove_itself_by_missing_records_is_barred_and_says_by_whom() {
    let zone = Zone::new().address("elsewhere.test", Ipv4Addr::new(192, 0, 2, 1));
    let names = Names::serve(zone);
    let postern = Setup::new().tables(&names.table()).connector(&by_mx("tls = \"dane\"")).start();
    let said = route(&postern, &["elsewhere.test"], 1);
    assert_says(
        &said,
        &[
            "no TLSA records that count",
            "dane by connector \"out\"",
            "barred",
            "mail would wait: no TLSA records",
        ],
    );
}

#[test]
fn records_under_dnssec_are_told_with_the_name_they_stand_under_and_forged_ones_bar_the_host() {
    let zone = Zone::new()
        .mx("elsewhere.test", 10, "mx.elsewhere.test")
        .address("mx.elsewhere.test", Ipv4Addr::new(192, 0, 2, 1))
        .tlsa("_2525._tcp.mx.elsewhere.test", 3, 1, 1, &[0xab; 32])
        .mx("forged.test", 10, "mx.forged.test")
        .address("mx.forged.test", Ipv4Addr::new(192, 0, 2, 2))
        .all_secure()
        .bogus("_2525._tcp.mx.forged.test");
    let names = Names::serve(zone);
    let postern = Setup::new().tables(&names.table()).connector(&by_mx("tls = \"opportunistic\"")).start();
    let said = route(&postern, &["elsewhere.test"], 0);
    assert_says(
        &said,
        &[
            "its name is secure, its addresses are secure",
            "TLSA records of mx.elsewhere.test",
            "3 1 1 abab",
            "dane: opportunistic by connector \"out\", dane by DANE: the TLSA records of mx.elsewhere.test",
            "DNSSEC: the local resolver validates DNSSEC",
        ],
    );
    let said = route(&postern, &["forged.test"], 1);
    assert_says(&said, &["barred", "mail would wait: DNSSEC says bogus"]);
}

#[test]
fn the_policy_of_a_domain_is_told_and_a_host_outside_it_is_barred() {
    let setup = Setup::new().trusting_its_authority();
    let identity = setup.authority().issue(&["mta-sts.elsewhere.test"]);
    let host = HttpsHost::start(&identity, |_| {
        Answer::text("version: STSv1\nmode: enforce\nmx: mx1.elsewhere.test\nmax_age: 86400\n")
    });
    let zone = Zone::new()
        .mx("elsewhere.test", 10, "mx1.elsewhere.test")
        .mx("elsewhere.test", 20, "mx2.elsewhere.test")
        .address("mx1.elsewhere.test", Ipv4Addr::new(192, 0, 2, 1))
        .address("mx2.elsewhere.test", Ipv4Addr::new(192, 0, 2, 2))
        .txt("_mta-sts.elsewhere.test", "v=STSv1; id=1;")
        .address("mta-sts.elsewhere.test", host.ip());
    let names = Names::serve(zone);
    let postern = setup.tables(&names.table()).connector(&by_mx("tls = \"opportunistic\"")).start();
    let said = route(&postern, &["elsewhere.test"], 0);
    assert_says(
        &said,
        &[
            "enforce until ",
            "(fetched just now); hosts mx1.elsewhere.test",
            "verified by the MTA-STS policy of elsewhere.test",
            "barred     mx2.elsewhere.test, at TLS",
            "is not among the hosts of the MTA-STS policy",
            "mail would go",
        ],
    );
    assert_says(&route(&postern, &["elsewhere.test"], 0), &["(fetched earlier, and still announced)"]);
    assert_eq!(host.requests().len(), 1, "a policy that is known was fetched again");
}
