//! The client's side of an exchange: which mechanism, what to say, and whether a yes of the server's is worth anything.
//!
//! [`ClientExchange::start`] chooses; [`ClientExchange::respond`] answers each 334; [`ClientExchange::conclude`] judges
//! the final yes, and [`ClientExchange::complaint`] has the server's words for a no. [`Unable`] is our own trouble,
//! found before anything was said; [`Broken`] is the server's.
//!
//! What it deliberately does not do: try a second mechanism after one was refused. Which server to trust with the
//! credential at all was decided before.

use std::collections::VecDeque;

use base64::Engine;
use memchr::memmem;
use thiserror::Error;
use zeroize::Zeroizing;

use super::oauth::client::{Bearer, TokenTalk, bearer, xoauth2};
use super::scram::client::{Channel, Identity, Scram, begin};
use super::{BASE64, Context, Credential, MAX_LINE, Mechanism, ScramHash, encode};
use crate::secret::Secret;
use crate::text::clean;

/// Octets of a command line (RFC 5321 §4.5.3.1.4), which AUTH must keep to (RFC 4954 §4).
const MAX_COMMAND: usize = 512;
/// Octets of a server's words that are kept.
const MAX_WORDS: usize = 300;
/// So many octets of a secret in a row are a part of it and no accident.
const TELLTALE: usize = 8;

/// An exchange that a client carries on until the server answers with something else than 334.
#[derive(Debug)]
pub struct ClientExchange {
    mechanism: Mechanism,
    /// The first message, when it was too long to go with AUTH.
    held_back: Option<Secret>,
    talk: Talk,
}

/// How an exchange begins: `AUTH mechanism [initial]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Start {
    /// The mechanism's name.
    pub mechanism: &'static str,
    /// The initial response, in base64, when one goes with the command (RFC 4954 §4).
    pub initial: Option<Secret>,
}

/// Why we cannot sign in at this server with this credential. Nothing of it was said.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unable {
    /// The server offers nothing that can carry the credential.
    #[error("the server offers no mechanism that we can use (it offers {offered}; we could use {usable})")]
    NothingInCommon {
        /// What it offers.
        offered: String,
        /// What we could use.
        usable: String,
    },
    /// The administrator fixed a mechanism that is for another kind of credential.
    #[error("the mechanism {} is set, and it cannot carry this kind of credential", .0.name())]
    Unfit(Mechanism),
    /// A mechanism with channel binding is set and TLS gave none.
    #[error("the mechanism {} is set, and this TLS connection has no channel binding", .0.name())]
    Unbound(Mechanism),
    /// What the credential holds cannot be said.
    #[error("our credential cannot be said: {0}")]
    Unsayable(&'static str),
}

/// How a server broke the mechanism's rules. Cancel the exchange, if it is still open, and trust it with nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Broken {
    /// It asked once more when everything was said.
    #[error("it asked for more than the mechanism has to say")]
    TooMuch,
    /// The challenge is not base64.
    #[error("its challenge is not base64")]
    NotBase64,
    /// The challenge is longer than RFC 4954 §4 allows.
    #[error("its challenge is longer than 12288 octets")]
    TooLong,
    /// The challenge does not have the form that the mechanism prescribes.
    #[error("its challenge is malformed: {0}")]
    Malformed(&'static str),
    /// The nonce does not begin with ours, adds nothing to it, or is no nonce.
    #[error("its nonce does not go with ours")]
    Nonce,
    /// The iteration count is too low to be safe or too high to be honest.
    #[error("its iteration count is not between 4096 and 200000")]
    Iterations,
    /// It demands an extension that nobody here knows (`m=`).
    #[error("it demands an extension of SCRAM that is not known here")]
    Extension,
    /// The signature is wrong.
    #[error("it does not know the password: its signature is wrong")]
    Signature,
    /// It said yes without having proved that it knows the password.
    #[error("it said yes before it proved that it knows the password")]
    Unproved,
    /// It said yes before it had heard everything.
    #[error("it said yes before the exchange was over")]
    TooEarly,
    /// It said yes after it had refused the token.
    #[error("it said yes after it had refused the token")]
    Contradiction,
}

