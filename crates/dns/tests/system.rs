//! `SystemResolver` against a real name server on loopback.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use postern_dns::{Dnssec, LookupError, MailHosts, Mx, Options, Resolver, SystemResolver, mail_hosts};
use postern_testkit::dns::{Kind, Server, Zone, serve};

const NO_RECORDS: LookupError = LookupError::NoRecords { dnssec: Dnssec::Indeterminate };
const NO_SUCH_DOMAIN: LookupError = LookupError::NoSuchDomain { dnssec: Dnssec::Indeterminate };

async fn ask(zone: Zone) -> (Server, SystemResolver) {
    let server = serve(zone).await.expect("a free port");
    let resolver = resolver(server.address());
    (server, resolver)
}

fn resolver(server: SocketAddr) -> SystemResolver {
    let options =
        Options { servers: vec![server], timeout: Some(Duration::from_millis(300)), ..Options::default() };
    SystemResolver::new(&options).expect("a resolver")
}

#[tokio::test]
async fn mail_exchangers_come_with_preference_and_without_the_last_dot() {
    let (_server, resolver) = ask(Zone::new().mx("example.org", 10, "MX1.example.org").ttl(300)).await;
    let answer = resolver.mx("Example.ORG").await.expect("an answer");
    assert_eq!(answer.records, [Mx { preference: 10, exchange: "mx1.example.org".into() }]);
    assert_eq!(answer.dnssec, Dnssec::Indeterminate);
    assert!((299..=300).contains(&answer.ttl.as_secs()), "{:?}", answer.ttl);
}

#[tokio::test]
async fn addresses_of_both_families_come_ipv6_first() {
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let four = IpAddr::from([192, 0, 2, 1]);
    let (_server, resolver) =
        ask(Zone::new().address("mx.example.org", four).address("mx.example.org", six)).await;
    assert_eq!(resolver.addresses("mx.example.org.").await.expect("an answer").records, [six, four]);
}

#[tokio::test]
async fn a_host_with_one_family_only_has_that_one() {
    let (_server, resolver) = ask(Zone::new().address("mx.example.org", [192, 0, 2, 1])).await;
    assert_eq!(resolver.addresses("mx.example.org").await.expect("an answer").records.len(), 1);
}

#[tokio::test]
async fn an_alias_gives_the_records_of_its_target_only() {
    let zone =
        Zone::new().cname("www.example.org", "host.example.org").address("host.example.org", [192, 0, 2, 1]);
    let (_server, resolver) = ask(zone.ttl(60)).await;
    for name in ["www.example.org", "host.example.org", "www.example.org"] {
        let answer = resolver.addresses(name).await.expect("an answer");
        assert_eq!(answer.records, [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))], "{name}");
        assert_eq!(answer.owner, "host.example.org");
        assert_eq!(answer.came_by_alias(name), name != "host.example.org");
    }
}

#[tokio::test]
async fn an_alias_to_a_name_without_such_records_has_none() {
    let zone =
        Zone::new().cname("www.example.org", "host.example.org").address("host.example.org", [192, 0, 2, 1]);
    let (_server, resolver) = ask(zone).await;
    assert_eq!(resolver.mx("www.example.org").await, Err(NO_RECORDS));
}

