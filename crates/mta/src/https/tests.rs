use postern_testkit::dns::{ScriptedResolver, Zone};

use super::scripted::{Authority, Host, Script};
use super::*;

const LIMITS: Limits = Limits { body_most: 100, time: Duration::from_secs(20) };
const NAME: &str = "www.example.org";

struct Fixture {
    host: Host,
    https: Https,
    authority: Authority,
}

impl Fixture {
    async fn new(script: Script) -> Self {
        let authority = Authority::new();
        let host = Host::start(authority.host(&[NAME]), script).await;
        Self::of(authority, host)
    }

    fn of(authority: Authority, host: Host) -> Self {
        let zone = Zone::new().address(NAME, [127, 0, 0, 1]).address("other.example.org", [127, 0, 0, 1]);
        let https = Https::new(Arc::new(ScriptedResolver::new(zone)), authority.client());
        Self { host, https, authority }
    }

    fn url(&self, host: &str) -> HttpsUrl {
        format!("https://{host}:{}/a/b?c=d", self.host.port).parse().unwrap()
    }

    async fn get(&self) -> Result<Reply, HttpsError> {
        self.https.get(&self.url(NAME), LIMITS).await
    }

    /// What a host says that begins to answer and never ends.
    async fn soon(&self) -> Result<Reply, HttpsError> {
        let limits = Limits { time: Duration::from_millis(300), ..LIMITS };
        self.https.get(&self.url(NAME), limits).await
    }
}

fn host() -> String {
    NAME.to_owned()
}

#[tokio::test]
async fn a_reply_comes_back_with_status_type_and_body() {
    let script = Script::reply("200 OK", "Content-Type: Text/Plain; charset=utf-8\r\n", "hello");
    let fixture = Fixture::new(script).await;
    let reply = fixture.get().await.unwrap();
    let expected =
        Reply { status: 200, media_type: Some("text/plain".to_owned()), body: Bytes::from_static(b"hello") };
    assert_eq!(reply, expected);
    let request = fixture.host.requests().remove(0).to_lowercase();
    assert!(request.starts_with("get /a/b?c=d http/1.1\r\n"), "{request}");
    let port = fixture.host.port;
    for field in [format!("host: {NAME}:{port}\r\n"), "user-agent: postern\r\n".to_owned()] {
        assert!(request.contains(&field), "{request}");
    }
}

