//! Who is which device, what each may do, and that nobody does anything else.

use std::time::Duration;

use postern_message::inspect::Inspector;
use postern_smtp::server::{ClearSignIn, TlsMode};

use super::*;
use crate::config::{Config, File, Role, Surroundings};
use crate::directory::Principal;
use crate::routing::{Permit, Relaying, Routing};

const CONFIG: &str = r#"
hostname = "mail.example.org"
[[listener]]
name = "devices"
role = "device"
bind = ["[::1]:2525"]
[[device]]
name = "floor"
addresses = ["192.0.2.0/24", "2001:db8::/64"]
sender = "floor@example.org"
recipient_domains = ["example.org"]
[[device]]
name = "scanner"
addresses = ["192.0.2.7"]
sender = "Scanner@example.org"
recipient_domains = ["example.org", "*.partner.example"]
tls = "offered"
sign_in = "none"
rate = "2/1h"
[[device]]
name = "fax"
addresses = ["192.0.2.9"]
sender = "fax@example.org"
recipient_domains = ["fax.example"]
rewrite_sender = true
tls = "offered"
clear_text_sign_in = true
"#;

fn config() -> Config {
    let config = File::parse(CONFIG, "test").unwrap().resolve(&Surroundings::default());
    config.unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn settings(tls: TlsMode) -> Settings {
    let listener = &config().listeners[0];
    Settings {
        hostname: "mail.example.org".into(),
        tls,
        tls_available: true,
        auth: listener.auth,
        clear_sign_in: ClearSignIn::Refused,
        mechanisms: [].into(),
        line_endings: listener.line_endings,
        limits: listener.limits.smtp.clone(),
        timeouts: listener.limits.timeouts.clone(),
    }
}

fn device(name: &str) -> Device {
    config().devices.into_iter().find(|device| device.name == name).unwrap()
}

#[test]
fn a_client_is_the_device_that_names_it_most_closely_or_none() {
    let devices = admitted(&config().devices, &settings(TlsMode::Offered));
    for (client, name) in [
        ("192.0.2.7", Some("scanner")),
        ("::ffff:192.0.2.7", Some("scanner")),
        ("192.0.2.8", Some("floor")),
        ("2001:db8::7", Some("floor")),
        ("192.0.3.7", None),
        ("2001:db8:0:1::7", None),
        ("127.0.0.1", None),
    ] {
        let found = of_client(&devices, client.parse().unwrap());
        assert_eq!(found.map(|found| found.device.name.as_str()), name, "{client}");
    }
}

#[test]
fn a_session_needs_what_the_device_and_the_listener_need() {
    let of = |name, tls| {
        let settings = settings_for(&device(name), &settings(tls));
        (settings.tls, settings.auth, settings.clear_sign_in)
    };
    let (refused, allowed) = (ClearSignIn::Refused, ClearSignIn::Allowed);
    assert_eq!(of("floor", TlsMode::Offered), (TlsMode::Required, AuthOffer::Mandatory, refused));
    assert_eq!(of("scanner", TlsMode::Offered), (TlsMode::Offered, AuthOffer::Optional, refused));
    assert_eq!(of("fax", TlsMode::Offered), (TlsMode::Offered, AuthOffer::Mandatory, allowed));
    assert_eq!(of("scanner", TlsMode::Required).0, TlsMode::Required, "the listener's demand counts");
    assert_eq!(of("scanner", TlsMode::Implicit).0, TlsMode::Implicit);
}

#[test]
fn a_device_sends_as_its_own_address_and_no_other() {
    let scanner = device("scanner");
    for (from, allowed) in [
        ("<scanner@example.org>", true),
        ("<SCANNER@EXAMPLE.org>", true),
        ("<scanner+x@example.org>", false),
        ("<floor@example.org>", false),
        ("<>", false),
    ] {
        let from: ReversePath = from.parse().unwrap();
        assert_eq!(check_reverse_path(&scanner, &from).is_ok(), allowed, "{from}");
        assert!(check_reverse_path(&device("fax"), &from).is_ok(), "{from} is replaced");
    }
}

#[test]
fn its_header_names_nobody_else() {
    let token = |fields: &str| {
        let mut inspector = Inspector::default();
        inspector.feed(format!("{fields}\r\n\r\n").as_bytes());
        let reply = check_header(&device("scanner"), &inspector.finish()).err()?.one_line();
        Some(reply.rsplit(['(', ')']).nth(1)?.to_owned())
    };
    for (fields, refused) in [
        ("From: Scanner <scanner@example.org>", None),
        ("Subject: its address is added", None),
        ("From: scanner@example.org, floor@example.org", Some("device-author")),
        ("From: scanner@example.org\r\nSender: floor@example.org", Some("device-author")),
        ("Subject: x\r\nSender: floor@example.org", Some("device-author")),
        ("From: scanner@example.org\r\nFrom: scanner@example.org", Some("from-unreadable")),
        ("From: nobody", Some("from-unreadable")),
    ] {
        assert_eq!(token(fields).as_deref(), refused, "{fields}");
    }
}

#[test]
fn the_refusal_of_a_recipient_names_the_device_and_its_domains() {
    let to = |path: &str| check_recipient(&device("scanner"), &path.parse().unwrap());
    for path in ["<anna@example.org>", "<x@a.partner.example>", "<Postmaster>"] {
        assert!(to(path).is_ok(), "{path}");
    }
    assert_eq!(
        to("<x@elsewhere.example>").unwrap_err().one_line(),
        "550 5.7.1 <x@elsewhere.example>: device scanner may send to example.org, *.partner.example only (device-recipient)"
    );
    assert!(to("<x@partner.example>").is_err() && to("<x@[192.0.2.1]>").is_err());
}

#[test]
fn a_device_that_is_too_fast_waits_and_another_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = log::DeviceLog::open(folder.path()).unwrap();
    let (scanner, floor, now) = (device("scanner"), device("floor"), std::time::Instant::now());
    for _ in 0..2 {
        assert_eq!(log.wait(&scanner, now), Duration::ZERO);
        assert!(log.take(&scanner, now).is_ok());
    }
    let wait = log.take(&scanner, now).unwrap_err();
    assert_eq!((wait, log.wait(&scanner, now)), (Duration::from_mins(30), Duration::from_mins(30)));
    assert!(log.take(&floor, now).is_ok());
    assert!(log.take(&scanner, now + wait).is_ok(), "what was refused took nothing");
}

