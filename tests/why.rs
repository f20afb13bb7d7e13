//! `postern why` and `postern user show`: what became of a message and of a sign-in, from the events that are kept, whether
//! the daemon runs, has ended, or was killed.

use std::fs;

use serde_json::Value;

use crate::support::postern::ANNA;
use crate::support::programs::fail;
use crate::support::{Client, Do, Peer, Postern, Setup, content, wait_for};

const BEN: &str = "ben@elsewhere.test";

/// The answer, which must hold all of these words.
#[track_caller]
fn why(postern: &Postern, what: &str, words: &[&str]) -> String {
    let said = postern.cli(&["why", what]);
    for words in words {
        assert!(said.contains(words), "no {words:?} about {what} in\n{said}");
    }
    said
}

#[track_caller]
fn events(postern: &Postern, what: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(&postern.cli(&["why", what, "--json"])).unwrap();
    json["events"].as_array().unwrap().clone()
}

/// The ids of messages, in the order in which they were accepted.
#[track_caller]
fn accepted(postern: &Postern, what: &str) -> Vec<String> {
    let events = events(postern, what);
    let accepted = events.iter().filter(|event| event["event"] == "accepted");
    accepted.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_delivered_message_is_told_end_to_end_by_each_of_its_names_and_without_the_daemon() {
    let peer = Peer::start();
    let mut postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&[BEN], &content::plain(ANNA, BEN, "Good news"));
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    let events = events(&postern, "<Good-news@client.test>");
    let kinds: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["signed-in", "accepted", "delivered"], "{events:#?}");
    let (id, session) = (events[1]["id"].as_str().unwrap(), events[0]["id"].as_str().unwrap());
    let words = [
        "anna signed in with a password, from 127.0.0.1 on submission (TLSv1.3",
        "accepted from anna@home.test for ben@elsewhere.test",
        "Message-ID <Good-news@client.test>",
        "delivered to ben@elsewhere.test via out",
    ];
    for stopped in [false, true] {
        if stopped {
            postern.terminate();
        }
        for what in [
            id,
            session,
            "<Good-news@client.test>",
            "good-news@CLIENT.test",
            BEN,
            "Ben@Elsewhere.TEST",
            "anna",
            ANNA,
        ] {
            why(&postern, what, &words);
        }
        why(&postern, "127.0.0.1", &words[..3]);
    }
}

#[test]
fn a_message_that_waits_is_told_with_its_diagnosis_and_when_it_is_tried_next() {
    let greylisting =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("451 4.7.1 Greylisted") } else { Do::Usual });
    let greylisting = greylisting.start();
    let setup = Setup::new().queue("retry = [\"1h\"]\njitter = 0.0").next_hop(greylisting.address());
    let mut postern = setup.start();
    postern.submit(&[BEN], &content::plain(ANNA, BEN, "Patience"));
    postern.wait_for_attempts(1);
    let words = [
        "ben@elsewhere.test has to wait",
        "451 4.7.1 Greylisted",
        "in the queue at the moment",
        "tried once, next in",
        "to do",
    ];
    why(&postern, "Patience@client.test", &words);
    postern.terminate();
    why(&postern, "Patience@client.test", &words);
}

#[test]
fn a_failure_is_followed_to_the_report_and_to_whoever_got_it() {
    let peer =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("550 5.1.1 Nobody here") } else { Do::Usual });
    let peer = peer.start();
    let postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&[BEN], &content::plain(ANNA, BEN, "Bad news"));
    postern.wait_for_mail("anna", 1);
    postern.wait_for_empty_queue();
    let said = why(
        &postern,
        "Bad-news@client.test",
        &[
            "ben@elsewhere.test failed for good",
            "550 5.1.1 Nobody here",
            "to do:",
            "is told that it is failed",
        ],
    );
    assert!(said.contains("delivered to anna@home.test via mailboxes"), "the report's own fate in {said}");
    // The report leads back to what it is about.
    let events = events(&postern, "Bad-news@client.test");
    let report = events.iter().find(|event| event["event"] == "reported").unwrap();
    let of_report = postern.cli(&["why", report["report"].as_str().unwrap()]);
    assert!(of_report.contains("accepted from anna@home.test"), "{of_report}");
}

