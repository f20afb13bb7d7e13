//! Our client against our own server, in memory: what goes in at one end comes out at the other, octet by octet.

use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_smtp::client::{self, ClientSession, Job};
use postern_smtp::envelope::BodyType;
use postern_smtp::outcome::Outcome;
use postern_smtp::sasl::{Claim, Credential, Mechanism, SignIn};
use postern_smtp::secret::Secret;
use postern_smtp::server::{
    self, AuthOffer, Beginning, ClearSignIn, FrontEnd, Limits, LineEndings, Question, ServerSession,
    Settings, Timeouts, TlsMode, Transaction, Verdict,
};
use postern_smtp::tls::{PeerProof, TlsRequirement};
use proptest::prelude::*;

use crate::harness::{facts, job, plan};

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        hostname: "mx.example.net".into(),
        tls: TlsMode::Required,
        tls_available: true,
        auth: AuthOffer::Mandatory,
        clear_sign_in: ClearSignIn::Refused,
        mechanisms: [Mechanism::Plain, Mechanism::Login].into(),
        line_endings: LineEndings::Strict,
        limits: Limits {
            message_size: 1_000_000,
            recipients: 100,
            transactions: 100,
            idle_commands: 20,
            errors: 20,
            auth_attempts: 3,
        },
        timeouts: Timeouts {
            command: Duration::from_mins(5),
            content: Duration::from_mins(5),
            session: Duration::from_hours(1),
        },
    })
}

/// Two sessions and the wire between them.
struct Wire {
    client: ClientSession,
    server: ServerSession,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    content: Vec<u8>,
    position: usize,
    piece: usize,
    body: Vec<u8>,
    taken: Vec<(Transaction, Vec<u8>)>,
    outcomes: Vec<Vec<Outcome>>,
    signed_in: Option<Credential>,
    closed: usize,
}

impl Wire {
    fn new(content: &[u8], piece: usize, jobs: Vec<Job>) -> Self {
        let now = Instant::now();
        let mut plan = plan(TlsRequirement::VERIFIED);
        let password = Secret::new("tanstaaf");
        let credential = Credential::Password { user: "tim".into(), password, acting_as: None };
        plan.sign_in = Some(SignIn { credential, nonce: [7; 18], only: None });
        let beginning = Beginning { tls: None, seed: [7; 32], front_end: FrontEnd::No };
        let mut client = ClientSession::new(plan, now);
        for job in jobs {
            client.handle(client::Input::Deliver(job));
        }
        client.handle(client::Input::Quit);
        Self {
            client,
            server: ServerSession::new(settings(), beginning, now),
            to_server: Vec::new(),
            to_client: Vec::new(),
            content: content.to_vec(),
            position: 0,
            piece,
            body: Vec::new(),
            taken: Vec::new(),
            outcomes: Vec::new(),
            signed_in: None,
            closed: 0,
        }
    }

    /// Lets both talk until neither has anything to say.
    fn run(mut self) -> Self {
        loop {
            let moved = self.client_speaks() | self.server_speaks() | self.carry();
            if !moved {
                return self;
            }
        }
    }

    fn carry(&mut self) -> bool {
        let to_client = std::mem::take(&mut self.to_client);
        let octets = to_client.len();
        to_client.chunks(self.piece).for_each(|piece| self.client.handle(client::Input::Bytes(piece)));
        if !self.server.wants_input() {
            return octets > 0;
        }
        let rest = self.to_server.split_off(self.to_server.len().min(self.piece));
        let piece = std::mem::replace(&mut self.to_server, rest);
        if !piece.is_empty() {
            self.server.handle(server::Input::Bytes(&piece));
        }
        octets + piece.len() > 0
    }