#[tokio::test]
async fn any_method_can_be_sent_and_the_fields_of_the_reply_come_back() {
    let script = Script::reply("400 Bad Request", "Replay-Nonce: abc\r\nRetry-After: 7\r\n", "");
    let fixture = Fixture::new(script).await;
    let url = fixture.url(NAME);
    let response = fixture.https.send(&url, Method::HEAD, None, Bytes::new(), LIMITS).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().len()), (400, 0));
    assert_eq!(response.headers()["replay-nonce"], "abc");
    assert!(fixture.host.requests().remove(0).starts_with("HEAD /a/b?c=d HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_long_media_type_is_cut() {
    let field = format!("Content-Type: text/{}\r\n", "X".repeat(20_000));
    let reply = Fixture::new(Script::reply("200 OK", &field, "")).await.get().await.unwrap();
    assert_eq!(reply.media_type.unwrap(), format!("text/{}", "x".repeat(MEDIA_TYPE_MOST - 5)));
}

#[tokio::test]
async fn a_body_is_posted_whole_with_its_type() {
    let fixture = Fixture::new(Script::reply("201 Created", "", "")).await;
    let body = Bytes::from("x".repeat(200_000));
    let url = fixture.url(NAME);
    let reply = fixture.https.post(&url, "application/tlsrpt+json", body, LIMITS).await.unwrap();
    assert_eq!((reply.status, reply.media_type), (201, None));
    let request = fixture.host.requests().remove(0);
    assert!(request.starts_with("POST /a/b?c=d HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains("content-type: application/tlsrpt+json\r\n"));
    assert_eq!(request.split_once("\r\n\r\n").unwrap().1.len(), 200_000);
}

#[tokio::test]
async fn a_redirect_is_returned_and_not_followed() {
    let script = Script::reply("302 Found", "Location: /elsewhere\r\n", "");
    let fixture = Fixture::new(script).await;
    assert_eq!(fixture.get().await.unwrap().status, 302);
    assert_eq!(fixture.host.requests().len(), 1);
}

#[tokio::test]
async fn a_body_of_just_the_limit_is_read_and_one_octet_more_is_not() {
    let fixture = Fixture::new(Script::reply("200 OK", "", &"x".repeat(100))).await;
    assert_eq!(fixture.get().await.unwrap().body.len(), 100);
    let too_large = Err(HttpsError::TooLarge { host: host(), most: 100, status: 200 });
    fixture.host.now_says(Script::reply("200 OK", "", &"x".repeat(101)));
    assert_eq!(fixture.get().await, too_large);
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    fixture.host.now_says(Script::SayAndStall((chunks + &"1\r\nx\r\n".repeat(101)).into_bytes()));
    assert_eq!(fixture.get().await, too_large, "the length is not announced and the end never comes");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let fixture = Fixture::new(Script::reply("200 OK", "", "secret")).await;
    let url = fixture.url("other.example.org");
    let error = fixture.https.get(&url, LIMITS).await.unwrap_err();
    assert!(matches!(&error, HttpsError::Certificate { reason, .. } if reason.contains(NAME)), "{error}");
    assert_eq!(fixture.host.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let mut fixture = Fixture::new(Script::reply("200 OK", "", "")).await;
    let stranger = Authority::new();
    fixture.https.tls = Arc::new(stranger.client());
    assert!(matches!(fixture.get().await, Err(HttpsError::Certificate { .. })));
    fixture.https.tls = Arc::new(fixture.authority.client());
    assert!(fixture.get().await.is_ok());
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let host = Host::start(authority.expired_host(&[NAME]), Script::reply("200 OK", "", "")).await;
    let error = Fixture::of(authority, host).get().await.unwrap_err();
    let expired =
        matches!(&error, HttpsError::Certificate { reason, .. } if reason.contains("has expired on"));
    assert!(expired, "{error}");
}

#[tokio::test]
async fn a_stalled_host_is_left_at_the_deadline_whatever_the_step() {
    let fixture = Fixture::new(Script::NoHandshake).await;
    let time = Duration::from_millis(300);
    let late = |step| Err(HttpsError::TimedOut { host: host(), time, step });
    assert_eq!(fixture.soon().await, late(Step::Handshake));
    for said in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"] {
        fixture.host.now_says(Script::SayAndStall(said.into()));
        assert_eq!(fixture.soon().await, late(Step::Exchange), "{said:?}");
    }
    assert_eq!(
        fixture.soon().await.unwrap_err().to_string(),
        "www.example.org took longer than 300 ms, at request and reply"
    );
}

#[tokio::test]
async fn what_is_not_tls_or_not_http_is_said_so() {
    let fixture = Fixture::new(Script::NoTls).await;
    assert!(matches!(fixture.get().await, Err(HttpsError::Tls { .. })));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-Filler: yes\r\n".repeat(10_000));
    for (said, reason) in [
        ("", "closed the connection before"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "end"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (endless.as_str(), "too large"),
    ] {
        fixture.host.now_says(Script::Say(said.into()));
        let error = fixture.get().await.unwrap_err();
        assert!(matches!(error, HttpsError::Protocol { .. }), "{said:.40?}: {error:?}");
        assert!(error.to_string().contains(reason), "{said:.40?}: {error}");
    }
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let mut fixture = Fixture::new(Script::reply("200 OK", "", "")).await;
    // Nobody listens at the first address: the host is bound to the second alone.
    let zone = Zone::new().address(NAME, [127, 0, 0, 2]).address(NAME, [127, 0, 0, 1]);
    fixture.https.resolver = Arc::new(ScriptedResolver::new(zone));
    assert_eq!(fixture.get().await.unwrap().status, 200);
    let zone = Zone::new().address(NAME, [127, 0, 0, 2]);
    fixture.https.resolver = Arc::new(ScriptedResolver::new(zone));
    let error = fixture.get().await.unwrap_err();
    assert!(matches!(&error, HttpsError::Connect { reason, .. } if reason.contains("refused")), "{error}");
}

#[tokio::test]
async fn a_host_without_address_is_said_so() {
    let mut fixture = Fixture::new(Script::NoTls).await;
    fixture.https.resolver = Arc::new(ScriptedResolver::new(Zone::new().failing(NAME)));
    assert!(matches!(fixture.get().await, Err(HttpsError::NoAddress { .. })));
}

#[test]
fn an_address_is_read_into_host_port_and_target() {
    for (url, host, port, written) in [
        ("https://A.example", "a.example", 443, "https://a.example/"),
        ("https://a.example:443/x?y", "a.example", 443, "https://a.example/x?y"),
        ("HTTPS://a.example:8443/#part", "a.example", 8443, "https://a.example:8443/"),
        ("https://[2001:db8::1]:444/x", "2001:db8::1", 444, "https://[2001:db8::1]:444/x"),
    ] {
        let read: HttpsUrl = url.parse().unwrap();
        assert_eq!((read.host(), read.port(), read.to_string().as_str()), (host, port, written), "{url}");
    }
    let literal = |url: &str| url.parse::<HttpsUrl>().unwrap().literal();
    assert!(literal("https://192.0.2.1/").is_some() && literal("https://[::1]/").is_some());
    assert!(literal("https://a.example/").is_none());
}

#[test]
fn addresses_that_cannot_be_used_are_refused() {
    let long = format!("https://a.example/{}", "x".repeat(URL_MOST));
    for url in [
        "",
        "/x",
        "a.example",
        "http://a.example/",
        "https://",
        "https:///x",
        "https://user@a.example/",
        "https://a.example:0/",
        "https://a.example:/",
        "https://a.example:66000/",
        "https://bücher.example/",
        "https://a b.example/",
        "https://a.example/x y",
        "https://-/",
        long.as_str(),
    ] {
        assert!(matches!(url.parse::<HttpsUrl>(), Err(HttpsError::BadUrl { .. })), "{url:?}");
    }
}
