//! Whether the password works: signs in and leaves.
//!
//! The session is the one that deliveries use: it says AUTH only over TLS with a server that proved who it is, and takes the best
//! mechanism that is offered (SCRAM before PLAIN). Nothing here can talk it into less.
//!
//! What it deliberately does not do: try a second time, or another port. Servers count wrong passwords.

use std::net::SocketAddr;
use std::time::Instant;

use postern_pki::{ClientTls, Handshake, PeerPolicy};
use postern_smtp::client::{ClientSession, Input, Output, Plan, Protocol, Timeouts, TlsStart};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::reply::Reply;
use postern_smtp::sasl::{Credential, SignIn};
use postern_smtp::text::without_os_code;
use postern_smtp::tls::TlsRequirement;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout_at;

use super::Person;
use super::report::{Encryption, Setting, SignedIn};
use crate::outbound::route::Socket;
use crate::outbound::stream::Stream;
use crate::probe::dialogue::Clock;

const READ_BUFFER: usize = 4096;
/// See `tries`.
const HELLO: &str = "check-server.invalid";

/// Signs in by the best setting that was found.
pub(super) async fn sign_in(
    host: &str,
    setting: Option<&Setting>,
    person: Person,
    tls: &Result<ClientTls, String>,
    clock: Clock,
) -> SignedIn {
    let withheld = |why: &str| SignedIn::NotTried { why: why.to_owned() };
    let Some(setting) = setting else { return withheld("there is no port where anybody could sign in") };
    if let Some(why) = &setting.distrust {
        return withheld(&format!("a password goes only to a server that proves who it is: {why}"));
    }
    let Ok(tls) = tls else { return withheld("TLS cannot be set up here") };
    let handshake = tls.handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
    let at = SocketAddr::new(setting.address, setting.port);
    match converse(host, at, setting.encryption, person, &handshake, clock).await {
        Ok(()) => SignedIn::Yes,
        Err(trouble) => refused(&trouble),
    }
}

fn refused(trouble: &Trouble) -> SignedIn {
    let reply = trouble.reply.as_ref().map(Reply::one_line);
    match (trouble.step, &trouble.reply) {
        (Step::Authenticate, Some(answer)) if answer.is_permanent() => {
            SignedIn::Refused { reply: reply.unwrap_or_default() }
        }
        (_, Some(_)) => SignedIn::NotNow { why: reply.unwrap_or_default() },
        (_, None) => SignedIn::NotNow { why: trouble.reason.to_string() },
    }
}

async fn converse(
    host: &str,
    at: SocketAddr,
    encryption: Encryption,
    person: Person,
    handshake: &Handshake,
    clock: Clock,
) -> Result<(), Trouble> {
    let broken = |why: String| Trouble::new(Step::Connect, Reason::ConnectFailed(why));
    let dialing = timeout_at(clock.due(), Stream::dial(&Socket::Tcp(at), &[])).await;
    let mut stream = dialing
        .map_err(|_| Trouble::new(Step::Connect, Reason::TimedOut))?
        .map_err(|error| broken(without_os_code(error)))?;
    let mut tls = TlsStart::StartTls;
    if encryption == Encryption::Tls {
        let facts;
        (stream, facts) = secured(stream, handshake, host, clock).await?;
        tls = TlsStart::Implicit(facts);
    }
    let mut session = ClientSession::new(plan(tls, person)?, Instant::now());
    Wire { stream: Some(stream), handshake, host, clock }.drive(&mut session).await
}

fn plan(tls: TlsStart, Person { user, password }: Person) -> Result<Plan, Trouble> {
    let mut nonce = [0; 18];
    postern_pki::provider().secure_random.fill(&mut nonce).map_err(|_| {
        let why = "this system gave no random numbers".to_owned();
        Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why))
    })?;
    let credential = Credential::Password { user, password, acting_as: None };
    Ok(Plan {
        protocol: Protocol::Smtp,
        hello: HELLO.to_owned(),
        requirement: TlsRequirement::VERIFIED,
        tls,
        sign_in: Some(SignIn { credential, nonce, only: None }),
        timeouts: Timeouts::default(),
    })
}

async fn secured(
    stream: Stream,
    handshake: &Handshake,
    host: &str,
    clock: Clock,
) -> Result<(Stream, postern_smtp::tls::TlsFacts), Trouble> {
    let securing = timeout_at(clock.due(), stream.secure(handshake, host)).await;
    let secured = securing.map_err(|_| Trouble::new(Step::Tls, Reason::TimedOut))?;
    secured.map_err(|failure| Trouble::of_tls(Reason::TlsFailed(failure.why.clone()), &failure))
}

/// One connection.
struct Wire<'a> {
    stream: Option<Stream>,
    handshake: &'a Handshake,
    host: &'a str,
    clock: Clock,
}

impl Wire<'_> {
    /// Runs the session until it could send mail, or cannot.
    async fn drive(&mut self, session: &mut ClientSession) -> Result<(), Trouble> {
        loop {
            while let Some(output) = session.poll() {
                match output {
                    Output::Send(bytes) => self.write(&bytes).await?,
                    Output::StartTls => {
                        let Some(stream) = self.stream.take() else { return Err(lost()) };
                        let (stream, facts) = secured(stream, self.handshake, self.host, self.clock).await?;
                        self.stream = Some(stream);
                        session.handle(Input::TlsStarted(facts));
                    }
                    Output::Ready => {
                        let _ = self.write(b"QUIT\r\n").await;
                        return Ok(());
                    }
                    Output::Close(end) => return Err(end.and_then(into_trouble).unwrap_or_else(lost)),
                    Output::Content | Output::Rewind | Output::Outcomes(_) | Output::Wait { .. } => {}
                }
            }
            let mut buffer = [0; READ_BUFFER];
            let Some(stream) = &mut self.stream else { return Err(lost()) };
            match timeout_at(self.clock.due(), stream.read(&mut buffer)).await {
                Ok(Ok(count)) if count > 0 => session.handle(Input::Bytes(&buffer[..count])),
                Ok(_) => session.handle(Input::Closed),
                Err(_) => return Err(Trouble::new(Step::Authenticate, Reason::TimedOut)),
            }
        }
    }

    async fn write(&mut self, octets: &[u8]) -> Result<(), Trouble> {
        let Some(stream) = &mut self.stream else { return Err(lost()) };
        let writing = timeout_at(self.clock.due(), async {
            stream.write_all(octets).await?;
            stream.flush().await
        });
        match writing.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(lost()),
        }
    }
}

fn into_trouble(outcome: Outcome) -> Option<Trouble> {
    match outcome {
        Outcome::Deferred(trouble) | Outcome::Failed(trouble) => Some(trouble),
        Outcome::Delivered(_) => None,
    }
}

fn lost() -> Trouble {
    Trouble::new(Step::Connect, Reason::ConnectionLost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(step: Step, code: u16) -> SignedIn {
        let reply = Reply { code, enhanced: None, lines: vec!["no".into()] };
        refused(&Trouble::new(step, Reason::Refused).with_reply(Some(reply)))
    }

    #[test]
    fn only_a_final_no_to_the_password_itself_counts_as_wrong() {
        assert!(matches!(answered(Step::Authenticate, 535), SignedIn::Refused { .. }));
        assert!(matches!(answered(Step::Authenticate, 454), SignedIn::NotNow { .. }));
        assert!(matches!(answered(Step::Greeting, 554), SignedIn::NotNow { .. }));
        assert!(matches!(refused(&lost()), SignedIn::NotNow { .. }));
    }
}
