//! People in a database: PostgreSQL, as Debian has it, and a file of SQLite.

use std::fs;
use std::path::Path;

use crate::support::directory::{Person, Subject, attempt};
use crate::support::postgres::{Postgres, ROLE};
use crate::support::programs::{program, python, succeed};
use crate::support::{Postern, Setup, wait_for};

const ANNA: Person =
    Person { login: "anna@home.test", password: "Erstes Wort", name: "anna", address: "anna@home.test" };
const BEN: Person = Person { login: "ben", password: "Zweites Wort", name: "ben", address: "ben@home.test" };
const CLOSED: Person =
    Person { login: "closed", password: "Drittes Wort", name: "closed", address: "closed@home.test" };

const QUERY: &str = "query = \"SELECT password, name, addresses, enabled FROM people WHERE login = {login}\"";

/// Cheap, as this suite's daemon is not optimised.
fn hash(password: &str) -> String {
    succeed(program("openssl").args(["passwd", "-6", "-salt", "rounds=1000$saltsaltsalt", password]))
        .trim()
        .to_owned()
}

/// The same people everywhere; how an array is written is the database's.
fn people(types: &str, list: impl Fn(&str) -> String) -> String {
    let row = |person: &Person, enabled: bool| {
        let Person { login, password, name, address } = person;
        format!(
            "INSERT INTO people VALUES ('{login}', '{}', '{name}', {}, {enabled});",
            hash(password),
            list(address)
        )
    };
    format!("CREATE TABLE people ({types}); {} {} {}", row(&ANNA, true), row(&BEN, true), row(&CLOSED, false))
}

fn database() -> Postgres {
    let postgres = Postgres::start();
    let types = "login text, password text, name text, addresses text[], enabled boolean";
    postgres.sql(&people(types, |address| format!("ARRAY['{address}']")));
    postgres
}

fn subject(url: &str, keys: &str) -> Subject {
    let tables = format!(
        "[[directory]]\nname = \"staff\"\ntimeout = \"10s\"\n[directory.sql]\nurl = \"{url}\"\n{keys}\n"
    );
    Subject { tables, anna: ANNA, ben: BEN, closed: Some(CLOSED) }
}

/// Over TLS, verified.
fn verified(postgres: &Postgres, query: &str) -> Subject {
    let url =
        format!("postgresql://{ROLE}@localhost:{}/postgres?sslmode=verify-full", postgres.address().port());
    let (root, password) = (postgres.root(), postgres.password_file());
    subject(&url, &format!("trust = {root:?}\npassword_file = {password:?}\n{query}"))
}

/// Without TLS, which only loopback may be.
fn plain(postgres: &Postgres, query: &str) -> Subject {
    let url = format!("postgresql://{ROLE}@{}/postgres", postgres.address());
    subject(&url, &format!("password_file = {:?}\n{query}", postgres.password_file()))
}

#[track_caller]
fn signs_in(postern: &Postern, person: &Person) {
    let reply = attempt(postern, person.login, person.password);
    assert_eq!(reply.code, 235, "{reply:?}\n{}", postern.log());
}

#[track_caller]
fn is_out_of_order(postern: &Postern, why: &str) {
    let reply = attempt(postern, ANNA.login, ANNA.password);
    assert!(reply.text().starts_with("454 4.7.0 "), "{reply:?}");
    postern.wait_for_log(why);
}

#[test]
fn postgresql_conforms_over_verified_tls_and_when_it_is_stopped() {
    let mut postgres = database();
    let subject = verified(&postgres, QUERY);
    let postern = subject.setup().start();
    subject.conforms(&postern);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'postern'";
    assert_eq!(postgres.sql(encrypted), "t");
    assert_eq!(postgres.sql("SELECT count(*) FROM people"), "3", "nobody dropped anything");
    postgres.stop();
    subject.is_down(&postern);
    postgres.resume();
    subject.is_up(&postern);
}

#[test]
fn a_server_that_nobody_vouches_for_is_told_no_password() {
    let postgres = database();
    let stranger = Setup::new();
    let root = stranger.authority().root();
    let subject = verified(&postgres, QUERY);
    let tables = subject.tables.replace(&format!("{:?}", postgres.root()), &format!("{root:?}"));
    let postern = Subject { tables, ..subject }.setup().start();
    is_out_of_order(&postern, "invalid peer certificate");
    let misnamed = verified(&postgres, QUERY);
    let tables = misnamed.tables.replace("@localhost:", "@127.0.0.1:");
    let postern = Subject { tables, ..misnamed }.setup().start();
    is_out_of_order(&postern, "not valid for name");
}

