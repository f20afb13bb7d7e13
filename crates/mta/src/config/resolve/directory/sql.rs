//! `[directory.sql]`: people in a database.

use super::clear_passwords;
use crate::config::model::{Compare, Database, ScramStored, Sql, SqlField, SqlQuery};
use crate::config::reader::{Reader, Section};

use SqlField::{Domain, Hash, Local, Login, Password, User};

pub(super) fn sql<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Sql> {
    let database = reader.turned(at, "url", Database::parse);
    let password_file = reader.secret(at, "password_file");
    let trust = reader.trust(at, "trust");
    let compare = reader.choice(at, "compare", None, &[("here", Compare::Here), ("there", Compare::There)]);
    let query = reader.turned(at, "query", query(&[Login, Local, Domain, Password]));
    let lookup_query = reader.turned(at, "lookup_query", self::query(&[Login, Local, Domain]));
    let addresses_query = reader.turned(at, "addresses_query", self::query(&[User, Login, Local, Domain]));
    let groups_query = reader.turned(at, "groups_query", self::query(&[User, Login, Local, Domain]));
    let rehash_query = reader.turned(at, "rehash_query", self::query(&[Hash, User, Login, Local, Domain]));
    let clear = clear_passwords(reader, at);
    let scram = reader.switch(at, "scram", None);
    if let (Some(compare), Some(query)) = (compare, &query) {
        judge_comparing(reader, at, compare, query);
    }
    if let Some(rehash) = rehash_query.as_ref().filter(|rehash| !rehash.fields().contains(&Hash)) {
        let what = format!("nothing is stored anew by \"{}\": it has no {{hash}}", rehash.statement('$'));
        reader.complain(at, "rehash_query", what, "write UPDATE … SET password = {hash} WHERE name = {user}");
    }
    if let Some(Database::Sqlite(_)) = &database {
        for key in ["password_file", "trust"].into_iter().filter(|key| at.writes(key)) {
            reader.complain(at, key, "a file of SQLite has no use for it", "remove it");
        }
    }
    Some(Sql {
        database: database?,
        password_file,
        trust,
        compare: compare?,
        query: query?,
        lookup_query,
        addresses_query,
        groups_query,
        rehash_query,
        clear: clear?,
        scram: if scram? { ScramStored::Sha256 } else { ScramStored::No },
    })
}

fn query(may: &[SqlField]) -> impl Fn(&str) -> Result<SqlQuery, String> + '_ {
    |text| SqlQuery::parse(text, may)
}

/// The password goes to the database exactly when the database is to compare it, and what needs a stored one has one.
fn judge_comparing(reader: &mut Reader<'_>, at: &Section<'_>, compare: Compare, query: &SqlQuery) {
    match (compare, query.fields().contains(&Password)) {
        (Compare::Here, true) => {
            let what = "the query is given the password, and does not compare it";
            reader.complain(at, "query", what, "remove {password}, or write compare = \"there\"");
        }
        (Compare::There, false) => {
            let what = "the query is to compare the password, and is not given it";
            reader.complain(at, "query", what, "write {password} where it compares, or remove compare");
        }
        _ => {}
    }
    let stored = ["rehash_query", "scram", "allow_plain"];
    for key in stored.into_iter().filter(|key| compare == Compare::There && at.writes(key)) {
        let what = "it is about stored passwords, and with compare = \"there\" Postern sees none";
        reader.complain(at, key, what, "remove it");
    }
}
