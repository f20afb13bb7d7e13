//! What stands at which path, and what may be done there.

use hyper::Method;
use postern_pki::ca::{CRL_PATH, ISSUER_PATH, OCSP_PATH};

/// Where requests are sent.
pub(super) const REQUESTS_PATH: &str = "/ca/requests";
/// A longer id is none of ours.
const LONGEST_ID: usize = 64;

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The root certificate.
    Root(Encoding),
    /// The root certificate as a profile for Apple's systems.
    Profile,
    /// The certificate of what signs.
    Issuer,
    /// The CA's own certificates.
    Chain,
    /// The revocation list.
    List(Encoding),
    /// An answer about a certificate; the question is the body.
    Answer,
    /// The same; the question is the end of the path.
    AnswerTo(String),
    /// Asking for a certificate.
    Ask,
    /// What became of a request.
    Request(String),
    /// The certificate that a request was for.
    Certificate(String, Certificate),
}

/// How something is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Der,
    Pem,
}

/// How a certificate is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certificate {
    Der,
    Pem,
    /// With what a server sends behind it.
    Chain,
    /// The same as Windows likes it.
    P7b,
}

impl Route {
    pub(super) fn of(path: &str) -> Option<Self> {
        if let Some(question) = path.strip_prefix(OCSP_PATH).and_then(|rest| rest.strip_prefix('/')) {
            return Some(Self::AnswerTo(question.to_owned()));
        }
        if let Some(rest) = path.strip_prefix(REQUESTS_PATH).and_then(|rest| rest.strip_prefix('/')) {
            return of_request(rest);
        }
        Some(match path {
            "/ca/root.der" | "/ca/root.crt" => Self::Root(Encoding::Der),
            "/ca/root.pem" => Self::Root(Encoding::Pem),
            "/ca/root.mobileconfig" => Self::Profile,
            "/ca/chain.pem" => Self::Chain,
            "/ca/crl.pem" => Self::List(Encoding::Pem),
            CRL_PATH => Self::List(Encoding::Der),
            ISSUER_PATH => Self::Issuer,
            OCSP_PATH => Self::Answer,
            REQUESTS_PATH => Self::Ask,
            _ => return None,
        })
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        match self {
            Self::Answer | Self::Ask => method == Method::POST,
            _ => method == Method::GET,
        }
    }

    pub(super) fn methods(&self) -> &'static str {
        if self.takes(&Method::POST) { "POST" } else { "GET, HEAD" }
    }
}

fn of_request(rest: &str) -> Option<Route> {
    let (id, part) = rest.split_once('/').unwrap_or((rest, ""));
    let sound = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
    if id.is_empty() || id.len() > LONGEST_ID || !id.bytes().all(sound) {
        return None;
    }
    let id = id.to_owned();
    Some(match part {
        "" => Route::Request(id),
        "certificate.pem" => Route::Certificate(id, Certificate::Pem),
        "certificate.der" | "certificate.crt" => Route::Certificate(id, Certificate::Der),
        "certificate.p7b" => Route::Certificate(id, Certificate::P7b),
        "chain.pem" => Route::Certificate(id, Certificate::Chain),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_stands_for_one_thing_or_nothing() {
        let id = || "abc-_123".to_owned();
        for (path, route) in [
            ("/ca/root.crt", Some(Route::Root(Encoding::Der))),
            ("/ca/crl.der", Some(Route::List(Encoding::Der))),
            ("/ca/issuer.der", Some(Route::Issuer)),
            ("/ca/ocsp", Some(Route::Answer)),
            ("/ca/ocsp/MEow//x%2B=", Some(Route::AnswerTo("MEow//x%2B=".into()))),
            ("/ca/requests", Some(Route::Ask)),
            ("/ca/requests/abc-_123", Some(Route::Request(id()))),
            ("/ca/requests/abc-_123/chain.pem", Some(Route::Certificate(id(), Certificate::Chain))),
            ("/ca/requests/abc-_123/certificate.p7b", Some(Route::Certificate(id(), Certificate::P7b))),
            ("/ca/requests/", None),
            ("/ca/requests/../x", None),
            ("/ca/requests/abc/key.pem", None),
            ("/ca/private/root.key", None),
            ("/ca/ocspx", None),
            ("/", None),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
        assert_eq!(Route::of(&format!("/ca/requests/{}", "a".repeat(65))), None);
    }

    #[test]
    fn what_asks_for_something_is_posted_and_all_else_is_fetched() {
        for (path, method) in [("/ca/requests", "POST"), ("/ca/ocsp", "POST"), ("/ca/root.pem", "GET, HEAD")]
        {
            assert_eq!(Route::of(path).unwrap().methods(), method, "{path}");
        }
    }
}
