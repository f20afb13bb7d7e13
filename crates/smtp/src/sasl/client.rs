//! The client's side of an exchange.

use base64::Engine;
use zeroize::Zeroizing;

use super::{BASE64, Credential, Mechanism};
use crate::secret::Secret;

/// An exchange that a client carries on until the server answers with something else than 334.
#[derive(Debug)]
pub struct ClientExchange {
    remaining: Vec<Secret>,
}

/// How an exchange begins: `AUTH mechanism [initial]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// The mechanism's name.
    pub mechanism: &'static str,
    /// The initial response, in base64, when the mechanism sends one (RFC 4954 §4).
    pub initial: Option<Secret>,
}

impl ClientExchange {
    /// Chooses the best mechanism that the server offers and that can carry the credential.
    ///
    /// `None` when there is none; nothing of the credential has been said then.
    pub fn start(mechanisms: &[String], credential: &Credential) -> Option<(Self, Start)> {
        let offered =
            |mechanism: &Mechanism| mechanisms.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name()));
        Mechanism::ALL.into_iter().filter(offered).find_map(|mechanism| match mechanism {
            Mechanism::Plain => plain(credential),
            Mechanism::Login => login(credential),
        })
    }

    /// What to answer to a 334, in base64. `None`: the server asks for more than the mechanism has to say, so cancel
    /// with `*`.
    ///
    /// The challenge's text is not looked at: neither mechanism depends on it, and servers word it differently.
    pub fn respond(&mut self, _challenge: &str) -> Option<Secret> {
        if self.remaining.is_empty() { None } else { Some(self.remaining.remove(0)) }
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(credential: &Credential) -> Option<(ClientExchange, Start)> {
    let Credential::Password { user, password, acting_as } = credential;
    let acting_as = acting_as.as_deref().unwrap_or_default();
    let parts = [acting_as.as_bytes(), user.as_bytes(), password.expose()];
    if user.is_empty() || parts.iter().any(|part| part.contains(&0)) {
        return None;
    }
    let message = Zeroizing::new(parts.join(&0));
    let start = Start { mechanism: Mechanism::Plain.name(), initial: Some(encode(&message)) };
    Some((ClientExchange { remaining: Vec::new() }, start))
}

/// The name at the first challenge, the password at the second. LOGIN knows no authorisation identity.
fn login(credential: &Credential) -> Option<(ClientExchange, Start)> {
    let Credential::Password { user, password, acting_as } = credential;
    if user.is_empty() || acting_as.as_ref().is_some_and(|other| other != user) {
        return None;
    }
    let remaining = vec![encode(user.as_bytes()), encode(password.expose())];
    Some((ClientExchange { remaining }, Start { mechanism: Mechanism::Login.name(), initial: None }))
}

fn encode(bytes: &[u8]) -> Secret {
    Secret::new(BASE64.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential::Password {
            user: "tim".into(),
            password: Secret::new("tanstaaftanstaaf"),
            acting_as: None,
        }
    }

    fn offered(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn plain_is_preferred_and_sent_at_once() {
        let (mut exchange, start) =
            ClientExchange::start(&offered(&["LOGIN", "plain"]), &credential()).unwrap();
        assert_eq!(start.mechanism, "PLAIN");
        assert_eq!(start.initial, Some(Secret::new("AHRpbQB0YW5zdGFhZnRhbnN0YWFm")));
        assert_eq!(exchange.respond(""), None);
    }

    #[test]
    fn login_answers_two_challenges_and_no_third() {
        let (mut exchange, start) = ClientExchange::start(&offered(&["LOGIN"]), &credential()).unwrap();
        assert_eq!(start, Start { mechanism: "LOGIN", initial: None });
        assert_eq!(exchange.respond("VXNlcm5hbWU6"), Some(Secret::new("dGlt")));
        assert_eq!(exchange.respond("UGFzc3dvcmQ6"), Some(Secret::new("dGFuc3RhYWZ0YW5zdGFhZg==")));
        assert_eq!(exchange.respond("TW9yZTo="), None);
    }

    #[test]
    fn nothing_is_said_in_a_mechanism_that_cannot_carry_it() {
        assert!(ClientExchange::start(&offered(&["GSSAPI"]), &credential()).is_none());
        let with_nul =
            Credential::Password { user: "t\0".into(), password: Secret::new("x"), acting_as: None };
        assert!(ClientExchange::start(&offered(&["PLAIN"]), &with_nul).is_none());
        let acting = Credential::Password {
            user: "tim".into(),
            password: Secret::new("x"),
            acting_as: Some("ann".into()),
        };
        assert!(ClientExchange::start(&offered(&["LOGIN"]), &acting).is_none());
    }
}