#[test]
fn a_connection_that_was_cut_is_made_anew() {
    let postgres = database();
    let postern = plain(&postgres, QUERY).setup().start();
    for _ in 0..3 {
        signs_in(&postern, &ANNA);
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'postern'";
        assert_eq!(postgres.sql(cut), "1", "all questions share one connection");
    }
    signs_in(&postern, &BEN);
}

#[test]
fn the_second_server_stands_in_for_the_first() {
    let postgres = database();
    let dead = crate::support::unused_address();
    let subject = plain(&postgres, QUERY);
    let both = format!("@{dead},{}", postgres.address());
    let tables = subject.tables.replace(&format!("@{}", postgres.address()), &both);
    let tables = tables.replace("/postgres\"", "/postgres?target_session_attrs=read-write\"");
    let postern = Subject { tables, ..subject }.setup().start();
    signs_in(&postern, &ANNA);
}

#[test]
fn a_table_that_is_locked_holds_nobody_up_for_longer_than_the_lock() {
    let postgres = database();
    let postern = plain(&postgres, QUERY).setup().start();
    signs_in(&postern, &ANNA);
    let _locking = postgres.begin("BEGIN; LOCK TABLE people; SELECT pg_sleep(600)");
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep'";
    wait_for("the table to be locked", || (postgres.sql(sleeping) == "1").then_some(()));
    is_out_of_order(&postern, "staff");
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    wait_for("the directory to be used again", || {
        (attempt(&postern, BEN.login, BEN.password).code == 235).then_some(())
    });
}

#[test]
fn two_rows_for_one_name_are_nobody() {
    let postgres = database();
    postgres.sql("INSERT INTO people SELECT * FROM people WHERE login = 'anna@home.test'");
    let postern = plain(&postgres, QUERY).setup().start();
    is_out_of_order(&postern, "more than one row for anna@home.test");
    signs_in(&postern, &BEN);
}

#[test]
fn a_right_password_is_stored_anew_by_a_query() {
    let postgres = database();
    let rehash = "rehash_query = \"UPDATE people SET password = {hash} WHERE name = {user}\"";
    let postern = plain(&postgres, &format!("{QUERY}\n{rehash}")).setup().start();
    let stored =
        |name: &str| postgres.sql(&format!("SELECT left(password, 10) FROM people WHERE name = '{name}'"));
    assert_eq!(attempt(&postern, ANNA.login, "wrong").code, 535);
    signs_in(&postern, &ANNA);
    wait_for("the new hash", || (stored("anna") == "$argon2id$").then_some(()));
    signs_in(&postern, &ANNA);
    assert_ne!(stored("ben"), "$argon2id$", "he has not signed in");
}

#[test]
fn the_database_can_compare_passwords_itself() {
    let postgres = database();
    postgres.sql("ALTER TABLE people ADD digest bytea");
    for person in [&ANNA, &BEN, &CLOSED] {
        let Person { name, password, .. } = person;
        postgres.sql(&format!(
            "UPDATE people SET digest = sha256(convert_to('{password}', 'UTF8')) WHERE name = '{name}'"
        ));
    }
    let query = "compare = \"there\"\nquery = \"SELECT name, addresses, enabled FROM people \
                 WHERE login = {login} AND digest = sha256(convert_to({password}, 'UTF8'))\"";
    let subject = plain(&postgres, query);
    let postern = subject.setup().start();
    subject.conforms(&postern);
}

#[test]
fn what_is_wrong_with_a_query_is_said() {
    let postgres = database();
    for (query, says) in [
        ("query = \"SELECT password FROM nobody WHERE login = {login}\"", "\"nobody\" does not exist"),
        ("query = \"SELECT name FROM people WHERE login = {login}\"", "AS password"),
        ("query = \"SELECT password FROM people WHERE length(login) = {login}\"", "type int4"),
    ] {
        let postern = plain(&postgres, query).setup().start();
        is_out_of_order(&postern, says);
    }
}

#[test]
fn a_file_of_sqlite_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.db");
    let types = "login TEXT, password TEXT, name TEXT, addresses TEXT, enabled INTEGER";
    sqlite(&path, &people(types, |address| format!("'{address}'")));
    let subject = subject(&format!("sqlite:{}", path.display()), QUERY);
    let postern = subject.setup().start();
    subject.conforms(&postern);
    fs::rename(&path, folder.path().join("away")).unwrap();
    subject.is_down(&postern);
    fs::rename(folder.path().join("away"), &path).unwrap();
    subject.is_up(&postern);
}

/// Made by another hand than Postern's library.
fn sqlite(path: &Path, statements: &str) {
    succeed(&mut python(&format!(
        "import sqlite3; c = sqlite3.connect({:?}); c.executescript({statements:?}); c.close()",
        path.display().to_string()
    )));
}
