//! The server's side of an exchange.

use base64::Engine;
use zeroize::Zeroizing;

use super::{BASE64, Credential, Mechanism};
use crate::secret::Secret;

/// An exchange that a server carries on. It owns what was said so far and wipes it when it is dropped.
#[derive(Debug)]
pub enum ServerExchange {
    /// PLAIN, waiting for its only message.
    Plain,
    /// LOGIN, waiting for the name.
    LoginName,
    /// LOGIN, waiting for the password.
    LoginPassword {
        /// The name that was given.
        user: String,
    },
    /// EXTERNAL, waiting for its only message.
    External,
}

/// What a line of the client's led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send `334` with this base64 text and wait for the next line.
    Challenge(&'static str),
    /// The exchange is complete.
    Complete(Credential),
    /// The line was not base64, or not what the mechanism asks for (501).
    Malformed,
}

impl ServerExchange {
    /// Begins an exchange, with the initial response in base64 when there was one (`=` stands for an empty one,
    /// RFC 4954 §4).
    ///
    /// `None`: the mechanism is one that Postern knows as a client only. Whether EXTERNAL may be used here, the session
    /// decides before.
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> Option<(Self, Step)> {
        let mut exchange = match mechanism {
            Mechanism::Plain => Self::Plain,
            Mechanism::Login => Self::LoginName,
            Mechanism::External => Self::External,
            Mechanism::ScramSha256Plus
            | Mechanism::ScramSha256
            | Mechanism::OauthBearer
            | Mechanism::Xoauth2 => return None,
        };
        let step = match initial {
            None => exchange.challenge(),
            Some(b"=") => exchange.respond(b""),
            Some(line) => exchange.respond(line),
        };
        Some((exchange, step))
    }

    /// Takes a line of the client's, without its line end. `*` must have been looked for before.
    pub fn respond(&mut self, line: &[u8]) -> Step {
        let Ok(message) = BASE64.decode(line).map(Zeroizing::new) else {
            return Step::Malformed;
        };
        match self {
            Self::Plain => plain(&message).map_or(Step::Malformed, Step::Complete),
            Self::External => external(&message).map_or(Step::Malformed, Step::Complete),
            Self::LoginName => self.login_name(&message),
            Self::LoginPassword { user } => {
                Step::Complete(password_of(std::mem::take(user), Secret::new(message.to_vec()), None))
            }
        }
    }

    /// The texts of LOGIN's challenges are what clients compare, if any compare at all: `Username:`, `Password:`.
    fn challenge(&self) -> Step {
        Step::Challenge(match self {
            Self::Plain | Self::External => "",
            Self::LoginName => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        })
    }

