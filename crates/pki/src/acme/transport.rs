//! How requests reach the CA: a trait with one method, and its adapter to the library.
//!
//! [`Carrier`] also remembers what the library forgets: when the CA wants to be asked again ([`RetryAfter`]). What is no
//! reply of an ACME server at all is refused here, so that a mistyped address is told as such.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use http_body_util::BodyExt as _;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// RFC 8555 §6.5.
const REPLAY_NONCE: HeaderName = HeaderName::from_static("replay-nonce");
/// When renewal information says nothing of when to ask again, it is this (RFC 9773 §4.3.3).
const ASK_AGAIN: &str = "21600";

/// Carries requests to the CA, encrypted and with its certificate verified.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and reads the whole reply, whatever its status, within limits of size and time.
    ///
    /// # Errors
    /// There is no reply.
    async fn exchange(&self, request: Request) -> Result<Reply, TransportError>;
}

/// A request to the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is done.
    pub method: Method,
    /// Where.
    pub url: String,
    /// Of a POST, the type of its body.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

/// The methods that ACME uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Directory and renewal information.
    Get,
    /// A fresh nonce.
    Head,
    /// All else (RFC 8555 §6.3).
    Post,
}

/// What of a reply ACME needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// `Replay-Nonce`.
    pub nonce: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no reply, or none of an ACME server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct TransportError {
    /// What kind of trouble it is.
    pub fault: Fault,
    /// In words, with the host's name.
    pub words: String,
}

/// Kinds of trouble on the way to the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The CA's own certificate is not trusted.
    Untrusted,
    /// No connection, or none in time.
    Unreachable,
    /// Something answers there, but it is no ACME server.
    NotAcme,
}

/// When the CA wants to be asked again (RFC 9110 §10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// After this time.
    In(Duration),
    /// At this time.
    At(Timestamp),
}

impl RetryAfter {
    /// How long that is from now on.
    pub fn from(self, now: Timestamp) -> Duration {
        match self {
            Self::In(time) => time,
            Self::At(time) => Duration::try_from(time.duration_since(now)).unwrap_or_default(),
        }
    }

    /// Seconds or a date; `None` for anything else.
    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Self::In(Duration::from_secs(seconds.into())));
        }
        let date = DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text).ok()?;
        Some(Self::At(date.to_zoned(TimeZone::UTC).ok()?.timestamp()))
    }
}

/// What the last reply said that the library does not pass on.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen(Arc<Mutex<Option<RetryAfter>>>);

impl Seen {
    /// When the CA wants to be asked again, as its last reply had it.
    pub(super) fn retry_after(&self) -> Option<RetryAfter> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, reply: &Reply) {
        let said = reply.retry_after.as_deref().and_then(RetryAfter::read);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }
}

/// The transport as the library wants it.
pub(super) struct Carrier {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) seen: Seen,
}

impl HttpClient for Carrier {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let (transport, seen) = (Arc::clone(&self.transport), self.seen.clone());
        Box::pin(async move {
            let request = ours(request).await;
            let (method, url) = (request.method, request.url.clone());
            let exchanged = match transport.exchange(request).await {
                Ok(reply) => {
                    seen.note(&reply);
                    examined(method, &url, reply)
                }
                Err(error) => Err(error),
            };
            Ok(theirs(method, exchanged.map_err(|error| instant_acme::Error::Other(Box::new(error)))?))
        })
    }
}

async fn ours(request: http::Request<BodyWrapper<Bytes>>) -> Request {
    let (parts, body) = request.into_parts();
    let method = match parts.method {
        http::Method::HEAD => Method::Head,
        http::Method::POST => Method::Post,
        _ => Method::Get,
    };
    // RFC 8555 §6.2: the only type that requests may have.
    let content_type = parts.headers.contains_key(CONTENT_TYPE).then_some("application/jose+json");
    let Ok(body) = body.collect().await;
    Request { method, url: parts.uri.to_string(), content_type, body: body.to_bytes() }
}

/// Every refusal of an ACME server is a problem document (RFC 8555 §6.7), and what is fetched is JSON. Anything else
/// comes from another kind of server.
fn examined(method: Method, url: &str, reply: Reply) -> Result<Reply, TransportError> {
    let not_acme =
        |what: String| Err(TransportError { fault: Fault::NotAcme, words: format!("{url} {what}") });
    let is_json = || serde_json::from_slice::<serde_json::Map<_, _>>(&reply.body).is_ok();
    match (reply.status, method) {
        (200..=299, Method::Get) if !is_json() => {
            not_acme("answers with something that is not JSON".to_owned())
        }
        (300..=399, _) => not_acme(format!("leads elsewhere (status {})", reply.status)),
        (400.., Method::Get | Method::Post) if !is_json() => {
            not_acme(format!("answers with status {} and without an ACME problem document", reply.status))
        }
        (status @ 400.., Method::Head) => {
            not_acme(format!("answers with status {status} in place of a nonce"))
        }
        _ => Ok(reply),
    }
}

fn theirs(method: Method, reply: Reply) -> BytesResponse {
    let mut headers = HeaderMap::new();
    let again = reply.retry_after.or_else(|| (method == Method::Get).then(|| ASK_AGAIN.to_owned()));
    for (name, value) in [(REPLAY_NONCE, reply.nonce), (LOCATION, reply.location), (RETRY_AFTER, again)] {
        if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
            headers.insert(name, value);
        }
    }
    let mut response = http::Response::new(());
    // What is no status code at all is a refusal.
    *response.status_mut() =
        http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    *response.headers_mut() = headers;
    BytesResponse { parts: response.into_parts().0, body: Box::new(reply.body) }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "the CA's own certificate is not trusted",
            Self::Unreachable => "the CA cannot be reached",
            Self::NotAcme => "this is no ACME server",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &'static str) -> Reply {
        Reply { status, body: Bytes::from_static(body.as_bytes()), ..Reply::default() }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let read = |text| RetryAfter::read(text).map(|after| after.from(now).as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read("Sat, 21 Nov 2026 10:01:30 GMT"), Some(90));
        assert_eq!(read("Sat, 21 Nov 2026 09:00:00 GMT"), Some(0), "the time is over");
        assert_eq!((read(""), read("soon"), read("-5")), (None, None, None));
    }

    #[test]
    fn what_is_no_acme_server_is_told_as_such() {
        let url = "https://ca.example/dir";
        for (method, status, body, words) in [
            (Method::Get, 200, "<html>", "not JSON"),
            (Method::Get, 404, "not found", "status 404"),
            (Method::Post, 502, "", "status 502"),
            (Method::Get, 302, "", "leads elsewhere"),
            (Method::Head, 404, "", "in place of a nonce"),
        ] {
            let error = examined(method, url, reply(status, body)).unwrap_err();
            assert_eq!(error.fault, Fault::NotAcme);
            assert!(error.words.contains(words) && error.words.contains(url), "{error}");
        }
        assert!(examined(Method::Get, url, reply(404, "{}")).is_ok(), "a problem document is a reply");
        assert!(examined(Method::Post, url, reply(200, "-----BEGIN CERTIFICATE-----")).is_ok());
    }
}
