//! What the head of a transcript means: the listener's settings and the scripted policy.

use std::time::Duration;

use postern_smtp::reply::{Enhanced, Reply};
use postern_smtp::sasl::Mechanism;
use postern_smtp::server::{
    AuthOffer, ClearSignIn, FrontEnd, Limits, LineEndings, Settings, Timeouts, TlsMode,
};

use super::parse::duration;
use super::{Numbered, Step};

/// A listener, and a policy that knows `ann@example.org`, `tim@example.org` and postmaster, and one user, `tim`, whose
/// passwords are `tanstaaf` and `another` (for SCRAM, keys 1 and 2), whose token is `token-of-tim`, and who may send
/// anywhere. PLAIN, LOGIN and EXTERNAL are how one signs in.
///
/// | preset | TLS | AUTH | bare LF in content |
/// |---|---|---|---|
/// | `relay` | offered | never | refused |
/// | `relay-auth` | offered | optional | refused |
/// | `submission` | required | mandatory | becomes CRLF |
/// | `submissions` | implicit | mandatory | becomes CRLF |
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The preset's name.
    pub listener: String,
    /// The preset with what the head sets.
    pub settings: Settings,
    /// The certificate that the client shows when TLS starts.
    pub certificate: ClientCertificate,
    /// Whether the client is a front end that speaks for others.
    pub front_end: FrontEnd,
    /// The head's own rules; the first that fits answers. What none fits is answered as the type's description says.
    pub rules: Vec<Rule>,
    begin: Begin,
    touched: Touched,
}

/// `certificate: …` in the head: what the client shows when TLS starts, to a listener that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificate {
    /// `none`.
    #[default]
    Absent,
    /// `unproved`: one that nobody here trusts.
    Unproved,
    /// `verified`: one from the authority that the listener names, for `tim@example.org`.
    Verified,
}

/// One line of policy: `TOPIC [PATTERN] -> ANSWER`. A pattern may begin or end with `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which question.
    pub topic: Topic,
    /// What it must be about.
    pub pattern: String,
    /// The answer.
    pub answer: Answer,
}

/// The six questions, by their names in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// `connect`, about the address that a front end has told, or nothing.
    Connect,
    /// `hello`, about the client's name.
    Hello,
    /// `auth`, about user and password with a space between; `token USER TOKEN`, `keys USER` and `scram USER right` are
    /// about the rest.
    Auth,
    /// `mail`, about the reverse-path in angle brackets.
    Mail,
    /// `rcpt`, about the forward-path in angle brackets.
    Rcpt,
    /// `take`.
    Take,
}

/// The policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// `accept`.
    Accept,
    /// `signed-in USER`.
    SignedIn(String),
    /// `queued ID`.
    Queued(String),
    /// `550 5.1.1 text`.
    Refuse(Reply),
    /// `close 554 5.7.1 text`.
    RefuseAndClose(Reply),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    Banner,
    Ehlo,
    Tls,
    SignedIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touched {
    No,
    Yes,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            listener: "relay".to_owned(),
            settings: settings(TlsMode::Offered, AuthOffer::Never, LineEndings::Strict),
            certificate: ClientCertificate::default(),
            front_end: FrontEnd::No,
            rules: Vec::new(),
            begin: Begin::Banner,
            touched: Touched::No,
        }
    }
}

impl Scenario {
    /// The answer of the first rule that fits, if one does.
    pub fn answer(&self, topic: Topic, subject: &str) -> Option<&Answer> {
        let fits = |rule: &&Rule| rule.topic == topic && matches_pattern(&rule.pattern, subject);
        self.rules.iter().find(fits).map(|rule| &rule.answer)
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.touched == Touched::No
    }

    /// Takes a line of the head.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        self.touched = Touched::Yes;
        match key {
            "listener" => self.set_listener(value)?,
            "begin" => self.begin = Begin::parse(value)?,
            "set" => {
                let (name, value) = value.split_once(' ').ok_or("`set: NAME VALUE`")?;
                set(&mut self.settings, name, value.trim())?;
            }
            "certificate" => self.certificate = ClientCertificate::parse(value)?,
            "front-end" => self.front_end = front_end(value)?,
            "policy" => self.rules.push(Rule::parse(value)?),
            other => return Err(format!("`{other}` is no key of the head")),
        }
        Ok(())
    }

    /// The steps that `begin` stands for.
    pub(super) fn prologue(&self) -> Vec<Numbered> {
        let mut steps = Vec::new();
        if self.begin >= Begin::Ehlo {
            steps.extend([code("220"), say("EHLO client.example"), code("250")]);
        }
        if self.begin >= Begin::Tls && self.settings.tls != TlsMode::Implicit {
            steps.extend([say("STARTTLS"), code("220"), Step::Tls, say("EHLO client.example"), code("250")]);
        }
        if self.begin == Begin::SignedIn {
            // tim and tanstaaf
            steps.extend([say("AUTH PLAIN AHRpbQB0YW5zdGFhZg=="), code("235")]);
        }
        steps.into_iter().map(|step| Numbered { line: 0, step }).collect()
    }

    fn set_listener(&mut self, name: &str) -> Result<(), String> {
        let (tls, auth, line_endings) = match name {
            "relay" => (TlsMode::Offered, AuthOffer::Never, LineEndings::Strict),
            "relay-auth" => (TlsMode::Offered, AuthOffer::Optional, LineEndings::Strict),
            "submission" => (TlsMode::Required, AuthOffer::Mandatory, LineEndings::Repair),
            "submissions" => (TlsMode::Implicit, AuthOffer::Mandatory, LineEndings::Repair),
            other => return Err(format!("`{other}` is no preset of a listener")),
        };
        name.clone_into(&mut self.listener);
        self.settings = settings(tls, auth, line_endings);
        Ok(())
    }
}

