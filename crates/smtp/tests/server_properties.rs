//! What no client can make a session do, whatever it sends and however its bytes are cut. The scripted server checks
//! on its way that content is always asked about or discarded, and that nothing comes after the close.

use postern_testkit::transcript::{Server, SessionServer, Transcript};
use proptest::prelude::*;

/// Lines that mean something, so that the soup gets deep into a session.
const INGREDIENTS: &[&[u8]] = &[
    b"EHLO client.example\r\n",
    b"HELO client.example\r\n",
    b"MAIL FROM:<bob@example.net>\r\n",
    b"MAIL FROM:<bob@example.net> BODY=BINARYMIME SIZE=5\r\n",
    b"RCPT TO:<ann@example.org>\r\n",
    b"RCPT TO:<nobody@example.org>\r\n",
    b"BDAT 5\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 7 LAST\r\n",
    b"BDAT 5 LAST\r\n",
    b"abc\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"XYZZY\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH EXTERNAL =\r\n",
    b"AUTH EXTERNAL\r\n",
    b"\r\n",
    b"*\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"\xff\xfe",
    b"QUIT\r\n",
];

/// These end the session when anything comes in one packet behind them, so cutting matters.
const CUT_MATTERS: &[&[u8]] = &[b"DATA\r\n", b"STARTTLS\r\n", b".\r\n"];

fn soup(ingredients: Vec<&'static [u8]>) -> impl Strategy<Value = Vec<u8>> {
    let pick = prop::sample::select(ingredients);
    prop::collection::vec(pick, 0..40)
        .prop_map(|lines| [b"EHLO client.example\r\n", lines.concat().as_slice()].concat())
}

fn server(listener: &str) -> SessionServer {
    server_for("none", listener)
}

/// A client with this certificate.
fn server_for(certificate: &str, listener: &str) -> SessionServer {
    let text = format!(
        "listener: {listener}\ncertificate: {certificate}\nset: message-size 12\nset: errors 100\n\nS: 220 *\n"
    );
    SessionServer::new(&Transcript::parse(&text).expect("a valid head").scenario)
}

fn conversation(
    listener: &str,
    pieces: &mut dyn Iterator<Item = &[u8]>,
) -> (Vec<String>, Option<String>, Option<Vec<u8>>) {
    let mut server = server(listener);
    pieces.for_each(|piece| server.send(piece));
    let lines = std::iter::from_fn(|| server.line()).collect();
    (lines, server.closed(), server.body())
}

proptest! {
    #[test]
    fn replies_do_not_depend_on_how_the_bytes_are_cut(
        bytes in soup(INGREDIENTS.to_vec()),
        cut in 1_usize..50,
        listener in prop::sample::select(vec!["relay", "relay-auth", "submissions"]),
    ) {
        let whole = conversation(listener, &mut std::iter::once(bytes.as_slice()));
        let cut = conversation(listener, &mut bytes.chunks(cut));
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn no_bytes_make_a_session_panic_or_forget_its_content(
        bytes in soup([INGREDIENTS, CUT_MATTERS].concat()),
        cut in 1_usize..50,
        listener in prop::sample::select(vec!["relay", "submission", "submissions"]),
    ) {
        let mut server = server(listener);
        bytes.chunks(cut).for_each(|piece| server.send(piece));
        server.hang_up();
        prop_assert!(server.closed().is_some());
    }

    #[test]
    fn nobody_signs_in_or_sends_mail_in_clear_where_tls_is_required(
        bytes in soup([INGREDIENTS, CUT_MATTERS].concat()),
    ) {
        let mut server = server("submission");
        server.send(&bytes);
        let asked = server.asked().unwrap_or_default();
        prop_assert!(asked == "connect" || asked.starts_with("hello "), "{}", asked);
        prop_assert_eq!(server.body(), None);
    }

    #[test]
    fn external_is_neither_announced_nor_taken_without_tls_and_a_verified_certificate(
        bytes in soup([INGREDIENTS, CUT_MATTERS].concat()),
        (certificate, listener) in prop::sample::select(vec![
            // In clear, whatever would be shown after STARTTLS.
            ("verified", "relay"), ("verified", "relay-auth"), ("verified", "submission"),
            // Under TLS, with nothing proved.
            ("none", "submissions"), ("unproved", "submissions"),
        ]),
    ) {
        let mut server = server_for(certificate, listener);
        for line in bytes.split_inclusive(|octet| *octet == b'\n') {
            server.send(line);
            let asked = server.asked().unwrap_or_default();
            prop_assert!(!asked.contains("external"), "{}", asked);
        }
        while let Some(line) = server.line() {
            prop_assert!(!line.starts_with("250") || !line.contains("EXTERNAL"), "{}", line);
        }
    }
}
