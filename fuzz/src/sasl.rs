//! A server that says anything within our client's sign-in.

use postern_smtp::sasl::{Binding, ClientExchange, Context, Credential, Mechanism, Start};
use postern_smtp::secret::Secret;
use postern_smtp::text::is_harmless;

use crate::tape::Tape;

/// The password of the transcripts, so that the proofs in them are right.
const SECRET: &str = "tanstaaf";

/// One exchange in any mechanism: its challenges are the lines of the wire that begin with 334, and 235 ends it. Nothing
/// is said after the server broke the rules, a yes without a proof is none, and words that are kept are harmless.
pub fn sasl_client(data: &[u8]) {
    let (mut tape, wire) = Tape::split(data);
    let (mut exchange, start) = begin(&mut tape);
    assert!(start.initial.is_none_or(|initial| initial.expose().len() < 512));
    let (mut answers, mut broken) = (0, false);
    for line in String::from_utf8_lossy(wire).lines() {
        if line.starts_with("235") {
            break;
        }
        let Some(challenge) = line.strip_prefix("334") else { continue };
        match exchange.respond(challenge.strip_prefix(' ').unwrap_or(challenge)) {
            Ok(answer) => {
                assert!(!broken, "said after the rules were broken");
                assert!(answer.expose().iter().all(u8::is_ascii_graphic), "a line of its own");
                answers += 1;
            }
            Err(_) => broken = true,
        }
    }
    let proves = matches!(exchange.mechanism(), Mechanism::ScramSha256 | Mechanism::ScramSha256Plus);
    if exchange.conclude().is_ok() {
        assert!(!broken && (!proves || answers == 2), "a yes that is worth nothing");
    }
    let words = exchange.complaint().unwrap_or_default();
    assert!(words.len() <= 300 && words.chars().all(is_harmless) && !words.contains(SECRET), "{words:?}");
    assert!(!format!("{exchange:?}").contains(SECRET));
}

fn begin(tape: &mut Tape<'_>) -> (ClientExchange, Start) {
    let mechanism = tape.pick(&[
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
        Mechanism::Xoauth2,
        Mechanism::OauthBearer,
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::External,
    ]);
    let binding = Some(Binding::tls_exporter([3; 32]));
    let bound = mechanism == Mechanism::ScramSha256Plus || tape.next() % 2 == 1;
    let context =
        Context { nonce: [7; 18], channel_binding: binding.filter(|_| bound), only: Some(mechanism) };
    let offered = [mechanism.name().to_owned()];
    ClientExchange::start(&offered, &credential(mechanism), &context).expect("it is offered and fits")
}

fn credential(mechanism: Mechanism) -> Credential {
    let (user, secret) = ("tim".to_owned(), Secret::new(SECRET));
    match mechanism {
        Mechanism::External => Credential::External { acting_as: None },
        Mechanism::OauthBearer | Mechanism::Xoauth2 => {
            Credential::Token { user, token: secret, endpoint: None }
        }
        _ => Credential::Password { user, password: secret, acting_as: None },
    }
}
