//! Sessions in words: readable, clean, bounded, whatever was in the facts.

use postern_smtp::tls::{Alert, HandshakeFault};
use serde_json::{Value, json};

use super::*;
use crate::diagnosis::session::{Cause, Diagnosis};
use crate::session::TlsStood;
use crate::session::tests::facts;

const WORDS: Words<'_> =
    Words { host: "mail.example.org", starttls_port: Some(587), tls_port: Some(465), user: Some("anna") };

/// Facts with this dialogue, as they are read from the file.
fn with_lines(lines: &Value) -> Facts {
    let mut value = serde_json::to_value(facts("s1-2", "192.0.2.7:50000")).unwrap();
    value["dialogue"] = json!({"first": lines, "last": [], "omitted": 0, "mechanisms": ["PLAIN"]});
    serde_json::from_value(value).unwrap()
}

fn usual() -> Facts {
    with_lines(&json!([
        {"at": 0, "said": "reply", "code": 220, "text": "220 mail.example.org ESMTP"},
        {"at": 12, "said": "command", "verb": "ehlo", "text": "EHLO laptop"},
        {"at": 13, "said": "reply", "code": 250, "text": "250-mail.example.org\n250 STARTTLS"},
        {"at": 20, "said": "tls", "version": "TLSv1.3", "cipher": "X"},
        {"at": 1500, "said": "withheld", "octets": 24},
        {"at": 1600, "said": "content", "octets": 4711},
        {"at": 1700, "said": "overlong"},
    ]))
}

#[test]
fn a_transcript_reads_as_a_postmaster_expects() {
    let text = transcript(&usual());
    let wanted = [
        "    0.000 S: 220 mail.example.org ESMTP",
        "    0.012 C: EHLO laptop",
        "    0.013 S: 250-mail.example.org",
        "    0.013 S: 250 STARTTLS",
        "    0.020 -- TLSv1.3, X",
        "    1.500 C: [24 octets withheld]",
        "    1.600 C: [4711 octets]",
        "    1.700 C: [a line that is too long]",
    ];
    assert_eq!(text, wanted);
}

#[test]
fn what_is_left_out_between_is_told_where_it_was() {
    let mut value = serde_json::to_value(usual()).unwrap();
    value["dialogue"]["last"] = json!([{"at": 9000, "said": "overlong"}]);
    value["dialogue"]["omitted"] = json!(17);
    let text = transcript(&serde_json::from_value(value).unwrap());
    assert_eq!(text[8], "          -- 17 lines are left out here");
    assert_eq!(text.len(), 10);
}

#[test]
fn what_is_known_of_tls_is_told_in_words() {
    let mut known = usual();
    known.offer = Some(TlsOffer {
        versions: vec![0x0301, 0x0300, 0x7a7a],
        server_name: Some("smtp.example.org".into()),
        protocols: Vec::new(),
        ciphers: (1..=9).collect(),
        groups: vec![0x001d],
    });
    known.tls = Some(TlsStood {
        begun: TlsBegun::StartTls,
        version: "TLSv1.2".into(),
        cipher: "Y".into(),
        server_name: Some("smtp.example.org".into()),
        name_borne: Some(false),
    });
    let words = in_words(&known);
    let of = |name: &str| words.iter().find(|(known, _)| *known == name).unwrap().1.clone();
    assert_eq!(
        of("TLS offered"),
        "TLS 1.0, SSLv3, version 7a7a\nfor the server name smtp.example.org\n\
         cipher suites: 0001 0002 0003 0004 0005 0006 and 3 more\ngroups: 001d"
    );
    assert_eq!(
        of("TLS"),
        "TLSv1.2 Y, by STARTTLS, for smtp.example.org, which the certificate does not bear"
    );
    known.tls_fault = Some((HandshakeFault::Alert(Alert::UNKNOWN_CA), "the client says unknown_ca".into()));
    assert!(in_words(&known).contains(&("TLS", "failed: the client says unknown_ca".into())));
}

