//! Whatever Dovecot checks passwords with, through its auth sockets.
//!
//! A [`Dovecot`] asks as Dovecot's own services do: the client protocol (version 1) for a name and a password, the master
//! protocol for a name alone. Each question has a connection of its own, over a socket on this machine, and so has nothing
//! to share or to spoil; it identifies itself by a number that no process has, for Dovecot takes one of each. The
//! password travels in base64 and the name escaped, so that neither can become another field or line.
//!
//! What it deliberately does not do: tell Dovecot who the client is. Failures are counted, and slowed down, by Postern.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postern_smtp::address::Mailbox;
use postern_smtp::secret::Secret;
use postern_smtp::text;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::source::MOST_LISTED;
use super::{Abilities, Denied, Directory, Login, Names, Principal, Why};
use crate::config::LocalSocket;

/// A line has no more octets than this; Dovecot's own clients take as many.
const LONGEST_LINE: u64 = 8192;
/// So many lines are read before the answer.
const MOST_LINES: usize = 200;
/// How long a socket on this machine may take to be open.
const CONNECT: Duration = Duration::from_secs(3);
/// Of Dovecot's words, the log shows so many octets.
const WORDS_MOST: usize = 200;
/// Process ids end below this (`PID_MAX_LIMIT`).
const NO_PROCESS: u32 = 1 << 22;
/// The one question of a connection.
const ID: &str = "1";

/// The Dovecot behind one or two sockets.
#[derive(Debug)]
pub(super) struct Dovecot {
    config: crate::config::Dovecot,
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// One connection.
struct Conversation(BufReader<Box<dyn Wire>>);

/// A line in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Line(Vec<String>);

impl Dovecot {
    pub(super) fn new(config: &crate::config::Dovecot) -> Self {
        Self { config: config.clone() }
    }

    /// What it says of a name and a password.
    async fn judge(&self, login: &Login, password: &Secret) -> io::Result<Line> {
        let mut conversation = Conversation::open(&self.config.socket).await?;
        let number = fastrand::u32(NO_PROCESS..=0x7fff_ffff);
        conversation.say(format!("VERSION\t1\t1\nCPID\t{number}\n").as_bytes()).await?;
        conversation.greeted().await?;
        conversation.say(&question(&self.config.service, login, password)).await?;
        conversation.answer().await
    }

    /// What it says of a name alone.
    async fn tell(&self, socket: &LocalSocket, login: &Login) -> io::Result<Line> {
        let mut conversation = Conversation::open(socket).await?;
        let (name, service) = (escaped(login.as_written()), escaped(&self.config.service));
        let question = format!("VERSION\t1\t1\nUSER\t{ID}\t{name}\tservice={service}\n");
        conversation.say(question.as_bytes()).await?;
        conversation.answer().await
    }

    /// The user by this name, where Dovecot may be asked about users.
    async fn known(&self, socket: &LocalSocket, login: &Login) -> Result<Option<Principal>, Denied> {
        let answer = self.tell(socket, login).await.map_err(|error| unavailable(socket, &error))?;
        match answer.verb() {
            "USER" => {
                let name = answer.0.get(2).map_or(login.as_written(), String::as_str);
                Ok(Some(self.principal(name, &answer)?))
            }
            "NOTFOUND" => Ok(None),
            _ => Err(unavailable(socket, &format!("it cannot tell about users just now{}", answer.reason()))),
        }
    }

    fn principal(&self, name: &str, answer: &Line) -> Result<Principal, Denied> {
        let unusable = || Denied::Unavailable("Dovecot gives the user a name that cannot be used".to_owned());
        let name = Login::new(name).ok_or_else(unusable)?;
        Ok(Principal::named(name.key(), self.addresses(answer)))
    }

    fn addresses(&self, answer: &Line) -> Vec<Mailbox> {
        let fields = self.config.address_fields.iter().filter_map(|name| answer.value(name));
        let texts = fields.flat_map(|text| text.split([' ', ',', ';'])).filter(|text| !text.is_empty());
        texts.filter_map(|text| text.parse().ok()).take(MOST_LISTED).collect()
    }
}

#[async_trait]
impl Directory for Dovecot {
    fn abilities(&self) -> Abilities {
        let names = if self.config.userdb_socket.is_some() { Names::Known } else { Names::Taken };
        Abilities { passwords: true, names, ..Abilities::default() }
    }

