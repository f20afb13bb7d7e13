//! The corpus of the `smtp` crate once more, unchanged: over real TCP and real TLS, through the daemon's own driver.
//!
//! Only transcripts that travel in time stay out: they would take hours.

use std::fs;
use std::path::{Path, PathBuf};

use postern_testkit::transcript::{Pace, Step, Transcript, run};

use super::wire::Loopback;

#[test]
fn every_transcript_is_true_over_the_network_as_written() {
    play_all(Pace::AsWritten);
}

#[test]
fn every_transcript_is_true_over_the_network_one_byte_at_a_time() {
    play_all(Pace::ByteByByte);
}

#[test]
fn every_transcript_is_true_over_the_network_when_pipelined() {
    play_all(Pace::Pipelined);
}

#[test]
fn exactly_the_transcripts_that_travel_in_time_are_left_out() {
    let files = corpus();
    let left_out: Vec<_> =
        files.iter().filter(|file| file.travels_in_time()).map(|file| &file.path).collect();
    let with_wait: Vec<_> = files.iter().filter(|file| file.says("WAIT")).map(|file| &file.path).collect();
    assert_eq!(left_out, with_wait);
    assert!(
        left_out.iter().all(|path| path.parent().is_some_and(|folder| folder.ends_with("time"))),
        "{left_out:?}"
    );
}

struct File {
    path: PathBuf,
    text: String,
    transcript: Transcript,
}

impl File {
    fn travels_in_time(&self) -> bool {
        self.transcript.steps.iter().any(|numbered| matches!(numbered.step, Step::Wait(_)))
    }

    fn says(&self, word: &str) -> bool {
        self.text.lines().any(|line| line.split_ascii_whitespace().next() == Some(word))
    }

    fn play(&self, pace: Pace, loopback: &Loopback) -> Result<(), String> {
        let mut wire = loopback.connect(&self.transcript.scenario);
        let played = run(&self.transcript, pace, &mut wire).and_then(|()| wire.finish());
        played.map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

fn play_all(pace: Pace) {
    let loopback = Loopback::new();
    let files = corpus();
    let possible: Vec<_> = files.iter().filter(|file| !file.travels_in_time()).collect();
    let failures: Vec<String> = possible.iter().filter_map(|file| file.play(pace, &loopback).err()).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), possible.len(), failures.join("\n"));
    println!("{} transcripts played over the network ({pace:?}), {} in all", possible.len(), files.len());
}

fn corpus() -> Vec<File> {
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../smtp/tests/transcripts"), &mut paths);
    paths.sort();
    assert!(paths.len() > 150, "the corpus is not where it should be: {} files", paths.len());
    paths.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> File {
    let text = fs::read_to_string(&path).unwrap();
    let transcript = Transcript::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    File { path, text, transcript }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the corpus is readable") {
        let path = entry.expect("the corpus is readable").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "smtp") {
            paths.push(path);
        }
    }
}
