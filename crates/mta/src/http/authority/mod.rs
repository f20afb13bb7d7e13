//! The private CA's public face: what `[http] bind` offers to everybody.
//!
//! - `GET /ca/root.pem`, `.der`, `.crt`, `.mobileconfig`: the root certificate, to be trusted by mail programs. `/ca/issuer.der`: what signs
//!   (RFC 5280 §4.2.2.1). `/ca/chain.pem`: both.
//! - `GET /ca/crl.der`, `.pem`: the revocation list. `POST /ca/ocsp`, `GET /ca/ocsp/…`: single answers (RFC 6960
//!   Appendix A).
//! - `POST /ca/requests`, `GET /ca/requests/ID…`: asking for certificates and fetching them; see [`enrol`].
//!
//! What blocks runs on threads of its own, a few at once. Whoever asks learns nothing of our files: what goes wrong here is
//! an alarm for the administrator. What it deliberately does not do: anything that needs to know who asks. That is
//! `postern ca`, on the machine itself.

mod body;
mod enrol;
mod p7b;
mod quota;
mod route;
#[cfg(test)]
mod tests;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use jiff::Timestamp;
use postern_pki::ca::{Authority, AuthorityError};
use postern_pki::trust::{self, Format};
use tokio::sync::Semaphore;

use super::request::percent_decoded;
use super::{Handler, Request, Response};
use crate::authority::open;
use crate::config::Config;
use crate::event::Event;
use crate::observe::Observer;
pub(crate) use quota::Quotas;
use route::{Certificate, Encoding, Route};

/// So many requests are worked on at once; more wait their turn.
const AT_ONCE: usize = 4;
/// Troubles of our own are told at most so often.
const ALARM_EVERY: i64 = 60;
/// A root stays for years; an hour is what a new one may take to be seen.
const FOR_AN_HOUR: HeaderValue = HeaderValue::from_static("public, max-age=3600");
/// What was revoked is to be seen soon. (RFC 5019 §6.2 has the other words.)
const FOR_MINUTES: HeaderValue =
    HeaderValue::from_static("public, max-age=300, no-transform, must-revalidate");
/// RFC 2585 §4.
const CERTIFICATE: &str = "application/pkix-cert";
const LIST: &str = "application/pkix-crl";
/// RFC 8555 §9.1.
const PEM_CHAIN: &str = "application/pem-certificate-chain";
const PEM: &str = "application/x-pem-file";
/// RFC 5652 as files have it.
const P7B: &str = "application/x-pkcs7-certificates";
/// RFC 6960 Appendix A.2.
const OCSP_RESPONSE: &str = "application/ocsp-response";

/// Base64 with or without its padding, which programs leave out of addresses.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Answers for the private CA of this installation.
pub(crate) struct Face {
    desk: Arc<Desk>,
    at_once: Arc<Semaphore>,
}

/// What the work needs that is done for a request.
struct Desk {
    config: Arc<Config>,
    observer: Observer,
    quotas: Arc<Quotas>,
    /// When a trouble of our own was told last, in seconds since 1970.
    alarmed: AtomicI64,
}

impl Face {
    /// For this configuration. The quotas outlive it.
    pub(crate) fn new(config: Arc<Config>, observer: Observer, quotas: Arc<Quotas>) -> Self {
        let desk = Desk { config, observer, quotas, alarmed: AtomicI64::new(0) };
        Self { desk: Arc::new(desk), at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[async_trait]
impl Handler for Face {
    async fn answer(&self, request: Request) -> Response {
        let Some(route) = Route::of(request.path()) else { return Response::not_found() };
        if !route.takes(&request.method) {
            return Response::only(route.methods());
        }
        let Ok(permit) = Arc::clone(&self.at_once).acquire_owned().await else {
            return Response::busy("this server is being stopped");
        };
        let (desk, now) = (Arc::clone(&self.desk), Timestamp::now());
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            desk.answer(&route, &request, now)
        });
        work.await.unwrap_or_else(|_| Response::busy("this could not be answered"))
    }
}

impl Desk {
    fn answer(&self, route: &Route, request: &Request, now: Timestamp) -> Response {
        let answer = match route {
            Route::Ask => enrol::ask(self, request, now),
            route => self.authority(now).and_then(|authority| self.show(&authority, route, request, now)),
        };
        answer.unwrap_or_else(|error| self.refuse(&error, now))
    }

