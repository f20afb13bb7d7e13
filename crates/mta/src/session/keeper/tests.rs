//! The desk by value: what is kept, what is solved, and what it costs where nobody wants to know.

use postern_smtp::reply::catalogue;

use super::*;
use crate::cases::State as Settled;
use crate::diagnosis::session::{Cause, Confidence};
use crate::directory::SignInFault;
use crate::event::Proof;
use crate::limits::Home;
use crate::session::SignIn;
use crate::session::tests::facts;

const RULES: KeptSessions = KeptSessions {
    transcripts: Transcripts::Troubled,
    keep: Duration::from_hours(24),
    most: 1_000,
    space: 1 << 30,
};

fn now(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

async fn keeper() -> Keeper {
    Keeper::of(File::in_memory(), now(0)).await.unwrap()
}

fn wrong_password() -> Diagnosis {
    Diagnosis {
        cause: Cause::WrongPassword,
        confidence: Confidence::Certain,
        explanation: "the password of anna is wrong".into(),
        user: Some("anna".into()),
        program: None,
    }
}

fn tried(id: &str, user: &str, fault: SignInFault) -> Facts {
    let mut facts = facts(id, "192.0.2.7:1");
    facts.sign_ins.push(SignIn { user: user.into(), by: Proof::Password, fault: Some(fault), why: None });
    facts.right_name = Some("anna".into());
    facts.tell_claimant(|_| Home::Here, |_| false, |_| true);
    facts
}

async fn kept(keeper: &Keeper, rules: KeptSessions) -> Vec<String> {
    keeper.write(rules, now(9)).await.unwrap();
    let all = keeper.list(Which { limit: 100, ..Which::default() }).await.unwrap();
    all.into_iter().map(|summary| summary.id).collect()
}

#[tokio::test]
async fn troubled_sessions_are_kept_and_others_only_when_all_are() {
    let keeper = keeper().await;
    keeper.ended_with(facts("fine", "192.0.2.7:1"), None, &RULES, now(1));
    let found =
        keeper.ended_with(facts("troubled", "192.0.2.7:1"), Some(&wrong_password()), &RULES, now(1)).unwrap();
    assert_eq!((found.noted.count, found.noted.tell), (1, true));
    assert_eq!(kept(&keeper, RULES).await, ["troubled"]);
    let all = KeptSessions { transcripts: Transcripts::All, ..RULES };
    keeper.ended_with(facts("fine", "192.0.2.7:1"), None, &all, now(2));
    assert_eq!(kept(&keeper, all).await, ["troubled", "fine"]);
}

#[tokio::test]
async fn switched_off_nothing_is_wanted_and_nothing_kept_but_what_is_recorded() {
    let keeper = keeper().await;
    let off = KeptSessions { transcripts: Transcripts::Off, ..RULES };
    assert!(!keeper.wants(&off) && keeper.wants(&RULES) && !keeper.is_followed());
    assert!(keeper.ended_with(facts("one", "192.0.2.7:1"), Some(&wrong_password()), &off, now(1)).is_none());
    assert!(kept(&keeper, off).await.is_empty() && keeper.cases().is_empty());
    let minute = SignedDuration::from_mins(1);
    let wanted = Wanted { address: Some("192.0.2.0/24".parse().unwrap()), ..Wanted::default() };
    let watch = keeper.record(wanted, minute, now(1)).unwrap();
    assert!(keeper.wants(&off) && !keeper.is_followed());
    keeper.ended_with(facts("two", "192.0.2.7:1"), None, &off, now(2));
    keeper.ended_with(facts("three", "198.51.100.1:1"), None, &off, now(2));
    assert_eq!(kept(&keeper, off).await, ["two"]);
    assert_eq!(keeper.stop(watch.id).unwrap().kept, 1);
    assert!(!keeper.wants(&off));
}

#[tokio::test]
async fn a_name_that_is_nobodys_counts_as_its_address_and_one_that_is_somebodys_as_his() {
    let keeper = keeper().await;
    for number in 0..500 {
        let facts = tried("s", &format!("invented{number}"), SignInFault::UnknownUser);
        keeper.ended_with(facts, Some(&wrong_password()), &RULES, now(1));
        let facts = tried("s", &format!("Anna@{number}.example"), SignInFault::NameWithWrongDomain);
        keeper.ended_with(facts, Some(&wrong_password()), &RULES, now(1));
    }
    let whose: Vec<String> = keeper.cases().iter().map(|case| case.whom.to_string()).collect();
    assert_eq!(whose, ["anna", "192.0.2.7"]);
}

#[tokio::test]
async fn a_message_solves_the_cases_of_its_sender_by_any_of_his_names_and_of_his_address() {
    let keeper = keeper().await;
    for name in ["anna", "anna@example.org", "berta"] {
        let facts = tried("s", name, SignInFault::WrongPassword);
        keeper.ended_with(facts, Some(&wrong_password()), &RULES, now(1));
    }
    keeper.ended_with(facts("s", "192.0.2.7:1"), Some(&wrong_password()), &RULES, now(1));
    let mut sent = facts("s", "192.0.2.7:2");
    sent.accepted = 1;
    let anna = Principal::named("anna", vec!["Anna@example.org".parse().unwrap()]);
    keeper.sent(&sent, Some(&anna), now(2));
    let open: Vec<String> = keeper
        .cases()
        .iter()
        .filter(|case| case.state == Settled::Open)
        .map(|case| case.whom.to_string())
        .collect();
    assert_eq!(open, ["berta"]);
}

#[tokio::test]
async fn cases_outlive_a_restart_and_a_write_that_failed_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (keeper, trouble) = Keeper::open(folder.path(), now(0)).await.unwrap();
    assert!(trouble.is_none());
    keeper.ended_with(facts("one", "192.0.2.7:1"), Some(&wrong_password()), &RULES, now(1));
    let rename = |from: &str, to: &str| {
        let path = folder.path().join("sessions.db");
        let other = rusqlite::Connection::open(path).unwrap();
        other.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}")).unwrap();
    };
    rename("cases", "elsewhere");
    keeper.write(RULES, now(2)).await.unwrap_err();
    rename("elsewhere", "cases");
    keeper.close(1, now(3)).unwrap();
    keeper.write(RULES, now(3)).await.unwrap();
    let again = Keeper::open_for_reading(folder.path(), now(4)).await.unwrap();
    assert_eq!(again.cases(), keeper.cases());
    assert_eq!(again.cases()[0].state, Settled::Closed { at: now(3) });
    assert_eq!(kept(&keeper, RULES).await, ["one"]);
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_cases_too() {
    let keeper = keeper().await;
    keeper.ended_with(facts("one", "192.0.2.7:1"), Some(&wrong_password()), &RULES, now(1));
    keeper.write(RULES, now(2)).await.unwrap();
    keeper.write(RULES, now(2 + 25 * 3600)).await.unwrap();
    assert!(keeper.cases().is_empty() && kept(&keeper, RULES).await.is_empty());
    let left = Keeper::of(keeper.file.clone(), now(3)).await.unwrap();
    assert!(left.cases().is_empty());
}

