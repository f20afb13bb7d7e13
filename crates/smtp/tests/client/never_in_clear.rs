//! Promise 3: no mail and no secret crosses a wire below the requirement, whatever the peer does.

use std::time::{Duration, Instant};

use postern_smtp::client::{ClientSession, Input, Output, Protocol, TlsStart};
use postern_smtp::outcome::Outcome;
use postern_smtp::sasl::{Credential, SignIn};
use postern_smtp::secret::Secret;
use postern_smtp::tls::{PeerProof, Proof, TlsFacts, TlsFailure, TlsFault, TlsRequirement};
use proptest::prelude::*;

use crate::harness::{facts, plan, to_one};

/// One thing that an adversary, a fault or the driver can do.
#[derive(Debug, Clone)]
enum Move {
    Says(String),
    Answers,
    Octets(Vec<u8>),
    Closes,
    TlsStarts(PeerProof),
    TlsFails,
    Delivers,
    Content,
    ContentEnds,
    ContentFails,
    Waits(u64),
    Quits,
}

fn reply() -> impl Strategy<Value = String> {
    let lines = prop::collection::vec(
        prop::sample::select(vec![
            "hi",
            "STARTTLS",
            "AUTH PLAIN LOGIN",
            "AUTH=PLAIN",
            "PIPELINING",
            "SMTPUTF8",
            "2.0.0 ok",
            "LIMITS RCPTMAX=1",
        ]),
        1..6,
    );
    let code = prop::sample::select(vec![
        211u16, 220, 220, 235, 250, 250, 250, 334, 354, 421, 450, 454, 500, 502, 535, 550, 554,
    ]);
    (code, lines).prop_map(|(code, lines)| {
        let last = lines.len() - 1;
        let line =
            |(at, text): (usize, &&str)| format!("{code}{}{text}\r\n", if at == last { ' ' } else { '-' });
        lines.iter().enumerate().map(line).collect()
    })
}

fn proof() -> impl Strategy<Value = PeerProof> {
    let given = prop::collection::vec(prop::sample::select(Proof::ALL.to_vec()), 0..3);
    prop_oneof![
        Just(PeerProof::anonymous()),
        Just(PeerProof::unverified("self-signed")),
        given.prop_map(|given| PeerProof { given: given.into_iter().collect(), ..PeerProof::default() }),
    ]
}

fn any_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => reply().prop_map(Move::Says),
        8 => Just(Move::Answers),
        1 => prop::collection::vec(any::<u8>(), 0..12).prop_map(Move::Octets),
        1 => Just(Move::Closes),
        4 => proof().prop_map(Move::TlsStarts),
        1 => Just(Move::TlsFails),
        2 => Just(Move::Delivers),
        2 => Just(Move::Content),
        2 => Just(Move::ContentEnds),
        1 => Just(Move::ContentFails),
        1 => (0u64..400).prop_map(Move::Waits),
        1 => Just(Move::Quits),
    ]
}

fn tls_start() -> impl Strategy<Value = TlsStart> {
    prop_oneof![
        3 => Just(TlsStart::StartTls),
        1 => proof().prop_map(|peer| TlsStart::Implicit(facts(peer))),
        1 => Just(TlsStart::Never),
    ]
}

fn requirement() -> impl Strategy<Value = TlsRequirement> {
    let demand = prop::sample::select(vec![
        TlsRequirement::NONE,
        TlsRequirement::OPPORTUNISTIC,
        TlsRequirement::REQUIRED,
        TlsRequirement::AUTHENTICATED,
        TlsRequirement::VERIFIED,
        TlsRequirement::DANE,
        TlsRequirement::PINNED,
    ]);
    prop::collection::vec(demand, 1..4)
        .prop_map(|demands| demands.into_iter().fold(TlsRequirement::NONE, TlsRequirement::join))
}

/// The driver and the wire: what is true of the connection is known here independently of the session.
struct World {
    session: ClientSession,
    requirement: TlsRequirement,
    wire: Option<TlsFacts>,
    handshake: bool,
    last: Vec<u8>,
    now: Instant,
    given: usize,
    answered: usize,
    reached: bool,
}

impl World {
    fn new(requirement: TlsRequirement, tls: TlsStart, protocol: Protocol, signs_in: bool) -> Self {
        let wire = if let TlsStart::Implicit(facts) = &tls { Some(facts.clone()) } else { None };
        let password = Secret::new("tanstaaf");
        let credential = Credential::Password { user: "tim".into(), password, acting_as: None };
        let plan = postern_smtp::client::Plan {
            tls,
            protocol,
            sign_in: signs_in.then_some(SignIn { credential, nonce: [7; 18], only: None }),
            ..plan(requirement)
        };
        let now = Instant::now();
        let session = ClientSession::new(plan, now);
        Self {
            session,
            requirement,
            wire,
            handshake: false,
            last: Vec::new(),
            now,
            given: 0,
            answered: 0,
            reached: false,
        }
    }

