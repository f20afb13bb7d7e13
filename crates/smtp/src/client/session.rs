//! Opening a session, keeping it secure, and ending it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::extension::Capabilities;
use crate::middlebox;
use crate::outcome::{Outcome, Reason, Step, Trouble};
use crate::reply::{Reply, ReplyParser};
use crate::sasl::{Broken, ClientExchange, Context};
use crate::tls::{TlsFacts, TlsFailure, TlsFault, TlsRequirement};

use super::delivery::{Delivery, Peer, Progress};
use super::{Input, Job, Output, Plan, Protocol, TlsStart};

/// How long QUIT's reply is waited for at most: the mail is safe by then.
const QUIT_PATIENCE: Duration = Duration::from_secs(5);

/// A session with a server that takes our mail.
///
/// The driver gives [`Input::Time`] before each other input, performs all that [`Self::poll`] gives after it, and is
/// done at [`Output::Close`].
pub struct ClientSession {
    plan: Plan,
    now: Instant,
    tls: Option<TlsFacts>,
    /// The mark of a device on the way that rewrites SMTP, from what was said before TLS.
    masked: Option<String>,
    replies: ReplyParser,
    state: State,
    jobs: VecDeque<Job>,
    future: Future,
    out: VecDeque<Output>,
    clock: Clock,
}

/// What the session is doing; each state owns what only it needs.
#[derive(Debug)]
enum State {
    Greeting,
    Hello(Hello),
    /// STARTTLS was said.
    StartTls(Capabilities),
    /// The driver does the handshake.
    Handshake,
    SigningIn(Capabilities, ClientExchange),
    /// The exchange was cancelled because the peer broke its rules.
    SignInCancelled(Broken),
    Ready(Peer),
    Delivering(Peer, Box<Delivery>),
    /// QUIT was said.
    Leaving(Option<Outcome>),
    Closed(Option<Outcome>),
}

/// Which greeting of ours is unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hello {
    /// EHLO or LHLO.
    Extended,
    /// HELO, after EHLO was not understood.
    Plain,
}

/// Whether more messages may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Future {
    Open,
    /// [`Input::Quit`] came.
    NoMore,
}

/// When the peer's time is up, and whether the driver was told.
#[derive(Debug)]
struct Clock {
    deadline: Option<Instant>,
    announced: bool,
}

impl ClientSession {
    /// A session on a connection that was just made.
    pub fn new(plan: Plan, now: Instant) -> Self {
        let tls = match &plan.tls {
            TlsStart::Implicit(facts) => Some(facts.clone()),
            TlsStart::StartTls | TlsStart::Never => None,
        };
        let mut session = Self {
            plan,
            now,
            tls,
            masked: None,
            replies: ReplyParser::new(),
            state: State::Greeting,
            jobs: VecDeque::new(),
            future: Future::Open,
            out: VecDeque::new(),
            clock: Clock { deadline: None, announced: true },
        };
        session.wind_clock();
        session
    }

    /// Takes what happened outside.
    pub fn handle(&mut self, input: Input<'_>) {
        match input {
            Input::Time(now) => return self.time(now),
            Input::Bytes(bytes) => return self.bytes(bytes),
            Input::Closed => self.closed(),
            Input::TlsStarted(facts) => self.tls_started(facts),
            Input::TlsFailed(failure) => self.tls_failed(&failure),
            Input::Deliver(job) => self.deliver(job),
            Input::Content(piece) => {
                if let State::Delivering(peer, delivery) = &mut self.state {
                    delivery.content(piece, peer, &mut self.out);
                }
            }
            Input::ContentEnd => {
                if let State::Delivering(peer, delivery) = &mut self.state {
                    delivery.content_end(peer, &mut self.out);
                }
            }
            Input::ContentFailed(why) => self.content_failed(why),
            Input::Quit => self.no_more(),
        }
        self.wind_clock();
    }

