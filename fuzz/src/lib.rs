//! What must hold for any bytes that a stranger sends, as functions that panic when it does not.
//!
//! Each function is the body of the fuzz target of its name, and is also called with random input by
//! `cargo test --no-default-features` in this folder, which needs neither a nightly compiler nor cargo-fuzz. The seeds of
//! both are the transcripts of the smtp crate; `cargo run --no-default-features` puts them into `corpus` for cargo-fuzz.

#![forbid(unsafe_code)]

mod client;
mod files;
mod hello;
mod message;
mod policy;
mod report;
mod sasl;
pub mod seeds;
mod server;
mod tape;
mod tlsa;

pub use client::client;
pub use files::{certificate_files, file_seeds, request_seeds, signing_request};
pub use hello::{hello_seeds, tls_offer};
pub use message::{dsn, header};
pub use policy::mta_sts;
pub use report::{tls_report, tls_report_seeds};
pub use sasl::{sasl_client, sasl_server};
pub use server::server;
pub use tlsa::{tlsa, tlsa_seeds};

use bytes::BytesMut;
use postern_smtp::command::{Command, MAX_COMMAND_LINE};
use postern_smtp::content::{ChunkChecker, ContentDecoder, ContentEncoder, Violation};
use postern_smtp::line::{self, Line};
use postern_smtp::reply::{Reply, ReplyError, ReplyParser};
use postern_smtp::server::LineEndings;

/// A stream of command lines: nothing panics, refusals are clean, and what is understood survives being written.
pub fn command(data: &[u8]) {
    let mut rest = data;
    while let Line::Complete { line, consumed } = line::next_line(rest, MAX_COMMAND_LINE) {
        one_command(line);
        rest = &rest[consumed..];
    }
    let _ = line::skip_line(rest);
}

/// A stream of replies: the same in one piece and octet by octet, fit for a log, and stable when written.
pub fn reply(data: &[u8]) {
    let whole = replies(data, data.len().max(1));
    assert_eq!(whole, replies(data, 1));
    for reply in &whole.0 {
        assert!(!reply.one_line().contains(char::is_control));
        // Writing repeats the enhanced code on lines that came without, which may make them too long.
        if reply.lines.iter().all(|line| line.len() < 980) {
            assert_eq!(replies(reply.to_string().as_bytes(), 7), (vec![reply.clone()], None));
        }
    }
}

/// Content behind DATA and in chunks, under both rules for line endings: the same however it is cut, always clean,
/// ended by CRLF.CRLF only, and unchanged by another hop.
pub fn content(data: &[u8]) {
    for line_endings in [LineEndings::Strict, LineEndings::Repair] {
        let whole = decode(line_endings, data, data.len().max(1));
        assert_eq!(whole, decode(line_endings, data, 1));
        assert_eq!(whole, decode(line_endings, data, 3));
        if let Ok((content, Some(end))) = whole {
            assert!([b"\r\n", &data[..end]].concat().ends_with(b"\r\n.\r\n"));
            assert_clean(&content);
            relay(&content);
        }
        let chunks = check(line_endings, data, data.len().max(1));
        assert_eq!(chunks, check(line_endings, data, 1));
        if let Ok(content) = chunks {
            assert_clean(&content);
        }
    }
}

fn one_command(line: &[u8]) {
    let again = match Command::parse(line) {
        Ok(Command::Mail(mail)) => (format!("MAIL FROM:{mail}"), Command::Mail(mail)),
        Ok(Command::Rcpt(rcpt)) => (format!("RCPT TO:{rcpt}"), Command::Rcpt(rcpt)),
        Ok(_) => return,
        Err(error) => {
            let reply = error.reply().to_string();
            assert_eq!(reply.lines().count(), 1);
            assert!(reply.len() <= 512);
            return;
        }
    };
    let (written, command) = again;
    // utf-8-addr-xtext may be longer than the UTF-8 it came from, and then too long for the limit of ORCPT.
    if written.len() <= line.len() {
        assert_eq!(Command::parse(written.as_bytes()), Ok(command), "{written}");
    }
}

fn replies(data: &[u8], piece: usize) -> (Vec<Reply>, Option<ReplyError>) {
    let mut parser = ReplyParser::new();
    let mut complete = Vec::new();
    for mut rest in data.chunks(piece) {
        while !rest.is_empty() {
            match parser.feed(rest) {
                Ok((consumed, reply)) => {
                    complete.extend(reply);
                    rest = &rest[consumed..];
                }
                Err(error) => return (complete, Some(error)),
            }
        }
    }
    (complete, None)
}

type Content = (Vec<u8>, Option<usize>);

fn decode(line_endings: LineEndings, data: &[u8], piece: usize) -> Result<Content, Violation> {
    let mut decoder = ContentDecoder::new(line_endings);
    let mut out = BytesMut::new();
    let mut taken = 0;
    for piece in data.chunks(piece) {
        let decoded = decoder.decode(piece, &mut out)?;
        taken += decoded.consumed;
        if decoded.ended {
            return Ok((out.to_vec(), Some(taken)));
        }
    }
    Ok((out.to_vec(), None))
}

fn check(line_endings: LineEndings, data: &[u8], piece: usize) -> Result<Vec<u8>, Violation> {
    let mut checker = ChunkChecker::new(line_endings);
    let mut out = BytesMut::new();
    data.chunks(piece).try_for_each(|piece| checker.check(piece, &mut out))?;
    checker.finish()?;
    Ok(out.to_vec())
}

/// Sends content on as a client would and takes it in as a strict server would.
fn relay(content: &[u8]) {
    let mut encoder = ContentEncoder::new();
    let mut wire = BytesMut::new();
    for piece in content.chunks(5) {
        encoder.encode(piece, &mut wire);
    }
    encoder.finish(&mut wire);
    let arrived = decode(LineEndings::Strict, &wire, wire.len());
    assert_eq!(arrived, Ok((content.to_vec(), Some(wire.len()))));
}

/// Every CR and LF is half of a CRLF, and there is no NUL.
pub(crate) fn assert_clean(content: &[u8]) {
    let rest = String::from_utf8_lossy(content).replace("\r\n", "");
    assert!(!rest.contains(['\r', '\n', '\0']));
}
