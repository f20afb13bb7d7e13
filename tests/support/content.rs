//! Messages to send, and how a delivered one is compared with what was sent.

/// A short message with all the fields that a repair would otherwise add.
pub fn plain(from: &str, to: &str, subject: &str) -> Vec<u8> {
    with_body(from, to, subject, b"Good morning.\r\n")
}

/// A message with this body.
pub fn with_body(from: &str, to: &str, subject: &str, body: &[u8]) -> Vec<u8> {
    let id = subject.replace(' ', "-");
    let mut content = format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{id}@client.test>\r\n\r\n"
    )
    .into_bytes();
    content.extend_from_slice(body);
    content
}

/// Bodies that have broken mail servers before, each with a name.
pub fn awkward_bodies() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("dots", b".\r\n..\r\n...\r\n.a\r\n. \r\n.\r\n..end.\r\n".to_vec()),
        ("empty body", Vec::new()),
        ("empty lines", b"\r\n\r\n\r\nmiddle\r\n\r\n\r\n".to_vec()),
        ("blanks at line ends", b"a \r\nb\t\r\n \r\n\t\r\n".to_vec()),
        ("eight bit", "Grüße aus Zürich, 雪\r\n".as_bytes().to_vec()),
        ("octets that are no text", (128..=255_u8).chain(*b"\r\n").collect()),
        ("a line of 998", [vec![b'x'; 998], b"\r\n".to_vec()].concat()),
        ("control characters", b"\x01\x02\x07\x08\x0b\x0c\x1b\x7f\r\n".to_vec()),
        ("lines that look like commands", b"QUIT\r\nDATA\r\nMAIL FROM:<x@y.test>\r\nFrom here\r\n".to_vec()),
        ("dots where buffers end", dots_around_buffer_ends()),
    ]
}

/// `megabytes` of lines, none like the other.
pub fn large_body(megabytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(megabytes * 1_048_576 + 100);
    let mut number = 0_u64;
    while body.len() < megabytes * 1_048_576 {
        number += 1;
        let scrambled = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        body.extend_from_slice(
            format!("{number} {scrambled:016x} {:?}.\r\n.dot\r\n", scrambled.to_le_bytes()).as_bytes(),
        );
    }
    body
}

/// Asserts that `delivered` is `sent` with nothing but header fields put before it.
#[track_caller]
pub fn assert_same_after_our_fields(what: &str, sent: &[u8], delivered: &[u8]) {
    assert!(
        delivered.ends_with(sent),
        "{what}: sent {} octets, delivered {} octets that do not end with them\nsent: {}\ndelivered: {}",
        sent.len(),
        delivered.len(),
        String::from_utf8_lossy(&sent[..sent.len().min(2000)]).escape_debug(),
        String::from_utf8_lossy(&delivered[..delivered.len().min(4000)]).escape_debug(),
    );
    let added = &delivered[..delivered.len() - sent.len()];
    assert!(added.ends_with(b"\n"), "{what}: the added fields do not end their line");
    for line in added.split(|&octet| octet == b'\n').map(<[u8]>::trim_ascii_end) {
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        let field = line.iter().position(|&octet| octet == b':').is_some_and(|colon| colon > 0);
        let text = String::from_utf8_lossy(line);
        assert!(
            line.is_empty() || folded || field,
            "{what}: added something that is no header field: {text:?}"
        );
    }
    assert!(!added.windows(2).any(|pair| pair == b"\n\n"), "{what}: an empty line among the added fields");
}

/// CRLF to LF, as programs store mail on Unix.
pub fn unix_lines(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(content.len());
    for (index, &octet) in content.iter().enumerate() {
        if octet != b'\r' || content.get(index + 1) != Some(&b'\n') {
            text.push(octet);
        }
    }
    text
}

// Puts a line that begins with a dot at every offset near the sizes that buffers have.
fn dots_around_buffer_ends() -> Vec<u8> {
    let mut body = Vec::new();
    for size in [1024_usize, 4096, 8192, 16384, 65536] {
        for offset in size - 4..size + 4 {
            while body.len() + 80 < offset {
                body.extend_from_slice(b"0123456789012345678901234567890123456789\r\n");
            }
            let gap = offset.saturating_sub(body.len() + 2);
            body.extend(std::iter::repeat_n(b'y', gap));
            body.extend_from_slice(b"\r\n.z\r\n");
        }
    }
    body
}
