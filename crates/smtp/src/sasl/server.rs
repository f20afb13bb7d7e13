//! The server's side of an exchange: from a client's lines to what it claims.
//!
//! [`ServerExchange::start`] begins it, [`ServerExchange::respond`] takes each further line, and both give a [`Step`]. A
//! [`Claim`] is for somebody else to judge: the answer to [`Claim::Keys`] comes back by [`ServerExchange::keys`]; before a
//! yes to any other counts, [`ServerExchange::admits`] is asked; and before a no is said, [`ServerExchange::protest`] tells
//! whether the mechanism has words of its own for it.
//!
//! What it deliberately does not do: decide which mechanisms may be used, look for `*`, or say which of name and proof was
//! wrong.

use base64::Engine;
use zeroize::Zeroizing;

use super::oauth::server::{BEARER_REFUSED, XOAUTH2_REFUSED, bearer, xoauth2};
use super::scram::server::{Channel, ScramServer};
use super::{
    BASE64, ChannelBindings, Claim, Credential, MAX_NAME, Mechanism, NONCE, ScramHash, ScramKeys, encode,
};
use crate::secret::Secret;

/// An exchange that a server carries on. It owns what was said so far and wipes it when it is dropped.
#[derive(Debug)]
pub struct ServerExchange(Talk);

/// What a server's exchange needs to know besides the mechanism.
#[derive(Debug)]
pub struct ServerContext {
    /// Fresh random octets for SCRAM, never used for another exchange.
    pub nonce: [u8; NONCE],
    /// The names of the channel that the exchange goes over.
    pub channel_bindings: ChannelBindings,
    /// For a mechanism without channel binding: whether the same with it was offered besides.
    pub bound_variant: BoundVariant,
}

/// Whether a -PLUS variant was offered besides the mechanism that the client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundVariant {
    /// It was: a client that says it saw none was lied to (RFC 5802 §6).
    Offered,
    /// It was not.
    Absent,
}

/// What a line of the client's led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send `334` with this base64 text and wait for the next line.
    Challenge(Secret),
    /// Somebody must be looked up before it goes on.
    Ask(Claim),
    /// The line was not base64, or not what the mechanism asks for (501).
    Malformed,
}

#[derive(Debug)]
enum Talk {
    /// PLAIN, OAUTHBEARER, XOAUTH2 and EXTERNAL: one message says everything.
    Message(Mechanism),
    /// LOGIN, waiting for the name.
    LoginName,
    /// LOGIN, waiting for the password.
    LoginPassword {
        user: String,
    },
    Scram(Box<ScramServer>),
}

impl ServerExchange {
    /// Begins an exchange, with the initial response in base64 when there was one (`=` stands for an empty one,
    /// RFC 4954 §4). Whether the mechanism may be used here, the session decides before.
    pub fn start(mechanism: Mechanism, initial: Option<&[u8]>, context: ServerContext) -> (Self, Step) {
        let mut exchange = Self(match (mechanism, mechanism.scram()) {
            (_, Some(hash)) => Talk::Scram(Box::new(begin_scram(mechanism, hash, context))),
            (Mechanism::Login, None) => Talk::LoginName,
            (other, None) => Talk::Message(other),
        });
        let step = match initial {
            None => exchange.first_challenge(),
            Some(b"=") => exchange.respond(b""),
            Some(line) => exchange.respond(line),
        };
        (exchange, step)
    }

    /// Takes a line of the client's, without its line end. `*` must have been looked for before.
    pub fn respond(&mut self, line: &[u8]) -> Step {
        let Ok(message) = BASE64.decode(line).map(Zeroizing::new) else {
            return Step::Malformed;
        };
        match &mut self.0 {
            Talk::Message(mechanism) => claim(credential(*mechanism, &message)),
            Talk::LoginName => self.login_name(&message),
            Talk::LoginPassword { user } => {
                claim(Some(password_of(std::mem::take(user), Secret::new(message.to_vec()), None)))
            }
            Talk::Scram(scram) => scram.respond(&message),
        }
    }

    /// Takes the answer to [`Claim::Keys`]; `None`: nobody has asked.
    pub fn keys(&mut self, keys: ScramKeys) -> Option<Step> {
        match &mut self.0 {
            Talk::Scram(scram) => scram.keys(keys),
            _ => None,
        }
    }

    /// Whether the client may be signed in if its claim is found right: never while SCRAM lacks the proof, whoever says
    /// yes.
    pub fn admits(&self) -> bool {
        match &self.0 {
            Talk::Scram(scram) => scram.admits(),
            Talk::Message(_) | Talk::LoginName | Talk::LoginPassword { .. } => true,
        }
    }

    /// The challenge that must be said before a permanent refusal is: a token's client is told so in JSON, and answers with
    /// a line that means nothing (RFC 7628 §3.2.3).
    pub fn protest(&self) -> Option<Secret> {
        match &self.0 {
            Talk::Message(Mechanism::OauthBearer) => Some(encode(BEARER_REFUSED.as_bytes())),
            Talk::Message(Mechanism::Xoauth2) => Some(encode(XOAUTH2_REFUSED.as_bytes())),
            _ => None,
        }
    }

