//! The conversation: a real session, and what a mail program would say to it, line by line.
//!
//! [`Play`] holds both ends. What the session asks goes to `judge`; what it replies is read as a client reads it, and decides
//! what the client says next. A client that is refused one recipient goes on with the others, as mail programs do.
//!
//! What it deliberately does not do: decide anything, or time out: it never waits.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use postern_message::inspect::{Inspector, MAX_HEADER_BYTES};
use postern_message::rewrite::NewAuthor;
use postern_pki::{ClientIdentity, MinimumVersion, Pin};
use postern_smtp::address::Mailbox;
use postern_smtp::extension::Capabilities;
use postern_smtp::reply::{Reply, ReplyParser};
use postern_smtp::sasl::{ChannelBindings, ClientExchange, Context, Credential};
use postern_smtp::secret::Secret;
use postern_smtp::server::{Beginning, Input, Output, ServerSession, Settings};
use postern_smtp::tls::{PeerProof, TlsFacts};

use super::{Acceptance, Exchange, Onward, Question, Tls, Version, World, words};
use crate::admin::route::connector_view;
use crate::config::{ClientCertificates, Device, ListenerTls};
use crate::directory::Principal;
use crate::inbound::decide::SoFar;
use crate::inbound::device::new_author_of;
use crate::inbound::listener::Listener;

/// What the client calls itself.
const HELLO: &str = "client.invalid";
/// The password that stands for the right one. Whoever plays has no other.
pub(super) const PASSWORD: &str = "taken as right";
/// A session that is told one line does no more than this at once.
const OUTPUTS_MOST: usize = 1000;
/// No exchange of SASL has more steps.
const STEPS_MOST: usize = 8;

/// A session and its client.
pub(super) struct Play<'w> {
    pub(super) world: World<'w>,
    pub(super) listener: &'w Arc<Listener>,
    pub(super) question: &'w Question,
    pub(super) now: Timestamp,
    pub(super) known: Known,
    pub(super) so_far: SoFar,
    /// Who would receive the message.
    pub(super) recipients: Vec<Mailbox>,
    pub(super) inspector: Inspector,
    /// For a device whose senders are replaced.
    pub(super) new_author: Option<NewAuthor>,
    /// What decided the exchange that is under way.
    pub(super) because: Vec<String>,
    pub(super) notes: Vec<String>,
    settings: Arc<Settings>,
    exchanges: Vec<Exchange>,
    capabilities: Capabilities,
    stage: Stage,
}

/// What a session's policy knows of its client.
#[derive(Default)]
pub(super) struct Known {
    pub(super) tls: Option<TlsFacts>,
    pub(super) certificate: Option<ClientIdentity>,
    pub(super) principal: Option<Principal>,
    pub(super) device: Option<Arc<Device>>,
}

/// Whether the connection still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The session waits for a handshake.
    Handshake,
    Closed,
}

/// The last reply of an exchange, which may be a connection that just ended.
type Heard = Option<Reply>;

impl<'w> Play<'w> {
    pub(super) fn new(
        world: World<'w>,
        listener: &'w Arc<Listener>,
        question: &'w Question,
        now: Timestamp,
    ) -> Self {
        let admitted = listener.device_at(question.client);
        Self {
            known: Known {
                device: admitted.map(|admitted| Arc::clone(&admitted.device)),
                ..Known::default()
            },
            settings: listener.settings_for(question.client),
            world,
            listener,
            question,
            now,
            so_far: SoFar::default(),
            recipients: Vec::new(),
            inspector: Inspector::new(MAX_HEADER_BYTES),
            new_author: admitted.and_then(|admitted| new_author_of(&admitted.device)),
            because: Vec::new(),
            notes: Vec::new(),
            exchanges: Vec::new(),
            capabilities: Capabilities::default(),
            stage: Stage::Open,
        }
    }

    /// Plays it to the end, which is an accepted message or the first refusal that leaves nothing to go on with.
    pub(super) async fn run(&mut self) {
        self.say_what_is_not_played();
        if let Err(reply) = self.may_arrive() {
            return self.turned_away(&reply);
        }
        let implicit = self.begins_with_tls();
        if let Err(why) = self.check_beginning(implicit) {
            return self
                .fails(vec![if implicit { "(TLS handshake)" } else { "(waits for a banner)" }.into()], why);
        }
        if implicit && let Err(why) = self.shake_hands() {
            return self.fails(vec!["(TLS handshake)".into()], why);
        }
        let beginning = Beginning {
            tls: self.known.tls.clone(),
            seed: [0; 32],
            front_end: self.listener.config.xclient.of(self.question.client),
        };
        let mut session = ServerSession::new(Arc::clone(&self.settings), beginning, Instant::now());
        // A dialogue that goes on is a closed one, or one that was refused where nothing can follow.
        let _ = self.converse(&mut session).await;
    }

