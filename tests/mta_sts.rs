//! MTA-STS with a real policy host (RFC 8461): what is published binds, what is broken does not, and neither an outage nor a restart
//! takes a policy away.
//!
//! The test's own authority stands in for the system's. Each mail domain has one host, and a policy at `mta-sts.DOMAIN` on port 443
//! of a loopback address.

use std::sync::{Arc, Mutex};

use postern_testkit::dns::Zone;

use crate::support::certificates::{Identity, Kind};
use crate::support::https_host::{Answer, HttpsHost};
use crate::support::names::{self, Names, Street, ip};
use crate::support::peer::Setup as PeerSetup;
use crate::support::postern::ANNA;
use crate::support::{Do, Peer, Postern, Setup, content};

/// A Postern to be started, and the names that it will find.
struct Town {
    setup: Setup,
    street: Street,
    zone: Zone,
}

impl Town {
    fn new() -> Town {
        Town { setup: Setup::new().trusting_its_authority(), street: Street::new(), zone: Zone::new() }
    }

    /// A mail domain with one host, `mx.DOMAIN`.
    fn domain(&mut self, domain: &str, peer: PeerSetup) -> Peer {
        let (peer, host) = (self.street.house(peer), format!("mx.{domain}"));
        self.change(|zone| zone.mx(domain, 10, &host).address(&host, ip(&peer)));
        peer
    }

    /// A mail domain whose host has a certificate of this kind.
    fn domain_with(&mut self, domain: &str, kind: Kind) -> Peer {
        let identity = self.setup.authority().issue_as(kind, &[&format!("mx.{domain}")]);
        self.domain(domain, server(&identity))
    }

    /// The domains' records, and where their policies are.
    fn policies_at(&mut self, domains: &[&str], host: std::net::Ipv4Addr) {
        for domain in domains {
            let (record, policy_host) = (format!("_mta-sts.{domain}"), format!("mta-sts.{domain}"));
            self.change(|zone| zone.txt(&record, "v=STSv1; id=1;").address(&policy_host, host));
        }
    }

