//! Asking for a certificate over HTTP.
//!
//! `POST /ca/requests` takes a PKCS #10 and answers 202 when it waits for approval, 201 when it was issued at once. The
//! same request sent again is the same one. Its id cannot be guessed: whoever has it may see what becomes of the request.
//!
//! Anybody can send anything here. What is issued at once needs the policy's word for every name, a client in
//! `[ca] automatic_from`, and a program that connects by itself: what a browser sends, a page on some other server may
//! have made it send, and what a proxy sends may come from anywhere.

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION, RETRY_AFTER};
use jiff::Timestamp;
use postern_pki::ca::{
    Answer, Authority, AuthorityError, Enrolment, Issued, Novelty, Purpose, State, Submission, Submitted,
    Verdict,
};
use serde::Serialize;

use super::quota::{Kin, Refusal};
use super::route::{Certificate, REQUESTS_PATH};
use super::{Desk, body, in_form};
use crate::admin::authority::usual_purpose;
use crate::authority::{Error, read_request, signer, signs_alone};
use crate::event::Event;
use crate::http::request::Way;
use crate::http::{Request, Response};

/// Who waits for approval may ask again after so many seconds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("300");

/// What programs are told of a request.
#[derive(Serialize)]
struct Told<'t> {
    id: &'t str,
    state: &'static str,
    purpose: &'static str,
    names: &'t [String],
    received: Timestamp,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'t str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
}

/// Takes a request.
pub(super) fn ask(desk: &Desk, request: &Request, now: Timestamp) -> Result<Response, AuthorityError> {
    let kin = if is_near(desk, request.client) { Kin::Near } else { Kin::Stranger };
    if let Err(refusal) = desk.quotas.take(request.client, kin, now) {
        return Ok(not_counted(refusal));
    }
    let authority = desk.authority(now)?;
    let bad = |error: &str| Ok(Response::problem(StatusCode::BAD_REQUEST, error, HOW));
    let brought = match body::read(request.content_type(), &request.body) {
        Ok(brought) => brought,
        Err(error) => return bad(error),
    };
    let signing = match read_request(&brought.request) {
        Ok(signing) => signing,
        Err(Error::Authority(error)) => return Err(error),
        Err(error) => return bad(&error.to_string()),
    };
    let wished = brought.purpose.or_else(|| request.parameter("purpose"));
    let purpose = match wished.map(|word| word.parse::<Purpose>()).transpose() {
        Ok(purpose) => purpose.unwrap_or_else(|| usual_purpose(&signing.names)),
        Err(error) => return bad(&error),
    };
    let from = request.client.to_string();
    let submission = Submission { request: &signing, purpose, from: &from };
    let submitted = submit(desk, &authority, &submission, request, now)?;
    let enrolment = authority.request(&submitted.id, now)?;
    if submitted.novelty == Novelty::New {
        tell(desk, &enrolment);
    }
    let issued = authority.issued_for(&submitted.id)?;
    Ok(taken(desk, &submitted, &told(desk, &enrolment, issued.as_ref())))
}

/// What became of a request.
pub(super) fn state(
    desk: &Desk,
    authority: &Authority,
    id: &str,
    now: Timestamp,
) -> Result<Response, AuthorityError> {
    let enrolment = authority.request(id, now)?;
    let issued = authority.issued_for(id)?;
    let response = Response::json(StatusCode::OK, &told(desk, &enrolment, issued.as_ref()));
    Ok(if enrolment.state == State::Waiting { response.with(RETRY_AFTER, ASK_AGAIN) } else { response })
}

/// The certificate that a request was for.
pub(super) fn certificate(
    authority: &Authority,
    id: &str,
    form: Certificate,
    now: Timestamp,
) -> Result<Response, AuthorityError> {
    if let Some(issued) = authority.issued_for(id)? {
        return Ok(in_form(authority, &issued.der, form));
    }
    let conflict = |error: &str, remedy| Ok(Response::problem(StatusCode::CONFLICT, error, remedy));
    match authority.request(id, now)?.state {
        State::Waiting | State::Issued(_) => {
            let answer = conflict("the request waits for approval", "ask again later");
            answer.map(|answer| answer.with(RETRY_AFTER, ASK_AGAIN))
        }
        State::Denied { reason, .. } => {
            conflict(&format!("the request was denied: {reason}"), "send one that can be approved")
        }
        State::Expired => conflict("nobody decided on the request in time", "send it again"),
    }
}

