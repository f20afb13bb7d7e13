//! The PROXY protocol is believed from the addresses that are named, demanded of them, and ignored from everyone else.

use crate::support::postern::ANNA;
use crate::support::{Client, Postern, Setup, content};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn behind_proxy(named: &str) -> Postern {
    let listener = format!(
        "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\nproxy_protocol = [\"{named}\"]\n"
    );
    Setup::new().listeners(&listener).start()
}

/// Sends the header, then a message; it is delivered with what Postern thinks of where it came from.
#[track_caller]
fn delivered_trace(postern: &Postern, header: &[u8]) -> String {
    let mut client = Client::dial(postern.at("mx"));
    client.send(header);
    client.reply().expect(220);
    client.say("EHLO stranger.test").expect(250);
    client
        .deliver("a@stranger.test", &[ANNA], &content::plain("a@stranger.test", ANNA, "Proxied"))
        .expect(250);
    String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap()
}

#[test]
fn version_1_names_the_client() {
    let trace = delivered_trace(&behind_proxy("127.0.0.1"), b"PROXY TCP4 192.0.2.9 127.0.0.1 5000 25\r\n");
    assert!(trace.contains("[192.0.2.9]"), "{trace}");
}

#[test]
fn version_1_names_a_client_with_an_ipv6_address() {
    let trace = delivered_trace(&behind_proxy("127.0.0.0/8"), b"PROXY TCP6 2001:db8::9 ::1 5000 25\r\n");
    assert!(trace.contains("[IPv6:2001:db8::9]"), "{trace}");
}

#[test]
fn version_2_names_the_client() {
    let addresses = [192, 0, 2, 10, 127, 0, 0, 1, 0x13, 0x88, 0, 25];
    let header = [SIGNATURE, &[0x21, 0x11, 0, 12], &addresses].concat();
    let trace = delivered_trace(&behind_proxy("127.0.0.1"), &header);
    assert!(trace.contains("[192.0.2.10]"), "{trace}");
}

#[test]
fn a_named_proxy_that_sends_no_header_is_turned_away() {
    let postern = behind_proxy("127.0.0.1");
    let mut client = Client::dial(postern.at("mx"));
    client.send(b"EHLO stranger.test\r\n");
    if let Some(reply) = client.try_reply() {
        assert!(reply.code >= 400, "{reply:?}");
        assert_eq!(client.try_reply(), None, "the session went on");
    }
}

#[test]
fn a_header_from_anybody_else_is_no_more_than_a_bad_command() {
    let postern = behind_proxy("127.0.0.99");
    let mut client = Client::connect(postern.at("mx"));
    let refusal = client.say("PROXY TCP4 192.0.2.9 127.0.0.1 5000 25");
    assert!((500..560).contains(&refusal.code), "{refusal:?}");
    client.say("EHLO stranger.test").expect(250);
    client
        .deliver("a@stranger.test", &[ANNA], &content::plain("a@stranger.test", ANNA, "Direct"))
        .expect(250);
    let trace = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    assert!(trace.contains("[127.0.0.1]") && !trace.contains("192.0.2.9"), "{trace}");
}
