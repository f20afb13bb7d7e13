//! What is answered.

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use serde::Serialize;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why something was not done, as programs read it and people understand it.
#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
    remedy: &'a str,
}

impl Response {
    /// Content of some media type. Nobody may guess another one, run it, or keep it, unless
    /// [`with`](Self::with) says so.
    pub(crate) fn new(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { status, headers, body: body.into() }
    }

    /// Content of some media type, as asked for.
    pub(crate) fn found(media_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, media_type, body)
    }

    /// A value for programs.
    pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        // Our own types have no keys that JSON could not write.
        let mut text = serde_json::to_vec(value).unwrap_or_default();
        text.push(b'\n');
        Self::new(status, "application/json", text)
    }

    /// Says what is wrong, and what to do.
    pub(crate) fn problem(status: StatusCode, error: &str, remedy: &str) -> Self {
        Self::json(status, &Problem { error, remedy })
    }

    /// There is nothing at this path.
    pub(crate) fn not_found() -> Self {
        Self::problem(StatusCode::NOT_FOUND, "there is nothing here", "check the address")
    }

    /// The path takes other methods (RFC 9110 §15.5.6).
    pub(crate) fn only(methods: &'static str) -> Self {
        let remedy = format!("use {methods}");
        Self::problem(StatusCode::METHOD_NOT_ALLOWED, "that cannot be done here", &remedy)
            .with(ALLOW, HeaderValue::from_static(methods))
    }

    /// There is no room for this just now.
    pub(crate) fn busy(error: &str) -> Self {
        Self::problem(StatusCode::SERVICE_UNAVAILABLE, error, "try again in a minute")
            .with(RETRY_AFTER, HeaderValue::from_static("60"))
    }

    /// With a header field of this value, in place of what it had.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}
