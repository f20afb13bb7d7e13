//! Dynamic updates against a real name server (knotd) that demands TSIG, and against ones that misbehave.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_dns::update::{Sight, TsigAlgorithm, TsigKey, Txt, UpdateError, UpdateFault, Zone, follow};
use postern_dns::{DnssecMode, LookupError, Options, open};
use postern_testkit::dns::{ScriptedResolver, Zone as Script};
use postern_testkit::updatable::{UpdatableZones, ZoneKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

const NAME: &str = "_acme-challenge.mail.example.org";
const VALUE: &str = "-9dSXLnoOKUnuzbDVjS1TkA4Ybsn3cZbPuqkyNZXdnI";
const OTHER: &str = "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";
const SECRET: &str = "c2VjcmV0IGFzIG5vYm9keSBzaGFsbCBzZWUgaXQhISE=";
const TIME: Duration = Duration::from_secs(20);

fn start() -> UpdatableZones {
    let key = |name, algorithm, may_update| ZoneKey { name, algorithm, secret: SECRET, may_update };
    let keys = [
        key("acme", "hmac-sha256", true),
        key("acme-384", "hmac-sha384", true),
        key("acme-512", "hmac-sha512", true),
        key("reader", "hmac-sha256", false),
    ];
    let zones = [
        ("example.org", "mail A 192.0.2.1\n_acme-challenge.www CNAME www.acme.example.net."),
        ("acme.example.net", ""),
    ];
    UpdatableZones::start(&zones, &keys)
}

fn key(name: &str, secret: &str) -> TsigKey {
    TsigKey::new(name, TsigAlgorithm::HmacSha256, secret).expect("a key")
}

fn zone(server: SocketAddr, name: Option<&str>) -> Zone {
    Zone { server, name: name.map(str::to_owned), key: key("acme", SECRET) }
}

fn txt(name: &str, value: &str) -> Txt {
    Txt { name: name.to_owned(), value: value.to_owned(), ttl: Duration::from_mins(1) }
}

/// What the server shows, in order.
async fn shown(server: SocketAddr, name: &str) -> Vec<String> {
    let options = Options { servers: vec![server], timeout: None, dnssec: DnssecMode::Off };
    match open(&options).expect("a resolver").resolver.txt(name).await {
        Ok(answer) => {
            let minute = Duration::from_secs(50)..=Duration::from_mins(1);
            assert!(minute.contains(&answer.ttl), "{:?}", answer.ttl);
            let mut texts = answer.records;
            texts.sort();
            texts
        }
        Err(error) => {
            assert!(error.is_negative(), "{error}");
            Vec::new()
        }
    }
}

async fn fails(zone: &Zone, name: &str) -> UpdateFault {
    let error = zone.add_txt(&txt(name, VALUE), Timestamp::now(), TIME).await.expect_err("no update");
    assert_eq!(error.server, zone.server);
    error.fault
}

#[tokio::test]
async fn one_record_is_added_beside_another_and_deleted_alone() {
    let server = start();
    let zone = zone(server.address, Some("example.org"));
    let now = Timestamp::now();
    for value in [VALUE, OTHER, VALUE] {
        assert_eq!(zone.add_txt(&txt(NAME, value), now, TIME).await.as_deref(), Ok("example.org"));
    }
    assert_eq!(shown(server.address, NAME).await, [VALUE, OTHER]);
    zone.delete_txt(&txt(NAME, VALUE), now, TIME).await.unwrap();
    assert_eq!(shown(server.address, NAME).await, [OTHER]);
    for _ in 0..2 {
        zone.delete_txt(&txt(NAME, OTHER), now, TIME).await.unwrap();
    }
    assert!(shown(server.address, NAME).await.is_empty());
}

#[tokio::test]
async fn all_three_algorithms_are_understood() {
    let server = start();
    for (name, algorithm) in [
        ("acme", TsigAlgorithm::HmacSha256),
        ("acme-384", TsigAlgorithm::HmacSha384),
        ("acme-512", TsigAlgorithm::HmacSha512),
    ] {
        let key = TsigKey::new(name, algorithm, SECRET).unwrap();
        let zone = Zone { server: server.address, name: None, key };
        let record = txt(NAME, &format!("by {algorithm}"));
        zone.add_txt(&record, Timestamp::now(), TIME).await.unwrap();
    }
    assert_eq!(shown(server.address, NAME).await, ["by hmac-sha256", "by hmac-sha384", "by hmac-sha512"]);
}

#[tokio::test]
async fn the_zone_is_found_where_none_is_given() {
    let server = start();
    let zone = zone(server.address, None);
    let now = Timestamp::now();
    assert_eq!(zone.add_txt(&txt(NAME, VALUE), now, TIME).await.as_deref(), Ok("example.org"));
    assert_eq!(
        zone.add_txt(&txt("deep.www.acme.example.net.", VALUE), now, TIME).await.as_deref(),
        Ok("acme.example.net")
    );
    // An alias has no SOA record beside it, and no text either: the server takes the update and ignores it.
    assert_eq!(
        zone.add_txt(&txt("_acme-challenge.www.example.org", VALUE), now, TIME).await.as_deref(),
        Ok("example.org")
    );
    let UpdateFault::NoZone { name } = fails(&zone, "_acme-challenge.elsewhere.test").await else { panic!() };
    assert_eq!(name, "_acme-challenge.elsewhere.test");
}

#[tokio::test]
async fn a_zone_that_the_server_does_not_have_is_said_to_be_so() {
    let server = start();
    let fault = fails(&zone(server.address, Some("elsewhere.test")), "_acme-challenge.elsewhere.test").await;
    assert_eq!(fault, UpdateFault::NotPrimary { zone: "elsewhere.test".into() });
    let fault = fails(&zone(server.address, Some("example.org")), "_acme-challenge.elsewhere.test").await;
    assert!(matches!(&fault, UpdateFault::NotInZone { zone, .. } if zone == "example.org"), "{fault}");
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_said() {
    let server = start();
    let with = |key| Zone { key, ..zone(server.address, Some("example.org")) };
    let fault = fails(&with(key("stranger", SECRET)), NAME).await;
    assert!(matches!(&fault, UpdateFault::UnknownKey { key, .. } if key == "stranger"), "{fault}");
    let fault = fails(&with(TsigKey::new("acme", TsigAlgorithm::HmacSha512, SECRET).unwrap()), NAME).await;
    assert!(fault.to_string().contains("the key acme with hmac-sha512"), "{fault}");
    let fault = fails(&with(key("acme", "YW5vdGhlciBzZWNyZXQ=")), NAME).await;
    assert_eq!(fault, UpdateFault::WrongSecret { key: "acme".into() });
    // Knot says BADKEY or REFUSED of a key that it knows, but has no rule for.
    let fault = fails(&with(key("reader", SECRET)), NAME).await;
    assert!(matches!(fault, UpdateFault::UnknownKey { .. } | UpdateFault::Refused { .. }), "{fault}");
    assert!(shown(server.address, NAME).await.is_empty());
}

#[tokio::test]
async fn clocks_that_differ_are_said_to_differ_and_by_how_much() {
    let server = start();
    let zone = zone(server.address, Some("example.org"));
    let slow = Timestamp::now() - SignedDuration::from_mins(60);
    let error = zone.add_txt(&txt(NAME, VALUE), slow, TIME).await.unwrap_err();
    let UpdateFault::Clock { ahead } = error.fault else { panic!("{error}") };
    assert!((3590..3620).contains(&ahead), "{ahead}");
    assert!(error.to_string().contains("s ahead of ours"), "{error}");
}

#[tokio::test]
async fn a_server_that_listens_on_udp_alone_is_updated_all_the_same() {
    let server = start();
    let front = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = front.local_addr().unwrap();
    let behind = server.address;
    let relay = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = front.recv_from(&mut buffer).await.unwrap();
            let back = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            back.send_to(&buffer[..length], behind).await.unwrap();
            let length = back.recv(&mut buffer).await.unwrap();
            // What belongs to nothing is passed over.
            front.send_to(b"noise", from).await.unwrap();
            front.send_to(&buffer[..length], from).await.unwrap();
        }
    });
    zone(address, Some("example.org")).add_txt(&txt(NAME, VALUE), Timestamp::now(), TIME).await.unwrap();
    relay.abort();
    assert_eq!(shown(server.address, NAME).await, [VALUE]);
}

