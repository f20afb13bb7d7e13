//! Playing a transcript against a server, at one of three paces.

use std::time::Duration;

use super::{Numbered, Step, Transcript};

/// How the client's bytes are cut into pieces. The replies must be the same at each pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// One line of the file at a time.
    AsWritten,
    /// One byte at a time.
    ByteByByte,
    /// All that RFC 2920 allows at once.
    Pipelined,
}

/// The server's end of a session, as far as a transcript sees it.
pub trait Server {
    /// The client sends these octets, in one piece.
    fn send(&mut self, octets: &[u8]);
    /// The next line of the server's, without CRLF; over a network, waits for it. `None`: there will be none.
    fn line(&mut self) -> Option<String>;
    /// Whether nothing was said beyond what [`line`](Self::line) gave. Over a network: nothing that is there already.
    fn is_quiet(&mut self) -> bool;
    /// Does the handshake, if the server is ready for it.
    fn start_tls(&mut self) -> Result<(), String>;
    /// Lets time pass.
    fn wait(&mut self, time: Duration);
    /// Tells the server to shut down.
    fn drain(&mut self);
    /// The client closes.
    fn hang_up(&mut self);
    /// Why the server closed, in lower case and one word; over a network, `closed` for any reason. `None`: it did not.
    fn closed(&mut self) -> Option<String>;
    /// What the policy was asked last.
    fn asked(&mut self) -> Option<String>;
    /// The content that was taken last.
    fn body(&mut self) -> Option<Vec<u8>>;
    /// Whether no content is held, and none was taken since [`body`](Self::body) was asked last.
    fn discarded(&mut self) -> bool;
}

/// Plays the dialogue.
///
/// # Errors
/// In words, with the line of the file where the server did something else.
pub fn run(transcript: &Transcript, pace: Pace, server: &mut impl Server) -> Result<(), String> {
    let mut player = Player { server, pace, line: 0 };
    let mut steps = transcript.steps.as_slice();
    let mut content = Content::No;
    while let [first, rest @ ..] = steps {
        let taken = match (&first.step, pace) {
            (Step::Send(_), Pace::Pipelined) => group_length(steps, content),
            _ => 1,
        };
        if taken > 1 {
            player.group(&steps[..taken])?;
            steps = &steps[taken..];
        } else {
            player.play(first)?;
            steps = rest;
        }
        content = if first.step.asks_for_content() { Content::Data } else { Content::No };
    }
    player.expect_quiet()
}

struct Player<'a, S> {
    server: &'a mut S,
    pace: Pace,
    line: usize,
}