    /// The next thing to do; `None` when only an input leads on.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(output) = self.out.pop_front() {
            return Some(output);
        }
        if std::mem::replace(&mut self.clock.announced, true) {
            return None;
        }
        self.clock.deadline.map(|until| Output::Wait { until })
    }

    /// What is known of TLS on this connection; `None` while it is in clear.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.tls.as_ref()
    }

    /// What the peer offers, once it said so on the connection as it is now (what it says before TLS does not count
    /// after it) and until the session ends.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        match &self.state {
            State::Ready(peer) | State::Delivering(peer, _) => Some(&peer.capabilities),
            State::StartTls(capabilities) | State::SigningIn(capabilities, _) => Some(capabilities),
            _ => None,
        }
    }

    /// Whether the session is idle and takes a message.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }
}

/// Shows where the session is and nothing that was said: that could hold a password.
impl fmt::Debug for ClientSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ClientSession");
        shown
            .field("plan", &self.plan)
            .field("tls", &self.tls)
            .field("step", &self.step())
            .finish_non_exhaustive()
    }
}

/// Inputs.
impl ClientSession {
    fn time(&mut self, now: Instant) {
        self.now = self.now.max(now);
        if self.clock.deadline.is_none_or(|deadline| self.now < deadline) {
            return;
        }
        match &self.state {
            State::Leaving(_) => self.close(),
            _ => self.hang_up(Trouble::new(self.step(), Reason::TimedOut)),
        }
        self.wind_clock();
    }

    fn bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !matches!(self.state, State::Closed(_)) {
            if matches!(self.state, State::Handshake) {
                self.injected();
                break;
            }
            match self.replies.feed(bytes) {
                Ok((consumed, reply)) => {
                    bytes = bytes.get(consumed..).unwrap_or_default();
                    let Some(reply) = reply else { continue };
                    self.reply(reply);
                    self.wind_clock();
                }
                Err(error) => {
                    self.hang_up(Trouble::new(self.step(), Reason::Protocol(error.to_string())));
                    break;
                }
            }
        }
        if matches!(self.state, State::Closed(_)) {
            self.wind_clock();
        }
    }

    fn closed(&mut self) {
        match &self.state {
            State::Closed(_) => {}
            // An idle session may be closed by either side; nothing is lost with it.
            State::Leaving(_) | State::Ready(_) => self.close(),
            _ => self.hang_up(Trouble::new(self.step(), Reason::ConnectionLost)),
        }
    }

    fn tls_started(&mut self, facts: TlsFacts) {
        if !matches!(self.state, State::Handshake) {
            return;
        }
        // RFC 3207 §4.2: all that was learnt before is forgotten.
        self.replies = ReplyParser::new();
        self.tls = Some(facts);
        if self.is_secure() {
            return self.hello();
        }
        self.security_unmet(None);
    }

    fn tls_failed(&mut self, failure: &TlsFailure) {
        if matches!(self.state, State::Handshake) {
            self.hang_up(Trouble::of_tls(Reason::TlsFailed(failure.why.clone()), failure));
        }
    }

    fn deliver(&mut self, job: Job) {
        self.jobs.push_back(job);
        if self.is_ready() && self.replies.is_midway() {
            let reason = Reason::Protocol("half a reply came that nothing had asked for".to_owned());
            return self.hang_up(Trouble::new(Step::Mail, reason));
        }
        match &self.state {
            State::Ready(_) => self.next_job(),
            State::Leaving(end) | State::Closed(end) => {
                let lost = || Outcome::Deferred(Trouble::new(Step::Mail, Reason::ConnectionLost));
                let outcome = end.clone().unwrap_or_else(lost);
                self.settle(&outcome);
            }
            _ => {}
        }
    }

    /// Our side cannot go on with the content. Ending it would deliver a torn message, so the connection ends instead.
    fn content_failed(&mut self, why: String) {
        let State::Delivering(_, delivery) = &self.state else {
            return;
        };
        if delivery.is_streaming() {
            self.settle_delivery(&Trouble::new(Step::Content, Reason::Local(why)));
            self.settle(&Outcome::Deferred(Trouble::new(Step::Mail, Reason::ConnectionLost)));
            self.close();
        }
    }

    fn no_more(&mut self) {
        self.future = Future::NoMore;
        if self.is_ready() {
            self.quit(None);
        }
    }
}

