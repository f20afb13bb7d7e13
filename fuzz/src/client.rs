//! A server that says anything to our client.

use std::time::{Duration, Instant};

use postern_smtp::address::{Mailbox, ReversePath};
use postern_smtp::client::{ClientSession, Input, Job, Output, Plan, Protocol, Timeouts, TlsStart};
use postern_smtp::envelope::{MailParams, RcptParams};
use postern_smtp::outcome::Outcome;
use postern_smtp::reply::Reply;
use postern_smtp::sasl::{Credential, SignIn};
use postern_smtp::secret::Secret;
use postern_smtp::text::is_harmless;
use postern_smtp::tls::{TlsFacts, TlsFailure, TlsFault, TlsRequirement};

use crate::assert_clean;
use crate::tape::Tape;

/// With a line that begins with a dot and one that looks like a command.
const CONTENT: &[u8] = b"Subject: hi\r\n\r\n.dot\r\nQUIT\r\n";
/// The most that a session may do at one input before it counts as one that never stops.
const MOST_OUTPUTS: usize = 1_000;

/// A whole session: decisions first, then what the server sends. Every job gets one outcome per recipient, however the
/// session ends; neither mail nor a password is said below the requirement; nothing that the server said harms a log.
pub fn client(data: &[u8]) {
    let (mut tape, mut wire) = Tape::split(data);
    let mut world = World::new(&mut tape);
    world.perform(&mut tape);
    world.deliver(&mut tape);
    while !wire.is_empty() && !world.closed {
        let (piece, rest) = tape.piece(wire);
        wire = rest;
        world.session.handle(Input::Bytes(piece));
        world.perform(&mut tape);
        world.happen(&mut tape);
    }
    world.session.handle(Input::Closed);
    world.perform(&mut tape);
    assert!(world.closed, "the connection is gone, and so is the session");
    assert_eq!(world.answered, world.given, "every job has its outcomes");
    assert_clean(&world.said);
}

struct World {
    session: ClientSession,
    requirement: TlsRequirement,
    facts: Option<TlsFacts>,
    now: Instant,
    recipients: Vec<usize>,
    given: usize,
    answered: usize,
    content: &'static [u8],
    said: Vec<u8>,
    closed: bool,
}

impl World {
    fn new(tape: &mut Tape<'_>) -> Self {
        let plan = plan(tape);
        let now = Instant::now();
        Self {
            requirement: plan.requirement,
            facts: match &plan.tls {
                TlsStart::Implicit(facts) => Some(facts.clone()),
                TlsStart::StartTls | TlsStart::Never => None,
            },
            session: ClientSession::new(plan, now),
            now,
            recipients: Vec::new(),
            given: 0,
            answered: 0,
            content: CONTENT,
            said: Vec::new(),
            closed: false,
        }
    }

    /// Does what the session wants, until it wants nothing more.
    fn perform(&mut self, tape: &mut Tape<'_>) {
        for _ in 0..MOST_OUTPUTS {
            let Some(output) = self.session.poll() else { return };
            let ended = std::mem::replace(&mut self.closed, matches!(output, Output::Close(_)));
            assert!(
                !ended || matches!(output, Output::Outcomes(_)),
                "nothing comes after the end: {output:?}"
            );
            self.closed |= ended;
            match output {
                Output::Send(octets) => self.sent(&octets),
                Output::StartTls => self.handshake(tape),
                Output::Content => self.next_content(tape),
                Output::Rewind => self.content = CONTENT,
                Output::Outcomes(outcomes) => self.learn(&outcomes),
                Output::Ready | Output::Wait { .. } | Output::Close(None) => {}
                Output::Close(Some(end)) => assert_harmless(&end),
            }
        }
        panic!("the session never stops");
    }

    /// What may happen between two packets.
    fn happen(&mut self, tape: &mut Tape<'_>) {
        match tape.next() {
            250 => self.session.handle(Input::Quit),
            251 => self.session.handle(Input::TlsFailed(TlsFailure::new(TlsFault::Stalled, "stalled"))),
            252..=253 => return self.deliver(tape),
            254 => {
                self.now += Duration::from_secs(u64::from(tape.next()) * 4);
                self.session.handle(Input::Time(self.now));
            }
            _ => {}
        }
        self.perform(tape);
    }

    fn deliver(&mut self, tape: &mut Tape<'_>) {
        let job = job(tape);
        self.recipients.push(job.to.len());
        self.given += 1;
        self.session.handle(Input::Deliver(job));
        self.perform(tape);
    }

