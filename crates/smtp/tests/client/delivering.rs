//! Transactions: pipelining, recipients, content, LMTP, several messages.

use crate::harness::{CONTENT, Scene, job, to_one};

/// A session that is ready; the offer is the last line of the EHLO reply.
fn ready(offer: &str) -> String {
    format!("S: 220 hi\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 {offer}\n= ready\n! deliver\n")
}

fn lmtp() -> String {
    ready("PIPELINING").replace("EHLO", "LHLO")
}

const ENVELOPE: &str = "C: MAIL FROM:<a@example.org>\nC: RCPT TO:<b@example.net>\nC: DATA\n";
const CONTENT_LINES: &str = "C: Subject: hi\nC:\nC: ..dot\nC: .\n";

fn three() -> Scene {
    Scene::new(vec![job(&["b@example.net", "c@example.net", "d@example.net"])])
}

#[test]
fn without_pipelining_every_command_waits_for_its_reply() {
    Scene::new(vec![to_one()]).play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        S: 250 ok
        C: RCPT TO:<b@example.net>
        S: 250 ok
        C: DATA
        S: 354 go
        {CONTENT_LINES}
        S: 250 2.0.0 queued
        = delivered: 250 2.0.0 queued
        = ready",
        ready("HELP")
    ));
}

#[test]
fn with_pipelining_the_envelope_goes_at_once() {
    Scene::new(vec![to_one()]).play(&format!(
        "{}{ENVELOPE}
        S: 250 ok
        S: 250 ok
        S: 354 go
        {CONTENT_LINES}
        S: 250 queued
        = delivered: 250 queued
        = ready",
        ready("PIPELINING")
    ));
}

#[test]
fn content_in_pieces_of_any_size_is_the_same_content() {
    for piece in 1..CONTENT.len() {
        let mut scene = Scene::new(vec![to_one()]);
        scene.piece = piece;
        scene.play(&format!(
            "{}{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}S: 250 queued\n= delivered: 250 queued\n= ready",
            ready("PIPELINING")
        ));
    }
}

#[test]
fn each_recipient_gets_its_own_outcome_in_order() {
    three().play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        C: RCPT TO:<d@example.net>
        C: DATA
        S: 250 ok
        S: 550 5.1.1 who?
        S: 450 4.2.0 later
        S: 250 ok
        S: 354 go
        {CONTENT_LINES}
        S: 250 queued
        = failed: the other server refused at RCPT TO: 550 5.1.1 who?
        = deferred: the other server refused at RCPT TO: 450 4.2.0 later
        = delivered: 250 queued
        = ready",
        ready("PIPELINING")
    ));
}

#[test]
fn a_reply_after_the_content_is_for_all_accepted() {
    for (reply, shown) in [("452 4.3.1 full", "deferred"), ("554 5.6.0 bad", "failed")] {
        Scene::new(vec![to_one()]).play(&format!(
            "{}{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}
            S: {reply}
            = {shown}: the other server refused at the end of the message: {reply}
            = ready",
            ready("PIPELINING")
        ));
    }
}

#[test]
fn a_refused_mail_decides_for_everybody_whatever_is_pipelined_behind_it() {
    Scene::new(vec![to_one(), to_one()]).play(&format!(
        "{}{ENVELOPE}
        S: 550 5.7.1 not you
        S: 503 need MAIL
        S: 503 need RCPT
        = failed: the other server refused at MAIL FROM: 550 5.7.1 not you
        = ready
        ! deliver
        {ENVELOPE}",
        ready("PIPELINING")
    ));
    Scene::new(vec![to_one()]).play(&format!(
        "{}C: MAIL FROM:<a@example.org>
        S: 450 later
        = deferred: the other server refused at MAIL FROM: 450 later
        = ready",
        ready("HELP")
    ));
}

#[test]
fn a_data_accepted_without_recipients_gets_no_content() {
    Scene::new(vec![to_one()]).play(&format!(
        "{}{ENVELOPE}
        S: 250 ok
        S: 550 who?
        S: 354 go
        C: .
        S: 250 queued
        = failed: the other server refused at RCPT TO: 550 who?
        = ready",
        ready("PIPELINING")
    ));
}

