//! With SQLite, which is always there; PostgreSQL has its tests where the server can be started, in the end-to-end suite.

use std::path::PathBuf;

use super::*;
use crate::config::ClearPasswords;
use crate::directory::complaint::Heard;

const PEOPLE: &str = "
CREATE TABLE people (login TEXT, password TEXT, name TEXT, addresses TEXT, groups TEXT, enabled INTEGER);
INSERT INTO people VALUES
  ('anna@home.test', '{PLAIN}one', 'Anna', 'anna@home.test, a@home.test', 'staff', 1),
  ('ben', '{PLAIN}two', NULL, NULL, NULL, 1),
  ('closed', '{PLAIN}three', 'closed', NULL, NULL, 0),
  ('locked', NULL, 'locked', NULL, NULL, 1),
  ('twice', '{PLAIN}x', 'first', NULL, NULL, 1),
  ('twice', '{PLAIN}x', 'second', NULL, NULL, 1);
CREATE TABLE aliases (owner TEXT, address TEXT);
INSERT INTO aliases VALUES ('anna', 'sales@home.test'), ('anna', 'no address'), ('ben', 'ben@home.test');
";
const QUERY: &str = "SELECT password, name, addresses, groups, enabled FROM people WHERE login = {login}";

struct Town {
    _folder: tempfile::TempDir,
    path: PathBuf,
    directory: Sql,
    heard: Heard,
}

fn query(text: &str) -> SqlQuery {
    use SqlField::{Domain, Hash, Local, Login, Password, User};
    SqlQuery::parse(text, &[Domain, Hash, Local, Login, Password, User]).unwrap()
}

