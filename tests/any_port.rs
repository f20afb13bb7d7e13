//! Mail programs that are set to the wrong one of "SSL/TLS" and "STARTTLS" are served all the same, those that are set right
//! wait for nothing, and nobody sends anything in clear.
//!
//! The silences are those of the product: one second, three, and ten. Where one has to pass, it passes for real; times are only compared
//! with bounds that lie far from either.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{both, program, run, succeed, text};
use crate::support::{Client, Peer, Postern, Setup, content, wait_for};

/// Between the short silence and the long one.
const BETWEEN: Duration = Duration::from_secs(6);

/// Listeners for people on ports of the system's choice: one as on 587, one as on 465.
fn started(more: &str) -> Postern {
    Setup::new().listeners(&listeners(more)).start()
}

fn listeners(more: &str) -> String {
    let listener = |name: &str, expects: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\nrole = \"submission\"\ntls = \"auto\"\ntls_expects = \"{expects}\"\nbind = [\"127.0.0.1:0\"]\n{more}"
        )
    };
    listener("submission", "starttls") + &listener("submissions", "tls")
}

fn port(postern: &Postern, listener: &str) -> String {
    postern.at(listener).port().to_string()
}

/// `smtps://` to a listener.
fn curl(postern: &Postern, listener: &str, subject: &str) -> Command {
    let path = postern.folder().join(subject);
    std::fs::write(&path, content::unix_lines(&content::plain(ANNA, "ben@elsewhere.test", subject))).unwrap();
    let mut command = program("curl");
    command.args([
        "--silent",
        "--show-error",
        "--cacert",
        text(&postern.root()),
        "--max-time",
        "30",
        "--crlf",
    ]);
    command.args(["--url", &format!("smtps://localhost:{}/client.test", port(postern, listener))]);
    command.args(["--ipv4", "--user", &format!("anna:{PASSWORD}"), "--mail-from", ANNA]);
    command.args(["--mail-rcpt", "ben@elsewhere.test", "--upload-file", text(&path)]);
    command
}

fn swaks(postern: &Postern, listener: &str, tls: &str) -> Command {
    let mut command = program("swaks");
    command.args(["--server", "127.0.0.1", "--port", &port(postern, listener), "--auth", "PLAIN"]);
    command.args(["--auth-user", "anna", "--auth-password", PASSWORD, "--from", ANNA]);
    command.args(["--to", "ben@elsewhere.test", "--timeout", "30s", tls]);
    command
}

/// Runs it again if the first try fails: then it was answered with a banner, and is known from there on.
#[track_caller]
fn is_served_at_the_second_try(mut command: impl FnMut() -> Command) {
    let first = run(&mut command());
    if !first.status.success() {
        println!("the first try: {}", both(&first));
        succeed(&mut command());
    }
    succeed(&mut command());
}

#[test]
fn curl_and_swaks_set_to_tls_are_served_on_the_port_for_starttls() {
    let peer = Peer::start();
    let postern = Setup::new().listeners(&listeners("")).next_hop(peer.address()).start();
    is_served_at_the_second_try(|| curl(&postern, "submission", "by-curl"));
    is_served_at_the_second_try(|| swaks(&postern, "submission", "--tls-on-connect"));
    let taken = peer.wait_for(4);
    assert!(taken.iter().all(|message| String::from_utf8_lossy(&message.content).contains("ESMTPSA")));
}

#[test]
fn swaks_set_to_starttls_is_served_on_the_port_for_tls() {
    let peer = Peer::start();
    let postern = Setup::new().listeners(&listeners("")).next_hop(peer.address()).start();
    succeed(&mut swaks(&postern, "submissions", "--tls"));
    let began = Instant::now();
    succeed(&mut swaks(&postern, "submissions", "--tls"));
    assert!(began.elapsed() < BETWEEN, "the second time it does not wait for long");
    assert_eq!(peer.wait_for(2).len(), 2);
}

#[test]
fn who_is_set_right_is_served_at_once_on_both_ports() {
    let peer = Peer::start();
    let postern = Setup::new().listeners(&listeners("")).next_hop(peer.address()).start();
    let began = Instant::now();
    drop(Client::connect_implicit(postern.at("submissions"), &postern.root(), "localhost"));
    drop(Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost"));
    assert!(began.elapsed() < BETWEEN, "{:?}", began.elapsed());
    succeed(&mut swaks(&postern, "submission", "--tls"));
    succeed(&mut swaks(&postern, "submissions", "--tls-on-connect"));
    peer.wait_for(2);
    assert!(!postern.log().contains("session without mail"), "{}", postern.log());
}

/// The banner of the port for TLS, and how long it took.
fn awaited(postern: &Postern) -> (Client, Duration) {
    let began = Instant::now();
    let client = Client::connect(postern.at("submissions"));
    (client, began.elapsed())
}

#[test]
fn a_client_that_waits_is_remembered_until_a_restart_and_sends_nothing_in_clear() {
    let mut postern = started("");
    let (mut client, first) = awaited(&postern);
    assert!(first > BETWEEN, "{first:?}");
    let hello = client.say("EHLO client.test").expect(250);
    assert!(hello.offers("STARTTLS") && !hello.offers("AUTH"), "{hello:?}");
    for line in ["MAIL FROM:<anna@home.test>", "AUTH PLAIN AGFubmEAeA=="] {
        assert!(client.say(line).expect(530).text().contains("(starttls-first)"), "{line}");
    }
    drop(client);
    let (_client, second) = awaited(&postern);
    assert!(second < BETWEEN, "{second:?}");
    postern.reload(|setup| setup);
    let (_client, third) = awaited(&postern);
    assert!(third < BETWEEN, "a reload forgets nothing: {third:?}");
    postern.terminate();
    postern.start();
    let (_client, fourth) = awaited(&postern);
    assert!(fourth > BETWEEN, "a restart forgets: {fourth:?}");
}

#[test]
fn behind_a_load_balancer_it_is_the_real_client_that_is_remembered() {
    let postern = started("proxy_protocol = [\"127.0.0.1\"]\n");
    let banner = |from: &str| {
        let began = Instant::now();
        Client::dial_for(from, postern.at("submissions")).reply().expect(220);
        began.elapsed()
    };
    assert!(banner("192.0.2.1") > BETWEEN);
    assert!(banner("192.0.2.1") < BETWEEN);
    let (first, other) = std::thread::scope(|scope| {
        let other = scope.spawn(|| banner("192.0.2.2"));
        (banner("192.0.2.1"), other.join().unwrap())
    });
    assert!(first < BETWEEN && other > BETWEEN, "{first:?} {other:?}");
}

#[test]
fn the_log_says_of_a_program_that_came_too_early_that_its_next_try_is_served() {
    let postern = started("");
    let mut client = Client::connect(postern.at("submission"));
    // The record of a handshake that goes no further.
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    drop(client);
    postern.wait_for_log("its next try is served");
}

#[test]
fn a_shutdown_does_not_wait_for_a_client_in_its_silence() {
    let mut postern = started("");
    let mut waiting = Client::dial(postern.at("submissions"));
    wait_for("the session", || postern.log().contains("submissions").then_some(()));
    let began = Instant::now();
    postern.begin_termination();
    postern.wait_for_end();
    assert!(began.elapsed() < BETWEEN, "{:?}", began.elapsed());
    assert_eq!(waiting.try_reply(), None, "nothing is said where TLS is expected");
}
