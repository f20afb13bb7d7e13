//! People of the system, through saslauthd and PAM.

use crate::support::Setup;
use crate::support::directory::{Person, Subject};
use crate::support::saslauthd::{Account, SERVICE, Saslauthd};

#[test]
fn people_whom_pam_knows_conform_and_nobody_is_refused_while_saslauthd_is_stopped() {
    let people = [
        ("anna", "Geheim+7/ähm", Account::Open),
        ("ben", "zwei Wörter", Account::Open),
        ("carl", "zu", Account::Expired),
    ];
    let mut saslauthd = Saslauthd::start(&people);
    let person = |number: usize, address| {
        let (name, password, _) = people[number];
        Person { login: name, password, name, address }
    };
    let subject = Subject {
        tables: format!(
            "[[directory]]\nname = \"pam\"\ntimeout = \"8s\"\naddresses = [\"{{user}}@home.test\"]\n\
             [directory.saslauthd]\nsocket = {:?}\nservice = {SERVICE:?}\n",
            saslauthd.socket()
        ),
        anna: person(0, "anna@home.test"),
        ben: person(1, "ben@home.test"),
        closed: Some(person(2, "carl@home.test")),
    };
    let postern = subject.setup().start();
    subject.conforms(&postern);
    saslauthd.stop();
    subject.is_down(&postern);
    saslauthd.run();
    subject.is_up(&postern);
}

#[test]
fn a_service_without_rules_lets_nobody_in() {
    let saslauthd = Saslauthd::start(&[("anna", "geheim", Account::Open)]);
    let table = format!(
        "[[directory]]\nname = \"pam\"\n[directory.saslauthd]\nsocket = {:?}\nservice = \"other-service\"\n",
        saslauthd.socket()
    );
    let postern = Setup::new().without_user().tables(&table).start();
    let reply = crate::support::directory::attempt(&postern, "anna", "geheim");
    assert_eq!(reply.text(), crate::support::directory::REFUSED);
}
