//! A client that says anything to our server, and a policy that answers anything.

use std::time::{Duration, Instant};

use postern_smtp::envelope::BodyType;
use postern_smtp::reply::{Enhanced, Reply, ReplyParser};
use postern_smtp::sasl::{Claim, Mechanism, ScramKeys, ScramProof};
use postern_smtp::server::{
    AuthOffer, Beginning, ClearSignIn, FrontEnd, Input, Limits, LineEndings, Output, Question, ServerSession,
    Settings, Timeouts, TlsMode, Transaction, Verdict,
};

use crate::assert_clean;
use crate::tape::Tape;

const MAX_SIZE: u64 = 100;
const MAX_RECIPIENTS: usize = 3;

/// A whole session: decisions first, then what the client sends. What is said are whole replies; every octet of content
/// is asked about or discarded, and is clean; nobody signs in before TLS or without
/// a proof, or sends mail where the listener forbids it; and only a front end names another client.
pub fn server(data: &[u8]) {
    let (mut tape, mut wire) = Tape::split(data);
    let mut world = World::new(&mut tape);
    world.perform(&mut tape);
    while !wire.is_empty() && !world.closed {
        let (piece, rest) = tape.piece(wire);
        wire = rest;
        world.session.handle(Input::Bytes(piece));
        world.perform(&mut tape);
        world.happen(&mut tape);
        world.perform(&mut tape);
    }
    world.answer_what_is_open(&mut tape);
    world.session.handle(Input::Closed);
    world.perform(&mut tape);
    world.finished();
}

struct World {
    settings: Settings,
    session: ServerSession,
    now: Instant,
    open: Option<Question>,
    encrypted: bool,
    front_end: FrontEnd,
    /// A front end has named a client who has signed in.
    introduced: bool,
    signed_in: bool,
    accepted: usize,
    streamed: Vec<u8>,
    said: Vec<u8>,
    closed: bool,
}

impl World {
    fn new(tape: &mut Tape<'_>) -> Self {
        let settings = settings(tape);
        let now = Instant::now();
        let tls = (settings.tls == TlsMode::Implicit).then(|| tape.facts());
        let front_end = tape.pick(&[FrontEnd::No, FrontEnd::Trusted, FrontEnd::TrustedWithLogin]);
        Self {
            encrypted: tls.is_some(),
            front_end,
            introduced: false,
            session: ServerSession::new(
                settings.clone().into(),
                Beginning { tls, seed: [7; 32], front_end },
                now,
            ),
            settings,
            now,
            open: None,
            signed_in: false,
            accepted: 0,
            streamed: Vec::new(),
            said: Vec::new(),
            closed: false,
        }
    }

    /// Does what the session wants, until it wants nothing more.
    fn perform(&mut self, tape: &mut Tape<'_>) {
        while let Some(output) = self.session.poll() {
            assert!(!self.closed, "nothing comes after the end: {output:?}");
            match output {
                Output::Send(octets) => self.said.extend_from_slice(&octets),
                Output::Ask(question) => self.asked(question, tape),
                Output::Body(octets) => self.streamed.extend_from_slice(&octets),
                Output::Discard => self.streamed.clear(),
                Output::Introduce(told) => {
                    assert!(self.front_end != FrontEnd::No && self.streamed.is_empty());
                    assert!(told.login.is_none() || self.front_end == FrontEnd::TrustedWithLogin);
                    self.introduced = told.login.is_some();
                    self.signed_in = false;
                    assert!(self.session.hello().is_none() && self.session.user().is_none());
                }
                Output::StartTls => self.handshake(tape),
                Output::Wait { until } => assert!(until >= self.now, "time passes"),
                Output::Close(_) => self.closed = true,
            }
        }
    }

    fn asked(&mut self, question: Question, tape: &mut Tape<'_>) {
        assert!(self.open.is_none(), "one question at a time");
        assert!(!self.session.wants_input());
        match &question {
            Question::Authenticate(_) => {
                let clear = self.settings.tls == TlsMode::Offered
                    && self.settings.clear_sign_in == ClearSignIn::Allowed;
                assert!(self.encrypted || clear);
                assert!(self.settings.auth != AuthOffer::Never && self.session.user().is_none());
            }
            Question::Mail(_) => {
                assert!(self.encrypted || self.settings.tls == TlsMode::Offered);
                assert!(self.signed_in || self.settings.auth != AuthOffer::Mandatory);
                self.accepted = 0;
            }
            Question::Rcpt(_) => assert!(self.accepted < MAX_RECIPIENTS),
            Question::Take(transaction) => self.complete(transaction),
            Question::Connect | Question::Hello(_) => {}
        }
        self.open = Some(question);
        // Now and then the answer takes a while, and the client goes on sending.
        if tape.next() % 8 != 7 {
            self.answer(tape);
        }
    }

    fn complete(&mut self, transaction: &Transaction) {
        let content = std::mem::take(&mut self.streamed);
        assert_eq!(transaction.size, content.len() as u64);
        assert!(transaction.size <= MAX_SIZE);
        assert_eq!(transaction.eight_bit, !content.is_ascii());
        assert!(!transaction.to.is_empty());
        assert_eq!(transaction.to.len(), self.accepted, "those that were accepted, and no others");
        if transaction.params.body != Some(BodyType::BinaryMime) {
            assert_clean(&content);
        }
    }

