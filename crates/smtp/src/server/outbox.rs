//! What the driver has still to do, in order; replies to a pipelined group are joined into one piece.

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};

use super::{CloseReason, Output, Question};
use crate::command::Introduction;
use crate::reply::Reply;

/// Replies of a long pipelined group are handed out in pieces of about this many octets.
const ENOUGH: usize = 4096;

/// Outputs and replies that wait to become one. Every piece of content is followed by a question about it, or by
/// [`Output::Discard`] before anything else can claim it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: VecDeque<Output>,
    replies: BytesMut,
    streamed: Streamed,
    last_refusal: Option<Reply>,
}

/// Whether content went out that nobody has decided about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Streamed {
    #[default]
    Nothing,
    Something,
}

impl Outbox {
    pub(super) fn next(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Adds a reply to the group; [`flush`](Self::flush) lets it go.
    pub(super) fn reply(&mut self, reply: &Reply) {
        // Writing to memory cannot fail.
        let _ = write!(self.replies, "{reply}");
        if reply.is_transient() || reply.is_permanent() {
            self.last_refusal = Some(reply.clone());
        }
        if self.replies.len() >= ENOUGH {
            self.flush();
        }
    }

    pub(super) fn last_refusal(&self) -> Option<&Reply> {
        self.last_refusal.as_ref()
    }

    /// Sends the replies so far.
    pub(super) fn flush(&mut self) {
        if !self.replies.is_empty() {
            self.outputs.push_back(Output::Send(self.replies.split().freeze()));
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        if matches!(question, Question::Take(_)) {
            self.streamed = Streamed::Nothing;
        }
        self.outputs.push_back(Output::Ask(question));
    }

    pub(super) fn body(&mut self, content: Bytes) {
        if !content.is_empty() {
            self.streamed = Streamed::Something;
            self.outputs.push_back(Output::Body(content));
        }
    }

    /// Takes back what was streamed and not asked about, if there is any.
    pub(super) fn discard(&mut self) {
        if std::mem::take(&mut self.streamed) == Streamed::Something {
            self.outputs.push_back(Output::Discard);
        }
    }

    pub(super) fn introduce(&mut self, introduction: Introduction) {
        self.outputs.push_back(Output::Introduce(introduction));
    }

    pub(super) fn start_tls(&mut self) {
        self.flush();
        self.outputs.push_back(Output::StartTls);
    }

    pub(super) fn close(&mut self, reason: CloseReason) {
        self.discard();
        self.flush();
        self.outputs.push_back(Output::Close(reason));
    }
}