    fn make(&mut self, next: &Move) {
        match next {
            Move::Says(reply) => self.session.handle(Input::Bytes(reply.as_bytes())),
            Move::Answers => {
                let reply = self.fitting_reply();
                self.session.handle(Input::Bytes(reply.as_bytes()));
            }
            Move::Octets(octets) => self.session.handle(Input::Bytes(octets)),
            Move::Closes => self.session.handle(Input::Closed),
            Move::TlsStarts(peer) => {
                // A handshake that the session did not ask for never happened on the wire.
                if std::mem::take(&mut self.handshake) {
                    self.wire = Some(facts(peer.clone()));
                }
                self.session.handle(Input::TlsStarted(facts(peer.clone())));
            }
            Move::TlsFails => {
                self.session.handle(Input::TlsFailed(TlsFailure::new(TlsFault::Handshake, "no")));
            }
            Move::Delivers => {
                self.given += 1;
                self.session.handle(Input::Deliver(to_one()));
            }
            Move::Content => self.session.handle(Input::Content(b"MAIL FROM:<x@y>\r\n")),
            Move::ContentEnds => self.session.handle(Input::ContentEnd),
            Move::ContentFails => self.session.handle(Input::ContentFailed("no".into())),
            Move::Waits(seconds) => {
                self.now += Duration::from_secs(*seconds);
                self.session.handle(Input::Time(self.now));
            }
            Move::Quits => self.session.handle(Input::Quit),
        }
        self.perform();
    }

    /// What a willing server would say, so that the walk comes far.
    fn fitting_reply(&self) -> &'static str {
        let said = |verb: &[u8]| self.last.starts_with(verb);
        match () {
            () if said(b"EHLO") || said(b"LHLO") => "250-hi\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n",
            () if said(b"AUTH") => "235 ok\r\n",
            () if said(b"DATA") => "354 go\r\n",
            () if self.last.is_empty() || said(b"STARTTLS") => "220 hi\r\n",
            () => "250 ok\r\n",
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => self.sent(&bytes),
                Output::StartTls => self.handshake = true,
                Output::Outcomes(outcomes) => {
                    self.answered += 1;
                    assert_eq!(outcomes.len(), 1);
                    let unmet = !self.requirement.is_satisfied_by(self.wire.as_ref());
                    assert!(!unmet || matches!(outcomes[0], Outcome::Deferred(_)), "{outcomes:?}");
                }
                _ => {}
            }
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.last = bytes.to_vec();
        let text = String::from_utf8_lossy(bytes);
        let secret = text.starts_with("AUTH") || text.contains("dGFuc3RhYWY") || text.contains("AHRpbQ");
        let mail = ["MAIL", "RCPT", "DATA", "BDAT", "RSET"].iter().any(|verb| text.starts_with(verb));
        if secret || mail {
            self.reached = true;
            assert!(
                self.requirement.is_satisfied_by(self.wire.as_ref()),
                "said below the requirement: {text}"
            );
        }
        if secret {
            let proved = self.wire.as_ref().is_some_and(|facts| !facts.peer.given.is_empty());
            assert!(proved, "a credential was said to an unproven server");
        }
        let known =
            ["EHLO ", "HELO ", "LHLO ", "STARTTLS\r\n", "QUIT\r\n"].iter().any(|verb| text.starts_with(verb));
        let satisfied = self.requirement.is_satisfied_by(self.wire.as_ref());
        assert!(known || satisfied, "below the requirement nothing else may be said: {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn neither_mail_nor_auth_is_said_below_the_requirement(
        requirement in requirement(),
        tls in tls_start(),
        lmtp in any::<bool>(),
        signs_in in any::<bool>(),
        moves in prop::collection::vec(any_move(), 1..40),
    ) {
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let mut world = World::new(requirement, tls, protocol, signs_in);
        for next in &moves {
            world.make(next);
        }
        // Whatever happened, every job gets its outcomes once the connection is gone.
        world.make(&Move::Closes);
        prop_assert_eq!(world.answered, world.given);
    }
}

#[test]
fn the_walk_does_reach_mail_where_the_requirement_is_met() {
    let mut world = World::new(TlsRequirement::VERIFIED, TlsStart::StartTls, Protocol::Smtp, true);
    let opening = [Move::Delivers, Move::Answers, Move::Answers, Move::Answers];
    let tls = [Move::TlsStarts(PeerProof::verified()), Move::Answers, Move::Answers];
    opening.iter().chain(&tls).for_each(|next| world.make(next));
    assert!(
        world.reached && world.last.starts_with(b"MAIL FROM:"),
        "{:?}",
        String::from_utf8_lossy(&world.last)
    );
}
