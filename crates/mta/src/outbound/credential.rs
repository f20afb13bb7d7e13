//! What a connector signs in with, read at each attempt so that a changed secret counts at once.
//!
//! [`find`] gives the credential of a connector: a password or an access token from a file, a token fetched from an OAuth
//! server, or nothing but the client certificate. What it deliberately does not do: decide whether the peer may see it
//! (the session does, by its proofs), or choose the mechanism.

use std::path::Path;

use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::sasl::Credential;
use postern_smtp::secret::Secret;

use crate::config::{Connector, CredentialFile, CredentialSource};
use crate::daemon::{Shared, Site};

/// What to sign in with; `None` where the connector does not sign in.
///
/// # Errors
/// Why the secret is not to be had: every recipient waits.
pub(crate) async fn find(
    shared: &Shared,
    site: &Site,
    connector: &Connector,
) -> Result<Option<Credential>, Trouble> {
    let Some(source) = &connector.credential else { return Ok(None) };
    let withheld = |why: String| Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why));
    match source {
        CredentialSource::Password(CredentialFile { user, password_file }) => {
            let password = first_line(password_file).await.map_err(withheld)?;
            Ok(Some(Credential::Password { user: user.clone(), password, acting_as: None }))
        }
        CredentialSource::Token { user, token_file } => {
            let token = first_line(token_file).await.map_err(withheld)?;
            Ok(Some(Credential::Token { user: user.clone(), token, endpoint: None }))
        }
        CredentialSource::OAuth { user, endpoint } => {
            let token = shared
                .tokens
                .token(&site.network.https, &connector.name.0, endpoint)
                .await
                .map_err(withheld)?;
            Ok(Some(Credential::Token { user: user.clone(), token, endpoint: None }))
        }
        CredentialSource::External => Ok(Some(Credential::External { acting_as: None })),
    }
}

/// The first line of a file that holds a secret.
pub(crate) async fn first_line(path: &Path) -> Result<Secret, String> {
    let text =
        tokio::fs::read(path).await.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let line = text.split(|octet| *octet == b'\n').next().unwrap_or_default();
    let secret = line.strip_suffix(b"\r").unwrap_or(line);
    if secret.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(Secret::new(secret))
}
