//! What the other side is told when something is not done.

use hyper::StatusCode;
use postern_pki::ca::{AuthorityError, PolicyError};

use crate::http::Response;

/// The answer to a trouble that is the sender's to mend; `None` where it is ours.
pub(super) fn of_sender(error: &AuthorityError) -> Option<Response> {
    let (status, remedy) = match error {
        AuthorityError::Request(_) | AuthorityError::Forbidden(PolicyError::Unreadable(_)) => {
            (StatusCode::BAD_REQUEST, "make the request anew, and send it as PKCS #10 in PEM or DER")
        }
        AuthorityError::Forbidden(_) => {
            (StatusCode::FORBIDDEN, "ask for what this authority issues, or ask its administrator")
        }
        AuthorityError::NoSuchRequest { .. } => {
            let (error, remedy) =
                ("there is no such request, or it was decided on long ago", "send it again");
            return Some(Response::problem(StatusCode::NOT_FOUND, error, remedy));
        }
        AuthorityError::Absent { .. } => {
            let (error, remedy) = ("there is no private CA here", "ask the administrator of this server");
            return Some(Response::problem(StatusCode::NOT_FOUND, error, remedy));
        }
        AuthorityError::Full { .. } => {
            return Some(Response::busy("so many requests wait for approval that no more are taken"));
        }
        _ => return None,
    };
    Some(Response::problem(status, &error.to_string(), remedy))
}