    fn login_name(&mut self, message: &[u8]) -> Step {
        match text(message) {
            Some(user) => {
                *self = Self::LoginPassword { user };
                self.challenge()
            }
            None => Step::Malformed,
        }
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2). An authorisation identity that only repeats the
/// authentication identity is none.
fn plain(message: &[u8]) -> Option<Credential> {
    let mut parts = message.split(|byte| *byte == 0);
    let (acting_as, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let acting_as = if acting_as.is_empty() || acting_as == user { None } else { Some(text(acting_as)?) };
    Some(password_of(text(user)?, Secret::new(password), acting_as))
}

/// The authorisation identity; nothing means: the one that the certificate stands for (RFC 4422 Appendix A).
fn external(message: &[u8]) -> Option<Credential> {
    let acting_as = if message.is_empty() { None } else { Some(text(message)?) };
    Some(Credential::External { acting_as })
}

fn password_of(user: String, password: Secret, acting_as: Option<String>) -> Credential {
    Credential::Password { user, password, acting_as }
}

/// A name: UTF-8, not empty, without control characters, at most 255 octets (RFC 4616 §2 counts characters).
fn text(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    let fits = !name.is_empty() && name.len() <= 255 && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(user: &str, password: &str, acting_as: Option<&str>) -> Step {
        Step::Complete(password_of(user.into(), Secret::new(password), acting_as.map(Into::into)))
    }

    fn plain_with(message: &[u8]) -> Step {
        start(Mechanism::Plain, Some(BASE64.encode(message).as_bytes())).1
    }

    fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> (ServerExchange, Step) {
        ServerExchange::start(mechanism, initial).expect("a mechanism of servers")
    }

    #[test]
    fn plain_takes_an_initial_response_or_asks_with_an_empty_challenge() {
        assert_eq!(plain_with(b"\0tim\0tanstaaf"), complete("tim", "tanstaaf", None));
        let (mut exchange, step) = start(Mechanism::Plain, None);
        assert_eq!(step, Step::Challenge(""));
        assert_eq!(exchange.respond(b"AHRpbQB0YW5zdGFhZg=="), complete("tim", "tanstaaf", None));
    }

    #[test]
    fn an_authorisation_identity_counts_only_when_it_differs() {
        assert_eq!(plain_with(b"tim\0tim\0pw"), complete("tim", "pw", None));
        assert_eq!(plain_with(b"ann\0tim\0pw"), complete("tim", "pw", Some("ann")));
    }

    #[test]
    fn a_plain_message_has_exactly_three_parts_and_a_name() {
        for message in [&b""[..], b"tim", b"\0tim", b"\0\0pw", b"\0tim\0pw\0", b"\0t\xff\0pw", b"\0t\r\n\0pw"]
        {
            assert_eq!(plain_with(message), Step::Malformed, "{message:?}");
        }
    }

    #[test]
    fn login_asks_for_name_and_password_or_takes_the_name_at_once() {
        let (mut exchange, step) = start(Mechanism::Login, None);
        assert_eq!(step, Step::Challenge("VXNlcm5hbWU6"));
        assert_eq!(exchange.respond(b"dGlt"), Step::Challenge("UGFzc3dvcmQ6"));
        assert_eq!(exchange.respond(b"cHc="), complete("tim", "pw", None));
        let (_, step) = start(Mechanism::Login, Some(b"dGlt"));
        assert_eq!(step, Step::Challenge("UGFzc3dvcmQ6"));
    }

    #[test]
    fn base64_is_read_strictly() {
        for line in [&b"dGlt\n"[..], b"dGl", b"dGlt=", b"dG lt", b"*", b"dGm="] {
            let (mut exchange, _) = start(Mechanism::Login, None);
            let expected = Step::Malformed;
            assert_eq!(exchange.respond(line), expected, "{line:?}");
        }
    }

    #[test]
    fn an_empty_initial_response_is_an_equals_sign() {
        assert_eq!(start(Mechanism::Plain, Some(b"=")).1, Step::Malformed);
    }

    #[test]
    fn external_says_for_whom_or_nothing_at_all() {
        let external = |acting_as: Option<&str>| {
            Step::Complete(Credential::External { acting_as: acting_as.map(Into::into) })
        };
        let (mut exchange, step) = start(Mechanism::External, None);
        assert_eq!(step, Step::Challenge(""));
        assert_eq!(exchange.respond(b""), external(None));
        assert_eq!(start(Mechanism::External, Some(b"=")).1, external(None));
        assert_eq!(
            start(Mechanism::External, Some(b"YW5uQGV4YW1wbGUub3Jn")).1,
            external(Some("ann@example.org"))
        );
        assert_eq!(start(Mechanism::External, Some(BASE64.encode("ü").as_bytes())).1, external(Some("ü")));
    }

    #[test]
    fn external_takes_no_control_characters_no_other_encoding_and_at_most_255_octets() {
        let said = |name: &[u8]| start(Mechanism::External, Some(BASE64.encode(name).as_bytes())).1;
        assert!(matches!(said(&[b'a'; 255]), Step::Complete(_)));
        for name in [&[b'a'; 256][..], b"a\0b", b"a\r\nb", b"\xff"] {
            assert_eq!(said(name), Step::Malformed, "{name:?}");
        }
        assert_eq!(start(Mechanism::External, Some(b"YW5u=")).1, Step::Malformed);
    }

    #[test]
    fn no_exchange_begins_in_a_mechanism_that_only_the_client_knows() {
        for mechanism in Mechanism::ALL {
            let served = Mechanism::SERVED.contains(&mechanism) || mechanism == Mechanism::External;
            assert_eq!(ServerExchange::start(mechanism, None).is_some(), served, "{}", mechanism.name());
        }
    }

    #[test]
    fn debug_output_never_shows_a_password() {
        let shown = format!("{:?}", plain_with(b"\0tim\0tanstaaf"));
        assert!(shown.contains("tim") && !shown.contains("tanstaaf"), "{shown}");
    }
}
