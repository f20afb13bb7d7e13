//! Plays a script against a [`ClientSession`] on virtual time.
//!
//! A script is a dialogue that a postmaster can read:
//! ```text
//! S: 220 mx.example.net        the server says this (lines that follow each other come in one piece)
//! C: EHLO mail.example.org     the client must have said exactly this, and nothing more before the next `S:`
//! = ready                      the driver was told this: starttls, ready, rewind, close, or an outcome
//! ! verified                   something happens: verified, unverified, handshake-failed, closed, quit, deliver,
//!                              content-fails, injected TEXT, after SECONDS
//! ```
//! Each script is played twice, the second time with every octet from the server on its own: the same must come of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use postern_smtp::client::{ClientSession, Input, Job, Output, Plan, Protocol, Timeouts, TlsStart};
use postern_smtp::envelope::{MailParams, RcptParams};
use postern_smtp::outcome::Outcome;
use postern_smtp::reply::Reply;
use postern_smtp::sasl::{Credential, SignIn};
use postern_smtp::secret::Secret;
use postern_smtp::tls::{PeerProof, TlsFacts, TlsFailure, TlsFault, TlsRequirement};

/// The content that every job has unless a test says otherwise: a line that begins with a dot is in it.
pub(crate) const CONTENT: &[u8] = b"Subject: hi\r\n\r\n.dot\r\n";

/// A session's plan, jobs and content.
pub(crate) struct Scene {
    pub(crate) plan: Plan,
    pub(crate) jobs: Vec<Job>,
    pub(crate) content: Vec<u8>,
    /// Octets of each piece of content.
    pub(crate) piece: usize,
}

impl Scene {
    /// SMTP, opportunistic, with these jobs.
    pub(crate) fn new(jobs: Vec<Job>) -> Self {
        Self { plan: plan(TlsRequirement::OPPORTUNISTIC), jobs, content: CONTENT.to_vec(), piece: 1000 }
    }

    pub(crate) fn requiring(requirement: TlsRequirement) -> Self {
        let mut scene = Self::new(vec![to_one()]);
        scene.plan.requirement = requirement;
        scene
    }

    pub(crate) fn lmtp(jobs: Vec<Job>) -> Self {
        let mut scene = Self::new(jobs);
        scene.plan.protocol = Protocol::Lmtp;
        scene
    }

    pub(crate) fn signing_in(mut self) -> Self {
        let password = Secret::new("tanstaaf");
        let credential = Credential::Password { user: "tim".into(), password, acting_as: None };
        self.plan.sign_in = Some(SignIn { credential, nonce: [7; 18], only: None });
        self
    }

    /// Plays the script; every line must hold, and nothing may be left over.
    #[track_caller]
    pub(crate) fn play(&self, script: &str) {
        self.play_in(script, usize::MAX);
        self.play_in(script, 1);
    }

    #[track_caller]
    fn play_in(&self, script: &str, octets: usize) {
        let mut player = Player::new(self, octets);
        let lines: Vec<&str> = script.lines().map(str::trim_start).filter(|line| !line.is_empty()).collect();
        for (number, line) in lines.iter().enumerate() {
            let next_is_server = lines.get(number + 1).is_some_and(|next| next.starts_with("S:"));
            player.line(line, next_is_server);
        }
        player.finished();
    }
}

pub(crate) fn plan(requirement: TlsRequirement) -> Plan {
    Plan {
        protocol: Protocol::Smtp,
        hello: "mail.example.org".into(),
        requirement,
        tls: TlsStart::StartTls,
        sign_in: None,
        timeouts: Timeouts::default(),
    }
}

/// A job from `a@example.org` to these recipients.
pub(crate) fn job(to: &[&str]) -> Job {
    Job {
        from: postern_smtp::address::ReversePath::Mailbox("a@example.org".parse().expect("an address")),
        params: MailParams::default(),
        to: to.iter().map(|to| (to.parse().expect("an address"), RcptParams::default())).collect(),
        size: CONTENT.len() as u64,
        eight_bit: false,
        utf8_headers: false,
    }
}

pub(crate) fn to_one() -> Job {
    job(&["b@example.net"])
}

pub(crate) fn facts(peer: PeerProof) -> TlsFacts {
    TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        group: None,
        server_name: Some("mx.example.net".into()),
        peer,
        channel_bindings: postern_smtp::sasl::ChannelBindings::default(),
    }
}

struct Player<'a> {
    scene: &'a Scene,
    session: ClientSession,
    now: Instant,
    deadline: Option<Instant>,
    octets: usize,
    jobs: VecDeque<Job>,
    sent: Vec<u8>,
    events: VecDeque<String>,
    server: String,
    position: usize,
    content_fails: bool,
}

