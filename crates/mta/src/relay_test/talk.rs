//! The conversation with one address: a few forms a session, each up to the reply to RCPT.
//!
//! [`go_through`] tries all forms at a [`Door`], those that matter under TLS once more. Where a server ends a session, the form
//! that was under way is tried again in the next one, and never a third time.
//!
//! What it deliberately does not do: DATA. A server that says yes to RCPT has said what it needs to say.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_pki::{ClientTls, PeerPolicy, TrustAnchors};
use postern_smtp::extension::Capabilities;
use postern_smtp::outcome::{Step, Trouble};
use postern_smtp::reply::{Enhanced, Reply};
use postern_smtp::text::without_os_code;
use postern_smtp::tls::TlsRequirement;

use super::forms::{FORMS, First, Form, Names, Plainly, UNDER_TLS};
use super::{Outcome, Target, Tried, Verdict};
use crate::outbound::route::Socket;
use crate::probe::dialogue::{Clock, Dialogue};
use crate::session::looks::RELAY_TEST;

/// Forms of one session: fewer than the refusals after which servers grow impatient.
const AT_ONCE: usize = 8;
/// Nobody has this name, nor this password.
const NOBODY: &str = "postern-relay-test";

/// Where to knock, and as whom.
pub(super) struct Door {
    pub(super) serves: Serves,
    pub(super) gives: Gives,
    pub(super) address: SocketAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) names: Names,
    pub(super) clock: Clock,
}

/// Whom a server takes sessions from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    Everybody,
    /// Devices that it knows: who gets no session was refused everything.
    Devices,
}

/// How a sign-in is made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// The exchange is cancelled (RFC 4954 §4), which no server counts as a guess: at our own.
    Nothing,
    /// A name and a password that nobody has: a server may take them from anybody.
    WrongPassword,
}

/// What a session begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    Clear,
    /// TLS from the first octet.
    Tls,
    StartTls,
}

/// Tries all forms.
pub(super) async fn go_through(name: String, door: &Door, begin: Begin) -> Target {
    let forms: Vec<&Form> = FORMS.iter().collect();
    let mut tried = Vec::new();
    let mut result = Round { door, begin, home: Home::NotAsked }.run(&forms, &mut tried).await;
    let mut trouble = result.as_ref().err().cloned();
    if begin == Begin::Clear && matches!(result, Ok(Offer::StartTls)) {
        // Where nothing came as far as RCPT in clear, the rules for it have not been seen yet.
        let seen = tried.iter().flat_map(|tried| &tried.transcript).any(|line| line.starts_with("C: RCPT"));
        let matters = |form: &&Form| !seen || UNDER_TLS.contains(&form.name);
        let again: Vec<&Form> = forms.into_iter().filter(matters).collect();
        result = Round { door, begin: Begin::StartTls, home: Home::NotAsked }.run(&again, &mut tried).await;
        trouble = result.err().map(|why| format!("under TLS: {why}"));
    }
    let (address, source) = (door.address.to_string(), door.source);
    Target { name, address, source, verdict: verdict(&tried, trouble.as_deref()), trouble, tried }
}

fn verdict(tried: &[Tried], trouble: Option<&str>) -> Verdict {
    let came = |outcome: Outcome| tried.iter().any(|tried| tried.outcome == outcome);
    match trouble {
        _ if came(Outcome::Accepted) => Verdict::Open,
        Some(_) => Verdict::Unknown,
        None if tried.is_empty() || came(Outcome::Undecided) || came(Outcome::Postponed) => Verdict::Unknown,
        None => Verdict::Closed,
    }
}

/// What a server offers in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offer {
    StartTls,
    Nothing,
}

/// What a server says to a sender and a recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// RFC 5321 §4.2.1: not now, which is neither.
    Later,
}

impl Answer {
    fn of(reply: &Reply) -> Self {
        match reply.code {
            _ if reply.is_positive() => Self::Yes,
            // Postfix says no to strangers so, unless it is told otherwise: "Relay access denied". Nobody asks to come again so.
            454 if reply.enhanced == Some(Enhanced::new(4, 7, 1)) => Self::No,
            400..500 => Self::Later,
            _ => Self::No,
        }
    }
}

/// Whether any name in the server's domain is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    NotAsked,
    /// It is, or it could not be found out.
    MayTakeAny,
    TakesSome,
}

/// All forms in one mode.
struct Round<'d> {
    door: &'d Door,
    begin: Begin,
    home: Home,
}

/// A session that has said EHLO.
struct Session {
    dialogue: Dialogue,
    capabilities: Capabilities,
}

/// Why a session goes on no further.
enum Over {
    /// It never began: this is the greeting.
    NoSession(Reply),
    Broken(String),
}

impl Over {
    fn into_words(self) -> String {
        match self {
            Self::NoSession(reply) => format!("no session: {}", crate::event::clean(&reply.one_line())),
            Self::Broken(why) => why,
        }
    }
}

impl From<Trouble> for Over {
    fn from(trouble: Trouble) -> Self {
        Self::Broken(trouble.to_string())
    }
}