    async fn by_password(&self, login: &Login, password: &Secret) -> Result<Principal, Denied> {
        if password.expose().contains(&0) {
            return Err(Denied::Refused(Why::WrongOrUnknown));
        }
        let socket = &self.config.socket;
        let answer = self.judge(login, password).await.map_err(|error| unavailable(socket, &error))?;
        match answer.verb() {
            "OK" => {}
            "FAIL" => return Err(refusal(socket, &answer)),
            other => {
                let what = format!("it answers {} to a password", text::clean(other, WORDS_MOST));
                return Err(unavailable(socket, &what));
            }
        }
        // The password is right, and yet nobody may sign in with it.
        if answer.has("nologin") && !answer.has("proxy") {
            return Err(Denied::Refused(Why::Disabled));
        }
        let mut principal = self.principal(answer.value("user").unwrap_or(login.as_written()), &answer)?;
        if let (Some(socket), Some(login)) = (&self.config.userdb_socket, Login::new(&principal.name)) {
            let known = self.known(socket, &login).await?;
            principal.addresses.extend(known.into_iter().flat_map(|known| known.addresses));
        }
        Ok(principal)
    }

    async fn look_up(&self, login: &Login) -> Result<Option<Principal>, Denied> {
        match &self.config.userdb_socket {
            Some(socket) => self.known(socket, login).await,
            None => Ok(Some(Principal::as_called(login))),
        }
    }
}

impl Conversation {
    async fn open(socket: &LocalSocket) -> io::Result<Self> {
        let connecting = async {
            Ok::<Box<dyn Wire>, io::Error>(match socket {
                LocalSocket::Unix(path) => Box::new(UnixStream::connect(path).await?),
                LocalSocket::Tcp(address) => Box::new(TcpStream::connect(address).await?),
            })
        };
        let wire =
            timeout(CONNECT, connecting).await.map_err(|_| io::Error::other("it takes no connection"))?;
        Ok(Self(BufReader::new(wire?)))
    }

    async fn say(&mut self, lines: &[u8]) -> io::Result<()> {
        self.0.write_all(lines).await
    }

    /// Its greeting: the version, the mechanisms, and that it is done.
    async fn greeted(&mut self) -> io::Result<()> {
        let mut offers_plain = false;
        for _ in 0..MOST_LINES {
            let line = self.line().await?;
            match line.verb() {
                "VERSION" if line.0.get(1).map(String::as_str) != Some("1") => {
                    return Err(broken("it speaks another version of its protocol than 1"));
                }
                "MECH" => {
                    offers_plain |= line.0.get(1).is_some_and(|name| name.eq_ignore_ascii_case("PLAIN"));
                }
                "DONE" if offers_plain => return Ok(()),
                "DONE" => return Err(broken("it does not take PLAIN: add that to its auth_mechanisms")),
                _ => {}
            }
        }
        Err(broken("its greeting does not end"))
    }

    /// The line about our question.
    async fn answer(&mut self) -> io::Result<Line> {
        for _ in 0..MOST_LINES {
            let line = self.line().await?;
            let answers = matches!(line.verb(), "OK" | "FAIL" | "CONT" | "USER" | "NOTFOUND");
            if answers && line.0.get(1).map(String::as_str) == Some(ID) {
                return Ok(line);
            }
        }
        Err(broken("it talks, and does not answer"))
    }

    async fn line(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        (&mut self.0).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        match line.pop() {
            Some(b'\n') => Ok(Line::parse(&line)),
            Some(_) if line.len() + 1 >= usize::try_from(LONGEST_LINE).unwrap_or(usize::MAX) => {
                Err(broken("it sends a line without end"))
            }
            _ => Err(broken("it closes the connection before it has answered; its log says why")),
        }
    }
}

impl Line {
    fn parse(line: &[u8]) -> Self {
        Self(line.split(|octet| *octet == b'\t').map(unescaped).collect())
    }

    fn verb(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.iter().skip(2).map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.fields().any(|field| field == name) || self.value(name).is_some()
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.fields().find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
    }

