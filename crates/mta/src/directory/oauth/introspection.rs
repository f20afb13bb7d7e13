//! Asking the provider what a token is good for (RFC 7662).
//!
//! An [`Introspection`] sends the token and says who asks; the answer are claims, or that the token is good for nothing. The
//! secret is read from its file each time, so that a changed one counts at once. What it deliberately does not do: keep
//! answers.

use std::path::PathBuf;

use serde_json::Value;

use super::claims::Claims;
use super::{Provider, bad};
use crate::directory::Denied;
use crate::https::{Form, HttpsUrl, Reply, basic};
use crate::secret_file::first_line;

/// The endpoint, and who Postern is there.
#[derive(Debug)]
pub(super) struct Introspection {
    url: HttpsUrl,
    client: Option<(String, PathBuf)>,
    provider: Provider,
}

impl Introspection {
    pub(super) fn new(url: HttpsUrl, client: Option<(String, PathBuf)>, provider: Provider) -> Self {
        Self { url, client, provider }
    }

    /// What a token is good for.
    ///
    /// # Errors
    /// Refused: nothing, says the provider. Unavailable: it says neither.
    pub(super) async fn ask(&self, token: &str) -> Result<Claims, Denied> {
        let reply = self.exchange(token).await.map_err(|why| self.unavailable(&why))?;
        match reply.status {
            200 => {}
            // RFC 7662 §2.3
            401 | 403 => {
                return Err(self.unavailable(
                    "it refuses Postern itself: correct client_id, or the first line of client_secret_file",
                ));
            }
            status => return Err(self.unavailable(&format!("it answers with status {status}"))),
        }
        let claims = Claims::parse(&reply.body).map_err(|why| self.unavailable(&why))?;
        // RFC 7662 §2.2: the one member that is required.
        match claims.member("active") {
            Some(Value::Bool(true)) => Ok(claims),
            Some(Value::Bool(false)) => Err(bad("its provider says that it is not, or no longer, valid")),
            _ => Err(self.unavailable("its answer does not say whether the token is active")),
        }
    }

    async fn exchange(&self, token: &str) -> Result<Reply, String> {
        let https = self.provider.https.as_ref().map_err(Clone::clone)?;
        let authorization = match &self.client {
            Some((name, file)) => {
                let secret = first_line(file).await?;
                let unusable = || format!("the first line of {} cannot be sent", file.display());
                Some(basic(name, &secret).ok_or_else(unusable)?)
            }
            None => None,
        };
        let mut form = Form::default();
        form.add("token", token.as_bytes());
        form.add("token_type_hint", b"access_token");
        let limits = self.provider.limits;
        https.submit(&self.url, form, authorization, limits).await.map_err(|error| error.to_string())
    }

    fn unavailable(&self, why: &str) -> Denied {
        Denied::Unavailable(format!("{}: {why}", self.url))
    }
}