#[tokio::test]
async fn who_follows_hears_how_sessions_end_and_only_his() {
    let keeper = keeper().await;
    let wanted = Wanted { user: Some("anna".into()), ..Wanted::default() };
    let (id, cursor) = keeper.follow(wanted, now(0)).unwrap();
    assert!(keeper.is_followed());
    keeper.ended_with(facts("other", "192.0.2.7:1"), None, &RULES, now(1));
    let anna = tried("annas", "Anna", SignInFault::WrongPassword);
    keeper.ended_with(anna, Some(&wrong_password()), &RULES, now(1));
    let heard = keeper.heard(id, cursor, now(2)).unwrap();
    assert_eq!(heard.lines.len(), 1);
    let line = &heard.lines[0];
    assert_eq!(line.session, "annas");
    assert!(line.text.ends_with("the password of anna is wrong (wrong-password)"), "{line:?}");
    assert!(keeper.heard(id, heard.cursor, now(60)).is_none());
    keeper.end_watches(now(60));
    assert!(!keeper.is_followed());
}
#[tokio::test]
async fn who_was_turned_away_counts_in_a_case_without_a_session() {
    let keeper = keeper().await;
    let record = crate::session::Recorder::new(facts("x", "[::1]:1").place, crate::session::Keeping::All);
    let banned =
        record.turned_away("192.0.2.7:1".parse().unwrap(), &catalogue::client_banned("mail.example.org"));
    for _ in 0..3 {
        keeper.turned_away(&banned, &RULES, now(1));
    }
    assert!(kept(&keeper, RULES).await.is_empty());
    let cases = keeper.cases();
    assert_eq!(cases.len(), 1, "{cases:?}");
    assert_eq!((cases[0].count, cases[0].sessions.len()), (3, 0));
}
