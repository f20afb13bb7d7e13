//! Guessers are slowed, stopped and banned; colleagues behind one address, and a telephone with a stale password, are not.

use serde_json::Value;

use crate::support::postern::PASSWORD;
use crate::support::programs::{both, fail, run};
use crate::support::{Client, Postern, Setup};

/// Everybody comes through a front end on loopback, which says from where.
const LISTENERS: &str = "[[listener]]\nname = \"submission\"\nrole = \"submission\"\nbind = [\"127.0.0.1:0\"]\n\
     proxy_protocol = [\"127.0.0.1\"]\n\
     [[listener]]\nname = \"submissions\"\nrole = \"submission\"\ntls = \"implicit\"\nbind = [\"127.0.0.1:0\"]\n\
     proxy_protocol = [\"127.0.0.1\"]\n";
const STRICT: &str = "[guessing]\nnetwork = \"6/1h\"\nlongest_wait = \"100ms\"\n";
const OFFICE: &str = "192.0.2.10";
const GUESSER: &str = "203.0.113.66";

fn house(tables: &str) -> Setup {
    Setup::new().listeners(LISTENERS).tables(tables)
}

fn session_from(postern: &Postern, from: &str) -> Client {
    Client::dial_for(from, postern.at("submission")).starttls(&postern.root(), "localhost")
}

fn sign_in_from(postern: &Postern, from: &str, user: &str, password: &str) -> u16 {
    session_from(postern, from).sign_in(user, password).code
}

/// Guesses until a session ends with 421 instead of 535; the number of guesses that were answered.
#[track_caller]
fn guess_until_stopped(postern: &Postern, from: &str) -> u32 {
    for number in 0..50 {
        let reply = session_from(postern, from).sign_in("anna", &format!("guess{number}"));
        match reply.code {
            535 => {}
            421 => return number,
            _ => panic!("{reply:?}"),
        }
    }
    panic!("nobody stopped the guesser");
}

/// What the list says, as JSON.
#[track_caller]
fn bans(postern: &Postern) -> Vec<(String, String, String)> {
    let list: Value = serde_json::from_str(&postern.cli(&["ban", "list", "--json"])).unwrap();
    let text = |ban: &Value, key: &str| ban[key].as_str().unwrap_or_else(|| panic!("{ban}")).to_owned();
    let row = |ban: &Value| (text(ban, "subject"), text(ban, "by"), text(ban, "because"));
    list.as_array().unwrap().iter().map(row).collect()
}

#[test]
fn an_office_with_a_stale_telephone_and_fifty_sign_ins_is_not_banned() {
    let postern = house(STRICT).start();
    for user in ["berta", "clara"] {
        postern.add_user(user, PASSWORD, &format!("{user}@home.test"));
    }
    for round in 0..50 {
        let user = ["anna", "berta", "clara"][round % 3];
        assert_eq!(sign_in_from(&postern, OFFICE, user, PASSWORD), 235, "{user} in round {round}");
        assert_eq!(sign_in_from(&postern, OFFICE, "anna", "last year's"), 535);
        // Each mistypes as well, in ways of their own: far more than a stranger may.
        assert_eq!(sign_in_from(&postern, OFFICE, user, &format!("typo{round}")), 535);
    }
    assert_eq!(postern.cli(&["ban", "list"]), "nobody is banned\n");
}

#[test]
fn a_guesser_is_banned_and_nobody_else_is() {
    let postern = house(STRICT).start();
    assert_eq!(guess_until_stopped(&postern, GUESSER), 5);
    let mut turned_away = Client::dial_for(GUESSER, postern.at("submission"));
    let reply = turned_away.reply().expect(554);
    assert!(reply.text().contains("5.7.1") && reply.text().ends_with("(banned)"), "{reply:?}");
    assert_eq!(turned_away.try_reply(), None, "the session went on");
    let mut silent = Client::dial_for(GUESSER, postern.at("submissions"));
    assert_eq!(silent.try_reply(), None, "nothing is said before an implicit handshake");
    assert_eq!(sign_in_from(&postern, OFFICE, "anna", PASSWORD), 235);
    assert_eq!(sign_in_from(&postern, "203.0.113.67", "anna", PASSWORD), 235);
    let found = bans(&postern);
    let row = (GUESSER.to_owned(), "guessing".to_owned(), "6 different wrong passwords".to_owned());
    assert_eq!(found, [row]);
    let said = postern.log().lines().filter(|line| line.contains("turned away")).count();
    assert_eq!(said, 1, "one line a minute");
    assert_eq!(postern.cli(&["ban", "remove", GUESSER]), format!("{GUESSER} is no longer banned\n"));
    assert_eq!(sign_in_from(&postern, GUESSER, "anna", PASSWORD), 235);
}

