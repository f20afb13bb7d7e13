//! How connections begin, over real ones: either way on either kind of port, and what becomes known of it.
//!
//! Where nobody may be kept waiting, the silence is [`NEVER`] over: a test that waits for it fails. Where a silence has to
//! end, it is [`SOON`] over, so that no test takes as long as a person would.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_smtp::server::CloseReason;
use postern_smtp::tls::{Alert, HandshakeFault};
use postern_testkit::transcript::{Scenario, Server, Transcript};

use super::Stop;
use super::wire::{Loopback, Wire};
use crate::config::Greets;
use crate::inbound::habits::{Habit, Habits};
use crate::inbound::opening::{Either, Silences, Start};
use crate::session::{Opening, TlsBegun};

const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(1);
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What OpenSSL 3.0 sends first.
const HELLO: &str = include_str!("../../../../smtp/tests/hellos/openssl.hex");
/// The record that carries a handshake.
const HANDSHAKE: u8 = 0x16;

/// A daemon's memory, and its ports.
struct Ports {
    loopback: Loopback,
    habits: Arc<Habits>,
    /// What a session is told under `auto`.
    scenario: Scenario,
}

impl Ports {
    fn new() -> Self {
        let scenario = Transcript::parse("listener: submission\n\nHANGUP\n").unwrap().scenario;
        Self { loopback: Loopback::new(), habits: Arc::default(), scenario }
    }

    fn begin(&self, greets: Greets, silences: Silences, words: &[u8]) -> Wire<'_> {
        let either = Either { greets, client: CLIENT, habits: Arc::clone(&self.habits), silences };
        self.loopback.connect_saying(words, Start::Either(either), &self.scenario)
    }

    /// To a port where a banner is expected, or TLS, with the silence of those who are known for the other.
    fn banner(&self, known: Duration) -> Wire<'_> {
        self.begin(Greets::InClear, Silences { known, unknown: NEVER }, b"")
    }

    fn tls(&self, known: Duration, unknown: Duration) -> Wire<'_> {
        self.begin(Greets::AfterTls, Silences { known, unknown }, b"")
    }

    fn remember(&self, habit: Habit) {
        self.habits.remember(CLIENT, habit, Timestamp::now());
    }

    fn is_known(&self, habit: Habit) -> bool {
        self.habits.has(CLIENT, habit, Timestamp::now())
    }
}

