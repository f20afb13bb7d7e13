//! What the driver itself promises, over real connections; what the session promises is in the transcripts.

use std::io;
use std::time::Duration;

use postern_pki::ACME_TLS;
use postern_smtp::sasl::{Binding, ClientExchange, Context, Credential, Mechanism};
use postern_smtp::secret::Secret;
use postern_smtp::server::CloseReason;
use postern_testkit::transcript::{Scenario, Server, Transcript};
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::wire::{Loopback, Wire};
use super::{Arrived, Stop, bounded};
use crate::daemon::Phase;
use crate::inbound::stream::Stream;

/// What transcripts cannot show, because every channel has a name of its own.
#[test]
fn who_is_at_the_other_end_of_the_channel_signs_in_by_scram_plus_and_nobody_else() {
    let loopback = Loopback::new();
    let mut elsewhere = loopback.connect(&scram_plus());
    let [foreign, same_certificate] = elsewhere.bindings();
    assert!(elsewhere.line().is_some());
    for place in 0..2 {
        let mut wire = loopback.connect(&scram_plus());
        let binding = wire.bindings()[place].clone();
        assert_eq!(sign_in(&mut wire, binding), "235", "binding {place}");
    }
    let mut wire = loopback.connect(&scram_plus());
    assert_eq!(wire.bindings()[1], same_certificate, "it names the server, not the connection");
    assert_eq!(sign_in(&mut wire, foreign), "535");
}

/// Signs in as tim with our own client, and gives the code of the last reply.
fn sign_in(wire: &mut Wire<'_>, binding: Binding) -> String {
    let password = Secret::new("tanstaaf");
    let credential = Credential::Password { user: "tim".to_owned(), password, acting_as: None };
    let context = Context { nonce: [5; 18], channel_binding: Some(binding), only: None };
    let offered = ["SCRAM-SHA-256-PLUS".to_owned()];
    let (mut exchange, start) = ClientExchange::start(&offered, &credential, &context).unwrap();
    let initial = start.initial.unwrap();
    assert!(wire.line().unwrap().starts_with("220"));
    wire.send(b"EHLO client.example\r\n");
    while !wire.line().unwrap().starts_with("250 ") {}
    wire.send(&[b"AUTH SCRAM-SHA-256-PLUS ", initial.expose(), b"\r\n"].concat());
    loop {
        let line = wire.line().unwrap();
        let Some(challenge) = line.strip_prefix("334 ") else { return line[..3].to_owned() };
        let answer = exchange.respond(challenge).unwrap();
        wire.send(&[answer.expose(), b"\r\n"].concat());
    }
}

fn scram_plus() -> Scenario {
    let mut scenario = scenario("submissions");
    scenario.settings.mechanisms = [Mechanism::ScramSha256Plus, Mechanism::ScramSha256].into();
    scenario
}

/// As `nc` and small scripts do it: everything at once, and the end behind it.
#[test]
fn a_client_that_half_closes_gets_every_reply() {
    let loopback = Loopback::new();
    for listener in ["relay", "submissions"] {
        let mut wire = loopback.connect(&scenario(listener));
        wire.send(b"EHLO client.example\r\nNOOP\r\nQUIT\r\n");
        wire.half_close();
        assert_eq!(last_lines(&wire.rest().unwrap()), ["220", "250", "250", "221"], "{listener}");
        assert!(matches!(wire.stop(), Stop::Closed(CloseReason::Quit)));
    }
}

#[test]
fn a_client_that_half_closes_without_quit_gets_every_reply_too() {
    let loopback = Loopback::new();
    for listener in ["relay", "submissions"] {
        let mut wire = loopback.connect(&scenario(listener));
        wire.send(b"EHLO client.example\r\nNOOP\r\n");
        wire.half_close();
        assert_eq!(last_lines(&wire.rest().unwrap()), ["220", "250", "250"], "{listener}");
        assert!(matches!(wire.stop(), Stop::Closed(CloseReason::ClientLeft)));
    }
}

/// Many clients end TCP without TLS's own end. It is no trouble worth a line in the log.
#[test]
fn a_client_that_goes_without_tlss_own_end_has_left() {
    let loopback = Loopback::new();
    let mut wire = loopback.connect(&scenario("submissions"));
    assert!(wire.line().unwrap().starts_with("220"));
    wire.vanish();
    assert!(matches!(wire.stop(), Stop::Closed(CloseReason::ClientLeft)));
}

