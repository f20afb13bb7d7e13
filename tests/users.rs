//! Postern's own users, changed by the command line while the daemon runs.

use std::fs;

use serde_json::Value;

use super::support::directory::{REFUSED, attempt};
use super::support::postern::PASSWORD;
use super::support::programs::{fail, run};
use super::support::{Postern, Setup, wait_for};

/// A list of users as Postern wrote it before it kept keys for SCRAM. Anna's password in it is `correct horse`.
const FROM_BEFORE: &[u8] = include_bytes!("../crates/mta/src/directory/users/format-1.db");

#[track_caller]
fn json(postern: &Postern, arguments: &[&str]) -> Value {
    let output = run(postern.command(arguments).arg("--json"));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_disabled_user_hears_what_a_guesser_hears_until_he_is_enabled_again() {
    let postern = Setup::new().start();
    attempt(&postern, "anna", PASSWORD).expect(235);
    postern.cli(&["user", "disable", "anna"]);
    assert_eq!(attempt(&postern, "anna", PASSWORD).text(), REFUSED);
    postern.wait_for_log("the account is disabled");
    assert!(postern.cli(&["user", "list"]).contains("disabled"));
    assert!(postern.cli(&["user", "show", "anna"]).contains("no: disabled"));
    postern.cli(&["user", "enable", "anna"]);
    attempt(&postern, "anna", PASSWORD).expect(235);
}

#[test]
fn the_main_password_can_be_barred_and_allowed_again() {
    let postern = Setup::new().start();
    let said = postern.cli(&["user", "main-password", "anna", "barred"]);
    assert!(said.contains("postern user app-password add anna"), "{said}");
    assert_eq!(attempt(&postern, "anna", PASSWORD).text(), REFUSED);
    postern.wait_for_log("only app passwords may be used here");
    assert!(postern.cli(&["user", "list"]).contains("app passwords only"));
    postern.cli(&["user", "main-password", "anna", "allowed"]);
    attempt(&postern, "anna", PASSWORD).expect(235);
}

#[test]
fn what_is_known_of_a_user_is_shown_to_people_and_programs() {
    let postern = Setup::new().start();
    postern.cli(&["user", "group", "add", "anna", "sales"]);
    attempt(&postern, "anna", PASSWORD).expect(235);
    let shown = wait_for("the last sign-in", || {
        let shown = json(&postern, &["user", "show", "ANNA"]);
        (!shown["last_sign_in"].is_null()).then_some(shown)
    });
    for (key, value) in [
        ("name", "anna"),
        ("directory", "users"),
        ("standing", "enabled"),
        ("main_password", "allowed"),
        ("scram", "ready"),
    ] {
        assert_eq!(shown[key], value, "{key} in {shown:#}");
    }
    assert_eq!(shown["groups"][0], "sales");
    assert_eq!(json(&postern, &["user", "list"])[0]["groups"][0], "sales");
    let text = postern.cli(&["user", "show", "anna"]);
    assert!(text.contains("sales") && text.contains("last sign-in"), "{text}");
    postern.cli(&["user", "group", "remove", "anna", "sales"]);
    let said = fail(&mut postern.command(&["user", "group", "remove", "anna", "sales"]));
    assert!(said.contains("anna is not in the group sales"), "{said}");
    let said = fail(&mut postern.command(&["user", "show", "nobody"]));
    assert!(said.contains("no directory knows nobody") && said.contains("postern user list"), "{said}");
}

#[test]
fn users_from_before_sign_in_as_ever_and_are_marked_until_they_can_use_scram() {
    let mut postern = Setup::new().without_user().prepare();
    fs::write(postern.data_dir().join("users.db"), FROM_BEFORE).unwrap();
    postern.start();
    assert!(postern.cli(&["user", "list"]).contains("no SCRAM yet"));
    attempt(&postern, "anna", "correct horse").expect(235);
    wait_for("anna's keys", || (json(&postern, &["user", "show", "anna"])["scram"] == "ready").then_some(()));
    postern.cli(&["user", "disable", "bert@example.org"]);
    assert!(!postern.cli(&["user", "list"]).contains("no SCRAM yet"), "nobody who could use it lacks it");
    attempt(&postern, "info@example.org", "correct horse").expect(235);
}
