//! The answers to HTTP-01 challenges (RFC 8555 §8.3) while they are open.
//!
//! [`Answers`] is a table that all `[[acme]]` share, and the handler of their port: it knows one kind of page, and for
//! everything else there is nothing there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use hyper::Method;

use crate::http::{Handler, Request, Response};

/// What all pages begin with.
const BELOW: &str = "/.well-known/acme-challenge/";

/// Token → what is to be shown. Cheap to clone; all clones are one table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers(Arc<Mutex<HashMap<String, String>>>);

impl Answers {
    /// Shows this from now on.
    pub(super) fn put(&self, token: &str, answer: &str) {
        self.lock().insert(token.to_owned(), answer.to_owned());
    }

    /// Shows it no more.
    pub(super) fn take(&self, token: &str) {
        self.lock().remove(token);
    }

    fn answer_at(&self, path: &str) -> Option<String> {
        self.lock().get(path.strip_prefix(BELOW)?).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Handler for Answers {
    async fn answer(&self, request: Request) -> Response {
        match self.answer_at(request.path()) {
            Some(_) if request.method != Method::GET => Response::only("GET"),
            // RFC 8555 §8.3: the type may be anything; this one no program interprets.
            Some(answer) => Response::found("application/octet-stream", answer),
            None => Response::not_found(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_open_challenges_are_answered() {
        let answers = Answers::default();
        answers.put("abc", "abc.thumb");
        assert_eq!(answers.answer_at("/.well-known/acme-challenge/abc").as_deref(), Some("abc.thumb"));
        for path in [
            "/",
            "/abc",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/abc/",
            "/.well-known/acme-challenge/../acme-challenge/abc",
        ] {
            assert_eq!(answers.answer_at(path), None, "{path}");
        }
        answers.take("abc");
        assert_eq!(answers.answer_at("/.well-known/acme-challenge/abc"), None);
    }
}