impl<S: Server> Player<'_, S> {
    /// Everything of a group is sent at once; then the replies are looked at.
    fn group(&mut self, group: &[Numbered]) -> Result<(), String> {
        self.line = group[0].line;
        self.expect_quiet()?;
        let sent = group.iter().filter_map(|numbered| match &numbered.step {
            Step::Send(octets) => Some(octets.as_slice()),
            _ => None,
        });
        self.server.send(&sent.collect::<Vec<_>>().concat());
        let mut rest = group.iter().filter(|numbered| !matches!(numbered.step, Step::Send(_)));
        rest.try_for_each(|numbered| self.play(numbered))
    }

    fn play(&mut self, numbered: &Numbered) -> Result<(), String> {
        self.line = numbered.line;
        match &numbered.step {
            Step::Send(octets) => {
                self.send(octets);
                Ok(())
            }
            Step::Packet(octets) => {
                self.server.send(octets);
                Ok(())
            }
            Step::Expect(expected) => self.expect(expected),
            Step::ExpectCode(code) => self.expect_code(code),
            Step::Tls => {
                self.expect_quiet()?;
                let result = self.server.start_tls();
                result.or_else(|error| self.fail(&error))
            }
            Step::Wait(time) => {
                self.server.wait(*time);
                Ok(())
            }
            Step::Drain => {
                self.server.drain();
                Ok(())
            }
            Step::HangUp => {
                self.server.hang_up();
                Ok(())
            }
            Step::Close(reason) => self.expect_close(reason.as_deref()),
            Step::Asked(expected) => {
                let asked = self.server.asked().unwrap_or_default();
                self.same("the policy was asked", &asked, expected)
            }
            Step::Body(expected) => {
                let body = self.server.body().unwrap_or_default();
                self.same("taken was", &body.escape_ascii().to_string(), &expected.escape_ascii().to_string())
            }
            Step::Discarded => {
                let discarded = self.server.discarded();
                if discarded { Ok(()) } else { self.fail("content was not discarded") }
            }
        }
    }

    fn send(&mut self, octets: &[u8]) {
        match self.pace {
            Pace::ByteByByte => octets.chunks(1).for_each(|octet| self.server.send(octet)),
            Pace::AsWritten | Pace::Pipelined => self.server.send(octets),
        }
    }

    fn expect(&mut self, expected: &str) -> Result<(), String> {
        let line = self.server.line().unwrap_or_else(|| "nothing".to_owned());
        self.same("the server said", &line, expected)
    }

    fn expect_code(&mut self, code: &str) -> Result<(), String> {
        loop {
            let line = self.server.line().unwrap_or_else(|| "nothing".to_owned());
            match line.strip_prefix(code) {
                Some(rest) if rest.starts_with('-') => {}
                Some(rest) if rest.starts_with(' ') => return Ok(()),
                _ => return self.same("the server said", &line, &format!("{code} …")),
            }
        }
    }

    fn expect_close(&mut self, expected: Option<&str>) -> Result<(), String> {
        self.expect_quiet()?;
        let closed = self.server.closed();
        match (closed, expected) {
            (None, _) => self.fail("the server did not close"),
            (Some(reason), Some(expected)) if reason != "closed" => {
                self.same("closed because of", &reason, expected)
            }
            _ => Ok(()),
        }
    }

    fn expect_quiet(&mut self) -> Result<(), String> {
        if self.server.is_quiet() {
            return Ok(());
        }
        let line = self.server.line().unwrap_or_default();
        self.fail(&format!("the server said more: {line}"))
    }

    fn same(&self, what: &str, actual: &str, expected: &str) -> Result<(), String> {
        if actual == expected {
            return Ok(());
        }
        self.fail(&format!("{what}\n    {actual}\n  instead of\n    {expected}"))
    }

    fn fail(&self, what: &str) -> Result<(), String> {
        Err(format!("line {} ({:?}): {what}", self.line, self.pace))
    }
}

/// How many steps from here on can be played as one group: up to and including the replies to the first command that
/// a client must wait for (RFC 2920 §3.1), or up to the first step that is neither command nor reply. Commands may
/// follow the end of content at once.
fn group_length(steps: &[Numbered], mut content: Content) -> usize {
    for (index, numbered) in steps.iter().enumerate() {
        match &numbered.step {
            Step::Send(octets) if content.ends_group(octets) => return index + 1,
            Step::Send(_) | Step::Expect(_) | Step::ExpectCode(_) => {}
            _ => return index,
        }
    }
    steps.len()
}

/// What the octets that a client sends belong to.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// Commands.
    No,
    /// Content, until a line with a dot.
    Data,
    /// A chunk of this many octets.
    Chunk(usize),
}

impl Content {
    fn ends_group(&mut self, octets: &[u8]) -> bool {
        match self {
            Self::Data if octets == b".\r\n" => *self = Self::No,
            Self::Data => {}
            Self::Chunk(left) if *left > octets.len() => *left -= octets.len(),
            Self::Chunk(_) => *self = Self::No,
            Self::No => return self.command_ends_group(octets),
        }
        false
    }

    fn command_ends_group(&mut self, octets: &[u8]) -> bool {
        let line = String::from_utf8_lossy(octets).to_ascii_uppercase();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("MAIL" | "RCPT" | "RSET") => false,
            Some("BDAT") => {
                if let Some(size @ 1..) = words.next().and_then(|size| size.parse().ok()) {
                    *self = Self::Chunk(size);
                }
                false
            }
            _ => true,
        }
    }
}

impl Step {
    fn asks_for_content(&self) -> bool {
        match self {
            Self::Expect(line) => line.starts_with("354"),
            Self::ExpectCode(code) => code == "354",
            _ => false,
        }
    }
}