    /// What came of it.
    pub(super) fn acceptance(self, chosen: Option<String>) -> Acceptance {
        let refusal = self.exchanges.iter().find(|exchange| exchange.refused);
        let in_words = |exchange: &Exchange| {
            let said = if exchange.server.is_empty() { &exchange.because } else { &exchange.server };
            said.join(" ")
        };
        Acceptance {
            accepted: refusal.is_none(),
            refused: refusal.map(in_words),
            listener: self.listener.config.name.clone(),
            role: words::role(self.listener.config.role).to_owned(),
            chosen,
            onward: self.onward(),
            exchanges: self.exchanges,
            notes: self.notes,
            daemon: self.world.sessions.is_some(),
        }
    }

    async fn converse(&mut self, session: &mut ServerSession) -> Option<()> {
        self.hear(session, b"", Vec::new()).await.filter(Reply::is_positive)?;
        self.greet(session).await?;
        if self.wants_starttls() {
            let heard = self.say(session, "STARTTLS").await?;
            if heard.code == 220 && self.stage == Stage::Handshake {
                if let Err(why) = self.shake_hands() {
                    self.fails(vec!["(TLS handshake)".into()], why);
                    return None;
                }
                session.handle(Input::TlsStarted(self.known.tls.clone()?));
                (self.stage, self.known.principal) = (Stage::Open, None);
                self.greet(session).await?;
            } else {
                return None;
            }
        }
        if let Some(user) = &self.question.user {
            self.sign_in(session, user).await.filter(|reply| reply.code == 235)?;
        }
        let mail = self.mail();
        self.say(session, &mail).await.filter(Reply::is_positive)?;
        let mut taken = 0;
        for to in &self.question.to {
            let heard = self.say(session, &format!("RCPT TO:<{}>", bare(to))).await?;
            taken += usize::from(heard.is_positive());
        }
        if taken == 0 {
            return None;
        }
        self.say(session, "DATA").await.filter(|reply| reply.code == 354)?;
        self.content(session).await.filter(Reply::is_positive)?;
        self.say(session, "QUIT").await.map(|_| ())
    }

    async fn greet(&mut self, session: &mut ServerSession) -> Option<()> {
        let heard = self.say(session, &format!("EHLO {HELLO}")).await.filter(Reply::is_positive)?;
        self.capabilities = Capabilities::parse(&heard);
        Some(())
    }

    /// What a client does that has STARTTLS: it says it where it is offered, and where it was told to use it.
    fn wants_starttls(&self) -> bool {
        match self.question.tls {
            _ if self.known.tls.is_some() => false,
            Tls::Never | Tls::Implicit => false,
            Tls::StartTls => true,
            Tls::AsOffered | Tls::Version(_) => self.capabilities.starttls,
        }
    }

    fn mail(&self) -> String {
        let sender = bare(&self.question.from);
        let mut line = format!("MAIL FROM:<{sender}>");
        if let (Some(size), Some(_)) = (self.question.size, self.capabilities.size) {
            line += &format!(" SIZE={size}");
        }
        let all_ascii = sender.is_ascii() && self.question.to.iter().all(|to| to.is_ascii());
        if !all_ascii && self.capabilities.smtputf8 {
            line += " SMTPUTF8";
        }
        line
    }

    /// Signs in by the best that is offered, or by PLAIN where nothing is, as a program does that was told to sign in.
    async fn sign_in(&mut self, session: &mut ServerSession, user: &str) -> Heard {
        let context = Context { nonce: [0; 18], channel_binding: None, only: None };
        let (user, acting_as) = (user.to_owned(), None);
        let secret = || Secret::new(PASSWORD);
        let ways = [
            Credential::Password { user: user.clone(), password: secret(), acting_as: None },
            Credential::Token { user, token: secret(), endpoint: None },
            Credential::External { acting_as },
        ];
        let offered = &self.capabilities.auth;
        let mut starts = ways.iter().filter_map(|way| ClientExchange::start(offered, way, &context).ok());
        let Some((mut exchange, start)) = starts.next() else { return self.say(session, "AUTH PLAIN").await };
        let (mut line, mut shown) =
            (format!("AUTH {}", start.mechanism), format!("AUTH {}", start.mechanism));
        if let Some(initial) = start.initial.as_ref().and_then(Secret::expose_str) {
            line = format!("{line} {initial}");
            shown += " (a right proof)";
        }
        let mut heard = self.hear(session, line.as_bytes(), vec![shown]).await?;
        for _ in 0..STEPS_MOST {
            if heard.code != 334 {
                break;
            }
            let challenge = heard.lines.first().map(String::as_str).unwrap_or_default();
            let Ok(answer) = exchange.respond(challenge) else { break };
            let answer = answer.expose_str().unwrap_or_default().to_owned();
            heard = self.hear(session, answer.as_bytes(), vec!["(a right proof)".into()]).await?;
        }
        Some(heard)
    }

