//! DNSSEC by the word of a resolver on this machine, against the testkit's server, which plays a validating one.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use postern_dns::{
    Dnssec, DnssecMode, LookupError, MailHosts, Mx, Opened, Options, Validation, Validator, mail_hosts, open,
};
use postern_testkit::dns::{Kind, Server, Zone, serve};
use tokio::net::UdpSocket;

fn through(servers: Vec<SocketAddr>) -> Opened {
    let timeout = Some(Duration::from_millis(500));
    open(&Options { servers, timeout, dnssec: DnssecMode::Resolver }).expect("a resolver")
}

async fn ask(zone: Zone) -> (Server, Opened) {
    let server = serve(zone).await.expect("a free port");
    let opened = through(vec![server.address()]);
    (server, opened)
}

/// A resolver that answers, and validates nothing.
fn careless() -> Zone {
    Zone::new().mx("example.org", 10, "mx.example.org")
}

#[tokio::test]
async fn a_validating_resolver_is_believed() {
    let name = "_25._tcp.mx.example.org";
    let zone = Zone::new()
        .mx("example.org", 10, "MX.example.org")
        .tlsa(name, 3, 1, 1, &[7; 32])
        .ttl(300)
        .secure("example.org")
        .secure(name);
    let (_server, opened) = ask(zone).await;
    assert_eq!(opened.probe().await, Validation::Works(Validator::Resolver));
    let answer = opened.resolver.mx("Example.ORG.").await.expect("an answer");
    assert_eq!(answer.records, [Mx { preference: 10, exchange: "mx.example.org".into() }]);
    assert_eq!((answer.dnssec, answer.owner.as_str()), (Dnssec::Secure, "example.org"));
    let answer = opened.resolver.tlsa(name).await.expect("an answer");
    assert_eq!(answer.records[0].to_string(), format!("3 1 1 {}", "07".repeat(32)));
    assert_eq!(answer.dnssec, Dnssec::Secure);
    assert!((299..=300).contains(&answer.ttl.as_secs()), "{:?}", answer.ttl);
}

#[tokio::test]
async fn what_has_no_signatures_is_insecure() {
    let zone = Zone::new().address("mx.example.org", [192, 0, 2, 1]).secure("example.net");
    let (_server, opened) = ask(zone).await;
    assert_eq!(
        opened.resolver.addresses("mx.example.org").await.expect("an answer").dnssec,
        Dnssec::Insecure
    );
}

#[tokio::test]
async fn lookups_find_out_by_themselves_that_the_resolver_validates() {
    let (server, opened) = ask(Zone::new().txt("example.org", "x").all_secure()).await;
    assert_eq!(opened.resolver.txt("example.org").await.expect("an answer").dnssec, Dnssec::Secure);
    let probes = server.queries().into_iter().filter(|(name, _)| name == ".").count();
    assert_eq!(probes, 1);
}

#[tokio::test]
async fn a_resolver_that_does_not_validate_is_never_believed_again() {
    let (server, opened) = ask(careless()).await;
    let found = opened.probe().await;
    assert!(matches!(found, Validation::Missing(_)), "{found:?}");
    assert!(found.to_string().contains("does not validate"), "{found}");
    server.change(Zone::all_secure);
    let answer = opened.resolver.mx("example.org").await.expect("an answer");
    assert_eq!(answer.dnssec, Dnssec::Indeterminate);
    assert!(opened.probe().await.works(), "until somebody looks again");
}

#[tokio::test]
async fn of_two_resolvers_both_must_validate() {
    let forged =
        || Zone::new().mx("bogus.example", 10, "mx.bogus.example").mx("example.org", 10, "a.example");
    let validating = serve(forged().all_secure().bogus("bogus.example")).await.expect("a free port");
    let careless = serve(forged()).await.expect("a free port");
    for servers in [[&validating, &careless], [&careless, &validating]] {
        let opened = through(servers.map(Server::address).to_vec());
        let found = opened.probe().await;
        let Validation::Missing(what) = &found else { panic!("{found:?}") };
        assert!(what.contains(&careless.address().to_string()), "{what}");
        for name in ["example.org", "bogus.example"] {
            let answer = opened.resolver.mx(name).await.expect("an answer");
            assert_eq!(answer.dnssec, Dnssec::Indeterminate, "{name}");
        }
    }
}