/// Else the system resets the connection over what nobody has read, and some systems then throw away what the client
/// has not read either: it would never see why.
#[test]
fn the_last_reply_survives_whatever_the_client_still_sends() {
    let loopback = Loopback::new();
    for listener in ["relay", "submissions"] {
        let mut wire = loopback.connect(&scenario(listener));
        wire.send(&vec![b'A'; 1_000_000]);
        assert_eq!(last_lines(&wire.rest().unwrap()), ["220", "500"], "{listener}");
        wire.send(b"QUIT\r\n");
        wire.send(b"QUIT\r\n");
        assert_eq!(wire.rest().unwrap(), "", "{listener}");
        wire.hang_up();
        assert!(matches!(wire.stop(), Stop::Closed(CloseReason::Violation)));
    }
}

#[test]
fn a_silent_client_gets_421_at_its_deadline() {
    let mut scenario = scenario("relay");
    scenario.settings.timeouts.command = Duration::from_millis(20);
    let loopback = Loopback::new();
    let mut wire = loopback.connect(&scenario);
    assert_eq!(last_lines(&wire.rest().unwrap()), ["220", "421"]);
    wire.hang_up();
    assert!(matches!(wire.stop(), Stop::Closed(CloseReason::TimedOut)));
}

#[test]
fn a_drain_is_heard_though_the_client_never_pauses() {
    let loopback = Loopback::new();
    let (sender, phase) = watch::channel(Phase::Running);
    let (mut driver, mut client) = loopback.driver(&scenario("relay"), phase);
    let arrived = loopback.within(async {
        assert!(driver.perform().await.is_ok());
        client.write_all(b"EHLO client.example\r\n").await.unwrap();
        let Some(Stream::Clear(stream)) = &driver.stream else { panic!("it is in clear") };
        stream.readable().await.unwrap();
        sender.send(Phase::Draining).unwrap();
        driver.wait(false).await.unwrap()
    });
    assert!(matches!(arrived, Arrived::Drain));
}

/// It has seconds then, not the half minute that a handshake may take otherwise.
#[test]
fn a_drain_does_not_wait_for_a_client_that_never_begins_its_handshake() {
    let loopback = Loopback::new();
    let mut wire = loopback.connect_only(&scenario("submissions"));
    wire.drain();
    assert!(matches!(wire.stop(), Stop::Tls));
}

#[test]
fn an_authority_that_validates_is_shown_its_challenge_and_gets_no_session() {
    let loopback = Loopback::new();
    let shown = loopback.open_challenge();
    let mut wire = loopback.connect_speaking(&[ACME_TLS], &scenario("submissions"));
    assert_eq!(wire.shown(), shown);
    assert_eq!(wire.rest().unwrap(), "", "nothing is said");
    assert!(matches!(wire.stop(), Stop::Validated));
}

#[test]
fn while_a_challenge_is_open_everybody_else_gets_a_session() {
    let loopback = Loopback::new();
    let shown = loopback.open_challenge();
    let others: [&[&[u8]]; 3] = [&[], &[b"smtp"], &[ACME_TLS, b"smtp"]];
    for spoken in others {
        let mut wire = loopback.connect_speaking(spoken, &scenario("submissions"));
        assert_ne!(wire.shown(), shown, "{spoken:?}");
        wire.send(b"QUIT\r\n");
        assert_eq!(last_lines(&wire.rest().unwrap()), ["220", "221"], "{spoken:?}");
        assert!(matches!(wire.stop(), Stop::Closed(CloseReason::Quit)), "{spoken:?}");
    }
}

#[test]
fn a_client_that_takes_no_replies_is_given_up() {
    let loopback = Loopback::new();
    let (_sender, phase) = watch::channel(Phase::Running);
    let (mut driver, _client) = loopback.driver(&scenario("relay"), phase);
    let stream = driver.stream.as_mut().unwrap();
    let much = vec![0; 64 * 1024 * 1024];
    let sent = loopback.within(async { bounded(Duration::from_millis(20), stream.send(&much)).await });
    assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn an_idle_session_holds_no_buffer_and_its_task_is_small() {
    let loopback = Loopback::new();
    let (_sender, phase) = watch::channel(Phase::Running);
    let (mut driver, mut client) = loopback.driver(&scenario("relay"), phase);
    loopback.within(async {
        for command in ["EHLO client.example\r\n", "NOOP\r\n"] {
            assert!(driver.perform().await.is_ok());
            client.write_all(command.as_bytes()).await.unwrap();
            assert!(matches!(driver.wait(false).await, Ok(Arrived::Bytes)));
        }
        assert!(driver.perform().await.is_ok());
    });
    assert_eq!(driver.unsent.capacity(), 0);
    let task = size_of_val(&driver) + size_of_val(&driver.run());
    assert!(task < 4096, "{task} octets");
}

fn scenario(listener: &str) -> Scenario {
    Transcript::parse(&format!("listener: {listener}\n\nHANGUP\n")).unwrap().scenario
}

/// The codes of the replies, by their last lines.
fn last_lines(said: &str) -> Vec<&str> {
    said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(|line| &line[..3]).collect()
}
