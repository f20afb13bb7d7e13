//! Plays every transcript under `tests/transcripts` through the session, without I/O, at each pace: same replies.

use std::fs;
use std::path::{Path, PathBuf};

use postern_testkit::transcript::{Pace, SessionServer, Transcript, run};

#[test]
fn every_transcript_is_true_as_written() {
    play_all(Pace::AsWritten);
}

#[test]
fn every_transcript_is_true_one_byte_at_a_time() {
    play_all(Pace::ByteByByte);
}

#[test]
fn every_transcript_is_true_when_pipelined() {
    play_all(Pace::Pipelined);
}

fn play_all(pace: Pace) {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts"), &mut files);
    assert!(files.len() > 50, "the corpus is not where it should be: {} files", files.len());
    let failures: Vec<String> = files.iter().filter_map(|file| play(file, pace).err()).collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), files.len(), failures.join("\n"));
}

fn play(file: &Path, pace: Pace) -> Result<(), String> {
    let named = |error: String| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    let transcript = Transcript::parse(&text).map_err(named)?;
    run(&transcript, pace, &mut SessionServer::new(&transcript.scenario)).map_err(named)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the corpus is readable") {
        let path = entry.expect("the corpus is readable").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "smtp") {
            files.push(path);
        }
    }
    files.sort();
}