#[test]
fn an_account_that_many_guess_at_is_closed_to_strangers_and_open_at_home() {
    let postern = house("[guessing]\naccount = \"4/1h\"\nlongest_wait = \"100ms\"\n").start();
    assert_eq!(sign_in_from(&postern, OFFICE, "anna", PASSWORD), 235);
    for name in ["anna", "nobody"] {
        for number in 0..4 {
            assert_eq!(sign_in_from(&postern, &format!("203.0.{number}.1"), name, &number.to_string()), 535);
        }
        let reply = session_from(&postern, "198.51.100.1").sign_in(name, PASSWORD).expect(454);
        assert!(reply.text().ends_with("(too-many-guesses)"), "{reply:?}");
    }
    assert_eq!(sign_in_from(&postern, OFFICE, "anna", PASSWORD), 235);
    let because = "closed where it did not sign in lately: 4 different wrong passwords";
    let closed = |name: &str| (name.to_owned(), "guessing".to_owned(), because.to_owned());
    assert_eq!(bans(&postern), [closed("anna"), closed("nobody")]);
    let said = postern.cli(&["ban", "remove", "nobody"]);
    assert_eq!(said, "forgotten for nobody, which was not banned: 4 different wrong passwords\n");
    assert_eq!(bans(&postern), [closed("anna")]);
    let told = "postern ban remove opens it everywhere";
    assert!(postern.log().contains(told), "{}", postern.log());
    postern.cli(&["ban", "add", "anna", "--because", "left"]);
    let reply = session_from(&postern, OFFICE).sign_in("anna", PASSWORD).expect(535);
    assert!(reply.text().ends_with("(bad-credentials)"), "{reply:?}");
    // To lift a ban on an account forgets what was tried for it, too.
    postern.cli(&["ban", "remove", "anna"]);
    assert_eq!(sign_in_from(&postern, "198.51.100.1", "anna", PASSWORD), 235);
}

#[test]
fn bans_are_made_and_lifted_whether_the_daemon_runs_or_not_and_outlive_kill_9() {
    let mut postern = house(STRICT).prepare();
    let said = postern.cli(&["ban", "add", "198.51.100.0/24", "--forever", "--because", "spam house"]);
    assert_eq!(said, "banned 198.51.100.0/24 until it is removed\n");
    postern.start();
    Client::dial_for("198.51.100.9", postern.at("submission")).reply().expect(554);
    guess_until_stopped(&postern, GUESSER);
    // What an administrator does is on disk when he hears of it, and all before it too.
    postern.cli(&["ban", "add", "198.18.0.1", "--for", "1h"]);
    postern.kill();
    let mut subjects: Vec<String> = bans(&postern).into_iter().map(|ban| ban.0).collect();
    subjects.sort();
    assert_eq!(subjects, ["198.18.0.1", "198.51.100.0/24", GUESSER]);
    postern.cli(&["ban", "remove", "198.51.100.0/24"]);
    postern.start();
    Client::dial_for("198.51.100.9", postern.at("submission")).reply().expect(220);
    Client::dial_for(GUESSER, postern.at("submission")).reply().expect(554);
    let said = fail(&mut postern.command(&["ban", "remove", "198.51.100.0/24"]));
    assert!(said.contains("not banned") && said.contains("postern ban list"), "{said}");
}

#[test]
fn nobody_bans_the_world_or_this_machine_by_a_slip() {
    let postern = house("[bans]\nnever = [\"192.0.2.0/28\"]\n").start();
    for (subject, why) in [
        ("0.0.0.0/0", "a large part of the world"),
        ("::/0", "a large part of the world"),
        ("127.0.0.1", "programs on this machine"),
        ("::1", "programs on this machine"),
        ("192.0.2.7", "[bans] never"),
    ] {
        let said = fail(&mut postern.command(&["ban", "add", subject]));
        assert!(said.contains(why) && said.contains("--force"), "{subject}: {said}");
    }
    assert_eq!(postern.cli(&["ban", "list"]), "nobody is banned\n");
    let output = run(&mut postern.command(&["ban", "add", "192.0.2.7", "--force"]));
    assert!(output.status.success() && both(&output).contains("forced"), "{}", both(&output));
    Client::dial_for("192.0.2.7", postern.at("submission")).reply().expect(554);
}
