//! A configuration is refused whole, with all its problems at once, each with its line and what to do.

use std::fs;
use std::process::Command;

use crate::support::postern::postern;
use crate::support::programs::{fail, succeed};

const BROKEN: &str = r#"hostname = "mail.home.test"

[[listener]]
name = "mx"
role = "relay"
bind = ["127.0.0.1:notaport"]

[[listener]]
name = "mx"
role = "submission"
bind = ["127.0.0.1:0"]
auth = false

[[domain]]
name = "home.test"
deliver = "nowhere"

[[connector]]
name = "out"
to = "carrier-pigeon:coop"

[relay]
networks = [{ name = "everyone", networks = ["0.0.0.0/0"] }]

[queue]
retry = ["soon"]
"#;

/// `postern config check` of this text: what it says, and whether the text passed.
#[track_caller]
fn check(text: &str, verdict: fn(&mut Command) -> String) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.toml");
    fs::write(&path, text).unwrap();
    verdict(postern().arg("--config").arg(path).args(["config", "check"]))
}

#[test]
fn all_problems_are_printed_at_once_with_their_lines() {
    let said = check(BROKEN, fail);
    for (line, word) in [
        (6, "notaport"),
        (9, "\"mx\""),
        (12, "auth"),
        (16, "nowhere"),
        (20, "carrier-pigeon"),
        (23, "0.0.0.0/0"),
        (26, "soon"),
    ] {
        let place = format!("postern.toml:{line}:");
        let found = said.lines().any(|one| one.contains(&place) && one.contains(word));
        assert!(found, "line {line}, {word}: not among the problems:\n{said}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let said = check("hostname = \"mail.home.test\"\nhostnam = \"typo\"\n", fail);
    assert!(said.lines().any(|line| line.contains("postern.toml:2:") && line.contains("hostnam:")), "{said}");
}

#[test]
fn a_good_configuration_passes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let listener = "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\n";
    check(&format!("hostname = \"mail.home.test\"\ndata_dir = {data:?}\n{listener}"), succeed);
}

#[test]
fn serve_refuses_what_check_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.toml");
    fs::write(&path, BROKEN).unwrap();
    let said = fail(postern().arg("--config").arg(&path).arg("serve"));
    assert!(said.contains("nowhere") && said.contains("carrier-pigeon"), "{said}");
}

#[test]
fn a_missing_file_is_named_with_what_to_do() {
    let said = fail(postern().args(["--config", "/nonexistent/postern.toml", "serve"]));
    assert!(said.contains("/nonexistent/postern.toml"), "{said}");
}

#[test]
fn what_init_writes_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("postern.toml");
    let mut command = postern();
    command.arg("--config").arg(&path).args([
        "init",
        "--hostname",
        "mail.home.test",
        "--domain",
        "home.test",
    ]);
    succeed(command.current_dir(folder.path()));
    succeed(postern().arg("--config").arg(&path).args(["config", "check"]));
}

#[test]
fn the_file_is_named_before_or_behind_the_subcommand_and_the_demo_takes_none() {
    for words in [
        &["--config", "/nonexistent/a.toml", "config", "check"][..],
        &["config", "--config", "/nonexistent/a.toml", "show"],
        &["config", "check", "--config", "/nonexistent/a.toml"],
    ] {
        let said = fail(postern().args(words));
        assert!(said.contains("/nonexistent/a.toml"), "{words:?}: {said}");
    }
    let said = fail(postern().args(["--config", "/nonexistent/a.toml", "demo"]));
    assert!(said.contains("leave --config out"), "{said}");
}