    fn authority(&self, now: Timestamp) -> Result<Authority, AuthorityError> {
        open(&self.config, now)
    }

    fn show(
        &self,
        authority: &Authority,
        route: &Route,
        request: &Request,
        now: Timestamp,
    ) -> Result<Response, AuthorityError> {
        Ok(match route {
            Route::Root(Encoding::Der) => lasting(CERTIFICATE, authority.root().to_vec()),
            Route::Root(Encoding::Pem) => lasting(PEM, certificate_pem(authority.root())),
            Route::Profile => lasting(Format::Profile.media_type(), trust::profile(authority.root())),
            Route::Issuer => lasting(CERTIFICATE, authority.issuer().to_vec()),
            Route::Chain => lasting(PEM_CHAIN, authority.authorities_pem()),
            Route::List(encoding) => list(authority, *encoding)?,
            Route::AnswerTo(question) => by_address(authority, question, now),
            Route::Answer => Response::found(OCSP_RESPONSE, authority.ocsp(&request.body, now)),
            Route::Request(id) => enrol::state(self, authority, id, now)?,
            Route::Certificate(id, form) => enrol::certificate(authority, id, *form, now)?,
            Route::Ask => Response::not_found(),
        })
    }

    /// What the other side is told of a trouble. Our own is an alarm, and not told.
    fn refuse(&self, error: &AuthorityError, now: Timestamp) -> Response {
        trouble::of_sender(error).unwrap_or_else(|| {
            self.complain(error, now);
            Response::busy("the authority cannot do this just now; its administrator was told")
        })
    }

    fn complain(&self, error: &dyn std::error::Error, now: Timestamp) {
        let (now, last) = (now.as_second(), self.alarmed.load(Ordering::Relaxed));
        if now.saturating_sub(last) < ALARM_EVERY {
            return;
        }
        self.alarmed.store(now, Ordering::Relaxed);
        self.observer.daemon(Event::Alarm {
            what: format!("the private CA could not answer a request over HTTP: {error}"),
            remedy: "mend what is said there; postern ca status shows more".into(),
        });
    }
}

fn list(authority: &Authority, encoding: Encoding) -> Result<Response, AuthorityError> {
    let Some(list) = authority.crl()? else {
        let error = "no revocation list was signed yet";
        return Ok(Response::problem(StatusCode::NOT_FOUND, error, "try again later"));
    };
    let response = match encoding {
        Encoding::Der => Response::found(LIST, list.der),
        Encoding::Pem => Response::found(PEM, list.pem()),
    };
    Ok(response.with(CACHE_CONTROL, FOR_MINUTES))
}

/// A question in the address (RFC 6960 Appendix A.1), as caches like it.
fn by_address(authority: &Authority, question: &str, now: Timestamp) -> Response {
    let question = percent_decoded(question).and_then(|question| BASE64.decode(question).ok());
    let answer = authority.ocsp(&question.unwrap_or_default(), now);
    // An answer without a response says nothing about any certificate (RFC 6960 §4.2.1).
    let is_refusal = answer.len() < 16;
    let response = Response::found(OCSP_RESPONSE, answer);
    if is_refusal { response } else { response.with(CACHE_CONTROL, FOR_MINUTES) }
}

fn certificate_pem(der: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> =
        base64.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// What rarely changes.
fn lasting(media_type: &'static str, content: impl Into<bytes::Bytes>) -> Response {
    Response::found(media_type, content).with(CACHE_CONTROL, FOR_AN_HOUR)
}

/// The certificate of a request, in the form that was asked for.
fn in_form(authority: &Authority, der: &[u8], form: Certificate) -> Response {
    match form {
        Certificate::Der => Response::found(CERTIFICATE, der.to_vec()),
        Certificate::Pem => Response::found(PEM, certificate_pem(der)),
        Certificate::Chain => Response::found(PEM_CHAIN, authority.chain_pem(der)),
        Certificate::P7b => Response::found(P7B, p7b::certificates_only(&authority.chain_of(der))),
    }
}