#[derive(Debug)]
enum Talk {
    /// What remains to be said, whatever is asked.
    Lines(VecDeque<Secret>),
    Scram(Box<Scram>),
    Token(TokenTalk),
    /// The server broke the rules: nothing more is said, and nothing of what was is kept.
    Over(Broken),
}

impl ClientExchange {
    /// Chooses the best mechanism that the server offers and that can carry the credential.
    ///
    /// # Errors
    /// There is none, or the credential cannot be said in it; nothing of the credential has been said then.
    pub fn start(
        mechanisms: &[String],
        credential: &Credential,
        context: &Context,
    ) -> Result<(Self, Start), Unable> {
        let usable = usable(credential, context)?;
        let mut trouble = None;
        for mechanism in usable.iter().copied().filter(|usable| is_offered(mechanisms, *usable)) {
            match first_words(mechanism, mechanisms, credential, context) {
                Ok((talk, first)) => return Ok(Self::open(mechanism, talk, first)),
                Err(unable) => trouble = trouble.or(Some(unable)),
            }
        }
        Err(trouble.unwrap_or_else(|| nothing_in_common(mechanisms, &usable)))
    }

    /// The mechanism that was chosen.
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// What to answer to a 334, in base64; an empty answer is an empty line.
    ///
    /// # Errors
    /// The server's fault: cancel with `*`.
    pub fn respond(&mut self, challenge: &str) -> Result<Secret, Broken> {
        if let Some(first) = self.held_back.take() {
            // RFC 4954 §4: the challenge is empty; servers that put words there mean the same.
            return Ok(first);
        }
        let answer = self.talk.answer(challenge);
        if let Err(broken) = answer {
            self.talk = Talk::Over(broken);
        }
        answer
    }

    /// Judges the server's final yes (235).
    ///
    /// # Errors
    /// The server's fault: it said yes without having heard or proved what the mechanism demands. Give the connection up.
    pub fn conclude(&self) -> Result<(), Broken> {
        match &self.talk {
            Talk::Over(broken) => Err(*broken),
            Talk::Scram(scram) if !scram.is_proved() => Err(Broken::Unproved),
            Talk::Token(token) if !token.is_unopposed() => Err(Broken::Contradiction),
            Talk::Lines(remaining) if !remaining.is_empty() => Err(Broken::TooEarly),
            _ if self.held_back.is_some() => Err(Broken::TooEarly),
            _ => Ok(()),
        }
    }

    /// The words that the server gave within the exchange for its refusal, clean and bounded; the reply often says less.
    pub fn complaint(&self) -> Option<&str> {
        match &self.talk {
            Talk::Lines(_) | Talk::Over(_) => None,
            Talk::Scram(scram) => scram.complaint(),
            Talk::Token(token) => token.complaint(),
        }
    }

    fn open(mechanism: Mechanism, talk: Talk, first: Option<Secret>) -> (Self, Start) {
        let name = mechanism.name();
        let length = |first: &Secret| "AUTH ".len() + name.len() + 1 + first.expose().len() + "\r\n".len();
        let (initial, held_back) = match first {
            // RFC 4954 §4: what would make the command too long waits for the challenge.
            Some(first) if length(&first) > MAX_COMMAND => (None, Some(first)),
            first => (first, None),
        };
        (Self { mechanism, held_back, talk }, Start { mechanism: name, initial })
    }
}

impl Talk {
    fn answer(&mut self, challenge: &str) -> Result<Secret, Broken> {
        match self {
            // The words of LOGIN's challenges differ from server to server and are not looked at.
            Self::Lines(remaining) => remaining.pop_front().ok_or(Broken::TooMuch),
            Self::Scram(scram) => scram.respond(&decode(challenge)?),
            Self::Token(token) => token.respond(&decode(challenge)?),
            Self::Over(broken) => Err(*broken),
        }
    }
}

/// A server's words, fit to be kept: clean, bounded, and without our secret, which a server could repeat to have it
/// written into a log.
pub(super) fn words(text: &str, secret: &Secret) -> String {
    let whole = secret.expose();
    let telltale = whole.len().clamp(1, TELLTALE);
    let tells = |words: &[u8]| words.windows(telltale).any(|part| memmem::find(whole, part).is_some());
    let encoded = Zeroizing::new(BASE64.encode(whole));
    let in_base64 = memmem::find(text.as_bytes(), encoded.trim_end_matches('=').as_bytes()).is_some();
    if in_base64 || tells(text.as_bytes()) {
        return "its words repeat our secret and are not shown".to_owned();
    }
    clean(text, MAX_WORDS)
}