/// Everything in a value that is text, exchanged for something nasty.
fn poisoned(value: &mut Value, key: &str, poison: &str) {
    let fixed = [
        "opening",
        "end",
        "said",
        "verb",
        "role",
        "greets",
        "otherwise",
        "begun",
        "by",
        "fault",
        "reason",
        "stage",
        "client",
        "began",
    ];
    match value {
        Value::String(text) if !fixed.contains(&key) => *text = poison.to_owned(),
        Value::Array(values) => values.iter_mut().for_each(|value| poisoned(value, key, poison)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(key, value)| poisoned(value, key, poison));
        }
        _ => {}
    }
}

#[test]
fn no_line_holds_what_could_steer_a_terminal_or_has_no_end() {
    let mut known = usual();
    known.hello = Some("x".into());
    known.user = Some("x".into());
    known.offer =
        Some(TlsOffer { server_name: Some("x".into()), protocols: vec!["x".into()], ..TlsOffer::default() });
    known.refusals.push(Refusal {
        at: "MAIL".into(),
        address: Some("x".into()),
        token: None,
        reply: "x".into(),
        why: Some("x".into()),
    });
    let fault = Some(SignInFault::WrongPassword);
    known.sign_ins.push(SignIn { user: "x".into(), by: Proof::Scram, fault, why: Some("x".into()) });
    let poisons = [
        "\u{1b}[2J\u{202e}\u{2066}\u{9b}\0\r\n.\r\nX: y\u{7f}\u{feff}".to_owned(),
        "x".repeat(100_000),
        "日本 \u{e0041}".repeat(3_000),
        "\n".repeat(5_000),
    ];
    for poison in poisons {
        let mut value = serde_json::to_value(&known).unwrap();
        poisoned(&mut value, "", &poison);
        let known: Facts = serde_json::from_value(value).unwrap();
        let diagnosis = Diagnosis {
            cause: Cause::RelayDenied,
            confidence: Confidence::Likely,
            explanation: poison.clone(),
            user: Some(poison.clone()),
            program: None,
        };
        let clean = |line: &str| line.chars().all(postern_smtp::text::is_harmless);
        for line in transcript(&known) {
            assert!(clean(&line) && line.len() <= LINE_MOST + 10, "{line:?}");
        }
        for (_, value) in in_words(&known) {
            assert!(value.lines().all(clean) && value.len() <= VALUE_MOST * 4, "{value:?}");
        }
        assert!(clean(&ending(&Summary::of(&known, Some(&diagnosis)))));
        let text = export(&Shown { facts: known, diagnosis: Some(diagnosis) }, &WORDS);
        for line in text.lines() {
            assert!(
                line.len() <= COLUMNS && line.chars().all(|c| c == ' ' || c.is_ascii_graphic()),
                "{line:?}"
            );
        }
        assert!(text.len() < 60_000, "{}", text.len());
    }
}

#[test]
fn what_is_exported_says_what_was_left_out_and_what_to_do() {
    let found = Diagnosis {
        cause: Cause::TlsOnStarttlsPort,
        confidence: Confidence::Certain,
        explanation: "It began with a TLS handshake".into(),
        user: None,
        program: None,
    };
    let text = export(&Shown { facts: usual(), diagnosis: Some(found) }, &WORDS);
    for words in ["Left out: passwords", "C: EHLO laptop", "What went wrong (tls-on-starttls-port): certain"]
    {
        assert!(text.contains(words), "{words} is not in {text}");
    }
    assert!(!text.contains("{host}"), "{text}");
}

#[test]
fn long_lines_are_cut_at_blanks_and_words_without_end_anyway() {
    assert_eq!(cut("one two three", 8), ("one two", "three"));
    assert_eq!(cut("onetwothree", 8), ("onetwoth", "ree"));
    assert_eq!(cut("short", 8), ("short", ""));
    assert_eq!(cut("  onetwothree", 8), ("  onetwo", "three"));
}