/// Stands before a server and changes its answers.
async fn between(server: SocketAddr, change: fn(&mut Vec<u8>)) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a message");
    let address = listener.local_addr().expect("a message");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let question = framed(&mut client).await;
            let mut upstream = TcpStream::connect(server).await.expect("a message");
            upstream.write_all(&frame(&question)).await.expect("a message");
            let mut answer = framed(&mut upstream).await;
            change(&mut answer);
            client.write_all(&frame(&answer)).await.expect("a message");
        }
    });
    address
}

async fn framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut octets = vec![0; usize::from(stream.read_u16().await.expect("a message"))];
    stream.read_exact(&mut octets).await.expect("a message");
    octets
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).expect("a message").to_be_bytes()[..], message].concat()
}

#[tokio::test]
async fn an_answer_that_somebody_changed_is_not_believed() {
    let server = start();
    let changes: [fn(&mut Vec<u8>); 5] = [
        // Refused becomes done, or the other way round.
        |answer| answer[3] ^= 5,
        // Another exchange's answer.
        |answer| answer[0] ^= 1,
        // The signature is cut off.
        |answer| {
            answer.truncate(12);
            answer[4..].fill(0);
        },
        // Nothing is left of it.
        Vec::clear,
        |answer| answer.truncate(40),
    ];
    for change in changes {
        let zone = zone(between(server.address, change).await, Some("example.org"));
        let fault = fails(&zone, NAME).await;
        assert!(matches!(fault, UpdateFault::NotGenuine(_)), "{fault}");
    }
}