/// Whoever has signed in, whatever the address: without a device that lists the domain nothing leaves.
#[test]
fn nobody_relays_on_a_device_listener_but_a_device_to_its_domains() {
    let (routing, anna) = (Routing::new(Arc::new(config())), Principal::named("anna", Vec::new()));
    let devices = [None, Some(device("scanner")), Some(device("floor")), Some(device("fax"))];
    let domains = ["elsewhere.example", "x.partner.example", "partner.example", "fax.example", "example.com"];
    for device in &devices {
        for to in domains.map(|domain| format!("x@{domain}").parse::<Mailbox>().unwrap()) {
            for address in ["192.0.2.7", "192.0.2.9", "10.0.0.1", "127.0.0.1", "2001:db8::7"] {
                for principal in [None, Some(&anna)] {
                    let address = address.parse().unwrap();
                    let device = device.as_ref();
                    let client =
                        Relaying { principal, role: Role::Device, address, certificate: None, device };
                    let expected = match (device.map(|device| device.name.as_str()), to.host.key().as_ref()) {
                        (Some("scanner"), "x.partner.example") => Some(Permit::Device("scanner")),
                        (Some("fax"), "fax.example") => Some(Permit::Device("fax")),
                        _ => None,
                    };
                    assert_eq!(routing.may_relay(client, &to), expected, "{client:?}");
                }
            }
        }
    }
}
