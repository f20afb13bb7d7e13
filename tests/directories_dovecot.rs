//! People whom a Dovecot knows, through its auth sockets.

use crate::support::directory::{Person, Subject, dial};
use crate::support::dovecot::DovecotAuth;

const USERS: &str = "\
anna:{PLAIN}Geheim+7/ähm:61000:61000::/nonexistent::userdb_email=anna@home.test,office@home.test
ben:{PLAIN}zwei Wörter:61001:61001::/nonexistent::userdb_email=ben@home.test
carl:{PLAIN}zu:61002:61002::/nonexistent::nologin
";

fn subject(dovecot: &DovecotAuth) -> Subject {
    Subject {
        tables: format!(
            "[[directory]]\nname = \"dovecot\"\ntimeout = \"8s\"\n\
             [directory.dovecot]\nsocket = {:?}\nuserdb_socket = {:?}\n",
            dovecot.socket(),
            dovecot.userdb_socket()
        ),
        anna: Person { login: "anna", password: "Geheim+7/ähm", name: "anna", address: "anna@home.test" },
        ben: Person { login: "ben", password: "zwei Wörter", name: "ben", address: "ben@home.test" },
        closed: Some(Person { login: "carl", password: "zu", name: "carl", address: "carl@home.test" }),
    }
}

#[test]
fn people_whom_dovecot_knows_conform_and_nobody_is_refused_while_it_is_stopped() {
    let mut dovecot = DovecotAuth::start_with(USERS);
    let subject = subject(&dovecot);
    let postern = subject.setup().start();
    subject.conforms(&postern);
    dovecot.stop();
    subject.is_down(&postern);
    dovecot.run();
    subject.is_up(&postern);
}

#[test]
fn all_addresses_that_dovecot_tells_are_the_users() {
    let dovecot = DovecotAuth::start_with(USERS);
    let subject = subject(&dovecot);
    let postern = subject.setup().start();
    let mut client = dial(&postern);
    client.sign_in(subject.anna.login, subject.anna.password).expect(235);
    client.say("MAIL FROM:<office@home.test>").expect(250);
}