    /// Why, in Dovecot's words, behind what we say ourselves.
    fn reason(&self) -> String {
        self.value("reason")
            .map(|reason| format!(" ({})", text::clean(reason, WORDS_MOST)))
            .unwrap_or_default()
    }
}

/// The one line that asks. What is secret stands last, as Dovecot wants it.
fn question(service: &str, login: &Login, password: &Secret) -> Zeroizing<Vec<u8>> {
    let mut message = Zeroizing::new(Vec::new());
    for part in [login.as_written().as_bytes(), password.expose()] {
        message.push(0);
        message.extend_from_slice(part);
    }
    let encoded = Zeroizing::new(STANDARD.encode(&*message));
    let head = format!("AUTH\t{ID}\tPLAIN\tservice={}\tsecured\tno-penalty\tresp=", escaped(service));
    let mut line = Zeroizing::new(Vec::with_capacity(head.len() + encoded.len() + 1));
    line.extend_from_slice(head.as_bytes());
    line.extend_from_slice(encoded.as_bytes());
    line.push(b'\n');
    line
}

/// Older versions write the code as a field of its own.
fn refusal(socket: &LocalSocket, answer: &Line) -> Denied {
    let code = answer.value("code");
    let is = |old: &str, new: &str| answer.has(old) || code == Some(new);
    if is("temp", "temp_fail") {
        let what = format!("it cannot check passwords just now{}; its log says why", answer.reason());
        return unavailable(socket, &what);
    }
    if is("user_disabled", "user_disabled") || is("pass_expired", "pass_expired") {
        return Denied::Refused(Why::Disabled);
    }
    // Whether the name or the password is wrong, Dovecot does not say.
    Denied::Refused(Why::WrongOrUnknown)
}

fn unavailable(socket: &LocalSocket, what: &dyn std::fmt::Display) -> Denied {
    Denied::Unavailable(format!("Dovecot at {socket}: {what}"))
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Nothing in it ends a field or a line.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\0' => line.push_str("\u{1}0"),
            '\u{1}' => line.push_str("\u{1}1"),
            '\t' => line.push_str("\u{1}t"),
            '\r' => line.push_str("\u{1}r"),
            '\n' => line.push_str("\u{1}n"),
            letter => line.push(letter),
        }
    }
    line
}

