//! Content on its way in: after DATA, and in the chunks of BDAT.
//!
//! Content is decoded from the driver's bytes into one new piece per input, and handed out; nothing of it stays here.
//! Too much of it is read to its end and thrown away, so that the client gets to see the 552; but only up to a
//! bound, behind which the 552 comes at once and the session ends.

use bytes::{Bytes, BytesMut};

use super::outbox::Outbox;
use super::session::ServerSession;
use super::state::{Chunks, Data, Ends, Fate, Intake, Open, State};
use super::{CloseReason, Question, Settings, Transaction};
use crate::command::Verb;
use crate::content::{ChunkChecker, ContentDecoder};
use crate::envelope::BodyType;
use crate::reply::{Reply, catalogue};

/// Content beyond the limit that is read before the session ends: at least this much, and at least as much again as
/// a message may have. A mail program that does not say SIZE gets its 552 for all but absurd messages.
const MIN_SWALLOWED: u64 = 64 * 1024 * 1024;

impl ServerSession {
    /// RFC 5321 §4.1.1.4: 354, and all that follows is content.
    pub(super) fn receive_data(&mut self, transaction: Transaction) {
        let decoder = ContentDecoder::new(self.settings.line_endings);
        self.talk.state = State::Data(Box::new(Data { intake: Intake::new(transaction), decoder }));
        self.reply(&catalogue::start_content());
        self.await_content();
    }

    /// Content after DATA; says how much of the input it was.
    pub(super) fn data(&mut self, input: &[u8]) -> usize {
        self.await_content();
        let State::Data(data) = &mut self.talk.state else { return 0 };
        let mut piece = BytesMut::new();
        match data.decoder.decode(input, &mut piece) {
            Err(violation) => {
                self.violation(violation);
                input.len()
            }
            Ok(decoded) => {
                data.intake.add(piece.freeze(), self.settings.limits.message_size, &mut self.outbox);
                if decoded.ended {
                    self.data_complete();
                } else if data.intake.transaction.size > most_read(&self.settings) {
                    self.end_too_large();
                }
                decoded.consumed
            }
        }
    }

    /// RFC 3030 §2: the octets of this size follow at once.
    pub(super) fn begin_chunk(&mut self, size: u64, last: bool) {
        let mut chunks = match std::mem::replace(&mut self.talk.state, State::Ready) {
            State::Transaction(gathering) => Box::new(Chunks::new(gathering.transaction, &self.settings)),
            State::Chunks(chunks) => chunks,
            other => return self.talk.state = other,
        };
        if chunks.intake.fate == Fate::Fails {
            self.talk.state = State::Chunks(chunks);
            return self.refuse_chunk(size, last, catalogue::bad_sequence(&Verb::Bdat));
        }
        let total = chunks.intake.transaction.size.saturating_add(size);
        if total > most_read(&self.settings) {
            return self.end_too_large();
        }
        if total > self.settings.limits.message_size {
            chunks.intake.fail(&mut self.outbox);
        }
        let ends = if last { Ends::Message } else { Ends::Chunk };
        self.talk.state = State::Chunk { chunks, size, left: size, ends };
        self.await_content();
        if size == 0 {
            self.chunk_complete();
        }
    }

    /// Content of a chunk; says how much of the input it was.
    pub(super) fn chunk(&mut self, input: &[u8]) -> usize {
        self.await_content();
        let State::Chunk { chunks, left, .. } = &mut self.talk.state else { return 0 };
        let (here, consumed) = up_to(input, *left);
        *left -= consumed as u64;
        let complete = *left == 0;
        let mut piece = BytesMut::with_capacity(here.len());
        if let Err(violation) = chunks.checker.check(here, &mut piece) {
            self.violation(violation);
            return input.len();
        }
        chunks.intake.add(piece.freeze(), self.settings.limits.message_size, &mut self.outbox);
        if complete {
            self.chunk_complete();
        }
        consumed
    }