/// The mechanisms that come into question, best first.
fn usable(credential: &Credential, context: &Context) -> Result<Vec<Mechanism>, Unable> {
    let carrying = Mechanism::carrying(credential);
    let bound = context.channel_binding.is_some();
    match context.only {
        Some(only) if !carrying.contains(&only) => Err(Unable::Unfit(only)),
        Some(only) if only.binds() && !bound => Err(Unable::Unbound(only)),
        Some(only) => Ok(vec![only]),
        None => {
            let possible = |mechanism: &Mechanism| bound || !mechanism.binds();
            Ok(carrying.iter().copied().filter(possible).collect())
        }
    }
}

fn is_offered(mechanisms: &[String], mechanism: Mechanism) -> bool {
    mechanisms.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name()))
}

fn nothing_in_common(mechanisms: &[String], usable: &[Mechanism]) -> Unable {
    let offered = if mechanisms.is_empty() { "none".to_owned() } else { mechanisms.join(" ") };
    let usable: Vec<&str> = usable.iter().map(|mechanism| mechanism.name()).collect();
    Unable::NothingInCommon { offered: clean(offered, MAX_WORDS), usable: usable.join(" ") }
}

/// How the talk goes on, and the first message in base64 when the mechanism begins with one of the client's.
fn first_words(
    mechanism: Mechanism,
    mechanisms: &[String],
    credential: &Credential,
    context: &Context,
) -> Result<(Talk, Option<Secret>), Unable> {
    match credential {
        Credential::Password { user, password, acting_as } => {
            let acting_as = acting_as.as_deref().filter(|other| other != user);
            let nonce = BASE64.encode(context.nonce);
            let identity = Identity { user, password, acting_as, nonce };
            match mechanism.scram() {
                Some(hash) => begin_scram(hash, identity, channel(mechanism, mechanisms, context)),
                None if mechanism == Mechanism::Login => login(&identity),
                None => plain(&identity),
            }
        }
        Credential::Token { user, token, endpoint } => {
            let endpoint = endpoint.as_ref().map(|(host, port)| (host.as_str(), *port));
            begin_token(mechanism, Bearer { user, token, endpoint })
        }
        Credential::External { acting_as } => external(acting_as.as_deref()),
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 §2).
fn plain(identity: &Identity<'_>) -> Result<(Talk, Option<Secret>), Unable> {
    let acting_as = identity.acting_as.unwrap_or_default();
    let parts = [acting_as.as_bytes(), identity.user.as_bytes(), identity.password.expose()];
    if identity.user.is_empty() || parts.iter().any(|part| part.contains(&0)) {
        return Err(Unable::Unsayable("the user name is empty, or there is a NUL in it or in the password"));
    }
    let message = Zeroizing::new(parts.join(&0));
    Ok((Talk::Lines(VecDeque::new()), Some(line(&message)?)))
}

/// The name at the first challenge, the password at the second. LOGIN knows no authorisation identity.
fn login(identity: &Identity<'_>) -> Result<(Talk, Option<Secret>), Unable> {
    if identity.user.is_empty() || identity.acting_as.is_some() {
        return Err(Unable::Unsayable(
            "LOGIN needs a user name, and one cannot act for somebody else with it",
        ));
    }
    let lines = [line(identity.user.as_bytes())?, line(identity.password.expose())?];
    Ok((Talk::Lines(lines.into()), None))
}

/// What the GS2 header says of the channel. `y` only when the server seems not to know the -PLUS variant: where both
/// know it and it is not used, by the administrator's will, `y` would be taken for a downgrade (RFC 5802 §6).
fn channel<'a>(mechanism: Mechanism, mechanisms: &[String], context: &'a Context) -> Channel<'a> {
    match &context.channel_binding {
        Some(binding) if mechanism.binds() => Channel::Bound(binding),
        Some(_) if !mechanism.bound_variant().is_some_and(|bound| is_offered(mechanisms, bound)) => {
            Channel::NotAsked
        }
        _ => Channel::Unnamed,
    }
}

