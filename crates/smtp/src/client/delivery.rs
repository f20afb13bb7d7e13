//! One job on an open session: its transactions, from MAIL to the replies that decide each recipient.
//!
//! A [`Delivery`] is fed with the peer's replies in order and keeps two queues: commands not yet sent and replies
//! still due. With PIPELINING a whole group is sent at once (RFC 2920 §3.1), without it one command at a time; nothing
//! else differs. Where the peer limits recipients per transaction (RFC 9422), the job is split, and the content is
//! asked for again from its start ([`Output::Rewind`]).
//!
//! What it deliberately does not do: open or close the session, or look at the security of the connection; by the
//! time a delivery begins, [`super::ClientSession`] has seen to that.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::content::ContentEncoder;
use crate::extension::Capabilities;
use crate::outcome::{Outcome, Reason, Step, Trouble};
use crate::reply::{Enhanced, Reply};

use super::terms::{Terms, Transfer};
use super::{Job, Output, Protocol, Timeouts};

/// How many commands of one pipelined group may be unanswered. The replies to so many fit into any socket's buffer, so
/// that a driver that writes before it reads cannot dead-lock with the peer (RFC 2920 §3.1).
const GROUP: usize = 100;

/// How many BDAT chunks may be unanswered with PIPELINING.
const CHUNKS: usize = 4;

/// What a session knows of its peer across messages.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) protocol: Protocol,
    pub(super) capabilities: Capabilities,
    pub(super) signed_in: bool,
    /// MAIL commands said since the last EHLO, for MAILMAX (RFC 9422 §4.1).
    pub(super) mails: u64,
    /// Whether a transaction was left open that the next MAIL must not meet: RSET goes before it.
    pub(super) stale: bool,
}

/// One job under way.
#[derive(Debug)]
pub(super) struct Delivery {
    job: Job,
    terms: Terms,
    outcomes: Vec<Option<Outcome>>,
    /// Recipients that no transaction has taken up yet, in order.
    waiting: VecDeque<usize>,
    transaction: Transaction,
    content: Content,
}

/// Whether content was asked for before, so that asking again must begin with a rewind.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Untouched,
    Used,
}

/// What comes after an input.
#[derive(Debug)]
pub(super) enum Progress {
    /// More input is needed.
    Going,
    /// Every recipient has its outcome.
    Done(Vec<Outcome>),
    /// The session cannot go on; the outcomes of [`Delivery::abandon`] tell the rest.
    Broken(Trouble),
}

/// From MAIL to the end of the content.
#[derive(Debug, Default)]
struct Transaction {
    /// Commands to send, and what their replies will be about.
    unsent: VecDeque<(String, Due)>,
    /// What the next replies are about.
    due: VecDeque<Due>,
    /// The recipients in this transaction that the peer took.
    accepted: Vec<usize>,
    stage: Stage,
}

/// What a reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    /// A BDAT chunk that is not the last.
    Chunk,
    /// The end of the content, for all accepted recipients.
    End,
    /// The end of the content, for this recipient (LMTP).
    EndFor(usize),
    /// The end of the empty content that a DATA without recipients was given.
    Nothing,
}

/// Where a transaction is.
#[derive(Debug, Default)]
enum Stage {
    /// MAIL, RCPT, DATA.
    #[default]
    Envelope,
    /// Content goes out dot-stuffed.
    Streaming(ContentEncoder),
    /// Content goes out in chunks.
    Chunking,
    /// The content was ended; its replies are due.
    Ended,
    /// Refused: what was pipelined is still to be answered, and no more will be said.
    Refused,
}

impl Peer {
    /// Whether the peer takes another MAIL (MAILMAX, RFC 9422 §4.1). An absurd limit of none at all counts as one.
    pub(super) fn takes_mail(&self) -> bool {
        self.capabilities.limits.mailmax.is_none_or(|limit| self.mails < u64::from(limit).max(1))
    }

