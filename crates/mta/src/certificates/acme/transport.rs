//! How ACME's requests reach the CA: our own HTTPS client, with limits.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::header::{HeaderMap, LOCATION, RETRY_AFTER};
use hyper::{Method, Response};
use postern_pki::acme;
use postern_pki::acme::{Fault, Reply, Request, TransportError};
use postern_smtp::text;

use crate::https::{Https, HttpsError, HttpsUrl, Limits};

/// Chains are some KiB, and nothing else is larger; a CA may take its time to sign.
const LIMITS: Limits = Limits { body_most: 256 * 1024, time: Duration::from_mins(1) };
/// Of a field so many octets are taken.
const FIELD_MOST: usize = 4096;

/// The CA by HTTPS.
pub(super) struct Wire(pub(super) Https);

#[async_trait]
impl acme::Transport for Wire {
    async fn exchange(&self, request: Request) -> Result<Reply, TransportError> {
        let url: HttpsUrl = request.url.parse().map_err(|error| of_https(&error))?;
        let method = match request.method {
            acme::Method::Get => Method::GET,
            acme::Method::Head => Method::HEAD,
            acme::Method::Post => Method::POST,
        };
        let sent = self.0.send(&url, method, request.content_type, request.body, LIMITS).await;
        sent.map(reply).map_err(|error| of_https(&error))
    }
}

fn reply(response: Response<Bytes>) -> Reply {
    let headers = response.headers();
    Reply {
        status: response.status().as_u16(),
        nonce: field(headers, "replay-nonce"),
        location: field(headers, LOCATION.as_str()),
        retry_after: field(headers, RETRY_AFTER.as_str()),
        body: response.into_body(),
    }
}

fn field(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(text::clean(headers.get(name)?.to_str().ok()?, FIELD_MOST))
}

fn of_https(error: &HttpsError) -> TransportError {
    let fault = match error {
        HttpsError::Certificate { .. } => Fault::Untrusted,
        HttpsError::BadUrl { .. } | HttpsError::Protocol { .. } | HttpsError::TooLarge { .. } => {
            Fault::NotAcme
        }
        HttpsError::NoAddress { .. }
        | HttpsError::Connect { .. }
        | HttpsError::Tls { .. }
        | HttpsError::TimedOut { .. } => Fault::Unreachable,
    };
    TransportError { fault, words: error.to_string() }
}