/// Replies.
impl ClientSession {
    fn reply(&mut self, reply: Reply) {
        // RFC 5321 §3.8: 421 may come at any point, and the peer closes.
        if reply.code == 421 && !matches!(self.state, State::Leaving(_)) {
            return self.sent_away(reply);
        }
        match &mut self.state {
            State::Greeting => self.greeted(reply),
            State::Hello(hello) => {
                let hello = *hello;
                self.hello_answered(hello, reply);
            }
            State::StartTls(_) => self.start_tls_answered(reply),
            State::SigningIn(..) => self.sign_in_answered(reply),
            State::SignInCancelled(broken) => {
                let reason = Reason::Protocol(broken.to_string());
                let trouble = Trouble::new(Step::Authenticate, reason).with_reply(Some(reply));
                self.leave(&Outcome::Deferred(trouble));
            }
            State::Delivering(peer, delivery) => {
                let progress = delivery.reply(reply, peer, &mut self.out);
                self.progressed(progress);
            }
            State::Ready(_) => self.broken("a reply came that nothing had asked for", reply),
            State::Leaving(_) => self.close(),
            State::Handshake | State::Closed(_) => {}
        }
    }

    /// RFC 5321 §3.1: 220 welcomes; 554 and the rest do not, and are told QUIT.
    fn greeted(&mut self, reply: Reply) {
        self.masked = middlebox::sign(Some(&reply), None, None);
        match reply.code {
            _ if self.has_nothing_to_do() => self.quit(None),
            220 if self.tls.is_some() && !self.is_secure() => self.security_unmet(None),
            220 => self.hello(),
            400..600 => self.refused(Step::Greeting, reply),
            _ => self.broken("the greeting was neither yes nor no", reply),
        }
    }

    fn hello_answered(&mut self, hello: Hello, reply: Reply) {
        if self.has_nothing_to_do() {
            return self.quit(None);
        }
        match reply.code {
            250 if hello == Hello::Extended => {
                if self.masked.is_none() {
                    self.masked = middlebox::sign(None, None, Some(&reply));
                }
                self.introduced(Capabilities::parse(&reply));
            }
            250 => self.introduced(Capabilities::default()),
            // RFC 5321 §3.2: a server that does not know EHLO. Without EHLO there is neither STARTTLS nor AUTH.
            500 | 501 | 502 | 504 if hello == Hello::Extended && self.may_do_without_extensions() => {
                self.plain_hello();
            }
            400..600 => self.refused(Step::Hello, reply),
            _ => self.broken("EHLO was answered by neither yes nor no", reply),
        }
    }

    /// Goes on with what the peer offers: TLS first, then AUTH, then mail.
    fn introduced(&mut self, capabilities: Capabilities) {
        let wanted = self.plan.tls == TlsStart::StartTls && self.plan.requirement != TlsRequirement::NONE;
        if wanted && self.tls.is_none() && capabilities.starttls {
            self.say("STARTTLS\r\n");
            self.state = State::StartTls(capabilities);
            return;
        }
        self.settled_security(capabilities, None);
    }

    fn start_tls_answered(&mut self, reply: Reply) {
        let State::StartTls(capabilities) = std::mem::replace(&mut self.state, State::Handshake) else {
            return;
        };
        match reply.code {
            220 => self.out.push_back(Output::StartTls),
            // RFC 3207 §4: 454, 501 and whatever else; the requirement says whether to go on in clear.
            400..600 => self.settled_security(capabilities, Some(reply)),
            _ => self.broken("STARTTLS was answered by neither 220 nor no", reply),
        }
    }

    /// The connection will not become any more secure: what is it good for? `refusal` is what STARTTLS got.
    fn settled_security(&mut self, capabilities: Capabilities, refusal: Option<Reply>) {
        if !self.is_secure() {
            return self.security_unmet(refusal);
        }
        if self.plan.sign_in.is_some() {
            return self.sign_in(capabilities);
        }
        self.open(capabilities, SignedIn::No);
    }

