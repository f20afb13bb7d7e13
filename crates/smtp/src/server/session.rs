//! The machine itself: inputs in, outputs out, bytes cut into lines and content.
//!
//! Bytes are worked on where the driver has them; only an unfinished line, or what comes while a question is open, is
//! copied aside. So a session never holds more than one line of the maximal length and what it was handed last.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf, BytesMut};

use super::budget::{Budget, Spent};
use super::clock::{Clock, Overdue};
use super::dialogue::Dialogue;
use super::outbox::Outbox;
use super::state::{Conversation, Open, State};
use super::{Beginning, CloseReason, FrontEnd, Hello, Input, Output, Question, Settings};
use crate::content::Violation;
use crate::line::{Line, MAX_AUTH_LINE, command_line_limit, next_line, skip_line};
use crate::reply::{Reply, catalogue};
use crate::sasl::Nonces;
use crate::tls::TlsFacts;

/// The most of one overlong line that is read to get at its end; behind that the session ends.
const MAX_SKIPPED_LINE: usize = 64 * 1024;

/// One client's session on a listener.
pub struct ServerSession {
    pub(super) settings: Arc<Settings>,
    pub(super) talk: Conversation,
    pub(super) open: Option<Open>,
    pub(super) outbox: Outbox,
    pub(super) budget: Budget,
    pub(super) clock: Clock,
    pub(super) drain: Drain,
    pub(super) nonces: Nonces,
    pub(super) front_end: FrontEnd,
    pub(super) dialogue: Dialogue,
    buffer: BytesMut,
    overlong: Option<usize>,
}

/// Whether the server shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    No,
    Asked,
}

impl ServerSession {
    /// Begins a session. The first output asks whether the client may have one.
    pub fn new(settings: Arc<Settings>, beginning: Beginning, now: Instant) -> Self {
        let mut session = Self {
            clock: Clock::new(now, settings.timeouts.session),
            settings,
            talk: Conversation::new(beginning.tls),
            open: None,
            outbox: Outbox::default(),
            budget: Budget::default(),
            drain: Drain::No,
            nonces: Nonces::new(beginning.seed),
            front_end: beginning.front_end,
            dialogue: Dialogue::new(now),
            buffer: BytesMut::new(),
            overlong: None,
        };
        if let Some(facts) = &session.talk.tls {
            session.dialogue.tls(&facts.version, &facts.cipher);
        }
        session.ask(Question::Connect, Open::Connect);
        session
    }

    /// The last 4yz or 5yz that was said, whoever decided it: for whoever explains why a client got nowhere.
    pub fn last_refusal(&self) -> Option<&Reply> {
        self.outbox.last_refusal()
    }

    /// What was said so far, without anything that is secret.
    pub fn dialogue(&self) -> &Dialogue {
        &self.dialogue
    }

    /// Writes nothing down of what is said, where nobody wants to know it.
    pub fn keep_no_dialogue(&mut self) {
        self.dialogue.stop();
    }

    /// Takes in what happened. [`Input::Time`] comes before every other input, so that the session knows the time.
    pub fn handle(&mut self, input: Input<'_>) {
        if self.is_closed() {
            return;
        }
        match input {
            Input::Bytes(bytes) => self.bytes(bytes),
            Input::Closed => self.close(CloseReason::ClientLeft),
            Input::TlsStarted(facts) => self.tls_started(facts),
            Input::Verdict(verdict) => {
                self.verdict(verdict);
                self.drain_if_idle();
                self.resume();
            }
            Input::Time(now) => self.time(now),
            Input::Drain => self.drain = Drain::Asked,
        }
        self.drain_if_idle();
        if self.open.is_none() {
            self.outbox.flush();
        }
    }

