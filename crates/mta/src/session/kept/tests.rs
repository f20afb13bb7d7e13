//! The file by value: nobody pushes out what was kept of others, and the bounds hold whatever happens.

use std::time::Duration;

use super::*;
use crate::cases::Cases;
use crate::config::Transcripts;
use crate::diagnosis::session::Confidence;
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

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn found(cause: Cause) -> Diagnosis {
    Diagnosis { cause, confidence: Confidence::Likely, explanation: "x".into(), user: None, program: None }
}

fn row(id: &str, client: &str, cause: Cause) -> Row {
    Row::new(facts(id, client), Some(&found(cause)), Because::Usual)
}

async fn written(file: &File, rows: Vec<Row>, rules: KeptSessions) {
    file.write(News { rows, cases: Changes::default() }, rules, now()).await.unwrap();
}

async fn ids(file: &File, which: Which) -> Vec<String> {
    let which = Which { limit: 100_000, ..which };
    file.list(which).await.unwrap().into_iter().map(|summary| summary.id).collect()
}

#[tokio::test]
async fn of_one_client_with_one_cause_the_first_three_and_the_last_five_stay() {
    let file = File::in_memory();
    for number in 0..20 {
        written(&file, vec![row(&format!("s{number}"), "192.0.2.7:1", Cause::RelayDenied)], RULES).await;
    }
    written(&file, vec![row("other", "192.0.2.7:1", Cause::WrongServerName)], RULES).await;
    written(&file, vec![row("elsewhere", "192.0.2.8:1", Cause::RelayDenied)], RULES).await;
    let mut kept = ids(&file, Which::default()).await;
    kept.sort();
    assert_eq!(kept, ["elsewhere", "other", "s0", "s1", "s15", "s16", "s17", "s18", "s19", "s2"]);
}

#[tokio::test]
async fn the_same_holds_for_those_that_wait_for_one_write() {
    let mut pending = Pending::default();
    (0..5_000).for_each(|number| pending.push(row(&format!("s{number}"), "192.0.2.7:1", Cause::RelayDenied)));
    let waiting: Vec<String> = pending.take().into_iter().map(|row| row.summary.id).collect();
    assert_eq!(waiting, ["s0", "s1", "s2", "s4995", "s4996", "s4997", "s4998", "s4999"]);
    assert_eq!(pending.take_lost(), 0);
}