    /// The only place where AUTH is said. RFC 4954 §4, §14: over TLS, to a peer that proved who it is.
    fn sign_in(&mut self, capabilities: Capabilities) {
        if !self.is_secure() || !self.is_peer_authenticated() {
            return self.withhold("the connection is not encrypted to a server that proved who it is");
        }
        let Some(sign_in) = &self.plan.sign_in else {
            return;
        };
        let channel_binding = self.tls.as_ref().and_then(|facts| facts.channel_bindings.exporter.clone());
        let context = Context { nonce: sign_in.nonce, channel_binding, only: sign_in.only };
        let started = ClientExchange::start(&capabilities.auth, &sign_in.credential, &context);
        let (exchange, start) = match started {
            Ok(started) => started,
            Err(unable) => return self.withhold(&unable.to_string()),
        };
        let initial = start.initial.map(|initial| [b" ", initial.expose()].concat()).unwrap_or_default();
        self.say_secret(&[b"AUTH ", start.mechanism.as_bytes(), &initial]);
        self.state = State::SigningIn(capabilities, exchange);
    }

    /// A refused sign-in defers, even when it is a 5yz: a wrong password in our configuration must not bounce
    /// anybody's mail.
    fn sign_in_answered(&mut self, reply: Reply) {
        match reply.code {
            200..300 => {
                let State::SigningIn(capabilities, exchange) = &self.state else {
                    return;
                };
                match exchange.conclude() {
                    Ok(()) => self.open(capabilities.clone(), SignedIn::Yes),
                    Err(broken) => self.broken(&broken.to_string(), reply),
                }
            }
            334 => self.challenged(&reply),
            400..600 => {
                let trouble =
                    Trouble::new(Step::Authenticate, self.sign_in_refusal()).with_reply(Some(reply));
                self.leave(&Outcome::Deferred(trouble));
            }
            _ => self.broken("AUTH was answered by neither yes nor no", reply),
        }
    }

    fn challenged(&mut self, reply: &Reply) {
        let State::SigningIn(_, exchange) = &mut self.state else {
            return;
        };
        let challenge = reply.lines.first().map(String::as_str).unwrap_or_default();
        match exchange.respond(challenge) {
            Ok(response) => self.say_secret(&[response.expose()]),
            Err(broken) => {
                self.say("*\r\n"); // RFC 4954 §4: cancel.
                self.state = State::SignInCancelled(broken);
            }
        }
    }

    /// What a refusal is about: a server that refuses a token says why within the exchange, if anywhere.
    fn sign_in_refusal(&self) -> Reason {
        match &self.state {
            State::SigningIn(_, exchange) => match exchange.complaint() {
                Some(words) => Reason::SignInRefused(words.to_owned()),
                None => Reason::Refused,
            },
            _ => Reason::Refused,
        }
    }

    /// The session is open for mail.
    fn open(&mut self, capabilities: Capabilities, signed_in: SignedIn) {
        let protocol = self.plan.protocol;
        let signed_in = signed_in == SignedIn::Yes;
        self.state = State::Ready(Peer { protocol, capabilities, signed_in, mails: 0, stale: false });
        self.next_job();
    }

    /// The only place where a delivery begins, and so the only way to MAIL.
    fn next_job(&mut self) {
        if !self.is_secure() {
            return self.security_unmet(None);
        }
        while let State::Ready(peer) = &self.state {
            if !peer.takes_mail() || self.has_nothing_to_do() {
                return self.quit(None);
            }
            let Some(job) = self.jobs.pop_front() else {
                self.out.push_back(Output::Ready);
                return;
            };
            if job.params.requiretls && !self.is_peer_authenticated() {
                self.not_good_enough(&job);
                continue;
            }
            self.begin(job);
        }
    }

    /// A message whose sender demands REQUIRETLS goes only to a peer that proved who it is (RFC 8689 §4.2.1).
    fn not_good_enough(&mut self, job: &Job) {
        let failure = self.shortcoming(false);
        let reason = Reason::SecurityUnmet(format!("{} (required by the sender: REQUIRETLS)", failure.why));
        let outcome = Outcome::Deferred(Trouble::of_tls(reason, &failure));
        self.out.push_back(Output::Outcomes(vec![outcome; job.to.len()]));
    }

    fn begin(&mut self, job: Job) {
        let State::Ready(mut peer) = std::mem::replace(&mut self.state, State::Greeting) else {
            return;
        };
        self.state = match Delivery::start(job, &mut peer, &mut self.out) {
            Ok(delivery) => State::Delivering(peer, Box::new(delivery)),
            Err(outcomes) => {
                self.out.push_back(Output::Outcomes(outcomes));
                State::Ready(peer)
            }
        };
    }

