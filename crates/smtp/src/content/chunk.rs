//! The receiving side of BDAT (RFC 3030 §2): no dots, no end marker, the size says it all.

use bytes::{BufMut, BytesMut};
use memchr::memchr3;

use super::Violation;
use crate::server::LineEndings;

/// Checks the content of BDAT chunks as [`ContentDecoder`](super::ContentDecoder) checks that of DATA. One checker
/// serves all chunks of a message: a CRLF may be cut by the border between two.
#[derive(Debug, Clone)]
pub struct ChunkChecker {
    rule: Rule,
    after_cr: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Binary,
    Text(LineEndings),
}

impl ChunkChecker {
    /// For text: lines that end with CRLF.
    pub fn new(line_endings: LineEndings) -> Self {
        Self { rule: Rule::Text(line_endings), after_cr: false }
    }

    /// For `BODY=BINARYMIME` (RFC 3030 §3), where every octet stands for itself.
    pub fn binary() -> Self {
        Self { rule: Rule::Binary, after_cr: false }
    }

    /// Checks the next piece, appending it to `out`.
    ///
    /// # Errors
    /// The peer's fault; the message must be thrown away, and the session must end.
    pub fn check(&mut self, input: &[u8], out: &mut BytesMut) -> Result<(), Violation> {
        let Rule::Text(line_endings) = self.rule else {
            out.put_slice(input);
            return Ok(());
        };
        let mut from = 0;
        if self.after_cr && !input.is_empty() {
            if input[0] != b'\n' {
                return Err(Violation::BareCr);
            }
            self.after_cr = false;
            out.put_slice(b"\r\n");
            from = 1;
        }
        let mut at = from;
        while let Some(found) = memchr3(b'\r', b'\n', 0, &input[at..]) {
            let special = at + found;
            match (input[special], input.get(special + 1)) {
                (b'\r', Some(b'\n')) => at = special + 2,
                (b'\r', Some(_)) => return Err(Violation::BareCr),
                (b'\r', None) => {
                    self.after_cr = true;
                    out.put_slice(&input[from..special]);
                    return Ok(());
                }
                (b'\n', _) if line_endings == LineEndings::Repair => {
                    out.put_slice(&input[from..special]);
                    out.put_slice(b"\r\n");
                    at = special + 1;
                    from = at;
                }
                (b'\n', _) => return Err(Violation::BareLf),
                _ => return Err(Violation::Nul),
            }
        }
        out.put_slice(&input[from..]);
        Ok(())
    }

    /// To be called at the end of the last chunk.
    ///
    /// # Errors
    /// When the content ends with a CR whose LF never came.
    pub fn finish(&self) -> Result<(), Violation> {
        if self.after_cr { Err(Violation::BareCr) } else { Ok(()) }
    }
}
