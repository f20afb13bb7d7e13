//! How sessions end: politely, by time, by loss, by the server's or our own fault.

use std::time::Instant;

use postern_smtp::client::{ClientSession, Input, Output};
use postern_smtp::tls::TlsRequirement;

use crate::harness::{Scene, job, plan, shown, to_one};

const READY: &str = "S: 220 hi\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 PIPELINING\n= ready\n";
const ENVELOPE: &str = "! deliver\nC: MAIL FROM:<a@example.org>\nC: RCPT TO:<b@example.net>\nC: DATA\n";
const CONTENT_LINES: &str = "C: Subject: hi\nC:\nC: ..dot\nC: .\n";

/// That the job, after this script, ends deferred by this trouble, and the session with it.
#[track_caller]
fn ends(script: &str, trouble: &str) {
    Scene::new(vec![to_one()]).play(&format!("{script}\n= deferred: {trouble}\n= close: {trouble}"));
}

#[test]
fn quit_is_polite_and_not_waited_for_longer_than_five_seconds() {
    let scene = Scene::new(vec![]);
    scene.play(&format!("{READY}! quit\nC: QUIT\nS: 221 bye\n= close"));
    scene.play(&format!("{READY}! quit\nC: QUIT\n! closed\n= close"));
    scene.play(&format!("{READY}! quit\nC: QUIT\n! after 4\n! after 1\n= close"));
}

#[test]
fn quit_before_the_session_is_ready_spares_the_rest() {
    Scene::new(vec![]).play("! quit\nS: 220 hi\nC: QUIT\nS: 221 bye\n= close");
}

#[test]
fn quit_waits_for_the_message_under_way() {
    Scene::new(vec![to_one()]).play(&format!(
        "{READY}{ENVELOPE}! quit\nS: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}
        S: 250 queued
        = delivered: 250 queued
        C: QUIT
        S: 221 bye
        = close"
    ));
}

#[test]
fn each_step_has_its_time_and_no_more() {
    let silence = "the other server did not answer in time at";
    let late = |seconds: u64| format!("! after {}\n! after 1\n", seconds - 1);
    ends(&format!("! deliver\n{}", late(300)), &format!("{silence} the greeting"));
    ends(
        &format!("! deliver\nS: 220 hi\nC: EHLO mail.example.org\n{}", late(300)),
        &format!("{silence} EHLO"),
    );
    let envelope = format!("{READY}{ENVELOPE}");
    ends(&format!("{envelope}{}", late(300)), &format!("{silence} MAIL FROM"));
    ends(&format!("{envelope}S: 250 ok\n{}", late(300)), &format!("{silence} RCPT TO"));
    ends(&format!("{envelope}S: 250 ok\nS: 250 ok\n{}", late(120)), &format!("{silence} DATA"));
    let content = format!("{envelope}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}");
    ends(&format!("{content}{}", late(600)), &format!("{silence} the end of the message"));
}

#[test]
fn half_a_reply_buys_no_time() {
    ends(
        "! deliver\n! after 299\n! injected 220-hi\\r\\n\n! after 1",
        "the other server did not answer in time at the greeting",
    );
}

#[test]
fn a_lost_connection_defers_wherever_it_happens() {
    let lost = "the other server closed the connection at";
    ends("! deliver\n! closed", &format!("{lost} the greeting"));
    ends(&format!("{READY}{ENVELOPE}! closed"), &format!("{lost} MAIL FROM"));
    let content = format!("{READY}{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}! closed");
    ends(&content, &format!("{lost} the end of the message"));
}

#[test]
fn a_recipient_already_refused_stays_refused_when_the_connection_is_lost() {
    Scene::new(vec![job(&["b@example.net", "c@example.net"])]).play(&format!(
        "{READY}! deliver
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        C: DATA
        S: 250 ok
        S: 550 5.1.1 who?
        ! closed
        = failed: the other server refused at RCPT TO: 550 5.1.1 who?
        = deferred: the other server closed the connection at RCPT TO
        = close: the other server closed the connection at RCPT TO"
    ));
}

#[test]
fn a_421_ends_the_session_at_any_step() {
    let sent_away = |step: &str| format!("the other server refused at {step}: 421 4.3.2 going down");
    let go = "S: 421 4.3.2 going down";
    ends(&format!("! deliver\nS: 220 hi\nC: EHLO mail.example.org\n{go}"), &sent_away("EHLO"));
    ends(&format!("{READY}{ENVELOPE}{go}"), &sent_away("MAIL FROM"));
    ends(&format!("{READY}{ENVELOPE}S: 250 ok\n{go}"), &sent_away("RCPT TO"));
    ends(&format!("{READY}{ENVELOPE}S: 250 ok\nS: 250 ok\n{go}"), &sent_away("DATA"));
    let content = format!("{READY}{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}{go}");
    ends(&content, &sent_away("the end of the message"));
}

