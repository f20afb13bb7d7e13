//! The server of a transcript without I/O: a [`ServerSession`], a scripted policy and a clock that is told the time.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_smtp::envelope::{BodyType, MailParams, RcptParams, Ret};
use postern_smtp::reply::catalogue;
use postern_smtp::sasl::Credential;
use postern_smtp::server::{Input, Output, Question, ServerSession, TlsMode, Verdict};
use postern_smtp::tls::{PeerProof, TlsFacts};

use super::{Answer, Scenario, Server, Topic};

/// Drives a session as the daemon would, but at once and in memory.
pub struct SessionServer {
    scenario: Scenario,
    session: ServerSession,
    now: Instant,
    said: Vec<u8>,
    lines: VecDeque<String>,
    events: Events,
}

/// What a transcript may ask about.
#[derive(Default)]
struct Events {
    asked: Option<String>,
    streamed: Vec<u8>,
    taken: Option<Vec<u8>>,
    handshakes: usize,
    closed: Option<String>,
}

impl SessionServer {
    /// A server in this scenario, with a client that has just connected.
    pub fn new(scenario: &Scenario) -> Self {
        let now = Instant::now();
        let tls = (scenario.settings.tls == TlsMode::Implicit).then(facts);
        let session = ServerSession::new(Arc::new(scenario.settings.clone()), tls, now);
        let mut server = Self {
            scenario: scenario.clone(),
            session,
            now,
            said: Vec::new(),
            lines: VecDeque::new(),
            events: Events::default(),
        };
        server.perform();
        server
    }

    fn handle(&mut self, input: Input<'_>) {
        self.session.handle(Input::Time(self.now));
        self.perform();
        self.session.handle(input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.session.poll() {
            assert!(self.events.closed.is_none(), "an output after Close: {output:?}");
            match output {
                Output::Send(bytes) => self.hear(&bytes),
                Output::Ask(question) => {
                    assert!(!self.session.wants_input(), "more input is wanted while a question is open");
                    let verdict = self.decide(&question);
                    self.session.handle(Input::Time(self.now));
                    self.session.handle(Input::Verdict(verdict));
                }
                Output::Body(bytes) => self.events.streamed.extend_from_slice(&bytes),
                Output::Discard => {
                    assert!(
                        !self.events.streamed.is_empty(),
                        "nothing was streamed, and yet it is discarded"
                    );
                    self.events.streamed.clear();
                }
                Output::StartTls => self.events.handshakes += 1,
                Output::Wait { .. } => {}
                Output::Close(reason) => {
                    assert!(
                        self.events.streamed.is_empty(),
                        "closed without a word about content that was streamed"
                    );
                    self.events.closed = Some(format!("{reason:?}").to_lowercase());
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        assert!(bytes.ends_with(b"\r\n"), "half a line is sent");
        self.said.extend_from_slice(bytes);
        let text = String::from_utf8(std::mem::take(&mut self.said)).expect("replies are UTF-8");
        self.lines.extend(text.split_terminator("\r\n").map(str::to_owned));
    }

    fn decide(&mut self, question: &Question) -> Verdict {
        let (topic, subject, details) = describe(question);
        self.events.asked = Some(details);
        if let Question::Take(transaction) = question {
            let body = std::mem::take(&mut self.events.streamed);
            assert_eq!(transaction.size, body.len() as u64, "the size is that of the content");
            assert_eq!(transaction.eight_bit, !body.is_ascii(), "octets over 127 are told of");
            self.events.taken = Some(body);
        }
        match self.scenario.answer(topic, &subject) {
            Some(answer) => answer.clone().into(),
            None => self.usual(question, &subject),
        }
    }

    fn usual(&self, question: &Question, subject: &str) -> Verdict {
        match question {
            Question::Connect | Question::Hello(_) | Question::Mail(_) => Verdict::Accept,
            Question::Authenticate(_) if subject == "tim tanstaaf" => {
                Verdict::SignedIn { user: "tim".to_owned() }
            }
            Question::Authenticate(_) => Verdict::Refuse(catalogue::bad_credentials()),
            Question::Rcpt(rcpt) => {
                let known =
                    ["<ann@example.org>", "<tim@example.org>", "<postmaster@example.org>", "<postmaster>"];
                if self.session.user().is_some() || known.contains(&subject) {
                    Verdict::Accept
                } else if subject.ends_with("@example.org>") {
                    Verdict::Refuse(catalogue::unknown_user(&rcpt.to))
                } else {
                    Verdict::Refuse(catalogue::relay_denied(&rcpt.to))
                }
            }
            Question::Take(_) => Verdict::Queued { id: "Q1".to_owned() },
        }
    }
}

impl Server for SessionServer {
    fn send(&mut self, octets: &[u8]) {
        self.handle(Input::Bytes(octets));
    }

    fn line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    fn is_quiet(&mut self) -> bool {
        self.lines.is_empty()
    }

    fn start_tls(&mut self) -> Result<(), String> {
        if self.events.handshakes == 0 {
            return Err("the server did not ask for a handshake".to_owned());
        }
        self.events.handshakes = 0;
        self.handle(Input::TlsStarted(facts()));
        Ok(())
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.session.handle(Input::Time(self.now));
        self.perform();
    }

    fn drain(&mut self) {
        self.handle(Input::Drain);
    }

    fn hang_up(&mut self) {
        self.handle(Input::Closed);
    }

    fn closed(&mut self) -> Option<String> {
        self.events.closed.clone()
    }

    fn asked(&mut self) -> Option<String> {
        self.events.asked.clone()
    }

    fn body(&mut self) -> Option<Vec<u8>> {
        self.events.taken.take()
    }

    fn discarded(&mut self) -> bool {
        self.events.streamed.is_empty() && self.events.taken.is_none()
    }
}

impl From<Answer> for Verdict {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Accept => Self::Accept,
            Answer::SignedIn(user) => Self::SignedIn { user },
            Answer::Queued(id) => Self::Queued { id },
            Answer::Refuse(reply) => Self::Refuse(reply),
            Answer::RefuseAndClose(reply) => Self::RefuseAndClose(reply),
        }
    }
}

fn facts() -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".to_owned(),
        cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        group: None,
        server_name: None,
        peer: PeerProof::Anonymous,
    }
}