    /// RCPTMAX (RFC 9422 §4.2), or what every server must take (RFC 5321 §4.5.3.1.8).
    fn recipients(&self) -> usize {
        let limit = self.capabilities.limits.rcptmax.unwrap_or(100).max(1);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    fn group(&self) -> usize {
        if self.capabilities.pipelining { GROUP } else { 1 }
    }

    fn chunks(&self) -> usize {
        if self.capabilities.pipelining { CHUNKS } else { 1 }
    }
}

impl Delivery {
    /// Takes up a job; the outcomes at once when nothing of it can be sent on this peer's terms.
    pub(super) fn start(job: Job, peer: &mut Peer, out: &mut VecDeque<Output>) -> Result<Self, Vec<Outcome>> {
        let terms = match Terms::negotiate(&job, &peer.capabilities, peer.signed_in) {
            Ok(terms) => terms,
            Err(outcome) => return Err(vec![outcome; job.to.len()]),
        };
        let mut delivery = Self {
            outcomes: vec![None; job.to.len()],
            waiting: (0..job.to.len()).collect(),
            job,
            terms,
            transaction: Transaction::default(),
            content: Content::Untouched,
        };
        match delivery.next_transaction(peer, out) {
            Progress::Done(outcomes) => Err(outcomes),
            Progress::Going | Progress::Broken(_) => Ok(delivery),
        }
    }

    /// Takes the peer's next reply.
    pub(super) fn reply(&mut self, reply: Reply, peer: &mut Peer, out: &mut VecDeque<Output>) -> Progress {
        let Some(due) = self.transaction.due.pop_front() else {
            return self.too_early(reply);
        };
        let step = due.step();
        let answered = match due {
            Due::Reset => reset(reply, peer),
            Due::Mail => self.mail(reply, peer),
            Due::Rcpt(index) => self.rcpt(index, reply),
            Due::Data => self.data(reply),
            Due::Chunk => self.chunk(reply),
            Due::End => self.end(reply),
            Due::EndFor(index) => self.end_for(index, reply),
            Due::Nothing => Ok(()),
        };
        match answered {
            Ok(()) => self.advance(peer, out),
            Err(Unexpected { why, reply }) => {
                let trouble = Trouble::new(step, Reason::Protocol(why.to_owned()));
                Progress::Broken(trouble.with_reply(Some(reply)))
            }
        }
    }

    /// Takes the next piece of content; ignored when none was asked for.
    pub(super) fn content(&mut self, piece: &[u8], peer: &Peer, out: &mut VecDeque<Output>) {
        let transaction = &mut self.transaction;
        match &mut transaction.stage {
            Stage::Streaming(encoder) => {
                let mut encoded = BytesMut::with_capacity(piece.len() + piece.len() / 32 + 16);
                encoder.encode(piece, &mut encoded);
                out.push_back(Output::Send(encoded.freeze()));
                out.push_back(Output::Content);
            }
            // A chunk of no octets would say nothing.
            Stage::Chunking if piece.is_empty() => out.push_back(Output::Content),
            Stage::Chunking => {
                out.push_back(Output::Send(Bytes::from(format!("BDAT {}\r\n", piece.len()))));
                out.push_back(Output::Send(Bytes::copy_from_slice(piece)));
                transaction.due.push_back(Due::Chunk);
                if transaction.due.len() < peer.chunks() {
                    out.push_back(Output::Content);
                }
            }
            Stage::Envelope | Stage::Ended | Stage::Refused => {}
        }
    }

    /// The content is complete: ends it and waits for the verdict.
    pub(super) fn content_end(&mut self, peer: &Peer, out: &mut VecDeque<Output>) {
        let transaction = &mut self.transaction;
        let last = match &mut transaction.stage {
            Stage::Streaming(encoder) => {
                let mut encoded = BytesMut::new();
                encoder.finish(&mut encoded);
                encoded.freeze()
            }
            Stage::Chunking => Bytes::from_static(b"BDAT 0 LAST\r\n"),
            Stage::Envelope | Stage::Ended | Stage::Refused => return,
        };
        out.push_back(Output::Send(last));
        transaction.stage = Stage::Ended;
        match peer.protocol {
            Protocol::Smtp => transaction.due.push_back(Due::End),
            // RFC 2033 §4.2: one reply for each accepted recipient, in the order of the RCPTs.
            Protocol::Lmtp => transaction.due.extend(transaction.accepted.iter().copied().map(Due::EndFor)),
        }
    }

