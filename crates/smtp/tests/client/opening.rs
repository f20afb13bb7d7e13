//! Greeting, EHLO, TLS and AUTH.

use postern_smtp::client::{ClientSession, Input, Output, Protocol, TlsStart};
use postern_smtp::tls::{PeerProof, TlsRequirement};

use crate::harness::{Scene, facts, plan, to_one};

const REACHED_CLEAR: &str = "
    S: 220 mx.example.net
    C: EHLO mail.example.org
    S: 250 mx.example.net
    = ready";

#[test]
fn a_session_introduces_itself_and_is_ready() {
    Scene::new(vec![]).play(REACHED_CLEAR);
}

#[test]
fn nothing_is_said_before_the_greeting() {
    let mut scene = Scene::new(vec![to_one()]);
    scene.plan.tls = TlsStart::Never;
    scene.play("! deliver");
}

#[test]
fn a_job_given_early_waits_for_the_session() {
    Scene::new(vec![to_one()]).play(
        "! deliver
        S: 220-mx.example.net
        S: 220 welcome
        C: EHLO mail.example.org
        S: 250 mx.example.net
        C: MAIL FROM:<a@example.org>",
    );
}

#[test]
fn a_greeting_554_fails_the_mail_and_is_told_quit() {
    Scene::new(vec![to_one()]).play(
        "! deliver
        S: 554 No SMTP service here
        = failed: the other server refused at the greeting: 554 No SMTP service here
        C: QUIT
        S: 221 bye
        = close: the other server refused at the greeting: 554 No SMTP service here",
    );
}

#[test]
fn a_greeting_450_defers_the_mail() {
    Scene::new(vec![to_one()]).play(
        "! deliver
        S: 450 busy
        = deferred: the other server refused at the greeting: 450 busy
        C: QUIT
        ! closed
        = close: the other server refused at the greeting: 450 busy",
    );
}

#[test]
fn a_greeting_421_ends_the_session_without_quit() {
    Scene::new(vec![to_one()]).play(
        "! deliver
        S: 421 closing
        = deferred: the other server refused at the greeting: 421 closing
        = close: the other server refused at the greeting: 421 closing",
    );
}

#[test]
fn a_greeting_250_breaks_the_protocol() {
    Scene::new(vec![to_one()]).play(
        "! deliver
        S: 250 what
        = deferred: the other server broke the protocol: the greeting was neither yes nor no at the greeting: 250 what
        = close: the other server broke the protocol: the greeting was neither yes nor no at the greeting: 250 what",
    );
}

#[test]
fn below_the_requirement_a_refusal_only_defers() {
    let scene = Scene::requiring(TlsRequirement::REQUIRED);
    for (hello, step) in [("", "the greeting"), ("S: 220 hi\nC: EHLO mail.example.org\n", "EHLO")] {
        scene.play(&format!(
            "! deliver
            {hello}
            S: 550 go away
            = deferred: the other server refused at {step}: 550 go away
            C: QUIT
            S: 221 bye
            = close: the other server refused at {step}: 550 go away"
        ));
    }
}

#[test]
fn helo_is_tried_only_when_ehlo_is_not_understood() {
    for code in [500, 501, 502, 504] {
        Scene::new(vec![]).play(&format!(
            "S: 220 hi
            C: EHLO mail.example.org
            S: {code} what?
            C: HELO mail.example.org
            S: 250 hello
            = ready"
        ));
    }
    for code in [550, 554, 450] {
        Scene::new(vec![]).play(&format!(
            "S: 220 hi
            C: EHLO mail.example.org
            S: {code} no
            C: QUIT
            S: 221 bye
            = close: the other server refused at EHLO: {code} no"
        ));
    }
}

#[test]
fn helo_is_never_tried_where_tls_or_a_credential_is_needed() {
    let script = "S: 220 hi
        C: EHLO mail.example.org
        S: 502 what?
        C: QUIT
        S: 221 bye
        = close: the other server refused at EHLO: 502 what?";
    for requirement in [TlsRequirement::REQUIRED, TlsRequirement::VERIFIED] {
        Scene::requiring(requirement).play(script);
    }
    Scene::new(vec![]).signing_in().play(script);
}

#[test]
fn lmtp_says_lhlo_and_has_no_helo() {
    let mut scene = Scene::new(vec![]);
    scene.plan.protocol = Protocol::Lmtp;
    scene.play("S: 220 hi\nC: LHLO mail.example.org\nS: 250 hello\n= ready");
    scene.play(
        "S: 220 hi
        C: LHLO mail.example.org
        S: 500 what?
        C: QUIT
        S: 221 bye
        = close: the other server refused at EHLO: 500 what?",
    );
}

const STARTTLS: &str = "
    S: 220 hi
    C: EHLO mail.example.org
    S: 250-hi
    S: 250 STARTTLS
    C: STARTTLS";

