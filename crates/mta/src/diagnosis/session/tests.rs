//! Each cause against sessions that were recorded, and what holds for all of them.
//!
//! The recordings stand beside this file as `CAUSE--PROGRAM-SETTING.json`; how they are made says
//! `inbound/connection/recordings.rs`, whose opening has the command that makes them anew.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::config::{Greets, Otherwise};

const WORDS: Words<'_> =
    Words { host: "mail.example.org", starttls_port: Some(587), tls_port: Some(465), user: None };

/// A name and what was recorded.
fn recorded() -> Vec<(String, Facts)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/diagnosis/session/recorded");
    let mut all: Vec<(String, Facts)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let facts = serde_json::from_str(&std::fs::read_to_string(&path).unwrap());
            (name.clone(), facts.unwrap_or_else(|error| panic!("{name}: {error}")))
        })
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

fn cause_of(name: &str) -> &str {
    name.split("--").next().unwrap()
}

#[test]
fn every_recorded_session_is_diagnosed_as_it_is_named() {
    for (name, facts) in recorded() {
        let found = diagnose(&facts);
        let cause = found.as_ref().map_or("healthy", |found| found.cause.token());
        assert_eq!(cause, cause_of(&name), "{name}: {found:#?}");
    }
}

#[test]
fn a_hello_behind_the_banner_of_a_port_for_tls_came_late() {
    let all = recorded();
    let (_, facts) = all.iter().find(|(name, _)| name == "tls-on-starttls-port--openssl").unwrap();
    let mut facts = facts.clone();
    facts.place.greets = Greets::AfterTls;
    facts.place.otherwise = Otherwise::Served;
    let found = diagnose(&facts).unwrap();
    assert_eq!((found.cause, found.confidence), (Cause::HandshakeStalled, Confidence::Certain));
    assert!(found.explanation.contains("came late or was held back"), "{}", found.explanation);
}

