//! A small HTTPS client: one request, one reply, one connection.
//!
//! Policies (RFC 8461), reports (RFC 8460) and tokens are fetched and sent with it. The types to know:
//! - [`Https`]: the client. [`Https::get`] and [`Https::post`] are what most need, [`Https::send`] is both and more.
//! - [`HttpsUrl`]: an address that it can use. Whether its host is fit to be asked the caller decides: see
//!   [`HttpsUrl::literal`].
//! - [`Limits`]: how much is read and how long it all may take. [`Reply`]: what came back, whatever its status.
//! - [`HttpsError`]: what went wrong, at which step, in words for operators.
//!
//! The certificate is always verified for the host. Clear text is spoken only with programs on this machine, at addresses that
//! an administrator wrote ([`HttpsUrl::of_own`]). What it deliberately does not do: follow redirects, speak HTTP/2, use
//! proxies or cookies, keep connections or answers, or try again.

mod form;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub(crate) use form::{Form, basic};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use postern_dns::Resolver;
use postern_pki::{ClientTls, PeerPolicy, describe, server_name};
use postern_smtp::text;
use postern_smtp::tls::TlsRequirement;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The port of HTTPS where an address names none.
pub const PORT: u16 = 443;
/// The longest address that is used, in octets.
const URL_MOST: usize = 4096;
/// So many of a host's addresses are tried.
const ADDRESSES_MOST: usize = 4;
/// The head of a reply may have so many octets, and so many fields.
const HEAD_MOST: usize = 32 * 1024;
const FIELDS_MOST: usize = 100;
/// Of another program's words, an error shows at most so many octets.
const WORDS_MOST: usize = 300;
/// Of the name of a media type, a reply keeps at most so many octets.
const MEDIA_TYPE_MOST: usize = 100;

/// The client. Make one and keep it; it is cheap to clone.
#[derive(Clone)]
pub struct Https {
    resolver: Arc<dyn Resolver>,
    tls: Arc<ClientTls>,
}

/// What is spoken with a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wire {
    Encrypted,
    /// Only within this machine.
    Clear,
}

/// An address that begins with `https://`, has a host, and no user name; or an administrator's own, see
/// [`of_own`](Self::of_own).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    wire: Wire,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// What stands in the request: path and query.
    target: String,
}

/// How much is read, and how long it all may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest body that is read, in octets.
    pub body_most: usize,
    /// From the first lookup to the last octet.
    pub time: Duration,
}

/// What came back, whatever its status. Redirects are not followed, but returned as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The media type in lower case, without its parameters.
    pub media_type: Option<String>,
    /// The whole body.
    pub body: Bytes,
}

