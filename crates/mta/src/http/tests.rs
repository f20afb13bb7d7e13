//! What a connection may do, and what it may not, over a pipe and on a virtual clock.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::time::Instant;

use super::serve::{Visit, carry};
use super::{Handler, Request, Response};
use crate::config::SessionLimits;
use crate::daemon::Phase;
use crate::inbound::listener::Sessions;

/// Says what it was asked; `/never` takes for ever.
struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn answer(&self, request: Request) -> Response {
        if request.path() == "/never" {
            std::future::pending::<()>().await;
        }
        let said = format!("{} {} {}", request.method, request.path(), request.body.len());
        Response::found("text/plain", said)
    }
}

/// A connection that is being served, and the switch that makes the daemon drain.
fn connect() -> (DuplexStream, watch::Sender<Phase>) {
    let (ours, theirs) = duplex(1024 * 1024);
    let (drain, phase) = watch::channel(Phase::Running);
    let room = SessionLimits { all: 1, per_address: 1 };
    let client = [192, 0, 2, 1].into();
    let place = Arc::new(Sessions::default()).enter(room, "http", room, client).ok().unwrap();
    tokio::spawn(async move { carry(theirs, &Echo, Visit { client, phase, place }).await });
    (ours, drain)
}

/// Sends this and reads until the connection ends.
async fn say(text: &str) -> String {
    let (mut connection, _drain) = connect();
    connection.write_all(text.as_bytes()).await.unwrap();
    read(&mut connection).await
}

async fn read(connection: &mut DuplexStream) -> String {
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

const CLOSE: &str = "Host: h\r\nConnection: close\r\n";

#[tokio::test(start_paused = true)]
async fn a_request_is_answered_with_headers_that_keep_browsers_from_guessing() {
    let answer = say(&format!("POST /a?b HTTP/1.1\r\n{CLOSE}Content-Length: 3\r\n\r\nxyz")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nPOST /a 3"), "{answer}");
    for field in ["x-content-type-options: nosniff", "cache-control: no-store", "content-type: text/plain"] {
        assert!(answer.contains(field), "{field}: {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn head_is_a_get_whose_answer_has_no_body() {
    let answer = say(&format!("HEAD /a HTTP/1.1\r\n{CLOSE}\r\n")).await;
    assert!(answer.contains("content-length: 8\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_refused_before_it_is_sent() {
    let head =
        format!("POST /a HTTP/1.1\r\n{CLOSE}Expect: 100-continue\r\nContent-Length: 104857600\r\n\r\n");
    let answer = say(&head).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("larger than 262144 octets") && answer.contains("remedy"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_tell_its_size_is_read_no_further_than_the_limit() {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    let head = format!("POST /a HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n");
    let fits = say(&format!("{head}{}0\r\n\r\n", chunk.repeat(4))).await;
    assert!(fits.ends_with("POST /a 262144"), "{fits}");
    let answer = say(&format!("{head}{}", chunk.repeat(5))).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_large_or_garbage_ends_the_connection() {
    let answer = say(&format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(20_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let fields: String = (0..80).map(|number| format!("F{number}: x\r\n")).collect();
    let answer = say(&format!("GET / HTTP/1.1\r\n{fields}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = say("\u{16}\u{3}\u{1} hello\r\n\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_sends_the_head_too_slowly_or_nothing_at_all_is_let_go_after_ten_seconds() {
    for start in ["", "GET / HTTP/1.1\r\nHost:"] {
        let before = Instant::now();
        let answer = say(start).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        let waited = before.elapsed();
        assert!(
            waited >= Duration::from_secs(10) && waited < Duration::from_secs(12),
            "{start:?}: {waited:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_the_body_too_slowly_is_told_so_after_thirty_seconds() {
    let before = Instant::now();
    let answer = say(&format!("POST /a HTTP/1.1\r\n{CLOSE}Content-Length: 9\r\n\r\nx")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(before.elapsed() < Duration::from_secs(32), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_given_up() {
    let answer = say(&format!("GET /never HTTP/1.1\r\n{CLOSE}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_a_hundred_requests_and_no_more() {
    let answer = say(&"GET /a HTTP/1.1\r\nHost: h\r\n\r\n".repeat(120)).await;
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 100);
    assert_eq!(answer.matches("connection: close").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_under_way_and_ends_what_idles() {
    let (mut idle, drain) = connect();
    let before = Instant::now();
    drain.send(Phase::Draining).unwrap();
    assert_eq!(read(&mut idle).await, "");
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());

    let (mut busy, drain) = connect();
    busy.write_all(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nx").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    drain.send(Phase::Draining).unwrap();
    busy.write_all(b"yz").await.unwrap();
    let answer = read(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("POST /a 3"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_grows_no_older_than_it_may() {
    let (mut connection, _drain) = connect();
    let before = Instant::now();
    let ask = async {
        while connection.write_all(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(9)).await;
        }
    };
    ask.await;
    assert!(before.elapsed() < Duration::from_secs(160), "{:?}", before.elapsed());
}