    /// The next thing to do. `None`: nothing but to wait for an input.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.outbox.next() {
            return Some(output);
        }
        if self.open.is_some() || self.is_closed() { None } else { self.clock.news() }
    }

    /// The facts about TLS, once it has started.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.talk.tls.as_ref()
    }

    /// Who is signed in.
    pub fn user(&self) -> Option<&str> {
        self.talk.user.as_deref()
    }

    /// What the client calls itself, since EHLO or HELO was accepted.
    pub fn hello(&self) -> Option<&Hello> {
        self.talk.hello.as_ref()
    }

    /// Whether the driver should read more bytes: not while a question is open, a handshake is due, or all is over.
    pub fn wants_input(&self) -> bool {
        self.open.is_none() && !matches!(self.talk.state, State::Handshake | State::Closed)
    }

    /// Answers yes.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.dialogue.reply(reply);
        self.outbox.reply(reply);
    }

    /// Answers no, which counts.
    pub(super) fn refuse(&mut self, reply: &Reply) {
        self.reply(reply);
        if let Err(spent) = self.budget.error(&self.settings.limits) {
            self.end_spent(spent);
        }
    }

    pub(super) fn end_spent(&mut self, spent: Spent) {
        let hostname = &self.settings.hostname;
        let reply = match spent {
            Spent::Commands => catalogue::too_many_commands(hostname),
            Spent::Errors => catalogue::too_many_errors(hostname),
            Spent::SignIns => catalogue::too_many_sign_ins(hostname),
        };
        self.end(&reply, CloseReason::TooManyErrors);
    }

    /// Answers a last time and closes.
    pub(super) fn end(&mut self, reply: &Reply, reason: CloseReason) {
        if !self.is_closed() {
            self.reply(reply);
            self.close(reason);
        }
    }

    /// RFC 5321 §2.3.8 and the attacks known as SMTP smuggling: never split, never passed on, never continued.
    pub(super) fn violation(&mut self, violation: Violation) {
        self.end(&catalogue::bare_octet(&violation), CloseReason::Violation);
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        if let Some(octets) = self.talk.state.content() {
            self.dialogue.content(octets);
        }
        self.talk.state = State::Closed;
        self.open = None;
        self.buffer = BytesMut::new();
        self.outbox.close(reason);
    }

    pub(super) fn ask(&mut self, question: Question, open: Open) {
        // Deciding about these may take a while: the client should have the replies so far.
        if matches!(question, Question::Authenticate(_) | Question::Take(_)) {
            self.outbox.flush();
        }
        self.open = Some(open);
        self.outbox.ask(question);
    }

    pub(super) fn await_command(&mut self) {
        self.clock.restart(self.settings.timeouts.command);
    }

    pub(super) fn await_content(&mut self) {
        self.clock.restart(self.settings.timeouts.content);
    }

    fn is_closed(&self) -> bool {
        matches!(self.talk.state, State::Closed)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if matches!(self.talk.state, State::Handshake) {
            // In clear, behind our 220: an injection (CVE-2011-0411), or a client that cannot speak TLS.
            return self.close(CloseReason::Violation);
        }
        if self.open.is_none() && self.buffer.is_empty() {
            let consumed = self.advance(bytes);
            if !self.is_closed() {
                self.buffer.extend_from_slice(&bytes[consumed..]);
            }
        } else {
            self.buffer.extend_from_slice(bytes);
            self.resume();
        }
    }

    /// Goes on with what was put aside.
    fn resume(&mut self) {
        if self.open.is_some() || self.buffer.is_empty() {
            return;
        }
        let mut pending = std::mem::take(&mut self.buffer);
        let consumed = self.advance(&pending);
        if !self.is_closed() {
            pending.advance(consumed);
            self.buffer = pending;
        }
    }

    /// Works through bytes until more are needed or a question is open; says how many are done with.
    fn advance(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while self.wants_input() && at < input.len() {
            match self.step(&input[at..]) {
                0 => break,
                consumed => at += consumed,
            }
        }
        at
    }

    fn step(&mut self, input: &[u8]) -> usize {
        match self.talk.state {
            State::Data(_) => self.data(input),
            State::Chunk { .. } => self.chunk(input),
            State::Skip { .. } => self.skip(input),
            _ if self.overlong.is_some() => self.overlong(input),
            _ => self.line(input),
        }
    }

    fn line(&mut self, input: &[u8]) -> usize {
        let limit = match self.talk.state {
            State::Exchange(_) | State::Protest(_) => MAX_AUTH_LINE,
            _ => command_line_limit(input),
        };
        match next_line(input, limit) {
            Line::Complete { line, consumed } => {
                self.await_command();
                self.complete_line(line, input.len() > consumed);
                consumed
            }
            Line::Incomplete => 0,
            Line::Violation(violation) => {
                self.violation(violation);
                input.len()
            }
            Line::TooLong => {
                self.overlong = Some(0);
                self.dialogue.overlong();
                self.overlong(input)
            }
        }
    }

    fn complete_line(&mut self, line: &[u8], more: bool) {
        match std::mem::replace(&mut self.talk.state, State::Ready) {
            State::Exchange(exchange) => {
                self.dialogue.withheld(line);
                self.exchange_line(exchange, line);
            }
            // Whatever the line says.
            State::Protest(reply) => {
                self.dialogue.withheld(line);
                self.failed_sign_in(&reply);
            }
            state => {
                self.talk.state = state;
                self.command_line(line, more);
            }
        }
    }

    /// RFC 5321 §4.5.3.1.4: drops the line to its end and answers once, when the end has come.
    fn overlong(&mut self, input: &[u8]) -> usize {
        match skip_line(input) {
            Err(violation) => {
                self.violation(violation);
                input.len()
            }
            Ok(skipped) => {
                let total = self.overlong.unwrap_or_default() + skipped.consumed;
                self.overlong = Some(total);
                if total > MAX_SKIPPED_LINE {
                    self.end(&catalogue::line_too_long(), CloseReason::Violation);
                } else if skipped.ended {
                    self.overlong = None;
                    self.await_command();
                    self.overlong_line();
                }
                skipped.consumed
            }
        }
    }

    fn overlong_line(&mut self) {
        if self.talk.state.reads_answers() {
            self.talk.state = State::Ready;
            self.failed_sign_in(&catalogue::auth_line_too_long());
        } else {
            self.refuse(&catalogue::line_too_long());
        }
    }

    fn tls_started(&mut self, facts: TlsFacts) {
        if matches!(self.talk.state, State::Handshake) {
            self.dialogue.tls(&facts.version, &facts.cipher);
            self.talk = Conversation::new(Some(facts));
            self.await_command();
        }
    }

    fn time(&mut self, now: Instant) {
        self.clock.set(now);
        self.dialogue.time(now);
        if self.open.is_some() {
            // We, not the client, keep the session waiting; and the answer may be that the message is safe.
            return;
        }
        let Some(overdue) = self.clock.overdue() else { return };
        if matches!(self.talk.state, State::Handshake) {
            // The client expects TLS now, so no text.
            return self.close(CloseReason::TimedOut);
        }
        let reply = match overdue {
            Overdue::Client => catalogue::timed_out(&self.settings.hostname),
            Overdue::Session => catalogue::session_too_long(&self.settings.hostname),
        };
        self.end(&reply, CloseReason::TimedOut);
    }

    fn drain_if_idle(&mut self) {
        if self.drain == Drain::Asked && self.open.is_none() && self.talk.state.is_idle() {
            self.end_drained();
        }
    }

    /// RFC 5321 §3.8: 421 when the service shuts down.
    pub(super) fn end_drained(&mut self) {
        self.end(&catalogue::shutting_down(&self.settings.hostname), CloseReason::Drained);
    }
}

/// Shows where the session stands, and none of the bytes it holds: they may be credentials.
impl std::fmt::Debug for ServerSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSession")
            .field("talk", &self.talk)
            .field("open", &self.open)
            .field("budget", &self.budget)
            .field("drain", &self.drain)
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