fn begin_scram(
    hash: ScramHash,
    identity: Identity<'_>,
    channel: Channel<'_>,
) -> Result<(Talk, Option<Secret>), Unable> {
    let (scram, first) = begin(hash, identity, channel)?;
    Ok((Talk::Scram(Box::new(scram)), Some(line(first.expose())?)))
}

fn begin_token(mechanism: Mechanism, holder: Bearer<'_>) -> Result<(Talk, Option<Secret>), Unable> {
    let (talk, first) = match mechanism {
        Mechanism::OauthBearer => bearer(holder)?,
        _ => xoauth2(holder)?,
    };
    Ok((Talk::Token(talk), Some(line(first.expose())?)))
}

/// The authorisation identity, or nothing, which is said as `=` (RFC 4954 §4).
fn external(acting_as: Option<&str>) -> Result<(Talk, Option<Secret>), Unable> {
    let identity = acting_as.unwrap_or_default();
    if identity.contains('\0') {
        return Err(Unable::Unsayable("there is a NUL in the name to act as"));
    }
    let first = if identity.is_empty() { Secret::new("=") } else { line(identity.as_bytes())? };
    Ok((Talk::Lines(VecDeque::new()), Some(first)))
}

/// One line of the exchange, in base64.
fn line(message: &[u8]) -> Result<Secret, Unable> {
    let line = encode(message);
    if line.expose().len() + "\r\n".len() > MAX_LINE {
        return Err(Unable::Unsayable("it makes a line longer than 12288 octets"));
    }
    Ok(line)
}