#[tokio::test]
async fn a_second_resolver_s_word_is_not_taken_for_the_first_one_s() {
    let forged = || Zone::new().mx("bogus.example", 10, "mx.bogus.example");
    let validating = serve(forged().all_secure().bogus("bogus.example")).await.expect("a free port");
    let careless = serve(forged().failing(".")).await.expect("a free port");
    let opened = through(vec![validating.address(), careless.address()]);
    assert_eq!(opened.probe().await, Validation::Works(Validator::Resolver), "as far as can be seen");
    let error = opened.resolver.mx("bogus.example").await.expect_err("nobody knows what it is worth");
    assert!(matches!(&error, LookupError::Temporary(what) if what.contains("not known yet")), "{error}");
}

#[tokio::test]
async fn that_one_of_two_resolvers_is_gone_stops_nothing() {
    let gone = serve(Zone::new()).await.expect("a free port").address();
    let zone = careless().mx("bogus.example", 10, "mx.bogus.example");
    let good = serve(zone.all_secure().bogus("bogus.example")).await.expect("a free port");
    let opened = through(vec![gone, good.address()]);
    assert_eq!(opened.probe().await, Validation::Works(Validator::Resolver));
    assert_eq!(opened.resolver.mx("example.org").await.expect("an answer").dnssec, Dnssec::Secure);
    let error = opened.resolver.mx("bogus.example").await.expect_err("wrong signatures");
    assert!(matches!(error, LookupError::Bogus(_)), "{error:?}");
}

#[tokio::test]
async fn a_resolver_that_ceases_to_validate_is_found_out_by_looking_again() {
    let zone = || careless().ttl(300);
    let (server, opened) = ask(zone().all_secure()).await;
    assert_eq!(opened.seen(), None);
    assert!(opened.probe().await.works());
    let status = async || opened.resolver.mx("example.org").await.expect("an answer").dnssec;
    assert_eq!(status().await, Dnssec::Secure);
    server.change(|_| zone());
    assert!(matches!(opened.probe().await, Validation::Missing(_)));
    assert!(matches!(opened.seen(), Some(Validation::Missing(_))));
    assert_eq!(status().await, Dnssec::Indeterminate, "what was remembered is forgotten");
    server.change(Zone::all_secure);
    assert!(opened.probe().await.works());
    assert_eq!(status().await, Dnssec::Secure);
}

#[tokio::test]
async fn a_resolver_elsewhere_is_never_believed() {
    let server = serve(careless().all_secure()).await.expect("a free port");
    let elsewhere = SocketAddr::from(([192, 0, 2, 53], 53));
    let opened = through(vec![server.address(), elsewhere]);
    assert_eq!(opened.probe().await, Validation::Remote(elsewhere));
    assert!(opened.probe().await.to_string().contains("192.0.2.53"));
    assert_eq!(opened.resolver.mx("example.org").await.expect("an answer").dnssec, Dnssec::Indeterminate);
}

#[tokio::test]
async fn a_resolver_that_cannot_reach_the_root_is_believed_where_it_calls_an_answer_secure() {
    let zone = careless().mx("signed.example", 10, "mx.signed.example").secure("signed.example").failing(".");
    let (server, opened) = ask(zone).await;
    let found = opened.probe().await;
    assert!(matches!(found, Validation::Unknown(_)), "{found:?}");
    let signed = opened.resolver.mx("signed.example").await.expect("an answer");
    assert_eq!(signed.dnssec, Dnssec::Secure);
    let other = opened.resolver.mx("example.org").await.expect("mail goes on");
    assert_eq!(other.dnssec, Dnssec::Indeterminate, "without the bit nothing is known");
    drop(server);
}