    /// Whether content is going out now.
    pub(super) fn is_streaming(&self) -> bool {
        matches!(self.transaction.stage, Stage::Streaming(_) | Stage::Chunking)
    }

    /// How far it has come.
    pub(super) fn step(&self) -> Step {
        self.transaction.due.front().map_or(Step::Content, |due| due.step())
    }

    /// How long the next reply may take; `None` when none is due.
    pub(super) fn patience(&self, timeouts: &Timeouts) -> Option<Duration> {
        self.transaction.due.front().map(|due| match due {
            Due::Reset => timeouts.command,
            Due::Mail => timeouts.mail,
            Due::Rcpt(_) => timeouts.rcpt,
            Due::Data => timeouts.data_initiation,
            Due::Chunk | Due::End | Due::EndFor(_) | Due::Nothing => timeouts.data_termination,
        })
    }

    /// The session is over: who has no outcome yet is deferred by this trouble.
    pub(super) fn abandon(self, trouble: &Trouble) -> Vec<Outcome> {
        let open = || Outcome::Deferred(trouble.clone());
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(open)).collect()
    }
}

/// A reply whose code means nothing where it came.
struct Unexpected {
    why: &'static str,
    reply: Reply,
}

/// The replies, one by one: what each decides.
impl Delivery {
    fn mail(&mut self, reply: Reply, peer: &mut Peer) -> Result<(), Unexpected> {
        if reply.is_positive() {
            peer.stale = true;
            return Ok(());
        }
        let outcome = refusal(Step::Mail, reply, "MAIL was answered by neither yes nor no")?;
        // The next transaction would begin with the same MAIL.
        self.waiting.clear();
        self.decide_open(&outcome);
        self.refuse();
        Ok(())
    }

    fn rcpt(&mut self, index: usize, reply: Reply) -> Result<(), Unexpected> {
        if self.outcomes[index].is_some() {
            return Ok(()); // MAIL was refused; this answers what was pipelined behind it.
        }
        if reply.is_positive() {
            self.transaction.accepted.push(index);
            return Ok(());
        }
        if is_too_many(&reply) && !self.transaction.accepted.is_empty() {
            // RFC 5321 §4.5.3.1.10: the rest goes in a transaction of its own.
            self.waiting.push_back(index);
            return Ok(());
        }
        let outcome = refusal(Step::Rcpt, reply, "RCPT was answered by neither yes nor no")?;
        self.outcomes[index] = Some(lenient(outcome));
        Ok(())
    }

    fn data(&mut self, reply: Reply) -> Result<(), Unexpected> {
        if reply.code == 354 {
            self.transaction.stage = Stage::Streaming(ContentEncoder::new());
            return Ok(());
        }
        let outcome = refusal(Step::Data, reply, "DATA was answered by neither 354 nor no")?;
        self.decide_accepted(&outcome);
        self.refuse();
        Ok(())
    }

    fn chunk(&mut self, reply: Reply) -> Result<(), Unexpected> {
        if reply.is_positive() || matches!(self.transaction.stage, Stage::Refused) {
            return Ok(());
        }
        let outcome = refusal(Step::Content, reply, "BDAT was answered by neither yes nor no")?;
        self.decide_accepted(&outcome);
        self.refuse();
        Ok(())
    }

    fn end(&mut self, reply: Reply) -> Result<(), Unexpected> {
        let outcome = verdict(reply)?;
        self.decide_accepted(&outcome);
        Ok(())
    }

    fn end_for(&mut self, index: usize, reply: Reply) -> Result<(), Unexpected> {
        let outcome = verdict(reply)?;
        self.outcomes[index].get_or_insert(outcome);
        Ok(())
    }

    /// A reply when none was due: the peer judges content that it has not seen whole. A refusal is believed, an
    /// acceptance is not. Either way nobody can say any more which reply belongs to what.
    fn too_early(&mut self, reply: Reply) -> Progress {
        let step = self.step();
        if reply.is_transient() || reply.is_permanent() {
            self.decide_accepted(&Outcome::from_reply(step, reply.clone()));
            return Progress::Broken(Trouble::new(step, Reason::Refused).with_reply(Some(reply)));
        }
        let reason = Reason::Protocol("a reply came before the end of the message".to_owned());
        Progress::Broken(Trouble::new(step, reason).with_reply(Some(reply)))
    }

