//! The scripted policy: the answers of a [`Scenario`], and what a transcript may ask about them afterwards.

use std::fmt::Write as _;
use std::num::NonZeroU32;

use postern_smtp::command::Introduction;
use postern_smtp::envelope::{BodyType, MailParams, RcptParams, Ret};
use postern_smtp::reply::catalogue;
use postern_smtp::sasl::{Claim, Credential, ScramHash, ScramKey, ScramKeys, ScramProof};
use postern_smtp::secret::Secret;
use postern_smtp::server::{Question, Verdict};

use super::{Answer, ClientCertificate, Scenario, Topic};

/// Decides as the head of a transcript says, keeps the content, and remembers what it was asked.
#[derive(Debug)]
pub struct Script {
    scenario: Scenario,
    introduction: Option<Introduction>,
    signed_in: Option<String>,
    asked: Option<String>,
    streamed: Vec<u8>,
    taken: Option<Vec<u8>>,
}

impl Script {
    /// The policy of this scenario, for one session.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            scenario: scenario.clone(),
            introduction: None,
            signed_in: None,
            asked: None,
            streamed: Vec::new(),
            taken: None,
        }
    }

    /// Decides.
    ///
    /// # Panics
    /// When the question does not fit what was streamed before it.
    pub fn answer(&mut self, question: &Question) -> Verdict {
        let (topic, subject, details) = match (question, &self.introduction) {
            (Question::Connect, Some(introduction)) => introduced(introduction),
            _ => describe(question),
        };
        self.asked = Some(details);
        if let Question::Take(transaction) = question {
            let body = std::mem::take(&mut self.streamed);
            assert_eq!(transaction.size, body.len() as u64, "the size is that of the content");
            assert_eq!(transaction.eight_bit, !body.is_ascii(), "octets over 127 are told of");
            self.taken = Some(body);
        }
        let verdict = match self.scenario.answer(topic, &subject) {
            Some(answer) => answer.clone().into(),
            None => self.usual(question, &subject),
        };
        if let Verdict::SignedIn { user } = &verdict {
            self.signed_in = Some(user.clone());
        }
        verdict
    }

    /// Takes a piece of content.
    pub fn content(&mut self, octets: &[u8]) {
        self.streamed.extend_from_slice(octets);
    }

    /// Forgets the content streamed so far.
    ///
    /// # Panics
    /// When there is none: then nobody should have asked.
    pub fn discard(&mut self) {
        assert!(!self.streamed.is_empty(), "nothing was streamed, and yet it is discarded");
        self.streamed.clear();
    }

    /// After STARTTLS nothing that was known before counts.
    pub fn start_over(&mut self) {
        self.signed_in = None;
    }

    /// A front end names its client; nothing that was known before counts.
    pub fn introduce(&mut self, introduction: Introduction) {
        self.signed_in = None;
        self.introduction = Some(introduction);
    }

    /// What it was asked last.
    pub fn asked(&self) -> Option<String> {
        self.asked.clone()
    }

    /// The content that was taken last, once.
    pub fn take_body(&mut self) -> Option<Vec<u8>> {
        self.taken.take()
    }

    /// Whether no content is held, and none was taken since [`take_body`](Self::take_body) was asked last.
    pub fn holds_nothing(&self) -> bool {
        self.streamed.is_empty() && self.taken.is_none()
    }

    /// To be called when the session has closed.
    ///
    /// # Panics
    /// When it closed without a word about content that was streamed.
    pub fn assert_nothing_is_left(&self) {
        assert!(self.streamed.is_empty(), "closed without a word about content that was streamed");
    }

    /// The certificate that verifies is tim's, and he may say so.
    fn is_tim(&self, acting_as: Option<&str>) -> bool {
        self.scenario.certificate == ClientCertificate::Verified
            && acting_as.is_none_or(|name| name == "tim" || name == "tim@example.org")
    }

    fn usual(&self, question: &Question, subject: &str) -> Verdict {
        match question {
            Question::Connect => match self.introduction.as_ref().and_then(|told| told.login.as_deref()) {
                None => Verdict::Accept,
                Some("tim") => tim(),
                Some(_) => Verdict::Refuse(catalogue::xclient_login_refused()),
            },
            Question::Hello(_) | Question::Mail(_) => Verdict::Accept,
            Question::Authenticate(Claim::Keys { hash, user }) => Verdict::Keys(keys(*hash, user)),
            Question::Authenticate(_)
                if ["tim tanstaaf", "scram tim right", "token tim token-of-tim"].contains(&subject) =>
            {
                tim()
            }
            Question::Authenticate(Claim::Credential(Credential::External { acting_as }))
                if self.is_tim(acting_as.as_deref()) =>
            {
                tim()
            }
            Question::Authenticate(_) => Verdict::Refuse(catalogue::bad_credentials()),
            Question::Rcpt(rcpt) => {
                let known =
                    ["<ann@example.org>", "<tim@example.org>", "<postmaster@example.org>", "<postmaster>"];
                if self.signed_in.is_some() || known.contains(&subject) {
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

/// The topic, what patterns see of the question, and all that an `ASKED:` line sees.
fn describe(question: &Question) -> (Topic, String, String) {
    match question {
        Question::Connect => (Topic::Connect, String::new(), "connect".to_owned()),
        Question::Hello(hello) => (Topic::Hello, hello.name.clone(), format!("hello {}", hello.name)),
        Question::Authenticate(Claim::Credential(Credential::Password { user, password, acting_as })) => {
            let shown = acting_as.as_ref().map_or_else(String::new, |other| format!(" acting-as {other}"));
            let subject = format!("{user} {}{shown}", password.expose_str().unwrap_or("?"));
            (Topic::Auth, subject.clone(), format!("auth {subject}"))
        }
        Question::Authenticate(Claim::Credential(Credential::Token { user, token, endpoint })) => {
            let shown =
                endpoint.as_ref().map_or_else(String::new, |(host, port)| format!(" at {host}:{port}"));
            let subject = format!("token {user} {}", token.expose_str().unwrap_or("?"));
            (Topic::Auth, subject.clone(), format!("auth {subject}{shown}"))
        }
        Question::Authenticate(Claim::Credential(Credential::External { acting_as })) => {
            let shown = acting_as.as_ref().map_or_else(String::new, |other| format!(" acting-as {other}"));
            (Topic::Auth, format!("external{shown}"), format!("auth external{shown}"))
        }
        Question::Authenticate(Claim::Keys { hash, user }) => {
            (Topic::Auth, format!("keys {user}"), format!("auth keys {user} {hash:?}"))
        }
        Question::Authenticate(Claim::Scram { user, acting_as, proof }) => {
            let shown = acting_as.as_ref().map_or_else(String::new, |other| format!(" acting-as {other}"));
            let (word, detail) = match proof {
                ScramProof::Right { label } => ("right", format!(" {label}")),
                ScramProof::Wrong => ("wrong", String::new()),
                ScramProof::Void(fault) => ("void", format!(" {fault:?}")),
            };
            let subject = format!("scram {user} {word}{shown}");
            (Topic::Auth, subject, format!("auth scram {user} {word}{detail}{shown}"))
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

/// The same of the question whether a client may come that a front end has named.
fn introduced(told: &Introduction) -> (Topic, String, String) {
    let address = told.address.map_or_else(String::new, |address| address.to_string());
    let mut details = format!("connect {address}");
    let said = [
        ("port", told.port.map(|port| port.to_string())),
        ("name", told.name.clone()),
        ("login", told.login.clone()),
    ];
    for (word, value) in said {
        let _ = value.map(|value| write!(details, " {word} {value}"));
    }
    (Topic::Connect, address, details)
}

fn tim() -> Verdict {
    Verdict::SignedIn { user: "tim".to_owned() }
}

/// What is kept of passwords for SCRAM. Few iterations: transcripts are many.
fn keys(hash: ScramHash, user: &str) -> ScramKeys {
    let iterations = NonZeroU32::MIN.saturating_add(4095);
    if user != "tim" {
        return ScramKeys::for_nobody(b"transcripts", user, iterations);
    }
    let salt = b"the salt of tim".to_vec();
    let passwords = [("tanstaaf", 1), ("another", 2)].into_iter();
    let key = |(password, label)| ScramKey::of(hash, &Secret::new(password), &salt, iterations, label);
    ScramKeys { keys: passwords.filter_map(key).collect(), salt, iterations }
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
        params.requiretls.then(|| " REQUIRETLS".to_owned()),
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
