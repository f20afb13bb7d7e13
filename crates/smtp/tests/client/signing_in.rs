//! Plays the dialogues of `tests/transcripts/client`: AUTH in each mechanism, as it should be and as it should not.
//!
//! A file has a head of `key: value` lines and, behind an empty line, the script of [`crate::harness`]; it begins where
//! the client has heard over verified TLS what the server offers. `#` begins a comment.
//!
//! | head | meaning |
//! |---|---|
//! | `credential: password NAME PASSWORD [ACTING-AS]` | what to sign in with |
//! | `credential: token NAME TOKEN [HOST:PORT]` | the same |
//! | `credential: external [ACTING-AS]` | the same |
//! | `only: PLAIN` | the mechanism that the administrator fixed |
//! | `offers: PLAIN LOGIN` | the mechanisms that the server announces |
//! | `channel: named` | TLS gives a channel binding, 32 octets 0x03 |

use std::fs;
use std::path::Path;

use postern_smtp::client::TlsStart;
use postern_smtp::sasl::{Binding, ChannelBindings, Credential, Mechanism, SignIn};
use postern_smtp::secret::Secret;
use postern_smtp::tls::{PeerProof, TlsFacts};

use crate::harness::{Scene, facts, to_one};

#[test]
fn every_dialogue_of_signing_in_is_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/client");
    let mut played = 0;
    for entry in fs::read_dir(folder).expect("the corpus is readable") {
        let path = entry.expect("the corpus is readable").path();
        let text = fs::read_to_string(&path).expect("the dialogue is readable");
        // Shown when the dialogue fails.
        println!("{}", path.display());
        play(&text);
        played += 1;
    }
    assert!(played > 25, "the corpus is not where it should be: {played} dialogues");
}

fn play(text: &str) {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let (head, dialogue): (Vec<&str>, Vec<&str>) = {
        let mut lines = lines;
        (lines.by_ref().take_while(|line| !line.is_empty()).collect(), lines.collect())
    };
    let value = |key: &str| {
        let prefix = format!("{key}: ");
        head.iter().find_map(|line| line.strip_prefix(prefix.as_str()))
    };
    let mut scene = Scene::new(vec![to_one()]);
    scene.plan.sign_in = Some(SignIn {
        credential: credential(value("credential").expect("a credential")),
        nonce: [7; 18],
        only: value("only").map(|name| Mechanism::named(name).expect("a mechanism")),
    });
    let offers = value("offers").expect("what the server offers");
    let opening = match value("channel") {
        Some(_) => {
            scene.plan.tls = TlsStart::Implicit(TlsFacts {
                channel_bindings: ChannelBindings {
                    exporter: Some(Binding::tls_exporter([3; 32])),
                    ..ChannelBindings::default()
                },
                ..facts(PeerProof::verified())
            });
            implicit(offers)
        }
        None => starttls(offers),
    };
    scene.play(&format!("{opening}\n{}", dialogue.join("\n")));
}

/// Greeting and EHLO where TLS was there from the start.
fn implicit(offers: &str) -> String {
    format!("S: 220 hi\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 AUTH {offers}")
}

/// Greeting, STARTTLS with a certificate that verifies, and EHLO.
fn starttls(offers: &str) -> String {
    format!(
        "S: 220 hi\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go
        = starttls\n! verified\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 AUTH {offers}"
    )
}

fn credential(text: &str) -> Credential {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        ["password", user, password, rest @ ..] => Credential::Password {
            user: (*user).to_owned(),
            password: Secret::new(*password),
            acting_as: rest.first().map(ToString::to_string),
        },
        ["token", user, token, rest @ ..] => {
            let endpoint = rest.first().and_then(|endpoint| endpoint.split_once(':'));
            Credential::Token {
                user: (*user).to_owned(),
                token: Secret::new(*token),
                endpoint: endpoint.map(|(host, port)| (host.to_owned(), port.parse().expect("a port"))),
            }
        }
        ["external", rest @ ..] => Credential::External { acting_as: rest.first().map(ToString::to_string) },
        _ => panic!("no such credential: {text}"),
    }
}