/// How far an exchange has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Looking its addresses up.
    Lookup,
    /// Opening a connection.
    Connect,
    /// The TLS handshake.
    Handshake,
    /// Sending the request and reading the reply.
    Exchange,
}

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpsError {
    /// Not an address that this client can use.
    #[error("{url:?} is not an address that can be used: {reason}")]
    BadUrl {
        /// The address, shortened.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The host has no address, or none was found out.
    #[error("{host} has no address: {reason}")]
    NoAddress {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// None of the host's addresses accepts a connection.
    #[error("no connection to {host}: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// What the last address tried had to say.
        reason: String,
    },
    /// The host's certificate is not to be trusted, or is another host's.
    #[error("{host} does not prove who it is: {reason}")]
    Certificate {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("no encrypted connection to {host}: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The other side does not speak HTTP, or stopped in the middle of it.
    #[error("{host} gave no sound reply: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
    /// The body is longer than allowed. What was read is thrown away.
    #[error("{host} sent more than {most} octets")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        most: usize,
        /// The reply's status.
        status: u16,
    },
    /// The time was up.
    #[error("{host} took longer than {}, {step}", seconds(*.time))]
    TimedOut {
        /// The host.
        host: String,
        /// The limit for the whole.
        time: Duration,
        /// What it was spent on last.
        step: Step,
    },
}

impl Https {
    /// A client that finds hosts with this resolver and trusts whom these settings trust.
    pub fn new(resolver: Arc<dyn Resolver>, tls: ClientTls) -> Self {
        Self { resolver, tls: Arc::new(tls) }
    }

    /// Fetches what is at an address.
    ///
    /// # Errors
    /// There is no reply; any status is one.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the connection closes.
    pub async fn get(&self, url: &HttpsUrl, limits: Limits) -> Result<Reply, HttpsError> {
        Ok(reply_of(self.send(url, Method::GET, None, Bytes::new(), limits).await?))
    }

    /// Sends a body to an address. The content type is one of ours, such as `application/tlsrpt+gzip`.
    ///
    /// # Errors
    /// There is no reply; any status is one.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the connection closes. Whether the other side took the body is not known then.
    pub async fn post(
        &self,
        url: &HttpsUrl,
        content_type: &'static str,
        body: Bytes,
        limits: Limits,
    ) -> Result<Reply, HttpsError> {
        Ok(reply_of(self.send(url, Method::POST, Some(content_type), body, limits).await?))
    }

    /// Sends a form to an address where we have to say who we are; `authorization` is what stands in the field of that name.
    ///
    /// # Errors
    /// There is no reply; any status is one.
    ///
    /// # Cancel safety
    /// As [`post`](Self::post).
    pub(crate) async fn submit(
        &self,
        url: &HttpsUrl,
        form: Form,
        authorization: Option<HeaderValue>,
        limits: Limits,
    ) -> Result<Reply, HttpsError> {
        let mut request = request(url, Method::POST, form.into_body());
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Form::MEDIA_TYPE));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        Ok(reply_of(self.exchange(url, request, limits).await?))
    }

    /// Does anything that HTTP has a method for, and gives the reply with all of its fields.
    ///
    /// # Errors
    /// There is no reply; any status is one.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the connection closes. Whether the other side did it is not known then.
    pub async fn send(
        &self,
        url: &HttpsUrl,
        method: Method,
        content_type: Option<&'static str>,
        body: Bytes,
        limits: Limits,
    ) -> Result<Response<Bytes>, HttpsError> {
        let mut request = request(url, method, body);
        if let Some(content_type) = content_type {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        self.exchange(url, request, limits).await
    }

    async fn exchange(
        &self,
        url: &HttpsUrl,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Response<Bytes>, HttpsError> {
        let clock = Clock { host: &url.host, time: limits.time, end: Instant::now() + limits.time };
        let addresses = clock.within(Step::Lookup, self.addresses(url)).await?;
        let tcp = connect(&addresses, &clock).await?;
        if url.wire == Wire::Clear {
            return clock.within(Step::Exchange, converse(&url.host, tcp, request, limits.body_most)).await;
        }
        let tls = clock.within(Step::Handshake, self.handshake(&url.host, tcp)).await?;
        clock.within(Step::Exchange, converse(&url.host, tls, request, limits.body_most)).await
    }

    async fn addresses(&self, url: &HttpsUrl) -> Result<Vec<SocketAddr>, HttpsError> {
        if let Some(address) = url.literal() {
            return Ok(vec![SocketAddr::new(address, url.port)]);
        }
        let none = |reason: String| HttpsError::NoAddress { host: url.host.clone(), reason };
        let answer = self.resolver.addresses(&url.host).await.map_err(|error| none(error.to_string()))?;
        let found = answer.records.into_iter().take(ADDRESSES_MOST);
        let addresses: Vec<_> = found.map(|address| SocketAddr::new(address, url.port)).collect();
        if addresses.is_empty() { Err(none("the answer was empty".to_owned())) } else { Ok(addresses) }
    }

    /// Encrypts the connection to a host that proves its name.
    async fn handshake(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, HttpsError> {
        let mut config = (*self.tls.handshake(&PeerPolicy::of(TlsRequirement::VERIFIED)).config()).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = server_name(host)
            .map_err(|error| HttpsError::Tls { host: host.to_owned(), reason: error.to_string() })?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        connected.map_err(|error| of_handshake(host, &error))
    }
}

impl FromStr for HttpsUrl {
    type Err = HttpsError;

    fn from_str(url: &str) -> Result<Self, HttpsError> {
        parse(url, &["https"])
    }
}

impl HttpsUrl {
    /// An address from our own configuration: `https://` too, or `http://` with a loopback address for a program on this
    /// machine. Names will not do for that: what they lead to, others decide.
    ///
    /// # Errors
    /// It is not an address that this client can use.
    pub fn of_own(url: &str) -> Result<Self, HttpsError> {
        let bad = |reason| HttpsError::BadUrl { url: text::clean(url, 100), reason };
        let own = parse(url, &["https", "http"])?;
        let is_here = own.literal().is_some_and(|address| address.is_loopback());
        if own.wire == Wire::Clear && !is_here {
            return Err(bad(
                "without encryption only a loopback address such as http://127.0.0.1:8080/ can be asked",
            ));
        }
        Ok(own)
    }

    /// Whether it is HTTPS, and not a program on this machine that is asked in clear.
    pub fn is_encrypted(&self) -> bool {
        self.wire == Wire::Encrypted
    }

    /// The host in lower case; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host, where it is an address and not a name. Addresses that strangers publish should have none.
    pub fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.wire.port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for HttpsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.wire {
            Wire::Encrypted => "https",
            Wire::Clear => "http",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

impl Wire {
    fn port(self) -> u16 {
        match self {
            Self::Encrypted => PORT,
            Self::Clear => 80,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lookup => "at the lookup of its addresses",
            Self::Connect => "at opening a connection",
            Self::Handshake => "at the TLS handshake",
            Self::Exchange => "at request and reply",
        })
    }
}

fn parse(url: &str, schemes: &[&str]) -> Result<HttpsUrl, HttpsError> {
    let bad = |reason| HttpsError::BadUrl { url: text::clean(url, 100), reason };
    if url.len() > URL_MOST {
        return Err(bad("it is too long"));
    }
    let uri: Uri = url.parse().map_err(|_| bad("it is malformed"))?;
    let wire = match uri.scheme_str().filter(|scheme| schemes.contains(scheme)) {
        Some("https") => Wire::Encrypted,
        Some("http") => Wire::Clear,
        _ => return Err(bad("it does not begin with https://")),
    };
    let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
    if authority.as_str().contains('@') {
        return Err(bad("it holds a user name"));
    }
    let port = match authority.as_str().strip_prefix(authority.host()) {
        Some("") => Some(wire.port()),
        rest => rest.and_then(|rest| rest.strip_prefix(':')).and_then(|port| port.parse().ok()),
    };
    let port = port.filter(|port| *port > 0).ok_or_else(|| bad("its port is none"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    if server_name(&host).is_err() {
        return Err(bad("its host is neither a name nor an address"));
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    Ok(HttpsUrl { wire, host, port, target })
}

/// One exchange's deadline.
struct Clock<'a> {
    host: &'a str,
    time: Duration,
    end: Instant,
}

impl Clock<'_> {
    async fn within<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T, HttpsError>>,
    ) -> Result<T, HttpsError> {
        timeout_at(self.end, work).await.unwrap_or_else(|_| Err(self.timed_out(step)))
    }

    fn timed_out(&self, step: Step) -> HttpsError {
        HttpsError::TimedOut { host: self.host.to_owned(), time: self.time, step }
    }

    /// A fair share of what is left, so that one dead address leaves time for the `others` and the exchange.
    fn share(&self, others: usize) -> Instant {
        let now = Instant::now();
        let parts = u32::try_from(others).unwrap_or(u32::MAX).saturating_add(2);
        now + self.end.saturating_duration_since(now) / parts
    }
}

async fn connect(addresses: &[SocketAddr], clock: &Clock<'_>) -> Result<TcpStream, HttpsError> {
    let mut last = clock.timed_out(Step::Connect);
    for (index, address) in addresses.iter().enumerate() {
        let others = addresses.len() - index - 1;
        last = match timeout_at(clock.share(others), TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => HttpsError::Connect {
                host: clock.host.to_owned(),
                reason: format!("{address}: {}", text::without_os_code(error)),
            },
            Err(_) => clock.timed_out(Step::Connect),
        };
    }
    Err(last)
}

fn request(url: &HttpsUrl, method: Method, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // Both were parsed from a sound address.
    *request.uri_mut() = url.target.parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(host) = HeaderValue::from_str(&url.authority()) {
        headers.insert(HOST, host);
    }
    headers.insert(USER_AGENT, HeaderValue::from_static("Postern"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    request
}

/// What most callers need of it.
fn reply_of(response: Response<Bytes>) -> Reply {
    let named = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = named.map(|value| {
        let name = value.split(';').next().unwrap_or(value).trim();
        text::clean(name, MEDIA_TYPE_MOST).to_ascii_lowercase()
    });
    Reply { status: response.status().as_u16(), media_type, body: response.into_body() }
}

async fn converse(
    host: &str,
    wire: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
    body_most: usize,
) -> Result<Response<Bytes>, HttpsError> {
    let broken = |error: hyper::Error| of_hyper(host, &error);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MOST)
        .max_headers(FIELDS_MOST)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        read(host, response, body_most).await
    };
    // What goes wrong with the connection, the exchange is told.
    let carry = async {
        let _ = connection.await;
        pending().await
    };
    tokio::select! {
        reply = exchange => reply,
        reply = carry => reply,
    }
}

async fn read(host: &str, response: Response<Incoming>, most: usize) -> Result<Response<Bytes>, HttpsError> {
    let status = response.status().as_u16();
    let (parts, body) = response.into_parts();
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(Response::from_parts(parts, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(HttpsError::TooLarge { host: host.to_owned(), most, status })
        }
        Err(error) => Err(match error.downcast_ref::<hyper::Error>() {
            Some(error) => of_hyper(host, error),
            None => protocol(host, text::clean(error, WORDS_MOST)),
        }),
    }
}

fn of_handshake(host: &str, error: &io::Error) -> HttpsError {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    let (host, reason) = (host.to_owned(), describe(error));
    match source {
        Some(rustls::Error::InvalidCertificate(_)) => HttpsError::Certificate { host, reason },
        _ => HttpsError::Tls { host, reason },
    }
}

fn of_hyper(host: &str, error: &hyper::Error) -> HttpsError {
    let reason = if error.is_incomplete_message() {
        "it closed the connection before its reply was complete".to_owned()
    } else if error.is_parse() {
        format!("its reply is not HTTP as it should be ({})", text::clean(error, WORDS_MOST))
    } else {
        match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
            Some(source) => describe(source),
            None => text::clean(error, WORDS_MOST),
        }
    };
    protocol(host, reason)
}

fn protocol(host: &str, reason: String) -> HttpsError {
    HttpsError::Protocol { host: host.to_owned(), reason }
}

fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        1 => "1 second".to_owned(),
        more => format!("{more} seconds"),
    }
}