    fn progressed(&mut self, progress: Progress) {
        match progress {
            Progress::Going => {}
            Progress::Broken(trouble) => self.hang_up(trouble),
            Progress::Done(outcomes) => {
                let State::Delivering(peer, _) = std::mem::replace(&mut self.state, State::Greeting) else {
                    return;
                };
                self.state = State::Ready(peer);
                self.out.push_back(Output::Outcomes(outcomes));
                self.next_job();
            }
        }
    }
}

/// Whether AUTH succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SignedIn {
    Yes,
    No,
}

/// What is said.
impl ClientSession {
    fn hello(&mut self) {
        let verb = match self.plan.protocol {
            Protocol::Smtp => "EHLO",
            Protocol::Lmtp => "LHLO", // RFC 2033 §4.1
        };
        self.say(&format!("{verb} {}\r\n", self.plan.hello));
        self.state = State::Hello(Hello::Extended);
    }

    fn plain_hello(&mut self) {
        self.say(&format!("HELO {}\r\n", self.plan.hello));
        self.state = State::Hello(Hello::Plain);
    }

    fn say(&mut self, line: &str) {
        self.out.push_back(Output::Send(Bytes::copy_from_slice(line.as_bytes())));
    }

    fn say_secret(&mut self, parts: &[&[u8]]) {
        let mut line = parts.concat();
        line.extend_from_slice(b"\r\n");
        self.out.push_back(Output::Send(Bytes::from(line)));
    }
}

/// Endings. Whoever has no outcome yet gets one before the session closes.
impl ClientSession {
    /// QUIT, and a short wait for its reply (RFC 5321 §4.1.1.10).
    fn quit(&mut self, end: Option<Outcome>) {
        self.say("QUIT\r\n");
        self.state = State::Leaving(end);
        self.settle(&Outcome::Deferred(Trouble::new(Step::Mail, Reason::ConnectionLost)));
    }

    /// Ends the session politely for a reason.
    fn leave(&mut self, outcome: &Outcome) {
        self.settle(outcome);
        self.quit(Some(outcome.clone()));
    }

    /// Ends the session with a peer that one cannot talk to, or that is gone.
    fn hang_up(&mut self, trouble: Trouble) {
        let outcome = Outcome::Deferred(trouble);
        self.settle(&outcome);
        self.state = State::Closed(Some(outcome.clone()));
        self.out.push_back(Output::Close(Some(outcome)));
    }

    fn close(&mut self) {
        let end = match &mut self.state {
            State::Leaving(end) => end.take(),
            _ => None,
        };
        self.state = State::Closed(end.clone());
        self.out.push_back(Output::Close(end));
    }

    /// 421. An idle session ends without anybody's harm.
    fn sent_away(&mut self, reply: Reply) {
        if self.is_ready() {
            return self.close();
        }
        self.hang_up(Trouble::new(self.step(), Reason::Refused).with_reply(Some(reply)));
    }

    /// A greeting or EHLO refused. What is said before the requirement is met was said by anybody, so it can delay mail
    /// but never bounce it.
    fn refused(&mut self, step: Step, reply: Reply) {
        let outcome = match Outcome::from_reply(step, reply) {
            Outcome::Failed(trouble) if !self.is_secure() => Outcome::Deferred(trouble),
            outcome => outcome,
        };
        self.leave(&outcome);
    }

    fn broken(&mut self, why: &str, reply: Reply) {
        let reason = Reason::Protocol(why.to_owned());
        self.hang_up(Trouble::new(self.step(), reason).with_reply(Some(reply)));
    }

    /// Bytes behind the 220 to STARTTLS were written by somebody who could not have written them after it (RFC 3207 §6).
    fn injected(&mut self) {
        self.out.retain(|output| *output != Output::StartTls);
        let failure = TlsFailure::injected();
        self.hang_up(Trouble::of_tls(Reason::Protocol(failure.why.clone()), &failure));
    }