fn decode(challenge: &str) -> Result<Vec<u8>, Broken> {
    if challenge.len() > MAX_LINE {
        return Err(Broken::TooLong);
    }
    BASE64.decode(challenge).map_err(|_| Broken::NotBase64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Binding;

    fn password() -> Credential {
        let password = Secret::new("tanstaaftanstaaf");
        Credential::Password { user: "tim".into(), password, acting_as: None }
    }

    fn token(user: &str, token: &str) -> Credential {
        Credential::Token { user: user.into(), token: Secret::new(token), endpoint: None }
    }

    fn context() -> Context {
        Context { nonce: [7; 18], channel_binding: None, only: None }
    }

    fn bound() -> Context {
        Context { channel_binding: Some(Binding::tls_exporter([1; 32])), ..context() }
    }

    fn start(
        offered: &[&str],
        credential: &Credential,
        context: &Context,
    ) -> Result<(ClientExchange, Start), Unable> {
        let offered: Vec<String> = offered.iter().map(ToString::to_string).collect();
        ClientExchange::start(&offered, credential, context)
    }

    /// The first message, out of its base64.
    fn first(start: &Start) -> String {
        let initial = start.initial.as_ref().expect("an initial response");
        String::from_utf8(BASE64.decode(initial.expose()).expect("base64")).expect("UTF-8")
    }

    fn chosen(offered: &[&str], credential: &Credential, context: &Context) -> &'static str {
        start(offered, credential, context).expect("something in common").1.mechanism
    }

    #[test]
    fn plain_is_preferred_to_login_and_sent_at_once() {
        let (mut exchange, start) = start(&["LOGIN", "plain"], &password(), &context()).unwrap();
        assert_eq!(start.mechanism, "PLAIN");
        assert_eq!(start.initial, Some(Secret::new("AHRpbQB0YW5zdGFhZnRhbnN0YWFm")));
        assert_eq!(exchange.conclude(), Ok(()));
        assert_eq!(exchange.respond(""), Err(Broken::TooMuch));
    }

    #[test]
    fn login_answers_two_challenges_and_no_third() {
        let (mut exchange, start) = start(&["LOGIN"], &password(), &context()).unwrap();
        assert_eq!(start, Start { mechanism: "LOGIN", initial: None });
        assert_eq!(exchange.conclude(), Err(Broken::TooEarly));
        assert_eq!(exchange.respond("VXNlcm5hbWU6"), Ok(Secret::new("dGlt")));
        assert_eq!(exchange.conclude(), Err(Broken::TooEarly));
        assert_eq!(exchange.respond("no base64"), Ok(Secret::new("dGFuc3RhYWZ0YW5zdGFhZg==")));
        assert_eq!(exchange.conclude(), Ok(()));
        assert_eq!(exchange.respond("TW9yZTo="), Err(Broken::TooMuch));
    }

    #[test]
    fn the_best_mechanism_for_the_credential_is_chosen() {
        let all: Vec<&str> = Mechanism::ALL.iter().rev().map(|mechanism| mechanism.name()).collect();
        assert_eq!(chosen(&all, &password(), &bound()), "SCRAM-SHA-256-PLUS");
        assert_eq!(chosen(&all, &password(), &context()), "SCRAM-SHA-256");
        assert_eq!(chosen(&all, &token("u", "t"), &context()), "OAUTHBEARER");
        assert_eq!(chosen(&["XOAUTH2", "PLAIN"], &token("u", "t"), &context()), "XOAUTH2");
        assert_eq!(chosen(&all, &Credential::External { acting_as: None }, &context()), "EXTERNAL");
    }

    #[test]
    fn the_administrators_choice_is_the_only_one() {
        let only = |mechanism| Context { only: Some(mechanism), ..context() };
        let all: Vec<&str> = Mechanism::ALL.iter().map(|mechanism| mechanism.name()).collect();
        assert_eq!(chosen(&all, &password(), &only(Mechanism::Login)), "LOGIN");
        assert_eq!(chosen(&all, &token("u", "t"), &only(Mechanism::Xoauth2)), "XOAUTH2");
        let unable = |offered, credential: &Credential, mechanism| {
            start(offered, credential, &only(mechanism)).expect_err("nothing to use")
        };
        let nothing = unable(&["PLAIN", "LOGIN"], &password(), Mechanism::ScramSha256);
        assert!(matches!(nothing, Unable::NothingInCommon { .. }), "{nothing}");
        assert_eq!(unable(&all, &password(), Mechanism::Xoauth2), Unable::Unfit(Mechanism::Xoauth2));
        assert_eq!(
            unable(&all, &password(), Mechanism::ScramSha256Plus),
            Unable::Unbound(Mechanism::ScramSha256Plus)
        );
    }

    #[test]
    fn what_is_said_of_the_channel_depends_on_what_both_sides_know() {
        let said = |offered: &[&str], context: &Context| {
            let (_, start) = start(offered, &password(), context).expect("something in common");
            first(&start)
        };
        let both = ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];
        assert!(said(&both, &bound()).starts_with("p=tls-exporter,,n=tim,r=BwcH"));
        assert!(said(&both, &context()).starts_with("n,,n=tim,"));
        assert!(said(&both[..1], &bound()).starts_with("y,,n=tim,"));
        assert!(said(&both[..1], &context()).starts_with("n,,n=tim,"));
        let without = Context { only: Some(Mechanism::ScramSha256), ..bound() };
        assert!(said(&both, &without).starts_with("n,,n=tim,"), "y would be taken for a downgrade");
    }

    #[test]
    fn nothing_is_said_in_a_mechanism_that_cannot_carry_it() {
        let nothing = start(&["GSSAPI", "\x1b[31m"], &password(), &context()).unwrap_err().to_string();
        assert!(
            nothing.contains("it offers GSSAPI ?[31m; we could use SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN"),
            "{nothing}"
        );
        let nothing = start(&[], &password(), &context()).unwrap_err().to_string();
        assert!(nothing.contains("it offers none"), "{nothing}");
        let with = |user: &str, acting_as: Option<&str>| Credential::Password {
            user: user.into(),
            password: Secret::new("x"),
            acting_as: acting_as.map(Into::into),
        };
        let unsayable = |offered: &[&str], credential: &Credential| {
            matches!(start(offered, credential, &context()), Err(Unable::Unsayable(_)))
        };
        assert!(unsayable(&["PLAIN"], &with("t\0", None)));
        assert!(unsayable(&["PLAIN", "LOGIN", "SCRAM-SHA-256"], &with("", None)));
        assert!(unsayable(&["LOGIN"], &with("tim", Some("ann"))));
        assert!(unsayable(&["EXTERNAL"], &Credential::External { acting_as: Some("a\0".into()) }));
    }

    #[test]
    fn to_act_for_oneself_is_to_act_for_nobody() {
        let credential = Credential::Password {
            user: "tim".into(),
            password: Secret::new("x"),
            acting_as: Some("tim".into()),
        };
        assert_eq!(chosen(&["LOGIN"], &credential, &context()), "LOGIN");
        let (_, start) = start(&["PLAIN"], &credential, &context()).unwrap();
        assert_eq!(first(&start), "\0tim\0x");
    }

    #[test]
    fn what_scram_cannot_carry_goes_in_plain() {
        let password = Secret::new([0xff, 0xfe]);
        let credential = Credential::Password { user: "tim".into(), password, acting_as: None };
        assert_eq!(chosen(&["SCRAM-SHA-256", "PLAIN"], &credential, &context()), "PLAIN");
    }

    #[test]
    fn a_command_is_never_longer_than_512_octets() {
        let mut held_back = 0;
        for length in 300..400 {
            let credential = token("u", &"t".repeat(length));
            let (mut exchange, start) = start(&["XOAUTH2"], &credential, &context()).unwrap();
            let Some(initial) = start.initial else {
                held_back += 1;
                assert_eq!(exchange.conclude(), Err(Broken::TooEarly));
                assert!(exchange.respond("").is_ok());
                assert_eq!(exchange.conclude(), Ok(()));
                continue;
            };
            assert_eq!(held_back, 0, "the longer ones are held back");
            let command = format!("AUTH XOAUTH2 {}\r\n", initial.expose_str().unwrap());
            assert!(command.len() <= 512, "{} octets", command.len());
        }
        assert!((1..100).contains(&held_back));
    }

    #[test]
    fn a_line_is_never_longer_than_12288_octets() {
        assert!(start(&["XOAUTH2"], &token("u", &"t".repeat(9_000)), &context()).is_ok());
        let too_long = start(&["XOAUTH2"], &token("u", &"t".repeat(9_300)), &context());
        assert!(matches!(too_long, Err(Unable::Unsayable(_))));
    }

    #[test]
    fn challenges_are_strict_base64_and_bounded() {
        for (challenge, broken) in [
            ("%", Broken::NotBase64),
            ("cj1", Broken::NotBase64),
            ("cj1=", Broken::NotBase64),
            ("cj0 =", Broken::NotBase64),
            (" ", Broken::NotBase64),
            (&"A".repeat(12_292), Broken::TooLong),
        ] {
            let (mut exchange, _) = start(&["SCRAM-SHA-256"], &password(), &context()).unwrap();
            assert_eq!(exchange.respond(challenge), Err(broken));
            let (mut exchange, _) = start(&["XOAUTH2"], &token("u", "t"), &context()).unwrap();
            assert_eq!(exchange.respond(challenge), Err(broken));
            assert_eq!(exchange.respond("e30="), Err(broken), "no second chance");
            assert_eq!(exchange.conclude(), Err(broken));
        }
    }

    #[test]
    fn external_says_nothing_or_for_whom() {
        let said = |acting_as: Option<&str>| {
            let credential = Credential::External { acting_as: acting_as.map(Into::into) };
            start(&["EXTERNAL"], &credential, &context()).unwrap().1.initial
        };
        assert_eq!(said(None), Some(Secret::new("=")));
        assert_eq!(said(Some("")), Some(Secret::new("=")));
        assert_eq!(said(Some("ann")), Some(Secret::new("YW5u")));
    }

    #[test]
    fn debug_output_never_shows_a_secret() {
        for (offered, credential) in [
            ("SCRAM-SHA-256", password()),
            ("PLAIN", password()),
            ("LOGIN", password()),
            ("XOAUTH2", token("u", "tanstaaftanstaaf")),
            ("OAUTHBEARER", token("u", "tanstaaftanstaaf")),
        ] {
            let (exchange, start) = start(&[offered], &credential, &bound()).unwrap();
            let shown = format!("{credential:?} {exchange:?} {start:?} {:?}", bound());
            assert!(!shown.contains("tansta") && !shown.contains("dGFuc3RhYW"), "{shown}");
        }
    }
}
