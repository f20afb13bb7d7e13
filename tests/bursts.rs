//! A sudden burst from one account is accepted and held, the postmaster is told, and one command releases or discards it.

use crate::support::postern::ANNA;
use crate::support::sink::Sink;
use crate::support::{Postern, Setup, content, wait_for};

fn house(sink: &Sink) -> Postern {
    Setup::new()
        .next_hop(sink.address())
        .top(&format!("postmaster = \"{ANNA}\""))
        .tables("[bursts]\nfloor = 3\nfactor = 2\n")
        .start()
}

fn send(postern: &Postern, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let to = format!("r{number}@elsewhere.test");
        postern.submit(&[&to], &content::plain(ANNA, &to, &format!("number {number}")));
    }
}

#[test]
fn a_burst_is_held_and_told_of_once_and_goes_out_when_it_is_released() {
    let sink = Sink::start();
    let mut postern = house(&sink);
    send(&postern, 0..6);
    sink.wait_for(3);
    let told = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    for text in [
        "Subject: localhost.test: mail from anna is held",
        "postern burst release anna",
        "burst discard anna",
    ] {
        assert!(told.contains(text), "{text} in {told}");
    }
    let list = postern.cli(&["burst", "list"]);
    let row: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((row[0], &row[3..]), ("anna", &["3", "3", "3"][..]), "{list}");
    let held = postern.queue();
    assert!(held.iter().all(|delivery| delivery["held"] == true), "{held:?}");
    let id = postern.queue_ids().remove(0);
    assert!(postern.cli(&["queue", "show", &id]).contains("suddenly sends much more than usual"));
    // A restart knows it still.
    postern.terminate();
    postern.start();
    send(&postern, 6..7);
    assert_eq!(postern.queue().len(), 4);
    assert_eq!(postern.cli(&["burst", "release", "anna"]), "released: 4 deliveries of anna\n");
    sink.wait_for(7);
    postern.wait_for_empty_queue();
    assert_eq!(postern.cli(&["burst", "list"]), "no account's mail is held\n");
    // What was released is usual from now on.
    send(&postern, 7..10);
    sink.wait_for(10);
    assert_eq!(postern.mail_of("anna").len(), 1, "once for a burst");
}

#[test]
fn what_is_discarded_never_leaves_and_the_next_burst_is_told_of_again() {
    let sink = Sink::start();
    let mut postern = house(&sink);
    send(&postern, 0..5);
    sink.wait_for(3);
    postern.wait_for_mail("anna", 1);
    postern.terminate();
    assert_eq!(postern.cli(&["burst", "discard", "anna", "--yes"]), "removed: 2 deliveries of anna\n");
    postern.start();
    send(&postern, 5..6);
    wait_for("the second letter", || (postern.mail_of("anna").len() == 2).then_some(()));
    wait_for("only what is held is left", || {
        let queue = postern.queue();
        (queue.len() == 1 && queue[0]["held"] == true).then_some(())
    });
    assert_eq!(sink.messages().len(), 3, "nothing else left");
    let said = crate::support::programs::fail(&mut postern.command(&["burst", "release", "nobody"]));
    assert!(said.contains("nothing of nobody is held"), "{said}");
}
