//! The sending side of DATA (RFC 5321 §4.5.2).

use bytes::{BufMut, BytesMut};
use memchr::memmem;

/// Makes the form of the content that goes out after DATA: dots stuffed and the end marked.
#[derive(Debug, Clone)]
pub struct ContentEncoder {
    last: Last,
}

/// What the content so far ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// CRLF, or nothing at all.
    LineEnd,
    Cr,
    /// An LF without CR, which clean content never holds. A dot behind it is stuffed all the same, so that even a
    /// lenient server sees no end there.
    BareLf,
    Other,
}

impl ContentEncoder {
    /// An encoder at the start of content.
    pub fn new() -> Self {
        Self { last: Last::LineEnd }
    }

    /// Encodes the next piece, appending it to `out`.
    pub fn encode(&mut self, input: &[u8], out: &mut BytesMut) {
        let [first, ..] = input else { return };
        out.reserve(input.len());
        if *first == b'.' && matches!(self.last, Last::LineEnd | Last::BareLf) {
            out.put_u8(b'.');
        }
        let mut from = 0;
        for line_end in memmem::find_iter(input, b"\n.") {
            out.put_slice(&input[from..=line_end]);
            out.put_u8(b'.');
            from = line_end + 1;
        }
        out.put_slice(&input[from..]);
        self.last = self.last_after(input);
    }

    /// Ends the content: CRLF unless it ended with one, then the line with the single dot.
    pub fn finish(&mut self, out: &mut BytesMut) {
        if self.last != Last::LineEnd {
            out.put_slice(b"\r\n");
        }
        out.put_slice(b".\r\n");
        self.last = Last::LineEnd;
    }

    fn last_after(&self, input: &[u8]) -> Last {
        match input {
            [.., b'\r', b'\n'] => Last::LineEnd,
            [b'\n'] if self.last == Last::Cr => Last::LineEnd,
            [.., b'\n'] => Last::BareLf,
            [.., b'\r'] => Last::Cr,
            _ => Last::Other,
        }
    }
}

impl Default for ContentEncoder {
    fn default() -> Self {
        Self::new()
    }
}