#[tokio::test]
async fn wrong_signatures_are_told_from_a_failure_and_explained() {
    let zone = Zone::new()
        .mx("bogus.example", 10, "mx.bogus.example")
        .bogus("bogus.example")
        .failing("down.example");
    let (_server, opened) = ask(zone).await;
    let error = opened.resolver.mx("bogus.example").await.expect_err("wrong signatures");
    let LookupError::Bogus(what) = &error else { panic!("{error:?}") };
    assert!(what.contains("bogus.example") && what.contains("scripted"), "{what}");
    assert!(error.is_temporary());
    let error = opened.resolver.mx("down.example").await.expect_err("a failure");
    assert!(matches!(error, LookupError::Temporary(_)), "{error:?}");
}

#[tokio::test]
async fn a_bogus_answer_from_a_resolver_that_is_not_believed_is_a_failure() {
    let (_server, opened) = {
        let server = serve(Zone::new().mx("bogus.example", 10, "x.example")).await.expect("a free port");
        let opened = through(vec![server.address()]);
        opened.probe().await;
        server.change(|zone| zone.bogus("bogus.example"));
        (server, opened)
    };
    let error = opened.resolver.mx("bogus.example").await.expect_err("a failure");
    assert!(matches!(error, LookupError::Temporary(_)), "{error:?}");
}

#[tokio::test]
async fn a_secure_alias_to_an_unsigned_name_is_insecure() {
    let zone = Zone::new()
        .cname("mx.example.org", "host.example.net")
        .address("host.example.net", [192, 0, 2, 1])
        .secure("mx.example.org")
        .insecure("host.example.net");
    let (_server, opened) = ask(zone).await;
    let answer = opened.resolver.addresses("mx.example.org").await.expect("an answer");
    assert_eq!((answer.dnssec, answer.owner.as_str()), (Dnssec::Insecure, "host.example.net"));
    assert!(answer.came_by_alias("mx.example.org"));
    let link = opened.resolver.alias("mx.example.org").await.expect("an alias");
    assert_eq!((link.dnssec, link.records.as_str()), (Dnssec::Secure, "host.example.net"));
}

#[tokio::test]
async fn that_there_is_nothing_comes_with_its_status() {
    let zone = Zone::new().empty("example.org").all_secure().insecure("example.net");
    let (_server, opened) = ask(zone).await;
    let answer = opened.resolver.mx("example.org").await;
    assert_eq!(answer, Err(LookupError::NoRecords { dnssec: Dnssec::Secure }));
    let route = mail_hosts("example.org", answer, |_| 0).expect("a route");
    assert_eq!((route.hosts, route.dnssec), (MailHosts::Implicit("example.org".into()), Dnssec::Secure));
    let missing = opened.resolver.mx("example.net").await;
    assert_eq!(missing, Err(LookupError::NoSuchDomain { dnssec: Dnssec::Insecure }));
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp_with_its_status() {
    let zone = (0..200).fold(Zone::new(), |zone, n| zone.mx("example.org", n, &format!("mx{n}.example.org")));
    let (_server, opened) = ask(zone.all_secure()).await;
    let answer = opened.resolver.mx("example.org").await.expect("an answer");
    assert_eq!((answer.records.len(), answer.dnssec), (200, Dnssec::Secure));
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_fails_or_is_gone() {
    let gone = serve(Zone::new()).await.expect("a free port").address();
    let failing = serve(Zone::new().all_secure().failing("example.org")).await.expect("a free port");
    let good = serve(careless().all_secure()).await.expect("a free port");
    let opened = through(vec![gone, failing.address(), good.address()]);
    assert_eq!(opened.resolver.mx("example.org").await.expect("an answer").dnssec, Dnssec::Secure);
}

#[tokio::test]
async fn a_silent_server_is_a_temporary_trouble_within_its_time() {
    let began = Instant::now();
    let (_server, opened) = ask(Zone::new().silent("example.org").all_secure()).await;
    let error = opened.resolver.mx("example.org").await.expect_err("silence");
    assert!(
        matches!(&error, LookupError::Temporary(what) if what.contains("did not answer in time")),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// A server that answers each question with what it is given, header and all, except for the identifier.
async fn answer_everything(answer: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&answer(&buffer[..length]), from).await;
        }
    });
    address
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    let address = answer_everything(|question| {
        let mut answer = question.to_vec();
        answer[2] |= 0x80;
        // The first label's first letter.
        answer[13] ^= 1;
        answer
    })
    .await;
    let error = through(vec![address]).resolver.mx("example.org").await.expect_err("no answer");
    assert!(matches!(&error, LookupError::Temporary(what) if what.contains("in time")), "{error}");
}