#[tokio::test]
async fn an_endless_chain_of_aliases_ends() {
    let zone = Zone::new().cname("a.example", "b.example").cname("b.example", "a.example");
    let (_server, resolver) = ask(zone).await;
    assert!(resolver.mx("a.example").await.is_err());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_told_from_one_without_records() {
    let (_server, resolver) = ask(Zone::new().empty("example.org")).await;
    assert_eq!(resolver.mx("example.org").await, Err(NO_RECORDS));
    assert_eq!(resolver.mx("example.net").await, Err(NO_SUCH_DOMAIN));
    assert_eq!(resolver.addresses("example.org").await, Err(NO_RECORDS));
    assert_eq!(resolver.addresses("example.net").await, Err(NO_SUCH_DOMAIN));
}

#[tokio::test]
async fn a_failing_server_is_a_temporary_trouble() {
    let (_server, resolver) = ask(Zone::new().failing("example.org")).await;
    let error = resolver.mx("example.org").await.expect_err("a failure");
    assert!(error.is_temporary(), "{error:?}");
    assert!(resolver.addresses("example.org").await.expect_err("a failure").is_temporary());
}

#[tokio::test]
async fn a_silent_server_is_a_temporary_trouble() {
    let (_server, resolver) = ask(Zone::new().silent("example.org")).await;
    let error = resolver.mx("example.org").await.expect_err("silence");
    assert_eq!(error, LookupError::Temporary("the name server did not answer in time".into()));
}

#[tokio::test]
async fn an_unreachable_server_is_a_temporary_trouble() {
    let server = serve(Zone::new()).await.expect("a free port");
    let address = server.address();
    drop(server);
    let error = resolver(address).mx("example.org").await.expect_err("nobody there");
    assert!(error.is_temporary(), "{error:?}");
}

#[tokio::test]
async fn a_null_mx_is_understood() {
    let (_server, resolver) = ask(Zone::new().null_mx("example.org")).await;
    let answer = resolver.mx("example.org").await;
    assert_eq!(answer.as_ref().expect("an answer").records[0].exchange, ".");
    let route = mail_hosts("example.org", answer, |_| 0).expect("a route");
    assert_eq!(route.hosts, MailHosts::NullMx);
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    let (server, resolver) =
        ask(Zone::new().mx("example.org", 10, "mx.example.org").truncated("example.org")).await;
    assert_eq!(resolver.mx("example.org").await.expect("an answer").records.len(), 1);
    assert_eq!(server.queries().len(), 2, "once over UDP, once over TCP");
}

#[tokio::test]
async fn an_answer_too_large_for_a_datagram_comes_whole() {
    let zone = (0..200).fold(Zone::new(), |zone, n| zone.mx("example.org", n, &format!("mx{n}.example.org")));
    let (_server, resolver) = ask(zone).await;
    assert_eq!(resolver.mx("example.org").await.expect("an answer").records.len(), 200);
}

#[tokio::test]
async fn answers_are_remembered_while_they_hold_and_no_longer() {
    let (server, resolver) = ask(Zone::new().mx("example.org", 10, "a.example.org").ttl(3600)).await;
    resolver.mx("example.org").await.expect("an answer");
    server.change(|_| Zone::new().mx("example.net", 10, "b.example.org").ttl(0));
    resolver.mx("example.org").await.expect("the answer from before");
    assert_eq!(server.queries(), [("example.org".into(), Kind::Mx)]);
    resolver.mx("example.net").await.expect("an answer");
    resolver.mx("example.net").await.expect("another answer");
    assert_eq!(server.queries().len(), 3, "what holds for no time is asked again");
}

#[tokio::test]
async fn names_and_texts_are_found() {
    let client: IpAddr = "2001:db8::7".parse().unwrap();
    let long = "x".repeat(600);
    let zone = Zone::new().ptr(client, "Host.example.org").txt("_mta-sts.example.org", &long);
    let (_server, resolver) = ask(zone).await;
    assert_eq!(resolver.ptr(client).await.expect("an answer").records, ["host.example.org"]);
    assert_eq!(resolver.txt("_mta-sts.example.org").await.expect("an answer").records, [long]);
}

#[tokio::test]
async fn certificates_and_aliases_are_found_and_nothing_is_ever_secure() {
    let name = "_25._tcp.mx.example.org";
    let zone = Zone::new().tlsa(name, 3, 1, 1, &[7; 32]).cname("www.example.org", "host.example.org");
    let (_server, resolver) = ask(zone.all_secure()).await;
    let answer = resolver.tlsa(name).await.expect("an answer");
    assert_eq!(answer.records[0].to_string(), format!("3 1 1 {}", "07".repeat(32)));
    assert_eq!(answer.dnssec, Dnssec::Indeterminate);
    assert_eq!(resolver.alias("www.example.org").await.expect("an alias").records, "host.example.org");
}

#[tokio::test]
async fn what_is_no_domain_name_is_never_asked_for() {
    let (server, resolver) = ask(Zone::new()).await;
    for name in ["", ".", "a..b", "ä.example", &"x".repeat(64), &"x.".repeat(200)] {
        assert!(matches!(resolver.mx(name).await, Err(LookupError::BadName(_))), "{name:?}");
    }
    assert_eq!(server.queries(), []);
}

#[tokio::test]
async fn single_labels_are_asked_for_as_they_are() {
    let (server, resolver) = ask(Zone::new().mx("com", 1, "mx.example")).await;
    resolver.mx("com").await.expect("an answer");
    assert_eq!(server.queries(), [("com".into(), Kind::Mx)]);
}

#[tokio::test]
async fn localhost_is_this_machine_and_never_asked_for() {
    let (server, resolver) = ask(Zone::new()).await;
    let answer = resolver.addresses("localhost").await.expect("an answer");
    assert!(
        !answer.records.is_empty() && answer.records.iter().all(IpAddr::is_loopback),
        "{:?}",
        answer.records
    );
    assert_eq!(server.queries(), []);
}