impl<'a> Player<'a> {
    fn new(scene: &'a Scene, octets: usize) -> Self {
        let now = Instant::now();
        let mut player = Self {
            session: ClientSession::new(scene.plan.clone(), now),
            now,
            deadline: None,
            octets,
            jobs: scene.jobs.iter().cloned().collect(),
            sent: Vec::new(),
            events: VecDeque::new(),
            server: String::new(),
            position: 0,
            content_fails: false,
            scene,
        };
        player.perform();
        player
    }

    #[track_caller]
    fn line(&mut self, line: &str, next_is_server: bool) {
        let (kind, text) = line.split_at(1);
        let text = text.trim_start_matches(':').trim_start();
        match kind {
            "S" => self.server(text, next_is_server),
            "C" => self.client(text),
            "=" => assert_eq!(self.events.pop_front().as_deref(), Some(text), "sent: {:?}", self.unread()),
            "!" => self.happens(text),
            _ => panic!("no such line: {line}"),
        }
    }

    #[track_caller]
    fn server(&mut self, text: &str, more: bool) {
        assert!(self.sent.is_empty(), "before `S: {text}` the client also said {:?}", self.unread());
        self.server.push_str(text);
        self.server.push_str("\r\n");
        if more {
            return;
        }
        let bytes = std::mem::take(&mut self.server).into_bytes();
        for piece in bytes.chunks(self.octets.min(bytes.len())) {
            self.give(Input::Bytes(piece));
        }
    }

    #[track_caller]
    fn client(&mut self, text: &str) {
        let end = self.sent.windows(2).position(|pair| pair == b"\r\n").map_or(self.sent.len(), |at| at + 2);
        let line: Vec<u8> = self.sent.drain(..end).collect();
        assert_eq!(String::from_utf8_lossy(&line), format!("{text}\r\n"), "events: {:?}", self.events);
    }

    fn happens(&mut self, what: &str) {
        let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
        match word {
            "verified" => self.give(Input::TlsStarted(facts(PeerProof::verified()))),
            "unverified" => self.give(Input::TlsStarted(facts(PeerProof::unverified("self-signed")))),
            "handshake-failed" => {
                self.give(Input::TlsFailed(TlsFailure::new(TlsFault::NoCommonProtocol, "no common cipher")));
            }
            "closed" => self.give(Input::Closed),
            "quit" => self.give(Input::Quit),
            "deliver" => {
                let job = self.jobs.pop_front().expect("another job");
                self.position = 0;
                self.give(Input::Deliver(job));
            }
            "content-fails" => self.content_fails = true,
            "injected" => {
                let bytes = rest.replace("\\r\\n", "\r\n");
                self.give(Input::Bytes(bytes.as_bytes()));
            }
            "after" => {
                self.now += Duration::from_secs(rest.parse().expect("seconds"));
                let now = self.now;
                self.give(Input::Time(now));
            }
            _ => panic!("nothing of that kind happens: {what}"),
        }
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Send(bytes) => self.sent.extend_from_slice(&bytes),
                Output::StartTls => self.event("starttls"),
                Output::Content => self.content(),
                Output::Rewind => {
                    self.position = 0;
                    self.event("rewind");
                }
                Output::Outcomes(outcomes) => outcomes.iter().for_each(|outcome| self.event(&shown(outcome))),
                Output::Ready => self.event("ready"),
                Output::Wait { until } => self.deadline = Some(until),
                Output::Close(None) => self.event("close"),
                Output::Close(Some(end)) => {
                    let trouble = end.trouble().expect("a session does not end by a delivery");
                    self.event(&format!("close: {trouble}"));
                }
            }
        }
    }

    fn content(&mut self) {
        if self.content_fails {
            return self.session.handle(Input::ContentFailed("the spool is gone".into()));
        }
        let rest = &self.scene.content[self.position..];
        let piece = &rest[..rest.len().min(self.scene.piece)];
        self.position += piece.len();
        match piece {
            [] => self.session.handle(Input::ContentEnd),
            _ => self.session.handle(Input::Content(piece)),
        }
    }

    fn event(&mut self, event: &str) {
        self.events.push_back(event.to_owned());
    }

    fn unread(&self) -> String {
        String::from_utf8_lossy(&self.sent).into_owned()
    }

    #[track_caller]
    fn finished(self) {
        assert_eq!(self.events, VecDeque::<String>::new(), "events left over");
        assert_eq!(self.unread(), "", "said without being expected");
    }
}

/// An outcome on one line.
pub(crate) fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(reply) => {
            format!("delivered: {}", reply.as_ref().map_or_else(String::new, Reply::one_line))
        }
        Outcome::Deferred(trouble) => format!("deferred: {trouble}"),
        Outcome::Failed(trouble) => format!("failed: {trouble}"),
    }
}
