//! A small server and a small client with the proxy between them.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;

const BANNER: &str = "220 mail.example.org ESMTP";
/// How long a test waits to see that nothing comes.
const QUIET: Duration = Duration::from_millis(100);

/// What the server heard: lines, and that TLS began.
type Heard = JoinHandle<Vec<String>>;

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A server for one session, which offers STARTTLS in the middle of its reply to EHLO; with TLS from the first octet if told.
async fn server(begun: Option<Begun>) -> (SocketAddr, Heard) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(serve(listener, begun)))
}

async fn serve(listener: tokio::net::TcpListener, begun: Option<Begun>) -> Vec<String> {
    let (socket, _) = listener.accept().await.unwrap();
    let mut heard = Vec::new();
    let mut stream: Side<Box<dyn Stream>> = Side::new(Box::new(socket));
    if begun == Some(Begun::AtOnce) {
        heard.push("(TLS)".to_owned());
        stream = encrypted(stream).await;
    }
    stream.write(format!("{BANNER}\r\n").as_bytes()).await.unwrap();
    while let Ok(Coming::Line(line)) = stream.next().await {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        let reply = match &line[..4] {
            "EHLO" => "250-mail.example.org\r\n250-STARTTLS\r\n250 SIZE 1000",
            "STAR" => "220 go ahead",
            "XXXX" => "500 what?",
            _ => "250 ok",
        };
        heard.push(line);
        stream.write(format!("{reply}\r\n").as_bytes()).await.unwrap();
        if reply.starts_with("220") {
            heard.push("(TLS)".to_owned());
            stream = encrypted(stream).await;
        }
    }
    heard
}

async fn encrypted(stream: Side<Box<dyn Stream>>) -> Side<Box<dyn Stream>> {
    let acceptor = TlsAcceptor::from(Identity::new().server);
    Side::new(Box::new(acceptor.accept(stream.into_stream()).await.unwrap()))
}

async fn client(proxy: &Proxy) -> Side<TcpStream> {
    Side::new(TcpStream::connect(proxy.address()).await.unwrap())
}

/// TLS with trust in the proxy's authority alone.
async fn tls(proxy: &Proxy, client: Side<TcpStream>) -> Side<impl Stream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(proxy.root().as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    Side::new(connector.connect(identity::name(), client.into_stream()).await.unwrap())
}

/// A whole reply, its lines joined.
async fn reply(side: &mut Side<impl Stream>) -> String {
    let mut all = Vec::new();
    loop {
        let Coming::Line(line) = side.next().await.unwrap() else { panic!("no reply") };
        let line = String::from_utf8(line).unwrap();
        let is_last = line.as_bytes()[3] == b' ';
        all.push(line.trim_end().to_owned());
        if is_last {
            return all.join("|");
        }
    }
}

async fn say(side: &mut Side<impl Stream>, line: &str) -> String {
    side.write(format!("{line}\r\n").as_bytes()).await.unwrap();
    reply(side).await
}

#[tokio::test]
async fn starttls_is_left_out_or_overwritten() {
    for (trick, offers, heard_last) in [
        (Trick::Nothing, "250-mail.example.org|250-STARTTLS|250 SIZE 1000", "NOOP"),
        (Trick::HidesStartTls, "250-mail.example.org|250 SIZE 1000", "NOOP"),
        (Trick::OverwritesStartTls, "250-mail.example.org|250-XXXXXXXA|250 SIZE 1000", "NOOP"),
    ] {
        let (address, heard) = server(None).await;
        let proxy = Proxy::start(address, trick);
        let mut client = client(&proxy).await;
        assert_eq!(reply(&mut client).await, BANNER);
        assert_eq!(
            say(&mut client, "ehlo laptop").await,
            "250 ok",
            "{trick:?}: the server knows capitals only"
        );
        assert_eq!(say(&mut client, "EHLO laptop").await, offers, "{trick:?}");
        assert_eq!(say(&mut client, "NOOP").await, "250 ok");
        drop(client);
        assert_eq!(heard.await.unwrap().last().unwrap(), heard_last);
    }
}

#[tokio::test]
async fn commands_are_garbled_or_answered_before_they_arrive() {
    for (trick, line, answer, heard_by_server) in [
        (Trick::GarblesEhlo, "EHLO laptop", "500 what?", vec!["XXXX laptop"]),
        (Trick::OverwritesStartTls, "STARTTLS", "500 what?", vec!["XXXX"]),
        (Trick::AnswersStartTls("454 4.7.0 later"), "STARTTLS", "454 4.7.0 later", vec![]),
    ] {
        let (address, heard) = server(None).await;
        let proxy = Proxy::start(address, trick);
        let mut client = client(&proxy).await;
        assert_eq!(reply(&mut client).await, BANNER);
        assert_eq!(say(&mut client, line).await, answer, "{trick:?}");
        drop(client);
        assert_eq!(heard.await.unwrap(), heard_by_server, "{trick:?}");
    }
}