impl Round<'_> {
    /// # Errors
    /// What kept some from being tried.
    async fn run(&mut self, forms: &[&Form], tried: &mut Vec<Tried>) -> Result<Offer, String> {
        let mut offer = Offer::Nothing;
        let mut waiting: VecDeque<&Form> = forms.iter().copied().collect();
        let mut stumbled = None;
        while !waiting.is_empty() {
            let mut session = match self.open().await {
                Ok(session) => session,
                Err(Over::NoSession(reply)) if self.door.serves == Serves::Devices => {
                    tried.push(self.no_session(&reply));
                    return Ok(Offer::Nothing);
                }
                Err(over) => return Err(over.into_words()),
            };
            if session.capabilities.starttls {
                offer = Offer::StartTls;
            }
            for _ in 0..AT_ONCE {
                let Some(form) = waiting.front().copied() else { break };
                match self.attempt(&mut session, form).await {
                    Ok(result) => {
                        tried.extend(result);
                        waiting.pop_front();
                    }
                    Err(over) if stumbled == Some(form) => {
                        return Err(format!("{}: {}", form.name, over.into_words()));
                    }
                    Err(_) => {
                        stumbled = Some(form);
                        break;
                    }
                }
            }
            session.dialogue.quit().await;
        }
        Ok(offer)
    }

    fn no_session(&self, reply: &Reply) -> Tried {
        let mut transcript = Vec::new();
        note(&mut transcript, reply);
        let (form, tls) = ("a session at all".to_owned(), self.begin != Begin::Clear);
        Tried { form, tls, outcome: Outcome::Refused, transcript }
    }

    async fn open(&self) -> Result<Session, Over> {
        let Door { address, source, clock, .. } = self.door;
        if clock.is_over() {
            return Err(Over::Broken("the time is up".to_owned()));
        }
        let source: Vec<IpAddr> = source.iter().copied().collect();
        let dialing = Dialogue::connect(&Socket::Tcp(*address), &source, *clock).await;
        let mut dialogue =
            dialing.map_err(|error| Over::Broken(format!("no connection: {}", without_os_code(error))))?;
        if self.begin == Begin::Tls {
            dialogue = self.secure(dialogue).await?;
        }
        greeted(dialogue.reply(Step::Greeting).await?)?;
        let mut capabilities = hello(&mut dialogue).await?;
        if self.begin == Begin::StartTls {
            let consent = dialogue.command("STARTTLS", Step::Tls).await?;
            if consent.code != 220 || dialogue.has_more() {
                return Err(Over::Broken(format!("STARTTLS: {}", consent.one_line())));
            }
            dialogue = self.secure(dialogue).await?;
            capabilities = hello(&mut dialogue).await?;
        }
        Ok(Session { dialogue, capabilities })
    }

    /// Nothing is demanded of the certificate: what is asked is what the server does with strangers.
    async fn secure(&self, dialogue: Dialogue) -> Result<Dialogue, Over> {
        let tls = ClientTls::new(&TrustAnchors::System).map_err(|error| Over::Broken(error.to_string()))?;
        let handshake = tls.handshake(&PeerPolicy::of(TlsRequirement::OPPORTUNISTIC));
        let secured = dialogue.secure(&handshake, &self.door.names.host).await;
        secured.map(|(dialogue, _)| dialogue).map_err(|failure| Over::Broken(format!("TLS: {}", failure.why)))
    }

    /// Tries a form. `None`: there is nothing to try here.
    async fn attempt(&mut self, session: &mut Session, form: &Form) -> Result<Option<Tried>, Over> {
        if form.first == First::FailedSignIn && !session.capabilities.offers_auth("PLAIN") {
            return Ok(None);
        }
        if form.plainly == Plainly::Home && self.home == Home::NotAsked {
            self.home = self.ask_home(session).await?;
        }
        let mut transcript = Vec::new();
        self.begin_form(session, form, &mut transcript).await?;
        let answer = self.transaction(session, form.from, form.to, &mut transcript).await?;
        let outcome = match (answer, form.plainly, self.home) {
            (Answer::No, ..) => Outcome::Refused,
            (Answer::Later, ..) => Outcome::Postponed,
            (Answer::Yes, Plainly::Postmaster, _) => Outcome::Rightly,
            (Answer::Yes, Plainly::Home, Home::MayTakeAny) => Outcome::Undecided,
            (Answer::Yes, ..) => Outcome::Accepted,
        };
        let tls = self.begin != Begin::Clear;
        Ok(Some(Tried { form: form.name.to_owned(), tls, outcome, transcript }))
    }

    async fn begin_form(
        &self,
        session: &mut Session,
        form: &Form,
        said: &mut Vec<String>,
    ) -> Result<(), Over> {
        match form.first {
            First::Nothing => {}
            First::Reset => {
                self.transaction(session, "<>", "<postmaster@{us}>", said).await?;
            }
            First::FailedSignIn => {
                self.sign_in_in_vain(session, said).await?;
            }
        }
        Ok(())
    }

    async fn sign_in_in_vain(&self, session: &mut Session, said: &mut Vec<String>) -> Result<(), Over> {
        let proof = STANDARD.encode(format!("\0{NOBODY}\0{NOBODY}"));
        let whole = format!("AUTH PLAIN {proof}");
        let lines: &[(&str, &str)] = match self.door.gives {
            Gives::Nothing => &[("AUTH PLAIN", "AUTH PLAIN"), ("*", "* (cancelled)")],
            Gives::WrongPassword => &[(&whole, "AUTH PLAIN (of postern-relay-test)")],
        };
        for (line, shown) in lines {
            let reply = session.dialogue.command(line, Step::Mail).await?;
            said.push(format!("C: {shown}"));
            note(said, &reply);
            still_there(&reply)?;
            // RFC 4954 §4: only 334 goes on with the exchange.
            if reply.code != 334 {
                break;
            }
        }
        Ok(())
    }

    /// Whether a name that nobody can have is accepted in the server's own domain.
    async fn ask_home(&self, session: &mut Session) -> Result<Home, Over> {
        let to = format!("<{NOBODY}-{:08x}@{{us}}>", fastrand::u32(..));
        let answer = self.transaction(session, "<>", &to, &mut Vec::new()).await?;
        Ok(if answer == Answer::No { Home::TakesSome } else { Home::MayTakeAny })
    }

    /// MAIL, RCPT, RSET. What was said to the last of the first two that was said.
    async fn transaction(
        &self,
        session: &mut Session,
        from: &str,
        to: &str,
        said: &mut Vec<String>,
    ) -> Result<Answer, Over> {
        let mut answer = Answer::Yes;
        for (verb, path, step) in [("MAIL FROM:", from, Step::Mail), ("RCPT TO:", to, Step::Rcpt)] {
            let line = format!("{verb}{}", self.door.names.fill(path));
            let reply = session.dialogue.command(&line, step).await?;
            said.push(format!("C: {line}"));
            note(said, &reply);
            still_there(&reply)?;
            answer = Answer::of(&reply);
            if answer != Answer::Yes {
                break;
            }
        }
        still_there(&session.dialogue.command("RSET", Step::Mail).await?)?;
        Ok(answer)
    }
}