#[test]
fn without_recipients_data_is_not_said_and_rset_goes_before_the_next_mail() {
    Scene::new(vec![to_one(), to_one()]).play(&format!(
        "{}C: MAIL FROM:<a@example.org>
        S: 250 ok
        C: RCPT TO:<b@example.net>
        S: 550 who?
        = failed: the other server refused at RCPT TO: 550 who?
        = ready
        ! deliver
        C: RSET
        S: 250 ok
        C: MAIL FROM:<a@example.org>",
        ready("HELP")
    ));
}

#[test]
fn a_refused_data_decides_for_the_accepted_and_is_reset_in_the_next_group() {
    Scene::new(vec![to_one(), to_one()]).play(&format!(
        "{}{ENVELOPE}
        S: 250 ok
        S: 250 ok
        S: 451 4.3.0 later
        = deferred: the other server refused at DATA: 451 4.3.0 later
        = ready
        ! deliver
        C: RSET
        {ENVELOPE}
        S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 354 go
        {CONTENT_LINES}",
        ready("PIPELINING")
    ));
}

#[test]
fn a_delivered_message_needs_no_rset_before_the_next() {
    Scene::new(vec![to_one(), to_one()]).play(&format!(
        "{}{ENVELOPE}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}S: 250 1\n= delivered: 250 1\n= ready
        ! deliver
        {ENVELOPE}S: 250 ok\nS: 250 ok\nS: 354 go\n{CONTENT_LINES}S: 250 2\n= delivered: 250 2\n= ready",
        ready("PIPELINING")
    ));
}

#[test]
fn a_552_to_rcpt_is_read_as_452() {
    for (reply, shown) in
        [("552 too many", "deferred"), ("552 5.2.2 full", "deferred"), ("552 5.3.4 big", "failed")]
    {
        Scene::new(vec![to_one()]).play(&format!(
            "{}C: MAIL FROM:<a@example.org>
            S: 250 ok
            C: RCPT TO:<b@example.net>
            S: {reply}
            = {shown}: the other server refused at RCPT TO: {reply}
            = ready",
            ready("HELP")
        ));
    }
}

#[test]
fn recipients_too_many_go_in_a_second_transaction() {
    three().play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        C: RCPT TO:<d@example.net>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 452 4.5.3 enough
        S: 452 4.5.3 enough
        S: 354 go
        {CONTENT_LINES}
        S: 250 first
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<c@example.net>
        C: RCPT TO:<d@example.net>
        C: DATA
        S: 250 ok
        S: 452 4.5.3 still
        S: 250 ok
        S: 354 go
        = rewind
        {CONTENT_LINES}
        S: 250 second
        = delivered: 250 first
        = deferred: the other server refused at RCPT TO: 452 4.5.3 still
        = delivered: 250 second
        = ready",
        ready("PIPELINING")
    ));
}

#[test]
fn rcptmax_splits_a_job_and_the_content_is_rewound() {
    three().play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 250 ok
        S: 354 go
        {CONTENT_LINES}
        S: 250 first
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<d@example.net>
        C: DATA
        S: 250 ok
        S: 250 ok
        S: 354 go
        = rewind
        {CONTENT_LINES}
        S: 550 second
        = delivered: 250 first
        = delivered: 250 first
        = failed: the other server refused at the end of the message: 550 second
        = ready",
        ready("PIPELINING\nS: 250 LIMITS RCPTMAX=2").replace("250 PIPELINING", "250-PIPELINING")
    ));
}

#[test]
fn after_mailmax_messages_the_session_quits() {
    Scene::new(vec![to_one()]).play(&format!(
        "{}C: MAIL FROM:<a@example.org>
        S: 450 no
        = deferred: the other server refused at MAIL FROM: 450 no
        C: QUIT
        S: 221 bye
        = close",
        ready("LIMITS MAILMAX=1")
    ));
}

