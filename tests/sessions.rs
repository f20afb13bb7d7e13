//! Sessions that went wrong are kept with their transcripts, without any secret; others can be watched without a restart.

use std::fs;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::support::postern::{ANNA, PASSWORD};
use crate::support::programs::{fail, text};
use crate::support::{Client, Postern, Setup, content, files_below, wait_for};

fn signed_in(postern: &Postern) -> Client {
    Client::connect_starttls(postern.at("submission"), &postern.root(), "localhost")
}

/// A session in which somebody tries this password and leaves.
fn try_password(postern: &Postern, user: &str, password: &str) -> u16 {
    let mut client = signed_in(postern);
    let code = client.sign_in(user, password).code;
    client.say("QUIT").expect(221);
    code
}

fn list(postern: &Postern, more: &[&str]) -> Vec<Value> {
    let arguments = [&["session", "list", "--json"], more].concat();
    let value: Value = serde_json::from_str(&postern.cli(&arguments)).unwrap();
    value.as_array().unwrap().clone()
}

fn id(session: &Value) -> &str {
    session["id"].as_str().unwrap()
}

/// Waits for a session that is kept: it is put together when its connection has ended.
#[track_caller]
fn wait_for_session(postern: &Postern, more: &[&str]) -> Value {
    wait_for("a session that is kept", || list(postern, more).pop())
}

#[test]
fn a_wrong_password_leaves_a_session_that_explains_itself_whether_postern_runs_or_not() {
    let mut postern = Setup::new().start();
    assert_eq!(try_password(&postern, "anna", "last year's"), 535);
    let session = wait_for_session(&postern, &["--troubled", "--user", "Anna", "--address", "127.0.0.0/8"]);
    assert_eq!((&session["cause"], &session["hello"]), (&"wrong-password".into(), &"client.test".into()));
    assert!(list(&postern, &["--user", "berta"]).is_empty());
    assert!(list(&postern, &["--cause", "relay-denied"]).is_empty());
    assert!(list(&postern, &["--listener", "mx"]).is_empty());
    let looks = |postern: &Postern| {
        let shown = postern.cli(&["session", "show", id(&session)]);
        for words in [
            "S: 535 5.7.8",
            "anna by password: the password is wrong",
            "C: EHLO client.test",
            "wrong-password",
        ] {
            assert!(shown.contains(words), "{words} is not in {shown}");
        }
        let export = postern.cli(&["session", "export", id(&session)]);
        assert!(export.lines().all(|line| line.len() <= 72) && export.is_ascii(), "{export}");
        assert!(export.contains("Left out: passwords"), "{export}");
        let shown: Value =
            serde_json::from_str(&postern.cli(&["session", "show", id(&session), "--json"])).unwrap();
        assert_eq!(shown["diagnosis"]["cause"], "wrong-password");
        assert!(postern.cli(&["session", "list"]).contains(id(&session)));
    };
    looks(&postern);
    postern.terminate();
    looks(&postern);
    let said = fail(&mut postern.command(&["session", "follow"]));
    assert!(said.contains("not running"), "{said}");
    let said = fail(&mut postern.command(&["session", "show", "s0-0"]));
    assert!(said.contains("is not kept"), "{said}");
}

/// What nobody may ever read again, in all forms in which it crosses the wire here.
fn secrets() -> Vec<String> {
    let plain = |secret: &str| STANDARD.encode(format!("\0anna\0{secret}"));
    vec![
        "tanstaaf-one".into(),
        plain("tanstaaf-one"),
        STANDARD.encode("tanstaaf-two"),
        plain("tanstaaf-three"),
        "tanstaaf-four".into(),
        STANDARD.encode("user=anna\x01auth=Bearer tanstaaf-five\x01\x01"),
        STANDARD.encode("n,,n=anna,r=tanstaaf-six"),
        "tanstaaf-seven".into(),
        STANDARD.encode("tanstaaf-eight"),
        plain("tanstaaf-nine"),
        "tanstaaf".into(),
    ]
}

/// One session with every way to say a secret, at the right place and at wrong ones.
fn say_all_secrets(client: &mut Client) {
    let secrets = secrets();
    let lines = [
        format!("AUTH PLAIN {}", secrets[1]),
        "AUTH LOGIN".to_owned(),
        STANDARD.encode("anna"),
        secrets[2].clone(),
        "AUTH PLAIN".to_owned(),
        secrets[3].clone(),
        format!("PASS {}", secrets[4]),
        format!("AUTH XOAUTH2 {}", secrets[5]),
        String::new(),
        format!("AUTH SCRAM-SHA-256 {}", secrets[6]),
        "*".to_owned(),
        format!("a1 LOGIN anna {}", secrets[7]),
        secrets[8].clone(),
        format!("AUTH {} PLAIN", secrets[9]),
        "RSET".to_owned(),
    ];
    for line in lines {
        if !client.try_send(format!("{line}\r\n").as_bytes()) || client.try_reply().is_none() {
            return;
        }
    }
}

