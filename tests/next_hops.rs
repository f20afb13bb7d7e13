//! Exim and OpenSMTPD as next hops: mail reaches them in clear, over opportunistic TLS whatever certificate they have, and over
//! verified TLS when the certificate is good. Postfix and Dovecot have their turn in `delivery`.

use std::path::Path;

use crate::support::certificates::Kind;
use crate::support::content::{assert_same_after_our_fields, plain, unix_lines};
use crate::support::exim::Exim;
use crate::support::opensmtpd::OpenSmtpd;
use crate::support::postern::{ANNA, QUIET};
use crate::support::{Postern, Setup, maildir_messages, wait_for, wait_for_maildir};

const DOMAIN: &str = "elsewhere.test";
const BEN: &str = "ben@elsewhere.test";

/// A Postern that sends everything for the domain to this port, with these further keys of the connector.
fn sender(setup: Setup, port: u16, keys: &str) -> Postern {
    setup
        .connector(&format!(
            "name = \"out\"\naddress_space = [\"{DOMAIN}\"]\nto = \"smtp:localhost:{port}\"\n{keys}"
        ))
        .start()
}

fn verified(setup: &Setup) -> String {
    format!("tls = \"verified\"\ntrust = {:?}", setup.authority().root())
}

/// Sends one message, waits for it, checks that it is the same, and hands back what the next hop filed.
#[track_caller]
fn relay(postern: &Postern, maildir: &Path) -> String {
    let content = plain(ANNA, BEN, "From house to house");
    postern.submit(&[BEN], &content);
    let mail = wait_for_maildir(maildir, 1).remove(0);
    assert_same_after_our_fields("relayed", &unix_lines(&content), &mail);
    postern.wait_for_empty_queue();
    String::from_utf8(mail).unwrap()
}

#[test]
fn mail_reaches_exim_in_clear() {
    let exim = Exim::start(DOMAIN, None);
    let postern = sender(Setup::new(), exim.address().port(), "tls = \"none\"");
    let mail = relay(&postern, &exim.maildir());
    assert!(mail.contains("with esmtp ") && mail.contains("(Exim "), "{mail}");
}

#[test]
fn mail_reaches_exim_over_tls_with_a_self_signed_certificate() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let exim = Exim::start(DOMAIN, Some(&identity));
    let postern = sender(setup, exim.address().port(), "tls = \"opportunistic\"");
    let mail = relay(&postern, &exim.maildir());
    assert!(mail.contains("with esmtps  (TLS1.3)"), "{mail}");
}

#[test]
fn mail_reaches_exim_over_verified_tls() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::Chained, &["localhost"]);
    let exim = Exim::start(DOMAIN, Some(&identity));
    let keys = verified(&setup);
    let postern = sender(setup, exim.address().port(), &keys);
    let mail = relay(&postern, &exim.maildir());
    assert!(mail.contains("with esmtps  (TLS1.3)"), "{mail}");
}

#[test]
fn mail_reaches_opensmtpd_in_clear() {
    let opensmtpd = OpenSmtpd::start(DOMAIN, None);
    let postern = sender(Setup::new(), opensmtpd.address().port(), "tls = \"none\"");
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTP id"), "{mail}");
}

#[test]
fn mail_reaches_opensmtpd_over_tls_with_a_self_signed_certificate() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let opensmtpd = OpenSmtpd::start(DOMAIN, Some(&identity));
    let postern = sender(setup, opensmtpd.address().port(), "tls = \"opportunistic\"");
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTPS id") && mail.contains("(TLSv1.3:"), "{mail}");
}

#[test]
fn mail_reaches_opensmtpd_over_verified_tls() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::Rsa2048, &["localhost"]);
    let opensmtpd = OpenSmtpd::start(DOMAIN, Some(&identity));
    let keys = verified(&setup);
    let postern = sender(setup, opensmtpd.address().port(), &keys);
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTPS id") && mail.contains("(TLSv1.3:"), "{mail}");
}

#[test]
fn an_opensmtpd_that_cannot_do_the_tls_it_offers_gets_the_mail_in_clear_where_that_is_allowed() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let opensmtpd = OpenSmtpd::start_with_broken_tls(DOMAIN, &identity);
    let postern = sender(setup, opensmtpd.address().port(), "tls = \"opportunistic\"");
    let mail = relay(&postern, &opensmtpd.maildir());
    assert!(mail.contains("(OpenSMTPD) with ESMTP id"), "{mail}");
    let log = opensmtpd.log();
    assert!(log.contains("SSL routines::EVP lib"), "no handshake was tried and failed first: {log}");
}

#[test]
fn an_opensmtpd_that_cannot_do_the_tls_it_offers_gets_nothing_where_tls_must_be_verified() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let opensmtpd = OpenSmtpd::start_with_broken_tls(DOMAIN, &identity);
    let keys = verified(&setup);
    let postern = sender(setup, opensmtpd.address().port(), &keys);
    postern.submit(&[BEN], &plain(ANNA, BEN, "Held back"));
    wait_for("two attempts", || (postern.queue()[0]["attempts"].as_u64() >= Some(2)).then_some(()));
    std::thread::sleep(QUIET);
    assert!(maildir_messages(&opensmtpd.maildir()).is_empty(), "it was sent in clear");
    assert!(!opensmtpd.log().contains("smtp message"), "{}", opensmtpd.log());
}