impl PartialOrd for Begin {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some((*self as u8).cmp(&(*other as u8)))
    }
}

impl Begin {
    fn parse(value: &str) -> Result<Self, String> {
        Ok(match value {
            "banner" => Self::Banner,
            "ehlo" => Self::Ehlo,
            "tls" => Self::Tls,
            "signed-in" => Self::SignedIn,
            other => return Err(format!("`{other}` is no way to begin")),
        })
    }
}

impl ClientCertificate {
    fn parse(value: &str) -> Result<Self, String> {
        Ok(match value {
            "none" => Self::Absent,
            "unproved" => Self::Unproved,
            "verified" => Self::Verified,
            other => return Err(format!("`{other}` is no certificate of a client")),
        })
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, String> {
        let (question, answer) = text.split_once("->").ok_or("`policy: TOPIC [PATTERN] -> ANSWER`")?;
        let question = question.trim();
        let (topic, pattern) = question.split_once(' ').unwrap_or((question, "*"));
        Ok(Self {
            topic: Topic::parse(topic)?,
            pattern: pattern.trim().to_owned(),
            answer: Answer::parse(answer.trim())?,
        })
    }
}

impl Topic {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "connect" => Self::Connect,
            "hello" => Self::Hello,
            "auth" => Self::Auth,
            "mail" => Self::Mail,
            "rcpt" => Self::Rcpt,
            "take" => Self::Take,
            other => return Err(format!("`{other}` is no question")),
        })
    }
}

impl Answer {
    fn parse(text: &str) -> Result<Self, String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(match word {
            "accept" => Self::Accept,
            "signed-in" => Self::SignedIn(rest.to_owned()),
            "queued" => Self::Queued(rest.to_owned()),
            "close" => Self::RefuseAndClose(reply(rest)?),
            _ => Self::Refuse(reply(text)?),
        })
    }
}

fn reply(text: &str) -> Result<Reply, String> {
    let wrong = || format!("`{text}` is no reply such as `550 5.1.1 text`");
    let mut words = text.splitn(3, ' ');
    let (code, enhanced, text) = (words.next(), words.next(), words.next());
    let code = code.and_then(|code| code.parse().ok()).ok_or_else(wrong)?;
    let mut digits = enhanced.ok_or_else(wrong)?.split('.').map(str::parse::<u16>);
    match (digits.next(), digits.next(), digits.next(), text) {
        (Some(Ok(class @ 2..=5)), Some(Ok(subject)), Some(Ok(detail)), Some(text)) => {
            let class = u8::try_from(class).map_err(|_| wrong())?;
            Ok(Reply::new(code, Enhanced::new(class, subject, detail), text))
        }
        _ => Err(wrong()),
    }
}

fn matches_pattern(pattern: &str, subject: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), None) => subject.ends_with(end),
        (None, Some(start)) => subject.starts_with(start),
        _ => subject == pattern,
    }
}

fn settings(tls: TlsMode, auth: AuthOffer, line_endings: LineEndings) -> Settings {
    let minutes = |count: u64| Duration::from_secs(count * 60);
    Settings {
        hostname: "mail.example.org".to_owned(),
        tls,
        tls_available: true,
        auth,
        clear_sign_in: ClearSignIn::Refused,
        mechanisms: [Mechanism::Plain, Mechanism::Login, Mechanism::External].into(),
        line_endings,
        limits: Limits {
            message_size: 1_048_576,
            recipients: 100,
            transactions: 50,
            idle_commands: 30,
            errors: 20,
            auth_attempts: 3,
        },
        timeouts: Timeouts { command: minutes(5), content: minutes(10), session: minutes(120) },
    }
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), String> {
    let Settings { limits, timeouts, .. } = settings;
    let number = || value.parse::<usize>().map_err(|_| format!("`{value}` is no number"));
    match (name, value) {
        ("message-size", _) => limits.message_size = number()? as u64,
        ("recipients", _) => limits.recipients = number()?,
        ("transactions", _) => limits.transactions = number()?,
        ("idle-commands", _) => limits.idle_commands = number()?,
        ("errors", _) => limits.errors = number()?,
        ("auth-attempts", _) => limits.auth_attempts = number()?,
        ("command", _) => timeouts.command = duration(value)?,
        ("content", _) => timeouts.content = duration(value)?,
        ("session", _) => timeouts.session = duration(value)?,
        ("tls-available", "no") => settings.tls_available = false,
        ("line-endings", "strict") => settings.line_endings = LineEndings::Strict,
        ("clear-sign-in", "allowed") => settings.clear_sign_in = ClearSignIn::Allowed,
        ("mechanisms", names) => {
            settings.mechanisms = names.split(' ').map(mechanism).collect::<Result<_, _>>()?;
        }
        ("line-endings", "repair") => settings.line_endings = LineEndings::Repair,
        _ => return Err(format!("`{name} {value}` sets nothing")),
    }
    Ok(())
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    Mechanism::named(name).ok_or_else(|| format!("`{name}` is no mechanism"))
}

fn front_end(value: &str) -> Result<FrontEnd, String> {
    Ok(match value {
        "no" => FrontEnd::No,
        "trusted" => FrontEnd::Trusted,
        "trusted-with-login" => FrontEnd::TrustedWithLogin,
        other => return Err(format!("`{other}` is no kind of front end")),
    })
}

fn say(line: &str) -> Step {
    Step::Send(format!("{line}\r\n").into_bytes())
}

fn code(code: &str) -> Step {
    Step::ExpectCode(code.to_owned())
}
