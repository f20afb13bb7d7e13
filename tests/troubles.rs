//! Troubles of one person with one cause are one case, which a message solves and which can be answered by mail.

use serde_json::Value;

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::fail;
use crate::support::{Client, Postern, Setup, content, wait_for, wait_for_maildir};

/// Everybody comes through a front end on loopback, which says from where.
const LISTENERS: &str = "[[listener]]\nname = \"submission\"\nrole = \"submission\"\ntls = \"required\"\n\
     bind = [\"127.0.0.1:0\"]\nproxy_protocol = [\"127.0.0.1\"]\n";

fn house() -> Postern {
    Setup::new().listeners(LISTENERS).start()
}

/// A session from there in which somebody tries a password; the code of the answer.
fn try_password(postern: &Postern, from: &str, user: &str, password: &str) -> u16 {
    let mut client = Client::dial_for(from, postern.at("submission")).starttls(&postern.root(), "localhost");
    let code = client.sign_in(user, password).code;
    client.try_send(b"QUIT\r\n");
    client.try_reply();
    code
}

fn cases(postern: &Postern, more: &[&str]) -> Vec<Value> {
    let arguments = [&["trouble", "list", "--json"], more].concat();
    let value: Value = serde_json::from_str(&postern.cli(&arguments)).unwrap();
    value.as_array().unwrap().clone()
}

/// Waits until so often is counted what is wrong; sessions count when their connections have ended.
#[track_caller]
fn wait_for_count(postern: &Postern, count: u64) -> Vec<Value> {
    let counted = |cases: &[Value]| cases.iter().filter_map(|case| case["count"].as_u64()).sum::<u64>();
    wait_for(&format!("{count} troubles"), || {
        let cases = cases(postern, &["--all"]);
        (counted(&cases) >= count).then_some(cases)
    })
}

#[test]
fn the_same_trouble_is_one_case_which_a_message_solves() {
    let mut postern = house();
    for number in 0..4 {
        assert_eq!(try_password(&postern, &format!("192.0.2.{number}"), "Anna", "wrong"), 535);
    }
    let all = wait_for_count(&postern, 4);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!((&all[0]["cause"], &all[0]["whom"]["user"]), (&"wrong-password".into(), &"anna".into()));
    let listed = postern.cli(&["trouble", "list"]);
    assert!(listed.contains("anna") && listed.contains("open"), "{listed}");
    let log = postern.log();
    let told = log.lines().filter(|line| line.contains("session without mail") && line.contains("(case 1"));
    assert!(told.count() <= 1, "{log}");
    let mut client =
        Client::dial_for("192.0.2.9", postern.at("submission")).starttls(&postern.root(), "localhost");
    client.sign_in("anna", PASSWORD).expect(235);
    client.deliver(ANNA, &[ANNA], &content::plain(ANNA, ANNA, "It works")).expect(250);
    client.say("QUIT").expect(221);
    wait_for("the case to be solved", || cases(&postern, &[]).is_empty().then_some(()));
    postern.terminate();
    assert_eq!(postern.cli(&["trouble", "list"]), "there is nothing open\n");
    assert!(postern.cli(&["trouble", "list", "--all"]).contains("solved"));
}

#[test]
fn names_that_are_nobodys_make_no_cases_of_their_own() {
    let postern = house();
    for number in 0..6 {
        assert_eq!(try_password(&postern, "192.0.2.7", &format!("invented{number}"), "x"), 535);
    }
    let all = wait_for_count(&postern, 6);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["whom"]["address"], "192.0.2.7/32");
}

#[test]
fn scanners_share_a_case_when_there_are_many() {
    let postern = house();
    for number in 0..40 {
        let mut client = Client::dial_for(&format!("198.51.100.{number}"), postern.at("submission"));
        client.reply().expect(220);
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        client.reply().expect(530);
    }
    let all = wait_for_count(&postern, 40);
    assert!(all.len() <= 21, "{}", all.len());
    assert!(all.iter().any(|case| case["whom"] == "many"), "{all:?}");
    let sessions: Value = serde_json::from_str(&postern.cli(&["session", "list", "--json"])).unwrap();
    assert!(sessions.as_array().unwrap().len() <= 40);
}

#[test]
fn a_client_that_is_turned_away_counts_without_a_session() {
    let postern = house();
    postern.cli(&["ban", "add", "203.0.113.66"]);
    for _ in 0..3 {
        let mut client = Client::dial_for("203.0.113.66", postern.at("submission"));
        client.reply().expect(554);
    }
    let all = wait_for_count(&postern, 3);
    assert_eq!((&all[0]["cause"], &all[0]["count"]), (&"client-banned".into(), &3.into()));
    assert_eq!(postern.cli(&["session", "list"]), "no such session is kept\n");
}

#[test]
fn a_case_is_shown_answered_by_mail_only_when_told_to_and_closed() {
    let mut postern = house();
    try_password(&postern, "192.0.2.7", "anna", "wrong");
    wait_for_count(&postern, 1);
    let shown = postern.cli(&["trouble", "show", "1"]);
    for words in ["What to do", "What to tell the person", "S: 535 5.7.8", "client.test", "192.0.2.7"] {
        assert!(shown.contains(words), "{words} is not in {shown}");
    }
    let printed = postern.cli(&["trouble", "answer", "1"]);
    assert!(printed.starts_with("To: anna@home.test\nSubject: "), "{printed}");
    assert!(printed.contains("User name: anna") && printed.contains("with STARTTLS"), "{printed}");
    assert!(postern.mail_of("anna").is_empty(), "nothing is sent unasked");
    let sent = postern.cli(&["trouble", "answer", "1", "--send"]);
    assert!(sent.starts_with("sent to anna@home.test as "), "{sent}");
    let mail = wait_for_maildir(&postern.maildir("anna"), 1);
    let mail = String::from_utf8(mail[0].clone()).unwrap();
    assert!(mail.contains("Auto-Submitted: auto-generated") && mail.contains("User name: anna"), "{mail}");
    postern.cli(&["trouble", "close", "1"]);
    assert!(cases(&postern, &[]).is_empty());
    postern.terminate();
    assert_eq!(cases(&postern, &["--all"])[0]["state"]["state"], "closed");
    assert!(postern.cli(&["trouble", "answer", "1"]).starts_with("To: anna@home.test"));
    let said = fail(&mut postern.command(&["trouble", "answer", "1", "--send"]));
    assert!(said.contains("not running"), "{said}");
    let said = fail(&mut postern.command(&["trouble", "show", "99"]));
    assert!(said.contains("there is no case 99"), "{said}");
}