async fn hello(dialogue: &mut Dialogue) -> Result<Capabilities, Over> {
    let reply = dialogue.command(&format!("EHLO {RELAY_TEST}"), Step::Hello).await?;
    if reply.is_positive() { Ok(Capabilities::parse(&reply)) } else { Err(Over::Broken(reply.one_line())) }
}

fn greeted(reply: Reply) -> Result<(), Over> {
    match reply.code {
        220 => Ok(()),
        500.. => Err(Over::NoSession(reply)),
        _ => Err(Over::Broken(reply.one_line())),
    }
}

/// RFC 5321 §3.8: 421 ends the session.
fn still_there(reply: &Reply) -> Result<(), Over> {
    if reply.code == 421 { Err(Over::Broken(reply.one_line())) } else { Ok(()) }
}

fn note(said: &mut Vec<String>, reply: &Reply) {
    said.push(format!("S: {}", crate::event::clean(&reply.one_line())));
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::relay_test::{Options, Report, remote};

    /// What is found of a server that says this to every MAIL, and this to every RCPT.
    async fn found(mail: &'static str, rcpt: &'static str) -> Report {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, mail, rcpt));
            }
        });
        let report = remote("127.0.0.1", port, Options::default()).await.unwrap();
        serving.abort();
        report
    }

    async fn serve(stream: TcpStream, mail: &str, rcpt: &str) {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        let mut reply = "220 scripted.test";
        loop {
            if writing.write_all(format!("{reply}\r\n").as_bytes()).await.is_err() {
                return;
            }
            let Ok(Some(line)) = lines.next_line().await else { return };
            reply = match line.get(..4) {
                Some("EHLO") => "250 scripted.test",
                Some("MAIL") => mail,
                Some("RCPT") => rcpt,
                Some("QUIT") => "221 bye",
                _ => "250 ok",
            };
        }
    }

    #[tokio::test]
    async fn whoever_only_postpones_is_not_called_closed() {
        for (mail, rcpt, verdict, outcome) in [
            ("450 later", "550 no", Verdict::Unknown, Outcome::Postponed),
            ("250 ok", "451 later", Verdict::Unknown, Outcome::Postponed),
            ("250 ok", "550 no", Verdict::Closed, Outcome::Refused),
            ("250 ok", "454 4.7.1 Relay access denied", Verdict::Closed, Outcome::Refused),
            ("550 no", "250 ok", Verdict::Closed, Outcome::Refused),
            ("250 ok", "250 ok", Verdict::Open, Outcome::Accepted),
        ] {
            let report = found(mail, rcpt).await;
            assert_eq!(report.verdict(), verdict, "{mail}, {rcpt}: {report:?}");
            assert_eq!(report.targets[0].tried[0].outcome, outcome, "{mail}, {rcpt}");
        }
    }
}
