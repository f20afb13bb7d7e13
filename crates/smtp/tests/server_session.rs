//! What a driver may rely on and no transcript can show: questions, deadlines, groups of replies, bounded memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_smtp::reply::{Enhanced, Reply};
use postern_smtp::server::{
    Beginning, CloseReason, FrontEnd, Input, Output, Question, ServerSession, Verdict,
};
use postern_smtp::tls::{PeerProof, TlsFacts};
use postern_testkit::transcript::Transcript;

struct Driver {
    session: ServerSession,
    now: Instant,
}

impl Driver {
    /// A session on a listener of this preset, up to the reply to EHLO.
    fn greeted(listener: &str) -> Self {
        let mut driver = Self::connected(listener);
        driver.answer(Verdict::Accept);
        driver.send(b"EHLO client.example\r\n");
        driver.answer(Verdict::Accept);
        driver
    }

    fn connected(listener: &str) -> Self {
        let head = format!("listener: {listener}\n\nS: 220 *\n");
        let settings = Transcript::parse(&head).expect("a valid head").scenario.settings;
        let now = Instant::now();
        Self { session: ServerSession::new(Arc::new(settings), beginning(), now), now }
    }

    fn handle(&mut self, input: Input<'_>) -> Vec<Output> {
        self.session.handle(Input::Time(self.now));
        self.session.handle(input);
        std::iter::from_fn(|| self.session.poll()).collect()
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.handle(Input::Bytes(bytes))
    }

    fn answer(&mut self, verdict: Verdict) -> Vec<Output> {
        self.handle(Input::Verdict(verdict))
    }

    /// Up to the 354.
    fn begin_data(&mut self) {
        self.send(b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n");
        self.answer(Verdict::Accept);
        let outputs = self.answer(Verdict::Accept);
        assert!(said(&outputs).ends_with("<CRLF>.<CRLF>\r\n"), "{outputs:?}");
    }
}

fn said(outputs: &[Output]) -> String {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        _ => None,
    });
    sent.collect()
}

fn sends(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Send(_))).count()
}

fn beginning() -> Beginning {
    Beginning { tls: None, seed: [7; 32], front_end: FrontEnd::No }
}

fn facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        group: None,
        server_name: None,
        peer: PeerProof::anonymous(),
        channel_bindings: postern_smtp::sasl::ChannelBindings::default(),
    }
}

#[test]
fn nothing_is_said_before_the_policy_lets_the_client_in() {
    let mut driver = Driver::connected("relay");
    let outputs = driver.send(b"EHLO early.example\r\n");
    assert_eq!(outputs, [Output::Ask(Question::Connect)]);
    assert!(!driver.session.wants_input());
    let outputs = driver.answer(Verdict::Accept);
    assert!(matches!(outputs[0], Output::Ask(Question::Hello(_))), "{outputs:?}");
}