#[test]
fn when_too_many_wait_those_that_are_worth_least_do_not() {
    let mut pending = Pending::default();
    for number in 0..1_000_u32 {
        let client = format!("{}:1", IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
        pending.push(row(&format!("n{number}"), &client, Cause::PortScan));
    }
    let mut anna = facts("anna", "192.0.2.7:1");
    anna.user = Some("anna".into());
    pending.push(Row::new(anna, Some(&found(Cause::SenderNotOwned)), Because::Usual));
    assert_eq!(pending.take_lost(), 1_000 - WAITING_MOST as u64 + 1);
    let waiting = pending.take();
    assert_eq!(waiting.len(), WAITING_MOST);
    assert!(waiting.iter().any(|row| row.summary.id == "anna"));
}

#[tokio::test]
async fn ten_thousand_troubles_leave_the_file_bounded_and_what_concerns_us_in_it() {
    let file = File::in_memory();
    let mut anna = facts("anna", "192.0.2.7:1");
    anna.user = Some("anna".into());
    let mut rows = vec![Row::new(anna, Some(&found(Cause::SenderNotOwned)), Because::Usual)];
    let causes = [Cause::PortScan, Cause::RelayDenied, Cause::HttpSpoken, Cause::TlsOnStarttlsPort];
    for number in 0..10_000_u32 {
        let client = format!("{}:1", IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
        rows.push(row(&format!("n{number}"), &client, causes[number as usize % causes.len()]));
        if rows.len() == 500 {
            written(&file, std::mem::take(&mut rows), RULES).await;
        }
    }
    written(&file, rows, RULES).await;
    let kept = ids(&file, Which::default()).await;
    assert_eq!(kept.len(), 1_000);
    assert!(kept.contains(&"anna".to_owned()));
}

#[tokio::test]
async fn one_client_has_a_share_and_no_more_whatever_names_it_claims() {
    let file = File::in_memory();
    for number in 0..500 {
        let mut one = facts(&format!("s{number}"), "192.0.2.7:1");
        let fault = Some(SignInFault::WrongPassword);
        one.sign_ins.push(SignIn { user: format!("user{number}"), by: Proof::Password, fault, why: None });
        one.tell_claimant(|_| Home::Here, |_| false, |_| true);
        written(&file, vec![Row::new(one, Some(&found(Cause::WrongPassword)), Because::Usual)], RULES).await;
    }
    assert_eq!(ids(&file, Which::default()).await.len() as u64, RULES.most / SHARE);
}

#[tokio::test]
async fn octets_and_age_are_bounded_and_what_is_watched_stays_longest() {
    let file = File::in_memory();
    let watched = Row::new(facts("watched", "192.0.2.7:1"), None, Because::Watched);
    let size = signed(serde_json::to_string(&watched.facts).unwrap().len() as u64);
    let mut rows = vec![watched];
    for number in 0..50 {
        rows.push(row(&format!("n{number}"), &format!("198.51.100.{number}:1"), Cause::RelayDenied));
    }
    let space = u64::try_from(size * 10).unwrap();
    written(&file, rows, KeptSessions { space, ..RULES }).await;
    let kept = ids(&file, Which::default()).await;
    assert!((8..=10).contains(&kept.len()) && kept.contains(&"watched".to_owned()), "{kept:?}");
    let later = now().checked_add(SignedDuration::from_hours(25)).unwrap();
    file.write(News::default(), RULES, later).await.unwrap();
    assert!(ids(&file, Which::default()).await.is_empty());
}

#[tokio::test]
async fn sessions_are_found_by_what_is_asked_for() {
    let file = File::in_memory();
    let mut anna = facts("anna", "192.0.2.7:1");
    let fault = Some(SignInFault::WrongPassword);
    anna.sign_ins.push(SignIn { user: "Anna@Example.org".into(), by: Proof::Password, fault, why: None });
    let fine = Row::new(facts("fine", "[2001:db8::1]:9"), None, Because::Watched);
    let mut old = row("old", "192.0.2.9:1", Cause::RelayDenied);
    old.summary.began = now().checked_sub(SignedDuration::from_hours(3)).unwrap();
    let anna = Row::new(anna, Some(&found(Cause::WrongPassword)), Because::Usual);
    written(&file, vec![anna, fine, old], RULES).await;
    let of = |which: Which| ids(&file, which);
    let all = Which::default;
    assert_eq!(of(all()).await, ["old", "anna", "fine"]);
    assert_eq!(
        of(Which { of: Wanted { troubled: true, ..Wanted::default() }, ..all() }).await,
        ["old", "anna"]
    );
    assert_eq!(
        of(Which { of: Wanted { user: Some("anna@example.org".into()), ..Wanted::default() }, ..all() })
            .await,
        ["anna"]
    );
    assert!(
        of(Which { of: Wanted { user: Some("nna@example.org".into()), ..Wanted::default() }, ..all() })
            .await
            .is_empty()
    );
    assert_eq!(
        of(Which {
            of: Wanted { address: Some("2001:db8::/64".parse().unwrap()), ..Wanted::default() },
            ..all()
        })
        .await,
        ["fine"]
    );
    assert_eq!(of(Which { cause: Some(Cause::RelayDenied), ..all() }).await, ["old"]);
    assert!(
        of(Which { of: Wanted { listener: Some("mx".into()), ..Wanted::default() }, ..all() })
            .await
            .is_empty()
    );
    let since = now().checked_sub(SignedDuration::from_hours(1)).ok();
    assert_eq!(of(Which { since, ..all() }).await, ["anna", "fine"]);
    let last = file.list(Which { limit: 1, ..all() }).await.unwrap();
    assert_eq!(last[0].id, "fine");
    let facts = file.facts("anna".into()).await.unwrap().unwrap();
    assert_eq!(facts.sign_ins[0].user, "Anna@Example.org");
    assert!(file.facts("nobody".into()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_cannot_be_written_is_handed_back() {
    let file = File::in_memory();
    let drop = |transaction: &Transaction<'_>| transaction.execute_batch("DROP TABLE facts");
    file.0.write(drop).await.unwrap();
    let news = News { rows: vec![row("s", "192.0.2.7:1", Cause::RelayDenied)], cases: Changes::default() };
    let (news, _) = file.write(news, RULES, now()).await.unwrap_err();
    assert_eq!(news.rows.len(), 1);
    assert!(ids(&file, Which::default()).await.is_empty());
}

#[tokio::test]
async fn a_case_that_makes_no_sense_is_left_out() {
    let file = File::in_memory();
    let write = |transaction: &Transaction<'_>| {
        transaction.execute("INSERT INTO cases VALUES (1, '{\"cause\":\"of-the-future\"}')", [])
    };
    file.0.write(write).await.unwrap();
    assert!(Cases::of(file.cases().await.unwrap()).worst_first().is_empty());
}