    /// The header alone: more is not looked at.
    async fn content(&mut self, session: &mut ServerSession) -> Heard {
        let sender = bare(&self.question.from);
        let mut fields = Vec::new();
        match &self.question.header_from {
            Some(from) => fields.push(format!("From: {from}")),
            None if sender.is_empty() => {}
            None => fields.push(format!("From: <{sender}>")),
        }
        fields.extend(self.question.header_sender.iter().map(|sender| format!("Sender: {sender}")));
        let lines = [&fields[..], &[String::new(), ".".to_owned()]].concat();
        let mut shown = fields;
        shown.extend([String::new(), "(content)".to_owned(), ".".to_owned()]);
        self.hear(session, lines.join("\r\n").as_bytes(), shown).await
    }

    async fn say(&mut self, session: &mut ServerSession, line: &str) -> Heard {
        self.hear(session, line.as_bytes(), vec![line.to_owned()]).await
    }

    /// Says a line (none: only listens), and notes what came of it. `None`: the connection is over.
    async fn hear(&mut self, session: &mut ServerSession, line: &[u8], shown: Vec<String>) -> Heard {
        if self.stage != Stage::Open {
            return None;
        }
        session.handle(Input::Time(Instant::now()));
        if !shown.is_empty() {
            session.handle(Input::Bytes(&[line, b"\r\n"].concat()));
        }
        let replies = self.pump(session).await;
        let last = replies.last().cloned();
        let refused = last.as_ref().is_none_or(|reply| reply.code >= 400);
        let mut because = std::mem::take(&mut self.because);
        if refused && because.is_empty() {
            because
                .extend(last.as_ref().map(|reply| words::of_session(reply, self.listener, &self.settings)));
        }
        let server = replies.iter().flat_map(written).collect();
        self.exchanges.push(Exchange { client: shown, server, because, refused });
        last.filter(|_| self.stage != Stage::Closed || !refused)
    }

    /// Does what the session wants done until it waits for the client.
    async fn pump(&mut self, session: &mut ServerSession) -> Vec<Reply> {
        let (mut parser, mut replies) = (ReplyParser::new(), Vec::new());
        for _ in 0..OUTPUTS_MOST {
            match session.poll() {
                None => break,
                Some(Output::Send(bytes)) => read(&mut parser, &bytes, &mut replies),
                Some(Output::Ask(question)) => {
                    let verdict = self.judge(question).await;
                    session.handle(Input::Verdict(verdict));
                }
                Some(Output::Body(bytes)) => match &mut self.new_author {
                    Some(new_author) => self.inspector.feed(&new_author.feed(&bytes)),
                    None => self.inspector.feed(&bytes),
                },
                Some(Output::StartTls) => self.stage = Stage::Handshake,
                Some(Output::Close(_)) => self.stage = Stage::Closed,
                // A client says no XCLIENT, leaves no message half way, and never lets the time run out.
                Some(Output::Discard | Output::Introduce(_) | Output::Wait { .. }) => {}
            }
        }
        replies
    }

    /// Whether the client begins with TLS.
    fn begins_with_tls(&self) -> bool {
        match self.question.tls {
            Tls::Implicit => true,
            Tls::Never | Tls::StartTls => false,
            Tls::AsOffered | Tls::Version(_) => self.expects_tls(),
        }
    }

    /// Whether nothing is said before TLS to clients that the listener knows nothing of.
    fn expects_tls(&self) -> bool {
        self.listener.config.tls.begins_with_tls(&self.listener.config.bind)
    }

    /// Whether the listener begins as the client does.
    fn check_beginning(&self, implicit: bool) -> Result<(), String> {
        let name = &self.listener.config.name;
        match (implicit, self.listener.config.tls) {
            (_, ListenerTls::Auto(_))
            | (true, ListenerTls::Implicit)
            | (false, ListenerTls::Offered | ListenerTls::Required) => Ok(()),
            (true, _) => {
                Err(format!("[[listener]] \"{name}\" begins in clear: the client must use STARTTLS"))
            }
            (false, _) => Err(format!(
                "[[listener]] \"{name}\" tls = \"implicit\": the client must begin TLS at once, and hears nothing before"
            )),
        }
    }