#[tokio::test]
async fn a_banner_is_masked_but_for_its_code() {
    let (address, _heard) = server(None).await;
    let proxy = Proxy::start(address, Trick::MasksBanner);
    let mut client = client(&proxy).await;
    assert_eq!(reply(&mut client).await, "220 **************** *****");
    assert_eq!(say(&mut client, "NOOP").await, "250 ok");
}

#[tokio::test]
async fn tls_is_opened_after_starttls_and_goes_on_in_clear_or_with_tls() {
    let encrypted = ["EHLO laptop", "STARTTLS", "(TLS)", "EHLO laptop"];
    for (onward, expected) in
        [(Onward::Tls, &encrypted[..]), (Onward::Clear, &["EHLO laptop", "EHLO laptop"])]
    {
        let (address, heard) = server(None).await;
        let proxy = Proxy::start(address, Trick::OpensTls(onward));
        let mut client = client(&proxy).await;
        assert_eq!(reply(&mut client).await, BANNER);
        assert!(say(&mut client, "EHLO laptop").await.contains("STARTTLS"));
        assert!(say(&mut client, "STARTTLS").await.starts_with("220 "));
        let mut client = tls(&proxy, client).await;
        let offered = say(&mut client, "EHLO laptop").await;
        assert_eq!(offered.contains("STARTTLS"), onward == Onward::Tls, "{offered}");
        drop(client);
        assert_eq!(heard.await.unwrap(), expected, "{onward:?}");
    }
}

#[tokio::test]
async fn tls_is_opened_when_it_comes_first() {
    for (onward, begun) in [(Onward::Tls, Some(Begun::AtOnce)), (Onward::Clear, None)] {
        let (address, heard) = server(begun).await;
        let proxy = Proxy::start(address, Trick::OpensTls(onward));
        let mut client = tls(&proxy, client(&proxy).await).await;
        assert_eq!(reply(&mut client).await, BANNER);
        assert_eq!(say(&mut client, "NOOP").await, "250 ok");
        drop(client);
        assert_eq!(heard.await.unwrap().contains(&"(TLS)".to_owned()), onward == Onward::Tls);
    }
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_octets() {
    let (address, heard) = server(None).await;
    let proxy = Proxy::start(address, Trick::CutsAfter(8));
    let mut client = client(&proxy).await;
    assert_eq!(reply(&mut client).await, BANNER);
    client.write(b"NOOP\r\nNOOP\r\nNOOP\r\n").await.unwrap();
    assert_eq!(
        heard.await.unwrap(),
        ["NOOP"],
        "the server heard the first line and two octets of the second"
    );
}

#[tokio::test]
async fn octets_are_lost_without_a_word_to_either_side() {
    let (address, mut heard) = server(None).await;
    let proxy = Proxy::start(address, Trick::LosesAfter(6));
    let mut client = client(&proxy).await;
    assert_eq!(reply(&mut client).await, BANNER);
    client.write(b"NOOP\r\nNOOP\r\n").await.unwrap();
    assert_eq!(reply(&mut client).await, "250 ok");
    assert!(
        timeout(QUIET, client.next()).await.is_err(),
        "the second line was answered, or the client cut off"
    );
    drop(client);
    assert!(timeout(QUIET, &mut heard).await.is_err(), "the server heard that the client has gone");
    drop(proxy);
    assert_eq!(heard.await.unwrap(), ["NOOP"], "what ends it is the end of the proxy");
}

#[tokio::test]
async fn connections_are_counted_and_come_from_the_address_that_was_asked_for() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let from = Ipv4Addr::new(127, 9, 8, 7);
    let proxy = Proxy::start_from(from, listener.local_addr().unwrap(), Trick::Nothing);
    assert_eq!(proxy.connections(), 0);
    for count in 1..3 {
        let _client = client(&proxy).await;
        assert_eq!(listener.accept().await.unwrap().1.ip(), from);
        assert_eq!(proxy.connections(), count);
    }
}

#[test]
fn starttls_in_the_last_line_is_left_out_all_the_same() {
    assert_eq!(without_starttls(b"250 STARTTLS\r\n", None), b"250 XNOTHING\r\n");
    assert_eq!(without_starttls(b"250-starttls\r\n", None), b"");
    assert_eq!(without_starttls(b"250-STARTTLS\r\n", Some("XXXXXXXA")), b"250-XXXXXXXA\r\n");
    assert_eq!(without_starttls(b"250 SIZE\r\n", None), b"250 SIZE\r\n");
}