    /// The connection will not become what is demanded of it. `refusal` is what STARTTLS got.
    fn security_unmet(&mut self, refusal: Option<Reply>) {
        let failure = self.shortcoming(refusal.is_some());
        let trouble = Trouble::unmet(&failure, self.plan.requirement).with_reply(refusal);
        self.leave(&Outcome::Deferred(trouble));
    }

    /// What keeps the connection from being as secure as is demanded.
    fn shortcoming(&self, refused: bool) -> TlsFailure {
        let Some(facts) = &self.tls else {
            return match (&self.plan.tls, &self.masked) {
                _ if refused => TlsFailure::refused(),
                (TlsStart::StartTls, Some(sign)) => TlsFailure::stripped(sign),
                (TlsStart::StartTls, None) => TlsFailure::not_offered(),
                _ => TlsFailure::new(TlsFault::NotOffered, "TLS was not to be tried"),
            };
        };
        let certificate = facts.peer.certificate.clone();
        match facts.peer.doubt() {
            Some(doubt) => TlsFailure::new(doubt.fault, format!("its certificate: {}", doubt.why)),
            None => TlsFailure::new(TlsFault::NoCertificate, "it showed no certificate"),
        }
        .about(certificate)
    }

    fn withhold(&mut self, why: &str) {
        let reason = Reason::CredentialsWithheld(why.to_owned());
        self.leave(&Outcome::Deferred(Trouble::new(Step::Authenticate, reason)));
    }

    /// Gives every job its outcomes: the one under way keeps what was decided.
    fn settle(&mut self, outcome: &Outcome) {
        if let Some(trouble) = outcome.trouble() {
            self.settle_delivery(trouble);
        }
        for job in self.jobs.drain(..) {
            self.out.push_back(Output::Outcomes(vec![outcome.clone(); job.to.len()]));
        }
    }

    fn settle_delivery(&mut self, trouble: &Trouble) {
        match std::mem::replace(&mut self.state, State::Closed(None)) {
            State::Delivering(_, delivery) => self.out.push_back(Output::Outcomes(delivery.abandon(trouble))),
            other => self.state = other,
        }
    }
}

/// Looking at oneself.
impl ClientSession {
    /// The requirement is met by the connection as it is.
    fn is_secure(&self) -> bool {
        self.plan.requirement.is_satisfied_by(self.tls.as_ref())
    }

    fn is_peer_authenticated(&self) -> bool {
        self.tls.as_ref().is_some_and(|facts| facts.peer.is_authenticated())
    }

    /// HELO gives neither STARTTLS nor AUTH; LMTP has none.
    fn may_do_without_extensions(&self) -> bool {
        let smtp = self.plan.protocol == Protocol::Smtp;
        smtp && self.plan.requirement.allows_clear() && self.plan.sign_in.is_none()
    }

    fn has_nothing_to_do(&self) -> bool {
        self.future == Future::NoMore && self.jobs.is_empty()
    }

    fn step(&self) -> Step {
        match &self.state {
            State::Greeting => Step::Greeting,
            State::Hello(_) => Step::Hello,
            State::StartTls(_) | State::Handshake => Step::Tls,
            State::SigningIn(..) | State::SignInCancelled(_) => Step::Authenticate,
            State::Delivering(_, delivery) => delivery.step(),
            State::Ready(_) | State::Leaving(_) | State::Closed(_) => Step::Mail,
        }
    }

    /// Sets the time by which the next reply is due (RFC 5321 §4.5.3.2).
    fn wind_clock(&mut self) {
        let timeouts = &self.plan.timeouts;
        let patience = match &self.state {
            State::Greeting => Some(timeouts.greeting),
            State::Hello(_) | State::StartTls(_) | State::SigningIn(..) | State::SignInCancelled(_) => {
                Some(timeouts.command)
            }
            State::Delivering(_, delivery) => delivery.patience(timeouts),
            State::Leaving(_) => Some(timeouts.command.min(QUIT_PATIENCE)),
            State::Handshake | State::Ready(_) | State::Closed(_) => None,
        };
        let deadline = patience.and_then(|patience| self.now.checked_add(patience));
        if deadline != self.clock.deadline {
            self.clock = Clock { deadline, announced: false };
        }
    }
}
