//! Several directories, and Postern's own users as one of them.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;

use crate::support::directory::{Person, REFUSED, Subject, UNHURRIED, attempt};
use crate::support::postern::{ANNA, PASSWORD};
use crate::support::{Postern, Setup};

/// A saslauthd that knows one person.
fn saslauthd(path: &std::path::Path, user: &'static str, password: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = || {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut text = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut text).unwrap();
                text
            };
            let said = [text(), text(), text(), text()];
            let right = said[0] == user.as_bytes() && said[1] == password.as_bytes();
            stream.write_all(if right { b"\0\x02OK" } else { b"\0\x02NO" }).unwrap();
        }
    });
}

fn own_users() -> (Subject, Postern) {
    let subject = Subject {
        tables: String::new(),
        anna: Person { login: ANNA, password: PASSWORD, name: "anna", address: ANNA },
        ben: Person { login: "ben", password: "Zweites Wort", name: "ben", address: "ben@home.test" },
        closed: None,
    };
    let postern = Setup::new().tables(UNHURRIED).start();
    postern.add_user("ben", subject.ben.password, subject.ben.address);
    (subject, postern)
}

#[test]
fn posterns_own_users_conform() {
    let (subject, postern) = own_users();
    subject.conforms(&postern);
}

#[test]
fn whoever_is_in_any_of_several_directories_signs_in() {
    let setup = Setup::new().tables(UNHURRIED);
    let sockets = ["first", "second"].map(|name| setup.folder().join(name));
    saslauthd(&sockets[0], "carl", "eins");
    saslauthd(&sockets[1], "dora", "zwei");
    let directory = |number: usize| {
        format!(
            "[[directory]]\nname = \"d{number}\"\naddresses = [\"{{user}}@home.test\"]\n\
             [directory.saslauthd]\nsocket = {:?}\n",
            sockets[number]
        )
    };
    let postern = setup.tables(&directory(0)).tables(&directory(1)).start();
    for (user, password) in [("anna", PASSWORD), ("carl", "eins"), ("dora", "zwei")] {
        assert_eq!(attempt(&postern, user, password).code, 235, "{user}\n{}", postern.log());
    }
    for (user, password) in [("carl", "zwei"), ("dora", "eins"), ("anna", "eins"), ("emil", "eins")] {
        assert_eq!(attempt(&postern, user, password).text(), REFUSED, "{user}");
    }
}

#[test]
fn a_directory_for_one_domain_is_not_asked_about_others_and_holds_up_nobody_else() {
    let setup = Setup::new().tables(UNHURRIED);
    let nowhere = setup.folder().join("nobody-listens");
    let table = format!(
        "[[directory]]\nname = \"away\"\ndomains = [\"away.test\"]\n[directory.saslauthd]\nsocket = {nowhere:?}\n"
    );
    let postern = setup.tables(&table).start();
    assert_eq!(attempt(&postern, ANNA, PASSWORD).code, 235);
    assert_eq!(attempt(&postern, "carl@home.test", "x").text(), REFUSED);
    let reply = attempt(&postern, "carl@away.test", "x");
    assert!(reply.text().starts_with("454 4.7.0 "), "{reply:?}");
    postern.wait_for_log("nobody-listens");
}

#[test]
fn a_success_bridges_the_time_while_the_directory_is_down_if_asked() {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let socket = setup.folder().join("mux");
    saslauthd(&socket, "carl", "eins");
    let table =
        format!("[[directory]]\nname = \"d\"\nbridge = \"1h\"\n[directory.saslauthd]\nsocket = {socket:?}\n");
    let postern = setup.tables(&table).start();
    assert_eq!(attempt(&postern, "carl", "eins").code, 235);
    std::fs::remove_file(&socket).unwrap();
    assert_eq!(attempt(&postern, "carl", "eins").code, 235, "the same password counts");
    for (user, password) in [("carl", "zwei"), ("dora", "eins")] {
        let reply = attempt(&postern, user, password);
        assert_eq!(reply.code, 454, "nobody knows: {reply:?}");
    }
}