    fn decide_open(&mut self, outcome: &Outcome) {
        for open in self.outcomes.iter_mut().filter(|open| open.is_none()) {
            *open = Some(outcome.clone());
        }
    }

    fn decide_accepted(&mut self, outcome: &Outcome) {
        for index in &self.transaction.accepted {
            self.outcomes[*index].get_or_insert_with(|| outcome.clone());
        }
    }

    /// No more of this transaction is said; what was said is still to be answered.
    fn refuse(&mut self) {
        self.transaction.unsent.clear();
        self.transaction.stage = Stage::Refused;
    }
}

/// The course of a transaction.
impl Delivery {
    /// Begins the next transaction, or is done.
    fn next_transaction(&mut self, peer: &mut Peer, out: &mut VecDeque<Output>) -> Progress {
        self.transaction = Transaction::default();
        let recipients = self.next_recipients(peer);
        if recipients.is_empty() {
            return self.done();
        }
        if !peer.takes_mail() {
            // MAILMAX came in the middle of a job that had to be split.
            self.decide_open(&Outcome::Deferred(Trouble::new(Step::Mail, Reason::Refused)));
            return self.done();
        }
        peer.mails += 1;
        self.transaction.unsent = self.commands(recipients, peer);
        self.send_group(peer, out);
        Progress::Going
    }

    /// As many waiting recipients as fit into a transaction; those that cannot be said get their outcome here.
    fn next_recipients(&mut self, peer: &Peer) -> Vec<(usize, String)> {
        let mut lines = Vec::new();
        while lines.len() < peer.recipients() {
            let Some(index) = self.waiting.pop_front() else {
                break;
            };
            let (to, params) = &self.job.to[index];
            match self.terms.rcpt(to, params) {
                Ok(line) => lines.push((index, line)),
                Err(outcome) => self.outcomes[index] = Some(outcome),
            }
        }
        lines
    }

    /// The transaction's commands. LMTP's DATA waits for the RCPTs (it is the last of a group of its own): a server
    /// that takes DATA without recipients has no reply to give at its end (RFC 2033 §4.2).
    fn commands(&self, recipients: Vec<(usize, String)>, peer: &Peer) -> VecDeque<(String, Due)> {
        let reset = peer.stale.then(|| ("RSET\r\n".to_owned(), Due::Reset));
        let mail = (self.terms.mail.clone(), Due::Mail);
        let rcpts = recipients.into_iter().map(|(index, line)| (line, Due::Rcpt(index)));
        let data = (self.terms.transfer == Transfer::Data).then(|| ("DATA\r\n".to_owned(), Due::Data));
        reset.into_iter().chain([mail]).chain(rcpts).chain(data).collect()
    }

    fn send_group(&mut self, peer: &Peer, out: &mut VecDeque<Output>) {
        let transaction = &mut self.transaction;
        let mut bytes = BytesMut::new();
        while transaction.due.len() < peer.group() {
            let alone = peer.protocol == Protocol::Lmtp && !transaction.due.is_empty();
            if alone && matches!(transaction.unsent.front(), Some((_, Due::Data))) {
                break;
            }
            let Some((line, due)) = transaction.unsent.pop_front() else {
                break;
            };
            bytes.extend_from_slice(line.as_bytes());
            transaction.due.push_back(due);
        }
        out.push_back(Output::Send(bytes.freeze()));
    }

    /// Does what is to be done after a reply.
    fn advance(&mut self, peer: &mut Peer, out: &mut VecDeque<Output>) -> Progress {
        let transaction = &mut self.transaction;
        if matches!(transaction.stage, Stage::Chunking) && transaction.due.len() + 1 == peer.chunks() {
            out.push_back(Output::Content);
            return Progress::Going;
        }
        if !transaction.due.is_empty() {
            return Progress::Going;
        }
        match &transaction.stage {
            Stage::Envelope => self.after_envelope(peer, out),
            Stage::Streaming(_) => self.begin_content(out),
            Stage::Chunking => Progress::Going,
            Stage::Ended => {
                // RFC 5321 §4.1.1.4: the end of the content leaves nothing behind.
                peer.stale = false;
                self.next_transaction(peer, out)
            }
            Stage::Refused => self.next_transaction(peer, out),
        }
    }

