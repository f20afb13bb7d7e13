//! A full disk is a temporary trouble of ours: `452 4.3.1`, nothing half-written, and all is well again when there is room.
//!
//! The disk is a small tmpfs that only root can mount; the suite runs as root in CI.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::postern::ANNA;
use crate::support::programs::{fail, program, run, succeed, text};
use crate::support::{Client, Peer, Reply, Setup, content, is_root, wait_for};

/// A disk of 24 MiB; gone when dropped.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount() -> SmallDisk {
        assert!(
            is_root(),
            "only root can mount the small disk that this test fills: run it as root, as CI does"
        );
        let folder = tempfile::tempdir().unwrap();
        succeed(program("mount").args([
            "-t",
            "tmpfs",
            "-o",
            "size=24m,mode=755",
            "tmpfs",
            text(folder.path()),
        ]));
        SmallDisk { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills it to the last octet.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1_048_576, 4096, 512, 1] {
            while file.write(&vec![0; size]).is_ok_and(|count| count == size) {}
        }
        path
    }

    fn make_read_only(&self) {
        succeed(program("mount").args(["-o", "remount,ro", text(self.path())]));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon may still be ending.
        drop(run(program("umount").args(["--lazy", text(self.path())])));
    }
}

#[test]
fn is_answered_452_and_service_resumes_by_itself() {
    let disk = SmallDisk::mount();
    let peer = Peer::start();
    let postern = Setup::new().data_dir(&disk.path().join("data")).next_hop(peer.address()).start();
    let content = content::with_body(ANNA, "ben@elsewhere.test", "full", &content::large_body(1));
    postern.submit(&["ben@elsewhere.test"], &content);
    peer.wait_for(1);
    postern.wait_for_empty_queue();

    let filler = disk.fill();
    let refusal = attempt(&mut postern.signed_in(), &content);
    assert!(refusal.code == 452 && refusal.text().contains("4.3.1"), "{refusal:?}");

    fs::remove_file(filler).unwrap();
    wait_for("service to resume", || (attempt(&mut postern.signed_in(), &content).code == 250).then_some(()));
    let taken = peer.wait_for(2);
    content::assert_same_after_our_fields("after the trouble", &content, &taken[1].content);
    postern.wait_for_empty_queue();
    assert_eq!(peer.taken().len(), 2, "the refused message was delivered as well");
}

#[test]
fn a_message_larger_than_the_room_left_is_refused_whole() {
    let disk = SmallDisk::mount();
    let peer = Peer::start();
    let postern = Setup::new().data_dir(&disk.path().join("data")).next_hop(peer.address()).start();
    let content = content::with_body(ANNA, "ben@elsewhere.test", "larger", &content::large_body(30));
    let refusal = attempt(&mut postern.signed_in(), &content);
    assert!(refusal.code == 452 && refusal.text().contains("4.3.1"), "{refusal:?}");
    let small = content::plain(ANNA, "ben@elsewhere.test", "small");
    wait_for("room again", || (attempt(&mut postern.signed_in(), &small).code == 250).then_some(()));
    content::assert_same_after_our_fields("the small one", &small, &peer.wait_for(1)[0].content);
    postern.wait_for_empty_queue();
}

#[test]
fn a_read_only_data_directory_is_refused_at_start_with_its_name() {
    let disk = SmallDisk::mount();
    let data = disk.path().join("data");
    let mut postern = Setup::new().data_dir(&data).start();
    postern.terminate();
    disk.make_read_only();
    let said = fail(&mut postern.command(&["serve"]));
    assert!(said.contains(text(&data)), "{said}");
}

/// Tries to send; the reply that decides it.
#[track_caller]
fn attempt(client: &mut Client, content: &[u8]) -> Reply {
    for line in [format!("MAIL FROM:<{ANNA}>"), "RCPT TO:<ben@elsewhere.test>".to_owned(), "DATA".to_owned()]
    {
        let reply = client.say(&line);
        if reply.code >= 400 {
            return reply;
        }
    }
    client.try_send(&crate::support::client::stuffed(content));
    client.reply()
}