    fn handshake(&mut self, tape: &mut Tape<'_>) {
        assert!(self.facts.is_none(), "TLS begins once");
        if tape.next() % 8 == 7 {
            return self.session.handle(Input::TlsFailed(TlsFailure::new(TlsFault::Handshake, "no")));
        }
        let facts = tape.facts();
        self.facts = Some(facts.clone());
        self.session.handle(Input::TlsStarted(facts));
    }

    fn next_content(&mut self, tape: &mut Tape<'_>) {
        if tape.next() % 32 == 31 {
            return self.session.handle(Input::ContentFailed("the disk is gone".to_owned()));
        }
        let (piece, rest) = tape.piece(self.content);
        self.content = rest;
        match piece {
            [] => {
                self.content = CONTENT;
                self.session.handle(Input::ContentEnd);
            }
            piece => self.session.handle(Input::Content(piece)),
        }
    }

    fn learn(&mut self, outcomes: &[Outcome]) {
        assert_eq!(outcomes.len(), self.recipients[self.answered], "one outcome for each recipient");
        self.answered += 1;
        self.content = CONTENT;
        for outcome in outcomes {
            if !self.requirement.is_satisfied_by(self.facts.as_ref()) {
                assert!(!matches!(outcome, Outcome::Delivered(_)), "delivered below the requirement");
            }
            assert_harmless(outcome);
        }
    }

    fn sent(&mut self, octets: &[u8]) {
        let text = String::from_utf8_lossy(octets);
        if ["AUTH", "MAIL", "RCPT", "DATA", "BDAT"].iter().any(|verb| text.starts_with(verb)) {
            assert!(self.requirement.is_satisfied_by(self.facts.as_ref()), "below the requirement: {text}");
        }
        if text.starts_with("AUTH") || text.contains("dGFuc3RhYWY") || text.contains("AHRpbQ") {
            let proved = self.facts.as_ref().is_some_and(|facts| !facts.peer.given.is_empty());
            assert!(proved, "a password to a stranger");
        }
        self.said.extend_from_slice(octets);
    }
}

/// What a log would say of an outcome holds nothing that could harm it.
fn assert_harmless(outcome: &Outcome) {
    let text = match outcome {
        Outcome::Delivered(reply) => reply.as_ref().map(Reply::one_line).unwrap_or_default(),
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) => trouble.to_string(),
    };
    assert!(text.chars().all(is_harmless), "{text:?}");
}

fn plan(tape: &mut Tape<'_>) -> Plan {
    let password = Secret::new("tanstaaf");
    let credential = Credential::Password { user: "tim".to_owned(), password, acting_as: None };
    let requirements = [
        TlsRequirement::OPPORTUNISTIC,
        TlsRequirement::NONE,
        TlsRequirement::REQUIRED,
        TlsRequirement::VERIFIED,
        TlsRequirement::AUTHENTICATED,
        TlsRequirement::DANE,
        TlsRequirement::PINNED.join(TlsRequirement::VERIFIED),
    ];
    let facts = tape.facts();
    Plan {
        protocol: tape.pick(&[Protocol::Smtp, Protocol::Lmtp]),
        hello: "mail.example.org".to_owned(),
        requirement: tape.pick(&requirements),
        tls: tape.pick(&[TlsStart::StartTls, TlsStart::Never, TlsStart::Implicit(facts)]),
        sign_in: (tape.next() % 2 == 1).then_some(SignIn { credential, nonce: [7; 18], only: None }),
        timeouts: Timeouts::default(),
    }
}

fn job(tape: &mut Tape<'_>) -> Job {
    let all = ["b@example.net", "c@example.net", "\"d e\"@example.net", "ü@bücher.example"];
    let count = 1 + (1 + usize::from(tape.next())) % all.len();
    let mailbox = |text: &str| text.parse::<Mailbox>().expect("an address");
    let smtputf8 = tape.next() % 2 == 1;
    Job {
        from: ReversePath::Mailbox(mailbox("a@example.org")),
        params: MailParams { smtputf8, requiretls: tape.next() % 4 == 3, ..MailParams::default() },
        to: all[..count].iter().map(|text| (mailbox(text), RcptParams::default())).collect(),
        size: CONTENT.len() as u64,
        eight_bit: tape.next() % 2 == 1,
        utf8_headers: smtputf8 && tape.next() % 2 == 1,
    }
}