    /// Every command sent so far was answered, and DATA has not been.
    fn after_envelope(&mut self, peer: &mut Peer, out: &mut VecDeque<Output>) -> Progress {
        let transaction = &mut self.transaction;
        match transaction.unsent.front() {
            Some((_, Due::Data)) | None if transaction.accepted.is_empty() => {
                self.next_transaction(peer, out)
            }
            Some(_) => {
                self.send_group(peer, out);
                Progress::Going
            }
            None => {
                transaction.stage = Stage::Chunking;
                self.ask_content(out)
            }
        }
    }

    /// 354 came.
    fn begin_content(&mut self, out: &mut VecDeque<Output>) -> Progress {
        if !self.transaction.accepted.is_empty() {
            return self.ask_content(out);
        }
        // RFC 2920 §3.1: DATA was pipelined and taken though there is no recipient; no octet of the message goes out.
        out.push_back(Output::Send(Bytes::from_static(b".\r\n")));
        self.transaction.due.push_back(Due::Nothing);
        self.transaction.stage = Stage::Ended;
        Progress::Going
    }

    fn ask_content(&mut self, out: &mut VecDeque<Output>) -> Progress {
        if std::mem::replace(&mut self.content, Content::Used) == Content::Used {
            out.push_back(Output::Rewind);
        }
        out.push_back(Output::Content);
        Progress::Going
    }

    fn done(&mut self) -> Progress {
        let missing = || Outcome::Deferred(Trouble::new(Step::Content, Reason::ConnectionLost));
        let outcomes = std::mem::take(&mut self.outcomes);
        Progress::Done(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect())
    }
}

impl Due {
    fn step(self) -> Step {
        match self {
            Self::Reset | Self::Mail => Step::Mail,
            Self::Rcpt(_) => Step::Rcpt,
            Self::Data => Step::Data,
            Self::Chunk | Self::End | Self::EndFor(_) | Self::Nothing => Step::Content,
        }
    }
}

/// RSET's reply (RFC 5321 §4.1.1.5: nothing but 250 makes sense).
fn reset(reply: Reply, peer: &mut Peer) -> Result<(), Unexpected> {
    if !reply.is_positive() {
        return Err(Unexpected { why: "RSET was refused", reply });
    }
    peer.stale = false;
    Ok(())
}

/// A refusal as an outcome; a reply that is none breaks the protocol.
fn refusal(step: Step, reply: Reply, why: &'static str) -> Result<Outcome, Unexpected> {
    if reply.is_transient() || reply.is_permanent() {
        return Ok(Outcome::from_reply(step, reply));
    }
    Err(Unexpected { why, reply })
}

/// What the reply to the end of the content means.
fn verdict(reply: Reply) -> Result<Outcome, Unexpected> {
    if reply.is_positive() {
        return Ok(Outcome::Delivered(Some(reply)));
    }
    refusal(Step::Content, reply, "the message was answered by neither yes nor no")
}

/// Whether a reply to RCPT says that the transaction has recipients enough (RFC 3463 §3.6: X.5.3).
fn is_too_many(reply: &Reply) -> bool {
    matches!(reply.code, 452 | 552) && matches!(reply.enhanced, Some(Enhanced { subject: 5, detail: 3, .. }))
}

/// RFC 5321 §4.5.3.1.10: 552 to RCPT is old servers' "too many recipients" and treated as 452, unless its enhanced
/// code says that the message's size is what is wrong (RFC 3463 §3.3, §3.4).
fn lenient(outcome: Outcome) -> Outcome {
    let Outcome::Failed(trouble) = outcome else {
        return outcome;
    };
    let reply = trouble.reply.as_ref();
    let size = |code: Enhanced| matches!((code.subject, code.detail), (3, 4) | (2, 3));
    let too_many = reply.is_some_and(|reply| reply.code == 552 && !reply.enhanced.is_some_and(size));
    if too_many { Outcome::Deferred(trouble) } else { Outcome::Failed(trouble) }
}