    fn client_speaks(&mut self) -> bool {
        let mut spoke = false;
        while let Some(output) = self.client.poll() {
            spoke = true;
            match output {
                client::Output::Send(bytes) => self.to_server.extend_from_slice(&bytes),
                client::Output::StartTls => {
                    self.client.handle(client::Input::TlsStarted(facts(PeerProof::verified())));
                }
                client::Output::Content => self.next_piece(),
                client::Output::Outcomes(outcomes) => {
                    self.position = 0;
                    self.outcomes.push(outcomes);
                }
                client::Output::Close(trouble) => {
                    assert_eq!(trouble, None);
                    self.closed += 1;
                }
                client::Output::Rewind | client::Output::Ready | client::Output::Wait { .. } => {}
            }
        }
        spoke
    }

    fn next_piece(&mut self) {
        let rest = &self.content[self.position..];
        let piece = &rest[..rest.len().min(self.piece)];
        self.position += piece.len();
        match piece {
            [] => self.client.handle(client::Input::ContentEnd),
            _ => self.client.handle(client::Input::Content(piece)),
        }
    }

    fn server_speaks(&mut self) -> bool {
        let mut spoke = false;
        while let Some(output) = self.server.poll() {
            spoke = true;
            match output {
                server::Output::Send(bytes) => self.to_client.extend_from_slice(&bytes),
                server::Output::Introduce(_) => panic!("nobody said XCLIENT"),
                server::Output::StartTls => {
                    self.server.handle(server::Input::TlsStarted(facts(PeerProof::anonymous())));
                }
                server::Output::Body(bytes) => self.body.extend_from_slice(&bytes),
                server::Output::Discard => self.body.clear(),
                server::Output::Ask(question) => {
                    let verdict = self.decide(question);
                    self.server.handle(server::Input::Verdict(verdict));
                }
                server::Output::Wait { .. } => {}
                server::Output::Close(_) => self.closed += 1,
            }
        }
        spoke
    }

    fn decide(&mut self, question: Question) -> Verdict {
        match question {
            Question::Authenticate(Claim::Credential(credential)) => {
                self.signed_in = Some(credential);
                Verdict::SignedIn { user: "tim".into() }
            }
            Question::Take(transaction) => {
                self.taken.push((transaction, std::mem::take(&mut self.body)));
                Verdict::Queued { id: "q1".into() }
            }
            _ => Verdict::Accept,
        }
    }
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop::sample::select(vec![
        ".",
        "..",
        "",
        "hi",
        ".x",
        "QUIT",
        "MAIL FROM:<x@y>",
        "250 ok",
        "long long line",
    ]);
    prop::collection::vec(line, 0..20)
        .prop_map(|lines| lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn content_arrives_as_it_was_sent(content in lines(), piece in 1usize..40, binary in any::<bool>()) {
        let mut one = Job { size: content.len() as u64, ..job(&["b@example.net", "c@example.net"]) };
        one.params.body = binary.then_some(BodyType::BinaryMime);
        let wire = Wire::new(&content, piece, vec![one.clone(), one]).run();
        prop_assert_eq!(wire.taken.len(), 2);
        for (transaction, body) in &wire.taken {
            prop_assert_eq!(body, &content);
            prop_assert_eq!(transaction.to.len(), 2);
            prop_assert_eq!(transaction.params.size, Some(content.len() as u64));
        }
        let delivered = |outcome: &Outcome| matches!(outcome, Outcome::Delivered(Some(_)));
        prop_assert!(wire.outcomes.iter().all(|of_job| of_job.len() == 2 && of_job.iter().all(delivered)));
        prop_assert_eq!((wire.outcomes.len(), wire.closed), (2, 2));
    }
}

#[test]
fn our_client_signs_in_to_our_server_after_tls_and_leaves_politely() {
    let wire = Wire::new(b"Subject: hi\r\n\r\n", 1000, vec![job(&["b@example.net"])]).run();
    let expected =
        Credential::Password { user: "tim".into(), password: Secret::new("tanstaaf"), acting_as: None };
    assert_eq!(wire.signed_in, Some(expected));
    assert_eq!((wire.taken.len(), wire.closed), (1, 2));
    assert!(wire.server.tls().is_some() && wire.client.tls().is_some());
}