fn unescaped(field: &[u8]) -> String {
    let field = String::from_utf8_lossy(field);
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        if letter != '\u{1}' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('0') => text.push('\0'),
            Some('1') => text.push('\u{1}'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(other) => text.push(other),
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    const GREETING: &str = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t7\nCUID\t1\nCOOKIE\tab\nDONE\n";

    /// A Dovecot that greets so, and answers one question so.
    struct Script {
        folder: tempfile::TempDir,
        said: tokio::task::JoinHandle<String>,
    }

    impl Script {
        fn new(greeting: impl Into<String>, answer: impl Into<String>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = UnixListener::bind(folder.path().join("auth")).unwrap();
            let (greeting, answer) = (greeting.into(), answer.into());
            let said = tokio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let mut stream = BufReader::new(stream);
                stream.write_all(greeting.as_bytes()).await.unwrap();
                let mut said = String::new();
                while !said.contains("AUTH\t") && !said.contains("USER\t") {
                    if stream.read_line(&mut said).await.unwrap() == 0 {
                        return said;
                    }
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                said
            });
            Self { folder, said }
        }

        fn directory(&self) -> Dovecot {
            let socket = LocalSocket::Unix(self.folder.path().join("auth"));
            Dovecot::new(&crate::config::Dovecot {
                socket,
                userdb_socket: None,
                service: "smtp".into(),
                address_fields: vec!["email".into()],
            })
        }
    }

    async fn asked(greeting: &str, answer: &str) -> Result<Principal, Denied> {
        let script = Script::new(greeting, answer);
        script.directory().by_password(&Login::new("anna").unwrap(), &Secret::new("pw")).await
    }

    #[tokio::test]
    async fn a_password_goes_in_one_field_and_ok_is_the_only_yes() {
        let script =
            Script::new(GREETING, "OK\t9\tuser=eve\nOK\t1\tuser=Anna\temail=anna@a.example, b@b.example\n");
        let password = Secret::new("p\tw\nFAKE\t1");
        let answer = script.directory().by_password(&Login::new("an na=x").unwrap(), &password).await;
        let principal = answer.unwrap();
        assert_eq!(principal.name, "anna", "as Dovecot calls him, not by another question's answer");
        let addresses: Vec<String> = principal.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["anna@a.example", "b@b.example"]);
        let said = script.said.await.unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 3, "{said}");
        let response = STANDARD.encode(b"\0an na=x\0p\tw\nFAKE\t1");
        assert_eq!(lines[2], format!("AUTH\t1\tPLAIN\tservice=smtp\tsecured\tno-penalty\tresp={response}"));
        let number: u32 = lines[1].strip_prefix("CPID\t").unwrap().parse().unwrap();
        assert!(number >= NO_PROCESS);
    }

    #[tokio::test]
    async fn what_is_no_yes_is_a_no_only_where_dovecot_says_so() {
        for (answer, why) in [
            ("FAIL\t1\tuser=anna\n", Why::WrongOrUnknown),
            ("FAIL\t1\tuser=anna\tcode=user_disabled\n", Why::Disabled),
            ("FAIL\t1\tuser=anna\tpass_expired\n", Why::Disabled),
            ("OK\t1\tuser=anna\tnologin\treason=closed\n", Why::Disabled),
        ] {
            assert_eq!(asked(GREETING, answer).await, Err(Denied::Refused(why)), "{answer:?}");
        }
        let endless = "x".repeat(9000);
        let talk = "HELLO\t1\n".repeat(300);
        for answer in [
            "FAIL\t1\tuser=anna\ttemp\n",
            "FAIL\t1\tuser=anna\tcode=temp_fail\treason=database\n",
            "CONT\t1\tabcd\n",
            "OK\t2\tuser=anna\n",
            "OK\t1\tuser=",
            "OK\t1\tuser=\u{1}n\n",
            "",
            &endless,
            &talk,
        ] {
            let answer = asked(GREETING, answer).await;
            assert!(matches!(answer, Err(Denied::Unavailable(_))), "{answer:?}");
        }
        for greeting in ["VERSION\t2\t0\n", "VERSION\t1\t1\nMECH\tLOGIN\nDONE\n", &talk] {
            let answer = asked(greeting, "OK\t1\tuser=anna\n").await;
            assert!(matches!(answer, Err(Denied::Unavailable(_))), "{greeting:?}: {answer:?}");
        }
    }

    #[tokio::test]
    async fn users_are_looked_up_where_dovecot_may_be_asked_about_them() {
        for (answer, found) in [
            ("USER\t1\tanna\tuid=1\thome=/x\temail=a@a.example\n", Ok(true)),
            ("NOTFOUND\t1\n", Ok(false)),
            ("FAIL\t1\treason=database\n", Err(())),
        ] {
            let script = Script::new("VERSION\t1\t1\nSPID\t7\n", answer);
            let mut directory = script.directory();
            directory.config.userdb_socket = Some(directory.config.socket.clone());
            let answer = directory.look_up(&Login::new("Anna").unwrap()).await;
            let addresses = answer.map(|found| found.map(|found| found.addresses.len())).map_err(drop);
            assert_eq!(addresses, found.map(|found| found.then_some(1)));
            assert!(script.said.await.unwrap().ends_with("\nUSER\t1\tAnna\tservice=smtp\n"));
        }
    }

    #[tokio::test]
    async fn without_a_socket_for_users_names_are_taken_as_they_stand() {
        let socket = LocalSocket::Unix("/nowhere".into());
        let config = crate::config::Dovecot {
            socket: socket.clone(),
            userdb_socket: None,
            service: "smtp".to_owned(),
            address_fields: Vec::new(),
        };
        let mut directory = Dovecot { config };
        let anna = Login::new("Anna").unwrap();
        assert_eq!(directory.abilities().names, Names::Taken);
        assert_eq!(directory.look_up(&anna).await.unwrap().unwrap().name, "anna");
        directory.config.userdb_socket = Some(socket);
        assert_eq!(directory.abilities().names, Names::Known);
        assert!(directory.look_up(&anna).await.is_err(), "it must be asked");
    }

    #[test]
    fn no_text_can_end_a_field_or_a_line() {
        let text = "a\tb\nc\rd\0e\u{1}f";
        let line = escaped(text);
        assert!(!line.contains(['\t', '\n', '\r', '\0']), "{line:?}");
        assert_eq!(unescaped(line.as_bytes()), text);
    }
}