#[test]
fn every_cause_has_a_recorded_session() {
    let recorded: BTreeSet<String> =
        recorded().into_iter().map(|(name, _)| cause_of(&name).to_owned()).collect();
    let missing: Vec<&str> =
        Cause::ALL.iter().map(|cause| cause.token()).filter(|token| !recorded.contains(*token)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(recorded.contains("healthy"));
}

#[test]
fn every_cause_has_a_section_with_all_that_belongs_to_it() {
    for cause in Cause::ALL {
        let Section { title, meaning, user, remedy, programs, .. } = cause.section();
        for text in [title, meaning, user, remedy] {
            assert!(text.len() > 10, "{cause:?}: {text}");
            assert_eq!(text.trim(), *text, "{cause:?}");
        }
        let filled = WORDS.fill(user);
        assert!(filled.ends_with('.') && !filled.contains("{host}"), "{cause:?}: {filled}");
        assert!(filled.split(". ").count() <= 3, "{cause:?} says too much to the person: {filled}");
        let named: BTreeSet<_> = programs.iter().map(|(program, _)| *program).collect();
        assert_eq!(named.len(), programs.len(), "{cause:?} names a program twice");
    }
}

#[test]
fn the_explanation_has_the_names_and_numbers_of_the_session() {
    for (name, facts) in recorded() {
        let Some(found) = diagnose(&facts) else { continue };
        assert!(!found.explanation.is_empty(), "{name}");
        assert!(found.explanation.len() <= 700, "{name}: {}", found.explanation.len());
        if let Some(offered) = facts.offer.as_ref().and_then(|offer| offer.server_name.as_ref())
            && found.cause == Cause::WrongServerName
        {
            assert!(found.explanation.contains(offered), "{name}: {}", found.explanation);
        }
    }
}

#[test]
fn the_program_that_it_probably_is_comes_first_among_the_remedies() {
    let (_, facts) = recorded()
        .into_iter()
        .find(|(name, _)| name == "starttls-not-used--smtplib-without-starttls")
        .unwrap();
    let found = diagnose(&facts).unwrap();
    assert_eq!(found.program, Some(Program::Smtplib));
    let remedies = found.remedies(&WORDS);
    assert_eq!(remedies[0].0, Program::Smtplib);
    assert!(remedies[0].1.contains("\"mail.example.org\", 587"), "{}", remedies[0].1);
}

#[test]
fn a_device_is_known_by_the_name_that_its_maker_gave_it() {
    let (_, facts) = recorded().into_iter().find(|(name, _)| name == "sign-in-not-used--printer").unwrap();
    assert_eq!(Program::guess(&facts), Some((Program::Printer, Confidence::Likely)));
}

/// What stands in backticks.
fn typed(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn what_is_filled_in_reads_well_with_a_name_and_without() {
    for user in [None, Some("anna@example.org")] {
        let words = Words { user, ..WORDS };
        for cause in Cause::ALL {
            let Section { user, remedy, programs, .. } = cause.section();
            for text in [user, remedy].into_iter().chain(programs.iter().map(|(_, step)| step)) {
                let filled = words.fill(text);
                println!("{}: {filled}", cause.token());
                assert_eq!(text.matches('`').count() % 2, 0, "{text}");
                assert!(!typed(&filled).any(|code| code.contains("your ")), "{filled}");
                let prose: String = text.split('`').step_by(2).collect();
                assert!(!prose.contains("{user}"), "the name alone is for what is typed: {text}");
                for wrong in [
                    "{user}",
                    "{account}",
                    "{login}",
                    "{host}",
                    "name your user name",
                    "your your",
                    "the your",
                ] {
                    assert!(!filled.contains(wrong), "{filled}");
                }
            }
            // Who administers is not spoken to as if the account were his.
            assert!(!remedy.contains("{login}") && !remedy.contains("{account}"), "{cause:?}");
        }
    }
}

fn session(name: &str) -> Facts {
    recorded().into_iter().find(|(recorded, _)| recorded == name).unwrap().1
}

#[test]
fn where_either_beginning_is_served_nobody_is_told_that_tls_must_begin_at_once() {
    let explained = |name: &str, otherwise: Otherwise| {
        let mut facts = session(name);
        facts.place.otherwise = otherwise;
        let found = diagnose(&facts).unwrap();
        assert_eq!(found.cause.token(), cause_of(name), "{otherwise:?}");
        found.explanation
    };
    for (name, served) in [
        ("tls-on-starttls-port--openssl", "next try is served"),
        ("starttls-on-tls-port--smtplib-waits", "comes after ten seconds"),
    ] {
        let told = explained(name, Otherwise::Served);
        assert!(told.contains(served) && !told.contains("must begin"), "{told}");
        assert!(!explained(name, Otherwise::Fails).contains("next try"));
    }
}

#[test]
fn a_client_that_was_greeted_after_its_silence_is_judged_by_what_it_says_then() {
    let mut facts = session("starttls-not-used--smtplib-without-starttls");
    facts.place.greets = Greets::AfterTls;
    facts.place.otherwise = Otherwise::Served;
    assert_eq!(diagnose(&facts).unwrap().cause, Cause::StarttlsNotUsed);
}

mod whatever_comes {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// What a field may hold that no session of ours puts there.
    fn odd() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<u64>().prop_map(Value::from),
            "\\PC{0,2000}".prop_map(Value::from),
            Just(Value::Array(Vec::new())),
            prop_oneof![
                "closed-in-handshake",
                "tls",
                "words",
                "closed",
                "timed-out",
                "in-clear",
                "after-tls"
            ]
            .prop_map(Value::from),
        ]
    }

    /// Puts a value in the place of one of the leaves.
    fn change(value: &mut Value, place: &mut usize, odd: &Value) {
        match value {
            Value::Object(map) => map.values_mut().for_each(|value| change(value, place, odd)),
            Value::Array(list) => list.iter_mut().for_each(|value| change(value, place, odd)),
            leaf => {
                if *place == 0 {
                    *leaf = odd.clone();
                }
                *place = place.wrapping_sub(1);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_facts_make_it_fail_and_what_it_says_is_bounded(
            which in 0..1000_usize, place in 0..60_usize, odd in odd(), end in "[a-z ()-]{0,40}", lasted in any::<u64>()
        ) {
            let all = recorded();
            let mut value = serde_json::to_value(&all[which % all.len()].1).unwrap();
            change(&mut value, &mut place.clone(), &odd);
            value["lasted"] = lasted.into();
            if which % 3 == 0 {
                value["end"] = serde_json::json!({ "end": "turned-away", "reason": end });
            }
            if let Ok(facts) = serde_json::from_value::<Facts>(value)
                && let Some(found) = diagnose(&facts)
            {
                prop_assert!(found.explanation.len() <= 700);
                prop_assert!(found.user.is_none_or(|user| user.len() <= 700));
            }
        }
    }
}