const HOW: &str =
    "send a certificate request (PKCS #10) in PEM or DER as the body, or as the field \"request\" of a form";

fn submit(
    desk: &Desk,
    authority: &Authority,
    submission: &Submission<'_>,
    request: &Request,
    now: Timestamp,
) -> Result<Submitted, AuthorityError> {
    let policy = &desk.config.ca.policy;
    let verdict = policy.judge(submission.request, submission.purpose)?;
    let at_once = verdict == Verdict::Automatic
        && request.way() == Way::Direct
        && is_near(desk, request.client)
        && signs_alone(authority, &desk.config);
    let opened = at_once.then(|| signer(authority, &desk.config, None)).transpose();
    let signer = opened.unwrap_or_else(|error| {
        // It can still be approved by hand.
        desk.complain(&error, now);
        None
    });
    authority.submit(submission, policy, signer.as_ref().map_or(Answer::Later, Answer::AtOnce), now)
}

fn is_near(desk: &Desk, client: IpAddr) -> bool {
    desk.config.ca.automatic_from.iter().any(|network| network.contains(&client))
}

fn tell(desk: &Desk, enrolment: &Enrolment) {
    let (id, names, from) = (enrolment.id.clone(), enrolment.names.clone(), enrolment.from.clone());
    desk.observer.daemon(match &enrolment.state {
        State::Issued(serial) => Event::CertificateGranted { serial: serial.to_string(), names, from },
        _ => Event::CertificateRequested { id, names, from },
    });
}

fn taken(desk: &Desk, submitted: &Submitted, told: &Told<'_>) -> Response {
    let status = match submitted.state {
        State::Issued(_) => StatusCode::CREATED,
        _ => StatusCode::ACCEPTED,
    };
    let response = Response::json(status, told);
    let response =
        if status == StatusCode::ACCEPTED { response.with(RETRY_AFTER, ASK_AGAIN) } else { response };
    match HeaderValue::try_from(address(desk, &submitted.id)) {
        Ok(location) => response.with(LOCATION, location),
        Err(_) => response,
    }
}

fn told<'t>(desk: &Desk, enrolment: &'t Enrolment, issued: Option<&Issued>) -> Told<'t> {
    let url = address(desk, &enrolment.id);
    let reason = match &enrolment.state {
        State::Denied { reason, .. } => Some(reason.as_str()),
        _ => None,
    };
    Told {
        id: &enrolment.id,
        state: match enrolment.state {
            State::Waiting => "waiting",
            State::Issued(_) => "issued",
            State::Denied { .. } => "denied",
            State::Expired => "expired",
        },
        purpose: enrolment.purpose.token(),
        names: &enrolment.names,
        received: enrolment.received,
        reason,
        serial: issued.map(|issued| issued.serial.to_string()),
        not_after: issued.map(|issued| issued.not_after),
        certificate: issued.map(|_| format!("{url}/certificate.pem")),
        chain: issued.map(|_| format!("{url}/chain.pem")),
        url,
    }
}

/// Where a request is seen: whole, if the configuration says where we are reached, else from the root of this server.
fn address(desk: &Desk, id: &str) -> String {
    let base = desk.config.ca.policy.url.as_deref().unwrap_or_default();
    format!("{base}{REQUESTS_PATH}/{id}")
}

fn not_counted(refusal: Refusal) -> Response {
    let (status, error, seconds) = match refusal {
        Refusal::Spent(seconds) => {
            (StatusCode::TOO_MANY_REQUESTS, "too many requests came from this address", seconds)
        }
        Refusal::Crowded(seconds) => {
            let error = "so many others asked within the hour that no more requests are taken";
            (StatusCode::SERVICE_UNAVAILABLE, error, seconds)
        }
    };
    let remedy = format!("try again after {seconds} seconds");
    Response::problem(status, error, &remedy).with(RETRY_AFTER, seconds.into())
}