/// The topic, what patterns see of the question, and all that an `ASKED:` line sees.
fn describe(question: &Question) -> (Topic, String, String) {
    match question {
        Question::Connect => (Topic::Connect, String::new(), "connect".to_owned()),
        Question::Hello(hello) => (Topic::Hello, hello.name.clone(), format!("hello {}", hello.name)),
        Question::Authenticate(Credential::Password { user, password, acting_as }) => {
            let shown = acting_as.as_ref().map_or_else(String::new, |other| format!(" acting-as {other}"));
            let subject = format!("{user} {}{shown}", password.expose_str().unwrap_or("?"));
            (Topic::Auth, subject.clone(), format!("auth {subject}"))
        }
        Question::Mail(mail) => {
            (Topic::Mail, mail.from.to_string(), format!("mail {}{}", mail.from, mail_params(&mail.params)))
        }
        Question::Rcpt(rcpt) => {
            (Topic::Rcpt, rcpt.to.to_string(), format!("rcpt {}{}", rcpt.to, rcpt_params(&rcpt.params)))
        }
        Question::Take(transaction) => {
            let mut details = format!("take {}{}", transaction.from, mail_params(&transaction.params));
            for (to, params) in &transaction.to {
                let _ = write!(details, " {to}{}", rcpt_params(params));
            }
            (Topic::Take, String::new(), details)
        }
    }
}

fn mail_params(params: &MailParams) -> String {
    let body = params.body.map(|body| match body {
        BodyType::SevenBit => "7BIT",
        BodyType::EightBitMime => "8BITMIME",
        BodyType::BinaryMime => "BINARYMIME",
    });
    let ret = params.ret.map(|ret| if ret == Ret::Full { "FULL" } else { "HDRS" });
    let pieces = [
        params.size.map(|size| format!(" SIZE={size}")),
        body.map(|body| format!(" BODY={body}")),
        params.smtputf8.then(|| " SMTPUTF8".to_owned()),
        ret.map(|ret| format!(" RET={ret}")),
        params.envid.as_ref().map(|envid| format!(" ENVID={envid}")),
        params.auth.as_ref().map(|auth| format!(" AUTH={auth}")),
    ];
    pieces.into_iter().flatten().collect()
}

fn rcpt_params(params: &RcptParams) -> String {
    let notify = params.notify.map(|notify| {
        let names = [("SUCCESS", notify.success), ("FAILURE", notify.failure), ("DELAY", notify.delay)];
        let named: Vec<_> = names.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
        format!(" NOTIFY={}", if named.is_empty() { "NEVER".to_owned() } else { named.join(",") })
    });
    let orcpt = params.orcpt.as_ref().map(|orcpt| format!(" ORCPT={};{}", orcpt.address_type, orcpt.address));
    [notify, orcpt].into_iter().flatten().collect()
}