    /// The handshake as the TLS library would end it.
    fn shake_hands(&mut self) -> Result<(), String> {
        let version = match self.question.tls {
            Tls::Version(version) => version,
            _ => Version::Tls13,
        };
        let config = &self.listener.config;
        let name = &config.name;
        if version < Version::Tls12 {
            return Err("TLS 1.0 and 1.1 are not spoken (RFC 8996)".to_owned());
        }
        if version < Version::Tls13 && config.minimum == MinimumVersion::Tls13 {
            return Err(format!("[[listener]] \"{name}\" tls_minimum = \"1.3\""));
        }
        if !self.settings.tls_available {
            return Err(format!("[[listener]] \"{name}\": no usable certificate is loaded"));
        }
        let (peer, certificate) = match (&config.client_certificates, &self.question.certificate) {
            (ClientCertificates::Required(_), None) => {
                return Err(format!(
                    "[[listener]] \"{name}\" client_certificates = \"required\", and none is shown"
                ));
            }
            (ClientCertificates::Ignored, Some(_)) => {
                self.notes.push(format!(
                    "listener {name} does not ask for client certificates, so that none is shown there"
                ));
                (PeerProof::anonymous(), None)
            }
            (_, None) => (PeerProof::anonymous(), None),
            (_, Some(shown)) => {
                let seen = PeerProof { certificate: Some(Box::default()), ..PeerProof::verified() };
                (seen, Some(identity(shown)))
            }
        };
        let version = if version == Version::Tls12 { "TLSv1.2" } else { "TLSv1.3" };
        let (cipher, channel_bindings) = ("TLS_AES_256_GCM_SHA384".to_owned(), ChannelBindings::default());
        let version = version.to_owned();
        let facts = TlsFacts { version, cipher, group: None, server_name: None, peer, channel_bindings };
        (self.known.tls, self.known.certificate) = (Some(facts), certificate);
        Ok(())
    }

    /// Notes that the client is turned away before its session begins. After an implicit handshake nobody would hear it.
    fn turned_away(&mut self, reply: &Reply) {
        let heard = !self.expects_tls();
        let server = if heard { written(reply).collect() } else { Vec::new() };
        let because = std::mem::take(&mut self.because);
        self.exchanges.push(Exchange { client: Vec::new(), server, because, refused: true });
    }

    /// Notes what goes wrong where there is no reply.
    fn fails(&mut self, client: Vec<String>, why: String) {
        self.exchanges.push(Exchange { client, server: Vec::new(), because: vec![why], refused: true });
    }

    fn say_what_is_not_played(&mut self) {
        let client = self.question.client;
        if self.listener.config.proxy_from.iter().any(|network| network.contains(&client)) {
            self.notes.push(format!(
                "{client} is among proxy_protocol: what it sends is taken for somebody else's, whom its header names; \
                 ask about that address"
            ));
        }
        if self.world.sessions.is_none() {
            self.notes.push(
                "Postern does not run: this is what the configuration says, with limits as they were last written, and as \
                 if its certificates could be loaded"
                    .to_owned(),
            );
        }
        if self.question.user.is_some() {
            self.notes
                .push("the password, token or certificate to sign in with is taken as right".to_owned());
        }
    }

    fn onward(&self) -> Vec<Onward> {
        let rules = self.world.rules;
        let mut onward: Vec<Onward> = Vec::new();
        for mailbox in &self.recipients {
            let destination = rules.routing.destination_of(mailbox);
            if let Some(known) = onward.iter_mut().find(|known| known.destination == destination.0) {
                known.recipients.push(mailbox.to_string());
                continue;
            }
            let (connector, usual) = (rules.routing.connector(&destination), &rules.config.queue.retry);
            onward.push(Onward {
                connector: connector
                    .map(|connector| connector_view(rules.routing, usual, connector, &destination)),
                destination: destination.0,
                recipients: vec![mailbox.to_string()],
            });
        }
        onward
    }
}

/// An address without the brackets that people copy along.
fn bare(address: &str) -> &str {
    address.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(address)
}

/// A certificate that bears this, or is pinned so.
fn identity(shown: &str) -> ClientIdentity {
    let mut identity =
        ClientIdentity { emails: Vec::new(), dns_names: Vec::new(), sha256: [0; 32], spki_sha256: [0; 32] };
    match shown.parse() {
        Ok(Pin::Certificate(digest)) => identity.sha256 = digest,
        Ok(Pin::Spki(digest)) => identity.spki_sha256 = digest,
        Err(_) if shown.contains('@') => identity.emails.push(shown.to_owned()),
        Err(_) => identity.dns_names.push(shown.to_lowercase()),
    }
    identity
}

fn read(parser: &mut ReplyParser, mut bytes: &[u8], replies: &mut Vec<Reply>) {
    while let Ok((taken, reply)) = parser.feed(bytes) {
        replies.extend(reply);
        bytes = &bytes[taken..];
        if bytes.is_empty() || taken == 0 {
            return;
        }
    }
}

/// A reply as it goes over the wire, line by line, but for challenges: what they hold says nothing to anybody.
fn written(reply: &Reply) -> impl Iterator<Item = String> + use<> {
    let text = if reply.code == 334 { "334 (a challenge)".to_owned() } else { reply.to_string() };
    text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter()
}