#[test]
fn no_secret_of_any_mechanism_is_in_a_file_a_transcript_or_the_log() {
    let mut postern = Setup::new().tables("[sessions]\ntranscripts = \"all\"\n").start();
    say_all_secrets(&mut signed_in(&postern));
    let mut clear = Client::connect(postern.at("submission"));
    clear.say("EHLO client.test").expect(250);
    say_all_secrets(&mut clear);
    drop(clear);
    wait_for("both sessions", || (list(&postern, &[]).len() >= 2).then_some(()));
    let mut said = vec![("the log".to_owned(), postern.log().into_bytes())];
    for session in list(&postern, &[]) {
        for how in [&["show"][..], &["export"], &["show", "--json"]] {
            let arguments = [&["session", how[0], id(&session)], &how[1..]].concat();
            said.push((how.join(" "), postern.cli(&arguments).into_bytes()));
        }
    }
    said.push(("the cases".into(), postern.cli(&["trouble", "list", "--all", "--json"]).into_bytes()));
    postern.terminate();
    for path in files_below(postern.data_dir()) {
        said.push((text(&path).to_owned(), fs::read(&path).unwrap_or_default()));
    }
    assert!(said.iter().any(|(where_, _)| where_.ends_with("sessions.db")));
    for (place, octets) in &said {
        for secret in secrets() {
            let found = octets.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {place}");
        }
    }
}

#[test]
fn what_strangers_say_steers_no_terminal() {
    let postern = Setup::new().tables("[sessions]\ntranscripts = \"all\"\n").start();
    let mut client = Client::connect(postern.at("submission"));
    client.say("EHLO client.test").expect(250);
    for line in ["NOOP \u{202e}\u{2066}\u{1b}[2J\u{7}", "VRFY \u{9b}31m\u{feff}x", "\u{202e}\u{1b}]0;x\u{7}"]
    {
        client.say(line);
    }
    client.say("MAIL FROM:<\u{202e}@x.test>");
    client.say("QUIT").expect(221);
    let session = wait_for_session(&postern, &[]);
    for arguments in [
        &["session", "list"][..],
        &["session", "list", "--json"],
        &["session", "show", id(&session)],
        &["session", "show", id(&session), "--json"],
        &["session", "export", id(&session)],
        &["trouble", "list", "--all"],
        &["trouble", "list", "--all", "--json"],
    ] {
        let said = postern.cli(arguments);
        let harmful = said.chars().find(|c| *c != '\n' && !postern_smtp::text::is_harmless(*c));
        assert_eq!(harmful, None, "{arguments:?}: {said:?}");
    }
}

#[test]
fn a_recording_keeps_what_went_well_and_ends_when_it_is_told_to() {
    let postern = Setup::new().start();
    assert_eq!(try_password(&postern, "anna", PASSWORD), 235);
    let said =
        postern.cli(&["session", "record", "--user", "anna", "--address", "127.0.0.1", "--for", "10m"]);
    assert!(said.starts_with("recording 1 until "), "{said}");
    assert!(postern.cli(&["session", "record", "--list"]).contains("from 127.0.0.1/32, of anna"));
    assert_eq!(try_password(&postern, "anna", PASSWORD), 235);
    let session = wait_for_session(&postern, &["--user", "anna"]);
    assert_eq!(session["cause"], Value::Null);
    assert_eq!(list(&postern, &[]).len(), 1, "what came before the recording was not kept");
    assert!(postern.cli(&["session", "record", "--stop", "1"]).contains("has ended; it kept 1 sessions"));
    assert_eq!(postern.cli(&["session", "record", "--list"]), "nothing is being recorded\n");
    let too_long = fail(&mut postern.command(&["session", "record", "--for", "2d"]));
    assert!(too_long.contains("24h"), "{too_long}");
    let unknown = fail(&mut postern.command(&["session", "record", "--listener", "smtp", "--for", "1m"]));
    assert!(unknown.contains("there are: mx, submission, submissions"), "{unknown}");
}

#[test]
fn who_follows_reads_what_is_said_while_it_is_said() {
    let postern = Setup::new().start();
    let said = postern.folder().join("followed");
    let out = fs::File::create(&said).unwrap();
    let mut follower = postern.command(&["session", "follow", "--user", "anna"]);
    let mut follower = follower.stdout(out).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the follower's watch", || {
        postern.cli(&["session", "record", "--list"]).contains("somebody follows").then_some(())
    });
    let followed = || fs::read_to_string(&said).unwrap();
    assert_eq!(try_password(&postern, "berta", "x"), 535);
    let mut client = signed_in(&postern);
    client.sign_in("anna", PASSWORD).expect(235);
    wait_for("the lines of a session that goes on", || {
        followed().contains("C: EHLO client.test").then_some(())
    });
    client.say("QUIT").expect(221);
    wait_for("the session's end", || {
        followed().contains("on submission ended, anna, 0 messages").then_some(())
    });
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert!(!followed().contains("berta"), "{}", followed());
    assert!(followed().contains("S: 235 2.7.0"), "{}", followed());
}

#[test]
fn switched_off_nothing_is_kept_and_the_log_still_says_what_kept_a_client_from_sending() {
    let postern = Setup::new().tables("[sessions]\ntranscripts = \"off\"\n").start();
    let mut client = Client::connect(postern.at("submission"));
    client.say("EHLO laptop.test").expect(250);
    client.say("MAIL FROM:<anna@home.test>").expect(530);
    client.say("QUIT").expect(221);
    postern.wait_for_log("session without mail: 127.0.0.1");
    assert_eq!(try_password(&postern, "anna", "wrong"), 535);
    assert_eq!(
        postern.cli(&["session", "list"]),
        "no sessions are kept: [sessions] transcripts is \"off\"\n"
    );
    assert_eq!(postern.cli(&["trouble", "list", "--all"]), "there are no cases\n");
    postern.submit(&[ANNA], &content::plain(ANNA, ANNA, "Still taken"));
}