#[test]
fn mailmax_in_the_middle_of_a_job_defers_the_rest() {
    Scene::new(vec![job(&["b@example.net", "c@example.net"])]).play(&format!(
        "{}C: MAIL FROM:<a@example.org>
        S: 250 ok
        C: RCPT TO:<b@example.net>
        S: 250 ok
        C: DATA
        S: 354 go
        {CONTENT_LINES}
        S: 250 first
        = delivered: 250 first
        = deferred: the other server refused at MAIL FROM
        C: QUIT
        S: 221 bye
        = close",
        ready("LIMITS MAILMAX=1 RCPTMAX=1")
    ));
}

/// The lines in which the recipients of this range are said.
fn rcpts(names: &[String]) -> String {
    let lines: Vec<String> = names.iter().map(|name| format!("C: RCPT TO:<{name}>\n")).collect();
    lines.concat()
}

fn many() -> Vec<String> {
    (0..150).map(|n| format!("u{n}@example.net")).collect()
}

#[test]
fn a_group_never_has_more_than_a_hundred_unanswered_commands() {
    let names = many();
    let recipients: Vec<&str> = names.iter().map(String::as_str).collect();
    Scene::new(vec![job(&recipients)]).play(&format!(
        "{}C: MAIL FROM:<a@example.org>\n{}{}{}C: DATA\n",
        ready("LIMITS RCPTMAX=150").replace("250-hi", "250-hi\nS: 250-PIPELINING"),
        rcpts(&names[..99]),
        "S: 250 ok\n".repeat(100),
        rcpts(&names[99..]),
    ));
}

/// RFC 5321 §4.5.3.1.8: so many every server must take.
#[test]
fn a_transaction_has_at_most_a_hundred_recipients_where_no_limit_is_announced() {
    let names = many();
    let recipients: Vec<&str> = names.iter().map(String::as_str).collect();
    Scene::new(vec![job(&recipients)]).play(&format!(
        "{}C: MAIL FROM:<a@example.org>\n{}{}{}C: DATA\n",
        ready("PIPELINING"),
        rcpts(&names[..99]),
        "S: 250 ok\n".repeat(100),
        rcpts(&names[99..100]),
    ));
}

#[test]
fn lmtp_answers_for_each_accepted_recipient() {
    let recipients = ["b@example.net", "c@example.net", "d@example.net"];
    Scene::lmtp(vec![job(&recipients)]).play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        C: RCPT TO:<d@example.net>
        S: 250 ok
        S: 250 ok
        S: 550 who?
        S: 250 ok
        C: DATA
        S: 354 go
        {CONTENT_LINES}
        S: 250 stored b
        S: 452 4.2.2 d is full
        = delivered: 250 stored b
        = failed: the other server refused at RCPT TO: 550 who?
        = deferred: the other server refused at the end of the message: 452 4.2.2 d is full
        = ready",
        lmtp()
    ));
}

#[test]
fn lmtp_never_says_data_without_recipients() {
    Scene::lmtp(vec![to_one()]).play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        S: 250 ok
        S: 550 who?
        = failed: the other server refused at RCPT TO: 550 who?
        = ready",
        lmtp()
    ));
}

#[test]
fn lmtp_keeps_what_was_answered_when_the_connection_is_lost() {
    Scene::lmtp(vec![job(&["b@example.net", "c@example.net"])]).play(&format!(
        "{}
        C: MAIL FROM:<a@example.org>
        C: RCPT TO:<b@example.net>
        C: RCPT TO:<c@example.net>
        S: 250 ok
        S: 250 ok
        S: 250 ok
        C: DATA
        S: 354 go
        {CONTENT_LINES}
        S: 250 stored
        ! closed
        = delivered: 250 stored
        = deferred: the other server closed the connection at the end of the message
        = close: the other server closed the connection at the end of the message",
        lmtp()
    ));
}

#[test]
fn a_message_to_nobody_is_done_at_once() {
    Scene::new(vec![job(&[])]).play(&format!("{}= ready", ready("PIPELINING")));
}
