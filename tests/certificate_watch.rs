//! Certificates that are renewed, break and come to their end, as somebody sees them who runs a mail server.

use std::fs;

use crate::support::certificates::{Authority, Kind};
use crate::support::postern::ANNA;
use crate::support::programs::{program, succeed};
use crate::support::{Client, Setup, content, wait_for};

#[test]
fn a_renewed_file_is_served_without_a_reload_and_no_session_notices() {
    let postern = Setup::new().start();
    let mut old = postern.signed_in();
    let other = Authority::new(&postern.folder().join("other"));
    let identity = other.issue(&["localhost", "renewed.test"]);
    fs::copy(&identity.certificate, postern.folder().join("tls/localhost.pem")).unwrap();
    fs::copy(&identity.key, postern.folder().join("tls/localhost.key")).unwrap();
    wait_for("the new certificate", || {
        Client::is_presented(postern.at("submission"), &other.root(), "renewed.test").then_some(())
    });
    postern.wait_for_log("TLS identity main: a new certificate is served");
    old.say("NOOP").expect(250);
}

#[test]
fn the_postmaster_is_told_that_a_certificate_is_over_and_a_restart_does_not_repeat_it() {
    let setup = Setup::new();
    let expired = setup.authority().issue_as(Kind::Expired, &["old.test"]);
    let identity = format!(
        "[[tls.identity]]\nname = \"old\"\ncertificate = {:?}\nkey = {:?}",
        expired.certificate, expired.key
    );
    let mut postern = setup.tables(&identity).start();
    let mail = postern.wait_for_mail("postmaster", 1).remove(0);
    let words = String::from_utf8(mail).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    for piece in [
        "Auto-Submitted: auto-generated",
        "the certificate of TLS identity old is over",
        "clients refuse it",
        "it is served at once",
        "postern cert check",
    ] {
        assert!(words.contains(piece), "{piece} in {words}");
    }
    postern.terminate();
    postern.start();
    postern.submit(&[ANNA], &content::plain(ANNA, ANNA, "After the restart"));
    postern.wait_for_mail("anna", 1);
    assert_eq!(postern.mail_of("postmaster").len(), 1);
}

#[test]
fn a_monitoring_system_reads_the_figures() {
    let postern = Setup::new().tables("[metrics]\nbind = [\"127.0.0.1:0\"]").start();
    let at = postern.at("metrics");
    let get = |path: &str| {
        let address = format!("http://{at}{path}");
        succeed(program("curl").args(["--silent", "--show-error", "--include", "--max-time", "30", &address]))
    };
    let _open = Client::connect(postern.at("mx"));
    let figures = get("/metrics");
    for piece in [
        "content-type: application/openmetrics-text",
        "postern_certificate_not_after_seconds{identity=\"main\",position=\"own\"}",
        "postern_certificate_on_disk_is_served{identity=\"main\"} 1",
        "postern_sessions_open 1",
        "postern_queue_deliveries 0",
        "# EOF",
    ] {
        assert!(figures.contains(piece), "{piece} in {figures}");
    }
    assert!(get("/").starts_with("HTTP/1.1 404"), "{}", get("/"));
}