    /// RFC 3030 §2: the octets of a chunk that is refused are read and thrown away, then comes the reply. A refused
    /// last chunk ends the transaction that had begun with the chunks before it.
    pub(super) fn refuse_chunk(&mut self, size: u64, last: bool, reply: Reply) {
        if size > most_read(&self.settings) {
            return self.end(&reply, CloseReason::Violation);
        }
        let then = match std::mem::replace(&mut self.talk.state, State::Ready) {
            State::Chunks(_) if last => State::Ready,
            state => state,
        };
        self.talk.state = State::Skip { left: size, reply, then: Box::new(then) };
        self.await_content();
        if size == 0 {
            self.skip(b"");
        }
    }

    /// The octets of a refused chunk; says how many of the input they were.
    pub(super) fn skip(&mut self, input: &[u8]) -> usize {
        self.await_content();
        let State::Skip { left, .. } = &mut self.talk.state else { return 0 };
        let (_, consumed) = up_to(input, *left);
        *left -= consumed as u64;
        if *left == 0
            && let State::Skip { reply, then, .. } = std::mem::replace(&mut self.talk.state, State::Ready)
        {
            self.talk.state = *then;
            self.await_command();
            self.refuse(&reply);
        }
        consumed
    }

    fn data_complete(&mut self) {
        if let State::Data(data) = std::mem::replace(&mut self.talk.state, State::Ready) {
            self.take(data.intake);
        }
    }

    fn chunk_complete(&mut self) {
        self.await_command();
        match std::mem::replace(&mut self.talk.state, State::Ready) {
            State::Chunk { chunks, ends: Ends::Message, .. } => self.last_chunk_complete(*chunks),
            State::Chunk { chunks, size, ends: Ends::Chunk, .. } => {
                let fate = chunks.intake.fate;
                self.talk.state = State::Chunks(chunks);
                match fate {
                    Fate::Streams => self.reply(&catalogue::chunk_ok(size)),
                    Fate::Fails => self.refuse(&catalogue::too_large(self.settings.limits.message_size)),
                }
            }
            other => self.talk.state = other,
        }
    }

    fn last_chunk_complete(&mut self, chunks: Chunks) {
        match chunks.checker.finish() {
            Err(violation) => self.violation(violation),
            Ok(()) => self.take(chunks.intake),
        }
    }

    /// The point where the driver is asked to take responsibility (RFC 5321 §6.1).
    fn take(&mut self, intake: Intake) {
        self.await_command();
        self.dialogue.content(intake.transaction.size);
        match intake.fate {
            Fate::Streams => self.ask(Question::Take(intake.transaction), Open::Take),
            Fate::Fails => self.refuse(&catalogue::too_large(self.settings.limits.message_size)),
        }
    }

    fn end_too_large(&mut self) {
        let reply = catalogue::too_large(self.settings.limits.message_size);
        self.end(&reply, CloseReason::Refused);
    }
}

impl Chunks {
    fn new(transaction: Transaction, settings: &Settings) -> Self {
        let checker = match transaction.params.body {
            Some(BodyType::BinaryMime) => ChunkChecker::binary(),
            _ => ChunkChecker::new(settings.line_endings),
        };
        Self { intake: Intake::new(transaction), checker }
    }
}

impl Intake {
    fn new(transaction: Transaction) -> Self {
        Self { transaction, fate: Fate::Streams }
    }

    fn add(&mut self, piece: Bytes, limit: u64, outbox: &mut Outbox) {
        self.transaction.size += piece.len() as u64;
        self.transaction.eight_bit |= !piece.is_ascii();
        if self.fate == Fate::Streams && self.transaction.size > limit {
            self.fail(outbox);
        }
        if self.fate == Fate::Streams {
            outbox.body(piece);
        }
    }

    fn fail(&mut self, outbox: &mut Outbox) {
        self.fate = Fate::Fails;
        outbox.discard();
    }
}

/// Octets of content, wanted or not, behind which a session ends.
fn most_read(settings: &Settings) -> u64 {
    let limit = settings.limits.message_size;
    limit.saturating_add(limit.max(MIN_SWALLOWED))
}

fn up_to(input: &[u8], left: u64) -> (&[u8], usize) {
    let count = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    (&input[..count], count)
}
