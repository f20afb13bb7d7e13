//! Plays every transcript under `tests/transcripts` through the session, without I/O, at each pace: same replies. And whatever
//! the client says, nothing secret is kept of it.

use std::fs;
use std::path::{Path, PathBuf};

use postern_smtp::command::Command;
use postern_smtp::server::Dialogue;
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
    let mut server = SessionServer::new(&transcript.scenario);
    run(&transcript, pace, &mut server).map_err(named)?;
    keeps_no_secret(&text, server.dialogue()).map_err(named)
}

/// What is kept of a session holds neither an answer of a sign-in, nor an initial response, nor a password or token.
fn keeps_no_secret(transcript: &str, dialogue: &Dialogue) -> Result<(), String> {
    let kept = format!("{dialogue:?}");
    let known =
        ["tanstaaf", "another", "token-of-tim"].into_iter().filter(|secret| !public(transcript, secret));
    match said_in_secret(transcript).chain(known).find(|secret| kept.contains(secret)) {
        Some(secret) => Err(format!("{secret:?} is kept in {kept}")),
        None => Ok(()),
    }
}

/// The words stand in a path, where everybody may read them.
fn public(transcript: &str, words: &str) -> bool {
    let mut paths =
        transcript.lines().filter(|line| line.starts_with("C: MAIL") || line.starts_with("C: RCPT"));
    paths.any(|line| line.contains(words))
}

/// What a client said after a challenge, unless it is a command in the wrong place, and behind the name of a mechanism;
/// nothing so short that it stands anywhere.
fn said_in_secret(transcript: &str) -> impl Iterator<Item = &str> {
    let lines: Vec<&str> =
        transcript.lines().filter(|line| line.starts_with("C: ") || line.starts_with("S: ")).collect();
    let mut secrets = Vec::new();
    for (before, line) in std::iter::once(&"").chain(&lines).zip(&lines) {
        let Some(words) = line.strip_prefix("C: ") else { continue };
        let initial = words
            .get(..5)
            .filter(|verb| verb.eq_ignore_ascii_case("AUTH "))
            .and_then(|_| words.split(' ').nth(2));
        secrets.extend(initial);
        secrets.extend(before.starts_with("S: 334").then_some(words));
    }
    let is_command = |words: &str| !matches!(Command::parse(words.as_bytes()), Ok(Command::Unknown(_)));
    secrets.into_iter().filter(move |secret| secret.len() > 4 && !is_command(secret))
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