fn hello() -> Vec<u8> {
    let digits: Vec<u8> = HELLO.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

/// A whole session of somebody whose TLS stands.
fn served(wire: &mut Wire<'_>) {
    assert!(wire.line().unwrap().starts_with("220 "));
    wire.send(b"EHLO client.example\r\n");
    let mut announced = Vec::new();
    while !announced.last().is_some_and(|line: &String| line.starts_with("250 ")) {
        announced.push(wire.line().unwrap());
    }
    assert!(announced.iter().any(|line| line.contains("AUTH")), "{announced:?}");
    assert!(!announced.iter().any(|line| line.contains("STARTTLS")), "{announced:?}");
    wire.send(b"QUIT\r\n");
    assert!(wire.line().unwrap().starts_with("221 "));
}

/// Nothing but STARTTLS is to be had in clear.
fn must_start_tls(wire: &mut Wire<'_>) {
    assert!(wire.line().unwrap().starts_with("220 "));
    wire.send(b"EHLO client.example\r\n");
    let mut announced = Vec::new();
    while !announced.last().is_some_and(|line: &String| line.starts_with("250 ")) {
        announced.push(wire.line().unwrap());
    }
    assert!(announced.iter().any(|line| line.contains("STARTTLS")), "{announced:?}");
    assert!(!announced.iter().any(|line| line.contains("AUTH")), "{announced:?}");
    for command in ["MAIL FROM:<a@example.org>", "AUTH PLAIN AHRpbQB0YW5zdGFhZg=="] {
        wire.send(format!("{command}\r\n").as_bytes());
        assert!(wire.line().unwrap().contains("(starttls-first)"), "{command}");
    }
    wire.send(b"STARTTLS\r\n");
    assert!(wire.line().unwrap().starts_with("220 "));
    wire.start_tls().unwrap();
    wire.send(b"EHLO client.example\r\nQUIT\r\n");
    while !wire.line().unwrap().starts_with("221 ") {}
    assert_eq!(wire.noted().begun, Some(TlsBegun::StartTls));
}

#[test]
fn a_client_with_the_right_setting_waits_for_nothing() {
    let ports = Ports::new();
    must_start_tls(&mut ports.banner(NEVER));
    let mut wire = ports.tls(NEVER, NEVER);
    wire.start_tls().unwrap();
    served(&mut wire);
    assert!(!ports.is_known(Habit::TlsAtOnce) && !ports.is_known(Habit::WaitsForBanner));
    let noted = wire.noted();
    assert_eq!(
        (noted.opening, noted.begun, noted.name_borne),
        (Opening::Tls, Some(TlsBegun::AtOnce), Some(true))
    );
    assert_eq!(noted.offer.unwrap().server_name.as_deref(), Some("mail.example.org"));
}

#[test]
fn a_hello_that_is_there_before_the_banner_is_answered_and_remembered() {
    let ports = Ports::new();
    let silences = Silences { known: NEVER, unknown: NEVER };
    let mut wire = ports.begin(Greets::InClear, silences, &hello());
    assert_eq!(wire.first_octet(), Some(HANDSHAKE));
    assert!(ports.is_known(Habit::TlsAtOnce));
}

#[test]
fn whoever_began_with_tls_behind_a_banner_is_served_at_the_next_try() {
    let ports = Ports::new();
    let mut wire = ports.banner(NEVER);
    assert!(wire.line().unwrap().starts_with("220 "), "the banner was faster");
    for piece in hello().chunks(100) {
        wire.send(piece);
    }
    wire.half_close();
    wire.rest().unwrap();
    let noted = wire.noted();
    assert_eq!((noted.opening, noted.begun), (Opening::Tls, None));
    assert_eq!(noted.offer.unwrap().server_name.as_deref(), Some("mail.example.org"));
    let mut wire = ports.banner(NEVER);
    wire.start_tls().unwrap();
    served(&mut wire);
    assert!(ports.is_known(Habit::TlsAtOnce), "and at the one after that");
}

#[test]
fn half_a_hello_behind_the_banner_holds_nobody_up() {
    let ports = Ports::new();
    let mut wire = ports.banner(NEVER);
    assert!(wire.line().unwrap().starts_with("220 "));
    wire.send(&hello()[..100]);
    wire.rest().unwrap();
    wire.hang_up();
    assert!(matches!(wire.stop(), Stop::Closed(CloseReason::Violation)));
    assert_eq!(wire.noted().opening, Opening::Tls);
}

/// As programs do that verify the name behind the handshake, and find that it is not theirs.
#[test]
fn a_client_that_leaves_right_behind_the_handshake_is_seen_to() {
    let ports = Ports::new();
    let mut wire = ports.tls(NEVER, NEVER);
    wire.start_tls().unwrap();
    assert!(wire.line().unwrap().starts_with("220 "));
    wire.half_close();
    assert_eq!(wire.rest().unwrap(), "");
    wire.hang_up();
    assert!(matches!(wire.stop(), Stop::Closed(CloseReason::ClientLeft)));
    let noted = wire.noted();
    assert_eq!((noted.begun, noted.fault), (Some(TlsBegun::AtOnce), None));
}

#[test]
fn whoever_is_known_for_tls_and_speaks_smtp_is_forgotten() {
    let ports = Ports::new();
    ports.remember(Habit::TlsAtOnce);
    must_start_tls(&mut ports.banner(SOON));
    assert!(!ports.is_known(Habit::TlsAtOnce));
    ports.remember(Habit::TlsAtOnce);
    let silences = Silences { known: NEVER, unknown: NEVER };
    let mut wire = ports.begin(Greets::InClear, silences, b"EHLO client.example\r\n");
    assert!(wire.line().unwrap().starts_with("220 "), "who speaks first is not kept waiting");
    assert!(wire.line().unwrap().starts_with("250-"));
    assert!(!ports.is_known(Habit::TlsAtOnce));
}

#[test]
fn whoever_waits_for_a_banner_where_tls_is_expected_gets_it_and_must_start_tls() {
    let ports = Ports::new();
    must_start_tls(&mut ports.tls(NEVER, SOON));
    assert!(ports.is_known(Habit::WaitsForBanner));
    must_start_tls(&mut ports.tls(SOON, NEVER));
    let mut wire = ports.tls(NEVER, NEVER);
    wire.start_tls().unwrap();
    served(&mut wire);
    assert!(!ports.is_known(Habit::WaitsForBanner), "with TLS at once it is forgotten");
}

#[test]
fn a_slow_client_of_tls_that_got_a_banner_is_not_taken_for_one_that_waits_for_it() {
    let ports = Ports::new();
    let mut wire = ports.tls(NEVER, SOON);
    assert!(wire.line().unwrap().starts_with("220 "));
    wire.send(&hello());
    wire.half_close();
    wire.rest().unwrap();
    assert!(!ports.is_known(Habit::WaitsForBanner));
}

#[test]
fn whoever_leaves_before_the_silence_is_over_has_shown_nothing() {
    let ports = Ports::new();
    for known in [NEVER, Duration::ZERO] {
        let mut wire = ports.tls(known, NEVER);
        wire.vanish();
        assert!(matches!(wire.stop(), Stop::Tls));
        assert_eq!(wire.noted().fault.unwrap().0, HandshakeFault::Closed);
        assert!(!ports.is_known(Habit::WaitsForBanner));
    }
}

#[test]
fn a_neighbour_who_waits_for_banners_does_not_shorten_the_time_of_one_who_begins_with_tls() {
    let ports = Ports::new();
    let mut wire = ports.tls(NEVER, NEVER);
    wire.start_tls().unwrap();
    served(&mut wire);
    assert!(ports.is_known(Habit::TlsAsExpected));
    // Somebody behind the same router waits for the whole silence, and speaks SMTP.
    must_start_tls(&mut ports.tls(NEVER, SOON));
    assert!(ports.is_known(Habit::WaitsForBanner));
    // With the short silence a banner would come.
    let mut wire = ports.tls(SOON, NEVER);
    wire.send(&hello());
    assert_eq!(wire.first_octet(), Some(HANDSHAKE));
}

#[test]
fn the_short_silence_alone_makes_nobody_known_for_longer() {
    let ports = Ports::new();
    ports.remember(Habit::WaitsForBanner);
    let mut wire = ports.tls(SOON, NEVER);
    assert!(wire.line().unwrap().starts_with("220 "));
    ports.habits.forget(CLIENT, Habit::WaitsForBanner);
    wire.half_close();
    wire.rest().unwrap();
    assert!(!ports.is_known(Habit::WaitsForBanner), "it said nothing");
    let mut wire = ports.tls(NEVER, SOON);
    assert!(wire.line().unwrap().starts_with("220 "));
    ports.habits.forget(CLIENT, Habit::WaitsForBanner);
    wire.send(b"EHLO client.example\r\n");
    assert!(wire.line().unwrap().starts_with("250-"));
    assert!(ports.is_known(Habit::WaitsForBanner), "it speaks SMTP");
}

#[test]
fn a_shutdown_waits_for_nobodys_silence() {
    let ports = Ports::new();
    let mut wire = ports.tls(NEVER, NEVER);
    wire.drain();
    assert_eq!(wire.rest().unwrap(), "", "nothing is said where TLS is expected");
    assert!(matches!(wire.stop(), Stop::Tls));
    assert_eq!(wire.noted().fault.unwrap().0, HandshakeFault::Drained);
    ports.remember(Habit::TlsAtOnce);
    let mut wire = ports.banner(NEVER);
    wire.drain();
    assert!(wire.rest().unwrap().ends_with("(shutting-down)\r\n"));
    wire.hang_up();
    assert!(matches!(wire.stop(), Stop::Closed(CloseReason::Drained)));
}

#[test]
fn what_is_no_tls_ends_at_once_where_tls_is_expected() {
    let ports = Ports::new();
    let method = "GET".to_owned();
    for (words, opening) in [
        (&b"GET / HTTP/1.1\r\nHost: mail.example.org\r\n\r\n"[..], Opening::Http { method }),
        (b"EHLO client.example\r\n", Opening::Words),
        (b"\x00\x01\x02\x03\x04\x05", Opening::Binary { octets: "000102030405".to_owned() }),
    ] {
        let mut wire = ports.begin(Greets::AfterTls, Silences { known: NEVER, unknown: NEVER }, words);
        // It may be told so by an alert, and the connection may break over what nobody has read.
        let _ = wire.rest();
        assert!(matches!(wire.stop(), Stop::Tls), "{opening:?}");
        let noted = wire.noted();
        assert_eq!((noted.opening, noted.fault.unwrap().0), (opening, HandshakeFault::NotTls));
    }
    assert!(!ports.is_known(Habit::WaitsForBanner));
}

#[test]
fn a_hello_that_comes_in_pieces_is_answered_and_one_that_breaks_off_is_told() {
    let ports = Ports::new();
    let hello = hello();
    let mut wire = ports.begin(Greets::AfterTls, Silences { known: NEVER, unknown: NEVER }, &hello[..1]);
    for piece in hello[1..].chunks(7) {
        wire.send(piece);
    }
    assert_eq!(wire.first_octet(), Some(HANDSHAKE));
    for length in [1, 5, 100] {
        let silences = Silences { known: NEVER, unknown: NEVER };
        let mut wire = ports.begin(Greets::AfterTls, silences, &hello[..length]);
        wire.half_close();
        assert!(matches!(wire.stop(), Stop::Tls));
        let noted = wire.noted();
        assert_eq!((noted.opening, noted.offer), (Opening::Tls, None), "{length}");
        assert_eq!(noted.fault.unwrap().0, HandshakeFault::Closed, "{length}");
    }
}

#[test]
fn the_hello_of_ssl_2_is_known_for_what_it_is() {
    let ports = Ports::new();
    let message = [&[1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f][..], &[7; 16]].concat();
    let hello = [&[0x80, u8::try_from(message.len()).unwrap()], &message[..]].concat();
    let mut wire = ports.begin(Greets::AfterTls, Silences { known: NEVER, unknown: NEVER }, &hello);
    let _ = wire.rest();
    assert!(matches!(wire.stop(), Stop::Tls));
    let noted = wire.noted();
    assert_eq!(noted.offer.unwrap().versions, [0x0301]);
    let (fault, reason) = noted.fault.unwrap();
    assert_eq!(fault, HandshakeFault::NoCommonVersion);
    assert!(reason.contains("SSL 2.0"), "{reason}");
}

#[test]
fn a_certificate_for_another_name_than_the_client_asks_for_is_seen() {
    let loopback = Loopback::new();
    for (name, borne) in [("mail.example.org", Some(true)), ("smtp.example.org", Some(false))] {
        let noted = loopback.asked_by(&["s_client", "-servername", name]);
        assert_eq!((noted.name_borne, noted.fault), (borne, None), "{name}");
    }
    assert_eq!(loopback.asked_by(&["s_client", "-noservername"]).name_borne, None);
}

#[test]
fn each_way_in_which_a_real_program_fails_has_its_fault() {
    let loopback = Loopback::new();
    let weak = "ALL:@SECLEVEL=0";
    for (arguments, fault) in [
        (&["-tls1", "-cipher", weak][..], HandshakeFault::NoCommonVersion),
        (&["-tls1_1", "-cipher", weak], HandshakeFault::NoCommonVersion),
        (&["-tls1_2", "-cipher", "AES256-SHA"], HandshakeFault::NoCommonCipher),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CAMELLIA256-SHA384"], HandshakeFault::NoCommonCipher),
        (&["-tls1_3", "-groups", "X448"], HandshakeFault::NoCommonGroup),
        (&["-tls1_2", "-groups", "brainpoolP256r1"], HandshakeFault::NoCommonGroup),
        (&["-sigalgs", "ed448"], HandshakeFault::NoCommonSignature),
        (&["-verify_return_error", "-no-CAfile", "-no-CApath"], HandshakeFault::Alert(Alert::UNKNOWN_CA)),
    ] {
        let noted = loopback.asked_by(&[&["s_client"], arguments].concat());
        let (seen, reason) = noted.fault.unwrap_or_else(|| panic!("{arguments:?} succeeds"));
        assert_eq!(seen, fault, "{arguments:?}: {reason}");
        let offer = noted.offer.unwrap_or_else(|| panic!("{arguments:?} offers nothing"));
        assert!(offer.versions[0] >= 0x0301, "{offer}");
    }
}

#[test]
fn python_says_that_it_does_not_know_the_authority() {
    let script = "import socket, ssl, sys\n\
                  try:\n    host, port = sys.argv[1].split(':')\n    \
                  ssl.create_default_context().wrap_socket(socket.create_connection((host, int(port))), server_hostname='mail.example.org')\n\
                  except ssl.SSLError:\n    pass\n";
    let noted = Loopback::new().visited_by(|address| {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", script, &address.to_string()]);
        command
    });
    assert_eq!(noted.fault.unwrap().0, HandshakeFault::Alert(Alert::UNKNOWN_CA));
    assert_eq!(noted.name_borne, None, "TLS does not stand");
}

impl Loopback {
    /// What is known of a connection that the openssl program made.
    fn asked_by(&self, arguments: &[&str]) -> super::wire::Noted {
        self.visited_by(|address| {
            let mut command = Command::new("openssl");
            command.args(arguments).args(["-connect", &address.to_string()]);
            command
        })
    }

    /// What is known of a connection that a program made to a port with implicit TLS.
    fn visited_by(&self, program: impl FnOnce(SocketAddr) -> Command) -> super::wire::Noted {
        let scenario = Transcript::parse("listener: submissions\n\nHANGUP\n").unwrap().scenario;
        self.visit(&scenario, |address| {
            let mut command = program(address);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let spawned = command.spawn();
            spawned.unwrap_or_else(|error| panic!("{command:?}: {error}: apt-get install openssl python3"))
        })
    }
}
