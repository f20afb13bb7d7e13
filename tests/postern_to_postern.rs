//! Two Posterns hand each other mail over verified TLS, and hold it back when the other's certificate is not good.

use std::path::Path;

use crate::support::certificates::Authority;
use crate::support::postern::{ANNA, QUIET};
use crate::support::{Postern, Setup, content, wait_for};

fn receiver() -> Postern {
    Setup::new()
        .only_domain("name = \"away.test\"\ndeliver = \"mailboxes\"\nmailboxes = [\"ben\"]")
        .without_user()
        .start()
}

fn sender(receiver: &Postern, host: &str, trust: &Path) -> Postern {
    let port = receiver.at("mx").port();
    let out = format!(
        "name = \"partner\"\naddress_space = [\"away.test\"]\nto = \"smtp:{host}:{port}\"\ntls = \"verified\"\ntrust = {trust:?}"
    );
    Setup::new().connector(&out).start()
}

#[test]
fn mail_passes_over_verified_tls() {
    let receiver = receiver();
    let sender = sender(&receiver, "127.0.0.1", &receiver.root());
    let content = content::plain(ANNA, "ben@away.test", "From house to house");
    sender.submit(&["ben@away.test"], &content);
    let mail = receiver.wait_for_mail("ben", 1).remove(0);
    content::assert_same_after_our_fields("relayed", &content::unix_lines(&content), &mail);
    let text = String::from_utf8(mail).unwrap();
    assert_eq!(text.matches("Received:").count(), 2, "{text}");
    assert!(
        text.contains("ESMTPSA") && text.contains("with ESMTPS\n") || text.contains("with ESMTPS "),
        "{text}"
    );
    sender.wait_for_empty_queue();
}

#[test]
fn mail_waits_when_the_certificate_is_not_trusted() {
    let receiver = receiver();
    let stranger = Authority::new(&receiver.folder().join("stranger"));
    let sender = sender(&receiver, "127.0.0.1", &stranger.root());
    sender.submit(&["ben@away.test"], &content::plain(ANNA, "ben@away.test", "Held back"));
    wait_for("an attempt", || (sender.queue()[0]["attempts"].as_u64() >= Some(1)).then_some(()));
    std::thread::sleep(QUIET);
    assert!(receiver.mail_of("ben").is_empty(), "it was sent to an unverified peer");
    let shown = sender.cli(&["queue", "show", &sender.queue_ids()[0]]);
    assert!(shown.to_lowercase().contains("certificate"), "queue show does not say why: {shown}");
}