fn town(change: impl FnOnce(&mut Settings)) -> Town {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("people.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(PEOPLE).unwrap();
    let mut settings = Settings {
        database: Database::Sqlite(path.clone()),
        password_file: None,
        trust: None,
        compare: Compare::Here,
        query: query(QUERY),
        lookup_query: None,
        addresses_query: None,
        groups_query: None,
        rehash_query: None,
        clear: ClearPasswords::Taken,
        scram: ScramStored::No,
    };
    change(&mut settings);
    let (checker, heard) = (Arc::new(Checker::new().unwrap()), Heard::default());
    let directory = Sql::new(&settings, "staff", Duration::from_secs(5), checker, heard.complaint());
    Town { _folder: folder, path, directory, heard }
}

impl Town {
    async fn ask(&self, name: &str, password: &str) -> Result<Principal, Denied> {
        self.directory.by_password(&Login::new(name).unwrap(), &Secret::new(password)).await
    }

    async fn why(&self, name: &str, password: &str) -> Why {
        match self.ask(name, password).await {
            Err(Denied::Refused(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    async fn unavailable(&self, name: &str, password: &str) -> String {
        match self.ask(name, password).await {
            Err(Denied::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn addresses(principal: &Principal) -> Vec<String> {
    principal.addresses.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn the_columns_say_who_somebody_is() {
    let town = town(|_| ());
    let anna = town.ask("Anna@Home.Test", "one").await.unwrap();
    assert_eq!((anna.name.as_str(), anna.groups.as_slice()), ("anna", &["staff".to_owned()][..]));
    assert_eq!(addresses(&anna), ["anna@home.test", "a@home.test"]);
    assert_eq!(town.ask("ben", "two").await.unwrap(), Principal::named("ben", Vec::new()));
    assert_eq!(town.why("ben", "one").await, Why::WrongPassword);
    assert_eq!(town.why("nobody", "one").await, Why::UnknownUser);
    assert_eq!(town.why("closed", "three").await, Why::Disabled);
    assert_eq!(town.why("locked", "x").await, Why::Disabled);
    assert!(town.unavailable("twice", "x").await.contains("more than one row"));
}

#[tokio::test]
async fn nothing_that_is_typed_becomes_part_of_a_statement() {
    let town = town(|_| ());
    for name in [
        "' OR '1'='1",
        "ben'; DROP TABLE people; --",
        "ben' UNION SELECT '{PLAIN}x','x','','',1 --",
        "{login}",
        "?1",
    ] {
        assert_eq!(town.why(name, "x").await, Why::UnknownUser, "{name}");
    }
    assert!(town.ask("ben", "two").await.is_ok(), "the table is still there");
}

#[tokio::test]
async fn addresses_and_groups_may_have_queries_of_their_own() {
    let town = town(|settings| {
        settings.addresses_query = Some(query("SELECT address FROM aliases WHERE owner = {user}"));
        settings.groups_query = Some(query("SELECT 'of ' || {user} UNION SELECT {domain}"));
    });
    let anna = town.ask("anna@home.test", "one").await.unwrap();
    assert_eq!(addresses(&anna), ["anna@home.test", "a@home.test", "sales@home.test"]);
    assert_eq!(anna.groups, ["staff", "home.test", "of anna"]);
    let ben = town.directory.look_up(&Login::new("ben").unwrap()).await.unwrap().unwrap();
    assert_eq!((addresses(&ben), ben.groups), (vec!["ben@home.test".to_owned()], vec!["of ben".to_owned()]));
}

#[tokio::test]
async fn the_database_can_compare_passwords_itself() {
    let compare =
        "SELECT name, enabled FROM people WHERE login = {login} AND password = '{PLAIN}' || {password}";
    let town = town(|settings| {
        settings.compare = Compare::There;
        settings.query = query(compare);
    });
    assert_eq!(town.ask("anna@home.test", "one").await.unwrap().name, "anna");
    for (name, password) in [("anna@home.test", "two"), ("nobody", "one"), ("ben", "' OR '1'='1")] {
        assert_eq!(town.why(name, password).await, Why::WrongOrUnknown, "{name}");
    }
    assert_eq!(town.why("closed", "three").await, Why::Disabled);
    let ben = Login::new("ben").unwrap();
    assert_eq!(town.directory.look_up(&ben).await, Ok(None), "nobody is known without his password");
}

#[tokio::test]
async fn somebody_can_be_looked_up_where_the_database_compares() {
    let town = town(|settings| {
        settings.compare = Compare::There;
        settings.query = query("SELECT name FROM people WHERE login = {login} AND password = {password}");
        settings.lookup_query = Some(query("SELECT name, enabled FROM people WHERE login = {login}"));
    });
    let look_up = async |name| town.directory.look_up(&Login::new(name).unwrap()).await.unwrap();
    assert_eq!(look_up("anna@home.test").await.unwrap().name, "anna");
    assert_eq!(look_up("closed").await, None);
    assert_eq!(look_up("nobody").await, None);
}

#[tokio::test]
async fn what_is_wrong_with_a_database_is_no_wrong_password_and_shows_no_secret() {
    let town = town(|settings| {
        settings.compare = Compare::There;
        settings.query = query("SELECT json_extract({password}, '$.x') AS name");
    });
    let why = town.unavailable("ben", "not json but a secret").await;
    assert!(why.contains("query") && !why.contains("secret"), "{why}");
    std::fs::remove_file(&town.path).unwrap();
    assert!(town.unavailable("ben", "x").await.contains("people.db"));
    assert!(!town.path.exists(), "no empty database is made");
}

#[tokio::test]
async fn a_query_without_a_password_is_said() {
    let town = town(|settings| settings.query = query("SELECT name FROM people WHERE login = {login}"));
    assert!(town.unavailable("ben", "two").await.contains("AS password"));
}

#[tokio::test]
async fn a_question_cannot_write() {
    let town = town(|settings| {
        settings.query = query("DELETE FROM people WHERE login = {login} RETURNING password");
    });
    assert!(town.unavailable("ben", "two").await.contains("readonly"));
}

#[tokio::test]
async fn a_right_password_is_stored_anew_when_there_is_a_query_for_it() {
    let town = town(|settings| {
        settings.rehash_query = Some(query("UPDATE people SET password = {hash} WHERE login = {login}"));
    });
    assert_eq!(town.why("ben", "wrong").await, Why::WrongPassword);
    assert!(town.directory.rehash.is_idle());
    assert!(town.ask("ben", "two").await.is_ok());
    // Done when the turn is free again.
    town.directory.rehash.done().await;
    let database = rusqlite::Connection::open(&town.path).unwrap();
    let stored = |login| {
        database
            .query_row("SELECT password FROM people WHERE login = ?1", [login], |row| row.get::<_, String>(0))
            .unwrap()
    };
    assert!(stored("ben").starts_with("$argon2id$"), "{}", stored("ben"));
    assert_eq!(stored("anna@home.test"), "{PLAIN}one", "others stay as they are");
    assert!(town.ask("ben", "two").await.is_ok());
}

#[tokio::test]
async fn that_no_password_can_be_stored_anew_is_told_and_keeps_nobody_out() {
    let town = town(|settings| {
        settings.rehash_query = Some(query("UPDATE people SET password = {hash} WHERE login = {login}"));
    });
    let trigger = |sql| rusqlite::Connection::open(&town.path).unwrap().execute_batch(sql).unwrap();
    trigger("CREATE TRIGGER closed BEFORE UPDATE ON people BEGIN SELECT raise(FAIL, 'hands off'); END");
    for _ in 0..2 {
        assert!(town.ask("ben", "two").await.is_ok());
        town.directory.rehash.done().await;
    }
    let told = town.heard.taken();
    let [told] = &told[..] else { panic!("it is told once: {told:?}") };
    assert!(told.starts_with("staff: rehash_query") && told.contains("constraint failed"), "{told}");
    assert!(!told.contains("$argon2"), "{told}");
    trigger("DROP TRIGGER closed");
    assert!(town.ask("ben", "two").await.is_ok());
    town.directory.rehash.done().await;
    assert_eq!(town.heard.taken(), [""; 0]);
}

/// The statement would run for hours.
#[tokio::test]
async fn a_question_that_is_given_up_ends_its_statement() {
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS password FROM n";
    let town = town(|settings| settings.query = query(endless));
    let asked = tokio::time::timeout(Duration::from_millis(200), town.ask("ben", "x"));
    assert!(asked.await.is_err());
    // The runtime waits for its blocking threads when it ends: a statement that went on would hang this test.
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_wrong_password() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let town = town(|settings| {
        let url = format!("postgresql://postern@127.0.0.1:{}/mail", unused.port());
        settings.database = Database::parse(&url).unwrap();
    });
    let why = town.unavailable("ben", "secret").await;
    assert!(why.contains(&unused.to_string()) && !why.contains("secret"), "{why}");
}