#[tokio::test]
async fn a_malformed_answer_is_a_temporary_trouble() {
    for rdata in [&[0, 0][..], &[0, 2, 3, 1]] {
        let address = answer_everything(move |question| {
            let section: Vec<u8> = question[12..].iter().copied().take_while(|&octet| octet != 0).collect();
            let question_end = 12 + section.len() + 5;
            let mut answer = question[..question_end].to_vec();
            answer[2] |= 0x80;
            answer[3] |= 0x20;
            answer[4..12].copy_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 52, 0, 1, 0, 0, 0, 9]);
            answer.extend(rdata);
            answer
        })
        .await;
        let error =
            through(vec![address]).resolver.tlsa("_25._tcp.example.org").await.expect_err("no answer");
        assert!(matches!(&error, LookupError::Temporary(what) if what.contains("malformed")), "{error:?}");
    }
}

#[tokio::test]
async fn local_names_are_not_asked_for_and_names_that_are_none_refused() {
    let (server, opened) = ask(Zone::new().all_secure()).await;
    let answer = opened.resolver.addresses("localhost").await.expect("an answer");
    assert!(answer.records.iter().all(IpAddr::is_loopback));
    assert_ne!(answer.dnssec, Dnssec::Secure);
    for name in ["", ".", "a..b", "ä.example", "a b.example", "a\\046b.example", &"x".repeat(64)] {
        let answer = opened.resolver.mx(name).await;
        assert!(matches!(answer, Err(LookupError::BadName(_))), "{name:?}: {answer:?}");
    }
    assert_eq!(server.queries(), []);
}

#[tokio::test]
async fn names_of_addresses_and_texts_are_found() {
    let client: IpAddr = "2001:db8::7".parse().expect("an address");
    let zone = Zone::new().ptr(client, "Host.example.org").txt("example.org", &"x".repeat(600));
    let (_server, opened) = ask(zone.all_secure()).await;
    assert_eq!(opened.resolver.ptr(client).await.expect("an answer").records, ["host.example.org"]);
    assert_eq!(opened.resolver.txt("example.org").await.expect("an answer").records, ["x".repeat(600)]);
}

#[tokio::test]
async fn an_endless_chain_of_aliases_ends() {
    let zone = Zone::new().cname("a.example", "b.example").cname("b.example", "a.example");
    let (_server, opened) = ask(zone.all_secure()).await;
    let error = opened.resolver.mx("a.example").await.expect_err("no answer");
    assert!(error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn without_dnssec_nothing_is_probed() {
    let server = serve(careless().all_secure()).await.expect("a free port");
    let options = Options { servers: vec![server.address()], ..Options::default() };
    let opened = open(&options).expect("a resolver");
    assert_eq!(opened.probe().await, Validation::Off);
    let answer = opened.resolver.mx("example.org").await.expect("an answer");
    assert_eq!(answer.dnssec, Dnssec::Indeterminate);
    assert_eq!(server.queries(), [("example.org".into(), Kind::Mx)]);
}