#[test]
fn starttls_is_used_where_it_is_offered_and_all_is_asked_again() {
    Scene::new(vec![to_one()]).play(&format!(
        "{STARTTLS}
        S: 220 go
        = starttls
        ! unverified
        C: EHLO mail.example.org
        S: 250 hi
        = ready
        ! deliver
        C: MAIL FROM:<a@example.org>"
    ));
}

#[test]
fn what_was_offered_before_tls_does_not_count_after_it() {
    Scene::new(vec![to_one()]).play(
        "S: 220 hi
        C: EHLO mail.example.org
        S: 250-hi
        S: 250-PIPELINING
        S: 250-SIZE 10
        S: 250 STARTTLS
        C: STARTTLS
        S: 220 go
        = starttls
        ! verified
        C: EHLO mail.example.org
        S: 250 hi
        = ready
        ! deliver
        C: MAIL FROM:<a@example.org>",
    );
}

#[test]
fn starttls_is_not_used_where_it_is_forbidden() {
    let script = "S: 220 hi
        C: EHLO mail.example.org
        S: 250-hi
        S: 250 STARTTLS
        = ready";
    Scene::requiring(TlsRequirement::NONE).play(script);
    let mut never = Scene::new(vec![]);
    never.plan.tls = TlsStart::Never;
    never.play(script);
}

#[test]
fn bytes_behind_the_220_to_starttls_end_the_session() {
    let trouble = "the other server broke the protocol: bytes came between its consent to STARTTLS and the handshake at TLS";
    Scene::new(vec![])
        .play(&format!("{STARTTLS}\nS: 220 go\n= starttls\n! injected 250 hi\\r\\n\n= close: {trouble}"));
    let mut session = ClientSession::new(plan(TlsRequirement::OPPORTUNISTIC), std::time::Instant::now());
    session.handle(Input::Bytes(b"220 hi\r\n"));
    session.handle(Input::Bytes(b"250-hi\r\n250 STARTTLS\r\n"));
    session.handle(Input::Bytes(b"220 go\r\n250 hi\r\n"));
    let outputs: Vec<Output> = std::iter::from_fn(|| session.poll()).collect();
    assert!(!outputs.contains(&Output::StartTls), "{outputs:?}");
    assert!(matches!(outputs.last(), Some(Output::Close(Some(_)))), "{outputs:?}");
}

#[test]
fn a_refused_starttls_means_clear_only_where_clear_is_allowed() {
    Scene::new(vec![]).play(&format!("{STARTTLS}\nS: 454 no\n= ready"));
    Scene::requiring(TlsRequirement::REQUIRED).play(&format!(
        "! deliver
        {STARTTLS}
        S: 454 no
        = deferred: the connection was not secure enough: it refused STARTTLS (required here: required) at TLS: 454 no
        C: QUIT
        S: 221 bye
        = close: the connection was not secure enough: it refused STARTTLS (required here: required) at TLS: 454 no"
    ));
}

#[test]
fn a_stripped_starttls_defers_where_tls_is_required() {
    Scene::requiring(TlsRequirement::REQUIRED).play(
        "! deliver
        S: 220 hi
        C: EHLO mail.example.org
        S: 250 hi
        = deferred: the connection was not secure enough: it does not offer STARTTLS (required here: required) at TLS
        C: QUIT
        S: 221 bye
        = close: the connection was not secure enough: it does not offer STARTTLS (required here: required) at TLS",
    );
}

#[test]
fn a_device_that_hides_starttls_is_named() {
    let trouble = "the connection was not secure enough: STARTTLS is hidden on the way: a keyword is masked: \"XXXXXXXA\" (required here: required) at TLS";
    Scene::requiring(TlsRequirement::REQUIRED).play(&format!(
        "! deliver
        S: 220 hi
        C: EHLO mail.example.org
        S: 250-hi
        S: 250 XXXXXXXA
        = deferred: {trouble}
        C: QUIT
        S: 221 bye
        = close: {trouble}"
    ));
}

#[test]
fn an_unverified_certificate_defers_where_a_verified_one_is_required() {
    let trouble =
        "the connection was not secure enough: its certificate: self-signed (required here: verified) at TLS";
    Scene::requiring(TlsRequirement::VERIFIED).play(&format!(
        "! deliver
        {STARTTLS}
        S: 220 go
        = starttls
        ! unverified
        = deferred: {trouble}
        C: QUIT
        S: 221 bye
        = close: {trouble}"
    ));
}

#[test]
fn a_failed_handshake_defers_and_says_so() {
    Scene::new(vec![to_one()]).play(&format!(
        "! deliver
        {STARTTLS}
        S: 220 go
        = starttls
        ! handshake-failed
        = deferred: the TLS handshake failed: no common cipher at TLS
        = close: the TLS handshake failed: no common cipher at TLS"
    ));
}

