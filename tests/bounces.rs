//! What cannot be delivered is reported to its sender, once, in a form that people and programs read.

use serde_json::Value;

use crate::support::postern::{ANNA, QUIET};
use crate::support::programs::{python, succeed, text};
use crate::support::{Do, Peer, Postern, Setup, content, files_below, wait_for};

/// What Python's email package makes of the only report in Anna's mailbox.
#[track_caller]
fn report(postern: &Postern) -> Value {
    postern.wait_for_mail("anna", 1);
    let files = files_below(&postern.maildir("anna").join("new"));
    let mut command = python(
        "
import email, email.policy, json, sys
message = email.message_from_file(open(sys.argv[1], newline=''), policy=email.policy.default)
parts = list(message.iter_parts())
status = parts[1]
groups = [dict(group.items()) for group in status.get_payload()]
print(json.dumps({
    'type': message.get_content_type(), 'report': message.get_param('report-type'), 'defects': [repr(d) for p in message.walk() for d in p.defects],
    'from': message['from'], 'to': message['to'], 'subject': message['subject'], 'return_path': message['return-path'],
    'auto': message['auto-submitted'], 'date': message['date'], 'id': message['message-id'],
    'types': [part.get_content_type() for part in parts], 'human': parts[0].get_content(), 'groups': groups,
    'returned': parts[2].as_string(),
}))
",
    );
    let said = succeed(command.arg(text(&files[0])));
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_refused_recipient_is_reported_to_the_sender() {
    let peer = Peer::scripted(|step| {
        if step.is("RCPT") { Do::Say("550 5.1.1 No such person at this address") } else { Do::Usual }
    });
    let peer = peer.start();
    let postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "To nobody"));
    let report = report(&postern);
    assert_eq!(report["type"], "multipart/report", "{report:#}");
    assert_eq!(report["report"], "delivery-status", "{report:#}");
    assert_eq!(report["defects"].as_array().unwrap().len(), 0, "{report:#}");
    let types = &report["types"];
    assert_eq!(types[0], "text/plain", "{report:#}");
    assert_eq!(types[1], "message/delivery-status", "{report:#}");
    assert!(types[2] == "message/rfc822" || types[2] == "text/rfc822-headers", "{report:#}");
    let recipient = &report["groups"][1];
    assert_eq!(recipient["Action"], "failed", "{report:#}");
    assert_eq!(recipient["Status"], "5.1.1", "{report:#}");
    assert!(recipient["Final-Recipient"].as_str().unwrap().ends_with("ben@elsewhere.test"), "{report:#}");
    assert!(
        recipient["Diagnostic-Code"].as_str().unwrap().contains("No such person at this address"),
        "{report:#}"
    );
    assert!(report["human"].as_str().unwrap().contains("ben@elsewhere.test"), "{report:#}");
    assert!(report["returned"].as_str().unwrap().contains("Subject: To nobody"), "{report:#}");
    assert!(report["to"].as_str().unwrap().contains(ANNA), "{report:#}");
    assert_eq!(report["auto"], "auto-replied", "{report:#}");
    postern.wait_for_empty_queue();
}

#[test]
fn each_recipient_has_its_own_fate() {
    let peer =
        Peer::scripted(
            |step| {
                if step.is("RCPT TO:<gone") { Do::Say("550 5.1.6 Moved away") } else { Do::Usual }
            },
        );
    let peer = peer.start();
    let postern = Setup::new().next_hop(peer.address()).start();
    let content = content::plain(ANNA, "ben@elsewhere.test", "To both");
    postern.submit(&["ben@elsewhere.test", "gone@elsewhere.test"], &content);
    peer.wait_for(1);
    let report = report(&postern);
    assert_eq!(
        report["groups"].as_array().unwrap().len(),
        2,
        "one group for the message, one for the recipient: {report:#}"
    );
    assert_eq!(report["groups"][1]["Status"], "5.1.6", "{report:#}");
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 1, "the recipient that was taken got it twice");
}

#[test]
fn a_refusal_of_the_content_is_reported() {
    let peer =
        Peer::scripted(
            |step| {
                if step.line == "." { Do::Say("554 5.7.1 We do not like this") } else { Do::Usual }
            },
        );
    let peer = peer.start();
    let postern = Setup::new().next_hop(peer.address()).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Unwanted"));
    let report = report(&postern);
    assert!(
        report["groups"][1]["Diagnostic-Code"].as_str().unwrap().contains("We do not like this"),
        "{report:#}"
    );
}

#[test]
fn an_expired_message_is_reported_with_the_last_reply() {
    let peer =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("451 4.3.0 Come back later") } else { Do::Usual });
    let peer = peer.start();
    let queue = "retry = [\"100ms\"]\njitter = 0.0\nexpire = \"2s\"\ndelay_warning = \"never\"";
    let postern = Setup::new().queue(queue).next_hop(peer.address()).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Too late"));
    let report = report(&postern);
    assert_eq!(report["groups"][1]["Action"], "failed", "{report:#}");
    assert!(
        report["groups"][1]["Diagnostic-Code"].as_str().unwrap().contains("Come back later"),
        "{report:#}"
    );
    postern.wait_for_empty_queue();
    assert!(peer.count("RCPT") > 1, "it was tried only once");
}

#[test]
fn a_delay_is_reported_once_and_delivery_goes_on() {
    let peer =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("451 4.3.0 Come back later") } else { Do::Usual });
    let peer = peer.start();
    let queue = "retry = [\"100ms\"]\njitter = 0.0\ndelay_warning = \"500ms\"";
    let postern = Setup::new().queue(queue).next_hop(peer.address()).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Patience"));
    let report = report(&postern);
    assert_eq!(report["groups"][1]["Action"], "delayed", "{report:#}");
    let attempts = peer.count("RCPT");
    wait_for("more attempts", || (peer.count("RCPT") >= attempts + 3).then_some(()));
    assert_eq!(postern.mail_of("anna").len(), 1, "the delay was reported more than once");
    assert_eq!(postern.queue().len(), 1);
}

#[test]
fn a_report_that_cannot_be_delivered_makes_no_report() {
    let peer =
        Peer::scripted(|step| if step.is("RCPT") { Do::Say("550 5.1.1 Nobody") } else { Do::Usual }).start();
    let postern = Setup::new().next_hop(peer.address()).start();
    // Mail with the null reverse-path is what a report is.
    let mut client = crate::support::Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    let aliased =
        client.deliver("", &[ANNA], &content::plain("mailer-daemon@stranger.test", ANNA, "A report"));
    aliased.expect(250);
    postern.wait_for_mail("anna", 1);
    // And one of ours whose recipient refuses it: a stranger's mail to an alias that leads outside.
    let outside =
        "name = \"home.test\"\ndeliver = \"mailboxes\"\naliases = { out = [\"ben@elsewhere.test\"] }";
    let postern = Setup::new().only_domain(outside).next_hop(peer.address()).start();
    let mut client = crate::support::Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    let content = content::plain("a@stranger.test", "out@home.test", "Doomed");
    client.deliver("a@stranger.test", &["out@home.test"], &content).expect(250);
    // The message is refused, then the report to the stranger is refused, and that is the end of it.
    wait_for("both to be refused", || (peer.count("RCPT") >= 2).then_some(()));
    postern.wait_for_empty_queue();
    std::thread::sleep(QUIET);
    assert_eq!(peer.count("RCPT"), 2, "{:?}", peer.said());
    assert!(peer.said().iter().any(|line| line.starts_with("MAIL FROM:<>")), "{:?}", peer.said());
}