#[tokio::test]
async fn a_server_that_is_silent_hangs_up_or_is_not_there_is_told_apart() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let silent = zone(listener.local_addr().unwrap(), Some("example.org"));
    let time = Duration::from_millis(200);
    let error = silent.add_txt(&txt(NAME, VALUE), Timestamp::now(), time).await.unwrap_err();
    assert_eq!(error.fault, UpdateFault::Silent { time });

    let record = txt(NAME, VALUE);
    let (error, ()) = tokio::join!(silent.add_txt(&record, Timestamp::now(), TIME), async {
        // The one that came in above waits first.
        for _ in 0..2 {
            drop(listener.accept().await.unwrap());
        }
    });
    let fault = error.unwrap_err().fault;
    assert!(matches!(fault, UpdateFault::HungUp(_)), "{fault}");

    drop(listener);
    let fault = fails(&silent, NAME).await;
    assert!(matches!(&fault, UpdateFault::Unreachable(why) if why.contains("refused")), "{fault}");
}

/// A server that says the same to everything, and does not sign.
async fn unsigned(code: u8) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let question = framed(&mut client).await;
            let head = [question[0], question[1], question[2] | 0x80, code];
            client.write_all(&frame(&[&head[..], &[0; 8]].concat())).await.expect("a client");
        }
    });
    address
}

#[tokio::test]
async fn of_what_is_not_signed_refusals_are_repeated_and_nothing_is_believed() {
    let answers = [
        (0, UpdateFault::NotGenuine("it is not signed".into())),
        (2, UpdateFault::Failed { code: "SERVFAIL".into() }),
        (4, UpdateFault::Unsupported),
    ];
    for (code, expected) in answers {
        assert_eq!(fails(&zone(unsigned(code).await, Some("example.org")), NAME).await, expected);
    }
}

#[tokio::test]
async fn a_record_is_waited_for_until_all_servers_show_it() {
    let server = start();
    let zone = zone(server.address, None);
    let resolver = ScriptedResolver::new(Script::new().address("ns.example.org", Ipv4Addr::LOCALHOST));
    let record = txt(NAME, VALUE);
    let (seen, added) = tokio::join!(
        zone.until_visible(&record, &resolver, Timestamp::now(), TIME),
        soon(zone.add_txt(&record, Timestamp::now(), TIME))
    );
    added.unwrap();
    let seen = seen.unwrap();
    assert_eq!((seen.len(), &seen[0].sight, seen[0].address), (1, &Sight::There, Some(server.address)));
    assert_eq!(seen[0].to_string(), format!("ns.example.org ({}) shows it", server.address));
}

/// After the others have begun.
async fn soon<T>(work: impl Future<Output = Result<T, UpdateError>>) -> Result<T, UpdateError> {
    tokio::task::yield_now().await;
    work.await
}

#[tokio::test]
async fn a_server_that_lags_behind_is_named() {
    let server = start();
    let zone = zone(server.address, None);
    let resolver = ScriptedResolver::new(Script::new().address("ns.example.org", Ipv4Addr::LOCALHOST));
    let time = Duration::from_millis(600);
    let error = zone.until_visible(&txt(NAME, VALUE), &resolver, Timestamp::now(), time).await.unwrap_err();
    let UpdateFault::NotVisible(late) = &error.fault else { panic!("{error}") };
    assert_eq!(late, &[format!("ns.example.org ({}) does not show it", server.address)]);
}

#[tokio::test]
async fn a_server_without_an_address_does_not_count_as_one_that_shows_it() {
    let server = start();
    let zone = zone(server.address, None);
    let record = txt(NAME, VALUE);
    zone.add_txt(&record, Timestamp::now(), TIME).await.unwrap();
    let resolver = ScriptedResolver::new(Script::new().failing("ns.example.org"));
    let error = zone.until_visible(&record, &resolver, Timestamp::now(), TIME).await.unwrap_err();
    assert!(error.to_string().contains("ns.example.org does not answer: it has no address"), "{error}");
}

#[tokio::test]
async fn aliases_are_followed_to_where_the_record_must_stand() {
    let script = Script::new()
        .cname(NAME, "mail.acme.example.net")
        .cname("mail.acme.example.net", "proof.example.net")
        .cname("round.example.org", "round.example.org")
        .failing("mute.example.org");
    let resolver = ScriptedResolver::new(script);
    assert_eq!(
        follow(&resolver, "_ACME-challenge.mail.example.org.").await.as_deref(),
        Ok("proof.example.net")
    );
    assert_eq!(follow(&resolver, "mx.example.org").await.as_deref(), Ok("mx.example.org"));
    assert!(follow(&resolver, "mute.example.org").await.unwrap_err().is_temporary());
    let Err(LookupError::Temporary(round)) = follow(&resolver, "round.example.org").await else { panic!() };
    assert!(round.contains("endless"), "{round}");
}

#[tokio::test]
async fn names_and_texts_that_cannot_be_records_are_not_sent() {
    let nobody: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
    let fault = fails(&zone(nobody, None), "_acme challenge.example.org").await;
    assert!(matches!(fault, UpdateFault::BadName(_)), "{fault}");
    let bad = txt(NAME, "two\nlines");
    let error = zone(nobody, None).add_txt(&bad, Timestamp::now(), TIME).await.unwrap_err();
    assert_eq!(error.fault, UpdateFault::BadValue);
}
