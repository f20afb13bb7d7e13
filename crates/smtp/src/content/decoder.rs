//! The receiving side of DATA (RFC 5321 §4.5.2).

use bytes::{BufMut, BytesMut};
use memchr::memchr3;

use super::Violation;
use crate::server::LineEndings;

/// Takes the content after DATA off the wire: removes the stuffed dots and finds the end.
#[derive(Debug, Clone)]
pub struct ContentDecoder {
    line_endings: LineEndings,
    state: State,
}

/// How far [`ContentDecoder::decode`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// How many octets of the input belong to the content and its end; what follows are commands.
    pub consumed: usize,
    /// Whether the end was found. Until then all input is consumed.
    pub ended: bool,
}

/// What the next octet follows. Octets that the state stands for are not yet written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A line end, which is also what the content begins with.
    LineStart(Ended),
    /// A dot at the start of a line.
    Dot(Ended),
    /// A dot and CR at the start of a line.
    DotCr(Ended),
    /// Anything else.
    Text,
    /// A CR.
    Cr,
}

/// How the line before ended. Only behind a real CRLF can a dot end the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    CrLf,
    BareLf,
}

impl ContentDecoder {
    /// A decoder at the start of content. The CRLF of the DATA command counts as the line end before it, so a first
    /// line of a single dot ends it.
    pub fn new(line_endings: LineEndings) -> Self {
        Self { line_endings, state: State::LineStart(Ended::CrLf) }
    }

    /// Decodes the next piece, appending what it means to `out`.
    ///
    /// # Errors
    /// The peer's fault; `out` then holds part of a message that must be thrown away, and the session must end.
    pub fn decode(&mut self, input: &[u8], out: &mut BytesMut) -> Result<Decoded, Violation> {
        out.reserve(input.len());
        let mut at = 0;
        while at < input.len() {
            match self.step(&input[at..], out)? {
                Step::Took(octets) => at += octets,
                Step::End => {
                    return Ok(Decoded { consumed: at + 1, ended: true });
                }
            }
        }
        Ok(Decoded { consumed: at, ended: false })
    }

    /// One step on input that is not empty.
    fn step(&mut self, input: &[u8], out: &mut BytesMut) -> Result<Step, Violation> {
        match (self.state, input[0]) {
            (State::LineStart(ended), b'.') => Ok(self.enter(State::Dot(ended), 1)),
            (State::Dot(ended), b'\r') => Ok(self.enter(State::DotCr(ended), 1)),
            (State::Dot(_), b'\n') => {
                out.put_u8(b'.');
                self.bare_lf(out)?;
                Ok(self.enter(State::LineStart(Ended::BareLf), 1))
            }
            // RFC 5321 §4.5.2: the first of more characters is deleted.
            (State::LineStart(_) | State::Dot(_), _) => Ok(self.enter(State::Text, 0)),
            (State::DotCr(Ended::CrLf), b'\n') => Ok(Step::End),
            (State::DotCr(Ended::BareLf), b'\n') => {
                out.put_slice(b".\r\n");
                Ok(self.enter(State::LineStart(Ended::CrLf), 1))
            }
            (State::Cr, b'\n') => {
                out.put_slice(b"\r\n");
                Ok(self.enter(State::LineStart(Ended::CrLf), 1))
            }
            (State::DotCr(_) | State::Cr, _) => Err(Violation::BareCr),
            (State::Text, _) => self.copy_text(input, out).map(Step::Took),
        }
    }

    fn enter(&mut self, state: State, took: usize) -> Step {
        self.state = state;
        Step::Took(took)
    }

    /// The fast path: copies whole lines at once up to one that begins with a dot, and returns how much it took.
    fn copy_text(&mut self, input: &[u8], out: &mut BytesMut) -> Result<usize, Violation> {
        let mut at = 0;
        while let Some(found) = memchr3(b'\r', b'\n', 0, &input[at..]) {
            let special = at + found;
            match (input[special], input.get(special + 1), input.get(special + 2)) {
                (b'\r', Some(b'\n'), Some(next)) if *next != b'.' => at = special + 2,
                (b'\r', Some(b'\n'), _) => {
                    out.put_slice(&input[..special + 2]);
                    self.state = State::LineStart(Ended::CrLf);
                    return Ok(special + 2);
                }
                (b'\r', Some(_), _) => return Err(Violation::BareCr),
                (b'\r', None, _) => {
                    out.put_slice(&input[..special]);
                    self.state = State::Cr;
                    return Ok(input.len());
                }
                (b'\n', ..) => {
                    out.put_slice(&input[..special]);
                    self.bare_lf(out)?;
                    self.state = State::LineStart(Ended::BareLf);
                    return Ok(special + 1);
                }
                _ => return Err(Violation::Nul),
            }
        }
        out.put_slice(input);
        Ok(input.len())
    }

    fn bare_lf(&self, out: &mut BytesMut) -> Result<(), Violation> {
        match self.line_endings {
            LineEndings::Strict => Err(Violation::BareLf),
            LineEndings::Repair => {
                out.put_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

/// What one step did.
enum Step {
    /// This many octets are dealt with; none when only the state changed.
    Took(usize),
    /// The octet was the LF of CRLF.CRLF.
    End,
}
