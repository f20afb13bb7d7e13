//! Records: before anything is handed out, by several processes at once, and through crashes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use postern_pki::ca::{AuthorityError, Order, Which};

use super::*;

/// How the other process is told where the CA is, and how many certificates to issue.
const FOLDER: &str = "POSTERN_TEST_CA";
const COUNT: &str = "POSTERN_TEST_COUNT";

/// Another process that issues, and says each serial number once it has the certificate.
fn other_process(office: &Office, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "recorded::issues_for_another_test", "--nocapture"])
        .env(FOLDER, office.ca())
        .env(COUNT, count.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn serial_in(line: &str) -> Option<String> {
    line.split_once("issued ").map(|(_, serial)| serial.trim().to_owned())
}

#[test]
#[ignore = "run as a child process by other tests in this file, with its folder and count in the environment"]
fn issues_for_another_test() {
    let (folder, count) = (std::env::var_os(FOLDER).unwrap(), std::env::var(COUNT).unwrap());
    let authority = Authority::open(Path::new(&folder), now()).unwrap();
    let (signer, policy) = (authority.signer(None).unwrap(), policy());
    let order = Order::of_request(&request(&["mail.example.org"]), Purpose::Server).unwrap();
    for _ in 0..count.parse().unwrap() {
        let approval = Approval { signer: &signer, policy: &policy, by: "another process" };
        println!("issued {}", authority.issue(&order, &approval, now()).unwrap().serial);
        authority.sign_crl(&signer, &policy, now()).unwrap();
    }
}

#[test]
fn two_processes_issue_at_once_and_nothing_clashes() {
    const EACH: usize = 25;
    let office = office(Shape::RootAlone);
    let mut others = [other_process(&office, EACH), other_process(&office, EACH)];
    let own: Vec<_> = (0..EACH)
        .map(|_| {
            let (issued, _) = office.issue(&["smtp.example.org"], Purpose::Server);
            office.authority.sign_crl(&office.signer, &office.policy, now()).unwrap();
            issued.serial.to_string()
        })
        .collect();
    let mut all: BTreeSet<String> = own.into_iter().collect();
    for other in &mut others {
        let lines = BufReader::new(other.stdout.take().unwrap()).lines();
        all.extend(lines.filter_map(|line| serial_in(&line.unwrap())));
        assert!(other.wait().unwrap().success());
    }
    assert_eq!(all.len(), 3 * EACH);
    assert_eq!(office.authority.tally().unwrap().issued, 3 * EACH as u64);
    let list = office.authority.crl().unwrap().unwrap();
    assert_eq!(list.number, 1 + 3 * EACH as u64, "each list has a number of its own");
    assert_eq!(std::fs::read(office.crl_der()).unwrap(), list.der);
}

#[test]
fn what_a_killed_process_handed_out_is_on_record() {
    let office = office(Shape::RootAlone);
    let mut other = other_process(&office, 100_000);
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    let mut said: Vec<_> = lines.by_ref().filter_map(|line| serial_in(&line.unwrap())).take(10).collect();
    other.kill().unwrap();
    other.wait().unwrap();
    said.extend(
        lines.map_while(Result::ok).filter_map(|line| serial_in(&line)).filter(|serial| serial.len() == 32),
    );
    assert!(said.len() >= 10);
    for serial in &said {
        let found = office.authority.find(&Which::of(serial)).unwrap();
        assert_eq!(found[0].names, ["mail.example.org"]);
    }
    office.authority.upkeep(Some(&office.signer), &office.policy, now()).unwrap();
    let list = office.authority.crl().unwrap().unwrap();
    assert_eq!(std::fs::read(office.crl_der()).unwrap(), list.der);
    office.issue(&["smtp.example.org"], Purpose::Server);
}

#[test]
fn everything_issued_is_listed_the_newest_first_with_all_that_is_known() {
    let office = office(Shape::RootAlone);
    let order = |name: &str| Order::of_request(&request(&[name]), Purpose::Server).unwrap();
    let issue = |name: &str, at| office.authority.issue(&order(name), &office.approval(), at).unwrap();
    let first = issue("a.example.org", now());
    let second = issue("b.example.org", now() + days(1));
    assert_eq!(office.authority.issued(10).unwrap(), [second.clone(), first.clone()]);
    assert_eq!(office.authority.issued(1).unwrap(), [second]);
    assert_eq!(office.authority.find(&Which::of("a.example.org")).unwrap(), std::slice::from_ref(&first));
    let again = Authority::open(&office.ca(), now()).unwrap();
    assert_eq!(again.find(&Which::Serial(first.serial.clone())).unwrap(), [first]);
}

#[test]
fn damaged_foreign_and_newer_records_are_said_and_left_alone() {
    let office = office(Shape::RootAlone);
    let path = office.ca().join("records.db");
    let ca = office.ca();
    drop(office.authority);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, "this is no database at all, however you look at it, and it is long enough")
        .unwrap();
    let error = Authority::open(&ca, now()).unwrap_err();
    assert!(
        matches!(&error, AuthorityError::RecordsDamaged { path: named, .. } if *named == path),
        "{error}"
    );
    assert!(std::fs::read(&path).unwrap().starts_with(b"this is no database"));
    std::fs::remove_file(&path).unwrap();
    let foreign = rusqlite::Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(foreign);
    let error = Authority::open(&ca, now()).unwrap_err().to_string();
    assert!(error.contains("another program's database"), "{error}");
    std::fs::write(&path, whole).unwrap();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 999).unwrap();
    drop(newer);
    let error = Authority::open(&ca, now()).unwrap_err();
    assert!(matches!(error, AuthorityError::RecordsTooNew { found: 999, .. }), "{error}");
}