#[test]
fn an_idle_session_may_be_closed_without_anybodys_harm() {
    Scene::new(vec![]).play(&format!("{READY}! closed\n= close"));
    Scene::new(vec![]).play(&format!("{READY}S: 421 idle\n= close"));
}

#[test]
fn a_job_for_a_session_that_has_ended_is_deferred() {
    Scene::new(vec![to_one()]).play(&format!(
        "{READY}! closed\n= close\n! deliver\n= deferred: the other server closed the connection at MAIL FROM"
    ));
}

#[test]
fn content_that_fails_is_never_ended() {
    Scene::new(vec![to_one()]).play(&format!(
        "{READY}{ENVELOPE}! content-fails
        S: 250 ok
        S: 250 ok
        S: 354 go
        = deferred: the mailbox could not be written: the spool is gone at the end of the message
        = close"
    ));
}

#[test]
fn a_reply_that_nobody_asked_for_ends_the_session() {
    let trouble = "the other server broke the protocol: a reply came that nothing had asked for at MAIL FROM: 250 surprise";
    Scene::new(vec![]).play(&format!("{READY}S: 250 surprise\n= close: {trouble}"));
}

#[test]
fn a_broken_reply_ends_the_session() {
    let trouble =
        "the other server broke the protocol: the lines of the reply bear different codes at the greeting";
    ends("! deliver\nS: 220-hi\nS: 221 hi", trouble);
}

#[test]
fn codes_out_of_place_break_the_protocol() {
    let broken = "the other server broke the protocol:";
    for (replies, what, step) in [
        ("S: 354 go\n", "MAIL was answered by neither yes nor no", "MAIL FROM: 354 go"),
        ("S: 250 ok\nS: 354 go\n", "RCPT was answered by neither yes nor no", "RCPT TO: 354 go"),
        ("S: 250 ok\nS: 250 ok\nS: 250 ok\n", "DATA was answered by neither 354 nor no", "DATA: 250 ok"),
    ] {
        ends(&format!("{READY}{ENVELOPE}{replies}"), &format!("{broken} {what} at {step}"));
    }
}

#[test]
fn half_a_reply_before_mail_ends_the_session() {
    let trouble =
        "the other server broke the protocol: half a reply came that nothing had asked for at MAIL FROM";
    ends(&format!("{READY}! injected 250 o\n! deliver"), trouble);
}

/// What comes of a reply in the middle of the content: everything said after it, outcomes included.
fn early(reply: &[u8]) -> Vec<Output> {
    let mut session = ClientSession::new(plan(TlsRequirement::OPPORTUNISTIC), Instant::now());
    session.handle(Input::Deliver(to_one()));
    for said in [&b"220 hi\r\n"[..], b"250-hi\r\n250 PIPELINING\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"] {
        session.handle(Input::Bytes(said));
    }
    session.handle(Input::Content(b"Subject: hi\r\n"));
    while session.poll().is_some() {}
    session.handle(Input::Bytes(reply));
    session.handle(Input::Content(b"more\r\n"));
    session.handle(Input::ContentEnd);
    std::iter::from_fn(|| session.poll()).collect()
}

#[test]
fn an_early_acceptance_is_not_believed_and_an_early_refusal_is() {
    for (reply, expected) in [
        (
            &b"250 queued\r\n"[..],
            "deferred: the other server broke the protocol: a reply came before the end of the message",
        ),
        (b"552 5.3.4 big\r\n", "failed: the other server refused at the end of the message: 552 5.3.4 big"),
        (
            b"452 4.3.1 full\r\n",
            "deferred: the other server refused at the end of the message: 452 4.3.1 full",
        ),
    ] {
        let outputs = early(reply);
        let [Output::Outcomes(outcomes), Output::Close(Some(_))] = &outputs[..] else {
            panic!("{outputs:?}")
        };
        assert!(shown(&outcomes[0]).starts_with(expected), "{outcomes:?}");
    }
}

#[test]
fn debug_output_never_shows_a_credential() {
    let mut scene = Scene::new(vec![]).signing_in();
    scene.plan.tls = postern_smtp::client::TlsStart::Implicit(crate::harness::facts(
        postern_smtp::tls::PeerProof::verified(),
    ));
    let mut session = ClientSession::new(scene.plan, Instant::now());
    session.handle(Input::Bytes(b"220 hi\r\n"));
    session.handle(Input::Bytes(b"250-hi\r\n250 AUTH PLAIN\r\n"));
    let shown = format!("{session:?}");
    assert!(
        shown.contains("ClientSession") && !shown.contains("tanstaaf") && !shown.contains("AHRpbQ"),
        "{shown}"
    );
}