    fn answer(&mut self, tape: &mut Tape<'_>) {
        let Some(question) = self.open.take() else { return };
        let yes = match &question {
            Question::Connect if self.introduced => Verdict::SignedIn { user: "tim".to_owned() },
            // Now and then a yes comes where only keys were asked for: it grants nothing.
            Question::Authenticate(Claim::Keys { user, .. }) if tape.next() % 4 != 3 => {
                Verdict::Keys(ScramKeys::for_nobody(b"fuzz", user, postern_smtp::sasl::SCRAM_ITERATIONS))
            }
            Question::Authenticate(_) => Verdict::SignedIn { user: "tim".to_owned() },
            Question::Take(_) => Verdict::Queued { id: "Q1".to_owned() },
            _ => Verdict::Accept,
        };
        let verdict = match tape.next() % 16 {
            // An answer to another question grants nothing.
            10 if !matches!(yes, Verdict::Queued { .. }) => Verdict::Queued { id: "Q2".to_owned() },
            11 => Verdict::Refuse(Reply::new(450, Enhanced::new(4, 2, 1), "later")),
            12 | 13 => Verdict::Refuse(Reply::new(550, Enhanced::new(5, 1, 1), "no\r\n250 injected")),
            14 => Verdict::Refuse(Reply::new(421, Enhanced::new(4, 3, 2), "bye")),
            15 => Verdict::RefuseAndClose(Reply::new(554, Enhanced::new(5, 7, 1), "bye")),
            _ => yes,
        };
        match (&question, &verdict) {
            (Question::Authenticate(claim), Verdict::SignedIn { .. }) => self.signed_in = is_proof(claim),
            (Question::Connect, Verdict::SignedIn { .. }) => self.signed_in = true,
            (Question::Rcpt(_), Verdict::Accept) => self.accepted += 1,
            _ => {}
        }
        self.session.handle(Input::Verdict(verdict));
        assert!(self.session.user().is_none() || self.signed_in, "nobody is signed in without a proof");
    }

    fn handshake(&mut self, tape: &mut Tape<'_>) {
        assert!(!self.encrypted && self.streamed.is_empty());
        self.assert_whole_replies();
        if tape.next() % 8 == 7 {
            return self.session.handle(Input::Closed);
        }
        self.encrypted = true;
        self.signed_in = false;
        self.session.handle(Input::TlsStarted(tape.facts()));
        assert!(self.session.hello().is_none() && self.session.user().is_none());
    }

    /// What may happen between two packets.
    fn happen(&mut self, tape: &mut Tape<'_>) {
        match tape.next() {
            251 => self.session.handle(Input::Drain),
            252 => self.session.handle(Input::TlsStarted(tape.facts())),
            253 if self.open.is_none() => self.session.handle(Input::Verdict(Verdict::Accept)),
            254 => {
                self.now += Duration::from_secs(u64::from(tape.next()) * 4);
                self.session.handle(Input::Time(self.now));
            }
            _ => {}
        }
        // A handshake that nobody asked for changes nothing.
        assert_eq!(self.session.tls().is_some(), self.encrypted);
        self.answer(tape);
    }

    fn answer_what_is_open(&mut self, tape: &mut Tape<'_>) {
        while self.open.is_some() && !self.closed {
            self.answer(tape);
            self.perform(tape);
        }
    }

    fn finished(&mut self) {
        assert!(self.closed);
        assert!(self.streamed.is_empty(), "content without a word about its fate");
        self.assert_whole_replies();
    }

    fn assert_whole_replies(&mut self) {
        let said = std::mem::take(&mut self.said);
        let (mut parser, mut rest) = (ReplyParser::new(), said.as_slice());
        while !rest.is_empty() {
            let (taken, reply) = parser.feed(rest).expect("we break no rule ourselves");
            assert!(reply.is_none_or(|reply| !reply.one_line().starts_with("250 injected")));
            rest = &rest[taken..];
        }
        assert!(!parser.is_midway(), "half a reply");
    }
}

/// Whether a yes to this may let somebody in.
fn is_proof(claim: &Claim) -> bool {
    match claim {
        Claim::Credential(_) => true,
        Claim::Keys { .. } => false,
        Claim::Scram { proof, .. } => matches!(proof, ScramProof::Right { .. }),
    }
}

fn settings(tape: &mut Tape<'_>) -> Settings {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    Settings {
        hostname: "mail.example.org".to_owned(),
        tls: tape.pick(&[TlsMode::Offered, TlsMode::Required, TlsMode::Implicit]),
        tls_available: tape.next() % 8 != 7,
        auth: tape.pick(&[AuthOffer::Never, AuthOffer::Optional, AuthOffer::Mandatory]),
        clear_sign_in: tape.pick(&[ClearSignIn::Refused, ClearSignIn::Allowed]),
        mechanisms: Mechanism::ALL.into(),
        line_endings: tape.pick(&[LineEndings::Strict, LineEndings::Repair]),
        limits: Limits {
            message_size: MAX_SIZE,
            recipients: MAX_RECIPIENTS,
            transactions: 5,
            idle_commands: 20,
            errors: 5,
            auth_attempts: 3,
        },
        timeouts: Timeouts { command: minutes(5), content: minutes(10), session: minutes(60) },
    }
}
