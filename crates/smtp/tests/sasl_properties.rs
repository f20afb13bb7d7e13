//! Whatever a server says within an exchange: nothing panics, and no secret is said twice, kept in words, or given for
//! nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_smtp::sasl::{Binding, ClientExchange, Context, Credential, Mechanism};
use postern_smtp::secret::Secret;
use postern_smtp::text::is_harmless;
use proptest::prelude::*;

const SECRET: &str = "tanstaaf-tanstaaf-tanstaaf";
const NONCE: [u8; 18] = *b"eighteen octets!!!";

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

fn begun(mechanism: Mechanism) -> (ClientExchange, Vec<Secret>) {
    let context = Context {
        nonce: NONCE,
        channel_binding: Some(Binding::tls_exporter([3; 32])),
        only: Some(mechanism),
    };
    let offered = [mechanism.name().to_owned()];
    let (exchange, start) =
        ClientExchange::start(&offered, &credential(mechanism), &context).expect("it is offered");
    (exchange, start.initial.into_iter().collect())
}

/// How often the secret is in what was said, out of its base64.
fn times_said(lines: &[Secret]) -> usize {
    let said = |line: &Secret| {
        let message = STANDARD.decode(line.expose()).unwrap_or_default();
        String::from_utf8_lossy(&message).matches(SECRET).count()
    };
    lines.iter().map(said).sum()
}

/// Challenges that come near to what a mechanism expects, and others.
fn challenge() -> impl Strategy<Value = String> {
    let nonce = STANDARD.encode(NONCE);
    let signature = STANDARD.encode([0; 32]);
    let field = prop::sample::select(vec![
        format!("r={nonce}%server"),
        format!("r={nonce}"),
        "s=W22ZaJ0SNY7soEsUEjb6gQ==".to_owned(),
        "i=4096".to_owned(),
        "i=1".to_owned(),
        "i=1000000000".to_owned(),
        format!("v={signature}"),
        "m=x".to_owned(),
        "x=y".to_owned(),
        format!("e={SECRET}"),
        format!("e={}", &SECRET[3..14]),
        "{\"status\":\"401\"}".to_owned(),
        STANDARD.encode(SECRET),
        String::new(),
    ]);
    let fields = prop::collection::vec(field, 0..5).prop_map(|fields| fields.join(","));
    let usual = Just(format!("r={nonce}%server,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
    let octets = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        3 => usual.prop_map(|message| STANDARD.encode(message)),
        4 => fields.prop_map(|message| STANDARD.encode(message)),
        1 => octets.prop_map(|octets| STANDARD.encode(octets)),
        1 => ".{0,40}",
        1 => Just(String::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_server_gets_more_than_the_mechanism_gives(
        mechanism in prop::sample::select(Mechanism::ALL.to_vec()),
        challenges in prop::collection::vec(challenge(), 0..6),
    ) {
        let (mut exchange, mut said) = begun(mechanism);
        let mut broken = false;
        for challenge in &challenges {
            match exchange.respond(challenge) {
                Ok(answer) => {
                    prop_assert!(!broken, "nothing is said after the rules were broken");
                    said.push(answer);
                }
                Err(error) => {
                    broken = true;
                    prop_assert!(error.to_string().chars().all(is_harmless));
                }
            }
        }
        let most = match mechanism {
            Mechanism::External => 0,
            other if other.scram().is_some() => 0,
            _ => 1,
        };
        prop_assert!(times_said(&said) <= most, "the secret was said {} times", times_said(&said));
        prop_assert!(mechanism.scram().is_none() || exchange.conclude().is_err(), "nobody here knows the password");
        let words = exchange.complaint().unwrap_or_default();
        prop_assert!(words.len() <= 300 && words.chars().all(is_harmless));
        prop_assert!(!words.contains(&SECRET[3..14]) && !words.contains(&STANDARD.encode(SECRET)[..16]));
        let shown = format!("{exchange:?}");
        prop_assert!(!shown.contains("tanstaaf"), "{}", shown);
    }
}
