//! What was asked.

use std::net::IpAddr;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Uri, Version};

/// Fields that proxies add; one of them is enough to know that the client is somebody else. All that begin with
/// `x-forwarded` are such, too.
const OF_PROXIES: [&str; 10] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-proxyuser-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
];
const FORWARDED: &str = "x-forwarded";

/// A whole request.
pub(crate) struct Request {
    /// Who is connected: the client, or a proxy on its way.
    pub(crate) client: IpAddr,
    /// What is to be done. HEAD comes as GET, and its answer goes without the body.
    pub(crate) method: Method,
    /// The whole body.
    pub(crate) body: Bytes,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
}

/// How a request came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A program connected to us.
    Direct,
    /// A browser sent it, on behalf of whatever page it showed.
    Browser,
    /// A proxy passed it on, so that nothing is known about the client.
    Proxy,
}

impl Request {
    pub(super) fn new(client: IpAddr, head: hyper::http::request::Parts, body: Bytes) -> Self {
        let method = if head.method == Method::HEAD { Method::GET } else { head.method };
        Self { client, method, body, uri: head.uri, version: head.version, headers: head.headers }
    }

    /// The path as it was written, without the query.
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// The media type of the body as it was written, with its parameters.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    /// The value of a parameter in the query, if it is there and well written.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))?;
        percent_decoded(&value.replace('+', " "))
    }

    /// How it came here. Every browser says where a POST comes from (Fetch §3.1). Programs speak HTTP/1.1; the older version
    /// is what proxies use that add nothing to what they pass on.
    pub(crate) fn way(&self) -> Way {
        let has = |name: &str| self.headers.contains_key(name);
        if self.version < Version::HTTP_11 || self.is_forwarded() {
            Way::Proxy
        } else if has("origin") || has("sec-fetch-site") {
            Way::Browser
        } else {
            Way::Direct
        }
    }

    fn is_forwarded(&self) -> bool {
        let of_proxy = |name: &str| OF_PROXIES.contains(&name) || name.starts_with(FORWARDED);
        self.headers.keys().any(|name| of_proxy(name.as_str()))
    }
}

/// A piece of a path or of a form with its `%` sequences undone (RFC 3986 §2.1); `None` where one of them is none, or what
/// comes out is no UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            octets.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        octets.push(hex(digits[0])? << 4 | hex(digits[1])?);
        rest = after;
    }
    String::from_utf8(octets).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &str)]) -> Request {
        let mut request = hyper::Request::new(());
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Request::new([127, 0, 0, 1].into(), request.into_parts().0, Bytes::new())
    }

    #[test]
    fn percent_sequences_are_undone_or_refused() {
        for (written, meant) in [
            ("a%2Fb%2bc%3D", Some("a/b+c=")),
            ("plain", Some("plain")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(written).as_deref(), meant, "{written}");
        }
    }

    #[test]
    fn what_a_browser_or_a_proxy_sent_is_known_as_such() {
        assert_eq!(request(&[]).way(), Way::Direct);
        assert_eq!(request(&[("origin", "http://evil.example")]).way(), Way::Browser);
        assert_eq!(request(&[("sec-fetch-site", "none")]).way(), Way::Browser);
        for field in [
            "forwarded",
            "via",
            "x-forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-forwarded-server",
            "x-real-ip",
            "x-client-ip",
            "cf-connecting-ip",
            "true-client-ip",
            "x-cluster-client-ip",
        ] {
            assert_eq!(request(&[(field, "192.0.2.1"), ("origin", "null")]).way(), Way::Proxy, "{field}");
        }
    }

    #[test]
    fn http_1_0_is_taken_for_a_proxy_that_says_nothing_of_itself() {
        let of = |version| {
            let (mut head, ()) = hyper::Request::new(()).into_parts();
            head.version = version;
            Request::new([127, 0, 0, 1].into(), head, Bytes::new()).way()
        };
        assert_eq!((of(Version::HTTP_10), of(Version::HTTP_11)), (Way::Proxy, Way::Direct));
    }

    #[test]
    fn a_parameter_of_the_query_is_found_by_its_name() {
        let mut request = hyper::Request::new(());
        *request.uri_mut() = "/ca/requests?a=b&purpose=cl%69ent&bad=%zz".parse().unwrap();
        let request = Request::new([127, 0, 0, 1].into(), request.into_parts().0, Bytes::new());
        let values = ["purpose", "a", "bad", "none"].map(|name| request.parameter(name));
        assert_eq!(values, [Some("client".into()), Some("b".into()), None, None]);
        assert_eq!(request.path(), "/ca/requests");
    }
}
