//! A queue that cannot be read is not served: the daemon says which file and what to do.

use std::fs;
use std::path::PathBuf;

use crate::support::postern::ANNA;
use crate::support::programs::{fail, text};
use crate::support::{Peer, Postern, Setup, content, files_below, unused_address};

/// The databases beside the queue's.
const OTHERS: [&str; 7] =
    ["users.db", "policy.db", "acme.db", "activity.db", "devices.db", "events.db", "sessions.db"];

/// A stopped daemon's queue database: the SQLite file at the top that is nobody else's.
#[track_caller]
fn queue_database(postern: &Postern) -> PathBuf {
    let is_database =
        |path: &PathBuf| fs::read(path).is_ok_and(|octets| octets.starts_with(b"SQLite format 3\0"));
    let files = files_below(postern.data_dir()).into_iter().filter(is_database);
    files
        .filter(|path| path.parent() == Some(postern.data_dir()))
        .find(|path| path.file_name().is_some_and(|name| OTHERS.iter().all(|other| name != *other)))
        .expect("a queue database")
}

#[test]
fn a_database_of_garbage_is_refused_by_name() {
    let mut postern = Setup::new().start();
    postern.terminate();
    let path = queue_database(&postern);
    fs::write(&path, vec![0x5a; 100_000]).unwrap();
    let said = fail(&mut postern.command(&["serve"]));
    assert!(said.contains(text(&path)), "{said}");
    assert_eq!(fs::read(&path).unwrap(), vec![0x5a; 100_000], "the broken file was changed");
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let address = unused_address();
    let postern = Setup::new().next_hop(address).start();
    postern.submit(&["ben@elsewhere.test"], &content::plain(ANNA, "ben@elsewhere.test", "Kept"));
    let said = fail(&mut postern.command(&["serve"]));
    assert!(said.contains(text(postern.data_dir())) || said.contains("running"), "{said}");
    assert!(!said.contains("runs as"), "it claims to run before it refuses: {said}");
    assert_eq!(postern.queue().len(), 1);
}

#[test]
fn mail_in_the_queue_survives_a_copy_of_the_data_directory() {
    let peer = Peer::start();
    let mut first = Setup::new().next_hop(unused_address()).start();
    let content = content::plain(ANNA, "ben@elsewhere.test", "Moved");
    first.submit(&["ben@elsewhere.test"], &content);
    first.terminate();
    let second = Setup::new().next_hop(peer.address()).without_user();
    let target = second.folder().join("data");
    crate::support::programs::succeed(crate::support::programs::program("cp").args([
        "-a",
        text(first.data_dir()),
        text(&target),
    ]));
    let _second = second.start();
    content::assert_same_after_our_fields("moved", &content, &peer.wait_for(1)[0].content);
}
