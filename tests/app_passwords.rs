//! Passwords for single programs and devices, made by the command line while the daemon runs.

use serde_json::Value;

use super::support::directory::{REFUSED, attempt};
use super::support::postern::{ANNA, PASSWORD};
use super::support::programs::{fail, program, run, succeed};
use super::support::{Postern, Setup, wait_for};

/// Makes one, and hands it back.
#[track_caller]
fn made(postern: &Postern, arguments: &[&str]) -> String {
    let output = run(postern.command(&["user", "app-password", "add"]).args(arguments));
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned()
}

#[track_caller]
fn listed(postern: &Postern, user: &str) -> Value {
    let output = run(&mut postern.command(&["user", "app-password", "list", user, "--json"]));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn an_app_password_is_shown_once_used_by_a_program_and_taken_away() {
    let postern = Setup::new().start();
    let password = made(&postern, &["anna", "phone"]);
    assert_eq!(password.len(), 29, "{password}");
    assert_eq!(listed(&postern, "anna")[0]["last_used"], Value::Null);
    let mut swaks = program("swaks");
    let port = postern.at("submissions").port().to_string();
    swaks.args([
        "--server",
        "localhost",
        "--port",
        &port,
        "--tls-on-connect",
        "--tls-verify",
        "--tls-ca-path",
    ]);
    swaks.arg(postern.root()).args(["--auth", "PLAIN", "--auth-user", "anna", "--auth-password", &password]);
    succeed(swaks.args(["--from", ANNA, "--quit-after", "MAIL", "--timeout", "20s"]));
    let used = wait_for("the last use", || {
        let used = listed(&postern, "anna")[0].clone();
        (!used["last_used"].is_null()).then_some(used)
    });
    assert!(["127.0.0.1", "::1"].contains(&used["last_client"].as_str().unwrap()), "{used}");
    for text in [
        postern.cli(&["user", "app-password", "list", "anna"]),
        postern.cli(&["user", "show", "anna"]),
        postern.log(),
    ] {
        assert!(!text.contains(&password), "the password is shown again: {text}");
    }
    postern.cli(&["user", "app-password", "remove", "anna", "phone"]);
    assert_eq!(attempt(&postern, "anna", &password).text(), REFUSED);
    attempt(&postern, "anna", PASSWORD).expect(235);
}

#[test]
fn what_cannot_be_made_or_removed_is_said() {
    let postern = Setup::new().start();
    made(&postern, &["anna", "phone"]);
    let said = fail(&mut postern.command(&["user", "app-password", "add", "anna", "PHONE"]));
    assert!(said.contains("has an app password \"PHONE\" already"), "{said}");
    let said = fail(&mut postern.command(&["user", "app-password", "remove", "anna", "tablet"]));
    assert!(said.contains("anna has no app password \"tablet\""), "{said}");
    let said = fail(&mut postern.command(&["user", "app-password", "add", "nobody", "phone"]));
    assert!(said.contains("no directory knows nobody"), "{said}");
    let said = postern.cli(&["user", "app-password", "add", "anna", "scanner", "--address", "x@home.test"]);
    assert!(said.contains("Note: x@home.test is not an address of anna"), "{said}");
    assert_eq!(listed(&postern, "anna")[1]["addresses"][0], "x@home.test");
}

#[test]
fn app_passwords_alone_count_where_the_main_password_is_barred() {
    let postern = Setup::new().start();
    let password = made(&postern, &["anna@home.test", "phone"]);
    postern.cli(&["user", "main-password", "anna", "barred"]);
    assert_eq!(attempt(&postern, "anna", PASSWORD).text(), REFUSED);
    attempt(&postern, "anna", &password.to_uppercase().replace('-', " ")).expect(235);
    attempt(&postern, ANNA, &password).expect(235);
    postern.cli(&["user", "disable", "anna"]);
    assert_eq!(attempt(&postern, "anna", &password).text(), REFUSED);
}

/// saslauthd is asked for passwords alone, so that an app password works where it does not run at all.
#[test]
fn people_of_another_directory_have_app_passwords_too() {
    let tables = "[[directory]]\nname = \"corp\"\naddresses = [\"{user}@home.test\"]\n\
                  [directory.saslauthd]\nsocket = \"/nonexistent/mux\"\n";
    let postern = Setup::new().tables(tables).start();
    let password = made(&postern, &["carl", "phone"]);
    let said = postern.cli(&["user", "show", "carl"]);
    assert!(
        said.contains("corp") && said.contains("carl@home.test") && said.contains("phone: never"),
        "{said}"
    );
    attempt(&postern, "carl", &password).expect(235);
    let reply = attempt(&postern, "carl", "corporate");
    assert_eq!(reply.code, 454, "his main password is the directory's to judge, which is down: {reply:?}");
    assert_eq!(attempt(&postern, "anna", &password).code, 454, "it is carl's alone");
    postern.cli(&["user", "app-password", "remove", "carl", "phone"]);
    assert_eq!(attempt(&postern, "carl", &password).code, 454);
}