    /// The texts of LOGIN's challenges are what clients compare, if any compare at all.
    fn first_challenge(&self) -> Step {
        Step::Challenge(match self.0 {
            Talk::LoginName => encode(b"Username:"),
            _ => Secret::new(""),
        })
    }

    fn login_name(&mut self, message: &[u8]) -> Step {
        let Some(user) = text(message) else { return Step::Malformed };
        self.0 = Talk::LoginPassword { user };
        Step::Challenge(encode(b"Password:"))
    }
}

fn begin_scram(mechanism: Mechanism, hash: ScramHash, context: ServerContext) -> ScramServer {
    let channel = match context.bound_variant {
        _ if mechanism.binds() => Channel::Named(context.channel_bindings),
        BoundVariant::Offered => Channel::NotChosen,
        BoundVariant::Absent => Channel::Unnamed,
    };
    ScramServer::new(hash, BASE64.encode(context.nonce), channel)
}

fn claim(credential: Option<Credential>) -> Step {
    credential.map_or(Step::Malformed, |credential| Step::Ask(Claim::Credential(credential)))
}

/// What the only message of a mechanism says.
fn credential(mechanism: Mechanism, message: &[u8]) -> Option<Credential> {
    match mechanism {
        Mechanism::Plain => plain(message),
        Mechanism::OauthBearer => bearer(std::str::from_utf8(message).ok()?),
        Mechanism::Xoauth2 => xoauth2(std::str::from_utf8(message).ok()?),
        Mechanism::External => external(message),
        _ => None,
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
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
    fits.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(user: &str, password: &str, acting_as: Option<&str>) -> Step {
        claim(Some(password_of(user.into(), Secret::new(password), acting_as.map(Into::into))))
    }

    fn plain_with(message: &[u8]) -> Step {
        start(Mechanism::Plain, Some(BASE64.encode(message).as_bytes())).1
    }

    fn start(mechanism: Mechanism, initial: Option<&[u8]>) -> (ServerExchange, Step) {
        let context = ServerContext {
            nonce: [7; NONCE],
            channel_bindings: ChannelBindings::default(),
            bound_variant: BoundVariant::Absent,
        };
        ServerExchange::start(mechanism, initial, context)
    }

    fn challenge(text: &str) -> Step {
        Step::Challenge(Secret::new(text))
    }

    #[test]
    fn plain_takes_an_initial_response_or_asks_with_an_empty_challenge() {
        assert_eq!(plain_with(b"\0tim\0tanstaaf"), complete("tim", "tanstaaf", None));
        let (mut exchange, step) = start(Mechanism::Plain, None);
        assert_eq!(step, challenge(""));
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
        assert_eq!(step, challenge("VXNlcm5hbWU6"));
        assert_eq!(exchange.respond(b"dGlt"), challenge("UGFzc3dvcmQ6"));
        assert_eq!(exchange.respond(b"cHc="), complete("tim", "pw", None));
        let (_, step) = start(Mechanism::Login, Some(b"dGlt"));
        assert_eq!(step, challenge("UGFzc3dvcmQ6"));
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
            claim(Some(Credential::External { acting_as: acting_as.map(Into::into) }))
        };
        let (mut exchange, step) = start(Mechanism::External, None);
        assert_eq!(step, challenge(""));
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
        assert!(matches!(said(&[b'a'; 255]), Step::Ask(_)));
        for name in [&[b'a'; 256][..], b"a\0b", b"a\r\nb", b"\xff"] {
            assert_eq!(said(name), Step::Malformed, "{name:?}");
        }
        assert_eq!(start(Mechanism::External, Some(b"YW5u=")).1, Step::Malformed);
    }

    #[test]
    fn a_refused_token_is_protested_against_in_json_and_nothing_else_is() {
        for mechanism in Mechanism::ALL {
            let (exchange, _) = start(mechanism, None);
            let words = exchange.protest().map(|words| BASE64.decode(words.expose()).expect("base64"));
            let status = match mechanism {
                Mechanism::OauthBearer => Some("invalid_token"),
                Mechanism::Xoauth2 => Some("401"),
                _ => None,
            };
            let expected = status.map(|status| format!("{{\"status\":\"{status}\",\"schemes\":\"bearer\"}}"));
            assert_eq!(words, expected.map(String::into_bytes), "{}", mechanism.name());
        }
    }

    #[test]
    fn keys_that_nobody_asked_for_are_not_taken() {
        for mechanism in Mechanism::ALL {
            let (mut exchange, _) = start(mechanism, None);
            let keys = ScramKeys::for_nobody(b"secret", "tim", crate::sasl::SCRAM_ITERATIONS);
            assert_eq!(exchange.keys(keys), None, "{}", mechanism.name());
            assert_eq!(exchange.admits(), mechanism.scram().is_none(), "{}", mechanism.name());
        }
    }

    #[test]
    fn debug_output_never_shows_a_password() {
        let shown = format!("{:?}", plain_with(b"\0tim\0tanstaaf"));
        assert!(shown.contains("tim") && !shown.contains("tanstaaf"), "{shown}");
    }
}