#[test]
fn a_persons_sign_ins_failures_and_messages_are_shown_with_what_became_of_them() {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let mut client = Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost");
    client.sign_in("anna", "not her password").expect(535);
    drop(client);
    let mut content = b"User-Agent: Handwriting/7\r\n".to_vec();
    content.extend(content::plain(ANNA, BEN, "First"));
    postern.submit(&[BEN], &content);
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    let shown = postern.cli(&["user", "show", "anna"]);
    for words in [
        "last sign-ins:",
        "with a password, from 127.0.0.1 on submission",
        "program Handwriting/7",
        "sign-ins that failed:",
        "failed: wrong password",
        "last messages:",
        "from anna@home.test for ben@elsewhere.test: 1 delivered",
        "more: postern why anna",
    ] {
        assert!(shown.contains(words), "no {words:?} in {shown}");
    }
    let json: Value = serde_json::from_str(&postern.cli(&["user", "show", "anna", "--json"])).unwrap();
    for list in ["sign_ins", "failed_sign_ins", "messages"] {
        assert_eq!(json[list].as_array().map(Vec::len), Some(1), "{json:#}");
    }
    why(&postern, ANNA, &["sign-in as anna with a password from 127.0.0.1 failed"]);
}

#[test]
fn what_was_written_survives_a_kill_and_is_told_afterwards() {
    let peer = Peer::start();
    let mut postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&[BEN], &content::plain(ANNA, BEN, "Before the end"));
    let journal = postern.data_dir().join("events.db-wal");
    wait_for("the event to be written", || {
        let octets = fs::read(&journal).ok()?;
        holds(&octets, b"Before-the-end@client.test").then_some(())
    });
    postern.kill();
    why(&postern, "Before-the-end@client.test", &["anna signed in", "accepted from anna@home.test"]);
    postern.start();
    postern.submit(&[BEN], &content::plain(ANNA, BEN, "After it"));
    postern.wait_for_empty_queue();
    assert_eq!(accepted(&postern, BEN).len(), 2);
    why(&postern, "After-it@client.test", &["delivered to ben@elsewhere.test"]);
}

fn holds(octets: &[u8], wanted: &[u8]) -> bool {
    octets.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn nothing_found_says_what_was_searched_and_how_far_back_that_goes() {
    let mut postern = Setup::new().start();
    let said = fail(&mut postern.command(&["why", "nobody@nowhere.test"]));
    assert!(said.contains("nothing has been kept yet"), "{said}");
    postern.submit(&[ANNA], &content::plain(ANNA, ANNA, "To myself"));
    postern.wait_for_mail("anna", 1);
    let said = fail(&mut postern.command(&["why", "nobody@nowhere.test"]));
    for words in ["address nobody@nowhere.test", "user nobody@nowhere.test", "Message-ID", "is known since"] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    why(&postern, ANNA, &["accepted"]);
    postern.reload(|setup| setup.tables("[history]\nkeep = \"never\"\n"));
    let said = fail(&mut postern.command(&["why", ANNA]));
    assert!(said.contains("[history] keep is \"never\""), "{said}");
    postern.terminate();
    assert!(!postern.data_dir().join("events.db").exists());
}

#[test]
fn the_newest_are_shown_and_older_ones_only_when_asked_for() {
    let postern = Setup::new().start();
    let mut client = postern.signed_in();
    for number in 0..5 {
        let content = content::plain(ANNA, ANNA, &format!("number {number}"));
        client.deliver(ANNA, &[ANNA], &content).expect(250);
    }
    postern.wait_for_mail("anna", 5);
    postern.wait_for_empty_queue();
    let few = postern.cli(&["why", "anna", "--limit", "3"]);
    assert!(few.starts_with("there are older events"), "{few}");
    assert_eq!(few.lines().filter(|line| line.contains("  ") && line.contains('T')).count(), 3, "{few}");
    assert_eq!(accepted(&postern, "anna").len(), 5);
    assert_eq!(accepted(&postern, "number-3@client.test").len(), 1);
    let said = fail(&mut postern.command(&["why", "anna", "--since", "1ms"]));
    assert!(said.contains("nothing found for"), "{said}");
}