#[test]
fn implicit_tls_is_measured_like_any_other() {
    let mut scene = Scene::requiring(TlsRequirement::VERIFIED);
    scene.plan.tls = TlsStart::Implicit(facts(PeerProof::verified()));
    scene.play(REACHED_CLEAR);
    scene.plan.tls = TlsStart::Implicit(facts(PeerProof::anonymous()));
    let trouble =
        "the connection was not secure enough: it showed no certificate (required here: verified) at TLS";
    scene.play(&format!(
        "! deliver
        S: 220 hi
        = deferred: {trouble}
        C: QUIT
        S: 221 bye
        = close: {trouble}"
    ));
}

/// A verified TLS session whose server offers this after EHLO.
fn verified(offer: &str) -> String {
    format!(
        "{STARTTLS}\nS: 220 go\n= starttls\n! verified\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 {offer}\n"
    )
}

#[test]
fn plain_is_said_at_once_over_verified_tls() {
    Scene::new(vec![]).signing_in().play(&format!(
        "{}
        C: AUTH PLAIN AHRpbQB0YW5zdGFhZg==
        S: 235 2.7.0 welcome
        = ready",
        verified("AUTH LOGIN PLAIN")
    ));
}

#[test]
fn login_answers_the_challenges() {
    Scene::new(vec![]).signing_in().play(&format!(
        "{}
        C: AUTH LOGIN
        S: 334 VXNlcm5hbWU6
        C: dGlt
        S: 334 UGFzc3dvcmQ6
        C: dGFuc3RhYWY=
        S: 235 welcome
        = ready",
        verified("AUTH LOGIN")
    ));
}

#[test]
fn an_exchange_that_asks_for_too_much_is_cancelled() {
    let trouble = "the other server broke the protocol: it asked for more than the mechanism has to say at AUTH: 501 ok";
    Scene::new(vec![]).signing_in().play(&format!(
        "{}
        C: AUTH PLAIN AHRpbQB0YW5zdGFhZg==
        S: 334 TW9yZTo=
        C: *
        S: 501 ok
        C: QUIT
        S: 221 bye
        = close: {trouble}",
        verified("AUTH PLAIN")
    ));
}

#[test]
fn a_wrong_password_of_ours_defers_the_mail() {
    let trouble = "the other server refused at AUTH: 535 5.7.8 wrong";
    Scene::new(vec![to_one()]).signing_in().play(&format!(
        "! deliver
        {}
        C: AUTH PLAIN AHRpbQB0YW5zdGFhZg==
        S: 535 5.7.8 wrong
        = deferred: {trouble}
        C: QUIT
        S: 221 bye
        = close: {trouble}",
        verified("AUTH PLAIN")
    ));
}

#[test]
fn credentials_are_withheld_in_clear_and_from_an_unproven_server() {
    let trouble = "our credentials were not sent: the connection is not encrypted to a server that proved who it is at AUTH";
    let end = format!("= deferred: {trouble}\nC: QUIT\nS: 221 bye\n= close: {trouble}");
    let scene = Scene::new(vec![to_one()]).signing_in();
    scene.play(&format!(
        "! deliver\nS: 220 hi\nC: EHLO mail.example.org\nS: 250-hi\nS: 250 AUTH PLAIN\n{end}"
    ));
    scene.play(&format!(
        "! deliver\n{STARTTLS}\nS: 220 go\n= starttls\n! unverified
        C: EHLO mail.example.org\nS: 250-hi\nS: 250 AUTH PLAIN\n{end}"
    ));
}

#[test]
fn without_a_common_mechanism_nothing_is_said() {
    let trouble = "our credentials were not sent: the server offers no mechanism that we can use \
                   (it offers GSSAPI; we could use SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN) at AUTH";
    Scene::new(vec![])
        .signing_in()
        .play(&format!("{}C: QUIT\nS: 221 bye\n= close: {trouble}", verified("AUTH GSSAPI")));
}

#[test]
fn what_the_peer_offers_and_proved_is_told() {
    let mut session = ClientSession::new(plan(TlsRequirement::OPPORTUNISTIC), std::time::Instant::now());
    assert!(session.capabilities().is_none() && session.tls().is_none() && !session.is_ready());
    session.handle(Input::Bytes(b"220 hi\r\n"));
    session.handle(Input::Bytes(b"250-hi\r\n250-STARTTLS\r\n250 CHUNKING\r\n"));
    session.handle(Input::Bytes(b"220 go\r\n"));
    session.handle(Input::TlsStarted(facts(PeerProof::verified())));
    assert_eq!(session.tls(), Some(&facts(PeerProof::verified())));
    assert!(session.capabilities().is_none());
    session.handle(Input::Bytes(b"250-hi\r\n250 DSN\r\n"));
    assert!(session.is_ready());
    let offered = session.capabilities().unwrap();
    assert!(offered.dsn && !offered.chunking);
}
