//! What a connector signs in with, read at each attempt so that a changed secret counts at once.
//!
//! [`find`] gives the credential of a connector: a password or an access token from a file, a token fetched from an OAuth
//! server, or nothing but the client certificate. [`shown_to`] adds which server it is for on one connection. What it deliberately does not do: decide whether the peer may see it
//! (the session does, by its proofs), or choose the mechanism.

use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::sasl::Credential;

use super::route::Socket;
use crate::config::{Connector, CredentialFile, CredentialSource};
use crate::daemon::{Shared, Site};
use crate::secret_file::first_line;

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

/// The credential as one server gets it: with an access token goes the name and port that were connected to, by which
/// the server can tell that it was meant (RFC 7628 §3.1). A socket in the file system has neither.
pub(crate) fn shown_to(mut credential: Credential, server_name: &str, at: &Socket) -> Credential {
    if let (Credential::Token { endpoint, .. }, Socket::Tcp(address)) = (&mut credential, at) {
        *endpoint = Some((server_name.to_owned(), address.port()));
    }
    credential
}

#[cfg(test)]
mod tests {
    use postern_smtp::secret::Secret;

    use super::*;

    #[test]
    fn an_access_token_names_the_server_that_was_connected_to() {
        let shown = |at: &Socket| {
            let credential = Credential::Token { user: "u".into(), token: Secret::new("t"), endpoint: None };
            match shown_to(credential, "smtp.example.net", at) {
                Credential::Token { endpoint, .. } => endpoint,
                other => panic!("{other:?}"),
            }
        };
        let over_tcp = Socket::Tcp("192.0.2.1:587".parse().unwrap());
        assert_eq!(shown(&over_tcp), Some(("smtp.example.net".to_owned(), 587)));
        assert_eq!(shown(&Socket::Unix("smtp.sock".into())), None);
    }
}
