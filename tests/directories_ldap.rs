//! LDAP, with a real slapd: by search and by direct bind, over StartTLS and `ldaps:`, down, up, and replaced by another.

use std::net::TcpListener;

use crate::support::certificates::Authority;
use crate::support::directory::{Person, REFUSED, Subject, UNHURRIED, attempt};
use crate::support::slapd::{ANNAS, BASE, BENS, CLOSED, SERVICE, Slapd};
use crate::support::{Postern, Setup};

/// A setup without a directory, and a slapd whose certificate its authority vouches for.
fn slapd(setup: &Setup) -> Slapd {
    Slapd::start(&setup.authority().issue(&["localhost"]))
}

/// `[[directory]]` with these servers. `keys` come last.
fn table(authority: &Authority, urls: &[String], above: &str, keys: &str) -> String {
    let root = authority.root();
    format!(
        "[[directory]]\nname = \"corp\"\ntimeout = \"20s\"\n{above}[directory.ldap]\nurls = {urls:?}\ntrust = {root:?}\n\
         step_timeout = \"4s\"\n{keys}"
    )
}

/// The keys for finding people with the service account.
fn search(slapd: &Slapd) -> String {
    format!(
        "bind_dn = \"{SERVICE}\"\nbind_password_file = {:?}\nbase = \"ou=people,{BASE}\"\n",
        slapd.password_file()
    )
}

fn subject(tables: String) -> Subject {
    Subject {
        tables,
        anna: Person {
            login: "anna@home.test",
            password: ANNAS,
            name: "anna",
            address: "a.muster@home.test",
        },
        ben: Person { login: "ben", password: BENS, name: "ben", address: "ben@home.test" },
        closed: Some(Person {
            login: "closed",
            password: CLOSED,
            name: "closed",
            address: "closed@home.test",
        }),
    }
}

/// A daemon with one slapd that is searched.
fn searching(above: &str, more: &str) -> (Subject, Slapd, Postern) {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let slapd = slapd(&setup);
    let keys = search(&slapd) + more;
    let subject = subject(table(setup.authority(), &[slapd.ldap()], above, &keys));
    let postern = setup.tables(&subject.tables).start();
    (subject, slapd, postern)
}

#[track_caller]
fn is_unavailable(postern: &Postern, login: &str, password: &str) {
    let reply = attempt(postern, login, password);
    assert!(reply.text().starts_with("454 4.7.0 "), "{login}: {reply:?}\n{}", postern.log());
}

#[test]
fn a_slapd_that_is_searched_over_starttls_conforms() {
    let groups = format!("group_base = \"ou=groups,{BASE}\"\n");
    let (subject, _slapd, postern) = searching("", &groups);
    subject.conforms(&postern);
    assert!(!postern.log().contains("Dienst Geheimnis"), "the service account's password is in the log");
}

#[test]
fn a_slapd_that_people_bind_to_directly_over_ldaps_conforms() {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let slapd = slapd(&setup);
    let keys = format!("bind_as = \"uid={{local}},ou=people,{BASE}\"\n");
    let subject = subject(table(setup.authority(), &[slapd.ldaps()], "", &keys));
    let postern = setup.tables(&subject.tables).start();
    subject.conforms(&postern);
}

#[test]
fn only_members_of_a_group_sign_in_where_the_filter_says_so() {
    let filter = format!("filter = \"(&(uid={{local}})(memberOf=cn=senders,ou=groups,{BASE}))\"\n");
    let (_, _slapd, postern) = searching("", &filter);
    assert_eq!(attempt(&postern, "anna", ANNAS).code, 235, "{}", postern.log());
    assert_eq!(attempt(&postern, "ben", BENS).text(), REFUSED);
}

#[test]
fn a_name_that_two_entries_fit_is_nobodys() {
    let filter = "filter = \"(|(uid={local})(employeeType={local}))\"\n";
    let (_, _slapd, postern) = searching("", filter);
    assert_eq!(attempt(&postern, "ben", BENS).code, 235, "{}", postern.log());
    for password in [ANNAS, BENS] {
        assert_eq!(attempt(&postern, "twin", password).text(), REFUSED);
    }
    postern.wait_for_log("the directory has several entries for this name");
}

#[test]
fn a_slapd_that_is_stopped_is_no_wrong_password_and_is_used_again_when_it_is_back() {
    let (subject, mut slapd, postern) = searching("", "");
    assert_eq!(attempt(&postern, "anna", ANNAS).code, 235, "{}", postern.log());
    slapd.stop();
    subject.is_down(&postern);
    postern.wait_for_log(&format!("{}: Connection refused", slapd.ldap()));
    slapd.start_again();
    subject.is_up(&postern);
}

#[test]
fn a_second_slapd_answers_while_the_first_is_down_or_says_nothing() {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let (mut first, second) = (slapd(&setup), slapd(&setup));
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("ldap://localhost:{}", silent.local_addr().unwrap().port());
    let urls = [first.ldap(), silent, second.ldaps()];
    let postern = setup_with(setup, &urls, &search(&second)).start();
    assert_eq!(attempt(&postern, "anna", ANNAS).code, 235, "{}", postern.log());
    first.stop();
    for _ in 0..3 {
        assert_eq!(attempt(&postern, "anna", ANNAS).code, 235, "{}", postern.log());
        assert_eq!(attempt(&postern, "anna", "wrong").text(), REFUSED);
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let slapd = slapd(&setup);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ldap://localhost:{}", silent.local_addr().unwrap().port());
    let postern = setup_with(setup, std::slice::from_ref(&url), &search(&slapd)).start();
    is_unavailable(&postern, "anna", ANNAS);
    postern.wait_for_log(&format!("{url}: no "));
}

#[test]
fn a_server_that_does_not_prove_its_name_is_shown_no_password() {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let folder = tempfile::tempdir().unwrap();
    let stranger = Authority::new(folder.path());
    let slapd = Slapd::start(&stranger.issue(&["localhost"]));
    let postern = setup_with(setup, &[slapd.ldap(), slapd.ldaps()], &search(&slapd)).start();
    is_unavailable(&postern, "anna", ANNAS);
    postern.wait_for_log("no encrypted connection: ");
    let log = postern.log();
    assert!(log.contains(&slapd.ldap()) && log.contains(&slapd.ldaps()), "{log}");
}

#[test]
fn the_service_account_that_is_refused_is_named_and_nobody_elses_password_is_wrong() {
    let setup = Setup::new().without_user().tables(UNHURRIED);
    let slapd = slapd(&setup);
    std::fs::write(slapd.password_file(), "not this").unwrap();
    let postern = setup_with(setup, &[slapd.ldap()], &search(&slapd)).start();
    is_unavailable(&postern, "anna", ANNAS);
    postern.wait_for_log(&format!("it refuses bind_dn {SERVICE}"));
    assert!(!postern.log().contains("not this"), "the password is in the log");
}

#[test]
fn a_success_bridges_the_time_while_slapd_is_down() {
    let (_, mut slapd, postern) = searching("bridge = \"1h\"\n", "");
    assert_eq!(attempt(&postern, "anna", ANNAS).code, 235, "{}", postern.log());
    slapd.stop();
    assert_eq!(attempt(&postern, "anna", ANNAS).code, 235, "{}", postern.log());
    is_unavailable(&postern, "anna", "wrong");
    is_unavailable(&postern, "ben", BENS);
}

fn setup_with(setup: Setup, urls: &[String], keys: &str) -> Setup {
    let table = table(setup.authority(), urls, "", keys);
    setup.tables(&table)
}
