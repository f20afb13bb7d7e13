//! Our own domains: who exists, who does not, aliases, plus-addressing, postmaster and catch-all.

use crate::support::postern::ANNA;
use crate::support::{Client, Postern, Setup, content};

const DOMAIN: &str = "name = \"home.test\"\ndeliver = \"mailboxes\"\nmailboxes = [\"info\"]\n\
    aliases = { sales = [\"anna\", \"info\"], out = [\"ben@elsewhere.test\"] }";

#[track_caller]
fn stranger_sends(postern: &Postern, to: &[&str]) -> u16 {
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    client.deliver("a@stranger.test", to, &content::plain("a@stranger.test", to[0], "local")).code
}

#[test]
fn an_unknown_recipient_is_refused_at_rcpt() {
    let postern = Setup::new().only_domain(DOMAIN).start();
    let mut client = Client::connect(postern.at("mx"));
    client.say("EHLO stranger.test").expect(250);
    client.say("MAIL FROM:<a@stranger.test>").expect(250);
    let reply = client.say("RCPT TO:<nobody@home.test>");
    assert!(reply.code == 550 && reply.text().contains("5.1.1"), "{reply:?}");
    client.say("RCPT TO:<info@home.test>").expect(250);
}

#[test]
fn a_user_a_mailbox_an_alias_and_a_plus_address_are_delivered() {
    let postern = Setup::new().only_domain(DOMAIN).start();
    assert_eq!(stranger_sends(&postern, &["info@home.test"]), 250);
    assert_eq!(stranger_sends(&postern, &["sales@home.test"]), 250);
    assert_eq!(stranger_sends(&postern, &["anna+lists@home.test"]), 250);
    assert_eq!(stranger_sends(&postern, &["ANNA@HOME.TEST"]), 250);
    postern.wait_for_mail("info", 2);
    postern.wait_for_mail("anna", 3);
    postern.wait_for_empty_queue();
}

#[test]
fn mail_for_an_alias_outside_leaves_through_its_connector() {
    let peer = crate::support::Peer::start();
    let postern = Setup::new().only_domain(DOMAIN).next_hop(peer.address()).start();
    assert_eq!(stranger_sends(&postern, &["out@home.test"]), 250);
    assert!(peer.wait_for(1)[0].to[0].starts_with("<ben@elsewhere.test>"));
}

#[test]
fn postmaster_is_always_taken() {
    let postern = Setup::new().top(&format!("postmaster = \"{ANNA}\"")).only_domain(DOMAIN).start();
    assert_eq!(stranger_sends(&postern, &["postmaster@home.test"]), 250);
    assert_eq!(stranger_sends(&postern, &["Postmaster"]), 250);
    postern.wait_for_mail("anna", 2);
}

#[test]
fn everyone_is_taken_only_where_a_catch_all_is_asked_for() {
    let domain = format!("name = \"home.test\"\ndeliver = \"mailboxes\"\ncatch_all = \"{ANNA}\"");
    let postern = Setup::new().only_domain(&domain).start();
    assert_eq!(stranger_sends(&postern, &["whoever@home.test"]), 250);
    postern.wait_for_mail("anna", 1);
}
