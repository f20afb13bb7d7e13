//! Printers, scanners and old applications: with and without TLS and AUTH, to their recipients and to no others.
//!
//! Devices are told apart by address: the clients come from several addresses of the loopback network.

use std::process::Command;

use serde_json::Value;

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{both, program, run};
use crate::support::{Peer, Postern, Setup, wait_for};

const LISTENER: &str = "[[listener]]\nname = \"devices\"\nrole = \"device\"\nbind = [\"127.0.0.1:0\"]\n\
     [[listener]]\nname = \"submission\"\nrole = \"submission\"\nbind = [\"127.0.0.1:0\"]\n";

/// A scanner that knows neither TLS nor AUTH, a printer that cannot be told its sender, an application that signs in, in clear
/// if it must, and one that is held to everything.
const DEVICES: &str = "
[[device]]
name = \"scanner\"
addresses = [\"127.0.0.2\"]
sender = \"scanner@home.test\"
recipient_domains = [\"home.test\", \"partner.test\"]
rate = \"3/1h\"
tls = \"offered\"
sign_in = \"none\"
[[device]]
name = \"printer\"
addresses = [\"127.0.0.3\"]
sender = \"printer@home.test\"
rewrite_sender = true
recipient_domains = [\"home.test\"]
tls = \"offered\"
sign_in = \"none\"
[[device]]
name = \"old-app\"
addresses = [\"127.0.0.4\"]
sender = \"anna@home.test\"
recipient_domains = [\"home.test\"]
tls = \"offered\"
clear_text_sign_in = true
[[device]]
name = \"app\"
addresses = [\"127.0.0.5\"]
sender = \"anna@home.test\"
recipient_domains = [\"home.test\"]
";

#[test]
fn a_scanner_without_tls_and_auth_reaches_its_recipients_and_nobody_else() {
    let peer = Peer::start();
    let postern = house(&peer);
    let scanner = Device { postern: &postern, address: "127.0.0.2", more: &[] };
    let said = scanner.sends("scanner@home.test", ANNA);
    assert!(said.contains("250 2.0.0"), "{said}");
    let said = scanner.sends("scanner@home.test", "carl@partner.test");
    assert!(said.contains("250 2.0.0"), "{said}");
    let said = scanner.sends("scanner@home.test", "ben@elsewhere.test");
    assert!(
        said.contains("device scanner may send to home.test, partner.test only (device-recipient)"),
        "{said}"
    );
    let said = scanner.sends(ANNA, ANNA);
    assert!(said.contains("553 5.7.1") && said.contains("(device-sender)"), "{said}");
    let said = scanner.sends_as("scanner@home.test", ANNA, "ben@elsewhere.test");
    assert!(said.contains("(device-author)"), "{said}");
    let content = String::from_utf8_lossy(&postern.wait_for_mail("anna", 1)[0]).into_owned();
    assert!(content.contains("(device scanner)"), "{content}");
    assert_eq!(peer.wait_for(1).len(), 1);
    postern.wait_for_log("device scanner (TLS: no, signed in: no)");
}

#[test]
fn a_sender_that_cannot_be_set_is_replaced_everywhere() {
    let peer = Peer::start();
    let postern = house(&peer);
    let printer = Device { postern: &postern, address: "127.0.0.3", more: &[] };
    let said = printer.sends_as("root@localhost", "anna@home.test", "Admin <root@localhost.localdomain>");
    assert!(said.contains("250 2.0.0"), "{said}");
    let content = String::from_utf8_lossy(&postern.wait_for_mail("anna", 1)[0]).into_owned();
    for line in [
        "Return-Path: <printer@home.test>",
        "From: <printer@home.test>",
        "Original-From: Admin <root@localhost.localdomain>",
    ] {
        assert!(content.lines().any(|found| found.trim_end() == line), "{line} is not in {content}");
    }
}

#[test]
fn tls_and_sign_in_are_demanded_of_devices_whose_section_does_not_let_them_off() {
    let peer = Peer::start();
    let postern = house(&peer);
    let clear = Device { postern: &postern, address: "127.0.0.5", more: &[] };
    let said = clear.sends(ANNA, ANNA);
    assert!(said.contains("(starttls-first)"), "{said}");
    let anonymous = Device { more: &["--tls"], ..clear };
    let said = anonymous.sends(ANNA, ANNA);
    assert!(said.contains("(sign-in-first)"), "{said}");
    let proper = Device {
        more: &["--tls", "--auth", "PLAIN", "--auth-user", "anna", "--auth-password", PASSWORD],
        ..clear
    };
    let said = proper.sends(ANNA, ANNA);
    assert!(said.contains("250 2.0.0"), "{said}");
    let said = proper.sends(ANNA, "ben@elsewhere.test");
    assert!(said.contains("(device-recipient)"), "whoever has signed in: {said}");
    let in_clear = Device {
        address: "127.0.0.4",
        more: &["--auth", "LOGIN", "--auth-user", "anna", "--auth-password", PASSWORD],
        ..clear
    };
    let said = in_clear.sends(ANNA, ANNA);
    assert!(said.contains("235 2.7.0") && said.contains("250 2.0.0"), "{said}");
    postern.wait_for_log("device app (TLS: yes, signed in: yes)");
    postern.wait_for_log("device old-app (TLS: no, signed in: yes)");
    let refused = Device { address: "127.0.0.2", ..in_clear };
    let said = refused.sends("scanner@home.test", ANNA);
    assert!(!said.contains("235 2.7.0"), "no password in clear where the section does not say so: {said}");
}

#[test]
fn whoever_signs_in_must_be_allowed_to_send_as_the_device() {
    let peer = Peer::start();
    let postern = house(&peer);
    postern.add_user("eve", PASSWORD, "eve@home.test");
    let eve = ["--tls", "--auth", "PLAIN", "--auth-user", "eve", "--auth-password", PASSWORD];
    let device = Device { postern: &postern, address: "127.0.0.5", more: &eve };
    let said = device.sends(ANNA, ANNA);
    assert!(said.contains("<anna@home.test>: not owned by eve (sender-not-owned)"), "{said}");
}

#[test]
fn an_address_in_no_device_is_turned_away_and_learns_nothing() {
    let peer = Peer::start();
    let postern = house(&peer);
    for more in
        [&[][..], &["--tls"], &["--auth", "PLAIN", "--auth-user", "anna", "--auth-password", PASSWORD]]
    {
        let stranger = Device { postern: &postern, address: "127.0.0.77", more };
        for recipient in [ANNA, "ben@elsewhere.test", "nobody@home.test"] {
            let said = stranger.sends("scanner@home.test", recipient);
            assert!(said.contains("554 5.7.1") && said.contains("(device-unknown)"), "{said}");
            assert!(!said.contains("STARTTLS") && !said.contains("250"), "{said}");
        }
    }
    assert!(postern.queue().is_empty() && peer.taken().is_empty());
}

#[test]
fn a_device_that_is_too_fast_is_told_how_long_to_wait() {
    let peer = Peer::start();
    let postern = house(&peer);
    let scanner = Device { postern: &postern, address: "127.0.0.2", more: &[] };
    for _ in 0..3 {
        let said = scanner.sends("scanner@home.test", ANNA);
        assert!(said.contains("250 2.0.0"), "{said}");
    }
    let said = scanner.sends("scanner@home.test", ANNA);
    assert!(said.contains("450 4.7.1 Device scanner sends too fast: try again in "), "{said}");
}

#[test]
fn the_list_says_who_still_needs_an_exception_and_survives_a_restart() {
    let peer = Peer::start();
    let mut postern = house(&peer);
    let tls = Device { postern: &postern, address: "127.0.0.2", more: &["--tls"] };
    let said = tls.sends("scanner@home.test", ANNA);
    assert!(said.contains("250 2.0.0"), "{said}");
    let listed = list(&postern, "scanner");
    assert_eq!((&listed["messages"], &listed["without_tls"]), (&Value::from(1), &Value::Null), "{listed:#}");
    assert!(listed["without_sign_in"].is_string() && listed["seen_at"] == "127.0.0.2", "{listed:#}");
    postern.terminate();
    assert_eq!(list(&postern, "scanner"), listed, "without the daemon");
    postern.start();
    let said = Device { postern: &postern, address: "127.0.0.2", more: &[] }.sends("scanner@home.test", ANNA);
    assert!(said.contains("250 2.0.0"), "{said}");
    let after = wait_for("the second message", || {
        Some(list(&postern, "scanner")).filter(|listed| listed["messages"] == 2)
    });
    assert!(after["without_tls"].is_string(), "{after:#}");
    let text = postern.cli(&["device", "list"]);
    assert!(text.contains("scanner\n") && text.contains("app\n"), "{text}");
}

fn house(peer: &Peer) -> Postern {
    Setup::new().listeners(LISTENER).tables(DEVICES).next_hop(peer.address()).start()
}

fn list(postern: &Postern, name: &str) -> Value {
    let listed: Value = serde_json::from_str(&postern.cli(&["device", "list", "--json"])).unwrap();
    let devices = listed.as_array().unwrap();
    devices.iter().find(|device| device["name"] == name).unwrap().clone()
}

/// A device at its address.
#[derive(Clone, Copy)]
struct Device<'a> {
    postern: &'a Postern,
    address: &'a str,
    more: &'a [&'a str],
}

impl Device<'_> {
    fn sends(self, from: &str, to: &str) -> String {
        self.sends_as(from, to, from)
    }

    /// What swaks saw.
    fn sends_as(self, path: &str, to: &str, author: &str) -> String {
        let mut command: Command = program("swaks");
        let port = self.postern.at("devices").port().to_string();
        command.args(["--server", "127.0.0.1", "--port", &port, "--local-interface", self.address]);
        command.args(["--from", path, "--to", to, "--header", &format!("From: {author}")]).args(self.more);
        both(&run(&mut command))
    }
}
