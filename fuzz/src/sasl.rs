//! A server that says anything within our client's sign-in, and a client that says anything within our server's.

use postern_smtp::sasl::{
    Binding, BoundVariant, Claim, ClientExchange, Context, Credential, Mechanism, Nonces, SCRAM_ITERATIONS,
    ScramKeys, ServerContext, ServerExchange, Start, Step,
};
use postern_smtp::secret::Secret;
use postern_smtp::text::is_harmless;

use crate::tape::{Tape, bindings};

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
    let proves = exchange.mechanism().scram().is_some();
    if exchange.conclude().is_ok() {
        assert!(!broken && (!proves || answers == 2), "a yes that is worth nothing");
    }
    let words = exchange.complaint().unwrap_or_default();
    assert!(words.len() <= 300 && words.chars().all(is_harmless) && !words.contains(SECRET), "{words:?}");
    assert!(!format!("{exchange:?}").contains(SECRET));
}

/// One exchange in any mechanism, each line of the wire an answer. Nobody is let in by SCRAM who knows no password, keys are
/// taken once, names are fit for a log, and what is said is base64 on one line.
pub fn sasl_server(data: &[u8]) {
    let (mut tape, wire) = Tape::split(data);
    let mechanism = tape.pick(&Mechanism::ALL);
    let context = ServerContext {
        nonce: Nonces::new([7; 32]).draw(),
        channel_bindings: bindings(),
        bound_variant: tape.pick(&[BoundVariant::Offered, BoundVariant::Absent]),
    };
    let whole = |line: &'_ [u8]| line.strip_suffix(b"\r").map_or(line.len(), <[u8]>::len);
    let mut lines = wire.split(|octet| *octet == b'\n').map(|line| &line[..whole(line)]);
    let initial = if tape.next() % 2 == 0 { lines.next() } else { None };
    let (mut exchange, mut step) = ServerExchange::start(mechanism, initial, context);
    loop {
        step = match step {
            Step::Challenge(challenge) => {
                assert!(challenge.expose().iter().all(u8::is_ascii_graphic), "a line of its own");
                let Some(line) = lines.next() else { return };
                exchange.respond(line)
            }
            Step::Ask(Claim::Keys { user, .. }) => {
                assert!(!exchange.admits() && is_name(&user));
                let keys = ScramKeys::for_nobody(b"fuzz", &user, SCRAM_ITERATIONS);
                let step = exchange.keys(keys.clone()).expect("it asked");
                assert_eq!(exchange.keys(keys), None);
                step
            }
            Step::Ask(claim) => return claimed(&claim, &exchange),
            Step::Malformed => return assert!(mechanism.scram().is_none() || !exchange.admits()),
        };
    }
}

fn claimed(claim: &Claim, exchange: &ServerExchange) {
    match claim {
        Claim::Credential(Credential::Password { user, acting_as, .. }) => {
            assert!(is_name(user) && acting_as.as_deref().is_none_or(is_name));
        }
        Claim::Credential(Credential::Token { user, token, .. }) => {
            assert!(user.is_empty() || is_name(user));
            assert!(!token.expose().is_empty() && token.expose().iter().all(u8::is_ascii_graphic));
        }
        Claim::Credential(Credential::External { acting_as }) => {
            assert!(acting_as.as_deref().is_none_or(is_name));
        }
        Claim::Keys { .. } | Claim::Scram { .. } => assert!(!exchange.admits(), "nobody knows this password"),
    }
}

fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(char::is_control)
}

fn begin(tape: &mut Tape<'_>) -> (ClientExchange, Start) {
    let mechanism = tape.pick(&[
        Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus,
        Mechanism::ScramSha1,
        Mechanism::ScramSha1Plus,
        Mechanism::Xoauth2,
        Mechanism::OauthBearer,
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::External,
    ]);
    let binding = Some(Binding::tls_exporter([3; 32]));
    let bound = mechanism.binds() || tape.next() % 2 == 1;
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