#[test]
fn a_question_pauses_the_session_and_replies_stay_in_order() {
    let mut driver = Driver::greeted("relay");
    let outputs = driver.send(b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<ann@example.org>\r\nNOOP\r\n");
    assert!(matches!(outputs.as_slice(), [Output::Ask(Question::Mail(_))]), "{outputs:?}");
    assert_eq!(driver.send(b"VRFY ann\r\n"), []);
    let outputs = driver.answer(Verdict::Accept);
    assert!(matches!(outputs.as_slice(), [Output::Ask(Question::Rcpt(_))]), "{outputs:?}");
    let said = said(&driver.answer(Verdict::Accept));
    let codes: Vec<&str> = said.lines().map(|line| &line[..9]).collect();
    assert_eq!(codes, ["250 2.1.0", "250 2.1.5", "250 2.0.0", "252 2.5.0"]);
}

#[test]
fn replies_to_a_pipelined_group_go_out_together() {
    let mut driver = Driver::greeted("relay");
    driver.send(b"MAIL FROM:<bob@example.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n");
    assert_eq!(sends(&driver.answer(Verdict::Accept)), 0);
    let outputs = driver.answer(Verdict::Accept);
    assert_eq!(sends(&outputs), 1);
    assert_eq!(said(&outputs).lines().count(), 3);
}

#[test]
fn half_a_command_withholds_no_reply() {
    let mut driver = Driver::greeted("relay");
    assert_eq!(said(&driver.send(b"RSET\r\nMAIL FR")), "250 2.0.0 Reset\r\n");
}

#[test]
fn nothing_said_before_tls_is_known_after_it() {
    let mut driver = Driver::greeted("relay-auth");
    assert!(driver.session.hello().is_some());
    let outputs = driver.send(b"STARTTLS\r\n");
    assert_eq!(outputs[1], Output::StartTls);
    assert!(!driver.session.wants_input());
    driver.handle(Input::TlsStarted(facts()));
    assert_eq!(driver.session.tls(), Some(&facts()));
    assert_eq!((driver.session.hello(), driver.session.user()), (None, None));
    assert!(driver.session.wants_input());
}

#[test]
fn tls_that_nobody_asked_for_changes_nothing() {
    let mut driver = Driver::greeted("relay");
    driver.handle(Input::TlsStarted(facts()));
    assert_eq!(driver.session.tls(), None);
}

#[test]
fn no_deadline_passes_while_the_answer_is_ours_to_give() {
    let mut driver = Driver::greeted("relay");
    driver.begin_data();
    driver.send(b"hello\r\n.\r\n");
    driver.now += Duration::from_hours(24);
    let outputs = driver.answer(Verdict::Queued { id: "Q1".into() });
    assert_eq!(said(&outputs), "250 2.0.0 Queued as Q1\r\n");
}

#[test]
fn the_driver_is_told_until_when_to_wait_and_only_when_it_changed() {
    let mut driver = Driver::greeted("relay");
    let start = driver.now;
    driver.now += Duration::from_secs(10);
    let outputs = driver.send(b"NOOP\r\n");
    assert_eq!(outputs.last(), Some(&Output::Wait { until: start + Duration::from_secs(310) }));
    driver.now += Duration::from_secs(10);
    assert_eq!(driver.send(b"NO"), []);
}

#[test]
fn an_answer_to_another_question_grants_nothing() {
    let mut driver = Driver::greeted("relay");
    driver.send(b"MAIL FROM:<bob@example.net>\r\n");
    let outputs = driver.answer(Verdict::SignedIn { user: "eve".into() });
    assert!(said(&outputs).starts_with("451 4.3.0"), "{outputs:?}");
    assert_eq!(driver.session.user(), None);
    assert!(said(&driver.send(b"RCPT TO:<ann@example.org>\r\n")).starts_with("503"));
    assert_eq!(driver.answer(Verdict::Accept), []);
}

#[test]
fn content_streams_in_pieces_and_none_is_kept() {
    let mut driver = Driver::greeted("relay");
    driver.begin_data();
    let outputs = driver.send(b"..one\r\ntwo");
    assert_eq!(outputs[0], Output::Body(".one\r\ntwo".into()));
    assert!(format!("{:?}", driver.session).contains("buffered: 0"));
}

#[test]
fn a_line_without_end_is_not_kept() {
    let mut driver = Driver::greeted("relay");
    driver.send(&vec![b'x'; 60_000]);
    assert!(format!("{:?}", driver.session).contains("buffered: 0"), "{:?}", driver.session);
}

#[test]
fn a_client_cannot_make_us_read_for_ever() {
    let mut driver = Driver::greeted("relay");
    driver.begin_data();
    let piece = vec![b'x'; 1 << 20];
    let mut outputs = Vec::new();
    for _ in 0..66 {
        outputs.extend(driver.send(&piece));
    }
    assert!(said(&outputs).starts_with("552 5.3.4"));
    assert_eq!(outputs.last(), Some(&Output::Close(CloseReason::Refused)));
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Discard)).count(), 1);
}

#[test]
fn credentials_are_never_shown() {
    let mut driver = Driver::greeted("relay-auth");
    driver.send(b"STARTTLS\r\n");
    driver.handle(Input::TlsStarted(facts()));
    driver.send(b"EHLO client.example\r\n");
    driver.answer(Verdict::Accept);
    driver.send(b"AUTH PLAIN AHRpbQB0YW5zd");
    let halfway = format!("{:?}", driver.session);
    let outputs = driver.send(b"GFhZg==\r\n");
    let asked = format!("{outputs:?} {:?}", driver.session);
    for shown in [halfway, asked] {
        assert!(!shown.contains("tanstaaf") && !shown.contains("YW5z"), "{shown}");
    }
    driver.answer(Verdict::SignedIn { user: "tim".into() });
    assert_eq!(driver.session.user(), Some("tim"));
}

#[test]
fn after_the_close_there_is_nothing() {
    let mut driver = Driver::greeted("relay");
    let goodbye = Reply::new(421, Enhanced::new(4, 7, 1), "Goodbye");
    driver.send(b"MAIL FROM:<bob@example.net>\r\nNOOP\r\n");
    let outputs = driver.answer(Verdict::RefuseAndClose(goodbye));
    assert_eq!(said(&outputs), "421 4.7.1 Goodbye\r\n");
    assert_eq!(outputs.last(), Some(&Output::Close(CloseReason::Refused)));
    assert_eq!(driver.send(b"NOOP\r\n"), []);
    assert!(!driver.session.wants_input());
}

#[test]
fn a_shutdown_waits_for_the_answer_about_a_message_and_begins_no_other() {
    let mut driver = Driver::greeted("relay");
    driver.begin_data();
    driver.send(b"hello\r\n.\r\nMAIL FROM:<bob@example.net>\r\n");
    assert_eq!(driver.handle(Input::Drain), []);
    let outputs = driver.answer(Verdict::Queued { id: "Q1".into() });
    assert!(said(&outputs).starts_with("250 2.0.0 Queued as Q1\r\n421 4.3.2"), "{outputs:?}");
    assert_eq!(outputs.last(), Some(&Output::Close(CloseReason::Drained)));
}

#[test]
fn a_421_of_the_policy_closes_whatever_the_driver_calls_it() {
    let mut driver = Driver::greeted("relay");
    driver.send(b"MAIL FROM:<bob@example.net>\r\n");
    let outputs = driver.answer(Verdict::Refuse(Reply::new(421, Enhanced::new(4, 3, 2), "Later")));
    assert_eq!(outputs.last(), Some(&Output::Close(CloseReason::Refused)));
}