    /// A policy host for these domains: what it says depends on the domain.
    fn policy_host(
        &mut self,
        domains: &[&str],
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> HttpsHost {
        let names: Vec<String> = domains.iter().map(|domain| format!("mta-sts.{domain}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let identity = self.setup.authority().issue(&names);
        let host = HttpsHost::start(&identity, move |request| {
            assert_eq!(request.what, "GET /.well-known/mta-sts.txt");
            answer(request.host.trim_start_matches("mta-sts."))
        });
        self.policies_at(domains, host.ip());
        host
    }

    fn change(&mut self, change: impl FnOnce(Zone) -> Zone) {
        self.zone = change(std::mem::take(&mut self.zone));
    }

    fn start(self) -> (Names, Postern) {
        let connector = format!(
            "name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = {}\ntls = \"opportunistic\"",
            self.street.port()
        );
        let names = Names::serve(self.zone);
        let postern = self.setup.connector(&connector).tables(&names.table()).start();
        (names, postern)
    }
}

fn server(identity: &Identity) -> PeerSetup {
    Peer::scripted(|_| Do::Usual).tls(identity.server_config())
}

fn policy(mode: &str, mx: &str) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n")
}

/// A policy in this mode that names the domain's host.
fn right(mode: &'static str) -> impl Fn(&str) -> Answer + Send + Sync + 'static {
    move |domain| Answer::text(policy(mode, &format!("mx.{domain}")))
}

#[track_caller]
fn submit(postern: &Postern, domain: &str) {
    let to = format!("ben@{domain}");
    postern.submit(&[&to], &content::plain(ANNA, &to, "Under a policy"));
}

/// The message for the only recipient waits for this reason, and the peer heard nothing of it.
#[track_caller]
fn assert_held_back(postern: &Postern, peer: &Peer, words: &str) {
    let shown = postern.wait_for_attempts(2);
    assert!(shown.contains(words), "no {words:?} in {shown}");
    assert!(!peer.heard("MAIL") && peer.taken().is_empty(), "{:?}", peer.said());
}

#[test]
fn a_host_that_the_policy_names_and_that_proves_its_name_gets_the_mail() {
    let mut town = Town::new();
    let named = town.domain_with("away.test", Kind::Good);
    let wild = town.domain_with("wild.test", Kind::Chained);
    let host = town.policy_host(&["away.test", "wild.test"], |domain| match domain {
        "wild.test" => Answer::text(policy("enforce", "*.wild.test").replace('\n', "\r\n")),
        domain => right("enforce")(domain),
    });
    let (_names, postern) = town.start();
    for (domain, peer) in [("away.test", &named), ("wild.test", &wild)] {
        for count in 1..=2 {
            submit(&postern, domain);
            assert!(peer.wait_for(count).iter().all(|taken| taken.tls));
        }
    }
    postern.wait_for_empty_queue();
    assert_eq!(postern.log().matches(", verified)").count(), 4, "{}", postern.log());
    assert_eq!(host.requests().len(), 2, "each policy is fetched once");
}

#[test]
fn a_host_that_does_not_prove_its_name_gets_nothing_under_enforce() {
    let rows = [
        ("selfsigned.test", Kind::SelfSigned, "signed by itself"),
        ("misnamed.test", Kind::WrongName, "not for mx.misnamed.test"),
        ("expired.test", Kind::Expired, "has expired on"),
        ("incomplete.test", Kind::IncompleteChain, "intermediate certificate is missing"),
    ];
    let mut town = Town::new();
    let peers = rows.map(|(domain, kind, _)| town.domain_with(domain, kind));
    let _host = town.policy_host(&rows.map(|(domain, ..)| domain), right("enforce"));
    let (_names, postern) = town.start();
    for ((domain, _, words), peer) in rows.into_iter().zip(&peers) {
        submit(&postern, domain);
        assert_held_back(&postern, peer, words);
        assert!(peer.heard("STARTTLS"));
        postern.cli(&["queue", "remove", "--all"]);
    }
}

#[test]
fn a_host_without_starttls_gets_nothing_under_enforce() {
    let mut town = Town::new();
    let peer = town.domain("away.test", Peer::scripted(|_| Do::Usual));
    let _host = town.policy_host(&["away.test"], right("enforce"));
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    assert_held_back(&postern, &peer, "STARTTLS");
}

#[test]
fn a_host_that_is_not_in_the_policy_is_not_even_connected_to_under_enforce() {
    let mut town = Town::new();
    let peer = town.domain_with("away.test", Kind::Good);
    // One label deeper than the wildcard reaches.
    let _host = town.policy_host(&["away.test"], |_| Answer::text(policy("enforce", "*.test")));
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    assert_held_back(
        &postern,
        &peer,
        "mx.away.test is not among the hosts of the MTA-STS policy of away.test",
    );
    let why = postern.why("away.test");
    assert!(why.contains("host is not in the MTA-STS policy"), "{why}");
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn a_second_host_that_is_in_the_policy_is_used() {
    let mut town = Town::new();
    let outside = town.domain_with("away.test", Kind::Good);
    let identity = town.setup.authority().issue(&["mx2.away.test"]);
    let inside = town.street.house(server(&identity));
    let at = ip(&inside);
    town.change(|zone| zone.mx("away.test", 20, "mx2.away.test").address("mx2.away.test", at));
    let _host = town.policy_host(&["away.test"], |_| Answer::text(policy("enforce", "mx2.away.test")));
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    assert!(inside.wait_for(1)[0].tls);
    assert_eq!(outside.sessions(), 0);
}

#[test]
fn testing_and_none_hold_nothing_back() {
    let mut town = Town::new();
    let domains = ["testing.test", "outside.test", "none.test"];
    let peers = domains.map(|domain| town.domain_with(domain, Kind::SelfSigned));
    let host = town.policy_host(&domains, |domain| match domain {
        "testing.test" => right("testing")(domain),
        "outside.test" => Answer::text(policy("testing", "mx.elsewhere.test")),
        _ => Answer::text("version: STSv1\nmode: none\nmax_age: 86400\n"),
    });
    let (_names, postern) = town.start();
    for (domain, peer) in domains.into_iter().zip(&peers) {
        submit(&postern, domain);
        assert!(peer.wait_for(1)[0].tls, "{domain}");
    }
    postern.wait_for_empty_queue();
    assert_eq!(host.requests().len(), 3);
    assert_eq!(postern.wait_for_failures("testing.test"), ["certificate-not-trusted"]);
    assert_eq!(postern.wait_for_failures("outside.test"), ["validation-failure"]);
}

#[test]
fn a_broken_policy_binds_nothing_and_the_log_says_what_is_broken() {
    let rows = [
        ("oversized.test", "larger than 64 KiB"),
        ("redirected.test", "status 301"),
        ("missing.test", "status 404"),
        ("page.test", "of type text/html and not text/plain"),
        ("version.test", "version is \"STSv2\""),
        ("nohosts.test", "names no mx"),
        ("endless.test", "max_age is \"31557601\""),
    ];
    let domains = rows.map(|(domain, _)| domain);
    let mut town = Town::new();
    let peers = domains.map(|domain| town.domain_with(domain, Kind::SelfSigned));
    let _host = town.policy_host(&domains, |domain| {
        let good = right("enforce")(domain);
        match domain {
            "oversized.test" => Answer::text(good.body + &"# more\n".repeat(10_000)),
            "redirected.test" => Answer {
                status: "301 Moved Permanently",
                head: "Location: https://mta-sts.good.test/\r\nContent-Type: text/plain\r\n".to_owned(),
                ..good
            },
            "missing.test" => Answer { status: "404 Not Found", ..good },
            "page.test" => Answer { head: "Content-Type: text/html\r\n".to_owned(), ..good },
            "version.test" => Answer::text(good.body.replace("STSv1", "STSv2")),
            "nohosts.test" => Answer::text("version: STSv1\nmode: enforce\nmax_age: 86400\n"),
            _ => Answer::text(good.body.replace("86400", "31557601")),
        }
    });
    let (_names, postern) = town.start();
    for (domain, peer) in domains.into_iter().zip(&peers) {
        submit(&postern, domain);
        assert!(peer.wait_for(1)[0].tls, "{domain}");
    }
    let log = postern.log();
    for (domain, words) in rows {
        let line = log.lines().find(|line| line.contains("MTA-STS") && line.contains(domain));
        let line = line.unwrap_or_else(|| panic!("nothing of {domain} in {log}"));
        assert!(line.contains(words) && line.contains("mail goes as if there were none"), "{line}");
        let unfetched = ["redirected.test", "missing.test"].contains(&domain);
        let counted = if unfetched { "sts-policy-fetch-error" } else { "sts-policy-invalid" };
        assert_eq!(postern.wait_for_failures(domain), [counted], "{domain}");
    }
}

#[test]
fn a_policy_host_that_is_not_to_be_trusted_or_reached_binds_nothing_at_first_contact() {
    let mut town = Town::new();
    let rows = [
        ("selfsigned.test", "does not prove who it is", "sts-webpki-invalid"),
        ("misnamed.test", "does not prove who it is", "sts-webpki-invalid"),
        ("down.test", "no connection to mta-sts.down.test", "sts-policy-fetch-error"),
        ("nowhere.test", "has no address", "sts-policy-fetch-error"),
    ];
    let peers = rows.map(|(domain, ..)| town.domain_with(domain, Kind::SelfSigned));
    let authority = town.setup.authority();
    let hosts =
        [("selfsigned.test", Kind::SelfSigned), ("misnamed.test", Kind::WrongName)].map(|(domain, kind)| {
            let identity = authority.issue_as(kind, &[&format!("mta-sts.{domain}")]);
            (domain, HttpsHost::start(&identity, move |_| right("enforce")(domain)))
        });
    for (domain, host) in &hosts {
        town.policies_at(&[domain], host.ip());
    }
    town.policies_at(&["down.test"], names::address());
    town.change(|zone| zone.txt("_mta-sts.nowhere.test", "v=STSv1; id=1;"));
    let (_names, postern) = town.start();
    for ((domain, words, counted), peer) in rows.into_iter().zip(&peers) {
        submit(&postern, domain);
        assert!(peer.wait_for(1)[0].tls, "{domain}");
        assert_eq!(postern.wait_for_failures(domain), [counted], "{domain}");
        let log = postern.log();
        let told =
            log.lines().any(|line| line.contains("MTA-STS") && line.contains(domain) && line.contains(words));
        assert!(told, "no {words:?} of {domain} in {log}");
    }
    assert!(hosts.iter().all(|(_, host)| host.requests().is_empty()));
}

#[test]
fn two_records_are_none() {
    let mut town = Town::new();
    let peer = town.domain_with("away.test", Kind::SelfSigned);
    let host = town.policy_host(&["away.test"], right("enforce"));
    town.change(|zone| zone.txt("_mta-sts.away.test", "v=STSv1; id=2;"));
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    assert!(peer.wait_for(1)[0].tls);
    assert!(host.requests().is_empty());
}

#[test]
fn a_policy_that_has_expired_binds_no_longer() {
    let mut town = Town::new();
    let peer = town.domain_with("away.test", Kind::SelfSigned);
    let _host = town.policy_host(&["away.test"], |_| {
        Answer::text(policy("enforce", "mx.away.test").replace("86400", "2"))
    });
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    let shown = postern.wait_for_attempts(1);
    assert!(shown.contains("signed by itself"), "{shown}");
    assert!(peer.wait_for(1)[0].tls);
    postern.wait_for_empty_queue();
}

#[test]
fn a_policy_binds_after_its_host_and_its_record_are_gone_and_after_a_restart() {
    let mut town = Town::new();
    let bad = town.domain_with("away.test", Kind::SelfSigned);
    let identity = town.setup.authority().issue(&["mx.away.test"]);
    let good = town.street.house(server(&identity));
    let host = town.policy_host(&["away.test"], right("enforce"));
    let (names, mut postern) = town.start();
    submit(&postern, "away.test");
    assert_held_back(&postern, &bad, "signed by itself");
    drop(host);
    names.change(|mut zone| {
        zone.remove("_mta-sts.away.test");
        zone
    });
    postern.terminate();
    let sessions = bad.sessions();
    postern.start();
    bad.wait_for_sessions(sessions + 2);
    assert!(!bad.heard("MAIL"), "{:?}", bad.said());
    let at = ip(&good);
    names.change(|mut zone| {
        zone.remove("mx.away.test");
        zone.address("mx.away.test", at)
    });
    assert!(good.wait_for(1)[0].tls);
    postern.wait_for_empty_queue();
}

#[test]
fn a_new_id_brings_the_new_policy() {
    let mut town = Town::new();
    let peer = town.domain_with("away.test", Kind::Good);
    let said = Arc::new(Mutex::new(policy("enforce", "mx.old.test")));
    let says = Arc::clone(&said);
    let host = town.policy_host(&["away.test"], move |_| Answer::text(says.lock().unwrap().clone()));
    let (names, mut postern) = town.start();
    submit(&postern, "away.test");
    assert_held_back(&postern, &peer, "not among the hosts");
    *said.lock().unwrap() = policy("enforce", "mx.away.test");
    // The record is asked for at most once a minute; a Postern that starts asks at once.
    postern.terminate();
    let attempts = postern.queue()[0]["attempts"].as_u64().unwrap();
    postern.start();
    postern.wait_for_attempts(attempts + 2);
    assert_held_back(&postern, &peer, "not among the hosts");
    assert_eq!(host.requests().len(), 1, "the old id names the old policy");
    names.change(|mut zone| {
        zone.remove("_mta-sts.away.test");
        zone.txt("_mta-sts.away.test", "v=STSv1; id=2;")
    });
    postern.terminate();
    postern.start();
    assert!(peer.wait_for(1)[0].tls);
    assert_eq!(host.requests().len(), 2);
}

#[test]
fn a_policy_that_is_met_does_not_rescue_what_dane_refuses() {
    let mut town = Town::new();
    let peer = town.domain_with("away.test", Kind::Good);
    let host = town.policy_host(&["away.test"], right("enforce"));
    let tlsa = format!("_{}._tcp.mx.away.test", town.street.port());
    town.change(|zone| zone.tlsa(&tlsa, 3, 1, 1, &[0x5e; 32]).all_secure());
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    assert_held_back(&postern, &peer, "no TLSA record");
    assert_eq!(host.requests().len(), 1, "the policy was known");
}

#[test]
fn a_connector_may_do_without_policies() {
    let mut town = Town::new();
    let peer = town.domain_with("away.test", Kind::SelfSigned);
    let host = town.policy_host(&["away.test"], right("enforce"));
    town.setup = town.setup.tables("[outbound]\nmta_sts = false");
    let (_names, postern) = town.start();
    submit(&postern, "away.test");
    assert!(peer.wait_for(1)[0].tls);
    assert!(host.requests().is_empty());
}
